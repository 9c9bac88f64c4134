/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/report_json.c - the results for programs, as docs/perf.schema.json describes them
 *
 * A change that a reader of the present version would trip over raises SCHEMA_VERSION.
 * Objects steal references: a value that could not be made makes the whole document fail, once, at
 * the end.
 */
#include "perf/report.h"
#include "plx_config.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SCHEMA_VERSION 1

/* ---- values ---- */

static json_t *real(double v)
{
	return json_real(isfinite(v) ? v : 0);
}

static json_t *number(uint64_t v)
{
	return v <= INT64_MAX ? json_integer((json_int_t)v) : real((double)v);
}

/* What no UTF-8 is loses what is not ASCII */
static json_t *text(const char *s)
{
	json_t *v = json_string(s);
	char *copy = v ? NULL : strdup(s);

	for (char *p = copy; p && *p; p++)
		*p = isascii(*p) ? *p : '?';
	if (copy)
		v = json_string(copy);
	free(copy);
	return v;
}

static json_t *text_or_null(const char *s)
{
	return s && *s ? text(s) : json_null();
}

/* Return: 0; -ENOMEM, as when @v could not be made */
static int set(json_t *o, const char *key, json_t *v)
{
	return json_object_set_new(o, key, v) ? -ENOMEM : 0;
}

/* ---- figures ---- */

static json_t *latency(const struct plx_hist *h)
{
	static const struct {
		const char *key;
		double percentile;
	} percentiles[] = {
		{ "p50", 50 },	       { "p90", 90 },		{ "p95", 95 },
		{ "p99", 99 },	       { "p99_9", 99.9 },	{ "p99_99", 99.99 },
		{ "p99_999", 99.999 }, { "p99_9999", 99.9999 },
	};
	json_t *o = json_object();
	int rc = set(o, "min", number(h->total ? h->min : 0));

	rc |= set(o, "mean", real(plx_hist_mean(h)));
	rc |= set(o, "stddev", real(plx_hist_stddev(h)));
	for (size_t i = 0; i < PLX_ARRAY_SIZE(percentiles); i++)
		rc |= set(o, percentiles[i].key,
			  number(plx_hist_percentile(h, percentiles[i].percentile)));
	rc |= set(o, "max", number(h->max));
	if (!rc)
		return o;
	json_decref(o);
	return NULL;
}

static int set_direction(json_t *o, const struct perf_figures *f, enum perf_direction d)
{
	int rc = set(o, "ios", number(f->ios[d]));

	rc |= set(o, "bytes", number(f->bytes[d]));
	rc |= set(o, "iops", real(perf_rate(f, f->ios[d])));
	rc |= set(o, "bytes_per_second", real(perf_rate(f, f->bytes[d])));
	rc |= set(o, "latency_ns", latency(f->hist[d]));
	return rc;
}

static json_t *direction(const struct perf_figures *f, enum perf_direction d)
{
	json_t *o = json_object();

	if (!set_direction(o, f, d))
		return o;
	json_decref(o);
	return NULL;
}

static json_t *cycles(const struct perf_cycles_per_io *c)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "submit", real(c->submit), "complete",
			 real(c->complete), "poll_empty", real(c->poll_empty), "controller",
			 c->has_controller ? real(c->controller) : json_null());
}

static int set_figures(json_t *o, const struct perf_results *r, const struct perf_figures *f)
{
	int rc = set(o, "elapsed_s", real(f->elapsed_s));

	rc |= set_direction(o, f, PERF_BOTH);
	rc |= set(o, "errors", number(f->errors));
	rc |= set(o, "mismatches", number(f->mismatches));
	if (r->mixed) {
		rc |= set(o, "read", direction(f, PERF_READS));
		rc |= set(o, "write", direction(f, PERF_WRITES));
	}
	rc |= set(o, "cycles_per_io", cycles(&f->cycles));
	rc |= set(o, "doorbells_per_io", real(perf_per_io(f, f->sq_doorbells + f->cq_doorbells)));
	rc |= set(o, "sq_doorbells", number(f->sq_doorbells));
	rc |= set(o, "cq_doorbells", number(f->cq_doorbells));
	rc |= set(o, "polls", number(f->polls));
	rc |= set(o, "empty_polls", number(f->empty_polls));
	return rc;
}

static json_t *total(const struct perf_results *r)
{
	json_t *o = json_object();

	if (!set_figures(o, r, &r->total))
		return o;
	json_decref(o);
	return NULL;
}

static json_t *first_error(const struct perf_job *job)
{
	char words[96];

	if (!job->n.errors)
		return json_null();
	plx_nvme_status_text(job->first_error, words, sizeof(words));
	return json_pack("{s:i, s:s, s:o}", "status", job->first_error, "text", words, "lba",
			 number(job->first_error_lba));
}

static json_t *one_job(const struct perf_results *r, const struct perf_row *row)
{
	const struct perf_job *job = row->job;
	json_t *o = json_object();
	int rc = set(o, "device", number((uint64_t)(job->device - r->run->devices)));

	rc |= set(o, "core", number(job->worker->cpu));
	rc |= set(o, "queue_pair", number(job->index));
	rc |= set(o, "engine", text(job->engine->name));
	rc |= set(o, "depth", number(job->depth));
	rc |= set_figures(o, r, &row->f);
	rc |= set(o, "first_error", first_error(job));
	rc |= set(o, "gave_up", job->failed ? text(strerror(-job->failed)) : json_null());
	if (!rc)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *jobs(const struct perf_results *r)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < r->run->njobs; i++) {
		if (!json_array_append_new(a, one_job(r, &r->jobs[i])))
			continue;
		json_decref(a);
		return NULL;
	}
	return a;
}

static json_t *interval(const struct perf_combined_interval *i)
{
	const struct perf_interval *s = &i->sum;
	json_t *o = json_object();
	json_t *l = i->latencies_known ? json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "min",
						   number(s->min), "mean", real(s->mean), "p50",
						   number(s->p50), "p90", number(s->p90), "p99",
						   number(s->p99), "p99_9", number(s->p99_9), "max",
						   number(s->max))
				       : json_null();
	int rc = set(o, "start_s", real(s->start_s));

	rc |= set(o, "length_s", real(s->length_s));
	rc |= set(o, "ios", number(s->ios[0] + s->ios[1]));
	rc |= set(o, "bytes", number(s->bytes[0] + s->bytes[1]));
	rc |= set(o, "reads", number(s->ios[PERF_READS]));
	rc |= set(o, "writes", number(s->ios[PERF_WRITES]));
	rc |= set(o, "iops", real(i->iops));
	rc |= set(o, "bytes_per_second", real(i->bytes_per_second));
	rc |= set(o, "errors", number(s->errors));
	rc |= set(o, "mismatches", number(s->mismatches));
	rc |= set(o, "latency_ns", l);
	if (!rc)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *intervals(const struct perf_results *r)
{
	struct plx_hist *scratch = plx_hist_create(0, 0);
	size_t n = perf_intervals_count(r);
	struct perf_combined_interval i;
	json_t *a = scratch ? json_array() : NULL;

	for (size_t k = 0; a && k < n; k++) {
		perf_intervals_get(r, k, scratch, &i);
		if (!json_array_append_new(a, interval(&i)))
			continue;
		json_decref(a);
		a = NULL;
	}
	plx_hist_destroy(scratch);
	return a;
}

/* ---- limits ---- */

/* @run: what the run has, in the unit of the limit; shown as a share of it */
static json_t *limit(const struct perf_limit *l, const char *key, double run)
{
	if (!(l->median > 0))
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "median", real(l->median), "best", real(l->best), key,
			 real(run / l->median));
}

static json_t *calibration(const struct perf_results *r)
{
	const struct perf_calibration *c = r->cal;
	const struct perf_figures *t = &r->total;
	double p50 = (double)plx_hist_percentile(t->hist[PERF_BOTH], 50);

	if (!c)
		return json_null();
	return json_pack("{s:i, s:o, s:i, s:i, s:o, s:o, s:o, s:o}", "host_core", (int)c->host_cpu,
			 "device_core",
			 c->device_cpu < 0 ? json_null() : json_integer(c->device_cpu), "depth",
			 (int)c->depth, "copy_bytes", (int)c->copy_bytes, "copy_range",
			 number(c->copy_range), "round_trip_ns",
			 limit(&c->round_trip_ns, "p50_round_trips", p50), "rings_per_second",
			 limit(&c->rings, "share", perf_rate(t, t->ios[PERF_BOTH])),
			 "copies_per_second",
			 limit(&c->copies, "share", perf_copy_share(r) * c->copies.median));
}

/* ---- environment ---- */

static json_t *device(const struct perf_device *d, const struct perf_device_facts *f)
{
	char label[sizeof(d->name)];

	return json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "name",
			 text(perf_label(d, label, sizeof(label))), "trid", text(d->name),
			 "transport", text_or_null(f->transport), "model", f->model, "serial",
			 f->serial, "firmware", f->firmware, "numa_node",
			 f->numa_node < 0 ? json_null() : json_integer(f->numa_node), "block_bytes",
			 number(f->block_bytes), "metadata_bytes", number(f->metadata_bytes),
			 "blocks", number(f->blocks), "protection_type", number(f->protection));
}

static json_t *devices(const struct perf_results *r)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < r->run->ndevices; i++) {
		if (!json_array_append_new(a, device(&r->run->devices[i], &r->env->devices[i])))
			continue;
		json_decref(a);
		return NULL;
	}
	return a;
}

/* RFC 3339, to the millisecond */
static json_t *start_time(double s)
{
	time_t t = (time_t)floor(s);
	char day[40], all[56];
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm))
		return json_null();
	snprintf(all, sizeof(all), "%s.%03dZ", day, (int)((s - (double)t) * 1000));
	return json_string(all);
}

static json_t *controller(const struct perf_run *run)
{
	if (run->inline_controller)
		return json_string("inline");
	return run->target ? json_integer(run->target_cpu) : json_null();
}

static json_t *environment(const struct perf_results *r)
{
	const struct perf_environment *e = r->env;
	json_t *o = json_object();
	int rc = set(o, "pollux_version", json_string(PLX_VERSION));

	rc |= set(o, "git_commit", text_or_null(perf_environment_commit()));
	rc |= set(o, "start_time", start_time(e->start_s));
	rc |= set(o, "command_line", text_or_null(e->command_line));
	rc |= set(o, "cpu", text_or_null(e->cpu));
	rc |= set(o, "cpus", number(e->cpus));
	rc |= set(o, "governor", text_or_null(e->governor));
	rc |= set(o, "numa_nodes", e->numa_nodes < 0 ? json_null() : json_integer(e->numa_nodes));
	rc |= set(o, "kernel", text_or_null(e->kernel));
	rc |= set(o, "memory", text(e->memory));
	rc |= set(o, "hugepages", json_boolean(e->hugepages));
	rc |= set(o, "iova_mode", json_string(e->iova_mode));
	rc |= set(o, "tsc_hz", number(plx_tsc_hz()));
	rc |= set(o, "controller", controller(r->run));
	rc |= set(o, "environment_init_s", real(r->run->env_init_s));
	rc |= set(o, "first_io_s", real(r->run->first_io_s));
	rc |= set(o, "device_ready_s", r->run->ready_s > 0 ? real(r->run->ready_s) : json_null());
	rc |= set(o, "wall_s", real(r->wall_s));
	rc |= set(o, "devices", devices(r));
	if (!rc)
		return o;
	json_decref(o);
	return NULL;
}

/* ---- configuration ---- */

static json_t *sizes(const struct perf_config *cfg)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < cfg->nsizes; i++)
		json_array_append_new(a,
				      json_pack("{s:o, s:o}", "bytes", number(cfg->sizes[i].bytes),
						"percent", number(cfg->sizes[i].share)));
	return a;
}

static json_t *cores(const struct perf_run *run)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < run->nworkers; i++)
		json_array_append_new(a, number(run->workers[i].cpu));
	return a;
}

static json_t *trids(const struct perf_config *cfg)
{
	json_t *a = json_array();
	char buf[1024];

	for (unsigned i = 0; i < cfg->ntrids; i++)
		json_array_append_new(a,
				      text(plx_nvme_trid_format(&cfg->trids[i], buf, sizeof(buf))));
	return a;
}

static json_t *protection(const struct perf_config *cfg)
{
	return json_pack("{s:b, s:b, s:b, s:b}", "pract", !!(cfg->prinfo & PLX_NVME_RW_PRACT),
			 "guard", !!(cfg->prinfo & PLX_NVME_RW_PRCHK_GUARD), "apptag",
			 !!(cfg->prinfo & PLX_NVME_RW_PRCHK_APP), "reftag",
			 !!(cfg->prinfo & PLX_NVME_RW_PRCHK_REF));
}

/* An integer where JSON's readers can be trusted with it */
static json_t *seed(uint64_t v)
{
	char digits[24];

	if (v <= INT64_MAX)
		return number(v);
	snprintf(digits, sizeof(digits), "%lu", v);
	return json_string(digits);
}

static int set_load(json_t *o, const struct perf_config *cfg)
{
	int rc = set(o, "pattern", json_string(perf_pattern_name(cfg)));

	rc |= set(o, "read_percent", number(cfg->read_share));
	rc |= set(o, "queue_depth", number(cfg->queue_depth));
	rc |= set(o, "sizes", sizes(cfg));
	rc |= set(o, "time_s", real((double)cfg->time_ns * 1e-9));
	rc |= set(o, "warmup_s", real((double)cfg->warmup_ns * 1e-9));
	rc |= set(o, "ios_per_job", cfg->ios_per_job ? number(cfg->ios_per_job) : json_null());
	rc |= set(o, "zipf_theta", cfg->zipf_theta > 0 ? real(cfg->zipf_theta) : json_null());
	rc |= set(o, "seed", seed(cfg->seed));
	rc |= set(o, "verify", json_boolean(cfg->verify));
	return rc;
}

static int set_devices(json_t *o, const struct perf_results *r)
{
	const struct perf_config *cfg = r->cfg;
	int rc = set(o, "cores", cores(r->run));

	rc |= set(o, "queue_pairs", number(cfg->queue_pairs));
	rc |= set(o, "virtual", cfg->use_virtual ? text(cfg->virtual_spec) : json_null());
	rc |= set(o, "transports", trids(cfg));
	rc |= set(o, "no_shutdown", json_boolean(cfg->no_shutdown));
	rc |= set(o, "interrupts", json_boolean(cfg->interrupts));
	rc |= set(o, "use_cmb_sqs", json_boolean(cfg->use_cmb & PERF_CMB_SQS));
	rc |= set(o, "use_cmb_data", json_boolean(cfg->use_cmb & PERF_CMB_DATA));
	rc |= set(o, "memory_mib", number(cfg->mem_mb));
	rc |= set(o, "no_huge", json_boolean(cfg->no_huge));
	return rc;
}

static int set_commands(json_t *o, const struct perf_config *cfg)
{
	static const char *const actions[] = { [PLX_NVME_TIMEOUT_NONE] = "none",
					       [PLX_NVME_TIMEOUT_ABORT] = "abort",
					       [PLX_NVME_TIMEOUT_RESET] = "reset" };
	int rc = set(o, "io_unit", cfg->io_unit ? number(cfg->io_unit) : json_null());

	rc |= set(o, "alignment", number(cfg->align));
	rc |= set(o, "max_completions", number(cfg->max_completions));
	rc |= set(o, "protection", protection(cfg));
	rc |= set(o, "continue_on_error", number(cfg->continue_on_error));
	rc |= set(o, "timeout_ms", cfg->timeout_ms ? number(cfg->timeout_ms) : json_null());
	rc |= set(o, "timeout_action", json_string(actions[cfg->timeout_action]));
	return rc;
}

static int set_outputs(json_t *o, const struct perf_config *cfg)
{
	int rc = set(o, "latency", number(cfg->latency));

	rc |= set(o, "device_latency", json_boolean(cfg->device_latency));
	rc |= set(o, "calibrate", json_boolean(cfg->calibrate));
	rc |= set(o, "json", text_or_null(cfg->json_path));
	rc |= set(o, "hist", text_or_null(cfg->hist_path));
	rc |= set(o, "interval_s",
		  cfg->interval_ns ? real((double)cfg->interval_ns * 1e-9) : json_null());
	return rc;
}

static json_t *config(const struct perf_results *r)
{
	json_t *o = json_object();

	if (!set_load(o, r->cfg) && !set_devices(o, r) && !set_commands(o, r->cfg) &&
	    !set_outputs(o, r->cfg))
		return o;
	json_decref(o);
	return NULL;
}

int perf_report_json(FILE *f, const struct perf_results *r)
{
	json_t *o = json_object();
	int rc = set(o, "schema_version", json_integer(SCHEMA_VERSION));

	rc |= set(o, "total", total(r));
	rc |= set(o, "jobs", jobs(r));
	rc |= set(o, "intervals", intervals(r));
	rc |= set(o, "calibration", calibration(r));
	rc |= set(o, "config", config(r));
	rc |= set(o, "environment", environment(r));
	errno = 0;
	if (!rc &&
	    (json_dumpf(o, f, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) || fputc('\n', f) < 0))
		rc = errno ? -errno : -EIO;
	json_decref(o);
	return rc;
}
