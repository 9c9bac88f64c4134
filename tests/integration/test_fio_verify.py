#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A short part of ci/fio-verify: the same program, seconds instead of minutes."""
import pathlib
import shutil
import subprocess
import sys

import plx

VERIFY = pathlib.Path(__file__).with_name("fio_verify.py")


def verify(device, seconds=3):
    if not shutil.which("fio") or not (plx.BUILD / "fio_plugin/libpollux-fio.so").exists():
        plx.skip("fio is not installed, or the engines are not built (-Dfio_source, see ci/fio-source)")
    args = ["--build", plx.BUILD, "--seconds", str(seconds), "--only", device]
    ended = subprocess.run([sys.executable, VERIFY, *args], capture_output=True, text=True, check=False, timeout=300 * plx.PATIENCE)
    return plx.Result([str(word) for word in (VERIFY, *args)], ended.returncode, ended.stdout, ended.stderr, 0)


def test_the_virtual_controller_returns_what_was_written():
    verify("virtual").ok().says("virtual: 3 s of crc32c, no mismatch")


def test_a_target_in_another_process_returns_what_was_written():
    verify("vfio-user").ok().says("vfio-user: 3 s of crc32c, no mismatch")


def test_corrupt_data_is_found():
    verify("corrupt").ok().says("^corrupt: found")


plx.main()
