/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/stat.c - statistics of a device: each channel's, read in its own thread, and those of past
 * channels
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_internal.h"

struct stat_visit {
	struct bdev_visit visit;
	struct plx_bdev_stat sum;
	enum stat_reset { RESET_NOTHING, RESET_ERRORS, RESET_ALL } reset;
	void (*cb)(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg);
	void *arg;
};

void channel_add_stat(const struct plx_bdev_channel *ch, struct plx_bdev_stat *sum)
{
	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++) {
		sum->ops[t] += ch->stat[t].ops;
		sum->bytes[t] += ch->stat[t].blocks * ch->bdev->block_size;
		sum->latency_tsc[t] += ch->latency_tsc[t];
		sum->errors[t] += ch->stat[t].errors;
	}
	sum->splits += ch->splits;
	sum->waits += ch->waits;
}

static void visit_stat(struct bdev_visit *v, struct plx_bdev_channel *ch)
{
	struct stat_visit *s = plx_container_of(v, struct stat_visit, visit);

	channel_add_stat(ch, &s->sum);
	s->sum.queue_depth += channel_in_flight(ch);
}

/* Channels count on, whoever reads them: what was there at the last reset is subtracted. */
static void since_reset(struct plx_bdev_stat *sum, const struct plx_bdev_stat *base)
{
	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++) {
		sum->ops[t] -= base->ops[t];
		sum->bytes[t] -= base->bytes[t];
		sum->latency_tsc[t] -= base->latency_tsc[t];
		sum->errors[t] -= base->errors[t];
	}
	sum->splits -= base->splits;
	sum->waits -= base->waits;
}

static void visit_done(struct bdev_visit *v)
{
	struct stat_visit *s = plx_container_of(v, struct stat_visit, visit);
	struct plx_bdev_internal *in = v->in;
	struct plx_bdev_stat all = s->sum;

	bdev_lock();
	since_reset(&s->sum, &in->base);
	if (s->reset == RESET_ALL)
		in->base = all;
	else if (s->reset == RESET_ERRORS)
		memcpy(in->base.errors, all.errors, sizeof(all.errors));
	bdev_unlock();
	if (s->cb)
		s->cb(in->bdev, &s->sum, s->arg);
	free(s);
}

static int stat_start(struct plx_bdev *b, enum stat_reset reset,
		      void (*cb)(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg),
		      void *arg)
{
	struct stat_visit *s;

	if (!plx_thread_current())
		return -EPERM;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	/* now: a channel that ends during the walk is counted by none or by the walk, never
	 * twice */
	bdev_lock();
	s->sum = b->internal->past;
	bdev_unlock();
	s->visit.fn = visit_stat;
	s->visit.done = visit_done;
	s->reset = reset;
	s->cb = cb;
	s->arg = arg;
	bdev_visit(&s->visit, b->internal);
	return 0;
}

int plx_bdev_get_stat(struct plx_bdev *b,
		      void (*cb)(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg),
		      void *arg)
{
	return stat_start(b, RESET_NOTHING, cb, arg);
}

int plx_bdev_reset_stat(struct plx_bdev *b, bool errors_only,
			void (*cb)(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg),
			void *arg)
{
	return stat_start(b, errors_only ? RESET_ERRORS : RESET_ALL, cb, arg);
}
