/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvme_ctrlr.c - controllers: connect, reset, loss, events, admin commands; against
 * a scripted one
 */
#include "nvme_fixture.h"

TestSuite(nvme_ctrlr, .init = setup, .fini = teardown, .timeout = 60);

/* ---- connect ---- */

Test(nvme_ctrlr, connect_learns_what_the_controller_can)
{
	fake.id.vid = 0xabcd;
	fake.ns[3] = fake.ns[1];
	fake.ns[3].nsze = 77;
	fake.ns[3].lbaf[0].ds = 12;
	fake.ns[3].lbaf[0].ms = 8;
	fake.ns[3].flbas = NVME_NS_FLBAS_META_EXT;
	fake.ns[3].dps = 1;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, 3);

	cr_assert(ready(c));
	cr_assert_eq(plx_nvme_ctrlr_data(c)->vid, 0xabcd);
	cr_assert_eq(plx_nvme_ctrlr_max_io_bytes(c), 16384);
	cr_assert_eq(plx_nvme_ctrlr_max_queue_size(c), 64);
	cr_assert_eq(plx_nvme_ctrlr_num_io_queues(c), FAKE_QUEUES - 1);
	cr_assert_eq(plx_nvme_ctrlr_next_ns(c, 0), 1);
	cr_assert_eq(plx_nvme_ctrlr_next_ns(c, 1), 3);
	cr_assert_eq(plx_nvme_ctrlr_next_ns(c, 3), 0);
	cr_assert_null(plx_nvme_ctrlr_ns(c, 2));
	cr_assert_eq(plx_nvme_ns_blocks(ns), 77);
	cr_assert_eq(plx_nvme_ns_block_size(ns), 4096);
	cr_assert_eq(plx_nvme_ns_xfer_block_size(ns), 4104);
	cr_assert_eq(plx_nvme_ns_pi_type(ns), 1);
	cr_assert_eq(plx_nvme_ns_max_io_blocks(ns), 3);
	cr_assert_eq(ns->fast_blocks, 0, "a block of 4104 bytes may need three pages");
	cr_assert_eq(plx_nvme_ctrlr_ns(c, 1)->fast_blocks, 8);
	plx_nvme_disconnect(c);
	cr_assert(!fake.open);
}

Test(nvme_ctrlr, fast_path_is_off_where_it_would_be_wrong)
{
	fake.ns[1].noiob = 64;
	fake.ns[2] = fake.ns[1];
	fake.ns[2].noiob = 0;
	fake.ns[2].lbaf[0].ms = 8; /* separate */

	struct plx_nvme_ctrlr *c = connect_fake();

	cr_assert_eq(plx_nvme_ctrlr_ns(c, 1)->fast_blocks, 1, "more blocks may cross the boundary");
	cr_assert_eq(plx_nvme_ctrlr_ns(c, 2)->fast_blocks, 0, "metadata needs a pointer");
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, unknown_devices_and_transports_have_their_errno)
{
	strcpy(trid.traddr, "other");
	cr_assert_null(plx_nvme_connect(&trid, &opts));
	cr_assert_eq(errno, ENODEV);
	trid.trtype = PLX_NVME_TR_RDMA;
	cr_assert_null(plx_nvme_connect(&trid, &opts));
	cr_assert_eq(errno, EPROTONOSUPPORT);
}

Test(nvme_ctrlr, every_step_of_connect_has_a_deadline_with_its_name)
{
	static const struct {
		int silent;
		bool stuck;
		uint32_t cc, csts;
		const char *text;
	} cases[] = {
		{ -1, true, 1, 0,
		  "waiting for CSTS.RDY of an enable under way (NVMe Base 2.0c §3.1.3.5) took "
		  "longer than 500 ms" },
		{ -1, true, 1, 1,
		  "waiting for CSTS.RDY to become 0 after clearing CC.EN (NVMe Base 2.0c §3.5.1) "
		  "took longer than 500 ms" },
		{ -1, true, 0, 0,
		  "waiting for CSTS.RDY to become 1 after setting CC.EN (NVMe Base 2.0c §3.5.1) "
		  "took longer than 500 ms" },
		{ FAKE_ADMIN(6, 1), 0, 0, 0,
		  "Identify Controller (NVMe Base 2.0c §5.17.2.1) took longer than 100 ms" },
		{ FAKE_ADMIN(6, 6), 0, 0, 0, "Identify Controller of the NVM Command Set" },
		{ FAKE_ADMIN(9, 0x16), 0, 0, 0, "Set Features, Host Behavior Support" },
		{ FAKE_ADMIN(9, 7), 0, 0, 0, "Set Features, Number of Queues" },
		{ FAKE_ADMIN(6, 2), 0, 0, 0, "Identify, active namespaces" },
		{ FAKE_ADMIN(6, 0), 0, 0, 0, "Identify Namespace (NVM Command Set" },
		{ FAKE_ADMIN(6, 5), 0, 0, 0, "Identify Namespace of the NVM Command Set" },
		{ FAKE_ADMIN(9, 0xb), 0, 0, 0, "Set Features, Asynchronous Event Configuration" },
		{ FAKE_ADMIN(9, 0xf), 0, 0, 0, "Set Features, Keep Alive Timer" },
	};
	opts.keep_alive_ms = 1000;
	fake.id.crdt1 = 1;
	fake.id.ctratt = NVME_CTRL_CTRATT_ELBAS;

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		fake.silent = cases[i].silent;
		fake.stuck_ready = cases[i].stuck;
		fake.cc = cases[i].cc;
		fake.csts = cases[i].csts;

		struct plx_nvme_ctrlr *c = plx_nvme_connect_start(&trid, &opts);

		UNTIL(c, NULL, failed(c) || ready(c));
		cr_expect(strstr(plx_nvme_ctrlr_failure(c), cases[i].text), "case %u: '%s'", i,
			  plx_nvme_ctrlr_failure(c));
		cr_expect_eq(plx_nvme_ctrlr_poll(c), -ENXIO);
		plx_nvme_disconnect(c);
	}
}

Test(nvme_ctrlr, a_deadline_in_connect_gives_etimedout)
{
	fake.silent = FAKE_ADMIN(6, 1);
	cr_assert_null(plx_nvme_connect(&trid, &opts));
	cr_assert_eq(errno, ETIMEDOUT);
	cr_assert(!fake.open);
	cr_assert_eq(fake.cc & 1, 0, "the controller was left enabled");
}

Test(nvme_ctrlr, a_fatal_status_at_enable_fails_at_once)
{
	fake.cfs_on_enable = true;

	struct plx_nvme_ctrlr *c = plx_nvme_connect_start(&trid, &opts);

	UNTIL(c, NULL, failed(c));
	cr_assert(strstr(plx_nvme_ctrlr_failure(c), "CSTS.CFS"), "%s", plx_nvme_ctrlr_failure(c));
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, connect_fails_with_the_status_of_a_refused_command)
{
	fake.refuse = FAKE_ADMIN(9, 7);

	struct plx_nvme_ctrlr *c = plx_nvme_connect_start(&trid, &opts);

	UNTIL(c, NULL, failed(c));
	cr_assert(strstr(plx_nvme_ctrlr_failure(c), "Number of Queues failed: INVALID FIELD"), "%s",
		  plx_nvme_ctrlr_failure(c));
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, impossible_capabilities_are_refused_in_words)
{
	static const struct {
		uint64_t cap;
		const char *text;
	} cases[] = {
		{ 63 | 1ull << 24 | 1ull << 37 | 1ull << 48, "8192 bytes (CAP.MPSMIN)" },
		{ 63 | 1ull << 24, "no I/O command set" },
		{ 0 | 1ull << 24 | 1ull << 37, "CAP.MQES" },
		{ 63 | 1ull << 24 | 1ull << 37 | 15ull << 32, "CAP.DSTRD is 15" },
		{ UINT64_MAX, "is gone" },
	};

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		fake.cap = cases[i].cap;

		struct plx_nvme_ctrlr *c = plx_nvme_connect_start(&trid, &opts);

		UNTIL(c, NULL, failed(c));
		cr_expect(strstr(plx_nvme_ctrlr_failure(c), cases[i].text), "case %u: '%s'", i,
			  plx_nvme_ctrlr_failure(c));
		plx_nvme_disconnect(c);
	}
}

Test(nvme_ctrlr, an_enabled_controller_is_disabled_first)
{
	fake.cc = fake.csts = 1;

	struct plx_nvme_ctrlr *c = connect_fake();

	cr_assert_eq(fake.enables, 1);
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, disconnect_shuts_down_normally)
{
	struct plx_nvme_ctrlr *c = connect_fake();

	plx_nvme_disconnect(c);
	cr_assert_eq(fake.shutdowns, 1);
	cr_assert_eq(fake.cc & 1, 0);
}

Test(nvme_ctrlr, namespaces_out_of_order_or_impossible_are_left_out)
{
	fake.ns[2] = fake.ns[1];
	fake.ns[2].lbaf[0].ds = 3;
	fake.ns[4] = fake.ns[1];
	fake.ns[4].dps = 7;

	struct plx_nvme_ctrlr *c = connect_fake();

	cr_assert_null(plx_nvme_ctrlr_ns(c, 2));
	cr_assert_null(plx_nvme_ctrlr_ns(c, 4));
	cr_assert_not_null(plx_nvme_ctrlr_ns(c, 1));
	plx_nvme_disconnect(c);
}

/* ---- reset ---- */

Test(nvme_ctrlr, an_owner_that_does_not_poll_is_named)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	c->owner_deadline_ms = 50;
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, NULL, failed(c));
	cr_assert(strstr(plx_nvme_ctrlr_failure(c), "queue pair 1 is not polled by its thread"),
		  "%s", plx_nvme_ctrlr_failure(c));
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, a_reset_whose_queues_are_refused_fails)
{
	static const int what[] = { FAKE_ADMIN(nvme_admin_create_cq, 1),
				    FAKE_ADMIN(nvme_admin_create_sq, 1) };

	for (unsigned i = 0; i < 4; i++) {
		fake.silent = fake.refuse = -1;

		struct plx_nvme_ctrlr *c = connect_fake();
		struct plx_nvme_qpair *qp = make_qpair(c, 8);

		fake.silent = i < 2 ? what[i] : -1;
		fake.refuse = i < 2 ? -1 : what[i - 2];
		plx_nvme_ctrlr_reset(c);
		UNTIL(c, qp, failed(c));
		cr_expect(strstr(plx_nvme_ctrlr_failure(c),
				 i < 2 ? "creating I/O queues" : "Queue failed: INVALID FIELD"),
			  "%s", plx_nvme_ctrlr_failure(c));
		plx_nvme_qpair_destroy(qp);
		plx_nvme_disconnect(c);
	}
}

Test(nvme_ctrlr, another_controller_after_a_reset_is_refused)
{
	struct plx_nvme_ctrlr *c = connect_fake();

	memcpy(fake.id.sn, "OTHER", 5);
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, NULL, failed(c));
	cr_assert(strstr(plx_nvme_ctrlr_failure(c), "another controller"), "%s",
		  plx_nvme_ctrlr_failure(c));
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, a_fatal_status_resets_once_and_fails_the_second_time)
{
	struct plx_nvme_ctrlr *c = connect_fake();

	fake.csts |= 2;
	UNTIL(c, NULL, resets(c) == 1 && ready(c));
	fake.csts |= 2;
	UNTIL(c, NULL, failed(c));
	cr_assert(strstr(plx_nvme_ctrlr_failure(c), "CSTS.CFS"), "%s", plx_nvme_ctrlr_failure(c));
	plx_nvme_disconnect(c);
}

/* ---- surprise removal ---- */

static bool heard;

static bool watch_fake(struct plx_pcie_dev *dev, uint32_t *csts)
{
	*csts = fake.csts;
	return heard;
}

/* ... as that would wait for somebody else */
Test(nvme_ctrlr, the_status_of_a_device_that_is_watched_is_not_read)
{
	struct plx_pcie_backend watched = *fake.dev.ops;
	struct plx_nvme_ctrlr *c;
	uint64_t end;

	watched.watch = watch_fake;
	fake.dev.ops = &watched;
	heard = true;
	c = connect_fake();
	heard = false;
	fake.csts = 0;
	end = plx_tsc() + 5 * NVME_ALIVE_PERIOD_MS * c->tsc_ms;
	UNTIL(c, NULL, plx_tsc() > end);
	cr_expect_eq(resets(c), 0);
	heard = true;
	UNTIL(c, NULL, resets(c) == 1 && ready(c));
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, a_vanished_controller_fails_its_io)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result r = { 0 };

	fake.hold_io = true;
	submit(c, qp, 1, &r);
	submit(c, qp, 2, &r);
	turns(c, qp, 3);
	fake.gone = true;
	UNTIL(c, NULL, failed(c));
	cr_assert_str_eq(plx_nvme_ctrlr_failure(c),
			 "controller 'fake' is gone (registers read as all ones)");
	cr_assert_eq(plx_nvme_qpair_poll(qp, 0), 2);
	cr_assert_eq(r.calls, 2);
	cr_assert_eq(r.status, 0x4371);
	cr_assert_eq(plx_nvme_qpair_poll(qp, 0), -ENXIO);
	cr_assert_eq(plx_nvme_ctrlr_poll(c), -ENXIO);
	cr_assert_eq(plx_nvme_ctrlr_reset(c), -ENXIO);
	cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, buf, 0, 1, io_done, &r), -ENXIO);
	cr_assert_null(plx_nvme_qpair_create(c, NULL));
	cr_assert_eq(errno, ENXIO);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, admin_commands_of_a_vanished_controller_come_back)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_features, .cdw10 = 2 };
	struct result r = { 0 };

	fake.silent = FAKE_ADMIN(nvme_admin_get_features, 2);
	cr_assert_eq(plx_nvme_admin_raw(c, &cmd, NULL, 0, io_done, &r), 0);
	turns(c, NULL, 3);
	fake.gone = true;
	UNTIL(c, NULL, r.calls == 1);
	cr_assert_eq(r.status, 0x4371);
	cr_assert_eq(plx_nvme_admin_raw(c, &cmd, NULL, 0, io_done, &r), -ENXIO);
	plx_nvme_disconnect(c);
}

/* ---- events, keep-alive, admin commands ---- */

static void event(void *arg, const struct plx_nvme_cpl *cpl)
{
	*(uint32_t *)arg = cpl->dw0;
}

Test(nvme_ctrlr, namespaces_come_and_go_by_notice)
{
	const uint32_t changed =
		NVME_AER_NOTICE | NVME_AER_NOTICE_NS_CHANGED << 8 | NVME_LOG_LID_CHANGED_NS << 16;
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_ns *old = plx_nvme_ctrlr_ns(c, 1);
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result r = { 0 };
	uint32_t seen = 0;

	plx_nvme_ctrlr_set_aer_cb(c, event, &seen);
	UNTIL(c, NULL, fake.n_aers == 4);
	fake.ns[2] = fake.ns[1];
	fake.ns[1].nsze = 0;
	cr_assert(fake_event(&fake, changed));
	UNTIL(c, NULL, plx_nvme_ctrlr_ns(c, 2) && !plx_nvme_ctrlr_ns(c, 1));
	cr_assert_eq(seen, changed);
	cr_assert_eq(fake_count(&fake, nvme_admin_get_log_page), 1,
		     "the notice has to be re-armed");
	cr_assert_lt(plx_nvme_read(old, qp, buf ? buf : (buf = plx_dma_zalloc(4096, 4096, -1)), 0,
				   1, io_done, &r),
		     0);
	UNTIL(c, NULL, fake.n_aers == 4);

	fake.ns[1] = fake.ns[2];
	fake.ns[1].nsze = 5;
	cr_assert(fake_event(&fake, changed));
	UNTIL(c, NULL, plx_nvme_ctrlr_ns(c, 1) == old && plx_nvme_ns_blocks(old) == 5);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

/* Answers each Asynchronous Event Request at once */
static uint16_t storm(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw)
{
	dw[0] = NVME_AER_NOTICE | NVME_AER_NOTICE_NS_CHANGED << 8 | NVME_LOG_LID_CHANGED_NS << 16;
	return cmd->opc == nvme_admin_async_event ? 0 : FAKE_NOT_MINE;
}

Test(nvme_ctrlr, a_storm_of_events_is_held_back_until_it_is_over)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_ctrlr_stats s;
	uint64_t end, held;

	fake.admin_hook = storm;
	UNTIL(c, NULL, c->aer_storm);
	plx_nvme_ctrlr_get_stats(c, &s);
	held = s.aers;
	cr_assert_leq(held, NVME_AER_BURST + NVME_MAX_AERS);
	end = plx_tsc() + 3 * NVME_AER_PERIOD_MS * c->tsc_ms;
	UNTIL(c, NULL, plx_tsc() > end);
	plx_nvme_ctrlr_get_stats(c, &s);
	cr_assert_gt(s.aers, held, "some are taken");
	cr_assert_leq(s.aers, held + NVME_MAX_AERS);
	fake.admin_hook = NULL;
	UNTIL(c, NULL, !c->aer_storm && fake.n_aers == 4);
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, keep_alives_are_sent_at_half_the_timeout)
{
	opts.keep_alive_ms = 100;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_ctrlr_stats s;

	UNTIL(c, NULL, (plx_nvme_ctrlr_get_stats(c, &s), s.keep_alives == 3));
	cr_assert_geq(fake.keep_alives, 3);
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, long_log_pages_come_in_pieces_and_clear_their_event_last)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	static uint32_t log[10000];
	unsigned first = fake.admin_cmds;

	cr_assert_eq(plx_nvme_get_log(c, 2, UINT32_MAX, 0, 64, log, sizeof(log)), 0);
	cr_assert_eq(fake_count(&fake, nvme_admin_get_log_page), 3);
	for (unsigned i = 0, n = 0; i < 3; n++) {
		const struct plx_nvme_cmd *cmd = &fake.admin_log[first + n];

		if (cmd->opc != nvme_admin_get_log_page)
			continue;
		cr_assert_eq(cmd->cdw12, 64 + i * 16384);
		cr_assert_eq(log[i * 4096], cmd->cdw12);
		cr_assert_eq(!!(cmd->cdw10 & 1 << 15), i < 2);
		cr_assert_eq((cmd->cdw10 >> 16) + 1, i < 2 ? 4096 : 10000 - 8192);
		i++;
	}
	cr_assert_eq(plx_nvme_get_log(c, 2, UINT32_MAX, 0, 0, log, 3), -EINVAL);
	plx_nvme_disconnect(c);
}

Test(nvme_ctrlr, raw_admin_commands_are_called_back_and_bounded)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_features, .cdw10 = 2 };
	struct result r = { 0 };
	static char page[4096];
	unsigned n = 0;

	cr_assert_eq(plx_nvme_admin_raw(c, &cmd, NULL, 4, io_done, &r), -EINVAL);
	while (plx_nvme_admin_raw(c, &cmd, NULL, 0, io_done, &r) == 0)
		n++;
	cr_assert_gt(n, 50);
	UNTIL(c, NULL, r.calls == n);
	cr_assert_eq(r.status, 0);
	cr_assert_eq(plx_nvme_identify(c, 0x7f, 0, 0, 0, page),
		     NVME_SC_INVALID_FIELD | PLX_NVME_DNR);
	plx_nvme_disconnect(c);
}
