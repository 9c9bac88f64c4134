/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/reactor.c - OS threads that run an event loop on a CPU of their own
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <pollux/env.h>
#include <pollux/thread.h>

/* Lives from plx_reactor_start() to plx_reactor_stop(); its thread object from and to the OS
 * thread's own start and end, so that the memory is the reactor's node's. */
struct plx_reactor {
	int stop plx_aligned(PLX_NO_SHARE); /* read every turn, written once */
	struct plx_thread *thread plx_aligned(PLX_NO_SHARE);
	pthread_t os_thread;
	unsigned cpu;
	int tid;
	const char *name; /* until it has started */
	int error;
	sem_t started;
};

static void *reactor_main(void *arg)
{
	struct plx_reactor *r = arg;
	struct plx_thread *t = NULL;

	r->tid = gettid();
	r->error = -plx_topo_bind_self(r->cpu);
	if (!r->error) {
		t = plx_thread_create(r->name);
		r->error = t ? 0 : errno;
	}
	r->thread = t;
	sem_post(&r->started);
	if (!t)
		return NULL;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED))
		plx_thread_poll(t);
	plx_thread_destroy(t);
	return NULL;
}

/* Signals belong to the program's main thread, save those that a thread brings upon itself. */
static int os_thread_create(struct plx_reactor *r)
{
	sigset_t block, before;
	char name[16];
	int rc;

	sigfillset(&block);
	sigdelset(&block, SIGBUS);
	sigdelset(&block, SIGSEGV);
	sigdelset(&block, SIGFPE);
	sigdelset(&block, SIGILL);
	sigdelset(&block, SIGTRAP);
	sigdelset(&block, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	rc = pthread_create(&r->os_thread, NULL, reactor_main, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "plx-%s", r->name);
	pthread_setname_np(r->os_thread, name);
	return 0;
}

struct plx_reactor *plx_reactor_start(unsigned cpu, const char *name)
{
	struct plx_cpuset allowed;
	struct plx_reactor *r;
	void *mem;
	int rc;

	plx_topo_allowed(&allowed);
	if (!plx_cpuset_has(&allowed, cpu)) {
		errno = EINVAL;
		return NULL;
	}
	if (posix_memalign(&mem, PLX_NO_SHARE, sizeof(*r))) {
		errno = ENOMEM;
		return NULL;
	}
	r = mem;
	*r = (struct plx_reactor){ .cpu = cpu, .name = name ? name : "" };
	sem_init(&r->started, 0, 0);
	rc = os_thread_create(r);
	if (!rc) {
		while (sem_wait(&r->started))
			; /* interrupted by a signal */
		rc = r->error;
		if (rc)
			pthread_join(r->os_thread, NULL);
	}
	sem_destroy(&r->started);
	if (rc) {
		free(r);
		errno = rc;
		return NULL;
	}
	r->name = plx_thread_name(r->thread);
	return r;
}

struct plx_thread *plx_reactor_thread(struct plx_reactor *r)
{
	return r->thread;
}

unsigned plx_reactor_cpu(const struct plx_reactor *r)
{
	return r->cpu;
}

int plx_reactor_tid(const struct plx_reactor *r)
{
	return r->tid;
}

void plx_reactor_stop(struct plx_reactor *r)
{
	if (!r)
		return;
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELEASE);
	pthread_join(r->os_thread, NULL);
	free(r);
}
