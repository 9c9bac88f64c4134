/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/excl.c - exclusive access to a range of a device, and reset, which is exclusive access to
 * all of it
 *
 * First the fence: a walk over the channels makes new I/O in the range wait and counts what is in
 * flight. When the last of that has ended the owner acts. A second walk takes the fence down and
 * starts what waited.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_internal.h"

bool excl_holds(const struct bdev_excl *e, const struct plx_bdev_io *io)
{
	if (io == e->io || io->type == PLX_BDEV_RESET || io->type == PLX_BDEV_ABORT)
		return false;
	return range_overlaps(io->offset, io->blocks, e->offset, e->blocks) ||
	       (io->type == PLX_BDEV_COPY &&
		range_overlaps(io->src, io->blocks, e->offset, e->blocks));
}

/* ---- the fence rises ---- */

static void run(void *arg)
{
	struct bdev_excl *e = arg;

	e->run(e);
}

static void in_thread_of(struct bdev_excl *e, plx_msg_fn fn)
{
	if (e->thread == plx_thread_current())
		fn(e);
	else
		bdev_send(e->thread, fn, e);
}

static void pending_dec(struct bdev_excl *e)
{
	if (__atomic_sub_fetch(&e->pending, 1, __ATOMIC_ACQ_REL) == 0)
		in_thread_of(e, run);
}

void excl_drained(struct plx_bdev_channel *ch)
{
	pending_dec(ch->fence);
}

static void reset_io_done(struct plx_bdev_io *io, void *arg)
{
	struct plx_bdev_channel *ch = arg;

	if (io->status)
		__atomic_store_n(&ch->fence->io->status, io->status, __ATOMIC_RELAXED);
	if (--ch->draining == 0)
		excl_drained(ch);
}

/* The module ends what is in flight on this channel. */
static void channel_reset(struct plx_bdev_channel *ch)
{
	struct plx_bdev_io *io = ch->reset_io;

	memset(io, 0, sizeof(*io));
	io->type = PLX_BDEV_RESET;
	io->state = IO_CHILD;
	io->mch = ch->mch;
	io->bdev = ch->bdev;
	io->ch = ch;
	io->cb = reset_io_done;
	io->arg = ch;
	ch->draining++;
	ch->submit(io);
}

static void visit_fence(struct bdev_visit *v, struct plx_bdev_channel *ch)
{
	struct bdev_excl *e = plx_container_of(v, struct bdev_excl, visit);

	ch->fence = e;
	channel_refresh(ch);
	__atomic_add_fetch(&e->pending, 1, __ATOMIC_RELAXED);
	/* one more than there are: nothing ends while we count */
	ch->draining = 1;
	for (uint32_t i = 0; i < ch->carved; i++) {
		struct plx_bdev_io *io = &ch->pool[i];

		if ((io->state & (IO_DONE | IO_HELD | IO_LAYER)) || !excl_holds(e, io))
			continue;
		io->state |= IO_DRAIN;
		ch->draining++;
	}
	if (e->reset && (v->in->native & 1u << PLX_BDEV_RESET))
		channel_reset(ch);
	if (--ch->draining == 0)
		excl_drained(ch);
}

static void visit_fenced(struct bdev_visit *v)
{
	pending_dec(plx_container_of(v, struct bdev_excl, visit));
}

static void begin(void *arg)
{
	struct bdev_excl *e = arg;

	e->pending = 1;
	e->visit.fn = visit_fence;
	e->visit.done = visit_fenced;
	bdev_visit(&e->visit, e->in);
}

/* @e->in is set by the caller, @e->thread here: the caller's */
void excl_acquire(struct bdev_excl *e)
{
	bool first;

	e->thread = plx_thread_current();
	bdev_lock();
	first = STAILQ_EMPTY(&e->in->excl);
	STAILQ_INSERT_TAIL(&e->in->excl, e, link);
	e->in->holds++;
	if (first)
		e->in->fence = e;
	bdev_unlock();
	if (first)
		begin(e);
}

/* ---- and falls ---- */

static void visit_unfence(struct bdev_visit *v, struct plx_bdev_channel *ch)
{
	struct plx_bdev_io *io;

	if (ch->fence != plx_container_of(v, struct bdev_excl, visit))
		return;
	ch->fence = NULL;
	channel_refresh(ch);
	while ((io = io_list_pop(&ch->held))) {
		io->state &= (uint8_t)~IO_HELD;
		io_run(io);
	}
}

static void visit_unfenced(struct bdev_visit *v)
{
	struct bdev_excl *e = plx_container_of(v, struct bdev_excl, visit), *next;
	struct plx_bdev_internal *in = e->in;

	bdev_lock();
	STAILQ_REMOVE_HEAD(&in->excl, link);
	next = STAILQ_FIRST(&in->excl);
	in->fence = next;
	bdev_unlock();
	e->released(e);
	if (next)
		in_thread_of(next, begin);
	bdev_unhold(in);
}

void excl_release(struct bdev_excl *e)
{
	bdev_lock();
	e->in->fence = NULL;
	bdev_unlock();
	e->visit.fn = visit_unfence;
	e->visit.done = visit_unfenced;
	bdev_visit(&e->visit, e->in);
}

/* ---- reset ---- */

static void reset_released(struct bdev_excl *e)
{
	struct plx_bdev_io *io = e->io;

	free(e);
	plx_bdev_io_complete(io, io->status);
}

int plx_bdev_reset(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, plx_bdev_cb cb, void *arg)
{
	struct bdev_req r = { .type = PLX_BDEV_RESET, .cb = cb, .arg = arg };
	struct bdev_excl *e;

	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->io = req_io(ch, &r);
	if (!e->io) {
		free(e);
		return -ENOMEM;
	}
	e->io->state = IO_LAYER;
	e->in = d->bdev->internal;
	e->blocks = UINT64_MAX;
	e->reset = true;
	/* the module has acted by the time the range is ours */
	e->run = excl_release;
	e->released = reset_released;
	excl_acquire(e);
	return 0;
}
