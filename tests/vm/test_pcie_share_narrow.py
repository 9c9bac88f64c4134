#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""One SSD for several processes behind an IOMMU of 39 address bits: the owner chooses the addresses of all."""
import vm
import plx
import pcie
import share


narrow = pcie.given("vfio-pci", long=True)


@narrow
def test_three_at_once(bdf):
    share.three_at_once(bdf)
    with share.owner(bdf) as first:
        r = plx.run(*share.load(bdf, 2, 1)).ok()
        plx.equal(r.json()["environment"]["iova_mode"], "IOVA", "iova_mode of a guest", r)
        r = share.end(first).ok()
        plx.equal(r.json()["environment"]["iova_mode"], "IOVA", "iova_mode of the owner", r)


test_killed_guests_leave_nothing = narrow(share.killed_guests_leave_nothing)
test_killed_owner = narrow(share.killed_owner)
test_owner_with_a_memory_buffer = narrow(share.owner_with_a_memory_buffer)


vm.main_in_guest("--iommu", "39", "--memory", "2048", "--module", "vfio-pci",
                 "--nvme", "serial=PLXA,max_ioqpairs=3,cmb_size_mb=16", *share.SSD[2:])
