/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/null.c - a device without a medium: everything succeeds at once, reads leave the
 * buffers alone
 *
 * With protection information, reads bring metadata that fits the data in the buffer, so that
 * checks pass.
 */
#include <errno.h>
#include <stdlib.h>

#include "bdev/bdev_internal.h"
#include "bdev/modules/geometry.h"

static void null_submit(struct plx_bdev_io *io)
{
	plx_bdev_io_complete(io, PLX_BDEV_OK);
}

static uint16_t pi_read(struct plx_bdev_io *io)
{
	struct plx_pi_format f = pi_format(io->bdev);
	struct plx_pi_tags tags = pi_tags(io);

	/* what is not asked for need not be invented */
	if (!io->check || (io->check & PLX_BDEV_PRACT) || (!f.interleaved && !io->md))
		return PLX_BDEV_OK;
	return plx_pi_generate(&f, io->iov, io->iovcnt, io->md, io->blocks, &tags)
		       ? PLX_BDEV_ST_INTERNAL
		       : PLX_BDEV_OK;
}

static uint16_t pi_write(struct plx_bdev_io *io)
{
	if ((io->check & PLX_BDEV_PRACT) || (!io->bdev->md_interleaved && !io->md))
		return PLX_BDEV_OK;
	return pi_verify(io, io->iov, io->iovcnt, io->md);
}

static void null_pi_submit(struct plx_bdev_io *io)
{
	uint16_t status = PLX_BDEV_OK;

	if (io->type == PLX_BDEV_READ)
		status = pi_read(io);
	else if (io->type == PLX_BDEV_WRITE)
		status = pi_write(io);
	plx_bdev_io_complete(io, status);
}

static bool null_supports(void *ctx, enum plx_bdev_io_type t)
{
	return true;
}

static void null_destruct(void *ctx)
{
	free(ctx);
}

static const char *null_dump_config(void *ctx, struct json_t *params)
{
	geometry_dump(ctx, params);
	return "bdev_null_create";
}

static const struct plx_bdev_ops null_ops = {
	.product = "Null disk",
	.submit = null_submit,
	.supports = null_supports,
	.destruct = null_destruct,
	.dump_config = null_dump_config,
};

static const struct plx_bdev_ops null_pi_ops = {
	.product = "Null disk",
	.submit = null_pi_submit,
	.supports = null_supports,
	.destruct = null_destruct,
	.dump_config = null_dump_config,
};

int plx_bdev_null_create(const char *name, const struct plx_bdev_geometry *g, struct plx_bdev **out)
{
	struct plx_bdev *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return -ENOMEM;
	rc = geometry_apply(b, name, g);
	if (!rc) {
		b->ops = g->dif == PLX_BDEV_DIF_NONE ? &null_ops : &null_pi_ops;
		b->ctx = b;
		rc = geometry_register(b);
	}
	if (rc) {
		free(b);
		return rc;
	}
	if (out)
		*out = b;
	return 0;
}
