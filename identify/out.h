/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/out.h - one description of a page, printed as JSON or for people
 *
 * A page is a table of fields and lists of entries (struct id_layout); what neither describes is
 * shown by a function, with the calls below, which do nothing in the form that they are not for.
 */
#ifndef IDENTIFY_OUT_H
#define IDENTIFY_OUT_H

#include "identify/identify.h"

/* Where it goes; depth and first are those of JSON */
struct id_out {
	FILE *f;
	bool json;
	uint32_t depth;
	bool first;
	const struct id_context *x;
	const char *device; /* its name, as nvme-cli has "nvme0" */
};

/* Entries of one size, in a row; text has a line for each */
struct id_list {
	const char *json, *title;
	const struct id_field *fields;
	uint16_t n; /* fields */
	uint16_t stride; /* bytes */
	uint32_t off; /* bytes: of the first entry */
	uint16_t count_off; /* bytes: where their number stands */
	uint8_t count_len; /* bytes; 0: up to the entry whose first field is 0 */
	uint8_t bias; /* to be added to the number */
};

struct id_layout {
	struct id_table head;
	const struct id_list *lists; /* stride 0 at the end */
	void (*show)(struct id_out *o, const struct id_item *item);
};

/* ---- JSON: nothing is written for people ---- */

void out_open(struct id_out *o, const char *key, char bracket); /* key NULL: in an array */
void out_close(struct id_out *o, char bracket);
void out_key(struct id_out *o, const char *key); /* before a value that the caller writes */
void out_text(struct id_out *o, const char *key, const char *s);
void out_number(struct id_out *o, const char *key, uint64_t v);
void out_boolean(struct id_out *o, const char *key, bool v);
void out_null(struct id_out *o, const char *key);

/* ---- text: nothing is written as JSON ---- */

void out_title(struct id_out *o, const char *text); /* NULL: none */
void out_bits(struct id_out *o, const struct id_bits *b, uint64_t v);

/* ---- both ---- */

/** out_table - fields of @len bytes at @data; what lies behind them is not shown */
void out_table(struct id_out *o, const struct id_table *t, const void *data, uint32_t len);
/** out_list - @n entries at @data, as many as fit into @len bytes */
void out_list(struct id_out *o, const struct id_list *l, const void *data, uint32_t len,
	      uint64_t n);
/** out_layout - a whole page, @key as for out_open(); with its identifier as @id_key, NULL:
 *  without */
void out_layout(struct id_out *o, const char *key, const struct id_layout *l,
		const struct id_item *item, const char *id_key);

/* The layouts, by where they are described */
extern const struct id_layout id_active_layout, id_allocated_layout, id_ctrls_layout,
	id_nvm_ctrl_layout, id_nvm_ns_layout, id_zns_ctrl_layout, id_zns_ns_layout,
	id_independent_layout, id_primary_layout, id_secondary_layout, id_sets_layout,
	id_groups_layout, id_uuids_layout, id_domains_layout, id_command_sets_layout,
	id_granularity_layout;
extern const struct id_layout id_self_test_layout, id_telemetry_layout, id_endurance_layout,
	id_latency_layout, id_aggregate_layout, id_ana_layout, id_persistent_layout,
	id_lba_status_layout, id_media_layout, id_capacity_layout, id_feature_effects_layout,
	id_mi_effects_layout, id_boot_layout, id_reservation_layout, id_sanitize_layout;
extern const struct id_layout id_fdp_configs_layout, id_fdp_usage_layout, id_fdp_stats_layout,
	id_fdp_events_layout, id_fdp_status_layout, id_changed_zones_layout, id_zones_layout,
	id_reservations_layout, id_registers_layout, id_pci_layout, id_raw_layout;

#endif
