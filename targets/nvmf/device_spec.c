/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/device_spec.c - parser of the text behind --virtual,
 * "size=1G,bdev=malloc,latency=tlc"
 *
 * One table row per key. The numbers of the latency classes stand in docs/virtual.md as well.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/text.h"
#include "targets/nvmf/device_spec.h"
#include "targets/nvmf/nvmf_internal.h"

#define KEY_TEXT_MAX 512

struct say {
	const char *key, *value;
	char *err;
	size_t errlen;
};

static int refuse(const struct say *say, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(const struct say *say, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	if (say->errlen)
		snprintf(say->err, say->errlen, "%s=%s: %s", say->key, say->value, why);
	return -EINVAL;
}

/* ---- scalars ---- */

static int parse_number(const struct say *say, uint64_t min, uint64_t max, uint64_t *out)
{
	char why[200];

	return plx_parse_u64(say->value, min, max, out, why, sizeof why) ? refuse(say, "%s", why)
									 : 0;
}

static int parse_u32(const struct say *say, uint64_t min, uint64_t max, uint32_t *out)
{
	uint64_t v;
	int rc = parse_number(say, min, max, &v);

	if (!rc)
		*out = (uint32_t)v;
	return rc;
}

static int parse_bytes(const struct say *say, uint64_t *out)
{
	char why[200];

	return plx_parse_size(say->value, out, why, sizeof why) ? refuse(say, "%s", why) : 0;
}

/* Durations inside a value: without a unit they are microseconds, and then not worth guessing */
static int parse_time(const struct say *say, const char *text, uint64_t *out)
{
	char why[200];
	size_t len = strlen(text);

	if (!len || !isalpha((unsigned char)text[len - 1]))
		return refuse(say, "'%s' has no unit: use ns, us, ms or s, as in 80us", text);
	return plx_parse_duration_ns(text, PLX_NS_PER_US, out, why, sizeof why)
		       ? refuse(say, "%s", why)
		       : 0;
}

static int parse_real(const struct say *say, const char *text, double max, double *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]) && text[0] != '.')
		return refuse(say, "'%s' is not a number from 0 to %g", text, max);
	*out = strtod(text, &end);
	if (*end || end == text || !(*out >= 0 && *out <= max))
		return refuse(say, "'%s' is not a number from 0 to %g", text, max);
	return 0;
}

/* Splits @text in place at ':'. Return: number of parts, at most @max + 1 */
static unsigned split(char *text, char **part, unsigned max)
{
	unsigned n = 0;
	char *p = text;

	while (p && n <= max) {
		char *colon = strchr(p, ':');

		if (n < max)
			part[n] = p;
		n++;
		if (colon)
			*colon++ = '\0';
		p = colon;
	}
	return n;
}

static int key_size(struct device_spec *s, const struct say *say)
{
	int rc = parse_bytes(say, &s->size);

	if (!rc && (!s->size || s->size > INT64_MAX))
		return refuse(say, "use a size such as 512M or 4G");
	return rc;
}

static int key_bdev(struct device_spec *s, const struct say *say)
{
	s->null = !strcmp(say->value, "null");
	return s->null || !strcmp(say->value, "malloc") ? 0 : refuse(say, "use malloc or null");
}

static int key_block(struct device_spec *s, const struct say *say)
{
	uint64_t v;
	int rc = parse_bytes(say, &v);

	if (!rc && v != 512 && v != 4096)
		return refuse(say, "use 512 or 4096");
	s->block = (uint32_t)v;
	return rc;
}

static int key_md(struct device_spec *s, const struct say *say)
{
	int rc = parse_u32(say, 0, 64, &s->md);

	if (!rc && s->md && s->md != 8 && s->md != 16 && s->md != 64)
		return refuse(say, "use 0, 8, 16 or 64");
	return rc;
}

static int key_pi(struct device_spec *s, const struct say *say)
{
	return parse_u32(say, 0, 3, &s->pi);
}

static int key_extended(struct device_spec *s, const struct say *say)
{
	s->extended = true;
	return 0;
}

static int key_lazy(struct device_spec *s, const struct say *say)
{
	s->lazy = true;
	return 0;
}

static int key_inline(struct device_spec *s, const struct say *say)
{
	s->is_inline = true;
	return 0;
}

static int key_seed(struct device_spec *s, const struct say *say)
{
	return parse_number(say, 0, UINT64_MAX, &s->seed);
}

/* MDTS 0 would mean "no limit", so two pages are the least that can be reported */
static int key_mdts(struct device_spec *s, const struct say *say)
{
	uint64_t v;
	int rc = parse_bytes(say, &v);

	if (rc)
		return rc;
	if (v & (v - 1) || v < 2 * PLX_PAGE_SIZE || v > PLX_PAGE_SIZE << NVMF_MDTS_MAX)
		return refuse(say, "use a power of two from 8k to 1M");
	s->mdts = (uint32_t)__builtin_ctzll(v / PLX_PAGE_SIZE);
	return 0;
}

static int key_queues(struct device_spec *s, const struct say *say)
{
	return parse_u32(say, 1, NVMF_MAX_IOQ, &s->queues);
}

static int key_queue_size(struct device_spec *s, const struct say *say)
{
	return parse_u32(say, 2, 65536, &s->queue_size);
}

static int key_namespaces(struct device_spec *s, const struct say *say)
{
	return parse_u32(say, 1, NVMF_MAX_NS, &s->namespaces);
}

static int key_core(struct device_spec *s, const struct say *say)
{
	uint32_t core;
	int rc = parse_u32(say, 0, PLX_MAX_CPUS - 1, &core);

	if (!rc)
		s->core = (int)core;
	return rc;
}

static int key_vanish(struct device_spec *s, const struct say *say)
{
	int rc = parse_time(say, say->value, &s->vanish_ns);

	return !rc && !s->vanish_ns ? refuse(say, "use a time such as 2s") : rc;
}

/* ---- latency ---- */

#define US(x) ((uint64_t)((x)*1000))
#define MS(x) ((uint64_t)((x)*1000000))

/* percentile, ns; see docs/virtual.md */
static const struct latency_class {
	const char *name;
	struct latency_points {
		double percentile;
		uint64_t ns;
	} read[7], write[7];
} classes[] = {
	{ "optane",
	  { { 0, US(7) },
	    { 50, US(10) },
	    { 90, US(12) },
	    { 99, US(15) },
	    { 99.9, US(25) },
	    { 99.99, US(60) },
	    { 100, US(150) } },
	  { { 0, US(7) },
	    { 50, US(10) },
	    { 90, US(13) },
	    { 99, US(18) },
	    { 99.9, US(35) },
	    { 99.99, US(80) },
	    { 100, US(200) } } },
	{ "tlc",
	  { { 0, US(60) },
	    { 50, US(80) },
	    { 90, US(100) },
	    { 99, US(180) },
	    { 99.9, US(450) },
	    { 99.99, MS(1.2) },
	    { 100, MS(4) } },
	  { { 0, US(10) },
	    { 50, US(15) },
	    { 90, US(22) },
	    { 99, US(60) },
	    { 99.9, US(400) },
	    { 99.99, MS(2) },
	    { 100, MS(8) } } },
	{ "qlc",
	  { { 0, US(90) },
	    { 50, US(130) },
	    { 90, US(180) },
	    { 99, US(450) },
	    { 99.9, MS(1.5) },
	    { 99.99, MS(5) },
	    { 100, MS(15) } },
	  { { 0, US(15) },
	    { 50, US(25) },
	    { 90, US(45) },
	    { 99, US(400) },
	    { 99.9, MS(4) },
	    { 99.99, MS(15) },
	    { 100, MS(40) } } },
};

static void use_points(struct plx_bdev_latency *lat, const struct latency_points *p, unsigned n)
{
	lat->kind = PLX_LAT_TABLE;
	lat->points = n;
	for (unsigned i = 0; i < n; i++) {
		lat->table[i].percentile = p[i].percentile;
		lat->table[i].ns = p[i].ns;
	}
}

static bool latency_class(struct device_spec *s, const char *name)
{
	for (size_t i = 0; i < PLX_ARRAY_SIZE(classes); i++) {
		if (strcmp(classes[i].name, name))
			continue;
		use_points(&s->read, classes[i].read, PLX_ARRAY_SIZE(classes[i].read));
		use_points(&s->write, classes[i].write, PLX_ARRAY_SIZE(classes[i].write));
		return true;
	}
	return false;
}

/* Parts of "table:50=80us:99=200us" behind the first */
static int latency_table(const struct say *say, char **part, unsigned n,
			 struct plx_bdev_latency *lat)
{
	lat->kind = PLX_LAT_TABLE;
	lat->points = n;
	for (unsigned i = 0; i < n; i++) {
		char *eq = strchr(part[i], '=');
		int rc;

		if (!eq)
			return refuse(say, "'%s' is not PERCENTILE=TIME, as in 99=200us", part[i]);
		*eq = '\0';
		rc = parse_real(say, part[i], 100, &lat->table[i].percentile);
		if (!rc)
			rc = parse_time(say, eq + 1, &lat->table[i].ns);
		if (rc)
			return rc;
		if (i && (lat->table[i].percentile <= lat->table[i - 1].percentile ||
			  lat->table[i].ns < lat->table[i - 1].ns))
			return refuse(say, "percentiles and times must ascend");
	}
	return 0;
}

static int latency_shape(const struct say *say, char **part, unsigned n,
			 struct plx_bdev_latency *lat)
{
	bool table = !strcmp(part[0], "table");

	if (table && n >= 2 && n <= PLX_ARRAY_SIZE(lat->table) + 1)
		return latency_table(say, part + 1, n - 1, lat);
	if (!strcmp(part[0], "fixed") && n == 2) {
		lat->kind = PLX_LAT_FIXED;
		return parse_time(say, part[1], &lat->mean_ns);
	}
	if (!strcmp(part[0], "normal") && n == 3) {
		lat->kind = PLX_LAT_NORMAL;
		return parse_time(say, part[1], &lat->mean_ns) ||
				       parse_time(say, part[2], &lat->sigma_ns)
			       ? -EINVAL
			       : 0;
	}
	if (!strcmp(part[0], "lognormal") && n == 3) {
		lat->kind = PLX_LAT_LOGNORMAL;
		return parse_time(say, part[1], &lat->mean_ns) ||
				       parse_real(say, part[2], 10, &lat->sigma)
			       ? -EINVAL
			       : 0;
	}
	if (table)
		return refuse(say, "give 1 to %zu points, as in table:50=80us:99=200us",
			      PLX_ARRAY_SIZE(lat->table));
	return refuse(say, "use none, optane, tlc, qlc, fixed:10us, normal:80us:5us, "
			   "lognormal:80us:0.3 or table:50=80us:99=200us");
}

static int key_latency(struct device_spec *s, const struct say *say)
{
	char text[KEY_TEXT_MAX], *part[PLX_ARRAY_SIZE(s->read.table) + 1];
	struct plx_bdev_latency lat = s->read;
	unsigned n;
	int rc;

	if (!strcmp(say->value, "none"))
		return 0;
	s->delayed = true;
	if (latency_class(s, say->value))
		return 0;
	snprintf(text, sizeof text, "%s", say->value);
	n = split(text, part, PLX_ARRAY_SIZE(part));
	rc = latency_shape(say, part, n, &lat);
	if (rc)
		return rc;
	/* a stall given before stays */
	s->read = s->write = lat;
	return 0;
}

static int key_stall(struct device_spec *s, const struct say *say)
{
	char text[KEY_TEXT_MAX], *part[2];
	double chance;
	uint64_t ns;

	snprintf(text, sizeof text, "%s", say->value);
	if (split(text, part, 2) != 2)
		return refuse(say, "use CHANCE:TIME, as in 0.0001:5ms");
	if (parse_real(say, part[0], 1, &chance) || parse_time(say, part[1], &ns))
		return -EINVAL;
	s->read.stall_chance = s->write.stall_chance = chance;
	s->read.stall_ns = s->write.stall_ns = ns;
	s->delayed = true;
	return 0;
}

/* ---- errors ---- */

static const char *const kinds[] = {
	[PLX_BDEV_ERR_FAIL] = "fail",
	[PLX_BDEV_ERR_CORRUPT] = "corrupt",
	[PLX_BDEV_ERR_HANG] = "hang",
	[PLX_BDEV_ERR_HANG_HARD] = "hang-hard",
};

static int error_kind(const struct say *say, const char *text, struct plx_bdev_error_rule *r)
{
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i], text)) {
			r->kind = (enum plx_bdev_error_kind)i;
			return 0;
		}
	}
	return refuse(say, "'%s' is no kind of error: use fail, corrupt, hang or hang-hard", text);
}

/* A failing medium says so; what fails otherwise is an internal error */
static uint16_t fail_status(int type)
{
	return type == PLX_BDEV_READ	? PLX_BDEV_ST_READ_ERROR
	       : type == PLX_BDEV_WRITE ? PLX_BDEV_ST_WRITE_FAULT
					: 0;
}

static int error_types(const struct say *say, const char *text, struct plx_bdev_error_rule *r)
{
	bool corrupt = r->kind == PLX_BDEV_ERR_CORRUPT;
	int type = plx_bdev_io_type_parse(text);

	if (!strcmp(text, "all")) {
		r->types = corrupt ? 1u << PLX_BDEV_READ | 1u << PLX_BDEV_WRITE
				   : (1u << PLX_BDEV_RESET) - 1;
		return 0;
	}
	if (type < 0 || type >= PLX_BDEV_RESET)
		return refuse(say,
			      "'%s' is no type of I/O: use read, write, flush, unmap or another "
			      "name of docs/virtual.md, or all",
			      text);
	if (corrupt && type != PLX_BDEV_READ && type != PLX_BDEV_WRITE)
		return refuse(say, "only the data of a read or write can be corrupted");
	r->types = 1u << type;
	r->status = r->kind == PLX_BDEV_ERR_FAIL ? fail_status(type) : 0;
	return 0;
}

static int error_which(const struct say *say, const char *text, struct plx_bdev_error_rule *r)
{
	char why[200];
	int rc;

	if (text[0] == '#') {
		if (plx_parse_u64(text + 1, 1, UINT64_MAX, &r->nth, why, sizeof why))
			return refuse(say, "%s", why);
		return 0;
	}
	rc = parse_real(say, text, 1, &r->share);
	return !rc && r->share == 0
		       ? refuse(say, "a share of 0 hits nothing: use one such as 0.001, or #1000")
		       : rc;
}

static int key_error(struct device_spec *s, const struct say *say)
{
	struct plx_bdev_error_rule *r = &s->rules[s->nrules];
	char text[KEY_TEXT_MAX], why[200], *part[4];
	unsigned n;

	if (s->nrules == SPEC_MAX_RULES)
		return refuse(say, "there can be %u rules at most", SPEC_MAX_RULES);
	snprintf(text, sizeof text, "%s", say->value);
	n = split(text, part, 4);
	if (n < 3 || n > 4)
		return refuse(say, "use KIND:TYPE:SHARE or KIND:TYPE:#N, and :COUNT for a limit, "
				   "as in corrupt:read:0.001");
	if (error_kind(say, part[0], r) || error_types(say, part[1], r) ||
	    error_which(say, part[2], r))
		return -EINVAL;
	if (n == 4 && plx_parse_u64(part[3], 1, UINT64_MAX, &r->count, why, sizeof why))
		return refuse(say, "%s", why);
	s->nrules++;
	return 0;
}

/* ---- the table of keys ---- */

enum key_form { KEY_VALUE, KEY_BARE, KEY_REPEATED };

static const struct spec_key {
	const char *name;
	int (*parse)(struct device_spec *s, const struct say *say);
	enum key_form form;
} keys[] = {
	{ "size", key_size, KEY_VALUE },
	{ "bdev", key_bdev, KEY_VALUE },
	{ "block", key_block, KEY_VALUE },
	{ "md", key_md, KEY_VALUE },
	{ "pi", key_pi, KEY_VALUE },
	{ "extended", key_extended, KEY_BARE },
	{ "lazy", key_lazy, KEY_BARE },
	{ "latency", key_latency, KEY_VALUE },
	{ "stall", key_stall, KEY_VALUE },
	{ "seed", key_seed, KEY_VALUE },
	{ "error", key_error, KEY_REPEATED },
	{ "mdts", key_mdts, KEY_VALUE },
	{ "queues", key_queues, KEY_VALUE },
	{ "queue_size", key_queue_size, KEY_VALUE },
	{ "namespaces", key_namespaces, KEY_VALUE },
	{ "inline", key_inline, KEY_BARE },
	{ "core", key_core, KEY_VALUE },
	{ "vanish", key_vanish, KEY_VALUE },
};
_Static_assert(PLX_ARRAY_SIZE(keys) <= 32, "one bit each in device_spec.seen");

const char *plx_nvmf_spec_help(void)
{
	return "  size=SIZE           bytes of each namespace (512M)\n"
	       "  bdev=malloc|null    memory, or nothing at all behind it (malloc)\n"
	       "  block=512|4096      bytes of a logical block (512)\n"
	       "  md=0|8|16|64        bytes of metadata of a block (0)\n"
	       "  pi=0..3             type of protection information, in the last 8 bytes of the "
	       "metadata (0)\n"
	       "  extended            metadata follows the data of each block; else it has a "
	       "buffer of its own\n"
	       "  lazy                malloc takes memory at first use, not from the start\n"
	       "  latency=WHAT        none, optane, tlc, qlc, fixed:10us, normal:80us:5us "
	       "(deviation),\n"
	       "                      lognormal:80us:0.3 (median, shape), table:50=80us:99=200us "
	       "(none)\n"
	       "  stall=CHANCE:TIME   now and then an I/O takes that much longer, as in "
	       "0.0001:5ms\n"
	       "  seed=N              start of the random numbers behind latency, stall and error "
	       "(1)\n"
	       "  error=KIND:TYPE:SHARE[:COUNT]   KIND fail, corrupt, hang or hang-hard; TYPE "
	       "read, write, ... or all;\n"
	       "                      SHARE such as 0.001, or #1000 for the 1000th; at most COUNT; "
	       "repeatable\n"
	       "  mdts=SIZE           largest transfer of one command, 8k to 1M (128k)\n"
	       "  queues=N            I/O queue pairs, 1 to 128 (128)\n"
	       "  queue_size=N        entries of a queue at most, 2 to 65536 (1024)\n"
	       "  namespaces=N        namespaces, each of SIZE bytes (1)\n"
	       "  inline              the controller runs in the same thread as the I/O\n"
	       "  core=N              the core that the controller runs on\n"
	       "  vanish=TIME         after that time the controller is gone, as if pulled out\n";
}

static int parse_key(struct device_spec *s, const struct plx_kv *kv, char *err, size_t errlen)
{
	struct say say = {
		.key = kv->key, .value = kv->value ? kv->value : "", .err = err, .errlen = errlen
	};
	size_t i = 0;

	while (i < PLX_ARRAY_SIZE(keys) && strcmp(keys[i].name, kv->key))
		i++;
	if (i == PLX_ARRAY_SIZE(keys)) {
		int n = snprintf(err, errlen, "%s%s%s: there is no such key: use one of", kv->key,
				 kv->value ? "=" : "", say.value);

		for (i = 0; i < PLX_ARRAY_SIZE(keys) && n > 0 && (size_t)n < errlen; i++)
			n += snprintf(err + n, errlen - (size_t)n, " %s", keys[i].name);
		return -EINVAL;
	}
	if (keys[i].form == KEY_BARE && kv->value)
		return refuse(&say, "takes no value: write '%s' alone", kv->key);
	if (keys[i].form != KEY_BARE && (!kv->value || !kv->value[0])) {
		snprintf(err, errlen, "%s: needs a value: write %s=VALUE", kv->key, kv->key);
		return -EINVAL;
	}
	if (keys[i].form != KEY_REPEATED && s->seen >> i & 1) {
		snprintf(err, errlen, "%s%s%s: is given twice: keep one", kv->key,
			 kv->value ? "=" : "", say.value);
		return -EINVAL;
	}
	s->seen |= 1u << i;
	return keys[i].parse(s, &say);
}

/* What is right by itself and wrong together */
static int check_together(const struct device_spec *s, char *err, size_t errlen)
{
	if (s->pi && !s->md)
		snprintf(err, errlen, "pi=%u: protection information lives in metadata: add md=8",
			 s->pi);
	else if (s->extended && !s->md)
		snprintf(err, errlen,
			 "extended: there is no metadata to put behind the data: add md=8, or "
			 "leave it out");
	else if (s->size % s->block)
		snprintf(err, errlen,
			 "size=%lu: is no multiple of the block of %u bytes: use one that is",
			 (unsigned long)s->size, s->block);
	else if (s->is_inline && s->core >= 0)
		snprintf(err, errlen,
			 "core=%d: an inline controller runs where its user runs: leave out core "
			 "or inline",
			 s->core);
	else
		return 0;
	return -EINVAL;
}

int device_spec_parse(const char *text, struct device_spec *s, char *err, size_t errlen)
{
	char nothing[1];
	struct plx_kv kv;
	int rc;

	if (!errlen) {
		err = nothing;
		errlen = sizeof nothing;
	}
	*s = (struct device_spec){ .size = 512ull << 20,
				   .block = 512,
				   .seed = 1,
				   .mdts = 5,
				   .namespaces = 1,
				   .core = -1 };
	plx_kv_start(&kv, text);
	while ((rc = plx_kv_next(&kv, err, errlen)) > 0) {
		rc = parse_key(s, &kv, err, errlen);
		if (rc)
			return rc;
	}
	return rc ? rc : check_together(s, err, errlen);
}
