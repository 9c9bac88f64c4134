/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/checksum.h - CRC-32C, CRC-16 T10-DIF, and NVMe protection information over scattered blocks
 *
 * All functions are pure, take no lock, allocate nothing and may be called from any thread.
 */
#ifndef PLX_CORE_CHECKSUM_H
#define PLX_CORE_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/**
 * plx_crc32c - CRC-32C (Castagnoli; iSCSI, NVMe/TCP digests), with the usual inversion before and
 * after
 * @seed: 0 to start, or the result for the bytes before @buf to go on
 * @len: bytes
 *
 * plx_crc32c(0, "123456789", 9) is 0xe3069283.
 */
uint32_t plx_crc32c(uint32_t seed, const void *buf, size_t len);

/**
 * plx_crc16_t10dif - CRC-16 of protection information (polynomial 0x8bb7, no inversion)
 * @seed: 0 to start, or the result for the bytes before @buf to go on
 * @len: bytes
 */
uint16_t plx_crc16_t10dif(uint16_t seed, const void *buf, size_t len);

/**
 * plx_crc64_nvme - CRC-64 of protection information with a guard of 64 bits (NVM Command Set 1.0c
 * §5.2.1.3.4), with the usual inversion before and after
 * @seed: 0 to start, or the result for the bytes before @buf to go on
 * @len: bytes
 *
 * plx_crc64_nvme(0, "123456789", 9) is 0xae8b14860a799888.
 */
uint64_t plx_crc64_nvme(uint64_t seed, const void *buf, size_t len);

/* ---- protection information (NVM Command Set 1.0c §5.2) ---- */

#define PLX_PI_SIZE	8u /* of a tuple with a guard of 16 bits */
#define PLX_PI_SIZE_MAX 16u /* with 32 or 64 */

/** struct plx_pi - a tuple with a guard of 16 bits as it lies in the metadata, big endian */
struct plx_pi {
	uint16_t guard_be;
	uint16_t app_be;
	uint32_t ref_be;
} __attribute__((packed));
_Static_assert(sizeof(struct plx_pi) == PLX_PI_SIZE, "as the specification has it");

/** What plx_pi_verify() checks; the values of PLX_BDEV_CHECK_* */
enum { PLX_PI_CHECK_GUARD = 1, PLX_PI_CHECK_APP = 2, PLX_PI_CHECK_REF = 4 };

/**
 * struct plx_pi_format - how blocks and their metadata lie in memory
 * @block_size: data bytes of a block
 * @md_size: metadata bytes of a block, at least those of a tuple
 * @interleaved: each block's metadata follows its data in the scatter list; else it is in a buffer
 * of its own
 * @first: the tuple is the first bytes of the metadata, else the last
 * @type: 1 to 3. Types 1 and 2: the reference tag goes up by one with each block, and a block whose
 *        application tag is 0xffff is not checked. Type 3: the reference tag is the same in all
 *        blocks and never checked, and a block is exempt when its reference tag is 0xffffffff as
 *        well.
 *
 * The guard covers the data and, where the tuple comes last, the metadata before it.
 * Metadata of all ones is therefore exempt in every type: the value of blocks never written.
 *
 * @guard: bits of the guard: 16 (0, too), CRC-16 T10-DIF, in a tuple of 8 bytes; 32, CRC-32C, or
 *         64, CRC-64, in a tuple of 16
 * @storage_bits: of the 32, 80 or 48 bits after the application tag these many, from the top on,
 *         are the storage tag: written as 0, not checked. The rest is the reference tag
 */
struct plx_pi_format {
	uint32_t block_size;
	uint32_t md_size;
	bool interleaved;
	bool first;
	uint8_t type;
	uint8_t guard;
	uint8_t storage_bits;
};

/**
 * struct plx_pi_tags - what the tuples of a request contain, or have to
 * @ref: reference tag of the first block; of a shorter tag the low bits count, a longer one has
 *       zeros above
 * @app: application tag of every block
 * @appmask: verify: the bits of @app that count
 * @check: verify: PLX_PI_CHECK_*
 */
struct plx_pi_tags {
	uint64_t ref;
	uint16_t app;
	uint16_t appmask;
	uint8_t check;
};

/**
 * struct plx_pi_error - the first check that failed
 * @check: one of PLX_PI_CHECK_*
 * @block: index in the request, from 0
 * @expected: computed or asked for, in host byte order (app: masked)
 * @found: in the tuple
 */
struct plx_pi_error {
	uint8_t check;
	uint64_t block;
	uint64_t expected;
	uint64_t found;
};

/** plx_pi_size - bytes of a tuple */
static inline uint32_t plx_pi_size(const struct plx_pi_format *f)
{
	return f->guard == 32 || f->guard == 64 ? PLX_PI_SIZE_MAX : PLX_PI_SIZE;
}

/** plx_pi_ref_mask - the bits of the reference tag that there are and that 64 can tell */
static inline uint64_t plx_pi_ref_mask(const struct plx_pi_format *f)
{
	unsigned guard = f->guard ? f->guard : 16;
	unsigned bits = 8 * plx_pi_size(f) - guard - 16 - f->storage_bits;

	return bits < 64 ? (1ull << bits) - 1 : UINT64_MAX;
}

/**
 * plx_pi_generate - write the tuple of every block; all other metadata stays as it is
 * @iov: the blocks, cut anywhere (through a tuple, too); may be longer than needed
 * @md: separate metadata, @blocks * md_size bytes; ignored (NULL) when interleaved
 *
 * Return: 0; -EINVAL for an impossible format, a list that is too short or no @md where it is
 * needed (nothing is written then).
 */
int plx_pi_generate(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt, void *md,
		    uint64_t blocks, const struct plx_pi_tags *tags);

/**
 * plx_pi_verify - check the tuple of every block, guard first, then application, then reference tag
 * @err: filled when a check fails; may be NULL
 *
 * Parameters as for plx_pi_generate().
 * Return: 0; -EILSEQ when a check failed; -EINVAL as for plx_pi_generate().
 */
int plx_pi_verify(const struct plx_pi_format *f, const struct iovec *iov, int iovcnt,
		  const void *md, uint64_t blocks, const struct plx_pi_tags *tags,
		  struct plx_pi_error *err);

#endif
