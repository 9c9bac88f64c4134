/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/main.c - plx-perf: from arguments to exit code
 */
#include "perf/options.h"
#include "perf/report.h"
#include "core/text.h"
#include "core/tool.h"
#include "plx_config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_RANGE (512ull << 20) /* of calibrated copies: a device of the default size */

static int start_environment(const struct perf_config *cfg)
{
	struct plx_env_opts opts;

	plx_env_opts_init(&opts);
	opts.name = "plx-perf";
	opts.mem_mb = cfg->mem_mb;
	opts.no_huge = cfg->no_huge;
	return plx_tool_env_init(&opts, "lower -q, -P or -o, or set -s");
}

/* Bytes that the virtual device will copy from: 0 for one that does not */
static uint64_t copy_range(const char *spec)
{
	uint64_t size = DEFAULT_RANGE;
	char why[200];
	struct plx_kv kv;

	plx_kv_start(&kv, spec);
	while (plx_kv_next(&kv, why, sizeof(why)) > 0) {
		if (!strcmp(kv.key, "bdev") && kv.value && !strcmp(kv.value, "null"))
			return 0;
		if (!strcmp(kv.key, "size") && kv.value)
			plx_parse_size(kv.value, &size, NULL, 0);
	}
	return size;
}

static int calibrate(const struct perf_config *cfg, struct perf_calibration *cal)
{
	struct perf_cores cores;
	int rc = perf_choose_cores(cfg, &cores);

	if (rc)
		return rc;
	rc = perf_calibrate(cal, cfg, (unsigned)plx_cpuset_next(&cores.workers, -1), cores.target,
			    copy_range(cfg->virtual_spec));
	if (rc)
		fprintf(stderr, "plx-perf: --calibrate: %s\n", strerror(-rc));
	return rc ? PLX_EXIT_FAILED : PLX_EXIT_OK;
}

/* A run that could not begin has said why; what the reports read of a job is there from its set-up
 * on */
static bool anything_to_report(const struct perf_run *run)
{
	for (unsigned i = 0; i < run->nworkers; i++) {
		if (!run->workers[i].opened)
			return false;
	}
	for (unsigned i = 0; i < run->njobs; i++) {
		const struct perf_job *job = &run->jobs[i];

		if (!job->worker || !job->hist[1] || !job->total[1])
			return false;
	}
	return run->njobs;
}

static bool all_went_well(const struct perf_run *run)
{
	for (unsigned i = 0; i < run->njobs; i++) {
		const struct perf_job *job = &run->jobs[i];

		if (job->failed || job->n.errors || job->n.mismatches)
			return false;
	}
	return true;
}

/* No controller reached by any transport here has a log page with the latency of its media */
static void device_latency(const struct perf_run *run, const struct perf_config *cfg)
{
	bool taken = (cfg->json_path && !strcmp(cfg->json_path, "-")) ||
		     (cfg->hist_path && !strcmp(cfg->hist_path, "-"));

	for (unsigned i = 0; i < run->ndevices; i++)
		fprintf(taken ? stderr : stdout, "device-side latency: not reported by %s\n",
			run->devices[i].name);
}

static double seconds(uint64_t from_tsc, uint64_t to_tsc)
{
	return (double)(to_tsc - from_tsc) / (double)plx_tsc_hz();
}

/* As far as the first worker saw it */
static void note_start(struct perf_run *run, uint64_t begin)
{
	const struct perf_worker *w = &run->workers[0];

	if (w->first_tsc > begin)
		run->first_io_s = seconds(begin, w->first_tsc);
	if (w->ready_tsc > begin)
		run->ready_s = seconds(begin, w->ready_tsc);
}

static int measure(struct perf_run *run, const struct perf_config *cfg,
		   const struct perf_calibration *cal, uint64_t begin)
{
	uint64_t start = plx_tsc();
	int rc = perf_run_go(run);
	double wall = seconds(start, plx_tsc());

	if (!anything_to_report(run))
		return PLX_EXIT_FAILED;
	note_start(run, begin);
	rc |= perf_report(run, cfg, cal, wall);
	if (cfg->device_latency)
		device_latency(run, cfg);
	rc |= plx_tool_flush("plx-perf");
	return rc || !all_went_well(run) ? PLX_EXIT_FAILED : PLX_EXIT_OK;
}

static int run_all(const struct perf_config *cfg, uint64_t begin)
{
	struct perf_calibration cal;
	struct perf_run *run;
	uint64_t spent = 0;
	double env_s = 0;
	int rc = start_environment(cfg);

	if (rc)
		return rc;
	env_s = seconds(begin, plx_tsc());
	if (cfg->calibrate) {
		spent = plx_tsc();
		rc = calibrate(cfg, &cal);
		spent = plx_tsc() - spent;
	}
	run = rc ? NULL
		 : aligned_alloc(PLX_NO_SHARE,
				 (sizeof(*run) + PLX_NO_SHARE - 1) / PLX_NO_SHARE * PLX_NO_SHARE);
	if (run) {
		rc = perf_run_open(run, cfg);
		run->env_init_s = env_s;
		if (!rc)
			rc = measure(run, cfg, cfg->calibrate ? &cal : NULL, begin + spent);
		perf_run_close(run);
		free(run);
	} else if (!rc) {
		fprintf(stderr, "plx-perf: out of memory\n");
		rc = PLX_EXIT_FAILED;
	}
	plx_env_fini();
	return rc;
}

int main(int argc, char **argv)
{
	uint64_t begin = plx_tsc();
	struct perf_config *cfg = malloc(sizeof(*cfg));
	char err[512];
	int rc;

	plx_tool_begin();
	if (!cfg)
		return PLX_EXIT_FAILED;
	rc = perf_options_parse(cfg, argc, argv, err, sizeof(err));
	if (rc < 0) {
		fprintf(stderr, "plx-perf: %s\n", err);
		rc = PLX_EXIT_USAGE;
	} else if (rc == PERF_HELP) {
		perf_options_help(stdout, plx_nvmf_spec_help());
		rc = plx_tool_flush("plx-perf");
	} else if (rc == PERF_VERSION) {
		printf("plx-perf %s\n", PLX_VERSION);
		rc = plx_tool_flush("plx-perf");
	} else {
		rc = run_all(cfg, begin);
	}
	free(cfg);
	return rc;
}
