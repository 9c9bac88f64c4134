/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev.c - the block layer: registry, channels, submission, waiting, recursion,
 * removal, reset, abort, statistics
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>

#include "bdev_test.h"

TestSuite(bdev, .init = setup, .timeout = 60);

static const struct plx_bdev_geometry small = { .blocks = 1000,
						.block_size = 512,
						.numa = PLX_NUMA_ANY };

static struct plx_bdev_stat stat_got;
static int stat_calls;

static void on_stat(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg)
{
	stat_got = *s;
	stat_calls++;
}

static const struct plx_bdev_stat *get_stat(struct plx_bdev *b)
{
	stat_calls = 0;
	cr_assert_eq(plx_bdev_get_stat(b, on_stat, NULL), 0);
	wait_for(stat_calls == 1);
	return &stat_got;
}

/* ---- a device whose I/O ends when the test says so ---- */

struct manual {
	struct plx_bdev bdev;
	struct plx_bdev_io *queue; /* last in, first out */
	int queued;
	int destructed;
	int channels;
	uint32_t native;
};

static void manual_submit(struct plx_bdev_io *io)
{
	struct manual *m = io->bdev->ctx;

	if (io->type == PLX_BDEV_RESET) {
		struct plx_bdev_io *q;

		while ((q = m->queue)) {
			m->queue = q->next;
			m->queued--;
			plx_bdev_io_complete(q, PLX_BDEV_ST_ABORTED);
		}
		plx_bdev_io_complete(io, 0);
		return;
	}
	if (io->type == PLX_BDEV_ABORT) {
		uint16_t st = PLX_BDEV_ST_INTERNAL;

		for (struct plx_bdev_io **p = &m->queue; *p;) {
			struct plx_bdev_io *q = *p;

			if (q->arg != io->abort_arg) {
				p = &q->next;
				continue;
			}
			*p = q->next;
			m->queued--;
			plx_bdev_io_complete(q, PLX_BDEV_ST_ABORTED);
			st = 0;
		}
		plx_bdev_io_complete(io, st);
		return;
	}
	io->next = m->queue;
	m->queue = io;
	m->queued++;
}

static void manual_finish(struct manual *m, uint16_t status)
{
	struct plx_bdev_io *io = m->queue;

	cr_assert_not_null(io);
	m->queue = io->next;
	m->queued--;
	plx_bdev_io_complete(io, status);
}

static bool manual_supports(void *ctx, enum plx_bdev_io_type t)
{
	return ((struct manual *)ctx)->native & 1u << t;
}

static int manual_channel_create(void *ctx, void *mch)
{
	((struct manual *)ctx)->channels++;
	return 0;
}

static void manual_channel_destroy(void *ctx, void *mch)
{
	((struct manual *)ctx)->channels--;
}

static void manual_destruct(void *ctx)
{
	((struct manual *)ctx)->destructed++;
}

static const struct plx_bdev_ops manual_ops = {
	.product = "Manual disk",
	.submit = manual_submit,
	.supports = manual_supports,
	.channel_size = 64,
	.channel_create = manual_channel_create,
	.channel_destroy = manual_channel_destroy,
	.destruct = manual_destruct,
};

static void manual_register(struct manual *m, uint32_t native)
{
	memset(m, 0, sizeof(*m));
	strcpy(m->bdev.name, "Manual0");
	m->bdev.ops = &manual_ops;
	m->bdev.ctx = m;
	m->bdev.blocks = 1000;
	m->bdev.block_size = 512;
	m->bdev.numa = PLX_NUMA_ANY;
	m->native = native;
	cr_assert_eq(plx_bdev_register(&m->bdev), 0);
}

#define NATIVE_RW  (1u << PLX_BDEV_READ | 1u << PLX_BDEV_WRITE)
#define NATIVE_ALL (NATIVE_RW | 1u << PLX_BDEV_RESET | 1u << PLX_BDEV_ABORT)

/* ---- registry ---- */

Test(bdev, names_and_aliases_are_unique_and_found)
{
	struct manual m;
	struct plx_bdev other;
	struct plx_bdev_desc *d;

	manual_register(&m, NATIVE_RW);
	other = m.bdev;
	cr_assert_eq(plx_bdev_register(&other), -EEXIST);
	strcpy(other.name, "Other");
	strcpy(other.alias, "Manual0");
	cr_assert_eq(plx_bdev_register(&other), -EEXIST);
	strcpy(other.alias, "nick");
	cr_assert_eq(plx_bdev_register(&other), 0);

	cr_assert_eq(plx_bdev_by_name("nick"), &other);
	cr_assert_eq(plx_bdev_open("nobody", false, NULL, NULL, &d), -ENODEV);
	cr_assert_eq(plx_bdev_open("nick", false, NULL, NULL, &d), 0);
	cr_assert_eq(plx_bdev_desc_bdev(d), &other);
	plx_bdev_close(d);
	cr_assert_eq(plx_bdev_first(), &m.bdev);
	cr_assert_eq(plx_bdev_next(&m.bdev), &other);
	cr_assert_null(plx_bdev_next(&other));
}

Test(bdev, impossible_geometry_is_refused)
{
	struct manual m;
	struct plx_bdev b;

	manual_register(&m, NATIVE_RW);
	b = m.bdev;
	strcpy(b.name, "x");
	b.alias[0] = '\0';
	memset(b.uuid, 0, sizeof(b.uuid));
#define REFUSED(field, value)                                                                      \
	do {                                                                                       \
		struct plx_bdev c = b;                                                             \
		c.field = (value);                                                                 \
		cr_assert_eq(plx_bdev_register(&c), -EINVAL, #field " = " #value);                 \
	} while (0)
	REFUSED(block_size, 0);
	REFUSED(block_size, 256);
	REFUSED(block_size, 513);
	REFUSED(block_size, 131072);
	REFUSED(blocks, 0);
	REFUSED(blocks, UINT64_MAX / 512 + 1);
	REFUSED(name[0], 0);
	REFUSED(align, 3);
	REFUSED(dif, PLX_BDEV_DIF_TYPE1);
	REFUSED(md_interleaved, true);
	REFUSED(ops, NULL);
	cr_assert_eq(plx_bdev_register(&b), 0);
}

Test(bdev, uuid_follows_from_the_name)
{
	struct plx_bdev *a, *b;
	uint8_t first[16];

	cr_assert_eq(plx_bdev_null_create("A", &small, &a), 0);
	cr_assert_eq(plx_bdev_null_create("B", &small, &b), 0);
	cr_assert_neq(memcmp(a->uuid, b->uuid, 16), 0);
	memcpy(first, a->uuid, 16);
	cr_assert_eq(plx_bdev_delete("A"), 0);
	cr_assert_eq(plx_bdev_null_create("A", &small, &a), 0);
	cr_assert_eq(memcmp(a->uuid, first, 16), 0);
}

Test(bdev, io_types_have_names_and_statuses_have_senses)
{
	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++)
		cr_assert_eq(plx_bdev_io_type_parse(
				     plx_bdev_io_type_name((enum plx_bdev_io_type)t)),
			     t);
	cr_assert_eq(plx_bdev_io_type_parse("reed"), -EINVAL);

	struct plx_scsi_sense s = plx_bdev_scsi_sense(PLX_BDEV_ST_LBA_RANGE);
	cr_assert(s.status == 2 && s.key == 5 && s.asc == 0x21 && s.ascq == 0);
	s = plx_bdev_scsi_sense(PLX_BDEV_ST_GUARD);
	cr_assert(s.status == 2 && s.key == 0xb && s.asc == 0x10 && s.ascq == 1);
	s = plx_bdev_scsi_sense(PLX_BDEV_OK);
	cr_assert(s.status == 0 && s.key == 0);
	s = plx_bdev_scsi_sense(0x7ff);
	cr_assert(s.status == 2 && s.key == 4);
}

/* ---- checks ---- */

Test(bdev, ranges_and_iovecs_are_checked_before_the_module_sees_them)
{
	static char buf[8192];
	struct iovec iov[3] = { { buf, 512 }, { buf + 512, 512 }, { buf + 1024, 512 } };
	struct manual m;
	struct dev d;
	struct result r = { 0 };
	const struct {
		uint64_t offset, blocks;
		int iovcnt;
		size_t len0;
	} bad[] = {
		{ 0, 0, 1, 0 }, /* empty */
		{ 999, 2, 2, 512 }, /* past the end */
		{ 1000, 1, 1, 512 }, /* behind it */
		{ UINT64_MAX, 1, 1, 512 }, /* would wrap */
		{ UINT64_MAX - 1, 3, 3, 512 }, /* wraps */
		{ 1, UINT64_MAX, 1, 512 }, /* wraps */
		{ 0, 1, 1, 511 }, /* too short */
		{ 0, 1, 1, 513 }, /* too long */
		{ 0, 2, 3, 512 }, /* one iovec too many */
		{ 0, 3, 2, 512 }, /* one too few */
		{ 0, 1, 0, 512 }, /* none */
		{ 0, 1, -1, 512 }, /* fewer than none */
		{ 0, 1ull << 55, 1, 0 }, /* 2^64 bytes */
		{ 0, 2, 2, SIZE_MAX - 512 + 1024 }, /* adds up only modulo 2^64 */
	};

	manual_register(&m, NATIVE_RW);
	d = dev_open("Manual0");
	/* by way of the fast path, too, which needs an object that has been used before */
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, iov, 1, 0, 1, on_done, &r), 0);
	manual_finish(&m, 0);
	r.calls = 0;
	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		iov[0].iov_len = bad[i].len0;
		cr_expect_eq(plx_bdev_readv(d.desc, d.ch, iov, bad[i].iovcnt, bad[i].offset,
					    bad[i].blocks, on_done, &r),
			     -EINVAL, "case %zu", i);
		cr_expect_eq(plx_bdev_writev(d.desc, d.ch, iov, bad[i].iovcnt, bad[i].offset,
					     bad[i].blocks, on_done, &r),
			     -EINVAL, "case %zu", i);
	}
	cr_assert_eq(m.queued, 0);
	iov[0].iov_len = 512;
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, iov, 1, 999, 1, on_done, &r), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, iov, 3, 997, 3, on_done, &r), 0);
	cr_assert_eq(m.queued, 2);
	cr_assert_eq(r.calls, 0);
	manual_finish(&m, 0);
	manual_finish(&m, 0);
	cr_assert_eq(r.calls, 2);
	dev_close(&d);
}

Test(bdev, read_only_descriptors_do_not_write)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct plx_bdev_rw rw = { .iov = &iov, .iovcnt = 1, .blocks = 1 };
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *ch;
	struct result r = { 0 };

	cr_assert_eq(plx_bdev_null_create("Null0", &small, NULL), 0);
	cr_assert_eq(plx_bdev_open("Null0", false, NULL, NULL, &desc), 0);
	ch = plx_bdev_get_channel(desc);
	cr_assert_eq(plx_bdev_writev(desc, ch, &iov, 1, 0, 1, on_done, &r), -EBADF);
	cr_assert_eq(plx_bdev_rw_ext(desc, ch, PLX_BDEV_WRITE, &rw, on_done, &r), -EBADF);
	cr_assert_eq(plx_bdev_unmap(desc, ch, 0, 1, on_done, &r), -EBADF);
	cr_assert_eq(plx_bdev_write_zeroes(desc, ch, 0, 1, on_done, &r), -EBADF);
	cr_assert_eq(plx_bdev_copy(desc, ch, 0, 8, 1, on_done, &r), -EBADF);
	cr_assert_eq(plx_bdev_compare_and_write(desc, ch, &iov, 1, &iov, 1, 0, 1, on_done, &r),
		     -EBADF);
	cr_assert_eq(plx_bdev_readv(desc, ch, &iov, 1, 0, 1, on_done, &r), 0);
	cr_assert_eq(plx_bdev_writev(desc, ch, &iov, 1, 0, 1, on_done, &r), -EBADF);
	cr_assert_eq(plx_bdev_rw_ext(desc, ch, PLX_BDEV_FLUSH, &rw, on_done, &r), -EINVAL);
	cr_assert_eq(r.calls, 1);
}

Test(bdev, what_neither_module_nor_layer_can_do_is_not_supported)
{
	struct manual m;
	struct dev d;
	struct result r = { 0 };

	manual_register(&m, 1u << PLX_BDEV_READ);
	m.bdev.write_cache = true;
	d = dev_open("Manual0");
	cr_assert_not(plx_bdev_supports(&m.bdev, PLX_BDEV_COPY));
	cr_assert_not(plx_bdev_supports(&m.bdev, (enum plx_bdev_io_type)99));
	cr_assert(plx_bdev_supports(&m.bdev, PLX_BDEV_COMPARE));
	cr_assert_eq(plx_bdev_copy(d.desc, d.ch, 0, 8, 1, on_done, &r), -ENOTSUP);
	cr_assert_eq(plx_bdev_unmap(d.desc, d.ch, 0, 1, on_done, &r), -ENOTSUP);
	cr_assert_eq(plx_bdev_write_zeroes(d.desc, d.ch, 0, 1, on_done, &r), -ENOTSUP);
	cr_assert_eq(plx_bdev_flush(d.desc, d.ch, 0, 1, on_done, &r), -ENOTSUP);
	m.bdev.write_cache = false;
	cr_assert_eq(plx_bdev_flush(d.desc, d.ch, 0, 1, on_done, &r), 0);
	cr_assert_eq(r.calls, 1);
	cr_assert_eq(r.status, 0);
}

/* ---- channels ---- */

Test(bdev, channels_are_counted_per_thread)
{
	struct plx_thread *other = plx_thread_create("other");
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *a, *b, *c;
	struct manual m;

	manual_register(&m, NATIVE_RW);
	cr_assert_eq(plx_bdev_open("Manual0", true, NULL, NULL, &desc), 0);
	plx_thread_enter(NULL);
	errno = 0;
	cr_assert_null(plx_bdev_get_channel(desc));
	cr_assert_eq(errno, EPERM);
	plx_thread_enter(thread);
	a = plx_bdev_get_channel(desc);
	b = plx_bdev_get_channel(desc);
	cr_assert_eq(a, b);
	plx_thread_enter(other);
	c = plx_bdev_get_channel(desc);
	cr_assert_neq(a, c);
	cr_assert_eq(m.channels, 2);
	plx_bdev_put_channel(c);
	cr_assert_eq(m.channels, 1);
	plx_thread_enter(thread);
	plx_bdev_put_channel(a);
	cr_assert_eq(m.channels, 1);
	plx_bdev_put_channel(b);
	cr_assert_eq(m.channels, 0);
	plx_bdev_close(desc);
	plx_thread_destroy(other);
}

static struct dev put_dev;

static void put_in_callback(struct plx_bdev_io *io, void *arg)
{
	dev_close(&put_dev);
	cr_assert_eq(io->status, 0); /* still there */
	*(bool *)arg = true;
}

Test(bdev, a_callback_may_put_the_channel_and_close)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct manual m;
	bool called = false;

	manual_register(&m, NATIVE_RW);
	put_dev = dev_open("Manual0");
	cr_assert_eq(plx_bdev_readv(put_dev.desc, put_dev.ch, &iov, 1, 0, 1, put_in_callback,
				    &called),
		     0);
	manual_finish(&m, 0);
	cr_assert(called);
	wait_for(m.channels == 0);
	plx_bdev_unregister(&m.bdev, NULL, NULL);
	cr_assert_eq(m.destructed, 1);
}

/* ---- waiting for objects ---- */

struct waiter {
	struct plx_bdev_wait w;
	struct dev *d;
	struct iovec *iov;
	struct result *r;
	int called;
	int submit;
};

static void on_room(void *arg)
{
	struct waiter *w = arg;

	w->called++;
	if (w->submit)
		cr_assert_eq(plx_bdev_readv(w->d->desc, w->d->ch, w->iov, 1, 0, 1, on_done, w->r),
			     0);
}

static int submit_until_full(struct dev *d, struct iovec *iov, struct result *r)
{
	int n = 0, rc;

	while (!(rc = plx_bdev_readv(d->desc, d->ch, iov, 1, 0, 1, on_done, r)))
		cr_assert_lt(++n, 100000);
	cr_assert_eq(rc, -ENOMEM);
	return n;
}

Test(bdev, an_empty_pool_returns_enomem_and_waiters_are_called_in_order)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct manual m;
	struct dev d;
	struct result r = { 0 };
	struct waiter a = { .d = &d, .iov = &iov, .r = &r, .submit = 1 }, b = a, c = a;
	int n;

	manual_register(&m, NATIVE_RW);
	d = dev_open("Manual0");
	n = submit_until_full(&d, &iov, &r);
	cr_assert_geq(n, 2048);
	a.w.cb = b.w.cb = c.w.cb = on_room;
	a.w.arg = &a;
	b.w.arg = &b;
	c.w.arg = &c;
	cr_assert_eq(plx_bdev_queue_wait(d.ch, &a.w), 0);
	cr_assert_eq(plx_bdev_queue_wait(d.ch, &b.w), 0);
	cr_assert_eq(plx_bdev_queue_wait(d.ch, &c.w), 0);
	plx_bdev_cancel_wait(d.ch, &b.w);
	plx_bdev_cancel_wait(d.ch, &b.w); /* harmless */

	manual_finish(&m, 0);
	cr_assert_eq(a.called, 1);
	cr_assert_eq(c.called, 0);
	manual_finish(&m, 0);
	cr_assert_eq(c.called, 1);
	cr_assert_eq(b.called, 0);
	cr_assert_eq(m.queued, n);
	while (m.queued)
		manual_finish(&m, 0);
	cr_assert_eq(r.calls, n + 2);
	cr_assert_eq(submit_until_full(&d, &iov, &r), n, "every object came back");
	while (m.queued)
		manual_finish(&m, 0);
	dev_close(&d);
}

Test(bdev, a_waiter_is_called_even_when_nothing_is_in_flight)
{
	struct manual m;
	struct dev d;
	struct waiter a = { .w.cb = on_room };

	manual_register(&m, NATIVE_RW);
	d = dev_open("Manual0");
	a.w.arg = &a;
	cr_assert_eq(plx_bdev_queue_wait(d.ch, &a.w), 0);
	cr_assert_eq(a.called, 0);
	wait_for(a.called == 1);
}

/* ---- recursion ---- */

struct chain {
	struct dev d;
	struct iovec iov;
	int left, depth, deepest, done;
};

static void chain_next(struct chain *c);

static void chain_done(struct plx_bdev_io *io, void *arg)
{
	struct chain *c = arg;

	c->done++;
	if (c->left)
		chain_next(c);
}

static void chain_next(struct chain *c)
{
	c->left--;
	c->depth++;
	if (c->depth > c->deepest)
		c->deepest = c->depth;
	cr_assert_eq(plx_bdev_readv(c->d.desc, c->d.ch, &c->iov, 1, 0, 1, chain_done, c), 0);
	c->depth--;
}

Test(bdev, callbacks_that_submit_do_not_pile_up_on_the_stack)
{
	static char buf[512];
	struct chain c = { .iov = { buf, 512 }, .left = 10000 };

	cr_assert_eq(plx_bdev_null_create("Null0", &small, NULL), 0);
	c.d = dev_open("Null0");
	chain_next(&c);
	cr_assert_lt(c.done, 10, "the rest waits for turns");
	wait_for(c.done == 10000);
	cr_assert_leq(c.deepest, PLX_BDEV_MAX_DEPTH + 1);
	dev_close(&c.d);
}

/* ---- removal, resize ---- */

struct owner {
	struct dev d;
	int removed, resized;
};

static void on_event(enum plx_bdev_event e, struct plx_bdev *b, void *arg)
{
	struct owner *o = arg;

	cr_assert_eq(plx_thread_current(), thread);
	if (e == PLX_BDEV_EVENT_REMOVE)
		o->removed++;
	else
		o->resized++;
}

static void on_unregistered(void *arg, int rc)
{
	*(int *)arg = 1 + rc;
}

Test(bdev, removal_tells_owners_fails_new_io_and_waits_for_them_to_close)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct plx_bdev_desc *late;
	struct manual m;
	struct owner o = { 0 };
	struct result r = { 0 };
	int gone = 0;

	manual_register(&m, NATIVE_RW);
	cr_assert_eq(plx_bdev_open("Manual0", true, on_event, &o, &o.d.desc), 0);
	o.d.ch = plx_bdev_get_channel(o.d.desc);
	cr_assert_eq(plx_bdev_readv(o.d.desc, o.d.ch, &iov, 1, 0, 1, on_done, &r), 0);

	plx_bdev_unregister(&m.bdev, on_unregistered, &gone);
	wait_for(o.removed == 1);
	cr_assert_eq(plx_bdev_open("Manual0", true, NULL, NULL, &late), -ENODEV);
	cr_assert_null(plx_bdev_first());
	cr_assert_eq(plx_bdev_readv(o.d.desc, o.d.ch, &iov, 1, 0, 1, on_done, &r), -ENODEV);
	cr_assert_eq(plx_bdev_flush(o.d.desc, o.d.ch, 0, 1, on_done, &r), -ENODEV);
	cr_assert_eq(m.destructed, 0);
	manual_finish(&m, 0);
	cr_assert_eq(r.calls, 1);
	dev_close(&o.d);
	wait_for(gone);
	cr_assert_eq(gone, 1);
	cr_assert_eq(m.destructed, 1);
	cr_assert_eq(m.channels, 0);
}

Test(bdev, delete_waits_and_says_when_the_device_is_still_open)
{
	struct plx_bdev_desc *desc;

	cr_assert_eq(plx_bdev_delete("Null0"), -ENODEV);
	cr_assert_eq(plx_bdev_null_create("Null0", &small, NULL), 0);
	cr_assert_eq(plx_bdev_delete("Null0"), 0);
	cr_assert_eq(plx_bdev_null_create("Null0", &small, NULL), 0);
	cr_assert_eq(plx_bdev_open("Null0", true, NULL, NULL, &desc), 0);
	cr_assert_eq(plx_bdev_delete("Null0"), -EBUSY);
	cr_assert_null(plx_bdev_by_name("Null0"));
	plx_bdev_close(desc);
	plx_thread_poll(thread);
	cr_assert_eq(plx_bdev_null_create("Null0", &small, NULL), 0);
}

Test(bdev, resize_grows_open_devices_and_tells_their_owners)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct owner o = { 0 };
	struct result r = { 0 };
	struct plx_bdev *b;

	cr_assert_eq(plx_bdev_null_create("Null0", &small, &b), 0);
	cr_assert_eq(plx_bdev_open("Null0", true, on_event, &o, &o.d.desc), 0);
	o.d.ch = plx_bdev_get_channel(o.d.desc);
	cr_assert_eq(plx_bdev_readv(o.d.desc, o.d.ch, &iov, 1, 1500, 1, on_done, &r), -EINVAL);
	cr_assert_eq(plx_bdev_resize(b, 500), -EBUSY);
	cr_assert_eq(plx_bdev_resize(b, 0), -EINVAL);
	cr_assert_eq(plx_bdev_resize(b, 2000), 0);
	cr_assert_eq(plx_bdev_readv(o.d.desc, o.d.ch, &iov, 1, 1500, 1, on_done, &r), 0);
	wait_for(o.resized == 1);
	dev_close(&o.d);
	cr_assert_eq(plx_bdev_resize(b, 500), 0);
}

/* ---- abort, reset ---- */

Test(bdev, abort_ends_the_io_of_one_argument)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct manual m;
	struct dev d;
	struct result a = { 0 }, b = { 0 };

	manual_register(&m, NATIVE_ALL);
	d = dev_open("Manual0");
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 1, 1, on_done, &b), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 2, 1, on_done, &a), 0);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &a, on_done, res)), 0);
	cr_assert_eq(a.calls, 2);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(b.calls, 0);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &a, on_done, res)),
		     PLX_BDEV_ST_INTERNAL);
	manual_finish(&m, 0);
	cr_assert_eq(b.status, 0);
}

Test(bdev, abort_ends_an_io_that_was_cut_in_pieces)
{
	static char buf[512 * 64];
	struct iovec iov = { buf, sizeof(buf) };
	struct manual m;
	struct dev d;
	struct result a = { 0 };

	manual_register(&m, NATIVE_ALL);
	m.bdev.max_rw_blocks = 2;
	d = dev_open("Manual0");
	cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &iov, 1, 0, 64, on_done, &a), 0);
	cr_assert_gt(m.queued, 1);
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &a, on_done, res)), 0);
	cr_assert_eq(a.calls, 1);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(m.queued, 0);
}

Test(bdev, reset_ends_what_hangs_and_lets_new_io_wait_meanwhile)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct manual m;
	struct dev d;
	struct result a = { 0 }, rs = { 0 }, later = { 0 };

	manual_register(&m, NATIVE_ALL);
	d = dev_open("Manual0");
	for (int i = 0; i < 10; i++)
		cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &iov, 1, (uint64_t)i, 1, on_done, &a),
			     0);
	cr_assert_eq(plx_bdev_reset(d.desc, d.ch, on_done, &rs), 0);
	wait_for(rs.calls);
	cr_assert_eq(rs.status, 0);
	cr_assert_eq(a.calls, 10);
	cr_assert_eq(a.status, PLX_BDEV_ST_ABORTED);
	cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &iov, 1, 0, 1, on_done, &later), 0);
	cr_assert_eq(m.queued, 1);
	manual_finish(&m, 0);
	cr_assert_eq(later.calls, 1);
	cr_assert_eq(later.status, 0);
}

Test(bdev, abort_and_reset_work_when_every_object_hangs)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct manual m;
	struct dev d;
	struct result hung = { 0 }, none = { 0 };
	int n;

	manual_register(&m, NATIVE_ALL);
	d = dev_open("Manual0");
	for (int round = 0; round < 100; round++) {
		hung.calls = 0;
		n = submit_until_full(&d, &iov, &hung);
		/* finds nothing, and gives back what it took from the reserve */
		cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &none, on_done, res)),
			     PLX_BDEV_ST_INTERNAL);
		cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &none), -ENOMEM,
			     "the reserve is not for reads");
		cr_assert_eq(io_status(plx_bdev_reset(d.desc, d.ch, on_done, res)), 0);
		cr_assert_eq(hung.calls, n);
	}
	cr_assert_eq(none.calls, 0);
}

Test(bdev, a_reset_that_the_module_does_not_know_waits_for_what_is_in_flight)
{
	static char buf[512];
	struct iovec iov = { buf, 512 };
	struct manual m;
	struct dev d;
	struct result a = { 0 }, held = { 0 }, gone = { 0 }, rs = { 0 };

	manual_register(&m, NATIVE_RW);
	d = dev_open("Manual0");
	cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &iov, 1, 0, 1, on_done, &a), 0);
	cr_assert_eq(plx_bdev_reset(d.desc, d.ch, on_done, &rs), 0);
	cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &iov, 1, 1, 1, on_done, &held), 0);
	cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &iov, 1, 2, 1, on_done, &gone), 0);
	for (int i = 0; i < 10; i++)
		plx_thread_poll(thread);
	cr_assert_eq(rs.calls, 0);
	cr_assert_eq(m.queued, 1, "new I/O is kept from the module");
	cr_assert_eq(io_status(plx_bdev_abort(d.desc, d.ch, &gone, on_done, res)), 0);
	cr_assert_eq(gone.status, PLX_BDEV_ST_ABORTED);
	manual_finish(&m, 0);
	wait_for(rs.calls);
	cr_assert_eq(m.queued, 1, "what waited goes on");
	manual_finish(&m, 0);
	cr_assert_eq(held.calls, 1);
	cr_assert_eq(held.status, 0);
	dev_close(&d);
}

struct worker {
	struct plx_thread *t;
	struct plx_bdev_desc *desc;
	int stop, ready;
	uint64_t ok, aborted;
};

static void worker_done(struct plx_bdev_io *io, void *arg)
{
	struct worker *w = arg;

	if (io->status)
		w->aborted++;
	else
		w->ok++;
}

static void *worker_main(void *arg)
{
	char buf[512];
	struct worker *w = arg;
	struct iovec iov = { buf, 512 };
	struct plx_bdev_channel *ch;
	uint64_t submitted = 0;

	plx_thread_enter(w->t);
	ch = plx_bdev_get_channel(w->desc);
	__atomic_store_n(&w->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		if (submitted - w->ok - w->aborted < 32) {
			int rc = plx_bdev_readv(w->desc, ch, &iov, 1, submitted % 1000, 1,
						worker_done, w);

			if (rc == -ENODEV)
				break;
			submitted += !rc;
		}
		plx_thread_poll(w->t);
	}
	while (w->ok + w->aborted < submitted)
		plx_thread_poll(w->t);
	plx_bdev_put_channel(ch);
	plx_thread_poll(w->t);
	return NULL;
}

static void workers_start(struct worker *w, pthread_t *os, int n, struct plx_bdev_desc *desc)
{
	for (int i = 0; i < n; i++) {
		w[i] = (struct worker){ .t = plx_thread_create("worker"), .desc = desc };
		pthread_create(&os[i], NULL, worker_main, &w[i]);
	}
	for (int i = 0; i < n; i++)
		wait_for(__atomic_load_n(&w[i].ready, __ATOMIC_ACQUIRE));
}

static void workers_join(struct worker *w, pthread_t *os, int n)
{
	for (int i = 0; i < n; i++) {
		pthread_join(os[i], NULL);
		plx_thread_destroy(w[i].t);
	}
}

Test(bdev, resets_and_statistics_work_while_other_threads_do_io)
{
	struct worker w[2];
	pthread_t os[2];
	uint64_t ops = 0;
	struct plx_bdev *b;
	struct dev d;

	cr_assert_eq(plx_bdev_malloc_create("M", &small, &b), 0);
	d = dev_open("M");
	workers_start(w, os, 2, d.desc);
	for (int i = 0; i < 50; i++) {
		cr_assert_eq(io_status(plx_bdev_reset(d.desc, d.ch, on_done, res)), 0);
		cr_assert_geq(get_stat(b)->ops[PLX_BDEV_READ], ops);
		ops = stat_got.ops[PLX_BDEV_READ];
	}
	for (int i = 0; i < 2; i++)
		__atomic_store_n(&w[i].stop, 1, __ATOMIC_RELEASE);
	workers_join(w, os, 2);
	cr_assert_eq(get_stat(b)->ops[PLX_BDEV_READ], w[0].ok + w[1].ok);
	cr_assert(w[0].ok && w[1].ok);
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev, removal_stops_the_io_of_other_threads)
{
	struct worker w[2];
	pthread_t os[2];
	struct plx_bdev *b;
	struct owner o = { 0 };

	cr_assert_eq(plx_bdev_malloc_create("M", &small, &b), 0);
	cr_assert_eq(plx_bdev_open("M", true, on_event, &o, &o.d.desc), 0);
	workers_start(w, os, 2, o.d.desc);
	plx_bdev_unregister(b, NULL, NULL);
	/* nobody tells them to stop but the device */
	workers_join(w, os, 2);
	wait_for(o.removed == 1);
	plx_bdev_close(o.d.desc);
}

/* ---- statistics ---- */

Test(bdev, statistics_count_operations_bytes_errors_and_depth)
{
	static char buf[4096];
	struct iovec iov = { buf, 4096 };
	struct manual m;
	struct dev d;
	struct result r = { 0 };
	const struct plx_bdev_stat *s;
	uint64_t start;

	manual_register(&m, NATIVE_RW);
	d = dev_open("Manual0");
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 8, on_done, &r), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 8, on_done, &r), 0);
	iov.iov_len = 512;
	cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &iov, 1, 0, 1, on_done, &r), 0);
	cr_assert_eq(plx_bdev_flush(d.desc, d.ch, 0, 1, on_done, &r), 0);
	cr_assert_eq(get_stat(&m.bdev)->queue_depth, 3);
	plx_thread_poll(thread);
	start = plx_tsc();
	while (plx_tsc() - start < plx_tsc_hz() / 1000)
		plx_thread_poll(thread);
	manual_finish(&m, PLX_BDEV_ST_WRITE_FAULT);
	manual_finish(&m, 0);
	manual_finish(&m, 0);
	plx_thread_poll(thread);
	s = get_stat(&m.bdev);
	cr_assert_eq(s->queue_depth, 0);
	cr_assert_eq(s->ops[PLX_BDEV_READ], 2);
	cr_assert_eq(s->bytes[PLX_BDEV_READ], 8192);
	cr_assert_eq(s->errors[PLX_BDEV_READ], 0);
	cr_assert_eq(s->ops[PLX_BDEV_WRITE], 1);
	cr_assert_eq(s->bytes[PLX_BDEV_WRITE], 512);
	cr_assert_eq(s->errors[PLX_BDEV_WRITE], 1);
	cr_assert_eq(s->ops[PLX_BDEV_FLUSH], 1);
	cr_assert_geq(s->latency_tsc[PLX_BDEV_WRITE], plx_tsc_hz() / 1000 * 9 / 10);
	cr_assert_geq(s->latency_tsc[PLX_BDEV_READ], 2 * s->latency_tsc[PLX_BDEV_WRITE] * 9 / 10);
	/* a channel that is gone is not forgotten */
	dev_close(&d);
	cr_assert_eq(get_stat(&m.bdev)->ops[PLX_BDEV_READ], 2);
}

/* ---- configuration ---- */

static void dump_is(struct plx_bdev *b, const char *method, const char *want)
{
	json_t *params = json_object();
	char *text;

	cr_assert_str_eq(b->ops->dump_config(b->ctx, params), method);
	json_object_del(params, "uuid");
	text = json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS);
	cr_expect_str_eq(text, want);
	free(text);
	json_decref(params);
}

Test(bdev, modules_name_the_call_that_would_make_the_device_again)
{
	struct plx_bdev_latency fixed = { .kind = PLX_LAT_FIXED, .mean_ns = 80000 };
	struct plx_bdev_latency none = { .kind = PLX_LAT_NONE };
	struct plx_bdev_geometry g = { .blocks = 100,
				       .block_size = 4096,
				       .md_size = 8,
				       .dif = PLX_BDEV_DIF_TYPE1,
				       .numa = -1 };
	struct plx_bdev *b;

	cr_assert_eq(plx_bdev_null_create("N", &small, &b), 0);
	dump_is(b, "bdev_null_create", "{\"block_size\":512,\"name\":\"N\",\"num_blocks\":1000}");
	cr_assert_eq(plx_bdev_malloc_create("M", &g, &b), 0);
	dump_is(b, "bdev_malloc_create",
		"{\"block_size\":4096,\"dif_is_head_of_md\":false,\"dif_type\":1,\"md_interleave\":"
		"false,"
		"\"md_size\":8,\"name\":\"M\",\"num_blocks\":100,\"populate\":false}");
	cr_assert_eq(plx_bdev_delete("M"), 0);
	g.populate = true;
	cr_assert_eq(plx_bdev_malloc_create("M", &g, &b), 0);
	dump_is(b, "bdev_malloc_create",
		"{\"block_size\":4096,\"dif_is_head_of_md\":false,\"dif_type\":1,\"md_interleave\":"
		"false,"
		"\"md_size\":8,\"name\":\"M\",\"num_blocks\":100}");
	cr_assert_eq(plx_bdev_delay_create("D", "N", &fixed, &none, 7, NULL, &b), 0);
	dump_is(b, "bdev_delay_create",
		"{\"avg_read_latency\":80,\"base_bdev_name\":\"N\",\"name\":\"D\",\"p99_read_"
		"latency\":80,"
		"\"seed\":7,\"write_latency\":{\"distribution\":\"none\"}}");
	cr_assert_eq(plx_bdev_error_create("E", "N", 1, NULL, &b), 0);
	dump_is(b, "bdev_error_create", "{\"base_name\":\"N\",\"name\":\"E\",\"seed\":1}");
}

Test(bdev, modules_refuse_impossible_parameters)
{
	struct plx_bdev_geometry g = small;

	g.block_size = 1000;
	cr_assert_eq(plx_bdev_null_create("N", &g, NULL), -EINVAL);
	cr_assert_eq(plx_bdev_malloc_create("N", &g, NULL), -EINVAL);
	g = small;
	g.md_size = 5;
	cr_assert_eq(plx_bdev_malloc_create("N", &g, NULL), -EINVAL);
	g = small;
	g.blocks = UINT64_MAX;
	cr_assert_eq(plx_bdev_malloc_create("N", &g, NULL), -EINVAL);
	g.blocks = 1ull << 53;
	cr_assert_eq(plx_bdev_malloc_create("N", &g, NULL), -ENOMEM);
	cr_assert_eq(plx_bdev_null_create("", &small, NULL), -EINVAL);
	cr_assert_eq(plx_bdev_null_create("N", &small, NULL), 0);
	cr_assert_eq(plx_bdev_null_create("N", &small, NULL), -EEXIST);
	cr_assert_eq(plx_bdev_error_create("E", "nobody", 0, NULL, NULL), -ENODEV);
	cr_assert_eq(plx_bdev_error_create("N", "N", 0, NULL, NULL), -EEXIST);
}

Test(bdev, statistics_count_from_their_last_reset)
{
	static uint8_t buf[1024];
	struct plx_bdev *b;
	struct dev d;

	cr_assert_eq(plx_bdev_null_create("N", &small, &b), 0);
	cr_assert_not(plx_bdev_claimed(b));
	d = dev_open("N");
	cr_assert(plx_bdev_claimed(b));
	do_read(&d, buf, 1024, 0, 2);
	do_write(&d, buf, 512, 0, 1);
	cr_assert_eq(plx_bdev_reset_stat(b, true, on_stat, NULL), 0);
	cr_assert_eq(stat_got.ops[PLX_BDEV_READ], 1);
	cr_assert_eq(plx_bdev_reset_stat(b, false, on_stat, NULL), 0);
	cr_assert_eq(stat_got.bytes[PLX_BDEV_READ], 1024, "errors alone were reset");
	do_write(&d, buf, 512, 0, 1);
	dev_close(&d);
	cr_assert_eq(plx_bdev_get_stat(b, on_stat, NULL), 0);
	cr_assert_eq(stat_got.ops[PLX_BDEV_READ], 0);
	cr_assert_eq(stat_got.ops[PLX_BDEV_WRITE], 1);
	cr_assert_eq(stat_got.bytes[PLX_BDEV_WRITE], 512);
}

Test(bdev, a_device_is_found_by_its_uuid)
{
	struct plx_bdev_geometry g = small;
	struct plx_bdev *b;

	memcpy(g.uuid, "\x91\x3f\xc0\x08\x79\xa7\x44\x7f\xb2\xc4\xc7\x35\x43\x63\x8c\x31", 16);
	cr_assert_eq(plx_bdev_null_create("N", &g, &b), 0);
	cr_assert_eq(plx_bdev_by_name("913fc008-79a7-447f-b2c4-c73543638c31"), b);
	cr_assert_eq(plx_bdev_null_create("N2", &g, NULL), -EEXIST);
}
