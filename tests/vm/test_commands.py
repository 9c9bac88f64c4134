#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Commands of the driver (docs/commands.md) on SSDs that QEMU emulates; commands.c carries them out."""
import os

import pcie
import plx
import vm

PROGRAM = os.path.join(plx.BUILD, "tests", "vm_commands")
FORMATS, ZONED, SHARED, ONE, OTHER, PLACED = range(6)


def carry_out(controller, part):
    with pcie.bound(pcie.controllers()[controller], "vfio-pci") as bdf:
        return plx.run(PROGRAM, bdf, part, timeout=600).ok()


def test_every_format_and_type_of_protection_information():
    carry_out(FORMATS, "formats").says(r"\d+ formats")


def test_zones_are_appended_to_and_go_through_their_states():
    carry_out(ZONED, "zones").says(r"\d+ zones")


def test_no_more_zones_are_open_and_active_than_may_be():
    carry_out(ZONED, "zone-limits")


def test_load_on_zones():
    with pcie.bound(pcie.controllers()[ZONED], "vfio-pci") as bdf:
        for wrong, says in ((("-w", "write", "-P", "3"), "3 queue pairs are to write.*2 zones may be open.*lower -P"),
                            (("-w", "randread", "-o", "768k"), "would cross the zones.*1048576"),
                            (("-w", "randwrite", "-F", "0.9"), "-F does not go with writes.*zoned"),
                            (("-w", "write", "-o", "8k", "-O", "4k"), "-O does not go with writes.*zoned"),
                            (("-w", "write", "-o", "1M"), "take several commands.*use 524288 at most")):
            pcie.perf(bdf, *wrong).fails(2, says=says)
        # more than all blocks of the namespace: zones are written again; 20 KiB is no divisor of one
        for load in (("-w", "write"), ("-w", "randrw", "-M", "30", "--verify"), ("-w", "rw", "-M", "50", "--verify", "-o", "20k:50,4k:50")):
            r = pcie.perf(bdf, "-q", "4", "-P", "2", "-d", "1500", "-o", "16k", *load, "--json", "-", seconds=600).ok()
            plx.equal(r.json()["total"]["ios"], 3000, "I/Os", r)
            plx.equal(r.json()["total"]["errors"], 0, "errors", r)


def test_whole_log_pages():
    carry_out(FORMATS, "logs").says(r"\d+ log pages")


def test_features_by_name():
    carry_out(FORMATS, "features")


def test_namespaces_are_detached_and_attached():
    carry_out(SHARED, "attachment")


def test_private_namespaces_of_two_controllers():
    with pcie.bound(pcie.controllers()[ONE], "vfio-pci") as one, pcie.bound(pcie.controllers()[OTHER], "vfio-pci") as other:
        plx.run(PROGRAM, one, "sharing", other, timeout=600).ok()


def test_virtual_functions_are_given_queues():
    carry_out(SHARED, "virtualization").says("2 secondary controllers")


def test_writes_are_placed():
    carry_out(PLACED, "placement").says("4 handles")


vm.main_in_guest("--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme",
                 "--nvme", "serial=PLXA,mdts=3", "--ns", "size=64M",
                 "--nvme", "serial=PLXZ,zoned.zasl=2",
                 "--ns", "size=16M,zoned=true,zoned.zone_size=1M,zoned.max_open=2,zoned.max_active=3",
                 "--nvme", "serial=PLXS,subsys=shared,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2", "--ns", "size=16M,nsid=1,shared=true",
                 "--ns", "size=16M,nsid=2,shared=true",
                 "--nvme", "serial=PLX2,subsys=two", "--ns", "size=16M,nsid=1", "--ns", "size=16M,nsid=2,shared=off",
                 "--nvme", "serial=PLX2,subsys=two", "--ns", "size=16M,nsid=3,shared=off",
                 "--ns", "size=16M,nsid=4,shared=off,detached=on",
                 "--nvme", "serial=PLXF,subsys=placing,subsys.fdp=on,subsys.fdp.runs=1M,subsys.fdp.nrg=1,subsys.fdp.nruh=4",
                 "--ns", "size=16M,nsid=1,fdp.ruhs=0-3")
