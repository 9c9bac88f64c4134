/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie_vfio.c - a function bound to vfio-pci
 *
 * The kernel resets it when it is opened and when it is closed, so it begins in its initial state
 * and ends without access to memory, however this process ends.
 */
#include "driver/transport/pcie.h"
#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct vfio_dev {
	struct pcie_dev pcie;
	struct pcie_group *group; /* until the end: its addresses are looked up by others */
	int fd;
	uint64_t cfg_offset;
	int request; /* eventfd: the kernel wants the device back; -1: it cannot say so */
};

static const struct plx_pcie_backend vfio_backend;

static struct vfio_dev *to_vfio(struct plx_pcie_dev *dev)
{
	return plx_container_of(dev, struct vfio_dev, pcie.base);
}

/* ---- configuration space ---- */

static int cfg_read(struct plx_pcie_dev *dev, uint32_t offset, void *buf, unsigned len)
{
	struct vfio_dev *v = to_vfio(dev);
	ssize_t n = pread(v->fd, buf, len, (off_t)(v->cfg_offset + offset));

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

static int cfg_write(struct plx_pcie_dev *dev, uint32_t offset, const void *buf, unsigned len)
{
	struct vfio_dev *v = to_vfio(dev);
	ssize_t n = pwrite(v->fd, buf, len, (off_t)(v->cfg_offset + offset));

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

/* ---- memory ---- */

static int dma_map(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct vfio_dev *v = to_vfio(dev);

	return pcie_group_map(v->group, v->pcie.bdf, r);
}

static void dma_unmap(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	pcie_group_unmap(to_vfio(dev)->group, r);
}

/* ---- interrupts ---- */

static int set_vectors(struct vfio_dev *v, uint32_t index, unsigned count, const int *fds)
{
	size_t size = sizeof(struct vfio_irq_set) + count * sizeof(*fds);
	struct vfio_irq_set *set = calloc(1, size);
	int rc;

	if (!set)
		return -ENOMEM;
	set->argsz = (uint32_t)size;
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = index;
	set->count = count;
	memcpy(set->data, fds, count * sizeof(*fds));
	rc = ioctl(v->fd, VFIO_DEVICE_SET_IRQS, set) ? -errno : 0;
	free(set);
	return rc;
}

/* MSI-X, else MSI, else the interrupt line, which has to be unmasked after each interrupt */
static int irq_vectors(struct plx_pcie_dev *dev, unsigned count, const int *fds)
{
	static const uint32_t kinds[] = { VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX,
					  VFIO_PCI_INTX_IRQ_INDEX };
	struct vfio_dev *v = to_vfio(dev);
	int rc = -ENOTSUP;

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(kinds); i++) {
		struct vfio_irq_info info = { .argsz = sizeof(info), .index = kinds[i] };
		unsigned n;

		if (ioctl(v->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) ||
		    !(info.flags & VFIO_IRQ_INFO_EVENTFD) || !info.count)
			continue;
		n = count < info.count ? count : info.count;
		rc = set_vectors(v, kinds[i], n, fds);
		if (rc)
			continue;
		dev->irq_line = kinds[i] == VFIO_PCI_INTX_IRQ_INDEX;
		return (int)n;
	}
	return rc;
}

static void irq_unmask(struct plx_pcie_dev *dev)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK,
		.index = VFIO_PCI_INTX_IRQ_INDEX,
		.count = 1,
	};

	ioctl(to_vfio(dev)->fd, VFIO_DEVICE_SET_IRQS, &set);
}

/* ---- reset ---- */

/* The kernel puts the configuration back that it found, which may be one without access to
 * memory */
static int vfio_reset(struct plx_pcie_dev *dev)
{
	struct vfio_dev *v = to_vfio(dev);

	if (ioctl(v->fd, VFIO_DEVICE_RESET))
		return errno == EINVAL || errno == ENOTTY ? -ENOTSUP : -errno;
	return pcie_enable(&v->pcie);
}

/* ---- removal ---- */

static void let_go(struct vfio_dev *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
	if (v->request >= 0)
		close(v->request);
	v->request = -1;
}

/* The kernel waits until the device is given back, so that happens at once: closing it ends its
 * access to memory. */
static bool poll_request(struct plx_pcie_dev *dev)
{
	struct vfio_dev *v = to_vfio(dev);
	uint64_t count;

	if (v->request < 0 || read(v->request, &count, sizeof(count)) != sizeof(count))
		return false;
	pcie_cut_off(&v->pcie, "is being unplugged, or taken from this process by the kernel");
	pcie_group_retire(v->group);
	let_go(v);
	return true;
}

static void watch_request(struct vfio_dev *v)
{
	v->request = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->request < 0 || !set_vectors(v, VFIO_PCI_REQ_IRQ_INDEX, 1, &v->request))
		return;
	close(v->request);
	v->request = -1;
}

/* ---- open ---- */

static int open_failed(const struct vfio_dev *v, const char *what)
{
	int err = errno;

	nvme_log(ERR, "controller '%s': %s failed: %s", v->pcie.bdf, what, strerror(err));
	return -err;
}

/* A virtual function whose physical one belongs to another program needs that one's token. */
static int open_device(struct vfio_dev *v)
{
	const char *token = getenv("PLX_VFIO_VF_TOKEN");
	char name[128];
	int err;

	if (token && strlen(token) != 36) {
		nvme_log(ERR,
			 "controller '%s': PLX_VFIO_VF_TOKEN '%.64s' is not a UUID: write it as "
			 "01234567-89ab-cdef-0123-456789abcdef",
			 v->pcie.bdf, token);
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "%s%s%s", v->pcie.bdf, token ? " vf_token=" : "",
		 token ? token : "");
	v->fd = ioctl(pcie_group_fd(v->group), VFIO_GROUP_GET_DEVICE_FD, name);
	/* not every function takes a token */
	if (v->fd < 0 && token && errno == EINVAL)
		v->fd = ioctl(pcie_group_fd(v->group), VFIO_GROUP_GET_DEVICE_FD, v->pcie.bdf);
	if (v->fd >= 0)
		return 0;
	err = errno;
	if (err == EACCES)
		nvme_log(ERR,
			 "controller '%s': is a virtual function whose physical function is in use "
			 "with another VF token: set PLX_VFIO_VF_TOKEN to it",
			 v->pcie.bdf);
	else if (err == EBUSY)
		nvme_log(ERR, "controller '%s': is in use by another process", v->pcie.bdf);
	else
		return open_failed(v, "opening it");
	return -err;
}

static int region_info(struct vfio_dev *v, uint32_t index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info){ .argsz = sizeof(*info), .index = index };
	return ioctl(v->fd, VFIO_DEVICE_GET_REGION_INFO, info);
}

static int open_regions(struct vfio_dev *v)
{
	struct vfio_region_info info;
	int rc;

	if (region_info(v, VFIO_PCI_CONFIG_REGION_INDEX, &info))
		return open_failed(v, "finding its configuration space");
	v->cfg_offset = info.offset;
	rc = pcie_enable(&v->pcie);
	if (rc)
		return rc;
	if (region_info(v, VFIO_PCI_BAR0_REGION_INDEX, &info))
		return open_failed(v, "finding its BAR 0");
	if (info.size < PCIE_DB_OFFSET + 8 || !(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) {
		nvme_log(ERR,
			 "controller '%s': its BAR 0 of %llu bytes is no register set of a "
			 "controller that can be mapped",
			 v->pcie.bdf, (unsigned long long)info.size);
		return -ENOTSUP;
	}
	rc = pcie_map_bar(&v->pcie, &v->pcie.bar0, v->fd, info.offset, info.size, NULL);
	if (rc) {
		errno = -rc;
		return open_failed(v, "mapping its BAR 0");
	}
	pcie_use_bar0(&v->pcie);
	return 0;
}

static int bar_file(struct plx_pcie_dev *dev, uint64_t *offset, size_t *len)
{
	struct vfio_dev *v = to_vfio(dev);
	struct vfio_region_info info;

	if (v->fd < 0)
		return -ENODEV;
	if (region_info(v, VFIO_PCI_BAR0_REGION_INDEX, &info))
		return -errno;
	*offset = info.offset;
	*len = v->pcie.bar0.len;
	return v->fd;
}

static int bar_map(struct plx_pcie_dev *dev, unsigned index, uint64_t offset, uint64_t len,
		   void **mem)
{
	struct vfio_dev *v = to_vfio(dev);
	struct vfio_region_info info;

	if (region_info(v, VFIO_PCI_BAR0_REGION_INDEX + index, &info))
		return -errno;
	if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return -ENOTSUP;
	if (offset > info.size || len > info.size - offset)
		return -ERANGE;
	return pcie_window_map(&v->pcie, v->fd, info.offset + offset, len, mem);
}

static void vfio_close(struct plx_pcie_dev *dev)
{
	struct vfio_dev *v = to_vfio(dev);

	pcie_fini(&v->pcie);
	let_go(v);
	pcie_group_put(v->group);
	free(v);
}

int pcie_vfio_open(const char *bdf, const struct plx_pci_func *f, struct plx_pcie_dev **dev)
{
	struct vfio_dev *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return -ENOMEM;
	pcie_init(&v->pcie, bdf, f, &vfio_backend);
	v->fd = v->request = -1;
	v->group = pcie_group_get(bdf, f);
	rc = v->group ? open_device(v) : -errno;
	if (!rc)
		rc = open_regions(v);
	if (!rc)
		pcie_group_addresses(v->group, &v->pcie.base);
	if (rc) {
		vfio_close(&v->pcie.base);
		return rc;
	}
	watch_request(v);
	*dev = &v->pcie.base;
	return 0;
}

static const struct plx_pcie_backend vfio_backend = {
	.trtype = PLX_NVME_TR_PCIE,
	.close = vfio_close,
	.poll = poll_request,
	.cfg_read = cfg_read,
	.cfg_write = cfg_write,
	.reset = vfio_reset,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.bar_size = pcie_bar_size,
	.bar_map = bar_map,
	.bar_unmap = pcie_bar_unmap,
	.irq_vectors = irq_vectors,
	.irq_unmask = irq_unmask,
	.bar_file = bar_file,
};
