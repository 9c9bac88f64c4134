/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/series.h - what a job's intervals were like, for the reports
 */
#ifndef POLLUX_PERF_SERIES_H
#define POLLUX_PERF_SERIES_H

#include "perf/perf.h"

/** struct perf_interval - figures of one interval of one job; latencies in ns, reads and writes
 *  together */
struct perf_interval {
	double start_s, length_s; /* since the measured time began */
	uint64_t ios[2], bytes[2]; /* by is_read */
	uint64_t errors, mismatches;
	uint64_t min, p50, p90, p99, p99_9, max; /* 0 when no I/O completed */
	double mean;
};

size_t perf_series_count(const struct perf_series *s);
/** perf_series_get - interval @i, valid until the next cut; NULL beyond the last */
const struct perf_interval *perf_series_get(const struct perf_series *s, size_t i);
/** perf_series_dropped - intervals that came after the memory for figures was used up: in the
 *  totals only */
uint64_t perf_series_dropped(const struct perf_series *s);
/**
 * perf_series_add_to - add the latencies of interval @i to @into, which has the default geometry
 * Return: 0; -ENOENT when they were not kept: the memory for them was used up
 */
int perf_series_add_to(const struct perf_series *s, size_t i, struct plx_hist *into);

#endif
