#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt and plx-perf over vfio-user for a long time; ci/soak says how to run it."""
import argparse
import os
import pathlib
import sys
import time

SETTLED_AFTER = 6  # kills after which what a process keeps for later use has been taken
RSS_SLACK_KB = 4096


def options():
    parser = argparse.ArgumentParser(prog="ci/soak", add_help=False)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--build", default="build")
    given = parser.parse_args()
    os.environ["PLX_BUILD"] = str(pathlib.Path(given.build).resolve())
    return given


OPTIONS = options()
# plx looks at PLX_BUILD when it is imported
import plx  # noqa: E402
import tgt  # noqa: E402


class Holdings:
    """what a process has: file descriptors, resident KiB; and the machine's free hugepages"""

    def __init__(self, pid):
        self.fds = len(os.listdir(f"/proc/{pid}/fd"))
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        self.rss = int(status.split("VmRSS:")[1].split()[0])
        self.maps = len(pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines())
        self.huge = plx.hugepages_free()

    def __str__(self):
        return (f"{self.fds} file descriptors, {self.rss} KiB resident, {self.maps} mappings, "
                f"{self.huge} hugepages free")


def settled(target, seconds=20):
    """waits until nobody is connected any more and the last client's function has drained; what it holds"""
    deadline = time.monotonic() + seconds * plx.PATIENCE
    before = None
    while True:
        now = Holdings(target.running.process.pid)
        if before and (now.fds, now.maps) == (before.fds, before.maps):
            return now
        plx.check(time.monotonic() < deadline, f"it does not come to rest: {before}, then {now}")
        before = now
        time.sleep(0.3)


def set_up(target, traddr, nqn="nqn.2026-01.io.pollux:soak"):
    call = target.client.call
    call("bdev_malloc_create", name="Malloc0", num_blocks=262144, block_size=512)
    call("nvmf_create_transport", trtype="VFIOUSER")
    call("nvmf_create_subsystem", nqn=nqn, allow_any_host=True)
    call("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": "Malloc0"})
    call("nvmf_subsystem_add_listener", nqn=nqn, listen_address={"trtype": "VFIOUSER", "traddr": str(traddr)})


def perf(traddr, *more):
    return ["plx-perf", "-c", "0x2", "-r", f"trtype:VFIOUSER traddr:{traddr}", "-q", "64", "-o", "4k:50,20k:30,128k:20",
            "-w", "randrw", "-M", "50", *map(str, more)]


def kill_perf(target, traddr):
    with plx.start(*perf(traddr, "-t", 60)) as client:
        client.wait_busy(0.3)
        client.kill()
    plx.check(target.running.process.poll() is None, "plx-tgt died with its client", target.running.result())


def kill_target(directory, traddr):
    with tgt.start("-m", "0x1", directory=directory) as target:
        set_up(target, traddr)
        with plx.start(*perf(traddr, "-t", 60)) as client:
            client.wait_busy(0.3)
            target.running.kill()
            ended = client.wait(30)
    plx.check(not ended.timed_out and ended.code == 1, "plx-perf was to end with 1 as its target died", ended)


def kills(directory):
    traddr = directory / "vfu"
    other = directory / "other"
    for d in (traddr, other, directory / "tgt", directory / "tgt2"):
        d.mkdir()
    huge = plx.hugepages_free()
    with tgt.start("-m", "0x1", directory=directory / "tgt") as target:
        set_up(target, traddr)
        first = None
        for n in range(1, OPTIONS.kills + 1):
            if n % 2:
                kill_perf(target, traddr)
            else:
                kill_target(directory / "tgt2", other)
            if n == min(SETTLED_AFTER, OPTIONS.kills):
                first = settled(target)
                print(f"after {n} kills: {first}", flush=True)
        last = settled(target)
        print(f"after {n} kills: {last}", flush=True)
        plx.equal(last.fds, first.fds, "file descriptors")
        plx.equal(last.maps, first.maps, "mappings")
        plx.check(last.rss <= first.rss + RSS_SLACK_KB, f"resident memory grew from {first.rss} to {last.rss} KiB")
        plx.run(*perf(traddr, "-t", 1)).ok()
    plx.equal(plx.hugepages_free(), huge, "free hugepages")


def verify(directory):
    traddr = directory / "verify"
    traddr.mkdir()
    (directory / "tgt3").mkdir()
    with tgt.start("-m", "0x1", directory=directory / "tgt3") as target:
        set_up(target, traddr)
        result = plx.run(*perf(traddr, "-t", OPTIONS.seconds, "--verify"), timeout=OPTIONS.seconds + 120).ok()
        print(result.out, flush=True)
        plx.check(target.running.process.poll() is None, "plx-tgt died", target.running.result())


def main():
    with plx.scratch() as directory:
        directory = pathlib.Path(directory)
        try:
            if OPTIONS.kills:
                kills(directory)
                print(f"{OPTIONS.kills} kills: the other side lived each time, nothing was left behind", flush=True)
            if OPTIONS.seconds:
                verify(directory)
                print(f"{OPTIONS.seconds} s of verification: no mismatch", flush=True)
        except AssertionError as error:
            sys.exit(f"ci/soak: {error}")


main()
