/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_server.c - JSON-RPC clients on a Unix socket: who is served when, and what each may hold
 *
 * Nothing blocks. A client is read from while its requests are being answered and its answers
 * taken; whoever does not take them waits alone, and holds no more than OUT_ENOUGH plus one answer.
 */
#include "core/rpc_internal.h"
#include "core/rpc_socket.h"
#include <errno.h>
#include <fcntl.h>
#include <pollux/env.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define READ_MAX    (64u << 10) /* bytes from one client before the others' turn */
#define TURN_MAX    32 /* requests of one client before the others' turn */
#define OUT_ENOUGH  (1u << 20) /* bytes of answers not taken at which requests wait */
#define EVENTS_MAX  64
#define WAIT_MS	    5 /* between two attempts at a request that waits */

struct client {
	int fd;
	uint32_t events; /* what epoll watches for */
	bool more; /* what it has sent may hold further requests */
	bool eof; /* nothing will come any more */
	bool doomed; /* is closed once its answers are out */
	struct rpc_later later; /* its request that waits */
	struct rpc_stream in;
	char *out;
	size_t out_cap, out_len, out_pos; /* bytes */
	struct client *prev, *next;
};

struct plx_rpc_server {
	struct rpc_socket socket;
	int epoll;
	int spare; /* given up to refuse a client when there is no other descriptor left */
	bool again; /* a client has requests left that no event will tell of */
	bool polling;
	bool waiting; /* a client's request waits */
	unsigned n_clients;
	size_t held; /* bytes in all the clients' input buffers */
	struct client *clients;
};

static bool is_runnable(const struct client *c)
{
	return c->more && !c->doomed && !c->later.request && c->out_len - c->out_pos < OUT_ENOUGH;
}

static void client_close(struct plx_rpc_server *s, struct client *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		s->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_clients--;
	close(c->fd);
	rpc_stream_free(&c->in);
	json_decref(c->later.request);
	free(c->out);
	free(c);
}

/* ---- answers ---- */

static int out_put(const char *part, size_t len, void *arg)
{
	struct client *c = arg;
	size_t cap = c->out_cap ? c->out_cap : 4096;
	char *out;

	while (cap - c->out_len < len)
		cap *= 2;
	if (cap != c->out_cap) {
		out = realloc(c->out, cap);
		if (!out)
			return -1;
		c->out = out;
		c->out_cap = cap;
	}
	memcpy(c->out + c->out_len, part, len);
	c->out_len += len;
	return 0;
}

static void answer(struct client *c, json_t *response)
{
	size_t before = c->out_len;

	if (!response)
		return;
	if (json_dump_callback(response, out_put, c, JSON_COMPACT) || out_put("\n", 1, c)) {
		/* half an answer is worse than none */
		c->out_len = before;
		c->doomed = true;
		plx_log(PLX_LOG_ERR, "rpc", "no memory for an answer: its client is disconnected");
	}
	json_decref(response);
}

static void answer_error(struct client *c, const char *why)
{
	char message[160];

	snprintf(message, sizeof(message), "Parse error: %s", why);
	answer(c, rpc_error(NULL, PLX_RPC_PARSE_ERROR, message));
}

/* Return: false when the client is gone */
static bool out_flush(struct client *c)
{
	while (c->out_pos < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		c->out_pos += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->out_cap = c->out_len = c->out_pos = 0;
	return true;
}

/* ---- requests ---- */

/* Return: requests carried out */
static int client_turn(struct client *c)
{
	const char *text;
	size_t len;
	int done = 0;

	while (is_runnable(c) && done < TURN_MAX) {
		switch (rpc_stream_next(&c->in, c->eof, &text, &len)) {
		case RPC_STREAM_VALUE:
			answer(c, rpc_answer_or_wait(text, len, &c->later));
			done += !c->later.request;
			break;
		case RPC_STREAM_REFUSED:
			answer_error(c, c->in.trouble);
			done++;
			break;
		case RPC_STREAM_BROKEN:
			answer_error(c, c->in.trouble);
			c->doomed = true;
			break;
		case RPC_STREAM_MORE:
			c->more = false;
			c->doomed |= c->eof;
			break;
		}
	}
	return done;
}

/* Return: false when the client is gone */
static bool client_read(struct client *c)
{
	size_t room;
	char *at = rpc_stream_room(&c->in, &room);
	ssize_t n;

	if (!at) {
		answer(c, rpc_error(NULL, PLX_RPC_INTERNAL_ERROR, c->in.trouble));
		c->doomed = true;
		return true;
	}
	n = recv(c->fd, at, room < READ_MAX ? room : READ_MAX, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
	rpc_stream_added(&c->in, (size_t)n);
	c->eof = !n;
	c->more = true;
	return true;
}

/* after whatever happened to it: send, watch for what it waits for, or close */
static void client_settle(struct plx_rpc_server *s, struct client *c)
{
	struct epoll_event ev = { .data.ptr = c };

	if (!out_flush(c) || (c->doomed && !c->out_len)) {
		client_close(s, c);
		return;
	}
	if (c->out_len)
		ev.events |= EPOLLOUT;
	if (!c->more && !c->eof && !c->doomed)
		ev.events |= EPOLLIN;
	if (ev.events != c->events && epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &ev)) {
		client_close(s, c);
		return;
	}
	c->events = ev.events;
	s->again |= is_runnable(c);
	s->waiting |= c->later.request != NULL;
}

static int client_event(struct plx_rpc_server *s, struct client *c, uint32_t events)
{
	int done;

	/* one that has hung up is served on until nothing of what it had sent is left, or an answer
	 * cannot be delivered */
	if (((events & EPOLLIN) && !client_read(c)) || !out_flush(c) ||
	    (c->later.request && (events & (EPOLLHUP | EPOLLERR)))) {
		client_close(s, c);
		return 0;
	}
	done = client_turn(c);
	client_settle(s, c);
	return done;
}

/* ---- new clients ---- */

static void refuse_client(int fd, const char *why)
{
	json_t *response = rpc_error(NULL, PLX_RPC_INTERNAL_ERROR, why);
	char *text = json_dumps(response, JSON_COMPACT);

	/* a fresh socket takes that much at once; if not, the client sees the end of the stream */
	if (text && send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		plx_log(PLX_LOG_DEBUG, "rpc", "a client left before it was refused");
	free(text);
	json_decref(response);
	close(fd);
}

static bool client_add(struct plx_rpc_server *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	if (!c)
		return false;
	*c = (struct client){ .fd = fd, .events = ev.events, .next = s->clients };
	c->in.held = &s->held;
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		free(c);
		return false;
	}
	if (c->next)
		c->next->prev = c;
	s->clients = c;
	s->n_clients++;
	return true;
}

static void accept_clients(struct plx_rpc_server *s)
{
	static const char no_room[] = "this program is out of memory or descriptors: try later";

	for (int i = 0; i < EVENTS_MAX; i++) {
		int fd = accept4(s->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE) && s->spare >= 0) {
			close(s->spare);
			fd = accept4(s->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			if (fd >= 0)
				refuse_client(fd, no_room);
			s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
			continue;
		}
		if (fd < 0)
			return;
		if (s->n_clients >= CLIENTS_MAX)
			refuse_client(fd, "1024 clients are connected: close one of them first");
		else if (!client_add(s, fd))
			refuse_client(fd, no_room);
	}
}

/* ---- the server ---- */

int plx_rpc_server_open(const char *path, struct plx_rpc_server **out, char *err, size_t errlen)
{
	struct plx_rpc_server *s = calloc(1, sizeof(*s));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	int rc;

	if (!s) {
		snprintf(err, errlen, "%s: there is no memory for a server", path);
		return -ENOMEM;
	}
	rc = rpc_socket_open(&s->socket, path, err, errlen);
	if (rc) {
		free(s);
		return rc;
	}
	s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->socket.fd, &ev)) {
		rc = -errno;
		snprintf(err, errlen, "%s: epoll: %s", path, strerror(errno));
		plx_rpc_server_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

/* those with requests left over from their last turn */
static int run_left_over(struct plx_rpc_server *s)
{
	struct client *next;
	int done = 0;

	s->again = false;
	for (struct client *c = s->clients; c; c = next) {
		next = c->next;
		if (is_runnable(c)) {
			done += client_turn(c);
			client_settle(s, c);
		}
	}
	return done;
}

/* those whose request waits: once more */
static int run_waiting(struct plx_rpc_server *s)
{
	struct client *next;
	int done = 0;

	s->waiting = false;
	for (struct client *c = s->clients; c; c = next) {
		next = c->next;
		if (!c->later.request)
			continue;
		answer(c, rpc_answer_later(&c->later));
		done += !c->later.request;
		client_settle(s, c);
	}
	return done;
}

int plx_rpc_server_poll(struct plx_rpc_server *s, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n, done = 0;

	/* a method that waits for something by polling must not be overtaken by another */
	if (s->polling)
		return 0;
	s->polling = true;
	/* before the events are taken: it closes clients, and theirs would have no owner */
	if (s->again)
		done = run_left_over(s);
	if (s->waiting && (timeout_ms < 0 || timeout_ms > WAIT_MS))
		timeout_ms = WAIT_MS;
	n = epoll_wait(s->epoll, events, EVENTS_MAX, done || s->again ? 0 : timeout_ms);
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			done += client_event(s, events[i].data.ptr, events[i].events);
		else
			accept_clients(s);
	}
	if (s->waiting)
		done += run_waiting(s);
	s->polling = false;
	return done;
}

void plx_rpc_server_close(struct plx_rpc_server *s)
{
	if (!s)
		return;
	while (s->clients)
		client_close(s, s->clients);
	if (s->epoll >= 0)
		close(s->epoll);
	if (s->spare >= 0)
		close(s->spare);
	rpc_socket_close(&s->socket);
	free(s);
}
