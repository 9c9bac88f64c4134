/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/text.c - parsing and formatting of sizes, times, numbers and option strings
 */
#include "core/text.h"

#include <pollux/env.h>

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int fail(int rc, char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(int rc, char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	if (errlen > 0) {
		va_start(ap, fmt);
		vsnprintf(err, errlen, fmt, ap);
		va_end(ap);
	}
	return rc;
}

/* A number without sign: whole part and up to 18 decimals, of which @frac_div is the power of
 * ten */
struct number {
	uint64_t whole;
	uint64_t frac;
	uint64_t frac_div;
	bool has_frac;
	const char *end;
};

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Return: 0 with n->end after the digits; -EINVAL no digits; -ERANGE */
static int parse_whole(const char *s, unsigned base, struct number *n)
{
	const char *p = s;

	n->whole = 0;
	for (; (unsigned)digit_value(*p) < base; p++)
		if (__builtin_mul_overflow(n->whole, base, &n->whole) ||
		    __builtin_add_overflow(n->whole, (uint64_t)digit_value(*p), &n->whole))
			return -ERANGE;
	n->end = p;
	return p == s ? -EINVAL : 0;
}

static int parse_number(const char *s, struct number *n)
{
	int rc;

	n->frac = 0;
	n->frac_div = 1;
	n->has_frac = false;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		return parse_whole(s + 2, 16, n);
	rc = parse_whole(s, 10, n);
	if (rc != 0 || *n->end != '.')
		return rc;
	n->has_frac = true;
	n->end++;
	if (digit_value(*n->end) > 9)
		return -EINVAL;
	for (; digit_value(*n->end) <= 9; n->end++) {
		/* further decimals are below anything that is counted here */
		if (n->frac_div >= 1000000000000000000ull)
			continue;
		n->frac = n->frac * 10 + (uint64_t)digit_value(*n->end);
		n->frac_div *= 10;
	}
	return 0;
}

static int scale_number(const struct number *n, uint64_t unit, uint64_t *out)
{
	uint64_t v;

	if (__builtin_mul_overflow(n->whole, unit, &v) ||
	    __builtin_add_overflow(v, (uint64_t)((unsigned __int128)n->frac * unit / n->frac_div),
				   &v))
		return -ERANGE;
	*out = v;
	return 0;
}

/* log2 of a size suffix ("", "B", "k", "KB", "KiB", ...), or -1 */
static int size_shift(const char *suffix)
{
	static const char letters[] = "kmgtp";
	const char *letter;

	if (*suffix == '\0' || strcasecmp(suffix, "B") == 0)
		return 0;
	letter = strchr(letters, tolower((unsigned char)*suffix));
	if (letter == NULL)
		return -1;
	suffix++;
	if (*suffix != '\0' && strcasecmp(suffix, "B") != 0 && strcasecmp(suffix, "iB") != 0)
		return -1;
	return 10 * (int)(letter - letters + 1);
}

int plx_parse_size(const char *text, uint64_t *out, char *err, size_t errlen)
{
	struct number n;
	int rc = parse_number(text, &n);
	int shift = rc == 0 ? size_shift(n.end) : -1;

	if (rc != -ERANGE && (rc != 0 || shift < 0 || (n.has_frac && shift == 0)))
		return fail(
			-EINVAL, err, errlen,
			"'%.64s' is not a size: use bytes or a suffix, as in 4096, 4k, 1M, 1.5G",
			text);
	if (rc == 0)
		rc = scale_number(&n, 1ull << shift, out);
	if (rc != 0)
		return fail(-ERANGE, err, errlen,
			    "'%.64s' is too large for a size: it must be below 2^64 bytes", text);
	return 0;
}

int plx_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out, char *err,
		  size_t errlen)
{
	struct number n;
	int rc = parse_number(text, &n);

	if (rc == -EINVAL || (rc == 0 && (n.has_frac || *n.end != '\0')))
		return fail(-EINVAL, err, errlen,
			    "'%.64s' is not a whole number: use one from %llu to %llu", text,
			    (unsigned long long)min, (unsigned long long)max);
	if (rc != 0 || n.whole < min || n.whole > max)
		return fail(-ERANGE, err, errlen,
			    "'%.64s' is out of range: use a number from %llu to %llu", text,
			    (unsigned long long)min, (unsigned long long)max);
	*out = n.whole;
	return 0;
}

/* ns in a unit of time; @bare for none; 0 for an unknown one */
static uint64_t duration_unit(const char *suffix, uint64_t bare)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "ns", 1 },
		{ "us", PLX_NS_PER_US },
		{ "ms", PLX_NS_PER_MS },
		{ "s", PLX_NS_PER_S },
		{ "m", 60 * PLX_NS_PER_S },
		{ "min", 60 * PLX_NS_PER_S },
		{ "h", 3600 * PLX_NS_PER_S },
		{ "d", 86400 * PLX_NS_PER_S },
	};

	if (*suffix == '\0')
		return bare;
	for (size_t i = 0; i < PLX_ARRAY_SIZE(units); i++)
		if (strcmp(suffix, units[i].name) == 0)
			return units[i].ns;
	return 0;
}

int plx_parse_duration_ns(const char *text, uint64_t unit_ns, uint64_t *out, char *err,
			  size_t errlen)
{
	struct number n;
	int rc = parse_number(text, &n);
	uint64_t unit = rc == 0 ? duration_unit(n.end, unit_ns) : 0;

	if (rc != -ERANGE && (rc != 0 || unit == 0))
		return fail(-EINVAL, err, errlen,
			    "'%.64s' is not a duration: use a number with ns, us, ms, s, m or h, "
			    "as in 100ms",
			    text);
	if (rc == 0)
		rc = scale_number(&n, unit, out);
	if (rc != 0)
		return fail(-ERANGE, err, errlen,
			    "'%.64s' is too long: the limit is 2^64 ns, 584 years", text);
	return 0;
}

char *plx_format_size(uint64_t bytes, char *buf, size_t len)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned u = 0;
	char num[PLX_TEXT_MAX];

	/* 1023.995 of a unit and more would print as 1024 of it */
	while (u + 1 < PLX_ARRAY_SIZE(units) &&
	       (double)bytes / (double)(1ull << 10 * u) >= 1023.995)
		u++;
	snprintf(num, sizeof(num), "%.2f", (double)bytes / (double)(1ull << 10 * u));
	for (size_t i = strlen(num); num[i - 1] == '0' || num[i - 1] == '.'; i--) {
		bool dot = num[i - 1] == '.';

		num[i - 1] = '\0';
		if (dot)
			break;
	}
	snprintf(buf, len, "%s %s", num, units[u]);
	return buf;
}

char *plx_format_ns(uint64_t ns, char *buf, size_t len)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
	unsigned u = 0;
	double v;

	if (ns < 1000) {
		snprintf(buf, len, "%u ns", (unsigned)ns);
		return buf;
	}
	/* 999.5 of a unit would print as 1000 of it */
	while (u + 1 < PLX_ARRAY_SIZE(units) && (double)ns / units[u].ns >= 999.5)
		u++;
	v = (double)ns / units[u].ns;
	snprintf(buf, len, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[u].name);
	return buf;
}

char *plx_format_count(uint64_t n, char *buf, size_t len)
{
	char text[PLX_TEXT_MAX];
	size_t at = sizeof(text) - 1, digits = 0;

	text[at] = '\0';
	do {
		if (digits > 0 && digits % 3 == 0)
			text[--at] = ',';
		text[--at] = (char)('0' + n % 10);
		n /= 10;
		digits++;
	} while (n != 0);
	snprintf(buf, len, "%s", &text[at]);
	return buf;
}

void plx_kv_start(struct plx_kv *kv, const char *text)
{
	kv->key = NULL;
	kv->value = NULL;
	kv->rest = text != NULL && *text != '\0' ? text : NULL;
}

int plx_kv_next(struct plx_kv *kv, char *err, size_t errlen)
{
	static const char key_chars[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	const char *pair = kv->rest;
	size_t len, key_len;

	if (pair == NULL)
		return 0;
	len = strcspn(pair, ",");
	if (len >= sizeof(kv->buf))
		return fail(-EINVAL, err, errlen,
			    "option '%.32s...' is too long: the limit is %zu characters", pair,
			    sizeof(kv->buf) - 1);
	memcpy(kv->buf, pair, len);
	kv->buf[len] = '\0';
	key_len = strspn(kv->buf, key_chars);
	if (key_len == 0)
		return fail(
			-EINVAL, err, errlen,
			len == 0 ? "an option is missing between or after the commas near '%.32s'"
				 : "'%.32s' is not an option: use name or name=value",
			pair);
	if (key_len < len && kv->buf[key_len] != '=')
		return fail(-EINVAL, err, errlen,
			    "'%.64s' is not an option: use name or name=value", kv->buf);
	kv->key = kv->buf;
	kv->value = key_len < len ? &kv->buf[key_len + 1] : NULL;
	kv->buf[key_len] = '\0';
	kv->rest = pair[len] == ',' ? &pair[len + 1] : NULL;
	return 1;
}

/* ---- hexadecimal, UUIDs ---- */

bool plx_parse_hex(const char *text, uint8_t *out, size_t len)
{
	if (strlen(text) != 2 * len)
		return false;
	for (size_t i = 0; i < 2 * len; i++)
		if (digit_value(text[i]) > 15)
			return false;
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(digit_value(text[2 * i]) << 4 | digit_value(text[2 * i + 1]));
	return true;
}

char *plx_format_hex(const uint8_t *bytes, size_t len, char *buf)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		buf[2 * i] = digits[bytes[i] >> 4];
		buf[2 * i + 1] = digits[bytes[i] & 15];
	}
	buf[2 * len] = '\0';
	return buf;
}

static bool uuid_dash(unsigned at)
{
	return at == 8 || at == 13 || at == 18 || at == 23;
}

bool plx_parse_uuid(const char *text, uint8_t out[16])
{
	char digits[33];
	unsigned n = 0;

	if (strlen(text) != PLX_UUID_TEXT - 1)
		return false;
	for (unsigned i = 0; i < PLX_UUID_TEXT - 1; i++) {
		if (!uuid_dash(i))
			digits[n++] = text[i];
		else if (text[i] != '-')
			return false;
	}
	digits[n] = '\0';
	return plx_parse_hex(digits, out, 16);
}

char *plx_format_uuid(const uint8_t uuid[16], char buf[PLX_UUID_TEXT])
{
	char digits[33];
	const char *d = plx_format_hex(uuid, 16, digits);

	for (unsigned i = 0; i < PLX_UUID_TEXT - 1; i++)
		buf[i] = uuid_dash(i) ? '-' : *d++;
	buf[PLX_UUID_TEXT - 1] = '\0';
	return buf;
}
