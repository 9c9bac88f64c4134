/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_checksum.c - CRC vectors; protection information in every type and place */
#include "core/checksum.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS	   5u
#define BLOCK_SIZE 512u
#define ALL_CHECKS (PLX_PI_CHECK_GUARD | PLX_PI_CHECK_APP | PLX_PI_CHECK_REF)

Test(checksum, crc32c_has_the_published_values)
{
	uint8_t buf[32];

	cr_assert(eq(u32, plx_crc32c(0, "123456789", 9), 0xe3069283));
	/* RFC 7143 appendix A.4: bytes in the order they go over the wire */
	memset(buf, 0, sizeof(buf));
	cr_assert(eq(u32, plx_crc32c(0, buf, sizeof(buf)), 0x8a9136aa));
	memset(buf, 0xff, sizeof(buf));
	cr_assert(eq(u32, plx_crc32c(0, buf, sizeof(buf)), 0x62a8ab43));
	for (int i = 0; i < 32; i++)
		buf[i] = (uint8_t)i;
	cr_assert(eq(u32, plx_crc32c(0, buf, sizeof(buf)), 0x46dd794e));
	cr_assert(eq(u32, plx_crc32c(0, NULL, 0), 0));
}

Test(checksum, crc16_t10dif_has_the_published_values)
{
	uint8_t zeros[32] = { 0 };

	cr_assert(eq(u16, plx_crc16_t10dif(0, "123456789", 9), 0xd0db));
	cr_assert(eq(u16, plx_crc16_t10dif(0, zeros, sizeof(zeros)), 0));
}

/* NVM Command Set 1.0c §5.2.1.3.4, table of test cases */
Test(checksum, crc64_nvme_has_the_published_values)
{
	static uint8_t buf[4096];

	cr_assert(eq(u64, plx_crc64_nvme(0, "123456789", 9), 0xae8b14860a799888));
	cr_assert(eq(u64, plx_crc64_nvme(0, buf, sizeof(buf)), 0x6482d367eb22b64e));
	memset(buf, 0xff, sizeof(buf));
	cr_assert(eq(u64, plx_crc64_nvme(0, buf, sizeof(buf)), 0xc0ddba7302eca3ac));
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	cr_assert(eq(u64, plx_crc64_nvme(0, buf, sizeof(buf)), 0x3e729f5f6750449c));
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)~i;
	cr_assert(eq(u64, plx_crc64_nvme(0, buf, sizeof(buf)), 0x9a2df64b8e9e517e));
	cr_assert(eq(u64, plx_crc64_nvme(0, NULL, 0), 0));
}

Test(checksum, pieces_chain_to_the_whole)
{
	uint8_t buf[300];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7 + 3);
	for (size_t cut = 0; cut <= sizeof(buf); cut++) {
		cr_assert(eq(u32, plx_crc32c(plx_crc32c(0, buf, cut), buf + cut, sizeof(buf) - cut),
			     plx_crc32c(0, buf, sizeof(buf))));
		cr_assert(eq(u16,
			     plx_crc16_t10dif(plx_crc16_t10dif(0, buf, cut), buf + cut,
					      sizeof(buf) - cut),
			     plx_crc16_t10dif(0, buf, sizeof(buf))));
		cr_assert(eq(u64,
			     plx_crc64_nvme(plx_crc64_nvme(0, buf, cut), buf + cut,
					    sizeof(buf) - cut),
			     plx_crc64_nvme(0, buf, sizeof(buf))));
	}
}

/* Blocks in memory as a format has them: data in one buffer cut into uneven pieces, metadata where
 * it belongs */
struct layout {
	struct plx_pi_format f;
	uint8_t *data, *md;
	size_t data_len, md_len;
	struct iovec iov[64];
	int iovcnt;
};

static void layout_make(struct layout *l, const struct plx_pi_format *f)
{
	unsigned md_size = f->md_size;
	bool interleaved = f->interleaved;
	static const size_t pieces[] = { 1, 511, 515, 3, 0, 129, 2, 400 };
	size_t at = 0;

	memset(l, 0, sizeof(*l));
	l->f = *f;
	l->md_len = (size_t)md_size * BLOCKS;
	l->data_len = BLOCK_SIZE * BLOCKS + (interleaved ? l->md_len : 0);
	l->data = malloc(l->data_len);
	for (size_t i = 0; i < l->data_len; i++)
		l->data[i] = (uint8_t)(i * 31 + i / 256);
	if (!interleaved) {
		l->md = malloc(l->md_len);
		for (size_t i = 0; i < l->md_len; i++)
			l->md[i] = (uint8_t)(i * 13 + 1);
	}
	while (at < l->data_len) {
		size_t n = pieces[(size_t)l->iovcnt % (sizeof(pieces) / sizeof(pieces[0]))];

		if (n > l->data_len - at)
			n = l->data_len - at;
		l->iov[l->iovcnt++] = (struct iovec){ l->data + at, n };
		at += n;
	}
}

static void layout_free(struct layout *l)
{
	free(l->data);
	free(l->md);
}

static uint8_t *layout_md(struct layout *l, unsigned block)
{
	if (l->f.interleaved)
		return l->data + (size_t)block * (BLOCK_SIZE + l->f.md_size) + BLOCK_SIZE;
	return l->md + (size_t)block * l->f.md_size;
}

static uint8_t *layout_block(struct layout *l, unsigned block)
{
	return l->data + (size_t)block * (BLOCK_SIZE + (l->f.interleaved ? l->f.md_size : 0));
}

static size_t pi_at(const struct layout *l)
{
	return l->f.first ? 0 : l->f.md_size - plx_pi_size(&l->f);
}

static uint8_t *layout_pi(struct layout *l, unsigned block)
{
	return layout_md(l, block) + pi_at(l);
}

/* Where in a tuple the application tag is, and where the reference tag begins */
static size_t app_at(const struct layout *l)
{
	return l->f.guard / 8;
}

static size_t ref_at(const struct layout *l)
{
	return app_at(l) + 2 + l->f.storage_bits / 8;
}

/* @len bytes, big endian, none of them beyond the eighth from the right */
static uint64_t be(const uint8_t *at, size_t len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++)
		v = v << 8 | at[i];
	return v;
}

/* The reference tag of @ref when it has the room that it has */
static uint64_t short_ref(const struct layout *l, uint64_t ref)
{
	size_t bytes = plx_pi_size(&l->f) - ref_at(l);

	return bytes < 8 ? ref & ((1ull << 8 * bytes) - 1) : ref;
}

static int generate(struct layout *l, const struct plx_pi_tags *tags)
{
	return plx_pi_generate(&l->f, l->iov, l->iovcnt, l->md, BLOCKS, tags);
}

static int verify(struct layout *l, const struct plx_pi_tags *tags, struct plx_pi_error *err)
{
	return plx_pi_verify(&l->f, l->iov, l->iovcnt, l->md, BLOCKS, tags, err);
}

typedef void (*layout_fn)(struct layout *l);

static void for_every_place(layout_fn fn, uint8_t guard, uint8_t storage_bits)
{
	static const unsigned md_sizes[] = { 8, 16, 64 };

	for (size_t m = guard == 16 ? 0 : 1; m < 3; m++)
		for (int bits = 0; bits < 4; bits++)
			for (uint8_t type = 1; type <= 3; type++) {
				struct plx_pi_format f = { .block_size = BLOCK_SIZE,
							   .md_size = md_sizes[m],
							   .interleaved = bits & 1,
							   .first = bits & 2,
							   .type = type,
							   .guard = guard,
							   .storage_bits = storage_bits };
				struct layout l;

				layout_make(&l, &f);
				fn(&l);
				layout_free(&l);
			}
}

static void for_every_layout(layout_fn fn)
{
	for_every_place(fn, 16, 0);
	for_every_place(fn, 16, 8);
	for_every_place(fn, 32, 16);
	for_every_place(fn, 32, 64);
	for_every_place(fn, 64, 0);
	for_every_place(fn, 64, 24);
}

static const struct plx_pi_tags tags0 = {
	.ref = 0x12fffffffe, .app = 0x1234, .appmask = 0xffff, .check = ALL_CHECKS
};

static uint64_t guard_of(const struct layout *l, const void *data, const void *md, size_t md_len)
{
	if (l->f.guard == 64)
		return plx_crc64_nvme(plx_crc64_nvme(0, data, BLOCK_SIZE), md, md_len);
	if (l->f.guard == 32)
		return plx_crc32c(plx_crc32c(0, data, BLOCK_SIZE), md, md_len);
	return plx_crc16_t10dif(plx_crc16_t10dif(0, data, BLOCK_SIZE), md, md_len);
}

static void check_tuples(struct layout *l)
{
	size_t size = plx_pi_size(&l->f);
	uint8_t md_copy[64];

	memcpy(md_copy, layout_md(l, 2), l->f.md_size);
	cr_assert(eq(int, generate(l, &tags0), 0));
	for (unsigned b = 0; b < BLOCKS; b++) {
		const uint8_t *pi = layout_pi(l, b);

		cr_assert(eq(u64, be(pi, app_at(l)),
			     guard_of(l, layout_block(l, b), layout_md(l, b), pi_at(l))));
		cr_assert(eq(u64, be(pi + app_at(l), 2), 0x1234));
		cr_assert(eq(u64, be(pi + app_at(l) + 2, l->f.storage_bits / 8), 0));
		cr_assert(eq(u64, be(pi + ref_at(l), size - ref_at(l)),
			     short_ref(l, l->f.type == 3 ? tags0.ref : tags0.ref + b)));
	}
	memcpy(md_copy + pi_at(l), layout_pi(l, 2), size);
	cr_assert(eq(int, memcmp(md_copy, layout_md(l, 2), l->f.md_size), 0),
		  "metadata beside the tuple has changed");
	cr_assert(eq(int, verify(l, &tags0, NULL), 0));
}

Test(pi, generate_writes_the_tuple_of_every_block_and_verify_accepts_it)
{
	for_every_layout(check_tuples);
}

/* What a changed byte of the metadata at @off has to be found as; 0 when nothing covers it */
static uint8_t md_check(const struct layout *l, size_t off)
{
	size_t at = pi_at(l);

	if (off < at)
		return PLX_PI_CHECK_GUARD;
	if (off >= at + plx_pi_size(&l->f))
		return 0;
	off -= at;
	if (off < app_at(l))
		return PLX_PI_CHECK_GUARD;
	if (off < app_at(l) + 2)
		return PLX_PI_CHECK_APP;
	return off < ref_at(l) || l->f.type == 3 ? 0 : PLX_PI_CHECK_REF;
}

static void assert_found(struct layout *l, uint8_t *byte, unsigned block, uint8_t check)
{
	struct plx_pi_error err = { 0 };
	int rc;

	*byte ^= 0x41;
	rc = verify(l, &tags0, &err);
	*byte ^= 0x41;
	if (check == 0) {
		cr_assert(eq(int, rc, 0));
		return;
	}
	cr_assert(eq(int, rc, -EILSEQ));
	cr_assert(eq(u8, err.check, check));
	cr_assert(eq(u64, err.block, block));
	cr_assert(ne(u64, err.expected, err.found));
}

static void corrupt_every_byte(struct layout *l)
{
	cr_assert(eq(int, generate(l, &tags0), 0));
	for (unsigned b = 0; b < BLOCKS; b++) {
		for (size_t i = 0; i < BLOCK_SIZE; i++)
			assert_found(l, layout_block(l, b) + i, b, PLX_PI_CHECK_GUARD);
		for (size_t i = 0; i < l->f.md_size; i++)
			assert_found(l, layout_md(l, b) + i, b, md_check(l, i));
	}
}

Test(pi, every_corrupted_byte_is_found_as_what_it_is)
{
	for_every_layout(corrupt_every_byte);
}

static void check_only_what_is_asked(struct layout *l)
{
	struct plx_pi_tags other = { .ref = 7, .app = 0x5678, .appmask = 0xffff };
	struct plx_pi_error err;

	cr_assert(eq(int, generate(l, &tags0), 0));
	layout_block(l, 0)[5] ^= 1;
	cr_assert(eq(int, verify(l, &other, NULL), 0));

	other.check = PLX_PI_CHECK_REF;
	cr_assert(eq(int, verify(l, &other, &err), l->f.type == 3 ? 0 : -EILSEQ));
	if (l->f.type != 3)
		cr_assert(
			all(eq(u64, err.expected, 7), eq(u64, err.found, short_ref(l, tags0.ref))));

	other.check = PLX_PI_CHECK_APP;
	cr_assert(eq(int, verify(l, &other, &err), -EILSEQ));
	cr_assert(all(eq(u64, err.expected, 0x5678), eq(u64, err.found, 0x1234)));
	other.appmask = 0x0f00; /* 0x1234 and 0x5678 differ there too */
	cr_assert(eq(int, verify(l, &other, NULL), -EILSEQ));
	other.app = 0x5278;
	cr_assert(eq(int, verify(l, &other, NULL), 0));
}

Test(pi, only_the_checks_and_tag_bits_asked_for_are_made)
{
	for_every_layout(check_only_what_is_asked);
}

static void check_escapes(struct layout *l)
{
	struct plx_pi_error err;

	cr_assert(eq(int, generate(l, &tags0), 0));
	layout_block(l, 3)[100] ^= 1;
	memset(layout_pi(l, 3) + app_at(l), 0xff, 2);
	memset(layout_pi(l, 3) + ref_at(l), 0, plx_pi_size(&l->f) - ref_at(l));
	cr_assert(eq(int, verify(l, &tags0, &err), l->f.type == 3 ? -EILSEQ : 0));
	if (l->f.type == 3)
		cr_assert(all(eq(u64, err.block, 3), eq(u8, err.check, PLX_PI_CHECK_GUARD)));

	memset(layout_pi(l, 3) + ref_at(l), 0xff, plx_pi_size(&l->f) - ref_at(l));
	cr_assert(eq(int, verify(l, &tags0, NULL), 0));

	layout_pi(l, 3)[app_at(l) + 1] = 0xfe;
	cr_assert(eq(int, verify(l, &tags0, NULL), -EILSEQ));
}

Test(pi, blocks_that_escape_are_exempt_from_all_checks)
{
	for_every_layout(check_escapes);
}

Test(pi, metadata_of_all_ones_is_exempt_in_every_type)
{
	for (uint8_t type = 1; type <= 3; type++) {
		struct plx_pi_format f = { .block_size = BLOCK_SIZE, .md_size = 8, .type = type };
		struct layout l;

		layout_make(&l, &f);
		memset(l.md, 0xff, l.md_len);
		cr_assert(eq(int, verify(&l, &tags0, NULL), 0));
		layout_free(&l);
	}
}

Test(pi, impossible_requests_are_refused_before_anything_is_written)
{
	struct plx_pi_format bad,
		f = { .block_size = BLOCK_SIZE, .md_size = 16, .interleaved = true, .type = 1 };
	struct layout l;
	uint8_t *copy;

	layout_make(&l, &f);
	copy = malloc(l.data_len);
	memcpy(copy, l.data, l.data_len);

	l.iov[l.iovcnt - 1].iov_len--;
	cr_assert(eq(int, generate(&l, &tags0), -EINVAL), "a list that is one byte short");
	l.iov[l.iovcnt - 1].iov_len++;
	cr_assert(eq(int, plx_pi_generate(&l.f, l.iov, l.iovcnt, NULL, UINT64_MAX / 2, &tags0),
		     -EINVAL));
	for (int i = 0; i < 11; i++) {
		bad = l.f;
		if (i == 0)
			bad.type = 0;
		if (i == 1)
			bad.type = 4;
		if (i == 2)
			bad.md_size = 7;
		if (i == 3)
			bad.block_size = 0;
		if (i == 4)
			bad.interleaved = false;
		if (i == 5)
			bad.guard = 8;
		if (i == 6)
			bad.storage_bits = 33;
		if (i == 7 || i == 8) {
			bad.guard = 32;
			bad.storage_bits = i == 7 ? 15 : 65;
		}
		if (i == 9 || i == 10) {
			bad.guard = 64;
			bad.storage_bits = i == 9 ? 49 : 0;
			bad.md_size = i == 9 ? 16 : 15;
		}
		cr_assert(eq(int, plx_pi_generate(&bad, l.iov, l.iovcnt, NULL, BLOCKS, &tags0),
			     -EINVAL));
		cr_assert(eq(int, plx_pi_verify(&bad, l.iov, l.iovcnt, NULL, BLOCKS, &tags0, NULL),
			     -EINVAL));
	}
	cr_assert(eq(int, memcmp(copy, l.data, l.data_len), 0));
	free(copy);
	layout_free(&l);
}

Test(pi, no_blocks_are_always_right)
{
	struct plx_pi_format f = { 512, 8, false, false, 1 };

	cr_assert(eq(int, plx_pi_generate(&f, NULL, 0, NULL, 0, &tags0), 0));
	cr_assert(eq(int, plx_pi_verify(&f, NULL, 0, NULL, 0, &tags0, NULL), 0));
}
