/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/json.c - JSON with nvme-cli's names and types: pages that have more than a layout
 */
#include "identify/out.h"
#include <string.h>

/* ---- pages ---- */

static void ctrl(struct id_out *o, const char *key, const struct nvme_id_ctrl *id)
{
	uint32_t states = id->npss < PLX_ARRAY_SIZE(id->psd) ? id->npss + 1u
							     : (uint32_t)PLX_ARRAY_SIZE(id->psd);

	out_open(o, key, '{');
	out_table(o, &id_ctrl_table, id, sizeof(*id));
	out_open(o, "psds", '[');
	for (uint32_t i = 0; i < states; i++) {
		const struct nvme_id_psd *p = &id->psd[i];

		out_open(o, NULL, '{');
		out_number(o, "max_power", p->mp);
		out_number(o, "flags", p->flags);
		out_number(o, "entry_lat", p->enlat);
		out_number(o, "exit_lat", p->exlat);
		out_number(o, "read_tput", p->rrt);
		out_number(o, "read_lat", p->rrl);
		out_number(o, "write_tput", p->rwt);
		out_number(o, "write_lat", p->rwl);
		out_number(o, "idle_power", p->idlp);
		out_number(o, "idle_scale", p->ips >> 6);
		out_number(o, "active_power", p->actp);
		out_number(o, "active_power_work", p->apws & 7);
		out_number(o, "active_scale", p->apws >> 6);
		out_close(o, '}');
	}
	out_close(o, ']');
	out_close(o, '}');
}

/* @nsid 0: not part of the object */
static void ns(struct id_out *o, const char *key, const struct nvme_id_ns *id, uint32_t nsid)
{
	out_open(o, key, '{');
	if (nsid)
		out_number(o, "nsid", nsid);
	out_table(o, &id_ns_table, id, sizeof(*id));
	out_open(o, "lbafs", '[');
	for (uint32_t i = 0; i < id_lbaf_count(id); i++) {
		out_open(o, NULL, '{');
		out_number(o, "ms", id->lbaf[i].ms);
		out_number(o, "ds", id->lbaf[i].ds);
		out_number(o, "rp", id->lbaf[i].rp);
		out_close(o, '}');
	}
	out_close(o, ']');
	out_close(o, '}');
}

static void descriptor(struct id_out *o, const struct id_desc *d)
{
	char buf[2 * 255 + 1];

	out_open(o, NULL, '{');
	out_number(o, "loc", d->loc);
	out_number(o, "nidt", d->type);
	out_number(o, "nidl", d->len);
	if (d->type == NVME_NIDT_EUI64) {
		out_text(o, "type", "eui64");
		out_text(o, "eui64", id_hex(d->id, d->len < 8 ? d->len : 8, buf));
	} else if (d->type == NVME_NIDT_NGUID) {
		out_text(o, "type", "nguid");
		out_text(o, "nguid", id_hex(d->id, d->len < 16 ? d->len : 16, buf));
	} else if (d->type == NVME_NIDT_UUID && d->len >= 16) {
		out_text(o, "type", "uuid");
		out_text(o, "uuid", id_uuid(d->id, buf));
	} else if (d->type == NVME_NIDT_CSI) {
		snprintf(buf, sizeof(buf), "%#x", d->id[0]);
		out_text(o, "type", "csi");
		out_text(o, "csi", buf);
	} else {
		out_text(o, "type", "unknown");
		out_text(o, "unknown", id_hex(d->id, d->len, buf));
	}
	out_close(o, '}');
}

static void descriptors(struct id_out *o, const char *key, const struct id_item *item,
			uint32_t nsid)
{
	struct id_desc d;

	out_open(o, key, '{');
	if (nsid)
		out_number(o, "nsid", nsid);
	out_open(o, "ns-descs", '[');
	for (uint32_t at = 0; id_next_desc(item, &at, &d);)
		descriptor(o, &d);
	out_close(o, ']');
	out_close(o, '}');
}

static void errors(struct id_out *o, const char *key, const struct id_item *item)
{
	const struct nvme_error_log_page *e = item->data;

	out_open(o, key, '{');
	out_open(o, "errors", '[');
	for (uint32_t i = 0; i < item->len / sizeof(*e); i++) {
		out_open(o, NULL, '{');
		out_table(o, &id_error_table, &e[i], sizeof(*e));
		out_close(o, '}');
	}
	out_close(o, ']');
	out_close(o, '}');
}

static void firmware(struct id_out *o, const char *key, const struct nvme_firmware_slot *log,
		     const char *device)
{
	out_open(o, key, '{');
	out_open(o, device, '{');
	out_number(o, "Active Firmware Slot (afi)", log->afi);
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(log->frs); i++) {
		char name[32], value[40];

		if (!id_uint(log->frs[i], sizeof(log->frs[i])))
			continue;
		snprintf(name, sizeof(name), "Firmware Rev Slot %u", i + 1);
		out_text(o, name, id_revision(log->frs[i], value));
	}
	out_close(o, '}');
	out_close(o, '}');
}

static void commands(struct id_out *o, const char *key, const char *prefix, const __le32 *effects,
		     const char *(*name)(uint8_t))
{
	char buf[64];

	out_open(o, key, '{');
	for (uint32_t opc = 0; opc < 256; opc++) {
		if (!(effects[opc] & NVME_CMD_EFFECTS_CSUPP))
			continue;
		snprintf(buf, sizeof(buf), "%s_%u (%s)", prefix, opc, name((uint8_t)opc));
		out_number(o, buf, effects[opc]);
	}
	out_close(o, '}');
}

static void effects(struct id_out *o, const char *key, const struct nvme_cmd_effects_log *log,
		    uint8_t csi)
{
	out_open(o, key, '[');
	out_open(o, NULL, '{');
	out_number(o, "command_set_identifier", csi);
	commands(o, "admin_cmd_set", "ACS", log->acs, id_admin_name);
	commands(o, "io_cmd_set", "IOCS", log->iocs, id_io_name);
	out_close(o, '}');
	out_close(o, ']');
}

static void changed_ns(struct id_out *o, const char *key, const struct nvme_ns_list *log,
		       const char *device)
{
	out_open(o, key, '{');
	out_text(o, "Changed Namespace List Log", device);
	out_open(o, device, '{');
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(log->ns) && log->ns[i]; i++) {
		char name[24], value[24];

		snprintf(name, sizeof(name), "[%4u]", i + 1);
		snprintf(value, sizeof(value), "%#x", log->ns[i]);
		out_text(o, name, value);
	}
	out_close(o, '}');
	out_close(o, '}');
}

static void supported_logs(struct id_out *o, const char *key,
			   const struct nvme_supported_log_pages *log)
{
	out_open(o, key, '{');
	out_open(o, "supported_logs", '[');
	for (uint32_t lid = 0; lid < PLX_ARRAY_SIZE(log->lid_support); lid++) {
		char name[24];

		if (!log->lid_support[lid])
			continue;
		snprintf(name, sizeof(name), "lid_0x%x", lid);
		out_open(o, NULL, '{');
		out_number(o, name, log->lid_support[lid]);
		out_close(o, '}');
	}
	out_close(o, ']');
	out_close(o, '}');
}

/* ---- features: nvme-cli has no JSON for them ---- */

static void feature_fields(struct id_out *o, const struct id_feature_value *v)
{
	out_open(o, "fields", '{');
	for (const struct id_bits *b = v->feature->bits; b && b->width; b++)
		out_number(o, b->json,
			   (uint64_t)v->value[ID_CURRENT] >> b->lo & ((1ull << b->width) - 1));
	out_close(o, '}');
}

static void feature(struct id_out *o, const struct id_feature_value *v)
{
	static const char *const names[] = { "current", "default", "saved" };
	char hex[2 * ID_FEATURE_DATA + 1];

	out_open(o, NULL, '{');
	out_number(o, "fid", v->feature->fid);
	out_text(o, "name", v->feature->name);
	if (v->nsid)
		out_number(o, "nsid", v->nsid);
	out_number(o, "cdw11", v->cdw11);
	for (uint32_t select = ID_CURRENT; select <= ID_SAVED; select++) {
		if (v->known >> select & 1)
			out_number(o, names[select], v->value[select]);
	}
	if (v->known >> ID_SUPPORTED & 1) {
		out_boolean(o, "saveable", v->value[ID_SUPPORTED] & 1);
		out_boolean(o, "namespace_specific", v->value[ID_SUPPORTED] >> 1 & 1);
		out_boolean(o, "changeable", v->value[ID_SUPPORTED] >> 2 & 1);
	}
	if (v->feature->bits)
		feature_fields(o, v);
	if (v->data_len)
		out_text(o, "data", id_hex(v->data, v->data_len, hex));
	out_close(o, '}');
}

static void features(struct id_out *o, const char *key, const struct id_item *item)
{
	const struct id_feature_value *v = item->data;

	out_open(o, key, '[');
	for (uint32_t i = 0; i < item->len / sizeof(*v); i++) {
		if (!v[i].status)
			feature(o, &v[i]);
	}
	out_close(o, ']');
}

/* ---- all ---- */

static void print_item(struct id_out *o, const char *key, const struct id_dump *dump,
		       const struct id_item *item, uint32_t nsid)
{
	if (item->status || item->err) {
		out_null(o, key);
		return;
	}
	switch (item->what) {
	case ID_CTRL:
		ctrl(o, key, item->data);
		break;
	case ID_NS:
		ns(o, key, item->data, nsid);
		break;
	case ID_DESCS:
		descriptors(o, key, item, nsid);
		break;
	case ID_ERROR:
		errors(o, key, item);
		break;
	case ID_FW:
		firmware(o, key, item->data, dump->name);
		break;
	case ID_EFFECTS:
	case ID_ZNS_EFFECTS:
		effects(o, key, item->data, id_whats[item->what].csi);
		break;
	case ID_CHANGED_NS:
		changed_ns(o, key, item->data, dump->name);
		break;
	case ID_SUPPORTED_LOGS:
		supported_logs(o, key, item->data);
		break;
	case ID_FEATURES:
		features(o, key, item);
		break;
	default:
		out_layout(o, key, id_whats[item->what].layout, item,
			   nsid ? id_scopes[id_whats[item->what].scope].key : NULL);
	}
}

/* All there is of one; @key as for out_open(). Return: how many */
static uint32_t print_what(struct id_out *o, const char *key, const struct id_dump *dump,
			   enum id_what what)
{
	bool several = id_whats[what].scope != ID_OF_CTRL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < dump->nitems; i++) {
		const struct id_item *item = &dump->items[i];

		if (item->what != what || id_skipped(dump, item))
			continue;
		if (!n++ && several)
			out_open(o, key, '[');
		print_item(o, several ? NULL : key, dump, item, item->nsid);
	}
	if (n && several)
		out_close(o, ']');
	return n;
}

void id_print_json(FILE *f, const struct id_dump *dump, bool single)
{
	const struct id_context x = { .cap = dump->cap };
	struct id_out o = { .f = f, .json = true, .x = &x, .device = dump->name };

	if (single && dump->nitems == 1) {
		print_item(&o, NULL, dump, &dump->items[0], 0);
		return;
	}
	if (single) {
		if (!dump->nitems || !print_what(&o, NULL, dump, dump->items[0].what))
			out_null(&o, NULL);
		return;
	}
	out_open(&o, NULL, '{');
	for (int w = 0; w < ID_WHATS; w++)
		print_what(&o, id_whats[w].key, dump, (enum id_what)w);
	out_close(&o, '}');
}
