/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/config.c - the configuration of a running server, to a file and from it
 */
#include "targets/rpc/cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed(struct cli_client *c)
{
	fprintf(stderr, "plx-rpc: %s\n", c->err);
	return PLX_EXIT_FAILED;
}

/* ---- to a file ---- */

static json_t *fetch(struct cli_client *c)
{
	json_t *names = cli_call(c, "framework_get_subsystems", NULL), *list, *entry;
	size_t i;

	if (!names)
		return NULL;
	list = json_array();
	json_array_foreach(names, i, entry)
	{
		json_t *name = json_object_get(entry, "subsystem");
		json_t *params = json_pack("{s:O}", "name", name), *config;

		config = cli_call(c, "framework_get_config", params);
		json_decref(params);
		if (!config) {
			json_decref(names);
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list,
				      json_pack("{s:O, s:o}", "subsystem", name, "config", config));
	}
	json_decref(names);
	return json_pack("{s:o}", "subsystems", list);
}

static int cannot_write(const char *file, int error)
{
	fprintf(stderr, "plx-rpc: --save: %s: cannot be written: %s: choose another file\n", file,
		strerror(error));
	return PLX_EXIT_FAILED;
}

/* all of it, or what was there before */
static int write_file(const json_t *config, const char *file)
{
	char *temporary = malloc(strlen(file) + 32);
	FILE *f;
	int rc;

	sprintf(temporary, "%s.%ld.new", file, (long)getpid());
	f = fopen(temporary, "wx");
	if (!f) {
		rc = cannot_write(file, errno);
		free(temporary);
		return rc;
	}
	rc = json_dumpf(config, f, JSON_INDENT(2)) || fputc('\n', f) == EOF || fflush(f) ||
	     fsync(fileno(f));
	if (rc)
		rc = errno;
	if (fclose(f) && !rc)
		rc = errno;
	if (!rc && rename(temporary, file))
		rc = errno;
	if (rc) {
		unlink(temporary);
		rc = cannot_write(file, rc);
	}
	free(temporary);
	return rc;
}

int cli_save(struct cli_client *c, const char *file)
{
	json_t *config = fetch(c);
	int rc = PLX_EXIT_OK;

	if (!config)
		return failed(c);
	if (!strcmp(file, "-")) {
		json_dumpf(config, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		rc = write_file(config, file);
	}
	json_decref(config);
	return rc;
}

/* ---- from a file ---- */

struct loader {
	struct cli_client *c;
	const char *file;
	json_t *known; /* methods of the server: {name: true} */
	json_t *allowed; /* those in its present state */
	size_t left; /* entries that wait for another state */
	const char *waits; /* method of the first of them */
};

/* the server's methods as the keys of an object */
static json_t *method_set(struct loader *l, bool current)
{
	json_t *params = json_pack("{s:b}", "current", current);
	json_t *names = cli_call(l->c, "rpc_get_methods", params), *set = NULL, *name;
	size_t i;

	json_decref(params);
	if (!names)
		return NULL;
	set = json_object();
	json_array_foreach(names, i, name)
		json_object_set_new(set, json_string_value(name), json_true());
	json_decref(names);
	return set;
}

static const char *method_of(const json_t *entry)
{
	return json_string_value(json_object_get(entry, "method"));
}

static int refuse_shape(struct loader *l, const char *subsystem, size_t i)
{
	fprintf(stderr,
		"plx-rpc: --load: %s: subsystem '%s': entry %zu: it is to be an object with "
		"\"method\" and \"params\"\n",
		l->file, subsystem, i);
	return PLX_EXIT_USAGE;
}

/* before anything is sent: the shape, and whether the server knows the methods */
static int check_subsystem(struct loader *l, json_t *s)
{
	const char *name = json_string_value(json_object_get(s, "subsystem")), *stranger = NULL;
	json_t *config = json_object_get(s, "config"), *entry;
	size_t i, known = 0;

	if (!name || (config && !json_is_null(config) && !json_is_array(config))) {
		fprintf(stderr,
			"plx-rpc: --load: %s: an entry of \"subsystems\" is to be an object with "
			"\"subsystem\" and the array \"config\"\n",
			l->file);
		return PLX_EXIT_USAGE;
	}
	json_array_foreach(config, i, entry)
	{
		const json_t *params = json_object_get(entry, "params");

		if (!method_of(entry) ||
		    (params && !json_is_object(params) && !json_is_null(params)))
			return refuse_shape(l, name, i);
		if (json_object_get(l->known, method_of(entry)))
			known++;
		else if (!stranger)
			stranger = method_of(entry);
	}
	if (stranger && known) {
		fprintf(stderr,
			"plx-rpc: --load: %s: subsystem '%s': the server has no method '%s': "
			"plx-rpc rpc_get_methods lists them\n",
			l->file, name, stranger);
		return PLX_EXIT_FAILED;
	}
	if (stranger) {
		fprintf(stderr,
			"plx-rpc: --load: %s: the server has no subsystem '%s': its %zu entries "
			"are left out\n",
			l->file, name, json_array_size(config));
		json_object_del(s, "config");
	}
	return PLX_EXIT_OK;
}

static int load_entry(struct loader *l, const char *subsystem, size_t i, const json_t *entry)
{
	json_t *result = cli_call(l->c, method_of(entry), json_object_get(entry, "params"));

	if (!result) {
		fprintf(stderr, "plx-rpc: --load: %s: subsystem '%s': entry %zu: %s\n", l->file,
			subsystem, i, l->c->err);
		return PLX_EXIT_FAILED;
	}
	json_decref(result);
	return PLX_EXIT_OK;
}

/* what the server's present state allows; the rest stays, done entries become null */
static int load_allowed(struct loader *l, json_t *subsystems)
{
	json_t *s, *entry;
	size_t i, k;
	int rc;

	l->left = 0;
	json_array_foreach(subsystems, i, s)
	{
		json_t *config = json_object_get(s, "config");

		json_array_foreach(config, k, entry)
		{
			if (json_is_null(entry))
				continue;
			if (!json_object_get(l->allowed, method_of(entry))) {
				if (!l->left++)
					l->waits = method_of(entry);
				continue;
			}
			rc = load_entry(l, json_string_value(json_object_get(s, "subsystem")), k,
					entry);
			if (rc)
				return rc;
			json_array_set_new(config, k, json_null());
		}
	}
	return PLX_EXIT_OK;
}

static int refresh(struct loader *l)
{
	json_decref(l->allowed);
	l->allowed = method_set(l, true);
	return l->allowed ? PLX_EXIT_OK : failed(l->c);
}

static int load_all(struct loader *l, json_t *subsystems)
{
	json_t *s, *result;
	size_t i;
	int rc;

	l->known = method_set(l, false);
	rc = l->known ? refresh(l) : failed(l->c);
	json_array_foreach(subsystems, i, s)
	{
		if (!rc)
			rc = check_subsystem(l, s);
	}
	if (!rc)
		rc = load_allowed(l, subsystems);
	if (!rc && json_object_get(l->allowed, "framework_start_init")) {
		result = cli_call(l->c, "framework_start_init", NULL);
		rc = result ? refresh(l) : failed(l->c);
		json_decref(result);
		if (!rc)
			rc = load_allowed(l, subsystems);
	}
	if (!rc && l->left) {
		fprintf(stderr,
			"plx-rpc: --load: %s: %s may be called only before the server runs: start "
			"it with --wait-for-rpc and load this then\n",
			l->file, l->waits);
		rc = PLX_EXIT_FAILED;
	}
	return rc;
}

int cli_load(struct cli_client *c, const char *file)
{
	bool is_stdin = !strcmp(file, "-");
	struct loader l = { .c = c, .file = is_stdin ? "standard input" : file };
	FILE *f = is_stdin ? stdin : fopen(file, "r");
	json_t *config, *subsystems;
	json_error_t e;
	int rc;

	if (!f) {
		fprintf(stderr, "plx-rpc: --load: %s: %s: name a file that can be read\n", file,
			strerror(errno));
		return PLX_EXIT_USAGE;
	}
	config = json_loadf(f, JSON_REJECT_DUPLICATES, &e);
	if (!is_stdin)
		fclose(f);
	subsystems = json_object_get(config, "subsystems");
	if (!config) {
		fprintf(stderr, "plx-rpc: --load: %s: line %d: this is no JSON: %s\n", l.file,
			e.line, e.text);
		return PLX_EXIT_USAGE;
	}
	if (!json_is_array(subsystems)) {
		fprintf(stderr,
			"plx-rpc: --load: %s: this is no configuration: it has no array "
			"\"subsystems\"\n",
			l.file);
		rc = PLX_EXIT_USAGE;
	} else {
		rc = load_all(&l, subsystems);
	}
	json_decref(l.known);
	json_decref(l.allowed);
	json_decref(config);
	return rc;
}
