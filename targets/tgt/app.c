/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/tgt/app.c - plx-tgt while it runs
 *
 * Reactors, one for each core, do I/O. The main thread sleeps until a client or a signal wakes it,
 * is not tied to a core, and carries out methods, one at a time: they may block.
 */
#include "targets/tgt/app.h"
#include "core/tool.h"
#include <errno.h>
#include <pollux/bdev.h>
#include <pollux/nvmf.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SLEEP_MS 20 /* what others send to the main thread waits no longer */

struct tgt_app tgt_app;
PLX_LOG_COMPONENT(tgt)

/* ---- signals ---- */

static volatile sig_atomic_t stopping;

/* The first one asks for an end; whatever comes then ends it at once. */
static void on_stop(int sig)
{
	stopping = 1;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

static void signals_set(void)
{
	struct sigaction sa = { .sa_handler = on_stop };

	/* one after the other, also when both have come: the later one finds no handler any more */
	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGINT);
	sigaddset(&sa.sa_mask, SIGTERM);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGHUP, SIG_IGN);
}

/* ---- starting ---- */

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "plx-tgt: %s%s%s\n", what, *what ? ": " : "", why);
	return PLX_EXIT_FAILED;
}

static int config_read(const char *path, json_t **out)
{
	char why[256];
	json_error_t e;

	*out = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
	if (*out)
		return PLX_EXIT_OK;
	if (e.line > 0)
		snprintf(why, sizeof(why), "line %d: %s: it is to be JSON", e.line, e.text);
	else
		snprintf(why, sizeof(why), "it cannot be read: %s", strerror(errno));
	return fail(path, why);
}

static int reactors_start(struct tgt_app *a)
{
	struct plx_cpuset cores = a->o->cores;
	char name[32];

	if (!plx_cpuset_count(&cores)) {
		struct plx_cpuset allowed;

		plx_topo_allowed(&allowed);
		plx_cpuset_add(&cores, (unsigned)plx_cpuset_next(&allowed, -1));
	}
	for (int c = -1; (c = plx_cpuset_next(&cores, c)) >= 0;) {
		snprintf(name, sizeof(name), "reactor_%d", c);
		a->reactors[a->n_reactors] = plx_reactor_start((unsigned)c, name);
		if (!a->reactors[a->n_reactors]) {
			char why[96];

			snprintf(why, sizeof(why), "no thread on core %d: %s", c, strerror(errno));
			return fail("", why);
		}
		a->n_reactors++;
	}
	return PLX_EXIT_OK;
}

static int target_start(const struct tgt_app *a)
{
	struct plx_thread *threads[PLX_MAX_CPUS];
	unsigned cpus[PLX_MAX_CPUS];

	for (unsigned i = 0; i < a->n_reactors; i++) {
		threads[i] = plx_reactor_thread(a->reactors[i]);
		cpus[i] = plx_reactor_cpu(a->reactors[i]);
	}
	return plx_nvmf_target_start(threads, cpus, a->n_reactors);
}

static int config_load(const struct tgt_app *a, char *err, size_t errlen)
{
	int n = snprintf(err, errlen, "%s: ", a->o->config);

	if (!a->config)
		return 0;
	if ((size_t)n >= errlen)
		n = 0;
	return plx_rpc_load_config(a->config, err + n, errlen - (size_t)n);
}

int tgt_app_start(char *err, size_t errlen)
{
	struct tgt_app *a = &tgt_app;
	int rc = target_start(a);

	if (rc) {
		snprintf(err, errlen, "%s",
			 *plx_log_last_error() ? plx_log_last_error() : strerror(-rc));
		a->failed = true;
		return rc;
	}
	plx_rpc_set_state(PLX_RPC_RUNTIME);
	rc = config_load(a, err, errlen);
	json_decref(a->config);
	a->config = NULL;
	a->failed = rc;
	return rc;
}

static void say_ready(const struct tgt_app *a)
{
	struct plx_cpuset cores = { { 0 } };
	char list[128];

	for (unsigned i = 0; i < a->n_reactors; i++)
		plx_cpuset_add(&cores, plx_reactor_cpu(a->reactors[i]));
	printf("plx-tgt: %s: cores %s, %s, JSON-RPC at %s\n",
	       plx_rpc_state() == PLX_RPC_RUNTIME ? "ready" : "waits for framework_start_init",
	       plx_cpuset_format(&cores, list, sizeof(list)), plx_env_describe(), a->o->socket);
	fflush(stdout); /* who reads it is not what this program lives on */
}

/* What is for startup alone, and the rest unless a client is to say when. */
static int configure(struct tgt_app *a)
{
	char err[1536];

	plx_rpc_set_state(PLX_RPC_STARTUP);
	if (config_load(a, err, sizeof(err)) ||
	    (!a->o->wait_for_rpc && tgt_app_start(err, sizeof(err))))
		return fail("", err);
	return PLX_EXIT_OK;
}

/* ---- running, ending ---- */

static int serve(struct tgt_app *a)
{
	bool told = plx_rpc_state() == PLX_RPC_RUNTIME;

	say_ready(a);
	while (!stopping && !a->failed) {
		while (plx_thread_poll(a->thread))
			;
		plx_rpc_server_poll(a->server, plx_thread_may_sleep(a->thread, SLEEP_MS));
		if (!told && plx_rpc_state() == PLX_RPC_RUNTIME && !a->failed) {
			told = true;
			say_ready(a);
		}
	}
	return a->failed ? PLX_EXIT_FAILED : PLX_EXIT_OK;
}

static int run_in_environment(struct tgt_app *a)
{
	int rc;

	a->thread = plx_thread_create("app_thread");
	if (!a->thread)
		return fail("", "out of memory");
	plx_thread_enter(a->thread);
	rc = reactors_start(a);
	if (!rc)
		rc = configure(a);
	if (!rc)
		rc = serve(a);
	/* nobody asks any more; hosts see their connections close, what they had in flight ends */
	plx_rpc_server_close(a->server);
	a->server = NULL;
	plx_nvmf_target_stop();
	if (plx_bdev_delete_all())
		plx_log(PLX_LOG_WARN, "tgt", "a bdev is still in use: left as it is");
	tgt_threads_unwatch();
	while (a->n_reactors)
		plx_reactor_stop(a->reactors[--a->n_reactors]);
	plx_thread_enter(NULL);
	plx_thread_destroy(a->thread);
	return rc;
}

static int run_with_socket(struct tgt_app *a)
{
	struct plx_env_opts env;
	int rc;

	plx_env_opts_init(&env);
	env.name = "plx-tgt";
	env.mem_mb = a->o->mem_mb;
	env.no_huge = a->o->no_huge;
	if (a->o->quiet)
		env.log_level = PLX_LOG_WARN;
	rc = plx_tool_env_init(&env, "or set -s");
	if (rc)
		return rc;
	rc = run_in_environment(a);
	plx_env_fini();
	return rc;
}

int tgt_app_run(const struct tgt_options *o)
{
	struct tgt_app *a = &tgt_app;
	char err[256];
	int rc = 0;

	a->o = o;
	signals_set();
	if (o->config)
		rc = config_read(o->config, &a->config);
	if (rc)
		return rc;
	/* first, since it may be taken; clients that are early are answered once there is
	 * somebody */
	if (plx_rpc_server_open(o->socket, &a->server, err, sizeof(err)))
		rc = fail("", err);
	else
		rc = run_with_socket(a);
	plx_rpc_server_close(a->server);
	json_decref(a->config);
	return rc;
}
