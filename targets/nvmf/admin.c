/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/admin.c - admin commands: what all have in common, and which function executes which
 */
#include "targets/nvmf/nvmf_admin.h"

uint16_t nvmf_check_nsid(struct nvmf_ctrlr *c, uint32_t nsid, struct nvmf_ctrlr_ns **ns)
{
	if (!nsid || nsid > c->nn)
		return NVMF_ST(NVME_SC_INVALID_NS);
	*ns = nvmf_ctrlr_ns(c, nsid);
	return *ns ? 0 : NVMF_ST(NVME_SC_INVALID_FIELD);
}

/*
 * Abort (§5.1). It is best effort: bit 0 says whether the command was found, which then ends by its
 * own completion
 */
static void exec_abort(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	uint16_t sqid = req->cmd.cdw10 & 0xffff;
	uint16_t cid = req->cmd.cdw10 >> 16;
	bool found;

	if (sqid > c->fn->opts.max_io_queues || !c->fn->sqs[sqid]) {
		nvmf_req_complete(req, NVMF_ST_DNR(NVMF_ST(NVME_SC_INVALID_FIELD)));
		return;
	}
	found = sqid ? nvmf_fn_abort(c->fn, sqid, cid) : nvmf_ctrlr_abort_aer(c, cid);
	req->dw0 = !found;
	nvmf_req_complete(req, 0);
}

static void finish(struct nvmf_req *req, uint16_t status)
{
	if (status != NVMF_PARKED)
		nvmf_req_complete(req, status ? NVMF_ST_DNR(status) : 0);
}

static uint16_t keep_alive(struct nvmf_req *req)
{
	req->sq->ctrlr->admin->kept_alive_tsc = plx_tsc();
	return 0;
}

/*
 * One row a command: executed at once (@now gives the status), by the function, or completed by its
 * own @exec
 */
static const struct admin_command {
	uint16_t (*now)(struct nvmf_req *req);
	void (*fn)(struct nvmf_fn *fn, struct nvmf_req *req);
	void (*exec)(struct nvmf_req *req);
	bool nsid; /* uses the namespace identifier; others must leave it 0 (§3.2.1) */
} commands[256] = {
	[nvme_admin_delete_sq] = { .fn = nvmf_fn_delete_sq },
	[nvme_admin_create_sq] = { .fn = nvmf_fn_create_sq },
	[nvme_admin_get_log_page] = { .now = nvmf_get_log_page, .nsid = true },
	[nvme_admin_delete_cq] = { .fn = nvmf_fn_delete_cq },
	[nvme_admin_create_cq] = { .fn = nvmf_fn_create_cq },
	[nvme_admin_identify] = { .now = nvmf_identify, .nsid = true },
	[nvme_admin_abort_cmd] = { .exec = exec_abort },
	[nvme_admin_set_features] = { .now = nvmf_set_features, .nsid = true },
	[nvme_admin_get_features] = { .now = nvmf_get_features, .nsid = true },
	[nvme_admin_async_event] = { .exec = nvmf_aer },
	[nvme_admin_keep_alive] = { .now = keep_alive },
	[nvme_admin_dbbuf] = { .fn = nvmf_fn_dbbuf },
};

bool nvmf_admin_supported(uint8_t opc)
{
	const struct admin_command *a = &commands[opc];

	return a->now || a->fn || a->exec;
}

void nvmf_admin_exec(struct nvmf_req *req)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	const struct admin_command *a = &commands[cmd->opc];

	nvmf_log(DEBUG, "%s: controller %u: admin command %02xh, namespace %xh, CDW10 %xh",
		 req->sq->ctrlr->subsystem->nqn, req->sq->ctrlr->cntlid, cmd->opc, cmd->nsid,
		 cmd->cdw10);
	req->dw0 = 0;
	req->cns = NULL;
	req->aborted = 0;
	if (!nvmf_admin_supported(cmd->opc))
		finish(req, NVMF_ST(NVME_SC_INVALID_OPCODE));
	/*
	 * nothing is fused here, and on a memory-based transport data is described by PRPs (§4.1)
	 */
	else if (cmd->flags & (PLX_NVME_FUSE_MASK | PLX_NVME_PSDT_MASK) || (cmd->nsid && !a->nsid))
		finish(req, NVMF_ST(NVME_SC_INVALID_FIELD));
	else if (a->now)
		finish(req, a->now(req));
	else if (a->fn)
		a->fn(req->sq->fn, req);
	else
		a->exec(req);
}
