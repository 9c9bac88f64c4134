/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/bench/bdev_nvme.c - cost of the block layer over the driver: reads of a namespace of a
 * virtual controller inline, over a null device, by the driver alone or by way of a bdev
 *
 *   bench_bdev_nvme [I/Os] [nvme|bdev] [depth]
 *   valgrind --tool=callgrind --toggle-collect=turn bench_bdev_nvme 3200 bdev
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pollux/bdev.h>
#include <pollux/nvme.h>
#include <pollux/nvmf.h>
#include <pollux/thread.h>

struct run {
	struct plx_thread *thread;
	unsigned depth;
	char *buf;
	struct iovec iov;
	uint64_t lba, done;
	/* the driver alone */
	struct plx_nvme_ns *ns;
	struct plx_nvme_qpair *qp;
	/* or a bdev */
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *ch;
};

static void nvme_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	((struct run *)arg)->done += plx_nvme_ok(cpl);
}

static void bdev_done(struct plx_bdev_io *io, void *arg)
{
	((struct run *)arg)->done += !io->status;
}

static int submit(struct run *r, uint64_t lba)
{
	return r->qp ? plx_nvme_read(r->ns, r->qp, r->buf, lba, 8, nvme_done, r)
		     : plx_bdev_readv(r->desc, r->ch, &r->iov, 1, lba, 8, bdev_done, r);
}

/* As many as the depth, and until they are back */
__attribute__((noinline)) void turn(struct run *r);
__attribute__((noinline)) void turn(struct run *r)
{
	uint64_t goal = r->done + r->depth;

	for (unsigned i = 0; i < r->depth; i++, r->lba = (r->lba + 8) % (1 << 19))
		if (submit(r, r->lba))
			abort();
	while (r->done < goal) {
		if (r->qp)
			plx_nvme_qpair_poll(r->qp, 0);
		plx_thread_poll(r->thread);
	}
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s failed\n", what);
	exit(1);
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000000, start, ticks;
	bool bdev = argc > 2 && !strcmp(argv[2], "bdev");
	struct run r = { .depth = argc > 3 ? (unsigned)atoi(argv[3]) : 32 };
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_VIRTUAL, .traddr = "v" };
	struct plx_nvmf_device *device;
	struct plx_nvme_ctrlr *c = NULL;
	struct plx_env_opts opts;
	char err[256];

	plx_env_opts_init(&opts);
	opts.log_level = PLX_LOG_ERR;
	check(!plx_env_init(&opts), "environment");
	r.thread = plx_thread_create("bench");
	plx_thread_enter(r.thread);
	r.buf = plx_dma_zalloc(4096, 4096, PLX_NUMA_ANY);
	r.iov = (struct iovec){ r.buf, 4096 };
	check(!plx_nvmf_device_create("bdev=null,size=512M,inline", "v", r.thread, &device, err,
				      sizeof(err)),
	      "device");
	if (bdev) {
		check(!plx_bdev_nvme_attach("Nvme0", &trid, 0), "attach");
		check(!plx_bdev_open("Nvme0n1", false, NULL, NULL, &r.desc), "open");
		check((r.ch = plx_bdev_get_channel(r.desc)), "channel");
	} else {
		check((c = plx_nvme_connect(&trid, NULL)), "connect");
		check((r.ns = plx_nvme_ctrlr_ns(c, 1)), "namespace");
		check((r.qp = plx_nvme_qpair_create(c, NULL)), "queue pair");
	}
	for (int i = 0; i < 100; i++)
		turn(&r);
	start = plx_tsc();
	for (uint64_t i = 0; i < n; i += r.depth)
		turn(&r);
	ticks = plx_tsc() - start;
	printf("%s, depth %u: %.0f ticks per I/O\n", bdev ? "bdev" : "nvme", r.depth,
	       (double)ticks / (double)n);
	if (bdev) {
		plx_bdev_put_channel(r.ch);
		plx_bdev_close(r.desc);
		plx_bdev_nvme_detach("Nvme0");
	} else {
		plx_nvme_qpair_destroy(r.qp);
		plx_nvme_disconnect(c);
	}
	plx_nvmf_device_destroy(device);
	plx_dma_free(r.buf);
	plx_thread_enter(NULL);
	plx_thread_destroy(r.thread);
	plx_env_fini();
	return 0;
}
