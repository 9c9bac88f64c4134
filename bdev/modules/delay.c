/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/delay.c - a device that takes its time: another one, with latencies from a
 * distribution
 *
 * I/O goes to the base at once and is held back afterwards, until the latency that was drawn for it
 * has passed since submission: the sum is what was drawn, as long as the base is quicker. An SSD
 * does it in that order, too: a command changes the state of the device before its completion is
 * seen.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/modules/geometry.h"
#include "bdev/modules/latency.h"
#include "bdev/modules/vbdev.h"

struct delay {
	struct vbdev v;
	struct plx_bdev_latency read, write; /* under bdev_lock() */
	uint32_t generation; /* of them; atomic */
	uint64_t seed;
	uint64_t ticks_per_ns; /* times 2^32 */
	uint32_t channels; /* made so far; atomic */
};

struct due {
	uint64_t tsc;
	struct plx_bdev_io *io;
};

struct delay_channel {
	struct vbdev_channel c;
	struct due *heap; /* four children per node: half the levels, one cache line per level */
	uint32_t n, cap;
	struct rng rng;
	struct plx_poller *poller;
	bool resetting;
	uint32_t generation;
	struct plx_bdev_latency read, write; /* copies of the device's */
};

enum { DELAY_DUE = VBDEV_MOD, DELAY_STATUS };

/* ---- the heap, ordered by due time ---- */

static void heap_up(struct due *h, uint32_t i, struct due d)
{
	while (i && h[(i - 1) / 4].tsc > d.tsc) {
		h[i] = h[(i - 1) / 4];
		i = (i - 1) / 4;
	}
	h[i] = d;
}

static void heap_down(struct due *h, uint32_t n, uint32_t i, struct due d)
{
	for (uint32_t first; (first = 4 * i + 1) < n;) {
		uint32_t least = first, end = first + 4 < n ? first + 4 : n;

		for (uint32_t k = first + 1; k < end; k++)
			if (h[k].tsc < h[least].tsc)
				least = k;
		if (h[least].tsc >= d.tsc)
			break;
		h[i] = h[least];
		i = least;
	}
	h[i] = d;
}

static bool heap_push(struct delay_channel *dc, struct plx_bdev_io *io)
{
	if (plx_unlikely(dc->n == dc->cap)) {
		uint32_t cap = dc->cap ? dc->cap * 2 : 256;
		struct due *h = realloc(dc->heap, cap * sizeof(*h));

		if (!h)
			return false;
		dc->heap = h;
		dc->cap = cap;
	}
	heap_up(dc->heap, dc->n++, (struct due){ .tsc = io->mod[DELAY_DUE], .io = io });
	return true;
}

static struct plx_bdev_io *heap_take(struct delay_channel *dc, uint32_t i)
{
	struct plx_bdev_io *io = dc->heap[i].io;
	struct due last = dc->heap[--dc->n];

	if (i == dc->n)
		return io;
	if (i && dc->heap[(i - 1) / 4].tsc > last.tsc)
		heap_up(dc->heap, i, last);
	else
		heap_down(dc->heap, dc->n, i, last);
	return io;
}

/* ---- I/O ---- */

static int delay_poll(void *arg)
{
	struct delay_channel *dc = arg;
	uint64_t now;
	int n = 0;

	if (!dc->n)
		return 0;
	now = plx_tsc();
	while (dc->n && dc->heap[0].tsc <= now) {
		struct plx_bdev_io *io = heap_take(dc, 0);

		plx_bdev_io_complete(io, (uint16_t)io->mod[DELAY_STATUS]);
		n++;
	}
	return n;
}

static void delay_done(struct plx_bdev_io *io, uint16_t status)
{
	struct delay_channel *dc = io->mch;

	io->mod[DELAY_STATUS] = status;
	if (!io->mod[DELAY_DUE] || dc->resetting || io->mod[DELAY_DUE] <= plx_tsc() ||
	    !heap_push(dc, io))
		plx_bdev_io_complete(io, status);
}

static bool delay_own(struct vbdev_channel *c, struct plx_bdev_io *victim)
{
	struct delay_channel *dc = (struct delay_channel *)c;

	for (uint32_t i = 0; i < dc->n; i++)
		if (dc->heap[i].io == victim) {
			plx_bdev_io_complete(heap_take(dc, i), PLX_BDEV_ST_ABORTED);
			return true;
		}
	return false;
}

/* Everything here is back when the base's reset is, which ends later than what was at the base. */
static void delay_reset(struct plx_bdev_io *io)
{
	struct delay_channel *dc = io->mch;

	dc->resetting = true;
	while (dc->n)
		plx_bdev_io_complete(heap_take(dc, dc->n - 1), PLX_BDEV_ST_ABORTED);
	vbdev_reset(io);
}

static plx_noinline void latencies_load(struct delay *d, struct delay_channel *dc)
{
	bdev_lock();
	dc->read = d->read;
	dc->write = d->write;
	dc->generation = d->generation;
	bdev_unlock();
}

static void delay_submit(struct plx_bdev_io *io)
{
	struct delay_channel *dc = io->mch;
	struct delay *d = io->bdev->ctx;
	uint64_t ns;

	if (plx_unlikely(io->type == PLX_BDEV_RESET)) {
		delay_reset(io);
		return;
	}
	if (plx_unlikely(io->type == PLX_BDEV_ABORT)) {
		vbdev_abort(io, delay_own);
		return;
	}
	/* no I/O comes during a reset: this is after it */
	dc->resetting = false;
	if (plx_unlikely(__atomic_load_n(&d->generation, __ATOMIC_RELAXED) != dc->generation))
		latencies_load(d, dc);
	ns = latency_draw(io->type == PLX_BDEV_READ || io->type == PLX_BDEV_COMPARE ||
					  io->type == PLX_BDEV_VERIFY
				  ? &dc->read
				  : &dc->write,
			  &dc->rng);
	io->mod[VBDEV_IOV] = 0;
	io->mod[DELAY_DUE] =
		ns ? plx_tsc() + (uint64_t)((unsigned __int128)ns * d->ticks_per_ns >> 32) : 0;
	vbdev_forward(io);
}

static int delay_channel_create(void *ctx, void *ch)
{
	struct delay *d = ctx;
	struct delay_channel *dc = ch;
	int rc = vbdev_channel_create(&d->v, &dc->c, delay_done);

	if (rc)
		return rc;
	latencies_load(d, dc);
	dc->rng = rng_stream(d->seed, __atomic_fetch_add(&d->channels, 1, __ATOMIC_RELAXED));
	dc->poller = plx_poller_create(delay_poll, dc, 0);
	if (!dc->poller) {
		vbdev_channel_destroy(&dc->c);
		return -ENOMEM;
	}
	return 0;
}

static void delay_channel_destroy(void *ctx, void *ch)
{
	struct delay_channel *dc = ch;

	plx_poller_destroy(dc->poller);
	vbdev_channel_destroy(&dc->c);
	free(dc->heap);
}

/* ---- the device ---- */

static void delay_destruct(void *ctx)
{
	struct delay *d = ctx;

	vbdev_destruct(&d->v);
	free(d);
}

static void dump_latency(struct json_t *params, const char *way, const struct plx_bdev_latency *l)
{
	char key[32];

	uint64_t avg, p99;

	/* what the field's method can say, in its words and microseconds */
	if (latency_two_point(l, &avg, &p99)) {
		snprintf(key, sizeof(key), "avg_%s_latency", way);
		json_object_set_new(params, key, json_integer((json_int_t)avg));
		snprintf(key, sizeof(key), "p99_%s_latency", way);
		json_object_set_new(params, key, json_integer((json_int_t)p99));
		return;
	}
	snprintf(key, sizeof(key), "%s_latency", way);
	json_object_set_new(params, key, latency_dump(l));
}

static const char *delay_dump_config(void *ctx, struct json_t *params)
{
	struct plx_bdev_latency read, write;
	struct delay *d = ctx;

	bdev_lock();
	read = d->read;
	write = d->write;
	bdev_unlock();
	json_object_set_new(params, "name", json_string(d->v.bdev.name));
	json_object_set_new(params, "base_bdev_name", json_string(vbdev_base_name(&d->v)));
	uuid_dump(&d->v.bdev, params);
	dump_latency(params, "read", &read);
	dump_latency(params, "write", &write);
	json_object_set_new(params, "seed", json_integer((json_int_t)d->seed));
	return "bdev_delay_create";
}

static const struct plx_bdev_ops delay_ops = {
	.product = "Delay disk",
	.submit = delay_submit,
	.supports = vbdev_supports,
	.channel_size = sizeof(struct delay_channel),
	.channel_create = delay_channel_create,
	.channel_destroy = delay_channel_destroy,
	.ready = vbdev_ready,
	.destruct = delay_destruct,
	.dump_config = delay_dump_config,
};

int plx_bdev_delay_create(const char *name, const char *base, const struct plx_bdev_latency *read,
			  const struct plx_bdev_latency *write, uint64_t seed, const uint8_t *uuid,
			  struct plx_bdev **out)
{
	const char *wrong = latency_check(read);
	struct delay *d;
	int rc;

	if (!wrong)
		wrong = latency_check(write);
	if (wrong) {
		plx_log(PLX_LOG_ERR, "bdev", "%s: %s", name, wrong);
		return -EINVAL;
	}
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->read = *read;
	d->write = *write;
	d->seed = seed;
	d->ticks_per_ns = (uint64_t)(((unsigned __int128)plx_tsc_hz() << 32) / 1000000000u);
	rc = vbdev_create(&d->v, name, base, uuid, &delay_ops);
	if (rc) {
		free(d);
		return rc;
	}
	if (out)
		*out = &d->v.bdev;
	return 0;
}

/* bdev_lock() held */
static struct delay *delay_by_name(const char *name)
{
	struct plx_bdev *b = bdev_lookup(name);

	return b && b->ops == &delay_ops ? b->ctx : NULL;
}

int plx_bdev_delay_get(const char *name, struct plx_bdev_latency *read,
		       struct plx_bdev_latency *write)
{
	const struct delay *d;

	bdev_lock();
	d = delay_by_name(name);
	if (d && read)
		*read = d->read;
	if (d && write)
		*write = d->write;
	bdev_unlock();
	return d ? 0 : -ENODEV;
}

int plx_bdev_delay_set(const char *name, const struct plx_bdev_latency *read,
		       const struct plx_bdev_latency *write)
{
	struct delay *d;

	if ((read && latency_check(read)) || (write && latency_check(write)))
		return -EINVAL;
	bdev_lock();
	d = delay_by_name(name);
	if (d && read)
		d->read = *read;
	if (d && write)
		d->write = *write;
	if (d)
		__atomic_add_fetch(&d->generation, 1, __ATOMIC_RELAXED);
	bdev_unlock();
	return d ? 0 : -ENODEV;
}
