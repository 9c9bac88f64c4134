#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Memory that SSDs have: controller memory buffers of both kinds and persistent memory regions; memory.c has the program."""
import os

import pcie
import plx
import vm

PROGRAM = os.path.join(plx.BUILD, "tests", "vm_memory")
CMB, LEGACY, PMR, METADATA, NONE = range(5)


def carry_out(controller, part):
    with pcie.bound(pcie.controllers()[controller], "vfio-pci") as bdf:
        return plx.run(PROGRAM, bdf, part, timeout=600).ok()


def verified(controller, *arguments):
    with pcie.bound(pcie.controllers()[controller], "vfio-pci") as bdf:
        pcie.verified(bdf, "-q", "16", *arguments)


def test_queues_and_data_in_the_buffer():
    verified(CMB, "--use-cmb", "sqs,data")
    verified(CMB, "--use-cmb", "sqs,data", "-o", "4k:50,64k:50", "-P", "2")


def test_buffer_of_before_1_4():
    verified(LEGACY, "--use-cmb", "sqs")
    verified(LEGACY, "--use-cmb", "data")
    verified(LEGACY, "--use-cmb", "sqs,data", "-o", "4k:50,64k:50")


def test_data_from_any_place_of_the_buffer():
    for controller in (CMB, LEGACY, METADATA):
        carry_out(controller, "cmb-data").says("16384 KiB")


def test_resets_under_load():
    for controller in (CMB, LEGACY):
        carry_out(controller, "cmb-resets").says("5 resets")


def test_other_block_sizes_with_the_buffer_in_use():
    for controller in (CMB, LEGACY):
        carry_out(controller, "cmb-format").says("formats")


def test_persistent_memory_is_there_after_resets_and_in_the_next_process():
    carry_out(PMR, "pmr-store").says("2048 KiB, barriers 2, .*for commands too")
    carry_out(PMR, "pmr-left")
    verified(PMR)


def test_buffer_beside_a_persistent_region():
    verified(PMR, "--use-cmb", "sqs,data")


def test_what_does_not_fit_is_refused():
    with pcie.bound(pcie.controllers()[CMB], "vfio-pci") as bdf:
        pcie.perf(bdf, "-q", "128", "-o", "1M", "--use-cmb", "data").fails(2, says=f"--use-cmb needs 131072 KiB.*{bdf}.*16384")
    with pcie.bound(pcie.controllers()[NONE], "vfio-pci") as bdf:
        pcie.perf(bdf, "--use-cmb", "sqs").fails(2, says=f"{bdf}.*no controller memory buffer")


def test_kernel_takes_the_buffer_afterwards():
    """what we leave behind is no obstacle: the kernel's driver uses it for its own queues"""
    pcie.exchange(pcie.controllers()[CMB], "vfio-pci")


PMRDEV = "-object memory-backend-ram,id=persistent,share=on,size=2M"

vm.main_in_guest("--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme", "--qemu", PMRDEV,
                 "--nvme", "serial=CMB,cmb_size_mb=16", "--ns", "size=64M",
                 "--nvme", "serial=LEGACY,cmb_size_mb=16,legacy-cmb=on", "--ns", "size=64M",
                 "--nvme", "serial=PMR,cmb_size_mb=16,pmrdev=persistent", "--ns", "size=64M",
                 "--nvme", "serial=META,cmb_size_mb=16", "--ns", "size=64M,ms=16,mset=0",
                 "--nvme", "serial=NONE", "--ns", "size=64M")
