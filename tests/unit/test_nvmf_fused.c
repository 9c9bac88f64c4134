/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_fused.c - the fused Compare and Write (NVMe Base 2.0c section 3.4.2)
 */
#include "tests/unit/nvmf_io.h"

Test(fused, writes_when_the_comparison_holds, .init = init, .fini = fini)
{
	write_blocks(10, 4);
	expect_fused(rw(nvme_cmd_compare, 10, 4, buf), rw(nvme_cmd_write, 10, 4, buf + 4096), 0, 0);
	expect_blocks(10, 4, buf + 4096);
}

Test(fused, does_not_write_when_it_does_not, .init = init, .fini = fini)
{
	write_blocks(10, 4);
	expect_fused(rw(nvme_cmd_compare, 10, 4, buf + 8), rw(nvme_cmd_write, 10, 4, buf + 4096),
		     ST_MEDIA(NVME_SC_COMPARE_FAILED), ST_GENERIC(NVME_SC_FUSED_FAIL));
	expect_blocks(10, 4, buf);
}

Test(fused, ranges_must_agree, .init = init, .fini = fini)
{
	const uint16_t bad = ST_GENERIC(NVME_SC_INVALID_FIELD);
	struct plx_nvme_cmd other = rw(nvme_cmd_write, 10, 4, buf);

	expect_fused(rw(nvme_cmd_compare, 10, 4, buf), rw(nvme_cmd_write, 11, 4, buf), bad, bad);
	expect_fused(rw(nvme_cmd_compare, 10, 4, buf), rw(nvme_cmd_write, 10, 3, buf), bad, bad);
	expect_fused(rw(nvme_cmd_compare, 10, 4, buf), rw(nvme_cmd_read, 10, 4, back), bad, bad);
	expect_fused(rw(nvme_cmd_read, 10, 4, back), rw(nvme_cmd_write, 10, 4, buf), bad, bad);
	other.nsid = 2;
	expect_fused(rw(nvme_cmd_compare, 10, 4, buf), other, bad, bad);
}

Test(fused, errors_of_either_end_both, .init = init, .fini = fini)
{
	const uint16_t failed = ST_GENERIC(NVME_SC_FUSED_FAIL);
	struct plx_nvme_cmd bad = rw(nvme_cmd_write, 10, 4, buf);

	expect_fused(rw(nvme_cmd_compare, BLOCKS - 1, 2, buf),
		     rw(nvme_cmd_write, BLOCKS - 1, 2, buf), ST_GENERIC(NVME_SC_LBA_RANGE), failed);
	expect_fused(rw(nvme_cmd_compare, 0, NVMF_ACWU + 2, buf),
		     rw(nvme_cmd_write, 0, NVMF_ACWU + 2, buf), ST_GENERIC(NVME_SC_AWU_EXCEEDED),
		     failed);
	bad.prp1 = 0x1000;
	expect_fused(rw(nvme_cmd_compare, 10, 4, buf), bad, failed,
		     ST_GENERIC(NVME_SC_DATA_XFER_ERROR));
	bad = rw(nvme_cmd_compare, 10, 4, buf);
	bad.prp1++;
	expect_fused(bad, rw(nvme_cmd_write, 10, 4, buf), ST_GENERIC(NVME_SC_PRP_INVALID_OFFSET),
		     failed);
	bad.nsid = 0;
	bad.opc = nvme_cmd_write;
	bad.flags = 0;
	{
		struct plx_nvme_cmd cmp = bad;

		cmp.opc = nvme_cmd_compare;
		expect_fused(cmp, bad, ST_GENERIC(NVME_SC_INVALID_NS), failed);
	}
}

Test(fused, largest_atomic_unit_works, .init = init, .fini = fini)
{
	write_blocks(0, NVMF_ACWU + 1);
	expect_fused(rw(nvme_cmd_compare, 0, NVMF_ACWU + 1, buf),
		     rw(nvme_cmd_write, 0, NVMF_ACWU + 1, buf + 4096), 0, 0);
	expect_blocks(0, NVMF_ACWU + 1, buf + 4096);
}

Test(fused, second_without_first_is_missing_one, .init = init, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, 10, 4, buf);

	cmd.flags = PLX_NVME_FUSE_SECOND;
	expect(cmd, ST_GENERIC(NVME_SC_FUSED_MISSING));
	cmd.flags = PLX_NVME_FUSE_MASK;
	expect(cmd, ST_GENERIC(NVME_SC_INVALID_FIELD));
	write_blocks(10, 1);
}

Test(fused, first_without_second_is_missing_one, .init = init, .fini = fini)
{
	struct plx_nvme_cmd cmp = rw(nvme_cmd_compare, 10, 1, buf),
			    plain = rw(nvme_cmd_write, 20, 1, buf);
	struct plx_nvme_cpl cpl;
	uint16_t cid;

	cmp.flags = PLX_NVME_FUSE_FIRST;
	/* alone in the ring: one doorbell update has to announce both */
	expect(cmp, ST_GENERIC(NVME_SC_FUSED_MISSING));
	/* followed by something else, which is carried out */
	cid = host_push(&h, 1, &cmp);
	host_push(&h, 1, &plain);
	host_ring(&h, 1);
	cpl = host_wait(&h, 1);
	cr_expect_eq(cpl.cid, cid);
	cr_expect_eq(host_status(&cpl), ST_GENERIC(NVME_SC_FUSED_MISSING));
	expect_next(0);
	expect_blocks(20, 1, buf);
	/* followed by another first one, which has its second */
	host_push(&h, 1, &cmp);
	push_fused(rw(nvme_cmd_compare, 20, 1, buf), rw(nvme_cmd_write, 20, 1, buf + 512));
	expect_next(ST_GENERIC(NVME_SC_FUSED_MISSING));
	expect_next(0);
	expect_next(0);
	expect_blocks(20, 1, buf + 512);
}

Test(fused, pair_that_a_turn_cuts_in_two, .init = init, .fini = fini)
{
	write_blocks(10, 1);
	h.fn.burst = 1;
	expect_fused(rw(nvme_cmd_compare, 10, 1, buf), rw(nvme_cmd_write, 10, 1, buf + 512), 0, 0);
	expect_blocks(10, 1, buf + 512);
}

static bool first_waits(void *arg)
{
	return h.fn.sqs[1]->fused_first;
}

/* The controller takes one command in its turn, and none before the host's next step */
Test(fused, deleting_the_queue_ends_a_waiting_first, .init = init, .fini = fini)
{
	struct plx_nvme_cmd del = { .opc = nvme_admin_delete_sq, .cdw10 = 1 };
	struct plx_nvme_cpl cpl;

	if (getenv("POLLUX_TEST_REMOTE")) /* the deletion takes turns: the second comes first */
		return;
	h.fn.burst = 1;
	push_fused(rw(nvme_cmd_compare, 10, 1, buf), rw(nvme_cmd_write, 10, 1, buf));
	cr_assert(host_poll(&h, first_waits, NULL));
	cpl = host_admin(&h, &del);
	cr_expect_eq(host_status(&cpl), 0);
	cr_assert(host_reap(&h, 1, &cpl));
	cr_expect_eq(host_status(&cpl), ST_GENERIC(NVME_SC_ABORT_QUEUE));
}

Test(fused, reset_ends_a_waiting_first, .init = init, .fini = fini)
{
	h.fn.burst = 1;
	push_fused(rw(nvme_cmd_compare, 10, 1, buf), rw(nvme_cmd_write, 10, 1, buf));
	cr_assert(host_poll(&h, first_waits, NULL));
	cr_expect_eq(host_disable(&h), 0);
	cr_expect_eq(host_enable(&h), 0);
}

Test(fused, works_where_blocks_are_extended, .init = init_extended, .fini = fini)
{
	write_blocks(30, 2);
	expect_fused(rw(nvme_cmd_compare, 30, 2, buf), rw(nvme_cmd_write, 30, 2, buf + 4096), 0, 0);
	expect(rw(nvme_cmd_compare, 30, 2, buf + 4096), 0);
}

Test(fused, is_refused_where_metadata_is_separate, .init = init_separate, .fini = fini)
{
	expect_fused(rw(nvme_cmd_compare, 30, 2, buf), rw(nvme_cmd_write, 30, 2, buf),
		     ST_GENERIC(NVME_SC_INVALID_FIELD), ST_GENERIC(NVME_SC_INVALID_FIELD));
}

Test(fused, write_fault_is_the_writes, .init = init_error, .fini = fini)
{
	inject(PLX_BDEV_ERR_FAIL, PLX_BDEV_COMPARE_AND_WRITE, 1, PLX_BDEV_ST_WRITE_FAULT);
	expect_fused(rw(nvme_cmd_compare, 0, 1, back), rw(nvme_cmd_write, 0, 1, buf),
		     ST_GENERIC(NVME_SC_FUSED_FAIL), ST_MEDIA(NVME_SC_WRITE_FAULT));
}
