/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/log.c - Get Log Page (§5.16)
 *
 * A page is made as a whole, 4 KiB at most, and the part asked for is copied.
 */
#include "targets/nvmf/nvmf_admin.h"
#include <plx_config.h>

#define LOG_RAE (1u << 15)
#define LOG_OT	(1u << 23) /* offset is an index: no page here has entries to index */

/* §5.16.1.6: scope of a command, bits 31:20 */
#define SCOPE_NS    (1u << 20)
#define SCOPE_CTRLR (1u << 21)

/* ---- the pages: each fills @page, zeroed, and returns its size ---- */

static uint32_t log_error(struct nvmf_ctrlr *c, void *page)
{
	const struct nvmf_admin *a = c->admin;
	struct nvme_error_log_page *out = page;
	uint64_t n = a->error_count < NVMF_ERROR_ENTRIES ? a->error_count : NVMF_ERROR_ENTRIES;

	for (uint64_t i = 0; i < n; i++) /* the newest first */
		out[i] = a->errors[(a->error_count - 1 - i) % NVMF_ERROR_ENTRIES];
	return sizeof a->errors;
}

uint8_t nvmf_critical_warning(const struct nvmf_ctrlr *c)
{
	const struct nvmf_features *f = &c->admin->features;

	return NVMF_TEMPERATURE >= f->temp_over || NVMF_TEMPERATURE <= f->temp_under
		       ? NVME_SMART_CRIT_TEMPERATURE
		       : 0;
}

/* Data units are thousands of 512 bytes, rounded up */
static uint64_t data_units(uint64_t bytes)
{
	return (bytes + 511999) / 512000;
}

static uint32_t log_smart(struct nvmf_ctrlr *c, void *page)
{
	const struct nvmf_admin *a = c->admin;
	struct nvme_smart_log *s = page;
	struct nvmf_health h = nvmf_health_get(c);

	s->critical_warning = nvmf_critical_warning(c);
	s->temperature[0] = NVMF_TEMPERATURE & 0xff;
	s->temperature[1] = NVMF_TEMPERATURE >> 8;
	s->avail_spare = 100;
	nvmf_put_u128(s->data_units_read, data_units(h.stats.read_bytes));
	nvmf_put_u128(s->data_units_written, data_units(h.stats.written_bytes));
	nvmf_put_u128(s->host_reads, h.stats.reads);
	nvmf_put_u128(s->host_writes, h.stats.writes);
	nvmf_put_u128(s->ctrl_busy_time, h.busy_tsc / plx_tsc_hz() / 60);
	nvmf_put_u128(s->power_cycles, h.power_cycles);
	nvmf_put_u128(s->power_on_hours, h.on_tsc / plx_tsc_hz() / 3600);
	nvmf_put_u128(s->unsafe_shutdowns, h.unsafe_shutdowns);
	nvmf_put_u128(s->media_errors, h.media_errors);
	nvmf_put_u128(s->num_err_log_entries, a->error_count);
	return sizeof *s;
}

static uint32_t log_firmware(struct nvmf_ctrlr *c, void *page)
{
	struct nvme_firmware_slot *f = page;

	f->afi = 1;
	nvmf_put_ascii(f->frs[0], sizeof f->frs[0], PLX_VERSION);
	return sizeof *f;
}

static uint32_t log_changed_ns(struct nvmf_ctrlr *c, void *page)
{
	struct nvme_ns_list *list = page;
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->nn; i++) {
		if (c->admin->changed[i / 64] >> (i % 64) & 1)
			list->ns[n++] = i + 1;
	}
	return sizeof *list;
}

static uint32_t log_effects(struct nvmf_ctrlr *c, void *page)
{
	static const uint8_t changing[] = { nvme_cmd_write, nvme_cmd_write_zeroes, nvme_cmd_dsm,
					    nvme_cmd_copy };
	static const uint8_t other[] = { nvme_cmd_flush, nvme_cmd_read, nvme_cmd_compare,
					 nvme_cmd_verify };
	struct nvme_cmd_effects_log *e = page;

	for (uint32_t opc = 0; opc < 256; opc++) {
		if (nvmf_admin_supported((uint8_t)opc))
			e->acs[opc] = NVME_CMD_EFFECTS_CSUPP | SCOPE_CTRLR;
	}
	e->acs[nvme_admin_set_features] |= SCOPE_NS;
	for (uint32_t i = 0; i < sizeof changing; i++)
		e->iocs[changing[i]] = NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_LBCC | SCOPE_NS;
	for (uint32_t i = 0; i < sizeof other; i++)
		e->iocs[other[i]] = NVME_CMD_EFFECTS_CSUPP | SCOPE_NS;
	return sizeof *e;
}

static uint32_t log_features(struct nvmf_ctrlr *c, void *page)
{
	struct nvme_fid_supported_effects_log *f = page;

	for (uint32_t fid = 0; fid < 256; fid++)
		f->fid_support[fid] = nvmf_feature_effects(c, (uint8_t)fid);
	return sizeof *f;
}

/*
 * There is no management interface, hence no command of it: all zeroes, but LPA bit 5 includes the
 * page
 */
static uint32_t log_mi_effects(struct nvmf_ctrlr *c, void *page)
{
	return sizeof(struct nvme_mi_cmd_supported_effects_log);
}

static uint32_t log_supported(struct nvmf_ctrlr *c, void *page);

static uint32_t (*const pages[])(struct nvmf_ctrlr *c, void *page) = {
	[NVME_LOG_LID_SUPPORTED_LOG_PAGES] = log_supported,
	[NVME_LOG_LID_ERROR] = log_error,
	[NVME_LOG_LID_SMART] = log_smart,
	[NVME_LOG_LID_FW_SLOT] = log_firmware,
	[NVME_LOG_LID_CHANGED_NS] = log_changed_ns,
	[NVME_LOG_LID_CMD_EFFECTS] = log_effects,
	[NVME_LOG_LID_FID_SUPPORTED_EFFECTS] = log_features,
	[NVME_LOG_LID_MI_CMD_SUPPORTED_EFFECTS] = log_mi_effects,
};

static uint32_t log_supported(struct nvmf_ctrlr *c, void *page)
{
	struct nvme_supported_log_pages *s = page;

	for (uint32_t lid = 0; lid < PLX_ARRAY_SIZE(pages); lid++)
		s->lid_support[lid] = pages[lid] != NULL;
	return sizeof *s;
}

/* ---- the command ---- */

/* Zeroes for what was asked for beyond the end of the page */
static void copy_zeroes(struct nvmf_req *req, uint64_t off, uint64_t len)
{
	static const uint8_t zeroes[PLX_PAGE_SIZE];

	while (len) {
		uint32_t n = len < sizeof zeroes ? (uint32_t)len : (uint32_t)sizeof zeroes;

		nvmf_req_copy_out(req, (uint32_t)off, zeroes, n);
		off += n;
		len -= n;
	}
}

uint16_t nvmf_get_log_page(struct nvmf_req *req)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	uint8_t lid = cmd->cdw10 & 0xff;
	uint64_t len = ((uint64_t)(cmd->cdw10 >> 16 | (cmd->cdw11 & 0xffff) << 16) + 1) * 4;
	uint64_t off = cmd->cdw12 | (uint64_t)cmd->cdw13 << 32;
	uint64_t size, n;
	uint16_t st;

	if (lid >= PLX_ARRAY_SIZE(pages) || !pages[lid])
		return NVMF_ST_CS(NVME_SC_INVALID_LOG_PAGE);
	/*
	 * all pages are the controller's or the subsystem's (§5.16), and the command set is NVM's
	 */
	if ((cmd->nsid && cmd->nsid != NVME_NSID_ALL) || cmd->cdw14 >> 24 != NVME_CSI_NVM)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	if (cmd->cdw14 & LOG_OT || off & 3 || len > (uint64_t)PLX_PAGE_SIZE << c->fn->opts.mdts)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	memset(c->admin->page, 0, sizeof c->admin->page);
	size = pages[lid](c, c->admin->page);
	if (off > size)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	st = nvmf_req_map(req, (uint32_t)len);
	if (st)
		return st;
	n = size - off < len ? size - off : len;
	nvmf_req_copy_out(req, 0, c->admin->page + off, (uint32_t)n);
	copy_zeroes(req, n, len - n);
	if (!(cmd->cdw10 & LOG_RAE)) {
		if (lid == NVME_LOG_LID_CHANGED_NS)
			memset(c->admin->changed, 0, sizeof c->admin->changed);
		nvmf_event_clear(c, lid);
	}
	return 0;
}
