/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/rpc_host.c - RPC methods: which hosts may connect to a subsystem, which controllers
 * and queues are there
 */
#include "core/text.h"
#include "targets/nvmf/target.h"

/* ---- who may ---- */

static json_t *add_host(struct plx_rpc_call *call, const json_t *params)
{
	static const char *const secrets[] = { "psk", "dhchap_key", "dhchap_ctrlr_key" };
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	const char *host = rpc_str(params, "host");
	int rc;

	if (!s)
		return NULL;
	for (size_t i = 0; i < PLX_ARRAY_SIZE(secrets); i++) {
		if (rpc_has(params, secrets[i]))
			return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
					    "%s: VFIOUSER has no authentication: leave it out",
					    secrets[i]);
	}
	rc = plx_nvmf_subsystem_add_host(s, host);
	if (rc == -EINVAL)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "host: '%.223s' is no name: write it as in "
				    "nqn.2016-06.io.pollux:host1",
				    host);
	return rc ? plx_rpc_fail(call, rc, "%s", strerror(-rc)) : json_true();
}

static json_t *remove_host(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	const char *host = rpc_str(params, "host");

	if (!s)
		return NULL;
	return plx_nvmf_subsystem_remove_host(s, host)
		       ? plx_rpc_fail(
				 call, -ENOENT,
				 "host: '%.223s' is not in the list: nvmf_get_subsystems shows "
				 "it",
				 host)
		       : json_true();
}

/* Front ends whose hosts do not tell their name open and close with it. */
static json_t *allow_any_host(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	bool allow = rpc_bool(params, "allow_any_host");
	struct nvmf_listener *l;
	char err[512];
	int rc;

	if (!s)
		return NULL;
	plx_nvmf_subsystem_allow_any_host(s, allow);
	TAILQ_FOREACH(l, &nvmf_target.listeners, link)
	{
		if (l->subsystem != s)
			continue;
		if (!allow) {
			nvmf_listener_close(l);
			continue;
		}
		rc = nvmf_listener_open(l, err, sizeof err);
		if (rc)
			return plx_rpc_fail(call, rc,
					    "it is allowed now, but a listener stays closed: %s",
					    err);
	}
	return json_true();
}

/* ---- who is there ---- */

static json_t *controller_json(const struct nvmf_ctrlr *c)
{
	char hostid[PLX_UUID_TEXT];
	json_t *o = json_object();
	uint32_t queues = 0;

	for (uint32_t qid = 1; qid <= c->fn->opts.max_io_queues; qid++)
		queues += c->fn->sqs[qid] != NULL;
	json_object_set_new(o, "cntlid", json_integer(c->cntlid));
	/* a memory-based transport does not tell it */
	json_object_set_new(o, "hostnqn", json_string(""));
	plx_format_uuid(c->admin->features.hostid, hostid);
	json_object_set_new(o, "hostid", json_string(hostid));
	json_object_set_new(o, "num_io_qpairs", json_integer(queues));
	json_object_set_new(o, "enabled", json_boolean(c->enabled));
	json_object_set_new(o, "thread", json_string(plx_thread_name(c->thread)));
	json_object_set_new(o, "listen_address",
			    nvmf_address_json(c->subsystem, c->fn->opts.traddr));
	return o;
}

static void add_controller(struct nvmf_ctrlr *c, void *arg)
{
	json_array_append_new(arg, controller_json(c));
}

static void add_qpairs(struct nvmf_ctrlr *c, void *arg)
{
	static const char *const states[] = { "active", "deactivating", "deactivating" };

	for (uint32_t qid = 0; qid <= c->fn->opts.max_io_queues; qid++) {
		const struct nvmf_sq *sq = c->fn->sqs[qid];
		json_t *o;

		if (!sq)
			continue;
		o = json_object();
		json_object_set_new(o, "cntlid", json_integer(c->cntlid));
		json_object_set_new(o, "qid", json_integer(qid));
		json_object_set_new(o, "state", json_string(states[sq->state]));
		json_object_set_new(o, "thread", json_string(plx_thread_name(c->thread)));
		json_object_set_new(o, "hostnqn", json_string(""));
		json_object_set_new(o, "listen_address",
				    nvmf_address_json(c->subsystem, c->fn->opts.traddr));
		json_object_set_new(o, "outstanding", json_integer(sq->outstanding));
		json_array_append_new(arg, o);
	}
}

static json_t *visit(struct plx_rpc_call *call, const json_t *params,
		     void (*fn)(struct nvmf_ctrlr *c, void *arg))
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	json_t *list;

	if (!s)
		return NULL;
	list = json_array();
	nvmf_subsystem_visit(s, fn, list);
	return list;
}

static json_t *get_controllers(struct plx_rpc_call *call, const json_t *params)
{
	return visit(call, params, add_controller);
}

static json_t *get_qpairs(struct plx_rpc_call *call, const json_t *params)
{
	return visit(call, params, add_qpairs);
}

/* ---- the table ---- */

#define NO_SECRETS "not to be given: VFIOUSER has no authentication"

static const struct plx_rpc_param add_host_params[] = {
	NVMF_NQN_PARAM,
	{ "host", PLX_RPC_STRING, .required = true, .help = "name of the host" },
	NVMF_TGT_NAME_PARAM,
	{ "psk", PLX_RPC_STRING, .help = NO_SECRETS },
	{ "dhchap_key", PLX_RPC_STRING, .help = NO_SECRETS },
	{ "dhchap_ctrlr_key", PLX_RPC_STRING, .help = NO_SECRETS },
	{ 0 },
};

static const struct plx_rpc_param remove_host_params[] = {
	NVMF_NQN_PARAM,
	{ "host", PLX_RPC_STRING, .required = true, .help = "name of the host" },
	NVMF_TGT_NAME_PARAM,
	{ "timeout_ms", PLX_RPC_INT,
	  .help = "accepted for compatibility: no connection depends on the list" },
	{ 0 },
};

static const struct plx_rpc_param allow_params[] = {
	NVMF_NQN_PARAM,
	{ "allow_any_host", PLX_RPC_BOOL, .required = true,
	  .help = "any host, or only those of nvmf_subsystem_add_host; hosts over VFIOUSER do not "
		  "tell their names: without this they are disconnected and kept out" },
	NVMF_TGT_NAME_PARAM,
	{ 0 },
};

static const struct plx_rpc_param nqn_params[] = { NVMF_NQN_PARAM, NVMF_TGT_NAME_PARAM, { 0 } };

static struct plx_rpc_method methods[] = {
	{ "nvmf_subsystem_add_host", "Puts a host on the list of those that may connect.", add_host,
	  PLX_RPC_RUNTIME, add_host_params, "nvmf" },
	{ "nvmf_subsystem_remove_host", "Takes a host off the list of those that may connect.",
	  remove_host, PLX_RPC_RUNTIME, remove_host_params, "nvmf" },
	{ "nvmf_subsystem_allow_any_host", "Lets any host connect, or only those of the list.",
	  allow_any_host, PLX_RPC_RUNTIME, allow_params, "nvmf" },
	{ "nvmf_subsystem_get_controllers", "Lists the controllers of a subsystem.",
	  get_controllers, PLX_RPC_RUNTIME, nqn_params, "nvmf" },
	{ "nvmf_subsystem_get_qpairs", "Lists the queue pairs of a subsystem's controllers.",
	  get_qpairs, PLX_RPC_RUNTIME, nqn_params, "nvmf" },
};
PLX_RPC_TABLE(methods)
