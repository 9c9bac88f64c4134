/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/report_hist.c - latency histograms as an HdrHistogram log
 *
 * A queue pair's histograms carry its name as their tag: "virtual0-ns1-core1-qp0". Where there is
 * only one queue pair they carry none, as tools look for histograms without a tag unless told
 * otherwise.
 */
#include "perf/report.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct log {
	FILE *f;
	const struct perf_results *r;
	struct plx_hist *scratch;
	struct plx_hist **rest; /* of each job: what was in no interval of the log */
	double *rest_from; /* since the measured time began */
};

/* Tags are at most 63 characters without commas and blanks; the beginning of a long name goes */
static const char *tag_of(const struct perf_results *r, const struct perf_job *job, char *buf,
			  size_t len)
{
	char label[sizeof(job->device->name)], *out = label;
	size_t n;

	if (r->run->njobs == 1)
		return NULL;
	perf_label(job->device, label, sizeof(label));
	for (char *p = label; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (isascii(c) && (isalnum(c) || strchr("-_.:", c)))
			*out++ = (char)c;
		else if (c == ' ' && !strncmp(p, " ns ", 4)) {
			out = stpcpy(out, "-ns");
			p += 3;
		} else
			*out++ = '-';
	}
	*out = '\0';
	n = (size_t)snprintf(buf, len, "%s-core%u-qp%u", label, job->worker->cpu, job->index);
	return n > 63 ? buf + n - 63 : buf;
}

static int write_one(struct log *l, unsigned job, double start_s, double length_s,
		     const struct plx_hist *h)
{
	char tag[512];

	return plx_hlog_write(l->f, tag_of(l->r, &l->r->run->jobs[job], tag, sizeof(tag)), start_s,
			      length_s, h);
}

/* When a worker began, in seconds since the first did */
static double began(const struct perf_run *run, const struct perf_worker *w)
{
	uint64_t first = w->start_tsc;

	for (unsigned i = 0; i < run->nworkers; i++) {
		if (run->workers[i].start_tsc && run->workers[i].start_tsc < first)
			first = run->workers[i].start_tsc;
	}
	return (double)(w->start_tsc - first) / (double)plx_tsc_hz();
}

/* An interval whose counts were not kept stays in the rest */
static int write_interval(struct log *l, unsigned k, size_t i)
{
	const struct perf_job *job = &l->r->run->jobs[k];
	const struct perf_interval *f = job->series ? perf_series_get(job->series, i) : NULL;
	int rc;

	if (!f)
		return 0;
	plx_hist_reset(l->scratch);
	if (perf_series_add_to(job->series, i, l->scratch) ||
	    plx_hist_subtract(l->rest[k], l->scratch))
		return 0;
	rc = write_one(l, k, began(l->r->run, job->worker) + f->start_s, f->length_s, l->scratch);
	l->rest_from[k] = f->start_s + f->length_s;
	return rc;
}

static int write_rest(struct log *l, unsigned k)
{
	const struct perf_worker *w = l->r->run->jobs[k].worker;
	double from = l->rest_from[k];

	/* intervals say it all; a run without I/O has one that is empty */
	if (!l->rest[k]->total && from > 0)
		return 0;
	return write_one(l, k, began(l->r->run, w) + from, l->r->jobs[k].f.elapsed_s - from,
			 l->rest[k]);
}

static int write_log(struct log *l)
{
	unsigned njobs = l->r->run->njobs;
	size_t n = perf_intervals_count(l->r);
	int rc = 0;

	for (unsigned k = 0; k < njobs; k++) {
		l->rest[k] = plx_hist_create(0, 0);
		if (!l->rest[k])
			return -ENOMEM;
		plx_hist_merge(l->rest[k], l->r->jobs[k].f.hist[PERF_BOTH]);
	}
	for (size_t i = 0; i < n && !rc; i++) {
		for (unsigned k = 0; k < njobs && !rc; k++)
			rc = write_interval(l, k, i);
	}
	for (unsigned k = 0; k < njobs && !rc; k++)
		rc = write_rest(l, k);
	return rc;
}

int perf_report_hist(FILE *f, const struct perf_results *r)
{
	unsigned njobs = r->run->njobs;
	struct log l = { f, r, plx_hist_create(0, 0), calloc(njobs + 1, sizeof(*l.rest)),
			 calloc(njobs + 1, sizeof(*l.rest_from)) };
	int rc = -ENOMEM;

	if (l.scratch && l.rest && l.rest_from)
		rc = plx_hlog_write_header(f, r->env->start_s, "latencies of plx-perf, in ns");
	if (!rc)
		rc = write_log(&l);
	for (unsigned k = 0; l.rest && k < njobs; k++)
		plx_hist_destroy(l.rest[k]);
	plx_hist_destroy(l.scratch);
	free(l.rest);
	free(l.rest_from);
	return rc;
}
