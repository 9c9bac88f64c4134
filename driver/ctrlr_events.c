/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_events.c - what a ready controller needs: its status watched, requests of queue
 * pairs carried out, Keep Alive, asynchronous events
 */
#include "driver/ctrlr_steps.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- CSTS ---- */

static void ctrlr_fatal(struct plx_nvme_ctrlr *c, uint64_t now)
{
	if (c->fatal_tsc && now - c->fatal_tsc < NVME_FATAL_WINDOW_MS * c->tsc_ms) {
		ctrlr_stuck(c, -EIO,
			    "reports a fatal status (CSTS.CFS) again, right after a reset");
		return;
	}
	c->fatal_tsc = now;
	ctrlr_start_reset(c, "it reports a fatal status (CSTS.CFS)");
}

/* While it is being set up: its commands would come back as late as their deadline. Twice, as the
 * first look may have been taken before it was enabled (struct plx_pcie_backend.watch). */
static void watch_setup(struct plx_nvme_ctrlr *c, uint32_t csts)
{
	bool well = c->step <= NVME_STEP_ENABLE || (NVME_CSTS_RDY(csts) && !NVME_CSTS_CFS(csts));

	c->unwell = well ? 0 : c->unwell + 1;
	if (c->unwell < 2)
		return;
	c->unwell = 0;
	if (NVME_CSTS_CFS(csts))
		ctrlr_stuck(c, -EIO, "reports a fatal status (CSTS.CFS) while it is being set up");
	else
		ctrlr_stuck(c, -EIO,
			    "is not ready any more (CSTS.RDY is 0) while it is being set up");
}

/* Somebody else's reset came into the middle of ours, or of connecting: from the beginning */
static void start_over(struct plx_nvme_ctrlr *c)
{
	if (c->step <= NVME_STEP_ENABLE)
		return;
	if (ctrlr_state(c) == PLX_NVME_CTRLR_RESETTING) {
		ctrlr_start_reset(c, c->dev->reset_by);
		return;
	}
	step_rewind_admin(c);
	ctrlr_step_go(c, NVME_STEP_DISABLE);
}

void ctrlr_watch(struct plx_nvme_ctrlr *c, uint64_t now)
{
	uint32_t csts;

	/* what it looks like before its function has been reset is known */
	if ((int64_t)(now - c->alive_tsc) < 0 || c->flr.wanted ||
	    c->step == NVME_STEP_FUNCTION_RESET)
		return;
	c->alive_tsc = now + NVME_ALIVE_PERIOD_MS * c->tsc_ms;
	if (!c->dev->ops->watch)
		csts = pcie_read32(c->dev, NVME_REG_CSTS);
	else if (!c->dev->ops->watch(c->dev, &csts))
		return;
	if (csts == UINT32_MAX)
		ctrlr_absent(c);
	else if (ctrlr_state(c) != PLX_NVME_CTRLR_READY && !NVME_CSTS_RDY(csts) && c->dev->reset_by)
		start_over(c);
	else if (ctrlr_state(c) != PLX_NVME_CTRLR_READY)
		watch_setup(c, csts);
	else if (NVME_CSTS_CFS(csts))
		ctrlr_fatal(c, now);
	else if (!NVME_CSTS_RDY(csts))
		ctrlr_start_reset(c, c->dev->reset_by ? c->dev->reset_by
						      : "it was disabled by somebody else "
							"(CSTS.RDY is 0)");
}

/* ---- what queue pairs ask for ---- */

/* Abort, §5.1: bit 0 of the result is 0 when the command was aborted */
static void abort_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_ctrlr *c = arg;

	c->aborts_sent--;
	if (plx_nvme_ok(cpl) && !(cpl->dw0 & 1))
		c->stats.aborts_ok++;
}

static void send_abort(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp, uint32_t wanted)
{
	uint32_t cid = wanted & 0xffff;
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_abort_cmd, .cdw10 = cid << 16 | qp->qid };

	/* ACL is 0-based */
	if (c->aborts_sent > c->id.acl || admin_submit(c, &cmd, abort_done, c))
		return;
	c->aborts_sent++;
	c->stats.aborts_sent++;
	if (!(wanted & NVME_ABORT_ASKED)) {
		c->stats.timeouts++;
		nvme_log(WARN,
			 "controller '%s': queue pair %u: command %u takes longer than %u ms: "
			 "aborting it",
			 c->name, qp->qid, cid, c->opts.timeout_ms);
	}
	atomic_store_explicit(&qp->rsp.abort_cid, NVME_NO_CID, memory_order_release);
}

/* Return: whether a reset was started. */
static bool serve_qpair(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp)
{
	uint32_t cid = atomic_load_explicit(&qp->rsp.abort_cid, memory_order_acquire);
	char why[96];

	switch (atomic_load_explicit(&qp->rsp.wants_reset, memory_order_acquire)) {
	case NVME_RESET_TIMEOUT:
		c->stats.timeouts++;
		snprintf(why, sizeof(why),
			 "a command of queue pair %u outlived its timeout of %u ms", qp->qid,
			 qp->qid ? c->opts.timeout_ms : c->opts.admin_timeout_ms);
		ctrlr_start_reset(c, why);
		return true;
	case NVME_RESET_BAD_CQE:
		snprintf(why, sizeof(why), "queue pair %u got a completion nobody waits for",
			 qp->qid);
		ctrlr_start_reset(c, why);
		return true;
	}
	if (cid != NVME_NO_CID)
		send_abort(c, qp, cid);
	return false;
}

/* ---- Keep Alive, §5.18 ---- */

static void keep_alive_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_ctrlr *c = arg;

	c->keep_alive_sent = false;
	if (plx_nvme_ok(cpl))
		c->stats.keep_alives++;
}

static void send_keep_alive(struct plx_nvme_ctrlr *c, uint64_t now)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_keep_alive };

	if (!c->keep_alive_ticks || c->keep_alive_sent || (int64_t)(now - c->keep_alive_tsc) < 0)
		return;
	if (admin_submit(c, &cmd, keep_alive_done, c))
		return;
	c->keep_alive_sent = true;
	c->keep_alive_tsc = now + c->keep_alive_ticks;
}

/* ---- asynchronous events, §5.2 ---- */

static const char *event_text(uint32_t type, uint32_t info)
{
	static const char *const error[] = {
		"write to an invalid doorbell register",
		"invalid doorbell write value",
		"diagnostic failure",
		"persistent internal error",
		"transient internal error",
		"firmware image load error",
	};
	static const char *const health[] = { "subsystem reliability", "temperature threshold",
					      "spare below threshold" };

	if (type == NVME_AER_ERROR && info < PLX_ARRAY_SIZE(error))
		return error[info];
	if (type == NVME_AER_SMART && info < PLX_ARRAY_SIZE(health))
		return health[info];
	return "reserved";
}

/* Firmware Activation Starting: for at most MTFA, in units of 100 ms, the controller handles no
 * commands (CSTS.PP, §3.1.3.6) */
static void pause_begin(struct plx_nvme_ctrlr *c)
{
	uint32_t ms = c->id.mtfa ? c->id.mtfa * 100u : c->opts.admin_timeout_ms;

	/* a notice in time does not make it longer */
	if (atomic_load_explicit(&c->paused, memory_order_relaxed))
		return;
	nvme_log(NOTICE, "controller '%s': activates firmware", c->name);
	c->pause_tsc = plx_tsc() + ms * c->tsc_ms;
	atomic_store_explicit(&c->paused, true, memory_order_relaxed);
}

/* Reading the log page arms the notice again. What Identify says may have changed with the
 * firmware: the scan reads it. */
static void pause_tend(struct plx_nvme_ctrlr *c, uint64_t now)
{
	if (!atomic_load_explicit(&c->paused, memory_order_relaxed))
		return;
	if (NVME_CSTS_PP(pcie_read32(c->dev, NVME_REG_CSTS))) {
		if ((int64_t)(now - c->pause_tsc) >= 0) {
			atomic_store_explicit(&c->paused, false, memory_order_relaxed);
			ctrlr_start_reset(c, "activating firmware took longer than MTFA");
		}
		return;
	}
	atomic_store_explicit(&c->paused, false, memory_order_relaxed);
	c->logs_wanted |= 1u << NVME_LOG_LID_FW_SLOT;
	c->acs_known = false;
	c->reidentify = true;
	c->ns_rescan = true;
}

/* dw0: type 2:0, information 15:8, log page 23:16. Reading the log page re-arms the event. */
static void take_event(struct plx_nvme_ctrlr *c, uint32_t dw0)
{
	uint32_t type = dw0 & 7, info = dw0 >> 8 & 0xff, lid = dw0 >> 16 & 0xff;

	if (type == NVME_AER_NOTICE && info == NVME_AER_NOTICE_NS_CHANGED) {
		c->ns_rescan = true;
	} else if (type == NVME_AER_NOTICE && info == NVME_AER_NOTICE_FW_ACT_STARTING) {
		pause_begin(c);
	} else if (type == NVME_AER_ERROR || type == NVME_AER_SMART) {
		if (!c->aer_storm)
			nvme_log(WARN, "controller '%s': %s event: %s (%02x), see log page %02xh",
				 c->name, type == NVME_AER_ERROR ? "error" : "health",
				 event_text(type, info), info, lid);
		if (lid == NVME_LOG_LID_ERROR || lid == NVME_LOG_LID_SMART)
			c->logs_wanted |= 1u << lid;
	}
}

/* A controller reports an event again only when its log page was read, so events are few; from one
 * that does not keep to it they would take all of the time there is, and fill the log. */
static void storm_tend(struct plx_nvme_ctrlr *c, uint64_t now)
{
	uint64_t period = NVME_AER_PERIOD_MS * c->tsc_ms;

	if (c->aer_credit == NVME_AER_BURST || now - c->aer_tsc < period)
		return;
	c->aer_tsc = now;
	c->aer_credit++;
	if (c->aer_credit < NVME_AER_BURST || !c->aer_storm)
		return;
	c->aer_storm = false;
	nvme_log(NOTICE, "controller '%s': sends no more events than it should", c->name);
}

static void storm_count(struct plx_nvme_ctrlr *c)
{
	if (c->aer_credit)
		c->aer_credit--;
	if (c->aer_credit || c->aer_storm)
		return;
	c->aer_storm = true;
	nvme_log(WARN,
		 "controller '%s': sends asynchronous events without end: %u a second are taken "
		 "from now on, and not logged",
		 c->name, 1000 / NVME_AER_PERIOD_MS);
}

static void aer_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_aer *a = arg;
	struct plx_nvme_ctrlr *c = a->c;

	a->sent = false;
	if (!plx_nvme_ok(cpl)) {
		/* of a reset: sent again when ready; else the controller wants fewer of them */
		a->refused = ctrlr_state(c) == PLX_NVME_CTRLR_READY;
		return;
	}
	a->cpl = *cpl;
	a->pending = true;
	c->stats.aers++;
	storm_count(c);
	take_event(c, cpl->dw0);
	if (c->share)
		share_event(c, cpl->dw0);
}

static void send_aers(struct plx_nvme_ctrlr *c)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_async_event };
	uint32_t n = c->id.aerl + 1u < NVME_MAX_AERS ? c->id.aerl + 1u : NVME_MAX_AERS;

	/* a tiny admin queue needs its entries for other commands */
	if (n + NVME_ADMIN_RESERVED > c->admin.depth)
		n = c->admin.depth > NVME_ADMIN_RESERVED ? c->admin.depth - NVME_ADMIN_RESERVED : 0;
	if (n > c->aer_credit)
		n = c->aer_credit;
	for (uint32_t i = 0; i < n; i++) {
		struct nvme_aer *a = &c->aer[i];

		if (a->sent || a->refused || a->pending)
			continue;
		a->c = c;
		if (admin_submit(c, &cmd, aer_done, a))
			return;
		a->sent = true;
	}
}

static void error_log_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_ctrlr *c = arg;
	const struct nvme_error_log_page *e = c->log_page;
	char text[96];

	c->log_sent = false;
	if (!plx_nvme_ok(cpl) || !e->error_count || c->aer_storm)
		return;
	nvme_log(WARN,
		 "controller '%s': error %llu: queue %u, command %u, namespace %u, block %llu: %s",
		 c->name, (unsigned long long)e->error_count, e->sqid, e->cmdid, e->nsid,
		 (unsigned long long)e->lba,
		 plx_nvme_status_text(e->status_field >> 1, text, sizeof(text)));
}

static void smart_log_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_ctrlr *c = arg;
	const struct nvme_smart_log *s = c->log_page;

	c->log_sent = false;
	if (plx_nvme_ok(cpl) && !c->aer_storm)
		nvme_log(WARN,
			 "controller '%s': critical warning %02xh, %d K, spare %u %%, used %u %%",
			 c->name, s->critical_warning, s->temperature[0] | s->temperature[1] << 8,
			 s->avail_spare, s->percent_used);
}

static void fw_log_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct plx_nvme_ctrlr *c = arg;
	const struct nvme_firmware_slot *f = c->log_page;

	c->log_sent = false;
	if (plx_nvme_ok(cpl))
		nvme_log(NOTICE, "controller '%s': runs the firmware of slot %u", c->name,
			 f->afi & 7);
}

static const struct {
	uint8_t lid;
	uint16_t len;
	plx_nvme_cb done;
} event_logs[] = {
	{ NVME_LOG_LID_ERROR, sizeof(struct nvme_error_log_page), error_log_done },
	{ NVME_LOG_LID_SMART, sizeof(struct nvme_smart_log), smart_log_done },
	{ NVME_LOG_LID_FW_SLOT, sizeof(struct nvme_firmware_slot), fw_log_done },
};

/* Get Log Page, §5.16, of the errors the newest entry: RAE is 0, so the event is armed again */
static void send_log(struct plx_nvme_ctrlr *c)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_get_log_page,
				    .nsid = UINT32_MAX,
				    .prp1 = c->log_iova };
	unsigned i = 0;

	if (!c->logs_wanted || c->log_sent)
		return;
	while (!(c->logs_wanted & 1u << event_logs[i].lid))
		i++;
	cmd.cdw10 = (event_logs[i].len / 4 - 1u) << 16 | event_logs[i].lid;
	if (admin_submit(c, &cmd, event_logs[i].done, c))
		return;
	c->log_sent = true;
	c->logs_wanted &= ~(1u << event_logs[i].lid);
}

void ctrlr_tend(struct plx_nvme_ctrlr *c, uint64_t now)
{
	if (serve_qpair(c, &c->admin))
		return;
	for (struct plx_nvme_qpair *qp = c->qpairs; qp; qp = qp->next)
		if (serve_qpair(c, qp))
			return;
	pause_tend(c, now);
	if (ctrlr_state(c) != PLX_NVME_CTRLR_READY)
		return;
	send_keep_alive(c, now);
	storm_tend(c, now);
	send_aers(c);
	send_log(c);
}
