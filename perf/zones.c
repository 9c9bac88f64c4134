/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/zones.c - writes to zoned namespaces (ZNS Command Set 1.1c): where each one goes
 *
 * The zones of a namespace are dealt out to its jobs in turn. A job writes to a few of its zones at
 * a time, as many as its share of what may be open: in each the next write begins when the one
 * before has ended, as a device may take commands in any order. A full zone makes room for the one
 * written longest ago, which is reset once no read of it is under way. Reads go to what has been
 * written and lies below a write pointer.
 *
 * A write that failed may have moved the write pointer: its zone is reset, too.
 */
#include "perf/perf.h"
#include <errno.h>
#include <stdlib.h>

#define TRIES 16 /* random places, before a read is put off as others read there */

struct slot;

struct zone {
	uint64_t start, end, wp; /* blocks; end: of its capacity */
	uint32_t reads; /* under way */
	uint32_t listed; /* its place in the list of what can be read, counted from 1; 0: none */
	struct slot *slot; /* that writes to it */
};

enum slot_state {
	SLOT_READY, /* for a write */
	SLOT_BUSY, /* one is under way, or a reset */
	SLOT_USED, /* by what was there before: to be reset once it is not read any more */
};

struct slot {
	struct perf_zones *z;
	struct zone *zone;
	enum slot_state state;
};

/*
 * struct perf_zones - of one job, from its set-up to its end
 * @readable: those with something to read, @nreadable of them
 * @turn: the slot that is asked first for the next write; @next: the zone that is taken next
 * @waiting: has been given size and direction, but no place yet
 * @cursor, @next_lba: of sequential reads
 */
struct perf_zones {
	struct perf_job *job;
	struct zone *zones, **readable;
	struct slot *slots;
	uint32_t n, nreadable, nslots, turn, next, cursor;
	uint64_t zone_blocks, next_lba;
	unsigned of;
	const struct perf_task *waiting;
};

static void list(struct perf_zones *z, struct zone *zone)
{
	if (zone->listed)
		return;
	z->readable[z->nreadable++] = zone;
	zone->listed = z->nreadable;
}

static void unlist(struct perf_zones *z, struct zone *zone)
{
	struct zone *last;

	if (!zone->listed)
		return;
	last = z->readable[--z->nreadable];
	z->readable[zone->listed - 1] = last;
	last->listed = zone->listed;
	zone->listed = 0;
}

/* Its zone has to be reset before it is written to */
static void slot_used(struct slot *s)
{
	unlist(s->z, s->zone);
	s->state = SLOT_USED;
}

static bool usable(const struct zone *zone)
{
	return zone->end > zone->start; /* not offline, not read-only */
}

/* On to the next zone that no other slot has */
static void slot_next(struct slot *s)
{
	struct perf_zones *z = s->z;

	if (s->zone)
		s->zone->slot = NULL;
	do {
		s->zone = &z->zones[z->next];
		z->next = z->next + 1 < z->n ? z->next + 1 : 0;
	} while (s->zone->slot || !usable(s->zone));
	s->zone->slot = s;
	if (s->zone->wp == s->zone->start)
		s->state = SLOT_READY;
	else
		slot_used(s);
}

struct perf_zones *perf_zones_create(struct perf_job *job, const struct perf_zoned *of,
				     unsigned index, unsigned jobs)
{
	struct perf_zones *z = calloc(1, sizeof *z);
	uint32_t can = 0, most = of->max_open ? of->max_open / jobs : job->depth;

	if (!z)
		return NULL;
	z->job = job;
	z->of = jobs;
	z->zone_blocks = of->zone_blocks;
	z->n = (uint32_t)((of->zones - index + jobs - 1) / jobs);
	z->zones = calloc(z->n, sizeof *z->zones);
	z->readable = calloc(z->n, sizeof *z->readable);
	for (uint32_t i = 0; z->zones && i < z->n; i++) {
		uint64_t zone = (uint64_t)i * jobs + index;

		z->zones[i].start = z->zones[i].wp = zone * of->zone_blocks;
		z->zones[i].end = z->zones[i].start + of->capacity[zone];
		can += usable(&z->zones[i]);
	}
	most = most < job->depth ? most : job->depth;
	z->nslots = most < can ? most : can;
	z->slots = calloc(z->nslots ? z->nslots : 1, sizeof *z->slots);
	if (!z->zones || !z->readable || !z->slots || !z->nslots) {
		perf_zones_destroy(z);
		errno = can ? ENOMEM : ENOSPC;
		return NULL;
	}
	for (uint32_t i = 0; i < z->nslots; i++) {
		z->slots[i].z = z;
		slot_next(&z->slots[i]);
	}
	return z;
}

void perf_zones_destroy(struct perf_zones *z)
{
	if (!z)
		return;
	free(z->slots);
	free(z->readable);
	free(z->zones);
	free(z);
}

/* ---- where to ---- */

static bool claimed(struct perf_zones *z, const struct perf_task *t)
{
	return !z->job->verify || perf_verify_claim(z->job->verify, t->slba, t->nlb);
}

/* As soon as nobody reads there; what is outstanding is waited for at the end of the run */
static void reset(struct slot *s)
{
	struct perf_job *job = s->z->job;

	if (s->zone->reads || job->engine->reset_zone(job, s->zone->start, s))
		return;
	s->state = SLOT_BUSY;
	job->outstanding++;
}

/* What is left of a zone is written whatever its size, so that no zone stays open */
static bool draw_write(struct perf_zones *z, struct perf_task *t, uint32_t nlb)
{
	for (uint32_t i = 0; i < z->nslots; i++) {
		struct slot *s = &z->slots[(z->turn + i) % z->nslots];
		uint64_t left = s->zone->end - s->zone->wp;

		if (s->state == SLOT_USED)
			reset(s);
		if (s->state != SLOT_READY)
			continue;
		t->is_read = 0;
		t->slba = s->zone->wp;
		t->nlb = left < nlb ? (uint32_t)left : nlb;
		if (!claimed(z, t))
			continue;
		s->state = SLOT_BUSY;
		z->turn = (z->turn + i + 1) % z->nslots;
		return true;
	}
	return false;
}

static bool take_read(struct perf_zones *z, struct zone *zone, struct perf_task *t)
{
	if (!claimed(z, t))
		return false;
	zone->reads++;
	return true;
}

static uint64_t below(struct perf_job *job, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)perf_random(&job->rng) * n) >> 64);
}

static bool draw_random_read(struct perf_zones *z, struct perf_task *t, uint32_t nlb)
{
	for (unsigned i = 0; i < TRIES; i++) {
		struct zone *zone = z->readable[below(z->job, z->nreadable)];
		uint64_t written = zone->wp - zone->start;

		t->nlb = written < nlb ? (uint32_t)written : nlb;
		t->slba = zone->start + below(z->job, written / t->nlb) * t->nlb;
		if (take_read(z, zone, t))
			return true;
	}
	return false;
}

/* On from zone to zone; there is one with something to read */
static bool draw_next_read(struct perf_zones *z, struct perf_task *t, uint32_t nlb)
{
	struct zone *zone = &z->zones[z->cursor];
	uint64_t left;

	while (!zone->listed || z->next_lba < zone->start || z->next_lba >= zone->wp) {
		z->cursor = z->cursor + 1 < z->n ? z->cursor + 1 : 0;
		zone = &z->zones[z->cursor];
		z->next_lba = zone->start;
	}
	left = zone->wp - z->next_lba;
	t->slba = z->next_lba;
	t->nlb = left < nlb ? (uint32_t)left : nlb;
	if (!take_read(z, zone, t))
		return false;
	z->next_lba += t->nlb;
	return true;
}

/* The first I/O of all is a write, whatever was drawn */
static bool draw_place(struct perf_zones *z, struct perf_task *t, uint32_t nlb)
{
	if (!t->is_read || !z->nreadable)
		return draw_write(z, t, nlb);
	return z->job->random ? draw_random_read(z, t, nlb) : draw_next_read(z, t, nlb);
}

bool perf_zones_waits(const struct perf_zones *z, const struct perf_task *t)
{
	return z->waiting == t;
}

bool perf_zones_draw(struct perf_zones *z, struct perf_task *t)
{
	bool there = draw_place(z, t, z->job->sizes[t->size].nlb);

	z->waiting = there ? NULL : t;
	return there;
}

/* ---- what comes back ---- */

void perf_zones_done(struct perf_zones *z, const struct perf_task *t)
{
	struct zone *zone = &z->zones[t->slba / z->zone_blocks / z->of];
	struct slot *s = zone->slot;

	if (t->is_read) {
		zone->reads--;
		return;
	}
	if (t->status) {
		slot_used(s);
		return;
	}
	zone->wp += t->nlb;
	list(z, zone);
	if (zone->wp == zone->end)
		slot_next(s);
	else
		s->state = SLOT_READY;
}

void perf_zones_reset_done(void *arg, uint16_t status)
{
	struct slot *s = arg;
	struct perf_job *job = s->z->job;
	char text[96];

	job->outstanding--;
	s->state = status ? SLOT_USED : SLOT_READY;
	s->zone->wp = s->zone->start;
	if (!status)
		return;
	if (!job->n.errors++) {
		job->first_error = status;
		job->first_error_lba = s->zone->start;
	}
	if (!job->cfg->continue_on_error || job->n.errors % job->cfg->continue_on_error == 0)
		plx_log(PLX_LOG_ERR, "perf", "reset of the zone at LBA %lu failed: %s",
			s->zone->start, plx_nvme_status_text(status, text, sizeof text));
	if (!job->cfg->continue_on_error)
		atomic_store(job->worker->stop, true);
}
