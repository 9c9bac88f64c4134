/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/checksum.c - CRCs by ISA-L, protection information over scatter lists
 */
#include "core/checksum.h"
#include "core/iov_cursor.h"

#include <endian.h>
#include <errno.h>
#include <isa-l/crc.h>
#include <limits.h>
#include <string.h>

/*
 * ISA-L's AVX variants return with the upper halves of the vector registers in use, which makes
 * every SSE instruction after them slow: verifying 512-byte blocks took nine times as many cycles.
 */
static inline void leave_avx(void)
{
#ifndef __AVX__ /* else the compiler sees to it */
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroupper" ::: "memory");
#endif
}

uint32_t plx_crc32c(uint32_t seed, const void *buf, size_t len)
{
	const unsigned char *p = buf;
	uint32_t crc = ~seed;

	/* ISA-L takes the length as an int, and its buffer without const although it only reads
	 * it */
	while (len > 0) {
		int n = len > INT_MAX ? INT_MAX : (int)len;

		crc = crc32_iscsi((unsigned char *)(uintptr_t)p, n, crc);
		p += n;
		len -= (size_t)n;
	}
	leave_avx();
	return ~crc;
}

uint16_t plx_crc16_t10dif(uint16_t seed, const void *buf, size_t len)
{
	if (len) {
		seed = crc16_t10dif(seed, buf, len);
		leave_avx();
	}
	return seed;
}

/*
 * ISA-L has this polynomial from 2.31 on only: eight bytes a step with tables, the n-th of which
 * holds what a byte contributes that n more bytes follow.
 */
#define CRC64_NVME 0x9a6c9329ac4bc9b5 /* reflected */

static uint64_t crc64_table[8][256];

__attribute__((constructor)) static void crc64_init(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC64_NVME : 0);
		crc64_table[0][i] = crc;
	}
	for (unsigned n = 1; n < 8; n++)
		for (unsigned i = 0; i < 256; i++)
			crc64_table[n][i] = crc64_table[n - 1][i] >> 8 ^
					    crc64_table[0][crc64_table[n - 1][i] & 0xff];
}

uint64_t plx_crc64_nvme(uint64_t seed, const void *buf, size_t len)
{
	const unsigned char *p = buf;
	uint64_t crc = ~seed, word;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&word, p, 8);
		word = le64toh(word) ^ crc;
		crc = 0;
		for (unsigned n = 0; n < 8; n++)
			crc ^= crc64_table[7 - n][word >> 8 * n & 0xff];
	}
	for (; len > 0; len--, p++)
		crc = crc >> 8 ^ crc64_table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

/* ---- a guard, whatever its size ---- */

static uint64_t guard_crc(const struct plx_pi_format *f, uint64_t guard, const void *buf,
			  size_t len)
{
	if (f->guard == 64)
		return plx_crc64_nvme(guard, buf, len);
	if (f->guard == 32)
		return plx_crc32c((uint32_t)guard, buf, len);
	return plx_crc16_t10dif((uint16_t)guard, buf, len);
}

/* ---- tuples ---- */

/* A tuple in host byte order; of storage and reference tag the part that is the reference tag */
struct tuple {
	uint64_t guard;
	uint16_t app;
	uint64_t ref;
};

static unsigned guard_bytes(const struct plx_pi_format *f)
{
	return f->guard ? f->guard / 8u : 2;
}

static void put_be(uint8_t *at, unsigned bytes, uint64_t v)
{
	while (bytes--) {
		at[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

static uint64_t get_be(const uint8_t *at, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | at[i];
	return v;
}

static void tuple_put(const struct plx_pi_format *f, const struct tuple *t, uint8_t *raw)
{
	unsigned g = guard_bytes(f);

	if (g == 2) {
		struct plx_pi pi = { .guard_be = htobe16((uint16_t)t->guard),
				     .app_be = htobe16(t->app),
				     .ref_be = htobe32((uint32_t)(t->ref & plx_pi_ref_mask(f))) };

		memcpy(raw, &pi, sizeof(pi));
		return;
	}
	put_be(raw, g, t->guard);
	put_be(raw + g, 2, t->app);
	put_be(raw + g + 2, plx_pi_size(f) - g - 2, t->ref & plx_pi_ref_mask(f));
}

static void tuple_get(const struct plx_pi_format *f, struct tuple *t, const uint8_t *raw)
{
	unsigned g = guard_bytes(f);
	struct plx_pi pi;

	if (g == 2) {
		memcpy(&pi, raw, sizeof(pi));
		t->guard = be16toh(pi.guard_be);
		t->app = be16toh(pi.app_be);
		t->ref = be32toh(pi.ref_be) & plx_pi_ref_mask(f);
		return;
	}
	t->guard = get_be(raw, g);
	t->app = (uint16_t)get_be(raw + g, 2);
	t->ref = get_be(raw + g + 2, plx_pi_size(f) - g - 2) & plx_pi_ref_mask(f);
}

/* ---- walks ---- */

/* check_request() has seen to it that no walk reaches the end of the list early */
static uint64_t cursor_crc(const struct plx_pi_format *f, struct iov_cursor *c, uint64_t guard,
			   size_t len)
{
	while (len > 0) {
		void *p;
		size_t n = iov_cursor_next(c, len, &p);

		guard = guard_crc(f, guard, p, n);
		len -= n;
	}
	return guard;
}

static void cursor_skip(struct iov_cursor *c, size_t len)
{
	while (len > 0) {
		void *p;

		len -= iov_cursor_next(c, len, &p);
	}
}

static void cursor_read(struct iov_cursor *c, uint8_t *raw, size_t len)
{
	for (size_t done = 0, n; done < len; done += n) {
		void *p;

		n = iov_cursor_next(c, len - done, &p);
		memcpy(raw + done, p, n);
	}
}

static void cursor_write(struct iov_cursor *c, const uint8_t *raw, size_t len)
{
	for (size_t done = 0, n; done < len; done += n) {
		void *p;

		n = iov_cursor_next(c, len - done, &p);
		memcpy(p, raw + done, n);
	}
}

/* Storage tag: up to all of the space with a guard of 16 or 64 bits, 16 to 64 bits with one of 32
 * (NVM Command Set 1.0c §4.1.5.3) */
static bool format_is_possible(const struct plx_pi_format *f)
{
	static const struct {
		uint8_t guard, from, to;
	} tags[] = { { 0, 0, 32 }, { 16, 0, 32 }, { 32, 16, 64 }, { 64, 0, 48 } };

	if (f->block_size == 0 || f->md_size < plx_pi_size(f) || f->type < 1 || f->type > 3)
		return false;
	for (size_t i = 0; i < sizeof(tags) / sizeof(*tags); i++)
		if (f->guard == tags[i].guard)
			return f->storage_bits >= tags[i].from && f->storage_bits <= tags[i].to;
	return false;
}

static int check_request(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt,
			 const void *md, uint64_t blocks)
{
	uint64_t stride = (uint64_t)f->block_size + (f->interleaved ? f->md_size : 0);
	uint64_t need, have = 0;

	if (!format_is_possible(f))
		return -EINVAL;
	if (!f->interleaved && md == NULL && blocks > 0)
		return -EINVAL;
	if (__builtin_mul_overflow(blocks, stride, &need))
		return -EINVAL;
	for (int i = 0; i < iovcnt && have < need; i++)
		if (__builtin_add_overflow(have, iov[i].iov_len, &have))
			return -EINVAL;
	return have < need ? -EINVAL : 0;
}

/* Metadata bytes before and after the tuple */
static size_t md_before(const struct plx_pi_format *f)
{
	return f->first ? 0 : f->md_size - plx_pi_size(f);
}

static size_t md_after(const struct plx_pi_format *f)
{
	return f->first ? f->md_size - plx_pi_size(f) : 0;
}

static uint64_t block_ref(const struct plx_pi_format *f, const struct plx_pi_tags *tags,
			  uint64_t block)
{
	return (f->type == 3 ? tags->ref : tags->ref + block) & plx_pi_ref_mask(f);
}

int plx_pi_generate(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt, void *md,
		    uint64_t blocks, const struct plx_pi_tags *tags)
{
	int rc = check_request(f, iov, iovcnt, md, blocks);
	struct iov_cursor c = { .iov = iov };
	uint8_t raw[PLX_PI_SIZE_MAX];

	if (rc != 0)
		return rc;
	for (uint64_t i = 0; i < blocks; i++) {
		struct tuple t = { .guard = cursor_crc(f, &c, 0, f->block_size),
				   .app = tags->app,
				   .ref = block_ref(f, tags, i) };

		if (f->interleaved) {
			t.guard = cursor_crc(f, &c, t.guard, md_before(f));
			tuple_put(f, &t, raw);
			cursor_write(&c, raw, plx_pi_size(f));
			cursor_skip(&c, md_after(f));
		} else {
			uint8_t *m = (uint8_t *)md + i * f->md_size;

			t.guard = guard_crc(f, t.guard, m, md_before(f));
			tuple_put(f, &t, m + md_before(f));
		}
	}
	return 0;
}

static bool is_exempt(const struct plx_pi_format *f, const struct tuple *t)
{
	return t->app == 0xffff && (f->type != 3 || t->ref == plx_pi_ref_mask(f));
}

/* Checks one tuple. Return: 0, or the PLX_PI_CHECK_* that failed, with expected and found */
static uint8_t check_tuple(const struct plx_pi_format *f, const struct plx_pi_tags *tags,
			   const struct tuple *t, uint64_t guard, uint64_t ref,
			   struct plx_pi_error *err)
{
	if (is_exempt(f, t))
		return 0;
	if ((tags->check & PLX_PI_CHECK_GUARD) && t->guard != guard) {
		err->expected = guard;
		err->found = t->guard;
		return PLX_PI_CHECK_GUARD;
	}
	if ((tags->check & PLX_PI_CHECK_APP) && ((t->app ^ tags->app) & tags->appmask) != 0) {
		err->expected = tags->app & tags->appmask;
		err->found = t->app & tags->appmask;
		return PLX_PI_CHECK_APP;
	}
	if ((tags->check & PLX_PI_CHECK_REF) && f->type != 3 && t->ref != ref) {
		err->expected = ref;
		err->found = t->ref;
		return PLX_PI_CHECK_REF;
	}
	return 0;
}

/* The next block's tuple. Return: the guard it should have; without @want_guard nobody reads the
 * data */
static uint64_t next_tuple(const struct plx_pi_format *f, struct iov_cursor *c, const uint8_t *md,
			   bool want_guard, struct tuple *t)
{
	uint8_t raw[PLX_PI_SIZE_MAX];
	uint64_t guard = 0;

	if (want_guard)
		guard = cursor_crc(f, c, 0, f->block_size);
	else
		cursor_skip(c, f->block_size);
	if (f->interleaved) {
		guard = cursor_crc(f, c, guard, md_before(f));
		cursor_read(c, raw, plx_pi_size(f));
		cursor_skip(c, md_after(f));
		tuple_get(f, t, raw);
	} else {
		guard = guard_crc(f, guard, md, md_before(f));
		tuple_get(f, t, md + md_before(f));
	}
	return guard;
}

int plx_pi_verify(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt,
		  const void *md, uint64_t blocks, const struct plx_pi_tags *tags,
		  struct plx_pi_error *err)
{
	int rc = check_request(f, iov, iovcnt, md, blocks);
	struct iov_cursor c = { .iov = iov };
	struct plx_pi_error e = { 0 };
	struct tuple t;

	if (rc != 0)
		return rc;
	for (uint64_t i = 0; i < blocks; i++) {
		const uint8_t *m = f->interleaved ? NULL : (const uint8_t *)md + i * f->md_size;
		uint64_t guard = next_tuple(f, &c, m, tags->check & PLX_PI_CHECK_GUARD, &t);

		e.check = check_tuple(f, tags, &t, guard, block_ref(f, tags, i), &e);
		if (e.check != 0) {
			e.block = i;
			if (err != NULL)
				*err = e;
			return -EILSEQ;
		}
	}
	return 0;
}
