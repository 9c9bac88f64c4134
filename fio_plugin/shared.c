/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/shared.c - what all jobs of a process share
 *
 * The environment and the controllers come up with the first job that asks, in fio's main thread,
 * and go when the process ends. A thread of its own, the caretaker, polls the controllers' admin
 * queues, and runs the application thread, in which bdevs are made and RPC methods carried out:
 * jobs come and go, and none is there all the time.
 */
#include "fio_plugin/fio_plugin.h"
#include <core/rpc.h>
#include <core/tool.h>
#include <driver/pcie_backend.h>
#include <errno.h>
#include <pollux/bdev.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define CARETAKER_NS 1000000

static struct {
	pthread_mutex_t lock; /* of devices whose controllers come and go, and of @said */
	struct shared_ctrlr *_Atomic ctrlrs; /* grows at its head, in setup alone */
	bool started, failed;
	_Atomic unsigned jobs; /* that were set up and have not ended */
	_Atomic unsigned running; /* of them, those with a thread */
	char said[512];
	_Atomic bool stop;
	struct plx_thread *app;
	struct plx_rpc_server *rpc;
	struct plx_poller *rpc_poller;
	char *eal_args; /* the environment was started with */
	char *config; /* file that was loaded; NULL: none yet */
	bool config_failed;
	pthread_t caretaker;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

void engine_error(const struct thread_data *td, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&shared.lock);
	if (strcmp(text, shared.said))
		log_err("%s: %s\n", td->io_ops->name, text);
	memcpy(shared.said, text, sizeof text);
	pthread_mutex_unlock(&shared.lock);
}

/* ---- the end ---- */

static void ctrlr_free(struct shared_ctrlr *c)
{
	plx_thread_enter(c->thread);
	if (c->ctrlr)
		plx_nvme_disconnect(c->ctrlr);
	if (c->device)
		plx_nvmf_device_destroy(c->device);
	plx_thread_enter(NULL);
	plx_reactor_stop(c->reactor);
	if (c->thread)
		plx_thread_destroy(c->thread);
	free(c->virtual_spec);
	free(c);
}

/* In the caretaker's own turn: a message would come within the method that waits for the last job
 * to let go of its bdev */
static void end_rpc(void)
{
	plx_poller_destroy(shared.rpc_poller);
	shared.rpc_poller = NULL;
	plx_rpc_server_close(shared.rpc);
	shared.rpc = NULL;
}

static void shared_end(void)
{
	if (!shared.started)
		return;
	shared.started = false;
	atomic_store(&shared.stop, true);
	pthread_join(shared.caretaker, NULL);
	/* a job that hangs, and that fio has given up, still uses the rest */
	if (atomic_load(&shared.running))
		return;
	while (shared.ctrlrs) {
		struct shared_ctrlr *c = shared.ctrlrs;

		shared.ctrlrs = c->next;
		ctrlr_free(c);
	}
	plx_thread_enter(shared.app);
	plx_bdev_delete_all();
	plx_thread_enter(NULL);
	plx_thread_destroy(shared.app);
	free(shared.config);
	shared.config = NULL;
	plx_env_fini();
	free(shared.eal_args);
	shared.eal_args = NULL;
}

void shared_job_begin(void)
{
	atomic_fetch_add(&shared.jobs, 1);
}

void shared_job_run(void)
{
	atomic_fetch_add(&shared.running, 1);
}

void shared_job_end(void)
{
	atomic_fetch_sub(&shared.running, 1);
	if (atomic_fetch_sub(&shared.jobs, 1) == 1)
		shared_end();
}

/* ---- the caretaker ---- */

static void *caretaker_main(void *arg)
{
	const struct timespec tick = { 0, CARETAKER_NS };

	plx_thread_enter(shared.app);
	while (!atomic_load(&shared.stop)) {
		for (struct shared_ctrlr *c = shared.ctrlrs; c; c = c->next) {
			if (!c->thread)
				plx_nvme_ctrlr_poll(c->ctrlr);
		}
		plx_thread_poll(shared.app);
		plx_thread_may_sleep(shared.app, 1);
		nanosleep(&tick, NULL);
	}
	end_rpc();
	plx_thread_enter(NULL);
	return NULL;
}

void shared_call(void (*fn)(void *arg), void *arg)
{
	plx_thread_call(shared.app, fn, arg, false);
}

/* A component that has said nothing yet is none that is unknown */
static void show_logs(const char *flags)
{
	char *copy = flags ? strdup(flags) : NULL, *rest = copy, *flag;

	while ((flag = strsep(&rest, ",")))
		plx_log_set_level(flag, PLX_LOG_DEBUG);
	free(copy);
}

static int start_caretaker(const struct thread_data *td)
{
	sigset_t all, before;
	int rc;

	shared.app = plx_thread_create("fio");
	if (!shared.app) {
		engine_error(td, "out of memory");
		return -1;
	}
	atomic_store(&shared.stop, false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&shared.caretaker, NULL, caretaker_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc) {
		engine_error(td, "cannot start a thread: %s", strerror(rc));
		plx_thread_destroy(shared.app);
	}
	return rc ? -1 : 0;
}

/* What the environment has been started with is for all jobs */
static int started_with(const struct thread_data *td, const char *eal_args)
{
	const char *before = shared.eal_args ? shared.eal_args : "";

	if (shared.failed)
		return -1;
	if (!eal_args || !strcmp(before, eal_args))
		return 0;
	engine_error(td,
		     "env_context=%s: another job has started the environment with '%s': give it "
		     "to all jobs, before the first",
		     eal_args, before);
	return -1;
}

int shared_start(const struct thread_data *td, size_t mem_mb, const char *log_flags,
		 const char *eal_args)
{
	static bool registered;
	struct plx_env_opts opts;

	if (shared.started || shared.failed) {
		show_logs(log_flags);
		return started_with(td, eal_args);
	}
	plx_env_opts_init(&opts);
	opts.name = td->io_ops->name;
	opts.mem_mb = mem_mb;
	opts.log_level = PLX_LOG_WARN;
	opts.eal_args = eal_args;
	shared.eal_args = eal_args ? strdup(eal_args) : NULL;
	/* said once: the other jobs fail for the same reason */
	shared.failed = plx_tool_env_init(&opts, "or lower iodepth, bs or numjobs, or set "
						 "mem_size_mb (spdk_mem)") != PLX_EXIT_OK;
	if (shared.failed)
		return -1;
	if (start_caretaker(td)) {
		shared.failed = true;
		plx_env_fini();
		return -1;
	}
	shared.started = true;
	if (!registered)
		atexit(shared_end);
	registered = true;
	show_logs(log_flags);
	return 0;
}

/* ---- configuration ---- */

struct config_load {
	const struct thread_data *td;
	const struct bdev_options *o;
	int rc;
};

static int poll_rpc(void *arg)
{
	return plx_rpc_server_poll(shared.rpc, 0);
}

static int load_file(const struct thread_data *td, const char *path)
{
	json_error_t where;
	json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	char err[512];
	int rc;

	if (!config) {
		engine_error(td, "spdk_json_conf=%s: line %d: %s", path, where.line, where.text);
		return -1;
	}
	rc = plx_rpc_load_config(config, err, sizeof err);
	if (!rc) {
		plx_rpc_set_state(PLX_RPC_RUNTIME);
		rc = plx_rpc_load_config(config, err, sizeof err);
	}
	json_decref(config);
	if (rc)
		engine_error(td, "spdk_json_conf=%s: %s", path, err);
	return rc;
}

static void load_config(void *arg)
{
	struct config_load *load = arg;
	const char *listen_at = load->o->spdk_rpc_listen_addr;
	char err[256];

	plx_rpc_set_state(PLX_RPC_STARTUP);
	load->rc = load_file(load->td, load->o->spdk_json_conf);
	if (load->rc || !listen_at)
		return;
	load->rc = plx_rpc_server_open(listen_at, &shared.rpc, err, sizeof err);
	if (load->rc) {
		engine_error(load->td, "spdk_rpc_listen_addr=%s: %s", listen_at, err);
		return;
	}
	shared.rpc_poller = plx_poller_create(poll_rpc, NULL, 1000);
	load->rc = shared.rpc_poller ? 0 : -ENOMEM;
}

int shared_configure(const struct thread_data *td, const struct bdev_options *o)
{
	struct config_load load = { .td = td, .o = o };

	if (shared.config) {
		if (shared.config_failed)
			return -1;
		if (!strcmp(shared.config, o->spdk_json_conf))
			return 0;
		engine_error(td,
			     "spdk_json_conf=%s: the process has loaded %s: use one file for all "
			     "jobs",
			     o->spdk_json_conf, shared.config);
		return -1;
	}
	shared.config = strdup(o->spdk_json_conf);
	if (!shared.config)
		return -1;
	shared_call(load_config, &load);
	shared.config_failed = load.rc;
	return load.rc ? -1 : 0;
}

/* ---- controllers ---- */

static void ctrlr_options(struct plx_nvme_ctrlr_opts *opts, const struct nvme_options *o)
{
	plx_nvme_ctrlr_opts_init(opts);
	opts->retry_count = 0; /* what fails is fio's to report */
	opts->use_sgl = o->enable_sgl;
	opts->sgl_apart = o->disable_pcie_sgl_merge;
	opts->weighted_arbitration = o->enable_wrr;
	opts->interrupts = o->enable_interrupts;
	opts->arb_burst = o->arbitration_burst < 7 ? 1u << o->arbitration_burst : 0;
	opts->arb_low = (uint32_t)o->low_weight;
	opts->arb_medium = (uint32_t)o->medium_weight;
	opts->arb_high = (uint32_t)o->high_weight;
	if (o->hostnqn)
		snprintf(opts->hostnqn, sizeof opts->hostnqn, "%s", o->hostnqn);
}

static void name_transports(char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (enum plx_nvme_trtype t = 0; t < PLX_NVME_TR_MAX && n < len; t++) {
		if (plx_nvme_find_backend(t))
			n += (size_t)snprintf(buf + n, len - n, " %s", plx_nvme_trtype_name(t));
	}
}

static struct plx_nvme_ctrlr *attach(const struct thread_data *td, const struct plx_nvme_trid *trid,
				     const struct nvme_options *o)
{
	struct plx_nvme_ctrlr_opts opts;
	struct plx_nvme_ctrlr *c;
	char name[300], has[64];

	ctrlr_options(&opts, o);
	plx_nvme_trid_format(trid, name, sizeof name);
	if (trid->trtype == PLX_NVME_TR_PCIE) {
		opts.share_id = o->shm_id;
	} else if (o->shm_id >= 0) {
		engine_error(td,
			     "shm_id=%d: '%s': only PCIe controllers are shared by processes: "
			     "leave it out",
			     o->shm_id, name);
		return NULL;
	}
	if (!plx_nvme_find_backend(trid->trtype)) {
		name_transports(has, sizeof has);
		engine_error(td, "'%s': this build has no transport %s: it has%s", name,
			     plx_nvme_trtype_name(trid->trtype), has);
		return NULL;
	}
	c = plx_nvme_connect(trid, &opts);
	/* the driver has said the rest, but not to a client of fio's server */
	if (!c && errno == ENOMEM)
		engine_error(td, "no memory to attach '%s': set mem_size_mb", name);
	else if (!c && is_backend)
		engine_error(td, "cannot attach '%s': %s", name, strerror(errno));
	return c;
}

/* The device in this process: on a core of its own where the text says so, else inline */
static int virtual_create(const struct thread_data *td, struct shared_ctrlr *c)
{
	const char *spec = c->virtual_spec;
	int core = plx_nvmf_device_spec_core(spec);
	char err[256];
	int rc;

	if (core >= 0)
		c->reactor = plx_reactor_start((unsigned)core, "target");
	else
		c->thread = plx_thread_create("setup");
	if (!c->reactor && !c->thread) {
		engine_error(td, "virtual=%s: core %d: %s", spec, core,
			     errno == EINVAL ? "this process may not run there: choose another"
					     : strerror(errno));
		return -1;
	}
	plx_thread_enter(c->thread);
	if (plx_nvmf_device_create(spec, c->trid.traddr,
				   c->thread ? c->thread : plx_reactor_thread(c->reactor),
				   &c->device, err, sizeof err)) {
		engine_error(td, "virtual=%s: %s", spec, err);
		return -1;
	}
	/* fio's clock runs from the first I/O on: its memory has to be there before */
	while ((rc = plx_nvmf_device_ready(c->device)) == -EAGAIN && !td->terminate)
		usleep(1000);
	if (rc && rc != -EAGAIN)
		engine_error(td, "virtual=%s: its memory is not to be had: %s", spec,
			     strerror(-rc));
	return rc ? -1 : 0;
}

bool shared_same(const struct plx_nvme_trid *a, const struct plx_nvme_trid *b)
{
	return a->trtype == b->trtype && !strcmp(a->traddr, b->traddr) &&
	       !strcmp(a->trsvcid, b->trsvcid) && !strcmp(a->subnqn, b->subnqn);
}

struct shared_ctrlr *shared_find(const struct plx_nvme_trid *trid)
{
	struct shared_ctrlr *c = shared.ctrlrs;

	while (c && !shared_same(&c->trid, trid))
		c = c->next;
	return c;
}

/* What a controller is like is the same for all jobs that use it */
static int check_shared(const struct thread_data *td, const struct shared_ctrlr *c,
			const struct nvme_options *o, const char *spec)
{
	const struct {
		const char *name;
		int mine, first;
	} both[] = {
		{ "enable_sgl", o->enable_sgl, c->first.enable_sgl },
		{ "disable_pcie_sgl_merge", o->disable_pcie_sgl_merge,
		  c->first.disable_pcie_sgl_merge },
		{ "enable_interrupts", o->enable_interrupts, c->first.enable_interrupts },
		{ "shm_id", o->shm_id, c->first.shm_id },
		{ "enable_wrr", o->enable_wrr, c->first.enable_wrr },
		{ "arbitration_burst", o->arbitration_burst, c->first.arbitration_burst },
		{ "low_weight", o->low_weight, c->first.low_weight },
		{ "medium_weight", o->medium_weight, c->first.medium_weight },
		{ "high_weight", o->high_weight, c->first.high_weight },
	};

	if (strcmp(c->virtual_spec, spec)) {
		engine_error(td,
			     "virtual=%s: another job has made '%s' with virtual=%s: give this one "
			     "another traddr",
			     spec, c->trid.traddr, c->virtual_spec);
		return -1;
	}
	for (size_t i = 0; i < PLX_ARRAY_SIZE(both); i++) {
		if (both[i].mine == both[i].first)
			continue;
		engine_error(td, "%s=%d: another job uses '%s' with %s=%d: give both the same",
			     both[i].name, both[i].mine, c->trid.traddr, both[i].name,
			     both[i].first);
		return -1;
	}
	return 0;
}

/* The driver would make do with a warning */
static int check_arbitration(const struct thread_data *td, const struct shared_ctrlr *c,
			     const struct nvme_options *o)
{
	if (!o->enable_wrr || NVME_CAP_AMS(plx_nvme_ctrlr_cap(c->ctrlr)) & NVME_CAP_AMS_WRR)
		return 0;
	engine_error(td,
		     "enable_wrr=1: '%s' has no weighted round robin (CAP.AMS is %u): leave it out",
		     c->trid.traddr, (unsigned)NVME_CAP_AMS(plx_nvme_ctrlr_cap(c->ctrlr)));
	return -1;
}

struct shared_ctrlr *shared_attach(const struct thread_data *td, const struct plx_nvme_trid *trid,
				   const struct nvme_options *o)
{
	const char *spec = o->virtual_spec ? o->virtual_spec : "";
	struct shared_ctrlr *c = shared_find(trid);
	int rc = 0;

	if (*spec && trid->trtype != PLX_NVME_TR_VIRTUAL) {
		engine_error(td,
			     "virtual=%s: it goes with trtype=VIRTUAL, not with %s: leave it out",
			     spec, plx_nvme_trtype_name(trid->trtype));
		return NULL;
	}
	if (o->enable_interrupts && trid->trtype == PLX_NVME_TR_VIRTUAL) {
		engine_error(
			td,
			"enable_interrupts=1: '%s' is in this process, where its controller has "
			"to be polled: leave it out",
			trid->traddr);
		return NULL;
	}
	if (c)
		return check_shared(td, c, o, spec) ? NULL : c;
	c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->trid = *trid;
	c->trid.nsid = 0;
	c->first = *o;
	c->virtual_spec = strdup(spec);
	rc = c->virtual_spec ? 0 : -1;
	if (!rc && trid->trtype == PLX_NVME_TR_VIRTUAL)
		rc = virtual_create(td, c);
	if (!rc)
		c->ctrlr = attach(td, &c->trid, o);
	if (!c->ctrlr || check_arbitration(td, c, o)) {
		ctrlr_free(c);
		return NULL;
	}
	plx_thread_enter(NULL);
	c->next = shared.ctrlrs;
	shared.ctrlrs = c;
	return c;
}

struct plx_nvme_ctrlr *shared_own_ctrlr(const struct thread_data *td, struct shared_ctrlr *c,
					struct plx_thread *thread, const struct nvme_options *o)
{
	struct plx_nvme_trid trid = c->trid;
	char err[256];
	int rc;

	pthread_mutex_lock(&shared.lock);
	snprintf(trid.traddr, sizeof trid.traddr, "%.200s.%u", c->trid.traddr, ++c->made);
	rc = plx_nvmf_device_add_controller(c->device, trid.traddr, thread, err, sizeof err);
	pthread_mutex_unlock(&shared.lock);
	if (rc) {
		engine_error(td, "%s: %s", trid.traddr, err);
		return NULL;
	}
	return attach(td, &trid, o);
}

void shared_give_back(struct plx_nvme_ctrlr *ctrlr)
{
	struct plx_nvme_trid trid = *plx_nvme_ctrlr_trid(ctrlr);

	plx_nvme_disconnect(ctrlr);
	pthread_mutex_lock(&shared.lock);
	for (struct shared_ctrlr *c = shared.ctrlrs; c; c = c->next) {
		if (c->thread && !plx_nvmf_device_remove_controller(c->device, trid.traddr))
			break;
	}
	pthread_mutex_unlock(&shared.lock);
}
