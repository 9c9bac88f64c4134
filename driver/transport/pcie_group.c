/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie_group.c - IOMMU groups of VFIO, and what they can reach
 *
 * What the IOMMU cannot tell apart is a group, and opened once: devices of one group share its
 * container and what is mapped there. Each group has a container of its own, as what two IOMMUs
 * allow may differ.
 */
#include "driver/transport/pcie.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct pcie_group {
	int number;
	int fd, container;
	unsigned users;
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

int pcie_group_map(struct pcie_group *g, const char *bdf, const struct plx_mem_region *r)
{
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uint64_t)(uintptr_t)r->addr,
		.iova = (uint64_t)(uintptr_t)r->addr,
		.size = r->len,
	};

	if (!ioctl(g->container, VFIO_IOMMU_MAP_DMA, &m))
		return 0;
	if (errno == EEXIST)
		return 0;
	explain_map(bdf, r, errno);
	return -errno;
}

void pcie_group_unmap(struct pcie_group *g, const struct plx_mem_region *r)
{
	struct vfio_iommu_type1_dma_unmap m = {
		.argsz = sizeof(m),
		.iova = (uint64_t)(uintptr_t)r->addr,
		.size = r->len,
	};

	ioctl(g->container, VFIO_IOMMU_UNMAP_DMA, &m);
}

/* ---- open ---- */

/* Return: the group; -ENOENT no IOMMU, logged */
static int group_number(const char *bdf)
{
	char path[96], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), PCIE_SYSFS "/%s/iommu_group", bdf);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0) {
		nvme_log(ERR,
			 "controller '%s': is behind no IOMMU, which vfio-pci needs: switch it on "
			 "(firmware: VT-d or AMD-Vi; kernel: intel_iommu=on), or plx-setup bind "
			 "%s uio_pci_generic",
			 bdf, bdf);
		return -ENOENT;
	}
	target[n] = '\0';
	return atoi(strrchr(target, '/') + 1);
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
	if (g->fd < 0)
		return open_failed(bdf, path);
	if (ioctl(g->fd, VFIO_GROUP_GET_STATUS, &status))
		return open_failed(bdf, path);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		nvme_log(ERR,
			 "controller '%s': its IOMMU group %d has devices that other drivers use: "
			 "bind all of them to vfio-pci, or unbind them (ls "
			 "/sys/kernel/iommu_groups/%d/devices)",
			 bdf, g->number, g->number);
		return -EPERM;
	}
	return 0;
}

static int open_container(struct pcie_group *g, const char *bdf)
{
	static const char path[] = "/dev/vfio/vfio";

	g->container = open(path, O_RDWR | O_CLOEXEC);
	if (g->container < 0 || ioctl(g->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
	    ioctl(g->fd, VFIO_GROUP_SET_CONTAINER, &g->container) ||
	    ioctl(g->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return open_failed(bdf, path);
	return 0;
}

static void group_free(struct pcie_group *g)
{
	if (g->container >= 0)
		close(g->container);
	if (g->fd >= 0)
		close(g->fd);
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

struct pcie_group *pcie_group_get(const char *bdf)
{
	int number = group_number(bdf);
	struct pcie_group *g;

	if (number < 0) {
		errno = -number;
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
