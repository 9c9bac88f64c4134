/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/health.c - what the SMART / Health log counts over the life of a device (§5.16.1.3)
 *
 * A controller is there while its host is connected, which is its time with power. What such
 * controllers leave behind is added up in the subsystem: that is the device which the counters are
 * about. They begin with it, as nothing of it outlives the process.
 *
 * Time busy is sampled, so no command pays for it.
 */
#include "targets/nvmf/nvmf_admin.h"

#define LOOK_US 50000u

static bool is_busy(const struct nvmf_fn *fn)
{
	for (uint32_t qid = 1; qid <= fn->opts.max_io_queues; qid++) {
		struct nvmf_sq *sq = fn->sqs[qid];

		if (sq && (sq->outstanding ||
			   __atomic_load_n(*nvmf_sq_doorbell(sq), __ATOMIC_RELAXED) != sq->head))
			return true;
	}
	return false;
}

static int look(void *arg)
{
	struct nvmf_ctrlr *c = arg;
	struct nvmf_admin *a = c->admin;
	uint64_t now = plx_tsc();

	if (is_busy(c->fn))
		a->busy_tsc += now - a->looked_tsc;
	a->looked_tsc = now;
	return 0;
}

void nvmf_health_enable(struct nvmf_ctrlr *c)
{
	struct nvmf_admin *a = c->admin;

	a->unsafe = true;
	a->looked_tsc = plx_tsc();
	/* without memory for it the time is not counted */
	if (!a->health)
		a->health = plx_poller_create(look, c, LOOK_US);
}

void nvmf_health_disable(struct nvmf_ctrlr *c)
{
	plx_poller_destroy(c->admin->health);
	c->admin->health = NULL;
}

void nvmf_health_shutdown(struct nvmf_ctrlr *c)
{
	c->admin->unsafe = false;
}

/* With what those before it have left. Under the subsystem's lock */
static struct nvmf_health sum(const struct nvmf_ctrlr *c)
{
	const struct nvmf_admin *a = c->admin;
	struct nvmf_health h = c->subsystem->health;

	h.stats.reads += c->stats.reads;
	h.stats.writes += c->stats.writes;
	h.stats.read_bytes += c->stats.read_bytes;
	h.stats.written_bytes += c->stats.written_bytes;
	h.media_errors += a->media_errors;
	h.busy_tsc += a->busy_tsc;
	h.on_tsc += plx_tsc() - a->created_tsc;
	h.power_cycles++;
	return h;
}

struct nvmf_health nvmf_health_get(const struct nvmf_ctrlr *c)
{
	struct nvmf_health h;

	pthread_mutex_lock(&c->subsystem->lock);
	h = sum(c);
	pthread_mutex_unlock(&c->subsystem->lock);
	return h;
}

void nvmf_health_leave(struct nvmf_ctrlr *c)
{
	struct plx_nvmf_subsystem *s = c->subsystem;

	pthread_mutex_lock(&s->lock);
	s->health = sum(c);
	s->health.unsafe_shutdowns += c->admin->unsafe;
	pthread_mutex_unlock(&s->lock);
}
