# SPDX-License-Identifier: BSD-3-Clause
"""For guest tests of the PCIe transport, in the guest: emulated NVMe controllers and who drives them."""
import contextlib
import os
import pathlib

import vm
import plx

BUS = pathlib.Path("/sys/bus/pci")


def controllers():
    """the addresses of the NVMe controllers, in the order of the options --nvme"""
    return sorted(d.name for d in (BUS / "devices").iterdir() if vm.sysfs(d / "class") == "0x010802")


def trid(bdf):
    return f"trtype:PCIe traddr:{bdf}"


def driver(bdf):
    """the kernel driver's name, None when there is none"""
    link = BUS / "devices" / bdf / "driver"
    return link.resolve().name if link.exists() else None


def bind(bdf, name):
    """gives the function to a kernel driver, which has to be loaded; None: to none"""
    device = BUS / "devices" / bdf
    if driver(bdf) == name:
        return
    if driver(bdf):
        (device / "driver/unbind").write_text(bdf, encoding="ascii")
    if name:
        (device / "driver_override").write_text(name, encoding="ascii")
        (BUS / "drivers_probe").write_text(bdf, encoding="ascii")
        vm.wait_until(lambda: driver(bdf) == name, f"{name} to take {bdf}")


@contextlib.contextmanager
def bound(bdf, name):
    bind(bdf, name)
    try:
        yield bdf
    finally:
        bind(bdf, None)


@contextlib.contextmanager
def disk(bdf, nsid=1):
    """the kernel's block device of a namespace, for as long as its own driver has the controller"""
    with bound(bdf, "nvme"):
        def found():
            for block in pathlib.Path("/sys/block").glob("nvme*n*"):
                with contextlib.suppress(OSError):
                    if (block / "device").resolve().parent.parent.name == bdf and \
                            int(vm.sysfs(block / "nsid")) == nsid and os.path.exists(f"/dev/{block.name}"):
                        return f"/dev/{block.name}"

        yield vm.wait_until(found, f"the kernel's disk of {bdf}")


def perf(bdf, *arguments, seconds=1):
    return plx.run("plx-perf", "-r", trid(bdf), "-t", str(seconds), *arguments)


def verified(bdf, *arguments):
    """verify-mode load without a wrong block"""
    r = perf(bdf, "-q", "8", "-o", "4096", "-w", "randrw", "-M", "50", "--verify", "--json", "-", *arguments).ok()
    total = r.json()["total"]
    plx.check(total["ios"] > 0 and not total["errors"], f"{total['ios']} I/Os, {total['errors']} errors", r)
    return r
