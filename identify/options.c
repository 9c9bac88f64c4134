/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/options.c - the command line of plx-identify
 */
#include "identify/options.h"
#include "core/text.h"
#include "core/tool.h"
#include <errno.h>
#include <getopt.h>
#include <pollux/nvmf.h>
#include <string.h>

#define DEFAULT_MEM_MB 32
#define MIB	       (1ull << 20)

#define DEFAULT_LOG_LEN 512
#define LOG_LEN_MAX	(64u << 20)

enum {
	KEY_VIRTUAL = 256,
	KEY_JSON,
	KEY_NO_HUGE,
	KEY_VERSION,
	KEY_LOG,
	KEY_LOG_LEN,
	KEY_FEATURE,
	KEY_ZONES,
};

static const char shorts[] = "+:r:n:i:xo:s:T:L:h";
static const struct option longs[] = {
	{ "transport", required_argument, NULL, 'r' },
	{ "virtual", required_argument, NULL, KEY_VIRTUAL },
	{ "namespace-id", required_argument, NULL, 'n' },
	{ "ns", required_argument, NULL, 'n' },
	{ "shmem-grp-id", required_argument, NULL, 'i' },
	{ "log", required_argument, NULL, KEY_LOG },
	{ "log-len", required_argument, NULL, KEY_LOG_LEN },
	{ "feature", required_argument, NULL, KEY_FEATURE },
	{ "zones", no_argument, NULL, KEY_ZONES },
	{ "output", required_argument, NULL, 'o' },
	{ "json", no_argument, NULL, KEY_JSON },
	{ "hex", no_argument, NULL, 'x' },
	{ "hugemem-size", required_argument, NULL, 's' },
	{ "no-huge", no_argument, NULL, KEY_NO_HUGE },
	{ "logflag", required_argument, NULL, 'T' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, KEY_VERSION },
	{ 0 },
};

static const char help_options[] =
	"usage: plx-identify [OPTION]... [WHAT]...\n"
	"Shows an NVMe controller: identity, capabilities, namespaces, log pages, features.\n"
	"\n"
	"  -r, --transport TRID      the controller, as in 'trtype:PCIe traddr:0000:04:00.0', "
	"'ns:1' in it\n"
	"                            as -n; without it a virtual controller inside this process\n"
	"      --virtual KEYS        what the virtual controller is like\n"
	"  -n, --namespace-id NSID   one namespace instead of all; --ns is the same\n"
	"  -i, --shmem-grp-id ID     share a PCIe controller with processes of the same ID\n"
	"      --log LID             a log page by number or name: 0xca, smart, ...\n"
	"      --log-len BYTES       of one without a description, as the vendor's (512)\n"
	"      --feature FID         a feature by number\n"
	"      --zones               the zones of zoned namespaces\n"
	"      --json                for programs, with the names nvme-cli uses\n"
	"  -x, --hex                 every page in hexadecimal too\n"
	"  -o, --output FILE         the page as it is into a file, in hexadecimal with -x; "
	"telemetry "
	"and\n"
	"                            boot partitions with all their data\n"
	"  -s, --hugemem-size MIB    DMA memory (32)\n"
	"      --no-huge             leave hugepages alone\n"
	"  -T, -L, --logflag COMPONENT   debug messages of a component, or of all; repeatable\n"
	"  -h, --help                print this text\n"
	"      --version             print the version\n"
	"\n"
	"WHAT, by either name; all of it when there is none:\n";

static const char help_end[] =
	"\n"
	"Examples:\n"
	"  plx-identify\n"
	"  plx-identify -r 'trtype:PCIe traddr:0000:04:00.0' ctrl smart\n"
	"  plx-identify --json ctrl\n"
	"      as nvme id-ctrl -o json\n"
	"  plx-identify --log smart -o smart.bin\n"
	"  plx-identify --virtual namespaces=3,block=4096,md=8,pi=1 -n 2 ns\n"
	"\n"
	"Exit code: 0; 1 when the controller cannot be reached, or lacks something that was "
	"named;\n"
	"2 for a command line that makes no sense.\n";

struct parser {
	struct id_options *o;
	const char *opt; /* as typed */
	bool has_trid, has_virtual, has_nsid, has_log_len;
	char *err;
	size_t errlen;
};

#define refuse(p, ...) plx_tool_refuse((p)->err, (p)->errlen, __VA_ARGS__)

static int take_trid(struct parser *p, const char *arg)
{
	struct plx_nvme_trid *t = &p->o->trid;
	char why[256];

	if (p->has_trid)
		return refuse(p, "%s: given twice: run plx-identify once for each controller",
			      p->opt);
	p->has_trid = true;
	if (plx_nvme_trid_parse(t, arg, why, sizeof(why)))
		return refuse(p, "%s: '%.64s': %s", p->opt, arg, why);
	/* the one of this process: --virtual is where it gets its shape */
	p->o->use_virtual = t->trtype == PLX_NVME_TR_VIRTUAL;
	if (p->o->use_virtual && (*t->traddr || *t->subnqn || *t->trsvcid))
		return refuse(p,
			      "%s: '%.64s': the virtual controller has no address: use "
			      "trtype:VIRTUAL alone, and --virtual to shape it",
			      p->opt, arg);
	return 0;
}

static int take_nsid(struct parser *p, const char *arg)
{
	char why[200];
	uint64_t v;

	if (plx_parse_u64(arg, 1, NVME_NSID_ALL - 1, &v, why, sizeof(why)))
		return refuse(p, "%s: %s", p->opt, why);
	p->o->wanted.nsid = (uint32_t)v;
	p->has_nsid = true;
	return 0;
}

/* A log page that has a description is what that is; the others are raw */
static int take_lid(struct parser *p, const char *arg)
{
	struct id_wanted *w = &p->o->wanted;
	char why[200];
	uint64_t lid;
	int found = ID_RAW;

	for (int i = 0; i < ID_RAW; i++)
		if (id_whats[i].source == ID_LOG &&
		    (!strcmp(arg, id_whats[i].name) || !strcmp(arg, id_whats[i].key))) {
			w->what |= ID_BIT(i);
			return 0;
		}
	if (plx_parse_u64(arg, 0, 255, &lid, why, sizeof(why)))
		return refuse(p,
			      "%s: '%.64s' is no log page: use a number up to 255, or a name "
			      "as in --help",
			      p->opt, arg);
	for (int i = ID_RAW - 1; i >= 0; i--)
		if (id_whats[i].source == ID_LOG && id_whats[i].number == lid)
			found = i;
	if (found == ID_RAW && w->what & ID_BIT(ID_RAW) && w->lid != lid)
		return refuse(p, "%s: 0x%lx: one page without a description at a time", p->opt,
			      lid);
	if (found == ID_RAW)
		w->lid = (uint32_t)lid;
	w->what |= ID_BIT(found);
	return 0;
}

static int take_log_len(struct parser *p, const char *arg)
{
	char why[200];
	uint64_t v;

	if (plx_parse_size(arg, &v, why, sizeof(why)))
		return refuse(p, "%s: %s", p->opt, why);
	if (!v || v > LOG_LEN_MAX || v % 4)
		return refuse(p, "%s: '%.64s': use a multiple of 4, at most 64M", p->opt, arg);
	p->o->wanted.lid_len = (uint32_t)v;
	p->has_log_len = true;
	return 0;
}

static int take_fid(struct parser *p, const char *arg)
{
	char why[200];
	uint64_t v;

	if (plx_parse_u64(arg, 1, 255, &v, why, sizeof(why)))
		return refuse(p, "%s: %s", p->opt, why);
	if (p->o->wanted.fid >= 0)
		return refuse(p, "%s: given twice: leave it out for all features", p->opt);
	p->o->wanted.fid = (int)v;
	p->o->wanted.what |= ID_BIT(ID_FEATURES);
	return 0;
}

static int take_memory(struct parser *p, const char *arg)
{
	char why[200];
	uint64_t v;

	/* a bare number is MiB, as with the tools people come from */
	if (plx_parse_u64(arg, 0, UINT64_MAX / MIB, &v, NULL, 0)) {
		if (plx_parse_size(arg, &v, why, sizeof(why)))
			return refuse(p, "%s: %s", p->opt, why);
		v = (v + MIB - 1) / MIB;
	}
	if (!v || v > 1u << 24)
		return refuse(p, "%s: '%.64s' is no amount of memory: use MiB, as in 64", p->opt,
			      arg);
	p->o->mem_mb = v;
	return 0;
}

static int take_log(struct parser *p, const char *arg)
{
	static const char *const components[] = { "all",  "bdev", "env",    "mem",
						  "nvme", "nvmf", "thread", "topology" };
	bool known = false;

	for (size_t i = 0; i < PLX_ARRAY_SIZE(components); i++)
		known |= !strcmp(arg, components[i]);
	if (!known)
		return refuse(p,
			      "%s: '%.64s' is no component: use all, bdev, env, mem, nvme, nvmf, "
			      "thread or "
			      "topology",
			      p->opt, arg);
	/* -ENOENT: it has not spoken yet, and the level waits for it */
	plx_log_set_level(arg, PLX_LOG_DEBUG);
	return 0;
}

static int take_share(struct parser *p, const char *arg)
{
	char why[200];
	uint64_t v;

	if (plx_parse_u64(arg, 0, INT32_MAX, &v, why, sizeof(why)))
		return refuse(p, "%s: %s", p->opt, why);
	p->o->share_id = (int32_t)v;
	return 0;
}

static int take(struct parser *p, int key, const char *arg)
{
	switch (key) {
	case 'r':
		return take_trid(p, arg);
	case 'n':
		return take_nsid(p, arg);
	case 'i':
		return take_share(p, arg);
	case 's':
		return take_memory(p, arg);
	case 'T':
	case 'L':
		return take_log(p, arg);
	case 'x':
		p->o->hex = true;
		return 0;
	case 'o':
		p->o->output = arg;
		return 0;
	case KEY_LOG:
		return take_lid(p, arg);
	case KEY_LOG_LEN:
		return take_log_len(p, arg);
	case KEY_FEATURE:
		return take_fid(p, arg);
	case KEY_ZONES:
		p->o->wanted.what |= ID_BIT(ID_ZONES);
		return 0;
	case KEY_VIRTUAL:
		p->o->virtual_spec = arg;
		p->has_virtual = true;
		return 0;
	case KEY_JSON:
		p->o->json = true;
		return 0;
	default:
		p->o->no_huge = true;
		return 0;
	}
}

static int take_what(struct parser *p, const char *arg)
{
	if (!strcmp(arg, "all")) {
		p->o->wanted.what |= ID_ALL;
		return 0;
	}
	for (int w = 0; w < ID_RAW; w++) {
		if (!strcmp(arg, id_whats[w].name) || !strcmp(arg, id_whats[w].key)) {
			p->o->wanted.what |= ID_BIT(w);
			return 0;
		}
	}
	return refuse(p,
		      "'%.64s' is nothing to show: plx-identify --help lists what is; all is "
		      "the default",
		      arg);
}

static int check_together(struct parser *p)
{
	struct id_options *o = p->o;
	struct id_wanted *w = &o->wanted;

	if (o->hex && o->json)
		return refuse(p, "-x and --json: a dump is for people: leave one of them out");
	if (p->has_virtual && !o->use_virtual)
		return refuse(p, "--virtual shapes the virtual controller, and -r names another: "
				 "leave one of them out");
	if (o->share_id >= 0 && (o->use_virtual || o->trid.trtype != PLX_NVME_TR_PCIE))
		return refuse(p, "-i shares PCIe controllers: name one with -r, or leave it out");
	if (o->trid.nsid) {
		if (p->has_nsid && w->nsid != o->trid.nsid)
			return refuse(p, "-n %u and 'ns:%u' in -r: leave one of them out", w->nsid,
				      o->trid.nsid);
		w->nsid = o->trid.nsid;
		o->trid.nsid = 0;
	}
	if (p->has_log_len && !(w->what & ID_BIT(ID_RAW)))
		return refuse(p, "--log-len is for a log page without a description: name one "
				 "with --log, as in --log 0xca");
	if (o->output && (!w->what || w->what & (w->what - 1)))
		return refuse(p, "-o: '%.64s' takes one page: name one, as in 'ctrl'", o->output);
	if (o->output && (o->json || w->what == ID_BIT(ID_FEATURES)))
		return refuse(p, "-o: '%.64s' takes a page as it is, and %s", o->output,
			      o->json ? "--json prints: leave one of them out"
				      : "features are none");
	w->whole = o->output != NULL;
	if (!w->what)
		w->what = ID_ALL;
	w->named = w->what != ID_ALL;
	return ID_RUN;
}

static int parse_all(struct parser *p, int argc, char **argv)
{
	int index, key;

	opterr = 0;
	optind = 0; /* glibc: from the start, whoever parsed before */
	/* options and WHATs in any order, and WHATs alone behind "--" */
	while (optind < argc || !optind) {
		char typed[48];

		index = -1;
		key = getopt_long(argc, argv, shorts, longs, &index);
		if (key == -1) {
			bool ended = optind > 1 && !strcmp(argv[optind - 1], "--");

			for (bool more = true; more && optind < argc; more = ended) {
				if (take_what(p, argv[optind++]))
					return -EINVAL;
			}
			continue;
		}
		if (key == '?' || key == ':') {
			plx_tool_refuse_option("plx-identify", key, argv[optind - 1], p->err,
					       p->errlen);
			return -EINVAL;
		}
		if (key == 'h' || key == KEY_VERSION)
			return key == 'h' ? ID_HELP : ID_VERSION;
		if (index < 0)
			snprintf(typed, sizeof(typed), "-%c", key);
		else
			snprintf(typed, sizeof(typed), "--%s", longs[index].name);
		p->opt = typed;
		if (take(p, key, optarg))
			return -EINVAL;
	}
	return check_together(p);
}

int id_options_parse(struct id_options *o, int argc, char **argv, char *err, size_t errlen)
{
	struct parser p = { .o = o, .err = err, .errlen = errlen };
	int rc;

	*o = (struct id_options){ .use_virtual = true,
				  .share_id = -1,
				  .virtual_spec = "",
				  .mem_mb = DEFAULT_MEM_MB,
				  .wanted = { .fid = -1, .lid_len = DEFAULT_LOG_LEN } };
	rc = parse_all(&p, argc, argv);
	/* one line, whatever the user's text has in it */
	if (rc < 0)
		plx_tool_one_line(err);
	return rc;
}

void id_options_help(FILE *f)
{
	fputs(help_options, f);
	for (int w = 0; w < ID_RAW; w++)
		fprintf(f, "  %-18s%-28s%s\n", id_whats[w].name, id_whats[w].key,
			id_whats[w].title);
	fprintf(f, "\nKeys of --virtual, with commas between them (docs/virtual.md):\n%s",
		plx_nvmf_spec_help());
	fputs(help_end, f);
}
