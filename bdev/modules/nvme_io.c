/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/nvme_io.c - channels of NVMe namespaces, and their I/O
 *
 * A channel has a queue pair of the driver to itself. A read or write of one buffer is one call of
 * the driver, whose callback completes the I/O. Everything else leaves by one branch.
 *
 * What the queue pair has no room for waits in the channel, as does what a reset of the controller
 * caught under way that was not this device's own: it is submitted again when the controller is
 * back. An I/O whose pieces PRPs cannot name, on a controller without SGLs, goes through a buffer.
 */
#include "bdev/modules/nvme.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RANGES 128 /* Unmap and Copy commands of a channel at the device at a time */

/* of I/O whose controller is gone */
#define ST_GONE	   PLX_NVME_ST(NVME_SCT_PATH, NVME_SC_CMD_ABORTED_BY_HOST)
#define ST_DELETED PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_ABORT_QUEUE)
#define ST_XFER	   PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_DATA_XFER_ERROR)

/* plx_bdev_io.mod of I/O with cold_done() for a callback; of others it is not set */
enum { MOD_RETRIES, MOD_RANGE, MOD_BUF };

/* What Unmap and Copy hand to the controller */
union range {
	struct nvme_dsm_range dsm;
	struct nvme_copy_range copy;
	union range *next;
};

struct nvme_channel {
	struct plx_nvme_ns *ns;
	struct plx_nvme_qpair *qp;
	/* reads and writes of one buffer go straight to the driver: the namespace needs nothing
	 * else, and nobody waits */
	bool fast;
	bool busy; /* channel_tend() has something to do */
	bool told; /* of memory that no device reaches */
	struct bdev_io_list waiting; /* in order, with mod set */
	struct bdev_io_list aborts; /* until those they are for have ended */
	struct plx_bdev_io *reset; /* until the controller is back */
	struct nvme_bdev *nb;
	union range *ranges, *free_range;
	struct plx_poller *poller; /* NULL: the channel is being destroyed */
};

static struct plx_nvme_ctrlr *ctrlr_of(const struct nvme_channel *ch)
{
	return ch->nb->ctrlr->c;
}

/* ---- one command ---- */

static uint32_t prchk(uint8_t check)
{
	return (check & PLX_BDEV_CHECK_GUARD ? PLX_NVME_RW_PRCHK_GUARD : 0) |
	       (check & PLX_BDEV_CHECK_APP ? PLX_NVME_RW_PRCHK_APP : 0) |
	       (check & PLX_BDEV_CHECK_REF ? PLX_NVME_RW_PRCHK_REF : 0) |
	       (check & PLX_BDEV_PRACT ? PLX_NVME_RW_PRACT : 0);
}

/* What I/O that says nothing of protection information has checked. Type 3 has no reference tag
 * that could be known. */
static uint32_t prchk_default(const struct nvme_bdev *nb)
{
	uint8_t check = nb->ctrlr->check;

	if (nb->bdev.dif == PLX_BDEV_DIF_NONE)
		return 0;
	if (nb->bdev.dif == PLX_BDEV_DIF_TYPE3)
		check &= (uint8_t)~PLX_BDEV_CHECK_REF;
	return prchk(check);
}

static struct plx_nvme_rw rw_of(const struct nvme_channel *ch, const struct plx_bdev_io *io)
{
	const struct nvme_bdev *nb = ch->nb;
	struct plx_nvme_rw rw = {
		.iov = io->iov,
		.iovcnt = io->iovcnt,
		.nlb = (uint32_t)io->blocks,
		.slba = io->offset,
		.md = io->md,
		.flags = io->flags & PLX_BDEV_F_FUA ? PLX_NVME_RW_FUA : 0,
		.reftag = (uint32_t)io->offset,
	};

	if (io->check) {
		rw.flags |= prchk(io->check);
		rw.reftag = io->reftag;
		rw.apptag = io->apptag;
		rw.appmask = io->appmask;
	} else {
		rw.flags |= prchk_default(nb);
	}
	if (nb->md_separate && !io->md) {
		if (nb->md_pract)
			rw.flags |= PLX_NVME_RW_PRACT;
		else
			rw.md = io->type == PLX_BDEV_READ ? nb->md_sink : nb->md_blank;
	}
	return rw;
}

static int submit_rw(struct nvme_channel *ch, struct plx_bdev_io *io, plx_nvme_cb cb)
{
	struct plx_nvme_rw rw = rw_of(ch, io);

	switch (io->type) {
	case PLX_BDEV_READ:
		return plx_nvme_readv(ch->ns, ch->qp, &rw, cb, io);
	case PLX_BDEV_WRITE:
		return plx_nvme_writev(ch->ns, ch->qp, &rw, cb, io);
	default:
		return plx_nvme_comparev(ch->ns, ch->qp, &rw, cb, io);
	}
}

static int submit_fused(struct nvme_channel *ch, struct plx_bdev_io *io, plx_nvme_cb cb)
{
	struct plx_nvme_rw wr = rw_of(ch, io), cmp = wr;

	cmp.iov = io->cmp_iov;
	cmp.iovcnt = io->cmp_iovcnt;
	return plx_nvme_compare_and_write(ch->ns, ch->qp, &cmp, &wr, cb, io);
}

static void range_put(struct nvme_channel *ch, struct plx_bdev_io *io)
{
	union range *r = (union range *)io->mod[MOD_RANGE];

	if (!r)
		return;
	r->next = ch->free_range;
	ch->free_range = r;
	io->mod[MOD_RANGE] = 0;
}

/* Unmap and Copy: what they name is in memory that the device reads */
static int submit_range(struct nvme_channel *ch, struct plx_bdev_io *io, plx_nvme_cb cb)
{
	union range *r = ch->free_range;
	int rc;

	if (!r)
		return -EAGAIN;
	ch->free_range = r->next;
	io->mod[MOD_RANGE] = (uintptr_t)r;
	if (io->type == PLX_BDEV_UNMAP) {
		r->dsm = (struct nvme_dsm_range){ .nlb = (uint32_t)io->blocks, .slba = io->offset };
		rc = plx_nvme_dsm(ch->ns, ch->qp, NVME_DSMGMT_AD, &r->dsm, 1, cb, io);
	} else {
		r->copy = (struct nvme_copy_range){ .slba = io->src,
						    .nlb = (uint16_t)(io->blocks - 1) };
		rc = plx_nvme_copy(ch->ns, ch->qp, io->offset, &r->copy, 1, cb, io);
	}
	if (rc)
		range_put(ch, io);
	return rc;
}

/* Return: as the driver's functions. Not here for lack of a range: -EAGAIN */
static int submit(struct nvme_channel *ch, struct plx_bdev_io *io, plx_nvme_cb cb)
{
	switch (io->type) {
	case PLX_BDEV_READ:
	case PLX_BDEV_WRITE:
	case PLX_BDEV_COMPARE:
		return submit_rw(ch, io, cb);
	case PLX_BDEV_COMPARE_AND_WRITE:
		return submit_fused(ch, io, cb);
	case PLX_BDEV_FLUSH:
		return plx_nvme_flush(ch->ns, ch->qp, cb, io);
	case PLX_BDEV_VERIFY:
		return plx_nvme_verify(ch->ns, ch->qp, io->offset, (uint32_t)io->blocks, 0, cb, io);
	case PLX_BDEV_WRITE_ZEROES:
		/* with protection information that goes with the zeroes */
		return plx_nvme_write_zeroes(ch->ns, ch->qp, io->offset, (uint32_t)io->blocks,
					     ch->nb->bdev.dif == PLX_BDEV_DIF_NONE
						     ? 0
						     : PLX_NVME_RW_PRACT,
					     cb, io);
	case PLX_BDEV_UNMAP:
	case PLX_BDEV_COPY:
		return submit_range(ch, io, cb);
	default:
		return -ENOTSUP;
	}
}

/* ---- by way of a buffer ---- */

static void buf_move(const struct plx_bdev_io *io, char *buf, bool gather)
{
	for (int i = 0; i < io->iovcnt; i++) {
		memcpy(gather ? buf : io->iov[i].iov_base, gather ? io->iov[i].iov_base : buf,
		       io->iov[i].iov_len);
		buf += io->iov[i].iov_len;
	}
}

static void buf_free(struct plx_bdev_io *io)
{
	plx_dma_free((void *)io->mod[MOD_BUF]);
	io->mod[MOD_BUF] = 0;
}

static int submit_buf(struct nvme_channel *ch, struct plx_bdev_io *io, plx_nvme_cb cb)
{
	struct iovec one = { (void *)io->mod[MOD_BUF], plx_bdev_io_len(io) };
	struct iovec *iov = io->iov;
	int iovcnt = io->iovcnt, rc;

	/* the driver does not keep a list of one */
	io->iov = &one;
	io->iovcnt = 1;
	rc = submit_rw(ch, io, cb);
	io->iov = iov;
	io->iovcnt = iovcnt;
	return rc;
}

/* ---- when it does not go well ---- */

/* Where there is an IOMMU in between, or another process, the driver does not look */
static plx_noinline void explain(struct nvme_channel *ch, const struct plx_bdev_io *io)
{
	if (ch->told || io->type > PLX_BDEV_WRITE)
		return;
	for (int i = 0; i < io->iovcnt; i++) {
		if (plx_mem_iova(io->iov[i].iov_base, NULL) != PLX_IOVA_BAD)
			continue;
		ch->told = true;
		nvme_bdev_log(ERR,
			      "%s: a buffer at %p is no memory that devices reach: take it from "
			      "plx_dma_alloc(), or plx_mem_register() it",
			      io->bdev->name, io->iov[i].iov_base);
		return;
	}
}

static void finish(struct nvme_channel *ch, struct plx_bdev_io *io, uint16_t status)
{
	range_put(ch, io);
	if (io->mod[MOD_BUF])
		buf_free(io);
	plx_bdev_io_complete(io, status);
}

static bool wants_abort(const struct nvme_channel *ch, const struct plx_bdev_io *io, bool count)
{
	bool any = false;

	for (struct plx_bdev_io *a = ch->aborts.head; a; a = a->next) {
		if (a->abort_arg != io->arg)
			continue;
		any = true;
		a->mod[0] += count;
	}
	return any;
}

static void wait_here(struct nvme_channel *ch, struct plx_bdev_io *io)
{
	io_list_append(&ch->waiting, io);
	ch->fast = false;
	ch->busy = true;
}

/*
 * A reset of the controller ends what is under way on all of its namespaces, though only one asked
 * for it. A fused pair may have been carried out: once more it would miscompare.
 */
static bool tries_again(const struct nvme_channel *ch, const struct plx_bdev_io *io,
			uint16_t status)
{
	return status == ST_DELETED && !ch->reset && ch->poller &&
	       io->type != PLX_BDEV_COMPARE_AND_WRITE &&
	       io->mod[MOD_RETRIES] < ch->nb->ctrlr->settings.bdev_retries;
}

/* @io, with mod set, has come back with @status */
static plx_noinline void failed(struct nvme_channel *ch, struct plx_bdev_io *io, uint16_t status)
{
	bool aborted = status == PLX_BDEV_ST_ABORTED || status == ST_DELETED;

	range_put(ch, io);
	if (status == ST_XFER)
		explain(ch, io);
	if (plx_unlikely(ch->aborts.head) && wants_abort(ch, io, aborted)) {
		finish(ch, io, aborted ? PLX_BDEV_ST_ABORTED : status);
		return;
	}
	if (tries_again(ch, io, status)) {
		io->mod[MOD_RETRIES]++;
		wait_here(ch, io);
		return;
	}
	finish(ch, io, status);
}

static void mod_init(struct plx_bdev_io *io)
{
	io->mod[MOD_RETRIES] = 0;
	io->mod[MOD_RANGE] = 0;
	io->mod[MOD_BUF] = 0;
}

/* Of all that is not submitted at once by nvme_submit() */
static void cold_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_bdev_io *io = arg;
	struct nvme_channel *ch = io->mch;

	if (!plx_nvme_ok(cpl)) {
		failed(ch, io, PLX_NVME_ST_CODE(plx_nvme_status(cpl)));
		return;
	}
	if (io->mod[MOD_BUF] && io->type == PLX_BDEV_READ)
		buf_move(io, (char *)io->mod[MOD_BUF], false);
	finish(ch, io, PLX_BDEV_OK);
}

static plx_noinline void hot_failed(struct plx_bdev_io *io, const struct plx_nvme_cpl *cpl)
{
	mod_init(io);
	failed(io->mch, io, PLX_NVME_ST_CODE(plx_nvme_status(cpl)));
}

static void hot_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_bdev_io *io = arg;

	if (plx_unlikely(!plx_nvme_ok(cpl))) {
		hot_failed(io, cpl);
		return;
	}
	plx_bdev_io_complete(io, PLX_BDEV_OK);
}

/* Pieces that meet elsewhere than between pages, and no SGLs. Return: 0; -errno */
static int bounce(struct nvme_channel *ch, struct plx_bdev_io *io)
{
	char *buf;
	int rc;

	buf = plx_dma_alloc(plx_bdev_io_len(io), PLX_PAGE_SIZE, io->bdev->numa);
	if (!buf)
		return plx_nvme_qpair_outstanding(ch->qp) ? -EAGAIN : -ENOMEM;
	io->mod[MOD_BUF] = (uintptr_t)buf;
	if (io->type != PLX_BDEV_READ)
		buf_move(io, buf, true);
	rc = submit_buf(ch, io, cold_done);
	return rc;
}

/* The driver's -EINVAL as a status: the namespace may have become smaller, or have gone */
static uint16_t range_status(const struct nvme_channel *ch, const struct plx_bdev_io *io)
{
	uint64_t blocks = plx_nvme_ns_blocks(ch->ns);

	if (!blocks)
		return PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_NS);
	if (io->offset >= blocks || io->blocks > blocks - io->offset ||
	    (io->type == PLX_BDEV_COPY && (io->src >= blocks || io->blocks > blocks - io->src)))
		return PLX_BDEV_ST_LBA_RANGE;
	return PLX_BDEV_ST_INVALID_FIELD;
}

/* The driver refused @io, with mod set. Return: false when it is to wait */
static bool refused(struct nvme_channel *ch, struct plx_bdev_io *io, int rc)
{
	uint16_t status;

	if (rc == -EINVAL && io->type <= PLX_BDEV_WRITE && io->iovcnt > 1 && !io->mod[MOD_BUF] &&
	    range_status(ch, io) == PLX_BDEV_ST_INVALID_FIELD) {
		rc = bounce(ch, io);
		if (!rc)
			return true;
	}
	switch (rc) {
	case -EAGAIN:
		return false;
	case -EINVAL:
		status = range_status(ch, io);
		break;
	case -EFAULT:
		status = ST_XFER;
		explain(ch, io);
		break;
	case -ENXIO:
		status = ST_GONE;
		break;
	case -ENOTSUP:
		status = PLX_BDEV_ST_INVALID_OPCODE;
		break;
	default:
		status = PLX_BDEV_ST_INTERNAL;
	}
	finish(ch, io, status);
	return true;
}

static void resubmit(struct nvme_channel *ch)
{
	struct plx_bdev_io *io;

	while ((io = ch->waiting.head)) {
		int rc = io->mod[MOD_BUF] ? submit_buf(ch, io, cold_done)
					  : submit(ch, io, cold_done);

		if (rc == -EAGAIN)
			return;
		io_list_pop(&ch->waiting);
		if (rc && !refused(ch, io, rc)) {
			io->next = ch->waiting.head;
			ch->waiting.head = io;
			if (!io->next)
				ch->waiting.tail = &io->next;
			return;
		}
	}
	ch->fast = ch->nb->plain;
}

/* ---- abort and reset ---- */

static struct plx_bdev_io *waiting_for(const struct nvme_channel *ch, const void *arg)
{
	struct plx_bdev_io *io = ch->waiting.head;

	while (io && io->arg != arg)
		io = io->next;
	return io;
}

static void abort_begin(struct nvme_channel *ch, struct plx_bdev_io *a)
{
	struct plx_bdev_io *io;

	a->mod[0] = 0;
	while ((io = waiting_for(ch, a->abort_arg))) {
		io_list_remove(&ch->waiting, io);
		a->mod[0]++;
		finish(ch, io, PLX_BDEV_ST_ABORTED);
	}
	io_list_append(&ch->aborts, a);
	ch->busy = true;
}

static bool is_victim(void *cb_arg, void *arg)
{
	const struct plx_bdev_io *io = cb_arg, *a = arg;

	return io->arg == a->abort_arg;
}

/* Each ends when nothing that it is for is under way any more */
static void aborts_tend(struct nvme_channel *ch)
{
	struct plx_bdev_io *a, *next;

	for (a = ch->aborts.head; a; a = next) {
		uint32_t left = plx_nvme_qpair_abort(ch->qp, is_victim, a);

		next = a->next;
		if (left)
			continue;
		io_list_remove(&ch->aborts, a);
		plx_bdev_io_complete(a, a->mod[0] ? PLX_BDEV_OK : PLX_BDEV_ST_INTERNAL);
	}
}

static void reset_begin(struct nvme_channel *ch, struct plx_bdev_io *io)
{
	struct plx_bdev_io *w;

	ch->reset = io;
	ch->busy = true;
	while ((w = io_list_pop(&ch->waiting)))
		finish(ch, w, PLX_BDEV_ST_ABORTED);
	/* another channel may have asked for it already, or a command that hung */
	plx_nvme_ctrlr_reset(ctrlr_of(ch));
}

static void reset_tend(struct nvme_channel *ch)
{
	enum plx_nvme_ctrlr_state state = plx_nvme_ctrlr_state(ctrlr_of(ch));
	struct plx_bdev_io *io = ch->reset;

	if (state == PLX_NVME_CTRLR_RESETTING || plx_nvme_qpair_outstanding(ch->qp))
		return;
	ch->reset = NULL;
	plx_bdev_io_complete(io, state == PLX_NVME_CTRLR_READY ? PLX_BDEV_OK : ST_GONE);
}

/* ---- the channel's turn ---- */

static plx_noinline void channel_tend(struct nvme_channel *ch)
{
	if (!ch->reset)
		resubmit(ch);
	if (ch->aborts.head)
		aborts_tend(ch);
	if (ch->reset)
		reset_tend(ch);
	ch->busy = ch->waiting.head || ch->aborts.head || ch->reset;
}

static int channel_poll(void *arg)
{
	struct nvme_channel *ch = arg;
	int n = plx_nvme_qpair_poll(ch->qp, 0);

	if (plx_unlikely(ch->busy))
		channel_tend(ch);
	return n;
}

/* ---- submission ---- */

static plx_noinline void wait_or_fail(struct plx_bdev_io *io, int rc)
{
	struct nvme_channel *ch = io->mch;

	mod_init(io);
	if (!refused(ch, io, rc))
		wait_here(ch, io);
}

static plx_noinline void submit_more(struct plx_bdev_io *io)
{
	struct nvme_channel *ch = io->mch;
	bool plain = io->type <= PLX_BDEV_WRITE;
	int rc;

	if (io->type == PLX_BDEV_RESET) {
		reset_begin(ch, io);
		return;
	}
	if (io->type == PLX_BDEV_ABORT) {
		abort_begin(ch, io);
		return;
	}
	if (!plain)
		mod_init(io);
	/* not before those that wait */
	rc = ch->waiting.head ? -EAGAIN : submit(ch, io, plain ? hot_done : cold_done);
	if (plx_unlikely(rc))
		wait_or_fail(io, rc);
}

/* iovcnt, type, check and flags as one word: one buffer, read or write, no checks, no flags */
#define PLAIN_MASK 0x00fffffeffffffffull
_Static_assert(offsetof(struct plx_bdev_io, type) == offsetof(struct plx_bdev_io, iovcnt) + 4 &&
		       PLX_BDEV_READ == 0 && PLX_BDEV_WRITE == 1,
	       "PLAIN_MASK");

static void nvme_submit(struct plx_bdev_io *io)
{
	struct nvme_channel *ch = io->mch;
	uint64_t word;
	int rc;

	memcpy(&word, &io->iovcnt, sizeof(word));
	if (plx_unlikely((word & PLAIN_MASK) != 1 || !ch->fast)) {
		submit_more(io);
		return;
	}
	if (io->type == PLX_BDEV_READ)
		rc = plx_nvme_read(ch->ns, ch->qp, io->iov->iov_base, io->offset,
				   (uint32_t)io->blocks, hot_done, io);
	else
		rc = plx_nvme_write(ch->ns, ch->qp, io->iov->iov_base, io->offset,
				    (uint32_t)io->blocks, hot_done, io);
	if (plx_unlikely(rc))
		wait_or_fail(io, rc);
}

/* ---- channels ---- */

static int ranges_create(struct nvme_channel *ch)
{
	ch->ranges = plx_dma_zalloc(RANGES * sizeof(*ch->ranges), PLX_PAGE_SIZE, ch->nb->bdev.numa);
	if (!ch->ranges)
		return -ENOMEM;
	for (unsigned i = 0; i < RANGES; i++) {
		ch->ranges[i].next = ch->free_range;
		ch->free_range = &ch->ranges[i];
	}
	return 0;
}

/*
 * Set-up calls run the current thread's loop while they wait. Within a callback of whoever opens
 * this channel that would come as a surprise, so there is none meanwhile - but for a controller in
 * this process, which that loop may run.
 */
static struct plx_thread *outside(const struct nvme_channel *ch)
{
	struct plx_thread *t = plx_thread_current();

	if (plx_nvme_ctrlr_trid(ctrlr_of(ch))->trtype != PLX_NVME_TR_VIRTUAL)
		plx_thread_enter(NULL);
	return t;
}

static int qpair_create(struct nvme_channel *ch)
{
	struct plx_thread *t = outside(ch);
	int rc;

	do {
		rc = plx_nvme_ctrlr_settle(ctrlr_of(ch));
		if (!rc) {
			ch->qp = plx_nvme_qpair_create(ctrlr_of(ch), NULL);
			rc = ch->qp ? 0 : -errno;
		}
	} while (rc == -EAGAIN);
	plx_thread_enter(t);
	return rc;
}

static void nvme_channel_destroy(void *ctx, void *mch)
{
	struct nvme_channel *ch = mch;
	struct plx_bdev_io *io;
	struct plx_thread *t;

	plx_poller_destroy(ch->poller);
	ch->poller = NULL;
	while ((io = io_list_pop(&ch->waiting)))
		finish(ch, io, PLX_BDEV_ST_ABORTED);
	t = outside(ch);
	plx_nvme_qpair_destroy(ch->qp);
	plx_dma_free(ch->ranges);
	plx_thread_enter(t);
}

static int nvme_channel_create(void *ctx, void *mch)
{
	struct nvme_channel *ch = mch;
	int rc;

	ch->nb = ctx;
	ch->ns = ch->nb->ns;
	ch->fast = ch->nb->plain;
	io_list_init(&ch->waiting);
	io_list_init(&ch->aborts);
	rc = ranges_create(ch);
	if (!rc)
		rc = qpair_create(ch);
	if (!rc) {
		ch->poller =
			plx_poller_create(channel_poll, ch, ch->nb->ctrlr->settings.io_poll_us);
		rc = ch->poller ? 0 : -ENOMEM;
	}
	if (rc)
		nvme_channel_destroy(ctx, ch);
	return rc;
}

/* ---- the device ---- */

static bool nvme_supports(void *ctx, enum plx_bdev_io_type t)
{
	const struct nvme_bdev *nb = ctx;
	const struct nvme_id_ctrl *id = plx_nvme_ctrlr_data(nb->ctrlr->c);
	bool pi = nb->bdev.dif != PLX_BDEV_DIF_NONE;

	switch (t) {
	case PLX_BDEV_FLUSH:
		return nb->bdev.write_cache;
	case PLX_BDEV_UNMAP:
		return id->oncs & NVME_CTRL_ONCS_DSM;
	case PLX_BDEV_WRITE_ZEROES:
		return id->oncs & NVME_CTRL_ONCS_WRITE_ZEROES;
	case PLX_BDEV_COMPARE:
		/* a buffer of metadata that is not there cannot be compared */
		return (id->oncs & NVME_CTRL_ONCS_COMPARE) && !nb->md_separate;
	case PLX_BDEV_COMPARE_AND_WRITE:
		return (id->fuses & NVME_CTRL_FUSES_COMPARE_AND_WRITE) && !nb->bdev.md_size;
	case PLX_BDEV_VERIFY:
		/* tags that the command would check are not the driver's to name */
		return (id->oncs & NVME_CTRL_ONCS_VERIFY) && !pi;
	case PLX_BDEV_COPY:
		/* reference tags would come along as they are */
		return (id->oncs & NVME_CTRL_ONCS_COPY) && nb->bdev.max_copy_blocks && !pi;
	case PLX_BDEV_READ:
	case PLX_BDEV_WRITE:
	case PLX_BDEV_RESET:
	case PLX_BDEV_ABORT:
		return true;
	default:
		return false;
	}
}

static void nvme_destruct(void *ctx)
{
	struct nvme_bdev *nb = ctx;

	if (nb->ctrlr->thread == plx_thread_current())
		nvme_bdev_gone(nb);
	else
		bdev_send(nb->ctrlr->thread, nvme_bdev_gone, nb);
}

const struct plx_bdev_ops nvme_bdev_ops = {
	.product = "NVMe disk",
	.submit = nvme_submit,
	.supports = nvme_supports,
	.channel_size = sizeof(struct nvme_channel),
	.channel_create = nvme_channel_create,
	.channel_destroy = nvme_channel_destroy,
	.destruct = nvme_destruct,
	.dump_info = nvme_dump_info,
};
