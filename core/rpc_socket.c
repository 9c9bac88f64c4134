/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_socket.c - takes a path for a listening socket, from whoever left it but from nobody who
 * uses it
 *
 * Two programs that start at once are told apart by a lock on "PATH.lock"; one that knows no such
 * lock, by whether it answers.
 */
#include "core/rpc_socket.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 128

static int refuse(int rc, char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int refuse(int rc, char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return rc;
}

static void lock_name(const struct rpc_socket *s, char *buf, size_t len)
{
	snprintf(buf, len, "%s.lock", s->path);
}

static int take_lock(struct rpc_socket *s, char *err, size_t errlen)
{
	char name[sizeof(s->path) + sizeof(".lock")];
	struct stat held, there;
	int rc;

	lock_name(s, name, sizeof(name));
	for (;;) {
		s->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (s->lock < 0) {
			rc = -errno;
			return refuse(rc, err, errlen,
				      "%s: %s: choose a path in a directory that exists and that "
				      "you may write to",
				      name, strerror(-rc));
		}
		if (flock(s->lock, LOCK_EX | LOCK_NB)) {
			rc = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
			close(s->lock);
			if (rc == -EADDRINUSE)
				return refuse(rc, err, errlen,
					      "%s: another program serves there: stop it, or "
					      "choose another path",
					      s->path);
			return refuse(rc, err, errlen, "%s: it cannot be locked: %s", name,
				      strerror(-rc));
		}
		/* its last owner may have removed it after we had opened it */
		if (!fstat(s->lock, &held) && !stat(name, &there) && held.st_ino == there.st_ino &&
		    held.st_dev == there.st_dev)
			return 0;
		close(s->lock);
	}
}

/* Return: whether a program answers at the socket; -errno when that cannot be known */
static int is_served(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 1;
	close(fd);
	if (rc == -ECONNREFUSED || rc == -ENOENT)
		return 0;
	/* its backlog is full, or it is of another type: somebody is there */
	return rc == -EAGAIN || rc == -EPROTOTYPE ? 1 : rc;
}

static int remove_stale(struct rpc_socket *s, const struct sockaddr_un *addr, char *err,
			size_t errlen)
{
	struct stat st;
	int rc;

	if (lstat(s->path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return refuse(-EEXIST, err, errlen,
			      "%s: this is no socket: remove it, or choose another path", s->path);
	rc = is_served(addr);
	if (rc > 0)
		return refuse(-EADDRINUSE, err, errlen,
			      "%s: another program serves there: stop it, or choose another path",
			      s->path);
	if (rc == 0 && unlink(s->path) && errno != ENOENT)
		rc = -errno;
	return rc ? refuse(rc, err, errlen,
			   "%s: the socket that is there cannot be replaced: %s: choose another "
			   "path",
			   s->path, strerror(-rc))
		  : 0;
}

static int start_listening(struct rpc_socket *s, const struct sockaddr_un *addr, char *err,
			   size_t errlen)
{
	struct stat st;
	int rc;

	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* Linux gives the file the mode of the socket: it is never open to others, and the
	 * process's umask stays as it is */
	if (s->fd >= 0 && !fchmod(s->fd, 0600) &&
	    !bind(s->fd, (const struct sockaddr *)addr, sizeof(*addr))) {
		if (!lstat(s->path, &st) && !listen(s->fd, BACKLOG)) {
			s->dev = st.st_dev;
			s->ino = st.st_ino;
			return 0;
		}
		rc = -errno;
		unlink(s->path);
	} else {
		rc = -errno;
	}
	if (s->fd >= 0)
		close(s->fd);
	return refuse(rc, err, errlen, "%s: it cannot be listened at: %s: choose another path",
		      s->path, strerror(-rc));
}

int rpc_socket_open(struct rpc_socket *s, const char *path, char *err, size_t errlen)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char name[sizeof(s->path) + sizeof(".lock")];
	int rc;

	if (!*path)
		return refuse(-EINVAL, err, errlen, "the path of the socket is empty: give one");
	if (strlen(path) >= sizeof(addr.sun_path))
		return refuse(-ENAMETOOLONG, err, errlen,
			      "'%.32s...': a socket's path has at most %zu characters: choose a "
			      "shorter one",
			      path, sizeof(addr.sun_path) - 1);
	strcpy(s->path, path);
	strcpy(addr.sun_path, path);
	rc = take_lock(s, err, errlen);
	if (rc)
		return rc;
	rc = remove_stale(s, &addr, err, errlen);
	if (!rc)
		rc = start_listening(s, &addr, err, errlen);
	if (rc) {
		lock_name(s, name, sizeof(name));
		unlink(name);
		close(s->lock);
	}
	return rc;
}

void rpc_socket_close(struct rpc_socket *s)
{
	char name[sizeof(s->path) + sizeof(".lock")];
	struct stat st;

	if (!lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->fd);
	/* last: until here nobody else may take the path */
	lock_name(s, name, sizeof(name));
	unlink(name);
	close(s->lock);
}
