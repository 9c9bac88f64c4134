/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_dptr.c - PRP and SGL builders against a walker that reads them as a controller
 *
 * Memory is an arena whose device addresses a test scatters as it likes. The walker knows nothing
 * of the builders: it follows NVMe Base 2.0c §4.1.1 and §4.1.2 and gives back the runs of device
 * addresses that a command transfers, which have to be those of the iovecs.
 */
#include "driver/dptr.h"
#include "driver/nvme_internal.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE	    4096u
#define CHUNK	    (2u << 20)
#define ARENA_BYTES (16u << 20)
#define ARENA_PAGES (ARENA_BYTES / PAGE)
#define LIST_BYTES  (8 * PAGE)
#define MAX_RUNS    8192

static char *arena;
static uint64_t page_iova[ARENA_PAGES];
static char *list_mem; /* its last pages */
static struct dptr_list list;

struct run {
	uint64_t addr, len;
};
static struct run got[MAX_RUNS], want[MAX_RUNS];
static int n_got, n_want;

/* ---- memory ---- */

/* Scatters the arena in pieces of @grain bytes: neighbours stay together within a piece only. */
static void scatter(uint32_t grain)
{
	uint32_t pages = grain / PAGE;

	for (uint32_t p = 0; p < ARENA_PAGES; p++) {
		uint64_t piece = p / pages, at = p % pages;

		/* backwards, so that no two pieces in a row are contiguous */
		page_iova[p] = 0x100000000ull + (ARENA_PAGES / pages - piece) * grain + at * PAGE;
	}
}

static uint64_t arena_iova(const void *va, size_t *len)
{
	size_t off = (size_t)((const char *)va - arena), n;
	uint64_t addr;

	if (off >= ARENA_BYTES)
		return PLX_IOVA_BAD;
	addr = page_iova[off / PAGE] + off % PAGE;
	if (!len)
		return addr;
	for (n = PAGE - off % PAGE; n < *len && off + n < ARENA_BYTES; n += PAGE)
		if (page_iova[(off + n) / PAGE] != addr + n)
			break;
	*len = n < *len ? n : *len;
	return addr;
}

static uint64_t arena_look(const struct dptr_iova *self, const void *va, size_t *len)
{
	return arena_iova(va, len);
}
static const struct dptr_iova arena_map = { arena_look };

/* What a controller reads at a device address */
static void *device_ptr(uint64_t addr, bool identity)
{
	if (identity)
		return (void *)addr;
	for (uint32_t p = 0; p < ARENA_PAGES; p++)
		if (page_iova[p] == addr - addr % PAGE)
			return arena + (size_t)p * PAGE + addr % PAGE;
	cr_assert_fail("no memory at device address %#lx", (unsigned long)addr);
	return NULL;
}

static void setup(void)
{
	char *raw = mmap(NULL, ARENA_BYTES + CHUNK, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(raw != MAP_FAILED);
	arena = (char *)(((uintptr_t)raw + CHUNK - 1) & ~(uintptr_t)(CHUNK - 1));
	scatter(ARENA_BYTES);
	list_mem = arena + ARENA_BYTES - LIST_BYTES;
	list = (struct dptr_list){ list_mem, (uint64_t)list_mem, LIST_BYTES };
}

TestSuite(dptr, .init = setup);

/* ---- runs ---- */

static void add_run(struct run *runs, int *n, uint64_t addr, uint64_t len)
{
	if (*n && runs[*n - 1].addr + runs[*n - 1].len == addr) {
		runs[*n - 1].len += len;
		return;
	}
	cr_assert(*n < MAX_RUNS);
	runs[(*n)++] = (struct run){ addr, len };
}

static void expect_iovs(const struct iovec *iov, int cnt, uint64_t len, dptr_iova iova)
{
	n_want = 0;
	for (int i = 0; i < cnt && len; i++) {
		char *va = iov[i].iov_base;
		uint64_t left = iov[i].iov_len < len ? iov[i].iov_len : len;

		len -= left;
		while (left) {
			uint64_t n = PAGE - (uintptr_t)va % PAGE;

			n = n < left ? n : left;
			add_run(want, &n_want, iova ? iova->look(iova, va, NULL) : (uint64_t)va, n);
			va += n;
			left -= n;
		}
	}
	cr_assert_eq(len, 0);
}

static void cr_same_runs(void)
{
	cr_assert_eq(n_got, n_want, "%d runs, expected %d", n_got, n_want);
	cr_assert_arr_eq(got, want, sizeof(*got) * n_got);
}

/* ---- the walkers ---- */

static uint64_t read_entry(uint64_t addr, bool identity)
{
	uint64_t *p = device_ptr(addr, identity);

	cr_assert_eq(addr % 8, 0, "a PRP entry is qword aligned");
	cr_assert((char *)p >= list_mem && (char *)(p + 1) <= list_mem + LIST_BYTES,
		  "entry outside of list memory");
	return *p;
}

static void walk_prp(const struct plx_nvme_cmd *cmd, uint64_t len, bool identity)
{
	uint64_t n = PAGE - cmd->prp1 % PAGE, at;

	n_got = 0;
	cr_assert_eq(cmd->flags & PLX_NVME_PSDT_MASK, PLX_NVME_PSDT_PRP);
	cr_assert_eq(cmd->prp1 % 4, 0);
	n = n < len ? n : len;
	add_run(got, &n_got, cmd->prp1, n);
	len -= n;
	if (!len) {
		cr_assert_eq(cmd->prp2, 0, "PRP2 is reserved");
		return;
	}
	if (len <= PAGE) {
		cr_assert_eq(cmd->prp2 % PAGE, 0);
		add_run(got, &n_got, cmd->prp2, len);
		return;
	}
	for (at = cmd->prp2; len; at += 8) {
		uint64_t entry = read_entry(at, identity);

		cr_assert_eq(entry % PAGE, 0, "only the first PRP has an offset");
		if (at % PAGE == PAGE - 8 && len > PAGE) {
			at = entry - 8;
			continue;
		}
		n = len < PAGE ? len : PAGE;
		add_run(got, &n_got, entry, n);
		len -= n;
	}
}

static void walk_sgl(const struct plx_nvme_sgl_desc *sgl1, uint64_t len, bool identity)
{
	const struct plx_nvme_sgl_desc *d = sgl1;
	uint32_t count = 1;

	n_got = 0;
	if (sgl1->id >> 4 == PLX_NVME_SGL_LAST_SEGMENT) {
		cr_assert_eq(sgl1->len % 16, 0);
		count = sgl1->len / 16;
		cr_assert_geq(count, 1);
		d = device_ptr(sgl1->addr, identity);
		cr_assert((char *)d >= list_mem && (char *)(d + count) <= list_mem + LIST_BYTES);
	}
	for (uint32_t i = 0; i < count; i++) {
		cr_assert_eq(d[i].id, PLX_NVME_SGL_DATA << 4);
		cr_assert_eq(d[i].addr % 4, 0);
		cr_assert_eq(d[i].len % 4, 0);
		cr_assert(d[i].len);
		add_run(got, &n_got, d[i].addr, d[i].len);
		cr_assert_geq(len, d[i].len);
		len -= d[i].len;
	}
	cr_assert_eq(len, 0);
}

/* ---- PRPs ---- */

static struct plx_nvme_cmd cmd;

static int prp(void *buf, uint64_t len)
{
	struct iovec iov = { buf, len };

	memset(&cmd, 0xff, sizeof(cmd));
	cmd.flags = 0;
	return dptr_prp(&cmd, (struct dptr_pos){ &iov, 1, 0 }, len, &list, NULL);
}

static void cr_prp_transfers(void *buf, uint64_t len)
{
	struct iovec iov = { buf, len };

	cr_assert_eq(prp(buf, len), 0);
	walk_prp(&cmd, len, true);
	expect_iovs(&iov, 1, len, NULL);
	cr_same_runs();
}

Test(dptr, within_a_page_is_prp1_alone)
{
	cr_prp_transfers(arena + 512, 1024);
	cr_assert_eq(cmd.prp1, (uint64_t)arena + 512);
}

Test(dptr, exactly_one_page_is_prp1_alone)
{
	cr_prp_transfers(arena, PAGE);
	cr_assert_eq(cmd.prp2, 0);
}

Test(dptr, up_to_the_end_of_the_page_is_prp1_alone)
{
	cr_prp_transfers(arena + 4, PAGE - 4);
}

Test(dptr, a_dword_into_the_next_page_is_prp2)
{
	cr_prp_transfers(arena + 4, PAGE);
	cr_assert_eq(cmd.prp2, (uint64_t)arena + PAGE);
}

Test(dptr, two_pages_need_no_list)
{
	cr_prp_transfers(arena, 2 * PAGE);
	cr_assert_eq(cmd.prp2, (uint64_t)arena + PAGE);
}

Test(dptr, three_pages_make_a_list)
{
	cr_prp_transfers(arena, 3 * PAGE);
	cr_assert_eq(cmd.prp2, list.iova);
	cr_assert_eq(((uint64_t *)list_mem)[0], (uint64_t)arena + PAGE);
	cr_assert_eq(((uint64_t *)list_mem)[1], (uint64_t)arena + 2 * PAGE);
}

Test(dptr, two_pages_from_an_offset_make_a_list)
{
	cr_prp_transfers(arena + 2048, 2 * PAGE);
	cr_assert_eq(cmd.prp2, list.iova);
}

Test(dptr, buffer_off_a_dword_is_refused)
{
	cr_assert_eq(prp(arena + 2, 512), -EINVAL);
}

Test(dptr, list_fills_one_page_without_a_pointer)
{
	cr_prp_transfers(arena, 513ull * PAGE);
	cr_assert_eq(((uint64_t *)list_mem)[511], (uint64_t)arena + 512 * PAGE);
}

Test(dptr, list_of_lists_from_one_entry_more)
{
	cr_prp_transfers(arena, 514ull * PAGE);
	cr_assert_eq(((uint64_t *)list_mem)[511], list.iova + PAGE);
	cr_assert_eq(((uint64_t *)list_mem)[512], (uint64_t)arena + 512 * PAGE);
	cr_assert_eq(((uint64_t *)list_mem)[513], (uint64_t)arena + 513 * PAGE);
}

Test(dptr, list_of_lists_over_several_pages)
{
	cr_prp_transfers(arena + 8, 8u << 20);
}

Test(dptr, list_that_begins_in_a_page_chains_at_its_end)
{
	list.va = list_mem + PAGE - 16;
	list.iova = (uint64_t)list.va;
	list.bytes = PAGE;
	cr_prp_transfers(arena, 5 * PAGE);
	cr_assert_eq(((uint64_t *)list.va)[1], (uint64_t)list_mem + PAGE);
}

Test(dptr, list_memory_too_small_is_e2big)
{
	list.bytes = 64;
	cr_assert_eq(prp(arena, 9 * PAGE), 0);
	cr_assert_eq(prp(arena, 10 * PAGE), -E2BIG);
	/* and when the pointer to the next page has no room behind it */
	list.bytes = PAGE;
	cr_assert_eq(prp(arena, 514 * PAGE), -E2BIG);
	list.bytes = PAGE + 8;
	cr_assert_eq(prp(arena, 514 * PAGE), -E2BIG);
	list.bytes = PAGE + 16;
	cr_assert_eq(prp(arena, 514 * PAGE), 0);
}

Test(dptr, list_bytes_suffice_for_the_worst_start)
{
	static const uint32_t sizes[] = { 512,	   PAGE,  5000,		8 * PAGE, 128 << 10,
					  1 << 20, CHUNK, CHUNK + PAGE, 4u << 20, 6u << 20 };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(sizes); i++) {
		uint32_t n = dptr_list_bytes(sizes[i], 0);

		cr_assert(n >= PAGE ? n % PAGE == 0 : !(n & (n - 1)));
		cr_assert_leq(n, LIST_BYTES);
		list.bytes = n;
		cr_assert_eq(prp(arena + PAGE - 4, sizes[i]), 0, "%u bytes", sizes[i]);
	}
	cr_assert_geq(dptr_list_bytes(PAGE, NVME_SGL_AVAILABLE | NVME_SGL_ALWAYS), PAGE);
}

Test(dptr, device_addresses_may_jump_at_2_mib)
{
	struct iovec iov = { arena + CHUNK - 3 * PAGE - 512, 6 * PAGE };

	scatter(CHUNK);
	list.iova = arena_iova(list.va, NULL);
	cr_assert_eq(dptr_prp(&cmd, (struct dptr_pos){ &iov, 1, 0 }, iov.iov_len, &list,
			      &arena_map),
		     0);
	walk_prp(&cmd, iov.iov_len, false);
	expect_iovs(&iov, 1, iov.iov_len, &arena_map);
	cr_assert_eq(n_want, 2);
	cr_same_runs();
}

Test(dptr, scattered_pages_of_a_list_are_chained_by_their_own_address)
{
	struct iovec iov = { arena + 4, 3u << 20 };

	scatter(PAGE);
	list.iova = arena_iova(list.va, NULL);
	cr_assert_eq(dptr_prp(&cmd, (struct dptr_pos){ &iov, 1, 0 }, iov.iov_len, &list,
			      &arena_map),
		     0);
	walk_prp(&cmd, iov.iov_len, false);
	expect_iovs(&iov, 1, iov.iov_len, &arena_map);
	cr_same_runs();
}

Test(dptr, unreachable_memory_is_efault)
{
	struct iovec iov = { arena + ARENA_BYTES - PAGE, 2 * PAGE };
	struct dptr_pos pos = { &iov, 1, 0 };

	cr_assert_eq(dptr_prp(&cmd, pos, 2 * PAGE, &list, &arena_map), -EFAULT);
	cr_assert_eq(dptr_sgl(&cmd.sgl1, pos, 2 * PAGE, &list, &arena_map), -EFAULT);
	iov.iov_base = NULL;
	cr_assert_eq(dptr_prp(&cmd, pos, 512, &list, NULL), -EFAULT);
	iov.iov_base = (void *)(UINTPTR_MAX - 511);
	cr_assert_eq(dptr_prp(&cmd, pos, 1024, &list, NULL), -EFAULT);
}

/* ---- iovecs ---- */

Test(dptr, pieces_meeting_on_page_boundaries_are_prps)
{
	struct iovec iov[] = { { arena + 512, PAGE - 512 },
			       { arena + 8 * PAGE, 2 * PAGE },
			       { NULL, 0 },
			       { arena + 4 * PAGE, 1024 } };
	struct dptr_pos pos = { iov, 4, .off = 0 };
	uint64_t len = 3 * PAGE + 512;

	cr_assert_eq(dptr_prp_reach(pos, len, NULL), len);
	cr_assert_eq(dptr_prp(&cmd, pos, len, &list, NULL), 0);
	walk_prp(&cmd, len, true);
	expect_iovs(iov, 4, len, NULL);
	cr_same_runs();
}

Test(dptr, adjacent_pieces_join_anywhere)
{
	struct iovec iov[] = { { arena + 512, 100 },
			       { arena + 612, PAGE },
			       { arena + 612 + PAGE, 412 } };
	struct dptr_pos pos = { iov, 3, 0 };

	cr_assert_eq(dptr_prp(&cmd, pos, PAGE + 512, &list, NULL), 0);
	cr_assert_eq(cmd.prp1, (uint64_t)arena + 512);
	cr_assert_eq(cmd.prp2, (uint64_t)arena + PAGE);
}

Test(dptr, pieces_that_do_not_meet_on_pages_are_refused_where_they_meet)
{
	struct iovec a[] = { { arena, PAGE },
			     { arena + 8 * PAGE, 512 },
			     { arena + 16 * PAGE, PAGE } };
	struct iovec b[] = { { arena, PAGE }, { arena + 8 * PAGE + 512, 512 } };
	struct dptr_pos pos_a = { a, 3, 0 }, pos_b = { b, 2, 0 };

	cr_assert_eq(dptr_prp(&cmd, pos_a, 2 * PAGE + 512, &list, NULL), -EINVAL);
	cr_assert_eq(dptr_prp_reach(pos_a, 2 * PAGE + 512, NULL), PAGE + 512);
	cr_assert_eq(dptr_prp(&cmd, pos_b, PAGE + 512, &list, NULL), -EINVAL);
	cr_assert_eq(dptr_prp_reach(pos_b, PAGE + 512, NULL), PAGE);
}

Test(dptr, iovecs_shorter_than_the_transfer_are_refused)
{
	struct iovec iov = { arena, 512 };
	struct dptr_pos pos = { &iov, 1, 0 };

	cr_assert_eq(dptr_prp(&cmd, pos, 1024, &list, NULL), -EINVAL);
	cr_assert_eq(dptr_sgl(&cmd.sgl1, pos, 1024, &list, NULL), -EINVAL);
	cr_assert_eq(dptr_prp_reach(pos, 1024, NULL), 512);
}

Test(dptr, advance_crosses_pieces)
{
	struct iovec iov[] = {
		{ arena, 100 }, { NULL, 0 }, { arena + 200, 100 }, { arena + 400, 100 }
	};
	struct dptr_pos pos = { iov, 4, .off = 40 };

	dptr_advance(&pos, 59);
	cr_assert(pos.iov == &iov[0] && pos.off == 99);
	dptr_advance(&pos, 1);
	cr_assert(pos.iov == &iov[2] && pos.iovcnt == 2 && pos.off == 0);
	dptr_advance(&pos, 150);
	cr_assert(pos.iov == &iov[3] && pos.iovcnt == 1 && pos.off == 50);
	dptr_advance(&pos, 50);
	cr_assert_eq(pos.iovcnt, 0);
}

/* ---- SGLs ---- */

Test(dptr, one_piece_is_a_data_block_in_the_command)
{
	struct iovec iov[] = { { arena + 4, 1000 }, { arena + 1004, 24 } };

	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ iov, 2, 0 }, 1024, &list, NULL), 0);
	cr_assert_eq(cmd.sgl1.addr, (uint64_t)arena + 4);
	cr_assert_eq(cmd.sgl1.len, 1024);
	cr_assert_eq(cmd.sgl1.id, 0);
}

Test(dptr, several_pieces_are_a_last_segment)
{
	struct iovec iov[] = { { arena + 4, 508 }, { arena + PAGE + 12, 516 } };

	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ iov, 2, 0 }, 1024, &list, NULL), 2);
	cr_assert_eq(cmd.sgl1.id, PLX_NVME_SGL_LAST_SEGMENT << 4);
	cr_assert_eq(cmd.sgl1.addr, list.iova);
	cr_assert_eq(cmd.sgl1.len, 32);
	walk_sgl(&cmd.sgl1, 1024, true);
	expect_iovs(iov, 2, 1024, NULL);
	cr_same_runs();
}

Test(dptr, neighbours_are_one_piece_unless_they_are_to_be_apart)
{
	struct iovec iov[] = {
		{ arena, 512 }, { arena + 512, 512 }, { arena, 0 }, { arena + 1024, 512 }
	};
	struct dptr_pos pos = { .iov = iov, .iovcnt = 4 };

	list.bytes = 32;
	cr_assert_eq(dptr_sgl(&cmd.sgl1, pos, 1536, &list, NULL), 0);
	cr_assert_eq(dptr_sgl_reach(pos, 1536, list.bytes, NULL), 1536);
	pos.apart = true;
	cr_assert_eq(dptr_sgl(&cmd.sgl1, pos, 1536, &list, NULL), -E2BIG);
	cr_assert_eq(dptr_sgl_reach(pos, 1536, list.bytes, NULL), 1024);
	list.bytes = 48;
	cr_assert_eq(dptr_sgl(&cmd.sgl1, pos, 1536, &list, NULL), 3);
	walk_sgl(&cmd.sgl1, 1536, true);
	cr_assert_eq(dptr_sgl(&cmd.sgl1, pos, 512, &list, NULL), 0);
	cr_assert_eq(cmd.sgl1.len, 512);
}

Test(dptr, sgl_pieces_off_a_dword_are_refused)
{
	struct iovec a = { arena + 2, 512 };
	struct iovec b[] = { { arena, 510 }, { arena + PAGE, 514 } };

	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ &a, 1, 0 }, 512, &list, NULL), -EINVAL);
	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ b, 2, 0 }, 1024, &list, NULL), -EINVAL);
	cr_assert_eq(dptr_sgl_reach((struct dptr_pos){ b, 2, 0 }, 1024, LIST_BYTES, NULL), 0);
}

Test(dptr, sgl_list_is_filled_to_the_last_descriptor)
{
	struct iovec iov[5];

	list.bytes = 64;
	for (int i = 0; i < 5; i++)
		iov[i] = (struct iovec){ arena + i * PAGE, 512 };
	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ iov, 5, 0 }, 4 * 512, &list, NULL), 4);
	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ iov, 5, 0 }, 5 * 512, &list, NULL),
		     -E2BIG);
	cr_assert_eq(dptr_sgl_reach((struct dptr_pos){ iov, 5, 0 }, 5 * 512, 64, NULL), 4 * 512);
	/* one alone needs no list */
	cr_assert_eq(dptr_sgl_reach((struct dptr_pos){ iov, 5, 0 }, 5 * 512, 0, NULL), 512);
	list.bytes = 0;
	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ iov, 5, 0 }, 512, &list, NULL), 0);
	cr_assert_eq(dptr_sgl(&cmd.sgl1, (struct dptr_pos){ iov, 5, 0 }, 1024, &list, NULL),
		     -E2BIG);
}

Test(dptr, sgl_modes_follow_identify_controller)
{
	cr_assert_eq(dptr_sgl_modes(0, true, false), 0);
	cr_assert_eq(dptr_sgl_modes(1, true, true),
		     NVME_SGL_AVAILABLE | NVME_SGL_ALWAYS | NVME_SGL_APART);
	cr_assert_eq(dptr_sgl_modes(3, true, false), 0, "11b is reserved");
	cr_assert_eq(dptr_sgl_modes(1, false, false), NVME_SGL_AVAILABLE);
	cr_assert_eq(dptr_sgl_modes(2 | NVME_CTRL_SGLS_MPTR_SGL, true, false),
		     NVME_SGL_AVAILABLE | NVME_SGL_ALWAYS | NVME_SGL_MPTR);
}

/* ---- metadata ---- */

Test(dptr, contiguous_metadata_is_addressed_by_mptr)
{
	cmd.flags = PLX_NVME_PSDT_SGL;
	cr_assert_eq(dptr_md(&cmd, arena + 12, 64, NVME_SGL_MPTR, &list, 0, NULL), 0);
	cr_assert_eq(cmd.mptr, (uint64_t)arena + 12);
	scatter(CHUNK);
	cr_assert_eq(dptr_md(&cmd, arena + 12, 64, NVME_SGL_MPTR, &list, 0, &arena_map), 0);
	cr_assert_eq(cmd.mptr, arena_iova(arena + 12, NULL));
	cr_assert_eq(cmd.flags, PLX_NVME_PSDT_SGL);
}

Test(dptr, metadata_off_a_dword_or_unreachable_is_refused)
{
	cr_assert_eq(dptr_md(&cmd, arena + 2, 64, 0, &list, 0, NULL), -EINVAL);
	cr_assert_eq(dptr_md(&cmd, arena - 64, 64, 0, &list, 0, &arena_map), -EFAULT);
}

Test(dptr, scattered_metadata_is_an_sgl_behind_the_data)
{
	struct iovec data[] = { { arena, 512 }, { arena + PAGE, 512 } };
	struct iovec md = { arena + CHUNK - 8, 16 };
	struct plx_nvme_sgl_desc *head;
	int used;

	scatter(CHUNK);
	list.iova = arena_iova(list.va, NULL);
	cmd.flags = PLX_NVME_PSDT_SGL | PLX_NVME_FUSE_FIRST;
	used = dptr_sgl(&cmd.sgl1, (struct dptr_pos){ data, 2, 0 }, 1024, &list, &arena_map);
	cr_assert_eq(used, 2);
	cr_assert_eq(dptr_md(&cmd, md.iov_base, 16, NVME_SGL_MPTR, &list, 2, &arena_map), 0);
	cr_assert_eq(cmd.flags, PLX_NVME_PSDT_SGL_MSGL | PLX_NVME_FUSE_FIRST);
	cr_assert_eq(cmd.mptr % 8, 0);
	head = device_ptr(cmd.mptr, false);
	walk_sgl(head, 16, false);
	expect_iovs(&md, 1, 16, &arena_map);
	cr_assert_eq(n_want, 2);
	cr_same_runs();
	walk_sgl(&cmd.sgl1, 1024, false);
	expect_iovs(data, 2, 1024, &arena_map);
	cr_same_runs();
}

Test(dptr, scattered_metadata_needs_sgls_and_room)
{
	void *md = arena + CHUNK - 8;

	scatter(CHUNK);
	cmd.flags = PLX_NVME_PSDT_PRP;
	cr_assert_eq(dptr_md(&cmd, md, 16, NVME_SGL_MPTR, &list, 0, &arena_map), -EINVAL);
	cmd.flags = PLX_NVME_PSDT_SGL;
	cr_assert_eq(dptr_md(&cmd, md, 16, 0, &list, 0, &arena_map), -EINVAL);
	list.bytes = 64;
	cr_assert_eq(dptr_md(&cmd, md, 16, NVME_SGL_MPTR, &list, 4, &arena_map), -E2BIG);
	cr_assert_eq(dptr_md(&cmd, md, 16, NVME_SGL_MPTR, &list, 2, &arena_map), -E2BIG);
	cr_assert_eq(dptr_md(&cmd, md, 16, NVME_SGL_MPTR, &list, 1, &arena_map), 0);
}

/* ---- random iovecs: what is expressible, and that it is expressed right ---- */

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 32) * below >> 32);
}

#define MAX_IOVS 12

/* Mostly page aligned pieces, some adjacent to the one before, some at any dword */
static int random_iovs(struct iovec *iov, uint64_t *len)
{
	int n = 1 + (int)rnd(MAX_IOVS);
	uint32_t room = ARENA_BYTES - LIST_BYTES;

	*len = 0;
	for (int i = 0; i < n; i++) {
		uint32_t bytes = rnd(4) ? PAGE * (1 + rnd(4)) : 4 * (1 + rnd(6000));
		uint32_t at = PAGE * rnd(room / PAGE - 32);

		if (i && !rnd(4) &&
		    (char *)iov[i - 1].iov_base + iov[i - 1].iov_len + bytes < arena + room)
			at = (uint32_t)((char *)iov[i - 1].iov_base + iov[i - 1].iov_len - arena);
		else if (!rnd(8) || !i)
			at += 4 * rnd(PAGE / 4);
		if (!rnd(16))
			bytes = 0;
		iov[i] = (struct iovec){ arena + at, bytes };
		*len += bytes;
	}
	if (*len > 8)
		*len -= 4 * rnd(2);
	return n;
}

/* Bytes up to the first place where PRPs cannot go on, from the rule itself */
static uint64_t prp_rule(const struct iovec *iov, int n, uint64_t len)
{
	const char *end = NULL;
	uint64_t done = 0;

	for (int i = 0; i < n && done < len; i++) {
		const char *base = iov[i].iov_base;

		if (!iov[i].iov_len)
			continue;
		if (end && base != end && ((uintptr_t)base % PAGE || (uintptr_t)end % PAGE))
			break;
		end = base + iov[i].iov_len;
		done += iov[i].iov_len;
	}
	return done < len ? done : len;
}

static void random_case(dptr_iova iova)
{
	struct iovec iov[MAX_IOVS];
	uint64_t len;
	int n = random_iovs(iov, &len), rc;
	struct dptr_pos pos = { iov, n, 0 };

	if (!len)
		return;
	cr_assert_eq(dptr_prp_reach(pos, len, iova), prp_rule(iov, n, len));
	rc = dptr_prp(&cmd, pos, len, &list, iova);
	cr_assert_eq(rc, prp_rule(iov, n, len) == len ? 0 : -EINVAL);
	expect_iovs(iov, n, len, iova);
	cmd.flags = 0;
	if (!rc) {
		walk_prp(&cmd, len, !iova);
		cr_same_runs();
	}
	cr_assert_eq(dptr_sgl_reach(pos, len, PAGE, iova), len);
	cr_assert_geq(dptr_sgl(&cmd.sgl1, pos, len, &list, iova), 0);
	walk_sgl(&cmd.sgl1, len, !iova);
	cr_same_runs();
}

Test(dptr, random_iovecs_with_virtual_addresses)
{
	for (int i = 0; i < 3000; i++)
		random_case(NULL);
}

Test(dptr, random_iovecs_scattered_in_2_mib)
{
	scatter(CHUNK);
	list.iova = arena_iova(list.va, NULL);
	for (int i = 0; i < 2000; i++)
		random_case(&arena_map);
}

Test(dptr, random_iovecs_scattered_in_pages)
{
	scatter(PAGE);
	list.iova = arena_iova(list.va, NULL);
	for (int i = 0; i < 2000; i++)
		random_case(&arena_map);
}

Test(dptr, what_reach_promises_is_buildable_from_any_place)
{
	struct iovec iov[MAX_IOVS];

	for (int i = 0; i < 3000; i++) {
		uint64_t len, reach;
		int n = random_iovs(iov, &len);
		struct dptr_pos pos = { iov, n, 0 };
		uint64_t skip = 4 * rnd((uint32_t)(len / 4));

		if (len <= skip)
			continue;
		dptr_advance(&pos, skip);
		reach = dptr_prp_reach(pos, len - skip, NULL);
		cr_assert(reach);
		cr_assert_eq(dptr_prp(&cmd, pos, reach, &list, NULL), 0);
		if (reach < len - skip)
			cr_assert_eq(dptr_prp(&cmd, pos, reach + 4, &list, NULL), -EINVAL);
		list.bytes = 16 * (1 + rnd(4));
		reach = dptr_sgl_reach(pos, len - skip, list.bytes, NULL);
		cr_assert_geq(dptr_sgl(&cmd.sgl1, pos, reach, &list, NULL), 0);
		if (reach < len - skip)
			cr_assert_eq(dptr_sgl(&cmd.sgl1, pos, reach + 4, &list, NULL), -E2BIG);
		list.bytes = LIST_BYTES;
	}
}
