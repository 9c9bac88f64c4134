/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_mgmt.c - sanitize, self-test, directives, security, capacity, virtualization, lockdown
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_admin.h>
#include <pollux/nvme_log.h>
#include <stdlib.h>
#include <string.h>

#define SANITIZE_LOOK_MS 20 /* between looks at the progress */

/* ---- sanitize, §5.24 ---- */

static bool can_sanitize(const struct plx_nvme_ctrlr *c, uint8_t action)
{
	switch (action) {
	case NVME_SANITIZE_SANACT_EXIT_FAILURE:
		return c->id.sanicap &
		       (NVME_CTRL_SANICAP_CES | NVME_CTRL_SANICAP_BES | NVME_CTRL_SANICAP_OWS);
	case NVME_SANITIZE_SANACT_START_BLOCK_ERASE:
		return c->id.sanicap & NVME_CTRL_SANICAP_BES;
	case NVME_SANITIZE_SANACT_START_OVERWRITE:
		return c->id.sanicap & NVME_CTRL_SANICAP_OWS;
	case NVME_SANITIZE_SANACT_START_CRYPTO_ERASE:
		return c->id.sanicap & NVME_CTRL_SANICAP_CES;
	}
	return false;
}

int plx_nvme_sanitize(struct plx_nvme_ctrlr *c, const struct plx_nvme_sanitize *s)
{
	bool overwrite = s->action == NVME_SANITIZE_SANACT_START_OVERWRITE;
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_sanitize_nvm,
		.cdw10 = s->action | (uint32_t)s->ause << 3 | (uint32_t)s->no_dealloc << 9,
	};

	if (s->action < NVME_SANITIZE_SANACT_EXIT_FAILURE ||
	    s->action > NVME_SANITIZE_SANACT_START_CRYPTO_ERASE)
		return -EINVAL;
	if (overwrite && (!s->passes || s->passes > 16))
		return -EINVAL;
	if (!can_sanitize(c, s->action))
		return -ENOTSUP;
	if (overwrite) {
		/* OWPASS: 0 is 16 */
		cmd.cdw10 |= (s->passes & 0xfu) << 4 | (uint32_t)s->invert << 8;
		cmd.cdw11 = s->pattern;
	}
	return admin_call_if(c, &cmd, NULL, 0, NULL);
}

int plx_nvme_sanitize_status(struct plx_nvme_ctrlr *c, struct plx_nvme_sanitize_status *out)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_SANITIZE, .nsid = PLX_NVME_LOG_CTRLR };
	struct nvme_sanitize_log_page page;
	int rc;

	if (!c->id.sanicap)
		return -ENOTSUP;
	rc = plx_nvme_log_read(c, &log, 0, &page, sizeof(page));
	if (rc)
		return rc;
	*out = (struct plx_nvme_sanitize_status){
		.state = page.sstat & NVME_SANITIZE_SSTAT_STATUS_MASK,
		.passes = page.sstat >> NVME_SANITIZE_SSTAT_COMPLETED_PASSES_SHIFT &
			  NVME_SANITIZE_SSTAT_COMPLETED_PASSES_MASK,
		.erased = page.sstat & NVME_SANITIZE_SSTAT_GLOBAL_DATA_ERASED,
		.progress = page.sprog,
		.cdw10 = page.scdw10,
	};
	return 0;
}

int plx_nvme_sanitize_wait(struct plx_nvme_ctrlr *c, uint32_t timeout_ms,
			   struct plx_nvme_sanitize_status *out)
{
	uint64_t deadline = plx_tsc() + timeout_ms * c->tsc_ms;

	for (;;) {
		uint64_t next = plx_tsc() + SANITIZE_LOOK_MS * c->tsc_ms;
		int rc = plx_nvme_sanitize_status(c, out);

		if (rc || out->state != NVME_SANITIZE_SSTAT_STATUS_IN_PROGESS)
			return rc;
		if (plx_tsc() >= deadline)
			return -ETIMEDOUT;
		while (plx_tsc() < next)
			ctrlr_setup_turn(c);
	}
}

/* ---- device self-test, §5.9 ---- */

int plx_nvme_self_test(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t stc)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_dev_self_test, .nsid = nsid, .cdw10 = stc };

	return stc > 0xf ? -EINVAL : admin_call_if(c, &cmd, NULL, 0, NULL);
}

int plx_nvme_self_test_log(struct plx_nvme_ctrlr *c, struct nvme_self_test_log *out)
{
	if (!(c->id.oacs & NVME_CTRL_OACS_SELF_TEST))
		return -ENOTSUP;
	return plx_nvme_get_log(c, NVME_LOG_LID_DEVICE_SELF_TEST, PLX_NVME_LOG_CTRLR, 0, 0, out,
				sizeof(*out));
}

/* ---- directives, §5.7, §5.8 ---- */

static int directive(struct plx_nvme_ctrlr *c, uint8_t opc, uint32_t nsid, uint32_t cdw11,
		     uint32_t cdw12, void *buf, uint32_t len, uint32_t *value)
{
	struct plx_nvme_cmd cmd = {
		.opc = opc,
		.nsid = nsid,
		.cdw10 = len ? len / 4 - 1 : 0,
		.cdw11 = cdw11,
		.cdw12 = cdw12,
	};

	return len % 4 ? -EINVAL : admin_call_if(c, &cmd, buf, len, value);
}

static uint32_t directive_cdw11(uint8_t dtype, uint8_t doper, uint16_t dspec)
{
	return (uint32_t)dspec << 16 | (uint32_t)dtype << 8 | doper;
}

int plx_nvme_directive_send(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t dtype, uint8_t doper,
			    uint16_t dspec, uint32_t cdw12, const void *buf, uint32_t len)
{
	return directive(c, nvme_admin_directive_send, nsid, directive_cdw11(dtype, doper, dspec),
			 cdw12, (void *)(uintptr_t)buf, len, NULL);
}

int plx_nvme_directive_receive(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t dtype,
			       uint8_t doper, uint16_t dspec, uint32_t cdw12, void *buf,
			       uint32_t len, uint32_t *value)
{
	return directive(c, nvme_admin_directive_recv, nsid, directive_cdw11(dtype, doper, dspec),
			 cdw12, buf, len, value);
}

int plx_nvme_directive_identify(struct plx_nvme_ctrlr *c, uint32_t nsid,
				struct nvme_id_directives *out)
{
	return plx_nvme_directive_receive(c, nsid, NVME_DIRECTIVE_DTYPE_IDENTIFY,
					  NVME_DIRECTIVE_RECEIVE_IDENTIFY_DOPER_PARAM, 0, 0, out,
					  sizeof(*out), NULL);
}

/* CDW12: type 15:8, on 0 (§8.7.2) */
int plx_nvme_directive_enable(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t dtype, bool on)
{
	return plx_nvme_directive_send(c, nsid, NVME_DIRECTIVE_DTYPE_IDENTIFY,
				       NVME_DIRECTIVE_SEND_IDENTIFY_DOPER_ENDIR, 0,
				       (uint32_t)dtype << 8 | on, NULL, 0);
}

int plx_nvme_streams_params(struct plx_nvme_ctrlr *c, uint32_t nsid,
			    struct nvme_streams_directive_params *out)
{
	return plx_nvme_directive_receive(c, nsid, NVME_DIRECTIVE_DTYPE_STREAMS,
					  NVME_DIRECTIVE_RECEIVE_STREAMS_DOPER_PARAM, 0, 0, out,
					  sizeof(*out), NULL);
}

int plx_nvme_streams_status(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t *ids, uint32_t max,
			    uint32_t *n)
{
	/* a count, then identifiers; dwords are transferred, at most what an identifier counts */
	uint32_t len = (2 + 2 * (max < 65535 ? max : 65535) + 3) & ~3u;
	uint16_t *status = calloc(1, len);
	int rc;

	*n = 0;
	if (!status)
		return -ENOMEM;
	rc = plx_nvme_directive_receive(c, nsid, NVME_DIRECTIVE_DTYPE_STREAMS,
					NVME_DIRECTIVE_RECEIVE_STREAMS_DOPER_STATUS, 0, 0, status,
					len, NULL);
	if (!rc) {
		*n = status[0];
		memcpy(ids, status + 1, (*n < max ? *n : max) * sizeof(*ids));
	}
	free(status);
	return rc;
}

int plx_nvme_streams_allocate(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t wanted,
			      uint16_t *got)
{
	uint32_t value = 0;
	int rc = plx_nvme_directive_receive(c, nsid, NVME_DIRECTIVE_DTYPE_STREAMS,
					    NVME_DIRECTIVE_RECEIVE_STREAMS_DOPER_RESOURCE, 0,
					    wanted, NULL, 0, &value);

	*got = (uint16_t)value;
	return rc;
}

int plx_nvme_streams_release_id(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t id)
{
	return plx_nvme_directive_send(c, nsid, NVME_DIRECTIVE_DTYPE_STREAMS,
				       NVME_DIRECTIVE_SEND_STREAMS_DOPER_RELEASE_IDENTIFIER, id, 0,
				       NULL, 0);
}

int plx_nvme_streams_release_all(struct plx_nvme_ctrlr *c, uint32_t nsid)
{
	return plx_nvme_directive_send(c, nsid, NVME_DIRECTIVE_DTYPE_STREAMS,
				       NVME_DIRECTIVE_SEND_STREAMS_DOPER_RELEASE_RESOURCE, 0, 0,
				       NULL, 0);
}

/* ---- security, §5.25, §5.26: lengths in bytes ---- */

static int security(struct plx_nvme_ctrlr *c, uint8_t opc, uint32_t nsid, uint8_t secp,
		    uint16_t spsp, uint8_t nssf, void *buf, uint32_t len)
{
	struct plx_nvme_cmd cmd = {
		.opc = opc,
		.nsid = nsid,
		.cdw10 = (uint32_t)secp << 24 | (uint32_t)spsp << 8 | nssf,
		.cdw11 = len,
	};

	return admin_call_if(c, &cmd, buf, len, NULL);
}

int plx_nvme_security_send(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t secp, uint16_t spsp,
			   uint8_t nssf, const void *buf, uint32_t len)
{
	return security(c, nvme_admin_security_send, nsid, secp, spsp, nssf, (void *)(uintptr_t)buf,
			len);
}

int plx_nvme_security_receive(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t secp, uint16_t spsp,
			      uint8_t nssf, void *buf, uint32_t len)
{
	return security(c, nvme_admin_security_recv, nsid, secp, spsp, nssf, buf, len);
}

/* ---- capacity, §5.3; NVM sets, endurance groups, §5.17.2.4, §5.17.2.20 ---- */

int plx_nvme_capacity(struct plx_nvme_ctrlr *c, uint8_t oper, uint16_t elid, uint64_t bytes,
		      uint16_t *created)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_capacity_mgmt,
		.cdw10 = (uint32_t)elid << 16 | oper,
		.cdw11 = (uint32_t)bytes,
		.cdw12 = (uint32_t)(bytes >> 32),
	};
	uint32_t value = 0;
	int rc = oper > 0xf ? -EINVAL : admin_call_if(c, &cmd, NULL, 0, &value);

	if (created)
		*created = (uint16_t)value;
	return rc;
}

/* The field for NVM set and endurance group is that of CNS, CDW11 15:0 */
static int identify_list(struct plx_nvme_ctrlr *c, uint8_t cns, uint16_t from, void *page)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_identify, .cdw10 = cns, .cdw11 = from };

	return admin_call(c, &cmd, page, NVME_IDENTIFY_DATA_SIZE, NULL);
}

int plx_nvme_nvmset_list(struct plx_nvme_ctrlr *c, uint16_t from, struct nvme_id_nvmset_list *out)
{
	_Static_assert(sizeof(*out) == NVME_IDENTIFY_DATA_SIZE, "a page");
	if (!(c->id.ctratt & NVME_CTRL_CTRATT_NVM_SETS))
		return -ENOTSUP;
	return identify_list(c, NVME_IDENTIFY_CNS_NVMSET_LIST, from, out);
}

int plx_nvme_endgrp_list(struct plx_nvme_ctrlr *c, uint16_t from,
			 struct nvme_id_endurance_group_list *out)
{
	_Static_assert(sizeof(*out) == NVME_IDENTIFY_DATA_SIZE, "a page");
	if (!(c->id.ctratt & NVME_CTRL_CTRATT_ENDURANCE_GROUPS))
		return -ENOTSUP;
	return identify_list(c, NVME_IDENTIFY_CNS_ENDURANCE_GROUP_ID, from, out);
}

/* ---- virtualization, §5.28 ---- */

int plx_nvme_virt_mgmt(struct plx_nvme_ctrlr *c, uint8_t act, uint8_t rt, uint16_t cntlid,
		       uint16_t nr, uint16_t *granted)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_virtual_mgmt,
		.cdw10 = (uint32_t)cntlid << 16 | (uint32_t)rt << 8 | act,
		.cdw11 = nr,
	};
	uint32_t value = 0;
	int rc = act > 0xf || rt > 7 ? -EINVAL : admin_call_if(c, &cmd, NULL, 0, &value);

	if (granted)
		*granted = (uint16_t)value;
	return rc;
}

int plx_nvme_primary_caps(struct plx_nvme_ctrlr *c, struct nvme_primary_ctrl_cap *out)
{
	_Static_assert(sizeof(*out) == NVME_IDENTIFY_DATA_SIZE, "a page");
	if (!(c->id.oacs & NVME_CTRL_OACS_VIRT_MGMT))
		return -ENOTSUP;
	return plx_nvme_identify(c, NVME_IDENTIFY_CNS_PRIMARY_CTRL_CAP, 0, c->id.cntlid, 0, out);
}

int plx_nvme_secondary_list(struct plx_nvme_ctrlr *c, uint16_t from,
			    struct nvme_secondary_ctrl_list *out)
{
	_Static_assert(sizeof(*out) == NVME_IDENTIFY_DATA_SIZE, "a page");
	if (!(c->id.oacs & NVME_CTRL_OACS_VIRT_MGMT))
		return -ENOTSUP;
	return plx_nvme_identify(c, NVME_IDENTIFY_CNS_SECONDARY_CTRL_LIST, 0, from, 0, out);
}

/* ---- lockdown, §5.19; LBA status, NVM Command Set 1.0c §5.4 ---- */

int plx_nvme_lockdown(struct plx_nvme_ctrlr *c, uint8_t scope, uint8_t id, bool prohibit,
		      uint8_t interface)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_lockdown,
		.cdw10 = (uint32_t)id << 8 | (uint32_t)interface << 5 | (uint32_t)prohibit << 4 |
			 scope,
	};

	return scope > 0xf || interface > 3 ? -EINVAL : admin_call_if(c, &cmd, NULL, 0, NULL);
}

int plx_nvme_lba_status(struct plx_nvme_ctrlr *c, uint32_t nsid, uint64_t slba, uint16_t range,
			uint8_t atype, void *buf, uint32_t len)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_get_lba_status,
		.nsid = nsid,
		.slba = slba,
		.cdw12 = len / 4 - 1,
		.cdw13 = (uint32_t)atype << 24 | range,
	};

	if (!buf || len < sizeof(struct nvme_lba_status) || len % 4)
		return -EINVAL;
	return admin_call_if(c, &cmd, buf, len, NULL);
}
