#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our driver without an IOMMU: uio_pci_generic, memory by physical addresses."""
import vm
import plx
import pcie


def test_uio_reads_back_what_it_wrote():
    with pcie.bound(pcie.controllers()[0], "uio_pci_generic") as bdf:
        for more in ((), ("-o", "262144", "-q", "4")):
            r = pcie.verified(bdf, *more)
            plx.equal(r.json()["environment"]["iova_mode"], "PA", "iova_mode", r)


def test_controller_memory_by_its_address_on_the_bus():
    with pcie.bound(pcie.controllers()[0], "uio_pci_generic") as bdf:
        for what in ("sqs", "data", "sqs,data"):
            pcie.verified(bdf, "--use-cmb", what, "-o", "4k:50,64k:50")


@vm.long
def test_kernel_and_we_read_what_the_other_wrote():
    pcie.exchange(pcie.controllers()[0], "uio_pci_generic")


@vm.long
def test_controllers_that_fail_have_their_function_reset():
    with pcie.bound(pcie.controllers()[0], "uio_pci_generic") as bdf:
        pcie.fatal_thrice(bdf)
        pcie.hidden_for_a_while(bdf)


def test_what_cannot_be_used_is_explained():
    bdf = pcie.controllers()[0]
    with pcie.bound(bdf, "uio_pci_generic"):
        pcie.perf(bdf, "--no-huge").fails(1, says=f"{bdf}.*hugepages only")
        pcie.perf(bdf, "--interrupts").fails(1, says=f"{bdf}.*no interrupts")


vm.main_in_guest("--memory", "1536", "--hugepages", "128", "--module", "uio_pci_generic", "--module", "nvme",
                 "--nvme", "serial=PLXA,cmb_size_mb=16", "--ns", "size=64M")
