/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_histogram.c - layout, percentiles and arithmetic of histograms */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <math.h>
#include <pollux/histogram.h>
#include <stdlib.h>

static uint64_t rng_state = 88172645463325252ull;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* Values from 1 to about 10^12, evenly over the orders of magnitude */
static uint64_t random_value(void)
{
	return (1ull << rng() % 40) + rng() % (1ull << rng() % 40);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void assert_equal(const struct plx_hist *a, const struct plx_hist *b)
{
	cr_assert(eq(u64, a->total, b->total));
	cr_assert(eq(u64, a->min, b->min));
	cr_assert(eq(u64, a->max, b->max));
	cr_assert(eq(u64, a->overflow, b->overflow));
	cr_assert(a->sum == b->sum);
	cr_assert(eq(u32, a->max_index, b->max_index));
	for (uint32_t i = 0; i <= a->max_index; i++)
		cr_assert(a->counts[i] == b->counts[i], "counts of index %u differ", i);
}

/* The definition: linear below 2^sub_bits, then per bucket the upper half of the sub-buckets */
static uint32_t index_by_definition(uint32_t sub_bits, uint64_t v)
{
	uint32_t bucket = 0, half = 1u << (sub_bits - 1);

	while (v >> bucket >= 1ull << sub_bits)
		bucket++;
	return bucket == 0 ? (uint32_t)v : (bucket + 1) * half + ((uint32_t)(v >> bucket) - half);
}

Test(histogram, index_is_that_of_the_definition)
{
	for (int digits = 1; digits <= 5; digits++) {
		struct plx_hist *h = plx_hist_create(1000000000000ull, digits);

		for (int bit = 0; bit < 63; bit++)
			for (int d = -1; d <= 1; d++) {
				uint64_t v = (1ull << bit) + (uint64_t)d;

				cr_assert(eq(u32, plx_hist_index(h, v),
					     index_by_definition(h->sub_bits, v)));
			}
		plx_hist_destroy(h);
	}
}

static void assert_error_bound(const struct plx_hist *h, uint64_t v)
{
	uint32_t i = plx_hist_index(h, v);
	uint64_t low = plx_hist_value_at(h, i), high = plx_hist_highest_at(h, i);

	cr_assert(low <= v && v <= high, "%lu is counted from %lu to %lu", v, low, high);
	cr_assert(pow(10, -h->digits) * (double)v >= (double)(high - low),
		  "%lu is counted from %lu to %lu", v, low, high);
	cr_assert(eq(u32, plx_hist_index(h, low), i));
	cr_assert(eq(u32, plx_hist_index(h, high), i));
	cr_assert(eq(u32, plx_hist_index(h, high + 1), i + 1));
}

Test(histogram, error_is_bounded_by_the_digits)
{
	for (int digits = 1; digits <= 5; digits++) {
		struct plx_hist *h = plx_hist_create(1000000000000ull, digits);

		for (int bit = 0; bit < 41; bit++)
			for (int d = -1; d <= 1; d++)
				assert_error_bound(h, (1ull << bit) + (uint64_t)d);
		for (int i = 0; i < 20000; i++)
			assert_error_bound(h, random_value());
		assert_error_bound(h, 1000000000000ull);
		plx_hist_destroy(h);
	}
}

Test(histogram, sub_buckets_are_twice_the_power_of_ten_rounded_up)
{
	static const uint32_t expected[] = { 0, 5, 8, 11, 15, 18 };

	for (int digits = 1; digits <= 5; digits++) {
		struct plx_hist *h = plx_hist_create(0, digits);

		cr_assert(eq(u32, h->sub_bits, expected[digits]));
		plx_hist_destroy(h);
	}
}

Test(histogram, create_refuses_what_it_cannot_track)
{
	static const struct {
		uint64_t highest;
		int digits;
	} bad[] = { { 1, 3 }, { 1000, 6 }, { 1000, -1 }, { UINT64_MAX, 3 }, { 1ull << 63, 3 } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		cr_assert(eq(ptr, plx_hist_create(bad[i].highest, bad[i].digits), NULL));
		cr_assert(eq(int, errno, EINVAL));
	}
}

Test(histogram, defaults_reach_an_hour_at_three_digits)
{
	struct plx_hist *h = plx_hist_create(0, 0);

	plx_hist_record(h, 3600000000000ull);
	cr_assert(eq(u64, h->overflow, 0));
	cr_assert(eq(int, h->digits, 3));
	plx_hist_destroy(h);
}

Test(histogram, percentiles_are_those_of_the_sorted_values)
{
	enum { N = 100000 };
	static const double percentiles[] = {
		0.001, 1, 25, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999
	};
	struct plx_hist *h = plx_hist_create(1ull << 42, 3);
	uint64_t *values = malloc(N * sizeof(*values));

	for (int i = 0; i < N; i++) {
		values[i] = random_value();
		plx_hist_record(h, values[i]);
	}
	qsort(values, N, sizeof(*values), compare_u64);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++) {
		long double rank = ceill((long double)percentiles[i] * N / 100 - 1e-6L);
		uint64_t exact = values[(size_t)rank - 1];
		uint64_t high = plx_hist_highest_at(h, plx_hist_index(h, exact));

		cr_assert(eq(u64, plx_hist_percentile(h, percentiles[i]),
			     high < h->max ? high : h->max),
			  "p%g", percentiles[i]);
	}
	cr_assert(eq(u64, plx_hist_percentile(h, 0), values[0]));
	cr_assert(eq(u64, plx_hist_percentile(h, 100), values[N - 1]));
	free(values);
	plx_hist_destroy(h);
}

Test(histogram, percentile_ranks_are_exact_at_a_million)
{
	struct plx_hist *h = plx_hist_create(0, 3);

	/* 99.9999 % of 10^6 are 999,999 records: the one above must not be reached */
	plx_hist_record_n(h, 10, 999999);
	plx_hist_record(h, 1000);
	cr_assert(eq(u64, plx_hist_percentile(h, 99.9999), 10));
	cr_assert(eq(u64, plx_hist_percentile(h, 99.99991), 1000));
	plx_hist_reset(h);

	/* 10^15 records: beyond what a double times a double would keep apart */
	plx_hist_record_n(h, 10, 999999000000000ull);
	plx_hist_record_n(h, 1000, 1000000000ull);
	cr_assert(eq(u64, plx_hist_percentile(h, 99.9999), 10));
	plx_hist_record_n(h, 1000, 1);
	cr_assert(eq(u64, plx_hist_percentile(h, 99.9999), 1000));
	plx_hist_destroy(h);
}

Test(histogram, percentile_never_exceeds_the_maximum)
{
	struct plx_hist *h = plx_hist_create(0, 3);

	plx_hist_record(h, 1000000);
	cr_assert(eq(u64, plx_hist_percentile(h, 50), 1000000));
	cr_assert(eq(u64, plx_hist_percentile(h, 99.9999), 1000000));
	plx_hist_destroy(h);
}

Test(histogram, empty_reports_zero)
{
	struct plx_hist *h = plx_hist_create(0, 3);

	cr_assert(eq(u64, plx_hist_percentile(h, 50), 0));
	cr_assert(eq(u64, plx_hist_percentile(h, 100), 0));
	cr_assert(plx_hist_mean(h) == 0 && plx_hist_stddev(h) == 0);
	cr_assert(eq(u64, h->min, UINT64_MAX));
	plx_hist_destroy(h);
}

Test(histogram, values_above_the_range_are_clamped_and_counted)
{
	struct plx_hist *h = plx_hist_create(1000000, 3);

	plx_hist_record(h, 1000000);
	cr_assert(eq(u64, h->overflow, 0));
	plx_hist_record(h, 5000000);
	plx_hist_record_n(h, UINT64_MAX, 2);

	cr_assert(eq(u64, h->overflow, 3));
	cr_assert(eq(u64, h->total, 4));
	cr_assert(eq(u64, h->counts[h->max_index], 4));
	cr_assert(eq(u64, h->max, UINT64_MAX));
	cr_assert(h->sum == (unsigned __int128)UINT64_MAX * 2 + 6000000);
	cr_assert(eq(u64, plx_hist_percentile(h, 99), UINT64_MAX),
		  "only the maximum bounds what was clamped");
	plx_hist_destroy(h);
}

Test(histogram, merge_equals_recording_both)
{
	struct plx_hist *a = plx_hist_create(0, 3), *b = plx_hist_create(0, 3),
			*both = plx_hist_create(0, 3);

	for (int i = 0; i < 10000; i++) {
		uint64_t v = random_value() * 8;

		plx_hist_record(i % 3 ? a : b, v);
		plx_hist_record(both, v);
	}
	cr_assert(both->overflow > 0, "clamped values are part of the test");
	cr_assert(eq(int, plx_hist_merge(a, b), 0));
	assert_equal(a, both);
	plx_hist_destroy(a);
	plx_hist_destroy(b);
	plx_hist_destroy(both);
}

Test(histogram, merge_into_fewer_digits_or_another_range_equals_recording_there)
{
	static const struct {
		uint64_t highest;
		int digits;
	} dst[] = { { 1ull << 42, 2 }, { 1ull << 42, 1 }, { 1ull << 50, 4 } };

	for (size_t k = 0; k < sizeof(dst) / sizeof(dst[0]); k++) {
		struct plx_hist *a = plx_hist_create(1ull << 42, 4);
		struct plx_hist *b = plx_hist_create(dst[k].highest, dst[k].digits);
		struct plx_hist *direct = plx_hist_create(dst[k].highest, dst[k].digits);

		for (int i = 0; i < 10000; i++) {
			uint64_t v = random_value();

			plx_hist_record(a, v);
			plx_hist_record(direct, v);
		}
		cr_assert(eq(int, plx_hist_merge(b, a), 0));
		assert_equal(b, direct);
		plx_hist_destroy(a);
		plx_hist_destroy(b);
		plx_hist_destroy(direct);
	}
}

Test(histogram, merge_into_more_digits_keeps_percentiles)
{
	struct plx_hist *a = plx_hist_create(1ull << 42, 2), *b = plx_hist_create(1ull << 42, 5);

	for (int i = 0; i < 10000; i++)
		plx_hist_record(a, random_value());
	cr_assert(eq(int, plx_hist_merge(b, a), 0));
	for (double p = 0; p <= 100; p += 0.5)
		cr_assert(eq(u64, plx_hist_percentile(b, p), plx_hist_percentile(a, p)), "p%g", p);
	plx_hist_destroy(a);
	plx_hist_destroy(b);
}

Test(histogram, merge_refuses_what_cannot_be_tracked)
{
	struct plx_hist *small = plx_hist_create(1000, 3), *large = plx_hist_create(0, 3);

	plx_hist_record(small, 500);
	plx_hist_record(large, 7);
	plx_hist_record(large, 1000000);
	cr_assert(eq(int, plx_hist_merge(small, large), -ERANGE));
	cr_assert(eq(u64, small->total, 1));
	cr_assert(eq(u64, small->counts[7], 0));
	cr_assert(eq(u64, small->max, 500));

	plx_hist_record(small, 1000000);
	cr_assert(eq(int, plx_hist_merge(large, small), -ERANGE),
		  "where clamped values belong is not known");
	plx_hist_destroy(small);
	plx_hist_destroy(large);
}

Test(histogram, subtract_undoes_merge)
{
	struct plx_hist *a = plx_hist_create(0, 3), *b = plx_hist_create(0, 3),
			*copy = plx_hist_create(0, 3);

	for (int i = 0; i < 10000; i++) {
		uint64_t v = 1000 + rng() % 1000000;

		plx_hist_record(a, v);
		plx_hist_record(copy, v);
		plx_hist_record(b, 2000 + rng() % 100000);
	}
	cr_assert(eq(int, plx_hist_merge(a, b), 0));
	cr_assert(eq(int, plx_hist_subtract(a, b), 0));
	assert_equal(a, copy);
	plx_hist_destroy(a);
	plx_hist_destroy(b);
	plx_hist_destroy(copy);
}

Test(histogram, subtract_narrows_minimum_and_maximum)
{
	struct plx_hist *a = plx_hist_create(0, 3), *b = plx_hist_create(0, 3);

	plx_hist_record(b, 10);
	plx_hist_record(b, 10000000);
	plx_hist_merge(a, b);
	plx_hist_record(a, 500);
	plx_hist_record(a, 700);
	cr_assert(eq(int, plx_hist_subtract(a, b), 0));
	cr_assert(eq(u64, a->min, 500));
	cr_assert(eq(u64, a->max, 700));
	cr_assert(a->sum == 1200);

	plx_hist_reset(b);
	plx_hist_record(b, 500);
	plx_hist_record(b, 700);
	cr_assert(eq(int, plx_hist_subtract(a, b), 0));
	cr_assert(eq(u64, a->total, 0));
	cr_assert(eq(u64, a->min, UINT64_MAX));
	cr_assert(eq(u64, a->max, 0));
	plx_hist_destroy(a);
	plx_hist_destroy(b);
}

Test(histogram, subtract_below_zero_changes_nothing)
{
	struct plx_hist *a = plx_hist_create(0, 3), *b = plx_hist_create(0, 3),
			*copy = plx_hist_create(0, 3);

	for (uint64_t v = 1; v < 1000; v++) {
		plx_hist_record(a, v * 17);
		plx_hist_record(copy, v * 17);
		plx_hist_record(b, v * 17);
	}
	plx_hist_record(b, 999 * 17);
	cr_assert(eq(int, plx_hist_subtract(a, b), -ERANGE));
	assert_equal(a, copy);
	plx_hist_destroy(a);
	plx_hist_destroy(b);
	plx_hist_destroy(copy);
}

Test(histogram, mean_is_exact_and_deviation_is_that_of_the_values)
{
	struct plx_hist *h = plx_hist_create(0, 3);
	double squares = 0;

	for (uint64_t v = 1; v <= 1000; v++)
		plx_hist_record(h, v * 1000);
	for (int v = 1; v <= 1000; v++)
		squares += (v * 1000 - 500500.0) * (v * 1000 - 500500.0);
	cr_assert(plx_hist_mean(h) == 500500.0);
	cr_assert(fabs(plx_hist_stddev(h) / sqrt(squares / 1000) - 1) < 1e-3);

	plx_hist_reset(h);
	plx_hist_record_n(h, 123456789, 1000);
	cr_assert(plx_hist_mean(h) == 123456789.0);
	cr_assert(plx_hist_stddev(h) == 0);
	plx_hist_destroy(h);
}

Test(histogram, reset_leaves_nothing_behind)
{
	struct plx_hist *h = plx_hist_create(1000000, 3), *fresh = plx_hist_create(1000000, 3);

	plx_hist_record(h, 0);
	plx_hist_record(h, 999);
	plx_hist_record(h, 2000000);
	plx_hist_reset(h);
	assert_equal(h, fresh);
	plx_hist_destroy(h);
	plx_hist_destroy(fresh);
}
