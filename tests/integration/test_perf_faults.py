#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-perf when things go wrong: devices that fail, hang, lie or vanish, runs that are cut short."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess

import plx

SMALL = "size=16M"
BLOCKS = (16 << 20) // 512
# a command that hangs is dealt with soon, and the run goes on
TOLERANT = ("--timeout", "200ms", "-Q", 1)
# the controller on a core of its own, and in the worker's loop
BOTH = ("", ",inline")
MIXED = ("-w", "randrw", "-M", 50, "-o", "4k:50,20k:30,128k:20")


def perf(*args, **options):
    return plx.run("plx-perf", *args, **options)


def measured(*args, virtual, code=1):
    """the JSON of a run, and the run"""
    result = perf(*args, "--virtual", virtual, "--json", "-")
    plx.equal(result.code, code, "exit code", result)
    return json.loads(result.out), result


def accounted_for(results, each, result):
    """every I/O of every queue pair has either succeeded or failed, once"""
    for job in results["jobs"]:
        plx.equal(job["ios"] + job["errors"], each, "I/Os of a queue pair", result)


def mismatches(result):
    """LBAs, as they were reported"""
    return [int(lba) for lba in re.findall(r"^plx-perf: verify: LBA (\d+): ", result.err, re.MULTILINE)]


def logged_failures(result):
    return re.findall(r"(read|write) of \d+ blocks at LBA (\d+) failed: (.*)$", result.err, re.MULTILINE)


def failed_by_resets(errors, depth, result):
    """at most what is outstanding fails at a reset; where cores are scarce, there may be more resets than commands hang"""
    resets = result.err.count("resetting it")
    plx.check(errors <= depth * resets, f"{errors} errors of {resets} resets on a queue pair of depth {depth}", result)


# ---- commands that hang ----

def test_a_command_that_hangs_is_aborted_and_named():
    for where in BOTH:
        results, result = measured("-d", 5000, "-q", 8, *TOLERANT, virtual=f"{SMALL},error=hang:read:#500{where}")
        plx.equal(results["total"]["errors"], 1, "errors", result)
        accounted_for(results, 5000, result)
        error = results["jobs"][0]["first_error"]
        plx.check("COMMAND ABORT REQUESTED" in error["text"], f"status {error['text']}", result)
        (what, lba, why), = logged_failures(result)
        plx.equal((what, int(lba)), ("read", error["lba"]), "failed I/O in the log", result)
        plx.check("COMMAND ABORT REQUESTED" in why, f"status {why} in the log", result)
        plx.check("aborting it" in result.err, "no word about the abort", result)
        plx.check("resetting" not in result.err, "the controller was reset", result)


@plx.long
def test_other_io_goes_on_while_a_command_hangs_and_after():
    for where in BOTH:
        results, result = measured("-t", "1200ms", "-q", 8, "--interval", "100ms", *TOLERANT,
                                   virtual=f"{SMALL},error=hang:read:#500{where}")
        plx.equal(results["total"]["errors"], 1, "errors", result)
        late = [i for i in results["intervals"] if i["start_s"] >= 0.6]
        plx.check(sum(i["ios"] for i in late) > 0, "no I/O after the abort", result)


def test_a_command_that_abort_does_not_help_has_the_controller_reset():
    # 2 ms an I/O: what there is to do is not done before the reset
    slow = f"{SMALL},namespaces=2,latency=fixed:2ms,error=hang-hard:read:#100"
    for where in BOTH:
        results, result = measured("-d", 4000, "-q", 8, "-P", 3, *TOLERANT, virtual=slow + where)
        plx.equal(len(results["jobs"]), 6, "queue pairs", result)
        accounted_for(results, 4000, result)
        for job in results["jobs"]:
            # by default a reset fails what was in flight
            failed_by_resets(job["errors"], 8, result)
        plx.check(results["total"]["errors"] >= 2, "the commands that hung did not fail", result)
        for word in ("aborting it", "resetting it", "ready again"):
            plx.check(word in result.err, f"the log lacks {word!r}", result)


@plx.long
def test_reset_at_once_when_told_so():
    for where in BOTH:
        for kind in ("hang", "hang-hard"):
            results, result = measured("-d", 3000, "-q", 8, *TOLERANT, "--timeout-action", "reset",
                                       virtual=f"{SMALL},latency=fixed:2ms,error={kind}:read:#100{where}")
            accounted_for(results, 3000, result)
            plx.check(results["total"]["errors"] >= 1, "the command that hung did not fail", result)
            failed_by_resets(results["total"]["errors"], 8, result)
            plx.check("aborting" not in result.err, "it was aborted", result)
            plx.check("resetting it" in result.err, "no word about the reset", result)


def test_controllers_in_several_loops_reset_one_device():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        plx.skip("one core")
    results, result = measured("-c", f"[{cores[0]},{cores[1]}]", "-d", 3000, "-q", 8, *TOLERANT,
                               virtual=f"{SMALL},namespaces=2,inline,error=hang-hard:read:#100")
    accounted_for(results, 3000, result)
    plx.check("gave up" not in result.err + result.out, "a controller was given up", result)
    plx.equal([j["gave_up"] for j in results["jobs"]], [None] * 4, "queue pairs given up", result)


def test_a_hang_while_verify_writes_its_blocks():
    for shape in (["-P", 2], []):
        results, result = measured("--verify", *MIXED, "-d", 500, "-q", 4, *shape, *TOLERANT,
                                   virtual=f"{SMALL},namespaces=2,error=hang-hard:write:#20")
        plx.equal([j["gave_up"] for j in results["jobs"]], [None] * len(results["jobs"]), "queue pairs given up", result)
        plx.check(results["total"]["read"]["ios"] > 0, "nothing was read", result)
        plx.equal(results["total"]["mismatches"], 0, "mismatches", result)


@plx.long
def test_without_a_timeout_the_end_of_the_run_brings_back_what_hangs():
    results, result = measured("-t", "100ms", "-q", 4, virtual=f"{SMALL},error=hang:read:#10,error=hang-hard:read:#11")
    plx.equal(results["total"]["errors"], 2, "errors", result)
    plx.check(results["total"]["ios"] > 0, "no I/O", result)
    plx.check("have not come back" in result.err, "no word about it", result)


# ---- controllers that vanish ----

@plx.long
def test_a_controller_that_vanishes_fails_its_io_and_leaves_results():
    for where in BOTH:
        for more in ([], ["-Q", 1], ["-P", 2]):
            result = perf("-t", "10m", "-q", 8, *more, "--virtual", f"{SMALL},namespaces=2,vanish=1s{where}")
            plx.equal(result.code, 1, "exit code", result)
            plx.check("is gone" in result.err, "no word about the controller", result)
            plx.check("COMMAND ABORTED BY HOST" in result.out, "no status", result)
            plx.check("gave up" in result.out, "no word about the end", result)
            iops = result.says(r"^Total +([\d,]+) ").group(1)
            plx.check(int(iops.replace(",", "")) > 0, "no results so far", result)


def test_a_controller_may_vanish_at_any_moment():
    for where in BOTH:
        for after in (1, 10, 30, 60, 200):
            for load in ([], ["--verify", *MIXED]):
                result = perf("-t", "10m", "-q", 8, "-Q", 1000, *load,
                              "--virtual", f"{SMALL},vanish={after}ms{where}")
                plx.equal(result.code, 1, "exit code", result)
                plx.check("is gone" in result.err, "no word about the controller", result)


@plx.long
def test_a_device_with_hung_commands_may_vanish():
    cores = sorted(os.sched_getaffinity(0))
    layouts = ["", ",inline"]
    for where in layouts:
        for kind in ("hang", "hang-hard"):
            result = perf("-t", "10m", "-q", 8, "--timeout", "100ms", "-Q", 1000, "-c", f"[{cores[-1]}]",
                          "--virtual", f"{SMALL},error={kind}:read:#50,vanish=500ms{where}")
            plx.equal(result.code, 1, "exit code", result)
    if len(cores) > 1:
        result = perf("-t", "10m", "-q", 8, "--timeout", "100ms", "-Q", 1000, "-c", f"[{cores[0]},{cores[1]}]",
                      "--virtual", f"{SMALL},error=hang-hard:read:#50,vanish=500ms,inline")
        plx.equal(result.code, 1, "exit code", result)


# ---- runs that are cut short ----

def interrupted(number, *args, virtual=SMALL):
    with plx.start("plx-perf", "-t", "10m", *args, "--virtual", virtual, "--json", "-") as running:
        running.wait_busy(0.4)
        running.signal(number)
        result = running.wait()
    plx.equal(result.code, 0, "exit code", result)
    plx.check("interrupted" in result.err, "no word about the interruption", result)
    return json.loads(result.out)["total"], result


@plx.long
def test_interrupted_while_measuring():
    for number in (signal.SIGINT, signal.SIGTERM):
        for where in BOTH:
            total, result = interrupted(number, virtual=SMALL + where)
            plx.check(total["iops"] > 0, "no results", result)


def test_interrupted_while_warming_up():
    total, result = interrupted(signal.SIGINT, "-a", "10m")
    plx.check(total["iops"] > 0, "no results", result)


def test_interrupted_while_the_memory_of_the_device_comes():
    for more in ((), ("-d", "1000000000")):
        total, result = interrupted(signal.SIGINT, *more, virtual="size=4G")
        plx.equal(total["errors"], 0, "errors", result)


def test_interrupted_while_verify_writes_its_blocks():
    for where in BOTH:
        total, result = interrupted(signal.SIGINT, "--verify", "-w", "randrw", "-M", 50, "-q", 4,
                                    virtual=f"{SMALL},latency=fixed:100ms{where}")
        for figure in ("errors", "mismatches", "ios"):
            plx.equal(total[figure], 0, figure, result)
        plx.equal(total["latency_ns"]["max"], 0, "latency of blocks written beforehand", result)


def test_the_second_interrupt_ends_at_once():
    # a command that hangs holds up the end
    with plx.start("plx-perf", "-t", "10m", "--virtual", f"{SMALL},error=hang:read:#10") as running:
        running.wait_busy(0.4)
        running.signal(signal.SIGINT)
        running.wait_for("interrupted")
        running.signal(signal.SIGINT)
        result = running.wait(5)
    plx.equal(result.code, 130, "exit code", result)


def left_over(script):
    """what is new in the directories where programs leave things, after a shell script that runs "$0" """
    private = """
        mount --bind "$1" /mnt && shift &&
        for d in DIRS; do mount -t tmpfs none $d || exit 77; done
        cd /dev/shm && %s
        for d in DIRS; do find $d -mindepth 1; done"""
    # not where the checkout lies: what sanitizers read and write is there
    dirs = [d for d in ("/tmp", "/var/tmp", "/dev/shm", "/run") if not str(plx.SOURCE).startswith(d + "/")]
    private = private.replace("DIRS", " ".join(dirs))
    program = plx.program("plx-perf")
    if not shutil.which("unshare") or os.geteuid():
        plx.skip("only root can look at it in peace")
    result = plx.run("/usr/bin/unshare", "-m", "/bin/sh", "-c", private % script,
                     f"/mnt/{os.path.basename(program)}", os.path.dirname(program))
    if result.code == 77:
        plx.skip("no file systems can be mounted here")
    plx.equal(result.code, 0, "exit code", result)
    return result


@plx.long
def test_nothing_is_left_behind():
    for script in ('"$0" -d 1000 --virtual size=16M >/dev/null || exit 1;',
                   'timeout -s INT 2 "$0" -t 60 --virtual size=16M >/dev/null 2>&1;',
                   'timeout -s KILL 2 "$0" -t 60 --virtual size=16M >/dev/null 2>&1;',
                   '"$0" -t 60 --virtual size=16M,vanish=300ms >/dev/null 2>&1;'):
        result = left_over(script)
        left = [line for line in result.out.split("\n") if line and line not in ("/run/dpdk", "/run/dpdk/rte")]
        plx.equal(left, [], "left behind", result)


def test_a_killed_run_does_not_disturb_the_next():
    with plx.start("plx-perf", "-t", "10m", "--virtual", SMALL) as running:
        running.wait_busy(0.4)
        running.signal(signal.SIGKILL)
        plx.equal(running.wait().code, -signal.SIGKILL, "exit code")
    perf("-d", 1000, "--virtual", SMALL).ok()


def test_two_run_at_once():
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(plx.start("plx-perf", "-t", "500ms", "--virtual", SMALL)) for _ in range(2)]
        for running in pair:
            running.wait().ok()


# ---- results that cannot be delivered ----

def test_a_reader_that_goes_away_is_noticed():
    for more in ([], ["--json", "-"], ["--hist", "-"], ["-LL"]):
        read, write = os.pipe()
        os.close(read)
        with open(write, "wb") as pipe:
            process = subprocess.run([plx.program("plx-perf"), "-d", "1000", "--virtual", SMALL, *more], stdout=pipe,
                                     stderr=subprocess.PIPE, text=True, timeout=60 * plx.PATIENCE, check=False)
        plx.equal(process.returncode, 1, f"exit code with {more}")
        plx.check("cannot write to standard output" in process.stderr, f"with {more} it says: {process.stderr}")


def test_closed_streams_take_no_harm():
    for closed, code in ((">&-", 1), ("2>&-", 0), ("<&-", 0), (">&- 2>&- <&-", 1)):
        result = plx.run("/bin/sh", "-c", f'exec "$0" -d 1000 --virtual {SMALL} {closed}', plx.program("plx-perf"))
        plx.equal(result.code, code, f"exit code with {closed}", result)


# ---- data that is wrong ----

def test_every_corrupted_read_is_found_and_nothing_else():
    for layout in ("", ",block=4096", ",md=8,pi=1", ",md=8,pi=1,extended", ",inline"):
        results, result = measured("--verify", *MIXED, "-d", 4000, "-q", 16,
                                   virtual=f"{SMALL}{layout},error=corrupt:read:0.01:13")
        plx.equal(results["total"]["mismatches"], 13, "mismatches", result)
        plx.equal(len(mismatches(result)), 13, "mismatches reported", result)
        plx.equal(results["total"]["errors"], 0, "errors", result)
        plx.check(all(lba < BLOCKS for lba in mismatches(result)), "an LBA is outside of the device", result)


def test_every_corrupted_write_is_found_when_it_is_read():
    # each block is written once and read once
    results, result = measured("--verify", "-w", "read", "-d", BLOCKS // 8, "-q", 8,
                               virtual=f"{SMALL},error=corrupt:write:0.05:17")
    plx.equal(results["total"]["mismatches"], 17, "mismatches", result)
    plx.equal(len(set(mismatches(result))), 17, "places reported", result)


def test_corruption_is_found_by_protection_information_or_verify():
    for layout in ("md=8,pi=1", "md=8,pi=1,extended"):
        results, result = measured("--verify", "-w", "randrw", "-M", 50, "-d", 3000, "-q", 8, "-Q", 1, "-e",
                                   "PRCHK=GUARD|REFTAG", virtual=f"{SMALL},{layout},error=corrupt:read:0.01:9")
        total = results["total"]
        plx.equal(total["errors"] + total["mismatches"], 9, "errors and mismatches", result)


def test_without_pract_the_host_checks_what_it_reads():
    # the data changes behind the controller's own check
    for layout in ("md=8,pi=1", "md=16,pi=2"):
        for checks, errors in (("PRCHK=GUARD|REFTAG", 9), ("PRACT=0", 0)):
            results, result = measured("--verify", "-w", "randrw", "-M", 50, "-d", 3000, "-q", 8, "-Q", 1, "-e", checks,
                                       virtual=f"{SMALL},{layout},error=corrupt:read:0.01:9")
            plx.equal((results["total"]["errors"], results["total"]["mismatches"]), (errors, 9 - errors), "errors", result)
            plx.equal(len(re.findall("GUARD CHECK ERROR", result.err)), errors, "errors in the log", result)


def test_verify_is_clean_through_failures_aborts_and_resets():
    rules = ("error=fail:read:0.01,error=fail:write:0.01,error=hang:read:#300,error=hang-hard:write:#900,"
             "error=hang-hard:read:#1500")
    for layout in ("", ",block=4096,md=8,pi=1", ",md=8,pi=1,extended,inline"):
        results, result = measured("--verify", *MIXED, "-d", 4000, "-q", 16, "--timeout", "100ms", "-Q", 1000,
                                   virtual=f"size=64M,latency=fixed:2ms{layout},{rules}")
        plx.equal(mismatches(result), [], "mismatches", result)
        plx.check(results["total"]["read"]["ios"] > 0, "nothing was read", result)
        plx.check("resetting it" in result.err, "there was no reset", result)


# ---- I/O that fails ----

def test_each_failed_io_is_counted_and_every_nth_is_logged():
    results, result = measured("-w", "randwrite", "-d", 500, "-q", 4, "-Q", 50, virtual=f"{SMALL},error=fail:write:1")
    plx.equal((results["total"]["ios"], results["total"]["errors"]), (0, 500), "I/Os and errors", result)
    failures = logged_failures(result)
    plx.equal(len(failures), 10, "errors in the log", result)
    plx.check(all("WRITE FAULT" in why for _, _, why in failures), "another status", result)


def test_exactly_what_fails_is_reported():
    results, result = measured("-d", 2000, "-q", 8, "-Q", 1, virtual=f"{SMALL},error=fail:read:#7,error=fail:read:0.1:40")
    plx.equal((results["total"]["ios"], results["total"]["errors"]), (1959, 41), "I/Os and errors", result)
    plx.equal(len(logged_failures(result)), 41, "errors in the log", result)


def test_a_failure_while_warming_up_counts():
    results, result = measured("-a", "500ms", "-t", "100ms", "-Q", 1, virtual=f"{SMALL},error=fail:read:#50")
    plx.equal(results["total"]["errors"], 1, "errors", result)


def test_the_same_seed_repeats_the_errors():
    def errors(seed):
        _, result = measured("-d", 400, "-q", 1, "-Q", 1, virtual=f"{SMALL},seed={seed},error=fail:read:0.2")
        return logged_failures(result)
    first = errors(3)
    plx.check(40 < len(first) < 120, f"{len(first)} errors in 400 I/Os, a fifth of which fail")
    plx.equal(errors(3), first, "errors with the same seed")
    plx.check(errors(4) != first, "another seed gives the same errors")


# ---- latency ----

@plx.long
def test_latency_is_what_was_asked_for():
    # none can be quicker than the device; slower, for want of a core, all may be
    for latency, pattern, least in (
            ("fixed:2ms", "randread", {"min": 2_000_000}),
            ("tlc", "randread", {"min": 60_000, "p50": 78_000, "p99": 120_000}),
            ("tlc", "randwrite", {"min": 10_000, "p50": 14_000}),
            ("table:50=1ms:100=3ms", "randread", {"p50": 900_000, "p99": 2_500_000})):
        results, result = measured("-d", 2000, "-q", 4, "-w", pattern, virtual=f"{SMALL},latency={latency}", code=0)
        got = results["total"]["latency_ns"]
        for figure, bound in least.items():
            plx.check(got[figure] >= bound, f"{figure} with {latency} is {got[figure]} ns, below {bound}", result)


# ---- requests that cannot be met ----

def test_too_little_memory_is_said():
    # of ordinary pages: hugepages become more where there are some free
    for args in (["-s", 30, "-q", 512, "-o", "64k"], ["-s", 1]):
        result = perf(*args, "--no-huge", "-d", 10, "--virtual", SMALL)
        plx.equal(result.code, 1, "exit code", result)
        plx.check("raise -s" in result.err, "no remedy", result)
        plx.equal(result.out, "", "standard output", result)


def test_memory_suffices_by_itself_for_every_shape():
    for args, virtual in ((["-q", 512], "namespaces=16"), (["-q", 32, "-o", "128k"], "namespaces=8,md=8"),
                          (["-q", 4, "-P", 8], "namespaces=8,mdts=1M,queue_size=4096")):
        measured(*args, "-d", 10, virtual=f"size=1M,{virtual}", code=0)


def test_more_queue_pairs_than_there_are_is_refused():
    for args, virtual in ((["-P", 200], ""), (["-P", 5], ",queues=4"), (["-P", 3], ",queues=8,namespaces=3")):
        result = perf(*args, "-d", 1, "--virtual", SMALL + virtual)
        plx.equal(result.code, 2, "exit code", result)
        plx.check("I/O queue pairs" in result.err, "no reason", result)


def test_without_a_core_left_the_controller_is_inline_and_says_so():
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    result = perf("-d", 1000, "-c", f"[{cores}]", "--virtual", SMALL).ok()
    plx.check("inline" in result.err, "no word about it", result)


plx.main()
