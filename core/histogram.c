/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/histogram.c - log-linear histograms: layout, percentiles, merge and subtract
 *
 * Bucket 0 holds the values below 2^sub_bits, one counter each. Every further bucket doubles the
 * width of a counter and needs only the upper half of the sub-buckets, as its lower half is what
 * the buckets before it count more finely. So counter i of bucket b > 0 covers 2^b values, and
 * buckets of more digits nest in those of fewer.
 */
#include <pollux/env.h>
#include <pollux/histogram.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_HIGHEST 3600000000000ull
#define DEFAULT_DIGITS	3

_Static_assert(offsetof(struct plx_hist, sum) + sizeof(unsigned __int128) <= PLX_CACHE_LINE,
	       "what a record touches beside its counter is one cache line");

static uint32_t sub_bits_for(int digits)
{
	uint64_t single_unit = 2;

	for (int i = 0; i < digits; i++)
		single_unit *= 10;
	return 64 - (uint32_t)__builtin_clzll(single_unit - 1);
}

struct plx_hist *plx_hist_create(uint64_t highest, int digits)
{
	struct plx_hist *h;

	if (highest == 0)
		highest = DEFAULT_HIGHEST;
	if (digits == 0)
		digits = DEFAULT_DIGITS;
	/* the file format has signed values, and asks for at least two of them */
	if (digits < 1 || digits > 5 || highest < 2 || highest > INT64_MAX) {
		errno = EINVAL;
		return NULL;
	}
	/* histograms of different threads must not share the line each of them writes */
	h = aligned_alloc(PLX_NO_SHARE, (sizeof(*h) + PLX_NO_SHARE - 1) & ~(PLX_NO_SHARE - 1ul));
	if (h == NULL)
		return NULL;
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
	h->sub_bits = sub_bits_for(digits);
	h->max_index = plx_hist_index(h, highest);
	h->digits = digits;
	h->highest = highest;
	h->counts = calloc((size_t)h->max_index + 1, sizeof(h->counts[0]));
	if (h->counts == NULL) {
		free(h);
		errno = ENOMEM;
		return NULL;
	}
	return h;
}

void plx_hist_destroy(struct plx_hist *h)
{
	if (h == NULL)
		return;
	free(h->counts);
	free(h);
}

/* First and last index that may hold a count; untouched pages beyond them stay unmapped. False when
 * empty. */
static bool counted_range(const struct plx_hist *h, uint32_t *first, uint32_t *last)
{
	if (h->total == 0)
		return false;
	*first = plx_hist_index(h, h->min);
	*last = plx_hist_index(h, h->max);
	if (*first > h->max_index)
		*first = h->max_index;
	if (*last > h->max_index)
		*last = h->max_index;
	return true;
}

void plx_hist_reset(struct plx_hist *h)
{
	uint32_t first, last;

	if (counted_range(h, &first, &last))
		memset(&h->counts[first], 0, ((size_t)last - first + 1) * sizeof(h->counts[0]));
	h->total = 0;
	h->min = UINT64_MAX;
	h->max = 0;
	h->overflow = 0;
	h->sum = 0;
}

/* Power of two of the number of values counted together at index @i */
static uint32_t width_log2(const struct plx_hist *h, uint32_t i)
{
	uint32_t halves = i >> (h->sub_bits - 1);

	return halves > 1 ? halves - 1 : 0;
}

uint64_t plx_hist_value_at(const struct plx_hist *h, uint32_t i)
{
	uint32_t b = width_log2(h, i);

	return ((uint64_t)i - ((uint64_t)b << (h->sub_bits - 1))) << b;
}

uint64_t plx_hist_highest_at(const struct plx_hist *h, uint32_t i)
{
	return plx_hist_value_at(h, i) + ((1ull << width_log2(h, i)) - 1);
}

static uint64_t middle_at(const struct plx_hist *h, uint32_t i)
{
	return plx_hist_value_at(h, i) + ((1ull << width_log2(h, i)) >> 1);
}

/*
 * Rank of a percentile, 1 to total. In billionths of a percent every percentile people write
 * ("99.9999") is a whole number, although the double that carries it is not exact; from there on it
 * is integers.
 */
static uint64_t percentile_rank(uint64_t total, double p)
{
	const uint64_t scale = 100ull * 1000000000ull;
	uint64_t part = (uint64_t)llround(p * 1e9);
	uint64_t rank = (uint64_t)(((unsigned __int128)part * total + scale - 1) / scale);

	return rank == 0 ? 1 : rank;
}

uint64_t plx_hist_percentile(const struct plx_hist *h, double p)
{
	uint32_t first, last;
	uint64_t rank, seen = 0, v;

	if (!counted_range(h, &first, &last))
		return 0;
	if (!(p > 0))
		return h->min;
	if (p >= 100)
		return h->max;
	rank = percentile_rank(h->total, p);
	for (uint32_t i = first; i <= last; i++) {
		seen += h->counts[i];
		if (seen < rank)
			continue;
		/* the last counter also has what was too large for it: only the maximum bounds
		 * that */
		if (i == h->max_index && h->overflow != 0)
			return h->max;
		v = plx_hist_highest_at(h, i);
		return v < h->max ? v : h->max;
	}
	return h->max;
}

double plx_hist_mean(const struct plx_hist *h)
{
	return h->total == 0 ? 0 : (double)h->sum / (double)h->total;
}

double plx_hist_stddev(const struct plx_hist *h)
{
	uint32_t first, last;
	double mean = 0, squares = 0;

	if (!counted_range(h, &first, &last))
		return 0;
	/* around the mean of the counters' middles, not of the exact values: equal records then
	 * deviate by 0 */
	for (uint32_t i = first; i <= last; i++)
		mean += (double)h->counts[i] * (double)middle_at(h, i);
	mean /= (double)h->total;
	for (uint32_t i = first; i <= last; i++) {
		double d = (double)middle_at(h, i) - mean;

		squares += (double)h->counts[i] * d * d;
	}
	return sqrt(squares / (double)h->total);
}

static bool same_layout(const struct plx_hist *a, const struct plx_hist *b)
{
	return a->sub_bits == b->sub_bits && a->max_index == b->max_index;
}

/* Index in @dst of what @src counts at @i: by the highest value, so that no percentile becomes too
 * low */
static uint32_t map_index(const struct plx_hist *dst, const struct plx_hist *src, uint32_t i)
{
	uint64_t v;

	if (dst->sub_bits == src->sub_bits)
		return i;
	v = plx_hist_highest_at(src, i);
	return plx_hist_index(dst, v < src->max ? v : src->max);
}

/* How far above its range @src has gone is not in its counters, so only an equal layout can take
 * those */
static bool can_track(const struct plx_hist *dst, const struct plx_hist *src)
{
	if (same_layout(dst, src))
		return true;
	return src->overflow == 0 && plx_hist_index(dst, src->max) <= dst->max_index;
}

int plx_hist_merge(struct plx_hist *dst, const struct plx_hist *src)
{
	uint32_t first, last;
	uint64_t total;

	if (!counted_range(src, &first, &last))
		return 0;
	if (!can_track(dst, src) || __builtin_add_overflow(dst->total, src->total, &total))
		return -ERANGE;
	for (uint32_t i = first; i <= last; i++)
		if (src->counts[i] != 0)
			dst->counts[map_index(dst, src, i)] += src->counts[i];
	dst->total = total;
	dst->sum += src->sum;
	dst->overflow += src->overflow;
	if (src->min < dst->min)
		dst->min = src->min;
	if (src->max > dst->max)
		dst->max = src->max;
	return 0;
}

/* After a subtraction: what the counters that are left still say about minimum, maximum and sum */
static void narrow_after_subtract(struct plx_hist *dst, const struct plx_hist *src, uint32_t first,
				  uint32_t last)
{
	if (dst->total == 0) {
		dst->min = UINT64_MAX;
		dst->max = 0;
		dst->sum = 0;
		return;
	}
	if (dst->counts[first] == 0) {
		while (dst->counts[first] == 0)
			first++;
		dst->min = plx_hist_value_at(dst, first);
	}
	if (dst->counts[last] == 0) {
		while (dst->counts[last] == 0)
			last--;
		dst->max = plx_hist_highest_at(dst, last);
	} else if (dst->overflow == 0 && dst->max > plx_hist_highest_at(dst, last)) {
		dst->max = plx_hist_highest_at(dst, last);
	}
	if (dst->sum >= src->sum) {
		dst->sum -= src->sum;
		return;
	}
	/* sums of decoded histograms are approximate, so the difference may not exist */
	dst->sum = 0;
	for (uint32_t i = first; i <= last; i++)
		dst->sum += (unsigned __int128)middle_at(dst, i) * dst->counts[i];
}

int plx_hist_subtract(struct plx_hist *dst, const struct plx_hist *src)
{
	uint32_t first, last, dst_first, dst_last, i;

	if (!counted_range(src, &first, &last))
		return 0;
	if (!counted_range(dst, &dst_first, &dst_last) || !can_track(dst, src) ||
	    dst->overflow < src->overflow)
		return -ERANGE;
	for (i = first; i <= last; i++) {
		uint64_t n = src->counts[i];
		uint32_t to = n != 0 ? map_index(dst, src, i) : 0;

		if (dst->counts[to] < n)
			goto undo;
		dst->counts[to] -= n;
	}
	dst->total -= src->total;
	dst->overflow -= src->overflow;
	if (dst->overflow > dst->counts[dst->max_index])
		dst->overflow = dst->counts[dst->max_index];
	narrow_after_subtract(dst, src, dst_first, dst_last);
	return 0;
undo:
	while (i-- > first)
		if (src->counts[i] != 0)
			dst->counts[map_index(dst, src, i)] += src->counts[i];
	return -ERANGE;
}
