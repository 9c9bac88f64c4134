/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/rpc_listener.c - RPC methods: where hosts find a subsystem
 */
#include "targets/nvmf/target.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* The address of @params, checked. Return: NULL with the error of @call */
static const json_t *address_of(struct plx_rpc_call *call, const json_t *params)
{
	const json_t *a = json_object_get(params, "listen_address");
	const char *trtype = rpc_str(a, "trtype");

	if (strcasecmp(trtype, "VFIOUSER")) {
		plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
			     "listen_address.trtype: this program has no transport '%.32s': "
			     "VFIOUSER is what there is",
			     trtype);
		return NULL;
	}
	return a;
}

/* Clients write "0" where a transport has no service; either is the same listener. */
static struct nvmf_listener *listener_of(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	const json_t *a = s ? address_of(call, params) : NULL;
	struct nvmf_listener *l;

	if (!a)
		return NULL;
	l = nvmf_listener_find(s, rpc_str(a, "traddr"), NULL);
	if (!l)
		plx_rpc_fail(call, -ENOENT,
			     "listen_address.traddr: there is no listener at '%.128s': "
			     "nvmf_subsystem_get_listeners lists them",
			     rpc_str(a, "traddr"));
	return l;
}

static bool only_optimized(struct plx_rpc_call *call, const json_t *params)
{
	const char *state = rpc_str(params, "ana_state");

	if (!state || !strcmp(state, "optimized"))
		return true;
	plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
		     "ana_state: asymmetric namespace access is not there: every listener is "
		     "optimized");
	return false;
}

static json_t *refused(struct plx_rpc_call *call, struct nvmf_listener *l, int rc, const char *err)
{
	free(l);
	return plx_rpc_fail(call, rc, "listen_address.%s", err);
}

static json_t *add_listener(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	const json_t *a = s ? address_of(call, params) : NULL;
	struct nvmf_target *t = &nvmf_target;
	struct nvmf_listener *l;
	const char *traddr;
	char err[512];
	int rc;

	if (!a || !only_optimized(call, params))
		return NULL;
	if (!t->vfio_user)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "listen_address.trtype: transport VFIOUSER has not been "
				    "created: call nvmf_create_transport first");
	if (rpc_bool(params, "secure_channel") || rpc_has(params, "sock_impl"))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "secure_channel, sock_impl: VFIOUSER has neither: leave them "
				    "out");
	traddr = rpc_str(a, "traddr");
	if (nvmf_listener_find(NULL, traddr, NULL))
		return plx_rpc_fail(
			call, -EEXIST,
			"listen_address.traddr: there is a listener at '%.128s': remove "
			"it, or take another directory",
			traddr);
	if (strlen(traddr) >= sizeof l->traddr)
		return plx_rpc_fail(call, -ENAMETOOLONG,
				    "listen_address.traddr: it is longer than 256 bytes");
	l = calloc(1, sizeof *l);
	if (!l)
		return plx_rpc_fail(call, -ENOMEM, "out of memory");
	l->subsystem = s;
	l->group = &t->groups[t->next_group];
	strcpy(l->traddr, traddr);
	snprintf(l->adrfam, sizeof l->adrfam, "%s", rpc_str(a, "adrfam"));
	snprintf(l->trsvcid, sizeof l->trsvcid, "%s", rpc_str(a, "trsvcid"));
	rc = nvmf_listener_open(l, err, sizeof err);
	if (rc)
		return refused(call, l, rc, err);
	t->next_group = (t->next_group + 1) % t->n_groups;
	TAILQ_INSERT_TAIL(&t->listeners, l, link);
	return json_true();
}

static json_t *remove_listener(struct plx_rpc_call *call, const json_t *params)
{
	struct nvmf_listener *l = listener_of(call, params);

	if (!l)
		return NULL;
	nvmf_listener_remove(l);
	return json_true();
}

static json_t *get_listeners(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	const struct nvmf_listener *l;
	json_t *list;

	if (!s)
		return NULL;
	list = json_array();
	TAILQ_FOREACH(l, &nvmf_target.listeners, link)
	{
		if (l->subsystem == s)
			json_array_append_new(list, json_pack("{s:o, s:s}", "address",
							      nvmf_listener_address(l), "ana_state",
							      "optimized"));
	}
	return list;
}

static json_t *set_ana_state(struct plx_rpc_call *call, const json_t *params)
{
	return listener_of(call, params) && only_optimized(call, params) ? json_true() : NULL;
}

/* ---- the table ---- */

static const struct plx_rpc_param address_fields[] = {
	{ "trtype", PLX_RPC_STRING, .required = true, .help = "VFIOUSER" },
	{ "traddr", PLX_RPC_STRING, .required = true,
	  .help = "a directory that exists; the socket is 'cntrl' in it" },
	{ "adrfam", PLX_RPC_ENUM, .dflt = "\"IPv4\"", .words = "IPv4|IPv6|IB|FC|INTRA_HOST",
	  .help = "accepted for compatibility" },
	{ "trsvcid", PLX_RPC_STRING, .dflt = "\"\"", .help = "accepted for compatibility" },
	{ 0 },
};

#define ADDRESS_PARAM                                                                              \
	{                                                                                          \
		"listen_address", PLX_RPC_OBJECT, .required = true, .fields = address_fields,      \
						  .help = "where hosts find it"                    \
	}
#define ANA_STATES "optimized|non_optimized|inaccessible"

static const struct plx_rpc_param add_params[] = {
	NVMF_NQN_PARAM,
	ADDRESS_PARAM,
	NVMF_TGT_NAME_PARAM,
	{ "secure_channel", PLX_RPC_BOOL, .dflt = "false", .help = "false" },
	{ "ana_state", PLX_RPC_ENUM, .dflt = "\"optimized\"", .words = ANA_STATES,
	  .help = "optimized" },
	{ "sock_impl", PLX_RPC_STRING, .help = "not to be given" },
	{ 0 },
};

static const struct plx_rpc_param remove_params[] = {
	NVMF_NQN_PARAM,
	ADDRESS_PARAM,
	NVMF_TGT_NAME_PARAM,
	{ 0 },
};

static const struct plx_rpc_param ana_params[] = {
	NVMF_NQN_PARAM,
	ADDRESS_PARAM,
	{ "ana_state", PLX_RPC_ENUM, .required = true, .words = ANA_STATES, .help = "optimized" },
	{ "anagrpid", PLX_RPC_INT, .min = 1, .max = UINT32_MAX,
	  .help = "a group of namespaces; all of them are optimized" },
	NVMF_TGT_NAME_PARAM,
	{ 0 },
};

static const struct plx_rpc_param nqn_params[] = { NVMF_NQN_PARAM, NVMF_TGT_NAME_PARAM, { 0 } };

static struct plx_rpc_method methods[] = {
	{ "nvmf_subsystem_add_listener",
	  "Lets hosts connect to a subsystem at an address. Listeners are shared out to the "
	  "program's cores.",
	  add_listener, PLX_RPC_RUNTIME, add_params, "nvmf" },
	{ "nvmf_subsystem_remove_listener",
	  "Ends a listener: its host sees the connection close, I/O in flight is waited for.",
	  remove_listener, PLX_RPC_RUNTIME, remove_params, "nvmf" },
	{ "nvmf_subsystem_get_listeners", "Lists the listeners of a subsystem.", get_listeners,
	  PLX_RPC_RUNTIME, nqn_params, "nvmf" },
	{ "nvmf_subsystem_listener_set_ana_state",
	  "Sets the ANA state of a listener: optimized, which is what all are.", set_ana_state,
	  PLX_RPC_RUNTIME, ana_params, "nvmf" },
};
PLX_RPC_TABLE(methods)
