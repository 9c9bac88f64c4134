/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie_group.c - IOMMU groups of VFIO, and what they can reach
 *
 * What the IOMMU cannot tell apart is a group, and opened once: devices of one group share its
 * container and what is mapped there. Each group has a container of its own, as what two IOMMUs
 * allow may differ.
 */
#include "driver/transport/pcie.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct pcie_group {
	int number; /* -1: what it stood for is gone */
	int fd, container;
	unsigned users;
	bool noiommu; /* VFIO without an IOMMU: memory is not protected from the device */
	struct pcie_iovas iovas;
	struct pcie_group *next;
};

static struct {
	pthread_mutex_t lock;
	struct pcie_group *list;
} groups = { .lock = PTHREAD_MUTEX_INITIALIZER };

int pcie_group_fd(const struct pcie_group *g)
{
	return g->fd;
}

/* ---- memory ---- */

/* Why the kernel refused to map, with the remedy */
static void explain_map(const char *bdf, const struct plx_mem_region *r, int err)
{
	struct rlimit limit = { 0 };

	switch (err) {
	case ENOMEM:
		getrlimit(RLIMIT_MEMLOCK, &limit);
		nvme_log(ERR,
			 "controller '%s': %zu MiB of memory cannot be locked for it: this process "
			 "may lock %llu KiB: raise the limit (ulimit -l, or memlock in "
			 "/etc/security/limits.conf)",
			 bdf, r->len >> 20, (unsigned long long)limit.rlim_cur >> 10);
		break;
	case ENOSPC:
		nvme_log(ERR,
			 "controller '%s': its IOMMU container takes no more mappings: raise "
			 "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit, or use "
			 "hugepages",
			 bdf);
		break;
	default:
		nvme_log(ERR, "controller '%s': %zu bytes of memory at %p cannot be mapped: %s",
			 bdf, r->len, r->addr, strerror(err));
	}
}

/* The device, and who has it, are gone: memory may still come and go */
static bool retired(const struct pcie_group *g)
{
	return g->number < 0;
}

static uint64_t choose(struct pcie_group *g, const char *bdf, uint64_t va, uint64_t len)
{
	uint64_t iova = va;

	if (!g->iovas.identity)
		iova = pcie_iovas_pick(&g->iovas, va, len);
	else if (!pcie_iovas_allowed(&g->iovas, va, len))
		iova = PLX_IOVA_BAD;
	if (iova == PLX_IOVA_BAD)
		nvme_log(ERR,
			 "controller '%s': its IOMMU has no room for %llu bytes at %llxh "
			 "(/sys/kernel/iommu_groups/%d/reserved_regions): register less memory",
			 bdf, (unsigned long long)len, (unsigned long long)va, g->number);
	return iova;
}

/* Under lock */
static int map_new(struct pcie_group *g, const char *bdf, const struct plx_mem_region *r)
{
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uint64_t)(uintptr_t)r->addr,
		.size = r->len,
	};
	int rc = plx_ranges_reserve(&g->iovas.table);

	if (rc)
		return rc;
	m.iova = choose(g, bdf, m.vaddr, m.size);
	if (m.iova == PLX_IOVA_BAD)
		return -ENOSPC;
	if (ioctl(g->container, VFIO_IOMMU_MAP_DMA, &m)) {
		rc = -errno;
		explain_map(bdf, r, -rc);
		/* a limit, not a lack */
		return rc == -ENOMEM ? -EPERM : rc;
	}
	plx_ranges_insert(&g->iovas.table,
			  &(struct plx_range){ .base = m.vaddr, .len = m.size, .iova = m.iova });
	return 0;
}

int pcie_group_map(struct pcie_group *g, const char *bdf, const struct plx_mem_region *r)
{
	int rc = 0;

	pthread_mutex_lock(&groups.lock);
	if (g->noiommu)
		rc = pcie_iovas_physical(&g->iovas, bdf, r);
	else if (!retired(g) &&
		 !plx_ranges_overlap(&g->iovas.table, (uint64_t)(uintptr_t)r->addr, r->len))
		rc = map_new(g, bdf, r);
	pthread_mutex_unlock(&groups.lock);
	return rc;
}

void pcie_group_unmap(struct pcie_group *g, const struct plx_mem_region *r)
{
	struct vfio_iommu_type1_dma_unmap m = { .argsz = sizeof(m), .size = r->len };

	pthread_mutex_lock(&groups.lock);
	/* of two devices in a group, the first has done it */
	m.iova = plx_ranges_iova(&g->iovas.table, r->addr, NULL);
	if (m.iova != PLX_IOVA_BAD && !g->noiommu)
		ioctl(g->container, VFIO_IOMMU_UNMAP_DMA, &m);
	pcie_iovas_forget(&g->iovas, r);
	pthread_mutex_unlock(&groups.lock);
}

void pcie_group_addresses(const struct pcie_group *g, struct plx_pcie_dev *dev)
{
	dev->iova = g->iovas.identity ? NULL : &g->iovas.look;
	dev->iova_is_pa = g->noiommu;
}

/* ---- what the IOMMU allows ---- */

/* Kernels before 5.4 do not tell: what the narrowest IOMMUs have, but for interrupts' addresses */
static const struct pcie_span narrow[] = { { 0, 0xfedfffff }, { 0xfef00000, (1ull << 39) - 1 } };

static int take_spans(struct pcie_group *g, const struct vfio_iommu_type1_info_cap_iova_range *cap)
{
	struct pcie_span *spans = calloc(cap->nr_iovas + 1u, sizeof(*spans));
	int rc;

	if (!spans)
		return -ENOMEM;
	for (uint32_t i = 0; i < cap->nr_iovas; i++)
		spans[i] = (struct pcie_span){ cap->iova_ranges[i].start, cap->iova_ranges[i].end };
	rc = pcie_iovas_allow(&g->iovas, spans, cap->nr_iovas);
	free(spans);
	return rc;
}

/* The range capability in the chain of @info. NULL: it is not there */
static const struct vfio_iommu_type1_info_cap_iova_range *
find_spans(const struct vfio_iommu_type1_info *info)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	uint32_t at = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;

	while (at && at + sizeof(*cap) <= info->argsz) {
		cap = (const void *)((const char *)info + at);
		if (cap->header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
			return at + sizeof(*cap) +
						       (uint64_t)cap->nr_iovas *
							       sizeof(*cap->iova_ranges) <=
					       info->argsz
				       ? cap
				       : NULL;
		at = cap->header.next > at ? cap->header.next : 0;
	}
	return NULL;
}

static int learn_spans(struct pcie_group *g)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct vfio_iommu_type1_info probe = { .argsz = sizeof(probe) }, *info;
	int rc;

	if (ioctl(g->container, VFIO_IOMMU_GET_INFO, &probe))
		return -errno;
	info = calloc(1, probe.argsz);
	if (!info)
		return -ENOMEM;
	info->argsz = probe.argsz;
	rc = ioctl(g->container, VFIO_IOMMU_GET_INFO, info) ? -errno : 0;
	if (!rc) {
		cap = find_spans(info);
		rc = cap ? take_spans(g, cap)
			 : pcie_iovas_allow(&g->iovas, narrow, PLX_ARRAY_SIZE(narrow));
	}
	free(info);
	return rc;
}

/* ---- open ---- */

/* Names what keeps VFIO from handing out the group. Return: -EPERM */
static int refuse_group(const struct pcie_group *g, const char *bdf)
{
	struct plx_pci_func *f = NULL;
	char names[300] = "";
	size_t n = 0, at = 0;

	plx_pci_group(g->number, &f, &n);
	for (size_t i = 0; i < n && at < sizeof(names); i++)
		if (!plx_pci_group_tolerates(&f[i]))
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s (%s)",
					       at ? ", " : "", f[i].name, f[i].driver);
	free(f);
	nvme_log(ERR,
		 "controller '%s': shares IOMMU group %d with devices that other drivers have: %s: "
		 "plx-setup bind those too, or unbind them",
		 bdf, g->number, names);
	return -EPERM;
}

static int open_failed(const char *bdf, const char *path)
{
	int err = errno;

	switch (err) {
	case EACCES:
	case EPERM:
		nvme_log(ERR,
			 "controller '%s': no permission to open %s: run as root, or give it to "
			 "this user: chown %u %s",
			 bdf, path, (unsigned)getuid(), path);
		break;
	case EBUSY:
		nvme_log(ERR,
			 "controller '%s': its IOMMU group %s is in use by another process: end "
			 "that first",
			 bdf, path);
		break;
	default:
		nvme_log(ERR, "controller '%s': %s cannot be opened: %s", bdf, path, strerror(err));
	}
	return -err;
}

static int open_group(struct pcie_group *g, const char *bdf)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%d", g->number);
	g->fd = open(path, O_RDWR | O_CLOEXEC);
	if (g->fd < 0 && errno == ENOENT) {
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%d", g->number);
		g->fd = open(path, O_RDWR | O_CLOEXEC);
		g->noiommu = g->fd >= 0;
	}
	if (g->fd < 0)
		return open_failed(bdf, path);
	if (ioctl(g->fd, VFIO_GROUP_GET_STATUS, &status))
		return open_failed(bdf, path);
	return status.flags & VFIO_GROUP_FLAGS_VIABLE ? 0 : refuse_group(g, bdf);
}

static int open_container(struct pcie_group *g, const char *bdf)
{
	static const char path[] = "/dev/vfio/vfio";

	g->container = open(path, O_RDWR | O_CLOEXEC);
	if (g->container < 0 || ioctl(g->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
	    ioctl(g->fd, VFIO_GROUP_SET_CONTAINER, &g->container) ||
	    ioctl(g->container, VFIO_SET_IOMMU,
		  g->noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU))
		return open_failed(bdf, path);
	if (g->noiommu)
		return 0;
	if (learn_spans(g))
		return open_failed(bdf, path);
	return 0;
}

static void group_free(struct pcie_group *g)
{
	if (g->container >= 0)
		close(g->container);
	if (g->fd >= 0)
		close(g->fd);
	pcie_iovas_fini(&g->iovas);
	free(g);
}

/* Under lock. Return: NULL with errno */
static struct pcie_group *group_open(int number, const char *bdf)
{
	struct pcie_group *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return NULL;
	*g = (struct pcie_group){ .number = number, .fd = -1, .container = -1 };
	pcie_iovas_init(&g->iovas);
	rc = open_group(g, bdf);
	if (!rc)
		rc = open_container(g, bdf);
	if (rc) {
		group_free(g);
		errno = -rc;
		return NULL;
	}
	g->next = groups.list;
	groups.list = g;
	return g;
}

struct pcie_group *pcie_group_get(const char *bdf, const struct plx_pci_func *f)
{
	int number = f->iommu_group;
	struct pcie_group *g;

	if (number < 0) {
		nvme_log(ERR,
			 "controller '%s': is behind no IOMMU, which vfio-pci needs: switch it on "
			 "(firmware: VT-d or AMD-Vi; kernel: intel_iommu=on), or bind "
			 "uio_pci_generic with plx-setup",
			 bdf);
		errno = ENOENT;
		return NULL;
	}
	pthread_mutex_lock(&groups.lock);
	for (g = groups.list; g && g->number != number; g = g->next)
		;
	if (!g)
		g = group_open(number, bdf);
	if (g)
		g->users++;
	pthread_mutex_unlock(&groups.lock);
	return g;
}

void pcie_group_retire(struct pcie_group *g)
{
	pthread_mutex_lock(&groups.lock);
	g->number = -1;
	pthread_mutex_unlock(&groups.lock);
}

void pcie_group_put(struct pcie_group *g)
{
	struct pcie_group **p;

	if (!g)
		return;
	pthread_mutex_lock(&groups.lock);
	if (!--g->users) {
		for (p = &groups.list; *p != g; p = &(*p)->next)
			;
		*p = g->next;
		group_free(g);
	}
	pthread_mutex_unlock(&groups.lock);
}
