/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc.c - registered methods, and the execution of requests and batches
 */
#include "core/rpc_internal.h"
#include <errno.h>
#include <pollux/env.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
	struct plx_rpc_method *methods; /* by name */
	enum plx_rpc_states state;
} rpc = { .state = PLX_RPC_STARTUP };

void plx_rpc_register(struct plx_rpc_method *methods, size_t n)
{
	for (struct plx_rpc_method *m = methods; m < methods + n; m++) {
		struct plx_rpc_method **at = &rpc.methods;
		int order = 1;

		while (*at && (order = strcmp((*at)->name, m->name)) < 0)
			at = &(*at)->next;
		if (*at && !order) {
			fprintf(stderr, "pollux: two methods are called %s\n", m->name);
			abort();
		}
		m->next = *at;
		*at = m;
	}
}

const struct plx_rpc_method *plx_rpc_first(void)
{
	return rpc.methods;
}

const struct plx_rpc_method *plx_rpc_find(const char *name)
{
	const struct plx_rpc_method *m = rpc.methods;

	while (m && strcmp(m->name, name))
		m = m->next;
	return m;
}

void plx_rpc_set_state(enum plx_rpc_states state)
{
	rpc.state = state;
}

enum plx_rpc_states plx_rpc_state(void)
{
	return rpc.state;
}

/* Whether the request under way may be carried out again, and whether that is asked for. */
static struct {
	const struct rpc_later *later; /* NULL: it may not */
	bool waits;
} patience;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

bool plx_rpc_wait(struct plx_rpc_call *call, int64_t timeout_ms)
{
	if (!patience.later)
		return false;
	if (timeout_ms >= 0 && now_ms() - patience.later->since_ms >= (uint64_t)timeout_ms)
		return false;
	patience.waits = true;
	return true;
}

json_t *plx_rpc_fail(struct plx_rpc_call *call, int code, const char *fmt, ...)
{
	int n = snprintf(call->message, sizeof(call->message), "%s: ", call->method->name);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(call->message + n, sizeof(call->message) - (size_t)n, fmt, ap);
	va_end(ap);
	call->code = code ? code : PLX_RPC_INTERNAL_ERROR;
	return NULL;
}

/* what a method said may quote bytes that are no UTF-8, or be cut within a character */
static json_t *message_string(const char *message)
{
	json_t *s = json_string(message);
	char plain[sizeof(((struct plx_rpc_call *)0)->message)];
	size_t n = 0;

	if (s)
		return s;
	for (; message[n] && n < sizeof(plain) - 1; n++)
		plain[n] = message[n] & 0x80 ? '?' : message[n];
	return json_stringn(plain, n);
}

json_t *rpc_error(const json_t *id, int code, const char *message)
{
	return json_pack("{s:s, s:O, s:{s:i, s:o}}", "jsonrpc", "2.0", "id",
			 id ? (json_t *)id : json_null(), "error", "code", code, "message",
			 message_string(message));
}

static bool check_state(struct plx_rpc_call *call)
{
	if (call->method->states & rpc.state)
		return true;
	if (rpc.state == PLX_RPC_STARTUP)
		plx_rpc_fail(call, PLX_RPC_INVALID_STATE,
			     "it may be called once the program runs: call framework_start_init "
			     "first");
	else
		plx_rpc_fail(call, PLX_RPC_INVALID_STATE,
			     "it may be called only before the program runs: start it with "
			     "--wait-for-rpc, and call this before framework_start_init");
	return false;
}

/* Return: the result, a new reference, never NULL; or NULL with the call's error */
static json_t *carry_out(struct plx_rpc_call *call, const json_t *params)
{
	json_t *result, *checked;

	if (!check_state(call))
		return NULL;
	checked = rpc_params(call, params);
	if (!checked)
		return NULL;
	result = call->method->fn(call, checked);
	json_decref(checked);
	if (!result && !call->code && !patience.waits)
		plx_rpc_fail(call, PLX_RPC_INTERNAL_ERROR,
			     "it failed without saying why: look at the program's log");
	if (call->code) {
		json_decref(result);
		return NULL;
	}
	return result;
}

int plx_rpc_invoke(const char *method, const json_t *params, json_t **result, char *err,
		   size_t errlen)
{
	struct plx_rpc_call call = { .method = plx_rpc_find(method) };
	const struct rpc_later *outer = patience.later;
	json_t *r;

	if (!call.method) {
		snprintf(err, errlen, "%.64s: there is no such method: rpc_get_methods lists them",
			 method);
		return PLX_RPC_METHOD_NOT_FOUND;
	}
	patience.later = NULL;
	r = carry_out(&call, params);
	patience.later = outer;
	if (!r) {
		snprintf(err, errlen, "%s", call.message);
		return call.code;
	}
	if (result)
		*result = r;
	else
		json_decref(r);
	return 0;
}

/* JSON-RPC 2.0 §4; Return: what is wrong with the shape of a request, or NULL */
static const char *misshaped(const json_t *request, char *buf, size_t len)
{
	const json_t *version = json_object_get(request, "jsonrpc");
	const json_t *method = json_object_get(request, "method");
	const json_t *id = json_object_get(request, "id");
	json_t *value;
	const char *key;

	if (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return "\"id\" is to be a string, a number or null";
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0"))
		return "\"jsonrpc\" is to be \"2.0\"";
	if (!json_is_string(method))
		return method ? "\"method\" is to be a string" : "\"method\" is missing";
	json_object_foreach((json_t *)request, key, value)
	{
		if (strcmp(key, "jsonrpc") && strcmp(key, "method") && strcmp(key, "id") &&
		    strcmp(key, "params")) {
			snprintf(buf, len,
				 "\"%.64s\" is unknown here: a request has \"jsonrpc\", "
				 "\"method\", \"params\" and \"id\"",
				 key);
			return buf;
		}
	}
	return NULL;
}

static json_t *invalid_request(const json_t *id, const char *why)
{
	char message[256];

	snprintf(message, sizeof(message), "Invalid request: %s", why);
	return rpc_error(id, PLX_RPC_INVALID_REQUEST, message);
}

static json_t *execute_one(const json_t *request)
{
	struct plx_rpc_call call = { 0 };
	const json_t *id, *method;
	json_t *result = NULL;
	const char *why;
	char buf[160];

	if (!json_is_object(request))
		return invalid_request(NULL, "it is no object");
	id = json_object_get(request, "id");
	why = misshaped(request, buf, sizeof(buf));
	if (why)
		return invalid_request(json_is_string(id) || json_is_number(id) ? id : NULL, why);
	method = json_object_get(request, "method");
	/* a NUL in the name is no end of it */
	if (strlen(json_string_value(method)) == json_string_length(method))
		call.method = plx_rpc_find(json_string_value(method));
	if (call.method) {
		result = carry_out(&call, json_object_get(request, "params"));
	} else {
		call.code = PLX_RPC_METHOD_NOT_FOUND;
		snprintf(call.message, sizeof(call.message),
			 "Method not found: '%.64s': rpc_get_methods lists what there is",
			 json_string_value(method));
	}
	if (!id || patience.waits) { /* a notification (§4.1), or to be carried out again */
		json_decref(result);
		return NULL;
	}
	if (!result)
		return rpc_error(id, call.code, call.message);
	return json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", (json_t *)id, "result", result);
}

json_t *plx_rpc_execute(const json_t *request)
{
	json_t *responses, *one, *element;
	size_t i;

	if (!json_is_array(request))
		return execute_one(request);
	/* §6 */
	if (!json_array_size(request))
		return invalid_request(NULL, "the batch is empty");
	if (json_array_size(request) > RPC_BATCH_MAX)
		return invalid_request(NULL, "the batch has more than 1024 requests: split it");
	patience.later = NULL;
	responses = json_array();
	json_array_foreach(request, i, element)
	{
		one = execute_one(element);
		if (one)
			json_array_append_new(responses, one);
	}
	if (json_array_size(responses))
		return responses;
	json_decref(responses);
	return NULL;
}

/* Of a text that was refused for a member that is there twice or a number that is too big, what the
 * asker calls it: NULL when that cannot be had. Return: a new reference */
static json_t *salvage_id(const char *text, size_t len)
{
	json_t *request = json_loadb(text, len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
	json_t *id = json_incref(json_object_get(request, "id"));

	json_decref(request);
	if (json_is_real(id)) {
		double d = json_real_value(id);
		/* it came as an integer or as 1.0: what a client sends is the former */
		bool whole = d >= -0x1p53 && d <= 0x1p53 && d == (double)(int64_t)d;

		json_decref(id);
		return whole ? json_integer((int64_t)d) : NULL;
	}
	if (json_is_string(id))
		return id;
	json_decref(id);
	return NULL;
}

json_t *rpc_answer_later(struct rpc_later *later)
{
	json_t *response;

	patience.later = later;
	patience.waits = false;
	response = plx_rpc_execute(later->request);
	patience.later = NULL;
	if (!patience.waits) {
		json_decref(later->request);
		later->request = NULL;
	}
	patience.waits = false;
	return response;
}

json_t *rpc_answer_or_wait(const char *text, size_t len, struct rpc_later *later)
{
	json_error_t e;
	json_t *request, *response, *id = NULL;
	char message[256];
	int code = PLX_RPC_PARSE_ERROR;

	request = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
			     &e);
	if (request && !later) {
		response = plx_rpc_execute(request);
		json_decref(request);
		return response;
	}
	if (request) {
		*later = (struct rpc_later){ .request = request, .since_ms = now_ms() };
		return rpc_answer_later(later);
	}
	if (json_error_code(&e) == json_error_duplicate_key ||
	    json_error_code(&e) == json_error_numeric_overflow) {
		id = salvage_id(text, len);
		if (id)
			code = PLX_RPC_INVALID_REQUEST;
	}
	snprintf(message, sizeof(message), "%s: %s, at byte %d",
		 id ? "Invalid request" : "Parse error: this is no JSON", e.text, e.position);
	response = rpc_error(id, code, message);
	json_decref(id);
	return response;
}

json_t *rpc_answer(const char *text, size_t len)
{
	return rpc_answer_or_wait(text, len, NULL);
}
