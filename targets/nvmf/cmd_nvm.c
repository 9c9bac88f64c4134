/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/cmd_nvm.c - read and write executed on a bdev: the hot path of the controller
 *
 * A plain read or write (no metadata, no fusing, PRPs, no CDW12 flags) is checked and submitted
 * here; one data page, or two, is translated in place, longer lists by nvmf_req_walk(). Everything
 * else is nvmf_nvm_exec_slow()'s.
 */
#include "targets/nvmf/nvmf_internal.h"
#include <errno.h>

uint16_t nvmf_errno_status(int rc)
{
	switch (rc) {
	case -EINVAL:
		return NVMF_ST_DNR(NVMF_ST(NVME_SC_INVALID_FIELD));
	case -ENOTSUP:
		return NVMF_ST_DNR(NVMF_ST(NVME_SC_INVALID_OPCODE));
	case -EBADF:
		return NVMF_ST_DNR(NVMF_ST(NVME_SC_NS_WRITE_PROTECTED));
	case -ENODEV:
		return NVMF_ST(NVME_SC_NS_NOT_READY);
	default:
		return NVMF_ST(NVME_SC_INTERNAL);
	}
}

void nvmf_req_wait(struct nvmf_req *req, void (*again)(void *req))
{
	struct nvmf_ctrlr_ns *ns = nvmf_ctrlr_ns(req->sq->ctrlr, req->cmd.nsid);
	int rc = -ENODEV;

	req->wait.cb = again;
	req->wait.arg = req;
	if (ns)
		rc = plx_bdev_queue_wait(ns->ch, &req->wait);
	if (rc)
		nvmf_req_complete(req, nvmf_errno_status(rc));
}

static void exec_slow(struct nvmf_req *req);

static plx_noinline void rw_failed(struct nvmf_req *req, uint16_t status)
{
	if (status == NVMF_ST_REMOTE) {
		exec_slow(req);
		return;
	}
	req->dw0 = 0;
	req->sq->ctrlr->stats.errors++;
	nvmf_req_complete(req, status);
}

static void rw_done(struct plx_bdev_io *io, void *arg)
{
	struct nvmf_req *req = arg;

	if (plx_unlikely(io->status))
		rw_failed(req, io->status);
	else
		nvmf_req_complete_ok(req);
}

static void rw_submit(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns);

static void rw_again(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr_ns *ns = nvmf_ctrlr_ns(req->sq->ctrlr, req->cmd.nsid);

	if (ns)
		rw_submit(req, ns);
	else
		rw_failed(req, NVMF_ST_DNR(NVMF_ST(NVME_SC_INVALID_NS)));
}

static plx_noinline void rw_refused(struct nvmf_req *req, int rc)
{
	if (rc == -ENOMEM)
		nvmf_req_wait(req, rw_again);
	else
		rw_failed(req, nvmf_errno_status(rc));
}

static inline __attribute__((always_inline)) void rw_submit(struct nvmf_req *req,
							    struct nvmf_ctrlr_ns *ns)
{
	struct nvmf_ctrlr_stats *stats = &req->sq->ctrlr->stats;
	uint64_t nlb = (req->cmd.cdw12 & 0xffff) + 1;
	int rc;

	if (req->cmd.opc == nvme_cmd_read) {
		stats->reads++;
		stats->read_bytes += req->len;
		rc = plx_bdev_readv(ns->desc, ns->ch, req->iov, req->iovcnt, req->cmd.slba, nlb,
				    rw_done, req);
	} else {
		stats->writes++;
		stats->written_bytes += req->len;
		rc = plx_bdev_writev(ns->desc, ns->ch, req->iov, req->iovcnt, req->cmd.slba, nlb,
				     rw_done, req);
	}
	if (plx_unlikely(rc))
		rw_refused(req, rc);
}

/* More than one page, or an address that has to be refused with the right status. Not cold, but
 * large. */
static __attribute__((noinline)) void rw_mapped(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns,
						uint32_t len)
{
	uint16_t st = nvmf_req_walk(req, len);

	if (st)
		rw_failed(req, st);
	else
		rw_submit(req, ns);
}

static plx_noinline void exec_slow(struct nvmf_req *req)
{
	req->cns = nvmf_ctrlr_ns(req->sq->ctrlr, req->cmd.nsid);
	req->md = NULL;
	req->md_len = 0;
	req->dw0 = 0;
	req->aborted = 0;
	req->stage = 0;
	req->nsub = 0;
	req->peer = NULL;
	nvmf_nvm_exec_slow(req);
}

void nvmf_nvm_exec(struct nvmf_req *req)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	uint32_t nlb = cmd->cdw12 + 1; /* flags in the high half make it larger than any max_nlb */
	uint32_t i = cmd->nsid - 1;
	struct nvmf_ctrlr_ns *ns = &c->ns[i];
	uint32_t len, off;
	char *va;

	/* opcodes 1 and 2; a second fused command without its first is flags != 0 too */
	if (plx_unlikely((uint8_t)(cmd->opc - 1) > 1 || cmd->flags || req->sq->fused_first ||
			 i >= c->nn || !ns->plain || nlb - 1 >= ns->max_nlb ||
			 cmd->slba >= ns->blocks || nlb > ns->blocks - cmd->slba)) {
		exec_slow(req);
		return;
	}
	len = nlb * ns->xfer_block;
	off = cmd->prp1 & (PLX_PAGE_SIZE - 1);
	if (plx_likely(off + len <= PLX_PAGE_SIZE && !(cmd->prp1 & 3))) {
		va = nvmf_map(req->sq->fn, cmd->prp1, len);
		if (plx_likely(va != NULL)) {
			req->iov1[0] = (struct iovec){ va, len };
			req->iov = req->iov1;
			req->iovcnt = 1;
			req->len = len;
			rw_submit(req, ns);
			return;
		}
	}
	rw_mapped(req, ns, len);
}
