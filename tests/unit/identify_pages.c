/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/identify_pages.c - prints a page from a file as plx-identify prints one from a
 * controller
 *
 * identify_pages WHAT json|text FILE; test_identify.py compares the JSON with nvme-cli's for the
 * same page.
 */
#include "identify/identify.h"
#include <stdlib.h>
#include <string.h>

static enum id_what what_of(const char *name)
{
	int w = 0;

	while (w < ID_WHATS && strcmp(name, id_whats[w].name))
		w++;
	return (enum id_what)w;
}

static void *load(const char *path, uint32_t least, uint32_t *len)
{
	FILE *f = fopen(path, "r");
	uint8_t *data = calloc(1, 65536);

	*len = f && data ? (uint32_t)fread(data, 1, 65536, f) : 0;
	if (f)
		fclose(f);
	/* exactly as long as the page, so that a sanitizer sees what is read behind it */
	return *len >= least && *len ? realloc(data, *len) : NULL;
}

int main(int argc, char **argv)
{
	struct id_dump dump = { .name = "nvme0", .nitems = 1 };
	struct id_item item = { .what = argc == 4 ? what_of(argv[1]) : ID_WHATS,
				.nsid = 1,
				.formats = 3 };

	if (item.what == ID_WHATS || item.what == ID_FEATURES)
		return 2;
	item.data = load(argv[3], id_whats[item.what].len, &item.len);
	if (!item.data)
		return 2;
	dump.items = &item;
	if (!strcmp(argv[2], "json"))
		id_print_json(stdout, &dump, true);
	else
		id_print_text(stdout, &dump, true);
	free(item.data);
	return 0;
}
