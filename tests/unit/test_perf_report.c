/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_perf_report.c - what hand-made jobs look like in the reports */
#include "perf/report.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Core 2 drives two queue pairs of one device, core 3 one; core 3 starts half a second later and
 * ends with the other. The first job reads 1..1000 ns, the second writes 2000 ns ten times, the
 * third reads 5000 ns a hundred times.
 */
static struct perf_run run;
static struct perf_config cfg;
static struct perf_worker workers[2];
static struct perf_job jobs[3];
static struct perf_environment env;
static struct perf_results results;
static uint64_t hz;

static const struct perf_engine engine = { .name = "nvme" };

static void job_init(struct perf_job *job, struct perf_worker *w, unsigned index)
{
	job->engine = &engine;
	job->worker = w;
	job->device = &run.devices[0];
	job->index = index;
	job->depth = 8;
	job->cfg = &cfg;
	for (int d = 0; d < 2; d++)
		job->hist[d] = job->total[d] = plx_hist_create(0, 0);
}

static void done(struct perf_job *job, bool is_read, uint64_t ns)
{
	plx_hist_record(job->hist[is_read], ns);
	job->n.ios[is_read]++;
	job->n.bytes[is_read] += 4096;
}

static void begin(void)
{
	struct plx_env_opts opts;

	plx_env_opts_init(&opts);
	opts.mem_mb = 32;
	cr_assert(zero(int, plx_env_init(&opts)));
	hz = plx_tsc_hz();
	cfg = (struct perf_config){ .queue_depth = 8,
				    .sizes = { { 4096, 100 } },
				    .nsizes = 1,
				    .pattern = PERF_RANDOM,
				    .read_share = 70,
				    .queue_pairs = 2,
				    .seed = 1,
				    .virtual_spec = "",
				    .use_virtual = true,
				    .time_ns = 2000000000 };
	run = (struct perf_run){ .cfg = &cfg,
				 .workers = workers,
				 .nworkers = 2,
				 .jobs = jobs,
				 .njobs = 3,
				 .inline_controller = true,
				 .target_cpu = -1 };
	snprintf(run.devices[0].name, sizeof(run.devices[0].name), "trtype:VIRTUAL traddr:v0 ns 1");
	workers[0] = (struct perf_worker){ .cpu = 2,
					   .start_tsc = hz,
					   .stop_tsc = 3 * hz,
					   .scale = plx_tsc_scale(),
					   .cycles = { .submit = 10100,
						       .complete = 20200,
						       .poll_empty = 1010,
						       .controller = 40400 } };
	workers[1] = (struct perf_worker){ .cpu = 3,
					   .start_tsc = hz + hz / 2,
					   .stop_tsc = 3 * hz,
					   .scale = plx_tsc_scale(),
					   .cycles = { .submit = 100, .target = 0 } };
	job_init(&jobs[0], &workers[0], 0);
	job_init(&jobs[1], &workers[0], 1);
	job_init(&jobs[2], &workers[1], 0);
	for (uint64_t v = 1; v <= 1000; v++)
		done(&jobs[0], true, v);
	for (int i = 0; i < 10; i++)
		done(&jobs[1], false, 2000);
	for (int i = 0; i < 100; i++)
		done(&jobs[2], true, 5000);
	snprintf(env.cpu, sizeof(env.cpu), "Some Processor");
	snprintf(env.kernel, sizeof(env.kernel), "Linux 6.1");
	snprintf(env.memory, sizeof(env.memory), "32 MiB");
	env.iova_mode = "VA";
	env.start_s = 1700000000.25;
}

static void end(void)
{
	for (int i = 0; i < 3; i++) {
		for (int d = 0; d < 2; d++) {
			if (jobs[i].total[d] != jobs[i].hist[d])
				plx_hist_destroy(jobs[i].total[d]);
			plx_hist_destroy(jobs[i].hist[d]);
		}
		perf_series_destroy(jobs[i].series);
	}
	plx_env_fini();
}

TestSuite(perf_report, .init = begin, .fini = end);

static void make(void)
{
	cr_assert(zero(int, perf_results_make(&results, &run, &cfg)));
	results.env = &env;
}

typedef int (*report_fn)(FILE *f, const struct perf_results *r);

/* What a report writes, of results made here. Return: freed by the caller */
static char *report(report_fn fn)
{
	size_t len;
	char *text = NULL;
	FILE *f = open_memstream(&text, &len);

	cr_assert(zero(int, fn(f, &results)));
	fclose(f);
	return text;
}

static json_t *json(void)
{
	char *text = report(perf_report_json);
	json_error_t error;
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	cr_assert(o != NULL, "%s in\n%s", error.text, text);
	free(text);
	return o;
}

/* What is at a path such as "total.latency_ns.p50" */
static json_t *find(json_t *o, const char *where)
{
	char copy[128], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", where);
	for (char *key = strtok_r(copy, ".", &save); key; key = strtok_r(NULL, ".", &save))
		o = json_object_get(o, key);
	return o;
}

static double at(json_t *o, const char *where)
{
	bool number = json_is_number(find(o, where));

	cr_assert(number, "%s is no number", where);
	return json_number_value(find(o, where));
}

static bool is_null(json_t *o, const char *where)
{
	return json_is_null(find(o, where));
}

static const char *text_at(json_t *o, const char *where)
{
	const char *text = json_string_value(find(o, where));

	return text ? text : "";
}

/* ---- adding up ---- */

Test(perf_report, jobs_add_up_to_the_total)
{
	const struct perf_figures *t = &results.total;

	jobs[1].n.errors = 3;
	jobs[2].n.errors = 4;
	jobs[2].n.mismatches = 5;
	make();
	cr_assert(eq(u64, t->ios[PERF_READS], 1100));
	cr_assert(eq(u64, t->ios[PERF_WRITES], 10));
	cr_assert(eq(u64, t->ios[PERF_BOTH], 1110));
	cr_assert(eq(u64, t->bytes[PERF_BOTH], 1110 * 4096));
	cr_assert(eq(u64, t->errors, 7));
	cr_assert(eq(u64, t->mismatches, 5));
	perf_results_free(&results);
}

Test(perf_report, rates_of_the_total_are_over_first_start_to_last_stop)
{
	make();
	cr_assert(epsilon_eq(dbl, results.total.elapsed_s, 2, 1e-6));
	cr_assert(epsilon_eq(dbl, perf_rate(&results.total, results.total.ios[PERF_BOTH]), 555,
			     1e-3));
	cr_assert(epsilon_eq(dbl, results.jobs[2].f.elapsed_s, 1.5, 1e-6));
	perf_results_free(&results);
}

Test(perf_report, histograms_are_merged_by_direction)
{
	const struct perf_figures *t = &results.total;

	make();
	cr_assert(eq(u64, t->hist[PERF_BOTH]->total, 1110));
	cr_assert(eq(u64, plx_hist_percentile(t->hist[PERF_BOTH], 45), 500));
	cr_assert(eq(u64, t->hist[PERF_BOTH]->min, 1));
	cr_assert(eq(u64, t->hist[PERF_BOTH]->max, 5000));
	cr_assert(eq(u64, t->hist[PERF_WRITES]->total, 10));
	cr_assert(eq(u64, plx_hist_percentile(t->hist[PERF_WRITES], 50), 2000));
	cr_assert(eq(u64, t->hist[PERF_READS]->total, 1100));
	perf_results_free(&results);
}

Test(perf_report, with_intervals_the_total_is_what_the_cuts_have_moved)
{
	jobs[0].total[0] = plx_hist_create(0, 0);
	jobs[0].total[1] = plx_hist_create(0, 0);
	plx_hist_record(jobs[0].total[1], 77);
	make();
	cr_assert(eq(u64, results.jobs[0].f.hist[PERF_BOTH]->total, 1));
	cr_assert(eq(u64, results.jobs[0].f.hist[PERF_BOTH]->max, 77));
	perf_results_free(&results);
}

Test(perf_report, queue_pairs_of_a_device_on_a_core_are_one_row)
{
	make();
	cr_assert(eq(u32, results.nrows, 2));
	cr_assert(eq(u32, results.rows[0].njobs, 2));
	cr_assert(eq(u64, results.rows[0].f.ios[PERF_BOTH], 1010));
	cr_assert(eq(u64, results.rows[1].f.ios[PERF_BOTH], 100));
	perf_results_free(&results);
}

Test(perf_report, cycles_are_of_the_core_with_all_its_jobs)
{
	make();
	cr_assert(epsilon_eq(dbl, results.jobs[1].f.cycles.submit, 10, 1e-9));
	cr_assert(epsilon_eq(dbl, results.jobs[1].f.cycles.complete, 20, 1e-9));
	cr_assert(epsilon_eq(dbl, results.jobs[1].f.cycles.poll_empty, 1, 1e-9));
	cr_assert(epsilon_eq(dbl, results.jobs[1].f.cycles.controller, 40, 1e-9));
	cr_assert(epsilon_eq(dbl, results.total.cycles.submit, 10200.0 / 1110, 1e-9));
	cr_assert(results.total.cycles.has_controller);
	perf_results_free(&results);
}

Test(perf_report, a_controller_on_its_own_core_serves_all_ios)
{
	run.inline_controller = false;
	run.target = (struct plx_reactor *)&run; /* not looked into */
	workers[0].cycles.controller = 0;
	workers[0].cycles.target = 111000;
	workers[1].cycles.target = 110000;
	make();
	cr_assert(epsilon_eq(dbl, results.total.cycles.controller, 100, 1e-9));
	cr_assert(epsilon_eq(dbl, results.jobs[2].f.cycles.controller, 100, 1e-9));
	perf_results_free(&results);
}

Test(perf_report, a_real_controller_has_no_cycles)
{
	json_t *o;

	run.inline_controller = false;
	make();
	cr_assert(not(results.total.cycles.has_controller));
	o = json();
	cr_assert(is_null(o, "total.cycles_per_io.controller"));
	json_decref(o);
	perf_results_free(&results);
}

Test(perf_report, doorbells_and_polls_are_those_of_the_measured_time)
{
	jobs[2].qp_before = (struct plx_nvme_qpair_stats){
		.sq_doorbells = 5, .cq_doorbells = 7, .polls = 100, .empty_polls = 50
	};
	jobs[2].qp_after = (struct plx_nvme_qpair_stats){
		.sq_doorbells = 55, .cq_doorbells = 17, .polls = 300, .empty_polls = 60
	};
	make();
	cr_assert(epsilon_eq(dbl, perf_per_io(&results.jobs[2].f, results.jobs[2].f.sq_doorbells),
			     0.5, 1e-9));
	cr_assert(epsilon_eq(dbl, perf_per_io(&results.jobs[2].f, results.jobs[2].f.cq_doorbells),
			     0.1, 1e-9));
	cr_assert(eq(u64, results.total.polls, 200));
	cr_assert(eq(u64, results.total.empty_polls, 10));
	perf_results_free(&results);
}

Test(perf_report, copies_count_for_each_core_that_does_them)
{
	struct perf_calibration cal = { .copies = { 1000, 1100 }, .copy_bytes = 4096 };

	make();
	cr_assert(epsilon_eq(dbl, perf_copy_share(&results), -1, 1e-9));
	results.cal = &cal;
	cr_assert(epsilon_eq(dbl, perf_copy_share(&results), 555.0 / 2000, 1e-6));
	run.inline_controller = false;
	cr_assert(epsilon_eq(dbl, perf_copy_share(&results), 555.0 / 1000, 1e-6));
	perf_results_free(&results);
}

/* ---- intervals ---- */

static void cut_all(double from_s, double to_s)
{
	for (int i = 0; i < 3; i++) {
		struct perf_job *job = &jobs[i];

		if (!job->series) {
			job->series = perf_series_create(&cfg);
			job->total[0] = plx_hist_create(0, 0);
			job->total[1] = plx_hist_create(0, 0);
		}
		perf_series_cut(job->series, job,
				job->worker->start_tsc + (uint64_t)(from_s * (double)hz),
				job->worker->start_tsc + (uint64_t)(to_s * (double)hz));
	}
}

Test(perf_report, intervals_of_all_jobs_are_one)
{
	struct plx_hist *scratch = plx_hist_create(0, 0);
	struct perf_combined_interval i;

	cfg.interval_ns = 500000000;
	cut_all(0, 0.5);
	done(&jobs[0], true, 9000);
	cut_all(0.5, 1);
	make();
	cr_assert(eq(sz, perf_intervals_count(&results), 2));
	perf_intervals_get(&results, 0, scratch, &i);
	cr_assert(i.latencies_known);
	cr_assert(eq(u64, i.sum.ios[PERF_READS], 1100));
	cr_assert(eq(u64, i.sum.ios[PERF_WRITES], 10));
	cr_assert(epsilon_eq(dbl, i.iops, 2220, 1e-2));
	cr_assert(eq(u64, i.sum.min, 1));
	cr_assert(eq(u64, i.sum.max, 5000));
	cr_assert(eq(u64, i.sum.p99, 5000));
	perf_intervals_get(&results, 1, scratch, &i);
	cr_assert(eq(u64, i.sum.ios[PERF_READS], 1));
	cr_assert(eq(u64, i.sum.p50, 9000));
	cr_assert(epsilon_eq(dbl, i.sum.start_s, 0.5, 1e-6));
	plx_hist_destroy(scratch);
	perf_results_free(&results);
}

/* ---- JSON ---- */

Test(perf_report, json_has_the_figures)
{
	json_t *o, *job;

	run.inline_controller = true;
	make();
	o = json();
	cr_assert(epsilon_eq(dbl, at(o, "schema_version"), 1, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.iops"), 555, 1e-3));
	cr_assert(epsilon_eq(dbl, at(o, "total.bytes_per_second"), 555 * 4096, 1));
	cr_assert(epsilon_eq(dbl, at(o, "total.errors"), 0, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.mismatches"), 0, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.latency_ns.min"), 1, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.latency_ns.mean"),
			     (500500 + 20000 + 500000) / 1110.0, 1e-6));
	cr_assert(epsilon_eq(dbl, at(o, "total.latency_ns.p90"), 999, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.latency_ns.p99"), 5000, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.latency_ns.max"), 5000, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.read.ios"), 1100, 1e-9));
	cr_assert(epsilon_eq(dbl, at(o, "total.write.latency_ns.p50"), 2000, 1e-9));
	cr_assert(eq(sz, json_array_size(json_object_get(o, "jobs")), 3));
	job = json_array_get(json_object_get(o, "jobs"), 1);
	cr_assert(epsilon_eq(dbl, at(job, "device"), 0, 1e-9));
	cr_assert(epsilon_eq(dbl, at(job, "core"), 2, 1e-9));
	cr_assert(epsilon_eq(dbl, at(job, "queue_pair"), 1, 1e-9));
	cr_assert(epsilon_eq(dbl, at(job, "depth"), 8, 1e-9));
	cr_assert(epsilon_eq(dbl, at(job, "cycles_per_io.controller"), 40, 1e-9));
	json_decref(o);
	perf_results_free(&results);
}

Test(perf_report, json_has_each_field_even_without_any_io)
{
	static const char *const paths[] = {
		"total.iops",
		"total.bytes_per_second",
		"total.latency_ns.min",
		"total.latency_ns.mean",
		"total.latency_ns.stddev",
		"total.latency_ns.p50",
		"total.latency_ns.p90",
		"total.latency_ns.p99",
		"total.latency_ns.p99_9",
		"total.latency_ns.p99_99",
		"total.latency_ns.p99_999",
		"total.latency_ns.max",
		"total.cycles_per_io.submit",
		"total.cycles_per_io.complete",
		"total.cycles_per_io.poll_empty",
		"total.cycles_per_io.controller",
		"total.doorbells_per_io",
	};
	json_t *o;

	for (int i = 0; i < 3; i++) {
		memset(&jobs[i].n, 0, sizeof(jobs[i].n));
		plx_hist_reset(jobs[i].hist[0]);
		plx_hist_reset(jobs[i].hist[1]);
	}
	workers[0].start_tsc = workers[0].stop_tsc = 0;
	workers[1].start_tsc = workers[1].stop_tsc = 0;
	make();
	o = json();
	for (size_t i = 0; i < PLX_ARRAY_SIZE(paths); i++)
		cr_assert(epsilon_eq(dbl, at(o, paths[i]), 0, 1e-12), "%s", paths[i]);
	json_decref(o);
	perf_results_free(&results);
}

Test(perf_report, json_of_reads_alone_has_no_split)
{
	json_t *o;

	cfg.read_share = 100;
	make();
	o = json();
	cr_assert(find(o, "total.read") == NULL);
	json_decref(o);
	perf_results_free(&results);
}

Test(perf_report, json_names_the_first_error_of_a_job)
{
	json_t *o, *job;

	jobs[2].n.errors = 9;
	jobs[2].first_error = 0x281;
	jobs[2].first_error_lba = 1234;
	jobs[2].failed = -ENXIO;
	make();
	o = json();
	job = json_array_get(json_object_get(o, "jobs"), 2);
	cr_assert(epsilon_eq(dbl, at(job, "first_error.status"), 0x281, 1e-9));
	cr_assert(epsilon_eq(dbl, at(job, "first_error.lba"), 1234, 1e-9));
	cr_assert(eq(str, (char *)text_at(job, "gave_up"), strerror(ENXIO)));
	job = json_array_get(json_object_get(o, "jobs"), 0);
	cr_assert(is_null(job, "first_error"));
	json_decref(o);
	perf_results_free(&results);
}

Test(perf_report, json_survives_arguments_that_are_no_utf8)
{
	char line[] = "plx-perf --json \xff\xfe";
	json_t *o;

	env.command_line = line;
	make();
	o = json();
	cr_assert(eq(str, (char *)text_at(o, "environment.command_line"), "plx-perf --json ?\?"));
	json_decref(o);
	perf_results_free(&results);
}

Test(perf_report, json_shows_the_run_as_shares_of_the_limits)
{
	struct perf_calibration cal = {
		.device_cpu = 3, .depth = 8, .round_trip_ns = { 250, 200 }, .rings = { 5550, 6000 }
	};
	json_t *o;

	make();
	results.cal = &cal;
	o = json();
	cr_assert(epsilon_eq(dbl, at(o, "calibration.rings_per_second.share"), 0.1, 1e-6));
	cr_assert(epsilon_eq(dbl, at(o, "calibration.round_trip_ns.p50_round_trips"), 555.0 / 250,
			     1e-2));
	cr_assert(is_null(o, "calibration.copies_per_second"));
	json_decref(o);
	perf_results_free(&results);
}

/* ---- text ---- */

/* What a terminal shows of it: continuation bytes take no column */
static size_t columns(const char *line, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)line[i] & 0xc0) != 0x80;
	return n;
}

Test(perf_report, text_fits_into_120_columns)
{
	struct perf_calibration cal = { .host_cpu = 2,
					.device_cpu = 3,
					.depth = 65535,
					.round_trip_ns = { 1e6, 1e5 },
					.rings = { 123e6, 456e6 },
					.copies = { 1e6, 2e6 },
					.copy_bytes = 4096,
					.copy_range = 1ull << 39 };
	char *text;

	memset(run.devices[0].name, 'x', 300);
	memset(env.cpu, 'x', sizeof(env.cpu) - 1);
	cfg.latency = 2;
	make();
	results.cal = &cal;
	text = report(perf_report_text);
	for (char *line = text, *next; (next = strchr(line, '\n')); line = next + 1) {
		/* a title names a device in full */
		if (strncmp(line, "Latency", 7))
			cr_assert(le(sz, columns(line, (size_t)(next - line)), 120), "%.*s",
				  (int)(next - line), line);
	}
	free(text);
	perf_results_free(&results);
}

static bool has_row(const char *text, const char *label, const char *core, const char *iops)
{
	char row[64];

	snprintf(row, sizeof(row), "\n%-7s %4s %13s ", label, core, iops);
	return strstr(text, row);
}

Test(perf_report, text_shows_rows_total_and_split)
{
	char *text;

	make();
	text = report(perf_report_text);
	cr_assert(has_row(text, "v0 ns 1", "2", "505"), "%s", text);
	cr_assert(has_row(text, "v0 ns 1", "3", "67"), "%s", text);
	cr_assert(has_row(text, "Total", "", "555"), "%s", text);
	cr_assert(has_row(text, "  reads", "", "550"), "%s", text);
	cr_assert(has_row(text, "  writes", "", "5"), "%s", text);
	free(text);
	perf_results_free(&results);
}

Test(perf_report, text_names_what_went_wrong_and_where)
{
	char *text;

	jobs[1].n.errors = 1200;
	jobs[1].first_error = 0x281;
	jobs[1].first_error_lba = 77;
	jobs[2].n.mismatches = 3;
	jobs[2].failed = -ENXIO;
	make();
	text = report(perf_report_text);
	cr_assert(strstr(text, "v0 ns 1, core 2, queue pair 1: 1,200 I/Os failed, the first at LBA "
			       "77: UNRECOVERED READ ERROR") != NULL,
		  "%s", text);
	cr_assert(strstr(text, "v0 ns 1, core 3, queue pair 0: 3 blocks were not") != NULL, "%s",
		  text);
	cr_assert(strstr(text, "v0 ns 1, core 3, queue pair 0: gave up") != NULL, "%s", text);
	free(text);
	perf_results_free(&results);
}

/* Sum of the third column of the bars, which are lines with a percentage and no cumulative
 * column */
static double sum_of_bars(const char *text, unsigned *bars)
{
	double sum = 0, share;

	*bars = 0;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (*line != '\n' && sscanf(line, " %*f - %*f %lf %%", &share) == 1) {
			sum += share;
			++*bars;
		}
	}
	return sum;
}

Test(perf_report, bars_hold_every_io)
{
	static const uint64_t extremes[] = { 0, 1, 77, 3600000000000, UINT64_MAX / 2 };
	unsigned bars;
	char *text;

	cfg.latency = 1;
	run.njobs = 1; /* only the total is shown */
	for (size_t i = 0; i < PLX_ARRAY_SIZE(extremes); i++)
		done(&jobs[0], true, extremes[i]);
	make();
	text = report(perf_report_text);
	cr_assert(epsilon_eq(dbl, sum_of_bars(text, &bars), 100, 0.01), "%s", text);
	cr_assert(le(u32, bars, 24));
	cr_assert(strstr(text, "     0.000 -      0.001 ") != NULL, "%s", text);
	free(text);
	perf_results_free(&results);
}

Test(perf_report, bars_show_which_share_took_how_long)
{
	char *text;

	cfg.latency = 1;
	run.njobs = 1; /* 1..1000 ns */
	make();
	text = report(perf_report_text);
	cr_assert(strstr(text, "     0.001 -      0.002    0.1000 %") != NULL, "%s", text);
	cr_assert(strstr(text, "     0.100 -      0.160    6.0000 %") != NULL, "%s", text);
	cr_assert(strstr(text, "     0.630 -      1.000   37.0000 %") != NULL, "%s", text);
	cr_assert(strstr(text, "     1.000 -      1.600    0.1000 %") != NULL, "%s", text);
	free(text);
	perf_results_free(&results);
}

Test(perf_report, bars_begin_where_the_fastest_io_is)
{
	char *text;

	cfg.latency = 1;
	run.jobs = &jobs[2]; /* 5000 ns each */
	run.njobs = 1;
	make();
	text = report(perf_report_text);
	cr_assert(strstr(text, "\n\n     5.000 -      6.300  100.0000 %") != NULL, "%s", text);
	free(text);
	perf_results_free(&results);
}

Test(perf_report, the_whole_histogram_ends_at_100_percent)
{
	char *text, *last;

	cfg.latency = 2;
	make();
	text = report(perf_report_text);
	last = strrchr(text, '-');
	cr_assert(strstr(last, " 100.0000 %          100          100            0\n") != NULL,
		  "%s", last);
	free(text);
	perf_results_free(&results);
}

Test(perf_report, microseconds_have_four_digits)
{
	static const struct {
		double ns;
		const char *text;
	} cases[] = {
		{ 0, "0.000" },	       { 1, "0.001" },	     { 812, "0.812" },
		{ 9999.4, "9.999" },   { 9999.6, "10.00" },  { 12345, "12.35" },
		{ 99994, "99.99" },    { 99996, "100.0" },   { 123456, "123.5" },
		{ 9999940, "9999.9" }, { 9999960, "10000" }, { 1e12, "1000000000" },
	};
	char buf[32];

	for (size_t i = 0; i < PLX_ARRAY_SIZE(cases); i++)
		cr_expect(eq(str, perf_format_us(cases[i].ns, buf, sizeof(buf)),
			     (char *)cases[i].text));
}

Test(perf_report, rates_have_three_digits)
{
	char buf[32];

	cr_expect(eq(str, perf_format_rate(0, buf, sizeof(buf)), "0 /s"));
	cr_expect(eq(str, perf_format_rate(850, buf, sizeof(buf)), "850 /s"));
	cr_expect(eq(str, perf_format_rate(999.6, buf, sizeof(buf)), "1.00 k/s"));
	cr_expect(eq(str, perf_format_rate(45600, buf, sizeof(buf)), "45.6 k/s"));
	cr_expect(eq(str, perf_format_rate(1.234e6, buf, sizeof(buf)), "1.23 M/s"));
	cr_expect(eq(str, perf_format_rate(456e9, buf, sizeof(buf)), "456 G/s"));
}

Test(perf_report, devices_have_short_names)
{
	static const struct {
		const char *name, *label;
	} cases[] = {
		{ "trtype:PCIe traddr:0000:04:00.0 ns 12", "0000:04:00.0 ns 12" },
		{ "trtype:TCP traddr:10.0.0.1 trsvcid:4420 subnqn:nqn.x:ns ns 1", "10.0.0.1 ns 1" },
		{ "something else", "something else" },
	};
	struct perf_device d;
	char buf[64];

	for (size_t i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		snprintf(d.name, sizeof(d.name), "%s", cases[i].name);
		cr_expect(eq(str, perf_label(&d, buf, sizeof(buf)), (char *)cases[i].label));
	}
}

/* ---- histogram log ---- */

struct read_back {
	unsigned entries, tagged;
	uint64_t total;
	char last_tag[64];
	double last_start, last_length;
};

static struct read_back read_log(void)
{
	char *text = report(perf_report_hist), err[128];
	FILE *f = fmemopen(text, strlen(text), "r");
	struct read_back b = { 0 };
	struct plx_hlog_entry e;
	unsigned line = 0;
	int rc;

	cr_assert(strstr(text, "#[StartTime: 1700000000.250 ") != NULL, "%s", text);
	while ((rc = plx_hlog_read(f, &line, &e, err, sizeof(err))) == 1) {
		b.entries++;
		b.tagged += *e.tag != '\0';
		b.total += e.hist->total;
		snprintf(b.last_tag, sizeof(b.last_tag), "%s", e.tag);
		b.last_start = e.start_s;
		b.last_length = e.length_s;
		plx_hist_destroy(e.hist);
	}
	cr_assert(zero(int, rc), "%s", err);
	fclose(f);
	free(text);
	return b;
}

Test(perf_report, log_has_a_tag_for_each_queue_pair)
{
	struct read_back b;

	make();
	b = read_log();
	cr_assert(eq(u32, b.entries, 3));
	cr_assert(eq(u64, b.total, 1110));
	cr_assert(eq(str, b.last_tag, "v0-ns1-core3-qp0"));
	cr_assert(epsilon_eq(dbl, b.last_start, 0.5, 1e-3));
	cr_assert(epsilon_eq(dbl, b.last_length, 1.5, 1e-3));
	perf_results_free(&results);
}

Test(perf_report, log_of_one_queue_pair_needs_no_tag)
{
	struct read_back b;

	run.njobs = 1;
	make();
	b = read_log();
	cr_assert(eq(u32, b.entries, 1));
	cr_assert(eq(u32, b.tagged, 0));
	perf_results_free(&results);
}

Test(perf_report, tags_hold_whatever_a_device_is_called)
{
	struct read_back b;

	memset(run.devices[0].name, ',', 300);
	memcpy(run.devices[0].name + 200, "a b\tc\xff", 6);
	make();
	b = read_log();
	cr_assert(eq(u32, b.tagged, 3));
	cr_assert(eq(sz, strlen(b.last_tag), 63));
	perf_results_free(&results);
}

Test(perf_report, log_has_each_interval_and_what_was_in_none)
{
	struct read_back b;

	cfg.interval_ns = 500000000;
	cut_all(0, 0.5);
	done(&jobs[0], true, 9000);
	cut_all(0.5, 1);
	plx_hist_record(jobs[2].total[1], 4444); /* as if its interval had not been kept */
	make();
	b = read_log();
	cr_assert(eq(u32, b.entries, 7));
	cr_assert(eq(u64, b.total, 1112));
	cr_assert(epsilon_eq(dbl, b.last_start, 1.5, 1e-3));
	cr_assert(epsilon_eq(dbl, b.last_length, 0.5, 1e-3));
	perf_results_free(&results);
}

/* ---- files ---- */

static char directory[] = "/tmp/plx-report-XXXXXX";
static char path[128];

static void in_directory(const char *name)
{
	if (!path[0])
		cr_assert(mkdtemp(directory) != NULL);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
}

static unsigned files_left(void)
{
	char command[96];
	unsigned n = 99;
	FILE *f;

	snprintf(command, sizeof(command), "ls -A %s | wc -l", directory);
	f = popen(command, "r");
	cr_assert(eq(int, fscanf(f, "%u", &n), 1));
	pclose(f);
	return n;
}

static void remove_directory(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", directory);
	cr_assert(zero(int, system(command)));
}

Test(perf_report, a_file_replaces_the_one_before_completely)
{
	json_error_t error;
	struct stat st;
	json_t *o;
	FILE *f;

	in_directory("out.json");
	f = fopen(path, "w");
	for (int i = 0; i < 100000; i++)
		fputs("old ", f);
	fclose(f);
	cfg.json_path = path;
	umask(027);
	cr_assert(zero(int, perf_report(&run, &cfg, NULL, 2)));
	o = json_load_file(path, 0, &error);
	cr_assert(o != NULL, "%s", error.text);
	cr_assert(zero(int, stat(path, &st)));
	cr_assert(eq(u32, st.st_mode & 0777, 0640));
	cr_assert(eq(u32, files_left(), 1));
	json_decref(o);
	remove_directory();
}

Test(perf_report, a_file_that_cannot_be_completed_leaves_the_one_before)
{
	struct rlimit small = { 100, 100 };
	char text[16] = "";
	FILE *f;

	in_directory("out.json");
	f = fopen(path, "w");
	fputs("old", f);
	fclose(f);
	cfg.json_path = path;
	signal(SIGXFSZ, SIG_IGN);
	cr_redirect_stdout(); /* a pipe has no size */
	cr_redirect_stderr();
	setrlimit(RLIMIT_FSIZE, &small);
	cr_assert(eq(int, perf_report(&run, &cfg, NULL, 2), -EFBIG));
	f = fopen(path, "r");
	cr_assert(fgets(text, sizeof(text), f) != NULL);
	cr_assert(eq(str, text, "old"));
	cr_assert(eq(u32, files_left(), 1));
	fclose(f);
	remove_directory();
}

Test(perf_report, a_link_stays_and_its_file_is_replaced)
{
	char link[128];
	struct stat st;

	in_directory("file.json");
	fclose(fopen(path, "w"));
	snprintf(link, sizeof(link), "%s/link", directory);
	cr_assert(zero(int, symlink(path, link)));
	cfg.json_path = link;
	cr_assert(zero(int, perf_report(&run, &cfg, NULL, 2)));
	cr_assert(zero(int, lstat(link, &st)));
	cr_assert(eq(u32, st.st_mode & S_IFMT, S_IFLNK));
	cr_assert(zero(int, stat(path, &st)));
	cr_assert(gt(u64, (uint64_t)st.st_size, 100));
	remove_directory();
}

Test(perf_report, what_is_no_file_is_written_to_not_replaced)
{
	struct stat st;
	char c = 0;
	int fd;

	in_directory("pipe");
	cr_assert(zero(int, mkfifo(path, 0600)));
	fd = open(path, O_RDONLY | O_NONBLOCK);
	cfg.json_path = path;
	cr_assert(zero(int, perf_report(&run, &cfg, NULL, 2)));
	cr_assert(zero(int, lstat(path, &st)));
	cr_assert(eq(u32, st.st_mode & S_IFMT, S_IFIFO));
	cr_assert(eq(sz, (size_t)read(fd, &c, 1), 1));
	cr_assert(eq(chr, c, '{'));
	close(fd);
	remove_directory();
}

Test(perf_report, results_are_printed_although_a_file_cannot_be_written)
{
	char text[16384] = "";
	FILE *out;

	in_directory("missing/out.json");
	cfg.json_path = path;
	cr_redirect_stdout();
	cr_redirect_stderr();
	cr_assert(eq(int, perf_report(&run, &cfg, NULL, 2), -ENOENT));
	fflush(stdout);
	out = cr_get_redirected_stdout();
	cr_assert(gt(sz, fread(text, 1, sizeof(text) - 1, out), 0));
	cr_assert(strstr(text, "\nTotal ") != NULL, "%s", text);
	remove_directory();
}
