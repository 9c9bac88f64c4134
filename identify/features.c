/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/features.c - the features (NVMe Base Specification 2.0c §5.27.1) and what their values
 * mean
 *
 * Vendor specific features have no description: they are read when asked for by number.
 */
#include "identify/identify.h"
#include "core/text.h"
#include <string.h>
#include <time.h>

static void say_interrupt_threshold(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (means %lu completion%s)", v, v + 1, v ? "s" : "");
}

static void say_queues(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (means %lu queue%s)", v, v + 1, v ? "s" : "");
}

/* ---- data structures ---- */

static void data_number(FILE *f, const char *label, id_say say, uint64_t v)
{
	static const struct id_context none;
	char words[ID_WORDS];

	if (say)
		say(&none, v, words);
	else
		snprintf(words, sizeof(words), "%lu", v);
	id_line(f, "", label, words);
}

static void say_host_memory(FILE *f, const void *data)
{
	const struct nvme_host_mem_buf_attrs *a = data;

	data_number(f, "Size, in memory pages", NULL, a->hsize);
	data_number(f, "Descriptor list", say_hex, (uint64_t)a->hmdlau << 32 | a->hmdlal);
	data_number(f, "Descriptors", NULL, a->hmdlec);
}

/* §5.27.1.14: one entry for each power state that is left by itself */
static void say_apst(FILE *f, const void *data)
{
	const struct nvme_feat_auto_pst *a = data;

	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(a->apst_entry); i++) {
		uint64_t e = a->apst_entry[i];
		char label[48], words[ID_WORDS], t[PLX_TEXT_MAX];

		if (!e)
			continue;
		snprintf(label, sizeof(label), "From power state %u", i);
		snprintf(words, sizeof(words), "to %lu after %s idle", e >> 3 & 0x1f,
			 plx_format_ns((e >> 8 & 0xffffff) * PLX_NS_PER_MS, t, sizeof(t)));
		id_line(f, "", label, words);
	}
}

static void say_timestamp(FILE *f, const void *data)
{
	const struct nvme_timestamp *t = data;
	uint64_t ms = id_uint(t->timestamp, sizeof(t->timestamp));
	time_t s = (time_t)(ms / 1000);
	char date[64], words[ID_WORDS];
	struct tm tm;

	strftime(date, sizeof(date), "%F %T", gmtime_r(&s, &tm));
	snprintf(words, sizeof(words), "%lu ms (%s.%03lu UTC)", ms, date, ms % 1000);
	id_line(f, "", "Time", words);
	id_line(f, "", "Counted from",
		(t->attr >> 1 & 7) == 1 ? "what a host has set"
					: "the last reset of the controller");
	id_line(f, "", "Counting", t->attr & 1 ? "was interrupted" : "was not interrupted");
}

static void say_behavior(FILE *f, const void *data)
{
	const uint8_t *b = data;

	id_line(f, "", "Advanced command retry", b[0] ? "enabled" : "disabled");
	id_line(f, "", "Extended telemetry data area 4", b[1] ? "enabled" : "disabled");
	id_line(f, "", "LBA format extension", b[2] ? "enabled" : "disabled");
}

static void say_host_id(FILE *f, const void *data)
{
	char hex[33];

	id_line(f, "", "Identifier", id_hex(data, 16, hex));
}

static void say_ranges(FILE *f, const void *data)
{
	const struct nvme_lba_range_type *r = data;
	char words[ID_WORDS];

	/* their number is in the value, which does not come here: one without blocks ends them */
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(r->entry); i++) {
		const struct nvme_lba_range_type_entry *e = &r->entry[i];

		if (!e->type && !e->nlb)
			break;
		snprintf(words, sizeof(words), "type 0x%02x, blocks %lu to %lu", e->type,
			 (uint64_t)e->slba, (uint64_t)(e->slba + e->nlb));
		id_line(f, "", "Range", words);
	}
}

/* ---- the table ---- */

#define TEMPERATURE(which, cdw)                                                                    \
	{                                                                                          \
		.fid = NVME_FEAT_FID_TEMP_THRESH, .cdw11 = cdw,                                    \
		.name = "Temperature Threshold, " which,                                           \
		.bits = ID_BITS({ 0, 16, "Threshold", NULL, say_kelvin, "tmpth" })                 \
	}

const struct id_feature id_features[] = {
	{ .fid = NVME_FEAT_FID_ARBITRATION,
	  .name = "Arbitration",
	  .bits = ID_BITS({ 0, 3, "Arbitration burst", NULL, say_burst, "ab" },
			  { 8, 8, "Low priority weight", NULL, say_plus_one, "lpw" },
			  { 16, 8, "Medium priority weight", NULL, say_plus_one, "mpw" },
			  { 24, 8, "High priority weight", NULL, say_plus_one, "hpw" }) },
	{ .fid = NVME_FEAT_FID_POWER_MGMT,
	  .name = "Power Management",
	  .bits = ID_BITS({ 0, 5, "Power state", .json = "ps" },
			  { 5, 3, "Workload hint",
			    ID_LIST("none", "extended idle with bursts of random writes",
				    "heavy sequential writes", "reserved", "reserved", "reserved",
				    "reserved", "reserved"),
			    NULL, "wh" }) },
	{ .fid = NVME_FEAT_FID_LBA_RANGE,
	  .scope = ID_OF_NS,
	  .data = 4096,
	  .name = "LBA Range Type",
	  .bits = ID_BITS({ 0, 6, "Ranges", NULL, say_plus_one, "num" }),
	  .say_data = say_ranges },
	TEMPERATURE("over", 0),
	TEMPERATURE("under", 1 << NVME_FEAT_TT_THSEL_SHIFT),
	{ .fid = NVME_FEAT_FID_ERR_RECOVERY,
	  .scope = ID_OF_NS,
	  .name = "Error Recovery",
	  .bits = ID_BITS({ 0, 16, "Time limited error recovery", NULL, say_100ms, "tler" },
			  { 16, 1, "Errors for deallocated blocks", .json = "dulbe" }) },
	{ .fid = NVME_FEAT_FID_VOLATILE_WC,
	  .name = "Volatile Write Cache",
	  .bits = ID_BITS({ 0, 1, "Enabled", .json = "wce" }) },
	{ .fid = NVME_FEAT_FID_NUM_QUEUES,
	  .name = "Number of Queues",
	  .bits = ID_BITS({ 0, 16, "I/O submission queues", NULL, say_queues, "nsqa" },
			  { 16, 16, "I/O completion queues", NULL, say_queues, "ncqa" }) },
	{ .fid = NVME_FEAT_FID_IRQ_COALESCE,
	  .name = "Interrupt Coalescing",
	  .bits = ID_BITS({ 0, 8, "Threshold", NULL, say_interrupt_threshold, "thr" },
			  { 8, 8, "Time", NULL, say_100us, "time" }) },
	{ .fid = NVME_FEAT_FID_IRQ_CONFIG,
	  .name = "Interrupt Vector Configuration",
	  .bits = ID_BITS({ 0, 16, "Vector", .json = "iv" },
			  { 16, 1, "Coalescing disabled", .json = "cd" }) },
	{ .fid = NVME_FEAT_FID_WRITE_ATOMIC,
	  .name = "Write Atomicity Normal",
	  .bits = ID_BITS({ 0, 1, "Only the power fail atomicity holds", .json = "dn" }) },
	{ .fid = NVME_FEAT_FID_ASYNC_EVENT,
	  .name = "Asynchronous Event Configuration",
	  .bits = ID_BITS({ 0, 1, "Spare capacity is low", .json = "spare" },
			  { 1, 1, "Temperature", .json = "temperature" },
			  { 2, 1, "Reliability is degraded", .json = "degraded" },
			  { 3, 1, "Media are read-only", .json = "read_only" },
			  { 4, 1, "Volatile memory backup has failed", .json = "backup" },
			  { 5, 1, "Persistent memory region is read-only", .json = "pmr" },
			  { 8, 1, "Namespace attribute changed", .json = "nan" },
			  { 9, 1, "Firmware activation", .json = "fan" },
			  { 10, 1, "Telemetry log changed", .json = "tln" },
			  { 11, 1, "Asymmetric namespace access changed", .json = "anacn" },
			  { 12, 1, "Predictable latency log changed", .json = "plealcn" },
			  { 13, 1, "LBA status information", .json = "lsian" },
			  { 14, 1, "Endurance group event log changed", .json = "egealcn" },
			  { 15, 1, "Normal subsystem shutdown", .json = "nnss" },
			  { 27, 1, "Zone descriptor changed", .json = "zdcn" },
			  { 31, 1, "Discovery log changed", .json = "dlpcn" }) },
	{ .fid = NVME_FEAT_FID_AUTO_PST,
	  .data = 256,
	  .name = "Autonomous Power State Transition",
	  .bits = ID_BITS({ 0, 1, "Enabled", .json = "apste" }),
	  .say_data = say_apst },
	{ .fid = NVME_FEAT_FID_HOST_MEM_BUF,
	  .data = 4096,
	  .name = "Host Memory Buffer",
	  .bits = ID_BITS({ 0, 1, "Enabled", .json = "ehm" },
			  { 1, 1, "Memory is returned", .json = "mr" }),
	  .say_data = say_host_memory },
	{ .fid = NVME_FEAT_FID_TIMESTAMP,
	  .data = 8,
	  .name = "Timestamp",
	  .say_data = say_timestamp },
	{ .fid = NVME_FEAT_FID_KATO,
	  .name = "Keep Alive Timer",
	  .bits = ID_BITS({ 0, 32, "Timeout", NULL, say_ms, "kato" }) },
	{ .fid = NVME_FEAT_FID_HCTM,
	  .name = "Host Controlled Thermal Management",
	  .bits = ID_BITS({ 0, 16, "Temperature 2, heavy throttling", NULL, say_kelvin, "tmt2" },
			  { 16, 16, "Temperature 1, light throttling", NULL, say_kelvin,
			    "tmt1" }) },
	{ .fid = NVME_FEAT_FID_NOPSC,
	  .name = "Non-Operational Power State Config",
	  .bits = ID_BITS({ 0, 1, "Permissive mode", .json = "noppme" }) },
	{ .fid = NVME_FEAT_FID_RRL,
	  .scope = ID_OF_SET,
	  .name = "Read Recovery Level Config",
	  .bits = ID_BITS({ 0, 4, "Read recovery level", .json = "rrl" }) },
	{ .fid = NVME_FEAT_FID_PLM_CONFIG,
	  .scope = ID_OF_SET,
	  .data = 512,
	  .name = "Predictable Latency Mode Config",
	  .bits = ID_BITS({ 0, 1, "Enabled", .json = "plme" }) },
	{ .fid = NVME_FEAT_FID_PLM_WINDOW,
	  .scope = ID_OF_SET,
	  .name = "Predictable Latency Mode Window",
	  .bits = ID_BITS({ 0, 3, "Window",
			    ID_LIST("reserved", "deterministic", "non-deterministic", "reserved",
				    "reserved", "reserved", "reserved", "reserved"),
			    NULL, "ws" }) },
	{ .fid = NVME_FEAT_FID_LBA_STS_INTERVAL,
	  .name = "LBA Status Information Report Interval",
	  .bits = ID_BITS({ 0, 16, "Report interval", NULL, say_100ms, "lsiri" },
			  { 16, 16, "Poll interval", NULL, say_100ms, "lsipi" }) },
	{ .fid = NVME_FEAT_FID_HOST_BEHAVIOR,
	  .data = sizeof(struct nvme_feat_host_behavior),
	  .name = "Host Behavior Support",
	  .say_data = say_behavior },
	{ .fid = NVME_FEAT_FID_SANITIZE,
	  .name = "Sanitize Config",
	  .bits = ID_BITS({ 0, 1, "No-deallocate requests are refused",
			    ID_LIST("yes", "no, only warned about"), NULL, "nodrm" }) },
	{ .fid = NVME_FEAT_FID_ENDURANCE_EVT_CFG,
	  .scope = ID_OF_GROUP,
	  .name = "Endurance Group Event Configuration",
	  .bits = ID_BITS({ 16, 8, "Critical warnings that are events", NULL, say_hex, "egcw" }) },
	{ .fid = NVME_FEAT_FID_IOCS_PROFILE,
	  .name = "I/O Command Set Profile",
	  .bits = ID_BITS({ 0, 9, "Combination of command sets", .json = "iocsci" }) },
	{ .fid = NVME_FEAT_FID_SPINUP_CONTROL,
	  .name = "Spinup Control",
	  .bits = ID_BITS({ 0, 1, "Spinup is held back", .json = "spinup" }) },
	{ .fid = NVME_FEAT_FID_FDP,
	  .scope = ID_OF_GROUP,
	  .name = "Flexible Data Placement",
	  .bits = ID_BITS({ 0, 1, "Enabled", .json = "fdpe" },
			  { 8, 8, "Configuration", .json = "fdpcidx" }) },
	{ .fid = NVME_FEAT_FID_FDP_EVENTS,
	  .scope = ID_OF_NS,
	  .data = 512,
	  .cdw11 = 0xffu << 16, /* as many event types as there are, of placement handle 0 */
	  .name = "FDP Events of placement handle 0",
	  .bits = ID_BITS({ 0, 8, "Event types", .json = "noet" }) },
	{ .fid = NVME_FEAT_FID_ENH_CTRL_METADATA,
	  .data = 4096,
	  .name = "Enhanced Controller Metadata" },
	{ .fid = NVME_FEAT_FID_CTRL_METADATA, .data = 4096, .name = "Controller Metadata" },
	{ .fid = NVME_FEAT_FID_NS_METADATA,
	  .scope = ID_OF_NS,
	  .data = 4096,
	  .name = "Namespace Metadata" },
	{ .fid = NVME_FEAT_FID_SW_PROGRESS,
	  .name = "Software Progress Marker",
	  .bits = ID_BITS({ 0, 8, "Loads of pre-boot software", .json = "pbslc" }) },
	{ .fid = NVME_FEAT_FID_HOST_ID,
	  .cdw11 = NVME_FEAT_HOSTID_EXHID_MASK,
	  .data = 16,
	  .name = "Host Identifier",
	  .say_data = say_host_id },
	{ .fid = NVME_FEAT_FID_RESV_MASK,
	  .scope = ID_OF_NS,
	  .name = "Reservation Notification Mask",
	  .bits = ID_BITS({ 1, 1, "Registration preempted is masked", .json = "regpre" },
			  { 2, 1, "Reservation released is masked", .json = "resrel" },
			  { 3, 1, "Reservation preempted is masked", .json = "respre" }) },
	{ .fid = NVME_FEAT_FID_RESV_PERSIST,
	  .scope = ID_OF_NS,
	  .name = "Reservation Persistence",
	  .bits = ID_BITS({ 0, 1, "Persists through power loss", .json = "ptpl" }) },
	{ .fid = NVME_FEAT_FID_WRITE_PROTECT,
	  .scope = ID_OF_NS,
	  .name = "Namespace Write Protection Config",
	  .bits = ID_BITS({ 0, 3, "State",
			    ID_LIST("none", "write protected", "until power cycle", "permanent",
				    "reserved", "reserved", "reserved", "reserved"),
			    NULL, "wps" }) },
};
const uint32_t id_feature_count = PLX_ARRAY_SIZE(id_features);

const char *id_feature_name(uint8_t fid)
{
	for (uint32_t i = 0; i < id_feature_count; i++)
		if (id_features[i].fid == fid)
			return id_features[i].name;
	return fid >= 0xc0 ? "The vendor's" : "Unknown";
}
