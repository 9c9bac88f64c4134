/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/words.c - numbers in words and in units, bytes as text
 */
#include "identify/identify.h"
#include "core/text.h"
#include <string.h>

#define DATA_UNIT 512000ull

/* ---- bytes ---- */

uint64_t id_uint(const void *data, uint32_t len)
{
	uint64_t v = 0;

	memcpy(&v, data, len < sizeof(v) ? len : sizeof(v));
	return v;
}

char *id_text128(const void *data, char *out)
{
	unsigned __int128 v;
	char digits[40];
	uint32_t n = 0, i = 0;

	memcpy(&v, data, sizeof(v));
	do {
		digits[n++] = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v);
	while (n)
		out[i++] = digits[--n];
	out[i] = '\0';
	return out;
}

char *id_ascii(const void *data, uint32_t len, char *out)
{
	const char *s = data;
	uint32_t n = (uint32_t)strnlen(s, len);

	while (n && s[n - 1] == ' ')
		n--;
	for (uint32_t i = 0; i < n; i++)
		out[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
	out[n] = '\0';
	return out;
}

char *id_hex(const void *data, uint32_t len, char *out)
{
	const uint8_t *b = data;

	for (uint32_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", b[i]);
	out[2 * len] = '\0';
	return out;
}

char *id_revision(const void *data, char *out)
{
	const uint8_t *b = data;
	int n = sprintf(out, "%lu (", id_uint(data, 8));

	for (int i = 0; i < 8; i++)
		out[n++] = b[i] > ' ' && b[i] <= '~' ? (char)b[i] : '.';
	return strcpy(out + n, ")") - n;
}

char *id_uuid(const void *data, char *out)
{
	const uint8_t *b = data;
	char *at = out;

	for (int i = 0; i < 16; i++)
		at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
	return out;
}

/* ---- numbers ---- */

static void words(char *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void words(char *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, ID_WORDS, fmt, ap);
	va_end(ap);
}

static uint64_t times(uint64_t v, uint64_t by)
{
	uint64_t product;

	return __builtin_mul_overflow(v, by, &product) ? UINT64_MAX : product;
}

static void size_words(uint64_t v, uint64_t unit, char *out)
{
	char size[PLX_TEXT_MAX];

	words(out, "%lu (%s)", v, plx_format_size(times(v, unit), size, sizeof(size)));
}

static void time_words(uint64_t v, uint64_t unit_ns, const char *zero, char *out)
{
	char text[PLX_TEXT_MAX];

	if (v || !zero)
		words(out, "%lu (%s)", v, plx_format_ns(times(v, unit_ns), text, sizeof(text)));
	else
		words(out, "0 (%s)", zero);
}

void say_hex(const struct id_context *x, uint64_t v, char *out)
{
	words(out, "0x%lx", v);
}

void say_plus_one(const struct id_context *x, uint64_t v, char *out)
{
	words(out, "%lu (means %lu)", v, v + 1);
}

void say_bytes(const struct id_context *x, uint64_t v, char *out)
{
	size_words(v, 1, out);
}

void say_bytes_if(const struct id_context *x, uint64_t v, char *out)
{
	if (v)
		say_bytes(x, v, out);
	else
		words(out, "0 (not reported)");
}

void say_log2_bytes(const struct id_context *x, uint64_t v, char *out)
{
	char size[PLX_TEXT_MAX];

	if (v < 64)
		words(out, "%lu (%s)", v, plx_format_size(1ull << v, size, sizeof(size)));
	else
		words(out, "%lu (more than 64 bits can address)", v);
}

void say_log2_pages(const struct id_context *x, uint64_t v, char *out)
{
	char size[PLX_TEXT_MAX];

	words(out, "%lu (%s)", v, plx_format_size(4096ull << v, size, sizeof(size)));
}

static void say_units(uint64_t v, uint64_t unit, char *out)
{
	if (v)
		size_words(v, unit, out);
	else
		words(out, "0 (none)");
}

void say_4k(const struct id_context *x, uint64_t v, char *out)
{
	say_units(v, 4096, out);
}

void say_64k(const struct id_context *x, uint64_t v, char *out)
{
	say_units(v, 65536, out);
}

void say_doorbell_stride(const struct id_context *x, uint64_t v, char *out)
{
	char size[PLX_TEXT_MAX];

	words(out, "%lu (%s)", v, plx_format_size(4ull << v, size, sizeof(size)));
}

/* In units of the smallest memory page (CAP.MPSMIN) */
void say_mdts(const struct id_context *x, uint64_t v, char *out)
{
	uint64_t shift = 12 + NVME_CAP_MPSMIN(x->cap) + v;
	char size[PLX_TEXT_MAX];

	if (!v)
		words(out, "0 (no limit)");
	else if (shift < 64)
		words(out, "%lu (%s)", v, plx_format_size(1ull << shift, size, sizeof(size)));
	else
		words(out, "%lu (more than 64 bits can address)", v);
}

void say_kelvin(const struct id_context *x, uint64_t v, char *out)
{
	words(out, "%lu K (%ld °C)", v, (long)v - 273);
}

void say_kelvin_if(const struct id_context *x, uint64_t v, char *out)
{
	if (v)
		say_kelvin(x, v, out);
	else
		words(out, "0 (not reported)");
}

void say_percent(const struct id_context *x, uint64_t v, char *out)
{
	words(out, "%lu %%", v);
}

void say_us(const struct id_context *x, uint64_t v, char *out)
{
	time_words(v, PLX_NS_PER_US, "not reported", out);
}

void say_ms(const struct id_context *x, uint64_t v, char *out)
{
	time_words(v, PLX_NS_PER_MS, "none", out);
}

void say_100us(const struct id_context *x, uint64_t v, char *out)
{
	time_words(v, 100 * PLX_NS_PER_US, "none", out);
}

void say_100ms(const struct id_context *x, uint64_t v, char *out)
{
	time_words(v, 100 * PLX_NS_PER_MS, "none", out);
}

void say_500ms(const struct id_context *x, uint64_t v, char *out)
{
	time_words(v, 500 * PLX_NS_PER_MS, NULL, out);
}

void say_seconds(const struct id_context *x, uint64_t v, char *out)
{
	words(out, "%lu s", v);
}

void say_minutes(const struct id_context *x, uint64_t v, char *out)
{
	words(out, "%lu min", v);
}

void say_hours(const struct id_context *x, uint64_t v, char *out)
{
	if (v < 48)
		words(out, "%lu h", v);
	else
		words(out, "%lu h (%lu d)", v, v / 24);
}

void say_version(const struct id_context *x, uint64_t v, char *out)
{
	unsigned major = v >> 16 & 0xffff, minor = v >> 8 & 0xff, tertiary = v & 0xff;

	if (!v)
		words(out, "0 (before 1.2)");
	else if (tertiary)
		words(out, "0x%lx (%u.%u.%u)", v, major, minor, tertiary);
	else
		words(out, "0x%lx (%u.%u)", v, major, minor);
}

void say_burst(const struct id_context *x, uint64_t v, char *out)
{
	if (v == 7)
		words(out, "7 (no limit)");
	else if (v < 64)
		words(out, "%lu (%llu command%s)", v, 1ull << v, v ? "s" : "");
	else
		words(out, "%lu", v);
}

void say_no_limit(const struct id_context *x, uint64_t v, char *out)
{
	words(out, v ? "%lu" : "%lu (no limit reported)", v);
}

void say_none(const struct id_context *x, uint64_t v, char *out)
{
	words(out, v ? "%lu" : "%lu (none)", v);
}

void say_blocks(const struct id_context *x, uint64_t v, char *out)
{
	char size[PLX_TEXT_MAX];

	if (x->block)
		words(out, "%lu blocks (%s)", v,
		      plx_format_size(times(v, x->block), size, sizeof(size)));
	else
		words(out, "%lu blocks", v);
}

void say_blocks_plus_one(const struct id_context *x, uint64_t v, char *out)
{
	char size[PLX_TEXT_MAX];

	if (x->block)
		words(out, "%lu (means %lu block%s, %s)", v, v + 1, v ? "s" : "",
		      plx_format_size(times(v + 1, x->block), size, sizeof(size)));
	else
		words(out, "%lu (means %lu block%s)", v, v + 1, v ? "s" : "");
}

void say_boundary(const struct id_context *x, uint64_t v, char *out)
{
	if (v)
		say_blocks(x, v, out);
	else
		words(out, "0 (none)");
}

void say_boundary_plus_one(const struct id_context *x, uint64_t v, char *out)
{
	if (v)
		say_blocks_plus_one(x, v, out);
	else
		words(out, "0 (none)");
}

void say_own_atomic(const struct id_context *x, uint64_t v, char *out)
{
	if (x->nsfeat & NVME_NS_FEAT_NATOMIC)
		say_blocks_plus_one(x, v, out);
	else
		words(out, "%lu (the controller's holds)", v);
}

void say_data_units(const struct id_context *x, uint64_t v, char *out)
{
	size_words(v, DATA_UNIT, out);
}

void say_status(const struct id_context *x, uint64_t v, char *out)
{
	char text[96];

	words(out, "%s", plx_nvme_status_text((uint16_t)v, text, sizeof(text)));
}

void say_type(const struct id_context *x, uint64_t v, char *out)
{
	static const char *const types[] = { "not reported", "I/O controller",
					     "discovery controller", "administrative controller" };

	words(out, "%lu (%s)", v, v < PLX_ARRAY_SIZE(types) ? types[v] : "reserved");
}
