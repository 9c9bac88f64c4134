#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-identify --json agrees with nvme-cli on the kernel's driver, for many kinds of SSDs that QEMU emulates."""
import vm
import identify
import pcie

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


def check(index, *nsids):
    name = list(DEVICES)[index]
    identify.agreed(pcie.controllers()[index], name, list(nsids or (1,)), DEVICES[name])


def test_blocks_of_512_and_of_4096_bytes():
    check(0, 1, 2)


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
    check(8, 1, 2)
    check(9, 1, 3)


def test_data_placement():
    check(10)


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
                 "--nvme", "serial=PLACING,subsys=placing,subsys.fdp=on,subsys.fdp.runs=1M,subsys.fdp.nrg=1,subsys.fdp.nruh=4",
                 "--ns", "size=16M,nsid=1,fdp.ruhs=0-3", "--qemu", PMRDEV)
