/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/pcie_queue.c - the function's queues: fetch, post, create, delete, abort
 *
 * nvmf_fn_poll() looks at each submission queue's doorbell, fetches up to the tail it saw, and
 * executes. A command is copied out of the ring once; its completion is two stores, the second one
 * with the phase bit.
 */
#include "targets/nvmf/nvmf_internal.h"
#include <errno.h>
#include <stdlib.h>

/* ---- completion ---- */

/*
 * Shadow doorbells: the host rings the real one only when it passes the event index. One just
 * passed is not passed again before a whole round, and every turn looks at the shadow: it never has
 * to ring.
 */
static plx_noinline void set_eventidx(volatile uint32_t *eventidx, uint32_t seen, uint32_t size)
{
	__atomic_store_n(eventidx, seen ? seen - 1 : size - 1, __ATOMIC_RELAXED);
}

/* Entries the host has not taken yet limit the room; its doorbell is read only when the known room
 * is used up. */
static plx_noinline bool cq_refresh_room(struct nvmf_cq *cq)
{
	uint32_t head = __atomic_load_n(cq->head_db, __ATOMIC_ACQUIRE);

	if (cq->eventidx)
		set_eventidx(cq->eventidx, head, cq->size);
	if (head >= cq->size) {
		if (!cq->bad_db) {
			cq->bad_db = 1;
			nvmf_ctrlr_event(cq->fn->ctrlr, NVME_AER_ERROR,
					 NVME_AER_ERROR_INVALID_DB_VAL, NVME_LOG_LID_ERROR);
		}
		return false;
	}
	cq->room = (head + cq->size - cq->tail - 1) % cq->size;
	if (cq->cold_room)
		cq->room = nvmf_cq_cold_room(cq, cq->room);
	return cq->room;
}

static inline bool cq_post(struct nvmf_cq *cq, const struct nvmf_sq *sq, uint16_t cid,
			   uint16_t status, uint32_t dw0)
{
	uint64_t *e;

	if (plx_unlikely(!cq->room) && !cq_refresh_room(cq))
		return false;
	cq->room--;
	e = (uint64_t *)&cq->entries[cq->tail];
	e[0] = dw0;
	/* the half with the phase bit last: DW2 and DW3 in one store */
	__atomic_store_n(&e[1],
			 sq->head | (uint64_t)sq->qid << 16 | (uint64_t)cid << 32 |
				 (uint64_t)(uint16_t)(status << 1 | cq->phase) << 48,
			 __ATOMIC_RELEASE);
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase ^= 1;
		cq->rounds++;
	}
	return true;
}

static plx_noinline void cq_wait_for_room(struct nvmf_cq *cq, struct nvmf_req *req, uint16_t status)
{
	req->posted = 1;
	req->status = status;
	req->next = NULL;
	if (!cq->full_head) {
		cq->full_tail = &cq->full_head;
		cq->fn->full_cqs++;
		cq->fn->attention = 1;
	}
	*cq->full_tail = req;
	cq->full_tail = &req->next;
}

static inline void req_free(struct nvmf_sq *sq, struct nvmf_req *req)
{
	req->next = sq->free;
	sq->free = req;
	sq->outstanding--;
	if (plx_unlikely(sq->state != NVMF_SQ_LIVE))
		sq->fn->attention = 1;
}

/* Completions that found their queue full go out in order, before anything younger of that queue
 * may */
static void cq_drain_full(struct nvmf_fn *fn, struct nvmf_cq *cq)
{
	struct nvmf_req *req;

	while ((req = cq->full_head)) {
		struct nvmf_sq *sq = req->sq;

		if (sq->state != NVMF_SQ_DEAD &&
		    !cq_post(cq, sq, req->cmd.cid, req->status, req->dw0))
			return;
		cq->full_head = req->next;
		if (!cq->full_head)
			fn->full_cqs--;
		req->posted = 0;
		req_free(sq, req);
	}
}

void nvmf_req_complete(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_sq *sq = req->sq;
	struct nvmf_cq *cq = sq->cq;

	if (plx_unlikely(req->remote) && nvmf_remote_complete(req, status))
		return;
	if (plx_unlikely(sq->state == NVMF_SQ_DEAD)) {
		req_free(sq, req);
		return;
	}
	if (plx_unlikely(status)) {
		if (PLX_NVME_ST_CODE(status) == PLX_BDEV_ST_ABORTED &&
		    sq->state == NVMF_SQ_DRAINING)
			status = NVMF_ST(NVME_SC_ABORT_QUEUE);
		nvmf_ctrlr_log_error(req, status);
	}
	if (plx_unlikely(cq->full_head || !cq_post(cq, sq, req->cmd.cid, status, req->dw0))) {
		cq_wait_for_room(cq, req, status);
		return;
	}
	req_free(sq, req);
}

void nvmf_req_complete_ok(struct nvmf_req *req)
{
	struct nvmf_sq *sq = req->sq;
	struct nvmf_cq *cq = sq->cq;

	if (plx_unlikely(sq->state == NVMF_SQ_DEAD || cq->full_head ||
			 !cq_post(cq, sq, req->cmd.cid, 0, 0))) {
		req->dw0 = 0;
		nvmf_req_complete(req, 0);
		return;
	}
	req_free(sq, req);
}

/* ---- fetch ---- */

static plx_noinline int sq_bad_tail(struct nvmf_sq *sq)
{
	if (!sq->bad_db) {
		sq->bad_db = 1;
		nvmf_ctrlr_event(sq->ctrlr, NVME_AER_ERROR, NVME_AER_ERROR_INVALID_DB_VAL,
				 NVME_LOG_LID_ERROR);
	}
	return 0;
}

static inline int sq_fetch(struct nvmf_sq *sq, uint32_t tail, uint32_t burst)
{
	uint32_t n = (tail >= sq->head ? tail : tail + sq->size) - sq->head;
	int done = 0;

	if (plx_unlikely(tail >= sq->size))
		return sq_bad_tail(sq);
	if (n > burst)
		n = burst;
	for (; n; n--) {
		const struct plx_nvme_cmd *e = &sq->entries[sq->head];
		struct nvmf_req *req = sq->free;

		if (plx_unlikely(!req))
			break;
		if (n > 3)
			__builtin_prefetch(e + 3);
		sq->free = req->next;
		req->cmd = *e;
		/* advanced before execution: a completion reports it, and the host may reuse the
		 * entry */
		sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
		sq->outstanding++;
		done++;
		if (plx_likely(sq->qid))
			nvmf_nvm_exec(req);
		else
			nvmf_admin_exec(req);
		if (plx_unlikely(sq->state != NVMF_SQ_LIVE))
			break;
	}
	return done;
}

int nvmf_fn_poll(void *arg)
{
	struct nvmf_fn *fn = arg;
	int done = 0;

	if (plx_unlikely(fn->attention | atomic_load_explicit(&fn->vanished, memory_order_relaxed) |
			 (atomic_load_explicit(&fn->region_gen, memory_order_relaxed) !=
			  fn->region_gen_seen))) {
		nvmf_fn_attend(fn);
		if (fn->arb.weighted)
			return nvmf_fn_poll_weighted(fn);
	}
	for (uint32_t i = 0; i < fn->nactive; i++) {
		struct nvmf_sq *sq = fn->active[i];
		uint32_t tail = __atomic_load_n(sq->tail_db, __ATOMIC_ACQUIRE);

		if (tail == sq->head)
			continue;
		if (plx_unlikely(sq->eventidx != NULL))
			set_eventidx(sq->eventidx, tail, sq->size);
		done += sq_fetch(sq, tail, fn->burst);
	}
	return done;
}

int nvmf_sq_turn(struct nvmf_sq *sq, uint32_t max)
{
	uint32_t tail = __atomic_load_n(sq->tail_db, __ATOMIC_ACQUIRE);

	if (tail == sq->head)
		return 0;
	if (sq->eventidx)
		set_eventidx(sq->eventidx, tail, sq->size);
	return sq_fetch(sq, tail, max);
}

/* ---- life of queues ---- */

static volatile uint32_t *fn_doorbell(struct nvmf_fn *fn, uint32_t qid, bool is_cq)
{
	return fn->opts.doorbells + ((2 * qid + is_cq) << fn->opts.dstrd);
}

struct nvmf_cq *nvmf_cq_create(struct nvmf_fn *fn, uint16_t qid, uint32_t size, uint64_t prp)
{
	struct plx_nvme_cpl *entries = nvmf_map(fn, prp, (uint64_t)size * sizeof *entries);
	struct nvmf_remote_queue *remote = NULL;
	struct nvmf_cq *cq;

	if (!entries) {
		remote = nvmf_remote_queue_create(fn, prp, size, sizeof *entries);
		if (!remote)
			return NULL;
	}
	cq = aligned_alloc(PLX_NO_SHARE, sizeof *cq);
	if (!cq) {
		nvmf_remote_queue_free(remote);
		return NULL;
	}
	*cq = (struct nvmf_cq){ .entries = entries,
				.head_db = fn_doorbell(fn, qid, true),
				.phase = 1,
				.room = size - 1,
				.size = size,
				.qid = qid,
				.fn = fn,
				.prp = prp,
				.visible = &cq->tail };
	if (remote)
		nvmf_remote_cq(remote, cq);
	*cq->head_db = 0;
	fn->cqs[qid] = cq;
	return cq;
}

void nvmf_cq_free(struct nvmf_cq *cq)
{
	*(cq->qid ? &cq->fn->completed_io : &cq->fn->completed_admin) += nvmf_cq_posted(cq);
	cq->fn->cqs[cq->qid] = NULL;
	nvmf_remote_queue_free(cq->remote);
	free(cq);
}

void nvmf_sq_activate(struct nvmf_sq *sq)
{
	struct nvmf_fn *fn = sq->fn;

	fn->active[fn->nactive++] = sq;
	if (sq->qid)
		return;
	memmove(&fn->active[1], &fn->active[0], (fn->nactive - 1) * sizeof *fn->active);
	fn->active[0] = sq;
}

struct nvmf_sq *nvmf_sq_create(struct nvmf_fn *fn, uint16_t qid, uint32_t size, uint64_t prp,
			       struct nvmf_cq *cq)
{
	const struct plx_nvme_cmd *entries = nvmf_map(fn, prp, (uint64_t)size * sizeof *entries);
	uint32_t nreqs = !qid			       ? NVMF_ADMIN_REQS
			 : size - 1 < NVMF_MAX_SQ_REQS ? size - 1
						       : NVMF_MAX_SQ_REQS;
	struct nvmf_remote_queue *remote = NULL;
	struct nvmf_sq *sq;

	if (!entries) {
		remote = nvmf_remote_queue_create(fn, prp, size, sizeof *entries);
		if (!remote)
			return NULL;
	}
	sq = aligned_alloc(PLX_NO_SHARE, sizeof *sq);
	if (!sq) {
		nvmf_remote_queue_free(remote);
		return NULL;
	}
	*sq = (struct nvmf_sq){ .entries = entries,
				.tail_db = fn_doorbell(fn, qid, false),
				.cq = cq,
				.ctrlr = fn->ctrlr,
				.fn = fn,
				.size = size,
				.qid = qid,
				.nreqs = nreqs,
				.prp = prp };
	sq->reqs = aligned_alloc(PLX_CACHE_LINE, nreqs * sizeof *sq->reqs);
	/* calloc: what no command needs is never touched, so it costs address space only */
	sq->iovs = calloc((size_t)nreqs * NVMF_MAX_IOV, sizeof *sq->iovs);
	if (!sq->reqs || !sq->iovs) {
		nvmf_remote_queue_free(remote);
		free(sq->reqs);
		free(sq->iovs);
		free(sq);
		errno = ENOMEM;
		return NULL;
	}
	memset(sq->reqs, 0, nreqs * sizeof *sq->reqs);
	for (uint32_t i = nreqs; i--;) {
		struct nvmf_req *req = &sq->reqs[i];

		req->sq = sq;
		req->iov_mem = sq->iovs + (size_t)i * NVMF_MAX_IOV;
		req->next = sq->free;
		sq->free = req;
	}
	*sq->tail_db = 0;
	if (remote)
		nvmf_remote_sq(remote, sq);
	cq->sqs++;
	fn->sqs[qid] = sq;
	nvmf_sq_activate(sq);
	if (fn->group) {
		nvmf_count(&fn->group->made[qid != 0], 1);
		nvmf_count(&fn->group->there[qid != 0], 1);
	}
	return sq;
}

void nvmf_sq_deactivate(struct nvmf_sq *sq)
{
	struct nvmf_fn *fn = sq->fn;

	for (uint32_t i = 0; i < fn->nactive; i++) {
		if (fn->active[i] != sq)
			continue;
		memmove(&fn->active[i], &fn->active[i + 1],
			(fn->nactive - i - 1) * sizeof *fn->active);
		fn->nactive--;
		return;
	}
}

void nvmf_sq_free(struct nvmf_sq *sq)
{
	nvmf_sq_deactivate(sq);
	sq->cq->sqs--;
	sq->fn->sqs[sq->qid] = NULL;
	nvmf_remote_queue_free(sq->remote);
	if (sq->fn->group)
		nvmf_count(&sq->fn->group->there[sq->qid != 0], -1);
	free(sq->iovs);
	free(sq->reqs);
	free(sq);
}

/* Completion of the bdev abort itself: what it hit completes by its own callback */
static void abort_done(struct plx_bdev_io *io, void *arg)
{
}

void nvmf_req_abort(struct nvmf_req *req)
{
	if (req->posted)
		return;
	/* the fast path leaves cns alone: found again from the command */
	req->cns = nvmf_ctrlr_ns(req->sq->ctrlr, req->cmd.nsid);
	if (req == req->sq->fused_first) {
		nvmf_fused_drop(req->sq, PLX_BDEV_ST_ABORTED);
		return;
	}
	req->aborted = 1;
	if (req->cns && req->cns->desc)
		plx_bdev_abort(req->cns->desc, req->cns->ch, req, abort_done, NULL);
}

uint8_t *nvmf_sq_idle(const struct nvmf_sq *sq)
{
	uint8_t *idle = calloc(sq->nreqs, 1);

	for (struct nvmf_req *r = idle ? sq->free : NULL; r; r = r->next)
		idle[r - sq->reqs] = 1;
	return idle;
}

/* Aborts each command with @cid, or all. Return: how many */
static uint32_t sq_abort(struct nvmf_sq *sq, int cid)
{
	uint8_t *idle = nvmf_sq_idle(sq);
	uint32_t n = 0;

	if (!idle)
		return 0;
	for (uint32_t i = 0; i < sq->nreqs; i++) {
		struct nvmf_req *r = &sq->reqs[i];

		if (idle[i] || r->posted || (cid >= 0 && r->cmd.cid != cid))
			continue;
		n++;
		nvmf_req_abort(r);
	}
	free(idle);
	return n;
}

bool nvmf_fn_abort(struct nvmf_fn *fn, uint16_t sqid, uint16_t cid)
{
	struct nvmf_sq *sq = sqid <= fn->opts.max_io_queues ? fn->sqs[sqid] : NULL;

	return sq && sqid && sq_abort(sq, cid) > 0;
}

void nvmf_sq_kill(struct nvmf_sq *sq)
{
	sq->state = NVMF_SQ_DEAD;
	nvmf_sq_deactivate(sq);
	sq->fn->attention = 1;
	if (sq->qid)
		sq_abort(sq, -1);
	/* nobody waits for the deletion any more, and it waits for nothing */
	if (sq->deleter) {
		struct nvmf_req *deleter = sq->deleter;

		sq->deleter = NULL;
		nvmf_req_complete(deleter, NVMF_ST(NVME_SC_ABORT_QUEUE));
	}
}

/*
 * The host learns of the last completions before it learns that the queue is gone: true at once but
 * for a completion queue in remote memory, where other queues may go on completing
 */
static bool sq_completions_seen(struct nvmf_sq *sq)
{
	const struct nvmf_cq *cq = sq->cq;
	uint32_t unseen = (cq->tail + cq->size - nvmf_cq_visible(cq)) % cq->size;

	if (!sq->drained) {
		sq->drained = true;
		sq->last_cqe = cq->tail;
	}
	return unseen <= (cq->tail + cq->size - sq->last_cqe) % cq->size;
}

/* Draining queues whose last command is done are gone, and their Delete command complete */
static void fn_reap_queues(struct nvmf_fn *fn)
{
	for (uint32_t qid = 1; qid <= fn->opts.max_io_queues; qid++) {
		struct nvmf_sq *sq = fn->sqs[qid];
		struct nvmf_req *deleter;

		if (!sq || sq->state != NVMF_SQ_DRAINING)
			continue;
		if (sq->outstanding || !sq_completions_seen(sq)) {
			fn->attention = 1;
			continue;
		}
		deleter = sq->deleter;
		nvmf_sq_free(sq);
		nvmf_req_complete(deleter, 0);
	}
}

void nvmf_fn_attend_queues(struct nvmf_fn *fn)
{
	for (uint32_t qid = 0; fn->full_cqs && qid <= fn->opts.max_io_queues; qid++) {
		if (fn->cqs[qid] && fn->cqs[qid]->full_head)
			cq_drain_full(fn, fn->cqs[qid]);
	}
	if (fn->full_cqs)
		fn->attention = 1;
	fn_reap_queues(fn);
}

/* ---- the admin commands that make and end them ---- */

/* Create and Delete share the identifier rules. Return: the identifier, or 0 when out of range */
static uint16_t queue_id(const struct nvmf_fn *fn, const struct nvmf_req *req)
{
	uint16_t qid = req->cmd.cdw10 & 0xffff;

	return qid <= fn->opts.max_io_queues ? qid : 0;
}

/* Base 2.0c §5.4, §5.5: what both Create commands check alike. Return: 0 or a status */
static uint16_t check_create(const struct nvmf_fn *fn, const struct nvmf_req *req, bool taken)
{
	uint32_t size = (req->cmd.cdw10 >> 16) + 1;

	if (!queue_id(fn, req) || taken)
		return NVMF_ST_CS(NVME_SC_QID_INVALID);
	if (size < 2 || size > fn->opts.max_queue_size)
		return NVMF_ST_CS(NVME_SC_QUEUE_SIZE);
	if (!(req->cmd.cdw11 & 1)) /* PC: CAP.CQR says queues must be contiguous */
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	if (req->cmd.prp1 & (PLX_PAGE_SIZE - 1))
		return NVMF_ST(NVME_SC_PRP_INVALID_OFFSET);
	if (NVME_CC_IOSQES(fn->cc) != 6 || NVME_CC_IOCQES(fn->cc) != 4)
		return NVMF_ST_CS(NVME_SC_QUEUE_SIZE);
	return 0;
}

static uint16_t create_errno(void)
{
	return errno == EFAULT ? NVMF_ST_DNR(NVMF_ST(NVME_SC_DATA_XFER_ERROR))
			       : NVMF_ST(NVME_SC_INTERNAL);
}

void nvmf_fn_create_cq(struct nvmf_fn *fn, struct nvmf_req *req)
{
	uint16_t qid = queue_id(fn, req);
	uint16_t st = check_create(fn, req, fn->cqs[qid] != NULL);
	uint16_t vector = req->cmd.cdw11 >> 16;
	struct nvmf_cq *cq;

	if (!st && vector > fn->opts.max_io_queues)
		st = NVMF_ST_CS(NVME_SC_INVALID_VECTOR);
	if (st) {
		nvmf_req_complete(req, NVMF_ST_DNR(st));
		return;
	}
	cq = nvmf_cq_create(fn, qid, (req->cmd.cdw10 >> 16) + 1, req->cmd.prp1);
	if (!cq) {
		nvmf_req_complete(req, create_errno());
		return;
	}
	cq->vector = vector;
	cq->irq_enabled = req->cmd.cdw11 >> 1 & 1;
	nvmf_fn_dbbuf_queue(fn, qid);
	nvmf_req_complete(req, 0);
}

void nvmf_fn_create_sq(struct nvmf_fn *fn, struct nvmf_req *req)
{
	uint16_t qid = queue_id(fn, req);
	uint16_t st = check_create(fn, req, fn->sqs[qid] != NULL);
	uint16_t cqid = req->cmd.cdw11 >> 16;

	if (!st && (!cqid || cqid > fn->opts.max_io_queues))
		st = NVMF_ST_CS(NVME_SC_QID_INVALID);
	else if (!st && !fn->cqs[cqid])
		st = NVMF_ST_CS(NVME_SC_CQ_INVALID);
	if (st) {
		nvmf_req_complete(req, NVMF_ST_DNR(st));
		return;
	}
	if (!nvmf_sq_create(fn, qid, (req->cmd.cdw10 >> 16) + 1, req->cmd.prp1, fn->cqs[cqid])) {
		nvmf_req_complete(req, create_errno());
		return;
	}
	fn->sqs[qid]->prio = req->cmd.cdw11 >> 1 & 3;
	nvmf_fn_dbbuf_queue(fn, qid);
	nvmf_req_complete(req, 0);
}

void nvmf_fn_delete_cq(struct nvmf_fn *fn, struct nvmf_req *req)
{
	uint16_t qid = queue_id(fn, req);
	uint16_t st = 0;

	if (!qid || !fn->cqs[qid])
		st = NVMF_ST_CS(NVME_SC_QID_INVALID);
	else if (fn->cqs[qid]->sqs)
		st = NVMF_ST_CS(NVME_SC_INVALID_QUEUE);
	else if (nvmf_remote_cq_delete(fn->cqs[qid], req))
		return;
	nvmf_req_complete(req, st ? NVMF_ST_DNR(st) : 0);
}

void nvmf_fn_delete_sq(struct nvmf_fn *fn, struct nvmf_req *req)
{
	uint16_t qid = queue_id(fn, req);
	struct nvmf_sq *sq = qid ? fn->sqs[qid] : NULL;

	if (!sq || sq->state != NVMF_SQ_LIVE) {
		nvmf_req_complete(req, NVMF_ST_DNR(NVMF_ST_CS(NVME_SC_QID_INVALID)));
		return;
	}
	/* §5.7: commands already fetched are aborted, then the deletion completes */
	sq->state = NVMF_SQ_DRAINING;
	sq->deleter = req;
	nvmf_sq_deactivate(sq);
	fn->attention = 1;
	sq_abort(sq, -1);
}
