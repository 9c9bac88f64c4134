/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/pages_log.c - log pages whose shape is a table or a list (NVMe Base Specification 2.0c
 * §5.16.1)
 */
#include "identify/out.h"
#include <string.h>

/* ---- Device Self-test: what a result has besides itself, its VDI says ---- */

#define ST(member) ID_PLACE(nvme_st_result, member)
#define VALID(bit)                                                                                 \
	.only_off = offsetof(struct nvme_st_result, vdi), .only_mask = 1 << (bit),                 \
	.only_value = 1 << (bit)
#define NO_RESULT 0xf

static const char *const self_tests[] = { "none", "short", "extended", NULL };
static const char *const self_test_results[] = {
	"passed",
	"aborted by a self-test command",
	"aborted by a controller reset",
	"aborted for a namespace that went away",
	"aborted by a format",
	"a fatal error",
	"failed in an unknown segment",
	"failed",
	"aborted",
	"aborted by a sanitize",
	NULL,
};

static void say_self_test(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (%s)", v,
		 v < 3	    ? self_tests[v]
		 : v == 0xe ? "the vendor's"
			    : "reserved");
}

static void say_self_test_result(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (%s)", v, v < 10 ? self_test_results[v] : "reserved");
}

static const struct id_field self_test_head[] = {
	{ "Current Device Self-Test Operation", "Under way", 0, 1, .width = 4,
	  .say = say_self_test },
	{ "Current Device Self-Test Completion", "Done", 1, 1, .width = 7, .say = say_percent },
};
static const struct id_field self_test_fields[] = {
	{ "Self test result", "Result", ST(dsts), .width = 4, .say = say_self_test_result },
	{ "Self test code", "Test", ST(dsts), .lo = 4, .width = 4, .say = say_self_test },
	{ "Segment number", "Segment that failed", ST(seg) },
	{ "Valid Diagnostic Information", "Valid information", ST(vdi), .say = say_hex },
	{ "Power on hours", "Power on", ST(poh), .say = say_hours },
	{ "Namespace Identifier", "Namespace", ST(nsid), VALID(0), .say = say_hex },
	{ "Failing LBA", "Block that failed", ST(flba), VALID(1) },
	{ "Status Code Type", "Status code type", ST(sct), VALID(2) },
	{ "Status Code", "Status code", ST(sc), VALID(3), .say = say_hex },
	{ "Vendor Specific", "Vendor specific", ST(vs), .say = say_hex },
};

static void self_tests_done(struct id_out *o, const struct id_item *item)
{
	const struct nvme_self_test_log *log = item->data;
	struct id_table fields = ID_TABLE(self_test_fields);

	out_open(o, "List of Valid Reports", '[');
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(log->result); i++) {
		bool none = (log->result[i].dsts & 0xf) == NO_RESULT;

		out_open(o, NULL, '{');
		fields.n = none ? 1 : PLX_ARRAY_SIZE(self_test_fields);
		if (!o->json && !none)
			fputc('\n', o->f);
		if (o->json || !none)
			out_table(o, &fields, &log->result[i], sizeof(log->result[i]));
		out_close(o, '}');
	}
	out_close(o, ']');
}
const struct id_layout id_self_test_layout = { ID_TABLE(self_test_head), .show = self_tests_done };

/* ---- Telemetry: the header ---- */

#define T(member) ID_PLACE(nvme_telemetry_log, member)

/* Blocks of 512 bytes: the last one of an area */
static void say_last_block(const struct id_context *x, uint64_t v, char *out)
{
	if (v)
		snprintf(out, ID_WORDS, "%lu (ends at byte %lu)", v, (v + 1) * 512);
	else
		snprintf(out, ID_WORDS, "0 (empty)");
}

static const struct id_field telemetry[] = {
	{ "lpi", "Log page", T(lpi), .say = say_hex },
	{ "ieee", "IEEE OUI", T(ieee), .say = say_hex },
	{ "dalb1", "Data area 1, last block", T(dalb1), .say = say_last_block },
	{ "dalb2", "Data area 2, last block", T(dalb2), .say = say_last_block },
	{ "dalb3", "Data area 3, last block", T(dalb3), .say = say_last_block },
	{ "dalb4", "Data area 4, last block", T(dalb4), .say = say_last_block },
	{ "hostdgn", "Host-initiated: generation", T(hostdgn) },
	{ "ctrlavail", "Controller-initiated: data there", T(ctrlavail) },
	{ "ctrldgn", "Controller-initiated: generation", T(ctrldgn) },
	{ "rsnident", "Reason", T(rsnident), ID_HEX },
};
const struct id_layout id_telemetry_layout = { ID_TABLE(telemetry) };

/* ---- Endurance Group Information, Predictable Latency ---- */

#define F(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, ID_PLACE(nvme_endurance_group_log, member), __VA_ARGS__            \
	}

/* In thousands of millions of bytes */
static void say_billions(const struct id_context *x, uint64_t v, char *out)
{
	if (v < UINT64_MAX / 1000000000)
		say_bytes(x, v * 1000000000, out);
	else
		snprintf(out, ID_WORDS, "%lu", v);
}

static const struct id_field endurance[] = {
	F(critical_warning, "Critical warnings",
	  .bits = ID_BITS({ 0, 1, "Spare capacity is low" }, { 2, 1, "Reliability is degraded" },
			  { 3, 1, "Read-only" })),
	F(avl_spare, "Available spare", .say = say_percent),
	F(avl_spare_threshold, "Available spare threshold", .say = say_percent),
	F(percent_used, "Endurance used", .say = say_percent),
	F(endurance_estimate, "Endurance estimate", ID_UINT128, say_billions),
	F(data_units_read, "Data read", ID_UINT128, say_billions),
	F(data_units_written, "Data written", ID_UINT128, say_billions),
	F(media_units_written, "Data written to the media", ID_UINT128, say_billions),
	F(host_read_cmds, "Read commands", ID_UINT128),
	F(host_write_cmds, "Write commands", ID_UINT128),
	F(media_data_integrity_err, "Media errors", ID_UINT128),
	F(num_err_info_log_entries, "Error log entries", ID_UINT128),
};
const struct id_layout id_endurance_layout = { ID_TABLE(endurance) };
#undef F

#define L(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_nvmset_predictable_lat_log, member), __VA_ARGS__        \
	}
static const struct id_field latency[] = {
	L("status", status, "Window",
	  .bits = ID_BITS({ 0, 3, "Window",
			    ID_LIST("not used", "deterministic", "non-deterministic", "reserved",
				    "reserved", "reserved", "reserved", "reserved") })),
	L("event_type", event_type, "Events",
	  .bits = ID_BITS({ 0, 1, "Deterministic reads warning" },
			  { 1, 1, "Deterministic writes warning" },
			  { 2, 1, "Deterministic time warning" },
			  { 14, 1, "Left for exceeding the typical values" },
			  { 15, 1, "Left for a deterministic excursion" })),
	L("dtwin_reads_typical", dtwin_rt, "Deterministic: 4 KiB reads, typical"),
	L("dtwin_writes_typical", dtwin_wt, "Deterministic: writes, typical"),
	L("dtwin_time_maximum", dtwin_tmax, "Deterministic: time at most", .say = say_ms),
	L("ndwin_time_minimum_high", ndwin_tmin_hi, "Non-deterministic: time, high", .say = say_ms),
	L("ndwin_time_minimum_low", ndwin_tmin_lo, "Non-deterministic: time, low", .say = say_ms),
	L("dtwin_reads_estimate", dtwin_re, "Deterministic: reads left"),
	L("dtwin_writes_estimate", dtwin_we, "Deterministic: writes left"),
	L("dtwin_time_estimate", dtwin_te, "Deterministic: time left", .say = say_ms),
};

/* nvme-cli has the identifier of the set in the page */
static void latency_set(struct id_out *o, const struct id_item *item)
{
	static const struct id_table fields = ID_TABLE(latency);

	out_number(o, "nvmset_id", item->nsid);
	if (!o->json)
		fputc('\n', o->f);
	out_table(o, &fields, item->data, item->len);
}
const struct id_layout id_latency_layout = { .show = latency_set };

static const struct id_field aggregate_head[] = { { "num_entries_avail", "Entries", 0, 8 } };
static const struct id_field aggregate_fields[] = { { "entry", "Identifier", 0, 2 } };
static const struct id_list aggregate_lists[] = {
	{ "list_of_entries", "", aggregate_fields, 1, .stride = 2, .off = 8, .count_len = 8 },
	{ 0 },
};
const struct id_layout id_aggregate_layout = { ID_TABLE(aggregate_head), aggregate_lists };

/* ---- effects of features and of NVMe-MI commands: a dword each, 0 for none ---- */

static const struct id_bits feature_bits[] = {
	{ 1, 1, "changes data" },
	{ 2, 1, "changes namespace capabilities" },
	{ 3, 1, "changes the inventory of namespaces" },
	{ 4, 1, "changes controller capabilities" },
	{ 19, 1, "UUID selection" },
	{ 20, 1, "scope: namespace" },
	{ 21, 1, "scope: controller" },
	{ 22, 1, "scope: NVM set" },
	{ 23, 1, "scope: endurance group" },
	{ 24, 1, "scope: domain" },
	{ 25, 1, "scope: subsystem" },
	{ 0 },
};

static void effects(struct id_out *o, const struct id_item *item, const char *list,
		    const char *prefix, const char *(*name)(uint8_t))
{
	const uint8_t *page = item->data;

	if (!o->json)
		fputc('\n', o->f);
	out_open(o, list, '[');
	for (uint32_t i = 0; i < 256 && 4 * i + 4 <= item->len; i++) {
		uint32_t v = (uint32_t)id_uint(page + 4 * i, 4);
		char key[32], text[512] = "";
		int n = 0;

		if (!(v & 1))
			continue;
		snprintf(key, sizeof(key), "%s%u", prefix, i);
		out_open(o, NULL, '{');
		out_number(o, key, v);
		out_close(o, '}');
		for (const struct id_bits *b = feature_bits; b->width; b++)
			if (v >> b->lo & 1)
				n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s",
					      n ? ", " : "", b->label);
		snprintf(key, sizeof(key), "0x%02x", i);
		if (!o->json)
			id_line(o->f, key, name((uint8_t)i), text);
	}
	out_close(o, ']');
}

static const char *no_name(uint8_t opcode)
{
	return "Command";
}

static void feature_effects(struct id_out *o, const struct id_item *item)
{
	effects(o, item, "fid_support", "fid_", id_feature_name);
}
const struct id_layout id_feature_effects_layout = { .show = feature_effects };

static void mi_effects(struct id_out *o, const struct id_item *item)
{
	effects(o, item, "mi_command_support", "mi_cmd_", no_name);
}
const struct id_layout id_mi_effects_layout = { .show = mi_effects };

/* ---- Boot Partition: the header ---- */

static const struct id_field boot[] = {
	{ "lid", "Log page", 0, 1, .say = say_hex },
	{ "bpinfo", "Boot partitions", 4, 4,
	  .bits = ID_BITS({ 0, 15, "Size, 128 KiB each" }, { 31, 1, "Active partition" }) },
};
const struct id_layout id_boot_layout = { ID_TABLE(boot) };

/* ---- Reservation Notification ---- */

static const char *const notifications[] = { "none", "registration preempted",
					     "reservation released", "reservation preempted",
					     NULL };

static void say_notification(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (%s)", v, v < 4 ? notifications[v] : "reserved");
}

static const struct id_field reservation[] = {
	{ "count", "Notifications so far", ID_PLACE(nvme_resv_notification_log, lpc) },
	{ "rn_log_type", "Type", ID_PLACE(nvme_resv_notification_log, rnlpt),
	  .say = say_notification },
	{ "num_logs", "More to be read", ID_PLACE(nvme_resv_notification_log, nalp) },
	{ "nsid", "Namespace", ID_PLACE(nvme_resv_notification_log, nsid) },
};
const struct id_layout id_reservation_layout = { ID_TABLE(reservation) };

/* ---- Sanitize Status ---- */

#define S(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_sanitize_log_page, member), __VA_ARGS__                 \
	}
#define SSTAT offsetof(struct nvme_sanitize_log_page, sstat), 2

static const char *const sanitize_states[] = {
	"(0) NVM Subsystem has never been sanitized.",
	"(1) Most Recent Sanitize Command Completed Successfully.",
	"(2) Sanitize in Progress.",
	"(3) Most Recent Sanitize Command Failed.",
	"(4) Most Recent Sanitize Command (No-Deallocate After Sanitize) Completed Successfully.",
	"(5) Unknown",
	"(6) Unknown",
	"(7) Unknown",
	NULL,
};

static void say_progress(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (%.1f %%)", v, (double)v / 655.36);
}

/* All ones: not reported */
static void say_estimate(const struct id_context *x, uint64_t v, char *out)
{
	if (v == UINT32_MAX)
		snprintf(out, ID_WORDS, "not reported");
	else
		say_seconds(x, v, out);
}

static const struct id_field sanitize_progress[] = {
	S("sprog", sprog, "Progress", .say = say_progress),
};
static const struct id_field sanitize_status[] = {
	{ "global_erased", "Nothing written since", SSTAT, .lo = 8, .width = 1 },
	{ "no_cmplted_passes", "Overwrite passes completed", SSTAT, .lo = 3, .width = 5 },
	{ "status", "Status", SSTAT, .width = 3, .names = sanitize_states },
};
static const struct id_field sanitize_rest[] = {
	S("cdw10_info", scdw10, "Dword 10 of the command", .say = say_hex),
	S("time_over_write", eto, "Time for overwrite", .say = say_estimate),
	S("time_block_erase", etbe, "Time for block erase", .say = say_estimate),
	S("time_crypto_erase", etce, "Time for crypto erase", .say = say_estimate),
	S("time_over_write_no_dealloc", etond, "Time for overwrite, not deallocating",
	  .say = say_estimate),
	S("time_block_erase_no_dealloc", etbend, "Time for block erase, not deallocating",
	  .say = say_estimate),
	S("time_crypto_erase_no_dealloc", etcend, "Time for crypto erase, not deallocating",
	  .say = say_estimate),
};

static void sanitize(struct id_out *o, const struct id_item *item)
{
	static const struct id_table progress = ID_TABLE(sanitize_progress),
				     status = ID_TABLE(sanitize_status),
				     rest = ID_TABLE(sanitize_rest);

	if (!o->json)
		fputc('\n', o->f);
	out_open(o, o->device, '{');
	out_table(o, &progress, item->data, item->len);
	out_open(o, "sstat", '{');
	out_table(o, &status, item->data, item->len);
	out_close(o, '}');
	out_table(o, &rest, item->data, item->len);
	out_close(o, '}');
}
const struct id_layout id_sanitize_layout = { .show = sanitize };
