/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_remote.c - host memory that is reached by messages (targets/nvmf/remote.h)
 *
 * What all commands do with such memory is tested by their own tests, which run a second time with
 * POLLUX_TEST_REMOTE=1. Here: memory that is remote in part, messages that fail or do not come
 * back, order, limits.
 */
#include "targets/nvmf/remote_internal.h"
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define P	  PLX_PAGE_SIZE
#define QD	  64u
#define XFER_ERR  NVMF_ST(NVME_SC_DATA_XFER_ERROR)
#define ABORT_REQ NVMF_ST(NVME_SC_ABORT_REQ)

static struct host h;
static char *buf, *back; /* 128 KiB each */
#define BUF (32 * P)

static void start(const struct host_opts *o)
{
	cr_assert_eq(host_init(&h, o), 0);
	buf = host_alloc(&h, BUF, P);
	back = host_alloc(&h, BUF, P);
	for (size_t i = 0; i < BUF; i++)
		buf[i] = (char)(i * 7 + i / 512);
}

/* Everything is remote, and one I/O queue is there */
static void start_remote(void)
{
	start(&(struct host_opts){ .remote = true, .error = true });
	cr_assert_eq(host_create_queue(&h, 1, QD), 0);
}

/* Everything is mapped; tests make parts of it remote */
static void start_local(void)
{
	start(&(struct host_opts){ .error = true });
	cr_assert_eq(host_create_queue(&h, 1, QD), 0);
}

static void stop(void)
{
	host_fini(&h);
}

TestSuite(data, .init = start_local, .fini = stop);
TestSuite(queues, .fini = stop);
TestSuite(failure, .init = start_remote, .fini = stop);
TestSuite(in_flight, .init = start_remote, .fini = stop);
TestSuite(limits, .init = start_remote, .fini = stop);

static void make_remote(const void *p, size_t len)
{
	cr_assert_eq(host_make_remote(&h, p, len), 0);
}

/* Writes @nlb blocks from buf + @off, reads them to back + @off */
static void expect_round_trip(size_t off, uint32_t nlb)
{
	struct plx_nvme_cpl cpl = host_rw(&h, 1, nvme_cmd_write, 7, nlb, buf + off);

	cr_assert_eq(host_status(&cpl), 0);
	memset(back, 0, BUF);
	cpl = host_rw(&h, 1, nvme_cmd_read, 7, nlb, back + off);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(memcmp(buf + off, back + off, nlb * 512ul), 0);
	for (size_t i = 0; i < off; i++)
		cr_assert_eq(back[i], 0);
	for (size_t i = off + nlb * 512ul; i < BUF; i++)
		cr_assert_eq(back[i], 0);
}

/* ---- mapping ---- */

Test(map, refuses_what_it_cannot_keep)
{
	static const struct nvmf_remote_ops none;
	struct nvmf_remote *r;

	start(&(struct host_opts){ 0 });
	r = h.fn.remote;
	cr_expect_eq(nvmf_fn_set_remote(&h.fn, &none, NULL, 4096), -EEXIST);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, 0x1000, 0, NVMF_DMA_RW), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, 0x1000, P, 0), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, 0x1000, P, 4), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, UINT64_MAX - 10, 20, NVMF_DMA_RW), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, HOST_IOVA + P, P, NVMF_DMA_RW), -EEXIST);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, 0x1000, P, NVMF_DMA_RW), 0);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, 0x1800, P, NVMF_DMA_RW), -EEXIST);
	cr_expect_eq(nvmf_fn_dma_map(&h.fn, 0x1800, buf, P), -EEXIST);
	cr_expect_null(nvmf_map(&h.fn, 0x1000, 16));
	h.fn.remote = NULL;
	cr_expect_eq(nvmf_fn_set_remote(&h.fn, &none, NULL, NVMF_REMOTE_MIN_LEN - 1), -EINVAL);
	cr_expect_eq(nvmf_fn_set_remote(&h.fn, NULL, NULL, 4096), -EINVAL);
	cr_expect_eq(nvmf_fn_dma_map_remote(&h.fn, 0x10000, P, NVMF_DMA_RW), -EINVAL);
	h.fn.remote = r;
	stop();
}

Test(map, a_hole_in_remote_memory_is_not_mapped)
{
	struct nvmf_dma_region r;

	start(&(struct host_opts){ 0 });
	cr_assert_eq(nvmf_fn_dma_map_remote(&h.fn, 0x10000, 4 * P, NVMF_DMA_RW), 0);
	nvmf_fn_dma_unmap(&h.fn, 0x10000 + P, P);
	cr_expect(nvmf_region_find(&h.fn, 0x10000, &r) && r.len == P && !r.va);
	cr_expect(!nvmf_region_find(&h.fn, 0x10000 + P, &r));
	cr_expect(nvmf_region_find(&h.fn, 0x10000 + 2 * P, &r) && r.len == 2 * P && !r.va);
	stop();
}

Test(map, without_remote_memory_nothing_runs)
{
	start(&(struct host_opts){ 0 });
	cr_expect_null(h.fn.remote->poller);
	stop();
}

/* ---- data, with queues in mapped memory ---- */

Test(data, in_remote_memory)
{
	make_remote(buf, 2 * BUF);
	expect_round_trip(0, 1);
	expect_round_trip(512, 8);
	expect_round_trip(1024, 16);
	expect_round_trip(0, 256);
	expect_round_trip(2048, 248);
	cr_expect_eq(h.fn.remote->held, 0);
	cr_expect_leq(h.remote.longest, HOST_MAX_LEN);
}

/* Every third page is remote, and so are two neighbours that are regions of their own */
Test(data, crosses_between_kinds_of_memory)
{
	for (size_t i = 1; i < 2 * BUF / P; i += 3)
		make_remote(buf + i * P, P);
	make_remote(buf + 5 * P, P);
	for (uint32_t nlb = 1; nlb <= 200; nlb += 13)
		expect_round_trip(nlb * 4, nlb);
}

Test(data, with_the_prp_list_remote_and_the_data_not)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_cmd_write, .nsid = h.nsid, .slba = 3, .cdw12 = 255
	};
	uint64_t *list = host_alloc(&h, 2ul * P, P);
	struct plx_nvme_cpl cpl;

	make_remote(list, 2ul * P);
	cmd.prp1 = host_iova(&h, buf);
	cmd.prp2 = host_iova(&h, list + 511); /* one entry, then the next page */
	list[511] = host_iova(&h, list + 512);
	for (size_t i = 1; i < BUF / P; i++)
		list[511 + i] = host_iova(&h, buf + i * P);
	cpl = host_io(&h, 1, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	cr_expect_eq(h.remote.reads, 2);
	cr_expect_eq(h.remote.read_bytes, 8 + 31 * 8);
	cmd.opc = nvme_cmd_read;
	for (size_t i = 1; i < BUF / P; i++)
		list[511 + i] = host_iova(&h, back + i * P);
	cmd.prp1 = host_iova(&h, back);
	cpl = host_io(&h, 1, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(memcmp(buf, back, BUF), 0);
}

/* Segments in remote and mapped memory in turn, data too, and a part nobody wants */
Test(data, described_by_sgls)
{
	struct plx_nvme_sgl_desc *a = host_alloc(&h, P, P), *b = host_alloc(&h, P, P);
	struct plx_nvme_cmd cmd = {
		.opc = nvme_cmd_write, .flags = PLX_NVME_PSDT_SGL, .nsid = h.nsid, .cdw12 = 31
	};
	struct plx_nvme_cpl cpl;

	make_remote(buf + P, P);
	make_remote(back + P, P);
	make_remote(a, P);
	for (int i = 0; i < 3; i++)
		a[i] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, buf + 2000 * i),
						   .len = 2000 };
	a[3] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, b),
					   .len = 32,
					   .id = PLX_NVME_SGL_SEGMENT << 4 };
	b[0] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, buf + 6000), .len = 4 };
	b[1] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, a + 4),
					   .len = 16,
					   .id = PLX_NVME_SGL_LAST_SEGMENT << 4 };
	a[4] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, buf + 6004), .len = 60000 };
	cmd.sgl1 = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, a),
					       .len = 64,
					       .id = PLX_NVME_SGL_SEGMENT << 4 };
	cpl = host_io(&h, 1, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	/* back in one piece, its middle thrown away */
	cmd.opc = nvme_cmd_read;
	a[0] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, back), .len = 5000 };
	a[1] = (struct plx_nvme_sgl_desc){ .len = 100, .id = PLX_NVME_SGL_BIT_BUCKET << 4 };
	a[2] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, back + 5100), .len = 11284 };
	cmd.sgl1 = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, a),
					       .len = 48,
					       .id = PLX_NVME_SGL_LAST_SEGMENT << 4 };
	cpl = host_io(&h, 1, &cmd);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(memcmp(buf, back, 5000), 0);
	cr_assert_eq(memcmp(buf + 5100, back + 5100, 11284), 0);
	for (int i = 5000; i < 5100; i++)
		cr_assert_eq(back[i], 0);
}

/* A chain of segments that each need a message is not followed for ever */
Test(data, sgl_chain_without_end)
{
	struct plx_nvme_sgl_desc *a = host_alloc(&h, 16ul * P, P);
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read,
				    .flags = PLX_NVME_PSDT_SGL,
				    .nsid = h.nsid };
	struct plx_nvme_cpl cpl;

	make_remote(a, 16ul * P);
	for (int i = 0; i < 1024; i++)
		a[i] = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, a + i + 1),
						   .len = 16,
						   .id = PLX_NVME_SGL_SEGMENT << 4 };
	cmd.sgl1 = a[0];
	cpl = host_io(&h, 1, &cmd);
	cr_expect_eq(host_status(&cpl), NVMF_ST(NVME_SC_SGL_INVALID_COUNT));
	cr_expect_leq(h.remote.reads, 32);
	cr_expect_eq(h.fn.remote->held, 0);
	/* one that leads back to itself costs one message */
	h.remote.reads = 0;
	a[0].addr = host_iova(&h, a);
	cmd.sgl1 = a[0];
	cpl = host_io(&h, 1, &cmd);
	cr_expect_eq(host_status(&cpl), NVMF_ST(NVME_SC_SGL_INVALID_COUNT));
	cr_expect_eq(h.remote.reads, 1);
}

static int rewrite_list(void *arg, const struct host_message *m)
{
	uint64_t *list = arg;

	/* once the list has been read, it points elsewhere */
	if (m->iova != host_iova(&h, list))
		list[0] = list[1] = HOST_IOVA + HOST_ARENA;
	return 0;
}

Test(data, a_list_that_changes_after_it_was_read_changes_nothing)
{
	uint64_t *list = host_alloc(&h, P, P);
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_write, .nsid = h.nsid, .cdw12 = 23 };
	struct plx_nvme_cpl cpl;

	make_remote(buf, BUF);
	list[0] = host_iova(&h, buf + P);
	list[1] = host_iova(&h, buf + 2 * P);
	cmd.prp1 = host_iova(&h, buf);
	cmd.prp2 = host_iova(&h, list);
	h.remote.fault = rewrite_list;
	h.remote.fault_arg = list;
	/* the list itself is mapped: it is walked before and not after */
	cpl = host_io(&h, 1, &cmd);
	cr_expect_eq(host_status(&cpl), 0);
	cpl = host_rw(&h, 1, nvme_cmd_read, 0, 24, back);
	cr_expect_eq(host_status(&cpl), 0);
	cr_expect_eq(memcmp(buf, back, 24 * 512), 0);
}

/* A completion may not be seen before the data it speaks of: messages come in any order */
Test(data, is_there_before_the_completion)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = h.nsid, .cdw12 = 15 };
	struct plx_nvme_cpl cpl = host_rw(&h, 1, nvme_cmd_write, 0, 256, buf);

	cr_assert_eq(host_status(&cpl), 0);
	make_remote(back, BUF);
	make_remote(h.q[1].cqes, P); /* that the queue is mapped already changes nothing for it */
	for (int round = 0; round < 20; round++) {
		uint16_t first = h.q[1].next_cid;

		memset(back, 0, BUF);
		for (uint32_t i = 0; i < 16; i++) {
			cmd.slba = i * 16;
			host_prp(&h, &cmd, back + i * 8192ul, 8192);
			host_push(&h, 1, &cmd);
		}
		host_ring(&h, 1);
		for (int i = 0; i < 16; i++) {
			size_t at;

			cpl = host_wait(&h, 1);
			at = (uint16_t)(cpl.cid - first) * 8192ul;
			cr_assert_eq(host_status(&cpl), 0);
			cr_assert_eq(memcmp(back + at, buf + at, 8192), 0);
		}
	}
}

Test(data, of_admin_commands)
{
	struct nvme_id_ctrl *id = (void *)back;
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_set_features,
				    .cdw10 = NVME_FEAT_FID_TIMESTAMP };
	struct plx_nvme_cpl cpl;

	make_remote(buf, 2 * BUF);
	cr_assert_eq(host_identify(&h, 1, 0, 0, back + 100), 0);
	memmove(back, back + 100, P);
	cr_expect_eq(memcmp(id->sn, "SN1 ", 4), 0);
	memset(buf, 0, 8);
	buf[2] = 5;
	cmd.prp1 = host_iova(&h, buf);
	cpl = host_admin(&h, &cmd);
	cr_expect_eq(host_status(&cpl), 0);
	cmd.opc = nvme_admin_get_features;
	cmd.prp1 = host_iova(&h, back);
	cpl = host_admin(&h, &cmd);
	cr_expect_eq(host_status(&cpl), 0);
	cr_expect_eq(back[2], 5);
}

Test(data, in_memory_for_one_direction_only)
{
	uint64_t at = host_iova(&h, buf);
	struct plx_nvme_cpl cpl;

	nvmf_fn_dma_unmap(&h.fn, at, 2 * BUF);
	cr_assert_eq(nvmf_fn_dma_map_remote(&h.fn, at, BUF, PROT_READ), 0);
	cr_assert_eq(nvmf_fn_dma_map_remote(&h.fn, at + BUF, BUF, PROT_WRITE), 0);
	expect_round_trip(0, 64);
	cpl = host_rw(&h, 1, nvme_cmd_read, 0, 1, buf);
	cr_expect_eq(host_status(&cpl), XFER_ERR);
	cpl = host_rw(&h, 1, nvme_cmd_write, 0, 1, back);
	cr_expect_eq(host_status(&cpl), XFER_ERR);
	cr_assert_eq(host_create_cq(&h, 2, 16), 0);
	h.q[2].sqes = (void *)buf;
	cr_expect_eq(host_create_sq(&h, 2, 16, 2), XFER_ERR);
}

Test(data, shadow_doorbells_must_be_mapped)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_dbbuf,
				    .prp1 = host_iova(&h, buf),
				    .prp2 = host_iova(&h, back) };
	struct plx_nvme_cpl cpl;

	make_remote(back, BUF);
	cpl = host_admin(&h, &cmd);
	cr_expect_eq(host_status(&cpl), NVMF_ST(NVME_SC_INVALID_FIELD));
}

/* ---- queues ---- */

/* Admin and I/O queues remote, data mapped, and the other way round for one half of the queue */
Test(queues, remote_with_data_mapped)
{
	start_remote();
	cr_assert_eq(host_make_local(&h, buf, 2 * BUF), 0);
	for (uint32_t i = 0; i < 3 * QD; i++)
		expect_round_trip(0, 1 + i % 64);
}

/* The ring lies in several regions, and each lap passes its end */
Test(queues, over_several_regions)
{
	start_local();
	cr_assert_eq(host_delete_queue(&h, 1), 0);
	cr_assert_eq(host_create_cq(&h, 1, 200), 0);
	cr_assert_eq(host_delete_queue(&h, 1), NVMF_ST_CS(NVME_SC_QID_INVALID)); /* no SQ */
	for (int i = 0; i < 5; i++)
		make_remote(h.arena + (host_iova(&h, h.q[1].sqes) - HOST_IOVA) + i * P, P);
	cr_assert_eq(host_create_sq(&h, 1, 200, 1), 0);
	for (int lap = 0; lap < 5; lap++) {
		struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };
		uint64_t seen[4] = { 0 };

		for (int i = 0; i < 170; i++)
			host_push(&h, 1, &cmd);
		host_ring(&h, 1);
		for (int i = 0; i < 170; i++) {
			struct plx_nvme_cpl cpl = host_wait(&h, 1);
			uint32_t n = (uint16_t)(cpl.cid - lap * 170);

			cr_assert_eq(host_status(&cpl), 0);
			cr_assert(n < 170 && !(seen[n / 64] >> n % 64 & 1));
			seen[n / 64] |= 1ull << n % 64;
		}
	}
}

/* A ring of which a part is mapped and a part is not is refused, as one that ends in the void is */
Test(queues, must_be_of_one_kind)
{
	start_local();
	cr_assert_eq(host_create_cq(&h, 2, 200), 0);
	h.q[2].sqes = host_alloc(&h, 4ul * P, P);
	make_remote((char *)h.q[2].sqes + P, P);
	cr_expect_eq(host_create_sq(&h, 2, 200, 2), XFER_ERR);
	make_remote(h.q[2].sqes, 2ul * P);
	nvmf_fn_dma_unmap(&h.fn, host_iova(&h, h.q[2].sqes) + 2 * P, P);
	cr_expect_eq(host_create_sq(&h, 2, 200, 2), XFER_ERR);
	make_remote(h.q[2].sqes, 4ul * P);
	cr_expect_eq(host_create_sq(&h, 2, 200, 2), 0);
}

static bool is_visible(void *arg)
{
	return nvmf_cq_visible(h.fn.cqs[1]) == h.fn.cqs[1]->tail;
}

/* Interrupts follow what the host has acknowledged */
Test(queues, completions_are_visible_when_acknowledged)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = 1 };
	const struct nvmf_cq *cq;
	struct plx_nvme_cpl cpl;

	start_remote();
	cq = h.fn.cqs[1];
	h.remote.held = true;
	h.remote.held_iova = host_iova(&h, h.q[1].cqes);
	for (int i = 0; i < 9; i++)
		host_push(&h, 1, &cmd);
	host_ring(&h, 1);
	host_idle(&h);
	cr_expect_eq(cq->tail, 9);
	cr_expect_eq(h.remote.n, 1);
	cr_expect_eq(nvmf_cq_visible(cq), 0);
	cr_expect_not(host_reap(&h, 1, &cpl));
	cr_expect(nvmf_fn_remote_busy(&h.fn, host_iova(&h, h.q[1].cqes), 16));
	cr_expect_not(nvmf_fn_remote_busy(&h.fn, host_iova(&h, h.q[1].sqes), P));
	h.remote.held = false;
	cr_assert(host_poll(&h, is_visible, NULL));
	for (int i = 0; i < 9; i++)
		cr_expect(host_reap(&h, 1, &cpl));
}

/* What was announced and has come cannot be withdrawn; it is no more than an event */
Test(queues, a_tail_that_goes_back)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = 1 };
	struct plx_nvme_cpl cpl;

	start_remote();
	host_submit(&h, 0, &(struct plx_nvme_cmd){ .opc = nvme_admin_async_event });
	h.fn.burst = 0;
	for (int i = 0; i < 5; i++)
		host_push(&h, 1, &cmd);
	host_ring(&h, 1);
	host_idle(&h);
	*h.q[1].sq_db = 3;
	host_idle(&h);
	*h.q[1].sq_db = QD + 3;
	host_idle(&h);
	host_ring(&h, 1);
	h.fn.burst = UINT32_MAX;
	for (int i = 0; i < 5; i++) {
		cpl = host_wait(&h, 1);
		cr_expect_eq(host_status(&cpl), 0);
	}
	host_idle(&h);
	cr_expect_not(host_reap(&h, 1, &cpl));
	cpl = host_wait(&h, 0);
	cr_expect_eq(cpl.dw0 >> 8 & 0xff, NVME_AER_ERROR_INVALID_DB_VAL);
}

/* A host that claims to have taken completions it was never shown */
Test(queues, a_head_beyond_what_was_sent)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = 1 };
	uint64_t before;

	start_remote();
	host_idle(&h);
	before = h.remote.written_bytes;
	h.remote.held_iova = host_iova(&h, h.q[1].cqes);
	for (uint32_t n = 0; n < 40 * QD; n++) {
		h.remote.held = n < 20 * QD;
		if (n % QD)
			host_push(&h, 1, &cmd);
		else
			host_ring(&h, 1);
		*h.q[1].cq_db = n * 13 % QD;
		plx_thread_poll(h.thread);
	}
	host_idle(&h);
	/* none is lost */
	cr_expect_gt(nvmf_cq_posted(h.fn.cqs[1]), 0);
	cr_expect_eq((h.remote.written_bytes - before) / 16, nvmf_cq_posted(h.fn.cqs[1]));
	cr_expect_eq(host_disable(&h), 0);
}

/* Unmapped, a queue stands still; mapped again, it goes on */
Test(queues, stand_still_while_unmapped)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = 1 };
	uint64_t at;
	struct plx_nvme_cpl cpl;

	start_remote();
	host_idle(&h);
	at = host_iova(&h, h.q[1].sqes);
	nvmf_fn_dma_unmap(&h.fn, at, P);
	cr_expect_not(nvmf_fn_remote_busy(&h.fn, at, P));
	host_submit(&h, 1, &cmd);
	host_idle(&h);
	cr_expect_not(host_reap(&h, 1, &cpl));
	cr_assert_eq(nvmf_fn_dma_map_remote(&h.fn, at, P, NVMF_DMA_RW), 0);
	cpl = host_wait(&h, 1);
	cr_expect_eq(host_status(&cpl), 0);
	cr_expect_eq(h.fn.csts >> NVME_CSTS_CFS_SHIFT & 1, 0);
}

/* The last completions of a queue are with the host before the end of its deletion is */
Test(queues, deletion_is_told_last)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = 1 };
	struct plx_nvme_cmd del = { .opc = nvme_admin_delete_sq, .cdw10 = 1 };
	struct plx_nvme_cpl cpl;

	start_remote();
	for (int round = 0; round < 30; round++) {
		int n = 0;

		for (int i = 0; i < 12; i++) {
			host_prp(&h, &cmd, buf, 512);
			host_push(&h, 1, &cmd);
		}
		host_ring(&h, 1);
		for (int i = 0; i < round; i++)
			plx_thread_poll(h.thread);
		n = (int)h.fn.sqs[1]->head;
		cpl = host_admin(&h, &del);
		cr_assert_eq(host_status(&cpl), 0);
		for (; host_reap(&h, 1, &cpl); n--)
			;
		cr_assert_leq(n, 0); /* those fetched up to the deletion, at least */
		del.opc = nvme_admin_delete_cq;
		cpl = host_admin(&h, &del);
		cr_assert_eq(host_status(&cpl), 0);
		del.opc = nvme_admin_delete_sq;
		h.q[1] = (struct host_queue){ 0 };
		cr_assert_eq(host_create_queue(&h, 1, QD), 0);
	}
}

/* ---- messages that fail ---- */

struct fault {
	uint64_t from, to; /* iova */
	bool write;
	int rc;
};

static int fault(void *arg, const struct host_message *m)
{
	const struct fault *f = arg;

	return m->write == f->write && m->iova + m->len > f->from && m->iova < f->to ? f->rc : 0;
}

static struct fault the_fault;

static void fail_at(const void *p, size_t len, bool write)
{
	the_fault = (struct fault){ host_iova(&h, p), host_iova(&h, p) + len, write, -EIO };
	h.remote.fault = fault;
	h.remote.fault_arg = &the_fault;
}

Test(failure, of_data_is_a_data_transfer_error)
{
	uint64_t errors = h.fn.ctrlr->stats.errors;
	struct plx_nvme_cpl cpl;

	fail_at(buf + 5 * P, P, false);
	cpl = host_rw(&h, 1, nvme_cmd_write, 0, 64, buf);
	cr_expect_eq(host_status(&cpl), XFER_ERR);
	fail_at(back + 5 * P, P, true);
	cpl = host_rw(&h, 1, nvme_cmd_read, 0, 64, back);
	cr_expect_eq(host_status(&cpl), XFER_ERR);
	cr_expect_eq(h.fn.ctrlr->stats.errors, errors + 2);
	cr_expect_eq(host_identify(&h, 1, 0, 0, back + 5 * P), XFER_ERR);
	h.remote.fault = NULL;
	expect_round_trip(0, 64);
	cr_expect_eq(h.fn.remote->held, 0);
}

Test(failure, of_a_list_is_a_data_transfer_error)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = h.nsid, .cdw12 = 63 };
	struct plx_nvme_cpl cpl;

	host_prp(&h, &cmd, buf, 64 * 512);
	fail_at(h.arena + (cmd.prp2 - HOST_IOVA), P, false);
	cpl = host_io(&h, 1, &cmd);
	cr_expect_eq(host_status(&cpl), XFER_ERR);
}

Test(failure, of_one_of_a_fused_pair_ends_both)
{
	struct plx_nvme_cmd cmp = { .opc = nvme_cmd_compare,
				    .flags = PLX_NVME_FUSE_FIRST,
				    .nsid = h.nsid };
	struct plx_nvme_cmd wr = { .opc = nvme_cmd_write,
				   .flags = PLX_NVME_FUSE_SECOND,
				   .nsid = h.nsid };
	struct plx_nvme_cpl cpl;

	host_prp(&h, &cmp, back, 512);
	host_prp(&h, &wr, buf, 512);
	for (int which = 0; which < 2; which++) {
		uint16_t first = h.q[1].next_cid;

		fail_at(which ? buf : back, P, false);
		host_push(&h, 1, &cmp);
		host_push(&h, 1, &wr);
		host_ring(&h, 1);
		for (int i = 0; i < 2; i++) {
			cpl = host_wait(&h, 1);
			cr_expect_eq(host_status(&cpl), (uint16_t)(cpl.cid - first) == which
								? XFER_ERR
								: NVMF_ST(NVME_SC_FUSED_FAIL));
		}
	}
	cr_expect_eq(h.fn.remote->held, 0);
}

static bool fatal(void *arg)
{
	return h.fn.csts >> NVME_CSTS_CFS_SHIFT & 1;
}

Test(failure, of_a_queue_is_fatal_until_the_reset)
{
	for (int write = 0; write < 2; write++) {
		struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };

		fail_at(write ? (void *)h.q[1].cqes : (void *)h.q[1].sqes, P, write);
		host_submit(&h, 1, &cmd);
		cr_assert(host_poll(&h, fatal, NULL));
		host_idle(&h);
		h.remote.fault = NULL;
		cr_assert_eq(host_disable(&h), 0);
		cr_assert_eq(host_enable(&h), 0);
		cr_assert_not(fatal(NULL));
		cr_assert_eq(host_create_queue(&h, 1, QD), 0);
		expect_round_trip(0, 8);
	}
}

/* ---- messages that have not come back ---- */

static void submit_mix(int n)
{
	struct plx_nvme_cmd cmd = { .nsid = h.nsid, .cdw12 = 63 };

	for (int i = 0; i < n; i++) {
		cmd.opc = i & 1 ? nvme_cmd_write : nvme_cmd_read;
		host_prp(&h, &cmd, i & 1 ? buf : back, 64 * 512);
		host_push(&h, 1, &cmd);
	}
	host_ring(&h, 1);
}

/* In each stage a command can be in: after 0, 1, 2.. turns */
Test(in_flight, reset)
{
	for (int turns = 0; turns < 60; turns++) {
		submit_mix(20);
		for (int i = 0; i < turns; i++)
			plx_thread_poll(h.thread);
		cr_assert_eq(host_disable(&h), 0);
		cr_assert_eq(h.remote.n, 0, "the host's memory is left alone after a reset");
		cr_assert_eq(h.fn.remote->held, 0);
		cr_assert_null(h.fn.remote->waiting);
		cr_assert_eq(host_enable(&h), 0);
		cr_assert_eq(host_create_queue(&h, 1, QD), 0);
	}
	expect_round_trip(0, 64);
}

Test(in_flight, reset_waits_for_a_message)
{
	submit_mix(4);
	while (!h.remote.n)
		plx_thread_poll(h.thread);
	h.remote.held = true;
	nvmf_fn_reg_write(&h.fn, NVME_REG_CC, nvmf_fn_reg_read(&h.fn, NVME_REG_CC, 4) & ~1u, 4);
	host_idle(&h);
	cr_expect_neq(nvmf_fn_reg_read(&h.fn, NVME_REG_CSTS, 4) & NVME_CSTS_RDY_MASK, 0);
	h.remote.held = false;
	cr_expect_eq(host_disable(&h), 0);
}

static void submit_flushes(int n)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = h.nsid };

	for (int i = 0; i < n; i++)
		host_push(&h, 1, &cmd);
	host_ring(&h, 1);
}

static bool one_is_on_its_way(void *arg)
{
	return h.remote.n && h.fn.cqs[1]->tail == 3;
}

/* Three commands are over but for their completions, which are on their way to the host */
static void hold_completions(void)
{
	h.remote.held = true;
	h.remote.held_iova = host_iova(&h, h.q[1].cqes);
	submit_flushes(3);
	cr_assert(host_poll(&h, one_is_on_its_way, NULL));
	cr_assert_eq(h.fn.sqs[1]->outstanding, 0);
}

Test(in_flight, reset_waits_for_a_completion_on_its_way)
{
	hold_completions();
	nvmf_fn_reg_write(&h.fn, NVME_REG_CC, nvmf_fn_reg_read(&h.fn, NVME_REG_CC, 4) & ~1u, 4);
	host_idle(&h);
	cr_expect_neq(nvmf_fn_reg_read(&h.fn, NVME_REG_CSTS, 4) & NVME_CSTS_RDY_MASK, 0);
	h.remote.held = false;
	cr_expect_eq(host_disable(&h), 0);
}

/* So does the deletion of the completion queue. That of its submission queue would wait too: it
 * goes by hand */
Test(in_flight, deletion_waits_for_a_completion_on_its_way)
{
	struct plx_nvme_cmd del = { .opc = nvme_admin_delete_cq, .cdw10 = 1 };
	struct plx_nvme_cpl cpl;

	hold_completions();
	nvmf_sq_free(h.fn.sqs[1]);
	host_submit(&h, 0, &del);
	host_idle(&h);
	cr_expect_null(h.fn.cqs[1]);
	cr_expect_eq(h.fn.sqs[0]->outstanding, 1);
	h.remote.held = false;
	cpl = host_wait(&h, 0);
	cr_expect_eq(host_status(&cpl), 0);
	cr_expect_eq(h.remote.n, 0);
	for (int i = 0; i < 3; i++)
		cr_expect(host_reap(&h, 1, &cpl));
	cr_expect_eq(host_create_queue(&h, 1, QD), 0);
}

/* The connection dies; the function ends while some are in each stage: once per environment */
static void disconnect_after(int turns)
{
	submit_mix(20);
	for (int i = 0; i < turns; i++)
		plx_thread_poll(h.thread);
	h.remote.dead = true;
}

Test(in_flight, disconnect_while_entries_are_fetched)
{
	disconnect_after(1);
}

Test(in_flight, disconnect_while_data_is_fetched)
{
	disconnect_after(12);
}

Test(in_flight, disconnect_later_on)
{
	disconnect_after(40);
	host_idle(&h);
	cr_expect_eq(h.fn.csts >> NVME_CSTS_CFS_SHIFT & 1, 0);
}

Test(in_flight, surprise_removal)
{
	submit_mix(20);
	for (int i = 0; i < 15; i++)
		plx_thread_poll(h.thread);
	h.fn.vanished = 1;
	host_idle(&h);
	cr_expect_eq(h.fn.remote->held, 0);
}

/* An aborted command ends when its message is back, and as aborted */
Test(in_flight, abort)
{
	struct plx_nvme_cpl cpl;

	submit_mix(2);
	while (h.fn.sqs[1]->outstanding != 2 || !h.remote.n)
		plx_thread_poll(h.thread);
	h.remote.held = true;
	cr_expect(nvmf_fn_abort(&h.fn, 1, 0));
	cr_expect(nvmf_fn_abort(&h.fn, 1, 1));
	host_idle(&h);
	h.remote.held = false;
	for (int i = 0; i < 2; i++) {
		cpl = host_wait(&h, 1);
		cr_expect_eq(host_status(&cpl), ABORT_REQ);
	}
}

/* The answer to unmapping waits for those who use the memory, and nobody begins to use it */
Test(in_flight, unmap)
{
	struct plx_nvme_cpl cpl;
	int n = 0;

	submit_mix(4);
	while (!nvmf_fn_remote_busy(&h.fn, host_iova(&h, buf), BUF) || h.fn.sqs[1]->outstanding < 4)
		plx_thread_poll(h.thread);
	cr_expect_not(nvmf_fn_remote_busy(&h.fn, host_iova(&h, buf) + 16 * P, P));
	for (; nvmf_fn_remote_busy(&h.fn, host_iova(&h, buf), BUF); n++)
		plx_thread_poll(h.thread);
	cr_expect_gt(n, 0);
	nvmf_fn_dma_unmap(&h.fn, host_iova(&h, buf), BUF);
	for (int i = 0; i < 4; i++) {
		cpl = host_wait(&h, 1);
		cr_expect_eq(host_status(&cpl), 0);
	}
	cpl = host_rw(&h, 1, nvme_cmd_write, 0, 8, buf);
	cr_expect_eq(host_status(&cpl), XFER_ERR);
}

/* What a client wants back for long is aborted */
Test(in_flight, abort_of_those_who_use_memory)
{
	struct plx_nvme_cpl cpl;
	int aborted = 0;

	submit_mix(4);
	while (h.fn.sqs[1]->outstanding < 4 || !nvmf_fn_remote_busy(&h.fn, host_iova(&h, buf), BUF))
		plx_thread_poll(h.thread);
	nvmf_fn_remote_abort(&h.fn, host_iova(&h, buf), BUF);
	for (int i = 0; i < 4; i++) {
		cpl = host_wait(&h, 1);
		aborted += host_status(&cpl) == ABORT_REQ;
		cr_expect(host_status(&cpl) == ABORT_REQ || !host_status(&cpl));
	}
	cr_expect_gt(aborted, 0);
	cr_expect_lt(aborted, 3); /* the two reads are elsewhere */
}

Test(in_flight, revoked_queue_that_is_used)
{
	submit_mix(10);
	for (int i = 0; i < 10; i++)
		plx_thread_poll(h.thread);
	nvmf_fn_revoke(&h.fn, host_iova(&h, h.q[1].sqes), P);
	submit_mix(1);
	cr_expect(host_poll(&h, fatal, NULL));
	host_idle(&h);
	cr_assert_eq(host_make_remote(&h, h.q[1].sqes, P), 0);
	cr_assert_eq(host_disable(&h), 0);
	cr_assert_eq(host_enable(&h), 0);
	cr_assert_eq(host_create_queue(&h, 1, QD), 0);
	expect_round_trip(0, 64);
}

/* ---- limits ---- */

/* Room for one large command: the others wait their turn, and all are done in the end */
Test(limits, commands_wait_for_memory)
{
	uint64_t most = 0;
	int done = 0;

	h.fn.remote->budget = 100u << 10;
	for (int round = 0; round < 10; round++) {
		struct plx_nvme_cpl cpl;

		submit_mix(50);
		for (done = 0; done < 50;) {
			plx_thread_poll(h.thread);
			most = h.fn.remote->held > most ? h.fn.remote->held : most;
			for (; host_reap(&h, 1, &cpl); done++)
				cr_assert_eq(host_status(&cpl), 0);
		}
	}
	cr_expect_leq(most, 100u << 10);
	cr_expect_eq(h.fn.remote->held, 0);
}

/* A budget nothing fits into lets one at a time through, and both of a fused pair */
Test(limits, the_smallest_budget)
{
	struct plx_nvme_cmd cmp = {
		.opc = nvme_cmd_compare, .flags = PLX_NVME_FUSE_FIRST, .nsid = h.nsid, .slba = 1000
	};
	struct plx_nvme_cmd wr = cmp;
	char *zeroes = host_alloc(&h, P, P);
	struct plx_nvme_cpl cpl;

	h.fn.remote->budget = 1;
	host_prp(&h, &cmp, zeroes, 512);
	wr.opc = nvme_cmd_write;
	wr.flags = PLX_NVME_FUSE_SECOND;
	host_prp(&h, &wr, zeroes, 512);
	for (int i = 0; i < 5; i++) {
		host_push(&h, 1, &cmp);
		host_push(&h, 1, &wr);
		submit_mix(2);
	}
	for (int i = 0; i < 20; i++) {
		cpl = host_wait(&h, 1);
		cr_expect_eq(host_status(&cpl), 0);
	}
}

Test(limits, waiting_commands_are_aborted_and_reset)
{
	struct plx_nvme_cpl cpl;

	h.fn.remote->budget = 1;
	submit_mix(10);
	while (h.fn.sqs[1]->outstanding < 10 || !h.remote.n)
		plx_thread_poll(h.thread);
	h.remote.held = true;
	cr_assert_not_null(h.fn.remote->waiting);
	cr_expect(nvmf_fn_abort(&h.fn, 1, 9));
	host_idle(&h);
	cr_expect_eq(h.fn.sqs[1]->outstanding, 9);
	h.remote.held = false;
	cpl = host_wait(&h, 1);
	cr_expect_eq(cpl.cid, 9);
	cr_expect_eq(host_status(&cpl), ABORT_REQ);
	cr_expect_eq(host_disable(&h), 0);
	cr_expect_null(h.fn.remote->waiting);
}

/* A front end that takes two messages at once, and says "later" to all others */
Test(limits, few_messages_at_once)
{
	h.remote.room = 2;
	for (int i = 0; i < 5; i++) {
		struct plx_nvme_cpl cpl;

		submit_mix(40);
		for (int n = 0; n < 40; n++) {
			cpl = host_wait(&h, 1);
			cr_assert_eq(host_status(&cpl), 0);
		}
	}
	cr_expect_gt(h.remote.refused, 0);
	cr_expect_leq(h.remote.most, 2);
	expect_round_trip(0, 256);
}
