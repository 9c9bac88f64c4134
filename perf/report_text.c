/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/report_text.c - the results for people, in at most 120 columns
 */
#include "perf/report.h"
#include "core/text.h"
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX  24
#define LABEL_ROOM 321 /* of a name in full */

bool perf_utf8(void)
{
	setlocale(LC_CTYPE, ""); /* numbers stay as they are */
	return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

const char *perf_us(void)
{
	return perf_utf8() ? "µs" : "us";
}

/* ---- what was measured where ---- */

static void print_machine(FILE *f, const struct perf_environment *e)
{
	fprintf(f, "%.64s, %u %s, %.48s", *e->cpu ? e->cpu : "unknown processor", e->cpus,
		e->cpus == 1 ? "CPU" : "CPUs", e->kernel);
	if (*e->governor)
		fprintf(f, ", governor %s", e->governor);
	fputc('\n', f);
}

static void print_devices(FILE *f, const struct perf_results *r)
{
	const struct perf_run *run = r->run;

	if (run->ndevices)
		fprintf(f, "%s", r->env->devices[0].model);
	if (run->ndevices > 1)
		fprintf(f, " and %u more", run->ndevices - 1);
	if (run->virtual_device && r->cfg->ntrids)
		fprintf(f, ", the virtual one");
	if (run->target)
		fprintf(f, " on core %d", run->target_cpu);
	else if (run->inline_controller)
		fprintf(f, " inline");
	fprintf(f, "; %s\n", r->env->memory);
}

static void print_load(FILE *f, const struct perf_results *r)
{
	const struct perf_config *cfg = r->cfg;
	char text[PLX_TEXT_MAX];

	fprintf(f, "%s of ", perf_pattern_name(cfg));
	for (unsigned i = 0; i < cfg->nsizes; i++) {
		fprintf(f, "%s%s", i ? ", " : "",
			plx_format_size(cfg->sizes[i].bytes, text, sizeof(text)));
		if (cfg->nsizes > 1)
			fprintf(f, " (%u %%)", cfg->sizes[i].share);
	}
	if (r->mixed)
		fprintf(f, ", %u %% reads", cfg->read_share);
	fprintf(f, ", queue depth %u", cfg->queue_depth);
	if (cfg->queue_pairs > 1)
		fprintf(f, " on %u queue pairs", cfg->queue_pairs);
	fprintf(f, ", measured for %.2f s\n\n", r->total.elapsed_s);
}

/* ---- the table ---- */

static void print_head(FILE *f, int label_width)
{
	static const char *const columns[] = { "average", "p50",    "p90", "p99",
					       "p99.9",	  "p99.99", "max" };

	fprintf(f, "%-*s %4s %13s %10s", label_width, "Device", "Core", "IOPS", "MiB/s");
	for (size_t i = 0; i < PLX_ARRAY_SIZE(columns); i++)
		fprintf(f, " %8s", columns[i]);
	fprintf(f, " %s\n", perf_us());
}

static void print_us(FILE *f, double ns)
{
	char text[PLX_TEXT_MAX];

	fprintf(f, " %8s", perf_format_us(ns, text, sizeof(text)));
}

static void print_figures(FILE *f, const struct perf_figures *figures, enum perf_direction d)
{
	static const double percentiles[] = { 50, 90, 99, 99.9, 99.99 };
	const struct plx_hist *h = figures->hist[d];
	char count[PLX_TEXT_MAX];
	double iops = perf_rate(figures, figures->ios[d]);

	fprintf(f, " %13s %10.1f", plx_format_count((uint64_t)(iops + 0.5), count, sizeof(count)),
		perf_rate(figures, figures->bytes[d]) / (1 << 20));
	print_us(f, plx_hist_mean(h));
	for (size_t i = 0; i < PLX_ARRAY_SIZE(percentiles); i++)
		print_us(f, (double)plx_hist_percentile(h, percentiles[i]));
	print_us(f, (double)h->max);
	fputc('\n', f);
}

/* What is too long loses its beginning: devices differ at the end */
static const char *short_label(const struct perf_row *row, char *buf, size_t len)
{
	size_t n = strlen(perf_label(row->job->device, buf, len));

	if (n <= LABEL_MAX)
		return buf;
	memcpy(buf + n - LABEL_MAX, "..", 2);
	return buf + n - LABEL_MAX;
}

static int label_width(const struct perf_results *r)
{
	char label[LABEL_ROOM];
	size_t width = strlen("Device");

	for (unsigned i = 0; i < r->nrows; i++) {
		size_t n = strlen(short_label(&r->rows[i], label, sizeof(label)));

		width = n > width ? n : width;
	}
	return (int)width;
}

static void print_table(FILE *f, const struct perf_results *r)
{
	int width = label_width(r);
	char label[LABEL_ROOM];

	print_head(f, width);
	for (unsigned i = 0; i < r->nrows; i++) {
		const struct perf_row *row = &r->rows[i];

		fprintf(f, "%-*s %4u", width, short_label(row, label, sizeof(label)),
			row->job->worker->cpu);
		print_figures(f, &row->f, PERF_BOTH);
	}
	fprintf(f, "%-*s %4s", width, "Total", "");
	print_figures(f, &r->total, PERF_BOTH);
	for (int d = PERF_READS; r->mixed && d >= PERF_WRITES; d--) {
		fprintf(f, "%-*s %4s", width, d == PERF_READS ? "  reads" : "  writes", "");
		print_figures(f, &r->total, d);
	}
	fputc('\n', f);
}

/* ---- where the time goes ---- */

static void print_cycles(FILE *f, const struct perf_results *r)
{
	const struct perf_cycles_per_io *c = &r->total.cycles;

	fprintf(f, "cycles per I/O     submit %.1f, complete %.1f, empty polls %.1f", c->submit,
		c->complete, c->poll_empty);
	if (r->run->inline_controller)
		fprintf(f, ", controller %.1f: together %.1f", c->controller,
			c->submit + c->complete + c->poll_empty + c->controller);
	else if (c->has_controller)
		fprintf(f, "; controller on core %d %.1f", r->run->target_cpu, c->controller);
	fputc('\n', f);
}

static void print_doorbells(FILE *f, const struct perf_figures *t)
{
	fprintf(f,
		"doorbells per I/O  %.4g submission, %.4g completion; %.1f %% of the polls empty\n",
		perf_per_io(t, t->sq_doorbells), perf_per_io(t, t->cq_doorbells),
		t->polls ? 100.0 * (double)t->empty_polls / (double)t->polls : 0);
}

static void print_start(FILE *f, const struct perf_run *run)
{
	if (run->first_io_s > 0)
		fprintf(f, "first I/O          %.2f s after the start\n", run->first_io_s);
	if (run->ready_s > 0)
		fprintf(f, "device memory      ready after %.2f s: measured from then on\n",
			run->ready_s);
}

static void print_rate_limit(FILE *f, const char *name, const struct perf_limit *l, double share)
{
	char median[PLX_TEXT_MAX], best[PLX_TEXT_MAX];

	fprintf(f, "  %-40s %10s (best %s): the run reached %.1f %%\n", name,
		perf_format_rate(l->median, median, sizeof(median)),
		perf_format_rate(l->best, best, sizeof(best)), 100 * share);
}

static void print_calibration(FILE *f, const struct perf_results *r)
{
	const struct perf_calibration *c = r->cal;
	const struct perf_figures *t = &r->total;
	char name[80], size[PLX_TEXT_MAX], range[PLX_TEXT_MAX];
	double copies = perf_copy_share(r);

	if (!c)
		return;
	fprintf(f, "limits of this machine, core %u", c->host_cpu);
	if (c->device_cpu >= 0)
		fprintf(f, " and core %d", c->device_cpu);
	fputc('\n', f);
	if (c->round_trip_ns.median > 0)
		fprintf(f, "  %-40s %7.0f ns (best %.0f ns): the run's p50 is %.1f of them\n",
			"one cache line there and back", c->round_trip_ns.median,
			c->round_trip_ns.best,
			(double)plx_hist_percentile(t->hist[PERF_BOTH], 50) /
				c->round_trip_ns.median);
	snprintf(name, sizeof(name), "bare rings at depth %u", c->depth);
	if (c->rings.median > 0)
		print_rate_limit(f, name, &c->rings,
				 perf_rate(t, t->ios[PERF_BOTH]) / c->rings.median);
	snprintf(name, sizeof(name), "copies of %s within %s",
		 plx_format_size(c->copy_bytes, size, sizeof(size)),
		 plx_format_size(c->copy_range, range, sizeof(range)));
	if (copies >= 0)
		print_rate_limit(f, name, &c->copies, copies);
}

/* ---- what went wrong ---- */

static void print_trouble_of(FILE *f, const struct perf_results *r, const struct perf_job *job)
{
	char label[LABEL_ROOM], text[96], count[PLX_TEXT_MAX], where[LABEL_ROOM + 64];

	snprintf(where, sizeof(where), "%s, core %u, queue pair %u",
		 perf_label(job->device, label, sizeof(label)), job->worker->cpu, job->index);
	if (job->n.errors)
		fprintf(f, "%s: %s %s failed, the first at LBA %lu: %s\n", where,
			plx_format_count(job->n.errors, count, sizeof(count)),
			job->n.errors == 1 ? "I/O" : "I/Os", job->first_error_lba,
			plx_nvme_status_text(job->first_error, text, sizeof(text)));
	if (job->n.mismatches)
		fprintf(f, "%s: %s %s not what had been written\n", where,
			plx_format_count(job->n.mismatches, count, sizeof(count)),
			job->n.mismatches == 1 ? "block was" : "blocks were");
	if (job->failed)
		fprintf(f, "%s: gave up: %s\n", where, strerror(-job->failed));
}

static void print_trouble(FILE *f, const struct perf_results *r)
{
	for (unsigned i = 0; i < r->run->njobs; i++)
		print_trouble_of(f, r, &r->run->jobs[i]);
	if (r->cfg->verify && !r->total.mismatches && r->total.ios[PERF_READS])
		fprintf(f, "all blocks that were read were what had been written\n");
	if (!r->total.ios[PERF_BOTH])
		fprintf(f, "no I/O was completed in the measured time\n");
}

/* ---- --interval ---- */

static void print_interval(FILE *f, const struct perf_combined_interval *i)
{
	const struct perf_interval *s = &i->sum;
	char count[PLX_TEXT_MAX];
	uint64_t latencies[] = { s->p50, s->p90, s->p99, s->p99_9, s->max };

	fprintf(f, "%10.3f %13s %10.1f", s->start_s,
		plx_format_count((uint64_t)(i->iops + 0.5), count, sizeof(count)),
		i->bytes_per_second / (1 << 20));
	if (i->latencies_known) {
		print_us(f, s->mean);
		for (size_t k = 0; k < PLX_ARRAY_SIZE(latencies); k++)
			print_us(f, (double)latencies[k]);
	}
	if (s->errors || s->mismatches)
		fprintf(f, "  %lu errors, %lu mismatches", s->errors, s->mismatches);
	fputc('\n', f);
}

static int print_intervals(FILE *f, const struct perf_results *r)
{
	static const char *const columns[] = { "average", "p50", "p90", "p99", "p99.9", "max" };
	size_t n = perf_intervals_count(r);
	struct perf_combined_interval i;
	struct plx_hist *scratch;

	if (!n)
		return 0;
	scratch = plx_hist_create(0, 0);
	if (!scratch)
		return -ENOMEM;
	fprintf(f, "\n%10s %13s %10s", "from s", "IOPS", "MiB/s");
	for (size_t k = 0; k < PLX_ARRAY_SIZE(columns); k++)
		fprintf(f, " %8s", columns[k]);
	fprintf(f, " %s\n", perf_us());
	for (size_t k = 0; k < n; k++) {
		perf_intervals_get(r, k, scratch, &i);
		print_interval(f, &i);
	}
	plx_hist_destroy(scratch);
	return 0;
}

/* ---- -L ---- */

static void print_distributions(FILE *f, const struct perf_results *r)
{
	char title[LABEL_ROOM + 32], label[LABEL_ROOM];

	for (unsigned i = 0; r->nrows > 1 && i < r->nrows; i++) {
		const struct perf_row *row = &r->rows[i];

		snprintf(title, sizeof(title), "%s, core %u",
			 perf_label(row->job->device, label, sizeof(label)), row->job->worker->cpu);
		perf_report_bars(f, r, &row->f, title);
	}
	perf_report_bars(f, r, &r->total, "all I/Os");
}

int perf_report_text(FILE *f, const struct perf_results *r)
{
	int rc;

	print_machine(f, r->env);
	print_devices(f, r);
	print_load(f, r);
	print_table(f, r);
	print_cycles(f, r);
	print_doorbells(f, &r->total);
	print_start(f, r->run);
	print_calibration(f, r);
	print_trouble(f, r);
	rc = print_intervals(f, r);
	if (r->cfg->latency)
		print_distributions(f, r);
	return rc;
}
