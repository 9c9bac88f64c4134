/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_rpc.c - what JSON-RPC clients send: the scanner, the parser, parameters, methods
 *
 * Whatever comes, in whatever pieces: each value is answered by what a JSON-RPC response has to be,
 * and the pieces make no difference.
 */
#include "../unit/rpc_table.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_one(const json_t *response)
{
	const json_t *id = json_object_get(response, "id");
	const json_t *error = json_object_get(response, "error");

	check(json_is_object(response) && json_object_size(response) == 3);
	check(!strcmp(json_string_value(json_object_get(response, "jsonrpc")), "2.0"));
	check(json_is_string(id) || json_is_number(id) || json_is_null(id));
	check(!error != !json_object_get(response, "result"));
	if (error) {
		check(json_integer_value(json_object_get(error, "code")) < 0);
		check(json_string_length(json_object_get(error, "message")) > 0);
	}
}

static void check_response(json_t *response)
{
	json_t *one;
	size_t i;

	if (json_is_array(response)) {
		check(json_array_size(response) > 0);
		json_array_foreach(response, i, one) check_one(one);
	} else if (response) {
		check_one(response);
	}
	json_decref(response);
}

/* Return: a sum of what was found where, for comparing */
static uint64_t run(const uint8_t *data, size_t size, size_t piece, bool answer)
{
	struct rpc_stream s = { 0 };
	enum rpc_stream_found found = RPC_STREAM_MORE;
	uint64_t sum = 0;
	const char *text;
	size_t len;

	for (size_t i = 0; found != RPC_STREAM_BROKEN;) {
		size_t room, n = size - i < piece ? size - i : piece;

		if (n) {
			char *at = rpc_stream_room(&s, &room);

			check(at && room);
			n = n < room ? n : room;
			memcpy(at, data + i, n);
			rpc_stream_added(&s, n);
			i += n;
		}
		while ((found = rpc_stream_next(&s, i == size, &text, &len)) == RPC_STREAM_VALUE ||
		       found == RPC_STREAM_REFUSED) {
			check(len > 0);
			sum = sum * 31 + len;
			for (size_t k = 0; k < len; k++)
				sum = sum * 31 + (uint8_t)text[k];
			if (answer && found == RPC_STREAM_VALUE)
				check_response(rpc_answer(text, len));
		}
		if (i == size)
			break;
	}
	sum = sum * 31 + found;
	rpc_stream_free(&s);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole;

	if (!size)
		return 0;
	plx_rpc_set_state(data[0] & 1 ? PLX_RPC_RUNTIME : PLX_RPC_STARTUP);
	whole = run(data + 1, size - 1, size, true);
	check(run(data + 1, size - 1, 1 + data[0] / 2 % 7, false) == whole);
	/* and without a scanner before it */
	check_response(rpc_answer((const char *)data + 1, size - 1));
	return 0;
}
