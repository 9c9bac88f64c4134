/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/options.c - the command line of plx-rpc: its own options, a method, the method's
 */
#include "core/tool.h"
#include "targets/rpc/cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 60.0

struct parser {
	struct cli_options *o;
	const struct plx_rpc_method *m; /* NULL: none yet, or one that is not in the tables */
	bool whole; /* --params was given */
	char **argv;
	int argc, at; /* the argument that is looked at */
	char *err;
	size_t errlen;
};

#define refuse(p, ...) plx_tool_refuse((p)->err, (p)->errlen, __VA_ARGS__)

/* the value of an option: behind '=', or the next argument. NULL: there is none */
static const char *value_of(struct parser *p, const char *inline_value)
{
	if (inline_value)
		return inline_value;
	return p->at + 1 < p->argc ? p->argv[++p->at] : NULL;
}

static int take_timeout(struct parser *p, const char *text)
{
	char *end;

	p->o->timeout_s = strtod(text, &end);
	if (end == text || *end || !(p->o->timeout_s > 0 && p->o->timeout_s <= 1e6))
		return refuse(p, "-t: '%.64s' is no time to wait: use seconds, as in 60", text);
	return 0;
}

static int set_action(struct parser *p, enum cli_action action, const char *name)
{
	if (p->o->action != CLI_CALL)
		return refuse(p, "--%s: there is another such option before it: leave one out",
			      name);
	p->o->action = action;
	return 0;
}

/* --save, --load: the standard streams are meant where no file stands */
static int take_file(struct parser *p, enum cli_action action, const char *name, const char *value)
{
	const char *next = p->at + 1 < p->argc ? p->argv[p->at + 1] : NULL;

	if (!value && next && (*next != '-' || !strcmp(next, "-"))) {
		value = next;
		p->at++;
	}
	if (!value && action == CLI_LOAD)
		return refuse(p, "--load needs a file, or - for standard input");
	if (value && !*value)
		return refuse(p, "--%s: the name of the file is empty: give one", name);
	p->o->file = value ? value : "-";
	return set_action(p, action, name);
}

static int take_completion(struct parser *p, const char *value)
{
	value = value_of(p, value);
	if (!value || strcmp(value, "bash"))
		return refuse(p, "--completion: '%.32s' is no shell known here: use bash",
			      value ? value : "");
	return set_action(p, CLI_COMPLETION, "completion");
}

enum taken { NOT_MINE = 1 };

/* an option of the program itself. Return: 0; NOT_MINE; -EINVAL */
static int take_own(struct parser *p, const char *name, const char *value)
{
	static const struct {
		const char *name;
		enum cli_action action;
	} flags[] = {
		{ "help", CLI_HELP },
		{ "version", CLI_VERSION },
		{ "methods", CLI_METHODS },
		{ "docs", CLI_DOCS },
	};

	if (!strcmp(name, "socket") || !strcmp(name, "timeout")) {
		value = value_of(p, value);
		if (!value || !*value)
			return refuse(p, "--%s needs a value: plx-rpc --help shows which", name);
		if (*name == 't')
			return take_timeout(p, value);
		p->o->socket = value;
		return 0;
	}
	if (!strcmp(name, "completion"))
		return take_completion(p, value);
	if (!strcmp(name, "save"))
		return take_file(p, CLI_SAVE, name, value);
	if (!strcmp(name, "load"))
		return take_file(p, CLI_LOAD, name, value);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(flags); i++) {
		if (strcmp(name, flags[i].name))
			continue;
		if (value)
			return refuse(p, "--%s takes no value: leave it out", name);
		return set_action(p, flags[i].action, name);
	}
	if (strcmp(name, "json"))
		return NOT_MINE;
	if (value)
		return refuse(p, "--json takes no value: leave it out");
	p->o->json = true;
	return 0;
}

static int take_short(struct parser *p, const char *arg)
{
	const char *value = arg[1] && arg[2] ? arg + 2 : NULL;

	switch (arg[1]) {
	case 's':
		return take_own(p, "socket", value);
	case 't':
		return take_own(p, "timeout", value);
	case 'h':
		if (!value)
			return take_own(p, "help", NULL);
	}
	return refuse(p, "'%.64s' is no option: plx-rpc --help lists them", arg);
}

static int take_whole(struct parser *p, const char *value)
{
	json_error_t e;

	value = value_of(p, value);
	if (!value)
		return refuse(p, "--params needs the parameters as a JSON object");
	if (p->o->params)
		return refuse(p, "--params: there are parameters before it: give all of them one "
				 "way");
	p->o->params = json_loads(value, JSON_REJECT_DUPLICATES, &e);
	if (!p->o->params)
		return refuse(p, "--params: this is no JSON: %.128s", e.text);
	if (!json_is_object(p->o->params))
		return refuse(p, "--params: this is no object: give one, as in '{\"name\": "
				 "\"value\"}'");
	p->whole = true;
	return 0;
}

static int take_param(struct parser *p, const char *name, const char *value)
{
	const char *next = p->at + 1 < p->argc ? p->argv[p->at + 1] : NULL;
	bool behind = !value && next && strncmp(next, "--", 2), used = false;
	int rc;

	if (!p->m)
		return refuse(p,
			      "--%.64s: %s is not in the tables of this program: give its "
			      "parameters as one object, --params '{\"%.64s\": ...}'",
			      name, p->o->method, name);
	if (p->whole)
		return refuse(p,
			      "--%.64s: there is --params before it: give all parameters one "
			      "way",
			      name);
	if (!p->o->params)
		p->o->params = json_object();
	rc = cli_take_param(p->m, name, behind ? next : value, p->o->params, &used, p->err,
			    p->errlen);
	if (!rc && behind && used)
		p->at++;
	return rc;
}

static bool has_param(const struct plx_rpc_method *m, const char *name)
{
	for (const struct plx_rpc_param *p = m ? m->params : NULL; p && p->name; p++)
		if (!strcmp(p->name, name))
			return true;
	return false;
}

static int take_long(struct parser *p, const char *arg)
{
	const char *equal = strchr(arg, '='), *value = equal ? equal + 1 : NULL;
	size_t n = equal ? (size_t)(equal - arg) : strlen(arg);
	char name[128];
	int rc;

	if (!n || n >= sizeof(name))
		return refuse(p, "'--%.64s' is no option: plx-rpc --help lists them", arg);
	memcpy(name, arg, n);
	name[n] = '\0';
	if (!*p->o->method) {
		rc = take_own(p, name, value);
		return rc == NOT_MINE
			       ? refuse(p, "'--%s' is no option: plx-rpc --help lists them", name)
			       : rc;
	}
	if (!has_param(p->m, name)) {
		if (!strcmp(name, "help") || !strcmp(name, "json"))
			return take_own(p, name, value);
		if (!strcmp(name, "params"))
			return take_whole(p, value);
	}
	return take_param(p, name, value);
}

static int take_method(struct parser *p, const char *arg)
{
	size_t n = strlen(arg);

	if (*p->o->method)
		return refuse(
			p, "'%.64s' stands alone: parameters are given by name, as in --%s %.64s",
			arg, p->m && p->m->params && p->m->params->name ? "name" : "params", arg);
	if (p->o->action != CLI_CALL && p->o->action != CLI_HELP)
		return refuse(p,
			      "'%.64s': no method is called with the option before it: leave "
			      "one of them out",
			      arg);
	if (!n || n >= sizeof(p->o->method))
		return refuse(p, "'%.64s' is no method: plx-rpc --methods lists them", arg);
	for (size_t i = 0; i <= n; i++)
		p->o->method[i] = arg[i] == '-' ? '_' : arg[i];
	p->m = plx_rpc_find(p->o->method);
	return 0;
}

static int check_call(struct parser *p)
{
	json_t *checked;

	if (!*p->o->method)
		return refuse(p, "no method is named: plx-rpc --help shows how, plx-rpc --methods "
				 "lists them");
	/* what is not in the tables may still be in the server's; a slip of the hand is not */
	if (!p->m && !p->whole)
		return refuse(p,
			      "'%s' is no method known here: plx-rpc --methods lists those; one "
			      "that only the server knows needs --params, as in --params '{}'",
			      p->o->method);
	if (!p->m)
		return 0;
	checked = plx_rpc_check(p->m, p->o->params, p->err, p->errlen);
	json_decref(checked);
	return checked ? 0 : -EINVAL;
}

static int parse_all(struct parser *p)
{
	int rc = 0;

	for (p->at = 1; p->at < p->argc && !rc; p->at++) {
		const char *arg = p->argv[p->at];

		if (!strncmp(arg, "--", 2))
			rc = take_long(p, arg + 2);
		else if (*arg == '-' && arg[1])
			rc = take_short(p, arg);
		else
			rc = take_method(p, arg);
	}
	if (rc)
		return rc;
	if (p->o->action == CLI_HELP && *p->o->method && !p->m)
		return refuse(p, "'%s' is no method known here: plx-rpc --methods lists them",
			      p->o->method);
	return p->o->action == CLI_CALL ? check_call(p) : 0;
}

int cli_parse(struct cli_options *o, int argc, char **argv, char *err, size_t errlen)
{
	struct parser p = { .o = o, .argv = argv, .argc = argc, .err = err, .errlen = errlen };
	int rc;

	*o = (struct cli_options){ .socket = CLI_SOCKET, .timeout_s = DEFAULT_TIMEOUT_S };
	rc = parse_all(&p);
	if (!rc)
		return 0;
	json_decref(o->params);
	o->params = NULL;
	/* one line, whatever the user's text has in it */
	plx_tool_one_line(err);
	return rc;
}
