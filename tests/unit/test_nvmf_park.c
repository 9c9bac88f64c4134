/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_park.c - queues whose memory is unmapped and mapped again, at the same or
 * another local address or as remote memory (targets/nvmf/park.c)
 */
#include "targets/nvmf/remote_internal.h"
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>
#include <sys/mman.h>

#define P  PLX_PAGE_SIZE
#define QD 16u

static struct host h;
static char *buf;
static char *elsewhere[2]; /* as large as the arena, and used like it */

static void start(void)
{
	cr_assert_eq(host_init(&h, &(struct host_opts){ .error = true }), 0);
	buf = host_alloc(&h, P, P);
	for (int i = 0; i < 2; i++) {
		elsewhere[i] = mmap(NULL, HOST_ARENA, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		cr_assert_neq((void *)elsewhere[i], MAP_FAILED);
	}
	cr_assert_eq(host_create_queue(&h, 1, QD), 0);
}

static void stop(void)
{
	host_fini(&h);
	for (int i = 0; i < 2; i++)
		munmap(elsewhere[i], HOST_ARENA);
}

TestSuite(park, .init = start, .fini = stop);

/* ---- memory that comes and goes ---- */

enum kind {
	ARENA,
	ELSEWHERE,
	THIRD,
	REMOTE,
	KINDS,
};

/* One ring: where it is in the host's address space, and the host's pointer to it */
struct ring {
	uint64_t iova;
	size_t len;
	char **at;
};

static struct ring sq_ring(uint16_t qid)
{
	struct nvmf_sq *sq = h.fn.sqs[qid];

	return (struct ring){ sq->prp, (sq->size * 64 + P - 1) & ~(P - 1ul),
			      (char **)&h.q[qid].sqes };
}

static struct ring cq_ring(uint16_t qid)
{
	struct nvmf_cq *cq = h.fn.cqs[qid];

	return (struct ring){ cq->prp, (cq->size * 16 + P - 1) & ~(P - 1ul),
			      (char **)&h.q[qid].cqes };
}

/* What is left behind is of no use: whoever still looks there fails */
static void give(struct ring r, enum kind kind)
{
	char *base = kind == ARENA || kind == REMOTE ? h.arena : elsewhere[kind - ELSEWHERE];
	char *to = base + (r.iova - HOST_IOVA);

	if (to != *r.at) {
		memcpy(to, *r.at, r.len);
		memset(*r.at, 0xa5, r.len);
		*r.at = to;
	}
	if (kind == REMOTE)
		cr_assert_eq(nvmf_fn_dma_map_remote(&h.fn, r.iova, r.len, NVMF_DMA_RW), 0);
	else
		cr_assert_eq(nvmf_fn_dma_map(&h.fn, r.iova, to, r.len), 0);
}

static void take(struct ring r)
{
	nvmf_fn_revoke(&h.fn, r.iova, r.len);
}

static bool is_fatal(void *arg)
{
	return nvmf_fn_is_fatal(&h.fn);
}

static bool time_is_up(void *arg)
{
	return plx_tsc() > *(uint64_t *)arg;
}

/* Longer than the patience of the controller */
static void wait_long(void)
{
	uint64_t until = plx_tsc() + plx_tsc_hz() * 5 / 4;

	cr_assert(host_poll(&h, time_is_up, &until));
}

static void quiet_io(uint16_t qid)
{
	struct plx_nvme_cmd cmd = { .opc = qid ? nvme_cmd_flush : nvme_admin_keep_alive,
				    .nsid = qid ? h.nsid : 0 };
	struct plx_nvme_cpl cpl = host_io(&h, qid, &cmd);

	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(cpl.sqid, qid);
	cr_assert_eq(cpl.sqhd, h.q[qid].sq_tail);
}

static void expect_fatal_until_reset(void)
{
	cr_assert_not(is_fatal(NULL), "at once");
	cr_assert(host_poll(&h, is_fatal, NULL));
	nvmf_fn_dma_unmap(&h.fn, HOST_IOVA, HOST_ARENA);
	cr_assert_eq(nvmf_fn_dma_map(&h.fn, HOST_IOVA, h.arena, HOST_ARENA), 0);
	host_idle(&h);
	cr_assert(is_fatal(NULL));
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
	cr_assert_eq(host_create_queue(&h, 1, QD), 0);
	quiet_io(1);
}

/* ---- idle ---- */

/* All queues, the admin queue too, at each place of their rings: the phase turns 20 times */
Test(park, idle_queues_go_on_wherever_their_memory_comes_back)
{
	cr_assert_eq(host_create_queue(&h, 2, QD), 0);
	cr_assert_eq(host_create_queue(&h, 3, 5), 0);
	for (uint32_t turn = 0; turn < 20 * QD; turn++) {
		struct ring r[8];

		for (uint16_t qid = 0; qid <= 3; qid++) {
			quiet_io(qid);
			r[2 * qid] = sq_ring(qid);
			r[2 * qid + 1] = cq_ring(qid);
		}
		host_idle(&h);
		for (int i = 0; i < 8; i++)
			take(r[i]);
		host_idle(&h);
		cr_assert_eq(h.fn.nactive, 0);
		for (uint32_t i = 0; i < 8; i++)
			give(r[i], (turn / 5 + i * (turn + 1)) % KINDS);
		plx_thread_poll(h.thread);
		cr_assert_eq(h.fn.nactive, 4);
		cr_assert_eq(h.fn.active[0]->qid, 0);
		cr_assert_not(h.fn.parked);
	}
	cr_expect_not(is_fatal(NULL));
}

Test(park, idle_queues_may_wait_for_long)
{
	struct ring r[4] = { sq_ring(0), cq_ring(0), sq_ring(1), cq_ring(1) };

	for (int i = 0; i < 4; i++)
		take(r[i]);
	wait_long();
	cr_assert_not(is_fatal(NULL));
	for (int i = 0; i < 4; i++)
		give(r[i], ELSEWHERE);
	quiet_io(0);
	quiet_io(1);
}

Test(park, others_go_on_meanwhile)
{
	struct ring r;

	cr_assert_eq(host_create_queue(&h, 2, QD), 0);
	r = sq_ring(1);
	take(r);
	for (uint32_t i = 0; i < 3 * QD; i++)
		quiet_io(2);
	give(r, ARENA);
	quiet_io(1);
	r = sq_ring(0);
	take(r);
	quiet_io(1);
	give(r, ELSEWHERE);
	quiet_io(0);
	cr_expect_eq(h.fn.active[0]->qid, 0);
}

/* Page by page and in any order; each is a region of its own until its neighbours are there */
Test(park, memory_comes_back_in_several_regions)
{
	for (int kind = ELSEWHERE; kind < KINDS; kind++) {
		struct ring r;

		cr_assert_eq(host_create_queue(&h, 2, 200), 0);
		r = sq_ring(2);
		cr_assert_eq(r.len, 4 * P);
		for (int i = 0; i < 150; i++)
			quiet_io(2);
		take((struct ring){ r.iova + P, 1, NULL }); /* a byte is as good as all of it */
		take(r);
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t page = (i * 2 + i / 2) % 4;
			char *at = *r.at + page * P;

			cr_assert_eq(h.fn.sqs[2]->parked, 1);
			give((struct ring){ r.iova + page * P, P, &at }, kind);
			host_idle(&h);
		}
		cr_assert_eq(h.fn.sqs[2]->parked, 0);
		*r.at = kind == REMOTE ? h.arena + (r.iova - HOST_IOVA)
				       : elsewhere[kind - ELSEWHERE] + (r.iova - HOST_IOVA);
		for (int i = 0; i < 150; i++)
			quiet_io(2);
		cr_assert_eq(host_delete_queue(&h, 2), 0);
	}
}

/* What is there of the ring in remote memory is not read before the rest is */
Test(park, a_part_is_not_enough)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
	struct plx_nvme_cpl cpl;
	struct ring r, last;
	uint64_t reads;
	char *at;

	cr_assert_eq(host_create_queue(&h, 2, 200), 0);
	r = sq_ring(2);
	take(r);
	give(r, REMOTE);
	quiet_io(2);
	host_idle(&h);
	at = *r.at + 3ul * P;
	last = (struct ring){ r.iova + 3ul * P, P, &at };
	take(last);
	reads = h.remote.reads;
	host_submit(&h, 2, &cmd);
	host_idle(&h);
	cr_expect_eq(h.fn.sqs[2]->head, 1);
	cr_expect_eq(h.remote.reads, reads);
	cr_expect_not(host_reap(&h, 2, &cpl));
	give(last, REMOTE);
	cpl = host_wait(&h, 2);
	cr_expect_eq(host_status(&cpl), 0);
}

/* ---- not quite idle ---- */

/* Rung before: what was not fetched is in the memory that went away */
Test(park, commands_submitted_before_are_read_after)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };

	for (int kind = 0; kind < KINDS; kind++) {
		struct ring r = sq_ring(1);
		struct plx_nvme_cpl cpl;

		host_idle(&h);
		for (int i = 0; i < 10; i++)
			host_push(&h, 1, &cmd);
		host_ring(&h, 1);
		take(r);
		wait_long();
		cr_assert_not(host_reap(&h, 1, &cpl));
		cr_assert_not(is_fatal(NULL));
		give(r, kind);
		for (int i = 0; i < 10; i++) {
			cpl = host_wait(&h, 1);
			cr_assert_eq(host_status(&cpl), 0);
			cr_assert_eq(cpl.cid, kind * 10 + i);
		}
	}
}

Test(park, a_doorbell_that_moves_finds_the_memory_in_time)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
	struct ring r = sq_ring(1);
	struct plx_nvme_cpl cpl;

	take(r);
	host_submit(&h, 1, &cmd);
	host_idle(&h);
	cr_assert_not(is_fatal(NULL));
	give(r, ELSEWHERE);
	cpl = host_wait(&h, 1);
	cr_assert_eq(host_status(&cpl), 0);
}

Test(park, a_doorbell_that_moves_is_fatal_without_the_memory)
{
	for (int kind = ARENA; kind <= REMOTE; kind += REMOTE) {
		struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
		struct ring r = sq_ring(1);

		take(r);
		give(r, kind);
		quiet_io(1);
		host_idle(&h);
		take(r);
		host_submit(&h, 1, &cmd);
		host_idle(&h);
		expect_fatal_until_reset();
	}
}

Test(park, admin_doorbell_that_moves_is_fatal_without_the_memory)
{
	take(sq_ring(0));
	host_submit(&h, 0, &(struct plx_nvme_cmd){ .opc = nvme_admin_keep_alive });
	host_idle(&h);
	expect_fatal_until_reset();
}

Test(park, completions_wait_for_the_memory_of_their_queue)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };

	for (int kind = 0; kind < 2 * KINDS; kind++) {
		struct ring r = cq_ring(1);
		struct plx_nvme_cpl cpl;

		host_idle(&h);
		take(r);
		for (int i = 0; i < 5; i++)
			host_submit(&h, 1, &cmd);
		host_idle(&h);
		cr_assert_eq(h.fn.sqs[1]->head, h.q[1].sq_tail, "fetched");
		cr_assert_not(host_reap(&h, 1, &cpl));
		give(r, kind % KINDS);
		for (int i = 0; i < 5; i++) {
			cpl = host_wait(&h, 1);
			cr_assert_eq(host_status(&cpl), 0);
			cr_assert_eq(cpl.cid, kind * 5 + i);
		}
	}
}

Test(park, completions_that_wait_for_long_are_fatal)
{
	take(cq_ring(1));
	host_submit(&h, 1, &(struct plx_nvme_cmd){ .opc = nvme_cmd_flush, .nsid = h.nsid });
	host_idle(&h);
	expect_fatal_until_reset();
}

/* A command that was under execution when the memory went away */
Test(park, a_late_completion_finds_the_memory_elsewhere)
{
	struct plx_bdev_error_rule rule = { .kind = PLX_BDEV_ERR_HANG,
					    .types = 1u << PLX_BDEV_READ,
					    .nth = 1 };
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = h.nsid };
	struct ring s = sq_ring(1), c = cq_ring(1);
	struct plx_nvme_cpl cpl;

	cr_assert_eq(plx_bdev_error_inject("host0", &rule), 0);
	host_prp(&h, &cmd, buf, 512);
	host_submit(&h, 1, &cmd);
	host_idle(&h);
	take(s);
	take(c);
	wait_long();
	cr_assert_not(is_fatal(NULL));
	give(s, THIRD);
	give(c, ELSEWHERE);
	cr_assert(nvmf_fn_abort(&h.fn, 1, 0));
	cpl = host_wait(&h, 1);
	cr_expect_eq(host_status(&cpl), NVMF_ST(NVME_SC_ABORT_REQ));
	quiet_io(1);
}

/* Completions that no room was made for do not wait for memory */
Test(park, a_full_completion_queue_is_not_in_use)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
	struct plx_nvme_cpl cpl;
	struct ring c;

	cr_assert_eq(host_create_cq(&h, 2, 4), 0);
	h.q[2].sqes = host_alloc(&h, P, P);
	h.q[2].sq_size = 16;
	cr_assert_eq(host_create_sq(&h, 2, 16, 2), 0);
	for (int i = 0; i < 10; i++)
		host_push(&h, 2, &cmd);
	host_ring(&h, 2);
	host_idle(&h);
	c = cq_ring(2);
	take(c);
	wait_long();
	cr_assert_not(is_fatal(NULL));
	give(c, THIRD);
	for (int i = 0; i < 10; i++) {
		cpl = host_wait(&h, 2);
		cr_assert_eq(host_status(&cpl), 0);
		cr_assert_eq(cpl.cid, i);
	}
}

/* ---- between messages and mapped memory ---- */

static int refuse(void *arg, const struct host_message *m)
{
	return -14;
}

/* Of a transfer under way the answer is awaited, which may be no */
static void move_while_busy(bool refused, enum kind kind)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
	struct ring s = sq_ring(1), c = cq_ring(1);

	for (int turns = 0; turns < 30; turns++) {
		uint16_t first = h.q[1].next_cid;

		take(s);
		take(c);
		give(s, REMOTE);
		give(c, REMOTE);
		for (int i = 0; i < 9; i++)
			host_push(&h, 1, &cmd);
		host_ring(&h, 1);
		for (int i = 0; i < turns; i++)
			plx_thread_poll(h.thread);
		h.remote.held = true;
		host_idle(&h);
		take(s);
		take(c);
		h.remote.fault = refused ? refuse : NULL;
		h.remote.held = false;
		while (nvmf_fn_remote_busy(&h.fn, HOST_IOVA, HOST_ARENA))
			plx_thread_poll(h.thread);
		h.remote.fault = NULL;
		host_idle(&h);
		give(s, kind);
		give(c, kind);
		for (int i = 0; i < 9; i++) {
			struct plx_nvme_cpl cpl = host_wait(&h, 1);

			cr_assert_eq(host_status(&cpl), 0);
			cr_assert_eq(cpl.cid, (uint16_t)(first + i));
		}
	}
	cr_assert_not(is_fatal(NULL));
}

Test(park, transfers_under_way_end_first)
{
	move_while_busy(false, ELSEWHERE);
	move_while_busy(false, REMOTE);
}

Test(park, transfers_that_the_host_refuses_are_repeated)
{
	move_while_busy(true, ARENA);
	move_while_busy(true, REMOTE);
}

/* Mapped while the message has not come back: later than that */
Test(park, memory_that_is_back_before_the_message)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
	struct ring s = sq_ring(1), c = cq_ring(1);
	struct plx_nvme_cpl cpl;

	take(s);
	give(s, ARENA);
	take(c);
	give(c, REMOTE);
	host_submit(&h, 1, &cmd);
	h.remote.held = true;
	host_idle(&h);
	cr_assert(nvmf_fn_remote_busy(&h.fn, c.iova, c.len));
	host_submit(&h, 1, &cmd);
	host_idle(&h);
	take(c);
	give(c, ARENA);
	host_idle(&h);
	cr_assert_eq(h.fn.cqs[1]->parked, 1);
	h.remote.held = false;
	for (int i = 0; i < 2; i++) {
		cpl = host_wait(&h, 1);
		cr_assert_eq(host_status(&cpl), 0);
		cr_assert_eq(cpl.cid, i);
	}
	host_idle(&h);
	cr_expect_eq(h.fn.cqs[1]->parked, 0);
	cr_expect_null(h.fn.cqs[1]->remote);
}

/* ---- the end of parked queues ---- */

Test(park, reset)
{
	for (int kind = ARENA; kind <= REMOTE; kind += REMOTE) {
		for (int what = 0; what < 3; what++) {
			struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
			struct ring s = sq_ring(1), c = cq_ring(1);

			take(s);
			take(c);
			give(s, kind);
			give(c, kind);
			quiet_io(1);
			host_idle(&h);
			if (what)
				take(c);
			host_submit(&h, 1, &cmd);
			host_idle(&h);
			if (what != 1)
				take(s);
			cr_assert_eq(host_disable(&h), 0);
			cr_assert_not(h.fn.parked);
			cr_assert_eq(host_enable(&h), 0);
			cr_assert_eq(host_create_queue(&h, 1, QD), 0);
			quiet_io(1);
		}
	}
}

Test(park, delete)
{
	struct ring s = sq_ring(1), c = cq_ring(1);

	take(s);
	take(c);
	cr_assert_eq(host_delete_queue(&h, 1), 0);
	give((struct ring){ s.iova, s.len, &(char *){ h.arena + (s.iova - HOST_IOVA) } }, ARENA);
	give((struct ring){ c.iova, c.len, &(char *){ h.arena + (c.iova - HOST_IOVA) } }, ARENA);
	host_idle(&h);
	cr_assert_not(h.fn.parked);
	cr_assert_eq(host_create_queue(&h, 1, QD), 0);
	quiet_io(1);
}

/* A fatal status that stops the queues only by not looking at them any more */
Test(park, memory_that_comes_back_wakes_nobody_after_a_fatal_status)
{
	struct ring s = sq_ring(1);

	take(s);
	h.fn.nactive = 0;
	h.fn.csts |= HOST_CFS;
	give(s, ARENA);
	host_idle(&h);
	cr_expect_eq(h.fn.nactive, 0);
}

/* ---- shadow doorbells ---- */

static uint32_t *shadow, *event;

static void use_shadows(void)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_dbbuf };
	struct plx_nvme_cpl cpl;

	shadow = host_alloc(&h, P, P);
	event = host_alloc(&h, P, P);
	cr_assert_eq(host_make_local(&h, shadow, 2ul * P), 0);
	cmd.prp1 = host_iova(&h, shadow);
	cmd.prp2 = host_iova(&h, event);
	cpl = host_admin(&h, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	h.q[1].sq_db = &shadow[2];
	h.q[1].cq_db = &shadow[3];
}

Test(park, shadow_doorbells)
{
	struct ring s, e;

	use_shadows();
	s = (struct ring){ host_iova(&h, shadow), P, (char **)&shadow };
	e = (struct ring){ host_iova(&h, event), P, (char **)&event };
	for (int turn = 0; turn < 60; turn++) {
		volatile uint32_t *real = h.doorbells + 2;

		for (int i = 0; i < turn % 7 + 1; i++)
			quiet_io(1);
		if (turn & 1)
			take(s);
		if (turn % 3)
			take(e);
		host_idle(&h);
		if (turn & 1 || turn % 3) {
			/* asked to ring with the next update, the host does */
			cr_assert_eq(event[2], shadow[2]);
			cr_assert_eq(*nvmf_sq_doorbell(h.fn.sqs[1]), real);
			h.q[1].sq_db = real;
			h.q[1].cq_db = real + 1;
			quiet_io(1);
			quiet_io(1);
			shadow[2] = real[0];
			shadow[3] = real[1];
		}
		if (turn & 1)
			give(s, turn % 2 ? ELSEWHERE : THIRD);
		if (turn % 3)
			give(e, turn % 2 ? THIRD : ELSEWHERE);
		host_idle(&h);
		cr_assert_eq(*nvmf_sq_doorbell(h.fn.sqs[1]), &shadow[2]);
		h.q[1].sq_db = &shadow[2];
		h.q[1].cq_db = &shadow[3];
	}
	cr_expect_not(is_fatal(NULL));
}

/* With the queue, which comes back first or last, and as the other kind of memory */
Test(park, shadow_doorbells_and_their_queue)
{
	struct ring r[4];

	use_shadows();
	r[0] = (struct ring){ host_iova(&h, shadow), P, (char **)&shadow };
	r[1] = (struct ring){ host_iova(&h, event), P, (char **)&event };
	r[2] = sq_ring(1);
	r[3] = cq_ring(1);
	for (uint32_t turn = 0; turn < 50; turn++) {
		quiet_io(1);
		host_idle(&h);
		for (uint32_t i = 0; i < 4; i++)
			take(r[(i + turn) % 4]);
		host_idle(&h);
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t k = (i + turn / 4) % 4;

			give(r[k], k < 2 ? turn % REMOTE : (turn + i) % KINDS);
			plx_thread_poll(h.thread);
		}
		h.q[1].sq_db = &shadow[2];
		h.q[1].cq_db = &shadow[3];
	}
	quiet_io(1);
	cr_expect_not(is_fatal(NULL));
}

/* A shadow that moved without the real doorbell: seen when it can be */
Test(park, shadow_doorbells_that_move_meanwhile)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
	struct plx_nvme_cpl cpl;
	struct ring s;

	use_shadows();
	s = (struct ring){ host_iova(&h, shadow), P, (char **)&shadow };
	quiet_io(1);
	take(s);
	host_submit(&h, 1, &cmd);
	host_idle(&h);
	cr_assert_not(host_reap(&h, 1, &cpl));
	give(s, ELSEWHERE);
	h.q[1].sq_db = &shadow[2];
	h.q[1].cq_db = &shadow[3];
	cpl = host_wait(&h, 1);
	cr_expect_eq(host_status(&cpl), 0);
}

Test(park, queues_made_while_shadow_doorbells_are_away)
{
	struct ring s;

	use_shadows();
	s = (struct ring){ host_iova(&h, shadow), P, (char **)&shadow };
	quiet_io(1);
	take(s);
	shadow[4] = shadow[5] = 77;
	cr_assert_eq(host_create_queue(&h, 2, QD), 0);
	quiet_io(2);
	give(s, ELSEWHERE);
	host_idle(&h);
	cr_expect_eq(shadow[4], 1);
	cr_expect_eq(shadow[5], 1);
	h.q[1].sq_db = &shadow[2];
	h.q[1].cq_db = &shadow[3];
	h.q[2].sq_db = &shadow[4];
	h.q[2].cq_db = &shadow[5];
	quiet_io(1);
	quiet_io(2);
}

Test(park, shadow_doorbells_that_nobody_could_see)
{
	struct ring s;

	use_shadows();
	s = (struct ring){ host_iova(&h, shadow), P, (char **)&shadow };
	take(s);
	give(s, REMOTE);
	host_idle(&h);
	cr_expect(is_fatal(NULL));
	cr_expect_eq(host_disable(&h), 0);
	cr_expect_eq(host_enable(&h), 0);
}

/* Doorbell Buffer Config once more: the pages of before are the host's alone */
Test(park, shadow_doorbells_given_up)
{
	uint32_t *old;

	use_shadows();
	for (uint32_t i = 0; i < QD + 3; i++)
		quiet_io(1);
	old = shadow;
	use_shadows();
	cr_expect_eq(shadow[2], 3);
	nvmf_fn_revoke(&h.fn, host_iova(&h, old), 2ul * P);
	cr_expect_not(h.fn.parked);
	memset(old, 0xff, 2ul * P);
	for (uint32_t i = 0; i < 2 * QD; i++)
		quiet_io(1);
}
