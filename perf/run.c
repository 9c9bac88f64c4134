/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/run.c - from a configuration to running workers, and back
 *
 * Everything is attached by the main thread before a worker starts. With the controller inline, the
 * main thread enters the worker's event loop for that, and hands the loop over to the worker's OS
 * thread afterwards. Each controller's admin queue is polled by one of the workers that use it.
 */
#include "driver/host_pi.h"
#include "driver/pcie_backend.h"
#include "perf/perf.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ADMIN_POLL_US 1000
#define ADMIN_WAIT_US 20000 /* with --interrupts: each look wakes the processor */

/* ---- cores ---- */

/* A core for the virtual controller that no worker uses; -1: none, so it runs inline */
static int choose_target(const struct perf_config *cfg, const struct plx_cpuset *workers)
{
	struct plx_cpuset allowed;
	int asked = plx_nvmf_device_spec_core(cfg->virtual_spec);

	if (!cfg->use_virtual || plx_nvmf_device_spec_inline(cfg->virtual_spec))
		return -1;
	if (asked >= 0)
		return asked;
	plx_topo_allowed(&allowed);
	for (int cpu = plx_cpuset_next(workers, -1); cpu >= 0; cpu = plx_cpuset_next(workers, cpu))
		plx_cpuset_del(&allowed, (unsigned)cpu);
	return plx_cpuset_next(&allowed, -1);
}

/* One worker, on the last core, so that the first is left for a controller */
static void choose_one(const struct perf_config *cfg, struct plx_cpuset allowed,
		       struct plx_cpuset *out)
{
	int taken = cfg->use_virtual ? plx_nvmf_device_spec_core(cfg->virtual_spec) : -1, last = -1;

	if (taken >= 0 && plx_cpuset_count(&allowed) > 1)
		plx_cpuset_del(&allowed, (unsigned)taken);
	for (int cpu = plx_cpuset_next(&allowed, -1); cpu >= 0;
	     cpu = plx_cpuset_next(&allowed, cpu))
		last = cpu;
	plx_cpuset_add(out, (unsigned)last);
}

int perf_choose_cores(const struct perf_config *cfg, struct perf_cores *out)
{
	struct plx_cpuset allowed;
	char text[256];

	plx_topo_allowed(&allowed);
	out->workers = cfg->cores;
	if (!plx_cpuset_count(&out->workers))
		choose_one(cfg, allowed, &out->workers);
	for (int cpu = plx_cpuset_next(&out->workers, -1); cpu >= 0;
	     cpu = plx_cpuset_next(&out->workers, cpu)) {
		if (plx_cpuset_has(&allowed, (unsigned)cpu))
			continue;
		fprintf(stderr,
			"plx-perf: core %d of -c cannot be used: this process may run on %s\n", cpu,
			plx_cpuset_format(&allowed, text, sizeof text));
		return 2;
	}
	out->target = choose_target(cfg, &out->workers);
	if (out->target >= 0 && plx_cpuset_has(&out->workers, (unsigned)out->target)) {
		fprintf(stderr,
			"plx-perf: core %d is to generate load and to run the virtual controller: "
			"choose another with "
			"core=N or -c, or use inline\n",
			out->target);
		return 2;
	}
	return 0;
}

static int make_workers(struct perf_run *run)
{
	struct perf_cores cores;
	int rc = perf_choose_cores(run->cfg, &cores);
	unsigned n = plx_cpuset_count(&cores.workers);

	if (rc)
		return rc;
	run->target_cpu = cores.target;
	run->workers = aligned_alloc(PLX_NO_SHARE, n * sizeof *run->workers);
	if (!run->workers)
		return 1;
	memset(run->workers, 0, n * sizeof *run->workers);
	for (int cpu = plx_cpuset_next(&cores.workers, -1); cpu >= 0;
	     cpu = plx_cpuset_next(&cores.workers, cpu)) {
		struct perf_worker *w = &run->workers[run->nworkers];
		char name[32];

		snprintf(name, sizeof name, "perf.%d", cpu);
		w->cpu = (unsigned)cpu;
		w->epoll = -1;
		w->index = run->nworkers;
		w->cfg = run->cfg;
		w->stop = &run->stop;
		w->thread = plx_thread_create(name);
		if (!w->thread)
			return 1;
		run->nworkers++;
	}
	return 0;
}

/* ---- controllers and namespaces ---- */

static int add_device(struct perf_run *run, struct perf_ctrlr *pc, uint32_t nsid, const char *trid)
{
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(pc->ctrlr, nsid);
	struct perf_device *d;

	if (run->ndevices == PERF_MAX_DEVICES) {
		fprintf(stderr, "plx-perf: more than %d namespaces to measure: %s\n",
			PERF_MAX_DEVICES,
			run->inline_controller
				? "lower namespaces= of --virtual, or use fewer cores in -c"
			: run->cfg->use_virtual ? "lower namespaces= of --virtual"
						: "name fewer with 'ns:' in -r");
		return 2;
	}
	d = &run->devices[run->ndevices++];
	snprintf(d->name, sizeof d->name, "%s ns %u", trid, nsid);
	d->ctrlr = pc->ctrlr;
	d->ns = ns;
	d->only = pc->thread ? pc->owner : NULL;
	return 0;
}

static int attach(struct perf_run *run, const struct plx_nvme_trid *trid,
		  struct perf_worker *inline_worker)
{
	const struct perf_config *cfg = run->cfg;
	struct perf_ctrlr *pc = &run->ctrlrs[run->nctrlrs];
	struct plx_nvme_ctrlr_opts opts;
	char name[256];
	uint32_t nsid;
	int rc;

	plx_nvme_trid_format(trid, name, sizeof name);
	if (run->nctrlrs == PERF_MAX_DEVICES) {
		fprintf(stderr, "plx-perf: more than %d controllers: give fewer -r\n",
			PERF_MAX_DEVICES);
		return 2;
	}
	if (!plx_nvme_find_backend(trid->trtype)) {
		fprintf(stderr,
			"plx-perf: -r '%s': this program has no transport %s: use trtype:VIRTUAL, "
			"or leave "
			"-r out\n",
			name, plx_nvme_trtype_name(trid->trtype));
		return 2;
	}
	plx_nvme_ctrlr_opts_init(&opts);
	opts.timeout_ms = cfg->timeout_ms;
	opts.timeout_action = cfg->timeout_action;
	opts.no_shutdown = cfg->no_shutdown;
	opts.interrupts = cfg->interrupts;
	opts.use_cmb_sqs = cfg->use_cmb & PERF_CMB_SQS;
	opts.use_cmb_data = cfg->use_cmb & PERF_CMB_DATA;
	opts.share_id = cfg->share_id;
	opts.retry_count = 0; /* a tool that measures shows what fails */
	if (cfg->io_unit)
		opts.use_sgl = true;
	pc->thread = inline_worker ? inline_worker->thread : NULL;
	pc->owner = inline_worker ? inline_worker : &run->workers[0];
	pc->ctrlr = plx_nvme_connect(trid, &opts);
	if (!pc->ctrlr) {
		/* all but this the driver has told */
		if (errno == ENOMEM)
			fprintf(stderr, "plx-perf: no memory to attach '%s': raise -s\n", name);
		return 1;
	}
	run->nctrlrs++;
	if (trid->nsid) {
		if (!plx_nvme_ctrlr_ns(pc->ctrlr, trid->nsid)) {
			fprintf(stderr,
				"plx-perf: '%s' has no active namespace %u: plx-identify lists "
				"them\n",
				name, trid->nsid);
			return 2;
		}
		return add_device(run, pc, trid->nsid, name);
	}
	for (nsid = plx_nvme_ctrlr_next_ns(pc->ctrlr, 0); nsid;
	     nsid = plx_nvme_ctrlr_next_ns(pc->ctrlr, nsid)) {
		rc = add_device(run, pc, nsid, name);
		if (rc)
			return rc;
	}
	if (!plx_nvme_ctrlr_next_ns(pc->ctrlr, 0)) {
		fprintf(stderr, "plx-perf: '%s' has no active namespace\n", name);
		return 2;
	}
	return 0;
}

static int open_virtual(struct perf_run *run)
{
	const char *spec = run->cfg->virtual_spec;
	unsigned n = 1;
	char err[256];
	int rc = 0;

	run->inline_controller = run->target_cpu < 0;
	if (run->inline_controller && !plx_nvmf_device_spec_inline(spec))
		plx_log(PLX_LOG_NOTICE, "perf",
			"no core is left for the virtual controller: it runs inline, in the loop "
			"of each core of -c");
	if (!run->inline_controller) {
		run->target = plx_reactor_start((unsigned)run->target_cpu, "target");
		if (!run->target) {
			fprintf(stderr,
				"plx-perf: core %d for the virtual controller cannot be used: %s; "
				"choose another with "
				"core=N, or use inline\n",
				run->target_cpu, strerror(errno));
			return 2;
		}
	} else {
		n = run->nworkers;
	}
	for (unsigned i = 0; i < n && !rc; i++) {
		struct perf_worker *w = run->inline_controller ? &run->workers[i] : NULL;
		struct plx_thread *thread = w ? w->thread : plx_reactor_thread(run->target);
		struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_VIRTUAL };

		snprintf(trid.traddr, sizeof trid.traddr, "virtual%u", i);
		plx_thread_enter(w ? thread : NULL);
		if (!run->virtual_device)
			rc = plx_nvmf_device_create(spec, trid.traddr, thread, &run->virtual_device,
						    err, sizeof err);
		else
			rc = plx_nvmf_device_add_controller(run->virtual_device, trid.traddr,
							    thread, err, sizeof err);
		if (rc) {
			fprintf(stderr, "plx-perf: --virtual: %s\n", err);
			rc = rc == -EINVAL ? 2 : 1;
		} else {
			rc = attach(run, &trid, w);
		}
		plx_thread_enter(NULL);
		if (w)
			w->inline_controller = true;
	}
	return rc;
}

/* ---- jobs ---- */

static int check_device(const struct perf_run *run, const struct perf_device *d)
{
	const struct perf_config *cfg = run->cfg;
	uint32_t block = plx_nvme_ns_block_size(d->ns);
	uint64_t bytes = plx_nvme_ns_blocks(d->ns) * block;

	for (unsigned i = 0; i < cfg->nsizes; i++) {
		if (cfg->sizes[i].bytes % block) {
			fprintf(stderr,
				"plx-perf: I/O size %u (-o) is no multiple of the %u-byte blocks "
				"of %s: use a multiple of %u\n",
				cfg->sizes[i].bytes, block, d->name, block);
			return 2;
		}
		if (cfg->sizes[i].bytes > bytes) {
			fprintf(stderr,
				"plx-perf: %s is too small: its %lu bytes are less than one I/O of "
				"%u (-o): use a smaller size\n",
				d->name, bytes, cfg->sizes[i].bytes);
			return 2;
		}
	}
	if (cfg->verify &&
	    (block < 64 ||
	     (uint64_t)cfg->queue_depth * cfg->queue_pairs * cfg->max_size > bytes / 2)) {
		fprintf(stderr,
			"plx-perf: %s is too small for --verify: the I/Os in flight (-q %u, -P %u, "
			"-o %u) may cover at most half of "
			"its %lu bytes: lower one of them\n",
			d->name, cfg->queue_depth, cfg->queue_pairs, cfg->max_size, bytes);
		return 2;
	}
	if (cfg->queue_depth > plx_nvme_ctrlr_max_queue_size(d->ctrlr) - 1) {
		fprintf(stderr,
			"plx-perf: queue depth %u (-q) is more than the %u commands a queue of %s "
			"can hold: lower -q or raise -P\n",
			cfg->queue_depth, plx_nvme_ctrlr_max_queue_size(d->ctrlr) - 1, d->name);
		return 2;
	}
	if (cfg->prinfo && !plx_nvme_ns_pi_type(d->ns)) {
		fprintf(stderr,
			"plx-perf: -e asks for protection information, but %s is not formatted "
			"with it: leave -e out, or for the "
			"virtual controller use md=8,pi=1\n",
			d->name);
		return 2;
	}
	return 0;
}

/* Each worker has queue pairs of its own on each namespace of a controller that it reaches */
static int check_queue_pairs(const struct perf_run *run, const struct perf_ctrlr *pc)
{
	unsigned has = plx_nvme_ctrlr_num_io_queues(pc->ctrlr),
		 workers = pc->thread ? 1 : run->nworkers, ns = 0;
	uint64_t wanted;
	char name[256];

	for (unsigned i = 0; i < run->ndevices; i++)
		ns += run->devices[i].ctrlr == pc->ctrlr;
	wanted = (uint64_t)run->cfg->queue_pairs * ns * workers;
	if (wanted <= has)
		return 0;
	fprintf(stderr,
		"plx-perf: %s has %u I/O queue pairs, not %lu (-P %u, %u namespaces, %u cores of "
		"-c): lower one of them%s\n",
		plx_nvme_trid_format(plx_nvme_ctrlr_trid(pc->ctrlr), name, sizeof name), has,
		wanted, run->cfg->queue_pairs, ns, workers,
		run->cfg->use_virtual && has < 128 ? " or raise queues= of --virtual" : "");
	return 2;
}

static unsigned jobs_of(const struct perf_run *run, const struct perf_worker *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < run->ndevices; i++)
		n += !run->devices[i].only || run->devices[i].only == w;
	return n * run->cfg->queue_pairs;
}

static void lay_out_job(struct perf_run *run, struct perf_worker *w, struct perf_device *d,
			unsigned index)
{
	struct perf_job *job = &run->jobs[run->njobs++];

	job->engine = &perf_engine_nvme;
	job->device = d;
	job->ns = d->ns;
	job->index = index;
	job->pi = plx_nvme_ns_pi(d->ns);
	job->block = plx_nvme_ns_block_size(d->ns);
	job->xfer_block = plx_nvme_ns_xfer_block_size(d->ns);
	if ((run->cfg->prinfo & PLX_NVME_RW_PRACT) && plx_nvme_pi_stripped(d->ns))
		job->xfer_block = job->block;
	job->lbas = plx_nvme_ns_blocks(d->ns);
	job->verify = d->verify;
	job->share = d->jobs++;
	w->jobs[w->njobs++] = job;
}

static int lay_out(struct perf_run *run)
{
	unsigned total = 0;
	int rc;

	for (unsigned i = 0; i < run->nctrlrs; i++) {
		rc = check_queue_pairs(run, &run->ctrlrs[i]);
		if (!rc)
			rc = perf_cmb_check(run, &run->ctrlrs[i]);
		if (rc)
			return rc;
	}
	for (unsigned i = 0; i < run->ndevices; i++) {
		struct perf_device *d = &run->devices[i];

		rc = check_device(run, d);
		if (!rc)
			rc = perf_zones_check(d, run->cfg, run->cfg->queue_pairs * run->nworkers);
		if (rc)
			return rc;
		if (run->cfg->verify) {
			d->verify =
				perf_verify_create(plx_nvme_ns_blocks(d->ns),
						   plx_nvme_ns_block_size(d->ns), run->cfg->seed);
			if (!d->verify) {
				fprintf(stderr,
					"plx-perf: --verify: out of memory for the block table of "
					"%s\n",
					d->name);
				return 1;
			}
		}
	}
	if (run->cfg->verify && run->nworkers > 1) {
		fprintf(stderr, "plx-perf: --verify needs one core that knows every write: give "
				"one in -c\n");
		return 2;
	}
	for (unsigned i = 0; i < run->ndevices; i++) {
		rc = perf_zones_start(&run->devices[i], run->cfg);
		if (rc)
			return rc;
	}
	for (unsigned i = 0; i < run->nworkers; i++)
		total += jobs_of(run, &run->workers[i]);
	run->jobs = aligned_alloc(PLX_NO_SHARE, total * sizeof *run->jobs);
	if (!run->jobs)
		return 1;
	memset(run->jobs, 0, total * sizeof *run->jobs);
	for (unsigned i = 0; i < run->nworkers; i++) {
		struct perf_worker *w = &run->workers[i];

		w->awaited = run->virtual_device;
		w->target = run->target ? plx_reactor_thread(run->target) : NULL;
		w->jobs = calloc(jobs_of(run, w), sizeof *w->jobs);
		if (!w->jobs)
			return 1;
		for (unsigned k = 0; k < run->ndevices; k++) {
			struct perf_device *d = &run->devices[k];

			if (d->only && d->only != w)
				continue;
			plx_topo_check(w->cpu, plx_nvme_ctrlr_numa(d->ctrlr), d->name);
			for (unsigned p = 0; p < run->cfg->queue_pairs; p++)
				lay_out_job(run, w, d, p);
		}
	}
	return 0;
}

int perf_run_open(struct perf_run *run, const struct perf_config *cfg)
{
	int rc;

	memset(run, 0, sizeof *run);
	run->cfg = cfg;
	run->target_cpu = -1;
	rc = make_workers(run);
	if (!rc && cfg->use_virtual)
		rc = open_virtual(run);
	for (unsigned i = 0; i < cfg->ntrids && !rc; i++)
		rc = attach(run, &cfg->trids[i], NULL);
	return rc ? rc : lay_out(run);
}

/* ---- running ---- */

static int poll_ctrlr(void *arg)
{
	return plx_nvme_ctrlr_poll(arg) > 0;
}

static int worker_open(struct perf_run *run, struct perf_worker *w)
{
	for (unsigned i = 0; i < run->nctrlrs; i++) {
		struct perf_ctrlr *pc = &run->ctrlrs[i];

		if (pc->owner != w)
			continue;
		pc->poller =
			plx_poller_create(poll_ctrlr, pc->ctrlr,
					  run->cfg->interrupts ? ADMIN_WAIT_US : ADMIN_POLL_US);
		if (!pc->poller)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < w->njobs; i++) {
		int rc = perf_job_init(w->jobs[i], w, run->cfg);

		if (rc == -ENOSPC)
			plx_log(PLX_LOG_ERR, "perf", "%s: none of its zones can be written",
				w->jobs[i]->device->name);
		else if (rc)
			plx_log(PLX_LOG_ERR, "perf",
				"%s: no memory for %u I/Os of %u bytes: lower -q or -o%s",
				w->jobs[i]->device->name, run->cfg->queue_depth, run->cfg->max_size,
				run->cfg->use_cmb & PERF_CMB_DATA ? "" : ", or raise -s");
		if (rc)
			return rc;
		rc = w->jobs[i]->engine->open(w->jobs[i]);
		if (rc) {
			plx_log(PLX_LOG_ERR, "perf", "%s: no queue pair: %s%s",
				w->jobs[i]->device->name, strerror(-rc),
				rc == -ENOMEM ? ": lower -q or -P, or raise -s" : "");
			return rc;
		}
	}
	w->opened = true;
	return perf_wait_open(w);
}

static void worker_close(struct perf_run *run, struct perf_worker *w)
{
	perf_wait_close(w);
	for (unsigned i = 0; i < w->njobs; i++)
		w->jobs[i]->engine->close(w->jobs[i]);
	for (unsigned i = 0; i < run->nctrlrs; i++) {
		if (run->ctrlrs[i].owner == w) {
			plx_poller_destroy(run->ctrlrs[i].poller);
			run->ctrlrs[i].poller = NULL;
		}
	}
}

struct worker_arg {
	struct perf_run *run;
	struct perf_worker *w;
	pthread_barrier_t *opened;
};

static void *worker_main(void *arg)
{
	struct worker_arg *a = arg;
	struct perf_worker *w = a->w;

	plx_thread_enter(w->thread);
	w->rc = plx_topo_bind_self(w->cpu);
	if (!w->rc)
		w->rc = worker_open(a->run, w);
	if (w->rc)
		atomic_store(&a->run->stop, true);
	pthread_barrier_wait(a->opened); /* all begin together, or nobody does */
	if (!atomic_load(&a->run->stop) && a->run->cfg->verify && a->run->cfg->read_share)
		w->rc = perf_worker_prefill(w);
	if (!w->rc && !atomic_load(&a->run->stop))
		w->rc = perf_worker_run(w);
	/* a reset needs every queue pair of its controller polled, and every thread that uses its
	 * device: nobody leaves before the last */
	atomic_fetch_sub(&a->run->loading, 1);
	if (w->opened)
		perf_worker_attend(w, &a->run->loading);
	worker_close(a->run, w);
	atomic_fetch_sub(&a->run->running, 1);
	while (atomic_load(&a->run->running))
		plx_thread_poll(w->thread);
	plx_thread_enter(NULL);
	return NULL;
}

static void show_progress(const struct perf_run *run, double seconds)
{
	static uint64_t before;
	static double before_s;
	uint64_t ios = 0;

	for (unsigned i = 0; i < run->njobs; i++)
		ios += __atomic_load_n(&run->jobs[i].n.ios[0], __ATOMIC_RELAXED) +
		       __atomic_load_n(&run->jobs[i].n.ios[1], __ATOMIC_RELAXED);
	if (ios < before) /* the warm-up ended */
		before = 0;
	fprintf(stderr, "\r%5.1f s  %12.0f IOPS ", seconds,
		(double)(ios - before) / (seconds - before_s));
	fflush(stderr);
	before = ios;
	before_s = seconds;
}

static double seconds_since(const struct timespec *t0)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)(t.tv_sec - t0->tv_sec) + (double)(t.tv_nsec - t0->tv_nsec) * 1e-9;
}

/* Wait for the workers, with the signals that end a run blocked in every thread and taken here */
static void wait_for_workers(struct perf_run *run, const sigset_t *signals)
{
	struct timespec tick = { 0, 20 * 1000 * 1000 }, t0;
	double shown = 0;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	while (atomic_load(&run->running)) {
		double s = seconds_since(&t0);

		if (sigtimedwait(signals, NULL, &tick) > 0) {
			if (atomic_exchange(&run->stop, true))
				_exit(130); /* asked twice: at once */
			fprintf(stderr, "%splx-perf: interrupted: results so far\n",
				run->cfg->progress ? "\n" : "");
		}
		if (run->cfg->progress && s - shown >= 1) {
			show_progress(run, s);
			shown = s;
		}
		/* rarely awake: this thread shares a core with one that measures */
		if (s > 0.2)
			tick.tv_nsec = 250 * 1000 * 1000;
	}
	if (run->cfg->progress)
		fprintf(stderr, "\r%40s\r", "");
}

int perf_run_go(struct perf_run *run)
{
	struct worker_arg *args = calloc(run->nworkers, sizeof *args);
	pthread_barrier_t opened;
	sigset_t signals, before;
	unsigned started = 0;
	int rc = 0;

	if (!args)
		return 1;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, &before);
	pthread_barrier_init(&opened, NULL, run->nworkers);
	atomic_store(&run->loading, run->nworkers);
	atomic_store(&run->running, run->nworkers);
	for (; started < run->nworkers; started++) {
		args[started] = (struct worker_arg){ run, &run->workers[started], &opened };
		if (pthread_create(&run->workers[started].os_thread, NULL, worker_main,
				   &args[started])) {
			/* those that wait at the barrier cannot be called back */
			fprintf(stderr,
				"plx-perf: cannot start a thread for core %u: use fewer cores in "
				"-c\n",
				run->workers[started].cpu);
			_exit(1);
		}
	}
	wait_for_workers(run, &signals);
	for (unsigned i = 0; i < run->nworkers; i++) {
		pthread_join(run->workers[i].os_thread, NULL);
		rc |= run->workers[i].rc;
	}
	pthread_barrier_destroy(&opened);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(args);
	return rc ? 1 : 0;
}

void perf_run_close(struct perf_run *run)
{
	for (unsigned i = 0; i < run->njobs; i++)
		perf_job_fini(&run->jobs[i]);
	for (unsigned i = 0; i < run->nctrlrs; i++) {
		plx_thread_enter(run->ctrlrs[i].thread);
		plx_nvme_disconnect(run->ctrlrs[i].ctrlr);
		plx_thread_enter(NULL);
	}
	for (unsigned i = 0; i < run->ndevices; i++) {
		perf_verify_destroy(run->devices[i].verify);
		free(run->devices[i].zoned.capacity);
	}
	if (run->virtual_device) {
		plx_thread_enter(run->inline_controller ? run->workers[0].thread : NULL);
		plx_nvmf_device_destroy(run->virtual_device);
		plx_thread_enter(NULL);
	}
	if (run->target)
		plx_reactor_stop(run->target);
	for (unsigned i = 0; i < run->nworkers; i++) {
		plx_thread_destroy(run->workers[i].thread);
		free(run->workers[i].jobs);
	}
	free(run->jobs);
	free(run->workers);
}
