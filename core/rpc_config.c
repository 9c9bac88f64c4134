/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_config.c - the parts of a saved configuration, their order, and loading one
 */
#include "core/rpc_internal.h"
#include <errno.h>
#include <pollux/env.h>
#include <stdio.h>
#include <string.h>

static struct {
	struct plx_rpc_subsystem *list;
	bool sorted;
} subsystems;

void plx_rpc_register_subsystem(struct plx_rpc_subsystem *s)
{
	struct plx_rpc_subsystem **at = &subsystems.list;

	/* by name, so that the order does not hang on that of constructors */
	while (*at && strcmp((*at)->name, s->name) < 0)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	subsystems.sorted = false;
}

/* whether @s is to come after @name */
static bool comes_after(const struct plx_rpc_subsystem *s, const char *name)
{
	size_t n;

	for (const char *w = s->after ? s->after : ""; *w; w += n + strspn(w + n, " ")) {
		n = strcspn(w, " ");
		if (n == strlen(name) && !strncmp(w, name, n))
			return true;
	}
	return false;
}

/* first of @list that waits for none of the others; where they wait for each other, the first */
static struct plx_rpc_subsystem **pick(struct plx_rpc_subsystem **list)
{
	for (struct plx_rpc_subsystem **at = list; *at; at = &(*at)->next) {
		bool waits = false;

		for (const struct plx_rpc_subsystem *o = *list; o; o = o->next)
			waits |= o != *at && comes_after(*at, o->name);
		if (!waits)
			return at;
	}
	return list;
}

const struct plx_rpc_subsystem *plx_rpc_first_subsystem(void)
{
	struct plx_rpc_subsystem *rest = subsystems.list, **end = &subsystems.list;

	if (subsystems.sorted)
		return subsystems.list;
	while (rest) {
		struct plx_rpc_subsystem **at = pick(&rest), *s = *at;

		*at = s->next;
		*end = s;
		end = &s->next;
	}
	*end = NULL;
	subsystems.sorted = true;
	return subsystems.list;
}

static int refuse(char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool only_members(const json_t *object, const char *a, const char *b, const char **other)
{
	json_t *v;

	json_object_foreach((json_t *)object, *other,
			    v) if (strcmp(*other, a) && strcmp(*other, b)) return false;
	return true;
}

/* the shape of all of it, before anything is carried out */
static int check_entry(const char *subsystem, size_t i, const json_t *entry, char *err,
		       size_t errlen)
{
	const char *method = json_string_value(json_object_get(entry, "method"));
	const char *other;

	if (!method)
		return refuse(err, errlen,
			      "subsystem '%s': entry %zu: it is to be an object with \"method\" "
			      "and \"params\"",
			      subsystem, i);
	if (!only_members(entry, "method", "params", &other))
		return refuse(err, errlen,
			      "subsystem '%s': %s: \"%.64s\" is unknown here: an entry has "
			      "\"method\" and \"params\"",
			      subsystem, method, other);
	if (!plx_rpc_find(method))
		return refuse(err, errlen,
			      "subsystem '%s': %.64s: there is no such method: rpc_get_methods "
			      "lists them",
			      subsystem, method);
	return 0;
}

static bool is_registered(const char *name)
{
	const struct plx_rpc_subsystem *s = plx_rpc_first_subsystem();

	while (s && strcmp(s->name, name))
		s = s->next;
	return s != NULL;
}

static int check_subsystem(size_t i, const json_t *entry, char *err, size_t errlen)
{
	const char *name = json_string_value(json_object_get(entry, "subsystem")), *other;
	const json_t *config = json_object_get(entry, "config");
	size_t k;
	json_t *e;
	int rc;

	if (!name)
		return refuse(err, errlen,
			      "\"subsystems\": entry %zu: it is to be an object with \"subsystem\" "
			      "and \"config\"",
			      i);
	if (!only_members(entry, "subsystem", "config", &other))
		return refuse(err, errlen,
			      "subsystem '%.64s': \"%.64s\" is unknown here: it has \"subsystem\" "
			      "and \"config\"",
			      name, other);
	if (config && !json_is_null(config) && !json_is_array(config))
		return refuse(err, errlen, "subsystem '%.64s': \"config\" is to be an array", name);
	if (!is_registered(name)) {
		/* said once, not in each state */
		if (json_array_size(config) && plx_rpc_state() != PLX_RPC_STARTUP)
			plx_log(PLX_LOG_WARN, "rpc",
				"configuration: this program has no subsystem '%.64s': its %zu "
				"entries are left out",
				name, json_array_size(config));
		return 0;
	}
	json_array_foreach(config, k, e)
	{
		rc = check_entry(name, k, e, err, errlen);
		if (rc)
			return rc;
	}
	return 0;
}

static int check_config(const json_t *config, char *err, size_t errlen)
{
	const json_t *list = json_object_get(config, "subsystems");
	size_t i;
	json_t *e;
	int rc;

	if (!json_is_array(list))
		return refuse(err, errlen,
			      "it is no configuration: it is to be an object with the array "
			      "\"subsystems\"");
	json_array_foreach(list, i, e)
	{
		rc = check_subsystem(i, e, err, errlen);
		if (rc)
			return rc;
	}
	return 0;
}

/* what is allowed in both states is carried out in the second, once */
static bool is_due(const struct plx_rpc_method *m)
{
	return plx_rpc_state() == PLX_RPC_STARTUP ? m->states == PLX_RPC_STARTUP
						  : m->states & PLX_RPC_RUNTIME;
}

static int load_entries(const char *subsystem, const json_t *entries, char *err, size_t errlen)
{
	char why[1024];
	size_t i;
	json_t *e;
	int rc;

	json_array_foreach(entries, i, e)
	{
		const char *method = json_string_value(json_object_get(e, "method"));

		if (!is_due(plx_rpc_find(method)))
			continue;
		rc = plx_rpc_invoke(method, json_object_get(e, "params"), NULL, why, sizeof(why));
		if (rc) {
			refuse(err, errlen, "subsystem '%s': entry %zu: %s", subsystem, i, why);
			/* JSON-RPC's own codes are no errno */
			return rc < -1 && rc > -4096 ? rc : -EINVAL;
		}
	}
	return 0;
}

int plx_rpc_load_config(const json_t *config, char *err, size_t errlen)
{
	const json_t *list = json_object_get(config, "subsystems");
	int rc = check_config(config, err, errlen);
	size_t i;
	json_t *e;

	for (const struct plx_rpc_subsystem *s = plx_rpc_first_subsystem(); s && !rc; s = s->next) {
		json_array_foreach(list, i, e)
		{
			if (!rc &&
			    !strcmp(json_string_value(json_object_get(e, "subsystem")), s->name))
				rc = load_entries(s->name, json_object_get(e, "config"), err,
						  errlen);
		}
	}
	return rc;
}
