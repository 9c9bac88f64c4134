/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev_malloc.c - the memory and null devices: data, metadata, protection
 * information
 */
#include <endian.h>
#include <errno.h>

#include "bdev_test.h"
#include "core/checksum.h"

TestSuite(bdev_malloc, .init = setup, .timeout = 60);

#define BLOCKS 4096u

static struct dev make(const struct plx_bdev_geometry *g)
{
	cr_assert_eq(plx_bdev_malloc_create("M", g, NULL), 0);
	return dev_open("M");
}

static struct plx_bdev_geometry geometry(uint32_t block, uint32_t md, bool interleaved,
					 enum plx_bdev_dif dif)
{
	return (struct plx_bdev_geometry){ .blocks = BLOCKS,
					   .block_size = block,
					   .md_size = md,
					   .md_interleaved = interleaved,
					   .dif = dif,
					   .numa = PLX_NUMA_ANY };
}

static uint16_t rw(struct dev *d, enum plx_bdev_io_type type, const struct plx_bdev_rw *rw)
{
	return io_status(plx_bdev_rw_ext(d->desc, d->ch, type, rw, on_done, res));
}

/* ---- data ---- */

Test(bdev_malloc, reads_return_what_was_written_and_zeroes_elsewhere)
{
	struct plx_bdev_geometry g = geometry(512, 0, false, PLX_BDEV_DIF_NONE);
	struct dev d = make(&g);
	size_t size = BLOCKS * 512;
	uint8_t *shadow = calloc(1, size), *buf = malloc(size);
	uint64_t rng = 5;

	for (int i = 0; i < 2000; i++) {
		uint64_t offset = rnd(&rng) % BLOCKS;
		uint64_t blocks = 1 + rnd(&rng) % (i % 10 ? 40 : BLOCKS);
		size_t len, cut;

		if (blocks > BLOCKS - offset)
			blocks = BLOCKS - offset;
		len = blocks * 512;
		cut = rnd(&rng) % len;

		struct iovec iov[4] = { { buf, cut },
					{ buf + cut, 0 },
					{ buf + cut, (len - cut) / 2 },
					{ buf + cut + (len - cut) / 2,
					  len - cut - (len - cut) / 2 } };
		if (i & 1) {
			fill(buf, len, rnd(&rng));
			memcpy(shadow + offset * 512, buf, len);
			cr_assert_eq(io_status(plx_bdev_writev(d.desc, d.ch, iov, 4, offset, blocks,
							       on_done, res)),
				     0);
		} else {
			memset(buf, 0xee, len);
			cr_assert_eq(io_status(plx_bdev_readv(d.desc, d.ch, iov, 4, offset, blocks,
							      on_done, res)),
				     0);
			cr_assert_eq(memcmp(buf, shadow + offset * 512, len), 0);
		}
	}
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("M"), 0);
	free(shadow);
	free(buf);
}

#define BATCH 100

Test(bdev_malloc, a_batch_is_carried_out_in_order)
{
	struct plx_bdev_geometry g = geometry(4096, 0, false, PLX_BDEV_DIF_NONE);
	struct dev d = make(&g);
	static uint8_t buf[BATCH][4096], out[BATCH][4096];
	struct iovec w[BATCH], r[BATCH];
	struct result res = { 0 };

	/* all to one block: each read sees the write before it */
	for (int i = 0; i < BATCH; i++) {
		memset(buf[i], i + 1, 4096);
		w[i] = (struct iovec){ buf[i], 4096 };
		r[i] = (struct iovec){ out[i], 4096 };
		cr_assert_eq(plx_bdev_writev(d.desc, d.ch, &w[i], 1, 3, 1, on_done, &res), 0);
		cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &r[i], 1, 3, 1, on_done, &res), 0);
	}
	cr_assert_eq(res.calls, 0);
	wait_for(res.calls == 2 * BATCH);
	for (int i = 0; i < BATCH; i++)
		cr_assert_eq(memcmp(out[i], buf[i], 4096), 0);
}

static void zeroes_like(int (*op)(struct plx_bdev_desc *, struct plx_bdev_channel *, uint64_t,
				  uint64_t, plx_bdev_cb, void *))
{
	struct plx_bdev_geometry g = geometry(4096, 0, false, PLX_BDEV_DIF_NONE);
	struct dev d = make(&g);
	size_t size = BLOCKS * 4096;
	uint8_t *buf = malloc(size);
	/* small, and over several huge pages with ragged ends */
	static const struct {
		uint64_t offset, blocks;
	} cases[] = { { 1, 1 }, { 3, 100 }, { 5, 4000 }, { 0, BLOCKS } };

	for (size_t c = 0; c < PLX_ARRAY_SIZE(cases); c++) {
		size_t from = cases[c].offset * 4096, to = from + cases[c].blocks * 4096;

		memset(buf, 0xab, size);
		cr_assert_eq(do_write(&d, buf, size, 0, BLOCKS), 0);
		cr_assert_eq(io_status(op(d.desc, d.ch, cases[c].offset, cases[c].blocks, on_done,
					  res)),
			     0);
		cr_assert_eq(do_read(&d, buf, size, 0, BLOCKS), 0);
		for (size_t i = 0; i < size; i++)
			cr_assert_eq(buf[i], i >= from && i < to ? 0 : 0xab, "case %zu byte %zu", c,
				     i);
	}
	free(buf);
}

Test(bdev_malloc, write_zeroes_clears_exactly_its_range)
{
	zeroes_like(plx_bdev_write_zeroes);
}

Test(bdev_malloc, unmap_clears_exactly_its_range)
{
	zeroes_like(plx_bdev_unmap);
}

Test(bdev_malloc, compare_and_copy)
{
	struct plx_bdev_geometry g = geometry(512, 0, false, PLX_BDEV_DIF_NONE);
	struct dev d = make(&g);
	uint8_t a[5 * 512], b[5 * 512];
	struct iovec iov[2] = { { a, 700 }, { a + 700, sizeof(a) - 700 } };
	struct plx_bdev_rw c = { .iov = iov, .iovcnt = 2, .offset = 100, .blocks = 5 };

	fill(a, sizeof(a), 1);
	cr_assert_eq(do_write(&d, a, sizeof(a), 10, 5), 0);
	cr_assert_eq(io_status(plx_bdev_copy(d.desc, d.ch, 100, 10, 5, on_done, res)), 0);
	cr_assert_eq(rw(&d, PLX_BDEV_COMPARE, &c), 0);
	a[sizeof(a) - 1] ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_COMPARE, &c), PLX_BDEV_ST_MISCOMPARE);
	a[sizeof(a) - 1] ^= 1;
	cr_assert_eq(do_read(&d, b, sizeof(b), 100, 5), 0);
	cr_assert_eq(memcmp(a, b, sizeof(a)), 0);
	cr_assert_eq(io_status(plx_bdev_flush(d.desc, d.ch, 0, BLOCKS, on_done, res)), 0);
}

Test(bdev_malloc, compare_and_write_writes_only_on_equality)
{
	struct plx_bdev_geometry g = geometry(512, 0, false, PLX_BDEV_DIF_NONE);
	struct dev d = make(&g);
	uint8_t old[1024] = { 0 }, new[1024], back[1024];
	struct iovec c[2] = { { old, 100 }, { old + 100, 924 } }, w = { new, 1024 };

	struct iovec shorter = { old, 512 };
	struct result never = { 0 };

	fill(new, sizeof(new), 9);
	cr_assert_eq(plx_bdev_compare_and_write(d.desc, d.ch, &shorter, 1, &w, 1, 7, 2, on_done,
						&never),
		     -EINVAL);
	cr_assert_eq(plx_bdev_compare_and_write(d.desc, d.ch, c, 2, &shorter, 1, 7, 2, on_done,
						&never),
		     -EINVAL);
	cr_assert_eq(io_status(plx_bdev_compare_and_write(d.desc, d.ch, c, 2, &w, 1, 7, 2, on_done,
							  res)),
		     0);
	cr_assert_eq(do_read(&d, back, 1024, 7, 2), 0);
	cr_assert_eq(memcmp(back, new, 1024), 0);
	memset(new, 0, sizeof(new));
	cr_assert_eq(io_status(plx_bdev_compare_and_write(d.desc, d.ch, c, 2, &w, 1, 7, 2, on_done,
							  res)),
		     PLX_BDEV_ST_MISCOMPARE);
	memcpy(old, back, sizeof(old));
	cr_assert_eq(do_read(&d, back, 1024, 7, 2), 0);
	cr_assert_eq(memcmp(back, old, 1024), 0, "a miscompare leaves the device alone");
}

/* ---- metadata ---- */

Test(bdev_malloc, separate_metadata_is_stored_with_its_block)
{
	struct plx_bdev_geometry g = geometry(512, 16, false, PLX_BDEV_DIF_NONE);
	struct dev d = make(&g);
	uint8_t data[4 * 512], md[4 * 16], data2[4 * 512], md2[4 * 16];
	struct iovec iov = { data, sizeof(data) };
	struct plx_bdev_rw w = { .iov = &iov, .iovcnt = 1, .offset = 20, .blocks = 4, .md = md };
	struct plx_bdev_rw r = w;
	struct result never = { 0 };

	fill(data, sizeof(data), 1);
	fill(md, sizeof(md), 2);
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &w), 0);
	cr_assert_eq(io_status(plx_bdev_copy(d.desc, d.ch, 40, 20, 4, on_done, res)), 0);
	iov.iov_base = data2;
	r.md = md2;
	r.offset = 40;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &r), 0);
	cr_assert_eq(memcmp(data, data2, sizeof(data)), 0);
	cr_assert_eq(memcmp(md, md2, sizeof(md)), 0);
	cr_assert_eq(rw(&d, PLX_BDEV_COMPARE, &r), 0);
	md2[63] ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_COMPARE, &r), PLX_BDEV_ST_MISCOMPARE);

	r.check = PLX_BDEV_CHECK_GUARD;
	cr_assert_eq(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_READ, &r, on_done, &never), -EINVAL,
		     "no protection information, no checks");
}

Test(bdev_malloc, interleaved_metadata_is_part_of_the_data)
{
	struct plx_bdev_geometry g = geometry(512, 8, true, PLX_BDEV_DIF_NONE);
	struct dev d = make(&g);
	uint8_t a[3 * 520], b[3 * 520], md[24];
	struct iovec iov = { a, sizeof(a) };
	struct plx_bdev_rw w = { .iov = &iov, .iovcnt = 1, .offset = 1, .blocks = 3, .md = md };
	struct result never = { 0 };

	fill(a, sizeof(a), 4);
	cr_assert_eq(do_write(&d, a, sizeof(a), 1, 3), 0);
	cr_assert_eq(do_read(&d, b, sizeof(b), 1, 3), 0);
	cr_assert_eq(memcmp(a, b, sizeof(a)), 0);
	cr_assert_eq(plx_bdev_rw_ext(d.desc, d.ch, PLX_BDEV_WRITE, &w, on_done, &never), -EINVAL,
		     "there is no separate metadata");
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 3, on_done, &never), 0);
	iov.iov_len = 3 * 512;
	cr_assert_eq(plx_bdev_readv(d.desc, d.ch, &iov, 1, 0, 3, on_done, &never), -EINVAL);
}

/* ---- protection information ---- */

#define N 6u

struct pi_case {
	struct plx_bdev_geometry g;
	struct plx_pi_format f;
	uint8_t buf[N * (4096 + 64)];
	uint8_t md[N * 64];
	struct iovec iov;
	struct plx_bdev_rw rw;
	size_t stride; /* bytes of a block in buf */
};

static void pi_init(struct pi_case *p, bool interleaved, bool first, uint32_t md_size,
		    enum plx_bdev_dif dif)
{
	memset(p, 0, sizeof(*p));
	p->g = geometry(512, md_size, interleaved, dif);
	p->g.dif_first = first;
	p->f = (struct plx_pi_format){ .block_size = 512,
				       .md_size = md_size,
				       .interleaved = interleaved,
				       .first = first,
				       .type = (uint8_t)dif };
	p->stride = 512 + (interleaved ? md_size : 0);
	p->iov = (struct iovec){ p->buf, N * p->stride };
	p->rw = (struct plx_bdev_rw){ .iov = &p->iov,
				      .iovcnt = 1,
				      .offset = 77,
				      .blocks = N,
				      .md = interleaved ? NULL : p->md,
				      .reftag = 77,
				      .apptag = 0x1234,
				      .appmask = 0xffff,
				      .check = PLX_BDEV_CHECK_GUARD | PLX_BDEV_CHECK_APP |
					       PLX_BDEV_CHECK_REF };
}

static void pi_generate(struct pi_case *p)
{
	struct plx_pi_tags t = { .ref = p->rw.reftag, .app = p->rw.apptag };

	fill(p->buf, N * p->stride, 3);
	cr_assert_eq(plx_pi_generate(&p->f, &p->iov, 1, p->rw.md, N, &t), 0);
}

static struct plx_pi *pi_of(struct pi_case *p, unsigned block)
{
	uint8_t *md = p->g.md_interleaved ? p->buf + block * p->stride + 512
					  : p->md + block * p->g.md_size;

	return (struct plx_pi *)(md + (p->g.dif_first ? 0 : p->g.md_size - 8));
}

static void pi_checks(bool interleaved, bool first, uint32_t md_size, enum plx_bdev_dif dif)
{
	static struct pi_case p;
	struct plx_pi keep;
	struct dev d;

	pi_init(&p, interleaved, first, md_size, dif);
	d = make(&p.g);

	/* what was never written is not checked */
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);

	pi_generate(&p);
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0);
	memset(p.buf, 0, sizeof(p.buf));
	memset(p.md, 0, sizeof(p.md));
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
	cr_assert_eq(rw(&d, PLX_BDEV_VERIFY, &p.rw), 0);

	/* a write that fails its checks changes nothing */
	p.buf[3 * p.stride + 7] ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), PLX_BDEV_ST_GUARD);
	p.buf[3 * p.stride + 7] ^= 1;
	keep = *pi_of(&p, 5);
	pi_of(&p, 5)->app_be ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), PLX_BDEV_ST_APPTAG);
	p.rw.appmask = htobe16(1) ^ 0xffff;
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0, "bits outside of the mask do not count");
	p.rw.appmask = 0xffff;
	*pi_of(&p, 5) = keep;
	pi_of(&p, 2)->ref_be ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw),
		     dif == PLX_BDEV_DIF_TYPE3 ? 0 : PLX_BDEV_ST_REFTAG);
	pi_of(&p, 2)->ref_be ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0);

	/* what is asked of the device on the way back is checked there */
	p.rw.apptag ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), PLX_BDEV_ST_APPTAG);
	cr_assert_eq(rw(&d, PLX_BDEV_VERIFY, &p.rw), PLX_BDEV_ST_APPTAG);
	p.rw.apptag ^= 1;
	p.rw.reftag++;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw),
		     dif == PLX_BDEV_DIF_TYPE3 ? 0 : PLX_BDEV_ST_REFTAG);
	p.rw.check = PLX_BDEV_CHECK_GUARD;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
	p.rw.reftag--;

	/* written without checks, found later */
	p.rw.check = 0;
	p.buf[2 * p.stride] ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0);
	p.rw.check = PLX_BDEV_CHECK_GUARD;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), PLX_BDEV_ST_GUARD);
	p.rw.check = 0;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);

	/* zeroes are not to be checked either */
	cr_assert_eq(io_status(plx_bdev_write_zeroes(d.desc, d.ch, 77, N, on_done, res)), 0);
	p.rw.check = PLX_BDEV_CHECK_GUARD | PLX_BDEV_CHECK_APP | PLX_BDEV_CHECK_REF;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
	cr_assert_eq(p.buf[0], 0);

	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_malloc, type_1_is_checked)
{
	pi_checks(false, false, 8, PLX_BDEV_DIF_TYPE1);
	pi_checks(true, false, 8, PLX_BDEV_DIF_TYPE1);
	pi_checks(false, true, 64, PLX_BDEV_DIF_TYPE1);
	pi_checks(true, false, 64, PLX_BDEV_DIF_TYPE1);
}

Test(bdev_malloc, type_2_is_checked)
{
	pi_checks(false, false, 8, PLX_BDEV_DIF_TYPE2);
	pi_checks(true, true, 16, PLX_BDEV_DIF_TYPE2);
}

Test(bdev_malloc, type_3_is_checked)
{
	pi_checks(false, false, 8, PLX_BDEV_DIF_TYPE3);
	pi_checks(true, false, 16, PLX_BDEV_DIF_TYPE3);
}

static void pract(bool interleaved, enum plx_bdev_dif dif)
{
	static struct pi_case p;
	static uint8_t plain[N * 512];
	struct dev d;

	pi_init(&p, interleaved, false, 8, dif);
	d = make(&p.g);
	fill(p.buf, sizeof(p.buf), 8);
	memcpy(plain, p.buf, sizeof(plain));

	/* data alone comes and goes */
	p.iov.iov_len = N * 512;
	p.rw.md = NULL;
	p.rw.check |= PLX_BDEV_PRACT;
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0);
	memset(p.buf, 0, sizeof(p.buf));
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
	cr_assert_eq(memcmp(p.buf, plain, sizeof(plain)), 0);
	cr_assert_eq(rw(&d, PLX_BDEV_COMPARE, &p.rw), 0);
	p.buf[0] ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_COMPARE, &p.rw), PLX_BDEV_ST_MISCOMPARE);
	p.rw.apptag ^= 1;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), PLX_BDEV_ST_APPTAG);
	p.rw.apptag ^= 1;

	/* and what was inserted is what a host would have sent */
	p.iov.iov_len = N * p.stride;
	p.rw.md = interleaved ? NULL : p.md;
	p.rw.check &= (uint8_t)~PLX_BDEV_PRACT;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
	for (unsigned i = 0; i < N; i++) {
		const struct plx_pi *pi = pi_of(&p, i);

		cr_assert_eq(memcmp(p.buf + i * p.stride, plain + i * 512, 512), 0);
		cr_assert_eq(be16toh(pi->guard_be), plx_crc16_t10dif(0, plain + i * 512, 512));
		cr_assert_eq(be16toh(pi->app_be), 0x1234);
		cr_assert_eq(be32toh(pi->ref_be), dif == PLX_BDEV_DIF_TYPE3 ? 77 : 77 + i);
	}
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_malloc, pract_inserts_and_strips)
{
	pract(false, PLX_BDEV_DIF_TYPE1);
	pract(true, PLX_BDEV_DIF_TYPE1);
	pract(true, PLX_BDEV_DIF_TYPE2);
	pract(false, PLX_BDEV_DIF_TYPE3);
}

static void copied_refs(bool interleaved)
{
	static struct pi_case p;
	struct dev d;

	pi_init(&p, interleaved, false, 8, PLX_BDEV_DIF_TYPE1);
	d = make(&p.g);
	pi_generate(&p);
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0);
	cr_assert_eq(io_status(plx_bdev_copy(d.desc, d.ch, 1000, 77, N + 2, on_done, res)), 0);
	p.rw.offset = p.rw.reftag = 1000;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
	p.rw.reftag = 77;
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), PLX_BDEV_ST_REFTAG);
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_malloc, reference_tags_follow_a_copy)
{
	copied_refs(false);
	copied_refs(true);
}

Test(bdev_malloc, pieces_of_a_split_io_have_their_own_reference_tags)
{
	static struct pi_case p;
	struct dev d;

	pi_init(&p, false, false, 8, PLX_BDEV_DIF_TYPE1);
	p.g.max_rw_blocks = 2;
	d = make(&p.g);
	pi_generate(&p);
	cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0);
	memset(p.md, 0, sizeof(p.md));
	cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
	cr_assert_eq(be32toh(pi_of(&p, 5)->ref_be), 82);
	cr_assert_eq(rw(&d, PLX_BDEV_VERIFY, &p.rw), 0);
}

Test(bdev_malloc, null_devices_invent_metadata_that_passes)
{
	for (int interleaved = 0; interleaved < 2; interleaved++) {
		static struct pi_case p;
		struct plx_pi_tags t = { .ref = 77, .app = 0x1234, .appmask = 0xffff, .check = 7 };
		struct dev d;

		pi_init(&p, interleaved, false, 8, PLX_BDEV_DIF_TYPE1);
		cr_assert_eq(plx_bdev_null_create("N", &p.g, NULL), 0);
		d = dev_open("N");
		fill(p.buf, sizeof(p.buf), 1);
		cr_assert_eq(rw(&d, PLX_BDEV_READ, &p.rw), 0);
		cr_assert_eq(plx_pi_verify(&p.f, &p.iov, 1, p.rw.md, N, &t, NULL), 0);
		cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), 0);
		p.buf[0] ^= 1;
		cr_assert_eq(rw(&d, PLX_BDEV_WRITE, &p.rw), PLX_BDEV_ST_GUARD);
		dev_close(&d);
		cr_assert_eq(plx_bdev_delete("N"), 0);
	}
}
