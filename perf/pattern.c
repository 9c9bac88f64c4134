/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/pattern.c - places by popularity: the k-th most popular of n is drawn with a share of
 * k^-theta / sum(i^-theta)
 *
 * A draw is a look-up in an alias table (Walker's method) of 8,192 outcomes. The first 4,096
 * outcomes are the most popular ranks, each exactly. Each of the others stands for a run of ranks,
 * from which one is taken uniformly; run lengths grow geometrically. The longest space, 2^40
 * places, makes a run's last rank half a percent higher than its first, so that popularity inside a
 * run is even to that; in a space of 8,192 or fewer every rank is exact.
 *
 * Ranks are scattered over the space by a permutation: popular places are no neighbours.
 */
#include "perf/perf.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define OUTCOMES 8192u
#define EXACT	 4096u
#define BITS	 13 /* of an outcome's index */

/* 48 bits: the share of the table's slot that is the slot's own outcome; 16 bits: the outcome of
 * the rest */
typedef uint64_t slot_t;

struct perf_zipf {
	uint32_t exact; /* outcomes that are one rank each */
	unsigned half; /* bits that the permutation folds */
	uint64_t n, mask; /* mask: the space, rounded up to a power of two */
	slot_t slots[OUTCOMES];
	uint64_t first[OUTCOMES - EXACT + 1]; /* of each run; one more: the end */
};

/* Sum of k^-theta for ranks a to b - 1, counted from 1: midpoint rule, good to theta(theta+1) / 24
 * a^2 */
static double mass(double a, double b, double theta)
{
	double from = a - 0.5, ratio = log1p((b - a) / from), s = 1 - theta;

	if (fabs(s) < 1e-9)
		return ratio;
	return pow(from, s) * expm1(s * ratio) / s;
}

/* Run i begins at EXACT * g^i, and each holds a rank at least */
static void lay_out_runs(struct perf_zipf *z, uint32_t runs)
{
	double step = log((double)z->n / z->exact) / runs;

	z->first[0] = z->exact;
	for (uint32_t i = 1; i < runs; i++) {
		uint64_t at = (uint64_t)(z->exact * exp(step * i));
		uint64_t least = z->first[i - 1] + 1, most = z->n - (runs - i);

		z->first[i] = at < least ? least : at > most ? most : at;
	}
	z->first[runs] = z->n;
}

/* Walker's table from the outcomes' shares: slots that own too little get their rest from one that
 * has too much */
static int fill_slots(struct perf_zipf *z, double *p, uint32_t outcomes)
{
	uint16_t *small = calloc(2 * (size_t)OUTCOMES, sizeof(*small)), *large = small + OUTCOMES;
	uint32_t ns = 0, nl = 0;

	if (!small)
		return -ENOMEM;
	for (uint32_t i = 0; i < OUTCOMES; i++) {
		if (i < outcomes && p[i] >= 1)
			large[nl++] = (uint16_t)i;
		else
			small[ns++] = (uint16_t)i;
	}
	while (ns && nl) {
		uint16_t s = small[--ns], l = large[nl - 1];

		z->slots[s] = (uint64_t)(p[s] * 0x1p48) << 16 | l;
		p[l] -= 1 - p[s];
		if (p[l] < 1) {
			nl--;
			small[ns++] = l;
		}
	}
	/* what rounding left over is whole; but a slot without an outcome of its own must never
	 * answer */
	while (nl) {
		uint16_t l = large[--nl];

		z->slots[l] = ~0ull << 16 | l;
	}
	while (ns) {
		uint16_t s = small[--ns];

		z->slots[s] = s < outcomes ? ~0ull << 16 | s : 0;
	}
	free(small);
	return 0;
}

struct perf_zipf *perf_zipf_create(uint64_t n, double theta)
{
	struct perf_zipf *z;
	double *p, sum = 0;
	uint32_t runs, outcomes;

	if (!n || n > 1ull << 48 || !(theta > 0 && theta < 2)) {
		errno = EINVAL;
		return NULL;
	}
	z = calloc(1, sizeof(*z));
	p = calloc(OUTCOMES, sizeof(*p));
	if (!z || !p)
		goto no_memory;
	z->n = n;
	z->exact = n <= OUTCOMES ? (uint32_t)n : EXACT;
	runs = n <= OUTCOMES ? 0 : OUTCOMES - EXACT;
	outcomes = z->exact + runs;
	z->mask = n > 1 ? ~0ull >> __builtin_clzll(n - 1) : 0;
	z->half = n > 1 ? (64 - (unsigned)__builtin_clzll(n - 1) + 1) / 2 : 1;
	if (runs)
		lay_out_runs(z, runs);
	for (uint32_t i = 0; i < z->exact; i++)
		sum += p[i] = pow(i + 1.0, -theta);
	for (uint32_t i = 0; i < runs; i++)
		sum += p[z->exact + i] =
			mass((double)z->first[i] + 1, (double)z->first[i + 1] + 1, theta);
	for (uint32_t i = 0; i < outcomes; i++)
		p[i] *= OUTCOMES / sum;
	if (fill_slots(z, p, outcomes))
		goto no_memory;
	free(p);
	return z;

no_memory:
	free(p);
	free(z);
	errno = ENOMEM;
	return NULL;
}

void perf_zipf_destroy(struct perf_zipf *z)
{
	free(z);
}

static inline uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ull;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

/* Every step has an inverse within the mask, so this is a permutation; results beyond n go round
 * again */
uint64_t perf_zipf_place(const struct perf_zipf *z, uint64_t rank)
{
	uint64_t x = rank;

	do {
		x = (x * 0x9e3779b97f4a7c15ull + 0x7f4a7c15) & z->mask;
		x ^= x >> z->half;
		x = x * 0xbf58476d1ce4e5b9ull & z->mask;
		x ^= x >> z->half;
	} while (x >= z->n);
	return x;
}

uint64_t perf_zipf_draw(const struct perf_zipf *z, uint64_t random)
{
	uint64_t i = random >> (64 - BITS), part = random << BITS, rank;
	slot_t slot = z->slots[i];

	if (part >> 16 >= slot >> 16)
		i = slot & 0xffff;
	rank = i;
	if (i >= z->exact) {
		uint64_t first = z->first[i - z->exact],
			 length = z->first[i - z->exact + 1] - first;

		rank = first + (uint64_t)(((unsigned __int128)mix(random) * length) >> 64);
	}
	return perf_zipf_place(z, rank);
}
