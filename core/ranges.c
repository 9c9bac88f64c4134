/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/ranges.c - see ranges.h
 */
#include "core/ranges.h"
#include <errno.h>
#include <pollux/env.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_MIN   64
#define RANGE_WORDS (sizeof(struct plx_range) / sizeof(uint64_t))
_Static_assert(sizeof(struct plx_range) == 6 * sizeof(uint64_t), "a range is words only");

static inline uint64_t word_load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void word_store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static void range_copy(struct plx_range *dst, const struct plx_range *src)
{
	for (size_t i = 0; i < RANGE_WORDS; i++)
		word_store((uint64_t *)dst + i, word_load((const uint64_t *)src + i));
}

/* ---- changes ---- */

static void change_begin(struct plx_ranges *t)
{
	__atomic_store_n(&t->seq, t->seq + 1, __ATOMIC_RELAXED);
}

static void change_end(struct plx_ranges *t)
{
	word_store(&t->seq, t->seq + 1);
}

uint64_t plx_ranges_lower(const struct plx_ranges *t, uint64_t va)
{
	uint64_t lo = 0, hi = t->count;

	while (lo < hi) {
		uint64_t mid = (lo + hi) / 2;
		const struct plx_range *r = &t->table->r[mid];

		if (r->base + r->len <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int plx_ranges_reserve(struct plx_ranges *t)
{
	uint64_t cap = t->table ? t->table->cap : TABLE_MIN;
	struct plx_range_table *grown;

	if (t->table && t->count < cap)
		return 0;
	if (t->table)
		cap *= 2;
	grown = malloc(sizeof(*grown) + cap * sizeof(struct plx_range));
	if (!grown)
		return -ENOMEM;
	grown->cap = cap;
	grown->outgrown = t->table;
	if (t->count)
		memcpy(grown->r, t->table->r, t->count * sizeof(struct plx_range));
	__atomic_store_n(&t->table, grown, __ATOMIC_RELEASE);
	return 0;
}

void plx_ranges_insert(struct plx_ranges *t, const struct plx_range *r)
{
	uint64_t at = plx_ranges_lower(t, r->base);

	change_begin(t);
	for (uint64_t i = t->count; i > at; i--)
		range_copy(&t->table->r[i], &t->table->r[i - 1]);
	range_copy(&t->table->r[at], r);
	word_store(&t->count, t->count + 1);
	change_end(t);
}

void plx_ranges_remove(struct plx_ranges *t, uint64_t at)
{
	change_begin(t);
	for (uint64_t i = at; i + 1 < t->count; i++)
		range_copy(&t->table->r[i], &t->table->r[i + 1]);
	word_store(&t->count, t->count - 1);
	change_end(t);
}

bool plx_ranges_overlap(const struct plx_ranges *t, uint64_t base, uint64_t len)
{
	uint64_t at = plx_ranges_lower(t, base);

	return at < t->count && t->table->r[at].base < base + len;
}

void plx_ranges_empty(struct plx_ranges *t)
{
	change_begin(t);
	word_store(&t->count, 0);
	change_end(t);
	while (t->table) {
		struct plx_range_table *table = t->table;

		t->table = table->outgrown;
		free(table);
	}
}

/* ---- look-ups ---- */

/* Copies the range that holds @va, or the first above it. Returns false where there is none, or
 * while the table changes: the caller compares sequence numbers before it believes anything. */
static bool range_copy_at(const struct plx_ranges *t, uint64_t va, struct plx_range *out)
{
	const struct plx_range_table *table = __atomic_load_n(&t->table, __ATOMIC_ACQUIRE);
	uint64_t lo = 0, n = word_load(&t->count), hi;

	if (!table)
		return false;
	if (n > table->cap) /* the count of a table yet to be seen */
		n = table->cap;
	hi = n;
	while (lo < hi) {
		uint64_t mid = (lo + hi) / 2;

		if (word_load(&table->r[mid].base) + word_load(&table->r[mid].len) <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == n)
		return false;
	range_copy(out, &table->r[lo]);
	return true;
}

bool plx_ranges_find(const struct plx_ranges *t, uint64_t va, struct plx_range *out, uint64_t *seq)
{
	for (;;) {
		uint64_t now = word_load(&t->seq);
		bool found;

		if (now & 1) {
			__builtin_ia32_pause();
			continue;
		}
		found = range_copy_at(t, va, out);
		if (__atomic_load_n(&t->seq, __ATOMIC_RELAXED) != now)
			continue;
		if (seq)
			*seq = now;
		return found && va >= out->base;
	}
}

uint64_t plx_ranges_iova(const struct plx_ranges *t, const void *va, size_t *len)
{
	uint64_t a = (uint64_t)(uintptr_t)va, run, iova;
	struct plx_range r, next;

	if (!plx_ranges_find(t, a, &r, NULL)) {
		if (len)
			*len = 0;
		return PLX_IOVA_BAD;
	}
	iova = r.iova + (a - r.base);
	if (!len)
		return iova;
	run = r.base + r.len - a;
	while (run < *len && plx_ranges_find(t, r.base + r.len, &next, NULL) &&
	       next.base == r.base + r.len && next.iova == r.iova + r.len) {
		run += next.len;
		r = next;
	}
	if (run < *len)
		*len = run;
	return iova;
}
