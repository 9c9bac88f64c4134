/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_admin.c - Identify, Get Log Page, Get and Set Features, as a host sees them
 */
#include "targets/nvmf/nvmf_admin.h"
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>
#include <errno.h>

static struct host h;
static char *page; /* 4 KiB */

static void start_with(const struct host_opts *o)
{
	cr_assert_eq(host_init(&h, o), 0);
	page = host_alloc(&h, PLX_PAGE_SIZE, PLX_PAGE_SIZE);
}

static void start(void)
{
	start_with(&(struct host_opts){ 0 });
}

static void stop(void)
{
	host_fini(&h);
}

TestSuite(identify, .init = start, .fini = stop);
TestSuite(log, .init = start, .fini = stop);
TestSuite(health, .fini = stop); /* starts as it needs */
TestSuite(feature, .init = start, .fini = stop);
TestSuite(admin, .init = start, .fini = stop);

static uint16_t identify(uint8_t cns, uint32_t nsid)
{
	return host_identify(&h, cns, nsid, 0, page);
}

static bool page_is_zero(void)
{
	for (size_t i = 0; i < PLX_PAGE_SIZE; i++) {
		if (page[i])
			return false;
	}
	return true;
}

/* ---- commands ---- */

Test(admin, unknown_opcodes_are_refused_for_good)
{
	static const uint8_t opcodes[] = { nvme_admin_ns_mgmt, nvme_admin_fw_commit,
					   nvme_admin_format_nvm, 0x03, 0xff };

	for (size_t i = 0; i < sizeof opcodes; i++) {
		struct plx_nvme_cpl cpl =
			host_admin(&h, &(struct plx_nvme_cmd){ .opc = opcodes[i] });

		cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_OPCODE);
		cr_assert(host_dnr(&cpl));
	}
}

Test(admin, fused_and_sgl_commands_are_invalid)
{
	static const uint8_t flags[] = { PLX_NVME_FUSE_FIRST, PLX_NVME_FUSE_SECOND,
					 PLX_NVME_PSDT_SGL, PLX_NVME_PSDT_MASK };

	for (size_t i = 0; i < sizeof flags; i++) {
		struct plx_nvme_cmd cmd = { .opc = nvme_admin_identify,
					    .flags = flags[i],
					    .cdw10 = NVME_IDENTIFY_CNS_CTRL };
		struct plx_nvme_cpl cpl;

		host_prp(&h, &cmd, page, PLX_PAGE_SIZE);
		cpl = host_admin(&h, &cmd);
		cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
	}
}

Test(admin, commands_without_a_namespace_must_not_name_one)
{
	static const uint8_t opcodes[] = { nvme_admin_keep_alive, nvme_admin_abort_cmd,
					   nvme_admin_async_event, nvme_admin_delete_sq };

	for (size_t i = 0; i < sizeof opcodes; i++) {
		struct plx_nvme_cpl cpl =
			host_admin(&h, &(struct plx_nvme_cmd){ .opc = opcodes[i], .nsid = 1 });

		cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
	}
}

Test(admin, completions_tell_queue_head_and_command)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_keep_alive };

	for (uint32_t i = 0; i < 3 * HOST_ADMIN_DEPTH; i++) {
		uint16_t cid = host_submit(&h, 0, &cmd);
		struct plx_nvme_cpl cpl = host_wait(&h, 0);

		cr_assert_eq(host_status(&cpl), 0);
		cr_assert_eq(cpl.cid, cid);
		cr_assert_eq(cpl.sqid, 0);
		cr_assert_eq(cpl.sqhd, (i + 1) % HOST_ADMIN_DEPTH);
	}
}

/* ---- Identify ---- */

Test(identify, controller_describes_itself)
{
	struct nvme_id_ctrl *id = (void *)page;

	cr_assert_eq(identify(NVME_IDENTIFY_CNS_CTRL, 0), 0);
	cr_assert_eq(memcmp(id->sn, "SN1                 ", 20), 0);
	cr_assert_eq(memcmp(id->mn, "test                                    ", 40), 0);
	cr_assert_eq(id->ver, 0x20000);
	cr_assert_eq(id->mdts, 5);
	cr_assert_eq(id->vid, 0x504c);
	cr_assert_eq(id->ssvid, 0x504c);
	cr_assert_eq(id->cntlid, h.fn.ctrlr->cntlid);
	cr_assert_eq(id->cntrltype, NVME_CTRL_CNTRLTYPE_IO);
	cr_assert_eq(id->sqes, 0x66);
	cr_assert_eq(id->cqes, 0x44);
	cr_assert_eq(id->nn, 8);
	cr_assert_eq(id->mnan, 8);
	cr_assert_eq(id->aerl, NVMF_MAX_AER - 1);
	cr_assert_str_eq(id->subnqn, "nqn.2020-01.org.example:host");
	cr_assert(id->oacs & NVME_CTRL_OACS_DBBUF_CFG);
	cr_assert_eq(id->vwc & 1, 0);
}

Test(identify, namespace_describes_its_bdev)
{
	struct nvme_id_ns *id = (void *)page;

	cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS, h.nsid), 0);
	cr_assert_eq(id->nsze, 4096);
	cr_assert_eq(id->ncap, 4096);
	cr_assert_eq(id->nlbaf, 0);
	cr_assert_eq(id->flbas, 0);
	cr_assert_eq(id->lbaf[0].ds, 9);
	cr_assert_eq(id->lbaf[0].ms, 0);
	cr_assert_eq(id->mc, 0);
	cr_assert_eq(id->dps, 0);
	cr_assert_eq(*(uint64_t *)id->nvmcap, 4096 * 512);
	cr_assert_eq(memcmp(id->eui64, h.subsystem->ns[0].eui64, 8), 0);
	cr_assert_eq(memcmp(id->nguid, h.subsystem->ns[0].nguid, 16), 0);
}

Test(identify_md, metadata_and_protection_are_described, .fini = stop)
{
	struct nvme_id_ns *id;

	start_with(&(struct host_opts){ .block_size = 4096,
					.md_size = 16,
					.md_interleaved = true,
					.dif_first = true,
					.dif = PLX_BDEV_DIF_TYPE2 });
	id = (void *)page;
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS, 1), 0);
	cr_assert_eq(id->lbaf[0].ds, 12);
	cr_assert_eq(id->lbaf[0].ms, 16);
	cr_assert_eq(id->flbas, 1 << 4);
	cr_assert_eq(id->mc, NVME_NS_MC_EXTENDED);
	cr_assert_eq(id->dpc, NVME_NS_DPC_PI_TYPE2 | NVME_NS_DPC_PI_FIRST);
	cr_assert_eq(id->dps, NVME_NS_DPS_PI_TYPE2 | NVME_NS_DPS_PI_FIRST);
}

Test(identify, inactive_namespace_is_all_zeroes)
{
	static const uint8_t cns[] = { NVME_IDENTIFY_CNS_NS, NVME_IDENTIFY_CNS_CSI_NS,
				       NVME_IDENTIFY_CNS_CSI_INDEPENDENT_ID_NS,
				       NVME_IDENTIFY_CNS_ALLOCATED_NS };

	for (size_t i = 0; i < sizeof cns; i++) {
		memset(page, 0xff, PLX_PAGE_SIZE);
		cr_assert_eq(identify(cns[i], 2), 0);
		cr_assert(page_is_zero());
	}
}

Test(identify, namespaces_that_cannot_exist_are_invalid)
{
	static const uint32_t nsids[] = { 0, 9, NVME_NSID_ALL };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(nsids); i++) {
		cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS, nsids[i]), NVME_SC_INVALID_NS);
		cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, nsids[i]),
			     NVME_SC_INVALID_NS);
	}
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, 2), NVME_SC_INVALID_FIELD);
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_CTRL, 1), NVME_SC_INVALID_FIELD);
}

Test(identify, descriptors_hold_every_identifier)
{
	const uint8_t *p = (const uint8_t *)page;
	const struct nvmf_ns *ns = &h.subsystem->ns[0];

	cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, 1), 0);
	cr_assert(p[0] == NVME_NIDT_EUI64 && p[1] == 8 && !memcmp(p + 4, ns->eui64, 8));
	p += 12;
	cr_assert(p[0] == NVME_NIDT_NGUID && p[1] == 16 && !memcmp(p + 4, ns->nguid, 16));
	p += 20;
	cr_assert(p[0] == NVME_NIDT_UUID && p[1] == 16 && !memcmp(p + 4, ns->bdev->uuid, 16));
	p += 20;
	cr_assert(p[0] == NVME_NIDT_CSI && p[1] == 1 && p[4] == NVME_CSI_NVM);
	cr_assert_eq(p[5] | p[6], 0);
}

Test(identify, lists_hold_the_namespaces_above_the_one_given)
{
	static const uint8_t cns[] = { NVME_IDENTIFY_CNS_NS_ACTIVE_LIST,
				       NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST,
				       NVME_IDENTIFY_CNS_ALLOCATED_NS_LIST,
				       NVME_IDENTIFY_CNS_CSI_ALLOCATED_NS_LIST };
	uint32_t *list = (void *)page;

	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 5), 5);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 0), 2);
	for (size_t i = 0; i < sizeof cns; i++) {
		cr_assert_eq(identify(cns[i], 0), 0);
		cr_assert(list[0] == 1 && list[1] == 2 && list[2] == 5 && list[3] == 0);
		cr_assert_eq(identify(cns[i], 2), 0);
		cr_assert(list[0] == 5 && list[1] == 0);
		cr_assert_eq(identify(cns[i], 0xfffffffd), 0);
		cr_assert(page_is_zero());
		cr_assert_eq(identify(cns[i], 0xfffffffe), NVME_SC_INVALID_NS);
	}
}

Test(identify, controller_lists_hold_this_controller)
{
	struct nvme_ctrl_list *list = (void *)page;
	uint16_t id = h.fn.ctrlr->cntlid;

	cr_assert_eq(identify(NVME_IDENTIFY_CNS_CTRL_LIST, 0), 0);
	cr_assert(list->num == 1 && list->identifier[0] == id);
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS_CTRL_LIST, 1), 0);
	cr_assert(list->num == 1 && list->identifier[0] == id);
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS_CTRL_LIST, NVME_NSID_ALL),
		     NVME_SC_INVALID_FIELD);
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_NS_CTRL_LIST, 2), NVME_SC_INVALID_FIELD);
}

Test(identify, command_sets_are_nvm_alone)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_identify,
				    .cdw10 = NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE };
	struct plx_nvme_cpl cpl;

	host_prp(&h, &cmd, page, PLX_PAGE_SIZE);
	cmd.cdw10 |= 0xffffu << 16;
	cpl = host_admin(&h, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(*(uint64_t *)page, 1u << NVME_CSI_NVM);
	cmd.cdw10 =
		NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE | 0x1234u << 16; /* no such controller */
	cpl = host_admin(&h, &cmd);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_CSI_CTRL, 0, NVME_CSI_NVM << 24, page), 0);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_CSI_CTRL, 0, NVME_CSI_ZNS << 24, page),
		     NVME_SC_INVALID_FIELD);
}

Test(identify, what_is_not_there_is_an_invalid_field)
{
	static const uint8_t cns[] = { 0x04, 0x09, 0x0a, 0x14, 0x15, 0x16,
				       0x17, 0x18, 0x19, 0x1d, 0x40, 0xff };

	for (size_t i = 0; i < sizeof cns; i++)
		cr_assert_eq(identify(cns[i], 0), NVME_SC_INVALID_FIELD, "CNS %02x", cns[i]);
}

Test(identify, a_page_across_two_host_pages_arrives_whole)
{
	char *buf = host_alloc(&h, 3 * PLX_PAGE_SIZE, PLX_PAGE_SIZE);

	memset(buf, 0xaa, 3 * PLX_PAGE_SIZE);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_CTRL, 0, 0, buf + 0x804), 0);
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_CTRL, 0), 0);
	cr_assert_eq(memcmp(buf + 0x804, page, PLX_PAGE_SIZE), 0);
	cr_assert_eq((uint8_t)buf[0x803], 0xaa);
	cr_assert_eq((uint8_t)buf[0x804 + PLX_PAGE_SIZE], 0xaa);
}

/* ---- Get Log Page ---- */

static uint16_t log_at(uint8_t lid, uint64_t off, uint32_t len, bool rae, void *buf)
{
	uint32_t numd = len / 4 - 1;
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_log_page,
				    .nsid = NVME_NSID_ALL,
				    .cdw10 = lid | rae << 15 | numd << 16,
				    .cdw11 = numd >> 16,
				    .cdw12 = (uint32_t)off,
				    .cdw13 = (uint32_t)(off >> 32) };
	struct plx_nvme_cpl cpl;

	host_prp(&h, &cmd, buf, len);
	cpl = host_admin(&h, &cmd);
	return host_status(&cpl);
}

static uint16_t get_log(uint8_t lid, uint32_t len)
{
	return log_at(lid, 0, len, false, page);
}

Test(log, each_page_said_to_be_supported_can_be_read_and_no_other)
{
	uint32_t lids[256];

	cr_assert_eq(get_log(NVME_LOG_LID_SUPPORTED_LOG_PAGES, 1024), 0);
	memcpy(lids, page, sizeof lids);
	cr_assert(lids[NVME_LOG_LID_ERROR] && lids[NVME_LOG_LID_SMART] &&
		  lids[NVME_LOG_LID_FW_SLOT]);
	for (uint32_t lid = 0; lid < 256; lid++) {
		uint16_t expected = lids[lid] & 1 ? 0 : NVMF_ST_CS(NVME_SC_INVALID_LOG_PAGE);

		cr_assert_eq(get_log((uint8_t)lid, 512), expected, "log page %02x", lid);
	}
}

Test(log, errors_are_listed_newest_first)
{
	struct nvme_error_log_page *e = (void *)page;
	struct plx_nvme_cmd bad = { .opc = 0xfe };
	uint16_t last = 0;

	for (int i = 0; i < 70; i++) {
		last = host_submit(&h, 0, &bad);
		host_wait(&h, 0);
	}
	cr_assert_eq(get_log(NVME_LOG_LID_ERROR, 4096), 0);
	cr_assert_eq(e[0].error_count, 70);
	cr_assert_eq(e[0].cmdid, last);
	cr_assert_eq(e[0].sqid, 0);
	cr_assert_eq(PLX_NVME_ST_CODE(e[0].status_field >> 1), NVME_SC_INVALID_OPCODE);
	cr_assert_eq(e[1].error_count, 69);
	cr_assert_eq(e[63].error_count, 7);
}

Test(log, smart_counts_reads_and_writes_in_thousands_of_512_bytes)
{
	struct nvme_smart_log *s = (void *)page;
	char *buf = host_alloc(&h, 128 << 10, PLX_PAGE_SIZE);

	cr_assert_eq(host_create_queue(&h, 1, 64), 0);
	for (int i = 0; i < 4; i++) { /* 4 * 256 blocks: over 1000, so two units */
		struct plx_nvme_cpl cpl = host_rw(&h, 1, nvme_cmd_write, 0, 256, buf);

		cr_assert_eq(host_status(&cpl), 0);
	}
	host_rw(&h, 1, nvme_cmd_read, 0, 1, buf);
	cr_assert_eq(get_log(NVME_LOG_LID_SMART, 512), 0);
	cr_assert_eq(*(uint64_t *)s->host_writes, 4);
	cr_assert_eq(*(uint64_t *)s->data_units_written, 2);
	cr_assert_eq(*(uint64_t *)s->host_reads, 1);
	cr_assert_eq(*(uint64_t *)s->data_units_read, 1);
	cr_assert_eq(s->temperature[0] | s->temperature[1] << 8, 310);
	cr_assert_eq(s->critical_warning, 0);
}

static bool counts_busy_time(void *arg)
{
	const uint64_t *since = arg;

	return h.fn.ctrlr->admin->busy_tsc > *since;
}

static bool has_looked(void *arg)
{
	const uint64_t *since = arg;

	return h.fn.ctrlr->admin->looked_tsc > *since;
}

Test(health, time_with_commands_outstanding_is_counted)
{
	struct plx_bdev_error_rule hang = { .kind = PLX_BDEV_ERR_HANG,
					    .types = 1u << PLX_BDEV_READ,
					    .share = 1 };
	struct nvme_smart_log *s;
	struct nvmf_admin *a;
	uint64_t none = 0, now;

	start_with(&(struct host_opts){ .error = true });
	s = (void *)page;
	a = h.fn.ctrlr->admin;
	cr_assert_eq(host_create_queue(&h, 1, 64), 0);
	now = plx_tsc();
	cr_assert(host_poll(&h, has_looked, &now));
	cr_assert_eq(a->busy_tsc, 0, "nothing is outstanding");
	cr_assert_eq(plx_bdev_error_inject("host0", &hang), 0);
	host_submit(&h, 1,
		    &(struct plx_nvme_cmd){
			    .opc = nvme_cmd_read, .nsid = h.nsid, .prp1 = host_iova(&h, page) });
	cr_assert(host_poll(&h, counts_busy_time, &none));
	a->busy_tsc = 119 * plx_tsc_hz();
	cr_assert_eq(get_log(NVME_LOG_LID_SMART, 512), 0);
	cr_assert_eq(*(uint64_t *)s->ctrl_busy_time, 1, "minutes");
	plx_bdev_error_inject("host0", NULL);
}

Test(log, smart_adds_up_what_controllers_before_have_left)
{
	struct nvme_smart_log *s = (void *)page;
	struct nvmf_fn_opts opts = h.fn.opts;
	static volatile uint32_t doorbells[PLX_PAGE_SIZE];

	opts.doorbells = doorbells;
	for (unsigned i = 0; i < 4; i++) {
		struct nvmf_fn other;

		cr_assert_eq(nvmf_fn_init(&other, h.subsystem, h.thread, &opts), 0);
		other.ctrlr->stats.writes = 10;
		other.ctrlr->admin->media_errors = 1;
		other.ctrlr->admin->busy_tsc = 60 * plx_tsc_hz();
		/* never used; left while in use; said good-bye; said so, and came back */
		if (i)
			nvmf_ctrlr_enable(other.ctrlr);
		if (i >= 2)
			nvmf_fn_reg_write(&other, NVME_REG_CC,
					  NVME_CC_SHN_NORMAL << NVME_CC_SHN_SHIFT, 4);
		if (i == 3)
			nvmf_ctrlr_enable(other.ctrlr);
		nvmf_fn_fini(&other);
	}
	cr_assert_eq(get_log(NVME_LOG_LID_SMART, 512), 0);
	cr_assert_eq(*(uint64_t *)s->unsafe_shutdowns, 2);
	cr_assert_eq(*(uint64_t *)s->power_cycles, 5);
	cr_assert_eq(*(uint64_t *)s->host_writes, 40);
	cr_assert_eq(*(uint64_t *)s->media_errors, 4);
	cr_assert_eq(*(uint64_t *)s->ctrl_busy_time, 4);
}

Test(log, firmware_slot_one_is_active)
{
	struct nvme_firmware_slot *f = (void *)page;
	char revision[8];

	cr_assert_eq(get_log(NVME_LOG_LID_FW_SLOT, 512), 0);
	cr_assert_eq(f->afi, 1);
	memcpy(revision, f->frs[0], 8);
	cr_assert_eq(identify(NVME_IDENTIFY_CNS_CTRL, 0), 0);
	cr_assert_eq(memcmp(revision, ((struct nvme_id_ctrl *)(void *)page)->fr, 8), 0);
}

Test(log, effects_name_the_commands_there_are)
{
	struct nvme_cmd_effects_log *e = (void *)page;

	cr_assert_eq(get_log(NVME_LOG_LID_CMD_EFFECTS, 4096), 0);
	cr_assert(e->acs[nvme_admin_identify] & NVME_CMD_EFFECTS_CSUPP);
	cr_assert_eq(e->acs[nvme_admin_format_nvm], 0);
	cr_assert(e->iocs[nvme_cmd_write] & NVME_CMD_EFFECTS_LBCC);
	cr_assert_eq(e->iocs[nvme_cmd_read] & NVME_CMD_EFFECTS_LBCC, 0);
	cr_assert_eq(e->iocs[nvme_cmd_write_uncor], 0);
}

Test(log, offsets_give_the_rest_of_the_page)
{
	char *whole = host_alloc(&h, PLX_PAGE_SIZE, PLX_PAGE_SIZE);

	cr_assert_eq(log_at(NVME_LOG_LID_CMD_EFFECTS, 0, 4096, false, whole), 0);
	memset(page, 0xff, PLX_PAGE_SIZE);
	cr_assert_eq(log_at(NVME_LOG_LID_CMD_EFFECTS, 1020, 64, false, page), 0);
	cr_assert_eq(memcmp(page, whole + 1020, 64), 0);
	cr_assert_eq((uint8_t)page[64], 0xff);
	/* what lies beyond the end is zeroes, an offset beyond it is an error */
	cr_assert_eq(log_at(NVME_LOG_LID_SMART, 512, 64, false, page), 0);
	cr_assert_eq(page[0], 0);
	cr_assert_eq(log_at(NVME_LOG_LID_SMART, 516, 64, false, page), NVME_SC_INVALID_FIELD);
	cr_assert_eq(log_at(NVME_LOG_LID_SMART, 1ull << 32, 64, false, page),
		     NVME_SC_INVALID_FIELD);
	cr_assert_eq(log_at(NVME_LOG_LID_SMART, 2, 64, false, page), NVME_SC_INVALID_FIELD);
}

Test(log, transfers_are_limited_by_mdts)
{
	char *buf = host_alloc(&h, 256 << 10, PLX_PAGE_SIZE);

	memset(buf, 0xff, 256 << 10);
	cr_assert_eq(log_at(NVME_LOG_LID_SMART, 0, 128 << 10, false, buf), 0);
	for (int i = 512; i < 128 << 10; i++)
		cr_assert(buf[i] == 0);
	cr_assert_eq((uint8_t)buf[128 << 10], 0xff);
	cr_assert_eq(log_at(NVME_LOG_LID_SMART, 0, (128 << 10) + 4, false, buf),
		     NVME_SC_INVALID_FIELD);
}

Test(log, pages_are_not_of_a_namespace)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_log_page,
				    .nsid = 1,
				    .cdw10 = NVME_LOG_LID_SMART | 127 << 16 };
	struct plx_nvme_cpl cpl;

	host_prp(&h, &cmd, page, 512);
	cpl = host_admin(&h, &cmd);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
}

Test(log, data_outside_of_mapped_memory_is_a_transfer_error)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_log_page,
				    .cdw10 = NVME_LOG_LID_SMART | 127 << 16,
				    .prp1 = HOST_IOVA + HOST_ARENA };
	struct plx_nvme_cpl cpl = host_admin(&h, &cmd);

	cr_assert_eq(host_status(&cpl), NVME_SC_DATA_XFER_ERROR);
}

/* ---- features ---- */

static struct plx_nvme_cpl get_feature(uint8_t fid, uint8_t sel, uint32_t cdw11)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_features,
				    .cdw10 = fid | sel << 8,
				    .cdw11 = cdw11 };

	host_prp(&h, &cmd, page, PLX_PAGE_SIZE);
	return host_admin(&h, &cmd);
}

static uint32_t feature_value(uint8_t fid, uint8_t sel, uint32_t cdw11)
{
	struct plx_nvme_cpl cpl = get_feature(fid, sel, cdw11);

	cr_assert_eq(host_status(&cpl), 0, "feature %02x select %u: %03x", fid, sel,
		     host_status(&cpl));
	return cpl.dw0;
}

static uint16_t set_feature_ns(uint8_t fid, uint32_t cdw11, uint32_t nsid)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_set_features, .nsid = nsid, .cdw10 = fid, .cdw11 = cdw11
	};
	struct plx_nvme_cpl cpl;

	host_prp(&h, &cmd, page, PLX_PAGE_SIZE);
	cpl = host_admin(&h, &cmd);
	return host_status(&cpl);
}

static uint16_t set_feature(uint8_t fid, uint32_t cdw11)
{
	return set_feature_ns(fid, cdw11, 0);
}

Test(feature, values_are_kept_until_a_reset_and_defaults_stay)
{
	static const struct {
		uint8_t fid;
		uint32_t set, get;
	} cases[] = {
		{ NVME_FEAT_FID_ARBITRATION, 0x01020302, 0x01020302 },
		{ NVME_FEAT_FID_POWER_MGMT, 0x40, 0x40 },
		{ NVME_FEAT_FID_TEMP_THRESH, 350, 350 },
		{ NVME_FEAT_FID_IRQ_COALESCE, 0x0a08, 0x0a08 },
		{ NVME_FEAT_FID_WRITE_ATOMIC, 1, 1 },
		{ NVME_FEAT_FID_ASYNC_EVENT, 0x1ff, 0x1ff },
		{ NVME_FEAT_FID_KATO, 60050, 60100 },
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		uint32_t before = feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_DEFAULT, 0);

		cr_assert_eq(feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_CURRENT, 0), before);
		cr_assert_eq(set_feature(cases[i].fid, cases[i].set), 0);
		cr_assert_eq(feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_CURRENT, 0),
			     cases[i].get);
		cr_assert_eq(feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_DEFAULT, 0), before);
		cr_assert_eq(feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_SAVED, 0), before);
		cr_assert_eq(feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_SUPPORTED, 0), 4);
	}
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(cases); i++)
		cr_assert_eq(feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_CURRENT, 0),
			     feature_value(cases[i].fid, NVME_GET_FEATURES_SEL_DEFAULT, 0));
}

Test(feature, unknown_ones_and_selects_are_invalid)
{
	static const uint8_t fids[] = {
		0x00, 0x03, NVME_FEAT_FID_VOLATILE_WC, NVME_FEAT_FID_AUTO_PST, 0x7f, 0xff
	};
	struct plx_nvme_cpl cpl;

	for (size_t i = 0; i < sizeof fids; i++) {
		cpl = get_feature(fids[i], 0, 0);
		cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
		cr_assert_eq(set_feature(fids[i], 0), NVME_SC_INVALID_FIELD);
	}
	cpl = get_feature(NVME_FEAT_FID_ARBITRATION, 4, 0);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
}

Test(feature, values_out_of_range_are_refused)
{
	cr_assert_eq(set_feature(NVME_FEAT_FID_POWER_MGMT, 1), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature(NVME_FEAT_FID_POWER_MGMT, 3 << 5), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature(NVME_FEAT_FID_TEMP_THRESH, 1 << 16 | 300), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature(NVME_FEAT_FID_TEMP_THRESH, 2 << 20 | 300), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature(NVME_FEAT_FID_IRQ_CONFIG, 9), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature(NVME_FEAT_FID_NUM_QUEUES, 0xffff), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature(NVME_FEAT_FID_NUM_QUEUES, 0xffff0000), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature(NVME_FEAT_FID_IOCS_PROFILE, 1),
		     NVMF_ST_CS(NVME_SC_IOCS_COMBINATION_REJECTED));
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ERR_RECOVERY, 1 << 16, 1), NVME_SC_INVALID_FIELD);
}

Test(feature, saving_is_not_offered)
{
	cr_assert_eq(set_feature(NVME_FEAT_FID_ARBITRATION, 0), 0);
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_set_features,
				    .cdw10 = NVME_FEAT_FID_ARBITRATION | 1u << 31 };
	struct plx_nvme_cpl cpl = host_admin(&h, &cmd);

	cr_assert_eq(host_status(&cpl), NVMF_ST_CS(NVME_SC_FEATURE_NOT_SAVEABLE));
}

Test(feature, scope_decides_which_namespaces_may_be_named)
{
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ARBITRATION, 3, 1),
		     NVMF_ST_CS(NVME_SC_FEATURE_NOT_PER_NS));
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ARBITRATION, 3, 9), NVME_SC_INVALID_NS);
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ARBITRATION, 3, NVME_NSID_ALL), 0);
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ERR_RECOVERY, 7, 0), NVME_SC_INVALID_NS);
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ERR_RECOVERY, 7, 2), NVME_SC_INVALID_FIELD);
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ERR_RECOVERY, 7, 1), 0);
	cr_assert_eq(set_feature_ns(NVME_FEAT_FID_ERR_RECOVERY, 7, NVME_NSID_ALL), 0);
}

Test(feature, number_of_queues_is_settled_before_the_first_is_made)
{
	uint32_t all = 7 | 7 << 16;

	cr_assert_eq(set_feature(NVME_FEAT_FID_NUM_QUEUES, 3 | 3 << 16), 0);
	cr_assert_eq(feature_value(NVME_FEAT_FID_NUM_QUEUES, 0, 0), all);
	cr_assert_eq(host_create_cq(&h, 1, 16), 0);
	cr_assert_eq(set_feature(NVME_FEAT_FID_NUM_QUEUES, 3 | 3 << 16), NVME_SC_CMD_SEQ_ERROR);
}

Test(feature, interrupt_vectors_are_configured_one_by_one)
{
	cr_assert_eq(set_feature(NVME_FEAT_FID_IRQ_CONFIG, 3 | 1 << 16), 0);
	cr_assert_eq(feature_value(NVME_FEAT_FID_IRQ_CONFIG, 0, 3), 3 | 1 << 16);
	cr_assert_eq(feature_value(NVME_FEAT_FID_IRQ_CONFIG, 0, 2), 2);
}

Test(feature, timestamp_counts_on)
{
	struct nvme_timestamp *t = (void *)page;
	uint64_t set = 0x0123456789abull, got = 0;

	memcpy(t->timestamp, &set, 6);
	cr_assert_eq(set_feature(NVME_FEAT_FID_TIMESTAMP, 0), 0);
	memset(page, 0, PLX_PAGE_SIZE);
	feature_value(NVME_FEAT_FID_TIMESTAMP, 0, 0);
	memcpy(&got, t->timestamp, 6);
	cr_assert(got >= set && got < set + 60000);
	cr_assert_eq(t->attr, 1 << 1);
}

Test(feature, host_identifier_is_8_or_16_bytes)
{
	for (int i = 0; i < 16; i++)
		page[i] = (char)(i + 1);
	cr_assert_eq(set_feature(NVME_FEAT_FID_HOST_ID, 1), 0);
	memset(page, 0xff, PLX_PAGE_SIZE);
	feature_value(NVME_FEAT_FID_HOST_ID, 0, 1);
	cr_assert(page[0] == 1 && page[15] == 16 && page[16] == (char)0xff);
	memset(page, 0xff, PLX_PAGE_SIZE);
	feature_value(NVME_FEAT_FID_HOST_ID, 0, 0);
	cr_assert(page[7] == 8 && page[8] == (char)0xff);
}

Test(feature, host_behavior_is_checked_and_kept)
{
	page[0] = 1;
	cr_assert_eq(set_feature(NVME_FEAT_FID_HOST_BEHAVIOR, 0), 0);
	memset(page, 0xff, PLX_PAGE_SIZE);
	feature_value(NVME_FEAT_FID_HOST_BEHAVIOR, 0, 0);
	cr_assert(page[0] == 1 && page[1] == 0 && page[511] == 0 && page[512] == (char)0xff);
	page[0] = 2;
	cr_assert_eq(set_feature(NVME_FEAT_FID_HOST_BEHAVIOR, 0), NVME_SC_INVALID_FIELD);
}

Test(feature, the_log_of_features_agrees_with_get_features)
{
	uint32_t fids[256];

	cr_assert_eq(get_log(NVME_LOG_LID_FID_SUPPORTED_EFFECTS, 1024), 0);
	memcpy(fids, page, sizeof fids);
	for (uint32_t fid = 0; fid < 256; fid++) {
		struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_features,
					    .nsid = 1,
					    .cdw10 = fid };
		struct plx_nvme_cpl cpl;

		host_prp(&h, &cmd, page, PLX_PAGE_SIZE);
		cpl = host_admin(&h, &cmd);
		cr_assert_eq(host_status(&cpl) == 0, fids[fid] & 1, "feature %02x", fid);
	}
}
