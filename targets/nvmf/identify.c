/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/identify.c - the Identify command (§5.17): what the controller and its namespaces
 * can do
 *
 * Every capability reported here is one that exists; limits of I/O commands come from
 * nvmf_limits.h, as the code that executes them does.
 */
#include "targets/nvmf/nvmf_admin.h"
#include "targets/nvmf/nvmf_limits.h"
#include <plx_config.h>

#define VERSION_2_0   0x00020000u
#define RAB_UNLIMITED 7

/* One command being answered: @page is zeroed, 4 KiB */
struct identify {
	struct nvmf_ctrlr *c;
	uint32_t nsid;
	uint16_t cntid;
	void *page;
};

bool nvmf_volatile_cache(const struct nvmf_ctrlr *c)
{
	for (uint32_t i = 0; i < c->nn; i++) {
		if (c->ns[i].desc && c->ns[i].ns->bdev->write_cache)
			return true;
	}
	return false;
}

/* ---- controller: CNS 01h, 06h, 1Ch ---- */

static uint64_t total_capacity(const struct nvmf_ctrlr *c)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < c->nn; i++) {
		if (c->ns[i].desc)
			sum += c->ns[i].blocks * c->ns[i].block_size;
	}
	return sum;
}

static uint16_t id_ctrl(struct identify *x)
{
	const struct nvmf_ctrlr *c = x->c;
	const struct plx_nvmf_subsystem *s = c->subsystem;
	struct nvme_id_ctrl *id = x->page;

	nvmf_put_ascii(id->sn, sizeof id->sn, s->serial);
	nvmf_put_ascii(id->mn, sizeof id->mn, s->model);
	nvmf_put_ascii(id->fr, sizeof id->fr, PLX_VERSION);
	id->vid = id->ssvid = NVMF_PCI_VENDOR;
	id->rab = RAB_UNLIMITED;
	id->cmic = NVME_CTRL_CMIC_MULTI_PORT | NVME_CTRL_CMIC_MULTI_CTRL;
	id->mdts = (uint8_t)c->fn->opts.mdts;
	id->cntlid = c->cntlid;
	id->ver = VERSION_2_0;
	id->oaes = NVME_CTRL_OAES_NA;
	id->ctratt = NVME_CTRL_CTRATT_128_ID;
	id->cntrltype = NVME_CTRL_CNTRLTYPE_IO;
	id->nvmsr = 1; /* part of an NVMe storage device */
	id->oacs = nvmf_fn_has_dbbuf(c->fn) ? NVME_CTRL_OACS_DBBUF_CFG : 0;
	id->acl = NVMF_ACL;
	id->aerl = NVMF_MAX_AER - 1;
	id->frmw = NVME_CTRL_FRMW_1ST_RO | 1 << 1; /* one slot, read-only */
	id->lpa = NVME_CTRL_LPA_CMD_EFFECTS | NVME_CTRL_LPA_EXTENDED |
		  NVME_CTRL_LPA_LI0_LI5_LI12_LI13;
	id->elpe = NVMF_ERROR_ENTRIES - 1;
	id->wctemp = NVMF_WCTEMP;
	id->cctemp = NVMF_CCTEMP;
	nvmf_put_u128(id->tnvmcap, total_capacity(c));
	id->kas = NVMF_KAS_MS / 100;
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = c->nn;
	id->mnan = c->nn;
	id->oncs = NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_DSM | NVME_CTRL_ONCS_WRITE_ZEROES |
		   NVME_CTRL_ONCS_SAVE_FEATURES | NVME_CTRL_ONCS_TIMESTAMP | NVME_CTRL_ONCS_VERIFY |
		   NVME_CTRL_ONCS_COPY;
	id->fuses = NVME_CTRL_FUSES_COMPARE_AND_WRITE;
	id->vwc = NVMF_VWC_FLUSH_ALL << 1 | nvmf_volatile_cache(c);
	id->acwu = NVMF_ACWU;
	id->ocfs = NVMF_COPY_FORMATS;
	id->sgls = NVMF_SGLS;
	strcpy(id->subnqn, s->nqn);
	return 0;
}

/*
 * NVM command set: no limit below MDTS or the field's width, so 0 throughout (NVM Command Set 1.0c
 * §4.1.5.4)
 */
static uint16_t id_ctrl_nvm(struct identify *x)
{
	return 0;
}

static bool ctrlr_exists(struct plx_nvmf_subsystem *s, uint16_t cntlid)
{
	struct nvmf_ctrlr *c;

	pthread_mutex_lock(&s->lock);
	TAILQ_FOREACH(c, &s->ctrlrs, link)
	{
		if (c->cntlid == cntlid)
			break;
	}
	pthread_mutex_unlock(&s->lock);
	return c;
}

static uint16_t id_command_sets(struct identify *x)
{
	struct nvme_id_iocs *id = x->page;

	if (x->cntid != 0xffff && !ctrlr_exists(x->c->subsystem, x->cntid))
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	id->iocsc[0] = 1u << NVME_CSI_NVM;
	return 0;
}

/* ---- namespace: CNS 00h, 03h, 05h, 08h, 11h, 1Bh ---- */

/* An inactive namespace reads as zeroes. Return: 0 and *@ns, which may be NULL, or a status */
static uint16_t ns_or_zeroes(struct identify *x, struct nvmf_ctrlr_ns **ns)
{
	if (!x->nsid || x->nsid > x->c->nn)
		return NVMF_ST(NVME_SC_INVALID_NS);
	*ns = nvmf_ctrlr_ns(x->c, x->nsid);
	return 0;
}

/* What the medium writes at once, as preferred granularity and alignment, 0's based in blocks */
static void put_preferred_write(struct nvme_id_ns *id, const struct plx_bdev *b)
{
	uint32_t blocks = b->phys_block_size / b->block_size;

	if (blocks < 2 || blocks > UINT16_MAX)
		return;
	id->nsfeat |= NVME_NS_FEAT_IO_OPT;
	id->npwg = id->npwa = (uint16_t)(blocks - 1);
	/* in I/Os of that size deallocation works best as well */
	id->npdg = id->npda = (uint16_t)(blocks - 1);
	id->nows = (uint16_t)(blocks - 1);
}

static uint16_t id_ns(struct identify *x)
{
	struct nvme_id_ns *id = x->page;
	struct nvmf_ctrlr_ns *ns;
	const struct plx_bdev *b;
	uint16_t st = ns_or_zeroes(x, &ns);

	if (st || !ns)
		return st;
	b = ns->ns->bdev;
	id->nsze = id->ncap = id->nuse = ns->blocks;
	id->nsfeat = NVME_NS_FEAT_NATOMIC;
	id->flbas = ns->md_extended ? 1 << 4 : 0;
	if (ns->md_size)
		id->mc = ns->md_extended ? NVME_NS_MC_EXTENDED : NVME_NS_MC_SEPARATE;
	if (ns->pi_type) {
		id->dpc = (uint8_t)(NVME_NS_DPC_PI_TYPE1 << (ns->pi_type - 1) |
				    (ns->pi_first ? NVME_NS_DPC_PI_FIRST : NVME_NS_DPC_PI_LAST));
		id->dps = (uint8_t)(ns->pi_type | (ns->pi_first ? NVME_NS_DPS_PI_FIRST : 0));
	}
	put_preferred_write(id, b);
	id->nmic = 1; /* any controller of the subsystem may have it attached */
	id->dlfeat = NVMF_DLFEAT;
	id->nacwu = NVMF_ACWU;
	id->noiob = b->boundary <= UINT16_MAX ? (uint16_t)b->boundary : 0;
	nvmf_put_u128(id->nvmcap, ns->blocks * ns->block_size);
	id->mssrl = NVMF_COPY_MSSRL;
	id->mcl = NVMF_COPY_MCL;
	id->msrc = NVMF_COPY_MSRC;
	memcpy(id->nguid, ns->ns->nguid, sizeof id->nguid);
	memcpy(id->eui64, ns->ns->eui64, sizeof id->eui64);
	id->lbaf[0].ms = (uint16_t)ns->md_size;
	id->lbaf[0].ds = (uint8_t)__builtin_ctz(ns->block_size);
	return 0;
}

static void *put_descriptor(void *at, uint8_t type, const void *id, uint8_t len)
{
	struct nvme_ns_id_desc *d = at;

	d->nidt = type;
	d->nidl = len;
	memcpy(d->nid, id, len);
	return d->nid + len;
}

static uint16_t id_descriptors(struct identify *x)
{
	static const uint8_t csi = NVME_CSI_NVM;
	struct nvmf_ctrlr_ns *ns;
	void *at = x->page;
	uint16_t st = nvmf_check_nsid(x->c, x->nsid, &ns);

	if (st)
		return st;
	at = put_descriptor(at, NVME_NIDT_EUI64, ns->ns->eui64, 8);
	at = put_descriptor(at, NVME_NIDT_NGUID, ns->ns->nguid, 16);
	at = put_descriptor(at, NVME_NIDT_UUID, ns->ns->uuid, 16);
	put_descriptor(at, NVME_NIDT_CSI, &csi, 1);
	return 0;
}

/* NVM command set: 16-bit guards (PIF 0), no storage tag */
static uint16_t id_ns_nvm(struct identify *x)
{
	struct nvmf_ctrlr_ns *ns;

	return ns_or_zeroes(x, &ns);
}

static uint16_t id_ns_independent(struct identify *x)
{
	struct nvme_id_independent_id_ns *id = x->page;
	struct nvmf_ctrlr_ns *ns;
	uint16_t st = ns_or_zeroes(x, &ns);

	if (st || !ns)
		return st;
	id->nmic = 1;
	id->nstat = 1; /* ready */
	return 0;
}

/* ---- lists: CNS 02h, 07h, 10h, 1Ah of namespaces; 12h, 13h of controllers ---- */

/*
 * Every namespace of the subsystem is attached to every controller, so "allocated" and "active" are
 * the same
 */
static uint16_t id_ns_list(struct identify *x)
{
	struct nvme_ns_list *list = x->page;
	uint32_t n = 0;

	if (x->nsid >= 0xfffffffe)
		return NVMF_ST(NVME_SC_INVALID_NS);
	for (uint32_t i = x->nsid; i < x->c->nn && n < NVME_ID_NS_LIST_MAX; i++) {
		if (x->c->ns[i].desc)
			list->ns[n++] = i + 1;
	}
	return 0;
}

static uint16_t id_ctrlr_list(struct identify *x)
{
	struct plx_nvmf_subsystem *s = x->c->subsystem;
	struct nvme_ctrl_list *list = x->page;
	struct nvmf_ctrlr *c;
	uint16_t n = 0;

	pthread_mutex_lock(&s->lock);
	TAILQ_FOREACH(c, &s->ctrlrs, link)
	{
		if (c->cntlid >= x->cntid && n < NVME_ID_CTRL_LIST_MAX)
			list->identifier[n++] = c->cntlid;
	}
	pthread_mutex_unlock(&s->lock);
	list->num = n;
	return 0;
}

static uint16_t id_ns_ctrlr_list(struct identify *x)
{
	struct nvmf_ctrlr_ns *ns;
	uint16_t st;

	if (x->nsid == NVME_NSID_ALL)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	st = nvmf_check_nsid(x->c, x->nsid, &ns);
	return st ? st : id_ctrlr_list(x);
}

/* ---- dispatch ---- */

static const struct identify_cns {
	uint16_t (*fill)(struct identify *x);
	bool nsid; /* uses the namespace identifier: others must leave it 0 */
	bool csi; /* uses the command set identifier: NVM is the only one */
} cns_table[] = {
	[NVME_IDENTIFY_CNS_NS] = { id_ns, true, false },
	[NVME_IDENTIFY_CNS_CTRL] = { id_ctrl, false, false },
	[NVME_IDENTIFY_CNS_NS_ACTIVE_LIST] = { id_ns_list, true, false },
	[NVME_IDENTIFY_CNS_NS_DESC_LIST] = { id_descriptors, true, false },
	[NVME_IDENTIFY_CNS_CSI_NS] = { id_ns_nvm, true, true },
	[NVME_IDENTIFY_CNS_CSI_CTRL] = { id_ctrl_nvm, false, true },
	[NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST] = { id_ns_list, true, true },
	[NVME_IDENTIFY_CNS_CSI_INDEPENDENT_ID_NS] = { id_ns_independent, true, false },
	[NVME_IDENTIFY_CNS_ALLOCATED_NS_LIST] = { id_ns_list, true, false },
	[NVME_IDENTIFY_CNS_ALLOCATED_NS] = { id_ns, true, false },
	[NVME_IDENTIFY_CNS_NS_CTRL_LIST] = { id_ns_ctrlr_list, true, false },
	[NVME_IDENTIFY_CNS_CTRL_LIST] = { id_ctrlr_list, false, false },
	[NVME_IDENTIFY_CNS_CSI_ALLOCATED_NS_LIST] = { id_ns_list, true, true },
	[NVME_IDENTIFY_CNS_CSI_ID_NS_DATA_STRUCTURE] = { id_ns_nvm, true, true },
	[NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE] = { id_command_sets, false, false },
};

uint16_t nvmf_identify(struct nvmf_req *req)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	struct identify x = {
		.c = c, .nsid = cmd->nsid, .cntid = cmd->cdw10 >> 16, .page = c->admin->page
	};
	const struct identify_cns *cns;
	uint8_t n = cmd->cdw10 & 0xff;
	uint16_t st;

	if (n >= PLX_ARRAY_SIZE(cns_table) || !cns_table[n].fill)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	cns = &cns_table[n];
	if ((cmd->nsid && !cns->nsid) || (cns->csi && cmd->cdw11 >> 24 != NVME_CSI_NVM))
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	memset(x.page, 0, PLX_PAGE_SIZE);
	st = cns->fill(&x);
	if (!st)
		st = nvmf_req_map(req, PLX_PAGE_SIZE);
	if (!st)
		nvmf_req_copy_out(req, 0, x.page, PLX_PAGE_SIZE);
	return st;
}
