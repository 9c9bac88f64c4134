/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/tgt/options.c - the command line of plx-tgt
 */
#include "core/tool.h"
#include "targets/tgt/options.h"
#include "core/text.h"
#include <errno.h>
#include <getopt.h>
#include <string.h>

#define MIB (1ull << 20)

enum { KEY_WAIT = 256, KEY_NO_HUGE, KEY_QUIET };

static const char shorts[] = "+:m:c:r:s:L:uvh";
static const struct option longs[] = {
	{ "cpumask", required_argument, NULL, 'm' },
	{ "config", required_argument, NULL, 'c' },
	{ "json", required_argument, NULL, 'c' },
	{ "rpc-socket", required_argument, NULL, 'r' },
	{ "mem-size", required_argument, NULL, 's' },
	{ "logflag", required_argument, NULL, 'L' },
	{ "no-pci", no_argument, NULL, 'u' },
	{ "wait-for-rpc", no_argument, NULL, KEY_WAIT },
	{ "no-huge", no_argument, NULL, KEY_NO_HUGE },
	{ "silence-noticelog", no_argument, NULL, KEY_QUIET },
	{ "version", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static const char help[] =
	"usage: plx-tgt [OPTION]...\n"
	"Serves block devices as NVMe controllers, configured by JSON-RPC.\n"
	"\n"
	"  -m, --cpumask MASK       cores that run it, as 0x3 or [0,1]; the first one allowed\n"
	"  -c, --config, --json FILE  configuration to begin with: what framework_get_config "
	"gives\n"
	"  -r, --rpc-socket PATH    where it takes JSON-RPC (" TGT_DEFAULT_SOCKET ")\n"
	"  -s, --mem-size MIB       memory for itself; devices and clients bring their own (32)\n"
	"      --no-huge            leave hugepages alone\n"
	"      --wait-for-rpc       stay in the startup state until framework_start_init\n"
	"  -L, --logflag COMPONENT  debug messages of a component, or of all; repeatable\n"
	"      --silence-noticelog  errors and warnings alone\n"
	"  -u, --no-pci             accepted for compatibility: PCI devices are left alone\n"
	"  -h, --help               print this text\n"
	"  -v, --version            print the version\n"
	"\n"
	"Example:\n"
	"  plx-tgt -m 0x1 -c disk.json\n"
	"\n"
	"SIGTERM and SIGINT end it, once I/O in flight has ended; a second one, at once.\n"
	"Exit code: 0; 1 when it cannot start or the configuration does not work;\n"
	"2 for a command line that makes no sense.\n";

struct parser {
	struct tgt_options *o;
	const char *opt; /* as typed */
	char *err;
	size_t errlen;
};

#define refuse(p, ...) plx_tool_refuse((p)->err, (p)->errlen, __VA_ARGS__)

static int take_cores(struct parser *p, const char *arg)
{
	struct plx_cpuset allowed;
	char why[160], list[128];

	if (plx_cpuset_parse(arg, &p->o->cores, why, sizeof(why)))
		return refuse(p, "%s: '%.64s': %s", p->opt, arg, why);
	if (!plx_cpuset_count(&p->o->cores))
		return refuse(p, "%s: '%.64s' has no core: use one or more, as in 0x1", p->opt,
			      arg);
	plx_topo_allowed(&allowed);
	for (int c = -1; (c = plx_cpuset_next(&p->o->cores, c)) >= 0;)
		if (!plx_cpuset_has(&allowed, (unsigned)c))
			return refuse(
				p, "%s: core %d of '%.64s' is absent or not allowed: there are %s",
				p->opt, c, arg, plx_cpuset_format(&allowed, list, sizeof(list)));
	return 0;
}

static int take_memory(struct parser *p, const char *arg)
{
	uint64_t v;

	/* a bare number is MiB, as with the programs people come from */
	if (plx_parse_u64(arg, 0, UINT64_MAX / MIB, &v, NULL, 0)) {
		if (plx_parse_size(arg, &v, NULL, 0))
			v = 0;
		v = (v + MIB - 1) / MIB;
	}
	if (v < 8 || v > 1u << 24)
		return refuse(p, "%s: '%.64s' is no amount of memory for it: use MiB, 8 or more",
			      p->opt, arg);
	p->o->mem_mb = v;
	return 0;
}

static int take_socket(struct parser *p, const char *arg)
{
	if (!*arg)
		return refuse(p, "%s: the name of the socket is empty", p->opt);
	p->o->socket = arg;
	return 0;
}

static int take_log(struct parser *p, const char *arg)
{
	if (plx_log_set_level(arg, PLX_LOG_DEBUG) == -ENOENT)
		return refuse(p,
			      "%s: '%.64s' is no component: log_get_flags lists them, or use all",
			      p->opt, arg);
	return 0;
}

static int take(struct parser *p, int key, const char *arg)
{
	switch (key) {
	case 'm':
		return take_cores(p, arg);
	case 's':
		return take_memory(p, arg);
	case 'r':
		return take_socket(p, arg);
	case 'L':
		return take_log(p, arg);
	case 'c':
		p->o->config = arg;
		return 0;
	case KEY_WAIT:
		p->o->wait_for_rpc = true;
		return 0;
	case KEY_NO_HUGE:
		p->o->no_huge = true;
		return 0;
	case KEY_QUIET:
		p->o->quiet = true;
		return 0;
	default: /* -u */
		return 0;
	}
}

int tgt_options_parse(struct tgt_options *o, int argc, char **argv, char *err, size_t errlen)
{
	struct parser p = { .o = o, .err = err, .errlen = errlen };
	int key, rc = 0;

	*o = (struct tgt_options){ .socket = TGT_DEFAULT_SOCKET, .mem_mb = TGT_DEFAULT_MEM_MB };
	optind = 0;
	opterr = 0;
	while (!rc) {
		int at = optind ? optind : 1;

		key = getopt_long(argc, argv, shorts, longs, NULL);
		p.opt = argv[at];
		if (key == -1)
			break;
		if (key == 'h')
			return TGT_HELP;
		if (key == 'v')
			return TGT_VERSION;
		if (key == '?')
			return refuse(&p, "'%.64s' is no option: plx-tgt --help lists them", p.opt);
		if (key == ':')
			return refuse(&p, "%.64s: it needs a value: see plx-tgt --help", p.opt);
		rc = take(&p, key, optarg);
	}
	if (!rc && optind < argc)
		return refuse(&p, "'%.64s' is not understood: plx-tgt takes options alone",
			      argv[optind]);
	return rc ? rc : TGT_RUN;
}

void tgt_options_help(FILE *out)
{
	fputs(help, out);
}
