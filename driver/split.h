/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/split.h - an I/O on a range of blocks, on its way into one command or several
 */
#ifndef POLLUX_DRIVER_SPLIT_H
#define POLLUX_DRIVER_SPLIT_H

#include "driver/dptr.h"

#define NVME_NLB_MAX 65536u /* NLB is 16 bits, 0-based */

/** struct nvme_io - what is left to be submitted; checked against its namespace by who fills it */
struct nvme_io {
	struct plx_nvme_ns *ns;
	struct dptr_pos data;
	char *md; /* separate metadata of the next block */
	uint64_t slba;
	uint32_t nlb;
	uint32_t xfer; /* bytes of data transferred for a block; 0: the command has none */
	uint32_t md_block; /* bytes of metadata at @md for a block; 0: none */
	uint32_t limit; /* blocks in a command */
	uint32_t boundary; /* commands do not cross multiples of it; 0: none */
	uint32_t flags; /* CDW12 without NLB */
	uint32_t cdw13;
	uint32_t reftag;
	uint16_t apptag, appmask;
	uint64_t tag_hi; /* bits of storage and reference tag above @reftag */
	uint8_t opc;
	uint8_t fuse;
	bool sgl; /* of the next command, by nvme_io_fit() */
};

/** nvme_io_init - from what a caller gives. Return: 0; -EINVAL; -ENOTSUP */
int nvme_io_init(struct nvme_io *io, struct plx_nvme_ns *ns, uint8_t opc,
		 const struct plx_nvme_rw *rw);
/** nvme_io_start_whole - one command, or -EINVAL */
int nvme_io_start_whole(struct plx_nvme_qpair *qp, struct nvme_io *io, plx_nvme_cb cb, void *arg);
/** nvme_cmd_start - a command built by its caller: data pointers and identifier are filled in.
 *  Return: as the public I/O functions */
int nvme_cmd_start(struct plx_nvme_qpair *qp, struct plx_nvme_cmd *cmd, const struct iovec *iov,
		   int iovcnt, uint64_t len, void *md, uint32_t md_len, plx_nvme_cb cb, void *arg);

/**
 * nvme_io_fit - blocks of @io that its next command can carry, and whether by SGLs
 * Return: 0 when not even one block can be expressed
 */
uint32_t nvme_io_fit(const struct plx_nvme_qpair *qp, struct nvme_io *io);
/** nvme_io_build - the command for @n blocks, data pointers in @slot's list memory. Return: as
 *  dptr_build() */
int nvme_io_build(struct plx_nvme_qpair *qp, const struct nvme_io *io, uint32_t n, uint16_t cid,
		  struct nvme_slot *slot, struct plx_nvme_cmd *cmd);
/** nvme_io_start - submit @io: one command, or as many as it takes with one callback. Return: as
 *  the public I/O functions */
int nvme_io_start(struct plx_nvme_qpair *qp, struct nvme_io *io, plx_nvme_cb cb, void *arg);
/** nvme_io_start_fused - both as one command each, compare first (§3.4.2) */
int nvme_io_start_fused(struct plx_nvme_qpair *qp, struct nvme_io *cmp, struct nvme_io *wr,
			plx_nvme_cb cb, void *arg);

#endif
