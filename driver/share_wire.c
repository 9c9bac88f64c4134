/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/share_wire.c - messages between the processes of a shared controller
 */
#include "core/msg_fds.h"
#include "driver/share.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_ERRNO 4095
#define MAX_FDS	  4 /* room for more than the one there may be, so that all can be closed */

/* ---- what they have to be like ---- */

static const struct {
	const char *name;
	size_t len;
	unsigned fds;
} requests[SHARE_TYPES] = {
	[SHARE_HELLO] = { "HELLO", sizeof(struct share_hello), 0 },
	[SHARE_MAP] = { "MAP", sizeof(struct share_map), 1 },
	[SHARE_WHERE] = { "WHERE", sizeof(struct share_region), 0 },
	[SHARE_UNMAP] = { "UNMAP", sizeof(struct share_region), 0 },
	[SHARE_QUEUE] = { "QUEUE", sizeof(struct share_qid), 0 },
	[SHARE_ENABLE] = { "ENABLE", sizeof(struct share_hdr), 0 },
	[SHARE_DISABLE] = { "DISABLE", sizeof(struct share_hdr), 0 },
	[SHARE_ADMIN] = { "ADMIN", sizeof(struct share_admin), 0 },
};

#define wrong(...) (snprintf(err, errlen, __VA_ARGS__), -EPROTO)

int share_check_request(const union share_msg *m, size_t len, unsigned nfds, char *err,
			size_t errlen)
{
	uint32_t type;

	if (len < sizeof(m->h))
		return wrong("sent a message of %zu bytes, shorter than a header", len);
	type = m->h.type;
	if (type >= SHARE_TYPES || !requests[type].len)
		return wrong("sent a message of unknown type %u", type);
	if (len != requests[type].len)
		return wrong("sent %s with %zu bytes instead of %zu", requests[type].name, len,
			     requests[type].len);
	if (nfds != requests[type].fds)
		return wrong("sent %s with %u files instead of %u", requests[type].name, nfds,
			     requests[type].fds);
	switch (type) {
	case SHARE_HELLO:
		if (m->hello.magic != SHARE_MAGIC)
			return wrong("sent HELLO with %08xh instead of %08xh", m->hello.magic,
				     SHARE_MAGIC);
		break;
	case SHARE_MAP:
		if (!m->map.len || m->map.len % PLX_PAGE_SIZE || m->map.offset % PLX_PAGE_SIZE ||
		    m->map.offset > INT64_MAX || m->map.len > INT64_MAX - m->map.offset)
			return wrong("sent MAP of %llxh bytes at %llxh, which are no whole pages "
				     "of a file",
				     (unsigned long long)m->map.len,
				     (unsigned long long)m->map.offset);
		break;
	case SHARE_WHERE:
	case SHARE_UNMAP:
		if (m->region.id >= SHARE_MAX_MEMS)
			return wrong("sent %s of region %u", requests[type].name, m->region.id);
		break;
	case SHARE_QUEUE:
		if (!m->qid.qid || m->qid.qid > NVME_MAX_QPAIRS)
			return wrong("sent QUEUE for queue %u", m->qid.qid);
		break;
	}
	return 0;
}

/* The answer to HELLO, or a refusal of it */
static int check_hello_answer(const union share_msg *m, size_t len, unsigned nfds, char *err,
			      size_t errlen)
{
	const struct share_welcome *w = &m->welcome;

	if (m->h.rc < 0) {
		if (len != sizeof(m->text) || nfds ||
		    !memchr(m->text.text, 0, sizeof(m->text.text)))
			return wrong("refused HELLO with %zu bytes", len);
		return 0;
	}
	if (len != sizeof(*w) || nfds != 1)
		return wrong("answered HELLO with %zu bytes and %u files", len, nfds);
	if (w->bar_offset % PLX_PAGE_SIZE || w->bar_len % PLX_PAGE_SIZE ||
	    w->bar_len < 2 * PLX_PAGE_SIZE || w->bar_len > 1ull << 40 || w->bar_offset > INT64_MAX)
		return wrong("answered HELLO with a BAR of %llxh bytes at %llxh",
			     (unsigned long long)w->bar_len, (unsigned long long)w->bar_offset);
	if (!w->queues || w->queues > NVME_MAX_QPAIRS)
		return wrong("answered HELLO with %u queue pairs", w->queues);
	return 0;
}

static int check_mapped(const struct share_mapped *m, size_t len, char *err, size_t errlen)
{
	if (len < offsetof(struct share_mapped, extent) || m->n > SHARE_EXTENTS ||
	    len != offsetof(struct share_mapped, extent) + m->n * sizeof(m->extent[0]))
		return wrong("answered MAP with %zu bytes", len);
	if (!m->h.rc && (!m->n || m->id >= SHARE_MAX_MEMS))
		return wrong("answered MAP with region %u of %u pieces", m->id, m->n);
	for (uint32_t i = 0; i < m->n; i++)
		if (!m->extent[i].len || m->extent[i].len % PLX_PAGE_SIZE ||
		    m->extent[i].iova % PLX_PAGE_SIZE)
			return wrong("answered MAP with a piece of %llxh bytes at %llxh",
				     (unsigned long long)m->extent[i].len,
				     (unsigned long long)m->extent[i].iova);
	return 0;
}

int share_check_answer(const union share_msg *m, size_t len, unsigned nfds, char *err,
		       size_t errlen)
{
	size_t want = sizeof(m->h);

	if (len < sizeof(m->h))
		return wrong("sent a message of %zu bytes, shorter than a header", len);
	if (m->h.rc > 0 || m->h.rc < -MAX_ERRNO)
		return wrong("sent a message of type %u with error %d", m->h.type, m->h.rc);
	if (m->h.type == SHARE_HELLO)
		return check_hello_answer(m, len, nfds, err, errlen);
	if (nfds)
		return wrong("sent %u files with a message of type %u", nfds, m->h.type);
	switch (m->h.type) {
	case SHARE_MAP:
	case SHARE_WHERE:
		return check_mapped(&m->mapped, len, err, errlen);
	case SHARE_UNMAP:
	case SHARE_ENABLE:
	case SHARE_DISABLE:
	case SHARE_RESET:
	case SHARE_QUIET:
		break;
	case SHARE_QUEUE:
		want = sizeof(m->qid);
		break;
	case SHARE_CPL:
		want = sizeof(m->cpl);
		break;
	case SHARE_GONE:
		want = sizeof(m->text);
		break;
	default:
		return wrong("sent a message of unknown type %u", m->h.type);
	}
	if (len != want)
		return wrong("sent a message of type %u with %zu bytes instead of %zu", m->h.type,
			     len, want);
	if (m->h.type == SHARE_GONE && !memchr(m->text.text, 0, sizeof(m->text.text)))
		return wrong("sent GONE with a text that does not end");
	if (m->h.type == SHARE_QUEUE && !m->h.rc && (!m->qid.real || m->qid.real > NVME_MAX_QPAIRS))
		return wrong("answered QUEUE with queue %u", m->qid.real);
	return 0;
}

const char *share_map_text(int rc)
{
	switch (rc) {
	case -EMEDIUMTYPE:
		return "its file is no memory (memfd, tmpfs or hugetlbfs)";
	case -ENXIO:
		return "its file is shorter";
	case -ENODATA:
		return "its file has holes: fill it first";
	}
	return strerror(-rc);
}

/* ---- the socket ---- */

int share_send(int fd, const void *m, size_t len, int file)
{
	plx_msg_room(1) control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)m, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (file >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		plx_msg_put_fd(&msg, file);
	}
	while (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* @file: the one there may be; -1: none, or several, which are closed. Return: whether all of them
 * came */
static bool take_files(struct msghdr *msg, int *file, unsigned *nfds)
{
	int fds[MAX_FDS];
	bool fits;

	*nfds = plx_msg_take_fds(msg, fds, 0, MAX_FDS, &fits);
	*file = *nfds == 1 ? fds[0] : -1;
	for (unsigned i = 0; *nfds > 1 && i < *nfds; i++)
		close(fds[i]);
	return fits;
}

ssize_t share_recv(int fd, union share_msg *m, int *file, unsigned *nfds)
{
	plx_msg_room(MAX_FDS) control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	unsigned reset = 0;
	bool fits;
	ssize_t n;

	/* one that hung up without having read all is told of first, once; what it sent before is
	 * still there */
	do {
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		reset += n < 0 && errno == ECONNRESET;
	} while (n < 0 && (errno == EINTR || (errno == ECONNRESET && reset < 2)));
	if (n < 0) {
		*file = -1;
		*nfds = 0;
		return errno == ECONNRESET ? 0 : -errno;
	}
	fits = take_files(&msg, file, nfds);
	/* an empty message is the end for whoever reads it, and nobody takes a file from that */
	if (!n && *file >= 0) {
		close(*file);
		*file = -1;
		*nfds = 0;
	}
	/* too many files, or more bytes than any message has: of no message there is */
	if (!fits)
		*nfds = MAX_FDS + 1;
	if (msg.msg_flags & MSG_TRUNC)
		n = sizeof(*m) + 1;
	return n;
}
