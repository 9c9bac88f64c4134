/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/split.c - I/O that a device cannot take as it is: too large, across a boundary, in too many
 * or unaligned pieces, or of a type that the module does not know
 *
 * All of it is one loop that hands out children from the front of the request, a few at a time.
 * Children are part of the state, which is allocated at submission: nothing can run short half-way.
 * The request ends once, with the first error, when its last child has ended.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_internal.h"

#define SPLIT_WIDTH 4 /* children at a time */
#define SPLIT_IOVS  32 /* iovecs of a child */
#define CACHED_MAX  8 /* states that a channel keeps */

struct iov_pos {
	int i;
	size_t off;
};

struct split_child {
	struct plx_bdev_io io;
	struct iovec iov[SPLIT_IOVS];
	struct bdev_split *sp;
	struct iov_pos pos; /* of its data in the request */
	uint64_t start; /* first block, relative to the request */
	bool busy;
	bool bounced; /* its data is in the buffer */
	bool writing; /* COPY: the second half */
};

/* Lives from split_prepare() to the end of the I/O, then in the channel's cache. */
struct bdev_split {
	struct split_child child[SPLIT_WIDTH];
	struct plx_bdev_io *io;
	struct bdev_split *next; /* in the cache */
	enum split_mode mode;
	enum split_mode pass; /* differs for CAW: what is being done now */
	enum plx_bdev_io_type type; /* of the children, in CUT */
	struct iovec *iov;
	int iovcnt;
	struct iov_pos pos;
	uint64_t done; /* blocks handed out */
	uint32_t xfer; /* bytes of a block in the iovecs */
	uint32_t seg_max;
	unsigned width;
	unsigned busy;
	uint16_t status;
	bool running;
	bool buf_busy;
	uint64_t buf_blocks;
	void *buf, *md_buf;
	struct bdev_excl excl;
};

/* ---- positions in iovecs ---- */

static void pos_skip(const struct iovec *iov, struct iov_pos *p, size_t len)
{
	while (len) {
		size_t n = iov[p->i].iov_len - p->off;

		if (n > len) {
			p->off += len;
			return;
		}
		len -= n;
		p->i++;
		p->off = 0;
	}
}

enum pos_op { POS_GATHER, POS_SCATTER, POS_COMPARE };

/* Return: false for a difference */
static bool pos_move(const struct iovec *iov, struct iov_pos p, char *buf, size_t len,
		     enum pos_op op)
{
	while (len) {
		char *at = (char *)iov[p.i].iov_base + p.off;
		size_t n = iov[p.i].iov_len - p.off;

		if (n > len)
			n = len;
		if (op == POS_GATHER)
			memcpy(buf, at, n);
		else if (op == POS_SCATTER)
			memcpy(at, buf, n);
		else if (memcmp(buf, at, n))
			return false;
		buf += n;
		len -= n;
		p.i++;
		p.off = 0;
	}
	return true;
}

/* ---- what has to be done ---- */

static bool fits(const struct plx_bdev_channel *ch, const struct iovec *iov, int iovcnt)
{
	uint64_t bits = 0;

	for (int i = 0; i < iovcnt; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return (uint32_t)iovcnt <= ch->max_segments && !(bits & ch->align_mask);
}

static uint32_t seg_max(const struct plx_bdev_channel *ch)
{
	return ch->max_segments < SPLIT_IOVS ? ch->max_segments : SPLIT_IOVS;
}

/* Whether some piece of this list may have to go through a buffer. */
static bool may_bounce(const struct plx_bdev_channel *ch, const struct iovec *iov, int iovcnt,
		       uint32_t xfer)
{
	uint64_t bits = xfer;
	bool ragged = false;

	for (int i = 0; i < iovcnt; i++) {
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
		ragged |= iov[i].iov_len % xfer != 0;
	}
	return (bits & ch->align_mask) || (ragged && (uint32_t)iovcnt > seg_max(ch));
}

static bool within(const struct plx_bdev *b, uint64_t offset, uint64_t blocks)
{
	return (!b->max_rw_blocks || blocks <= b->max_rw_blocks) &&
	       (!b->boundary || blocks <= b->boundary - offset % b->boundary);
}

enum split_mode split_plan(const struct plx_bdev_channel *ch, const struct bdev_req *r,
			   bool *bounce)
{
	const struct plx_bdev *b = ch->bdev;
	bool native = b->internal->native & 1u << r->type;
	uint32_t max = 0;

	*bounce = !native;
	switch (r->type) {
	case PLX_BDEV_COMPARE:
		if (!native)
			return SPLIT_COMPARE;
		/* fallthrough */
	case PLX_BDEV_READ:
	case PLX_BDEV_WRITE:
		if (within(b, r->offset, r->blocks) && fits(ch, r->iov, r->iovcnt))
			return SPLIT_NONE;
		*bounce = may_bounce(ch, r->iov, r->iovcnt, plx_bdev_xfer_block(b, r->check));
		return SPLIT_CUT;
	case PLX_BDEV_VERIFY:
		if (!native)
			return SPLIT_VERIFY;
		return within(b, r->offset, r->blocks) ? SPLIT_NONE : SPLIT_CUT;
	case PLX_BDEV_COMPARE_AND_WRITE:
		if (native && within(b, r->offset, r->blocks) && fits(ch, r->iov, r->iovcnt) &&
		    fits(ch, r->cmp_iov, r->cmp_iovcnt))
			return SPLIT_NONE;
		*bounce = true;
		return SPLIT_CAW;
	case PLX_BDEV_WRITE_ZEROES:
		if (!native)
			return SPLIT_ZERO;
		max = b->max_write_zeroes_blocks;
		break;
	case PLX_BDEV_COPY:
		if (!native)
			return SPLIT_COPY;
		max = b->max_copy_blocks;
		break;
	case PLX_BDEV_UNMAP:
		max = b->max_unmap_blocks;
		break;
	default:
		break;
	}
	return max && r->blocks > max ? SPLIT_CUT : SPLIT_NONE;
}

/* ---- state ---- */

static void split_free(struct bdev_split *sp)
{
	plx_dma_free(sp->buf);
	free(sp);
}

void split_cache_free(struct plx_bdev_channel *ch)
{
	struct bdev_split *sp;

	while ((sp = ch->split_cache)) {
		ch->split_cache = sp->next;
		split_free(sp);
	}
}

static struct bdev_split *split_get(struct plx_bdev_channel *ch)
{
	struct bdev_split *sp = ch->split_cache;
	void *mem;

	if (sp) {
		ch->split_cache = sp->next;
		ch->split_cached--;
		return sp;
	}
	if (posix_memalign(&mem, PLX_CACHE_LINE, sizeof(*sp)))
		return NULL;
	return memset(mem, 0, sizeof(*sp));
}

static void split_put(struct plx_bdev_channel *ch, struct bdev_split *sp)
{
	if (ch->split_cached == CACHED_MAX) {
		split_free(sp);
		return;
	}
	sp->next = ch->split_cache;
	ch->split_cache = sp;
	ch->split_cached++;
}

static bool split_buffer(struct bdev_split *sp, const struct plx_bdev *b)
{
	size_t block = plx_bdev_buf_block(b),
	       data = BDEV_BOUNCE_BYTES > block ? BDEV_BOUNCE_BYTES : block;
	size_t align = b->align > PLX_PAGE_SIZE ? b->align : PLX_PAGE_SIZE;

	/* the same for every I/O of the device, so that a state fits whatever comes next */
	sp->buf_blocks = data / block;
	if (!sp->buf)
		sp->buf = plx_dma_alloc(data + sp->buf_blocks * b->md_size, align, b->numa);
	sp->md_buf = (char *)sp->buf + data;
	return sp->buf;
}

static void fill_zeroes(struct bdev_split *sp, const struct plx_bdev *b, uint64_t blocks)
{
	size_t block = plx_bdev_buf_block(b);
	/* as in blocks never written: not to be checked */
	int md = b->dif == PLX_BDEV_DIF_NONE ? 0 : 0xff;

	if (blocks > sp->buf_blocks)
		blocks = sp->buf_blocks;
	memset(sp->buf, 0, blocks * block);
	if (b->md_interleaved)
		for (uint64_t i = 0; i < blocks; i++)
			memset((char *)sp->buf + i * block + b->block_size, md, b->md_size);
	else
		memset(sp->md_buf, md, blocks * b->md_size);
}

int split_prepare(struct plx_bdev_io *io, enum split_mode mode, bool bounce)
{
	struct plx_bdev_channel *ch = io->ch;
	struct bdev_split *sp = split_get(ch);

	if (!sp)
		return -ENOMEM;
	if (bounce && !split_buffer(sp, io->bdev)) {
		split_put(ch, sp);
		return -ENOMEM;
	}
	sp->io = io;
	sp->mode = sp->pass = mode;
	sp->type = (enum plx_bdev_io_type)io->type;
	sp->iov = io->iov;
	sp->iovcnt = io->iovcnt;
	sp->pos = (struct iov_pos){ 0, 0 };
	sp->done = 0;
	sp->xfer = plx_bdev_xfer_block(io->bdev, io->check);
	sp->seg_max = seg_max(ch);
	sp->width = mode == SPLIT_CUT || mode == SPLIT_ZERO ? SPLIT_WIDTH : 1;
	sp->busy = 0;
	sp->status = 0;
	sp->running = sp->buf_busy = false;
	if (mode == SPLIT_ZERO)
		fill_zeroes(sp, io->bdev, io->blocks);
	io->priv = sp;
	io->state |= IO_SPLIT;
	return 0;
}

void split_cancel(struct plx_bdev_io *io)
{
	split_put(io->ch, io->priv);
	io->priv = NULL;
	io->state &= (uint8_t)~IO_SPLIT;
}

static void split_end(struct bdev_split *sp)
{
	struct plx_bdev_io *io = sp->io;
	uint16_t status = sp->status;

	split_cancel(io);
	plx_bdev_io_complete(io, status);
}

/* ---- children ---- */

static uint64_t at_most(uint64_t n, uint64_t max)
{
	return max && n > max ? max : n;
}

/* Blocks that a child may have, before its iovecs are looked at. */
static uint64_t child_limit(const struct bdev_split *sp)
{
	const struct plx_bdev_io *io = sp->io;
	const struct plx_bdev *b = io->bdev;
	uint64_t n = io->blocks - sp->done;

	if (sp->pass == SPLIT_CUT) {
		if (sp->type == PLX_BDEV_UNMAP)
			return at_most(n, b->max_unmap_blocks);
		if (sp->type == PLX_BDEV_WRITE_ZEROES)
			return at_most(n, b->max_write_zeroes_blocks);
		if (sp->type == PLX_BDEV_COPY)
			return at_most(n, b->max_copy_blocks);
	} else {
		n = at_most(n, sp->buf_blocks);
	}
	n = at_most(n, b->max_rw_blocks);
	if (b->boundary) {
		n = at_most(n, b->boundary - (io->offset + sp->done) % b->boundary);
		if (sp->pass == SPLIT_COPY)
			n = at_most(n, b->boundary - (io->src + sp->done) % b->boundary);
	}
	return n;
}

/* Takes up to @want blocks of the request's iovecs. Return: blocks; 0 where that needs a buffer */
static uint64_t child_iovs(struct bdev_split *sp, struct split_child *c, uint64_t want)
{
	uint64_t left = want * sp->xfer, bits = 0;
	struct iov_pos p = sp->pos;
	uint32_t n = 0;

	while (left && n < sp->seg_max) {
		size_t len = sp->iov[p.i].iov_len - p.off;

		if (len > left)
			len = left;
		if (len) {
			c->iov[n].iov_base = (char *)sp->iov[p.i].iov_base + p.off;
			c->iov[n++].iov_len = len;
		}
		left -= len;
		p.i++;
		p.off = 0;
	}
	/* give back what is no whole block */
	for (left = (want * sp->xfer - left) % sp->xfer; left;) {
		if (c->iov[n - 1].iov_len > left) {
			c->iov[n - 1].iov_len -= left;
			break;
		}
		left -= c->iov[--n].iov_len;
	}
	want = 0;
	for (uint32_t i = 0; i < n; i++) {
		bits |= (uintptr_t)c->iov[i].iov_base | c->iov[i].iov_len;
		want += c->iov[i].iov_len;
	}
	if (bits & sp->io->ch->align_mask)
		return 0;
	c->io.iov = c->iov;
	c->io.iovcnt = (int32_t)n;
	return want / sp->xfer;
}

static void child_buffer(struct bdev_split *sp, struct split_child *c, uint64_t blocks)
{
	c->bounced = true;
	c->iov[0] = (struct iovec){ .iov_base = sp->buf, .iov_len = blocks * sp->xfer };
	c->io.iov = c->iov;
	c->io.iovcnt = 1;
}

/* The data of a child of CUT. Return: blocks; 0: the buffer is in use, later */
static uint64_t child_data(struct bdev_split *sp, struct split_child *c, uint64_t n)
{
	uint64_t got = child_iovs(sp, c, n);

	if (got)
		return got;
	if (sp->buf_busy)
		return 0;
	sp->buf_busy = true;
	n = at_most(n, sp->buf_blocks);
	child_buffer(sp, c, n);
	if (sp->type != PLX_BDEV_READ)
		pos_move(sp->iov, sp->pos, sp->buf, n * sp->xfer, POS_GATHER);
	return n;
}

static void child_done(struct plx_bdev_io *child, void *arg);

static void child_fields(struct bdev_split *sp, struct split_child *c, uint64_t blocks)
{
	const struct plx_bdev_io *io = sp->io;
	const struct plx_bdev *b = io->bdev;
	struct plx_bdev_io *k = &c->io;
	bool raw = sp->pass == SPLIT_ZERO || sp->pass == SPLIT_COPY;

	k->state = IO_CHILD;
	k->flags = io->flags;
	k->offset = io->offset + sp->done;
	k->blocks = blocks;
	k->mch = io->mch;
	k->bdev = io->bdev;
	k->ch = io->ch;
	k->status = 0;
	k->cb = child_done;
	k->arg = sp->io; /* by which plx_bdev_abort() finds it */
	k->priv = c;
	k->check = raw ? 0 : io->check;
	k->apptag = io->apptag;
	k->appmask = io->appmask;
	k->reftag = io->reftag + (b->dif == PLX_BDEV_DIF_TYPE3 ? 0 : (uint32_t)sp->done);
	k->md = io->md ? (char *)io->md + sp->done * b->md_size : NULL;
	k->src = io->src + sp->done;
	c->sp = sp;
	c->start = sp->done;
	c->pos = sp->pos;
	c->writing = false;
}

static bool child_build(struct bdev_split *sp, struct split_child *c)
{
	const struct plx_bdev *b = sp->io->bdev;
	struct plx_bdev_io *k = &c->io;
	uint64_t n = child_limit(sp);
	bool data = sp->type == PLX_BDEV_READ || sp->type == PLX_BDEV_WRITE ||
		    sp->type == PLX_BDEV_COMPARE;
	void *md_buf = b->md_size && !b->md_interleaved ? sp->md_buf : NULL;

	c->bounced = false;
	k->iov = NULL;
	k->iovcnt = 0;
	if (sp->pass != SPLIT_CUT)
		child_buffer(sp, c, n);
	else if (data && !(n = child_data(sp, c, n)))
		return false;
	child_fields(sp, c, n);
	switch (sp->pass) {
	case SPLIT_ZERO:
		k->type = PLX_BDEV_WRITE;
		k->md = md_buf;
		break;
	case SPLIT_COPY:
		k->type = PLX_BDEV_READ;
		k->offset = k->src;
		k->md = md_buf;
		break;
	case SPLIT_COMPARE:
		k->type = PLX_BDEV_READ;
		k->md = k->md ? md_buf : NULL;
		break;
	case SPLIT_VERIFY:
		k->type = PLX_BDEV_READ;
		break;
	default:
		k->type = (uint8_t)sp->type;
	}
	sp->done += n;
	if (data)
		pos_skip(sp->iov, &sp->pos, n * sp->xfer);
	c->busy = true;
	sp->busy++;
	return true;
}

static bool compare_md(const struct bdev_split *sp, const struct split_child *c)
{
	size_t md = sp->io->bdev->md_size;

	return !sp->io->md ||
	       !memcmp(sp->md_buf, (char *)sp->io->md + c->start * md, c->io.blocks * md);
}

/* What follows a child that went well. Return: true when it has been submitted again */
static bool child_after(struct bdev_split *sp, struct split_child *c)
{
	const struct plx_bdev *b = sp->io->bdev;
	struct plx_bdev_io *k = &c->io;
	size_t len = k->blocks * sp->xfer;

	switch (sp->pass) {
	case SPLIT_CUT:
		if (c->bounced && sp->type == PLX_BDEV_READ)
			pos_move(sp->iov, c->pos, sp->buf, len, POS_SCATTER);
		return false;
	case SPLIT_COMPARE:
		if (!pos_move(sp->iov, c->pos, sp->buf, len, POS_COMPARE) || !compare_md(sp, c))
			k->status = PLX_BDEV_ST_MISCOMPARE;
		return false;
	case SPLIT_COPY:
		if (c->writing)
			return false;
		c->writing = true;
		k->type = PLX_BDEV_WRITE;
		k->offset = sp->io->offset + c->start;
		if (b->md_interleaved)
			pi_move_refs(b, (char *)sp->buf + b->block_size, plx_bdev_buf_block(b),
				     k->blocks, (uint32_t)(sp->io->offset - sp->io->src));
		else
			pi_move_refs(b, sp->md_buf, b->md_size, k->blocks,
				     (uint32_t)(sp->io->offset - sp->io->src));
		k->ch->submit(k);
		return true;
	default:
		return false;
	}
}

static void split_run(struct bdev_split *sp);

static void child_done(struct plx_bdev_io *child, void *arg)
{
	struct split_child *c = child->priv;
	struct bdev_split *sp = c->sp;

	if (!child->status && child_after(sp, c))
		return;
	if (child->status && !sp->status)
		sp->status = child->status;
	if (c->bounced)
		sp->buf_busy = false;
	c->busy = false;
	sp->busy--;
	split_run(sp);
}

static struct split_child *child_free(struct bdev_split *sp)
{
	for (unsigned i = 0; i < sp->width; i++)
		if (!sp->child[i].busy)
			return &sp->child[i];
	return NULL;
}

/* COMPARE_AND_WRITE: from the comparison to the write, and from the write to the end. */
static bool next_pass(struct bdev_split *sp)
{
	if (sp->status || sp->mode != SPLIT_CAW || sp->type == PLX_BDEV_WRITE)
		return false;
	sp->pass = SPLIT_CUT;
	sp->type = PLX_BDEV_WRITE;
	sp->iov = sp->io->iov;
	sp->iovcnt = sp->io->iovcnt;
	sp->pos = (struct iov_pos){ 0, 0 };
	sp->done = 0;
	sp->width = SPLIT_WIDTH;
	return true;
}

static void split_run(struct bdev_split *sp)
{
	/* a child that ends at once comes back here: the loop below goes on, the stack does not
	 * grow */
	if (sp->running)
		return;
	sp->running = true;
	do {
		struct split_child *c;

		while (!sp->status && sp->done < sp->io->blocks && (c = child_free(sp)) &&
		       child_build(sp, c))
			c->io.ch->submit(&c->io);
		if (sp->busy) {
			sp->running = false;
			return;
		}
	} while ((!sp->status && sp->done < sp->io->blocks) || next_pass(sp));
	if (sp->mode == SPLIT_CAW)
		excl_release(&sp->excl);
	else
		split_end(sp);
}

static void caw_run(struct bdev_excl *e)
{
	struct bdev_split *sp = plx_container_of(e, struct bdev_split, excl);
	bool native = e->in->native & 1u << PLX_BDEV_COMPARE;

	sp->io->state &= (uint8_t)~IO_LAYER;
	sp->pass = native ? SPLIT_CUT : SPLIT_COMPARE;
	sp->type = PLX_BDEV_COMPARE;
	sp->iov = sp->io->cmp_iov;
	sp->iovcnt = sp->io->cmp_iovcnt;
	split_run(sp);
}

static void caw_released(struct bdev_excl *e)
{
	split_end(plx_container_of(e, struct bdev_split, excl));
}

void split_start(struct plx_bdev_io *io)
{
	struct bdev_split *sp = io->priv;

	if (sp->mode == SPLIT_CUT)
		io->ch->splits++;
	if (sp->mode != SPLIT_CAW) {
		split_run(sp);
		return;
	}
	/* a fence must not wait for what waits for that fence to fall */
	io->state |= IO_LAYER;
	sp->excl = (struct bdev_excl){ .io = io,
				       .offset = io->offset,
				       .blocks = io->blocks,
				       .run = caw_run,
				       .released = caw_released,
				       .in = io->bdev->internal };
	excl_acquire(&sp->excl);
}
