/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_pi.c - metadata and protection information of I/O commands
 */
#include "tests/unit/nvmf_io.h"

/* ---- metadata ---- */

#define MD 8u

Test(md, separate_buffer_goes_with_the_data, .init = init_separate, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, 30, 10, buf);
	char *md = host_alloc(&h, 4096, 4096);

	memcpy(md, buf + 10000, 160);
	cmd.mptr = host_iova(&h, md);
	expect(cmd, 0);
	cmd = rw(nvme_cmd_compare, 30, 10, buf);
	cmd.mptr = host_iova(&h, md);
	expect(cmd, 0);
	md[159] ^= 1;
	expect(cmd, ST_MEDIA(NVME_SC_COMPARE_FAILED));
	memset(md, 0, 4096);
	cmd = rw(nvme_cmd_read, 30, 10, back);
	cmd.mptr = host_iova(&h, md) + 4;
	expect(cmd, 0);
	cr_expect_eq(memcmp(md + 4, buf + 10000, 160), 0);
	cr_expect_eq(md[164], 0);
	cr_expect_eq(memcmp(back, buf, 5120), 0);
}

Test(md, separate_buffer_is_checked, .init = init_separate, .fini = fini)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, 30, 10, buf);

	expect(cmd, ST_GENERIC(NVME_SC_DATA_XFER_ERROR)); /* MPTR 0 */
	cmd.mptr = host_iova(&h, back) + 1;
	expect(cmd, ST_GENERIC(NVME_SC_INVALID_FIELD));
	cmd.mptr = HOST_IOVA + HOST_ARENA - 159;
	expect(cmd, ST_GENERIC(NVME_SC_INVALID_FIELD));
	cmd.mptr = HOST_IOVA + HOST_ARENA - 156;
	expect(cmd, ST_GENERIC(NVME_SC_DATA_XFER_ERROR));
	cmd.mptr = HOST_IOVA + HOST_ARENA - 160;
	expect(cmd, 0);
}

Test(md, as_an_sgl, .init = init_separate, .fini = fini)
{
	struct plx_nvme_sgl_desc *d = host_alloc(&h, sizeof *d, 16);
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, 30, 2, NULL);

	*d = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, buf + 4096), .len = 32 };
	cmd.flags = PLX_NVME_PSDT_SGL_MSGL;
	cmd.sgl1 = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, buf), .len = 1024 };
	cmd.mptr = host_iova(&h, d);
	expect(cmd, 0);
	d->len = 31;
	expect(cmd, ST_GENERIC(NVME_SC_SGL_INVALID_METADATA));
}

Test(md, extended_blocks_carry_it_along, .init = init_extended, .fini = fini)
{
	write_blocks(30, 10);
	memset(back, 0, 5200);
	expect(rw(nvme_cmd_read, 30, 10, back), 0);
	cr_expect_eq(memcmp(back, buf, 5200), 0);
	/* MDTS counts data and metadata (NVM Command Set 1.0c §4.1.5.2) */
	expect(rw(nvme_cmd_read, 0, 252, back), 0);
	expect(rw(nvme_cmd_read, 0, 253, back), ST_GENERIC(NVME_SC_INVALID_FIELD));
}

/* ---- protection information ---- */

static void init_pi(enum plx_bdev_dif type, uint32_t md_size, bool extended)
{
	start(&(struct host_opts){ .md_size = md_size, .dif = type, .md_interleaved = extended });
}

static void init_pi1(void)
{
	init_pi(PLX_BDEV_DIF_TYPE1, 8, false);
}

static void init_pi1_extended(void)
{
	init_pi(PLX_BDEV_DIF_TYPE1, 8, true);
}

static void init_pi2(void)
{
	init_pi(PLX_BDEV_DIF_TYPE2, 16, false);
}

static void init_pi3(void)
{
	init_pi(PLX_BDEV_DIF_TYPE3, 8, true);
}

/* As rw(), with PRINFO @prinfo, tags, and metadata at @md */
static struct plx_nvme_cmd pi_rw(uint8_t opc, uint64_t slba, uint32_t nlb, void *p, void *md,
				 uint32_t prinfo, uint32_t reftag, uint16_t apptag)
{
	struct plx_nvme_cmd cmd = rw(opc, slba, nlb, p);

	cmd.cdw12 |= prinfo;
	cmd.cdw14 = reftag;
	cmd.cdw15 = 0xffff0000 | apptag;
	if (md)
		cmd.mptr = host_iova(&h, md);
	return cmd;
}

/* Writes with PRACT: the controller makes the protection information */
static void pi_write(uint64_t slba, uint32_t nlb, uint32_t reftag, void *md)
{
	expect(pi_rw(nvme_cmd_write, slba, nlb, buf, md, PLX_NVME_RW_PRACT, reftag, 0x1234), 0);
}

Test(pi, inserted_by_a_write_and_checked_by_a_read, .init = init_pi1, .fini = fini)
{
	uint8_t *md = host_alloc(&h, 4096, 4096);

	pi_write(100, 10, 100, NULL); /* MPTR 0: PRACT with 8 bytes transfers no metadata */
	expect(pi_rw(nvme_cmd_read, 100, 10, back, md, PLX_NVME_RW_PRCHK, 100, 0x1234), 0);
	cr_expect_eq(memcmp(back, buf, 5120), 0);
	for (uint32_t i = 0; i < 10; i++) {
		cr_expect_eq(md[i * MD + 2], 0x12);
		cr_expect_eq(md[i * MD + 3], 0x34);
		cr_expect_eq(md[i * MD + 7], 100 + i, "reference tags are block addresses");
	}
	/* stripped again */
	expect(pi_rw(nvme_cmd_read, 100, 10, back, NULL, PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK, 100,
		     0x1234),
	       0);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, md, PLX_NVME_RW_PRCHK_APP, 100, 0x1235),
	       ST_MEDIA(NVME_SC_APPTAG_CHECK));
}

Test(pi, bad_information_of_a_write_is_found, .init = init_pi1, .fini = fini)
{
	uint8_t *md = host_alloc(&h, 4096, 4096);

	pi_write(100, 10, 100, NULL);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, md, 0, 0, 0), 0);
	expect(pi_rw(nvme_cmd_write, 100, 10, back, md, PLX_NVME_RW_PRCHK, 100, 0x1234), 0);
	md[9 * MD] ^= 1;
	expect(pi_rw(nvme_cmd_write, 100, 10, back, md, PLX_NVME_RW_PRCHK, 100, 0x1234),
	       ST_MEDIA(NVME_SC_GUARD_CHECK));
	md[9 * MD] ^= 1;
	md[9 * MD + 7] ^= 1;
	expect(pi_rw(nvme_cmd_write, 100, 10, back, md, PLX_NVME_RW_PRCHK, 100, 0x1234),
	       ST_MEDIA(NVME_SC_REFTAG_CHECK));
	/* written unchecked, it is found by Verify */
	expect(pi_rw(nvme_cmd_write, 100, 10, back, md, 0, 0, 0), 0);
	expect(pi_rw(nvme_cmd_verify, 100, 9, NULL, NULL, PLX_NVME_RW_PRCHK, 100, 0x1234), 0);
	expect(pi_rw(nvme_cmd_verify, 100, 10, NULL, NULL, PLX_NVME_RW_PRCHK, 100, 0x1234),
	       ST_MEDIA(NVME_SC_REFTAG_CHECK));
}

Test(pi, type_1_reference_tag_must_be_the_address, .init = init_pi1, .fini = fini)
{
	uint8_t *md = host_alloc(&h, 4096, 4096);

	pi_write(100, 10, 100, NULL);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, md, PLX_NVME_RW_PRCHK_REF, 101, 0),
	       ST_SPECIFIC(NVME_SC_INVALID_PI));
	expect(pi_rw(nvme_cmd_read, 100, 10, back, md, PLX_NVME_RW_PRCHK_GUARD, 101, 0), 0);
}

Test(pi, pract_is_refused_where_nothing_is_transferred, .init = init_pi1, .fini = fini)
{
	expect(pi_rw(nvme_cmd_verify, 100, 10, NULL, NULL, PLX_NVME_RW_PRACT, 100, 0),
	       ST_GENERIC(NVME_SC_INVALID_FIELD));
	expect(pi_rw(nvme_cmd_compare, 100, 10, buf, buf, PLX_NVME_RW_PRACT, 100, 0),
	       ST_GENERIC(NVME_SC_INVALID_FIELD));
}

Test(pi, extended_blocks_are_stripped_by_pract, .init = init_pi1_extended, .fini = fini)
{
	pi_write(100, 10, 100, NULL);
	memset(back, 0x77, 6000);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, NULL, PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK, 100,
		     0x1234),
	       0);
	cr_expect_eq(memcmp(back, buf, 5120), 0);
	cr_expect_eq(back[5120], 0x77);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, NULL, PLX_NVME_RW_PRCHK, 100, 0x1234), 0);
	cr_expect_eq(memcmp(back + 520, buf + 512, 512), 0);
	cr_expect_eq((uint8_t)back[519], 100);
}

Test(pi, type_2_tags_are_the_hosts, .init = init_pi2, .fini = fini)
{
	uint8_t *md = host_alloc(&h, 4096, 4096);

	/* 16 bytes of metadata: PRACT replaces the last 8, the others travel */
	memset(md, 0xab, 4096);
	pi_write(100, 10, 7000, md);
	memset(md, 0, 4096);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, md, PLX_NVME_RW_PRCHK, 7000, 0x1234), 0);
	cr_expect_eq(md[0], 0xab);
	cr_expect_eq(md[9 * 16 + 7], 0xab);
	expect(pi_rw(nvme_cmd_read, 101, 9, back, md, PLX_NVME_RW_PRCHK, 7001, 0x1234), 0);
	expect(pi_rw(nvme_cmd_read, 101, 9, back, md, PLX_NVME_RW_PRCHK, 7000, 0x1234),
	       ST_MEDIA(NVME_SC_REFTAG_CHECK));
}

Test(pi, type_3_has_no_reference_tag_to_check, .init = init_pi3, .fini = fini)
{
	pi_write(100, 10, 5, NULL);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, NULL,
		     PLX_NVME_RW_PRCHK_GUARD | PLX_NVME_RW_PRCHK_APP, 9, 0x1234),
	       0);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, NULL, PLX_NVME_RW_PRCHK_REF, 5, 0),
	       ST_SPECIFIC(NVME_SC_INVALID_PI));
}

Test(pi, write_zeroes_without_pract_leaves_blocks_unchecked, .init = init_pi1, .fini = fini)
{
	uint8_t *md = host_alloc(&h, 4096, 4096);

	pi_write(100, 10, 100, NULL);
	expect(pi_rw(nvme_cmd_write_zeroes, 100, 10, NULL, NULL, 0, 0, 0), 0);
	expect(pi_rw(nvme_cmd_read, 100, 10, back, md, PLX_NVME_RW_PRCHK, 100, 0), 0);
	cr_expect_eq(md[2], 0xff);
	cr_expect_eq(back[0], 0);
}

Test(pi, write_zeroes_with_pract_makes_information, .init = init_pi1, .fini = fini)
{
	uint8_t *md = host_alloc(&h, 4096, 4096);

	/* more than one buffer */
	expect(pi_rw(nvme_cmd_write_zeroes, 100, 2000, NULL, NULL, PLX_NVME_RW_PRACT, 100, 0x4321),
	       0);
	expect(pi_rw(nvme_cmd_verify, 100, 2000, NULL, NULL, PLX_NVME_RW_PRCHK, 100, 0x4321), 0);
	expect(pi_rw(nvme_cmd_read, 2099, 1, back, md, PLX_NVME_RW_PRCHK, 2099, 0x4321), 0);
	cr_expect_eq(md[2], 0x43);
	cr_expect_eq(md[7], 2099 & 0xff);
	cr_expect_eq(back[511], 0);
}

/* ---- Copy of protected blocks ---- */

static void copy_pi(uint32_t prinfor, uint32_t prinfow, uint32_t eilbrt, uint32_t ilbrt,
		    uint16_t lbat, uint16_t want)
{
	struct nvme_copy_range *r = host_alloc(&h, 4096, 4096);
	struct plx_nvme_cmd cmd;

	r[0].slba = 100;
	r[0].nlb = 9;
	r[0].eilbrt = eilbrt;
	r[0].elbat = 0x1234;
	r[0].elbatm = 0xffff;
	cmd = copy(r, 1, 500);
	cmd.cdw12 |= prinfor << 12 | prinfow << 26;
	cmd.cdw14 = ilbrt;
	cmd.cdw15 = 0xffff0000 | lbat;
	expect(cmd, want);
}

Test(pi, copy_with_pract_makes_new_information, .init = init_pi1, .fini = fini)
{
	pi_write(100, 10, 100, NULL);
	copy_pi(0xf, 0x8, 100, 500, 0xbeef, 0);
	expect(pi_rw(nvme_cmd_read, 500, 10, back, NULL, PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK, 500,
		     0xbeef),
	       0);
	cr_expect_eq(memcmp(back, buf, 5120), 0);
}

Test(pi, copy_checks_the_source, .init = init_pi2, .fini = fini)
{
	uint8_t *md = host_alloc(&h, 4096, 4096);

	pi_write(100, 10, 7000, md);
	copy_pi(0x7, 0x7, 7000, 7000, 0x1234, 0);
	expect(pi_rw(nvme_cmd_verify, 500, 10, NULL, NULL, PLX_NVME_RW_PRCHK, 7000, 0x1234), 0);
	copy_pi(0x1, 0, 7001, 0, 0, ST_MEDIA(NVME_SC_REFTAG_CHECK));
	copy_pi(0, 0x1, 0, 7001, 0, ST_MEDIA(NVME_SC_REFTAG_CHECK));
}

Test(pi, copy_wants_pract_for_both_or_none, .init = init_pi1, .fini = fini)
{
	copy_pi(0x8, 0, 100, 500, 0, ST_GENERIC(NVME_SC_INVALID_FIELD));
	copy_pi(0, 0x8, 100, 500, 0, ST_GENERIC(NVME_SC_INVALID_FIELD));
	copy_pi(0x1, 0, 99, 500, 0, ST_SPECIFIC(NVME_SC_INVALID_PI));
}
