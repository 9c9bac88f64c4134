/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/submit.c - submission of everything that is no plain read or write: all checks, one by one
 */
#include <errno.h>
#include <string.h>

#include "bdev/bdev_internal.h"

uint64_t iovs_len(const struct iovec *iov, int iovcnt)
{
	uint64_t sum = 0;

	if (iovcnt <= 0 || !iov)
		return UINT64_MAX;
	for (int i = 0; i < iovcnt; i++)
		if (__builtin_add_overflow(sum, iov[i].iov_len, &sum))
			return UINT64_MAX;
	return sum;
}

static bool range_ok(const struct plx_bdev_channel *ch, uint64_t offset, uint64_t blocks)
{
	return blocks && blocks <= ch->blocks && offset <= ch->blocks - blocks;
}

static bool type_writes(enum plx_bdev_io_type t)
{
	return t == PLX_BDEV_WRITE || t == PLX_BDEV_UNMAP || t == PLX_BDEV_WRITE_ZEROES ||
	       t == PLX_BDEV_COMPARE_AND_WRITE || t == PLX_BDEV_COPY;
}

static int pi_check(const struct plx_bdev *b, const struct bdev_req *r)
{
	if (r->check && b->dif == PLX_BDEV_DIF_NONE)
		return -EINVAL;
	if (r->md && (b->md_interleaved || !b->md_size))
		return -EINVAL;
	return r->check & ~(PLX_BDEV_CHECK_GUARD | PLX_BDEV_CHECK_APP | PLX_BDEV_CHECK_REF |
			    PLX_BDEV_PRACT)
		       ? -EINVAL
		       : 0;
}

static int req_check(const struct plx_bdev_desc *d, struct plx_bdev_channel *ch,
		     const struct bdev_req *r)
{
	const struct plx_bdev *b = ch->bdev;
	uint64_t len;

	if (ch->removed)
		return -ENODEV;
	if (type_writes(r->type) && !d->write)
		return -EBADF;
	if (!plx_bdev_supports(b, r->type))
		return -ENOTSUP;
	channel_refresh(ch);
	if (!range_ok(ch, r->offset, r->blocks))
		return -EINVAL;
	len = r->blocks * plx_bdev_xfer_block(b, r->check);
	switch (r->type) {
	case PLX_BDEV_COMPARE_AND_WRITE:
		if (iovs_len(r->cmp_iov, r->cmp_iovcnt) != len)
			return -EINVAL;
		/* fallthrough */
	case PLX_BDEV_READ:
	case PLX_BDEV_WRITE:
	case PLX_BDEV_COMPARE:
		return iovs_len(r->iov, r->iovcnt) == len ? pi_check(b, r) : -EINVAL;
	case PLX_BDEV_VERIFY:
		return pi_check(b, r);
	case PLX_BDEV_COPY:
		/* onto itself: what came out would depend on how it is cut */
		return range_ok(ch, r->src, r->blocks) &&
				       !range_overlaps(r->offset, r->blocks, r->src, r->blocks)
			       ? 0
			       : -EINVAL;
	default:
		return 0;
	}
}

/* Abort and Reset may dip into the reserve */
static struct plx_bdev_io *io_get(struct plx_bdev_channel *ch, enum plx_bdev_io_type type)
{
	bool rescue = type == PLX_BDEV_ABORT || type == PLX_BDEV_RESET;
	struct plx_bdev_io *io = ch->free;

	if (io) {
		ch->free = io->next;
		return io;
	}
	io = channel_carve(ch, BDEV_POOL_SIZE);
	if (io || !rescue)
		return io;
	io = ch->reserve;
	if (io) {
		ch->reserve = io->next;
		return io;
	}
	return channel_carve(ch, BDEV_POOL_SIZE + BDEV_RESERVE);
}

struct plx_bdev_io *req_io(struct plx_bdev_channel *ch, const struct bdev_req *r)
{
	struct plx_bdev_io *io = io_get(ch, r->type);

	if (!io)
		return NULL;
	io->iov = r->iov;
	io->iovcnt = r->iovcnt;
	io->type = (uint8_t)r->type;
	io->check = r->check;
	io->flags = r->flags;
	/* rare types are counted, metadata is reset, by the slow half of the completion */
	io->state = r->md || r->type > PLX_BDEV_WRITE ? IO_EXT : 0;
	io->offset = r->offset;
	io->blocks = r->blocks;
	io->apptag = r->apptag;
	io->appmask = r->appmask;
	io->cb = r->cb;
	io->arg = r->arg;
	io->md = r->md;
	io->cmp_iov = r->cmp_iov;
	io->cmp_iovcnt = r->cmp_iovcnt;
	io->reftag = r->reftag;
	io->src = r->src;
	ch->stat[r->type].submitted++;
	ch->rare += r->type > PLX_BDEV_WRITE;
	return io;
}

static void req_undo(struct plx_bdev_channel *ch, struct plx_bdev_io *io)
{
	ch->stat[io->type].submitted--;
	ch->rare -= io->type > PLX_BDEV_WRITE;
	io->state = IO_DONE;
	io->md = NULL;
	io_put_rare(ch, io);
}

void io_run(struct plx_bdev_io *io)
{
	struct plx_bdev_channel *ch = io->ch;

	if (io->state & IO_SPLIT)
		split_start(io);
	else if (ch->bdev->internal->native & 1u << io->type)
		ch->submit(io);
	else /* a flush of a device that has nothing to flush */
		plx_bdev_io_complete(io, PLX_BDEV_OK);
}

int req_submit(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, const struct bdev_req *r)
{
	int rc = req_check(d, ch, r);
	struct plx_bdev_io *io;
	enum split_mode mode;
	bool bounce;

	if (rc)
		return rc;
	mode = split_plan(ch, r, &bounce);
	io = req_io(ch, r);
	if (!io)
		return -ENOMEM;
	if (mode != SPLIT_NONE && split_prepare(io, mode, bounce)) {
		req_undo(ch, io);
		return -ENOMEM;
	}
	if (plx_unlikely(ch->fence && excl_holds(ch->fence, io))) {
		io->state |= IO_HELD;
		io_list_append(&ch->held, io);
		return 0;
	}
	io_run(io);
	return 0;
}

/* ---- what callers call ---- */

int plx_bdev_rw_ext(struct plx_bdev_desc *d, struct plx_bdev_channel *ch,
		    enum plx_bdev_io_type type, const struct plx_bdev_rw *rw, plx_bdev_cb cb,
		    void *arg)
{
	struct bdev_req r = { .type = type,
			      .iov = rw->iov,
			      .iovcnt = rw->iovcnt,
			      .offset = rw->offset,
			      .blocks = rw->blocks,
			      .md = rw->md,
			      .reftag = rw->reftag,
			      .apptag = rw->apptag,
			      .appmask = rw->appmask,
			      .check = rw->check,
			      .flags = rw->flags,
			      .cb = cb,
			      .arg = arg };

	if (type != PLX_BDEV_READ && type != PLX_BDEV_WRITE && type != PLX_BDEV_COMPARE &&
	    type != PLX_BDEV_VERIFY)
		return -EINVAL;
	return req_submit(d, ch, &r);
}

int plx_bdev_compare_and_write(struct plx_bdev_desc *d, struct plx_bdev_channel *ch,
			       struct iovec *cmp_iov, int cmp_iovcnt, struct iovec *iov, int iovcnt,
			       uint64_t offset, uint64_t blocks, plx_bdev_cb cb, void *arg)
{
	struct bdev_req r = { .type = PLX_BDEV_COMPARE_AND_WRITE,
			      .iov = iov,
			      .iovcnt = iovcnt,
			      .cmp_iov = cmp_iov,
			      .cmp_iovcnt = cmp_iovcnt,
			      .offset = offset,
			      .blocks = blocks,
			      .cb = cb,
			      .arg = arg };

	return req_submit(d, ch, &r);
}

static int range_submit(struct plx_bdev_desc *d, struct plx_bdev_channel *ch,
			enum plx_bdev_io_type type, uint64_t offset, uint64_t blocks, uint64_t src,
			plx_bdev_cb cb, void *arg)
{
	struct bdev_req r = {
		.type = type, .offset = offset, .blocks = blocks, .src = src, .cb = cb, .arg = arg
	};

	return req_submit(d, ch, &r);
}

int plx_bdev_flush(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t offset,
		   uint64_t blocks, plx_bdev_cb cb, void *arg)
{
	return range_submit(d, ch, PLX_BDEV_FLUSH, offset, blocks, 0, cb, arg);
}

int plx_bdev_unmap(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t offset,
		   uint64_t blocks, plx_bdev_cb cb, void *arg)
{
	return range_submit(d, ch, PLX_BDEV_UNMAP, offset, blocks, 0, cb, arg);
}

int plx_bdev_write_zeroes(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t offset,
			  uint64_t blocks, plx_bdev_cb cb, void *arg)
{
	return range_submit(d, ch, PLX_BDEV_WRITE_ZEROES, offset, blocks, 0, cb, arg);
}

int plx_bdev_copy(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t dst, uint64_t src,
		  uint64_t blocks, plx_bdev_cb cb, void *arg)
{
	return range_submit(d, ch, PLX_BDEV_COPY, dst, blocks, src, cb, arg);
}
