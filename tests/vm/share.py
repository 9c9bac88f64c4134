# SPDX-License-Identifier: BSD-3-Clause
"""For guest tests of controllers that processes share: an SSD with three queue pairs and three namespaces, and what
happens to processes on it."""
import contextlib
import os
import signal

import plx
import pcie

ID = 7
SSD = ("--nvme", "serial=PLXA,max_ioqpairs=3", "--ns", "size=64M", "--ns", "size=64M", "--ns", "size=64M")
# longer than any case: what runs is ended by it
LONG = 600


def load(bdf, nsid, seconds=LONG, *more, share=ID):
    """arguments of plx-perf: verified load on one namespace"""
    return ("plx-perf", "-r", f"{pcie.trid(bdf)} ns:{nsid}", "-i", share, "-t", seconds, "-q", "4", "-o", "4096",
            "-w", "randrw", "-M", "50", "--verify", "--json", "-", *more)


@contextlib.contextmanager
def owner(bdf, nsid=1, *more, start=plx.start):
    """load that owns the controller"""
    with start(*load(bdf, nsid, LONG, *more)) as process:
        process.wait_for("shared under id 7, and this process owns it", 60)
        yield process


@contextlib.contextmanager
def guest(bdf, nsid, of, start=plx.start):
    """load beside the owner, on its way"""
    with start(*load(bdf, nsid)) as process:
        process.wait_for(f"shared under id 7, and process {of.process.pid} owns it", 60)
        process.wait_busy(0.8)
        yield process


def clean(r):
    total = r.json()["total"]
    plx.check(total["ios"] > 0 and not total["errors"], f"{total['ios']} I/Os, {total['errors']} errors", r)


def end(process):
    """as a user ends it"""
    process.signal(signal.SIGINT)
    return process.wait(60)


def three_at_once(bdf):
    with owner(bdf) as first, guest(bdf, 2, first) as second:
        clean(plx.run(*load(bdf, 3, 2)).ok())
        with guest(bdf, 3, first) as third:
            plx.run(*load(bdf, 3, 1)).fails(1, says="no queue is left.*all of its 3 I/O queue pairs")
            r = plx.run("plx-identify", "-r", pcie.trid(bdf), "-i", ID, "--json", "ctrl").ok()
            plx.equal(r.json()["sn"].strip(), "PLXA", "serial number", r)
            clean(end(third).ok())
        clean(end(second).ok())
        clean(end(first).ok())


def killed_guests_leave_nothing(bdf):
    """each one needs the third queue pair"""
    with owner(bdf) as first, guest(bdf, 2, first) as second:
        for _ in range(4):
            with guest(bdf, 3, first) as third:
                third.signal(signal.SIGKILL)
                third.wait()
                first.wait_for(f"process {third.process.pid}, which shared it, has ended: its 1 queue pairs are taken back", 60)
        clean(plx.run(*load(bdf, 3, 1)).ok())
        clean(end(second).ok())
        clean(end(first).ok())


def lost(process, why):
    r = process.wait(60).fails(1, says=why)
    r.says("COMMAND ABORTED BY HOST")


def killed_owner(bdf):
    with owner(bdf) as first, guest(bdf, 2, first) as second, guest(bdf, 3, first) as third:
        pid = first.process.pid
        first.signal(signal.SIGKILL)
        for process in (second, third):
            lost(process, f"is lost: its owner, process {pid}, was killed or has crashed")
    with owner(bdf) as next_one, guest(bdf, 2, next_one) as second:
        clean(end(second).ok())
        clean(end(next_one).ok())


def owner_that_ends(bdf):
    with owner(bdf) as first, guest(bdf, 2, first) as second:
        clean(end(first).ok())
        lost(second, f"is lost: its owner, process {first.process.pid}, has ended")
    clean(plx.run(*load(bdf, 1, 1)).ok())


def worker(bdf, nsid, *more):
    """tests/vm/share_tool.c, built"""
    return plx.start(plx.BUILD / "tests/integration/share_tool", f"{pcie.trid(bdf)} ns:{nsid}", ID, *more)


def worked(process):
    """without a wrong block"""
    process.signal(signal.SIGTERM)
    r = process.wait(60).ok()
    r.says("^[1-9][0-9]* I/Os")


def reset_under_load(bdf):
    with worker(bdf, 1) as first:
        first.wait_for("this process owns it", 60)
        with worker(bdf, 2) as second, worker(bdf, 3) as third:
            for process in (first, second, third):
                process.wait_for("^working", 60)
            for n in range(1, 4):
                first.signal(signal.SIGUSR1)
                for process in (first, second, third):
                    process.wait_for(f"^{n} resets", 60)
            # a guest's reset is its own matter
            second.signal(signal.SIGUSR1)
            second.wait_for("^4 resets", 60)
            # one into the middle of the other
            for n in range(4, 9):
                first.signal(signal.SIGUSR1)
                first.wait_for(f"^{n} resets", 60)
            second.wait_for("^[6-9] resets", 60)
            worked(third)
            worked(second)
        worked(first)


def function_reset_under_load(bdf):
    """a fatal status, and again right after the reset: what guests submitted is done all the same"""
    fatal = pcie.FATAL
    with worker(bdf, 1) as first:
        first.wait_for("this process owns it", 60)
        with worker(bdf, 2) as second, worker(bdf, 3) as third:
            for process in (first, second, third):
                process.wait_for("^working", 60)
            for n, says in ((1, "resetting it: it " + fatal), (2, fatal + " again, right after a reset: resetting its function")):
                with pcie.Meddler(first, bdf) as meddler:
                    meddler.enable_with_bad_queues()
                first.wait_for(says)
                for process in (first, second, third):
                    process.wait_for(f"^{n} resets", 60)
            worked(third)
            worked(second)
        worked(first)


def owner_with_interrupts(bdf):
    """guests poll beside it, and have none themselves"""
    with owner(bdf, 1, "--interrupts") as first, guest(bdf, 2, first) as second:
        plx.run(*load(bdf, 3, 1, "--interrupts")).fails(1, says="(?s)interrupts of a controller that is shared are its owner's.*"
                                                                "has no interrupts here: leave --interrupts out")
        clean(plx.run(*load(bdf, 3, 1)).ok())
        clean(end(second).ok())
        clean(end(first).ok())


def owner_with_a_memory_buffer(bdf):
    """of the controller's: its guests do not see it"""
    with owner(bdf, 1, "--use-cmb", "sqs,data") as first, guest(bdf, 2, first) as second:
        plx.run(*load(bdf, 3, 1, "--use-cmb", "sqs")).fails(2, says=f"{bdf}.*no controller memory buffer")
        clean(plx.run(*load(bdf, 3, 1)).ok())
        clean(end(second).ok())
        clean(end(first).ok())


def persistent_memory(bdf):
    """is the owner's, and stays enabled over resets"""
    with worker(bdf, 1, "pmr") as first:
        first.wait_for("this process owns it", 60)
        first.wait_for("^persistent memory: [1-9]", 60)
        with worker(bdf, 2, "pmr") as second:
            second.wait_for("^persistent memory: Operation not supported", 60)
            for process in (first, second):
                process.wait_for("^working", 60)
            first.signal(signal.SIGUSR1)
            for process in (first, second):
                process.wait_for("^1 resets", 60)
            worked(second)
        worked(first)


def refusals(bdf):
    """before anything is shared wrongly"""
    with owner(bdf) as first:
        pid = first.process.pid
        plx.run(*load(bdf, 2, 1, share=8)).fails(1, says=f"process {pid}, does not share it: it is shared under id 7, not 8")
        pcie.perf(bdf, "-w", "randread").fails(1, says="in use by another process")
        folder = "/run/pollux"
        os.chmod(folder, 0o755)
        plx.run(*load(bdf, 2, 1)).fails(1, says=f"{folder}, belongs to user 0 with mode 755.*this user's .0. alone")
        os.chmod(folder, 0o700)
        # stopped, it answers nobody
        first.signal(signal.SIGSTOP)
        with plx.start(*load(bdf, 2, 1)) as late:
            late.wait_for(f"its owner, process {pid}, does not answer", 100)
            late.wait(60).fails(1)
        first.signal(signal.SIGCONT)
        clean(end(first).ok())
    with plx.start("plx-perf", "-r", pcie.trid(bdf), "-t", LONG, "-w", "randread") as alone:
        alone.wait_busy(0.5)
        plx.run(*load(bdf, 1, 1)).fails(1, says="no process of this user .0. shares it under id 7")
        end(alone)
