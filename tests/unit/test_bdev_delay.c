/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev_delay.c - latencies: their distributions, that they repeat, that I/O takes
 * that long
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>

#include "bdev/modules/latency.h"
#include "bdev_test.h"

TestSuite(bdev_delay, .init = setup, .timeout = 60);

#define DRAWS 100000

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t draws[DRAWS];

/* DRAWS draws, sorted */
static void draw(const struct plx_bdev_latency *l, uint64_t seed)
{
	struct rng r = rng_stream(seed, 0);

	cr_assert_null(latency_check(l));
	for (int i = 0; i < DRAWS; i++)
		draws[i] = latency_draw(l, &r);
	qsort(draws, DRAWS, sizeof(draws[0]), by_value);
}

static double draws_mean(void)
{
	double sum = 0;

	for (int i = 0; i < DRAWS; i++)
		sum += (double)draws[i];
	return sum / DRAWS;
}

static uint64_t percentile(double p)
{
	return draws[(int)(p / 100 * (DRAWS - 1))];
}

#define near(a, b, rel)                                                                            \
	cr_expect(fabs((double)(a) - (double)(b)) <= (rel) * (double)(b), "%g is not near %g",     \
		  (double)(a), (double)(b))

/* ---- distributions ---- */

Test(bdev_delay, fixed_is_fixed)
{
	struct plx_bdev_latency l = { .kind = PLX_LAT_FIXED, .mean_ns = 12345 };

	draw(&l, 1);
	cr_assert_eq(draws[0], 12345);
	cr_assert_eq(draws[DRAWS - 1], 12345);
}

Test(bdev_delay, normal_has_its_mean_and_deviation)
{
	struct plx_bdev_latency l = { .kind = PLX_LAT_NORMAL,
				      .mean_ns = 100000,
				      .sigma_ns = 10000 };

	draw(&l, 2);
	near(draws_mean(), 100000, 0.01);
	near(percentile(50), 100000, 0.01);
	near(percentile(84.134), 110000, 0.01);
	near(percentile(2.275), 80000, 0.01);
}

Test(bdev_delay, normal_is_never_negative)
{
	struct plx_bdev_latency l = { .kind = PLX_LAT_NORMAL, .mean_ns = 1000, .sigma_ns = 100000 };

	draw(&l, 3);
	cr_assert_eq(draws[0], 0);
	cr_assert_lt(draws[DRAWS - 1], 1000000);
}

Test(bdev_delay, lognormal_has_its_median_and_shape)
{
	struct plx_bdev_latency l = { .kind = PLX_LAT_LOGNORMAL, .mean_ns = 80000, .sigma = 0.5 };

	draw(&l, 4);
	near(percentile(50), 80000, 0.02);
	near(percentile(84.134), 80000 * exp(0.5), 0.02);
	near(draws_mean(), 80000 * exp(0.125), 0.02);
	l.sigma = 10;
	draw(&l, 4);
	cr_assert_leq(draws[DRAWS - 1], LATENCY_MAX_NS);
}

Test(bdev_delay, table_is_linear_between_its_points)
{
	struct plx_bdev_latency l = {
		.kind = PLX_LAT_TABLE,
		.points = 4,
		.table = { { 10, 1000 }, { 50, 2000 }, { 99, 10000 }, { 100, 50000 } }
	};

	draw(&l, 5);
	cr_assert_eq(draws[0], 1000);
	cr_assert_eq(percentile(9), 1000);
	near(percentile(30), 1500, 0.02);
	near(percentile(50), 2000, 0.02);
	near(percentile(74.5), 6000, 0.02);
	near(percentile(98), 9837, 0.03);
	near(percentile(99.5), 30000, 0.1);
	cr_assert_leq(draws[DRAWS - 1], 50000);
}

Test(bdev_delay, stalls_come_on_top_as_often_as_asked)
{
	struct plx_bdev_latency l = {
		.kind = PLX_LAT_FIXED, .mean_ns = 1000, .stall_chance = 0.01, .stall_ns = 1000000
	};
	int stalls = 0;

	draw(&l, 6);
	for (int i = 0; i < DRAWS; i++) {
		cr_assert(draws[i] == 1000 || draws[i] == 1001000);
		stalls += draws[i] > 1000;
	}
	near(stalls, DRAWS / 100, 0.15);
}

Test(bdev_delay, a_seed_repeats_and_streams_differ)
{
	struct plx_bdev_latency l = { .kind = PLX_LAT_LOGNORMAL, .mean_ns = 80000, .sigma = 1 };
	struct rng a = rng_stream(42, 3), b = rng_stream(42, 3), c = rng_stream(42, 4),
		   d = rng_stream(43, 3);
	int same_c = 0, same_d = 0;

	for (int i = 0; i < 1000; i++) {
		uint64_t x = latency_draw(&l, &a);

		cr_assert_eq(x, latency_draw(&l, &b));
		same_c += x == latency_draw(&l, &c);
		same_d += x == latency_draw(&l, &d);
	}
	cr_assert_lt(same_c, 5);
	cr_assert_lt(same_d, 5);
}

Test(bdev_delay, impossible_distributions_are_refused)
{
	struct plx_bdev_geometry g = { .blocks = 8, .block_size = 512, .numa = PLX_NUMA_ANY };
	struct plx_bdev_latency none = { .kind = PLX_LAT_NONE };
	struct plx_bdev_latency bad[] = {
		{ .kind = (enum plx_latency_kind)9 },
		{ .kind = PLX_LAT_FIXED, .mean_ns = UINT64_MAX },
		{ .kind = PLX_LAT_LOGNORMAL, .mean_ns = 1, .sigma = -1 },
		{ .kind = PLX_LAT_LOGNORMAL, .mean_ns = 1, .sigma = NAN },
		{ .kind = PLX_LAT_FIXED, .stall_chance = 1.5 },
		{ .kind = PLX_LAT_FIXED, .stall_chance = NAN },
		{ .kind = PLX_LAT_TABLE },
		{ .kind = PLX_LAT_TABLE, .points = 33 },
		{ .kind = PLX_LAT_TABLE, .points = 2, .table = { { 50, 1 }, { 50, 2 } } },
		{ .kind = PLX_LAT_TABLE, .points = 2, .table = { { 50, 2 }, { 60, 1 } } },
		{ .kind = PLX_LAT_TABLE, .points = 1, .table = { { 101, 2 } } },
	};

	cr_assert_eq(plx_bdev_null_create("N", &g, NULL), 0);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		cr_expect_eq(plx_bdev_delay_create("D", "N", &bad[i], &none, 0, NULL, NULL),
			     -EINVAL, "case %zu", i);
		cr_expect_eq(plx_bdev_delay_create("D", "N", &none, &bad[i], 0, NULL, NULL),
			     -EINVAL, "case %zu", i);
	}
	cr_assert_eq(plx_bdev_delay_create("D", "N", &none, &none, 0, NULL, NULL), 0);
}

/* ---- the device ---- */

static struct dev delayed(uint64_t read_ns, uint64_t write_ns)
{
	struct plx_bdev_geometry g = { .blocks = 1000, .block_size = 512, .numa = PLX_NUMA_ANY };
	struct plx_bdev_latency r = { .kind = PLX_LAT_FIXED, .mean_ns = read_ns };
	struct plx_bdev_latency w = { .kind = PLX_LAT_FIXED, .mean_ns = write_ns };

	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	cr_assert_eq(plx_bdev_delay_create("D", "M", &r, &w, 1, NULL, NULL), 0);
	return dev_open("D");
}

static uint64_t elapsed_ns(uint64_t start)
{
	return plx_tsc_to_ns(plx_tsc_scale(), plx_tsc() - start);
}

Test(bdev_delay, io_takes_no_less_than_its_latency_and_data_is_the_bases)
{
	struct dev d = delayed(2000000, 5000000);
	uint8_t a[512], b[512];
	uint64_t start;

	fill(a, 512, 1);
	start = plx_tsc();
	cr_assert_eq(do_write(&d, a, 512, 9, 1), 0);
	cr_assert_geq(elapsed_ns(start), 5000000);
	start = plx_tsc();
	cr_assert_eq(do_read(&d, b, 512, 9, 1), 0);
	cr_assert_geq(elapsed_ns(start), 2000000);
	cr_assert_eq(memcmp(a, b, 512), 0);
	start = plx_tsc();
	cr_assert_eq(io_status(plx_bdev_flush(d.desc, d.ch, 0, 1, on_done, res)), 0);
	cr_assert_geq(elapsed_ns(start), 5000000);
}

struct timed {
	uint64_t start, due, took;
	uint16_t status;
	int calls;
};
static int finished, late;
static uint64_t latest_due;

static void on_timed(struct plx_bdev_io *io, void *arg)
{
	struct timed *t = arg;

	t->took = elapsed_ns(t->start);
	t->status = io->status;
	t->calls++;
	finished++;
	if (io->status)
		return;
	/* by a clear margin after one that was due later: our clock is not quite the device's */
	late += t->due + plx_tsc_hz() / 500 < latest_due;
	if (t->due > latest_due)
		latest_due = t->due;
}

#define DEEP 1024

Test(bdev_delay, a_thousand_in_flight_each_take_their_own_time)
{
	struct plx_bdev_geometry g = { .blocks = 1000, .block_size = 512, .numa = PLX_NUMA_ANY };
	struct plx_bdev_latency l = { .kind = PLX_LAT_TABLE,
				      .points = 2,
				      .table = { { 0, 100000000 }, { 100, 500000000 } } };
	static uint8_t buf[512];
	struct iovec iov = { buf, 512 };
	static struct timed t[DEEP];
	static uint64_t drawn[DEEP];
	struct rng expect = rng_stream(99, 0);
	struct dev d;

	cr_assert_eq(plx_bdev_null_create("N", &g, NULL), 0);
	cr_assert_eq(plx_bdev_delay_create("D", "N", &l, &l, 99, NULL, NULL), 0);
	d = dev_open("D");
	for (int i = 0; i < DEEP; i++) {
		/* the first channel draws the seed's stream 0, in the order of submission */
		drawn[i] = latency_draw(&l, &expect);
		t[i].start = plx_tsc();
		t[i].due = t[i].start + (uint64_t)((double)drawn[i] * (double)plx_tsc_hz() / 1e9);
		cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_timed, &t[i]), 0);
	}
	/* taking some out of the middle leaves the order of the others alone */
	for (int i = 0; i < DEEP; i += 3) {
		if (t[i].calls)
			continue;
		cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &t[i], on_done, res)), 0);
		cr_assert_eq(t[i].status, PLX_BDEV_ST_ABORTED);
	}
	wait_for(finished == DEEP);
	cr_assert_leq(late, 3);
	for (int i = 0; i < DEEP; i++) {
		cr_assert_eq(t[i].calls, 1);
		if (!t[i].status) /* scaling rounds */
			cr_assert_geq(t[i].took + 10, drawn[i]);
	}
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("D"), 0);
	cr_assert_eq(plx_bdev_delete("N"), 0);
}

Test(bdev_delay, io_that_waits_for_its_time_can_be_aborted_and_reset)
{
	struct dev d = delayed(3000000000000ull, 0);
	static uint8_t buf[512];
	struct iovec iov = { buf, 512 };
	struct result a = { 0 }, b = { 0 };

	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), 0);
	for (int i = 0; i < 50; i++)
		cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &b), 0);
	for (int i = 0; i < 10; i++)
		plx_thread_poll(thread);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &a, on_done, res)), 0);
	cr_assert_eq(a.calls, 1);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(b.calls, 0);
	cr_assert_eq(io_status(plx_bdev_reset(d.desc, d.ch, on_done, res)), 0);
	cr_assert_eq(b.calls, 50);
	cr_assert_eq(b.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(do_write(&d, buf, 512, 0, 1), 0);
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("D"), 0);
}

Test(bdev_delay, a_device_goes_when_its_base_goes)
{
	struct dev d = delayed(0, 0);
	static uint8_t buf[512];
	struct iovec iov = { buf, 512 };
	struct result r = { 0 };

	plx_bdev_unregister(plx_bdev_by_name("M"), NULL, NULL);
	wait_for(!plx_bdev_by_name("D"));
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &r), -ENODEV);
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("M"), -ENODEV);
}

Test(bdev_delay, everything_the_base_does_goes_through)
{
	struct dev d = delayed(1000, 1000);
	uint8_t a[1024], b[1024];
	struct iovec ia = { a, 1024 }, ib = { b, 1024 };
	struct plx_bdev_rw rw = { .iov = &ia, .iovcnt = 1, .offset = 100, .blocks = 2 };

	fill(a, 1024, 1);
	fill(b, 1024, 2);
	cr_assert_eq(do_write(&d, a, 1024, 0, 2), 0);
	cr_assert_eq(io_status(plx_bdev_copy(d.desc, d.ch, 100, 0, 2, on_done, res)), 0);
	cr_assert_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_COMPARE, &rw, on_done, res)),
		     0);
	cr_assert_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_VERIFY, &rw, on_done, res)),
		     0);
	cr_assert_eq(io_status(plx_bdev_compare_and_write(d.desc, d.ch, &ia, 1, &ib, 1, 100, 2,
							  on_done, res)),
		     0);
	cr_assert_eq(io_status(plx_bdev_compare_and_write(d.desc, d.ch, &ia, 1, &ib, 1, 100, 2,
							  on_done, res)),
		     PLX_BDEV_ST_MISCOMPARE);
	cr_assert_eq(io_status(plx_bdev_write_zeroes(d.desc, d.ch, 0, 1, on_done, res)), 0);
	cr_assert_eq(io_status(plx_bdev_unmap(d.desc, d.ch, 1, 1, on_done, res)), 0);
	cr_assert_eq(do_read(&d, a, 1024, 0, 2), 0);
	for (int i = 0; i < 1024; i++)
		cr_assert_eq(a[i], 0);
}

static int taken;

static void on_taken(struct plx_bdev_io *io, void *arg)
{
	taken++;
}

Test(bdev_delay, io_waits_when_the_base_has_no_objects_left)
{
	struct dev d = delayed(0, 0), m = dev_open("M");
	static uint8_t buf[512];
	struct iovec iov = { buf, 512 };
	struct result r = { 0 }, gone = { 0 };
	int n = 0;

	while (!plx_bdev_readv(m.desc, m.ch, &iov, 1, 0, 1, on_taken, NULL))
		n++;
	for (int i = 0; i < 100; i++)
		cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &r), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &gone), 0);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &gone, on_done, res)), 0);
	cr_assert_eq(gone.status, PLX_BDEV_ST_ABORTED);
	wait_for(taken == n && r.calls == 100);
	cr_assert_eq(r.status, 0);
}

/* ---- what the RPC methods need ---- */

Test(bdev_delay, latencies_change_under_io)
{
	struct plx_bdev_latency none = { .kind = PLX_LAT_NONE }, now;
	struct plx_bdev_latency bad = { .kind = PLX_LAT_FIXED, .mean_ns = UINT64_MAX };
	struct plx_bdev_latency slow = { .kind = PLX_LAT_FIXED, .mean_ns = 3000000 };
	struct dev d = delayed(3600000000000ull, 1000);
	struct result hour = { 0 };
	uint8_t a[512];
	struct iovec iov = { a, 512 };
	uint64_t start;

	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &hour), 0);
	cr_assert_eq(plx_bdev_delay_set("D", &none, &slow), 0);
	cr_assert_eq(do_read(&d, a, 512, 0, 1), 0);
	start = plx_tsc();
	cr_assert_eq(do_write(&d, a, 512, 0, 1), 0);
	cr_assert_geq(elapsed_ns(start), 3000000);
	cr_assert_eq(hour.calls, 0, "what is under way keeps what it drew");
	cr_assert_eq(plx_bdev_delay_get("D", &now, NULL), 0);
	cr_assert_eq(now.kind, PLX_LAT_NONE);
	cr_assert_eq(plx_bdev_delay_set("D", &bad, NULL), -EINVAL);
	cr_assert_eq(plx_bdev_delay_set("M", &none, NULL), -ENODEV);
	cr_assert_eq(plx_bdev_delay_get("nobody", &now, NULL), -ENODEV);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &hour, on_done, res)), 0);
	wait_for(hour.calls);
}

Test(bdev_delay, an_average_and_a_percentile_make_a_distribution)
{
	struct rng r = rng_stream(1, 0);
	struct plx_bdev_latency l;
	uint64_t avg, p99, longer = 0;

	cr_assert_null(latency_from_two_points(&l, 10, 500));
	cr_assert_null(latency_check(&l));
	cr_assert(latency_two_point(&l, &avg, &p99));
	cr_assert_eq(avg, 10);
	cr_assert_eq(p99, 500);
	for (int i = 0; i < 100000; i++) {
		uint64_t ns = latency_draw(&l, &r);

		cr_assert(ns == 10000 || ns == 500000);
		longer += ns == 500000;
	}
	cr_assert(longer > 800 && longer < 1200, "%lu of 100000", longer);
	cr_assert_not_null(latency_from_two_points(&l, 11, 10));
	cr_assert_not_null(latency_from_two_points(&l, 1, UINT64_MAX));
	l = (struct plx_bdev_latency){ .kind = PLX_LAT_NORMAL, .mean_ns = 1000 };
	cr_assert_not(latency_two_point(&l, &avg, &p99));
}

Test(bdev_delay, distributions_are_read_as_they_are_dumped)
{
	struct plx_bdev_latency all[] = {
		{ .kind = PLX_LAT_NONE },
		{ .kind = PLX_LAT_FIXED, .mean_ns = 1234, .stall_chance = 0.25, .stall_ns = 7 },
		{ .kind = PLX_LAT_NORMAL, .mean_ns = 50, .sigma_ns = 6 },
		{ .kind = PLX_LAT_LOGNORMAL, .mean_ns = 50, .sigma = 0.5 },
		{ .kind = PLX_LAT_TABLE, .points = 2, .table = { { 50, 1 }, { 99.9, 2 } } },
	}, back;
	static const char *const bad[] = {
		"{}",
		"{\"distribution\": \"fast\"}",
		"{\"distribution\": \"fixed\", \"mean_ns\": -1}",
		"{\"distribution\": \"fixed\", \"mean\": 1}",
		"{\"distribution\": \"table\"}",
		"{\"distribution\": \"table\", \"percentiles\": [[1]]}",
		"{\"distribution\": \"table\", \"percentiles\": [[1, 2.5]]}",
		"{\"distribution\": \"lognormal\", \"sigma\": \"a\"}",
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(all); i++) {
		json_t *o = latency_dump(&all[i]);

		cr_assert_null(latency_parse(o, &back), "case %zu", i);
		cr_assert_eq(memcmp(&back, &all[i], sizeof(back)), 0, "case %zu", i);
		json_decref(o);
	}
	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		json_t *o = json_loads(bad[i], 0, NULL);

		cr_expect_not_null(latency_parse(o, &back), "%s", bad[i]);
		json_decref(o);
	}
}
