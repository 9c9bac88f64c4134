/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/latency.h - latencies drawn from a distribution
 */
#ifndef POLLUX_BDEV_LATENCY_H
#define POLLUX_BDEV_LATENCY_H

#include "bdev/modules/vbdev.h"

/** LATENCY_MAX_NS - no draw is longer: an hour */
#define LATENCY_MAX_NS 3600000000000ull

/** latency_check - Return: NULL, or what is wrong with it */
const char *latency_check(const struct plx_bdev_latency *l);
/** latency_draw - Return: ns; 0 for PLX_LAT_NONE without a stall. @l has passed latency_check() */
uint64_t latency_draw(const struct plx_bdev_latency *l, struct rng *r);
/** latency_dump - as a JSON object */
struct json_t *latency_dump(const struct plx_bdev_latency *l);

#endif
