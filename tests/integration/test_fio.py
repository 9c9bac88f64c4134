#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The fio engines, in the fio that is installed: job files, options, errors, what is left behind."""
import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import time

import plx

FIO = shutil.which("fio")
ENGINES = plx.BUILD / "fio_plugin/libpollux-fio.so"
BDEV_ENGINE = plx.BUILD / "fio_plugin/libpollux-fio-bdev.so"
EXAMPLES = plx.SOURCE / "fio_plugin/examples"
PRELOAD = {"LD_PRELOAD": str(ENGINES)}
VIRTUAL = "trtype=VIRTUAL traddr=v ns=1"
SMALL = "--virtual=size=16M"
BDEVS = {"subsystems": [{"subsystem": "bdev", "config": [
    {"method": "bdev_null_create", "params": {"name": "Null0", "num_blocks": 1 << 20, "block_size": 512}},
    {"method": "bdev_malloc_create", "params": {"name": "Malloc0", "num_blocks": 4096, "block_size": 4096}}]}]}

scratch = plx.scratch()
directory = pathlib.Path(scratch.name)


def options(*args, engine="spdk", filename=VIRTUAL):
    return ["--name=job", f"--ioengine={engine}", "--thread=1", "--bs=4k", "--iodepth=8", "--verify_state_save=0",
            "--output-format=json", f"--filename={filename}", *args]


def fio(*args, env=PRELOAD, program=FIO, **more):
    """runs fio in the scratch directory"""
    return plx.run(program, *args, env=env, cwd=directory, **more)


def job(*args, **more):
    """runs one job, that is to succeed; its part of the report"""
    result = fio(*options(*args, **more)).ok()
    return jobs_of(result)[0]


def report_of(result):
    return json.loads(result.out[result.out.index("{\n"):])


def jobs_of(result):
    """the jobs of the report, none of which may have failed"""
    jobs = report_of(result)["jobs"]
    for j in jobs:
        plx.equal(j["error"], 0, f"error of job {j['jobname']}", result)
    return jobs


def ios(j, *kinds):
    return sum(j[k]["total_ios"] for k in kinds or ("read", "write", "trim"))


@contextlib.contextmanager
def started(*args, env=PRELOAD):
    with plx.start(FIO, *args, env=env, cwd=directory) as running:
        yield running


def lines(result):
    return [line for line in result.err.splitlines() if line.strip()]


# ---- job files ----

def test_examples_run():
    # these want an SSD: tests/vm/test_fio.py
    files = sorted(f for f in EXAMPLES.glob("*.fio") if f.name not in ("zoned.fio", "bdev-nvme.fio"))
    plx.check(len(files) >= 7, f"only {len(files)} examples in {EXAMPLES}")
    for file in [*files, *EXAMPLES.glob("*.json")]:
        text = re.sub(r"\bsize=\d+M", "size=16M", file.read_text().replace("runtime=10", "runtime=100ms"))
        (directory / file.name).write_text(text.replace("/tmp/pollux-fio.sock", str(directory / "example.sock")))
    for file in files:
        result = fio("--output-format=json", file.name).ok()
        plx.equal(lines(result), [], f"what {file.name} said", result)
        for j in jobs_of(result):
            plx.check(ios(j), f"{file.name}: {j['jobname']} did nothing", result)


def test_engines_are_found_by_name_and_by_path():
    read = ("--rw=randread", SMALL, "--io_size=1M")
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    for engine in ("spdk", "pollux", f"external:{ENGINES}", str(ENGINES)):
        env = PRELOAD if "/" not in engine else {}
        j = jobs_of(fio(*options(*read, engine=engine), env=env).ok())[0]
        plx.equal(ios(j), 256, f"reads with {engine}")
    for engine in ("spdk_bdev", "pollux_bdev", f"external:{BDEV_ENGINE}", str(BDEV_ENGINE)):
        env = PRELOAD if "/" not in engine else {}
        j = jobs_of(fio(*options("--rw=randread", "--io_size=1M", "--spdk_json_conf=bdevs.json", engine=engine,
                                 filename="Malloc0"), env=env).ok())[0]
        plx.equal(ios(j), 256, f"reads with {engine}")


def test_programs_on_the_way_to_fio_take_the_preload():
    fio("/usr/bin/env", "true", program="/usr/bin/nice").ok()


def test_both_engines_in_one_run():
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    both = jobs_of(fio(*options("--rw=randread", SMALL, "--io_size=1M"), "--name=other", "--ioengine=spdk_bdev",
                       "--thread=1", "--rw=randread", "--io_size=1M", "--bs=4k", "--filename=Null0",
                       "--spdk_json_conf=bdevs.json").ok())
    plx.equal([ios(j) for j in both], [256, 256], "reads")


# ---- what jobs do ----

def test_queues_have_priorities():
    """which commands go first is a matter of tests/unit/test_nvmf_arbitration.c"""
    weights = ("--low_weight=1", "--medium_weight=4", "--high_weight=16", "--arbitration_burst=3")
    for spec in ("size=16M", f"size=16M,core={min(os.sched_getaffinity(0))}"):
        result = fio(*options("--enable_wrr=1", *weights, f"--virtual={spec}", "--rw=randread", "--io_size=2M", "--wrr_priority=0",
                              "--print_qid_mappings=1"), *[
            word for prio in (1, 2, 3) for word in ("--name=more", *options(
                "--enable_wrr=1", *weights, f"--virtual={spec}", "--rw=randread", "--io_size=2M", f"--wrr_priority={prio}",
                "--print_qid_mappings=1")[1:])]).ok()
        plx.equal([ios(j) for j in jobs_of(result)], [512] * 4, "I/Os", result)
        priorities = dict(re.findall(r"job (\d) .* is on queue pair \d+, of (\w+) priority", result.out))
        plx.equal([priorities.get(job) for job in "1234"], ["urgent", "high", "medium", "low"], "priorities", result)


def test_what_is_written_is_what_is_read():
    for more in ([], ["--bs=64k", "--enable_sgl=1", "--sge_size=1024"], ["--bs=1m"], ["--iodepth=1"],
                 ["--iodepth=32", "--iodepth_batch=8", "--iodepth_batch_complete_min=4", "--iodepth_batch_complete_max=8"],
                 ["--bsrange=512-16k", "--verify_backlog=64"]):
        j = job("--rw=randwrite", "--verify=crc32c", SMALL, *more)
        plx.check(ios(j, "write") and ios(j, "read"), f"{more}: nothing written or nothing verified")


def test_verify_finds_what_is_not_as_written():
    result = fio(*options("--rw=randwrite", "--verify=crc32c", "--virtual=size=16M,error=corrupt:read:0.05"))
    result.fails(1, "verify: ")


def test_trims_flushes_and_events_that_are_not_waited_for():
    for more, kind in ((["--rw=randtrim"], "trim"), (["--rw=trimwrite", "--verify=crc32c"], "trim"),
                       (["--rw=randwrite", "--fsync=8", "--end_fsync=1"], "write"),
                       (["--rw=randrw", "--iodepth_batch_complete_min=0"], "write"),
                       (["--rw=randrw", "--iodepth_batch_complete_min=0", "--virtual=size=16M,latency=fixed:20us"], "write"),
                       (["--rw=randread", "--rate_iops=20000", "--io_size=4M"], "read")):
        j = job(SMALL, *more)
        plx.check(ios(j, kind) >= 512, f"{more}: {ios(j, kind)} I/Os of {kind}")


def test_zones_that_fio_makes_up():
    zoned = ["--rw=randwrite", "--verify=crc32c", "--direct=1", "--zonemode=zbd", "--zonesize=1M"]
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    for j in (job(SMALL, *zoned), job("--spdk_json_conf=bdevs.json", *zoned, engine="spdk_bdev", filename="Malloc0")):
        plx.check(ios(j, "write") and ios(j, "read"), "nothing written or nothing verified")


def test_jobs_share_controllers():
    for spec in ("size=16M", f"size=16M,core={min(os.sched_getaffinity(0))}"):
        result = fio(*options("--rw=randrw", f"--virtual={spec}", "--numjobs=4", "--io_size=2M",
                              filename=f"{VIRTUAL}:trtype=VIRTUAL traddr=w"), "--print_qid_mappings=1").ok()
        plx.equal([ios(j) for j in jobs_of(result)], [512] * 4, "I/Os", result)
        plx.equal(len(re.findall(r"is on queue pair \d", result.out)), 8, "queue pairs", result)


def test_queues_are_counted_for_jobs_that_run_at_once():
    spec = f"--virtual=size=16M,queues=2,core={min(os.sched_getaffinity(0))}"
    args = options("--rw=randread", spec, "--io_size=1M", "--numjobs=2")
    later = ["--name=later", "--stonewall", *args[1:]]
    plx.equal(len(jobs_of(fio(*args, *later).ok())), 4, "jobs")
    one_line(fio(*args, *[w for w in later if w != "--stonewall"]), "2 I/O queues.* want 4: lower numjobs")


def test_percentages_and_offsets_are_of_the_device():
    j = job("--rw=write", SMALL, "--size=25%", "--offset=50%")
    plx.equal(ios(j, "write"), 1024, "writes of 25 % of 16 MiB")


def test_protection_information():
    checks = ["--pi_chk=GUARD|REFTAG|APPTAG"]
    for form, act, more in (("md=8,pi=1", 1, ["--verify=crc32c"]), ("md=8,pi=1", 0, ["--verify=crc32c"]),
                            ("md=8,pi=1,extended", 1, ["--verify=crc32c"]), ("md=8,pi=1,extended", 0, ["--bs=4160"]),
                            ("md=16,pi=2,extended", 1, ["--bs=4224"]), ("md=16,pi=2", 0, ["--enable_sgl=1"]),
                            ("md=8,extended", 0, ["--bs=4160", "--verify=crc32c"])):
        more = [f"--virtual=size=4M,{form}", f"--pi_act={act}", *(checks if "pi=" in form else []), *more]
        job("--rw=randwrite", *more)
        job("--rw=randrw", *[m for m in more if not m.startswith("--verify")])
    one_line(fio(*options("--rw=randread", "--virtual=size=4M,md=8,pi=1", "--pi_act=0", "--md_per_io_size=32")),
             "md_per_io_size=32 is less than the 64 bytes")
    one_line(fio(*options("--rw=randwrite", "--virtual=size=4M,md=8,pi=1,extended", "--pi_act=0", "--bs=4160",
                          "--verify=crc32c")), "verify")
    # the tag that was written is not the one that is checked
    result = fio(*options("--rw=write", "--virtual=size=4M,md=8,pi=1", *checks, "--apptag=1", "--end_fsync=1"),
                 "--name=read", "--stonewall", *options("--rw=read", "--virtual=size=4M,md=8,pi=1", *checks, "--apptag=2")[1:])
    result.fails(1, "fio: .*APPLICATION TAG")


def test_protection_information_is_checked_on_the_host():
    spec = "--virtual=size=4M,md=8,pi=1,error=corrupt:read:1"
    for chk, says in (("GUARD", "fio: the protection information is not that of the data"), (None, None)):
        result = fio(*options("--rw=write", spec), "--name=read", "--stonewall",
                     *options("--rw=read", spec, "--pi_act=0", *([f"--pi_chk={chk}"] if chk else []))[1:])
        if says:
            result.fails(1, says)
        else:
            result.ok()


def test_errors_are_counted_where_they_are_to_be():
    spec = "--virtual=size=16M,error=fail:read:0.01"
    result = fio(*options("--rw=randread", spec))
    result.fails(1, r"fio: io_u error on file .*\nfio: .*\(0\d/[0-9a-f]{2}\)")
    result = fio(*options("--rw=randread", spec, "--continue_on_error=io")).ok()
    j = report_of(result)["jobs"][0]
    plx.check(j["total_err"] > 0 and j["first_error"] == errno.EIO, "no errors were counted", result)
    plx.equal(ios(j), 4096, "reads", result)


# ---- over vfio-user ----

NQN = {"nqn": "nqn.2024-01.io.pollux:fio"}


SLOW = {"subsystems": [{"subsystem": "bdev", "config": [
    {"method": "bdev_malloc_create", "params": {"name": "Malloc0", "num_blocks": 4096, "block_size": 4096}},
    {"method": "bdev_null_create", "params": {"name": "Fast0", "num_blocks": 1 << 20, "block_size": 512}},
    {"method": "bdev_delay_create", "params": {"name": "Null0", "base_bdev_name": "Fast0", **{
        f"{which}_{kind}_latency": 20000 for which in ("avg", "p99") for kind in ("read", "write")}}}]}]}


@contextlib.contextmanager
def target(bdevs=BDEVS):
    """a plx-tgt with a malloc and a null namespace; the directory of its controller"""
    with plx.scratch() as place:
        config = {"subsystems": [*bdevs["subsystems"], {"subsystem": "nvmf", "config": [
            {"method": "nvmf_create_transport", "params": {"trtype": "VFIOUSER"}},
            {"method": "nvmf_create_subsystem", "params": {**NQN, "allow_any_host": True}},
            {"method": "nvmf_subsystem_add_ns", "params": {**NQN, "namespace": {"bdev_name": "Malloc0", "nsid": 1}}},
            {"method": "nvmf_subsystem_add_ns", "params": {**NQN, "namespace": {"bdev_name": "Null0", "nsid": 2}}},
            {"method": "nvmf_subsystem_add_listener",
             "params": {**NQN, "listen_address": {"trtype": "VFIOUSER", "traddr": place}}}]}]}
        path = pathlib.Path(place, "config.json")
        path.write_text(json.dumps(config))
        with plx.start("plx-tgt", "--no-huge", "-r", f"{place}/rpc.sock", "-c", path) as running:
            running.wait_for("ready")
            yield place, running


def test_a_target_in_another_process():
    with target() as (place, running):
        file = f"trtype=VFIOUSER traddr={place} ns={{}}"
        j = job("--rw=randwrite", "--verify=crc32c", filename=file.format(1))
        plx.equal((ios(j, "write"), ios(j, "read")), (4096, 4096), "written and verified")
        plx.equal(ios(job("--rw=randtrim", filename=file.format(1))), 4096, "trims")
        result = fio(*options("--rw=randread", "--numjobs=3", "--io_size=2M", filename=file.format(2))).ok()
        plx.equal([ios(j) for j in jobs_of(result)], [512] * 3, "I/Os", result)
        one_line(fio(*options("--rw=randread", filename=file.format(3))), "no active namespace 3")
        one_line(fio(*options("--rw=randread", "--virtual=size=1G", filename=file.format(1))), "it goes with trtype=VIRTUAL")
        with started(*options("--rw=randread", "--time_based=1", "--runtime=60", filename=file.format(2))) as run:
            run.wait_busy(0.5)
            running.kill()
            run.wait(20).fails(1, "closed the connection")


def test_a_configuration_attaches_a_controller():
    before = plx.leftovers()
    with target() as (place, running):
        config = json.loads((EXAMPLES / "bdev-nvme.json").read_text())
        config["subsystems"][0]["config"][0]["params"].update(trtype="VFIOUSER", traddr=str(place))
        (directory / "bdev-nvme.json").write_text(json.dumps(config))
        (directory / "bdev-nvme.fio").write_text((EXAMPLES / "bdev-nvme.fio").read_text().replace("runtime=10", "runtime=100ms"))
        for j in jobs_of(fio("--output-format=json", "bdev-nvme.fio").ok()):
            plx.check(ios(j), "the example did nothing")
        through = {"engine": "spdk_bdev", "filename": "Nvme0n1"}
        conf = "--spdk_json_conf=bdev-nvme.json"
        j = job("--rw=randwrite", "--verify=crc32c", "--bsrange=4k-512k", "--iodepth=64", conf, **through)
        plx.equal(j["write"]["io_bytes"], j["read"]["io_bytes"], "written and verified")
        # by the driver alone it is the same data
        job("--rw=write", "--bs=64k", "--verify=crc32c", "--do_verify=0", conf, **through)
        job("--rw=read", "--bs=64k", "--verify=crc32c", "--verify_only=1", filename=f"trtype=VFIOUSER traddr={place} ns=1")
        plx.equal(ios(job("--rw=randtrim", conf, **through)), 4096, "trims")
        one_line(fio(*options("--rw=randread", conf, engine="spdk_bdev", filename="Nvme0n9")), "no bdev of that name")
        with started(*options("--rw=randread", "--time_based=1", "--runtime=60", conf, **through)) as run:
            run.wait_busy(0.5)
            running.kill()
            run.wait(20).fails(1, "closed the connection")
        fio(*options("--rw=randread", conf, **through)).fails(1, "bdev_nvme_attach_controller: .*cannot be reached")
    plx.equal(plx.leftovers() - before, set(), "what is left")


def test_parts_of_reads_are_dropped():
    with target() as (place, _):
        def bytes_read():
            stat = plx.run("plx-rpc", "-s", f"{place}/rpc.sock", "bdev_get_iostat", "--name", "Malloc0").ok().json()
            return stat["bdevs"][0]["bytes_read"]

        file = f"trtype=VFIOUSER traddr={place} ns=1"
        for more in ([], ["--enable_sgl=1", "--sge_size=1024"]):
            before = bytes_read()
            j = job("--rw=randwrite", "--size=1M", "--verify=crc32c", "--bit_bucket_data_len=8192", *more, filename=file)
            plx.equal((ios(j, "read"), bytes_read() - before), (256, 3 << 20), "reads, and bytes that the device read for them")
        # the last read has a bucket behind it
        plx.equal(ios(job("--rw=read", "--bit_bucket_data_len=8192", filename=file)), 4094, "reads of the whole device")


def test_neighbouring_pieces_are_one_descriptor_or_several():
    """which shows in the commands: a list holds 256 descriptors"""
    with target() as (place, _):
        def commands():
            stat = plx.run("plx-rpc", "-s", f"{place}/rpc.sock", "bdev_get_iostat", "--name", "Malloc0").ok().json()
            return stat["bdevs"][0]["num_write_ops"]

        for more, each in (([], 1), (["--disable_pcie_sgl_merge=1"], 2)):
            before = commands()
            j = job("--rw=write", "--size=1M", "--bs=128k", "--enable_sgl=1", "--sge_size=256", "--verify=crc32c", *more,
                    filename=f"trtype=VFIOUSER traddr={place} ns=1")
            plx.equal((ios(j, "write", "read"), commands() - before), (16, 8 * each), f"I/Os and commands that write with {more}")


def test_memory_is_as_much_as_is_asked_for():
    large = ("--rw=randread", "--bs=1m", "--iodepth=32", "--io_size=64M", "--virtual=size=64M,bdev=null")
    plx.equal(ios(job(*large, "--mem_size_mb=128")), 64, "reads")
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    bdev = (*large[:-1], "--spdk_json_conf=bdevs.json", "--spdk_single_seg=1")
    plx.equal(ios(job(*bdev, "--spdk_mem=128", engine="spdk_bdev", filename="Null0")), 64, "reads of a bdev")
    if plx.hugepages_free():
        return  # of which more come as they are needed
    one_line(fio(*options(*large, "--mem_size_mb=8")), "set mem_size_mb")
    fio(*options(*bdev, "--spdk_mem=8", engine="spdk_bdev", filename="Null0")).fails(1, "spdk_mem")


def test_debug_messages_are_those_of_the_components():
    read = ("--rw=randread", "--io_size=1M")
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    for flags, shown in (("nvme", {"nvme"}), ("nvmf", {"nvmf"}), ("nvme,bdev", {"nvme", "bdev"}), ("all", {"nvme", "nvmf", "bdev"})):
        result = fio(*options(*read, SMALL, f"--log_flags={flags}")).ok()
        plx.equal(set(re.findall(r"^spdk: (\w+): debug: ", result.err, re.M)), shown, f"components with {flags}", result)
    result = fio(*options(*read, "--spdk_json_conf=bdevs.json", "--log_flags=bdev", engine="spdk_bdev", filename="Malloc0")).ok()
    plx.check("Malloc0: registered, 4096 blocks of 4096 bytes" in result.err, "the bdev is not told of", result)


def test_arguments_for_dpdk_are_passed_on():
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))

    def run(context, *more):
        return fio(*options("--rw=randread", "--io_size=1M", "--spdk_json_conf=bdevs.json", f"--env_context={context}",
                            engine="spdk_bdev", filename="Malloc0"), *more)

    run("--proc-type=primary  --file-prefix=other").ok()
    run("--no-such-argument").fails(1, "no-such-argument")
    other = [w.replace("other", "third") for w in options("--rw=randread", "--spdk_json_conf=bdevs.json", "--env_context=--log-level=other",
                                                          engine="spdk_bdev", filename="Malloc0")]
    one_line(run("--file-prefix=other", *other), "env_context=--log-level=third: another job .*--file-prefix=other")


def test_interrupts_are_waited_for():
    with target(SLOW) as (place, _):
        file = f"trtype=VFIOUSER traddr={place} ns={{}}"
        for more in ([], ["--iodepth=32", "--iodepth_batch_complete_min=0", "--bs=64k"], ["--rate_iops=2000"]):
            j = job("--rw=randwrite", "--verify=crc32c", "--enable_interrupts=1", *more, filename=file.format(1))
            plx.check(ios(j, "read") >= 256, f"{more}: {ios(j, 'read')} reads verified")
        # of 20 ms, one at a time: nearly all of the time there is nothing to do
        j = job("--rw=randread", "--iodepth=1", "--enable_interrupts=1", "--number_ios=100", filename=file.format(2))
        plx.equal(ios(j), 100, "reads")
        share = j["usr_cpu"] + j["sys_cpu"]
        plx.check(share < 20, f"{share:.0f} % of a processor while it waits")
        one_line(fio(*options("--rw=randread", "--enable_interrupts=1", filename=file.format(1)), "--name=polls", *options(
            "--rw=randread", filename=file.format(2))[1:]), "enable_interrupts=0: another job uses .* with enable_interrupts=1")


# ---- the block layer ----

def test_methods_are_answered_while_fio_runs():
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    socket = directory / "rpc.sock"
    with started(*options("--rw=randread", "--time_based=1", "--runtime=60", "--spdk_json_conf=bdevs.json",
                          f"--spdk_rpc_listen_addr={socket}", engine="spdk_bdev", filename="Malloc0")) as running:
        running.wait_busy(0.5)
        stat = plx.run("plx-rpc", "-s", socket, "bdev_get_iostat", "--name", "Malloc0").ok().json()
        plx.check(stat["bdevs"][0]["num_read_ops"] > 0, f"no reads in {stat}")
        # the job loses its device, and ends
        plx.run("plx-rpc", "-s", socket, "bdev_malloc_delete", "--name", "Malloc0").ok()
        running.wait().fails(1, "fio: the bdev was removed")
    plx.check(not socket.exists(), f"{socket} was left behind")


def test_subsystems_that_are_not_here_are_left_out_with_a_word():
    more = [{"subsystem": "accel", "config": [{"method": "accel_set_options", "params": {"small_cache_size": 1}}]}]
    (directory / "more.json").write_text(json.dumps({"subsystems": more + BDEVS["subsystems"]}))
    result = fio(*options("--rw=randwrite", "--verify=crc32c", "--spdk_json_conf=more.json", engine="spdk_bdev",
                          filename="Malloc0")).ok()
    plx.equal(len(lines(result)), 1, "lines", result)
    plx.check("no subsystem 'accel'" in result.err, "nothing was said of 'accel'", result)


# ---- errors ----

def one_line(result, says):
    plx.check(not result.timed_out and result.code > 0, "fio should have failed", result)
    plx.check(re.search(says, result.err), f"nothing on stderr matches {says!r}", result)
    plx.equal(len(lines(result)), 1, "lines that tell of it", result)


def test_what_cannot_be_is_said_in_one_line():
    read = "--rw=randread"
    for args, file, says in (
            ([], "/dev/nvme0n1", "as in filename=trtype=PCIe traddr=0000.04.00.0 ns=1"),
            ([], "trtype=FOO traddr=x", "unknown transport 'FOO'"),
            ([], "trtype=RDMA traddr=127.0.0.1", "this build has no transport RDMA"),
            ([], "trtype=VFIOUSER traddr=/none", "/none"),
            ([], "trtype=VIRTUAL traddr=v ns=7", "no active namespace 7"),
            (["--size=1T"], VIRTUAL, "size=1099511627776 .*more than the 16777216 bytes"),
            (["--filesize=1T"], VIRTUAL, "filesize=1099511627776 "),
            (["--offset=1T"], VIRTUAL, "offset=1099511627776 "),
            (["--iodepth=5000"], VIRTUAL, "iodepth=5000 is more than the 1023 commands"),
            (["--bs=1000"], VIRTUAL, "bs=1000 is no multiple of the 512-byte blocks"),
            (["--thread=0", "--numjobs=3"], VIRTUAL, "add thread=1"),
            (["--virtual=foo=1"], VIRTUAL, "foo=1: there is no such key"),
            (["--zonemode=zbd"], VIRTUAL, "zonemode=zbd"),
            (["--pi_chk=CRC"], VIRTUAL, "use GUARD, REFTAG, APPTAG"),
            (["--pi_chk=GUARD"], VIRTUAL, "not formatted with protection information"),
            (["--sge_size=6"], VIRTUAL, "sge_size=6"),
            (["--bit_bucket_data_len=100", SMALL], VIRTUAL, "multiple of the blocks"),
            (["--bit_bucket_data_len=4096", "--virtual=size=4M,md=8"], VIRTUAL, "has metadata"),
            (["--virtual=size=4G,bdev=null", "--mem_size_mb=8", "--bs=1g", "--iodepth=512"], VIRTUAL, "set mem_size_mb")):
        one_line(fio(*options(read, *(["--virtual=size=16M,bdev=null"] if "VIRTUAL" in file else []), *args, filename=file)), says)
    for option in ("shm_id=1", "disable_pcie_sgl_merge=1", "digest_enable=BOTH", "enable_vmd=1",
                   "initial_zone_reset=1", "zone_append=1", "spdk_tracing=1", "enable_interrupts=1", "arbitration_burst=3",
                   "high_weight=4", "wrr_priority=2"):
        one_line(fio(*options(read, f"--{option}", SMALL, "--numjobs=2")),
                 f"{option.partition('=')[0]}(=1: '|: ).*leave it out")
    one_line(fio(*options(read, "--enable_wrr=1", "--low_weight=4")), "low_weight=4, medium_weight=0.*set all three")


def test_what_the_block_layer_cannot_is_said_in_one_line():
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    (directory / "broken.json").write_text('{"subsystems": [\n}')
    (directory / "wrong.json").write_text(json.dumps(BDEVS).replace("num_blocks", "blocks"))
    conf = "--spdk_json_conf=bdevs.json"
    for args, file, says in (
            ([], "Null0", "name a JSON configuration with spdk_json_conf"),
            (["--spdk_json_conf=none.json"], "Null0", "none.json"),
            (["--spdk_json_conf=broken.json"], "Null0", "broken.json: line 2"),
            (["--spdk_json_conf=wrong.json", "--numjobs=2"], "Null0", "blocks"),
            ([conf], "Null1", "no bdev of that name"),
            ([conf, "--spdk_conf=a.conf"], "Null0", "write JSON"),
            ([conf, "--env_context=" + "-v " * 33], "Null0", "Argument list too long"),
            ([conf, "--thread=0"], "Null0", "add thread=1"),
            ([conf, "--bs=1k"], "Malloc0", "4096-byte blocks"),
            ([conf, "--size=1T"], "Malloc0", "more than the 16777216 bytes"),
            ([conf, "--spdk_rpc_listen_addr=/none/rpc.sock"], "Null0", "/none/rpc.sock")):
        one_line(fio(*options("--rw=randread", *args, engine="spdk_bdev", filename=file)), says)


def test_jobs_that_do_not_agree_on_a_device_are_refused():
    other = options("--rw=randread", "--virtual=size=32M", "--io_size=1M")[1:]
    one_line(fio(*options("--rw=randread", SMALL, "--io_size=1M"), "--name=other", *other),
             "virtual=size=32M: another job has made 'v' with virtual=size=16M")


def test_another_version_of_fio_is_told_of():
    program, version = pathlib.Path(FIO).read_bytes(), fio("--version", env={}).out.strip().encode()
    other = directory / "other-fio"
    other.write_bytes(program.replace(version + b"\0", b"fio-0" + version[5:] + b"\0"))
    other.chmod(0o755)
    result = fio(*options("--rw=randread", SMALL), program=other)
    result.fails(1, f"built for {version.decode()}, and this is fio-0")
    plx.check("bad ioops version" in result.err, "fio itself has not refused", result)


# ---- the end ----

def test_an_interrupt_leaves_nothing_behind():
    (directory / "bdevs.json").write_text(json.dumps(BDEVS))
    socket, before = directory / "int.sock", plx.leftovers()
    long = ("--rw=randread", "--time_based=1", "--runtime=60")
    for args in (options(*long, SMALL),
                 options(*long, f"--virtual=size=16M,core={min(os.sched_getaffinity(0))}"),
                 options(*long, "--spdk_json_conf=bdevs.json", f"--spdk_rpc_listen_addr={socket}", engine="spdk_bdev",
                         filename="Malloc0")):
        with started(*args) as running:
            running.wait_busy(0.7)
            running.signal(signal.SIGINT)
            running.wait(20).fails(128)
    plx.check(not socket.exists(), f"{socket} was left behind")
    plx.equal(plx.leftovers() - before, set(), "left in /dev/shm and among hugepages")


def test_an_interrupt_during_set_up_ends_it():
    # as much memory as is brought in before I/O begins, and no less than takes a while
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    megabytes = min(pages // 3, os.sysconf("SC_AVPHYS_PAGES") // 2) * page >> 20
    if megabytes < 2048:
        plx.skip(f"{megabytes} MiB of memory for a device are too few to be interrupted while they are brought in")
    with started(*options("--rw=randread", f"--virtual=size={megabytes}M")) as running:
        running.wait_busy(0.2)
        running.signal(signal.SIGINT)
        result = running.wait(20)
        plx.check(not result.timed_out and result.code, "it should have ended", result)


# ---- several machines ----

@contextlib.contextmanager
def namespaces(*names):
    """network namespaces of these names; the second and further ones are reached from the first, at 10.77.<i>.1"""
    with contextlib.ExitStack() as stack:
        def ip(*args):
            return plx.run("/usr/bin/env", "ip", *args)
        for i, name in enumerate(names):
            added = ip("netns", "add", name)
            if added.code:
                plx.skip(f"no network namespaces here: {added.err.strip()}")
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up").ok()
            if i:
                link = f"{name}-l"[-15:]
                ip("-n", names[0], "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name).ok()
                ip("-n", names[0], "addr", "add", f"10.77.{i}.2/24", "dev", link).ok()
                ip("-n", name, "addr", "add", f"10.77.{i}.1/24", "dev", "eth0").ok()
                ip("-n", names[0], "link", "set", link, "up").ok()
                ip("-n", name, "link", "set", "eth0", "up").ok()
        yield


def wait_for_port(running, port):
    """until the program listens there, in its network namespace"""
    deadline = time.monotonic() + 20 * plx.PATIENCE
    table = pathlib.Path(f"/proc/{running.process.pid}/net/tcp")
    while not re.search(rf":{port:04X} \S+ 0A ", table.read_text()):
        plx.check(running.process.poll() is None and time.monotonic() < deadline, f"nobody listens at {port}", running.result())
        time.sleep(0.02)


def test_clients_merge_the_results_of_servers():
    if os.geteuid() or not shutil.which("ip"):
        plx.skip("network namespaces need root and iproute2")
    here = [f"plx{os.getpid()}{x}" for x in "cab"]
    before = plx.leftovers()
    text = (EXAMPLES / "client-server.fio").read_text().replace("time_based=1\nruntime=10", "io_size=4M")
    (directory / "client.fio").write_text(text.replace("size=64M", "size=16M"))
    with namespaces(*here), contextlib.ExitStack() as stack:
        for name, i in ((here[1], 1), (here[2], 2)):
            running = stack.enter_context(plx.start("/usr/bin/env", "ip", "netns", "exec", name, FIO,
                                                    f"--server=10.77.{i}.1,8765", env=PRELOAD, cwd=directory))
            wait_for_port(running, 8765)
        result = fio("netns", "exec", here[0], FIO, "--output-format=json",
                     *[w for i in (1, 2) for w in (f"--client=10.77.{i}.1", "client.fio")], program=shutil.which("ip")).ok()
        stats = report_of(result)["client_stats"]
        each = [ios(j) for j in stats if j["jobname"] != "All clients"]
        total = [ios(j) for j in stats if j["jobname"] == "All clients"]
        plx.equal((each, total), ([1024, 1024], [2048]), "I/Os of each and of all", result)
        # an error is told to the client
        (directory / "client.fio").write_text(text.replace("size=64M", "sise=16M"))
        bad = fio("netns", "exec", here[0], FIO, "--client=10.77.1.1", "client.fio", program=shutil.which("ip"))
        plx.check("sise=16M: there is no such key" in bad.out + bad.err, "the client was not told", bad)
    plx.equal(plx.leftovers() - before, set(), "left in /dev/shm and among hugepages")


if not FIO or not ENGINES.exists():
    # one case that is skipped, and not all of them
    for case in [name for name in globals() if name.startswith("test_")]:
        del globals()[case]

    def test_the_engines():
        plx.skip("the engines are not built (-Dfio_source, see ci/fio-source)" if FIO else
                 "fio is not installed (ci/bootstrap --fio)")

plx.main()
