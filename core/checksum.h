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

/* ---- protection information, 16-bit guard (NVM Command Set 1.0c §5.2) ---- */

#define PLX_PI_SIZE 8u

/** struct plx_pi - the tuple as it lies in the metadata, all fields big endian */
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
 * @md_size: metadata bytes of a block, at least PLX_PI_SIZE
 * @interleaved: each block's metadata follows its data in the scatter list; else it is in a buffer
 * of its own
 * @first: the tuple is the first PLX_PI_SIZE bytes of the metadata, else the last
 * @type: 1 to 3. Types 1 and 2: the reference tag goes up by one with each block, and a block whose
 *        application tag is 0xffff is not checked. Type 3: the reference tag is the same in all
 *        blocks and never checked, and a block is exempt when its reference tag is 0xffffffff as
 *        well.
 *
 * The guard covers the data and, where the tuple comes last, the metadata before it.
 * Metadata of all ones is therefore exempt in every type: the value of blocks never written.
 */
struct plx_pi_format {
	uint32_t block_size;
	uint32_t md_size;
	bool interleaved;
	bool first;
	uint8_t type;
};

/**
 * struct plx_pi_tags - what the tuples of a request contain, or have to
 * @ref: reference tag of the first block
 * @app: application tag of every block
 * @appmask: verify: the bits of @app that count
 * @check: verify: PLX_PI_CHECK_*
 */
struct plx_pi_tags {
	uint32_t ref;
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
	uint32_t expected;
	uint32_t found;
};

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
