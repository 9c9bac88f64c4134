/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/series.c - the time series of --interval
 *
 * A cut happens in the worker, between I/Os that it delays: it walks once over the part of the
 * histograms that was used, and in that walk adds them to the totals, empties them, finds the
 * percentiles and packs the counts. Packed counts are pairs of variable-length numbers: indices to
 * skip, then a count. Memory is bounded; what comes when it is used up is missing from the series,
 * never from the totals.
 */
#include "perf/series.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK	      (1u << 20) /* packed counts are allocated in these */
#define MAX_CHUNKS    64u
#define MAX_INTERVALS 1000000u
#define PAIR_MAX      20 /* bytes: two numbers of up to 64 bits */
#define NOT_KEPT      UINT64_MAX

struct record {
	struct perf_interval figures;
	uint64_t at; /* of the packed counts: chunk * CHUNK + offset; NOT_KEPT */
	uint32_t pairs;
};

struct perf_series {
	struct record *records;
	size_t count, room;
	uint64_t dropped;
	uint8_t *chunks[MAX_CHUNKS];
	uint64_t used; /* where the next packed counts go */
	bool full;
	struct perf_counters before;
};

struct perf_series *perf_series_create(const struct perf_config *cfg)
{
	struct perf_series *s = calloc(1, sizeof(*s));
	uint64_t expected = cfg->interval_ns ? cfg->time_ns / cfg->interval_ns + 2 : 1;

	if (!s)
		return NULL;
	/* what the run will need, but no more than a day of a -d run is likely to */
	s->room = expected < 100000 ? (size_t)expected : 1024;
	s->records = calloc(s->room, sizeof(*s->records));
	s->chunks[0] = malloc(CHUNK);
	if (!s->records || !s->chunks[0]) {
		perf_series_destroy(s);
		errno = ENOMEM;
		return NULL;
	}
	return s;
}

void perf_series_destroy(struct perf_series *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < MAX_CHUNKS; i++)
		free(s->chunks[i]);
	free(s->records);
	free(s);
}

/* ---- packing ---- */

static uint8_t *put_number(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static const uint8_t *get_number(const uint8_t *p, uint64_t *v)
{
	unsigned shift = 0;

	*v = 0;
	do
		*v |= (uint64_t)(*p & 0x7f) << shift;
	while (shift += 7, *p++ & 0x80);
	return p;
}

/* Room for one more pair; numbers of a pair are never cut by the end of a chunk. False: all is used
 * up */
static bool make_room(struct perf_series *s)
{
	uint64_t chunk;

	if (s->used % CHUNK > CHUNK - PAIR_MAX)
		s->used = (s->used / CHUNK + 1) * CHUNK;
	chunk = s->used / CHUNK;
	if (chunk == MAX_CHUNKS)
		return false;
	if (!s->chunks[chunk])
		s->chunks[chunk] = malloc(CHUNK);
	return s->chunks[chunk];
}

static void pack(struct perf_series *s, struct record *r, uint64_t skip, uint64_t count)
{
	uint8_t *p;

	if (r->at == NOT_KEPT)
		return;
	if (s->full || !make_room(s)) {
		if (!s->full)
			plx_log(PLX_LOG_NOTICE, "perf",
				"--interval: memory for histograms of intervals is used up: "
				"further ones have their figures only");
		s->full = true;
		r->at = NOT_KEPT;
		return;
	}
	if (!r->pairs)
		r->at = s->used;
	p = s->chunks[s->used / CHUNK] + s->used % CHUNK;
	s->used += (uint64_t)(put_number(put_number(p, skip), count) - p);
	r->pairs++;
}

int perf_series_add_to(const struct perf_series *s, size_t i, struct plx_hist *into)
{
	const struct record *r = i < s->count ? &s->records[i] : NULL;
	uint64_t at, index = 0, skip, n;

	if (!r || r->at == NOT_KEPT)
		return -ENOENT;
	at = r->at;
	for (uint32_t k = 0; k < r->pairs; k++) {
		const uint8_t *p, *end;

		if (at % CHUNK > CHUNK - PAIR_MAX)
			at = (at / CHUNK + 1) * CHUNK;
		p = s->chunks[at / CHUNK] + at % CHUNK;
		end = get_number(get_number(p, &skip), &n);
		at += (uint64_t)(end - p);
		index += skip;
		plx_hist_record_n(into, plx_hist_value_at(into, (uint32_t)index), n);
	}
	if (!r->pairs)
		return 0;
	/* buckets have lost these */
	if (r->figures.max > into->max)
		into->max = r->figures.max;
	if (r->figures.min < into->min)
		into->min = r->figures.min;
	return 0;
}

/* ---- cutting ---- */

static struct record *next_record(struct perf_series *s)
{
	struct record *more;

	if (s->count == s->room && s->room < MAX_INTERVALS) {
		more = realloc(s->records, 2 * s->room * sizeof(*more));
		if (more) {
			s->records = more;
			s->room *= 2;
		}
	}
	if (s->count == s->room) {
		if (!s->dropped++)
			plx_log(PLX_LOG_NOTICE, "perf",
				"--interval: more than %zu intervals: further ones are in the "
				"totals only",
				s->room);
		return NULL;
	}
	more = &s->records[s->count++];
	memset(more, 0, sizeof(*more));
	return more;
}

/* The histogram's figures but for its counts, which the walk moves */
static void add_and_empty(struct plx_hist *to, struct plx_hist *from)
{
	to->total += from->total;
	to->sum += from->sum;
	to->overflow += from->overflow;
	if (from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	from->total = from->overflow = from->max = 0;
	from->sum = 0;
	from->min = UINT64_MAX;
}

struct walk {
	uint64_t seen, total;
	unsigned next; /* percentile wanted next */
	uint64_t value[4];
};

static const double wanted[4] = { 0.5, 0.9, 0.99, 0.999 };

static void find_percentiles(struct walk *w, const struct plx_hist *h, uint32_t index, uint64_t n,
			     uint64_t max)
{
	w->seen += n;
	while (w->next < PLX_ARRAY_SIZE(wanted) &&
	       (double)w->seen >= wanted[w->next] * (double)w->total) {
		uint64_t v = plx_hist_highest_at(h, index);

		w->value[w->next++] = v < max ? v : max;
	}
}

static uint32_t clamp_index(const struct plx_hist *h, uint64_t v)
{
	uint32_t i = plx_hist_index(h, v);

	return i < h->max_index ? i : h->max_index;
}

/* Both histograms are of one geometry */
static void walk_counts(struct perf_series *s, struct perf_job *job, struct record *r)
{
	struct plx_hist *w = job->hist[0], *d = job->hist[1];
	uint64_t min = w->min < d->min ? w->min : d->min, max = w->max > d->max ? w->max : d->max;
	struct walk walk = { .total = w->total + d->total };
	uint32_t last, skip_from = 0;

	if (!walk.total)
		return;
	last = clamp_index(w, max);
	for (uint32_t i = clamp_index(w, min); i <= last; i++) {
		uint64_t n = w->counts[i] + d->counts[i];

		if (!n)
			continue;
		job->total[0]->counts[i] += w->counts[i];
		job->total[1]->counts[i] += d->counts[i];
		w->counts[i] = d->counts[i] = 0;
		if (!r)
			continue;
		find_percentiles(&walk, w, i, n, max);
		pack(s, r, i - skip_from, n);
		skip_from = i;
	}
	if (!r)
		return;
	r->figures.min = min;
	r->figures.max = max;
	r->figures.mean = (double)(w->sum + d->sum) / (double)walk.total;
	r->figures.p50 = walk.value[0];
	r->figures.p90 = walk.value[1];
	r->figures.p99 = walk.value[2];
	r->figures.p99_9 = walk.value[3];
}

static void count_since(struct perf_interval *f, const struct perf_counters *now,
			const struct perf_counters *before)
{
	for (int k = 0; k < 2; k++) {
		f->ios[k] = now->ios[k] - before->ios[k];
		f->bytes[k] = now->bytes[k] - before->bytes[k];
	}
	f->errors = now->errors - before->errors;
	f->mismatches = now->mismatches - before->mismatches;
}

void perf_series_cut(struct perf_series *s, struct perf_job *job, uint64_t from_tsc,
		     uint64_t to_tsc)
{
	const struct perf_worker *worker = job->worker;
	struct record *r = NULL;

	/* a run that is stopped while it warms up has no interval yet */
	if (from_tsc < worker->start_tsc)
		from_tsc = worker->start_tsc;
	if (to_tsc > from_tsc)
		r = next_record(s);
	if (r) {
		r->figures.start_s =
			(double)plx_tsc_to_ns(worker->scale, from_tsc - worker->start_tsc) * 1e-9;
		r->figures.length_s =
			(double)plx_tsc_to_ns(worker->scale, to_tsc - from_tsc) * 1e-9;
		count_since(&r->figures, &job->n, &s->before);
	}
	walk_counts(s, job, r);
	for (int k = 0; k < 2; k++)
		add_and_empty(job->total[k], job->hist[k]);
	s->before = job->n;
}

/* ---- for the reports ---- */

size_t perf_series_count(const struct perf_series *s)
{
	return s->count;
}

const struct perf_interval *perf_series_get(const struct perf_series *s, size_t i)
{
	return i < s->count ? &s->records[i].figures : NULL;
}

uint64_t perf_series_dropped(const struct perf_series *s)
{
	return s->dropped;
}
