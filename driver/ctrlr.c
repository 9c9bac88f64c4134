/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr.c - controllers: connect, poll, fail, reset, disconnect, properties
 */
#include "driver/ctrlr_internal.h"
#include "driver/dptr.h"
#include <errno.h>
#include <pollux/nvme_memory.h>
#include <pollux/thread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failing and resetting ---- */

void ctrlr_want(struct plx_nvme_qpair *qp, enum nvme_qp_state want)
{
	atomic_store_explicit(&qp->ctl.want, want, memory_order_release);
	qpair_irq_wake(qp);
}

static void disable_now(struct plx_nvme_ctrlr *c)
{
	uint32_t cc = pcie_read32(c->dev, NVME_REG_CC);

	if (cc != UINT32_MAX && NVME_CC_EN(cc))
		pcie_write32(c->dev, NVME_REG_CC,
			     cc & ~((uint32_t)NVME_CC_EN_MASK << NVME_CC_EN_SHIFT));
}

void ctrlr_fail(struct plx_nvme_ctrlr *c, int err, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (ctrlr_state(c) == PLX_NVME_CTRLR_FAILED)
		return;
	n = snprintf(c->failure, sizeof(c->failure), "controller '%s'%s", c->name,
		     *fmt == ':' ? "" : " ");
	va_start(ap, fmt);
	vsnprintf(c->failure + n, sizeof(c->failure) - (size_t)n, fmt, ap);
	va_end(ap);
	nvme_log(ERR, "%s", c->failure);
	c->err = err;
	/* commands are called back now: the device should not touch their memory any more. A reset
	 * of the function sees to that, and who reads a register meanwhile waits for it */
	if (!flr_under_way(c))
		disable_now(c);
	atomic_store_explicit(&c->state, PLX_NVME_CTRLR_FAILED, memory_order_release);
	ctrlr_step_go(c, NVME_STEP_FAILED);
	for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
		ctrlr_want(qp, NVME_QP_FAILED);
	if (c->admin.sq)
		ctrlr_want(&c->admin, NVME_QP_FAILED);
}

void ctrlr_gone(struct plx_nvme_ctrlr *c)
{
	ctrlr_fail(c, -ENODEV, "%s",
		   c->dev->gone ? c->dev->gone : "is gone (registers read as all ones)");
}

int ctrlr_may_reset(const struct plx_nvme_ctrlr *c)
{
	switch (ctrlr_state(c)) {
	case PLX_NVME_CTRLR_READY:
		return 0;
	case PLX_NVME_CTRLR_FAILED:
		return -ENXIO;
	default:
		return -EBUSY;
	}
}

void ctrlr_quiesce(struct plx_nvme_ctrlr *c)
{
	c->stats.resets++;
	atomic_store_explicit(&c->state, PLX_NVME_CTRLR_RESETTING, memory_order_release);
	for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
		ctrlr_want(qp, NVME_QP_QUIESCED);
	ctrlr_step_go(c, NVME_STEP_QUIESCE);
}

void ctrlr_start_reset(struct plx_nvme_ctrlr *c, const char *why)
{
	nvme_log(WARN, "controller '%s': resetting it: %s", c->name, why);
	ctrlr_quiesce(c);
}

int plx_nvme_ctrlr_reset(struct plx_nvme_ctrlr *c)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	rc = ctrlr_may_reset(c);
	if (!rc)
		ctrlr_start_reset(c, "asked for");
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* ---- polling ---- */

/* Under lock. Return: admin completions. */
static int ctrlr_turn(struct plx_nvme_ctrlr *c)
{
	uint64_t now = plx_tsc();
	int n = 0;

	if (c->closing)
		return 0;
	if (c->dev->ops->poll && !flr_under_way(c))
		c->dev->ops->poll(c->dev);
	if (c->share)
		share_turn(c, now);
	if (c->admin.sq)
		n = plx_nvme_qpair_poll(&c->admin, 0);
	if (ctrlr_state(c) == PLX_NVME_CTRLR_FAILED)
		return n > 0 ? n : 0;
	ctrlr_watch(c, now);
	/* no reset helps while one is under way, or before there was anything to reset to */
	if (c->step > NVME_STEP_ENABLE && ctrlr_state(c) != PLX_NVME_CTRLR_READY &&
	    atomic_load_explicit(&c->admin.rsp.wants_reset, memory_order_relaxed) ==
		    NVME_RESET_BAD_CQE)
		ctrlr_fail(c, -EIO, "completes admin commands that it was not given");
	if (ctrlr_state(c) == PLX_NVME_CTRLR_READY)
		ctrlr_tend(c, now);
	ctrlr_advance(c);
	if (c->admin.sq)
		plx_nvme_qpair_flush(&c->admin);
	return n;
}

/* A finished command or an event for the caller. Return: whether there was one. */
static bool deliver_one(struct plx_nvme_ctrlr *c)
{
	struct nvme_admin_req *req = NULL;
	struct plx_nvme_cpl cpl;
	plx_nvme_aer_cb aer_cb = NULL;
	void *aer_arg = NULL;
	bool found = false;

	if (pthread_mutex_trylock(&c->lock))
		return false;
	if (c->done) {
		req = c->done;
		c->done = req->next;
		if (!c->done)
			c->done_tail = &c->done;
		found = true;
	}
	for (unsigned i = 0; i < NVME_MAX_AERS && !found; i++) {
		if (c->aer[i].pending) {
			c->aer[i].pending = false;
			cpl = c->aer[i].cpl;
			aer_cb = c->aer_cb;
			aer_arg = c->aer_arg;
			found = true;
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (req) {
		req->cb(req->arg, &req->cpl);
		free(req);
	} else if (aer_cb) {
		aer_cb(aer_arg, &cpl);
	}
	return found;
}

int plx_nvme_ctrlr_poll(struct plx_nvme_ctrlr *c)
{
	int n;

	/* another thread's set-up call is polling */
	if (pthread_mutex_trylock(&c->lock))
		return 0;
	n = ctrlr_turn(c);
	pthread_mutex_unlock(&c->lock);
	while (deliver_one(c))
		;
	return ctrlr_state(c) == PLX_NVME_CTRLR_FAILED ? -ENXIO : n;
}

void ctrlr_setup_turn(struct plx_nvme_ctrlr *c)
{
	struct plx_thread *t = plx_thread_current();

	pthread_mutex_lock(&c->lock);
	ctrlr_turn(c);
	/* the caller cannot poll its queue pairs while it waits: bring them to rest for it, which
	 * calls nobody back */
	for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
		if (pthread_equal(qp->owner, pthread_self()) && qp->state == NVME_QP_LIVE &&
		    atomic_load_explicit(&qp->ctl.want, memory_order_acquire) == NVME_QP_QUIESCED)
			qpair_attention(qp);
	pthread_mutex_unlock(&c->lock);
	if (t)
		plx_thread_poll(t);
	sched_yield();
}

int plx_nvme_ctrlr_settle(struct plx_nvme_ctrlr *c)
{
	int rc;

	while ((rc = ctrlr_may_reset(c)) == -EBUSY)
		ctrlr_setup_turn(c);
	return rc;
}

/* ---- memory ---- */

uint64_t ctrlr_iova(const struct plx_nvme_ctrlr *c, const void *va, size_t len)
{
	size_t got = len;
	uint64_t iova;

	iova = c->windows.look.look(&c->windows.look, va, &got);
	return got == len ? iova : PLX_IOVA_BAD;
}

static int region_add(struct plx_mem_listener *l, const struct plx_mem_region *r)
{
	struct plx_nvme_ctrlr *c = plx_container_of(l, struct plx_nvme_ctrlr, listener);

	return c->dev->ops->dma_map(c->dev, r);
}

static void region_remove(struct plx_mem_listener *l, const struct plx_mem_region *r)
{
	struct plx_nvme_ctrlr *c = plx_container_of(l, struct plx_nvme_ctrlr, listener);

	if (c->dev->ops->dma_unmap)
		c->dev->ops->dma_unmap(c->dev, r);
}

/* ---- connect ---- */

void plx_nvme_ctrlr_opts_init(struct plx_nvme_ctrlr_opts *opts)
{
	*opts = (struct plx_nvme_ctrlr_opts){
		.size = sizeof(*opts),
		.admin_queue_size = 64,
		.timeout_ms = 30000,
		.admin_timeout_ms = 60000,
		.long_admin_timeout_ms = 600000,
		.host_memory_mb = 64,
		.timeout_action = PLX_NVME_TIMEOUT_ABORT,
		.reset_policy = PLX_NVME_RESET_FAIL_IO,
		.retry_count = 4,
		.share_id = -1,
	};
}

static void take_opts(struct plx_nvme_ctrlr_opts *o, const struct plx_nvme_ctrlr_opts *opts)
{
	plx_nvme_ctrlr_opts_init(o);
	if (opts)
		memcpy(o, opts, opts->size < sizeof(*o) ? opts->size : sizeof(*o));
	if (!o->admin_queue_size)
		o->admin_queue_size = 64;
	if (o->admin_queue_size < 2)
		o->admin_queue_size = 2;
	if (o->admin_queue_size > 4096)
		o->admin_queue_size = 4096;
	if (!o->admin_timeout_ms)
		o->admin_timeout_ms = 60000;
	if (!o->long_admin_timeout_ms)
		o->long_admin_timeout_ms = 600000;
	if (o->long_admin_timeout_ms < o->admin_timeout_ms)
		o->long_admin_timeout_ms = o->admin_timeout_ms;
	if (o->retry_count > UINT8_MAX)
		o->retry_count = UINT8_MAX;
}

/* The device is closed first: it may reach memory until then. */
static void ctrlr_free(struct plx_nvme_ctrlr *c)
{
	flr_wait(c);
	if (c->listening)
		plx_mem_unlisten(&c->listener);
	if (c->share)
		share_end(c);
	if (c->dev) {
		pmr_fini(c);
		cmb_fini(c);
		c->dev->ops->close(c->dev);
	}
	if (c->share)
		share_free(c);
	qpair_fini(&c->admin);
	ctrlr_irq_fini(c);
	plx_dma_free(c->shadow);
	plx_dma_free(c->page);
	plx_dma_free(c->log_page);
	hmb_free(c);
	ns_free_all(c);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct plx_nvme_ctrlr *ctrlr_alloc(const struct plx_nvme_trid *trid,
					  const struct plx_nvme_ctrlr_opts *opts)
{
	struct plx_nvme_ctrlr *c = aligned_alloc(PLX_NO_SHARE, sizeof(*c));

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->trid = *trid;
	c->name = c->trid.traddr[0] ? c->trid.traddr : plx_nvme_trtype_name(trid->trtype);
	take_opts(&c->opts, opts);
	c->tsc_ms = plx_tsc_hz() / 1000;
	c->owner_deadline_ms = NVME_OWNER_DEADLINE_MS;
	c->done_tail = &c->done;
	c->aer_credit = NVME_AER_BURST;
	atomic_init(&c->state, PLX_NVME_CTRLR_CONNECTING);
	return c;
}

/* What the device reaches has to be mapped before it is enabled. Return: 0 or -errno */
static int ctrlr_map_memory(struct plx_nvme_ctrlr *c)
{
	int rc;

	c->identity = !c->dev->iova;
	c->iova = c->dev->iova;
	windows_init(&c->windows, c->dev->iova);
	c->page = plx_dma_zalloc(PLX_PAGE_SIZE, PLX_PAGE_SIZE, c->dev->numa);
	c->log_page = plx_dma_zalloc(PLX_PAGE_SIZE, PLX_PAGE_SIZE, c->dev->numa);
	if (!c->page || !c->log_page)
		return -ENOMEM;
	if (c->dev->ops->dma_map) {
		c->listener =
			(struct plx_mem_listener){ .add = region_add, .remove = region_remove };
		rc = plx_mem_listen(&c->listener);
		if (rc) {
			nvme_log(ERR, "controller '%s': mapping memory for it failed: %s", c->name,
				 strerror(-rc));
			return rc;
		}
		c->listening = true;
	}
	c->page_iova = ctrlr_iova(c, c->page, PLX_PAGE_SIZE);
	c->log_iova = ctrlr_iova(c, c->log_page, PLX_PAGE_SIZE);
	return 0;
}

struct plx_nvme_ctrlr *plx_nvme_connect_start(const struct plx_nvme_trid *trid,
					      const struct plx_nvme_ctrlr_opts *opts)
{
	const struct plx_pcie_backend *b = plx_nvme_find_backend(trid->trtype);
	struct plx_nvme_ctrlr *c;
	int rc;

	if (!b) {
		nvme_log(ERR, "controller '%s': this program has no transport %s", trid->traddr,
			 plx_nvme_trtype_name(trid->trtype));
		errno = EPROTONOSUPPORT;
		return NULL;
	}
	c = ctrlr_alloc(trid, opts);
	if (!c) {
		errno = ENOMEM;
		return NULL;
	}
	rc = c->opts.share_id < 0 ? b->open(&c->trid, &c->dev) : share_open(c, b);
	if (rc) {
		c->dev = NULL;
		if (rc == -ENODEV)
			nvme_log(ERR, "controller '%s': there is no such %s device", c->name,
				 plx_nvme_trtype_name(trid->trtype));
		goto fail;
	}
	quirks_find(c);
	rc = ctrlr_map_memory(c);
	if (rc)
		goto fail;
	ctrlr_irq_init(c);
	ctrlr_step_go(c, NVME_STEP_CAP);
	return c;
fail:
	ctrlr_free(c);
	errno = -rc;
	return NULL;
}

int plx_nvme_connect_poll(struct plx_nvme_ctrlr *c)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	ctrlr_turn(c);
	pthread_mutex_unlock(&c->lock);
	switch (ctrlr_state(c)) {
	case PLX_NVME_CTRLR_FAILED:
		rc = c->err;
		ctrlr_free(c);
		return rc;
	case PLX_NVME_CTRLR_CONNECTING:
		return -EAGAIN;
	default:
		return 0;
	}
}

struct plx_nvme_ctrlr *plx_nvme_connect(const struct plx_nvme_trid *trid,
					const struct plx_nvme_ctrlr_opts *opts)
{
	struct plx_nvme_ctrlr *c = plx_nvme_connect_start(trid, opts);
	struct plx_thread *t = plx_thread_current();
	int rc;

	if (!c)
		return NULL;
	while ((rc = plx_nvme_connect_poll(c)) == -EAGAIN) {
		if (t)
			plx_thread_poll(t);
		sched_yield();
	}
	if (!rc)
		return c;
	errno = -rc;
	return NULL;
}

/* ---- disconnect ---- */

static bool wait_csts(struct plx_nvme_ctrlr *c, uint32_t mask, uint32_t value, uint32_t ms)
{
	uint64_t deadline = plx_tsc() + ms * c->tsc_ms;
	struct plx_thread *t = plx_thread_current();
	uint32_t csts;

	while (((csts = pcie_read32(c->dev, NVME_REG_CSTS)) & mask) != value) {
		if (csts == UINT32_MAX || plx_tsc() > deadline)
			return false;
		if (t)
			plx_thread_poll(t);
		sched_yield();
	}
	return true;
}

/* RTD3E: time for a normal shutdown, microseconds (§5.17.2.1) */
static uint32_t shutdown_ms(const struct plx_nvme_ctrlr *c)
{
	uint32_t ms = c->id.rtd3e / 1000;

	return ms < 5000 ? 5000 : ms < 60000 ? ms : 60000;
}

/* §3.6.1, and disabled after that, so that it forgets its queues */
static void shut_down(struct plx_nvme_ctrlr *c)
{
	uint32_t csts = pcie_read32(c->dev, NVME_REG_CSTS), cc = pcie_read32(c->dev, NVME_REG_CC);
	uint32_t ready_ms = NVME_CAP_TO(c->cap) * 500;

	if (csts == UINT32_MAX)
		return;
	if (NVME_CC_EN(cc) && NVME_CSTS_RDY(csts) && !NVME_CSTS_CFS(csts)) {
		cc &= ~((uint32_t)NVME_CC_SHN_MASK << NVME_CC_SHN_SHIFT);
		pcie_write32(c->dev, NVME_REG_CC,
			     cc | (uint32_t)NVME_CC_SHN_NORMAL << NVME_CC_SHN_SHIFT);
		if (!wait_csts(c, NVME_CSTS_SHST_MASK << NVME_CSTS_SHST_SHIFT,
			       NVME_CSTS_SHST_CMPLT << NVME_CSTS_SHST_SHIFT, shutdown_ms(c)))
			nvme_log(WARN, "controller '%s': its shutdown did not end within %u ms",
				 c->name, shutdown_ms(c));
	}
	disable_now(c);
	wait_csts(c, NVME_CSTS_RDY_MASK << NVME_CSTS_RDY_SHIFT, 0,
		  ready_ms && ready_ms < 5000 ? ready_ms : 5000);
}

void plx_nvme_disconnect(struct plx_nvme_ctrlr *c)
{
	if (!c)
		return;
	while (c->qpairs) {
		nvme_log(ERR,
			 "controller '%s': queue pair %u was not destroyed before disconnecting",
			 c->name, c->qpairs->qid);
		plx_nvme_qpair_destroy(c->qpairs);
	}
	hmb_take_back(c);
	plx_nvme_pmr_disable(c);
	if (c->share)
		share_leave(c);
	pthread_mutex_lock(&c->lock);
	c->closing = true;
	pthread_mutex_unlock(&c->lock);
	flr_wait(c);
	shut_down(c);
	if (c->admin.sq) {
		ctrlr_want(&c->admin, NVME_QP_FAILED);
		qpair_attention(&c->admin);
	}
	atomic_store_explicit(&c->state, PLX_NVME_CTRLR_FAILED, memory_order_release);
	while (deliver_one(c))
		;
	ctrlr_free(c);
}

/* ---- properties ---- */

enum plx_nvme_ctrlr_state plx_nvme_ctrlr_state(const struct plx_nvme_ctrlr *c)
{
	return ctrlr_state(c);
}

const char *plx_nvme_ctrlr_failure(const struct plx_nvme_ctrlr *c)
{
	return ctrlr_state(c) == PLX_NVME_CTRLR_FAILED ? c->failure : "";
}

void plx_nvme_ctrlr_get_stats(const struct plx_nvme_ctrlr *c, struct plx_nvme_ctrlr_stats *out)
{
	*out = (struct plx_nvme_ctrlr_stats){
		.resets = c->stats.resets,
		.timeouts = c->stats.timeouts,
		.aborts_sent = c->stats.aborts_sent,
		.aborts_ok = c->stats.aborts_ok,
		.aers = c->stats.aers,
		.keep_alives = c->stats.keep_alives,
		.failed_ios = c->stats.failed_ios,
	};
}

const struct plx_nvme_trid *plx_nvme_ctrlr_trid(const struct plx_nvme_ctrlr *c)
{
	return &c->trid;
}

const struct nvme_id_ctrl *plx_nvme_ctrlr_data(const struct plx_nvme_ctrlr *c)
{
	return &c->id;
}

uint64_t plx_nvme_ctrlr_cap(const struct plx_nvme_ctrlr *c)
{
	return c->cap;
}

uint32_t plx_nvme_ctrlr_vs(const struct plx_nvme_ctrlr *c)
{
	return c->vs;
}

int plx_nvme_ctrlr_read_register(struct plx_nvme_ctrlr *c, uint32_t offset, unsigned size,
				 uint64_t *value)
{
	if ((size != 4 && size != 8) || offset % size || offset > PLX_NVME_DB_OFFSET - size)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	*value = size == 8 ? pcie_read64(c->dev, offset) : pcie_read32(c->dev, offset);
	pthread_mutex_unlock(&c->lock);
	return ctrlr_state(c) == PLX_NVME_CTRLR_FAILED ? -ENXIO : 0;
}

int plx_nvme_ctrlr_read_config(struct plx_nvme_ctrlr *c, uint32_t offset, void *buf, unsigned len)
{
	int rc;

	if (!c->dev->ops->cfg_read)
		return -ENOTSUP;
	if (offset > 4096 || len > 4096 - offset)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	rc = c->dev->ops->cfg_read(c->dev, offset, buf, len);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

uint32_t plx_nvme_ctrlr_max_io_bytes(const struct plx_nvme_ctrlr *c)
{
	return c->max_io_bytes;
}

uint32_t plx_nvme_ctrlr_max_queue_size(const struct plx_nvme_ctrlr *c)
{
	return c->max_queue_size;
}

uint32_t plx_nvme_ctrlr_num_io_queues(const struct plx_nvme_ctrlr *c)
{
	return c->num_io_queues;
}

int plx_nvme_ctrlr_numa(const struct plx_nvme_ctrlr *c)
{
	return c->dev->numa;
}

enum plx_nvme_iova_mode plx_nvme_ctrlr_iova_mode(const struct plx_nvme_ctrlr *c)
{
	if (!c->dev->iova)
		return PLX_NVME_IOVA_VA;
	return c->dev->iova_is_pa ? PLX_NVME_IOVA_PA : PLX_NVME_IOVA_MAPPED;
}

const char *plx_nvme_iova_mode_name(enum plx_nvme_iova_mode mode)
{
	static const char *const names[] = { "VA", "IOVA", "PA" };

	return (unsigned)mode < PLX_ARRAY_SIZE(names) ? names[mode] : "unknown";
}

void plx_nvme_ctrlr_set_aer_cb(struct plx_nvme_ctrlr *c, plx_nvme_aer_cb cb, void *arg)
{
	pthread_mutex_lock(&c->lock);
	c->aer_cb = cb;
	c->aer_arg = arg;
	pthread_mutex_unlock(&c->lock);
}

PLX_LOG_COMPONENT(nvme)
