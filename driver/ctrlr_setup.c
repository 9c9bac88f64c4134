/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_setup.c - steps that find out what a controller can do, and set it accordingly
 */
#include "driver/ctrlr_steps.h"
#include <errno.h>
#include <pollux/nvme_feature.h>
#include <string.h>

uint32_t step_max_io_bytes(const struct plx_nvme_ctrlr *c, const struct nvme_id_ctrl *id)
{
	uint32_t max = NVME_MAX_IO_BYTES, opt = c->opts.max_io_bytes;

	/* MDTS in units of the smallest page, 0: no limit (§5.17.2.1) */
	if (id->mdts && id->mdts < 16 && PLX_PAGE_SIZE << id->mdts < max)
		max = PLX_PAGE_SIZE << id->mdts;
	if (opt && opt < max)
		max = opt < PLX_PAGE_SIZE ? PLX_PAGE_SIZE : opt / PLX_PAGE_SIZE * PLX_PAGE_SIZE;
	return max;
}

enum nvme_step step_id_ctrl(struct plx_nvme_ctrlr *c, bool entering)
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
	if (resetting(c) && (memcmp(id->sn, c->id.sn, sizeof(id->sn)) ||
			     step_max_io_bytes(c, id) < c->max_io_bytes)) {
		ctrlr_fail(c, -EIO,
			   "came back from a reset as another controller (its serial number "
			   "differs, or "
			   "its transfer limit is smaller)");
		return NVME_STEP_FAILED;
	}
	memcpy(&c->id, id, sizeof(c->id));
	if (!resetting(c))
		c->max_io_bytes = step_max_io_bytes(c, id);
	c->acs_known = false;
	return c->vs >= 0x20000 || all_command_sets(c) ? NVME_STEP_ID_CTRL_NVM
						       : NVME_STEP_HOST_BEHAVIOR;
}

enum nvme_step step_id_ctrl_nvm(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_id_ctrl_nvm *nvm = c->page;

	if (entering)
		return step_identify(c, NVME_IDENTIFY_CNS_CSI_CTRL, 0);
	/* optional before version 2.0 of the specification: no limits are known without it */
	if (step_cmd_ok(c)) {
		c->max_verify_bytes = step_limit_bytes(nvm->vsl);
		c->max_wz_bytes = step_limit_bytes(nvm->wzsl);
	}
	return NVME_STEP_HOST_BEHAVIOR;
}

/* Without ACRE a controller reports no CRD, without LBAFEE it hides formats with larger guards */
enum nvme_step step_host_behavior(struct plx_nvme_ctrlr *c, bool entering)
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

enum nvme_step step_hmb(struct plx_nvme_ctrlr *c, bool entering)
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

enum nvme_step step_num_queues(struct plx_nvme_ctrlr *c, bool entering)
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
		return NVME_STEP_NS_CHANGED;
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
	/* the controller would look for those of queues of other processes as well */
	if (c->share)
		return false;
	return c->id.oacs & NVME_CTRL_OACS_DBBUF_CFG && want != PLX_NVME_SHADOW_NEVER &&
	       (want == PLX_NVME_SHADOW_ALWAYS || c->dev->doorbells_cross) &&
	       (c->num_io_queues + 1) * pair <= PLX_PAGE_SIZE;
}

enum nvme_step step_dbbuf(struct plx_nvme_ctrlr *c, bool entering)
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
