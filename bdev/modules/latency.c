/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/latency.c - latencies drawn from a distribution
 */
#include <jansson.h>
#include <math.h>

#include "bdev/modules/latency.h"

static const char *check_table(const struct plx_bdev_latency *l)
{
	if (!l->points || l->points > PLX_ARRAY_SIZE(l->table))
		return "a table needs 1 to 32 points";
	for (unsigned i = 0; i < l->points; i++) {
		if (!(l->table[i].percentile >= 0 && l->table[i].percentile <= 100))
			return "percentiles are from 0 to 100";
		if (l->table[i].ns > LATENCY_MAX_NS)
			return "latencies are at most an hour";
		if (i && (l->table[i].percentile <= l->table[i - 1].percentile ||
			  l->table[i].ns < l->table[i - 1].ns))
			return "percentiles and latencies of a table ascend";
	}
	return NULL;
}

const char *latency_check(const struct plx_bdev_latency *l)
{
	if ((unsigned)l->kind > PLX_LAT_TABLE)
		return "there is no such distribution";
	if (l->mean_ns > LATENCY_MAX_NS || l->sigma_ns > LATENCY_MAX_NS ||
	    l->stall_ns > LATENCY_MAX_NS)
		return "latencies are at most an hour";
	if (!(l->stall_chance >= 0 && l->stall_chance <= 1))
		return "the chance of a stall is from 0 to 1";
	if (l->kind == PLX_LAT_LOGNORMAL && !(l->sigma >= 0 && l->sigma <= 10))
		return "sigma of a log-normal distribution is from 0 to 10";
	return l->kind == PLX_LAT_TABLE ? check_table(l) : NULL;
}

/* Standard normal, Box-Muller: two numbers from the stream each time, whatever they are */
static double draw_normal(struct rng *r)
{
	double u = 1.0 - rng_unit(r), v = rng_unit(r); /* u above 0 */

	return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

static double draw_table(const struct plx_bdev_latency *l, struct rng *r)
{
	double p = 100.0 * rng_unit(r), span, part;
	unsigned lo = 0, hi = l->points - 1;

	if (p <= l->table[lo].percentile)
		return (double)l->table[lo].ns;
	if (p >= l->table[hi].percentile)
		return (double)l->table[hi].ns;
	while (hi - lo > 1) {
		unsigned mid = (lo + hi) / 2;

		if (l->table[mid].percentile <= p)
			lo = mid;
		else
			hi = mid;
	}
	span = l->table[hi].percentile - l->table[lo].percentile;
	part = (p - l->table[lo].percentile) / span;
	return (double)l->table[lo].ns + part * (double)(l->table[hi].ns - l->table[lo].ns);
}

uint64_t latency_draw(const struct plx_bdev_latency *l, struct rng *r)
{
	double ns = 0;

	switch (l->kind) {
	case PLX_LAT_NONE:
		break;
	case PLX_LAT_FIXED:
		ns = (double)l->mean_ns;
		break;
	case PLX_LAT_NORMAL:
		ns = (double)l->mean_ns + (double)l->sigma_ns * draw_normal(r);
		break;
	case PLX_LAT_LOGNORMAL:
		ns = (double)l->mean_ns * exp(l->sigma * draw_normal(r));
		break;
	case PLX_LAT_TABLE:
		ns = draw_table(l, r);
		break;
	}
	if (l->stall_chance > 0 && rng_unit(r) < l->stall_chance)
		ns += (double)l->stall_ns;
	if (!(ns > 0))
		return 0;
	return ns < (double)LATENCY_MAX_NS ? (uint64_t)ns : LATENCY_MAX_NS;
}

struct json_t *latency_dump(const struct plx_bdev_latency *l)
{
	static const char *const kinds[] = { "none", "fixed", "normal", "lognormal", "table" };
	json_t *o = json_object();

	json_object_set_new(o, "distribution", json_string(kinds[l->kind]));
	if (l->kind == PLX_LAT_FIXED || l->kind == PLX_LAT_NORMAL || l->kind == PLX_LAT_LOGNORMAL)
		json_object_set_new(o, "mean_ns", json_integer((json_int_t)l->mean_ns));
	if (l->kind == PLX_LAT_NORMAL)
		json_object_set_new(o, "sigma_ns", json_integer((json_int_t)l->sigma_ns));
	if (l->kind == PLX_LAT_LOGNORMAL)
		json_object_set_new(o, "sigma", json_real(l->sigma));
	if (l->kind == PLX_LAT_TABLE) {
		json_t *table = json_array();

		for (unsigned i = 0; i < l->points; i++)
			json_array_append_new(table, json_pack("[f, I]", l->table[i].percentile,
							       (json_int_t)l->table[i].ns));
		json_object_set_new(o, "percentiles", table);
	}
	if (l->stall_chance > 0) {
		json_object_set_new(o, "stall_chance", json_real(l->stall_chance));
		json_object_set_new(o, "stall_ns", json_integer((json_int_t)l->stall_ns));
	}
	return o;
}
