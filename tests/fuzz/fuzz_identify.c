/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_identify.c - any bytes as any page of plx-identify
 *
 * The first byte chooses the page, the second what belongs to it; the rest is the page, as long as
 * the least that a controller returns. It must come out as JSON that a parser takes, and as text
 * without anything that a terminal might obey.
 */
#include "identify/identify.h"
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_json(const struct id_dump *dump)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	json_t *j;

	id_print_json(f, dump, true);
	check(!fclose(f));
	/* 64 bits are more than jansson's integers have */
	j = json_loadb(text, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	check(j != NULL);
	json_decref(j);
	free(text);
}

static void check_text(const struct id_dump *dump, bool hex)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	id_print_text(f, dump, hex);
	check(!fclose(f));
	for (size_t i = 0; i < len; i++)
		check(text[i] == '\n' || !iscntrl((unsigned char)text[i]));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id_dump dump = { .name = "fuzz", .nitems = 1, .named = true };
	struct id_item item = { .nsid = 1 };
	uint32_t least;

	if (size < 2)
		return 0;
	item.what = (enum id_what)(data[0] % ID_WHATS);
	if (item.what == ID_FEATURES)
		return 0;
	item.formats = data[1] & 0x7f;
	item.extended = data[1] & 1;
	data += 2;
	size -= 2;
	least = id_whats[item.what].len ? id_whats[item.what].len : 64;
	item.len = size > least ? (uint32_t)size : least;
	/* exactly that: what is read behind it is seen */
	item.data = calloc(1, item.len);
	check(item.data != NULL);
	memcpy(item.data, data, size);
	dump.items = &item;
	check_json(&dump);
	check_text(&dump, size & 1);
	free(item.data);
	return 0;
}
