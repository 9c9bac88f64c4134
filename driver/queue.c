/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/queue.c - the hot path of a queue pair: poll, doorbells, callbacks
 *
 * Submission is qpair_take() and qpair_put() of nvme_internal.h, called from ns_cmd.c. Which lines move between host and
 * controller for one command: its SQ entry, the SQ doorbell and its CQ entry; the last two are shared by
 * all commands of a batch (four CQ entries to a line). The CQ head doorbell is rung only when the
 * completion queue's spare room is half used up, see cq_ack_at.
 */
#include "driver/nvme_internal.h"
#include <errno.h>
#include <string.h>

void qpair_put_cmd(struct plx_nvme_qpair *qp, struct nvme_slot *slot, const struct plx_nvme_cmd *cmd, plx_nvme_cb cb, void *arg)
{
	uint64_t w[8];

	memcpy(w, cmd, sizeof w);
	slot->cb = cb;
	slot->arg = arg;
	slot->epoch = qp->epoch;
	slot->retries = 0;
	slot->aborting = 0;
	qpair_put(qp, slot, w);
}

plx_noinline int qpair_no_slot(struct plx_nvme_qpair *qp)
{
	if (qp->state == NVME_QP_FAILED)
		return -ENXIO;
	qp->queue_full++;
	return -EAGAIN;
}

void qpair_complete_slot(struct plx_nvme_qpair *qp, uint16_t cid, uint16_t status, uint32_t dw0)
{
	struct nvme_slot *slot = &qp->slots[cid];
	struct plx_nvme_cpl cpl = { .dw0 = dw0, .sqid = qp->qid, .cid = cid, .status = (uint16_t)(status << 1) };
	plx_nvme_cb cb = slot->cb;

	slot->cb = NULL;
	if (qp->state == NVME_QP_LIVE)
		qp->free_cids[qp->nfree++] = cid;
	else
		qp->free_cids[qp->nfree_saved++] = cid;
	qp->completions++;
	cb(slot->arg, &cpl);
}

/* An entry that is not a plain success of a known command. Return: true when it counts as a completion. */
static plx_noinline bool qpair_odd_cqe(struct plx_nvme_qpair *qp, struct plx_nvme_cpl cpl)
{
	struct nvme_slot *slot;
	plx_nvme_cb cb;

	if (cpl.cid >= qp->depth || !qp->slots[cpl.cid].cb) {
		qpair_bad_cqe(qp, &cpl);
		return false;
	}
	slot = &qp->slots[cpl.cid];
	if (qpair_retry(qp, cpl.cid, &cpl))
		return false;
	cb = slot->cb;
	slot->cb = NULL;
	qp->free_cids[qp->nfree++] = cpl.cid;
	cb(slot->arg, &cpl);
	return true;
}

/*
 * The entry at the head, copied: what is checked is what is used, whatever the controller writes meanwhile. The half
 * with the phase bit is read first. Return: false when it is an old one.
 */
static inline bool cq_peek(const struct plx_nvme_cpl *e, uint16_t phase, struct plx_nvme_cpl *copy)
{
	uint64_t half[2];

	half[1] = __atomic_load_n((const uint64_t *)e + 1, __ATOMIC_ACQUIRE);
	half[0] = *(const uint64_t *)e;
	memcpy(copy, half, sizeof half);
	return (half[1] >> 48 & 1) == phase;
}

static plx_noinline void qpair_ack_cq(struct plx_nvme_qpair *qp)
{
	qp->cq_unacked = 0;
	qp->cq_doorbells++;
	__atomic_store_n(qp->cq_db, qp->cq_head, __ATOMIC_RELEASE);
}

int plx_nvme_qpair_poll(struct plx_nvme_qpair *qp, uint32_t max)
{
	struct plx_nvme_cpl cpl;
	uint32_t n = 0;

	if (plx_unlikely(atomic_load_explicit(&qp->ctl.want, memory_order_acquire) != qp->want_seen))
		return qpair_attention(qp);
	if (plx_unlikely(qp->state != NVME_QP_LIVE))
		return qp->state == NVME_QP_FAILED ? -ENXIO : 0;
	if (plx_unlikely(!--qp->countdown))
		qpair_housekeep(qp);
	qpair_ring_sq(qp);
	qp->polls++;

	if (!max)
		max = UINT32_MAX;
	while (n < max && cq_peek(&qp->cq[qp->cq_head], qp->phase, &cpl)) {
		struct nvme_slot *slot;
		plx_nvme_cb cb;

		if (++qp->cq_head == qp->cq_size) {
			qp->cq_head = 0;
			qp->phase ^= 1;
		}
		qp->cq_unacked++;
		if (plx_unlikely(cpl.status >> 1 || cpl.cid >= qp->depth || !qp->slots[cpl.cid].cb)) {
			n += qpair_odd_cqe(qp, cpl);
			continue;
		}
		slot = &qp->slots[cpl.cid];
		cb = slot->cb;
		slot->cb = NULL;
		qp->free_cids[qp->nfree++] = cpl.cid;
		n++;
		cb(slot->arg, &cpl);
	}

	if (!n) {
		qp->empty_polls++;
	} else {
		qp->completions += n;
		qpair_ring_sq(qp);
	}
	if (plx_unlikely(qp->cq_unacked >= qp->cq_ack_at))
		qpair_ack_cq(qp);
	return (int)n;
}

void plx_nvme_qpair_flush(struct plx_nvme_qpair *qp)
{
	if (qp->state == NVME_QP_LIVE)
		qpair_ring_sq(qp);
}
