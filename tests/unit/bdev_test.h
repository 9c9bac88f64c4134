/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/bdev_test.h - what the tests of the block layer share: a thread, a device, I/O that is
 * waited for
 */
#ifndef POLLUX_BDEV_TEST_H
#define POLLUX_BDEV_TEST_H

#include <criterion/criterion.h>
#include <pollux/bdev.h>
#include <pollux/env.h>
#include <pollux/thread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct plx_thread *thread;

static inline void setup_pages(bool no_huge)
{
	struct plx_env_opts opts;

	plx_env_opts_init(&opts);
	opts.name = "test";
	opts.mem_mb = 32;
	opts.no_huge = no_huge;
	opts.log_level = PLX_LOG_ERR;
	cr_assert_eq(plx_env_init(&opts), 0);
	thread = plx_thread_create("test");
	cr_assert_not_null(thread);
	plx_thread_enter(thread);
}

static inline void setup(void)
{
	setup_pages(false);
}

static inline double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Turns of the thread until @cond is true, at most ten seconds. */
#define wait_for(cond)                                                                             \
	do {                                                                                       \
		double deadline_ = now_s() + 10;                                                   \
		while (!(cond) && now_s() < deadline_)                                             \
			plx_thread_poll(plx_thread_current());                                     \
		cr_assert((cond), "waited ten seconds for " #cond);                                \
	} while (0)

/* One I/O: how often it was called back, and with what. */
struct result {
	int calls;
	uint16_t status;
};

static inline void on_done(struct plx_bdev_io *io, void *arg)
{
	struct result *r = arg;

	r->calls++;
	r->status = io->status;
}

/* A device opened for writing, with a channel in the current thread. */
struct dev {
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *ch;
};

static inline struct dev dev_open(const char *name)
{
	struct dev d;

	cr_assert_eq(plx_bdev_open(name, true, NULL, NULL, &d.desc), 0, "open %s", name);
	d.ch = plx_bdev_get_channel(d.desc);
	cr_assert_not_null(d.ch);
	return d;
}

static inline void dev_close(struct dev *d)
{
	plx_bdev_put_channel(d->ch);
	plx_bdev_close(d->desc);
}

/* Submits, which has to succeed, and waits for the callback. Evaluates to the status. */
#define io_status(call)                                                                            \
	({                                                                                         \
		struct result res_ = { 0 };                                                        \
		struct result *res = &res_;                                                        \
		int rc_ = (call);                                                                  \
		cr_assert_eq(rc_, 0, #call " returned %d", rc_);                                   \
		wait_for(res_.calls);                                                              \
		cr_assert_eq(res_.calls, 1);                                                       \
		res_.status;                                                                       \
	})

static inline uint16_t do_read(struct dev *d, void *buf, size_t len, uint64_t offset,
			       uint64_t blocks)
{
	struct iovec iov = { buf, len };

	return io_status(plx_bdev_readv(d->desc, d->ch, &iov, 1, offset, blocks, on_done, res));
}

static inline uint16_t do_write(struct dev *d, void *buf, size_t len, uint64_t offset,
				uint64_t blocks)
{
	struct iovec iov = { buf, len };

	return io_status(plx_bdev_writev(d->desc, d->ch, &iov, 1, offset, blocks, on_done, res));
}

static inline uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void fill(void *buf, size_t len, uint64_t seed)
{
	uint8_t *p = buf;
	uint64_t s = seed * 2 + 1;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(rnd(&s) >> 24);
}

#endif
