/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/qpair_fixture.h - what the tests of I/O commands on a queue pair alone share: the
 * pair, a buffer, the result of the last command
 */
#ifndef POLLUX_TESTS_QPAIR_FIXTURE_H
#define POLLUX_TESTS_QPAIR_FIXTURE_H

#include "fake_qpair.h"
#include <errno.h>

#define PAGE PLX_PAGE_SIZE

static struct fake f;
static struct fake_done done;
static char *buf;

/* @entries: of the queues; @bytes: of the buffer */
static inline void fixture_init(uint32_t entries, size_t bytes)
{
	fake_init(&f, entries);
	buf = fake_alloc(bytes);
}

static inline void teardown(void)
{
	fake_fini(&f);
	free(buf);
}

static inline struct plx_nvme_cmd sent(void)
{
	return fake_sent(&f, &done);
}

static inline int read_at(void *to, uint64_t slba, uint32_t nlb)
{
	return plx_nvme_read(f.ns, f.qp, to, slba, nlb, fake_cb, &done);
}

#endif
