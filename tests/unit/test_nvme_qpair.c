/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvme_qpair.c - queue pairs: life cycle, broken completions, timeouts, resets with
 * I/O in flight, retries
 */
#include "nvme_fixture.h"
#include <pollux/nvme_admin.h>

TestSuite(nvme_qpair, .init = setup, .fini = teardown, .timeout = 60);

/* ---- life cycle ---- */

Test(nvme_qpair, qpair_full_returns_eagain_and_takes_more_after_a_completion)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 4);
	struct result r = { 0 };

	cr_assert_eq(plx_nvme_qpair_depth(qp), 3);
	for (unsigned i = 0; i < 3; i++)
		submit(c, qp, i, &r);
	cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, buf, 0, 1, io_done, &r), -EAGAIN);
	cr_assert_eq(plx_nvme_qpair_outstanding(qp), 3);

	UNTIL(c, qp, r.calls == 3);
	cr_assert_eq(plx_nvme_qpair_outstanding(qp), 0);
	for (unsigned i = 0; i < 1000; i++) {
		submit(c, qp, i, &r);
		UNTIL(NULL, qp, r.calls == i + 4);
		cr_assert_eq(r.status, 0);
	}
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

/* ---- devices that memory alone does not reach ---- */

Test(nvme_qpair, doorbells_that_are_no_memory_are_rung_once_per_poll)
{
	fake.doorbells_by_call = true;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result r = { 0 };
	unsigned calls = fake.doorbell_calls;

	for (unsigned i = 0; i < 5; i++)
		submit(c, qp, i, &r);
	plx_nvme_qpair_poll(qp, 0);
	cr_assert_eq(fake.doorbell_calls, calls + 1, "what was submitted goes out with the poll");
	cr_assert_eq(fake.doorbells[2], 5);
	plx_nvme_qpair_poll(qp, 0);
	cr_assert_eq(fake.doorbell_calls, calls + 1, "nothing new");
	for (unsigned i = 0; i < 1000; i++) {
		UNTIL(c, qp, r.calls == i + 5);
		submit(c, qp, i, &r);
	}
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, qp, ready(c));
	submit(c, qp, 0, &r);
	UNTIL(c, qp, !plx_nvme_qpair_outstanding(qp));
	cr_assert_eq(r.status, 0, "after a reset they begin at 0 again");
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, a_device_that_asks_its_driver_is_polled_by_queue_pairs)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	unsigned polls = fake.polls;

	for (unsigned i = 0; i < 2 * NVME_HOUSEKEEP_POLLS; i++)
		plx_nvme_qpair_poll(qp, 0);
	cr_assert_eq(fake.polls, polls, "it has never asked");
	fake.dev.wants_poll = true;
	for (unsigned i = 0; i < 2 * NVME_HOUSEKEEP_POLLS; i++)
		plx_nvme_qpair_poll(qp, 0);
	cr_assert_eq(fake.polls, polls + 2, "now and then, while it does not pay");
	fake.poll_pays = true;
	for (unsigned i = 0; i < 2 * NVME_HOUSEKEEP_POLLS; i++)
		plx_nvme_qpair_poll(qp, 0);
	cr_assert_geq(fake.polls, polls + NVME_HOUSEKEEP_POLLS);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, qpairs_run_out_with_enospc_and_come_back)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp[FAKE_QUEUES - 1];

	for (unsigned i = 0; i < FAKE_QUEUES - 1; i++)
		qp[i] = make_qpair(c, 8);
	cr_assert_null(plx_nvme_qpair_create(c, NULL));
	cr_assert_eq(errno, ENOSPC);
	plx_nvme_qpair_destroy(qp[3]);
	qp[3] = make_qpair(c, 8);
	cr_assert_eq(plx_nvme_qpair_id(qp[3]), 4);
	for (unsigned i = 0; i < FAKE_QUEUES - 1; i++)
		plx_nvme_qpair_destroy(qp[i]);
	cr_assert_eq(fake_count(&fake, nvme_admin_delete_sq), FAKE_QUEUES);
	cr_assert_eq(fake_count(&fake, nvme_admin_delete_cq), FAKE_QUEUES);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, a_refused_submission_queue_takes_its_completion_queue_with_it)
{
	struct plx_nvme_ctrlr *c = connect_fake();

	fake.refuse = FAKE_ADMIN(nvme_admin_create_sq, 1);
	cr_assert_null(plx_nvme_qpair_create(c, NULL));
	cr_assert_eq(errno, EIO);
	cr_assert_eq(fake_count(&fake, nvme_admin_delete_cq), 1);
	fake.refuse = -1;
	plx_nvme_qpair_destroy(make_qpair(c, 8));
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, destroy_calls_back_what_is_outstanding)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result done = { 0 }, lost = { 0 };

	fake.hold_io = true;
	submit(c, qp, 1, &done);
	submit(c, qp, 2, &lost);
	UNTIL(c, qp, fake.n_held == 2);
	fake_complete(&fake, 0, 0);
	plx_nvme_qpair_destroy(qp);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status, 0, "it had been completed before the queue went");
	cr_assert_eq(lost.calls, 1);
	cr_assert_eq(lost.status, NVME_SC_ABORT_QUEUE);
	plx_nvme_disconnect(c);
}

static void submit_again(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_qpair *qp = *(struct plx_nvme_qpair **)arg;

	cr_assert_eq(plx_nvme_flush(plx_nvme_ctrlr_ns(qp->ctrlr, 1), qp, submit_again, arg),
		     -ENXIO);
}

Test(nvme_qpair, callbacks_of_destroy_cannot_submit)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	fake.hold_io = true;
	cr_assert_eq(plx_nvme_flush(plx_nvme_ctrlr_ns(c, 1), qp, submit_again, &qp), 0);
	UNTIL(c, qp, fake.n_held == 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

static void poll_only(struct plx_nvme_ctrlr *c, _Atomic bool *stop)
{
	uint64_t end = plx_tsc() + 5 * plx_tsc_hz();

	while (!*stop) {
		cr_assert(plx_tsc() < end, "the other thread is not done");
		plx_nvme_ctrlr_poll(c);
		plx_thread_poll(thread);
	}
}

struct other {
	struct plx_nvme_ctrlr *c;
	_Atomic bool stop;
	unsigned made;
};

static void *make_and_destroy(void *arg)
{
	struct other *o = arg;

	for (unsigned i = 0; i < 50; i++) {
		struct plx_nvme_qpair *qp = plx_nvme_qpair_create(o->c, NULL);

		if (!qp)
			break;
		o->made++;
		plx_nvme_qpair_destroy(qp);
	}
	o->stop = true;
	return NULL;
}

Test(nvme_qpair, other_threads_create_and_destroy_qpairs_while_the_owner_polls)
{
	struct other o = { .c = connect_fake() };
	pthread_t t;

	pthread_create(&t, NULL, make_and_destroy, &o);
	poll_only(o.c, &o.stop);
	pthread_join(t, NULL);
	cr_assert_eq(o.made, 50);
	plx_nvme_disconnect(o.c);
}

/* ---- broken completions ---- */

Test(nvme_qpair, a_completion_of_an_unknown_identifier_resets)
{
	static const uint16_t bad[] = { 0xffff, 2 };
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		fake_post(&fake, 1, bad[i], 0, 0, false);
		UNTIL(c, qp, resets(c) == i + 1 && ready(c));
	}
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, unknown_admin_completions_while_connecting_fail)
{
	struct plx_nvme_ctrlr *c = plx_nvme_connect_start(&trid, &opts);

	fake.silent = FAKE_ADMIN(6, 1);
	UNTIL(c, NULL, fake_count(&fake, nvme_admin_identify));
	fake_post(&fake, 0, 40, 0, 0, false);
	UNTIL(c, NULL, failed(c));
	cr_assert(strstr(plx_nvme_ctrlr_failure(c),
			 "completes admin commands that it was not given"),
		  "%s", plx_nvme_ctrlr_failure(c));
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, an_entry_with_the_wrong_phase_is_not_there)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result r = { 0 };

	fake.hold_io = true;
	submit(c, qp, 1, &r);
	UNTIL(c, qp, fake.n_held == 1);
	fake_post(&fake, 1, fake.held[0].cid, 0, 0, true);
	turns(c, qp, 100);
	cr_assert_eq(r.calls, 0);
	fake_complete(&fake, 0, 0);
	UNTIL(c, qp, r.calls == 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

/* ---- timeouts ---- */

Test(nvme_qpair, a_command_that_hangs_is_aborted)
{
	struct plx_nvme_ctrlr_stats s;
	struct result r = { 0 };

	opts.timeout_action = PLX_NVME_TIMEOUT_ABORT;
	opts.timeout_ms = 20;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	fake.hold_io = true;
	submit(c, qp, 1, &r);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(r.status, NVME_SC_ABORT_REQ);
	UNTIL(c, qp, (plx_nvme_ctrlr_get_stats(c, &s), s.aborts_ok == 1));
	cr_assert_eq(s.aborts_sent, 1);
	cr_assert_eq(s.timeouts, 1);
	cr_assert_eq(s.resets, 0);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, a_command_that_outlives_its_abort_leads_to_a_reset)
{
	struct plx_nvme_ctrlr_stats s;
	struct result hung = { 0 }, next = { 0 };

	opts.timeout_action = PLX_NVME_TIMEOUT_ABORT;
	opts.timeout_ms = 20;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	fake.hold_io = fake.ignore_abort = true;
	submit(c, qp, 1, &hung);
	UNTIL(c, qp, hung.calls == 1);
	cr_assert_eq(hung.status, NVME_SC_ABORT_QUEUE);
	fake.hold_io = false;
	UNTIL(c, qp, ready(c));
	plx_nvme_ctrlr_get_stats(c, &s);
	cr_assert_eq(s.resets, 1);
	cr_assert_eq(s.aborts_sent, 1);
	cr_assert_eq(s.aborts_ok, 0);
	cr_assert_eq(s.timeouts, 2);
	cr_assert_eq(s.failed_ios, 1);
	UNTIL(c, qp, qp->state == NVME_QP_LIVE);
	submit(c, qp, 2, &next);
	UNTIL(c, qp, next.calls == 1);
	cr_assert_eq(next.status, 0);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, the_reset_action_does_not_abort_first)
{
	struct result r = { 0 };

	opts.timeout_action = PLX_NVME_TIMEOUT_RESET;
	opts.timeout_ms = 20;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	fake.hold_io = true;
	submit(c, qp, 1, &r);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(fake.aborts, 0);
	cr_assert_eq(resets(c), 1);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, an_admin_command_that_hangs_leads_to_a_reset)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_features, .cdw10 = 2 };
	struct plx_nvme_cpl cpl;

	fake.silent = FAKE_ADMIN(nvme_admin_get_features, 2);
	cr_assert_eq(plx_nvme_admin_sync(c, &cmd, NULL, 0, &cpl), -ETIMEDOUT);
	cr_assert_eq(resets(c), 1);
	UNTIL(c, NULL, ready(c));
	fake.silent = -1;
	cr_assert_eq(plx_nvme_admin_sync(c, &cmd, NULL, 0, &cpl), 0);
	cr_assert_eq(cpl.dw0, 0x1234);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, event_requests_never_time_out)
{
	opts.admin_timeout_ms = 20;

	struct plx_nvme_ctrlr *c = connect_fake();
	uint64_t end = plx_tsc() + plx_tsc_hz() / 5;

	UNTIL(c, NULL, plx_tsc() > end);
	cr_assert_eq(fake.n_aers, 4);
	cr_assert_eq(resets(c), 0);
	plx_nvme_disconnect(c);
}

/* ---- reset with I/O in flight ---- */

Test(nvme_qpair, reset_fails_outstanding_io_and_goes_on)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *a = make_qpair(c, 8), *b = make_qpair(c, 16);
	struct result r = { 0 };

	fake.hold_io = true;
	for (unsigned i = 0; i < 5; i++)
		submit(c, a, i, &r);
	UNTIL(c, a, fake.n_held == 5);
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	cr_assert_eq(plx_nvme_ctrlr_reset(c), -EBUSY);
	UNTIL(c, a, (plx_nvme_qpair_poll(b, 0), ready(c) && r.calls == 5));
	cr_assert_eq(r.status, NVME_SC_ABORT_QUEUE);
	cr_assert_eq(fake.enables, 2);
	UNTIL(c, a, fake.n_aers == 4);

	fake.hold_io = false;
	r = (struct result){ 0 };
	for (unsigned i = 0; i < 100; i++) {
		turns(c, a, 1);
		submit(c, a, i, &r);
		UNTIL(c, a, r.calls == i + 1);
		cr_assert_eq(r.status, 0);
	}
	plx_nvme_qpair_destroy(a);
	plx_nvme_qpair_destroy(b);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, submissions_during_a_reset_get_eagain)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	struct result r = { 0 };

	submit(c, qp, 0, &r);
	UNTIL(c, qp, r.calls == 1);
	plx_nvme_ctrlr_reset(c);
	plx_nvme_qpair_poll(qp, 0);
	cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, buf, 0, 1, io_done, &r), -EAGAIN);
	cr_assert_eq(plx_nvme_qpair_outstanding(qp), 0);
	UNTIL(c, qp, ready(c));
	turns(c, qp, 1);
	submit(c, qp, 0, &r);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, reset_resubmits_outstanding_io_when_asked_to)
{
	struct plx_nvme_qpair_stats s;
	struct result r = { 0 };

	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	fake.hold_io = true;
	for (unsigned i = 0; i < 7; i++)
		submit(c, qp, 100 + i, &r);
	UNTIL(c, qp, fake.n_held == 7);
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, qp, fake.enables == 2 && fake.n_held == 7);
	cr_assert_eq(r.calls, 0);
	for (unsigned want = 0; want < 7; want++) {
		unsigned found = 0;

		for (unsigned i = 0; i < 7; i++)
			found += fake.held[i].slba == 100 + want;
		cr_assert_eq(found, 1);
	}
	while (fake.n_held)
		fake_complete(&fake, 0, 0);
	UNTIL(c, qp, r.calls == 7);
	cr_assert_eq(r.status, 0);
	plx_nvme_qpair_get_stats(qp, &s);
	cr_assert_eq(s.retries, 7);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

static unsigned ios_at_scan;

static uint16_t note_scan(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw)
{
	if (cmd->opc == nvme_admin_identify &&
	    (cmd->cdw10 & 0xff) == NVME_IDENTIFY_CNS_NS_ACTIVE_LIST)
		ios_at_scan = f->ios;
	return FAKE_NOT_MINE;
}

Test(nvme_qpair, resubmission_waits_until_the_namespaces_have_been_looked_at)
{
	struct result r = { 0 };

	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	fake.hold_io = true;
	submit(c, qp, 1, &r);
	UNTIL(c, qp, fake.n_held == 1);
	fake.admin_hook = note_scan;
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, qp, fake.enables == 2 && fake.n_held == 1);
	cr_assert_eq(ios_at_scan, 1, "the one before the reset");
	fake_complete(&fake, 0, 0);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(r.status, 0);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

static void goes(void)
{
	fake.ns[1].nsze = 0;
}

static void gets_larger_blocks(void)
{
	fake.ns[1].lbaf[0].ds = 12;
}

static void is_another(void)
{
	fake.ns[1].nguid[3] = 7;
}

static void shrinks(void)
{
	fake.ns[1].nsze = 101;
}

static void shrinks_to_less(void)
{
	fake.ns[1].nsze = 2;
}

static void grows(void)
{
	fake.ns[1].nsze = 2000;
}

Test(nvme_qpair, what_was_for_a_namespace_that_has_changed_fails_after_a_reset)
{
	static const struct {
		void (*change)(void);
		uint16_t status; /* of four blocks at 98; 0: submitted again */
	} cases[] = {
		{ goes, NVME_SC_INVALID_NS | PLX_NVME_DNR },
		{ gets_larger_blocks, NVME_SC_INVALID_NS | PLX_NVME_DNR },
		{ is_another, NVME_SC_INVALID_NS | PLX_NVME_DNR },
		{ shrinks, NVME_SC_LBA_RANGE | PLX_NVME_DNR },
		{ shrinks_to_less, NVME_SC_LBA_RANGE | PLX_NVME_DNR },
		{ grows, 0 },
	};

	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		struct result first = { 0 }, second = { 0 };
		struct plx_nvme_ctrlr *c;
		struct plx_nvme_qpair *qp;
		unsigned ios;

		fake_init(&fake);
		fake.ns[2] = fake.ns[1];
		c = connect_fake();
		qp = make_qpair(c, 8);
		fake.hold_io = true;
		submit(c, qp, 0, &second); /* makes the buffer; block 0 is always there */
		fake_turn(&fake);
		cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, buf, 98, 4, io_done,
					   &first),
			     0);
		cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 2), qp, buf, 98, 4, io_done,
					   &second),
			     0);
		UNTIL(c, qp, fake.n_held == 3);
		fake_complete(&fake, 0, 0);
		UNTIL(c, qp, second.calls == 1);
		ios = fake.ios;
		cases[i].change();
		plx_nvme_ctrlr_reset(c);
		UNTIL(c, qp, fake.enables == 2 && fake.ios == ios + 1 + !cases[i].status);
		cr_expect_eq(first.calls, cases[i].status != 0, "case %u", i);
		cr_expect_eq(first.status, cases[i].status, "case %u: %x", i, first.status);
		while (fake.n_held)
			fake_complete(&fake, 0, 0);
		UNTIL(c, qp, first.calls == 1 && second.calls == 2);
		cr_expect_eq(second.status, 0);
		plx_nvme_qpair_destroy(qp);
		plx_nvme_disconnect(c);
	}
}

Test(nvme_qpair, commands_for_a_namespaces_new_format_survive_a_reset)
{
	struct result r = { 0 };

	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	gets_larger_blocks();
	plx_nvme_ctrlr_rescan(c);
	plx_nvme_ctrlr_reset(c); /* from here on no command of the old format can be outstanding */
	UNTIL(c, qp, ready(c) && qp->state == NVME_QP_LIVE);
	cr_assert_eq(plx_nvme_ns_block_size(plx_nvme_ctrlr_ns(c, 1)), 4096);
	fake.hold_io = true;
	submit(c, qp, 1, &r);
	UNTIL(c, qp, fake.n_held == 1);
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, qp, fake.enables == 3 && fake.n_held == 1);
	cr_assert_eq(r.calls, 0);
	fake_complete(&fake, 0, 0);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(r.status, 0);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

/* A command of before the namespace became another one, left alone, tried again in each epoch, or
 * to be aborted; or one of after that */
enum age { OLD, OLD_RETRIED, OLD_ABORTED, NEW };

/* Whether @n epochs have gone by since @from */
static bool epochs_go_by(struct plx_nvme_qpair *qp, enum age age, uint32_t from, uint32_t n)
{
	static uint32_t seen;

	if (age == OLD_RETRIED && qp->epoch != seen && fake.n_held)
		fake_complete(&fake, 0, NVME_SC_NS_NOT_READY);
	seen = qp->epoch;
	return qp->epoch - from > n;
}

/* Some epochs go by. What was outstanding before the namespace became another one stays of the old
 * one; what is submitted in the last epoch is of the new one. */
static void another_at_the_same_place(enum age age, uint16_t status)
{
	struct result r = { 0 };

	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;
	opts.timeout_ms = 40;
	opts.retry_count = 100;
	if (age == OLD_ABORTED)
		opts.timeout_action = PLX_NVME_TIMEOUT_ABORT;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	uint32_t scan = c->ns_scanned;

	fake.hold_io = fake.ignore_abort = true;
	if (age != NEW)
		submit(c, qp, 1, &r);
	is_another();
	plx_nvme_ctrlr_rescan(c);
	UNTIL(c, qp, c->ns_scanned != scan);
	scan = qp->epoch;
	UNTIL(c, qp, epochs_go_by(qp, age, scan, NVME_EPOCHS + 2));
	cr_assert_eq(fake.aborts, age == OLD_ABORTED);
	if (age == NEW)
		submit(c, qp, 1, &r);
	UNTIL(c, qp, fake.n_held == 1);
	cr_assert_eq(r.calls, 0, "without timeouts it waits for ever");
	plx_nvme_ctrlr_reset(c);
	UNTIL(c, qp, ready(c) && fake.enables == 2 && fake.n_held + r.calls == 1);
	if (fake.n_held)
		fake_complete(&fake, 0, 0);
	UNTIL(c, qp, r.calls == 1);
	cr_expect_eq(r.status, status, "%x", r.status);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, commands_for_a_namespace_that_took_anothers_place_survive_a_reset)
{
	another_at_the_same_place(NEW, 0);
}

Test(nvme_qpair, commands_for_what_was_in_a_namespaces_place_do_not_however_old_they_are)
{
	another_at_the_same_place(OLD, NVME_SC_INVALID_NS | PLX_NVME_DNR);
}

Test(nvme_qpair, commands_for_what_was_in_a_namespaces_place_do_not_however_often_tried_again)
{
	another_at_the_same_place(OLD_RETRIED, NVME_SC_INVALID_NS | PLX_NVME_DNR);
}

Test(nvme_qpair, commands_for_what_was_in_a_namespaces_place_do_not_when_they_are_to_be_aborted)
{
	another_at_the_same_place(OLD_ABORTED, NVME_SC_INVALID_NS | PLX_NVME_DNR);
}

Test(nvme_qpair, resubmission_ends_after_retry_count_resets)
{
	struct result r = { 0 };

	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;
	opts.retry_count = 2;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	fake.hold_io = true;
	submit(c, qp, 1, &r);
	for (unsigned i = 0; i < 3; i++) {
		UNTIL(c, qp, fake.n_held == 1);
		cr_assert_eq(r.calls, 0);
		plx_nvme_ctrlr_reset(c);
		UNTIL(c, qp, ready(c) && fake.enables == i + 2);
	}
	cr_assert_eq(r.calls, 1);
	cr_assert_eq(r.status, NVME_SC_ABORT_QUEUE);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, destroy_during_a_reset_waits_until_the_controller_is_disabled)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *a = make_qpair(c, 8), *b = make_qpair(c, 8);
	struct result r = { 0 };

	fake.hold_io = true;
	submit(c, a, 1, &r);
	UNTIL(c, a, fake.n_held == 1);
	plx_nvme_ctrlr_reset(c);
	plx_nvme_qpair_destroy(a);
	cr_assert_eq(r.calls, 1);
	cr_assert_eq(r.status, NVME_SC_ABORT_QUEUE);
	cr_assert(!fake.q[1].sq_live);
	UNTIL(c, b, ready(c));
	cr_assert(fake.q[2].sq_live);
	plx_nvme_qpair_destroy(b);
	plx_nvme_disconnect(c);
}

/* ---- retries ---- */

static void set_statuses(unsigned n, const uint16_t *st)
{
	memcpy(fake.io_status, st, n * sizeof(*st));
	fake.io_statuses = n;
	fake.io_at = 0;
	fake.ios = 0;
}

Test(nvme_qpair, what_may_succeed_is_tried_again)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 2);
	struct plx_nvme_qpair_stats s;
	struct result r = { 0 };

	set_statuses(3, (uint16_t[]){ NVME_SC_INTERNAL, 0x281, NVME_SC_NS_NOT_READY });
	submit(c, qp, 1, &r);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(r.status, 0);
	cr_assert_eq(fake.ios, 4);
	plx_nvme_qpair_get_stats(qp, &s);
	cr_assert_eq(s.retries, 3);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, what_cannot_succeed_is_not_tried_again)
{
	static const uint16_t st[] = {
		NVME_SC_INTERNAL | PLX_NVME_DNR,
		NVME_SC_INVALID_FIELD,
		NVME_SC_ABORT_REQ,
		NVME_SC_ABORT_QUEUE,
		0x285,
		NVME_SC_LBA_RANGE,
	};
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(st); i++) {
		struct result r = { 0 };

		set_statuses(1, &st[i]);
		submit(c, qp, 1, &r);
		UNTIL(c, qp, r.calls == 1);
		cr_expect_eq(r.status, st[i]);
		cr_expect_eq(fake.ios, 1);
	}
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, retries_end_after_retry_count)
{
	struct result r = { 0 };

	opts.retry_count = 2;

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);

	set_statuses(5, (uint16_t[]){ 0x281, 0x281, 0x281, 0x281, 0x281 });
	submit(c, qp, 1, &r);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(r.status, 0x281);
	cr_assert_eq(fake.ios, 3);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}

Test(nvme_qpair, the_delay_a_controller_asks_for_is_honoured)
{
	struct result r = { 0 };

	fake.id.crdt2 = 1; /* 100 ms */
	opts.timeout_action = PLX_NVME_TIMEOUT_RESET;
	opts.timeout_ms = 20; /* a command that waits is not late */

	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 8);
	uint64_t start = plx_tsc();

	set_statuses(1, (uint16_t[]){ NVME_SC_CMD_INTERRUPTED | 2 << 11 });
	submit(c, qp, 1, &r);
	UNTIL(c, qp, r.calls == 1);
	cr_assert_eq(r.status, 0);
	cr_assert_eq(fake.ios, 2);
	cr_assert_geq(plx_tsc() - start, plx_tsc_hz() / 10);
	cr_assert_eq(resets(c), 0);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
}
