#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-identify --json agrees with nvme-cli on the kernel's driver, for many kinds of SSDs that QEMU emulates."""
import os
import pathlib

import vm
import plx
import identify
import pcie

ALWAYS = ("id-ctrl", "id-ns", "show-regs", "smart-log", "fw-log", "error-log", "ns-descs", "effects-log", "list-ns",
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
    "persistent memory": (),
    "two controllers, the first": ("list-ctrl",),
    "two controllers, the second": ("list-ctrl",),
    "data placement": ("fdp-configs", "fdp-usage", "fdp-stats", "fdp-status"),
}


def scanned(bdf):
    """the kernel's controller, once it has a namespace, by itself or in the subsystem"""
    for path in pathlib.Path(pcie.BUS, "devices", bdf, "nvme").glob("nvme*/nvme*n*"):
        device = f"/dev/{path.parent.name}"
        if os.path.exists(device):
            return device
    return None


def namespaces(bdf):
    """identifiers of those that the kernel sees by this controller: disks, or paths of those of a subsystem"""
    found = pathlib.Path(pcie.BUS, "devices", bdf, "nvme").glob("nvme*/nvme*n*/nsid")
    return sorted(int(vm.sysfs(path)) for path in found)


def check(index):
    bdf = pcie.controllers()[index]
    name = list(DEVICES)[index]
    with plx.scratch() as folder:
        with pcie.bound(bdf, "nvme"):
            device = vm.wait_until(lambda: scanned(bdf), f"the kernel's namespaces of {bdf}")
            nsids = namespaces(bdf)
            for nsid in nsids:
                identify.nvme_says(f"{folder}/{nsid}", device, nsid)
        with pcie.bound(bdf, "vfio-pci"):
            ours = plx.run("plx-identify", "-r", pcie.trid(bdf), "--json").ok().json()
        for nsid in nsids:
            seen = identify.compare(f"{folder}/{nsid}", ours, os.path.basename(device), (*ALWAYS, *DEVICES[name]), nsid)
            print(f"# {name}, namespace {nsid}: {len(seen)} pages and features agree: {' '.join(seen)}")
        return nsids


def test_blocks_of_512_and_of_4096_bytes():
    plx.equal(check(0), [1, 2], "namespaces")


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


def test_persistent_memory():
    check(7)


def test_namespaces_of_both_and_of_one_controller():
    plx.equal(check(8), [1, 2], "namespaces of the first")
    plx.equal(check(9), [1, 3], "namespaces of the second")


def test_data_placement():
    check(10)


# ci/vm/boot makes plain subsystems
PLACING = ("-blockdev null-co,node-name=placed,size=16777216,read-zeroes=on -device nvme-subsys,id=placing,nqn=placing,fdp=on,"
           "fdp.runs=1M,fdp.nrg=1,fdp.nruh=4 -device pcie-root-port,id=placing-port,chassis=77,slot=77 "
           "-device nvme,id=placing-nvme,serial=PLACING,bus=placing-port,subsys=placing "
           "-device nvme-ns,drive=placed,bus=placing-nvme,nsid=1,fdp.ruhs=0-3")
PMRDEV = "-object memory-backend-ram,id=persistent,share=on,size=2M"

# nvme-cli maps the registers of a controller that a driver has
vm.main_in_guest("--append", "iomem=relaxed", "--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme",
                 "--nvme", "serial=BLOCKS", "--ns", "size=16M", "--ns", "size=16M,logical_block_size=4096,physical_block_size=4096",
                 "--nvme", "serial=MD8", "--ns", "size=16M,ms=8,pi=1",
                 "--nvme", "serial=MD16", "--ns", "size=16M,ms=16,mset=1,pi=3",
                 "--nvme", "serial=ZONED", "--ns", "size=16M,zoned=on,zoned.zone_size=1M,zoned.max_open=4,zoned.max_active=8",
                 "--nvme", "serial=CMB,cmb_size_mb=4", "--ns", "size=16M",
                 "--nvme", "serial=SRIOV,subsys=s,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,max_ioqpairs=6,msix_qsize=6",
                 "--ns", "size=16M",
                 "--nvme", "serial=INTEL,use-intel-id=on", "--ns", "size=16M",
                 "--nvme", "serial=PMR,pmrdev=persistent", "--ns", "size=16M",
                 "--nvme", "serial=TWO,subsys=two", "--ns", "size=16M,nsid=1", "--ns", "size=16M,nsid=2,shared=off",
                 "--nvme", "serial=TWO,subsys=two", "--ns", "size=16M,nsid=3,shared=off", "--ns", "size=16M,nsid=4,detached=on",
                 "--qemu", PMRDEV, "--qemu", PLACING)
