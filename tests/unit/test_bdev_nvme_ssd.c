/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev_nvme_ssd.c - bdevs of an SSD that has no SGLs and few commands: what it is
 * sent, and what is made of its answers
 *
 * The fake controller runs in a thread of its own, as set-up calls wait without the caller's loop.
 */
#include "bdev/modules/nvme.h"
#include "bdev_test.h"
#include "fake_nvme.h"
#include <errno.h>

static struct fake_nvme fake;
static struct plx_reactor *reactor;
static struct plx_poller *poller;
static char media[1000 * 520];
static uint16_t answer; /* to reads and writes */

static int poll_fake(void *arg)
{
	return fake_turn(&fake);
}

static void begin(void *arg)
{
	poller = plx_poller_create(poll_fake, NULL, 0);
}

static void end(void *arg)
{
	plx_poller_destroy(poller);
}

/* Reads and writes of at most two pages that follow each other in memory */
static uint16_t io(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw)
{
	size_t len = ((cmd->cdw12 & 0xffff) + 1) * 512;
	char *at = media + cmd->slba * 512;

	if (cmd->opc != nvme_cmd_read && cmd->opc != nvme_cmd_write)
		return FAKE_NOT_MINE;
	if (cmd->flags & PLX_NVME_PSDT_MASK)
		return NVME_SC_INVALID_FIELD | PLX_NVME_DNR;
	if (!answer)
		memcpy(cmd->opc == nvme_cmd_read ? (void *)cmd->prp1 : at,
		       cmd->opc == nvme_cmd_read ? at : (void *)cmd->prp1, len);
	return answer;
}

static void setup_fake(void)
{
	struct plx_cpuset allowed;

	setup();
	fake_init(&fake);
	fake.io_hook = io;
	plx_topo_allowed(&allowed);
	reactor = plx_reactor_start((unsigned)plx_cpuset_next(&allowed, -1), "fake");
	cr_assert_not_null(reactor);
	plx_thread_call(plx_reactor_thread(reactor), begin, NULL, false);
}

static struct dev attached(unsigned check)
{
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_PCIE, .traddr = "fake" };

	cr_assert_eq(plx_bdev_nvme_attach("Nvme0", &trid, check), 0);
	return dev_open("Nvme0n1");
}

static void teardown(void)
{
	cr_expect_eq(plx_bdev_delete_all(), 0);
	cr_expect_null(nvme_ctrlr_first());
	plx_thread_call(plx_reactor_thread(reactor), end, NULL, false);
	plx_reactor_stop(reactor);
	plx_thread_enter(NULL);
	plx_thread_destroy(thread);
	plx_env_fini();
}

TestSuite(ssd, .init = setup_fake, .fini = teardown);

static void *dma(size_t size)
{
	void *p = plx_dma_zalloc(size, 4096, -1);

	cr_assert_not_null(p);
	return p;
}

Test(ssd, what_it_lacks_is_made_of_reads_and_writes)
{
	struct dev d = attached(0);
	char *a = dma(1024), *b = dma(1024);
	struct iovec iov = { a, 1024 };
	struct plx_bdev_rw rw = { .iov = &iov, .iovcnt = 1, .offset = 10, .blocks = 2 };

	cr_expect_not(plx_bdev_supports(plx_bdev_desc_bdev(d.desc), PLX_BDEV_UNMAP));
	fill(a, 1024, 1);
	cr_expect_eq(do_write(&d, a, 1024, 10, 2), 0);
	cr_expect_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_COMPARE, &rw, on_done, res)),
		     0);
	cr_expect_eq(io_status(plx_bdev_copy(d.desc, d.ch, 20, 10, 2, on_done, res)), 0);
	cr_expect_eq(do_read(&d, b, 1024, 20, 2), 0);
	cr_expect_arr_eq(a, b, 1024);
	cr_expect_eq(io_status(plx_bdev_write_zeroes(d.desc, d.ch, 10, 1, on_done, res)), 0);
	cr_expect_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_COMPARE, &rw, on_done, res)),
		     PLX_BDEV_ST_MISCOMPARE);
	plx_dma_free(a);
	plx_dma_free(b);
	dev_close(&d);
}

/* Neither block begins where a page does, and they do not follow each other */
Test(ssd, pieces_that_prps_cannot_name_go_through_a_buffer)
{
	struct dev d = attached(0);
	char *a = dma(8192), *b = dma(1024);
	struct iovec iov[] = { { a + 100, 300 }, { a + 5000, 500 }, { a + 6000, 224 } };
	char want[1024];

	fill(a, 8192, 2);
	memcpy(want, a + 100, 300);
	memcpy(want + 300, a + 5000, 500);
	memcpy(want + 800, a + 6000, 224);
	cr_expect_eq(io_status(plx_bdev_writev(d.desc, d.ch, iov, 3, 30, 2, on_done, res)), 0);
	cr_expect_arr_eq(media + 30 * 512, want, 1024);
	memset(a, 0, 8192);
	cr_expect_eq(io_status(plx_bdev_readv(d.desc, d.ch, iov, 3, 30, 2, on_done, res)), 0);
	cr_expect_arr_eq(a + 100, want, 300);
	cr_expect_arr_eq(a + 5000, want + 300, 500);
	cr_expect_arr_eq(a + 6000, want + 800, 224);
	answer = NVME_SC_READ_ERROR | NVME_SCT_MEDIA << 8 | PLX_NVME_DNR;
	memset(a, 7, 8192);
	cr_expect_eq(io_status(plx_bdev_readv(d.desc, d.ch, iov, 3, 30, 2, on_done, res)),
		     PLX_BDEV_ST_READ_ERROR);
	cr_expect_eq(a[100], 7, "a read that failed has changed the buffer");
	plx_dma_free(a);
	plx_dma_free(b);
	dev_close(&d);
}

Test(ssd, a_status_comes_without_what_is_for_the_driver)
{
	static const uint16_t codes[] = { 0x001, 0x004, 0x006, 0x080, 0x083, 0x181, 0x281, 0x286 };
	struct dev d = attached(0);
	char *a = dma(512);

	for (size_t i = 0; i < PLX_ARRAY_SIZE(codes); i++) {
		/* with DNR and More */
		answer = codes[i] | 0x6000;
		cr_expect_eq(do_read(&d, a, 512, 0, 1), codes[i]);
		cr_expect_eq(do_write(&d, a, 512, 0, 1), codes[i]);
	}
	plx_dma_free(a);
	dev_close(&d);
}

Test(ssd, forced_unit_access_and_checks_are_in_the_command)
{
	char *a = dma(1040);
	struct iovec iov = { a, 520 };
	struct plx_bdev_rw rw = {
		.iov = &iov, .iovcnt = 1, .offset = 5, .blocks = 1, .flags = PLX_BDEV_F_FUA
	};
	struct dev d;

	/* 512 + 8 bytes, type 1 */
	fake.ns[1].lbaf[0].ms = 8;
	fake.ns[1].flbas = NVME_NS_FLBAS_META_EXT;
	fake.ns[1].dps = 1;
	d = attached(PLX_BDEV_CHECK_REF);
	cr_expect_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_WRITE, &rw, on_done, res)),
		     0);
	cr_expect_eq(fake.last_io.cdw12, PLX_NVME_RW_FUA | PLX_NVME_RW_PRCHK_REF);
	cr_expect_eq(fake.last_io.cdw14, 5);
	rw.flags = 0;
	rw.check = PLX_BDEV_CHECK_GUARD | PLX_BDEV_CHECK_APP;
	rw.reftag = 77;
	rw.apptag = 0x1234;
	rw.appmask = 0xff00;
	cr_expect_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_READ, &rw, on_done, res)), 0);
	cr_expect_eq(fake.last_io.cdw12, PLX_NVME_RW_PRCHK_GUARD | PLX_NVME_RW_PRCHK_APP);
	cr_expect_eq(fake.last_io.cdw14, 77);
	cr_expect_eq(fake.last_io.cdw15, 0xff001234);
	plx_dma_free(a);
	dev_close(&d);
}

Test(ssd, a_volatile_cache_is_flushed)
{
	struct dev d;

	fake.id.vwc = 1;
	d = attached(0);
	cr_expect(plx_bdev_desc_bdev(d.desc)->write_cache);
	cr_expect_eq(io_status(plx_bdev_flush(d.desc, d.ch, 0, 1, on_done, res)), 0);
	cr_expect_eq(fake.last_io.opc, nvme_cmd_flush);
	dev_close(&d);
}

Test(ssd, one_that_is_pulled_is_gone)
{
	char *a = dma(512);
	struct iovec iov = { a, 512 };
	struct result r = { 0 };
	struct dev d;

	fake.io_hook = NULL;
	fake.hold_io = true;
	d = attached(0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &r), 0);
	wait_for(__atomic_load_n(&fake.n_held, __ATOMIC_SEQ_CST) == 1);
	__atomic_store_n(&fake.unplugged, true, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fake.gone, true, __ATOMIC_SEQ_CST);
	wait_for(r.calls);
	cr_expect_eq(r.status, 0x371, "%x", r.status);
	wait_for(!plx_bdev_by_name("Nvme0n1"));
	dev_close(&d);
	wait_for(!nvme_ctrlr_first());
	plx_dma_free(a);
}
