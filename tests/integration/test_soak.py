#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A short part of ci/soak: the same program, fewer kills, a shorter verification."""
import pathlib
import subprocess
import sys

import plx

SOAK = pathlib.Path(__file__).with_name("soak_vfio_user.py")


def soak(*args):
    ended = subprocess.run([sys.executable, SOAK, "--build", plx.BUILD, *args], capture_output=True, text=True,
                           timeout=300 * plx.PATIENCE)
    return plx.Result([str(SOAK), *args], ended.returncode, ended.stdout, ended.stderr, 0)


@plx.long
def test_killed_sides_leave_nothing_behind():
    soak("--kills", "10", "--seconds", "0").ok().says("10 kills: the other side lived each time")


def test_verification_over_vfio_user_finds_no_mismatch():
    soak("--kills", "0", "--seconds", "3").ok().says("3 s of verification: no mismatch")


plx.main()
