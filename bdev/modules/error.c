/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/error.c - a device with faults: another one, on which rules make I/O fail, lie or
 * hang
 *
 * Rules belong to the device, under bdev_lock(); a channel works on a copy and takes a new one when
 * the device's generation has moved on. Counters are shared, and touched by hits alone.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/modules/geometry.h"
#include "bdev/modules/vbdev.h"

#define RULES_MAX 16
#define KINDS	  4

struct error {
	struct vbdev v;
	uint64_t seed;
	uint32_t channels; /* made so far; atomic */
	uint32_t generation; /* of the rules; atomic */
	unsigned n;
	struct plx_bdev_error_rule rule[RULES_MAX];
	uint32_t born[RULES_MAX]; /* generation that brought the rule: tells it from another */
	uint64_t hits[RULES_MAX]; /* atomic */
	uint64_t injected[KINDS]; /* atomic */
};

struct error_channel {
	struct vbdev_channel c;
	struct rng rng;
	uint32_t generation;
	unsigned n;
	struct plx_bdev_error_rule rule[RULES_MAX];
	uint32_t born[RULES_MAX];
	uint64_t seen[RULES_MAX]; /* I/Os that matched, of this channel */
	struct bdev_io_list hung;
};

/* ERROR_MASK is 0 unless the data is to be corrupted; ERROR_BUF: what a corrupted write goes
 * from */
enum { ERROR_HARD = VBDEV_MOD, ERROR_MASK, ERROR_AT, ERROR_BUF };

/* ---- which I/O ---- */

static plx_noinline void rules_load(struct error *e, struct error_channel *ec)
{
	bdev_lock();
	/* what was counted for rules that stay is kept */
	for (unsigned i = 0; i < e->n; i++)
		if (i >= ec->n || ec->born[i] != e->born[i])
			ec->seen[i] = 0;
	memcpy(ec->rule, e->rule, e->n * sizeof(e->rule[0]));
	memcpy(ec->born, e->born, e->n * sizeof(e->born[0]));
	ec->n = e->n;
	ec->generation = e->generation;
	bdev_unlock();
}

/* All that match count and draw, so that no rule's choice depends on whether another struck. */
static bool rule_strikes(struct error_channel *ec, unsigned i)
{
	const struct plx_bdev_error_rule *r = &ec->rule[i];

	return r->nth ? ++ec->seen[i] == r->nth : rng_unit(&ec->rng) < r->share;
}

static plx_noinline bool deep_enough(const struct plx_bdev_io *io, uint32_t queue_depth)
{
	return channel_in_flight(io->ch) >= queue_depth;
}

static const struct plx_bdev_error_rule *rule_find(struct error *e, struct error_channel *ec,
						   const struct plx_bdev_io *io)
{
	const struct plx_bdev_error_rule *hit = NULL;

	for (unsigned i = 0; i < ec->n; i++) {
		const struct plx_bdev_error_rule *r = &ec->rule[i];

		if (!(r->types & 1u << io->type) ||
		    (r->queue_depth && !deep_enough(io, r->queue_depth)) || !rule_strikes(ec, i) ||
		    hit)
			continue;
		if (!r->count || __atomic_fetch_add(&e->hits[i], 1, __ATOMIC_RELAXED) < r->count)
			hit = r;
	}
	if (hit)
		__atomic_fetch_add(&e->injected[hit->kind], 1, __ATOMIC_RELAXED);
	return hit;
}

/* ---- corruption ---- */

struct corrupt_buf {
	void *block;
	struct iovec iov[];
};

static void flip(const struct iovec *iov, uint64_t at, uint8_t mask)
{
	while (at >= iov->iov_len)
		at -= iov++->iov_len;
	((uint8_t *)iov->iov_base)[at] ^= mask;
}

/* Appends what lies from @from to @to in @iov to @out. Return: the new length of @out */
static int iov_slice(struct iovec *out, int n, const struct iovec *iov, uint64_t from, uint64_t to)
{
	for (uint64_t base = 0; base < to; base += iov++->iov_len) {
		uint64_t lo = from > base ? from - base : 0, hi = to - base;

		if (hi > iov->iov_len)
			hi = iov->iov_len;
		if (lo < hi)
			out[n++] = (struct iovec){ (char *)iov->iov_base + lo, hi - lo };
	}
	return n;
}

/* The caller's buffer stays as it is: the block that changes is copied. */
static bool corrupt_write(struct plx_bdev_io *io)
{
	size_t xfer = plx_bdev_xfer_block(io->bdev, io->check);
	uint64_t start = io->mod[ERROR_AT] - io->mod[ERROR_AT] % xfer;
	struct corrupt_buf *cb =
		malloc(sizeof(*cb) + ((size_t)io->iovcnt + 2) * sizeof(struct iovec));
	struct iovec *block;
	char *to;
	int n;

	if (!cb)
		return false;
	cb->block = plx_dma_alloc(xfer, PLX_PAGE_SIZE, io->bdev->numa);
	if (!cb->block) {
		free(cb);
		return false;
	}
	/* gathered by way of the list that is about to be built */
	n = iov_slice(cb->iov, 0, io->iov, start, start + xfer);
	to = cb->block;
	for (int i = 0; i < n; i++) {
		memcpy(to, cb->iov[i].iov_base, cb->iov[i].iov_len);
		to += cb->iov[i].iov_len;
	}
	n = iov_slice(cb->iov, 0, io->iov, 0, start);
	block = &cb->iov[n++];
	*block = (struct iovec){ cb->block, xfer };
	n = iov_slice(cb->iov, n, io->iov, start + xfer, io->blocks * xfer);
	flip(block, io->mod[ERROR_AT] - start, (uint8_t)io->mod[ERROR_MASK]);
	io->mod[ERROR_BUF] = (uintptr_t)cb;
	io->mod[VBDEV_IOV] = (uintptr_t)cb->iov;
	io->mod[VBDEV_IOVCNT] = (uint64_t)n;
	return true;
}

/* ---- I/O ---- */

static void error_done(struct plx_bdev_io *io, uint16_t status)
{
	if (plx_unlikely(io->mod[ERROR_MASK])) {
		struct corrupt_buf *cb = (struct corrupt_buf *)io->mod[ERROR_BUF];

		if (cb) {
			plx_dma_free(cb->block);
			free(cb);
		} else if (!status) {
			flip(io->iov, io->mod[ERROR_AT], (uint8_t)io->mod[ERROR_MASK]);
		}
	}
	plx_bdev_io_complete(io, status);
}

static plx_noinline void inject(struct plx_bdev_io *io, const struct plx_bdev_error_rule *r)
{
	struct error_channel *ec = io->mch;

	switch (r->kind) {
	case PLX_BDEV_ERR_FAIL:
		plx_bdev_io_complete(io, r->status);
		return;
	case PLX_BDEV_ERR_HANG:
	case PLX_BDEV_ERR_HANG_HARD:
		io->mod[ERROR_HARD] = r->kind == PLX_BDEV_ERR_HANG_HARD;
		io_list_append(&ec->hung, io);
		return;
	case PLX_BDEV_ERR_CORRUPT:
		io->mod[ERROR_MASK] = r->corrupt_value;
		io->mod[ERROR_AT] = r->corrupt_offset % plx_bdev_io_len(io);
		io->mod[ERROR_BUF] = 0;
		if (io->type == PLX_BDEV_WRITE && !corrupt_write(io)) {
			plx_bdev_io_complete(io, PLX_BDEV_ST_INTERNAL);
			return;
		}
		vbdev_forward(io);
		return;
	}
}

static bool hung(const struct error_channel *ec, const struct plx_bdev_io *io)
{
	for (const struct plx_bdev_io *h = ec->hung.head; h; h = h->next)
		if (h == io)
			return true;
	return false;
}

static bool error_own(struct vbdev_channel *c, struct plx_bdev_io *victim)
{
	struct error_channel *ec = (struct error_channel *)c;

	if (!hung(ec, victim) || victim->mod[ERROR_HARD])
		return false;
	io_list_remove(&ec->hung, victim);
	plx_bdev_io_complete(victim, PLX_BDEV_ST_ABORTED);
	return true;
}

static void error_submit(struct plx_bdev_io *io)
{
	struct error_channel *ec = io->mch;
	struct error *e = io->bdev->ctx;
	const struct plx_bdev_error_rule *r;
	struct plx_bdev_io *h;

	if (plx_unlikely(io->type == PLX_BDEV_RESET)) {
		while ((h = io_list_pop(&ec->hung)))
			plx_bdev_io_complete(h, PLX_BDEV_ST_ABORTED);
		vbdev_reset(io);
		return;
	}
	if (plx_unlikely(io->type == PLX_BDEV_ABORT)) {
		vbdev_abort(io, error_own);
		return;
	}
	if (plx_unlikely(__atomic_load_n(&e->generation, __ATOMIC_RELAXED) != ec->generation))
		rules_load(e, ec);
	io->mod[VBDEV_IOV] = 0;
	io->mod[ERROR_MASK] = 0;
	r = ec->n ? rule_find(e, ec, io) : NULL;
	if (plx_unlikely(r != NULL))
		inject(io, r);
	else
		vbdev_forward(io);
}

static int error_channel_create(void *ctx, void *ch)
{
	struct error *e = ctx;
	struct error_channel *ec = ch;

	io_list_init(&ec->hung);
	ec->rng = rng_stream(e->seed, __atomic_fetch_add(&e->channels, 1, __ATOMIC_RELAXED));
	return vbdev_channel_create(&e->v, &ec->c, error_done);
}

static void error_channel_destroy(void *ctx, void *ch)
{
	vbdev_channel_destroy(&((struct error_channel *)ch)->c);
}

/* ---- the device ---- */

static void error_destruct(void *ctx)
{
	struct error *e = ctx;

	vbdev_destruct(&e->v);
	free(e);
}

static const char *error_dump_config(void *ctx, struct json_t *params)
{
	struct error *e = ctx;

	json_object_set_new(params, "name", json_string(e->v.bdev.name));
	json_object_set_new(params, "base_name", json_string(vbdev_base_name(&e->v)));
	uuid_dump(&e->v.bdev, params);
	json_object_set_new(params, "seed", json_integer((json_int_t)e->seed));
	return "bdev_error_create";
}

static const struct plx_bdev_ops error_ops = {
	.product = "Error disk",
	.submit = error_submit,
	.supports = vbdev_supports,
	.channel_size = sizeof(struct error_channel),
	.channel_create = error_channel_create,
	.channel_destroy = error_channel_destroy,
	.ready = vbdev_ready,
	.destruct = error_destruct,
	.dump_config = error_dump_config,
};

int plx_bdev_error_create(const char *name, const char *base, uint64_t seed, const uint8_t *uuid,
			  struct plx_bdev **out)
{
	struct error *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return -ENOMEM;
	e->seed = seed;
	rc = vbdev_create(&e->v, name, base, uuid, &error_ops);
	if (rc) {
		free(e);
		return rc;
	}
	if (out)
		*out = &e->v.bdev;
	return 0;
}

/* ---- rules ---- */

static bool rule_ok(const struct plx_bdev_error_rule *r)
{
	const uint32_t data = 1u << PLX_BDEV_READ | 1u << PLX_BDEV_WRITE;
	const uint32_t all = (1u << PLX_BDEV_RESET) - 1;

	return (unsigned)r->kind < KINDS && r->types && !(r->types & ~all) && r->status <= 0x7ff &&
	       r->share >= 0 && r->share <= 1 && (r->nth || r->share > 0) &&
	       (r->kind != PLX_BDEV_ERR_CORRUPT || !(r->types & ~data));
}

/* bdev_lock() held */
static struct error *error_by_name(const char *name)
{
	struct plx_bdev *b = bdev_lookup(name);

	return b && b->ops == &error_ops ? b->ctx : NULL;
}

/* The first that is used up makes room, else it is one more. */
static unsigned rule_slot(const struct error *e)
{
	unsigned i = 0;

	while (i < e->n && !(e->rule[i].count &&
			     __atomic_load_n(&e->hits[i], __ATOMIC_RELAXED) >= e->rule[i].count))
		i++;
	return i;
}

static int rule_add(struct error *e, const struct plx_bdev_error_rule *rule)
{
	struct plx_bdev_error_rule *r;
	unsigned slot;

	if (!rule) {
		e->n = 0;
		return 0;
	}
	if (!rule_ok(rule))
		return -EINVAL;
	slot = rule_slot(e);
	if (slot == RULES_MAX)
		return -ENOSPC;
	r = &e->rule[slot];
	*r = *rule;
	if (!r->status)
		r->status = PLX_BDEV_ST_INTERNAL;
	if (!r->corrupt_value)
		r->corrupt_value = 0xff;
	__atomic_store_n(&e->hits[slot], 0, __ATOMIC_RELAXED);
	e->born[slot] = e->generation + 1;
	if (slot == e->n)
		e->n++;
	return 0;
}

int plx_bdev_error_inject(const char *name, const struct plx_bdev_error_rule *rule)
{
	struct error *e;
	int rc = -ENODEV;

	bdev_lock();
	e = error_by_name(name);
	if (e) {
		rc = rule_add(e, rule);
		__atomic_add_fetch(&e->generation, 1, __ATOMIC_RELAXED);
	}
	bdev_unlock();
	return rc;
}

int plx_bdev_error_injected(const char *name, uint64_t counts[4])
{
	struct error *e;

	bdev_lock();
	e = error_by_name(name);
	if (e)
		for (int i = 0; i < KINDS; i++)
			counts[i] = __atomic_load_n(&e->injected[i], __ATOMIC_RELAXED);
	bdev_unlock();
	return e ? 0 : -ENODEV;
}
