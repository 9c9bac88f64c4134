/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/nvmf_host.c - see nvmf_host.h
 */
#include "tests/unit/nvmf_host.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

bool host_poll(struct host *h, bool (*done)(void *arg), void *arg)
{
	double deadline = now_s() + HOST_DEADLINE_S;
	uint32_t turns = 0;

	while (!done(arg)) {
		plx_thread_poll(h->thread);
		if (!(++turns & 1023) && now_s() > deadline)
			return false;
	}
	return true;
}

void host_idle(struct host *h)
{
	for (int i = 0; i < 200; i++)
		plx_thread_poll(h->thread);
}

/* ---- memory ---- */

static int arena_map(struct host *h)
{
	char *p = mmap(NULL, HOST_ARENA + 2 * PLX_PAGE_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	h->arena = p + PLX_PAGE_SIZE;
	if (mprotect(h->arena, HOST_ARENA, PROT_READ | PROT_WRITE))
		return -errno;
	return 0;
}

void *host_alloc(struct host *h, size_t len, size_t align)
{
	size_t at = (h->used + align - 1) & ~(align - 1);

	if (at + len > HOST_ARENA)
		abort();
	h->used = at + len;
	return memset(h->arena + at, 0, len);
}

void host_release(struct host *h, size_t used)
{
	h->used = used;
}

uint64_t host_iova(const struct host *h, const void *p)
{
	return HOST_IOVA + (uint64_t)((const char *)p - h->arena);
}

void host_prp(struct host *h, struct plx_nvme_cmd *cmd, const void *buf, size_t len)
{
	uint64_t at = host_iova(h, buf), end = at + len;
	uint64_t next = (at | (PLX_PAGE_SIZE - 1)) + 1;
	uint64_t *list;
	size_t n;

	cmd->prp1 = at;
	cmd->prp2 = next < end ? next : 0;
	if (next + PLX_PAGE_SIZE >= end)
		return;
	n = (end - next + PLX_PAGE_SIZE - 1) / PLX_PAGE_SIZE;
	list = host_alloc(h, n * sizeof *list, PLX_PAGE_SIZE);
	for (size_t i = 0; i < n; i++)
		list[i] = next + i * PLX_PAGE_SIZE;
	cmd->prp2 = host_iova(h, list);
}

/* ---- memory that the controller reaches by messages ---- */

static int remote_send(struct host *h, const struct host_message *m)
{
	struct host_remote *r = &h->remote;
	struct nvmf_dma_region region;

	if (r->dead)
		return -ECANCELED;
	if (r->n == r->room) {
		r->refused++;
		return -EAGAIN;
	}
	/* promised: within one region that is mapped, and as long as was agreed on */
	if (m->len > HOST_MAX_LEN || !m->len || !nvmf_region_find(&h->fn, m->iova, &region) ||
	    region.va || region.len - (m->iova - region.iova) < m->len)
		abort();
	r->under_way[r->n++] = *m;
	r->most = r->n > r->most ? r->n : r->most;
	r->longest = m->len > r->longest ? m->len : r->longest;
	return 0;
}

static int remote_read(void *ctx, uint64_t iova, void *dst, uint32_t len, nvmf_remote_cb cb,
		       void *arg)
{
	struct host *h = ctx;

	h->remote.reads++;
	h->remote.read_bytes += len;
	return remote_send(h, &(struct host_message){ false, iova, dst, len, cb, arg });
}

static int remote_write(void *ctx, uint64_t iova, const void *src, uint32_t len, nvmf_remote_cb cb,
			void *arg)
{
	struct host *h = ctx;

	h->remote.writes++;
	h->remote.written_bytes += len;
	return remote_send(h, &(struct host_message){ true, iova, (void *)(uintptr_t)src, len, cb,
						      arg });
}

static const struct nvmf_remote_ops remote_ops = { .read = remote_read, .write = remote_write };

static int carry_out(struct host *h, const struct host_message *m)
{
	struct host_remote *r = &h->remote;
	char *p = h->arena + (m->iova - HOST_IOVA);
	int rc = r->dead ? -ECANCELED : r->fault ? r->fault(r->fault_arg, m) : 0;

	if (rc)
		return rc;
	if (m->write)
		memcpy(p, m->buf, m->len);
	else
		memcpy(m->buf, p, m->len);
	return 0;
}

static bool is_held(const struct host_remote *r, const struct host_message *m)
{
	return r->held && !r->dead &&
	       (!r->held_iova || m->iova / PLX_PAGE_SIZE == r->held_iova / PLX_PAGE_SIZE);
}

/* Takes one that may be carried out, at random or the oldest */
static bool take(struct host_remote *r, struct host_message *out)
{
	uint32_t first = r->in_order ? 0 : (r->rng >> 8) % r->n;

	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t at = (first + i) % r->n;

		if (is_held(r, &r->under_way[at]))
			continue;
		*out = r->under_way[at];
		r->n--;
		memmove(&r->under_way[at], &r->under_way[at + 1], (r->n - at) * sizeof *out);
		return true;
	}
	return false;
}

/* In one turn of two nothing happens, in the other half of them up to three messages */
static int remote_turn(void *arg)
{
	struct host *h = arg;
	struct host_remote *r = &h->remote;
	uint32_t n = 0;

	while (r->n && (r->dead || n < 3)) {
		struct host_message m;

		r->rng = r->rng * 1664525 + 1013904223;
		if ((r->rng >> 31 && !r->dead) || !take(r, &m))
			break;
		m.cb(m.arg, carry_out(h, &m));
		n++;
	}
	return (int)n;
}

static int remote_init(struct host *h)
{
	h->remote.room = HOST_MAX_MESSAGES;
	h->remote.rng = 1;
	h->remote.poller = plx_poller_create(remote_turn, h, 0);
	return h->remote.poller ? nvmf_fn_set_remote(&h->fn, &remote_ops, h, HOST_MAX_LEN)
				: -ENOMEM;
}

int host_make_remote(struct host *h, const void *p, size_t len)
{
	nvmf_fn_dma_unmap(&h->fn, host_iova(h, p), len);
	return nvmf_fn_dma_map_remote(&h->fn, host_iova(h, p), len, NVMF_DMA_RW);
}

int host_make_local(struct host *h, void *p, size_t len)
{
	nvmf_fn_dma_unmap(&h->fn, host_iova(h, p), len);
	return nvmf_fn_dma_map(&h->fn, host_iova(h, p), p, len);
}

/* ---- queues ---- */

static void queue_init(struct host *h, uint16_t qid, uint32_t sq_size, uint32_t cq_size)
{
	struct host_queue *q = &h->q[qid];
	uint32_t dstrd = h->fn.opts.dstrd;

	*q = (struct host_queue){
		.sq_db = h->doorbells + ((2 * qid) << dstrd),
		.cq_db = h->doorbells + ((2 * qid + 1) << dstrd),
		.sq_size = sq_size,
		.cq_size = cq_size,
		.phase = 1,
		.qid = qid,
	};
	q->sqes = host_alloc(h, sq_size * sizeof *q->sqes, PLX_PAGE_SIZE);
	q->cqes = host_alloc(h, cq_size * sizeof *q->cqes, PLX_PAGE_SIZE);
}

uint16_t host_push(struct host *h, uint16_t qid, const struct plx_nvme_cmd *cmd)
{
	struct host_queue *q = &h->q[qid];
	struct plx_nvme_cmd *e = &q->sqes[q->sq_tail];

	*e = *cmd;
	e->cid = q->next_cid++;
	q->sq_tail = (q->sq_tail + 1) % q->sq_size;
	return e->cid;
}

void host_ring(struct host *h, uint16_t qid)
{
	__atomic_store_n(h->q[qid].sq_db, h->q[qid].sq_tail, __ATOMIC_RELEASE);
}

uint16_t host_submit(struct host *h, uint16_t qid, const struct plx_nvme_cmd *cmd)
{
	uint16_t cid = host_push(h, qid, cmd);

	host_ring(h, qid);
	return cid;
}

static bool has_completion(void *arg)
{
	struct host_queue *q = arg;

	return (__atomic_load_n(&q->cqes[q->cq_head].status, __ATOMIC_ACQUIRE) & 1) == q->phase;
}

bool host_reap(struct host *h, uint16_t qid, struct plx_nvme_cpl *out)
{
	struct host_queue *q = &h->q[qid];

	if (!has_completion(q))
		return false;
	*out = q->cqes[q->cq_head];
	if (++q->cq_head == q->cq_size) {
		q->cq_head = 0;
		q->phase ^= 1;
	}
	__atomic_store_n(q->cq_db, q->cq_head, __ATOMIC_RELEASE);
	return true;
}

struct plx_nvme_cpl host_wait(struct host *h, uint16_t qid)
{
	struct plx_nvme_cpl cpl = { .status = HOST_TIMEOUT };

	if (host_poll(h, has_completion, &h->q[qid]))
		host_reap(h, qid, &cpl);
	return cpl;
}

/* ---- commands ---- */

struct plx_nvme_cpl host_io(struct host *h, uint16_t qid, const struct plx_nvme_cmd *cmd)
{
	host_submit(h, qid, cmd);
	return host_wait(h, qid);
}

struct plx_nvme_cpl host_admin(struct host *h, const struct plx_nvme_cmd *cmd)
{
	return host_io(h, 0, cmd);
}

static uint16_t create(struct host *h, uint8_t opc, uint16_t qid, uint32_t size, uint32_t cdw11,
		       const void *mem)
{
	struct plx_nvme_cmd cmd = { .opc = opc,
				    .prp1 = host_iova(h, mem),
				    .cdw10 = qid | (size - 1) << 16,
				    .cdw11 = cdw11 };
	struct plx_nvme_cpl cpl = host_admin(h, &cmd);

	return host_status(&cpl);
}

uint16_t host_create_cq(struct host *h, uint16_t qid, uint32_t size)
{
	queue_init(h, qid, size, size);
	return create(h, nvme_admin_create_cq, qid, size, 1, h->q[qid].cqes);
}

uint16_t host_create_sq(struct host *h, uint16_t qid, uint32_t size, uint16_t cqid)
{
	return host_create_sq_of(h, qid, size, cqid, NVMF_PRIO_URGENT);
}

uint16_t host_create_sq_of(struct host *h, uint16_t qid, uint32_t size, uint16_t cqid,
			   enum nvmf_prio prio)
{
	if (!h->q[qid].sqes)
		queue_init(h, qid, size, size);
	return create(h, nvme_admin_create_sq, qid, size, 1 | prio << 1 | (uint32_t)cqid << 16,
		      h->q[qid].sqes);
}

uint16_t host_create_queue(struct host *h, uint16_t qid, uint32_t size)
{
	uint16_t st = host_create_cq(h, qid, size);

	return st ? st : host_create_sq(h, qid, size, qid);
}

uint16_t host_delete_queue(struct host *h, uint16_t qid)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_delete_sq, .cdw10 = qid };
	struct plx_nvme_cpl cpl = host_admin(h, &cmd);

	if (host_status(&cpl))
		return host_status(&cpl);
	cmd.opc = nvme_admin_delete_cq;
	cpl = host_admin(h, &cmd);
	if (!host_status(&cpl))
		h->q[qid] = (struct host_queue){ 0 };
	return host_status(&cpl);
}

uint16_t host_identify(struct host *h, uint8_t cns, uint32_t nsid, uint32_t cdw11, void *page)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_identify, .nsid = nsid, .cdw10 = cns, .cdw11 = cdw11
	};
	struct plx_nvme_cpl cpl;

	host_prp(h, &cmd, page, PLX_PAGE_SIZE);
	cpl = host_admin(h, &cmd);
	return host_status(&cpl);
}

struct plx_nvme_cpl host_rw(struct host *h, uint16_t qid, uint8_t opc, uint64_t slba, uint32_t nlb,
			    void *buf)
{
	struct plx_nvme_cmd cmd = { .opc = opc, .nsid = h->nsid, .slba = slba, .cdw12 = nlb - 1 };

	host_prp(h, &cmd, buf, (size_t)nlb * h->fn.ctrlr->ns[h->nsid - 1].xfer_block);
	return host_io(h, qid, &cmd);
}

/* ---- life ---- */

static bool is_ready(void *arg)
{
	return nvmf_fn_reg_read(arg, NVME_REG_CSTS, 4) & (NVME_CSTS_RDY_MASK | HOST_CFS);
}

static bool is_not_ready(void *arg)
{
	return !(nvmf_fn_reg_read(arg, NVME_REG_CSTS, 4) & (NVME_CSTS_RDY_MASK | HOST_CFS));
}

int host_enable(struct host *h)
{
	struct host_queue *q = &h->q[0];

	memset(h->q, 0, sizeof h->q);
	queue_init(h, 0, HOST_ADMIN_DEPTH, HOST_ADMIN_DEPTH);
	nvmf_fn_reg_write(&h->fn, NVME_REG_AQA,
			  (HOST_ADMIN_DEPTH - 1) | (HOST_ADMIN_DEPTH - 1) << 16, 4);
	nvmf_fn_reg_write(&h->fn, NVME_REG_ASQ, host_iova(h, q->sqes), 8);
	nvmf_fn_reg_write(&h->fn, NVME_REG_ACQ, host_iova(h, q->cqes), 8);
	nvmf_fn_reg_write(&h->fn, NVME_REG_CC,
			  1 | NVME_CC_CSS_CSI << NVME_CC_CSS_SHIFT | h->ams << NVME_CC_AMS_SHIFT |
				  6 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT,
			  4);
	if (!host_poll(h, is_ready, &h->fn))
		return -ETIMEDOUT;
	return nvmf_fn_reg_read(&h->fn, NVME_REG_CSTS, 4) & HOST_CFS ? -EIO : 0;
}

int host_disable(struct host *h)
{
	nvmf_fn_reg_write(&h->fn, NVME_REG_CC, nvmf_fn_reg_read(&h->fn, NVME_REG_CC, 4) & ~1u, 4);
	return host_poll(h, is_not_ready, &h->fn) ? 0 : -ETIMEDOUT;
}

static int bdev_create(struct host *h, const struct host_opts *o)
{
	const char *name = o->error ? "host0_base" : "host0";
	struct plx_bdev_geometry g = {
		.blocks = o->blocks ? o->blocks : 4096,
		.block_size = o->block_size ? o->block_size : 512,
		.md_size = o->md_size,
		.md_interleaved = o->md_interleaved,
		.dif_first = o->dif_first,
		.dif = o->dif,
		.numa = PLX_NUMA_ANY,
	};
	int rc = o->null ? plx_bdev_null_create(name, &g, NULL)
			 : plx_bdev_malloc_create(name, &g, NULL);

	h->error = o->error;
	return rc || !o->error ? rc : plx_bdev_error_create("host0", name, 1, NULL, NULL);
}

static int function_create(struct host *h, const struct host_opts *o)
{
	struct nvmf_fn_opts fo = {
		.max_io_queues = o->max_io_queues ? o->max_io_queues : 8,
		.max_queue_size = o->max_queue_size ? o->max_queue_size : 256,
		.mdts = o->mdts ? o->mdts : 5,
		.dstrd = o->dstrd,
	};
	int rc;

	h->doorbells = calloc((size_t)(fo.max_io_queues + 1) * 2, 4u << o->dstrd);
	fo.doorbells = h->doorbells;
	rc = nvmf_fn_init(&h->fn, h->subsystem, h->thread, &fo);
	if (!rc)
		rc = remote_init(h);
	if (rc)
		return rc;
	return o->remote || getenv("POLLUX_TEST_REMOTE")
		       ? nvmf_fn_dma_map_remote(&h->fn, HOST_IOVA, HOST_ARENA, NVMF_DMA_RW)
		       : nvmf_fn_dma_map(&h->fn, HOST_IOVA, h->arena, HOST_ARENA);
}

int host_init(struct host *h, const struct host_opts *o)
{
	struct plx_nvmf_subsystem_opts so = {
		.nqn = "nqn.2020-01.org.example:host",
		.serial = "SN1",
		.model = "test",
		.max_namespaces = o->max_namespaces ? o->max_namespaces : 8,
	};
	struct plx_env_opts eo;
	int rc;

	memset(h, 0, sizeof *h);
	plx_env_opts_init(&eo);
	eo.mem_mb = 32;
	eo.no_huge = true;
	rc = plx_env_init(&eo);
	if (rc)
		return rc;
	h->thread = plx_thread_create("host");
	plx_thread_enter(h->thread);
	rc = arena_map(h);
	if (!rc)
		rc = bdev_create(h, o);
	if (rc)
		return rc;
	h->subsystem = plx_nvmf_subsystem_create(&so);
	if (!h->subsystem)
		return -errno;
	rc = plx_nvmf_subsystem_add_ns(h->subsystem, "host0", 0);
	if (rc < 0)
		return rc;
	h->nsid = (uint32_t)rc;
	rc = function_create(h, o);
	return rc ? rc : host_enable(h);
}

void host_fini(struct host *h)
{
	if (h->fn.ctrlr)
		nvmf_fn_fini(&h->fn);
	plx_poller_destroy(h->remote.poller);
	if (h->subsystem)
		plx_nvmf_subsystem_destroy(h->subsystem);
	plx_bdev_delete("host0");
	if (h->error)
		plx_bdev_delete("host0_base");
	free((void *)h->doorbells);
	munmap(h->arena - PLX_PAGE_SIZE, HOST_ARENA + 2 * PLX_PAGE_SIZE);
	plx_thread_enter(NULL);
	plx_thread_destroy(h->thread);
	plx_env_fini();
}
