#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""One SSD for several processes, without an IOMMU: uio_pci_generic, memory by physical addresses."""
import vm
import pcie
import share


uio = pcie.given("uio_pci_generic", long=True)

test_three_at_once = uio(share.three_at_once)
test_killed_guests_leave_nothing = uio(share.killed_guests_leave_nothing)
test_killed_owner = uio(share.killed_owner)


vm.main_in_guest("--memory", "2048", "--hugepages", "512", "--module", "uio_pci_generic", *share.SSD)
