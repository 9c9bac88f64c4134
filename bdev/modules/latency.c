/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/latency.c - latencies drawn from a distribution
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

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

/* ---- the two values of the field's method ---- */

#define P99_SHARE 0.01

bool latency_two_point(const struct plx_bdev_latency *l, uint64_t *avg_us, uint64_t *p99_us)
{
	bool stalls = l->stall_chance > 0;

	if (l->kind != PLX_LAT_FIXED || l->mean_ns % 1000 || (stalls && l->stall_ns % 1000) ||
	    (stalls && (l->stall_chance < P99_SHARE || l->stall_chance > P99_SHARE)))
		return false;
	*avg_us = l->mean_ns / 1000;
	*p99_us = *avg_us + (stalls ? l->stall_ns / 1000 : 0);
	return true;
}

const char *latency_from_two_points(struct plx_bdev_latency *l, uint64_t avg_us, uint64_t p99_us)
{
	if (avg_us > LATENCY_MAX_NS / 1000 || p99_us > LATENCY_MAX_NS / 1000)
		return "latencies are at most an hour";
	if (p99_us < avg_us)
		return "the 99th percentile is not below the average: raise it first";
	*l = (struct plx_bdev_latency){ .kind = PLX_LAT_FIXED,
					.mean_ns = avg_us * 1000,
					.stall_chance = p99_us > avg_us ? P99_SHARE : 0,
					.stall_ns = (p99_us - avg_us) * 1000 };
	return NULL;
}

/* ---- JSON ---- */

static const char *const kinds[] = { "none", "fixed", "normal", "lognormal", "table" };

static const char *parse_table(const json_t *a, struct plx_bdev_latency *l)
{
	if (!json_is_array(a) || json_array_size(a) > PLX_ARRAY_SIZE(l->table))
		return "a table needs 1 to 32 points [percentile, ns] as 'percentiles'";
	for (l->points = 0; l->points < json_array_size(a); l->points++) {
		const json_t *p = json_array_get(a, l->points), *ns = json_array_get(p, 1);

		if (json_array_size(p) != 2 || !json_is_number(json_array_get(p, 0)) ||
		    !json_is_integer(ns) || json_integer_value(ns) < 0)
			return "a point of 'percentiles' is [percentile, ns]";
		l->table[l->points].percentile = json_number_value(json_array_get(p, 0));
		l->table[l->points].ns = (uint64_t)json_integer_value(ns);
	}
	return NULL;
}

static const char *parse_member(const char *key, const json_t *v, struct plx_bdev_latency *l)
{
	uint64_t *ns = !strcmp(key, "mean_ns")	  ? &l->mean_ns
		       : !strcmp(key, "sigma_ns") ? &l->sigma_ns
		       : !strcmp(key, "stall_ns") ? &l->stall_ns
						  : NULL;
	double *real = !strcmp(key, "sigma")	      ? &l->sigma
		       : !strcmp(key, "stall_chance") ? &l->stall_chance
						      : NULL;

	if (!strcmp(key, "percentiles"))
		return parse_table(v, l);
	if (ns) {
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return "mean_ns, sigma_ns and stall_ns are whole numbers of nanoseconds";
		*ns = (uint64_t)json_integer_value(v);
	} else if (real) {
		if (!json_is_number(v))
			return "sigma and stall_chance are numbers";
		*real = json_number_value(v);
	} else if (strcmp(key, "distribution")) {
		return "its members are distribution, mean_ns, sigma_ns, sigma, percentiles, "
		       "stall_chance and stall_ns";
	}
	return NULL;
}

const char *latency_parse(const struct json_t *o, struct plx_bdev_latency *l)
{
	const char *kind = json_string_value(json_object_get(o, "distribution")), *key, *wrong;
	unsigned k = 0;
	json_t *v;

	memset(l, 0, sizeof(*l));
	while (kind && k < PLX_ARRAY_SIZE(kinds) && strcmp(kinds[k], kind))
		k++;
	if (!kind || k == PLX_ARRAY_SIZE(kinds))
		return "its 'distribution' is none, fixed, normal, lognormal or table";
	l->kind = (enum plx_latency_kind)k;
	json_object_foreach((json_t *)(uintptr_t)o, key, v)
	{
		wrong = parse_member(key, v, l);
		if (wrong)
			return wrong;
	}
	return latency_check(l);
}

struct json_t *latency_dump(const struct plx_bdev_latency *l)
{
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
