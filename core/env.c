/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/env.c - starting and ending DPDK's EAL, time
 *
 * EAL can be started once in a process, and a start that fails cannot be repeated with other
 * settings. So whether hugepages can be had is found out before, by reserving them and letting go.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_memory.h>

#include "core_internal.h"

#define MIB		(1024u * 1024u)
#define DEFAULT_MB	64
#define DEFAULT_HUGE_MB 128
#define MAX_HUGE_SIZES	4
#define MAX_NODES	64
#define MAX_ARGS	16 /* of ours */
#define MAX_MORE_ARGS	32 /* of the caller */

enum env_state { ENV_NEVER, ENV_UP, ENV_OVER };

static struct {
	enum env_state state;
	bool hugepages, no_huge;
	uint64_t tsc_hz;
	struct plx_tsc_scale scale;
	char program[64];
	char description[160];
	/* EAL keeps pointers into its arguments */
	char memory[64], lcores[32];
	char *more_args;
	char *argv[MAX_ARGS + MAX_MORE_ARGS + 1];
	int argc;
} env;

void plx_env_opts_init(struct plx_env_opts *opts)
{
	*opts = (struct plx_env_opts){ .name = "pollux", .log_level = PLX_LOG_NOTICE };
}

/* ---- hugepages: what is free, and is it free for us ---- */

/* struct huge_plan - how to take memory in hugepages */
struct huge_plan {
	size_t page_kb; /* 0: not at all */
	size_t mb;
	int node; /* -1: a machine without NUMA */
	const char *reason; /* why not */
};

static size_t number_read(const char *path)
{
	FILE *f = fopen(path, "re");
	size_t v = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%zu", &v) != 1)
		v = 0;
	fclose(f);
	return v;
}

/* Free and not promised to others, in the whole machine. */
static size_t pages_free(size_t page_kb)
{
	char path[128];
	size_t free_pages, promised;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB/free_hugepages",
		 page_kb);
	free_pages = number_read(path);
	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB/resv_hugepages",
		 page_kb);
	promised = number_read(path);
	return free_pages > promised ? free_pages - promised : 0;
}

static size_t pages_free_on(size_t page_kb, int node)
{
	char path[128];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-%zukB/free_hugepages", node,
		 page_kb);
	return number_read(path);
}

/* The page sizes this kernel has, small first. Returns how many. */
static int page_sizes(size_t *kb)
{
	DIR *d = opendir("/sys/kernel/mm/hugepages");
	struct dirent *e;
	int n = 0;

	if (!d)
		return 0;
	while (n < MAX_HUGE_SIZES && (e = readdir(d))) {
		size_t v;
		int i;

		if (sscanf(e->d_name, "hugepages-%zukB", &v) != 1 || !v)
			continue;
		for (i = n++; i > 0 && kb[i - 1] > v; i--)
			kb[i] = kb[i - 1];
		kb[i] = v;
	}
	closedir(d);
	return n;
}

/* Free pages may still be refused by a cgroup, a seccomp filter or a lack of privilege: try. */
static bool pages_obtainable(size_t page_kb, size_t mb)
{
	size_t page = page_kb * 1024, len = (mb * MIB + page - 1) / page * page;
	unsigned flags =
		MFD_CLOEXEC | MFD_HUGETLB | (unsigned)__builtin_ctzl(page) << MAP_HUGE_SHIFT;
	int fd = memfd_create("pollux-probe", flags);
	bool ok = false;
	void *p;

	if (fd < 0)
		return false;
	if (!ftruncate(fd, (off_t)len)) {
		/* mapping reserves all of it, and takes none */
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p != MAP_FAILED) {
			ok = !fallocate(fd, 0, 0, (off_t)page);
			munmap(p, len);
		}
	}
	close(fd);
	return ok;
}

/* The node with enough free pages, the caller's own if possible. -2: none. */
static int node_with(size_t page_kb, size_t mb)
{
	int mine = plx_topo_cpu_node((unsigned)sched_getcpu());
	size_t want = (mb * 1024 + page_kb - 1) / page_kb;

	if (access("/sys/devices/system/node/node0", F_OK))
		return -1;
	if (mine >= 0 && pages_free_on(page_kb, mine) >= want)
		return mine;
	for (int node = 0; node < MAX_NODES; node++)
		if (pages_free_on(page_kb, node) >= want)
			return node;
	return -2;
}

static struct huge_plan huge_plan_make(const struct plx_env_opts *o)
{
	size_t kb[MAX_HUGE_SIZES];
	int sizes = page_sizes(kb);
	struct huge_plan plan = { .reason = "no hugepages free" };

	if (o->no_huge) {
		plan.reason = "hugepages not wanted";
		return plan;
	}
	for (int i = 0; i < sizes; i++) {
		size_t mb = o->mem_mb ? o->mem_mb : DEFAULT_HUGE_MB;
		size_t free_pages = pages_free(kb[i]);
		int node;

		if (!free_pages)
			continue;
		/* unasked, fewer will do, if they are more than ordinary pages would have been */
		if (!o->mem_mb && free_pages * kb[i] / 1024 < mb)
			mb = free_pages * kb[i] / 1024;
		node = node_with(kb[i], mb);
		if (mb < DEFAULT_MB && !o->mem_mb) {
			plan.reason = "too few hugepages free";
		} else if (free_pages < (mb * 1024 + kb[i] - 1) / kb[i] || node == -2) {
			plan.reason = "too few hugepages free";
		} else if (!pages_obtainable(kb[i], mb)) {
			plan.reason = "hugepages refused to this process";
		} else {
			plan.page_kb = kb[i];
			plan.mb = mb;
			plan.node = node;
			return plan;
		}
	}
	return plan;
}

/* ---- time ---- */

struct clock_pair {
	uint64_t tsc;
	uint64_t ns;
};

/* Both clocks at one moment: the reading with the narrowest bracket of several. */
static struct clock_pair clock_pair_read(void)
{
	struct clock_pair best = { 0, 0 };
	uint64_t narrowest = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t before = plx_tsc(), after;
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		after = plx_tsc();
		if (after - before >= narrowest)
			continue;
		narrowest = after - before;
		best.tsc = before + narrowest / 2;
		best.ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	}
	return best;
}

/*
 * EAL rounds the frequency to 10 MHz, up to 0.2 % wrong at 2.5 GHz, which is more than a
 * histogram's error. The time its start takes, some 100 ms, serves as the base of a measurement
 * good to a millionth.
 */
static void tsc_calibrate(struct clock_pair from)
{
	struct clock_pair to = clock_pair_read();

	while (to.ns - from.ns < 10000000) {
		struct timespec rest = { .tv_nsec = (long)(10000000 - (to.ns - from.ns)) };

		nanosleep(&rest, NULL);
		to = clock_pair_read();
	}
	env.tsc_hz = (uint64_t)((unsigned __int128)(to.tsc - from.tsc) * 1000000000u /
				(to.ns - from.ns));
	env.scale.mult = (((uint64_t)1000000000 << 32) + env.tsc_hz / 2) / env.tsc_hz;
}

uint64_t plx_tsc_hz(void)
{
	return env.tsc_hz;
}

struct plx_tsc_scale plx_tsc_scale(void)
{
	return env.scale;
}

/* ---- starting ---- */

static void arg_add(const char *text)
{
	env.argv[env.argc++] = (char *)(uintptr_t)text;
}

static void args_build(const struct plx_env_opts *o, const struct huge_plan *plan, unsigned cpu)
{
	env.argc = 0;
	arg_add(env.program);
	snprintf(env.lcores, sizeof(env.lcores), "--lcores=0@%u", cpu);
	arg_add(env.lcores);
	arg_add("--no-telemetry");
	arg_add("--log-level=*:error");
	/* devices are the driver's own business, and EAL's drivers would take what is not ours */
	arg_add("--no-pci");
	if (plan->page_kb) {
		int at = snprintf(env.memory, sizeof(env.memory), "--socket-mem=");

		for (int node = 0; node < plan->node; node++)
			at += snprintf(env.memory + at, sizeof(env.memory) - (size_t)at, "0,");
		snprintf(env.memory + at, sizeof(env.memory) - (size_t)at, "%zu", plan->mb);
		arg_add("--in-memory");
		/* one file, so that a peer gets few regions; freed as allocated, so that they stay
		 * whole */
		arg_add("--single-file-segments");
		arg_add("--match-allocations");
		arg_add("--iova-mode=va");
	} else {
		snprintf(env.memory, sizeof(env.memory), "-m%zu", plan->mb);
		arg_add("--no-huge");
		arg_add("--no-shconf");
	}
	arg_add(env.memory);
}

/* The caller's, behind ours */
static int args_add(const char *text)
{
	int most = env.argc + MAX_MORE_ARGS;

	if (!text)
		return 0;
	env.more_args = strdup(text);
	if (!env.more_args)
		return -ENOMEM;
	for (char *save, *arg = strtok_r(env.more_args, " \t\n", &save); arg;
	     arg = strtok_r(NULL, " \t\n", &save)) {
		if (env.argc == most)
			return -E2BIG;
		arg_add(arg);
	}
	return 0;
}

/* EAL talks while it starts, of what is normal here: only a failure lets its words through. */
static int eal_start(void)
{
	char *said = NULL;
	size_t said_len = 0;
	FILE *capture = open_memstream(&said, &said_len);
	int rc;

	if (capture)
		rte_openlog_stream(capture);
	rc = rte_eal_init(env.argc, env.argv) < 0 ? -rte_errno : 0;
	rte_openlog_stream(stderr);
	if (capture)
		fclose(capture);
	if (rc) {
		for (char *save, *line = said ? strtok_r(said, "\n", &save) : NULL; line;
		     line = strtok_r(NULL, "\n", &save))
			plx_log(PLX_LOG_ERR, "env", "%s", line);
	}
	free(said);
	return rc;
}

static void describe(const struct huge_plan *plan)
{
	if (plan->page_kb)
		snprintf(env.description, sizeof(env.description), "%zu MiB in hugepages of %zu %s",
			 plan->mb, plan->page_kb < MIB ? plan->page_kb / 1024 : plan->page_kb / MIB,
			 plan->page_kb < MIB ? "MiB" : "GiB");
	else
		snprintf(env.description, sizeof(env.description), "%zu MiB in 4 KiB pages (%s)",
			 plan->mb, plan->reason);
}

int plx_env_init(const struct plx_env_opts *opts)
{
	struct clock_pair from = clock_pair_read();
	struct plx_env_opts defaults;
	struct plx_cpuset allowed;
	struct huge_plan plan;
	cpu_set_t affinity;
	bool restore;
	int rc;

	if (env.state != ENV_NEVER)
		return -EALREADY;
	env.state = ENV_OVER;
	if (!opts) {
		plx_env_opts_init(&defaults);
		opts = &defaults;
	}
	snprintf(env.program, sizeof(env.program), "%s", opts->name ? opts->name : "pollux");
	log_init(env.program, opts->log_level);
	topo_init();
	plx_topo_allowed(&allowed);

	plan = huge_plan_make(opts);
	if (!plan.page_kb)
		plan.mb = opts->mem_mb ? opts->mem_mb : DEFAULT_MB;
	args_build(opts, &plan, (unsigned)plx_cpuset_next(&allowed, -1));

	rc = args_add(opts->eal_args);
	if (rc)
		return rc;

	restore = !pthread_getaffinity_np(pthread_self(), sizeof(affinity), &affinity);
	rc = eal_start();
	if (restore)
		pthread_setaffinity_np(pthread_self(), sizeof(affinity), &affinity);
	if (rc) {
		plx_log(PLX_LOG_ERR, "env",
			"DPDK's environment does not start with %zu MiB of memory: %s", plan.mb,
			strerror(-rc));
		return rc;
	}
	log_started();
	env.hugepages = plan.page_kb != 0;
	env.no_huge = opts->no_huge;
	rc = mem_init();
	if (rc) {
		mem_fini();
		rte_eal_cleanup();
		return rc;
	}
	tsc_calibrate(from);
	describe(&plan);
	env.state = ENV_UP;
	plx_log(PLX_LOG_INFO, "env", "%s", env.description);
	return 0;
}

void plx_env_fini(void)
{
	if (env.state != ENV_UP)
		return;
	env.state = ENV_OVER;
	mem_fini();
	topo_fini();
	rte_eal_cleanup();
	free(env.more_args);
	env.more_args = NULL;
}

const char *plx_env_describe(void)
{
	return env.description;
}

bool plx_env_has_hugepages(void)
{
	return env.hugepages;
}

bool plx_env_may_use_hugepages(void)
{
	return !env.no_huge;
}
