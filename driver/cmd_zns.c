/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_zns.c - zoned namespaces (ZNS Command Set 1.1c)
 */
#include "driver/ctrlr_internal.h"
#include "driver/split.h"
#include <errno.h>
#include <pollux/nvme_log.h>
#include <pollux/nvme_zns.h>

const struct plx_nvme_zns *plx_nvme_ns_zns(const struct plx_nvme_ns *ns)
{
	return ns->zns.zone_blocks ? &ns->zns : NULL;
}

uint8_t plx_nvme_ns_csi(const struct plx_nvme_ns *ns)
{
	return ns->csi;
}

int plx_nvme_zns_append(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp,
			const struct plx_nvme_rw *rw, plx_nvme_cb cb, void *arg)
{
	struct nvme_io io;
	uint32_t limit;

	if (!ns->zns.zone_blocks)
		return -ENOTSUP;
	if (nvme_io_init(&io, ns, nvme_zns_cmd_append, rw) || rw->slba % ns->zns.zone_blocks)
		return -EINVAL;
	limit = ns->zns.max_append_bytes / io.xfer;
	io.limit = limit < io.limit ? limit : io.limit;
	io.boundary = 0;
	return nvme_io_start_whole(qp, &io, cb, arg);
}

/* §3.4.3: action 7:0, select all 8; bit 9 is specific to the action */
int plx_nvme_zns_mgmt(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
		      uint8_t action, uint32_t flags, const void *ext, plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_zns_cmd_mgmt_send,
		.nsid = ns->nsid,
		.slba = slba,
		.cdw13 = action | (flags & PLX_NVME_ZNS_ALL ? 1u << 8 : 0) |
			 (flags & PLX_NVME_ZNS_ZRWA ? 1u << 9 : 0),
	};
	bool with_data = action == NVME_ZNS_ZSA_SET_DESC_EXT;
	struct iovec iov = { (void *)ext, with_data ? ns->zns.desc_ext_bytes : 0 };

	if (!ns->zns.zone_blocks)
		return -ENOTSUP;
	if (!(flags & PLX_NVME_ZNS_ALL) && slba >= ns->blocks)
		return -EINVAL;
	if (!with_data != !ext || (with_data && !iov.iov_len))
		return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, with_data, iov.iov_len, NULL, 0, cb, arg);
}

/* §3.4.2: action 7:0, which zones 15:8, partial 16 */
int plx_nvme_zns_report(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
			bool extended, uint8_t zras, bool partial, void *buf, uint32_t len,
			plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_zns_cmd_mgmt_recv,
		.nsid = ns->nsid,
		.slba = slba,
		.cdw12 = len / 4 - 1,
		.cdw13 = (uint32_t)extended | (uint32_t)zras << 8 | (uint32_t)partial << 16,
	};
	struct iovec iov = { buf, len };

	if (!ns->zns.zone_blocks)
		return -ENOTSUP;
	if (!buf || len < sizeof(struct nvme_zone_report) || len % 4 ||
	    len > ns->ctrlr->max_io_bytes || slba >= ns->blocks)
		return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, 1, len, NULL, 0, cb, arg);
}

int plx_nvme_zns_changed(struct plx_nvme_ns *ns, struct nvme_zns_changed_zone_log *out)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_ZNS_CHANGED_ZONES,
				    .nsid = ns->nsid,
				    .csi = NVME_CSI_ZNS };

	if (!ns->zns.zone_blocks)
		return -ENOTSUP;
	return plx_nvme_log_read(ns->ctrlr, &log, 0, out, sizeof(*out));
}
