/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_cmd_io.c - zoned, reservation, placement and other I/O commands: the entry each
 * one makes, what is refused, results in the completion
 */
#include "qpair_fixture.h"
#include <pollux/nvme_fdp.h>
#include <pollux/nvme_resv.h>
#include <pollux/nvme_zns.h>

static void setup(void)
{
	fixture_init(8, 1u << 20);
	f.ns->csi = NVME_CSI_ZNS;
	f.ns->zns = (struct plx_nvme_zns){
		.zone_blocks = 1024, .zones = 4, .max_append_bytes = 16384, .desc_ext_bytes = 64
	};
	f.c->id.ctratt = NVME_CTRL_CTRATT_FDPS;
}

TestSuite(cmd_io, .init = setup, .fini = teardown);

static int append(uint64_t slba, uint32_t nlb)
{
	struct iovec iov = { buf, nlb * 512ul };
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1, .slba = slba, .nlb = nlb };

	return plx_nvme_zns_append(f.ns, f.qp, &rw, fake_cb, &done);
}

/* ---- zones ---- */

Test(cmd_io, append_goes_to_a_zone_and_is_never_split)
{
	struct plx_nvme_cmd cmd;

	cr_assert_eq(append(2048, 32), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x7d);
	cr_assert_eq(cmd.nsid, 7);
	cr_assert_eq(cmd.slba, 2048);
	cr_assert_eq(cmd.cdw12, 31);
	cr_assert_eq(append(2048, 33), -EINVAL, "16 KiB is the limit");
	cr_assert_eq(append(2049, 1), -EINVAL, "not the beginning of a zone");
	cr_assert_eq(append(4096, 1), -EINVAL);
	f.ns->zns.zone_blocks = 0;
	cr_assert_eq(append(0, 1), -ENOTSUP);
}

static uint64_t appended;

static void append_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	appended = plx_nvme_zns_append_lba(cpl);
}

Test(cmd_io, append_gives_the_written_block_back)
{
	struct iovec iov = { buf, 512 };
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1, .nlb = 1 };
	struct plx_nvme_cpl *e = &f.qp->cq[f.cq_tail];
	const struct plx_nvme_cmd *cmd;

	cr_assert_eq(plx_nvme_zns_append(f.ns, f.qp, &rw, append_done, NULL), 0);
	plx_nvme_qpair_flush(f.qp);
	cmd = fake_next(&f);
	e->dw0 = 0x89abcdef;
	e->dw1 = 0x01234567;
	e->cid = cmd->cid;
	__atomic_store_n(&e->status, f.phase, __ATOMIC_RELEASE);
	cr_assert_eq(plx_nvme_qpair_poll(f.qp, 0), 1);
	cr_assert_eq(appended, 0x0123456789abcdef);
}

Test(cmd_io, zone_management_has_action_and_flags)
{
	struct plx_nvme_cmd cmd;

	cr_assert_eq(plx_nvme_zns_mgmt(f.ns, f.qp, 1024, NVME_ZNS_ZSA_FINISH, 0, NULL, fake_cb,
				       &done),
		     0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x79);
	cr_assert_eq(cmd.slba, 1024);
	cr_assert_eq(cmd.cdw13, 2);
	cr_assert_eq(plx_nvme_zns_mgmt(f.ns, f.qp, 0, NVME_ZNS_ZSA_RESET, PLX_NVME_ZNS_ALL, NULL,
				       fake_cb, &done),
		     0);
	cr_assert_eq(sent().cdw13, 4 | 1 << 8);
	cr_assert_eq(plx_nvme_zns_mgmt(f.ns, f.qp, 0, NVME_ZNS_ZSA_OPEN, PLX_NVME_ZNS_ZRWA, NULL,
				       fake_cb, &done),
		     0);
	cr_assert_eq(sent().cdw13, 3 | 1 << 9);
	cr_assert_eq(plx_nvme_zns_mgmt(f.ns, f.qp, 0, NVME_ZNS_ZSA_SET_DESC_EXT, 0, buf, fake_cb,
				       &done),
		     0);
	cmd = sent();
	cr_assert_eq(cmd.cdw13, 0x10);
	cr_assert_eq(cmd.prp1, (uint64_t)buf);
	cr_assert_eq(plx_nvme_zns_mgmt(f.ns, f.qp, 0, NVME_ZNS_ZSA_SET_DESC_EXT, 0, NULL, fake_cb,
				       &done),
		     -EINVAL);
	cr_assert_eq(plx_nvme_zns_mgmt(f.ns, f.qp, 4096, NVME_ZNS_ZSA_CLOSE, 0, NULL, fake_cb,
				       &done),
		     -EINVAL);
}

Test(cmd_io, zone_reports_are_partial_extended_and_of_a_state)
{
	struct plx_nvme_cmd cmd;

	cr_assert_eq(plx_nvme_zns_report(f.ns, f.qp, 1024, true, NVME_ZNS_ZRAS_REPORT_FULL, true,
					 buf, 4096, fake_cb, &done),
		     0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x7a);
	cr_assert_eq(cmd.slba, 1024);
	cr_assert_eq(cmd.cdw12, 1023);
	cr_assert_eq(cmd.cdw13, 1 | 5 << 8 | 1 << 16);
	cr_assert_eq(cmd.prp1, (uint64_t)buf);
	cr_assert_eq(plx_nvme_zns_report(f.ns, f.qp, 0, false, 0, false, buf, 60, fake_cb, &done),
		     -EINVAL, "shorter than its header");
	cr_assert_eq(plx_nvme_zns_report(f.ns, f.qp, 0, false, 0, false, buf, 1 << 20, fake_cb,
					 &done),
		     -EINVAL, "more than MDTS");
}

/* ---- reservations ---- */

Test(cmd_io, reservations_have_their_fields)
{
	const struct plx_nvme_resv_keys *keys = (void *)buf;
	struct plx_nvme_cmd cmd;

	cr_assert_eq(plx_nvme_resv_register(f.ns, f.qp, NVME_RESERVATION_RREGA_REPLACE_KEY, true,
					    NVME_RESERVATION_CPTPL_PERSIST, keys, fake_cb, &done),
		     0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x0d);
	cr_assert_eq(cmd.cdw10, 2u | 1u << 3 | 3u << 30);
	cr_assert_eq(cmd.prp1, (uint64_t)buf);
	cr_assert_eq(plx_nvme_resv_acquire(f.ns, f.qp, NVME_RESERVATION_RACQA_PREEMPT, false,
					   NVME_RESERVATION_RTYPE_EARO, keys, fake_cb, &done),
		     0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x11);
	cr_assert_eq(cmd.cdw10, 1 | 4 << 8);
	cr_assert_eq(plx_nvme_resv_release(f.ns, f.qp, NVME_RESERVATION_RRELA_CLEAR, false,
					   NVME_RESERVATION_RTYPE_WE, keys, fake_cb, &done),
		     0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x15);
	cr_assert_eq(cmd.cdw10, 1 | 1 << 8);
	cr_assert_eq(plx_nvme_resv_report(f.ns, f.qp, true, buf, 4096, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x0e);
	cr_assert_eq(cmd.cdw10, 1023);
	cr_assert_eq(cmd.cdw11, 1);
	f.c->id.oncs = (uint16_t)~NVME_CTRL_ONCS_RESERVATIONS;
	cr_assert_eq(plx_nvme_resv_report(f.ns, f.qp, true, buf, 4096, fake_cb, &done), -ENOTSUP);
	cr_assert_eq(plx_nvme_resv_acquire(f.ns, f.qp, 0, false, 1, keys, fake_cb, &done),
		     -ENOTSUP);
}

/* ---- placement ---- */

Test(cmd_io, writes_carry_their_directive)
{
	struct iovec iov = { buf, 512 };
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1, .nlb = 1, .cdw13 = 0x12 };
	struct plx_nvme_cmd cmd;

	plx_nvme_rw_directive(&rw, PLX_NVME_DTYPE_PLACEMENT, 0xabcd);
	cr_assert_eq(plx_nvme_writev(f.ns, f.qp, &rw, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.cdw12, 2u << 20);
	cr_assert_eq(cmd.cdw13, 0xabcd0012);
}

Test(cmd_io, reclaim_unit_handles_are_read_and_moved_on)
{
	struct plx_nvme_cmd cmd;

	cr_assert_eq(plx_nvme_fdp_status(f.ns, f.qp, buf, 1024, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x12);
	cr_assert_eq(cmd.cdw10, 1);
	cr_assert_eq(cmd.cdw11, 255);
	cr_assert_eq(plx_nvme_fdp_update(f.ns, f.qp, (uint16_t *)buf, 3, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 0x1d);
	cr_assert_eq(cmd.cdw10, 1 | 2 << 16);
	cr_assert_eq(plx_nvme_fdp_update(f.ns, f.qp, (uint16_t *)buf, 129, fake_cb, &done),
		     -EINVAL);
	f.c->id.ctratt = 0;
	cr_assert_eq(plx_nvme_fdp_status(f.ns, f.qp, buf, 1024, fake_cb, &done), -ENOTSUP);
}

/* ---- uncorrectable, tags of longer guards ---- */

Test(cmd_io, write_uncorrectable_marks_a_range)
{
	struct plx_nvme_cmd cmd;

	cr_assert_eq(plx_nvme_write_uncorrectable(f.ns, f.qp, 5, 9, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.opc, 4);
	cr_assert_eq(cmd.slba, 5);
	cr_assert_eq(cmd.cdw12, 8);
	f.c->id.oncs = (uint16_t)~NVME_CTRL_ONCS_WRITE_UNCORRECTABLE;
	cr_assert_eq(plx_nvme_write_uncorrectable(f.ns, f.qp, 5, 9, fake_cb, &done), -ENOTSUP);
}

Test(cmd_io, upper_tag_bits_go_where_the_guards_format_has_them)
{
	struct iovec iov = { buf, 528 };
	struct plx_nvme_rw rw = {
		.iov = &iov, .iovcnt = 1, .nlb = 1, .reftag = 0x44332211, .tag_hi = 0x665577665544
	};
	struct plx_nvme_cmd cmd;

	fake_format(&f, 512, 16, true, 1);
	f.ns->pi_format = 2;
	cr_assert_eq(plx_nvme_writev(f.ns, f.qp, &rw, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.cdw14, 0x44332211);
	cr_assert_eq(cmd.cdw3, 0x5544);
	cr_assert_eq(cmd.cdw2, 0);
	f.ns->pi_format = 1;
	cr_assert_eq(plx_nvme_writev(f.ns, f.qp, &rw, fake_cb, &done), 0);
	cmd = sent();
	cr_assert_eq(cmd.cdw3, 0x6655);
	cr_assert_eq(cmd.cdw2, 0x77665544);
}

Test(cmd_io, a_split_io_ends_when_its_namespace_has_gone)
{
	struct iovec iov = { buf, 512 * 1024 };
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1, .nlb = 1024 };
	const struct plx_nvme_cmd *cmd;

	f.ns->max_io_blocks = 64;
	cr_assert_eq(plx_nvme_readv(f.ns, f.qp, &rw, fake_cb, &done), 0);
	plx_nvme_qpair_flush(f.qp);
	done.calls = 0;
	f.ns->blocks = 0;
	for (unsigned n = 0; (cmd = fake_next(&f)); n++) {
		cr_assert_lt(n, 8, "it goes on with the old geometry");
		fake_complete(&f, cmd->cid, 0);
		plx_nvme_qpair_poll(f.qp, 0);
	}
	cr_assert_eq(done.calls, 1);
	cr_assert_eq(done.status & 0x7ff, NVME_SC_LBA_RANGE);
}
