/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/channel.c - channels: one per thread and device, counted; their I/O objects; walks over all
 * of them
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_internal.h"

void io_list_remove(struct bdev_io_list *l, struct plx_bdev_io *io)
{
	struct plx_bdev_io **p = &l->head;

	while (*p && *p != io)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = io->next;
	if (l->tail == &io->next)
		l->tail = p;
}

/* ---- the pool ---- */

/* Objects are prepared one by one as the depth grows, so memory that no depth ever reached stays
 * untouched. */
struct plx_bdev_io *channel_carve(struct plx_bdev_channel *ch, uint32_t limit)
{
	struct plx_bdev_io *io;

	if (ch->carved >= limit)
		return NULL;
	io = &ch->pool[ch->carved++];
	memset(io, 0, sizeof(*io));
	io->state = IO_DONE;
	io->mch = ch->mch;
	io->bdev = ch->bdev;
	io->ch = ch;
	return io;
}

uint32_t channel_in_flight(const struct plx_bdev_channel *ch)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ch->carved; i++)
		n += !(ch->pool[i].state & IO_DONE);
	return n;
}

void channel_refresh(struct plx_bdev_channel *ch)
{
	const struct plx_bdev *b = ch->bdev;
	uint64_t fast;

	ch->blocks = __atomic_load_n(&b->blocks, __ATOMIC_ACQUIRE);
	fast = b->max_rw_blocks ? b->max_rw_blocks : UINT32_MAX;
	if (fast > ch->blocks)
		fast = ch->blocks;
	/* whether a boundary is crossed takes a division to know */
	if (ch->fence || ch->removed || b->boundary)
		fast = 0;
	ch->fast_blocks = fast;
}

/* ---- once in a turn ---- */

/*
 * Latency without a time stamp per I/O: the sum over all I/Os is the depth, summed over time.
 * Samples are a turn apart, which is the resolution that is promised.
 */
static plx_noinline void clock_sample(struct plx_bdev_channel *ch)
{
	uint64_t now = plx_thread_turn_tsc(ch->thread), delta = now - ch->clock_tsc, any = 0;

	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++) {
		if (ch->clocked)
			ch->latency_tsc[t] += ch->clock_depth[t] * delta;
		ch->clock_depth[t] = ch->stat[t].submitted - ch->stat[t].ops;
		any |= ch->clock_depth[t];
	}
	ch->clock_tsc = now;
	ch->clocked = any;
}

static plx_noinline void deferred_run(struct plx_bdev_channel *ch)
{
	struct plx_bdev_io *io, *last = NULL;

	/* what these callbacks defer in turn is for the next time */
	if (ch->deferred.head)
		last = plx_container_of(ch->deferred.tail, struct plx_bdev_io, next);
	while (last && (io = io_list_pop(&ch->deferred))) {
		bool end = io == last;

		io->state &= (uint8_t)~IO_DEFERRED;
		io_finish(io);
		if (end)
			break;
	}
	if (ch->kick) {
		ch->kick = false;
		channel_wake(ch);
	}
}

static int channel_poll(void *arg)
{
	struct plx_bdev_channel *ch = arg;
	const struct bdev_stat *r = &ch->stat[PLX_BDEV_READ], *w = &ch->stat[PLX_BDEV_WRITE];
	uint64_t in_flight = (r->submitted ^ r->ops) | (w->submitted ^ w->ops) | ch->rare;

	if (plx_unlikely(in_flight | ch->clocked))
		clock_sample(ch);
	if (plx_likely(!ch->deferred.head && !ch->kick))
		return 0;
	deferred_run(ch);
	return 1;
}

void channel_defer(struct plx_bdev_channel *ch, struct plx_bdev_io *io)
{
	io->state |= IO_DEFERRED;
	io_list_append(&ch->deferred, io);
}

/* ---- waiting for objects ---- */

int plx_bdev_queue_wait(struct plx_bdev_channel *ch, struct plx_bdev_wait *w)
{
	w->next = NULL;
	w->prev = ch->wait_tail;
	if (w->prev)
		w->prev->next = w;
	else
		ch->wait_head = w;
	ch->wait_tail = w;
	ch->guard |= GUARD_WAITERS;
	ch->waits++;
	/* it was not for lack of objects: there may be nothing in flight that would end */
	if (ch->free || ch->carved < BDEV_POOL_SIZE)
		ch->kick = true;
	return 0;
}

void plx_bdev_cancel_wait(struct plx_bdev_channel *ch, struct plx_bdev_wait *w)
{
	if (!w->prev && ch->wait_head != w)
		return;
	if (w->prev)
		w->prev->next = w->next;
	else
		ch->wait_head = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		ch->wait_tail = w->prev;
	w->next = w->prev = NULL;
	if (!ch->wait_head)
		ch->guard &= ~GUARD_WAITERS;
}

/* One object, one waiter: what it does not use is left to the next completion. */
void channel_wake(struct plx_bdev_channel *ch)
{
	struct plx_bdev_wait *w = ch->wait_head;

	if (!w)
		return;
	plx_bdev_cancel_wait(ch, w);
	ch->guard++; /* it may put the channel */
	w->cb(w->arg);
	ch->guard--;
}

/* ---- life ---- */

static struct plx_bdev_channel *channel_create(struct plx_bdev *b)
{
	size_t mch_size = (b->ops->channel_size + PLX_NO_SHARE - 1) & ~(size_t)(PLX_NO_SHARE - 1);
	struct plx_bdev_channel *ch;
	void *mem;
	int rc;

	if (posix_memalign(&mem, PLX_NO_SHARE, sizeof(*ch) + mch_size)) {
		errno = ENOMEM;
		return NULL;
	}
	ch = memset(mem, 0, sizeof(*ch) + mch_size);
	/* one object more, for resets */
	if (posix_memalign(&mem, PLX_NO_SHARE,
			   (BDEV_POOL_SIZE + BDEV_RESERVE + 1) * sizeof(struct plx_bdev_io))) {
		free(ch);
		errno = ENOMEM;
		return NULL;
	}
	ch->pool = mem;
	ch->bdev = b;
	ch->thread = plx_thread_current();
	ch->refs = 1;
	ch->mch = mch_size ? (char *)ch + sizeof(*ch) : NULL;
	ch->submit = b->ops->submit;
	ch->buf_block = plx_bdev_buf_block(b);
	ch->align_mask = b->align ? b->align - 1 : 0;
	ch->max_segments =
		b->max_segments && b->max_segments < INT32_MAX ? b->max_segments : INT32_MAX;
	io_list_init(&ch->deferred);
	io_list_init(&ch->held);
	ch->reset_io = &ch->pool[BDEV_POOL_SIZE + BDEV_RESERVE];
	rc = b->ops->channel_create ? b->ops->channel_create(b->ctx, ch->mch) : 0;
	if (rc)
		goto fail;
	/* after the module's own, so that it samples what a turn left unfinished */
	ch->poller = plx_poller_create(channel_poll, ch, 0);
	if (ch->poller)
		return ch;
	rc = -ENOMEM;
	if (b->ops->channel_destroy)
		b->ops->channel_destroy(b->ctx, ch->mch);
fail:
	free(ch->pool);
	free(ch);
	errno = -rc;
	return NULL;
}

static void channel_free(struct plx_bdev_channel *ch)
{
	struct plx_bdev *b = ch->bdev;
	struct plx_bdev_internal *in = b->internal;

	plx_poller_destroy(ch->poller);
	if (b->ops->channel_destroy)
		b->ops->channel_destroy(b->ctx, ch->mch);
	split_cache_free(ch);
	bdev_lock();
	channel_add_stat(ch, &in->past);
	TAILQ_REMOVE(&in->channels, ch, link);
	bdev_unlock();
	free(ch->pool);
	free(ch);
	bdev_unhold(in);
}

static struct plx_bdev_channel *channel_find(struct plx_bdev_internal *in, struct plx_thread *t)
{
	struct plx_bdev_channel *ch;

	TAILQ_FOREACH(ch, &in->channels, link)
	if (ch->thread == t && ch->refs)
		return ch;
	return NULL;
}

struct plx_bdev_channel *plx_bdev_get_channel(struct plx_bdev_desc *desc)
{
	struct plx_thread *t = plx_thread_current();
	struct plx_bdev_internal *in = desc->bdev->internal;
	struct plx_bdev_channel *ch;

	if (!t) {
		errno = EPERM;
		return NULL;
	}
	bdev_lock();
	ch = channel_find(in, t);
	if (ch) {
		ch->refs++;
		bdev_unlock();
		return ch;
	}
	if (in->removed) {
		bdev_unlock();
		errno = ENODEV;
		return NULL;
	}
	in->holds++;
	bdev_unlock();

	/* unlocked: a module opens the channels of its base devices */
	ch = channel_create(desc->bdev);
	if (!ch) {
		int err = errno;

		bdev_unhold(in);
		errno = err;
		return NULL;
	}
	bdev_lock();
	ch->fence = in->fence;
	ch->removed = in->removed;
	channel_refresh(ch);
	TAILQ_INSERT_TAIL(&in->channels, ch, link);
	bdev_unlock();
	return ch;
}

/* Put from within a callback: freed once the stack has let go of it. */
static void channel_free_later(void *arg)
{
	struct plx_bdev_channel *ch = arg;
	bool last;

	if (ch->guard & GUARD_DEPTH) {
		bdev_send(ch->thread, channel_free_later, ch);
		return;
	}
	bdev_lock();
	last = --ch->pins == 0;
	bdev_unlock();
	if (last)
		channel_free(ch);
}

void plx_bdev_put_channel(struct plx_bdev_channel *ch)
{
	bool dead, nested = ch->guard & GUARD_DEPTH, last;

	bdev_lock();
	dead = --ch->refs == 0;
	if (dead && nested)
		ch->pins++;
	last = dead && !ch->pins;
	bdev_unlock();
	if (dead && channel_in_flight(ch))
		plx_log(PLX_LOG_ERR, "bdev", "%s: channel put with %u I/Os outstanding",
			ch->bdev->name, channel_in_flight(ch));
	if (last)
		channel_free(ch);
	else if (dead && nested)
		bdev_send(ch->thread, channel_free_later, ch);
}

/* ---- walks ---- */

/* Lets go of the channel the walk stands at and picks the next one. */
static struct plx_bdev_channel *visit_step(struct bdev_visit *v)
{
	struct plx_bdev_channel *prev = v->ch, *ch;
	bool dead = false;

	bdev_lock();
	ch = prev ? TAILQ_NEXT(prev, link) : TAILQ_FIRST(&v->in->channels);
	while (ch && !ch->refs)
		ch = TAILQ_NEXT(ch, link);
	if (ch)
		ch->pins++;
	if (prev)
		dead = --prev->pins == 0 && !prev->refs;
	v->ch = ch;
	bdev_unlock();
	if (dead)
		channel_free(prev);
	return ch;
}

static void visit_end(void *arg)
{
	struct bdev_visit *v = arg;
	struct plx_bdev_internal *in = v->in;

	v->done(v);
	bdev_unhold(in);
}

static void visit_here(void *arg)
{
	struct bdev_visit *v = arg;
	struct plx_bdev_channel *ch = v->ch;

	while (ch && ch->thread == plx_thread_current()) {
		if (ch->refs)
			v->fn(v, ch);
		ch = visit_step(v);
	}
	if (ch)
		bdev_send(ch->thread, visit_here, v);
	else if (!v->thread || v->thread == plx_thread_current())
		visit_end(v);
	else
		bdev_send(v->thread, visit_end, v);
}

void bdev_visit(struct bdev_visit *v, struct plx_bdev_internal *in)
{
	v->in = in;
	v->thread = plx_thread_current();
	v->ch = NULL;
	bdev_lock();
	in->holds++;
	bdev_unlock();
	visit_step(v);
	visit_here(v);
}
