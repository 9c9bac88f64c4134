/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_resv.h - reservations (NVMe Base Specification 2.0c §7.2 to §7.5, §8.19)
 *
 * I/O commands: @qp is owned by the calling thread; callbacks, and what else is common to all I/O
 * commands, as in pollux/nvme.h. -ENOTSUP where ONCS has no reservations. Who holds what depends on
 * the host identifier (plx_nvme_set_host_id()), which many controllers want to be set first.
 */
#ifndef POLLUX_NVME_RESV_H
#define POLLUX_NVME_RESV_H

#include <pollux/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct plx_nvme_resv_keys - the data of these commands: DMA memory, 4-byte aligned, kept until
 *  the callback. @crkey: current key; @key: the new one (register), that to preempt (acquire);
 *  release has none */
struct plx_nvme_resv_keys {
	uint64_t crkey;
	uint64_t key;
};

/** plx_nvme_resv_register - @rrega: NVME_RESERVATION_RREGA_*; @iekey: ignore the current key;
 *  @cptpl: NVME_RESERVATION_CPTPL_*, persist through power loss */
int plx_nvme_resv_register(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t rrega,
			   bool iekey, uint8_t cptpl, const struct plx_nvme_resv_keys *keys,
			   plx_nvme_cb cb, void *arg);
/** plx_nvme_resv_acquire - @racqa: NVME_RESERVATION_RACQA_*; @rtype: NVME_RESERVATION_RTYPE_* */
int plx_nvme_resv_acquire(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t racqa,
			  bool iekey, uint8_t rtype, const struct plx_nvme_resv_keys *keys,
			  plx_nvme_cb cb, void *arg);
/** plx_nvme_resv_release - @rrela: NVME_RESERVATION_RRELA_* */
int plx_nvme_resv_release(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t rrela,
			  bool iekey, uint8_t rtype, const struct plx_nvme_resv_keys *keys,
			  plx_nvme_cb cb, void *arg);
/** plx_nvme_resv_report - @extended: with host identifiers of 128 bits, which is how
 *  it must be where those are in use; @buf: struct nvme_resv_status, DMA memory; @len: bytes, a
 *  multiple of 4 */
int plx_nvme_resv_report(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, bool extended,
			 void *buf, uint32_t len, plx_nvme_cb cb, void *arg);

#ifdef __cplusplus
}
#endif
#endif
