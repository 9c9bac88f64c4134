/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user.c - the vfio-user front end: sockets, life of connections
 *
 * One poller a thread looks at the sockets of all its front ends through one epoll set: every
 * 20 us while there is traffic or something to finish, else every millisecond, and never in
 * between: what it costs an I/O path that needs no socket is one look in so many turns.
 *
 * Each client gets a function of its own, with doorbells of its own. When it goes away, its
 * function is stopped and drains in the background, and only then loses its memory; the next client
 * does not wait for that.
 */
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define IDLE_US	      1000u
#define BUSY_US	      20u
#define BUSY_FOR_MS   10u /* after the last message */
#define LOOP_EVENTS   32
#define RESET_AFTER_S 1 /* commands that outlive their abort by so long are ended by a bdev reset */

/* A thread's sockets. Lives while it has a front end. */
struct vu_loop {
	TAILQ_ENTRY(vu_loop) link;
	struct plx_thread *thread;
	int epfd;
	struct plx_poller *poller;
	bool fast;
	uint64_t fast_until;
	TAILQ_HEAD(, plx_nvmf_vfio_user) fronts;
};

static TAILQ_HEAD(, vu_loop) loops = TAILQ_HEAD_INITIALIZER(loops);
static pthread_mutex_t loops_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- connections ---- */

static void conn_free(struct vu_conn *c)
{
	struct plx_nvmf_vfio_user *v = c->v;

	if (c->fn_live) {
		nvmf_fn_fini(&c->fn);
		v->stats.io_commands += c->fn.completed_io;
		v->stats.admin_commands += c->fn.completed_admin;
	}
	vu_irq_fini(c);
	vu_dma_fini(c);
	if (c->db_mem)
		munmap(c->db_mem, c->db_len);
	if (c->db_fd >= 0)
		close(c->db_fd);
	free(c->msix);
	free(c->msix_table);
	free(c->cfg);
	free(c);
}

void vu_conn_drop(struct vu_conn *c, const char *why)
{
	struct plx_nvmf_vfio_user *v = c->v;

	if (c->closing)
		return;
	if (why) {
		nvmf_log(WARN, "%s: client dropped: %s", v->path, why);
		v->stats.rejected++;
	}
	c->closing = true;
}

/* Outside of whatever called vu_conn_drop() */
static void conn_close(struct vu_conn *c)
{
	struct plx_nvmf_vfio_user *v = c->v;

	vu_tx_flush(c);
	close(c->fd); /* leaves the epoll set: nobody else has it */
	vu_msg_purge(c);
	vu_irq_fini(c);
	nvmf_fn_halt(&c->fn);
	vu_remote_cancel(c);
	c->drain_tsc = plx_tsc();
	v->conn = NULL;
	v->stats.connected = 0;
	TAILQ_INSERT_TAIL(&v->draining, c, link);
	v->ndraining++;
	nvmf_log(INFO, "%s: client gone", v->path);
}

static bool conn_drain_step(struct vu_conn *c)
{
	struct plx_nvmf_vfio_user *v = c->v;

	if (!nvmf_fn_stopped(&c->fn)) {
		if (c->drain_tsc && plx_tsc() - c->drain_tsc > RESET_AFTER_S * plx_tsc_hz()) {
			nvmf_fn_stop(&c->fn);
			c->drain_tsc = 0;
		}
		return false;
	}
	TAILQ_REMOVE(&v->draining, c, link);
	v->ndraining--;
	conn_free(c);
	return true;
}

/* A doorbell page that a dead client can still write to is never used again */
static int conn_doorbells(struct vu_conn *c)
{
	const struct nvmf_fn_opts *o = &c->v->fn_opts;
	size_t bells = (size_t)(o->max_io_queues + 1) * 2 * (4u << o->dstrd);

	c->db_len = VU_DOORBELLS + (bells + PLX_PAGE_SIZE - 1) / PLX_PAGE_SIZE * PLX_PAGE_SIZE;
	for (c->bar0_len = 2 * VU_DOORBELLS; c->bar0_len < c->db_len;)
		c->bar0_len *= 2;
	c->db_fd = memfd_create("pollux-doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (c->db_fd < 0 || ftruncate(c->db_fd, (off_t)c->db_len) ||
	    fcntl(c->db_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	c->db_mem = mmap(NULL, c->db_len, PROT_READ | PROT_WRITE, MAP_SHARED, c->db_fd, 0);
	if (c->db_mem == MAP_FAILED) {
		c->db_mem = NULL;
		return -errno;
	}
	return 0;
}

static int conn_init(struct vu_conn *c)
{
	struct nvmf_fn_opts o = c->v->fn_opts;
	int rc = conn_doorbells(c);

	if (rc)
		return rc;
	o.doorbells = (volatile uint32_t *)((char *)c->db_mem + VU_DOORBELLS);
	rc = vu_irq_init(c);
	if (!rc)
		rc = vu_dma_init(c);
	if (!rc)
		rc = vu_cfg_init(c);
	if (!rc)
		rc = nvmf_fn_init(&c->fn, c->v->subsystem, c->v->thread, &o);
	c->fn_live = !rc;
	return rc;
}

static struct vu_conn *conn_create(struct plx_nvmf_vfio_user *v, int fd)
{
	struct vu_conn *c;
	int rc;

	c = aligned_alloc(PLX_NO_SHARE,
			  (sizeof *c + PLX_NO_SHARE - 1) / PLX_NO_SHARE * PLX_NO_SHARE);
	if (!c)
		return NULL;
	memset(c, 0, sizeof *c);
	c->v = v;
	c->fd = fd;
	c->db_fd = -1;
	c->max_fds = VFIO_USER_DEFAULT_MAX_FDS;
	c->max_xfer = VFIO_USER_DEFAULT_MAX_XFER;
	STAILQ_INIT(&c->held);
	STAILQ_INIT(&c->tx);
	TAILQ_INIT(&c->ops);
	rc = conn_init(c);
	if (!rc)
		return c;
	conn_free(c);
	errno = -rc;
	return NULL;
}

/* The next client may come in the same turn as the end of the one before */
static void drop_departed(struct plx_nvmf_vfio_user *v)
{
	struct pollfd p = { .fd = v->conn->fd, .events = POLLRDHUP };

	if (!v->conn->closing && poll(&p, 1, 0) != 1)
		return;
	vu_conn_drop(v->conn, NULL);
	conn_close(v->conn);
}

static int front_accept(struct plx_nvmf_vfio_user *v)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &v->conn };
	int fd = accept4(v->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return 0;
	if (v->conn)
		drop_departed(v);
	if (v->conn || v->ndraining >= VU_MAX_DRAIN) {
		nvmf_log(WARN,
			 v->conn ? "%s: a client is connected already: another is refused"
				 : "%s: too many clients left with commands in flight: "
				   "another is refused",
			 v->path);
		v->stats.rejected++;
		close(fd);
		return 1;
	}
	v->conn = conn_create(v, fd);
	if (!v->conn || epoll_ctl(v->loop->epfd, EPOLL_CTL_ADD, fd, &ev)) {
		nvmf_log(ERR, "%s: no controller for a client: %s", v->path, strerror(errno));
		v->stats.rejected++;
		if (v->conn)
			conn_free(v->conn);
		v->conn = NULL;
		close(fd);
		return 1;
	}
	v->stats.connected = 1;
	v->stats.connections++;
	nvmf_log(INFO, "%s: client connected", v->path);
	return 1;
}

/* ---- the thread's poller ---- */

static int loop_tick(void *arg);

/* Everything of a front end that is not an event. Return: whether there will be more of it soon */
static bool front_step(struct plx_nvmf_vfio_user *v)
{
	struct vu_conn *c = v->conn, *next;
	bool waiting = c && vu_remote_step(c);

	if (c && atomic_load_explicit(&c->faulted, memory_order_relaxed))
		vu_conn_drop(c, "a file it gave as memory became shorter than the mapping");
	if (c && !c->closing && !STAILQ_EMPTY(&c->tx) && vu_tx_flush(c))
		vu_conn_drop(c, NULL);
	if (c && !c->closing && c->busy)
		vu_busy_step(c);
	if (c && c->closing)
		conn_close(c);
	for (c = TAILQ_FIRST(&v->draining); c; c = next) {
		next = TAILQ_NEXT(c, link);
		conn_drain_step(c);
	}
	return waiting || v->ndraining ||
	       (v->conn && (v->conn->busy || !STAILQ_EMPTY(&v->conn->tx)));
}

/* A poller of another period takes over. Without memory for one, the old one goes on. */
static void loop_set_fast(struct vu_loop *l, bool fast)
{
	struct plx_poller *p;

	if (fast == l->fast)
		return;
	p = plx_poller_create(loop_tick, l, fast ? BUSY_US : IDLE_US);
	if (!p)
		return;
	plx_poller_destroy(l->poller);
	l->poller = p;
	l->fast = fast;
}

void vu_hurry(struct vu_conn *c)
{
	loop_set_fast(c->v->loop, true);
}

static int conn_event(struct vu_conn *c, uint32_t events)
{
	int done = c->closing ? 0 : vu_rx(c);

	/* what it sent before it left may wait for ever to be read: behind a command that takes its
	 * time */
	if (events & (EPOLLHUP | EPOLLERR))
		vu_conn_drop(c, NULL);
	return done;
}

static int loop_tick(void *arg)
{
	struct vu_loop *l = arg;
	struct epoll_event ev[LOOP_EVENTS];
	int n = epoll_wait(l->epfd, ev, LOOP_EVENTS, 0), done = 0;
	uint64_t now = plx_thread_turn_tsc(l->thread);
	struct plx_nvmf_vfio_user *v;
	bool more = false;

	/* the pointer is that of v->listen_fd or of v->conn: which one tells what it is about. The
	 * client first: the event is not for the one that may take its place */
	TAILQ_FOREACH(v, &l->fronts, link)
	{
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == &v->conn && v->conn)
				done += conn_event(v->conn, ev[i].events);
		}
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == &v->listen_fd)
				done += front_accept(v);
		}
		more |= front_step(v);
	}
	if (done)
		l->fast_until = now + BUSY_FOR_MS * plx_tsc_hz() / 1000;
	loop_set_fast(l, more || now < l->fast_until);
	return done;
}

static struct vu_loop *loop_get(struct plx_thread *t)
{
	struct vu_loop *l;

	pthread_mutex_lock(&loops_lock);
	TAILQ_FOREACH(l, &loops, link)
	{
		if (l->thread == t)
			break;
	}
	pthread_mutex_unlock(&loops_lock);
	if (l)
		return l;
	l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->thread = t;
	TAILQ_INIT(&l->fronts);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->poller = l->epfd >= 0 ? plx_poller_create(loop_tick, l, IDLE_US) : NULL;
	if (!l->poller) {
		if (l->epfd >= 0)
			close(l->epfd);
		free(l);
		return NULL;
	}
	pthread_mutex_lock(&loops_lock);
	TAILQ_INSERT_TAIL(&loops, l, link);
	pthread_mutex_unlock(&loops_lock);
	return l;
}

static void loop_put(struct vu_loop *l)
{
	if (!TAILQ_EMPTY(&l->fronts))
		return;
	pthread_mutex_lock(&loops_lock);
	TAILQ_REMOVE(&loops, l, link);
	pthread_mutex_unlock(&loops_lock);
	plx_poller_destroy(l->poller);
	close(l->epfd);
	free(l);
}

/* ---- front ends ---- */

/* A socket file that nobody listens at is left over from a process that died */
static int replace_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, rc;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		nvmf_log(ERR, "%s exists and is no socket: remove it or choose another directory",
			 addr->sun_path);
		return -EADDRINUSE;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)addr, sizeof *addr) ? -errno : 0;
	close(fd);
	if (rc == -ECONNREFUSED)
		return unlink(addr->sun_path) && errno != ENOENT ? -errno : 0;
	if (rc && rc != -EAGAIN)
		return rc;
	nvmf_log(ERR, "%s: another process serves there: stop it or choose another directory",
		 addr->sun_path);
	return -EADDRINUSE;
}

static int front_listen(struct plx_nvmf_vfio_user *v)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	int rc;

	strcpy(addr.sun_path, v->path);
	rc = replace_stale(&addr);
	if (rc)
		return rc;
	v->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->listen_fd < 0)
		return -errno;
	if (bind(v->listen_fd, (struct sockaddr *)&addr, sizeof addr))
		return -errno;
	/* whoever may connect reads and writes the namespaces; nobody can before listen() */
	if (chmod(v->path, 0600) || lstat(v->path, &st) || listen(v->listen_fd, 4)) {
		rc = -errno;
		unlink(v->path);
		return rc;
	}
	v->dev = st.st_dev;
	v->ino = st.st_ino;
	return 0;
}

static void front_unlink(const struct plx_nvmf_vfio_user *v)
{
	struct stat st;

	if (!lstat(v->path, &st) && st.st_dev == v->dev && st.st_ino == v->ino)
		unlink(v->path);
}

static void front_start(void *arg)
{
	struct plx_nvmf_vfio_user *v = arg;
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &v->listen_fd };

	v->loop = loop_get(v->thread);
	if (!v->loop) {
		v->rc = -ENOMEM;
		return;
	}
	TAILQ_INSERT_TAIL(&v->loop->fronts, v, link);
	if (!epoll_ctl(v->loop->epfd, EPOLL_CTL_ADD, v->listen_fd, &ev))
		return;
	v->rc = -errno;
	TAILQ_REMOVE(&v->loop->fronts, v, link);
	loop_put(v->loop);
}

static int front_check(const struct plx_nvmf_vfio_user_opts *o)
{
	struct stat st;

	if (!o->dir || !o->dir[0] || !o->subsystem || !o->thread)
		return -EINVAL;
	if (nvmf_fn_opts_check(o->max_io_queues, o->max_queue_size, o->mdts))
		return -EINVAL;
	if (strlen(o->dir) + sizeof "/" VFIO_USER_SOCKET >
	    sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	if (stat(o->dir, &st))
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOENT;
}

struct plx_nvmf_vfio_user *plx_nvmf_vfio_user_create(const struct plx_nvmf_vfio_user_opts *o)
{
	struct plx_nvmf_vfio_user *v;
	int rc = front_check(o);

	if (rc) {
		errno = -rc;
		return NULL;
	}
	v = calloc(1, sizeof *v);
	if (!v)
		return NULL;
	TAILQ_INIT(&v->draining);
	v->listen_fd = -1;
	v->subsystem = o->subsystem;
	v->thread = o->thread;
	v->trap_doorbells = o->trap_doorbells;
	v->fn_opts.no_shadow_doorbells = o->no_shadow_doorbells;
	v->fn_opts.traddr = v->dir;
	snprintf(v->dir, sizeof v->dir, "%s", o->dir);
	nvmf_fn_opts_fill(&v->fn_opts, o->max_io_queues, o->max_queue_size, o->mdts);
	/* shared doorbells lie apart; rung by messages they may as well lie close, and their shadow
	 * (Doorbell Buffer Config) fits in its page */
	v->fn_opts.dstrd = o->trap_doorbells ? 0 : NVMF_DSTRD_APART;
	snprintf(v->path, sizeof v->path, "%s/" VFIO_USER_SOCKET, o->dir);
	rc = front_listen(v);
	if (!rc) {
		plx_thread_call(v->thread, front_start, v, false);
		rc = v->rc;
		if (rc)
			front_unlink(v);
	}
	if (!rc)
		return v;
	if (v->listen_fd >= 0)
		close(v->listen_fd);
	free(v);
	errno = -rc;
	return NULL;
}

static void front_stop(void *arg)
{
	struct plx_nvmf_vfio_user *v = arg;

	close(v->listen_fd);
	if (v->conn) {
		vu_conn_drop(v->conn, NULL);
		conn_close(v->conn);
	}
}

/* In its thread: out of the loop once nothing drains any more */
static void front_finish(void *arg)
{
	struct plx_nvmf_vfio_user *v = arg;

	v->rc = v->ndraining ? -EBUSY : 0;
	if (v->rc)
		return;
	TAILQ_REMOVE(&v->loop->fronts, v, link);
	loop_put(v->loop);
}

void plx_nvmf_vfio_user_destroy(struct plx_nvmf_vfio_user *v)
{
	const struct timespec nap = { .tv_nsec = 100000 };

	if (!v)
		return;
	front_unlink(v);
	plx_thread_call(v->thread, front_stop, v, false);
	for (;;) {
		plx_thread_call(v->thread, front_finish, v, false);
		if (!v->rc)
			break;
		if (plx_thread_current())
			plx_thread_poll(plx_thread_current());
		else
			nanosleep(&nap, NULL);
	}
	free(v);
}

struct stats_call {
	const struct plx_nvmf_vfio_user *v;
	struct plx_nvmf_vfio_user_stats *out;
};

static void front_stats(void *arg)
{
	struct stats_call *s = arg;
	const struct vu_conn *c = s->v->conn;

	*s->out = s->v->stats;
	if (!c)
		return;
	s->out->io_commands += nvmf_fn_completed(&c->fn, false);
	s->out->admin_commands += nvmf_fn_completed(&c->fn, true);
	s->out->dma_bytes = c->map_bytes;
	for (uint32_t qid = 1; qid <= c->fn.opts.max_io_queues; qid++)
		s->out->io_queues += c->fn.sqs[qid] != NULL;
}

void plx_nvmf_vfio_user_get_stats(struct plx_nvmf_vfio_user *v,
				  struct plx_nvmf_vfio_user_stats *out)
{
	struct stats_call s = { v, out };

	plx_thread_call(v->thread, front_stats, &s, false);
}
