/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/vm/blocks.h - reads and writes on a namespace in whatever format it has: metadata separate
 * or extended, protection information made and checked by the controller
 */
#ifndef POLLUX_TESTS_BLOCKS_H
#define POLLUX_TESTS_BLOCKS_H

#include "driver/host_pi.h"
#include "one_io.h"
#include <pollux/nvme_admin.h>

#define BLOCKS_MD_MAX 64u /* bytes of metadata of a block */

/* What would format it as it is */
static struct plx_nvme_format blocks_format(const struct plx_nvme_ns *ns)
{
	const struct nvme_id_ns *id = plx_nvme_ns_data(ns);

	return (struct plx_nvme_format){
		.lbaf = (uint8_t)((id->flbas & NVME_NS_FLBAS_LOWER_MASK) |
				  (id->flbas & NVME_NS_FLBAS_HIGHER_MASK) >> 1),
		.mset = id->flbas & NVME_NS_FLBAS_META_EXT,
		.pi = id->dps & NVME_NS_DPS_PI_MASK,
		.pi_first = id->dps & NVME_NS_DPS_PI_FIRST,
	};
}

/* PRACT, and the checks that the type has: 3 has no reference tag */
static uint32_t blocks_protection(const struct plx_nvme_ns *ns)
{
	switch (plx_nvme_ns_pi_type(ns)) {
	case 0:
		return 0;
	case 3:
		return PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK_GUARD;
	default:
		return PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK_GUARD | PLX_NVME_RW_PRCHK_REF;
	}
}

/* Bytes of a block in the data buffer of a command with @flags */
static uint32_t blocks_stride(const struct plx_nvme_ns *ns, uint32_t flags)
{
	return (flags & PLX_NVME_RW_PRACT) && plx_nvme_pi_stripped(ns)
		       ? plx_nvme_ns_block_size(ns)
		       : plx_nvme_ns_xfer_block_size(ns);
}

/* @md is used where the format has it apart from the data */
static struct plx_nvme_rw blocks_rw(const struct plx_nvme_ns *ns, uint32_t flags, struct iovec *iov,
				    void *data, void *md, uint64_t slba, uint32_t nlb)
{
	struct plx_pi_format pi = plx_nvme_ns_pi(ns);
	bool apart = plx_nvme_ns_md_size(ns) && !plx_nvme_ns_md_extended(ns) &&
		     !((flags & PLX_NVME_RW_PRACT) && plx_nvme_pi_stripped(ns));
	struct plx_nvme_rw rw = {
		.iov = iov,
		.iovcnt = 1,
		.nlb = nlb,
		.slba = slba,
		.md = apart ? md : NULL,
		.flags = flags,
	};

	*iov = (struct iovec){ data, (size_t)nlb * blocks_stride(ns, flags) };
	plx_nvme_rw_ref(&pi, &rw, slba);
	return rw;
}

/* Whether @nlb blocks have the same data, and the same extended metadata where it is the host's */
static bool blocks_same(const struct plx_nvme_ns *ns, uint32_t flags, const char *a, const char *b,
			uint32_t nlb)
{
	uint32_t stride = blocks_stride(ns, flags);
	uint32_t n = plx_nvme_ns_pi_type(ns) ? plx_nvme_ns_block_size(ns) : stride;

	for (uint32_t i = 0; i < nlb; i++)
		if (memcmp(a + (size_t)i * stride, b + (size_t)i * stride, n))
			return false;
	return true;
}

#endif
