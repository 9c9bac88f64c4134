/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/fields_more.c - Identify Namespace (NVM Command Set 1.0c §4.1.5.1), log pages (NVMe
 * Base Specification 2.0c §5.16.1), names of commands and log pages
 */
#include "identify/out.h"

/* Of a namespace identification descriptor: type, length, two reserved bytes (§5.17.2.3) */
#define DESC_HEADER 4u

#define GROUP(title)                                                                               \
	{                                                                                          \
		.label = title, .kind = ID_GROUP                                                   \
	}

/* ---- namespaces ---- */

#define F(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, ID_PLACE(nvme_id_ns, member), __VA_ARGS__                          \
	}

#define ONLY_NSFEAT_4                                                                              \
	.only_off = offsetof(struct nvme_id_ns, nsfeat), .only_mask = NVME_NS_FEAT_IO_OPT,         \
	.only_value = NVME_NS_FEAT_IO_OPT

static const struct id_field ns_fields[] = {
	GROUP("Size"),
	F(nsze, "Size", .say = say_blocks),
	F(ncap, "Capacity", .say = say_blocks),
	F(nuse, "In use", .say = say_blocks),
	F(nsfeat, "Features",
	  .bits = ID_BITS({ 0, 1, "Thin provisioning" }, { 1, 1, "Atomicity of its own" },
			  { 2, 1, "Errors for deallocated blocks" },
			  { 3, 1, "Identifiers are never reused" },
			  { 4, 1, "Optimal sizes are given" })),
	GROUP("Format"),
	F(nlbaf, "LBA formats", .say = say_plus_one),
	F(flbas, "Format in use",
	  .bits = ID_BITS({ 0, 4, "Index, low bits" },
			  { 4, 1, "Metadata",
			    ID_LIST("in a buffer of its own", "behind each block") },
			  { 5, 2, "Index, high bits" })),
	F(mc, "Metadata capabilities",
	  .bits = ID_BITS({ 0, 1, "Behind each block" }, { 1, 1, "In a buffer of its own" })),
	F(dpc, "Protection information capabilities",
	  .bits = ID_BITS({ 0, 1, "Type 1" }, { 1, 1, "Type 2" }, { 2, 1, "Type 3" },
			  { 3, 1, "In the first bytes of metadata" },
			  { 4, 1, "In the last bytes of metadata" })),
	F(dps, "Protection information",
	  .bits = ID_BITS({ 0, 3, "Type",
			    ID_LIST("none", "1", "2", "3", "reserved", "reserved", "reserved",
				    "reserved") },
			  { 3, 1, "Place in metadata", ID_LIST("last bytes", "first bytes") })),
	GROUP("Sharing, reservations, formatting"),
	F(nmic, "Multi-path and sharing",
	  .bits = ID_BITS({ 0, 1, "Can be attached to several controllers" })),
	F(rescap, "Reservations",
	  .bits = ID_BITS({ 0, 1, "Persist through power loss" }, { 1, 1, "Write exclusive" },
			  { 2, 1, "Exclusive access" },
			  { 3, 1, "Write exclusive, registrants only" },
			  { 4, 1, "Exclusive access, registrants only" },
			  { 5, 1, "Write exclusive, all registrants" },
			  { 6, 1, "Exclusive access, all registrants" },
			  { 7, 1, "Ignore existing key as in 1.3" })),
	F(fpi, "Format progress",
	  .bits = ID_BITS({ 0, 7, "Remaining", NULL, say_percent }, { 7, 1, "Reported" })),
	F(dlfeat, "Deallocated blocks",
	  .bits = ID_BITS({ 0, 3, "Read as",
			    ID_LIST("not reported", "00h bytes", "FFh bytes", "reserved",
				    "reserved", "reserved", "reserved", "reserved") },
			  { 3, 1, "Write Zeroes can deallocate" },
			  { 4, 1, "Their guard is the CRC of what is read" })),
	GROUP("Sizes of I/O"),
	F(nawun, "Atomic write unit", .say = say_own_atomic),
	F(nawupf, "Atomic write unit at power fail", .say = say_own_atomic),
	F(nacwu, "Atomic compare and write unit", .say = say_own_atomic),
	F(nabsn, "Atomic boundary", .say = say_boundary_plus_one),
	F(nabo, "Atomic boundary offset", .say = say_blocks),
	F(nabspf, "Atomic boundary at power fail", .say = say_boundary_plus_one),
	F(noiob, "Optimal I/O boundary", .say = say_boundary),
	F(nvmcap, "Capacity of the medium", ID_UINT128, say_bytes_if),
	F(nsattr, "Attributes", .bits = ID_BITS({ 0, 1, "Write protected" })),
	F(nvmsetid, "NVM set", .say = say_none),
	F(npwg, "Preferred write granularity", .say = say_blocks_plus_one, ONLY_NSFEAT_4),
	F(npwa, "Preferred write alignment", .say = say_blocks_plus_one, ONLY_NSFEAT_4),
	F(npdg, "Preferred deallocate granularity", .say = say_blocks_plus_one, ONLY_NSFEAT_4),
	F(npda, "Preferred deallocate alignment", .say = say_blocks_plus_one, ONLY_NSFEAT_4),
	F(nows, "Optimal write size", .say = say_blocks_plus_one, ONLY_NSFEAT_4),
	F(mssrl, "Copy: blocks of a range at most", .say = say_blocks),
	F(mcl, "Copy: blocks at most", .say = say_blocks),
	F(msrc, "Copy: ranges at most", .say = say_plus_one),
	F(nulbaf, "LBA formats with attributes of their own"),
	GROUP("Identity"),
	F(anagrpid, "ANA group", .say = say_none),
	F(endgid, "Endurance group", .say = say_none),
	F(eui64, "EUI-64", ID_HEX),
	F(nguid, "NGUID", ID_HEX),
};
const struct id_table id_ns_table = ID_TABLE(ns_fields);

/* Bits 3:0 and 6:5; the latter only where there are more than 16 formats */
uint32_t id_lbaf_index(const struct nvme_id_ns *ns)
{
	uint32_t low = ns->flbas & NVME_NS_FLBAS_LOWER_MASK;

	return ns->nlbaf > 15 ? low | (ns->flbas & NVME_NS_FLBAS_HIGHER_MASK) >> 1 : low;
}

uint32_t id_lbaf_count(const struct nvme_id_ns *ns)
{
	return ns->nlbaf < PLX_ARRAY_SIZE(ns->lbaf) ? ns->nlbaf + 1u : PLX_ARRAY_SIZE(ns->lbaf);
}

bool id_next_desc(const struct id_item *item, uint32_t *at, struct id_desc *d)
{
	const uint8_t *page = item->data;

	/* a length of 0 ends the list; one that leads out of the page does too */
	if (*at + DESC_HEADER > item->len)
		return false;
	*d = (struct id_desc){
		.loc = *at, .type = page[*at], .len = page[*at + 1], .id = page + *at + DESC_HEADER
	};
	*at += DESC_HEADER + d->len;
	return d->len && *at <= item->len;
}

/* ---- SMART / Health Information ---- */

#undef F
#define F(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_smart_log, member), __VA_ARGS__                         \
	}
#define SENSOR(n)                                                                                  \
	{                                                                                          \
		"temperature_sensor_" #n, "Sensor " #n,                                            \
			offsetof(struct nvme_smart_log, temp_sensor) + 2 * ((n)-1), 2,             \
			.say = say_kelvin, .hide_zero = true                                       \
	}

static const struct id_field smart_fields[] = {
	F("critical_warning", critical_warning, "Critical warnings",
	  .bits = ID_BITS({ 0, 1, "Spare capacity is low" }, { 1, 1, "Temperature" },
			  { 2, 1, "Reliability is degraded" }, { 3, 1, "Media are read-only" },
			  { 4, 1, "Volatile memory backup has failed" },
			  { 5, 1, "Persistent memory region is read-only" })),
	F("temperature", temperature, "Temperature", .say = say_kelvin_if),
	F("avail_spare", avail_spare, "Available spare", .say = say_percent),
	F("spare_thresh", spare_thresh, "Available spare threshold", .say = say_percent),
	F("percent_used", percent_used, "Endurance used", .say = say_percent),
	F("endurance_grp_critical_warning_summary", endu_grp_crit_warn_sumry,
	  "Warnings of endurance groups",
	  .bits = ID_BITS({ 0, 1, "Spare capacity is low" }, { 2, 1, "Reliability is degraded" },
			  { 3, 1, "Read-only" })),
	F("data_units_read", data_units_read, "Data read", ID_UINT128, say_data_units),
	F("data_units_written", data_units_written, "Data written", ID_UINT128, say_data_units),
	F("host_read_commands", host_reads, "Read commands", ID_UINT128),
	F("host_write_commands", host_writes, "Write commands", ID_UINT128),
	F("controller_busy_time", ctrl_busy_time, "Busy time", ID_UINT128, say_minutes),
	F("power_cycles", power_cycles, "Power cycles", ID_UINT128),
	F("power_on_hours", power_on_hours, "Power on", ID_UINT128, say_hours),
	F("unsafe_shutdowns", unsafe_shutdowns, "Unsafe shutdowns", ID_UINT128),
	F("media_errors", media_errors, "Media errors", ID_UINT128),
	F("num_err_log_entries", num_err_log_entries, "Error log entries", ID_UINT128),
	F("warning_temp_time", warning_temp_time, "Time above warning temperature",
	  .say = say_minutes),
	F("critical_comp_time", critical_comp_time, "Time above critical temperature",
	  .say = say_minutes),
	SENSOR(1),
	SENSOR(2),
	SENSOR(3),
	SENSOR(4),
	SENSOR(5),
	SENSOR(6),
	SENSOR(7),
	SENSOR(8),
	F("thm_temp1_trans_count", thm_temp1_trans_count, "Thermal management 1, transitions"),
	F("thm_temp2_trans_count", thm_temp2_trans_count, "Thermal management 2, transitions"),
	F("thm_temp1_total_time", thm_temp1_total_time, "Thermal management 1, time",
	  .say = say_seconds),
	F("thm_temp2_total_time", thm_temp2_total_time, "Thermal management 2, time",
	  .say = say_seconds),
};
const struct id_table id_smart_table = ID_TABLE(smart_fields);
const struct id_layout id_smart_layout = { ID_TABLE(smart_fields) };

/* ---- Error Information ---- */

#undef F
#define F(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_error_log_page, member), __VA_ARGS__                    \
	}

static const struct id_field error_fields[] = {
	F("error_count", error_count, "Error"),
	F("sqid", sqid, "Submission queue"),
	F("cmdid", cmdid, "Command identifier", .say = say_hex),
	F("status_field", status_field, "Status", .lo = 1, .width = 15, .say = say_status),
	F("phase_tag", status_field, NULL, .width = 1),
	F("parm_error_location", parm_error_location, "Parameter error location",
	  .bits = ID_BITS({ 0, 8, "Byte of the command" }, { 8, 3, "Bit" })),
	F("lba", lba, "First block"),
	F("nsid", nsid, "Namespace"),
	F("vs", vs, "Vendor specific log page", .say = say_hex),
	F("trtype", trtype, "Transport type"),
	F("cs", cs, "Command specific", .say = say_hex),
	F("trtype_spec_info", trtype_spec_info, "Transport specific", .say = say_hex),
};
const struct id_table id_error_table = ID_TABLE(error_fields);

/* ---- Commands Supported and Effects ---- */

const struct id_bits id_effects_bits[] = {
	{ 1, 1, "changes data" },
	{ 2, 1, "changes namespace capabilities" },
	{ 3, 1, "changes the inventory of namespaces" },
	{ 4, 1, "changes controller capabilities" },
	{ 16, 3, "alone",
	  ID_LIST("", "alone on its namespace", "alone on the controller", "reserved", "reserved",
		  "reserved", "reserved", "reserved") },
	{ 19, 1, "UUID selection" },
	{ 20, 1, "scope: namespace" },
	{ 21, 1, "scope: controller" },
	{ 22, 1, "scope: NVM set" },
	{ 23, 1, "scope: endurance group" },
	{ 24, 1, "scope: domain" },
	{ 25, 1, "scope: subsystem" },
	{ 0 },
};

/* ---- names ---- */

static const char unknown[] = "Unknown";

static const char *const admin_names[256] = {
	[nvme_admin_delete_sq] = "Delete I/O Submission Queue",
	[nvme_admin_create_sq] = "Create I/O Submission Queue",
	[nvme_admin_get_log_page] = "Get Log Page",
	[nvme_admin_delete_cq] = "Delete I/O Completion Queue",
	[nvme_admin_create_cq] = "Create I/O Completion Queue",
	[nvme_admin_identify] = "Identify",
	[nvme_admin_abort_cmd] = "Abort",
	[nvme_admin_set_features] = "Set Features",
	[nvme_admin_get_features] = "Get Features",
	[nvme_admin_async_event] = "Asynchronous Event Request",
	[nvme_admin_ns_mgmt] = "Namespace Management",
	[nvme_admin_fw_commit] = "Firmware Commit",
	[nvme_admin_fw_download] = "Firmware Image Download",
	[nvme_admin_dev_self_test] = "Device Self-test",
	[nvme_admin_ns_attach] = "Namespace Attachment",
	[nvme_admin_keep_alive] = "Keep Alive",
	[nvme_admin_directive_send] = "Directive Send",
	[nvme_admin_directive_recv] = "Directive Receive",
	[nvme_admin_virtual_mgmt] = "Virtualization Management",
	[nvme_admin_nvme_mi_send] = "NVMe-MI Send",
	[nvme_admin_nvme_mi_recv] = "NVMe-MI Receive",
	[nvme_admin_capacity_mgmt] = "Capacity Management",
	[nvme_admin_lockdown] = "Lockdown",
	[nvme_admin_dbbuf] = "Doorbell Buffer Config",
	[nvme_admin_fabrics] = "Fabrics Commands",
	[nvme_admin_format_nvm] = "Format NVM",
	[nvme_admin_security_send] = "Security Send",
	[nvme_admin_security_recv] = "Security Receive",
	[nvme_admin_sanitize_nvm] = "Sanitize",
	[nvme_admin_get_lba_status] = "Get LBA Status",
};

static const char *const io_names[256] = {
	[nvme_cmd_flush] = "Flush",
	[nvme_cmd_write] = "Write",
	[nvme_cmd_read] = "Read",
	[nvme_cmd_write_uncor] = "Write Uncorrectable",
	[nvme_cmd_compare] = "Compare",
	[nvme_cmd_write_zeroes] = "Write Zeroes",
	[nvme_cmd_dsm] = "Dataset Management",
	[nvme_cmd_verify] = "Verify",
	[nvme_cmd_resv_register] = "Reservation Register",
	[nvme_cmd_resv_report] = "Reservation Report",
	[nvme_cmd_resv_acquire] = "Reservation Acquire",
	[nvme_cmd_io_mgmt_recv] = "I/O Management Receive",
	[nvme_cmd_resv_release] = "Reservation Release",
	[nvme_cmd_copy] = "Copy",
	[nvme_cmd_io_mgmt_send] = "I/O Management Send",
	[nvme_zns_cmd_mgmt_send] = "Zone Management Send",
	[nvme_zns_cmd_mgmt_recv] = "Zone Management Receive",
	[nvme_zns_cmd_append] = "Zone Append",
};

const char *id_admin_name(uint8_t opcode)
{
	return admin_names[opcode] ? admin_names[opcode] : unknown;
}

const char *id_io_name(uint8_t opcode)
{
	return io_names[opcode] ? io_names[opcode] : unknown;
}
