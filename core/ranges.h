/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/ranges.h - a sorted table of address ranges, read without a lock
 *
 * Read on I/O paths by any thread; changes rarely, under a lock of its owner's. So readers take
 * none: the table's words are read between two looks at a sequence number, odd while it changes.
 */
#ifndef POLLUX_CORE_RANGES_H
#define POLLUX_CORE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** struct plx_range - words only, because readers copy it word by word */
struct plx_range {
	uint64_t base;
	uint64_t len;
	uint64_t iova;
	uint64_t fd; /* an int, sign extended */
	uint64_t fd_offset;
	uint64_t owner; /* address it was registered with; 0: EAL's */
};

/* A table that was outgrown stays until the end: a reader may still be in it. */
struct plx_range_table {
	struct plx_range_table *outgrown;
	uint64_t cap;
	struct plx_range r[];
};

/** struct plx_ranges - all zero: empty. Only @seq is for others to look at */
struct plx_ranges {
	uint64_t seq;
	struct plx_range_table *table;
	uint64_t count;
};

/* ---- for its owner, under its lock ---- */

/** plx_ranges_reserve - room for one more. Return: 0; -ENOMEM */
int plx_ranges_reserve(struct plx_ranges *t);
/** plx_ranges_insert - which overlaps none; room for it has been reserved */
void plx_ranges_insert(struct plx_ranges *t, const struct plx_range *r);
void plx_ranges_remove(struct plx_ranges *t, uint64_t at);
/** plx_ranges_lower - index of the first range that ends above @va */
uint64_t plx_ranges_lower(const struct plx_ranges *t, uint64_t va);
bool plx_ranges_overlap(const struct plx_ranges *t, uint64_t base, uint64_t len);
/** plx_ranges_empty - for good: nobody reads it any more */
void plx_ranges_empty(struct plx_ranges *t);

/* ---- any thread ---- */

/** plx_ranges_find - the range that holds @va, and the sequence number for which that is so.
 *  Return: false when there is none */
bool plx_ranges_find(const struct plx_ranges *t, uint64_t va, struct plx_range *out, uint64_t *seq);
/** plx_ranges_iova - as plx_mem_iova(), of this table */
uint64_t plx_ranges_iova(const struct plx_ranges *t, const void *va, size_t *len);

#endif
