/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/bind.c - giving controllers to a driver, all of an IOMMU group or none of it
 */
#include "identify/setup/change.h"
#include "identify/setup/setup.h"
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool for_userspace(const char *driver)
{
	return strcmp(driver, SETUP_KERNEL) != 0;
}

/* ---- may it be? ---- */

static const struct change *change_of(const struct changes *all, const struct plx_pci_addr *a)
{
	for (size_t i = 0; i < all->n; i++) {
		if (!all->c[i].skip && plx_pci_addr_equal(&all->c[i].dev.f.addr, a))
			return &all->c[i];
	}
	return NULL;
}

/* VFIO hands out whole groups: the others are free of kernel drivers, or come along */
static bool check_group(const struct changes *all, const struct change *c, bool quiet)
{
	const struct plx_pci_func *f = &c->dev.f;
	struct plx_pci_func *members;
	char list[600] = "";
	size_t n;
	int rc;

	if (f->iommu_group < 0 || strcmp(c->driver, SETUP_VFIO))
		return true;
	rc = plx_pci_group(f->iommu_group, &members, &n);
	if (rc) {
		setup_complain("%s: IOMMU group %d: %s", f->name, f->iommu_group, strerror(-rc));
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		size_t used = strlen(list);

		if (!plx_pci_group_tolerates(&members[i]) && !change_of(all, &members[i].addr))
			snprintf(list + used, sizeof(list) - used, "%s%s (%s)", used ? ", " : "",
				 members[i].name, members[i].driver);
	}
	free(members);
	if (*list && !quiet)
		setup_complain(
			"%s is in IOMMU group %d with %s: a group is handed over as a whole: name "
			"those too, or unbind them",
			f->name, f->iommu_group, list);
	return !*list;
}

static bool check_kind(const struct setup_options *o, const struct change *c)
{
	const struct plx_pci_func *f = &c->dev.f;

	if (!strcmp(c->driver, SETUP_VFIO) && f->iommu_group < 0) {
		char mode[8] = "";

		plx_pci_read_text("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", mode,
				  sizeof(mode));
		if (*mode != 'Y' && *mode != '1') {
			setup_complain(
				"%s has no IOMMU group, which vfio-pci needs: enable the IOMMU in "
				"the firmware and boot with intel_iommu=on or amd_iommu=on, or "
				"use uio_pci_generic",
				f->name);
			return false;
		}
	}
	if (!strcmp(c->driver, SETUP_UIO) && f->is_vf) {
		setup_complain("%s is a virtual function, which uio_pci_generic cannot drive: use "
			       "vfio-pci",
			       f->name);
		return false;
	}
	if (o->user && for_userspace(c->driver) && strcmp(c->driver, SETUP_VFIO)) {
		setup_complain("%s: --user works with vfio-pci only: %s needs root", f->name,
			       c->driver);
		return false;
	}
	return true;
}

bool change_check(const struct setup_options *o, const struct change *c)
{
	const struct plx_pci_func *f = &c->dev.f;

	if (setup_device_refuse(&c->dev, o->force))
		return false;
	if (f->numvfs) {
		setup_complain("%s has %u virtual functions: remove them first (echo 0 > "
			       "/sys/bus/pci/devices/%s/sriov_numvfs)",
			       f->name, f->numvfs, f->name);
		return false;
	}
	return true;
}

/* one of --all-free: what cannot be taken is left alone */
static void skip_unfree(const struct setup_options *o, struct change *c)
{
	const struct setup_device *d = &c->dev;

	c->skip = d->nuses || (*d->set && !o->force) || d->f.numvfs ||
		  !strcmp(d->f.driver, SETUP_VFIO) || !strcmp(d->f.driver, SETUP_UIO);
}

static int choose(const struct setup_options *o, struct changes *all)
{
	int rc = PLX_EXIT_OK;

	for (size_t i = 0; i < all->n; i++) {
		struct change *c = &all->c[i];

		if (o->all_free)
			skip_unfree(o, c);
		if (c->skip)
			continue;
		c->driver = o->driver ? o->driver : setup_choose_driver(&c->dev.f);
		c->override = c->driver && for_userspace(c->driver) ? c->driver : "";
		if (!c->driver || !check_kind(o, c))
			rc = PLX_EXIT_FAILED;
		else if ((o->persist || strcmp(c->dev.f.driver, c->driver)) && !change_check(o, c))
			rc = PLX_EXIT_FAILED;
	}
	return rc;
}

static int check_groups(const struct setup_options *o, struct changes *all)
{
	int rc = PLX_EXIT_OK;

	/* with --all-free, one that is left alone may be what another's group lacks: once more */
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < all->n; i++) {
			struct change *c = &all->c[i];

			if (c->skip || check_group(all, c, o->all_free))
				continue;
			if (o->all_free)
				c->skip = again = true;
			else
				rc = PLX_EXIT_FAILED;
		}
	}
	return rc;
}

static int load_drivers(const struct setup_options *o, const struct changes *all)
{
	char path[256];

	if (o->persist && !setup_find_program("driverctl", path))
		return setup_complain(
			"--persist: there is no driverctl to remember it: install it (apt "
			"install driverctl), or leave --persist out");
	for (size_t i = 0; i < all->n; i++) {
		if (!all->c[i].skip && setup_load_driver(all->c[i].driver, o->dry_run))
			return PLX_EXIT_FAILED;
	}
	return PLX_EXIT_OK;
}

/* ---- an ordinary user ---- */

static int find_user(const struct setup_options *o, uid_t *uid)
{
	struct passwd *p;

	*uid = 0;
	if (!o->user)
		return PLX_EXIT_OK;
	errno = 0;
	p = getpwnam(o->user);
	if (!p) {
		setup_complain("--user: there is no user '%.64s'%s%s", o->user, errno ? ": " : "",
			       errno ? strerror(errno) : "");
		return PLX_EXIT_USAGE;
	}
	*uid = p->pw_uid;
	return PLX_EXIT_OK;
}

static void node_path(const struct plx_pci_func *f, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/dev/vfio/%s%d", plx_pci_root(), f->noiommu ? "noiommu-" : "",
		 f->iommu_group);
}

/* whose it was is kept where vfio-pci had it before: else the file goes away with that */
static int remember_owner(struct setup_state *s, const char *path, const struct stat *st)
{
	json_t *owners = json_object_get(s->json, "owners"), *entry;
	size_t i;

	json_array_foreach(owners, i, entry)
	{
		const char *known = json_string_value(json_object_get(entry, "path"));

		if (known && !strcmp(known, path))
			return PLX_EXIT_OK;
	}
	json_array_append_new(owners,
			      json_pack("{s:s, s:i}", "path", path, "uid", (int)st->st_uid));
	return setup_state_save(s);
}

static int give_to_user(const struct setup_options *o, struct setup_state *s, struct change *c,
			uid_t uid)
{
	bool had = !strcmp(c->dev.f.driver, SETUP_VFIO);
	struct plx_pci_func now;
	char path[PATH_MAX];
	struct stat st;

	if (!o->user || strcmp(c->driver, SETUP_VFIO))
		return PLX_EXIT_OK;
	/* without an IOMMU, VFIO makes the group when it takes the device */
	if (!o->dry_run && plx_pci_read(&c->dev.f.addr, &now))
		return setup_complain("%s is gone", c->dev.f.name);
	node_path(o->dry_run ? &c->dev.f : &now, path);
	if (o->dry_run) {
		setup_report(o, path, "root", o->user);
		return PLX_EXIT_OK;
	}
	if (lstat(path, &st))
		return setup_complain("%s: %s: it cannot be given to %s", path, strerror(errno),
				      o->user);
	if (had && remember_owner(s, path, &st))
		return PLX_EXIT_FAILED;
	if (st.st_uid == uid)
		return PLX_EXIT_OK;
	if (lchown(path, uid, (gid_t)-1))
		return setup_complain("%s: %s: it cannot be given to %s", path, strerror(errno),
				      o->user);
	setup_report(o, path, "root", o->user);
	return PLX_EXIT_OK;
}

static void hint_memlock(const struct setup_options *o)
{
	if (o->user && !o->json)
		printf("%s needs to lock the memory that devices use: if 'ulimit -l' says less "
		       "than that, "
		       "add '%s - memlock unlimited' to /etc/security/limits.conf and log in "
		       "anew\n",
		       o->user, o->user);
}

/* ---- doing it ---- */

static int persist_one(const struct setup_options *o, struct setup_state *s, struct change *c)
{
	json_t *entry;

	if (!o->persist)
		return PLX_EXIT_OK;
	if (!o->dry_run && change_record(s, c))
		return PLX_EXIT_FAILED;
	if (setup_persist(&c->dev.f, c->override, o->dry_run))
		return PLX_EXIT_FAILED;
	entry = setup_state_device(s, &c->dev.f);
	if (!entry || o->dry_run)
		return PLX_EXIT_OK;
	json_object_set_new(entry, "persistent", json_boolean(*c->override != '\0'));
	return setup_state_save(s);
}

/* From @first on, those of one group. Return: an enum plx_exit; @end is behind them */
static int bind_group(const struct setup_options *o, struct setup_state *s, struct changes *all,
		      size_t first, size_t *end, uid_t uid)
{
	int group = all->c[first].dev.f.iommu_group, rc = PLX_EXIT_OK;
	size_t i = first;

	for (; i < all->n && !rc; i++) {
		if (i > first && (group < 0 || all->c[i].dev.f.iommu_group != group))
			break;
		if (all->c[i].skip)
			continue;
		rc = setup_interrupted() ? PLX_EXIT_FAILED : change_do(o, s, &all->c[i]);
		if (!rc)
			rc = persist_one(o, s, &all->c[i]);
		if (!rc) /* last: the device file is made anew with each change of driver */
			rc = give_to_user(o, s, &all->c[i], uid);
	}
	*end = i;
	if (rc) {
		while (i-- > first)
			change_take_back(o, s, &all->c[i]);
		while (*end < all->n && group >= 0 && all->c[*end].dev.f.iommu_group == group)
			(*end)++;
	}
	return rc;
}

static int bind_all(const struct setup_options *o, struct setup_state *s, struct changes *all)
{
	uid_t uid;
	int rc = find_user(o, &uid);

	if (rc)
		return rc;
	rc = choose(o, all);
	if (!rc)
		rc = check_groups(o, all);
	if (!rc)
		rc = load_drivers(o, all);
	if (rc)
		return rc;
	for (size_t i = 0; i < all->n && !setup_interrupted();)
		rc |= bind_group(o, s, all, i, &i, uid);
	if (!rc)
		hint_memlock(o);
	return rc;
}

int setup_bind(const struct setup_options *o)
{
	return change_run(o, bind_all);
}
