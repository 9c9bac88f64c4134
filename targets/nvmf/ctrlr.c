/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/ctrlr.c - a controller: the namespaces it is attached to, asynchronous events, the
 * error log, Keep Alive
 *
 * Detaching is patient: the namespace becomes inactive at once, so that no new command reaches it,
 * those outstanding are aborted, and the channel is put when the last of them is gone.
 */
#include "targets/nvmf/nvmf_admin.h"
#include <errno.h>
#include <stdlib.h>

#define DETACH_LOOK_US 1000

/* ---- namespaces ---- */

static int attach(struct nvmf_ctrlr *c, struct nvmf_ns *ns)
{
	struct nvmf_ctrlr_ns *cns = &c->ns[ns - c->subsystem->ns];
	const struct plx_bdev *b = ns->bdev;
	uint64_t max_nlb = ((uint64_t)PLX_PAGE_SIZE << c->fn->opts.mdts) / plx_bdev_buf_block(b);

	cns->ch = plx_bdev_get_channel(ns->desc);
	if (!cns->ch)
		return -errno;
	cns->nsid = ns->nsid;
	cns->ns = ns;
	cns->blocks = b->blocks;
	cns->block_size = b->block_size;
	cns->md_size = b->md_size;
	cns->xfer_block = plx_bdev_buf_block(b);
	cns->max_nlb = max_nlb < 65536 ? (uint32_t)max_nlb : 65536;
	cns->md_extended = b->md_size && b->md_interleaved;
	cns->pi_type = b->dif;
	cns->pi_first = b->dif_first;
	cns->plain = !b->md_size;
	cns->desc = ns->desc;
	return 0;
}

/*
 * Commands of the namespace that are on a queue: those in use are not on the queue's free list, and
 * only their own SQE says what they are for. @abort asks the bdev to bring them back. Return: how
 * many
 */
static uint32_t ns_outstanding(struct nvmf_ctrlr *c, uint32_t nsid, bool abort)
{
	uint32_t n = 0;

	for (uint32_t qid = 1; qid <= c->fn->opts.max_io_queues; qid++) {
		struct nvmf_sq *sq = c->fn->sqs[qid];
		uint8_t *is_free;

		if (!sq || !sq->outstanding)
			continue;
		is_free = calloc(sq->nreqs, 1);
		if (!is_free)
			return 1; /* not known: look again later */
		for (struct nvmf_req *r = sq->free; r; r = r->next)
			is_free[r - sq->reqs] = 1;
		for (uint32_t i = 0; i < sq->nreqs; i++) {
			const struct nvmf_req *r = &sq->reqs[i];

			if (is_free[i] || r->posted || r->cmd.nsid != nsid)
				continue;
			n++;
			if (abort)
				nvmf_fn_abort(c->fn, (uint16_t)qid, r->cmd.cid);
		}
		free(is_free);
	}
	return n;
}

static void detach_finish(struct nvmf_ctrlr_ns *cns)
{
	struct nvmf_ns *ns = cns->ns;

	plx_bdev_put_channel(cns->ch);
	memset(cns, 0, sizeof *cns);
	nvmf_ns_put(ns);
}

static int detach_look(void *arg)
{
	struct nvmf_ctrlr *c = arg;
	bool waiting = false;

	for (uint32_t i = 0; i < c->nn; i++) {
		struct nvmf_ctrlr_ns *cns = &c->ns[i];

		if (!cns->ns || cns->desc)
			continue;
		if (ns_outstanding(c, i + 1, false) || c->fn->flushes || c->fn->bdev_resets)
			waiting = true;
		else
			detach_finish(cns);
	}
	if (waiting)
		return 0;
	plx_poller_destroy(c->admin->detach);
	c->admin->detach = NULL;
	return 1;
}

static void detach_start(struct nvmf_ctrlr *c, struct nvmf_ctrlr_ns *cns)
{
	ns_outstanding(c, cns->nsid, true);
	cns->desc = NULL;
	cns->plain = 0;
	cns->blocks = 0;
}

static void ns_changed(struct nvmf_ctrlr *c, uint32_t i)
{
	c->admin->changed[i / 64] |= 1ull << (i % 64);
	nvmf_ctrlr_event(c, NVME_AER_NOTICE, NVME_AER_NOTICE_NS_CHANGED, NVME_LOG_LID_CHANGED_NS);
}

static void sync_ns(struct nvmf_ctrlr *c, uint32_t i)
{
	struct nvmf_ns *ns = &c->subsystem->ns[i];
	struct nvmf_ctrlr_ns *cns = &c->ns[i];

	if (!cns->ns) {
		int rc;

		if (!nvmf_ns_get(ns))
			return;
		rc = attach(c, ns);
		if (rc) {
			nvmf_log(ERR, "%s: controller %u cannot attach namespace %u: %s",
				 c->subsystem->nqn, c->cntlid, i + 1, strerror(-rc));
			nvmf_ns_put(ns);
			return;
		}
		ns_changed(c, i);
	} else if (cns->desc && !nvmf_ns_active(ns)) {
		detach_start(c, cns);
		ns_changed(c, i);
	} else if (cns->desc && cns->blocks != ns->bdev->blocks) {
		cns->blocks = ns->bdev->blocks;
		ns_changed(c, i);
	}
}

static void sync_all(struct nvmf_ctrlr *c)
{
	bool detaching = false;

	for (uint32_t i = 0; i < c->nn; i++) {
		sync_ns(c, i);
		detaching |= c->ns[i].ns && !c->ns[i].desc;
	}
	if (!detaching || c->admin->detach)
		return;
	c->admin->detach = plx_poller_create(detach_look, c, DETACH_LOOK_US);
	detach_look(c);
}

void nvmf_ctrlr_hold(struct nvmf_ctrlr *c)
{
	atomic_fetch_add_explicit(&c->admin->holds, 1, memory_order_relaxed);
}

static void ctrlr_free(struct nvmf_ctrlr *c)
{
	if (c->admin) {
		free(c->admin->tler);
		free(c->admin->vector_cd);
	}
	free(c->admin);
	free(c->ns);
	free(c);
}

void nvmf_ctrlr_sync(void *arg)
{
	struct nvmf_ctrlr *c = arg;
	uint32_t left = atomic_fetch_sub_explicit(&c->admin->holds, 1, memory_order_acq_rel) - 1;

	if (!c->admin->destroyed)
		sync_all(c);
	else if (!left)
		ctrlr_free(c);
}

/* ---- life ---- */

struct nvmf_ctrlr *nvmf_ctrlr_create(struct plx_nvmf_subsystem *s, struct nvmf_fn *fn)
{
	struct nvmf_ctrlr *c = calloc(1, sizeof *c);
	void *ns = NULL;

	if (!c)
		return NULL;
	c->admin = calloc(1, sizeof *c->admin);
	if (c->admin) {
		c->admin->tler = calloc(s->max_ns, sizeof *c->admin->tler);
		c->admin->vector_cd = calloc(fn->opts.max_io_queues + 1, 1);
	}
	if (!c->admin || !c->admin->tler || !c->admin->vector_cd ||
	    posix_memalign(&ns, PLX_CACHE_LINE, s->max_ns * sizeof *c->ns))
		goto nomem;
	c->ns = ns;
	memset(c->ns, 0, s->max_ns * sizeof *c->ns);
	c->nn = s->max_ns;
	c->fn = fn;
	c->subsystem = s;
	c->thread = fn->thread;
	c->admin->created_tsc = plx_tsc();
	nvmf_features_reset(c);
	if (nvmf_subsystem_add_ctrlr(s, c)) {
		ctrlr_free(c);
		errno = ENOSPC;
		return NULL;
	}
	/*
	 * in the list first: a namespace added meanwhile is found here, or by the message it sends
	 */
	sync_all(c);
	return c;
nomem:
	ctrlr_free(c);
	errno = ENOMEM;
	return NULL;
}

void nvmf_ctrlr_destroy(struct nvmf_ctrlr *c)
{
	plx_poller_destroy(c->admin->detach);
	plx_poller_destroy(c->admin->keep_alive);
	nvmf_health_disable(c);
	nvmf_health_leave(c);
	for (uint32_t i = 0; i < c->nn; i++) {
		if (c->ns[i].ns)
			detach_finish(&c->ns[i]);
	}
	nvmf_subsystem_remove_ctrlr(c->subsystem, c);
	c->admin->destroyed = true;
	/* out of the list, so nobody takes another hold */
	if (!atomic_load_explicit(&c->admin->holds, memory_order_acquire))
		ctrlr_free(c);
}

void nvmf_ctrlr_enable(struct nvmf_ctrlr *c)
{
	nvmf_log(DEBUG, "%s: controller %u is enabled", c->subsystem->nqn, c->cntlid);
	nvmf_features_reset(c);
	c->admin->naers = c->admin->nevents = 0;
	c->admin->masked = 0;
	memset(c->admin->changed, 0, sizeof c->admin->changed);
	nvmf_health_enable(c);
	c->enabled = true;
}

void nvmf_ctrlr_disable(struct nvmf_ctrlr *c)
{
	struct nvmf_admin *a = c->admin;

	nvmf_log(DEBUG, "%s: controller %u is disabled", c->subsystem->nqn, c->cntlid);
	c->enabled = false;
	nvmf_health_disable(c);
	plx_poller_destroy(a->keep_alive);
	a->keep_alive = NULL;
	while (a->naers)
		nvmf_req_complete(a->aers[--a->naers], NVMF_ST(NVME_SC_ABORT_QUEUE));
}

/* ---- asynchronous events (§5.2) ---- */

/*
 * Each event type is reported once, then masked until the host reads the log page that goes with it
 */
static void events_report(struct nvmf_ctrlr *c)
{
	struct nvmf_admin *a = c->admin;
	uint32_t i = 0;

	while (i < a->nevents && a->naers) {
		struct nvmf_event e = a->events[i];
		struct nvmf_req *req;

		if (a->masked >> e.type & 1) {
			i++;
			continue;
		}
		a->nevents--;
		memmove(&a->events[i], &a->events[i + 1], (a->nevents - i) * sizeof e);
		a->masked |= 1u << e.type;
		a->masked_lid[e.type] = e.lid;
		req = a->aers[0];
		a->naers--;
		memmove(&a->aers[0], &a->aers[1], a->naers * sizeof req);
		req->dw0 = e.type | (uint32_t)e.info << 8 | (uint32_t)e.lid << 16;
		nvmf_req_complete(req, 0);
	}
}

static bool event_enabled(const struct nvmf_ctrlr *c, uint8_t type, uint8_t info)
{
	uint32_t config = c->admin->features.async_event;

	switch (type) {
	case NVME_AER_SMART:
		return info == NVME_AER_SMART_TEMPERATURE_THRESHOLD &&
		       (config & NVME_FEATURE_AENCFG_SMART_CRIT_TEMPERATURE);
	case NVME_AER_NOTICE:
		return info == NVME_AER_NOTICE_NS_CHANGED &&
		       (config & NVME_FEATURE_AENCFG_NOTICE_NAMESPACE_ATTRIBUTES);
	default:
		return true;
	}
}

void nvmf_ctrlr_event(struct nvmf_ctrlr *c, uint8_t type, uint8_t info, uint8_t lid)
{
	struct nvmf_admin *a = c->admin;

	if (!c->enabled || !event_enabled(c, type, info))
		return;
	for (uint32_t i = 0; i < a->nevents; i++) {
		if (a->events[i].type == type && a->events[i].info == info &&
		    a->events[i].lid == lid)
			return;
	}
	if (a->nevents == NVMF_EVENTS)
		return;
	a->events[a->nevents++] = (struct nvmf_event){ .type = type & 7, .info = info, .lid = lid };
	events_report(c);
}

void nvmf_event_clear(struct nvmf_ctrlr *c, uint8_t lid)
{
	struct nvmf_admin *a = c->admin;

	for (uint32_t type = 0; type < 8; type++) {
		if (a->masked_lid[type] == lid)
			a->masked &= ~(1u << type);
	}
	events_report(c);
}

void nvmf_aer(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	struct nvmf_admin *a = c->admin;

	if (a->naers == NVMF_MAX_AER) {
		nvmf_req_complete(req, NVMF_ST_DNR(NVMF_ST_CS(NVME_SC_ASYNC_LIMIT)));
		return;
	}
	a->aers[a->naers++] = req;
	events_report(c);
}

bool nvmf_ctrlr_abort_aer(struct nvmf_ctrlr *c, uint16_t cid)
{
	struct nvmf_admin *a = c->admin;

	for (uint32_t i = 0; i < a->naers; i++) {
		struct nvmf_req *req = a->aers[i];

		if (req->cmd.cid != cid)
			continue;
		a->naers--;
		memmove(&a->aers[i], &a->aers[i + 1], (a->naers - i) * sizeof req);
		nvmf_req_complete(req, NVMF_ST(NVME_SC_ABORT_REQ));
		return true;
	}
	return false;
}

/* ---- the error log (§5.16.1.2) ---- */

static struct nvme_error_log_page *error_next(struct nvmf_admin *a)
{
	struct nvme_error_log_page *e = &a->errors[a->error_count++ % NVMF_ERROR_ENTRIES];

	memset(e, 0, sizeof *e);
	e->error_count = a->error_count;
	e->parm_error_location = 0xffff;
	return e;
}

void nvmf_ctrlr_log_error(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_admin *a = req->sq->ctrlr->admin;
	struct nvme_error_log_page *e = error_next(a);

	e->sqid = req->sq->qid;
	e->cmdid = req->cmd.cid;
	e->status_field = (uint16_t)(status << 1);
	e->nsid = req->cmd.nsid;
	if (req->sq->qid)
		e->lba = req->cmd.slba;
	if ((status >> NVME_SCT_SHIFT & NVME_SCT_MASK) == NVME_SCT_MEDIA)
		a->media_errors++;
}

/* ---- Keep Alive (§3.9, §5.27.1.12) ---- */

/*
 * §3.9.4.1: over a memory-based transport the controller reports a fatal status and takes no more
 * commands
 */
static void keep_alive_expired(struct nvmf_ctrlr *c)
{
	struct nvme_error_log_page *e = error_next(c->admin);

	e->sqid = e->cmdid = 0xffff;
	e->status_field = NVMF_ST(NVME_SC_KAT_EXPIRED) << 1;
	e->nsid = NVME_NSID_ALL;
	c->fn->nactive = 0;
	c->fn->csts |= 1u << NVME_CSTS_CFS_SHIFT;
	nvmf_log(ERR,
		 "%s: controller %u: no Keep Alive for %u ms: controller fatal status until it is "
		 "reset",
		 c->subsystem->nqn, c->cntlid, c->admin->features.kato_ms);
}

static int keep_alive_look(void *arg)
{
	struct nvmf_ctrlr *c = arg;
	struct nvmf_admin *a = c->admin;
	uint64_t limit = plx_tsc_hz() * a->features.kato_ms / 1000;

	if (plx_tsc() - a->kept_alive_tsc < limit)
		return 0;
	plx_poller_destroy(a->keep_alive);
	a->keep_alive = NULL;
	keep_alive_expired(c);
	return 1;
}

int nvmf_keep_alive_set(struct nvmf_ctrlr *c)
{
	struct nvmf_admin *a = c->admin;

	a->kept_alive_tsc = plx_tsc();
	if (!a->features.kato_ms) {
		plx_poller_destroy(a->keep_alive);
		a->keep_alive = NULL;
	} else if (!a->keep_alive) {
		a->keep_alive = plx_poller_create(keep_alive_look, c, NVMF_KAS_MS * 1000);
		if (!a->keep_alive)
			return -ENOMEM;
	}
	return 0;
}
