/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvme_stuck.c - controllers that do not do what their registers are told, and
 * whose function is reset for it
 */
#include "nvme_fixture.h"

static void setup_stuck(void)
{
	setup();
	fake_can_flr(&fake);
}

TestSuite(nvme_stuck, .init = setup_stuck, .fini = teardown, .timeout = 60);

static const struct {
	const char *what;
	const char *again; /* what it says when that has not changed after a reset */
	bool stuck, cfs, gone;
	uint32_t cc, csts;
} states[] = {
	{ "RDY of an enable under way", "RDY of an enable under way", true, false, false, 1, 0 },
	{ "RDY to become 0", "RDY to become 0", true, false, false, 1, 1 },
	{ "RDY to become 1", "RDY of an enable under way", true, false, false, 0, 0 },
	{ "reports a fatal status", "reports a fatal status", false, true, false, 0, 0 },
	{ "read as all ones", "read as all ones", false, false, true, 0, 0 },
};

static void put_into(unsigned i)
{
	fake.stuck_ready = states[i].stuck;
	fake.cfs_on_enable = states[i].cfs;
	fake.gone = states[i].gone;
	fake.cc = states[i].cc;
	fake.csts = states[i].csts;
}

Test(nvme_stuck, a_reset_of_the_function_helps_while_connecting)
{
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(states); i++) {
		put_into(i);
		fake.flrs = 0;
		plx_nvme_disconnect(connect_fake());
		cr_expect_eq(fake.flrs, 1, "%s: %u", states[i].what, fake.flrs);
	}
}

Test(nvme_stuck, it_is_tried_once)
{
	fake.flr_useless = true;
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(states); i++) {
		struct plx_nvme_ctrlr *c;

		put_into(i);
		fake.flrs = 0;
		c = plx_nvme_connect_start(&trid, &opts);
		UNTIL(c, NULL, failed(c));
		cr_expect(strstr(plx_nvme_ctrlr_failure(c), states[i].again), "%s",
			  plx_nvme_ctrlr_failure(c));
		cr_expect(strstr(plx_nvme_ctrlr_failure(c), ", although its function was reset"),
			  "%s", plx_nvme_ctrlr_failure(c));
		cr_expect_eq(fake.flrs, 1);
		plx_nvme_disconnect(c);
	}
}

Test(nvme_stuck, a_function_that_cannot_be_reset_says_so)
{
	static const struct {
		int rc;
		const char *text;
	} cases[] = {
		{ -ENOTSUP, "controller 'fake': waiting for CSTS.RDY to become 0 after clearing "
			    "CC.EN (NVMe Base 2.0c §3.5.1) took longer than 500 ms, and its "
			    "function cannot be reset: it has no such reset" },
		{ -EIO, "cannot be reset: Input/output error" },
	};

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		struct plx_nvme_ctrlr *c;

		put_into(1);
		fake.flr_useless = true;
		fake.flr_rc = cases[i].rc;
		c = plx_nvme_connect_start(&trid, &opts);
		UNTIL(c, NULL, failed(c));
		cr_expect(strstr(plx_nvme_ctrlr_failure(c), cases[i].text), "%s",
			  plx_nvme_ctrlr_failure(c));
		cr_expect_eq(plx_nvme_connect_poll(c), -ETIMEDOUT);
	}
}

Test(nvme_stuck, one_that_stops_while_it_is_set_up_is_not_waited_for)
{
	static const struct {
		uint32_t csts;
		const char *text;
	} cases[] = {
		{ 3, "reports a fatal status (CSTS.CFS) while it is being set up" },
		{ 0, "is not ready any more (CSTS.RDY is 0) while it is being set up" },
	};

	opts.admin_timeout_ms = 60000;
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		struct plx_nvme_ctrlr *c;

		fake.silent = FAKE_ADMIN(nvme_admin_identify, 1);
		fake.flrs = 0;
		c = plx_nvme_connect_start(&trid, &opts);
		UNTIL(c, NULL, c->step == NVME_STEP_ID_CTRL);
		fake.csts = cases[i].csts;
		UNTIL(c, NULL, fake.flrs == 1 && c->step == NVME_STEP_ID_CTRL);
		fake.csts = cases[i].csts;
		UNTIL(c, NULL, failed(c));
		cr_expect(strstr(plx_nvme_ctrlr_failure(c), cases[i].text), "%s",
			  plx_nvme_ctrlr_failure(c));
		plx_nvme_disconnect(c);
	}
}

/* I/O that does not complete */
static void hold_two(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp, struct result *lost)
{
	fake.hold_io = true;
	submit(c, qp, 1, lost);
	submit(c, qp, 2, lost);
	UNTIL(c, qp, fake.n_held == 2);
}

/* I/O that was under way has come back, and more is done */
static void goes_on(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp, struct result *lost)
{
	struct result r = { 0 };

	UNTIL(c, qp, ready(c) && qp->state == NVME_QP_LIVE && lost->calls == 2);
	cr_assert_eq(lost->status, NVME_SC_ABORT_QUEUE);
	fake.hold_io = false;
	submit(c, qp, 7, &r);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(r.status, 0);
}

Test(nvme_stuck, a_fatal_status_after_a_reset_has_the_function_reset)
{
	opts.interrupts = true;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result lost = { 0 };
	unsigned irqs = fake.irqs;

	fake.csts |= 2;
	UNTIL(c, qp, resets(c) == 1 && ready(c));
	turns(c, qp, 3);
	hold_two(c, qp, &lost);
	cr_assert_eq(fake.flrs, 0);
	fake.csts |= 2;
	goes_on(c, qp, &lost);
	cr_assert_eq(fake.flrs, 1);
	cr_assert_gt(fake.irqs, irqs, "interrupts are set up again");
	fake.csts |= 2;
	UNTIL(c, qp, failed(c));
	cr_assert_eq(fake.flrs, 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_stuck, a_reset_that_does_not_end_has_the_function_reset)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result lost = { 0 };

	hold_two(c, qp, &lost);
	fake.stuck_ready = true;
	plx_nvme_ctrlr_reset(c);
	goes_on(c, qp, &lost);
	cr_assert_eq(fake.flrs, 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_stuck, registers_of_all_ones_are_no_removal_while_the_function_is_there)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result lost = { 0 };

	hold_two(c, qp, &lost);
	fake.gone = true;
	goes_on(c, qp, &lost);
	cr_assert_eq(fake.flrs, 1);
	fake.gone = fake.unplugged = true;
	UNTIL(c, qp, failed(c));
	cr_assert(strstr(plx_nvme_ctrlr_failure(c), "is gone"), "%s", plx_nvme_ctrlr_failure(c));
	cr_assert_eq(fake.flrs, 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_stuck, it_is_not_taken_for_useless_before_it_was_tried)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	uint64_t end = plx_tsc() + 5 * NVME_ALIVE_PERIOD_MS * c->tsc_ms;
	struct result lost = { 0 };

	hold_two(c, qp, &lost);
	fake.gone = true;
	/* its owner is busy with something else for longer than a look takes to come again */
	UNTIL(c, NULL, plx_tsc() > end && c->step == NVME_STEP_QUIESCE);
	cr_assert_eq(fake.flrs, 0);
	goes_on(c, qp, &lost);
	cr_assert_eq(fake.flrs, 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_stuck, a_failure_meanwhile_leaves_registers_alone)
{
	struct plx_nvme_ctrlr *c;

	put_into(4);
	fake.flr_hangs = true;
	c = plx_nvme_connect_start(&trid, &opts);
	UNTIL(c, NULL, c->step == NVME_STEP_FUNCTION_RESET && flr_under_way(c));
	fake.gone = false;
	fake.cc = 1;
	ctrlr_fail(c, -EIO, "fails");
	cr_assert_eq(fake.cc, 1, "written while the function is being reset");
	cr_assert(failed(c));
	plx_nvme_disconnect(c);
}

Test(nvme_stuck, nobody_waits_for_it_but_who_disconnects)
{
	struct plx_nvme_ctrlr *c;

	put_into(4);
	fake.flr_hangs = true;
	c = plx_nvme_connect_start(&trid, &opts);
	UNTIL(c, NULL, c->step == NVME_STEP_FUNCTION_RESET);
	turns(c, NULL, 10);
	cr_assert_eq(c->step, NVME_STEP_FUNCTION_RESET);
	plx_nvme_disconnect(c);
	cr_assert(!fake.open);
}
