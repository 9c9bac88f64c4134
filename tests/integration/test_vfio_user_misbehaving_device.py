#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our driver on a foreign vfio-user device that misbehaves (vfio_user_device.py --misbehave): plx-identify and plx-perf
end with exit code 1, say why, and do so in bounded time."""
import concurrent.futures
import re

import plx
from foreign_device import device, identify, perf
from vfio_user_device import MISBEHAVIOURS

NAMES = list(MISBEHAVIOURS)
FINE = set("""not-a-reply version-types version-zeros version-minor version-empty info-no-pci info-no-regions region-short-file
    region-no-fd region-grows region-huge caps-loop caps-beyond caps-count area-beyond area-wraps read-elsewhere write-error
    dma-unmapped dma-wraps dma-huge dma-short dma-flood no-namespace lbads io-wrong-sqhd""".split())  # may be overlooked
SILENT = ("never-answers", "info-silent", "dma-flood", "never-ready")  # a deadline of the driver's has to pass
TALKATIVE = {"io-silent": 8}  # lines on standard error: each command that is aborted, the reset


def judged(name, result):
    """what is wrong with how it ended, as lines of text: exit code 1 and a few lines that say why were wanted, or
    success where that is an answer too"""
    lines = [line for line in result.err.split("\n") if line]
    wrong = []
    if result.timed_out:
        wrong.append("it does not give up")
    elif result.code != 1 and not (name in FINE and result.code == 0):
        wrong.append(f"exit code {result.code}")
    elif result.code == 1 and not 1 <= len(lines) <= TALKATIVE.get(name, 3):
        wrong.append(f"{len(lines)} lines on standard error")
    if len(set(lines)) < len(lines):
        wrong.append("it repeats itself")
    if not all(re.match(r"plx-\w+: ", line) for line in lines):
        wrong.append("a line on standard error is not the program's")
    return [f"{name}: {what}\n{result.describe()}" for what in wrong]


def misbehaves(first, end=None):
    """the misbehaviours from one to before another"""
    # admin-silent takes a minute: the driver's deadline for an admin command
    misbehave(n for n in NAMES[NAMES.index(first):end and NAMES.index(end)] if n not in (*SILENT, "admin-silent"))


def misbehave(names):
    def one(name):
        with device(f"--misbehave {name}", strict=False) as trid:
            if name.startswith("io-"):
                result = perf(trid, "-q", "4", "-d", "100", "-w", "randrw", "-M", "50", "--timeout", "500ms")
            else:
                result = identify(trid, "ctrl")
            return judged(name, result)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:  # most of the time they wait
        wrong = sum(pool.map(one, names), [])
    plx.check(not wrong, "\n".join(wrong))


def test_misbehaviour_before_and_in_the_version():
    misbehaves(NAMES[0], "info-error")


def test_misbehaviour_about_device_and_regions():
    misbehaves("info-error", "map-error")


def test_misbehaviour_about_memory():
    misbehaves("map-error", "all-ones")


def test_misbehaviour_of_the_controller():
    misbehaves("all-ones", "stuck")


@plx.long
def test_silence():
    misbehave(SILENT)


plx.main()
