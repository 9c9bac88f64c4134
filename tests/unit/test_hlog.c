/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_hlog.c - encoding, interval logs, foreign and malformed input */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <pollux/histogram.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/*
 * Made by HdrHistogramJS 3.0.1: 1, 2, 2047, 2048, 2049, 100000 twice, 1000000, 123456789,
 * 3000000000 and 5000 + 10 * i for i from 0 to 999; lowest 1, highest 3600000000000, three digits.
 */
static const char js_ns[] =
	"HISTFAAAAE94nJNpmSzMwMD6jIGBgZGBgYGZAQIYGRiY3Qx2LGCA85mYvsszsRwUZmJgYh7Fo3iA"
	"MAMTE9MoMUqMEtQi+rVZus2YPuYxffZgAgACXxPJ";
/* The same library: 1000 + 1000 * i for i from 0 to 999; lowest 1000, highest 3600000000, two
 * digits */
static const char js_coarse[] =
	"HISTFAAAAE14nJNpmSzMwMBUysDAwMjAwMDEAAbML0DktclLGKCAkYGJWEh9hbQwk1TLiQMsRKoj"
	"XSULOmDDEKGpIAcEcHFwYLCIFyRRDxMAkdgMig==";

static struct plx_hist *decode(const char *text)
{
	return plx_hist_decode(text, strlen(text));
}

static void assert_same_counts(const struct plx_hist *a, const struct plx_hist *b)
{
	cr_assert(eq(u64, a->total, b->total));
	cr_assert(eq(int, a->digits, b->digits));
	cr_assert(eq(u64, a->highest, b->highest));
	cr_assert(eq(u32, a->max_index, b->max_index));
	for (uint32_t i = 0; i <= a->max_index; i++)
		cr_assert(a->counts[i] == b->counts[i], "counts of index %u differ", i);
}

Test(hlog, histogram_survives_encoding)
{
	for (int digits = 1; digits <= 5; digits++) {
		struct plx_hist *h = plx_hist_create(1000000000000ull, digits), *back;
		char *text;

		plx_hist_record(h, 0);
		for (uint64_t v = 1; v <= 1000000000000ull; v = v * 5 / 4 + 1)
			plx_hist_record_n(h, v, v % 7 ? v % 7 : 1ull << v % 50);
		text = plx_hist_encode(h);
		cr_assert(ne(ptr, text, NULL));
		back = decode(text);
		cr_assert(ne(ptr, back, NULL));
		assert_same_counts(back, h);
		cr_assert(eq(u64, back->min, 0));
		cr_assert(eq(u64, back->max, plx_hist_highest_at(h, plx_hist_index(h, h->max))));
		cr_assert(fabs(plx_hist_mean(back) / plx_hist_mean(h) - 1) < pow(10, -digits));
		plx_hist_destroy(h);
		plx_hist_destroy(back);
		free(text);
	}
}

Test(hlog, empty_histogram_survives_encoding)
{
	struct plx_hist *h = plx_hist_create(0, 3), *back;
	char *text = plx_hist_encode(h);

	back = decode(text);
	cr_assert(eq(u64, back->total, 0));
	cr_assert(eq(u64, back->min, UINT64_MAX));
	assert_same_counts(back, h);
	free(text);
	plx_hist_destroy(h);
	plx_hist_destroy(back);
}

Test(hlog, clamped_records_survive_as_the_highest_value)
{
	struct plx_hist *h = plx_hist_create(1000, 2), *back;
	char *text;

	plx_hist_record(h, 5);
	plx_hist_record_n(h, 1ull << 40, 3);
	text = plx_hist_encode(h);
	back = decode(text);
	cr_assert(eq(u64, back->total, 4));
	cr_assert(eq(u64, back->counts[plx_hist_index(back, 1000)], 3));
	free(text);
	plx_hist_destroy(h);
	plx_hist_destroy(back);
}

Test(hlog, counts_beyond_the_format_are_refused)
{
	struct plx_hist *h = plx_hist_create(0, 3);

	plx_hist_record_n(h, 5, 1ull << 63);
	cr_assert(eq(ptr, plx_hist_encode(h), NULL));
	cr_assert(eq(int, errno, EOVERFLOW));
	plx_hist_destroy(h);
}

Test(hlog, foreign_encoding_is_read_exactly)
{
	static const uint64_t singles[] = { 1,	    2,	    2047,    2048,	2049,
					    100000, 100000, 1000000, 123456789, 3000000000ull };
	struct plx_hist *h = decode(js_ns), *expected = plx_hist_create(3600000000000ull, 3);

	for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
		plx_hist_record(expected, singles[i]);
	for (uint64_t i = 0; i < 1000; i++)
		plx_hist_record(expected, 5000 + i * 10);
	cr_assert(ne(ptr, h, NULL));
	assert_same_counts(h, expected);
	cr_assert(eq(u64, plx_hist_percentile(h, 0.5), 5003));
	cr_assert(eq(u64, plx_hist_percentile(h, 90), 14031));
	cr_assert(eq(u64, plx_hist_percentile(h, 99.9), 123469823));
	cr_assert(eq(u64, plx_hist_percentile(h, 100), 3001024511));
	cr_assert(fabs(plx_hist_mean(h) - 3103579.5366) < 0.001);
	plx_hist_destroy(h);
	plx_hist_destroy(expected);
}

Test(hlog, foreign_unit_above_one_keeps_the_writers_percentiles)
{
	/* as HdrHistogramJS reports them for its own histogram */
	static const struct {
		double p;
		uint64_t value;
	} rows[] = { { 0.5, 5119 },  { 10, 100351 },   { 50, 501759 },	{ 90, 901119 },
		     { 99, 991231 }, { 99.9, 999423 }, { 100, 1003519 } };
	struct plx_hist *h = decode(js_coarse);

	cr_assert(ne(ptr, h, NULL));
	cr_assert(eq(u64, h->total, 1000));
	cr_assert(eq(u64, h->min, 512));
	cr_assert(eq(u64, h->max, 1003519));
	cr_assert(fabs(plx_hist_mean(h) - 500499.2) < 0.001);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_assert(eq(u64, plx_hist_percentile(h, rows[i].p), rows[i].value), "p%g",
			  rows[i].p);
	plx_hist_destroy(h);
}

/* ---- frames made by hand ---- */

static char *to_base64(const uint8_t *in, size_t len)
{
	static const char chars[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = calloc(1, len / 3 * 4 + 5);
	size_t n = 0;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			v |= in[i + 2];
		out[n++] = chars[v >> 18];
		out[n++] = chars[v >> 12 & 63];
		out[n++] = i + 1 < len ? chars[v >> 6 & 63] : '=';
		out[n++] = i + 2 < len ? chars[v & 63] : '=';
	}
	return out;
}

struct header {
	uint32_t cookie, payload_len, offset, digits;
	uint64_t lowest, highest;
	double ratio;
};

static const struct header valid = { 0x1c849313, 0, 0, 3, 1, 3600000000000ull, 1.0 };

/* Frame of @hdr (payload length filled in when 0) and @payload; base64; compressed into @len_field
 * bytes or not */
static char *frame(const struct header *hdr, const void *payload, size_t len, bool zipped)
{
	struct {
		uint32_t cookie, payload_len, offset, digits;
		uint64_t lowest, highest, ratio;
	} be = { htobe32(hdr->cookie),
		 htobe32(hdr->payload_len != 0 ? hdr->payload_len : (uint32_t)len),
		 htobe32(hdr->offset),
		 htobe32(hdr->digits),
		 htobe64(hdr->lowest),
		 htobe64(hdr->highest),
		 0 };
	uint8_t *v2 = malloc(sizeof(be) + len), *z;
	uLongf zlen = compressBound(sizeof(be) + len);
	uint32_t be_zhead[2];
	char *text;

	memcpy(&be.ratio, &hdr->ratio, sizeof(be.ratio));
	be.ratio = htobe64(be.ratio);
	memcpy(v2, &be, sizeof(be));
	memcpy(v2 + sizeof(be), payload, len);
	if (!zipped) {
		text = to_base64(v2, sizeof(be) + len);
		free(v2);
		return text;
	}
	z = malloc(sizeof(be_zhead) + zlen);
	compress(z + sizeof(be_zhead), &zlen, v2, sizeof(be) + len);
	be_zhead[0] = htobe32(0x1c849314);
	be_zhead[1] = htobe32((uint32_t)zlen);
	memcpy(z, be_zhead, sizeof(be_zhead));
	text = to_base64(z, sizeof(be_zhead) + zlen);
	free(z);
	free(v2);
	return text;
}

/* Decodes a frame of both kinds; both must come to the same. Return: errno, 0 with *@h */
static int decode_frame(const struct header *hdr, const void *payload, size_t len,
			struct plx_hist **h)
{
	int rc[2];

	for (int zipped = 0; zipped < 2; zipped++) {
		char *text = frame(hdr, payload, len, zipped);

		errno = 0;
		*h = decode(text);
		rc[zipped] = *h != NULL ? 0 : errno;
		free(text);
		if (!zipped)
			plx_hist_destroy(*h);
	}
	cr_assert(eq(int, rc[0], rc[1]));
	return rc[1];
}

Test(hlog, numbers_of_every_length_are_read)
{
	/* one zero; 3 zeros; 1; 2^62 - 1 in nine bytes; 2 */
	static const uint8_t payload[] = { 0x00, 0x05, 0x02, 0xfe, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff, 0x7f, 0x04 };
	struct plx_hist *h;

	cr_assert(eq(int, decode_frame(&valid, payload, sizeof(payload), &h), 0));
	cr_assert(eq(u64, h->counts[0], 0));
	cr_assert(eq(u64, h->counts[4], 1));
	cr_assert(eq(u64, h->counts[5], (1ull << 62) - 1));
	cr_assert(eq(u64, h->counts[6], 2));
	cr_assert(eq(u64, h->min, 4));
	cr_assert(eq(u64, h->max, 6));
	plx_hist_destroy(h);
}

Test(hlog, every_number_of_digits_is_read)
{
	static const uint8_t payload[] = { 0x01, 0x02 }; /* a zero run of 1; 1 */
	struct header hdr = valid;
	struct plx_hist *h;

	for (hdr.digits = 0; hdr.digits <= 5; hdr.digits++) {
		cr_assert(eq(int, decode_frame(&hdr, payload, sizeof(payload), &h), 0), "%u digits",
			  hdr.digits);
		cr_assert(eq(u64, plx_hist_percentile(h, 50), 1));
		cr_assert(eq(int, h->digits, hdr.digits == 0 ? 1 : (int)hdr.digits));
		plx_hist_destroy(h);
	}
	cr_assert(eq(int, decode_frame(&hdr, payload, sizeof(payload), &h), EINVAL));
}

Test(hlog, counts_above_the_nominal_range_widen_it)
{
	uint8_t payload[] = { 0xfd, 0x1f, 0x02 }; /* 2047 zeros; 1: the last of the first bucket */
	struct header hdr = valid;
	struct plx_hist *h;

	hdr.highest = 1000;
	cr_assert(eq(int, decode_frame(&hdr, payload, sizeof(payload), &h), 0));
	cr_assert(eq(u64, h->max, 2047));
	cr_assert(eq(u64, h->highest, 2047));
	cr_assert(eq(u64, h->counts[2047], 1));
	plx_hist_destroy(h);
}

Test(hlog, impossible_headers_are_refused)
{
	static const uint8_t payload[] = { 0x02 };
	struct header bad[] = {
		{ 0x1c849301, 0, 0, 3, 1, 1000, 1.0 }, /* V1 */
		{ 0x1c849313, 100, 0, 3, 1, 1000, 1.0 }, /* more payload than there is */
		{ 0x1c849313, 0, 0, 6, 1, 1000, 1.0 }, /* digits */
		{ 0x1c849313, 0, 0, UINT32_MAX, 1, 1000, 1.0 }, /* digits */
		{ 0x1c849313, 0, 0, 3, 0, 1000, 1.0 }, /* lowest */
		{ 0x1c849313, 0, 0, 3, 600, 1000, 1.0 }, /* less than a factor of two */
		{ 0x1c849313, 0, 0, 3, 1, UINT64_MAX, 1.0 }, /* negative */
		{ 0x1c849313, 0, 0, 3, 1, 0, 1.0 }, /* empty */
		{ 0x1c849313, 0, 0, 5, 1ull << 61, INT64_MAX,
		  1.0 }, /* sub-buckets beyond 63 bits */
	};
	struct plx_hist *h;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(eq(int, decode_frame(&bad[i], payload, sizeof(payload), &h), EINVAL),
			  "header %zu", i);
}

Test(hlog, the_widest_possible_range_is_read)
{
	static const uint8_t payload[] = { 0x00, 0x02 };
	struct header hdr = valid;
	struct plx_hist *h;

	hdr.digits = 5;
	hdr.highest = INT64_MAX;
	cr_assert(eq(int, decode_frame(&hdr, payload, sizeof(payload), &h), 0));
	cr_assert(eq(u64, h->max, 1));
	plx_hist_destroy(h);
}

Test(hlog, malformed_counters_are_refused)
{
	static const struct {
		uint8_t bytes[24];
		size_t len;
	} bad[] = {
		{ { 0x80 }, 1 }, /* cut short */
		{ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 8 }, /* cut short */
		{ { 0xff, 0xff, 0xff, 0xff, 0x0f, 0x02 }, 6 }, /* run beyond any index */
		{ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 },
		  10 }, /* run of 2^63 */
		{ { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 },
		  10 }, /* total beyond 63 bits */
		{ { 0xff, 0xdf, 0x06, 0x02 }, 4 }, /* run to the end, then more */
	};
	struct plx_hist *h;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(eq(int, decode_frame(&valid, bad[i].bytes, bad[i].len, &h), EINVAL),
			  "payload %zu", i);
}

Test(hlog, payloads_over_64_mib_are_refused)
{
	struct header hdr = valid;
	char *text;

	hdr.payload_len = (64u << 20) + 1;
	text = frame(&hdr, "\2", 1, true);
	errno = 0;
	cr_assert(eq(ptr, decode(text), NULL));
	cr_assert(eq(int, errno, E2BIG));
	free(text);
}

Test(hlog, announced_length_must_be_that_of_the_stream)
{
	struct header hdr = valid;

	for (uint32_t announced = 1; announced < 8; announced++) {
		char *text;
		struct plx_hist *h;

		hdr.payload_len = announced;
		text = frame(&hdr, "\2\2\2\2", 4, true);
		h = decode(text);
		cr_assert(eq(int, h != NULL, announced == 4), "%u announced, 4 there", announced);
		plx_hist_destroy(h);
		free(text);
	}
}

Test(hlog, every_truncation_of_an_encoding_is_refused)
{
	for (size_t len = 0; len < strlen(js_ns); len++)
		cr_assert(eq(ptr, plx_hist_decode(js_ns, len), NULL), "%zu characters", len);
}

Test(hlog, every_damaged_character_of_an_encoding_is_refused)
{
	char text[sizeof(js_ns)];

	/* from the zlib stream on, a checksum covers everything; before it there are cookie and
	 * length */
	for (size_t i = 0; i < strlen(js_ns); i++) {
		struct plx_hist *h;

		memcpy(text, js_ns, sizeof(text));
		text[i] = text[i] == 'B' ? 'C' : 'B';
		h = decode(text);
		if (h != NULL)
			cr_assert(eq(u64, h->total, 1010), "character %zu", i);
		plx_hist_destroy(h);
		text[i] = '*';
		cr_assert(eq(ptr, decode(text), NULL), "character %zu", i);
	}
}

Test(hlog, misplaced_padding_is_refused)
{
	static const char *const bad[] = { "====", "A===", "=AAA", "AA=A", "AAA=AAAA", "AAAA====" };
	char text[sizeof(js_ns) + 8];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert(eq(ptr, decode(bad[i]), NULL), "%s", bad[i]);
		snprintf(text, sizeof(text), "%s%s", js_ns, bad[i]);
		cr_assert(eq(ptr, decode(text), NULL), "%s", text);
	}
}

/* ---- interval log ---- */

static FILE *file_of(const char *text)
{
	return fmemopen((void *)(uintptr_t)text, strlen(text), "r");
}

Test(hlog, log_survives_writing_and_reading)
{
	struct plx_hist *h = plx_hist_create(0, 3);
	struct plx_hlog_entry e;
	char *text, err[128];
	size_t len;
	unsigned line = 0;
	FILE *f = open_memstream(&text, &len);

	plx_hist_record(h, 2769000);
	cr_assert(eq(int, plx_hlog_write_header(f, 1441812279.474, "made by a test\nin two lines"),
		     0));
	cr_assert(eq(int, plx_hlog_write(f, "read", 0.127, 1.007, h), 0));
	plx_hist_record(h, 5000000);
	cr_assert(eq(int, plx_hlog_write(f, NULL, 1.134, 0.999, h), 0));
	fclose(f);
	cr_assert(eq(ptr,
		     strstr(text, "#[made by a test]\n#[in two lines]\n"
				  "#[Histogram log format version 1.3]\n"
				  "#[BaseTime: 1441812279.474 (seconds since epoch)]\n"
				  "#[StartTime: 1441812279.474 (seconds since epoch), "
				  "Wed Sep 09 15:24:39 UTC 2015]\n"
				  "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\","
				  "\"Interval_Compressed_Histogram\"\n"
				  "Tag=read,0.127,1.007,2.769,HISTFAAA"),
		     text));

	f = file_of(text);
	cr_assert(eq(int, plx_hlog_read(f, &line, &e, err, sizeof(err)), 1));
	cr_assert(eq(str, e.tag, "read"));
	cr_assert(e.start_s == 0.127 && e.length_s == 1.007 && e.max == 2.769);
	cr_assert(eq(u64, e.hist->total, 1));
	cr_assert(eq(u32, line, 7));
	plx_hist_destroy(e.hist);
	cr_assert(eq(int, plx_hlog_read(f, &line, &e, err, sizeof(err)), 1));
	cr_assert(eq(str, e.tag, ""));
	cr_assert(e.start_s == 1.134 && e.max == 5.0);
	assert_same_counts(e.hist, h);
	plx_hist_destroy(e.hist);
	cr_assert(eq(int, plx_hlog_read(f, &line, &e, err, sizeof(err)), 0));
	cr_assert(eq(u32, line, 8));
	fclose(f);
	free(text);
	plx_hist_destroy(h);
}

Test(hlog, foreign_log_is_read)
{
	char *text, err[128];
	size_t len;
	unsigned line = 0;
	struct plx_hlog_entry e;
	int n = 0;
	FILE *f = open_memstream(&text, &len);

	/* no header; Windows line ends; blanks; a comment in between; no line end at the end */
	fprintf(f, "0.1,1,2.5,%s\r\n\r\n# a comment\n", js_ns);
	fprintf(f, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_"
		   "Histogram\"\n");
	fprintf(f, " Tag=b, 1.1, 1.000, 2.5, %s \nTag=c,1e3,1,0,\"%s\"", js_coarse, js_coarse);
	fclose(f);
	f = file_of(text);
	while (plx_hlog_read(f, &line, &e, err, sizeof(err)) == 1) {
		static const uint64_t totals[] = { 1010, 1000, 1000 };
		static const char *const tags[] = { "", "b", "c" };

		cr_assert(eq(u64, e.hist->total, totals[n]));
		cr_assert(eq(str, e.tag, (char *)tags[n]));
		plx_hist_destroy(e.hist);
		n++;
	}
	cr_assert(eq(int, n, 3));
	cr_assert(eq(u32, line, 6));
	fclose(f);
	free(text);
}

Test(hlog, malformed_lines_are_named_and_skipped)
{
	static const struct {
		const char *line, *sentence;
	} bad[] = {
		{ "hello", "line 1: start timestamp is not a number followed by a comma" },
		{ "1.0,2.0", "line 1: interval length is not a number followed by a comma" },
		{ "1.0,2.0,nan,HISTFAAA",
		  "line 1: interval maximum is not a number followed by a comma" },
		{ "inf,2.0,1,HISTFAAA",
		  "line 1: start timestamp is not a number followed by a comma" },
		{ "1,1,1,", "line 1: histogram is not base64" },
		{ "1,1,1,HISTFAA", "line 1: histogram is not base64" },
		{ "1,1,1,HISTFAAA", "line 1: not a V2 histogram" },
		{ "1,1,1,HISTFAAA extra",
		  "line 1: has more than a histogram after its last comma" },
		{ "1,1,1,HISTEwAAAAAAAAAA", "line 1: not a V2 histogram" },
		{ "Tag=no comma", "line 1: tag is too long or has blanks: at most 63 characters" },
		{ "Tag=a b,1,1,1,HISTFAAA",
		  "line 1: tag is too long or has blanks: at most 63 characters" },
		{ "Tag=0123456789012345678901234567890123456789012345678901234567890123,1,1,1,"
		  "HISTFAAA",
		  "line 1: tag is too long or has blanks: at most 63 characters" },
	};
	struct plx_hlog_entry e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *text, err[128] = "";
		size_t len;
		unsigned line = 0;
		FILE *f = open_memstream(&text, &len);

		fprintf(f, "%s\n1,1,1,%s\n", bad[i].line, js_ns);
		fclose(f);
		f = file_of(text);
		cr_assert(eq(int, plx_hlog_read(f, &line, &e, err, sizeof(err)), -EINVAL), "%s",
			  bad[i].line);
		cr_assert(eq(str, err, (char *)bad[i].sentence));
		cr_assert(eq(ptr, e.hist, NULL));
		cr_assert(eq(int, plx_hlog_read(f, &line, &e, err, sizeof(err)), 1),
			  "the line after it is read");
		plx_hist_destroy(e.hist);
		fclose(f);
		free(text);
	}
}

Test(hlog, nul_bytes_are_malformed)
{
	static const char *const bad[] = { "1,1,1@,%s\n", "1,1,1,%s@\n", "@\n", "1,1,1,%s@more\n" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct plx_hlog_entry e;
		char text[256], err[128];
		unsigned line = 0;
		int len = snprintf(text, sizeof(text), bad[i], js_ns);
		FILE *f;

		*strchr(text, '@') = '\0';
		f = fmemopen(text, (size_t)len, "r");
		cr_assert(eq(int, plx_hlog_read(f, &line, &e, err, sizeof(err)), -EINVAL), "%s",
			  bad[i]);
		fclose(f);
	}
}

Test(hlog, long_comments_are_no_problem)
{
	size_t len = 3u << 20;
	char *text = malloc(len + sizeof(js_ns) + 16), err[128];
	struct plx_hlog_entry e;
	unsigned line = 0;
	FILE *f;

	memset(text, '#', len);
	sprintf(text + len, "\n1,1,1,%s\n", js_ns);
	f = file_of(text);
	cr_assert(eq(int, plx_hlog_read(f, &line, &e, err, sizeof(err)), 1));
	plx_hist_destroy(e.hist);
	fclose(f);
	free(text);
}

Test(hlog, tags_and_times_that_would_break_a_line_are_refused)
{
	static const char *const bad[] = {
		"a,b", "a b",  "a\tb",
		"a\n", "\x01", "0123456789012345678901234567890123456789012345678901234567890123"
	};
	struct plx_hist *h = plx_hist_create(0, 3);
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(eq(int, plx_hlog_write(f, bad[i], 0, 1, h), -EINVAL), "'%s'", bad[i]);
	cr_assert(eq(int, plx_hlog_write(f, NULL, NAN, 1, h), -EINVAL));
	cr_assert(eq(int, plx_hlog_write(f, NULL, 0, INFINITY, h), -EINVAL));
	cr_assert(eq(int, plx_hlog_write_header(f, -1, NULL), -EINVAL));
	cr_assert(eq(int, plx_hlog_write_header(f, NAN, NULL), -EINVAL));
	fclose(f);
	cr_assert(eq(sz, len, 0));
	free(text);
	plx_hist_destroy(h);
}

Test(hlog, a_full_disk_is_reported)
{
	struct plx_hist *h = plx_hist_create(0, 3);
	FILE *f = fopen("/dev/full", "w");

	setvbuf(f, NULL, _IONBF, 0);
	cr_assert(eq(int, plx_hlog_write(f, NULL, 0, 1, h), -ENOSPC));
	cr_assert(eq(int, plx_hlog_write_header(f, 0, NULL), -ENOSPC));
	fclose(f);
	plx_hist_destroy(h);
}
