/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/rpc_target.c - RPC methods of the NVMe target as a whole: transports, statistics,
 * options, the saved configuration
 */
#include "core/text.h"
#include "targets/nvmf/target.h"
#include <strings.h>

/* ---- transports ---- */

static json_t *no_transport(struct plx_rpc_call *call, const char *trtype)
{
	return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
			    "trtype: this program has no transport '%.32s': VFIOUSER is what "
			    "there is",
			    trtype);
}

static json_t *create_transport(struct plx_rpc_call *call, const json_t *params)
{
	const char *trtype = rpc_str(params, "trtype");
	uint64_t max_io = rpc_int(params, "max_io_size");
	json_t *t;

	if (!nvmf_target_ready(call, params))
		return NULL;
	if (strcasecmp(trtype, "VFIOUSER"))
		return no_transport(call, trtype);
	if (nvmf_target.vfio_user)
		return plx_rpc_fail(call, -EEXIST, "trtype: transport VFIOUSER has been created");
	if (max_io & (max_io - 1))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "max_io_size: %llu is no power of two",
				    (unsigned long long)max_io);
	if (rpc_bool(params, "dif_insert_or_strip"))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "dif_insert_or_strip: over VFIOUSER the host does that, with "
				    "PRACT: leave it out");
	t = json_deep_copy(params);
	json_object_del(t, "tgt_name");
	json_object_set_new(t, "trtype", json_string("VFIOUSER"));
	nvmf_target.vfio_user = t;
	return json_true();
}

static json_t *get_transports(struct plx_rpc_call *call, const json_t *params)
{
	const char *trtype = rpc_str(params, "trtype");
	json_t *list;

	if (!nvmf_target_ready(call, params))
		return NULL;
	if (trtype && (strcasecmp(trtype, "VFIOUSER") || !nvmf_target.vfio_user))
		return plx_rpc_fail(call, -ENODEV, "trtype: transport '%.32s' has not been created",
				    trtype);
	list = json_array();
	if (nvmf_target.vfio_user)
		json_array_append_new(list, json_deep_copy(nvmf_target.vfio_user));
	return list;
}

/* ---- statistics ---- */

struct sum {
	const struct nvmf_group *group;
	uint64_t completed;
};

static void add_completed(struct nvmf_ctrlr *c, void *arg)
{
	struct sum *sum = arg;

	if (c->thread == sum->group->thread)
		sum->completed += nvmf_fn_completed(c->fn, false);
}

static uint64_t relaxed(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static json_t *group_json(const struct nvmf_group *g)
{
	struct sum sum = { .group = g, .completed = relaxed(&g->completed_io) };
	struct plx_nvmf_subsystem *s = NULL;
	json_t *o = json_object(), *transports = json_array();

	while ((s = nvmf_subsystem_after(s)))
		nvmf_subsystem_visit(s, add_completed, &sum);
	json_object_set_new(o, "name", json_string(plx_thread_name(g->thread)));
	json_object_set_new(o, "admin_qpairs", rpc_u64(relaxed(&g->made[0])));
	json_object_set_new(o, "io_qpairs", rpc_u64(relaxed(&g->made[1])));
	json_object_set_new(o, "current_admin_qpairs", rpc_u64(relaxed(&g->there[0])));
	json_object_set_new(o, "current_io_qpairs", rpc_u64(relaxed(&g->there[1])));
	json_object_set_new(o, "completed_nvme_io", rpc_u64(sum.completed));
	if (nvmf_target.vfio_user)
		json_array_append_new(transports, json_pack("{s:s}", "trtype", "VFIOUSER"));
	json_object_set_new(o, "transports", transports);
	return o;
}

static json_t *get_stats(struct plx_rpc_call *call, const json_t *params)
{
	json_t *o, *groups;

	if (!nvmf_target_ready(call, params))
		return NULL;
	groups = json_array();
	for (uint32_t i = 0; i < nvmf_target.n_groups; i++)
		json_array_append_new(groups, group_json(&nvmf_target.groups[i]));
	o = json_object();
	json_object_set_new(o, "tick_rate", rpc_u64(plx_tsc_hz()));
	json_object_set_new(o, "poll_groups", groups);
	return o;
}

/* ---- options, targets ---- */

static json_t *set_max_subsystems(struct plx_rpc_call *call, const json_t *params)
{
	nvmf_target.max_subsystems = (uint32_t)rpc_int(params, "max_subsystems");
	nvmf_target.max_subsystems_set = true;
	return json_true();
}

static json_t *set_config(struct plx_rpc_call *call, const json_t *params)
{
	const json_t *passthru = json_object_get(params, "admin_cmd_passthru");
	const char *mask = rpc_str(params, "poll_groups_mask"), *key;
	struct plx_cpuset cpus = { { 0 } };
	char why[160];
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)passthru, key, v)
	{
		if (!json_is_false(v))
			return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
					    "admin_cmd_passthru.%.64s: commands are answered here, "
					    "not passed on to a drive: use false",
					    key);
	}
	if (mask && plx_cpuset_parse(mask, &cpus, why, sizeof why))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "poll_groups_mask: %s", why);
	nvmf_target.mask_set = mask != NULL;
	nvmf_target.mask = cpus;
	json_decref(nvmf_target.config);
	nvmf_target.config = json_deep_copy(params);
	return json_true();
}

static json_t *get_targets(struct plx_rpc_call *call, const json_t *params)
{
	return nvmf_target_ready(call, params) ? json_pack("[s]", NVMF_TARGET_NAME) : NULL;
}

/* ---- the saved configuration ---- */

static void add_call(json_t *config, const char *method, json_t *params)
{
	json_array_append_new(config, json_pack("{s:s, s:o}", "method", method, "params", params));
}

static json_t *namespace_params(const struct nvmf_ns *ns)
{
	char hex[33], uuid[PLX_UUID_TEXT];
	json_t *o = json_pack("{s:i, s:s}", "nsid", ns->nsid, "bdev_name", ns->bdev->name);

	if (ns->nguid_given)
		json_object_set_new(o, "nguid", json_string(plx_format_hex(ns->nguid, 16, hex)));
	if (ns->eui64_given)
		json_object_set_new(o, "eui64", json_string(plx_format_hex(ns->eui64, 8, hex)));
	json_object_set_new(o, "uuid", json_string(plx_format_uuid(ns->uuid, uuid)));
	return o;
}

static void dump_subsystem(json_t *config, struct plx_nvmf_subsystem *s)
{
	const struct nvmf_host *host;
	const struct nvmf_listener *l;

	add_call(config, "nvmf_create_subsystem",
		 json_pack("{s:s, s:b, s:s, s:s, s:i, s:i, s:i}", "nqn", s->nqn, "allow_any_host",
			   s->allow_any_host, "serial_number", s->serial, "model_number", s->model,
			   "max_namespaces", s->max_ns, "min_cntlid", s->min_cntlid, "max_cntlid",
			   s->max_cntlid));
	STAILQ_FOREACH(host, &s->hosts, link)
	{
		add_call(config, "nvmf_subsystem_add_host",
			 json_pack("{s:s, s:s}", "nqn", s->nqn, "host", host->nqn));
	}
	for (uint32_t i = 0; i < s->max_ns; i++) {
		if (s->ns[i].active)
			add_call(config, "nvmf_subsystem_add_ns",
				 json_pack("{s:s, s:o}", "nqn", s->nqn, "namespace",
					   namespace_params(&s->ns[i])));
	}
	TAILQ_FOREACH(l, &nvmf_target.listeners, link)
	{
		if (l->subsystem == s)
			add_call(config, "nvmf_subsystem_add_listener",
				 json_pack("{s:s, s:o}", "nqn", s->nqn, "listen_address",
					   nvmf_listener_address(l)));
	}
}

static void dump(json_t *config)
{
	struct plx_nvmf_subsystem *s = NULL;

	if (nvmf_target.max_subsystems_set)
		add_call(config, "nvmf_set_max_subsystems",
			 json_pack("{s:i}", "max_subsystems", nvmf_target.max_subsystems));
	if (nvmf_target.config)
		add_call(config, "nvmf_set_config", json_deep_copy(nvmf_target.config));
	if (nvmf_target.vfio_user)
		add_call(config, "nvmf_create_transport", json_deep_copy(nvmf_target.vfio_user));
	while ((s = nvmf_subsystem_after(s)))
		dump_subsystem(config, s);
}

static struct plx_rpc_subsystem subsystem = { .name = "nvmf", .after = "bdev", .dump = dump };

__attribute__((constructor)) static void subsystem_register(void)
{
	plx_rpc_register_subsystem(&subsystem);
}

/* ---- the table ---- */

static const struct plx_rpc_param tgt_name_params[] = { NVMF_TGT_NAME_PARAM, { 0 } };

static const struct plx_rpc_param get_transports_params[] = {
	NVMF_TGT_NAME_PARAM,
	{ "trtype", PLX_RPC_STRING, .help = "this one alone" },
	{ 0 },
};

#define UNUSED "accepted for compatibility: data goes straight to and from the host's memory"

static const struct plx_rpc_param create_transport_params[] = {
	{ "trtype", PLX_RPC_STRING, .required = true, .help = "VFIOUSER" },
	NVMF_TGT_NAME_PARAM,
	{ "max_queue_depth", PLX_RPC_INT, .dflt = "1024", .min = 2, .max = 65536,
	  .help = "entries of a queue" },
	{ "max_io_qpairs_per_ctrlr", PLX_RPC_INT, .dflt = "128", .min = 1, .max = NVMF_MAX_IOQ,
	  .help = "I/O queues of a controller" },
	{ "max_io_size", PLX_RPC_INT, .dflt = "131072", .min = 4096,
	  .max = (int64_t)PLX_PAGE_SIZE << NVMF_MDTS_MAX,
	  .help = "bytes that one command may transfer, a power of two" },
	{ "disable_mappable_bar0", PLX_RPC_BOOL, .dflt = "false",
	  .help = "no doorbells in shared memory: each is a message" },
	{ "disable_shadow_doorbells", PLX_RPC_BOOL, .dflt = "false",
	  .help = "no Doorbell Buffer Config command" },
	{ "disable_adaptive_irq", PLX_RPC_BOOL, .dflt = "false",
	  .help = "accepted for compatibility: interrupts are not withheld" },
	{ "dif_insert_or_strip", PLX_RPC_BOOL, .dflt = "false", .help = "false" },
	{ "in_capsule_data_size", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,
	  .help = UNUSED },
	{ "io_unit_size", PLX_RPC_INT, .dflt = "131072", .min = 0, .max = UINT32_MAX,
	  .help = UNUSED },
	{ "max_aq_depth", PLX_RPC_INT, .dflt = "128", .min = 2, .max = 4096,
	  .help = "accepted for compatibility: the host chooses the size of its admin queue" },
	{ "num_shared_buffers", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,
	  .help = UNUSED },
	{ "buf_cache_size", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX, .help = UNUSED },
	{ "zcopy", PLX_RPC_BOOL, .dflt = "false", .help = UNUSED },
	{ "abort_timeout_sec", PLX_RPC_INT, .dflt = "1", .min = 1, .max = UINT32_MAX,
	  .help = "accepted for compatibility: an abort is answered at once" },
	{ "acceptor_poll_rate", PLX_RPC_INT, .dflt = "1000", .min = 0, .max = UINT32_MAX,
	  .help = "accepted for compatibility: microseconds between two looks for new clients" },
	{ "ack_timeout", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,
	  .help = "accepted for compatibility: nothing is acknowledged" },
	{ "data_wr_pool_size", PLX_RPC_INT, .dflt = "0", .min = 0, .max = UINT32_MAX,
	  .help = UNUSED },
	{ 0 },
};

static const struct plx_rpc_param max_subsystems_params[] = {
	{ "max_subsystems", PLX_RPC_INT, .required = true, .min = 1, .max = 65535,
	  .help = "subsystems at most" },
	{ 0 },
};

static const struct plx_rpc_param set_config_params[] = {
	{ "admin_cmd_passthru", PLX_RPC_OBJECT,
	  .help = "commands to be passed on to a drive: all members are to be false" },
	{ "poll_groups_mask", PLX_RPC_STRING,
	  .help = "CPUs that run controllers, as 0x3 or [0,1]; without it all of the program's" },
	{ "discovery_filter", PLX_RPC_ENUM, .words = "match_any",
	  .help = "accepted for compatibility: VFIOUSER has no discovery" },
	{ "dhchap_digests", PLX_RPC_STRINGS,
	  .help = "accepted for compatibility: VFIOUSER has no authentication" },
	{ "dhchap_dhgroups", PLX_RPC_STRINGS, .help = "as dhchap_digests" },
	{ "acceptor_poll_rate", PLX_RPC_INT, .min = 0, .max = UINT32_MAX,
	  .help = "accepted for compatibility: microseconds between two looks for new clients" },
	{ 0 },
};

static struct plx_rpc_method methods[] = {
	{ "nvmf_create_transport", "Prepares a transport, which listeners need.", create_transport,
	  PLX_RPC_RUNTIME, create_transport_params, "nvmf" },
	{ "nvmf_get_transports", "Lists the transports that have been created.", get_transports,
	  PLX_RPC_RUNTIME, get_transports_params, "nvmf" },
	{ "nvmf_get_stats",
	  "Returns, for each thread that runs controllers, queue pairs and commands completed.",
	  get_stats, PLX_RPC_RUNTIME, tgt_name_params, "nvmf" },
	{ "nvmf_set_max_subsystems", "Limits the number of subsystems.", set_max_subsystems,
	  PLX_RPC_STARTUP, max_subsystems_params, "nvmf" },
	{ "nvmf_set_config", "Sets options of the target, before the program runs.", set_config,
	  PLX_RPC_STARTUP, set_config_params, "nvmf" },
	{ "nvmf_get_targets", "Lists the targets: there is one.", get_targets, PLX_RPC_RUNTIME,
	  NULL, "nvmf" },
};
PLX_RPC_TABLE(methods)
