/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_perf_series.c - intervals add up to the total */
#include "perf/series.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

static struct perf_config cfg = { .interval_ns = 100000000, .time_ns = 1000000000 };
static struct perf_worker worker = { .scale = { 1ull << 32 },
				     .start_tsc = 1000 }; /* a tick is 1 ns */
static struct perf_job job = { .worker = &worker };
static struct perf_series *series;

static void begin(void)
{
	for (int i = 0; i < 2; i++) {
		job.hist[i] = plx_hist_create(0, 0);
		job.total[i] = plx_hist_create(0, 0);
	}
	series = perf_series_create(&cfg);
}

static void end(void)
{
	for (int i = 0; i < 2; i++) {
		plx_hist_destroy(job.hist[i]);
		plx_hist_destroy(job.total[i]);
	}
	perf_series_destroy(series);
}

static void complete(bool is_read, uint64_t ns)
{
	plx_hist_record(job.hist[is_read], ns);
	job.n.ios[is_read]++;
	job.n.bytes[is_read] += 4096;
}

TestSuite(perf_series, .init = begin, .fini = end);

Test(perf_series, each_interval_has_its_own_figures)
{
	const struct perf_interval *i;

	for (uint64_t v = 1; v <= 1000; v++)
		complete(v & 1, v);
	job.n.errors = 2;
	perf_series_cut(series, &job, 1000, 2000);
	complete(true, 77);
	job.n.errors = 5;
	perf_series_cut(series, &job, 2000, 2500);
	cr_assert(eq(sz, perf_series_count(series), 2));
	i = perf_series_get(series, 0);
	cr_assert(eq(u64, i->ios[0], 500));
	cr_assert(eq(u64, i->bytes[1], 500 * 4096));
	cr_assert(eq(u64, i->errors, 2));
	cr_assert(eq(u64, i->min, 1));
	cr_assert(eq(u64, i->p50, 500));
	cr_assert(eq(u64, i->p90, 900));
	cr_assert(eq(u64, i->p99, 990));
	cr_assert(eq(u64, i->p99_9, 999));
	cr_assert(eq(u64, i->max, 1000));
	cr_assert(epsilon_eq(dbl, i->mean, 500.5, 1e-9));
	cr_assert(epsilon_eq(dbl, i->start_s, 0, 1e-12));
	cr_assert(epsilon_eq(dbl, i->length_s, 1000e-9, 1e-12));
	i = perf_series_get(series, 1);
	cr_assert(eq(u64, i->ios[1], 1));
	cr_assert(eq(u64, i->ios[0], 0));
	cr_assert(eq(u64, i->errors, 3));
	cr_assert(eq(u64, i->p50, 77));
	cr_assert(epsilon_eq(dbl, i->start_s, 1000e-9, 1e-12));
}

Test(perf_series, totals_are_what_was_recorded_and_intervals_begin_empty)
{
	struct plx_hist *wanted = plx_hist_create(0, 0);
	uint64_t rng = 5;

	for (int cut = 0; cut < 20; cut++) {
		for (int k = 0; k < 1000; k++) {
			uint64_t v = perf_random(&rng) >> (24 + k % 40);

			complete(true, v);
			plx_hist_record(wanted, v);
		}
		perf_series_cut(series, &job, 1000 + cut, 1001 + cut);
		cr_assert(eq(u64, job.hist[1]->total, 0));
		cr_assert(eq(u64, job.hist[1]->max, 0));
		for (uint32_t i = 0; i <= job.hist[1]->max_index; i++)
			cr_assert(eq(u64, job.hist[1]->counts[i], 0));
	}
	cr_assert(eq(u64, job.total[1]->total, wanted->total));
	cr_assert(eq(u64, job.total[1]->min, wanted->min));
	cr_assert(eq(u64, job.total[1]->max, wanted->max));
	cr_assert(eq(u64, job.total[1]->overflow, wanted->overflow));
	cr_assert(job.total[1]->sum == wanted->sum);
	for (uint32_t i = 0; i <= wanted->max_index; i++)
		cr_assert(eq(u64, job.total[1]->counts[i], wanted->counts[i]));
	plx_hist_destroy(wanted);
}

Test(perf_series, kept_histograms_add_up_to_the_total)
{
	struct plx_hist *sum = plx_hist_create(0, 0);
	uint64_t rng = 9;

	/* enough to cross the end of a piece of memory */
	for (int cut = 0; cut < 700; cut++) {
		for (int k = 0; k < 1000; k++)
			complete(k & 1, 1 + (perf_random(&rng) >> 40));
		perf_series_cut(series, &job, 1000 + cut, 1001 + cut);
	}
	cr_assert(eq(sz, perf_series_count(series), 700));
	for (size_t i = 0; i < 700; i++)
		cr_assert(eq(int, perf_series_add_to(series, i, sum), 0));
	plx_hist_merge(job.total[0], job.total[1]);
	cr_assert(eq(u64, sum->total, 700000));
	cr_assert(eq(u64, sum->min, job.total[0]->min));
	cr_assert(eq(u64, sum->max, job.total[0]->max));
	for (uint32_t i = 0; i <= sum->max_index; i++)
		cr_assert(eq(u64, sum->counts[i], job.total[0]->counts[i]));
	plx_hist_destroy(sum);
}

Test(perf_series, an_interval_without_io_has_zeros)
{
	struct plx_hist *h = plx_hist_create(0, 0);

	perf_series_cut(series, &job, 1000, 2000);
	cr_assert(eq(u64, perf_series_get(series, 0)->max, 0));
	cr_assert(eq(int, perf_series_add_to(series, 0, h), 0));
	cr_assert(eq(u64, h->total, 0));
	cr_assert(eq(u64, h->min, UINT64_MAX));
	plx_hist_destroy(h);
}

Test(perf_series, memory_is_bounded_and_totals_stay_complete)
{
	struct plx_hist *h = plx_hist_create(0, 0);
	size_t last;

	/* each interval uses thousands of buckets */
	for (int cut = 0; cut < 12000; cut++) {
		for (uint64_t v = 1; v < 4000; v++)
			complete(false, v * 3000);
		perf_series_cut(series, &job, 1000 + cut, 1001 + cut);
	}
	last = perf_series_count(series) - 1;
	cr_assert(eq(sz, last, 11999));
	cr_assert(eq(u64, job.total[0]->total, 12000ull * 3999));
	cr_assert(eq(u64, perf_series_get(series, last)->p50, perf_series_get(series, 0)->p50));
	cr_assert(eq(int, perf_series_add_to(series, 0, h), 0));
	cr_assert(eq(int, perf_series_add_to(series, last, h), -ENOENT));
	cr_assert(eq(u64, h->total, 3999));
	plx_hist_destroy(h);
}

Test(perf_series, nothing_lies_beyond_the_end)
{
	cr_assert(perf_series_get(series, 0) == NULL);
	cr_assert(eq(int, perf_series_add_to(series, 0, job.total[0]), -ENOENT));
}
