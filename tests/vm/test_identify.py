#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-identify --json agrees with nvme-cli on the kernel's driver, for many kinds of SSDs that QEMU emulates."""
import os
import pathlib

import vm
import plx
import identify
import pcie

ALWAYS = ("id-ctrl", "id-ns", "smart-log", "fw-log", "error-log", "ns-descs", "effects-log", "list-ns",
          "feature-1", "feature-4", "feature-6")
# in the order of the options below: what has to be among what is compared
DEVICES = {
    "512 and 4096 bytes": (),
    "metadata 8 with type 1": ("nvm-id-ns",),
    "metadata 16 with type 3": ("nvm-id-ns",),
    "zoned": ("zns-id-ns", "zns-id-ctrl", "report-zones"),
    "controller memory buffer": (),
    "virtual functions": ("primary-ctrl-caps", "list-secondary"),
    "Intel's identifier": (),
}


def scanned(bdf):
    """the kernel's controller, once it has a namespace, by itself or in the subsystem"""
    for path in pathlib.Path(pcie.BUS, "devices", bdf, "nvme").glob("nvme*/nvme*n*"):
        device = f"/dev/{path.parent.name}"
        if os.path.exists(device):
            return device
    return None


def check(index):
    bdf = pcie.controllers()[index]
    name = list(DEVICES)[index]
    with plx.scratch() as folder:
        with pcie.bound(bdf, "nvme"):
            device = vm.wait_until(lambda: scanned(bdf), f"the kernel's namespaces of {bdf}")
            identify.nvme_says(folder, device)
        with pcie.bound(bdf, "vfio-pci"):
            ours = plx.run("plx-identify", "-r", pcie.trid(bdf), "--json").ok().json()
        seen = identify.compare(folder, ours, os.path.basename(device), (*ALWAYS, *DEVICES[name]))
        print(f"# {name}: {len(seen)} pages and features agree: {' '.join(seen)}")


def test_blocks_of_512_and_of_4096_bytes():
    check(0)


def test_metadata_of_8_bytes_with_type_1():
    check(1)


def test_metadata_of_16_bytes_with_type_3():
    check(2)


def test_zones():
    check(3)


def test_controller_memory_buffer():
    check(4)


def test_virtual_functions():
    check(5)


def test_another_vendor():
    check(6)


vm.main_in_guest("--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme",
                 "--nvme", "serial=BLOCKS", "--ns", "size=16M", "--ns", "size=16M,logical_block_size=4096,physical_block_size=4096",
                 "--nvme", "serial=MD8", "--ns", "size=16M,ms=8,pi=1",
                 "--nvme", "serial=MD16", "--ns", "size=16M,ms=16,mset=1,pi=3",
                 "--nvme", "serial=ZONED", "--ns", "size=16M,zoned=on,zoned.zone_size=1M,zoned.max_open=4,zoned.max_active=8",
                 "--nvme", "serial=CMB,cmb_size_mb=4", "--ns", "size=16M",
                 "--nvme", "serial=SRIOV,subsys=s,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,max_ioqpairs=6,msix_qsize=6",
                 "--ns", "size=16M",
                 "--nvme", "serial=INTEL,use-intel-id=on", "--ns", "size=16M")
