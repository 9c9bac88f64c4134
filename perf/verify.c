/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/verify.c - blocks that describe themselves, and the check of what was read
 *
 * Each block of a verified namespace carries a header: which block it is, its generation (the
 * how-manieth write of it), whose it is; content made of these fills the rest, and a CRC-32C covers
 * everything. So a block that is damaged, old, someone else's or in the wrong place says so by
 * itself. A table of generations, one a block, knows which is due.
 *
 * A write that failed may have taken place or not: until the next one that succeeds, every
 * generation since the last one that succeeded is accepted.
 */
#include "perf/perf.h"
#include "core/checksum.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAGIC	   0x79667276u /* "vrfy" */
#define GEN_MASK   0xffffffu
#define DOUBT_MAX  0xffu
#define MAX_REPORT 10000

struct header {
	uint32_t crc; /* of all that follows in the block */
	uint32_t magic;
	uint64_t lba;
	uint64_t seed;
	uint64_t owner; /* namespace and run */
	uint32_t generation; /* 1 to GEN_MASK, then 0 and on */
	uint32_t reserved;
};
_Static_assert(sizeof(struct header) % 8 == 0 && sizeof(struct header) < 64,
	       "fits the smallest block, whole words");

/*
 * struct perf_verify - what one namespace should contain
 * @table: of each block the generation of its last write (24 bits) and how many writes up to it
 * have failed (8 bits)
 * @written: a bit for each block that holds something of this run; @busy: one for each that an I/O
 * is out on
 */
struct perf_verify {
	uint32_t *table;
	uint64_t *written;
	uint64_t *busy;
	uint64_t lbas;
	uint32_t block;
	uint64_t seed, owner;
	uint64_t reported;
	void *expected; /* a block, to compare with one that is damaged */
};

static inline uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ull;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

static inline uint64_t bit(uint64_t lba)
{
	return 1ull << (lba & 63);
}

struct perf_verify *perf_verify_create(uint64_t lbas, uint32_t block, uint64_t seed)
{
	struct perf_verify *v;
	struct timespec now;
	size_t words = (size_t)((lbas + 63) / 64);

	if (!lbas || lbas > SIZE_MAX / 8 || block < 64 || block % 8) {
		errno = EINVAL;
		return NULL;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->table = calloc((size_t)lbas, sizeof(*v->table));
	v->written = calloc(words, sizeof(*v->written));
	v->busy = calloc(words, sizeof(*v->busy));
	v->expected = malloc(block);
	if (!v->table || !v->written || !v->busy || !v->expected) {
		perf_verify_destroy(v);
		errno = ENOMEM;
		return NULL;
	}
	v->lbas = lbas;
	v->block = block;
	v->seed = seed;
	clock_gettime(CLOCK_REALTIME, &now);
	v->owner = mix((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) ^
		   mix((uint64_t)getpid() << 32) ^ (uintptr_t)v;
	return v;
}

void perf_verify_destroy(struct perf_verify *v)
{
	if (!v)
		return;
	free(v->table);
	free(v->written);
	free(v->busy);
	free(v->expected);
	free(v);
}

/* ---- who may touch what ---- */

/* Bits of [slba, end) that lie in the word of @slba */
static inline uint64_t word_bits(uint64_t slba, uint64_t end)
{
	uint64_t bits = ~0ull << (slba & 63);

	if (end - (slba & ~63ull) < 64)
		bits &= bit(end) - 1;
	return bits;
}

static inline uint64_t next_word(uint64_t lba)
{
	return (lba | 63) + 1;
}

bool perf_verify_claim(struct perf_verify *v, uint64_t slba, uint32_t nlb)
{
	uint64_t end = slba + nlb;

	for (uint64_t l = slba; l < end; l = next_word(l)) {
		if (v->busy[l / 64] & word_bits(l, end))
			return false;
	}
	for (uint64_t l = slba; l < end; l = next_word(l))
		v->busy[l / 64] |= word_bits(l, end);
	return true;
}

void perf_verify_release(struct perf_verify *v, uint64_t slba, uint32_t nlb)
{
	uint64_t end = slba + nlb;

	for (uint64_t l = slba; l < end; l = next_word(l))
		v->busy[l / 64] &= ~word_bits(l, end);
}

/* ---- writing ---- */

/* Content differs in every word of every block and generation, and compilers make vectors of it */
static void make_block(const struct perf_verify *v, void *to, uint64_t lba, uint32_t generation)
{
	struct header h = { .magic = MAGIC,
			    .lba = lba,
			    .seed = v->seed,
			    .owner = v->owner,
			    .generation = generation };
	char *content = (char *)to + sizeof(h);
	uint64_t base = mix(v->seed ^ mix(lba ^ (uint64_t)generation << 40));
	size_t n = (v->block - sizeof(h)) / 8;

	memcpy(to, &h, sizeof(h));
	for (size_t i = 0; i < n; i++) {
		uint64_t word = base + i * 0x9e3779b97f4a7c15ull;

		memcpy(content + 8 * i, &word,
		       sizeof(word)); /* buffers may be aligned to 4 bytes only */
	}
	h.crc = plx_crc32c(0, (char *)to + sizeof(h.crc), v->block - sizeof(h.crc));
	memcpy(to, &h.crc, sizeof(h.crc));
}

void perf_verify_fill(struct perf_verify *v, struct perf_task *t)
{
	char *at = t->buf;

	for (uint32_t i = 0; i < t->nlb; i++, at += t->job->xfer_block)
		make_block(v, at, t->slba + i, (v->table[t->slba + i] + 1) & GEN_MASK);
}

void perf_verify_written(struct perf_verify *v, struct perf_task *t)
{
	for (uint64_t lba = t->slba; lba < t->slba + t->nlb; lba++) {
		uint32_t generation = (v->table[lba] + 1) & GEN_MASK, doubt = v->table[lba] >> 24;

		if (!t->status)
			doubt = 0;
		else if (doubt < DOUBT_MAX)
			doubt++;
		v->table[lba] = doubt << 24 | generation;
		/* a first write that failed: whatever was there before may be there still */
		if (!t->status)
			v->written[lba / 64] |= bit(lba);
	}
}

/* ---- checking ---- */

/* The first byte that is not as it should be; @block when all are */
static uint32_t first_difference(const char *a, const char *b, uint32_t block)
{
	uint32_t i = 0;

	while (i < block && a[i] == b[i])
		i++;
	return i;
}

static bool all_equal(const unsigned char *p, uint32_t n)
{
	return !memcmp(p, p + 1, n - 1);
}

/* Damaged: say where first, against the generation it claims to be if that was due, else the
 * last */
static void describe_damage(struct perf_verify *v, const void *found, const struct header *h,
			    uint64_t lba, char *text, size_t len)
{
	const unsigned char *f = found, *e = v->expected;
	uint32_t last = v->table[lba] & GEN_MASK, doubt = v->table[lba] >> 24, n = 0, at;

	if (all_equal(f, v->block)) {
		snprintf(text, len, "never written: every byte is 0x%02x, expected generation %u",
			 f[0], last);
		return;
	}
	make_block(v, v->expected, lba,
		   ((last - h->generation) & GEN_MASK) <= doubt ? h->generation : last);
	at = first_difference(found, v->expected, v->block);
	for (uint32_t i = at; i < v->block; i++)
		n += f[i] != e[i];
	snprintf(text, len,
		 "corrupt content: %u of %u bytes differ, the first at offset %u: expected 0x%02x, "
		 "found 0x%02x",
		 n, v->block, at, e[at < v->block ? at : 0], f[at < v->block ? at : 0]);
}

static plx_noinline void report(struct perf_verify *v, const void *found, const struct header *h,
				uint64_t lba, bool sound)
{
	uint32_t last = v->table[lba] & GEN_MASK;
	char text[192];

	v->reported++;
	if (v->reported > MAX_REPORT + 1)
		return;
	if (v->reported == MAX_REPORT + 1) {
		fprintf(stderr, "plx-perf: verify: further mismatches are counted only\n");
		return;
	}
	if (!sound)
		describe_damage(v, found, h, lba, text, sizeof(text));
	else if (h->owner != v->owner || h->seed != v->seed)
		snprintf(text, sizeof(text),
			 "never written: a block of another run or namespace (its LBA %" PRIu64
			 ", seed %" PRIu64 "), expected generation %u",
			 h->lba, h->seed, last);
	else if (h->lba != lba)
		snprintf(text, sizeof(text),
			 "wrong LBA: expected %" PRIu64 ", found the block of LBA %" PRIu64, lba,
			 h->lba);
	else
		snprintf(text, sizeof(text), "stale generation: expected %u, found %u", last,
			 h->generation);
	fprintf(stderr, "plx-perf: verify: LBA %" PRIu64 ": %s\n", lba, text);
}

static inline bool block_ok(struct perf_verify *v, const char *found, uint64_t lba)
{
	uint32_t entry = v->table[lba];
	struct header h;
	bool sound;

	memcpy(&h, found, sizeof(h));
	sound = h.magic == MAGIC &&
		h.crc == plx_crc32c(0, found + sizeof(h.crc), v->block - sizeof(h.crc));
	if (plx_likely(sound && h.lba == lba && h.owner == v->owner && h.seed == v->seed &&
		       ((entry - h.generation) & GEN_MASK) <= entry >> 24))
		return true;
	report(v, found, &h, lba, sound);
	return false;
}

uint32_t perf_verify_check(struct perf_verify *v, struct perf_task *t)
{
	const char *at = t->buf;
	uint32_t bad = 0;

	for (uint64_t lba = t->slba; lba < t->slba + t->nlb; lba++, at += t->job->xfer_block) {
		if (plx_likely(v->written[lba / 64] & bit(lba)))
			bad += !block_ok(v, at, lba);
	}
	return bad;
}
