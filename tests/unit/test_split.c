/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_split.c - I/O larger than one command; the test plays the device */
#include "qpair_fixture.h"
#include "driver/split.h"

static void setup(void)
{
	fixture_init(16, 4u << 20);
}

TestSuite(split, .init = setup, .fini = teardown);

static int readv_at(const struct iovec *iov, int cnt, uint64_t slba, uint32_t nlb)
{
	struct plx_nvme_rw rw = { .iov = iov, .iovcnt = cnt, .slba = slba, .nlb = nlb };

	return plx_nvme_readv(f.ns, f.qp, &rw, fake_cb, &done);
}

/* Announce what is queued; the device takes exactly these commands, as (slba, nlb), 0 ends */
static void cr_commands(const uint64_t (*want)[2])
{
	plx_nvme_qpair_flush(f.qp);
	for (; (*want)[1]; want++) {
		const struct plx_nvme_cmd *cmd = fake_next(&f);

		cr_assert(cmd, "a command for %lu blocks at %lu is missing",
			  (unsigned long)(*want)[1], (unsigned long)(*want)[0]);
		cr_assert_eq(cmd->slba, (*want)[0]);
		cr_assert_eq((cmd->cdw12 & 0xffff) + 1u, (*want)[1]);
	}
	cr_assert_null(fake_next(&f), "a command too many");
}
#define commands(...) cr_commands((const uint64_t[][2]){ __VA_ARGS__, { 0, 0 } })

static void complete_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fake_complete(&f, f.qp->sq[i].cid, 0);
	plx_nvme_qpair_poll(f.qp, 0);
}

Test(split, what_fits_is_one_command)
{
	cr_assert_eq(read_at(buf, 10, 256), 0);
	commands({ 10, 256 });
	complete_all(1);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(f.qp->splits, 0);
}

Test(split, at_the_limit_of_a_command)
{
	cr_assert_eq(read_at(buf, 10, 600), 0);
	commands({ 10, 256 }, { 266, 256 }, { 522, 88 });
	cr_assert_eq(f.qp->sq[1].prp1, (uint64_t)buf + 256 * 512);
	cr_assert_eq(f.qp->splits, 1);
}

Test(split, one_callback_after_the_last_completion_in_any_order)
{
	cr_assert_eq(read_at(buf, 0, 600), 0);
	commands({ 0, 256 }, { 256, 256 }, { 512, 88 });
	fake_complete(&f, f.qp->sq[2].cid, 0);
	fake_complete(&f, f.qp->sq[0].cid, 0);
	cr_assert_eq(plx_nvme_qpair_poll(f.qp, 0), 2);
	cr_assert_eq(done.calls, 0);
	fake_complete(&f, f.qp->sq[1].cid, 0);
	plx_nvme_qpair_poll(f.qp, 0);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status, 0);
	cr_assert_eq(plx_nvme_qpair_outstanding(f.qp), 0);
}

Test(split, at_multiples_of_the_boundary)
{
	f.ns->boundary = 100;
	cr_assert_eq(read_at(buf, 150, 20), 0);
	cr_assert_eq(read_at(buf, 190, 20), 0);
	cr_assert_eq(read_at(buf, 199, 102), 0);
	commands({ 150, 20 }, { 190, 10 }, { 200, 10 }, { 199, 1 }, { 200, 100 }, { 300, 1 });
}

Test(split, goes_on_as_commands_complete_when_the_queue_is_small)
{
	unsigned total = 0;

	f.ns->max_io_blocks = 8;
	cr_assert_eq(read_at(buf, 0, 1000), 0);
	while (!done.calls) {
		const struct plx_nvme_cmd *cmd;

		plx_nvme_qpair_flush(f.qp);
		cmd = fake_next(&f);
		cr_assert(cmd);
		cr_assert_eq(cmd->slba, total);
		total += (cmd->cdw12 & 0xffff) + 1;
		fake_complete(&f, cmd->cid, 0);
		plx_nvme_qpair_poll(f.qp, 0);
	}
	cr_assert_eq(total, 1000);
	cr_assert_eq(f.commands, 125);
	cr_assert_eq(done.status, 0);
	cr_assert_eq(f.qp->nfree, f.qp->depth);
}

Test(split, progress_needs_one_slot_only)
{
	struct fake_done other = { 0 };

	f.ns->max_io_blocks = 8;
	for (int i = 0; i < 15; i++)
		cr_assert_eq(plx_nvme_flush(f.ns, f.qp, fake_cb, &other), 0);
	cr_assert_eq(read_at(buf, 0, 64), 0);
	plx_nvme_qpair_flush(f.qp);
	for (int i = 0; i < 15; i++)
		cr_assert_eq(fake_next(&f)->opc, nvme_cmd_flush);
	for (int i = 0; i < 8; i++) {
		const struct plx_nvme_cmd *cmd = fake_next(&f);

		cr_assert(cmd);
		cr_assert_eq(cmd->slba, 8u * i);
		fake_complete(&f, cmd->cid, 0);
		plx_nvme_qpair_poll(f.qp, 0);
	}
	cr_assert_eq(done.calls, 1);
}

Test(split, full_queue_is_eagain_and_counted)
{
	for (int i = 0; i < 16; i++)
		cr_assert_eq(read_at(buf, 0, 256), 0);
	cr_assert_eq(read_at(buf, 0, 600), -EAGAIN);
	cr_assert_eq(f.qp->queue_full, 1);
	cr_assert_eq(f.qp->splits, 0);
}

Test(split, empty_pool_is_eagain_and_takes_nothing)
{
	for (int i = 0; i < 4; i++)
		cr_assert_eq(read_at(buf, 0, 600), 0);
	cr_assert_eq(f.qp->nfree, 4);
	cr_assert_eq(read_at(buf, 0, 600), -EAGAIN);
	cr_assert_eq(f.qp->nfree, 4);
	cr_assert_eq(read_at(buf, 0, 256), 0, "what needs no split goes on");
	plx_nvme_qpair_flush(f.qp);
	complete_all(3);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(read_at(buf, 0, 600), 0, "a finished one makes room");
}

Test(split, failed_queue_is_enxio)
{
	f.qp->nfree = 0;
	f.qp->state = NVME_QP_FAILED;
	cr_assert_eq(read_at(buf, 0, 600), -ENXIO);
}

Test(split, first_failure_is_reported_and_stops_the_rest)
{
	f.ns->max_io_blocks = 8;
	cr_assert_eq(read_at(buf, 0, 1000), 0);
	plx_nvme_qpair_flush(f.qp);
	for (int i = 0; i < 16; i++)
		cr_assert(fake_next(&f));
	fake_complete(&f, f.qp->sq[3].cid, 0x281 | PLX_NVME_DNR);
	fake_complete(&f, f.qp->sq[2].cid, 0x80);
	plx_nvme_qpair_poll(f.qp, 0);
	cr_assert_null(fake_next(&f));
	for (int i = 0; i < 16; i++)
		if (i != 2 && i != 3)
			fake_complete(&f, f.qp->sq[i].cid, 0);
	plx_nvme_qpair_poll(f.qp, 0);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status, 0x281 | PLX_NVME_DNR);
	cr_assert_eq(f.qp->nfree, 16);
	cr_assert_eq(f.commands, 16);
}

Test(split, destroyed_queue_ends_it_though_its_commands_succeed)
{
	f.ns->max_io_blocks = 8;
	cr_assert_eq(read_at(buf, 0, 1000), 0);
	f.qp->nfree_saved = f.qp->nfree;
	f.qp->nfree = 0;
	f.qp->state = NVME_QP_FAILED;
	for (uint16_t cid = 0; cid < 16; cid++)
		qpair_complete_slot(f.qp, cid, 0, 0);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status, PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_ABORT_QUEUE));
}

static void submit_again(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct fake_done *d = arg;

	fake_cb(arg, cpl);
	if (d->calls < 3)
		cr_assert_eq(plx_nvme_read(f.ns, f.qp, buf, 0, 512, submit_again, arg), 0);
}

Test(split, callback_may_submit_the_next)
{
	split_pool_fini(f.qp);
	split_pool_init(f.qp, 1);
	cr_assert_eq(plx_nvme_read(f.ns, f.qp, buf, 0, 512, submit_again, &done), 0);
	plx_nvme_qpair_flush(f.qp);
	for (const struct plx_nvme_cmd *cmd; (cmd = fake_next(&f));) {
		fake_complete(&f, cmd->cid, 0);
		plx_nvme_qpair_poll(f.qp, 0);
	}
	cr_assert_eq(done.calls, 3);
	cr_assert_eq(f.commands, 6);
}

/* ---- metadata and tags ---- */

static void cr_md_and_tags(uint8_t pi_type, uint32_t tag_step)
{
	struct iovec iov = { buf, 600 * 512 };
	struct plx_nvme_rw rw = {
		.iov = &iov,
		.iovcnt = 1,
		.nlb = 600,
		.slba = 1,
		.md = buf + (1 << 20),
		.flags = PLX_NVME_RW_PRCHK | PLX_NVME_RW_FUA,
		.reftag = 0xffffff80u,
		.apptag = 0x1234,
		.appmask = 0xff0f,
		.cdw13 = 0x55aa0001,
	};

	fake_format(&f, 512, 8, false, pi_type);
	cr_assert_eq(plx_nvme_writev(f.ns, f.qp, &rw, fake_cb, &done), 0);
	commands({ 1, 256 }, { 257, 256 }, { 513, 88 });
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(f.qp->sq[i].mptr, (uint64_t)rw.md + i * 256 * 8);
		cr_assert_eq(f.qp->sq[i].cdw14, 0xffffff80u + i * tag_step);
		cr_assert_eq(f.qp->sq[i].cdw15, 0xff0f1234);
		cr_assert_eq(f.qp->sq[i].cdw13, 0x55aa0001);
		cr_assert_eq(f.qp->sq[i].cdw12 & 0xffff0000u, rw.flags);
	}
}

Test(split, reference_tag_of_type_1_advances)
{
	cr_md_and_tags(1, 256);
}

Test(split, reference_tag_of_type_2_advances)
{
	cr_md_and_tags(2, 256);
}

Test(split, reference_tag_of_type_3_stays)
{
	cr_md_and_tags(3, 0);
}

/* ---- iovecs ---- */

Test(split, where_iovecs_do_not_meet_on_pages)
{
	struct iovec iov[] = { { buf + 512, 1024 },
			       { buf + 8 * PAGE, PAGE },
			       { buf + 16 * PAGE, 512 } };

	cr_assert_eq(readv_at(iov, 3, 20, 11), 0);
	commands({ 20, 2 }, { 22, 9 });
	cr_assert_eq(f.qp->sq[0].prp1, (uint64_t)buf + 512);
	cr_assert_eq(f.qp->sq[0].prp2, 0);
	cr_assert_eq(f.qp->sq[1].prp1, (uint64_t)buf + 8 * PAGE);
	cr_assert_eq(f.qp->sq[1].prp2, (uint64_t)buf + 16 * PAGE);
}

Test(split, a_block_over_pieces_that_do_not_meet_is_refused_before_anything_is_sent)
{
	struct iovec iov[] = { { buf, 768 }, { buf + 8 * PAGE, 1280 } };
	struct iovec later[] = { { buf, PAGE }, { buf + 4 * PAGE, 300 }, { buf + 8 * PAGE, 724 } };

	cr_assert_eq(readv_at(iov, 2, 0, 4), -EINVAL);
	cr_assert_eq(readv_at(later, 3, 0, 10), -EINVAL);
	cr_assert_eq(f.qp->nfree, 16);
	cr_assert_eq(fake_submitted(&f), 0);
}

Test(split, sgls_express_what_prps_cannot)
{
	struct iovec iov[] = { { buf, 768 }, { buf + 8 * PAGE, 1280 } };

	f.qp->sgl = NVME_SGL_AVAILABLE;
	cr_assert_eq(readv_at(iov, 2, 0, 4), 0);
	cr_assert_eq(readv_at(iov, 1, 0, 1), 0);
	commands({ 0, 4 }, { 0, 1 });
	cr_assert_eq(f.qp->sq[0].flags, PLX_NVME_PSDT_SGL);
	cr_assert_eq(f.qp->sq[1].flags, 0, "what PRPs can do, they do");
}

Test(split, sgls_where_asked_for)
{
	f.qp->sgl = NVME_SGL_AVAILABLE | NVME_SGL_ALWAYS;
	f.ns->fast_blocks = 0;
	cr_assert_eq(read_at(buf, 0, 1), 0);
	commands({ 0, 1 });
	cr_assert_eq(f.qp->sq[0].flags, PLX_NVME_PSDT_SGL);
	cr_assert_eq(f.qp->sq[0].sgl1.addr, (uint64_t)buf);
	cr_assert_eq(f.qp->sq[0].sgl1.len, 512);
}

#define BUCKET PLX_NVME_BIT_BUCKET

static int drop_at(struct iovec *iov, int n, uint64_t slba, uint32_t nlb)
{
	struct plx_nvme_rw rw = {
		.iov = iov, .iovcnt = n, .slba = slba, .nlb = nlb, .buckets = true
	};

	return plx_nvme_readv(f.ns, f.qp, &rw, fake_cb, &done);
}

static void takes_buckets(void)
{
	f.qp->sgl = NVME_SGL_AVAILABLE | NVME_SGL_BUCKET;
	f.ns->ctrlr->id.sgls = 1 | NVME_CTRL_SGLS_BIT_BUCKET;
}

Test(split, what_falls_into_bit_buckets_is_not_transferred)
{
	struct iovec iov[] = {
		{ buf, 512 }, { BUCKET, 1024 }, { buf + 512, 512 }, { BUCKET, 4096 }
	};

	takes_buckets();
	fake_disk(&f);
	for (unsigned i = 0; i < 6144; i++)
		f.disk[i] = (char)(i / 512 + 1);
	memset(buf, 0, PAGE);
	cr_assert_eq(drop_at(iov, 4, 0, 12), 0);
	plx_nvme_qpair_flush(f.qp);
	cr_assert_eq(f.qp->sq[0].flags, PLX_NVME_PSDT_SGL);
	fake_execute(&f, fake_next(&f));
	cr_assert_eq(buf[0], 1);
	cr_assert_eq(buf[511], 1);
	cr_assert_eq(buf[512], 4);
	cr_assert_eq(buf[1023], 4);
	cr_assert_eq(buf[1024], 0);
}

Test(split, bit_buckets_are_split_like_memory)
{
	struct iovec iov[] = { { buf, 512 }, { BUCKET, 40 * 512 } };
	const struct plx_nvme_sgl_desc *d;

	takes_buckets();
	f.ns->max_io_blocks = 8;
	cr_assert_eq(drop_at(iov, 2, 0, 41), 0);
	commands({ 0, 8 }, { 8, 8 }, { 16, 8 }, { 24, 8 }, { 32, 8 }, { 40, 1 });
	cr_assert_eq(f.qp->sq[5].flags, PLX_NVME_PSDT_SGL);
	/* as SGL1 itself a descriptor of a whole transfer is one of data */
	cr_assert_eq(f.qp->sq[5].sgl1.id, PLX_NVME_SGL_LAST_SEGMENT << 4);
	cr_assert_eq(f.qp->sq[5].sgl1.len, sizeof(*d));
	d = (const struct plx_nvme_sgl_desc *)(uintptr_t)f.qp->sq[5].sgl1.addr;
	cr_assert_eq(d->id, PLX_NVME_SGL_BIT_BUCKET << 4);
	cr_assert_eq(d->addr, 0);
	cr_assert_eq(d->len, 512);
}

Test(split, bit_buckets_are_refused_where_they_cannot_be)
{
	struct iovec iov[] = { { buf, 512 }, { BUCKET, 512 } },
		     odd[] = { { buf, 510 }, { BUCKET, 514 } };
	struct plx_nvme_rw rw = { .iov = iov, .iovcnt = 2, .nlb = 2, .buckets = true };

	f.ns->ctrlr->id.sgls = 1;
	cr_expect_eq(drop_at(iov, 2, 0, 2), -ENOTSUP);
	f.ns->ctrlr->id.sgls = NVME_CTRL_SGLS_BIT_BUCKET;
	cr_expect_eq(drop_at(iov, 2, 0, 2), -ENOTSUP, "no SGLs at all");
	takes_buckets();
	cr_expect_eq(plx_nvme_writev(f.ns, f.qp, &rw, fake_cb, &done), -EINVAL);
	cr_expect_eq(drop_at(odd, 2, 0, 2), -EINVAL);
	iov[1].iov_base = (char *)BUCKET + 4;
	cr_expect_eq(drop_at(iov, 2, 0, 2), -EINVAL);
	cr_expect_eq(f.qp->nfree, 16);
	cr_expect_eq(fake_submitted(&f), 0);
}

Test(split, where_sgl_memory_ends)
{
	struct iovec iov[40];

	f.qp->sgl = NVME_SGL_AVAILABLE;
	f.qp->prp_list_bytes = 256;
	for (int i = 0; i < 40; i++)
		iov[i] = (struct iovec){ buf + i * 1024, 512 };
	cr_assert_eq(readv_at(iov, 40, 0, 40), 0);
	commands({ 0, 16 }, { 16, 16 }, { 32, 8 });
}

Test(split, caller_keeps_an_array_of_iovecs_but_not_the_iovec_of_a_plain_read)
{
	struct iovec iov = { buf, 600 * 512 };

	f.ns->max_io_blocks = 8;
	cr_assert_eq(readv_at(&iov, 1, 0, 600), 0);
	memset(&iov, 0xff, sizeof(iov));
	plx_nvme_qpair_flush(f.qp);
	for (unsigned i = 0; i < 75; i++) {
		const struct plx_nvme_cmd *cmd = fake_next(&f);

		cr_assert_eq(cmd->prp1, (uint64_t)buf + i * PAGE);
		fake_complete(&f, cmd->cid, 0);
		plx_nvme_qpair_poll(f.qp, 0);
	}
	cr_assert_eq(done.calls, 1);
}

/* ---- device addresses that are not virtual addresses ---- */

#define SHIFT 0x10000000ull
static char *jump; /* from here on device addresses are a page further apart */

static uint64_t jumping_look(const struct dptr_iova *self, const void *va, size_t *len)
{
	const char *at = va;

	if (at >= buf + (2 << 20) && at < buf + (4 << 20))
		return PLX_IOVA_BAD;
	if (at >= jump)
		return (uint64_t)at + SHIFT + PAGE;
	if (len && *len > (size_t)(jump - at))
		*len = (size_t)(jump - at);
	return (uint64_t)at + SHIFT;
}
static const struct dptr_iova jumping = { jumping_look };

static int write_md(uint32_t nlb, char *data, void *md)
{
	static struct iovec iov;
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1, .nlb = nlb, .md = md };

	iov = (struct iovec){ data, nlb * 512ull };
	return plx_nvme_writev(f.ns, f.qp, &rw, fake_cb, &done);
}

static void scatter(char *at)
{
	f.qp->identity = 0;
	f.qp->iova = &jumping;
	jump = at;
}

Test(split, data_that_jumps_is_one_command)
{
	scatter(buf + PAGE);
	cr_assert_eq(read_at(buf, 0, 16), 0);
	commands({ 0, 16 });
	cr_assert_eq(f.qp->sq[0].prp1, (uint64_t)buf + SHIFT);
	cr_assert_eq(f.qp->sq[0].prp2, (uint64_t)buf + SHIFT + 2 * PAGE);
}

Test(split, where_metadata_jumps)
{
	char *md = buf + (1 << 20) - 10 * 8;

	fake_format(&f, 512, 8, false, 0);
	scatter(buf + (1 << 20));
	cr_assert_eq(write_md(30, buf, md), 0);
	commands({ 0, 10 }, { 10, 20 });
	cr_assert_eq(f.qp->sq[0].mptr, (uint64_t)md + SHIFT);
	cr_assert_eq(f.qp->sq[1].mptr, (uint64_t)buf + (1 << 20) + SHIFT + PAGE);
}

Test(split, metadata_that_would_begin_off_a_dword_is_refused)
{
	fake_format(&f, 512, 6, false, 0);
	cr_assert_eq(write_md(256, buf, buf + (1 << 20)), 0);
	cr_assert_eq(write_md(257, buf, buf + (1 << 20)), -EINVAL);
	cr_assert_eq(fake_submitted(&f), 1);
}

Test(split, metadata_of_a_block_that_jumps_is_refused)
{
	fake_format(&f, 512, 8, false, 0);
	scatter(buf + (1 << 20));
	cr_assert_eq(write_md(30, buf, buf + (1 << 20) - 4), -EINVAL);
	cr_assert_eq(write_md(30, buf, buf + (1 << 20) - 20), -EINVAL);
	cr_assert_eq(fake_submitted(&f), 0);
}

Test(split, metadata_that_jumps_is_one_command_where_mptr_may_be_an_sgl)
{
	fake_format(&f, 512, 8, false, 0);
	f.qp->sgl = NVME_SGL_AVAILABLE | NVME_SGL_ALWAYS | NVME_SGL_MPTR;
	scatter(buf + (1 << 20));
	cr_assert_eq(write_md(30, buf, buf + (1 << 20) - 20), 0);
	commands({ 0, 30 });
	cr_assert_eq(f.qp->sq[0].flags, PLX_NVME_PSDT_SGL_MSGL);
}

Test(split, unreachable_memory_is_efault)
{
	scatter(buf + (1 << 20));
	cr_assert_eq(plx_nvme_read(f.ns, f.qp, buf + (2 << 20), 0, 1, fake_cb, &done), -EFAULT);
	cr_assert_eq(f.qp->nfree, 16);
}

Test(split, memory_that_turns_out_unreachable_later_fails_the_whole)
{
	scatter(buf + (8 << 20));
	cr_assert_eq(plx_nvme_read(f.ns, f.qp, buf + (2 << 20) - 256 * 512, 0, 512, fake_cb, &done),
		     0);
	commands({ 0, 256 });
	complete_all(1);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status, NVME_SC_DATA_XFER_ERROR | PLX_NVME_DNR);
}

/* ---- random I/O on a disk ---- */

static uint64_t seed = 88172645463325252ull;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 32) * below >> 32);
}

/* Cuts the buffer into pieces at multiples of @unit, in a random order with gaps */
static int random_iovs(struct iovec *iov, int max, uint64_t len, uint32_t unit)
{
	char *at = buf + (rnd(2) ? unit * rnd(8) : 0);
	int n = 0;

	while (len) {
		uint64_t piece = (uint64_t)unit * (1 + rnd(rnd(2) ? 4 : 64));

		if (piece > len || n == max - 1)
			piece = len;
		iov[n++] = (struct iovec){ at, piece };
		at += piece;
		if (rnd(2))
			at += unit * rnd(5);
		if (rnd(2))
			at = (char *)(((uintptr_t)at + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
		len -= piece;
	}
	return n;
}

static void run_device(void)
{
	struct plx_nvme_cmd pending[16]; /* copies: what the device has taken, the ring may lose */
	unsigned n = 0;

	plx_nvme_qpair_flush(f.qp);
	while (!done.calls) {
		const struct plx_nvme_cmd *cmd;

		while (n < 16 && (cmd = fake_next(&f)))
			pending[n++] = *cmd;
		cr_assert(n, "nothing to do, but no callback");
		for (unsigned k = 1 + rnd(n); k--;) {
			unsigned i = rnd(n);

			fake_execute(&f, &pending[i]);
			fake_complete(&f, pending[i].cid, 0);
			pending[i] = pending[--n];
		}
		plx_nvme_qpair_poll(f.qp, 0);
	}
	cr_assert_eq(n, 0);
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status, 0);
	cr_assert_eq(f.qp->nfree, f.qp->depth);
}

/* Write or read random ranges of the disk through random iovecs and hold both sides together. */
static void random_io(uint32_t unit)
{
	static struct iovec iov[64];
	uint32_t xfer = f.ns->xfer_block;
	char *md = buf + (3u << 20);
	uint8_t stamp = 0;

	fake_disk(&f);
	for (int round = 0; round < 400; round++) {
		bool write = rnd(2);
		uint32_t nlb = 1 + rnd(rnd(3) ? 40 : 1200);
		uint64_t slba = rnd(FAKE_BLOCKS - nlb), at = 0;
		struct plx_nvme_rw rw = { .iov = iov, .slba = slba, .nlb = nlb };
		bool separate = f.ns->md_size && !f.ns->md_extended;

		rw.iovcnt = random_iovs(iov, 64, (uint64_t)nlb * xfer, unit);
		rw.md = separate ? md : NULL;
		memset(buf, ++stamp, 4u << 20);
		for (uint32_t i = 0; i < nlb; i++)
			memset(md + i * f.ns->md_size, (int)(stamp + i), f.ns->md_size);
		f.ns->boundary = rnd(2) ? 0 : 1 + rnd(300);
		done = (struct fake_done){ 0 };
		cr_assert_eq((write ? plx_nvme_writev : plx_nvme_readv)(f.ns, f.qp, &rw, fake_cb,
									&done),
			     0);
		run_device();
		for (int i = 0; i < rw.iovcnt; i++) {
			cr_assert_arr_eq(f.disk + slba * xfer + at, iov[i].iov_base,
					 iov[i].iov_len);
			at += iov[i].iov_len;
		}
		if (separate)
			cr_assert_arr_eq(f.disk_md + slba * f.ns->md_size, md,
					 (size_t)nlb * f.ns->md_size);
	}
}

Test(split, random_io_with_prps)
{
	f.ns->max_io_blocks = 32;
	random_io(512);
}

Test(split, random_io_with_separate_metadata)
{
	fake_format(&f, 512, 16, false, 0);
	random_io(512);
}

Test(split, random_io_with_extended_blocks_and_sgls)
{
	fake_format(&f, 512, 8, true, 0);
	f.ns->max_io_blocks = 50;
	f.qp->sgl = NVME_SGL_AVAILABLE;
	random_io(4);
}

Test(split, random_io_with_little_sgl_memory)
{
	f.qp->sgl = NVME_SGL_AVAILABLE | NVME_SGL_ALWAYS;
	f.qp->prp_list_bytes = 64;
	random_io(512);
}
