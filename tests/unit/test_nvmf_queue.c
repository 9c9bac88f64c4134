/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_queue.c - the virtual function's queues: create, delete, wrap, fill, shadow
 * doorbells, reset
 */
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>

static struct host h;
static char *buf;

static void start(void)
{
	cr_assert_eq(host_init(&h, &(struct host_opts){ .error = true }), 0);
	buf = host_alloc(&h, 64 << 10, PLX_PAGE_SIZE);
}

static void stop(void)
{
	host_fini(&h);
}

TestSuite(create, .init = start, .fini = stop);
TestSuite(remove_queue, .init = start, .fini = stop);
TestSuite(ring, .init = start, .fini = stop);
TestSuite(doorbell_buffer, .init = start, .fini = stop);
TestSuite(reset, .init = start, .fini = stop);

#define QID_INVALID  NVMF_ST_CS(NVME_SC_QID_INVALID)
#define QUEUE_SIZE   NVMF_ST_CS(NVME_SC_QUEUE_SIZE)
#define CQ_INVALID   NVMF_ST_CS(NVME_SC_CQ_INVALID)
#define BAD_VECTOR   NVMF_ST_CS(NVME_SC_INVALID_VECTOR)
#define BAD_DELETION NVMF_ST_CS(NVME_SC_INVALID_QUEUE)

static uint16_t admin(uint8_t opc, uint64_t prp1, uint32_t cdw10, uint32_t cdw11)
{
	struct plx_nvme_cmd cmd = { .opc = opc, .prp1 = prp1, .cdw10 = cdw10, .cdw11 = cdw11 };
	struct plx_nvme_cpl cpl = host_admin(&h, &cmd);

	return host_status(&cpl);
}

static uint16_t create_cq(uint16_t qid, uint16_t qsize, uint32_t cdw11)
{
	return admin(nvme_admin_create_cq, host_iova(&h, buf), qid | (uint32_t)qsize << 16, cdw11);
}

static uint16_t create_sq(uint16_t qid, uint16_t qsize, uint16_t cqid)
{
	return admin(nvme_admin_create_sq, host_iova(&h, buf), qid | (uint32_t)qsize << 16,
		     1 | (uint32_t)cqid << 16);
}

/* ---- create ---- */

Test(create, completion_queue_identifier_must_be_free_and_in_range)
{
	cr_assert_eq(create_cq(0, 15, 1), QID_INVALID);
	cr_assert_eq(create_cq(9, 15, 1), QID_INVALID);
	cr_assert_eq(create_cq(0xffff, 15, 1), QID_INVALID);
	cr_assert_eq(create_cq(1, 15, 1), 0);
	cr_assert_eq(create_cq(1, 15, 1), QID_INVALID);
}

Test(create, submission_queue_identifier_must_be_free_and_in_range)
{
	cr_assert_eq(create_cq(1, 15, 1), 0);
	cr_assert_eq(create_sq(0, 15, 1), QID_INVALID);
	cr_assert_eq(create_sq(9, 15, 1), QID_INVALID);
	cr_assert_eq(create_sq(8, 15, 1), 0);
	cr_assert_eq(create_sq(8, 15, 1), QID_INVALID);
}

Test(create, size_is_two_entries_to_what_cap_says)
{
	cr_assert_eq(create_cq(1, 0, 1), QUEUE_SIZE);
	cr_assert_eq(create_cq(1, 256, 1), QUEUE_SIZE);
	cr_assert_eq(create_cq(1, 0xffff, 1), QUEUE_SIZE);
	cr_assert_eq(create_cq(1, 255, 1), 0);
	cr_assert_eq(create_sq(1, 0, 1), QUEUE_SIZE);
	cr_assert_eq(create_sq(1, 256, 1), QUEUE_SIZE);
	cr_assert_eq(create_sq(1, 1, 1), 0);
}

Test(create, queues_must_be_contiguous)
{
	cr_assert_eq(create_cq(1, 15, 0), NVME_SC_INVALID_FIELD);
	cr_assert_eq(create_cq(1, 15, 1), 0);
	cr_assert_eq(admin(nvme_admin_create_sq, host_iova(&h, buf), 1 | 15 << 16, 1 << 16),
		     NVME_SC_INVALID_FIELD);
}

Test(create, prp_must_be_page_aligned_and_mapped)
{
	cr_assert_eq(admin(nvme_admin_create_cq, host_iova(&h, buf) + 8, 1 | 15 << 16, 1),
		     NVME_SC_PRP_INVALID_OFFSET);
	cr_assert_eq(admin(nvme_admin_create_cq, HOST_IOVA + HOST_ARENA, 1 | 15 << 16, 1),
		     NVME_SC_DATA_XFER_ERROR);
	cr_assert_eq(admin(nvme_admin_create_cq, UINT64_MAX & ~4095ull, 1 | 255 << 16, 1),
		     NVME_SC_DATA_XFER_ERROR);
	cr_assert_eq(create_cq(1, 15, 1), 0);
	cr_assert_eq(admin(nvme_admin_create_sq, host_iova(&h, buf) + 8, 1 | 15 << 16, 1 | 1 << 16),
		     NVME_SC_PRP_INVALID_OFFSET);
	cr_assert_eq(admin(nvme_admin_create_sq, HOST_IOVA - PLX_PAGE_SIZE, 1 | 15 << 16,
			   1 | 1 << 16),
		     NVME_SC_DATA_XFER_ERROR);
}

Test(create, interrupt_vector_must_exist)
{
	cr_assert_eq(create_cq(1, 15, 3 | 9u << 16), BAD_VECTOR);
	cr_assert_eq(create_cq(1, 15, 3 | 0xffffu << 16), BAD_VECTOR);
	cr_assert_eq(create_cq(1, 15, 3 | 8u << 16), 0);
}

Test(create, submission_queue_needs_its_completion_queue)
{
	cr_assert_eq(create_sq(1, 15, 0), QID_INVALID);
	cr_assert_eq(create_sq(1, 15, 9), QID_INVALID);
	cr_assert_eq(create_sq(1, 15, 2), CQ_INVALID);
}

/* ---- delete ---- */

Test(remove_queue, identifiers_must_be_of_an_io_queue)
{
	cr_assert_eq(admin(nvme_admin_delete_sq, 0, 0, 0), QID_INVALID);
	cr_assert_eq(admin(nvme_admin_delete_sq, 0, 1, 0), QID_INVALID);
	cr_assert_eq(admin(nvme_admin_delete_sq, 0, 0xffff, 0), QID_INVALID);
	cr_assert_eq(admin(nvme_admin_delete_cq, 0, 0, 0), QID_INVALID);
	cr_assert_eq(admin(nvme_admin_delete_cq, 0, 1, 0), QID_INVALID);
	cr_assert_eq(admin(nvme_admin_delete_cq, 0, 0xffff, 0), QID_INVALID);
}

Test(remove_queue, completion_queue_goes_after_its_submission_queues)
{
	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	cr_assert_eq(host_create_sq(&h, 2, 16, 1), 0);
	cr_assert_eq(admin(nvme_admin_delete_cq, 0, 1, 0), BAD_DELETION);
	cr_assert_eq(admin(nvme_admin_delete_sq, 0, 1, 0), 0);
	cr_assert_eq(admin(nvme_admin_delete_cq, 0, 1, 0), BAD_DELETION);
	cr_assert_eq(admin(nvme_admin_delete_sq, 0, 2, 0), 0);
	cr_assert_eq(admin(nvme_admin_delete_cq, 0, 1, 0), 0);
	cr_assert_eq(admin(nvme_admin_delete_cq, 0, 1, 0), QID_INVALID);
}

Test(remove_queue, deleted_queues_can_be_made_again)
{
	for (int i = 0; i < 20; i++) {
		struct plx_nvme_cpl cpl;

		cr_assert_eq(host_create_queue(&h, 3, 16), 0);
		cpl = host_rw(&h, 3, nvme_cmd_read, 0, 1, buf);
		cr_assert_eq(host_status(&cpl), 0);
		cr_assert_eq(host_delete_queue(&h, 3), 0);
	}
}

static void hang_reads(enum plx_bdev_error_kind kind)
{
	struct plx_bdev_error_rule r = { .kind = kind, .types = 1u << PLX_BDEV_READ, .share = 1 };

	cr_assert_eq(plx_bdev_error_inject("host0", &r), 0);
}

static uint16_t submit_read(uint16_t qid)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = h.nsid };

	host_prp(&h, &cmd, buf, 512);
	return host_submit(&h, qid, &cmd);
}

Test(remove_queue, commands_of_a_deleted_queue_are_aborted_first)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_delete_sq, .cdw10 = 1 };
	struct plx_nvme_cpl cpl;
	uint16_t cid;

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	hang_reads(PLX_BDEV_ERR_HANG);
	cid = submit_read(1);
	host_idle(&h);
	cr_assert_not(host_reap(&h, 1, &cpl));
	cpl = host_admin(&h, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert(host_reap(&h, 1, &cpl));
	cr_assert_eq(cpl.cid, cid);
	cr_assert_eq(host_status(&cpl), NVME_SC_ABORT_QUEUE);
}

Test(remove_queue, a_fused_command_that_waits_for_its_second_half_ends_too)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_compare,
				    .flags = PLX_NVME_FUSE_FIRST,
				    .nsid = h.nsid };

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	host_prp(&h, &cmd, buf, 512);
	host_submit(&h, 1, &cmd);
	host_idle(&h);
	cr_assert_eq(host_delete_queue(&h, 1), 0);
}

/* ---- rings ---- */

Test(ring, wraps_with_every_size)
{
	for (uint32_t size = 2; size < 20; size++) {
		cr_assert_eq(host_create_queue(&h, 1, size), 0);
		for (uint32_t i = 0; i < 3 * size; i++) {
			struct plx_nvme_cpl cpl = host_rw(&h, 1, nvme_cmd_read, i % 64, 1, buf);

			cr_assert_eq(host_status(&cpl), 0);
			cr_assert_eq(cpl.sqhd, (i + 1) % size);
		}
		cr_assert_eq(host_delete_queue(&h, 1), 0);
	}
}

Test(ring, completions_wait_while_their_queue_is_full)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = h.nsid };
	uint32_t seen = 0;

	h.remote.in_order = true;
	cr_assert_eq(host_create_cq(&h, 1, 4), 0);
	h.q[1].sqes = host_alloc(&h, 64 * sizeof *h.q[1].sqes, PLX_PAGE_SIZE);
	h.q[1].sq_size = 64;
	cr_assert_eq(host_create_sq(&h, 1, 64, 1), 0);
	host_prp(&h, &cmd, buf, 512);
	for (int i = 0; i < 60; i++)
		host_push(&h, 1, &cmd);
	host_ring(&h, 1);
	host_idle(&h);
	for (; seen < 60; seen++) {
		struct plx_nvme_cpl cpl = host_wait(&h, 1);

		cr_assert_eq(host_status(&cpl), 0);
		cr_assert_eq(cpl.cid, seen);
	}
}

/* A host may leave without ever having taken its completions */
Test(ring, halting_forgets_completions_whose_queue_is_full)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };

	cr_assert_eq(host_create_cq(&h, 1, 2), 0);
	h.q[1].sqes = host_alloc(&h, 16 * sizeof *h.q[1].sqes, PLX_PAGE_SIZE);
	h.q[1].sq_size = 16;
	cr_assert_eq(host_create_sq(&h, 1, 16, 1), 0);
	for (int i = 0; i < 10; i++)
		host_push(&h, 1, &cmd);
	host_ring(&h, 1);
	host_idle(&h);
	nvmf_fn_halt(&h.fn);
	host_idle(&h);
	cr_assert(nvmf_fn_stopped(&h.fn));
}

Test(ring, a_full_submission_queue_is_executed_to_the_last)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_write, .nsid = h.nsid };
	uint64_t seen = 0;

	cr_assert_eq(host_create_queue(&h, 1, 64), 0);
	host_prp(&h, &cmd, buf, 512);
	for (int i = 0; i < 63; i++)
		host_push(&h, 1, &cmd);
	host_ring(&h, 1);
	for (int i = 0; i < 63; i++) {
		struct plx_nvme_cpl cpl = host_wait(&h, 1);

		cr_assert_eq(host_status(&cpl), 0);
		cr_assert_eq(seen >> cpl.cid & 1, 0);
		seen |= 1ull << cpl.cid;
	}
}

Test(ring, a_doorbell_beyond_the_queue_raises_an_event_and_nothing_else)
{
	struct plx_nvme_cmd aer = { .opc = nvme_admin_async_event };
	struct plx_nvme_cpl cpl;

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	host_submit(&h, 0, &aer);
	*h.q[1].sq_db = 16;
	cpl = host_wait(&h, 0);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(cpl.dw0, NVME_AER_ERROR | NVME_AER_ERROR_INVALID_DB_VAL << 8 |
				      NVME_LOG_LID_ERROR << 16);
	host_idle(&h);
	cr_assert_not(host_reap(&h, 1, &cpl));
}

/* ---- shadow doorbells (§5.10) ---- */

Test(doorbell_buffer, moves_doorbells_into_memory)
{
	uint32_t *shadow = host_alloc(&h, PLX_PAGE_SIZE, PLX_PAGE_SIZE);
	uint32_t *event = host_alloc(&h, PLX_PAGE_SIZE, PLX_PAGE_SIZE);
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_dbbuf,
				    .prp1 = host_iova(&h, shadow),
				    .prp2 = host_iova(&h, event) };
	struct plx_nvme_cpl cpl;

	cr_assert_eq(host_make_local(&h, shadow, 2ul * PLX_PAGE_SIZE), 0);
	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	cpl = host_admin(&h, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(host_create_queue(&h, 2, 16), 0);
	for (uint16_t qid = 1; qid <= 2; qid++) {
		h.q[qid].sq_db = &shadow[2 * qid];
		h.q[qid].cq_db = &shadow[2 * qid + 1];
		for (int i = 0; i < 50; i++) {
			cpl = host_rw(&h, qid, nvme_cmd_read, 0, 1, buf);
			cr_assert_eq(host_status(&cpl), 0);
		}
	}
	/* the admin queue keeps its own */
	cr_assert_eq(admin(nvme_admin_keep_alive, 0, 0, 0), 0);
}

Test(doorbell_buffer, addresses_must_be_pages_of_host_memory)
{
	uint64_t good = host_iova(&h, buf);
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_dbbuf, .prp1 = good + 4, .prp2 = good };
	struct plx_nvme_cpl cpl = host_admin(&h, &cmd);

	cr_assert_neq(host_status(&cpl), 0);
	cmd.prp1 = good;
	cmd.prp2 = HOST_IOVA + HOST_ARENA;
	cpl = host_admin(&h, &cmd);
	cr_assert_neq(host_status(&cpl), 0);
}

/* ---- controller reset ---- */

Test(reset, drops_queues_and_starts_anew)
{
	for (int i = 0; i < 5; i++) {
		struct plx_nvme_cpl cpl;

		for (uint16_t qid = 1; qid <= 8; qid++)
			cr_assert_eq(host_create_queue(&h, qid, 32), 0);
		cpl = host_rw(&h, 8, nvme_cmd_read, 0, 1, buf);
		cr_assert_eq(host_status(&cpl), 0);
		host_submit(&h, 0, &(struct plx_nvme_cmd){ .opc = nvme_admin_async_event });
		host_idle(&h);
		cr_assert_eq(host_disable(&h), 0);
		cr_assert_eq(host_enable(&h), 0);
		cr_assert_eq(admin(nvme_admin_delete_sq, 0, 8, 0), QID_INVALID);
	}
}

Test(reset, brings_back_commands_that_hang)
{
	struct plx_nvme_cpl cpl;

	cr_assert_eq(host_create_queue(&h, 1, 32), 0);
	hang_reads(PLX_BDEV_ERR_HANG_HARD);
	for (int i = 0; i < 20; i++)
		submit_read(1);
	host_idle(&h);
	cr_assert_eq(host_disable(&h), 0);
	plx_bdev_error_inject("host0", NULL);
	cr_assert_eq(host_enable(&h), 0);
	cr_assert_eq(host_create_queue(&h, 1, 32), 0);
	cpl = host_rw(&h, 1, nvme_cmd_read, 0, 1, buf);
	cr_assert_eq(host_status(&cpl), 0);
}

Test(reset, ends_a_queue_deletion_that_waits_for_commands)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_delete_sq, .cdw10 = 1 };

	cr_assert_eq(host_create_queue(&h, 1, 32), 0);
	hang_reads(PLX_BDEV_ERR_HANG_HARD);
	submit_read(1);
	host_idle(&h);
	host_submit(&h, 0, &cmd);
	host_idle(&h);
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
}

Test(reset, admin_queue_registers_are_checked)
{
	cr_assert_eq(host_disable(&h), 0);
	nvmf_fn_reg_write(&h.fn, NVME_REG_ASQ, HOST_IOVA + HOST_ARENA, 8);
	nvmf_fn_reg_write(&h.fn, NVME_REG_CC,
			  1 | 6 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT, 4);
	host_idle(&h);
	cr_assert_eq(nvmf_fn_reg_read(&h.fn, NVME_REG_CSTS, 4) & 3, HOST_CFS);
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
}

Test(reset, shutdown_is_reported_complete)
{
	uint32_t cc = (uint32_t)nvmf_fn_reg_read(&h.fn, NVME_REG_CC, 4);

	nvmf_fn_reg_write(&h.fn, NVME_REG_CC, cc | NVME_CC_SHN_NORMAL << NVME_CC_SHN_SHIFT, 4);
	host_idle(&h);
	cr_assert_eq(NVME_CSTS_SHST((uint32_t)nvmf_fn_reg_read(&h.fn, NVME_REG_CSTS, 4)),
		     NVME_CSTS_SHST_CMPLT);
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
}
