/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/virtual.c - the in-process front end, trtype:VIRTUAL
 *
 * The driver's pcie_backend on one side, a virtual function on the other. Doorbells are plain
 * memory, 128 bytes apart, so that no two of them share a pair of cache lines. Register writes are
 * posted: a message to the function's thread (or the write itself, when the caller is that thread);
 * a read waits for the writes before it, as on a bus.
 */
#include "driver/pcie_backend.h"
#include "targets/nvmf/nvmf_internal.h"
#include <errno.h>
#include <stdlib.h>

/* Lives until both sides have let go of it: destroyed by its owner, closed by the driver. Under
 * virt_lock. */
struct plx_nvmf_virtual {
	struct nvmf_fn fn;
	char name[257];
	TAILQ_ENTRY(plx_nvmf_virtual) link;
	bool destroyed, attached;
	bool inlined; /* created by the owner of @thread, which alone runs it */
	_Atomic uint32_t posted, carried_out; /* register writes */
	int rc; /* of init, carried out in the function's thread */
	struct plx_nvmf_subsystem *subsystem;
	struct nvmf_fn_opts fn_opts;
	struct plx_thread *thread;
};

struct virt_dev {
	struct plx_pcie_dev base;
	struct plx_nvmf_virtual *v;
};

static TAILQ_HEAD(, plx_nvmf_virtual) virtuals = TAILQ_HEAD_INITIALIZER(virtuals);
static pthread_mutex_t virt_lock = PTHREAD_MUTEX_INITIALIZER;

static struct plx_nvmf_virtual *virt_find(const char *name)
{
	struct plx_nvmf_virtual *v;

	TAILQ_FOREACH(v, &virtuals, link)
	{
		if (!strcmp(v->name, name))
			return v;
	}
	return NULL;
}

static void virt_free(struct plx_nvmf_virtual *v)
{
	plx_dma_free((void *)v->fn_opts.doorbells);
	free(v);
}

/* ---- the driver's side ---- */

static const struct plx_pcie_backend virtual_backend;

static int virt_open(const struct plx_nvme_trid *trid, struct plx_pcie_dev **dev)
{
	struct plx_nvmf_virtual *v;
	struct virt_dev *d;

	d = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	pthread_mutex_lock(&virt_lock);
	v = virt_find(trid->traddr);
	if (!v || v->attached) {
		pthread_mutex_unlock(&virt_lock);
		nvmf_log(ERR,
			 v ? "virtual controller '%s' is attached already: disconnect it first"
			   : "no virtual controller '%s' in this process",
			 trid->traddr);
		free(d);
		return v ? -EBUSY : -ENODEV;
	}
	v->attached = true;
	pthread_mutex_unlock(&virt_lock);
	d->v = v;
	d->base.ops = &virtual_backend;
	d->base.doorbells = v->fn_opts.doorbells;
	d->base.doorbell_bytes =
		(size_t)(v->fn_opts.max_io_queues + 1) * 2 * (4u << NVMF_DSTRD_APART);
	d->base.numa = PLX_NUMA_ANY;
	*dev = &d->base;
	return 0;
}

static void virt_close(struct plx_pcie_dev *dev)
{
	struct virt_dev *d = plx_container_of(dev, struct virt_dev, base);
	struct plx_nvmf_virtual *v = d->v;
	bool last;

	/* who attaches next maps what there is then */
	nvmf_fn_dma_unmap(&v->fn, 0, UINT64_MAX);
	pthread_mutex_lock(&virt_lock);
	v->attached = false;
	last = v->destroyed;
	pthread_mutex_unlock(&virt_lock);
	if (last)
		virt_free(v);
	free(d);
}

struct posted_write {
	struct plx_nvmf_virtual *v;
	uint64_t value;
	uint32_t offset;
	unsigned size;
};

static void carry_out_write(void *arg)
{
	struct posted_write *w = arg;

	nvmf_fn_reg_write(&w->v->fn, w->offset, w->value, w->size);
	atomic_fetch_add(&w->v->carried_out, 1);
	free(w);
}

static void virt_reg_write(struct plx_pcie_dev *dev, uint32_t offset, uint64_t value, unsigned size)
{
	struct plx_nvmf_virtual *v = plx_container_of(dev, struct virt_dev, base)->v;
	struct posted_write *w;

	if (atomic_load(&v->fn.vanished))
		return;
	if (plx_thread_current() == v->thread) {
		nvmf_fn_reg_write(&v->fn, offset, value, size);
		return;
	}
	w = malloc(sizeof *w);
	if (!w) {
		nvmf_log(ERR, "virtual controller '%s': out of memory, a register write is lost",
			 v->name);
		return;
	}
	*w = (struct posted_write){ v, value, offset, size };
	atomic_fetch_add(&v->posted, 1);
	while (plx_thread_send(v->thread, carry_out_write, w) == -ENOSPC)
		;
}

static void nothing(void *arg)
{
}

static uint64_t virt_reg_read(struct plx_pcie_dev *dev, uint32_t offset, unsigned size)
{
	struct plx_nvmf_virtual *v = plx_container_of(dev, struct virt_dev, base)->v;

	if (!atomic_load(&v->fn.vanished) &&
	    atomic_load(&v->posted) != atomic_load(&v->carried_out))
		plx_thread_call(v->thread, nothing, NULL, false);
	return nvmf_fn_reg_read(&v->fn, offset, size);
}

static int virt_dma_map(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct plx_nvmf_virtual *v = plx_container_of(dev, struct virt_dev, base)->v;

	if (atomic_load(&v->fn.vanished))
		return 0;
	return nvmf_fn_dma_map(&v->fn, (uint64_t)r->addr, r->addr, r->len);
}

static void virt_dma_unmap(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct plx_nvmf_virtual *v = plx_container_of(dev, struct virt_dev, base)->v;

	if (!atomic_load(&v->fn.vanished))
		nvmf_fn_dma_unmap(&v->fn, (uint64_t)r->addr, r->len);
}

static const struct plx_pcie_backend virtual_backend = {
	.trtype = PLX_NVME_TR_VIRTUAL,
	.open = virt_open,
	.close = virt_close,
	.reg_read = virt_reg_read,
	.reg_write = virt_reg_write,
	.dma_map = virt_dma_map,
	.dma_unmap = virt_dma_unmap,
};

__attribute__((constructor)) static void virtual_register(void)
{
	plx_nvme_register_backend(&virtual_backend);
}

/* ---- the owner's side ---- */

static void virt_init(void *arg)
{
	struct plx_nvmf_virtual *v = arg;

	v->rc = nvmf_fn_init(&v->fn, v->subsystem, v->thread, &v->fn_opts);
}

static int virt_check(const struct plx_nvmf_virtual_opts *o)
{
	if (!o->name || !o->name[0] || strlen(o->name) > 256 || !o->subsystem || !o->thread)
		return -EINVAL;
	return nvmf_fn_opts_check(o->max_io_queues, o->max_queue_size, o->mdts);
}

struct plx_nvmf_virtual *plx_nvmf_virtual_create(const struct plx_nvmf_virtual_opts *o)
{
	struct plx_nvmf_virtual *v;
	int rc = virt_check(o);

	if (rc)
		goto fail;
	rc = -ENOMEM;
	v = aligned_alloc(PLX_NO_SHARE,
			  (sizeof *v + PLX_NO_SHARE - 1) / PLX_NO_SHARE * PLX_NO_SHARE);
	if (!v)
		goto fail;
	memset(v, 0, sizeof *v);
	strcpy(v->name, o->name);
	v->subsystem = o->subsystem;
	v->thread = o->thread;
	v->inlined = plx_thread_current() == o->thread;
	nvmf_fn_opts_fill(&v->fn_opts, o->max_io_queues, o->max_queue_size, o->mdts);
	v->fn_opts.dstrd = NVMF_DSTRD_APART;
	v->fn_opts.doorbells = plx_dma_zalloc((size_t)(v->fn_opts.max_io_queues + 1) * 2 *
						      (4u << NVMF_DSTRD_APART),
					      PLX_PAGE_SIZE, PLX_NUMA_ANY);
	if (!v->fn_opts.doorbells)
		goto free_v;
	pthread_mutex_lock(&virt_lock);
	rc = virt_find(o->name) ? -EEXIST : 0;
	if (!rc)
		TAILQ_INSERT_TAIL(&virtuals, v, link);
	pthread_mutex_unlock(&virt_lock);
	if (rc)
		goto free_v;
	plx_thread_call(v->thread, virt_init, v, false);
	if (!v->rc)
		return v;
	rc = v->rc;
	pthread_mutex_lock(&virt_lock);
	TAILQ_REMOVE(&virtuals, v, link);
	pthread_mutex_unlock(&virt_lock);
free_v:
	virt_free(v);
fail:
	errno = -rc;
	return NULL;
}

void plx_nvmf_virtual_vanish(struct plx_nvmf_virtual *v)
{
	uint8_t present = 0;

	atomic_compare_exchange_strong(&v->fn.vanished, &present, 1);
}

static void virt_stop(void *arg)
{
	struct plx_nvmf_virtual *v = arg;

	nvmf_fn_stop(&v->fn);
}

void nvmf_virtual_stop(struct plx_nvmf_virtual *v)
{
	plx_nvmf_virtual_vanish(v);
	plx_thread_call(v->thread, virt_stop, v, v->inlined);
}

struct virt_question {
	const struct plx_nvmf_virtual *v;
	bool answer;
};

static void virt_is_stopped(void *arg)
{
	struct virt_question *q = arg;

	q->answer = nvmf_fn_stopped(&q->v->fn);
}

bool nvmf_virtual_stopped(struct plx_nvmf_virtual *v)
{
	struct virt_question q = { .v = v };

	if (v->inlined)
		plx_thread_poll(v->thread);
	plx_thread_call(v->thread, virt_is_stopped, &q, v->inlined);
	return q.answer;
}

static void virt_fini(void *arg)
{
	struct plx_nvmf_virtual *v = arg;

	nvmf_fn_fini(&v->fn);
}

void plx_nvmf_virtual_destroy(struct plx_nvmf_virtual *v)
{
	bool attached;

	if (!v)
		return;
	pthread_mutex_lock(&virt_lock);
	TAILQ_REMOVE(&virtuals, v, link);
	pthread_mutex_unlock(&virt_lock);
	plx_nvmf_virtual_vanish(v);
	plx_thread_call(v->thread, virt_fini, v, v->inlined);
	pthread_mutex_lock(&virt_lock);
	v->destroyed = true;
	attached = v->attached;
	pthread_mutex_unlock(&virt_lock);
	if (!attached)
		virt_free(v);
}
