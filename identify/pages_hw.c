/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/pages_hw.c - registers (NVMe Base Specification 2.0c §3.1.3) and PCI configuration space
 * (PCI Express Base Specification 5.0 §7.5)
 */
#include "identify/out.h"
#include <string.h>

#define R(name, at, len, label, ...)                                                               \
	{                                                                                          \
		name, label, NVME_REG_##at, len, __VA_ARGS__                                       \
	}

static void say_queue_sizes(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "0x%lx (%lu completions, %lu commands)", v, (v >> 16 & 0xfff) + 1,
		 (v & 0xfff) + 1);
}

/* CMBSZ: bits 31:12 in units of bits 11:8, 4 KiB * 16^n */
static void say_cmb_size(const struct id_context *x, uint64_t v, char *out)
{
	uint64_t unit = v >> 8 & 0xf;

	if (unit > 6)
		snprintf(out, ID_WORDS, "0x%lx (reserved unit)", v);
	else
		say_bytes(x, (v >> 12) << (12 + 4 * unit), out);
}

static const char *const shutdowns[] = { "none", "under way", "complete", "reserved", NULL };
static const char *const pmr_states[] = { "ready",	"restore error", "read-only",
					  "unreliable", "reserved",	 "reserved",
					  "reserved",	"reserved",	 NULL };

static const struct id_field registers[] = {
	R("cap", CAP, 8, "Capabilities", .bits = id_cap_bits),
	R("vs", VS, 4, "Version", .say = say_version),
	R("intms", INTMS, 4, "Interrupt mask set", .say = say_hex),
	R("intmc", INTMC, 4, "Interrupt mask clear", .say = say_hex),
	R("cc", CC, 4, "Configuration",
	  .bits = ID_BITS({ 0, 1, "Enabled" },
			  { 4, 3, "Command sets",
			    ID_LIST("NVM", "reserved", "reserved", "reserved", "reserved",
				    "reserved", "all supported", "none but admin") },
			  { 7, 4, "Memory page", NULL, say_log2_pages },
			  { 11, 3, "Arbitration",
			    ID_LIST("round robin", "weighted round robin", "reserved", "reserved",
				    "reserved", "reserved", "reserved", "the vendor's") },
			  { 14, 2, "Shutdown", ID_LIST("no", "normal", "abrupt", "reserved") },
			  { 16, 4, "Submission queue entry", NULL, say_log2_bytes },
			  { 20, 4, "Completion queue entry", NULL, say_log2_bytes },
			  { 24, 1, "Ready independent of media" })),
	R("csts", CSTS, 4, "Status",
	  .bits = ID_BITS({ 0, 1, "Ready" }, { 1, 1, "Fatal" }, { 2, 2, "Shutdown", shutdowns },
			  { 4, 1, "Subsystem reset occurred" }, { 5, 1, "Processing paused" })),
	R("nssr", NSSR, 4, "Subsystem reset", .say = say_hex),
	R("crto", CRTO, 4, "Ready timeouts",
	  .bits = ID_BITS({ 0, 16, "With media", NULL, say_500ms },
			  { 16, 16, "Independent of media", NULL, say_500ms })),
	R("aqa", AQA, 4, "Admin queue sizes", .say = say_queue_sizes),
	R("asq", ASQ, 8, "Admin submission queue", .say = say_hex),
	R("acq", ACQ, 8, "Admin completion queue", .say = say_hex),
	R("cmbloc", CMBLOC, 4, "Controller memory buffer location", .plain_zero = true,
	  .bits = ID_BITS({ 0, 3, "BAR" }, { 3, 1, "Queues of its own and others' memory" },
			  { 4, 1, "Queues need not be contiguous" },
			  { 5, 1, "Lists of a command in it and elsewhere" },
			  { 6, 1, "Lists of commands that are elsewhere" },
			  { 7, 1, "Data of metadata that is elsewhere" },
			  { 8, 1, "Queues need dword alignment only" },
			  { 12, 20, "Offset, in units of CMBSZ" })),
	R("cmbsz", CMBSZ, 4, "Controller memory buffer size", .plain_zero = true,
	  .bits = ID_BITS({ 0, 1, "Submission queues" }, { 1, 1, "Completion queues" },
			  { 2, 1, "PRP and SGL lists" }, { 3, 1, "Read data" },
			  { 4, 1, "Write data" }, { 0, 32, "Size", NULL, say_cmb_size })),
	R("bpinfo", BPINFO, 4, "Boot partitions", .plain_zero = true,
	  .bits = ID_BITS({ 0, 15, "Size, 128 KiB each" },
			  { 24, 2, "Read", ID_LIST("none", "under way", "done", "failed") },
			  { 31, 1, "Active partition" })),
	R("bprsel", BPRSEL, 4, "Boot partition read", .say = say_hex),
	R("bpmbl", BPMBL, 8, "Boot partition memory", .say = say_hex),
	R("cmbmsc", CMBMSC, 8, "Controller memory buffer space", .plain_zero = true,
	  .bits = ID_BITS({ 0, 1, "Registers are enabled" }, { 1, 1, "Memory space is enabled" })),
	R("cmbsts", CMBSTS, 4, "Controller memory buffer status", .plain_zero = true,
	  .bits = ID_BITS({ 0, 1, "Address not taken" })),
	R("pmrcap", PMRCAP, 4, "Persistent memory region", .plain_zero = true,
	  .bits = ID_BITS({ 3, 1, "Read data" }, { 4, 1, "Write data" }, { 5, 3, "BAR" },
			  { 8, 2, "Timeout unit",
			    ID_LIST("500 ms", "1 min", "reserved", "reserved") },
			  { 10, 1, "Reading it writes what was stored" },
			  { 11, 1, "Reading its status writes what was stored" },
			  { 16, 8, "Timeout" }, { 24, 1, "Memory space of its own" })),
	R("pmrctl", PMRCTL, 4, "Persistent memory region control", .plain_zero = true,
	  .bits = ID_BITS({ 0, 1, "Enabled" })),
	R("pmrsts", PMRSTS, 4, "Persistent memory region status", .plain_zero = true,
	  .bits = ID_BITS({ 0, 8, "Error" }, { 8, 1, "Not ready" }, { 9, 3, "Health", pmr_states },
			  { 12, 1, "Address not taken" })),
	R("pmrebs", PMREBS, 4, "Persistent memory elasticity buffer", .say = say_hex),
	R("pmrswtp", PMRSWTP, 4, "Persistent memory write throughput", .say = say_hex),
	R("pmrmscl", PMRMSCL, 4, "Persistent memory space, low", .say = say_hex),
	R("pmrmscu", PMRMSCU, 4, "Persistent memory space, high", .say = say_hex),
};

static void show_registers(struct id_out *o, const struct id_item *item)
{
	static const struct id_table t = ID_TABLE(registers);
	struct id_context own = { .cap = id_uint(item->data, 8), .names = true };
	struct id_out with = *o;

	if (o->json) {
		out_table(o, &t, item->data, item->len);
		return;
	}
	with.x = &own;
	fputc('\n', o->f);
	out_table(&with, &t, item->data, item->len);
}
const struct id_layout id_registers_layout = { .show = show_registers };

/* ---- PCI ---- */

static const struct id_field pci[] = {
	{ "vendor_id", "Vendor", 0x00, 2, .say = say_hex },
	{ "device_id", "Device", 0x02, 2, .say = say_hex },
	{ "command", "Command", 0x04, 2,
	  .bits = ID_BITS({ 1, 1, "Memory space" }, { 2, 1, "Bus master" },
			  { 10, 1, "INTx disabled" }) },
	{ "status", "Status", 0x06, 2,
	  .bits = ID_BITS({ 4, 1, "Capabilities" }, { 11, 1, "Signaled target abort" },
			  { 12, 1, "Received target abort" }, { 13, 1, "Received master abort" },
			  { 14, 1, "Signaled system error" }, { 15, 1, "Detected parity error" }) },
	{ "revision_id", "Revision", 0x08, 1, .say = say_hex },
	{ "class_code", "Class", 0x09, 3, .say = say_hex },
	{ "header_type", "Header type", 0x0e, 1, .say = say_hex },
	{ "bar0", "BAR 0", 0x10, 4, .say = say_hex },
	{ "bar1", "BAR 1", 0x14, 4, .say = say_hex },
	{ "bar2", "BAR 2", 0x18, 4, .say = say_hex },
	{ "bar3", "BAR 3", 0x1c, 4, .say = say_hex },
	{ "bar4", "BAR 4", 0x20, 4, .say = say_hex },
	{ "bar5", "BAR 5", 0x24, 4, .say = say_hex },
	{ "subsystem_vendor_id", "Subsystem vendor", 0x2c, 2, .say = say_hex },
	{ "subsystem_id", "Subsystem", 0x2e, 2, .say = say_hex },
	{ "interrupt_line", "Interrupt line", 0x3c, 1 },
	{ "interrupt_pin", "Interrupt pin", 0x3d, 1 },
};

static void say_speed(const struct id_context *x, uint64_t v, char *out)
{
	static const char *const speeds[] = { "2.5", "5", "8", "16", "32", "64" };

	if (v && v <= PLX_ARRAY_SIZE(speeds))
		snprintf(out, ID_WORDS, "%lu (%s GT/s)", v, speeds[v - 1]);
	else
		snprintf(out, ID_WORDS, "%lu", v);
}

/* Offsets are from the start of the capability */
static const struct id_field pci_express[] = {
	{ "max_payload_size", "Payload at most, 128 bytes * 2^n", 0x04, 4, .width = 3 },
	{ "flr", "Function level reset", 0x04, 4, .lo = 28, .width = 1 },
	{ "max_link_speed", "Link speed at most", 0x0c, 4, .width = 4, .say = say_speed },
	{ "max_link_width", "Link width at most", 0x0c, 4, .lo = 4, .width = 6 },
	{ "link_speed", "Link speed", 0x12, 2, .width = 4, .say = say_speed },
	{ "link_width", "Link width", 0x12, 2, .lo = 4, .width = 6 },
};
static const struct id_field pci_msix[] = {
	{ "table_size", "Vectors", 0x02, 2, .width = 11, .say = say_plus_one },
	{ "enable", "Enabled", 0x02, 2, .lo = 15, .width = 1 },
};
static const struct id_field pci_msi[] = {
	{ "enable", "Enabled", 0x02, 2, .width = 1 },
	{ "multiple_message_capable", "Vectors, 2^n", 0x02, 2, .lo = 1, .width = 3 },
};
static const struct id_field pci_power[] = {
	{ "power_state", "Power state D", 0x04, 2, .width = 2 },
};

static const struct {
	uint8_t id;
	const char *json, *title;
	struct id_table fields;
} capabilities[] = {
	{ 0x01, "power_management", "Power management", ID_TABLE(pci_power) },
	{ 0x05, "msi", "MSI", ID_TABLE(pci_msi) },
	{ 0x10, "pci_express", "PCI Express", ID_TABLE(pci_express) },
	{ 0x11, "msi_x", "MSI-X", ID_TABLE(pci_msix) },
};

static void capability(struct id_out *o, const uint8_t *at, uint32_t len)
{
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(capabilities); i++) {
		if (capabilities[i].id != *at)
			continue;
		out_title(o, capabilities[i].title);
		out_open(o, capabilities[i].json, '{');
		out_table(o, &capabilities[i].fields, at, len);
		out_close(o, '}');
	}
}

/* The list may be a loop: it has room for 48 entries. One of a kind is enough */
static void show_pci(struct id_out *o, const struct id_item *item)
{
	static const struct id_table t = ID_TABLE(pci);
	const uint8_t *page = item->data;
	uint32_t len = item->len < 256 ? item->len : 256, seen = 0;
	uint8_t at = page[0x34] & 0xfc;

	if (!o->json)
		fputc('\n', o->f);
	out_table(o, &t, page, len);
	for (int i = 0; page[0x06] & 0x10 && i < 48 && at >= 0x40 && at + 2u <= len; i++) {
		if (page[at] < 32 && !(seen >> page[at] & 1)) {
			seen |= 1u << page[at];
			capability(o, page + at, len - at);
		}
		at = page[at + 1] & 0xfc;
	}
}
const struct id_layout id_pci_layout = { .show = show_pci };

/* ---- a page that has no description ---- */

static void raw(struct id_out *o, const struct id_item *item)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = item->data;
	uint32_t n = item->len;

	if (!o->json)
		return; /* the dump is all that there is to show */
	out_number(o, "len", n);
	out_key(o, "data");
	fputc('"', o->f);
	for (uint32_t i = 0; i < n; i++) {
		fputc(digits[b[i] >> 4], o->f);
		fputc(digits[b[i] & 15], o->f);
	}
	fputc('"', o->f);
}
const struct id_layout id_raw_layout = { .show = raw };
