/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev_error.c - faults on order: which I/O they strike, what it suffers, how it
 * comes back
 */
#include <errno.h>
#include <math.h>

#include "bdev_test.h"

TestSuite(bdev_error, .init = setup, .timeout = 60);

#define READ  (1u << PLX_BDEV_READ)
#define WRITE (1u << PLX_BDEV_WRITE)

static struct dev faulty(uint64_t seed)
{
	struct plx_bdev_geometry g = { .blocks = 1000, .block_size = 512, .numa = PLX_NUMA_ANY };

	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	cr_assert_eq(plx_bdev_error_create("E", "M", seed, NULL, NULL), 0);
	return dev_open("E");
}

static void inject(struct plx_bdev_error_rule rule)
{
	cr_assert_eq(plx_bdev_error_inject("E", &rule), 0);
}

static uint64_t injected(enum plx_bdev_error_kind kind)
{
	uint64_t counts[4];

	cr_assert_eq(plx_bdev_error_injected("E", counts), 0);
	return counts[kind];
}

static uint8_t buf[4096];

static uint16_t read1(struct dev *d)
{
	return do_read(d, buf, 512, 0, 1);
}

static uint16_t write1(struct dev *d)
{
	return do_write(d, buf, 512, 0, 1);
}

/* ---- which ---- */

Test(bdev_error, without_rules_everything_goes_through)
{
	struct dev d = faulty(1);
	uint8_t a[512];

	fill(a, 512, 1);
	cr_assert_eq(do_write(&d, a, 512, 3, 1), 0);
	cr_assert_eq(do_read(&d, buf, 512, 3, 1), 0);
	cr_assert_eq(memcmp(a, buf, 512), 0);
	cr_assert_eq(io_status(plx_bdev_flush(d.desc, d.ch, 0, 1, on_done, res)), 0);
}

Test(bdev_error, the_nth_io_of_a_type_fails_with_its_status)
{
	struct dev d = faulty(1);

	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_FAIL,
					     .types = READ,
					     .nth = 3,
					     .status = PLX_BDEV_ST_READ_ERROR });
	for (int i = 1; i <= 10; i++) {
		cr_assert_eq(read1(&d), i == 3 ? PLX_BDEV_ST_READ_ERROR : 0, "read %d", i);
		cr_assert_eq(write1(&d), 0);
	}
	cr_assert_eq(injected(PLX_BDEV_ERR_FAIL), 1);
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_FAIL, .types = WRITE, .nth = 1 });
	cr_assert_eq(write1(&d), PLX_BDEV_ST_INTERNAL);
	cr_assert_eq(write1(&d), 0);
}

static int failures(struct dev *d, int n, uint8_t *which)
{
	int sum = 0;

	for (int i = 0; i < n; i++)
		sum += which[i] = read1(d) != 0;
	return sum;
}

Test(bdev_error, a_share_of_io_fails_and_the_seed_repeats_it)
{
	static uint8_t first[5000], second[5000];
	struct plx_bdev_error_rule rule = { .kind = PLX_BDEV_ERR_FAIL,
					    .types = READ,
					    .share = 0.1 };
	struct dev d = faulty(7);
	int n;

	inject(rule);
	n = failures(&d, 5000, first);
	cr_assert(n > 400 && n < 600, "%d of 5000", n);
	cr_assert_eq(injected(PLX_BDEV_ERR_FAIL), (uint64_t)n);
	for (int again = 0; again < 2; again++) {
		dev_close(&d);
		cr_assert_eq(plx_bdev_delete("E"), 0);
		cr_assert_eq(plx_bdev_error_create("E", "M", again ? 8 : 7, NULL, NULL), 0);
		d = dev_open("E");
		inject(rule);
		failures(&d, 5000, second);
		cr_assert_eq(!memcmp(first, second, sizeof(first)), !again, "seed %d",
			     again ? 8 : 7);
	}
}

Test(bdev_error, a_count_ends_a_rule_and_null_clears_all)
{
	struct dev d = faulty(1);

	inject((struct plx_bdev_error_rule){
		.kind = PLX_BDEV_ERR_FAIL, .types = READ | WRITE, .share = 1, .count = 3 });
	cr_assert_neq(read1(&d), 0);
	cr_assert_neq(write1(&d), 0);
	cr_assert_neq(read1(&d), 0);
	cr_assert_eq(read1(&d), 0);
	cr_assert_eq(injected(PLX_BDEV_ERR_FAIL), 3);
	inject((struct plx_bdev_error_rule){
		.kind = PLX_BDEV_ERR_FAIL, .types = READ, .share = 1 });
	cr_assert_neq(read1(&d), 0);
	cr_assert_eq(plx_bdev_error_inject("E", NULL), 0);
	cr_assert_eq(read1(&d), 0);
	/* a rule that is made anew counts anew */
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_FAIL, .types = READ, .nth = 1 });
	cr_assert_neq(read1(&d), 0);
	cr_assert_eq(plx_bdev_error_inject("E", NULL), 0);
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_FAIL, .types = READ, .nth = 1 });
	cr_assert_neq(read1(&d), 0);
}

Test(bdev_error, a_new_rule_does_not_disturb_the_counting_of_others)
{
	struct dev d = faulty(1);

	cr_assert_eq(plx_bdev_error_inject("E", NULL), 0);
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_FAIL, .types = READ, .nth = 3 });
	cr_assert_eq(read1(&d), 0);
	cr_assert_eq(read1(&d), 0);
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_FAIL, .types = WRITE, .nth = 1 });
	cr_assert_neq(read1(&d), 0);
	cr_assert_neq(write1(&d), 0);
}

Test(bdev_error, impossible_rules_are_refused)
{
	const struct plx_bdev_error_rule good = { .kind = PLX_BDEV_ERR_FAIL,
						  .types = READ,
						  .share = 1 };
	struct plx_bdev_error_rule bad[] = { good, good, good, good, good, good, good, good };
	uint64_t counts[4];

	faulty(1);
	bad[0].types = 0;
	bad[1].types = 1u << PLX_BDEV_RESET;
	bad[2].share = 1.1;
	bad[3].share = NAN;
	bad[4].share = 0;
	bad[5].kind = (enum plx_bdev_error_kind)4;
	bad[6].kind = PLX_BDEV_ERR_CORRUPT;
	bad[6].types = 1u << PLX_BDEV_FLUSH;
	bad[7].status = 0x800;
	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++)
		cr_expect_eq(plx_bdev_error_inject("E", &bad[i]), -EINVAL, "case %zu", i);
	cr_assert_eq(plx_bdev_error_inject("M", &good), -ENODEV);
	cr_assert_eq(plx_bdev_error_inject("nobody", NULL), -ENODEV);
	cr_assert_eq(plx_bdev_error_injected("M", counts), -ENODEV);
	for (int i = 0; i < 16; i++)
		cr_assert_eq(plx_bdev_error_inject("E", &good), 0);
	cr_assert_eq(plx_bdev_error_inject("E", &good), -ENOSPC);
}

/* ---- corruption ---- */

Test(bdev_error, reads_are_corrupted_in_the_callers_buffer_at_the_byte_asked_for)
{
	struct dev d = faulty(1);
	uint8_t a[2048], b[2048];
	struct iovec iov[3] = { { b, 100 }, { b + 100, 1000 }, { b + 1100, 948 } };

	fill(a, sizeof(a), 1);
	cr_assert_eq(do_write(&d, a, sizeof(a), 0, 4), 0);
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_CORRUPT,
					     .types = READ,
					     .nth = 1,
					     .corrupt_offset = 1234,
					     .corrupt_value = 0x10 });
	cr_assert_eq(io_status(plx_bdev_readv(d.desc, d.ch, iov, 3, 0, 4, on_done, res)), 0);
	for (int i = 0; i < 2048; i++)
		cr_assert_eq(b[i], a[i] ^ (i == 1234 ? 0x10 : 0), "byte %d", i);
	cr_assert_eq(io_status(plx_bdev_readv(d.desc, d.ch, iov, 3, 0, 4, on_done, res)), 0);
	cr_assert_eq(memcmp(a, b, sizeof(a)), 0, "the medium is intact");
	cr_assert_eq(injected(PLX_BDEV_ERR_CORRUPT), 1);
}

Test(bdev_error, writes_are_corrupted_on_the_way_and_the_callers_buffer_is_not)
{
	struct dev d = faulty(1);
	uint8_t a[2048], keep[2048], b[2048];
	/* every block and byte position, the last ones wrap */
	static const uint32_t at[] = { 0, 1, 511, 512, 1000, 1024, 2047, 2048, 5000 };

	inject((struct plx_bdev_error_rule){
		.kind = PLX_BDEV_ERR_FAIL, .types = READ, .nth = 1000000 });
	for (size_t c = 0; c < PLX_ARRAY_SIZE(at); c++) {
		struct iovec iov[4] = {
			{ a, 10 }, { a + 10, 600 }, { a + 610, 0 }, { a + 610, 1438 }
		};

		fill(a, sizeof(a), c);
		memcpy(keep, a, sizeof(a));
		cr_assert_eq(plx_bdev_error_inject("E", NULL), 0);
		inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_CORRUPT,
						     .types = WRITE,
						     .nth = 1,
						     .corrupt_offset = at[c] });
		cr_assert_eq(io_status(plx_bdev_writev(d.desc, d.ch, iov, 4, 0, 4, on_done, res)),
			     0);
		cr_assert_eq(memcmp(a, keep, sizeof(a)), 0);
		cr_assert_eq(do_read(&d, b, sizeof(b), 0, 4), 0);
		for (uint32_t i = 0; i < 2048; i++)
			cr_assert_eq(b[i], a[i] ^ (i == at[c] % 2048 ? 0xff : 0),
				     "case %zu byte %u", c, i);
	}
}

/* ---- hanging ---- */

Test(bdev_error, abort_brings_back_what_hangs)
{
	struct dev d = faulty(1);
	struct iovec iov = { buf, 512 };
	struct result a = { 0 }, b = { 0 };

	inject((struct plx_bdev_error_rule){
		.kind = PLX_BDEV_ERR_HANG, .types = READ, .share = 1, .count = 2 });
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &b), 0);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(read1(&d), 0, "other I/O goes on");
	cr_assert_eq(a.calls + b.calls, 0);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &a, on_done, res)), 0);
	cr_assert_eq(a.calls, 1);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(b.calls, 0);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &b, on_done, res)), 0);
	cr_assert_eq(b.calls, 1);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &b, on_done, res)),
		     PLX_BDEV_ST_INTERNAL);
	cr_assert_eq(injected(PLX_BDEV_ERR_HANG), 2);
}

Test(bdev_error, only_reset_brings_back_what_hangs_hard)
{
	struct dev d = faulty(1);
	struct iovec iov = { buf, 512 };
	struct result a = { 0 }, soft = { 0 };

	inject((struct plx_bdev_error_rule){
		.kind = PLX_BDEV_ERR_HANG_HARD, .types = READ, .nth = 1 });
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_HANG, .types = READ, .nth = 2 });
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &soft), 0);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &a, on_done, res)),
		     PLX_BDEV_ST_INTERNAL);
	cr_assert_eq(a.calls, 0);
	cr_assert_eq(io_status(plx_bdev_reset(d.desc, d.ch, on_done, res)), 0);
	cr_assert_eq(a.calls, 1);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(soft.calls, 1);
	cr_assert_eq(read1(&d), 0);
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("E"), 0);
}

Test(bdev_error, reset_brings_back_what_hangs_on_a_removed_device)
{
	struct dev d = faulty(1);
	struct iovec iov = { buf, 512 };
	struct result a = { 0 };

	inject((struct plx_bdev_error_rule){
		.kind = PLX_BDEV_ERR_HANG_HARD, .types = READ, .nth = 1 });
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), 0);
	plx_bdev_unregister(plx_bdev_by_name("M"), NULL, NULL);
	wait_for(!plx_bdev_by_name("E"));
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), -ENODEV);
	cr_assert_eq(io_status(plx_bdev_reset(d.desc, d.ch, on_done, res)), 0);
	cr_assert_eq(a.calls, 1);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	dev_close(&d);
}

Test(bdev_error, abort_and_reset_reach_through_a_stack_of_devices)
{
	struct plx_bdev_latency l = { .kind = PLX_LAT_FIXED, .mean_ns = 1000 };
	struct dev e = faulty(1), d;
	struct iovec iov = { buf, 512 };
	struct result a = { 0 }, b = { 0 };

	cr_assert_eq(plx_bdev_delay_create("D", "E", &l, &l, 1, NULL, NULL), 0);
	d = dev_open("D");
	inject((struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_HANG, .types = READ, .nth = 1 });
	inject((struct plx_bdev_error_rule){
		.kind = PLX_BDEV_ERR_HANG_HARD, .types = READ, .nth = 2 });
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &b), 0);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &a, on_done, res)), 0);
	wait_for(a.calls);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &b, on_done, res)),
		     PLX_BDEV_ST_INTERNAL);
	cr_assert_eq(io_status(plx_bdev_reset(d.desc, d.ch, on_done, res)), 0);
	cr_assert_eq(b.calls, 1);
	cr_assert_eq(b.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(do_read(&d, buf, 512, 0, 1), 0);
	dev_close(&d);
	dev_close(&e);
}

/* ---- rules of the RPC method ---- */

Test(bdev_error, a_rule_may_wait_for_a_queue_depth)
{
	struct plx_bdev_error_rule rule = {
		.kind = PLX_BDEV_ERR_FAIL, .types = READ, .share = 1, .queue_depth = 3
	};
	struct iovec iov = { buf, 512 };
	struct result r[4] = { 0 };
	struct dev d = faulty(1);

	inject(rule);
	cr_assert_eq(read1(&d), 0);
	cr_assert_eq(read1(&d), 0);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &r[i]), 0);
	wait_for(r[0].calls && r[1].calls && r[2].calls && r[3].calls);
	cr_assert_eq(r[0].status, 0);
	cr_assert_eq(r[1].status, 0);
	cr_assert_eq(r[2].status, PLX_BDEV_ST_INTERNAL);
	/* the third had ended at once: the fourth was the third again */
	cr_assert_eq(r[3].status, PLX_BDEV_ST_INTERNAL);
	cr_assert_eq(read1(&d), 0);
}

Test(bdev_error, rules_that_are_used_up_make_room_and_the_others_keep_their_counts)
{
	struct plx_bdev_error_rule once = {
		.kind = PLX_BDEV_ERR_FAIL, .types = WRITE, .share = 1, .count = 1
	};
	struct plx_bdev_error_rule fifth = { .kind = PLX_BDEV_ERR_FAIL, .types = READ, .nth = 5 };
	struct dev d = faulty(1);

	inject(fifth);
	cr_assert_eq(read1(&d), 0);
	cr_assert_eq(read1(&d), 0);
	for (int i = 0; i < 40; i++) {
		inject(once);
		cr_assert_eq(write1(&d), PLX_BDEV_ST_INTERNAL, "round %d", i);
		cr_assert_eq(write1(&d), 0, "round %d", i);
	}
	cr_assert_eq(read1(&d), 0);
	cr_assert_eq(read1(&d), 0);
	cr_assert_eq(read1(&d), PLX_BDEV_ST_INTERNAL);
	for (int i = 0; i < 15; i++)
		inject(once);
	cr_assert_eq(plx_bdev_error_inject("E", &once), -ENOSPC);
}
