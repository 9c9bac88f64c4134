/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/options.c - the command line of plx-perf
 *
 * One table row per option: its names, what takes its value, and its line in --help. What makes
 * sense only together is checked once all are known.
 */
#include "perf/options_internal.h"
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define DEFAULT_DEPTH 32
#define DEFAULT_SIZE  4096
#define DEFAULT_ALIGN 4096
#define DEFAULT_NS    (5 * PLX_NS_PER_S)
/* no namespace has smaller blocks (NVM Command Set 1.0c §4.1.2, LBADS) */
#define SECTOR	  512u
#define MAX_IO	  (1u << 30)
#define MAX_ALIGN (2u << 20)

/* ---- values ---- */

static int take_u32(struct parser *p, const char *arg, uint32_t min, uint32_t max, uint32_t *out)
{
	char why[200];
	uint64_t v;

	if (plx_parse_u64(arg, min, max, &v, why, sizeof(why)))
		return options_refuse(p, "%s: %s", p->opt, why);
	*out = (uint32_t)v;
	return 0;
}

static int take_ns(struct parser *p, const char *arg, uint64_t min, uint64_t *out)
{
	char why[200];
	uint64_t v;

	if (plx_parse_duration_ns(arg, PLX_NS_PER_S, &v, why, sizeof(why)))
		return options_refuse(p, "%s: %s", p->opt, why);
	if (v < min || v > PERF_FOREVER_NS)
		return options_refuse(
			p, "%s: '%.64s' is %s: use a time such as 500ms, 10 (seconds) or 2m",
			p->opt, arg, v < min ? "too short" : "too long");
	*out = v;
	return 0;
}

static int take_bytes(struct parser *p, const char *arg, uint64_t *out)
{
	char why[200];

	if (plx_parse_size(arg, out, why, sizeof(why)))
		return options_refuse(p, "%s: %s", p->opt, why);
	return 0;
}

/* ---- load ---- */

static int take_depth(struct parser *p, const char *arg)
{
	return take_u32(p, arg, 1, 65535, &p->cfg->queue_depth);
}

static int take_one_size(struct parser *p, const char *text, const char *share)
{
	struct perf_size *s = &p->cfg->sizes[p->cfg->nsizes];
	uint64_t bytes;

	if (p->cfg->nsizes == PERF_MAX_SIZES)
		return options_refuse(p, "%s: more than %d sizes: leave some out", p->opt,
				      PERF_MAX_SIZES);
	if (take_bytes(p, text, &bytes))
		return -EINVAL;
	if (!bytes || bytes % SECTOR || bytes > MAX_IO)
		return options_refuse(
			p,
			"%s: '%.64s' cannot be the size of an I/O: use a multiple of %u, up to 1G",
			p->opt, text, SECTOR);
	s->bytes = (uint32_t)bytes;
	s->share = 100;
	if (share && take_u32(p, share, 1, 100, &s->share))
		return -EINVAL;
	if (s->bytes > p->cfg->max_size)
		p->cfg->max_size = s->bytes;
	p->cfg->nsizes++;
	return 0;
}

/* "4k", or "4k:70,64k:30" */
static int take_size(struct parser *p, const char *arg)
{
	char *list = strdup(arg), *save = NULL;
	unsigned sum = 0;
	int rc = 0;

	if (!list)
		return options_refuse(p, "%s: out of memory", p->opt);
	p->cfg->nsizes = 0;
	p->cfg->max_size = 0;
	if (!*arg || arg[0] == ',' || arg[strlen(arg) - 1] == ',' || strstr(arg, ",,"))
		rc = options_refuse(p, "%s: '%.64s' lacks a size: use 4k, or 4k:70,64k:30", p->opt,
				    arg);
	for (char *s = strtok_r(list, ",", &save); s && !rc; s = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(s, ':');

		if (colon)
			*colon++ = '\0';
		else if (strchr(arg, ','))
			rc = options_refuse(
				p,
				"%s: '%.64s' lacks its share: write each as SIZE:PERCENT, as "
				"in 4k:70,64k:30",
				p->opt, s);
		if (!rc)
			rc = take_one_size(p, s, colon);
	}
	free(list);
	for (unsigned i = 0; i < p->cfg->nsizes; i++)
		sum += p->cfg->sizes[i].share;
	if (!rc && sum != 100)
		rc = options_refuse(p, "%s: the shares of '%.64s' add up to %u: make it 100",
				    p->opt, arg, sum);
	return rc;
}

static const struct {
	const char *name;
	enum perf_pattern pattern;
	int read_share; /* -1: -M says */
} patterns[] = {
	{ "read", PERF_SEQUENTIAL, 100 }, { "write", PERF_SEQUENTIAL, 0 },
	{ "rw", PERF_SEQUENTIAL, -1 },	  { "randread", PERF_RANDOM, 100 },
	{ "randwrite", PERF_RANDOM, 0 },  { "randrw", PERF_RANDOM, -1 },
};

static int take_pattern(struct parser *p, const char *arg)
{
	for (size_t i = 0; i < PLX_ARRAY_SIZE(patterns); i++) {
		if (strcmp(arg, patterns[i].name))
			continue;
		p->pattern = patterns[i].name;
		p->mixed = patterns[i].read_share < 0;
		p->cfg->pattern = patterns[i].pattern;
		p->cfg->read_share = p->mixed ? 0 : (unsigned)patterns[i].read_share;
		return 0;
	}
	return options_refuse(
		p, "%s: '%.64s' is no pattern: use read, write, rw, randread, randwrite or randrw",
		p->opt, arg);
}

static int take_mix(struct parser *p, const char *arg)
{
	return take_u32(p, arg, 0, 100, &p->mix);
}

static int take_time(struct parser *p, const char *arg)
{
	return take_ns(p, arg, PLX_NS_PER_MS, &p->cfg->time_ns);
}

static int take_warmup(struct parser *p, const char *arg)
{
	return take_ns(p, arg, 0, &p->cfg->warmup_ns);
}

static int take_ios(struct parser *p, const char *arg)
{
	char why[200];

	if (plx_parse_u64(arg, 1, UINT64_MAX - 1, &p->cfg->ios_per_job, why, sizeof(why)))
		return options_refuse(p, "%s: %s", p->opt, why);
	return 0;
}

static int take_zipf(struct parser *p, const char *arg)
{
	double theta = -1;
	char *end = NULL;

	/* strtod() knows blanks, signs, "inf" and "nan" as well */
	if (isdigit((unsigned char)arg[0]) || arg[0] == '.')
		theta = strtod(arg, &end);
	if (!end || *end || !(theta > 0 && theta < 2))
		return options_refuse(
			p,
			"%s: '%.64s' is no skew: use a number above 0 and below 2, as in "
			"0.99; uniform "
			"is without %s",
			p->opt, arg, p->opt);
	p->cfg->zipf_theta = theta;
	return 0;
}

static int take_seed(struct parser *p, const char *arg)
{
	char why[200];

	if (plx_parse_u64(arg, 0, UINT64_MAX, &p->cfg->seed, why, sizeof(why)))
		return options_refuse(p, "%s: %s", p->opt, why);
	return 0;
}

static int take_verify(struct parser *p, const char *arg)
{
	p->cfg->verify = true;
	return 0;
}

/* ---- devices ---- */

static int take_trid(struct parser *p, const char *arg)
{
	struct perf_config *cfg = p->cfg;
	struct plx_nvme_trid *t = &cfg->trids[cfg->ntrids];
	char why[256];

	if (cfg->ntrids == PERF_MAX_DEVICES)
		return options_refuse(p, "%s: more than %d devices: leave some out", p->opt,
				      PERF_MAX_DEVICES);
	if (plx_nvme_trid_parse(t, arg, why, sizeof(why)))
		return options_refuse(p, "%s: '%.64s': %s", p->opt, arg, why);
	if (t->trtype != PLX_NVME_TR_VIRTUAL) {
		cfg->ntrids++;
		return 0;
	}
	/* the one of this process: --virtual is where it gets its shape */
	if (*t->traddr || t->nsid || *t->subnqn || *t->trsvcid)
		return options_refuse(p,
				      "%s: '%.64s': the virtual controller has no address: use "
				      "trtype:VIRTUAL alone, or "
				      "--virtual to shape it",
				      p->opt, arg);
	cfg->use_virtual = true;
	return 0;
}

static int take_virtual(struct parser *p, const char *arg)
{
	p->cfg->virtual_spec = arg;
	return 0;
}

static int take_cores(struct parser *p, const char *arg)
{
	char why[256];

	if (plx_cpuset_parse(arg, &p->cfg->cores, why, sizeof(why)))
		return options_refuse(p, "%s: '%.64s': %s: use a mask (0x3) or a list (0,2-5)",
				      p->opt, arg, why);
	return 0;
}

static int take_queue_pairs(struct parser *p, const char *arg)
{
	return take_u32(p, arg, 1, 65535, &p->cfg->queue_pairs);
}

static int take_interrupts(struct parser *p, const char *arg)
{
	p->cfg->interrupts = true;
	return 0;
}

static int take_share(struct parser *p, const char *arg)
{
	uint32_t id = 0;
	int rc = take_u32(p, arg, 0, INT32_MAX, &id);

	p->cfg->share_id = (int32_t)id;
	return rc;
}

static int take_no_shutdown(struct parser *p, const char *arg)
{
	p->cfg->no_shutdown = true;
	return 0;
}

/* "sqs", "data", or both */
static int take_use_cmb(struct parser *p, const char *arg)
{
	const char *at = arg;

	p->cfg->use_cmb = 0;
	while (at) {
		size_t n = strcspn(at, ",");
		unsigned what = n == 3 && !strncmp(at, "sqs", n)    ? PERF_CMB_SQS
				: n == 4 && !strncmp(at, "data", n) ? PERF_CMB_DATA
								    : 0;

		if (!what)
			return options_refuse(p,
					      "%s: '%.64s' is not what a controller memory buffer "
					      "is for: use sqs, data or sqs,data",
					      p->opt, arg);
		p->cfg->use_cmb |= what;
		at = at[n] ? at + n + 1 : NULL;
	}
	return 0;
}

/* ---- commands ---- */

static int take_io_unit(struct parser *p, const char *arg)
{
	uint64_t v;

	if (take_bytes(p, arg, &v))
		return -EINVAL;
	if (!v || v % 4 || v > MAX_IO)
		return options_refuse(
			p,
			"%s: '%.64s' cannot be the size of a piece: use a multiple of 4, up "
			"to the I/O size",
			p->opt, arg);
	p->cfg->io_unit = (uint32_t)v;
	return 0;
}

static int take_align(struct parser *p, const char *arg)
{
	uint64_t v;

	if (take_bytes(p, arg, &v))
		return -EINVAL;
	if (v < 4 || v & (v - 1) || v > MAX_ALIGN)
		return options_refuse(
			p, "%s: '%.64s' is no alignment: use a power of two from 4 to 2M", p->opt,
			arg);
	p->cfg->align = (uint32_t)v;
	return 0;
}

static int take_completions(struct parser *p, const char *arg)
{
	return take_u32(p, arg, 0, 65535, &p->cfg->max_completions);
}

static int take_prchk(struct parser *p, char *names)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} checks[] = {
		{ "GUARD", PLX_NVME_RW_PRCHK_GUARD },
		{ "APPTAG", PLX_NVME_RW_PRCHK_APP },
		{ "REFTAG", PLX_NVME_RW_PRCHK_REF },
	};
	char *save = NULL;

	for (char *s = strtok_r(names, "|", &save); s; s = strtok_r(NULL, "|", &save)) {
		size_t i = 0;

		while (i < PLX_ARRAY_SIZE(checks) && strcasecmp(s, checks[i].name))
			i++;
		if (i == PLX_ARRAY_SIZE(checks))
			return options_refuse(
				p,
				"%s: PRCHK: '%.64s' is no check: use GUARD, REFTAG and "
				"APPTAG, with | between them",
				p->opt, s);
		p->cfg->prinfo |= checks[i].bit;
	}
	return 0;
}

static int take_prinfo(struct parser *p, const char *arg)
{
	char why[200];
	struct plx_kv kv;
	int rc;

	p->cfg->prinfo = 0;
	plx_kv_start(&kv, arg);
	while ((rc = plx_kv_next(&kv, why, sizeof(why))) > 0) {
		char value[sizeof(kv.buf)];
		bool set = kv.value && *kv.value;

		snprintf(value, sizeof(value), "%s", set ? kv.value : "");
		if (set && !strcasecmp(kv.key, "PRCHK")) {
			if (take_prchk(p, value))
				return -EINVAL;
		} else if (set && !strcasecmp(kv.key, "PRACT") &&
			   (!strcmp(value, "0") || !strcmp(value, "1"))) {
			p->cfg->prinfo |= value[0] == '1' ? PLX_NVME_RW_PRACT : 0;
		} else {
			return options_refuse(
				p,
				"%s: '%.64s' is no protection setting: use PRACT=0 or PRACT=1, and "
				"PRCHK=GUARD|REFTAG|APPTAG, with a comma between them",
				p->opt, arg);
		}
	}
	if (rc < 0 || !*arg)
		return options_refuse(p, "%s: '%.64s': %s: use PRACT=1,PRCHK=GUARD|REFTAG", p->opt,
				      arg, rc < 0 ? why : "no settings");
	return 0;
}

static int take_continue(struct parser *p, const char *arg)
{
	return take_u32(p, arg, 1, UINT32_MAX, &p->cfg->continue_on_error);
}

static int take_timeout(struct parser *p, const char *arg)
{
	uint64_t ns = 0;

	if (take_ns(p, arg, PLX_NS_PER_MS, &ns))
		return -EINVAL;
	if (ns / PLX_NS_PER_MS > UINT32_MAX)
		return options_refuse(p, "%s: '%.64s' is too long: use at most 49d", p->opt, arg);
	p->cfg->timeout_ms = (uint32_t)(ns / PLX_NS_PER_MS);
	return 0;
}

static int take_timeout_action(struct parser *p, const char *arg)
{
	if (!strcmp(arg, "abort"))
		p->cfg->timeout_action = PLX_NVME_TIMEOUT_ABORT;
	else if (!strcmp(arg, "reset"))
		p->cfg->timeout_action = PLX_NVME_TIMEOUT_RESET;
	else
		return options_refuse(
			p,
			"%s: '%.64s' is no action: use abort (then reset, if that does not "
			"help) or reset",
			p->opt, arg);
	return 0;
}

/* ---- results ---- */

static int take_latency(struct parser *p, const char *arg)
{
	if (p->cfg->latency < 2)
		p->cfg->latency++;
	return 0;
}

static int take_device_latency(struct parser *p, const char *arg)
{
	p->cfg->device_latency = true;
	return 0;
}

static int take_calibrate(struct parser *p, const char *arg)
{
	p->cfg->calibrate = true;
	return 0;
}

static int take_path(struct parser *p, const char *arg, const char **out)
{
	if (!*arg)
		return options_refuse(
			p, "%s: the name of the file is empty: give one, or - for standard output",
			p->opt);
	*out = arg;
	return 0;
}

static int take_json(struct parser *p, const char *arg)
{
	return take_path(p, arg, &p->cfg->json_path);
}

static int take_hist(struct parser *p, const char *arg)
{
	return take_path(p, arg, &p->cfg->hist_path);
}

static int take_interval(struct parser *p, const char *arg)
{
	return take_ns(p, arg, PLX_NS_PER_MS, &p->cfg->interval_ns);
}

static int take_quiet(struct parser *p, const char *arg)
{
	p->quiet = true;
	return 0;
}

/* ---- machine ---- */

static int take_memory(struct parser *p, const char *arg)
{
	uint64_t v;

	/* a bare number is MiB, as with the tools people come from; 2G means what it says */
	if (plx_parse_u64(arg, 0, UINT64_MAX / OPTIONS_MIB, &v, NULL, 0)) {
		if (take_bytes(p, arg, &v))
			return -EINVAL;
		v = (v + OPTIONS_MIB - 1) / OPTIONS_MIB;
	}
	if (!v || v > 1u << 24)
		return options_refuse(
			p,
			"%s: '%.64s' is no amount of memory: use MiB, as in 512, or a size "
			"such as 2G, up to 16T",
			p->opt, arg);
	p->cfg->mem_mb = v;
	return 0;
}

static int take_no_huge(struct parser *p, const char *arg)
{
	p->cfg->no_huge = true;
	return 0;
}

/* Every name that plx_log() is called with */
static const char *const components[] = { "bdev", "env",  "mem",    "nvme",
					  "nvmf", "perf", "thread", "topology" };

static int take_log(struct parser *p, const char *arg)
{
	bool known = !strcmp(arg, "all");

	for (size_t i = 0; i < PLX_ARRAY_SIZE(components); i++)
		known |= !strcmp(arg, components[i]);
	if (!known) {
		int n = snprintf(p->err, p->errlen, "%s: '%.64s' is no component: use all", p->opt,
				 arg);

		for (size_t i = 0; i < PLX_ARRAY_SIZE(components) && (size_t)n < p->errlen; i++)
			n += snprintf(p->err + n, p->errlen - (size_t)n, "%s%s",
				      i + 1 == PLX_ARRAY_SIZE(components) ? " or " : ", ",
				      components[i]);
		return -EINVAL;
	}
	/* -ENOENT: it has not spoken yet, and the level waits for it */
	plx_log_set_level(arg, PLX_LOG_DEBUG);
	return 0;
}

/* ---- the table ---- */

const struct row options_rows[] = {
	{ 0, "Load" },
	{ 'q', "io-depth", "N", "I/Os outstanding on each queue pair (32)", take_depth },
	{ 'o', "io-size", "SIZE", "size of an I/O, or a mix: 4k:70,64k:30 in percent (4k)",
	  take_size },
	{ 'w', "io-pattern", "P", "read, write, rw, randread, randwrite or randrw (randread)",
	  take_pattern },
	{ 'M', "rwmixread", "PERCENT", "share of reads; for rw and randrw, and needed there",
	  take_mix },
	{ 't', "time", "TIME", "how long to measure: seconds, or 500ms, 2m (5; with -d: no limit)",
	  take_time },
	{ 'a', "warmup-time", "TIME", "load without measuring before that (0)", take_warmup },
	{ 'd', "number-ios", "N", "stop after N I/Os on each queue pair", take_ios },
	{ 'F', "zipf", "THETA", "random places by popularity, skew above 0 and below 2 (uniform)",
	  take_zipf },
	{ KEY_SEED, "seed", "N", "the same places and patterns in the same order each time (1)",
	  take_seed },
	{ KEY_VERIFY, "verify", NULL,
	  "write blocks that describe themselves, check all that is read (one core)", take_verify },
	{ 0, "Devices and cores" },
	{ 'r', "transport", "TRID",
	  "'trtype:PCIe traddr:0000:04:00.0 ns:1'; repeatable; all namespaces without ns",
	  take_trid },
	{ KEY_VIRTUAL, "virtual", "SPEC",
	  "shape of the virtual controller, which is used when there is no -r; see below",
	  take_virtual },
	{ 'c', "core-mask", "CORES",
	  "cores that generate load: mask 0x3 or list 0,2-5 (the last one)", take_cores },
	{ 'P', "num-qpairs", "N", "queue pairs for each namespace and core (1)", take_queue_pairs },
	{ 'i', "shmem-grp-id", "ID",
	  "share PCIe controllers with processes of the same ID (not shared)", take_share },
	{ 'N', "no-shst-notification", NULL, "leave the controller without a shutdown notification",
	  take_no_shutdown },
	{ KEY_INTERRUPTS, "interrupts", NULL,
	  "wait for the devices' interrupts instead of polling; with -r", take_interrupts },
	{ KEY_USE_CMB, "use-cmb", "WHAT",
	  "sqs, data or sqs,data: put them into the controller memory buffer; with -r",
	  take_use_cmb },
	{ 0, "Commands" },
	{ 'O', "io-unit-size", "SIZE", "hand over each I/O as pieces of this size (one piece)",
	  take_io_unit },
	{ 'A', "buffer-alignment", "SIZE", "alignment of the buffers, a power of two from 4 (4096)",
	  take_align },
	{ 'C', "max-completion-per-poll", "N", "completions to take in one poll (0: all there are)",
	  take_completions },
	{ 'e', "metadata", "SETTINGS",
	  "protection information: PRACT=0|1,PRCHK=GUARD|REFTAG|APPTAG (none)", take_prinfo },
	{ 'Q', "continue-on-error", "N",
	  "go on after failed I/O, log every N-th (stop at the first)", take_continue },
	{ KEY_TIMEOUT, "timeout", "TIME",
	  "a command that takes longer is dealt with (wait for ever)", take_timeout },
	{ KEY_TIMEOUT_ACTION, "timeout-action", "A", "abort (then reset) or reset (abort)",
	  take_timeout_action },
	{ 0, "Results" },
	{ 'L', "enable-sw-latency-tracking", NULL,
	  "latency summary; given twice (-LL) the whole histogram", take_latency },
	{ 'l', "enable-ssd-latency-tracking", NULL,
	  "latency inside the device, where it reports that", take_device_latency },
	{ KEY_CALIBRATE, "calibrate", NULL,
	  "measure the limits of the cores in use first, show shares of them", take_calibrate },
	{ KEY_JSON, "json", "FILE",
	  "results as JSON; - is standard output, with nothing else on it", take_json },
	{ KEY_HIST, "hist", "FILE", "latency histograms as an HdrHistogram log (.hlog)",
	  take_hist },
	{ KEY_INTERVAL, "interval", "TIME", "a time series, as in 100ms", take_interval },
	{ KEY_QUIET, "quiet", NULL, "no progress line on the terminal", take_quiet },
	{ 0, "Machine" },
	{ 's', "hugemem-size", "MIB", "DMA memory (as much as the buffers need)", take_memory },
	{ KEY_NO_HUGE, "no-huge", NULL, "leave hugepages alone", take_no_huge },
	{ 'T', "logflag", "COMPONENT", "debug messages of a component, or of all; repeatable",
	  take_log },
	{ KEY_VERSION, "version", NULL, "print the version", NULL },
	{ KEY_HELP, "help", NULL, "print this text", NULL },
};
_Static_assert(PLX_ARRAY_SIZE(options_rows) <= 64, "a bit of parser.seen each");
const unsigned options_row_count = PLX_ARRAY_SIZE(options_rows);

static const struct row *row_of(int key)
{
	for (size_t i = 0; i < PLX_ARRAY_SIZE(options_rows); i++) {
		if (options_rows[i].key == key && key)
			return &options_rows[i];
	}
	return NULL;
}

bool options_given(const struct parser *p, int key)
{
	return p->seen >> (row_of(key) - options_rows) & 1;
}

struct tables {
	char shorts[2 * PLX_ARRAY_SIZE(options_rows) + 2];
	struct option longs[PLX_ARRAY_SIZE(options_rows) + 1];
};

static void make_tables(struct tables *t)
{
	char *s = t->shorts;
	unsigned n = 0;

	memset(t, 0, sizeof(*t));
	*s++ = ':';
	for (size_t i = 0; i < PLX_ARRAY_SIZE(options_rows); i++) {
		const struct row *r = &options_rows[i];

		if (!r->key)
			continue;
		t->longs[n++] = (struct option){ r->name, r->arg ? required_argument : no_argument,
						 NULL, r->key };
		if (r->key > 255)
			continue;
		*s++ = (char)r->key;
		if (r->arg)
			*s++ = ':';
	}
}

/* ---- parsing ---- */

/* How many long names @word, "--vir", may stand for */
static unsigned meanings(const char *word)
{
	size_t len = strcspn(word, "=");
	unsigned n = 0;

	for (size_t i = 0; i < PLX_ARRAY_SIZE(options_rows); i++)
		n += options_rows[i].key && len > 2 &&
		     !strncmp(word + 2, options_rows[i].name, len - 2);
	return n;
}

/* What getopt_long() calls '?' or ':', in words. @word: the last argument it took, the culprit when
 * that is a long one */
static int refuse_unknown(struct parser *p, int c, const char *word)
{
	const struct row *r = row_of(optopt);
	bool is_long = !strncmp(word, "--", 2);

	if (c == ':' && is_long)
		return options_refuse(p, "--%s needs a value: --%s %s: %s", r->name, r->name,
				      r->arg, r->help);
	if (c == ':')
		return options_refuse(p, "-%c needs a value: -%c %s: %s", optopt, optopt, r->arg,
				      r->help);
	if (!optopt)
		return options_refuse(p, "%s option '%.64s': plx-perf --help lists them all",
				      meanings(word) > 1 ? "ambiguous" : "unknown", word);
	if (r)
		return options_refuse(p, "--%s takes no value: leave out '%.64s'", r->name,
				      word + strcspn(word, "="));
	return options_refuse(p, "unknown option '-%c': plx-perf --help lists them all", optopt);
}

static void set_defaults(struct perf_config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	cfg->queue_depth = DEFAULT_DEPTH;
	cfg->sizes[0] = (struct perf_size){ DEFAULT_SIZE, 100 };
	cfg->nsizes = 1;
	cfg->max_size = DEFAULT_SIZE;
	cfg->pattern = PERF_RANDOM;
	cfg->read_share = 100;
	cfg->time_ns = DEFAULT_NS;
	cfg->queue_pairs = 1;
	cfg->align = DEFAULT_ALIGN;
	cfg->seed = 1;
	cfg->virtual_spec = "";
	cfg->share_id = -1;
}

static int parse_all(struct parser *p, int argc, char **argv)
{
	struct tables t;
	int index, c;

	make_tables(&t);
	opterr = 0;
	optind = 0; /* glibc: from the start, whoever parsed before */
	for (;;) {
		const struct row *r;
		char typed[48];

		index = -1;
		c = getopt_long(argc, argv, t.shorts, t.longs, &index);
		if (c == -1)
			break;
		if (c == '?' || c == ':')
			return refuse_unknown(p, c, argv[optind - 1]);
		if (c == KEY_HELP || c == KEY_VERSION)
			return c == KEY_HELP ? PERF_HELP : PERF_VERSION;
		r = row_of(c);
		if (index < 0)
			snprintf(typed, sizeof(typed), "-%c", c);
		else
			snprintf(typed, sizeof(typed), "--%s", t.longs[index].name);
		p->opt = typed;
		p->seen |= 1ull << (r - options_rows);
		if (r->take(p, optarg))
			return -EINVAL;
	}
	if (optind < argc)
		return options_refuse(
			p,
			"'%.64s' belongs to no option: plx-perf --help shows how they are written",
			argv[optind]);
	return options_check(p) ? -EINVAL : PERF_RUN;
}

int perf_options_parse(struct perf_config *cfg, int argc, char **argv, char *err, size_t errlen)
{
	struct parser p = { .cfg = cfg, .err = err, .errlen = errlen, .pattern = "randread" };
	int rc;

	set_defaults(cfg);
	rc = parse_all(&p, argc, argv);
	/* one line, whatever the user's text has in it */
	for (char *s = err; rc < 0 && *s; s++) {
		if (iscntrl((unsigned char)*s))
			*s = '?';
	}
	return rc;
}
