#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""SSDs that QEMU emulates failing under load: what the registers allow another program to do to them.

The table of failures in docs/devices.md; most of it is in tests/integration/test_device_failures.py.
"""
import signal

import vm
import plx
import pcie

DISABLED = r"disabled by somebody else \(CSTS.RDY is 0\)"


def plain():
    return pcie.controllers()[0]


def functions():
    """of the device that has two"""
    bus = [c.rpartition(".")[0] for c in pcie.controllers()]
    return [c for c in pcie.controllers() if bus.count(c.rpartition(".")[0]) == 2]


@vm.long
def test_disabled_under_load_with_interrupts_and_shadow_doorbells():
    for more in ((), ("--interrupts",)):
        with pcie.bound(plain(), "vfio-pci") as bdf, pcie.loaded(bdf, "--verify", "-w", "randrw", "-M", "50", *more) as running:
            for n in range(1, 4):
                pcie.meddled_with(running, bdf, "disable", pcie.times(n, DISABLED), n)
            r = pcie.goes_on(running, 1)
            plx.equal(r.json()["total"]["mismatches"], 0, "mismatches", r)


def test_fatal_status_again_and_again():
    with pcie.bound(plain(), "vfio-pci") as bdf:
        pcie.fatal_thrice(bdf, "--interrupts")


@vm.long
def test_registers_that_are_not_there_for_a_while():
    with pcie.bound(plain(), "vfio-pci") as bdf:
        pcie.hidden_for_a_while(bdf, "--interrupts")


@vm.long
def test_two_functions_of_one_group():
    first, second = functions()
    group = (pcie.BUS / "devices" / first / "iommu_group").resolve().name
    plx.equal((pcie.BUS / "devices" / second / "iommu_group").resolve().name, group, "IOMMU groups")
    with pcie.bound(first, "vfio-pci"):
        with pcie.bound(second, "nvme"):
            pcie.perf(first).fails(1, says=rf"{first}.*shares IOMMU group {group} .*{second} \(nvme\).*plx-setup bind")
        pcie.verified(first)  # none has the other
        with pcie.bound(second, "vfio-pci"):
            r = pcie.verified(first, "-r", pcie.trid(second))
            plx.equal(len(r.json()["jobs"]), 2, "devices", r)
            with pcie.loaded(first) as running:
                pcie.perf(second).fails(1, says=rf"{second}.*its IOMMU group /dev/vfio/{group} is in use by another process")
                running.signal(signal.SIGINT)
                running.wait().ok()


# what is bound to vfio-pci counts as in use: another program may map it all the same
vm.main_in_guest("--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme", "--append", "iomem=relaxed",
                 "--nvme", "serial=PLXA", "--ns", "size=16M",
                 "--nvme", "serial=PLXF0", "--ns", "size=16M", "--nvme", "serial=PLXF1,beside=on", "--ns", "size=16M")
