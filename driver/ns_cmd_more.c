/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ns_cmd_more.c - the I/O commands beside the plain read and write of ns_cmd.c
 */
#include "driver/split.h"
#include "driver/nvme_internal.h"
#include <errno.h>
#include <stddef.h>

#define OCFS_FORMAT_1 (1u << 1) /* Base 2.0c §5.17.2.1 figure 276; libnvme names none of its bits */

static inline bool range_ok(const struct plx_nvme_ns *ns, uint64_t slba, uint64_t nlb)
{
	return nlb && slba < ns->blocks && nlb <= ns->blocks - slba;
}

static inline bool has_oncs(const struct plx_nvme_ns *ns, uint16_t bit)
{
	return plx_nvme_ctrlr_data(ns->ctrlr)->oncs & bit;
}

/* ---- read, write, compare ---- */

/* The iovecs hold @len bytes. More is harmless: it is not touched. */
static bool iov_holds(const struct iovec *iov, int iovcnt, uint64_t len)
{
	for (int i = 0; iov && i < iovcnt; i++) {
		if (iov[i].iov_len >= len)
			return true;
		len -= iov[i].iov_len;
	}
	return false;
}

/*
 * What travels besides the data, NVM Command Set 1.0c §5.2.2: with PRACT the controller inserts
 * and strips metadata that is protection information alone, and none of it is transferred: 8 bytes,
 * 16 in the formats with longer guards.
 */
static int io_md(struct nvme_io *io, const struct plx_nvme_rw *rw)
{
	const struct plx_nvme_ns *ns = io->ns;
	uint32_t pi_size = ns->pi_format ? 16 : 8;
	bool stripped = (rw->flags & PLX_NVME_RW_PRACT) && ns->pi_type && ns->md_size == pi_size;

	io->xfer = stripped ? ns->block_size : ns->xfer_block;
	if (!ns->md_size || ns->md_extended)
		return rw->md ? -EINVAL : 0;
	if (stripped)
		return 0;
	if (!rw->md || ((uintptr_t)rw->md & 3))
		return -EINVAL;
	io->md = rw->md;
	io->md_block = ns->md_size;
	return 0;
}

static plx_noinline int may_drop(const struct plx_nvme_ns *ns, uint8_t opc)
{
	if (opc != nvme_cmd_read)
		return -EINVAL;
	return dptr_sgl_modes(plx_nvme_ctrlr_data(ns->ctrlr)->sgls, false, false) & NVME_SGL_BUCKET
		       ? 0
		       : -ENOTSUP;
}

int nvme_io_init(struct nvme_io *io, struct plx_nvme_ns *ns, uint8_t opc,
		 const struct plx_nvme_rw *rw)
{
	if (plx_unlikely(!range_ok(ns, rw->slba, rw->nlb) || (rw->flags & (NVME_NLB_MAX - 1))))
		return -EINVAL;
	*io = (struct nvme_io){
		.ns = ns,
		.data = { .iov = rw->iov, .iovcnt = rw->iovcnt, .buckets = rw->buckets },
		.slba = rw->slba,
		.nlb = rw->nlb,
		.limit = ns->max_io_blocks < NVME_NLB_MAX ? ns->max_io_blocks : NVME_NLB_MAX,
		.boundary = ns->boundary,
		.flags = rw->flags,
		.cdw13 = rw->cdw13,
		.reftag = rw->reftag,
		.apptag = rw->apptag,
		.appmask = rw->appmask,
		.tag_hi = rw->tag_hi,
		.opc = opc,
	};
	if (plx_unlikely(io_md(io, rw)))
		return -EINVAL;
	if (plx_unlikely(rw->buckets)) {
		int rc = may_drop(ns, opc);

		if (rc)
			return rc;
	}
	return iov_holds(rw->iov, rw->iovcnt, (uint64_t)rw->nlb * io->xfer) ? 0 : -EINVAL;
}

int ns_rw_slow(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t opc,
	       const struct plx_nvme_rw *rw, plx_nvme_cb cb, void *arg)
{
	struct nvme_io io;
	int rc = nvme_io_init(&io, ns, opc, rw);

	return plx_unlikely(rc) ? rc : nvme_io_start(qp, &io, cb, arg);
}

int plx_nvme_readv(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const struct plx_nvme_rw *rw,
		   plx_nvme_cb cb, void *arg)
{
	return ns_rw_slow(ns, qp, nvme_cmd_read, rw, cb, arg);
}

int plx_nvme_writev(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const struct plx_nvme_rw *rw,
		    plx_nvme_cb cb, void *arg)
{
	return ns_rw_slow(ns, qp, nvme_cmd_write, rw, cb, arg);
}

int plx_nvme_comparev(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp,
		      const struct plx_nvme_rw *rw, plx_nvme_cb cb, void *arg)
{
	if (!has_oncs(ns, NVME_CTRL_ONCS_COMPARE))
		return -ENOTSUP;
	return ns_rw_slow(ns, qp, nvme_cmd_compare, rw, cb, arg);
}

int plx_nvme_compare_and_write(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp,
			       const struct plx_nvme_rw *cmp, const struct plx_nvme_rw *wr,
			       plx_nvme_cb cb, void *arg)
{
	struct nvme_io first, second;

	if (!(plx_nvme_ctrlr_data(ns->ctrlr)->fuses & NVME_CTRL_FUSES_COMPARE_AND_WRITE) ||
	    qp->depth < 2)
		return -ENOTSUP;
	/* NVM Command Set 1.0c §2.1: the same range in both */
	if (cmp->slba != wr->slba || cmp->nlb != wr->nlb ||
	    nvme_io_init(&first, ns, nvme_cmd_compare, cmp) ||
	    nvme_io_init(&second, ns, nvme_cmd_write, wr))
		return -EINVAL;
	first.fuse = PLX_NVME_FUSE_FIRST;
	second.fuse = PLX_NVME_FUSE_SECOND;
	/* a pair cannot be split; NOIOB is about speed only */
	first.boundary = 0;
	second.boundary = 0;
	return nvme_io_start_fused(qp, &first, &second, cb, arg);
}

/* ---- commands without data ---- */

static int range_cmd(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t opc, uint64_t slba,
		     uint32_t nlb, uint32_t flags, uint32_t limit, plx_nvme_cb cb, void *arg)
{
	struct nvme_io io = {
		.ns = ns,
		.slba = slba,
		.nlb = nlb,
		.limit = limit && limit < NVME_NLB_MAX ? limit : NVME_NLB_MAX,
		.flags = flags,
		/* what type 1 prescribes, and what type 2 has unless it was written otherwise */
		.reftag = (uint32_t)slba,
		.tag_hi = slba >> 32,
		.opc = opc,
	};

	if (!range_ok(ns, slba, nlb) || (flags & (NVME_NLB_MAX - 1)))
		return -EINVAL;
	return nvme_io_start(qp, &io, cb, arg);
}

int plx_nvme_verify(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba, uint32_t nlb,
		    uint32_t flags, plx_nvme_cb cb, void *arg)
{
	if (!has_oncs(ns, NVME_CTRL_ONCS_VERIFY))
		return -ENOTSUP;
	return range_cmd(ns, qp, nvme_cmd_verify, slba, nlb, flags, ns->max_verify_blocks, cb, arg);
}

int plx_nvme_write_zeroes(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
			  uint32_t nlb, uint32_t flags, plx_nvme_cb cb, void *arg)
{
	if (!has_oncs(ns, NVME_CTRL_ONCS_WRITE_ZEROES))
		return -ENOTSUP;
	return range_cmd(ns, qp, nvme_cmd_write_zeroes, slba, nlb, flags, ns->max_wz_blocks, cb,
			 arg);
}

int plx_nvme_write_uncorrectable(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
				 uint32_t nlb, plx_nvme_cb cb, void *arg)
{
	if (!has_oncs(ns, NVME_CTRL_ONCS_WRITE_UNCORRECTABLE))
		return -ENOTSUP;
	return range_cmd(ns, qp, nvme_cmd_write_uncor, slba, nlb, 0, 0, cb, arg);
}

/* ---- everything that is built as it comes ---- */

int nvme_cmd_start(struct plx_nvme_qpair *qp, struct plx_nvme_cmd *cmd, const struct iovec *iov,
		   int iovcnt, uint64_t len, void *md, uint32_t md_len, plx_nvme_cb cb, void *arg)
{
	const struct dptr_pos pos = { .iov = iov,
				      .iovcnt = iovcnt,
				      .apart = qp->sgl & NVME_SGL_APART };
	bool sgl = qp->sgl & NVME_SGL_ALWAYS;
	struct nvme_slot *slot;
	int rc;

	if (plx_unlikely(!qp->nfree))
		return qpair_no_slot(qp);
	if (!len)
		sgl = false;
	else if (!sgl && (qp->sgl & NVME_SGL_AVAILABLE))
		sgl = dptr_prp_reach(pos, len, qp->iova) < len;
	slot = qpair_take(qp, &cmd->cid);
	rc = dptr_build_at(qp, slot, cmd, pos, len, md, md_len, sgl);
	if (rc) {
		qpair_give_back(qp, cmd->cid);
		return rc == -E2BIG ? -EINVAL : rc;
	}
	qpair_put_cmd(qp, slot, cmd, cb, arg);
	return 0;
}

/* Sent without a volatile write cache too: whether it is there may have changed. */
int plx_nvme_flush(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_flush, .nsid = ns->nsid };

	return nvme_cmd_start(qp, &cmd, NULL, 0, 0, NULL, 0, cb, arg);
}

int plx_nvme_dsm(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint32_t attrs,
		 const struct nvme_dsm_range *ranges, uint32_t nr, plx_nvme_cb cb, void *arg)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_cmd_dsm, .nsid = ns->nsid, .cdw10 = nr - 1, .cdw11 = attrs
	};
	struct iovec iov = { (void *)ranges, (size_t)nr * sizeof(*ranges) };

	if (!has_oncs(ns, NVME_CTRL_ONCS_DSM))
		return -ENOTSUP;
	if (!ranges || !nr || nr > 256)
		return -EINVAL;
	for (uint32_t i = 0; i < nr; i++)
		if (!range_ok(ns, ranges[i].slba, ranges[i].nlb))
			return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, 1, iov.iov_len, NULL, 0, cb, arg);
}

/* The formats differ behind the places and lengths of the ranges (NVM Command Set 1.0c §3.2.1) */
_Static_assert(offsetof(struct nvme_copy_range, slba) ==
			       offsetof(struct nvme_copy_range_f1, slba) &&
		       offsetof(struct nvme_copy_range, nlb) ==
			       offsetof(struct nvme_copy_range_f1, nlb),
	       "one walk for both");

static int copy(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t dst_slba,
		unsigned format, const void *ranges, size_t size, uint32_t nr, plx_nvme_cb cb,
		void *arg)
{
	/* CDW12: NR 7:0 is 0-based, descriptor format 11:8 */
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_copy,
				    .nsid = ns->nsid,
				    .slba = dst_slba,
				    .cdw12 = format << 8 | (nr - 1) };
	struct iovec iov = { (void *)ranges, nr * size };
	uint64_t total = 0;

	/* format 1h for guards of 32 and 64 bits, and only for them */
	if (!has_oncs(ns, NVME_CTRL_ONCS_COPY) || !format != !ns->pi_format)
		return -ENOTSUP;
	if (!ranges || !nr || nr > 256)
		return -EINVAL;
	for (uint32_t i = 0; i < nr; i++) {
		const struct nvme_copy_range *r = (const void *)((const char *)ranges + i * size);

		/* NLB of a source range is 0-based */
		if (!range_ok(ns, r->slba, r->nlb + 1u))
			return -EINVAL;
		total += r->nlb + 1u;
	}
	if (!range_ok(ns, dst_slba, total))
		return -EINVAL;
	return nvme_cmd_start(qp, &cmd, &iov, 1, iov.iov_len, NULL, 0, cb, arg);
}

int plx_nvme_copy(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t dst_slba,
		  const struct nvme_copy_range *ranges, uint32_t nr, plx_nvme_cb cb, void *arg)
{
	return copy(ns, qp, dst_slba, 0, ranges, sizeof(*ranges), nr, cb, arg);
}

int plx_nvme_copy_f1(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t dst_slba,
		     const struct nvme_copy_range_f1 *ranges, uint32_t nr, plx_nvme_cb cb,
		     void *arg)
{
	if (!(plx_nvme_ctrlr_data(ns->ctrlr)->ocfs & OCFS_FORMAT_1))
		return -ENOTSUP;
	return copy(ns, qp, dst_slba, 1, ranges, sizeof(*ranges), nr, cb, arg);
}

int plx_nvme_io_raw(struct plx_nvme_qpair *qp, const struct plx_nvme_cmd *cmd,
		    const struct iovec *iov, int iovcnt, void *md, uint32_t md_len, plx_nvme_cb cb,
		    void *arg)
{
	uint64_t max = plx_nvme_ctrlr_max_io_bytes(qp->ctrlr), len = 0;
	struct plx_nvme_cmd copy = *cmd;

	if (iovcnt < 0 || (iovcnt && !iov) || !md != !md_len || md_len > max)
		return -EINVAL;
	for (int i = 0; i < iovcnt; i++) {
		/* each is checked before it is added: no overflow */
		if (iov[i].iov_len > max - len)
			return -EINVAL;
		len += iov[i].iov_len;
	}
	return nvme_cmd_start(qp, &copy, iov, iovcnt, len, md, md_len, cb, arg);
}
