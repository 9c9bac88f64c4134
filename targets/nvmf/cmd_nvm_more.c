/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/cmd_nvm_more.c - the I/O commands off the fast path
 *
 * Reads and writes with metadata, protection information, FUA or SGLs, Compare, Verify, Write
 * Zeroes, Flush, and the fused Compare and Write (NVM Command Set 1.0c §3.2, NVMe Base 2.0c
 * §3.4.2).
 */
#include "targets/nvmf/nvmf_cmd.h"
#include <errno.h>

static inline uint32_t cmd_nlb(const struct plx_nvme_cmd *cmd)
{
	return (cmd->cdw12 & 0xffff) + 1;
}

/* ---- what all share ---- */

/* Which commands count as host reads and writes: NVM Command Set 1.0c §4.1.4.2 */
static void count(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	const struct nvmf_ctrlr_ns *ns = nvmf_ctrlr_ns(c, req->cmd.nsid);
	uint64_t bytes = ns ? (uint64_t)cmd_nlb(&req->cmd) * ns->block_size : 0;

	switch (req->cmd.opc) {
	case nvme_cmd_read:
	case nvme_cmd_compare:
	case nvme_cmd_verify:
		c->stats.reads++;
		c->stats.read_bytes += bytes;
		break;
	case nvme_cmd_write:
		c->stats.writes++;
		c->stats.written_bytes += bytes;
		break;
	default:
		break;
	}
}

void nvmf_cmd_finish(struct nvmf_req *req, uint16_t status)
{
	if (status == NVMF_PARKED)
		return;
	if (status)
		req->sq->ctrlr->stats.errors++;
	else
		count(req);
	if (req->buf) {
		plx_dma_free(req->buf);
		req->buf = NULL;
	}
	nvmf_req_complete(req, status);
}

static void cmd_done(struct plx_bdev_io *io, void *arg)
{
	nvmf_cmd_finish(arg, io->status);
}

void nvmf_cmd_refused(struct nvmf_req *req, const struct nvmf_ctrlr_ns *ns, int rc,
		      void (*again)(void *req))
{
	if (rc == -ENOMEM) {
		req->wait = (struct plx_bdev_wait){ .cb = again, .arg = req };
		rc = plx_bdev_queue_wait(ns->ch, &req->wait);
	}
	if (rc)
		nvmf_cmd_finish(req, nvmf_errno_status(rc));
}

struct nvmf_ctrlr_ns *nvmf_cmd_ns(struct nvmf_req *req)
{
	struct nvmf_ctrlr_ns *ns = nvmf_ctrlr_ns(req->sq->ctrlr, req->cmd.nsid);

	if (ns && !req->aborted)
		return ns;
	nvmf_cmd_finish(req, req->aborted ? PLX_BDEV_ST_ABORTED : NVMF_ST(NVME_SC_NS_NOT_READY));
	return NULL;
}

uint16_t nvmf_cmd_range(const struct nvmf_ctrlr_ns *ns, uint64_t slba, uint64_t nlb)
{
	return nlb > ns->blocks || slba > ns->blocks - nlb ? CMD_ERR(LBA_RANGE) : 0;
}

uint16_t nvmf_cmd_check(const struct nvmf_ctrlr_ns *ns, unsigned prinfo, uint64_t slba,
			uint32_t reftag, uint8_t *check)
{
	*check = 0;
	if (!ns->pi_type)
		return 0;
	/* §5.2.1.5: type 1 tags are the block's address, type 3 has none to check */
	if ((prinfo & 1) && (ns->pi_type == 3 || (ns->pi_type == 1 && reftag != (uint32_t)slba)))
		return NVMF_ST_DNR(NVMF_ST_CS(NVME_SC_INVALID_PI));
	*check = (prinfo & 1 ? PLX_BDEV_CHECK_REF : 0) | (prinfo & 2 ? PLX_BDEV_CHECK_APP : 0) |
		 (prinfo & 4 ? PLX_BDEV_CHECK_GUARD : 0) | (prinfo & 8 ? PLX_BDEV_PRACT : 0);
	return 0;
}

/* ---- Read, Write, Compare, Verify ---- */

static const struct rw_op {
	enum plx_bdev_io_type type;
	bool data, pract;
} rw_ops[] = {
	[nvme_cmd_read] = { PLX_BDEV_READ, true, true },
	[nvme_cmd_write] = { PLX_BDEV_WRITE, true, true },
	[nvme_cmd_compare] = { PLX_BDEV_COMPARE, true, false },
	[nvme_cmd_verify] = { PLX_BDEV_VERIFY, false, false },
};

static void rw_step(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr_ns *ns = nvmf_cmd_ns(req);
	const struct plx_nvme_cmd *cmd = &req->cmd;
	struct plx_bdev_rw rw;
	int rc;

	if (!ns)
		return;
	rw = (struct plx_bdev_rw){
		.iov = req->iov,
		.iovcnt = req->iovcnt,
		.offset = cmd->slba,
		.blocks = cmd_nlb(cmd),
		.md = req->md,
		.reftag = cmd->cdw14,
		.apptag = cmd->cdw15 & 0xffff,
		.appmask = cmd->cdw15 >> 16,
		.check = (uint8_t)req->scratch[0],
		.flags = cmd->cdw12 & PLX_NVME_RW_FUA ? PLX_BDEV_F_FUA : 0,
	};
	rc = plx_bdev_rw_ext(ns->desc, ns->ch, rw_ops[cmd->opc].type, &rw, cmd_done, req);
	if (rc)
		nvmf_cmd_refused(req, ns, rc, rw_step);
}

/*
 * With PRACT and nothing but protection information in the metadata the host transfers data alone
 * (§5.2.2.1)
 */
static uint16_t rw_map(struct nvmf_req *req, const struct nvmf_ctrlr_ns *ns, uint8_t check)
{
	uint32_t nlb = cmd_nlb(&req->cmd);
	bool stripped = (check & PLX_BDEV_PRACT) && ns->md_size == 8;
	uint16_t st = nvmf_req_map(req, nlb * (stripped ? ns->block_size : ns->xfer_block));

	if (!st && ns->md_size && !ns->md_extended && !stripped)
		st = nvmf_req_map_md(req, nlb * ns->md_size);
	return st;
}

static void exec_rw(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	const struct rw_op *op = &rw_ops[cmd->opc];
	uint8_t check = 0;
	uint16_t st = 0;

	req->iov = NULL;
	req->iovcnt = 0;
	if (op->data && cmd_nlb(cmd) > ns->max_nlb)
		st = CMD_ERR(INVALID_FIELD);
	if (!st)
		st = nvmf_cmd_range(ns, cmd->slba, cmd_nlb(cmd));
	if (!st && ns->pi_type && !op->pract && (cmd->cdw12 & PLX_NVME_RW_PRACT))
		st = CMD_ERR(INVALID_FIELD);
	if (!st)
		st = nvmf_cmd_check(ns, cmd->cdw12 >> 26 & 0xf, cmd->slba, cmd->cdw14, &check);
	if (!st && op->data)
		st = rw_map(req, ns, check);
	if (st) {
		nvmf_cmd_finish(req, st);
		return;
	}
	req->scratch[0] = check;
	rw_step(req);
}

/* ---- Write Zeroes ---- */

static void zeroes_step(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr_ns *ns = nvmf_cmd_ns(req);
	int rc;

	if (!ns)
		return;
	rc = plx_bdev_write_zeroes(ns->desc, ns->ch, req->cmd.slba, cmd_nlb(&req->cmd), cmd_done,
				   req);
	if (rc)
		nvmf_cmd_refused(req, ns, rc, zeroes_step);
}

/*
 * DEAC needs nothing: it allows the controller to deallocate, and whether zeroes take space is the
 * block device's decision either way. Without PRACT protection information is written as all ones,
 * which is never checked (§3.2.8).
 */
static void exec_write_zeroes(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	uint16_t st = nvmf_cmd_range(ns, cmd->slba, cmd_nlb(cmd));
	uint8_t check = 0;

	if (!st)
		st = nvmf_cmd_check(ns, cmd->cdw12 >> 26 & 0xf, cmd->slba, cmd->cdw14, &check);
	if (st)
		nvmf_cmd_finish(req, st);
	else if (check & PLX_BDEV_PRACT)
		nvmf_write_zeroes_pi(req, ns, check);
	else
		zeroes_step(req);
}

/* ---- Flush ---- */

static void flush_step(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr_ns *ns = nvmf_cmd_ns(req);
	int rc;

	if (!ns)
		return;
	rc = plx_bdev_flush(ns->desc, ns->ch, 0, ns->blocks, cmd_done, req);
	if (rc)
		nvmf_cmd_refused(req, ns, rc, flush_step);
}

static void exec_flush(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns)
{
	flush_step(req);
}

static void flush_all_step(void *arg);

static void flush_all_done(struct plx_bdev_io *io, void *arg)
{
	struct nvmf_req *req = arg;

	if (io->status && !req->scratch[1])
		req->scratch[1] = io->status;
	req->scratch[0]++;
	flush_all_step(req);
}

static void flush_all_end(struct nvmf_req *req, uint16_t status)
{
	req->sq->fn->flushes--;
	nvmf_cmd_finish(req, status);
}

/* One namespace after the other: scratch[0] is the index of the next, scratch[1] the first error */
static void flush_all_step(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	struct nvmf_ctrlr_ns *ns = NULL;
	int rc;

	while (req->scratch[0] < c->nn && !(ns = nvmf_ctrlr_ns(c, (uint32_t)req->scratch[0] + 1)))
		req->scratch[0]++;
	if (!ns || req->aborted) {
		flush_all_end(req, req->aborted ? PLX_BDEV_ST_ABORTED : (uint16_t)req->scratch[1]);
		return;
	}
	rc = plx_bdev_flush(ns->desc, ns->ch, 0, ns->blocks, flush_all_done, req);
	if (rc == -ENOMEM) {
		req->wait = (struct plx_bdev_wait){ .cb = flush_all_step, .arg = req };
		rc = plx_bdev_queue_wait(ns->ch, &req->wait);
	}
	if (rc)
		flush_all_end(req, nvmf_errno_status(rc));
}

/* The command belongs to no namespace, yet uses the channels of all: the count keeps them */
static void exec_flush_all(struct nvmf_req *req)
{
	req->scratch[0] = req->scratch[1] = 0;
	req->sq->fn->flushes++;
	flush_all_step(req);
}

/* ---- fused Compare and Write (Base 2.0c §3.4.2) ---- */

static void fused_end(struct nvmf_req *cmp, uint16_t cmp_status, uint16_t wr_status)
{
	struct nvmf_req *wr = cmp->peer;

	nvmf_cmd_finish(cmp, cmp_status);
	nvmf_cmd_finish(wr, wr_status);
}

static void fused_done(struct plx_bdev_io *io, void *arg)
{
	if (!io->status)
		fused_end(arg, 0, 0);
	else if (io->status == PLX_BDEV_ST_WRITE_FAULT)
		fused_end(arg, CMD_ERR(FUSED_FAIL), io->status);
	else
		fused_end(arg, io->status, CMD_ERR(FUSED_FAIL));
}

static void fused_step(void *arg)
{
	struct nvmf_req *cmp = arg, *wr = cmp->peer;
	struct nvmf_ctrlr_ns *ns = nvmf_ctrlr_ns(cmp->sq->ctrlr, cmp->cmd.nsid);
	int rc = -ENODEV;

	if (cmp->aborted || wr->aborted) {
		fused_end(cmp, cmp->aborted ? PLX_BDEV_ST_ABORTED : CMD_ERR(FUSED_FAIL),
			  wr->aborted ? PLX_BDEV_ST_ABORTED : CMD_ERR(FUSED_FAIL));
		return;
	}
	if (ns)
		rc = plx_bdev_compare_and_write(ns->desc, ns->ch, cmp->iov, cmp->iovcnt, wr->iov,
						wr->iovcnt, cmp->cmd.slba, cmd_nlb(&cmp->cmd),
						fused_done, cmp);
	if (rc == -ENOMEM) {
		cmp->wait = (struct plx_bdev_wait){ .cb = fused_step, .arg = cmp };
		rc = plx_bdev_queue_wait(ns->ch, &cmp->wait);
	}
	if (rc)
		fused_end(cmp, nvmf_errno_status(rc), CMD_ERR(FUSED_FAIL));
}

static bool fused_match(const struct plx_nvme_cmd *a, const struct plx_nvme_cmd *b)
{
	return a->opc == nvme_cmd_compare && b->opc == nvme_cmd_write && a->nsid == b->nsid &&
	       a->slba == b->slba && cmd_nlb(a) == cmd_nlb(b);
}

/* What is wrong with the range, which both have in common */
static uint16_t fused_check(const struct nvmf_ctrlr_ns *ns, const struct plx_nvme_cmd *cmd)
{
	if (cmd_nlb(cmd) > NVMF_ACWU + 1)
		return CMD_ERR(AWU_EXCEEDED);
	if (cmd_nlb(cmd) > ns->max_nlb)
		return CMD_ERR(INVALID_FIELD);
	return nvmf_cmd_range(ns, cmd->slba, cmd_nlb(cmd));
}

static void fused_pair(struct nvmf_req *cmp, struct nvmf_req *wr)
{
	struct nvmf_ctrlr_ns *ns = NULL;
	uint32_t len;
	uint16_t st;

	cmp->peer = wr;
	wr->peer = cmp;
	if (!fused_match(&cmp->cmd, &wr->cmd)) {
		fused_end(cmp, CMD_ERR(INVALID_FIELD), CMD_ERR(INVALID_FIELD));
		return;
	}
	st = nvmf_check_nsid(cmp->sq->ctrlr, cmp->cmd.nsid, &ns);
	if (st) {
		fused_end(cmp, NVMF_ST_DNR(st), CMD_ERR(FUSED_FAIL));
		return;
	}
	/*
	 * block devices compare and write data buffers: no separate metadata, nothing to check in
	 * it
	 */
	if ((ns->md_size && !ns->md_extended) ||
	    (ns->pi_type &&
	     (cmp->cmd.cdw12 | wr->cmd.cdw12) & (PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK))) {
		fused_end(cmp, CMD_ERR(INVALID_FIELD), CMD_ERR(INVALID_FIELD));
		return;
	}
	len = cmd_nlb(&cmp->cmd) * ns->xfer_block;
	st = fused_check(ns, &cmp->cmd);
	if (!st)
		st = nvmf_req_map(cmp, len);
	if (st == NVMF_PARKED)
		return;
	if (st) {
		fused_end(cmp, st, CMD_ERR(FUSED_FAIL));
		return;
	}
	st = nvmf_req_map(wr, len);
	if (st == NVMF_PARKED)
		return;
	if (st)
		fused_end(cmp, CMD_ERR(FUSED_FAIL), st);
	else
		fused_step(cmp);
}

void nvmf_fused_drop(struct nvmf_sq *sq, uint16_t status)
{
	struct nvmf_req *first = sq->fused_first;

	sq->fused_first = NULL;
	if (first)
		nvmf_cmd_finish(first, status);
}

/* Return: false when @req is not fused and remains to be executed */
static bool fused(struct nvmf_req *req)
{
	struct nvmf_sq *sq = req->sq;
	unsigned fuse = req->cmd.flags & PLX_NVME_FUSE_MASK;
	struct nvmf_req *first;

	if (fuse != PLX_NVME_FUSE_SECOND)
		nvmf_fused_drop(sq, CMD_ERR(FUSED_MISSING));
	first = sq->fused_first;
	sq->fused_first = NULL;
	if (!fuse)
		return false;
	if (fuse == PLX_NVME_FUSE_MASK)
		nvmf_cmd_finish(req, CMD_ERR(INVALID_FIELD));
	else if (fuse == PLX_NVME_FUSE_SECOND && first)
		fused_pair(first, req);
	else if (fuse == PLX_NVME_FUSE_FIRST &&
		 __atomic_load_n(sq->tail_db, __ATOMIC_ACQUIRE) != sq->head)
		sq->fused_first = req;
	else
		/*
		 * one doorbell update must announce both, so what is not in the ring yet is missing
		 */
		nvmf_cmd_finish(req, CMD_ERR(FUSED_MISSING));
	return true;
}

/* ---- dispatch ---- */

static void (*const execs[])(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns) = {
	[nvme_cmd_flush] = exec_flush,
	[nvme_cmd_write] = exec_rw,
	[nvme_cmd_read] = exec_rw,
	[nvme_cmd_compare] = exec_rw,
	[nvme_cmd_write_zeroes] = exec_write_zeroes,
	[nvme_cmd_dsm] = nvmf_exec_dsm,
	[nvme_cmd_verify] = exec_rw,
	[nvme_cmd_copy] = nvmf_exec_copy,
};

static void exec_one(struct nvmf_req *req)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	struct nvmf_ctrlr_ns *ns;
	uint16_t st;

	if (cmd->opc >= PLX_ARRAY_SIZE(execs) || !execs[cmd->opc]) {
		nvmf_cmd_finish(req, CMD_ERR(INVALID_OPCODE));
		return;
	}
	if (cmd->opc == nvme_cmd_flush && cmd->nsid == NVME_NSID_ALL) {
		exec_flush_all(req);
		return;
	}
	st = nvmf_check_nsid(req->sq->ctrlr, cmd->nsid, &ns);
	/* a reserved value, also where there is no data to point to */
	if (!st && (cmd->flags & PLX_NVME_PSDT_MASK) == PLX_NVME_PSDT_MASK)
		st = NVMF_ST(NVME_SC_INVALID_FIELD);
	if (st)
		nvmf_cmd_finish(req, NVMF_ST_DNR(st));
	else
		execs[cmd->opc](req, ns);
}

void nvmf_nvm_exec_slow(struct nvmf_req *req)
{
	if (((req->cmd.flags & PLX_NVME_FUSE_MASK) || req->sq->fused_first) && fused(req))
		return;
	exec_one(req);
}

/* Both of a fused pair begin again together: what the other one has is still there */
void nvmf_nvm_exec_again(struct nvmf_req *req)
{
	unsigned fuse = req->cmd.flags & PLX_NVME_FUSE_MASK;

	req->md = NULL;
	req->md_len = 0;
	if (fuse == PLX_NVME_FUSE_FIRST)
		fused_pair(req, req->peer);
	else if (fuse)
		fused_pair(req->peer, req);
	else if (req->aborted)
		nvmf_cmd_finish(req, PLX_BDEV_ST_ABORTED);
	else
		exec_one(req);
}
