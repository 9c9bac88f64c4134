/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_zns.h - zoned namespaces (ZNS Command Set Specification 1.1c)
 *
 * I/O commands: @qp is owned by the calling thread; callbacks, and what else is common to all I/O
 * commands, as in pollux/nvme.h. -ENOTSUP where the namespace is not zoned. Reads and writes are
 * plx_nvme_readv() and plx_nvme_writev(); a read that crosses zones, or a write that is not at the
 * write pointer, is the controller's to refuse.
 */
#ifndef POLLUX_NVME_ZNS_H
#define POLLUX_NVME_ZNS_H

#include <pollux/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct plx_nvme_zns - what a zoned namespace is like (§4.1.5)
 * @zone_blocks: size of a zone; its capacity is in each zone's descriptor
 * @max_append_bytes: one Zone Append (ZASL)
 * @max_open, @max_active: zones at a time; 0: no limit
 * @desc_ext_bytes: zone descriptor extension, 0 none
 */
struct plx_nvme_zns {
	uint64_t zone_blocks;
	uint64_t zones;
	uint32_t max_append_bytes;
	uint32_t max_open, max_active;
	uint32_t desc_ext_bytes;
	bool read_across_zones;
};
/** plx_nvme_ns_zns - Return: valid as long as @ns; NULL when it is not zoned */
const struct plx_nvme_zns *plx_nvme_ns_zns(const struct plx_nvme_ns *ns);
/** plx_nvme_ns_csi - command set, NVME_CSI_NVM or NVME_CSI_ZNS */
uint8_t plx_nvme_ns_csi(const struct plx_nvme_ns *ns);

/**
 * plx_nvme_zns_append - write where the zone's write pointer is (§3.4.1)
 * @rw: as for plx_nvme_writev(); @slba is the first block of the zone. With protection information
 *      of type 1 and PLX_NVME_ZNS_PIREMAP in @flags, the reference tags are made to fit the place
 *
 * Never split: more than max_append_bytes, or what one command cannot express, is -EINVAL. Never
 * sent again by the driver after a reset: it might be written twice.
 */
int plx_nvme_zns_append(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp,
			const struct plx_nvme_rw *rw, plx_nvme_cb cb, void *arg);
#define PLX_NVME_ZNS_PIREMAP (1u << 25)
/** plx_nvme_zns_append_lba - the block that the data of a successful append begins at */
static inline uint64_t plx_nvme_zns_append_lba(const struct plx_nvme_cpl *cpl)
{
	return cpl->dw0 | (uint64_t)cpl->dw1 << 32;
}

/**
 * plx_nvme_zns_mgmt - Zone Management Send (§3.4.3)
 * @slba: first block of the zone; ignored with @all
 * @action: NVME_ZNS_ZSA_*
 * @flags: PLX_NVME_ZNS_ALL: all zones that the action applies to; PLX_NVME_ZNS_ZRWA: with OPEN,
 *         allocate a zone random write area
 * @ext: NVME_ZNS_ZSA_SET_DESC_EXT: desc_ext_bytes, DMA memory, kept until the callback; else NULL
 */
int plx_nvme_zns_mgmt(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
		      uint8_t action, uint32_t flags, const void *ext, plx_nvme_cb cb, void *arg);
enum { PLX_NVME_ZNS_ALL = 1, PLX_NVME_ZNS_ZRWA = 2 };

/**
 * plx_nvme_zns_report - Zone Management Receive (§3.4.2): zones from the one with @slba on
 * @extended: each descriptor is followed by its extension
 * @zras: which zones, NVME_ZNS_ZRAS_*
 * @partial: nr_zones counts the descriptors in @buf, else all that match
 * @buf: struct nvme_zone_report, DMA memory; @len: bytes, a multiple of 4, at most one command's
 */
int plx_nvme_zns_report(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
			bool extended, uint8_t zras, bool partial, void *buf, uint32_t len,
			plx_nvme_cb cb, void *arg);

/** plx_nvme_zns_changed - Changed Zone List (§4.1.4): zones whose information changed by itself,
 *  nrzid of them, FFFFh for too many; reading it arms the event again (set-up). Return: as
 *  plx_nvme_get_log() */
int plx_nvme_zns_changed(struct plx_nvme_ns *ns, struct nvme_zns_changed_zone_log *out);

#ifdef __cplusplus
}
#endif
#endif
