/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_msg.c - vfio-user messages and their file descriptors, in and out
 *
 * A message is read header first and then exactly to its end, so that file descriptors, which come
 * with some byte of it, are never taken for those of the next. Whatever breaks the framing ends the
 * connection: there is no way to find the next message.
 */
#include "core/msg_fds.h"
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void vu_msg_free(struct vu_msg *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->nfds; i++) {
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	}
	free(m->data);
	free(m);
}

void vu_msg_purge(struct vu_conn *c)
{
	struct vu_msg *m;
	struct vu_tx *t;

	vu_msg_free(c->rx);
	c->rx = NULL;
	while ((m = STAILQ_FIRST(&c->held))) {
		STAILQ_REMOVE_HEAD(&c->held, link);
		vu_msg_free(m);
	}
	c->nheld = c->held_bytes = 0;
	while ((t = STAILQ_FIRST(&c->tx))) {
		STAILQ_REMOVE_HEAD(&c->tx, link);
		free(t);
	}
	c->tx_bytes = 0;
}

/* ---- in ---- */

/* Return: NULL, or what is wrong */
static const char *take_fds(struct vu_msg *m, struct msghdr *h)
{
	bool fits;

	m->nfds = plx_msg_take_fds(h, m->fds, m->nfds, VU_MAX_FDS, &fits);
	return fits ? NULL : "more file descriptors than a message takes";
}

static const char *header_wrong(const struct vu_conn *c, const struct vfio_user_hdr *h)
{
	uint32_t type = h->flags & VFIO_USER_TYPE_MASK;

	if (h->size < sizeof *h || h->size > VU_MAX_MSG)
		return "message size out of range";
	if (type != VFIO_USER_TYPE_COMMAND && type != VFIO_USER_TYPE_REPLY)
		return "message is neither command nor reply";
	if (!c->negotiated &&
	    (type != VFIO_USER_TYPE_COMMAND ||
	     (h->command == VFIO_USER_VERSION && h->size > sizeof *h + 4 + VU_MAX_VERSION)))
		return "no proper VERSION message to begin with";
	return NULL;
}

/* Memory for the payload: what the header promises, but no more at once than what came */
static bool grow(struct vu_msg *m, uint32_t want)
{
	uint32_t room = want < 65536 ? want : 65536;
	uint8_t *p;

	if (room < 2 * m->room)
		room = want < 2 * m->room ? want : 2 * m->room;
	p = realloc(m->data, room);
	if (!p)
		return false;
	m->data = p;
	m->room = room;
	return true;
}

/*
 * Return: 1 message complete; 0 no more for now; -1 gone or broken, the connection is being dropped
 */
static int receive(struct vu_conn *c, struct vu_msg *m)
{
	plx_msg_room(VU_MAX_FDS) control;
	const char *wrong;

	for (;;) {
		bool in_header = m->got < sizeof m->hdr;
		uint32_t done = in_header ? m->got : m->got - (uint32_t)sizeof m->hdr;
		struct iovec iov;
		struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf };
		ssize_t n;

		if (!in_header && done == m->len)
			return 1;
		if (!in_header && done == m->room && !grow(m, m->len)) {
			vu_conn_drop(c, "out of memory for its message");
			return -1;
		}
		iov.iov_base = in_header ? (uint8_t *)&m->hdr + done : m->data + done;
		iov.iov_len = (in_header ? sizeof m->hdr : m->room) - done;
		h.msg_controllen = sizeof control.buf;
		n = recvmsg(c->fd, &h, MSG_CMSG_CLOEXEC);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0) {
			vu_conn_drop(c, m->got ? "it left in the middle of a message" : NULL);
			return -1;
		}
		wrong = take_fds(m, &h);
		m->got += (uint32_t)n;
		if (!wrong && in_header && m->got == sizeof m->hdr) {
			wrong = header_wrong(c, &m->hdr);
			m->len = m->hdr.size - (uint32_t)sizeof m->hdr;
		}
		if (wrong) {
			vu_conn_drop(c, wrong);
			return -1;
		}
	}
}

static void handle(struct vu_conn *c, struct vu_msg *m)
{
	c->v->stats.messages++;
	if ((m->hdr.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY) {
		if (!vu_remote_reply(c, m))
			c->v->stats.rejected++; /* to nothing that we asked */
	} else if (c->busy) {
		STAILQ_INSERT_TAIL(&c->held, m, link);
		c->nheld++;
		c->held_bytes += m->len;
		return;
	} else {
		vu_command(c, m);
	}
	vu_msg_free(m);
}

int vu_rx(struct vu_conn *c)
{
	int done = 0;

	/* a client that sends more than it reads, or than one command at a time lets us do, waits:
	 * in its own socket */
	while (!c->closing && done < (int)VU_TURN_MSGS && c->nheld < VU_MAX_HELD &&
	       c->held_bytes < VU_MAX_HELD_BYTES && c->tx_bytes < VU_MAX_TX) {
		struct vu_msg *m = c->rx;

		if (!m) {
			m = malloc(sizeof *m);
			if (!m)
				break;
			memset(m, 0, offsetof(struct vu_msg, fds));
			c->rx = m;
		}
		if (receive(c, m) <= 0)
			break;
		c->rx = NULL;
		handle(c, m);
		done++;
	}
	if (!c->closing && vu_tx_flush(c))
		vu_conn_drop(c, NULL);
	return done;
}

void vu_held_run(struct vu_conn *c)
{
	struct vu_msg *m;

	while (!c->closing && !c->busy && (m = STAILQ_FIRST(&c->held))) {
		STAILQ_REMOVE_HEAD(&c->held, link);
		c->nheld--;
		c->held_bytes -= m->len;
		vu_command(c, m);
		vu_msg_free(m);
	}
}

/* ---- out ---- */

static ssize_t send_some(int sock, struct vu_tx *t)
{
	plx_msg_room(1) control = { 0 };
	struct iovec iov = { t->data + t->sent, t->len - t->sent };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (t->fd >= 0 && !t->sent) {
		h.msg_control = control.buf;
		h.msg_controllen = sizeof control.buf;
		plx_msg_put_fd(&h, t->fd);
	}
	return sendmsg(sock, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int vu_tx_flush(struct vu_conn *c)
{
	struct vu_tx *t;

	while ((t = STAILQ_FIRST(&c->tx))) {
		ssize_t n = send_some(c->fd, t);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : -errno;
		t->sent += (uint32_t)n;
		if (t->sent < t->len)
			return 0;
		STAILQ_REMOVE_HEAD(&c->tx, link);
		c->tx_bytes -= t->len;
		free(t);
	}
	return 0;
}

void *vu_send(struct vu_conn *c, const struct vfio_user_hdr *hdr, uint32_t len, int fd)
{
	uint32_t size = (uint32_t)sizeof *hdr + len;
	struct vu_tx *t = calloc(1, sizeof *t + size);
	struct vfio_user_hdr *h;

	if (!t) {
		vu_conn_drop(c, "out of memory for a message to it");
		return NULL;
	}
	t->len = size;
	t->fd = fd;
	h = (struct vfio_user_hdr *)t->data;
	*h = *hdr;
	h->size = size;
	STAILQ_INSERT_TAIL(&c->tx, t, link);
	c->tx_bytes += size;
	return t->data + sizeof *h;
}

void *vu_reply(struct vu_conn *c, const struct vfio_user_hdr *to, uint32_t len, int fd)
{
	struct vfio_user_hdr h = { .id = to->id,
				   .command = to->command,
				   .flags = VFIO_USER_TYPE_REPLY };

	return to->flags & VFIO_USER_NO_REPLY ? NULL : vu_send(c, &h, len, fd);
}

void vu_reply_error(struct vu_conn *c, const struct vfio_user_hdr *to, int err)
{
	struct vfio_user_hdr h = { .id = to->id,
				   .command = to->command,
				   .flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR,
				   .error = (uint32_t)err };

	c->v->stats.rejected++;
	if (!(to->flags & VFIO_USER_NO_REPLY))
		vu_send(c, &h, 0, -1);
}
