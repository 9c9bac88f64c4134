/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/pi.c - protection information of a request, and of blocks that move inside a device
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "bdev/bdev_internal.h"

struct plx_pi_format pi_format(const struct plx_bdev *b)
{
	return (struct plx_pi_format){ .block_size = b->block_size,
				       .md_size = b->md_size,
				       .interleaved = b->md_interleaved,
				       .first = b->dif_first,
				       .type = (uint8_t)b->dif };
}

struct plx_pi_tags pi_tags(const struct plx_bdev_io *io)
{
	return (struct plx_pi_tags){ .ref = io->reftag,
				     .app = io->apptag,
				     .appmask = io->appmask,
				     .check = io->check & (PLX_PI_CHECK_GUARD | PLX_PI_CHECK_APP |
							   PLX_PI_CHECK_REF) };
}

uint16_t pi_verify(const struct plx_bdev_io *io, const struct iovec *iov, int iovcnt,
		   const void *md)
{
	struct plx_pi_format f = pi_format(io->bdev);
	struct plx_pi_tags tags = pi_tags(io);
	struct plx_pi_error err;
	int rc;

	if (!tags.check)
		return PLX_BDEV_OK;
	rc = plx_pi_verify(&f, iov, iovcnt, md, io->blocks, &tags, &err);
	if (rc == -EILSEQ)
		return err.check == PLX_PI_CHECK_GUARD ? PLX_BDEV_ST_GUARD
		       : err.check == PLX_PI_CHECK_APP ? PLX_BDEV_ST_APPTAG
						       : PLX_BDEV_ST_REFTAG;
	return rc ? PLX_BDEV_ST_INTERNAL : PLX_BDEV_OK;
}

void pi_move_refs(const struct plx_bdev *b, void *md, size_t stride, uint64_t blocks,
		  uint32_t delta)
{
	char *at = (char *)md + (b->dif_first ? 0 : b->md_size - PLX_PI_SIZE);

	if (b->dif != PLX_BDEV_DIF_TYPE1)
		return;
	for (uint64_t i = 0; i < blocks; i++, at += stride) {
		struct plx_pi pi;

		memcpy(&pi, at, sizeof(pi));
		if (pi.app_be == 0xffff) /* not checked, and not to be */
			continue;
		pi.ref_be = htobe32(be32toh(pi.ref_be) + delta);
		memcpy(at, &pi, sizeof(pi));
	}
}
