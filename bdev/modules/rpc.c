/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/rpc.c - RPC methods that make, change and delete devices: null, malloc, delay, error
 */
#include "bdev/modules/latency.h"
#include "core/rpc_util.h"
#include "core/text.h"
#include <stdio.h>

#define MIB (1ull << 20)

/* ---- what they have in common ---- */

/* Return: true, with @out set where the parameter was given; false with the error of @call */
static bool take_uuid(struct plx_rpc_call *call, const json_t *params, uint8_t out[16])
{
	static const uint8_t nil[16];
	const char *text = rpc_str(params, "uuid");

	if (!text)
		return true;
	/* the nil UUID stands for none */
	if (plx_parse_uuid(text, out) && memcmp(out, nil, sizeof(nil)))
		return true;
	plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
		     "uuid: '%.64s' is no UUID: write it as in "
		     "913fc008-79a7-447f-b2c4-c73543638c31",
		     text);
	return false;
}

/* A device of a module, told by its product. Return: NULL with the error of @call */
static struct plx_bdev *device_of(struct plx_rpc_call *call, const char *param, const char *name,
				  const char *product)
{
	struct plx_bdev *b = plx_bdev_by_name(name);

	if (b && !strcmp(b->ops->product, product))
		return b;
	if (b)
		plx_rpc_fail(call, -ENODEV, "%s: '%.64s' is a '%s', not a '%s'", param, name,
			     b->ops->product, product);
	else
		plx_rpc_fail(call, -ENODEV,
			     "%s: there is no bdev '%.64s': bdev_get_bdevs lists them", param,
			     name);
	return NULL;
}

static json_t *delete_of(struct plx_rpc_call *call, const json_t *params, const char *product)
{
	const char *name = rpc_str(params, "name");
	int rc;

	if (!device_of(call, "name", name, product))
		return NULL;
	rc = plx_bdev_delete(name);
	if (rc == -EBUSY)
		return plx_rpc_fail(call, rc,
				    "name: '%.64s' goes as soon as those let go of it who have it "
				    "open; they have not within a second",
				    name);
	return rc ? rpc_failed(call, rc, "it cannot be deleted") : json_true();
}

static const struct plx_rpc_param name_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "the bdev" },
	{ 0 },
};

/* ---- null and malloc ---- */

static bool take_geometry(struct plx_rpc_call *call, const json_t *params,
			  struct plx_bdev_geometry *g)
{
	*g = (struct plx_bdev_geometry){
		.blocks = rpc_int(params, "num_blocks"),
		.block_size = (uint32_t)rpc_int(params, "block_size"),
		.md_size = (uint32_t)rpc_int(params, "md_size"),
		.md_interleaved = rpc_bool(params, "md_interleave"),
		.dif = (enum plx_bdev_dif)rpc_int(params, "dif_type"),
		.dif_first = rpc_bool(params, "dif_is_head_of_md"),
		.boundary = (uint32_t)rpc_int(params, "optimal_io_boundary"),
		.max_rw_blocks = (uint32_t)rpc_int(params, "max_rw_blocks"),
		.phys_block_size = (uint32_t)rpc_int(params, "physical_block_size"),
		.numa = rpc_has(params, "numa_id") ? (int)rpc_int(params, "numa_id") : -1,
		.populate = rpc_bool(params, "populate"),
	};
	return take_uuid(call, params, g->uuid);
}

/* clang-format off */
#define GEOMETRY_PARAMS(md_interleave_default)                                                     \
	{ "block_size", PLX_RPC_INT, .required = true, .min = 1, .max = UINT32_MAX,                \
	  .help = "bytes of data in a block: a power of two from 512 to 65536" },                  \
	{ "num_blocks", PLX_RPC_INT, .required = true, .min = 1, .max = INT64_MAX,                 \
	  .help = "blocks" },                                                                      \
	{ "uuid", PLX_RPC_STRING, .help = "made from the name unless given" },                     \
	{ "physical_block_size", PLX_RPC_INT, .min = 512, .max = 1u << 30,                         \
	  .help = "bytes the medium is said to write at once: a power of two" },                   \
	{ "md_size", PLX_RPC_INT, .dflt = "0", .min = 0, .max = 128,                               \
	  .help = "bytes of metadata for each block: 0, 8, 16, 32, 64 or 128" },                   \
	{ "md_interleave", PLX_RPC_BOOL, .dflt = md_interleave_default,                            \
	  .help = "metadata follows each block's data, else it has a buffer of its own" },         \
	{ "dif_type", PLX_RPC_INT, .dflt = "0", .min = 0, .max = 3,                                \
	  .help = "type of protection information, 0 for none; needs metadata" },                  \
	{ "dif_is_head_of_md", PLX_RPC_BOOL, .dflt = "false",                                      \
	  .help = "it is in the first, not the last, eight bytes of the metadata" },               \
	{ "dif_pi_format", PLX_RPC_INT, .dflt = "0",                                            \
	  .help = "format of protection information: 0, with 16-bit guards, is what there is" },   \
	{ "optimal_io_boundary", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,            \
	  .help = "blocks: I/O that crosses a multiple of it is split; 0: none is" },              \
	{ "max_rw_blocks", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,                  \
	  .help = "blocks: I/O of more is split; 0: none is" }
/* clang-format on */

static const struct plx_rpc_param null_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "name of the new bdev" },
	GEOMETRY_PARAMS("true"),
	{ 0 },
};

static bool check_pi_format(struct plx_rpc_call *call, const json_t *params)
{
	uint64_t format = rpc_int(params, "dif_pi_format");

	if (format)
		plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
			     "dif_pi_format: %llu is not possible: 0, with 16-bit guards, is",
			     (unsigned long long)format);
	return !format;
}

static json_t *null_create(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct plx_bdev_geometry g;
	uint32_t data;
	int rc;

	if (!check_pi_format(call, params) || !take_geometry(call, params, &g))
		return NULL;
	/* block sizes that include the metadata are how this was once written, and no power of 2 */
	data = g.block_size - g.md_size;
	if (g.md_size && g.block_size > g.md_size && !(data & (data - 1)))
		g.block_size = data;
	/* by default, but there must be some */
	g.md_interleaved &= g.md_size != 0;
	rpc_begin();
	rc = plx_bdev_null_create(name, &g, NULL);
	return rc ? rpc_failed(call, rc, name) : json_string(name);
}

static json_t *null_delete(struct plx_rpc_call *call, const json_t *params)
{
	return delete_of(call, params, "Null disk");
}

static json_t *null_resize(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct plx_bdev *b = device_of(call, "name", name, "Null disk");
	int rc;

	if (!b)
		return NULL;
	rc = plx_bdev_resize(b, rpc_int(params, "new_size") * MIB / b->block_size);
	if (rc == -EBUSY)
		return plx_rpc_fail(call, rc,
				    "new_size: less than it is, and '%.64s' is in use: it can only "
				    "grow",
				    name);
	if (rc)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "new_size: %llu MiB is no size for a bdev",
				    (unsigned long long)rpc_int(params, "new_size"));
	return json_true();
}

static const struct plx_rpc_param null_resize_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "the bdev" },
	{ "new_size", PLX_RPC_INT, .required = true, .min = 1, .max = (int64_t)(INT64_MAX / MIB),
	  .help = "MiB" },
	{ 0 },
};

static const struct plx_rpc_param malloc_params[] = {
	{ "name", PLX_RPC_STRING, .help = "name of the new bdev; Malloc0 and so on unless given" },
	GEOMETRY_PARAMS("false"),
	{ "numa_id", PLX_RPC_INT, .min = -1, .max = 1023,
	  .help = "NUMA node of the memory, -1 for any" },
	{ "populate", PLX_RPC_BOOL, .dflt = "true",
	  .help = "take all memory in the background from now on, as far as enough is free; else "
		  "each "
		  "page with its first use" },
	{ 0 },
};

static json_t *malloc_create(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct plx_bdev_geometry g;
	char generated[32];
	int rc;

	if (!check_pi_format(call, params) || !take_geometry(call, params, &g))
		return NULL;
	for (unsigned i = 0; !name; i++) {
		snprintf(generated, sizeof(generated), "Malloc%u", i);
		if (!plx_bdev_by_name(generated))
			name = generated;
	}
	rpc_begin();
	rc = plx_bdev_malloc_create(name, &g, NULL);
	return rc ? rpc_failed(call, rc, name) : json_string(name);
}

static json_t *malloc_delete(struct plx_rpc_call *call, const json_t *params)
{
	return delete_of(call, params, "Malloc disk");
}

/* ---- delay ---- */

static const struct plx_rpc_param delay_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "name of the new bdev" },
	{ "base_bdev_name", PLX_RPC_STRING, .required = true, .help = "the bdev it stands on" },
	{ "avg_read_latency", PLX_RPC_INT,
	  .help = "microseconds that reads take; required without read_latency" },
	{ "p99_read_latency", PLX_RPC_INT,
	  .help = "microseconds that one read in a hundred takes" },
	{ "avg_write_latency", PLX_RPC_INT,
	  .help = "microseconds that everything else takes; required without write_latency" },
	{ "p99_write_latency", PLX_RPC_INT, .help = "microseconds that one in a hundred takes" },
	{ "read_latency", PLX_RPC_OBJECT,
	  .help = "instead of the two values, a distribution: {\"distribution\": \"lognormal\", "
		  "\"mean_ns\": 80000, \"sigma\": 0.3}" },
	{ "write_latency", PLX_RPC_OBJECT, .help = "the same for everything else" },
	{ "seed", PLX_RPC_INT, .dflt = "0", .help = "of the random numbers: repeats a run" },
	{ "uuid", PLX_RPC_STRING, .help = "made from the name unless given" },
	{ 0 },
};

/* @way: "read" or "write". Return: whether *@l is set; else the error of @call is */
static bool take_latency(struct plx_rpc_call *call, const json_t *params, const char *way,
			 struct plx_bdev_latency *l)
{
	const char *wrong;
	char avg[32], p99[32], own[32];

	snprintf(avg, sizeof(avg), "avg_%s_latency", way);
	snprintf(p99, sizeof(p99), "p99_%s_latency", way);
	snprintf(own, sizeof(own), "%s_latency", way);
	if (rpc_has(params, own)) {
		if (rpc_has(params, avg) || rpc_has(params, p99)) {
			plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				     "%s: either this or %s and %s, not both", own, avg, p99);
			return false;
		}
		wrong = latency_parse(json_object_get(params, own), l);
		if (wrong)
			plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "%s: %s", own, wrong);
		return !wrong;
	}
	if (!rpc_has(params, avg) || !rpc_has(params, p99)) {
		plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
			     "%s: it is missing, and required: microseconds",
			     rpc_has(params, avg) ? p99 : avg);
		return false;
	}
	wrong = latency_from_two_points(l, rpc_int(params, avg), rpc_int(params, p99));
	if (wrong)
		plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "%s: %s", p99, wrong);
	return !wrong;
}

static json_t *delay_create(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct plx_bdev_latency read, write;
	uint8_t uuid[16] = { 0 };
	int rc;

	if (!take_latency(call, params, "read", &read) ||
	    !take_latency(call, params, "write", &write) || !take_uuid(call, params, uuid))
		return NULL;
	rpc_begin();
	rc = plx_bdev_delay_create(name, rpc_str(params, "base_bdev_name"), &read, &write,
				   rpc_int(params, "seed"), uuid, NULL);
	return rc ? rpc_failed(call, rc, name) : json_string(name);
}

static json_t *delay_delete(struct plx_rpc_call *call, const json_t *params)
{
	return delete_of(call, params, "Delay disk");
}

static const struct plx_rpc_param delay_update_params[] = {
	{ "delay_bdev_name", PLX_RPC_STRING, .required = true, .help = "the delay bdev" },
	{ "latency_type", PLX_RPC_ENUM, .required = true,
	  .words = "avg_read|p99_read|avg_write|p99_write", .help = "which of its latencies" },
	{ "latency_us", PLX_RPC_INT, .required = true, .help = "microseconds" },
	{ 0 },
};

static json_t *delay_update(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "delay_bdev_name");
	const char *type = rpc_str(params, "latency_type"), *wrong;
	bool read = !strcmp(type + 4, "read"), avg = !strncmp(type, "avg", 3);
	struct plx_bdev_latency l;
	uint64_t value[2];

	if (!device_of(call, "delay_bdev_name", name, "Delay disk"))
		return NULL;
	plx_bdev_delay_get(name, read ? &l : NULL, read ? NULL : &l);
	if (l.kind == PLX_LAT_NONE)
		l = (struct plx_bdev_latency){ .kind = PLX_LAT_FIXED };
	if (!latency_two_point(&l, &value[0], &value[1]))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "latency_type: the %s latency of '%.64s' is a distribution of "
				    "its own: delete the bdev and make it with two values",
				    type + 4, name);
	value[avg ? 0 : 1] = rpc_int(params, "latency_us");
	wrong = latency_from_two_points(&l, value[0], value[1]);
	if (wrong)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "latency_us: %s", wrong);
	plx_bdev_delay_set(name, read ? &l : NULL, read ? NULL : &l);
	return json_true();
}

/* ---- error ---- */

static const struct plx_rpc_param error_params[] = {
	{ "base_name", PLX_RPC_STRING, .required = true, .help = "the bdev it stands on" },
	{ "name", PLX_RPC_STRING, .help = "name of the new bdev; EE_<base_name> unless given" },
	{ "seed", PLX_RPC_INT, .dflt = "0", .help = "of the random numbers: repeats a run" },
	{ "uuid", PLX_RPC_STRING, .help = "made from the name unless given" },
	{ 0 },
};

static json_t *error_create(struct plx_rpc_call *call, const json_t *params)
{
	const char *base = rpc_str(params, "base_name"), *name = rpc_str(params, "name");
	char generated[PLX_BDEV_NAME_MAX + 4];
	uint8_t uuid[16] = { 0 };
	int rc;

	if (!take_uuid(call, params, uuid))
		return NULL;
	if (!name) {
		snprintf(generated, sizeof(generated), "EE_%.*s", PLX_BDEV_NAME_MAX, base);
		name = generated;
	}
	rpc_begin();
	rc = plx_bdev_error_create(name, base, rpc_int(params, "seed"), uuid, NULL);
	return rc ? rpc_failed(call, rc, name) : json_true();
}

static json_t *error_delete(struct plx_rpc_call *call, const json_t *params)
{
	return delete_of(call, params, "Error disk");
}

static const struct plx_rpc_param error_inject_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "the error bdev" },
	{ "io_type", PLX_RPC_ENUM, .required = true,
	  .words =
		  "clear|read|write|unmap|flush|write_zeroes|compare|compare_and_write|verify|copy|"
		  "all",
	  .help = "which I/O it strikes; clear ends all injections" },
	{ "error_type", PLX_RPC_ENUM, .required = true, .words = "failure|pending|corrupt_data",
	  .help = "what befalls it: an internal error, no completion until it is aborted or the "
		  "bdev reset, or changed data" },
	{ "num", PLX_RPC_INT, .dflt = "1", .min = 1, .max = UINT32_MAX, .help = "how many I/Os" },
	{ "queue_depth", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,
	  .help = "only while at least so many are outstanding on the channel" },
	{ "corrupt_offset", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,
	  .help = "byte of the I/O's data that corrupt_data changes" },
	{ "corrupt_value", PLX_RPC_INT, .dflt = "255", .min = 1, .max = 255,
	  .help = "bits of it that change" },
	{ "share", PLX_RPC_REAL, .dflt = "1", .help = "random share of the I/Os, above 0 to 1" },
	{ 0 },
};

static uint32_t types_of(const char *io_type, bool data_only)
{
	if (!strcmp(io_type, "all"))
		return data_only ? 1u << PLX_BDEV_READ | 1u << PLX_BDEV_WRITE
				 : (1u << PLX_BDEV_RESET) - 1;
	return 1u << plx_bdev_io_type_parse(io_type);
}

static json_t *error_inject(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name"), *io_type = rpc_str(params, "io_type");
	const char *what = rpc_str(params, "error_type");
	struct plx_bdev_error_rule rule = {
		.kind = !strcmp(what, "failure")   ? PLX_BDEV_ERR_FAIL
			: !strcmp(what, "pending") ? PLX_BDEV_ERR_HANG
						   : PLX_BDEV_ERR_CORRUPT,
		.share = json_real_value(json_object_get(params, "share")),
		.count = rpc_int(params, "num"),
		.queue_depth = (uint32_t)rpc_int(params, "queue_depth"),
		.corrupt_offset = (uint32_t)rpc_int(params, "corrupt_offset"),
		.corrupt_value = (uint8_t)rpc_int(params, "corrupt_value"),
	};
	bool clear = !strcmp(io_type, "clear"), corrupt = rule.kind == PLX_BDEV_ERR_CORRUPT;
	int rc;

	if (!device_of(call, "name", name, "Error disk"))
		return NULL;
	if (!clear)
		rule.types = types_of(io_type, corrupt);
	if (corrupt && rule.types & ~(1u << PLX_BDEV_READ | 1u << PLX_BDEV_WRITE))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "error_type: corrupt_data is for reads and writes: it has no "
				    "meaning for '%s'",
				    io_type);
	if (!(rule.share > 0 && rule.share <= 1))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "share: it is above 0 and at most 1");
	rc = plx_bdev_error_inject(name, clear ? NULL : &rule);
	if (rc == -ENOSPC)
		return plx_rpc_fail(call, rc,
				    "16 injections are pending: wait until one is used up, or end "
				    "them all with io_type clear");
	return rc ? rpc_failed(call, rc, name) : json_true();
}

/* ---- the table ---- */

static struct plx_rpc_method methods[] = {
	{ "bdev_null_create",
	  "Makes a device without a medium: writes succeed, reads leave the buffer as it is.",
	  null_create, PLX_RPC_RUNTIME, null_params, "bdev" },
	{ "bdev_null_delete", "Deletes a null device.", null_delete, PLX_RPC_RUNTIME, name_params,
	  "bdev" },
	{ "bdev_null_resize", "Changes the size of a null device.", null_resize, PLX_RPC_RUNTIME,
	  null_resize_params, "bdev" },
	{ "bdev_malloc_create", "Makes a device in memory.", malloc_create, PLX_RPC_RUNTIME,
	  malloc_params, "bdev" },
	{ "bdev_malloc_delete", "Deletes a device in memory.", malloc_delete, PLX_RPC_RUNTIME,
	  name_params, "bdev" },
	{ "bdev_delay_create",
	  "Makes a device that takes its time, out of another one: with an average and, for one "
	  "I/O "
	  "in a hundred, a longer time, or with a distribution.",
	  delay_create, PLX_RPC_RUNTIME, delay_params, "bdev" },
	{ "bdev_delay_delete", "Deletes a delay device.", delay_delete, PLX_RPC_RUNTIME,
	  name_params, "bdev" },
	{ "bdev_delay_update_latency",
	  "Changes a latency of a delay device; I/O under way keeps the old one.", delay_update,
	  PLX_RPC_RUNTIME, delay_update_params, "bdev" },
	{ "bdev_error_create", "Makes a device with faults, out of another one.", error_create,
	  PLX_RPC_RUNTIME, error_params, "bdev" },
	{ "bdev_error_delete", "Deletes an error device.", error_delete, PLX_RPC_RUNTIME,
	  name_params, "bdev" },
	{ "bdev_error_inject_error", "Makes I/O to an error device fail, hang or lie.",
	  error_inject, PLX_RPC_RUNTIME, error_inject_params, "bdev" },
};
PLX_RPC_TABLE(methods)
