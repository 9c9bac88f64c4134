/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_steps.c - the controller's state machine
 *
 * Connect:  CAP, SETTLE, DISABLE, CMB, ENABLE, ID_CTRL, ID_CTRL_NVM, HOST_BEHAVIOR, HMB,
 *           NUM_QUEUES, DBBUF, NS_LIST, NS_ID, NS_DESC, NS_ID_NVM, ID_CTRL_ZNS, NS_ID_ZNS,
 *           AER_CONFIG, ARBITRATION, KEEP_ALIVE, READY
 * Reset:    QUIESCE, DISABLE, CMB, OWNERS, ENABLE, ID_CTRL, ID_CTRL_NVM, HOST_BEHAVIOR, HMB,
 *           NUM_QUEUES, DBBUF, NS_CHANGED to NS_ID_ZNS as in a rescan, CREATE_QUEUES, AER_CONFIG,
 *           ARBITRATION, KEEP_ALIVE, READY
 * Stuck:    FUNCTION_RESET, then as from CAP or DISABLE on
 * Rescan:   ID_AGAIN, NS_CHANGED, NS_LIST, NS_ID, NS_DESC, NS_ID_NVM, ID_CTRL_ZNS,
 *           NS_ID_ZNS, READY
 *
 * A step is a function that is called once with @entering and then in every poll, or, when it has
 * sent a command, once that has completed. It returns the step to go on with, its own to stay. No
 * step waits.
 */
#include "driver/ctrlr_steps.h"
#include <errno.h>
#include <pollux/nvme_feature.h>
#include <string.h>

#define CSTS_GONE UINT32_MAX
/* The kernel waits for 60 s until a function is back */
#define FUNCTION_RESET_MS 70000

/* ---- the one command of a step ---- */

static void step_cmd_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_ctrlr *c = arg;

	c->cmd_cpl = *cpl;
	c->cmd_state = NVME_CMD_NONE;
}

static void step_send(struct plx_nvme_ctrlr *c)
{
	if (!admin_submit(c, &c->cmd, step_cmd_done, c))
		c->cmd_state = NVME_CMD_SENT;
}

static void step_deadline(struct plx_nvme_ctrlr *c, uint32_t ms)
{
	c->step_ms = ms;
	c->step_deadline = ms ? plx_tsc() + ms * c->tsc_ms : 0;
}

/* Send @cmd, with the steps' page as its data unless it says otherwise; the deadline begins
 * anew. */
enum nvme_step step_cmd(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd)
{
	c->cmd = *cmd;
	if (!c->cmd.prp1)
		c->cmd.prp1 = c->page_iova;
	c->cmd_state = NVME_CMD_TO_SEND;
	step_deadline(c, c->opts.admin_timeout_ms);
	step_send(c);
	return c->step;
}

enum nvme_step step_identify_csi(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid, uint8_t csi)
{
	struct plx_nvme_cmd cmd;

	admin_identify_cmd(&cmd, cns, nsid, 0, csi);
	return step_cmd(c, &cmd);
}

enum nvme_step step_identify(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid)
{
	return step_identify_csi(c, cns, nsid, NVME_CSI_NVM);
}

enum nvme_step step_set_feature(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t cdw11)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_set_features, .cdw10 = fid, .cdw11 = cdw11 };

	return step_cmd(c, &cmd);
}

enum nvme_step step_cmd_failed(struct plx_nvme_ctrlr *c, const char *what)
{
	char text[96];

	ctrlr_fail(c, -EIO, ": %s failed: %s", what,
		   plx_nvme_status_text(plx_nvme_status(&c->cmd_cpl), text, sizeof(text)));
	return NVME_STEP_FAILED;
}

void step_cmd_warn(const struct plx_nvme_ctrlr *c, const char *what)
{
	char text[96];

	nvme_log(WARN, "controller '%s': %s failed: %s", c->name, what,
		 plx_nvme_status_text(plx_nvme_status(&c->cmd_cpl), text, sizeof(text)));
}

static enum nvme_step step_absent(struct plx_nvme_ctrlr *c)
{
	ctrlr_absent(c);
	return c->step;
}

/* ---- registers ---- */

static enum nvme_step step_cap(struct plx_nvme_ctrlr *c, bool entering)
{
	struct plx_pcie_dev *dev = c->dev;
	size_t stride;

	c->cap = pcie_read64(dev, NVME_REG_CAP);
	c->vs = pcie_read32(dev, NVME_REG_VS);
	if (c->cap == UINT64_MAX)
		return step_absent(c);
	stride = (size_t)4 << NVME_CAP_DSTRD(c->cap);
	if (NVME_CAP_MPSMIN(c->cap)) {
		ctrlr_fail(c, -EIO,
			   "needs memory pages of at least %u bytes (CAP.MPSMIN): only 4096 are "
			   "supported",
			   4096u << NVME_CAP_MPSMIN(c->cap));
		return NVME_STEP_FAILED;
	}
	if (!(NVME_CAP_CSS(c->cap) & (NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI))) {
		ctrlr_fail(c, -EIO, "has no I/O command set (CAP.CSS is %02xh)",
			   (unsigned)NVME_CAP_CSS(c->cap));
		return NVME_STEP_FAILED;
	}
	if (dev->doorbell_bytes < 2 * stride) {
		ctrlr_fail(c, -EIO,
			   "has %zu bytes of doorbells, fewer than the admin queue's (CAP.DSTRD "
			   "is %u)",
			   dev->doorbell_bytes, (unsigned)NVME_CAP_DSTRD(c->cap));
		return NVME_STEP_FAILED;
	}
	c->weighted = c->opts.weighted_arbitration && NVME_CAP_AMS(c->cap) & NVME_CAP_AMS_WRR;
	if (c->opts.weighted_arbitration && !c->weighted)
		nvme_log(WARN,
			 "controller '%s' has no weighted round robin (CAP.AMS is %u): priorities "
			 "of queues have no effect",
			 c->name, (unsigned)NVME_CAP_AMS(c->cap));
	c->max_queue_size = NVME_CAP_MQES(c->cap) + 1u;
	if (c->max_queue_size > NVME_MAX_QUEUE_SIZE)
		c->max_queue_size = NVME_MAX_QUEUE_SIZE;
	if (c->max_queue_size < 2) {
		ctrlr_fail(c, -EIO, "allows queues of one entry only (CAP.MQES is 0)");
		return NVME_STEP_FAILED;
	}
	return NVME_STEP_SETTLE;
}

/* Clearing CC.EN while CSTS.RDY is 0 has undefined results (§3.1.3.5) */
static enum nvme_step step_settle(struct plx_nvme_ctrlr *c, bool entering)
{
	uint32_t cc = pcie_read32(c->dev, NVME_REG_CC), csts = pcie_read32(c->dev, NVME_REG_CSTS);

	if (csts == CSTS_GONE)
		return step_absent(c);
	if (NVME_CC_EN(cc) && !NVME_CSTS_RDY(csts) && !NVME_CSTS_CFS(csts))
		return NVME_STEP_SETTLE;
	return NVME_STEP_DISABLE;
}

static enum nvme_step step_disable(struct plx_nvme_ctrlr *c, bool entering)
{
	uint32_t csts;

	if (!entering && c->quirks & NVME_QUIRK_DELAY_READY &&
	    (int64_t)(plx_tsc() - c->quiet_tsc) < 0)
		return NVME_STEP_DISABLE;
	csts = pcie_read32(c->dev, NVME_REG_CSTS);
	if (csts == CSTS_GONE)
		return step_absent(c);
	if (entering) {
		uint32_t cc = pcie_read32(c->dev, NVME_REG_CC);

		cc &= ~(NVME_CC_EN_MASK << NVME_CC_EN_SHIFT | NVME_CC_SHN_MASK
								      << NVME_CC_SHN_SHIFT);
		pcie_write32(c->dev, NVME_REG_CC, cc);
		c->quiet_tsc = plx_tsc() + NVME_QUIRK_DELAY_MS * c->tsc_ms;
		return NVME_STEP_DISABLE;
	}
	if (NVME_CSTS_RDY(csts))
		return NVME_STEP_DISABLE;
	return NVME_STEP_CMB;
}

/* Before anything is put into the controller memory buffer */
static enum nvme_step step_cmb(struct plx_nvme_ctrlr *c, bool entering)
{
	if (!resetting(c)) {
		/* once more after a reset of the function: there are no queues yet */
		cmb_fini(c);
		cmb_find(c);
		/* it may be enabled later, when there are queues */
		if (c->iova && NVME_CAP_PMRS(c->cap))
			ctrlr_look_up(c);
		return NVME_STEP_ENABLE;
	}
	if (!cmb_restore(c))
		return NVME_STEP_FAILED;
	pmr_restore(c);
	return NVME_STEP_OWNERS;
}

static int make_admin_queue(struct plx_nvme_ctrlr *c)
{
	if (c->admin.sq)
		return 0;
	return qpair_init(&c->admin, c, 0, c->opts.admin_queue_size, c->dev->numa);
}

static void enable(struct plx_nvme_ctrlr *c)
{
	uint32_t cc = 1u << NVME_CC_EN_SHIFT;

	cc |= (all_command_sets(c) ? NVME_CC_CSS_CSI : NVME_CC_CSS_NVM) << NVME_CC_CSS_SHIFT;
	/* MPS 0: pages of 4 KiB */
	cc |= (c->weighted ? NVME_CC_AMS_WRRU : NVME_CC_AMS_RR) << NVME_CC_AMS_SHIFT;
	cc |= 6u << NVME_CC_IOSQES_SHIFT |
	      4u << NVME_CC_IOCQES_SHIFT; /* entries of 64 and 16 bytes */
	pcie_write32(c->dev, NVME_REG_AQA,
		     (uint32_t)(c->admin.cq_size - 1) << NVME_AQA_ACQS_SHIFT |
			     (uint32_t)(c->admin.sq_size - 1) << NVME_AQA_ASQS_SHIFT);
	pcie_write64(c->dev, NVME_REG_ASQ,
		     ctrlr_iova(c, c->admin.sq, (size_t)c->admin.sq_size * sizeof(*c->admin.sq)));
	pcie_write64(c->dev, NVME_REG_ACQ,
		     ctrlr_iova(c, c->admin.cq, (size_t)c->admin.cq_size * sizeof(*c->admin.cq)));
	pcie_write32(c->dev, NVME_REG_CC, cc);
}

static enum nvme_step step_enable(struct plx_nvme_ctrlr *c, bool entering)
{
	uint32_t csts;

	if (entering) {
		int rc = make_admin_queue(c);

		if (rc) {
			ctrlr_fail(c, rc,
				   "has no memory for its admin queue: give the environment more "
				   "(mem_mb)");
			return NVME_STEP_FAILED;
		}
		enable(c);
		return NVME_STEP_ENABLE;
	}
	csts = pcie_read32(c->dev, NVME_REG_CSTS);
	if (csts == CSTS_GONE)
		return step_absent(c);
	if (NVME_CSTS_CFS(csts)) {
		ctrlr_stuck(c, -EIO, "reports a fatal status (CSTS.CFS) when enabled");
		return c->step;
	}
	return NVME_CSTS_RDY(csts) ? NVME_STEP_ID_CTRL : NVME_STEP_ENABLE;
}

/* ---- I/O queue pairs and reset ---- */

static bool all_have(const struct plx_nvme_ctrlr *c, enum nvme_qp_state state)
{
	for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
		if (atomic_load_explicit(&qp->rsp.have, memory_order_acquire) != (uint32_t)state)
			return false;
	return true;
}

static enum nvme_step step_quiesce(struct plx_nvme_ctrlr *c, bool entering)
{
	bool at_rest = all_have(c, NVME_QP_QUIESCED);

	/* guests are told at once, not when our own queue pairs are at rest */
	if (c->share)
		at_rest &= share_at_rest(c);
	if (!at_rest)
		return NVME_STEP_QUIESCE;
	return c->flr.wanted ? NVME_STEP_FUNCTION_RESET : NVME_STEP_DISABLE;
}

void step_rewind_admin(struct plx_nvme_ctrlr *c)
{
	if (!c->admin.sq)
		return;
	ctrlr_want(&c->admin, NVME_QP_RESET);
	qpair_attention(&c->admin);
	ctrlr_want(&c->admin, NVME_QP_LIVE);
	qpair_attention(&c->admin);
}

/* The controller is disabled: it reads and writes no queue and no buffer any more */
static enum nvme_step step_owners(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering) {
		c->io_queues_gone = true;
		step_rewind_admin(c);
		if (c->share)
			share_queues_gone(c);
		for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
			ctrlr_want(qp, NVME_QP_RESET);
	}
	return all_have(c, NVME_QP_RESET) ? NVME_STEP_ENABLE : NVME_STEP_OWNERS;
}

/* The pair with the lowest identifier from @qid on: pairs may go while others are being created. */
static struct plx_nvme_qpair *next_qpair(const struct plx_nvme_ctrlr *c, uint32_t qid)
{
	struct plx_nvme_qpair *best = NULL;

	for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
		if (qp->qid >= qid && (!best || qp->qid < best->qid))
			best = qp;
	return best;
}

static enum nvme_step create_next_queue(struct plx_nvme_ctrlr *c)
{
	struct plx_nvme_qpair *qp = next_qpair(c, c->create_qid);
	struct plx_nvme_cmd cmd;

	if (!qp)
		return NVME_STEP_AER_CONFIG;
	if (qp->qid != c->create_qid)
		c->create_sq = false;
	c->create_qid = qp->qid;
	if (c->create_sq)
		qpair_create_sq_cmd(qp, &cmd);
	else
		qpair_create_cq_cmd(qp, &cmd);
	step_cmd(c, &cmd);
	return NVME_STEP_CREATE_QUEUES;
}

static enum nvme_step step_create_queues(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering) {
		c->io_queues_gone = false;
		c->create_qid = 1;
		c->create_sq = false;
		return create_next_queue(c);
	}
	if (!step_cmd_ok(c))
		return step_cmd_failed(c, c->create_sq ? "Create I/O Submission Queue"
						       : "Create I/O Completion Queue");
	if (c->create_sq)
		c->create_qid++;
	c->create_sq = !c->create_sq;
	return create_next_queue(c);
}

/* ---- events, keep-alive, ready ---- */

static enum nvme_step step_aer_config(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering)
		return step_set_feature(c, NVME_FEAT_FID_ASYNC_EVENT, aer_events(c));
	if (!step_cmd_ok(c))
		step_cmd_warn(c, "Set Features, Asynchronous Event Configuration");
	return NVME_STEP_ARBITRATION;
}

/* Weights, where weighted round robin is in use and the caller gave some */
static enum nvme_step step_arbitration(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct plx_nvme_ctrlr_opts *o = &c->opts;
	struct plx_nvme_arbitration a = { o->arb_burst, o->arb_low, o->arb_medium, o->arb_high };
	uint32_t cdw11;

	if (!c->weighted || !(a.low | a.medium | a.high))
		return NVME_STEP_KEEP_ALIVE;
	if (entering && feature_arbitration(&a, &cdw11)) {
		ctrlr_fail(c, -EINVAL,
			   "cannot be set up: weights of arbitration are 1 to 256, its burst a "
			   "power of two up to 64, or 0 for none (they are %u, %u, %u and %u)",
			   a.low, a.medium, a.high, a.burst);
		return NVME_STEP_FAILED;
	}
	if (entering)
		return step_set_feature(c, NVME_FEAT_FID_ARBITRATION, cdw11);
	if (!step_cmd_ok(c))
		step_cmd_warn(c, "Set Features, Arbitration");
	return NVME_STEP_KEEP_ALIVE;
}

static enum nvme_step step_keep_alive(struct plx_nvme_ctrlr *c, bool entering)
{
	uint32_t unit = c->id.kas * 100u, kato = c->opts.keep_alive_ms;

	if (!kato)
		return NVME_STEP_READY;
	if (!unit) {
		nvme_log(
			WARN,
			"controller '%s' has no Keep Alive (KAS is 0): keep_alive_ms %u is ignored",
			c->name, kato);
		return NVME_STEP_READY;
	}
	if (kato < unit)
		kato = unit;
	if (entering)
		return step_set_feature(c, NVME_FEAT_FID_KATO, kato);
	if (!step_cmd_ok(c)) {
		step_cmd_warn(c, "Set Features, Keep Alive Timer");
		return NVME_STEP_READY;
	}
	c->keep_alive_ticks = kato / 2 * c->tsc_ms;
	c->keep_alive_tsc = plx_tsc() + c->keep_alive_ticks;
	return NVME_STEP_READY;
}

static enum nvme_step step_ready(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering)
		atomic_store_explicit(&c->ns_scanned, c->ns_scan, memory_order_relaxed);
	if (entering && ctrlr_state(c) != PLX_NVME_CTRLR_READY) {
		bool was_reset = resetting(c);

		for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
			ctrlr_want(qp, NVME_QP_LIVE);
		for (unsigned i = 0; i < NVME_MAX_AERS; i++)
			c->aer[i].refused = false;
		atomic_store_explicit(&c->paused, false, memory_order_relaxed);
		atomic_store_explicit(&c->state, PLX_NVME_CTRLR_READY, memory_order_release);
		if (was_reset)
			nvme_log(NOTICE, "controller '%s': ready again", c->name);
	}
	if (c->ns_rescan)
		return c->reidentify ? NVME_STEP_ID_AGAIN : NVME_STEP_NS_CHANGED;
	return NVME_STEP_READY;
}

static enum nvme_step step_failed(struct plx_nvme_ctrlr *c, bool entering)
{
	return NVME_STEP_FAILED;
}

/* ---- the machine ---- */

enum deadline {
	DL_NONE,
	DL_READY, /* CAP.TO, or CRTO where the controller has it */
	DL_ADMIN, /* admin_timeout_ms, for each of the step's commands */
	DL_OWNERS,
	DL_FUNCTION,
};

#define BASE "NVMe Base 2.0c §"
#define NVM  "NVM Command Set 1.0c §"
#define ZNS  "ZNS Command Set 1.1c §"

static const struct {
	const char *name; /* "... took longer than" */
	const char *section;
	enum deadline deadline;
	enum nvme_step (*run)(struct plx_nvme_ctrlr *c, bool entering);
} steps[NVME_STEPS] = {
	[NVME_STEP_CAP] = { "reading the capabilities", BASE "3.1.3.1", DL_NONE, step_cap },
	[NVME_STEP_SETTLE] = { "waiting for CSTS.RDY of an enable under way", BASE "3.1.3.5",
			       DL_READY, step_settle },
	[NVME_STEP_QUIESCE] = { "waiting for queue pairs to come to rest", BASE "3.7.2", DL_OWNERS,
				step_quiesce },
	[NVME_STEP_DISABLE] = { "waiting for CSTS.RDY to become 0 after clearing CC.EN",
				BASE "3.5.1", DL_READY, step_disable },
	[NVME_STEP_FUNCTION_RESET] = { "resetting the function", BASE "3.7.2", DL_FUNCTION,
				       step_function_reset },
	[NVME_STEP_CMB] = { "setting up the controller memory buffer", BASE "8.5", DL_NONE,
			    step_cmb },
	[NVME_STEP_OWNERS] = { "waiting for queue pairs to clear their rings", BASE "3.7.2",
			       DL_OWNERS, step_owners },
	[NVME_STEP_ENABLE] = { "waiting for CSTS.RDY to become 1 after setting CC.EN", BASE "3.5.1",
			       DL_READY, step_enable },
	[NVME_STEP_ID_CTRL] = { "Identify Controller", BASE "5.17.2.1", DL_ADMIN, step_id_ctrl },
	[NVME_STEP_ID_CTRL_NVM] = { "Identify Controller of the NVM Command Set", NVM "4.1.5.4",
				    DL_ADMIN, step_id_ctrl_nvm },
	[NVME_STEP_ID_CTRL_ZNS] = { "Identify Controller of the Zoned Namespace Command Set",
				    ZNS "4.1.5.2", DL_ADMIN, step_id_ctrl_zns },
	[NVME_STEP_HOST_BEHAVIOR] = { "Set Features, Host Behavior Support", BASE "5.27.1.18",
				      DL_ADMIN, step_host_behavior },
	[NVME_STEP_HMB] = { "Set Features, Host Memory Buffer", BASE "5.27.1.10", DL_ADMIN,
			    step_hmb },
	[NVME_STEP_NUM_QUEUES] = { "Set Features, Number of Queues", BASE "5.27.1.5", DL_ADMIN,
				   step_num_queues },
	[NVME_STEP_ID_AGAIN] = { "Identify Controller, after new firmware", BASE "5.17.2.1",
				 DL_ADMIN, step_id_again },
	[NVME_STEP_DBBUF] = { "Doorbell Buffer Config", BASE "5.8", DL_ADMIN, step_dbbuf },
	[NVME_STEP_NS_CHANGED] = { "Get Log Page, Changed Namespace List", BASE "5.16.1.5",
				   DL_ADMIN, step_ns_changed },
	[NVME_STEP_NS_LIST] = { "Identify, active namespaces", BASE "5.17.2.2", DL_ADMIN,
				step_ns_list },
	[NVME_STEP_NS_ID] = { "Identify Namespace", NVM "4.1.5.1", DL_ADMIN, step_ns_id },
	[NVME_STEP_NS_ID_NVM] = { "Identify Namespace of the NVM Command Set", NVM "4.1.5.3",
				  DL_ADMIN, step_ns_id_nvm },
	[NVME_STEP_NS_DESC] = { "Identify, namespace identification descriptors", BASE "5.17.2.3",
				DL_ADMIN, step_ns_desc },
	[NVME_STEP_NS_ID_ZNS] = { "Identify Namespace of the Zoned Namespace Command Set",
				  ZNS "4.1.5.1", DL_ADMIN, step_ns_id_zns },
	[NVME_STEP_CREATE_QUEUES] = { "creating I/O queues", BASE "5.4, §5.5", DL_ADMIN,
				      step_create_queues },
	[NVME_STEP_AER_CONFIG] = { "Set Features, Asynchronous Event Configuration",
				   BASE "5.27.1.8", DL_ADMIN, step_aer_config },
	[NVME_STEP_ARBITRATION] = { "Set Features, Arbitration", BASE "5.27.1.1", DL_ADMIN,
				    step_arbitration },
	[NVME_STEP_KEEP_ALIVE] = { "Set Features, Keep Alive Timer", BASE "5.27.1.12", DL_ADMIN,
				   step_keep_alive },
	[NVME_STEP_READY] = { "ready", "", DL_NONE, step_ready },
	[NVME_STEP_FAILED] = { "failed", "", DL_NONE, step_failed },
};

/* CAP.TO in units of 500 ms (§3.1.3.1); CRTO.CRWMT instead where CAP.CRMS says it is there
 * (§3.1.3.21) */
static uint32_t ready_ms(const struct plx_nvme_ctrlr *c)
{
	uint32_t to = NVME_CAP_TO(c->cap), crwmt;

	if (NVME_CAP_CRMS(c->cap) & NVME_CAP_CRWMS) {
		crwmt = pcie_read32(c->dev, NVME_REG_CRTO) & 0xffff;
		if (crwmt != 0xffff && crwmt > to)
			to = crwmt;
	}
	return (to ? to : 1) * 500 + (c->quirks & NVME_QUIRK_DELAY_READY ? NVME_QUIRK_DELAY_MS : 0);
}

static uint32_t deadline_ms(const struct plx_nvme_ctrlr *c, enum deadline d)
{
	switch (d) {
	case DL_READY:
		return ready_ms(c);
	case DL_ADMIN:
		return c->opts.admin_timeout_ms;
	case DL_OWNERS:
		return c->owner_deadline_ms;
	case DL_FUNCTION:
		return FUNCTION_RESET_MS;
	case DL_NONE:
		break;
	}
	return 0;
}

void ctrlr_step_go(struct plx_nvme_ctrlr *c, enum nvme_step step)
{
	nvme_log(DEBUG, "controller '%s': %s", c->name, steps[step].name);
	c->step = step;
	c->step_entered = false;
	/* a reset or a failure leaves a step before its command is done: the steps that follow send
	 * none before that has come back */
	c->cmd_state = NVME_CMD_NONE;
}

static void owners_late(struct plx_nvme_ctrlr *c)
{
	uint32_t state = c->step == NVME_STEP_QUIESCE ? NVME_QP_QUIESCED : NVME_QP_RESET;

	for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next) {
		if (atomic_load_explicit(&qp->rsp.have, memory_order_acquire) != state) {
			ctrlr_fail(c, -ETIMEDOUT,
				   "cannot be reset: queue pair %u is not polled by its thread "
				   "(waited %u ms)",
				   qp->qid, c->step_ms);
			return;
		}
	}
}

static void step_late(struct plx_nvme_ctrlr *c)
{
	const char *name = steps[c->step].name, *section = steps[c->step].section;

	if (steps[c->step].deadline == DL_OWNERS)
		owners_late(c);
	else if (steps[c->step].deadline == DL_READY)
		ctrlr_stuck(c, -ETIMEDOUT, ": %s (%s) took longer than %u ms", name, section,
			    c->step_ms);
	else if (ctrlr_state(c) == PLX_NVME_CTRLR_READY)
		ctrlr_start_reset(c, "it did not answer while being looked at for namespaces");
	else
		ctrlr_fail(c, -ETIMEDOUT, ": %s (%s) took longer than %u ms", name, section,
			   c->step_ms);
}

static bool step_is_late(const struct plx_nvme_ctrlr *c)
{
	return c->step_deadline && (int64_t)(plx_tsc() - c->step_deadline) >= 0;
}

void ctrlr_advance(struct plx_nvme_ctrlr *c)
{
	for (;;) {
		enum nvme_step now = c->step, next;
		bool entering = !c->step_entered;

		if (entering) {
			c->step_entered = true;
			step_deadline(c, deadline_ms(c, steps[now].deadline));
		} else if (c->cmd_state == NVME_CMD_TO_SEND) {
			step_send(c);
		}
		if (entering || c->cmd_state == NVME_CMD_NONE) {
			next = steps[now].run(c, entering);
			if (c->step != now)
				continue; /* failed: that has set the step */
			if (next != now) {
				ctrlr_step_go(c, next);
				continue;
			}
		}
		if (step_is_late(c)) {
			step_late(c);
			continue;
		}
		return;
	}
}
