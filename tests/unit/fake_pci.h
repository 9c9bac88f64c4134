/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/fake_pci.h - a tree of sys, proc and dev in a temporary directory, as root of
 * core/pci.h
 *
 * The files that make the kernel act are FIFOs, read by a thread that plays the kernel: it moves
 * the links of the functions, by the override, and refuses what fake_pci_refuse() names.
 */
#ifndef FAKE_PCI_H
#define FAKE_PCI_H

/** fake_pci_start - an empty tree, which becomes the root */
void fake_pci_start(void);
/** fake_pci_stop - the kernel ends, the tree is gone */
void fake_pci_stop(void);
/** fake_pci_put - a file with all directories above it; @path is absolute, below the root */
void fake_pci_put(const char *path, const char *text);
/** fake_pci_link - the same for a symbolic link */
void fake_pci_link(const char *path, const char *target);
/** fake_pci_driver - a driver there may be bound */
void fake_pci_driver(const char *name);
/** fake_pci_nvme - an NVMe function; @driver NULL: none; @group -1: none */
void fake_pci_nvme(const char *addr, const char *driver, int group);
/** fake_pci_refuse - this driver takes nothing from now on */
void fake_pci_refuse(const char *driver);

#endif
