/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/vm/one_io.h - what programs of guest tests share: one controller, one queue pair, one I/O
 * at a time, and an end at whatever goes wrong
 */
#ifndef POLLUX_TESTS_ONE_IO_H
#define POLLUX_TESTS_ONE_IO_H

#include <errno.h>
#include <pollux/env.h>
#include <pollux/nvme.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct plx_nvme_ctrlr *c;
static struct plx_nvme_qpair *qp;

#define check(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "line %d: %s: ", __LINE__, #cond);                         \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct plx_nvme_cpl last;
static bool finished;

static void done(void *arg, const struct plx_nvme_cpl *cpl)
{
	last = *cpl;
	finished = true;
}

/* Return: the status */
static int io(int rc)
{
	check(!rc, "%s", strerror(-rc));
	for (finished = false; !finished;) {
		check(plx_nvme_qpair_poll(qp, 0) >= 0, "the controller is gone");
		plx_nvme_ctrlr_poll(c);
	}
	return PLX_NVME_ST_CODE(plx_nvme_status(&last));
}

static void fill(char *to, uint32_t bytes, unsigned seed)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = (char)(i * 31 + i / 251 + seed);
}

/* Everything up to a queue pair */
static void attach(const char *traddr, const struct plx_nvme_ctrlr_opts *opts)
{
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_PCIE };
	struct plx_env_opts env;

	plx_env_opts_init(&env);
	env.mem_mb = 64;
	check(!plx_env_init(&env), "no environment");
	snprintf(trid.traddr, sizeof(trid.traddr), "%s", traddr);
	c = plx_nvme_connect(&trid, opts);
	check(c, "connect: %s", strerror(errno));
	qp = plx_nvme_qpair_create(c, NULL);
	check(qp, "queue pair: %s", strerror(errno));
}

static void detach(void)
{
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
	plx_env_fini();
}

#endif
