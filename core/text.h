/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/text.h - what people type and read: sizes, times, numbers, option strings
 *
 * All parsers take the whole text or nothing: blanks, signs and trailing characters are errors. On
 * an error they return -EINVAL (or -ERANGE), leave *@out alone and put a sentence into @err, such
 * as "'12x' is not a size: use bytes or a suffix, as in 4096, 4k, 1M, 1.5G". Callers put the name
 * of the option before it. @err may be NULL when @errlen is 0. No function needs the environment;
 * any thread may call them.
 */
#ifndef PLX_CORE_TEXT_H
#define PLX_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLX_NS_PER_US 1000ull
#define PLX_NS_PER_MS 1000000ull
#define PLX_NS_PER_S  1000000000ull

/** PLX_TEXT_MAX - enough for what any plx_format_*() writes */
#define PLX_TEXT_MAX 32

/**
 * plx_parse_size - "4096", "4k", "4K", "4KB", "4KiB", "1.5G", up to T and P; "B" alone is bytes
 *
 * Every suffix is a power of 1024. A fraction needs a suffix and is rounded down to bytes. 0x1000
 * works as well.
 * Return: 0; -EINVAL not a size; -ERANGE 2^64 bytes or more.
 */
int plx_parse_size(const char *text, uint64_t *out, char *err, size_t errlen);

/**
 * plx_parse_u64 - decimal, or hexadecimal with 0x, from @min to @max
 * Return: 0; -EINVAL not a whole number; -ERANGE outside of the range.
 */
int plx_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out, char *err,
		  size_t errlen);

/**
 * plx_parse_duration_ns - "100ms", "1.5s", "10us", "250ns", "2m" (or "2min"), "1h", "1d"
 * @unit_ns: what a bare number counts, in ns: PLX_NS_PER_S and so on
 *
 * Fractions are rounded down to ns.
 * Return: 0; -EINVAL not a duration; -ERANGE more than 2^64 ns.
 */
int plx_parse_duration_ns(const char *text, uint64_t unit_ns, uint64_t *out, char *err,
			  size_t errlen);

/** plx_format_size - "512 B", "4 KiB", "1.5 GiB": at most two decimals, none that are zero. Return:
 *  @buf */
char *plx_format_size(uint64_t bytes, char *buf, size_t len);
/** plx_format_ns - "850 ns", "12.3 us", "1.25 ms", "3.00 s": three significant digits. Return:
 *  @buf */
char *plx_format_ns(uint64_t ns, char *buf, size_t len);
/** plx_format_count - "1,234,567". Return: @buf */
char *plx_format_count(uint64_t n, char *buf, size_t len);

/** plx_parse_hex - exactly 2 * @len hexadecimal digits. Return: whether they are that */
bool plx_parse_hex(const char *text, uint8_t *out, size_t len);
/** plx_format_hex - 2 * @len digits and the end, lower case. Return: @buf */
char *plx_format_hex(const uint8_t *bytes, size_t len, char *buf);

#define PLX_UUID_TEXT 37 /* with the end */
/** plx_parse_uuid - "913fc008-79a7-447f-b2c4-c73543638c31" (RFC 9562 §4). Return: whether it is
 *  one; @out is left alone where not */
bool plx_parse_uuid(const char *text, uint8_t out[16]);
/** plx_format_uuid - Return: @buf */
char *plx_format_uuid(const uint8_t uuid[16], char buf[PLX_UUID_TEXT]);

/**
 * struct plx_kv - walks an option string, "size=512M,bdev=malloc,inline"; the caller's, no clean-up
 * @key: of the present pair
 * @value: of the present pair, "" for "key=", NULL for a bare "key"; valid until the next step
 * @rest: what is still to come; the iterator's own
 * @buf: holds key and value; the iterator's own
 */
struct plx_kv {
	const char *key;
	const char *value;
	const char *rest;
	char buf[512];
};

/** plx_kv_start - @text must live as long as the iteration; it is not modified. NULL is an empty
 *  string. */
void plx_kv_start(struct plx_kv *kv, const char *text);
/**
 * plx_kv_next - step to the next pair
 *
 * Pairs are separated by single commas; keys are letters, digits, '-', '_' and '.'; values are
 * anything without a comma, further '=' included. "" has no pairs.
 * Return: 1 with key and value set; 0 at the end; -EINVAL for an empty or bad key or a pair that is
 * too long.
 */
int plx_kv_next(struct plx_kv *kv, char *err, size_t errlen);

#endif
