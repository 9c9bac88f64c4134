#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Results of real runs of plx-perf: they fit the published schema, and agree with themselves."""
import json
import math
import pathlib
import re

import jsonschema

import plx

SCHEMA = json.loads((plx.SOURCE / "docs" / "perf.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def perf(*args, **options):
    return plx.run("plx-perf", "-q", "8", "-t", "0.3", *args, **options)


def results(result):
    """what --json - wrote, valid by the schema"""
    got = result.json()
    errors = [f"{'/'.join(map(str, e.path))}: {e.message[:200]}" for e in VALIDATOR.iter_errors(got)]
    plx.check(not errors, "the schema does not allow it:\n" + "\n".join(errors), result)
    return got


def close(got, wanted, what, result):
    plx.check(math.isclose(got, wanted, rel_tol=1e-6), f"{what}: got {got}, wanted {wanted}", result)


def test_schema_is_a_schema_and_strict():
    jsonschema.Draft7Validator.check_schema(SCHEMA)

    def walk(o, where):
        if isinstance(o, dict):
            if "properties" in o:
                plx.equal(o.get("additionalProperties"), False, f"additionalProperties of {where}")
            for key, value in o.items():
                walk(value, f"{where}/{key}")
        elif isinstance(o, list):
            for i, value in enumerate(o):
                walk(value, f"{where}/{i}")

    walk(SCHEMA, "")


def test_reads_fit_the_schema_and_nothing_else_is_on_stdout():
    r = perf("-w", "randread", "--json", "-").ok()
    got = results(r)
    plx.check(got["total"]["ios"] > 0, "no I/O was done", r)
    plx.check("read" not in got["total"], "reads alone are not split", r)
    plx.equal(got["calibration"], None, "calibration", r)
    plx.equal(got["intervals"], [], "intervals", r)
    plx.equal(got["config"]["pattern"], "randread", "pattern", r)
    plx.check("--json -" in got["environment"]["command_line"], "the command line is not there", r)


def test_a_mix_on_two_queue_pairs_agrees_with_itself():
    r = perf("-w", "randrw", "-M", "70", "-o", "4k:70,16k:30", "-P", "2", "--json", "-", "--virtual",
             "bdev=malloc,size=16M").ok()
    got = results(r)
    total, jobs = got["total"], got["jobs"]
    plx.equal([(j["device"], j["queue_pair"]) for j in jobs], [(0, 0), (0, 1)], "jobs", r)
    for key in ("ios", "bytes", "errors", "polls", "sq_doorbells"):
        plx.equal(total[key], sum(j[key] for j in jobs), f"sum of {key}", r)
    plx.equal(total["ios"], total["read"]["ios"] + total["write"]["ios"], "reads and writes", r)
    close(total["iops"], total["ios"] / total["elapsed_s"], "IOPS", r)
    close(total["doorbells_per_io"], (total["sq_doorbells"] + total["cq_doorbells"]) / total["ios"], "doorbells", r)
    for figures in [total, *jobs, total["read"], total["write"]]:
        latency = figures["latency_ns"]
        order = [latency[k] for k in ("min", "p50", "p90", "p99", "p99_9", "p99_99", "p99_999", "p99_9999", "max")]
        plx.equal(order, sorted(order), "percentiles in order", r)


def test_inline_cores_have_a_job_and_a_controller_each():
    cpus = plx.run("/usr/bin/nproc").ok().out.strip()
    if int(cpus) < 2:
        plx.skip("needs two CPUs")
    r = perf("--virtual", "bdev=null,inline", "-c", "0,1", "--json", "-").ok()
    got = results(r)
    plx.equal([(j["device"], j["core"]) for j in got["jobs"]], [(0, 0), (1, 1)], "jobs", r)
    plx.equal(got["environment"]["controller"], "inline", "controller", r)
    plx.check(got["total"]["cycles_per_io"]["controller"] > 0, "the controller took no cycles", r)


def test_calibration_is_part_of_the_results():
    r = perf("--calibrate", "--json", "-", "--virtual", "bdev=malloc,size=16M").ok()
    got = results(r)
    limits = got["calibration"]
    plx.check(limits["copies_per_second"]["median"] > 0, "no copies were calibrated", r)
    close(limits["copies_per_second"]["share"],
          got["total"]["bytes_per_second"] / limits["copies_per_second"]["median"] / limits["copy_bytes"], "share", r)


def test_intervals_add_up_to_the_total():
    r = perf("--interval", "50ms", "--json", "-").ok()
    got = results(r)
    plx.check(len(got["intervals"]) >= 2, "too few intervals", r)
    plx.equal(sum(i["ios"] for i in got["intervals"]), got["total"]["ios"], "I/Os", r)


def test_errors_are_in_the_results_and_in_the_exit_code():
    r = perf("--json", "-", "--virtual", "bdev=malloc,size=16M,error=fail:read:1").fails(1)
    got = results(r)
    plx.check(got["total"]["errors"] > 0, "no error was counted", r)
    plx.check(got["jobs"][0]["first_error"]["text"], "the first error has no name", r)


def run_on_cold_memory(*args):
    """a run that had to wait for the memory of its device, which is a matter of luck: with 2 GiB seldom of bad luck"""
    for _ in range(5):
        r = perf("-w", "randread", "--virtual", "size=2G", "--json", "-", *args).ok()
        got = results(r)
        if got["environment"]["device_ready_s"] is not None:
            return got, r
        if "first use" in r.err:
            plx.skip("2 GiB are too large a part of the memory that is free")
    raise AssertionError(f"five runs did not wait for their device\n{r.describe()}")


def test_nothing_is_measured_before_the_memory_of_the_device_is_there():
    got, r = run_on_cold_memory("--interval", "100ms")
    e = got["environment"]
    plx.check(e["first_io_s"] < e["device_ready_s"], "the first I/O waited", r)
    plx.check(0.25 < got["total"]["elapsed_s"] < e["wall_s"] - (e["device_ready_s"] - e["first_io_s"]) + 0.01,
              "the wait was measured", r)


@plx.long
def test_io_that_is_counted_waits_for_the_memory_of_the_device():
    got, r = run_on_cold_memory("-d", "1000", "-t", "60")  # however busy the machine is
    plx.equal(got["total"]["ios"], 1000, "I/Os", r)
    plx.check(got["environment"]["first_io_s"] >= got["environment"]["device_ready_s"], "it did not wait", r)


def test_files_are_written_beside_the_table():
    with plx.scratch() as where:
        folder = pathlib.Path(where)
        r = perf("-P", "2", "--json", folder / "r.json", "--hist", folder / "r.hlog", "--interval", "100ms").ok()
        r.says(r"^Total +[0-9,]+ ")
        got = json.loads((folder / "r.json").read_text())
        VALIDATOR.validate(got)
        log = (folder / "r.hlog").read_text()
        plx.check(log.startswith("#["), f"no header:\n{log[:200]}")
        lines = re.findall(r"(?m)^Tag=([^,\s]+),[0-9.]+,[0-9.]+,[0-9.]+,HIST[A-Za-z0-9+/=]+$", log)
        plx.equal(len(set(lines)), 2, "tags in the log")
        plx.check(len(lines) >= 4, f"too few intervals in the log:\n{log[:2000]}")
        plx.equal(sorted(p.name for p in folder.iterdir()), ["r.hlog", "r.json"], "files")


def test_a_file_that_cannot_be_written_fails_the_run_but_not_the_table():
    r = perf("--json", "/nonexistent/r.json").fails(1, says=r"--json: '/nonexistent/r.json' could not be written: .*")
    r.says(r"^Total +[0-9,]+ ")


def test_latency_summary_and_histogram():
    r = perf("-LL", "-w", "randrw", "-M", "50", env={"LC_ALL": "C"}).ok()
    r.says(r"^ +99\.9999 % +[0-9.]+ +[0-9.]+ +[0-9.]+$")
    r.says(r"^ +[0-9.]+ - +[0-9.]+ +[0-9.]+ %  #+")
    r.says(r"^ +[0-9.]+ - +[0-9.]+ +100\.0000 % +[0-9]+ +[0-9]+ +[0-9]+$")
    plx.check(r.out.isascii(), "more than ASCII in a C locale", r)


plx.main()
