/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_text.c - sizes, times, numbers and option strings */
#include "core/text.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char err[256];

Test(text, sizes_are_read_in_all_their_forms)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "4096B", 4096 },
		{ "4k", 4 * KIB },
		{ "4K", 4 * KIB },
		{ "4KB", 4 * KIB },
		{ "4KiB", 4 * KIB },
		{ "4kib", 4 * KIB },
		{ "1M", MIB },
		{ "1MiB", MIB },
		{ "1.5G", 3 * GIB / 2 },
		{ "1.5GiB", 3 * GIB / 2 },
		{ "0.5k", 512 },
		{ "2T", 2 * TIB },
		{ "1P", 1024 * TIB },
		{ "0x1000", 4096 },
		{ "0.1k", 102 },
		{ "0.000000000000000000000000001k", 0 },
		{ "18446744073709551615", UINT64_MAX },
		{ "16383P", 16383 * 1024 * TIB },
	};

	for (size_t i = 0; i < COUNT(good); i++) {
		uint64_t v = 77;

		cr_assert(eq(int, plx_parse_size(good[i].text, &v, err, sizeof(err)), 0), "%s",
			  good[i].text);
		cr_assert(eq(u64, v, good[i].bytes), "%s", good[i].text);
	}
}

Test(text, junk_is_not_a_size)
{
	static const char *const bad[] = { "",	    " ",   "k",	  "-1",	  "+1",	  "4 k", "4k ",
					   "4kk",   "4x",  "1.5", "1.5B", "1.k",  ".5k", "1..5k",
					   "1.5.k", "4Kx", "4i",  "4BiB", "1e3k", "0x",	 "0xg",
					   "nan",   "inf", "4k,", "\t4" };

	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t v = 77;

		err[0] = '\0';
		cr_assert(eq(int, plx_parse_size(bad[i], &v, err, sizeof(err)), -EINVAL), "'%s'",
			  bad[i]);
		cr_assert(eq(u64, v, 77));
		cr_assert(strstr(err, "is not a size") != NULL && strstr(err, bad[i]) != NULL, "%s",
			  err);
	}
}

Test(text, sizes_of_64_bits_and_more_are_out_of_range)
{
	static const char *const bad[] = { "18446744073709551616", "16384P",
					   "18446744073709551615k", "99999999999999999999999",
					   "0x10000000000000000" };

	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t v = 77;

		cr_assert(eq(int, plx_parse_size(bad[i], &v, err, sizeof(err)), -ERANGE), "'%s'",
			  bad[i]);
		cr_assert(eq(u64, v, 77));
		cr_assert(strstr(err, "too large") != NULL, "%s", err);
	}
}

Test(text, numbers_keep_to_their_range)
{
	uint64_t v = 77;

	cr_assert(all(eq(int, plx_parse_u64("128", 1, 65536, &v, err, sizeof(err)), 0),
		      eq(u64, v, 128)));
	cr_assert(all(eq(int, plx_parse_u64("0xff", 0, 255, &v, err, sizeof(err)), 0),
		      eq(u64, v, 255)));
	cr_assert(eq(int,
		     plx_parse_u64("18446744073709551615", 0, UINT64_MAX, &v, err, sizeof(err)),
		     0));
	cr_assert(eq(u64, v, UINT64_MAX));
	v = 77;
	cr_assert(eq(int, plx_parse_u64("0", 1, 65536, &v, err, sizeof(err)), -ERANGE));
	cr_assert(eq(str, err, "'0' is out of range: use a number from 1 to 65536"));
	cr_assert(eq(int, plx_parse_u64("65537", 1, 65536, &v, err, sizeof(err)), -ERANGE));
	cr_assert(eq(int,
		     plx_parse_u64("18446744073709551616", 0, UINT64_MAX, &v, err, sizeof(err)),
		     -ERANGE));
	cr_assert(eq(int, plx_parse_u64("12x", 1, 65536, &v, err, sizeof(err)), -EINVAL));
	cr_assert(eq(str, err, "'12x' is not a whole number: use one from 1 to 65536"));
	cr_assert(eq(int, plx_parse_u64("1.5", 1, 65536, &v, NULL, 0), -EINVAL));
	cr_assert(eq(int, plx_parse_u64("", 1, 65536, &v, NULL, 0), -EINVAL));
	cr_assert(eq(int, plx_parse_u64("-1", 0, UINT64_MAX, &v, NULL, 0), -EINVAL));
	cr_assert(eq(int, plx_parse_u64(" 1", 0, UINT64_MAX, &v, NULL, 0), -EINVAL));
	cr_assert(eq(u64, v, 77));
}

Test(text, durations_are_read_with_units_or_the_default_one)
{
	static const struct {
		const char *text;
		uint64_t unit, ns;
	} good[] = {
		{ "100ms", PLX_NS_PER_S, 100 * PLX_NS_PER_MS },
		{ "5s", PLX_NS_PER_MS, 5 * PLX_NS_PER_S },
		{ "10us", PLX_NS_PER_S, 10000 },
		{ "250ns", PLX_NS_PER_S, 250 },
		{ "2m", PLX_NS_PER_S, 120 * PLX_NS_PER_S },
		{ "2min", PLX_NS_PER_S, 120 * PLX_NS_PER_S },
		{ "1h", PLX_NS_PER_S, 3600 * PLX_NS_PER_S },
		{ "1d", PLX_NS_PER_S, 86400 * PLX_NS_PER_S },
		{ "1.5", PLX_NS_PER_S, 1500 * PLX_NS_PER_MS },
		{ "30", PLX_NS_PER_S, 30 * PLX_NS_PER_S },
		{ "30", PLX_NS_PER_US, 30000 },
		{ "0.0000015s", PLX_NS_PER_S, 1500 },
		{ "0", PLX_NS_PER_S, 0 },
	};
	static const char *const bad[] = {
		"", "s", "5 s", "5S", "5sec", "-5s", "1.s", "5msx", "ms"
	};
	uint64_t v;

	for (size_t i = 0; i < COUNT(good); i++) {
		cr_assert(eq(int,
			     plx_parse_duration_ns(good[i].text, good[i].unit, &v, err,
						   sizeof(err)),
			     0),
			  "%s", good[i].text);
		cr_assert(eq(u64, v, good[i].ns), "%s", good[i].text);
	}
	v = 77;
	for (size_t i = 0; i < COUNT(bad); i++) {
		cr_assert(eq(int, plx_parse_duration_ns(bad[i], PLX_NS_PER_S, &v, err, sizeof(err)),
			     -EINVAL),
			  "'%s'", bad[i]);
		cr_assert(strstr(err, "is not a duration") != NULL, "%s", err);
	}
	cr_assert(eq(int, plx_parse_duration_ns("300000d", PLX_NS_PER_S, &v, err, sizeof(err)),
		     -ERANGE));
	cr_assert(eq(u64, v, 77));
}

Test(text, sizes_are_written_for_people)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 B" },
		{ 512, "512 B" },
		{ 100, "100 B" },
		{ 1023, "1023 B" },
		{ 4096, "4 KiB" },
		{ 1536, "1.5 KiB" },
		{ 20 * KIB, "20 KiB" },
		{ MIB - 1, "1 MiB" },
		{ 100 * MIB, "100 MiB" },
		{ 3 * GIB / 2, "1.5 GiB" },
		{ 2 * TIB + TIB / 100, "2.01 TiB" },
		{ UINT64_MAX, "16 EiB" },
	};
	char buf[PLX_TEXT_MAX];

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_assert(eq(str, plx_format_size(rows[i].bytes, buf, sizeof(buf)),
			     (char *)rows[i].text));
}

Test(text, times_are_written_with_three_significant_digits)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} rows[] = {
		{ 0, "0 ns" },
		{ 850, "850 ns" },
		{ 999, "999 ns" },
		{ 1000, "1.00 us" },
		{ 9994, "9.99 us" },
		{ 9996, "10.0 us" },
		{ 12345, "12.3 us" },
		{ 99960, "100 us" },
		{ 123456, "123 us" },
		{ 999499, "999 us" },
		{ 999501, "1.00 ms" },
		{ 1250000, "1.25 ms" },
		{ 3000000000ull, "3.00 s" },
		{ 3600000000000ull, "3600 s" },
	};
	char buf[PLX_TEXT_MAX];

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_assert(
			eq(str, plx_format_ns(rows[i].ns, buf, sizeof(buf)), (char *)rows[i].text));
}

Test(text, counts_are_grouped_by_thousands)
{
	static const struct {
		uint64_t n;
		const char *text;
	} rows[] = {
		{ 0, "0" },
		{ 7, "7" },
		{ 999, "999" },
		{ 1000, "1,000" },
		{ 999999, "999,999" },
		{ 1234567, "1,234,567" },
		{ UINT64_MAX, "18,446,744,073,709,551,615" },
	};
	char buf[PLX_TEXT_MAX];

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_assert(eq(str, plx_format_count(rows[i].n, buf, sizeof(buf)),
			     (char *)rows[i].text));
}

Test(text, formats_keep_to_a_short_buffer)
{
	char buf[4] = "abc";

	cr_assert(eq(str, plx_format_count(1234567, buf, 3), "1,"));
	cr_assert(eq(str, plx_format_ns(12345, buf, 3), "12"));
	cr_assert(eq(str, plx_format_size(512, buf, 3), "51"));
	cr_assert(eq(chr, buf[3], '\0'));
}

Test(text, options_are_walked_in_order_without_changing_them)
{
	static const char text[] = "size=512M,bdev=malloc,inline,url=a=b,empty=,last.one";
	static const struct {
		const char *key, *value;
	} expected[] = { { "size", "512M" }, { "bdev", "malloc" }, { "inline", NULL },
			 { "url", "a=b" },   { "empty", "" },	   { "last.one", NULL } };
	struct plx_kv kv;

	plx_kv_start(&kv, text);
	for (size_t i = 0; i < COUNT(expected); i++) {
		cr_assert(eq(int, plx_kv_next(&kv, err, sizeof(err)), 1));
		cr_assert(eq(str, (char *)kv.key, (char *)expected[i].key));
		if (expected[i].value == NULL)
			cr_assert(eq(ptr, (void *)kv.value, NULL));
		else
			cr_assert(eq(str, (char *)kv.value, (char *)expected[i].value));
	}
	cr_assert(eq(int, plx_kv_next(&kv, err, sizeof(err)), 0));
	cr_assert(eq(int, plx_kv_next(&kv, err, sizeof(err)), 0));
}

Test(text, no_options_are_no_error)
{
	struct plx_kv kv;

	plx_kv_start(&kv, "");
	cr_assert(eq(int, plx_kv_next(&kv, err, sizeof(err)), 0));
	plx_kv_start(&kv, NULL);
	cr_assert(eq(int, plx_kv_next(&kv, err, sizeof(err)), 0));
}

Test(text, malformed_options_are_named)
{
	static const char *const bad[] = { ",",	    "a=1,", "a=1,,b=2", "=5",	   "a=1,=5",
					   "a b=1", "[x]",  " a=1",	"a=1, b=2" };
	char *much = calloc(1, 4096);
	struct plx_kv kv;

	for (size_t i = 0; i < COUNT(bad); i++) {
		int rc;

		err[0] = '\0';
		plx_kv_start(&kv, bad[i]);
		while ((rc = plx_kv_next(&kv, err, sizeof(err))) > 0)
			;
		cr_assert(eq(int, rc, -EINVAL), "'%s'", bad[i]);
		cr_assert(ne(chr, err[0], '\0'));
	}
	memset(much, 'a', 4095);
	plx_kv_start(&kv, much);
	cr_assert(eq(int, plx_kv_next(&kv, err, sizeof(err)), -EINVAL));
	cr_assert(strstr(err, "too long") != NULL, "%s", err);
	free(much);
}

Test(text, uuids_and_hexadecimal_are_read_and_written)
{
	static const char text[] = "913fc008-79a7-447f-b2c4-c73543638c31";
	static const char *const bad[] = { "",
					   "913fc008-79a7-447f-b2c4-c73543638c3",
					   "913fc008-79a7-447f-b2c4-c73543638c311",
					   "913fc00879a7-447f-b2c4-c73543638c311-",
					   "913fc008-79a7-447f-b2c4-c73543638c3g",
					   "913fc008079a7-447f-b2c4-c73543638c31" };
	char back[PLX_UUID_TEXT];
	uint8_t uuid[16] = { 0 }, four[4] = { 0 };

	cr_assert(plx_parse_uuid(text, uuid));
	cr_assert_eq(uuid[0], 0x91);
	cr_assert_eq(uuid[15], 0x31);
	cr_assert_str_eq(plx_format_uuid(uuid, back), text);
	cr_assert(plx_parse_uuid("913FC008-79A7-447F-B2C4-C73543638C31", uuid));
	cr_assert_str_eq(plx_format_uuid(uuid, back), text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(plx_parse_uuid(bad[i], uuid), "%s", bad[i]);
	cr_assert_str_eq(plx_format_uuid(uuid, back), text);

	cr_assert(plx_parse_hex("00aBff10", four, 4));
	cr_assert_str_eq(plx_format_hex(four, 4, back), "00abff10");
	cr_assert_not(plx_parse_hex("00aBff1", four, 4));
	cr_assert_not(plx_parse_hex("00aBff1 ", four, 4));
}
