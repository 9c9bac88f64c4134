/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/malloc.c - a device in memory
 *
 * Random blocks of a large device are limited by the latency of memory, so submit only queues, and
 * the poller that carries the queue out prefetches the storage of the next I/O before it copies for
 * this one. How is a matter of the processor (4 KiB at random in 512 MiB, 32 deep):
 *
 * On Zen 4 all of the next I/O's page goes into the second level, a KiB of it before each KiB that
 * is copied, by rep movsb: 1.16 times the I/Os of what the other way reaches there for reads, 1.22
 * times for writes (inline controller). With memcpy(), with all of the page at once, or into the
 * first level it is slower.
 *
 * On Sapphire Rapids the first KiB of it goes into the first level, and memcpy() copies: 1.03 times
 * the rate of a bare memcpy() loop for reads (0.94 without the prefetch) and 1.25 times for writes
 * (0.93). 12 to 20 lines ahead do the same; fewer gain less, more occupy all fill buffers and gain
 * nothing for reads; rep movsb and prefetches woven in were slower or no better.
 */
#include <errno.h>
#include <jansson.h>
#include <linux/mman.h>
#include <numa.h>
#include <numaif.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bdev/bdev_internal.h"
#include "bdev/modules/geometry.h"
#include "bdev/modules/populate.h"
#include "core/iov_cursor.h"

#define GROUP_IOS     4u /* as many NVMe completions as fit in a cache line */
#define GROUP_BYTES   (32u << 10) /* no completion waits longer than for that much */
#define HUGE_SIZE     (2ull << 20)
#define CHUNK	      4096u
#define PREFETCH_SPAN 1024u
#define REP_MIN	      512u /* bytes from which rep movsb pays */
#define KEEP_IN_L2    2 /* of __builtin_prefetch() */

/* gcc has the one, clang the other */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

struct malloc_bdev {
	struct plx_bdev bdev;
	char *data; /* blocks of stride bytes */
	char *md; /* separate metadata */
	size_t stride;
	int caw_lock;
	bool weave; /* copy a page while the next one is prefetched */
	bool to_populate; /* as it was asked for */
	struct populate_range ranges[POPULATE_RANGES]; /* what was mapped: data, metadata */
	struct populate *populate; /* NULL: pages come with first use */
};

struct malloc_channel {
	struct bdev_io_list queue;
	struct plx_poller *poller;
};

/* ---- memory ---- */

static size_t huge_round(size_t len)
{
	return (len + HUGE_SIZE - 1) & ~(size_t)(HUGE_SIZE - 1);
}

/* Aligned to 2 MiB, zero, not touched yet. @r->len has been rounded. */
static bool storage_map(struct populate_range *r, int numa)
{
	size_t len = r->len;
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *p = MAP_FAILED;

	if (plx_env_may_use_hugepages())
		p = mmap(NULL, len, prot, flags | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	r->hugetlb = p != MAP_FAILED;
	if (!r->hugetlb) {
		char *raw = mmap(NULL, len + HUGE_SIZE, prot, flags, -1, 0);
		size_t head;

		if (raw == MAP_FAILED)
			return false;
		head = -(uintptr_t)raw & (HUGE_SIZE - 1);
		p = raw + head;
		if (head)
			munmap(raw, head);
		munmap(p + len, HUGE_SIZE - head);
		/* a wish: the device works without */
		madvise(p, len, MADV_HUGEPAGE);
	}
	if (numa >= 0 && numa_available() >= 0 && numa_num_configured_nodes() > 1) {
		unsigned long mask[PLX_MAX_CPUS / 64] = { 0 };

		if ((size_t)numa >= PLX_MAX_CPUS ||
		    !numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)numa))
			plx_log(PLX_LOG_WARN, "bdev",
				"NUMA node %d does not exist: memory comes from any", numa);
		else {
			mask[numa / 64] = 1ul << (numa % 64);
			mbind(p, len, MPOL_PREFERRED, mask, PLX_MAX_CPUS, 0);
		}
	}
	r->at = p;
	return true;
}

static void storage_zero(char *at, size_t len)
{
	char *from = (char *)(((uintptr_t)at + HUGE_SIZE - 1) & ~(uintptr_t)(HUGE_SIZE - 1));
	char *to = (char *)((uintptr_t)(at + len) & ~(uintptr_t)(HUGE_SIZE - 1));

	/* whole huge pages go back to the system, and are zero when they return */
	if (from >= to || madvise(from, (size_t)(to - from), MADV_DONTNEED)) {
		memset(at, 0, len);
		return;
	}
	memset(at, 0, (size_t)(from - at));
	memset(to, 0, (size_t)(at + len - to));
}

/* ---- data ---- */

static inline char *data_at(const struct malloc_bdev *m, uint64_t block)
{
	return m->data + block * m->stride;
}

static inline char *md_at(const struct malloc_bdev *m, uint64_t block)
{
	return m->md ? m->md + block * m->bdev.md_size : NULL;
}

static bool processor_weaves(void)
{
#ifdef __x86_64__
	return __builtin_cpu_is("amd");
#else
	return false;
#endif
}

/* A sanitizer sees memcpy() only */
static inline void copy_piece(void *to, const void *from, size_t n, bool rep)
{
#if defined(__x86_64__) && !SANITIZED
	if (rep && n >= REP_MIN) {
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		return;
	}
#endif
	memcpy(to, from, n);
}

static inline void prefetch_span(const char *at)
{
	/* beyond the end of the storage, too: a prefetch does not fault */
	for (size_t i = 0; i < PREFETCH_SPAN; i += PLX_CACHE_LINE)
		__builtin_prefetch(at + i);
}

enum op { OP_READ, OP_WRITE, OP_COMPARE };

static inline bool op_run(struct iov_cursor *c, char *at, size_t len, enum op op, bool rep)
{
	while (len) {
		void *buf;
		size_t n = iov_cursor_next(c, len, &buf);

		if (op == OP_READ)
			copy_piece(buf, at, n, rep);
		else if (op == OP_WRITE)
			copy_piece(at, buf, n, rep);
		else if (memcmp(at, buf, n))
			return false;
		at += n;
		len -= n;
	}
	return true;
}

/* At most a page, and as much of @ahead, or NULL */
static inline bool move_woven(struct iov_cursor *c, char *at, size_t len, enum op op,
			      const char *ahead)
{
	for (size_t done = 0, n; done < len; done += n) {
		n = len - done < PREFETCH_SPAN ? len - done : PREFETCH_SPAN;
		for (size_t i = 0; ahead && i < PREFETCH_SPAN; i += PLX_CACHE_LINE)
			__builtin_prefetch(ahead + done + i, 0, KEEP_IN_L2);
		if (!op_run(c, at + done, n, op, true))
			return false;
	}
	return true;
}

/* A contiguous range. @next: storage of the I/O that follows, or NULL. Return: false for a
 * difference */
static inline bool move(const struct malloc_bdev *m, const struct iovec *iov, char *at, size_t len,
			enum op op, const char *next)
{
	struct iov_cursor c = { .iov = iov };

	if (m->weave) {
		for (; len > CHUNK; at += CHUNK, len -= CHUNK)
			if (!move_woven(&c, at, CHUNK, op, at + CHUNK))
				return false;
		return move_woven(&c, at, len, op, next);
	}
	for (; len > CHUNK; at += CHUNK, len -= CHUNK) {
		prefetch_span(at + CHUNK);
		if (!op_run(&c, at, CHUNK, op, false))
			return false;
	}
	if (next)
		prefetch_span(next);
	return op_run(&c, at, len, op, false);
}

/* Interleaved metadata that is not transferred: the data alone, block by block. */
static bool move_stripped(const struct malloc_bdev *m, const struct plx_bdev_io *io, enum op op)
{
	struct iov_cursor c = { .iov = io->iov };

	for (uint64_t i = 0; i < io->blocks; i++)
		if (!op_run(&c, data_at(m, io->offset + i), m->bdev.block_size, op, false))
			return false;
	return true;
}

static bool move_io(const struct malloc_bdev *m, const struct plx_bdev_io *io, enum op op,
		    const char *next)
{
	size_t xfer = plx_bdev_xfer_block(&m->bdev, io->check);

	if (plx_unlikely(xfer != m->stride))
		return move_stripped(m, io, op);
	return move(m, io->iov, data_at(m, io->offset), io->blocks * xfer, op, next);
}

/* ---- metadata and protection information ---- */

/* All ones where there is protection information: not to be checked */
static int md_blank(const struct malloc_bdev *m)
{
	return m->bdev.dif == PLX_BDEV_DIF_NONE ? 0 : 0xff;
}

static uint16_t stored_verify(const struct malloc_bdev *m, const struct plx_bdev_io *io)
{
	struct iovec iov = { .iov_base = data_at(m, io->offset),
			     .iov_len = io->blocks * m->stride };

	return pi_verify(io, &iov, 1, md_at(m, io->offset));
}

static void stored_generate(struct malloc_bdev *m, const struct plx_bdev_io *io)
{
	struct iovec iov = { .iov_base = data_at(m, io->offset),
			     .iov_len = io->blocks * m->stride };
	struct plx_pi_format f = pi_format(&m->bdev);
	struct plx_pi_tags tags = pi_tags(io);

	plx_pi_generate(&f, &iov, 1, md_at(m, io->offset), io->blocks, &tags);
}

static plx_noinline uint16_t read_md(struct malloc_bdev *m, struct plx_bdev_io *io)
{
	uint16_t status = stored_verify(m, io);

	if (status)
		return status;
	move_io(m, io, OP_READ, NULL);
	if (io->md)
		memcpy(io->md, md_at(m, io->offset), io->blocks * m->bdev.md_size);
	return PLX_BDEV_OK;
}

static plx_noinline uint16_t write_md(struct malloc_bdev *m, struct plx_bdev_io *io)
{
	uint16_t status = PLX_BDEV_OK;

	/* without metadata there is nothing to check: the blocks will not be checked either */
	if (!(io->check & PLX_BDEV_PRACT) && (io->md || m->bdev.md_interleaved))
		status = pi_verify(io, io->iov, io->iovcnt, io->md);
	if (status)
		return status;
	move_io(m, io, OP_WRITE, NULL);
	if (io->md)
		memcpy(md_at(m, io->offset), io->md, io->blocks * m->bdev.md_size);
	else if (m->md)
		memset(md_at(m, io->offset), md_blank(m), io->blocks * m->bdev.md_size);
	if (io->check & PLX_BDEV_PRACT)
		stored_generate(m, io);
	return PLX_BDEV_OK;
}

/* ---- what is rare ---- */

static uint16_t compare(struct malloc_bdev *m, struct plx_bdev_io *io)
{
	uint16_t status = io->check ? stored_verify(m, io) : PLX_BDEV_OK;

	if (status)
		return status;
	if (!move_io(m, io, OP_COMPARE, NULL))
		return PLX_BDEV_ST_MISCOMPARE;
	if (io->md && memcmp(io->md, md_at(m, io->offset), io->blocks * m->bdev.md_size))
		return PLX_BDEV_ST_MISCOMPARE;
	return PLX_BDEV_OK;
}

static uint16_t compare_and_write(struct malloc_bdev *m, struct plx_bdev_io *io)
{
	char *at = data_at(m, io->offset);
	size_t len = io->blocks * m->stride;
	bool same;

	while (__atomic_exchange_n(&m->caw_lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
	same = move(m, io->cmp_iov, at, len, OP_COMPARE, NULL);
	if (same) {
		move(m, io->iov, at, len, OP_WRITE, NULL);
		if (m->md)
			memset(md_at(m, io->offset), md_blank(m), io->blocks * m->bdev.md_size);
	}
	__atomic_store_n(&m->caw_lock, 0, __ATOMIC_RELEASE);
	return same ? PLX_BDEV_OK : PLX_BDEV_ST_MISCOMPARE;
}

static uint16_t zero(struct malloc_bdev *m, struct plx_bdev_io *io)
{
	const struct plx_bdev *b = &m->bdev;

	storage_zero(data_at(m, io->offset), io->blocks * m->stride);
	if (m->md)
		memset(md_at(m, io->offset), md_blank(m), io->blocks * b->md_size);
	else if (b->md_size && md_blank(m))
		for (uint64_t i = 0; i < io->blocks; i++)
			memset(data_at(m, io->offset + i) + b->block_size, md_blank(m), b->md_size);
	return PLX_BDEV_OK;
}

static uint16_t copy(struct malloc_bdev *m, struct plx_bdev_io *io)
{
	const struct plx_bdev *b = &m->bdev;
	uint32_t delta = (uint32_t)(io->offset - io->src);

	memmove(data_at(m, io->offset), data_at(m, io->src), io->blocks * m->stride);
	if (m->md) {
		memmove(md_at(m, io->offset), md_at(m, io->src), io->blocks * b->md_size);
		pi_move_refs(b, md_at(m, io->offset), b->md_size, io->blocks, delta);
	} else if (b->md_size) {
		pi_move_refs(b, data_at(m, io->offset) + b->block_size, m->stride, io->blocks,
			     delta);
	}
	return PLX_BDEV_OK;
}

static plx_noinline uint16_t rare(struct malloc_bdev *m, struct plx_bdev_io *io)
{
	switch (io->type) {
	case PLX_BDEV_FLUSH:
		return PLX_BDEV_OK;
	case PLX_BDEV_UNMAP:
	case PLX_BDEV_WRITE_ZEROES:
		return zero(m, io);
	case PLX_BDEV_COMPARE:
		return compare(m, io);
	case PLX_BDEV_COMPARE_AND_WRITE:
		return compare_and_write(m, io);
	case PLX_BDEV_VERIFY:
		return stored_verify(m, io);
	case PLX_BDEV_COPY:
		return copy(m, io);
	default:
		return PLX_BDEV_ST_INVALID_OPCODE;
	}
}

/* ---- the queue ---- */

static inline uint16_t execute(struct malloc_bdev *m, struct plx_bdev_io *io, const char *next)
{
	if (plx_unlikely(io->type > PLX_BDEV_WRITE))
		return rare(m, io);
	if (io->type == PLX_BDEV_READ) {
		if (plx_unlikely(io->check || io->md))
			return read_md(m, io);
		move(m, io->iov, data_at(m, io->offset), io->blocks * m->stride, OP_READ, next);
	} else {
		if (plx_unlikely(io->check || m->md))
			return write_md(m, io);
		move(m, io->iov, data_at(m, io->offset), io->blocks * m->stride, OP_WRITE, next);
	}
	return PLX_BDEV_OK;
}

/*
 * What a completion makes its caller write is often on its way to another core. Stores leave in
 * order, so a copy that follows right behind waits for that line: a few completions in a row cost
 * one such wait.
 */
struct group {
	struct plx_bdev_io *io[GROUP_IOS];
	uint16_t status[GROUP_IOS];
	unsigned n;
	uint64_t bytes;
};

static inline void group_complete(struct group *g)
{
	for (unsigned i = 0; i < g->n; i++)
		plx_bdev_io_complete(g->io[i], g->status[i]);
	g->n = 0;
	g->bytes = 0;
}

static int malloc_poll(void *arg)
{
	struct malloc_channel *mch = arg;
	struct plx_bdev_io *io = mch->queue.head, *next;
	struct group g = { .n = 0 };

	if (plx_likely(!io))
		return 0;
	/* what callbacks submit is for the next turn, and is prefetched in this one */
	io_list_init(&mch->queue);
	for (; io; io = next) {
		struct malloc_bdev *m = io->bdev->ctx;
		struct plx_bdev_io *ahead = io->next ? io->next : mch->queue.head;

		next = io->next;
		g.io[g.n] = io;
		g.status[g.n++] = execute(m, io, ahead ? data_at(m, ahead->offset) : NULL);
		g.bytes += io->blocks * m->stride;
		if (!next || g.n == GROUP_IOS || g.bytes >= GROUP_BYTES)
			group_complete(&g);
	}
	return 1;
}

static void malloc_submit(struct plx_bdev_io *io)
{
	struct malloc_channel *mch = io->mch;

	/* the first of a batch has nobody before it to prefetch for it */
	if (!mch->queue.head)
		prefetch_span(data_at(io->bdev->ctx, io->offset));
	io_list_append(&mch->queue, io);
}

static int malloc_channel_create(void *ctx, void *ch)
{
	struct malloc_channel *mch = ch;

	io_list_init(&mch->queue);
	mch->poller = plx_poller_create(malloc_poll, mch, 0);
	return mch->poller ? 0 : -errno;
}

static void malloc_channel_destroy(void *ctx, void *ch)
{
	plx_poller_destroy(((struct malloc_channel *)ch)->poller);
}

/* ---- the device ---- */

static bool malloc_supports(void *ctx, enum plx_bdev_io_type t)
{
	/* nothing hangs here: what is outstanding ends in the next turn */
	return t != PLX_BDEV_RESET && t != PLX_BDEV_ABORT;
}

static void malloc_destruct(void *ctx)
{
	struct malloc_bdev *m = ctx;

	populate_stop(m->populate);
	for (int i = 0; i < POPULATE_RANGES; i++)
		if (m->ranges[i].at)
			munmap(m->ranges[i].at, m->ranges[i].len);
	free(m);
}

static int malloc_ready(void *ctx)
{
	const struct malloc_bdev *m = ctx;

	return m->populate ? populate_status(m->populate) : 0;
}

static const char *malloc_dump_config(void *ctx, struct json_t *params)
{
	const struct malloc_bdev *m = ctx;

	geometry_dump(&m->bdev, params);
	if (m->bdev.numa >= 0)
		json_object_set_new(params, "numa_id", json_integer(m->bdev.numa));
	if (!m->to_populate)
		json_object_set_new(params, "populate", json_false());
	return "bdev_malloc_create";
}

static const struct plx_bdev_ops malloc_ops = {
	.product = "Malloc disk",
	.submit = malloc_submit,
	.supports = malloc_supports,
	.channel_size = sizeof(struct malloc_channel),
	.channel_create = malloc_channel_create,
	.channel_destroy = malloc_channel_destroy,
	.ready = malloc_ready,
	.destruct = malloc_destruct,
	.dump_config = malloc_dump_config,
};

static int storage_create(struct malloc_bdev *m)
{
	const struct plx_bdev *b = &m->bdev;
	struct populate_range *data = &m->ranges[0], *md = &m->ranges[1];

	m->stride = plx_bdev_buf_block(b);
	data->len = huge_round(b->blocks * m->stride);
	if (b->md_size && !b->md_interleaved)
		md->len = huge_round(b->blocks * b->md_size);
	if (storage_map(data, b->numa) && (!md->len || storage_map(md, b->numa))) {
		m->data = data->at;
		m->md = md->at;
		return 0;
	}
	plx_log(PLX_LOG_ERR, "bdev", "%s: %zu MiB of memory are not to be had: make it smaller",
		b->name, (data->len + md->len) >> 20);
	return -ENOMEM;
}

static int storage_populate(struct malloc_bdev *m)
{
	m->populate = populate_start(m->bdev.name, m->ranges);
	if (!m->populate)
		return errno == EFBIG ? 0 : -errno;
	/* storage_format() is about to touch all of it: let the CPUs share that */
	return m->bdev.dif == PLX_BDEV_DIF_NONE || m->md ? 0 : populate_wait(m->populate);
}

/* Blocks never written are not to be checked. */
static void storage_format(struct malloc_bdev *m)
{
	const struct plx_bdev *b = &m->bdev;

	if (b->dif == PLX_BDEV_DIF_NONE)
		return;
	if (m->md)
		memset(m->md, 0xff, b->blocks * b->md_size);
	else
		for (uint64_t i = 0; i < b->blocks; i++)
			memset(data_at(m, i) + b->block_size, 0xff, b->md_size);
}

int plx_bdev_malloc_create(const char *name, const struct plx_bdev_geometry *g,
			   struct plx_bdev **out)
{
	struct malloc_bdev *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	rc = geometry_apply(&m->bdev, name, g);
	if (!rc) {
		m->bdev.ops = &malloc_ops;
		m->bdev.ctx = m;
		m->to_populate = g->populate;
		m->weave = processor_weaves();
		rc = storage_create(m);
	}
	if (!rc && g->populate)
		rc = storage_populate(m);
	if (!rc) {
		storage_format(m);
		rc = geometry_register(&m->bdev);
	}
	if (rc) {
		malloc_destruct(m);
		return rc;
	}
	if (out)
		*out = &m->bdev;
	return 0;
}
