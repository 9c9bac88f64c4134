/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_util.h - for the methods of JSON-RPC: parameters that the table has checked, and errors
 * that say what the log says
 */
#ifndef POLLUX_CORE_RPC_UTIL_H
#define POLLUX_CORE_RPC_UTIL_H

#include "core/rpc.h"
#include <errno.h>
#include <pollux/env.h>
#include <string.h>

/** rpc_has - it was given */
static inline bool rpc_has(const json_t *params, const char *name)
{
	return json_object_get(params, name);
}
/** rpc_str - NULL when it was not given */
static inline const char *rpc_str(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}
/** rpc_int - 0 when it was not given */
static inline uint64_t rpc_int(const json_t *params, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(params, name));
}
static inline bool rpc_bool(const json_t *params, const char *name)
{
	return json_is_true(json_object_get(params, name));
}
static inline json_t *rpc_u64(uint64_t v)
{
	return json_integer((json_int_t)v);
}

/** rpc_begin - before a call whose failure rpc_failed() is to explain */
static inline void rpc_begin(void)
{
	plx_log_forget_error();
}
/** rpc_failed - the error of a call that returned @rc: in the words of the log, where it said some.
 *  Return: NULL */
static inline json_t *rpc_failed(struct plx_rpc_call *call, int rc, const char *what)
{
	const char *why = plx_log_last_error();

	return *why ? plx_rpc_fail(call, rc == -EINVAL ? PLX_RPC_INVALID_PARAMS : rc, "%s", why)
		    : plx_rpc_fail(call, rc, "%s: %s", what, strerror(-rc));
}

#endif
