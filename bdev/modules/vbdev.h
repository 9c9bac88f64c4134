/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/vbdev.h - what modules that stand on one other device have in common
 *
 * The device takes over its base's geometry; all limits are left to the base, so nothing is split
 * twice.
 */
#ifndef POLLUX_BDEV_VBDEV_H
#define POLLUX_BDEV_VBDEV_H

#include "bdev/bdev_internal.h"

/** struct vbdev - first member of the module's device; @base is open from vbdev_create() to
 *  vbdev_destruct() */
struct vbdev {
	struct plx_bdev bdev;
	struct plx_bdev_desc *base;
};

/**
 * struct vbdev_channel - first member of the module's channel
 * @done: the base has ended an I/O that vbdev_forward() gave it
 */
struct vbdev_channel {
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *base;
	void (*done)(struct plx_bdev_io *io, uint16_t status);
	struct bdev_io_list retry; /* waits for I/O objects of the base */
	struct plx_bdev_wait wait;
};

/* io->mod[0] and [1] are vbdev's: other iovecs to give to the base, and how many. The rest is the
 * module's. */
enum { VBDEV_IOV, VBDEV_IOVCNT, VBDEV_MOD };

/**
 * vbdev_create - open @base, take over its geometry, register as @name
 * @uuid: NULL: made from the name
 * @ops: its ctx is @v; submit, channels, destruct are the module's
 * Return: 0; negative errno with a sentence in the log, and nothing left open
 */
int vbdev_create(struct vbdev *v, const char *name, const char *base, const uint8_t *uuid,
		 const struct plx_bdev_ops *ops);
/** vbdev_destruct - close the base; @v is the module's to free */
void vbdev_destruct(struct vbdev *v);
bool vbdev_supports(void *ctx, enum plx_bdev_io_type t);
int vbdev_ready(void *ctx);
const char *vbdev_base_name(const struct vbdev *v);

int vbdev_channel_create(struct vbdev *v, struct vbdev_channel *c,
			 void (*done)(struct plx_bdev_io *io, uint16_t status));
void vbdev_channel_destroy(struct vbdev_channel *c);

/** vbdev_forward - give @io to the base, now or when it has room; any type but RESET and ABORT */
void vbdev_forward(struct plx_bdev_io *io);
/**
 * vbdev_abort - carry out an ABORT
 * @own: ends @victim, with ABORTED, if the module itself holds it. Return: whether it did
 */
void vbdev_abort(struct plx_bdev_io *abort,
		 bool (*own)(struct vbdev_channel *c, struct plx_bdev_io *victim));
/** vbdev_reset - carry out a RESET, after the module has ended what it holds: end what waits, reset
 *  the base */
void vbdev_reset(struct plx_bdev_io *reset);

/* ---- random numbers: splitmix64, one stream per channel ---- */

struct rng {
	uint64_t state;
};
static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
/** rng_unit - from 0 to below 1 */
static inline double rng_unit(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}
/** rng_stream - the @i-th independent stream of @seed */
static inline struct rng rng_stream(uint64_t seed, uint64_t i)
{
	struct rng a = { seed }, b = { i ^ rng_next(&a) };

	return (struct rng){ rng_next(&b) };
}

#endif
