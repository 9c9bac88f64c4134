/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/wait.c - --interrupts: a worker that sleeps while nothing completes
 */
#include "perf/perf.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WAIT_MS 20 /* controllers are polled so often, and a stop is seen */

int perf_wait_open(struct perf_worker *w)
{
	if (!w->cfg->interrupts)
		return 0;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll < 0)
		return -errno;
	for (unsigned i = 0; i < w->njobs; i++) {
		struct perf_job *job = w->jobs[i];
		struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
		int fd = job->engine->wait_fd ? job->engine->wait_fd(job) : -ENOTSUP;

		if (fd < 0) {
			plx_log(PLX_LOG_ERR, "perf",
				"%s has no interrupts here: leave --interrupts out",
				job->device->name);
			return fd;
		}
		/* a vector may be shared by several */
		if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

void perf_wait_close(struct perf_worker *w)
{
	if (w->epoll >= 0)
		close(w->epoll);
	w->epoll = -1;
}

void perf_wait(struct perf_worker *w, uint64_t now)
{
	uint64_t ms = 0;
	struct epoll_event ev[8];

	for (unsigned i = 0; i < w->njobs; i++) {
		if (!w->jobs[i]->engine->may_wait(w->jobs[i]))
			return;
	}
	if (w->next_event > now)
		ms = (w->next_event - now) / (plx_tsc_hz() / 1000);
	epoll_wait(w->epoll, ev, PLX_ARRAY_SIZE(ev), ms < WAIT_MS ? (int)ms : WAIT_MS);
}
