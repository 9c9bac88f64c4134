/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_rpc_stream.c - where JSON values end in a stream of pieces */
#include "core/rpc_internal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void feed(struct rpc_stream *s, const char *data, size_t len)
{
	while (len) {
		size_t room, n;
		char *at = rpc_stream_room(s, &room);

		cr_assert_not_null(at);
		n = room < len ? room : len;
		memcpy(at, data, n);
		rpc_stream_added(s, n);
		data += n;
		len -= n;
	}
}

/* what is found in @text in pieces of @piece bytes: values in <>, refused ones (), "!" for
 * broken */
static void found(char *out, const char *text, size_t len, size_t piece)
{
	struct rpc_stream s = { 0 };
	enum rpc_stream_found f = RPC_STREAM_MORE;
	const char *at;
	size_t n;

	*out = '\0';
	for (size_t i = 0; i <= len && f != RPC_STREAM_BROKEN; i += piece) {
		size_t part = len - i < piece ? len - i : piece;
		bool eof = i + part == len;

		feed(&s, text + i, part);
		while ((f = rpc_stream_next(&s, eof, &at, &n)) == RPC_STREAM_VALUE)
			out += sprintf(out, "<%.*s>", (int)n, at);
		if (f == RPC_STREAM_BROKEN)
			strcat(out, "!");
		if (eof)
			break;
	}
	rpc_stream_free(&s);
}

static void finds(const char *text, const char *wanted)
{
	char out[512];

	for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
		found(out, text, strlen(text), piece);
		cr_assert_str_eq(out, wanted, "%s in pieces of %zu: %s", text, piece, out);
	}
}

Test(rpc_stream, values_are_found_however_they_come)
{
	finds("", "");
	finds(" \t\r\n ", "");
	finds("{}", "<{}>");
	finds("{}{}[]", "<{}><{}><[]>");
	finds(" {\"a\":[1,{\"b\":2}]}\n\n[{}]", "<{\"a\":[1,{\"b\":2}]}><[{}]>");
	finds("{\"}\":\"]{\"}{}", "<{\"}\":\"]{\"}><{}>");
	finds("{\"\\\"}\":1}{}", "<{\"\\\"}\":1}><{}>");
	finds("{\"\\\\\":1}{}", "<{\"\\\\\":1}><{}>");
	finds("\"text\"{}", "<\"text\"><{}>");
	finds("12 true{}null", "<12><true><{}><null>");
	finds("[\"\xc3\xa4\xff\"]", "<[\"\xc3\xa4\xff\"]>");
}

Test(rpc_stream, what_can_be_no_json_is_broken_at_once)
{
	finds("hello", "!");
	finds("GET / HTTP/1.1\r\n", "!");
	finds("{}}", "<{}>!");
	finds("{\"a\":\"line\nbreak\"}", "!");
	finds("{\"a\":\x01}", "!");
	finds("{\xff}", "!");
	finds("\x7f", "!");
	finds("{\"a\\\x01\"}", "!");
}

Test(rpc_stream, a_stream_that_ends_within_a_value_is_broken)
{
	finds("{\"a\":", "!");
	finds("{}[", "<{}>!");
	finds("\"abc", "!");
	finds("12", "<12>");
}

Test(rpc_stream, nul_bytes_outside_of_strings_are_broken)
{
	char out[64];

	found(out, "{\0}", 3, 3);
	cr_assert_str_eq(out, "!");
	found(out, "\0", 1, 1);
	cr_assert_str_eq(out, "!");
}

static enum rpc_stream_found first(struct rpc_stream *s)
{
	const char *at;
	size_t n;

	return rpc_stream_next(s, false, &at, &n);
}

Test(rpc_stream, deep_nesting_is_refused_and_the_next_value_found)
{
	struct rpc_stream s = { 0 };
	char text[2 * RPC_DEPTH_MAX + 3] = "";

	memset(text, '[', RPC_DEPTH_MAX);
	memset(text + RPC_DEPTH_MAX, ']', RPC_DEPTH_MAX);
	feed(&s, text, 2 * RPC_DEPTH_MAX);
	cr_assert(eq(int, first(&s), RPC_STREAM_VALUE));
	memset(text, '[', RPC_DEPTH_MAX + 1);
	memset(text + RPC_DEPTH_MAX + 1, ']', RPC_DEPTH_MAX + 1);
	feed(&s, text, 2 * RPC_DEPTH_MAX + 2);
	feed(&s, "{}", 2);
	cr_assert(eq(int, first(&s), RPC_STREAM_REFUSED));
	cr_assert_not_null(strstr(s.trouble, "128"));
	cr_assert(eq(int, first(&s), RPC_STREAM_VALUE));
	cr_assert(eq(int, first(&s), RPC_STREAM_MORE));
}

Test(rpc_stream, too_many_values_are_refused)
{
	struct rpc_stream s = { 0 };

	feed(&s, "[", 1);
	for (unsigned i = 0; i < RPC_VALUES_MAX; i++)
		feed(&s, "1,", 2);
	feed(&s, "1]{}", 4);
	cr_assert(eq(int, first(&s), RPC_STREAM_REFUSED));
	cr_assert_not_null(strstr(s.trouble, "262144"));
	cr_assert(eq(int, first(&s), RPC_STREAM_VALUE));
	rpc_stream_free(&s);
}

/* a string value of @bytes bytes all told */
static enum rpc_stream_found large(struct rpc_stream *s, size_t bytes)
{
	enum rpc_stream_found f = RPC_STREAM_MORE;
	char chunk[64 << 10];

	memset(chunk, 'x', sizeof(chunk));
	feed(s, "\"", 1);
	for (size_t left = bytes - 2, n; left && f == RPC_STREAM_MORE; left -= n) {
		n = left < sizeof(chunk) ? left : sizeof(chunk);
		feed(s, chunk, n);
		f = first(s);
	}
	if (f != RPC_STREAM_MORE)
		return f;
	feed(s, "\"", 1);
	return first(s);
}

Test(rpc_stream, requests_of_32_mib_pass_and_larger_ones_do_not)
{
	struct rpc_stream s = { 0 };

	cr_assert(eq(int, large(&s, RPC_REQUEST_MAX), RPC_STREAM_VALUE));
	cr_assert(eq(int, first(&s), RPC_STREAM_MORE));
	cr_assert(eq(int, large(&s, RPC_REQUEST_MAX + 1), RPC_STREAM_BROKEN));
	cr_assert_not_null(strstr(s.trouble, "32 MiB"));
	rpc_stream_free(&s);
}

Test(rpc_stream, what_all_streams_hold_is_limited_and_given_back)
{
	size_t held = 0, room, n = 0;
	struct rpc_stream s[RPC_BUFFERED_MAX / RPC_REQUEST_MAX + 2] = { 0 };
	bool full = false;

	for (; n < sizeof(s) / sizeof(s[0]) && !full; n++) {
		s[n].held = &held;
		for (char *at; s[n].len < RPC_REQUEST_MAX && !full;) {
			at = rpc_stream_room(&s[n], &room);
			full = !at;
			if (at)
				rpc_stream_added(&s[n], room);
		}
	}
	cr_assert(full && held <= RPC_BUFFERED_MAX && n > 1);
	for (size_t i = 0; i < n; i++)
		rpc_stream_free(&s[i]);
	cr_assert(eq(sz, held, 0));
}

Test(rpc_stream, an_idle_stream_holds_no_memory)
{
	size_t held = 0;
	struct rpc_stream s = { .held = &held };

	feed(&s, "{} ", 3);
	cr_assert(held > 0);
	cr_assert(eq(int, first(&s), RPC_STREAM_VALUE));
	cr_assert(eq(int, first(&s), RPC_STREAM_MORE));
	cr_assert(eq(sz, held, 0));
}
