/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/nvme_fixture.h - what the tests of the driver against the fake controller share
 *
 * The fake runs as a poller of the current thread, so that set-up calls, which poll that, find it
 * working.
 */
#ifndef POLLUX_TESTS_NVME_FIXTURE_H
#define POLLUX_TESTS_NVME_FIXTURE_H

#include "fake_nvme.h"
#include "driver/ctrlr_internal.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pollux/thread.h>
#include <stdlib.h>
#include <string.h>

static struct fake_nvme fake;
static struct plx_thread *thread;
static struct plx_poller *poller;
static struct plx_nvme_trid trid;
static struct plx_nvme_ctrlr_opts opts;

static int poll_fake(void *arg)
{
	return fake_turn(&fake);
}

static inline void setup(void)
{
	struct plx_env_opts env;

	plx_env_opts_init(&env);
	env.mem_mb = 32;
	env.no_huge = true;
	cr_assert_eq(plx_env_init(&env), 0);
	fake_init(&fake);
	thread = plx_thread_create("test");
	plx_thread_enter(thread);
	poller = plx_poller_create(poll_fake, NULL, 0);
	trid = (struct plx_nvme_trid){ .trtype = PLX_NVME_TR_PCIE, .traddr = "fake" };
	plx_nvme_ctrlr_opts_init(&opts);
	opts.admin_timeout_ms = 100;
	opts.timeout_action = PLX_NVME_TIMEOUT_NONE;
}

static inline void teardown(void)
{
	plx_poller_destroy(poller);
	plx_thread_enter(NULL);
	plx_thread_destroy(thread);
	plx_env_fini();
}

/* One turn of everything until @cond, or a failure after five seconds */
#define UNTIL(c, qp, cond)                                                                         \
	do {                                                                                       \
		uint64_t end_ = plx_tsc() + 5 * plx_tsc_hz();                                      \
		while (!(cond)) {                                                                  \
			cr_assert(plx_tsc() < end_, "never came true: %s", #cond);                 \
			turn(c, qp);                                                               \
		}                                                                                  \
	} while (0)

static inline void turn(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp)
{
	if (c)
		plx_nvme_ctrlr_poll(c);
	if (qp)
		plx_nvme_qpair_poll(qp, 0);
	plx_thread_poll(thread);
}

static inline void turns(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp, unsigned n)
{
	while (n--)
		turn(c, qp);
}

static inline struct plx_nvme_ctrlr *connect_fake(void)
{
	struct plx_nvme_ctrlr *c = plx_nvme_connect(&trid, &opts);

	cr_assert_not_null(c, "connect: %s", strerror(errno));
	return c;
}

static inline struct plx_nvme_qpair *make_qpair(struct plx_nvme_ctrlr *c, uint32_t size)
{
	struct plx_nvme_qpair_opts qo;
	struct plx_nvme_qpair *qp;

	plx_nvme_qpair_opts_init(&qo);
	qo.queue_size = size;
	qp = plx_nvme_qpair_create(c, &qo);
	cr_assert_not_null(qp, "create: %s", strerror(errno));
	return qp;
}

struct result {
	unsigned calls;
	uint16_t status;
};

static inline void io_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct result *r = arg;

	r->calls++;
	r->status = plx_nvme_status(cpl);
}

static char *buf;

static inline void submit(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp, uint64_t slba,
			  struct result *r)
{
	if (!buf)
		buf = plx_dma_zalloc(4096, 4096, PLX_NUMA_ANY);
	cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, buf, slba, 1, io_done, r), 0);
}

static inline uint64_t resets(struct plx_nvme_ctrlr *c)
{
	struct plx_nvme_ctrlr_stats s;

	plx_nvme_ctrlr_get_stats(c, &s);
	return s.resets;
}

static inline bool ready(struct plx_nvme_ctrlr *c)
{
	return plx_nvme_ctrlr_state(c) == PLX_NVME_CTRLR_READY;
}

static inline bool failed(struct plx_nvme_ctrlr *c)
{
	return plx_nvme_ctrlr_state(c) == PLX_NVME_CTRLR_FAILED;
}

#endif
