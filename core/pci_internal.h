/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pci_internal.h - what core/pci*.c share
 */
#ifndef POLLUX_CORE_PCI_INTERNAL_H
#define POLLUX_CORE_PCI_INTERNAL_H

#include "core/pci.h"

#define PCI_PATH    1024 /* of which the root has at most half */
#define PCI_DEVICES "/sys/bus/pci/devices"
#define PCI_DRIVERS "/sys/bus/pci/drivers"
#define PCI_GROUPS  "/sys/kernel/iommu_groups"

/** pci_path - a path below the root. Return: 0; -ENAMETOOLONG */
int pci_path(char out[PCI_PATH], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** pci_func_path - the same of a function's @file; "" is its directory */
int pci_func_path(char out[PCI_PATH], const struct plx_pci_addr *a, const char *file);
/** pci_link_name - last part of what a symbolic link names. Return: 0; -errno; -EPROTO too long */
int pci_link_name(char *out, size_t len, const char *path);

#endif
