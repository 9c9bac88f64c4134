/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/docs.c - docs/rpc.md, made from the tables
 */
#include "targets/rpc/cli.h"
#include <string.h>

static const char intro[] =
	"# JSON-RPC\n"
	"\n"
	"<!-- Made by plx-rpc --docs (ci/docs): change the tables in the sources, not this file. "
	"-->\n"
	"\n"
	"`plx-tgt` is set up and asked through JSON-RPC 2.0 on a Unix socket, `" CLI_SOCKET
	"` unless\n"
	"`-r` says otherwise. The protocol, the methods and their parameters are SPDK's, so its "
	"clients work\n"
	"unchanged; `plx-rpc` is the one that comes with pollux:\n"
	"\n"
	"```sh\n"
	"plx-rpc log_set_level --level DEBUG     # plx-rpc --help, plx-rpc METHOD --help\n"
	"plx-rpc --save config.json              # all of the configuration\n"
	"plx-rpc --load config.json              # and back\n"
	"source <(plx-rpc --completion bash)\n"
	"```\n"
	"\n"
	"## The protocol\n"
	"\n"
	"Requests are JSON objects on a stream, with white space between them or none; each answer "
	"is one\n"
	"JSON value and a newline, in the order of the requests.\n"
	"\n"
	"```json\n"
	"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"log_set_level\", \"params\": {\"level\": "
	"\"DEBUG\"}}\n"
	"{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": true}\n"
	"```\n"
	"\n"
	"- `id` is a string, a number or null, and comes back as it was; a request without one is "
	"carried out and\n"
	"  not answered. An array of up to 1024 requests is answered by an array.\n"
	"- `params` is an object; it may be left out. Unknown members are errors. Whole numbers "
	"may be written\n"
	"  as `1.0` or `1e3`. Words that a parameter chooses from may be in any case.\n"
	"- What is no JSON is answered with the id null. As long as its brackets and quotes "
	"balance, the requests\n"
	"  behind it are carried out; otherwise the connection is closed. So it is for a request "
	"of more than\n"
	"  32 MiB. A request has at most 128 levels of nesting and 262144 values.\n"
	"- A client that has closed its sending side still gets its answers. 1024 clients may be "
	"connected.\n"
	"\n"
	"| code | meaning |\n"
	"|---|---|\n"
	"| -32700 | this is no JSON |\n"
	"| -32600 | this is no request, or an empty batch |\n"
	"| -32601 | there is no such method |\n"
	"| -32602 | a parameter is missing, unknown, of the wrong type or out of range: the "
	"message names it |\n"
	"| -32603 | the program failed |\n"
	"| -1 | not in this state: before `framework_start_init`, or only then |\n"
	"| other negative numbers | a negative errno, such as -19 (ENODEV) |\n"
	"\n"
	"A configuration is the list of calls that make it, by subsystem; `plx-tgt -c FILE` and "
	"`plx-rpc --load`\n"
	"take it, `plx-rpc --save` makes it:\n"
	"\n"
	"```json\n"
	"{\"subsystems\": [{\"subsystem\": \"bdev\", \"config\": [{\"method\": \"...\", "
	"\"params\": {}}]}]}\n"
	"```\n"
	"\n"
	"## The methods\n";

/* '|' would end a cell of the table */
static void put_cell(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			fputc('\\', f);
		fputc(*text, f);
	}
}

static void put_row(void *arg, const char *path, const struct plx_rpc_param *p)
{
	char type[256];
	FILE *f = arg;

	fprintf(f, "| `%s` | ", path);
	put_cell(f, cli_type(p, type, sizeof(type)));
	fprintf(f, " | %s | ", p->required ? "yes" : "no");
	if (p->dflt) {
		fputc('`', f);
		put_cell(f, p->dflt);
		fputc('`', f);
	}
	fputs(" | ", f);
	put_cell(f, p->help);
	fputs(" |\n", f);
}

static void put_method(FILE *f, const struct plx_rpc_method *m)
{
	fprintf(f, "\n#### %s\n\n%s", m->name, m->help);
	if (m->states == PLX_RPC_STARTUP)
		fputs(" Only before `framework_start_init`.", f);
	if (m->states == PLX_RPC_ANY_TIME)
		fputs(" Also before `framework_start_init`.", f);
	fputc('\n', f);
	if (!m->params || !m->params->name)
		return;
	fputs("\n| parameter | type | required | default | description |\n|---|---|---|---|---|\n",
	      f);
	cli_walk(m->params, CLI_PATH_JSON, put_row, f);
}

void cli_docs(FILE *f)
{
	fputs(intro, f);
	for (const char *g = cli_next_group(NULL); g; g = cli_next_group(g)) {
		fprintf(f, "\n### %s\n", g);
		for (const struct plx_rpc_method *m = plx_rpc_first(); m; m = m->next)
			if (!strcmp(m->group, g))
				put_method(f, m);
	}
}
