/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_event.c - asynchronous events, Abort, Keep Alive
 */
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>

static struct host h;
static char *page;

static void start(void)
{
	cr_assert_eq(host_init(&h, &(struct host_opts){ .error = true }), 0);
	page = host_alloc(&h, PLX_PAGE_SIZE, PLX_PAGE_SIZE);
}

static void stop(void)
{
	host_fini(&h);
}

TestSuite(aer, .init = start, .fini = stop);
TestSuite(abort_cmd, .init = start, .fini = stop);
TestSuite(keep_alive, .init = start, .fini = stop);

#define NS_NOTICE                                                                                  \
	(NVME_AER_NOTICE | NVME_AER_NOTICE_NS_CHANGED << 8 | NVME_LOG_LID_CHANGED_NS << 16)
#define TEMP_EVENT                                                                                 \
	(NVME_AER_SMART | NVME_AER_SMART_TEMPERATURE_THRESHOLD << 8 | NVME_LOG_LID_SMART << 16)

static uint16_t submit_aer(void)
{
	return host_submit(&h, 0, &(struct plx_nvme_cmd){ .opc = nvme_admin_async_event });
}

static uint16_t set_feature(uint8_t fid, uint32_t cdw11)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_set_features, .cdw10 = fid, .cdw11 = cdw11 };
	struct plx_nvme_cpl cpl = host_admin(&h, &cmd);

	return host_status(&cpl);
}

static void enable_notices(void)
{
	cr_assert_eq(set_feature(NVME_FEAT_FID_ASYNC_EVENT,
				 NVME_FEATURE_AENCFG_NOTICE_NAMESPACE_ATTRIBUTES),
		     0);
}

/* Reads 512 bytes of a log page; other completions must not be outstanding */
static uint16_t read_log(uint8_t lid, bool rae)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_log_page,
				    .cdw10 = lid | (uint32_t)rae << 15 | 127u << 16 };
	struct plx_nvme_cpl cpl;

	host_prp(&h, &cmd, page, 512);
	cpl = host_admin(&h, &cmd);
	return host_status(&cpl);
}

static void expect_nothing(void)
{
	struct plx_nvme_cpl cpl;

	host_idle(&h);
	cr_assert_not(host_reap(&h, 0, &cpl));
}

Test(aer, waits_for_an_event)
{
	struct plx_nvme_cpl cpl;
	uint16_t cid;

	enable_notices();
	cid = submit_aer();
	expect_nothing();
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 4), 4);
	cpl = host_wait(&h, 0);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(cpl.cid, cid);
	cr_assert_eq(cpl.dw0, NS_NOTICE);
	cr_assert_eq(read_log(NVME_LOG_LID_CHANGED_NS, false), 0);
	cr_assert(((uint32_t *)(void *)page)[0] == 4 && ((uint32_t *)(void *)page)[1] == 0);
	cr_assert_eq(read_log(NVME_LOG_LID_CHANGED_NS, false), 0);
	cr_assert_eq(((uint32_t *)(void *)page)[0], 0);
}

Test(aer, more_than_the_limit_are_refused)
{
	struct plx_nvme_cpl cpl;
	uint16_t cid;

	for (int i = 0; i < NVMF_MAX_AER; i++)
		submit_aer();
	expect_nothing();
	cid = submit_aer();
	cpl = host_wait(&h, 0);
	cr_assert_eq(cpl.cid, cid);
	cr_assert_eq(host_status(&cpl), NVMF_ST_CS(NVME_SC_ASYNC_LIMIT));
}

Test(aer, an_event_before_the_command_is_kept_for_it)
{
	struct plx_nvme_cpl cpl;

	enable_notices();
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 4), 4);
	submit_aer();
	cpl = host_wait(&h, 0);
	cr_assert_eq(cpl.dw0, NS_NOTICE);
}

Test(aer, an_event_type_is_masked_until_its_log_page_is_read)
{
	struct plx_nvme_cpl cpl;

	enable_notices();
	submit_aer();
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 4), 4);
	cpl = host_wait(&h, 0);
	cr_assert_eq(cpl.dw0, NS_NOTICE);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 5), 5);
	submit_aer();
	expect_nothing();
	/* RAE leaves the mask, another page too */
	cr_assert_eq(read_log(NVME_LOG_LID_CHANGED_NS, true), 0);
	cr_assert_eq(read_log(NVME_LOG_LID_SMART, false), 0);
	expect_nothing();
	host_submit(&h, 0,
		    &(struct plx_nvme_cmd){ .opc = nvme_admin_get_log_page,
					    .cdw10 = NVME_LOG_LID_CHANGED_NS,
					    .prp1 = host_iova(&h, page) });
	cpl = host_wait(&h, 0);
	if (cpl.dw0 != NS_NOTICE)
		cpl = host_wait(&h, 0);
	cr_assert_eq(cpl.dw0, NS_NOTICE);
}

Test(aer, notices_that_are_not_enabled_are_not_sent)
{
	submit_aer();
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 4), 4);
	expect_nothing();
	/* the log has it all the same */
	cr_assert_eq(read_log(NVME_LOG_LID_CHANGED_NS, false), 0);
	cr_assert_eq(((uint32_t *)(void *)page)[0], 4);
}

Test(aer, a_temperature_threshold_below_the_temperature_is_an_event)
{
	struct plx_nvme_cpl cpl;

	cr_assert_eq(set_feature(NVME_FEAT_FID_ASYNC_EVENT,
				 NVME_FEATURE_AENCFG_SMART_CRIT_TEMPERATURE),
		     0);
	submit_aer();
	host_idle(&h);
	host_submit(&h, 0,
		    &(struct plx_nvme_cmd){ .opc = nvme_admin_set_features,
					    .cdw10 = NVME_FEAT_FID_TEMP_THRESH,
					    .cdw11 = 300 });
	cpl = host_wait(&h, 0);
	cr_assert_eq(cpl.dw0, TEMP_EVENT);
	cpl = host_wait(&h, 0);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(read_log(NVME_LOG_LID_SMART, false), 0);
	cr_assert_eq(page[0], NVME_SMART_CRIT_TEMPERATURE);
}

/* ---- Abort ---- */

static struct plx_nvme_cpl abort_command(uint16_t sqid, uint16_t cid)
{
	return host_admin(&h, &(struct plx_nvme_cmd){ .opc = nvme_admin_abort_cmd,
						      .cdw10 = sqid | (uint32_t)cid << 16 });
}

Test(abort_cmd, ends_a_command_that_hangs)
{
	struct plx_bdev_error_rule hang = { .kind = PLX_BDEV_ERR_HANG,
					    .types = 1u << PLX_BDEV_READ,
					    .nth = 2 };
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = h.nsid };
	struct plx_nvme_cpl cpl;
	uint16_t cid;

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	cr_assert_eq(plx_bdev_error_inject("host0", &hang), 0);
	host_prp(&h, &cmd, page, 512);
	cpl = host_io(&h, 1, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	cid = host_submit(&h, 1, &cmd);
	host_idle(&h);
	cr_assert_not(host_reap(&h, 1, &cpl));
	cpl = abort_command(1, cid);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(cpl.dw0 & 1, 0);
	cpl = host_wait(&h, 1);
	cr_assert_eq(cpl.cid, cid);
	cr_assert_eq(host_status(&cpl), NVME_SC_ABORT_REQ);
}

Test(abort_cmd, says_when_there_was_nothing_to_abort)
{
	struct plx_nvme_cpl cpl;

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	cpl = abort_command(1, 77);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(cpl.dw0 & 1, 1);
	cpl = abort_command(0, 77);
	cr_assert_eq(cpl.dw0 & 1, 1);
	cpl = abort_command(5, 1);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
	cpl = abort_command(0xffff, 1);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
}

Test(abort_cmd, ends_an_event_request)
{
	struct plx_nvme_cpl cpl;
	uint16_t cid;

	submit_aer();
	cid = submit_aer();
	submit_aer();
	host_idle(&h);
	host_submit(&h, 0,
		    &(struct plx_nvme_cmd){ .opc = nvme_admin_abort_cmd,
					    .cdw10 = (uint32_t)cid << 16 });
	cpl = host_wait(&h, 0);
	cr_assert_eq(cpl.cid, cid);
	cr_assert_eq(host_status(&cpl), NVME_SC_ABORT_REQ);
	cpl = host_wait(&h, 0);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(cpl.dw0, 0);
	expect_nothing();
}

/* ---- Keep Alive ---- */

static bool is_fatal(void *arg)
{
	return nvmf_fn_reg_read(arg, NVME_REG_CSTS, 4) & HOST_CFS;
}

Test(keep_alive, expiry_is_fatal_until_a_reset)
{
	struct nvme_error_log_page *e = (void *)page;
	struct plx_nvme_cpl cpl;

	cr_assert_eq(set_feature(NVME_FEAT_FID_KATO, 100), 0);
	cr_assert(host_poll(&h, is_fatal, &h.fn));
	host_submit(&h, 0, &(struct plx_nvme_cmd){ .opc = nvme_admin_keep_alive });
	host_idle(&h);
	cr_assert_not(host_reap(&h, 0, &cpl));
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
	cr_assert_not(is_fatal(&h.fn));
	cr_assert_eq(read_log(NVME_LOG_LID_ERROR, false), 0);
	cr_assert_eq(e[0].status_field >> 1, NVME_SC_KAT_EXPIRED);
}

static bool never(void *arg)
{
	uint64_t *until = arg;

	if (plx_tsc() > *until)
		return true;
	host_submit(&h, 0, &(struct plx_nvme_cmd){ .opc = nvme_admin_keep_alive });
	while (host_wait(&h, 0).status == HOST_TIMEOUT)
		;
	return is_fatal(&h.fn);
}

Test(keep_alive, commands_hold_it_off)
{
	uint64_t until = plx_tsc() + plx_tsc_hz();

	cr_assert_eq(set_feature(NVME_FEAT_FID_KATO, 500), 0);
	cr_assert(host_poll(&h, never, &until));
	cr_assert_not(is_fatal(&h.fn));
	cr_assert_eq(set_feature(NVME_FEAT_FID_KATO, 0), 0);
}
