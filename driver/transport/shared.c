/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/shared.c - a PCIe controller that another process owns (driver/share.h)
 *
 * The registers are imitated here. The admin queue is read and filled here as a controller would;
 * its commands go to the owner as messages. Doorbells of I/O queues are the device's own, in its
 * mapped BAR, at the identifiers that the owner gives. Memory goes to the owner as a file with an
 * offset, and the owner says by which addresses the device reaches it.
 *
 * The owner may end at any time. When it is killed, the device works on: it is disabled here, by
 * whoever notices, before commands in flight are given up.
 */
#include "core/pci.h"
#include "driver/share.h"
#include "driver/transport/pcie.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_US	      1000 /* between looks at the socket while nothing is under way */
#define BUSY_MS	      50 /* after a command: a look in every poll */
#define LEAVE_MS      8000 /* from GONE to QUIET */
#define DISABLE_MS    3000 /* of the device, when its owner was killed */
#define RECEIVE_BATCH 64 /* messages in one look */
#define CAP_TO_MAX    255ull /* 127.5 s: the owner's reset is within ours */

/* as far as the driver can see */
enum shared_state {
	SHARED_OFF, /* CC.EN is 0 */
	SHARED_ENABLING,
	SHARED_ON,
	SHARED_LOST, /* the owner resets the controller: CSTS.RDY is 0, CC.EN still 1 */
	/* the same before the driver has seen that it was ready, so that it still waits for that:
	 * disabled and enabled here */
	SHARED_AGAIN,
	SHARED_DISABLING,
};

enum shared_end {
	END_NOT,
	END_TOLD, /* GONE: QUIET is to follow */
	END_KILLED, /* hung up: the device is being disabled */
	END_OVER, /* cut off */
};

struct shared_mem {
	void *va;
	size_t len;
	uint32_t id; /* the owner's */
};

struct shared {
	struct pcie_dev pcie;
	struct plx_pci_addr addr;
	pthread_mutex_t lock; /* of all that follows */
	int fd, users; /* -1: none */
	pid_t owner;
	bool deaf; /* the owner has let a request time out, and said nothing since */
	uint32_t tag; /* of the last request */
	uint64_t tsc_ms, look_tsc, busy_tsc, end_tsc;
	enum shared_end end;
	char why[SHARE_TEXT + 80];
	uint64_t cap; /* the device's */
	struct share_welcome about;
	struct pcie_iovas iovas;
	struct shared_mem *mems;
	uint32_t nmems;
	uint16_t real[NVME_MAX_QPAIRS + 1]; /* by our identifiers */

	/* registers */
	enum shared_state state;
	uint32_t state_tag; /* of the ENABLE or DISABLE under way */
	bool begun; /* has been enabled, ever */
	bool seen_ready; /* since it was enabled, by the driver */
	uint32_t cc, shst, aqa;
	uint64_t asq, acq;

	/* the admin queue, as a controller sees it */
	struct plx_nvme_cmd *sq;
	struct plx_nvme_cpl *cq;
	uint32_t sq_size, cq_size, sq_head, sq_tail, cq_tail;
	uint16_t phase;
	uint32_t under_way;
	uint64_t sent[4096 / 64 + 1]; /* identifiers of commands under way */
};

static const struct plx_pcie_backend shared_backend;

static struct shared *to_shared(struct plx_pcie_dev *dev)
{
	return plx_container_of(dev, struct shared, pcie.base);
}

/* ---- the end ---- */

/* Nothing of the device is held any more: it may have another owner */
static void cut_off(struct shared *s)
{
	s->end = END_OVER;
	pcie_cut_off(&s->pcie, s->why);
	if (s->fd >= 0)
		close(s->fd);
	if (s->users >= 0)
		close(s->users);
	s->fd = s->users = -1;
}

static void owner_text(struct shared *s, const char *what)
{
	if (!*s->why)
		snprintf(s->why, sizeof(s->why), "is lost: its owner, process %d, %s",
			 (int)s->owner, what);
}

static uint32_t device_reg(const struct shared *s, uint32_t offset)
{
	return *(volatile uint32_t *)((volatile char *)s->pcie.bar0.mem + offset);
}

/* Whoever owned the device does not look after it any more */
static void owner_died(struct shared *s, const char *what)
{
	uint32_t cc;

	if (s->end >= END_KILLED)
		return;
	owner_text(s, what);
	s->end = END_KILLED;
	s->end_tsc = plx_tsc() + DISABLE_MS * s->tsc_ms;
	if (!s->pcie.bar0.mem)
		return;
	cc = device_reg(s, NVME_REG_CC);
	if (cc != UINT32_MAX && NVME_CC_EN(cc))
		*(volatile uint32_t *)((volatile char *)s->pcie.bar0.mem + NVME_REG_CC) =
			cc & ~((uint32_t)NVME_CC_EN_MASK << NVME_CC_EN_SHIFT);
}

static void tend_end(struct shared *s)
{
	bool late = s->end != END_NOT && (int64_t)(plx_tsc() - s->end_tsc) >= 0;
	uint32_t csts;

	if (s->end == END_TOLD && late)
		owner_died(s, "has ended");
	if (s->end != END_KILLED)
		return;
	csts = s->pcie.bar0.mem ? device_reg(s, NVME_REG_CSTS) : UINT32_MAX;
	if (csts != UINT32_MAX && NVME_CSTS_RDY(csts) && !late)
		return;
	/* commands are about to be given up: where nothing else keeps it from their memory, and
	 * this process may (UIO: root) */
	if (csts != UINT32_MAX && NVME_CSTS_RDY(csts))
		pcie_stop_dma(&s->pcie.base);
	cut_off(s);
}

/* ---- the admin queue ---- */

/* Where the driver's memory is that the device calls @iova. NULL: it is not all there */
static void *memory_at(const struct shared *s, uint64_t iova, uint64_t len)
{
	for (uint64_t i = 0; i < s->iovas.table.count; i++) {
		const struct plx_range *r = &s->iovas.table.table->r[i];

		if (iova >= r->iova && iova - r->iova < r->len)
			return len <= r->len - (iova - r->iova)
				       ? (void *)(uintptr_t)(r->base + (iova - r->iova))
				       : NULL;
	}
	return NULL;
}

/* NVMe Base 2.0c §3.1.3.8 to §3.1.3.10 */
static bool begin_admin_queue(struct shared *s)
{
	s->sq_size = (s->aqa & 0xfff) + 1;
	s->cq_size = (s->aqa >> 16 & 0xfff) + 1;
	s->sq = memory_at(s, s->asq, (uint64_t)s->sq_size * sizeof(*s->sq));
	s->cq = memory_at(s, s->acq, (uint64_t)s->cq_size * sizeof(*s->cq));
	s->sq_head = s->sq_tail = s->cq_tail = s->under_way = 0;
	s->phase = 1;
	s->seen_ready = false;
	memset(s->sent, 0, sizeof(s->sent));
	return s->sq && s->cq;
}

static void post(struct shared *s, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_cpl *e = &s->cq[s->cq_tail];

	e->dw0 = cpl->dw0;
	e->dw1 = cpl->dw1;
	e->sqhd = (uint16_t)s->sq_head;
	e->sqid = 0;
	e->cid = cpl->cid;
	__atomic_store_n(&e->status, (uint16_t)((cpl->status & ~1u) | s->phase), __ATOMIC_RELEASE);
	if (++s->cq_tail == s->cq_size) {
		s->cq_tail = 0;
		s->phase ^= 1;
	}
}

/* As many as the owner takes at a time; the others stay in the ring */
static void fetch_admin(struct shared *s)
{
	while (s->state == SHARED_ON && s->end == END_NOT && s->sq_head != s->sq_tail &&
	       s->under_way < SHARE_CMDS) {
		struct share_admin m = { .h.type = SHARE_ADMIN, .cmd = s->sq[s->sq_head] };
		uint16_t cid = m.cmd.cid;

		if (cid >= 4096)
			return; /* none of ours */
		/* the socket is full, or the owner has gone: that is seen where we receive */
		if (share_send(s->fd, &m, sizeof(m), -1))
			return;
		s->sent[cid / 64] |= 1ull << (cid % 64);
		s->under_way++;
		s->busy_tsc = plx_tsc() + BUSY_MS * s->tsc_ms;
		s->sq_head = (s->sq_head + 1) % s->sq_size;
	}
}

static void take_cpl(struct shared *s, const struct plx_nvme_cpl *cpl)
{
	uint16_t cid = cpl->cid;

	if (s->state != SHARED_ON)
		return; /* the driver has given up what was outstanding */
	if (cid >= 4096 || !(s->sent[cid / 64] >> (cid % 64) & 1)) {
		owner_died(s, "answered an admin command that it was not sent");
		return;
	}
	s->sent[cid / 64] &= ~(1ull << (cid % 64));
	s->under_way--;
	post(s, cpl);
}

/* ---- what the owner says ---- */

/* ENABLE or DISABLE: its answer ends the state */
static void tell(struct shared *s, enum share_type type, enum shared_state state)
{
	struct share_hdr h = { .type = type, .tag = ++s->tag };

	s->state = state;
	s->state_tag = h.tag;
	if (s->fd >= 0 && s->end == END_NOT && share_send(s->fd, &h, sizeof(h), -1) == -EAGAIN)
		owner_died(s, "does not read what it is sent");
}

/* What is no answer to a request that somebody waits for */
static void take_message(struct shared *s, const union share_msg *m)
{
	switch (m->h.type) {
	case SHARE_CPL:
		take_cpl(s, &m->cpl.cpl);
		break;
	case SHARE_ENABLE:
		if (s->state == SHARED_ENABLING && m->h.tag == s->state_tag)
			s->state = SHARED_ON;
		break;
	case SHARE_DISABLE:
		if (s->state == SHARED_DISABLING && m->h.tag == s->state_tag)
			s->state = SHARED_OFF;
		else if (s->state == SHARED_AGAIN && m->h.tag == s->state_tag)
			tell(s, SHARE_ENABLE, SHARED_ENABLING);
		break;
	case SHARE_RESET:
		if (s->state != SHARED_ON)
			break;
		if (s->seen_ready)
			s->state = SHARED_LOST;
		else
			tell(s, SHARE_DISABLE, SHARED_AGAIN);
		break;
	case SHARE_GONE:
		if (s->end != END_NOT)
			break;
		owner_text(s, m->text.text);
		s->end = END_TOLD;
		s->end_tsc = plx_tsc() + LEAVE_MS * s->tsc_ms;
		break;
	case SHARE_QUIET:
		if (s->end == END_TOLD)
			cut_off(s);
		break;
	}
}

/* One message. Return: 1 there it is; 0 there is none; -ENXIO the owner has gone; -EPROTO it has
 * been given up, as it made no sense */
static int receive_one(struct shared *s, union share_msg *m, int *file)
{
	char err[160];
	unsigned nfds;
	ssize_t n;

	*file = -1;
	if (s->fd < 0 || s->end == END_KILLED)
		return -ENXIO;
	n = share_recv(s->fd, m, file, &nfds);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0) {
		owner_died(s, "was killed or has crashed");
		return -ENXIO;
	}
	s->deaf = false;
	if (!share_check_answer(m, (size_t)n, nfds, err, sizeof(err)))
		return 1;
	if (*file >= 0)
		close(*file);
	*file = -1;
	owner_died(s, err);
	return -EPROTO;
}

static void receive(struct shared *s)
{
	union share_msg m;
	int file;

	for (unsigned i = 0; i < RECEIVE_BATCH && receive_one(s, &m, &file) == 1; i++) {
		if (file >= 0)
			close(file);
		take_message(s, &m);
	}
	tend_end(s);
}

static void wait_readable(const struct shared *s, uint32_t ms)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	poll(&p, 1, (int)ms);
}

/*
 * A request and its answer, waited for. @m: both; @file: what goes with it, -1: none; @got: what
 * came with the answer, NULL: nothing can
 * Return: 0, whatever the answer says; -ENXIO the owner has gone; -EPROTO; -ETIMEDOUT
 */
static int ask(struct shared *s, union share_msg *m, size_t len, int file, int *got,
	       uint64_t deadline)
{
	uint32_t type = m->h.type, tag = ++s->tag;
	int rc, came;

	m->h.tag = tag;
	if (s->fd < 0 || s->end != END_NOT)
		return -ENXIO;
	while ((rc = share_send(s->fd, m, len, file)) == -EAGAIN && plx_tsc() < deadline)
		wait_readable(s, 1);
	if (rc == -EAGAIN)
		return -ETIMEDOUT;
	/* it may have hung up: what it said before that can be read */
	for (;;) {
		bool late = plx_tsc() >= deadline;

		rc = receive_one(s, m, &came);
		if (rc < 0)
			return rc;
		if (rc && m->h.type == type &&
		    (m->h.tag == tag || (type == SHARE_HELLO && m->h.rc))) {
			if (got)
				*got = came;
			return 0;
		}
		if (came >= 0)
			close(came);
		if (rc)
			take_message(s, m);
		if (s->end != END_NOT)
			return -ENXIO;
		if (late)
			return -ETIMEDOUT;
		if (!rc)
			wait_readable(s, 50);
	}
}

static int ask_soon(struct shared *s, union share_msg *m, size_t len, int file)
{
	int rc = ask(s, m, len, file, NULL, plx_tsc() + SHARE_REPLY_MS * s->tsc_ms);

	if (rc != -ETIMEDOUT)
		return rc;
	s->deaf = true;
	nvme_log(ERR,
		 "controller '%s': its owner, process %d, does not answer within %u ms: is it "
		 "stopped?",
		 s->pcie.bdf, (int)s->owner, SHARE_REPLY_MS);
	return rc;
}

/* ---- registers ---- */

static bool enabled(const struct shared *s)
{
	return NVME_CC_EN(s->cc);
}

/* While the owner takes the queues away, the controller is not disabled yet. Whether it handles
 * commands (PP) the device says. */
static uint32_t csts(struct shared *s)
{
	bool ready = s->state == SHARED_ON || s->state == SHARED_DISABLING;
	uint32_t device = s->pcie.bar0.mem && s->end == END_NOT ? device_reg(s, NVME_REG_CSTS) : 0;

	s->seen_ready |= s->state == SHARED_ON;
	if (device == UINT32_MAX)
		device = 0;
	return (uint32_t)ready << NVME_CSTS_RDY_SHIFT | s->shst << NVME_CSTS_SHST_SHIFT |
	       (device & (uint32_t)NVME_CSTS_PP_MASK << NVME_CSTS_PP_SHIFT);
}

/* Without what belongs to the device as a whole: memory buffers and regions, boot partitions,
 * resets of the subsystem; time enough for a reset by the owner */
static uint64_t imitated_cap(const struct shared *s)
{
	uint64_t cap = s->cap;

	cap &= ~(1ull << 57 | 1ull << 56 | 1ull << 45 | 1ull << 36 | 3ull << 59);
	cap = (cap & ~(0xffull << 24)) | CAP_TO_MAX << 24;
	if (!s->about.weighted)
		cap &= ~(3ull << 17);
	return cap;
}

/* Another thread may be waiting for an answer of the owner */
static bool watch(struct plx_pcie_dev *dev, uint32_t *value)
{
	struct shared *s = to_shared(dev);

	if (pthread_mutex_trylock(&s->lock))
		return false;
	receive(s);
	*value = csts(s);
	pthread_mutex_unlock(&s->lock);
	if (atomic_load(&dev->cut_off))
		*value = UINT32_MAX;
	return true;
}

static uint64_t reg_read(struct plx_pcie_dev *dev, uint32_t offset, unsigned size)
{
	struct shared *s = to_shared(dev);
	uint64_t v = 0;

	pthread_mutex_lock(&s->lock);
	if (offset == NVME_REG_CSTS)
		receive(s);
	switch (offset) {
	case NVME_REG_CAP:
		v = imitated_cap(s);
		break;
	case NVME_REG_CAP + 4:
		v = imitated_cap(s) >> 32;
		break;
	case NVME_REG_VS:
		v = s->about.vs;
		break;
	case NVME_REG_CC:
		v = s->cc;
		break;
	case NVME_REG_CSTS:
		v = csts(s);
		break;
	case NVME_REG_AQA:
		v = s->aqa;
		break;
	case NVME_REG_ASQ:
		v = s->asq;
		break;
	case NVME_REG_ACQ:
		v = s->acq;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	return atomic_load(&dev->cut_off) ? UINT64_MAX : v;
}

static void write_cc(struct shared *s, uint32_t cc)
{
	bool was = enabled(s);

	s->cc = cc;
	if (NVME_CC_SHN(cc))
		s->shst = NVME_CSTS_SHST_CMPLT; /* of the device it is up to its owner */
	if (!was && enabled(s)) {
		s->begun = true;
		s->shst = 0;
		/* a driver that gives no memory has no answer to wait for */
		if (begin_admin_queue(s))
			tell(s, SHARE_ENABLE, SHARED_ENABLING);
	} else if (was && !enabled(s)) {
		if (s->state == SHARED_AGAIN)
			s->state = SHARED_DISABLING; /* it has been told */
		else
			tell(s, SHARE_DISABLE, SHARED_DISABLING);
	}
}

static void reg_write(struct plx_pcie_dev *dev, uint32_t offset, uint64_t value, unsigned size)
{
	struct shared *s = to_shared(dev);

	pthread_mutex_lock(&s->lock);
	switch (offset) {
	case NVME_REG_CC:
		write_cc(s, (uint32_t)value);
		break;
	case NVME_REG_AQA:
		s->aqa = (uint32_t)value;
		break;
	case NVME_REG_ASQ:
		s->asq = value;
		break;
	case NVME_REG_ACQ:
		s->acq = value;
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- doorbells ---- */

/* Our queue @qid is one of the device's from now on. Return: that; 0, logged */
static uint16_t real_queue(struct shared *s, uint32_t qid)
{
	union share_msg m = { .qid = { .h.type = SHARE_QUEUE, .qid = qid } };

	if (ask_soon(s, &m, sizeof(m.qid), -1))
		return 0;
	if (!m.h.rc)
		return (uint16_t)m.qid.real;
	nvme_log(ERR,
		 "controller '%s': no queue is left: the processes that share it have all of its "
		 "%u I/O queue pairs: use fewer in each",
		 s->pcie.bdf, s->about.queues);
	return 0;
}

/* It asks at the first of the two doorbells of a queue pair that is being made, and the answer is
 * the same for as long as the owner knows the pair */
static volatile uint32_t *doorbell(struct plx_pcie_dev *dev, uint32_t offset)
{
	struct shared *s = to_shared(dev);
	uint32_t stride = 4u << NVME_CAP_DSTRD(s->cap), n = offset / stride, qid = n / 2;
	size_t at;

	if (!qid || qid > NVME_MAX_QPAIRS)
		return NULL;
	pthread_mutex_lock(&s->lock);
	if (!(n & 1))
		s->real[qid] = real_queue(s, qid);
	at = PCIE_DB_OFFSET + (2 * (size_t)s->real[qid] + (n & 1)) * stride;
	if (!s->real[qid] || at + 4 > s->pcie.bar0.len)
		at = 0;
	pthread_mutex_unlock(&s->lock);
	return at ? (volatile uint32_t *)((volatile char *)s->pcie.bar0.mem + at) : NULL;
}

/* Of the admin queue: only its submissions are news */
static void doorbell_write(struct plx_pcie_dev *dev, uint32_t offset, uint32_t value)
{
	struct shared *s = to_shared(dev);

	if (offset)
		return;
	pthread_mutex_lock(&s->lock);
	if (value < s->sq_size)
		s->sq_tail = value;
	fetch_admin(s);
	pthread_mutex_unlock(&s->lock);
}

/* Only the controller's polls come here, as nothing is ever asked of queue pairs */
static bool poll_owner(struct plx_pcie_dev *dev)
{
	struct shared *s = to_shared(dev);
	uint64_t now = plx_tsc();

	/* another thread waits for an answer, and takes what comes meanwhile */
	if (pthread_mutex_trylock(&s->lock))
		return false;
	if (s->end != END_OVER && (s->end != END_NOT || (int64_t)(s->busy_tsc - now) > 0 ||
				   (int64_t)(now - s->look_tsc) >= 0)) {
		s->look_tsc = now + LOOK_US * s->tsc_ms / 1000;
		receive(s);
		fetch_admin(s);
	}
	pthread_mutex_unlock(&s->lock);
	return false;
}

static int cfg_read(struct plx_pcie_dev *dev, uint32_t offset, void *buf, unsigned len)
{
	return plx_pci_config_read(&to_shared(dev)->addr, offset, buf, len);
}

/* For pcie_stop_dma() alone: the device is its owner's */
static int cfg_write(struct plx_pcie_dev *dev, uint32_t offset, const void *buf, unsigned len)
{
	return plx_pci_config_write(&to_shared(dev)->addr, offset, buf, len);
}

/* ---- memory ---- */

static int enter(struct shared *s, uint64_t va, const struct share_extent *e)
{
	int rc = plx_ranges_reserve(&s->iovas.table);

	if (!rc)
		plx_ranges_insert(&s->iovas.table, &(struct plx_range){ .base = va,
									.len = e->len,
									.iova = e->iova });
	return rc;
}

static void unmap(struct shared *s, uint32_t id)
{
	union share_msg m = { .region = { .h.type = SHARE_UNMAP, .id = id } };

	if (!ask_soon(s, &m, sizeof(m.region), -1) && m.h.rc)
		nvme_log(WARN, "controller '%s': its owner keeps memory: %s", s->pcie.bdf,
			 strerror(-m.h.rc));
}

/* The pieces that the owner tells of, until they cover the region. @m: its first answer */
static int take_extents(struct shared *s, const struct plx_mem_region *r, union share_msg *m)
{
	uint64_t va = (uint64_t)(uintptr_t)r->addr, done = 0;
	uint32_t id = m->mapped.id;
	int rc = 0;

	while (!rc) {
		for (uint32_t i = 0; i < m->mapped.n && !rc; i++) {
			const struct share_extent *e = &m->mapped.extent[i];

			rc = e->len > r->len - done ? -EPROTO : enter(s, va + done, e);
			done += e->len;
		}
		if (rc || done == r->len)
			break;
		m->region = (struct share_region){ .h.type = SHARE_WHERE, .id = id, .from = done };
		rc = ask_soon(s, m, sizeof(m->region), -1);
		if (!rc)
			rc = m->h.rc;
	}
	return rc;
}

/* The owner takes no memory that is not there: its pages come in here, for this process. What is
 * left out, it tells of */
static void fill(const struct plx_mem_region *r)
{
	void *p = mmap(NULL, r->len, PROT_READ, MAP_SHARED | MAP_POPULATE, r->fd,
		       (off_t)r->fd_offset);

	if (p != MAP_FAILED)
		munmap(p, r->len);
}

static int map(struct shared *s, const struct plx_mem_region *r)
{
	union share_msg m = {
		.map = { .h.type = SHARE_MAP, .offset = r->fd_offset, .len = r->len }
	};
	struct shared_mem *mems = realloc(s->mems, (s->nmems + 1) * sizeof(*mems));
	int rc;

	if (!mems)
		return -ENOMEM;
	s->mems = mems;
	fill(r);
	rc = ask_soon(s, &m, sizeof(m.map), r->fd);
	if (rc)
		return rc;
	if (m.h.rc) {
		nvme_log(ERR,
			 "controller '%s': its owner, process %d, cannot map %zu KiB of memory for "
			 "this process: %s: what it logged says more",
			 s->pcie.bdf, (int)s->owner, r->len >> 10, share_map_text(m.h.rc));
		return m.h.rc == -ENOMEM ? -ENOSPC : m.h.rc;
	}
	s->mems[s->nmems++] =
		(struct shared_mem){ .va = r->addr, .len = r->len, .id = m.mapped.id };
	rc = take_extents(s, r, &m);
	if (!rc)
		return 0;
	pcie_iovas_forget(&s->iovas, r);
	unmap(s, s->mems[--s->nmems].id);
	return rc;
}

/* A controller that is lost needs no memory, and others do: no error of theirs */
static int dma_map(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct shared *s = to_shared(dev);
	int rc = 0;

	if (r->fd < 0) {
		nvme_log(ERR,
			 "controller '%s': %zu bytes of memory at %p have no file, so its owner "
			 "cannot map them: register memory of a memfd, or do not share it",
			 s->pcie.bdf, r->len, r->addr);
		return -EINVAL;
	}
	pthread_mutex_lock(&s->lock);
	if (s->end == END_NOT)
		rc = map(s, r);
	if (s->end != END_NOT) {
		rc = s->begun ? 0 : -ENXIO;
		if (rc)
			nvme_log(ERR, "controller '%s' %s", s->pcie.bdf, s->why);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static void dma_unmap(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct shared *s = to_shared(dev);

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < s->nmems; i++) {
		if (s->mems[i].va != r->addr || s->mems[i].len != r->len)
			continue;
		/* one that does not answer would be waited for as often as there is memory */
		if (s->end == END_NOT && !s->deaf)
			unmap(s, s->mems[i].id);
		s->mems[i] = s->mems[--s->nmems];
		break;
	}
	pcie_iovas_forget(&s->iovas, r);
	pthread_mutex_unlock(&s->lock);
}

/* ---- interrupts ---- */

static int irq_vectors(struct plx_pcie_dev *dev, unsigned count, const int *fds)
{
	nvme_log(WARN,
		 "controller '%s': interrupts of a controller that is shared are its owner's: "
		 "processes that share it poll",
		 to_shared(dev)->pcie.bdf);
	return -ENOTSUP;
}

/* ---- open ---- */

static void shared_close(struct plx_pcie_dev *dev)
{
	struct shared *s = to_shared(dev);

	pcie_fini(&s->pcie);
	if (s->fd >= 0)
		close(s->fd);
	if (s->users >= 0)
		close(s->users);
	pcie_iovas_fini(&s->iovas);
	pthread_mutex_destroy(&s->lock);
	free(s->mems);
	free(s);
}

/* -EAGAIN has the caller begin anew, with another owner: it is not for others to say */
static int again_is_ours(int rc)
{
	return rc == -EAGAIN ? -EIO : rc;
}

/* Return: 0 with *@file; -EAGAIN the owner has ended; -errno, logged */
static int introduce(struct shared *s, int32_t id, uint64_t deadline, int *file)
{
	union share_msg m = { .hello = { .h.type = SHARE_HELLO,
					 .magic = SHARE_MAGIC,
					 .version = SHARE_VERSION,
					 .id = id } };
	int rc = ask(s, &m, sizeof(m.hello), -1, file, deadline);

	if (rc == -ETIMEDOUT)
		nvme_log(ERR,
			 "controller '%s': its owner, process %d, does not answer (waited %u ms): "
			 "is it stopped, or stuck in bringing the controller up?",
			 s->pcie.bdf, (int)s->owner, SHARE_START_MS);
	if (rc == -EPROTO)
		nvme_log(ERR, "controller '%s' %s", s->pcie.bdf, s->why);
	if (rc)
		return rc == -ENXIO ? -EAGAIN : rc;
	if (m.h.rc) {
		nvme_log(ERR, "controller '%s': its owner, process %d, does not share it: %s",
			 s->pcie.bdf, (int)s->owner, m.text.text);
		return again_is_ours(m.h.rc);
	}
	s->about = m.welcome;
	s->cap = m.welcome.cap;
	return 0;
}

static struct shared *shared_alloc(const struct plx_nvme_trid *trid, int fd, int users)
{
	struct shared *s = calloc(1, sizeof(*s));
	struct plx_pci_func none = { 0 }; /* its BARs are the owner's to map */
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	char why[160];

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pcie_init(&s->pcie, trid->traddr, &none, &shared_backend);
	plx_pci_addr_parse(trid->traddr, &s->addr, why, sizeof(why));
	pcie_iovas_init(&s->iovas);
	s->pcie.base.iova = &s->iovas.look;
	s->pcie.base.reset_by = "its owner resets it";
	s->fd = fd;
	s->users = users;
	s->tsc_ms = plx_tsc_hz() / 1000;
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
	s->owner = who.pid;
	return s;
}

int share_open_guest(const struct plx_nvme_trid *trid, int32_t id, int fd, int users,
		     uint64_t deadline, struct plx_pcie_dev **dev)
{
	struct shared *s = shared_alloc(trid, fd, users);
	int rc, file = -1;

	if (!s) {
		close(fd);
		close(users);
		return -ENOMEM;
	}
	rc = introduce(s, id, deadline, &file);
	if (!rc) {
		rc = again_is_ours(pcie_map_bar(&s->pcie, &s->pcie.bar0, file, s->about.bar_offset,
						s->about.bar_len, NULL));
		if (rc)
			nvme_log(ERR, "controller '%s': mapping the BAR that its owner gave: %s",
				 s->pcie.bdf, strerror(-rc));
	}
	/* the mapping holds it */
	if (file >= 0)
		close(file);
	if (rc) {
		shared_close(&s->pcie.base);
		return rc;
	}
	s->pcie.base.iova_is_pa = s->about.physical;
	s->pcie.base.doorbell_bytes = s->pcie.bar0.len - PCIE_DB_OFFSET;
	nvme_log(NOTICE, "controller '%s': shared under id %d, and process %d owns it", s->pcie.bdf,
		 id, (int)s->owner);
	*dev = &s->pcie.base;
	return 0;
}

static const struct plx_pcie_backend shared_backend = {
	.trtype = PLX_NVME_TR_PCIE,
	.close = shared_close,
	.reg_read = reg_read,
	.reg_write = reg_write,
	.watch = watch,
	.doorbell = doorbell,
	.doorbell_write = doorbell_write,
	.poll = poll_owner,
	.cfg_read = cfg_read,
	.cfg_write = cfg_write,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.irq_vectors = irq_vectors,
};
