/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/rpc_table.h - methods for tests of JSON-RPC: every type of parameter, every way to end
 */
#ifndef RPC_TABLE_H
#define RPC_TABLE_H

#include "core/rpc_internal.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int test_calls; /* of any of these */

static json_t *test_echo(struct plx_rpc_call *call, const json_t *params)
{
	test_calls++;
	return json_deep_copy(params);
}

static json_t *test_fail(struct plx_rpc_call *call, const json_t *params)
{
	test_calls++;
	return plx_rpc_fail(call, -ENODEV, "there is no '%s'",
			    json_string_value(json_object_get(params, "name")));
}

static json_t *test_silent(struct plx_rpc_call *call, const json_t *params)
{
	return NULL;
}

/* an answer of as many bytes as is asked for */
static json_t *test_long(struct plx_rpc_call *call, const json_t *params)
{
	size_t n = (size_t)json_integer_value(json_object_get(params, "bytes"));
	char *text = malloc(n);
	json_t *s;

	test_calls++;
	memset(text, 'x', n);
	s = json_stringn(text, n);
	free(text);
	return s;
}

static const struct plx_rpc_param test_address_fields[] = {
	{ "trtype", PLX_RPC_ENUM, true, .words = "VFIOUSER|TCP", .help = "transport" },
	{ "traddr", PLX_RPC_STRING, true, .help = "address" },
	{ "trsvcid", PLX_RPC_STRING, .dflt = "\"4420\"", .help = "port" },
	{ 0 },
};

static const struct plx_rpc_param test_host_fields[] = {
	{ "nqn", PLX_RPC_STRING, true, .help = "name" },
	{ "address", PLX_RPC_OBJECT, .fields = test_address_fields, .help = "where" },
	{ 0 },
};

static const struct plx_rpc_param test_all_params[] = {
	{ "flag", PLX_RPC_BOOL, .help = "yes or no" },
	{ "count", PLX_RPC_INT, .help = "how many" },
	{ "level", PLX_RPC_INT, .min = -5, .max = 5, .dflt = "-1", .help = "how much" },
	{ "size", PLX_RPC_INT, .min = 1, .max = INT64_MAX, .help = "bytes" },
	{ "ratio", PLX_RPC_REAL, .help = "share" },
	{ "name", PLX_RPC_STRING, .help = "name" },
	{ "kind", PLX_RPC_ENUM, .words = "malloc|null|aio", .help = "kind" },
	{ "listen_address", PLX_RPC_OBJECT, .fields = test_address_fields, .help = "address" },
	{ "anything", PLX_RPC_OBJECT, .help = "any object" },
	{ "hosts", PLX_RPC_ARRAY, .fields = test_host_fields, .help = "hosts" },
	{ "list", PLX_RPC_ARRAY, .help = "array of anything" },
	{ "names", PLX_RPC_STRINGS, .dflt = "[\"a\", \"b\"]", .help = "names" },
	{ 0 },
};

static const struct plx_rpc_param test_name_params[] = {
	{ "name", PLX_RPC_STRING, true, .help = "its name" },
	{ 0 },
};

static const struct plx_rpc_param test_long_params[] = {
	{ "bytes", PLX_RPC_INT, true, .max = 64 << 20, .help = "length" },
	{ 0 },
};

static struct plx_rpc_method test_methods[] = {
	{ "test_all", "Echoes.", test_echo, PLX_RPC_ANY_TIME, test_all_params, "test" },
	{ "test_none", "Echoes nothing.", test_echo, PLX_RPC_ANY_TIME, NULL, "test" },
	{ "test_name", "Echoes a name.", test_echo, PLX_RPC_ANY_TIME, test_name_params, "test" },
	{ "test_fail", "Fails.", test_fail, PLX_RPC_ANY_TIME, test_name_params, "test" },
	{ "test_silent", "Fails without a word.", test_silent, PLX_RPC_ANY_TIME, NULL, "test" },
	{ "test_long", "Answers at length.", test_long, PLX_RPC_ANY_TIME, test_long_params,
	  "test" },
	{ "test_startup", "At startup.", test_echo, PLX_RPC_STARTUP, test_name_params, "test" },
	{ "test_runtime", "At run time.", test_echo, PLX_RPC_RUNTIME, test_name_params, "test" },
};
PLX_RPC_TABLE(test_methods)

#endif
