/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/pages_id.c - what Identify returns besides the controller and the namespaces (NVMe Base
 * Specification 2.0c §5.17.2, NVM Command Set 1.0c §4.1.5, Zoned Namespace Command Set 1.1c §4.1.5)
 */
#include "identify/out.h"
#include <string.h>

/* ---- lists of identifiers ---- */

static const struct id_field nsid_fields[] = { { "nsid", "Namespace", 0, 4 } };
static const struct id_list active_lists[] = {
	{ "nsid_list", NULL, nsid_fields, 1, .stride = 4 },
	{ 0 },
};
const struct id_layout id_active_layout = { .lists = active_lists };
const struct id_layout id_allocated_layout = { .lists = active_lists };

static const struct id_field ctrls_head[] = { { "num_ctrl", "Controllers", 0, 2 } };
static const struct id_field ctrl_fields[] = { { "ctrl_id", "Controller", 0, 2 } };
static const struct id_list ctrls_lists[] = {
	{ "ctrl_list", "", ctrl_fields, 1, .stride = 2, .off = 2, .count_len = 2 },
	{ 0 },
};
const struct id_layout id_ctrls_layout = { ID_TABLE(ctrls_head), .lists = ctrls_lists };

static const struct id_field groups_head[] = { { "num_endgrp_id", "Endurance groups", 0, 2 } };
static const struct id_field group_fields[] = { { "endgrp_id", "Group", 0, 2 } };
static const struct id_list groups_lists[] = {
	{ "endgrp_list", "", group_fields, 1, .stride = 2, .off = 2, .count_len = 2 },
	{ 0 },
};
const struct id_layout id_groups_layout = { ID_TABLE(groups_head), .lists = groups_lists };

/* ---- command sets ---- */

#define F(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_id_ctrl_nvm, member), __VA_ARGS__                       \
	}
static const struct id_field nvm_ctrl[] = {
	F("vsl", vsl, "Verify size limit", .say = say_mdts),
	F("wzsl", wzsl, "Write Zeroes size limit", .say = say_mdts),
	F("wusl", wusl, "Write Uncorrectable size limit", .say = say_mdts),
	F("dmrl", dmrl, "Deallocate: ranges at most", .say = say_no_limit),
	F("dmrsl", dmrsl, "Deallocate: blocks of a range at most", .say = say_no_limit),
	F("dmsl", dmsl, "Deallocate: blocks at most", .say = say_no_limit),
};
const struct id_layout id_nvm_ctrl_layout = { ID_TABLE(nvm_ctrl) };
#undef F

#define F(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_nvm_id_ns, member), __VA_ARGS__                         \
	}
static const struct id_field nvm_ns[] = {
	F("lbstm", lbstm, "Storage tag mask", .say = say_hex),
	F("pic", pic, "Protection information capabilities",
	  .bits = ID_BITS({ 0, 1, "16-bit guard: storage tag in use is all bits or none" },
			  { 1, 1, "16-bit guard: storage tag" },
			  { 2, 1, "Storage tag check, by read" })),
};
static const struct id_field elbaf_fields[] = {
	{ "sts", "Storage tag bits", 0, 4, .width = 7 },
	{ "pif", "Guard", 0, 4, .lo = 7, .width = 2 },
};
static const struct id_list elbafs = { "elbafs",    "Extended LBA formats", elbaf_fields, 2,
				       .stride = 4, .count_len = 4 };
#undef F

static void nvm_ns_formats(struct id_out *o, const struct id_item *item)
{
	const struct nvme_nvm_id_ns *id = item->data;

	out_list(o, &elbafs, id->elbaf, sizeof(id->elbaf), item->formats);
}
const struct id_layout id_nvm_ns_layout = { ID_TABLE(nvm_ns), .show = nvm_ns_formats };

static const struct id_field zns_ctrl[] = {
	{ "zasl", "Zone append size limit", 0, 1, .say = say_mdts },
};
const struct id_layout id_zns_ctrl_layout = { ID_TABLE(zns_ctrl) };

#define F(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, ID_PLACE(nvme_zns_id_ns, member), __VA_ARGS__                      \
	}

/* 0-based, and all ones for no limit */
static void say_zones(const struct id_context *x, uint64_t v, char *out)
{
	if (v == UINT32_MAX)
		snprintf(out, ID_WORDS, "0x%lx (no limit)", v);
	else
		say_plus_one(x, v, out);
}

static const struct id_field zns_ns[] = {
	F(zoc, "Zone operations",
	  .bits = ID_BITS({ 0, 1, "Zone capacity varies" },
			  { 1, 1, "Active zones can be excluded by the controller" })),
	F(ozcs, "Optional capabilities",
	  .bits = ID_BITS({ 0, 1, "Reads cross zone boundaries" },
			  { 1, 1, "Zone random write area" })),
	F(mar, "Active zones at most", .say = say_zones),
	F(mor, "Open zones at most", .say = say_zones),
	F(rrl, "Reset recommended after", .say = say_seconds),
	F(frl, "Finish recommended after", .say = say_seconds),
	F(rrl1, "Reset recommended after, 1", .say = say_seconds),
	F(rrl2, "Reset recommended after, 2", .say = say_seconds),
	F(rrl3, "Reset recommended after, 3", .say = say_seconds),
	F(frl1, "Finish recommended after, 1", .say = say_seconds),
	F(frl2, "Finish recommended after, 2", .say = say_seconds),
	F(frl3, "Finish recommended after, 3", .say = say_seconds),
	F(numzrwa, "Zone random write areas"),
	F(zrwafg, "Random write area: flush granularity, blocks"),
	F(zrwasz, "Random write area: blocks"),
	F(zrwacap, "Random write area: capabilities", .bits = ID_BITS({ 0, 1, "Explicit flush" })),
};
static const struct id_field lbafe_fields[] = {
	{ "zsze", "Zone size, blocks", 0, 8 },
	{ "zdes", "Descriptor extension, 64 bytes each", 8, 1 },
};
static const struct id_list lbafes = { "lbafe",
				       "Zoned LBA formats",
				       lbafe_fields,
				       2,
				       .stride = sizeof(struct nvme_zns_lbafe),
				       .count_len = 4 };
#undef F

static void zns_ns_formats(struct id_out *o, const struct id_item *item)
{
	const struct nvme_zns_id_ns *id = item->data;

	out_list(o, &lbafes, id->lbafe, sizeof(id->lbafe), item->formats);
}
const struct id_layout id_zns_ns_layout = { ID_TABLE(zns_ns), .show = zns_ns_formats };

#define F(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, ID_PLACE(nvme_id_independent_id_ns, member), __VA_ARGS__           \
	}
static const struct id_field independent[] = {
	F(nsfeat, "Features",
	  .bits = ID_BITS({ 3, 1, "Identifiers are never reused" }, { 4, 1, "Rotational medium" },
			  { 5, 1, "Volatile write cache is not present" })),
	F(nmic, "Multi-path and sharing",
	  .bits = ID_BITS({ 0, 1, "Can be attached to several controllers" },
			  { 1, 1, "Dispersed namespace" })),
	F(rescap, "Reservations", .say = say_hex),
	F(fpi, "Format progress",
	  .bits = ID_BITS({ 0, 7, "Remaining", NULL, say_percent }, { 7, 1, "Reported" })),
	F(anagrpid, "ANA group", .say = say_none),
	F(nsattr, "Attributes", .bits = ID_BITS({ 0, 1, "Write protected" })),
	F(nvmsetid, "NVM set", .say = say_none),
	F(endgid, "Endurance group", .say = say_none),
	F(nstat, "Status", .bits = ID_BITS({ 0, 1, "Ready" })),
};
const struct id_layout id_independent_layout = { ID_TABLE(independent) };
#undef F

/* ---- virtualization ---- */

#define F(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, ID_PLACE(nvme_primary_ctrl_cap, member), __VA_ARGS__               \
	}
static const struct id_field primary[] = {
	F(cntlid, "Controller identifier", .say = say_hex),
	F(portid, "Port"),
	F(crt, "Resources",
	  .bits = ID_BITS({ 0, 1, "Flexible queues" }, { 1, 1, "Flexible interrupts" })),
	F(vqfrt, "Queues, flexible"),
	F(vqrfa, "Queues, flexible, with secondary controllers"),
	F(vqrfap, "Queues, flexible, with this one"),
	F(vqprt, "Queues, private"),
	F(vqfrsm, "Queues of a secondary controller at most"),
	F(vqgran, "Queues: granularity"),
	F(vifrt, "Interrupts, flexible"),
	F(virfa, "Interrupts, flexible, with secondary controllers"),
	F(virfap, "Interrupts, flexible, with this one"),
	F(viprt, "Interrupts, private"),
	F(vifrsm, "Interrupts of a secondary controller at most"),
	F(vigran, "Interrupts: granularity"),
};
const struct id_layout id_primary_layout = { ID_TABLE(primary) };
#undef F

#define F(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_secondary_ctrl, member), __VA_ARGS__                    \
	}
static const struct id_field secondary_fields[] = {
	F("secondary-controller-identifier", scid, "Controller"),
	F("primary-controller-identifier", pcid, "Primary"),
	F("secondary-controller-state", scs, "State"),
	F("virtual-function-number", vfn, "Virtual function"),
	F("num-virtual-queues", nvq, "Queues"),
	F("num-virtual-interrupts", nvi, "Interrupts"),
};
#undef F
static const struct id_field secondary_head[] = { { "num", "Secondary controllers", 0, 1 } };
static const struct id_list secondary_lists[] = {
	{ "secondary-controllers", "", secondary_fields, 6,
	  .stride = sizeof(struct nvme_secondary_ctrl),
	  .off = offsetof(struct nvme_secondary_ctrl_list, sc_entry), .count_len = 1 },
	{ 0 },
};
const struct id_layout id_secondary_layout = { ID_TABLE(secondary_head), secondary_lists };

/* ---- media ---- */

#define F(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_nvmset_attr, member), __VA_ARGS__                       \
	}
static const struct id_field set_fields[] = {
	F("nvmset_id", nvmsetid, "Set"),
	F("endurance_group_id", endgid, "Endurance group"),
	F("random_4k_read_typical", rr4kt, "4 KiB read, 100 ns"),
	F("optimal_write_size", ows, "Write size", .say = say_bytes),
	F("total_nvmset_cap", tnvmsetcap, "Capacity", ID_UINT128, say_bytes),
	F("unalloc_nvmset_cap", unvmsetcap, "Unallocated", ID_UINT128, say_bytes),
};
#undef F
static const struct id_field sets_head[] = { { "nid", "NVM sets", 0, 1 } };
static const struct id_list sets_lists[] = {
	{ "NVMSet", "", set_fields, 6, .stride = sizeof(struct nvme_nvmset_attr),
	  .off = offsetof(struct nvme_id_nvmset_list, ent), .count_len = 1 },
	{ 0 },
};
const struct id_layout id_sets_layout = { ID_TABLE(sets_head), sets_lists };

#define F(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, ID_PLACE(nvme_id_domain_attr, member), __VA_ARGS__                 \
	}
static const struct id_field domain_fields[] = {
	F(dom_id, "Domain"),
	F(dom_cap, "Capacity", ID_UINT128, say_bytes),
	F(unalloc_dom_cap, "Unallocated", ID_UINT128, say_bytes),
	F(max_egrp_dom_cap, "Endurance group at most", ID_UINT128, say_bytes),
};
#undef F
static const struct id_field domains_head[] = { { "num_dom_entries", "Domains", 0, 1 } };
static const struct id_list domains_lists[] = {
	{ "domain_list", "", domain_fields, 4, .stride = sizeof(struct nvme_id_domain_attr),
	  .off = offsetof(struct nvme_id_domain_list, domain_attr), .count_len = 1 },
	{ 0 },
};
const struct id_layout id_domains_layout = { ID_TABLE(domains_head), domains_lists };

#define F(name, member, label, ...)                                                                \
	{                                                                                          \
		name, label, ID_PLACE(nvme_id_ns_granularity_list, member), __VA_ARGS__            \
	}
static const struct id_field granularity_head[] = {
	F("attributes", attributes, "Attributes",
	  .bits = ID_BITS({ 0, 1, "Descriptors are those of the LBA formats" })),
	F("num-descriptors", num_descriptors, "Descriptors", .say = say_plus_one),
};
#undef F
static const struct id_field granularity_fields[] = {
	{ "namespace-size-granularity", "Size", 0, 8, .say = say_bytes_if },
	{ "namespace-capacity-granularity", "Capacity", 8, 8, .say = say_bytes_if },
};
static const struct id_list granularity_lists[] = {
	{ "namespace-granularity-list", "", granularity_fields, 2,
	  .stride = sizeof(struct nvme_id_ns_granularity_desc),
	  .off = offsetof(struct nvme_id_ns_granularity_list, entry), .count_off = 4,
	  .count_len = 1, .bias = 1 },
	{ 0 },
};
const struct id_layout id_granularity_layout = { ID_TABLE(granularity_head), granularity_lists };

/* ---- UUIDs, combinations of command sets ---- */

static const char *const associations[] = { "not of a vendor", "PCI vendor", "PCI subsystem vendor",
					    NULL };

/* The first one of zeroes ends the list; entry 0 is reserved (§5.17.2.14) */
static void uuids(struct id_out *o, const struct id_item *item)
{
	const struct nvme_id_uuid_list *list = item->data;
	static const uint8_t none[16];

	out_open(o, "UUID-list", '[');
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(list->entry); i++) {
		const struct nvme_id_uuid_list_entry *e = &list->entry[i];
		char uuid[37], name[16];

		if (!memcmp(e->uuid, none, sizeof(none)))
			break;
		out_open(o, NULL, '{');
		out_number(o, "association", e->header & 3);
		out_text(o, "uuid", id_uuid(e->uuid, uuid));
		out_close(o, '}');
		if (o->json)
			continue;
		snprintf(name, sizeof(name), "%u", i + 1);
		id_line(o->f, name, (e->header & 3) < 3 ? associations[e->header & 3] : "reserved",
			uuid);
	}
	out_close(o, ']');
}
const struct id_layout id_uuids_layout = { .show = uuids };

/* A vector of 64 bits for each combination, bits being command sets; those of zeroes are none */
static void command_sets(struct id_out *o, const struct id_item *item)
{
	const struct nvme_id_iocs *id = item->data;

	out_open(o, "iocsc", '[');
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(id->iocsc); i++) {
		uint64_t v = id->iocsc[i];
		char name[16], words[ID_WORDS];

		if (!v)
			continue;
		out_open(o, NULL, '{');
		out_number(o, "index", i);
		out_number(o, "vector", v);
		out_close(o, '}');
		if (o->json)
			continue;
		snprintf(name, sizeof(name), "%u", i);
		snprintf(words, sizeof(words), "0x%lx (%s%s%s)", v, v & 1 ? "NVM " : "",
			 v & 2 ? "key value " : "", v & 4 ? "zoned " : "");
		if (strstr(words, " )"))
			strcpy(strstr(words, " )"), ")");
		id_line(o->f, name, "Combination", words);
	}
	out_close(o, ']');
}
const struct id_layout id_command_sets_layout = { .show = command_sets };
