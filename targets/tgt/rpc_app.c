/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/tgt/rpc_app.c - RPC methods of the application: version, start and end, subsystems and
 * their saved configuration, scheduler
 */
#include "core/rpc_util.h"
#include "plx_config.h"
#include "targets/tgt/app.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- version, start, end ---- */

static json_t *get_version(struct plx_rpc_call *call, const json_t *params)
{
	int major = 0, minor = 0, patch = 0;

	sscanf(PLX_VERSION, "%d.%d.%d", &major, &minor, &patch);
	return json_pack("{s:s, s:{s:i, s:i, s:i, s:s}}", "version", "pollux " PLX_VERSION,
			 "fields", "major", major, "minor", minor, "patch", patch, "suffix", "");
}

static json_t *kill_instance(struct plx_rpc_call *call, const json_t *params)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = { { "SIGINT", SIGINT }, { "SIGTERM", SIGTERM }, { "SIGQUIT", SIGQUIT },
			{ "SIGHUP", SIGHUP }, { "SIGKILL", SIGKILL }, { "SIGUSR1", SIGUSR1 } };
	const char *name = rpc_str(params, "sig_name");
	size_t i = 0;

	while (strcmp(signals[i].name, name))
		i++;
	return kill(getpid(), signals[i].number) ? plx_rpc_fail(call, -errno, "%s", strerror(errno))
						 : json_true();
}

static json_t *start_init(struct plx_rpc_call *call, const json_t *params)
{
	char err[1536];
	int rc = tgt_app_start(err, sizeof(err));

	/* half a configuration is worse than none: it ends, as it does at its start */
	if (rc) {
		fprintf(stderr, "plx-tgt: %s\n", err);
		return plx_rpc_fail(call, rc, "%s", err);
	}
	return json_true();
}

static json_t *wait_init(struct plx_rpc_call *call, const json_t *params)
{
	if (plx_rpc_state() == PLX_RPC_RUNTIME)
		return json_true();
	if (plx_rpc_wait(call, -1))
		return NULL;
	return plx_rpc_fail(call, PLX_RPC_INVALID_STATE,
			    "a batch does not wait: call framework_start_init first");
}

/* ---- subsystems ---- */

static json_t *words(const char *text)
{
	json_t *list = json_array();

	while (text && *text) {
		size_t n = strcspn(text, " ");

		json_array_append_new(list, json_stringn(text, n));
		text += n + strspn(text + n, " ");
	}
	return list;
}

static json_t *get_subsystems(struct plx_rpc_call *call, const json_t *params)
{
	json_t *list = json_array();

	for (const struct plx_rpc_subsystem *s = plx_rpc_first_subsystem(); s; s = s->next)
		json_array_append_new(list, json_pack("{s:s, s:o}", "subsystem", s->name,
						      "depends_on", words(s->after)));
	return list;
}

static json_t *get_config(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	const struct plx_rpc_subsystem *s = plx_rpc_first_subsystem();
	json_t *config;

	while (s && strcmp(s->name, name))
		s = s->next;
	if (!s)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "name: there is no subsystem '%.64s': framework_get_subsystems "
				    "lists them",
				    name);
	config = json_array();
	if (s->dump)
		s->dump(config);
	return config;
}

/* ---- scheduler: threads stay where they are ---- */

static uint64_t scheduler_period;

static json_t *set_scheduler(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");

	if (strcmp(name, "static"))
		return plx_rpc_fail(
			call, PLX_RPC_INVALID_PARAMS,
			"name: there is no scheduler '%.64s': static, with a thread for "
			"each core, is what there is",
			name);
	scheduler_period = rpc_int(params, "period");
	return json_true();
}

static json_t *get_scheduler(struct plx_rpc_call *call, const json_t *params)
{
	return json_pack("{s:s, s:I, s:s, s:s}", "scheduler_name", "static", "scheduler_period",
			 (json_int_t)scheduler_period, "governor_name", "none",
			 "isolated_core_mask", "0x0");
}

/* ---- the table ---- */

static const struct plx_rpc_param kill_params[] = {
	{ "sig_name", PLX_RPC_ENUM, .required = true,
	  .words = "SIGINT|SIGTERM|SIGQUIT|SIGHUP|SIGKILL|SIGUSR1", .help = "the signal" },
	{ 0 },
};

static const struct plx_rpc_param config_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "the subsystem" },
	{ "with_batches", PLX_RPC_BOOL, .dflt = "false",
	  .help = "accepted for compatibility: there are no batches in it" },
	{ 0 },
};

static const struct plx_rpc_param scheduler_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "static" },
	{ "period", PLX_RPC_INT, .dflt = "0",
	  .help = "microseconds, told by framework_get_scheduler; the static one does nothing" },
	{ 0 },
};

static struct plx_rpc_method methods[] = {
	{ "spdk_get_version", "Tells the version of this program.", get_version, PLX_RPC_ANY_TIME,
	  NULL, "framework" },
	{ "spdk_kill_instance",
	  "Sends a signal to the program: SIGTERM and SIGINT end it in order.", kill_instance,
	  PLX_RPC_ANY_TIME, kill_params, "framework" },
	{ "framework_start_init",
	  "Ends the startup state that --wait-for-rpc keeps: carries out the rest of the "
	  "configuration, and lets the other methods be called.",
	  start_init, PLX_RPC_STARTUP, NULL, "framework" },
	{ "framework_wait_init", "Returns once the startup state has ended.", wait_init,
	  PLX_RPC_ANY_TIME, NULL, "framework" },
	{ "framework_get_subsystems",
	  "Lists the parts of the configuration, each after those it needs.", get_subsystems,
	  PLX_RPC_ANY_TIME, NULL, "framework" },
	{ "framework_get_config",
	  "Returns the calls that make the present state of a subsystem again.", get_config,
	  PLX_RPC_ANY_TIME, config_params, "framework" },
	{ "framework_set_scheduler", "Chooses how threads are given to cores: static.",
	  set_scheduler, PLX_RPC_ANY_TIME, scheduler_params, "framework" },
	{ "framework_get_scheduler", "Tells how threads are given to cores.", get_scheduler,
	  PLX_RPC_ANY_TIME, NULL, "framework" },
};
PLX_RPC_TABLE(methods)
