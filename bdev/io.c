/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/io.c - the hot path: submission and completion of reads and writes
 *
 * One branch for everything unusual. What is too large, unaligned, fenced or short of objects goes
 * to submit.c, what fails, is deferred or was waited for goes to the cold half of the completion.
 *
 * A free object has state IO_DONE, md NULL and status 0, so that a plain I/O need not write them.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bdev/bdev_internal.h"

_Static_assert(sizeof(struct plx_bdev_io) == 3 * PLX_CACHE_LINE, "two hot lines and a cold one");
_Static_assert(offsetof(struct plx_bdev_io, cb) == PLX_CACHE_LINE, "line 1");
_Static_assert(offsetof(struct plx_bdev_io, priv) == 2 * PLX_CACHE_LINE, "line 2");
_Static_assert(offsetof(struct plx_bdev_channel, stat) == PLX_CACHE_LINE,
	       "what a submission reads is one line");
_Static_assert(sizeof(struct bdev_stat) * 2 == PLX_CACHE_LINE, "reads and writes share a line");

/* What iovcnt, type, check, flags and state of a plain I/O look like as one word. */
#define IO_WORD(cnt, type) ((uint64_t)(uint32_t)(cnt) | (uint64_t)(type) << 32)
_Static_assert(offsetof(struct plx_bdev_io, type) == offsetof(struct plx_bdev_io, iovcnt) + 4,
	       "IO_WORD");
_Static_assert(offsetof(struct plx_bdev_io, state) == offsetof(struct plx_bdev_io, iovcnt) + 7,
	       "IO_WORD");

static bool iovs_fit(const struct plx_bdev_channel *ch, const struct iovec *iov, int iovcnt,
		     uint64_t len)
{
	uint64_t sum = 0, bits = 0;

	if (iovcnt <= 0 || (uint32_t)iovcnt > ch->max_segments)
		return false;
	for (int i = 0; i < iovcnt; i++) {
		sum += iov[i].iov_len;
		if (sum > len || iov[i].iov_len > len)
			return false;
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	}
	return sum == len && !(bits & ch->align_mask);
}

static inline bool blocks_fit(const struct plx_bdev_channel *ch, uint64_t offset, uint64_t blocks)
{
	/* fast_blocks is no more than ch->blocks: the difference does not overflow */
	return blocks - 1 < ch->fast_blocks && offset <= ch->blocks - blocks;
}

static inline bool iov_fits(const struct plx_bdev_channel *ch, const struct iovec *iov,
			    uint64_t blocks)
{
	/* fast_blocks is 32 bits: the product does not overflow */
	return iov->iov_len == blocks * ch->buf_block &&
	       !((uintptr_t)iov->iov_base & ch->align_mask);
}

static inline int start(struct plx_bdev_channel *ch, struct plx_bdev_io *io, struct iovec *iov,
			int iovcnt, uint64_t offset, uint64_t blocks, plx_bdev_cb cb, void *arg,
			enum plx_bdev_io_type type)
{
	uint64_t word = IO_WORD(iovcnt, type);

	ch->free = io->next;
	io->iov = iov;
	memcpy(&io->iovcnt, &word, sizeof(word));
	io->offset = offset;
	io->blocks = blocks;
	io->cb = cb;
	io->arg = arg;
	ch->stat[type].submitted++;
	ch->submit(io);
	return 0;
}

/* Several iovecs; or else whatever is unusual. Takes what its callers took, so that they can jump
 * here. */
#define RW_REST(name, io_type)                                                                     \
	static __attribute__((noinline)) int name(struct plx_bdev_desc *d,                         \
						  struct plx_bdev_channel *ch, struct iovec *iov,  \
						  int iovcnt, uint64_t offset, uint64_t blocks,    \
						  plx_bdev_cb cb, void *arg)                       \
	{                                                                                          \
		struct bdev_req r;                                                                 \
                                                                                                   \
		if (ch->free && blocks_fit(ch, offset, blocks) &&                                  \
		    iovs_fit(ch, iov, iovcnt, blocks * ch->buf_block))                             \
			return start(ch, ch->free, iov, iovcnt, offset, blocks, cb, arg, io_type); \
		r = (struct bdev_req){ .type = io_type,                                            \
				       .iov = iov,                                                 \
				       .iovcnt = iovcnt,                                           \
				       .offset = offset,                                           \
				       .blocks = blocks,                                           \
				       .cb = cb,                                                   \
				       .arg = arg };                                               \
		return req_submit(d, ch, &r);                                                      \
	}
RW_REST(read_rest, PLX_BDEV_READ)
RW_REST(write_rest, PLX_BDEV_WRITE)

int plx_bdev_readv(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, struct iovec *iov,
		   int iovcnt, uint64_t offset, uint64_t blocks, plx_bdev_cb cb, void *arg)
{
	struct plx_bdev_io *io = ch->free;

	if (plx_unlikely(!io || iovcnt != 1 || !blocks_fit(ch, offset, blocks) ||
			 !iov_fits(ch, iov, blocks)))
		return read_rest(d, ch, iov, iovcnt, offset, blocks, cb, arg);
	return start(ch, io, iov, 1, offset, blocks, cb, arg, PLX_BDEV_READ);
}

int plx_bdev_writev(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, struct iovec *iov,
		    int iovcnt, uint64_t offset, uint64_t blocks, plx_bdev_cb cb, void *arg)
{
	struct plx_bdev_io *io = ch->free;

	if (plx_unlikely(!d->write))
		return -EBADF;
	if (plx_unlikely(!io || iovcnt != 1 || !blocks_fit(ch, offset, blocks) ||
			 !iov_fits(ch, iov, blocks)))
		return write_rest(d, ch, iov, iovcnt, offset, blocks, cb, arg);
	return start(ch, io, iov, 1, offset, blocks, cb, arg, PLX_BDEV_WRITE);
}

static inline void account(struct plx_bdev_channel *ch, const struct plx_bdev_io *io)
{
	struct bdev_stat *st = &ch->stat[io->type];

	st->ops++;
	st->blocks += io->blocks;
}

static inline void io_put(struct plx_bdev_channel *ch, struct plx_bdev_io *io)
{
	io->next = ch->free;
	ch->free = io;
}

void io_put_rare(struct plx_bdev_channel *ch, struct plx_bdev_io *io)
{
	if (plx_unlikely(io >= ch->pool + BDEV_POOL_SIZE)) {
		io->next = ch->reserve;
		ch->reserve = io;
	} else {
		io_put(ch, io);
	}
}

plx_noinline void io_finish(struct plx_bdev_io *io)
{
	struct plx_bdev_channel *ch = io->ch;
	bool drain = io->state & IO_DRAIN;

	account(ch, io);
	ch->rare -= io->type > PLX_BDEV_WRITE;
	if (io->status)
		ch->stat[io->type].errors++;
	io->state = IO_DONE;
	ch->guard++;
	io->cb(io, io->arg);
	ch->guard--;
	io->md = NULL;
	io->status = 0;
	io_put_rare(ch, io);
	if (drain && --ch->draining == 0)
		excl_drained(ch);
	if (ch->guard & GUARD_WAITERS)
		channel_wake(ch);
}

static plx_noinline void complete_slow(struct plx_bdev_io *io, uint16_t status)
{
	struct plx_bdev_channel *ch = io->ch;

	assert(!(io->state & (IO_DONE | IO_DEFERRED))); /* completed twice */
	io->status = status;
	if (io->state & IO_CHILD) {
		io->cb(io, io->arg);
		return;
	}
	if ((ch->guard & GUARD_DEPTH) >= PLX_BDEV_MAX_DEPTH)
		channel_defer(ch, io);
	else
		io_finish(io);
}

void plx_bdev_io_complete(struct plx_bdev_io *io, uint16_t status)
{
	struct plx_bdev_channel *ch = io->ch;

	if (plx_unlikely((status | io->state) || ch->guard >= PLX_BDEV_MAX_DEPTH)) {
		complete_slow(io, status);
		return;
	}
	account(ch, io);
	/* in its callback it can neither be aborted nor be waited for */
	io->state = IO_DONE;
	ch->guard++;
	io->cb(io, io->arg);
	ch->guard--;
	io_put(ch, io);
}
