/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/pcie_backend.h - what brings the registers of a memory-mapped controller
 *
 * vfio-pci, uio, vfio-user and the in-process virtual controller differ only here. A backend
 * registers itself with plx_nvme_register_backend() from a constructor; adding one is one file and
 * its line in meson.build.
 *
 * Registers: where the BAR can be mapped, @bar points to it and the driver uses plain loads and
 * stores; where registers have side effects in software (virtual, vfio-user), @bar is NULL and
 * reg_read/reg_write are called. Doorbells are memory: @doorbells is the address of register offset
 * 1000h, or doorbell() tells for each. Where it says that one is not, the queue pair keeps it in
 * memory of its own, and doorbell_write() is called once per poll for one that has changed.
 */
#ifndef POLLUX_DRIVER_PCIE_BACKEND_H
#define POLLUX_DRIVER_PCIE_BACKEND_H

#include <pollux/nvme.h>
#include <stdatomic.h>

struct plx_pcie_dev;
struct dptr_iova;

struct plx_pcie_backend {
	enum plx_nvme_trtype trtype;
	/** open - Return: 0 and *@dev; -ENODEV; other negative errno, logged */
	int (*open)(const struct plx_nvme_trid *trid, struct plx_pcie_dev **dev);
	void (*close)(struct plx_pcie_dev *dev);
	/** @size: 4 or 8 bytes. A vanished device reads as all ones (-ENODEV is not an error of
	 *  these). */
	uint64_t (*reg_read)(struct plx_pcie_dev *dev, uint32_t offset, unsigned size);
	/** posted: takes effect after it returns, in order with other writes */
	void (*reg_write)(struct plx_pcie_dev *dev, uint32_t offset, uint64_t value, unsigned size);
	/** CSTS for the watch over a ready controller, for a device whose reg_read waits: does not
	 *  wait, but says what it has heard since the last call. NULL: reg_read.
	 *  Return: false when there is nothing yet */
	bool (*watch)(struct plx_pcie_dev *dev, uint32_t *csts);
	/** @offset: of a doorbell, from 1000h on. NULL: at plx_pcie_dev.doorbells.
	 *  Return: NULL when it is not memory */
	volatile uint32_t *(*doorbell)(struct plx_pcie_dev *dev, uint32_t offset);
	/** such a one; any queue pair's owner */
	void (*doorbell_write)(struct plx_pcie_dev *dev, uint32_t offset, uint32_t value);
	/** what the device asks of its driver; called in each poll of the controller, of every
	 *  queue pair now and then once wants_poll is set, and in each of its polls while that was
	 *  of use. NULL: nothing. Return: whether it was of use lately. Any thread */
	bool (*poll)(struct plx_pcie_dev *dev);
	/** config space; NULL where there is none. Return: 0 or -errno */
	int (*cfg_read)(struct plx_pcie_dev *dev, uint32_t offset, void *buf, unsigned len);
	int (*cfg_write)(struct plx_pcie_dev *dev, uint32_t offset, const void *buf, unsigned len);
	/** function level reset, with what the device needs of configuration space restored; may
	 *  take seconds. From a thread of its own, while nothing else is called. Where it is,
	 *  cfg_read is as well. NULL: there is none. Return: 0; -ENOTSUP; -errno */
	int (*reset)(struct plx_pcie_dev *dev);
	/** a region of memory becomes reachable by the device / stops to be. NULL: every region
	 *  always is */
	int (*dma_map)(struct plx_pcie_dev *dev, const struct plx_mem_region *r);
	void (*dma_unmap)(struct plx_pcie_dev *dev, const struct plx_mem_region *r);
	/** BARs beside the registers, for memory of the controller's own; NULL: there are none.
	 *  @index: 0..5. Return: bytes, and its address on the bus; 0: there is no such BAR, or it
	 *  is no memory */
	uint64_t (*bar_size)(struct plx_pcie_dev *dev, unsigned index, uint64_t *bus);
	/** @len bytes of it at @offset, both whole pages within it, until unmapped; two at once at
	 *  most. *@mem: an address to map it to, unless something is there; NULL: anywhere.
	 *  Return: 0 or -errno */
	int (*bar_map)(struct plx_pcie_dev *dev, unsigned index, uint64_t offset, uint64_t len,
		       void **mem);
	void (*bar_unmap)(struct plx_pcie_dev *dev, void *mem);
	/** interrupt vectors as eventfds; NULL: none */
	int (*irq_enable)(struct plx_pcie_dev *dev, unsigned vector, int eventfd);
	/** the same for vectors 0 to @count - 1 at once, where they can only be had so; preferred.
	 *  Return: how many there are, 1 or more; -errno */
	int (*irq_vectors)(struct plx_pcie_dev *dev, unsigned count, const int *eventfds);
	/** with irq_line: after an interrupt, before one waits for the next */
	void (*irq_unmask)(struct plx_pcie_dev *dev);
	/** the file that BAR 0 can be mapped from, for processes that share the controller; NULL:
	 *  it cannot be shared. @offset, @len: of the BAR in it, bytes. Return: a descriptor, the
	 *  device's; -errno */
	int (*bar_file)(struct plx_pcie_dev *dev, uint64_t *offset, size_t *len);
};

/** struct plx_pcie_dev - a backend's device begins with this */
struct plx_pcie_dev {
	const struct plx_pcie_backend *ops;
	volatile void *bar; /* NULL: use reg_read and reg_write */
	volatile uint32_t *doorbells;
	size_t doorbell_bytes; /* there are from 1000h on */
	_Atomic bool wants_poll; /* has asked something, ever */
	_Atomic uint32_t cut_off; /* nothing is behind @bar any more: registers read as all ones */
	const char *gone; /* why, where that is known; set before @cut_off */
	const char *reset_by; /* who else makes CSTS.RDY 0, where that is known */
	int numa;
	const struct dptr_iova *iova; /* NULL: it takes virtual addresses, no look-up per I/O */
	bool iova_is_pa; /* they are physical ones */
	bool irq_line; /* interrupts are a level, masked by each (INTx) */
	bool doorbells_cross; /* stores to doorbells leave the machine's memory: shadows pay */
};

void plx_nvme_register_backend(const struct plx_pcie_backend *b);
const struct plx_pcie_backend *plx_nvme_find_backend(enum plx_nvme_trtype t);
/** pcie_stop_dma - the device reaches no memory any more, whatever it is doing: bus mastering is
 *  switched off, where there is configuration space. The end of working with it */
void pcie_stop_dma(struct plx_pcie_dev *dev);

static inline uint32_t pcie_read32(struct plx_pcie_dev *d, uint32_t off)
{
	uint32_t v;

	if (!d->bar)
		return (uint32_t)d->ops->reg_read(d, off, 4);
	v = *(volatile uint32_t *)((volatile char *)d->bar + off);
	/* in this order: it may be this very load that finds out */
	return atomic_load(&d->cut_off) ? UINT32_MAX : v;
}
static inline uint64_t pcie_read64(struct plx_pcie_dev *d, uint32_t off)
{
	uint64_t v;

	if (!d->bar)
		return d->ops->reg_read(d, off, 8);
	v = *(volatile uint64_t *)((volatile char *)d->bar + off);
	return atomic_load(&d->cut_off) ? UINT64_MAX : v;
}
static inline void pcie_write32(struct plx_pcie_dev *d, uint32_t off, uint32_t v)
{
	if (d->bar)
		*(volatile uint32_t *)((volatile char *)d->bar + off) = v;
	else
		d->ops->reg_write(d, off, v, 4);
}
static inline void pcie_write64(struct plx_pcie_dev *d, uint32_t off, uint64_t v)
{
	if (d->bar)
		*(volatile uint64_t *)((volatile char *)d->bar + off) = v;
	else
		d->ops->reg_write(d, off, v, 8);
}
#endif
