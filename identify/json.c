/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/json.c - JSON with nvme-cli's names and types
 *
 * Written by hand: fields of 64 bits are numbers, and jansson's integers have 63. 128 bits are
 * strings, as nvme-cli has them.
 */
#include "identify/identify.h"
#include <string.h>

struct json {
	FILE *f;
	uint32_t depth;
	bool first;
};

/* ---- writing ---- */

static void put_string(struct json *j, const char *s)
{
	fputc('"', j->f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', j->f);
		fputc(*s, j->f); /* id_ascii() has left nothing else that needs it */
	}
	fputc('"', j->f);
}

/* Before each value; @key NULL: an element of an array, or the whole */
static void begin(struct json *j, const char *key)
{
	if (j->depth)
		fprintf(j->f, "%s\n%*s", j->first ? "" : ",", (int)(2 * j->depth), "");
	j->first = false;
	if (key) {
		put_string(j, key);
		fputc(':', j->f);
	}
}

static void open_(struct json *j, const char *key, char bracket)
{
	begin(j, key);
	fputc(bracket, j->f);
	j->depth++;
	j->first = true;
}

static void close_(struct json *j, char bracket)
{
	j->depth--;
	if (!j->first)
		fprintf(j->f, "\n%*s", (int)(2 * j->depth), "");
	fputc(bracket, j->f);
	j->first = false;
	if (!j->depth)
		fputc('\n', j->f);
}

static void text(struct json *j, const char *key, const char *s)
{
	begin(j, key);
	put_string(j, s);
}

static void number(struct json *j, const char *key, uint64_t v)
{
	begin(j, key);
	fprintf(j->f, "%lu", v);
}

static void boolean(struct json *j, const char *key, bool v)
{
	begin(j, key);
	fputs(v ? "true" : "false", j->f);
}

static void null(struct json *j, const char *key)
{
	begin(j, key);
	fputs("null", j->f);
	if (!j->depth)
		fputc('\n', j->f);
}

/* ---- tables ---- */

static void field(struct json *j, const struct id_field *f, const uint8_t *page)
{
	const uint8_t *at = page + f->off;
	char buf[2 * 256 + 1]; /* the longest field in a table, SUBNQN, has 256 bytes */

	switch (f->kind) {
	case ID_UINT:
		if (!f->hide_zero || id_uint(at, f->len))
			number(j, f->json, id_uint(at, f->len));
		break;
	case ID_UINT128:
		text(j, f->json, id_text128(at, buf));
		break;
	case ID_ASCII:
		text(j, f->json, id_ascii(at, f->len, buf));
		break;
	case ID_HEX:
		text(j, f->json, id_hex(at, f->len, buf));
		break;
	case ID_UUID:
		text(j, f->json, id_uuid(at, buf));
		break;
	case ID_GROUP:
		break;
	}
}

static void table(struct json *j, const struct id_table *t, const void *page)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct id_field *f = &t->fields[i];

		if (f->preferred &&
		    !(((const struct nvme_id_ns *)page)->nsfeat & NVME_NS_FEAT_IO_OPT))
			continue;
		if (f->json)
			field(j, f, page);
	}
}

/* ---- pages ---- */

static void ctrl(struct json *j, const char *key, const struct nvme_id_ctrl *id)
{
	uint32_t states = id->npss < PLX_ARRAY_SIZE(id->psd) ? id->npss + 1u
							     : (uint32_t)PLX_ARRAY_SIZE(id->psd);

	open_(j, key, '{');
	table(j, &id_ctrl_table, id);
	open_(j, "psds", '[');
	for (uint32_t i = 0; i < states; i++) {
		const struct nvme_id_psd *p = &id->psd[i];

		open_(j, NULL, '{');
		number(j, "max_power", p->mp);
		number(j, "flags", p->flags);
		number(j, "entry_lat", p->enlat);
		number(j, "exit_lat", p->exlat);
		number(j, "read_tput", p->rrt);
		number(j, "read_lat", p->rrl);
		number(j, "write_tput", p->rwt);
		number(j, "write_lat", p->rwl);
		number(j, "idle_power", p->idlp);
		number(j, "idle_scale", p->ips >> 6);
		number(j, "active_power", p->actp);
		number(j, "active_power_work", p->apws & 7);
		number(j, "active_scale", p->apws >> 6);
		close_(j, '}');
	}
	close_(j, ']');
	close_(j, '}');
}

static void registers(struct json *j, const char *key, const struct id_registers *r)
{
	open_(j, key, '{');
	number(j, "cap", r->cap);
	number(j, "vs", r->vs);
	close_(j, '}');
}

/* @nsid 0: not part of the object */
static void ns(struct json *j, const char *key, const struct nvme_id_ns *id, uint32_t nsid)
{
	open_(j, key, '{');
	if (nsid)
		number(j, "nsid", nsid);
	table(j, &id_ns_table, id);
	open_(j, "lbafs", '[');
	for (uint32_t i = 0; i < id_lbaf_count(id); i++) {
		open_(j, NULL, '{');
		number(j, "ms", id->lbaf[i].ms);
		number(j, "ds", id->lbaf[i].ds);
		number(j, "rp", id->lbaf[i].rp);
		close_(j, '}');
	}
	close_(j, ']');
	close_(j, '}');
}

static void descriptor(struct json *j, const struct id_desc *d)
{
	char buf[2 * 255 + 1];

	open_(j, NULL, '{');
	number(j, "loc", d->loc);
	number(j, "nidt", d->type);
	number(j, "nidl", d->len);
	if (d->type == NVME_NIDT_EUI64) {
		text(j, "type", "eui64");
		text(j, "eui64", id_hex(d->id, d->len < 8 ? d->len : 8, buf));
	} else if (d->type == NVME_NIDT_NGUID) {
		text(j, "type", "nguid");
		text(j, "nguid", id_hex(d->id, d->len < 16 ? d->len : 16, buf));
	} else if (d->type == NVME_NIDT_UUID && d->len >= 16) {
		text(j, "type", "uuid");
		text(j, "uuid", id_uuid(d->id, buf));
	} else if (d->type == NVME_NIDT_CSI) {
		snprintf(buf, sizeof(buf), "%#x", d->id[0]);
		text(j, "type", "csi");
		text(j, "csi", buf);
	} else {
		text(j, "type", "unknown");
		text(j, "unknown", id_hex(d->id, d->len, buf));
	}
	close_(j, '}');
}

static void descriptors(struct json *j, const char *key, const struct id_item *item, uint32_t nsid)
{
	struct id_desc d;

	open_(j, key, '{');
	if (nsid)
		number(j, "nsid", nsid);
	open_(j, "ns-descs", '[');
	for (uint32_t at = 0; id_next_desc(item, &at, &d);)
		descriptor(j, &d);
	close_(j, ']');
	close_(j, '}');
}

static void smart(struct json *j, const char *key, const struct nvme_smart_log *log)
{
	open_(j, key, '{');
	table(j, &id_smart_table, log);
	close_(j, '}');
}

static void errors(struct json *j, const char *key, const struct id_item *item)
{
	const struct nvme_error_log_page *e = item->data;

	open_(j, key, '{');
	open_(j, "errors", '[');
	for (uint32_t i = 0; i < item->len / sizeof(*e); i++) {
		struct nvme_error_log_page entry = e[i];

		entry.status_field >>= 1;
		open_(j, NULL, '{');
		for (uint32_t k = 0; k < id_error_table.n; k++) {
			const struct id_field *f = &id_error_table.fields[k];

			field(j, f, (const uint8_t *)&entry);
			if (f->off == offsetof(struct nvme_error_log_page, status_field))
				number(j, "phase_tag", e[i].status_field & 1);
		}
		close_(j, '}');
	}
	close_(j, ']');
	close_(j, '}');
}

/* nvme-cli's form of a revision: the number of its eight bytes, and their characters */
static void firmware(struct json *j, const char *key, const struct nvme_firmware_slot *log,
		     const char *device)
{
	open_(j, key, '{');
	open_(j, device, '{');
	number(j, "Active Firmware Slot (afi)", log->afi);
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(log->frs); i++) {
		uint64_t v = id_uint(log->frs[i], sizeof(log->frs[i]));
		char name[32], value[40], chars[9] = "";

		if (!v)
			continue;
		for (uint32_t k = 0; k < 8; k++)
			chars[k] = log->frs[i][k] > ' ' && log->frs[i][k] <= '~' ? log->frs[i][k]
										 : '.';
		snprintf(name, sizeof(name), "Firmware Rev Slot %u", i + 1);
		snprintf(value, sizeof(value), "%lu (%s)", v, chars);
		text(j, name, value);
	}
	close_(j, '}');
	close_(j, '}');
}

static void commands(struct json *j, const char *key, const char *prefix, const __le32 *effects,
		     const char *(*name)(uint8_t))
{
	char buf[64];

	open_(j, key, '{');
	for (uint32_t opc = 0; opc < 256; opc++) {
		if (!(effects[opc] & NVME_CMD_EFFECTS_CSUPP))
			continue;
		snprintf(buf, sizeof(buf), "%s_%u (%s)", prefix, opc, name((uint8_t)opc));
		number(j, buf, effects[opc]);
	}
	close_(j, '}');
}

static void effects(struct json *j, const char *key, const struct nvme_cmd_effects_log *log)
{
	open_(j, key, '[');
	open_(j, NULL, '{');
	number(j, "command_set_identifier", NVME_CSI_NVM);
	commands(j, "admin_cmd_set", "ACS", log->acs, id_admin_name);
	commands(j, "io_cmd_set", "IOCS", log->iocs, id_io_name);
	close_(j, '}');
	close_(j, ']');
}

static void changed_ns(struct json *j, const char *key, const struct nvme_ns_list *log,
		       const char *device)
{
	open_(j, key, '{');
	text(j, "Changed Namespace List Log", device);
	open_(j, device, '{');
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(log->ns) && log->ns[i]; i++) {
		char name[24], value[24];

		snprintf(name, sizeof(name), "[%4u]", i + 1);
		snprintf(value, sizeof(value), "%#x", log->ns[i]);
		text(j, name, value);
	}
	close_(j, '}');
	close_(j, '}');
}

static void supported_logs(struct json *j, const char *key,
			   const struct nvme_supported_log_pages *log)
{
	open_(j, key, '{');
	open_(j, "supported_logs", '[');
	for (uint32_t lid = 0; lid < PLX_ARRAY_SIZE(log->lid_support); lid++) {
		char name[24];

		if (!log->lid_support[lid])
			continue;
		snprintf(name, sizeof(name), "lid_0x%x", lid);
		open_(j, NULL, '{');
		number(j, name, log->lid_support[lid]);
		close_(j, '}');
	}
	close_(j, ']');
	close_(j, '}');
}

/* ---- features: nvme-cli has no JSON for them ---- */

static void feature_fields(struct json *j, const struct id_feature_value *v)
{
	open_(j, "fields", '{');
	for (const struct id_bits *b = v->feature->bits; b && b->width; b++)
		number(j, b->json,
		       (uint64_t)v->value[ID_CURRENT] >> b->lo & ((1ull << b->width) - 1));
	close_(j, '}');
}

static void feature(struct json *j, const struct id_feature_value *v)
{
	static const char *const names[] = { "current", "default", "saved" };
	char hex[2 * ID_FEATURE_DATA + 1];

	open_(j, NULL, '{');
	number(j, "fid", v->feature->fid);
	text(j, "name", v->feature->name);
	if (v->nsid)
		number(j, "nsid", v->nsid);
	number(j, "cdw11", v->feature->cdw11);
	for (uint32_t select = ID_CURRENT; select <= ID_SAVED; select++) {
		if (v->known >> select & 1)
			number(j, names[select], v->value[select]);
	}
	if (v->known >> ID_SUPPORTED & 1) {
		boolean(j, "saveable", v->value[ID_SUPPORTED] & 1);
		boolean(j, "namespace_specific", v->value[ID_SUPPORTED] >> 1 & 1);
		boolean(j, "changeable", v->value[ID_SUPPORTED] >> 2 & 1);
	}
	if (v->feature->bits)
		feature_fields(j, v);
	if (v->data_len)
		text(j, "data", id_hex(v->data, v->data_len, hex));
	close_(j, '}');
}

static void features(struct json *j, const char *key, const struct id_item *item)
{
	const struct id_feature_value *v = item->data;

	open_(j, key, '[');
	for (uint32_t i = 0; i < item->len / sizeof(*v); i++) {
		if (!v[i].status)
			feature(j, &v[i]);
	}
	close_(j, ']');
}

/* ---- all ---- */

static void print_item(struct json *j, const char *key, const struct id_dump *dump,
		       const struct id_item *item, uint32_t nsid)
{
	if (item->status) {
		null(j, key);
		return;
	}
	switch (item->what) {
	case ID_CTRL:
		ctrl(j, key, item->data);
		break;
	case ID_REGISTERS:
		registers(j, key, item->data);
		break;
	case ID_NS:
		ns(j, key, item->data, nsid);
		break;
	case ID_DESCS:
		descriptors(j, key, item, nsid);
		break;
	case ID_SMART:
		smart(j, key, item->data);
		break;
	case ID_ERROR:
		errors(j, key, item);
		break;
	case ID_FW:
		firmware(j, key, item->data, dump->name);
		break;
	case ID_EFFECTS:
		effects(j, key, item->data);
		break;
	case ID_CHANGED_NS:
		changed_ns(j, key, item->data, dump->name);
		break;
	case ID_SUPPORTED_LOGS:
		supported_logs(j, key, item->data);
		break;
	case ID_FEATURES:
		features(j, key, item);
		break;
	case ID_WHATS:
		break;
	}
}

static void print_what(struct json *j, const struct id_dump *dump, enum id_what what)
{
	const struct id_what_info *info = &id_whats[what];

	if (info->per_ns)
		open_(j, info->key, '[');
	for (uint32_t i = 0; i < dump->nitems; i++) {
		const struct id_item *item = &dump->items[i];

		if (item->what == what)
			print_item(j, info->per_ns ? NULL : info->key, dump, item, item->nsid);
	}
	if (info->per_ns)
		close_(j, ']');
}

void id_print_json(FILE *f, const struct id_dump *dump, uint32_t what, bool single)
{
	struct json j = { .f = f };

	if (single) {
		print_item(&j, NULL, dump, &dump->items[0], 0);
		return;
	}
	open_(&j, NULL, '{');
	for (int w = 0; w < ID_WHATS; w++) {
		if (what >> w & 1)
			print_what(&j, dump, (enum id_what)w);
	}
	close_(&j, '}');
}
