/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_arbitration.c - in which order the virtual function takes commands from its
 * queues
 *
 * All submission queues share one completion queue, in which the order can be read: their commands
 * are refused at once.
 */
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>
#include <errno.h>

static struct host h;

static void start(void)
{
	cr_assert_eq(host_init(&h, &(struct host_opts){ .null = true }), 0);
}

static void stop(void)
{
	host_fini(&h);
}

TestSuite(arbitration, .init = start, .fini = stop);

#define CQ 8

static void enable(uint32_t ams)
{
	h.ams = ams;
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
	cr_assert_eq(host_create_cq(&h, CQ, 256), 0);
}

/* Arbitration feature: weights and burst as a power of two */
static void set_weights(uint32_t high, uint32_t medium, uint32_t low, uint32_t burst)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_set_features,
		.cdw10 = NVME_FEAT_FID_ARBITRATION,
		.cdw11 = (high - 1) << 24 | (medium - 1) << 16 | (low - 1) << 8 | burst,
	};
	struct plx_nvme_cpl cpl = host_admin(&h, &cmd);

	cr_assert_eq(host_status(&cpl), 0);
}

static void fill(uint16_t qid, enum nvmf_prio prio, unsigned n)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = 77 };

	cr_assert_eq(host_create_sq_of(&h, qid, 64, CQ, prio), 0);
	while (n--)
		host_push(&h, qid, &cmd);
}

/* Rings those queues, last first, and wants completions of queues in this order ("1123") */
static void expect(uint16_t queues, const char *order)
{
	struct plx_nvme_cpl cpl;
	char got[256] = "";
	size_t n = 0;

	for (uint16_t qid = queues; qid; qid--)
		host_ring(&h, qid);
	host_idle(&h);
	while (n < sizeof got - 1 && host_reap(&h, CQ, &cpl))
		got[n++] = (char)('0' + cpl.sqid);
	cr_expect_str_eq(got, order);
}

Test(arbitration, controller_offers_weighted_round_robin)
{
	cr_assert_eq(NVME_CAP_AMS(nvmf_fn_reg_read(&h.fn, NVME_REG_CAP, 8)), NVME_CAP_AMS_WRR);
	enable(NVME_CC_AMS_WRRU);
}

Test(arbitration, other_mechanisms_are_fatal)
{
	for (uint32_t ams = NVME_CC_AMS_WRRU + 1; ams <= NVME_CC_AMS_VS; ams++) {
		h.ams = ams;
		cr_assert_eq(host_disable(&h), 0);
		cr_expect_eq(host_enable(&h), -EIO, "AMS %u", ams);
		cr_expect(nvmf_fn_reg_read(&h.fn, NVME_REG_CSTS, 4) & HOST_CFS, "AMS %u", ams);
	}
}

Test(arbitration, round_robin_knows_no_priorities)
{
	enable(NVME_CC_AMS_RR);
	fill(1, NVMF_PRIO_LOW, 3);
	fill(2, NVMF_PRIO_URGENT, 3);
	expect(2, "111222");
}

Test(arbitration, urgent_commands_go_before_all_others)
{
	enable(NVME_CC_AMS_WRRU);
	set_weights(8, 8, 8, 0);
	fill(1, NVMF_PRIO_LOW, 2);
	fill(2, NVMF_PRIO_HIGH, 2);
	fill(3, NVMF_PRIO_URGENT, 2);
	fill(4, NVMF_PRIO_URGENT, 2);
	expect(4, "34342211");
}

Test(arbitration, weights_are_commands_of_a_round)
{
	enable(NVME_CC_AMS_WRRU);
	set_weights(4, 2, 1, 7);
	fill(1, NVMF_PRIO_LOW, 6);
	fill(2, NVMF_PRIO_MEDIUM, 6);
	fill(3, NVMF_PRIO_HIGH, 8);
	expect(3, "33332213333221221111");
}

Test(arbitration, burst_is_the_most_of_one_queue_at_a_time)
{
	enable(NVME_CC_AMS_WRRU);
	set_weights(6, 1, 1, 1);
	fill(1, NVMF_PRIO_HIGH, 5);
	fill(2, NVMF_PRIO_HIGH, 5);
	expect(2, "1122112212");
}

Test(arbitration, weights_begin_at_one_and_reset_with_the_controller)
{
	for (int i = 0; i < 2; i++) {
		enable(NVME_CC_AMS_WRRU);
		fill(1, NVMF_PRIO_LOW, 3);
		fill(2, NVMF_PRIO_HIGH, 3);
		expect(2, "212121");
		set_weights(16, 1, 1, 7);
	}
}

Test(arbitration, queues_come_and_go)
{
	struct plx_nvme_cmd delete_sq = { .opc = nvme_admin_delete_sq, .cdw10 = 2 };
	struct plx_nvme_cpl cpl;

	enable(NVME_CC_AMS_WRRU);
	set_weights(1, 1, 1, 0);
	fill(1, NVMF_PRIO_HIGH, 1);
	fill(2, NVMF_PRIO_HIGH, 1);
	expect(2, "12");
	cpl = host_admin(&h, &delete_sq);
	cr_assert_eq(host_status(&cpl), 0);
	fill(3, NVMF_PRIO_HIGH, 2);
	expect(1, "");
	host_ring(&h, 3);
	expect(0, "33");
}

/* More than fits in a turn */
Test(arbitration, each_command_is_taken_once)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = 77 };
	unsigned seen[6] = { 0 };
	struct plx_nvme_cpl cpl;

	enable(NVME_CC_AMS_WRRU);
	set_weights(5, 3, 2, 2);
	for (uint16_t qid = 1; qid <= 5; qid++)
		fill(qid, (enum nvmf_prio)(qid % NVMF_PRIOS), 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint16_t qid = (uint16_t)(1 + i * 7 % 5);

		host_push(&h, qid, &cmd);
		host_ring(&h, qid);
		if (i % 40 < 39)
			continue;
		host_idle(&h);
		while (host_reap(&h, CQ, &cpl))
			seen[cpl.sqid]++;
	}
	for (uint16_t qid = 1; qid <= 5; qid++)
		cr_expect_eq(seen[qid], 400, "queue %u: %u", qid, seen[qid]);
}
