/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/completion.c - a completion script for bash, made from the tables
 */
#include "targets/rpc/cli.h"
#include <string.h>

static const char script_begin[] =
	"# completion of plx-rpc for bash: source <(plx-rpc --completion bash)\n"
	"_plx_rpc() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} method= words= i\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tcase ${COMP_WORDS[i]} in\n"
	"\t\t-s | --socket | -t | --timeout | --load | --save | --completion) ((i++)) ;;\n"
	"\t\t-*) ;;\n"
	"\t\t*) method=${COMP_WORDS[i]//-/_}; break ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\tcase $prev in\n"
	"\t-s | --socket | --load | --save) compopt -o filenames 2>/dev/null\n"
	"\t\tCOMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
	"\t-t | --timeout) return ;;\n"
	"\t--completion) COMPREPLY=($(compgen -W bash -- \"$cur\")); return ;;\n"
	"\tesac\n"
	"\tcase $method:$prev in\n";

static const char script_end[] = "\tesac\n"
				 "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
				 "}\n"
				 "complete -F _plx_rpc plx-rpc\n";

struct script {
	FILE *f;
	const struct plx_rpc_method *m;
};

static void put_values(void *arg, const char *path, const struct plx_rpc_param *p)
{
	struct script *s = arg;

	if (p->type != PLX_RPC_ENUM)
		return;
	fprintf(s->f, "\t%s:--%s) words='", s->m->name, path);
	for (const char *w = p->words; *w; w++)
		fputc(*w == '|' ? ' ' : *w, s->f);
	fputs("' ;;\n", s->f);
}

static void put_option(void *arg, const char *path, const struct plx_rpc_param *p)
{
	struct script *s = arg;
	const char *dot = strrchr(path, '.');

	fprintf(s->f, "--%s ", path);
	if (p->type == PLX_RPC_BOOL)
		fprintf(s->f, "--%.*sno-%s ", dot ? (int)(dot + 1 - path) : 0, path,
			dot ? dot + 1 : path);
}

void cli_completion(FILE *f)
{
	struct script s = { .f = f };

	fputs(script_begin, f);
	for (s.m = plx_rpc_first(); s.m; s.m = s.m->next)
		cli_walk(s.m->params, CLI_PATH_OPTION, put_values, &s);
	fputs("\t:*) words='-s --socket -t --timeout --json --methods --save --load --completion "
	      "--docs -h --help --version",
	      f);
	for (s.m = plx_rpc_first(); s.m; s.m = s.m->next)
		fprintf(f, " %s", s.m->name);
	fputs("' ;;\n", f);
	for (s.m = plx_rpc_first(); s.m; s.m = s.m->next) {
		fprintf(f, "\t%s:*) words='", s.m->name);
		cli_walk(s.m->params, CLI_PATH_OPTION, put_option, &s);
		fputs("--params --help' ;;\n", f);
	}
	fputs(script_end, f);
}
