/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_fdp.c - flexible data placement (TP4146, in NVMe Base 2.1)
 */
#include "driver/split.h"
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_fdp.h>
#include <pollux/nvme_log.h>
#include <string.h>

#define FDP_EVENT_LIST 255

bool plx_nvme_fdp_supported(const struct plx_nvme_ctrlr *c)
{
	return c->id.ctratt & NVME_CTRL_CTRATT_FDPS;
}

int plx_nvme_fdp_log(struct plx_nvme_ctrlr *c, uint8_t lid, uint16_t endgid, bool host_events,
		     void **buf, size_t *len)
{
	struct plx_nvme_log log = {
		.lid = lid,
		.lsi = endgid,
		.lsp = lid == NVME_LOG_LID_FDP_EVENTS && host_events,
	};

	if (!plx_nvme_fdp_supported(c))
		return -ENOTSUP;
	if (lid < NVME_LOG_LID_FDP_CONFIGS || lid > NVME_LOG_LID_FDP_EVENTS)
		return -EINVAL;
	return plx_nvme_log_fetch(c, &log, 0, buf, len);
}

int plx_nvme_fdp_status(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, void *buf, uint32_t len,
			plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_io_mgmt_recv,
				    .nsid = ns->nsid,
				    .cdw10 = NVME_IO_MGMT_RECV_RUH_STATUS,
				    .cdw11 = len / 4 - 1 };
	struct iovec iov = { buf, len };

	if (!plx_nvme_fdp_supported(ns->ctrlr))
		return -ENOTSUP;
	if (!buf || len < sizeof(struct nvme_fdp_ruh_status) || len % 4 ||
	    len > ns->ctrlr->max_io_bytes)
		return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, 1, len, NULL, 0, cb, arg);
}

/* The number of identifiers is 0-based, in the part of CDW10 that is specific to the operation */
int plx_nvme_fdp_update(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const uint16_t *pids,
			uint32_t n, plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_io_mgmt_send,
				    .nsid = ns->nsid,
				    .cdw10 = (n - 1) << 16 | NVME_IO_MGMT_SEND_RUH_UPDATE };
	struct iovec iov = { (void *)pids, n * sizeof(*pids) };

	if (!plx_nvme_fdp_supported(ns->ctrlr))
		return -ENOTSUP;
	if (!pids || !n || n > 128)
		return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, 1, iov.iov_len, NULL, 0, cb, arg);
}

int plx_nvme_fdp_get_events(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t phndl,
			    struct nvme_fdp_supported_event_desc *events, uint32_t max, uint32_t *n)
{
	struct nvme_fdp_supported_event_desc all[FDP_EVENT_LIST + 1] = { 0 };
	int rc;

	*n = 0;
	if (!plx_nvme_fdp_supported(c))
		return -ENOTSUP;
	rc = plx_nvme_get_feature(c, NVME_FEAT_FID_FDP_EVENTS, nsid, NVME_GET_FEATURES_SEL_CURRENT,
				  phndl | (uint32_t)FDP_EVENT_LIST << 16, all, sizeof(all), n);
	if (rc)
		return rc;
	if (*n > FDP_EVENT_LIST)
		return -EPROTO;
	memcpy(events, all, (*n < max ? *n : max) * sizeof(*events));
	return 0;
}

int plx_nvme_fdp_set_events(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t phndl,
			    const uint8_t *types, uint32_t n, bool on)
{
	uint8_t list[FDP_EVENT_LIST + 1] = { 0 };

	if (!plx_nvme_fdp_supported(c))
		return -ENOTSUP;
	if (!types || !n || n > FDP_EVENT_LIST)
		return -EINVAL;
	memcpy(list, types, n);
	return plx_nvme_set_feature(c, NVME_FEAT_FID_FDP_EVENTS, nsid, false, phndl | n << 16, on,
				    list, sizeof(list), NULL);
}
