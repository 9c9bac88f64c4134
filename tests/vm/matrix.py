# SPDX-License-Identifier: BSD-3-Clause
"""The matrix of emulated SSDs: what is done to each of them, by our programs.

test_matrix*.py have the tables: a name, and a Device. Its case goes through all of its controllers: plx-identify agrees
with nvme-cli; plx-perf verifies every namespace, with all that can be done with its protection information; the controller is
reset under I/O that is read back; every namespace is formatted to something else and back, and verified again; every command
that the controller reports is carried out.
"""
import contextlib
import dataclasses
import os
import pathlib
import signal
import sys

import vm
import plx
import identify
import pcie

CHECKS = {1: "GUARD|REFTAG", 2: "GUARD|REFTAG", 3: "GUARD"}  # by type: what the tuples have
SECONDS = 300  # for a program that is done in some
TOKEN = "0f9d3b7e-5a54-4c57-8e0e-6f0f3c0b7a11"


@dataclasses.dataclass
class Device:
    """options: of ci/vm/boot; nsids: of each controller's namespaces; pages: what plx-identify and nvme-cli have to have
    compared; perf: more runs, each a tuple of options of plx-perf; functions: virtual ones, too; short: part of ci/test"""
    options: tuple
    nsids: tuple = ((1,),)
    pages: tuple = ()
    perf: tuple = ()
    functions: bool = False
    short: bool = False


def nvme(properties, *namespaces):
    """options of a controller and its namespaces"""
    return ("--nvme", properties, *(word for ns in namespaces for word in ("--ns", ns)))


def program(name, *arguments):
    return plx.run(os.path.join(plx.BUILD, "tests", name), *arguments, timeout=SECONDS).ok()


def clean(r):
    total = r.ok().json()["total"]
    plx.check(total["ios"] > 0 and not total["errors"], f"{total['ios']} I/Os, {total['errors']} errors", r)


def verified(bdf, *arguments, nsid=None, seconds=1):
    """load without a wrong block on all namespaces, or that one"""
    where = pcie.trid(bdf) + (f" ns:{nsid}" if nsid else "")
    clean(plx.run("plx-perf", "-r", where, "-q", "4", "-o", "4096", "-w", "randrw", "-M", "50", "--verify", "-t", seconds,
                  "--json", "-", *arguments, timeout=SECONDS))


def all_verified(bdf, ours, runs):
    """with protection information too, and the device's own `runs`; `ours`: what plx-identify says"""
    verified(bdf)
    for ns in ours["id-ns"]:
        kind = ns["dps"] & 7
        if kind:  # made by the controller and checked by it; made by plx-perf, and checked by both
            for how in ("PRACT=1", "PRACT=0"):
                verified(bdf, "-e", f"{how},PRCHK={CHECKS[kind]}", nsid=ns["nsid"], seconds=0.3)
    for run in runs:
        verified(bdf, *run)


def treated(bdf, ours, device):
    """everything that needs our driver alone"""
    all_verified(bdf, ours, device.perf)
    resets = program("vm_matrix", bdf, "resets").says("^5 resets, .*")[0]
    formats = program("vm_matrix", bdf, "format").says("^[0-9]+ formatted, [0-9]+ refused")[0]
    verified(bdf)
    reported = program("vm_reported", bdf).says("^([1-9][0-9]+) commands carried out")[0]
    print(f"# {bdf}: {resets}; {formats}; {reported}")


@contextlib.contextmanager
def virtual_function(bdf):
    """the first one, which is there as long as this lasts"""
    sysfs = pcie.BUS / "devices" / bdf
    (sysfs / "sriov_drivers_autoprobe").write_text("0", encoding="ascii")
    (sysfs / "sriov_numvfs").write_text("1", encoding="ascii")
    try:
        yield (sysfs / "virtfn0").resolve().name
    finally:
        (sysfs / "sriov_numvfs").write_text("0", encoding="ascii")


def reset(function):
    """what it has been given becomes its own"""
    pathlib.Path(pcie.BUS, "devices", function, "reset").write_text("1", encoding="ascii")


def function_of_the_kernels(bdf, device):
    """online with an I/O queue and a vector, while the kernel's driver has the physical one"""
    with pcie.bound(bdf, "nvme"):
        controller = vm.wait_until(lambda: identify.scanned(bdf), f"the kernel's namespaces of {bdf}")

        def manage(*arguments):
            plx.run("/usr/sbin/nvme", "virt-mgmt", controller, "--cntlid=1", *arguments).ok()

        with virtual_function(bdf) as function:
            manage("--act=8", "--rt=0", "--nr=2")
            manage("--act=8", "--rt=1", "--nr=1")
            reset(function)
            manage("--act=9")
            with pcie.bound(function, "vfio-pci"):
                ours = plx.run("plx-identify", "-r", pcie.trid(function), "--json").ok().json()
                plx.equal(ours["id-ctrl"]["cntlid"], 1, "controller identifier")
                treated(function, ours, device)


def function_of_ours(bdf):
    """the same while our driver has the physical one: who knows its VF token may use the virtual one"""
    pathlib.Path("/sys/module/vfio_pci/parameters/enable_sriov").write_text("1", encoding="ascii")
    with pcie.bound(bdf, "vfio-pci"), \
            plx.start(os.path.join(plx.BUILD, "tests/vm_matrix"), bdf, "functions", env={"PLX_VFIO_VF_TOKEN": TOKEN}) as owner:
        owner.wait_for("^attached", 60)
        with virtual_function(bdf) as function:
            owner.signal(signal.SIGUSR1)
            owner.wait_for("^given", 60)
            reset(function)
            owner.signal(signal.SIGUSR1)
            owner.wait_for("^online", 60)
            with pcie.bound(function, "vfio-pci"):
                load = ("plx-perf", "-r", pcie.trid(function), "-q", "4", "-t", "1", "-w", "randrw", "-M", "50", "--verify", "--json", "-")
                plx.run(*load, timeout=SECONDS).fails(1, says=f"{function}.*PLX_VFIO_VF_TOKEN")
                clean(plx.run(*load, env={"PLX_VFIO_VF_TOKEN": TOKEN}, timeout=SECONDS))
            owner.signal(signal.SIGTERM)
            owner.wait(60).ok()


def case(name, index, device):
    def run():
        for n, nsids in enumerate(device.nsids):
            bdf = pcie.controllers()[index + n]
            ours = identify.agreed(bdf, name, list(nsids), device.pages)
            with pcie.bound(bdf, "vfio-pci"):
                treated(bdf, ours, device)
            if device.functions:
                function_of_the_kernels(bdf, device)
                function_of_ours(bdf)

    return run if device.short else vm.long(run)


def main(devices):
    """cases of the calling file: one for each device that is wanted; they share a guest"""
    wanted = [name.partition("test_")[2] for name in sys.argv[1:]]
    short = not wanted and os.environ.get("PLX_VM_SHORT")
    chosen = {name: device for name, device in devices.items() if (device.short if short else not wanted or name in wanted)}
    options, index = [], 0
    for name, device in chosen.items():
        setattr(sys.modules["__main__"], f"test_{name}", case(name, index, device))
        options += device.options
        index += len(device.nsids)
    if not chosen:
        sys.exit(f"there is none of {wanted}: there are {', '.join(devices)}" if wanted else print("1..0 # SKIP no short case"))
    # nvme-cli maps the registers of a controller that a driver has
    vm.main_in_guest("--append", "iomem=relaxed", "--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme",
                     *options)
