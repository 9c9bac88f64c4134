/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_params.c - parameters of a call against the table of its method
 */
#include "core/rpc_internal.h"
#include <math.h>
#include <pollux/env.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* where a value sits, for messages: "listen_address.trtype", "hosts[3].nqn" */
struct place {
	const struct place *up; /* NULL: a parameter of the method itself */
	const char *name; /* NULL: element @index of an array */
	size_t index;
};

struct checker {
	const char *method;
	char *err;
	size_t errlen;
};

struct text {
	char *buf;
	size_t len, used;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->used, t->len - t->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used += (size_t)n < t->len - t->used ? (size_t)n : t->len - t->used - 1;
}

static void put_place(struct text *t, const struct place *p)
{
	if (p->up)
		put_place(t, p->up);
	/* what callers name themselves may be of any length */
	if (p->name)
		put(t, "%s%.64s", p->up ? "." : "", p->name);
	else
		put(t, "[%zu]", p->index);
}

static json_t *refuse(struct checker *c, const struct place *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static json_t *refuse(struct checker *c, const struct place *at, const char *fmt, ...)
{
	struct text t = { c->err, c->errlen, 0 };
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (!c->errlen)
		return NULL;
	put(&t, "%s: ", c->method);
	if (at) {
		put_place(&t, at);
		put(&t, ": ");
	}
	put(&t, "%s", why);
	return NULL;
}

#define SHOWN_MAX 48

struct shown {
	char text[SHOWN_MAX + 4];
	size_t used;
};

static int show_part(const char *part, size_t len, void *arg)
{
	struct shown *s = arg;
	size_t n = len < SHOWN_MAX - s->used ? len : SHOWN_MAX - s->used;

	memcpy(s->text + s->used, part, n);
	s->used += n;
	return n < len ? -1 : 0;
}

/* the beginning of a value, in ASCII; stops there, however large it is */
static const char *show(struct shown *s, const json_t *v)
{
	s->used = 0;
	if (json_dump_callback(v, show_part, s, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT))
		strcpy(s->text + s->used, "...");
	else
		s->text[s->used] = '\0';
	return s->text;
}

static json_t *wrong_type(struct checker *c, const struct place *at, const json_t *v,
			  const char *wanted)
{
	struct shown s;

	return refuse(c, at, "%s is no %s", show(&s, v), wanted);
}

static json_t *check_int(struct checker *c, const struct place *at, const struct plx_rpc_param *p,
			 const json_t *v)
{
	int64_t min = p->min, max = p->max, n;
	struct shown s;

	if (max < min || (!min && !max))
		max = INT64_MAX;
	if (json_is_integer(v)) {
		n = json_integer_value(v);
	} else if (json_is_real(v)) {
		double d = json_real_value(v);

		if (d != floor(d))
			return wrong_type(c, at, v, "whole number");
		if (d < -0x1p63 || d >= 0x1p63)
			goto out_of_range;
		n = (int64_t)d;
	} else {
		return wrong_type(c, at, v, "whole number");
	}
	if (n >= min && n <= max)
		return json_integer(n);
out_of_range:
	if (max == INT64_MAX)
		return refuse(c, at, "%s is out of range: %lld or more, below 2^63", show(&s, v),
			      (long long)min);
	return refuse(c, at, "%s is out of range: %lld to %lld", show(&s, v), (long long)min,
		      (long long)max);
}

static json_t *check_string(struct checker *c, const struct place *at, const json_t *v)
{
	if (!json_is_string(v))
		return wrong_type(c, at, v, "string");
	if (strlen(json_string_value(v)) != json_string_length(v)) {
		struct shown s;

		return refuse(c, at, "%s has a NUL byte in it: leave it out", show(&s, v));
	}
	return json_copy((json_t *)v);
}

static json_t *check_enum(struct checker *c, const struct place *at, const struct plx_rpc_param *p,
			  const json_t *v)
{
	char words[256];
	struct text t = { words, sizeof(words), 0 };
	struct shown s;

	if (!json_is_string(v))
		return wrong_type(c, at, v, "string");
	for (const char *w = p->words; *w;) {
		size_t n = strcspn(w, "|");

		if (json_string_length(v) == n && !strncasecmp(w, json_string_value(v), n))
			return json_stringn(w, n);
		put(&t, "%s%.*s", t.used ? w[n] ? ", " : " or " : "", (int)n, w);
		w += n + (w[n] == '|');
	}
	return refuse(c, at, "%s is not known here: use %s", show(&s, v), words);
}

static json_t *check_object(struct checker *c, const struct place *at,
			    const struct plx_rpc_param *fields, const json_t *v);

static json_t *check_array(struct checker *c, const struct place *at, const struct plx_rpc_param *p,
			   const json_t *v)
{
	json_t *out, *e, *checked;
	size_t i;

	if (!json_is_array(v))
		return wrong_type(c, at, v, "array");
	if (p->type == PLX_RPC_ARRAY && !p->fields)
		return json_incref((json_t *)v);
	out = json_array();
	json_array_foreach(v, i, e)
	{
		struct place here = { at, NULL, i };

		checked = p->type == PLX_RPC_STRINGS ? check_string(c, &here, e)
						     : check_object(c, &here, p->fields, e);
		if (!checked || json_array_append_new(out, checked)) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

static json_t *check_value(struct checker *c, const struct place *at, const struct plx_rpc_param *p,
			   const json_t *v)
{
	switch (p->type) {
	case PLX_RPC_BOOL:
		if (!json_is_boolean(v))
			return wrong_type(c, at, v, "boolean: use true or false");
		return json_incref((json_t *)v);
	case PLX_RPC_INT:
		return check_int(c, at, p, v);
	case PLX_RPC_REAL:
		return json_is_number(v) ? json_real(json_number_value(v))
					 : wrong_type(c, at, v, "number");
	case PLX_RPC_STRING:
		return check_string(c, at, v);
	case PLX_RPC_ENUM:
		return check_enum(c, at, p, v);
	case PLX_RPC_OBJECT:
		if (p->fields)
			return check_object(c, at, p->fields, v);
		return json_is_object(v) ? json_incref((json_t *)v)
					 : wrong_type(c, at, v, "object");
	case PLX_RPC_ARRAY:
	case PLX_RPC_STRINGS:
		return check_array(c, at, p, v);
	}
	return NULL;
}

static json_t *refuse_unknown(struct checker *c, const struct place *at,
			      const struct plx_rpc_param *fields)
{
	char names[320];
	struct text t = { names, sizeof(names), 0 };
	const struct plx_rpc_param *p = fields;

	if (!p || !p->name)
		return refuse(c, at, "there is no such parameter: this method takes none");
	for (; p->name && t.used < sizeof(names) - 48; p++)
		put(&t, "%s%s", p == fields ? "" : ", ", p->name);
	return refuse(c, at, "there is no such parameter: there are %s%s", names,
		      p->name ? ", ..." : "");
}

static json_t *take_default(struct checker *c, const struct place *at,
			    const struct plx_rpc_param *p)
{
	json_t *v = json_loads(p->dflt, JSON_DECODE_ANY, NULL), *checked;

	checked = v ? check_value(c, at, p, v)
		    : refuse(c, at, "its default is no JSON: report this error in the program");
	json_decref(v);
	return checked;
}

/* @fields NULL: of a method without parameters */
static json_t *check_object(struct checker *c, const struct place *at,
			    const struct plx_rpc_param *fields, const json_t *v)
{
	static const struct plx_rpc_param none[1];
	const struct plx_rpc_param *p;
	json_t *out, *member, *checked;
	const char *key;

	if (!json_is_object(v))
		return wrong_type(c, at, v, "object");
	if (!fields)
		fields = none;
	json_object_foreach((json_t *)v, key, member)
	{
		struct place here = { at, key, 0 };

		for (p = fields; p->name && strcmp(p->name, key); p++)
			;
		if (!p->name)
			return refuse_unknown(c, &here, fields);
	}
	out = json_object();
	for (p = fields; p->name; p++) {
		struct place here = { at, p->name, 0 };

		member = json_object_get(v, p->name);
		if (!member && p->required) {
			refuse(c, &here, "it is missing, and required: %s",
			       p->help ? p->help : "add it");
			goto fail;
		}
		if (!member && !p->dflt)
			continue;
		checked = member ? check_value(c, &here, p, member) : take_default(c, &here, p);
		if (!checked || json_object_set_new(out, p->name, checked))
			goto fail;
	}
	return out;
fail:
	json_decref(out);
	return NULL;
}

json_t *plx_rpc_check(const struct plx_rpc_method *m, const json_t *params, char *err,
		      size_t errlen)
{
	struct checker c = { m->name, err, errlen };
	json_t *none, *out;

	if (errlen)
		*err = '\0';
	if (json_is_array(params))
		return refuse(&c, NULL,
			      "parameters by position are not taken: give an object with their "
			      "names, as in {\"name\": value}");
	if (params && !json_is_null(params)) {
		if (!json_is_object(params)) {
			struct shown s;

			return refuse(&c, NULL,
				      "the parameters are %s: give an object with their names",
				      show(&s, params));
		}
		return check_object(&c, NULL, m->params, params);
	}
	none = json_object();
	out = check_object(&c, NULL, m->params, none);
	json_decref(none);
	return out;
}

json_t *rpc_params(struct plx_rpc_call *call, const json_t *params)
{
	json_t *out = plx_rpc_check(call->method, params, call->message, sizeof(call->message));

	if (!out)
		call->code = *call->message ? PLX_RPC_INVALID_PARAMS : PLX_RPC_INTERNAL_ERROR;
	return out;
}
