/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_stream.c - where one JSON value ends and the next begins, in a stream of pieces
 */
#include "core/rpc_internal.h"
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM (16u << 10)
#define ROOM_MAX   (RPC_REQUEST_MAX + FIRST_ROOM)

static void account(struct rpc_stream *s, size_t cap)
{
	if (s->held)
		*s->held += cap - s->cap;
	s->cap = cap;
}

void rpc_stream_free(struct rpc_stream *s)
{
	free(s->buf);
	account(s, 0);
	*s = (struct rpc_stream){ .held = s->held };
}

char *rpc_stream_room(struct rpc_stream *s, size_t *room)
{
	size_t cap;
	char *buf;

	/* What is moved came with the last piece, behind the value that ended in it: no byte moves
	 * twice but for pieces that end a value. */
	if (s->start) {
		memmove(s->buf, s->buf + s->start, s->len - s->start);
		s->len -= s->start;
		s->pos -= s->start;
		s->start = 0;
	}
	if (s->len == s->cap) {
		cap = s->cap ? s->cap * 2 : FIRST_ROOM;
		if (cap > ROOM_MAX)
			cap = ROOM_MAX;
		if (s->held && *s->held + (cap - s->cap) > RPC_BUFFERED_MAX) {
			s->trouble = "too many large requests are under way: send it again later";
			return NULL;
		}
		buf = cap > s->cap ? realloc(s->buf, cap) : NULL;
		if (!buf) {
			s->trouble = "there is no memory for a request of this size";
			return NULL;
		}
		s->buf = buf;
		account(s, cap);
	}
	*room = s->cap - s->len;
	return s->buf + s->len;
}

void rpc_stream_added(struct rpc_stream *s, size_t n)
{
	s->len += n;
}

static bool is_blank(unsigned char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

/* numbers, true, false, null, and what looks like them */
static bool is_word(unsigned char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
	       ch == '-' || ch == '+' || ch == '.';
}

static void open_bracket(struct rpc_stream *s)
{
	s->scan = RPC_SCAN_NEST;
	s->values++;
	if (++s->depth > s->deepest)
		s->deepest = s->depth;
}

enum step { STEP_ON, STEP_END, STEP_END_BEFORE, STEP_BROKEN };

static enum step step_idle(struct rpc_stream *s, unsigned char ch)
{
	if (is_blank(ch)) {
		s->start = s->pos + 1;
		return STEP_ON;
	}
	s->deepest = s->values = 0;
	if (ch == '{' || ch == '[')
		open_bracket(s);
	else if (ch == '"')
		s->scan = RPC_SCAN_STRING;
	else if (ch == 't' || ch == 'f' || ch == 'n' || ch == '-' || (ch >= '0' && ch <= '9'))
		s->scan = RPC_SCAN_WORD;
	else
		return STEP_BROKEN;
	return STEP_ON;
}

static enum step step_nest(struct rpc_stream *s, unsigned char ch)
{
	switch (ch) {
	case '"':
		s->scan = RPC_SCAN_STRING;
		return STEP_ON;
	case '{':
	case '[':
		open_bracket(s);
		return STEP_ON;
	case '}':
	case ']':
		return --s->depth ? STEP_ON : STEP_END;
	case ',':
		s->values++;
		return STEP_ON;
	}
	return is_blank(ch) || (ch > ' ' && ch < 0x7f) ? STEP_ON : STEP_BROKEN;
}

static enum step step(struct rpc_stream *s, unsigned char ch)
{
	switch (s->scan) {
	case RPC_SCAN_IDLE:
		return step_idle(s, ch);
	case RPC_SCAN_NEST:
		return step_nest(s, ch);
	case RPC_SCAN_STRING:
		if (ch == '\\') {
			s->scan = RPC_SCAN_ESCAPE;
		} else if (ch == '"') {
			s->scan = RPC_SCAN_NEST;
			return s->depth ? STEP_ON : STEP_END;
		}
		break;
	case RPC_SCAN_ESCAPE:
		s->scan = RPC_SCAN_STRING;
		break;
	case RPC_SCAN_WORD:
		return is_word(ch) ? STEP_ON : STEP_END_BEFORE;
	}
	/* RFC 8259 §7: a string has no bare control character, a line's end within it is an
	 * error */
	return ch < ' ' ? STEP_BROKEN : STEP_ON;
}

static enum rpc_stream_found broken(struct rpc_stream *s, const char *why)
{
	s->trouble = why;
	return RPC_STREAM_BROKEN;
}

static enum rpc_stream_found complete(struct rpc_stream *s, const char **text, size_t *len)
{
	*text = s->buf + s->start;
	*len = s->pos - s->start;
	s->scan = RPC_SCAN_IDLE;
	s->start = s->pos;
	if (*len > RPC_REQUEST_MAX)
		return broken(s, "a request has at most 32 MiB");
	s->trouble = s->deepest > RPC_DEPTH_MAX	  ? "it is nested deeper than 128 levels"
		     : s->values > RPC_VALUES_MAX ? "it has more than 262144 values"
						  : NULL;
	return s->trouble ? RPC_STREAM_REFUSED : RPC_STREAM_VALUE;
}

enum rpc_stream_found rpc_stream_next(struct rpc_stream *s, bool eof, const char **text,
				      size_t *len)
{
	for (; s->pos < s->len; s->pos++) {
		switch (step(s, (unsigned char)s->buf[s->pos])) {
		case STEP_ON:
			break;
		case STEP_END:
			s->pos++;
			return complete(s, text, len);
		case STEP_END_BEFORE:
			return complete(s, text, len);
		case STEP_BROKEN:
			return broken(s, "this is no JSON");
		}
	}
	if (s->pos - s->start > RPC_REQUEST_MAX)
		return broken(s, "a request has at most 32 MiB");
	if (eof && s->scan == RPC_SCAN_WORD)
		return complete(s, text, len);
	if (eof && s->scan != RPC_SCAN_IDLE)
		return broken(s, "the stream ended within a request");
	if (s->scan == RPC_SCAN_IDLE) /* nothing but blanks: the memory is free for others */
		rpc_stream_free(s);
	return RPC_STREAM_MORE;
}
