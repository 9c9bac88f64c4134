/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest tests need of the driver beyond the project's own programs.
 *
 *   nvme_tool read TRID SLBA NLB >FILE    blocks of namespace 1, as they are
 *   nvme_tool write TRID SLBA NLB <FILE
 *   nvme_tool hotplug                     a line for each event, until it is killed
 */
#include <errno.h>
#include <poll.h>
#include <pollux/nvme.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 64 /* blocks */

static int failed(const char *what)
{
	fprintf(stderr, "nvme_tool: %s: %s\n", what, strerror(errno));
	return 1;
}

static void done(void *arg, const struct plx_nvme_cpl *cpl)
{
	*(int *)arg = plx_nvme_ok(cpl) ? 1 : -1;
}

static int transfer(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, void *buf, uint64_t slba,
		    uint32_t nlb, bool write)
{
	int state = 0, rc;

	rc = write ? plx_nvme_write(ns, qp, buf, slba, nlb, done, &state)
		   : plx_nvme_read(ns, qp, buf, slba, nlb, done, &state);
	while (!rc && !state) {
		int n = plx_nvme_qpair_poll(qp, 0);

		rc = n < 0 ? n : 0;
	}
	return rc || state < 0;
}

static int copy(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba, uint64_t nlb,
		bool write)
{
	size_t block = plx_nvme_ns_block_size(ns);
	char *buf = plx_dma_zalloc(PIECE * block, 4096, PLX_NUMA_ANY);
	int rc = buf ? 0 : 1;

	while (nlb && !rc) {
		uint32_t n = nlb < PIECE ? (uint32_t)nlb : PIECE;

		if (write && fread(buf, block, n, stdin) != n)
			rc = 1;
		if (!rc)
			rc = transfer(ns, qp, buf, slba, n, write);
		if (!rc && !write && fwrite(buf, block, n, stdout) != n)
			rc = 1;
		slba += n;
		nlb -= n;
	}
	plx_dma_free(buf);
	return rc;
}

static int blocks(const char *text, uint64_t slba, uint64_t nlb, bool write)
{
	struct plx_nvme_trid trid;
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;
	char err[200];
	int rc;

	if (plx_nvme_trid_parse(&trid, text, err, sizeof(err)) || plx_env_init(NULL))
		return failed(text);
	c = plx_nvme_connect(&trid, NULL);
	if (!c)
		return failed("connect");
	qp = plx_nvme_qpair_create(c, NULL);
	if (!qp)
		return failed("queue pair");
	rc = copy(plx_nvme_ctrlr_ns(c, 1), qp, slba, nlb, write);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
	plx_env_fini();
	return rc;
}

static int watch(void)
{
	static const char *const names[] = { "added", "removed", "bound", "unbound" };
	struct plx_nvme_hotplug *h = plx_nvme_hotplug_open();
	struct plx_nvme_hotplug_event ev;
	struct pollfd p = { .events = POLLIN };
	int rc;

	if (!h)
		return failed("hotplug");
	p.fd = plx_nvme_hotplug_fd(h);
	puts("listening");
	do {
		fflush(stdout);
		poll(&p, 1, -1);
		while ((rc = plx_nvme_hotplug_next(h, &ev)) > 0)
			printf("%s %s %s\n", names[ev.kind], ev.traddr, ev.driver);
	} while (!rc);
	plx_nvme_hotplug_close(h);
	return failed("event");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "hotplug"))
		return watch();
	if (argc == 5)
		return blocks(argv[2], strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0),
			      !strcmp(argv[1], "write"));
	return 2;
}
