#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""SSDs of many kinds: zones, memory of their own, small limits, namespaces, virtual functions; matrix.py has what is done to each."""
import matrix
from matrix import Device, nvme

PMRDEV = ("--qemu", "-object memory-backend-ram,id=persistent,share=on,size=2M")
SMALL = "size=2M"
BIG_BLOCKS = "size=2M,logical_block_size=4096,physical_block_size=4096"
ZONES = "size=16M,zoned=on,zoned.zone_size=1M"
IN_CMB = ("--use-cmb", "sqs,data")
INTERRUPTS = ("--interrupts",)

matrix.main({
    "blocks": Device(nvme("serial=BLOCKS", SMALL, BIG_BLOCKS), nsids=((1, 2),), perf=(INTERRUPTS,), short=True),
    "zones": Device(nvme("serial=ZONES,zoned.zasl=2", f"{ZONES},zoned.max_open=4,zoned.max_active=8"),
                    pages=("zns-id-ns", "zns-id-ctrl", "report-zones")),
    "zones_with_gaps": Device(nvme("serial=GAPS,mdts=3", f"{ZONES},zoned.zone_capacity=768K,zoned.max_open=2,zoned.max_active=3"),
                              pages=("zns-id-ns", "zns-id-ctrl", "report-zones")),
    "zones_without_limits": Device(nvme("serial=FREE", f"{ZONES},logical_block_size=4096,physical_block_size=4096"),
                                   pages=("zns-id-ns", "zns-id-ctrl", "report-zones")),
    "controller_memory_buffer": Device(nvme("serial=CMB,cmb_size_mb=4", SMALL), perf=(IN_CMB,)),
    "controller_memory_buffer_of_before": Device(nvme("serial=LEGACY,cmb_size_mb=4,legacy-cmb=on", SMALL), perf=(IN_CMB,)),
    "persistent_memory": Device((*PMRDEV, *nvme("serial=PMR,pmrdev=persistent", SMALL))),
    "small_transfers": Device(nvme("serial=MDTS,mdts=1", SMALL), perf=(("-o", "4k:50,64k:50", "-q", "2"),)),
    "one_queue": Device(nvme("serial=ONE,max_ioqpairs=1,msix_qsize=1", SMALL), perf=(INTERRUPTS,)),
    "few_short_queues": Device(nvme("serial=FEW,max_ioqpairs=2,msix_qsize=2,mqes=7,dbcs=off", SMALL), perf=(INTERRUPTS, ("-P", "2"))),
    "namespaces": Device(nvme("serial=MANY", SMALL, BIG_BLOCKS, f"{SMALL},ms=8", f"{SMALL},ms=16,mset=1,pi=1"),
                         nsids=((1, 2, 3, 4),), pages=("nvm-id-ns",)),
    "shared_and_private": Device((*nvme("serial=TWO,subsys=two", f"{SMALL},nsid=1", f"{SMALL},nsid=2,shared=off"),
                                  *nvme("serial=TWO,subsys=two", f"{SMALL},nsid=3,shared=off", f"{SMALL},nsid=4,detached=on")),
                                 nsids=((1, 2), (1, 3)), pages=("list-ctrl",)),
    "virtual_functions": Device(nvme("serial=SRIOV,subsys=s,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,max_ioqpairs=6,"
                                     "msix_qsize=6", SMALL), pages=("primary-ctrl-caps", "list-secondary"), functions=True),
    "data_placement": Device(nvme("serial=PLACING,subsys=placing,subsys.fdp=on,subsys.fdp.runs=1M,subsys.fdp.nrg=1,subsys.fdp.nruh=4",
                                  f"{SMALL},nsid=1,fdp.ruhs=0-3"),
                             pages=("fdp-configs", "fdp-usage", "fdp-stats", "fdp-status")),
    "another_vendor": Device(nvme("serial=INTEL,use-intel-id=on", SMALL)),
    "another_vendor_with_metadata": Device(nvme("serial=INTELMD,use-intel-id=on,mdts=3", f"{SMALL},ms=8,pi=1"), pages=("nvm-id-ns",)),
})
