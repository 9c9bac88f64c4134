/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/interrupt.c - queue pairs that are waited for instead of polled
 *
 * Vector 0 is the admin queue's, which is polled all the same; the others go round among the I/O
 * queue pairs, and where there is only one, they share it. A vector is an eventfd, to which the
 * driver writes as well when it wants something of an owner that may be waiting.
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_VECTORS 65 /* each is a file descriptor of the process */

/* Return: vectors that signal the eventfds, 1 or more; -errno */
static int enable_vectors(struct plx_pcie_dev *dev, unsigned count, const int *fds)
{
	int rc = -ENOTSUP;

	if (dev->ops->irq_vectors)
		return dev->ops->irq_vectors(dev, count, fds);
	if (!dev->ops->irq_enable)
		return rc;
	for (unsigned i = 0; i < count; i++) {
		rc = dev->ops->irq_enable(dev, i, fds[i]);
		if (rc)
			return i ? (int)i : rc;
	}
	return (int)count;
}

static int make_eventfds(struct plx_nvme_ctrlr *c, unsigned count)
{
	c->irq_fds = calloc(count, sizeof(*c->irq_fds));
	if (!c->irq_fds)
		return -ENOMEM;
	for (; c->irq_count < count; c->irq_count++) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return -errno;
		c->irq_fds[c->irq_count] = fd;
	}
	return 0;
}

static void close_from(struct plx_nvme_ctrlr *c, unsigned keep)
{
	while (c->irq_count > keep)
		close(c->irq_fds[--c->irq_count]);
}

void ctrlr_irq_init(struct plx_nvme_ctrlr *c)
{
	unsigned want = c->opts.num_io_queues ? c->opts.num_io_queues + 1 : MAX_VECTORS;
	int rc;

	if (!c->opts.interrupts)
		return;
	want = want < MAX_VECTORS ? want : MAX_VECTORS;
	rc = make_eventfds(c, want);
	if (!rc)
		rc = enable_vectors(c->dev, want, c->irq_fds);
	close_from(c, rc < 0 ? 0 : (unsigned)rc);
	if (rc < 0)
		nvme_log(WARN, "controller '%s': no interrupts: %s: its queue pairs are polled",
			 c->name, strerror(-rc));
}

void ctrlr_irq_again(struct plx_nvme_ctrlr *c)
{
	int rc = c->irq_count ? enable_vectors(c->dev, c->irq_count, c->irq_fds) : 0;

	if (rc < 0)
		ctrlr_fail(c, rc, "has no interrupts after a reset of its function: %s",
			   strerror(-rc));
}

void ctrlr_irq_fini(struct plx_nvme_ctrlr *c)
{
	close_from(c, 0);
	free(c->irq_fds);
	c->irq_fds = NULL;
}

void qpair_irq_init(struct plx_nvme_qpair *qp)
{
	const struct plx_nvme_ctrlr *c = qp->ctrlr;

	if (!c->irq_count)
		return;
	qp->irq_vector = c->irq_count > 1 ? (uint16_t)(1 + (qp->qid - 1u) % (c->irq_count - 1)) : 0;
	qp->irq_fd = c->irq_fds[qp->irq_vector];
	/* a controller may hold back interrupts while there are entries it thinks unseen */
	qp->cq_ack_at = 1;
}

void qpair_irq_wake(const struct plx_nvme_qpair *qp)
{
	if (qp->irq_fd >= 0)
		eventfd_write(qp->irq_fd, 1);
}

int plx_nvme_qpair_fd(const struct plx_nvme_qpair *qp)
{
	return qp->irq_fd >= 0 ? qp->irq_fd : -ENOTSUP;
}

bool plx_nvme_qpair_arm(struct plx_nvme_qpair *qp)
{
	struct plx_pcie_dev *dev = qp->ctrlr->dev;
	const struct plx_nvme_cpl *next = &qp->cq[qp->cq_head];

	if (qp->irq_fd < 0 || qp->state == NVME_QP_FAILED ||
	    atomic_load_explicit(&qp->ctl.want, memory_order_acquire) != qp->want_seen)
		return false;
	if (qp->state != NVME_QP_LIVE)
		return true; /* woken when that changes */
	plx_nvme_qpair_flush(qp);
	if (qp->db_by_call)
		qpair_send_doorbells(qp);
	if (dev->irq_line)
		dev->ops->irq_unmask(dev);
	return (__atomic_load_n(&next->status, __ATOMIC_ACQUIRE) & 1) != qp->phase;
}
