/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ns_cmd.c - read and write of one buffer: the hot half of submission
 *
 * A transfer of at most two pages in one command, memory the device addresses as the host does:
 * anything else goes to ns_rw_slow().
 */
#include "driver/nvme_internal.h"
#include <errno.h>

static plx_noinline int ns_rw_buf_slow(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp,
				       uint8_t opc, void *buf, uint64_t slba, uint32_t nlb,
				       plx_nvme_cb cb, void *arg)
{
	struct iovec iov = { buf, (size_t)nlb * ns->xfer_block };
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1, .nlb = nlb, .slba = slba };

	return ns_rw_slow(ns, qp, opc, &rw, cb, arg);
}

static inline __attribute__((always_inline)) int ns_rw_buf(struct plx_nvme_ns *ns,
							   struct plx_nvme_qpair *qp, uint8_t opc,
							   void *buf, uint64_t slba, uint32_t nlb,
							   plx_nvme_cb cb, void *arg)
{
	uint64_t prp1 = (uint64_t)buf;
	uint64_t room = PLX_PAGE_SIZE - (prp1 & (PLX_PAGE_SIZE - 1));
	uint64_t len = (uint64_t)nlb * ns->xfer_block;
	struct nvme_slot *slot;
	uint16_t cid;

	/* nlb 0 wraps to the largest number; fast_blocks keeps len within one page */
	if (plx_unlikely(nlb - 1 >= ns->fast_blocks || slba >= ns->blocks ||
			 nlb > ns->blocks - slba || (prp1 & 3) || !qp->identity))
		return ns_rw_buf_slow(ns, qp, opc, buf, slba, nlb, cb, arg);
	if (plx_unlikely(!qp->nfree))
		return qpair_no_slot(qp);

	slot = qpair_take(qp, &cid);
	slot_arm(slot, cb, arg, qp->epoch);
	qpair_put(qp, slot,
		  (uint64_t[8]){
			  opc | (uint64_t)cid << 16 |
				  (uint64_t)ns->nsid << 32, /* PSDT 00b, no fusing */
			  0, /* CDW2, CDW3 */
			  0, /* MPTR */
			  prp1,
			  len > room ? prp1 + room
				     : 0, /* the second page begins where the first ends */
			  slba, /* CDW10, CDW11 */
			  nlb - 1, /* CDW12: NLB is 0-based */
			  0, /* CDW14, CDW15 */
		  });
	return 0;
}

int plx_nvme_read(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, void *buf, uint64_t slba,
		  uint32_t nlb, plx_nvme_cb cb, void *arg)
{
	return ns_rw_buf(ns, qp, nvme_cmd_read, buf, slba, nlb, cb, arg);
}

int plx_nvme_write(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const void *buf,
		   uint64_t slba, uint32_t nlb, plx_nvme_cb cb, void *arg)
{
	return ns_rw_buf(ns, qp, nvme_cmd_write, (void *)buf, slba, nlb, cb, arg);
}
