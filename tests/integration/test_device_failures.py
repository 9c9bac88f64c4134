#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Controllers that fail: what a user is told, with which exit code, and that it does not take longer than it may.

The table of docs/devices.md, on a foreign vfio-user device (vfio_user_device.py --misbehave NAME). What can be brought
about on emulated SSDs is in tests/vm/test_pcie_failures.py.
"""
import concurrent.futures
import re

import plx
from foreign_device import device, identify, perf
from vfio_user_device import MISBEHAVIOURS

READY_S = 2  # CAP.TO of the device
LOAD = ("-q", "4", "-d", "2000", "-Q", "1000000", "-w", "randrw", "-M", "50")  # failed I/O does not end it
STUCK = "waiting for CSTS.RDY to become 0 after clearing CC.EN .* took longer than 2000 ms"
RESET, AGAIN, READY = ": resetting its function$", ", although its function was reset$", "ready again$"
FATAL = r"reports a fatal status \(CSTS.CFS\)"
ABORTED = "COMMAND ABORTED DUE TO SQ DELETION"
GONE = "COMMAND ABORTED BY HOST"


class Failure:
    """name of the misbehaviour; exit code; regular expressions, one for each line of the driver's on standard error, in
    their order; `goes_on`: the load ends after all of its I/O; `within`: seconds until the end, of the driver's deadlines"""

    def __init__(self, name, code, *says, tool=identify, args=("ctrl",), goes_on=False, within=0):
        self.name, self.code, self.says, self.tool, self.args = name, code, says, tool, args
        self.goes_on, self.within = goes_on, within

    def judged(self):
        with device(f"--cap-to {2 * READY_S} --misbehave {self.name}", strict=False) as trid:
            result = self.tool(trid, *self.args, timeout=self.within + 20)
        driver = [line for line in result.err.split("\n") if ": nvme: " in line]
        wrong = []
        if result.timed_out or result.code != self.code:
            wrong.append(f"exit code {self.code} was wanted")
        if len(driver) != len(self.says) or not all(re.search(s, line) for s, line in zip(self.says, driver)):
            wrong.append("these lines were wanted: " + " / ".join(self.says))
        if self.tool is perf and not result.timed_out:
            total = result.json()["total"]
            if self.goes_on != (total["ios"] + total["errors"] == 2000) or bool(total["errors"]) != bool(self.code):
                wrong.append(f"{total['ios']} I/Os, {total['errors']} errors")
        return [f"{self.name}: {what}\n{result.describe()}" for what in wrong]


def load(name, code, *says, timeout=(), **more):
    return Failure(name, code, *says, tool=perf, args=LOAD + timeout, **more)


HANGS = ("--timeout", "2s")
ABORTS = ("takes longer than 2000 ms: aborting it",) * 4
OUTLIVED = "resetting it: a command of queue pair 1 outlived its timeout of 2000 ms"

STARTING = [
    Failure("stuck", 1, STUCK + RESET, STUCK + AGAIN, within=2 * READY_S),
    Failure("stuck-once", 0, STUCK + RESET, within=READY_S),
    Failure("never-ready", 1, "waiting for CSTS.RDY to become 1 after setting CC.EN .* took longer than 2000 ms" + RESET,
            "waiting for CSTS.RDY to become 1 after setting CC.EN .* took longer than 2000 ms" + AGAIN, within=2 * READY_S),
    Failure("fatal", 1, FATAL + " when enabled" + RESET, FATAL + " when enabled" + AGAIN),
    Failure("fatal-once", 0, FATAL + " when enabled" + RESET),
    Failure("all-ones", 1, "has registers that read as all ones" + RESET, "has registers that read as all ones" + AGAIN),
    Failure("admin-wrong-cid", 1, "queue pair 0: completion of command identifier [0-9]+, which is not outstanding",
            "completes admin commands that it was not given"),
    Failure("never-shuts-down", 0, "its shutdown did not end within 5000 ms", within=5),
]
UNDER_LOAD = [
    load("io-cfs", 1, "resetting it: it " + FATAL, READY, goes_on=True),
    load("io-cfs-again", 1, "resetting it: it " + FATAL, READY, FATAL + " again, right after a reset" + RESET, READY,
         FATAL + " again, right after a reset" + AGAIN),
    load("io-cfs-stays", 1, "resetting it: it " + FATAL, FATAL + " when enabled" + RESET, READY, goes_on=True),
    load("io-disabled", 1, r"resetting it: it was disabled by somebody else \(CSTS.RDY is 0\)", READY, goes_on=True),
    load("io-all-ones", 1, "has registers that read as all ones" + RESET, READY, goes_on=True),
    load("io-gone", 1, r"is gone \(registers read as all ones\)"),
    load("io-truncates", 1, "its vfio-user server truncated the file of its doorbells", "is gone"),
]
STORMS = ("aer-storm", "aer-storm-namespaces")
HANGING = [
    load("io-stuck", 1, *ABORTS, OUTLIVED, STUCK + RESET, READY, goes_on=True, timeout=HANGS, within=4 + READY_S),
    load("io-stuck-for-good", 1, *ABORTS, OUTLIVED, STUCK + RESET, STUCK + AGAIN, timeout=HANGS, within=4 + 2 * READY_S),
]


def judge(failures):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # most of the time they wait
        wrong = sum(pool.map(Failure.judged, failures), [])
    plx.check(not wrong, "\n".join(wrong))


def test_controllers_that_fail_when_they_are_started():
    judge(STARTING)


def test_controllers_that_fail_under_load():
    judge(UNDER_LOAD)


def test_controllers_that_hang_under_load():
    judge(HANGING)


def test_a_storm_of_events_is_told_once():
    for name in STORMS:
        with device(f"--misbehave {name}") as trid:
            result = perf(trid, *LOAD).ok()
        plx.equal(result.err.count("sends asynchronous events without end"), 1, "word about the storm", result)
        # a burst, and those that are taken later until it is noticed
        plx.check(result.err.count("\n") < 100, "it fills the log", result)
        plx.equal(result.json()["total"]["ios"], 2000, "I/Os", result)


def test_completions_that_nobody_can_take():
    """each command hangs, or resets the controller: one failed I/O ends the run"""
    few = ("-q", "4", "-d", "100", "-w", "randrw", "-M", "50", *HANGS)
    judge([Failure("io-wrong-phase", 1, *ABORTS, OUTLIVED, tool=perf, args=few, within=4),
           Failure("io-wrong-cid", 1, "queue pair 1: completion of command identifier [0-9]+, which is not outstanding",
                   "resetting it: queue pair 1 got a completion nobody waits for", tool=perf, args=few)])


@plx.long
def test_admin_commands_without_an_answer():
    judge([Failure("admin-silent", 1, "Identify Controller .* took longer than 60000 ms", within=60)])


def test_each_kind_of_failure_is_here():
    known = {f.name for f in STARTING + UNDER_LOAD + HANGING} | {"io-wrong-phase", *STORMS}
    names = list(MISBEHAVIOURS)
    plx.equal(set(names[names.index("stuck"):]) - known, set(), "without a case")


plx.main()
