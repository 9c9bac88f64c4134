/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/qpair.c - life of a queue pair
 *
 * The controller's thread says in ctl.want what it needs of a queue pair; the owner sees it in its
 * next poll, carries it out in qpair_attention() and answers in rsp.have. The other way round,
 * rsp.abort_cid and rsp.wants_reset are requests of the owner that the controller's poll picks up.
 * Nothing in here waits, but for create and destroy.
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_memory.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define ST_SQ_DELETED	PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_ABORT_QUEUE)
#define ST_HOST_ABORTED (PLX_NVME_ST(NVME_SCT_PATH, NVME_SC_CMD_ABORTED_BY_HOST) | PLX_NVME_DNR)

/* ---- memory ---- */

static int qpair_alloc_slots(struct plx_nvme_qpair *qp, int numa)
{
	struct plx_nvme_ctrlr *c = qp->ctrlr;

	qp->sgl = qp->qid ? dptr_sgl_modes(c->id.sgls, c->opts.use_sgl, c->opts.sgl_apart) : 0;
	/* the transfer limit is not known yet when the admin queue is made: a page for each of its
	 * few commands */
	qp->prp_list_bytes = qp->qid ? dptr_list_bytes(c->max_io_bytes, qp->sgl) : PLX_PAGE_SIZE;
	qp->slots = plx_dma_zalloc(qp->depth * sizeof(*qp->slots), PLX_NO_SHARE, numa);
	qp->free_cids = plx_dma_zalloc(qp->depth * sizeof(*qp->free_cids), PLX_NO_SHARE, numa);
	qp->sq_order = plx_dma_zalloc(qp->sq_size * sizeof(*qp->sq_order), PLX_NO_SHARE, numa);
	qp->prp_lists = plx_dma_alloc((size_t)qp->depth * qp->prp_list_bytes, PLX_PAGE_SIZE, numa);
	if (!qp->slots || !qp->free_cids || !qp->sq_order || !qp->prp_lists)
		return -ENOMEM;

	for (uint32_t i = 0; i < qp->depth; i++) {
		struct nvme_slot *s = &qp->slots[i];

		s->prp_list = (uint64_t *)((char *)qp->prp_lists + (size_t)i * qp->prp_list_bytes);
		s->prp_list_iova = ctrlr_iova(c, s->prp_list, qp->prp_list_bytes);
		if (s->prp_list_iova == PLX_IOVA_BAD)
			return -ENOMEM;
		qp->free_cids[i] = (uint16_t)(qp->depth - 1 - i);
	}
	qp->nfree = qp->depth;
	return 0;
}

static void qpair_rewind(struct plx_nvme_qpair *qp)
{
	memset(qp->sq, 0, (size_t)qp->sq_size * sizeof(*qp->sq));
	memset(qp->cq, 0, (size_t)qp->cq_size * sizeof(*qp->cq));
	qp->sq_tail = qp->sq_rung = 0;
	qp->sq_direct = NVME_NO_INDEX;
	qp->cq_head = qp->cq_unacked = 0;
	qp->phase = 1;
	/* a controller that was disabled begins with doorbells of 0 */
	memset(qp->db_sent, 0, sizeof(qp->db_sent));
	if (qp->db_by_call) {
		*qp->sq_db = 0;
		*qp->cq_db = 0;
	}
	if (qp->db_event[0])
		*qp->db_event[0] = *qp->db_event[1] = 0;
}

/* Doorbells of queue y (NVMe over PCIe Transport 1.0c §3.1.2), from 1000h on: SQ's, then CQ's */
static size_t doorbell_offset(const struct plx_nvme_qpair *qp, bool cq)
{
	return (2 * (size_t)qp->qid + cq) * ((size_t)4 << NVME_CAP_DSTRD(qp->ctrlr->cap));
}

static volatile uint32_t *doorbell_at(struct plx_pcie_dev *dev, size_t offset)
{
	if (dev->ops->doorbell)
		return dev->ops->doorbell(dev, (uint32_t)offset);
	return (volatile uint32_t *)((volatile char *)dev->doorbells + offset);
}

/* The hot path stores to the shadows; registers follow once per poll, if the controller asks for
 * it. */
static void qpair_shadow_doorbells(struct plx_nvme_qpair *qp, size_t sq, size_t cq)
{
	char *shadow = qp->ctrlr->shadow, *events = shadow + PLX_PAGE_SIZE;

	qp->db_by_call = true;
	qp->db_register[0] = qp->sq_db;
	qp->db_register[1] = qp->cq_db;
	qp->sq_db = (volatile uint32_t *)(shadow + sq);
	qp->cq_db = (volatile uint32_t *)(shadow + cq);
	qp->db_event[0] = (volatile uint32_t *)(events + sq);
	qp->db_event[1] = (volatile uint32_t *)(events + cq);
}

static int qpair_map_doorbells(struct plx_nvme_qpair *qp)
{
	struct plx_pcie_dev *dev = qp->ctrlr->dev;
	size_t sq = doorbell_offset(qp, false), cq = doorbell_offset(qp, true);

	if (cq + 4 > dev->doorbell_bytes)
		return -ENOSPC;
	qp->sq_db = doorbell_at(dev, sq);
	qp->cq_db = doorbell_at(dev, cq);
	if (qp->qid && qp->ctrlr->shadow_on && qp->sq_db && qp->cq_db)
		qpair_shadow_doorbells(qp, sq, cq);
	if (!qp->sq_db || !qp->cq_db) {
		qp->db_by_call = true;
		qp->sq_db = &qp->db[0];
		qp->cq_db = &qp->db[1];
	}
	return 0;
}

int qpair_init(struct plx_nvme_qpair *qp, struct plx_nvme_ctrlr *c, uint16_t qid, uint32_t size,
	       int numa)
{
	uint32_t limit = qid ? c->max_queue_size : 4096; /* AQA, §3.1.3.8 */
	uint32_t timeout_ms = qid ? c->opts.timeout_ms : c->opts.admin_timeout_ms;
	int rc;

	memset(qp, 0, sizeof(*qp));
	qp->ctrlr = c;
	qp->qid = qid;
	qp->irq_fd = -1;
	qp->owner = pthread_self();
	qp->sq_size = (uint16_t)(size < limit ? size : limit);
	/* room beyond the depth, so that the head doorbell is rung once for many completions */
	qp->cq_size = (uint16_t)(2u * qp->sq_size < limit ? 2u * qp->sq_size : limit);
	qp->depth = qp->sq_size - 1;
	qp->cq_ack_at = (uint16_t)((qp->cq_size - 1 - qp->depth) / 2);
	if (!qp->cq_ack_at)
		qp->cq_ack_at = 1;
	qp->identity = c->identity;
	qp->iova = c->iova;
	qp->countdown = 1;
	/* what may be submitted again has an age, too, which qpair_follow_scans() looks at */
	if (!qid || c->opts.timeout_action != PLX_NVME_TIMEOUT_NONE ||
	    c->opts.reset_policy == PLX_NVME_RESET_RESUBMIT_IO)
		qp->epoch_len = timeout_ms * c->tsc_ms / NVME_EPOCHS;
	qp->epoch_tsc = plx_tsc();
	qp->ns_scan = atomic_load_explicit(&c->ns_scanned, memory_order_relaxed);
	qp->ns_scan_next = qp->ns_scan;
	atomic_init(&qp->rsp.abort_cid, NVME_NO_CID);

	rc = qpair_map_doorbells(qp);
	if (rc)
		return rc;
	qp->sq = qid ? cmb_alloc_sq(c, qp->sq_size * sizeof(*qp->sq)) : NULL;
	qp->sq_in_cmb = qp->sq;
	if (!qp->sq)
		qp->sq = plx_dma_zalloc(qp->sq_size * sizeof(*qp->sq), PLX_PAGE_SIZE, numa);
	qp->cq = plx_dma_zalloc((size_t)qp->cq_size * sizeof(*qp->cq), PLX_PAGE_SIZE, numa);
	if (!qp->sq || !qp->cq || qpair_alloc_slots(qp, numa)) {
		qpair_fini(qp);
		return -ENOMEM;
	}
	if (ctrlr_iova(c, qp->sq, (size_t)qp->sq_size * sizeof(*qp->sq)) == PLX_IOVA_BAD ||
	    ctrlr_iova(c, qp->cq, (size_t)qp->cq_size * sizeof(*qp->cq)) == PLX_IOVA_BAD) {
		nvme_log(ERR,
			 "controller '%s': no contiguous memory for %u queue entries: use "
			 "hugepages, or smaller queues",
			 c->name, qp->sq_size);
		qpair_fini(qp);
		return -ENOMEM;
	}
	qpair_rewind(qp);
	return 0;
}

void qpair_fini(struct plx_nvme_qpair *qp)
{
	split_pool_fini(qp);
	plx_dma_free(qp->prp_lists);
	plx_dma_free(qp->sq_order);
	plx_dma_free(qp->free_cids);
	plx_dma_free(qp->slots);
	plx_dma_free(qp->cq);
	if (qp->sq_in_cmb)
		plx_nvme_cmb_free(qp->ctrlr, qp->sq);
	else
		plx_dma_free(qp->sq);
	qp->prp_lists = NULL;
	qp->sq_order = qp->free_cids = NULL;
	qp->slots = NULL;
	qp->cq = NULL;
	qp->sq = NULL;
}

/* ---- what the controller wants ---- */

static void qpair_leave_live(struct plx_nvme_qpair *qp, enum nvme_qp_state state)
{
	if (qp->state == NVME_QP_LIVE) {
		qp->nfree_saved = qp->nfree;
		qp->nfree = 0;
	}
	qp->state = (uint8_t)state;
}

/* Fused commands travel in pairs: they cannot be submitted again one by one. */
static bool qpair_keeps(const struct plx_nvme_qpair *qp, const struct nvme_slot *slot)
{
	const struct plx_nvme_ctrlr_opts *o = &qp->ctrlr->opts;

	/* what is in the controller memory buffer is undefined now; odd opcodes read it */
	if (slot->cmd.opc & 1 && atomic_load_explicit(&qp->ctrlr->cmb.data, memory_order_relaxed))
		return false;
	/* a Zone Append that was carried out already would be so twice */
	return qp->qid && o->reset_policy == PLX_NVME_RESET_RESUBMIT_IO &&
	       slot->retries < o->retry_count && !(slot->cmd.flags & PLX_NVME_FUSE_MASK) &&
	       slot->cmd.opc != nvme_zns_cmd_append;
}

/* Call back what is outstanding; @keep: but for what is to be submitted again. */
static int qpair_give_up(struct plx_nvme_qpair *qp, uint16_t status, bool keep)
{
	int n = 0;

	for (uint32_t cid = 0; cid < qp->depth; cid++) {
		struct nvme_slot *slot = &qp->slots[cid];

		if (!slot->cb)
			continue;
		if (keep && qpair_keeps(qp, slot)) {
			slot->retries++;
			continue;
		}
		qpair_complete_slot(qp, (uint16_t)cid, status, 0);
		n++;
	}
	qp->retries_waiting = 0;
	if (n && qp->qid)
		atomic_fetch_add_explicit(&qp->ctrlr->stats.failed_ios, (uint64_t)n,
					  memory_order_relaxed);
	return n;
}

static void qpair_resubmit(struct plx_nvme_qpair *qp, struct nvme_slot *slot)
{
	uint64_t w[8];

	memcpy(w, &slot->cmd, sizeof(w));
	slot->epoch = qp->epoch;
	slot->aborting = NVME_SLOT_PLAIN;
	qp->retries++;
	qpair_put(qp, slot, w);
}

/* What was kept over a reset, but its namespace is gone, has another format, or ends before it.
 * Return: how many */
static int qpair_drop_stale(struct plx_nvme_qpair *qp)
{
	struct plx_nvme_ctrlr *c = qp->ctrlr;
	uint32_t scan = atomic_load_explicit(&c->ns_scanned, memory_order_relaxed);
	int n = 0;

	for (uint32_t cid = 0; cid < qp->depth; cid++) {
		struct nvme_slot *slot = &qp->slots[cid];
		uint16_t status = slot->cb ? ns_resubmit_status(c, qp->ns_scan, &slot->cmd) : 0;

		if (!status)
			continue;
		qpair_complete_slot(qp, (uint16_t)cid, status, 0);
		n++;
	}
	qp->ns_scan = qp->ns_scan_next = scan;
	if (!n)
		return 0;
	nvme_log(WARN,
		 "controller '%s': queue pair %u: %d commands are not submitted again: their "
		 "namespace is gone, another one, or smaller",
		 c->name, qp->qid, n);
	atomic_fetch_add_explicit(&c->stats.failed_ios, (uint64_t)n, memory_order_relaxed);
	return n;
}

/* Return: completions called back */
static int qpair_go_live(struct plx_nvme_qpair *qp)
{
	/* callbacks that submit get -EAGAIN: what they added would be taken for kept */
	int n = qp->qid ? qpair_drop_stale(qp) : 0;

	if (qp->state != NVME_QP_LIVE) {
		qp->nfree = qp->nfree_saved;
		qp->nfree_saved = 0;
	}
	qp->state = NVME_QP_LIVE;
	qp->epoch_tsc = plx_tsc();
	/* at most depth commands are outstanding and the ring is empty: they fit */
	for (uint32_t cid = 0; cid < qp->depth; cid++)
		if (qp->slots[cid].cb)
			qpair_resubmit(qp, &qp->slots[cid]);
	return n;
}

int qpair_attention(struct plx_nvme_qpair *qp)
{
	uint32_t want = atomic_load_explicit(&qp->ctl.want, memory_order_acquire);
	int n = 0;

	qp->want_seen = (uint16_t)want;
	switch (want) {
	case NVME_QP_LIVE:
		n = qpair_go_live(qp);
		break;
	case NVME_QP_QUIESCED:
		qpair_leave_live(qp, NVME_QP_QUIESCED);
		break;
	case NVME_QP_RESET:
		qpair_leave_live(qp, NVME_QP_RESET);
		qpair_rewind(qp);
		n = qpair_give_up(qp, ST_SQ_DELETED, true);
		atomic_store_explicit(&qp->rsp.abort_cid, NVME_NO_CID, memory_order_relaxed);
		atomic_store_explicit(&qp->rsp.wants_reset, NVME_RESET_NOT_WANTED,
				      memory_order_relaxed);
		break;
	case NVME_QP_FAILED:
		qpair_leave_live(qp, NVME_QP_FAILED);
		n = qpair_give_up(qp, ST_HOST_ABORTED, false);
		break;
	}
	atomic_store_explicit(&qp->rsp.have, want, memory_order_release);
	return want == NVME_QP_FAILED && !n ? -ENXIO : n;
}

/* ---- what the owner wants ---- */

static void qpair_want_reset(struct plx_nvme_qpair *qp, enum nvme_reset_reason why)
{
	atomic_store_explicit(&qp->rsp.wants_reset, why, memory_order_release);
}

static void qpair_timed_out(struct plx_nvme_qpair *qp, uint16_t cid)
{
	struct nvme_slot *slot = &qp->slots[cid];

	if (qp->qid && qp->ctrlr->opts.timeout_action == PLX_NVME_TIMEOUT_NONE)
		return;
	if (!qp->qid || qp->ctrlr->opts.timeout_action == PLX_NVME_TIMEOUT_RESET ||
	    slot->aborting == NVME_SLOT_ABORTING) {
		qpair_want_reset(qp, NVME_RESET_TIMEOUT);
		return;
	}
	/* one request at a time: the next one in a later epoch */
	if (atomic_load_explicit(&qp->rsp.abort_cid, memory_order_relaxed) != NVME_NO_CID)
		return;
	slot->aborting = NVME_SLOT_ABORTING;
	slot->epoch = qp->epoch;
	atomic_store_explicit(&qp->rsp.abort_cid, cid, memory_order_release);
}

uint32_t plx_nvme_qpair_abort(struct plx_nvme_qpair *qp, bool (*match)(void *cb_arg, void *arg),
			      void *arg)
{
	uint32_t n = 0;

	/* an Abort must not overtake what it is for */
	plx_nvme_qpair_flush(qp);
	for (uint32_t cid = 0; cid < qp->depth; cid++) {
		struct nvme_slot *slot = &qp->slots[cid];

		if (!slot->cb || !match(split_caller_arg(slot->cb, slot->arg), arg))
			continue;
		if (slot->aborting == NVME_SLOT_WAITING) {
			qpair_complete_slot(qp, (uint16_t)cid,
					    PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_ABORT_REQ) |
						    PLX_NVME_DNR,
					    0);
			continue;
		}
		n++;
		if (slot->aborting == NVME_SLOT_ABORTING || qp->state != NVME_QP_LIVE ||
		    atomic_load_explicit(&qp->rsp.abort_cid, memory_order_relaxed) != NVME_NO_CID)
			continue;
		slot->aborting = NVME_SLOT_ABORTING;
		slot->epoch = qp->epoch;
		atomic_store_explicit(&qp->rsp.abort_cid, cid | NVME_ABORT_ASKED,
				      memory_order_release);
	}
	return n;
}

/* What an admin command may take, in epochs of the timeout of others */
static uint32_t admin_epochs(const struct plx_nvme_ctrlr *c, uint8_t opc)
{
	if (!admin_is_long(opc) || c->opts.long_admin_timeout_ms <= c->opts.admin_timeout_ms)
		return NVME_EPOCHS;
	return (uint32_t)((uint64_t)NVME_EPOCHS * c->opts.long_admin_timeout_ms /
			  c->opts.admin_timeout_ms);
}

static void qpair_scan_timeouts(struct plx_nvme_qpair *qp)
{
	for (uint32_t cid = 0; cid < qp->depth; cid++) {
		struct nvme_slot *slot = &qp->slots[cid];

		if (!slot->cb || qp->epoch - slot->epoch <= NVME_EPOCHS ||
		    slot->aborting == NVME_SLOT_WAITING)
			continue;
		/* an Asynchronous Event Request waits for ever */
		if (!qp->qid && slot->cmd.opc == nvme_admin_async_event)
			continue;
		if (!qp->qid && qp->epoch - slot->epoch <= admin_epochs(qp->ctrlr, slot->cmd.opc))
			continue;
		qpair_timed_out(qp, (uint16_t)cid);
	}
}

/* In each new epoch: once nothing is left from before the last one, what is outstanding was
 * submitted after the scans that had ended by then. A retry or an Abort gives a slot a new epoch,
 * but the command is as old as ever. */
static void qpair_follow_scans(struct plx_nvme_qpair *qp)
{
	for (uint32_t cid = 0; cid < qp->depth; cid++) {
		const struct nvme_slot *slot = &qp->slots[cid];

		if (slot->cb && (qp->epoch - slot->epoch > 1 || slot->retries || slot->aborting))
			return;
	}
	qp->ns_scan = qp->ns_scan_next;
	qp->ns_scan_next = atomic_load_explicit(&qp->ctrlr->ns_scanned, memory_order_relaxed);
}

static void qpair_retry_due(struct plx_nvme_qpair *qp, uint64_t now)
{
	uint16_t waiting = 0;

	for (uint32_t cid = 0; cid < qp->depth; cid++) {
		struct nvme_slot *slot = &qp->slots[cid];

		if (!slot->cb || slot->aborting != NVME_SLOT_WAITING)
			continue;
		if ((int64_t)(now - slot->retry_tsc) >= 0)
			qpair_resubmit(qp, slot);
		else
			waiting++;
	}
	qp->retries_waiting = waiting;
}

/* The controller wants to be told when a doorbell moves past the event index (§B.5): it stops to
 * look by itself after it has set that, so the shadow has to be seen before the index is read. */
static bool passes_event(const volatile uint32_t *event, uint32_t old, uint32_t now)
{
	atomic_thread_fence(memory_order_seq_cst);
	return (uint16_t)(now - *event - 1) < (uint16_t)(now - old);
}

/* What has been submitted before this poll goes out with it, too. */
void qpair_send_doorbells(struct plx_nvme_qpair *qp)
{
	struct plx_pcie_dev *dev = qp->ctrlr->dev;

	qpair_ring_sq(qp);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t now = i ? *qp->cq_db : *qp->sq_db, old = qp->db_sent[i];

		if (now == old)
			continue;
		qp->db_sent[i] = now;
		if (!qp->db_register[i])
			dev->ops->doorbell_write(dev, (uint32_t)doorbell_offset(qp, i), now);
		else if (passes_event(qp->db_event[i], old, now))
			*qp->db_register[i] = now;
	}
}

/* Return: polls until the next time */
static uint16_t qpair_reach_device(struct plx_nvme_qpair *qp)
{
	struct plx_pcie_dev *dev = qp->ctrlr->dev;
	bool each = qp->db_by_call || qp->irq_fd >= 0; /* polls are few where they are waited for */

	if (qp->db_by_call)
		qpair_send_doorbells(qp);
	if (atomic_load_explicit(&dev->wants_poll, memory_order_relaxed))
		each |= dev->ops->poll(dev);
	return each || !qp->qid ? 1 : NVME_HOUSEKEEP_POLLS;
}

void qpair_housekeep(struct plx_nvme_qpair *qp)
{
	uint64_t now;

	qp->countdown = qpair_reach_device(qp);
	if (!qp->epoch_len && !qp->retries_waiting)
		return;
	now = plx_tsc();
	if (qp->retries_waiting)
		qpair_retry_due(qp, now);
	/* while firmware is being activated no command has to come back */
	if (atomic_load_explicit(&qp->ctrlr->paused, memory_order_relaxed))
		qp->epoch_tsc = now;
	if (qp->epoch_len && now - qp->epoch_tsc >= qp->epoch_len) {
		/* by one, however long ago: what waits in the completion queue of a late owner is
		 * no timeout */
		qp->epoch_tsc = now;
		qp->epoch++;
		qpair_scan_timeouts(qp);
		qpair_follow_scans(qp);
	}
}

void qpair_bad_cqe(struct plx_nvme_qpair *qp, const struct plx_nvme_cpl *cpl)
{
	if (atomic_load_explicit(&qp->rsp.wants_reset, memory_order_relaxed) == NVME_RESET_BAD_CQE)
		return;
	nvme_log(ERR,
		 "controller '%s': queue pair %u: completion of command identifier %u, which is "
		 "not outstanding",
		 qp->ctrlr->name, qp->qid, cpl->cid);
	qpair_want_reset(qp, NVME_RESET_BAD_CQE);
}

/*
 * Without DNR the same command "may succeed" (§3.3.3.2.1); worth trying again at once is only what
 * passes by itself. A controller that gives a delay (CRD) asks for the retry.
 */
static bool qpair_retryable(uint16_t status)
{
	if (status & NVME_SC_CRD)
		return true;
	switch (PLX_NVME_ST_CODE(status)) {
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_DATA_XFER_ERROR):
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INTERNAL):
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_CMD_INTERRUPTED):
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_TRAN_TPORT_ERROR):
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_NS_NOT_READY):
	case PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_WRITE_FAULT):
	case PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_READ_ERROR):
		return true;
	}
	return false;
}

bool qpair_retry(struct plx_nvme_qpair *qp, uint16_t cid, const struct plx_nvme_cpl *cpl)
{
	struct nvme_slot *slot = &qp->slots[cid];
	struct plx_nvme_ctrlr *c = qp->ctrlr;
	uint16_t status = plx_nvme_status(cpl);
	uint64_t delay;

	if (!status || !qp->qid || (status & PLX_NVME_DNR) ||
	    slot->retries >= c->opts.retry_count || (slot->cmd.flags & PLX_NVME_FUSE_MASK) ||
	    !qpair_retryable(status))
		return false;
	slot->retries++;
	delay = c->crdt[(status & NVME_SC_CRD) >> 11];
	if (!delay) {
		qpair_resubmit(qp, slot);
		return true;
	}
	slot->aborting = NVME_SLOT_WAITING;
	slot->retry_tsc = plx_tsc() + delay;
	qp->retries_waiting++;
	return true;
}

/* ---- create and destroy ---- */

uint16_t ctrlr_qid_take(struct plx_nvme_ctrlr *c)
{
	for (uint32_t qid = 1; qid <= c->num_io_queues; qid++) {
		uint64_t *word = &c->qids[qid / 64], bit = 1ull << (qid % 64);

		if (*word & bit)
			continue;
		*word |= bit;
		return (uint16_t)qid;
	}
	return 0;
}

void ctrlr_qid_put(struct plx_nvme_ctrlr *c, uint16_t qid)
{
	c->qids[qid / 64] &= ~(1ull << (qid % 64));
}

/* Return: the identifier, or 0 with errno. */
static uint16_t qid_take(struct plx_nvme_ctrlr *c)
{
	uint16_t qid;

	switch (ctrlr_state(c)) {
	case PLX_NVME_CTRLR_FAILED:
		errno = ENXIO;
		return 0;
	case PLX_NVME_CTRLR_READY:
		break;
	default:
		errno = EAGAIN;
		return 0;
	}
	qid = ctrlr_qid_take(c);
	if (!qid) {
		nvme_log(ERR, "controller '%s': all of its %u I/O queue pairs are in use", c->name,
			 c->num_io_queues);
		errno = ENOSPC;
	}
	return qid;
}

static void qid_give_back(struct plx_nvme_ctrlr *c, uint16_t qid)
{
	pthread_mutex_lock(&c->lock);
	ctrlr_qid_put(c, qid);
	pthread_mutex_unlock(&c->lock);
}

/* §5.4: physically contiguous; IV, IEN */
void qpair_create_cq_cmd(const struct plx_nvme_qpair *qp, struct plx_nvme_cmd *cmd)
{
	*cmd = (struct plx_nvme_cmd){
		.opc = nvme_admin_create_cq,
		.prp1 = ctrlr_iova(qp->ctrlr, qp->cq, (size_t)qp->cq_size * sizeof(*qp->cq)),
		.cdw10 = (uint32_t)(qp->cq_size - 1) << 16 | qp->qid,
		.cdw11 = qp->irq_fd < 0 ? 1 : (uint32_t)qp->irq_vector << 16 | 2 | 1,
	};
}

/* §5.5: physically contiguous, completions to the queue of the same identifier */
void qpair_create_sq_cmd(const struct plx_nvme_qpair *qp, struct plx_nvme_cmd *cmd)
{
	*cmd = (struct plx_nvme_cmd){
		.opc = nvme_admin_create_sq,
		.prp1 = ctrlr_iova(qp->ctrlr, qp->sq, (size_t)qp->sq_size * sizeof(*qp->sq)),
		.cdw10 = (uint32_t)(qp->sq_size - 1) << 16 | qp->qid,
		.cdw11 = (uint32_t)qp->qid << 16 | 1,
	};
	/* reserved but with weighted round robin */
	if (qp->ctrlr->weighted)
		cmd->cdw11 |= (uint32_t)qp->priority << 1;
}

/* Return: 0; -errno, with what the controller said in the log. */
static int qpair_create_queue(struct plx_nvme_qpair *qp, const struct plx_nvme_cmd *cmd,
			      const char *what)
{
	struct plx_nvme_ctrlr *c = qp->ctrlr;
	struct plx_nvme_cpl cpl;
	char text[96];
	int rc = plx_nvme_admin_sync(c, cmd, NULL, 0, &cpl);

	if (rc)
		return rc == -ETIMEDOUT ? -EIO : rc;
	if (plx_nvme_ok(&cpl))
		return 0;
	if (ctrlr_state(c) == PLX_NVME_CTRLR_FAILED)
		return -ENXIO;
	if (plx_nvme_status(&cpl) == ST_SQ_DELETED)
		return -EAGAIN; /* a reset came in between */
	nvme_log(ERR, "controller '%s': creating I/O %s queue %u of %u entries failed: %s", c->name,
		 what, qp->qid, cmd->opc == nvme_admin_create_cq ? qp->cq_size : qp->sq_size,
		 plx_nvme_status_text(plx_nvme_status(&cpl), text, sizeof(text)));
	return -EIO;
}

static void qpair_delete_queue(struct plx_nvme_qpair *qp, uint8_t opc)
{
	struct plx_nvme_cmd cmd = { .opc = opc, .cdw10 = qp->qid };
	struct plx_nvme_cpl cpl;

	plx_nvme_admin_sync(qp->ctrlr, &cmd, NULL, 0, &cpl);
}

/* Make both queues known to the controller, and the pair to it as well. */
static int qpair_create_queues(struct plx_nvme_qpair *qp)
{
	struct plx_nvme_ctrlr *c = qp->ctrlr;
	struct plx_nvme_cmd cmd;
	int rc;

	qpair_create_cq_cmd(qp, &cmd);
	rc = qpair_create_queue(qp, &cmd, "completion");
	if (rc)
		return rc;
	qpair_create_sq_cmd(qp, &cmd);
	rc = qpair_create_queue(qp, &cmd, "submission");
	if (rc) {
		if (rc == -EIO)
			qpair_delete_queue(qp, nvme_admin_delete_cq);
		return rc;
	}
	pthread_mutex_lock(&c->lock);
	if (ctrlr_state(c) == PLX_NVME_CTRLR_READY) {
		qp->next = c->qpairs;
		c->qpairs = qp;
	} else {
		rc = ctrlr_state(c) == PLX_NVME_CTRLR_FAILED ? -ENXIO : -EAGAIN;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Wait until the controller cannot have queues of this identifier any more, or is ready to be told
 * so. */
static bool qpair_wait_settled(struct plx_nvme_ctrlr *c)
{
	for (;;) {
		enum plx_nvme_ctrlr_state state;
		bool gone;

		pthread_mutex_lock(&c->lock);
		state = ctrlr_state(c);
		gone = c->io_queues_gone;
		pthread_mutex_unlock(&c->lock);
		if (state == PLX_NVME_CTRLR_READY)
			return true;
		if (state == PLX_NVME_CTRLR_FAILED || gone)
			return false;
		ctrlr_setup_turn(c);
	}
}

void plx_nvme_qpair_opts_init(struct plx_nvme_qpair_opts *opts)
{
	*opts = (struct plx_nvme_qpair_opts){
		.size = sizeof(*opts),
		.queue_size = 256,
		.max_split_ios = 64,
		.numa = PLX_NUMA_ANY,
	};
}

struct plx_nvme_qpair *plx_nvme_qpair_create(struct plx_nvme_ctrlr *c,
					     const struct plx_nvme_qpair_opts *opts)
{
	struct plx_nvme_qpair_opts o;
	struct plx_nvme_qpair *qp;
	uint16_t qid;
	int rc;

	plx_nvme_qpair_opts_init(&o);
	if (opts)
		memcpy(&o, opts, opts->size < sizeof(o) ? opts->size : sizeof(o));
	if (!o.queue_size)
		o.queue_size = 256;
	if (o.queue_size < 2)
		o.queue_size = 2; /* §3.3.3.1: the smallest queue */
	if (o.numa == PLX_NUMA_ANY)
		o.numa = c->dev->numa;

	if (c->dev->numa != PLX_NUMA_ANY)
		plx_topo_check((unsigned)sched_getcpu(), c->dev->numa, c->name);

	pthread_mutex_lock(&c->lock);
	qid = qid_take(c);
	pthread_mutex_unlock(&c->lock);
	if (!qid)
		return NULL;
	qp = plx_dma_zalloc(sizeof(*qp), PLX_NO_SHARE, o.numa);
	rc = qp ? qpair_init(qp, c, qid, o.queue_size, o.numa) : -ENOMEM;
	if (rc)
		goto free_qp;
	qp->priority = o.priority & 3;
	if (o.interrupts)
		qpair_irq_init(qp);
	rc = split_pool_init(qp, o.max_split_ios);
	if (rc)
		goto fini;
	rc = qpair_create_queues(qp);
	if (!rc)
		return qp;
	/* after a lost race with a reset, or a failure, the device may still know the rings */
	qpair_wait_settled(c);
fini:
	qpair_fini(qp);
free_qp:
	plx_dma_free(qp);
	qid_give_back(c, qid);
	errno = -rc;
	return NULL;
}

static void qpair_unlink(struct plx_nvme_qpair *qp)
{
	struct plx_nvme_ctrlr *c = qp->ctrlr;

	pthread_mutex_lock(&c->lock);
	for (struct plx_nvme_qpair **p = &c->qpairs; *p; p = &(*p)->next) {
		if (*p == qp) {
			*p = qp->next;
			break;
		}
	}
	pthread_mutex_unlock(&c->lock);
}

/* Call back what the controller had completed before its queue went. */
static void qpair_drain_cq(struct plx_nvme_qpair *qp)
{
	for (uint32_t n = 0; n < qp->cq_size; n++) {
		const struct plx_nvme_cpl *cpl = &qp->cq[qp->cq_head];
		uint16_t status = __atomic_load_n(&cpl->status, __ATOMIC_ACQUIRE);
		uint16_t cid = __atomic_load_n(&cpl->cid, __ATOMIC_RELAXED);

		if ((status & 1) != qp->phase)
			break;
		if (++qp->cq_head == qp->cq_size) {
			qp->cq_head = 0;
			qp->phase ^= 1;
		}
		if (cid < qp->depth && qp->slots[cid].cb)
			qpair_complete_slot(qp, cid, status >> 1, cpl->dw0);
	}
}

void plx_nvme_qpair_destroy(struct plx_nvme_qpair *qp)
{
	struct plx_nvme_ctrlr *c;

	if (!qp)
		return;
	c = qp->ctrlr;
	/* from here on a reset neither waits for this pair nor creates it again */
	qpair_unlink(qp);
	/* callbacks that submit get -ENXIO */
	qpair_leave_live(qp, NVME_QP_FAILED);
	if (qpair_wait_settled(c)) {
		/* the submission queue first (§3.3.1.2); its commands complete or are aborted
		 * before the Delete does */
		qpair_delete_queue(qp, nvme_admin_delete_sq);
		qpair_delete_queue(qp, nvme_admin_delete_cq);
		/* a reset that came in between deletes as well, but only once it has disabled the
		 * controller */
		qpair_wait_settled(c);
	}
	qpair_drain_cq(qp);
	qpair_give_up(qp, ST_SQ_DELETED, false);
	qid_give_back(c, qp->qid);
	qpair_fini(qp);
	plx_dma_free(qp);
}

/* ---- properties ---- */

uint32_t plx_nvme_qpair_depth(const struct plx_nvme_qpair *qp)
{
	return qp->depth;
}

uint16_t plx_nvme_qpair_id(const struct plx_nvme_qpair *qp)
{
	return qp->qid;
}

uint32_t plx_nvme_qpair_outstanding(const struct plx_nvme_qpair *qp)
{
	return qp->depth - (qp->state == NVME_QP_LIVE ? qp->nfree : qp->nfree_saved);
}

/* Commands that wait for the flush */
static uint32_t qpair_unsent(const struct plx_nvme_qpair *qp)
{
	return (qp->sq_tail + qp->sq_size - qp->sq_rung) % qp->sq_size;
}

void plx_nvme_qpair_get_stats(const struct plx_nvme_qpair *qp, struct plx_nvme_qpair_stats *out)
{
	*out = (struct plx_nvme_qpair_stats){
		.submissions = qp->submissions + qpair_unsent(qp),
		.completions = qp->completions,
		.polls = qp->polls,
		.empty_polls = qp->empty_polls,
		.sq_doorbells = qp->sq_doorbells,
		.cq_doorbells = qp->cq_doorbells,
		.splits = qp->splits,
		.retries = qp->retries,
		.queue_full = qp->queue_full,
	};
}
