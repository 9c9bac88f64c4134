/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/tables.c - walks through the tables of methods, for whatever is made from them
 */
#include "targets/rpc/cli.h"
#include <string.h>

struct walk {
	enum cli_paths style;
	cli_visit visit;
	void *arg;
	char path[256];
};

static void walk_level(struct walk *w, size_t at, const struct plx_rpc_param *p)
{
	for (; p && p->name; p++) {
		bool within = p->fields && (p->type == PLX_RPC_OBJECT || w->style == CLI_PATH_JSON);
		size_t n = at;

		n += (size_t)snprintf(w->path + n, sizeof(w->path) - n, "%s%s", at ? "." : "",
				      p->name);
		if (n >= sizeof(w->path) - 8)
			continue;
		for (char *s = w->path + at; w->style == CLI_PATH_OPTION && *s; s++) {
			if (*s == '_')
				*s = '-';
		}
		w->visit(w->arg, w->path, p);
		if (!within)
			continue;
		if (p->type == PLX_RPC_ARRAY)
			n += (size_t)snprintf(w->path + n, sizeof(w->path) - n, "[]");
		walk_level(w, n, p->fields);
	}
}

void cli_walk(const struct plx_rpc_param *params, enum cli_paths style, cli_visit visit, void *arg)
{
	struct walk w = { .style = style, .visit = visit, .arg = arg };

	walk_level(&w, 0, params);
}

static const char *type_int(const struct plx_rpc_param *p, char *buf, size_t len)
{
	int64_t min = p->min, max = p->max;

	if (max < min || (!min && !max))
		max = INT64_MAX;
	if (max == INT64_MAX)
		snprintf(buf, len, "whole number, %lld or more", (long long)min);
	else
		snprintf(buf, len, "whole number, %lld to %lld", (long long)min, (long long)max);
	return buf;
}

static const char *type_enum(const struct plx_rpc_param *p, char *buf, size_t len)
{
	size_t used = 0;

	*buf = '\0';
	for (const char *w = p->words; *w && used < len - 1;) {
		size_t n = strcspn(w, "|");

		used += (size_t)snprintf(buf + used, len - used, "%s%.*s",
					 used ? w[n] ? ", " : " or " : "", (int)n, w);
		w += n + (w[n] == '|');
	}
	return buf;
}

const char *cli_type(const struct plx_rpc_param *p, char *buf, size_t len)
{
	const char *text = "";

	switch (p->type) {
	case PLX_RPC_BOOL:
		text = "true or false";
		break;
	case PLX_RPC_INT:
		return type_int(p, buf, len);
	case PLX_RPC_REAL:
		text = "number";
		break;
	case PLX_RPC_STRING:
		text = "string";
		break;
	case PLX_RPC_ENUM:
		return type_enum(p, buf, len);
	case PLX_RPC_OBJECT:
		text = "object";
		break;
	case PLX_RPC_ARRAY:
		text = p->fields ? "array of objects" : "array";
		break;
	case PLX_RPC_STRINGS:
		text = "array of strings";
		break;
	}
	snprintf(buf, len, "%s", text);
	return buf;
}

const char *cli_next_group(const char *last)
{
	const char *next = NULL;

	for (const struct plx_rpc_method *m = plx_rpc_first(); m; m = m->next)
		if ((!last || strcmp(m->group, last) > 0) && (!next || strcmp(m->group, next) < 0))
			next = m->group;
	return next;
}
