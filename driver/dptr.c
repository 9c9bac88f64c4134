/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/dptr.c - data pointers: PRP entries, PRP lists, SGL segments, metadata
 *
 * Iovecs are walked as pieces: runs that are contiguous for the device. Both builders and both
 * reach functions see the same pieces, so that what a reach function promises can be built.
 */
#include "driver/dptr.h"
#include "driver/nvme_internal.h"
#include <errno.h>
#include <string.h>

#define PAGE_MASK ((uint64_t)PLX_PAGE_SIZE - 1)
/* longest data block descriptor that ends on a dword, as SGLS 10b demands */
#define SGL_MAX_LEN 0xfffffffcu

/* no address of a piece, as it would end behind the last */
#define BIT_BUCKET UINT64_MAX

struct piece {
	uint64_t addr;
	uint64_t len;
};

/* What has no address: it is to be dropped, if the command may do that. @out: at BIT_BUCKET, which
 * PRPs refuse as they do all that is no multiple of four */
static plx_noinline int piece_odd(struct dptr_pos *pos, uint64_t left, struct piece *out)
{
	size_t n = pos->iov->iov_len - pos->off;

	if (pos->iov->iov_base != PLX_NVME_BIT_BUCKET || !pos->buckets)
		return -EFAULT;
	*out = (struct piece){ .addr = BIT_BUCKET, .len = n < left ? n : left };
	pos->off += out->len;
	return 0;
}

/* The next run at @pos, of at most @left bytes; moves @pos behind it. */
static inline int piece_next(struct dptr_pos *pos, uint64_t left, dptr_iova iova, struct piece *out)
{
	const char *va;
	size_t n;

	while (pos->iovcnt > 0 && pos->off >= pos->iov->iov_len) {
		pos->iov++;
		pos->iovcnt--;
		pos->off = 0;
	}
	if (plx_unlikely(pos->iovcnt <= 0))
		return -EINVAL;
	/* in integers: what a caller passes as base is checked below */
	va = (const char *)((uintptr_t)pos->iov->iov_base + pos->off);
	n = pos->iov->iov_len - pos->off;
	if (n > left)
		n = left;
	out->addr = (uint64_t)va;
	if (iova) {
		out->addr = iova->look(iova, va, &n);
		if (plx_unlikely(out->addr == PLX_IOVA_BAD || !n))
			return piece_odd(pos, left, out);
	} else if (plx_unlikely(!pos->iov->iov_base || (int64_t)out->addr < 0)) {
		return piece_odd(pos, left, out);
	}
	out->len = n;
	pos->off += n;
	return 0;
}

void dptr_advance(struct dptr_pos *pos, uint64_t bytes)
{
	while (pos->iovcnt > 0 && bytes >= pos->iov->iov_len - pos->off) {
		bytes -= pos->iov->iov_len - pos->off;
		pos->iov++;
		pos->iovcnt--;
		pos->off = 0;
	}
	pos->off += bytes;
}

/* ---- PRPs ---- */

struct prp_out {
	struct plx_nvme_cmd *cmd;
	const struct dptr_list *list;
	uint64_t *pos, *end;
	dptr_iova iova;
	uint32_t n;
};

/* May a piece at @addr follow one that ended at @end? */
static inline bool prp_joins(uint64_t end, uint64_t addr)
{
	return addr == end || !((end | addr) & PAGE_MASK);
}

/* The page of the list is full: its last entry moves on and becomes the pointer to the next. */
static plx_noinline int prp_chain(struct prp_out *o)
{
	uint64_t next = o->list->iova + ((char *)o->pos - (char *)o->list->va);

	if (o->end - o->pos < 2)
		return -E2BIG;
	if (o->iova) {
		next = o->iova->look(o->iova, o->pos, NULL);
		if (next == PLX_IOVA_BAD)
			return -EFAULT;
	}
	o->pos[0] = o->pos[-1];
	o->pos[-1] = next;
	o->pos++;
	return 0;
}

static inline int prp_list_add(struct prp_out *o, uint64_t entry)
{
	if (plx_unlikely(o->pos == o->end))
		return -E2BIG;
	if (plx_unlikely(!((uintptr_t)o->pos & PAGE_MASK) && o->pos != o->list->va)) {
		int rc = prp_chain(o);

		if (rc)
			return rc;
	}
	*o->pos++ = entry;
	return 0;
}

static inline int prp_add(struct prp_out *o, uint64_t entry)
{
	int rc;

	switch (o->n++) {
	case 0:
		o->cmd->prp1 = entry;
		return 0;
	case 1:
		o->cmd->prp2 = entry;
		return 0;
	case 2:
		/* two do not suffice: PRP2 points to the list instead */
		rc = prp_list_add(o, o->cmd->prp2);
		if (rc)
			return rc;
		o->cmd->prp2 = o->list->iova;
		break;
	}
	return prp_list_add(o, entry);
}

int dptr_prp(struct plx_nvme_cmd *cmd, struct dptr_pos pos, uint64_t len,
	     const struct dptr_list *list, dptr_iova iova)
{
	struct prp_out o = { .cmd = cmd, .list = list, .pos = list->va, .iova = iova };
	uint64_t end = 0;
	struct piece p;
	int rc;

	o.end = o.pos + list->bytes / sizeof(*o.pos);
	cmd->prp1 = 0;
	cmd->prp2 = 0;
	while (len) {
		rc = piece_next(&pos, len, iova, &p);
		if (plx_unlikely(rc))
			return rc;
		if (!o.n) {
			if (plx_unlikely(p.addr & 3))
				return -EINVAL;
			rc = prp_add(&o, p.addr);
		} else if (plx_unlikely(!prp_joins(end, p.addr))) {
			return -EINVAL;
		} else if (!(p.addr & PAGE_MASK)) {
			rc = prp_add(&o, p.addr);
		}
		if (plx_unlikely(rc))
			return rc;
		end = p.addr + p.len;
		for (uint64_t a = (p.addr & ~PAGE_MASK) + PLX_PAGE_SIZE; a - p.addr < p.len;
		     a += PLX_PAGE_SIZE) {
			rc = prp_add(&o, a);
			if (plx_unlikely(rc))
				return rc;
		}
		len -= p.len;
	}
	return 0;
}

uint64_t dptr_prp_reach(struct dptr_pos pos, uint64_t len, dptr_iova iova)
{
	uint64_t end = 0, done = 0;
	struct piece p;

	while (done < len && !piece_next(&pos, len - done, iova, &p)) {
		if (done ? !prp_joins(end, p.addr) : p.addr & 3)
			break;
		end = p.addr + p.len;
		done += p.len;
	}
	return done;
}

/* ---- SGLs ---- */

static inline uint64_t sgl_left(uint64_t left)
{
	return left < SGL_MAX_LEN ? left : SGL_MAX_LEN;
}

/* Does @p, a piece of @pos, lengthen the descriptor that ends at @end, @len bytes long so far? */
static inline bool sgl_joins(const struct dptr_pos *pos, uint64_t end, uint64_t len,
			     const struct piece *p)
{
	return p->addr == end && len + p->len <= SGL_MAX_LEN && !pos->apart;
}

/* A run as a descriptor; what is to be dropped has no address (§4.1.2.2) */
static inline struct plx_nvme_sgl_desc sgl_desc(uint64_t addr, uint32_t len, uint8_t type)
{
	if (plx_unlikely(addr == BIT_BUCKET)) {
		addr = 0;
		type = PLX_NVME_SGL_BIT_BUCKET;
	}
	return (struct plx_nvme_sgl_desc){ .addr = addr, .len = len, .id = (uint8_t)(type << 4) };
}

/* Descriptors begin and end on dwords */
static inline bool sgl_aligned(const struct piece *p)
{
	return plx_likely(!((p->addr | p->len) & 3)) || (p->addr == BIT_BUCKET && !(p->len & 3));
}

/* Descriptors @bytes of list hold: of one page, that they are contiguous for the device. */
static inline uint32_t sgl_room(uint32_t bytes)
{
	return (bytes < PLX_PAGE_SIZE ? bytes : PLX_PAGE_SIZE) / sizeof(struct plx_nvme_sgl_desc);
}

int dptr_sgl(struct plx_nvme_sgl_desc *sgl1, struct dptr_pos pos, uint64_t len,
	     const struct dptr_list *list, dptr_iova iova)
{
	struct plx_nvme_sgl_desc *desc = list->va;
	uint32_t room = sgl_room(list->bytes), n = 0;
	struct piece cur = { 0, 0 }, p;

	while (len) {
		int rc = piece_next(&pos, sgl_left(len), iova, &p);

		if (plx_unlikely(rc))
			return rc;
		if (plx_unlikely(!sgl_aligned(&p)))
			return -EINVAL;
		len -= p.len;
		if (cur.len && sgl_joins(&pos, cur.addr + cur.len, cur.len, &p)) {
			cur.len += p.len;
			continue;
		}
		if (cur.len) {
			if (plx_unlikely(n == room))
				return -E2BIG;
			desc[n++] = sgl_desc(cur.addr, cur.len, PLX_NVME_SGL_DATA);
		}
		cur = p;
	}
	/* SGL1 describes a whole transfer only as a data block (§4.1.2): a bit bucket has a segment
	 * of its own */
	if (!n && plx_likely(cur.addr != BIT_BUCKET)) {
		*sgl1 = sgl_desc(cur.addr, cur.len, PLX_NVME_SGL_DATA);
		return 0;
	}
	if (plx_unlikely(n == room))
		return -E2BIG;
	desc[n++] = sgl_desc(cur.addr, cur.len, PLX_NVME_SGL_DATA);
	*sgl1 = sgl_desc(list->iova, n * sizeof(*desc), PLX_NVME_SGL_LAST_SEGMENT);
	return (int)n;
}

uint64_t dptr_sgl_reach(struct dptr_pos pos, uint64_t len, uint32_t list_bytes, dptr_iova iova)
{
	uint32_t room = sgl_room(list_bytes), n = 0;
	uint64_t done = 0, run = 0, end = 0;
	struct piece p;

	while (done < len && !piece_next(&pos, sgl_left(len - done), iova, &p)) {
		if (!sgl_aligned(&p))
			break;
		if (run && sgl_joins(&pos, end, run, &p)) {
			run += p.len;
		} else {
			/* a single one is in the command itself */
			if (n && n >= room)
				break;
			n++;
			run = p.len;
		}
		end = p.addr + p.len;
		done += p.len;
	}
	return done;
}

uint8_t dptr_sgl_modes(uint32_t sgls, bool use_sgl, bool apart)
{
	unsigned support = sgls & NVME_CTRL_SGLS_SUPPORTED;
	uint8_t modes = 0;

	if (support != 1 && support != 2)
		return 0;
	modes = NVME_SGL_AVAILABLE;
	if (use_sgl)
		modes |= NVME_SGL_ALWAYS;
	if (apart)
		modes |= NVME_SGL_APART;
	if (sgls & NVME_CTRL_SGLS_MPTR_SGL)
		modes |= NVME_SGL_MPTR;
	if (sgls & NVME_CTRL_SGLS_BIT_BUCKET)
		modes |= NVME_SGL_BUCKET;
	return modes;
}

uint32_t dptr_list_bytes(uint32_t max_io_bytes, uint8_t sgl_modes)
{
	/* an unaligned start touches one page more, which PRP1 takes */
	uint64_t entries = ((uint64_t)max_io_bytes + PAGE_MASK) / PLX_PAGE_SIZE;
	uint32_t per_page = PLX_PAGE_SIZE / sizeof(uint64_t), bytes = 64;
	uint64_t want = entries * sizeof(uint64_t);

	if (sgl_modes & NVME_SGL_ALWAYS)
		bytes = PLX_PAGE_SIZE;
	else if (sgl_modes)
		bytes = 1024;
	while (bytes < want && bytes < PLX_PAGE_SIZE)
		bytes *= 2;
	if (want <= bytes)
		return bytes;
	/* of every page but the last, one entry leads to the next */
	return (uint32_t)((entries + per_page - 2) / (per_page - 1)) * PLX_PAGE_SIZE;
}

/* ---- a command ---- */

/* MPTR to an SGL segment of one descriptor, in what the data left of @list */
static plx_noinline int mptr_sgl(struct plx_nvme_cmd *cmd, void *md, uint32_t md_len,
				 struct dptr_list list, uint32_t used, dptr_iova iova)
{
	struct iovec iov = { md, md_len };
	struct plx_nvme_sgl_desc *head = (struct plx_nvme_sgl_desc *)list.va + used;
	uint32_t skip = (used + 1) * sizeof(*head);
	int rc;

	if (used >= sgl_room(list.bytes))
		return -E2BIG;
	cmd->mptr = list.iova + used * sizeof(*head);
	list.va = head + 1;
	list.iova += skip;
	list.bytes = sgl_room(list.bytes) * sizeof(*head) - skip;
	rc = dptr_sgl(head, (struct dptr_pos){ &iov, 1, 0 }, md_len, &list, iova);
	if (rc < 0)
		return rc;
	cmd->flags = (cmd->flags & ~PLX_NVME_PSDT_MASK) | PLX_NVME_PSDT_SGL_MSGL;
	return 0;
}

int dptr_md(struct plx_nvme_cmd *cmd, void *md, uint32_t md_len, uint8_t sgl_modes,
	    const struct dptr_list *list, uint32_t used, dptr_iova iova)
{
	size_t len = md_len;

	if ((uintptr_t)md & 3)
		return -EINVAL;
	cmd->mptr = (uint64_t)md;
	if (!iova)
		return 0;
	cmd->mptr = iova->look(iova, md, &len);
	if (cmd->mptr == PLX_IOVA_BAD)
		return -EFAULT;
	if (len >= md_len)
		return 0;
	if (!(cmd->flags & PLX_NVME_PSDT_MASK) || !(sgl_modes & NVME_SGL_MPTR))
		return -EINVAL;
	return mptr_sgl(cmd, md, md_len, *list, used, iova);
}

int dptr_build_at(struct plx_nvme_qpair *qp, struct nvme_slot *slot, struct plx_nvme_cmd *cmd,
		  struct dptr_pos pos, uint64_t len, void *md, uint32_t md_len, bool sgl)
{
	const struct dptr_list list = { slot->prp_list, slot->prp_list_iova, qp->prp_list_bytes };
	int rc;

	cmd->flags &= ~PLX_NVME_PSDT_MASK;
	cmd->mptr = 0;
	if (sgl) {
		cmd->flags |= PLX_NVME_PSDT_SGL;
		rc = dptr_sgl(&cmd->sgl1, pos, len, &list, qp->iova);
	} else {
		rc = dptr_prp(cmd, pos, len, &list, qp->iova);
	}
	if (plx_unlikely(rc < 0))
		return rc;
	return md_len ? dptr_md(cmd, md, md_len, qp->sgl, &list, (uint32_t)rc, qp->iova) : 0;
}

int dptr_build(struct plx_nvme_qpair *qp, struct nvme_slot *slot, struct plx_nvme_cmd *cmd,
	       const struct iovec *iov, int iovcnt, uint64_t len, void *md, uint32_t md_len,
	       bool sgl)
{
	return dptr_build_at(qp, slot, cmd, (struct dptr_pos){ iov, iovcnt, 0 }, len, md, md_len,
			     sgl);
}
