/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_resv.c - reservations (NVMe Base 2.0c §7.2 to §7.5)
 */
#include "driver/split.h"
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_resv.h>

/* Actions 2:0, IEKEY 3; the type of reservation 15:8, or CPTPL 31:30 */
static int resv(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t opc, uint32_t cdw10,
		const struct plx_nvme_resv_keys *keys, uint32_t len, plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = { .opc = opc, .nsid = ns->nsid, .cdw10 = cdw10 };
	struct iovec iov = { (void *)keys, len };

	if (!(ns->ctrlr->id.oncs & NVME_CTRL_ONCS_RESERVATIONS))
		return -ENOTSUP;
	if (!keys)
		return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, 1, len, NULL, 0, cb, arg);
}

int plx_nvme_resv_register(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t rrega,
			   bool iekey, uint8_t cptpl, const struct plx_nvme_resv_keys *keys,
			   plx_nvme_cb cb, void *arg)
{
	if (rrega > 7 || cptpl > 3)
		return -EINVAL;
	return resv(ns, qp, nvme_cmd_resv_register,
		    rrega | (uint32_t)iekey << 3 | (uint32_t)cptpl << 30, keys, sizeof(*keys), cb,
		    arg);
}

int plx_nvme_resv_acquire(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t racqa,
			  bool iekey, uint8_t rtype, const struct plx_nvme_resv_keys *keys,
			  plx_nvme_cb cb, void *arg)
{
	if (racqa > 7)
		return -EINVAL;
	return resv(ns, qp, nvme_cmd_resv_acquire,
		    racqa | (uint32_t)iekey << 3 | (uint32_t)rtype << 8, keys, sizeof(*keys), cb,
		    arg);
}

int plx_nvme_resv_release(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t rrela,
			  bool iekey, uint8_t rtype, const struct plx_nvme_resv_keys *keys,
			  plx_nvme_cb cb, void *arg)
{
	if (rrela > 7)
		return -EINVAL;
	return resv(ns, qp, nvme_cmd_resv_release,
		    rrela | (uint32_t)iekey << 3 | (uint32_t)rtype << 8, keys, sizeof(keys->crkey),
		    cb, arg);
}

int plx_nvme_resv_report(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, bool extended,
			 void *buf, uint32_t len, plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_resv_report,
				    .nsid = ns->nsid,
				    .cdw10 = len / 4 - 1,
				    .cdw11 = extended };
	struct iovec iov = { buf, len };

	if (!(ns->ctrlr->id.oncs & NVME_CTRL_ONCS_RESERVATIONS))
		return -ENOTSUP;
	if (!buf || !len || len % 4 || len > ns->ctrlr->max_io_bytes)
		return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, 1, len, NULL, 0, cb, arg);
}
