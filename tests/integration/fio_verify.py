#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""fio --verify=crc32c for a long time on each kind of device; ci/fio-verify says how to run it."""
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

NQN = "nqn.2026-01.io.pollux:verify"
DEVICES = ["virtual", "vfio-user", "corrupt"]


def options():
    parser = argparse.ArgumentParser(prog="ci/fio-verify", add_help=False)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--build", default="build")
    parser.add_argument("--vm", action="store_true")
    parser.add_argument("--only", action="append", choices=[*DEVICES, "vm", "pcie"])
    given = parser.parse_args()
    if given.seconds < 1:
        parser.error(f"--seconds {given.seconds}: a second is the least")
    os.environ["PLX_BUILD"] = str(pathlib.Path(given.build).resolve())
    return given


OPTIONS = options()
# plx looks at PLX_BUILD when it is imported
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1] / "vm"))
import pcie  # noqa: E402
import plx  # noqa: E402
import tgt  # noqa: E402

ENGINES = plx.BUILD / "fio_plugin/libpollux-fio.so"
CORES = sorted(os.sched_getaffinity(0))
# of a device, which is written and read again and again; a short run is to get around it on a busy machine
MEBIBYTES = 64 if OPTIONS.seconds >= 60 else 8


def job_file(filename, *more):
    """
    Two jobs, each on its half of the device: one writes all blocks in random order and then reads them, the
    other has writes of many sizes in flight among the reads that verify them. Passes follow one another with new data
    (randrepeat=0) until the time is over. It is no time_based run: fio does not verify in those what it has not
    come to when the time is over, and with a device that takes longer to be written that would be all.
    """
    return "\n".join([
        "[global]", "ioengine=spdk", "thread=1", "direct=1", "verify=crc32c", "verify_fatal=1", "verify_state_save=0",
        "randrepeat=0", "loops=1000000", f"runtime={OPTIONS.seconds}", f"filename={filename}", *more,
        "[blocks]", "rw=randwrite", "bs=4k", "iodepth=32", "size=50%",
        "[among-writes]", "rw=randwrite", "bssplit=4k/50:16k/30:128k/20", "iodepth=16", "verify_backlog=512", "offset=50%",
        "size=50%", ""])


def fio(directory, filename, *more):
    path = pathlib.Path(directory, "verify.fio")
    path.write_text(job_file(filename, *more), encoding="utf-8")
    command = [shutil.which("fio") or "fio", "--output-format=json", path]
    if len(CORES) > 1:
        command = [shutil.which("taskset"), "-c", CORES[1], *command]
    return plx.run(*command, env={"LD_PRELOAD": str(ENGINES)}, cwd=directory, timeout=2 * OPTIONS.seconds + 120)


def judge(device, result):
    """no error, and each job has written and read all of its half at least once; says how much"""
    result.ok()
    half = MEBIBYTES << 19
    jobs = json.loads(result.out[result.out.index("{\n"):])["jobs"]
    plx.equal([(j["error"], j.get("total_err", 0)) for j in jobs], [(0, 0)] * 2, "errors", result)
    for j in jobs:
        wrote, read = j["write"]["io_bytes"], j["read"]["io_bytes"]
        print(f"{device}, {j['jobname']}: {wrote / 2**30:.2f} GiB written, {read / 2**30:.2f} GiB "
              f"({j['read']['total_ios']} reads) verified, {read / half:.1f} passes", flush=True)
        plx.check(read >= half, f"{j['jobname']}: less than a pass was verified: allow it more --seconds", result)
    print(f"{device}: {OPTIONS.seconds} s of crc32c, no mismatch", flush=True)


def on_virtual():
    with plx.scratch() as directory:
        judge("virtual", fio(directory, "trtype=VIRTUAL traddr=v ns=1", f"virtual=size={MEBIBYTES}M"))


def on_corrupt():
    """what verifies has to find a device that returns wrong data once in a thousand reads"""
    with plx.scratch() as directory:
        result = fio(directory, "trtype=VIRTUAL traddr=v ns=1", f"virtual=size={MEBIBYTES}M,error=corrupt:read:0.001")
    found = re.search("^.*verify: .*", result.err + result.out, re.MULTILINE)
    plx.check(result.code > 0 and found, "corrupt data was not found", result)
    print(f"corrupt: found ({found[0].strip()})", flush=True)


def on_vfio_user():
    with plx.scratch() as folder, tgt.start("-m", f"[{CORES[0]}]", directory=pathlib.Path(folder)) as target:
        call = target.client.call
        call("bdev_malloc_create", name="Malloc0", num_blocks=MEBIBYTES << 11, block_size=512)
        call("nvmf_create_transport", trtype="VFIOUSER")
        call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "Malloc0"})
        call("nvmf_subsystem_add_listener", nqn=NQN, listen_address={"trtype": "VFIOUSER", "traddr": folder})
        judge("vfio-user", fio(folder, f"trtype=VFIOUSER traddr={folder} ns=1"))


def on_pcie():
    """in a guest: its first NVMe controller"""
    bdf = pcie.controllers()[0]
    with pcie.bound(bdf, "vfio-pci"), plx.scratch() as directory:
        judge("pcie", fio(directory, f"trtype=PCIe traddr={bdf.replace(':', '.')} ns=1"))


def in_guest():
    with plx.scratch() as folder:
        command = [plx.SOURCE / "ci/vm/boot", "--iommu", "48", "--memory", "1536", "--deadline", 3 * OPTIONS.seconds + 600,
                   "--module", "vfio-pci", "--nvme", "serial=VERIFY", "--ns", f"size={MEBIBYTES}M",
                   "--env", f"PLX_TIMEOUT_MULTIPLIER={10 * plx.PATIENCE}", "--", "/usr/bin/python3",
                   pathlib.Path(__file__).resolve(), "--only", "pcie", "--build", plx.BUILD, "--seconds", OPTIONS.seconds]
        code = subprocess.run([str(word) for word in command], env={**os.environ, "TMPDIR": folder}, check=False,
                              preexec_fn=plx.dies_with_us()).returncode
    plx.check(code == 0, f"the guest's part failed ({code}, see above)")


def main():
    if not shutil.which("fio") or not ENGINES.exists():
        sys.exit(f"ci/fio-verify: fio or {ENGINES} is missing: ci/bootstrap --fio, ci/fio-source, then build with -Dfio_source")
    runs = {"virtual": on_virtual, "vfio-user": on_vfio_user, "corrupt": on_corrupt, "vm": in_guest, "pcie": on_pcie}
    with contextlib.suppress(KeyboardInterrupt):
        try:
            for device in (OPTIONS.only or DEVICES) + ["vm"] * OPTIONS.vm:
                runs[device]()
        except AssertionError as error:
            sys.exit(f"ci/fio-verify: {error}")
        return
    sys.exit(130)


main()
