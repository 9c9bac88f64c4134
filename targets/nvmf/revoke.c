/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/revoke.c - host memory taken back while the function may be using it
 *
 * Queues in it are parked (park.c). Commands whose data lies there end as they would have, or are
 * aborted; until then the memory has to stay.
 */
#include "targets/nvmf/nvmf_internal.h"
#include <stdlib.h>

void nvmf_fn_revoke(struct nvmf_fn *fn, uint64_t iova, uint64_t len)
{
	nvmf_fn_dma_unmap(fn, iova, len);
	fn->last.len = 0;
	nvmf_fn_park(fn, iova, len);
}

static bool req_uses(const struct nvmf_req *req, uintptr_t va, uint64_t len)
{
	/* Asynchronous Event Requests wait for ever and have no data; what is complete and waits
	 * for the host to make room does so as long, and is done with its data */
	if (req->posted || (!req->sq->qid && req->cmd.opc == nvme_admin_async_event))
		return false;
	for (int i = 0; i < req->iovcnt && req->iov; i++) {
		if (nvmf_overlap((uintptr_t)req->iov[i].iov_base, req->iov[i].iov_len, va, len))
			return true;
	}
	return req->md && nvmf_overlap((uintptr_t)req->md, req->md_len, va, len);
}

/* Commands under execution with data in [va, va + len): is there one, or abort all */
static bool look_for_users(struct nvmf_fn *fn, const void *va, uint64_t len, bool abort)
{
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		struct nvmf_sq *sq = fn->sqs[qid];
		uint8_t *idle;
		bool found = false;

		if (!sq || !sq->outstanding)
			continue;
		idle = nvmf_sq_idle(sq);
		if (!idle)
			return true;
		for (uint32_t i = 0; i < sq->nreqs && (abort || !found); i++) {
			struct nvmf_req *req = &sq->reqs[i];

			if (idle[i] || !req_uses(req, (uintptr_t)va, len))
				continue;
			found = true;
			if (abort)
				nvmf_req_abort(req);
		}
		free(idle);
		if (found && !abort)
			return true;
	}
	return false;
}

bool nvmf_fn_uses(struct nvmf_fn *fn, const void *va, uint64_t len)
{
	return look_for_users(fn, va, len, false);
}

void nvmf_fn_abort_users(struct nvmf_fn *fn, const void *va, uint64_t len)
{
	look_for_users(fn, va, len, true);
}
