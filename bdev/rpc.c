/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/rpc.c - RPC methods of the block layer: what devices there are, what they have done
 */
#include "bdev/bdev_internal.h"
#include "bdev/modules/geometry.h"
#include "core/rpc_util.h"
#include <sched.h>

/* ---- devices ---- */

static json_t *no_such(struct plx_rpc_call *call, const char *name)
{
	return plx_rpc_fail(call, -ENODEV,
			    "name: there is no bdev '%.64s': bdev_get_bdevs lists them", name);
}

static json_t *io_types(const struct plx_bdev *b)
{
	static const struct {
		const char *name;
		int type; /* -1: nothing here can */
	} types[] = {
		{ "read", PLX_BDEV_READ },
		{ "write", PLX_BDEV_WRITE },
		{ "unmap", PLX_BDEV_UNMAP },
		{ "flush", PLX_BDEV_FLUSH },
		{ "reset", PLX_BDEV_RESET },
		{ "nvme_admin", -1 },
		{ "nvme_io", -1 },
		{ "nvme_io_md", -1 },
		{ "write_zeroes", PLX_BDEV_WRITE_ZEROES },
		{ "zcopy", -1 },
		{ "get_zone_info", -1 },
		{ "zone_management", -1 },
		{ "zone_append", -1 },
		{ "compare", PLX_BDEV_COMPARE },
		{ "compare_and_write", PLX_BDEV_COMPARE_AND_WRITE },
		{ "abort", PLX_BDEV_ABORT },
		{ "seek_hole", -1 },
		{ "seek_data", -1 },
		{ "copy", PLX_BDEV_COPY },
		{ "nvme_iov_md", -1 },
	};
	json_t *o = json_object();

	for (size_t i = 0; i < PLX_ARRAY_SIZE(types); i++) {
		int t = types[i].type;

		json_object_set_new(o, types[i].name,
				    json_boolean(t >= 0 &&
						 plx_bdev_supports(b, (enum plx_bdev_io_type)t)));
	}
	return o;
}

/* What a device is made of, under the first word of its product name: {"delay": {...}} */
static json_t *driver_specific(const struct plx_bdev *b)
{
	json_t *o = json_object(), *params = json_object();
	char key[32];
	size_t n = 0;

	if (b->ops->dump_info) {
		b->ops->dump_info(b->ctx, o);
		json_decref(params);
		return o;
	}
	if (b->ops->dump_config)
		b->ops->dump_config(b->ctx, params);
	/* those that stand on another device: the rest of what there is to say stands above */
	if (!json_object_get(params, "base_bdev_name") && !json_object_get(params, "base_name")) {
		json_decref(params);
		return o;
	}
	for (; n < sizeof(key) - 1 && b->ops->product[n] && b->ops->product[n] != ' '; n++)
		key[n] = (char)(b->ops->product[n] | 0x20);
	key[n] = '\0';
	json_object_set_new(o, key, params);
	return o;
}

static json_t *bdev_json(const struct plx_bdev *b)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(b->name));
	json_object_set_new(o, "aliases", json_pack("[s]", b->alias));
	json_object_set_new(o, "product_name", json_string(b->ops->product));
	/* as it is in a data buffer: with interleaved metadata */
	json_object_set_new(o, "block_size", json_integer(plx_bdev_buf_block(b)));
	json_object_set_new(o, "num_blocks", rpc_u64(b->blocks));
	uuid_dump(b, o);
	if (b->phys_block_size)
		json_object_set_new(o, "physical_block_size", json_integer(b->phys_block_size));
	if (b->boundary)
		json_object_set_new(o, "optimal_io_boundary", json_integer(b->boundary));
	if (b->numa >= 0)
		json_object_set_new(o, "numa_id", json_integer(b->numa));
	if (b->md_size) {
		json_object_set_new(o, "md_size", json_integer(b->md_size));
		json_object_set_new(o, "md_interleave", json_boolean(b->md_interleaved));
		json_object_set_new(o, "dif_type", json_integer(b->dif));
		if (b->dif != PLX_BDEV_DIF_NONE)
			json_object_set_new(o, "dif_is_head_of_md", json_boolean(b->dif_first));
	}
	json_object_set_new(o, "assigned_rate_limits",
			    json_pack("{s:i, s:i, s:i, s:i}", "rw_ios_per_sec", 0,
				      "rw_mbytes_per_sec", 0, "r_mbytes_per_sec", 0,
				      "w_mbytes_per_sec", 0));
	json_object_set_new(o, "claimed", json_boolean(plx_bdev_claimed(b)));
	json_object_set_new(o, "zoned", json_false());
	json_object_set_new(o, "supported_io_types", io_types(b));
	json_object_set_new(o, "driver_specific", driver_specific(b));
	return o;
}

static json_t *get_bdevs(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct plx_bdev *b = name ? plx_bdev_by_name(name) : plx_bdev_first();
	json_t *list;

	if (rpc_int(params, "timeout") && !name)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "timeout: it is for one bdev: give its name, too");
	if (name && !b)
		return plx_rpc_wait(call, (int64_t)rpc_int(params, "timeout"))
			       ? NULL
			       : no_such(call, name);
	list = json_array();
	for (; b; b = name ? NULL : plx_bdev_next(b))
		json_array_append_new(list, bdev_json(b));
	return list;
}

/* ---- statistics ---- */

struct stat_wait {
	struct plx_bdev_stat stat;
	bool done;
};

static void on_stat(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg)
{
	struct stat_wait *w = arg;

	w->stat = *s;
	w->done = true;
}

/* The figures come from the threads that count them, in their own turns. */
static void wait_turns(const bool *done)
{
	while (!*done)
		if (!plx_thread_poll(plx_thread_current()))
			sched_yield();
}

enum reset { RESET_NONE, RESET_ERROR, RESET_ALL };

static enum reset reset_mode(const char *word)
{
	/* maximum and minimum are not kept: nothing to forget */
	return !strcmp(word, "all") ? RESET_ALL : !strcmp(word, "error") ? RESET_ERROR : RESET_NONE;
}

static int stat_take(struct plx_bdev *b, enum reset reset, struct plx_bdev_stat *out)
{
	struct stat_wait w = { .done = false };
	int rc = reset == RESET_NONE ? plx_bdev_get_stat(b, on_stat, &w)
				     : plx_bdev_reset_stat(b, reset == RESET_ERROR, on_stat, &w);

	if (rc)
		return rc;
	wait_turns(&w.done);
	*out = w.stat;
	return 0;
}

static void stat_json(json_t *o, const struct plx_bdev_stat *s)
{
	static const struct {
		enum plx_bdev_io_type type;
		const char *bytes, *ops, *latency;
	} rows[] = {
		{ PLX_BDEV_READ, "bytes_read", "num_read_ops", "read_latency_ticks" },
		{ PLX_BDEV_WRITE, "bytes_written", "num_write_ops", "write_latency_ticks" },
		{ PLX_BDEV_UNMAP, "bytes_unmapped", "num_unmap_ops", "unmap_latency_ticks" },
		{ PLX_BDEV_COPY, "bytes_copied", "num_copy_ops", "copy_latency_ticks" },
	};
	json_t *errors = json_object();

	for (size_t i = 0; i < PLX_ARRAY_SIZE(rows); i++) {
		json_object_set_new(o, rows[i].bytes, rpc_u64(s->bytes[rows[i].type]));
		json_object_set_new(o, rows[i].ops, rpc_u64(s->ops[rows[i].type]));
	}
	for (size_t i = 0; i < PLX_ARRAY_SIZE(rows); i++)
		json_object_set_new(o, rows[i].latency, rpc_u64(s->latency_tsc[rows[i].type]));
	json_object_set_new(o, "queue_depth", json_integer(s->queue_depth));
	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++)
		if (s->errors[t])
			json_object_set_new(errors, plx_bdev_io_type_name((enum plx_bdev_io_type)t),
					    rpc_u64(s->errors[t]));
	json_object_set_new(o, "io_error", errors);
}

static json_t *iostat_frame(void)
{
	json_t *o = json_object();

	json_object_set_new(o, "tick_rate", rpc_u64(plx_tsc_hz()));
	json_object_set_new(o, "ticks", rpc_u64(plx_tsc()));
	return o;
}

struct channel_stats {
	struct bdev_visit visit;
	json_t *channels;
	bool done;
};

/* In the channel's thread; the one that asked waits, so the array is ours. */
static void visit_channel(struct bdev_visit *v, struct plx_bdev_channel *ch)
{
	struct channel_stats *cs = plx_container_of(v, struct channel_stats, visit);
	struct plx_bdev_stat s = { .queue_depth = channel_in_flight(ch) };
	json_t *o = json_object();

	channel_add_stat(ch, &s);
	json_object_set_new(o, "thread_id", rpc_u64(plx_thread_id(ch->thread)));
	stat_json(o, &s);
	json_array_append_new(cs->channels, o);
}

static void visit_end(struct bdev_visit *v)
{
	plx_container_of(v, struct channel_stats, visit)->done = true;
}

static json_t *channel_iostat(struct plx_bdev *b)
{
	struct channel_stats cs = { .visit = { .fn = visit_channel, .done = visit_end },
				    .channels = json_array() };
	json_t *o = iostat_frame();

	bdev_visit(&cs.visit, b->internal);
	wait_turns(&cs.done);
	json_object_set_new(o, "name", json_string(b->name));
	json_object_set_new(o, "channels", cs.channels);
	return o;
}

/* Return: 0; negative errno, with the error of @call */
static int add_iostat(struct plx_rpc_call *call, json_t *list, struct plx_bdev *b, enum reset reset)
{
	struct plx_bdev_stat s;
	int rc = stat_take(b, reset, &s);
	json_t *o;

	if (rc) {
		plx_rpc_fail(call, rc, "%s: no statistics: %s", b->name, strerror(-rc));
		return rc;
	}
	o = json_object();
	json_object_set_new(o, "name", json_string(b->name));
	stat_json(o, &s);
	json_array_append_new(list, o);
	return 0;
}

/* Of those named, or of all. Return: NULL with the error of @call */
static json_t *iostat_list(struct plx_rpc_call *call, const json_t *names, enum reset reset)
{
	json_t *list = json_array();
	struct plx_bdev *b;
	int rc = 0;

	for (size_t i = 0; !rc && i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));

		b = plx_bdev_by_name(name);
		rc = b ? add_iostat(call, list, b, reset) : -ENODEV;
		if (!b)
			no_such(call, name);
	}
	for (b = names ? NULL : plx_bdev_first(); b && !rc; b = plx_bdev_next(b))
		rc = add_iostat(call, list, b, reset);
	if (!rc)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *get_iostat(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	enum reset reset = reset_mode(rpc_str(params, "reset_mode"));
	json_t *names, *list, *o;

	if (name && rpc_has(params, "names"))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "names: either name or names, not both");
	if (rpc_bool(params, "per_channel")) {
		struct plx_bdev *b = name ? plx_bdev_by_name(name) : NULL;

		if (!name || reset != RESET_NONE)
			return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
					    "per_channel: it is for one bdev, without reset_mode: "
					    "give its name");
		return b ? channel_iostat(b) : no_such(call, name);
	}
	names = name ? json_pack("[s]", name) : json_incref(json_object_get(params, "names"));
	list = iostat_list(call, names, reset);
	json_decref(names);
	if (!list)
		return NULL;
	o = iostat_frame();
	json_object_set_new(o, "bdevs", list);
	return o;
}

static json_t *reset_iostat(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	json_t *names = name ? json_pack("[s]", name) : NULL;
	json_t *list = iostat_list(call, names, reset_mode(rpc_str(params, "mode")));

	json_decref(names);
	json_decref(list);
	return list ? json_true() : NULL;
}

/* ---- options, examination ---- */

static struct {
	uint64_t pool_size, cache_size;
	bool auto_examine, set;
} options = { .pool_size = 65535, .cache_size = 256, .auto_examine = true };

static json_t *set_options(struct plx_rpc_call *call, const json_t *params)
{
	uint64_t pool = options.pool_size, cache = options.cache_size;

	if (rpc_has(params, "bdev_io_pool_size"))
		pool = rpc_int(params, "bdev_io_pool_size");
	if (rpc_has(params, "bdev_io_cache_size"))
		cache = rpc_int(params, "bdev_io_cache_size");
	if (cache > pool)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "bdev_io_cache_size: %llu is more than bdev_io_pool_size, "
				    "%llu: lower it",
				    (unsigned long long)cache, (unsigned long long)pool);
	options.pool_size = pool;
	options.cache_size = cache;
	if (rpc_has(params, "bdev_auto_examine"))
		options.auto_examine = rpc_bool(params, "bdev_auto_examine");
	options.set = true;
	return json_true();
}

/* No module of this program looks for others' data on a device, so all have been examined. */
static json_t *examine(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");

	return plx_bdev_by_name(name) ? json_true() : no_such(call, name);
}

static json_t *wait_for_examine(struct plx_rpc_call *call, const json_t *params)
{
	return json_true();
}

/* ---- the saved configuration ---- */

static void dump(json_t *config)
{
	if (options.set)
		json_array_append_new(config,
				      json_pack("{s:s, s:{s:I, s:I, s:b}}", "method",
						"bdev_set_options", "params", "bdev_io_pool_size",
						(json_int_t)options.pool_size, "bdev_io_cache_size",
						(json_int_t)options.cache_size, "bdev_auto_examine",
						options.auto_examine));
	for (const struct bdev_module *m = bdev_module_first(); m; m = m->next)
		if (m->dump)
			m->dump(config);
	/* in the order of their making: a base comes before what stands on it */
	for (struct plx_bdev *b = plx_bdev_first(); b; b = plx_bdev_next(b)) {
		json_t *params = json_object();
		const char *method =
			b->ops->dump_config ? b->ops->dump_config(b->ctx, params) : NULL;

		if (method)
			json_array_append_new(config, json_pack("{s:s, s:O}", "method", method,
								"params", params));
		json_decref(params);
	}
	json_array_append_new(config, json_pack("{s:s}", "method", "bdev_wait_for_examine"));
}

static struct plx_rpc_subsystem subsystem = { .name = "bdev", .dump = dump };

__attribute__((constructor)) static void subsystem_register(void)
{
	plx_rpc_register_subsystem(&subsystem);
}

/* ---- the table ---- */

static const struct plx_rpc_param get_bdevs_params[] = {
	{ "name", PLX_RPC_STRING, .help = "this one alone, by name, alias or UUID" },
	{ "timeout", PLX_RPC_INT, .help = "milliseconds to wait for it to appear" },
	{ 0 },
};

static const struct plx_rpc_param get_iostat_params[] = {
	{ "name", PLX_RPC_STRING, .help = "of this bdev alone" },
	{ "names", PLX_RPC_STRINGS, .help = "of these bdevs" },
	{ "per_channel", PLX_RPC_BOOL, .dflt = "false",
	  .help = "of each channel of the bdev, since the channel was made" },
	{ "reset_mode", PLX_RPC_ENUM, .dflt = "\"none\"", .words = "all|maxmin|error|none",
	  .help = "what counts from zero again afterwards; maximum and minimum are not kept" },
	{ 0 },
};

static const struct plx_rpc_param reset_iostat_params[] = {
	{ "name", PLX_RPC_STRING, .help = "of this bdev alone" },
	{ "mode", PLX_RPC_ENUM, .dflt = "\"all\"", .words = "all|maxmin|error|none",
	  .help = "what counts from zero again; maximum and minimum are not kept" },
	{ 0 },
};

static const struct plx_rpc_param set_options_params[] = {
	{ "bdev_io_pool_size", PLX_RPC_INT, .min = 1, .max = UINT32_MAX,
	  .help = "accepted for compatibility: each channel has 2048 I/O objects of its own" },
	{ "bdev_io_cache_size", PLX_RPC_INT, .min = 0, .max = UINT32_MAX,
	  .help = "accepted for compatibility, at most bdev_io_pool_size" },
	{ "bdev_auto_examine", PLX_RPC_BOOL,
	  .help = "accepted for compatibility: no module here examines devices" },
	{ 0 },
};

static const struct plx_rpc_param examine_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "the bdev" },
	{ 0 },
};

static struct plx_rpc_method methods[] = {
	{ "bdev_get_bdevs", "Lists block devices: size, features, what they stand on.", get_bdevs,
	  PLX_RPC_RUNTIME, get_bdevs_params, "bdev" },
	{ "bdev_get_iostat",
	  "Returns I/O statistics of block devices. Latencies are sums, in ticks; what failed is "
	  "counted by type in io_error.",
	  get_iostat, PLX_RPC_RUNTIME, get_iostat_params, "bdev" },
	{ "bdev_reset_iostat", "Lets I/O statistics of block devices count from zero again.",
	  reset_iostat, PLX_RPC_RUNTIME, reset_iostat_params, "bdev" },
	{ "bdev_set_options", "Sets options of the block layer, before the program runs.",
	  set_options, PLX_RPC_STARTUP, set_options_params, "bdev" },
	{ "bdev_examine",
	  "Has a device examined for what is stored on it. No module of this program does that, so "
	  "there is nothing to wait for.",
	  examine, PLX_RPC_RUNTIME, examine_params, "bdev" },
	{ "bdev_wait_for_examine", "Returns once all devices have been examined.", wait_for_examine,
	  PLX_RPC_RUNTIME, NULL, "bdev" },
};
PLX_RPC_TABLE(methods)
