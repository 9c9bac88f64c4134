/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/nvme_rpc.c - RPC methods of NVMe controllers, and what is saved of them
 */
#include "bdev/modules/nvme.h"
#include "core/rpc_util.h"
#include <stdio.h>

/* ---- transport identifiers ---- */

static const char *const trid_keys[] = { "trtype",  "traddr", "adrfam",
					 "trsvcid", "subnqn", "hostnqn" };

/* Return: true; false with the error of @call */
static bool take_trid(struct plx_rpc_call *call, const json_t *params, struct plx_nvme_trid *trid)
{
	char text[1024], err[256];
	size_t n = 0;

	for (size_t i = 0; i < PLX_ARRAY_SIZE(trid_keys); i++) {
		const char *value = rpc_str(params, trid_keys[i]);

		if (!value || !*value)
			continue;
		if (strpbrk(value, " \t\r\n\v\f")) {
			plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
				     "%s: '%.64s': white space is not possible in it", trid_keys[i],
				     value);
			return false;
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s:%s ", trid_keys[i], value);
		if (n >= sizeof(text)) {
			plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "%s: it is too long",
				     trid_keys[i]);
			return false;
		}
	}
	if (!plx_nvme_trid_parse(trid, text, err, sizeof(err)))
		return true;
	plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "%s", err);
	return false;
}

static void put_text(json_t *o, const char *key, const char *value)
{
	if (*value)
		json_object_set_new(o, key, json_string(value));
}

static void trid_dump(const struct plx_nvme_trid *trid, json_t *o)
{
	json_object_set_new(o, "trtype", json_string(plx_nvme_trtype_name(trid->trtype)));
	put_text(o, "adrfam", trid->adrfam);
	put_text(o, "traddr", trid->traddr);
	put_text(o, "trsvcid", trid->trsvcid);
	put_text(o, "subnqn", trid->subnqn);
}

/* ---- attaching, detaching ---- */

static const struct plx_rpc_param attach_params[] = {
	{ "name", PLX_RPC_STRING, .required = true,
	  .help = "of the controller; its bdevs are called that, n, and the namespace: Nvme0n1" },
	{ "trtype", PLX_RPC_STRING, .required = true, .help = "transport: PCIe or VFIOUSER" },
	{ "traddr", PLX_RPC_STRING, .required = true,
	  .help = "PCIe: address of the function, 0000:04:00.0; VFIOUSER: directory of the "
		  "socket" },
	{ "adrfam", PLX_RPC_STRING, .help = "address family, where the transport has some" },
	{ "trsvcid", PLX_RPC_STRING, .help = "service, where the transport has some" },
	{ "subnqn", PLX_RPC_STRING, .help = "subsystem, where the transport has some" },
	{ "hostnqn", PLX_RPC_STRING, .help = "name by which the controller knows this host" },
	{ "prchk_reftag", PLX_RPC_BOOL, .dflt = "false",
	  .help = "reads and writes that do not say have the reference tags checked, where there "
		  "is "
		  "protection information" },
	{ "prchk_guard", PLX_RPC_BOOL, .dflt = "false", .help = "the same for the guards" },
	{ 0 },
};

static json_t *attach(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct nvme_bdev_ctrlr *nc;
	struct plx_nvme_trid trid;
	struct nvme_bdev *nb;
	json_t *list;
	int rc;

	if (!take_trid(call, params, &trid))
		return NULL;
	rpc_begin();
	rc = plx_bdev_nvme_attach(name, &trid,
				  (rpc_bool(params, "prchk_reftag") ? PLX_BDEV_CHECK_REF : 0) |
					  (rpc_bool(params, "prchk_guard") ? PLX_BDEV_CHECK_GUARD
									   : 0));
	if (rc)
		return rpc_failed(call, rc, name);
	list = json_array();
	nc = nvme_ctrlr_by_name(name);
	if (!nc)
		return list;
	TAILQ_FOREACH(nb, &nc->bdevs, link)
	json_array_append_new(list, json_string(nb->bdev.name));
	return list;
}

/* Return: NULL with the error of @call */
static struct nvme_bdev_ctrlr *ctrlr_of(struct plx_rpc_call *call, const char *name)
{
	struct nvme_bdev_ctrlr *nc = nvme_ctrlr_by_name(name);

	if (!nc)
		plx_rpc_fail(call, -ENODEV,
			     "name: there is no controller '%.64s': bdev_nvme_get_controllers "
			     "lists them",
			     name);
	return nc;
}

static const struct plx_rpc_param name_params[] = {
	{ "name", PLX_RPC_STRING, .required = true, .help = "the controller" },
	{ 0 },
};

static json_t *detach(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");

	if (!ctrlr_of(call, name))
		return NULL;
	if (plx_bdev_nvme_detach(name))
		return plx_rpc_fail(call, -EBUSY,
				    "name: '%.64s' goes as soon as those let go of its bdevs who "
				    "have them open; they have not within a second",
				    name);
	return json_true();
}

static json_t *reset(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct nvme_bdev_ctrlr *nc = ctrlr_of(call, name);
	int rc;

	if (!nc)
		return NULL;
	rpc_begin();
	rc = nvme_ctrlr_reset(nc);
	if (rc == -EBUSY)
		return plx_rpc_fail(call, rc, "name: '%.64s' is being reset already", name);
	return rc ? rpc_failed(call, rc, "the controller has failed") : json_true();
}

/* ---- what there is ---- */

static const struct plx_rpc_param get_params[] = {
	{ "name", PLX_RPC_STRING, .help = "this one alone" },
	{ 0 },
};

static const char *state_of(const struct nvme_bdev_ctrlr *nc)
{
	if (nc->going)
		return "deleting";
	switch (plx_nvme_ctrlr_state(nc->c)) {
	case PLX_NVME_CTRLR_READY:
		return "enabled";
	case PLX_NVME_CTRLR_FAILED:
		return "failed";
	default:
		return "resetting";
	}
}

static json_t *ctrlr_json(const struct nvme_bdev_ctrlr *nc)
{
	const struct plx_nvme_trid *trid = plx_nvme_ctrlr_trid(nc->c);
	json_t *path = json_object(), *t = json_object(), *host = json_object();

	trid_dump(trid, t);
	put_text(host, "nqn", trid->hostnqn);
	json_object_set_new(path, "state", json_string(state_of(nc)));
	json_object_set_new(path, "trid", t);
	json_object_set_new(path, "cntlid", json_integer(plx_nvme_ctrlr_data(nc->c)->cntlid));
	json_object_set_new(path, "host", host);
	json_object_set_new(path, "numa_id", json_integer(plx_nvme_ctrlr_numa(nc->c)));
	return json_pack("{s:s, s:[o]}", "name", nc->name, "ctrlrs", path);
}

static json_t *get_controllers(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "name");
	struct nvme_bdev_ctrlr *nc = name ? ctrlr_of(call, name) : nvme_ctrlr_first();
	json_t *list;

	if (name && !nc)
		return NULL;
	list = json_array();
	for (; nc; nc = name ? NULL : TAILQ_NEXT(nc, link))
		json_array_append_new(list, ctrlr_json(nc));
	return list;
}

/* Fixed-width text of Identify, without the blanks behind */
static json_t *padded(const char *text, size_t len)
{
	json_t *s;

	while (len && (text[len - 1] == ' ' || !text[len - 1]))
		len--;
	s = json_stringn(text, len);
	return s ? s : json_string("");
}

void nvme_dump_info(void *ctx, struct json_t *specific)
{
	const struct nvme_bdev *nb = ctx;
	struct plx_nvme_ctrlr *c = nb->ctrlr->c;
	const struct nvme_id_ctrl *id = plx_nvme_ctrlr_data(c);
	uint32_t vs = plx_nvme_ctrlr_vs(c);
	json_t *o = json_object(), *trid = json_object(), *data = json_object();
	char version[32];

	if (plx_nvme_ctrlr_trid(c)->trtype == PLX_NVME_TR_PCIE)
		put_text(o, "pci_address", plx_nvme_ctrlr_trid(c)->traddr);
	trid_dump(plx_nvme_ctrlr_trid(c), trid);
	json_object_set_new(o, "trid", trid);
	json_object_set_new(data, "cntlid", json_integer(id->cntlid));
	snprintf(version, sizeof(version), "0x%04x", id->vid);
	json_object_set_new(data, "vendor_id", json_string(version));
	json_object_set_new(data, "model_number", padded(id->mn, sizeof(id->mn)));
	json_object_set_new(data, "serial_number", padded(id->sn, sizeof(id->sn)));
	json_object_set_new(data, "firmware_revision", padded(id->fr, sizeof(id->fr)));
	json_object_set_new(data, "subnqn", padded(id->subnqn, strnlen(id->subnqn, 223)));
	json_object_set_new(o, "ctrlr_data", data);
	snprintf(version, sizeof(version), "%u.%u", vs >> 16, vs >> 8 & 0xff);
	json_object_set_new(o, "vs", json_pack("{s:s}", "nvme_version", version));
	json_object_set_new(o, "ns_data",
			    json_pack("{s:I, s:b}", "id", (json_int_t)plx_nvme_ns_id(nb->ns),
				      "can_share", plx_nvme_ns_data(nb->ns)->nmic & 1));
	json_object_set_new(specific, "nvme", json_pack("[o]", o));
}

/* ---- options ---- */

static const struct plx_rpc_param options_params[] = {
	{ "action_on_timeout", PLX_RPC_ENUM, .words = "none|reset|abort",
	  .help = "what becomes of a command that takes longer: nothing; the controller is reset; "
		  "it "
		  "is aborted, and if that does not help the controller is reset (abort at "
		  "first)" },
	{ "timeout_us", PLX_RPC_INT, .max = 3600000000ll,
	  .help = "microseconds that a command of I/O may take, in whole milliseconds; 0: any time "
		  "(30000000 at first)" },
	{ "timeout_admin_us", PLX_RPC_INT, .min = 1000, .max = 3600000000ll,
	  .help = "the same for admin commands, after which the controller is reset (60000000 at "
		  "first)" },
	{ "keep_alive_timeout_ms", PLX_RPC_INT, .max = UINT32_MAX,
	  .help = "milliseconds within which the controller hears from this host; 0: it does not "
		  "expect to (0 at first)" },
	{ "transport_retry_count", PLX_RPC_INT, .max = UINT8_MAX,
	  .help = "how often a command is sent again that the controller says may succeed then (4 "
		  "at "
		  "first)" },
	{ "bdev_retry_count", PLX_RPC_INT, .min = -1, .max = INT32_MAX,
	  .help = "how often I/O is submitted again that a reset of the controller ended, unless "
		  "the "
		  "reset was its own bdev's; -1: without end (3 at first)" },
	{ "nvme_adminq_poll_period_us", PLX_RPC_INT, .min = 1, .max = 1000000,
	  .help = "microseconds between two looks at the controller (1000 at first)" },
	{ "nvme_ioq_poll_period_us", PLX_RPC_INT, .max = 1000000,
	  .help = "microseconds between two looks at a queue of I/O; 0: in each turn of its thread "
		  "(0 "
		  "at first)" },
	{ 0 },
};

static enum plx_nvme_timeout_action action_of(const char *word)
{
	return !strcmp(word, "none")	? PLX_NVME_TIMEOUT_NONE
	       : !strcmp(word, "reset") ? PLX_NVME_TIMEOUT_RESET
					: PLX_NVME_TIMEOUT_ABORT;
}

static void take_u32(const json_t *params, const char *key, uint32_t unit, uint32_t *out)
{
	if (rpc_has(params, key))
		*out = (uint32_t)((rpc_int(params, key) + unit - 1) / unit);
}

static json_t *set_options(struct plx_rpc_call *call, const json_t *params)
{
	struct nvme_settings *s = &nvme_settings;

	if (nvme_ctrlr_first())
		return plx_rpc_fail(
			call, -EPERM,
			"options are for controllers attached afterwards, and there are "
			"some already: set them first");
	if (rpc_has(params, "action_on_timeout"))
		s->action_on_timeout = action_of(rpc_str(params, "action_on_timeout"));
	take_u32(params, "timeout_us", 1000, &s->timeout_ms);
	take_u32(params, "timeout_admin_us", 1000, &s->timeout_admin_ms);
	take_u32(params, "keep_alive_timeout_ms", 1, &s->keep_alive_ms);
	take_u32(params, "transport_retry_count", 1, &s->transport_retries);
	take_u32(params, "bdev_retry_count", 1, &s->bdev_retries);
	take_u32(params, "nvme_adminq_poll_period_us", 1, &s->admin_poll_us);
	take_u32(params, "nvme_ioq_poll_period_us", 1, &s->io_poll_us);
	s->set = true;
	return json_true();
}

/* ---- the saved configuration ---- */

static json_t *options_json(void)
{
	static const char *const actions[] = { [PLX_NVME_TIMEOUT_NONE] = "none",
					       [PLX_NVME_TIMEOUT_ABORT] = "abort",
					       [PLX_NVME_TIMEOUT_RESET] = "reset" };
	const struct nvme_settings *s = &nvme_settings;
	json_t *o = json_object();

	json_object_set_new(o, "action_on_timeout", json_string(actions[s->action_on_timeout]));
	json_object_set_new(o, "timeout_us", rpc_u64(s->timeout_ms * 1000ull));
	json_object_set_new(o, "timeout_admin_us", rpc_u64(s->timeout_admin_ms * 1000ull));
	json_object_set_new(o, "keep_alive_timeout_ms", json_integer(s->keep_alive_ms));
	json_object_set_new(o, "transport_retry_count", json_integer(s->transport_retries));
	json_object_set_new(o, "bdev_retry_count", json_integer((int32_t)s->bdev_retries));
	json_object_set_new(o, "nvme_adminq_poll_period_us", json_integer(s->admin_poll_us));
	json_object_set_new(o, "nvme_ioq_poll_period_us", json_integer(s->io_poll_us));
	return o;
}

static json_t *attach_json(const struct nvme_bdev_ctrlr *nc)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(nc->name));
	trid_dump(plx_nvme_ctrlr_trid(nc->c), o);
	put_text(o, "hostnqn", plx_nvme_ctrlr_trid(nc->c)->hostnqn);
	json_object_set_new(o, "prchk_reftag", json_boolean(nc->check & PLX_BDEV_CHECK_REF));
	json_object_set_new(o, "prchk_guard", json_boolean(nc->check & PLX_BDEV_CHECK_GUARD));
	return o;
}

static void dump(json_t *config)
{
	if (nvme_settings.set)
		json_array_append_new(config,
				      json_pack("{s:s, s:o}", "method", "bdev_nvme_set_options",
						"params", options_json()));
	for (struct nvme_bdev_ctrlr *nc = nvme_ctrlr_first(); nc; nc = TAILQ_NEXT(nc, link))
		if (!nc->going)
			json_array_append_new(config, json_pack("{s:s, s:o}", "method",
								"bdev_nvme_attach_controller",
								"params", attach_json(nc)));
}

static struct bdev_module module = { .dump = dump, .fini = nvme_detach_all };

__attribute__((constructor)) static void module_register(void)
{
	bdev_module_register(&module);
}

/* ---- the table ---- */

static struct plx_rpc_method methods[] = {
	{ "bdev_nvme_attach_controller",
	  "Connects to an NVMe controller and makes a bdev of each of its namespaces; returns "
	  "their "
	  "names.",
	  attach, PLX_RPC_RUNTIME, attach_params, "bdev" },
	{ "bdev_nvme_detach_controller",
	  "Disconnects from an NVMe controller; its bdevs are deleted.", detach, PLX_RPC_RUNTIME,
	  name_params, "bdev" },
	{ "bdev_nvme_get_controllers", "Lists the NVMe controllers.", get_controllers,
	  PLX_RPC_RUNTIME, get_params, "bdev" },
	{ "bdev_nvme_reset_controller",
	  "Resets an NVMe controller, and returns when it is ready again. I/O under way is "
	  "submitted "
	  "again.",
	  reset, PLX_RPC_RUNTIME, name_params, "bdev" },
	{ "bdev_nvme_set_options",
	  "Sets options of NVMe controllers, before the first is attached.", set_options,
	  PLX_RPC_ANY_TIME, options_params, "bdev" },
};
PLX_RPC_TABLE(methods)
