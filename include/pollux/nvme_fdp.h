/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_fdp.h - flexible data placement (TP4146, NVMe Base Specification 2.1 §8.1.10)
 *
 * A write is placed by its directive: plx_nvme_rw_directive() with PLX_NVME_DTYPE_PLACEMENT and a
 * placement identifier of the reclaim unit handle status. The log pages belong to an endurance
 * group (ENDGID of Identify Namespace) and are fetched by plx_nvme_fdp_log().
 */
#ifndef POLLUX_NVME_FDP_H
#define POLLUX_NVME_FDP_H

#include <pollux/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PLX_NVME_DTYPE_STREAMS = 1, PLX_NVME_DTYPE_PLACEMENT = 2 };
/** plx_nvme_rw_directive - a write's directive type and what is specific to it: a stream, or a
 *  placement identifier (NVM Command Set 1.0c §3.2.6) */
static inline void plx_nvme_rw_directive(struct plx_nvme_rw *rw, uint8_t dtype, uint16_t dspec)
{
	rw->flags = (rw->flags & ~(0xfu << 20)) | (dtype & 0xfu) << 20;
	rw->cdw13 = (rw->cdw13 & 0xffff) | (uint32_t)dspec << 16;
}

/** plx_nvme_fdp_supported - whether the controller has it (CTRATT bit 19) */
bool plx_nvme_fdp_supported(const struct plx_nvme_ctrlr *c);

/**
 * plx_nvme_fdp_log - a whole log page: NVME_LOG_LID_FDP_CONFIGS, _RUH_USAGE, _STATS, _EVENTS
 * (set-up)
 * @host_events: for the last: those of the host, else of the controller
 * Return: as plx_nvme_log_fetch(), -ENOTSUP without flexible data placement
 */
int plx_nvme_fdp_log(struct plx_nvme_ctrlr *c, uint8_t lid, uint16_t endgid, bool host_events,
		     void **buf, size_t *len);

/** plx_nvme_fdp_status - I/O Management Receive, reclaim unit handle status. @buf: struct
 *  nvme_fdp_ruh_status, DMA memory; @len: bytes, a multiple of 4 */
int plx_nvme_fdp_status(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, void *buf, uint32_t len,
			plx_nvme_cb cb, void *arg);
/** plx_nvme_fdp_update - I/O Management Send: make each handle reference another, empty reclaim
 *  unit. @pids: @n placement identifiers, 1..128, DMA memory, kept until the callback */
int plx_nvme_fdp_update(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const uint16_t *pids,
			uint32_t n, plx_nvme_cb cb, void *arg);

/** plx_nvme_fdp_get_events - which events of @phndl are on (FDP Events, feature 1Eh; set-up).
 *  @events: room for @max; @n: how many there are. Return: 0; a positive NVMe status; -ENOTSUP; as
 *  plx_nvme_admin_sync() */
int plx_nvme_fdp_get_events(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t phndl,
			    struct nvme_fdp_supported_event_desc *events, uint32_t max,
			    uint32_t *n);
/** plx_nvme_fdp_set_events - switch @n event types (NVME_FDP_EVENT_*) on or off; set-up */
int plx_nvme_fdp_set_events(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t phndl,
			    const uint8_t *types, uint32_t n, bool on);

#ifdef __cplusplus
}
#endif
#endif
