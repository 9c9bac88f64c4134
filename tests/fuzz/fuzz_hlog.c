/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_hlog.c - interval logs and encoded histograms from anywhere
 *
 * The first byte picks the door: a whole log; a V2 frame in base64; the same, compressed first. The
 * last two get past base64 and zlib, which a fuzzer does not find the way through by itself.
 */
#include <pollux/histogram.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

/* What was accepted must be usable, and the same after another round */
static void use(struct plx_hist *h)
{
	struct plx_hist *other, *back;
	uint64_t last = 0;
	char *text;

	/* walking millions of counters takes all the time and shows nothing that fewer do not */
	if (h->max_index > 1u << 19) {
		plx_hist_destroy(h);
		return;
	}
	other = plx_hist_create(0, 3);
	for (double p = 0; p <= 100; p += 25) {
		uint64_t v = plx_hist_percentile(h, p);

		check(v >= last && v <= h->max);
		last = v;
	}
	check(plx_hist_stddev(h) >= 0 && plx_hist_mean(h) >= 0);
	text = plx_hist_encode(h);
	check(text != NULL);
	back = plx_hist_decode(text, strlen(text));
	check(back != NULL && back->total == h->total && back->max_index == h->max_index);
	if (plx_hist_merge(other, h) == 0)
		check(plx_hist_subtract(other, h) == 0 && other->total == 0);
	check(plx_hist_subtract(back, h) == 0 && back->total == 0);
	free(text);
	plx_hist_destroy(back);
	plx_hist_destroy(other);
	plx_hist_destroy(h);
}

static void fuzz_log(const uint8_t *data, size_t size)
{
	struct plx_hlog_entry e;
	unsigned line = 0, before;
	char err[64];
	FILE *f = fmemopen((void *)(uintptr_t)data, size, "r");
	int rc;

	if (f == NULL)
		return;
	do {
		before = line;
		rc = plx_hlog_read(f, &line, &e, err, sizeof(err));
		check(rc == 0 || line > before);
		if (rc == 1)
			use(e.hist);
	} while (rc != 0);
	fclose(f);
}

static void fuzz_frame(const uint8_t *frame, size_t size)
{
	static const char chars[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc(size / 3 * 4 + 4), *p = text;
	struct plx_hist *h;

	for (size_t i = 0; i < size; i += 3) {
		uint32_t v = (uint32_t)frame[i] << 16;

		v |= i + 1 < size ? (uint32_t)frame[i + 1] << 8 : 0;
		v |= i + 2 < size ? frame[i + 2] : 0;
		*p++ = chars[v >> 18];
		*p++ = chars[v >> 12 & 63];
		*p++ = i + 1 < size ? chars[v >> 6 & 63] : '=';
		*p++ = i + 2 < size ? chars[v & 63] : '=';
	}
	h = plx_hist_decode(text, (size_t)(p - text));
	if (h != NULL)
		use(h);
	free(text);
}

static void fuzz_compressed(const uint8_t *v2, size_t size)
{
	uLongf zlen = compressBound(size);
	uint8_t *frame = malloc(8 + zlen);

	check(compress2(frame + 8, &zlen, v2, size, 1) == Z_OK);
	memcpy(frame, "\x1c\x84\x93\x14", 4);
	for (int i = 0; i < 4; i++)
		frame[4 + i] = (uint8_t)(zlen >> (24 - 8 * i));
	fuzz_frame(frame, 8 + zlen);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] == 'c')
		fuzz_compressed(data + 1, size - 1);
	else if (data[0] == 'f')
		fuzz_frame(data + 1, size - 1);
	else
		fuzz_log(data + 1, size - 1);
	return 0;
}
