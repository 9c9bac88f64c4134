/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/geometry.c - what the modules that invent their devices have in common
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include <pollux/env.h>

#include "core/text.h"
#include "bdev/modules/geometry.h"

static int refuse(const char *name, const char *what, uint64_t value, const char *remedy)
{
	plx_log(PLX_LOG_ERR, "bdev", "%s: %s %" PRIu64 " is not possible: %s", name, what, value,
		remedy);
	return -EINVAL;
}

int geometry_apply(struct plx_bdev *b, const char *name, const struct plx_bdev_geometry *g)
{
	uint64_t block = (uint64_t)g->block_size + g->md_size, bytes;

	if (!name || !name[0] || strlen(name) >= sizeof(b->name)) {
		plx_log(PLX_LOG_ERR, "bdev", "a bdev needs a name of 1 to %zu bytes",
			sizeof(b->name) - 1);
		return -EINVAL;
	}
	if (g->block_size < 512 || g->block_size > 65536 || (g->block_size & (g->block_size - 1)))
		return refuse(name, "block size", g->block_size,
			      "use a power of two from 512 to 65536");
	if (g->md_size && g->md_size != 8 && g->md_size != 16 && g->md_size != 32 &&
	    g->md_size != 64 && g->md_size != 128)
		return refuse(name, "metadata size", g->md_size, "use 0, 8, 16, 32, 64 or 128");
	if (g->md_interleaved && !g->md_size)
		return refuse(name, "metadata size", 0,
			      "interleaved metadata needs 8 bytes or more");
	if ((unsigned)g->dif > PLX_BDEV_DIF_TYPE3)
		return refuse(name, "protection information type", g->dif, "use 0 to 3");
	if (g->dif != PLX_BDEV_DIF_NONE && !g->md_size)
		return refuse(name, "metadata size", 0,
			      "protection information needs 8 bytes or more");
	if (g->phys_block_size &&
	    (g->phys_block_size < 512 || (g->phys_block_size & (g->phys_block_size - 1))))
		return refuse(name, "physical block size", g->phys_block_size,
			      "use a power of two, 512 or more");
	if (!g->blocks || __builtin_mul_overflow(g->blocks, block, &bytes) || bytes > INT64_MAX)
		return refuse(name, "number of blocks", g->blocks,
			      "use 1 or more, up to 2^63 bytes in all");

	memset(b, 0, sizeof(*b));
	memcpy(b->name, name, strlen(name));
	memcpy(b->uuid, g->uuid, sizeof(b->uuid));
	b->blocks = g->blocks;
	b->block_size = g->block_size;
	b->md_size = g->md_size;
	b->md_interleaved = g->md_interleaved;
	b->dif_first = g->dif_first;
	b->dif = g->dif;
	b->max_rw_blocks = g->max_rw_blocks;
	b->boundary = g->boundary;
	b->phys_block_size = g->phys_block_size;
	b->numa = g->numa;
	return 0;
}

int geometry_register(struct plx_bdev *b)
{
	int rc = plx_bdev_register(b);

	if (rc == -EEXIST)
		plx_log(PLX_LOG_ERR, "bdev",
			"%s: there is a bdev of that name or UUID: delete it or take another",
			b->name);
	else if (rc)
		plx_log(PLX_LOG_ERR, "bdev", "%s: cannot be registered: %s", b->name,
			strerror(-rc));
	return rc;
}

void uuid_dump(const struct plx_bdev *b, struct json_t *params)
{
	char text[PLX_UUID_TEXT];

	json_object_set_new(params, "uuid", json_string(plx_format_uuid(b->uuid, text)));
}

void geometry_dump(const struct plx_bdev *b, struct json_t *params)
{
	json_object_set_new(params, "name", json_string(b->name));
	json_object_set_new(params, "num_blocks", json_integer((json_int_t)b->blocks));
	json_object_set_new(params, "block_size", json_integer(b->block_size));
	uuid_dump(b, params);
	if (b->md_size) {
		json_object_set_new(params, "md_size", json_integer(b->md_size));
		json_object_set_new(params, "md_interleave", json_boolean(b->md_interleaved));
		json_object_set_new(params, "dif_type", json_integer(b->dif));
		json_object_set_new(params, "dif_is_head_of_md", json_boolean(b->dif_first));
	}
	if (b->boundary)
		json_object_set_new(params, "optimal_io_boundary", json_integer(b->boundary));
	if (b->phys_block_size)
		json_object_set_new(params, "physical_block_size",
				    json_integer(b->phys_block_size));
	if (b->max_rw_blocks)
		json_object_set_new(params, "max_rw_blocks", json_integer(b->max_rw_blocks));
}
