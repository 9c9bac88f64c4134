#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""One SSD for several processes, behind an IOMMU: vfio-pci."""
import vm
import plx
import pcie
import share


vfio = pcie.given("vfio-pci")

test_three_at_once = vfio(share.three_at_once)
test_killed_guests_leave_nothing = vfio(share.killed_guests_leave_nothing)
test_killed_owner = vfio(share.killed_owner)
test_owner_that_ends = vfio(share.owner_that_ends)
test_reset_under_load = vfio(share.reset_under_load)
test_refusals = vfio(share.refusals)


vm.main_in_guest("--iommu", "48", "--memory", "2048", "--module", "vfio-pci", *share.SSD)
