#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-perf as a user meets it: what it refuses and how, what its options do, how it ends."""
import json
import os
import re
import shlex
import shutil
import signal

import plx

SMALL = "size=16M"
# for runs that end by themselves
QUICK = ("-q", 8, "-d", 2000)


def perf(*args, **options):
    return plx.run("plx-perf", *args, **options)


def measured(*args, virtual=SMALL, code=0):
    """the JSON of a run"""
    result = perf(*args, "--virtual", virtual, "--json", "-")
    plx.equal(result.code, code, "exit code", result)
    return json.loads(result.out), result


def refused(*args, says):
    """exit code 2, one line that says what is wrong, nothing else"""
    result = perf(*args)
    plx.equal(result.code, 2, "exit code", result)
    plx.equal(result.out, "", "standard output", result)
    plx.check(re.fullmatch(r"plx-perf: [^\n]+\n", result.err), "one line was wanted on stderr", result)
    plx.check(says in result.err, f"the line lacks {says!r}", result)


def mismatch_lines(result):
    return re.findall(r"^plx-perf: verify: LBA (\d+): (.*)$", result.err, re.MULTILINE)


# ---- what is refused ----

def test_values_that_make_no_sense_are_refused_by_name():
    for args, says in (
            (["-q", "0"], "'0'"),
            (["-q", "many"], "'many'"),
            (["-o", "4x"], "'4x'"),
            (["-o", "1000"], "'1000'"),
            (["-o", "4k:50,8k:20"], "add up to 70"),
            (["-w", "backwards"], "'backwards'"),
            (["-w", "rw", "-M", "101"], "'101'"),
            (["-t", "0"], "'0'"),
            (["-t", "soon"], "'soon'"),
            (["-a", "-1"], "'-1'"),
            (["-c", "banana"], "'banana'"),
            (["-c", "[1023]"], "core 1023"),
            (["-r", "nonsense"], "'nonsense'"),
            (["-r", "trtype:FLOPPY traddr:0"], "'FLOPPY'"),
            (["-r", "trtype:PCIe traddr:zz"], "'zz'"),
            (["-r", "trtype:TCP traddr:127.0.0.1 trsvcid:4420"], "no transport TCP"),
            (["-P", "0"], "'0'"),
            (["-d", "0"], "'0'"),
            (["-O", "3"], "'3'"),
            (["-A", "3"], "'3'"),
            (["-C", "x"], "'x'"),
            (["-F", "2.5"], "'2.5'"),
            (["-e", "PRACT=7"], "PRACT=7"),
            (["-s", "none"], "'none'"),
            (["-Q", "0"], "'0'"),
            (["-T", "nosuch"], "'nosuch'"),
            (["--interval", "0"], "'0'"),
            (["--timeout", "x"], "'x'"),
            (["--seed", "dice"], "'dice'"),
            (["--virtual", "size=0"], "size=0"),
            (["--virtual", "size=1Q"], "'1Q'"),
            (["--virtual", "colour=red"], "colour"),
            (["--virtual", "bdev=floppy"], "floppy"),
            (["--virtual", "latency=warp"], "warp"),
            (["--virtual", "error=fail"], "fail"),
            (["--virtual", "core=1023"], "core 1023")):
        refused(*args, says=says)


def test_contradictions_are_refused_with_a_remedy():
    for args, says in (
            (["-w", "randrw"], "add -M"),
            (["-M", "50"], "leave it out"),
            (["-w", "read", "-F", "0.9"], "sequential"),
            (["-d", "5", "-a", "1"], "leave one of them out"),
            (["-r", "trtype:PCIe traddr:04:00.0", "--virtual", SMALL], "choose one"),
            (["--verify", "-w", "randwrite"], "-w randrw"),
            (["--verify", "-w", "randread", "-r", "trtype:PCIe traddr:04:00.0"], "overwrite"),
            (["--timeout-action", "reset"], "--timeout"),
            (["--json", "-", "--hist", "-"], "of its own"),
            (["-O", "8k"], "smaller")):
        refused(*args, says=says)


def test_unknown_options_are_refused_by_name():
    for args, says in (
            (["-z"], "'-z'"),
            (["--fast"], "'--fast'"),
            (["--ver"], "ambiguous"),
            (["-q"], "-q needs a value"),
            (["--json"], "--json needs a value"),
            (["--verify=yes"], "'=yes'"),
            (["/dev/nvme0n1"], "'/dev/nvme0n1'")):
        refused(*args, says=says)


def test_requests_that_do_not_fit_the_device_are_refused():
    for args, says in (
            (["-o", "512", "--virtual", "size=16M,block=4096"], "multiple of 4096"),
            (["-o", "128k", "--virtual", "size=64k"], "too small"),
            (["--verify", "-q", "64", "-o", "64k", "--virtual", "size=1M"], "too small for --verify"),
            (["-q", "2000", "--virtual", SMALL], "lower -q"),
            (["-e", "PRACT=1", "--virtual", SMALL], "md=8,pi=1")):
        refused(*args, "-t", "1", says=says)


def test_values_of_several_lines_are_answered_in_one():
    refused("-w", "a\nb", says="'a?b'")


# ---- what needs no device ----

def test_help_goes_to_standard_output():
    result = perf("--help").ok()
    plx.equal(result.err, "", "standard error", result)
    for word in ("Load:", "Results:", "--io-depth", "--virtual", "size", "latency", "Examples:", "Exit code"):
        plx.check(word in result.out, f"--help lacks {word!r}", result)
    plx.check(len(re.findall(r"^  plx-perf", result.out, re.MULTILINE)) >= 5, "fewer than five examples", result)


def test_version_is_one_line():
    result = perf("--version").ok()
    plx.check(re.fullmatch(r"plx-perf \d+\.\d+\.\d+\n", result.out), "no version", result)


@plx.long
def test_documented_commands_run():
    text = (plx.SOURCE / "docs" / "perf.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("plx-perf")]
    plx.check(len(commands) >= 8, f"there are {len(commands)} commands in docs/perf.md")
    for name, *args in commands:
        if "-r" in args:  # a device that is not here
            continue
        with plx.scratch() as scratch:
            result = plx.run(name, *args, "-t", "200ms", cwd=scratch, timeout=120)
        # a fault that is asked for may be met in that time
        codes = (0, 1) if "error=" in " ".join(args) else (0,)
        plx.check(result.code in codes, f"exit code {codes} was wanted", result)
        plx.check("IOPS" in result.out, "no results", result)


# ---- what options do ----

def test_number_of_ios_is_exact():
    for args, wanted in ((["-q", 8, "-d", 1000], 1000), (["-q", 1, "-d", 1], 1), (["-q", 64, "-d", 3], 3),
                         (["-q", 4, "-d", 777, "-P", 3], 3 * 777), (["-d", 500, "-C", 1], 500)):
        results, result = measured(*args)
        plx.equal(results["total"]["ios"], wanted, "I/Os", result)
        plx.equal(results["total"]["errors"], 0, "errors", result)


def test_reads_have_their_share():
    for share in (1, 20, 70, 99):
        results, result = measured("-w", "randrw", "-M", share, "-d", 20000, "--seed", 7)
        got = 100 * results["total"]["read"]["ios"] / results["total"]["ios"]
        plx.check(abs(got - share) < 2, f"{got:.2f} % of the I/Os are reads, not {share} %", result)


def test_sizes_have_their_shares():
    results, result = measured("-o", "4k:70,64k:30", "-d", 20000, "-q", 16)
    mean = results["total"]["bytes"] / results["total"]["ios"]
    wanted = 0.7 * 4096 + 0.3 * 65536
    plx.check(abs(mean / wanted - 1) < 0.05, f"the mean size is {mean:.0f}, not {wanted:.0f}", result)


def test_every_pattern_and_buffer_layout_runs():
    for args in (["-w", "read"], ["-w", "write"], ["-w", "rw", "-M", 50], ["-w", "randwrite"], ["-F", 0.99],
                 ["-F", 1.2, "-o", "4k:50,8k:50"], ["-O", 512], ["-O", "1k", "-w", "write", "-o", "16k"], ["-A", 4],
                 ["-A", "1M"], ["-C", 2], ["-P", 4], ["-N"], ["-s", 128], ["--no-huge"], ["-o", "1M"], ["-o", "1536"]):
        results, result = measured(*QUICK, *args)
        plx.equal(results["total"]["errors"], 0, f"errors with {args}", result)


def test_protection_information_is_accepted_where_the_format_has_it():
    for layout in ("md=8,pi=1", "md=8,pi=1,extended", "md=16,pi=2,block=4096"):
        results, result = measured(*QUICK, "-w", "randrw", "-M", 50, "-e", "PRACT=1,PRCHK=GUARD|REFTAG",
                                   virtual=f"{SMALL},{layout}")
        plx.equal(results["total"]["errors"], 0, f"errors with {layout}", result)


@plx.long
def test_time_is_honoured():
    results, result = measured("-t", "1")
    plx.check(result.seconds >= 1, "it ended before its time", result)
    plx.check(results["total"]["ios"] > 0, "nothing was measured", result)
    _, quick = measured("-t", "50ms")
    plx.check(quick.seconds < 30 * plx.PATIENCE, "it did not end", quick)


def test_the_same_seed_reads_the_same_blocks():
    def places(seed):
        # one queue pair and depth 1: the order of completions is that of submissions
        result = perf("-q", 1, "-d", 300, "--seed", seed, "-Q", 1, "--virtual", f"{SMALL},error=fail:read:1")
        plx.equal(result.code, 1, "exit code", result)
        return re.findall(r"LBA (\d+)", result.err)
    first = places(11)
    plx.equal(len(first), 300, "failed reads in the log")
    plx.equal(places(11), first, "places with the same seed")
    plx.check(places(12) != first, "another seed gives the same places")


def test_json_alone_is_on_standard_output():
    for more in ([], ["-L"], ["-LL"], ["-l"], ["--calibrate"], ["--interval", "50ms", "-t", "200ms"]):
        _, result = measured("-t", "100ms", *more)
        plx.check(result.out.lstrip().startswith("{"), "there is more than JSON", result)


def test_device_latency_says_that_none_is_reported():
    result = perf("-l", *QUICK, "--virtual", SMALL).ok()
    plx.check(re.search(r"^device-side latency: not reported by .*virtual", result.out, re.MULTILINE), "no word", result)


def test_debug_messages_are_on_request():
    quiet = perf(*QUICK, "--virtual", SMALL).ok()
    plx.check("debug" not in quiet.err, "debug messages unasked", quiet)


def test_two_runs_in_a_row_are_alike():
    for _ in range(2):
        perf("-t", "100ms", "--virtual", SMALL).ok()


def test_an_ordinary_user_can_run_it():
    if os.geteuid():
        plx.skip("this is one already")
    with plx.scratch() as scratch:
        os.chmod(scratch, 0o755)
        copy = shutil.copy(plx.program("plx-perf"), scratch)
        os.chmod(copy, 0o755)
        # a sanitizer says what it finds on standard error: that user may neither read the suppressions where
        # they are nor write into the directory of reports
        suppressions = shutil.copy(os.path.join(os.path.dirname(__file__), "..", "..", "ci", "lsan.supp"), scratch)
        sanitizer = {"LSAN_OPTIONS": f"suppressions={suppressions}:print_suppressions=0",
                     "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
        result = plx.run("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, *QUICK,
                         "--virtual", SMALL, "--json", "-", cwd="/", env=sanitizer).ok()
    plx.equal(json.loads(result.out)["total"]["ios"], 2000, "I/Os", result)


# ---- data ----

def test_verify_finds_nothing_on_a_sound_device():
    for layout in ("", ",block=4096", ",md=8,extended", ",md=8,pi=1"):
        results, result = measured("--verify", "-w", "randrw", "-M", 50, "-t", "300ms", "-q", 32,
                                   "-o", "4k:50,20k:30,128k:20", virtual=f"size=64M{layout}")
        plx.equal(mismatch_lines(result), [], "mismatches", result)
        plx.check(results["total"]["read"]["ios"] > 0, "nothing was read", result)


def test_verify_reports_each_corruption_with_its_lba():
    rules = ",".join(f"error=corrupt:read:#{n}" for n in (10, 200, 500))
    result = perf("--verify", "-w", "randrw", "-M", 50, "-d", 4000, "-q", 16, "--virtual", f"{SMALL},{rules}")
    plx.equal(result.code, 1, "exit code", result)
    lines = mismatch_lines(result)
    plx.equal(len(lines), 3, "mismatches reported", result)
    for lba, what in lines:
        plx.check(int(lba) < 16 * 2048, f"LBA {lba} is outside of the device", result)
        plx.check("corrupt content" in what, f"unexpected: {what}", result)


def test_verify_reports_each_mismatch():
    results, result = measured("--verify", "-w", "randread", "-d", 3000, virtual=f"{SMALL},error=corrupt:read:0.05",
                               code=1)
    plx.check(results["total"]["mismatches"] > 100, "mismatches counted", result)
    plx.equal(len(mismatch_lines(result)), results["total"]["mismatches"], "mismatches reported", result)


# ---- how it ends ----

def test_interrupts_show_the_results_so_far():
    for number in (signal.SIGINT, signal.SIGTERM):
        with plx.start("plx-perf", "-t", "10m", "--virtual", SMALL, "--json", "-") as running:
            running.wait_busy(0.4)
            running.signal(number)
            result = running.wait()
        plx.equal(result.code, 0, "exit code", result)
        plx.check("interrupted" in result.err, "no word about the interruption", result)
        plx.check(json.loads(result.out)["total"]["iops"] > 0, "no results", result)


def test_failed_io_stops_the_run_unless_told_otherwise():
    rule = f"{SMALL},error=fail:read:1"
    result = perf("-t", "10m", "-q", 1, "-w", "randrw", "-M", 10, "--virtual", rule)
    plx.equal(result.code, 1, "exit code", result)
    plx.equal(len(re.findall(r"read of 8 blocks at LBA \d+ failed: ", result.err)), 1, "errors in the log", result)
    results, result = measured("-d", 5000, "-Q", 10, "-w", "randrw", "-M", 10, virtual=rule, code=1)
    errors = results["total"]["errors"]
    plx.check(300 < errors < 700, f"{errors} errors in 5000 I/Os of which a tenth are reads and fail", result)
    plx.equal(results["total"]["ios"] + errors, 5000, "I/Os", result)
    plx.equal(len(re.findall(r"at LBA \d+ failed: ", result.err)), errors // 10, "errors in the log", result)


def test_hanging_commands_are_aborted_or_reset_and_the_rest_goes_on():
    for kind, action in (("hang", "abort"), ("hang", "reset"), ("hang-hard", "abort")):
        results, result = measured("-d", 3000, "-Q", 1, "--timeout", "200ms", "--timeout-action", action,
                                   virtual=f"{SMALL},error={kind}:read:#100", code=1)
        total = results["total"]
        plx.check(total["errors"] >= 1, "the command that hung did not fail", result)
        plx.equal(total["ios"] + total["errors"], 3000, f"I/Os with {kind} and {action}", result)


def test_a_device_that_vanishes_ends_the_run():
    result = perf("-t", "10m", "--timeout", "300ms", "--virtual", f"{SMALL},vanish=200ms")
    plx.equal(result.code, 1, "exit code", result)
    plx.check(re.search(r"failed|gone|removed", result.err), "no word about it", result)


def test_results_are_printed_even_when_a_file_cannot_be_written():
    for path in ("/nonexistent/result.json", "/dev/full"):
        for option in ("--json", "--hist"):
            result = perf(*QUICK, "--virtual", SMALL, option, path)
            plx.equal(result.code, 1, "exit code", result)
            plx.check(path in result.err, "the file is not named", result)
            plx.check("IOPS" in result.out, "no results", result)


def test_results_that_nobody_reads_are_an_error():
    result = plx.run("/bin/sh", "-c", 'exec "$0" -d 10 --virtual size=16M >/dev/full', plx.program("plx-perf"))
    plx.equal(result.code, 1, "exit code", result)
    plx.check("standard output" in result.err, "no word about it", result)


plx.main()
