/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/fault.c - see fault.h
 *
 * The handler reads the ranges without a lock: a range is there while its end is not 0, which is
 * written last when it comes and first when it goes. Nobody touches memory whose guard comes or
 * goes, so no fault depends on a range that is half there.
 */
#include "core/fault.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK_RANGES 256
#define MAX_CHUNKS   256

struct range {
	_Atomic uintptr_t start, end;
	_Atomic(_Atomic uint32_t *) hit;
};

/* Chunks are never freed: the handler may be looking at them */
static _Atomic(struct range *) chunks[MAX_CHUNKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static int installed;

static struct range *range_of(uintptr_t addr)
{
	for (int c = 0; c < MAX_CHUNKS; c++) {
		struct range *r = atomic_load(&chunks[c]);

		for (int i = 0; r && i < CHUNK_RANGES; i++) {
			uintptr_t end = atomic_load(&r[i].end);

			if (addr < end && addr >= atomic_load(&r[i].start))
				return &r[i];
		}
	}
	return NULL;
}

static void not_ours(int sig, siginfo_t *info, void *context)
{
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(sig, info, context);
	} else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(sig);
	} else if (previous.sa_handler == SIG_DFL || info->si_code > 0) {
		/* a fault comes again on return, what was sent is sent again: now it ends the
		 * process */
		signal(SIGBUS, SIG_DFL);
		if (info->si_code <= 0)
			raise(SIGBUS);
	}
}

/* Async-signal-safe: atomics and system calls */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct range *r = info->si_code > 0 ? range_of((uintptr_t)info->si_addr) : NULL;
	int saved = errno;
	uintptr_t start;
	size_t len;

	if (!r) {
		not_ours(sig, info, context);
		errno = saved;
		return;
	}
	start = atomic_load(&r->start);
	len = atomic_load(&r->end) - start;
	if (syscall(SYS_mmap, start, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == -1)
		not_ours(sig, info, context);
	atomic_store(atomic_load(&r->hit), 1);
	errno = saved;
}

/* Under lock */
static int install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (installed)
		return 0;
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGBUS, &sa, &previous))
		return -errno;
	installed = 1;
	return 0;
}

/* Under lock. Return: a free slot, or -errno */
static int find_free(void)
{
	for (int c = 0; c < MAX_CHUNKS; c++) {
		struct range *r = atomic_load(&chunks[c]);

		if (!r) {
			r = calloc(CHUNK_RANGES, sizeof *r);
			if (!r)
				return -ENOMEM;
			atomic_store(&chunks[c], r);
		}
		for (int i = 0; i < CHUNK_RANGES; i++) {
			if (!atomic_load(&r[i].end))
				return c * CHUNK_RANGES + i;
		}
	}
	return -ENOSPC;
}

int plx_fault_guard(void *addr, size_t len, _Atomic uint32_t *hit)
{
	struct range *r;
	int rc;

	pthread_mutex_lock(&lock);
	rc = install();
	if (!rc)
		rc = find_free();
	if (rc >= 0) {
		r = &atomic_load(&chunks[rc / CHUNK_RANGES])[rc % CHUNK_RANGES];
		atomic_store(&r->start, (uintptr_t)addr);
		atomic_store(&r->hit, hit);
		atomic_store(&r->end, (uintptr_t)addr + len);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

void plx_fault_unguard(int guard)
{
	if (guard < 0)
		return;
	pthread_mutex_lock(&lock);
	atomic_store(&atomic_load(&chunks[guard / CHUNK_RANGES])[guard % CHUNK_RANGES].end, 0);
	pthread_mutex_unlock(&lock);
}
