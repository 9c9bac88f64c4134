/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/histogram.h - log-linear latency histograms (HDR), in nanoseconds
 *
 * Fixed memory, constant-time record, a relative error bounded by the number of significant digits.
 * The counts array is laid out as HdrHistogram's, so the interval-log text format (.hlog, V2
 * compressed) is read and written without conversion.
 */
#ifndef POLLUX_HISTOGRAM_H
#define POLLUX_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct plx_hist - one histogram; recorded into by one thread, merged by any once that has stopped
 * @counts: @max_index + 1 counters, value of index i by plx_hist_value_at()
 * @sub_bits: log2 of the number of sub-buckets (11 for three significant digits)
 * @max_index: last valid index
 */
struct plx_hist {
	uint64_t *counts;
	uint32_t sub_bits;
	uint32_t max_index;
	uint64_t total;
	uint64_t min; /* UINT64_MAX while empty */
	uint64_t max;
	/* records above the highest trackable value, counted in the last bucket too */
	uint64_t overflow;
	unsigned __int128 sum;
	int digits;
	uint64_t highest;
};

/**
 * plx_hist_create - a histogram of values from 1 to @highest
 * @highest: largest trackable value, ns; 0 for the default of 3600 s
 * @digits: significant decimal digits, 1 to 5; 0 for the default of 3 (0.1 %)
 * Return: NULL with errno EINVAL or ENOMEM.
 */
struct plx_hist *plx_hist_create(uint64_t highest, int digits);
void plx_hist_destroy(struct plx_hist *h);
void plx_hist_reset(struct plx_hist *h);

/** plx_hist_index - where value @v is counted (HdrHistogram countsArrayIndex, unit magnitude 0) */
static inline uint32_t plx_hist_index(const struct plx_hist *h, uint64_t v)
{
	uint32_t half = h->sub_bits - 1;
	/* bucket 0 is linear over the whole sub-bucket range, each further one over its upper
	 * half */
	uint32_t bucket =
		64 - (uint32_t)__builtin_clzll(v | ((1ull << h->sub_bits) - 1)) - h->sub_bits;

	return (bucket << half) + (uint32_t)(v >> bucket);
}

/** plx_hist_record_n - count a value @n times, 1 or more; no allocation, no branch but the range
 *  clamp */
static inline void plx_hist_record_n(struct plx_hist *h, uint64_t v, uint64_t n)
{
	uint32_t i = plx_hist_index(h, v);

	if (__builtin_expect(i > h->max_index, 0)) {
		h->overflow += n;
		i = h->max_index;
	}
	h->counts[i] += n;
	h->total += n;
	h->sum += (unsigned __int128)v * n;
	if (v < h->min)
		h->min = v;
	if (v > h->max)
		h->max = v;
}

static inline void plx_hist_record(struct plx_hist *h, uint64_t v)
{
	plx_hist_record_n(h, v, 1);
}

/** plx_hist_value_at - lowest value counted at index @i; plx_hist_highest_at() the highest */
uint64_t plx_hist_value_at(const struct plx_hist *h, uint32_t i);
uint64_t plx_hist_highest_at(const struct plx_hist *h, uint32_t i);
/** plx_hist_percentile - smallest value at or below which @p percent (0..100) of the records lie; 0
 *  when empty. Reports the highest equivalent value of its bucket, never above the true maximum. */
uint64_t plx_hist_percentile(const struct plx_hist *h, double p);
double plx_hist_mean(const struct plx_hist *h);
double plx_hist_stddev(const struct plx_hist *h);

/** plx_hist_merge - add @src to @dst. Return: 0; -ERANGE when @src has values @dst cannot track
 *  (nothing added) */
int plx_hist_merge(struct plx_hist *dst, const struct plx_hist *src);
/** plx_hist_subtract - take @src out of @dst. Return: 0; -ERANGE when a count would go below zero
 *  (nothing changed) */
int plx_hist_subtract(struct plx_hist *dst, const struct plx_hist *src);

/* ---- serialisation: V2 compressed, base64 (HdrHistogram "HISTFAAAA...") ---- */

/** plx_hist_encode - Return: malloc'ed text, freed by the caller; NULL with errno */
char *plx_hist_encode(const struct plx_hist *h);
/** plx_hist_decode - Return: a histogram; NULL with errno EINVAL (malformed), E2BIG (over 64 MiB
 *  unpacked), ENOMEM */
struct plx_hist *plx_hist_decode(const char *text, size_t len);

/** struct plx_hlog_entry - one interval of a log */
struct plx_hlog_entry {
	char tag[64]; /* "" when untagged */
	/* as written: since the log's base time, or since the epoch if it has none */
	double start_s;
	double length_s;
	double max; /* in the log's unit, as written: ms by convention */
	struct plx_hist *hist; /* owned by the reader's caller */
};
/**
 * plx_hlog_write_header - what a log starts with; the intervals that follow count from @start_s
 * @start_s: seconds since the epoch
 * @comment: lines to put above it; may be NULL
 * Return: 0; -EINVAL negative or beyond the year 9999; the error of writing to @f
 */
int plx_hlog_write_header(FILE *f, double start_s, const char *comment);
/**
 * plx_hlog_write - one interval, its maximum in ms for values in ns
 * @tag: NULL or "" for none; at most 63 characters, no commas, blanks or control characters
 * @start_s: seconds since the start of the log
 * Return: 0; -EINVAL bad tag or a time that is no number; -ENOMEM; -EOVERFLOW a count of 2^63 or
 * more; the error of writing to @f
 */
int plx_hlog_write(FILE *f, const char *tag, double start_s, double length_s,
		   const struct plx_hist *h);
/**
 * plx_hlog_read - next interval of @f
 * @line: counts lines, for messages; start with 0
 *
 * Skips comments, the legend and blank lines. A malformed line is passed over, too: reading can go
 * on after it.
 * Return: 1 with *@e filled (e->hist owned by the caller), 0 at the end, -EINVAL malformed, -ENOMEM
 * or -EIO (sentence in @err)
 */
int plx_hlog_read(FILE *f, unsigned *line, struct plx_hlog_entry *e, char *err, size_t errlen);

#ifdef __cplusplus
}
#endif
#endif
