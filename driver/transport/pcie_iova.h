/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie_iova.h - addresses by which PCIe devices reach memory
 *
 * Three kinds: virtual addresses, where the IOMMU is wide enough for all of them; addresses chosen
 * here, where it is not; physical ones, where there is none.
 */
#ifndef POLLUX_DRIVER_TRANSPORT_PCIE_IOVA_H
#define POLLUX_DRIVER_TRANSPORT_PCIE_IOVA_H

#include "core/ranges.h"
#include "driver/dptr.h"

/** struct pcie_span - addresses @first to @last, both included */
struct pcie_span {
	uint64_t first, last;
};

/** struct pcie_iovas - what a device, or all devices of a group, can reach, and where */
struct pcie_iovas {
	struct dptr_iova look;
	struct plx_ranges table;
	struct pcie_span *allowed; /* by address; not for physical addresses */
	uint32_t nallowed;
	bool identity; /* virtual addresses will do */
};

/** pcie_iovas_init - looks up in its own table; nothing is allowed yet */
void pcie_iovas_init(struct pcie_iovas *t);
/** pcie_iovas_fini - nobody looks into it any more */
void pcie_iovas_fini(struct pcie_iovas *t);
/** pcie_iovas_allow - what the IOMMU translates; decides about virtual addresses. Return: 0 or
 *  -ENOMEM */
int pcie_iovas_allow(struct pcie_iovas *t, const struct pcie_span *spans, uint32_t n);
/**
 * pcie_iovas_pick - where @len bytes at @va are to be for the device
 *
 * The lowest free place that is allowed and as far from a large page's beginning as @va, so that
 * the IOMMU can use large pages. Return: PLX_IOVA_BAD where there is no room
 */
uint64_t pcie_iovas_pick(const struct pcie_iovas *t, uint64_t va, uint64_t len);
/** pcie_iovas_allowed - whether all of it is translated */
bool pcie_iovas_allowed(const struct pcie_iovas *t, uint64_t iova, uint64_t len);

/**
 * pcie_iovas_physical - enter a region by the physical addresses of its hugepages
 * @name: of the controller, for what goes to the log
 * Return: 0; -EINVAL no hugepages; -EPERM addresses may not be known; -ENOMEM. Logged
 */
int pcie_iovas_physical(struct pcie_iovas *t, const char *name, const struct plx_mem_region *r);
/** pcie_iovas_forget - remove what @r covers */
void pcie_iovas_forget(struct pcie_iovas *t, const struct plx_mem_region *r);

#endif
