/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/events.c - the Persistent Event log page: its header and its events (NVMe Base
 * Specification 2.0c §5.16.1.14)
 *
 * An event is a header of EHL + 3 bytes, then EL bytes: VSIL of the vendor's and the data that its
 * type says. What is cut off is not shown.
 */
#include "identify/out.h"
#include <string.h>

#define HEADER 512u /* bytes before the first event */

#define H(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_persistent_event_log, member), __VA_ARGS__              \
	}
static const struct id_field head[] = {
	H("log_id", lid, "Log page", .say = say_hex),
	H("total_num_of_events", tnev, "Events"),
	H("total_log_len", tll, "Length", .say = say_bytes),
	H("log_revision", rv, "Revision"),
	H("log_header_len", lhl, "Header"),
	H("timestamp", ts, "Timestamp, ms"),
	H("power_on_hours", poh, "Power on", ID_UINT128, say_hours),
	H("power_cycle_count", pcc, "Power cycles"),
	H("pci_vid", vid, "PCI vendor", .say = say_hex),
	H("pci_ssvid", ssvid, "PCI subsystem vendor", .say = say_hex),
	H("sn", sn, "Serial number", ID_ASCII),
	H("mn", mn, "Model", ID_ASCII),
	H("subnqn", subnqn, "Subsystem name", ID_ASCII),
	H("gen_number", gen_number, "Generation"),
	H("rci", rci, "Reporting context", .say = say_hex),
};

#define E(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_persistent_event_entry, member), __VA_ARGS__            \
	}
static const struct id_field entry[] = {
	E("event_type_rev", etype_rev, "Revision"),
	E("event_header_len", ehl, "Header"),
	E("event_header_additional_info", ehai, "Additional information", .say = say_hex),
	E("ctrl_id", cntlid, "Controller", .say = say_hex),
	E("event_time_stamp", ets, "Timestamp, ms"),
	E("port_id", pelpid, "Port"),
	E("vu_info_len", vsil, "Vendor specific bytes"),
	E("event_len", el, "Bytes"),
};

#define D(type, name, member, label, ...)                                                          \
	{                                                                                          \
		name, label, ID_PLACE(type, member), __VA_ARGS__                                   \
	}
static const struct id_field fw_commit[] = {
	D(nvme_fw_commit_event, "old_fw_rev", old_fw_rev, "Old revision", ID_REVISION),
	D(nvme_fw_commit_event, "new_fw_rev", new_fw_rev, "New revision", ID_REVISION),
	D(nvme_fw_commit_event, "fw_commit_action", fw_commit_action, "Commit action"),
	D(nvme_fw_commit_event, "fw_slot", fw_slot, "Slot"),
	D(nvme_fw_commit_event, "sct_fw", sct_fw, "Status code type"),
	D(nvme_fw_commit_event, "sc_fw", sc_fw, "Status code", .say = say_hex),
	D(nvme_fw_commit_event, "vu_assign_fw_commit_rc", vndr_assign_fw_commit_rc,
	  "The vendor's result", .say = say_hex),
};
static const struct id_field timestamp[] = {
	D(nvme_time_stamp_change_event, "prev_ts", previous_timestamp, "Before, ms"),
	D(nvme_time_stamp_change_event, "ml_secs_since_reset", ml_secs_since_reset,
	  "Since the reset, ms"),
};
static const struct id_field power_on[] = {
	{ "fw_rev", "Firmware revision", 0, 8, ID_REVISION },
};
static const struct id_field hw_error[] = {
	D(nvme_nss_hw_err_event, "nss_hw_err_code", nss_hw_err_event_code, "Error", .say = say_hex),
};
static const struct id_field change_ns[] = {
	D(nvme_change_ns_event, "nsmgt_cdw10", nsmgt_cdw10, "Dword 10 of the command",
	  .say = say_hex),
	D(nvme_change_ns_event, "nsze", nsze, "Size, blocks"),
	D(nvme_change_ns_event, "nscap", nscap, "Capacity, blocks"),
	D(nvme_change_ns_event, "flbas", flbas, "Format", .say = say_hex),
	D(nvme_change_ns_event, "dps", dps, "Protection information", .say = say_hex),
	D(nvme_change_ns_event, "nmic", nmic, "Sharing", .say = say_hex),
	D(nvme_change_ns_event, "ana_grp_id", ana_grp_id, "ANA group"),
	D(nvme_change_ns_event, "nvmset_id", nvmset_id, "NVM set"),
	D(nvme_change_ns_event, "nsid", nsid, "Namespace"),
};
static const struct id_field format_start[] = {
	D(nvme_format_nvm_start_event, "nsid", nsid, "Namespace", .say = say_hex),
	D(nvme_format_nvm_start_event, "fna", fna, "Format attributes", .say = say_hex),
	D(nvme_format_nvm_start_event, "format_nvm_cdw10", format_nvm_cdw10,
	  "Dword 10 of the command", .say = say_hex),
};
static const struct id_field format_done[] = {
	D(nvme_format_nvm_compln_event, "nsid", nsid, "Namespace", .say = say_hex),
	D(nvme_format_nvm_compln_event, "smallest_fpi", smallest_fpi, "Smallest progress"),
	D(nvme_format_nvm_compln_event, "format_nvm_status", format_nvm_status, "Format status",
	  .say = say_hex),
	D(nvme_format_nvm_compln_event, "compln_info", compln_info, "Completion", .say = say_hex),
	D(nvme_format_nvm_compln_event, "status_field", status_field, "Status", .say = say_hex),
};
static const struct id_field sanitize_start[] = {
	D(nvme_sanitize_start_event, "SANICAP", sani_cap, "Capabilities", .say = say_hex),
	D(nvme_sanitize_start_event, "sani_cdw10", sani_cdw10, "Dword 10 of the command",
	  .say = say_hex),
	D(nvme_sanitize_start_event, "sani_cdw11", sani_cdw11, "Dword 11 of the command",
	  .say = say_hex),
};
static const struct id_field sanitize_done[] = {
	D(nvme_sanitize_compln_event, "sani_prog", sani_prog, "Progress"),
	D(nvme_sanitize_compln_event, "sani_status", sani_status, "Status", .say = say_hex),
	D(nvme_sanitize_compln_event, "cmpln_info", cmpln_info, "Completion", .say = say_hex),
};
static const struct id_field set_feature[] = {
	D(nvme_set_feature_event, "layout", layout, "Layout",
	  .bits = ID_BITS({ 0, 3, "Dwords of the command" }, { 3, 1, "Dword 0 of the completion" },
			  { 16, 16, "Bytes of data" })),
	{ "cdw10", "Dword 10 of the command", 4, 4, .say = say_hex },
	{ "cdw11", "Dword 11 of the command", 8, 4, .say = say_hex },
};
static const struct id_field thermal[] = {
	D(nvme_thermal_exc_event, "over_temp", over_temp, "Temperature over the threshold"),
	D(nvme_thermal_exc_event, "threshold", threshold, "Threshold"),
};

#define KIND(name, fields)                                                                         \
	{                                                                                          \
		name, ID_TABLE(fields)                                                             \
	}
/* By type, with nvme-cli's names */
static const struct event_kind {
	const char *name;
	struct id_table fields;
} kinds[] = {
	[NVME_PEL_SMART_HEALTH_EVENT] = { .name = "SMART/Health Log Snapshot Event(0x1)" },
	[NVME_PEL_FW_COMMIT_EVENT] = KIND("Firmware Commit Event(0x2)", fw_commit),
	[NVME_PEL_TIMESTAMP_EVENT] = KIND("Timestamp Change Event(0x3)", timestamp),
	[NVME_PEL_POWER_ON_RESET_EVENT] = KIND("Power-on or Reset Event(0x4)", power_on),
	[NVME_PEL_NSS_HW_ERROR_EVENT] = KIND("NVM Subsystem Hardware Error Event(0x5)", hw_error),
	[NVME_PEL_CHANGE_NS_EVENT] = KIND("Change Namespace Event(0x6)", change_ns),
	[NVME_PEL_FORMAT_START_EVENT] = KIND("Format NVM Start Event(0x7)", format_start),
	[NVME_PEL_FORMAT_COMPLETION_EVENT] = KIND("Format NVM Completion Event(0x8)", format_done),
	[NVME_PEL_SANITIZE_START_EVENT] = KIND("Sanitize Start Event(0x9)", sanitize_start),
	[NVME_PEL_SANITIZE_COMPLETION_EVENT] =
		KIND("Sanitize Completion Event(0xa)", sanitize_done),
	[NVME_PEL_SET_FEATURE_EVENT] = KIND("Set Feature Event(0xb)", set_feature),
	[NVME_PEL_TELEMETRY_CRT] = { .name = "Set Telemetry CRT  Event(0xc)" },
	[NVME_PEL_THERMAL_EXCURSION_EVENT] = KIND("Thermal Excursion Event(0xd)", thermal),
};

/* One for each controller that was reset; nvme-cli shows the last one only */
static const struct id_field reset_fields[] = {
	D(nvme_power_on_reset_info_list, "cntlid", cid, "Controller", .say = say_hex),
	D(nvme_power_on_reset_info_list, "fw_act", fw_act, "Firmware activation"),
	D(nvme_power_on_reset_info_list, "op_in_prog", op_in_prog, "Operation under way"),
	D(nvme_power_on_reset_info_list, "ctrl_power_cycle", ctrl_power_cycle, "Power cycle"),
	D(nvme_power_on_reset_info_list, "power_on_ml_secs", power_on_ml_seconds, "Power on, ms"),
	D(nvme_power_on_reset_info_list, "ctrl_time_stamp", ctrl_time_stamp, "Timestamp, ms"),
};
static const struct id_list resets = { "resets",
				       NULL,
				       reset_fields,
				       6,
				       .stride = sizeof(struct nvme_power_on_reset_info_list),
				       .count_len = 8 };

static void put_event_data(struct id_out *o, uint8_t type, const uint8_t *data, uint32_t len)
{
	if (type == NVME_PEL_SMART_HEALTH_EVENT)
		out_table(o, &id_smart_table, data, len);
	else if (type < PLX_ARRAY_SIZE(kinds))
		out_table(o, &kinds[type].fields, data, len);
	if (type == NVME_PEL_POWER_ON_RESET_EVENT && len > 8)
		out_list(o, &resets, data + 8, len - 8, UINT32_MAX);
}

static void event_name(uint8_t type, char *out, size_t len)
{
	if (type < PLX_ARRAY_SIZE(kinds) && kinds[type].name)
		snprintf(out, len, "%s", kinds[type].name);
	else
		snprintf(out, len, "%s(0x%x)",
			 type == 0xde || type == 0xdf ? "Vendor Specific Event" : "Reserved Event",
			 type);
}

static void put_event(struct id_out *o, uint32_t number,
		      const struct nvme_persistent_event_entry *e, const uint8_t *data,
		      uint32_t len)
{
	static const struct id_table fields = ID_TABLE(entry);
	char name[64];

	event_name(e->etype, name, sizeof(name));
	if (!o->json)
		fprintf(o->f, "\n  Event %u: %s\n", number, name);
	out_open(o, NULL, '{');
	out_number(o, "event_number", number);
	out_text(o, "event_type", name);
	out_table(o, &fields, e, sizeof(*e));
	if (len >= e->vsil)
		put_event_data(o, e->etype, data + e->vsil, len - e->vsil);
	out_close(o, '}');
}

/* Names of the events that the controller keeps: a bit for each type */
static void put_supported(struct id_out *o, const struct nvme_persistent_event_log *log)
{
	for (uint32_t type = 1; type < 8 * sizeof(log->seb); type++) {
		char key[16], name[64], words[ID_WORDS];

		if (!(log->seb[type / 8] >> type % 8 & 1))
			continue;
		event_name((uint8_t)type, name, sizeof(name));
		snprintf(key, sizeof(key), "bitmap_%x", type);
		snprintf(words, sizeof(words), "Support %s", name);
		out_text(o, key, words);
		if (!o->json)
			id_line(o->f, NULL, "Kept", name);
	}
}

static void persistent(struct id_out *o, const struct id_item *item)
{
	static const struct id_table fields = ID_TABLE(head);
	const struct nvme_persistent_event_log *log = item->data;
	const uint8_t *page = item->data;
	uint32_t at = HEADER;

	if (!o->json)
		fputc('\n', o->f);
	out_table(o, &fields, log, item->len);
	put_supported(o, log);
	out_open(o, "list_of_event_entries", '[');
	for (uint32_t i = 0; i < log->tnev; i++) {
		const struct nvme_persistent_event_entry *e = (const void *)(page + at);
		uint32_t header, len;

		if (at > item->len || item->len - at < sizeof(*e))
			break;
		header = e->ehl + 3u;
		if (header < sizeof(*e) || item->len - at < header ||
		    item->len - at - header < e->el)
			break;
		len = e->el;
		put_event(o, i, e, page + at + header, len);
		at += header + len;
	}
	out_close(o, ']');
}
const struct id_layout id_persistent_layout = { .show = persistent };
