/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev_split.c - I/O that the device cannot take as it is: cut, bounced, emulated;
 * against a shadow
 */
#include <errno.h>

#include "bdev_test.h"

TestSuite(bdev_split, .init = setup, .timeout = 60);

#define BLOCKS 512u
#define BLOCK  512u

/* ---- a memory device that insists on its limits, and ends its I/O in an order of its own ---- */

struct picky {
	struct plx_bdev bdev;
	uint8_t data[BLOCKS * BLOCK];
	uint32_t native;
	bool later; /* complete from picky_poll(), in random order, not at once */
	uint64_t rng;
	struct plx_bdev_io *queue[10000];
	int queued, seen, most;
	uint64_t fail_at; /* the write or read that covers this block fails */
};

static struct picky *picky;

static void picky_move(struct picky *p, struct plx_bdev_io *io)
{
	uint8_t *at = p->data + io->offset * BLOCK;

	for (int i = 0; i < io->iovcnt; i++) {
		if (io->type == PLX_BDEV_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static void picky_check(struct picky *p, struct plx_bdev_io *io)
{
	const struct plx_bdev *b = &p->bdev;
	uint64_t sum = 0;

	cr_assert(io->blocks && io->offset + io->blocks <= BLOCKS);
	if (b->max_rw_blocks)
		cr_assert_leq(io->blocks, b->max_rw_blocks);
	if (b->boundary)
		cr_assert_eq(io->offset / b->boundary, (io->offset + io->blocks - 1) / b->boundary);
	if (b->max_segments)
		cr_assert_leq((uint32_t)io->iovcnt, b->max_segments);
	for (int i = 0; i < io->iovcnt; i++) {
		sum += io->iov[i].iov_len;
		if (b->align) {
			cr_assert_eq((uintptr_t)io->iov[i].iov_base % b->align, 0);
			cr_assert_eq(io->iov[i].iov_len % (b->align < BLOCK ? b->align : BLOCK), 0);
		}
	}
	cr_assert_eq(sum, io->blocks * BLOCK);
}

static void picky_execute(struct picky *p, struct plx_bdev_io *io)
{
	if (p->fail_at >= io->offset && p->fail_at < io->offset + io->blocks) {
		plx_bdev_io_complete(io, PLX_BDEV_ST_READ_ERROR);
		return;
	}
	if (io->type == PLX_BDEV_UNMAP)
		memset(p->data + io->offset * BLOCK, 0, io->blocks * BLOCK);
	else
		picky_move(p, io);
	plx_bdev_io_complete(io, 0);
}

static void picky_submit(struct plx_bdev_io *io)
{
	struct picky *p = io->bdev->ctx;

	if (io->type == PLX_BDEV_UNMAP)
		cr_assert_leq(io->blocks, p->bdev.max_unmap_blocks);
	else
		picky_check(p, io);
	p->seen++;
	if (!p->later) {
		picky_execute(p, io);
		return;
	}
	cr_assert_lt(p->queued, (int)PLX_ARRAY_SIZE(p->queue));
	p->queue[p->queued++] = io;
	if (p->queued > p->most)
		p->most = p->queued;
}

static int picky_poll(void *arg)
{
	struct picky *p = arg;

	for (int n = p->queued; n; n--) {
		int i = (int)(rnd(&p->rng) % (uint64_t)p->queued);
		struct plx_bdev_io *io = p->queue[i];

		p->queue[i] = p->queue[--p->queued];
		picky_execute(p, io);
	}
	return 1;
}

static bool picky_supports(void *ctx, enum plx_bdev_io_type t)
{
	return ((struct picky *)ctx)->native & 1u << t;
}

static const struct plx_bdev_ops picky_ops = {
	.product = "Picky disk",
	.submit = picky_submit,
	.supports = picky_supports,
};

static struct picky *picky_create(uint32_t max, uint32_t boundary, uint32_t segments,
				  uint32_t align)
{
	struct picky *p = calloc(1, sizeof(*p));

	strcpy(p->bdev.name, "P");
	p->bdev.ops = &picky_ops;
	p->bdev.ctx = p;
	p->bdev.blocks = BLOCKS;
	p->bdev.block_size = BLOCK;
	p->bdev.max_rw_blocks = max;
	p->bdev.boundary = boundary;
	p->bdev.max_segments = segments;
	p->bdev.align = align;
	p->bdev.max_unmap_blocks = 7;
	p->bdev.numa = PLX_NUMA_ANY;
	p->native = 1u << PLX_BDEV_READ | 1u << PLX_BDEV_WRITE | 1u << PLX_BDEV_UNMAP;
	p->fail_at = UINT64_MAX;
	p->rng = 1;
	cr_assert_eq(plx_bdev_register(&p->bdev), 0);
	cr_assert_not_null(plx_poller_create(picky_poll, p, 0));
	return picky = p;
}

/* ---- the property: whatever the limits and the iovecs, the device equals its shadow ---- */

#define MAX_IOV 200

/* Cuts @len bytes of @buf into iovecs at random places; @grain: of addresses and lengths, mostly */
static int random_iovs(struct iovec *iov, uint8_t *buf, size_t len, uint64_t *rng)
{
	static const size_t grains[] = { 1, 4, 64, 512, 4096, 65536 };
	size_t grain = grains[rnd(rng) % 6];
	int n = 0;

	while (len) {
		size_t piece = (rnd(rng) % 9) * grain; /* none, at times */

		if (piece > len || n == MAX_IOV - 1)
			piece = len;
		iov[n++] = (struct iovec){ buf, piece };
		buf += piece;
		len -= piece;
	}
	return n;
}

static void one_round(struct dev *d, uint8_t *shadow, uint64_t *rng)
{
	static uint8_t mem[BLOCKS * BLOCK + 4096] plx_aligned(4096);
	uint64_t offset = rnd(rng) % BLOCKS, blocks = 1 + rnd(rng) % (BLOCKS - offset);
	uint8_t *buf = mem + rnd(rng) % 4096 / 4 * 4, *at = shadow + offset * BLOCK;
	size_t len = blocks * BLOCK;
	struct iovec iov[MAX_IOV];
	struct plx_bdev_rw rw = { .iov = iov, .offset = offset, .blocks = blocks };
	int n = random_iovs(iov, buf, len, rng);

	rw.iovcnt = n;
	switch (rnd(rng) % 6) {
	case 0:
	case 1:
		memset(mem, 0xee, sizeof(mem));
		cr_assert_eq(io_status(plx_bdev_readv(d->desc, d->ch, iov, n, offset, blocks,
						      on_done, res)),
			     0);
		cr_assert_eq(memcmp(buf, at, len), 0);
		cr_assert(buf == mem || buf[-1] == 0xee);
		cr_assert_eq(buf[len], 0xee);
		break;
	case 2:
	case 3:
		fill(buf, len, rnd(rng));
		cr_assert_eq(io_status(plx_bdev_writev(d->desc, d->ch, iov, n, offset, blocks,
						       on_done, res)),
			     0);
		memcpy(at, buf, len);
		break;
	case 4:
		memcpy(buf, at, len);
		cr_assert_eq(io_status(plx_bdev_rw_ext(d->desc, d->ch, PLX_BDEV_COMPARE, &rw,
						       on_done, res)),
			     0);
		buf[rnd(rng) % len] ^= 1;
		cr_assert_eq(io_status(plx_bdev_rw_ext(d->desc, d->ch, PLX_BDEV_COMPARE, &rw,
						       on_done, res)),
			     PLX_BDEV_ST_MISCOMPARE);
		break;
	default:
		cr_assert_eq(io_status(plx_bdev_write_zeroes(d->desc, d->ch, offset, blocks,
							     on_done, res)),
			     0);
		memset(at, 0, len);
	}
	cr_assert_eq(memcmp(picky->data, shadow, sizeof(picky->data)), 0);
}

static void property(uint32_t max, uint32_t boundary, uint32_t segments, uint32_t align,
		     uint64_t seed)
{
	struct picky *p = picky_create(max, boundary, segments, align);
	uint8_t *shadow = calloc(1, sizeof(p->data));
	struct dev d = dev_open("P");

	for (int i = 0; i < 400; i++) {
		p->later = i & 1;
		one_round(&d, shadow, &seed);
	}
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("P"), 0);
	free(shadow);
}

Test(bdev_split, no_limits)
{
	property(0, 0, 0, 0, 11);
}

Test(bdev_split, limited_blocks)
{
	property(5, 0, 0, 0, 12);
}

Test(bdev_split, boundary)
{
	property(0, 7, 0, 0, 13);
}

Test(bdev_split, limited_blocks_and_boundary)
{
	property(6, 16, 0, 1, 14);
}

Test(bdev_split, few_segments)
{
	property(0, 0, 2, 0, 15);
}

Test(bdev_split, one_segment)
{
	property(0, 0, 1, 0, 16);
}

Test(bdev_split, aligned_buffers)
{
	property(0, 0, 0, 512, 17);
}

Test(bdev_split, alignment_larger_than_a_block)
{
	property(64, 0, 3, 2048, 18);
}

Test(bdev_split, everything_at_once)
{
	property(9, 8, 3, 64, 19);
}

/* ---- behaviour ---- */

static uint8_t big[BLOCKS * BLOCK] plx_aligned(4096);

Test(bdev_split, children_are_submitted_a_few_at_a_time)
{
	struct picky *p = picky_create(1, 0, 0, 0);
	struct dev d = dev_open("P");

	p->later = true;
	cr_assert_eq(do_write(&d, big, sizeof(big), 0, BLOCKS), 0);
	cr_assert_eq(p->seen, (int)BLOCKS);
	cr_assert_leq(p->most, 8);
	cr_assert_gt(p->most, 1);
}

Test(bdev_split, the_first_error_ends_the_io_once)
{
	struct picky *p = picky_create(4, 0, 0, 0);
	struct dev d = dev_open("P");

	for (int later = 0; later < 2; later++) {
		p->later = later;
		p->seen = 0;
		p->fail_at = 100;
		cr_assert_eq(do_read(&d, big, sizeof(big), 0, BLOCKS), PLX_BDEV_ST_READ_ERROR);
		cr_assert_lt(p->seen, 40, "nothing new is submitted after an error");
		cr_assert_eq(p->queued, 0);
	}
}

Test(bdev_split, long_requests_that_complete_at_once_do_not_grow_the_stack)
{
	struct picky *p = picky_create(0, 0, 0, 0);
	struct dev d = dev_open("P");

	p->bdev.max_unmap_blocks = 1;
	memset(p->data, 1, sizeof(p->data));
	cr_assert_eq(io_status(plx_bdev_unmap(d.desc, d.ch, 1, BLOCKS - 1, on_done, res)), 0);
	cr_assert_eq(p->seen, (int)BLOCKS - 1);
	cr_assert_eq(p->data[BLOCK - 1], 1);
	for (size_t i = BLOCK; i < sizeof(p->data); i++)
		cr_assert_eq(p->data[i], 0);
}

Test(bdev_split, requests_that_are_cut_need_no_more_objects_than_others)
{
	struct picky *p = picky_create(1, 0, 0, 0);
	struct dev d = dev_open("P");
	struct iovec iov = { big, 8 * BLOCK };
	struct result r = { 0 };
	int n = 0, rc;

	/* all that there are: their children find none left */
	p->later = true;
	while (!(rc = plx_bdev_writev(d.desc, d.ch, &iov, 1, 0, 8, on_done, &r)))
		n++;
	cr_assert_eq(rc, -ENOMEM);
	cr_assert_gt(n, 1000);
	wait_for(r.calls == n);
	cr_assert_eq(r.status, 0);
}

Test(bdev_split, copy_is_emulated_through_a_buffer)
{
	struct picky *p = picky_create(16, 5, 0, 0);
	struct dev d = dev_open("P");
	uint8_t *want = malloc(200 * BLOCK);

	p->later = true;
	fill(p->data, sizeof(p->data), 3);
	memcpy(want, p->data + 13 * BLOCK, 200 * BLOCK);
	cr_assert_eq(io_status(plx_bdev_copy(d.desc, d.ch, 251, 13, 200, on_done, res)), 0);
	cr_assert_eq(memcmp(p->data + 251 * BLOCK, want, 200 * BLOCK), 0);
	cr_assert_eq(memcmp(p->data + 13 * BLOCK, want, 200 * BLOCK), 0);
	free(want);
}

Test(bdev_split, overlapping_copies_are_refused)
{
	struct dev d;
	struct result r = { 0 };

	picky_create(0, 0, 0, 0);
	d = dev_open("P");
	cr_assert_eq(plx_bdev_copy(d.desc, d.ch, 10, 5, 6, on_done, &r), -EINVAL);
	cr_assert_eq(plx_bdev_copy(d.desc, d.ch, 5, 10, 6, on_done, &r), -EINVAL);
	cr_assert_eq(plx_bdev_copy(d.desc, d.ch, 0, BLOCKS - 1, 2, on_done, &r), -EINVAL);
	cr_assert_eq(io_status(plx_bdev_copy(d.desc, d.ch, 5, 10, 5, on_done, res)), 0);
}

Test(bdev_split, verify_reads_and_reports)
{
	struct picky *p = picky_create(4, 0, 0, 0);
	struct dev d = dev_open("P");
	struct plx_bdev_rw rw = { .offset = 0, .blocks = BLOCKS };

	cr_assert_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_VERIFY, &rw, on_done, res)),
		     0);
	p->fail_at = 300;
	cr_assert_eq(io_status(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_VERIFY, &rw, on_done, res)),
		     PLX_BDEV_ST_READ_ERROR);
}

Test(bdev_split, compare_and_write_is_emulated_with_exclusive_access)
{
	struct picky *p = picky_create(2, 0, 0, 0);
	struct dev d = dev_open("P");
	static uint8_t old[8 * BLOCK], new[8 * BLOCK], other[8 * BLOCK];
	struct iovec c = { old, sizeof(old) }, w = { new, sizeof(new) },
		     o = { other, sizeof(other) };
	struct result caw = { 0 }, meanwhile = { 0 };

	fill(old, sizeof(old), 1);
	fill(new, sizeof(new), 2);
	fill(other, sizeof(other), 3);
	memcpy(p->data + 10 * BLOCK, old, sizeof(old));
	p->later = true;
	cr_assert_eq(plx_bdev_compare_and_write(d.desc, d.ch, &c, 1, &w, 1, 10, 8, on_done, &caw),
		     0);
	/* a write in the middle of it waits: it can come neither between comparison and write, nor
	 * be lost */
	cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &o, 1, 10, 8, on_done, &meanwhile), 0);
	wait_for(caw.calls && meanwhile.calls);
	cr_assert_eq(caw.status, 0);
	cr_assert_eq(memcmp(p->data + 10 * BLOCK, other, sizeof(other)), 0);

	cr_assert_eq(io_status(plx_bdev_compare_and_write(d.desc, d.ch, &c, 1, &w, 1, 10, 8,
							  on_done, res)),
		     PLX_BDEV_ST_MISCOMPARE);
	cr_assert_eq(memcmp(p->data + 10 * BLOCK, other, sizeof(other)), 0);
	/* many at once: one after the other, and exactly one of them finds what it expects */
	struct result many[20] = { { 0 } };
	struct iovec co = { other, sizeof(other) };
	int won = 0;

	for (int i = 0; i < 20; i++)
		cr_assert_eq(plx_bdev_compare_and_write(d.desc, d.ch, &co, 1, &w, 1, 10, 8, on_done,
							&many[i]),
			     0);
	for (int i = 0; i < 20; i++) {
		wait_for(many[i].calls);
		won += !many[i].status;
	}
	cr_assert_eq(won, 1);
	cr_assert_eq(memcmp(p->data + 10 * BLOCK, new, sizeof(new)), 0);
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("P"), 0);
}

static uint64_t splits_got;

static void on_stat(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg)
{
	splits_got = s->splits;
}

Test(bdev_split, splits_are_counted)
{
	struct picky *p = picky_create(4, 0, 0, 0);
	struct dev d = dev_open("P");

	cr_assert_eq(do_read(&d, big, 4 * BLOCK, 0, 4), 0);
	cr_assert_eq(do_read(&d, big, 5 * BLOCK, 0, 5), 0);
	cr_assert_eq(do_read(&d, big, 500 * BLOCK, 0, 500), 0);
	cr_assert_eq(plx_bdev_get_stat(&p->bdev, on_stat, NULL), 0);
	cr_assert_eq(splits_got, 2);
}
