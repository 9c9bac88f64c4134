/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/dptr.h - data pointers without a queue pair: what dptr.c is made of
 *
 * Addresses come from a look-up given by the caller, list memory too, so that all of it can be
 * tried out on ordinary memory.
 */
#ifndef POLLUX_DRIVER_DPTR_H
#define POLLUX_DRIVER_DPTR_H

#include <pollux/nvme.h>

struct plx_nvme_qpair;
struct nvme_slot;

/** struct dptr_iova - a look-up of device addresses, part of what it looks into; as
 *  plx_mem_iova() */
struct dptr_iova {
	uint64_t (*look)(const struct dptr_iova *self, const void *va, size_t *len);
};
/** dptr_iova - NULL: device addresses are virtual addresses */
typedef const struct dptr_iova *dptr_iova;

/** struct dptr_pos - a place in a caller's iovecs: @off bytes into the first of @iovcnt; @buckets:
 *  some may be PLX_NVME_BIT_BUCKET; @apart: each iovec has SGL descriptors of its own, also next
 *  to its neighbour in memory */
struct dptr_pos {
	const struct iovec *iov;
	int iovcnt;
	bool buckets, apart;
	size_t off;
};

/** struct dptr_list - memory for PRP lists or SGL segments; 16-byte aligned */
struct dptr_list {
	void *va;
	uint64_t iova;
	uint32_t bytes;
};

void dptr_advance(struct dptr_pos *pos, uint64_t bytes);

/**
 * dptr_prp - PRP1 and PRP2 for @len bytes from @pos (NVMe Base 2.0c §4.1.1)
 *
 * The first entry may have an offset, a multiple of four; where two pieces that are not adjacent
 * meet, the first has to end and the second to begin on a page boundary.
 * Return: as dptr_build()
 */
int dptr_prp(struct plx_nvme_cmd *cmd, struct dptr_pos pos, uint64_t len,
	     const struct dptr_list *list, dptr_iova iova);
/** dptr_prp_reach - how many of @len bytes from @pos one command's PRPs express, list memory
 *  permitting */
uint64_t dptr_prp_reach(struct dptr_pos pos, uint64_t len, dptr_iova iova);

/**
 * dptr_sgl - SGL1 for @len bytes from @pos (§4.1.2): one data block, or a last segment in @list
 * Return: descriptors used in @list, or as dptr_build()
 */
int dptr_sgl(struct plx_nvme_sgl_desc *sgl1, struct dptr_pos pos, uint64_t len,
	     const struct dptr_list *list, dptr_iova iova);
/** dptr_sgl_reach - how many of @len bytes from @pos @list_bytes of descriptors express */
uint64_t dptr_sgl_reach(struct dptr_pos pos, uint64_t len, uint32_t list_bytes, dptr_iova iova);

/**
 * dptr_md - MPTR for @md_len bytes of metadata, dword aligned
 * @used: descriptors that dptr_sgl() took of @list
 *
 * Metadata that is scattered for the device needs SGLs for the data and NVME_SGL_MPTR in
 * @sgl_modes: PSDT becomes 10b.
 * Return: as dptr_build()
 */
int dptr_md(struct plx_nvme_cmd *cmd, void *md, uint32_t md_len, uint8_t sgl_modes,
	    const struct dptr_list *list, uint32_t used, dptr_iova iova);

/** dptr_build_at - dptr_build() from the middle of iovecs */
int dptr_build_at(struct plx_nvme_qpair *qp, struct nvme_slot *slot, struct plx_nvme_cmd *cmd,
		  struct dptr_pos pos, uint64_t len, void *md, uint32_t md_len, bool sgl);

#endif
