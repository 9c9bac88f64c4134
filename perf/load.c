/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/load.c - the worker's loop: keep every queue pair at its depth, time each I/O
 *
 * A turn of a job: poll (callbacks stamp the time and note the task), submit every noted task
 * again, ring the doorbell, and only then record the latencies, so that the record is not on the
 * way from a completion to the next submission. An I/O's clock starts at the stamp of the
 * completion that made room for it and stops in its own callback: the generator's own work is
 * inside the latency, never hidden.
 *
 * One time stamp for up to PERF_PER_STAMP completions found together, two per turn that found any,
 * one per turn that found none; from these come the cycles spent submitting, completing and polling
 * in vain. A stamp costs as much as a poll, and a completion that comes meanwhile waits for it:
 * where nothing else is to be done, a turn polls PERF_POLLS times before it takes one. Of a turn
 * that found something not at once, the polls before count with what they took in the last turn
 * that found nothing.
 */
#include "perf/perf.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Turns between looks at the worker's own event loop (admin queues, timers) when nothing lives
 * there that I/O waits for */
#define LOOP_EVERY 64

/* Outstanding I/O gets so long to come back after the end, and as long again after a reset */
#define DRAIN_S 10u

/* The memory of a virtual device gets so long to come before it is measured as it is */
#define AWAIT_S	      60u
#define AWAIT_TURN_US 1000u

/* ---- what to submit ---- */

static inline void draw_size(struct perf_job *job, struct perf_task *t)
{
	unsigned i = 0;

	if (plx_unlikely(job->nsizes > 1)) {
		uint32_t r = perf_random(&job->rng) >> 32;

		while (i < job->nsizes - 1u && r >= job->sizes[i].below)
			i++;
	}
	t->size = i;
	t->status = 0;
	t->nlb = job->sizes[i].nlb;
}

static uint64_t draw_zipf(const struct perf_job *job, const struct perf_job_size *s,
			  uint64_t random)
{
	uint64_t unit = perf_zipf_draw(job->zipf, random);

	return plx_likely(unit < s->units) ? unit : unit % s->units;
}

static inline void draw_place(struct perf_job *job, struct perf_task *t)
{
	const struct perf_job_size *s = &job->sizes[t->size];

	if (job->random) {
		uint64_t r = perf_random(&job->rng);
		uint64_t unit;

		if (plx_unlikely(job->zipf != NULL))
			unit = draw_zipf(job, s, r);
		else
			unit = (uint64_t)(((unsigned __int128)r * s->units) >> 64);
		t->slba = unit * s->nlb;
	} else {
		if (job->next_lba + t->nlb > job->lbas)
			job->next_lba = 0;
		t->slba = job->next_lba;
		job->next_lba += t->nlb;
	}
}

static inline void draw_direction(struct perf_job *job, struct perf_task *t)
{
	if (job->all_reads)
		t->is_read = 1;
	else if (job->all_writes)
		t->is_read = 0;
	else
		t->is_read = (uint32_t)(perf_random(&job->rng) >> 32) < job->read_below;
}

static inline void draw(struct perf_job *job, struct perf_task *t)
{
	draw_size(job, t);
	draw_place(job, t);
	draw_direction(job, t);
}

/* Every block once, in order; the last I/O is as long as what is left */
static void draw_prefill(struct perf_job *job, struct perf_task *t)
{
	uint64_t left = job->lbas - job->next_lba;
	uint32_t nlb = job->cfg->max_size / job->block;

	t->nlb = left < nlb ? (uint32_t)left : nlb;
	t->slba = job->next_lba;
	t->is_read = 0;
	t->status = 0;
	job->next_lba += t->nlb;
}

/* Two I/Os on one block at once would make what is read a matter of luck: draw until there is no
 * such */
static void draw_verified(struct perf_job *job, struct perf_task *t)
{
	do {
		if (job->prefill)
			draw_prefill(job, t);
		else
			draw(job, t);
	} while (!perf_verify_claim(job->verify, t->slba, t->nlb));
}

/* Return: whether there is a place for it; else the next turn asks again for the same I/O */
static bool draw_zoned(struct perf_job *job, struct perf_task *t)
{
	if (!perf_zones_waits(job->zones, t)) {
		draw_size(job, t);
		draw_direction(job, t);
	}
	return perf_zones_draw(job->zones, t);
}

static plx_noinline bool draw_watched(struct perf_job *job, struct perf_task *t)
{
	if (!job->zones)
		draw_verified(job, t);
	else if (!draw_zoned(job, t))
		return false;
	if (job->verify && !t->is_read)
		perf_verify_fill(job->verify, t);
	return true;
}

static plx_noinline void submit_failed(struct perf_job *job, struct perf_task *t, int rc)
{
	if (job->verify)
		perf_verify_release(job->verify, t->slba, t->nlb);
	if (job->zones) {
		t->status = PLX_NVME_ST(NVME_SCT_PATH, NVME_SC_CMD_ABORTED_BY_HOST);
		perf_zones_done(job->zones, t);
	}
	job->outstanding--;
	job->failed = rc;
}

/* What has no place yet goes behind what is drawn; the first @kept of those noted are */
static plx_noinline void leave_undrawn(struct perf_job *job, uint32_t kept, uint32_t from)
{
	uint32_t n = job->ndone - from;

	memmove(&job->done[kept], &job->done[from], n * sizeof *job->done);
	job->nkept = kept;
	job->ndone = kept + n;
}

/*
 * Submit what is noted. Tasks that cannot go now, as the queue is full or the controller is being
 * reset, stay noted as drawn, and their clock runs on. Those that wait for a zone stay noted, too,
 * behind them; their clock begins when they have a place.
 */
static inline void submit_noted(struct perf_job *job, uint64_t now)
{
	uint32_t kept = 0, n = job->ndone;

	for (uint32_t i = 0; i < n; i++) {
		struct perf_task *t = job->done[i];
		int rc;

		if (plx_likely(i >= job->nkept)) {
			if (plx_unlikely(!job->to_submit)) {
				job->outstanding--;
				continue;
			}
			if (plx_likely(!job->watched)) {
				draw(job, t);
			} else if (!draw_watched(job, t)) {
				leave_undrawn(job, kept, i);
				return;
			}
			job->to_submit--;
			t->start = now;
		}
		rc = job->engine->submit(job, t);
		if (plx_likely(!rc))
			continue;
		if (rc == -EAGAIN)
			job->done[kept++] = t;
		else
			submit_failed(job, t, rc);
	}
	job->nkept = kept;
	job->ndone = kept;
}

/* ---- what has completed ---- */

void perf_task_odd(struct perf_task *t, uint16_t status)
{
	struct perf_job *job = t->job;
	char text[96];

	t->status = status;
	if (status) {
		if (!job->n.errors) {
			job->first_error = status;
			job->first_error_lba = t->slba;
		}
		job->n.errors++;
		if (job->cfg->continue_on_error ? job->n.errors % job->cfg->continue_on_error == 0
						: job->n.errors == 1)
			plx_log(PLX_LOG_ERR, "perf", "%s of %u blocks at LBA %lu failed: %s",
				t->is_read ? "read" : "write", t->nlb, t->slba,
				plx_nvme_status_text(status, text, sizeof text));
		if (!job->cfg->continue_on_error)
			atomic_store(job->worker->stop, true);
	}
	if (job->verify) {
		if (!t->is_read)
			perf_verify_written(job->verify, t);
		else if (!status)
			job->n.mismatches += perf_verify_check(job->verify, t);
		perf_verify_release(job->verify, t->slba, t->nlb);
	}
	if (job->zones)
		perf_zones_done(job->zones, t);
}

/* I/Os that were submitted together and have come back together are one to the histogram */
static inline bool same_sample(const struct perf_sample *a, const struct perf_sample *b)
{
	return a->ticks == b->ticks && !memcmp(&a->nlb, &b->nlb, sizeof *a - sizeof a->ticks);
}

static inline void record(struct perf_job *job, uint32_t from, uint32_t to)
{
	struct plx_tsc_scale scale = job->worker->scale;

	for (uint32_t i = from, n; i < to; i += n) {
		const struct perf_sample *s = &job->samples[i];

		n = 1;
		while (i + n < to && same_sample(s, s + n))
			n++;
		if (plx_unlikely(s->status))
			continue;
		plx_hist_record_n(job->hist[s->is_read], plx_tsc_to_ns(scale, s->ticks), n);
		job->n.ios[s->is_read] += n;
		job->n.bytes[s->is_read] += (uint64_t)s->nlb * job->block * n;
	}
}

/* ---- the loop ---- */

/* The device is gone: its queue has called every command back. The other jobs go on. */
static plx_noinline void job_dead(struct perf_worker *w, struct perf_job *job, int rc)
{
	job->failed = rc;
	job->outstanding = 0;
	job->ndone = job->nkept = 0;
	for (unsigned i = 0; i < w->njobs; i++) {
		if (w->jobs[i] != job)
			continue;
		/* to the end of the array: still the worker's to report and tear down, no longer to
		 * run */
		memmove(&w->jobs[i], &w->jobs[i + 1], (w->njobs - i - 1) * sizeof *w->jobs);
		w->jobs[--w->njobs] = job;
		break;
	}
}

/* One turn of one job. @t: time stamp at its beginning. Return: time stamp at its end */
static inline uint64_t job_turn(struct perf_worker *w, struct perf_job *job, uint64_t t)
{
	uint32_t from = job->ndone, to, polls = 0;
	uint64_t end, vain;
	int n;

	w->stamp_at = 0;
	do
		n = job->engine->poll(job, w->max_completions);
	while (job->ndone == from && !from && ++polls < w->polls && n >= 0);
	to = job->ndone;
	if (to == from && !from) {
		end = plx_tsc();
		w->cycles.poll_empty += end - t;
		w->poll_ticks = (end - t) / polls;
		if (plx_unlikely(n < 0))
			job_dead(w, job, n);
		return end;
	}
	if (plx_unlikely(to == from))
		w->now = plx_tsc();
	vain = polls * w->poll_ticks;
	vain = vain < w->now - t ? vain : w->now - t;
	w->cycles.poll_empty += vain;
	w->cycles.complete += w->now - t - vain;
	submit_noted(job, w->now);
	job->engine->flush(job);
	end = plx_tsc();
	w->cycles.submit += end - w->now;
	record(job, from, to);
	t = end;
	end = plx_tsc();
	w->cycles.complete += end - t;
	if (plx_unlikely(n < 0))
		job_dead(w, job, n);
	return end;
}

static uint64_t target_busy(const struct perf_worker *w)
{
	struct plx_thread_stats stats = { 0 };

	if (w->target)
		plx_thread_get_stats(w->target, &stats);
	return stats.busy_tsc;
}

/* What went wrong counts from the very start, what was done from when it is measured */
static void job_forget(struct perf_job *job)
{
	plx_hist_reset(job->hist[0]);
	plx_hist_reset(job->hist[1]);
	memset(job->n.ios, 0, sizeof job->n.ios);
	memset(job->n.bytes, 0, sizeof job->n.bytes);
}

static void jobs_begin_measuring(struct perf_worker *w)
{
	memset(&w->cycles, 0, sizeof w->cycles);
	w->cycles.target = 0 - target_busy(w);
	for (unsigned i = 0; i < w->njobs; i++) {
		struct perf_job *job = w->jobs[i];

		job_forget(job);
		if (job->engine_data)
			plx_nvme_qpair_get_stats(job->engine_data, &job->qp_before);
	}
}

static void jobs_end_measuring(struct perf_worker *w, uint64_t now)
{
	w->stop_tsc = now;
	w->cycles.total = now - w->start_tsc;
	w->cycles.target += target_busy(w);
	for (unsigned i = 0; i < w->njobs; i++) {
		struct perf_job *job = w->jobs[i];

		if (job->series && w->cfg->interval_ns)
			perf_series_cut(job->series, job, w->next_interval - w->interval_tsc, now);
		if (job->engine_data)
			plx_nvme_qpair_get_stats(job->engine_data, &job->qp_after);
		job->to_submit = 0;
	}
}

static void interval_over(struct perf_worker *w, uint64_t now)
{
	for (unsigned i = 0; i < w->njobs; i++)
		perf_series_cut(w->jobs[i]->series, w->jobs[i], w->next_interval - w->interval_tsc,
				now);
	w->next_interval = now + w->interval_tsc;
}

static void set_next_event(struct perf_worker *w)
{
	w->next_event = w->end_tsc;
	if (w->interval_tsc && w->next_interval < w->end_tsc)
		w->next_event = w->next_interval;
}

/*
 * A virtual device brings in its memory while it is in use. What is measured meanwhile would be
 * page faults, and cores shared with those who bring it: so until it is there a turn now and then
 * is all, which leaves them the core. The warm-up comes after that. Return: 0; -EAGAIN not yet;
 * other -errno it is logged what failed
 */
static plx_noinline int device_await(struct perf_worker *w, uint64_t now)
{
	int rc = w->awaited ? plx_nvmf_device_ready(w->awaited) : 0;

	if (rc == -EAGAIN && now < w->await_until) {
		w->ready_tsc = now;
		w->next_event = 0;
		usleep(AWAIT_TURN_US);
		return rc;
	}
	if (rc == -EAGAIN) {
		if (!w->index)
			plx_log(PLX_LOG_WARN, "perf",
				"the device's memory is not there after %u s: page faults will be "
				"measured",
				AWAIT_S);
		rc = w->ready_tsc = 0;
	}
	if (w->ready_tsc)
		w->ready_tsc = now;
	w->awaited = NULL;
	return rc;
}

/* Return: whether it is over */
static bool warmup_begin(struct perf_worker *w, uint64_t now)
{
	int rc = device_await(w, now);

	if (rc) {
		w->rc = rc == -EAGAIN ? w->rc : rc;
		return false;
	}
	w->next_event = plx_tsc() + (uint64_t)((double)w->cfg->warmup_ns * plx_tsc_hz() / 1e9);
	return !w->cfg->warmup_ns;
}

/* next_event has come. Return: the phase that begins or goes on */
static plx_noinline enum perf_phase worker_event(struct perf_worker *w, uint64_t now)
{
	const struct perf_config *cfg = w->cfg;

	if (w->phase == PERF_WARMUP) {
		if (w->awaited && !warmup_begin(w, now))
			return w->rc ? PERF_DRAIN : PERF_WARMUP;
		w->phase = PERF_MEASURE;
		jobs_begin_measuring(w);
		w->start_tsc = now = plx_tsc();
		w->end_tsc = now + (uint64_t)((double)cfg->time_ns * plx_tsc_hz() / 1e9);
		w->interval_tsc = (uint64_t)((double)cfg->interval_ns * plx_tsc_hz() / 1e9);
		w->next_interval = now + w->interval_tsc;
	} else if (now >= w->end_tsc) {
		w->phase = PERF_DRAIN;
	} else if (w->interval_tsc && now >= w->next_interval) {
		interval_over(w, now);
	}
	set_next_event(w);
	return w->phase;
}

static bool jobs_exhausted(const struct perf_worker *w)
{
	for (unsigned i = 0; i < w->njobs; i++) {
		if (w->jobs[i]->outstanding)
			return false;
	}
	return true;
}

/* Rarely: a stop that was asked for, nothing left to do */
static plx_noinline bool worker_should_stop(const struct perf_worker *w)
{
	return atomic_load_explicit(w->stop, memory_order_relaxed) || jobs_exhausted(w);
}

static uint64_t run_own_loop(struct perf_worker *w, uint64_t t)
{
	uint64_t end;

	plx_thread_poll(w->thread);
	if (w->epoll >= 0)
		perf_wait(w, t);
	end = plx_tsc();
	if (w->inline_controller)
		w->cycles.controller += end - t;
	return end;
}

static void worker_loop(struct perf_worker *w)
{
	uint64_t t = plx_tsc();
	uint32_t own_every = w->inline_controller || w->epoll >= 0 ? 1 : LOOP_EVERY;
	uint32_t check_every = w->epoll >= 0 ? 1 : LOOP_EVERY;
	uint32_t until_own = own_every, until_check = check_every;

	for (;;) {
		for (unsigned i = 0; i < w->njobs; i++)
			t = job_turn(w, w->jobs[i], t);
		if (!--until_own) {
			until_own = own_every;
			t = run_own_loop(w, t);
		}
		if (plx_unlikely(t >= w->next_event) && worker_event(w, t) == PERF_DRAIN)
			return;
		if (plx_unlikely(!--until_check)) {
			until_check = check_every;
			if (worker_should_stop(w))
				return;
		}
	}
}

/* A turn without submissions. Completions come in, resets find every queue pair polled. */
static void worker_turn_quiet(struct perf_worker *w)
{
	for (unsigned i = 0; i < w->njobs; i++) {
		struct perf_job *job = w->jobs[i];
		int n;

		w->stamp_at = 0;
		n = job->engine->poll(job, 0);
		job->outstanding -= job->ndone;
		job->ndone = job->nkept = 0;
		if (n < 0)
			job_dead(w, job, n);
	}
	plx_thread_poll(w->thread);
}

/* Return: whether everything came back */
static bool drain_for(struct perf_worker *w, unsigned seconds)
{
	uint64_t deadline = plx_tsc() + seconds * plx_tsc_hz();

	while (!jobs_exhausted(w) && plx_tsc() < deadline)
		worker_turn_quiet(w);
	return jobs_exhausted(w);
}

/* Outstanding I/O comes back, or the timeout policy brings it back; what does neither has its
 * device reset */
static void worker_drain(struct perf_worker *w)
{
	if (drain_for(w, DRAIN_S))
		return;
	for (unsigned i = 0; i < w->njobs; i++) {
		struct perf_job *job = w->jobs[i];

		if (!job->outstanding)
			continue;
		plx_log(PLX_LOG_WARN, "perf",
			"%s, queue pair %u: commands that have not come back %u s after the end: "
			"%u",
			job->device->name, job->index, DRAIN_S, job->outstanding);
		job->engine->give_up(job);
	}
	drain_for(w, DRAIN_S);
}

void perf_worker_attend(struct perf_worker *w, const _Atomic unsigned *others)
{
	unsigned njobs = w->njobs;

	while (atomic_load_explicit(others, memory_order_acquire))
		worker_turn_quiet(w);
	w->njobs = njobs;
}

static void submit_first(struct perf_job *job)
{
	for (uint32_t k = 0; k < job->depth; k++)
		job->done[k] = &job->tasks[k];
	job->ndone = job->outstanding = job->depth;
	job->nkept = 0;
	if (!job->worker->first_tsc)
		job->worker->first_tsc = job->worker->now;
	submit_noted(job, job->worker->now);
	job->engine->flush(job);
}

/* Every block of the namespace of @job written once. The other jobs idle. */
static int prefill_one(struct perf_worker *w, struct perf_job *job)
{
	uint32_t nlb = job->cfg->max_size / job->block;

	job->prefill = true;
	job->to_submit = (job->lbas + nlb - 1) / nlb;
	submit_first(job);
	worker_loop(w);
	worker_drain(w); /* when it was stopped */
	job_forget(job);
	job->prefill = false;
	job->next_lba = 0;
	job->to_submit = w->cfg->ios_per_job ? w->cfg->ios_per_job : UINT64_MAX;
	if (job->failed)
		return job->failed;
	/* what could not be written is not checked: a run that goes on in spite of errors can */
	return job->n.errors && !w->cfg->continue_on_error ? -EIO : 0;
}

int perf_worker_prefill(struct perf_worker *w)
{
	struct perf_job *first[PERF_MAX_DEVICES];
	unsigned njobs = w->njobs, n = 0;
	int rc = 0;

	/* a namespace's first job does it for all of them; of zones nothing is read that they have
	 * not written */
	for (unsigned i = 0; i < njobs; i++) {
		if (w->jobs[i]->verify && !w->jobs[i]->zones && !w->jobs[i]->index)
			first[n++] = w->jobs[i];
	}
	w->scale = plx_tsc_scale();
	w->next_event = UINT64_MAX;
	w->now = plx_tsc();
	for (unsigned i = 0; i < n && !rc && !atomic_load(w->stop); i++) {
		rc = prefill_one(w, first[i]);
		w->njobs = njobs; /* of devices that are gone as well */
	}
	return rc;
}

/* Each I/O of -d counts: none is there to warm up with */
static void await_idle(struct perf_worker *w)
{
	int rc;

	while ((rc = device_await(w, plx_tsc())) == -EAGAIN && !atomic_load(w->stop))
		worker_turn_quiet(w);
	w->rc = rc == -EAGAIN ? w->rc : rc;
}

int perf_worker_run(struct perf_worker *w)
{
	unsigned njobs = w->njobs;
	uint64_t now = plx_tsc();

	w->scale = plx_tsc_scale();
	w->max_completions = w->cfg->max_completions;
	w->polls = w->njobs == 1 && !w->inline_controller && w->epoll < 0 ? PERF_POLLS : 1;
	w->await_until = now + AWAIT_S * plx_tsc_hz();
	if (w->cfg->ios_per_job) {
		await_idle(w);
		now = plx_tsc();
	}
	w->phase = PERF_WARMUP;
	w->start_tsc = now; /* a run that is stopped while it warms up has that as its result */
	w->end_tsc = now;
	if (!w->rc && warmup_begin(w, now))
		worker_event(w, now);
	w->now = plx_tsc();
	for (unsigned i = 0; i < w->njobs && !w->rc; i++)
		submit_first(w->jobs[i]);
	if (!w->rc)
		worker_loop(w);
	now = plx_tsc();
	w->njobs = njobs;
	jobs_end_measuring(w, now);
	w->phase = PERF_DRAIN;
	worker_drain(w);
	w->njobs = njobs;
	w->phase = PERF_OVER;
	return w->rc;
}

/* ---- set-up ---- */

static void set_sizes(struct perf_job *job, const struct perf_config *cfg)
{
	double below = 0;

	job->nsizes = cfg->nsizes;
	for (unsigned i = 0; i < cfg->nsizes; i++) {
		below += cfg->sizes[i].share * (4294967296.0 / 100);
		job->sizes[i].nlb = cfg->sizes[i].bytes / job->block;
		job->sizes[i].units = job->lbas / job->sizes[i].nlb;
		job->sizes[i].below = below > UINT32_MAX ? UINT32_MAX : (uint32_t)below;
	}
}

/* Places of the smallest size: larger ones are drawn among them, and rounded down to their own */
static uint64_t most_units(const struct perf_job *job)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < job->nsizes; i++)
		most = job->sizes[i].units > most ? job->sizes[i].units : most;
	return most;
}

static int alloc_task(struct perf_job *job, struct perf_task *t, const struct perf_config *cfg,
		      int numa)
{
	size_t bytes = (size_t)(cfg->max_size / job->block) * job->xfer_block;
	uint32_t md = plx_nvme_ns_md_extended(job->ns) ? 0 : plx_nvme_ns_md_size(job->ns);

	t->buf = perf_buffer_alloc(job, bytes, cfg->align, numa);
	if (!t->buf)
		return -ENOMEM;
	if (md) {
		t->md = perf_buffer_alloc(job, (size_t)(cfg->max_size / job->block) * md, 64, numa);
		if (!t->md)
			return -ENOMEM;
	}
	if (cfg->io_unit) {
		uint32_t n = (uint32_t)((bytes + cfg->io_unit - 1) / cfg->io_unit);

		t->iov = calloc(n, sizeof *t->iov);
		if (!t->iov)
			return -ENOMEM;
		t->iovcnt = n;
	}
	return 0;
}

int perf_job_init(struct perf_job *job, struct perf_worker *w, const struct perf_config *cfg)
{
	int numa = plx_topo_cpu_node(w->cpu);
	int rc;

	job->worker = w;
	job->cfg = cfg;
	job->depth = cfg->queue_depth;
	job->to_submit = cfg->ios_per_job ? cfg->ios_per_job : UINT64_MAX;
	job->random = cfg->pattern == PERF_RANDOM;
	job->all_reads = cfg->read_share == 100;
	job->all_writes = cfg->read_share == 0;
	job->read_below = (uint32_t)(cfg->read_share * (4294967295.0 / 100));
	job->rng = (cfg->seed + 1) * 0x9e3779b97f4a7c15ull ^ ((uint64_t)(w->index + 1) << 40) ^
		   ((uint64_t)(job - w->jobs[0]) << 20); /* each job of the worker its own places */
	if (!job->rng)
		job->rng = 1;
	job->plain = !cfg->io_unit && !cfg->prinfo && !plx_nvme_ns_md_size(job->ns);
	set_sizes(job, cfg);
	job->done = calloc(job->depth, sizeof *job->done);
	job->samples = calloc(job->depth, sizeof *job->samples);
	job->tasks = aligned_alloc(PLX_CACHE_LINE, job->depth * sizeof *job->tasks);
	if (!job->done || !job->samples || !job->tasks)
		return -ENOMEM;
	memset(job->tasks, 0, job->depth * sizeof *job->tasks);
	for (int i = 0; i < 2; i++) {
		job->hist[i] = plx_hist_create(0, 0);
		job->total[i] = cfg->interval_ns ? plx_hist_create(0, 0) : job->hist[i];
		if (!job->hist[i] || !job->total[i])
			return -ENOMEM;
	}
	if (cfg->interval_ns && !(job->series = perf_series_create(cfg)))
		return -ENOMEM;
	job->watched = job->verify || job->device->zoned.zones;
	if (job->device->zoned.zones &&
	    !(job->zones =
		      perf_zones_create(job, &job->device->zoned, job->share, job->device->jobs)))
		return -errno;
	if (cfg->zipf_theta > 0 &&
	    !(job->zipf = perf_zipf_create(most_units(job), cfg->zipf_theta)))
		return -ENOMEM;
	for (uint32_t i = 0; i < job->depth; i++) {
		struct perf_task *t = &job->tasks[i];

		t->job = job;
		t->index = i;
		rc = alloc_task(job, t, cfg, numa);
		if (rc)
			return rc;
	}
	return 0;
}

void perf_job_fini(struct perf_job *job)
{
	for (uint32_t i = 0; job->tasks && i < job->depth; i++) {
		perf_buffer_free(job, job->tasks[i].buf);
		perf_buffer_free(job, job->tasks[i].md);
		free(job->tasks[i].iov);
	}
	for (int i = 0; i < 2; i++) {
		if (job->total[i] != job->hist[i])
			plx_hist_destroy(job->total[i]);
		plx_hist_destroy(job->hist[i]);
	}
	perf_series_destroy(job->series);
	perf_zones_destroy(job->zones);
	perf_zipf_destroy(job->zipf);
	free(job->tasks);
	free(job->samples);
	free(job->done);
}
