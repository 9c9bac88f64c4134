/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_steps.c - the controller's state machine
 *
 * Connect:  CAP, SETTLE, DISABLE, ENABLE, ID_CTRL, ID_CTRL_NVM, HOST_BEHAVIOR, HMB,
 *           NUM_QUEUES, DBBUF, NS_LIST, NS_ID, NS_DESC, NS_ID_NVM, ID_CTRL_ZNS, NS_ID_ZNS,
 *           AER_CONFIG, ARBITRATION, KEEP_ALIVE, READY
 * Reset:    QUIESCE, DISABLE, OWNERS, ENABLE, ID_CTRL, ID_CTRL_NVM, HOST_BEHAVIOR, HMB,
 *           NUM_QUEUES, DBBUF, CREATE_QUEUES, AER_CONFIG, ARBITRATION, KEEP_ALIVE, READY
 * Rescan:   ID_AGAIN, NS_CHANGED, NS_LIST, NS_ID, NS_DESC, NS_ID_NVM, ID_CTRL_ZNS,
 *           NS_ID_ZNS, READY
 *
 * A step is a function that is called once with @entering and then in every poll, or, when it has
 * sent a command, once that has completed. It returns the step to go on with, its own to stay. No
 * step waits.
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_feature.h>
#include <string.h>

#define CSTS_GONE UINT32_MAX

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
static enum nvme_step step_cmd(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd)
{
	c->cmd = *cmd;
	if (!c->cmd.prp1)
		c->cmd.prp1 = c->page_iova;
	c->cmd_state = NVME_CMD_TO_SEND;
	step_deadline(c, c->opts.admin_timeout_ms);
	step_send(c);
	return c->step;
}

static enum nvme_step step_identify_csi(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid,
					uint8_t csi)
{
	struct plx_nvme_cmd cmd;

	admin_identify_cmd(&cmd, cns, nsid, 0, csi);
	return step_cmd(c, &cmd);
}

static enum nvme_step step_identify(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid)
{
	return step_identify_csi(c, cns, nsid, NVME_CSI_NVM);
}

static enum nvme_step step_set_feature(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t cdw11)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_set_features, .cdw10 = fid, .cdw11 = cdw11 };

	return step_cmd(c, &cmd);
}

static bool step_cmd_ok(const struct plx_nvme_ctrlr *c)
{
	return plx_nvme_ok(&c->cmd_cpl);
}

static enum nvme_step step_cmd_failed(struct plx_nvme_ctrlr *c, const char *what)
{
	char text[96];

	ctrlr_fail(c, -EIO, ": %s failed: %s", what,
		   plx_nvme_status_text(plx_nvme_status(&c->cmd_cpl), text, sizeof(text)));
	return NVME_STEP_FAILED;
}

static void step_cmd_warn(const struct plx_nvme_ctrlr *c, const char *what)
{
	char text[96];

	nvme_log(WARN, "controller '%s': %s failed: %s", c->name, what,
		 plx_nvme_status_text(plx_nvme_status(&c->cmd_cpl), text, sizeof(text)));
}

/* CC.CSS is 110b: namespaces may be of any command set */
static bool all_command_sets(const struct plx_nvme_ctrlr *c)
{
	return NVME_CAP_CSS(c->cap) & NVME_CAP_CSS_CSI;
}

static bool resetting(const struct plx_nvme_ctrlr *c)
{
	return ctrlr_state(c) == PLX_NVME_CTRLR_RESETTING;
}

static enum nvme_step step_gone(struct plx_nvme_ctrlr *c)
{
	ctrlr_gone(c);
	return NVME_STEP_FAILED;
}

/* ---- registers ---- */

static enum nvme_step step_cap(struct plx_nvme_ctrlr *c, bool entering)
{
	struct plx_pcie_dev *dev = c->dev;
	size_t stride;

	c->cap = pcie_read64(dev, NVME_REG_CAP);
	c->vs = pcie_read32(dev, NVME_REG_VS);
	if (c->cap == UINT64_MAX)
		return step_gone(c);
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
		return step_gone(c);
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
		return step_gone(c);
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
	return resetting(c) ? NVME_STEP_OWNERS : NVME_STEP_ENABLE;
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
		return step_gone(c);
	if (NVME_CSTS_CFS(csts)) {
		ctrlr_fail(c, -EIO, "reports a fatal status (CSTS.CFS) when enabled");
		return NVME_STEP_FAILED;
	}
	return NVME_CSTS_RDY(csts) ? NVME_STEP_ID_CTRL : NVME_STEP_ENABLE;
}

/* ---- the controller's capabilities ---- */

static uint32_t max_io_bytes(const struct plx_nvme_ctrlr *c, const struct nvme_id_ctrl *id)
{
	uint32_t max = NVME_MAX_IO_BYTES, opt = c->opts.max_io_bytes;

	/* MDTS in units of the smallest page, 0: no limit (§5.17.2.1) */
	if (id->mdts && id->mdts < 16 && PLX_PAGE_SIZE << id->mdts < max)
		max = PLX_PAGE_SIZE << id->mdts;
	if (opt && opt < max)
		max = opt < PLX_PAGE_SIZE ? PLX_PAGE_SIZE : opt / PLX_PAGE_SIZE * PLX_PAGE_SIZE;
	return max;
}

static enum nvme_step step_id_ctrl(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_id_ctrl *id = c->page;

	if (entering)
		return step_identify(c, NVME_IDENTIFY_CNS_CTRL, 0);
	if (!step_cmd_ok(c))
		return step_cmd_failed(c, "Identify Controller");
	if ((id->sqes & 0xf) > 6 || id->sqes >> 4 < 6 || (id->cqes & 0xf) > 4 ||
	    id->cqes >> 4 < 4) {
		ctrlr_fail(
			c, -EIO,
			"does not take queue entries of 64 and 16 bytes (SQES %02xh, CQES %02xh)",
			id->sqes, id->cqes);
		return NVME_STEP_FAILED;
	}
	/* queue pairs and namespaces were made for the controller that was there before the
	 * reset */
	if (resetting(c) &&
	    (memcmp(id->sn, c->id.sn, sizeof(id->sn)) || max_io_bytes(c, id) < c->max_io_bytes)) {
		ctrlr_fail(c, -EIO,
			   "came back from a reset as another controller (its serial number "
			   "differs, or "
			   "its transfer limit is smaller)");
		return NVME_STEP_FAILED;
	}
	memcpy(&c->id, id, sizeof(c->id));
	if (!resetting(c))
		c->max_io_bytes = max_io_bytes(c, id);
	c->acs_known = false;
	return c->vs >= 0x20000 || all_command_sets(c) ? NVME_STEP_ID_CTRL_NVM
						       : NVME_STEP_HOST_BEHAVIOR;
}

/* A limit as a power of two of pages; 0: none. */
static uint32_t limit_bytes(uint8_t exp)
{
	return exp && exp < 20 ? PLX_PAGE_SIZE << exp : 0;
}

static enum nvme_step step_id_ctrl_nvm(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_id_ctrl_nvm *nvm = c->page;

	if (entering)
		return step_identify(c, NVME_IDENTIFY_CNS_CSI_CTRL, 0);
	/* optional before version 2.0 of the specification: no limits are known without it */
	if (step_cmd_ok(c)) {
		c->max_verify_bytes = limit_bytes(nvm->vsl);
		c->max_wz_bytes = limit_bytes(nvm->wzsl);
	}
	return NVME_STEP_HOST_BEHAVIOR;
}

/* Without ACRE a controller reports no CRD, without LBAFEE it hides formats with larger guards */
static enum nvme_step step_host_behavior(struct plx_nvme_ctrlr *c, bool entering)
{
	uint8_t *behavior = c->page;
	bool acre = c->id.crdt1 || c->id.crdt2 || c->id.crdt3,
	     elbas = c->id.ctratt & NVME_CTRL_CTRATT_ELBAS;

	if (entering) {
		if (!acre && !elbas)
			return NVME_STEP_HMB;
		memset(behavior, 0, 512);
		behavior[0] = acre;
		behavior[2] = elbas;
		return step_set_feature(c, NVME_FEAT_FID_HOST_BEHAVIOR, 0);
	}
	if (!step_cmd_ok(c)) {
		step_cmd_warn(c, "Set Features, Host Behavior Support");
	} else {
		c->crdt[1] = c->id.crdt1 * 100 * c->tsc_ms; /* in units of 100 ms */
		c->crdt[2] = c->id.crdt2 * 100 * c->tsc_ms;
		c->crdt[3] = c->id.crdt3 * 100 * c->tsc_ms;
	}
	return NVME_STEP_HMB;
}

static enum nvme_step step_hmb(struct plx_nvme_ctrlr *c, bool entering)
{
	struct plx_nvme_cmd cmd;

	if (entering) {
		if (!c->hmb.list && !hmb_make(c))
			return NVME_STEP_NUM_QUEUES;
		hmb_cmd(c, &cmd, true);
		return step_cmd(c, &cmd);
	}
	if (step_cmd_ok(c)) {
		c->hmb.given = true;
	} else {
		step_cmd_warn(c, "Set Features, Host Memory Buffer");
		c->hmb.given = false;
		hmb_free(c);
	}
	return NVME_STEP_NUM_QUEUES;
}

/* I/O queue pairs that the doorbell memory has room for */
static uint32_t max_doorbells(const struct plx_nvme_ctrlr *c)
{
	size_t pairs = c->dev->doorbell_bytes / ((size_t)8 << NVME_CAP_DSTRD(c->cap)) - 1;

	return pairs < NVME_MAX_QPAIRS ? (uint32_t)pairs : NVME_MAX_QPAIRS;
}

static enum nvme_step step_num_queues(struct plx_nvme_ctrlr *c, bool entering)
{
	uint32_t want = c->opts.num_io_queues ? c->opts.num_io_queues : NVME_DEFAULT_IO_QUEUES;
	uint32_t sqs, cqs, granted;

	if (want > max_doorbells(c))
		want = max_doorbells(c);
	if (!want) {
		ctrlr_fail(c, -EIO, "has no doorbells for I/O queues");
		return NVME_STEP_FAILED;
	}
	if (entering)
		return step_set_feature(c, NVME_FEAT_FID_NUM_QUEUES, (want - 1) << 16 | (want - 1));
	if (!step_cmd_ok(c))
		return step_cmd_failed(c, "Set Features, Number of Queues");
	sqs = (c->cmd_cpl.dw0 & 0xffff) + 1;
	cqs = (c->cmd_cpl.dw0 >> 16) + 1;
	granted = sqs < cqs ? sqs : cqs;
	if (granted > want)
		granted = want;
	if (resetting(c)) {
		for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next) {
			if (qp->qid > granted) {
				ctrlr_fail(
					c, -EIO,
					"grants %u I/O queues after a reset, had granted %u before",
					granted, c->num_io_queues);
				return NVME_STEP_FAILED;
			}
		}
	}
	c->num_io_queues = granted;
	return NVME_STEP_DBBUF;
}

/* ---- shadow doorbells ---- */

static enum nvme_step after_dbbuf(struct plx_nvme_ctrlr *c)
{
	if (resetting(c))
		return NVME_STEP_CREATE_QUEUES;
	ns_scan_begin(c);
	return NVME_STEP_NS_LIST;
}

/* Each of the two buffers is a page; queue pairs that exist stay with what they began with */
static bool shadow_wanted(const struct plx_nvme_ctrlr *c)
{
	enum plx_nvme_shadow want = c->opts.shadow_doorbells;
	size_t pair = (size_t)8 << NVME_CAP_DSTRD(c->cap);

	if (resetting(c))
		return c->shadow_on;
	return c->id.oacs & NVME_CTRL_OACS_DBBUF_CFG && want != PLX_NVME_SHADOW_NEVER &&
	       (want == PLX_NVME_SHADOW_ALWAYS || c->dev->doorbells_cross) &&
	       (c->num_io_queues + 1) * pair <= PLX_PAGE_SIZE;
}

static enum nvme_step step_dbbuf(struct plx_nvme_ctrlr *c, bool entering)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_dbbuf };

	if (entering) {
		if (!shadow_wanted(c))
			return after_dbbuf(c);
		if (!c->shadow)
			c->shadow = plx_dma_zalloc(2 * (size_t)PLX_PAGE_SIZE, PLX_PAGE_SIZE,
						   c->dev->numa);
		if (!c->shadow)
			return after_dbbuf(c);
		cmd.prp1 = ctrlr_iova(c, c->shadow, PLX_PAGE_SIZE);
		cmd.prp2 = ctrlr_iova(c, c->shadow + PLX_PAGE_SIZE, PLX_PAGE_SIZE);
		return step_cmd(c, &cmd);
	}
	if (step_cmd_ok(c))
		c->shadow_on = true;
	else if (c->shadow_on)
		return step_cmd_failed(c, "Doorbell Buffer Config");
	else
		step_cmd_warn(c, "Doorbell Buffer Config");
	return after_dbbuf(c);
}

/* ---- namespaces ---- */

/* Other firmware runs: its name, and what it has. Limits that queue pairs were made for stay. */
static enum nvme_step step_id_again(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_id_ctrl *id = c->page;

	if (entering)
		return step_identify(c, NVME_IDENTIFY_CNS_CTRL, 0);
	c->reidentify = false;
	if (!step_cmd_ok(c))
		step_cmd_warn(c, "Identify Controller");
	else if (!memcmp(id->sn, c->id.sn, sizeof(id->sn)) &&
		 max_io_bytes(c, id) >= c->max_io_bytes)
		memcpy(&c->id, id, sizeof(c->id));
	else
		ctrlr_start_reset(c, "it is another controller since its firmware was activated");
	return NVME_STEP_NS_CHANGED;
}

/* Changed Namespace List: reading it re-arms the notice; what changed is found by looking at all of
 * them */
static enum nvme_step step_ns_changed(struct plx_nvme_ctrlr *c, bool entering)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_get_log_page,
		.nsid = UINT32_MAX,
		.cdw10 = (PLX_PAGE_SIZE / 4 - 1) << 16 | NVME_LOG_LID_CHANGED_NS,
	};

	if (entering) {
		c->ns_rescan = false;
		ns_scan_begin(c);
		return c->id.oaes & NVME_CTRL_OAES_NA ? step_cmd(c, &cmd) : NVME_STEP_NS_LIST;
	}
	return NVME_STEP_NS_LIST;
}

static enum nvme_step ns_scan_done(struct plx_nvme_ctrlr *c)
{
	ns_scan_end(c);
	return ctrlr_state(c) == PLX_NVME_CTRLR_READY ? NVME_STEP_READY : NVME_STEP_AER_CONFIG;
}

/* Before version 1.1 there is no list: every identifier up to NN may be active */
static void ns_list_all(struct plx_nvme_ctrlr *c)
{
	uint32_t n = PLX_ARRAY_SIZE(c->ns_list);

	memset(c->ns_list, 0, sizeof(c->ns_list));
	for (uint32_t i = 0; i < n && c->ns_last + i < c->id.nn; i++)
		c->ns_list[i] = c->ns_last + i + 1;
}

static enum nvme_step step_ns_list(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering) {
		c->ns_at = 0;
		/* the list is of identifiers above the one given, FFFFFFFEh is the last there can
		 * be */
		if (c->ns_last >= UINT32_MAX - 2)
			return ns_scan_done(c);
		if (c->vs >= (c->quirks & NVME_QUIRK_OLD_CNS ? 0x10200 : 0x10100))
			return step_identify(c, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, c->ns_last);
		ns_list_all(c);
		return c->ns_list[0] ? NVME_STEP_NS_ID : ns_scan_done(c);
	}
	if (!step_cmd_ok(c)) {
		if (ctrlr_state(c) == PLX_NVME_CTRLR_READY) {
			step_cmd_warn(c, "Identify, active namespaces");
			return NVME_STEP_READY;
		}
		return step_cmd_failed(c, "Identify, active namespaces");
	}
	memcpy(c->ns_list, c->page, sizeof(c->ns_list));
	return c->ns_list[0] ? NVME_STEP_NS_ID : ns_scan_done(c);
}

/* Go on with the entry at ns_at, or with the next page of the list. */
static enum nvme_step ns_next(struct plx_nvme_ctrlr *c)
{
	uint32_t nsid;

	if (c->ns_at == PLX_ARRAY_SIZE(c->ns_list))
		return NVME_STEP_NS_LIST;
	nsid = c->ns_list[c->ns_at];
	if (!nsid)
		return ns_scan_done(c);
	if (nsid <= c->ns_last) {
		nvme_log(WARN,
			 "controller '%s': its list of namespaces is not in order: %u after %u",
			 c->name, nsid, c->ns_last);
		return ns_scan_done(c);
	}
	if (c->ns_looked++ == NVME_MAX_NS) {
		nvme_log(WARN,
			 "controller '%s': namespaces from %u on are left out: no more than %u are "
			 "supported",
			 c->name, nsid, NVME_MAX_NS);
		return ns_scan_done(c);
	}
	return step_identify(c, NVME_IDENTIFY_CNS_NS, nsid);
}

/* All that is known of the namespace at ns_at is known. */
static enum nvme_step ns_identified(struct plx_nvme_ctrlr *c)
{
	c->ns_last = c->ns_list[c->ns_at++];
	ns_found(c, c->ns_last, &c->ns_found);
	return NVME_STEP_NS_ID;
}

static enum nvme_step step_ns_id(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering)
		return ns_next(c);
	if (!step_cmd_ok(c)) {
		step_cmd_warn(c, "Identify Namespace");
		c->ns_last = c->ns_list[c->ns_at++];
		return ns_next(c);
	}
	c->ns_found = (struct nvme_ns_found){ .csi = NVME_CSI_NVM };
	memcpy(&c->ns_found.id, c->page, sizeof(c->ns_found.id));
	if (all_command_sets(c))
		return NVME_STEP_NS_DESC;
	if (c->id.ctratt & NVME_CTRL_CTRATT_ELBAS)
		return NVME_STEP_NS_ID_NVM;
	ns_identified(c);
	return ns_next(c);
}

/* The command set, from the list of descriptors (§5.17.2.3): each has its type and length first */
static uint8_t desc_csi(const uint8_t *page)
{
	const struct nvme_ns_id_desc *d;

	for (uint32_t at = 0; at + sizeof(*d) < PLX_PAGE_SIZE; at += sizeof(*d) + d->nidl) {
		d = (const struct nvme_ns_id_desc *)(page + at);
		if (!d->nidt)
			break;
		if (d->nidt == NVME_NIDT_CSI && d->nidl == NVME_NIDT_CSI_LEN)
			return d->nid[0];
	}
	return NVME_CSI_NVM;
}

static enum nvme_step step_ns_desc(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering)
		return step_identify(c, NVME_IDENTIFY_CNS_NS_DESC_LIST, c->ns_list[c->ns_at]);
	if (step_cmd_ok(c))
		c->ns_found.csi = desc_csi(c->page);
	else
		step_cmd_warn(c, "Identify, namespace identification descriptors");
	if (c->id.ctratt & NVME_CTRL_CTRATT_ELBAS)
		return NVME_STEP_NS_ID_NVM;
	return c->ns_found.csi == NVME_CSI_ZNS ? NVME_STEP_ID_CTRL_ZNS : ns_identified(c);
}

static enum nvme_step step_ns_id_nvm(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_nvm_id_ns *nvm = c->page;

	if (entering)
		return step_identify(c, NVME_IDENTIFY_CNS_CSI_NS, c->ns_list[c->ns_at]);
	if (step_cmd_ok(c))
		c->ns_found.elbaf = nvm->elbaf[ns_format(&c->ns_found.id)];
	else
		step_cmd_warn(c, "Identify Namespace of the NVM Command Set");
	return c->ns_found.csi == NVME_CSI_ZNS ? NVME_STEP_ID_CTRL_ZNS : ns_identified(c);
}

/* Asked for with the first thing that needs it, a zoned namespace: others have no such data */
static enum nvme_step step_id_ctrl_zns(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_zns_id_ctrl *zns = c->page;
	uint32_t limit;

	if (entering) {
		c->max_append_bytes = c->max_io_bytes;
		return step_identify_csi(c, NVME_IDENTIFY_CNS_CSI_CTRL, 0, NVME_CSI_ZNS);
	}
	/* ZASL 0: MDTS (ZNS 1.1c §4.1.5.2) */
	limit = step_cmd_ok(c) ? limit_bytes(zns->zasl) : 0;
	if (limit && limit < c->max_append_bytes)
		c->max_append_bytes = limit;
	return NVME_STEP_NS_ID_ZNS;
}

/* ZNS 1.1c §4.1.5.1: limits are 0-based, all ones is none */
static enum nvme_step step_ns_id_zns(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_zns_id_ns *z = c->page;
	const struct nvme_zns_lbafe *f = &z->lbafe[ns_format(&c->ns_found.id)];

	if (entering)
		return step_identify_csi(c, NVME_IDENTIFY_CNS_CSI_NS, c->ns_list[c->ns_at],
					 NVME_CSI_ZNS);
	if (step_cmd_ok(c))
		c->ns_found.zns = (struct plx_nvme_zns){
			.zone_blocks = f->zsze,
			.desc_ext_bytes = f->zdes * 64u,
			.max_active = z->mar + 1,
			.max_open = z->mor + 1,
			.max_append_bytes = c->max_append_bytes,
			.read_across_zones = z->ozcs & 1,
		};
	else
		step_cmd_warn(c, "Identify Namespace of the Zoned Namespace Command Set");
	return ns_identified(c);
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
	return all_have(c, NVME_QP_QUIESCED) ? NVME_STEP_DISABLE : NVME_STEP_QUIESCE;
}

/* The controller is disabled: it reads and writes no queue and no buffer any more */
static enum nvme_step step_owners(struct plx_nvme_ctrlr *c, bool entering)
{
	if (entering) {
		c->io_queues_gone = true;
		ctrlr_want(&c->admin, NVME_QP_RESET);
		qpair_attention(&c->admin);
		ctrlr_want(&c->admin, NVME_QP_LIVE);
		qpair_attention(&c->admin);
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
	if (entering && ctrlr_state(c) != PLX_NVME_CTRLR_READY) {
		bool was_reset = resetting(c);

		for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
			ctrlr_want(qp, NVME_QP_LIVE);
		for (unsigned i = 0; i < NVME_MAX_AERS; i++)
			c->aer[i].refused = false;
		atomic_store_explicit(&c->paused, false, memory_order_relaxed);
		atomic_store_explicit(&c->state, PLX_NVME_CTRLR_READY, memory_order_release);
		if (was_reset) {
			c->ns_rescan = true; /* namespaces may have come and gone meanwhile */
			nvme_log(NOTICE, "controller '%s': ready again", c->name);
		}
	}
	if (entering)
		c->ns_scanned = c->ns_scan;
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
	case DL_NONE:
		break;
	}
	return 0;
}

void ctrlr_step_go(struct plx_nvme_ctrlr *c, enum nvme_step step)
{
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
	if (steps[c->step].deadline == DL_OWNERS)
		owners_late(c);
	else if (ctrlr_state(c) == PLX_NVME_CTRLR_READY)
		ctrlr_start_reset(c, "it did not answer while being looked at for namespaces");
	else
		ctrlr_fail(c, -ETIMEDOUT, ": %s (%s) took longer than %u ms", steps[c->step].name,
			   steps[c->step].section, c->step_ms);
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
