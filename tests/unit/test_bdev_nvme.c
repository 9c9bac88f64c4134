/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev_nvme.c - namespaces of an NVMe controller as block devices, on the virtual
 * controller inline: everything runs in one thread
 */
#include "bdev/modules/nvme.h"
#include "bdev_test.h"
#include "core/rpc.h"
#include <errno.h>
#include <jansson.h>
#include <pollux/nvmf.h>

#define BLOCKS 4096u
#define KIB    1024u

static struct plx_nvmf_subsystem *subsystem;
static struct plx_nvmf_virtual *function;

/* A namespace of bdev @name, with a UUID that is not that bdev's */
static void add_ns(const char *name, uint32_t nsid)
{
	uint8_t uuid[16];

	fill(uuid, sizeof(uuid), nsid + 77);
	cr_assert_eq(plx_nvmf_subsystem_add_ns_ext(subsystem, name,
						   &(struct plx_nvmf_ns_opts){ .nsid = nsid,
									       .uuid = uuid }),
		     (int)nsid);
}

static void serve(void)
{
	subsystem = plx_nvmf_subsystem_create(
		&(struct plx_nvmf_subsystem_opts){ .nqn = "nqn.2016-06.io.spdk:test" });
	cr_assert_not_null(subsystem);
	function = plx_nvmf_virtual_create(&(struct plx_nvmf_virtual_opts){
		.name = "v0", .subsystem = subsystem, .thread = thread });
	cr_assert_not_null(function);
}

static int attach(unsigned check)
{
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_VIRTUAL, .traddr = "v0" };

	return plx_bdev_nvme_attach("Nvme0", &trid, check);
}

/* Malloc device "m", error device "e" on it, which is namespace 1 */
static void setup_geometry(const struct plx_bdev_geometry *g)
{
	setup();
	cr_assert_eq(plx_bdev_malloc_create("m", g, NULL), 0);
	cr_assert_eq(plx_bdev_error_create("e", "m", 1, NULL, NULL), 0);
	serve();
	add_ns("e", 1);
}

static void setup_nvme(void)
{
	struct plx_bdev_geometry g = { .blocks = BLOCKS, .block_size = 512, .numa = -1 };

	setup_geometry(&g);
	cr_assert_eq(attach(0), 0);
}

/* What is left is found by the sanitizer, and by the environment */
static void teardown(void)
{
	if (nvme_ctrlr_first())
		cr_expect_eq(plx_bdev_nvme_detach("Nvme0"), 0);
	plx_nvmf_virtual_destroy(function);
	cr_expect_eq(plx_nvmf_subsystem_destroy(subsystem), 0);
	cr_expect_eq(plx_bdev_delete_all(), 0);
	plx_thread_enter(NULL);
	plx_thread_destroy(thread);
	plx_env_fini();
}

TestSuite(nvme, .init = setup_nvme, .fini = teardown);

static void *dma(size_t size)
{
	void *p = plx_dma_zalloc(size, 4096, -1);

	cr_assert_not_null(p);
	return p;
}

static void inject(const struct plx_bdev_error_rule *r)
{
	cr_assert_eq(plx_bdev_error_inject("e", r), 0);
}

/* A read of a block of namespace 1 that is under way */
struct reading {
	struct dev d;
	struct result r;
	struct iovec iov;
};

static void read_start(struct reading *rd, struct dev d)
{
	*rd = (struct reading){ .d = d, .iov = { dma(512), 512 } };
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &rd->iov, 1, 0, 1, on_done, &rd->r), 0);
}

static void read_end(struct reading *rd)
{
	plx_dma_free(rd->iov.iov_base);
	dev_close(&rd->d);
}

static uint64_t injected(void)
{
	uint64_t counts[4];

	cr_assert_eq(plx_bdev_error_injected("e", counts), 0);
	return counts[PLX_BDEV_ERR_HANG] + counts[PLX_BDEV_ERR_HANG_HARD];
}

/* The next @count reads hang (0: all) */
static void hang(enum plx_bdev_error_kind kind, uint64_t count)
{
	inject(&(struct plx_bdev_error_rule){
		.kind = kind, .types = 1 << PLX_BDEV_READ, .share = 1, .count = count });
}

/* A read that hangs in the device */
static void read_hang(struct reading *rd, struct dev d, enum plx_bdev_error_kind kind,
		      uint64_t count)
{
	hang(kind, count);
	read_start(rd, d);
	wait_for(injected() == 1);
}

/* ---- what it is ---- */

Test(nvme, a_namespace_is_a_bdev_of_its_geometry)
{
	struct plx_bdev *b = plx_bdev_by_name("Nvme0n1");
	uint8_t uuid[16];

	fill(uuid, sizeof(uuid), 78);
	cr_assert_not_null(b);
	cr_expect_eq(b->blocks, BLOCKS);
	cr_expect_eq(b->block_size, 512);
	cr_expect_eq(b->md_size, 0);
	cr_expect_arr_eq(b->uuid, uuid, 16);
	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++)
		cr_expect(plx_bdev_supports(b, (enum plx_bdev_io_type)t), "%s",
			  plx_bdev_io_type_name((enum plx_bdev_io_type)t));
}

Test(nvme, a_name_is_one_controllers)
{
	cr_expect_eq(attach(0), -EEXIST);
}

Test(nvme, a_second_bdev_of_one_uuid_gets_another)
{
	struct plx_bdev *b;

	/* namespace 2 has the UUID of bdev "m" */
	cr_assert_eq(plx_nvmf_subsystem_add_ns(subsystem, "m", 2), 2);
	wait_for((b = plx_bdev_by_name("Nvme0n2")));
	cr_expect_neq(memcmp(b->uuid, plx_bdev_by_name("m")->uuid, 16), 0);
}

/* ---- I/O ---- */

Test(nvme, what_is_written_is_on_the_device_and_read_again)
{
	struct dev d = dev_open("Nvme0n1"), m = dev_open("m");
	size_t len = 8 * 512;
	char *a = dma(len), *b = dma(len);

	fill(a, len, 3);
	cr_expect_eq(do_write(&d, a, len, 100, 8), 0);
	cr_expect_eq(do_read(&m, b, len, 100, 8), 0);
	cr_expect_arr_eq(a, b, len);
	memset(b, 0, len);
	cr_expect_eq(do_read(&d, b, len, 100, 8), 0);
	cr_expect_arr_eq(a, b, len);
	plx_dma_free(a);
	plx_dma_free(b);
	dev_close(&m);
	dev_close(&d);
}

Test(nvme, pieces_of_any_shape_and_more_than_one_command)
{
	struct dev d = dev_open("Nvme0n1");
	size_t len = 1024 * KIB, at = 0;
	char *a = dma(len + 4096), *b = dma(len);
	uint64_t seed = 99;
	struct iovec iov[64];
	int n = 0;

	fill(a, len, 4);
	while (at < len) {
		size_t piece = n == 63 ? len - at : (rnd(&seed) % 8000 + 1) * 4;

		piece = piece < len - at ? piece : len - at;
		iov[n++] = (struct iovec){ a + at, piece };
		at += piece;
	}
	cr_expect_eq(io_status(plx_bdev_writev(d.desc, d.ch, iov, n, 0, len / 512, on_done, res)),
		     0);
	cr_expect_eq(do_read(&d, b, len, 0, len / 512), 0);
	cr_expect_arr_eq(a, b, len);
	memset(a, 0, len);
	cr_expect_eq(io_status(plx_bdev_readv(d.desc, d.ch, iov, n, 0, len / 512, on_done, res)),
		     0);
	cr_expect_arr_eq(a, b, len);
	plx_dma_free(a);
	plx_dma_free(b);
	dev_close(&d);
}

Test(nvme, every_type_does_what_it_says)
{
	struct dev d = dev_open("Nvme0n1");
	char *a = dma(4096), *b = dma(4096), *c = dma(4096), *zero = dma(4096);
	struct iovec ia = { a, 4096 }, ib = { b, 4096 };

	fill(a, 4096, 5);
	fill(b, 4096, 6);
	cr_expect_eq(do_write(&d, a, 4096, 0, 8), 0);
	cr_expect_eq(io_status(plx_bdev_flush(d.desc, d.ch, 0, 8, on_done, res)), 0);
	cr_expect_eq(io_status(plx_bdev_copy(d.desc, d.ch, 64, 0, 8, on_done, res)), 0);
	cr_expect_eq(do_read(&d, c, 4096, 64, 8), 0);
	cr_expect_arr_eq(a, c, 4096);
	cr_expect_eq(io_status(plx_bdev_compare_and_write(d.desc, d.ch, &ia, 1, &ib, 1, 0, 8,
							  on_done, res)),
		     0);
	cr_expect_eq(do_read(&d, c, 4096, 0, 8), 0);
	cr_expect_arr_eq(b, c, 4096);
	cr_expect_eq(io_status(plx_bdev_compare_and_write(d.desc, d.ch, &ia, 1, &ib, 1, 0, 8,
							  on_done, res)),
		     PLX_BDEV_ST_MISCOMPARE);
	for (int same = 0; same < 2; same++) {
		struct plx_bdev_rw rw = {
			.iov = same ? &ib : &ia, .iovcnt = 1, .offset = 0, .blocks = 8
		};

		cr_expect_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_COMPARE, &rw, on_done,
						       res)),
			     same ? 0 : PLX_BDEV_ST_MISCOMPARE);
	}
	cr_expect_eq(io_status(
			     plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_VERIFY,
					     &(struct plx_bdev_rw){ .offset = 0, .blocks = BLOCKS },
					     on_done, res)),
		     0);
	cr_expect_eq(io_status(plx_bdev_write_zeroes(d.desc, d.ch, 0, 8, on_done, res)), 0);
	cr_expect_eq(do_read(&d, c, 4096, 0, 8), 0);
	cr_expect_arr_eq(zero, c, 4096);
	cr_expect_eq(io_status(plx_bdev_unmap(d.desc, d.ch, 0, BLOCKS, on_done, res)), 0);
	cr_expect_eq(do_read(&d, c, 4096, 64, 8), 0);
	cr_expect_arr_eq(zero, c, 4096);
	plx_dma_free(a);
	plx_dma_free(b);
	plx_dma_free(c);
	plx_dma_free(zero);
	dev_close(&d);
}

Test(nvme, more_than_the_queue_holds_waits_its_turn)
{
	enum { N = 1500 };
	struct dev d = dev_open("Nvme0n1");
	static struct result r[N];
	static struct iovec iov[N];
	char *buf = dma(512);
	int left = N;

	for (int i = 0; i < N; i++) {
		iov[i] = (struct iovec){ buf, 512 };
		cr_assert_eq(i % 3 ? plx_bdev_readv(d.desc, d.ch, &iov[i], 1, (uint64_t)i, 1,
						    on_done, &r[i])
				   : plx_bdev_unmap(d.desc, d.ch, (uint64_t)i, 1, on_done, &r[i]),
			     0);
	}
	while (left--)
		wait_for(r[left].calls);
	for (int i = 0; i < N; i++) {
		cr_assert_eq(r[i].calls, 1);
		cr_assert_eq(r[i].status, 0, "%d: %x", i, r[i].status);
	}
	plx_dma_free(buf);
	dev_close(&d);
}

Test(nvme, a_status_of_the_device_is_the_bdevs)
{
	static const uint16_t codes[] = { 0x006, 0x020, 0x082, 0x280, 0x281, 0x282, 0x286 };
	struct dev d = dev_open("Nvme0n1");
	char *buf = dma(512);

	for (size_t i = 0; i < PLX_ARRAY_SIZE(codes); i++) {
		inject(&(struct plx_bdev_error_rule){ .kind = PLX_BDEV_ERR_FAIL,
						      .types = 1 << PLX_BDEV_READ,
						      .share = 1,
						      .status = codes[i] });
		cr_expect_eq(do_read(&d, buf, 512, 0, 1), codes[i]);
		inject(NULL);
	}
	cr_expect_eq(do_read(&d, buf, 512, 0, 1), 0);
	plx_dma_free(buf);
	dev_close(&d);
}

Test(nvme, memory_that_no_device_reaches_is_an_error)
{
	struct dev d = dev_open("Nvme0n1");
	char *buf = aligned_alloc(4096, 4096);

	cr_expect_eq(do_read(&d, buf, 4096, 0, 8), 0x004);
	cr_expect_not_null(strstr(plx_log_last_error(), "is no memory that devices reach"));
	free(buf);
	dev_close(&d);
}

/* ---- abort, reset ---- */

Test(nvme, abort_ends_what_hangs_and_nothing_else)
{
	struct dev d = dev_open("Nvme0n1");
	struct result one = { 0 }, other = { 0 };
	char *buf = dma(512);
	struct iovec iov = { buf, 512 };

	hang(PLX_BDEV_ERR_HANG, 2);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &one), 0);
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 1, 1, on_done, &other), 0);
	wait_for(injected() == 2);
	cr_expect_eq(io_status(plx_bdev_abort(d.desc, d.ch, &one, on_done, res)), 0);
	cr_expect_eq(one.calls, 1);
	cr_expect_eq(one.status, PLX_BDEV_ST_ABORTED);
	cr_expect_eq(other.calls, 0);
	cr_expect_eq(io_status(plx_bdev_abort(d.desc, d.ch, &one, on_done, res)),
		     PLX_BDEV_ST_INTERNAL);
	cr_expect_eq(io_status(plx_bdev_abort(d.desc, d.ch, &other, on_done, res)), 0);
	cr_expect_eq(other.status, PLX_BDEV_ST_ABORTED);
	plx_dma_free(buf);
	dev_close(&d);
}

Test(nvme, abort_ends_what_waits_for_room)
{
	enum { N = 600 };
	struct dev d = dev_open("Nvme0n1");
	static struct result r[N];
	char *buf = dma(512);
	struct iovec iov = { buf, 512 };

	hang(PLX_BDEV_ERR_HANG, 0);
	for (int i = 0; i < N; i++)
		cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 1, on_done, &r[i]), 0);
	cr_expect_eq(io_status(plx_bdev_abort(d.desc, d.ch, &r[N - 1], on_done, res)), 0);
	cr_expect_eq(r[N - 1].status, PLX_BDEV_ST_ABORTED);
	cr_expect_eq(io_status(plx_bdev_reset(d.desc, d.ch, on_done, res)), 0);
	for (int i = 0; i < N; i++)
		cr_assert_eq(r[i].calls, 1, "%d", i);
	inject(NULL);
	cr_expect_eq(do_read(&d, buf, 512, 0, 1), 0);
	plx_dma_free(buf);
	dev_close(&d);
}

Test(nvme, reset_ends_its_own_io_and_the_device_works_again)
{
	struct reading rd;

	read_hang(&rd, dev_open("Nvme0n1"), PLX_BDEV_ERR_HANG_HARD, 1);
	cr_expect_eq(io_status(plx_bdev_reset(rd.d.desc, rd.d.ch, on_done, res)), 0);
	cr_expect_eq(rd.r.calls, 1);
	cr_expect_neq(rd.r.status, 0);
	cr_expect_eq(do_read(&rd.d, rd.iov.iov_base, 512, 0, 1), 0);
	read_end(&rd);
}

/* The controller is reset for another's sake: the read is submitted again, and does not hang
 * then */
Test(nvme, io_that_a_reset_of_the_controller_caught_is_submitted_again)
{
	struct reading rd;

	read_hang(&rd, dev_open("Nvme0n1"), PLX_BDEV_ERR_HANG, 1);
	cr_expect_eq(nvme_ctrlr_reset(nvme_ctrlr_first()), 0);
	wait_for(rd.r.calls);
	cr_expect_eq(rd.r.status, 0, "%x", rd.r.status);
	read_end(&rd);
}

Test(nvme, io_is_not_submitted_again_without_end)
{
	struct reading rd;

	read_hang(&rd, dev_open("Nvme0n1"), PLX_BDEV_ERR_HANG, 0);
	for (unsigned i = 0; i <= nvme_settings.bdev_retries; i++) {
		cr_expect_eq(rd.r.calls, 0);
		wait_for(injected() == i + 1);
		cr_expect_eq(nvme_ctrlr_reset(nvme_ctrlr_first()), 0);
	}
	wait_for(rd.r.calls);
	cr_expect_eq(rd.r.status, 0x008, "%x", rd.r.status);
	read_end(&rd);
}

/* What a reset of one namespace's bdev catches of another's is that one's again */
Test(nvme, a_reset_of_one_bdev_spares_the_others_io)
{
	struct plx_bdev_geometry g = { .blocks = 1000, .block_size = 512, .numa = -1 };
	struct reading rd;
	struct dev other;

	cr_assert_eq(plx_bdev_null_create("n", &g, NULL), 0);
	add_ns("n", 2);
	wait_for(plx_bdev_by_name("Nvme0n2"));
	other = dev_open("Nvme0n2");
	read_hang(&rd, dev_open("Nvme0n1"), PLX_BDEV_ERR_HANG, 1);
	cr_expect_eq(io_status(plx_bdev_reset(other.desc, other.ch, on_done, res)), 0);
	wait_for(rd.r.calls);
	cr_expect_eq(rd.r.status, 0, "%x", rd.r.status);
	read_end(&rd);
	dev_close(&other);
}

/* ---- what comes and goes ---- */

static int removes, resizes;

static void on_event(enum plx_bdev_event e, struct plx_bdev *b, void *arg)
{
	removes += e == PLX_BDEV_EVENT_REMOVE;
	resizes += e == PLX_BDEV_EVENT_RESIZE;
}

static struct dev watch(const char *name)
{
	struct dev d;

	cr_assert_eq(plx_bdev_open(name, true, on_event, NULL, &d.desc), 0);
	d.ch = plx_bdev_get_channel(d.desc);
	cr_assert_not_null(d.ch);
	return d;
}

Test(nvme, namespaces_come_grow_and_go)
{
	struct plx_bdev_geometry g = { .blocks = 1000, .block_size = 4096, .numa = -1 };
	struct plx_bdev *null;
	struct dev d;

	cr_assert_eq(plx_bdev_null_create("n", &g, &null), 0);
	add_ns("n", 5);
	wait_for(plx_bdev_by_name("Nvme0n5"));
	cr_expect_eq(plx_bdev_by_name("Nvme0n5")->blocks, 1000);
	d = watch("Nvme0n5");
	cr_assert_eq(plx_bdev_resize(null, 3000), 0);
	wait_for(plx_bdev_by_name("Nvme0n5")->blocks == 3000);
	wait_for(resizes == 1);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(subsystem, 5), 0);
	wait_for(!plx_bdev_by_name("Nvme0n5"));
	wait_for(removes == 1);
	dev_close(&d);
	cr_expect_not_null(plx_bdev_by_name("Nvme0n1"));
}

Test(nvme, a_namespace_in_another_format_is_another_bdev)
{
	struct plx_bdev_geometry g = { .blocks = 1000, .block_size = 4096, .numa = -1 };
	struct dev d = watch("Nvme0n1");
	char *buf = dma(4096);

	cr_assert_eq(plx_bdev_null_create("n", &g, NULL), 0);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(subsystem, 1), 0);
	wait_for(removes == 1);
	add_ns("n", 1);
	wait_for(plx_bdev_by_name("Nvme0n1"));
	cr_expect_eq(plx_bdev_by_name("Nvme0n1")->block_size, 4096);
	dev_close(&d);
	d = dev_open("Nvme0n1");
	cr_expect_eq(do_read(&d, buf, 4096, 0, 1), 0);
	plx_dma_free(buf);
	dev_close(&d);
}

Test(nvme, a_controller_that_vanishes_takes_its_bdevs_along)
{
	struct reading rd;

	read_hang(&rd, watch("Nvme0n1"), PLX_BDEV_ERR_HANG, 1);
	plx_nvmf_virtual_vanish(function);
	wait_for(removes == 1);
	wait_for(rd.r.calls);
	cr_expect_eq(rd.r.status, 0x371, "%x", rd.r.status);
	cr_expect_null(plx_bdev_by_name("Nvme0n1"));
	cr_expect_eq(plx_bdev_readv(rd.d.desc, rd.d.ch, &rd.iov, 1, 0, 1, on_done, &rd.r), -ENODEV);
	read_end(&rd);
	wait_for(!nvme_ctrlr_first());
}

Test(nvme, a_controller_in_use_is_detached_when_it_is_let_go)
{
	struct dev d = watch("Nvme0n1");

	cr_expect_eq(plx_bdev_nvme_detach("Nvme0"), -EBUSY);
	cr_expect_eq(removes, 1);
	cr_expect_null(plx_bdev_by_name("Nvme0n1"));
	cr_expect_not_null(nvme_ctrlr_first());
	dev_close(&d);
	wait_for(!nvme_ctrlr_first());
	cr_expect_eq(plx_bdev_nvme_detach("Nvme0"), -ENODEV);
	cr_expect_eq(attach(0), 0);
	cr_expect_not_null(plx_bdev_by_name("Nvme0n1"));
}

/* ---- metadata ---- */

static void setup_pi(bool interleaved, uint32_t md, enum plx_bdev_dif dif)
{
	struct plx_bdev_geometry g = { .blocks = BLOCKS,
				       .block_size = 512,
				       .md_size = md,
				       .md_interleaved = interleaved,
				       .dif = dif,
				       .numa = -1 };

	setup_geometry(&g);
}

Test(bare, data_alone_goes_to_where_metadata_has_its_own_buffer, .fini = teardown)
{
	struct dev d;
	char *a, *b;

	setup_pi(false, 16, PLX_BDEV_DIF_NONE);
	cr_assert_eq(attach(0), 0);
	d = dev_open("Nvme0n1");
	a = dma(64 * KIB);
	b = dma(64 * KIB);
	fill(a, 64 * KIB, 8);
	cr_expect_eq(do_write(&d, a, 64 * KIB, 7, 128), 0);
	cr_expect_eq(do_read(&d, b, 64 * KIB, 7, 128), 0);
	cr_expect_arr_eq(a, b, 64 * KIB);
	plx_dma_free(a);
	plx_dma_free(b);
	dev_close(&d);
}

Test(bare, metadata_travels_in_its_own_buffer, .fini = teardown)
{
	char *a, *b, *md, *back;
	struct plx_bdev_rw rw;
	struct iovec iov;
	struct dev d;

	setup_pi(false, 16, PLX_BDEV_DIF_NONE);
	cr_assert_eq(attach(0), 0);
	d = dev_open("Nvme0n1");
	a = dma(4096);
	b = dma(4096);
	md = dma(128);
	back = dma(128);
	fill(a, 4096, 8);
	fill(md, 128, 9);
	iov = (struct iovec){ a, 4096 };
	rw = (struct plx_bdev_rw){ .iov = &iov, .iovcnt = 1, .offset = 9, .blocks = 8, .md = md };
	cr_expect_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_WRITE, &rw, on_done, res)),
		     0);
	iov.iov_base = b;
	rw.md = back;
	cr_expect_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_READ, &rw, on_done, res)), 0);
	cr_expect_arr_eq(a, b, 4096);
	cr_expect_arr_eq(md, back, 128);
	plx_dma_free(a);
	plx_dma_free(b);
	plx_dma_free(md);
	plx_dma_free(back);
	dev_close(&d);
}

/* Written through the NVMe bdev without metadata, found with it in the malloc bdev; wrong there,
 * noticed here if it was asked for */
static void check_pi(bool interleaved, unsigned check, uint16_t wanted)
{
	struct dev d, m;
	char *a;

	setup_pi(interleaved, 8, PLX_BDEV_DIF_TYPE1);
	cr_assert_eq(attach(check), 0);
	d = dev_open("Nvme0n1");
	m = dev_open("m");
	a = dma(4096 + 64);
	fill(a, 4096 + 64, 10);
	/* all ones in the application tag: not to be checked, so it has to be something else */
	cr_expect_eq(do_write(&m, a, interleaved ? 520 : 512, 3, 1), 0);
	if (!interleaved) {
		struct iovec iov = { a, 512 };
		struct plx_bdev_rw rw = {
			.iov = &iov, .iovcnt = 1, .offset = 3, .blocks = 1, .md = a + 1024
		};

		cr_expect_eq(io_status(plx_bdev_rw_ext(m.desc, m.ch, PLX_BDEV_WRITE, &rw, on_done,
						       res)),
			     0);
		cr_expect_eq(do_write(&d, a, 4096, 8, 8), 0);
		cr_expect_eq(do_read(&d, a, 4096, 8, 8), 0);
		rw.iov->iov_base = a;
		rw.offset = 9;
		rw.check = PLX_BDEV_CHECK_GUARD | PLX_BDEV_CHECK_REF;
		rw.reftag = 9;
		cr_expect_eq(io_status(plx_bdev_rw_ext(m.desc, m.ch, PLX_BDEV_READ, &rw, on_done,
						       res)),
			     0, "what was written has valid protection information");
	}
	cr_expect_eq(do_read(&d, a, interleaved ? 520 : 512, 3, 1), wanted);
	plx_dma_free(a);
	dev_close(&m);
	dev_close(&d);
}

Test(bare, protection_information_is_not_checked_unasked, .fini = teardown)
{
	check_pi(false, 0, 0);
}

Test(bare, prchk_guard_finds_a_wrong_guard, .fini = teardown)
{
	check_pi(false, PLX_BDEV_CHECK_GUARD, PLX_BDEV_ST_GUARD);
}

Test(bare, prchk_reftag_finds_a_wrong_tag_between_blocks, .fini = teardown)
{
	check_pi(true, PLX_BDEV_CHECK_REF, PLX_BDEV_ST_REFTAG);
}

/* ---- the saved configuration ---- */

static json_t *saved(void)
{
	const struct plx_rpc_subsystem *s = plx_rpc_first_subsystem();
	json_t *list = json_array();

	while (s && strcmp(s->name, "bdev"))
		s = s->next;
	cr_assert_not_null(s);
	s->dump(list);
	return list;
}

Test(nvme, the_saved_configuration_attaches_it_again)
{
	json_t *before = saved(), *after, *call = NULL, *names = NULL, *entry;
	char err[256];
	size_t i;

	json_array_foreach(before, i, entry)
	{
		cr_expect_str_neq(json_string_value(json_object_get(entry, "method")),
				  "bdev_nvme_set_options");
		if (!strcmp(json_string_value(json_object_get(entry, "method")),
			    "bdev_nvme_attach_controller"))
			call = entry;
	}
	cr_assert_not_null(call);
	cr_assert_eq(plx_bdev_nvme_detach("Nvme0"), 0);
	plx_rpc_set_state(PLX_RPC_RUNTIME);
	cr_assert_eq(plx_rpc_invoke("bdev_nvme_attach_controller", json_object_get(call, "params"),
				    &names, err, sizeof(err)),
		     0, "%s", err);
	cr_expect_str_eq(json_string_value(json_array_get(names, 0)), "Nvme0n1");
	after = saved();
	cr_expect(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	json_decref(names);
}
