/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_cmd.c - I/O commands off the fast path, given by a host through real queues
 */
#include "tests/unit/nvmf_io.h"

/* ---- what every command has in common ---- */

Test(cmd, unknown_opcodes_are_invalid, .init = init, .fini = fini)
{
	static const uint8_t opcodes[] = { nvme_cmd_write_uncor, 0x03, 0x0d, 0x12, 0x1a,
					   nvme_zns_cmd_append,	 0x80, 0xff };

	for (size_t i = 0; i < sizeof opcodes; i++)
		expect(rw(opcodes[i], 0, 1, buf), ST_GENERIC(NVME_SC_INVALID_OPCODE));
}

Test(cmd, namespaces_that_do_not_exist, .init = init, .fini = fini)
{
	static const uint8_t opcodes[] = { nvme_cmd_flush,   nvme_cmd_write,	    nvme_cmd_read,
					   nvme_cmd_compare, nvme_cmd_write_zeroes, nvme_cmd_dsm,
					   nvme_cmd_verify,  nvme_cmd_copy };

	for (size_t i = 0; i < sizeof opcodes; i++) {
		struct plx_nvme_cmd cmd = rw(opcodes[i], 0, 1, buf);

		cmd.nsid = 0;
		expect(cmd, ST_GENERIC(NVME_SC_INVALID_NS));
		cmd.nsid = 9;
		expect(cmd, ST_GENERIC(NVME_SC_INVALID_NS));
		cmd.nsid = 0xfffffffe;
		expect(cmd, ST_GENERIC(NVME_SC_INVALID_NS));
		cmd.nsid = 2; /* valid, inactive (Base 2.0c §3.2.1.5) */
		expect(cmd, ST_GENERIC(NVME_SC_INVALID_FIELD));
		if (opcodes[i] == nvme_cmd_flush)
			continue;
		cmd.nsid = NVME_NSID_ALL;
		expect(cmd, ST_GENERIC(NVME_SC_INVALID_NS));
	}
}

Test(cmd, ranges_past_the_end, .init = init, .fini = fini)
{
	static const uint8_t opcodes[] = { nvme_cmd_write, nvme_cmd_read, nvme_cmd_compare,
					   nvme_cmd_write_zeroes, nvme_cmd_verify };

	for (size_t i = 0; i < sizeof opcodes; i++) {
		expect(rw(opcodes[i], BLOCKS - 1, 1, back), 0);
		expect(rw(opcodes[i], BLOCKS, 1, back), ST_GENERIC(NVME_SC_LBA_RANGE));
		expect(rw(opcodes[i], BLOCKS - 1, 2, back), ST_GENERIC(NVME_SC_LBA_RANGE));
		expect(rw(opcodes[i], UINT64_MAX, 1, back), ST_GENERIC(NVME_SC_LBA_RANGE));
		expect(rw(opcodes[i], UINT64_MAX, 2, back), ST_GENERIC(NVME_SC_LBA_RANGE));
	}
	expect(rw(nvme_cmd_verify, 0, 4096, NULL), 0);
	expect(rw(nvme_cmd_write_zeroes, 0, 4097, NULL), ST_GENERIC(NVME_SC_LBA_RANGE));
}

Test(cmd, transfers_above_mdts_are_refused, .init = init, .fini = fini)
{
	static const uint8_t opcodes[] = { nvme_cmd_write, nvme_cmd_read, nvme_cmd_compare };

	for (size_t i = 0; i < sizeof opcodes; i++) {
		expect(rw(opcodes[i], 0, 256, buf), 0);
		expect(rw(opcodes[i], 0, 257, buf), ST_GENERIC(NVME_SC_INVALID_FIELD));
	}
}

Test(cmd, bad_pointers_are_refused, .init = init, .fini = fini)
{
	static const uint8_t opcodes[] = { nvme_cmd_write, nvme_cmd_read, nvme_cmd_compare,
					   nvme_cmd_dsm, nvme_cmd_copy };

	for (size_t i = 0; i < sizeof opcodes; i++) {
		struct plx_nvme_cmd cmd = rw(opcodes[i], 0, 1, buf);

		cmd.cdw12 = 0;
		cmd.prp1 = 0x1000;
		expect(cmd, ST_GENERIC(NVME_SC_DATA_XFER_ERROR));
		cmd.prp1 = host_iova(&h, buf) + 2;
		expect(cmd, ST_GENERIC(NVME_SC_PRP_INVALID_OFFSET));
		cmd.flags = PLX_NVME_PSDT_MASK;
		expect(cmd, ST_GENERIC(NVME_SC_INVALID_FIELD));
	}
}

/* ---- Read and Write ---- */

Test(cmd, prp_lists_at_any_alignment, .init = init, .fini = fini)
{
	for (uint32_t off = 0; off < 4096; off += 1020) {
		expect(rw(nvme_cmd_write, 100, 256, buf + off), 0);
		memset(back, 0, 200 << 10);
		expect(rw(nvme_cmd_read, 100, 256, back + 4096 - off), 0);
		cr_expect_eq(memcmp(back + 4096 - off, buf + off, 256 * 512), 0, "at offset %u",
			     off);
	}
}

Test(cmd, sgl_read_scatters, .init = init, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, 8, 4, NULL);
	struct plx_nvme_sgl_desc *d = host_alloc(&h, 4 * sizeof *d, 16);

	write_blocks(8, 4);
	d[0] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, back + 3), .len = 700 };
	d[1] = (struct plx_nvme_sgl_desc){ .len = 300, .id = PLX_NVME_SGL_BIT_BUCKET << 4 };
	d[2] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, back + 9000), .len = 2048 };
	cmd.flags = PLX_NVME_PSDT_SGL;
	cmd.sgl1 = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, d),
					       .len = 48,
					       .id = PLX_NVME_SGL_LAST_SEGMENT << 4 };
	expect(cmd, 0);
	cr_expect_eq(memcmp(back + 3, buf, 700), 0);
	cr_expect_eq(memcmp(back + 9000, buf + 1000, 2048 - 1000), 0);
	cr_expect_eq(back[9000 + 2048 - 1000], 0, "longer than the transfer: cut");
	d[2].len = 1000;
	expect(cmd, ST_GENERIC(NVME_SC_SGL_INVALID_DATA));
}

Test(cmd, sgl_write_gathers, .init = init, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, 20, 2, NULL);

	cmd.flags = PLX_NVME_PSDT_SGL;
	cmd.sgl1 = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, buf + 77), .len = 1024 };
	expect(cmd, 0);
	expect_blocks(20, 2, buf + 77);
}

Test(cmd, flags_of_reads_and_writes, .init = init, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, 5, 3, buf);

	/* without protection information PRINFO means nothing */
	cmd.cdw12 |= PLX_NVME_RW_FUA | PLX_NVME_RW_LR | PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK;
	expect(cmd, 0);
	expect_blocks(5, 3, buf);
	cmd = rw(nvme_cmd_read, 5, 3, back);
	cmd.cdw12 |= PLX_NVME_RW_FUA | PLX_NVME_RW_LR;
	memset(back, 0, 1536);
	expect(cmd, 0);
	cr_expect_eq(memcmp(back, buf, 1536), 0);
}

/* ---- Compare, Verify, Write Zeroes, Flush ---- */

Test(cmd, compare_tells_same_from_different, .init = init, .fini = fini)
{
	write_blocks(50, 20);
	expect(rw(nvme_cmd_compare, 50, 20, buf), 0);
	buf[20 * 512 - 1] ^= 1;
	expect(rw(nvme_cmd_compare, 50, 20, buf), ST_MEDIA(NVME_SC_COMPARE_FAILED));
	expect(rw(nvme_cmd_compare, 50, 19, buf), 0);
}

Test(cmd, write_zeroes_zeroes_its_range_alone, .init = init, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write_zeroes, 101, 30, NULL);

	write_blocks(100, 32);
	expect(cmd, 0);
	expect_blocks(100, 1, buf);
	expect_blocks(131, 1, buf + 31 * 512);
	memset(buf, 0, 30 * 512);
	expect_blocks(101, 30, buf);
	cmd.cdw12 |= PLX_NVME_RW_DEAC;
	expect(cmd, 0);
	expect_blocks(101, 30, buf);
}

Test(cmd, flush_of_one_namespace_and_of_all, .init = init, .fini = fini)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
	struct plx_bdev_geometry g = { .blocks = 100, .block_size = 4096 };

	expect(cmd, 0);
	cmd.nsid = NVME_NSID_ALL;
	expect(cmd, 0);
	cr_assert_eq(plx_bdev_null_create("more", &g, NULL), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "more", 7), 7);
	host_idle(&h);
	expect(cmd, 0);
	cr_expect_eq(h.fn.flushes, 0);
	cmd.nsid = 7;
	expect(cmd, 0);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 7), 0);
	host_idle(&h);
	cr_expect_eq(plx_bdev_delete("more"), 0);
}

/* ---- Dataset Management ---- */

static struct plx_nvme_cmd dsm(struct nvme_dsm_range *r, uint32_t n, uint32_t attrs)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_cmd_dsm, .nsid = h.nsid, .cdw10 = n - 1, .cdw11 = attrs
	};

	host_prp(&h, &cmd, r, n * sizeof *r);
	return cmd;
}

Test(cmd, dsm_deallocates_every_range, .init = init, .fini = fini)
{
	struct nvme_dsm_range *r = host_alloc(&h, 256 * sizeof *r, 16);

	write_blocks(0, 256);
	for (uint32_t i = 0; i < 256; i++) {
		r[i].slba = i;
		r[i].nlb = i % 2;
	}
	expect(dsm(r, 256, NVME_DSMGMT_AD), 0);
	for (uint32_t i = 1; i < 256; i += 2)
		memset(buf + i * 512, 0, 512);
	expect_blocks(0, 256, buf);
}

Test(cmd, dsm_checks_all_ranges_before_it_begins, .init = init, .fini = fini)
{
	struct nvme_dsm_range *r = host_alloc(&h, 4096, 4096);

	write_blocks(0, 8);
	r[0].slba = 0;
	r[0].nlb = 8;
	r[1].slba = BLOCKS - 1;
	r[1].nlb = 2;
	expect(dsm(r, 2, NVME_DSMGMT_AD), ST_GENERIC(NVME_SC_LBA_RANGE));
	expect(dsm(r, 2, NVME_DSMGMT_IDR), ST_GENERIC(NVME_SC_LBA_RANGE));
	r[1].slba = UINT64_MAX;
	expect(dsm(r, 2, NVME_DSMGMT_AD), ST_GENERIC(NVME_SC_LBA_RANGE));
	r[1].nlb = UINT32_MAX;
	expect(dsm(r, 2, NVME_DSMGMT_AD), ST_GENERIC(NVME_SC_LBA_RANGE));
	expect_blocks(0, 8, buf);
}

Test(cmd, dsm_hints_change_nothing, .init = init, .fini = fini)
{
	struct nvme_dsm_range *r = host_alloc(&h, 4096, 4096);

	write_blocks(0, 8);
	r[0].nlb = 8;
	expect(dsm(r, 1, NVME_DSMGMT_IDR | NVME_DSMGMT_IDW), 0);
	expect(dsm(r, 1, 0), 0);
	expect_blocks(0, 8, buf);
}

/* ---- Copy ---- */

Test(cmd, copy_gathers_ranges_in_order, .init = init, .fini = fini)
{
	struct nvme_copy_range *r = host_alloc(&h, 4096, 4096);
	struct plx_nvme_cpl cpl;
	struct plx_nvme_cmd cmd;

	write_blocks(0, 256);
	r[0].slba = 100;
	r[0].nlb = 9;
	r[1].slba = 3;
	r[1].nlb = 0;
	r[2].slba = 50;
	r[2].nlb = 39;
	cmd = copy(r, 3, 1000);
	cpl = host_io(&h, 1, &cmd);
	cr_expect_eq(cpl.status >> 1, 0);
	cr_expect_eq(cpl.dw0, 0);
	expect_blocks(1000, 10, buf + 100 * 512);
	expect_blocks(1010, 1, buf + 3 * 512);
	expect_blocks(1011, 40, buf + 50 * 512);
}

Test(cmd, copy_limits_and_ranges, .init = init, .fini = fini)
{
	struct nvme_copy_range *r = host_alloc(&h, 256 * sizeof *r, 4096);
	struct plx_nvme_cmd cmd = copy(r, 1, 0);

	cmd.cdw12 |= 1 << 8; /* format 1 */
	expect(cmd, ST_GENERIC(NVME_SC_INVALID_FIELD));
	cmd.cdw12 = 15 << 8;
	expect(cmd, ST_GENERIC(NVME_SC_INVALID_FIELD));
	expect(copy(r, NVMF_COPY_MSRC + 1, 1), 0);
	expect(copy(r, NVMF_COPY_MSRC + 2, 0), ST_SPECIFIC(NVME_SC_CMD_SIZE_LIMIT_EXCEEDED));
	r[0].nlb = 0xffff; /* one more than MSSRL */
	expect(copy(r, 1, 0), ST_SPECIFIC(NVME_SC_CMD_SIZE_LIMIT_EXCEEDED));
	for (uint32_t i = 0; i < 32; i++)
		r[i].nlb = 0xfffe;
	expect(copy(r, 32, 0), ST_SPECIFIC(NVME_SC_CMD_SIZE_LIMIT_EXCEEDED));
	r[0].nlb = 1;
	r[0].slba = BLOCKS - 1;
	expect(copy(r, 1, 0), ST_GENERIC(NVME_SC_LBA_RANGE));
	r[0].slba = UINT64_MAX;
	expect(copy(r, 1, 0), ST_GENERIC(NVME_SC_LBA_RANGE));
	r[0].slba = 0;
	expect(copy(r, 1, BLOCKS - 1), ST_GENERIC(NVME_SC_LBA_RANGE));
	expect(copy(r, 1, UINT64_MAX - 1), ST_GENERIC(NVME_SC_LBA_RANGE));
	expect(copy(r, 1, BLOCKS - 2), 0);
}

Test(cmd, copy_onto_its_own_source_is_refused, .init = init, .fini = fini)
{
	struct nvme_copy_range *r = host_alloc(&h, 4096, 4096);

	r[0].slba = 1000;
	r[0].nlb = 9;
	r[1].slba = 2000;
	r[1].nlb = 9;
	expect(copy(r, 2, 2009), ST_GENERIC(NVME_SC_INVALID_FIELD));
	expect(copy(r, 2, 1981), ST_GENERIC(NVME_SC_INVALID_FIELD));
	expect(copy(r, 2, 2000), ST_GENERIC(NVME_SC_INVALID_FIELD));
	expect(copy(r, 2, 2010), 0);
	expect(copy(r, 2, 1980), 0);
}

Test(cmd, copy_that_fails_says_where, .init = init_error, .fini = fini)
{
	struct plx_bdev_error_rule rule = { .kind = PLX_BDEV_ERR_FAIL,
					    .types = 1u << PLX_BDEV_COPY,
					    .nth = 3,
					    .status = PLX_BDEV_ST_READ_ERROR };
	struct nvme_copy_range *r = host_alloc(&h, 4096, 4096);
	struct plx_nvme_cmd cmd = copy(r, 5, 100);
	struct plx_nvme_cpl cpl;

	cr_assert_eq(plx_bdev_error_inject("host0", &rule), 0);
	cpl = host_io(&h, 1, &cmd);
	cr_expect_eq(host_status(&cpl), ST_MEDIA(NVME_SC_READ_ERROR));
	cr_expect_eq(cpl.dw0, 2);
}

/* ---- what goes wrong beneath, and Abort ---- */

static struct plx_nvme_cpl abort_cmd(uint16_t sqid, uint16_t cid)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_abort_cmd,
				    .cdw10 = sqid | (uint32_t)cid << 16 };

	return host_admin(&h, &cmd);
}

Test(trouble, media_errors_reach_the_host, .init = init_error, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, 0, 8, back);

	cmd.cdw12 |= PLX_NVME_RW_FUA;
	inject(PLX_BDEV_ERR_FAIL, PLX_BDEV_READ, 1, PLX_BDEV_ST_READ_ERROR);
	expect(cmd, ST_MEDIA(NVME_SC_READ_ERROR));
	expect(cmd, 0);
}

Test(trouble, abort_brings_back_what_hangs, .init = init_error, .fini = fini)
{
	static const struct {
		uint8_t opc;
		enum plx_bdev_io_type type;
	} cases[] = {
		{ nvme_cmd_read, PLX_BDEV_READ },
		{ nvme_cmd_flush, PLX_BDEV_FLUSH },
		{ nvme_cmd_compare, PLX_BDEV_COMPARE },
		{ nvme_cmd_write_zeroes, PLX_BDEV_WRITE_ZEROES },
		{ nvme_cmd_verify, PLX_BDEV_VERIFY },
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		struct plx_nvme_cmd cmd = rw(cases[i].opc, 0, 1, back);
		struct plx_nvme_cpl cpl;
		uint16_t cid;

		inject(PLX_BDEV_ERR_HANG, cases[i].type, 1, 0);
		cmd.cdw12 |= PLX_NVME_RW_LR; /* off the fast path */
		cid = host_submit(&h, 1, &cmd);
		host_idle(&h);
		cr_assert_not(host_reap(&h, 1, &cpl));
		cpl = abort_cmd(1, cid);
		cr_expect_eq(host_status(&cpl), 0);
		cr_expect_eq(cpl.dw0 & 1, 0, "found");
		cpl = host_wait(&h, 1);
		cr_expect_eq(cpl.cid, cid);
		cr_expect_eq(host_status(&cpl), ST_GENERIC(NVME_SC_ABORT_REQ),
			     "opcode %02x: status %03x", cases[i].opc, host_status(&cpl));
	}
}

Test(trouble, abort_stops_a_command_between_its_steps, .init = init_error, .fini = fini)
{
	struct nvme_copy_range *r = host_alloc(&h, 4096, 4096);
	struct plx_nvme_cmd cmd = copy(r, 100, 200);
	struct plx_nvme_cpl cpl;
	uint16_t cid;

	inject(PLX_BDEV_ERR_HANG, PLX_BDEV_COPY, 1, 0);
	cid = host_submit(&h, 1, &cmd);
	host_idle(&h);
	abort_cmd(1, cid);
	cpl = host_wait(&h, 1);
	cr_expect_eq(host_status(&cpl), ST_GENERIC(NVME_SC_ABORT_REQ));
	cr_expect_eq(cpl.dw0, 0);
}

static void keep_stat(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg)
{
	*(struct plx_bdev_stat *)arg = *s;
}

static bool detached(void *arg)
{
	return !h.fn.ctrlr->ns[1].ns;
}

static bool all_fetched(void *arg)
{
	return h.fn.sqs[2]->outstanding + h.fn.sqs[3]->outstanding + h.fn.sqs[4]->outstanding ==
	       3 * 1023;
}

/* Three full queues hold more commands than the block layer has I/O objects; each takes a while */
Test(trouble, commands_wait_for_io_objects_of_the_block_layer, .fini = fini)
{
	const uint32_t depth = 1024, queues = 3;
	const struct plx_bdev_latency lat = { .kind = PLX_LAT_FIXED, .mean_ns = 200000000 };
	const struct plx_bdev_geometry g = { .blocks = 4096,
					     .block_size = 512,
					     .numa = PLX_NUMA_ANY };
	struct plx_bdev_stat stat;
	struct plx_nvme_cmd cmd;
	struct plx_nvme_cpl cpl;
	uint32_t ok = 0, aborted = 0;
	uint16_t last = 0;

	start(&(struct host_opts){ .max_io_queues = 4, .max_queue_size = depth });
	cr_assert_eq(plx_bdev_null_create("base", &g, NULL), 0);
	cr_assert_eq(plx_bdev_delay_create("slow", "base", &lat, &lat, 1, NULL, NULL), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "slow", 2), 2);
	host_idle(&h);
	cmd = rw(nvme_cmd_read, 0, 1, back);
	cmd.nsid = 2;
	for (uint16_t q = 2; q < 2 + queues; q++) {
		cr_assert_eq(host_create_queue(&h, q, depth), 0);
		for (uint32_t i = 0; i < depth - 1; i++) {
			/* off the fast path, each kind of step */
			cmd.opc = i % 3 == 0   ? nvme_cmd_read
				  : i % 3 == 1 ? nvme_cmd_flush
					       : nvme_cmd_write_zeroes;
			cmd.cdw12 = i % 3 == 0 ? PLX_NVME_RW_FUA : 0;
			last = host_push(&h, q, &cmd);
		}
		host_ring(&h, q);
	}
	/* one that waits has no I/O yet: it ends when its turn comes */
	cr_assert(host_poll(&h, all_fetched, NULL));
	abort_cmd(1 + queues, last);
	for (uint16_t q = 2; q < 2 + queues; q++) {
		for (uint32_t i = 0; i < depth - 1; i++) {
			cpl = host_wait(&h, q);
			aborted += host_status(&cpl) == ST_GENERIC(NVME_SC_ABORT_REQ);
			ok += cpl.status != HOST_TIMEOUT && host_status(&cpl) == 0;
		}
	}
	cr_expect_eq(ok, queues * (depth - 1) - 1);
	cr_expect_eq(aborted, 1);
	memset(&stat, 0, sizeof stat);
	plx_bdev_get_stat(plx_bdev_by_name("slow"), keep_stat, &stat);
	host_idle(&h);
	cr_expect_gt(stat.waits, 0, "the test is of no use unless some wait");
	cr_expect_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 2), 0);
	host_idle(&h);
	host_poll(&h, detached, NULL);
	cr_expect_eq(plx_bdev_delete("slow"), 0);
	cr_expect_eq(plx_bdev_delete("base"), 0);
}

Test(trouble, smart_counts_commands_and_bytes, .init = init, .fini = fini)
{
	struct nvmf_ctrlr_stats *s = &h.fn.ctrlr->stats, was = *s;
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, 0, 8, back);

	cmd.cdw12 |= PLX_NVME_RW_FUA;
	expect(cmd, 0);
	expect(rw(nvme_cmd_verify, 0, 1, NULL), 0);
	cmd.opc = nvme_cmd_write;
	expect(cmd, 0);
	cr_expect_eq(s->reads - was.reads, 2);
	cr_expect_eq(s->read_bytes - was.read_bytes, 9 * 512);
	cr_expect_eq(s->writes - was.writes, 1);
	cr_expect_eq(s->written_bytes - was.written_bytes, 8 * 512);
}
