/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/abort.c - ends the I/Os of a channel that were submitted with one callback argument
 *
 * Those that the layer holds back end here. Of those in the module's hands the module is asked:
 * once for all that it knows by the caller's argument, and once for each that was cut in pieces,
 * which it knows by that I/O.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev_internal.h"

/* Lives until the ABORT has completed. */
struct abort {
	struct plx_bdev_io child;
	struct plx_bdev_io *io;
	uint32_t cursor;
	uint32_t aborted;
	bool asked; /* for those that are not split */
	bool busy, running;
};

struct plx_bdev_io *channel_match(struct plx_bdev_channel *ch, void *arg, uint32_t *cursor)
{
	while (*cursor < ch->carved) {
		struct plx_bdev_io *io = &ch->pool[(*cursor)++];

		if (!(io->state & (IO_DONE | IO_DEFERRED | IO_LAYER)) && io->arg == arg)
			return io;
	}
	return NULL;
}

static void abort_held(struct abort *a, struct plx_bdev_channel *ch)
{
	struct plx_bdev_io *io;
	uint32_t cursor = 0;

	while ((io = channel_match(ch, a->io->abort_arg, &cursor))) {
		if (!(io->state & IO_HELD))
			continue;
		io_list_remove(&ch->held, io);
		io->state &= (uint8_t)~IO_HELD;
		a->aborted++;
		if (io->state & IO_SPLIT)
			split_cancel(io);
		plx_bdev_io_complete(io, PLX_BDEV_ST_ABORTED);
	}
}

/* What the module shall abort next, by callback argument. Return: false when that is all */
static bool next_target(struct abort *a, struct plx_bdev_channel *ch, void **arg)
{
	struct plx_bdev_io *io;

	while (!a->asked && (io = channel_match(ch, a->io->abort_arg, &a->cursor)))
		if (!(io->state & IO_SPLIT)) {
			a->asked = true;
			a->cursor = 0;
			*arg = a->io->abort_arg;
			return true;
		}
	if (!a->asked) {
		a->asked = true;
		a->cursor = 0;
	}
	while ((io = channel_match(ch, a->io->abort_arg, &a->cursor)))
		if (io->state & IO_SPLIT) {
			*arg = io;
			return true;
		}
	return false;
}

static void abort_run(struct abort *a);

static void child_done(struct plx_bdev_io *child, void *arg)
{
	struct abort *a = arg;

	a->busy = false;
	if (!child->status)
		a->aborted++;
	abort_run(a);
}

static void abort_run(struct abort *a)
{
	struct plx_bdev_io *io = a->io;
	struct plx_bdev_channel *ch = io->ch;
	bool native = ch->bdev->internal->native & 1u << PLX_BDEV_ABORT;
	void *target;

	if (a->running)
		return;
	a->running = true;
	while (!a->busy && native && next_target(a, ch, &target)) {
		memset(&a->child, 0, sizeof(a->child));
		a->child.type = PLX_BDEV_ABORT;
		a->child.state = IO_CHILD;
		a->child.mch = ch->mch;
		a->child.bdev = ch->bdev;
		a->child.ch = ch;
		a->child.cb = child_done;
		a->child.arg = a;
		a->child.abort_arg = target;
		a->busy = true;
		ch->submit(&a->child);
	}
	a->running = false;
	if (a->busy)
		return;
	native = a->aborted > 0;
	free(a);
	io->state &= (uint8_t)~IO_LAYER;
	plx_bdev_io_complete(io, native ? PLX_BDEV_OK : PLX_BDEV_ST_INTERNAL);
}

int plx_bdev_abort(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, void *io_arg,
		   plx_bdev_cb cb, void *arg)
{
	struct bdev_req r = { .type = PLX_BDEV_ABORT, .cb = cb, .arg = arg };
	struct abort *a;
	void *mem;

	/* of a removed device, too: what hangs there has to come back before its owner can close */
	if (posix_memalign(&mem, PLX_CACHE_LINE, sizeof(*a)))
		return -ENOMEM;
	a = memset(mem, 0, sizeof(*a));
	a->io = req_io(ch, &r);
	if (!a->io) {
		free(a);
		return -ENOMEM;
	}
	a->io->state = IO_LAYER;
	a->io->abort_arg = io_arg;
	abort_held(a, ch);
	abort_run(a);
	return 0;
}
