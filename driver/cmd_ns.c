/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_ns.c - what an admin command needs to be there, and the commands that change
 * namespaces: management, attachment, Format NVM
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_admin.h>
#include <pollux/nvme_log.h>
#include <stdlib.h>
#include <string.h>

/* ---- which commands there are ---- */

/* OACS, §5.17.2.1; capacity management, bit 11, is younger than libnvme */
#define OACS_CAPACITY (1u << 11)

static uint16_t oacs_bit(uint8_t opc)
{
	switch (opc) {
	case nvme_admin_security_send:
	case nvme_admin_security_recv:
		return NVME_CTRL_OACS_SECURITY;
	case nvme_admin_format_nvm:
		return NVME_CTRL_OACS_FORMAT;
	case nvme_admin_fw_commit:
	case nvme_admin_fw_download:
		return NVME_CTRL_OACS_FW;
	case nvme_admin_ns_mgmt:
	case nvme_admin_ns_attach:
		return NVME_CTRL_OACS_NS_MGMT;
	case nvme_admin_dev_self_test:
		return NVME_CTRL_OACS_SELF_TEST;
	case nvme_admin_directive_send:
	case nvme_admin_directive_recv:
		return NVME_CTRL_OACS_DIRECTIVES;
	case nvme_admin_nvme_mi_send:
	case nvme_admin_nvme_mi_recv:
		return NVME_CTRL_OACS_NVME_MI;
	case nvme_admin_virtual_mgmt:
		return NVME_CTRL_OACS_VIRT_MGMT;
	case nvme_admin_dbbuf:
		return NVME_CTRL_OACS_DBBUF_CFG;
	case nvme_admin_get_lba_status:
		return NVME_CTRL_OACS_LBA_STATUS;
	case nvme_admin_lockdown:
		return NVME_CTRL_OACS_CMD_FEAT_LD;
	case nvme_admin_capacity_mgmt:
		return OACS_CAPACITY;
	}
	return 0;
}

/* The effects log is read once, and again after a reset: other firmware may have come. */
static int effects_read(struct plx_nvme_ctrlr *c)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_CMD_EFFECTS,
				    .nsid = PLX_NVME_LOG_CTRLR,
				    .retain = true };
	struct nvme_cmd_effects_log *e;
	uint32_t resets = (uint32_t)c->stats.resets;
	int rc;

	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	rc = plx_nvme_log_read(c, &log, 0, e, sizeof(*e));
	pthread_mutex_lock(&c->lock);
	if (rc >= 0 && resets == (uint32_t)c->stats.resets) {
		memset(c->acs, 0, sizeof(c->acs));
		/* a log that is not given says nothing: all that Identify allows is tried */
		for (unsigned i = 0; i < 256; i++)
			if (rc || e->acs[i] & NVME_CMD_EFFECTS_CSUPP)
				c->acs[i / 64] |= 1ull << (i % 64);
		c->acs_known = true;
	}
	pthread_mutex_unlock(&c->lock);
	free(e);
	return rc < 0 ? rc : 0;
}

int plx_nvme_admin_supported(struct plx_nvme_ctrlr *c, uint8_t opc)
{
	uint16_t bit = oacs_bit(opc);
	bool known, has;
	int rc;

	if (bit && !(c->id.oacs & bit))
		return -ENOTSUP;
	if (!(c->id.lpa & NVME_CTRL_LPA_CMD_EFFECTS))
		return 0;
	pthread_mutex_lock(&c->lock);
	known = c->acs_known;
	pthread_mutex_unlock(&c->lock);
	if (!known) {
		rc = effects_read(c);
		if (rc)
			return rc;
	}
	pthread_mutex_lock(&c->lock);
	has = c->acs[opc / 64] >> (opc % 64) & 1;
	pthread_mutex_unlock(&c->lock);
	return has ? 0 : -ENOTSUP;
}

int admin_call_if(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf, uint32_t len,
		  uint32_t *value)
{
	int rc = plx_nvme_admin_supported(c, cmd->opc);

	return rc ? rc : admin_call(c, cmd, buf, len, value);
}

/* ---- looking again ---- */

int plx_nvme_ctrlr_rescan(struct plx_nvme_ctrlr *c)
{
	uint32_t before;

	pthread_mutex_lock(&c->lock);
	c->ns_rescan = true;
	before = c->ns_scan;
	pthread_mutex_unlock(&c->lock);
	for (;;) {
		enum plx_nvme_ctrlr_state state;
		bool done;

		ctrlr_setup_turn(c);
		pthread_mutex_lock(&c->lock);
		state = ctrlr_state(c);
		/* one that was under way before may have missed the change */
		done = (int32_t)(c->ns_scanned - before) > 0;
		pthread_mutex_unlock(&c->lock);
		if (done)
			return 0;
		if (state != PLX_NVME_CTRLR_READY)
			return state == PLX_NVME_CTRLR_FAILED ? -ENXIO : -EAGAIN;
	}
}

/* A command that changes namespaces, and what has become of them. The command's result counts. */
static int change(struct plx_nvme_ctrlr *c, uint32_t nsid, const struct plx_nvme_cmd *cmd,
		  void *buf, uint32_t len)
{
	int rc = plx_nvme_admin_supported(c, cmd->opc), rescan;

	if (rc)
		return rc;
	ns_hold(c, nsid, true);
	rc = admin_call(c, cmd, buf, len, NULL);
	ns_hold(c, nsid, false);
	rescan = plx_nvme_ctrlr_rescan(c);
	return rc ? rc : rescan;
}

/* ---- management, §5.23 ---- */

/* NVM Command Set 1.0c figure 116, ZNS 1.1c figure 47; libnvme has it from 1.4 on */
struct ns_mgmt_data {
	uint64_t nsze;
	uint64_t ncap;
	uint8_t rsvd16[10];
	uint8_t flbas;
	uint8_t rsvd27[2];
	uint8_t dps;
	uint8_t nmic;
	uint8_t rsvd31[61];
	uint32_t anagrpid;
	uint8_t rsvd96[4];
	uint16_t nvmsetid;
	uint16_t endgid;
	uint8_t rsvd104[280];
	uint64_t lbstm;
	uint16_t nphndls;
	uint8_t rsvd394[105];
	uint8_t znsco;
	uint32_t rar;
	uint32_t ror;
	uint32_t rnumzrwa;
	uint16_t phndl[128];
	uint8_t rsvd768[3328];
} __attribute__((packed));
_Static_assert(sizeof(struct ns_mgmt_data) == 4096, "a page");
_Static_assert(offsetof(struct ns_mgmt_data, phndl) == 512, "placement handles come last");

int plx_nvme_ns_create(struct plx_nvme_ctrlr *c, const struct plx_nvme_ns_create *ns,
		       uint32_t *nsid)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_ns_mgmt,
				    .cdw10 = NVME_NS_MGMT_SEL_CREATE,
				    .cdw11 = (uint32_t)ns->csi << 24 };
	struct ns_mgmt_data data = {
		.nsze = ns->nsze,
		.ncap = ns->ncap,
		.flbas = ns->flbas,
		.dps = ns->dps,
		.nmic = ns->nmic,
		.anagrpid = ns->anagrpid,
		.nvmsetid = ns->nvmsetid,
		.endgid = ns->endgid,
		.lbstm = ns->lbstm,
		.nphndls = ns->nphndls,
	};

	if (ns->nphndls > PLX_ARRAY_SIZE(data.phndl) || (ns->nphndls && !ns->phndls))
		return -EINVAL;
	if (ns->csi == NVME_CSI_ZNS) {
		data.znsco = ns->znsco;
		data.rar = ns->rar;
		data.ror = ns->ror;
		data.rnumzrwa = ns->rnumzrwa;
	}
	if (ns->nphndls)
		memcpy(data.phndl, ns->phndls, ns->nphndls * sizeof(data.phndl[0]));
	return admin_call_if(c, &cmd, &data, sizeof(data), nsid);
}

int plx_nvme_ns_delete(struct plx_nvme_ctrlr *c, uint32_t nsid)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_ns_mgmt,
				    .nsid = nsid,
				    .cdw10 = NVME_NS_MGMT_SEL_DELETE };

	return change(c, nsid, &cmd, NULL, 0);
}

static bool lists(const struct nvme_ctrl_list *list, uint16_t cntlid)
{
	for (uint32_t i = 0; i < list->num; i++)
		if (list->identifier[i] == cntlid)
			return true;
	return false;
}

/* §5.22; a controller list is sorted (§4.5.1) */
static int attach(struct plx_nvme_ctrlr *c, uint32_t nsid, const uint16_t *cntlids, uint32_t n,
		  enum nvme_ns_attach_sel sel)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_ns_attach, .nsid = nsid, .cdw10 = sel };
	struct nvme_ctrl_list list = { .num = 1 };

	_Static_assert(sizeof(list) == 4096, "a page");
	if (n > PLX_ARRAY_SIZE(list.identifier) || (n && !cntlids))
		return -EINVAL;
	list.identifier[0] = c->id.cntlid;
	for (uint32_t i = 0; i < n; i++) {
		if (i && cntlids[i] <= cntlids[i - 1])
			return -EINVAL;
		list.identifier[i] = cntlids[i];
	}
	if (n)
		list.num = (uint16_t)n;
	/* another controller's attachment is no reason to hold our I/O */
	if (sel == NVME_NS_ATTACH_SEL_CTRL_ATTACH || !lists(&list, c->id.cntlid))
		return change(c, 0, &cmd, &list, sizeof(list));
	return change(c, nsid, &cmd, &list, sizeof(list));
}

int plx_nvme_ns_attach(struct plx_nvme_ctrlr *c, uint32_t nsid, const uint16_t *cntlids, uint32_t n)
{
	return attach(c, nsid, cntlids, n, NVME_NS_ATTACH_SEL_CTRL_ATTACH);
}

int plx_nvme_ns_detach(struct plx_nvme_ctrlr *c, uint32_t nsid, const uint16_t *cntlids, uint32_t n)
{
	return attach(c, nsid, cntlids, n, NVME_NS_ATTACH_SEL_CTRL_DEATTACH);
}

int plx_nvme_ns_list(struct plx_nvme_ctrlr *c, bool allocated, uint32_t after, uint32_t *list,
		     uint32_t *n)
{
	uint8_t cns =
		allocated ? NVME_IDENTIFY_CNS_ALLOCATED_NS_LIST : NVME_IDENTIFY_CNS_NS_ACTIVE_LIST;
	int rc;

	if (allocated && !(c->id.oacs & NVME_CTRL_OACS_NS_MGMT))
		return -ENOTSUP;
	rc = plx_nvme_identify(c, cns, after, 0, 0, list);
	for (*n = 0; !rc && *n < NVME_ID_NS_LIST_MAX && list[*n]; ++*n)
		;
	return rc;
}

int plx_nvme_ctrlr_list(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t from, uint16_t *list,
			uint32_t *n)
{
	uint8_t cns = nsid ? NVME_IDENTIFY_CNS_NS_CTRL_LIST : NVME_IDENTIFY_CNS_CTRL_LIST;
	struct nvme_ctrl_list data;
	int rc;

	*n = 0;
	if (!(c->id.oacs & NVME_CTRL_OACS_NS_MGMT))
		return -ENOTSUP;
	rc = plx_nvme_identify(c, cns, nsid, from, 0, &data);
	if (rc)
		return rc;
	if (data.num > PLX_ARRAY_SIZE(data.identifier))
		return -EPROTO;
	*n = data.num;
	memcpy(list, data.identifier, *n * sizeof(*list));
	return 0;
}

/* ---- Format NVM, §5.14 ---- */

int plx_nvme_format(struct plx_nvme_ctrlr *c, uint32_t nsid, const struct plx_nvme_format *f)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_format_nvm,
		.nsid = nsid,
		.cdw10 = (f->lbaf & 0xfu) | (uint32_t)f->mset << 4 | (uint32_t)f->pi << 5 |
			 (uint32_t)f->pi_first << 8 | (uint32_t)f->ses << 9 |
			 (uint32_t)(f->lbaf >> 4) << 12,
	};

	if (f->lbaf > 63 || f->pi > 3 || f->ses > NVME_FORMAT_SES_CRYPTO_ERASE)
		return -EINVAL;
	return change(c, nsid, &cmd, NULL, 0);
}
