/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_irq.c - interrupts as eventfds: SET_IRQS, and who signals them when
 *
 * While the client has given an eventfd, a poller behind the function's looks once a turn at what
 * each completion queue has posted; without one, as for a client that polls, there is no such
 * poller and no cost. MSI-X vectors are signalled for new entries (edges), INTx while a queue has
 * entries that the host has not taken (a level), masking itself as VFIO's does.
 */
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DATA_FLAGS (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_DATA_EVENTFD)
#define ACTION_FLAGS                                                                               \
	(VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER)
_Static_assert((NVMF_MAX_IOQ + 1) * PCI_MSIX_ENTRY_SIZE <= VU_MSIX_PBA,
	       "the table ends before the PBA");

static const struct vu_vector unused = { .trigger = -1, .mask = -1, .unmask = -1 };

static void msix_table_reset(struct vu_conn *c)
{
	memset(c->msix_table, 0, VU_MSIX_PBA);
	for (uint32_t i = 0; i < c->nvec; i++)
		c->msix_table[i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] =
			PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

int vu_irq_init(struct vu_conn *c)
{
	c->nvec = c->v->fn_opts.max_io_queues + 1;
	c->msix = malloc(c->nvec * sizeof *c->msix);
	c->msix_table = malloc(VU_MSIX_PBA);
	if (!c->msix || !c->msix_table)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->nvec; i++)
		c->msix[i] = unused;
	c->intx = unused;
	msix_table_reset(c);
	return 0;
}

static void fd_set_to(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

static void vector_clear(struct vu_vector *v)
{
	fd_set_to(&v->trigger, -1);
	fd_set_to(&v->mask, -1);
	fd_set_to(&v->unmask, -1);
	*v = unused;
}

void vu_irq_fini(struct vu_conn *c)
{
	plx_poller_destroy(c->irq_poller);
	c->irq_poller = NULL;
	for (uint32_t i = 0; i < c->nvec; i++)
		vector_clear(&c->msix[i]);
	vector_clear(&c->intx);
	c->nmsix = 0;
}

void vu_irq_reset(struct vu_conn *c)
{
	for (uint32_t i = 0; i < c->nvec; i++)
		c->msix[i].pending = false;
	c->intx.pending = false;
	msix_table_reset(c);
}

/* ---- signalling ---- */

/* Eventfds were made non-blocking; a full one has been signalled anyway */
static void event(int fd)
{
	const uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof one) < 0)
		return;
}

static void msix_fire(struct vu_vector *v)
{
	if (v->masked)
		v->pending = true;
	else
		event(v->trigger);
}

bool vu_irq_intx_asserted(const struct vu_conn *c)
{
	const struct nvmf_fn *fn = &c->fn;

	if (c->nmsix || fn->intms & 1)
		return false;
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		const struct nvmf_cq *cq = fn->cqs[qid];

		if (cq && cq->irq_enabled &&
		    nvmf_cq_visible(cq) != __atomic_load_n(cq->head_db, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

static void intx_set_masked(struct vu_conn *c, bool masked)
{
	if (masked == c->intx.masked)
		return;
	c->intx.masked = masked;
	event(masked ? c->intx.mask : c->intx.unmask);
}

static int intx_poll(struct vu_conn *c)
{
	if (c->intx.masked || vu_cfg_intx_disabled(c) || !vu_irq_intx_asserted(c))
		return 0;
	intx_set_masked(c, true);
	event(c->intx.trigger);
	return 1;
}

static int irq_poll(void *arg)
{
	struct vu_conn *c = arg;
	struct nvmf_fn *fn = &c->fn;
	int done = 0;

	if (!c->nmsix)
		return intx_poll(c);
	for (uint32_t qid = 0; qid <= fn->opts.max_io_queues; qid++) {
		struct nvmf_cq *cq = fn->cqs[qid];
		uint64_t seen;

		if (!cq)
			continue;
		/* rounds too: a whole one may have gone by since */
		seen = (uint64_t)cq->rounds << 16 | nvmf_cq_visible(cq);
		if (seen == cq->irq_seen)
			continue;
		cq->irq_seen = seen;
		if (cq->irq_enabled && cq->vector < c->nvec) {
			msix_fire(&c->msix[cq->vector]);
			done++;
		}
	}
	return done;
}

/* The poller is there while there is something to signal */
static int poller_update(struct vu_conn *c)
{
	bool wanted = c->nmsix || c->intx.trigger >= 0;

	if (wanted && !c->irq_poller) {
		c->irq_poller = plx_poller_create(irq_poll, c, 0);
		return c->irq_poller ? 0 : -ENOMEM;
	}
	if (!wanted) {
		plx_poller_destroy(c->irq_poller);
		c->irq_poller = NULL;
	}
	return 0;
}

/* ---- SET_IRQS ---- */

uint32_t vu_irq_count(const struct vu_conn *c, uint32_t index)
{
	return index == VFIO_PCI_INTX_IRQ_INDEX	  ? 1
	       : index == VFIO_PCI_MSIX_IRQ_INDEX ? c->nvec
						  : 0;
}

/* A descriptor that a write could block on has no business here. Return: 0; -EINVAL */
static int eventfd_check(int fd)
{
	char path[32], target[32] = "";
	int fl;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (readlink(path, target, sizeof target - 1) < 0 || strcmp(target, "anon_inode:[eventfd]"))
		return -EINVAL;
	fl = fcntl(fd, F_GETFL);
	return fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) ? -EINVAL : 0;
}

static int set_eventfds(struct vu_conn *c, const struct vfio_irq_set *in, struct vu_vector *v,
			struct vu_msg *m)
{
	uint32_t action = in->flags & ACTION_FLAGS;

	if (m->nfds && m->nfds != in->count)
		return -EINVAL;
	/* KVM's way to unmask INTx would have us read that eventfd, the protocol has us write it:
	 * who means the one gets along without */
	if (action == VFIO_IRQ_SET_ACTION_UNMASK && in->index == VFIO_PCI_INTX_IRQ_INDEX)
		return -ENOTSUP;
	for (uint32_t i = 0; i < m->nfds; i++) {
		if (eventfd_check(m->fds[i]))
			return -EINVAL;
	}
	for (uint32_t i = 0; i < in->count; i++) {
		int fd = m->nfds ? m->fds[i] : -1;

		if (m->nfds)
			m->fds[i] = -1;
		if (action == VFIO_IRQ_SET_ACTION_MASK) {
			fd_set_to(&v[i].mask, fd);
		} else if (action == VFIO_IRQ_SET_ACTION_UNMASK) {
			fd_set_to(&v[i].unmask, fd);
		} else {
			if (in->index == VFIO_PCI_MSIX_IRQ_INDEX)
				c->nmsix += (fd >= 0) - (v[i].trigger >= 0);
			fd_set_to(&v[i].trigger, fd);
			if (fd < 0)
				v[i].pending = v[i].masked = false;
		}
	}
	return poller_update(c);
}

static void act(struct vu_conn *c, bool is_intx, struct vu_vector *v, uint32_t action)
{
	bool mask = action == VFIO_IRQ_SET_ACTION_MASK;

	if (action == VFIO_IRQ_SET_ACTION_TRIGGER) {
		event(v->trigger);
	} else if (is_intx) {
		intx_set_masked(c, mask);
	} else if (mask != v->masked) {
		v->masked = mask;
		event(mask ? v->mask : v->unmask);
		if (!mask && v->pending)
			event(v->trigger);
		v->pending = v->pending && mask;
	}
}

static int disable(struct vu_conn *c, uint32_t index)
{
	if (index == VFIO_PCI_INTX_IRQ_INDEX)
		vector_clear(&c->intx);
	for (uint32_t i = 0; index == VFIO_PCI_MSIX_IRQ_INDEX && i < c->nvec; i++)
		vector_clear(&c->msix[i]);
	if (index == VFIO_PCI_MSIX_IRQ_INDEX)
		c->nmsix = 0;
	return poller_update(c);
}

static bool one_bit(uint32_t v)
{
	return v && !(v & (v - 1));
}

static int set_irqs(struct vu_conn *c, const struct vfio_irq_set *in, struct vu_msg *m)
{
	uint32_t data = in->flags & DATA_FLAGS, action = in->flags & ACTION_FLAGS;
	uint32_t n = vu_irq_count(c, in->index);
	bool is_intx = in->index == VFIO_PCI_INTX_IRQ_INDEX;
	struct vu_vector *v;

	if (in->flags & ~(DATA_FLAGS | ACTION_FLAGS) || !one_bit(data) || !one_bit(action) ||
	    in->index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	if (data != VFIO_IRQ_SET_DATA_EVENTFD && m->nfds)
		return -EINVAL;
	if (!in->count)
		return data == VFIO_IRQ_SET_DATA_NONE && action == VFIO_IRQ_SET_ACTION_TRIGGER &&
				       !in->start
			       ? disable(c, in->index)
			       : -EINVAL;
	if (in->start >= n || in->count > n - in->start)
		return -EINVAL;
	if (data == VFIO_IRQ_SET_DATA_BOOL && m->len - sizeof *in < in->count)
		return -EINVAL;
	v = is_intx ? &c->intx : &c->msix[in->start];
	if (data == VFIO_IRQ_SET_DATA_EVENTFD)
		return set_eventfds(c, in, v, m);
	for (uint32_t i = 0; i < in->count; i++) {
		if (data == VFIO_IRQ_SET_DATA_NONE || in->data[i])
			act(c, is_intx, &v[i], action);
	}
	return 0;
}

void vu_set_irqs(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_irq_set *in = (const void *)m->data;
	int rc = -EINVAL;

	if (m->len >= sizeof *in && in->argsz >= sizeof *in)
		rc = set_irqs(c, in, m);
	if (rc)
		vu_reply_error(c, &m->hdr, -rc);
	else
		vu_reply(c, &m->hdr, 0, -1);
}

/* ---- BAR 4: the table and the pending bits, for whoever reads them ---- */

void vu_msix_read(struct vu_conn *c, uint32_t offset, uint8_t *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		uint32_t at = offset + i;
		uint8_t byte = 0;

		if (at < VU_MSIX_PBA)
			byte = c->msix_table[at];
		for (uint32_t bit = 0; at >= VU_MSIX_PBA && bit < 8; bit++) {
			uint32_t vec = (at - VU_MSIX_PBA) * 8 + bit;

			if (vec < c->nvec && c->msix[vec].pending)
				byte |= (uint8_t)(1u << bit);
		}
		buf[i] = byte;
	}
}

void vu_msix_write(struct vu_conn *c, uint32_t offset, const uint8_t *buf, uint32_t len)
{
	uint32_t end = c->nvec * PCI_MSIX_ENTRY_SIZE;

	if (offset < end)
		memcpy(c->msix_table + offset, buf, len < end - offset ? len : end - offset);
}
