/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie_uio.c - a function bound to uio_pci_generic, igb_uio or another UIO driver
 *
 * Such a driver only sees to it that no other has the function: registers and configuration space
 * are files of sysfs. Nothing translates what the device sends, so memory has physical addresses;
 * and nothing stops the device when this process dies, before it is reset or bound to a driver.
 */
#include "core/pci.h"
#include "driver/transport/pcie.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct uio_dev {
	struct pcie_dev pcie;
	struct plx_pci_addr addr;
	int fd; /* resource0; its lock says that a process of ours drives the function */
	struct pcie_iovas iovas;
};

static const struct plx_pcie_backend uio_backend;

static struct uio_dev *to_uio(struct plx_pcie_dev *dev)
{
	return plx_container_of(dev, struct uio_dev, pcie.base);
}

static int cfg_read(struct plx_pcie_dev *dev, uint32_t offset, void *buf, unsigned len)
{
	return plx_pci_config_read(&to_uio(dev)->addr, offset, buf, len);
}

static int cfg_write(struct plx_pcie_dev *dev, uint32_t offset, const void *buf, unsigned len)
{
	return plx_pci_config_write(&to_uio(dev)->addr, offset, buf, len);
}

static int dma_map(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct uio_dev *u = to_uio(dev);

	return pcie_iovas_physical(&u->iovas, u->pcie.bdf, r);
}

static void dma_unmap(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	pcie_iovas_forget(&to_uio(dev)->iovas, r);
}

static int bar_file(struct plx_pcie_dev *dev, uint64_t *offset, size_t *len)
{
	*offset = 0;
	*len = to_uio(dev)->pcie.bar0.len;
	return to_uio(dev)->fd;
}

/* ---- open ---- */

/* Physical addresses mean nothing to an IOMMU that translates (Documentation/ABI/testing/
 * sysfs-kernel-iommu_groups: "identity" is the type that does not). Return: 0; -EPERM, logged */
static int check_iommu(const char *bdf, const struct plx_pci_func *f)
{
	char path[96], type[32];

	if (f->iommu_group < 0)
		return 0;
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/type", f->iommu_group);
	if (plx_pci_read_text(path, type, sizeof(type)) < 0 || !strcmp(type, "identity"))
		return 0;
	nvme_log(ERR,
		 "controller '%s': is bound to '%s', but behind an IOMMU that would block it: "
		 "plx-setup bind %s with vfio-pci, or boot with iommu=pt",
		 bdf, f->driver, bdf);
	return -EPERM;
}

static int open_resource(struct uio_dev *u, const struct plx_pci_func *f)
{
	char path[128];
	int rc;

	snprintf(path, sizeof(path), "%s" PCIE_SYSFS "/%s/resource0", plx_pci_root(), u->pcie.bdf);
	if (f->bars[0].size < PCIE_DB_OFFSET + 8) {
		nvme_log(ERR,
			 "controller '%s': its BAR 0 of %llu bytes is no register set of a "
			 "controller",
			 u->pcie.bdf, (unsigned long long)f->bars[0].size);
		return -ENOTSUP;
	}
	u->fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	if (u->fd < 0) {
		rc = -errno;
		nvme_log(ERR, "controller '%s': %s cannot be opened: %s%s", u->pcie.bdf, path,
			 strerror(-rc), rc == -EACCES ? ": run as root" : "");
		return rc;
	}
	if (flock(u->fd, LOCK_EX | LOCK_NB)) {
		nvme_log(ERR, "controller '%s': is in use by another process: end that first",
			 u->pcie.bdf);
		return -EBUSY;
	}
	rc = pcie_enable(&u->pcie);
	if (rc)
		return rc;
	rc = pcie_map_bar(&u->pcie, &u->pcie.bar0, u->fd, 0, f->bars[0].size, NULL);
	if (rc)
		nvme_log(ERR, "controller '%s': mapping %s failed: %s", u->pcie.bdf, path,
			 strerror(-rc));
	else
		pcie_use_bar0(&u->pcie);
	return rc;
}

static int uio_reset(struct plx_pcie_dev *dev)
{
	struct uio_dev *u = to_uio(dev);
	int rc = plx_pci_reset(&u->addr);

	return rc ? rc : pcie_enable(&u->pcie);
}

static int bar_map(struct plx_pcie_dev *dev, unsigned index, uint64_t offset, uint64_t len,
		   void **mem)
{
	struct uio_dev *u = to_uio(dev);
	char path[128];
	int fd, rc;

	snprintf(path, sizeof(path), "%s" PCIE_SYSFS "/%s/resource%u", plx_pci_root(), u->pcie.bdf,
		 index);
	fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = pcie_window_map(&u->pcie, fd, offset, len, mem);
	close(fd);
	return rc;
}

static void uio_close(struct plx_pcie_dev *dev)
{
	struct uio_dev *u = to_uio(dev);

	/* memory is about to be somebody else's */
	if (u->pcie.bar0.mem)
		pcie_stop_dma(dev);
	pcie_fini(&u->pcie);
	if (u->fd >= 0)
		close(u->fd);
	pcie_iovas_fini(&u->iovas);
	free(u);
}

int pcie_uio_open(const char *bdf, const struct plx_pci_func *f, struct plx_pcie_dev **dev)
{
	struct uio_dev *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return -ENOMEM;
	pcie_init(&u->pcie, bdf, f, &uio_backend);
	pcie_iovas_init(&u->iovas);
	u->pcie.base.iova = &u->iovas.look;
	u->pcie.base.iova_is_pa = true;
	u->addr = f->addr;
	u->fd = -1;
	rc = check_iommu(bdf, f);
	if (!rc)
		rc = open_resource(u, f);
	if (rc) {
		uio_close(&u->pcie.base);
		return rc;
	}
	*dev = &u->pcie.base;
	return 0;
}

static const struct plx_pcie_backend uio_backend = {
	.trtype = PLX_NVME_TR_PCIE,
	.close = uio_close,
	.cfg_read = cfg_read,
	.cfg_write = cfg_write,
	.reset = uio_reset,
	.bar_file = bar_file,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.bar_size = pcie_bar_size,
	.bar_map = bar_map,
	.bar_unmap = pcie_bar_unmap,
};
