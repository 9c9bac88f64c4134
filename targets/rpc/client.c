/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/client.c - one request after another to a server's socket, each with a deadline
 */
#include "targets/rpc/cli.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int refuse(struct cli_client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct cli_client *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->err, sizeof(c->err), fmt, ap);
	va_end(ap);
	return -1;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* what is read and sent, until when */
struct talk {
	struct cli_client *c;
	double deadline;
	bool late, ended; /* why nothing more came */
};

static bool wait_for(struct talk *t, short events)
{
	struct pollfd p = { .fd = t->c->fd, .events = events };

	for (;;) {
		double left = t->deadline - now_s();
		int rc = poll(&p, 1, left > 0 ? (int)(left * 1e3 < 1e6 ? left * 1e3 + 1 : 1e6) : 0);

		if (rc > 0)
			return true;
		if ((rc < 0 && errno != EINTR) || left <= 0) {
			t->late = !rc;
			return false;
		}
	}
}

static int explain_connect(struct cli_client *c, int error)
{
	if (error == ENOENT || error == ECONNREFUSED)
		return refuse(c,
			      "%s: no program serves there: start plx-tgt, or name its socket "
			      "with -s",
			      c->socket);
	if (error == EACCES || error == EPERM)
		return refuse(c,
			      "%s: it belongs to another user: run plx-rpc as the one who runs "
			      "plx-tgt",
			      c->socket);
	return refuse(c, "%s: cannot connect: %s: name the socket of plx-tgt with -s", c->socket,
		      strerror(error));
}

static int connect_to(struct cli_client *c)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = (time_t)c->timeout_s + 1 };
	int error;

	if (strlen(c->socket) >= sizeof(addr.sun_path))
		return refuse(c, "'%.32s...': a socket's path has at most %zu characters: see -s",
			      c->socket, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, c->socket);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* a full backlog holds connect() up for that long */
	if (c->fd >= 0)
		setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (c->fd >= 0 && !connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	error = errno;
	cli_disconnect(c);
	return explain_connect(c, error);
}

static bool send_all(struct talk *t, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n;

		if (!wait_for(t, POLLOUT))
			return false;
		n = send(t->c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			/* it may have said why before it left */
			return true;
		} else if (errno != EAGAIN && errno != EINTR) {
			return false;
		}
	}
	return true;
}

static size_t receive(void *buf, size_t len, void *arg)
{
	struct talk *t = arg;
	ssize_t n;

	if (!wait_for(t, POLLIN))
		return 0;
	n = recv(t->c->fd, buf, len, 0);
	t->ended = n <= 0;
	return n > 0 ? (size_t)n : 0;
}

static json_t *judge(struct cli_client *c, const char *method, const json_t *response)
{
	const json_t *error = json_object_get(response, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	json_t *result = json_object_get(response, "result");

	/* a server that could not tell which request it was has null there */
	if (error && !json_is_null(error)) {
		refuse(c, "%s%s%s (code %lld)", message && strstr(message, method) ? "" : method,
		       message && strstr(message, method) ? "" : ": ",
		       message ? message : "the server gives no reason",
		       (long long)json_integer_value(json_object_get(error, "code")));
		return NULL;
	}
	if (!result || json_integer_value(json_object_get(response, "id")) != c->id) {
		refuse(c, "%s: %s: what answers there is no JSON-RPC server: see -s", method,
		       c->socket);
		return NULL;
	}
	return json_incref(result);
}

static json_t *converse(struct cli_client *c, const char *method, const char *request)
{
	struct talk t = { c, now_s() + c->timeout_s, false, false };
	json_t *response = NULL, *result;
	json_error_t e;

	if (send_all(&t, request))
		response = json_load_callback(receive, &t, JSON_DISABLE_EOF_CHECK, &e);
	if (response) {
		result = judge(c, method, response);
		json_decref(response);
		return result;
	}
	if (t.late)
		refuse(c, "%s: no answer within %g s: wait longer with -t", method, c->timeout_s);
	else if (t.ended)
		refuse(c, "%s: the server ended the connection: look at its log", method);
	else
		refuse(c, "%s: %s: the answer is no JSON: see -s", method, c->socket);
	/* whatever comes late must not be taken for the next answer */
	cli_disconnect(c);
	return NULL;
}

json_t *cli_call(struct cli_client *c, const char *method, const json_t *params)
{
	json_t *request, *result;
	char *text;

	if (c->fd < 0 && connect_to(c))
		return NULL;
	request = json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id", ++c->id, "method", method);
	if (json_object_size(params))
		json_object_set(request, "params", (json_t *)params);
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (!text) {
		refuse(c, "%s: out of memory, or the method's name is no UTF-8", method);
		return NULL;
	}
	result = converse(c, method, text);
	free(text);
	return result;
}

void cli_disconnect(struct cli_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}
