/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pci_use.c - what uses an NVMe controller: file systems, swap, stacked devices, processes
 *
 * First the device files that lead to the function are collected, with what is stacked on its
 * disks; then mounts, swap and processes are held against that list.
 */
#include "core/pci_internal.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAX_STACK 8 /* devices on devices */

/* A device file that leads to the function */
struct node {
	char name[64]; /* below /dev */
	bool block, disk; /* @disk: a whole one of the controller's own */
	bool has_dev;
	dev_t dev;
};

struct look {
	const struct plx_pci_func *f;
	struct node *nodes;
	size_t nnodes;
	struct plx_pci_use *uses;
	size_t nuses;
	int rc; /* -ENOMEM; nothing is added any more */
};

/* ---- lists ---- */

static void *one_more(struct look *l, void *array, size_t n, size_t size)
{
	void *more = l->rc ? NULL : realloc(array, (n + 1) * size);

	if (!more)
		l->rc = -ENOMEM;
	return more;
}

static void add_use(struct look *l, enum plx_pci_use_kind kind, const char *device, const char *by)
{
	struct plx_pci_use *more;

	for (size_t i = 0; i < l->nuses; i++) {
		const struct plx_pci_use *u = &l->uses[i];

		if (u->kind == kind && !strcmp(u->device, device) &&
		    !strncmp(u->by, by, sizeof(u->by) - 1))
			return;
	}
	more = one_more(l, l->uses, l->nuses, sizeof(*more));
	if (!more)
		return;
	l->uses = more;
	more = &l->uses[l->nuses++];
	more->kind = kind;
	snprintf(more->device, sizeof(more->device), "%s", device);
	snprintf(more->by, sizeof(more->by), "%s", by);
}

/* Return: false where it is known already */
static bool add_node(struct look *l, const char *name, bool block, bool disk, const char *sys_dir)
{
	unsigned major, minor;
	char path[PCI_PATH], text[32];
	struct node *more;

	for (size_t i = 0; i < l->nnodes; i++) {
		if (l->nodes[i].block == block && !strcmp(l->nodes[i].name, name))
			return false;
	}
	more = one_more(l, l->nodes, l->nnodes, sizeof(*more));
	if (!more)
		return false;
	l->nodes = more;
	more = &l->nodes[l->nnodes++];
	*more = (struct node){ .block = block, .disk = disk };
	snprintf(more->name, sizeof(more->name), "%s", name);
	snprintf(path, sizeof(path), "%s/dev", sys_dir);
	if (plx_pci_read_text(path, text, sizeof(text)) > 0 &&
	    sscanf(text, "%u:%u", &major, &minor) == 2) {
		more->has_dev = true;
		more->dev = makedev(major, minor);
	}
	return true;
}

/* Calls @each for every entry of a directory below the root; a missing one has none */
static void walk(struct look *l, const char *dir,
		 void (*each)(struct look *l, const char *dir, const char *name, void *arg),
		 void *arg)
{
	char path[PCI_PATH];
	struct dirent *e;
	DIR *d = pci_path(path, "%s", dir) ? NULL : opendir(path);

	while (d && (e = readdir(d))) {
		if (*e->d_name != '.')
			each(l, dir, e->d_name, arg);
	}
	if (d)
		closedir(d);
}

static bool exists(const char *dir, const char *name, const char *file)
{
	char path[PCI_PATH];

	return !pci_path(path, "%s/%s/%s", dir, name, file) && !access(path, F_OK);
}

/* ---- what the kernel's NVMe driver made ---- */

struct names {
	char *ctrlr;
	char (*disks)[PLX_PCI_NAME];
	size_t n;
	int rc;
};

/* "nvme0n1", or "nvme0c1n1": the path through controller 1 to the shared "nvme0n1" */
static bool disk_name(const char *entry, char out[PLX_PCI_NAME])
{
	unsigned subsystem, ctrlr, ns;
	int end = 0;

	if (sscanf(entry, "nvme%uc%un%u%n", &subsystem, &ctrlr, &ns, &end) == 3 && !entry[end])
		snprintf(out, PLX_PCI_NAME, "nvme%un%u", subsystem, ns);
	else if (sscanf(entry, "nvme%un%u%n", &subsystem, &ns, &end) == 2 && !entry[end])
		snprintf(out, PLX_PCI_NAME, "nvme%un%u", subsystem, ns);
	else
		return false;
	return true;
}

static void take_disk(struct look *l, const char *dir, const char *name, void *arg)
{
	char disk[PLX_PCI_NAME], (*more)[PLX_PCI_NAME];
	struct names *names = arg;

	if (names->rc || !disk_name(name, disk))
		return;
	more = realloc(names->disks, (names->n + 1) * sizeof(*more));
	if (!more) {
		names->rc = -ENOMEM;
		return;
	}
	names->disks = more;
	strcpy(more[names->n++], disk);
}

static void take_ctrlr(struct look *l, const char *dir, const char *name, void *arg)
{
	struct names *names = arg;
	char sub[PCI_PATH];

	if (strncmp(name, "nvme", 4) || strlen(name) >= PLX_PCI_NAME)
		return;
	strcpy(names->ctrlr, name);
	if ((size_t)snprintf(sub, sizeof(sub), "%s/%s", dir, name) < sizeof(sub))
		walk(l, sub, take_disk, names);
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(a, b);
}

int plx_pci_nvme_names(const struct plx_pci_addr *a, char ctrlr[PLX_PCI_NAME],
		       char (**disks)[PLX_PCI_NAME], size_t *n)
{
	char dir[PCI_PATH], addr[PLX_PCI_ADDR_TEXT];
	struct names names = { .ctrlr = ctrlr };

	*ctrlr = '\0';
	*disks = NULL;
	*n = 0;
	snprintf(dir, sizeof(dir), PCI_DEVICES "/%s/nvme", plx_pci_addr_format(a, addr));
	walk(NULL, dir, take_ctrlr, &names);
	if (names.rc) {
		free(names.disks);
		return names.rc;
	}
	if (names.n)
		qsort(names.disks, names.n, sizeof(*names.disks), by_name);
	*disks = names.disks;
	*n = names.n;
	return 0;
}

/* ---- disks, partitions and what is stacked on them ---- */

static void add_block(struct look *l, const char *name, const char *dir, bool disk, int depth);

static void read_into(char *out, size_t len, const char *holder, const char *file)
{
	char path[PCI_PATH];

	snprintf(path, sizeof(path), "/sys/block/%s/%s", holder, file);
	if (plx_pci_read_text(path, out, len) < 0)
		*out = '\0';
}

struct stack {
	const char *below;
	int depth;
};

static void take_holder(struct look *l, const char *dir, const char *name, void *arg)
{
	const struct stack *s = arg;
	enum plx_pci_use_kind kind = PLX_PCI_USE_HOLDER;
	char by[256], uuid[128], what[128], sub[PCI_PATH];

	read_into(uuid, sizeof(uuid), name, "dm/uuid");
	read_into(what, sizeof(what), name, "dm/name");
	snprintf(by, sizeof(by), *what ? "%s (%s)" : "%s%s", *what ? what : name,
		 *what ? name : "");
	if (!strncmp(uuid, "LVM-", 4)) {
		kind = PLX_PCI_USE_LVM;
	} else if (!strncmp(uuid, "CRYPT-", 6)) {
		kind = PLX_PCI_USE_CRYPT;
	} else if (*what) {
		kind = PLX_PCI_USE_DM;
	} else if (exists("/sys/block", name, "md")) {
		kind = PLX_PCI_USE_MD;
		read_into(what, sizeof(what), name, "md/level");
		if (*what)
			snprintf(by, sizeof(by), "%.40s (%s)", name, what);
	}
	add_use(l, kind, s->below, by);
	snprintf(sub, sizeof(sub), "/sys/block/%s", name);
	add_block(l, name, sub, false, s->depth + 1);
}

static void take_partition(struct look *l, const char *dir, const char *name, void *arg)
{
	const struct stack *s = arg;
	char sub[PCI_PATH];

	if (!strncmp(name, s->below, strlen(s->below)) && exists(dir, name, "partition") &&
	    (size_t)snprintf(sub, sizeof(sub), "%s/%s", dir, name) < sizeof(sub))
		add_block(l, name, sub, false, s->depth + 1);
}

static void add_block(struct look *l, const char *name, const char *dir, bool disk, int depth)
{
	struct stack s = { .below = name, .depth = depth };
	char holders[PCI_PATH];

	if (depth > MAX_STACK || !add_node(l, name, true, disk, dir))
		return;
	if ((size_t)snprintf(holders, sizeof(holders), "%s/holders", dir) < sizeof(holders))
		walk(l, holders, take_holder, &s);
	walk(l, dir, take_partition, &s);
}

/* ---- character devices ---- */

/* nvme0 and its ng0n1, ... */
static void take_generic(struct look *l, const char *dir, const char *name, void *arg)
{
	char sub[PCI_PATH];

	if (!strncmp(name, "ng", 2) && isdigit((unsigned char)name[2]) &&
	    (size_t)snprintf(sub, sizeof(sub), "%s/%s", dir, name) < sizeof(sub))
		add_node(l, name, false, false, sub);
}

/* the entries of a directory of the function are names of device files, below /dev/@arg */
static void take_char(struct look *l, const char *dir, const char *name, void *arg)
{
	char sub[PCI_PATH], node[64];

	if ((size_t)snprintf(node, sizeof(node), "%s%s", (const char *)arg, name) < sizeof(node) &&
	    (size_t)snprintf(sub, sizeof(sub), "%s/%s", dir, name) < sizeof(sub))
		add_node(l, node, false, false, sub);
}

static void collect_nodes(struct look *l)
{
	char ctrlr[PLX_PCI_NAME], (*disks)[PLX_PCI_NAME], dir[PCI_PATH], node[64];
	size_t n;
	int rc = plx_pci_nvme_names(&l->f->addr, ctrlr, &disks, &n);

	if (rc) {
		l->rc = rc;
		return;
	}
	if (*ctrlr) {
		snprintf(dir, sizeof(dir), "/sys/class/nvme/%s", ctrlr);
		add_node(l, ctrlr, false, false, dir);
		walk(l, dir, take_generic, NULL);
	}
	for (size_t i = 0; i < n; i++) {
		snprintf(dir, sizeof(dir), "/sys/block/%s", disks[i]);
		add_block(l, disks[i], dir, true, 0);
	}
	free(disks);
	snprintf(dir, sizeof(dir), PCI_DEVICES "/%s/uio", l->f->name);
	walk(l, dir, take_char, (void *)"");
	snprintf(dir, sizeof(dir), PCI_DEVICES "/%s/vfio-dev", l->f->name);
	walk(l, dir, take_char, (void *)"vfio/devices/");
	if (l->f->iommu_group >= 0) {
		snprintf(node, sizeof(node), "vfio/%s%d", l->f->noiommu ? "noiommu-" : "",
			 l->f->iommu_group);
		snprintf(dir, sizeof(dir), "/sys/class/%s", node);
		add_node(l, node, false, false, dir);
	}
}

/* ---- mounts, swap, btrfs ---- */

/* Octal escapes of /proc: \040 is a blank */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		if (*s == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to = *s;
		}
	}
	*to = '\0';
}

static const struct node *block_by_path(const struct look *l, const char *path)
{
	for (size_t i = 0; i < l->nnodes; i++) {
		if (l->nodes[i].block && !strncmp(path, "/dev/", 5) &&
		    !strcmp(path + 5, l->nodes[i].name))
			return &l->nodes[i];
	}
	return NULL;
}

static const struct node *by_number(const struct look *l, bool block, dev_t dev)
{
	for (size_t i = 0; i < l->nnodes; i++) {
		const struct node *node = &l->nodes[i];

		if (node->block == block && node->has_dev && node->dev == dev)
			return node;
	}
	return NULL;
}

/* "36 35 98:0 /root /where options shared:1 - ext4 /dev/source options" (proc_pid_mountinfo(5)) */
static void take_mount(struct look *l, char *line, const char *owner)
{
	char *field[5], *at = line, *source;
	const struct node *node = NULL;
	unsigned major, minor;
	char by[256];

	for (int i = 0; i < 5; i++)
		field[i] = strsep(&at, " ");
	source = at ? strstr(at, " - ") : NULL;
	if (!source)
		return;
	source += 3;
	strsep(&source, " ");
	source = strsep(&source, " \n");
	if (sscanf(field[2], "%u:%u", &major, &minor) == 2)
		node = by_number(l, true, makedev(major, minor));
	if (!node && source) {
		unescape(source);
		node = block_by_path(l, source);
	}
	if (!node)
		return;
	unescape(field[4]);
	if (*owner)
		snprintf(by, sizeof(by), "%.180s (seen by %s)", field[4], owner);
	else
		snprintf(by, sizeof(by), "%s", field[4]);
	add_use(l, PLX_PCI_USE_MOUNT, node->name, by);
}

static void take_mounts_of(struct look *l, const char *pid, const char *owner)
{
	char path[PCI_PATH], *line = NULL;
	size_t cap = 0;
	FILE *f = pci_path(path, "/proc/%s/mountinfo", pid) ? NULL : fopen(path, "re");

	while (f && getline(&line, &cap, f) > 0)
		take_mount(l, line, owner);
	free(line);
	if (f)
		fclose(f);
}

static void comm_of(const char *pid, char out[64])
{
	char path[64], comm[32];

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	if (plx_pci_read_text(path, comm, sizeof(comm)) <= 0)
		strcpy(comm, "a process");
	for (char *s = comm; *s; s++)
		*s = iscntrl((unsigned char)*s) ? '?' : *s;
	snprintf(out, 64, "%s, process %.16s", comm, pid);
}

struct namespaces {
	char (*seen)[32];
	size_t n;
};

/* One process of each mount namespace is asked */
static void take_namespace(struct look *l, const char *dir, const char *pid, void *arg)
{
	char path[PCI_PATH], id[32], owner[64], (*more)[32];
	struct namespaces *ns = arg;

	if (!isdigit((unsigned char)*pid) || pci_path(path, "/proc/%s/ns/mnt", pid) ||
	    pci_link_name(id, sizeof(id), path))
		return;
	for (size_t i = 0; i < ns->n; i++) {
		if (!strcmp(ns->seen[i], id))
			return;
	}
	more = one_more(l, ns->seen, ns->n, sizeof(*more));
	if (!more)
		return;
	ns->seen = more;
	strcpy(more[ns->n++], id);
	comm_of(pid, owner);
	if (ns->n > 1) /* the first is our own */
		take_mounts_of(l, pid, owner);
}

static void look_for_mounts(struct look *l)
{
	struct namespaces ns = { 0 };

	take_mounts_of(l, "self", "");
	ns.seen = one_more(l, NULL, 0, sizeof(*ns.seen));
	if (ns.seen) {
		char path[PCI_PATH];

		if (pci_path(path, "/proc/self/ns/mnt") ||
		    pci_link_name(ns.seen[0], sizeof(*ns.seen), path))
			*ns.seen[0] = '\0';
		ns.n = 1;
	}
	walk(l, "/proc", take_namespace, &ns);
	free(ns.seen);
}

static void look_for_swap(struct look *l)
{
	char path[PCI_PATH], *line = NULL;
	size_t cap = 0;
	FILE *f = pci_path(path, "/proc/swaps") ? NULL : fopen(path, "re");

	while (f && getline(&line, &cap, f) > 0) {
		const struct node *node;

		line[strcspn(line, " \t\n")] = '\0';
		unescape(line);
		node = block_by_path(l, line);
		if (node)
			add_use(l, PLX_PCI_USE_SWAP, node->name, "");
	}
	free(line);
	if (f)
		fclose(f);
}

static void take_btrfs(struct look *l, const char *dir, const char *name, void *arg)
{
	for (size_t i = 0; i < l->nnodes; i++) {
		char sub[PCI_PATH], label[128];

		if (!l->nodes[i].block ||
		    (size_t)snprintf(sub, sizeof(sub), "%s/%s/devices", dir, name) >= sizeof(sub) ||
		    !exists(sub, l->nodes[i].name, ""))
			continue;
		snprintf(sub, sizeof(sub), "%s/%.64s/label", dir, name);
		if (plx_pci_read_text(sub, label, sizeof(label)) <= 0)
			snprintf(label, sizeof(label), "%s", name);
		add_use(l, PLX_PCI_USE_BTRFS, l->nodes[i].name, label);
	}
}

/* ---- the kernel's own servers, which open without a claim ---- */

static void take_loop(struct look *l, const char *dir, const char *name, void *arg)
{
	char path[PCI_PATH], file[256], sub[PCI_PATH];
	const struct node *node;

	if (strncmp(name, "loop", 4))
		return;
	snprintf(path, sizeof(path), "%s/%.64s/loop/backing_file", dir, name);
	if (plx_pci_read_text(path, file, sizeof(file)) <= 0)
		return;
	node = block_by_path(l, file);
	if (!node)
		return;
	add_use(l, PLX_PCI_USE_EXPORT, node->name, name);
	snprintf(sub, sizeof(sub), "%s/%.64s", dir, name);
	add_block(l, name, sub, false, 1);
}

static void take_nvmet_ns(struct look *l, const char *dir, const char *name, void *arg)
{
	char path[PCI_PATH], file[256], by[256];
	const struct node *node;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s/device_path", dir, name) >= sizeof(path) ||
	    plx_pci_read_text(path, file, sizeof(file)) <= 0)
		return;
	node = block_by_path(l, file);
	snprintf(by, sizeof(by), "the NVMe target %.200s", (const char *)arg);
	if (node)
		add_use(l, PLX_PCI_USE_EXPORT, node->name, by);
}

static void take_nvmet(struct look *l, const char *dir, const char *name, void *arg)
{
	char sub[PCI_PATH];

	if ((size_t)snprintf(sub, sizeof(sub), "%s/%s/namespaces", dir, name) < sizeof(sub))
		walk(l, sub, take_nvmet_ns, (void *)name);
}

/* ---- processes ---- */

static const struct node *node_of_file(const struct look *l, const char *link, const char *target)
{
	struct statx st;

	for (size_t i = 0; i < l->nnodes; i++) {
		if (!strncmp(target, "/dev/", 5) && !strcmp(target + 5, l->nodes[i].name))
			return &l->nodes[i];
	}
	/* whatever the file's name is; never asks a server that may not answer */
	if (*target != '/' ||
	    statx(AT_FDCWD, link, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &st) ||
	    (!S_ISBLK(st.stx_mode) && !S_ISCHR(st.stx_mode)))
		return NULL;
	return by_number(l, S_ISBLK(st.stx_mode), makedev(st.stx_rdev_major, st.stx_rdev_minor));
}

/* ".../0000:04:00.0/resource0" of this function. Return: the part from the address; NULL */
static const char *resource_of(const struct look *l, const char *path)
{
	const char *at = strstr(path, l->f->name);

	if (!at || at == path || at[-1] != '/' ||
	    strncmp(at + strlen(l->f->name), "/resource", 9) ||
	    !isdigit((unsigned char)at[strlen(l->f->name) + 9]))
		return NULL;
	return at;
}

static void take_fd(struct look *l, const char *dir, const char *name, void *arg)
{
	char link[PCI_PATH], target[PCI_PATH], by[64];
	const struct node *node;
	const char *resource;
	ssize_t n;

	if (pci_path(link, "%s/%s", dir, name))
		return;
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';
	resource = resource_of(l, target);
	node = resource ? NULL : node_of_file(l, link, target);
	if (!resource && !node)
		return;
	comm_of(arg, by);
	add_use(l, PLX_PCI_USE_OPEN, resource ? resource : node->name, by);
}

/* A mapping outlives its descriptor */
static void take_maps(struct look *l, const char *pid)
{
	char path[PCI_PATH], by[64], *line = NULL;
	size_t cap = 0;
	FILE *f = pci_path(path, "/proc/%s/maps", pid) ? NULL : fopen(path, "re");

	while (f && getline(&line, &cap, f) > 0) {
		const char *file = strchr(line, '/'), *what;

		if (!file)
			continue;
		line[strcspn(line, "\n")] = '\0';
		what = resource_of(l, file);
		for (size_t i = 0; !what && i < l->nnodes; i++) {
			if (!strncmp(file, "/dev/", 5) && !strcmp(file + 5, l->nodes[i].name))
				what = l->nodes[i].name;
		}
		if (!what)
			continue;
		comm_of(pid, by);
		add_use(l, PLX_PCI_USE_OPEN, what, by);
	}
	free(line);
	if (f)
		fclose(f);
}

static void take_process(struct look *l, const char *dir, const char *pid, void *arg)
{
	char fds[64];

	if (!isdigit((unsigned char)*pid) || (!*plx_pci_root() && atoi(pid) == getpid()))
		return;
	snprintf(fds, sizeof(fds), "/proc/%.16s/fd", pid);
	walk(l, fds, take_fd, (void *)pid);
	if (strcmp(l->f->driver, "nvme"))
		take_maps(l, pid);
}

/* What claims a disk and shows nowhere else, ZFS for one */
static void look_for_claims(struct look *l)
{
	for (size_t i = 0; i < l->nnodes && !l->nuses; i++) {
		const struct node *node = &l->nodes[i];
		char path[PCI_PATH];
		struct stat st;
		int fd;

		if (!node->disk || pci_path(path, "/dev/%s", node->name) || stat(path, &st) ||
		    !S_ISBLK(st.st_mode) || !node->has_dev || st.st_rdev != node->dev)
			continue;
		fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			close(fd);
		else if (errno == EBUSY)
			add_use(l, PLX_PCI_USE_OPEN, node->name, "");
	}
}

int plx_pci_uses(const struct plx_pci_func *f, struct plx_pci_use **out, size_t *n)
{
	struct look l = { .f = f };

	*out = NULL;
	*n = 0;
	collect_nodes(&l);
	walk(&l, "/sys/block", take_loop, NULL);
	walk(&l, "/sys/kernel/config/nvmet/subsystems", take_nvmet, NULL);
	look_for_mounts(&l);
	look_for_swap(&l);
	walk(&l, "/sys/fs/btrfs", take_btrfs, NULL);
	walk(&l, "/proc", take_process, NULL);
	if (!l.rc)
		look_for_claims(&l);
	free(l.nodes);
	if (l.rc) {
		free(l.uses);
		return l.rc;
	}
	*out = l.uses;
	*n = l.nuses;
	return 0;
}

/* ---- in words ---- */

static const struct {
	/* how @by goes on, and what stands where there is none */
	const char *name, *with, *without;
} words[] = {
	[PLX_PCI_USE_MOUNT] = { "mounted", "is mounted on ", "is mounted" },
	[PLX_PCI_USE_SWAP] = { "swap", "is swapped on, ", "is swapped on" },
	[PLX_PCI_USE_MD] = { "md", "is in the MD set ", "is in an MD set" },
	[PLX_PCI_USE_LVM] = { "lvm", "is in the LVM volume ", "is in LVM" },
	[PLX_PCI_USE_CRYPT] = { "dm-crypt", "is under the dm-crypt device ", "is under dm-crypt" },
	[PLX_PCI_USE_DM] = { "dm", "is under the device-mapper device ", "is under device-mapper" },
	[PLX_PCI_USE_HOLDER] = { "holder", "is held by ", "is held" },
	[PLX_PCI_USE_BTRFS] = { "btrfs", "is in the btrfs file system ", "is in btrfs" },
	[PLX_PCI_USE_EXPORT] = { "export", "is served by ", "is served" },
	[PLX_PCI_USE_OPEN] = { "open", "is opened by ", "is opened for itself alone" },
};

const char *plx_pci_use_name(enum plx_pci_use_kind kind)
{
	return words[kind].name;
}

char *plx_pci_use_text(const struct plx_pci_use *u, char *buf, size_t len)
{
	snprintf(buf, len, "%s %s%s", u->device,
		 *u->by ? words[u->kind].with : words[u->kind].without, u->by);
	return buf;
}
