/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie.h - what the files of the PCIe transport share
 *
 *   pcie.c       finding out which kernel driver a function is bound to, and what is common
 *   pcie_vfio.c  devices behind an IOMMU, by the kernel's VFIO
 *   pcie_uio.c   devices behind none, by a driver of the kernel's UIO
 *   pcie_group.c VFIO's groups and containers: memory mapped for devices
 *   pcie_iova.c  the addresses by which they reach it
 */
#ifndef POLLUX_DRIVER_TRANSPORT_PCIE_H
#define POLLUX_DRIVER_TRANSPORT_PCIE_H

#include "core/pci.h"
#include "driver/nvme_internal.h"
#include "driver/transport/pcie_iova.h"

#define PCIE_DB_OFFSET 0x1000u /* doorbells in BAR 0 (NVMe over PCIe Transport 1.0c §3.1.2) */
#define PCIE_SYSFS     "/sys/bus/pci/devices"

/** struct pcie_bar - a mapped BAR; SIGBUS in it sets the device's cut_off */
struct pcie_bar {
	void *mem;
	size_t len;
	int guard;
};

#define PCIE_WINDOWS 2 /* of memory that the controller has: what bar_map() maps */

/** struct pcie_dev - what the devices of all kernel drivers begin with */
struct pcie_dev {
	struct plx_pcie_dev base;
	char bdf[PLX_PCI_ADDR_TEXT];
	struct plx_pci_bar bars[PLX_PCI_BARS];
	struct pcie_bar bar0;
	struct pcie_bar windows[PCIE_WINDOWS];
	pthread_mutex_t lock; /* of @windows, and of what is mapped being replaced */
};

/* ---- pcie.c ---- */

/** pcie_map_bar - map @len bytes at @offset of @fd, to @at where nothing is there, NULL: anywhere,
 *  and guard them; the errno goes to the caller */
int pcie_map_bar(struct pcie_dev *d, struct pcie_bar *bar, int fd, uint64_t offset, size_t len,
		 void *at);
void pcie_unmap_bar(struct pcie_bar *bar);
/** pcie_cut_off - registers read as all ones from now on, and what the driver still stores goes
 *  nowhere: the file behind the BAR may be closed. Any thread */
void pcie_cut_off(struct pcie_dev *d, const char *why);
/** pcie_use_bar0 - registers and doorbells are where BAR 0 is mapped */
void pcie_use_bar0(struct pcie_dev *d);
/** pcie_enable - decoding of memory and bus mastering, through the device's cfg_read and
 *  cfg_write. Return: 0 or -errno */
int pcie_enable(struct pcie_dev *d);
/** pcie_init - the fields that all have; @ops of the device's own kind */
void pcie_init(struct pcie_dev *d, const char *bdf, const struct plx_pci_func *f,
	       const struct plx_pcie_backend *ops);
/** pcie_fini - unmaps what is mapped */
void pcie_fini(struct pcie_dev *d);
/** pcie_bar_size - as struct plx_pcie_backend has it */
uint64_t pcie_bar_size(struct plx_pcie_dev *dev, unsigned index, uint64_t *bus);
/** pcie_window_map - @len bytes at @offset of @fd, as bar_map(). pcie_bar_unmap - as there */
int pcie_window_map(struct pcie_dev *d, int fd, uint64_t offset, uint64_t len, void **mem);
void pcie_bar_unmap(struct plx_pcie_dev *dev, void *mem);

/* ---- pcie_vfio.c ---- */

int pcie_vfio_open(const char *bdf, const struct plx_pci_func *f, struct plx_pcie_dev **dev);

/* ---- pcie_uio.c ---- */

int pcie_uio_open(const char *bdf, const struct plx_pci_func *f, struct plx_pcie_dev **dev);

/* ---- pcie_group.c ---- */

struct pcie_group;

/** pcie_group_get - the IOMMU group of a function, opened and with its memory translated.
 *  Return: NULL with errno, logged */
struct pcie_group *pcie_group_get(const char *bdf, const struct plx_pci_func *f);
void pcie_group_put(struct pcie_group *g);
int pcie_group_fd(const struct pcie_group *g);
/** pcie_group_retire - its device is gone: the next one of that number is another group */
void pcie_group_retire(struct pcie_group *g);
/** pcie_group_addresses - how its devices are to be given addresses */
void pcie_group_addresses(const struct pcie_group *g, struct plx_pcie_dev *dev);
/** pcie_group_map - @r becomes reachable for all devices of the group, if it is not. Return: 0;
 *  -errno, logged with the name of @bdf */
int pcie_group_map(struct pcie_group *g, const char *bdf, const struct plx_mem_region *r);
void pcie_group_unmap(struct pcie_group *g, const struct plx_mem_region *r);

#endif
