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
/** latency_two_point - Return: whether it is an average and, for one I/O in a hundred, a longer
 *  one, both whole microseconds: then *@avg_us and *@p99_us */
bool latency_two_point(const struct plx_bdev_latency *l, uint64_t *avg_us, uint64_t *p99_us);
/** latency_from_two_points - Return: NULL, or what is wrong */
const char *latency_from_two_points(struct plx_bdev_latency *l, uint64_t avg_us, uint64_t p99_us);
/** latency_parse - what latency_dump() wrote. Return: NULL, or what is wrong */
const char *latency_parse(const struct json_t *o, struct plx_bdev_latency *l);
/** latency_dump - as a JSON object */
struct json_t *latency_dump(const struct plx_bdev_latency *l);

#endif
