/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/populate.c - memory brought in behind a device that is in use already
 *
 * The first touch of a page costs its zeroing, and on a virtual machine whose host has yet to find
 * the memory several times that: 0.17 to 1.5 s for 512 MiB. So nobody waits for it here. It is done
 * a huge page at a time: mmap() and munmap() of other threads wait for a slice at most, and so does
 * populate_stop().
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pollux/env.h>

#include "bdev/modules/populate.h"

#define SLICE	    ((size_t)2 << 20)
#define MAX_HELPERS 4
#define LOOK_SLICES 32 /* between two looks at what memory is left */

/* Bytes that all devices together have yet to bring in: they count as free in the system's eyes */
static _Atomic size_t promised;

struct populate {
	struct populate_range ranges[POPULATE_RANGES];
	_Atomic size_t next; /* byte of all ranges, one after the other: the next slice to take */
	_Atomic size_t left; /* bytes not there yet */
	_Atomic size_t owed; /* its part of @promised */
	_Atomic int error; /* errno of the first that failed */
	_Atomic bool stop;
	_Atomic bool short_of; /* memory: the rest comes with first use */
	size_t total;
	unsigned nhelpers;
	pthread_t helpers[MAX_HELPERS];
	char name[64];
};

static const struct populate_range *range_of(const struct populate *p, size_t *off)
{
	const struct populate_range *r = p->ranges;

	for (; *off >= r->len; r++)
		*off -= r->len;
	return r;
}

/* A write that changes nothing, whoever else writes there */
static void touch(char *at)
{
	__atomic_fetch_or(at, 0, __ATOMIC_RELAXED);
}

/*
 * A page fault locks no more than this mapping, madvise() the whole address space while it zeroes,
 * and all that starts up beside this waits: its first I/O came after 0.38 to 0.47 s with the touch,
 * 0.54 to 0.77 s without. Pages are huge where they can be, so madvise() finds little left to do;
 * but it is what can say no.
 */
static int slice_populate(const struct populate_range *r, size_t off)
{
	char *at = r->at + off;

	if (!r->hugetlb)
		touch(at);
	if (!madvise(at, SLICE, MADV_POPULATE_WRITE))
		return 0;
	if (errno != EINVAL)
		return errno;
	/* kernels before 5.14 */
	for (size_t i = 0; i < SLICE; i += PLX_PAGE_SIZE)
		touch(at + i);
	return 0;
}

static void slice_failed(struct populate *p, int error)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&p->error, &none, error))
		return;
	plx_log(PLX_LOG_ERR, "bdev",
		"%s: only %zu of its %zu MiB of memory are to be had: %s: make it smaller", p->name,
		(p->total - atomic_load(&p->left)) >> 20, p->total >> 20, strerror(error));
}

/* Without a way to tell: as much as there is */
static size_t memory_available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	size_t kb = SIZE_MAX >> 10;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %zu kB", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb << 10;
}

static size_t memory_installed(void)
{
	return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Others may have taken what was free: what is left is not for what nobody has written yet */
static bool runs_short(struct populate *p, const struct populate_range *r, size_t off)
{
	if (r->hugetlb || off / SLICE % LOOK_SLICES || memory_available() > memory_installed() / 16)
		return false;
	if (!atomic_exchange(&p->short_of, true))
		plx_log(PLX_LOG_WARN, "bdev",
			"%s: memory runs short: %zu of its %zu MiB are there, the others come with "
			"first use",
			p->name, (p->total - atomic_load(&p->left)) >> 20, p->total >> 20);
	return true;
}

static void *helper_main(void *arg)
{
	struct populate *p = arg;

	while (!atomic_load(&p->stop) && !atomic_load(&p->error) && !atomic_load(&p->short_of)) {
		size_t off = atomic_fetch_add(&p->next, SLICE);
		const struct populate_range *r;
		int error;

		if (off >= p->total)
			break;
		r = range_of(p, &off);
		if (runs_short(p, r, off))
			break;
		error = slice_populate(r, off);
		if (error) {
			slice_failed(p, error);
			continue;
		}
		atomic_fetch_sub(&p->left, SLICE);
		if (!r->hugetlb) {
			atomic_fetch_sub(&p->owed, SLICE);
			atomic_fetch_sub(&promised, SLICE);
		}
	}
	return NULL;
}

/* @len: of pages that are not set aside already */
static bool too_large(size_t len)
{
	size_t owed = atomic_load(&promised);

	return len > memory_installed() / 2 || owed + len > memory_available() / 4 * 3;
}

/*
 * Two CPUs are left to those who use the device: on two CPUs one helper had cold memory there after
 * 1.4 to 1.8 s, two after 1.7 to 4.2 s, as they and two polling threads took turns.
 */
static unsigned helpers_wanted(unsigned cpus)
{
	return cpus <= 3 ? 1 : cpus - 2 < MAX_HELPERS ? cpus - 2 : MAX_HELPERS;
}

static void helpers_start(struct populate *p)
{
	pthread_attr_t attr;
	sigset_t all, before;
	struct plx_cpuset allowed;
	cpu_set_t cpus;
	unsigned n;

	plx_topo_allowed(&allowed);
	n = helpers_wanted(plx_cpuset_count(&allowed));
	CPU_ZERO(&cpus);
	for (int cpu = plx_cpuset_next(&allowed, -1); cpu >= 0;
	     cpu = plx_cpuset_next(&allowed, cpu))
		CPU_SET(cpu, &cpus);
	if (pthread_attr_init(&attr))
		return;
	/* whoever creates a device may be pinned to a core that has better things to do */
	pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	while (p->nhelpers < n) {
		pthread_t *t = &p->helpers[p->nhelpers];

		if (pthread_create(t, &attr, helper_main, p))
			break;
		pthread_setname_np(*t, "populate");
		p->nhelpers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

struct populate *populate_start(const char *name,
				const struct populate_range ranges[POPULATE_RANGES])
{
	struct populate *p = calloc(1, sizeof(*p));
	size_t ordinary = 0;

	if (!p)
		return NULL;
	snprintf(p->name, sizeof(p->name), "%s", name);
	for (int i = 0; i < POPULATE_RANGES; i++) {
		p->ranges[i] = ranges[i];
		p->total += ranges[i].len;
		ordinary += ranges[i].hugetlb ? 0 : ranges[i].len;
	}
	atomic_init(&p->left, p->total);
	if (too_large(ordinary)) {
		plx_log(PLX_LOG_NOTICE, "bdev",
			"%s: %zu MiB are too large a part of the memory that is free: pages come "
			"with first use",
			name, ordinary >> 20);
		free(p);
		errno = EFBIG;
		return NULL;
	}
	atomic_init(&p->owed, ordinary);
	atomic_fetch_add(&promised, ordinary);
	helpers_start(p);
	if (p->nhelpers)
		return p;
	populate_stop(p);
	errno = ENOMEM;
	return NULL;
}

int populate_status(const struct populate *p)
{
	int error = atomic_load_explicit(&p->error, memory_order_acquire);

	if (error)
		return -error;
	if (atomic_load_explicit(&p->short_of, memory_order_relaxed))
		return 0;
	return atomic_load_explicit(&p->left, memory_order_acquire) ? -EAGAIN : 0;
}

static void helpers_join(struct populate *p)
{
	while (p->nhelpers)
		pthread_join(p->helpers[--p->nhelpers], NULL);
}

int populate_wait(struct populate *p)
{
	helpers_join(p);
	return populate_status(p);
}

void populate_stop(struct populate *p)
{
	if (!p)
		return;
	atomic_store(&p->stop, true);
	helpers_join(p);
	atomic_fetch_sub(&promised, atomic_load(&p->owed));
	free(p);
}
