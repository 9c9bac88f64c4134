/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/pcie_iova.c - see pcie_iova.h
 */
#include "driver/transport/pcie_iova.h"
#include "driver/nvme_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/* below, 0 would be a data pointer's "none", and firmware may have holes */
#define LOWEST	 0x100000u
#define LARGE	 (2ull << 20)
#define GIGANTIC (1ull << 30)
/* programs have their mappings below this, and most of them not far below */
#define VA_FIRST 0x700000000000ull
#define VA_LAST	 0x7fffffffefffull

static uint64_t look(const struct dptr_iova *self, const void *va, size_t *len)
{
	const struct pcie_iovas *t = plx_container_of(self, const struct pcie_iovas, look);

	return plx_ranges_iova(&t->table, va, len);
}

void pcie_iovas_init(struct pcie_iovas *t)
{
	*t = (struct pcie_iovas){ .look = { .look = look } };
}

void pcie_iovas_fini(struct pcie_iovas *t)
{
	plx_ranges_empty(&t->table);
	free(t->allowed);
	t->allowed = NULL;
	t->nallowed = 0;
}

/* ---- choosing ---- */

int pcie_iovas_allow(struct pcie_iovas *t, const struct pcie_span *spans, uint32_t n)
{
	t->allowed = malloc((n ? n : 1) * sizeof(*spans));
	if (!t->allowed)
		return -ENOMEM;
	if (n)
		memcpy(t->allowed, spans, n * sizeof(*spans));
	t->nallowed = n;
	t->identity = pcie_iovas_allowed(t, VA_FIRST, VA_LAST - VA_FIRST + 1);
	return 0;
}

bool pcie_iovas_allowed(const struct pcie_iovas *t, uint64_t iova, uint64_t len)
{
	for (uint32_t i = 0; i < t->nallowed; i++)
		if (iova >= t->allowed[i].first && iova <= t->allowed[i].last)
			return len - 1 <= t->allowed[i].last - iova;
	return false;
}

/* The first address from @from on that is as far from a multiple of @align as @va; 0: none */
static uint64_t congruent(uint64_t from, uint64_t va, uint64_t align)
{
	uint64_t x = (from & ~(align - 1)) + (va & (align - 1));

	if (x < from)
		x += align;
	return x < from ? 0 : x;
}

/* The end of an entry that is in the way; 0: there is none */
static uint64_t in_the_way(const struct pcie_iovas *t, uint64_t iova, uint64_t len)
{
	for (uint64_t i = 0; i < t->table.count; i++) {
		const struct plx_range *r = &t->table.table->r[i];

		if (iova < r->iova + r->len && r->iova < iova + len)
			return r->iova + r->len;
	}
	return 0;
}

uint64_t pcie_iovas_pick(const struct pcie_iovas *t, uint64_t va, uint64_t len)
{
	uint64_t align = len >= GIGANTIC ? GIGANTIC : len >= LARGE ? LARGE : PLX_PAGE_SIZE;

	for (uint32_t i = 0; i < t->nallowed; i++) {
		uint64_t from = t->allowed[i].first > LOWEST ? t->allowed[i].first : LOWEST, at;

		while ((at = congruent(from, va, align)) && pcie_iovas_allowed(t, at, len)) {
			from = in_the_way(t, at, len);
			if (!from)
				return at;
		}
	}
	return PLX_IOVA_BAD;
}

void pcie_iovas_forget(struct pcie_iovas *t, const struct plx_mem_region *r)
{
	uint64_t va = (uint64_t)(uintptr_t)r->addr, at = plx_ranges_lower(&t->table, va);

	while (at < t->table.count && t->table.table->r[at].base < va + r->len)
		plx_ranges_remove(&t->table, at);
}

/* ---- physical addresses ---- */

/* Return: the size of the pages behind the region; 0: they are no hugepages */
static uint64_t hugepage_size(const struct plx_mem_region *r)
{
	struct statfs fs;

	if (r->fd < 0 || fstatfs(r->fd, &fs) || fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	return (uint64_t)fs.f_bsize;
}

/* Documentation/admin-guide/mm/pagemap.rst: bits 0 to 54 are the page frame, 63: it is present.
 * Return: 0; -EPERM; -errno */
static int physical_address(int pagemap, uint64_t va, uint64_t *pa)
{
	uint64_t entry;

	(void)*(volatile char *)(uintptr_t)va; /* there is no address before the first touch */
	if (pread(pagemap, &entry, sizeof(entry), (off_t)(va / PLX_PAGE_SIZE * sizeof(entry))) !=
	    sizeof(entry))
		return -EIO;
	entry = entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
	*pa = entry * PLX_PAGE_SIZE;
	return entry ? 0 : -EPERM;
}

static int enter(struct pcie_iovas *t, const struct plx_range *r)
{
	int rc = plx_ranges_reserve(&t->table);

	if (!rc)
		plx_ranges_insert(&t->table, r);
	return rc;
}

static int enter_pages(struct pcie_iovas *t, int pagemap, const struct plx_mem_region *r,
		       uint64_t page)
{
	struct plx_range run = { 0 };
	uint64_t va = (uint64_t)(uintptr_t)r->addr, pa;
	int rc = 0;

	for (uint64_t done = 0; done < r->len && !rc; done += page) {
		rc = physical_address(pagemap, va + done, &pa);
		if (rc)
			break;
		if (run.len && run.iova + run.len == pa) {
			run.len += page;
			continue;
		}
		rc = run.len ? enter(t, &run) : 0;
		run = (struct plx_range){ .base = va + done, .len = page, .iova = pa };
	}
	return rc ? rc : enter(t, &run);
}

int pcie_iovas_physical(struct pcie_iovas *t, const char *name, const struct plx_mem_region *r)
{
	uint64_t page = hugepage_size(r);
	int pagemap, rc;

	if (!page || (uintptr_t)r->addr % page || r->len % page) {
		nvme_log(ERR,
			 "controller '%s': without an IOMMU it reaches hugepages only, and %zu "
			 "bytes at %p are not in such: plx-setup hugepages, or plx-setup bind %s "
			 "with vfio-pci",
			 name, r->len, r->addr, name);
		return -EINVAL;
	}
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	rc = pagemap < 0 ? -errno : enter_pages(t, pagemap, r, page);
	if (pagemap >= 0)
		close(pagemap);
	if (!rc)
		return 0;
	pcie_iovas_forget(t, r);
	if (rc == -EPERM || rc == -EACCES)
		nvme_log(ERR,
			 "controller '%s': without an IOMMU it needs physical addresses, which the "
			 "kernel tells only to root (CAP_SYS_ADMIN)",
			 name);
	else
		nvme_log(ERR, "controller '%s': physical addresses of %zu bytes at %p: %s", name,
			 r->len, r->addr, strerror(-rc));
	return rc;
}
