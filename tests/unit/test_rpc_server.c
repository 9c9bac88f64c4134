/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_rpc_server.c - JSON-RPC over a Unix socket, with clients of every kind */
#include "rpc_table.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <pollux/env.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NONE  "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"test_none\"}"
#define ASKED "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_none\"}"
#define DONE  "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n"

static struct plx_rpc_server *server;
static char dir[64], path[96], err[512];

static json_t *test_poll(struct plx_rpc_call *call, const json_t *params)
{
	return json_integer(plx_rpc_server_poll(server, 0));
}

static struct plx_rpc_method poll_methods[] = {
	{ "test_poll", "Polls.", test_poll, PLX_RPC_ANY_TIME, NULL, "test" },
};
PLX_RPC_TABLE(poll_methods)

static void make_dir(void)
{
	strcpy(dir, "/tmp/plx-test-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/rpc.sock", dir);
}

static void start(void)
{
	make_dir();
	cr_assert(eq(int, plx_rpc_server_open(path, &server, err, sizeof(err)), 0), "%s", err);
}

static void stop(void)
{
	plx_rpc_server_close(server);
	unlink(path);
	/* fails, and the test with it, when something was left behind */
	cr_assert(eq(int, rmdir(dir), 0));
}

TestSuite(rpc_server, .init = start, .fini = stop);
TestSuite(rpc_socket, .init = make_dir, .fini = stop);

static int client(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, path);
	/* the backlog is shorter than some tests' crowds */
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		cr_assert(eq(int, errno, EAGAIN));
		plx_rpc_server_poll(server, 0);
	}
	return fd;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say_n(int fd, const char *data, size_t len)
{
	int64_t deadline = now_ms() + 60000;

	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else {
			cr_assert(now_ms() < deadline && errno == EAGAIN);
			plx_rpc_server_poll(server, 0);
		}
	}
}

static void say(int fd, const char *text)
{
	say_n(fd, text, strlen(text));
}

/* Return: what came until @len bytes were there, or the stream ended; valid until the next call */
static const char *hear(int fd, size_t len)
{
	static char *text;
	int64_t deadline = now_ms() + 60000;
	size_t n = 0;

	text = realloc(text, len + 1);
	while (n < len) {
		ssize_t got = recv(fd, text + n, len - n, 0);

		if (!got || (got < 0 && errno == ECONNRESET))
			break;
		if (got > 0) {
			n += (size_t)got;
			continue;
		}
		cr_assert(now_ms() < deadline, "nothing more came after: %.*s", (int)n, text);
		plx_rpc_server_poll(server, 10);
	}
	text[n] = '\0';
	return text;
}

static void hears(int fd, const char *wanted)
{
	const char *got = hear(fd, strlen(wanted));

	cr_assert_str_eq(got, wanted, "%s\n instead of %s", got, wanted);
}

/* all of it, to the end of the stream */
static const char *hear_all(int fd)
{
	return hear(fd, 1 << 20);
}

/* until nothing is left to do; taking a new client, or the end of one, counts as nothing */
static void settle(void)
{
	for (int idle = 0; idle < 4;)
		idle = plx_rpc_server_poll(server, 10) ? 0 : idle + 1;
}

/* ---- requests ---- */

Test(rpc_server, a_request_may_come_byte_by_byte)
{
	int fd = client();

	for (const char *p = ASKED; *p; p++) {
		say_n(fd, p, 1);
		plx_rpc_server_poll(server, 0);
	}
	hears(fd, DONE);
	close(fd);
}

Test(rpc_server, requests_may_come_back_to_back)
{
	int fd = client();

	say(fd, " " ASKED ASKED "\n\t" ASKED "[" ASKED "," ASKED "]");
	hears(fd, DONE DONE DONE);
	hears(fd, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}},"
		  "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}]\n");
	close(fd);
}

Test(rpc_server, more_requests_than_one_turn_takes_are_answered_in_order)
{
	char text[200];
	int fd = client();

	for (int i = 0; i < 3000; i++) {
		snprintf(text, sizeof(text), NONE, i);
		say(fd, text);
	}
	for (int i = 0; i < 3000; i++) {
		snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{}}\n", i);
		hears(fd, text);
	}
	close(fd);
}

Test(rpc_server, requests_carried_out_are_counted)
{
	int fd = client(), n = 0;

	cr_assert(eq(int, plx_rpc_server_poll(server, 0), 0));
	say(fd, ASKED ASKED);
	hears(fd, DONE DONE);
	say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"test_none\"}");
	for (int64_t deadline = now_ms() + 60000; !n && now_ms() < deadline;)
		n = plx_rpc_server_poll(server, 10);
	cr_assert(eq(int, n, 1));
	close(fd);
}

Test(rpc_server, bad_json_is_answered_and_the_next_request_served)
{
	int fd = client();

	say(fd, "{\"jsonrpc\":nonsense}" ASKED);
	cr_assert_not_null(strstr(hear(fd, 60), "\"id\":null,\"error\":{\"code\":-32700"));
	shutdown(fd, SHUT_WR);
	cr_assert_not_null(strstr(hear_all(fd), DONE));
	close(fd);
}

Test(rpc_server, what_is_no_json_at_all_ends_the_connection)
{
	int fd = client(), other = client();
	const char *got;

	say(fd, ASKED "GET / HTTP/1.1\r\n\r\n" ASKED);
	got = hear_all(fd);
	cr_assert(eq(int, strncmp(got, DONE, strlen(DONE)), 0));
	cr_assert_not_null(strstr(got, "\"id\":null,\"error\":{\"code\":-32700"));
	cr_assert(eq(int, test_calls, 1));
	say(other, ASKED);
	hears(other, DONE);
	close(fd);
	close(other);
}

Test(rpc_server, a_request_over_32_mib_is_refused_and_the_connection_closed)
{
	int fd = client();
	size_t chunk = 1 << 20;
	char *x = malloc(chunk);
	int64_t deadline = now_ms() + 60000;
	ssize_t n;

	memset(x, 'x', chunk);
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"");
	for (;;) {
		n = send(fd, x, chunk, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		cr_assert(now_ms() < deadline, "it takes everything");
		plx_rpc_server_poll(server, 0);
	}
	cr_assert_not_null(strstr(hear_all(fd), "32 MiB"));
	free(x);
	close(fd);
}

Test(rpc_server, a_large_request_is_carried_out)
{
	size_t n = 8 << 20;
	char *x = malloc(n + 1);
	int fd = client();

	memset(x, 'x', n);
	x[n] = '\0';
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_name\",\"params\":{\"name\":\"");
	say(fd, x);
	say(fd, "\"}}");
	hears(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"name\":\"");
	hears(fd, x);
	hears(fd, "\"}}\n");
	free(x);
	close(fd);
}

Test(rpc_server, a_method_that_polls_is_not_overtaken)
{
	int fd = client(), other = client();

	settle();
	say(other, ASKED);
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"test_poll\"}");
	hears(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":0}\n");
	hears(other, DONE);
	close(fd);
	close(other);
}

/* ---- clients that come and go ---- */

Test(rpc_server, a_client_that_closes_its_sending_side_gets_its_answers)
{
	int fd = client();

	say(fd, ASKED ASKED);
	shutdown(fd, SHUT_WR);
	cr_assert_str_eq(hear_all(fd), DONE DONE);
	close(fd);
}

Test(rpc_server, a_stream_that_ends_within_a_request_is_told_so)
{
	int fd = client();

	say(fd, "{\"jsonrpc\":");
	shutdown(fd, SHUT_WR);
	cr_assert_not_null(strstr(hear_all(fd), "ended within a request"));
	close(fd);
}

Test(rpc_server, clients_that_leave_harm_nobody)
{
	int other = client();

	for (int i = 0; i < 200; i++) {
		int fd = client();

		if (i & 1)
			say(fd, ASKED ASKED "{\"jsonrpc\"");
		if (i & 2)
			plx_rpc_server_poll(server, 0);
		close(fd);
		plx_rpc_server_poll(server, 0);
	}
	say(other, ASKED);
	hears(other, DONE);
	close(other);
}

Test(rpc_server, notifications_of_a_client_that_has_left_are_carried_out)
{
	static const char text[] = "{\"jsonrpc\":\"2.0\",\"method\":\"test_none\"}";
	int fd = client();

	for (int i = 0; i < 500; i++)
		say(fd, text);
	close(fd);
	settle();
	cr_assert(eq(int, test_calls, 500));
}

Test(rpc_server, a_client_that_takes_no_answers_waits_alone)
{
	const unsigned count = 64, bytes = 512 << 10;
	int fd = client(), other = client(), before;
	char text[200], wanted[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"test_long\",\"params\":{"
			 "\"bytes\""
			 ":%u}}",
			 i, bytes);
		say(fd, text);
	}
	settle();
	/* its socket's buffer and a megabyte */
	cr_assert(test_calls > 0 && test_calls < 8, "%d", test_calls);
	before = test_calls;
	say(other, ASKED);
	hears(other, DONE);
	cr_assert(eq(int, test_calls, before + 1));
	for (unsigned i = 0; i < count; i++) {
		snprintf(wanted, sizeof(wanted), "{\"jsonrpc\":\"2.0\",\"id\":%u,\"result\":\"x",
			 i);
		hears(fd, wanted);
		hear(fd, bytes - 1);
		hears(fd, "\"}\n");
	}
	close(fd);
	close(other);
}

Test(rpc_server, a_client_that_floods_does_not_keep_others_waiting)
{
	static const char text[] = "{\"jsonrpc\":\"2.0\",\"method\":\"test_none\"}";
	int fd = client(), other = client();

	settle();
	for (int i = 0; i < 1400; i++)
		say(fd, text);
	say(other, ASKED);
	hears(other, DONE);
	cr_assert(test_calls < 1400, "%d", test_calls);
	settle();
	cr_assert(eq(int, test_calls, 1401));
	close(fd);
	close(other);
}

/* ---- crowds ---- */

#define CROWD 1024

Test(rpc_server, a_thousand_clients_are_served_and_further_ones_refused)
{
	struct rlimit limit = { 0, 0 };
	static int fds[CROWD];
	int late;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 3 * CROWD)
		cr_skip_test("%ld descriptors are too few", (long)limit.rlim_max);
	limit.rlim_cur = 3 * CROWD;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < CROWD; i++)
		fds[i] = client();
	settle();
	late = client();
	cr_assert_not_null(strstr(hear_all(late), "1024 clients"));
	close(late);
	for (int i = 0; i < CROWD; i++)
		say(fds[i], ASKED);
	for (int i = 0; i < CROWD; i++)
		hears(fds[i], DONE);
	close(fds[0]);
	settle();
	fds[0] = client();
	say(fds[0], ASKED);
	hears(fds[0], DONE);
	for (int i = 0; i < CROWD; i++)
		close(fds[i]);
}

Test(rpc_server, a_client_is_told_when_descriptors_are_used_up)
{
	int first = client(), fd, highest;
	struct rlimit limit, low;

	settle();
	fd = client();
	highest = dup(fd);
	close(highest);
	getrlimit(RLIMIT_NOFILE, &limit);
	low = (struct rlimit){ (rlim_t)highest, limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	cr_assert_not_null(strstr(hear_all(fd), "descriptors"));
	setrlimit(RLIMIT_NOFILE, &limit);
	close(fd);
	say(first, ASKED);
	hears(first, DONE);
	fd = client();
	say(fd, ASKED);
	hears(fd, DONE);
	close(first);
	close(fd);
}

/* ---- the path ---- */

static int open_server(void)
{
	*err = '\0';
	return plx_rpc_server_open(path, &server, err, sizeof(err));
}

Test(rpc_socket, only_the_owner_may_connect)
{
	struct stat st;
	mode_t old = umask(0);

	cr_assert(eq(int, open_server(), 0));
	umask(old);
	cr_assert(eq(int, stat(path, &st), 0));
	cr_assert(eq(int, st.st_mode &S_IFMT, S_IFSOCK));
	cr_assert(eq(int, st.st_mode & 0777, 0600));
}

Test(rpc_socket, a_stale_socket_is_replaced)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0));
	close(fd);
	cr_assert(eq(int, open_server(), 0), "%s", err);
	fd = client();
	say(fd, ASKED);
	hears(fd, DONE);
	close(fd);
}

Test(rpc_socket, a_socket_that_is_served_is_left_alone)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct stat before, after;

	/* by a program that knows no lock */
	strcpy(addr.sun_path, path);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0));
	cr_assert(eq(int, listen(fd, 1), 0));
	stat(path, &before);
	cr_assert(eq(int, open_server(), -EADDRINUSE));
	cr_assert_not_null(strstr(err, path));
	cr_assert(eq(int, stat(path, &after), 0));
	cr_assert(eq(u64, after.st_ino, before.st_ino));
	close(fd);
}

Test(rpc_socket, a_second_server_is_refused)
{
	struct plx_rpc_server *second = NULL;
	int fd;

	cr_assert(eq(int, open_server(), 0));
	cr_assert(eq(int, plx_rpc_server_open(path, &second, err, sizeof(err)), -EADDRINUSE));
	cr_assert_not_null(strstr(err, "another program serves there"));
	fd = client();
	say(fd, ASKED);
	hears(fd, DONE);
	close(fd);
}

Test(rpc_socket, a_path_whose_lock_is_held_is_left_alone)
{
	char lock[112];
	int fd;

	/* by a server that has not got as far as its socket */
	snprintf(lock, sizeof(lock), "%s.lock", path);
	fd = open(lock, O_RDWR | O_CREAT, 0600);
	cr_assert(eq(int, flock(fd, LOCK_EX | LOCK_NB), 0));
	cr_assert(eq(int, open_server(), -EADDRINUSE));
	cr_assert_not_null(strstr(err, "another program serves there"));
	close(fd);
	/* and one that was left behind is nobody's */
	cr_assert(eq(int, open_server(), 0), "%s", err);
}

Test(rpc_socket, of_servers_that_start_at_once_one_wins)
{
	int go[2], done[2], winners = 0, status;
	const int count = 16;

	cr_assert(pipe(go) == 0 && pipe(done) == 0);
	for (int i = 0; i < count; i++) {
		char ch;

		if (fork())
			continue;
		close(go[1]);
		close(done[1]);
		/* both ends are the parent's to close: first all start, then all stop */
		status = read(go[0], &ch, 1) < 0;
		status |= open_server() ? 2 : 0;
		if (status)
			_exit(status);
		status = read(done[0], &ch, 1) < 0;
		plx_rpc_server_close(server);
		_exit(status);
	}
	close(go[1]);
	/* the losers end by themselves */
	for (int i = 0; i < count - 1; i++) {
		cr_assert(wait(&status) > 0 && WIFEXITED(status));
		cr_assert(eq(int, WEXITSTATUS(status), 2));
	}
	close(done[1]);
	cr_assert(wait(&status) > 0 && WIFEXITED(status));
	winners += WEXITSTATUS(status) == 0;
	cr_assert(eq(int, winners, 1));
	close(go[0]);
	close(done[0]);
}

Test(rpc_socket, a_file_is_not_replaced)
{
	struct stat st;
	FILE *f = fopen(path, "w");

	fputs("precious", f);
	fclose(f);
	cr_assert(eq(int, open_server(), -EEXIST));
	cr_assert_not_null(strstr(err, "no socket"));
	cr_assert(eq(int, stat(path, &st), 0));
	cr_assert(eq(i64, st.st_size, 8));
}

Test(rpc_socket, paths_that_cannot_be_are_refused)
{
	char longer[200];
	int rc;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	rc = plx_rpc_server_open(longer, &server, err, sizeof(err));
	cr_assert(eq(int, rc, -ENAMETOOLONG));
	cr_assert_not_null(strstr(err, "107"));
	longer[108] = '\0';
	rc = plx_rpc_server_open(longer, &server, err, sizeof(err));
	cr_assert(eq(int, rc, -ENAMETOOLONG));
	rc = plx_rpc_server_open("", &server, err, sizeof(err));
	cr_assert(eq(int, rc, -EINVAL));
	snprintf(longer, sizeof(longer), "%s/absent/rpc.sock", dir);
	rc = plx_rpc_server_open(longer, &server, err, sizeof(err));
	cr_assert(eq(int, rc, -ENOENT));
	cr_assert_not_null(strstr(err, "directory"));
}

Test(rpc_socket, closing_leaves_nothing_behind_and_no_other_socket_removed)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	cr_assert(eq(int, open_server(), 0));
	plx_rpc_server_close(server);
	cr_assert(eq(int, stat(path, &st), -1));
	cr_assert(eq(int, open_server(), 0));
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(addr.sun_path, path);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0));
	plx_rpc_server_close(server);
	server = NULL;
	cr_assert(eq(int, stat(path, &st), 0));
	close(fd);
}
