/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie.c - controllers on the PCIe bus, whatever kernel driver lets us at them
 */
#include "driver/transport/pcie.h"
#include "core/fault.h"
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define IORESOURCE_MEM 0x200u /* of the kernel's flags of a BAR: it is no I/O ports */

/* ---- BARs ---- */

int pcie_map_bar(struct pcie_dev *d, struct pcie_bar *bar, int fd, uint64_t offset, size_t len,
		 void *at)
{
	int prot = PROT_READ | PROT_WRITE;
	void *mem = MAP_FAILED;

	if (at)
		mem = mmap(at, len, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, (off_t)offset);
	if (mem == MAP_FAILED)
		mem = mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)offset);
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

/* In place, as owners of queue pairs may be at their doorbells */
static void replace_bar(const struct pcie_bar *bar)
{
	if (bar->mem)
		mmap(bar->mem, bar->len, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

void pcie_cut_off(struct pcie_dev *d, const char *why)
{
	d->base.gone = why;
	atomic_store(&d->base.cut_off, 1);
	pthread_mutex_lock(&d->lock);
	replace_bar(&d->bar0);
	for (unsigned i = 0; i < PCIE_WINDOWS; i++)
		replace_bar(&d->windows[i]);
	pthread_mutex_unlock(&d->lock);
}

uint64_t pcie_bar_size(struct plx_pcie_dev *dev, unsigned index, uint64_t *bus)
{
	const struct plx_pci_bar *bar;

	if (index >= PLX_PCI_BARS)
		return 0;
	bar = &plx_container_of(dev, struct pcie_dev, base)->bars[index];
	*bus = bar->addr;
	return bar->flags & IORESOURCE_MEM ? bar->size : 0;
}

int pcie_window_map(struct pcie_dev *d, int fd, uint64_t offset, uint64_t len, void **mem)
{
	struct pcie_bar *w = d->windows;
	int rc = -ENOSPC;

	pthread_mutex_lock(&d->lock);
	while (w < d->windows + PCIE_WINDOWS && w->mem)
		w++;
	if (w < d->windows + PCIE_WINDOWS)
		rc = pcie_map_bar(d, w, fd, offset, len, *mem);
	if (!rc)
		*mem = w->mem;
	pthread_mutex_unlock(&d->lock);
	return rc;
}

void pcie_bar_unmap(struct plx_pcie_dev *dev, void *mem)
{
	struct pcie_dev *d = plx_container_of(dev, struct pcie_dev, base);

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < PCIE_WINDOWS; i++)
		if (d->windows[i].mem == mem)
			pcie_unmap_bar(&d->windows[i]);
	pthread_mutex_unlock(&d->lock);
}

void pcie_use_bar0(struct pcie_dev *d)
{
	d->base.bar = d->bar0.mem;
	d->base.doorbells = (volatile uint32_t *)((char *)d->bar0.mem + PCIE_DB_OFFSET);
	d->base.doorbell_bytes = d->bar0.len - PCIE_DB_OFFSET;
	d->base.doorbells_cross = true;
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
	if (code != PLX_PCI_CLASS_NVME) {
		nvme_log(ERR,
			 "controller '%s': is a PCI device of class %06xh, not an NVMe controller "
			 "(%06xh): plx-setup status lists those",
			 d->bdf, code, PLX_PCI_CLASS_NVME);
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

void pcie_init(struct pcie_dev *d, const char *bdf, const struct plx_pci_func *f,
	       const struct plx_pcie_backend *ops)
{
	snprintf(d->bdf, sizeof(d->bdf), "%s", bdf);
	memcpy(d->bars, f->bars, sizeof(d->bars));
	pthread_mutex_init(&d->lock, NULL);
	d->base.ops = ops;
	d->base.numa = plx_topo_pci_node(bdf);
}

void pcie_fini(struct pcie_dev *d)
{
	for (unsigned i = 0; i < PCIE_WINDOWS; i++)
		pcie_unmap_bar(&d->windows[i]);
	pcie_unmap_bar(&d->bar0);
	pthread_mutex_destroy(&d->lock);
}

/* ---- open ---- */

/* Who has the function, why that is in the way, and what to do about it. Return: -errno */
static int refuse_driver(const char *bdf, const struct plx_pci_func *f)
{
	struct plx_pci_use *uses = NULL;
	char what[400];
	size_t n = 0;

	if (!*f->driver) {
		nvme_log(ERR, "controller '%s': is bound to no driver: plx-setup bind %s", bdf,
			 bdf);
		return -ENOTSUP;
	}
	plx_pci_uses(f, &uses, &n);
	if (n)
		nvme_log(ERR,
			 "controller '%s': is bound to '%s', and in use (%s): end that, then "
			 "plx-setup bind %s",
			 bdf, f->driver, plx_pci_use_text(&uses[0], what, sizeof(what)), bdf);
	else
		nvme_log(ERR,
			 "controller '%s': is bound to '%s', which lets no program at it: "
			 "plx-setup bind %s",
			 bdf, f->driver, bdf);
	free(uses);
	return -EBUSY;
}

static int pcie_open(const struct plx_nvme_trid *trid, struct plx_pcie_dev **dev)
{
	const char *bdf = trid->traddr;
	struct plx_pci_addr addr;
	struct plx_pci_func f;
	char why[160];
	int rc;

	if (plx_pci_addr_parse(bdf, &addr, why, sizeof(why))) {
		nvme_log(ERR, "controller '%s': traddr: %s; plx-setup status lists what is there",
			 bdf, why);
		return -EINVAL;
	}
	rc = plx_pci_read(&addr, &f);
	if (rc)
		return rc;
	if (!strcmp(f.driver, "vfio-pci"))
		return pcie_vfio_open(bdf, &f, dev);
	if (!strcmp(f.driver, "igb_uio") || !strncmp(f.driver, "uio_", 4))
		return pcie_uio_open(bdf, &f, dev);
	return refuse_driver(bdf, &f);
}

static const struct plx_pcie_backend pcie_backend = {
	.trtype = PLX_NVME_TR_PCIE,
	.open = pcie_open,
};

__attribute__((constructor)) static void pcie_register(void)
{
	plx_nvme_register_backend(&pcie_backend);
}
