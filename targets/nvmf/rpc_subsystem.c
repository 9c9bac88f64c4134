/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/rpc_subsystem.c - RPC methods of NVM subsystems and their namespaces
 */
#include "core/text.h"
#include "targets/nvmf/target.h"
#include <ctype.h>

/* ---- parameters for what there is not ---- */

/* Return: true where none of @names asks for something; else the error of @call */
static bool refuse_set(struct plx_rpc_call *call, const json_t *params, const char *const *names,
		       const char *why)
{
	for (; *names; names++) {
		if (rpc_bool(params, *names) || rpc_int(params, *names) ||
		    rpc_str(params, *names)) {
			plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "%s: %s: leave it out", *names,
				     why);
			return false;
		}
	}
	return true;
}

/* ---- subsystems ---- */

static uint32_t subsystem_count(void)
{
	struct plx_nvmf_subsystem *s = NULL;
	uint32_t n = 0;

	while ((s = nvmf_subsystem_after(s)))
		n++;
	return n;
}

static json_t *why_no_subsystem(struct plx_rpc_call *call, int err, const char *nqn)
{
	if (err == EEXIST)
		return plx_rpc_fail(
			call, -EEXIST,
			"nqn: there is a subsystem '%.223s': delete it, or take another "
			"name",
			nqn);
	if (err != EINVAL)
		return plx_rpc_fail(call, -err, "%s", strerror(err));
	if (!nvmf_nqn_valid(nqn))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "nqn: '%.223s' is no name: write it as in "
				    "nqn.2016-06.io.pollux:disk1",
				    nqn);
	return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
			    "serial_number, model_number: they are printable ASCII, at most 20 and "
			    "40 characters");
}

static json_t *create_subsystem(struct plx_rpc_call *call, const json_t *params)
{
	static const char *const limits[] = { "max_discard_size_kib", "max_write_zeroes_size_kib",
					      "dmrsl", "wzsl", NULL };
	static const char *const ana[] = { "ana_reporting", NULL };
	static const char *const others[] = { "passthrough", "enable_nssr", NULL };
	const char *nqn = rpc_str(params, "nqn");
	struct plx_nvmf_subsystem_opts o = {
		.nqn = nqn,
		.serial = rpc_str(params, "serial_number"),
		.model = rpc_str(params, "model_number"),
		.max_namespaces = (uint32_t)rpc_int(params, "max_namespaces"),
		.min_cntlid = (uint16_t)rpc_int(params, "min_cntlid"),
		.max_cntlid = (uint16_t)rpc_int(params, "max_cntlid"),
	};
	struct plx_nvmf_subsystem *s;

	if (!nvmf_target_ready(call, params) ||
	    !refuse_set(call, params, limits,
			"commands are not limited, and there is no way to tell hosts otherwise") ||
	    !refuse_set(call, params, ana, "asymmetric namespace access is not there") ||
	    !refuse_set(call, params, others, "it is not there"))
		return NULL;
	if (o.min_cntlid > o.max_cntlid)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "min_cntlid: %u is above max_cntlid, %u: lower it",
				    o.min_cntlid, o.max_cntlid);
	if (subsystem_count() >= nvmf_target.max_subsystems)
		return plx_rpc_fail(call, -ENOSPC,
				    "there are %u subsystems, which is the limit: see "
				    "nvmf_set_max_subsystems",
				    nvmf_target.max_subsystems);
	s = plx_nvmf_subsystem_create(&o);
	if (!s)
		return why_no_subsystem(call, errno, nqn);
	plx_nvmf_subsystem_allow_any_host(s, rpc_bool(params, "allow_any_host"));
	return json_true();
}

static json_t *delete_subsystem(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	struct nvmf_listener *l, *next;
	int rc;

	if (!s)
		return NULL;
	for (l = TAILQ_FIRST(&nvmf_target.listeners); l; l = next) {
		next = TAILQ_NEXT(l, link);
		if (l->subsystem == s)
			nvmf_listener_remove(l);
	}
	rc = plx_nvmf_subsystem_destroy(s);
	return rc ? plx_rpc_fail(call, rc, "nqn: it has controllers of this process") : json_true();
}

/* In capitals, as clients compare it */
static json_t *capital_hex(const uint8_t *bytes, size_t len)
{
	char hex[33];

	plx_format_hex(bytes, len, hex);
	for (char *c = hex; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	return json_string(hex);
}

static json_t *namespace_json(const struct nvmf_ns *ns)
{
	json_t *o = json_pack("{s:i, s:s, s:s}", "nsid", ns->nsid, "bdev_name", ns->bdev->name,
			      "name", ns->bdev->name);
	char uuid[PLX_UUID_TEXT];

	json_object_set_new(o, "nguid", capital_hex(ns->nguid, 16));
	json_object_set_new(o, "eui64", capital_hex(ns->eui64, 8));
	json_object_set_new(o, "uuid", json_string(plx_format_uuid(ns->uuid, uuid)));
	return o;
}

static json_t *subsystem_json(const struct plx_nvmf_subsystem *s)
{
	json_t *o = json_object(), *addresses = json_array(), *hosts = json_array();
	json_t *namespaces = json_array();
	const struct nvmf_listener *l;
	const struct nvmf_host *host;

	TAILQ_FOREACH(l, &nvmf_target.listeners, link)
	{
		if (l->subsystem == s)
			json_array_append_new(addresses, nvmf_listener_address(l));
	}
	STAILQ_FOREACH(host, &s->hosts, link)
	{
		json_array_append_new(hosts, json_pack("{s:s}", "nqn", host->nqn));
	}
	for (uint32_t i = 0; i < s->max_ns; i++) {
		if (s->ns[i].active)
			json_array_append_new(namespaces, namespace_json(&s->ns[i]));
	}
	json_object_set_new(o, "nqn", json_string(s->nqn));
	json_object_set_new(o, "subtype", json_string("NVMe"));
	json_object_set_new(o, "listen_addresses", addresses);
	json_object_set_new(o, "allow_any_host", json_boolean(s->allow_any_host));
	json_object_set_new(o, "hosts", hosts);
	json_object_set_new(o, "serial_number", json_string(s->serial));
	json_object_set_new(o, "model_number", json_string(s->model));
	json_object_set_new(o, "max_namespaces", json_integer(s->max_ns));
	json_object_set_new(o, "min_cntlid", json_integer(s->min_cntlid));
	json_object_set_new(o, "max_cntlid", json_integer(s->max_cntlid));
	json_object_set_new(o, "namespaces", namespaces);
	return o;
}

/* It has no listeners: hosts over VFIOUSER find their subsystem by its directory */
static json_t *discovery_json(void)
{
	return json_pack("{s:s, s:s, s:[], s:b, s:[]}", "nqn", NVMF_DISCOVERY_NQN, "subtype",
			 "Discovery", "listen_addresses", "allow_any_host", 1, "hosts");
}

static json_t *get_subsystems(struct plx_rpc_call *call, const json_t *params)
{
	const char *nqn = rpc_str(params, "nqn");
	struct plx_nvmf_subsystem *s = NULL;
	json_t *list;

	if (!nvmf_target_ready(call, params))
		return NULL;
	if (nqn && strcmp(nqn, NVMF_DISCOVERY_NQN)) {
		s = nvmf_subsystem_of(call, params);
		return s ? json_pack("[o]", subsystem_json(s)) : NULL;
	}
	list = json_pack("[o]", discovery_json());
	while (!nqn && (s = nvmf_subsystem_after(s)))
		json_array_append_new(list, subsystem_json(s));
	return list;
}

/* ---- namespaces ---- */

/* Hexadecimal digits; those of an NGUID are also written as a UUID. Return: whether there are
 * such */
static bool take_hex(struct plx_rpc_call *call, const json_t *ns, const char *name, uint8_t *out,
		     size_t len)
{
	const char *text = rpc_str(ns, name);

	if (!text || plx_parse_hex(text, out, len) || (len == 16 && plx_parse_uuid(text, out)))
		return true;
	plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
		     "namespace.%s: '%.64s' are not %zu hexadecimal digits", name, text, 2 * len);
	return false;
}

static json_t *why_no_namespace(struct plx_rpc_call *call, int rc,
				const struct plx_nvmf_subsystem *s, const char *bdev, uint32_t nsid)
{
	switch (rc) {
	case -ENODEV:
		return plx_rpc_fail(call, rc,
				    "namespace.bdev_name: there is no bdev '%.64s': bdev_get_bdevs "
				    "lists them",
				    bdev);
	case -EEXIST:
		return plx_rpc_fail(call, rc,
				    "namespace.nsid: there is a namespace %u: remove it, or leave "
				    "nsid out",
				    nsid);
	case -EINVAL:
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "namespace.nsid: %u is above the %u that max_namespaces allows",
				    nsid, s->max_ns);
	case -ENOSPC:
		return plx_rpc_fail(call, rc,
				    "all %u namespaces that max_namespaces allows are taken",
				    s->max_ns);
	default:
		return plx_rpc_fail(call, rc, "namespace: %s", strerror(-rc));
	}
}

static json_t *add_ns(struct plx_rpc_call *call, const json_t *params)
{
	static const char *const reservations[] = { "ptpl_file", NULL };
	static const char *const visibility[] = { "no_auto_visible", NULL };
	static const char *const hidden[] = { "hide_metadata", NULL };
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	const json_t *ns = json_object_get(params, "namespace");
	const char *bdev = rpc_str(ns, "bdev_name"), *uuid_text = rpc_str(ns, "uuid");
	uint32_t nsid = (uint32_t)rpc_int(ns, "nsid");
	uint8_t nguid[16], eui64[8], uuid[16];
	struct plx_nvmf_ns_opts o = { .nsid = nsid,
				      .nguid = rpc_has(ns, "nguid") ? nguid : NULL,
				      .eui64 = rpc_has(ns, "eui64") ? eui64 : NULL,
				      .uuid = uuid_text ? uuid : NULL };
	int rc;

	if (!s || !take_hex(call, ns, "nguid", nguid, 16) ||
	    !take_hex(call, ns, "eui64", eui64, 8) ||
	    !refuse_set(call, ns, reservations, "reservations are not there") ||
	    !refuse_set(call, ns, visibility,
			"a namespace is visible to all controllers of its subsystem") ||
	    !refuse_set(call, ns, hidden, "metadata is shown as the bdev has it"))
		return NULL;
	if (uuid_text && !plx_parse_uuid(uuid_text, uuid))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "namespace.uuid: '%.64s' is no UUID", uuid_text);
	if (rpc_has(ns, "anagrpid") && rpc_int(ns, "anagrpid") != nsid)
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				    "namespace.anagrpid: asymmetric namespace access is not there: "
				    "leave it out");
	rc = plx_nvmf_subsystem_add_ns_ext(s, bdev, &o);
	return rc < 0 ? why_no_namespace(call, rc, s, bdev, nsid) : json_integer(rc);
}

static json_t *remove_ns(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_nvmf_subsystem *s = nvmf_subsystem_of(call, params);
	uint32_t nsid = (uint32_t)rpc_int(params, "nsid");

	if (!s)
		return NULL;
	return plx_nvmf_subsystem_remove_ns(s, nsid)
		       ? plx_rpc_fail(call, -ENOENT,
				      "nsid: there is no namespace %u: nvmf_get_subsystems lists "
				      "them",
				      nsid)
		       : json_true();
}

/* ---- the table ---- */

static const struct plx_rpc_param create_params[] = {
	{ "nqn", PLX_RPC_STRING, .required = true, .help = "name of the new subsystem" },
	NVMF_TGT_NAME_PARAM,
	{ "serial_number", PLX_RPC_STRING, .dflt = "\"00000000000000000000\"",
	  .help = "at most 20 characters" },
	{ "model_number", PLX_RPC_STRING, .dflt = "\"pollux controller\"",
	  .help = "at most 40 characters" },
	{ "max_namespaces", PLX_RPC_INT, .dflt = "32", .min = 0, .max = NVMF_MAX_NS,
	  .help = "namespaces at most, and the highest identifier; 0: 32" },
	{ "allow_any_host", PLX_RPC_BOOL, .dflt = "false",
	  .help = "any host may connect, not only those of nvmf_subsystem_add_host; hosts over "
		  "VFIOUSER do not tell their names, so they need this" },
	{ "min_cntlid", PLX_RPC_INT, .dflt = "1", .min = 1, .max = 0xffef,
	  .help = "lowest identifier of a controller" },
	{ "max_cntlid", PLX_RPC_INT, .dflt = "65519", .min = 1, .max = 0xffef,
	  .help = "highest identifier of a controller" },
	{ "ana_reporting", PLX_RPC_BOOL, .dflt = "false", .help = "false" },
	{ "max_discard_size_kib", PLX_RPC_INT, .dflt = "0", .help = "0: no limit" },
	{ "max_write_zeroes_size_kib", PLX_RPC_INT, .dflt = "0", .help = "0: no limit" },
	{ "dmrsl", PLX_RPC_INT, .dflt = "0", .help = "0: no limit" },
	{ "wzsl", PLX_RPC_INT, .dflt = "0", .help = "0: no limit" },
	{ "passthrough", PLX_RPC_BOOL, .dflt = "false", .help = "false" },
	{ "enable_nssr", PLX_RPC_BOOL, .dflt = "false", .help = "false" },
	{ 0 },
};

static const struct plx_rpc_param nqn_params[] = { NVMF_NQN_PARAM, NVMF_TGT_NAME_PARAM, { 0 } };

static const struct plx_rpc_param get_params[] = {
	{ "nqn", PLX_RPC_STRING, .help = "this one alone" },
	NVMF_TGT_NAME_PARAM,
	{ 0 },
};

static const struct plx_rpc_param namespace_fields[] = {
	{ "bdev_name", PLX_RPC_STRING, .required = true, .help = "the bdev it shows" },
	{ "nsid", PLX_RPC_INT, .min = 1, .max = UINT32_MAX - 1,
	  .help = "its identifier; the lowest that is free unless given" },
	{ "nguid", PLX_RPC_STRING,
	  .help = "32 hexadecimal digits; made from the bdev's UUID unless given" },
	{ "eui64", PLX_RPC_STRING,
	  .help = "16 hexadecimal digits; made from the bdev's UUID unless given" },
	{ "uuid", PLX_RPC_STRING, .help = "the bdev's unless given" },
	{ "ptpl_file", PLX_RPC_STRING, .help = "not to be given: there are no reservations" },
	{ "anagrpid", PLX_RPC_INT, .min = 1, .max = UINT32_MAX, .help = "the same as nsid" },
	{ "no_auto_visible", PLX_RPC_BOOL, .dflt = "false", .help = "false" },
	{ "hide_metadata", PLX_RPC_BOOL, .dflt = "false", .help = "false" },
	{ 0 },
};

static const struct plx_rpc_param add_ns_params[] = {
	NVMF_NQN_PARAM,
	{ "namespace", PLX_RPC_OBJECT, .required = true, .fields = namespace_fields,
	  .help = "the namespace" },
	NVMF_TGT_NAME_PARAM,
	{ 0 },
};

static const struct plx_rpc_param remove_ns_params[] = {
	NVMF_NQN_PARAM,
	{ "nsid", PLX_RPC_INT, .required = true, .min = 1, .max = UINT32_MAX - 1,
	  .help = "identifier of the namespace" },
	NVMF_TGT_NAME_PARAM,
	{ 0 },
};

static struct plx_rpc_method methods[] = {
	{ "nvmf_create_subsystem", "Makes an NVM subsystem, without namespaces or listeners.",
	  create_subsystem, PLX_RPC_RUNTIME, create_params, "nvmf" },
	{ "nvmf_delete_subsystem",
	  "Deletes a subsystem: its listeners end, once I/O in flight has ended.", delete_subsystem,
	  PLX_RPC_RUNTIME, nqn_params, "nvmf" },
	{ "nvmf_get_subsystems", "Lists subsystems with their listeners, hosts and namespaces.",
	  get_subsystems, PLX_RPC_RUNTIME, get_params, "nvmf" },
	{ "nvmf_subsystem_add_ns",
	  "Shows a bdev as a namespace; connected hosts are told. Returns the identifier.", add_ns,
	  PLX_RPC_RUNTIME, add_ns_params, "nvmf" },
	{ "nvmf_subsystem_remove_ns",
	  "Removes a namespace: its commands are aborted, connected hosts are told.", remove_ns,
	  PLX_RPC_RUNTIME, remove_ns_params, "nvmf" },
};
PLX_RPC_TABLE(methods)
