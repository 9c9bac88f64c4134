/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_perf_zones.c - a zoned device that refuses what the specification lets it refuse,
 * and completes commands in any order */
#include "perf/perf.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#define ZONES	   16u
#define ZONE_SIZE  64u
#define CAPACITY   56u
#define DEPTH	   8u
#define JOBS	   2u
#define FAILED	   0x280 /* any status but success */
#define ROUNDS	   200000u
#define RANDOM_ODD 0x9e3779b97f4a7c15ull

struct device_zone {
	uint64_t wp; /* as far as carried out */
	unsigned reads;
	bool write, reset; /* under way */
	uint64_t from;
	void *arg;
};

static struct device_zone device[ZONES];
static uint64_t capacities[ZONES];
static struct perf_zoned zoned = {
	.zone_blocks = ZONE_SIZE, .zones = ZONES, .max_open = 6, .capacity = capacities
};
static struct perf_config cfg;
static _Atomic bool stop;
static struct perf_worker worker = { .cfg = &cfg, .stop = &stop };
static struct perf_job jobs[JOBS];
static struct perf_task tasks[JOBS][DEPTH];
static bool under_way[JOBS][DEPTH];
static uint64_t rng = 7;
static unsigned resets, refuse_resets;

static unsigned below(unsigned n)
{
	return (unsigned)(perf_random(&rng) >> 33) % n;
}

static int reset_zone(struct perf_job *job, uint64_t slba, void *arg)
{
	struct device_zone *z = &device[slba / ZONE_SIZE];

	cr_assert(eq(u64, slba % ZONE_SIZE, 0));
	cr_assert(z->reads + z->write + z->reset == 0, "a zone in use is reset");
	if (refuse_resets) {
		refuse_resets--;
		return -EAGAIN;
	}
	z->reset = true;
	z->arg = arg;
	resets++;
	return 0;
}

static const struct perf_engine engine = { .reset_zone = reset_zone };

static void set_up(bool random, uint32_t nlb)
{
	for (unsigned i = 0; i < ZONES; i++) {
		capacities[i] = i == 5 ? 0 : CAPACITY; /* one is offline */
		device[i].wp = i * ZONE_SIZE;
	}
	for (unsigned j = 0; j < JOBS; j++) {
		struct perf_job *job = &jobs[j];

		job->engine = &engine;
		job->cfg = &cfg;
		job->worker = &worker;
		job->depth = DEPTH;
		job->random = random;
		job->rng = RANDOM_ODD * (j + 1);
		job->block = 512;
		job->sizes[0].nlb = nlb;
		job->zones = perf_zones_create(job, &zoned, j, JOBS);
		cr_assert(job->zones != NULL);
		for (unsigned i = 0; i < DEPTH; i++)
			tasks[j][i].job = job;
	}
}

static void tear_down(void)
{
	for (unsigned j = 0; j < JOBS; j++)
		perf_zones_destroy(jobs[j].zones);
}

static unsigned open_zones(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ZONES; i++)
		n += device[i].write ||
		     (device[i].wp > i * ZONE_SIZE && device[i].wp < i * ZONE_SIZE + capacities[i]);
	return n;
}

/* What the device says to a command */
static void begin(const struct perf_task *t)
{
	unsigned i = (unsigned)(t->slba / ZONE_SIZE);
	struct device_zone *z = &device[i];

	cr_assert(t->nlb > 0 && t->slba + t->nlb <= i * ZONE_SIZE + capacities[i],
		  "blocks %lu to %lu are not of one zone", t->slba, t->slba + t->nlb);
	cr_assert(z->reset == 0, "I/O in a zone that is being reset");
	if (t->is_read) {
		cr_assert(t->slba + t->nlb <= z->wp, "block %lu is read, the write pointer is %lu",
			  t->slba, z->wp);
		z->reads++;
		return;
	}
	cr_assert(z->write == 0, "two writes at a time");
	cr_assert(eq(u64, t->slba, z->wp));
	z->write = true;
	cr_assert(open_zones() <= zoned.max_open, "%u zones are open", open_zones());
}

static void end(struct perf_task *t, uint16_t status, bool moves)
{
	struct device_zone *z = &device[t->slba / ZONE_SIZE];

	t->status = status;
	if (t->is_read) {
		z->reads--;
	} else {
		z->write = false;
		z->wp += moves ? t->nlb : 0;
	}
	perf_zones_done(t->job->zones, t);
}

static void begin_some(unsigned j, unsigned read_percent)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct perf_task *t = &tasks[j][i];

		if (under_way[j][i])
			continue;
		if (!perf_zones_waits(jobs[j].zones, t)) {
			t->size = 0;
			t->status = 0;
			t->is_read = below(100) < read_percent;
		}
		if (!perf_zones_draw(jobs[j].zones, t)) {
			cr_assert(perf_zones_waits(jobs[j].zones, t));
			return;
		}
		cr_assert(perf_zones_waits(jobs[j].zones, t) == false);
		begin(t);
		under_way[j][i] = true;
	}
}

/* Something that is under way comes to its end. Return: whether anything was */
static bool end_one(unsigned fail_one_in)
{
	unsigned at = below(JOBS * DEPTH + ZONES);

	for (unsigned k = 0; k < JOBS * DEPTH + ZONES; k++) {
		unsigned n = (at + k) % (JOBS * DEPTH + ZONES), i = n - JOBS * DEPTH;
		bool fails = fail_one_in && below(fail_one_in) == 0;

		if (n < JOBS * DEPTH && under_way[n / DEPTH][n % DEPTH]) {
			under_way[n / DEPTH][n % DEPTH] = false;
			end(&tasks[n / DEPTH][n % DEPTH], fails ? FAILED : 0, !fails || below(2));
			return true;
		}
		if (n >= JOBS * DEPTH && device[i].reset) {
			device[i].reset = false;
			if (!fails)
				device[i].wp = i * ZONE_SIZE;
			perf_zones_reset_done(device[i].arg, fails ? FAILED : 0);
			return true;
		}
	}
	return false;
}

static void go(unsigned read_percent, unsigned fail_one_in)
{
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned j = 0; j < JOBS; j++)
			begin_some(j, read_percent);
		cr_assert(end_one(fail_one_in), "nothing is under way, and nothing can begin");
	}
	while (end_one(0))
		;
	for (unsigned j = 0; j < JOBS; j++)
		cr_assert(eq(u32, jobs[j].outstanding, 0)); /* resets are counted, and done */
}

Test(perf_zones, writes_go_down_zones_that_are_reset_in_turn, .fini = tear_down)
{
	set_up(true, 8);
	go(50, 0);
	cr_assert(resets > 100);
	cr_assert(eq(u64, jobs[0].n.errors, 0));
}

Test(perf_zones, writes_alone, .fini = tear_down)
{
	set_up(true, 8);
	go(0, 0);
	cr_assert(resets > 100);
}

Test(perf_zones, sequential_reads, .fini = tear_down)
{
	set_up(false, 8);
	go(70, 0);
}

Test(perf_zones, rest_of_a_zone_is_written, .fini = tear_down)
{
	set_up(true, 6); /* 56 is no multiple of it */
	go(30, 0);
	cr_assert(resets > 100);
}

Test(perf_zones, zone_of_a_failed_write_is_reset, .fini = tear_down)
{
	set_up(true, 8);
	cfg.continue_on_error = 1000000;
	go(50, 20);
	cr_assert(atomic_load(&stop) == false);
}

Test(perf_zones, failed_reset_ends_the_run, .fini = tear_down)
{
	struct perf_task *t = &tasks[0][0];

	set_up(true, 8);
	cr_assert(perf_zones_draw(jobs[0].zones, t));
	begin(t);
	end(t, FAILED, true);
	do
		t->is_read = 0;
	while (perf_zones_draw(jobs[0].zones, t) && (begin(t), end(t, 0, true), true) && !resets);
	cr_assert(eq(uint, resets, 1));
	cr_assert(atomic_load(&stop) == false);
	perf_zones_reset_done(device[0].arg, FAILED);
	cr_assert(atomic_load(&stop));
	cr_assert(eq(u64, jobs[0].n.errors, 1));
}

Test(perf_zones, reset_that_finds_the_queue_full_is_sent_later, .fini = tear_down)
{
	set_up(true, 8);
	refuse_resets = 50;
	go(50, 0);
	cr_assert(eq(uint, refuse_resets, 0));
	cr_assert(resets > 100);
}

Test(perf_zones, no_zone_that_can_be_written)
{
	struct perf_job job = { .depth = DEPTH };

	errno = 0;
	cr_assert(perf_zones_create(&job, &zoned, 0, 1) == NULL); /* capacities of 0 */
	cr_assert(eq(int, errno, ENOSPC));
}
