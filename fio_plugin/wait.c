/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/wait.c - enable_interrupts=1: a job that sleeps while none of its I/Os completes
 */
#include "fio_plugin/fio_plugin.h"
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WAIT_MS 100 /* a controller that is gone is noticed when its queue pairs are polled */

int wait_add(const struct thread_data *td, struct job_wait *w, const struct fio_file *f,
	     const struct plx_nvme_qpair *qp)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int fd = plx_nvme_qpair_fd(qp);

	if (fd < 0) {
		engine_error(td, "enable_interrupts=1: '%s' has no interrupts here: leave it out",
			     f->file_name);
		return -1;
	}
	if (w->epoll < 0)
		w->epoll = epoll_create1(EPOLL_CLOEXEC);
	/* a vector may be shared by several */
	if (w->epoll >= 0 && (!epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) || errno == EEXIST))
		return 0;
	engine_error(td, "enable_interrupts=1: '%s' cannot be waited for: %s", f->file_name,
		     strerror(errno));
	return -1;
}

void wait_for_any(const struct job_wait *w, const struct timespec *start, const struct timespec *t)
{
	struct epoll_event ev;
	uint64_t us = WAIT_MS * 1000, gone, most;

	if (t) {
		gone = utime_since_now(start);
		most = (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_nsec / 1000;
		most = most > gone ? most - gone : 0;
		us = most < us ? most : us;
	}
	epoll_wait(w->epoll, &ev, 1, (int)(us / 1000));
}

void wait_end(struct job_wait *w)
{
	if (w->epoll >= 0)
		close(w->epoll);
	w->epoll = -1;
}
