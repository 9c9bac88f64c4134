/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/pages_more.c - pages made of entries whose sizes stand in them (NVMe Base Specification
 * 2.0c §5.16.1, TP4146, Zoned Namespace Command Set 1.1c)
 *
 * Each size is checked against what is left of the page before anything behind it is looked at.
 */
#include "identify/out.h"
#include <string.h>

/* What is left of a page */
struct rest {
	const uint8_t *at;
	uint32_t len;
};

/* Return: the next @n bytes; NULL, and an end to it, when there are fewer */
static const uint8_t *take(struct rest *r, uint64_t n)
{
	const uint8_t *at = r->at;

	if (n > r->len) {
		r->len = 0;
		return NULL;
	}
	r->at += n;
	r->len -= (uint32_t)n;
	return at;
}

static struct rest rest_of(const struct id_item *item)
{
	return (struct rest){ item->data, item->len };
}

static void blank(struct id_out *o)
{
	if (!o->json)
		fputc('\n', o->f);
}

#define PLACE(type, m) ID_PLACE(type, m)

/* ---- Asymmetric Namespace Access ---- */

static const char *const ana_states[] = { "invalid state",
					  "optimized",
					  "non-optimized",
					  "inaccessible",
					  "persistent-loss",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "invalid state",
					  "change",
					  NULL };
static const struct id_field ana_head[] = {
	{ "chgcnt", "Changes so far", PLACE(nvme_ana_log, chgcnt) },
	{ "ngrps", "Groups", PLACE(nvme_ana_log, ngrps) },
};
static const struct id_field ana_group[] = {
	{ "grpid", "Group", PLACE(nvme_ana_group_desc, grpid) },
	{ "nnsids", "Namespaces", PLACE(nvme_ana_group_desc, nnsids) },
	{ "chgcnt", "Changed by change", PLACE(nvme_ana_group_desc, chgcnt) },
	{ "state", "State", PLACE(nvme_ana_group_desc, state), .width = 4, .names = ana_states },
};
static const struct id_field ana_nsid[] = { { "nsid", "Namespace", 0, 4 } };
static const struct id_list ana_nsids = { "NSIDS", NULL, ana_nsid, 1, .stride = 4, .count_len = 4 };

static void ana(struct id_out *o, const struct id_item *item)
{
	static const struct id_table head = ID_TABLE(ana_head), group = ID_TABLE(ana_group);
	const struct nvme_ana_log *log = item->data;
	struct rest r = rest_of(item);

	blank(o);
	out_text(o, "Asymmetric Namespace Access Log for NVMe device", o->device);
	out_table(o, &head, log, item->len);
	out_open(o, "ANA DESC LIST ", '[');
	take(&r, sizeof(*log));
	for (uint32_t i = 0; r.len && i < log->ngrps; i++) {
		const struct nvme_ana_group_desc *d = (const void *)take(&r, sizeof(*d));
		uint64_t n = d ? d->nnsids : 0;

		if (!d)
			break;
		blank(o);
		out_open(o, NULL, '{');
		out_table(o, &group, d, sizeof(*d));
		out_list(o, &ana_nsids, r.at, r.len, n);
		out_close(o, '}');
		take(&r, 4 * n);
	}
	out_close(o, ']');
}
const struct id_layout id_ana_layout = { .show = ana };

/* ---- LBA Status Information ---- */

static const struct id_field lba_status_head[] = {
	{ "lslplen", "Bytes of the page", PLACE(nvme_lba_status_log, lslplen), .say = say_bytes },
	{ "nlslne", "Namespaces", PLACE(nvme_lba_status_log, nlslne) },
	{ "estulb", "Unrecoverable blocks, estimated", PLACE(nvme_lba_status_log, estulb) },
	{ "lsgc", "Generation", PLACE(nvme_lba_status_log, lsgc) },
};
static const struct id_field lba_ns[] = {
	{ "neid", "Namespace", PLACE(nvme_lbas_ns_element, neid) },
	{ "nlrd", "Ranges", PLACE(nvme_lbas_ns_element, nlrd) },
	{ "ratype", "Recommended action type", PLACE(nvme_lbas_ns_element, ratype) },
};
static const struct id_field lba_range[] = {
	{ "rslba", "First block", PLACE(nvme_lba_rd, rslba) },
	{ "rnlb", "Blocks", PLACE(nvme_lba_rd, rnlb) },
};
static const struct id_list lba_ranges = {
	"descs", NULL, lba_range, 2, .stride = sizeof(struct nvme_lba_rd), .count_len = 4
};

static void lba_status(struct id_out *o, const struct id_item *item)
{
	static const struct id_table head = ID_TABLE(lba_status_head), ns = ID_TABLE(lba_ns);
	const struct nvme_lba_status_log *log = item->data;
	struct rest r = rest_of(item);

	blank(o);
	out_table(o, &head, log, item->len);
	out_open(o, "ns_elements", '[');
	take(&r, sizeof(*log));
	for (uint32_t i = 0; r.len && i < log->nlslne; i++) {
		const struct nvme_lbas_ns_element *e = (const void *)take(&r, sizeof(*e));
		/* all ones: the whole namespace should be looked at, no ranges */
		uint64_t n = e && e->nlrd != UINT32_MAX ? e->nlrd : 0;

		if (!e)
			break;
		blank(o);
		out_open(o, NULL, '{');
		out_table(o, &ns, e, sizeof(*e));
		out_list(o, &lba_ranges, r.at, r.len, n);
		out_close(o, '}');
		take(&r, n * sizeof(struct nvme_lba_rd));
	}
	out_close(o, ']');
}
const struct id_layout id_lba_status_layout = { .show = lba_status };

/* ---- Media Unit Status: the channels of a unit are at CIO, and end it ---- */

#define M(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, PLACE(nvme_media_unit_stat_desc, member), __VA_ARGS__              \
	}
static const struct id_field media_head[] = {
	{ "nmu", "Media units", PLACE(nvme_media_unit_stat_log, nmu) },
	{ "cchans", "Channels", PLACE(nvme_media_unit_stat_log, cchans) },
	{ "sel_config", "Configuration", PLACE(nvme_media_unit_stat_log, sel_config) },
};
static const struct id_field media_unit[] = {
	M(muid, "Media unit"),
	M(domainid, "Domain"),
	M(endgid, "Endurance group"),
	M(nvmsetid, "NVM set"),
	M(cap_adj_fctr, "Capacity adjustment, %"),
	M(avl_spare, "Available spare", .say = say_percent),
	M(percent_used, "Endurance used", .say = say_percent),
	M(mucs, "Channels"),
	M(cio, "Channel identifiers are at", .say = say_bytes),
};

static void media(struct id_out *o, const struct id_item *item)
{
	static const struct id_table head = ID_TABLE(media_head), unit = ID_TABLE(media_unit);
	const struct nvme_media_unit_stat_log *log = item->data;
	struct rest r = rest_of(item);

	blank(o);
	out_table(o, &head, log, item->len);
	out_open(o, "mus_list", '[');
	take(&r, sizeof(*log));
	for (uint32_t i = 0; r.len && i < log->nmu; i++) {
		struct nvme_media_unit_stat_desc d; /* a copy: CIO may put it anywhere */
		uint32_t size = sizeof(d);

		if (r.len < sizeof(d))
			break;
		memcpy(&d, r.at, sizeof(d));
		blank(o);
		out_open(o, NULL, '{');
		out_table(o, &unit, &d, sizeof(d));
		out_close(o, '}');
		if (d.mucs)
			size = d.cio + 2u * d.mucs;
		if (size < sizeof(d))
			break;
		take(&r, size);
	}
	out_close(o, ']');
}
const struct id_layout id_media_layout = { .show = media };

/* ---- Supported Capacity Configuration List ---- */

static const struct id_field capacity_head[] = {
	{ "sccn", "Configurations", PLACE(nvme_supported_cap_config_list_log, sccn) },
};
static const struct id_field capacity_config[] = {
	{ "cap_config_id", "Configuration", PLACE(nvme_capacity_config_desc, cap_config_id) },
	{ "domainid", "Domain", PLACE(nvme_capacity_config_desc, domainid) },
	{ "egcn", "Endurance groups", PLACE(nvme_capacity_config_desc, egcn) },
};
#define G(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, PLACE(nvme_end_grp_config_desc, member), __VA_ARGS__               \
	}
static const struct id_field capacity_group[] = {
	G(endgid, "Endurance group"),
	G(cap_adj_factor, "Capacity adjustment, %"),
	G(tegcap, "Capacity", ID_UINT128, say_bytes),
	G(segcap, "Spare capacity", ID_UINT128, say_bytes),
	G(end_est, "Endurance estimate", ID_UINT128),
	G(egsets, "NVM sets"),
};
static const struct id_field set_field[] = { { "nvmsetid", "NVM set", 0, 2 } };
static const struct id_list group_sets = { "nvmsets", NULL,	   set_field,
					   1,	      .stride = 2, .count_len = 2 };
static const struct id_field channel_field[] = {
	{ "chanid", "Channel", PLACE(nvme_channel_config_desc, chanid) },
	{ "chmus", "Media units", PLACE(nvme_channel_config_desc, chmus) },
};
static const struct id_field unit_field[] = {
	{ "muid", "Media unit", PLACE(nvme_media_unit_config_desc, muid) },
	{ "mudl", "Domains left", PLACE(nvme_media_unit_config_desc, mudl) },
};
static const struct id_list channel_units = {
	"media_units", NULL, unit_field, 2, .stride = sizeof(struct nvme_media_unit_config_desc),
	.count_len = 2
};

static void capacity_channels(struct id_out *o, struct rest *r)
{
	static const struct id_table channel = ID_TABLE(channel_field);
	const uint8_t *count = take(r, 2);
	uint32_t channels = count ? (uint32_t)id_uint(count, 2) : 0;

	out_open(o, "channels", '[');
	for (uint32_t i = 0; r->len && i < channels; i++) {
		const struct nvme_channel_config_desc *d = (const void *)take(r, sizeof(*d));

		if (!d)
			break;
		out_open(o, NULL, '{');
		out_table(o, &channel, d, sizeof(*d));
		out_list(o, &channel_units, r->at, r->len, d->chmus);
		out_close(o, '}');
		take(r, d->chmus * sizeof(struct nvme_media_unit_config_desc));
	}
	out_close(o, ']');
}

static void capacity_groups(struct id_out *o, struct rest *r, uint32_t n)
{
	static const struct id_table group = ID_TABLE(capacity_group);

	out_open(o, "egcd", '[');
	for (uint32_t i = 0; r->len && i < n; i++) {
		const struct nvme_end_grp_config_desc *d = (const void *)take(r, sizeof(*d));

		if (!d)
			break;
		blank(o);
		out_open(o, NULL, '{');
		out_table(o, &group, d, sizeof(*d));
		out_list(o, &group_sets, r->at, r->len, d->egsets);
		take(r, 2 * d->egsets);
		capacity_channels(o, r);
		out_close(o, '}');
	}
	out_close(o, ']');
}

static void capacity(struct id_out *o, const struct id_item *item)
{
	static const struct id_table head = ID_TABLE(capacity_head),
				     config = ID_TABLE(capacity_config);
	const struct nvme_supported_cap_config_list_log *log = item->data;
	struct rest r = rest_of(item);

	blank(o);
	out_table(o, &head, log, item->len);
	out_open(o, "cap_config_desc", '[');
	take(&r, sizeof(*log));
	for (uint32_t i = 0; r.len && i < log->sccn; i++) {
		const struct nvme_capacity_config_desc *d = (const void *)take(&r, sizeof(*d));

		if (!d)
			break;
		blank(o);
		out_open(o, NULL, '{');
		out_table(o, &config, d, sizeof(*d));
		capacity_groups(o, &r, d->egcn);
		out_close(o, '}');
	}
	out_close(o, ']');
}
const struct id_layout id_capacity_layout = { .show = capacity };

/* ---- Flexible Data Placement ---- */

#define C(member, label, ...)                                                                      \
	{                                                                                          \
#member, label, PLACE(nvme_fdp_config_desc, member), __VA_ARGS__                   \
	}
static const struct id_field fdp_head[] = {
	{ "n", "Configurations", PLACE(nvme_fdp_config_log, n), .say = say_plus_one },
};
static const struct id_field fdp_config[] = {
	C(fdpa, "Attributes",
	  .bits = ID_BITS({ 0, 4, "Reclaim group identifier bits" },
			  { 4, 1, "Volatile write cache" }, { 7, 1, "Valid" })),
	C(vss, "Vendor specific size", .say = say_bytes),
	C(nrg, "Reclaim groups"),
	C(nruh, "Reclaim unit handles"),
	C(nnss, "Namespaces at most"),
	C(runs, "Reclaim unit size", .say = say_bytes),
	C(erutl, "Reclaim unit time limit", .say = say_seconds),
	C(maxpids, "Placement identifiers at most", .say = say_plus_one),
};
static const char *const ruh_types[] = { "reserved", "initially isolated", "persistently isolated",
					 NULL };

static void say_ruh_type(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (%s)", v, v < 3 ? ruh_types[v] : "reserved");
}
static const struct id_field ruh_field[] = {
	{ "ruht", "Type of handle", PLACE(nvme_fdp_ruh_desc, ruht), .say = say_ruh_type },
};
static const struct id_list fdp_ruhs = {
	"ruhs", NULL, ruh_field, 1, .stride = sizeof(struct nvme_fdp_ruh_desc), .count_len = 2
};

static void fdp_configs(struct id_out *o, const struct id_item *item)
{
	static const struct id_table head = ID_TABLE(fdp_head), config = ID_TABLE(fdp_config);
	const struct nvme_fdp_config_log *log = item->data;
	struct rest r = rest_of(item);

	blank(o);
	out_table(o, &head, log, item->len);
	out_open(o, "configs", '[');
	take(&r, sizeof(*log));
	for (uint32_t i = 0; r.len >= sizeof(struct nvme_fdp_config_desc) && i <= log->n; i++) {
		/* sizes of any kind: the next one may be anywhere */
		uint32_t size = (uint32_t)id_uint(r.at, 2), ruhs = (uint32_t)id_uint(r.at + 8, 2);
		struct rest own = { r.at, size < r.len ? size : r.len };

		if (!take(&own, sizeof(struct nvme_fdp_config_desc)))
			break; /* shorter than itself */
		blank(o);
		out_open(o, NULL, '{');
		out_table(o, &config, r.at, sizeof(struct nvme_fdp_config_desc));
		out_list(o, &fdp_ruhs, own.at, own.len, ruhs);
		out_close(o, '}');
		take(&r, size);
	}
	out_close(o, ']');
}
const struct id_layout id_fdp_configs_layout = { .show = fdp_configs };

static const struct id_field usage_head[] = { { "nruh", "Reclaim unit handles", 0, 2 } };
static const char *const usages[] = { "unused", "host specified", "controller specified", NULL };

static void say_usage(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (%s)", v, v < 3 ? usages[v] : "reserved");
}
static const struct id_field usage_fields[] = { { "ruha", "Use", 0, 1, .say = say_usage } };
static const struct id_list usage_lists[] = {
	{ "ruhus", "", usage_fields, 1, .stride = sizeof(struct nvme_fdp_ruhu_desc), .off = 8,
	  .count_len = 2 },
	{ 0 },
};
const struct id_layout id_fdp_usage_layout = { ID_TABLE(usage_head), usage_lists };

static const struct id_field fdp_stats[] = {
	{ "hbmw", "Written by hosts", PLACE(nvme_fdp_stats_log, hbmw), ID_UINT128, say_bytes },
	{ "mbmw", "Written to the media", PLACE(nvme_fdp_stats_log, mbmw), ID_UINT128, say_bytes },
	{ "mbe", "Erased", PLACE(nvme_fdp_stats_log, mbe), ID_UINT128, say_bytes },
};
const struct id_layout id_fdp_stats_layout = { ID_TABLE(fdp_stats) };

static const char *fdp_event_name(uint64_t type)
{
	static const char *const host[] = { "reclaim unit not fully written",
					    "reclaim unit time limit exceeded",
					    "reclaim unit handles changed by a reset",
					    "invalid placement identifier" };

	if (type < PLX_ARRAY_SIZE(host))
		return host[type];
	return type == 0x80   ? "media reallocated"
	       : type == 0x81 ? "reclaim unit handle modified implicitly"
			      : "unknown";
}

static void say_fdp_event(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "0x%lx (%s)", v, fdp_event_name(v));
}

#define REALLOC(m)                                                                                 \
	offsetof(struct nvme_fdp_event, type_specific) +                                           \
		offsetof(struct nvme_fdp_event_realloc, m),                                        \
		sizeof(((struct nvme_fdp_event_realloc *)0)->m),                                   \
		.only_off = offsetof(struct nvme_fdp_event, type), .only_mask = 0xff,              \
		.only_value = 0x80
static const struct id_field fdp_event[] = {
	{ "type", "Event", PLACE(nvme_fdp_event, type), .say = say_fdp_event },
	{ "fdpef", "Valid fields", PLACE(nvme_fdp_event, flags), .say = say_hex },
	{ "pid", "Placement identifier", PLACE(nvme_fdp_event, pid) },
	{ "timestamp", "Timestamp, ms", offsetof(struct nvme_fdp_event, ts), 6 },
	{ "nsid", "Namespace", PLACE(nvme_fdp_event, nsid) },
	{ "nlbam", "Blocks moved", REALLOC(nlbam) },
};

static void fdp_events(struct id_out *o, const struct id_item *item)
{
	static const struct id_table event = ID_TABLE(fdp_event);
	const struct nvme_fdp_events_log *log = item->data;
	struct rest r = rest_of(item);

	out_number(o, "n", log->n);
	if (!o->json)
		fprintf(o->f, "  %u event%s\n", log->n, log->n == 1 ? "" : "s");
	out_open(o, "events", '[');
	take(&r, offsetof(struct nvme_fdp_events_log, events));
	for (uint32_t i = 0; i < log->n; i++) {
		const struct nvme_fdp_event *e = (const void *)take(&r, sizeof(*e));

		if (!e)
			break;
		blank(o);
		out_open(o, NULL, '{');
		out_table(o, &event, e, sizeof(*e));
		out_close(o, '}');
	}
	out_close(o, ']');
}
const struct id_layout id_fdp_events_layout = { .show = fdp_events };

static const struct id_field ruhs_head[] = {
	{ "nruhsd", "Reclaim unit handles", PLACE(nvme_fdp_ruh_status, nruhsd) },
};
static const struct id_field ruhs_fields[] = {
	{ "pid", "Placement identifier", PLACE(nvme_fdp_ruh_status_desc, pid) },
	{ "ruhid", "Handle", PLACE(nvme_fdp_ruh_status_desc, ruhid) },
	{ "earutr", "Time left, s", PLACE(nvme_fdp_ruh_status_desc, earutr) },
	{ "ruamw", "Blocks left", PLACE(nvme_fdp_ruh_status_desc, ruamw) },
};
static const struct id_list ruhs_lists[] = {
	{ "ruhss", "", ruhs_fields, 4, .stride = sizeof(struct nvme_fdp_ruh_status_desc), .off = 16,
	  .count_off = 14, .count_len = 2 },
	{ 0 },
};
const struct id_layout id_fdp_status_layout = { ID_TABLE(ruhs_head), ruhs_lists };

/* ---- Zones ---- */

static const struct id_field changed_head[] = { { "nrzid", "Zones that changed", 0, 2 } };
static const struct id_field changed_fields[] = { { "zid", "First block", 0, 8, .say = say_hex } };

/* 0xffff: more than the list holds, which then is empty */
static void changed_zones(struct id_out *o, const struct id_item *item)
{
	static const struct id_table head = ID_TABLE(changed_head);
	static const struct id_list list = { "zid_list", "",	      changed_fields,
					     1,		 .stride = 8, .count_len = 2 };
	uint32_t n = (uint32_t)id_uint(item->data, 2);

	blank(o);
	out_table(o, &head, item->data, item->len);
	if (n == UINT16_MAX)
		out_title(o, "more than a list holds");
	out_list(o, &list, (const uint8_t *)item->data + 8, item->len - 8, n == UINT16_MAX ? 0 : n);
}
const struct id_layout id_changed_zones_layout = { .show = changed_zones };

static const char *const zone_types[] = {
	"Unknown", "Unknown", "SEQWRITE_REQ", "Unknown", "Unknown", "Unknown",
	"Unknown", "Unknown", "Unknown",      "Unknown", "Unknown", "Unknown",
	"Unknown", "Unknown", "Unknown",      "Unknown", NULL,
};
#define NO_STATE "Unknown State"
static const char *const zone_states[] = {
	NO_STATE, "EMPTY",    "IMP_OPENED", "EXP_OPENED", "CLOSED", NO_STATE,
	NO_STATE, NO_STATE,   NO_STATE,	    NO_STATE,	  NO_STATE, NO_STATE,
	NO_STATE, "READONLY", "FULL",	    "OFFLINE",	  NULL,
};
static const struct id_field zone_fields[] = {
	{ "slba", "First block", PLACE(nvme_zns_desc, zslba), .say = say_hex },
	{ "wp", "Write pointer", PLACE(nvme_zns_desc, wp), .say = say_hex },
	{ "cap", "Capacity", PLACE(nvme_zns_desc, zcap), .say = say_hex },
	{ "state", "State", PLACE(nvme_zns_desc, zs), .lo = 4, .width = 4, .names = zone_states },
	{ "type", "Type", PLACE(nvme_zns_desc, zt), .width = 4, .names = zone_types },
	{ "attrs", "Attributes", PLACE(nvme_zns_desc, za), .say = say_hex },
};

static void zone_counts(struct id_out *o, const struct nvme_zone_report *r, uint64_t n)
{
	uint64_t counts[16] = { 0 };

	for (uint64_t i = 0; i < n; i++)
		counts[r->entries[i].zs >> 4]++;
	out_open(o, "states", '{');
	for (uint32_t s = 1; s < 16; s++) {
		char words[ID_WORDS];

		if (!counts[s] || !strcmp(zone_states[s], NO_STATE))
			continue;
		out_number(o, zone_states[s], counts[s]);
		snprintf(words, sizeof(words), "%lu", counts[s]);
		if (!o->json)
			id_line(o->f, "", zone_states[s], words);
	}
	out_close(o, '}');
}

static void zones(struct id_out *o, const struct id_item *item)
{
	static const struct id_list list = {
		"zone_list",   "", zone_fields, 6, .stride = sizeof(struct nvme_zns_desc),
		.count_len = 8
	};
	const struct nvme_zone_report *r = item->data;
	uint64_t room = (item->len - sizeof(*r)) / sizeof(struct nvme_zns_desc),
		 n = r->nr_zones < room ? r->nr_zones : room;

	out_number(o, "nr_zones", r->nr_zones);
	if (!o->json)
		fprintf(o->f, "  %lu zones\n", (uint64_t)r->nr_zones);
	if (!o->json)
		zone_counts(o, r, n);
	out_list(o, &list, r->entries, item->len - (uint32_t)sizeof(*r), n);
	if (o->json)
		zone_counts(o, r, n);
}
const struct id_layout id_zones_layout = { .show = zones };

/* ---- Reservations ---- */

static const char *const reservation_types[] = { "none",
						 "write exclusive",
						 "exclusive access",
						 "write exclusive, registrants only",
						 "exclusive access, registrants only",
						 "write exclusive, all registrants",
						 "exclusive access, all registrants",
						 NULL };

static void say_reservation(const struct id_context *x, uint64_t v, char *out)
{
	snprintf(out, ID_WORDS, "%lu (%s)", v, v < 7 ? reservation_types[v] : "reserved");
}

static const struct id_field resv_head[] = {
	{ "gen", "Generation", PLACE(nvme_resv_status, gen) },
	{ "rtype", "Type", PLACE(nvme_resv_status, rtype), .say = say_reservation },
	{ "regctl", "Registrants", PLACE(nvme_resv_status, regctl) },
	{ "ptpls", "Persists through power loss", PLACE(nvme_resv_status, ptpls) },
};
static const struct id_field resv_short[] = {
	{ "cntlid", "Controller", PLACE(nvme_registered_ctrl, cntlid), .say = say_hex },
	{ "rcsts", "Holds it", PLACE(nvme_registered_ctrl, rcsts) },
	{ "hostid", "Host", PLACE(nvme_registered_ctrl, hostid), .say = say_hex },
	{ "rkey", "Key", PLACE(nvme_registered_ctrl, rkey), .say = say_hex },
};
static const struct id_field resv_long[] = {
	{ "cntlid", "Controller", PLACE(nvme_registered_ctrl_ext, cntlid), .say = say_hex },
	{ "rcsts", "Holds it", PLACE(nvme_registered_ctrl_ext, rcsts) },
	{ "rkey", "Key", PLACE(nvme_registered_ctrl_ext, rkey), .say = say_hex },
	{ "hostid", "Host", PLACE(nvme_registered_ctrl_ext, hostid), ID_HEX },
};

static void reservations(struct id_out *o, const struct id_item *item)
{
	static const struct id_table head = ID_TABLE(resv_head);
	static const struct id_list shorts = { "regctls",
					       "",
					       resv_short,
					       4,
					       .stride = sizeof(struct nvme_registered_ctrl),
					       .count_len = 2 },
				    longs = { "regctlext",
					      "",
					      resv_long,
					      4,
					      .stride = sizeof(struct nvme_registered_ctrl_ext),
					      .count_len = 2 };
	const struct nvme_resv_status *s = item->data;
	uint64_t n = id_uint(s->regctl, sizeof(s->regctl));

	blank(o);
	out_table(o, &head, s, item->len);
	if (item->extended)
		out_list(o, &longs, s->regctl_eds, item->len - 64, n);
	else
		out_list(o, &shorts, s->regctl_ds, item->len - 24, n);
}
const struct id_layout id_reservations_layout = { .show = reservations };
