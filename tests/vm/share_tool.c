/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For guest tests of shared controllers: writes and reads back, one block after the other.
 *
 *   share_tool TRID ID [pmr]
 *
 * pmr: says whether there is a persistent memory region for it, and has its data there.
 * SIGUSR1: reset the controller; SIGTERM: end. Says after each reset, whoever's it was, once there
 * was some more I/O, how many there have been. Outstanding I/O is submitted again by the driver, so
 * none may fail.
 */
#include <errno.h>
#include <pollux/nvme.h>
#include <pollux/nvme_memory.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IOS_AFTER 50 /* a reset */
#define BLOCKS	  1000

static volatile sig_atomic_t stopped, reset_wanted;

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		stopped = 1;
	else
		reset_wanted = 1;
}

static int failed(const char *what)
{
	fprintf(stderr, "share_tool: %s: %s\n", what, strerror(errno));
	return 1;
}

struct io {
	int state; /* 0: under way */
	uint16_t status;
};

static void done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct io *io = arg;

	io->status = plx_nvme_status(cpl);
	io->state = 1;
}

/* -EAGAIN: a reset is under way. Return: 0; -errno; a status */
static int transfer(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, void *buf, uint64_t slba,
		    bool write)
{
	struct io io = { 0 };
	int rc;

	do {
		rc = write ? plx_nvme_write(ns, qp, buf, slba, 1, done, &io)
			   : plx_nvme_read(ns, qp, buf, slba, 1, done, &io);
		if (rc == -EAGAIN) {
			plx_nvme_qpair_poll(qp, 0);
			plx_nvme_ctrlr_poll(plx_nvme_ns_ctrlr(ns));
		}
	} while (rc == -EAGAIN);
	while (!rc && !io.state) {
		int n = plx_nvme_qpair_poll(qp, 0);

		plx_nvme_ctrlr_poll(plx_nvme_ns_ctrlr(ns));
		rc = n < 0 ? n : 0;
	}
	return rc ? rc : io.status;
}

/* Return: 0, or 1 with a message */
static int round_trip(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint32_t *buf, uint64_t n)
{
	size_t words = plx_nvme_ns_block_size(ns) / 4;
	int rc;

	for (size_t i = 0; i < words; i++)
		buf[i] = (uint32_t)(n * 2654435761u + i);
	rc = transfer(ns, qp, buf, n % BLOCKS, true);
	memset(buf, 0, words * 4);
	if (!rc)
		rc = transfer(ns, qp, buf, n % BLOCKS, false);
	for (size_t i = 0; i < words && !rc; i++)
		rc = buf[i] != (uint32_t)(n * 2654435761u + i) ? 0xbad : 0;
	if (rc)
		fprintf(stderr, "share_tool: I/O %llu: %d (%s)\n", (unsigned long long)n, rc,
			plx_nvme_ctrlr_failure(plx_nvme_ns_ctrlr(ns)));
	return rc != 0;
}

/* NULL: there is none */
static uint32_t *persistent(struct plx_nvme_ctrlr *c)
{
	uint64_t bytes = 0;
	void *mem = NULL;
	int rc = plx_nvme_pmr_enable(c, &mem, &bytes);

	if (rc)
		printf("persistent memory: %s\n", strerror(-rc));
	else
		printf("persistent memory: %llu KiB\n", (unsigned long long)bytes >> 10);
	return rc ? NULL : mem;
}

static int work(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, bool pmr)
{
	struct plx_nvme_ctrlr *c = plx_nvme_ns_ctrlr(ns);
	uint32_t *own = plx_dma_zalloc(4096, 4096, PLX_NUMA_ANY), *buf = own;
	struct plx_nvme_ctrlr_stats stats;
	uint64_t n = 0, seen = 0, say = UINT64_MAX;
	int rc = own ? 0 : 1;

	if (pmr)
		buf = persistent(c);
	if (!buf)
		buf = own;

	puts("working");
	for (; !rc && !stopped; n++) {
		fflush(stdout);
		rc = round_trip(ns, qp, buf, n);
		if (reset_wanted && !plx_nvme_ctrlr_reset(c))
			reset_wanted = 0;
		plx_nvme_ctrlr_get_stats(c, &stats);
		if (stats.resets != seen)
			say = n + IOS_AFTER;
		seen = stats.resets;
		if (n == say)
			printf("%llu resets\n", (unsigned long long)seen);
	}
	printf("%llu I/Os\n", (unsigned long long)n);
	plx_dma_free(own);
	return rc;
}

int main(int argc, char **argv)
{
	struct plx_nvme_ctrlr_opts opts;
	struct plx_nvme_trid trid;
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;
	char err[200];
	int rc;

	if (argc < 3 || plx_nvme_trid_parse(&trid, argv[1], err, sizeof(err)) || plx_env_init(NULL))
		return 2;
	signal(SIGTERM, on_signal);
	signal(SIGUSR1, on_signal);
	plx_nvme_ctrlr_opts_init(&opts);
	opts.share_id = atoi(argv[2]);
	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;
	opts.retry_count = 255;
	c = plx_nvme_connect(&trid, &opts);
	if (!c)
		return failed("connect");
	qp = plx_nvme_ctrlr_ns(c, trid.nsid) ? plx_nvme_qpair_create(c, NULL) : NULL;
	rc = qp ? work(plx_nvme_ctrlr_ns(c, trid.nsid), qp, argc > 3) : failed("queue pair");
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
	return rc;
}
