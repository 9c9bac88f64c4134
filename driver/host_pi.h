/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/host_pi.h - protection information that the host makes and checks itself, for programs:
 * from a namespace's format to core/checksum.h, and from a reference tag to a command
 */
#ifndef POLLUX_DRIVER_HOST_PI_H
#define POLLUX_DRIVER_HOST_PI_H

#include "core/checksum.h"
#include <pollux/nvme.h>

/** plx_nvme_ns_pi - how blocks of @ns and their tuples lie in memory without PRACT; its type is 0
 *  where there is no protection information */
static inline struct plx_pi_format plx_nvme_ns_pi(const struct plx_nvme_ns *ns)
{
	return (struct plx_pi_format){
		.block_size = plx_nvme_ns_block_size(ns),
		.md_size = plx_nvme_ns_md_size(ns),
		.interleaved = plx_nvme_ns_md_extended(ns),
		.first = plx_nvme_ns_pi_first(ns),
		.type = (uint8_t)plx_nvme_ns_pi_type(ns),
		.guard = (uint8_t)plx_nvme_ns_pi_guard(ns),
		.storage_bits = (uint8_t)plx_nvme_ns_storage_tag_bits(ns),
	};
}

/** plx_nvme_pi_stripped - with PRACT, metadata that is a tuple and nothing else stays in the device
 *  (NVM Command Set 1.0c §5.2.2) */
static inline bool plx_nvme_pi_stripped(const struct plx_nvme_ns *ns)
{
	struct plx_pi_format f = plx_nvme_ns_pi(ns);

	return f.type && f.md_size == plx_pi_size(&f);
}

/** plx_nvme_pi_checks - PLX_PI_CHECK_* of a command's PRCHK bits (PLX_NVME_RW_PRCHK_*) */
static inline uint8_t plx_nvme_pi_checks(uint32_t flags)
{
	return (flags & PLX_NVME_RW_PRCHK_GUARD ? PLX_PI_CHECK_GUARD : 0) |
	       (flags & PLX_NVME_RW_PRCHK_APP ? PLX_PI_CHECK_APP : 0) |
	       (flags & PLX_NVME_RW_PRCHK_REF ? PLX_PI_CHECK_REF : 0);
}

/** plx_nvme_rw_ref - the initial reference tag, where @f has one; the storage tag above it is 0 */
static inline void plx_nvme_rw_ref(const struct plx_pi_format *f, struct plx_nvme_rw *rw,
				   uint64_t ref)
{
	if (!f->type)
		return;
	ref &= plx_pi_ref_mask(f);
	rw->reftag = (uint32_t)ref;
	rw->tag_hi = ref >> 32;
}

#endif
