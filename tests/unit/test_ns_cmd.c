/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_ns_cmd.c - I/O commands: what is refused, and the entry each one makes */
#include "qpair_fixture.h"

static void setup(void)
{
	fixture_init(8, 1u << 20);
}

TestSuite(ns_cmd, .init = setup, .fini = teardown);

static void cr_nothing_taken(void)
{
	cr_assert_eq(f.qp->nfree, f.qp->depth);
	cr_assert_eq(fake_submitted(&f), 0);
}

static int rw(uint8_t opc, const struct plx_nvme_rw *r)
{
	return ns_rw_slow(f.ns, f.qp, opc, r, fake_cb, &done);
}

/* ---- read and write ---- */

Test(ns_cmd, fast_path_makes_the_same_entry_as_the_general_builder)
{
	for (uint32_t off = 0; off < PAGE; off += 252) {
		for (uint32_t nlb = 1; nlb <= f.ns->fast_blocks; nlb++) {
			struct iovec iov = { buf + off, nlb * 512 };
			struct plx_nvme_rw r = {
				.iov = &iov, .iovcnt = 1, .nlb = nlb, .slba = 0x123 + off
			};
			struct plx_nvme_cmd fast, slow;

			cr_assert_eq(read_at(buf + off, 0x123 + off % 1000, nlb), 0);
			fast = sent();
			r.slba = 0x123 + off % 1000;
			cr_assert_eq(rw(nvme_cmd_read, &r), 0);
			slow = sent();
			cr_assert_arr_eq(&fast, &slow, sizeof(fast), "offset %u, %u blocks", off,
					 nlb);
			cr_assert_eq(plx_nvme_write(f.ns, f.qp, buf + off, r.slba, nlb, fake_cb,
						    &done),
				     0);
			fast = sent();
			cr_assert_eq(rw(nvme_cmd_write, &r), 0);
			slow = sent();
			cr_assert_arr_eq(&fast, &slow, sizeof(fast));
		}
	}
}

Test(ns_cmd, entry_and_slot_hold_the_same_command)
{
	struct plx_nvme_cmd cmd;

	cr_assert_eq(read_at(buf, 5, 64), 0);
	cmd = sent();
	cr_assert_arr_eq(&cmd, &f.qp->slots[cmd.cid].cmd, sizeof(cmd));
}

/* Lone commands are written to the ring at once, those of a turn by the flush: batches of all
 * sizes, many times around the ring */
Test(ns_cmd, entries_are_whole_and_in_order_when_the_doorbell_moves)
{
	uint64_t next = 0, seen = 0;
	uint32_t rnd = 1, calls = 0;

	for (unsigned turn = 0; turn < 20 * f.qp->sq_size; turn++) {
		uint16_t cids[64], n = 0;
		const struct plx_nvme_cmd *cmd;

		rnd = rnd * 1103515245 + 12345;
		for (uint32_t k = turn % 3 ? 1 : 1 + (rnd >> 16) % f.qp->depth; k; k--)
			cr_assert_eq(read_at(buf, next++ % FAKE_BLOCKS, 1), 0);
		cr_assert_null(fake_next(&f), "nothing before the flush");
		plx_nvme_qpair_flush(f.qp);
		for (; (cmd = fake_next(&f)); seen++) {
			cr_assert_eq(cmd->slba, seen % FAKE_BLOCKS);
			cr_assert_eq(cmd->opc, nvme_cmd_read);
			cr_assert_eq(cmd->prp1, (uint64_t)buf);
			cr_assert_arr_eq(cmd, &f.qp->slots[cmd->cid].cmd, sizeof(*cmd));
			cids[n++] = cmd->cid;
		}
		cr_assert_eq(seen, next);
		while (n)
			fake_complete(&f, cids[--n], 0), calls++;
		plx_nvme_qpair_poll(f.qp, 0);
		cr_assert_eq(done.calls, calls);
	}
	cr_assert_eq(fake_submitted(&f), next);
}

Test(ns_cmd, ranges_outside_the_namespace_are_refused)
{
	cr_assert_eq(read_at(buf, 0, 0), -EINVAL);
	cr_assert_eq(read_at(buf, FAKE_BLOCKS, 1), -EINVAL);
	cr_assert_eq(read_at(buf, FAKE_BLOCKS - 1, 2), -EINVAL);
	cr_assert_eq(read_at(buf, UINT64_MAX, 1), -EINVAL);
	cr_assert_eq(read_at(buf, 1, UINT32_MAX), -EINVAL);
	cr_nothing_taken();
	cr_assert_eq(read_at(buf, FAKE_BLOCKS - 1, 1), 0);
}

Test(ns_cmd, buffers_off_a_dword_are_refused)
{
	cr_assert_eq(read_at(buf + 2, 0, 1), -EINVAL);
	cr_assert_eq(read_at(buf + 1, 0, 100), -EINVAL);
	cr_assert_eq(read_at(buf + 2, 0, 1000), -EINVAL);
	cr_nothing_taken();
}

Test(ns_cmd, memory_a_device_cannot_reach_is_refused)
{
	cr_assert_eq(read_at(NULL, 0, 64), -EFAULT);
	cr_nothing_taken();
}

Test(ns_cmd, missing_iovecs_are_refused)
{
	struct iovec iov = { buf, 1024 };
	struct plx_nvme_rw none = { .nlb = 1 }, negative = { .iov = &iov, .iovcnt = -1, .nlb = 1 },
			   little = { .iov = &iov, .iovcnt = 1, .nlb = 3 };

	cr_assert_eq(rw(nvme_cmd_read, &none), -EINVAL);
	cr_assert_eq(rw(nvme_cmd_read, &negative), -EINVAL);
	cr_assert_eq(rw(nvme_cmd_read, &little), -EINVAL);
	cr_nothing_taken();
	little.nlb = 1;
	cr_assert_eq(rw(nvme_cmd_read, &little), 0, "longer iovecs are harmless");
}

Test(ns_cmd, flags_must_not_reach_into_nlb)
{
	struct iovec iov = { buf, 512 };
	struct plx_nvme_rw r = { .iov = &iov, .iovcnt = 1, .nlb = 1, .flags = 1 };

	cr_assert_eq(rw(nvme_cmd_read, &r), -EINVAL);
	r.flags = PLX_NVME_RW_LR | PLX_NVME_RW_FUA;
	cr_assert_eq(rw(nvme_cmd_read, &r), 0);
	cr_assert_eq(sent().cdw12, PLX_NVME_RW_LR | PLX_NVME_RW_FUA);
}

Test(ns_cmd, full_queue_is_eagain)
{
	for (int i = 0; i < 8; i++)
		cr_assert_eq(read_at(buf, 0, 1), 0);
	cr_assert_eq(read_at(buf, 0, 1), -EAGAIN);
	cr_assert_eq(read_at(buf, 0, 100), -EAGAIN);
	cr_assert_eq(plx_nvme_flush(f.ns, f.qp, fake_cb, &done), -EAGAIN);
	cr_assert_eq(f.qp->queue_full, 3);
}

Test(ns_cmd, nothing_is_announced_before_poll_or_flush)
{
	cr_assert_eq(read_at(buf, 0, 1), 0);
	cr_assert_eq(read_at(buf, 0, 100), 0);
	cr_assert_eq(f.sq_db, 0);
	plx_nvme_qpair_flush(f.qp);
	cr_assert_eq(f.sq_db, 2);
	cr_assert_eq(f.qp->sq_doorbells, 1);
}

/* ---- metadata ---- */

static int rw_md(uint32_t nlb, uint64_t data, void *md, uint32_t flags)
{
	struct iovec iov = { buf, data };
	struct plx_nvme_rw r = { .iov = &iov, .iovcnt = 1, .nlb = nlb, .md = md, .flags = flags };

	return rw(nvme_cmd_write, &r);
}

Test(ns_cmd, separate_metadata_is_required)
{
	fake_format(&f, 512, 8, false, 1);
	cr_assert_eq(rw_md(2, 1024, NULL, 0), -EINVAL);
	cr_assert_eq(read_at(buf, 0, 1), -EINVAL);
	cr_assert_eq(rw_md(2, 1024, buf + PAGE + 2, 0), -EINVAL, "off a dword");
	cr_nothing_taken();
	cr_assert_eq(rw_md(2, 1024, buf + PAGE + 4, 0), 0);
	cr_assert_eq(sent().mptr, (uint64_t)buf + PAGE + 4);
}

Test(ns_cmd, pract_with_8_bytes_transfers_no_metadata)
{
	fake_format(&f, 512, 8, false, 1);
	cr_assert_eq(rw_md(2, 1024, NULL, PLX_NVME_RW_PRACT), 0);
	cr_assert_eq(sent().mptr, 0);
	fake_format(&f, 512, 8, true, 1);
	cr_assert_eq(rw_md(2, 1024, NULL, PLX_NVME_RW_PRACT), 0);
	cr_assert_eq(sent().cdw12, PLX_NVME_RW_PRACT | 1);
	cr_assert_eq(rw_md(2, 1024, NULL, 0), -EINVAL, "without PRACT blocks are 520 bytes");
	fake_format(&f, 512, 16, false, 1);
	cr_assert_eq(rw_md(2, 1024, NULL, PLX_NVME_RW_PRACT), -EINVAL, "there is more than PI");
	f.ns->pi_format = 2;
	cr_assert_eq(rw_md(2, 1024, NULL, PLX_NVME_RW_PRACT), 0, "16 bytes of PI");
	fake_format(&f, 512, 8, false, 0);
	f.ns->pi_format = 0;
	cr_assert_eq(rw_md(2, 1024, NULL, PLX_NVME_RW_PRACT), -EINVAL, "there is no PI");
}

Test(ns_cmd, extended_metadata_travels_with_the_data)
{
	struct plx_nvme_cmd cmd;

	fake_format(&f, 4096, 8, true, 0);
	cr_assert_eq(rw_md(2, 2 * 4104, NULL, 0), 0);
	cmd = sent();
	cr_assert_eq(cmd.prp1, (uint64_t)buf);
	cr_assert_eq(((uint64_t *)cmd.prp2)[1], (uint64_t)buf + 2 * PAGE);
	cr_assert_eq(rw_md(2, 2 * 4096, NULL, 0), -EINVAL, "too little data");
	cr_assert_eq(rw_md(2, 2 * 4104, buf + PAGE, 0), -EINVAL, "no separate metadata here");
}

Test(ns_cmd, metadata_where_the_format_has_none_is_refused)
{
	cr_assert_eq(rw_md(1, 512, buf + PAGE, 0), -EINVAL);
}

/* ---- the other commands ---- */

Test(ns_cmd, flush_is_sent_without_a_write_cache_too)
{
	struct plx_nvme_cmd cmd, want = { .opc = nvme_cmd_flush, .nsid = 7 };

	f.c->id.vwc = 0;
	cr_assert_eq(plx_nvme_flush(f.ns, f.qp, fake_cb, &done), 0);
	cmd = sent();
	want.cid = cmd.cid;
	cr_assert_arr_eq(&cmd, &want, sizeof(cmd));
}

Test(ns_cmd, what_the_controller_lacks_is_enotsup)
{
	struct iovec iov = { buf, 512 };
	struct plx_nvme_rw r = { .iov = &iov, .iovcnt = 1, .nlb = 1 };

	f.c->id.oncs = (uint16_t)~NVME_CTRL_ONCS_COMPARE;
	cr_assert_eq(plx_nvme_comparev(f.ns, f.qp, &r, fake_cb, &done), -ENOTSUP);
	f.c->id.oncs = (uint16_t)~NVME_CTRL_ONCS_VERIFY;
	cr_assert_eq(plx_nvme_verify(f.ns, f.qp, 0, 1, 0, fake_cb, &done), -ENOTSUP);
	f.c->id.oncs = (uint16_t)~NVME_CTRL_ONCS_WRITE_ZEROES;
	cr_assert_eq(plx_nvme_write_zeroes(f.ns, f.qp, 0, 1, 0, fake_cb, &done), -ENOTSUP);
	f.c->id.oncs = (uint16_t)~NVME_CTRL_ONCS_DSM;
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, 4, (void *)buf, 1, fake_cb, &done), -ENOTSUP);
	f.c->id.oncs = (uint16_t)~NVME_CTRL_ONCS_COPY;
	cr_assert_eq(plx_nvme_copy(f.ns, f.qp, 0, (void *)buf, 1, fake_cb, &done), -ENOTSUP);
	f.c->id.fuses = 0;
	cr_assert_eq(plx_nvme_compare_and_write(f.ns, f.qp, &r, &r, fake_cb, &done), -ENOTSUP);
	cr_nothing_taken();
}

Test(ns_cmd, compare_carries_what_a_read_does)
{
	struct iovec iov = { buf, 1024 };
	struct plx_nvme_rw r = { .iov = &iov, .iovcnt = 1, .nlb = 2, .slba = 9 };
	struct plx_nvme_cmd cmd;

	cr_assert_eq(plx_nvme_comparev(f.ns, f.qp, &r, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, nvme_cmd_compare);
	cr_assert_eq(cmd.slba, 9);
	cr_assert_eq(cmd.cdw12, 1);
	cr_assert_eq(cmd.prp1, (uint64_t)buf);
}

Test(ns_cmd, verify_and_write_zeroes_transfer_nothing)
{
	struct plx_nvme_cmd cmd, want = { .nsid = 7, .slba = 5, .cdw14 = 5 };

	cr_assert_eq(plx_nvme_write_zeroes(f.ns, f.qp, 5, 8, PLX_NVME_RW_DEAC, fake_cb, &done), 0);
	cmd = sent();
	want.opc = nvme_cmd_write_zeroes;
	want.cid = cmd.cid;
	want.cdw12 = PLX_NVME_RW_DEAC | 7;
	cr_assert_arr_eq(&cmd, &want, sizeof(cmd));

	cr_assert_eq(plx_nvme_verify(f.ns, f.qp, 5, 1000, PLX_NVME_RW_PRCHK, fake_cb, &done), 0);
	cmd = sent();
	want.opc = nvme_cmd_verify;
	want.cid = cmd.cid;
	want.cdw12 = PLX_NVME_RW_PRCHK | 999;
	cr_assert_arr_eq(&cmd, &want, sizeof(cmd));

	cr_assert_eq(plx_nvme_verify(f.ns, f.qp, FAKE_BLOCKS, 1, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_verify(f.ns, f.qp, 0, 1, 7, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_write_zeroes(f.ns, f.qp, 0, 0, 0, fake_cb, &done), -EINVAL);
}

static void cr_ranges_sent(const uint64_t (*want)[2])
{
	plx_nvme_qpair_flush(f.qp);
	for (; (*want)[1]; want++) {
		const struct plx_nvme_cmd *cmd = fake_next(&f);

		cr_assert(cmd);
		cr_assert_eq(cmd->slba, (*want)[0]);
		cr_assert_eq((cmd->cdw12 & 0xffff) + 1u, (*want)[1]);
		fake_complete(&f, cmd->cid, 0);
	}
	cr_assert_null(fake_next(&f));
	plx_nvme_qpair_poll(f.qp, 0);
	cr_assert_eq(done.calls, 1);
}

Test(ns_cmd, write_zeroes_is_split_at_16_bits_of_nlb)
{
	f.ns->blocks = 1ull << 40;
	cr_assert_eq(plx_nvme_write_zeroes(f.ns, f.qp, 1ull << 33, 200000, 0, fake_cb, &done), 0);
	cr_ranges_sent((const uint64_t[][2]){ { 1ull << 33, 65536 },
					      { (1ull << 33) + 65536, 65536 },
					      { (1ull << 33) + 131072, 65536 },
					      { (1ull << 33) + 196608, 3392 },
					      { 0, 0 } });
}

Test(ns_cmd, verify_and_write_zeroes_are_split_at_their_own_limits)
{
	f.ns->max_verify_blocks = 100;
	f.ns->max_wz_blocks = 64;
	cr_assert_eq(plx_nvme_verify(f.ns, f.qp, 0, 150, 0, fake_cb, &done), 0);
	cr_ranges_sent((const uint64_t[][2]){ { 0, 100 }, { 100, 50 }, { 0, 0 } });
	done.calls = 0;
	cr_assert_eq(plx_nvme_write_zeroes(f.ns, f.qp, 0, 65, 0, fake_cb, &done), 0);
	cr_ranges_sent((const uint64_t[][2]){ { 0, 64 }, { 64, 1 }, { 0, 0 } });
}

Test(ns_cmd, dsm_points_to_its_ranges)
{
	struct nvme_dsm_range *r = (struct nvme_dsm_range *)(buf + PAGE - 16);
	struct plx_nvme_cmd cmd;

	r[0] = (struct nvme_dsm_range){ .nlb = 8, .slba = 0 };
	r[1] = (struct nvme_dsm_range){ .nlb = FAKE_BLOCKS, .slba = 0 };
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, NVME_DSMGMT_AD, r, 2, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, nvme_cmd_dsm);
	cr_assert_eq(cmd.nsid, 7);
	cr_assert_eq(cmd.cdw10, 1);
	cr_assert_eq(cmd.cdw11, NVME_DSMGMT_AD);
	cr_assert_eq(cmd.prp1, (uint64_t)r);
	cr_assert_eq(cmd.prp2, (uint64_t)buf + PAGE);
}

Test(ns_cmd, dsm_checks_its_ranges)
{
	struct nvme_dsm_range *r = (struct nvme_dsm_range *)buf;

	r[0].nlb = 1;
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, 4, r, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, 4, NULL, 1, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, 4, r, 257, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, 4, r, 2, fake_cb, &done), -EINVAL, "r[1] is empty");
	r[1] = (struct nvme_dsm_range){ .nlb = 2, .slba = FAKE_BLOCKS - 1 };
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, 4, r, 2, fake_cb, &done), -EINVAL);
	cr_nothing_taken();
	for (int i = 0; i < 256; i++)
		r[i] = (struct nvme_dsm_range){ .nlb = 1, .slba = i };
	cr_assert_eq(plx_nvme_dsm(f.ns, f.qp, 4, r, 256, fake_cb, &done), 0);
}

Test(ns_cmd, copy_points_to_its_ranges_and_checks_them)
{
	struct nvme_copy_range *r = (struct nvme_copy_range *)buf;
	struct plx_nvme_cmd cmd;

	r[0] = (struct nvme_copy_range){ .slba = 0, .nlb = 7 };
	r[1] = (struct nvme_copy_range){ .slba = FAKE_BLOCKS - 1, .nlb = 0 };
	cr_assert_eq(plx_nvme_copy(f.ns, f.qp, 100, r, 2, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, nvme_cmd_copy);
	cr_assert_eq(cmd.slba, 100);
	cr_assert_eq(cmd.cdw12, 1, "two ranges, format 0h");
	cr_assert_eq(cmd.prp1, (uint64_t)buf);
	cr_assert_eq(plx_nvme_copy(f.ns, f.qp, FAKE_BLOCKS - 8, r, 2, fake_cb, &done), -EINVAL,
		     "nine blocks do not fit there");
	r[1].nlb = 1;
	cr_assert_eq(plx_nvme_copy(f.ns, f.qp, 100, r, 2, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_copy(f.ns, f.qp, 100, r, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_copy(f.ns, f.qp, 100, r, 257, fake_cb, &done), -EINVAL);
}

Test(ns_cmd, copy_of_formats_with_long_guards_has_longer_ranges)
{
	struct nvme_copy_range_f1 *r = (struct nvme_copy_range_f1 *)buf;
	struct nvme_copy_range *short_ones = (struct nvme_copy_range *)buf;
	struct plx_nvme_cmd cmd;

	memset(buf, 0, 2 * sizeof(*r));
	f.c->id.ocfs = 3;
	r[0] = (struct nvme_copy_range_f1){ .slba = 0, .nlb = 7 };
	r[1] = (struct nvme_copy_range_f1){ .slba = FAKE_BLOCKS - 1, .nlb = 0 };
	cr_assert_eq(plx_nvme_copy_f1(f.ns, f.qp, 100, r, 2, fake_cb, &done), -ENOTSUP,
		     "guards of 16 bits");
	f.ns->pi_format = 2;
	cr_assert_eq(plx_nvme_copy(f.ns, f.qp, 100, short_ones, 1, fake_cb, &done), -ENOTSUP);
	cr_nothing_taken();
	cr_assert_eq(plx_nvme_copy_f1(f.ns, f.qp, 100, r, 2, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, nvme_cmd_copy);
	cr_assert_eq(cmd.slba, 100);
	cr_assert_eq(cmd.cdw12, 1 << 8 | 1, "two ranges, format 1h");
	r[1].nlb = 1;
	cr_assert_eq(plx_nvme_copy_f1(f.ns, f.qp, 100, r, 2, fake_cb, &done), -EINVAL);
	r[1].nlb = 0;
	f.c->id.ocfs = 1;
	cr_assert_eq(plx_nvme_copy_f1(f.ns, f.qp, 100, r, 2, fake_cb, &done), -ENOTSUP);
	f.ns->pi_format = 0;
}

/* ---- compare and write ---- */

static struct iovec cmp_iov, wr_iov;
static struct plx_nvme_rw cmp, wr;

static int compare_and_write(uint64_t slba, uint32_t nlb)
{
	cmp_iov = (struct iovec){ buf, 512ull * nlb };
	wr_iov = (struct iovec){ buf + (512 << 10), 512ull * nlb };
	cmp = (struct plx_nvme_rw){ .iov = &cmp_iov, .iovcnt = 1, .slba = slba, .nlb = nlb };
	wr = (struct plx_nvme_rw){ .iov = &wr_iov, .iovcnt = 1, .slba = slba, .nlb = nlb };
	return plx_nvme_compare_and_write(f.ns, f.qp, &cmp, &wr, fake_cb, &done);
}

/* Sends a pair, also over the end of the ring, and gives the identifiers of its halves */
static void pair_sent(uint16_t cids[2])
{
	const struct plx_nvme_cmd *cmd;

	cr_assert_eq(compare_and_write(40, 8), 0);
	cr_assert_null(fake_next(&f), "no doorbell between the two");
	plx_nvme_qpair_flush(f.qp);
	cmd = fake_next(&f);
	cr_assert_eq(cmd->opc, nvme_cmd_compare);
	cr_assert_eq(cmd->flags, PLX_NVME_FUSE_FIRST);
	cr_assert_eq(cmd->slba, 40);
	cr_assert_eq(cmd->cdw12, 7);
	cids[0] = cmd->cid;
	cmd = fake_next(&f);
	cr_assert_eq(cmd->opc, nvme_cmd_write);
	cr_assert_eq(cmd->flags, PLX_NVME_FUSE_SECOND);
	cr_assert_eq(cmd->prp1, (uint64_t)wr_iov.iov_base);
	cids[1] = cmd->cid;
}

Test(ns_cmd, compare_and_write_is_a_pair_in_a_row_with_one_callback)
{
	for (int i = 0; i < 10; i++) {
		uint16_t cids[2];

		done = (struct fake_done){ 0 };
		pair_sent(cids);
		fake_complete(&f, cids[i & 1], 0);
		plx_nvme_qpair_poll(f.qp, 0);
		cr_assert_eq(done.calls, 0);
		fake_complete(&f, cids[!(i & 1)], 0);
		plx_nvme_qpair_poll(f.qp, 0);
		cr_assert_eq(done.calls, 1);
		cr_assert_eq(done.status, 0);
		cr_assert_eq(f.qp->nfree, 8);
	}
	cr_assert_eq(f.qp->sq_doorbells, 10);
}

static void cr_pair_reports(unsigned first, uint16_t cmp_status, uint16_t wr_status, uint16_t want)
{
	uint16_t cids[2], status[2] = { cmp_status, wr_status };

	done = (struct fake_done){ 0 };
	pair_sent(cids);
	fake_complete(&f, cids[first], status[first]);
	fake_complete(&f, cids[!first], status[!first]);
	plx_nvme_qpair_poll(f.qp, 0);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status, want);
}

Test(ns_cmd, compare_and_write_reports_the_compare_when_that_failed)
{
	uint16_t failure = PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_COMPARE_FAILED);

	for (unsigned first = 0; first < 2; first++) {
		cr_pair_reports(first, failure, NVME_SC_FUSED_FAIL, failure);
		cr_pair_reports(first, 0, NVME_SC_CAP_EXCEEDED, NVME_SC_CAP_EXCEEDED);
		cr_pair_reports(first, failure, 0, failure);
	}
}

Test(ns_cmd, compare_and_write_takes_two_slots_or_none)
{
	for (int i = 0; i < 7; i++)
		cr_assert_eq(read_at(buf, 0, 1), 0);
	cr_assert_eq(compare_and_write(0, 1), -EAGAIN);
	cr_assert_eq(f.qp->nfree, 1);
	cr_assert_eq(fake_submitted(&f), 7);
}

Test(ns_cmd, compare_and_write_never_fits_a_queue_of_one_command)
{
	f.qp->depth = 1;
	cr_assert_eq(compare_and_write(0, 1), -ENOTSUP);
}

Test(ns_cmd, compare_and_write_is_not_split)
{
	cr_assert_eq(compare_and_write(0, 257), -EINVAL);
	cr_nothing_taken();
	f.ns->boundary = 10;
	cr_assert_eq(compare_and_write(5, 10), 0, "a boundary is about speed only");
}

Test(ns_cmd, compare_and_write_takes_nothing_when_one_half_cannot_be_built)
{
	cr_assert_eq(compare_and_write(0, 1), 0);
	wr_iov.iov_base = buf + 2;
	cr_assert_eq(f.qp->nfree, 6);
	cr_assert_eq(plx_nvme_compare_and_write(f.ns, f.qp, &cmp, &wr, fake_cb, &done), -EINVAL);
	wr_iov.iov_base = buf;
	wr.slba = 1;
	cr_assert_eq(plx_nvme_compare_and_write(f.ns, f.qp, &cmp, &wr, fake_cb, &done), -EINVAL,
		     "not the same range");
	cr_assert_eq(f.qp->nfree, 6);
	cr_assert_eq(fake_submitted(&f), 2);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(compare_and_write(0, 1), 0);
}

/* ---- raw ---- */

Test(ns_cmd, raw_command_keeps_its_fields_and_gets_identifier_and_pointers)
{
	struct plx_nvme_cmd want = { .opc = 0x91,
				     .nsid = 3,
				     .flags = PLX_NVME_FUSE_FIRST | PLX_NVME_PSDT_SGL,
				     .cdw2 = 2,
				     .cdw3 = 3,
				     .cdw10 = 10,
				     .cdw11 = 11,
				     .cdw12 = 12,
				     .cdw13 = 13,
				     .cdw14 = 14,
				     .cdw15 = 15,
				     .prp1 = 99,
				     .prp2 = 99,
				     .mptr = 99,
				     .cid = 77 };
	struct iovec iov[] = { { buf, PAGE }, { buf + 8 * PAGE, 100 } };
	struct plx_nvme_cmd cmd;

	cr_assert_eq(plx_nvme_io_raw(f.qp, &want, iov, 2, buf + 4 * PAGE, 64, fake_cb, &done), 0);
	cmd = sent();
	want.flags = PLX_NVME_FUSE_FIRST;
	want.cid = cmd.cid;
	want.prp1 = (uint64_t)buf;
	want.prp2 = (uint64_t)buf + 8 * PAGE;
	want.mptr = (uint64_t)buf + 4 * PAGE;
	cr_assert_arr_eq(&cmd, &want, sizeof(cmd));

	want.mptr = 99;
	cr_assert_eq(plx_nvme_io_raw(f.qp, &want, NULL, 0, NULL, 0, fake_cb, &done), 0);
	cmd = sent();
	cr_assert(!cmd.prp1 && !cmd.prp2 && !cmd.mptr);
}

Test(ns_cmd, raw_command_over_the_limit_or_malformed_is_refused)
{
	struct plx_nvme_cmd raw = { .opc = 0x91 };
	struct iovec big[] = { { buf, 128 << 10 }, { buf + (512 << 10), 4 } };
	struct iovec wraps[] = { { buf, 512 }, { buf, SIZE_MAX } };
	struct iovec apart[] = { { buf, 512 }, { buf + PAGE, 512 } };

	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, big, 2, NULL, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, wraps, 2, NULL, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, NULL, 1, NULL, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, big, -1, NULL, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, big, 1, buf, 0, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, big, 1, NULL, 8, fake_cb, &done), -EINVAL);
	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, apart, 2, NULL, 0, fake_cb, &done), -EINVAL);
	cr_nothing_taken();
	f.qp->sgl = NVME_SGL_AVAILABLE;
	cr_assert_eq(plx_nvme_io_raw(f.qp, &raw, apart, 2, NULL, 0, fake_cb, &done), 0);
	cr_assert_eq(sent().flags, PLX_NVME_PSDT_SGL);
}
