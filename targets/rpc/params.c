/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/params.c - parameters of a method from the command line, by its table
 *
 * What a value means comes from its type in the table; whether it is in range and whether any is
 * missing is judged afterwards, by the same code as in the server.
 */
#include "targets/rpc/cli.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct taker {
	const struct plx_rpc_method *m;
	const char *name; /* as typed */
	const char *value;
	bool *used;
	char *err;
	size_t errlen;
};

static int refuse(struct taker *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct taker *t, const char *fmt, ...)
{
	int n = snprintf(t->err, t->errlen, "%s: --%.64s: ", t->m->name, t->name);
	va_list ap;

	va_start(ap, fmt);
	if (n > 0 && (size_t)n < t->errlen)
		vsnprintf(t->err + n, t->errlen - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* one step of a name: dashes and underscores are alike */
static bool is_named(const char *typed, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!name[i] || (typed[i] == '-' ? '_' : typed[i]) != name[i])
			return false;
	return !name[n];
}

static const struct plx_rpc_param *find(const struct plx_rpc_param *params, const char *typed,
					size_t n)
{
	for (; params && params->name; params++)
		if (is_named(typed, n, params->name))
			return params;
	return NULL;
}

static int take_bool(struct taker *t, bool negated, json_t **out)
{
	bool is_true = t->value && !strcmp(t->value, "true");

	*t->used = is_true || (t->value && !strcmp(t->value, "false"));
	if (negated && *t->used)
		return refuse(t, "it takes no value: leave it out");
	*out = json_boolean(negated ? false : *t->used ? is_true : true);
	return 0;
}

static int take_number(struct taker *t, enum plx_rpc_type type, json_t **out)
{
	const char *text = t->value;
	bool hex = !strncasecmp(text + (*text == '-'), "0x", 2);
	long long n;
	char *end;
	double d;

	/* no blanks, no plus, no "inf" */
	if (!strchr("-.0123456789", *text) || !*text)
		goto bad;
	errno = 0;
	n = strtoll(text, &end, hex ? 16 : 10);
	if (!*end && end != text) {
		if (errno == ERANGE)
			return refuse(t, "'%.64s' is out of range: below 2^63", text);
		*out = json_integer(n);
		return 0;
	}
	d = hex ? NAN : strtod(text, &end);
	if (!*end && end != text && isfinite(d)) {
		*out = json_real(d);
		return 0;
	}
bad:
	return refuse(t, "'%.64s' is no %s", text, type == PLX_RPC_INT ? "whole number" : "number");
}

static int take_json(struct taker *t, const char *kind, json_t **out)
{
	json_error_t e;

	*out = json_loads(t->value, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);
	return *out ? 0 : refuse(t, "'%.64s' is no JSON for %s: %.128s", t->value, kind, e.text);
}

static int take_string(struct taker *t, json_t **out)
{
	*out = json_string(t->value);
	return *out ? 0 : refuse(t, "this is no UTF-8 text");
}

/* arrays: all of it as JSON, or an element each time */
static int take_element(struct taker *t, const struct plx_rpc_param *p, json_t *into)
{
	bool whole = *t->value == '[';
	json_t *v = NULL, *have = json_object_get(into, p->name);
	int rc = p->type == PLX_RPC_STRINGS && !whole ? take_string(t, &v)
						      : take_json(t, "an array", &v);

	if (rc)
		return rc;
	if (whole && have) {
		json_decref(v);
		return refuse(t, "an array behind other elements: give all of it at once");
	}
	if (whole)
		return json_object_set_new(into, p->name, v);
	if (!have) {
		have = json_array();
		json_object_set_new(into, p->name, have);
	}
	return json_array_append_new(have, v);
}

static int take_value(struct taker *t, const struct plx_rpc_param *p, bool negated, json_t *into)
{
	json_t *v = NULL;
	int rc;

	if (p->type != PLX_RPC_BOOL) {
		if (negated)
			return refuse(t, "only for true or false there is --no-: leave it out");
		if (!t->value)
			return refuse(t, "it needs a value: %s", p->help);
		*t->used = true;
	}
	if (p->type == PLX_RPC_ARRAY || p->type == PLX_RPC_STRINGS)
		return take_element(t, p, into);
	if (json_object_get(into, p->name))
		return refuse(t, "it was given before: leave one of them out");
	if (p->type == PLX_RPC_BOOL)
		rc = take_bool(t, negated, &v);
	else if (p->type == PLX_RPC_INT || p->type == PLX_RPC_REAL)
		rc = take_number(t, p->type, &v);
	else if (p->type == PLX_RPC_OBJECT)
		rc = take_json(t, "an object", &v);
	else
		rc = take_string(t, &v);
	return rc ? rc : json_object_set_new(into, p->name, v);
}

int cli_take_param(const struct plx_rpc_method *m, const char *name, const char *value,
		   json_t *params, bool *used, char *err, size_t errlen)
{
	struct taker t = { m, name, value, used, err, errlen };
	const struct plx_rpc_param *table = m->params, *p;
	const char *step = name;
	bool negated = false;

	*used = false;
	for (;;) {
		size_t n = strcspn(step, ".");
		json_t *inner;

		p = find(table, step, n);
		if (!p && !step[n] && n > 3 && !strncmp(step, "no-", 3)) {
			p = find(table, step + 3, n - 3);
			negated = p != NULL;
		}
		if (!p)
			return refuse(&t,
				      "there is no such parameter: plx-rpc %s --help lists them",
				      m->name);
		if (!step[n])
			return take_value(&t, p, negated, params);
		if (p->type != PLX_RPC_OBJECT || !p->fields)
			return refuse(&t, "%s has no parts to name: give it as a whole, in JSON",
				      p->name);
		inner = json_object_get(params, p->name);
		if (!inner) {
			inner = json_object();
			json_object_set_new(params, p->name, inner);
		}
		if (!json_is_object(inner))
			return refuse(&t, "%s was given as a whole before: leave one of them out",
				      p->name);
		params = inner;
		table = p->fields;
		step += n + 1;
	}
}
