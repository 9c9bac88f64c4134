/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/options.c - the command line of plx-setup
 */
#include "core/tool.h"
#include "core/text.h"
#include "identify/setup/setup.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEY_ALL_FREE = 256,
	KEY_USER,
	KEY_PERSIST,
	KEY_FORCE,
	KEY_ROOT,
	KEY_SIZE,
	KEY_JSON,
	KEY_VERSION
};

static const struct option longs[] = {
	{ "all-free", no_argument, NULL, KEY_ALL_FREE },
	{ "user", required_argument, NULL, KEY_USER },
	{ "persist", no_argument, NULL, KEY_PERSIST },
	{ "force", no_argument, NULL, KEY_FORCE },
	{ "root", required_argument, NULL, KEY_ROOT },
	{ "size", required_argument, NULL, KEY_SIZE },
	{ "json", no_argument, NULL, KEY_JSON },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, KEY_VERSION },
	{ 0 },
};

/* which commands an option is for: a bit for each */
#define FOR(command) (1u << (command))
#define CHANGES                                                                                    \
	(FOR(SETUP_BIND) | FOR(SETUP_UNBIND) | FOR(SETUP_RESET) | FOR(SETUP_HUGEPAGES) |           \
	 FOR(SETUP_RESTORE))

static const struct {
	const char *name;
	bool devices; /* takes addresses */
} commands[] = {
	[SETUP_STATUS] = { "status", true },	    [SETUP_BIND] = { "bind", true },
	[SETUP_UNBIND] = { "unbind", true },	    [SETUP_RESET] = { "reset", true },
	[SETUP_HUGEPAGES] = { "hugepages", false }, [SETUP_RESTORE] = { "restore", true },
};

static const char help[] =
	"usage: plx-setup [OPTION]... [COMMAND [ARGUMENT]...]\n"
	"Hands NVMe controllers to the userspace driver and back, and reserves hugepages.\n"
	"\n"
	"  status [ADDR]...           what there is, who has it, what uses it: the default\n"
	"  bind [DRIVER] ADDR...      give controllers to a driver: vfio-pci where there is an\n"
	"                             IOMMU, else uio_pci_generic; or the one named, of these and\n"
	"                             nvme\n"
	"  unbind ADDR...             take controllers from their driver\n"
	"  reset ADDR...              function level reset\n"
	"  hugepages [N[@NODE]]...    reserve N pages, on a NUMA node; without N, show them\n"
	"  restore [ADDR]...          undo what plx-setup did since the machine was started\n"
	"\n"
	"ADDR is a PCI address: 0000:04:00.0 or 04:00.0. A device that is mounted, swapped on, "
	"part\n"
	"of an MD, LVM, dm-crypt, btrfs or ZFS set, or open is never taken from its driver.\n"
	"\n"
	"  --all-free                 bind: every NVMe controller that nothing uses\n"
	"  --user NAME                bind: let this user open the devices (vfio-pci only)\n"
	"  --persist                  bind: again after the next boot, by driverctl\n"
	"  --force                    bind, unbind, reset: even where a disk carries the "
	"signature\n"
	"                             of an MD, LVM or ZFS set, as long as none is active\n"
	"  --size SIZE                hugepages: of this size, as in 2M or 1G\n"
	"  -n, --dry-run              say what would be done, and do nothing\n"
	"  --json                     for programs\n"
	"  --root DIR                 sys, proc, dev and run are below DIR\n"
	"  -h, --help\n"
	"  --version\n"
	"\n"
	"examples:\n"
	"  plx-setup\n"
	"  plx-setup bind 0000:04:00.0\n"
	"  plx-setup bind --user alice 04:00.0 05:00.0\n"
	"  plx-setup bind nvme 04:00.0\n"
	"  plx-setup hugepages 512@0 512@1\n"
	"  plx-setup restore\n"
	"\n"
	"Exit code: 0; 1 when something could not be done; 2 for a command line that makes no "
	"sense.\n";

struct parser {
	struct setup_options *o;
	bool has_command, size;
	char *err;
	size_t errlen;
};

#define refuse(p, ...) plx_tool_refuse((p)->err, (p)->errlen, __VA_ARGS__)

static int take_size(struct parser *p, const char *arg)
{
	uint64_t bytes;
	char why[200];

	if (plx_parse_size(arg, &bytes, why, sizeof(why)))
		return refuse(p, "--size: %s", why);
	if (bytes < 4096 || bytes & (bytes - 1))
		return refuse(p, "--size: '%.64s' is no size of hugepages: use 2M or 1G", arg);
	p->o->page_kib = bytes >> 10;
	return 0;
}

static int take_option(struct parser *p, int key, const char *arg)
{
	struct setup_options *o = p->o;

	switch (key) {
	case KEY_ALL_FREE:
		o->all_free = true;
		break;
	case KEY_USER:
		o->user = arg;
		break;
	case KEY_PERSIST:
		o->persist = true;
		break;
	case KEY_FORCE:
		o->force = true;
		break;
	case KEY_ROOT:
		o->root = arg;
		break;
	case KEY_SIZE:
		return take_size(p, arg);
	case KEY_JSON:
		o->json = true;
		break;
	case 'n':
		o->dry_run = true;
		break;
	}
	return 0;
}

static int take_address(struct parser *p, const char *arg)
{
	struct setup_options *o = p->o;
	struct plx_pci_addr a, *more;

	if (plx_pci_addr_parse(arg, &a, p->err, p->errlen))
		return -EINVAL;
	for (size_t i = 0; i < o->naddrs; i++) {
		if (plx_pci_addr_equal(&a, &o->addrs[i]))
			return 0;
	}
	more = realloc(o->addrs, (o->naddrs + 1) * sizeof(*more));
	if (!more)
		return refuse(p, "out of memory");
	o->addrs = more;
	o->addrs[o->naddrs++] = a;
	return 0;
}

static int take_pages(struct parser *p, const char *arg)
{
	struct setup_options *o = p->o;
	const char **more = realloc(o->pages, (o->npages + 1) * sizeof(*more));

	if (!more)
		return refuse(p, "out of memory");
	o->pages = more;
	o->pages[o->npages++] = arg;
	return 0;
}

static int take_argument(struct parser *p, const char *arg)
{
	static const char *const drivers[] = { SETUP_VFIO, SETUP_UIO, SETUP_KERNEL };
	struct setup_options *o = p->o;

	if (!p->has_command) {
		p->has_command = true;
		for (size_t i = 0; i < PLX_ARRAY_SIZE(commands); i++) {
			if (!strcmp(arg, commands[i].name)) {
				o->command = (enum setup_command)i;
				return 0;
			}
		}
		return refuse(
			p,
			"'%.64s' is no command: use status, bind, unbind, reset, hugepages or "
			"restore",
			arg);
	}
	if (!commands[o->command].devices)
		return take_pages(p, arg);
	for (size_t i = 0; o->command == SETUP_BIND && i < PLX_ARRAY_SIZE(drivers); i++) {
		if (strcmp(arg, drivers[i]))
			continue;
		if (o->driver)
			return refuse(p, "'%s' and '%s': name one driver", o->driver, arg);
		o->driver = drivers[i];
		return 0;
	}
	return take_address(p, arg);
}

/* options that mean nothing to a command are mistakes */
static int check_meaning(struct parser *p)
{
	const struct setup_options *o = p->o;
	const struct {
		const char *name;
		bool given;
		uint32_t commands;
	} rules[] = {
		{ "--all-free", o->all_free, FOR(SETUP_BIND) },
		{ "--user", o->user, FOR(SETUP_BIND) },
		{ "--persist", o->persist, FOR(SETUP_BIND) },
		{ "--force", o->force, FOR(SETUP_BIND) | FOR(SETUP_UNBIND) | FOR(SETUP_RESET) },
		{ "--size", o->page_kib, FOR(SETUP_HUGEPAGES) },
		{ "--dry-run", o->dry_run, CHANGES },
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(rules); i++) {
		if (rules[i].given && !(rules[i].commands & FOR(o->command)))
			return refuse(p, "%s means nothing to '%s': leave it out", rules[i].name,
				      commands[o->command].name);
	}
	return 0;
}

static int check_together(struct parser *p)
{
	const struct setup_options *o = p->o;
	bool needs =
		o->command == SETUP_BIND || o->command == SETUP_UNBIND || o->command == SETUP_RESET;

	if (check_meaning(p))
		return -EINVAL;
	if (o->all_free && o->naddrs)
		return refuse(p, "--all-free and addresses: leave one of them out");
	if (o->all_free && o->driver && !strcmp(o->driver, SETUP_KERNEL))
		return refuse(p,
			      "--all-free is for userspace drivers: name the controllers, or use "
			      "'restore'");
	if (needs && !o->naddrs && !o->all_free)
		return refuse(p,
			      "'%s' needs addresses, as in 0000:04:00.0: 'plx-setup status' lists "
			      "them",
			      commands[o->command].name);
	if (o->user && o->driver && strcmp(o->driver, SETUP_VFIO))
		return refuse(p, "--user works with vfio-pci only: %s needs root", o->driver);
	return 0;
}

static int parse_all(struct parser *p, int argc, char **argv)
{
	int key;

	opterr = 0;
	optind = 0; /* glibc: from the start, whoever parsed before */
	while ((key = getopt_long(argc, argv, "-:nh", longs, NULL)) != -1) {
		if (key == '?' || key == ':') {
			plx_tool_refuse_option(SETUP_NAME, key, argv[optind - 1], p->err,
					       p->errlen);
			return -EINVAL;
		}
		if (key == 'h' || key == KEY_VERSION) {
			p->o->command = key == 'h' ? SETUP_HELP : SETUP_VERSION;
			return 0;
		}
		if (key == 1 ? take_argument(p, optarg) : take_option(p, key, optarg))
			return -EINVAL;
	}
	while (optind < argc) {
		if (take_argument(p, argv[optind++]))
			return -EINVAL;
	}
	return check_together(p);
}

int setup_options_parse(struct setup_options *o, int argc, char **argv, char *err, size_t errlen)
{
	struct parser p = { .o = o, .err = err, .errlen = errlen };
	int rc;

	*o = (struct setup_options){ .command = SETUP_STATUS };
	rc = parse_all(&p, argc, argv);
	if (rc)
		plx_tool_one_line(err);
	return rc;
}

void setup_options_free(struct setup_options *o)
{
	free(o->addrs);
	free(o->pages);
}

void setup_options_help(FILE *f)
{
	fputs(help, f);
}
