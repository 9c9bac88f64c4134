#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our driver behind an IOMMU of 39 address bits: virtual addresses do not fit, so it chooses others."""
import vm
import plx
import pcie


def narrow(r):
    plx.equal(r.json()["environment"]["iova_mode"], "IOVA", "iova_mode", r)


def test_ordinary_pages():
    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        narrow(pcie.verified(bdf, "--no-huge"))
        # more than two pages a command, and pieces that do not meet on page boundaries
        narrow(pcie.verified(bdf, "--no-huge", "-o", "131072", "-q", "4"))
        narrow(pcie.verified(bdf, "--no-huge", "-o", "1048576", "-q", "2"))


def test_hugepages():
    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        narrow(pcie.verified(bdf))
        narrow(pcie.verified(bdf, "-o", "262144", "-q", "4"))


def test_controller_memory():
    """at the address of its mapping, which is none of memory's"""
    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        for what in ("sqs", "data", "sqs,data"):
            narrow(pcie.verified(bdf, "--use-cmb", what, "-o", "4k:50,64k:50"))


@vm.long
def test_interrupt_line():
    """the kernel has no MSI here, so neither has VFIO"""
    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        narrow(pcie.verified(bdf, "--interrupts"))


vm.main_in_guest("--iommu", "39", "--memory", "1536", "--hugepages", "128", "--module", "vfio-pci",
                 "--append", "pci=nomsi", "--nvme", "serial=PLXA,cmb_size_mb=16", "--ns", "size=64M")
