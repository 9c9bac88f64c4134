/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/split.c - I/O larger than one command, and the fused pair
 *
 * A split I/O owns one struct nvme_split from its first command to its callback. Its commands go
 * out as identifiers are free; each completion frees one and submits the next, so that a split I/O
 * that got its first command in always comes to its end. After a failure nothing more is submitted.
 */
#include "driver/split.h"
#include "driver/nvme_internal.h"
#include <errno.h>
#include <stdlib.h>

struct nvme_split {
	struct nvme_split *next; /* qp->splits_free */
	struct plx_nvme_qpair *qp;
	plx_nvme_cb cb;
	void *arg;
	struct nvme_io io;
	struct iovec one; /* a single iovec is not kept by the caller */
	struct plx_nvme_cpl cpl; /* for the callback */
	uint32_t outstanding;
	bool decided; /* @cpl is what the caller gets */
};

int split_pool_init(struct plx_nvme_qpair *qp, uint32_t n)
{
	qp->splits_free = NULL;
	qp->splits_mem = calloc(n ? n : 1, sizeof(*qp->splits_mem));
	if (!qp->splits_mem)
		return -ENOMEM;
	for (uint32_t i = n; i-- > 0;) {
		qp->splits_mem[i].next = qp->splits_free;
		qp->splits_free = &qp->splits_mem[i];
	}
	return 0;
}

void split_pool_fini(struct plx_nvme_qpair *qp)
{
	free(qp->splits_mem);
	qp->splits_mem = NULL;
	qp->splits_free = NULL;
}

static struct nvme_split *split_take(struct plx_nvme_qpair *qp, plx_nvme_cb cb, void *arg)
{
	struct nvme_split *s = qp->splits_free;

	if (!s) {
		qp->queue_full++;
		return NULL;
	}
	qp->splits_free = s->next;
	s->qp = qp;
	s->cb = cb;
	s->arg = arg;
	s->cpl = (struct plx_nvme_cpl){ .sqid = qp->qid, .cid = NVME_NO_CID };
	s->outstanding = 0;
	s->decided = false;
	return s;
}

static void split_give_back(struct nvme_split *s)
{
	s->next = s->qp->splits_free;
	s->qp->splits_free = s;
}

static void split_finish(struct nvme_split *s)
{
	struct plx_nvme_cpl cpl = s->cpl;

	/* first, for the callback may submit */
	split_give_back(s);
	s->cb(s->arg, &cpl);
}

/* ---- the next command ---- */

/* Blocks, at most @n, whose metadata one command reaches; memory contiguous for the program may be
 * scattered for the device. */
static plx_noinline uint32_t fit_md(const struct plx_nvme_qpair *qp, struct nvme_io *io, uint32_t n)
{
	uint64_t want = (uint64_t)n * io->md_block, reach;
	struct iovec iov = { io->md, want };
	uint32_t half = qp->prp_list_bytes / 2;
	size_t len = want;

	if (qp->iova->look(qp->iova, io->md, &len) == PLX_IOVA_BAD || len >= want)
		return n;
	if (!io->sgl || !(qp->sgl & NVME_SGL_MPTR))
		return len / io->md_block;
	/* scattered metadata shares the list with the data */
	reach = dptr_sgl_reach(io->data, (uint64_t)n * io->xfer, half, qp->iova) / io->xfer;
	n = reach < n ? reach : n;
	reach = dptr_sgl_reach((struct dptr_pos){ &iov, 1, 0 }, (uint64_t)n * io->md_block,
			       half - sizeof(struct plx_nvme_sgl_desc), qp->iova);
	return reach / io->md_block;
}

/* Blocks, at most @n, whose data one command reaches */
static uint32_t fit_data(const struct plx_nvme_qpair *qp, struct nvme_io *io, uint32_t n)
{
	uint64_t len = (uint64_t)n * io->xfer, reach = len;

	io->sgl = (qp->sgl & NVME_SGL_ALWAYS) | io->data.buckets;
	if (!io->sgl) {
		/* a single one is limited by nothing */
		if (io->data.iovcnt > 1)
			reach = dptr_prp_reach(io->data, len, qp->iova);
		if (plx_likely(reach == len))
			return n;
		io->sgl = qp->sgl & NVME_SGL_AVAILABLE;
	}
	if (io->sgl) {
		io->data.apart = qp->sgl & NVME_SGL_APART;
		reach = dptr_sgl_reach(io->data, len, qp->prp_list_bytes, qp->iova);
	}
	return reach == len ? n : reach / io->xfer;
}

uint32_t nvme_io_fit(const struct plx_nvme_qpair *qp, struct nvme_io *io)
{
	uint32_t n = io->nlb < io->limit ? io->nlb : io->limit;

	if (io->boundary) {
		uint32_t room = io->boundary - io->slba % io->boundary;

		n = n < room ? n : room;
	}
	io->sgl = false;
	if (io->xfer)
		n = fit_data(qp, io, n);
	if (plx_unlikely(n && io->md_block && qp->iova))
		n = fit_md(qp, io, n);
	return n;
}

static inline void io_advance(struct nvme_io *io, uint32_t n)
{
	if (io->xfer)
		dptr_advance(&io->data, (uint64_t)n * io->xfer);
	if (io->md)
		io->md += (uint64_t)n * io->md_block;
	io->slba += n;
	io->nlb -= n;
	/* NVM Command Set 1.0c §5.2: types 1 and 2 count blocks, type 3 does not */
	if (io->ns->pi_type == 1 || io->ns->pi_type == 2) {
		io->reftag += n;
		io->tag_hi += io->reftag < n;
	}
}

/* Formats with longer guards, NVM Command Set 1.0c §5.2.1: the upper tag bits are the highest of
 * CDW3 and, where there are more than 48 in all, CDW2 */
static plx_noinline void put_tag_hi(const struct nvme_io *io, struct plx_nvme_cmd *cmd)
{
	if (io->ns->pi_format == 2) {
		cmd->cdw3 = io->tag_hi & 0xffff;
		return;
	}
	cmd->cdw2 = (uint32_t)io->tag_hi;
	cmd->cdw3 = io->tag_hi >> 32 & 0xffff;
}

int nvme_io_build(struct plx_nvme_qpair *qp, const struct nvme_io *io, uint32_t n, uint16_t cid,
		  struct nvme_slot *slot, struct plx_nvme_cmd *cmd)
{
	*cmd = (struct plx_nvme_cmd){
		.opc = io->opc,
		.flags = io->fuse,
		.cid = cid,
		.nsid = io->ns->nsid,
		.slba = io->slba,
		.cdw12 = io->flags | (n - 1),
		.cdw13 = io->cdw13,
		.cdw14 = io->reftag,
		.cdw15 = io->apptag | (uint32_t)io->appmask << 16,
	};
	if (plx_unlikely(io->ns->pi_format))
		put_tag_hi(io, cmd);
	if (!io->xfer)
		return 0;
	return dptr_build_at(qp, slot, cmd, io->data, (uint64_t)n * io->xfer, io->md,
			     n * io->md_block, io->sgl);
}

/* One command of @n blocks; the caller has seen qp->nfree > 0 */
static int io_put(struct plx_nvme_qpair *qp, const struct nvme_io *io, uint32_t n, plx_nvme_cb cb,
		  void *arg)
{
	struct plx_nvme_cmd cmd;
	uint16_t cid;
	struct nvme_slot *slot = qpair_take(qp, &cid);
	int rc = nvme_io_build(qp, io, n, cid, slot, &cmd);

	if (plx_unlikely(rc)) {
		qpair_give_back(qp, cid);
		return rc == -E2BIG ? -EINVAL : rc;
	}
	qpair_put_cmd(qp, slot, &cmd, cb, arg);
	return 0;
}

/* ---- several commands ---- */

static void split_fail(struct nvme_split *s, uint16_t status)
{
	s->cpl.status = (uint16_t)(status << 1);
	s->decided = true;
	s->io.nlb = 0;
}

static void split_child_done(void *arg, const struct plx_nvme_cpl *cpl);

/* Submit while there is something left and room for it. */
static void split_feed(struct nvme_split *s)
{
	while (s->io.nlb && s->qp->nfree) {
		uint32_t n = nvme_io_fit(s->qp, &s->io);

		/* it has got another format, or is gone */
		if (plx_unlikely(s->io.slba >= s->io.ns->blocks)) {
			split_fail(s,
				   PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_LBA_RANGE) | PLX_NVME_DNR);
			return;
		}
		if (plx_unlikely(!n || io_put(s->qp, &s->io, n, split_child_done, s))) {
			/* memory that was there at submission has been unregistered since */
			split_fail(s, PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_DATA_XFER_ERROR) |
					      PLX_NVME_DNR);
			return;
		}
		io_advance(&s->io, n);
		s->outstanding++;
	}
}

static void split_child_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_split *s = arg;

	s->outstanding--;
	if (plx_unlikely(!plx_nvme_ok(cpl) && !s->decided)) {
		s->cpl = *cpl;
		s->decided = true;
		s->io.nlb = 0;
	}
	split_feed(s);
	if (s->outstanding)
		return;
	/* only a queue pair that is being destroyed has no room after a completion */
	if (plx_unlikely(s->io.nlb))
		split_fail(s, PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_ABORT_QUEUE));
	split_finish(s);
}

/* Can the rest be expressed as well? Asked before anything is submitted. */
static bool io_expressible(const struct plx_nvme_qpair *qp, struct nvme_io io)
{
	/* metadata of every command has to begin on a dword */
	if (io.md_block & 3)
		return false;
	if (!io.xfer || (io.data.iovcnt <= 1 && !io.md_block && !(qp->sgl & NVME_SGL_ALWAYS)))
		return true;
	while (io.nlb) {
		uint32_t n = nvme_io_fit(qp, &io);

		if (!n)
			return false;
		io_advance(&io, n);
	}
	return true;
}

static plx_noinline int split_start(struct plx_nvme_qpair *qp, const struct nvme_io *io, uint32_t n,
				    plx_nvme_cb cb, void *arg)
{
	struct nvme_split *s;
	int rc;

	if (!n || !io_expressible(qp, *io))
		return -EINVAL;
	s = split_take(qp, cb, arg);
	if (!s)
		return -EAGAIN;
	s->io = *io;
	if (io->data.iovcnt == 1) {
		s->one = *io->data.iov;
		s->io.data.iov = &s->one;
	}
	rc = io_put(qp, &s->io, n, split_child_done, s);
	if (rc) {
		split_give_back(s);
		return rc;
	}
	io_advance(&s->io, n);
	s->outstanding = 1;
	qp->splits++;
	split_feed(s);
	return 0;
}

int nvme_io_start(struct plx_nvme_qpair *qp, struct nvme_io *io, plx_nvme_cb cb, void *arg)
{
	uint32_t n;

	if (plx_unlikely(!qp->nfree))
		return qpair_no_slot(qp);
	n = nvme_io_fit(qp, io);
	if (plx_likely(n == io->nlb))
		return io_put(qp, io, n, cb, arg);
	return split_start(qp, io, n, cb, arg);
}

int nvme_io_start_whole(struct plx_nvme_qpair *qp, struct nvme_io *io, plx_nvme_cb cb, void *arg)
{
	if (plx_unlikely(!qp->nfree))
		return qpair_no_slot(qp);
	if (nvme_io_fit(qp, io) != io->nlb)
		return -EINVAL;
	return io_put(qp, io, io->nlb, cb, arg);
}

/* ---- compare and write ---- */

static void fused_done(struct nvme_split *s)
{
	if (!--s->outstanding)
		split_finish(s);
}

static void fused_compare_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_split *s = arg;

	if (!plx_nvme_ok(cpl)) {
		s->cpl = *cpl;
		s->decided = true;
	}
	fused_done(s);
}

static void fused_write_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_split *s = arg;

	/* after a failed compare it is only aborted */
	if (!s->decided)
		s->cpl = *cpl;
	fused_done(s);
}

void *split_caller_arg(plx_nvme_cb cb, void *arg)
{
	if (cb != split_child_done && cb != fused_compare_done && cb != fused_write_done)
		return arg;
	return ((struct nvme_split *)arg)->arg;
}

int nvme_io_start_fused(struct plx_nvme_qpair *qp, struct nvme_io *cmp, struct nvme_io *wr,
			plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmds[2];
	struct nvme_slot *slots[2];
	struct nvme_split *s;
	uint16_t cids[2];
	int rc;

	if (plx_unlikely(qp->nfree < 2))
		return qpair_no_slot(qp);
	if (nvme_io_fit(qp, cmp) != cmp->nlb || nvme_io_fit(qp, wr) != wr->nlb)
		return -EINVAL;
	s = split_take(qp, cb, arg);
	if (!s)
		return -EAGAIN;
	for (int i = 0; i < 2; i++)
		slots[i] = qpair_take(qp, &cids[i]);
	rc = nvme_io_build(qp, cmp, cmp->nlb, cids[0], slots[0], &cmds[0]);
	if (!rc)
		rc = nvme_io_build(qp, wr, wr->nlb, cids[1], slots[1], &cmds[1]);
	if (rc) {
		qpair_give_back(qp, cids[1]);
		qpair_give_back(qp, cids[0]);
		split_give_back(s);
		return rc == -E2BIG ? -EINVAL : rc;
	}
	/* the doorbell is rung by a poll or flush only, so never between the two */
	qpair_put_cmd(qp, slots[0], &cmds[0], fused_compare_done, s);
	qpair_put_cmd(qp, slots[1], &cmds[1], fused_write_done, s);
	s->outstanding = 2;
	return 0;
}
