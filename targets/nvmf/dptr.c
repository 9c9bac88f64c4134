/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/dptr.c - host memory, and the PRPs and SGLs that describe it, to iovecs
 *
 * Everything read here is the host's and may be wrong or change under our eyes: a list is copied
 * before it is looked at, each address is translated through the table of what the host mapped, and
 * no walk is longer than a bound.
 */
#include "targets/nvmf/nvmf_internal.h"
#include "targets/nvmf/nvmf_limits.h"
#include <errno.h>
#include <sys/mman.h>

#define ST(sc)	       NVMF_ST_DNR(NVMF_ST(NVME_SC_##sc))
#define PRP_BATCH      64u /* list entries copied at once */
#define SGL_BATCH      16u
#define MAX_SGL_DESCS  1024u /* of one command, over all segments */
#define DESC_SIZE      ((uint32_t)sizeof(struct plx_nvme_sgl_desc))
#define PAGE_OFFSET(a) ((a) & (PLX_PAGE_SIZE - 1))

_Static_assert(sizeof(struct plx_nvme_sgl_desc) == 16, "§4.1.2 figure 100");
_Static_assert(NVMF_DMA_RW == (PROT_READ | PROT_WRITE), "what both are");
_Static_assert(NVMF_SGLS == (1u << 0 | 1u << 16 | 1u << 18 | 1u << 19), "what the walk below does");

/* ---- the table of mapped memory ---- */

/* How many regions start at or below @iova: the last of them is the only one that can hold it */
static uint32_t regions_upto(const struct nvmf_fn *fn, uint64_t iova)
{
	uint32_t lo = 0, hi = fn->nregions;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (fn->regions[mid].iova <= iova)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool region_insert(struct nvmf_fn *fn, uint32_t at, struct nvmf_dma_region r)
{
	if (fn->nregions == NVMF_MAX_REGIONS)
		return false;
	memmove(&fn->regions[at + 1], &fn->regions[at], (fn->nregions - at) * sizeof r);
	fn->regions[at] = r;
	fn->nregions++;
	return true;
}

static void region_remove(struct nvmf_fn *fn, uint32_t at)
{
	fn->nregions--;
	memmove(&fn->regions[at], &fn->regions[at + 1],
		(fn->nregions - at) * sizeof fn->regions[0]);
}

static bool region_touches(const struct nvmf_dma_region *a, const struct nvmf_dma_region *b)
{
	return a->va && b->va && a->iova + a->len == b->iova && a->va + a->len == b->va &&
	       a->prot == b->prot;
}

/*
 * Neighbours on both sides of the mapping become one region: memory given page by page costs one
 * look-up, not many
 */
static int region_add_locked(struct nvmf_fn *fn, struct nvmf_dma_region new)
{
	uint32_t at = regions_upto(fn, new.iova);
	struct nvmf_dma_region *prev = at ? &fn->regions[at - 1] : NULL;
	struct nvmf_dma_region *next = at < fn->nregions ? &fn->regions[at] : NULL;

	if ((prev && new.iova - prev->iova < prev->len) ||
	    (next && next->iova - new.iova < new.len))
		return -EEXIST;
	if (prev && region_touches(prev, &new)) {
		prev->len += new.len;
		if (next && region_touches(prev, next)) {
			prev->len += next->len;
			region_remove(fn, at);
		}
		return 0;
	}
	if (next && region_touches(&new, next)) {
		new.len += next->len;
		*next = new;
		return 0;
	}
	return region_insert(fn, at, new) ? 0 : -ENOSPC;
}

static int region_add(struct nvmf_fn *fn, struct nvmf_dma_region new)
{
	int rc;

	pthread_mutex_lock(&fn->region_lock);
	rc = region_add_locked(fn, new);
	if (!rc)
		atomic_fetch_add_explicit(&fn->region_gen, 1, memory_order_release);
	pthread_mutex_unlock(&fn->region_lock);
	return rc;
}

int nvmf_fn_dma_map_prot(struct nvmf_fn *fn, uint64_t iova, void *va, uint64_t len, uint32_t prot)
{
	if (!len || !va || iova > UINT64_MAX - len || (uintptr_t)va > UINTPTR_MAX - len)
		return -EINVAL;
	return region_add(fn, (struct nvmf_dma_region){
				      .iova = iova, .len = len, .va = va, .prot = prot });
}

int nvmf_fn_dma_map(struct nvmf_fn *fn, uint64_t iova, void *va, uint64_t len)
{
	return nvmf_fn_dma_map_prot(fn, iova, va, len, NVMF_DMA_RW);
}

int nvmf_region_add_remote(struct nvmf_fn *fn, uint64_t iova, uint64_t len, uint32_t prot)
{
	return region_add(fn, (struct nvmf_dma_region){ .iova = iova, .len = len, .prot = prot });
}

bool nvmf_region_find(struct nvmf_fn *fn, uint64_t iova, struct nvmf_dma_region *out)
{
	bool found;
	uint32_t n;

	pthread_mutex_lock(&fn->region_lock);
	n = regions_upto(fn, iova);
	found = n && iova - fn->regions[n - 1].iova < fn->regions[n - 1].len;
	if (found)
		*out = fn->regions[n - 1];
	pthread_mutex_unlock(&fn->region_lock);
	return found;
}

/*
 * Takes [@from, @to) out of region @at, which overlaps it. Return: index of the next region to look
 * at
 */
static uint32_t region_cut(struct nvmf_fn *fn, uint32_t at, uint64_t from, uint64_t to)
{
	struct nvmf_dma_region *r = &fn->regions[at];
	struct nvmf_dma_region tail = { .iova = to, .prot = r->prot };

	if (r->len > to - r->iova) {
		tail.va = r->va ? r->va + (to - r->iova) : NULL;
		tail.len = r->len - (to - r->iova);
	}
	if (r->iova < from) {
		r->len = from - r->iova;
		if (tail.len && !region_insert(fn, at + 1, tail))
			nvmf_log(ERR,
				 "no room for more than %u ranges of host memory: 0x%lx of %lu "
				 "bytes is lost, map in larger pieces",
				 NVMF_MAX_REGIONS, (unsigned long)tail.iova,
				 (unsigned long)tail.len);
		return at + 1;
	}
	if (tail.len) {
		*r = tail;
		return at + 1;
	}
	region_remove(fn, at);
	return at;
}

void nvmf_fn_dma_unmap(struct nvmf_fn *fn, uint64_t iova, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - iova ? UINT64_MAX : iova + len;
	uint32_t i;

	pthread_mutex_lock(&fn->region_lock);
	i = regions_upto(fn, iova);
	i -= i > 0;
	while (i < fn->nregions && fn->regions[i].iova < end) {
		if (fn->regions[i].iova + fn->regions[i].len > iova)
			i = region_cut(fn, i, iova, end);
		else
			i++;
	}
	atomic_fetch_add_explicit(&fn->region_gen, 1, memory_order_release);
	pthread_mutex_unlock(&fn->region_lock);
}

/* What is not in the region hit last */
static __attribute__((noinline)) char *map_other(struct nvmf_fn *fn, uint64_t iova, uint64_t *len,
						 uint32_t prot)
{
	struct nvmf_dma_region r;

	if (!nvmf_region_find(fn, iova, &r) || !r.va || (prot & ~r.prot))
		return NULL;
	if (r.prot == NVMF_DMA_RW)
		fn->last = r;
	if (*len > r.len - (iova - r.iova))
		*len = r.len - (iova - r.iova);
	return r.va + (iova - r.iova);
}

/*
 * Host address of @iova for what @prot asks; *@len is lowered to what is contiguous there. NULL:
 * not mapped, or not for that, or remote
 */
static inline char *map_some(struct nvmf_fn *fn, uint64_t iova, uint64_t *len, uint32_t prot)
{
	uint64_t off = iova - fn->last.iova;

	if (plx_unlikely(off >= fn->last.len))
		return map_other(fn, iova, len, prot);
	if (*len > fn->last.len - off)
		*len = fn->last.len - off;
	return fn->last.va + off;
}

/* A region that grew since it was copied to @last is looked up again before the answer is no */
void *nvmf_map_slow(struct nvmf_fn *fn, uint64_t iova, uint64_t len)
{
	uint64_t got = len;
	char *va;

	fn->last.len = 0;
	va = map_some(fn, iova, &got, NVMF_DMA_RW);
	return got == len ? va : NULL;
}

/* The copy is what gets checked and used: no second look at the source */
static inline void copy_once(void *dst, const void *src, uint64_t len)
{
	memcpy(dst, src, len);
	__asm__ volatile("" ::: "memory");
}

static plx_noinline uint16_t read_pieces(struct nvmf_req *req, uint64_t iova, void *dst,
					 uint64_t len, uint64_t ahead)
{
	while (len) {
		uint64_t n = len;
		const char *src = map_some(req->sq->fn, iova, &n, PROT_READ);

		if (src) {
			copy_once(dst, src, n);
		} else {
			uint16_t st = nvmf_remote_list(req, iova, dst, &n, ahead);

			if (st)
				return st;
		}
		dst = (char *)dst + n;
		iova += n;
		len -= n;
		ahead -= n;
	}
	return 0;
}

/*
 * Copies @len bytes of host memory, once, whatever regions they lie in. The walk will read @ahead
 * bytes from @iova in any case: what is remote is fetched at once. Return: 0, a status, or what
 * nvmf_remote_list() says
 */
static inline __attribute__((always_inline)) uint16_t
read_host(struct nvmf_req *req, uint64_t iova, void *dst, uint64_t len, uint64_t ahead)
{
	uint64_t n = len;
	const char *src = map_some(req->sq->fn, iova, &n, PROT_READ);

	if (plx_unlikely(!src || n < len))
		return read_pieces(req, iova, dst, len, ahead);
	copy_once(dst, src, len);
	return 0;
}

/* ---- iovecs ---- */

/* Pieces of one transfer: @max of them, the first two of a request in the request itself */
struct pieces {
	struct nvmf_fn *fn;
	struct nvmf_req *req;
	struct iovec *iov;
	struct iovec *more; /* where they go when they outgrow @iov; or NULL */
	int cnt, room;
	bool from_host; /* bit buckets describe nothing then */
	uint16_t too_many; /* status */
	uint16_t too_short;
};

static bool add_piece(struct pieces *p, char *va, uint64_t len)
{
	struct iovec *last = p->cnt ? &p->iov[p->cnt - 1] : NULL;

	if (last && (char *)last->iov_base + last->iov_len == va) {
		last->iov_len += len;
		return true;
	}
	if (p->cnt == p->room) {
		if (!p->more)
			return false;
		memcpy(p->more, p->iov, p->cnt * sizeof *p->iov);
		p->iov = p->more;
		p->more = NULL;
		p->room = NVMF_MAX_IOV;
	}
	p->iov[p->cnt++] = (struct iovec){ va, len };
	return true;
}

/* Return: 0 or a status */
static uint16_t add_host(struct pieces *p, uint64_t iova, uint64_t len)
{
	while (len) {
		uint64_t n = len;
		char *va = map_some(p->fn, iova, &n, p->from_host ? PROT_READ : PROT_WRITE);

		if (plx_unlikely(!va)) {
			uint16_t st = nvmf_remote_piece(p->req, iova, &n, &va);

			if (st)
				return st;
		}
		if (!add_piece(p, va, n))
			return p->too_many;
		iova += n;
		len -= n;
	}
	return 0;
}

static uint16_t add_sink(struct pieces *p, uint64_t len)
{
	while (len) {
		uint64_t n = len < NVMF_SINK_SIZE ? len : NVMF_SINK_SIZE;

		if (!add_piece(p, p->fn->sink, n))
			return p->too_many;
		len -= n;
	}
	return 0;
}

/* ---- PRPs (Base 2.0c §4.1.1) ---- */

/* @n data entries of a list. Return: 0 or a status; *@len is what remains */
static uint16_t add_prps(struct pieces *p, const uint64_t *prp, uint32_t n, uint32_t *len)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t part = *len < PLX_PAGE_SIZE ? *len : PLX_PAGE_SIZE;
		uint16_t st;

		if (PAGE_OFFSET(prp[i]))
			return ST(PRP_INVALID_OFFSET);
		st = add_host(p, prp[i], part);
		if (st)
			return st;
		*len -= part;
	}
	return 0;
}

/*
 * The first list may begin anywhere in its page, all others begin one. The last entry of a page is
 * the address of the next list when the entries up to there are not enough. Each page but the first
 * brings data, so the walk ends.
 */
static uint16_t map_prp_list(struct pieces *p, uint64_t list, uint32_t len)
{
	uint64_t e[PRP_BATCH];

	if (list & 7)
		return ST(PRP_INVALID_OFFSET);
	while (len) {
		uint32_t need = (len + PLX_PAGE_SIZE - 1) / PLX_PAGE_SIZE;
		uint32_t left = (PLX_PAGE_SIZE - PAGE_OFFSET(list)) / sizeof e[0];
		uint32_t ahead = need < left ? need : left, n = ahead;
		bool chained;
		uint16_t st;

		n = n < PRP_BATCH ? n : PRP_BATCH;
		chained = n == left && need > left;
		st = read_host(p->req, list, e, n * sizeof e[0], ahead * sizeof e[0]);
		if (st)
			return st;
		st = add_prps(p, e, n - chained, &len);
		if (st)
			return st;
		list += n * sizeof e[0];
		if (chained) {
			list = e[n - 1];
			if (PAGE_OFFSET(list))
				return ST(PRP_INVALID_OFFSET);
		}
	}
	return 0;
}

static uint16_t map_prps(struct pieces *p, const struct plx_nvme_cmd *cmd, uint32_t len)
{
	uint32_t first = PLX_PAGE_SIZE - PAGE_OFFSET(cmd->prp1);
	uint16_t st;

	if (cmd->prp1 & 3)
		return ST(PRP_INVALID_OFFSET);
	first = len < first ? len : first;
	st = add_host(p, cmd->prp1, first);
	len -= first;
	if (st || !len)
		return st;
	if (len <= PLX_PAGE_SIZE)
		return add_prps(p, &cmd->prp2, 1, &len);
	return map_prp_list(p, cmd->prp2, len);
}

/* ---- SGLs (Base 2.0c §4.1.2) ---- */

static inline unsigned desc_type(const struct plx_nvme_sgl_desc *d)
{
	return d->id >> 4;
}

static inline bool is_segment(const struct plx_nvme_sgl_desc *d)
{
	return desc_type(d) == PLX_NVME_SGL_SEGMENT || desc_type(d) == PLX_NVME_SGL_LAST_SEGMENT;
}

/*
 * A data block or bit bucket; what it has beyond *@left is not transferred (SGLS says so). Return:
 * 0 or a status
 */
static uint16_t add_desc(struct pieces *p, const struct plx_nvme_sgl_desc *d, uint32_t *left)
{
	uint32_t n = d->len < *left ? d->len : *left;
	uint16_t st;

	switch (d->id) { /* sub type 0, address, is the only one without CMB */
	case PLX_NVME_SGL_DATA << 4:
		st = add_host(p, d->addr, n);
		break;
	case PLX_NVME_SGL_BIT_BUCKET << 4:
		if (p->from_host)
			return 0;
		st = add_sink(p, n);
		break;
	default:
		return ST(SGL_INVALID_TYPE);
	}
	*left -= n;
	return st;
}

/*
 * The descriptors of segment *@seg. When it ends with a pointer to another segment, that one
 * becomes *@seg.
 * Return: 0 or a status; *@left becomes 0 when enough data was described
 */
static uint16_t walk_segment(struct pieces *p, struct plx_nvme_sgl_desc *seg, uint32_t *left)
{
	struct plx_nvme_sgl_desc d[SGL_BATCH];
	bool last = desc_type(seg) == PLX_NVME_SGL_LAST_SEGMENT;
	uint32_t n = seg->len / DESC_SIZE, k = 0;
	uint16_t st = 0;

	for (uint32_t i = 0; i < n && *left && !st; i++, k++) {
		if (!(i % SGL_BATCH)) {
			uint32_t batch = n - i < SGL_BATCH ? n - i : SGL_BATCH;

			k = 0;
			st = read_host(p->req, seg->addr + (uint64_t)i * DESC_SIZE, d,
				       batch * DESC_SIZE, (uint64_t)(n - i) * DESC_SIZE);
			if (st)
				return st;
		}
		if (is_segment(&d[k])) {
			if (last)
				return ST(SGL_INVALID_LAST);
			if (i != n - 1)
				return ST(SGL_INVALID_COUNT);
			*seg = d[k];
			return 0;
		}
		if (i == n - 1 && !last)
			return ST(SGL_INVALID_LAST);
		st = add_desc(p, &d[k], left);
	}
	return st;
}

static uint16_t map_sgl(struct pieces *p, const struct plx_nvme_sgl_desc *first, uint32_t len)
{
	struct plx_nvme_sgl_desc seg = *first;
	uint32_t left = len, budget = MAX_SGL_DESCS;
	bool last = false;
	uint16_t st = 0;

	if (!is_segment(first)) {
		st = add_desc(p, first, &left);
		return st ? st : left ? p->too_short : 0;
	}
	while (left && !last && !st) {
		if (seg.id & 0xf)
			return ST(SGL_INVALID_TYPE);
		if (!seg.len || seg.len % DESC_SIZE || seg.addr & 7)
			return ST(SGL_INVALID_LAST);
		if (seg.len / DESC_SIZE > budget)
			return ST(SGL_INVALID_COUNT);
		budget -= seg.len / DESC_SIZE;
		last = desc_type(&seg) == PLX_NVME_SGL_LAST_SEGMENT;
		st = walk_segment(p, &seg, &left);
	}
	return st ? st : left ? p->too_short : 0;
}

/* ---- a request's pointers ---- */

/* Bits 1:0 of every opcode say where data goes: 01b from the host */
static inline bool is_from_host(const struct plx_nvme_cmd *cmd)
{
	return (cmd->opc & 3) == 1;
}

uint16_t nvmf_req_walk(struct nvmf_req *req, uint32_t len)
{
	unsigned psdt = req->cmd.flags & PLX_NVME_PSDT_MASK;
	struct pieces p = {
		.fn = req->sq->fn,
		.req = req,
		.iov = req->iov1,
		.more = req->iov_mem,
		.room = PLX_ARRAY_SIZE(req->iov1),
		.from_host = is_from_host(&req->cmd),
		.too_many = ST(SGL_INVALID_COUNT),
		.too_short = ST(SGL_INVALID_DATA),
	};
	uint16_t st;

	req->iov = req->iov1;
	req->iovcnt = 0;
	req->len = 0;
	if (psdt == PLX_NVME_PSDT_MASK || (psdt && !req->sq->qid))
		return ST(INVALID_FIELD);
	if (!len)
		return 0;
	if (psdt) {
		st = map_sgl(&p, &req->cmd.sgl1, len);
	} else {
		p.too_many = ST(INVALID_FIELD); /* only beyond what MDTS allows */
		st = map_prps(&p, &req->cmd, len);
	}
	if (st)
		return st;
	req->iov = p.iov;
	req->iovcnt = p.cnt;
	req->len = len;
	return 0;
}

uint16_t nvmf_req_walk_md(struct nvmf_req *req, uint32_t len)
{
	uint64_t mptr = req->cmd.mptr;
	struct plx_nvme_sgl_desc d;
	struct iovec one;
	struct pieces p = {
		.fn = req->sq->fn,
		.req = req,
		.iov = &one,
		.room = 1, /* contiguous: block devices take one buffer of metadata */
		.from_host = is_from_host(&req->cmd),
		.too_many = ST(SGL_INVALID_COUNT),
		.too_short = ST(SGL_INVALID_METADATA),
	};
	uint16_t st;

	req->md = NULL;
	req->md_len = 0;
	if (!len)
		return 0;
	if ((req->cmd.flags & PLX_NVME_PSDT_MASK) != PLX_NVME_PSDT_SGL_MSGL) {
		if (mptr & 3)
			return ST(INVALID_FIELD);
		p.too_many = ST(DATA_XFER_ERROR);
		st = add_host(&p, mptr, len);
	} else if (mptr & 7) {
		st = ST(SGL_INVALID_LAST);
	} else {
		st = read_host(req, mptr, &d, sizeof d, sizeof d);
		if (!st)
			st = map_sgl(&p, &d, len);
	}
	if (st)
		return st;
	req->md = one.iov_base;
	req->md_len = len;
	return 0;
}

uint16_t nvmf_req_map(struct nvmf_req *req, uint32_t len)
{
	uint16_t st = req->remote ? NVMF_ST_REMOTE : nvmf_req_walk(req, len);

	return plx_unlikely(st == NVMF_ST_REMOTE) ? nvmf_remote_map(req, len) : st;
}

uint16_t nvmf_req_map_md(struct nvmf_req *req, uint32_t len)
{
	uint16_t st = req->remote ? NVMF_ST_REMOTE : nvmf_req_walk_md(req, len);

	return plx_unlikely(st == NVMF_ST_REMOTE) ? nvmf_remote_map_md(req, len) : st;
}

/* ---- flat buffers ---- */

static void copy(struct nvmf_req *req, uint32_t off, char *buf, uint32_t len, bool out)
{
	if (off >= req->len)
		return;
	if (len > req->len - off)
		len = req->len - off;
	for (int i = 0; len; i++) {
		struct iovec *v = &req->iov[i];
		uint32_t n;

		if (off >= v->iov_len) {
			off -= v->iov_len;
			continue;
		}
		n = v->iov_len - off < len ? (uint32_t)(v->iov_len - off) : len;
		if (out)
			memcpy((char *)v->iov_base + off, buf, n);
		else
			memcpy(buf, (char *)v->iov_base + off, n);
		buf += n;
		len -= n;
		off = 0;
	}
}

void nvmf_req_copy_out(struct nvmf_req *req, uint32_t off, const void *buf, uint32_t len)
{
	copy(req, off, (char *)(uintptr_t)buf, len, true);
}

void nvmf_req_copy_in(struct nvmf_req *req, uint32_t off, void *buf, uint32_t len)
{
	copy(req, off, buf, len, false);
}
