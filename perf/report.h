/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/report.h - the results of a run, for people and for programs
 *
 *   report.c       jobs added up, files written
 *   report_text.c  for people
 *   report_bars.c  distributions for people: percentiles, buckets, bars
 *   report_json.c  for programs; docs/perf.schema.json describes it
 *   report_hist.c  histograms for other tools
 */
#ifndef POLLUX_PERF_REPORT_H
#define POLLUX_PERF_REPORT_H

#include "perf/calibrate.h"
#include "perf/environment.h"
#include "perf/perf.h"
#include "perf/series.h"
#include <stdio.h>

/**
 * perf_report - print the results and write the files that @cfg names
 * @cal: NULL when nothing was calibrated
 * @wall_s: how long the run took, by the wall clock
 *
 * Every job must have its histograms. The results are printed even when a file cannot be written.
 * Return: 0; -ENOMEM; -errno of a file that could not be written (said on standard error)
 */
int perf_report(const struct perf_run *run, const struct perf_config *cfg,
		const struct perf_calibration *cal, double wall_s);

/* ---- what the reports share ---- */

/* Index of what is kept by direction; the first two are is_read */
enum perf_direction { PERF_WRITES, PERF_READS, PERF_BOTH };

/** struct perf_cycles_per_io - ticks of the time stamp counter */
struct perf_cycles_per_io {
	double submit, complete, poll_empty;
	double controller;
	bool has_controller; /* false: it is a real device, or on another machine */
};

/** struct perf_figures - what one or several jobs did in the measured time */
struct perf_figures {
	double elapsed_s; /* 0: it was never reached */
	uint64_t ios[3], bytes[3]; /* by enum perf_direction, completed without an error */
	uint64_t errors, mismatches;
	struct plx_hist *hist[3]; /* ns */
	struct perf_cycles_per_io cycles; /* of the cores, with all that they did */
	uint64_t sq_doorbells, cq_doorbells, polls, empty_polls;
};

/** struct perf_row - jobs that are shown as one: a queue pair, or all of a device on a core */
struct perf_row {
	const struct perf_job *job; /* the first */
	unsigned njobs; /* that follow each other in perf_run.jobs */
	struct perf_figures f;
};

/** struct perf_results - everything the reports show; pointers are the caller's */
struct perf_results {
	const struct perf_run *run;
	const struct perf_config *cfg;
	const struct perf_calibration *cal; /* NULL: none */
	const struct perf_environment *env;
	double wall_s;
	bool mixed; /* reads and writes are shown apart too */
	struct perf_row *jobs; /* perf_run.njobs of them */
	struct perf_row *rows; /* by device and core */
	unsigned nrows;
	struct perf_figures total;
};

/** perf_results_make - Return: 0; -ENOMEM. Undone by perf_results_free(), always. */
int perf_results_make(struct perf_results *r, const struct perf_run *run,
		      const struct perf_config *cfg);
void perf_results_free(struct perf_results *r);

static inline double perf_rate(const struct perf_figures *f, uint64_t n)
{
	return f->elapsed_s > 0 ? (double)n / f->elapsed_s : 0;
}
static inline double perf_per_io(const struct perf_figures *f, uint64_t n)
{
	return f->ios[PERF_BOTH] ? (double)n / (double)f->ios[PERF_BOTH] : 0;
}

/** struct perf_combined_interval - an interval of all jobs together */
struct perf_combined_interval {
	struct perf_interval sum; /* its latencies are of all I/Os */
	double iops, bytes_per_second;
	bool latencies_known; /* false: those of some job were not kept */
};
/** perf_intervals_count - of the job that has most */
size_t perf_intervals_count(const struct perf_results *r);
/** perf_intervals_get - @scratch: a histogram of the default geometry, overwritten */
void perf_intervals_get(const struct perf_results *r, size_t i, struct plx_hist *scratch,
			struct perf_combined_interval *out);

/** perf_label - the short name of a device: "virtual0 ns 1", "0000:04:00.0 ns 1". Return: @buf */
char *perf_label(const struct perf_device *d, char *buf, size_t len);
/** perf_pattern_name - as -w has it, "randrw" */
const char *perf_pattern_name(const struct perf_config *cfg);
/** perf_copy_share - the run's bytes as a share of what its device cores could copy; -1 where that
 *  was not measured */
double perf_copy_share(const struct perf_results *r);

/** Each writes to @f. Return: 0; -ENOMEM, or the error of writing */
int perf_report_text(FILE *f, const struct perf_results *r);
int perf_report_json(FILE *f, const struct perf_results *r);
int perf_report_hist(FILE *f, const struct perf_results *r);
/**
 * perf_report_bars - a distribution for -L: percentiles and bars; for -LL each bucket too
 * @title: whose it is
 */
void perf_report_bars(FILE *f, const struct perf_results *r, const struct perf_figures *figures,
		      const char *title);

/** perf_utf8 - whether the terminal takes more than ASCII; perf_us() - the unit, as it takes it */
bool perf_utf8(void);
const char *perf_us(void);
/** perf_format_us - ns as µs, four significant digits where that many mean something. Return:
 *  @buf */
char *perf_format_us(double ns, char *buf, size_t len);
/** perf_format_rate - "1.23 M/s", "45.6 k/s". Return: @buf */
char *perf_format_rate(double per_s, char *buf, size_t len);

#endif
