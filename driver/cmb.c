/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmb.c - the controller memory buffer (NVMe Base 2.0c §8.5)
 *
 * Since version 1.4 (CAP.CMBS) the host enables it and chooses the address by which commands name
 * it. Before, it is always on, at the BAR's address.
 *
 * Everything but cmb_alloc_sq() and the public functions: under the controller's lock, or before
 * and after all others know it.
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_memory.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE ((uint64_t)PLX_PAGE_SIZE)

static bool wanted(const struct plx_nvme_ctrlr *c)
{
	return c->opts.use_cmb_sqs || c->opts.use_cmb_data;
}

/* No reason to fail: queues and data go elsewhere */
static void __attribute__((format(printf, 2, 3)))
go_without(struct plx_nvme_ctrlr *c, const char *fmt, ...)
{
	char why[200];
	va_list ap;

	c->cmb.sz = 0;
	if (!wanted(c))
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	nvme_log(WARN, "controller '%s': its controller memory buffer is not used: %s", c->name,
		 why);
}

/* ---- finding it ---- */

/* Offset and size in its BAR, §3.1.3.11 and §3.1.3.12. Return: false when it cannot be used; *@bus:
 * the BAR's address */
static bool locate(struct plx_nvme_ctrlr *c, uint64_t *bus)
{
	struct nvme_cmb *m = &c->cmb;
	unsigned bir = NVME_CMBLOC_BIR(m->loc), shift = 12 + 4 * NVME_CMBSZ_SZU(m->sz);
	struct plx_pcie_dev *dev = c->dev;
	uint64_t bar = 0;

	if (NVME_CMBSZ_SZU(m->sz) > NVME_CMBSZ_SZU_64G) {
		go_without(c, "CMBSZ.SZU is %u, which is reserved",
			   (unsigned)NVME_CMBSZ_SZU(m->sz));
		return false;
	}
	/* 20 bits, shifted by 36 at most */
	m->offset = (uint64_t)NVME_CMBLOC_OFST(m->loc) << shift;
	m->bytes = (uint64_t)NVME_CMBSZ_SZ(m->sz) << shift;
	if (dev->ops->bar_size && bir != 1 && bir < 6)
		bar = dev->ops->bar_size(dev, bir, bus);
	if (!bar) {
		go_without(c, "CMBLOC.BIR is %u, and there is no such BAR of memory", bir);
		return false;
	}
	if (m->offset >= bar || (!bir && m->offset < PLX_NVME_DB_OFFSET + PAGE)) {
		go_without(c, "CMBLOC.OFST is %llu bytes into BAR %u, of %llu bytes, %s",
			   (unsigned long long)m->offset, bir, (unsigned long long)bar,
			   bir ? "behind its end" : "where its registers are");
		return false;
	}
	/* §3.1.3.12: it ends with the BAR */
	if (m->bytes > bar - m->offset)
		m->bytes = bar - m->offset;
	m->bytes &= ~(PAGE - 1);
	if (!m->bytes) {
		go_without(c, "BAR %u ends within its first page", bir);
		return false;
	}
	if (!bir && dev->doorbell_bytes > m->offset - PLX_NVME_DB_OFFSET)
		dev->doorbell_bytes = m->offset - PLX_NVME_DB_OFFSET;
	return true;
}

/* ---- using it ---- */

/*
 * The address that commands will use. That of the BAR on the bus is what a buffer of before 1.4
 * goes by, whatever it says of itself, and what others are used with elsewhere. With virtual
 * addresses it is right once the buffer is mapped there: no memory can be there then, and nothing
 * has to be looked up. Return: PLX_IOVA_BAD: none is safe
 */
static uint64_t choose_address(const struct plx_nvme_ctrlr *c, uint64_t bus)
{
	uint64_t va = (uint64_t)(uintptr_t)c->cmb.mem;

	if (c->dev->iova_is_pa)
		return bus;
	if (c->cmb.legacy && (c->dev->iova || va != bus))
		return PLX_IOVA_BAD;
	return va;
}

static bool enable(struct plx_nvme_ctrlr *c)
{
	struct nvme_cmb *m = &c->cmb;

	if (m->legacy)
		return true;
	pcie_write64(c->dev, NVME_REG_CMBMSC,
		     m->iova | 1u << NVME_CMBMSC_CMSE_SHIFT | 1u << NVME_CMBMSC_CRE_SHIFT);
	return !NVME_CMBSTS_CBAI(pcie_read32(c->dev, NVME_REG_CMBSTS));
}

static void unmap(struct plx_nvme_ctrlr *c)
{
	window_close(&c->windows.window[NVME_WINDOW_CMB]);
	c->dev->ops->bar_unmap(c->dev, c->cmb.mem);
	c->cmb.mem = NULL;
}

/* @bus: its address there */
static void use(struct plx_nvme_ctrlr *c, uint64_t bus)
{
	struct nvme_cmb *m = &c->cmb;
	int rc;

	m->mem = c->dev->iova ? NULL : (void *)(uintptr_t)bus;
	rc = c->dev->ops->bar_map(c->dev, NVME_CMBLOC_BIR(m->loc), m->offset, m->bytes, &m->mem);
	if (rc) {
		m->mem = NULL;
		go_without(c, "%llu bytes of BAR %u cannot be mapped: %s",
			   (unsigned long long)m->bytes, (unsigned)NVME_CMBLOC_BIR(m->loc),
			   strerror(-rc));
		return;
	}
	m->iova = choose_address(c, bus);
	if (m->iova == PLX_IOVA_BAD || m->iova & (PAGE - 1)) {
		go_without(c, "its address on the bus, %llxh, may be that of memory as well",
			   (unsigned long long)bus);
		unmap(c);
		return;
	}
	if (!enable(c)) {
		pcie_write64(c->dev, NVME_REG_CMBMSC, 0);
		go_without(c, "it does not take address %llxh (CMBSTS.CBAI)",
			   (unsigned long long)m->iova);
		unmap(c);
		return;
	}
	window_open(&c->windows.window[NVME_WINDOW_CMB], m->mem, m->bytes, m->iova);
	if (c->opts.use_cmb_data && c->iova)
		ctrlr_look_up(c);
	nvme_log(INFO, "controller '%s': controller memory buffer of %llu KiB at %llxh, CMBSZ %xh",
		 c->name, (unsigned long long)m->bytes >> 10, (unsigned long long)m->iova, m->sz);
}

void cmb_find(struct plx_nvme_ctrlr *c)
{
	struct nvme_cmb *m = &c->cmb;
	uint64_t bus;

	/* some have the capability of 1.4 and are enabled like one of before */
	m->legacy =
		!NVME_CAP_CMBS(c->cap) || (!NVME_CMBMSC_CRE(pcie_read64(c->dev, NVME_REG_CMBMSC)) &&
					   NVME_CMBSZ_SZ(pcie_read32(c->dev, NVME_REG_CMBSZ)));
	/* its registers alone, which are 0 before */
	if (!m->legacy)
		pcie_write64(c->dev, NVME_REG_CMBMSC, 1u << NVME_CMBMSC_CRE_SHIFT);
	m->loc = pcie_read32(c->dev, NVME_REG_CMBLOC);
	m->sz = pcie_read32(c->dev, NVME_REG_CMBSZ);
	if (!NVME_CMBSZ_SZ(m->sz)) {
		go_without(c, "there is none (CMBSZ is %xh)", m->sz);
		return;
	}
	if (locate(c, &bus) && wanted(c))
		use(c, bus + m->offset);
}

/* CMBMSC outlives a reset (§3.7.2), the content does not */
bool cmb_restore(struct plx_nvme_ctrlr *c)
{
	struct nvme_cmb *m = &c->cmb;
	uint32_t loc, sz;

	if (!m->mem) {
		if (!m->legacy)
			pcie_write64(c->dev, NVME_REG_CMBMSC, 1u << NVME_CMBMSC_CRE_SHIFT);
		return true;
	}
	if (!enable(c)) {
		ctrlr_fail(c, -EIO,
			   "does not take the address of its controller memory buffer again "
			   "(CMBSTS.CBAI)");
		return false;
	}
	loc = pcie_read32(c->dev, NVME_REG_CMBLOC);
	sz = pcie_read32(c->dev, NVME_REG_CMBSZ);
	if (loc == m->loc && sz == m->sz)
		return true;
	ctrlr_fail(c, -EIO,
		   "has another controller memory buffer after the reset: CMBLOC and CMBSZ are "
		   "%xh and %xh, and were %xh and %xh",
		   loc, sz, m->loc, m->sz);
	return false;
}

void cmb_fini(struct plx_nvme_ctrlr *c)
{
	struct nvme_cmb *m = &c->cmb;

	if (NVME_CAP_CMBS(c->cap) && !m->legacy)
		pcie_write64(c->dev, NVME_REG_CMBMSC, 0);
	if (m->mem)
		unmap(c);
	while (m->pieces) {
		struct nvme_cmb_piece *next = m->pieces->next;

		free(m->pieces);
		m->pieces = next;
	}
}

/* ---- pieces of it ---- */

/* The first gap that holds @size bytes at a multiple of @align. Return: offset of what is taken;
 * UINT64_MAX: there is none */
static uint64_t take(struct nvme_cmb *m, uint64_t size, uint64_t align)
{
	struct nvme_cmb_piece **at = &m->pieces, *piece;
	/* of addresses; the buffer itself lies on a page */
	uint64_t va = (uint64_t)(uintptr_t)m->mem, offset = (va + align - 1) / align * align - va;

	for (; *at; at = &(*at)->next) {
		if (offset <= (*at)->offset && size <= (*at)->offset - offset)
			break;
		offset = (va + (*at)->offset + (*at)->len + align - 1) / align * align - va;
	}
	if (offset > m->bytes || size > m->bytes - offset)
		return UINT64_MAX;
	piece = malloc(sizeof(*piece));
	if (!piece)
		return UINT64_MAX;
	*piece = (struct nvme_cmb_piece){ .next = *at, .offset = offset, .len = size };
	*at = piece;
	return offset;
}

static void *take_locked(struct plx_nvme_ctrlr *c, uint64_t size, uint64_t align)
{
	uint64_t offset;

	pthread_mutex_lock(&c->lock);
	offset = take(&c->cmb, size, align);
	pthread_mutex_unlock(&c->lock);
	return offset == UINT64_MAX ? NULL : (char *)c->cmb.mem + offset;
}

void *cmb_alloc_sq(struct plx_nvme_ctrlr *c, size_t bytes)
{
	struct nvme_cmb *m = &c->cmb;
	void *sq;

	if (!m->mem || !c->opts.use_cmb_sqs)
		return NULL;
	sq = NVME_CMBSZ_SQS(m->sz) ? take_locked(c, (bytes + PAGE - 1) & ~(PAGE - 1), PAGE) : NULL;
	if (!sq && !m->full) {
		m->full = true;
		nvme_log(WARN, "controller '%s': submission queues are in host memory: %s", c->name,
			 NVME_CMBSZ_SQS(m->sz)
				 ? "its controller memory buffer is full"
				 : "its controller memory buffer takes none (CMBSZ.SQS is 0)");
	}
	return sq;
}

/* ---- public ---- */

static uint64_t free_bytes(const struct nvme_cmb *m)
{
	uint64_t used = 0;

	for (const struct nvme_cmb_piece *p = m->pieces; p; p = p->next)
		used += p->len;
	return m->mem ? m->bytes - used : 0;
}

int plx_nvme_cmb_info(struct plx_nvme_ctrlr *c, struct plx_nvme_cmb_info *out)
{
	const struct nvme_cmb *m = &c->cmb;

	if (!m->sz)
		return -ENOTSUP;
	pthread_mutex_lock(&c->lock);
	*out = (struct plx_nvme_cmb_info){
		.bytes = m->bytes,
		.free_bytes = free_bytes(m),
		.sqs = NVME_CMBSZ_SQS(m->sz),
		.cqs = NVME_CMBSZ_CQS(m->sz),
		.lists = NVME_CMBSZ_LISTS(m->sz),
		.read_data = NVME_CMBSZ_RDS(m->sz),
		.write_data = NVME_CMBSZ_WDS(m->sz),
		.mixed_metadata = NVME_CMBLOC_CDMMMS(m->loc),
		.legacy = m->legacy,
	};
	pthread_mutex_unlock(&c->lock);
	return 0;
}

void *plx_nvme_cmb_alloc(struct plx_nvme_ctrlr *c, uint64_t size, uint64_t align)
{
	struct nvme_cmb *m = &c->cmb;
	void *mem;

	align = align ? align : PLX_CACHE_LINE;
	if (!size || align & (align - 1) || align > UINT32_MAX) {
		errno = EINVAL;
		return NULL;
	}
	if (!m->mem || !c->opts.use_cmb_data || !(NVME_CMBSZ_RDS(m->sz) || NVME_CMBSZ_WDS(m->sz))) {
		errno = ENOTSUP;
		return NULL;
	}
	mem = take_locked(c, size, align);
	if (!mem) {
		errno = ENOMEM;
		return NULL;
	}
	atomic_store_explicit(&m->data, true, memory_order_relaxed);
	return mem;
}

void plx_nvme_cmb_free(struct plx_nvme_ctrlr *c, void *mem)
{
	struct nvme_cmb *m = &c->cmb;
	uint64_t offset = (uint64_t)((char *)mem - (char *)m->mem);

	if (!mem)
		return;
	pthread_mutex_lock(&c->lock);
	for (struct nvme_cmb_piece **at = &m->pieces, *p; (p = *at); at = &p->next) {
		if (p->offset == offset) {
			*at = p->next;
			free(p);
			break;
		}
	}
	pthread_mutex_unlock(&c->lock);
}
