/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/park.c - queues whose memory the host has unmapped, for now
 *
 * Hosts unmap and map their memory while queues in it are idle: virtual machines when the layout of
 * the guest's memory changes, drivers when they move it. Such a queue is parked: where it was is
 * forgotten, no entry is fetched or posted. It goes on, with head, tail, phase and doorbells as
 * they are, when all of it is mapped again: at another address here, from another file, reached by
 * messages or no more. Commands that were submitted before are in memory that went away with them:
 * they are read then.
 *
 * A host that uses a parked queue gets a fatal status, though not at once: a processor of a virtual
 * machine may ring a doorbell while others change the layout.
 */
#include "targets/nvmf/nvmf_internal.h"
#include <stdio.h>

#define PATIENCE_S 1

static uint32_t sq_tail(struct nvmf_sq *sq)
{
	return __atomic_load_n(*nvmf_sq_doorbell(sq), __ATOMIC_ACQUIRE);
}

/* ---- parking ---- */

/* The ring of a remote queue is ours, and stays */
static void sq_park(struct nvmf_sq *sq)
{
	sq->parked = 1;
	sq->parked_tail = sq_tail(sq);
	sq->wanted_tsc = 0;
	nvmf_sq_deactivate(sq);
	if (!sq->remote)
		sq->entries = NULL;
}

static void cq_park(struct nvmf_cq *cq)
{
	cq->parked = 1;
	cq->cold_room = 1;
	cq->room = 0;
	cq->wanted_tsc = 0;
	if (!cq->remote)
		cq->entries = NULL;
}

void nvmf_fn_park(struct nvmf_fn *fn, uint64_t iova, uint64_t len)
{
	bool parked = false;

	if (fn->dbbuf_shadow && !fn->dbbuf_parked &&
	    (nvmf_overlap(fn->dbbuf_shadow, PLX_PAGE_SIZE, iova, len) ||
	     nvmf_overlap(fn->dbbuf_eventidx, PLX_PAGE_SIZE, iova, len))) {
		nvmf_fn_dbbuf_park(fn);
		parked = true;
	}
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		struct nvmf_sq *sq = fn->sqs[qid];
		struct nvmf_cq *cq = fn->cqs[qid];

		if (sq && !sq->parked &&
		    nvmf_overlap(sq->prp, sq->size * sizeof *sq->entries, iova, len)) {
			sq_park(sq);
			parked = true;
		}
		if (cq && !cq->parked &&
		    nvmf_overlap(cq->prp, cq->size * sizeof *cq->entries, iova, len)) {
			cq_park(cq);
			parked = true;
		}
	}
	fn->parked |= parked;
	fn->attention |= parked;
}

uint32_t nvmf_cq_cold_room(const struct nvmf_cq *cq, uint32_t room)
{
	return cq->parked ? 0 : nvmf_remote_cq_room(cq, room);
}

/* ---- the memory is there again ---- */

/* Return: false when it is not all there */
static bool sq_find(struct nvmf_sq *sq)
{
	uint64_t len = sq->size * sizeof *sq->entries;
	const struct plx_nvme_cmd *entries = nvmf_map(sq->fn, sq->prp, len);
	struct nvmf_remote_queue *q;

	if (entries) {
		if (sq->remote)
			nvmf_remote_sq_leave(sq, entries);
		sq->entries = entries;
		return true;
	}
	if (sq->remote)
		return nvmf_remote_queue_mapped(sq->remote);
	q = nvmf_remote_queue_create(sq->fn, sq->prp, sq->size, sizeof *sq->entries);
	if (q)
		nvmf_remote_sq(q, sq);
	return q;
}

static bool cq_find(struct nvmf_cq *cq)
{
	uint64_t len = cq->size * sizeof *cq->entries;
	struct plx_nvme_cpl *entries = nvmf_map(cq->fn, cq->prp, len);
	struct nvmf_remote_queue *q;

	if (entries) {
		if (cq->remote)
			nvmf_remote_cq_leave(cq, entries);
		cq->entries = entries;
		return true;
	}
	if (cq->remote)
		return nvmf_remote_queue_mapped(cq->remote);
	q = nvmf_remote_queue_create(cq->fn, cq->prp, cq->size, sizeof *cq->entries);
	if (q)
		nvmf_remote_cq(q, cq);
	return q;
}

/* A message from before the unmapping: the queue's state is known when it is back */
static bool is_busy(struct nvmf_fn *fn, const struct nvmf_remote_queue *q)
{
	if (!q || !nvmf_remote_queue_busy(q))
		return false;
	fn->resolve = true;
	return true;
}

static void sq_resolve(struct nvmf_sq *sq)
{
	struct nvmf_fn *fn = sq->fn;

	if (is_busy(fn, sq->remote) || !sq_find(sq))
		return;
	sq->parked = 0;
	/* a fatal status without a reset of the queues: Keep Alive */
	if (sq->state == NVMF_SQ_LIVE && !nvmf_fn_is_fatal(fn))
		nvmf_sq_activate(sq);
}

static void cq_resolve(struct nvmf_cq *cq)
{
	if (is_busy(cq->fn, cq->remote) || !cq_find(cq))
		return;
	cq->parked = 0;
	cq->cold_room = cq->remote != NULL;
}

/* ---- used while it is not ---- */

static bool sq_is_wanted(struct nvmf_sq *sq)
{
	return sq->parked && sq->state == NVMF_SQ_LIVE && sq_tail(sq) != sq->parked_tail;
}

/* Completions that wait for the host to make room do not wait for memory */
static bool cq_is_wanted(const struct nvmf_cq *cq)
{
	uint32_t head = __atomic_load_n(cq->head_db, __ATOMIC_ACQUIRE);

	if (!cq->parked)
		return false;
	return nvmf_cq_visible(cq) != cq->tail ||
	       (cq->full_head && head < cq->size && (cq->tail + 1u) % cq->size != head);
}

static bool is_out_of_patience(bool wanted, uint64_t *since)
{
	uint64_t now = plx_tsc();

	if (!wanted || !*since) {
		*since = wanted ? now : 0;
		return false;
	}
	return now - *since > PATIENCE_S * plx_tsc_hz();
}

static void check_use(struct nvmf_fn *fn)
{
	char why[128];

	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		struct nvmf_sq *sq = fn->sqs[qid];
		struct nvmf_cq *cq = fn->cqs[qid];
		bool sq_used = sq && is_out_of_patience(sq_is_wanted(sq), &sq->wanted_tsc);
		bool cq_used = cq && is_out_of_patience(cq_is_wanted(cq), &cq->wanted_tsc);

		if (!sq_used && !cq_used)
			continue;
		snprintf(why, sizeof why, "the host took away memory that holds %s queue %u, %s",
			 sq_used ? "submission" : "completion", qid,
			 sq_used ? "and submits to it" : "which a completion is for");
		nvmf_fn_die(fn, why);
		return;
	}
}

void nvmf_fn_attend_parked(struct nvmf_fn *fn)
{
	bool resolve = fn->resolve;

	fn->resolve = false;
	if (fn->dbbuf_parked && resolve)
		nvmf_fn_dbbuf_resume(fn);
	fn->parked = fn->dbbuf_parked;
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		struct nvmf_sq *sq = fn->sqs[qid];
		struct nvmf_cq *cq = fn->cqs[qid];

		if (cq && cq->parked && resolve)
			cq_resolve(cq);
		if (sq && sq->parked && resolve)
			sq_resolve(sq);
		fn->parked |= (sq && sq->parked) || (cq && cq->parked);
	}
	fn->attention |= fn->parked;
	if (fn->parked && !nvmf_fn_is_fatal(fn) && !fn->disabling)
		check_use(fn);
}
