/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_rpc.c - JSON-RPC: requests, batches, parameters, errors, the core's own
 * methods */
#include "rpc_table.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pollux/env.h>
#include <unistd.h>

#define CALL(method, params)                                                                       \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\",\"params\":" params "}"

/* the answer to @text as text, "" for none; in one of a few buffers */
static const char *answer(const char *text)
{
	static char *kept[8];
	static unsigned turn;
	json_t *response = rpc_answer(text, strlen(text));
	char **at = &kept[turn++ % 8];

	free(*at);
	*at = response ? json_dumps(response, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("");
	json_decref(response);
	return *at;
}

static void answers(const char *text, const char *wanted)
{
	cr_assert_str_eq(answer(text), wanted, "%s\n gave %s\n not  %s", text, answer(text),
			 wanted);
}

/* an error with @code whose message has @says in it, for the id 1 */
static void refuses(const char *text, int code, const char *says)
{
	json_t *response = json_loads(answer(text), 0, NULL);
	json_t *error = json_object_get(response, "error");
	const char *message = json_string_value(json_object_get(error, "message"));

	cr_assert(error && message, "%s gave %s", text, answer(text));
	cr_assert(eq(int, (int)json_integer_value(json_object_get(error, "code")), code), "%s: %s",
		  text, message);
	cr_assert(strstr(message, says) != NULL, "%s: '%s' lacks '%s'", text, message, says);
	json_decref(response);
}

/* ---- requests: JSON-RPC 2.0 §4, §5 ---- */

Test(rpc, ids_come_back_as_they_were)
{
	static const char *const ids[] = { "1",	  "0",	  "-7",	     "9007199254740993",
					   "1.5", "\"\"", "\"a b\"", "\"\\u00e4\"",
					   "null" };
	char text[200], id[64];
	json_t *sent, *response;

	for (size_t i = 0; i < PLX_ARRAY_SIZE(ids); i++) {
		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"test_none\",\"id\":%s}", ids[i]);
		snprintf(id, sizeof(id), "%s", ids[i]);
		sent = json_loads(id, JSON_DECODE_ANY, NULL);
		response = json_loads(answer(text), 0, NULL);
		cr_assert(json_equal(json_object_get(response, "id"), sent), "%s", answer(text));
		cr_assert_not_null(json_object_get(response, "result"));
		cr_assert_null(json_object_get(response, "error"));
		json_decref(sent);
		json_decref(response);
	}
	answers("{\"jsonrpc\":\"2.0\",\"method\":\"test_none\",\"id\":\"x\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}}");
}

Test(rpc, an_id_of_another_type_is_an_invalid_request)
{
	static const char *const ids[] = { "true", "[]", "{}" };
	char text[200];

	for (size_t i = 0; i < PLX_ARRAY_SIZE(ids); i++) {
		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"test_none\",\"id\":%s}", ids[i]);
		refuses(text, -32600, "\"id\"");
		cr_assert_not_null(strstr(answer(text), "\"id\":null"));
	}
	cr_assert(eq(int, test_calls, 0));
}

Test(rpc, notifications_are_carried_out_without_a_word)
{
	answers("{\"jsonrpc\":\"2.0\",\"method\":\"test_none\"}", "");
	/* the second answers() asks again for its message */
	cr_assert(test_calls > 0);
	answers("{\"jsonrpc\":\"2.0\",\"method\":\"nonsense\"}", "");
	answers("{\"jsonrpc\":\"2.0\",\"method\":\"test_name\",\"params\":{\"name\":1}}", "");
}

Test(rpc, the_version_has_to_be_there)
{
	refuses("{\"id\":1,\"method\":\"test_none\"}", -32600, "\"jsonrpc\"");
	refuses("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"test_none\"}", -32600, "\"jsonrpc\"");
	refuses("{\"jsonrpc\":2.0,\"id\":1,\"method\":\"test_none\"}", -32600, "\"jsonrpc\"");
	cr_assert_not_null(strstr(answer("{\"id\":1,\"method\":\"test_none\"}"), "\"id\":1"));
	cr_assert(eq(int, test_calls, 0));
}

Test(rpc, requests_without_their_shape_are_refused)
{
	refuses("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600, "\"method\" is missing");
	refuses("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600, "\"method\"");
	refuses("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_none\",\"parmas\":{}}", -32600,
		"\"parmas\"");
	refuses("{}", -32600, "");
	refuses("1", -32600, "no object");
	refuses("\"test_none\"", -32600, "no object");
	cr_assert(eq(int, test_calls, 0));
}

Test(rpc, an_unknown_method_is_named)
{
	refuses(CALL("bdev_sing", "{}"), -32601, "'bdev_sing'");
	refuses("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_none\\u0000\"}", -32601,
		"test_none");
}

Test(rpc, what_is_no_json_is_a_parse_error)
{
	static const char *const bad[] = { "{",	  "[1,]",    "{\"a\"}",	   "{a:1}",
					   "tru", "01",	     "",	   "{\"a\":1}}",
					   "nul", "[1e999]", "[\"\xff\"]", "[\"\\ud800\"]" };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		refuses(bad[i], -32700, "Parse error");
		cr_assert_not_null(strstr(answer(bad[i]), "\"id\":null"));
	}
}

Test(rpc, duplicates_and_huge_integers_are_refused_under_their_id)
{
	const char *twice = CALL("test_name", "{\"name\":\"a\",\"name\":\"b\"}");
	const char *huge = CALL("test_all", "{\"count\":123456789012345678901234567890}");

	refuses(twice, -32600, "name");
	refuses(huge, -32600, "too big");
	cr_assert_not_null(strstr(answer(twice), "\"id\":1,"));
	cr_assert_not_null(strstr(answer(huge), "\"id\":1,"));
	refuses("{\"jsonrpc\":\"2.0\",\"id\":99999999999999999999,\"method\":\"test_none\"}",
		-32700, "too big");
	cr_assert(eq(int, test_calls, 0));
}

/* ---- batches: §6 ---- */

Test(rpc, a_batch_is_answered_by_an_array)
{
	answers("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_none\"},"
		"{\"jsonrpc\":\"2.0\",\"method\":\"test_none\"},"
		"{\"jsonrpc\":\"2.0\",\"id\":\"b\",\"method\":\"test_name\",\"params\":{\"name\":"
		"\"n\"}}]",
		"[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}},"
		"{\"jsonrpc\":\"2.0\",\"id\":\"b\",\"result\":{\"name\":\"n\"}}]");
}

Test(rpc, batches_with_nothing_to_answer_are_not_answered)
{
	answers("[{\"jsonrpc\":\"2.0\",\"method\":\"test_none\"},{\"jsonrpc\":\"2.0\",\"method\":"
		"\"no\"}]",
		"");
}

Test(rpc, wrong_elements_of_a_batch_do_not_stop_the_others)
{
	json_t *a =
		json_loads(answer("[1,[],{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"test_none\"}]"),
			   0, NULL);

	cr_assert(eq(sz, json_array_size(a), 3));
	for (size_t i = 0; i < 2; i++) {
		json_t *e = json_object_get(json_array_get(a, i), "error");

		cr_assert(eq(int, (int)json_integer_value(json_object_get(e, "code")), -32600));
	}
	cr_assert_not_null(json_object_get(json_array_get(a, 2), "result"));
	json_decref(a);
}

Test(rpc, empty_and_excessive_batches_are_refused)
{
	json_t *many = json_array(), *response;

	refuses("[]", -32600, "empty");
	for (unsigned i = 0; i <= RPC_BATCH_MAX; i++)
		json_array_append_new(many, json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id",
						      (int)i, "method", "test_none"));
	response = plx_rpc_execute(many);
	cr_assert_not_null(json_object_get(response, "error"));
	cr_assert(eq(int, test_calls, 0));
	json_decref(response);
	json_array_remove(many, 0);
	response = plx_rpc_execute(many);
	cr_assert(eq(sz, json_array_size(response), RPC_BATCH_MAX));
	json_decref(response);
	json_decref(many);
}

/* ---- parameters ---- */

/* test_all with @params comes back as @wanted, which has no defaults in it */
static void accepts(const char *params, const char *wanted)
{
	char text[1024];
	json_t *response, *want = json_loads(wanted, 0, NULL);

	snprintf(text, sizeof(text), CALL("test_all", "%s"), params);
	response = json_loads(answer(text), 0, NULL);
	json_object_update_missing(want,
				   json_object_get(json_object_get(response, "result"), "none"));
	if (!json_object_get(want, "level"))
		json_object_set_new(want, "level", json_integer(-1));
	if (!json_object_get(want, "names"))
		json_object_set_new(want, "names", json_pack("[s, s]", "a", "b"));
	cr_assert(json_equal(json_object_get(response, "result"), want), "%s gave %s", params,
		  answer(text));
	json_decref(response);
	json_decref(want);
}

static const char *all(const char *params)
{
	char text[1024];

	snprintf(text, sizeof(text), CALL("test_all", "%s"), params);
	return answer(text);
}

static void rejects(const char *params, const char *says)
{
	char text[1024];
	int before = test_calls;

	snprintf(text, sizeof(text), CALL("test_all", "%s"), params);
	refuses(text, -32602, says);
	refuses(text, -32602, "test_all: ");
	cr_assert(eq(int, test_calls, before));
}

Test(rpc, values_of_every_type_arrive)
{
	accepts("{}", "{}");
	accepts("null", "{}");
	accepts("{\"flag\":false}", "{\"flag\":false}");
	accepts("{\"count\":9223372036854775807}", "{\"count\":9223372036854775807}");
	accepts("{\"level\":-5}", "{\"level\":-5}");
	accepts("{\"ratio\":2}", "{\"ratio\":2.0}");
	accepts("{\"ratio\":-0.25}", "{\"ratio\":-0.25}");
	accepts("{\"name\":\"\\u00fc\"}", "{\"name\":\"\\u00fc\"}");
	accepts("{\"kind\":\"null\"}", "{\"kind\":\"null\"}");
	accepts("{\"kind\":\"MALLOC\"}", "{\"kind\":\"malloc\"}");
	accepts("{\"anything\":{\"x\":[1]}}", "{\"anything\":{\"x\":[1]}}");
	accepts("{\"list\":[1,\"x\",null]}", "{\"list\":[1,\"x\",null]}");
	accepts("{\"names\":[]}", "{\"names\":[]}");
	accepts("{\"listen_address\":{\"trtype\":\"tcp\",\"traddr\":\"h\"}}",
		"{\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":\"h\",\"trsvcid\":\"4420\"}}");
	accepts("{\"hosts\":[{\"nqn\":\"n\"}]}", "{\"hosts\":[{\"nqn\":\"n\"}]}");
}

Test(rpc, a_call_without_params_has_none)
{
	answers("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_none\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	answers(CALL("test_none", "null"), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	answers(CALL("test_none", "{}"), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	refuses(CALL("test_none", "{\"a\":1}"), -32602, "test_none: a: ");
}

Test(rpc, whole_numbers_may_be_written_as_reals)
{
	accepts("{\"count\":1e3}", "{\"count\":1000}");
	accepts("{\"count\":1.0}", "{\"count\":1}");
	accepts("{\"level\":-1.0}", "{\"level\":-1}");
	rejects("{\"count\":1.5}", "count: 1.5 is no whole number");
	rejects("{\"count\":1e19}", "out of range");
	rejects("{\"count\":-1e300}", "out of range");
	rejects("{\"count\":9223372036854775808.0}", "out of range");
}

Test(rpc, numbers_out_of_range_are_named_with_the_range)
{
	rejects("{\"count\":-1}", "count: -1 is out of range: 0 or more");
	rejects("{\"level\":6}", "level: 6 is out of range: -5 to 5");
	rejects("{\"level\":-6}", "level: -6 is out of range: -5 to 5");
	rejects("{\"size\":0}", "size: 0 is out of range: 1 or more");
}

Test(rpc, wrong_types_are_named)
{
	static const char *const values[] = { "true", "7",	   "0.5", "\"text\"",
					      "[1]",  "{\"a\":1}", "null" };
	/* which of those values each parameter takes */
	static const struct {
		const char *name, *takes;
	} params[] = {
		{ "flag", "1000000" },	{ "count", "0100000" },	   { "ratio", "0110000" },
		{ "name", "0001000" },	{ "kind", "0000000" },	   { "listen_address", "0000000" },
		{ "list", "0000100" },	{ "anything", "0000010" }, { "hosts", "0000000" },
		{ "names", "0000000" },
	};
	char text[200], says[64];

	for (size_t p = 0; p < PLX_ARRAY_SIZE(params); p++) {
		for (size_t v = 0; v < PLX_ARRAY_SIZE(values); v++) {
			snprintf(text, sizeof(text), "{\"%s\":%s}", params[p].name, values[v]);
			snprintf(says, sizeof(says), "%s", params[p].name);
			if (params[p].takes[v] == '0')
				rejects(text, says);
			else
				cr_assert_not_null(strstr(all(text), "\"result\""), "%s", text);
		}
	}
}

Test(rpc, nested_values_are_named_by_their_path)
{
	rejects("{\"listen_address\":{\"trtype\":\"FLOPPY\",\"traddr\":\"a\"}}",
		"listen_address.trtype: \"FLOPPY\" is not known here: use VFIOUSER or TCP");
	rejects("{\"listen_address\":{\"trtype\":\"TCP\"}}",
		"listen_address.traddr: it is missing");
	rejects("{\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":\"a\",\"port\":1}}",
		"listen_address.port: there is no such parameter: there are trtype, traddr, "
		"trsvcid");
	rejects("{\"hosts\":[{\"nqn\":\"a\"},{\"nqn\":1}]}", "hosts[1].nqn: 1 is no string");
	rejects("{\"hosts\":[{\"nqn\":\"a\",\"address\":{\"trtype\":\"TCP\",\"traddr\":{}}}]}",
		"hosts[0].address.traddr: {} is no string");
	rejects("{\"hosts\":[7]}", "hosts[0]: 7 is no object");
	rejects("{\"names\":[\"a\",2]}", "names[1]: 2 is no string");
}

Test(rpc, missing_and_unknown_parameters_are_named)
{
	refuses(CALL("test_name", "{}"), -32602, "test_name: name: it is missing");
	refuses("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_name\"}", -32602,
		"test_name: name: it is missing");
	refuses(CALL("test_name", "{\"name\":\"a\",\"nmae\":\"b\"}"), -32602,
		"test_name: nmae: there is no such parameter: there are name");
}

Test(rpc, parameters_by_position_are_refused)
{
	refuses(CALL("test_name", "[\"a\"]"), -32602, "by position");
	refuses(CALL("test_none", "[]"), -32602, "by position");
	refuses(CALL("test_none", "7"), -32602, "7");
	refuses(CALL("test_none", "\"x\""), -32602, "an object");
}

Test(rpc, strings_with_a_nul_byte_are_refused)
{
	rejects("{\"name\":\"a\\u0000b\"}", "name: \"a\\u0000b\" has a NUL byte");
	rejects("{\"names\":[\"\\u0000\"]}", "names[0]");
	rejects("{\"kind\":\"null\\u0000\"}", "kind");
}

Test(rpc, long_values_are_cut_in_messages)
{
	char text[8192], params[4200];
	const char *got;

	memset(params, 'x', sizeof(params));
	snprintf(text, sizeof(text), CALL("test_all", "{\"kind\":\"%.4000s\"}"), params);
	got = answer(text);
	cr_assert_not_null(strstr(got, "kind: "));
	cr_assert_not_null(strstr(got, "..."));
	cr_assert(strlen(got) < 400);
	snprintf(text, sizeof(text), CALL("test_all", "{\"%.4000s\":1}"), params);
	cr_assert(strlen(answer(text)) < 600);
	snprintf(text, sizeof(text), CALL("%.4000s", "{}"), params);
	cr_assert(strlen(answer(text)) < 400);
}

/* ---- errors of methods, states ---- */

Test(rpc, errors_of_methods_carry_their_name_and_code)
{
	refuses(CALL("test_fail", "{\"name\":\"disk\"}"), -ENODEV, "test_fail: there is no 'disk'");
	refuses(CALL("test_silent", "{}"), -32603, "test_silent: ");
}

Test(rpc, messages_that_are_no_utf8_are_sent_all_the_same)
{
	json_t *r = rpc_error(NULL, -1, "bad \xff byte");

	cr_assert_str_eq(json_string_value(json_object_get(json_object_get(r, "error"), "message")),
			 "bad ? byte");
	json_decref(r);
}

Test(rpc, methods_are_refused_outside_of_their_state)
{
	plx_rpc_set_state(PLX_RPC_STARTUP);
	refuses(CALL("test_runtime", "{\"name\":\"a\"}"), -1, "framework_start_init");
	cr_assert(eq(int, test_calls, 0));
	cr_assert_not_null(strstr(answer(CALL("test_startup", "{\"name\":\"a\"}")), "result"));
	plx_rpc_set_state(PLX_RPC_RUNTIME);
	cr_assert(eq(int, plx_rpc_state(), PLX_RPC_RUNTIME));
	refuses(CALL("test_startup", "{\"name\":\"a\"}"), -1, "--wait-for-rpc");
	cr_assert_not_null(strstr(answer(CALL("test_runtime", "{\"name\":\"a\"}")), "result"));
}

Test(rpc, invoke_gives_result_or_sentence)
{
	json_t *params = json_pack("{s:s}", "name", "x"), *result = NULL;
	char err[200] = "";

	cr_assert(eq(int, plx_rpc_invoke("test_name", params, &result, err, sizeof(err)), 0));
	cr_assert(json_equal(result, params));
	cr_assert(eq(int, plx_rpc_invoke("test_none", NULL, NULL, err, sizeof(err)), 0));
	cr_assert(eq(int, plx_rpc_invoke("test_fail", params, NULL, err, sizeof(err)), -ENODEV));
	cr_assert_str_eq(err, "test_fail: there is no 'x'");
	cr_assert(eq(int, plx_rpc_invoke("test_name", NULL, NULL, err, sizeof(err)), -32602));
	cr_assert_not_null(strstr(err, "name"));
	cr_assert(eq(int, plx_rpc_invoke("nonsense", NULL, NULL, err, sizeof(err)), -32601));
	cr_assert_not_null(strstr(err, "nonsense"));
	json_decref(params);
	json_decref(result);
}

/* ---- tables ---- */

static void check_table(const struct plx_rpc_param *p)
{
	for (; p && p->name; p++) {
		json_t *v = p->dflt ? json_loads(p->dflt, JSON_DECODE_ANY, NULL) : NULL;

		cr_assert(v || p->dflt == NULL, "%s: default %s", p->name, p->dflt);
		cr_assert(p->required == false || p->dflt == NULL,
			  "%s is required and has a default", p->name);
		cr_assert(p->help && *p->help, "%s has no help", p->name);
		cr_assert(p->type != PLX_RPC_ENUM || p->words, "%s has no words", p->name);
		json_decref(v);
		check_table(p->fields);
	}
}

Test(rpc, registered_methods_are_in_order_and_complete)
{
	const struct plx_rpc_method *last = NULL;

	for (const struct plx_rpc_method *m = plx_rpc_first(); m; m = m->next) {
		cr_assert(last == NULL || strcmp(last->name, m->name) < 0, "%s", m->name);
		cr_assert(m->help && m->group && m->fn && m->states, "%s", m->name);
		cr_assert(plx_rpc_find(m->name) == m);
		check_table(m->params);
		last = m;
	}
	cr_assert_null(plx_rpc_find("test_"));
	cr_assert_null(plx_rpc_find(""));
}

/* ---- requests that wait ---- */

static bool arrived;
static int attempts;

static json_t *wait_for_it(struct plx_rpc_call *call, const json_t *params)
{
	attempts++;
	if (!arrived && plx_rpc_wait(call, json_integer_value(json_object_get(params, "ms"))))
		return NULL;
	return json_boolean(arrived);
}

static const struct plx_rpc_param wait_params[] = {
	{ "ms", PLX_RPC_INT, true, .min = -1, .max = INT64_MAX, .help = "how long" },
	{ 0 },
};

static struct plx_rpc_method wait_methods[] = {
	{ "test_wait", "Waits for it.", wait_for_it, PLX_RPC_ANY_TIME, wait_params, "test" },
};
PLX_RPC_TABLE(wait_methods)

static bool is(const json_t *v, const json_t *wanted)
{
	return v == wanted;
}

static json_t *start(const char *text, struct rpc_later *later)
{
	return rpc_answer_or_wait(text, strlen(text), later);
}

Test(rpc, a_request_that_waits_is_carried_out_again)
{
	struct rpc_later later = { 0 };
	json_t *response;

	cr_assert_null(start(CALL("test_wait", "{\"ms\":-1}"), &later));
	cr_assert_not_null(later.request);
	cr_assert_null(rpc_answer_later(&later));
	/* others are answered in between */
	answers(CALL("test_wait", "{\"ms\":-1}"),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":false}");
	arrived = true;
	response = rpc_answer_later(&later);
	cr_assert_null(later.request);
	cr_assert(is(json_object_get(response, "result"), json_true()));
	json_decref(response);
	cr_assert(eq(int, attempts, 4));
}

Test(rpc, waiting_ends_with_its_time)
{
	struct rpc_later later = { 0 };
	json_t *response = start(CALL("test_wait", "{\"ms\":0}"), &later);

	cr_assert_null(later.request);
	cr_assert(is(json_object_get(response, "result"), json_false()));
	json_decref(response);
	cr_assert_null(start(CALL("test_wait", "{\"ms\":30}"), &later));
	while (!(response = rpc_answer_later(&later)))
		cr_assert_not_null(later.request);
	cr_assert(is(json_object_get(response, "result"), json_false()));
	json_decref(response);
	cr_assert_gt(attempts, 2);
}

Test(rpc, there_is_no_waiting_in_a_batch_or_from_within)
{
	struct rpc_later later = { 0 };
	json_t *response, *result = NULL, *params = json_pack("{s:i}", "ms", -1);
	char err[200];

	response = start("[" CALL("test_wait", "{\"ms\":-1}") "]", &later);
	cr_assert_null(later.request);
	cr_assert(eq(int, (int)json_array_size(response), 1));
	json_decref(response);
	cr_assert(eq(int, plx_rpc_invoke("test_wait", params, &result, err, sizeof(err)), 0));
	cr_assert(is(result, json_false()));
	json_decref(params);
}

/* ---- methods of the core ---- */

static bool lists(const char *params, const char *name)
{
	char text[200], quoted[64];

	snprintf(text, sizeof(text), CALL("rpc_get_methods", "%s"), params);
	snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	return strstr(answer(text), quoted) != NULL;
}

Test(rpc_methods, get_methods_lists_all_or_the_current_ones)
{
	plx_rpc_set_state(PLX_RPC_RUNTIME);
	cr_assert(lists("{}", "test_startup") && lists("{}", "test_runtime"));
	cr_assert(lists("{}", "rpc_get_methods"));
	cr_assert(lists("{\"current\":true}", "test_runtime"));
	cr_assert(lists("{\"current\":true}", "test_startup") == false);
	cr_assert(lists("{\"include_aliases\":false}", "test_all"));
}

Test(rpc_methods, log_levels_are_set_and_read)
{
	static const char *const levels[] = { "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG" };
	char text[200], wanted[200];

	for (size_t i = 0; i < PLX_ARRAY_SIZE(levels); i++) {
		snprintf(text, sizeof(text), CALL("%s", "{\"level\":\"%s\"}"),
			 i & 1 ? "log_set_print_level" : "log_set_level", levels[i]);
		answers(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}");
		snprintf(wanted, sizeof(wanted), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"%s\"}",
			 levels[i]);
		answers(CALL("log_get_level", "{}"), wanted);
		answers(CALL("log_get_print_level", "{}"), wanted);
	}
	refuses(CALL("log_set_level", "{\"level\":\"LOUD\"}"), -32602, "LOUD");
}

/* whether a debug line of "thread" reaches standard error */
static bool thread_debugs(void)
{
	FILE *f = tmpfile();
	int saved = dup(2);
	long size;

	fflush(stderr);
	dup2(fileno(f), 2);
	plx_log(PLX_LOG_DEBUG, "thread", "hello");
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	fclose(f);
	return size > 0;
}

Test(rpc_methods, log_flags_turn_debug_messages_on_and_off)
{
	cr_assert_not_null(strstr(answer(CALL("log_get_flags", "{}")), "\"thread\":false"));
	cr_assert(thread_debugs() == false);
	answers(CALL("log_set_flag", "{\"flag\":\"thread\"}"),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}");
	cr_assert_not_null(strstr(answer(CALL("log_get_flags", "{}")), "\"thread\":true"));
	cr_assert_not_null(strstr(answer(CALL("log_get_flags", "{}")), "\"mem\":false"));
	cr_assert(thread_debugs());
	/* the general level leaves a flag alone */
	answer(CALL("log_set_level", "{\"level\":\"ERROR\"}"));
	cr_assert(thread_debugs());
	answer(CALL("log_clear_flag", "{\"flag\":\"thread\"}"));
	cr_assert(thread_debugs() == false);
	answer(CALL("log_set_flag", "{\"flag\":\"all\"}"));
	cr_assert(thread_debugs());
	answer(CALL("log_clear_flag", "{\"flag\":\"all\"}"));
	cr_assert(thread_debugs() == false);
	refuses(CALL("log_set_flag", "{\"flag\":\"nosuch\"}"), -32602, "'nosuch'");
	refuses(CALL("log_clear_flag", "{\"flag\":\"nosuch\"}"), -32602, "'nosuch'");
}

Test(rpc_methods, log_timestamps_begin_lines)
{
	char line[200] = "";
	FILE *f = tmpfile();
	int saved = dup(2);

	answers(CALL("log_enable_timestamps", "{\"enabled\":true}"),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}");
	dup2(fileno(f), 2);
	plx_log(PLX_LOG_ERR, "thread", "stamped");
	answer(CALL("log_enable_timestamps", "{\"enabled\":false}"));
	plx_log(PLX_LOG_ERR, "thread", "bare");
	dup2(saved, 2);
	rewind(f);
	cr_assert(fgets(line, sizeof(line), f) && line[0] == '[' &&
		  strstr(line, "] pollux: thread"));
	cr_assert(fgets(line, sizeof(line), f) && !strncmp(line, "pollux: thread", 14));
	fclose(f);
}
