/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/bench/bdev_null.c - cost of the block layer alone: reads of a null device, in bursts from
 * one thread
 *
 *   bench_bdev_null [I/Os] [read|write|iov4]
 *   valgrind --tool=callgrind --toggle-collect=burst bench_bdev_null 1000
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pollux/bdev.h>
#include <pollux/env.h>
#include <pollux/thread.h>

#define BURST 32

struct run {
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *ch;
	struct iovec iov[4];
	int iovcnt;
	bool write;
	uint64_t done;
};

static void on_done(struct plx_bdev_io *io, void *arg)
{
	((struct run *)arg)->done += !io->status;
}

__attribute__((noinline)) void burst(struct run *r, uint64_t lba);
__attribute__((noinline)) void burst(struct run *r, uint64_t lba)
{
	for (int i = 0; i < BURST; i++) {
		int rc = r->write ? plx_bdev_writev(r->desc, r->ch, r->iov, r->iovcnt,
						    lba + (uint64_t)i * 8, 8, on_done, r)
				  : plx_bdev_readv(r->desc, r->ch, r->iov, r->iovcnt,
						   lba + (uint64_t)i * 8, 8, on_done, r);

		if (rc)
			abort();
	}
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000000, start, ticks;
	struct plx_bdev_geometry g = { .blocks = 1 << 20, .block_size = 512, .numa = PLX_NUMA_ANY };
	struct plx_env_opts opts;
	static char buf[4096] plx_aligned(4096);
	struct plx_thread *t;
	struct run r = { .iovcnt = 1 };

	plx_env_opts_init(&opts);
	opts.name = "bench_bdev_null";
	opts.mem_mb = 32;
	if (plx_env_init(&opts) || !(t = plx_thread_create("bench")) ||
	    plx_bdev_null_create("Null0", &g, NULL))
		return 1;
	plx_thread_enter(t);
	if (plx_bdev_open("Null0", true, NULL, NULL, &r.desc) ||
	    !(r.ch = plx_bdev_get_channel(r.desc)))
		return 1;
	r.write = argc > 2 && !strcmp(argv[2], "write");
	r.iovcnt = argc > 2 && !strcmp(argv[2], "iov4") ? 4 : 1;
	for (int i = 0; i < r.iovcnt; i++)
		r.iov[i] = (struct iovec){ buf + sizeof(buf) / (size_t)r.iovcnt * (size_t)i,
					   sizeof(buf) / (size_t)r.iovcnt };

	start = plx_tsc();
	for (uint64_t i = 0; i < n; i += BURST) {
		burst(&r, i % 1000 * 8);
		plx_thread_poll(t);
	}
	ticks = plx_tsc() - start;
	printf("%.2f ns and %.1f ticks per I/O\n",
	       (double)plx_tsc_to_ns(plx_tsc_scale(), ticks) / (double)r.done,
	       (double)ticks / (double)r.done);

	plx_bdev_put_channel(r.ch);
	plx_bdev_close(r.desc);
	plx_bdev_delete("Null0");
	plx_thread_enter(NULL);
	plx_thread_destroy(t);
	plx_env_fini();
	return 0;
}
