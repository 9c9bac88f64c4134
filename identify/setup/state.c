/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/state.c - what there was before plx-setup changed it: /run/pollux/setup.json
 *
 * Below /run, so it ends with what it describes: no override and no page outlives a boot. It is
 * written before a change, so whatever happens in between can be undone.
 */
#include "identify/setup/setup.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_DIR "/run/pollux"

static void path_of(char out[PATH_MAX], const char *file)
{
	snprintf(out, PATH_MAX, "%s" STATE_DIR "%s", plx_pci_root(), file);
}

/* Return: a lock's descriptor; -1 after a message */
static int take_lock(void)
{
	char path[PATH_MAX];
	int fd;

	path_of(path, "");
	if (mkdir(path, 0755) && errno != EEXIST) {
		setup_complain("%s: %s%s", path, strerror(errno),
			       errno == EACCES ? ": changes need root" : "");
		return -1;
	}
	path_of(path, "/setup.lock");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		setup_complain("%s: %s%s", path, strerror(errno),
			       errno == EACCES ? ": changes need root" : "");
		return -1;
	}
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	setup_complain("another plx-setup is at work: try again when it is done (lock: %s)", path);
	close(fd);
	return -1;
}

/* the members that others rely on are there, and of their types */
static bool complete(json_t *s)
{
	static const char *const arrays[] = { "owners", "hugepages" };

	if (!json_is_object(s))
		return false;
	if (!json_object_get(s, "devices"))
		json_object_set_new(s, "devices", json_object());
	for (size_t i = 0; i < PLX_ARRAY_SIZE(arrays); i++) {
		if (!json_object_get(s, arrays[i]))
			json_object_set_new(s, arrays[i], json_array());
		if (!json_is_array(json_object_get(s, arrays[i])))
			return false;
	}
	return json_is_object(json_object_get(s, "devices"));
}

int setup_state_open(struct setup_state *s, bool to_change)
{
	char path[PATH_MAX];
	json_error_t e;
	FILE *f;

	*s = (struct setup_state){ .lock = -1 };
	if (to_change) {
		s->lock = take_lock();
		if (s->lock < 0)
			return PLX_EXIT_FAILED;
	}
	path_of(path, "/setup.json");
	f = fopen(path, "re");
	if (f) {
		s->json = json_loadf(f, JSON_REJECT_DUPLICATES, &e);
		fclose(f);
	} else if (errno == ENOENT || !to_change) {
		s->json = json_object();
	}
	if (s->json && complete(s->json))
		return PLX_EXIT_OK;
	setup_complain(
		"%s cannot be read: what was changed is not known: look at 'plx-setup status', "
		"and remove the file",
		path);
	setup_state_close(s);
	return PLX_EXIT_FAILED;
}

void setup_state_close(struct setup_state *s)
{
	json_decref(s->json);
	s->json = NULL;
	if (s->lock >= 0)
		close(s->lock);
	s->lock = -1;
}

static bool empty(const struct setup_state *s)
{
	return !json_object_size(json_object_get(s->json, "devices")) &&
	       !json_array_size(json_object_get(s->json, "owners")) &&
	       !json_array_size(json_object_get(s->json, "hugepages"));
}

int setup_state_save(const struct setup_state *s)
{
	char path[PATH_MAX], next[PATH_MAX];
	int fd, rc = -1;
	FILE *f;

	path_of(path, "/setup.json");
	path_of(next, "/setup.json.new");
	if (empty(s)) {
		if (!unlink(path) || errno == ENOENT)
			return PLX_EXIT_OK;
		return setup_complain("%s: %s", path, strerror(errno));
	}
	fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f) {
		rc = json_dumpf(s->json, f, JSON_INDENT(2));
		rc |= fputc('\n', f) == EOF;
		rc |= fclose(f);
	} else if (fd >= 0) {
		close(fd);
	}
	if (!rc && !rename(next, path))
		return PLX_EXIT_OK;
	return setup_complain("%s: %s: nothing more is changed, as it could not be undone", path,
			      strerror(errno));
}

json_t *setup_state_device(const struct setup_state *s, const struct plx_pci_func *f)
{
	json_t *entry =
		s->json ? json_object_get(json_object_get(s->json, "devices"), f->name) : NULL;

	if (!json_is_string(json_object_get(entry, "driver")) ||
	    !json_is_string(json_object_get(entry, "driver_override")) ||
	    json_integer_value(json_object_get(entry, "vendor")) != f->vendor ||
	    json_integer_value(json_object_get(entry, "device")) != f->device)
		return NULL;
	return entry;
}
