/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/remote_queue.c - queues whose rings are in memory that is reached by messages
 *
 * Each has a ring here, which the code of pcie_queue.c uses as if it were the host's. One transfer
 * of a queue is under way at a time, so entries come and go in order; what the host or the commands
 * do meanwhile goes with the next one.
 */
#include "targets/nvmf/remote_internal.h"
#include <errno.h>
#include <stdlib.h>

static void queue_fail(struct nvmf_remote_queue *q, int rc)
{
	/* a host that is taking the memory away may refuse: once more when it is back */
	if (rc != -ECANCELED && (q->sq ? q->sq->parked : q->cq->parked))
		return;
	q->failed = true;
	/* a connection that ends is no error of the controller's */
	if (rc != -ECANCELED)
		nvmf_fn_die(q->r->fn, q->sq ? "submission queue cannot be read from the host"
					    : "completion queue cannot be written to the host");
}

/*
 * The next contiguous piece of the ring: up to @n entries from index @from, as far as one region of
 * remote memory goes. Return: entries; 0 when nothing is mapped there
 */
static uint32_t queue_piece(const struct nvmf_remote_queue *q, uint32_t from, uint32_t n)
{
	uint64_t iova = q->iova + (uint64_t)from * q->entry, rest;
	struct nvmf_dma_region region;

	if (!nvmf_region_find(q->r->fn, iova, &region) || region.va || region.prot != NVMF_DMA_RW)
		return 0;
	rest = (region.len - (iova - region.iova)) / q->entry;
	n = n < q->size - from ? n : q->size - from;
	return n < rest ? n : (uint32_t)rest;
}

/*
 * Begins to copy the entries from @from on, up to @to; what lies behind the end of the ring, or in
 * too many regions, is left for the next transfer. Return: false when the memory is not mapped now
 */
static bool queue_start(struct nvmf_remote_queue *q, uint32_t from, uint32_t to, bool write,
			void (*done)(struct remote_xfer *x))
{
	uint32_t end = to > from ? to : q->size, at = from, n = 0, m;

	while (at < end && n < PLX_ARRAY_SIZE(q->segs)) {
		m = queue_piece(q, at, end - at);
		if (!m)
			break;
		q->segs[n++] =
			(struct remote_seg){ q->iova + (uint64_t)at * q->entry, m * q->entry };
		at += m;
	}
	if (!n)
		return false;
	q->busy = true;
	q->upto = at == q->size ? 0 : at;
	q->x = (struct remote_xfer){ .done = done,
				     .segs = q->segs,
				     .nsegs = n,
				     .buf = q->ring + (size_t)from * q->entry,
				     .write = write };
	remote_xfer_start(q->r, &q->x);
	return true;
}

/* ---- submission ---- */

static int sq_continue(struct nvmf_remote_queue *q);

/* What one doorbell announced is executed when all of it is here: it may be a fused pair */
static void sq_fetched(struct remote_xfer *x)
{
	struct nvmf_remote_queue *q = plx_container_of(x, struct nvmf_remote_queue, x);
	struct nvmf_sq *sq = q->sq;

	q->busy = false;
	sq->outstanding--;
	if (sq->state != NVMF_SQ_LIVE) {
		sq->fn->attention = 1;
		return;
	}
	if (x->rc) {
		queue_fail(q, x->rc);
		return;
	}
	q->fetched = q->upto;
	if (q->fetched == q->goal)
		q->tail = q->goal;
	else if (!sq->parked)
		sq_continue(q);
}

static int sq_continue(struct nvmf_remote_queue *q)
{
	if (!queue_start(q, q->fetched, q->goal, false, sq_fetched))
		return 0;
	q->sq->outstanding++; /* until it is back: the ring stays */
	return 1;
}

/* Entries that have come cannot be taken back: a tail between the head and them is not valid */
static bool sq_tail_valid(const struct nvmf_remote_queue *q, uint32_t tail)
{
	uint32_t head = q->sq->head;

	return tail < q->size &&
	       (tail + q->size - head) % q->size >= (q->fetched + q->size - head) % q->size;
}

static int sq_turn(struct nvmf_remote_queue *q)
{
	if (q->busy || q->failed || q->sq->parked || q->sq->state != NVMF_SQ_LIVE)
		return 0;
	if (q->fetched == q->goal) {
		uint32_t tail = __atomic_load_n(q->db, __ATOMIC_ACQUIRE);
		bool valid = sq_tail_valid(q, tail);

		/* nvmf_fn_poll() reports what is out of range */
		q->tail = valid ? q->fetched : UINT32_MAX;
		if (!valid || tail == q->fetched)
			return 0;
		q->goal = tail;
	}
	return sq_continue(q);
}

/* ---- completion ---- */

static void cq_sent(struct remote_xfer *x)
{
	struct nvmf_remote_queue *q = plx_container_of(x, struct nvmf_remote_queue, x);
	struct nvmf_req *deleter = q->deleter;

	q->busy = false;
	q->r->cq_writes--;
	if (!x->rc)
		q->visible = (uint16_t)q->upto;
	else if (q->cq)
		queue_fail(q, x->rc);
	if (!q->cq)
		nvmf_remote_queue_free(q);
	if (deleter)
		nvmf_req_complete(deleter, 0);
}

/* Nothing more is told to the host once its controller is being reset, or gone */
static int cq_turn(struct nvmf_remote_queue *q)
{
	const struct nvmf_sq *admin = q->r->fn->sqs[0];

	if (q->busy || q->failed || q->cq->parked || q->visible == q->cq->tail || !admin ||
	    admin->state != NVMF_SQ_LIVE)
		return 0;
	if (!queue_start(q, q->visible, q->cq->tail, true, cq_sent))
		return 0;
	q->r->cq_writes++;
	return 1;
}

/*
 * pcie_queue.c asks before each completion, as the queue never has room that is known: the copy
 * must not be overtaken by entries that the host, by its doorbell, claims to have taken unseen
 */
uint32_t nvmf_remote_cq_room(const struct nvmf_cq *cq, uint32_t room)
{
	uint32_t unsent = (cq->tail + cq->size - cq->remote->visible) % cq->size;

	return room && unsent < cq->size - 1;
}

bool nvmf_remote_cq_delete(struct nvmf_cq *cq, struct nvmf_req *req)
{
	struct nvmf_remote_queue *q = cq->remote;
	bool later = q && q->busy;

	if (later)
		q->deleter = req;
	nvmf_cq_free(cq);
	return later;
}

/* ---- both ---- */

int remote_queues_turn(struct nvmf_remote *r)
{
	struct nvmf_remote_queue *q;
	int n = 0;

	TAILQ_FOREACH(q, &r->queues, link)
	{
		if (q->sq)
			n += sq_turn(q);
		else if (q->cq)
			n += cq_turn(q);
	}
	return n;
}

bool remote_queues_busy(const struct nvmf_remote *r, uint64_t iova, uint64_t len)
{
	const struct nvmf_remote_queue *q;

	TAILQ_FOREACH(q, &r->queues, link)
	{
		for (uint32_t i = 0; q->busy && i < q->x.nsegs; i++) {
			if (nvmf_overlap(q->segs[i].iova, q->segs[i].len, iova, len))
				return true;
		}
	}
	return false;
}

bool nvmf_remote_queue_busy(const struct nvmf_remote_queue *q)
{
	return q->busy;
}

bool nvmf_remote_queue_mapped(const struct nvmf_remote_queue *q)
{
	uint32_t n = 1;

	for (uint32_t at = 0; at < q->size && n; at += n)
		n = queue_piece(q, at, q->size - at);
	return n;
}

struct nvmf_remote_queue *nvmf_remote_queue_create(struct nvmf_fn *fn, uint64_t iova, uint32_t size,
						   uint32_t entry)
{
	struct nvmf_remote_queue *q;

	errno = EFAULT;
	if (!fn->remote || iova > UINT64_MAX - (uint64_t)size * entry)
		return NULL;
	q = calloc(1, sizeof *q);
	if (!q)
		return NULL;
	*q = (struct nvmf_remote_queue){
		.r = fn->remote, .iova = iova, .size = size, .entry = entry
	};
	if (!nvmf_remote_queue_mapped(q)) {
		free(q);
		errno = EFAULT;
		return NULL;
	}
	q->ring = aligned_alloc(PLX_PAGE_SIZE, ((size_t)size * entry + PLX_PAGE_SIZE - 1) &
						       ~((size_t)PLX_PAGE_SIZE - 1));
	if (!q->ring) {
		free(q);
		return NULL;
	}
	memset(q->ring, 0, (size_t)size * entry);
	TAILQ_INSERT_TAIL(&fn->remote->queues, q, link);
	return q;
}

void nvmf_remote_queue_free(struct nvmf_remote_queue *q)
{
	if (!q)
		return;
	q->sq = NULL;
	q->cq = NULL;
	if (q->busy)
		return; /* its last message does it */
	TAILQ_REMOVE(&q->r->queues, q, link);
	free(q->ring);
	free(q);
}

void nvmf_remote_sq(struct nvmf_remote_queue *q, struct nvmf_sq *sq)
{
	q->sq = sq;
	q->db = sq->tail_db;
	q->fetched = q->goal = q->tail = sq->head;
	sq->remote = q;
	sq->entries = (const struct plx_nvme_cmd *)(void *)q->ring;
	sq->tail_db = &q->tail;
}

volatile uint32_t **nvmf_sq_doorbell(struct nvmf_sq *sq)
{
	return sq->remote ? &sq->remote->db : &sq->tail_db;
}

/* What was fetched and not executed is still in the host's ring, and read again from there */
void nvmf_remote_sq_leave(struct nvmf_sq *sq, const struct plx_nvme_cmd *entries)
{
	sq->tail_db = sq->remote->db;
	sq->entries = entries;
	nvmf_remote_queue_free(sq->remote);
	sq->remote = NULL;
}

void nvmf_remote_cq(struct nvmf_remote_queue *q, struct nvmf_cq *cq)
{
	q->cq = cq;
	cq->remote = q;
	cq->entries = (struct plx_nvme_cpl *)(void *)q->ring;
	q->visible = cq->tail;
	cq->visible = &q->visible;
	cq->room = 0; /* each completion asks nvmf_remote_cq_room() */
	cq->cold_room = 1;
}

void nvmf_remote_cq_leave(struct nvmf_cq *cq, struct plx_nvme_cpl *entries)
{
	for (uint32_t i = cq->remote->visible; i != cq->tail; i = i + 1 == cq->size ? 0 : i + 1) {
		const uint64_t *from = (const uint64_t *)&cq->entries[i];
		uint64_t *to = (uint64_t *)&entries[i];

		to[0] = from[0];
		__atomic_store_n(&to[1], from[1], __ATOMIC_RELEASE); /* the phase bit last */
	}
	cq->entries = entries;
	cq->visible = &cq->tail;
	nvmf_remote_queue_free(cq->remote);
	cq->remote = NULL;
}
