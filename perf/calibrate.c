/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/calibrate.c - the limits of this machine, so that a run's figures can be read as shares of
 * them
 *
 * Three floors, between the two cores that a run uses (or on its one core):
 *   - the round trip of one cache line: two threads, a word each way
 *   - bare rings: 64-byte entries, a doorbell word, 16-byte completions with a phase bit, at the
 *     run's depth, and nothing else: no identifiers, no checks, no callbacks, no clock
 *   - copying blocks of the run's size from random places: what a memory-backed device cannot
 *   exceed
 * Each is the median of several repetitions; the best is kept too.
 */
#include "perf/calibrate.h"
#include <emmintrin.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define REPS   7
#define REP_NS 60e6
/* powers of two, constants to the compiler: nothing is to cost more than it has to */
#define RING_SMALL  256u
#define RING_LARGE  4096u
#define CHECK_EVERY 64 /* turns between looks at the clock */

/* What two cores write is 128 bytes apart */
struct words {
	volatile uint32_t ping plx_aligned(PLX_NO_SHARE);
	volatile uint32_t pong plx_aligned(PLX_NO_SHARE);
	volatile uint32_t sq_db plx_aligned(PLX_NO_SHARE);
	volatile uint32_t cq_db plx_aligned(PLX_NO_SHARE);
	volatile bool stop plx_aligned(PLX_NO_SHARE);
};

struct bench {
	struct words w;
	struct plx_nvme_cmd sq[RING_LARGE] plx_aligned(4096);
	struct plx_nvme_cpl cq[RING_LARGE] plx_aligned(4096);
	uint32_t size; /* RING_SMALL or RING_LARGE */
	unsigned device_cpu;
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct perf_limit summarize(double *v, bool higher_is_better)
{
	qsort(v, REPS, sizeof *v, by_value);
	return (struct perf_limit){ .median = v[REPS / 2],
				    .best = v[higher_is_better ? REPS - 1 : 0] };
}

static void *echo(void *arg)
{
	struct bench *b = arg;
	uint32_t seen = 0;

	plx_topo_bind_self(b->device_cpu);
	while (!b->w.stop) {
		uint32_t v = b->w.ping;

		if (v != seen) {
			seen = v;
			b->w.pong = v;
		}
	}
	return NULL;
}

/* The device of the bare rings: take what is there, complete it, nothing more */
static inline __attribute__((always_inline)) void device_loop(struct bench *b, uint32_t size)
{
	uint32_t head = 0, tail = 0;
	uint64_t phase = 1;

	while (!b->w.stop) {
		uint32_t t = b->w.sq_db;

		while (head != t) {
			const volatile uint64_t *e = (const volatile uint64_t *)&b->sq[head];
			volatile uint64_t *c = (volatile uint64_t *)&b->cq[tail];
			uint64_t cid = e[0] >> 16 & 0xffff;

			(void)e[7];
			head = (head + 1) & (size - 1);
			c[0] = 0;
			c[1] = head | 1u << 16 | cid << 32 | phase << 48;
			tail = (tail + 1) & (size - 1);
			phase ^= !tail;
		}
	}
}

static void *bare_device(void *arg)
{
	struct bench *b = arg;

	plx_topo_bind_self(b->device_cpu);
	if (b->size == RING_SMALL)
		device_loop(b, RING_SMALL);
	else
		device_loop(b, RING_LARGE);
	return NULL;
}

/* Its host, from one repetition to the next */
struct bare_host {
	uint32_t tail, head, inflight;
	uint16_t phase;
};

static inline __attribute__((always_inline)) uint32_t
host_turn(struct bench *b, struct bare_host *h, uint32_t depth, uint32_t size)
{
	uint32_t n = 0, before = h->tail;

	for (; h->inflight < depth; h->inflight++) {
		__m128i *e = (__m128i *)&b->sq[h->tail];
		__m128i v = _mm_set1_epi64x(h->tail);

		_mm_store_si128(e,
				_mm_set_epi64x(h->tail, (long long)((uint64_t)h->tail << 16 | 2)));
		_mm_store_si128(e + 1, v);
		_mm_store_si128(e + 2, v);
		_mm_store_si128(e + 3, v);
		h->tail = (h->tail + 1) & (size - 1);
	}
	__asm__ volatile("" ::: "memory");
	if (h->tail != before)
		b->w.sq_db = h->tail;
	while ((((volatile struct plx_nvme_cpl *)b->cq)[h->head].status & 1) == h->phase) {
		n++;
		h->head = (h->head + 1) & (size - 1);
		h->phase ^= !h->head;
	}
	if (n) {
		b->w.cq_db = h->head;
		h->inflight -= n;
	}
	return n;
}

static inline __attribute__((always_inline)) double
host_rep(struct bench *b, struct bare_host *host, uint32_t depth, uint32_t size)
{
	uint64_t hz = plx_tsc_hz(), start = plx_tsc(), now = start,
		 end = start + (uint64_t)(REP_NS * 1e-9 * hz), done = 0;
	struct bare_host h = *host; /* in registers */

	while (now < end) {
		for (int k = 0; k < CHECK_EVERY; k++)
			done += host_turn(b, &h, depth, size);
		now = plx_tsc();
	}
	*host = h;
	return (double)done * (double)hz / (double)(now - start);
}

static double bare_host_rep(struct bench *b, struct bare_host *h, uint32_t depth)
{
	return b->size == RING_SMALL ? host_rep(b, h, depth, RING_SMALL)
				     : host_rep(b, h, depth, RING_LARGE);
}

static struct perf_limit bare_rings(struct bench *b, uint32_t depth)
{
	struct bare_host h = { .phase = 1 };
	double rate[REPS];
	pthread_t device;

	memset(&b->w, 0, sizeof b->w);
	memset(b->cq, 0, sizeof b->cq);
	b->size = depth < RING_SMALL ? RING_SMALL : RING_LARGE;
	if (depth > b->size - 1)
		depth = b->size - 1;
	if (pthread_create(&device, NULL, bare_device, b))
		return (struct perf_limit){ 0, 0 };
	bare_host_rep(b, &h, depth); /* warm-up */
	for (int r = 0; r < REPS; r++)
		rate[r] = bare_host_rep(b, &h, depth);
	b->w.stop = true;
	pthread_join(device, NULL);
	return summarize(rate, true);
}

static struct perf_limit round_trip(struct bench *b)
{
	double ns[REPS];
	pthread_t other;
	uint32_t v = 0;

	memset(&b->w, 0, sizeof b->w);
	if (pthread_create(&other, NULL, echo, b))
		return (struct perf_limit){ 0, 0 };
	for (int r = -1; r < REPS; r++) {
		uint64_t start = plx_tsc();
		uint32_t n = 100000;

		for (uint32_t i = 0; i < n; i++) {
			b->w.ping = ++v;
			while (b->w.pong != v)
				;
		}
		if (r >= 0)
			ns[r] = (double)plx_tsc_to_ns(plx_tsc_scale(), plx_tsc() - start) / n;
	}
	b->w.stop = true;
	pthread_join(other, NULL);
	return summarize(ns, false);
}

static struct perf_limit copy_rate(uint64_t size, uint32_t block, uint32_t targets)
{
	uint64_t hz = plx_tsc_hz(), rng = 1, blocks = size / block;
	double rate[REPS];
	char *from, *to;

	from = mmap(NULL, size + (2u << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (from == MAP_FAILED)
		return (struct perf_limit){ 0, 0 };
	madvise(from, size + (2u << 20), MADV_HUGEPAGE);
	memset(from, 1, size + (2u << 20));
	to = plx_dma_zalloc((size_t)targets * block, 4096, PLX_NUMA_ANY);
	if (!to) {
		munmap(from, size + (2u << 20));
		return (struct perf_limit){ 0, 0 };
	}
	for (int r = -1; r < REPS; r++) {
		uint64_t start = plx_tsc(), now = start,
			 end = start + (uint64_t)(REP_NS * 1e-9 * hz), n = 0;

		while (now < end) {
			for (int k = 0; k < CHECK_EVERY; k++, n++) {
				uint64_t at = (uint64_t)(((unsigned __int128)perf_random(&rng) *
							  blocks) >>
							 64);

				memcpy(to + n % targets * block, from + at * block, block);
				__asm__ volatile("" ::: "memory");
			}
			now = plx_tsc();
		}
		if (r >= 0)
			rate[r] = (double)n * (double)hz / (double)(now - start);
	}
	plx_dma_free(to);
	munmap(from, size + (2u << 20));
	return summarize(rate, true);
}

struct copy_arg {
	struct perf_calibration *out;
	const struct perf_config *cfg;
	uint64_t bytes;
	unsigned cpu;
};

static void *copy_thread(void *arg)
{
	struct copy_arg *a = arg;

	plx_topo_bind_self(a->cpu);
	a->out->copies = copy_rate(a->bytes, a->cfg->sizes[0].bytes, a->cfg->queue_depth);
	return NULL;
}

struct ring_arg {
	struct perf_calibration *out;
	struct bench *b;
	unsigned host_cpu;
	uint32_t depth;
};

static void *ring_thread(void *arg)
{
	struct ring_arg *a = arg;

	plx_topo_bind_self(a->host_cpu);
	a->out->round_trip_ns = round_trip(a->b);
	a->out->rings = bare_rings(a->b, a->depth);
	return NULL;
}

static int run_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;
	int rc = pthread_create(&t, NULL, fn, arg);

	return rc ? -rc : pthread_join(t, NULL);
}

int perf_calibrate(struct perf_calibration *out, const struct perf_config *cfg, unsigned host_cpu,
		   int device_cpu, uint64_t device_bytes)
{
	struct copy_arg copy = { out, cfg, device_bytes,
				 device_cpu >= 0 ? (unsigned)device_cpu : host_cpu };
	struct ring_arg ring = { .out = out, .host_cpu = host_cpu, .depth = cfg->queue_depth };
	int rc = 0;

	memset(out, 0, sizeof *out);
	out->host_cpu = host_cpu;
	out->device_cpu = device_cpu;
	out->copy_bytes = cfg->sizes[0].bytes;
	out->copy_range = device_bytes;
	out->depth = cfg->queue_depth;
	if (device_cpu >= 0) {
		ring.b = aligned_alloc(4096, (sizeof *ring.b + 4095) / 4096 * 4096);
		if (!ring.b)
			return -ENOMEM;
		ring.b->device_cpu = (unsigned)device_cpu;
		rc = run_thread(ring_thread, &ring);
		free(ring.b);
	}
	if (!rc && device_bytes >= cfg->sizes[0].bytes)
		rc = run_thread(copy_thread, &copy);
	return rc;
}
