/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_cmd_log.c - log pages: parts and whole ones, against a scripted controller
 */
#include "nvme_fixture.h"
#include <pollux/nvme_log.h>

TestSuite(cmd_log, .init = setup, .fini = teardown, .timeout = 60);

/* One log page of the controller: @bytes of it, what it does when it is read */
static struct {
	uint8_t lid;
	uint8_t *bytes;
	uint32_t len;
	bool in_context; /* persistent event log */
	unsigned reads, created, established, released;
	void (*on_read)(unsigned read);
} page;

static uint16_t serve(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw)
{
	uint32_t len = ((cmd->cdw10 >> 16 | (cmd->cdw11 & 0xffff) << 16) + 1) * 4;
	uint64_t off = cmd->cdw12 | (uint64_t)cmd->cdw13 << 32;
	uint32_t lsp = cmd->cdw10 >> 8 & 0x7f;

	if (cmd->opc != nvme_admin_get_log_page || (cmd->cdw10 & 0xff) != page.lid)
		return FAKE_NOT_MINE;
	page.created += page.lid == NVME_LOG_LID_TELEMETRY_HOST && lsp;
	if (page.lid == NVME_LOG_LID_PERSISTENT_EVENT) {
		if (lsp == 1 && page.in_context)
			return NVME_SC_CMD_SEQ_ERROR;
		page.established += lsp == 1;
		page.released += lsp == 2;
		page.in_context = lsp != 2;
	}
	if (page.on_read)
		page.on_read(page.reads);
	page.reads++;
	memset((void *)cmd->prp1, 0, len < 4096 ? len : 4096);
	/* a fixture's transfers are of one page, or contiguous */
	if (off < page.len)
		memcpy((void *)cmd->prp1, page.bytes + off,
		       page.len - off < len ? page.len - off : len);
	return 0;
}

static struct plx_nvme_ctrlr *connect_with(uint8_t lid, uint32_t len)
{
	free(page.bytes);
	memset(&page, 0, sizeof(page));
	page.lid = lid;
	page.len = len;
	page.bytes = calloc(1, len);
	for (uint32_t i = 0; i < len; i++)
		page.bytes[i] = (uint8_t)(i * 7 + i / 256);
	fake.admin_hook = serve;
	return connect_fake();
}

static void *fetch(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, size_t want)
{
	void *got = NULL;
	size_t len = 0;

	cr_assert_eq(plx_nvme_log_fetch(c, log, 0, &got, &len), 0);
	cr_assert_eq(len, want, "%zu bytes, not %zu", len, want);
	cr_assert_arr_eq(got, page.bytes, want);
	free(got);
	return got;
}

Test(cmd_log, every_field_of_the_command_is_where_it_belongs)
{
	struct plx_nvme_log log = { .lid = 0x20,
				    .lsp = 0x55,
				    .lsi = 0x1234,
				    .csi = 2,
				    .uuid = 3,
				    .nsid = 7,
				    .retain = true };
	struct plx_nvme_ctrlr *c = connect_with(0x20, 4096);
	const struct plx_nvme_cmd *cmd;
	char part[64];

	cr_assert_eq(plx_nvme_log_read(c, &log, 0x100000010ull, part, sizeof(part)), 0);
	cmd = fake_last(&fake, nvme_admin_get_log_page);
	cr_assert_eq(cmd->nsid, 7);
	cr_assert_eq(cmd->cdw10, 15u << 16 | 1u << 15 | 0x55u << 8 | 0x20u);
	cr_assert_eq(cmd->cdw11, 0x12340000u);
	cr_assert_eq(cmd->cdw12, 0x10);
	cr_assert_eq(cmd->cdw13, 1);
	cr_assert_eq(cmd->cdw14, 2u << 24 | 3u);
	log.retain = false;
	cr_assert_eq(plx_nvme_log_read(c, &log, 0, part, sizeof(part)), 0);
	cr_assert_eq(fake_last(&fake, nvme_admin_get_log_page)->cdw10 & 1u << 15, 0);
	cr_assert_eq(plx_nvme_log_read(c, &log, 2, part, sizeof(part)), -EINVAL);
	cr_assert_eq(plx_nvme_log_read(c, &log, 0, part, 6), -EINVAL);
	plx_nvme_disconnect(c);
}

Test(cmd_log, a_controller_without_extended_data_gives_no_offsets)
{
	struct plx_nvme_log log = { .lid = 1, .nsid = PLX_NVME_LOG_CTRLR };
	static char part[32768];

	fake.id.lpa = 0;
	struct plx_nvme_ctrlr *c = connect_with(1, 4096);

	cr_assert_eq(plx_nvme_log_read(c, &log, 64, part, 64), -ENOTSUP);
	cr_assert_eq(plx_nvme_log_read(c, &log, 0, part, sizeof(part)), -ENOTSUP);
	cr_assert_eq(page.reads, 0, "it was asked all the same");
	cr_assert_eq(plx_nvme_log_read(c, &log, 0, part, 64), 0);
	plx_nvme_disconnect(c);
}

Test(cmd_log, telemetry_is_captured_and_read_to_its_last_block)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_TELEMETRY_HOST,
				    .nsid = PLX_NVME_LOG_CTRLR };
	struct plx_nvme_ctrlr *c = connect_with(log.lid, 101 * 512);
	struct nvme_telemetry_log *t = (void *)page.bytes;

	t->dalb1 = 3;
	t->dalb2 = 100;
	t->dalb3 = 100;
	t->dalb4 = 5000; /* not without LPA bit 6 */
	fetch(c, &log, 101 * 512);
	cr_assert_eq(page.created, 1);
	cr_assert_gt(page.reads, 4, "16 KiB is MDTS");
	fake.id.lpa |= NVME_CTRL_LPA_DA4_TELEMETRY;
	plx_nvme_disconnect(c);

	c = connect_with(log.lid, 201 * 512);
	t = (void *)page.bytes;
	t->dalb1 = t->dalb2 = t->dalb3 = 0;
	t->dalb4 = 200;
	fetch(c, &log, 201 * 512);
	plx_nvme_disconnect(c);
}

static void always_newer(unsigned read)
{
	page.bytes[383]++;
}

static void newer_once(unsigned read)
{
	page.bytes[383] = read > 0;
}

Test(cmd_log, a_page_that_changes_meanwhile_is_read_again)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_TELEMETRY_CTRL,
				    .nsid = PLX_NVME_LOG_CTRLR };
	struct plx_nvme_ctrlr *c = connect_with(log.lid, 2 * 512);
	struct nvme_telemetry_log *t = (void *)page.bytes;
	void *got;
	size_t len;

	t->dalb1 = t->dalb2 = t->dalb3 = 1;
	page.on_read = newer_once;
	fetch(c, &log, 2 * 512);
	cr_assert_eq(page.reads, 6, "header, page, header: twice, not %u reads", page.reads);
	page.on_read = always_newer;
	cr_assert_eq(plx_nvme_log_fetch(c, &log, 0, &got, &len), -EAGAIN);
	plx_nvme_disconnect(c);
}

/* RAE stays set until the page is known to be whole */
Test(cmd_log, the_event_is_cleared_by_the_last_read_alone)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_TELEMETRY_CTRL,
				    .nsid = PLX_NVME_LOG_CTRLR };
	struct plx_nvme_ctrlr *c = connect_with(log.lid, 40 * 512);
	struct nvme_telemetry_log *t = (void *)page.bytes;
	unsigned first = fake.admin_cmds, last = 0;

	t->dalb1 = t->dalb2 = t->dalb3 = 39;
	fetch(c, &log, 40 * 512);
	for (unsigned i = first; i < fake.admin_cmds; i++)
		if (fake.admin_log[i].opc == nvme_admin_get_log_page)
			last = i;
	for (unsigned i = first; i < fake.admin_cmds; i++)
		if (fake.admin_log[i].opc == nvme_admin_get_log_page)
			cr_assert_eq(!!(fake.admin_log[i].cdw10 & 1u << 15), i != last);
	log.retain = true;
	fetch(c, &log, 40 * 512);
	cr_assert(fake_last(&fake, nvme_admin_get_log_page)->cdw10 & 1u << 15);
	plx_nvme_disconnect(c);
}

Test(cmd_log, persistent_events_are_read_in_a_context_that_is_released)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_PERSISTENT_EVENT,
				    .nsid = PLX_NVME_LOG_CTRLR };
	struct plx_nvme_ctrlr *c = connect_with(log.lid, 30000);
	struct nvme_persistent_event_log *p = (void *)page.bytes;

	p->tll = 30000;
	fetch(c, &log, 30000);
	cr_assert_eq(page.established, 1);
	cr_assert_eq(page.released, 1);
	page.in_context = true; /* somebody else's */
	fetch(c, &log, 30000);
	cr_assert(!page.in_context);
	p->tll = 100;

	void *got = NULL;
	size_t len;

	cr_assert_eq(plx_nvme_log_fetch(c, &log, 0, &got, &len), -EPROTO);
	cr_assert(!page.in_context, "the context stays after an error");
	plx_nvme_disconnect(c);
}

Test(cmd_log, lengths_come_from_headers_and_identify)
{
	static const struct {
		uint8_t lid;
		uint16_t at; /* of the field @value */
		uint8_t bytes;
		uint64_t value;
		uint64_t len; /* 0: cannot be */
	} cases[] = {
		{ NVME_LOG_LID_ERROR, 0, 0, 0, 4 * 64 },
		{ NVME_LOG_LID_DEVICE_SELF_TEST, 0, 0, 0, 564 },
		{ NVME_LOG_LID_CMD_EFFECTS, 0, 0, 0, 4096 },
		{ NVME_LOG_LID_ANA, 0, 0, 0, 16 + 3 * 32 + 5 * 4 },
		{ NVME_LOG_LID_PREDICTABLE_LAT_AGG, 0, 8, 3, 16 },
		{ NVME_LOG_LID_ENDURANCE_GRP_EVT, 0, 8, 0x100000000, 0 },
		{ NVME_LOG_LID_LBA_STATUS, 0, 4, 48, 48 },
		{ NVME_LOG_LID_LBA_STATUS, 0, 4, 8, 0 },
		{ NVME_LOG_LID_BOOT_PARTITION, 4, 4, 0x80000002, 16 + 2 * 131072 },
		{ NVME_LOG_LID_FDP_CONFIGS, 4, 4, 200, 200 },
		{ NVME_LOG_LID_FDP_CONFIGS, 4, 4, 15, 0 },
		{ NVME_LOG_LID_FDP_RUH_USAGE, 0, 2, 8, 8 + 8 * 8 },
		{ NVME_LOG_LID_FDP_STATS, 0, 0, 0, 64 },
		{ NVME_LOG_LID_FDP_EVENTS, 0, 4, 5, 64 + 5 * 64 },
		{ NVME_LOG_LID_DISCOVER, 8, 8, 2, 3 * 1024 },
		{ NVME_LOG_LID_SANITIZE, 0, 0, 0, 512 },
		{ NVME_LOG_LID_ZNS_CHANGED_ZONES, 0, 0, 0, 4096 },
	};

	fake.id.elpe = 3;
	fake.id.nanagrpid = 3;
	fake.id.mnan = 5;
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		struct plx_nvme_ctrlr *c = connect_with(cases[i].lid, 4096);
		struct plx_nvme_log log = { .lid = cases[i].lid, .nsid = PLX_NVME_LOG_CTRLR };
		uint64_t size = 0;
		int rc;

		memcpy(page.bytes + cases[i].at, &cases[i].value, cases[i].bytes);
		rc = plx_nvme_log_size(c, &log, &size);
		cr_expect_eq(rc, cases[i].len ? 0 : -EPROTO, "case %u: %d", i, rc);
		if (!rc)
			cr_expect_eq(size, cases[i].len, "case %u: %lu", i, size);
		plx_nvme_disconnect(c);
	}
}

Test(cmd_log, pages_too_large_and_unknown_ones_are_refused)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_BOOT_PARTITION,
				    .nsid = PLX_NVME_LOG_CTRLR };
	struct plx_nvme_ctrlr *c = connect_with(log.lid, 4096);
	void *got = NULL;
	size_t len;

	memset(page.bytes + 4, 0xff, 4);
	cr_assert_eq(plx_nvme_log_fetch(c, &log, 0, &got, &len), -EFBIG);
	log.lid = 0xc0;
	cr_assert_eq(plx_nvme_log_fetch(c, &log, 0, &got, &len), -ENOTSUP);
	log.lid = NVME_LOG_LID_FW_SLOT;
	fake.refuse = FAKE_ADMIN(nvme_admin_get_log_page, NVME_LOG_LID_FW_SLOT);
	cr_assert_eq(plx_nvme_log_fetch(c, &log, 0, &got, &len),
		     NVME_SC_INVALID_FIELD | PLX_NVME_DNR);
	cr_assert_null(got);
	plx_nvme_disconnect(c);
}

Test(cmd_log, names_are_the_specifications)
{
	cr_assert_str_eq(plx_nvme_log_name(2), "SMART / Health Information");
	cr_assert_str_eq(plx_nvme_log_name(0x23), "FDP Events");
	cr_assert_null(plx_nvme_log_name(0xc1));
}
