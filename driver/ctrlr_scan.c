/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_scan.c - steps that look at the controller's namespaces, when connecting and when
 * they may have changed
 */
#include "driver/ctrlr_steps.h"
#include <string.h>

/* Other firmware runs: its name, and what it has. Limits that queue pairs were made for stay. */
enum nvme_step step_id_again(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_id_ctrl *id = c->page;

	if (entering)
		return step_identify(c, NVME_IDENTIFY_CNS_CTRL, 0);
	c->reidentify = false;
	if (!step_cmd_ok(c))
		step_cmd_warn(c, "Identify Controller");
	else if (!memcmp(id->sn, c->id.sn, sizeof(id->sn)) &&
		 step_max_io_bytes(c, id) >= c->max_io_bytes)
		memcpy(&c->id, id, sizeof(c->id));
	else
		ctrlr_start_reset(c, "it is another controller since its firmware was activated");
	return NVME_STEP_NS_CHANGED;
}

/* Changed Namespace List: reading it re-arms the notice; what changed is found by looking at all of
 * them */
enum nvme_step step_ns_changed(struct plx_nvme_ctrlr *c, bool entering)
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
	switch (ctrlr_state(c)) {
	case PLX_NVME_CTRLR_READY:
		return NVME_STEP_READY;
	case PLX_NVME_CTRLR_RESETTING:
		/* queue pairs may go on after that: what they kept is judged by what was found */
		return NVME_STEP_CREATE_QUEUES;
	default:
		return NVME_STEP_AER_CONFIG;
	}
}

/* Before version 1.1 there is no list: every identifier up to NN may be active */
static void ns_list_all(struct plx_nvme_ctrlr *c)
{
	uint32_t n = PLX_ARRAY_SIZE(c->ns_list);

	memset(c->ns_list, 0, sizeof(c->ns_list));
	for (uint32_t i = 0; i < n && c->ns_last + i < c->id.nn; i++)
		c->ns_list[i] = c->ns_last + i + 1;
}

enum nvme_step step_ns_list(struct plx_nvme_ctrlr *c, bool entering)
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

enum nvme_step step_ns_id(struct plx_nvme_ctrlr *c, bool entering)
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

enum nvme_step step_ns_desc(struct plx_nvme_ctrlr *c, bool entering)
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

enum nvme_step step_ns_id_nvm(struct plx_nvme_ctrlr *c, bool entering)
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

/* Asked for with the first zoned namespace of a scan: controllers without any have no such data */
enum nvme_step step_id_ctrl_zns(struct plx_nvme_ctrlr *c, bool entering)
{
	const struct nvme_zns_id_ctrl *zns = c->page;
	uint32_t limit;

	if (entering) {
		if (c->zns_scan == c->ns_scan)
			return NVME_STEP_NS_ID_ZNS;
		c->zns_scan = c->ns_scan;
		c->max_append_bytes = c->max_io_bytes;
		return step_identify_csi(c, NVME_IDENTIFY_CNS_CSI_CTRL, 0, NVME_CSI_ZNS);
	}
	/* ZASL 0: MDTS (ZNS 1.1c §4.1.5.2) */
	limit = step_cmd_ok(c) ? step_limit_bytes(zns->zasl) : 0;
	if (limit && limit < c->max_append_bytes)
		c->max_append_bytes = limit;
	return NVME_STEP_NS_ID_ZNS;
}

/* ZNS 1.1c §4.1.5.1: limits are 0-based, all ones is none */
enum nvme_step step_ns_id_zns(struct plx_nvme_ctrlr *c, bool entering)
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
