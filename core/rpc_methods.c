/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_methods.c - methods that every program with JSON-RPC has: what can be called, logging
 */
#include "core/core_internal.h"
#include "core/rpc.h"
#include <errno.h>

static json_t *rpc_get_methods(struct plx_rpc_call *call, const json_t *params)
{
	bool current = json_is_true(json_object_get(params, "current"));
	json_t *names = json_array();

	for (const struct plx_rpc_method *m = plx_rpc_first(); m; m = m->next)
		if (!current || (m->states & plx_rpc_state()))
			json_array_append_new(names, json_string(m->name));
	return names;
}

static json_t *log_get_flags(struct plx_rpc_call *call, const json_t *params)
{
	json_t *flags = json_object();
	const char *name;
	bool debug;

	for (unsigned i = 0; (name = log_component(i, &debug)); i++)
		json_object_set_new(flags, name, json_boolean(debug));
	return flags;
}

static json_t *set_flag(struct plx_rpc_call *call, const json_t *params, bool on)
{
	const char *flag = json_string_value(json_object_get(params, "flag"));

	if (log_set_debug(flag, on))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "flag: '%.64s' is no component: log_get_flags lists them, and "
				    "'all' is all of them",
				    flag);
	return json_true();
}

static json_t *log_set_flag(struct plx_rpc_call *call, const json_t *params)
{
	return set_flag(call, params, true);
}

static json_t *log_clear_flag(struct plx_rpc_call *call, const json_t *params)
{
	return set_flag(call, params, false);
}

static json_t *log_set_level(struct plx_rpc_call *call, const json_t *params)
{
	/* a word of LEVELS */
	log_set_general_level(
		plx_log_level_parse(json_string_value(json_object_get(params, "level"))));
	return json_true();
}

static json_t *log_get_level(struct plx_rpc_call *call, const json_t *params)
{
	static const char *const names[] = { "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG" };

	return json_string(names[log_general_level() - PLX_LOG_ERR]);
}

static json_t *log_enable_timestamps(struct plx_rpc_call *call, const json_t *params)
{
	log_set_timestamps(json_is_true(json_object_get(params, "enabled")));
	return json_true();
}

#define LEVELS "ERROR|WARNING|NOTICE|INFO|DEBUG"

static const struct plx_rpc_param get_methods_params[] = {
	{ "current", PLX_RPC_BOOL, .dflt = "false",
	  .help = "only those that may be called in the present state" },
	{ "include_aliases", PLX_RPC_BOOL, .dflt = "true",
	  .help = "older names too; no method has one" },
	{ 0 },
};

static const struct plx_rpc_param flag_params[] = {
	{ "flag", PLX_RPC_STRING, true, .help = "a component that log_get_flags names, or all" },
	{ 0 },
};

static const struct plx_rpc_param level_params[] = {
	{ "level", PLX_RPC_ENUM, true, .words = LEVELS,
	  .help = "the least important messages that are still printed" },
	{ 0 },
};

static const struct plx_rpc_param timestamps_params[] = {
	{ "enabled", PLX_RPC_BOOL, true, .help = "whether each line begins with the time" },
	{ 0 },
};

static struct plx_rpc_method methods[] = {
	{ "rpc_get_methods", "Lists the names of all methods.", rpc_get_methods, PLX_RPC_ANY_TIME,
	  get_methods_params, "rpc" },
	{ "log_get_flags", "Lists the components, and whether their debug messages are printed.",
	  log_get_flags, PLX_RPC_ANY_TIME, NULL, "log" },
	{ "log_set_flag", "Prints a component's debug messages.", log_set_flag, PLX_RPC_ANY_TIME,
	  flag_params, "log" },
	{ "log_clear_flag", "Prints a component's messages as far as the level lets them through.",
	  log_clear_flag, PLX_RPC_ANY_TIME, flag_params, "log" },
	{ "log_set_level",
	  "Sets the level of all components without a flag. There is one log, on standard error: "
	  "this and log_set_print_level are the same.",
	  log_set_level, PLX_RPC_ANY_TIME, level_params, "log" },
	{ "log_get_level", "Tells the level.", log_get_level, PLX_RPC_ANY_TIME, NULL, "log" },
	{ "log_set_print_level", "Sets the level, as log_set_level does.", log_set_level,
	  PLX_RPC_ANY_TIME, level_params, "log" },
	{ "log_get_print_level", "Tells the level, as log_get_level does.", log_get_level,
	  PLX_RPC_ANY_TIME, NULL, "log" },
	{ "log_enable_timestamps", "Begins each line of the log with the local time, or no longer.",
	  log_enable_timestamps, PLX_RPC_ANY_TIME, timestamps_params, "log" },
};
PLX_RPC_TABLE(methods)
