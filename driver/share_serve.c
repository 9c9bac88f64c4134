/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/share_serve.c - the owner of a shared controller: takes in guests, maps their memory,
 * carries out what they ask for
 *
 * All of it runs in the polls of the controller, under its lock, and looks at the sockets once in
 * SHARE_PERIOD_US, or in each poll while that was of use.
 */
#include "core/fault.h"
#include "driver/share.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define SHARE_PERIOD_US 1000
#define SERVE_EVENTS	16 /* sockets in one look */
#define SERVE_BATCH	32 /* messages of one of them */
#define REFUSED_LOGGED	8 /* regions of one of them */

/* ---- guests that come and go ---- */

void guest_send(struct share_guest *p, const void *m, size_t len, int file)
{
	int rc;

	if (p->fd < 0)
		return;
	rc = share_send(p->fd, m, len, file);
	if (rc == -EAGAIN)
		guest_drop(p, "does not read what it is sent");
	else if (rc)
		guest_drop(p, NULL); /* it has gone */
}

static void send_bare(struct share_guest *p, enum share_type type, uint32_t tag, int rc)
{
	struct share_hdr h = { .type = type, .tag = tag, .rc = rc };

	guest_send(p, &h, sizeof(h), -1);
}

/* Descriptions live on in children: epoll would tell of a guest that is no more */
static void hang_up(struct share_guest *p)
{
	if (p->fd < 0)
		return;
	epoll_ctl(p->c->share->epoll, EPOLL_CTL_DEL, p->fd, NULL);
	close(p->fd);
	p->fd = -1;
}

/* A guest that finds the connection closed takes its owner for killed, and disables the device: one
 * that lives is told to leave, and hears in guest_end() that it may. */
void guest_drop(struct share_guest *p, const char *what)
{
	bool tell = what && p->state != GUEST_NEW && p->state != GUEST_LEAVING;
	struct share_text t = { .h = { .type = SHARE_GONE } };

	if (p->fd < 0)
		return;
	p->state = GUEST_LEAVING;
	if (what)
		nvme_log(WARN, "controller '%s': process %d, which shares it, %s: it is shut out",
			 p->c->name, (int)p->pid, what);
	snprintf(t.text, sizeof(t.text), "has shut it out: it %.200s", what ? what : "");
	p->told_gone |= tell;
	if (!tell || share_send(p->fd, &t, sizeof(t), -1))
		hang_up(p);
	else
		epoll_ctl(p->c->share->epoll, EPOLL_CTL_DEL, p->fd, NULL);
}

static void guest_refuse(struct share_guest *p, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void guest_refuse(struct share_guest *p, int rc, const char *fmt, ...)
{
	struct share_text t = { .h = { .type = SHARE_HELLO, .rc = rc } };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t.text, sizeof(t.text), fmt, ap);
	va_end(ap);
	guest_send(p, &t, sizeof(t), -1);
	guest_drop(p, NULL);
}

/* @why goes on after "controller 'X' is lost: its owner, process N, " */
static void guest_tell_gone(struct share_guest *p, const char *why)
{
	struct share_text t = { .h = { .type = SHARE_GONE } };

	if (p->told_gone)
		return;
	p->told_gone = true;
	snprintf(t.text, sizeof(t.text), "%s", why);
	guest_send(p, &t, sizeof(t), -1);
}

static void guest_free(struct share_guest *p)
{
	for (uint32_t i = 0; i < p->nqueues; i++)
		if (p->queue[i].real)
			ctrlr_qid_put(p->c, p->queue[i].real);
	hang_up(p);
	free(p->mems);
	free(p);
}

static struct share_guest *guest_make(struct plx_nvme_ctrlr *c, int fd, pid_t pid)
{
	struct share_guest *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->mems = calloc(SHARE_MAX_MEMS, sizeof(*p->mems));
	if (!p->mems) {
		free(p);
		return NULL;
	}
	p->c = c;
	p->fd = fd;
	p->pid = pid;
	for (unsigned i = 0; i < SHARE_CMDS; i++)
		p->cmd[i].guest = p;
	for (unsigned i = 0; i <= NVME_MAX_QPAIRS; i++)
		p->queue[i].guest = p;
	return p;
}

static void accept_one(struct plx_nvme_ctrlr *c, int fd)
{
	struct nvme_share *s = c->share;
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	struct epoll_event ev = { .events = EPOLLIN };
	struct share_guest *p;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		who.uid = (uid_t)-1;
	p = guest_make(c, fd, who.pid);
	ev.data.ptr = p;
	if (!p || epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		nvme_log(ERR, "controller '%s': no memory for one more process", c->name);
		free(p ? p->mems : NULL);
		free(p);
		close(fd);
		return;
	}
	p->next = s->guests;
	s->guests = p;
	s->nguests++;
	if (who.uid != geteuid())
		guest_refuse(p, -EPERM,
			     "it is shared by processes of user %u alone, not of user %u",
			     (unsigned)geteuid(), (unsigned)who.uid);
	else if (s->nguests > SHARE_MAX_GUESTS)
		guest_refuse(p, -EUSERS, "%u processes share it already: end one of them",
			     SHARE_MAX_GUESTS);
}

/* ---- memory ---- */

uint64_t share_mem_run(const struct share_guest *p, const struct share_mem *m, size_t off,
		       size_t *run)
{
	const struct dptr_iova *iova = p->c->dev->iova;

	*run = m->len - off;
	if (!iova)
		return (uint64_t)(uintptr_t)m->va + off;
	return iova->look(iova, (char *)m->va + off, run);
}

bool guest_holds(const struct share_guest *p, uint64_t iova, uint64_t len)
{
	size_t run;

	for (uint32_t i = 0; i < p->nmems; i++) {
		const struct share_mem *m = &p->mems[i];

		for (size_t off = 0; m->va && off < m->len; off += run) {
			uint64_t at = share_mem_run(p, m, off, &run);

			if (at == PLX_IOVA_BAD || !run)
				break;
			if (iova >= at && iova - at < run)
				return len <= run - (iova - at);
		}
	}
	return false;
}

/* What is not there yet would come in as it is mapped for the device, however much it is, and count
 * as memory of this process. Looked for by a description of our own, as that moves its position.
 * Return: 0; -ENODATA; -errno */
static int check_holes(int file, uint64_t offset, uint64_t len)
{
	char path[32];
	off_t hole;
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	hole = lseek(fd, (off_t)offset, SEEK_HOLE);
	rc = hole < 0 ? -errno : (uint64_t)hole - offset < len ? -ENODATA : 0;
	close(fd);
	return rc;
}

/* A file of memory, and of no file system whose pages somebody else may withhold; all of it there.
 * Of hugepages there are only so many, and mmap() sets aside those that are not there.
 * Return: 0 or -errno */
static int check_file(int file, uint64_t offset, uint64_t len)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(file, &fs) || fstat(file, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC))
		return -EMEDIUMTYPE;
	if ((uint64_t)st.st_size < offset || (uint64_t)st.st_size - offset < len)
		return -ENXIO;
	if (fs.f_type == HUGETLBFS_MAGIC)
		return (offset | len) % (uint64_t)fs.f_bsize ? -EINVAL : 0;
	return check_holes(file, offset, len);
}

static struct plx_mem_region region_of(const struct share_mem *m, int file, uint64_t offset)
{
	return (struct plx_mem_region){
		.addr = m->va, .len = m->len, .fd = file, .fd_offset = offset
	};
}

static void mem_unmap(struct share_guest *p, struct share_mem *m)
{
	struct plx_pcie_dev *dev = p->c->dev;
	struct plx_mem_region r;

	if (!m->va)
		return;
	r = region_of(m, -1, 0);
	if (dev->ops->dma_unmap)
		dev->ops->dma_unmap(dev, &r);
	plx_fault_unguard(m->guard);
	munmap(m->va, m->len);
	free(m->hit);
	*m = (struct share_mem){ 0 };
}

static void guest_unmap_all(struct share_guest *p)
{
	for (uint32_t i = 0; i < p->nmems; i++)
		mem_unmap(p, &p->mems[i]);
	p->nmems = 0;
}

/* The guest may truncate the file at any time: what is looked at here is guarded, and what the
 * device was given stays pinned. */
static int mem_map(struct share_guest *p, struct share_mem *m, int file, uint64_t offset,
		   uint64_t len)
{
	struct plx_pcie_dev *dev = p->c->dev;
	struct plx_mem_region r;
	int rc = check_file(file, offset, len);

	if (rc)
		return rc;
	*m = (struct share_mem){ .len = len };
	m->hit = calloc(1, sizeof(*m->hit));
	if (!m->hit)
		return -ENOMEM;
	m->va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)offset);
	if (m->va == MAP_FAILED) {
		rc = -errno;
		goto free_hit;
	}
	m->guard = plx_fault_guard(m->va, len, m->hit);
	if (m->guard < 0) {
		rc = m->guard;
		goto unmap;
	}
	r = region_of(m, file, offset);
	rc = dev->ops->dma_map ? dev->ops->dma_map(dev, &r) : 0;
	if (!rc && atomic_load(m->hit)) {
		rc = -ENXIO;
		if (dev->ops->dma_unmap)
			dev->ops->dma_unmap(dev, &r);
	}
	if (!rc)
		return 0;
	plx_fault_unguard(m->guard);
unmap:
	munmap(m->va, len);
free_hit:
	free(m->hit);
	*m = (struct share_mem){ 0 };
	return rc;
}

/* What the device calls the region from @off on, as much as fits into a message. Return: whether it
 * calls it anything */
static bool tell_mapped(struct share_guest *p, const struct share_hdr *h, uint32_t id, size_t off)
{
	struct share_mapped a = { .h = { .type = h->type, .tag = h->tag }, .id = id };
	const struct share_mem *m = &p->mems[id];

	while (off < m->len && a.n < SHARE_EXTENTS) {
		struct share_extent *e = &a.extent[a.n];
		size_t run;

		e->iova = share_mem_run(p, m, off, &run);
		if (e->iova == PLX_IOVA_BAD || !run)
			break;
		e->len = run;
		off += run;
		a.n++;
	}
	if (!a.n)
		a.h.rc = -EFAULT;
	guest_send(p, &a, offsetof(struct share_mapped, extent) + a.n * sizeof(a.extent[0]), -1);
	return a.n;
}

static void refuse_map(struct share_guest *p, const struct share_hdr *h, int rc)
{
	struct share_mapped a = { .h = { .type = h->type, .tag = h->tag, .rc = rc } };

	guest_send(p, &a, offsetof(struct share_mapped, extent), -1);
}

/* Takes @file, which the mapping holds from then on */
static void serve_map(struct share_guest *p, const struct share_map *m, int file)
{
	uint32_t id = 0;
	int rc = -ENOSPC;

	while (id < p->nmems && p->mems[id].va)
		id++;
	if (id < SHARE_MAX_MEMS)
		rc = mem_map(p, &p->mems[id], file, m->offset, m->len);
	close(file);
	if (rc) {
		if (p->maps_refused++ < REFUSED_LOGGED)
			nvme_log(WARN,
				 "controller '%s': memory of process %d (%llu KiB) cannot be "
				 "mapped for it: %s%s",
				 p->c->name, (int)p->pid, (unsigned long long)m->len >> 10,
				 share_map_text(rc),
				 p->maps_refused == REFUSED_LOGGED ? " (the next ones are not "
								     "logged)"
								   : "");
		refuse_map(p, &m->h, rc);
		return;
	}
	if (id == p->nmems)
		p->nmems++;
	if (!tell_mapped(p, &m->h, id, 0))
		mem_unmap(p, &p->mems[id]);
}

static struct share_mem *find_mem(struct share_guest *p, uint32_t id)
{
	return id < p->nmems && p->mems[id].va ? &p->mems[id] : NULL;
}

static void serve_where(struct share_guest *p, const struct share_region *r)
{
	const struct share_mem *m = find_mem(p, r->id);

	if (!m || r->from >= m->len)
		refuse_map(p, &r->h, -ENOENT);
	else
		tell_mapped(p, &r->h, r->id, r->from);
}

static void serve_unmap(struct share_guest *p, const struct share_region *r)
{
	struct share_mem *m = find_mem(p, r->id);
	int rc = m ? 0 : -ENOENT;

	if (m && guest_uses(p, m))
		rc = -EBUSY;
	else if (m)
		mem_unmap(p, m);
	send_bare(p, SHARE_UNMAP, r->h.tag, rc);
}

/* ---- requests ---- */

static void serve_hello(struct share_guest *p, const struct share_hello *h)
{
	struct plx_nvme_ctrlr *c = p->c;
	struct share_welcome w = { .h = { .type = SHARE_HELLO, .tag = h->h.tag },
				   .cap = c->cap,
				   .vs = c->vs,
				   .queues = c->num_io_queues,
				   .weighted = c->weighted,
				   .physical = c->dev->iova_is_pa };
	size_t len;
	int file;

	if (p->state != GUEST_NEW) {
		guest_drop(p, "introduces itself twice");
		return;
	}
	if (h->version != SHARE_VERSION) {
		guest_refuse(
			p, -EPROTO,
			"it speaks version %u of the protocol of sharing, not %u: use programs "
			"of the same version of pollux",
			SHARE_VERSION, h->version);
		return;
	}
	if (h->id != c->share->id) {
		guest_refuse(p, -EBUSY, "it is shared under id %d, not %d", c->share->id, h->id);
		return;
	}
	file = c->dev->ops->bar_file(c->dev, &w.bar_offset, &len);
	if (file < 0) {
		guest_refuse(p, file, "the device has just been lost");
		return;
	}
	w.bar_len = len;
	p->state = GUEST_OFF;
	guest_send(p, &w, sizeof(w), file);
}

/* The same one, as long as the guest has it */
static void serve_queue(struct share_guest *p, const struct share_qid *q)
{
	struct share_qid a = *q;
	struct share_queue *mine = &p->queue[q->qid];

	a.h.rc = 0;
	if (!mine->real) {
		mine->real = ctrlr_qid_take(p->c);
		if (q->qid >= p->nqueues)
			p->nqueues = q->qid + 1;
	}
	a.real = mine->real;
	if (!mine->real)
		a.h.rc = -ENOSPC;
	guest_send(p, &a, sizeof(a), -1);
}

static void serve_enable(struct share_guest *p, uint32_t tag)
{
	if (p->state != GUEST_OFF) {
		guest_drop(p, "enables what is enabled");
		return;
	}
	p->tag = tag;
	p->state = GUEST_ENABLING;
	p->missed_ns = false; /* it looks at all of them */
}

static void serve_disable(struct share_guest *p, uint32_t tag)
{
	if (p->state == GUEST_DISABLING) {
		guest_drop(p, "disables what is disabled");
		return;
	}
	p->tag = tag;
	p->state = GUEST_DISABLING;
}

static void serve_request(struct share_guest *p, const union share_msg *m, size_t len, int file,
			  unsigned nfds)
{
	char err[160];

	if (share_check_request(m, len, nfds, err, sizeof(err)))
		guest_drop(p, err);
	else if (p->state == GUEST_NEW && m->h.type != SHARE_HELLO)
		guest_drop(p, "does not introduce itself");
	if (p->state == GUEST_LEAVING) {
		if (file >= 0)
			close(file);
		return;
	}
	switch (m->h.type) {
	case SHARE_HELLO:
		serve_hello(p, &m->hello);
		break;
	case SHARE_MAP:
		serve_map(p, &m->map, file);
		break;
	case SHARE_WHERE:
		serve_where(p, &m->region);
		break;
	case SHARE_UNMAP:
		serve_unmap(p, &m->region);
		break;
	case SHARE_QUEUE:
		serve_queue(p, &m->qid);
		break;
	case SHARE_ENABLE:
		serve_enable(p, m->h.tag);
		break;
	case SHARE_DISABLE:
		serve_disable(p, m->h.tag);
		break;
	case SHARE_ADMIN:
		guest_admin(p, &m->admin.cmd);
		break;
	}
}

/* Return: whether there was something */
static bool serve_guest(struct share_guest *p)
{
	union share_msg m;
	bool busy = false;

	/* who comes while the controller is being brought up or reset, waits for that */
	if (p->state == GUEST_NEW && ctrlr_state(p->c) != PLX_NVME_CTRLR_READY)
		return false;
	for (unsigned i = 0; i < SERVE_BATCH && p->state != GUEST_LEAVING; i++) {
		unsigned nfds;
		int file;
		ssize_t n = share_recv(p->fd, &m, &file, &nfds);

		if (n == -EAGAIN)
			break;
		busy = true;
		if (n <= 0)
			guest_drop(p, NULL);
		else
			serve_request(p, &m, (size_t)n, file, nfds);
	}
	return busy;
}

static bool serve(struct plx_nvme_ctrlr *c)
{
	struct nvme_share *s = c->share;
	struct epoll_event ev[SERVE_EVENTS];
	int n = epoll_wait(s->epoll, ev, SERVE_EVENTS, 0), fd;
	bool busy = false;

	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr) {
			busy |= serve_guest(ev[i].data.ptr);
			continue;
		}
		fd = accept4(s->place.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		accept_one(c, fd);
		busy = true;
	}
	return busy;
}

/* ---- what follows from the state ---- */

static uint32_t count_queues(const struct share_guest *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->nqueues; i++)
		n += p->queue[i].sq != QUEUE_NONE || p->queue[i].cq != QUEUE_NONE;
	return n;
}

static void guest_end(struct share_guest *p)
{
	struct nvme_share *s = p->c->share;

	if (p->reclaimed)
		nvme_log(NOTICE,
			 "controller '%s': process %d, which shared it, has ended: its %u queue "
			 "pairs are taken back",
			 p->c->name, (int)p->pid, p->reclaimed);
	if (p->told_gone)
		send_bare(p, SHARE_QUIET, 0, 0);
	guest_unmap_all(p);
	for (struct share_guest **at = &s->guests; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			break;
		}
	}
	s->nguests--;
	guest_free(p);
}

/* Where the controller has failed, memory stays mapped until it is closed: it may not be as dead as
 * it seems. */
static void guest_turn(struct share_guest *p)
{
	enum plx_nvme_ctrlr_state state = ctrlr_state(p->c);

	switch (p->state) {
	case GUEST_ENABLING:
		if (state != PLX_NVME_CTRLR_READY)
			break;
		p->state = GUEST_ON;
		send_bare(p, SHARE_ENABLE, p->tag, 0);
		break;
	case GUEST_ON:
		if (state == PLX_NVME_CTRLR_READY)
			guest_pump(p);
		break;
	case GUEST_DISABLING:
		if (!guest_reclaim(p))
			break;
		p->state = GUEST_OFF;
		send_bare(p, SHARE_DISABLE, p->tag, 0);
		break;
	case GUEST_LEAVING:
		if (!p->reclaimed && !p->told_gone)
			p->reclaimed = count_queues(p);
		if (guest_reclaim(p) && state != PLX_NVME_CTRLR_FAILED)
			guest_end(p);
		break;
	default:
		break;
	}
}

/* A reset, or the end, that guests have not been told of */
static void follow(struct plx_nvme_ctrlr *c)
{
	struct nvme_share *s = c->share;
	enum plx_nvme_ctrlr_state state = ctrlr_state(c);
	char why[SHARE_TEXT];

	if (state == s->seen)
		return;
	s->seen = state;
	if (state == PLX_NVME_CTRLR_RESETTING)
		s->quiet_tsc = plx_tsc() + SHARE_QUIET_MS * c->tsc_ms;
	for (struct share_guest *p = s->guests; p; p = p->next) {
		p->late = false;
		if (state == PLX_NVME_CTRLR_RESETTING && p->state == GUEST_ON) {
			p->state = GUEST_TOLD;
			send_bare(p, SHARE_RESET, 0, 0);
		} else if (state == PLX_NVME_CTRLR_FAILED) {
			snprintf(why, sizeof(why), "has lost it: %.300s", c->failure);
			guest_tell_gone(p, why);
			guest_drop(p, NULL);
		}
	}
}

void share_turn(struct plx_nvme_ctrlr *c, uint64_t now)
{
	struct nvme_share *s = c->share;
	struct share_guest *next;

	follow(c);
	if (!s->leaving && ctrlr_state(c) != PLX_NVME_CTRLR_FAILED &&
	    (int64_t)(now - s->look_tsc) >= 0 && !serve(c))
		s->look_tsc = now + SHARE_PERIOD_US * c->tsc_ms / 1000;
	for (struct share_guest *p = s->guests; p; p = next) {
		next = p->next;
		guest_turn(p);
	}
}

bool share_at_rest(struct plx_nvme_ctrlr *c)
{
	struct nvme_share *s = c->share;

	follow(c);
	for (struct share_guest *p = s->guests; p; p = p->next) {
		if (p->state != GUEST_ON && p->state != GUEST_TOLD)
			continue;
		if ((int64_t)(plx_tsc() - s->quiet_tsc) < 0)
			return false;
		if (!p->late)
			nvme_log(WARN,
				 "controller '%s': process %d, which shares it, does not come to "
				 "rest (waited %u ms): it is reset all the same",
				 c->name, (int)p->pid, SHARE_QUIET_MS);
		p->late = true;
	}
	return true;
}

void share_queues_gone(struct plx_nvme_ctrlr *c)
{
	for (struct share_guest *p = c->share->guests; p; p = p->next)
		guest_queues_gone(p);
}

/* dw0: as the completion of an Asynchronous Event Request. Of those that nobody waits for, a guest
 * can do without all but one: it would go on with namespaces that have changed. */
void share_event(struct plx_nvme_ctrlr *c, uint32_t dw0)
{
	const uint32_t what = 0xff07; /* type and information */

	for (struct share_guest *p = c->share->guests; p; p = p->next)
		if (p->state == GUEST_ON && !guest_event(p, dw0) &&
		    (dw0 & what) == (SHARE_NS_CHANGED & what))
			p->missed_ns = true;
}

/* ---- begin and end ---- */

static int share_begin(struct plx_nvme_ctrlr *c, const struct share_place *place)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct nvme_share *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->place = *place;
	s->id = c->opts.share_id;
	s->seen = PLX_NVME_CTRLR_CONNECTING;
	c->share = s;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, place->listener, &ev))
		return -errno;
	return 0;
}

void share_leave(struct plx_nvme_ctrlr *c)
{
	uint64_t deadline = plx_tsc() + SHARE_LEAVE_MS * c->tsc_ms;
	struct nvme_share *s = c->share;

	pthread_mutex_lock(&c->lock);
	s->leaving = true;
	for (struct share_guest *p = s->guests; p; p = p->next) {
		guest_tell_gone(p, "has ended");
		p->state = GUEST_LEAVING;
	}
	pthread_mutex_unlock(&c->lock);
	while (s->guests && plx_tsc() < deadline && ctrlr_state(c) != PLX_NVME_CTRLR_FAILED)
		ctrlr_setup_turn(c);
}

void share_end(struct plx_nvme_ctrlr *c)
{
	struct nvme_share *s = c->share;
	struct share_guest *next;

	/* A guest is left only where its queues were not deleted in time, and then the device may
	 * not be disabled either (CSTS.RDY): it could still write there. Behind an IOMMU unmapping
	 * ends that by itself; without one only this does. */
	if (s->guests)
		pcie_stop_dma(c->dev);
	for (struct share_guest *p = s->guests; p; p = next) {
		next = p->next;
		guest_unmap_all(p);
		guest_free(p);
	}
	s->guests = NULL;
	if (s->epoll >= 0)
		close(s->epoll);
	s->epoll = -1;
}

void share_free(struct plx_nvme_ctrlr *c)
{
	share_leave_place(&c->share->place);
	free(c->share);
	c->share = NULL;
}

/* As owner. The place is c->share's, or left */
static int open_owner(struct plx_nvme_ctrlr *c, const struct plx_pcie_backend *b,
		      struct share_place *place)
{
	int rc = share_begin(c, place);

	if (rc) {
		nvme_log(ERR, "controller '%s': cannot be shared: %s", c->name, strerror(-rc));
		if (!c->share)
			share_leave_place(place);
		return rc;
	}
	rc = b->open(&c->trid, &c->dev);
	if (rc == -EBUSY)
		nvme_log(ERR,
			 "controller '%s': no process of this user (%u) shares it under id %d: "
			 "whoever has it was started without a share id, or by another user",
			 c->name, (unsigned)geteuid(), c->opts.share_id);
	if (rc) {
		c->dev = NULL;
		return rc;
	}
	if (!c->dev->ops->bar_file) {
		nvme_log(ERR, "controller '%s': this kind of device cannot be shared", c->name);
		c->dev->ops->close(c->dev);
		return -ENOTSUP;
	}
	close(c->share->place.users);
	c->share->place.users = -1;
	nvme_log(NOTICE, "controller '%s': shared under id %d, and this process owns it", c->name,
		 c->opts.share_id);
	return 0;
}

int share_open(struct plx_nvme_ctrlr *c, const struct plx_pcie_backend *b)
{
	uint64_t deadline = plx_tsc() + SHARE_START_MS * c->tsc_ms;
	struct timespec pause = { .tv_nsec = 5000000 };
	struct share_place place;
	int rc, fd, users;

	if (c->trid.trtype != PLX_NVME_TR_PCIE) {
		nvme_log(
			ERR,
			"controller '%s': a share id is for PCIe controllers, not for transport %s",
			c->name, plx_nvme_trtype_name(c->trid.trtype));
		return -ENOTSUP;
	}
	for (;;) {
		rc = share_meet(c->trid.traddr, deadline, &place, &fd, &users);
		if (rc == 1)
			return open_owner(c, b, &place);
		if (!rc)
			rc = share_open_guest(&c->trid, c->opts.share_id, fd, users, deadline,
					      &c->dev);
		if (rc != -EAGAIN || plx_tsc() >= deadline)
			break;
		nanosleep(&pause, NULL);
	}
	if (rc == -EAGAIN) {
		nvme_log(ERR,
			 "controller '%s': one owner after the other ends before it shares it "
			 "(waited %u ms): see what they say",
			 c->name, SHARE_START_MS);
		rc = -ETIMEDOUT;
	}
	if (rc) {
		c->dev = NULL;
		return rc;
	}
	/* of the whole device, and so the owner's alone */
	c->opts.shadow_doorbells = PLX_NVME_SHADOW_NEVER;
	c->opts.host_memory_mb = 0;
	return 0;
}
