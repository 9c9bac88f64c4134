/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/help.c - help of the program and of each method
 */
#include "targets/rpc/cli.h"
#include <string.h>

#define WIDTH 100

static const char help_options[] =
	"usage: plx-rpc [OPTION]... METHOD [--PARAMETER VALUE]...\n"
	"Calls a method of a running plx-tgt, or of any program with the same JSON-RPC.\n"
	"\n"
	"  -s, --socket PATH         where the program listens (" CLI_SOCKET ")\n"
	"  -t, --timeout SECONDS     how long to wait for an answer (60)\n"
	"      --json                print strings as JSON too\n"
	"      --methods             list the methods, with a sentence each\n"
	"      --save [FILE]         fetch the whole configuration; standard output without FILE, "
	"or "
	"-\n"
	"      --load FILE           apply a configuration, from standard input with -; starts a "
	"program\n"
	"                            that waits for that (framework_start_init) where it belongs\n"
	"      --completion bash     print what makes bash complete methods and parameters:\n"
	"                            source <(plx-rpc --completion bash)\n"
	"      --docs                print docs/rpc.md\n"
	"  -h, --help                print this text; behind a METHOD, its parameters\n"
	"      --version             print the version\n"
	"\n"
	"In names, dashes and underscores are alike. Values, by the type of the parameter:\n"
	"  --flag, --no-flag, --flag true    true or false\n"
	"  --name=VALUE                      one that begins with --\n"
	"  --part.name VALUE                 a member of an object; or all of it as JSON\n"
	"  --name A --name B                 elements of an array; or all of it as JSON\n"
	"  --params JSON                     all parameters as one object; also for a method that "
	"only\n"
	"                                    the server knows\n";

static const char help_end[] =
	"\n"
	"Examples:\n"
	"  plx-rpc rpc_get_methods\n"
	"  plx-rpc log_set_level --level DEBUG\n"
	"  plx-rpc --save config.json\n"
	"\n"
	"Exit code: 0; 1 when the server refuses or cannot be reached; 2 for a command line that\n"
	"makes no sense.\n";

/* words between columns @indent and WIDTH, the first line begun already; ends the line */
static void put_wrapped(FILE *f, int indent, const char *text)
{
	int at = indent;

	while (*text) {
		int n = (int)strcspn(text, " ");

		if (at + n > WIDTH && at > indent) {
			fprintf(f, "\n%*s", indent, "");
			at = indent;
		}
		fprintf(f, "%s%.*s", at > indent ? " " : "", n, text);
		at += n + (at > indent);
		text += n;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

void cli_help(FILE *f)
{
	fputs(help_options, f);
	fputs("\nMethods by group (plx-rpc METHOD --help for more):\n", f);
	for (const char *g = cli_next_group(NULL); g; g = cli_next_group(g)) {
		fprintf(f, "\n%s:\n", g);
		for (const struct plx_rpc_method *m = plx_rpc_first(); m; m = m->next)
			if (!strcmp(m->group, g))
				fprintf(f, "  %s\n", m->name);
	}
	fputs(help_end, f);
}

static const char *value_word(const struct plx_rpc_param *p)
{
	switch (p->type) {
	case PLX_RPC_BOOL:
		return "";
	case PLX_RPC_INT:
	case PLX_RPC_REAL:
		return " NUMBER";
	case PLX_RPC_ENUM:
		return " WORD";
	case PLX_RPC_OBJECT:
	case PLX_RPC_ARRAY:
		return " JSON";
	default:
		return " TEXT";
	}
}

static void put_required(void *arg, const char *path, const struct plx_rpc_param *p)
{
	/* of an object it is enough to name the parts that it needs */
	bool by_parts = p->type == PLX_RPC_OBJECT && p->fields;

	if (p->required && !by_parts)
		fprintf(arg, " --%s%s", path, value_word(p));
}

static void put_param(void *arg, const char *path, const struct plx_rpc_param *p)
{
	char option[320], text[768], type[256];
	FILE *f = arg;
	int n = snprintf(option, sizeof(option), "  --%s%s", path, value_word(p));

	fprintf(f, "%-32s", option);
	if (n >= 32)
		fprintf(f, "\n%32s", "");
	snprintf(text, sizeof(text), "%s (%s%s%s%s)%s", p->help, cli_type(p, type, sizeof(type)),
		 p->required ? "; required" : "", p->dflt ? "; default " : "",
		 p->dflt ? p->dflt : "",
		 p->type == PLX_RPC_ARRAY || p->type == PLX_RPC_STRINGS ? "; repeatable" : "");
	put_wrapped(f, 32, text);
}

void cli_help_method(FILE *f, const struct plx_rpc_method *m)
{
	fprintf(f, "usage: plx-rpc %s", m->name);
	cli_walk(m->params, CLI_PATH_OPTION, put_required, f);
	if (m->params && m->params->name)
		fputs(" [--PARAMETER VALUE]...", f);
	fputc('\n', f);
	put_wrapped(f, 0, m->help);
	if (m->states == PLX_RPC_STARTUP)
		fputs("Only before framework_start_init: start plx-tgt with --wait-for-rpc.\n", f);
	if (m->params && m->params->name)
		fputc('\n', f);
	cli_walk(m->params, CLI_PATH_OPTION, put_param, f);
}
