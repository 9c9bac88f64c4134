/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controller memory buffer and persistent memory region, against a controller whose registers say
 * what they like.
 */
#include "nvme_fixture.h"
#include <pollux/nvme_memory.h>
#include <sys/mman.h>

#define MIB  (1ull << 20)
#define CMBS (1ull << 57)
#define PMRS (1ull << 56)
/* 4 MiB at 1 MiB in BAR 2, in units of 1 MiB; everything may be in it */
#define LOC	 (1u << 12 | 2)
#define SZ	 (4u << 12 | 2u << 8 | 0x1f)
#define BUS	 0x380000000000ull
#define BAR_SIZE (8 * MIB)

static void give_bar(unsigned i, uint64_t size)
{
	fake.bar[i].size = size;
	fake.bar[i].bus = BUS + i * (1ull << 32);
	fake.bar[i].mem =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(fake.bar[i].mem, MAP_FAILED);
}

static void with_cmb(void)
{
	setup();
	give_bar(2, BAR_SIZE);
	fake.cap |= CMBS;
	fake.cmbloc = LOC;
	fake.cmbsz = SZ;
	opts.use_cmb_sqs = true;
	opts.use_cmb_data = true;
}

static void with_legacy_cmb(void)
{
	with_cmb();
	fake.cap &= ~CMBS;
	/* mapped at its address on the bus */
	fake.bar[2].bus = (uint64_t)fake.bar[2].mem;
}

static void with_pmr(void)
{
	setup();
	give_bar(4, 2 * MIB);
	fake.cap |= PMRS;
	/* data of reads and writes, BAR 4, two units of 500 ms, both barriers, has an address */
	fake.pmrcap = 1u << 24 | 2u << 16 | 3u << 10 | 4u << 5 | 3u << 3;
	fake.pmrsts = 0x100;
}

/* What was mapped is not any more */
static void disconnect(struct plx_nvme_ctrlr *c)
{
	plx_nvme_disconnect(c);
	for (unsigned i = 0; i < 6; i++)
		cr_assert_eq(fake.bar[i].maps, fake.bar[i].unmaps, "BAR %u", i);
}

static char *cmb(void)
{
	return fake.bar[2].mem + 1 * MIB;
}

static bool in_cmb(const void *p)
{
	return (uint64_t)((const char *)p - cmb()) < 4 * MIB;
}

/* ---- controller memory buffer ---- */

Test(cmb, is_enabled_at_the_address_of_its_mapping, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_cmb_info info;

	cr_assert_eq(fake.cmbmsc, (uint64_t)cmb() | 3);
	cr_assert_eq(plx_nvme_cmb_info(c, &info), 0);
	cr_expect_eq(info.bytes, 4 * MIB);
	cr_expect_eq(info.free_bytes, 4 * MIB);
	cr_expect(info.sqs && info.cqs && info.lists && info.read_data && info.write_data);
	cr_expect_not(info.legacy);
	disconnect(c);
	cr_assert_eq(fake.cmbmsc, 0);
}

Test(cmb, is_left_alone_unless_asked_for, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_cmb_info info;
	struct plx_nvme_ctrlr *c;

	opts.use_cmb_sqs = opts.use_cmb_data = false;
	c = connect_fake();
	cr_expect_eq(fake.bar[2].maps, 0);
	cr_expect_eq(fake.cmbmsc, 1, "registers alone");
	cr_expect_eq(plx_nvme_cmb_info(c, &info), 0);
	cr_expect_eq(info.bytes, 4 * MIB);
	cr_expect_eq(info.free_bytes, 0);
	cr_expect_null(plx_nvme_cmb_alloc(c, 64, 0));
	cr_expect_eq(errno, ENOTSUP);
	disconnect(c);
}

static void queues_work(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp)
{
	struct result r = { 0 };

	for (unsigned i = 1; i <= 40; i++) {
		submit(c, qp, i, &r);
		UNTIL(c, qp, r.calls == i);
		cr_assert_eq(r.status, 0);
	}
}

Test(cmb, holds_submission_queues, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 16);
	struct plx_nvme_cmb_info info;

	cr_assert(in_cmb(fake.q[1].sq));
	cr_assert_not(in_cmb(fake.q[1].cq));
	cr_assert_not(in_cmb(fake.q[0].sq));
	queues_work(c, qp);
	plx_nvme_cmb_info(c, &info);
	cr_expect_eq(info.free_bytes, 4 * MIB - 4096);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_cmb_info(c, &info);
	cr_expect_eq(info.free_bytes, 4 * MIB);
	disconnect(c);
}

Test(cmb, of_before_1_4_is_at_the_bars_address, .init = with_legacy_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 16);
	struct plx_nvme_cmb_info info;
	struct result r = { 0 };
	char *data = plx_nvme_cmb_alloc(c, 8192, 4096);

	cr_assert_eq(plx_nvme_cmb_info(c, &info), 0);
	cr_expect(info.legacy);
	cr_expect_eq(fake.cmbmsc, 0);
	cr_assert(in_cmb(fake.q[1].sq));
	queues_work(c, qp);
	cr_assert(in_cmb(data));
	cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, data + 512, 0, 9, io_done, &r), 0);
	UNTIL(c, qp, r.calls == 1);
	cr_expect_eq(fake.last_io.prp1, (uint64_t)data + 512);
	cr_expect_eq(fake.last_io.prp2, (uint64_t)data + 4096);
	cr_expect(qp->identity, "nothing is looked up");
	plx_nvme_cmb_free(c, data);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

/* As QEMU's: CAP.CMBS is set, and CMBSZ is there without CMBMSC.CRE */
Test(cmb, of_before_1_4_may_say_it_is_of_1_4, .init = with_legacy_cmb, .fini = teardown)
{
	struct plx_nvme_cmb_info info;
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;

	fake.cap |= CMBS;
	fake.cmb_shown = true;
	c = connect_fake();
	qp = make_qpair(c, 16);
	cr_assert_eq(plx_nvme_cmb_info(c, &info), 0);
	cr_expect(info.legacy);
	cr_expect_eq(fake.cmbmsc, 0);
	cr_assert(in_cmb(fake.q[1].sq));
	queues_work(c, qp);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

Test(cmb, of_before_1_4_is_not_used_where_memory_may_be, .init = with_legacy_cmb, .fini = teardown)
{
	struct plx_nvme_cmb_info info;
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;

	fake.bar[2].bus = BUS; /* and it was mapped elsewhere, as something was there */
	c = connect_fake();
	qp = make_qpair(c, 16);
	cr_expect_eq(plx_nvme_cmb_info(c, &info), -ENOTSUP);
	cr_expect_not(in_cmb(fake.q[1].sq));
	queues_work(c, qp);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

Test(cmb, queues_that_do_not_fit_are_elsewhere, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	void *all = plx_nvme_cmb_alloc(c, 4 * MIB, 0);
	struct plx_nvme_qpair *qp = make_qpair(c, 16);

	cr_assert_eq(all, cmb());
	cr_assert_not(in_cmb(fake.q[1].sq));
	queues_work(c, qp);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_cmb_free(c, all);
	disconnect(c);
}

Test(cmb, that_takes_no_queues_gets_none, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;
	void *data;

	fake.cmbsz &= ~1u;
	c = connect_fake();
	qp = make_qpair(c, 16);
	cr_assert_not(in_cmb(fake.q[1].sq));
	data = plx_nvme_cmb_alloc(c, 64, 0);
	cr_assert(in_cmb(data));
	plx_nvme_cmb_free(c, data);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

Test(cmb, pieces_neither_overlap_nor_leak, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_cmb_info info;
	char *p[64];

	for (unsigned i = 0; i < 64; i++) {
		p[i] = plx_nvme_cmb_alloc(c, 1000 + i * 100, i % 2 ? 4096 : 8);
		cr_assert(in_cmb(p[i]) && in_cmb(p[i] + 999 + i * 100));
		cr_assert_eq((uintptr_t)p[i] % (i % 2 ? 4096 : 8), 0);
		for (unsigned j = 0; j < i; j++)
			cr_assert(p[j] + 1000 + j * 100 <= p[i] || p[i] + 1000 + i * 100 <= p[j]);
	}
	for (unsigned i = 0; i < 64; i += 3)
		plx_nvme_cmb_free(c, p[i]);
	for (unsigned i = 0; i < 64; i += 3) {
		p[i] = plx_nvme_cmb_alloc(c, 500, 64);
		for (unsigned j = 0; j < 64; j++)
			cr_assert(j == i || p[j] < p[i] || p[j] >= p[i] + 500);
	}
	for (unsigned i = 0; i < 64; i++)
		plx_nvme_cmb_free(c, p[i]);
	plx_nvme_cmb_free(c, NULL);
	cr_assert_eq(plx_nvme_cmb_info(c, &info), 0);
	cr_expect_eq(info.free_bytes, 4 * MIB);
	cr_expect_null(plx_nvme_cmb_alloc(c, 4 * MIB + 1, 1));
	cr_expect_eq(errno, ENOMEM);
	cr_expect_null(plx_nvme_cmb_alloc(c, UINT64_MAX, 1));
	cr_expect_null(plx_nvme_cmb_alloc(c, 0, 1));
	cr_expect_eq(errno, EINVAL);
	cr_expect_null(plx_nvme_cmb_alloc(c, 64, 24));
	cr_expect_eq(errno, EINVAL);
	disconnect(c);
}

/* Each makes the buffer unusable; the controller works without it */
static const struct {
	const char *what;
	uint32_t loc, sz;
	int map_rc;
	uint32_t sts;
} hostile[] = {
	{ "there is none", 0, 0, 0, 0 },
	{ "of no size", LOC, SZ & 0xfff, 0, 0 },
	{ "in a reserved unit", LOC, (SZ & ~0xf00u) | 0x700, 0, 0 },
	{ "in the last reserved unit", LOC, SZ | 0xf00, 0, 0 },
	{ "in BAR 1, the upper half of another", (LOC & ~7u) | 1, SZ, 0, 0 },
	{ "in a BAR that is not there", (LOC & ~7u) | 3, SZ, 0, 0 },
	{ "in BAR 6", (LOC & ~7u) | 6, SZ, 0, 0 },
	{ "in BAR 7", LOC | 7, SZ, 0, 0 },
	{ "behind its BAR", 8u << 12 | 2, SZ, 0, 0 },
	{ "far behind it", 0xfffffu << 12 | 2, SZ, 0, 0 },
	{ "behind it in the largest unit", 0xfffffu << 12 | 2, 0xfffff61f, 0, 0 },
	{ "at the registers", 0, (4u << 12) | 0x1f, 0, 0 },
	{ "at the first doorbells", 1u << 12, (4u << 12) | 0x1f, 0, 0 },
	{ "not to be mapped", LOC, SZ, -EPERM, 0 },
	{ "of another opinion about addresses", LOC, SZ, 0, 1 },
	{ "all ones", UINT32_MAX, UINT32_MAX, 0, 0 },
};

Test(cmb, that_makes_no_sense_is_not_used, .init = with_cmb, .fini = teardown)
{
	give_bar(0, 64 << 10);
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(hostile); i++) {
		struct plx_nvme_cmb_info info;
		struct plx_nvme_ctrlr *c;
		struct plx_nvme_qpair *qp;

		fake.cmbloc = hostile[i].loc;
		fake.cmbsz = hostile[i].sz;
		fake.bar[2].rc = hostile[i].map_rc;
		fake.cmbsts = hostile[i].sts;
		c = connect_fake();
		cr_expect_eq(plx_nvme_cmb_info(c, &info), -ENOTSUP, "%s", hostile[i].what);
		cr_expect_null(plx_nvme_cmb_alloc(c, 64, 0), "%s", hostile[i].what);
		cr_expect_not(fake.cmbmsc & 2, "%s: enabled", hostile[i].what);
		qp = make_qpair(c, 16);
		cr_expect_not(in_cmb(fake.q[1].sq), "%s", hostile[i].what);
		queues_work(c, qp);
		plx_nvme_qpair_destroy(qp);
		disconnect(c);
	}
}

Test(cmb, ends_with_its_bar, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_cmb_info info;
	struct plx_nvme_ctrlr *c;

	fake.cmbsz = 0xfffffu << 12 | 2u << 8 | 0x1f;
	c = connect_fake();
	cr_assert_eq(plx_nvme_cmb_info(c, &info), 0);
	cr_expect_eq(info.bytes, BAR_SIZE - 1 * MIB);
	disconnect(c);
}

Test(cmb, behind_the_doorbells_leaves_them_so_much, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_cmb_info info;
	struct plx_nvme_ctrlr *c;

	give_bar(0, 64 << 10);
	fake.cmbloc = 2u << 12; /* in units of 4 KiB */
	fake.cmbsz = 4u << 12 | 0x1f;
	fake.dev.doorbell_bytes = 60 << 10;
	c = connect_fake();
	cr_assert_eq(plx_nvme_cmb_info(c, &info), 0);
	cr_expect_eq(info.bytes, 16 << 10);
	cr_expect_eq(fake.dev.doorbell_bytes, 4096);
	disconnect(c);
}

Test(cmb, is_there_again_after_a_reset, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 16);

	fake.cmbmsc = 0; /* which it should not forget, but does */
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	UNTIL(c, qp, ready(c));
	cr_assert_eq(fake.cmbmsc, (uint64_t)cmb() | 3);
	cr_assert(in_cmb(fake.q[1].sq));
	queues_work(c, qp);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

Test(cmb, that_is_another_after_a_reset_fails_the_controller, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 16);

	fake.cmbsz = 1u << 12 | 2u << 8 | 0x1f;
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	UNTIL(c, qp, failed(c));
	cr_expect(strstr(plx_nvme_ctrlr_failure(c), "CMBSZ"), "%s", plx_nvme_ctrlr_failure(c));
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

Test(cmb, is_found_once_more_after_a_reset_of_the_function, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;

	fake_can_flr(&fake);
	fake.cfs_on_enable = true;
	c = connect_fake();
	cr_assert_eq(fake.flrs, 1);
	cr_assert_eq(fake.bar[2].maps, 2);
	cr_assert_eq(fake.bar[2].unmaps, 1, "it is mapped once");
	cr_assert_eq(fake.cmbmsc, (uint64_t)cmb() | 3);
	qp = make_qpair(c, 16);
	cr_assert(in_cmb(fake.q[1].sq));
	queues_work(c, qp);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

/* A reset loses what is in the buffer: what was to be written from there is not any more */
Test(cmb, writes_from_it_are_not_sent_again, .init = with_cmb, .fini = teardown)
{
	struct result rd = { 0 }, wr = { 0 };
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;
	char *data;

	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;
	c = connect_fake();
	qp = make_qpair(c, 16);
	data = plx_nvme_cmb_alloc(c, 4096, 4096);
	fake.hold_io = true;
	cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, data, 0, 1, io_done, &rd), 0);
	cr_assert_eq(plx_nvme_write(plx_nvme_ctrlr_ns(c, 1), qp, data, 8, 1, io_done, &wr), 0);
	UNTIL(c, qp, fake.n_held == 2);
	cr_expect_eq(fake.held[0].prp1, (uint64_t)data);
	fake.hold_io = false;
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	UNTIL(c, qp, ready(c) && rd.calls == 1);
	cr_expect_eq(rd.status, 0);
	cr_expect_eq(wr.calls, 1);
	cr_expect_eq(wr.status, PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_ABORT_QUEUE));
	plx_nvme_cmb_free(c, data);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

/* ---- persistent memory region ---- */

Test(pmr, is_enabled_with_an_address_and_disabled, .init = with_pmr, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_pmr_status status;
	struct plx_nvme_pmr_info info;
	uint64_t bytes;
	void *mem, *again;

	cr_assert_eq(plx_nvme_pmr_info(c, &info), 0);
	cr_expect_eq(info.bytes, 2 * MIB);
	cr_expect_eq(info.timeout_ms, 1000);
	cr_expect_eq(info.barriers, 3);
	cr_expect(info.read_data && info.write_data && !info.enabled);
	cr_assert_eq(plx_nvme_pmr_status(c, &status), 0);
	cr_expect_not(status.ready);
	cr_assert_eq(plx_nvme_pmr_persist(c), -EINVAL);
	cr_assert_eq(plx_nvme_pmr_enable(c, &mem, &bytes), 0);
	cr_expect_eq(mem, fake.bar[4].mem);
	cr_expect_eq(bytes, 2 * MIB);
	cr_expect_eq(fake.pmrctl, 1);
	cr_expect_eq((uint64_t)fake.pmrmscu << 32 | fake.pmrmscl, (uint64_t)mem | 2);
	cr_assert_eq(plx_nvme_pmr_enable(c, &again, &bytes), 0);
	cr_expect_eq(again, mem);
	cr_assert_eq(plx_nvme_pmr_persist(c), 0);
	cr_assert_eq(plx_nvme_pmr_disable(c), 0);
	cr_expect_eq(fake.pmrctl, 0);
	cr_expect_eq(fake.pmrmscl, 0);
	cr_assert_eq(plx_nvme_pmr_disable(c), 0);
	cr_assert_eq(plx_nvme_pmr_enable(c, &mem, &bytes), 0);
	disconnect(c);
	cr_expect_eq(fake.pmrctl, 0, "disconnecting disables it");
}

Test(pmr, that_there_is_not, .init = setup, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_pmr_status status;
	struct plx_nvme_pmr_info info;
	uint64_t bytes;
	void *mem;

	cr_expect_eq(plx_nvme_pmr_info(c, &info), -ENOTSUP);
	cr_expect_eq(plx_nvme_pmr_status(c, &status), -ENOTSUP);
	cr_expect_eq(plx_nvme_pmr_enable(c, &mem, &bytes), -ENOTSUP);
	cr_expect_eq(plx_nvme_pmr_disable(c), 0);
	cr_expect_eq(plx_nvme_pmr_persist(c), -EINVAL);
	disconnect(c);
}

Test(pmr, that_does_not_become_ready_is_given_up, .init = with_pmr, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	uint64_t bytes;
	void *mem;

	fake.pmr_stuck = true;
	cr_assert_eq(plx_nvme_pmr_enable(c, &mem, &bytes), -ETIMEDOUT);
	cr_expect_eq(fake.pmrctl, 0);
	cr_expect_eq(fake.bar[4].unmaps, 1);
	fake.pmr_stuck = false;
	cr_assert_eq(plx_nvme_pmr_enable(c, &mem, &bytes), 0);
	fake.pmr_stuck = true;
	cr_assert_eq(plx_nvme_pmr_disable(c), -ETIMEDOUT);
	cr_expect_eq(fake.bar[4].unmaps, 2);
	disconnect(c);
}

Test(pmr, that_makes_no_sense_is_refused, .init = with_pmr, .fini = teardown)
{
	static const struct {
		const char *what;
		unsigned bir;
		int map_rc, rc;
		uint32_t sts;
	} cases[] = {
		{ "in the BAR of the registers", 0, 0, -ENOTSUP, 0x100 },
		{ "in BAR 1", 1, 0, -ENOTSUP, 0x100 },
		{ "in BAR 6", 6, 0, -ENOTSUP, 0x100 },
		{ "in BAR 7", 7, 0, -ENOTSUP, 0x100 },
		{ "in no BAR", 3, 0, -ENOTSUP, 0x100 },
		{ "not to be mapped", 4, -EACCES, -EACCES, 0x100 },
		{ "of another opinion about addresses", 4, 0, -EIO, 0x1100 },
		{ "with an error", 4, 0, -EIO, 0x17 },
	};
	struct plx_nvme_ctrlr *c;
	uint64_t bytes;
	void *mem;

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		fake.pmrcap = (fake.pmrcap & ~0xe0u) | cases[i].bir << 5;
		fake.bar[4].rc = cases[i].map_rc;
		fake.pmrsts = cases[i].sts;
		c = connect_fake();
		cr_expect_eq(plx_nvme_pmr_enable(c, &mem, &bytes), cases[i].rc, "%s",
			     cases[i].what);
		cr_expect_eq(fake.pmrctl, 0, "%s: enabled", cases[i].what);
		cr_expect_eq(fake.pmrmscl, 0, "%s: has an address", cases[i].what);
		disconnect(c);
	}
}

Test(pmr, in_the_bar_of_the_cmb_is_refused, .init = with_cmb, .fini = teardown)
{
	struct plx_nvme_ctrlr *c;
	uint64_t bytes;
	void *mem;

	fake.cap |= PMRS;
	fake.pmrcap = 2u << 5;
	c = connect_fake();
	cr_expect_eq(plx_nvme_pmr_enable(c, &mem, &bytes), -ENOTSUP);
	disconnect(c);
}

Test(pmr, what_was_not_written_is_told, .init = with_pmr, .fini = teardown)
{
	static const struct {
		uint32_t sts;
		int rc;
	} cases[] = {
		{ 0, 0 },
		{ 0x100, -EAGAIN },
		{ 1u << 9, 0 }, /* restored wrongly: what is stored now is not */
		{ 2u << 9, -EROFS },
		{ 3u << 9, -EIO },
		{ 7u << 9, -EIO },
		{ 0x01, -EIO },
		{ UINT32_MAX, -ENXIO },
	};
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_pmr_status status;
	uint64_t bytes;
	void *mem;

	cr_assert_eq(plx_nvme_pmr_enable(c, &mem, &bytes), 0);
	for (unsigned barriers = 1; barriers <= 3; barriers++) {
		c->pmr.cap = (c->pmr.cap & ~0x3c00u) | barriers << 10;
		for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
			fake.pmrsts = cases[i].sts;
			cr_expect_eq(plx_nvme_pmr_persist(c), cases[i].rc, "PMRSTS %xh",
				     cases[i].sts);
		}
	}
	fake.pmrsts = 3u << 9 | 0x42;
	cr_assert_eq(plx_nvme_pmr_status(c, &status), 0);
	cr_expect(status.ready);
	cr_expect_eq(status.err, 0x42);
	cr_expect_eq(status.health, PLX_NVME_PMR_UNRELIABLE);
	fake.pmrsts = 0;
	disconnect(c);
}

Test(pmr, stays_enabled_over_a_reset, .init = with_pmr, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct plx_nvme_qpair *qp = make_qpair(c, 16);
	uint64_t bytes;
	void *mem;

	cr_assert_eq(plx_nvme_pmr_enable(c, &mem, &bytes), 0);
	fake.pmrctl = fake.pmrmscl = fake.pmrmscu = 0; /* which a reset should leave alone */
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	UNTIL(c, qp, ready(c));
	cr_expect_eq(fake.pmrctl, 1);
	cr_expect_eq((uint64_t)fake.pmrmscu << 32 | fake.pmrmscl, (uint64_t)mem | 2);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}

/* Its registers may be out of reach (a reset of the function) */
Test(pmr, is_not_enabled_in_the_middle_of_a_reset, .init = with_pmr, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	uint64_t bytes;
	void *mem;

	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	cr_expect_eq(plx_nvme_pmr_enable(c, &mem, &bytes), -EBUSY);
	cr_expect_eq(fake.pmrctl, 0);
	UNTIL(c, NULL, ready(c));
	cr_expect_eq(plx_nvme_pmr_enable(c, &mem, &bytes), 0);
	disconnect(c);
}

Test(pmr, of_a_controller_that_is_gone, .init = with_pmr, .fini = teardown)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	uint64_t bytes;
	void *mem;

	cr_assert_eq(plx_nvme_pmr_enable(c, &mem, &bytes), 0);
	fake.gone = true;
	UNTIL(c, NULL, failed(c));
	cr_expect_eq(plx_nvme_pmr_persist(c), -ENXIO);
	cr_expect_eq(plx_nvme_pmr_disable(c), -ENXIO);
	cr_expect_eq(plx_nvme_pmr_enable(c, &mem, &bytes), -ENXIO);
	disconnect(c);
}

/* ---- data in either, where addresses are looked up ---- */

/* Physical addresses: the buffer has that of the BAR, memory another */
static uint64_t look_shifted(const struct dptr_iova *self, const void *va, size_t *len)
{
	return (uint64_t)va + (1ull << 50);
}

static uint64_t look_same(const struct dptr_iova *self, const void *va, size_t *len)
{
	return (uint64_t)va;
}

Test(window, look_ups_find_all_three, .init = with_cmb, .fini = teardown)
{
	static const struct dptr_iova under = { .look = look_shifted };
	struct nvme_windows w;
	size_t len = 4096;

	windows_init(&w, &under);
	window_open(&w.window[0], cmb(), 4096, 0x1000);
	window_open(&w.window[1], cmb() + 8192, 4096, 0x200000);
	cr_expect_eq(w.look.look(&w.look, cmb() + 16, &len), 0x1010);
	cr_expect_eq(len, 4080);
	len = 8;
	cr_expect_eq(w.look.look(&w.look, cmb() + 8192, &len), 0x200000);
	cr_expect_eq(len, 8);
	cr_expect_eq(w.look.look(&w.look, cmb() + 4096, NULL),
		     (uint64_t)(cmb() + 4096) + (1ull << 50));
	window_close(&w.window[0]);
	cr_expect_eq(w.look.look(&w.look, cmb(), NULL), (uint64_t)cmb() + (1ull << 50));
	windows_init(&w, NULL);
	cr_expect_eq(w.look.look(&w.look, cmb(), NULL), (uint64_t)cmb());
	len = 4096;
	cr_expect_eq(w.look.look(&w.look, (void *)(UINTPTR_MAX - 100), &len), PLX_IOVA_BAD);
	cr_expect_eq(w.look.look(&w.look, NULL, NULL), PLX_IOVA_BAD);
}

Test(window, data_is_found_where_addresses_are_looked_up, .init = with_cmb, .fini = teardown)
{
	static const struct dptr_iova under = { .look = look_same };
	struct result r = { 0 };
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;
	char *data;

	fake.dev.iova = &under;
	fake.dev.iova_is_pa = true;
	c = connect_fake();
	cr_assert_eq(fake.cmbmsc, (fake.bar[2].bus + 1 * MIB) | 3);
	qp = make_qpair(c, 16);
	cr_assert(in_cmb(fake.q[1].sq));
	queues_work(c, qp);
	data = plx_nvme_cmb_alloc(c, 8192, 4096);
	cr_assert_eq(plx_nvme_write(plx_nvme_ctrlr_ns(c, 1), qp, data + 512, 0, 9, io_done, &r), 0);
	UNTIL(c, qp, r.calls == 1);
	cr_expect_eq(fake.last_io.prp1, fake.bar[2].bus + (uint64_t)(data + 512 - fake.bar[2].mem));
	cr_expect_eq(fake.last_io.prp2, fake.last_io.prp1 - 512 + 4096);
	plx_nvme_cmb_free(c, data);
	plx_nvme_qpair_destroy(qp);
	disconnect(c);
}
