/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/main.c - plx-setup: from arguments to exit code
 */
#include "identify/setup/setup.h"
#include "plx_config.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t interrupted;
static json_t *report;

int setup_complain(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	plx_tool_one_line(text);
	fprintf(stderr, "%s: %s\n", SETUP_NAME, text);
	return PLX_EXIT_FAILED;
}

bool setup_interrupted(void)
{
	return interrupted;
}

static void on_signal(int sig)
{
	interrupted = 1;
}

/* A change that has begun is finished or taken back; then the program ends */
static void hold_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
}

void setup_report(const struct setup_options *o, const char *device, const char *from,
		  const char *to)
{
	if (o->json) {
		if (!report)
			report = json_array();
		json_array_append_new(report,
				      json_pack("{s:s, s:s, s:s, s:b}", "device", device, "from",
						from, "to", to, "done", !o->dry_run));
		return;
	}
	printf("%s: %s%s%s%s\n", device, o->dry_run ? "would be changed: " : "", from,
	       *from ? " -> " : "", to);
	fflush(stdout);
}

void setup_report_end(const struct setup_options *o)
{
	if (!o->json)
		return;
	if (!report)
		report = json_array();
	json_dumpf(report, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(report);
	report = NULL;
}

static int run(const struct setup_options *o)
{
	static int (*const commands[])(const struct setup_options *) = {
		[SETUP_STATUS] = setup_status,	     [SETUP_BIND] = setup_bind,
		[SETUP_UNBIND] = setup_unbind,	     [SETUP_RESET] = setup_reset,
		[SETUP_HUGEPAGES] = setup_hugepages, [SETUP_RESTORE] = setup_restore,
	};

	if (o->command == SETUP_HELP) {
		setup_options_help(stdout);
		return PLX_EXIT_OK;
	}
	if (o->command == SETUP_VERSION) {
		printf("%s %s\n", SETUP_NAME, PLX_VERSION);
		return PLX_EXIT_OK;
	}
	if (plx_pci_set_root(o->root)) {
		setup_complain("--root: the path is too long");
		return PLX_EXIT_USAGE;
	}
	if (o->command != SETUP_STATUS)
		hold_signals();
	return commands[o->command](o);
}

int main(int argc, char **argv)
{
	struct setup_options o;
	char err[512];
	int rc, written;

	plx_tool_begin();
	if (setup_options_parse(&o, argc, argv, err, sizeof(err))) {
		setup_complain("%s", err);
		setup_options_free(&o);
		return PLX_EXIT_USAGE;
	}
	rc = run(&o);
	setup_options_free(&o);
	written = plx_tool_flush(SETUP_NAME);
	return rc ? rc : written;
}
