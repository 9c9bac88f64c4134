/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_internal.h - what the files of JSON-RPC share among themselves
 */
#ifndef POLLUX_CORE_RPC_INTERNAL_H
#define POLLUX_CORE_RPC_INTERNAL_H

#include "core/rpc.h"
#include <stdarg.h>

#define RPC_REQUEST_MAX	 (32u << 20) /* bytes of one request or batch */
#define RPC_BUFFERED_MAX (256ull << 20) /* bytes of unfinished requests, all clients together */
#define RPC_DEPTH_MAX	 128u /* brackets within brackets */
#define RPC_VALUES_MAX	 (1u << 18) /* values in one request: each costs far more than its text */
#define RPC_BATCH_MAX	 1024u /* requests in one batch */

/** struct plx_rpc_call - one call under way; on the stack of who carries it out */
struct plx_rpc_call {
	const struct plx_rpc_method *method;
	int code; /* 0: has not failed */
	char message[1024];
};

/** rpc_params - plx_rpc_check() for a call: its error becomes the call's */
json_t *rpc_params(struct plx_rpc_call *call, const json_t *params);

/** rpc_error - a response that is an error; @id borrowed, NULL is null. Return: a new reference */
json_t *rpc_error(const json_t *id, int code, const char *message);

/** struct rpc_later - a request whose method waits (plx_rpc_wait()); zeroed to start with */
struct rpc_later {
	json_t *request; /* NULL: none does */
	uint64_t since_ms;
};

/** rpc_answer - the response to @text, any bytes. Return: a new reference; NULL where none is
 *  due */
json_t *rpc_answer(const char *text, size_t len);
/** rpc_answer_or_wait - the same; @later holds the request when its method waits */
json_t *rpc_answer_or_wait(const char *text, size_t len, struct rpc_later *later);
/** rpc_answer_later - try again what @later holds. Return: as rpc_answer_or_wait() */
json_t *rpc_answer_later(struct rpc_later *later);

/**
 * struct rpc_stream - finds where JSON values end in what comes in pieces; zeroed to start with
 * @held: counts the bytes of all streams that share it; set by the owner, or NULL
 *
 * Each byte is looked at once. Only brackets and quotes count: the parser judges the rest.
 */
struct rpc_stream {
	char *buf;
	size_t cap, len; /* bytes: room, filled */
	size_t start; /* of the value that is being looked for */
	size_t pos; /* looked at up to here */
	unsigned depth, deepest, values;
	enum { RPC_SCAN_IDLE, RPC_SCAN_NEST, RPC_SCAN_STRING, RPC_SCAN_ESCAPE, RPC_SCAN_WORD } scan;
	const char *trouble;
	size_t *held;
};

/** rpc_stream_room - where to put further bytes, at least one; what rpc_stream_next() gave is no
 *  longer valid. Return: NULL when memory or patience is used up, @s->trouble says which */
char *rpc_stream_room(struct rpc_stream *s, size_t *room);
/** rpc_stream_added - @n bytes have been put there */
void rpc_stream_added(struct rpc_stream *s, size_t n);

enum rpc_stream_found {
	RPC_STREAM_MORE, /* nothing complete is there */
	RPC_STREAM_VALUE, /* @text, @len: valid until the next call */
	RPC_STREAM_REFUSED, /* a complete value that is not to be parsed: @s->trouble */
	RPC_STREAM_BROKEN, /* no JSON, no way to tell where the next begins: @s->trouble */
};
/** rpc_stream_next - the next value; @eof: nothing will be added */
enum rpc_stream_found rpc_stream_next(struct rpc_stream *s, bool eof, const char **text,
				      size_t *len);
/** rpc_stream_free - forget everything; the stream may be used again */
void rpc_stream_free(struct rpc_stream *s);

#endif
