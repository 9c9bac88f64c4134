/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/pcie.c - the virtual PCIe function: registers, enable, reset, shutdown
 *
 * Register semantics are NVMe Base 2.0c §3.1.3 and NVMe over PCIe Transport 1.0c §3.1. Writes
 * arrive in the function's thread; what takes time (reset waits for outstanding commands, shutdown
 * flushes caches) goes on in nvmf_fn_attend().
 */
#include "targets/nvmf/nvmf_internal.h"
#include <errno.h>
#include <stdlib.h>

#define FN_CAP_TO	  20u /* 500 ms units: ready or not within 10 s */
#define FN_VS		  0x00020000u /* 2.0 */
#define FN_MAX_QUEUE_SIZE 1024u /* where the user does not say */
#define FN_MDTS		  5u /* 128 KiB, likewise */
/* commands that outlive their abort by so long are ended by a bdev reset */
#define FN_RESET_PATIENCE_S 1

static uint64_t fn_cap(const struct nvmf_fn_opts *o)
{
	return (uint64_t)(o->max_queue_size - 1) | 1ull << NVME_CAP_CQR_SHIFT |
	       (uint64_t)NVME_CAP_AMS_WRR << NVME_CAP_AMS_SHIFT |
	       (uint64_t)FN_CAP_TO << NVME_CAP_TO_SHIFT |
	       (uint64_t)o->dstrd << NVME_CAP_DSTRD_SHIFT |
	       (uint64_t)(NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI) << NVME_CAP_CSS_SHIFT |
	       (uint64_t)NVME_CAP_CRWMS << NVME_CAP_CRMS_SHIFT; /* MPSMIN = MPSMAX = 4 KiB */
}

int nvmf_fn_opts_check(uint32_t max_io_queues, uint32_t max_queue_size, uint32_t mdts)
{
	return max_io_queues > NVMF_MAX_IOQ || max_queue_size == 1 || max_queue_size > 65536 ||
			       mdts > NVMF_MDTS_MAX
		       ? -EINVAL
		       : 0;
}

void nvmf_fn_opts_fill(struct nvmf_fn_opts *o, uint32_t max_io_queues, uint32_t max_queue_size,
		       uint32_t mdts)
{
	o->max_io_queues = max_io_queues ? max_io_queues : NVMF_MAX_IOQ;
	o->max_queue_size = max_queue_size ? max_queue_size : FN_MAX_QUEUE_SIZE;
	o->mdts = mdts ? mdts : FN_MDTS;
}

int nvmf_fn_init(struct nvmf_fn *fn, struct plx_nvmf_subsystem *s, struct plx_thread *thread,
		 const struct nvmf_fn_opts *opts)
{
	memset(fn, 0, sizeof *fn);
	fn->opts = *opts;
	fn->thread = thread;
	fn->group = nvmf_group_of(thread);
	fn->burst = UINT32_MAX;
	fn->cap = fn_cap(opts);
	fn->vs = FN_VS;
	pthread_mutex_init(&fn->region_lock, NULL);
	fn->sqs = calloc(opts->max_io_queues + 1, sizeof *fn->sqs);
	fn->cqs = calloc(opts->max_io_queues + 1, sizeof *fn->cqs);
	fn->active = calloc(opts->max_io_queues + 1, sizeof *fn->active);
	fn->regions = calloc(NVMF_MAX_REGIONS, sizeof *fn->regions);
	fn->sink = calloc(1, NVMF_SINK_SIZE); /* untouched until used */
	if (!fn->sqs || !fn->cqs || !fn->active || !fn->regions || !fn->sink)
		goto nomem;
	fn->ctrlr = nvmf_ctrlr_create(s, fn);
	if (!fn->ctrlr)
		goto nomem;
	fn->poller = plx_poller_create(nvmf_fn_poll, fn, 0);
	if (!fn->poller) {
		nvmf_ctrlr_destroy(fn->ctrlr);
		goto nomem;
	}
	return 0;
nomem:
	free(fn->sink);
	free(fn->regions);
	free(fn->active);
	free(fn->cqs);
	free(fn->sqs);
	pthread_mutex_destroy(&fn->region_lock);
	return -ENOMEM;
}

/* Outstanding commands of all queues; AERs wait in the controller and are not counted once it is
 * disabled */
static uint32_t fn_outstanding(const struct nvmf_fn *fn)
{
	uint32_t n = 0;

	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++)
		n += fn->sqs[qid] ? fn->sqs[qid]->outstanding : 0;
	return n + nvmf_remote_outstanding(fn);
}

static void fn_free_queues(struct nvmf_fn *fn)
{
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		if (fn->sqs[qid])
			nvmf_sq_free(fn->sqs[qid]);
	}
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		if (fn->cqs[qid])
			nvmf_cq_free(fn->cqs[qid]);
	}
	fn->dbbuf_shadow = fn->dbbuf_eventidx = 0;
	fn->dbbuf_parked = fn->parked = false;
}

static void fn_kill_queues(struct nvmf_fn *fn)
{
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		if (fn->sqs[qid])
			nvmf_sq_kill(fn->sqs[qid]);
	}
}

/* ---- enable and disable (§3.5.1, §3.7.2) ---- */

static void fn_fatal(struct nvmf_fn *fn, const char *why)
{
	nvmf_log(ERR, "%s: controller fatal status: %s", fn->ctrlr->subsystem->nqn, why);
	fn->csts |= 1u << NVME_CSTS_CFS_SHIFT;
}

static void fn_enable(struct nvmf_fn *fn)
{
	uint32_t asqs = (fn->aqa & 0xfff) + 1, acqs = (fn->aqa >> 16 & 0xfff) + 1;
	uint32_t css = NVME_CC_CSS(fn->cc);
	struct nvmf_cq *cq;

	if (NVME_CC_MPS(fn->cc) || NVME_CC_AMS(fn->cc) > NVME_CC_AMS_WRRU ||
	    (css != NVME_CC_CSS_NVM && css != NVME_CC_CSS_CSI)) {
		fn_fatal(fn, "CC asks for a page size, arbitration or command set that CAP does "
			     "not offer");
		return;
	}
	if (asqs < 2 || acqs < 2 || (fn->asq | fn->acq) & (PLX_PAGE_SIZE - 1)) {
		fn_fatal(fn, "admin queue of one entry or not page aligned (AQA, ASQ, ACQ)");
		return;
	}
	cq = nvmf_cq_create(fn, 0, acqs, fn->acq);
	if (!cq || !nvmf_sq_create(fn, 0, asqs, fn->asq, cq)) {
		if (cq)
			nvmf_cq_free(cq);
		fn_fatal(fn, "admin queue outside of the host's memory (ASQ, ACQ)");
		return;
	}
	cq->irq_enabled = true;
	nvmf_ctrlr_enable(fn->ctrlr);
	nvmf_arb_reset(fn, NVME_CC_AMS(fn->cc) == NVME_CC_AMS_WRRU);
	fn->csts |= NVME_CSTS_RDY_MASK;
}

static void bdev_reset_done(struct plx_bdev_io *io, void *arg)
{
	struct nvmf_fn *fn = arg;

	fn->bdev_resets--;
}

static void fn_reset_bdevs(struct nvmf_fn *fn)
{
	struct nvmf_ctrlr *c = fn->ctrlr;

	fn->resetting_bdevs = 1;
	for (uint32_t i = 0; i < c->nn; i++) {
		if (!c->ns[i].desc)
			continue;
		nvmf_log(WARN, "%s: commands outlived their abort: resetting namespace %u",
			 c->subsystem->nqn, i + 1);
		if (!plx_bdev_reset(c->ns[i].desc, c->ns[i].ch, bdev_reset_done, fn))
			fn->bdev_resets++;
	}
}

static void fn_disable(struct nvmf_fn *fn)
{
	/* a host may set EN again before the reset is complete */
	fn->csts &= ~(1u << NVME_CSTS_CFS_SHIFT);
	fn->disabling = 1;
	fn->resetting_bdevs = 0;
	fn->disable_tsc = plx_tsc();
	fn->attention = 1;
	fn_kill_queues(fn);
	nvmf_ctrlr_disable(fn->ctrlr);
}

static void fn_disable_step(struct nvmf_fn *fn)
{
	if (fn_outstanding(fn) || fn->bdev_resets) {
		fn->attention = 1;
		if (!fn->resetting_bdevs &&
		    plx_tsc() - fn->disable_tsc > FN_RESET_PATIENCE_S * plx_tsc_hz())
			fn_reset_bdevs(fn);
		return;
	}
	fn_free_queues(fn);
	fn->disabling = 0;
	fn->shutting_down = 0;
	/* §3.7.2: everything but AQA, ASQ and ACQ is back at its reset value */
	fn->csts = 0;
	if (fn->cc & NVME_CC_EN_MASK)
		fn_enable(fn);
}

/* ---- shutdown (§3.6.1) ---- */

static void flush_done(struct plx_bdev_io *io, void *arg)
{
	struct nvmf_fn *fn = arg;

	fn->flushes--;
	fn->attention = 1;
}

static void fn_shutdown(struct nvmf_fn *fn)
{
	struct nvmf_ctrlr *c = fn->ctrlr;

	if (fn->shutting_down)
		return;
	fn->shutting_down = 1;
	fn->attention = 1;
	nvmf_health_shutdown(c);
	fn->csts = (fn->csts & ~(NVME_CSTS_SHST_MASK << NVME_CSTS_SHST_SHIFT)) |
		   NVME_CSTS_SHST_OCCUR << NVME_CSTS_SHST_SHIFT;
	for (uint32_t i = 0; i < c->nn; i++) {
		struct nvmf_ctrlr_ns *ns = &c->ns[i];

		if (ns->desc && ns->ns->bdev->write_cache &&
		    !plx_bdev_flush(ns->desc, ns->ch, 0, ns->blocks, flush_done, fn))
			fn->flushes++;
	}
}

static void fn_shutdown_step(struct nvmf_fn *fn)
{
	if (fn->flushes) {
		fn->attention = 1;
		return;
	}
	fn->csts = (fn->csts & ~(NVME_CSTS_SHST_MASK << NVME_CSTS_SHST_SHIFT)) |
		   NVME_CSTS_SHST_CMPLT << NVME_CSTS_SHST_SHIFT;
}

/* ---- each turn's rare things ---- */

plx_noinline void nvmf_fn_attend(struct nvmf_fn *fn)
{
	uint32_t gen = atomic_load_explicit(&fn->region_gen, memory_order_acquire);

	if (gen != fn->region_gen_seen) {
		fn->region_gen_seen = gen;
		fn->last.len = 0;
		fn->resolve = true;
	}
	fn->attention = fn->arb.weighted;
	if (atomic_load_explicit(&fn->vanished, memory_order_relaxed) == 1) {
		/* like a card pulled out: nothing is fetched and nothing completes any more */
		fn_kill_queues(fn);
		fn->nactive = 0;
		atomic_store_explicit(&fn->vanished, 2, memory_order_relaxed);
	}
	if (fn->parked)
		nvmf_fn_attend_parked(fn);
	nvmf_fn_attend_queues(fn);
	if (fn->disabling)
		fn_disable_step(fn);
	else if (fn->shutting_down && NVME_CSTS_SHST(fn->csts) == NVME_CSTS_SHST_OCCUR)
		fn_shutdown_step(fn);
}

/* ---- registers ---- */

static void write_cc(struct nvmf_fn *fn, uint32_t v)
{
	uint32_t old = fn->cc;

	fn->cc = v & 0x01fffff1;
	if (!(old & NVME_CC_EN_MASK) && (v & NVME_CC_EN_MASK)) {
		if (!fn->disabling)
			fn_enable(fn);
	} else if ((old & NVME_CC_EN_MASK) && !(v & NVME_CC_EN_MASK)) {
		fn_disable(fn);
	}
	if (NVME_CC_SHN(v) && !NVME_CC_SHN(old))
		fn_shutdown(fn);
}

/* A register of 8 bytes may be written in halves (§3.1.3) */
static void write_half(uint64_t *reg, uint64_t value, bool high, unsigned size, uint64_t mask)
{
	if (size == 8)
		*reg = value;
	else if (high)
		*reg = (*reg & UINT32_MAX) | value << 32;
	else
		*reg = (*reg & ~(uint64_t)UINT32_MAX) | (uint32_t)value;
	*reg &= mask;
}

void nvmf_fn_reg_write(struct nvmf_fn *fn, uint32_t offset, uint64_t value, unsigned size)
{
	/* AQA, ASQ, ACQ must not change while enabled */
	bool admin_fixed = fn->cc & NVME_CC_EN_MASK;

	if (atomic_load_explicit(&fn->vanished, memory_order_relaxed))
		return;
	switch (offset) {
	case NVME_REG_INTMS:
		fn->intms |= value;
		break;
	case NVME_REG_INTMC:
		fn->intms &= ~value;
		break;
	case NVME_REG_CC:
		write_cc(fn, (uint32_t)value);
		break;
	case NVME_REG_AQA:
		if (!admin_fixed)
			fn->aqa = value & 0x0fff0fff;
		break;
	case NVME_REG_ASQ:
	case NVME_REG_ASQ + 4:
		if (!admin_fixed)
			write_half(&fn->asq, value, offset & 4, size, ~0xfffull);
		break;
	case NVME_REG_ACQ:
	case NVME_REG_ACQ + 4:
		if (!admin_fixed)
			write_half(&fn->acq, value, offset & 4, size, ~0xfffull);
		break;
	default: /* read-only, reserved, or not implemented (CAP says so): writes are dropped */
		break;
	}
}

static uint64_t reg_at(const struct nvmf_fn *fn, uint32_t base)
{
	switch (base) {
	case NVME_REG_CAP:
		return fn->cap;
	case NVME_REG_VS:
		return fn->vs | (uint64_t)fn->intms << 32;
	case 0x10: /* INTMC reads as INTMS, CC */
		return fn->intms | (uint64_t)fn->cc << 32;
	case 0x18: /* reserved, CSTS */
		return (uint64_t)fn->csts << 32;
	case 0x20: /* NSSR, AQA */
		return (uint64_t)fn->aqa << 32;
	case NVME_REG_ASQ:
		return fn->asq;
	case NVME_REG_ACQ:
		return fn->acq;
	case NVME_REG_CRTO: /* CRWMT: as CAP.TO */
		return FN_CAP_TO;
	default:
		return 0;
	}
}

uint64_t nvmf_fn_reg_read(struct nvmf_fn *fn, uint32_t offset, unsigned size)
{
	uint64_t v;

	if (atomic_load_explicit(&fn->vanished, memory_order_relaxed))
		return size == 8 ? UINT64_MAX : UINT32_MAX;
	v = reg_at(fn, offset & ~7u);
	if (size == 8)
		return v;
	return offset & 4 ? v >> 32 : v & UINT32_MAX;
}

void nvmf_fn_die(struct nvmf_fn *fn, const char *why)
{
	fn_fatal(fn, why);
	fn_kill_queues(fn);
}

void nvmf_fn_reset(struct nvmf_fn *fn)
{
	fn->cc = fn->aqa = fn->intms = 0;
	fn->asq = fn->acq = 0;
	if (!fn->disabling)
		fn_disable(fn);
}

bool nvmf_fn_is_reset(const struct nvmf_fn *fn)
{
	return !fn->disabling && !fn->flushes;
}

void nvmf_fn_halt(struct nvmf_fn *fn)
{
	plx_poller_destroy(fn->poller);
	fn->poller = NULL;
	fn_kill_queues(fn);
	/* completions that waited for room in their queue: no poll comes to them any more */
	nvmf_fn_attend_queues(fn);
	nvmf_ctrlr_disable(fn->ctrlr);
}

void nvmf_fn_stop(struct nvmf_fn *fn)
{
	if (fn->poller)
		nvmf_fn_halt(fn);
	if (fn_outstanding(fn) && !fn->bdev_resets)
		fn_reset_bdevs(fn);
}

bool nvmf_fn_stopped(const struct nvmf_fn *fn)
{
	return !fn_outstanding(fn) && !fn->bdev_resets && !fn->flushes;
}

uint64_t nvmf_fn_completed(const struct nvmf_fn *fn, bool admin)
{
	uint64_t n = admin ? fn->completed_admin : fn->completed_io;
	uint32_t first = admin ? 0 : 1, last = admin ? 0 : fn->opts.max_io_queues;

	for (uint32_t qid = first; qid <= last; qid++)
		n += fn->cqs[qid] ? nvmf_cq_posted(fn->cqs[qid]) : 0;
	return n;
}

void nvmf_fn_fini(struct nvmf_fn *fn)
{
	if (fn->poller)
		nvmf_fn_stop(fn);
	/* the bdevs bring every command back now; their pollers run in this very thread */
	while (!nvmf_fn_stopped(fn))
		plx_thread_poll(fn->thread);
	fn_free_queues(fn);
	nvmf_remote_fini(fn);
	if (fn->group)
		nvmf_count(&fn->group->completed_io, (int64_t)fn->completed_io);
	nvmf_ctrlr_destroy(fn->ctrlr);
	free(fn->sink);
	free(fn->regions);
	free(fn->active);
	free(fn->cqs);
	free(fn->sqs);
	pthread_mutex_destroy(&fn->region_lock);
}
