/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/main.c - plx-perf: from arguments to exit code
 */
#include "perf/options.h"
#include "perf/report.h"
#include "core/text.h"
#include "plx_config.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

#define DEFAULT_RANGE (512ull << 20) /* of calibrated copies: a device of the default size */

static int start_environment(const struct perf_config *cfg)
{
	struct plx_env_opts opts;
	sigset_t signals, before;
	int rc;

	plx_env_opts_init(&opts);
	opts.name = "plx-perf";
	opts.mem_mb = cfg->mem_mb;
	opts.no_huge = cfg->no_huge;
	for (unsigned i = 0; i < cfg->ntrids; i++)
		opts.pci |= cfg->trids[i].trtype == PLX_NVME_TR_PCIE;
	/* the environment's own threads leave Ctrl-C to this one */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, &before);
	rc = plx_env_init(&opts);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		fprintf(stderr,
			"plx-perf: no %zu MiB of memory to work with: %s: free some, lower -q, -P "
			"or -o, or set -s\n",
			cfg->mem_mb, strerror(-rc));
	return rc ? EXIT_FAILED : EXIT_OK;
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
	return rc ? EXIT_FAILED : EXIT_OK;
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

/* The first worker's first submission; a --verify run has written its blocks before that */
static double first_io(const struct perf_run *run, const struct perf_config *cfg, uint64_t begin)
{
	const struct perf_worker *w = &run->workers[0];
	double s = w->start_tsc > begin
			   ? seconds(begin, w->start_tsc) - (double)cfg->warmup_ns * 1e-9
			   : 0;

	return s > 0 ? s : 0;
}

static int measure(struct perf_run *run, const struct perf_config *cfg,
		   const struct perf_calibration *cal, uint64_t begin)
{
	uint64_t start = plx_tsc();
	int rc = perf_run_go(run);
	double wall = seconds(start, plx_tsc());

	if (!anything_to_report(run))
		return EXIT_FAILED;
	run->first_io_s = first_io(run, cfg, begin);
	rc |= perf_report(run, cfg, cal, wall);
	if (cfg->device_latency)
		device_latency(run, cfg);
	errno = 0; /* an earlier failure is not this one's reason */
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "plx-perf: results could not be written to standard output%s%s\n",
			errno ? ": " : "", errno ? strerror(errno) : "");
		rc = EXIT_FAILED;
	}
	return rc || !all_went_well(run) ? EXIT_FAILED : EXIT_OK;
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
		rc = EXIT_FAILED;
	}
	plx_env_fini();
	return rc;
}

/* A descriptor closed by the caller is not to be taken by a file of ours that output would go to */
static void occupy_closed_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* for reading only: output to it fails, as it would have */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			return;
	}
}

int main(int argc, char **argv)
{
	uint64_t begin = plx_tsc();
	struct perf_config *cfg = malloc(sizeof(*cfg));
	char err[512];
	int rc;

	occupy_closed_streams();
	signal(SIGPIPE, SIG_IGN); /* a reader that goes away is a failed write, and said */
	signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow further */
	if (!cfg)
		return EXIT_FAILED;
	rc = perf_options_parse(cfg, argc, argv, err, sizeof(err));
	if (rc < 0) {
		fprintf(stderr, "plx-perf: %s\n", err);
		rc = EXIT_USAGE;
	} else if (rc == PERF_HELP) {
		perf_options_help(stdout, plx_nvmf_spec_help());
		rc = fflush(stdout) ? EXIT_FAILED : EXIT_OK;
	} else if (rc == PERF_VERSION) {
		printf("plx-perf %s\n", PLX_VERSION);
		rc = fflush(stdout) ? EXIT_FAILED : EXIT_OK;
	} else {
		rc = run_all(cfg, begin);
	}
	free(cfg);
	return rc;
}
