/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/report.c - jobs added up, and their figures put where they are wanted
 *
 * Rates of the total are over the time from the first start to the last stop, so that cores which
 * were done early count as what they were. Cycles belong to cores: rows of one core show the same.
 */
#include "perf/report.h"
#include "core/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- adding up ---- */

static int figures_init(struct perf_figures *f)
{
	for (int d = 0; d < 3; d++) {
		f->hist[d] = plx_hist_create(0, 0);
		if (!f->hist[d])
			return -ENOMEM;
	}
	return 0;
}

static void figures_fini(struct perf_figures *f)
{
	for (int d = 0; d < 3; d++)
		plx_hist_destroy(f->hist[d]);
}

static void add_job(struct perf_figures *f, const struct perf_job *job)
{
	const struct plx_nvme_qpair_stats *b = &job->qp_before, *a = &job->qp_after;

	for (int d = 0; d < 2; d++) {
		f->ios[d] += job->n.ios[d];
		f->bytes[d] += job->n.bytes[d];
		f->ios[PERF_BOTH] += job->n.ios[d];
		f->bytes[PERF_BOTH] += job->n.bytes[d];
		/* of one geometry: cannot fail */
		plx_hist_merge(f->hist[d], job->total[d]);
		plx_hist_merge(f->hist[PERF_BOTH], job->total[d]);
	}
	f->errors += job->n.errors;
	f->mismatches += job->n.mismatches;
	f->sq_doorbells += a->sq_doorbells - b->sq_doorbells;
	f->cq_doorbells += a->cq_doorbells - b->cq_doorbells;
	f->polls += a->polls - b->polls;
	f->empty_polls += a->empty_polls - b->empty_polls;
}

static double seconds(uint64_t from_tsc, uint64_t to_tsc)
{
	return to_tsc > from_tsc ? (double)(to_tsc - from_tsc) / (double)plx_tsc_hz() : 0;
}

static uint64_t ios_of(const struct perf_run *run, const struct perf_worker *w)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < run->njobs; i++) {
		if (!w || run->jobs[i].worker == w)
			n += run->jobs[i].n.ios[0] + run->jobs[i].n.ios[1];
	}
	return n;
}

/* What the virtual controller's own core spent: it serves all workers at once */
static void add_target(const struct perf_run *run, struct perf_cycles_per_io *c)
{
	uint64_t busy = 0, ios = ios_of(run, NULL);

	c->has_controller = run->inline_controller || run->target;
	if (run->inline_controller || !run->target)
		return;
	for (unsigned i = 0; i < run->nworkers; i++) {
		if (run->workers[i].cycles.target > busy)
			busy = run->workers[i].cycles.target;
	}
	c->controller = ios ? (double)busy / (double)ios : 0;
}

static struct perf_cycles_per_io per_io(const struct perf_run *run, const struct perf_cycles *sum,
					uint64_t ios)
{
	double n = (double)ios;
	struct perf_cycles_per_io c = { 0 };

	if (ios) {
		c.submit = (double)sum->submit / n;
		c.complete = (double)sum->complete / n;
		c.poll_empty = (double)sum->poll_empty / n;
		c.controller = (double)sum->controller / n;
	}
	add_target(run, &c);
	return c;
}

static int make_row(struct perf_row *row, const struct perf_run *run, unsigned first,
		    unsigned njobs)
{
	const struct perf_worker *w = run->jobs[first].worker;

	row->job = &run->jobs[first];
	row->njobs = njobs;
	if (figures_init(&row->f))
		return -ENOMEM;
	for (unsigned i = 0; i < njobs; i++)
		add_job(&row->f, &row->job[i]);
	row->f.elapsed_s = seconds(w->start_tsc, w->stop_tsc);
	row->f.cycles = per_io(run, &w->cycles, ios_of(run, w));
	return 0;
}

static int make_total(struct perf_figures *f, const struct perf_run *run)
{
	struct perf_cycles sum = { 0 };
	uint64_t start = UINT64_MAX, stop = 0;

	if (figures_init(f))
		return -ENOMEM;
	for (unsigned i = 0; i < run->njobs; i++)
		add_job(f, &run->jobs[i]);
	for (unsigned i = 0; i < run->nworkers; i++) {
		const struct perf_worker *w = &run->workers[i];

		if (!w->start_tsc)
			continue;
		start = w->start_tsc < start ? w->start_tsc : start;
		stop = w->stop_tsc > stop ? w->stop_tsc : stop;
		sum.submit += w->cycles.submit;
		sum.complete += w->cycles.complete;
		sum.poll_empty += w->cycles.poll_empty;
		sum.controller += w->cycles.controller;
	}
	f->elapsed_s = seconds(start, stop);
	f->cycles = per_io(run, &sum, f->ios[PERF_BOTH]);
	return 0;
}

/* How many jobs from @first on are of one device and core */
static unsigned same_row(const struct perf_run *run, unsigned first)
{
	unsigned n = 1;

	while (first + n < run->njobs && run->jobs[first + n].worker == run->jobs[first].worker &&
	       run->jobs[first + n].device == run->jobs[first].device)
		n++;
	return n;
}

int perf_results_make(struct perf_results *r, const struct perf_run *run,
		      const struct perf_config *cfg)
{
	memset(r, 0, sizeof(*r));
	r->run = run;
	r->cfg = cfg;
	r->mixed = cfg->read_share && cfg->read_share < 100;
	r->jobs = calloc(run->njobs + 1, sizeof(*r->jobs));
	r->rows = calloc(run->njobs + 1, sizeof(*r->rows));
	if (!r->jobs || !r->rows)
		return -ENOMEM;
	for (unsigned i = 0; i < run->njobs; i++) {
		if (make_row(&r->jobs[i], run, i, 1))
			return -ENOMEM;
	}
	for (unsigned i = 0; i < run->njobs; i += r->rows[r->nrows - 1].njobs) {
		if (make_row(&r->rows[r->nrows++], run, i, same_row(run, i)))
			return -ENOMEM;
	}
	return make_total(&r->total, run);
}

void perf_results_free(struct perf_results *r)
{
	for (unsigned i = 0; r->jobs && i < r->run->njobs; i++)
		figures_fini(&r->jobs[i].f);
	for (unsigned i = 0; i < r->nrows; i++)
		figures_fini(&r->rows[i].f);
	figures_fini(&r->total);
	free(r->jobs);
	free(r->rows);
}

/* ---- intervals ---- */

size_t perf_intervals_count(const struct perf_results *r)
{
	size_t most = 0;

	for (unsigned i = 0; i < r->run->njobs; i++) {
		const struct perf_series *s = r->run->jobs[i].series;
		size_t n = s ? perf_series_count(s) : 0;

		most = n > most ? n : most;
	}
	return most;
}

static void add_interval(struct perf_combined_interval *out, const struct perf_interval *f,
			 bool first)
{
	struct perf_interval *sum = &out->sum;
	double end = f->start_s + f->length_s;

	if (first) {
		*sum = *f;
	} else {
		double so_far = sum->start_s + sum->length_s;

		sum->start_s = f->start_s < sum->start_s ? f->start_s : sum->start_s;
		sum->length_s = (end > so_far ? end : so_far) - sum->start_s;
		for (int d = 0; d < 2; d++) {
			sum->ios[d] += f->ios[d];
			sum->bytes[d] += f->bytes[d];
		}
		sum->errors += f->errors;
		sum->mismatches += f->mismatches;
	}
	if (f->length_s > 0) {
		out->iops += (double)(f->ios[0] + f->ios[1]) / f->length_s;
		out->bytes_per_second += (double)(f->bytes[0] + f->bytes[1]) / f->length_s;
	}
}

static void take_latencies(struct perf_interval *out, const struct plx_hist *h)
{
	out->min = h->total ? h->min : 0;
	out->max = h->max;
	out->mean = plx_hist_mean(h);
	out->p50 = plx_hist_percentile(h, 50);
	out->p90 = plx_hist_percentile(h, 90);
	out->p99 = plx_hist_percentile(h, 99);
	out->p99_9 = plx_hist_percentile(h, 99.9);
}

void perf_intervals_get(const struct perf_results *r, size_t i, struct plx_hist *scratch,
			struct perf_combined_interval *out)
{
	unsigned jobs = 0;

	memset(out, 0, sizeof(*out));
	out->latencies_known = true;
	plx_hist_reset(scratch);
	for (unsigned k = 0; k < r->run->njobs; k++) {
		const struct perf_series *s = r->run->jobs[k].series;
		const struct perf_interval *f = s ? perf_series_get(s, i) : NULL;

		if (!f)
			continue;
		add_interval(out, f, !jobs++);
		/* one job's figures are known even where its counts are not */
		if (r->run->njobs > 1 && perf_series_add_to(s, i, scratch))
			out->latencies_known = false;
	}
	if (r->run->njobs > 1)
		take_latencies(&out->sum, scratch);
}

/* ---- words and numbers ---- */

char *perf_label(const struct perf_device *d, char *buf, size_t len)
{
	const char *addr = strstr(d->name, "traddr:"), *ns = strrchr(d->name, ' ');
	size_t n;

	/* run.c: the transport identifier, " ns ", the number */
	if (!addr || !ns || ns - d->name < 3 || strncmp(ns - 3, " ns", 3)) {
		snprintf(buf, len, "%s", d->name);
		return buf;
	}
	addr += strlen("traddr:");
	n = strcspn(addr, " ");
	snprintf(buf, len, "%.*s ns%s", (int)n, addr, ns);
	return buf;
}

const char *perf_pattern_name(const struct perf_config *cfg)
{
	static const char *const names[2][3] = { { "write", "rw", "read" },
						 { "randwrite", "randrw", "randread" } };
	int kind = cfg->read_share == 0 ? 0 : cfg->read_share < 100 ? 1 : 2;

	return names[cfg->pattern == PERF_RANDOM][kind];
}

double perf_copy_share(const struct perf_results *r)
{
	const struct perf_calibration *c = r->cal;
	/* inline each worker's core copies; else the controller's alone */
	unsigned cores = r->run->inline_controller ? r->run->nworkers : 1;

	if (!c || !(c->copies.median > 0) || !c->copy_bytes)
		return -1;
	return perf_rate(&r->total, r->total.bytes[PERF_BOTH]) /
	       (c->copies.median * c->copy_bytes * cores);
}

char *perf_format_us(double ns, char *buf, size_t len)
{
	double us = ns / 1000;

	/* thresholds where the rounded number would have a digit more */
	snprintf(buf, len, "%.*f", us < 9.9995 ? 3 : us < 99.995 ? 2 : us < 9999.95 ? 1 : 0, us);
	return buf;
}

char *perf_format_rate(double per_s, char *buf, size_t len)
{
	static const char *const units[] = { "", "k", "M", "G" };
	size_t u = 0;

	while (u + 1 < PLX_ARRAY_SIZE(units) && per_s >= 999.5) {
		per_s /= 1000;
		u++;
	}
	snprintf(buf, len, "%.*f %s/s",
		 !u || per_s >= 99.95 ? 0
		 : per_s < 9.995      ? 2
				      : 1,
		 per_s, units[u]);
	return buf;
}

/* ---- files ---- */

typedef int (*report_fn)(FILE *f, const struct perf_results *r);

static int write_stream(FILE *f, report_fn fn, const struct perf_results *r)
{
	int rc = fn(f, r);

	errno = 0;
	if (!rc && (fflush(f) || ferror(f)))
		rc = errno ? -errno : -EIO;
	return rc;
}

/* A temporary file beside @path, which becomes @path once it is complete */
static int write_renamed(const char *path, report_fn fn, const struct perf_results *r)
{
	char *temporary = NULL;
	mode_t mask = umask(0);
	int fd, rc;
	FILE *f;

	umask(mask);
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkstemp(temporary);
	if (fd < 0) {
		rc = -errno;
		free(temporary);
		return rc;
	}
	f = fdopen(fd, "w");
	if (!f) {
		rc = -errno;
		close(fd);
	} else {
		rc = fchmod(fd, 0666 & ~mask) ? -errno : write_stream(f, fn, r);
		if (fclose(f) && !rc)
			rc = -errno;
	}
	if (!rc && rename(temporary, path))
		rc = -errno;
	if (rc)
		unlink(temporary);
	free(temporary);
	return rc;
}

static int write_path(const char *path, report_fn fn, const struct perf_results *r)
{
	char *real = realpath(path, NULL); /* the file behind a link is replaced, not the link */
	struct stat st;
	int rc;
	FILE *f;

	if (real && !stat(real, &st) && !S_ISREG(st.st_mode)) {
		/* a pipe or a terminal stays what it is */
		f = fopen(real, "we");
		rc = f ? write_stream(f, fn, r) : -errno;
		if (f && fclose(f) && !rc)
			rc = -errno;
	} else {
		rc = write_renamed(real ? real : path, fn, r);
	}
	free(real);
	return rc;
}

static int write_file(const char *option, const char *path, report_fn fn,
		      const struct perf_results *r)
{
	int rc;

	if (!path)
		return 0;
	rc = !strcmp(path, "-") ? write_stream(stdout, fn, r) : write_path(path, fn, r);
	if (rc)
		fprintf(stderr, "plx-perf: %s: '%s' could not be written: %s: name another file\n",
			option, path, strerror(-rc));
	return rc;
}

static bool takes_stdout(const char *path)
{
	return path && !strcmp(path, "-");
}

int perf_report(const struct perf_run *run, const struct perf_config *cfg,
		const struct perf_calibration *cal, double wall_s)
{
	struct perf_environment *env = malloc(sizeof(*env));
	struct perf_results r;
	int rc = perf_results_make(&r, run, cfg), rc2, rc3;

	if (rc || !env) {
		fprintf(stderr, "plx-perf: out of memory for the results\n");
		rc = -ENOMEM;
		goto out;
	}
	perf_environment_get(env, run);
	r.env = env;
	r.cal = cal;
	r.wall_s = wall_s;
	if (!takes_stdout(cfg->json_path) && !takes_stdout(cfg->hist_path))
		rc = perf_report_text(stdout, &r);
	rc2 = write_file("--json", cfg->json_path, perf_report_json, &r);
	rc3 = write_file("--hist", cfg->hist_path, perf_report_hist, &r);
	rc = rc ? rc : rc2 ? rc2 : rc3;
	perf_environment_free(env);
out:
	perf_results_free(&r);
	free(env);
	return rc;
}
