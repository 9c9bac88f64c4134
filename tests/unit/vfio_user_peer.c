/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/vfio_user_peer.c - see vfio_user_peer.h
 */
#include "tests/unit/vfio_user_peer.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- the server ---- */

static int bdevs_create(struct peer_server *s, const struct peer_server_opts *o)
{
	const char *name = o->error ? "peer0_base" : "peer0";
	struct plx_bdev_geometry g = { .blocks = 4096, .block_size = 512, .numa = PLX_NUMA_ANY };
	int rc = plx_bdev_malloc_create(name, &g, NULL);

	s->error = o->error;
	return rc || !o->error ? rc : plx_bdev_error_create("peer0", name, 1, NULL, NULL);
}

int peer_server_init(struct peer_server *s, const struct peer_server_opts *o)
{
	struct plx_nvmf_subsystem_opts so = { .nqn = "nqn.2020-01.org.example:peer" };
	struct plx_nvmf_vfio_user_opts vo = { .max_io_queues =
						      o->max_io_queues ? o->max_io_queues : 8,
					      .trap_doorbells = o->trap_doorbells };
	struct plx_env_opts eo;
	int rc;

	memset(s, 0, sizeof *s);
	plx_env_opts_init(&eo);
	eo.mem_mb = 32;
	eo.no_huge = true;
	rc = plx_env_init(&eo);
	if (rc)
		return rc;
	strcpy(s->dir, "/tmp/pollux-peer-XXXXXX");
	if (!mkdtemp(s->dir))
		return -errno;
	s->thread = plx_thread_create("peer");
	plx_thread_enter(s->thread);
	rc = bdevs_create(s, o);
	if (rc)
		return rc;
	s->subsystem = plx_nvmf_subsystem_create(&so);
	if (!s->subsystem)
		return -errno;
	rc = plx_nvmf_subsystem_add_ns(s->subsystem, "peer0", 1);
	if (rc < 0)
		return rc;
	vo.dir = s->dir;
	vo.subsystem = s->subsystem;
	vo.thread = s->thread;
	s->front = plx_nvmf_vfio_user_create(&vo);
	return s->front ? 0 : -errno;
}

void peer_server_fini(struct peer_server *s)
{
	plx_nvmf_vfio_user_destroy(s->front);
	if (s->subsystem)
		plx_nvmf_subsystem_destroy(s->subsystem);
	plx_bdev_delete("peer0");
	if (s->error)
		plx_bdev_delete("peer0_base");
	rmdir(s->dir);
	plx_thread_enter(NULL);
	plx_thread_destroy(s->thread);
	plx_env_fini();
}

bool peer_poll(struct peer_server *s, bool (*done)(void *arg), void *arg)
{
	double deadline = now_s() + PEER_DEADLINE_S;
	uint32_t turns = 0;

	while (!done(arg)) {
		plx_thread_poll(s->thread);
		if (!(++turns & 1023) && now_s() > deadline)
			return false;
	}
	return true;
}

void peer_idle(struct peer_server *s)
{
	double until = now_s() + 0.005;

	while (now_s() < until)
		plx_thread_poll(s->thread);
}

struct plx_nvmf_vfio_user_stats peer_stats(struct peer_server *s)
{
	struct plx_nvmf_vfio_user_stats st;

	plx_nvmf_vfio_user_get_stats(s->front, &st);
	return st;
}

bool peer_nobody(void *arg)
{
	return !peer_stats(arg).connected;
}

/* ---- the connection ---- */

int peer_connect(struct peer *p, struct peer_server *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memset(p, 0, sizeof *p);
	p->s = s;
	snprintf(a.sun_path, sizeof a.sun_path, "%s/cntrl", s->dir);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(p->fd, (struct sockaddr *)&a, sizeof a) ? -errno : 0;
}

int peer_start(struct peer *p, struct peer_server *s)
{
	int rc = peer_connect(p, s);

	return rc ? rc : peer_version(p, PEER_CAPS);
}

static void forget_fds(struct peer *p)
{
	for (uint32_t i = 0; i < p->nfds; i++) {
		if (p->fds[i] >= 0)
			close(p->fds[i]);
	}
	p->nfds = 0;
}

void peer_close(struct peer *p)
{
	forget_fds(p);
	close(p->fd);
}

void peer_send(struct peer *p, uint16_t command, uint32_t flags, const void *data, uint32_t len,
	       const int *fds, uint32_t nfds)
{
	struct vfio_user_hdr h = {
		.id = ++p->id, .command = command, .size = (uint32_t)sizeof h + len, .flags = flags
	};
	struct iovec iov[2] = { { &h, sizeof h }, { (void *)(uintptr_t)data, len } };
	union {
		char buf[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	if (nfds) {
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof(int));
	}
	if (sendmsg(p->fd, &m, MSG_NOSIGNAL) < 0)
		return; /* peer_recv() says so */
}

/* Return: bytes; 0 closed; -1 timeout */
static int receive(struct peer *p, void *buf, size_t len)
{
	double deadline = now_s() + PEER_DEADLINE_S;
	size_t got = 0;

	while (got < len) {
		union {
			char buf[CMSG_SPACE(PEER_MAX_FDS * sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = { (char *)buf + got, len - got };
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control.buf,
				    .msg_controllen = sizeof control.buf };
		ssize_t n = recvmsg(p->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		struct cmsghdr *cm = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

		if (cm) {
			p->nfds = (uint32_t)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(p->fds, CMSG_DATA(cm), p->nfds * sizeof(int));
		}
		if (!n || (n < 0 && errno != EAGAIN))
			return 0;
		if (n > 0)
			got += (size_t)n;
		else
			plx_thread_poll(p->s->thread);
		if (n < 0 && now_s() > deadline)
			return -1;
	}
	return 1;
}

int peer_recv(struct peer *p)
{
	int n;

	forget_fds(p);
	n = receive(p, &p->hdr, sizeof p->hdr);
	if (n > 0) {
		p->len = p->hdr.size - (uint32_t)sizeof p->hdr;
		if (p->len > sizeof p->data)
			return -EMSGSIZE;
		n = p->len ? receive(p, p->data, p->len) : 1;
	}
	if (n <= 0)
		return n ? PEER_TIMEOUT : -ECONNRESET;
	if (p->hdr.flags & VFIO_USER_ERROR)
		return p->hdr.error ? -(int)p->hdr.error : -EIO;
	return 0;
}

int peer_call(struct peer *p, uint16_t command, const void *data, uint32_t len, const int *fds,
	      uint32_t nfds)
{
	int rc;

	peer_send(p, command, 0, data, len, fds, nfds);
	rc = peer_recv(p);
	if (rc == -ECONNRESET || rc == PEER_TIMEOUT)
		return rc;
	if (p->hdr.id != p->id || p->hdr.command != command ||
	    (p->hdr.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY)
		return -EBADMSG;
	return rc;
}

int peer_version(struct peer *p, const char *caps)
{
	char buf[4096] plx_aligned(8);
	struct vfio_user_version *v = (void *)buf;
	uint32_t len = caps ? (uint32_t)strlen(caps) + 1 : 0;

	v->major = VFIO_USER_MAJOR;
	v->minor = VFIO_USER_MINOR;
	if (caps)
		memcpy(v + 1, caps, len);
	return peer_call(p, VFIO_USER_VERSION, buf, (uint32_t)sizeof *v + len, NULL, 0);
}

/* ---- messages ---- */

int peer_map(struct peer *p, uint64_t iova, uint64_t len, uint32_t prot, int fd, uint64_t offset)
{
	struct vfio_user_dma_map m = {
		.argsz = sizeof m, .flags = prot, .offset = offset, .address = iova, .size = len
	};

	return peer_call(p, VFIO_USER_DMA_MAP, &m, sizeof m, &fd, fd >= 0);
}

int peer_unmap(struct peer *p, uint64_t iova, uint64_t len)
{
	struct vfio_user_dma_unmap m = { .argsz = sizeof m, .address = iova, .size = len };

	return peer_call(p, VFIO_USER_DMA_UNMAP, &m, sizeof m, NULL, 0);
}

int peer_read(struct peer *p, uint32_t region, uint64_t offset, void *buf, uint32_t len)
{
	struct vfio_user_region_rw a = { .offset = offset, .region = region, .count = len };
	int rc = peer_call(p, VFIO_USER_REGION_READ, &a, sizeof a, NULL, 0);

	if (rc)
		return rc;
	if (p->len != sizeof a + len || memcmp(p->data, &a, sizeof a))
		return -EBADMSG;
	memcpy(buf, p->data + sizeof a, len);
	return 0;
}

int peer_write(struct peer *p, uint32_t region, uint64_t offset, const void *buf, uint32_t len)
{
	char msg[8192] plx_aligned(8);
	struct vfio_user_region_rw *a = (void *)msg;
	int rc;

	*a = (struct vfio_user_region_rw){ .offset = offset, .region = region, .count = len };
	memcpy(a + 1, buf, len);
	rc = peer_call(p, VFIO_USER_REGION_WRITE, msg, (uint32_t)sizeof *a + len, NULL, 0);
	if (!rc && (p->len != sizeof *a || memcmp(p->data, msg, sizeof *a)))
		return -EBADMSG;
	return rc;
}

uint64_t peer_read_reg(struct peer *p, uint32_t region, uint64_t offset, uint32_t len)
{
	uint64_t v = 0;

	return peer_read(p, region, offset, &v, len) ? UINT64_MAX : v;
}

int peer_write_reg(struct peer *p, uint32_t region, uint64_t offset, uint64_t value, uint32_t len)
{
	return peer_write(p, region, offset, &value, len);
}

int peer_set_irqs(struct peer *p, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
		  const uint8_t *bools, const int *fds, uint32_t nfds)
{
	char msg[4096] plx_aligned(8);
	struct vfio_irq_set *s = (void *)msg;
	uint32_t len = (uint32_t)sizeof *s + (bools ? count : 0);

	*s = (struct vfio_irq_set){
		.argsz = len, .flags = flags, .index = index, .start = start, .count = count
	};
	if (bools)
		memcpy(s->data, bools, count);
	return peer_call(p, VFIO_USER_DEVICE_SET_IRQS, msg, len, fds, nfds);
}

int peer_memfd(size_t len)
{
	int fd = memfd_create("peer", MFD_CLOEXEC);

	return fd >= 0 && !ftruncate(fd, (off_t)len) ? fd : -1;
}
