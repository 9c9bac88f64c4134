/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/vfio_user_sock.c - the connection to a vfio-user server
 *
 * The server's own requests may arrive at any time, between a request of ours and its reply too:
 * whoever waits serves them. A server may block while it sends to us, so while we send and cannot
 * go on, the message that is arriving is taken in; it is acted upon once ours is out.
 */
#include "core/msg_fds.h"
#include "driver/transport/vfio_user.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SERVE_BATCH 64 /* messages taken in one look at the socket */

/* ---- connecting ---- */

#define path_fail(rc, ...) (nvme_log(ERR, "controller '%s' " __VA_ARGS__), (rc))

/* @path is the socket, or the directory that holds it. */
static int socket_address(const char *path, struct sockaddr_un *sa)
{
	struct stat st;
	int n;

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (stat(path, &st))
		return path_fail(-errno,
				 "cannot be reached: traddr names no directory: %s: give the one "
				 "that the target serves it in",
				 path, strerror(errno));
	if (!S_ISDIR(st.st_mode) && !S_ISSOCK(st.st_mode))
		return path_fail(-ENOTSOCK,
				 "cannot be reached: traddr is neither a directory nor a socket: "
				 "give the directory that the target serves it in",
				 path);
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "%s%s", path,
		     S_ISDIR(st.st_mode) ? "/" VFIO_USER_SOCKET : "");
	if ((size_t)n >= sizeof(sa->sun_path))
		return path_fail(-ENAMETOOLONG,
				 "cannot be reached: the path of a socket has at most %zu "
				 "characters, and this one %d: use a shorter directory",
				 path, sizeof(sa->sun_path) - 1, n);
	return 0;
}

static int connect_failed(const char *path, const struct sockaddr_un *sa, int err)
{
	switch (err) {
	case ENOENT:
		return path_fail(-err,
				 "cannot be reached: there is no socket %s: start the target, or "
				 "give the directory that it serves it in",
				 path, sa->sun_path);
	case ECONNREFUSED:
		return path_fail(-err, "cannot be reached: nobody serves %s: start the target",
				 path, sa->sun_path);
	case EAGAIN:
		return path_fail(-EBUSY,
				 "cannot be reached: %s accepts no connection within %u ms: it may "
				 "be serving another client, which has to end first",
				 path, sa->sun_path, VFU_CONNECT_MS);
	default:
		return path_fail(-err, "cannot be reached: connecting to %s: %s", path,
				 sa->sun_path, strerror(err));
	}
}

int vfu_connect(const char *path)
{
	uint64_t deadline = plx_tsc() + VFU_CONNECT_MS * (plx_tsc_hz() / 1000);
	struct timespec pause = { .tv_nsec = 10000000 };
	struct sockaddr_un sa;
	int fd, err, rc = socket_address(path, &sa);

	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return path_fail(-errno, "cannot be reached: no socket: %s", path, strerror(errno));
	/* EAGAIN: more clients wait than the server's queue holds; poll() would not tell when that
	 * ends */
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		err = errno;
		if (err == EINTR || (err == EAGAIN && plx_tsc() < deadline)) {
			nanosleep(&pause, NULL);
			continue;
		}
		close(fd);
		return connect_failed(path, &sa, err);
	}
	return fd;
}

/* ---- the end ---- */

void vfu_close_fds(int *fds, uint32_t *n)
{
	while (*n)
		close(fds[--*n]);
}

static void rx_drop(struct vfu *v)
{
	vfu_close_fds(v->rx_fds, &v->rx_nfds);
	v->rx_have = 0;
}

void vfu_close_socket(struct vfu *v)
{
	rx_drop(v);
	close(v->fd);
}

int vfu_gone(struct vfu *v, int err, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (atomic_load(&v->gone))
		return v->err;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	nvme_log(ERR, "controller '%s': its vfio-user server %s%s", v->path, text,
		 v->hint && err != -EPROTO ? v->hint : "");
	v->err = err;
	atomic_store(&v->gone, true);
	/* the server learns at once; the descriptor lives until close, for whoever waits on it */
	shutdown(v->fd, SHUT_RDWR);
	rx_drop(v);
	v->nposted = 0;
	return err;
}

static int gone_errno(struct vfu *v, int err, const char *doing)
{
	if (err == EPIPE || err == ECONNRESET)
		return vfu_gone(v, -ECONNRESET, "closed the connection");
	return vfu_gone(v, -err, "cannot be %s: %s", doing, strerror(err));
}

/* ---- receiving ---- */

static const struct vfio_user_hdr *rx_hdr(const struct vfu *v)
{
	return (const struct vfio_user_hdr *)v->rx;
}

static bool rx_complete(const struct vfu *v)
{
	return v->rx_have >= sizeof(struct vfio_user_hdr) && v->rx_have == rx_hdr(v)->size;
}

static int rx_take_fds(struct vfu *v, struct msghdr *msg)
{
	bool fits;

	v->rx_nfds = plx_msg_take_fds(msg, v->rx_fds, v->rx_nfds, VFU_MAX_FDS, &fits);
	if (fits)
		return 0;
	return vfu_gone(v, -EPROTO, "sent more file descriptors than the %u of a message agreed on",
			VFU_MAX_FDS);
}

/* Take in what is there of one message. Return: 1 it is whole; 0 more is to come; -errno gone */
static int rx_fill(struct vfu *v)
{
	while (!rx_complete(v)) {
		plx_msg_room(VFU_MAX_FDS) control;
		size_t want = v->rx_have < sizeof(struct vfio_user_hdr)
				      ? sizeof(struct vfio_user_hdr)
				      : rx_hdr(v)->size;
		struct iovec iov = { v->rx + v->rx_have, want - v->rx_have };
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control.buf,
				      .msg_controllen = sizeof(control.buf) };
		ssize_t n = recvmsg(v->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		char err[160];

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return gone_errno(v, errno, "heard");
		if (rx_take_fds(v, &msg))
			return v->err;
		if (!n)
			return vfu_gone(v, -ECONNRESET, "closed the connection");
		v->rx_have += (size_t)n;
		v->heard_tsc = plx_tsc();
		if (v->rx_have == sizeof(struct vfio_user_hdr) &&
		    vfu_parse_header(rx_hdr(v), err, sizeof(err)))
			return vfu_gone(v, -EPROTO, "%s", err);
	}
	return 1;
}

/* ---- patience ---- */

/*
 * The time in which the server had a chance, as far as this process can tell: what passes between
 * two looks counts as VFU_LOOK_MS at most. Who was stopped, or got no processor, on a machine that
 * may be as slow for the server, does not blame the server for it.
 */
static uint64_t clock_at(struct vfu *v, uint64_t now)
{
	uint64_t passed = now - v->look_tsc, most = VFU_LOOK_MS * v->tsc_ms;

	/* @now may have been taken before another thread looked */
	if ((int64_t)passed <= 0)
		return v->clock;
	v->clock += passed < most ? passed : most;
	v->look_tsc = now;
	return v->clock;
}

static struct vfu_wait wait_begin(struct vfu *v, uint16_t id, const char *what, uint32_t ms)
{
	uint64_t now = plx_tsc();

	return (struct vfu_wait){
		.id = id, .what = what, .ms = ms, .clock = clock_at(v, now), .tsc = now
	};
}

static unsigned long long ms_since(const struct vfu *v, uint64_t tsc)
{
	return (plx_tsc() - tsc) / v->tsc_ms;
}

/* What there is to know of a silence */
static const char *describe(const struct vfu *v, const struct vfu_wait *w, char *buf, size_t len)
{
	snprintf(
		buf, len,
		"(message %u: %s; asked %llu ms ago, last heard of %llu ms ago, %u posted messages "
		"unanswered, %zu bytes of one received)",
		w->id, w->what, ms_since(v, w->tsc), ms_since(v, v->heard_tsc), v->nposted,
		v->rx_have);
	return buf;
}

/* Return: whether the time is up, with one warning on the way there */
static bool wait_over(struct vfu *v, struct vfu_wait *w, uint64_t now)
{
	uint64_t waited = clock_at(v, now) - w->clock;
	char text[256];

	if (waited > w->ms * v->tsc_ms)
		return true;
	if (!w->warned && waited > VFU_WARN_MS * v->tsc_ms) {
		w->warned = true;
		nvme_log(
			WARN,
			"controller '%s': its vfio-user server has not answered for %u ms, waiting "
			"for up to %u ms: is it running? %s",
			v->path, VFU_WARN_MS, w->ms, describe(v, w, text, sizeof(text)));
	}
	return false;
}

static int wait_failed(struct vfu *v, const struct vfu_wait *w, const char *doing)
{
	char text[256];

	return vfu_gone(v, -ETIMEDOUT, "has %s for %u ms %s", doing, w->ms,
			describe(v, w, text, sizeof(text)));
}

/* Until there is something, or for a moment. Return: -ETIMEDOUT once @w is over; -errno; revents */
static int wait_for(struct vfu *v, short events, struct vfu_wait *w)
{
	struct pollfd p = { .fd = v->fd, .events = events };
	uint32_t ms = w->ms < VFU_LOOK_MS / 2 ? w->ms : VFU_LOOK_MS / 2;

	if (wait_over(v, w, plx_tsc()))
		return -ETIMEDOUT;
	if (poll(&p, 1, (int)ms) < 0 && errno != EINTR)
		return -errno;
	return p.revents;
}

/* ---- sending ---- */

static void skip(struct iovec **iov, int *n, size_t done)
{
	while (*n && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

/* The descriptor goes with the first byte. */
static ssize_t tx_some(struct vfu *v, struct iovec *iov, int n, int fd)
{
	plx_msg_room(1) control = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)n };

	if (fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		plx_msg_put_fd(&msg, fd);
	}
	return sendmsg(v->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int tx(struct vfu *v, struct iovec *iov, int n, int fd, const char *what)
{
	const struct vfio_user_hdr *h = iov->iov_base;
	struct vfu_wait w = wait_begin(v, h->id, what, VFU_REPLY_MS);

	skip(&iov, &n, 0);
	while (n) {
		ssize_t done = tx_some(v, iov, n, fd);
		int rc;

		if (done > 0) {
			skip(&iov, &n, (size_t)done);
			fd = -1;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return gone_errno(v, errno, "reached");
		rc = wait_for(v, rx_complete(v) ? POLLOUT : POLLOUT | POLLIN, &w);
		if (rc == -ETIMEDOUT)
			return wait_failed(v, &w, "taken no message");
		if (rc < 0)
			return gone_errno(v, -rc, "reached");
		if (!rx_complete(v) && rx_fill(v) < 0)
			return v->err;
	}
	return 0;
}

static int tx_call(struct vfu *v, const struct vfu_call *call, uint16_t *id)
{
	struct vfio_user_hdr h = {
		.id = ++v->last_id,
		.command = call->command,
		.size = (uint32_t)(sizeof(h) + call->head_len + call->data_len),
	};
	struct iovec iov[3] = { { &h, sizeof(h) },
				{ (void *)call->head, call->head_len },
				{ (void *)call->data, call->data_len } };

	*id = h.id;
	return tx(v, iov, 3, call->fd, call->what);
}

/* ---- the server's requests ---- */

bool vfu_reachable(const struct vfu *v, uint64_t address, uint64_t count)
{
	/* maps are sorted; what meets in addresses is one piece of memory */
	for (uint32_t i = 0; i < v->nmaps && count; i++) {
		const struct vfu_map *m = &v->maps[i];
		uint64_t n;

		if (address < m->iova || address - m->iova >= m->len)
			continue;
		n = m->len - (address - m->iova);
		if (n >= count)
			return true;
		address += n;
		count -= n;
	}
	return !count;
}

static void warn_refused(struct vfu *v, const char *what, uint64_t address, uint64_t count,
			 const char *why)
{
	if (v->warnings++ < VFU_MAX_WARNINGS)
		nvme_log(WARN, "controller '%s': refused its %s of %llu bytes at %llxh: %s",
			 v->path, what, (unsigned long long)count, (unsigned long long)address,
			 why);
}

/*
 * As a device on a bus writes: ascending, so that another thread that finds the phase bit of a
 * completion finds its first half written, too. memcpy() promises no order.
 */
static void write_in_order(uint64_t address, const unsigned char *data, uint64_t count)
{
	uint64_t word;
	uint16_t half;

	while (count) {
		unsigned n = count >= 8 && !(address % 8)   ? 8
			     : count >= 2 && !(address % 2) ? 2
							    : 1;

		if (n == 8) {
			memcpy(&word, data, 8);
			__atomic_store_n((uint64_t *)(uintptr_t)address, word, __ATOMIC_RELEASE);
		} else if (n == 2) {
			memcpy(&half, data, 2);
			__atomic_store_n((uint16_t *)(uintptr_t)address, half, __ATOMIC_RELEASE);
		} else {
			__atomic_store_n((uint8_t *)(uintptr_t)address, *data, __ATOMIC_RELEASE);
		}
		address += n;
		data += n;
		count -= n;
	}
}

/* "VFIO_USER_DMA_READ", "VFIO_USER_DMA_WRITE". Return: an errno for the reply; 0, with a DMA_WRITE
 * carried out */
static uint32_t dma_request(struct vfu *v, const struct vfio_user_hdr *h,
			    struct vfio_user_dma_rw *rw)
{
	const char *what = h->command == VFIO_USER_DMA_READ ? "DMA_READ" : "DMA_WRITE";
	size_t len = h->size - sizeof(*h);

	if (len < sizeof(*rw)) {
		warn_refused(v, what, 0, 0, "the message is too short");
		return EINVAL;
	}
	memcpy(rw, v->rx + sizeof(*h), sizeof(*rw));
	len -= sizeof(*rw);
	if (rw->count > VFU_MAX_XFER) {
		warn_refused(v, what, rw->address, rw->count, "more than max_data_xfer_size");
		return EINVAL;
	}
	if (h->command == VFIO_USER_DMA_WRITE && len < rw->count) {
		warn_refused(v, what, rw->address, rw->count, "the message carries less");
		return EINVAL;
	}
	if (!vfu_reachable(v, rw->address, rw->count)) {
		warn_refused(v, what, rw->address, rw->count, "not mapped for it");
		return EFAULT;
	}
	if (h->command == VFIO_USER_DMA_WRITE)
		write_in_order(rw->address, v->rx + sizeof(*h) + sizeof(*rw), rw->count);
	return 0;
}

/* The request that has arrived in full. */
static int serve_request(struct vfu *v)
{
	struct vfio_user_hdr h = *rx_hdr(v);
	struct vfio_user_dma_rw rw = { 0 };
	struct iovec iov[3] = { { &h, sizeof(h) } };
	uint32_t error = ENOTSUP;
	int n = 1;

	if (h.command == VFIO_USER_DMA_READ || h.command == VFIO_USER_DMA_WRITE) {
		error = dma_request(v, &h, &rw);
		v->dma_tsc = plx_tsc();
		atomic_store_explicit(&v->base.wants_poll, true, memory_order_relaxed);
	} else if (v->warnings++ < VFU_MAX_WARNINGS) {
		nvme_log(WARN, "controller '%s': its vfio-user server asks for command %u: refused",
			 v->path, h.command);
	}
	rx_drop(v);
	if (h.flags & VFIO_USER_NO_REPLY)
		return 0;
	if (!error) {
		iov[n++] = (struct iovec){ &rw, sizeof(rw) };
		if (h.command == VFIO_USER_DMA_READ)
			iov[n++] = (struct iovec){ (void *)(uintptr_t)rw.address, rw.count };
	}
	h.flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0);
	h.error = error;
	h.size = 0;
	for (int i = 0; i < n; i++)
		h.size += (uint32_t)iov[i].iov_len;
	return tx(v, iov, n, -1, "the answer to its request");
}

/* ---- replies ---- */

/* "It may be zero even if the Error bit is set" */
static int reply_error(const struct vfio_user_hdr *h)
{
	if (!(h->flags & VFIO_USER_ERROR))
		return 0;
	return h->error && h->error < 4096 ? -(int)h->error : -EIO;
}

static void take_watched(struct vfu *v, const struct vfio_user_hdr *h)
{
	size_t need = sizeof(*h) + sizeof(struct vfio_user_region_rw) + sizeof(v->watch_value);

	v->watch_value = UINT32_MAX;
	if (!reply_error(h) && h->size >= need)
		memcpy(&v->watch_value, v->rx + need - sizeof(v->watch_value),
		       sizeof(v->watch_value));
	v->watch_known = true;
}

/* The reply that has arrived in full is to a posted request, or to none. */
static int take_posted(struct vfu *v)
{
	const struct vfio_user_hdr *h = rx_hdr(v);
	struct vfu_posted *p = v->posted;
	int rc = reply_error(h);

	while (p < &v->posted[v->nposted] && (p->id != h->id || p->command != h->command))
		p++;
	if (p == &v->posted[v->nposted])
		return vfu_gone(v, -EPROTO,
				"answered message %u, command %u: it was not asked that", h->id,
				h->command);
	if (p->kind == VFU_POSTED_WATCH)
		take_watched(v, h);
	else if (rc && p->kind == VFU_POSTED_WRITE && v->warnings++ < VFU_MAX_WARNINGS)
		nvme_log(WARN, "controller '%s': its vfio-user server refused a doorbell: %s",
			 v->path, strerror(-rc));
	v->nposted--;
	memmove(p, p + 1, (size_t)(&v->posted[v->nposted] - p) * sizeof(*p));
	rx_drop(v);
	return 0;
}

/* What has arrived in full and is not what a caller waits for. */
static int dispatch(struct vfu *v)
{
	if ((rx_hdr(v)->flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND)
		return serve_request(v);
	return take_posted(v);
}

static int rx_wait(struct vfu *v, struct vfu_wait *w)
{
	int rc;

	while (!(rc = rx_fill(v))) {
		rc = wait_for(v, POLLIN, w);
		if (rc == -ETIMEDOUT)
			return wait_failed(v, w, "not answered");
		if (rc < 0)
			return gone_errno(v, -rc, "heard");
	}
	return rc < 0 ? rc : 0;
}

static bool is_reply_to(const struct vfu *v, uint16_t id, uint16_t command)
{
	const struct vfio_user_hdr *h = rx_hdr(v);

	return (h->flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY && h->id == id &&
	       h->command == command;
}

static void take_reply(struct vfu *v, struct vfu_call *call)
{
	size_t len = rx_hdr(v)->size - sizeof(struct vfio_user_hdr);

	call->reply_len = len < call->reply_cap ? len : call->reply_cap;
	if (call->reply_len)
		memcpy(call->reply, v->rx + sizeof(struct vfio_user_hdr), call->reply_len);
	if (call->fds) {
		memcpy(call->fds, v->rx_fds, v->rx_nfds * sizeof(*call->fds));
		call->nfds = v->rx_nfds;
		v->rx_nfds = 0;
	}
}

/* The same thing again (a register that is polled) is said once */
static void log_refused(struct vfu *v, const struct vfu_call *call, int err)
{
	if (call->quiet || v->refused == call->what)
		return;
	v->refused = call->what;
	nvme_log(ERR, "controller '%s': its vfio-user server refused %s: %s", v->path, call->what,
		 strerror(-err));
}

static int call_locked(struct vfu *v, struct vfu_call *call)
{
	uint32_t ms = call->timeout_ms ? call->timeout_ms : VFU_REPLY_MS;
	struct vfu_wait w;
	unsigned late = 0;
	uint16_t id;
	int rc;

	call->nfds = 0;
	call->reply_len = 0;
	if (atomic_load(&v->gone))
		return v->err;
	/* what the watch has asked before may tell of a state that this call ends */
	v->watch_known = false;
	for (uint32_t i = 0; i < v->nposted; i++)
		if (v->posted[i].kind == VFU_POSTED_WATCH)
			v->posted[i].kind = VFU_POSTED_STALE;
	rc = tx_call(v, call, &id);
	w = wait_begin(v, id, call->what, ms);
	while (!rc) {
		rc = rx_wait(v, &w);
		if (!rc && is_reply_to(v, id, call->command))
			break;
		if (!rc)
			rc = dispatch(v);
		/* requests of its own without end are no answer */
		if (!rc && wait_over(v, &w, plx_tsc()) && ++late > SERVE_BATCH)
			rc = wait_failed(v, &w, "not answered");
	}
	if (rc)
		return rc;
	rc = reply_error(rx_hdr(v));
	if (!rc)
		take_reply(v, call);
	else
		log_refused(v, call, rc);
	rx_drop(v);
	return rc;
}

int vfu_call(struct vfu *v, struct vfu_call *call)
{
	int rc;

	pthread_mutex_lock(&v->lock);
	rc = call_locked(v, call);
	pthread_mutex_unlock(&v->lock);
	return rc;
}

static void post_locked(struct vfu *v, const struct vfu_call *call, enum vfu_posted_kind kind)
{
	uint16_t id;

	while (v->nposted == VFU_MAX_POSTED)
		if (rx_wait(v, &v->posted[0].wait) || dispatch(v))
			return;
	if (atomic_load(&v->gone) || tx_call(v, call, &id))
		return;
	v->posted[v->nposted++] =
		(struct vfu_posted){ id, call->command, kind,
				     wait_begin(v, id, call->what, VFU_REPLY_MS) };
}

void vfu_post(struct vfu *v, const struct vfu_call *call)
{
	pthread_mutex_lock(&v->lock);
	post_locked(v, call, VFU_POSTED_WRITE);
	pthread_mutex_unlock(&v->lock);
}

bool vfu_watch(struct vfu *v, uint32_t *csts)
{
	struct vfio_user_region_rw rw = { .offset = NVME_REG_CSTS,
					  .region = VFIO_PCI_BAR0_REGION_INDEX,
					  .count = sizeof(*csts) };
	struct vfu_call call = { .command = VFIO_USER_REGION_READ,
				 .what = "reading a register",
				 .head = &rw,
				 .head_len = sizeof(rw),
				 .fd = -1 };
	bool asked = false, known;

	*csts = UINT32_MAX;
	if (atomic_load(&v->gone))
		return true;
	if (pthread_mutex_trylock(&v->lock))
		return false;
	known = v->watch_known;
	if (known)
		*csts = v->watch_value;
	v->watch_known = false;
	for (uint32_t i = 0; i < v->nposted; i++)
		asked |= v->posted[i].kind == VFU_POSTED_WATCH;
	if (!asked)
		post_locked(v, &call, VFU_POSTED_WATCH);
	pthread_mutex_unlock(&v->lock);
	return known;
}

/* ---- looking at the socket now and then ---- */

static void serve_locked(struct vfu *v, uint64_t now)
{
	int rc;

	if (atomic_load_explicit(&v->cut_off, memory_order_relaxed)) {
		vfu_gone(v, -EPROTO, "truncated the file of its doorbells");
		return;
	}
	for (unsigned i = 0; i < SERVE_BATCH; i++) {
		rc = rx_fill(v);
		if (rc < 0 || (rc && dispatch(v)))
			return;
		if (!rc)
			break;
	}
	/* judged by what has arrived: it may be this process that was stopped */
	if (v->nposted && wait_over(v, &v->posted[0].wait, now))
		wait_failed(v, &v->posted[0].wait, "not answered");
}

static bool dma_lately(const struct vfu *v, uint64_t now)
{
	return v->dma_tsc && (int64_t)(now - v->dma_tsc) < (int64_t)(VFU_BUSY_MS * v->tsc_ms);
}

bool vfu_serve(struct vfu *v)
{
	uint64_t now = plx_tsc();
	bool busy = false;

	if (atomic_load_explicit(&v->gone, memory_order_relaxed) || pthread_mutex_trylock(&v->lock))
		return false;
	if (dma_lately(v, now) || v->nposted || (int64_t)(now - v->poll_tsc) >= 0) {
		v->poll_tsc = now + VFU_POLL_US * v->tsc_ms / 1000;
		serve_locked(v, now);
	}
	busy = dma_lately(v, now);
	pthread_mutex_unlock(&v->lock);
	return busy;
}
