/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/nvmf_io.h - a host with one I/O queue, and short words for what it asks for
 *
 * For the tests of I/O commands: a translation unit that includes this has the host in @h.
 */
#ifndef POLLUX_TESTS_NVMF_IO_H
#define POLLUX_TESTS_NVMF_IO_H

#include "targets/nvmf/nvmf_limits.h"
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>

#define ST_GENERIC(sc)	PLX_NVME_ST(0, sc)
#define ST_SPECIFIC(sc) PLX_NVME_ST(1, sc)
#define ST_MEDIA(sc)	PLX_NVME_ST(2, sc)
#define BLOCKS		4096u

static struct host h;
static char *buf, *back; /* 256 KiB each, of the host's memory */

static inline void start(const struct host_opts *o)
{
	cr_assert_eq(host_init(&h, o), 0);
	cr_assert_eq(host_create_queue(&h, 1, 64), 0);
	buf = host_alloc(&h, 256 << 10, 4096);
	back = host_alloc(&h, 256 << 10, 4096);
	for (uint32_t i = 0; i < 256 << 10; i++)
		buf[i] = (char)(i * 2654435761u >> 24);
}

static inline void init(void)
{
	start(&(struct host_opts){ 0 });
}

static inline void init_error(void)
{
	start(&(struct host_opts){ .error = true });
}

static inline void fini(void)
{
	host_fini(&h);
}

static inline struct plx_nvme_cmd rw(uint8_t opc, uint64_t slba, uint32_t nlb, const void *p)
{
	struct plx_nvme_cmd cmd = { .opc = opc, .nsid = h.nsid, .slba = slba, .cdw12 = nlb - 1 };

	if (p)
		host_prp(&h, &cmd, p, (size_t)nlb * h.fn.ctrlr->ns[h.nsid - 1].xfer_block);
	return cmd;
}

/* Status of one command, type and code; every error of the host's making must say "do not retry" */
static inline uint16_t run(const struct plx_nvme_cmd *cmd)
{
	struct plx_nvme_cpl cpl = host_io(&h, 1, cmd);
	uint16_t st = host_status(&cpl);

	if (st && st >> 8 != 2 && st != ST_GENERIC(NVME_SC_ABORT_REQ))
		cr_expect(host_dnr(&cpl), "status %03x of opcode %02x without DNR", st, cmd->opc);
	return st;
}

static inline void expect_status(const struct plx_nvme_cmd *cmd, uint16_t want)
{
	uint16_t st = run(cmd);

	cr_expect_eq(st, want, "opcode %02x: status %03x, not %03x", cmd->opc, st, want);
}
/* a macro, so that @cmd may be what a function returns */
#define expect(cmd, want) expect_status((struct plx_nvme_cmd[]){ cmd }, want)

static inline void write_blocks(uint64_t slba, uint32_t nlb)
{
	expect(rw(nvme_cmd_write, slba, nlb, buf), 0);
}

static inline void expect_blocks(uint64_t slba, uint32_t nlb, const char *data)
{
	memset(back, 0x5a, nlb * 512);
	expect(rw(nvme_cmd_read, slba, nlb, back), 0);
	cr_expect_eq(memcmp(back, data, nlb * 512), 0, "blocks %lu to %lu differ",
		     (unsigned long)slba, (unsigned long)(slba + nlb - 1));
}

static inline struct plx_nvme_cmd copy(struct nvme_copy_range *r, uint32_t n, uint64_t sdlba)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_cmd_copy, .nsid = h.nsid, .slba = sdlba, .cdw12 = n - 1
	};

	host_prp(&h, &cmd, r, n * sizeof *r);
	return cmd;
}

static inline void inject(enum plx_bdev_error_kind kind, enum plx_bdev_io_type type, uint64_t count,
			  uint16_t status)
{
	struct plx_bdev_error_rule rule = {
		.kind = kind, .types = 1u << type, .share = 1, .count = count, .status = status
	};

	cr_assert_eq(plx_bdev_error_inject("host0", &rule), 0);
}

static inline void push_fused_pair(const struct plx_nvme_cmd *pair)
{
	struct plx_nvme_cmd cmp = pair[0], wr = pair[1];

	cmp.flags |= PLX_NVME_FUSE_FIRST;
	wr.flags |= PLX_NVME_FUSE_SECOND;
	host_push(&h, 1, &cmp);
	host_push(&h, 1, &wr);
	host_ring(&h, 1);
}
#define push_fused(cmp, wr) push_fused_pair((struct plx_nvme_cmd[]){ cmp, wr })

static inline void expect_next(uint16_t want)
{
	struct plx_nvme_cpl cpl = host_wait(&h, 1);

	cr_expect_eq(host_status(&cpl), want, "status %03x, not %03x", host_status(&cpl), want);
}

#define expect_fused(cmp, wr, cmp_want, wr_want)                                                   \
	do {                                                                                       \
		push_fused(cmp, wr);                                                               \
		expect_next(cmp_want);                                                             \
		expect_next(wr_want);                                                              \
	} while (0)

static inline void init_separate(void)
{
	start(&(struct host_opts){ .md_size = 16 });
}

static inline void init_extended(void)
{
	start(&(struct host_opts){ .md_size = 8, .md_interleaved = true });
}

#endif
