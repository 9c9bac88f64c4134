/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/identify.h - what the files of plx-identify share
 *
 * What was asked for is read from the controller as a whole (read.c), then printed (text.c,
 * json.c), both by the same tables of fields (fields_*.c, features.c), with the words of words.c.
 */
#ifndef IDENTIFY_H
#define IDENTIFY_H

#include <pollux/nvme.h>
#include <stdio.h>

/* ---- what can be shown, in the order in which it is read and printed ---- */

enum id_what {
	ID_CTRL,
	ID_REGISTERS,
	ID_PCI,
	ID_NVM_CTRL,
	ID_ZNS_CTRL,
	ID_COMMAND_SETS,
	ID_ACTIVE,
	ID_ALLOCATED,
	ID_NS,
	ID_DESCS,
	ID_NVM_NS,
	ID_ZNS_NS,
	ID_INDEPENDENT,
	ID_GRANULARITY,
	ID_CTRLS,
	ID_ATTACHED,
	ID_PRIMARY,
	ID_SECONDARY,
	ID_SETS,
	ID_GROUPS,
	ID_DOMAINS,
	ID_UUIDS,
	ID_SUPPORTED_LOGS,
	ID_SMART,
	ID_ERROR,
	ID_FW,
	ID_CHANGED_NS,
	ID_EFFECTS,
	ID_ZNS_EFFECTS,
	ID_SELF_TEST,
	ID_TELEMETRY_HOST,
	ID_TELEMETRY_CTRL,
	ID_ENDURANCE,
	ID_LATENCY,
	ID_LATENCY_EVENTS,
	ID_ANA,
	ID_EVENTS,
	ID_LBA_STATUS,
	ID_ENDURANCE_EVENTS,
	ID_MEDIA,
	ID_CAPACITY,
	ID_FEATURE_EFFECTS,
	ID_MI_EFFECTS,
	ID_BOOT,
	ID_FDP_CONFIGS,
	ID_FDP_USAGE,
	ID_FDP_STATS,
	ID_FDP_EVENTS,
	ID_FDP_HOST_EVENTS,
	ID_RESERVATION,
	ID_SANITIZE,
	ID_CHANGED_ZONES,
	ID_ZONES,
	ID_FDP_STATUS,
	ID_RESERVATIONS,
	ID_FEATURES, /* last of all: asking for one that is not there adds to the error log */
	ID_RAW, /* a log page by its number; only by that */
	ID_WHATS,
};
_Static_assert(ID_WHATS <= 64, "a bit for each");
#define ID_BIT(what) (1ull << (what))
#define ID_ALL	     (ID_BIT(ID_RAW) - 1)

/* Whose it is: there is one of it for each */
enum id_scope {
	ID_OF_CTRL,
	ID_OF_NS,
	ID_OF_NVM, /* namespaces of that command set */
	ID_OF_ZONED,
	ID_OF_GROUP,
	ID_OF_SET,
};
struct id_scope_info {
	const char *name;
	const char *key; /* of its identifier, in JSON */
};
extern const struct id_scope_info id_scopes[];

enum id_source { ID_SPECIAL, ID_IDENTIFY, ID_LOG };

struct id_layout;
struct id_what_info {
	const char *name; /* on the command line */
	const char *key; /* nvme-cli's command; another name on the command line, and in JSON */
	const char *title;
	enum id_scope scope;
	enum id_source source;
	uint8_t number; /* CNS or LID */
	uint8_t csi, lsp;
	bool command_sets; /* only where there are several (CAP.CSS bit 6) */
	bool zoned; /* only where a namespace is */
	bool grows; /* the page says how long it is */
	bool grows_whole; /* where data are wanted behind its header (id_wanted.whole) */
	uint32_t len; /* bytes of the page, or of its header; 0: depends */
	struct {
		uint16_t off;
		uint8_t len;
		uint32_t mask;
	} has; /* any of these bits of Identify Controller; len 0: always */
	uint64_t cap; /* any of these bits of CAP; 0: always */
	const struct id_layout *layout; /* NULL: shown by hand */
};
extern const struct id_what_info id_whats[ID_WHATS];

/* ---- what was read ---- */

/* One page or, of ID_FEATURES, an array of struct id_feature_value; data is its id_dump's */
struct id_item {
	enum id_what what;
	uint32_t nsid; /* or identifier of the endurance group, NVM set; 0: the controller's */
	uint16_t status; /* of the command that read it; others than 0: no data */
	int16_t err; /* a page that cannot be: -EPROTO, -EFBIG, -EAGAIN; no data */
	bool extended; /* ID_RESERVATIONS: with host identifiers of 128 bits */
	uint8_t lid; /* ID_RAW */
	uint8_t formats; /* ID_NVM_NS, ID_ZNS_NS: LBA formats */
	void *data;
	uint32_t len; /* bytes */
};

/* Registers at their offsets (NVMe Base Specification 2.0c §3.1.3), as far as PMRMSCU */
#define ID_REGISTER_BYTES 0xe1cu

/* What is wanted */
struct id_wanted {
	uint64_t what; /* ID_BIT() of each */
	uint32_t nsid; /* 0: all active namespaces */
	/* it was asked for by name: ask the controller even where it says it has none */
	bool named;
	bool whole; /* telemetry and boot partition with their data */
	uint32_t lid, lid_len; /* ID_RAW */
	int fid; /* one feature; -1: all */
};

/* Everything about one controller; made by id_read(), freed by id_dump_free() */
struct id_dump {
	char name[264]; /* of the device, as nvme-cli has "nvme0" */
	uint64_t cap;
	bool named;
	struct nvme_id_ctrl ctrl;
	struct id_item *items;
	uint32_t nitems, room;
	struct id_feature *feature; /* one that is not in the table, by its number */
};

/**
 * id_read - read what is wanted of the controller
 * Return: 0, even where the controller refused something: see the items' status; -errno.
 */
int id_read(struct plx_nvme_ctrlr *c, const struct id_wanted *wanted, struct id_dump *dump);
void id_dump_free(struct id_dump *dump);
/** id_not_supported - a status that only says that the controller has no such thing */
bool id_not_supported(uint16_t status);
/** id_skipped - what the controller lacks is left out, unless it was asked for by name */
bool id_skipped(const struct id_dump *dump, const struct id_item *item);

/* ---- fields ---- */

/* What words need beyond the value */
struct id_context {
	uint64_t cap;
	uint32_t block; /* data bytes of a logical block; 0 unknown */
	uint8_t nsfeat; /* of the namespace */
	bool names; /* its JSON names are the specification's abbreviations: worth a column */
};

#define ID_WORDS 96
/** id_say - a value in words, at most ID_WORDS with the end */
typedef void (*id_say)(const struct id_context *x, uint64_t v, char *out);

/* Bits of a value: yes or no, a word for each value, or what @say says */
struct id_bits {
	uint8_t lo, width;
	const char *label;
	const char *const *words; /* by value, NULL at the end */
	id_say say;
	const char *json; /* its name in JSON; NULL: not there */
};

enum id_kind {
	ID_UINT, /* little-endian, 1 to 8 bytes */
	ID_UINT128,
	ID_ASCII, /* ends at a NUL, or with the field; padded with blanks */
	ID_HEX, /* bytes in their order */
	ID_UUID,
	ID_REVISION, /* of firmware, as nvme-cli has it: number (characters) */
	ID_GROUP, /* no field: a title */
};

struct id_field {
	const char *json; /* nvme-cli's name of it; NULL: not in JSON */
	const char *label; /* NULL: not in text */
	uint16_t off, len; /* bytes */
	enum id_kind kind;
	id_say say;
	const struct id_bits *bits; /* width 0 at the end */
	bool hide_zero;
	bool plain_zero; /* the bits of 0 mean nothing */
	uint8_t lo, width; /* of ID_UINT: these bits only; width 0: all */
	uint8_t only_mask, only_value; /* there only where the byte at only_off says so */
	uint16_t only_off;
	const char *const *names; /* by value, NULL at the end: what both forms say instead */
};

struct id_table {
	const struct id_field *fields;
	uint32_t n;
};
extern const struct id_table id_ctrl_table, id_ns_table, id_smart_table, id_error_table;
extern const struct id_layout id_smart_layout;
extern const struct id_bits id_cap_bits[], id_effects_bits[];

#define ID_LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define ID_BITS(...) ((const struct id_bits[]){ __VA_ARGS__, { 0 } })
#define ID_TABLE(fields)                                                                           \
	{                                                                                          \
		fields, sizeof(fields) / sizeof((fields)[0])                                       \
	}
#define ID_PLACE(type, m) offsetof(struct type, m), sizeof(((struct type *)0)->m)

uint64_t id_uint(const void *data, uint32_t len);
/** id_text128 - in decimal; @out of 40 bytes. Return: @out */
char *id_text128(const void *data, char *out);
/** id_ascii - without blanks at the end, '?' for what does not print; @out of @len + 1. Return:
 *  @out */
char *id_ascii(const void *data, uint32_t len, char *out);
/** id_hex - @out of 2 * @len + 1. Return: @out */
char *id_hex(const void *data, uint32_t len, char *out);
/** id_revision - nvme-cli's form of a firmware revision of 8 bytes; @out of 40. Return: @out */
char *id_revision(const void *data, char *out);
/** id_uuid - @out of 37. Return: @out */
char *id_uuid(const void *data, char *out);
/** id_lbaf_index, id_lbaf_count - the format in use, and how many there are, at most 64 */
uint32_t id_lbaf_index(const struct nvme_id_ns *ns);
uint32_t id_lbaf_count(const struct nvme_id_ns *ns);

/* A namespace identification descriptor, anywhere in its page: lengths may be odd */
struct id_desc {
	uint32_t loc; /* bytes from the start of the page */
	uint8_t type, len;
	const uint8_t *id;
};
/** id_next_desc - step through the descriptors of ID_DESCS. @at: 0 to start. Return: false at the
 *  end */
bool id_next_desc(const struct id_item *item, uint32_t *at, struct id_desc *d);

/* ---- names ---- */

const char *id_admin_name(uint8_t opcode);
const char *id_io_name(uint8_t opcode); /* NVM and zoned command sets */
const char *id_feature_name(uint8_t fid);

/* ---- features ---- */

#define ID_FEATURE_DATA 4096

struct id_feature {
	uint8_t fid;
	enum id_scope scope; /* of a group or set: CDW11 has its identifier */
	uint16_t data; /* bytes of its data structure */
	uint32_t cdw11;
	const char *name;
	const struct id_bits *bits; /* of its value */
	/* lines about the data structure, each printed with id_line() */
	void (*say_data)(FILE *f, const void *data);
};
extern const struct id_feature id_features[];
extern const uint32_t id_feature_count;

enum { ID_CURRENT, ID_DEFAULT, ID_SAVED, ID_SUPPORTED, ID_SELECTS };

struct id_feature_value {
	const struct id_feature *feature;
	uint32_t nsid; /* 0: the controller's */
	uint32_t cdw11;
	uint16_t status; /* of reading the current value */
	uint8_t known; /* a bit for each of ID_CURRENT and so on */
	uint32_t value[ID_SELECTS];
	uint32_t data_len;
	uint8_t data[ID_FEATURE_DATA];
};

/* ---- words ---- */

void say_hex(const struct id_context *x, uint64_t v, char *out);
void say_plus_one(const struct id_context *x, uint64_t v, char *out);
void say_bytes(const struct id_context *x, uint64_t v, char *out);
void say_bytes_if(const struct id_context *x, uint64_t v, char *out); /* 0: not reported */
void say_log2_bytes(const struct id_context *x, uint64_t v, char *out);
void say_log2_pages(const struct id_context *x, uint64_t v, char *out); /* 2^v * 4 KiB */
void say_4k(const struct id_context *x, uint64_t v, char *out);
void say_64k(const struct id_context *x, uint64_t v, char *out);
void say_mdts(const struct id_context *x, uint64_t v, char *out);
void say_doorbell_stride(const struct id_context *x, uint64_t v, char *out);
void say_kelvin(const struct id_context *x, uint64_t v, char *out);
void say_kelvin_if(const struct id_context *x, uint64_t v, char *out); /* 0: not reported */
void say_percent(const struct id_context *x, uint64_t v, char *out);
void say_us(const struct id_context *x, uint64_t v, char *out); /* 0: not reported */
void say_ms(const struct id_context *x, uint64_t v, char *out); /* 0: none */
void say_100us(const struct id_context *x, uint64_t v, char *out); /* 0: none */
void say_100ms(const struct id_context *x, uint64_t v, char *out); /* 0: none */
void say_500ms(const struct id_context *x, uint64_t v, char *out);
void say_seconds(const struct id_context *x, uint64_t v, char *out);
void say_minutes(const struct id_context *x, uint64_t v, char *out);
void say_hours(const struct id_context *x, uint64_t v, char *out);
void say_version(const struct id_context *x, uint64_t v, char *out);
void say_burst(const struct id_context *x, uint64_t v, char *out); /* 2^v commands, 7: no limit */
void say_no_limit(const struct id_context *x, uint64_t v, char *out); /* 0: no limit */
void say_none(const struct id_context *x, uint64_t v, char *out); /* 0: none */
void say_blocks(const struct id_context *x, uint64_t v, char *out);
void say_blocks_plus_one(const struct id_context *x, uint64_t v, char *out);
void say_boundary(const struct id_context *x, uint64_t v, char *out); /* blocks, 0: none */
void say_boundary_plus_one(const struct id_context *x, uint64_t v, char *out); /* 0: none */
void say_own_atomic(const struct id_context *x, uint64_t v, char *out); /* by NSFEAT bit 1 */
void say_data_units(const struct id_context *x, uint64_t v, char *out); /* of 512,000 bytes */
void say_status(const struct id_context *x, uint64_t v, char *out);
void say_type(const struct id_context *x, uint64_t v, char *out); /* of a controller */

/* ---- printing ---- */

/** id_line - one line of text: a name, what it is, its value; name "" for what belongs to the line
 *  above, NULL for a line without names */
void id_line(FILE *f, const char *name, const char *label, const char *value);
/** id_print_text - all of it for people; @hex: with a dump of each page */
void id_print_text(FILE *f, const struct id_dump *dump, bool hex);
/** id_print_json - @single: the one thing asked for, as nvme-cli prints it; else an object by
 *  nvme-cli's names of commands */
void id_print_json(FILE *f, const struct id_dump *dump, bool single);
/** id_hex_dump - as hexdump -C has it */
void id_hex_dump(FILE *f, const uint8_t *data, uint32_t len);

#endif
