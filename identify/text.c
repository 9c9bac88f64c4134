/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/text.c - what was read, for people
 */
#include "identify/out.h"
#include "core/text.h"
#include <pollux/nvme_log.h>
#include <ctype.h>
#include <string.h>

#define DUMP_COLUMNS 16u

/* ---- lines ---- */

void id_line(FILE *f, const char *name, const char *label, const char *value)
{
	if (!name)
		fprintf(f, "  %-*s", *value ? 54 : 0, label);
	else
		fprintf(f, *name ? "  %-9s %-*s" : "  %-9s   %-*s", name,
			*value ? *name ? 44 : 42 : 0, label);
	fprintf(f, *value ? " %s\n" : "\n", value);
}

/* As hexdump -C has it: the same line again is a '*' */
void id_hex_dump(FILE *f, const uint8_t *data, uint32_t len)
{
	bool starred = false;

	fputc('\n', f);
	for (uint32_t at = 0; at < len; at += DUMP_COLUMNS) {
		uint32_t n = len - at < DUMP_COLUMNS ? len - at : DUMP_COLUMNS;

		if (at && n == DUMP_COLUMNS && !memcmp(data + at, data + at - n, n)) {
			fputs(starred ? "" : "  *\n", f);
			starred = true;
			continue;
		}
		starred = false;
		fprintf(f, "  %08x ", at);
		for (uint32_t i = 0; i < DUMP_COLUMNS; i++) {
			if (i < n)
				fprintf(f, "%s%02x", i == 8 ? "  " : " ", data[at + i]);
			else
				fputs(i == 8 ? "    " : "   ", f);
		}
		fputs("  |", f);
		for (uint32_t i = 0; i < n; i++)
			fputc(data[at + i] >= ' ' && data[at + i] <= '~' ? data[at + i] : '.', f);
		fputs("|\n", f);
	}
	fprintf(f, "  %08x\n", len);
}

/* ---- controller ---- */

static void watts(uint32_t v, bool fine, char *out, size_t len)
{
	if (v)
		snprintf(out, len, "%.*f W", fine ? 4 : 2, fine ? v * 1e-4 : v * 1e-2);
	else
		snprintf(out, len, "not reported");
}

static void scaled_watts(uint32_t v, uint8_t scale, char *out, size_t len)
{
	watts(scale == NVME_PSD_PS_100_MICRO_WATT || scale == NVME_PSD_PS_10_MILLI_WATT ? v : 0,
	      scale == NVME_PSD_PS_100_MICRO_WATT, out, len);
}

static void power_state(FILE *f, const struct nvme_id_psd *p, uint32_t number)
{
	char name[16], words[2 * ID_WORDS], power[32], enter[PLX_TEXT_MAX], leave[PLX_TEXT_MAX];

	watts(p->mp, p->flags & NVME_PSD_FLAGS_MXPS, power, sizeof(power));
	snprintf(name, sizeof(name), "ps %u", number);
	id_line(f, name, p->flags & NVME_PSD_FLAGS_NOPS ? "Not operational" : "Operational", "");
	id_line(f, "", "Maximum power", power);
	snprintf(words, sizeof(words), "%s, %s",
		 p->enlat ? plx_format_ns(p->enlat * 1000ull, enter, sizeof(enter))
			  : "not reported",
		 p->exlat ? plx_format_ns(p->exlat * 1000ull, leave, sizeof(leave))
			  : "not reported");
	id_line(f, "", "Time to enter, to leave", words);
	snprintf(words, sizeof(words), "throughput %u, latency %u; throughput %u, latency %u",
		 p->rrt & 31, p->rrl & 31, p->rwt & 31, p->rwl & 31);
	id_line(f, "", "Rank among the states: reads; writes", words);
	scaled_watts(p->idlp, p->ips >> 6, power, sizeof(power));
	id_line(f, "", "Idle power", power);
	scaled_watts(p->actp, p->apws >> 6, power, sizeof(power));
	id_line(f, "", "Active power", power);
}

static void ctrl(FILE *f, const struct id_context *x, const struct nvme_id_ctrl *id)
{
	struct id_context own = { .cap = x->cap, .names = true };
	struct id_out o = { .f = f, .x = &own };

	out_table(&o, &id_ctrl_table, id, sizeof(*id));
	out_title(&o, "Power states");
	for (uint32_t i = 0; i <= id->npss && i < PLX_ARRAY_SIZE(id->psd); i++)
		power_state(f, &id->psd[i], i);
}

/* ---- namespaces ---- */

static void lba_format(FILE *f, const struct nvme_lbaf *b, uint32_t number, bool in_use)
{
	static const char *const ranks[] = { "best", "better", "good", "degraded" };
	char name[16], label[64], words[ID_WORDS];

	snprintf(name, sizeof(name), "lbaf %u", number);
	if (b->ds >= 9 && b->ds < 32)
		snprintf(label, sizeof(label), "%u bytes of data, %u of metadata", 1u << b->ds,
			 b->ms);
	else
		snprintf(label, sizeof(label), "not available");
	snprintf(words, sizeof(words), "%s performance%s", ranks[b->rp & 3],
		 in_use ? ", in use" : "");
	id_line(f, name, label, words);
}

static void ns(FILE *f, const struct id_context *x, const struct nvme_id_ns *id)
{
	uint32_t used = id_lbaf_index(id), n = id_lbaf_count(id);
	uint8_t ds = used < n ? id->lbaf[used].ds : 0;
	struct id_context own = { .cap = x->cap,
				  .block = ds >= 9 && ds < 32 ? 1u << ds : 0,
				  .nsfeat = id->nsfeat,
				  .names = true };
	struct id_out o = { .f = f, .x = &own };

	out_table(&o, &id_ns_table, id, sizeof(*id));
	out_title(&o, "LBA formats");
	for (uint32_t i = 0; i < n; i++)
		lba_format(f, &id->lbaf[i], i, i == used);
}

static const char *command_set(uint8_t csi)
{
	switch (csi) {
	case NVME_CSI_NVM:
		return "NVM";
	case NVME_CSI_KV:
		return "key value";
	case NVME_CSI_ZNS:
		return "zoned namespaces";
	default:
		return "unknown";
	}
}

static void descriptors(FILE *f, const struct id_item *item)
{
	char words[2 * 255 + 1];
	struct id_desc d;

	fputc('\n', f);
	for (uint32_t at = 0; id_next_desc(item, &at, &d);) {
		if (d.type == NVME_NIDT_UUID && d.len >= 16)
			id_line(f, "uuid", "UUID", id_uuid(d.id, words));
		else if (d.type == NVME_NIDT_CSI)
			id_line(f, "csi", "Command set", command_set(d.id[0]));
		else if (d.type == NVME_NIDT_EUI64)
			id_line(f, "eui64", "EUI-64", id_hex(d.id, d.len, words));
		else if (d.type == NVME_NIDT_NGUID)
			id_line(f, "nguid", "NGUID", id_hex(d.id, d.len, words));
		else
			id_line(f, "", "Unknown", id_hex(d.id, d.len, words));
	}
}

/* ---- log pages ---- */

static void errors(FILE *f, const struct id_context *x, const struct id_item *item)
{
	const struct nvme_error_log_page *e = item->data;
	struct id_out o = { .f = f, .x = x };
	uint32_t n = 0;

	for (uint32_t i = 0; i < item->len / sizeof(*e); i++) {
		if (!e[i].error_count)
			continue;
		n++;
		fputc('\n', f);
		out_table(&o, &id_error_table, &e[i], sizeof(*e));
	}
	if (!n)
		fprintf(f, "  no errors, room for %zu\n", item->len / sizeof(*e));
}

static void firmware(FILE *f, const struct nvme_firmware_slot *log)
{
	uint32_t active = log->afi & 7, next = log->afi >> 4 & 7;

	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(log->frs); i++) {
		char name[16], revision[9], words[ID_WORDS];

		id_ascii(log->frs[i], sizeof(log->frs[i]), revision);
		if (!*revision && active != i + 1)
			continue;
		snprintf(name, sizeof(name), "slot %u", i + 1);
		snprintf(words, sizeof(words), "%s%s%s", revision,
			 active == i + 1 ? ", active" : "",
			 next == i + 1 ? ", active after the next reset" : "");
		id_line(f, name, "Revision", words);
	}
}

static void command_list(FILE *f, const char *what, const __le32 *effects,
			 const char *(*name)(uint8_t))
{
	fprintf(f, "\n  %s\n", what);
	for (uint32_t opc = 0; opc < 256; opc++) {
		char code[16], text[512] = "";
		int n = 0;

		if (!(effects[opc] & NVME_CMD_EFFECTS_CSUPP))
			continue;
		for (const struct id_bits *b = id_effects_bits; b->width; b++) {
			uint32_t v = effects[opc] >> b->lo & ((1u << b->width) - 1);

			if (v)
				n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s",
					      n ? ", " : "", b->words ? b->words[v] : b->label);
		}
		snprintf(code, sizeof(code), "0x%02x", opc);
		id_line(f, code, name((uint8_t)opc), text);
	}
}

static void changed_ns(FILE *f, const struct nvme_ns_list *log)
{
	if (!log->ns[0])
		fprintf(f, "  none since the list was last read\n");
	else if (log->ns[0] == NVME_NSID_ALL)
		fprintf(f, "  more than a list holds\n");
	else
		for (uint32_t i = 0; i < PLX_ARRAY_SIZE(log->ns) && log->ns[i]; i++)
			fprintf(f, "  namespace %u\n", log->ns[i]);
}

static const char *log_name(uint8_t lid)
{
	const char *name = plx_nvme_log_name(lid);

	return name ? name : lid >= 0xc0 ? "the vendor's" : "Unknown";
}

static void supported_logs(FILE *f, const struct nvme_supported_log_pages *log)
{
	for (uint32_t lid = 0; lid < PLX_ARRAY_SIZE(log->lid_support); lid++) {
		char code[16];

		if (!(log->lid_support[lid] & 1))
			continue;
		snprintf(code, sizeof(code), "0x%02x", lid);
		id_line(f, code, log_name((uint8_t)lid),
			log->lid_support[lid] & 2 ? "offset can be an index" : "");
	}
}

/* ---- features ---- */

/* "0x157: the default; changeable, not saveable" */
static void say_feature(const struct id_feature_value *v, char *out, size_t len)
{
	static const char *const names[] = { "", "default", "saved" };
	int n = snprintf(out, len, "0x%x", v->value[ID_CURRENT]);

	for (uint32_t s = ID_DEFAULT; s <= ID_SAVED; s++) {
		if (!(v->known >> s & 1))
			continue;
		if (s == ID_SAVED && v->known >> ID_SUPPORTED & 1 && !(v->value[ID_SUPPORTED] & 1))
			continue;
		if (v->value[s] == v->value[ID_CURRENT])
			n += snprintf(out + n, len - (size_t)n, ", the %s", names[s]);
		else
			n += snprintf(out + n, len - (size_t)n, ", %s 0x%x", names[s], v->value[s]);
	}
	if (v->known >> ID_SUPPORTED & 1)
		snprintf(out + n, len - (size_t)n, "; %schangeable, %ssaveable",
			 v->value[ID_SUPPORTED] & 4 ? "" : "not ",
			 v->value[ID_SUPPORTED] & 1 ? "" : "not ");
}

static void features(FILE *f, const struct id_context *x, const struct id_item *item, bool hex)
{
	const struct id_feature_value *v = item->data;
	uint32_t n = item->len / sizeof(*v);
	struct id_out o = { .f = f, .x = x };
	bool missing = false;

	for (uint32_t i = 0; i < n; i++) {
		char code[16], label[96], words[160];

		if (v[i].status) {
			missing |= id_not_supported(v[i].status);
			continue;
		}
		snprintf(code, sizeof(code), "0x%02x", v[i].feature->fid);
		if (v[i].nsid)
			snprintf(label, sizeof(label), "%s, namespace %u", v[i].feature->name,
				 v[i].nsid);
		else
			snprintf(label, sizeof(label), "%s", v[i].feature->name);
		say_feature(&v[i], words, sizeof(words));
		fputc('\n', f);
		id_line(f, code, label, words);
		out_bits(&o, v[i].feature->bits, v[i].value[ID_CURRENT]);
		if (v[i].feature->say_data)
			v[i].feature->say_data(f, v[i].data);
		if (hex && v[i].data_len)
			id_hex_dump(f, v[i].data, v[i].data_len);
	}
	if (!missing)
		return;
	fputs("\n  Not supported\n", f);
	for (uint32_t i = 0; i < n; i++) {
		char code[16];

		if (!v[i].status || !id_not_supported(v[i].status) ||
		    (i && v[i].feature == v[i - 1].feature))
			continue;
		snprintf(code, sizeof(code), "0x%02x", v[i].feature->fid);
		id_line(f, code, v[i].feature->name, "");
	}
}

/* ---- all ---- */

/* Return: whether there is a page to dump behind it */
static bool print_page(FILE *f, const struct id_context *x, const struct id_dump *dump,
		       const struct id_item *item, bool hex)
{
	const struct nvme_cmd_effects_log *log = item->data;
	struct id_out o = { .f = f, .x = x, .device = dump->name };

	switch (item->what) {
	case ID_CTRL:
		ctrl(f, x, item->data);
		break;
	case ID_NS:
		ns(f, x, item->data);
		break;
	case ID_DESCS:
		descriptors(f, item);
		break;
	case ID_ERROR:
		errors(f, x, item);
		break;
	case ID_FW:
		firmware(f, item->data);
		break;
	case ID_EFFECTS:
	case ID_ZNS_EFFECTS:
		command_list(f, "Admin commands", log->acs, id_admin_name);
		command_list(f, "I/O commands", log->iocs, id_io_name);
		break;
	case ID_CHANGED_NS:
		changed_ns(f, item->data);
		break;
	case ID_SUPPORTED_LOGS:
		supported_logs(f, item->data);
		break;
	case ID_FEATURES:
		features(f, x, item, hex);
		return false; /* each with its own */
	default:
		out_layout(&o, NULL, id_whats[item->what].layout, item, NULL);
	}
	return item->what != ID_REGISTERS;
}

static void print_title(FILE *f, const struct id_dump *dump, const struct id_item *item)
{
	const struct id_what_info *info = &id_whats[item->what];

	fputs(info->title, f);
	if (item->what == ID_CTRL)
		fprintf(f, " %s", dump->name);
	else if (item->what == ID_RAW)
		fprintf(f, " 0x%02x, %s", item->lid, log_name(item->lid));
	else if (item->what == ID_NS)
		fprintf(f, " %u", item->nsid);
	else if (item->nsid)
		fprintf(f, ", %s %u", id_scopes[info->scope].name, item->nsid);
	fputc('\n', f);
}

void id_print_text(FILE *f, const struct id_dump *dump, bool hex)
{
	const struct id_context x = { .cap = dump->cap };
	bool more = false;

	for (uint32_t i = 0; i < dump->nitems; i++) {
		const struct id_item *item = &dump->items[i];
		char status[96];

		if (id_skipped(dump, item))
			continue;
		fputs(more ? "\n" : "", f);
		more = true;
		print_title(f, dump, item);
		if (item->err)
			fprintf(f, "  cannot be read: its length is wrong, or it keeps changing\n");
		else if (item->status)
			fprintf(f,
				id_not_supported(item->status) ? "  not supported\n"
							       : "  cannot be read: %s\n",
				plx_nvme_status_text(item->status, status, sizeof(status)));
		else if (print_page(f, &x, dump, item, hex) && (hex || item->what == ID_RAW))
			id_hex_dump(f, item->data, item->len);
	}
}
