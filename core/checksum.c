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

/* check_request() has seen to it that no walk reaches the end of the list early */
static uint16_t cursor_crc(struct iov_cursor *c, uint16_t crc, size_t len)
{
	while (len > 0) {
		void *p;
		size_t n = iov_cursor_next(c, len, &p);

		crc = plx_crc16_t10dif(crc, p, n);
		len -= n;
	}
	return crc;
}

static void cursor_skip(struct iov_cursor *c, size_t len)
{
	while (len > 0) {
		void *p;

		len -= iov_cursor_next(c, len, &p);
	}
}

static void cursor_read(struct iov_cursor *c, struct plx_pi *pi)
{
	for (size_t done = 0, n; done < sizeof(*pi); done += n) {
		void *p;

		n = iov_cursor_next(c, sizeof(*pi) - done, &p);
		memcpy((uint8_t *)pi + done, p, n);
	}
}

static void cursor_write(struct iov_cursor *c, const struct plx_pi *pi)
{
	for (size_t done = 0, n; done < sizeof(*pi); done += n) {
		void *p;

		n = iov_cursor_next(c, sizeof(*pi) - done, &p);
		memcpy(p, (const uint8_t *)pi + done, n);
	}
}

static int check_request(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt,
			 const void *md, uint64_t blocks)
{
	uint64_t stride = (uint64_t)f->block_size + (f->interleaved ? f->md_size : 0);
	uint64_t need, have = 0;

	if (f->block_size == 0 || f->md_size < PLX_PI_SIZE || f->type < 1 || f->type > 3)
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
	return f->first ? 0 : f->md_size - PLX_PI_SIZE;
}

static size_t md_after(const struct plx_pi_format *f)
{
	return f->first ? f->md_size - PLX_PI_SIZE : 0;
}

static uint32_t block_ref(const struct plx_pi_format *f, const struct plx_pi_tags *tags,
			  uint64_t block)
{
	return f->type == 3 ? tags->ref : tags->ref + (uint32_t)block;
}

int plx_pi_generate(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt, void *md,
		    uint64_t blocks, const struct plx_pi_tags *tags)
{
	struct iov_cursor c = { .iov = iov };
	size_t before = md_before(f), after = md_after(f);
	int rc = check_request(f, iov, iovcnt, md, blocks);

	if (rc != 0)
		return rc;
	for (uint64_t i = 0; i < blocks; i++) {
		uint16_t guard = cursor_crc(&c, 0, f->block_size);
		struct plx_pi pi = { .app_be = htobe16(tags->app),
				     .ref_be = htobe32(block_ref(f, tags, i)) };

		if (f->interleaved) {
			pi.guard_be = htobe16(cursor_crc(&c, guard, before));
			cursor_write(&c, &pi);
			cursor_skip(&c, after);
		} else {
			uint8_t *m = (uint8_t *)md + i * f->md_size;

			pi.guard_be = htobe16(plx_crc16_t10dif(guard, m, before));
			memcpy(m + before, &pi, sizeof(pi));
		}
	}
	return 0;
}

static bool is_exempt(const struct plx_pi_format *f, const struct plx_pi *pi)
{
	return pi->app_be == 0xffff && (f->type != 3 || pi->ref_be == 0xffffffff);
}

/* Checks one tuple. Return: 0, or the PLX_PI_CHECK_* that failed, with expected and found */
static uint8_t check_tuple(const struct plx_pi_format *f, const struct plx_pi_tags *tags,
			   const struct plx_pi *pi, uint16_t guard, uint32_t ref,
			   struct plx_pi_error *err)
{
	uint16_t app = be16toh(pi->app_be);

	if (is_exempt(f, pi))
		return 0;
	if ((tags->check & PLX_PI_CHECK_GUARD) && be16toh(pi->guard_be) != guard) {
		err->expected = guard;
		err->found = be16toh(pi->guard_be);
		return PLX_PI_CHECK_GUARD;
	}
	if ((tags->check & PLX_PI_CHECK_APP) && ((app ^ tags->app) & tags->appmask) != 0) {
		err->expected = tags->app & tags->appmask;
		err->found = app & tags->appmask;
		return PLX_PI_CHECK_APP;
	}
	if ((tags->check & PLX_PI_CHECK_REF) && f->type != 3 && be32toh(pi->ref_be) != ref) {
		err->expected = ref;
		err->found = be32toh(pi->ref_be);
		return PLX_PI_CHECK_REF;
	}
	return 0;
}

int plx_pi_verify(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt,
		  const void *md, uint64_t blocks, const struct plx_pi_tags *tags,
		  struct plx_pi_error *err)
{
	struct iov_cursor c = { .iov = iov };
	struct plx_pi_error e = { 0 };
	size_t before = md_before(f), after = md_after(f);
	bool want_guard = tags->check & PLX_PI_CHECK_GUARD;
	int rc = check_request(f, iov, iovcnt, md, blocks);

	if (rc != 0)
		return rc;
	for (uint64_t i = 0; i < blocks; i++) {
		uint16_t guard = 0;
		struct plx_pi pi;

		/* without a guard check nobody reads the data */
		if (want_guard)
			guard = cursor_crc(&c, 0, f->block_size);
		else
			cursor_skip(&c, f->block_size);
		if (f->interleaved) {
			guard = cursor_crc(&c, guard, before);
			cursor_read(&c, &pi);
			cursor_skip(&c, after);
		} else {
			const uint8_t *m = (const uint8_t *)md + i * f->md_size;

			guard = plx_crc16_t10dif(guard, m, before);
			memcpy(&pi, m + before, sizeof(pi));
		}
		e.check = check_tuple(f, tags, &pi, guard, block_ref(f, tags, i), &e);
		if (e.check != 0) {
			e.block = i;
			if (err != NULL)
				*err = e;
			return -EILSEQ;
		}
	}
	return 0;
}
