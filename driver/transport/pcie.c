/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie.c - controllers on the PCIe bus, whatever kernel driver lets us at them
 */
#include "driver/transport/pcie.h"
#include "core/fault.h"
#include <errno.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- BARs ---- */

int pcie_map_bar(struct pcie_dev *d, struct pcie_bar *bar, int fd, uint64_t offset, size_t len)
{
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	if (mem == MAP_FAILED)
		return -errno;
	*bar = (struct pcie_bar){ .mem = mem, .len = len };
	bar->guard = plx_fault_guard(mem, len, &d->base.cut_off);
	if (bar->guard >= 0)
		return 0;
	munmap(mem, len);
	bar->mem = NULL;
	return bar->guard;
}

void pcie_unmap_bar(struct pcie_bar *bar)
{
	if (!bar->mem)
		return;
	plx_fault_unguard(bar->guard);
	munmap(bar->mem, bar->len);
	bar->mem = NULL;
}

void pcie_cut_off(struct pcie_dev *d, const char *why)
{
	d->base.gone = why;
	atomic_store(&d->base.cut_off, 1);
	/* in place, as owners of queue pairs may be at their doorbells */
	if (d->bar0.mem)
		mmap(d->bar0.mem, d->bar0.len, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

void pcie_use_bar0(struct pcie_dev *d)
{
	d->base.bar = d->bar0.mem;
	d->base.doorbells = (volatile uint32_t *)((char *)d->bar0.mem + PCIE_DB_OFFSET);
	d->base.doorbell_bytes = d->bar0.len - PCIE_DB_OFFSET;
}

/* ---- configuration space ---- */

int pcie_enable(struct pcie_dev *d)
{
	const struct plx_pcie_backend *ops = d->base.ops;
	unsigned char class[3];
	uint32_t code;
	uint16_t command;
	int rc = ops->cfg_read(&d->base, PCI_CLASS_PROG, class, sizeof(class));

	if (rc)
		goto fail;
	code = (uint32_t) class[2] << 16 | (uint32_t) class[1] << 8 | class[0];
	if (code != PCIE_CLASS_NVME) {
		nvme_log(ERR,
			 "controller '%s': is a PCI device of class %06xh, not an NVMe controller "
			 "(%06xh): plx-setup status lists those",
			 d->bdf, code, PCIE_CLASS_NVME);
		return -ENOTSUP;
	}
	rc = ops->cfg_read(&d->base, PCI_COMMAND, &command, sizeof(command));
	if (rc)
		goto fail;
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	rc = ops->cfg_write(&d->base, PCI_COMMAND, &command, sizeof(command));
	if (!rc)
		return 0;
fail:
	nvme_log(ERR, "controller '%s': its configuration space cannot be accessed: %s", d->bdf,
		 strerror(-rc));
	return rc;
}

void pcie_init(struct pcie_dev *d, const char *bdf, const struct plx_pcie_backend *ops)
{
	snprintf(d->bdf, sizeof(d->bdf), "%s", bdf);
	d->base.ops = ops;
	d->base.numa = plx_topo_pci_node(bdf);
}

/* ---- open ---- */

/* Name of the kernel driver; "" when there is none. Return: 0; -ENODEV no such function */
static int driver_of(const char *bdf, char *name, size_t size)
{
	char path[96], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), PCIE_SYSFS "/%s", bdf);
	if (access(path, F_OK))
		return -ENODEV;
	snprintf(path, sizeof(path), PCIE_SYSFS "/%s/driver", bdf);
	n = readlink(path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	snprintf(name, size, "%s", n < 0 ? "" : strrchr(target, '/') + 1);
	return 0;
}

static int pcie_open(const struct plx_nvme_trid *trid, struct plx_pcie_dev **dev)
{
	const char *bdf = trid->traddr;
	char driver[64];
	int rc;

	if (!*bdf) {
		nvme_log(ERR, "controller: traddr is missing: trtype:PCIe needs the function's "
			      "address, as plx-setup status lists them");
		return -EINVAL;
	}
	rc = driver_of(bdf, driver, sizeof(driver));
	if (rc)
		return rc;
	if (!strcmp(driver, "vfio-pci"))
		return pcie_vfio_open(bdf, dev);
	nvme_log(ERR,
		 "controller '%s': is bound to %s%s%s, which lets no program at it: plx-setup "
		 "bind %s",
		 bdf, *driver ? "'" : "no driver", driver, *driver ? "'" : "", bdf);
	return *driver ? -EBUSY : -ENOTSUP;
}

static const struct plx_pcie_backend pcie_backend = {
	.trtype = PLX_NVME_TR_PCIE,
	.open = pcie_open,
};

__attribute__((constructor)) static void pcie_register(void)
{
	plx_nvme_register_backend(&pcie_backend);
}
