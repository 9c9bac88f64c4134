/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_perf_pattern.c - places by popularity */
#include "perf/perf.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DRAWS	 4000000u

/* Sum of k^-theta for k from 1 to n, the tail by the midpoint rule */
static double zeta(uint64_t n, double theta)
{
	uint64_t exact = n < 100000 ? n : 100000;
	double sum = 0, a = exact + 0.5, b = n + 0.5;

	for (uint64_t k = exact; k; k--)
		sum += pow((double)k, -theta);
	if (n > exact)
		sum += theta == 1 ? log(b / a)
				  : (pow(b, 1 - theta) - pow(a, 1 - theta)) / (1 - theta);
	return sum;
}

/* @seen of DRAWS, where @share was due: six standard deviations, and 1 % for what runs even out */
static void about(uint64_t seen, double share, const char *what, uint64_t n, double theta)
{
	double due = share * DRAWS, room = 6 * sqrt(due) + 0.01 * due + 6;

	cr_assert(fabs((double)seen - due) <= room,
		  "n %lu theta %g: %s was drawn %lu times, not %.0f +- %.0f", n, theta, what, seen,
		  due, room);
}

/* Places of the 64 most popular ranks are few enough to look for in each draw */
static void check_head(uint64_t n, double theta)
{
	struct perf_zipf *z = perf_zipf_create(n, theta);
	unsigned ranks = n < 64 ? (unsigned)n : 64;
	uint64_t rng = 42, seen[64] = { 0 }, place[64];
	double all = zeta(n, theta);

	cr_assert(z != NULL);
	for (unsigned k = 0; k < ranks; k++)
		place[k] = perf_zipf_place(z, k);
	for (unsigned i = 0; i < DRAWS; i++) {
		uint64_t v = perf_zipf_draw(z, perf_random(&rng));

		cr_assert(v < n);
		for (unsigned k = 0; k < ranks; k++) {
			if (v != place[k])
				continue;
			seen[k]++;
			break;
		}
	}
	for (unsigned k = 0; k < ranks; k++) {
		char what[32];

		snprintf(what, sizeof(what), "rank %u", k);
		about(seen[k], pow(k + 1.0, -theta) / all, what, n, theta);
	}
	perf_zipf_destroy(z);
}

Test(perf_pattern, popular_ranks_are_drawn_as_often_as_the_formula_says, .timeout = 120)
{
	static const double thetas[] = { 0.2, 0.99, 1, 1.9 };
	static const uint64_t sizes[] = { 10, 8193, 131072, 1ull << 40 };

	for (size_t i = 0; i < COUNT(thetas); i++)
		check_head(sizes[i], thetas[i]);
	check_head(131072, 0.99);
	check_head(1ull << 40, 0.9);
}

/* Counted by rank through the inverse of perf_zipf_place() */
static void check_tail(uint32_t n, double theta)
{
	struct perf_zipf *z = perf_zipf_create(n, theta);
	uint32_t *rank = calloc(n, sizeof(*rank)), from, to;
	uint64_t rng = 7, *seen = calloc(n, sizeof(*seen));
	double all = zeta(n, theta);

	cr_assert(z != NULL && rank != NULL && seen != NULL);
	for (uint32_t k = 0; k < n; k++)
		rank[perf_zipf_place(z, k)] = k;
	for (unsigned i = 0; i < DRAWS; i++)
		seen[rank[perf_zipf_draw(z, perf_random(&rng))]]++;
	/* in groups that double, and within the last of them in eighths */
	for (from = 0; from < n; from = to) {
		uint64_t sum = 0;
		char what[48];

		to = from < n / 2 ? 2 * from + 1 : from + n / 16 + 1;
		if (to > n)
			to = n;
		for (uint32_t k = from; k < to; k++)
			sum += seen[k];
		snprintf(what, sizeof(what), "ranks %u to %u", from, to - 1);
		about(sum, (zeta(to, theta) - zeta(from, theta)) / all, what, n, theta);
	}
	free(rank);
	free(seen);
	perf_zipf_destroy(z);
}

Test(perf_pattern, unpopular_ranks_are_drawn_as_often_as_the_formula_says, .timeout = 120)
{
	check_tail(5000, 0.7);
	check_tail(8192, 1.2);
	check_tail(8193, 0.99);
	check_tail(100003, 0.5);
	check_tail(1000000, 1);
}

Test(perf_pattern, ranks_and_places_are_one_to_one)
{
	static const uint32_t sizes[] = { 1, 2, 3, 7, 8, 9, 1000, 4096, 4097, 100003 };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct perf_zipf *z = perf_zipf_create(sizes[i], 0.9);
		char *taken = calloc(sizes[i], 1);

		for (uint32_t k = 0; k < sizes[i]; k++) {
			uint64_t at = perf_zipf_place(z, k);

			cr_assert(at < sizes[i], "rank %u of %u is at %lu", k, sizes[i], at);
			cr_assert(not(taken[at]), "two ranks of %u are at %lu", sizes[i], at);
			taken[at] = 1;
		}
		free(taken);
		perf_zipf_destroy(z);
	}
}

Test(perf_pattern, popular_places_are_scattered)
{
	struct perf_zipf *z = perf_zipf_create(1u << 20, 0.99);
	unsigned in_sixteenth[16] = { 0 }, neighbours = 0;

	for (unsigned k = 0; k < 1600; k++) {
		uint64_t at = perf_zipf_place(z, k), next = perf_zipf_place(z, k + 1);

		in_sixteenth[at >> 16]++;
		neighbours += at > next ? at - next < 64 : next - at < 64;
	}
	for (unsigned i = 0; i < 16; i++)
		cr_assert(in_sixteenth[i] > 40 && in_sixteenth[i] < 200,
			  "%u of 1600 in sixteenth %u", in_sixteenth[i], i);
	cr_assert(neighbours < 16, "%u neighbours", neighbours);
	perf_zipf_destroy(z);
}

Test(perf_pattern, the_same_numbers_draw_the_same_places)
{
	struct perf_zipf *a = perf_zipf_create(123456, 0.8), *b = perf_zipf_create(123456, 0.8);
	uint64_t s = 3, t = 3;

	for (int i = 0; i < 1000; i++)
		cr_assert(eq(u64, perf_zipf_draw(a, perf_random(&s)),
			     perf_zipf_draw(b, perf_random(&t))));
	perf_zipf_destroy(a);
	perf_zipf_destroy(b);
}

Test(perf_pattern, extreme_random_bits_stay_inside)
{
	static const uint64_t sizes[] = {
		1, 2, 8192, 8193, 8200, 1ull << 40, (1ull << 40) + 1, 1ull << 48
	};

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct perf_zipf *z = perf_zipf_create(sizes[i], 1.5);

		for (unsigned shift = 0; shift < 64; shift++) {
			cr_assert(perf_zipf_draw(z, ~0ull << shift) < sizes[i]);
			cr_assert(perf_zipf_draw(z, ~0ull >> shift) < sizes[i]);
			cr_assert(perf_zipf_draw(z, 1ull << shift) < sizes[i]);
		}
		cr_assert(perf_zipf_draw(z, 0) < sizes[i]);
		perf_zipf_destroy(z);
	}
}

Test(perf_pattern, impossible_parameters_are_refused)
{
	static const struct {
		uint64_t n;
		double theta;
	} bad[] = {
		{ 0, 0.9 }, { 10, 0 }, { 10, 2 }, { 10, -1 }, { 1ull << 50, 0.9 }, { 10, NAN }
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		errno = 0;
		cr_assert(perf_zipf_create(bad[i].n, bad[i].theta) == NULL);
		cr_assert(eq(int, errno, EINVAL));
	}
}
