#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The fio engine on SSDs that QEMU emulates, behind an IOMMU: the example job files, verified, queues, interrupts."""
import contextlib
import json
import pathlib
import re
import shutil
import signal

import pcie
import plx
import vm

FIO = shutil.which("fio")
ENGINES = plx.BUILD / "fio_plugin/libpollux-fio.so"
EXAMPLES = plx.SOURCE / "fio_plugin/examples"
# the controllers, in the order of the options below
PLAIN, SECOND, PROTECTED, ZONED, SLOW = range(5)
QUEUES = 4
# a job file's virtual controllers, and the emulated namespaces in their places
PLACES = {("virtual0", 1): (PLAIN, 1), ("a", 1): (PLAIN, 1), ("b", 1): (SECOND, 1), ("c", 1): (PLAIN, 1), ("c", 2): (PLAIN, 2),
          ("separate", 1): (PROTECTED, 1), ("extended", 1): (PROTECTED, 2)}


def filename(controller, nsid=1):
    return f"trtype=PCIe traddr={pcie.controllers()[controller].replace(':', '.')} ns={nsid}"


@contextlib.contextmanager
def ours(*controllers):
    with contextlib.ExitStack() as stack:
        for controller in controllers:
            stack.enter_context(pcie.bound(pcie.controllers()[controller], "vfio-pci"))
        yield


def fio(*args, run=plx.run, **more):
    return run(FIO, "--output-format=json", *args, env={"LD_PRELOAD": str(ENGINES)}, **more)


def options(*args, file, engine="spdk"):
    return ["--name=job", f"--ioengine={engine}", "--thread=1", "--direct=1", "--bs=4k", "--iodepth=8", "--verify_state_save=0",
            f"--filename={file}", *args]


def jobs_of(result):
    """the jobs of the report, none of which may have failed"""
    result.ok()
    jobs = json.loads(result.out[result.out.index("{\n"):])["jobs"]
    for j in jobs:
        plx.equal(j["error"], 0, f"error of job {j['jobname']}", result)
    return jobs


def ios(j, *kinds):
    return sum(j[k]["total_ios"] for k in kinds or ("read", "write", "trim"))


def one_line(result, says):
    plx.check(not result.timed_out and result.code > 0, "fio should have failed", result)
    plx.check(re.search(says, result.err), f"nothing on stderr matches {says!r}", result)
    plx.equal(len([line for line in result.err.splitlines() if line.strip()]), 1, "lines that tell of it", result)


def example(name):
    """a job file of the examples, on the emulated SSDs"""
    def place(match):
        return "filename=" + ":".join(filename(*PLACES[(where, int(nsid))])
                                      for where, nsid in re.findall(r"traddr=(\w+) ns=(\d)", match[0]))

    text = (EXAMPLES / name).read_text(encoding="utf-8").replace("runtime=10", "runtime=1")
    text = re.sub(r"virtual=.*\n", "", re.sub(r"filename=trtype=VIRTUAL.*", place, text))
    text = re.sub(r"filename=trtype=PCIe traddr=0000.05.00.0 ns=1", "filename=" + filename(ZONED), text)
    with plx.scratch() as folder:
        path = pathlib.Path(folder, name)
        path.write_text(text, encoding="utf-8")
        result = fio(path, timeout=120)
    for j in jobs_of(result):
        plx.check(ios(j), f"{name}: {j['jobname']} did nothing", result)
    return result


def test_examples_of_plain_devices():
    with ours(PLAIN, SECOND):
        for name in ("single.fio", "many.fio", "mixed.fio", "client-server.fio"):
            example(name)


def test_example_of_verification():
    with ours(PLAIN):
        example("verify.fio")


def test_example_of_protection_information():
    with ours(PROTECTED):
        example("protection.fio")


def test_example_of_block_devices():
    # in memory
    with plx.scratch() as folder:
        for name in ("bdev.fio", "bdev.json"):
            text = (EXAMPLES / name).read_text(encoding="utf-8").replace("runtime=10", "runtime=1")
            pathlib.Path(folder, name).write_text(text, encoding="utf-8")
        for j in jobs_of(fio("bdev.fio", cwd=folder, timeout=120)):
            plx.check(ios(j), f"{j['jobname']} did nothing")


def nvme_config(folder, controller):
    """the example's configuration, for this controller; fio's option"""
    config = json.loads((EXAMPLES / "bdev-nvme.json").read_text(encoding="utf-8"))
    config["subsystems"][0]["config"][0]["params"]["traddr"] = pcie.controllers()[controller]
    pathlib.Path(folder, "bdev-nvme.json").write_text(json.dumps(config), encoding="utf-8")
    return f"--spdk_json_conf={folder}/bdev-nvme.json"


def test_example_of_nvme_block_devices():
    with plx.scratch() as folder, ours(PLAIN):
        nvme_config(folder, PLAIN)
        text = (EXAMPLES / "bdev-nvme.fio").read_text(encoding="utf-8").replace("runtime=10", "runtime=1")
        pathlib.Path(folder, "bdev-nvme.fio").write_text(text, encoding="utf-8")
        for j in jobs_of(fio("bdev-nvme.fio", cwd=folder, timeout=120)):
            plx.check(ios(j), f"{j['jobname']} did nothing")


def test_block_devices_are_namespaces():
    def through(*args, file="Nvme0n1"):
        return options(*args, conf, file=file, engine="spdk_bdev")

    with plx.scratch() as folder, ours(SECOND, PROTECTED):
        conf = nvme_config(folder, SECOND)
        j, = jobs_of(fio(*through("--rw=randwrite", "--bsrange=4k-512k", "--verify=crc32c", "--size=8M")))
        plx.equal(j["read"]["io_bytes"], j["write"]["io_bytes"], "bytes verified")
        # more than one command takes, and what else there is
        jobs_of(fio(*through("--rw=randtrim", "--size=8M")))
        jobs_of(fio(*through("--rw=write", "--bs=1M", "--size=8M", "--fsync=4")))
        fio(*through("--rw=randread", f"--numjobs={QUEUES + 1}")).fails(1, "no channel of bdev 'Nvme0n1': No space left")
        # metadata in a buffer of its own, which fio has not, and behind each block
        conf = nvme_config(folder, PROTECTED)
        for file, bs in (("Nvme0n1", 4096), ("Nvme0n2", 4160)):
            jobs_of(fio(*through("--rw=write", f"--bs={bs}", "--verify=crc32c", f"--size={256 * bs}", file=file)))


def test_protection_information_is_checked_by_the_device():
    checks = ["--pi_chk=GUARD|REFTAG|APPTAG", "--rw=write", "--size=1M"]
    with ours(PROTECTED):
        for file in (filename(PROTECTED, 1), filename(PROTECTED, 2)):
            write = options(*checks, "--apptag=1", "--end_fsync=1", file=file)
            read = options(*checks, "--rw=read", "--apptag=2", file=file)
            fio(*write, *["--name=read", "--stonewall", *read[1:]]).fails(1, "fio: .*APPLICATION TAG")
            # only the bits of the mask are compared: 1 and 2 differ in none of them
            jobs_of(fio(*options(*checks, "--rw=read", "--apptag=2", "--apptag_mask=0xfffc", file=file)))


def test_jobs_share_the_queues_of_a_controller():
    with ours(SECOND):
        read = options("--rw=randread", "--io_size=1M", file=filename(SECOND))
        result = fio(*read, f"--numjobs={QUEUES}", "--print_qid_mappings=1")
        plx.equal([ios(j) for j in jobs_of(result)], [256] * QUEUES, "reads", result)
        plx.equal(len(set(re.findall(r"is on queue pair (\d)", result.out))), QUEUES, "queue pairs", result)
        one_line(fio(*read, f"--numjobs={QUEUES + 1}"), f"has {QUEUES} I/O queues.* want {QUEUES + 1}: lower numjobs")


def test_processes_share_a_controller():
    shared = ["--shm_id=5", "--verify=crc32c"]
    with ours(PLAIN):
        first = options(*shared, "--rw=randrw", "--time_based=1", "--runtime=600", file=filename(PLAIN, 1))
        with fio(*first, run=plx.start) as owner:
            owner.wait_busy(0.5)
            j, = jobs_of(fio(*options(*shared, "--rw=randwrite", "--size=2M", file=filename(PLAIN, 2))))
            plx.equal((ios(j, "write"), ios(j, "read")), (512, 512), "written and verified")
            one_line(fio(*options("--rw=read", file=filename(PLAIN, 2))), "in use")
            owner.signal(signal.SIGINT)
            owner.wait(60)


def test_an_interrupt_leaves_no_queue_behind():
    load = options("--rw=randrw", "--time_based=1", "--runtime=600", f"--numjobs={QUEUES}", file=filename(SECOND))
    with ours(SECOND):
        for _ in range(2):
            with fio(*load, run=plx.start) as running:
                running.wait_busy(0.5)
                running.signal(signal.SIGINT)
                running.wait(60).fails(128)
        jobs_of(fio(*options("--rw=randread", "--io_size=1M", f"--numjobs={QUEUES}", file=filename(SECOND))))
    # the group is free, too
    with pcie.disk(pcie.controllers()[SECOND]) as disk:
        plx.run("/usr/bin/dd", f"if={disk}", "of=/dev/null", "bs=64k", "count=16", "iflag=direct").ok()


def test_interrupts_are_waited_for():
    with ours(PLAIN, SECOND, SLOW):
        both = f"{filename(PLAIN)}:{filename(SECOND)}"
        j = jobs_of(fio(*options("--rw=randwrite", "--verify=crc32c", "--enable_interrupts=1", "--size=8M", file=both)))[0]
        plx.equal(ios(j, "read"), 2048, "reads verified")
        # 10 I/Os a second: nearly all of the time there is nothing to do
        j = jobs_of(fio(*options("--rw=randread", "--iodepth=1", "--enable_interrupts=1", "--number_ios=60", file=filename(SLOW))))[0]
        plx.equal(ios(j), 60, "reads")
        share = j["usr_cpu"] + j["sys_cpu"]
        plx.check(share < 30, f"{share:.0f} % of a processor while it waits")


def zoned(*args):
    return options("--zonemode=zbd", "--bs=16k", *args, file=filename(ZONED))


def test_example_of_zones():
    with ours(ZONED):
        example("zoned.fio")


def test_zones_are_the_devices():
    with ours(ZONED):
        jobs_of(fio(*zoned("--rw=write", "--size=2z", "--initial_zone_reset=1")))
        report = plx.run("/bin/bash", "-c", 'exec "$0" "$@"', FIO, "--debug=zbd", *zoned("--rw=randread", "--io_size=16k"),
                         env={"LD_PRELOAD": str(ENGINES)}).ok()
        report.says(r"has 16 zones of size 1024 KB")
        report.says(r"using max open zones limit: 4")
        # two zones of 768 KiB are full, and are reset before they are written again
        for more in ([], ["--zone_append=1"]):
            j = jobs_of(fio(*zoned("--rw=randwrite", "--size=2z", "--io_size=4608k", *more)))[0]
            plx.equal(ios(j, "write"), 288, f"writes of 16 KiB with {more}")
        # trims empty zones
        trims = jobs_of(fio(*zoned("--rw=trim", "--bs=1M", "--size=2z")))[0]
        plx.check(ios(trims, "trim") >= 1, "no zone was trimmed")
        jobs_of(fio(*zoned("--rw=write", "--size=2z", "--verify=crc32c", "--iodepth=1", "--zone_append=1")))


def test_jobs_share_zones():
    with ours(ZONED):
        result = fio(*zoned("--rw=randwrite", "--iodepth=1", "--numjobs=3", "--size=8z", "--io_size=3M", "--initial_zone_reset=1"))
        plx.equal([ios(j, "write") for j in jobs_of(result)], [192] * 3, "writes", result)


def test_what_zones_do_not_allow_is_said_in_one_line():
    with ours(ZONED, PLAIN):
        one_line(fio(*zoned("--rw=write", "--zone_append=1", "--bs=256k")), "bs=262144 is more than the 131072 bytes")
        one_line(fio(*options("--rw=write", "--zone_append=1", file=filename(PLAIN))), "is not zoned: leave it out")
        # behind fio's back, which knows no zones here
        jobs_of(fio(*zoned("--rw=write", "--size=1z", "--initial_zone_reset=1")))
        fio(*options("--rw=write", "--bs=16k", "--offset=32k", "--size=16k", file=filename(ZONED))).fails(1, "fio: .*ZONE")


def test_what_cannot_be_is_said_in_one_line():
    bdf = pcie.controllers()[PLAIN].replace(":", ".")
    with ours(PLAIN):
        for file, says in ((f"trtype=PCIe traddr={bdf} ns=7", "no active namespace 7"),
                           ("trtype=PCIe traddr=0000.7f.1f.7 ns=1", "0000:7f:1f.7.*no such PCIe device")):
            one_line(fio(*options("--rw=read", file=file)), says)
    with pcie.bound(pcie.controllers()[PLAIN], "nvme"):
        one_line(fio(*options("--rw=read", file=filename(PLAIN))), "'nvme'.*plx-setup bind")


if not FIO or not ENGINES.exists():
    # one case that is skipped, and not all of them
    for case in [name for name in globals() if name.startswith("test_")]:
        del globals()[case]

    def test_the_engines():
        plx.skip("fio is not installed, or the engines are not built (-Dfio_source, see ci/fio-source)")

vm.main_in_guest("--iommu", "48", "--memory", "1536", "--qemu", pcie.SLOW, "--module", "vfio-pci", "--module", "nvme",
                 "--nvme", "serial=PLXA", "--ns", "size=16M", "--ns", "size=16M",
                 "--nvme", f"serial=PLXB,max_ioqpairs={QUEUES}", "--ns", "size=16M",
                 "--nvme", "serial=PLXP", "--ns", "size=4M,ms=8,pi=1", "--ns", "size=4M,ms=8,mset=1,pi=1",
                 "--nvme", "serial=PLXZ,zoned.zasl=5",
                 "--ns", "size=16M,zoned=true,zoned.zone_size=1M,zoned.zone_capacity=768K,zoned.max_open=4,zoned.max_active=6")
