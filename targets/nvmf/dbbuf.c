/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/dbbuf.c - Doorbell Buffer Config (Base 2.0c §5.10): doorbells in the host's memory
 *
 * Each update of a doorbell may come through memory then; the real one is rung only when the event
 * index says so.
 */
#include "targets/nvmf/nvmf_internal.h"

/* Where one queue reads its doorbell */
struct bell {
	volatile uint32_t **db, **eventidx;
	bool *shadowed;
	volatile uint32_t *real;
	uint64_t off; /* in both pages */
};

static uint64_t bell_off(const struct nvmf_fn *fn, uint32_t qid, bool is_cq)
{
	return (2 * qid + is_cq) * (4ull << fn->opts.dstrd);
}

static struct bell sq_bell(struct nvmf_sq *sq)
{
	uint64_t off = bell_off(sq->fn, sq->qid, false);

	return (struct bell){ nvmf_sq_doorbell(sq), &sq->eventidx, &sq->shadowed,
			      sq->fn->opts.doorbells + off / 4, off };
}

static struct bell cq_bell(struct nvmf_cq *cq)
{
	uint64_t off = bell_off(cq->fn, cq->qid, true);

	return (struct bell){ &cq->head_db, &cq->eventidx, &cq->shadowed,
			      cq->fn->opts.doorbells + off / 4, off };
}

/* A shadow that the host knows holds its value already, whatever the real doorbell says */
static void bell_attach(const struct bell *b, char *shadow, char *event)
{
	volatile uint32_t *db = (uint32_t *)(shadow + b->off);

	if (*b->eventidx)
		return;
	if (!*b->shadowed)
		*db = **b->db;
	*b->shadowed = true;
	*b->db = db;
	*b->eventidx = (uint32_t *)(event + b->off);
}

/*
 * The host is asked to ring with its next update. Until then the real doorbell says what the shadow
 * said, unless the host rings it just now: then it knows better.
 */
static void bell_detach(const struct bell *b)
{
	uint32_t real = __atomic_load_n(b->real, __ATOMIC_ACQUIRE);

	if (!*b->eventidx)
		return;
	__atomic_store_n(*b->eventidx, **b->db, __ATOMIC_SEQ_CST);
	__atomic_compare_exchange_n(b->real, &real, __atomic_load_n(*b->db, __ATOMIC_SEQ_CST),
				    false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	*b->db = b->real;
	*b->eventidx = NULL;
}

void nvmf_fn_dbbuf_queue(struct nvmf_fn *fn, uint16_t qid)
{
	struct nvmf_sq *sq = fn->sqs[qid];
	struct nvmf_cq *cq = fn->cqs[qid];
	char *shadow, *event;
	struct bell b;

	if (!fn->dbbuf_shadow || !qid)
		return;
	if (bell_off(fn, qid, true) + sizeof(uint32_t) > PLX_PAGE_SIZE)
		return;
	shadow = nvmf_map(fn, fn->dbbuf_shadow, PLX_PAGE_SIZE);
	event = nvmf_map(fn, fn->dbbuf_eventidx, PLX_PAGE_SIZE);
	if (!shadow || !event)
		return;
	if (sq) {
		b = sq_bell(sq);
		bell_attach(&b, shadow, event);
	}
	if (cq) {
		b = cq_bell(cq);
		bell_attach(&b, shadow, event);
	}
}

static void dbbuf_attach(struct nvmf_fn *fn)
{
	for (uint16_t qid = 1; qid <= fn->opts.max_io_queues; qid++)
		nvmf_fn_dbbuf_queue(fn, qid);
}

static void dbbuf_detach(struct nvmf_fn *fn)
{
	struct bell b;

	for (uint32_t qid = 1; qid <= fn->opts.max_io_queues; qid++) {
		if (fn->sqs[qid]) {
			b = sq_bell(fn->sqs[qid]);
			bell_detach(&b);
		}
		if (fn->cqs[qid]) {
			b = cq_bell(fn->cqs[qid]);
			bell_detach(&b);
		}
	}
}

void nvmf_fn_dbbuf_park(struct nvmf_fn *fn)
{
	dbbuf_detach(fn);
	fn->dbbuf_parked = true;
}

static bool is_remote(struct nvmf_fn *fn, uint64_t page)
{
	struct nvmf_dma_region r;

	return nvmf_region_find(fn, page, &r) && !r.va;
}

/* In remote memory nobody would see what the host writes to them */
void nvmf_fn_dbbuf_resume(struct nvmf_fn *fn)
{
	if ((is_remote(fn, fn->dbbuf_shadow) || is_remote(fn, fn->dbbuf_eventidx)) &&
	    !nvmf_fn_is_fatal(fn))
		nvmf_fn_die(fn, "the host mapped its shadow doorbells again, without a file");
	if (!nvmf_map(fn, fn->dbbuf_shadow, PLX_PAGE_SIZE) ||
	    !nvmf_map(fn, fn->dbbuf_eventidx, PLX_PAGE_SIZE))
		return;
	fn->dbbuf_parked = false;
	dbbuf_attach(fn);
}

void nvmf_fn_dbbuf(struct nvmf_fn *fn, struct nvmf_req *req)
{
	uint64_t a = req->cmd.prp1, b = req->cmd.prp2;

	if (!nvmf_fn_has_dbbuf(fn)) {
		nvmf_req_complete(req, NVMF_ST_DNR(NVMF_ST(NVME_SC_INVALID_OPCODE)));
		return;
	}
	if ((a | b) & (PLX_PAGE_SIZE - 1)) {
		nvmf_req_complete(req, NVMF_ST_DNR(NVMF_ST(NVME_SC_PRP_INVALID_OFFSET)));
		return;
	}
	if (!a || !b || !nvmf_map(fn, a, PLX_PAGE_SIZE) || !nvmf_map(fn, b, PLX_PAGE_SIZE)) {
		nvmf_req_complete(req, NVMF_ST_DNR(NVMF_ST(NVME_SC_INVALID_FIELD)));
		return;
	}
	/* those of an earlier command are left: the host may take them away */
	dbbuf_detach(fn);
	for (uint32_t qid = 1; qid <= fn->opts.max_io_queues; qid++) {
		if (fn->sqs[qid])
			fn->sqs[qid]->shadowed = false;
		if (fn->cqs[qid])
			fn->cqs[qid]->shadowed = false;
	}
	fn->dbbuf_shadow = a;
	fn->dbbuf_eventidx = b;
	fn->dbbuf_parked = false;
	dbbuf_attach(fn);
	nvmf_req_complete(req, 0);
}
