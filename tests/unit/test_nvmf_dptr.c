/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_dptr.c - PRPs and SGLs to iovecs: every boundary, every malformed case and
 * its status
 *
 * The host's memory is a static image seen at iova BASE; holes and splits are made by mapping it in
 * parts.
 */
#include "targets/nvmf/nvmf_internal.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>

#define BASE	    0x10000000ull
#define PAGES	    1200u
#define P	    4096u
#define ERR(sc)	    NVMF_ST_DNR(NVME_SC_##sc)
#define SGL_DESC(i) (&((struct plx_nvme_sgl_desc *)(image + list_off))[i])

static char image[PAGES * P] __attribute__((aligned(4096)));
static struct nvmf_dma_region table[NVMF_MAX_REGIONS];
static struct iovec iov_mem[NVMF_MAX_IOV];
static struct nvmf_fn fn;
static char sink[NVMF_SINK_SIZE];
static struct nvmf_sq sq;
static struct nvmf_req req;
static uint64_t list_off; /* where SGL_DESC() writes */

static void init(void)
{
	memset(&fn, 0, sizeof fn);
	memset(&sq, 0, sizeof sq);
	memset(&req, 0, sizeof req);
	pthread_mutex_init(&fn.region_lock, NULL);
	fn.regions = table;
	fn.sink = sink;
	sq.fn = &fn;
	sq.qid = 1;
	req.sq = &sq;
	req.iov_mem = iov_mem;
	req.cmd.opc = nvme_cmd_read;
}

static void map_all(void)
{
	init();
	cr_assert_eq(nvmf_fn_dma_map(&fn, BASE, image, sizeof image), 0);
}

static uint64_t iova(uint64_t page, uint64_t off)
{
	return BASE + page * P + off;
}

static uint64_t *list_at(uint64_t page, uint64_t off)
{
	return (uint64_t *)(image + page * P + off);
}

static char *va(uint64_t page, uint64_t off)
{
	return image + page * P + off;
}

static void expect_iov(int i, const void *base, size_t len)
{
	cr_assert_lt(i, req.iovcnt);
	cr_expect_eq(req.iov[i].iov_base, base, "piece %d at %p, not %p", i, req.iov[i].iov_base,
		     base);
	cr_expect_eq(req.iov[i].iov_len, len, "piece %d of %zu bytes, not %zu", i,
		     req.iov[i].iov_len, len);
}

static size_t iov_total(void)
{
	size_t n = 0;

	for (int i = 0; i < req.iovcnt; i++)
		n += req.iov[i].iov_len;
	return n;
}

/* ---- the region table ---- */

Test(regions, unmapped_address_is_null, .init = map_all)
{
	cr_expect_null(nvmf_map(&fn, BASE - 1, 1));
	cr_expect_null(nvmf_map(&fn, BASE + sizeof image, 1));
	cr_expect_null(nvmf_map(&fn, BASE + sizeof image - 1, 2));
	cr_expect_null(nvmf_map(&fn, UINT64_MAX, 1));
	cr_expect_null(nvmf_map(&fn, BASE, UINT64_MAX));
	cr_expect_eq(nvmf_map(&fn, BASE, sizeof image), (void *)image);
	cr_expect_eq(nvmf_map(&fn, BASE + sizeof image - 1, 1), (void *)(image + sizeof image - 1));
}

Test(regions, nothing_is_mapped_in_an_empty_table, .init = init)
{
	cr_expect_null(nvmf_map(&fn, 0, 1));
	cr_expect_null(nvmf_map(&fn, 0, 0));
}

Test(regions, bad_maps_are_refused, .init = init)
{
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE, image, 0), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE, NULL, P), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map(&fn, UINT64_MAX - P + 1, image, P), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE, (void *)(UINTPTR_MAX - 10), P), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE, image, UINT64_MAX), -EINVAL);
	cr_expect_eq(fn.nregions, 0);
}

Test(regions, overlap_is_refused, .init = init)
{
	cr_assert_eq(nvmf_fn_dma_map(&fn, BASE + P, image + P, P), 0);
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE + P, image + P, P), -EEXIST);
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE, image, P + 1), -EEXIST);
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE + 2 * P - 1, image, P), -EEXIST);
	cr_expect_eq(nvmf_fn_dma_map(&fn, BASE, image, 4 * P), -EEXIST);
	cr_expect_eq(fn.nregions, 1);
}

Test(regions, table_stays_sorted_whatever_the_order, .init = init)
{
	static const unsigned order[] = { 8, 2, 14, 0, 6, 12, 4, 10 };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(order); i++)
		cr_assert_eq(nvmf_fn_dma_map(&fn, iova(order[i], 0), va(order[i], 0), P), 0);
	cr_assert_eq(fn.nregions, 8);
	for (uint32_t i = 1; i < fn.nregions; i++)
		cr_expect_lt(fn.regions[i - 1].iova, fn.regions[i].iova);
	for (unsigned i = 0; i < 16; i++)
		cr_expect_eq(nvmf_map(&fn, iova(i, 5), 7), i % 2 ? NULL : (void *)va(i, 5));
}

Test(regions, neighbours_in_both_address_spaces_become_one, .init = init)
{
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(0, 0), va(0, 0), P), 0);
	cr_assert_eq(nvmf_map(&fn, iova(0, 0), P), (void *)va(0, 0));
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(2, 0), va(2, 0), P), 0);
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(3, 0), va(3, 0), P), 0);
	cr_assert_eq(fn.nregions, 2);
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(1, 0), va(1, 0), P), 0);
	cr_expect_eq(fn.nregions, 1);
	cr_expect_eq(nvmf_map(&fn, iova(0, 1), 4 * P - 1), (void *)va(0, 1));
	/* iova goes on, the host's address does not */
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(4, 0), va(6, 0), P), 0);
	cr_expect_eq(fn.nregions, 2);
	cr_expect_null(nvmf_map(&fn, iova(3, 0), 2 * P));
}

Test(regions, unmap_takes_out_the_middle, .init = map_all)
{
	uint32_t gen = fn.region_gen;

	nvmf_fn_dma_unmap(&fn, iova(10, 0), 5 * P);
	fn.last.len = 0; /* as the poller does when the generation moved */
	cr_expect_neq(fn.region_gen, gen);
	cr_expect_eq(fn.nregions, 2);
	cr_expect_eq(nvmf_map(&fn, iova(9, 0), P), (void *)va(9, 0));
	cr_expect_null(nvmf_map(&fn, iova(9, 1), P));
	cr_expect_null(nvmf_map(&fn, iova(10, 0), 1));
	cr_expect_null(nvmf_map(&fn, iova(14, P - 1), 1));
	cr_expect_eq(nvmf_map(&fn, iova(15, 0), P), (void *)va(15, 0));
}

Test(regions, unmap_over_several_regions_trims_both_ends, .init = init)
{
	for (unsigned i = 0; i < 10; i += 2)
		cr_assert_eq(nvmf_fn_dma_map(&fn, iova(i, 0), va(i, 0), P), 0);
	nvmf_fn_dma_unmap(&fn, iova(2, 512), 4 * P);
	fn.last.len = 0;
	cr_expect_eq(nvmf_map(&fn, iova(0, 0), P), (void *)va(0, 0));
	cr_expect_eq(nvmf_map(&fn, iova(2, 0), 512), (void *)va(2, 0));
	cr_expect_null(nvmf_map(&fn, iova(2, 512), 1));
	cr_expect_null(nvmf_map(&fn, iova(4, 0), 1));
	cr_expect_null(nvmf_map(&fn, iova(6, 511), 1));
	cr_expect_eq(nvmf_map(&fn, iova(6, 512), P - 512), (void *)va(6, 512));
	cr_expect_eq(nvmf_map(&fn, iova(8, 0), P), (void *)va(8, 0));
	nvmf_fn_dma_unmap(&fn, 0, UINT64_MAX);
	cr_expect_eq(fn.nregions, 0);
	nvmf_fn_dma_unmap(&fn, iova(3, 0), P);
	cr_expect_eq(fn.nregions, 0);
}

Test(regions, a_full_table_says_so, .init = init)
{
	for (unsigned i = 0; i < NVMF_MAX_REGIONS; i++)
		cr_assert_eq(nvmf_fn_dma_map(&fn, iova(2 * (uint64_t)i, 0), image, P), 0);
	cr_expect_eq(nvmf_fn_dma_map(&fn, iova(2 * NVMF_MAX_REGIONS, 0), image, P), -ENOSPC);
	cr_expect_eq(nvmf_map(&fn, iova(2 * (NVMF_MAX_REGIONS - 1), 0), P), (void *)image);
}

Test(regions, a_hit_is_remembered, .init = init)
{
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(0, 0), va(0, 0), P), 0);
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(5, 0), va(5, 0), P), 0);
	cr_assert_not_null(nvmf_map(&fn, iova(5, 100), 1));
	cr_expect_eq(fn.last.iova, iova(5, 0));
	cr_assert_not_null(nvmf_map(&fn, iova(0, 100), 1));
	cr_expect_eq(fn.last.iova, iova(0, 0));
}

Test(regions, memory_for_one_direction_takes_only_that, .init = init)
{
	cr_assert_eq(nvmf_fn_dma_map_prot(&fn, BASE, image, 2 * P, PROT_READ), 0);
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(2, 0), va(2, 0), P), 0);
	cr_expect_eq(fn.nregions, 2);
	cr_expect_null(nvmf_map(&fn, BASE, P));
	cr_expect_eq(nvmf_map(&fn, iova(2, 0), P), (void *)va(2, 0));
	req.cmd.prp1 = iova(1, 0);
	req.cmd.prp2 = iova(2, 0);
	req.cmd.opc = nvme_cmd_write;
	cr_expect_eq(nvmf_req_map(&req, 2 * P), 0);
	req.cmd.opc = nvme_cmd_read;
	cr_expect_eq(nvmf_req_map(&req, 2 * P), NVMF_ST_DNR(NVMF_ST(NVME_SC_DATA_XFER_ERROR)));
	cr_expect_null(nvmf_map(&fn, BASE, P), "nor after a look-up for what is allowed");
}

/* ---- PRP1 and PRP2 ---- */

Test(prp, one_page_or_less_uses_prp1_alone, .init = map_all)
{
	req.cmd.prp1 = iova(3, 0);
	req.cmd.prp2 = 0xdead; /* not looked at */
	cr_assert_eq(nvmf_req_map(&req, P), 0);
	cr_expect_eq(req.iovcnt, 1);
	cr_expect_eq(req.len, P);
	expect_iov(0, va(3, 0), P);
}

Test(prp, unaligned_start_may_fill_its_page, .init = map_all)
{
	req.cmd.prp1 = iova(3, 4);
	req.cmd.prp2 = 0xdead;
	cr_assert_eq(nvmf_req_map(&req, P - 4), 0);
	cr_expect_eq(req.iovcnt, 1);
	expect_iov(0, va(3, 4), P - 4);
}

Test(prp, unaligned_start_that_crosses_needs_prp2, .init = map_all)
{
	req.cmd.prp1 = iova(3, 4);
	req.cmd.prp2 = iova(9, 0);
	cr_assert_eq(nvmf_req_map(&req, P), 0);
	cr_expect_eq(req.iovcnt, 2);
	expect_iov(0, va(3, 4), P - 4);
	expect_iov(1, va(9, 0), 4);
}

Test(prp, consecutive_pages_are_one_piece, .init = map_all)
{
	req.cmd.prp1 = iova(3, 512);
	req.cmd.prp2 = iova(4, 0);
	cr_assert_eq(nvmf_req_map(&req, P), 0);
	cr_expect_eq(req.iovcnt, 1);
	expect_iov(0, va(3, 512), P);
}

Test(prp, offsets_are_checked, .init = map_all)
{
	req.cmd.prp1 = iova(3, 2);
	cr_expect_eq(nvmf_req_map(&req, 512), ERR(PRP_INVALID_OFFSET));
	req.cmd.prp1 = iova(3, 1);
	cr_expect_eq(nvmf_req_map(&req, 512), ERR(PRP_INVALID_OFFSET));
	req.cmd.prp1 = iova(3, 0);
	req.cmd.prp2 = iova(4, 8);
	cr_expect_eq(nvmf_req_map(&req, 2 * P), ERR(PRP_INVALID_OFFSET));
	req.cmd.prp2 = iova(4, 4); /* as a list it must be qword aligned */
	cr_expect_eq(nvmf_req_map(&req, 3 * P), ERR(PRP_INVALID_OFFSET));
	cr_expect_eq(req.iovcnt, 0);
}

Test(prp, unreachable_memory_is_a_transfer_error, .init = map_all)
{
	req.cmd.prp1 = BASE - P;
	cr_expect_eq(nvmf_req_map(&req, 512), ERR(DATA_XFER_ERROR));
	req.cmd.prp1 = UINT64_MAX & ~0xfffull;
	cr_expect_eq(nvmf_req_map(&req, P), ERR(DATA_XFER_ERROR));
	req.cmd.prp1 = iova(0, 0);
	req.cmd.prp2 = 0;
	cr_expect_eq(nvmf_req_map(&req, 2 * P), ERR(DATA_XFER_ERROR));
	req.cmd.prp2 = iova(PAGES, 0);
	cr_expect_eq(nvmf_req_map(&req, 2 * P), ERR(DATA_XFER_ERROR));
	cr_expect_eq(nvmf_req_map(&req, 3 * P), ERR(DATA_XFER_ERROR));
	*list_at(1, 0) = BASE + sizeof image;
	req.cmd.prp2 = iova(1, 0);
	cr_expect_eq(nvmf_req_map(&req, 3 * P), ERR(DATA_XFER_ERROR));
}

Test(prp, no_data_needs_no_pointer, .init = init)
{
	req.cmd.prp1 = 3;
	cr_expect_eq(nvmf_req_map(&req, 0), 0);
	cr_expect_eq(req.iovcnt, 0);
	cr_expect_eq(req.len, 0);
}

/* ---- PRP lists ---- */

Test(prp, list_of_scattered_pages, .init = map_all)
{
	req.cmd.prp1 = iova(100, 512);
	req.cmd.prp2 = iova(1, 0);
	list_at(1, 0)[0] = iova(50, 0);
	list_at(1, 0)[1] = iova(40, 0);
	list_at(1, 0)[2] = iova(41, 0);
	cr_assert_eq(nvmf_req_map(&req, 3 * P), 0);
	cr_expect_eq(req.iovcnt, 3);
	expect_iov(0, va(100, 512), P - 512);
	expect_iov(1, va(50, 0), P);
	expect_iov(2, va(40, 0), P + 512);
	cr_expect_eq(iov_total(), 3 * P);
}

Test(prp, list_entry_with_an_offset_is_refused, .init = map_all)
{
	req.cmd.prp1 = iova(100, 0);
	req.cmd.prp2 = iova(1, 0);
	list_at(1, 0)[0] = iova(50, 0);
	list_at(1, 0)[1] = iova(40, 4);
	cr_expect_eq(nvmf_req_map(&req, 3 * P), ERR(PRP_INVALID_OFFSET));
}

Test(prp, list_that_just_fits_its_page_is_not_chained, .init = map_all)
{
	uint64_t *l = list_at(1, P - 16);

	req.cmd.prp1 = iova(100, 0);
	req.cmd.prp2 = iova(1, P - 16);
	l[0] = iova(50, 0);
	l[1] = iova(60, 0);
	cr_assert_eq(nvmf_req_map(&req, 3 * P), 0);
	cr_expect_eq(req.iovcnt, 3);
	expect_iov(1, va(50, 0), P);
	expect_iov(2, va(60, 0), P);
}

Test(prp, list_one_entry_too_long_for_its_page_is_chained, .init = map_all)
{
	uint64_t *l = list_at(1, P - 16);

	req.cmd.prp1 = iova(100, 0);
	req.cmd.prp2 = iova(1, P - 16);
	l[0] = iova(50, 0);
	l[1] = iova(7, 0); /* next list */
	list_at(7, 0)[0] = iova(60, 0);
	list_at(7, 0)[1] = iova(70, 0);
	cr_assert_eq(nvmf_req_map(&req, 4 * P), 0);
	cr_expect_eq(req.iovcnt, 4);
	expect_iov(1, va(50, 0), P);
	expect_iov(2, va(60, 0), P);
	expect_iov(3, va(70, 0), P);
}

Test(prp, list_in_the_last_qword_is_only_a_pointer, .init = map_all)
{
	req.cmd.prp1 = iova(100, 0);
	req.cmd.prp2 = iova(1, P - 8);
	list_at(1, P - 8)[0] = iova(7, 0);
	list_at(7, 0)[0] = iova(60, 0);
	list_at(7, 0)[1] = iova(62, 0);
	cr_assert_eq(nvmf_req_map(&req, 2 * P + 1), 0);
	cr_expect_eq(req.iovcnt, 3);
	expect_iov(2, va(62, 0), 1);
}

Test(prp, next_list_must_begin_a_page, .init = map_all)
{
	req.cmd.prp1 = iova(100, 0);
	req.cmd.prp2 = iova(1, P - 8);
	list_at(1, P - 8)[0] = iova(7, 8);
	cr_expect_eq(nvmf_req_map(&req, 3 * P), ERR(PRP_INVALID_OFFSET));
	list_at(1, P - 8)[0] = BASE - P;
	cr_expect_eq(nvmf_req_map(&req, 3 * P), ERR(DATA_XFER_ERROR));
}

Test(prp, list_that_points_to_itself_ends, .init = map_all)
{
	req.cmd.prp1 = iova(100, 0);
	req.cmd.prp2 = iova(1, 0);
	for (unsigned i = 0; i < 512; i++)
		list_at(1, 0)[i] = iova(1, 0);
	/* each entry is the same page, data or list: bounded by the length */
	cr_expect_eq(nvmf_req_map(&req, 256 * P), 0);
	cr_expect_eq(iov_total(), 256 * P);
}

/* One MiB at the worst alignment, every page elsewhere: as many pieces as there can be */
Test(prp, a_megabyte_at_the_worst_alignment_has_257_pieces, .init = map_all)
{
	req.cmd.prp1 = iova(600, P - 4);
	req.cmd.prp2 = iova(1, 0);
	for (unsigned i = 0; i < 256; i++)
		list_at(1, 0)[i] = iova(10 + 2 * i, 0);
	cr_assert_eq(nvmf_req_map(&req, 256 * P), 0);
	cr_expect_eq(req.iovcnt, 257);
	cr_expect_eq(req.iov, iov_mem);
	expect_iov(0, va(600, P - 4), 4);
	for (int i = 1; i < 256; i++)
		expect_iov(i, va(8 + 2 * (unsigned)i, 0), P);
	expect_iov(256, va(520, 0), P - 4);
	cr_expect_eq(iov_total(), 256 * P);
}

Test(prp, two_megabytes_are_more_than_fits, .init = map_all)
{
	req.cmd.prp1 = iova(600, 0);
	req.cmd.prp2 = iova(1, 0);
	for (unsigned i = 0; i < 511; i++)
		list_at(1, 0)[i] = iova(2 + 2 * i, 0);
	cr_expect_eq(nvmf_req_map(&req, 512 * P), ERR(INVALID_FIELD));
}

Test(prp, pieces_do_not_cross_regions, .init = init)
{
	/* one page of iova over two places in the host, split in the middle of it */
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(0, 0), va(0, 0), 2 * P + 1024), 0);
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(2, 1024), va(800, 0), 4 * P), 0);
	req.cmd.prp1 = iova(1, 0);
	req.cmd.prp2 = iova(2, 0);
	cr_assert_eq(nvmf_req_map(&req, 2 * P), 0);
	cr_expect_eq(req.iovcnt, 2);
	expect_iov(0, va(1, 0), P + 1024);
	expect_iov(1, va(800, 0), P - 1024);
}

Test(prp, pages_of_regions_that_meet_at_2_mib_stay_whole, .init = init)
{
	const uint64_t edge = 2ull << 20;

	/* two 2 MiB regions adjacent in iova, apart in the host */
	cr_assert_eq(nvmf_fn_dma_map(&fn, edge, image, edge), 0);
	cr_assert_eq(nvmf_fn_dma_map(&fn, 2 * edge, image + edge + P, edge), 0);
	req.cmd.prp1 = 2 * edge - P;
	req.cmd.prp2 = 2 * edge;
	cr_assert_eq(nvmf_req_map(&req, 2 * P), 0);
	cr_expect_eq(req.iovcnt, 2);
	expect_iov(0, image + edge - P, P);
	expect_iov(1, image + edge + P, P);
	cr_expect_null(nvmf_map(&fn, 2 * edge - P, 2 * P));
}

Test(prp, list_may_straddle_regions, .init = init)
{
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(0, 0), va(0, 0), P + 20), 0);
	cr_assert_eq(nvmf_fn_dma_map(&fn, iova(1, 20), va(700, 0), 8 * P), 0);
	req.cmd.prp1 = iova(0, 0);
	req.cmd.prp2 = iova(1, 0);
	memcpy(va(1, 0), (uint64_t[]){ iova(3, 0), iova(5, 0) }, 16);
	((uint32_t *)va(1, 16))[0] = (uint32_t)iova(7, 0);
	((uint32_t *)va(700, 0))[0] = (uint32_t)(iova(7, 0) >> 32);
	cr_assert_eq(nvmf_req_map(&req, 4 * P), 0);
	cr_expect_eq(iov_total(), 4 * P);
	expect_iov(3, va(700, 6 * P - 20), P);
}

/* ---- SGLs ---- */

static struct plx_nvme_sgl_desc desc(uint8_t type, uint64_t addr, uint32_t len)
{
	return (struct plx_nvme_sgl_desc){ .addr = addr, .len = len, .id = (uint8_t)(type << 4) };
}

static void use_sgl(void)
{
	map_all();
	req.cmd.flags = PLX_NVME_PSDT_SGL;
	list_off = P;
}

/* The command points to a (last) segment of @n descriptors at SGL_DESC(0) */
static void use_segment(uint8_t type, uint32_t n)
{
	req.cmd.sgl1 = desc(type, BASE + list_off, n * 16);
}

Test(sgl, one_data_block_of_any_alignment, .init = use_sgl)
{
	req.cmd.sgl1 = desc(PLX_NVME_SGL_DATA, iova(5, 3), 3 * P + 1);
	cr_assert_eq(nvmf_req_map(&req, 3 * P + 1), 0);
	cr_expect_eq(req.iovcnt, 1);
	expect_iov(0, va(5, 3), 3 * P + 1);
}

Test(sgl, longer_than_the_transfer_is_cut, .init = use_sgl)
{
	req.cmd.sgl1 = desc(PLX_NVME_SGL_DATA, iova(5, 0), 2 * P);
	cr_assert_eq(nvmf_req_map(&req, P), 0);
	expect_iov(0, va(5, 0), P);
	/* the part beyond the transfer need not exist */
	req.cmd.sgl1 = desc(PLX_NVME_SGL_DATA, iova(PAGES - 1, 0), UINT32_MAX);
	cr_expect_eq(nvmf_req_map(&req, P), 0);
}

Test(sgl, shorter_than_the_transfer_is_refused, .init = use_sgl)
{
	req.cmd.sgl1 = desc(PLX_NVME_SGL_DATA, iova(5, 0), P - 1);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_DATA));
	use_segment(PLX_NVME_SGL_LAST_SEGMENT, 2);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(5, 0), P);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_DATA, iova(7, 0), P - 1);
	cr_expect_eq(nvmf_req_map(&req, 2 * P), ERR(SGL_INVALID_DATA));
	cr_expect_eq(nvmf_req_map(&req, 2 * P - 1), 0);
}

Test(sgl, unreachable_memory_is_a_transfer_error, .init = use_sgl)
{
	req.cmd.sgl1 = desc(PLX_NVME_SGL_DATA, iova(PAGES - 1, 1), P);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(DATA_XFER_ERROR));
	req.cmd.sgl1 = desc(PLX_NVME_SGL_DATA, UINT64_MAX - 5, P);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(DATA_XFER_ERROR));
	req.cmd.sgl1 = desc(PLX_NVME_SGL_LAST_SEGMENT, iova(PAGES, 0), 16);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(DATA_XFER_ERROR));
	req.cmd.sgl1 = desc(PLX_NVME_SGL_LAST_SEGMENT, UINT64_MAX - 7, 32);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(DATA_XFER_ERROR));
}

Test(sgl, types_and_sub_types_that_are_not_supported, .init = use_sgl)
{
	static const uint8_t ids[] = { 0x01, 0x0a, 0x11, 0x21, 0x31, 0x40,
				       0x4f, 0x50, 0x5a, 0x60, 0xf0, 0xff };

	for (size_t i = 0; i < sizeof ids; i++) {
		req.cmd.sgl1 = desc(0, iova(5, 0), P);
		req.cmd.sgl1.id = ids[i];
		cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_TYPE), "in the command: %02x",
			     ids[i]);
		if ((ids[i] & 0xe0) == 0x20)
			continue; /* segments: see below */
		use_segment(PLX_NVME_SGL_LAST_SEGMENT, 1);
		*SGL_DESC(0) = desc(0, iova(5, 0), P);
		SGL_DESC(0)->id = ids[i];
		cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_TYPE), "in a segment: %02x",
			     ids[i]);
	}
}

Test(sgl, segments_chain, .init = use_sgl)
{
	use_segment(PLX_NVME_SGL_SEGMENT, 3);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(10, 100), 1000);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_DATA, iova(10, 1100),
			    500); /* goes on where the one before ends */
	*SGL_DESC(2) = desc(PLX_NVME_SGL_SEGMENT, iova(2, 8), 32);
	list_off = 2 * P + 8;
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(20, 0), 0); /* nothing, and valid */
	*SGL_DESC(1) = desc(PLX_NVME_SGL_LAST_SEGMENT, iova(3, P - 16), 32); /* crosses a page */
	list_off = 4 * P - 16;
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(30, 0), 500);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_DATA, iova(40, 0), 48);
	cr_assert_eq(nvmf_req_map(&req, 2048), 0);
	cr_expect_eq(req.iovcnt, 3);
	expect_iov(0, va(10, 100), 1500);
	expect_iov(1, va(30, 0), 500);
	expect_iov(2, va(40, 0), 48);
}

Test(sgl, segment_lengths_and_addresses_are_checked, .init = use_sgl)
{
	static const uint8_t types[] = { PLX_NVME_SGL_SEGMENT, PLX_NVME_SGL_LAST_SEGMENT };

	for (size_t i = 0; i < 2; i++) {
		req.cmd.sgl1 = desc(types[i], iova(1, 0), 0);
		cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_LAST));
		req.cmd.sgl1 = desc(types[i], iova(1, 0), 24);
		cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_LAST));
		req.cmd.sgl1 = desc(types[i], iova(1, 4), 16);
		cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_LAST));
	}
}

Test(sgl, last_segment_must_not_go_on, .init = use_sgl)
{
	use_segment(PLX_NVME_SGL_LAST_SEGMENT, 2);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(10, 0), 512);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_SEGMENT, iova(2, 0), 16);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_LAST));
	*SGL_DESC(1) = desc(PLX_NVME_SGL_LAST_SEGMENT, iova(2, 0), 16);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_LAST));
}

Test(sgl, segment_pointer_not_at_the_end, .init = use_sgl)
{
	use_segment(PLX_NVME_SGL_SEGMENT, 3);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(10, 0), 512);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_LAST_SEGMENT, iova(2, 0), 16);
	*SGL_DESC(2) = desc(PLX_NVME_SGL_DATA, iova(10, 0), 512);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_COUNT));
}

Test(sgl, segment_that_is_not_last_must_go_on, .init = use_sgl)
{
	use_segment(PLX_NVME_SGL_SEGMENT, 2);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(10, 0), 512);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_DATA, iova(20, 0), P);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_LAST));
}

Test(sgl, loop_of_segments_ends, .init = use_sgl)
{
	use_segment(PLX_NVME_SGL_SEGMENT, 1);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_SEGMENT, BASE + list_off, 16);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_COUNT));
}

Test(sgl, too_many_descriptors, .init = use_sgl)
{
	use_segment(PLX_NVME_SGL_LAST_SEGMENT, 1u << 27);
	cr_expect_eq(nvmf_req_map(&req, P), ERR(SGL_INVALID_COUNT));
	/* few enough to walk, too many pieces to hold */
	use_segment(PLX_NVME_SGL_LAST_SEGMENT, 512);
	for (unsigned i = 0; i < 512; i++)
		*SGL_DESC(i) = desc(PLX_NVME_SGL_DATA, iova(10 + i, 0), 8);
	cr_expect_eq(nvmf_req_map(&req, 8 * (NVMF_MAX_IOV + 1)), ERR(SGL_INVALID_COUNT));
	cr_assert_eq(nvmf_req_map(&req, 8 * NVMF_MAX_IOV), 0);
	cr_expect_eq(req.iovcnt, NVMF_MAX_IOV);
	expect_iov(NVMF_MAX_IOV - 1, va(10 + NVMF_MAX_IOV - 1, 0), 8);
}

Test(sgl, bit_bucket_discards_what_is_read, .init = use_sgl)
{
	char data[2048];

	use_segment(PLX_NVME_SGL_LAST_SEGMENT, 3);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(10, 0), 512);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_BIT_BUCKET, 0xdeadbeef, 1024);
	*SGL_DESC(2) = desc(PLX_NVME_SGL_DATA, iova(10, 512), 512);
	cr_assert_eq(nvmf_req_map(&req, 2048), 0);
	cr_expect_eq(iov_total(), 2048);
	for (int i = 0; i < 2048; i++)
		data[i] = (char)(i / 512 + 1);
	memset(va(10, 0), 0, P);
	nvmf_req_copy_out(&req, 0, data, sizeof data);
	cr_expect_eq(*va(10, 511), 1);
	cr_expect_eq(*va(10, 512), 4);
	cr_expect_eq(*va(10, 1024), 0);
}

Test(sgl, a_large_bit_bucket_is_one_transfer, .init = use_sgl)
{
	req.cmd.sgl1 = desc(PLX_NVME_SGL_BIT_BUCKET, 0, 1 << 20);
	cr_assert_eq(nvmf_req_map(&req, 1 << 20), 0);
	cr_expect_eq(iov_total(), 1 << 20);
}

Test(sgl, bit_bucket_of_a_write_counts_nothing, .init = use_sgl)
{
	req.cmd.opc = nvme_cmd_write;
	use_segment(PLX_NVME_SGL_LAST_SEGMENT, 2);
	*SGL_DESC(0) = desc(PLX_NVME_SGL_BIT_BUCKET, 0, 1024);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_DATA, iova(10, 512), 1024);
	cr_assert_eq(nvmf_req_map(&req, 1024), 0);
	cr_expect_eq(req.iovcnt, 1);
	expect_iov(0, va(10, 512), 1024);
	cr_expect_eq(nvmf_req_map(&req, 2048), ERR(SGL_INVALID_DATA));
}

Test(sgl, psdt_of_admin_commands_and_the_reserved_one, .init = use_sgl)
{
	req.cmd.sgl1 = desc(PLX_NVME_SGL_DATA, iova(5, 0), P);
	req.cmd.flags = PLX_NVME_PSDT_MASK;
	cr_expect_eq(nvmf_req_map(&req, P), ERR(INVALID_FIELD));
	sq.qid = 0;
	req.cmd.flags = PLX_NVME_PSDT_SGL;
	cr_expect_eq(nvmf_req_map(&req, P), ERR(INVALID_FIELD));
	cr_expect_eq(nvmf_req_map(&req, 0), ERR(INVALID_FIELD));
}

/* ---- metadata ---- */

Test(metadata, pointer_is_dword_aligned_and_may_cross_pages, .init = map_all)
{
	req.cmd.mptr = iova(5, P - 12);
	cr_assert_eq(nvmf_req_map_md(&req, 64), 0);
	cr_expect_eq(req.md, va(5, P - 12));
	cr_expect_eq(req.md_len, 64);
	req.cmd.mptr = iova(5, 2);
	cr_expect_eq(nvmf_req_map_md(&req, 64), ERR(INVALID_FIELD));
	cr_expect_null(req.md);
	req.cmd.mptr = iova(PAGES, -8);
	cr_expect_eq(nvmf_req_map_md(&req, 16), ERR(DATA_XFER_ERROR));
	cr_expect_eq(nvmf_req_map_md(&req, 8), 0);
}

Test(metadata, pointer_with_data_as_sgl, .init = use_sgl)
{
	req.cmd.mptr = iova(5, 4);
	cr_assert_eq(nvmf_req_map_md(&req, 8), 0);
	cr_expect_eq(req.md, va(5, 4));
}

Test(metadata, as_an_sgl, .init = use_sgl)
{
	req.cmd.flags = PLX_NVME_PSDT_SGL_MSGL;
	req.cmd.mptr = BASE + list_off;
	*SGL_DESC(0) = desc(PLX_NVME_SGL_DATA, iova(9, 1), 64);
	cr_assert_eq(nvmf_req_map_md(&req, 64), 0);
	cr_expect_eq(req.md, va(9, 1));
	cr_expect_eq(nvmf_req_map_md(&req, 72), ERR(SGL_INVALID_METADATA));
	req.cmd.mptr = BASE + list_off + 4;
	cr_expect_eq(nvmf_req_map_md(&req, 64), ERR(SGL_INVALID_LAST));
	req.cmd.mptr = iova(PAGES, 0);
	cr_expect_eq(nvmf_req_map_md(&req, 64), ERR(DATA_XFER_ERROR));
	req.cmd.mptr = BASE + list_off;
	SGL_DESC(0)->id = 0x40;
	cr_expect_eq(nvmf_req_map_md(&req, 64), ERR(SGL_INVALID_TYPE));
}

Test(metadata, scattered_sgl_is_refused, .init = use_sgl)
{
	req.cmd.flags = PLX_NVME_PSDT_SGL_MSGL;
	req.cmd.mptr = BASE + list_off;
	*SGL_DESC(0) = desc(PLX_NVME_SGL_LAST_SEGMENT, BASE + list_off + 16, 32);
	*SGL_DESC(1) = desc(PLX_NVME_SGL_DATA, iova(9, 0), 32);
	*SGL_DESC(2) = desc(PLX_NVME_SGL_DATA, iova(9, 32), 32);
	cr_assert_eq(nvmf_req_map_md(&req, 64), 0);
	cr_expect_eq(req.md, va(9, 0));
	*SGL_DESC(2) = desc(PLX_NVME_SGL_DATA, iova(9, 40), 32);
	cr_expect_eq(nvmf_req_map_md(&req, 64), ERR(SGL_INVALID_COUNT));
	cr_expect_null(req.md);
}

/* ---- flat copies ---- */

Test(copy, from_any_offset_and_clipped, .init = map_all)
{
	char buf[P];

	req.cmd.prp1 = iova(3, P - 8);
	req.cmd.prp2 = iova(9, 0);
	memcpy(va(3, P - 8), "01234567", 8);
	memcpy(va(9, 0), "89abcdef", 8);
	cr_assert_eq(nvmf_req_map(&req, 16), 0);
	memset(buf, '.', sizeof buf);
	nvmf_req_copy_in(&req, 6, buf, 4);
	cr_expect_arr_eq(buf, "6789.", 5);
	memset(buf, '.', sizeof buf);
	nvmf_req_copy_in(&req, 8, buf, 100);
	cr_expect_arr_eq(buf, "89abcdef.", 9);
	nvmf_req_copy_in(&req, 16, buf, 1);
	nvmf_req_copy_in(&req, UINT32_MAX, buf, 1);
	cr_expect_eq(buf[0], '8');
	nvmf_req_copy_out(&req, 7, "XY", 2);
	nvmf_req_copy_out(&req, 15, "Z!", 2);
	cr_expect_arr_eq(va(3, P - 8), "0123456X", 8);
	cr_expect_arr_eq(va(9, 0), "Y9abcdeZ", 8);
	cr_expect_eq(*va(9, 8), 0);
}
