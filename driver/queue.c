/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/queue.c - the hot path of a queue pair: poll, doorbells, callbacks
 *
 * Submission is qpair_take() and qpair_put() of nvme_internal.h, called from ns_cmd.c; what they
 * left in the slots goes into the ring with the doorbell, qpair_write_sq(). Which lines
 * move between host and controller for one command: its SQ entry, the SQ doorbell and its CQ entry;
 * the last two are shared by all commands of a batch (four CQ entries to a line). The CQ head
 * doorbell is rung only when the completion queue's spare room is half used up, see cq_ack_at.
 */
#include "driver/nvme_internal.h"
#include <errno.h>
#include <string.h>

#define QPAIR_BATCH 32 /* completion entries taken before the first of them is called back */

void qpair_put_cmd(struct plx_nvme_qpair *qp, struct nvme_slot *slot,
		   const struct plx_nvme_cmd *cmd, plx_nvme_cb cb, void *arg)
{
	uint64_t w[8];

	memcpy(w, cmd, sizeof w);
	slot_arm(slot, cb, arg, qp->epoch);
	qpair_put(qp, slot, w);
}

/*
 * 2.2 times the rate of storing each entry when it is submitted, at depths 32 and 128 between cores
 * that take 490 ns for a line there and back; 1.4 times at 100 ns (Zen 4). A queue that had a
 * single command in its last turn is expected to have one again, and that is in the ring already.
 */
void qpair_write_sq(struct plx_nvme_qpair *qp)
{
	const struct nvme_slot *slots = qp->slots;
	const uint16_t *order = qp->sq_order;
	uint32_t i = qp->sq_rung, tail = qp->sq_tail, size = qp->sq_size, n = 0;
	struct plx_nvme_cmd *sq = qp->sq;

	if (i == qp->sq_direct) {
		n++;
		i = i + 1 == size ? 0 : i + 1;
	}
	for (; i != tail; n++) {
		const __m128i *from = (const __m128i *)&slots[order[i]].cmd;
		__m128i *to = (__m128i *)&sq[i];
		__m128i v0 = _mm_load_si128(&from[0]);
		__m128i v1 = _mm_load_si128(&from[1]);
		__m128i v2 = _mm_load_si128(&from[2]);
		__m128i v3 = _mm_load_si128(&from[3]);

		_mm_store_si128(&to[0], v0);
		_mm_store_si128(&to[1], v1);
		_mm_store_si128(&to[2], v2);
		_mm_store_si128(&to[3], v3);
		i = i + 1 == size ? 0 : i + 1;
	}
	qp->sq_rung = (uint16_t)tail;
	/* entries before doorbell: x86 keeps stores in order, the compiler is told to */
	__atomic_store_n(qp->sq_db, tail, __ATOMIC_RELEASE);
	qp->sq_direct = n == 1 ? (uint16_t)tail : NVME_NO_INDEX;
	qp->submissions += n;
	qp->sq_doorbells++;
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
	struct plx_nvme_cpl cpl = {
		.dw0 = dw0, .sqid = qp->qid, .cid = cid, .status = (uint16_t)(status << 1)
	};
	plx_nvme_cb cb = slot->cb;

	slot->cb = NULL;
	if (qp->state == NVME_QP_LIVE)
		qp->free_cids[qp->nfree++] = cid;
	else
		qp->free_cids[qp->nfree_saved++] = cid;
	qp->completions++;
	cb(slot->arg, &cpl);
}

/* An entry that is not a plain success of a known command. Return: true when it counts as a
 * completion. */
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
 * New entries from the head on, copied: what is checked is what is used, whatever the controller
 * writes meanwhile. A loop as short as this has the misses of several lines under way at once,
 * which one that calls back for each entry has not. The half with the phase bit is read first.
 * Return: how many
 */
static inline uint32_t cq_take(struct plx_nvme_qpair *qp, struct plx_nvme_cpl *batch, uint32_t max)
{
	uint32_t head = qp->cq_head, size = qp->cq_size, n = 0;
	uint64_t phase = qp->phase;

	while (n < max) {
		const uint64_t *e = (const uint64_t *)&qp->cq[head];
		uint64_t half[2];

		half[1] = __atomic_load_n(&e[1], __ATOMIC_ACQUIRE);
		if ((half[1] >> 48 & 1) != phase)
			break;
		half[0] = e[0];
		memcpy(&batch[n++], half, sizeof half);
		if (plx_unlikely(++head == size)) {
			head = 0;
			phase ^= 1;
		}
	}
	qp->cq_head = (uint16_t)head;
	qp->phase = (uint16_t)phase;
	return n;
}

/* Call back for each entry. Return: completions (a retried command is none) */
static inline uint32_t cq_call_back(struct plx_nvme_qpair *qp, struct plx_nvme_cpl *batch,
				    uint32_t n)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct plx_nvme_cpl *cpl = &batch[i];
		struct nvme_slot *slot;
		plx_nvme_cb cb;

		if (plx_unlikely(cpl->status >> 1 || cpl->cid >= qp->depth ||
				 !qp->slots[cpl->cid].cb)) {
			done += qpair_odd_cqe(qp, *cpl);
			continue;
		}
		slot = &qp->slots[cpl->cid];
		cb = slot->cb;
		slot->cb = NULL;
		qp->free_cids[qp->nfree++] = cpl->cid;
		done++;
		cb(slot->arg, cpl);
	}
	return done;
}

static plx_noinline void qpair_ack_cq(struct plx_nvme_qpair *qp)
{
	qp->cq_unacked = 0;
	qp->cq_doorbells++;
	__atomic_store_n(qp->cq_db, qp->cq_head, __ATOMIC_RELEASE);
}

int plx_nvme_qpair_poll(struct plx_nvme_qpair *qp, uint32_t max)
{
	struct plx_nvme_cpl batch[QPAIR_BATCH];
	uint32_t taken, done = 0;

	if (plx_unlikely(atomic_load_explicit(&qp->ctl.want, memory_order_acquire) !=
			 qp->want_seen))
		return qpair_attention(qp);
	if (plx_unlikely(qp->state != NVME_QP_LIVE))
		return qp->state == NVME_QP_FAILED ? -ENXIO : 0;
	if (plx_unlikely(!--qp->countdown))
		qpair_housekeep(qp);
	qpair_ring_sq(qp);
	qp->polls++;

	if (!max)
		max = UINT32_MAX;
	do {
		taken = cq_take(qp, batch, max - done < QPAIR_BATCH ? max - done : QPAIR_BATCH);
		qp->cq_unacked += taken;
		done += cq_call_back(qp, batch, taken);
	} while (taken == QPAIR_BATCH && done < max);

	if (!done) {
		qp->empty_polls++;
	} else {
		qp->completions += done;
		qpair_ring_sq(qp);
	}
	if (plx_unlikely(qp->cq_unacked >= qp->cq_ack_at))
		qpair_ack_cq(qp);
	return (int)done;
}

void plx_nvme_qpair_flush(struct plx_nvme_qpair *qp)
{
	if (qp->state == NVME_QP_LIVE)
		qpair_ring_sq(qp);
}
