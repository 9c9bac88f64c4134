/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/share_admin.c - the owner of a shared controller: admin commands of guests, and what is
 * left of guests that have gone
 *
 * Queue identifiers are a guest's own, and translated. What concerns the whole controller and has
 * been settled by the owner is answered here. Everything else goes to the controller as it is: data
 * is read and written in the guest's memory, by the addresses that the guest was told.
 */
#include "driver/share.h"
#include <errno.h>
#include <string.h>

#define ST_INVALID_OPCODE PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_OPCODE)
#define ST_INVALID_FIELD  PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD)
#define ST_INVALID_PRP	  PLX_NVME_ST(NVME_SCT_GENERIC, 0x13) /* PRP Offset Invalid */
#define ST_CQ_INVALID	  PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_CQ_INVALID)
#define ST_QID_INVALID	  PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QID_INVALID)
#define ST_QUEUE_SIZE	  PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QUEUE_SIZE)
#define ST_VECTOR	  PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_VECTOR)
#define HEALTH_EVENTS	  0xffu /* §5.27.1.8, SMART / Health Critical Warnings */
#define ST_HELD		  0xffff /* is neither answered nor passed on */
#define ST_PASS		  0xfffe

/* ---- answers ---- */

static void answer(struct share_guest *p, uint16_t cid, uint16_t status, uint32_t dw0, uint32_t dw1)
{
	struct share_cpl m = { .h.type = SHARE_CPL };

	if (p->state != GUEST_ON)
		return;
	m.cpl.cid = cid;
	m.cpl.status = (uint16_t)(status << 1);
	m.cpl.dw0 = dw0;
	m.cpl.dw1 = dw1;
	guest_send(p, &m, sizeof(m), -1);
}

/* ---- queues ---- */

static struct share_queue *queue_of(struct share_guest *p, uint32_t qid)
{
	return qid && qid < p->nqueues && p->queue[qid].real ? &p->queue[qid] : NULL;
}

/* §5.4 and §5.5: in one piece of the guest's memory. Interrupts are the owner's */
static uint16_t check_ring(const struct share_guest *p, const struct plx_nvme_cmd *cmd,
			   uint32_t entry)
{
	uint32_t size = (cmd->cdw10 >> 16) + 1;

	if (size < 2 || size > p->c->max_queue_size)
		return ST_QUEUE_SIZE;
	if (!(cmd->cdw11 & 1) || cmd->prp1 % PLX_PAGE_SIZE)
		return ST_INVALID_FIELD;
	return guest_holds(p, cmd->prp1, (uint64_t)size * entry) ? ST_PASS : ST_INVALID_PRP;
}

static uint16_t create_cq(struct share_guest *p, struct share_cmd *k)
{
	struct share_queue *q = queue_of(p, k->cmd.cdw10 & 0xffff);
	uint16_t st;

	if (!q || q->cq != QUEUE_NONE)
		return ST_QID_INVALID;
	if (k->cmd.cdw11 & 2)
		return ST_VECTOR;
	st = check_ring(p, &k->cmd, sizeof(struct plx_nvme_cpl));
	if (st != ST_PASS)
		return st;
	k->qid = k->cmd.cdw10 & 0xffff;
	k->cmd.cdw10 = (k->cmd.cdw10 & 0xffff0000u) | q->real;
	k->cmd.cdw11 = 1;
	q->cq_iova = k->cmd.prp1;
	q->cq = QUEUE_MAKING;
	return ST_PASS;
}

static uint16_t create_sq(struct share_guest *p, struct share_cmd *k)
{
	struct share_queue *q = queue_of(p, k->cmd.cdw10 & 0xffff);
	struct share_queue *cq = queue_of(p, k->cmd.cdw11 >> 16);
	uint16_t st;

	if (!q || q->sq != QUEUE_NONE)
		return ST_QID_INVALID;
	if (!cq || cq->cq != QUEUE_THERE)
		return ST_CQ_INVALID;
	st = check_ring(p, &k->cmd, sizeof(struct plx_nvme_cmd));
	if (st != ST_PASS)
		return st;
	k->qid = k->cmd.cdw10 & 0xffff;
	k->cmd.cdw10 = (k->cmd.cdw10 & 0xffff0000u) | q->real;
	k->cmd.cdw11 = (uint32_t)cq->real << 16 | (k->cmd.cdw11 & 7); /* QPRIO, PC */
	q->sq_iova = k->cmd.prp1;
	q->sq = QUEUE_MAKING;
	return ST_PASS;
}

static uint16_t delete_queue(struct share_guest *p, struct share_cmd *k)
{
	struct share_queue *q = queue_of(p, k->cmd.cdw10 & 0xffff);
	bool sq = k->cmd.opc == nvme_admin_delete_sq;

	if (!q || (sq ? q->sq : q->cq) != QUEUE_THERE)
		return ST_QID_INVALID;
	k->qid = k->cmd.cdw10 & 0xffff;
	k->cmd.cdw10 = q->real;
	*(sq ? &q->sq : &q->cq) = QUEUE_GOING;
	return ST_PASS;
}

/* The guest knows the identifier no longer once both of its queues are gone */
static void release(struct share_queue *q)
{
	if (!q->real || q->sq != QUEUE_NONE || q->cq != QUEUE_NONE)
		return;
	ctrlr_qid_put(q->guest->c, q->real);
	q->real = 0;
}

/* The owner resets the controller: it comes back without queues, whatever this command says */
static bool forgotten(const struct share_guest *p)
{
	return ctrlr_state(p->c) != PLX_NVME_CTRLR_READY;
}

static void queue_cmd_done(struct share_guest *p, const struct share_cmd *k, bool ok)
{
	struct share_queue *q = &p->queue[k->qid];

	switch (k->cmd.opc) {
	case nvme_admin_create_cq:
		q->cq = ok ? QUEUE_THERE : QUEUE_NONE;
		break;
	case nvme_admin_create_sq:
		q->sq = ok ? QUEUE_THERE : QUEUE_NONE;
		break;
	case nvme_admin_delete_cq:
		q->cq = ok ? QUEUE_NONE : QUEUE_THERE;
		if (ok)
			release(q);
		break;
	case nvme_admin_delete_sq:
		q->sq = ok ? QUEUE_NONE : QUEUE_THERE;
		break;
	}
}

static bool is_queue_cmd(uint8_t opc)
{
	return opc == nvme_admin_create_cq || opc == nvme_admin_create_sq ||
	       opc == nvme_admin_delete_cq || opc == nvme_admin_delete_sq;
}

/* ---- what is answered here ---- */

static bool sets_events(const struct plx_nvme_cmd *cmd)
{
	return cmd->opc == nvme_admin_set_features &&
	       (cmd->cdw10 & 0xff) == NVME_FEAT_FID_ASYNC_EVENT;
}

/* What guests have asked for, and the controller has not answered */
static uint32_t events_under_way(const struct plx_nvme_ctrlr *c)
{
	uint32_t events = 0;

	for (const struct share_guest *p = c->share->guests; p; p = p->next)
		for (const struct share_cmd *k = p->cmd; k < p->cmd + SHARE_CMDS; k++)
			if ((k->state == CMD_WAITING || k->state == CMD_SENT) &&
			    sets_events(&k->cmd))
				events |= k->cmd.cdw11;
	return events;
}

/* §5.27.1. Of what a driver sets when it connects, the owner has done its part */
static uint16_t set_features(struct share_guest *p, struct share_cmd *k, uint32_t *dw0)
{
	struct plx_nvme_ctrlr *c = p->c;

	switch (k->cmd.cdw10 & 0xff) {
	case NVME_FEAT_FID_NUM_QUEUES:
		*dw0 = (c->num_io_queues - 1) << 16 | (c->num_io_queues - 1);
		return 0;
	case NVME_FEAT_FID_HOST_BEHAVIOR:
	case NVME_FEAT_FID_KATO:
		return 0;
	case NVME_FEAT_FID_HOST_MEM_BUF:
	case NVME_FEAT_FID_IRQ_COALESCE:
	case NVME_FEAT_FID_IRQ_CONFIG:
		return ST_INVALID_FIELD | PLX_NVME_DNR;
	case NVME_FEAT_FID_ASYNC_EVENT:
		/* what any of them wants to hear of, of what there is */
		k->cmd.cdw11 &= HEALTH_EVENTS | c->id.oaes;
		k->cmd.cdw11 |= aer_events(c) | events_under_way(c);
		return ST_PASS;
	}
	return ST_PASS;
}

/* §5.1; an admin command cannot be aborted: it is answered as not */
static uint16_t abort_cmd(struct share_guest *p, struct share_cmd *k, uint32_t *dw0)
{
	struct share_queue *q = queue_of(p, k->cmd.cdw10 & 0xffff);

	if (!q) {
		*dw0 = 1;
		return 0;
	}
	k->cmd.cdw10 = (k->cmd.cdw10 & 0xffff0000u) | q->real;
	return ST_PASS;
}

/* Data goes by PRPs (§4.1.1), which begin in the guest's memory; commands without data have none.
 * Lists of them are not looked at: they stay the guest's to change. */
static uint16_t check_data(const struct share_guest *p, struct plx_nvme_cmd *cmd)
{
	cmd->flags = 0;
	cmd->mptr = 0;
	if (!(cmd->opc & 3)) {
		cmd->prp1 = cmd->prp2 = 0;
		return ST_PASS;
	}
	if (cmd->prp1 && !guest_holds(p, cmd->prp1, 4))
		return ST_INVALID_PRP;
	if (cmd->prp2 && !guest_holds(p, cmd->prp2, 8))
		return ST_INVALID_PRP;
	return ST_PASS;
}

/* Return: ST_PASS with k->cmd as the controller is to get it; ST_HELD; what to answer, with
 * *@dw0 */
static uint16_t translate(struct share_guest *p, struct share_cmd *k, uint32_t *dw0)
{
	uint16_t st = check_data(p, &k->cmd);

	if (st != ST_PASS)
		return st;
	switch (k->cmd.opc) {
	case nvme_admin_create_cq:
		return create_cq(p, k);
	case nvme_admin_create_sq:
		return create_sq(p, k);
	case nvme_admin_delete_cq:
	case nvme_admin_delete_sq:
		return delete_queue(p, k);
	case nvme_admin_set_features:
		return set_features(p, k, dw0);
	case nvme_admin_abort_cmd:
		return abort_cmd(p, k, dw0);
	case nvme_admin_async_event:
		if (!p->missed_ns)
			return ST_HELD;
		p->missed_ns = false;
		*dw0 = SHARE_NS_CHANGED;
		return 0;
	case nvme_admin_keep_alive:
		return 0;
	case nvme_admin_dbbuf:
	case nvme_admin_virtual_mgmt:
		return ST_INVALID_OPCODE | PLX_NVME_DNR;
	}
	return ST_PASS;
}

/* ---- commands on their way ---- */

void guest_admin(struct share_guest *p, const struct plx_nvme_cmd *cmd)
{
	struct share_cmd *k = p->cmd;
	uint32_t dw0 = 0;
	uint16_t st;

	/* of before a reset, or of before it was enabled: nobody waits for it */
	if (p->state != GUEST_ON)
		return;
	while (k < p->cmd + SHARE_CMDS && k->state != CMD_FREE)
		k++;
	if (k == p->cmd + SHARE_CMDS) {
		guest_drop(p, "sends more admin commands than it may have under way");
		return;
	}
	k->cid = cmd->cid;
	k->cmd = *cmd;
	st = translate(p, k, &dw0);
	if (st == ST_PASS) {
		k->state = CMD_WAITING;
		k->order = p->orders++;
	} else if (st == ST_HELD) {
		k->state = CMD_HELD;
	} else {
		answer(p, k->cid, st, dw0, 0);
	}
}

bool guest_event(struct share_guest *p, uint32_t dw0)
{
	for (struct share_cmd *k = p->cmd; k < p->cmd + SHARE_CMDS; k++) {
		if (k->state != CMD_HELD)
			continue;
		k->state = CMD_FREE;
		answer(p, k->cid, 0, dw0, 0);
		return true;
	}
	return false;
}

/* Namespaces may be others now: the owner looks, and the other guests are told */
static void changed_namespaces(struct share_guest *p, uint8_t opc)
{
	if (opc != nvme_admin_format_nvm && opc != nvme_admin_ns_mgmt &&
	    opc != nvme_admin_ns_attach)
		return;
	p->c->ns_rescan = true;
	share_event(p->c, SHARE_NS_CHANGED);
}

static void cmd_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct share_cmd *k = arg;
	struct share_guest *p = k->guest;
	bool ok = plx_nvme_ok(cpl);

	p->pending--;
	if (is_queue_cmd(k->cmd.opc) && !forgotten(p))
		queue_cmd_done(p, k, ok);
	k->state = CMD_FREE;
	answer(p, k->cid, plx_nvme_status(cpl), cpl->dw0, cpl->dw1);
	if (ok && sets_events(&k->cmd))
		p->c->aer_events |= k->cmd.cdw11;
	if (ok)
		changed_namespaces(p, k->cmd.opc);
}

/* Return: whether it is out */
static bool submit(struct share_guest *p, const struct plx_nvme_cmd *cmd, plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_ctrlr *c = p->c;

	if (admin_may_submit(c) || admin_submit(c, cmd, cb, arg))
		return false;
	p->pending++;
	return true;
}

static struct share_cmd *oldest_waiting(struct share_guest *p)
{
	struct share_cmd *best = NULL;

	for (struct share_cmd *k = p->cmd; k < p->cmd + SHARE_CMDS; k++)
		if (k->state == CMD_WAITING && (!best || k->order < best->order))
			best = k;
	return best;
}

void guest_pump(struct share_guest *p)
{
	struct share_cmd *k;

	while ((k = oldest_waiting(p)) && submit(p, &k->cmd, cmd_done, k))
		k->state = CMD_SENT;
}

static bool within(const struct share_guest *p, const struct share_mem *m, uint64_t iova)
{
	size_t run;

	for (size_t off = 0; off < m->len; off += run) {
		uint64_t at = share_mem_run(p, m, off, &run);

		if (at == PLX_IOVA_BAD || !run)
			return false;
		if (iova >= at && iova - at < run)
			return true;
	}
	return false;
}

bool guest_uses(const struct share_guest *p, const struct share_mem *m)
{
	for (const struct share_cmd *k = p->cmd; k < p->cmd + SHARE_CMDS; k++)
		if ((k->state == CMD_SENT || k->state == CMD_WAITING) &&
		    (within(p, m, k->cmd.prp1) || within(p, m, k->cmd.prp2)))
			return true;
	for (uint32_t i = 0; i < p->nqueues; i++) {
		const struct share_queue *q = &p->queue[i];

		if ((q->sq != QUEUE_NONE && within(p, m, q->sq_iova)) ||
		    (q->cq != QUEUE_NONE && within(p, m, q->cq_iova)))
			return true;
	}
	return false;
}

/* ---- taking back ---- */

/* A queue that the controller keeps may still write to memory, which is not taken back before a
 * reset has ended that */
static void queue_deleted(struct share_queue *q, uint8_t *state, const struct plx_nvme_cpl *cpl)
{
	struct share_guest *p = q->guest;

	p->pending--;
	if (forgotten(p))
		return;
	/* Invalid Queue Identifier: it is not there (§5.6, §5.7) */
	if (plx_nvme_ok(cpl) || PLX_NVME_ST_CODE(plx_nvme_status(cpl)) == ST_QID_INVALID) {
		*state = QUEUE_NONE;
		return;
	}
	if (!p->c->closing && !ctrlr_may_reset(p->c))
		ctrlr_start_reset(p->c, "it does not delete a queue of a process that shared it");
}

static void sq_deleted(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct share_queue *q = arg;

	queue_deleted(q, &q->sq, cpl);
}

static void cq_deleted(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct share_queue *q = arg;

	queue_deleted(q, &q->cq, cpl);
}

/* Return: whether all of the guest's queues of that kind are gone */
static bool delete_all(struct share_guest *p, bool sqs)
{
	bool gone = true;

	for (uint32_t i = 0; i < p->nqueues; i++) {
		struct share_queue *q = &p->queue[i];
		uint8_t *state = sqs ? &q->sq : &q->cq;
		struct plx_nvme_cmd cmd = {
			.opc = sqs ? nvme_admin_delete_sq : nvme_admin_delete_cq,
			.cdw10 = q->real,
		};

		if (*state == QUEUE_NONE)
			continue;
		gone = false;
		if (*state == QUEUE_THERE && !forgotten(p) &&
		    submit(p, &cmd, sqs ? sq_deleted : cq_deleted, q))
			*state = QUEUE_GOING;
	}
	return gone;
}

/* Commands that have not been sent never will be. What the controller has may still write to the
 * guest's memory: it is waited for. */
bool guest_reclaim(struct share_guest *p)
{
	for (struct share_cmd *k = p->cmd; k < p->cmd + SHARE_CMDS; k++) {
		if (k->state == CMD_WAITING && is_queue_cmd(k->cmd.opc))
			queue_cmd_done(p, k, false);
		if (k->state == CMD_WAITING || k->state == CMD_HELD)
			k->state = CMD_FREE;
	}
	/* submission queues first (§3.3.1.2) */
	return delete_all(p, true) && delete_all(p, false) && !p->pending;
}

void guest_queues_gone(struct share_guest *p)
{
	for (uint32_t i = 0; i < p->nqueues; i++)
		p->queue[i].sq = p->queue[i].cq = QUEUE_NONE;
	for (struct share_cmd *k = p->cmd; k < p->cmd + SHARE_CMDS; k++)
		if (k->state != CMD_SENT)
			k->state = CMD_FREE;
}
