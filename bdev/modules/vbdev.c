/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/vbdev.c - what modules that stand on one other device have in common
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/modules/vbdev.h"

/* ---- the device ---- */

static void base_event(enum plx_bdev_event e, struct plx_bdev *base, void *arg)
{
	struct vbdev *v = arg;

	if (e == PLX_BDEV_EVENT_REMOVE)
		plx_bdev_unregister(&v->bdev, NULL, NULL);
	else if (plx_bdev_resize(&v->bdev, base->blocks))
		plx_log(PLX_LOG_WARN, "bdev",
			"%s: does not follow %s to its new size while it is open", v->bdev.name,
			base->name);
}

bool vbdev_supports(void *ctx, enum plx_bdev_io_type t)
{
	struct vbdev *v = ctx;

	return plx_bdev_supports(v->base->bdev, t);
}

int vbdev_ready(void *ctx)
{
	struct vbdev *v = ctx;

	return plx_bdev_ready(v->base->bdev);
}

const char *vbdev_base_name(const struct vbdev *v)
{
	return v->base->bdev->name;
}

int vbdev_create(struct vbdev *v, const char *name, const char *base, const uint8_t *uuid,
		 const struct plx_bdev_ops *ops)
{
	struct plx_bdev *b = &v->bdev;
	const struct plx_bdev *bb;
	int rc;

	if (!name || !name[0] || strlen(name) >= sizeof(b->name)) {
		plx_log(PLX_LOG_ERR, "bdev", "a bdev needs a name of 1 to %zu bytes",
			sizeof(b->name) - 1);
		return -EINVAL;
	}
	rc = plx_bdev_open(base, true, base_event, v, &v->base);
	if (rc) {
		plx_log(PLX_LOG_ERR, "bdev", "%s: cannot open its base '%s': %s", name, base,
			strerror(-rc));
		return rc;
	}
	bb = v->base->bdev;
	memcpy(b->name, name, strlen(name) + 1);
	if (uuid)
		memcpy(b->uuid, uuid, sizeof(b->uuid));
	b->ops = ops;
	b->ctx = v;
	b->blocks = bb->blocks;
	b->block_size = bb->block_size;
	b->md_size = bb->md_size;
	b->md_interleaved = bb->md_interleaved;
	b->dif = bb->dif;
	b->dif_first = bb->dif_first;
	b->write_cache = bb->write_cache;
	b->numa = bb->numa;
	rc = plx_bdev_register(b);
	if (rc) {
		plx_log(PLX_LOG_ERR, "bdev", "%s: cannot be registered: %s", name, strerror(-rc));
		plx_bdev_close(v->base);
	}
	return rc;
}

void vbdev_destruct(struct vbdev *v)
{
	plx_bdev_close(v->base);
}

/* ---- channels ---- */

static void retry(void *arg)
{
	struct vbdev_channel *c = arg;
	struct bdev_io_list list = c->retry;
	struct plx_bdev_io *io;

	if (list.tail == &c->retry.head)
		list.tail = &list.head;
	io_list_init(&c->retry);
	/* one that finds no room either waits again, behind none that came later */
	while ((io = io_list_pop(&list))) {
		if (c->retry.head)
			io_list_append(&c->retry, io);
		else
			vbdev_forward(io);
	}
}

int vbdev_channel_create(struct vbdev *v, struct vbdev_channel *c,
			 void (*done)(struct plx_bdev_io *io, uint16_t status))
{
	c->desc = v->base;
	c->done = done;
	io_list_init(&c->retry);
	c->wait.cb = retry;
	c->wait.arg = c;
	c->base = plx_bdev_get_channel(v->base);
	return c->base ? 0 : -errno;
}

void vbdev_channel_destroy(struct vbdev_channel *c)
{
	plx_bdev_put_channel(c->base);
}

/* ---- I/O ---- */

static void base_done(struct plx_bdev_io *base_io, void *arg)
{
	struct plx_bdev_io *io = arg;

	((struct vbdev_channel *)io->mch)->done(io, base_io->status);
}

static int submit(struct vbdev_channel *c, struct plx_bdev_io *io)
{
	struct iovec *iov = io->mod[VBDEV_IOV] ? (struct iovec *)io->mod[VBDEV_IOV] : io->iov;
	int iovcnt = io->mod[VBDEV_IOV] ? (int)io->mod[VBDEV_IOVCNT] : io->iovcnt;
	struct plx_bdev_rw rw;

	switch (io->type) {
	case PLX_BDEV_READ:
	case PLX_BDEV_WRITE:
		if (!(io->check | io->flags) && !io->md)
			return io->type == PLX_BDEV_READ
				       ? plx_bdev_readv(c->desc, c->base, iov, iovcnt, io->offset,
							io->blocks, base_done, io)
				       : plx_bdev_writev(c->desc, c->base, iov, iovcnt, io->offset,
							 io->blocks, base_done, io);
		/* fallthrough */
	case PLX_BDEV_COMPARE:
	case PLX_BDEV_VERIFY:
		rw = (struct plx_bdev_rw){ .iov = iov,
					   .iovcnt = iovcnt,
					   .offset = io->offset,
					   .blocks = io->blocks,
					   .md = io->md,
					   .reftag = io->reftag,
					   .apptag = io->apptag,
					   .appmask = io->appmask,
					   .check = io->check,
					   .flags = io->flags };
		return plx_bdev_rw_ext(c->desc, c->base, (enum plx_bdev_io_type)io->type, &rw,
				       base_done, io);
	case PLX_BDEV_FLUSH:
		return plx_bdev_flush(c->desc, c->base, io->offset, io->blocks, base_done, io);
	case PLX_BDEV_UNMAP:
		return plx_bdev_unmap(c->desc, c->base, io->offset, io->blocks, base_done, io);
	case PLX_BDEV_WRITE_ZEROES:
		return plx_bdev_write_zeroes(c->desc, c->base, io->offset, io->blocks, base_done,
					     io);
	case PLX_BDEV_COMPARE_AND_WRITE:
		return plx_bdev_compare_and_write(c->desc, c->base, io->cmp_iov, io->cmp_iovcnt,
						  iov, iovcnt, io->offset, io->blocks, base_done,
						  io);
	case PLX_BDEV_COPY:
		return plx_bdev_copy(c->desc, c->base, io->offset, io->src, io->blocks, base_done,
				     io);
	default:
		return -ENOTSUP;
	}
}

void vbdev_forward(struct plx_bdev_io *io)
{
	struct vbdev_channel *c = io->mch;
	int rc = submit(c, io);

	if (plx_likely(!rc))
		return;
	if (rc == -ENOMEM) {
		if (!c->retry.head)
			plx_bdev_queue_wait(c->base, &c->wait);
		io_list_append(&c->retry, io);
		return;
	}
	c->done(io, rc == -ENODEV    ? PLX_BDEV_ST_NS_NOT_READY
		    : rc == -ENOTSUP ? PLX_BDEV_ST_INVALID_OPCODE
				     : PLX_BDEV_ST_INTERNAL);
}

static bool waits(const struct vbdev_channel *c, const struct plx_bdev_io *io)
{
	for (const struct plx_bdev_io *w = c->retry.head; w; w = w->next)
		if (w == io)
			return true;
	return false;
}

static void stop_waiting(struct vbdev_channel *c, struct plx_bdev_io *io)
{
	io_list_remove(&c->retry, io);
	if (!c->retry.head)
		plx_bdev_cancel_wait(c->base, &c->wait);
	c->done(io, PLX_BDEV_ST_ABORTED);
}

/* Lives until the ABORT has completed. */
struct vabort {
	struct plx_bdev_io *abort;
	bool (*own)(struct vbdev_channel *c, struct plx_bdev_io *victim);
	uint32_t cursor;
	bool aborted, busy, running;
};

static void vabort_run(struct vabort *a);

static void vabort_done(struct plx_bdev_io *base_io, void *arg)
{
	struct vabort *a = arg;

	a->busy = false;
	a->aborted |= !base_io->status;
	vabort_run(a);
}

static void vabort_run(struct vabort *a)
{
	struct plx_bdev_io *abort = a->abort, *io;
	struct vbdev_channel *c = abort->mch;
	bool aborted;

	if (a->running)
		return;
	a->running = true;
	while (!a->busy && (io = channel_match(abort->ch, abort->abort_arg, &a->cursor))) {
		if (waits(c, io)) {
			stop_waiting(c, io);
			a->aborted = true;
		} else if (a->own(c, io)) {
			a->aborted = true;
		} else {
			a->busy = true;
			if (plx_bdev_abort(c->desc, c->base, io, vabort_done, a))
				a->busy = false;
		}
	}
	a->running = false;
	if (a->busy)
		return;
	aborted = a->aborted;
	free(a);
	plx_bdev_io_complete(abort, aborted ? PLX_BDEV_OK : PLX_BDEV_ST_INTERNAL);
}

void vbdev_abort(struct plx_bdev_io *abort,
		 bool (*own)(struct vbdev_channel *c, struct plx_bdev_io *victim))
{
	struct vabort *a = calloc(1, sizeof(*a));

	if (!a) {
		plx_bdev_io_complete(abort, PLX_BDEV_ST_INTERNAL);
		return;
	}
	a->abort = abort;
	a->own = own;
	vabort_run(a);
}

static void reset_done(struct plx_bdev_io *base_io, void *arg)
{
	plx_bdev_io_complete(arg, base_io->status);
}

void vbdev_reset(struct plx_bdev_io *reset)
{
	struct vbdev_channel *c = reset->mch;
	int rc;

	while (c->retry.head)
		stop_waiting(c, c->retry.head);
	rc = plx_bdev_reset(c->desc, c->base, reset_done, reset);
	if (rc)
		plx_bdev_io_complete(reset, PLX_BDEV_ST_INTERNAL);
}
