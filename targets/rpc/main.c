/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/main.c - plx-rpc: calls the methods of a running program
 */
#include "plx_config.h"
#include "targets/rpc/cli.h"
#include <stdlib.h>
#include <string.h>

static void print_result(const json_t *result, bool as_json)
{
	char *text;

	if (json_is_string(result) && !as_json) {
		fwrite(json_string_value(result), 1, json_string_length(result), stdout);
		putchar('\n');
		return;
	}
	/* 0.1, not 0.10000000000000001 */
	text = json_dumps(result, JSON_ENCODE_ANY | JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	puts(text ? text : "");
	free(text);
}

static int call(struct cli_client *c, const struct cli_options *o)
{
	json_t *result = cli_call(c, o->method, o->params);

	if (!result) {
		fprintf(stderr, "plx-rpc: %s\n", c->err);
		return PLX_EXIT_FAILED;
	}
	print_result(result, o->json);
	json_decref(result);
	return PLX_EXIT_OK;
}

static void print_methods(void)
{
	for (const struct plx_rpc_method *m = plx_rpc_first(); m; m = m->next)
		printf("%-40s %s\n", m->name, m->help);
}

static int run(const struct cli_options *o)
{
	struct cli_client c = { .socket = o->socket, .timeout_s = o->timeout_s, .fd = -1 };
	int rc = PLX_EXIT_OK;

	switch (o->action) {
	case CLI_CALL:
		rc = call(&c, o);
		break;
	case CLI_SAVE:
		rc = cli_save(&c, o->file);
		break;
	case CLI_LOAD:
		rc = cli_load(&c, o->file);
		break;
	case CLI_HELP:
		if (*o->method)
			cli_help_method(stdout, plx_rpc_find(o->method));
		else
			cli_help(stdout);
		break;
	case CLI_VERSION:
		printf("plx-rpc %s\n", PLX_VERSION);
		break;
	case CLI_METHODS:
		print_methods();
		break;
	case CLI_COMPLETION:
		cli_completion(stdout);
		break;
	case CLI_DOCS:
		cli_docs(stdout);
		break;
	}
	cli_disconnect(&c);
	return rc;
}

int main(int argc, char **argv)
{
	struct cli_options o;
	char err[1024];
	int rc, written;

	plx_tool_begin();
	if (cli_parse(&o, argc, argv, err, sizeof(err))) {
		fprintf(stderr, "plx-rpc: %s\n", err);
		return PLX_EXIT_USAGE;
	}
	rc = run(&o);
	json_decref(o.params);
	written = plx_tool_flush("plx-rpc");
	return rc ? rc : written;
}
