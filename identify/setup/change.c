/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/change.c - changing drivers so that it can be undone; unbind, reset, restore
 */
#include "identify/setup/change.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *name_of(const char *driver)
{
	return *driver ? driver : "no driver";
}

/* ---- what there was before ---- */

int change_record(struct setup_state *s, struct change *c)
{
	const struct setup_device *d = &c->dev;
	json_t *entry = setup_state_device(s, &d->f);

	if (entry)
		return PLX_EXIT_OK; /* from before the first change */
	entry = json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:I}", "driver", d->f.driver,
			  "driver_override", d->f.driver_override, "vendor", d->f.vendor, "device",
			  d->f.device, "model", d->model, "serial", d->serial, "firmware",
			  d->firmware, "bytes", (json_int_t)d->bytes);
	if (json_object_set_new(json_object_get(s->json, "devices"), d->f.name, entry))
		return setup_complain("%s: out of memory", d->f.name);
	c->recorded = true;
	return setup_state_save(s);
}

static int forget(struct setup_state *s, const char *name)
{
	json_object_del(json_object_get(s->json, "devices"), name);
	return setup_state_save(s);
}

/* nothing is left to be undone */
static bool as_before(const json_t *entry, const char *driver, const char *override)
{
	return !strcmp(json_string_value(json_object_get(entry, "driver")), driver) &&
	       !strcmp(json_string_value(json_object_get(entry, "driver_override")), override) &&
	       !json_is_true(json_object_get(entry, "persistent"));
}

/* ---- one change ---- */

int change_do(const struct setup_options *o, struct setup_state *s, struct change *c)
{
	const struct plx_pci_func *f = &c->dev.f;
	const json_t *entry;

	if (!strcmp(f->driver, c->driver) && !strcmp(f->driver_override, c->override)) {
		if (!o->json)
			printf("%s: already has %s\n", f->name, name_of(c->driver));
		return PLX_EXIT_OK;
	}
	if (o->dry_run) {
		setup_report(o, f->name, name_of(f->driver), name_of(c->driver));
		return PLX_EXIT_OK;
	}
	if (change_record(s, c))
		return PLX_EXIT_FAILED;
	if (setup_switch(f, c->driver, c->override)) {
		struct plx_pci_func now;

		if (c->recorded && !plx_pci_read(&f->addr, &now) && !strcmp(now.driver, f->driver))
			forget(s, f->name);
		return PLX_EXIT_FAILED;
	}
	c->done = true;
	setup_report(o, f->name, name_of(f->driver), name_of(c->driver));
	entry = setup_state_device(s, f);
	return entry && as_before(entry, c->driver, c->override) ? forget(s, f->name) : PLX_EXIT_OK;
}

void change_take_back(const struct setup_options *o, struct setup_state *s, struct change *c)
{
	const struct plx_pci_func *old = &c->dev.f;
	struct plx_pci_func now;

	if (!c->done || plx_pci_read(&old->addr, &now))
		return;
	c->done = false;
	if (o->persist && (setup_persist(old, "", false) || plx_pci_read(&old->addr, &now)))
		return;
	if (strcmp(now.driver, old->driver) || strcmp(now.driver_override, old->driver_override)) {
		if (setup_switch(&now, old->driver, old->driver_override))
			return;
	}
	setup_report(o, old->name, name_of(c->driver), name_of(old->driver));
	if (c->recorded)
		forget(s, old->name);
}

int change_run(const struct setup_options *o,
	       int (*what)(const struct setup_options *, struct setup_state *, struct changes *))
{
	struct changes all = { 0 };
	struct setup_device *d;
	struct setup_state s;
	int rc = setup_state_open(&s, !o->dry_run);
	size_t n;

	if (rc)
		return rc;
	rc = setup_devices_load(o, &s, &d, &n);
	if (!rc) {
		all.c = calloc(n + 1, sizeof(*all.c));
		rc = all.c ? PLX_EXIT_OK : setup_complain("out of memory");
	}
	for (size_t i = 0; !rc && i < n; i++)
		all.c[all.n++].dev = d[i];
	if (!rc)
		rc = what(o, &s, &all);
	if (setup_interrupted())
		rc = setup_complain(
			"interrupted: the devices above have been changed, the others not");
	setup_report_end(o);
	free(all.c);
	setup_devices_free(d, n);
	setup_state_close(&s);
	return rc;
}

/* ---- unbind ---- */

static int unbind_all(const struct setup_options *o, struct setup_state *s, struct changes *all)
{
	int rc = PLX_EXIT_OK;

	for (size_t i = 0; i < all->n; i++) {
		struct change *c = &all->c[i];

		c->driver = "";
		c->override = c->dev.f.driver_override;
		if (*c->dev.f.driver && !change_check(o, c))
			rc = PLX_EXIT_FAILED;
	}
	for (size_t i = 0; i < all->n && !rc && !setup_interrupted(); i++)
		rc = change_do(o, s, &all->c[i]);
	return rc;
}

int setup_unbind(const struct setup_options *o)
{
	return change_run(o, unbind_all);
}

/* ---- reset ---- */

static int reset_one(const struct setup_options *o, const struct plx_pci_func *f)
{
	int rc = o->dry_run ? 0 : plx_pci_reset(&f->addr);

	if (!rc) {
		setup_report(o, f->name, "", "reset");
		return PLX_EXIT_OK;
	}
	return setup_complain("%s: it cannot be reset: %s", f->name,
			      rc == -ENOTSUP ? "the kernel knows no way to reset this device alone"
					     : strerror(-rc));
}

static int reset_all(const struct setup_options *o, struct setup_state *s, struct changes *all)
{
	int rc = PLX_EXIT_OK;

	for (size_t i = 0; i < all->n; i++)
		rc |= change_check(o, &all->c[i]) ? PLX_EXIT_OK : PLX_EXIT_FAILED;
	if (rc)
		return rc;
	for (size_t i = 0; i < all->n && !setup_interrupted(); i++)
		rc |= reset_one(o, &all->c[i].dev.f);
	return rc;
}

int setup_reset(const struct setup_options *o)
{
	return change_run(o, reset_all);
}

/* ---- restore ---- */

static bool is_wanted(const struct setup_options *o, const struct plx_pci_addr *a)
{
	for (size_t i = 0; i < o->naddrs; i++) {
		if (plx_pci_addr_equal(&o->addrs[i], a))
			return true;
	}
	return !o->naddrs;
}

/* @f: read anew, as the kernel has probed the device */
static int restore_persistent(const struct setup_options *o, struct setup_state *s,
			      struct plx_pci_func *f, json_t *entry)
{
	if (setup_persist(f, "", o->dry_run))
		return PLX_EXIT_FAILED;
	if (o->dry_run)
		return PLX_EXIT_OK;
	json_object_set_new(entry, "persistent", json_false());
	if (plx_pci_read(&f->addr, f))
		return setup_complain("%s is gone", f->name);
	return setup_state_save(s);
}

static int restore_driver(const struct setup_options *o, struct setup_state *s,
			  const struct plx_pci_func *f, json_t *entry)
{
	struct change c = { .driver = json_string_value(json_object_get(entry, "driver")),
			    .override =
				    json_string_value(json_object_get(entry, "driver_override")) };
	bool persistent = json_is_true(json_object_get(entry, "persistent"));
	int rc = setup_device_load(&c.dev, f, s);

	if (rc)
		return setup_complain("%s: %s", f->name, strerror(-rc));
	json_incref(entry); /* its texts are in @c, and change_do() may delete it */
	rc = PLX_EXIT_OK;
	if ((persistent || strcmp(f->driver, c.driver)) && !change_check(o, &c))
		rc = PLX_EXIT_FAILED;
	if (!rc && persistent)
		rc = restore_persistent(o, s, &c.dev.f, entry);
	if (!rc && *c.driver)
		rc = setup_load_driver(c.driver, o->dry_run);
	if (!rc && !as_before(entry, c.dev.f.driver, c.dev.f.driver_override))
		rc = change_do(o, s, &c);
	else if (!rc && !o->dry_run)
		rc = forget(s, f->name);
	json_decref(entry);
	setup_device_free(&c.dev);
	return rc;
}

static int restore_device(const struct setup_options *o, struct setup_state *s, const char *name)
{
	struct plx_pci_addr a;
	struct plx_pci_func f;
	json_t *entry;
	int rc;

	if (plx_pci_addr_parse(name, &a, NULL, 0))
		return o->dry_run ? PLX_EXIT_OK : forget(s, name);
	if (!is_wanted(o, &a))
		return PLX_EXIT_OK;
	rc = plx_pci_read(&a, &f);
	if (rc && rc != -ENODEV)
		return setup_complain("%s: %s", name, strerror(-rc));
	entry = rc ? NULL : setup_state_device(s, &f);
	if (entry)
		return restore_driver(o, s, &f, entry);
	if (!o->json)
		printf("%s: %s: nothing to restore\n", name,
		       rc ? "is gone" : "is another device by now");
	return o->dry_run ? PLX_EXIT_OK : forget(s, name);
}

static int restore_owners(const struct setup_options *o, struct setup_state *s)
{
	json_t *owners = json_object_get(s->json, "owners");
	int rc = PLX_EXIT_OK;

	if (o->dry_run || !json_array_size(owners))
		return PLX_EXIT_OK;
	for (size_t i = 0; i < json_array_size(owners); i++) {
		const json_t *entry = json_array_get(owners, i);
		const char *path = json_string_value(json_object_get(entry, "path"));
		uid_t uid = (uid_t)json_integer_value(json_object_get(entry, "uid"));
		size_t n = strlen(plx_pci_root());

		if (!path || strncmp(path, plx_pci_root(), n) ||
		    strncmp(path + n, "/dev/vfio/", 10) || strchr(path + n + 10, '/'))
			continue;
		if (lchown(path, uid, (gid_t)-1) && errno != ENOENT)
			rc = setup_complain("%s: %s: it stays the user's", path, strerror(errno));
	}
	json_array_clear(owners);
	return rc | setup_state_save(s);
}

int setup_restore(const struct setup_options *o)
{
	json_t *devices, *names, *name, *entry;
	const char *key;
	struct setup_state s;
	int rc = setup_state_open(&s, !o->dry_run);
	size_t i;

	if (rc)
		return rc;
	devices = json_object_get(s.json, "devices");
	names = json_array();
	json_object_foreach(devices, key, entry) json_array_append_new(names, json_string(key));
	if (!o->json && !json_array_size(names) &&
	    !json_array_size(json_object_get(s.json, "hugepages")))
		puts("nothing to restore");
	json_array_foreach(names, i, name)
	{
		if (!setup_interrupted())
			rc |= restore_device(o, &s, json_string_value(name));
	}
	json_decref(names);
	if (!o->naddrs && !setup_interrupted())
		rc |= restore_owners(o, &s) | setup_hugepages_restore(o, &s);
	if (setup_interrupted())
		rc = setup_complain("interrupted: 'plx-setup restore' goes on with what is left");
	setup_report_end(o);
	setup_state_close(&s);
	return rc;
}
