/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_cmd_admin.c - the commands that manage a controller, each dword of them against
 * the specification; what they do to namespaces; by a scripted controller
 */
#include "nvme_fixture.h"
#include <pollux/nvme_admin.h>
#include <pollux/nvme_feature.h>
#include <pollux/nvme_log.h>
#include <pollux/nvme_zns.h>

TestSuite(cmd_admin, .init = setup, .fini = teardown, .timeout = 60);

/* Takes every management command, and keeps its data */
static struct {
	uint8_t data[8192];
	uint16_t status;
	uint32_t dw0;
	uint32_t reformat; /* what Format NVM makes of namespace 1: LBADS; 0: nothing */
	struct nvme_cmd_effects_log effects;
	struct nvme_sanitize_log_page sanitize;
} mgmt;

static uint16_t manage(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw)
{
	uint8_t lid = cmd->cdw10 & 0xff;

	if (cmd->opc == nvme_admin_get_log_page && lid == NVME_LOG_LID_CMD_EFFECTS) {
		/* a page to begin with, so in one piece at PRP 1 */
		memcpy((void *)cmd->prp1, &mgmt.effects, sizeof(mgmt.effects));
		return 0;
	}
	if (cmd->opc == nvme_admin_get_log_page && lid == NVME_LOG_LID_SANITIZE) {
		memcpy((void *)cmd->prp1, &mgmt.sanitize, sizeof(mgmt.sanitize));
		if (mgmt.sanitize.sprog < 0x8000)
			mgmt.sanitize.sprog += 0x4000;
		else
			mgmt.sanitize.sstat = NVME_SANITIZE_SSTAT_STATUS_COMPLETE_SUCCESS | 1 << 8;
		return 0;
	}
	switch (cmd->opc) {
	case nvme_admin_ns_mgmt:
	case nvme_admin_ns_attach:
	case nvme_admin_fw_download:
	case nvme_admin_security_send:
		if (cmd->prp1)
			memcpy(mgmt.data, (void *)cmd->prp1, 4096);
		break;
	case nvme_admin_format_nvm:
		if (mgmt.reformat) {
			f->ns[1].lbaf[1].ds = (uint8_t)mgmt.reformat;
			f->ns[1].flbas = 1;
			f->ns[1].nsze = f->ns[1].ncap = 125;
		}
		break;
	case nvme_admin_fw_commit:
	case nvme_admin_dev_self_test:
	case nvme_admin_directive_send:
	case nvme_admin_directive_recv:
	case nvme_admin_virtual_mgmt:
	case nvme_admin_capacity_mgmt:
	case nvme_admin_lockdown:
	case nvme_admin_security_recv:
	case nvme_admin_sanitize_nvm:
	case nvme_admin_get_lba_status:
		break;
	default:
		return FAKE_NOT_MINE;
	}
	dw[0] = mgmt.dw0;
	return mgmt.status;
}

static struct plx_nvme_ctrlr *connect_manager(void)
{
	memset(&mgmt, 0, sizeof(mgmt));
	fake.id.oacs = 0xffff;
	fake.id.sanicap = 7;
	fake.id.cntlid = 0x21;
	fake.admin_hook = manage;
	return connect_fake();
}

static void expect_cmd(uint8_t opc, uint32_t nsid, uint32_t cdw10, uint32_t cdw11, uint32_t cdw12,
		       uint32_t cdw13)
{
	const struct plx_nvme_cmd *cmd = fake_last(&fake, opc);

	cr_expect_eq(cmd->nsid, nsid, "opcode %02x: nsid %x", opc, cmd->nsid);
	cr_expect_eq(cmd->cdw10, cdw10, "opcode %02x: cdw10 %08x", opc, cmd->cdw10);
	cr_expect_eq(cmd->cdw11, cdw11, "opcode %02x: cdw11 %08x", opc, cmd->cdw11);
	cr_expect_eq(cmd->cdw12, cdw12, "opcode %02x: cdw12 %08x", opc, cmd->cdw12);
	cr_expect_eq(cmd->cdw13, cdw13, "opcode %02x: cdw13 %08x", opc, cmd->cdw13);
}

/* ---- what there is ---- */

Test(cmd_admin, what_oacs_or_the_effects_log_lacks_is_not_sent)
{
	struct plx_nvme_format f = { 0 };
	struct plx_nvme_ctrlr *c;

	fake.id.lpa |= NVME_CTRL_LPA_CMD_EFFECTS;
	c = connect_manager();
	cr_assert_eq(plx_nvme_format(c, 1, &f), -ENOTSUP, "not in the effects log");
	cr_assert_eq(plx_nvme_admin_supported(c, nvme_admin_format_nvm), -ENOTSUP);
	mgmt.effects.acs[nvme_admin_format_nvm] = NVME_CMD_EFFECTS_CSUPP;
	cr_assert_eq(plx_nvme_format(c, 1, &f), -ENOTSUP, "the log is read once");
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, NULL, resets(c) == 1 && ready(c));
	cr_assert_eq(plx_nvme_format(c, 1, &f), 0, "and again after a reset");
	c->id.oacs = (uint16_t)~NVME_CTRL_OACS_FORMAT;
	cr_assert_eq(plx_nvme_format(c, 1, &f), -ENOTSUP);
	cr_assert_eq(fake_count(&fake, nvme_admin_format_nvm), 1);
	plx_nvme_disconnect(c);
}

/* ---- namespaces ---- */

Test(cmd_admin, create_has_every_field_where_it_belongs)
{
	static const uint16_t phndls[] = { 3, 4, 0x105 };
	const struct plx_nvme_ns_create ns = {
		.nsze = 0x1122334455667788,
		.ncap = 0x99,
		.csi = NVME_CSI_ZNS,
		.flbas = 0x31,
		.dps = 9,
		.nmic = 1,
		.nvmsetid = 0x1234,
		.endgid = 0x5678,
		.anagrpid = 0xabcdef01,
		.lbstm = 0xfedcba98,
		.phndls = phndls,
		.nphndls = 3,
		.rar = 7,
		.ror = 5,
		.rnumzrwa = 2,
	};
	struct plx_nvme_ctrlr *c = connect_manager();
	uint32_t nsid = 0;

	mgmt.dw0 = 17;
	cr_assert_eq(plx_nvme_ns_create(c, &ns, &nsid), 0);
	cr_assert_eq(nsid, 17);
	expect_cmd(nvme_admin_ns_mgmt, 0, 0, 2u << 24, 0, 0);
	cr_expect_arr_eq(mgmt.data, &ns.nsze, 8);
	cr_expect_arr_eq(mgmt.data + 8, &ns.ncap, 8);
	cr_expect_eq(mgmt.data[26], 0x31);
	cr_expect_eq(mgmt.data[29], 9);
	cr_expect_eq(mgmt.data[30], 1);
	cr_expect_arr_eq(mgmt.data + 92, &ns.anagrpid, 4);
	cr_expect_arr_eq(mgmt.data + 100, &ns.nvmsetid, 2);
	cr_expect_arr_eq(mgmt.data + 102, &ns.endgid, 2);
	cr_expect_arr_eq(mgmt.data + 384, &ns.lbstm, 8);
	cr_expect_eq(mgmt.data[392], 3);
	cr_expect_arr_eq(mgmt.data + 500, &ns.rar, 4);
	cr_expect_arr_eq(mgmt.data + 504, &ns.ror, 4);
	cr_expect_arr_eq(mgmt.data + 508, &ns.rnumzrwa, 4);
	cr_expect_arr_eq(mgmt.data + 512, phndls, sizeof(phndls));
	plx_nvme_disconnect(c);
}

Test(cmd_admin, attach_and_detach_take_sorted_controllers)
{
	static const uint16_t ids[] = { 2, 5, 0x21 }, unsorted[] = { 5, 2 };
	struct plx_nvme_ctrlr *c = connect_manager();

	cr_assert_eq(plx_nvme_ns_attach(c, 3, ids, 3), 0);
	expect_cmd(nvme_admin_ns_attach, 3, 0, 0, 0, 0);
	cr_assert_eq(mgmt.data[0], 3);
	cr_assert_arr_eq(mgmt.data + 2, ids, sizeof(ids));
	cr_assert_eq(plx_nvme_ns_detach(c, 3, NULL, 0), 0);
	expect_cmd(nvme_admin_ns_attach, 3, 1, 0, 0, 0);
	cr_assert_eq(mgmt.data[0], 1);
	cr_assert_eq(mgmt.data[2], 0x21, "this controller");
	cr_assert_eq(plx_nvme_ns_attach(c, 3, unsorted, 2), -EINVAL);
	cr_assert_eq(plx_nvme_ns_delete(c, 3), 0);
	expect_cmd(nvme_admin_ns_mgmt, 3, 1, 0, 0, 0);
	plx_nvme_disconnect(c);
}

Test(cmd_admin, a_namespace_attached_is_found_before_the_call_returns)
{
	struct plx_nvme_ctrlr *c = connect_manager();

	cr_assert_null(plx_nvme_ctrlr_ns(c, 2));
	fake.ns[2] = fake.ns[1];
	cr_assert_eq(plx_nvme_ns_attach(c, 2, NULL, 0), 0);
	cr_assert_not_null(plx_nvme_ctrlr_ns(c, 2));
	fake.ns[2].nsze = 0;
	cr_assert_eq(plx_nvme_ns_detach(c, 2, NULL, 0), 0);
	cr_assert_null(plx_nvme_ctrlr_ns(c, 2));
	plx_nvme_disconnect(c);
}

Test(cmd_admin, format_has_its_fields_and_no_io_goes_on_under_it)
{
	struct plx_nvme_format f = {
		.lbaf = 0x2d, .mset = true, .pi = 2, .pi_first = true, .ses = 1
	};
	struct plx_nvme_ctrlr *c = connect_manager();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct plx_nvme_ns *old = plx_nvme_ctrlr_ns(c, 1), *now;
	struct result r = { 0 };

	mgmt.reformat = 12;
	cr_assert_eq(plx_nvme_format(c, 1, &f), 0);
	expect_cmd(nvme_admin_format_nvm, 1, 0xd | 1 << 4 | 2 << 5 | 1 << 8 | 1 << 9 | 2 << 12, 0,
		   0, 0);
	now = plx_nvme_ctrlr_ns(c, 1);
	cr_assert_not_null(now);
	cr_assert_neq(now, old, "an object's block size never changes");
	cr_assert_eq(plx_nvme_ns_block_size(now), 4096);
	cr_assert_eq(plx_nvme_ns_blocks(now), 125);
	cr_assert_eq(plx_nvme_ns_block_size(old), 512);
	buf = plx_dma_zalloc(8192, 4096, PLX_NUMA_ANY);
	cr_assert_eq(plx_nvme_read(old, qp, buf, 0, 1, io_done, &r), -EINVAL);
	cr_assert_eq(plx_nvme_read(now, qp, buf, 0, 1, io_done, &r), 0);
	UNTIL(c, qp, r.calls == 1);

	/* and back: the old object is of use again, for it has the right format */
	mgmt.reformat = 9;
	cr_assert_eq(plx_nvme_format(c, 1, &f), 0);
	cr_assert_eq(plx_nvme_ctrlr_ns(c, 1), old);
	cr_assert_eq(plx_nvme_read(now, qp, buf, 0, 1, io_done, &r), -EINVAL);
	f.pi = 4;
	cr_assert_eq(plx_nvme_format(c, 1, &f), -EINVAL);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

/* Somebody else formats, and only a notice tells */
Test(cmd_admin, a_format_changed_by_another_host_makes_another_object)
{
	const uint32_t changed =
		NVME_AER_NOTICE | NVME_AER_NOTICE_NS_CHANGED << 8 | NVME_LOG_LID_CHANGED_NS << 16;
	struct plx_nvme_ctrlr *c = connect_manager();
	struct plx_nvme_ns *old = plx_nvme_ctrlr_ns(c, 1);

	UNTIL(c, NULL, fake.n_aers == 4);
	fake.ns[1].lbaf[0].ms = 8;
	cr_assert(fake_event(&fake, changed));
	UNTIL(c, NULL, plx_nvme_ctrlr_ns(c, 1) && plx_nvme_ctrlr_ns(c, 1) != old);
	cr_assert_eq(plx_nvme_ns_md_size(plx_nvme_ctrlr_ns(c, 1)), 8);
	cr_assert_eq(plx_nvme_ns_blocks(old), 0);
	cr_assert_eq(plx_nvme_ctrlr_next_ns(c, 0), 1);
	cr_assert_eq(plx_nvme_ctrlr_next_ns(c, 1), 0);
	plx_nvme_disconnect(c);
}

Test(cmd_admin, a_format_may_take_longer_than_other_commands)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_format_nvm, .nsid = 1 };
	struct plx_nvme_ctrlr *c;
	struct result r = { 0 };

	opts.admin_timeout_ms = 40;
	opts.long_admin_timeout_ms = 60000;
	fake.silent = FAKE_ADMIN(nvme_admin_format_nvm, 0);
	c = connect_fake();
	cr_assert_eq(plx_nvme_admin_raw(c, &cmd, NULL, 0, io_done, &r), 0);
	for (uint64_t end = plx_tsc() + plx_tsc_hz() / 2; plx_tsc() < end;)
		turn(c, NULL);
	cr_assert_eq(resets(c), 0, "it was taken for lost");
	cmd.opc = nvme_admin_get_features;
	cmd.cdw10 = 2;
	fake.silent = FAKE_ADMIN(nvme_admin_get_features, 2);
	cr_assert_eq(plx_nvme_admin_raw(c, &cmd, NULL, 0, io_done, &r), 0);
	UNTIL(c, NULL, resets(c) == 1);
	plx_nvme_disconnect(c);
}

/* ---- sanitize ---- */

Test(cmd_admin, sanitize_is_started_and_waited_for)
{
	struct plx_nvme_sanitize s = { .action = NVME_SANITIZE_SANACT_START_OVERWRITE,
				       .ause = true,
				       .no_dealloc = true,
				       .invert = true,
				       .passes = 3,
				       .pattern = 0xdeadbeef };
	struct plx_nvme_ctrlr *c = connect_manager();
	struct plx_nvme_sanitize_status st;

	cr_assert_eq(plx_nvme_sanitize(c, &s), 0);
	expect_cmd(nvme_admin_sanitize_nvm, 0, 3 | 1 << 3 | 3 << 4 | 1 << 8 | 1 << 9, 0xdeadbeef, 0,
		   0);
	mgmt.sanitize.sstat = NVME_SANITIZE_SSTAT_STATUS_IN_PROGESS | 2 << 3;
	cr_assert_eq(plx_nvme_sanitize_status(c, &st), 0);
	cr_assert_eq(st.state, NVME_SANITIZE_SSTAT_STATUS_IN_PROGESS);
	cr_assert_eq(st.passes, 2);
	cr_assert_eq(plx_nvme_sanitize_wait(c, 5000, &st), 0);
	cr_assert_eq(st.state, NVME_SANITIZE_SSTAT_STATUS_COMPLETE_SUCCESS);
	cr_assert(st.erased);
	mgmt.sanitize.sstat = NVME_SANITIZE_SSTAT_STATUS_IN_PROGESS;
	mgmt.sanitize.sprog = 0;
	cr_assert_eq(plx_nvme_sanitize_wait(c, 0, &st), -ETIMEDOUT);
	s.passes = 16;
	cr_assert_eq(plx_nvme_sanitize(c, &s), 0);
	cr_assert_eq(fake_last(&fake, nvme_admin_sanitize_nvm)->cdw10 >> 4 & 0xf, 0);
	c->id.sanicap = 1;
	cr_assert_eq(plx_nvme_sanitize(c, &s), -ENOTSUP, "crypto erase is all there is");
	plx_nvme_disconnect(c);
}

/* ---- firmware ---- */

Test(cmd_admin, images_go_over_in_pieces_by_fwug)
{
	static uint8_t image[50000];
	struct plx_nvme_ctrlr *c;
	uint32_t at = 0;

	fake.id.fwug = 3; /* 12 KiB: MDTS of 16 KiB holds one unit */
	c = connect_manager();
	cr_assert_eq(plx_nvme_fw_download(c, image, sizeof(image)), 0);
	for (unsigned i = 0; i < fake.admin_cmds; i++) {
		const struct plx_nvme_cmd *cmd = &fake.admin_log[i];

		if (cmd->opc != nvme_admin_fw_download)
			continue;
		cr_assert_eq(cmd->cdw11, at / 4);
		cr_assert(cmd->cdw10 + 1 == 12288 / 4 ||
			  at + (cmd->cdw10 + 1) * 4 == sizeof(image));
		at += (cmd->cdw10 + 1) * 4;
	}
	cr_assert_eq(at, sizeof(image));
	cr_assert_eq(plx_nvme_fw_download(c, image, 6), -EINVAL);
	plx_nvme_disconnect(c);
}

Test(cmd_admin, commit_says_which_reset_has_to_follow)
{
	static const struct {
		uint16_t status;
		uint8_t action;
		enum plx_nvme_fw_needs needs;
		int rc;
	} cases[] = {
		{ 0, NVME_FW_COMMIT_CA_REPLACE, PLX_NVME_FW_NOTHING, 0 },
		{ 0, NVME_FW_COMMIT_CA_REPLACE_AND_ACTIVATE, PLX_NVME_FW_CTRLR_RESET, 0 },
		{ 0, NVME_FW_COMMIT_CA_REPLACE_AND_ACTIVATE_IMMEDIATE, PLX_NVME_FW_NOTHING, 0 },
		{ 0x10b, NVME_FW_COMMIT_CA_SET_ACTIVE, PLX_NVME_FW_CONVENTIONAL_RESET, 0 },
		{ 0x110, NVME_FW_COMMIT_CA_SET_ACTIVE, PLX_NVME_FW_SUBSYSTEM_RESET, 0 },
		{ 0x111, NVME_FW_COMMIT_CA_REPLACE_AND_ACTIVATE_IMMEDIATE, PLX_NVME_FW_CTRLR_RESET,
		  0 },
		{ 0x107, NVME_FW_COMMIT_CA_REPLACE, PLX_NVME_FW_NOTHING, 0x107 },
		{ 0x114, NVME_FW_COMMIT_CA_REPLACE, PLX_NVME_FW_NOTHING, 0x114 },
	};
	struct plx_nvme_ctrlr *c = connect_manager();
	enum plx_nvme_fw_needs needs;

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		mgmt.status = cases[i].status;
		cr_expect_eq(plx_nvme_fw_commit(c, 5, cases[i].action, &needs), cases[i].rc,
			     "case %u", i);
		cr_expect_eq(needs, cases[i].needs, "case %u: %d", i, needs);
		expect_cmd(nvme_admin_fw_commit, 0, 5u | (uint32_t)cases[i].action << 3, 0, 0, 0);
	}
	cr_assert_eq(plx_nvme_fw_commit(c, 8, 0, &needs), -EINVAL);
	cr_assert_eq(plx_nvme_subsystem_reset(c), -ENOTSUP, "CAP.NSSRS is 0");
	plx_nvme_disconnect(c);
}

Test(cmd_admin, while_firmware_is_activated_no_command_times_out)
{
	const uint32_t starting =
		NVME_AER_NOTICE | NVME_AER_NOTICE_FW_ACT_STARTING << 8 | NVME_LOG_LID_FW_SLOT << 16;
	struct plx_nvme_qpair *qp;
	struct plx_nvme_ctrlr *c;
	struct result r = { 0 };

	opts.timeout_ms = 20;
	opts.timeout_action = PLX_NVME_TIMEOUT_RESET;
	fake.id.oaes |= NVME_CTRL_OAES_FA;
	fake.id.mtfa = 100; /* ten seconds */
	c = connect_fake();
	qp = make_qpair(c, 8);
	UNTIL(c, qp, fake.n_aers == 4);
	fake.csts |= NVME_CSTS_PP_MASK << NVME_CSTS_PP_SHIFT;
	cr_assert(fake_event(&fake, starting));
	turns(c, qp, 10);
	fake.hold_io = true;
	submit(c, qp, 1, &r);
	for (uint64_t end = plx_tsc() + plx_tsc_hz() / 5; plx_tsc() < end;)
		turn(c, qp);
	cr_assert_eq(resets(c), 0);
	memcpy(fake.id.fr, "NEW     ", 8);
	fake_complete(&fake, 0, 0);
	fake.csts &= ~(uint32_t)(NVME_CSTS_PP_MASK << NVME_CSTS_PP_SHIFT);
	UNTIL(c, qp, r.calls == 1 && !memcmp(plx_nvme_ctrlr_data(c)->fr, "NEW", 3));
	cr_assert_eq(fake_last(&fake, nvme_admin_get_log_page)->cdw10 & 1u << 15, 0);
	UNTIL(c, qp, fake.n_aers == 4);

	/* and if it never ends, whatever it says meanwhile */
	c->id.mtfa = 2;
	fake.csts |= NVME_CSTS_PP_MASK << NVME_CSTS_PP_SHIFT;
	cr_assert(fake_event(&fake, starting));
	UNTIL(c, qp, (fake_event(&fake, starting), resets(c) == 1));
	fake.csts &= ~(uint32_t)(NVME_CSTS_PP_MASK << NVME_CSTS_PP_SHIFT);
	UNTIL(c, qp, ready(c));
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

/* ---- boot partitions ---- */

static unsigned boot_reads;

/* Fills the memory with the number of each page of the partition */
static void boot(struct fake_nvme *f)
{
	uint32_t pages = f->bprsel & 0x3ff, from = f->bprsel >> 10 & 0xfffff;

	boot_reads++;
	cr_expect_eq(f->bprsel >> 31, 1);
	for (uint32_t i = 0; i < pages; i++)
		memset((char *)f->bpmbl + i * 4096ul, (int)(from + i), 4096);
	f->bpinfo = (f->bpinfo & ~(3u << 24)) | (from + pages > 60 ? 3u : 2u) << 24;
}

Test(cmd_admin, boot_partitions_are_read_by_registers_and_written_by_commit)
{
	struct plx_nvme_boot_info info;
	struct plx_nvme_ctrlr *c;
	static uint8_t data[40 * 4096];

	c = connect_manager();
	cr_assert_eq(plx_nvme_boot_info(c, &info), -ENOTSUP);
	plx_nvme_disconnect(c);

	fake.cap |= 1ull << NVME_CAP_BPS_SHIFT;
	fake.bpinfo = 1u << 31 | 2; /* two units of 128 KiB */
	fake.boot_hook = boot;
	c = connect_manager();
	cr_assert_eq(plx_nvme_boot_info(c, &info), 0);
	cr_assert_eq(info.bytes, 256 << 10);
	cr_assert_eq(info.active, 1);
	cr_assert_eq(plx_nvme_boot_read(c, 1, 4096, data, sizeof(data)), 0);
	cr_assert_eq(boot_reads, 3, "64 KiB at a time");
	for (unsigned i = 0; i < 40; i++)
		cr_assert(data[i * 4096] == i + 1 && data[i * 4096 + 4095] == i + 1);
	cr_assert_eq(plx_nvme_boot_read(c, 1, 60 * 4096, data, 4096), -EIO);
	cr_assert_eq(plx_nvme_boot_read(c, 1, 63 * 4096, data, 8192), -EINVAL);
	cr_assert_eq(plx_nvme_boot_read(c, 1, 5, data, 4096), -EINVAL);
	cr_assert_eq(plx_nvme_boot_read(c, 2, 0, data, 4096), -EINVAL);

	cr_assert_eq(plx_nvme_boot_write(c, 1, data, sizeof(data)), 0);
	expect_cmd(nvme_admin_fw_commit, 0, 1u << 31 | 6 << 3, 0, 0, 0);
	cr_assert_eq(plx_nvme_boot_activate(c, 0), 0);
	expect_cmd(nvme_admin_fw_commit, 0, 7 << 3, 0, 0, 0);
	plx_nvme_disconnect(c);
}

/* ---- the others ---- */

Test(cmd_admin, dwords_of_the_other_commands)
{
	struct plx_nvme_ctrlr *c = connect_manager();
	struct nvme_streams_directive_params params;
	uint16_t got = 0, ids[5];
	uint8_t data[64] = { 1, 2, 3 };
	uint32_t n;

	cr_assert_eq(plx_nvme_self_test(c, NVME_NSID_ALL, NVME_DST_STC_LONG), 0);
	expect_cmd(nvme_admin_dev_self_test, NVME_NSID_ALL, 2, 0, 0, 0);

	cr_assert_eq(plx_nvme_directive_enable(c, 1, 1, true), 0);
	expect_cmd(nvme_admin_directive_send, 1, 0, 0x0001, 0x0101, 0);
	cr_assert_eq(plx_nvme_streams_params(c, 1, &params), 0);
	expect_cmd(nvme_admin_directive_recv, 1, sizeof(params) / 4 - 1, 0x0101, 0, 0);
	cr_assert_eq(plx_nvme_streams_status(c, 1, ids, 5, &n), 0);
	expect_cmd(nvme_admin_directive_recv, 1, 2, 0x0102, 0, 0);
	mgmt.dw0 = 9;
	cr_assert_eq(plx_nvme_streams_allocate(c, 1, 12, &got), 0);
	expect_cmd(nvme_admin_directive_recv, 1, 0, 0x0103, 12, 0);
	cr_assert_eq(got, 9);
	cr_assert_eq(plx_nvme_streams_release_id(c, 1, 0x77), 0);
	expect_cmd(nvme_admin_directive_send, 1, 0, 0x00770101, 0, 0);
	cr_assert_eq(plx_nvme_streams_release_all(c, 1), 0);
	expect_cmd(nvme_admin_directive_send, 1, 0, 0x0102, 0, 0);

	cr_assert_eq(plx_nvme_security_send(c, 1, 0xea, 0x1234, 5, data, sizeof(data)), 0);
	expect_cmd(nvme_admin_security_send, 1, 0xea123405, 64, 0, 0);
	cr_assert_arr_eq(mgmt.data, data, sizeof(data));
	cr_assert_eq(plx_nvme_security_receive(c, 1, 1, 2, 3, data, sizeof(data)), 0);
	expect_cmd(nvme_admin_security_recv, 1, 0x01000203, 64, 0, 0);

	cr_assert_eq(plx_nvme_capacity(c, 1, 0x55, 0x123456789a, &got), 0);
	expect_cmd(nvme_admin_capacity_mgmt, 0, 0x00550001, 0x3456789a, 0x12, 0);
	cr_assert_eq(got, 9);
	cr_assert_eq(plx_nvme_virt_mgmt(c, NVME_VIRT_MGMT_ACT_ASSIGN_SEC_CTRL, 1, 0x42, 6, &got),
		     0);
	expect_cmd(nvme_admin_virtual_mgmt, 0, 0x00420108, 6, 0, 0);
	cr_assert_eq(plx_nvme_lockdown(c, 2, 0x84, true, 1), 0);
	expect_cmd(nvme_admin_lockdown, 0, 0x8400 | 1 << 5 | 1 << 4 | 2, 0, 0, 0);
	cr_assert_eq(plx_nvme_lba_status(c, 1, 0x100000002, 7, 0x11, data, sizeof(data)), 0);
	expect_cmd(nvme_admin_get_lba_status, 1, 2, 1, 15, 0x11000007);
	plx_nvme_disconnect(c);
}

/* ---- features ---- */

Test(cmd_admin, features_are_packed_as_the_specification_says)
{
	struct plx_nvme_arbitration a = { .burst = 8, .low = 1, .medium = 16, .high = 256 };
	struct plx_nvme_apst apst = { .enabled = true };
	struct plx_nvme_ctrlr *c;
	uint8_t ps, wh;

	fake.id.npss = 3;
	fake.id.apsta = 1;
	fake.id.hctma = 1;
	fake.id.oncs = NVME_CTRL_ONCS_TIMESTAMP;
	c = connect_fake();
	cr_assert_eq(plx_nvme_set_arbitration(c, true, &a), 0);
	expect_cmd(nvme_admin_set_features, 0, 1u << 31 | 1, 0xff0f0003, 0, 0);
	a.burst = 3;
	cr_assert_eq(plx_nvme_set_arbitration(c, true, &a), -EINVAL);
	cr_assert_eq(plx_nvme_set_power(c, false, 3, 2), 0);
	expect_cmd(nvme_admin_set_features, 0, 2, 3 | 2 << 5, 0, 0);
	cr_assert_eq(plx_nvme_set_power(c, false, 4, 0), -EINVAL);
	cr_assert_eq(plx_nvme_get_power(c, &ps, &wh), 0);
	cr_assert_eq(ps, 0x14);
	cr_assert_eq(wh, 1);
	cr_assert_eq(plx_nvme_set_temp_threshold(c, false, 2, true, 300), 0);
	expect_cmd(nvme_admin_set_features, 0, 4, 1 << 20 | 2 << 16 | 300, 0, 0);
	cr_assert_eq(plx_nvme_set_error_recovery(c, false, 1, 20, true), 0);
	expect_cmd(nvme_admin_set_features, 1, 5, 1 << 16 | 20, 0, 0);
	cr_assert_eq(plx_nvme_set_thermal(c, false, 300, 320), 0);
	expect_cmd(nvme_admin_set_features, 0, 0x10, 300u << 16 | 320, 0, 0);
	cr_assert_eq(plx_nvme_set_thermal(c, false, 320, 300), -EINVAL);
	cr_assert_eq(plx_nvme_set_write_cache(c, false, true), -ENOTSUP);
	apst.from[0].to = 3;
	apst.from[0].idle_ms = 1 << 24;
	cr_assert_eq(plx_nvme_set_apst(c, false, &apst), -EINVAL);
	apst.from[0].idle_ms = 100;
	cr_assert_eq(plx_nvme_set_apst(c, false, &apst), 0);
	expect_cmd(nvme_admin_set_features, 0, 0xc, 1, 0, 0);
	cr_assert_eq(plx_nvme_set_timestamp(c, 1ull << 48), -EINVAL);
	cr_assert_eq(plx_nvme_set_async_events(c, NVME_FEATURE_AENCFG_NOTICE_TELEMETRY_LOG), 0);
	expect_cmd(nvme_admin_set_features, 0, 0xb, 0x1f | 1 << 8 | 1 << 10, 0, 0);
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, NULL, resets(c) == 1 && ready(c));
	expect_cmd(nvme_admin_set_features, 0, 0xb, 0x1f | 1 << 8 | 1 << 10, 0, 0);
	cr_assert_str_eq(plx_nvme_feature_name(4), "Temperature Threshold");
	cr_assert_null(plx_nvme_feature_name(0xc0));
	plx_nvme_disconnect(c);
}

Test(cmd_admin, weighted_arbitration_reaches_cc_the_feature_and_queues)
{
	struct plx_nvme_qpair_opts qo;
	struct plx_nvme_qpair *qp;
	struct plx_nvme_ctrlr *c;

	opts.weighted_arbitration = true;
	opts.arb_burst = 4;
	opts.arb_low = 1;
	opts.arb_medium = 2;
	opts.arb_high = 3;
	plx_nvme_qpair_opts_init(&qo);
	qo.priority = PLX_NVME_PRIO_MEDIUM;
	c = connect_fake();
	cr_assert_eq(fake.cc >> NVME_CC_AMS_SHIFT & 7, 0, "CAP.AMS does not have it");
	qp = plx_nvme_qpair_create(c, &qo);
	cr_assert_eq(fake_last(&fake, nvme_admin_create_sq)->cdw11, 1u << 16 | 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);

	fake.cap |= (uint64_t)NVME_CAP_AMS_WRR << NVME_CAP_AMS_SHIFT;
	c = connect_fake();
	cr_assert_eq(fake.cc >> NVME_CC_AMS_SHIFT & 7, 1);
	expect_cmd(nvme_admin_set_features, 0, 1, 0x02010002, 0, 0);
	qp = plx_nvme_qpair_create(c, &qo);
	cr_assert_eq(fake_last(&fake, nvme_admin_create_sq)->cdw11, 1u << 16 | 2 << 1 | 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

/* ---- host memory buffer ---- */

static struct {
	uint64_t bytes;
	uint32_t pieces, enables, returns, disables;
	uint16_t status;
} hmb;

static uint16_t take_memory(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw)
{
	if (cmd->opc != nvme_admin_set_features ||
	    (cmd->cdw10 & 0xff) != NVME_FEAT_FID_HOST_MEM_BUF)
		return FAKE_NOT_MINE;
	if (hmb.status)
		return hmb.status;
	hmb.enables += cmd->cdw11 & 1;
	hmb.returns += cmd->cdw11 >> 1 & 1;
	hmb.disables += !(cmd->cdw11 & 1);
	if (cmd->cdw11 & 1) {
		struct {
			uint64_t badd;
			uint32_t bsize, rsvd;
		} *d = (void *)(cmd->cdw13 | (uint64_t)cmd->cdw14 << 32);

		hmb.bytes = cmd->cdw12 * 4096ull;
		hmb.pieces = cmd->cdw15;
		for (uint32_t i = 0; i < cmd->cdw15; i++) {
			hmb.bytes -= d[i].bsize * 4096ull;
			memset((void *)d[i].badd, 0xa5, d[i].bsize * 4096ul);
		}
		cr_expect_eq(hmb.bytes, 0, "the pieces are not the whole");
		hmb.bytes = cmd->cdw12 * 4096ull;
	}
	return 0;
}

Test(cmd_admin, host_memory_is_given_kept_over_resets_and_taken_back)
{
	struct plx_nvme_ctrlr *c;

	fake.admin_hook = take_memory;
	fake.id.hmpre = 1000; /* pages: 4 MB of the 32 MiB there are */
	fake.id.hmmin = 10;
	c = connect_fake();
	cr_assert_eq(hmb.bytes, 1000 * 4096);
	cr_assert_eq(hmb.enables, 1);
	cr_assert_eq(hmb.returns, 0);
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, NULL, resets(c) == 1 && ready(c));
	cr_assert_eq(hmb.enables, 2);
	cr_assert_eq(hmb.returns, 1, "the same memory, with what is in it");
	plx_nvme_disconnect(c);
	cr_assert_eq(hmb.disables, 1);
}

Test(cmd_admin, host_memory_has_a_limit_and_may_be_in_pieces)
{
	struct plx_nvme_ctrlr *c;

	fake.admin_hook = take_memory;
	fake.id.hmpre = 1000;
	opts.host_memory_mb = 1;
	c = connect_fake();
	cr_assert_eq(hmb.bytes, 1 << 20);
	plx_nvme_disconnect(c);

	memset(&hmb, 0, sizeof(hmb));
	fake.id.hmmin = 300;
	c = connect_fake();
	cr_assert_eq(hmb.enables, 0, "less than it can use");
	plx_nvme_disconnect(c);

	fake.id.hmmin = 0;
	opts.host_memory_mb = 0;
	c = connect_fake();
	cr_assert_eq(hmb.enables, 0);
	plx_nvme_disconnect(c);

	opts.host_memory_mb = 64;
	fake.id.hmpre = 1 << 20; /* more than there is at all */
	fake.id.hmmin = 16;
	c = connect_fake();
	cr_assert_eq(hmb.enables, 1);
	cr_assert_geq(hmb.bytes, 16 * 4096);
	plx_nvme_disconnect(c);
}

Test(cmd_admin, a_controller_that_refuses_host_memory_works_without)
{
	struct plx_nvme_ctrlr *c;

	fake.admin_hook = take_memory;
	fake.id.hmpre = 100;
	memset(&hmb, 0, sizeof(hmb));
	hmb.status = NVME_SC_INVALID_FIELD;
	c = connect_fake();
	cr_assert(ready(c));
	cr_assert_null(c->hmb.list);
	plx_nvme_disconnect(c);
	cr_assert_eq(hmb.disables, 0);
}

/* ---- quirks ---- */

Test(cmd_admin, quirks_are_found_by_vendor_and_device)
{
	const char *what = NULL;

	cr_assert_eq(quirks_of(0x8086, 0x0953, &what), NVME_QUIRK_STRIPE);
	cr_assert_str_eq(what, "Intel P3500, P3600, P3700");
	cr_assert_eq(quirks_of(0x144d, 0xa821, &what), NVME_QUIRK_DELAY_READY);
	cr_assert_eq(quirks_of(0x8086, 0xa821, &what), 0);
}

/* ---- zoned namespaces in the scan ---- */

static unsigned asked_zns; /* Identify Controller of the Zoned Namespace Command Set */

/* Namespaces 1 and 4 are zoned, 2 is of the Key Value Command Set */
static uint16_t zoned(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw)
{
	uint8_t cns = cmd->cdw10 & 0xff, csi = cmd->cdw11 >> 24, *page = (uint8_t *)cmd->prp1;

	if (cmd->opc != nvme_admin_identify)
		return FAKE_NOT_MINE;
	if (cns == NVME_IDENTIFY_CNS_NS_DESC_LIST) {
		memset(page, 0, 4096);
		page[0] = NVME_NIDT_EUI64;
		page[1] = 8;
		page[12] = NVME_NIDT_CSI;
		page[13] = 1;
		page[16] = cmd->nsid % 3 == 1 ? NVME_CSI_ZNS : cmd->nsid == 2 ? 1 : NVME_CSI_NVM;
		return 0;
	}
	if (cns == NVME_IDENTIFY_CNS_CSI_NS && csi == NVME_CSI_ZNS && cmd->nsid % 3 == 1) {
		struct nvme_zns_id_ns *z = (void *)page;

		memset(page, 0, 4096);
		z->mar = 6;
		z->mor = UINT32_MAX;
		z->ozcs = 1;
		z->lbafe[0].zsze = 250;
		z->lbafe[0].zdes = 2;
		return 0;
	}
	if (cns == NVME_IDENTIFY_CNS_CSI_CTRL && csi == NVME_CSI_ZNS) {
		asked_zns++;
		memset(page, 0, 4096);
		page[0] = 1;
		return 0;
	}
	return FAKE_NOT_MINE;
}

Test(cmd_admin, a_scan_learns_what_zones_there_are)
{
	const struct plx_nvme_zns *z;
	struct plx_nvme_ctrlr *c;

	fake.cap |= (uint64_t)NVME_CAP_CSS_CSI << NVME_CAP_CSS_SHIFT;
	fake.admin_hook = zoned;
	fake.ns[2] = fake.ns[3] = fake.ns[4] = fake.ns[1];
	c = connect_fake();
	cr_assert_eq(fake.cc >> NVME_CC_CSS_SHIFT & 7, NVME_CC_CSS_CSI);
	z = plx_nvme_ns_zns(plx_nvme_ctrlr_ns(c, 1));
	cr_assert_not_null(z);
	cr_assert_eq(z->zone_blocks, 250);
	cr_assert_eq(z->zones, 4);
	cr_assert_eq(z->max_active, 7);
	cr_assert_eq(z->max_open, 0, "no limit");
	cr_assert_eq(z->desc_ext_bytes, 128);
	cr_assert_eq(z->max_append_bytes, 8192, "ZASL, below MDTS");
	cr_assert(z->read_across_zones);
	cr_assert_null(plx_nvme_ctrlr_ns(c, 2), "keys and values are no blocks");
	cr_assert_null(plx_nvme_ns_zns(plx_nvme_ctrlr_ns(c, 3)));
	cr_assert_eq(plx_nvme_ns_zns(plx_nvme_ctrlr_ns(c, 4))->max_append_bytes, 8192);
	cr_assert_eq(asked_zns, 1, "once for both");
	plx_nvme_disconnect(c);
}
