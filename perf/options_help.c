/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/options_help.c - plx-perf --help
 */
#include "perf/options_internal.h"
#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: plx-perf [OPTION]...\n"
			    "Measures I/O rate and latency of NVMe namespaces. Without arguments: "
			    "plx-perf -q 32 -o 4k -w randread -t 5\n"
			    "on a virtual controller inside this process.\n";

static const char examples[] =
	"Examples:\n"
	"  plx-perf\n"
	"      a first look, on the virtual controller\n"
	"  plx-perf -q 128 -o 4096 -w randread -t 60 -a 5 -r 'trtype:PCIe traddr:0000:04:00.0'\n"
	"      an SSD that is bound to a userspace driver, 5 s of warm-up\n"
	"  plx-perf -q 1 -t 10 --virtual size=1G,latency=tlc -LL\n"
	"      a virtual SSD with the latency of TLC flash, all of its histogram\n"
	"  plx-perf -q 64 -o 4k:70,64k:30 -w randrw -M 70 --interval 100ms --json result.json\n"
	"      mixed sizes and reads with writes, as a time series too, for programs\n"
	"  plx-perf --verify -w randrw -M 50 -q 64 -o 4k:50,20k:30,128k:20 -t 10\n"
	"      is what is read what was written?\n"
	"  plx-perf -q 32 -t 5 --virtual bdev=null --calibrate\n"
	"      how much of what these two cores can do is reached?\n"
	"  plx-perf -q 32 -t 5 --virtual bdev=null,inline -c 0,1 -Q 1000 --timeout 2s\n"
	"      a controller inside each of two cores' loops; failing and hanging I/O does not end "
	"the run\n";

static void help_row(FILE *f, const struct row *r)
{
	char names[64];

	if (r->key < 256)
		snprintf(names, sizeof(names), "-%c, --%s", r->key, r->name);
	else
		snprintf(names, sizeof(names), "    --%s", r->name);
	if (r->arg) {
		strcat(names, " ");
		strcat(names, r->arg);
	}
	if (strlen(names) <= 29)
		fprintf(f, "  %-29s %s\n", names, r->help);
	else
		fprintf(f, "  %s\n  %-29s %s\n", names, "", r->help);
}

void perf_options_help(FILE *f, const char *virtual_help)
{
	fputs(usage, f);
	for (unsigned i = 0; i < options_row_count; i++) {
		if (options_rows[i].key)
			help_row(f, &options_rows[i]);
		else
			fprintf(f, "\n%s:\n", options_rows[i].name);
	}
	fprintf(f, "\nKeys of --virtual, with commas between them (docs/virtual.md):\n%s",
		virtual_help);
	fprintf(f, "%s\n%s\n",
		virtual_help[0] && virtual_help[strlen(virtual_help) - 1] == '\n' ? "" : "\n",
		examples);
	fputs("Sizes: 4096, 4k, 1M. Times: 500ms, 10 (seconds), 2m. Ctrl-C ends a run early and "
	      "shows its results.\n"
	      "Exit code: 0; 1 when I/O failed, data was wrong or something broke; 2 when the "
	      "request makes no sense.\n",
	      f);
}
