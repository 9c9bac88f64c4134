/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/options_check.c - options that make sense only together, and the memory they need
 */
#include "perf/options_internal.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int check_load(struct parser *p)
{
	struct perf_config *cfg = p->cfg;

	if (p->mixed && !options_given(p, 'M'))
		return options_refuse(p, "-w %s needs the share of reads: add -M, as in -M 70",
				      p->pattern);
	if (!p->mixed && options_given(p, 'M'))
		return options_refuse(
			p,
			"-M %u does not go with -w %s, which only %ss: leave it out, or use -w %s",
			p->mix, p->pattern, cfg->read_share ? "read" : "write",
			cfg->pattern == PERF_RANDOM ? "randrw" : "rw");
	if (p->mixed)
		cfg->read_share = p->mix;
	if (cfg->zipf_theta > 0 && cfg->pattern != PERF_RANDOM)
		return options_refuse(
			p,
			"-F %g does not go with -w %s, which is sequential: use randread, "
			"randwrite or randrw",
			cfg->zipf_theta, p->pattern);
	if (cfg->ios_per_job && cfg->warmup_ns)
		return options_refuse(
			p,
			"-d %lu does not go with -a: it counts I/Os from the first on: leave "
			"one of them out",
			cfg->ios_per_job);
	if (cfg->ios_per_job && !options_given(p, 't'))
		cfg->time_ns = PERF_FOREVER_NS;
	if (cfg->io_unit > cfg->max_size)
		return options_refuse(
			p,
			"-O %u is more than the largest I/O, %u (-o): use a smaller piece, "
			"or leave it out",
			cfg->io_unit, cfg->max_size);
	return 0;
}

static int check_verify(struct parser *p)
{
	struct perf_config *cfg = p->cfg;

	if (!cfg->verify)
		return 0;
	if (!cfg->read_share)
		return options_refuse(
			p, "--verify has nothing to check when all I/Os are writes: use -w "
			   "randrw -M 50, or rw");
	if (plx_cpuset_count(&cfg->cores) > 1)
		return options_refuse(
			p, "--verify needs one core that knows of every write: give one in -c");
	if (cfg->ntrids && cfg->read_share == 100)
		return options_refuse(
			p,
			"--verify would overwrite the devices of -r although -w %s only "
			"reads: use -w randrw -M 99 "
			"if that is meant",
			p->pattern);
	return 0;
}

static int check_results(struct parser *p)
{
	struct perf_config *cfg = p->cfg;

	if (cfg->json_path && cfg->hist_path && !strcmp(cfg->json_path, cfg->hist_path))
		return options_refuse(
			p, "--json and --hist both write to '%.64s': give each a file of its own",
			cfg->json_path);
	if (cfg->calibrate && !cfg->use_virtual)
		return options_refuse(p,
				      "--calibrate measures between a core and that of the virtual "
				      "controller: leave out either "
				      "it or -r");
	if (options_given(p, KEY_TIMEOUT_ACTION) && !cfg->timeout_ms)
		return options_refuse(
			p,
			"--timeout-action needs to know when: add --timeout, as in --timeout 2s");
	if (cfg->timeout_ms && cfg->timeout_action == PLX_NVME_TIMEOUT_NONE)
		cfg->timeout_action = PLX_NVME_TIMEOUT_ABORT;
	return 0;
}

/*
 * DMA memory: buffers, queues with their list memory, and some for controllers. Memory allocated
 * aligned costs up to its alignment more. Without hugepages only what is used of it becomes
 * resident.
 */
static size_t memory_needed(const struct perf_config *cfg)
{
	uint64_t workers = plx_cpuset_count(&cfg->cores);
	uint64_t devices =
		cfg->ntrids ? cfg->ntrids : plx_nvmf_device_spec_namespaces(cfg->virtual_spec);
	uint64_t entries = perf_queue_entries(cfg->queue_depth);
	/* an eighth: metadata */
	uint64_t buffer = cfg->max_size + cfg->max_size / 8 + cfg->align + 2 * PLX_PAGE_SIZE;
	uint64_t pair =
		cfg->queue_depth * buffer + entries * (256 + PLX_PAGE_SIZE) + 4 * PLX_PAGE_SIZE;

	workers = workers ? workers : 1;
	return 24 + (workers * devices * (cfg->queue_pairs * pair + OPTIONS_MIB) + OPTIONS_MIB -
		     1) / OPTIONS_MIB;
}

int options_check(struct parser *p)
{
	struct perf_config *cfg = p->cfg;

	if (options_given(p, KEY_VIRTUAL) && cfg->ntrids)
		return options_refuse(p, "--virtual and -r name different devices: choose one");
	if (!cfg->ntrids)
		cfg->use_virtual = true;
	if (cfg->interrupts && cfg->use_virtual)
		return options_refuse(p, "--interrupts needs a device that has some: the virtual "
					 "controller is polled; name one with -r");
	if (cfg->use_cmb && cfg->use_virtual)
		return options_refuse(p, "--use-cmb needs a device that has such a buffer: the "
					 "virtual controller has none; name one with -r");
	for (unsigned i = 0; i < cfg->ntrids && cfg->share_id >= 0; i++)
		if (cfg->trids[i].trtype != PLX_NVME_TR_PCIE)
			return options_refuse(p,
					      "-i shares PCIe controllers, and -r names one of "
					      "transport %s: leave one of them out",
					      plx_nvme_trtype_name(cfg->trids[i].trtype));
	if (cfg->share_id >= 0 && cfg->use_virtual)
		return options_refuse(p, "-i shares PCIe controllers, not the virtual one: name "
					 "one with -r");
	if (check_load(p) || check_verify(p) || check_results(p))
		return -EINVAL;
	cfg->progress = !p->quiet && isatty(STDERR_FILENO);
	if (!cfg->mem_mb)
		cfg->mem_mb = memory_needed(cfg);
	return 0;
}
