#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our driver on our own vfio-user server, in processes that come, go and are killed."""
import contextlib
import os
import signal

import plx

TARGET = plx.BUILD / "tests/integration/vfio_user_target"
SMALL = ("-s", 64)
READ = ("-q", 8, "-w", "randread", "-o", "4k", *SMALL)
VERIFY = ("-q", 8, "-w", "randrw", "-M", 50, "-o", "4k:70,64k:30", "--verify", "-t", "200ms", *SMALL)


def trid(traddr):
    return ("-r", f"trtype:VFIOUSER traddr:{traddr}")


@contextlib.contextmanager
def server(*words, traddr=None):
    with contextlib.ExitStack() as stack:
        traddr = traddr or stack.enter_context(plx.scratch())
        running = stack.enter_context(plx.start(TARGET, traddr, *words))
        running.wait_for("^ready$")
        running.traddr = traddr
        yield running


def open_files(running):
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def one_line(result, code, says):
    result.fails(code, says)
    plx.equal(len(result.err.splitlines()), 1, "lines that tell of it", result)


def test_perf_and_identify_work():
    with server() as s:
        result = plx.run("plx-perf", *READ, "-t", "200ms", "-P", 5, "--json", "-", *trid(s.traddr)).ok()
        plx.check(result.json()["total"]["ios"] > 0, "no I/O was done", result)
        result = plx.run("plx-identify", *trid(s.traddr), "ctrl").ok()
        result.says("vfio-user test")
        plx.run("plx-identify", *trid(f"{s.traddr}/cntrl"), "ctrl").ok()


def test_the_report_names_the_directory():
    with server() as s:
        result = plx.run("plx-perf", *READ, "-t", "100ms", *trid(s.traddr)).ok()
        result.says(f"{os.path.basename(s.traddr)} ns 1 ")


def test_what_is_written_is_what_is_read():
    for words in (["malloc"], ["malloc", "trap"]):
        with server(*words) as s:
            plx.run("plx-perf", *VERIFY, "-P", 3, *trid(s.traddr)).ok()


def test_a_killed_server_ends_perf_with_one_word_of_it():
    with plx.scratch() as traddr:
        for _ in range(3):
            with server(traddr=traddr) as s, plx.start("plx-perf", *READ, "-t", 60, *trid(traddr)) as perf:
                perf.wait_busy(0.4)
                s.kill()
                result = perf.wait(20)
                result.fails(1, "closed the connection")
                plx.equal(len([e for e in result.err.splitlines() if "closed the connection" in e]), 1, "lines", result)
                plx.check("is gone" in result.err, "nothing says what became of the controller", result)
        with server(traddr=traddr):
            plx.run("plx-perf", *READ, "-t", "100ms", *trid(traddr)).ok()


@plx.long
def test_a_stopped_server_is_left():
    with server() as s, plx.start("plx-perf", *READ, "-t", 60, *trid(s.traddr)) as perf:
        perf.wait_busy(0.3)
        s.signal(signal.SIGSTOP)
        result = perf.wait(90)
        result.fails(1, "has not answered for 30000 ms .message .*asked [0-9]+ ms ago")
        plx.check("waiting for up to 30000 ms: is it running?" in result.err, "no warning before", result)


def test_a_server_that_was_stopped_for_a_while_is_not_left():
    with server() as s, plx.start("plx-perf", *READ, "-t", 60, *trid(s.traddr)) as perf:
        perf.wait_busy(0.5)
        s.signal(signal.SIGSTOP)
        perf.wait_for("is it running?", 40)
        s.signal(signal.SIGCONT)
        s.wait_busy(0.5)
        perf.signal()
        perf.wait().ok()


def test_a_killed_perf_leaves_the_server_to_the_next():
    with server() as s:
        plx.run("plx-perf", *READ, "-t", "100ms", *trid(s.traddr)).ok()
        before = open_files(s)
        for _ in range(5):
            with plx.start("plx-perf", *READ, "-t", 60, "-P", 2, *trid(s.traddr)) as perf:
                perf.wait_busy(0.3)
            # the server may yet have to notice, or to end what is in flight
            for _ in range(50):
                result = plx.run("plx-perf", *READ, "-t", "100ms", *trid(s.traddr))
                if result.code == 0:
                    break
                result.fails(1, "another client")
            result.ok()
        plx.equal(open_files(s), before, "open files of the server")


def test_a_second_client_is_refused_in_one_line():
    with server() as s, plx.start("plx-perf", *READ, "-t", 60, *trid(s.traddr)) as perf:
        perf.wait_busy(0.3)
        one_line(plx.run("plx-identify", *trid(s.traddr)), 1, "another client")
        one_line(plx.run("plx-perf", *READ, "-t", 1, *trid(s.traddr)), 1, "another client")
        perf.signal()
        result = perf.wait().ok()
        plx.check("interrupted" in result.err, "no word about the interruption", result)


def test_where_nobody_serves_is_said_in_one_line():
    with plx.scratch() as empty:
        for traddr, says in ((f"{empty}/none", "no directory"), (empty, "no socket.*start the target"),
                             ("/etc/passwd", "neither a directory nor a socket"),
                             (f"{empty}/" + "x" * 90, "no directory")):
            for program in (("plx-perf", *READ, "-t", 1), ("plx-identify",)):
                one_line(plx.run(*program, *trid(traddr)), 1, says)
        with server(traddr=empty) as s:
            s.kill()
        one_line(plx.run("plx-identify", *trid(empty)), 1, "nobody serves .*start the target")
        deep = f"{empty}/" + "d" * 100
        os.mkdir(deep)
        one_line(plx.run("plx-identify", *trid(deep)), 1, "use a shorter directory")


plx.main()
