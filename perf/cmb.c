/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/cmb.c - --use-cmb: queues and buffers in the controller's memory buffer
 */
#include "perf/perf.h"
#include <pollux/nvme_memory.h>
#include <stdio.h>

#define PAGE 4096u

static uint64_t whole(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static uint64_t needed(const struct perf_run *run, const struct perf_ctrlr *pc, unsigned workers)
{
	const struct perf_config *cfg = run->cfg;
	uint64_t entries = perf_queue_entries(cfg->queue_depth), bytes = 0;

	for (unsigned i = 0; i < run->ndevices; i++) {
		const struct plx_nvme_ns *ns = run->devices[i].ns;
		uint64_t blocks = cfg->max_size / plx_nvme_ns_block_size(ns), buffer;

		if (run->devices[i].ctrlr != pc->ctrlr)
			continue;
		if (cfg->use_cmb & PERF_CMB_SQS)
			bytes += whole(entries * sizeof(struct plx_nvme_cmd), PAGE);
		buffer = whole(blocks * plx_nvme_ns_xfer_block_size(ns), cfg->align);
		if (plx_nvme_ns_md_size(ns) && !plx_nvme_ns_md_extended(ns))
			buffer += whole(blocks * plx_nvme_ns_md_size(ns), PLX_CACHE_LINE);
		if (cfg->use_cmb & PERF_CMB_DATA)
			bytes += buffer * cfg->queue_depth;
	}
	return bytes * workers * cfg->queue_pairs;
}

int perf_cmb_check(const struct perf_run *run, const struct perf_ctrlr *pc)
{
	const struct perf_config *cfg = run->cfg;
	bool data = cfg->use_cmb & PERF_CMB_DATA, writes = cfg->verify || cfg->read_share < 100;
	struct plx_nvme_cmb_info info = { 0 };
	uint64_t bytes = needed(run, pc, pc->thread ? 1 : run->nworkers);
	const char *lacks = NULL;
	char name[256];

	if (!cfg->use_cmb)
		return 0;
	plx_nvme_trid_format(plx_nvme_ctrlr_trid(pc->ctrlr), name, sizeof name);
	if (plx_nvme_cmb_info(pc->ctrlr, &info) || !info.free_bytes)
		lacks = "no controller memory buffer that can be used";
	else if ((cfg->use_cmb & PERF_CMB_SQS) && !info.sqs)
		lacks = "a controller memory buffer for no submission queues (CMBSZ.SQS is 0)";
	else if (data && cfg->read_share && !info.read_data)
		lacks = "a controller memory buffer for no data of reads (CMBSZ.RDS is 0)";
	else if (data && writes && !info.write_data)
		lacks = "a controller memory buffer for no data of writes (CMBSZ.WDS is 0)";
	if (lacks) {
		fprintf(stderr,
			"plx-perf: %s has %s: leave --use-cmb out, or use it for less: "
			"plx-identify shows what there is\n",
			name, lacks);
		return 2;
	}
	if (bytes <= info.free_bytes)
		return 0;
	fprintf(stderr,
		"plx-perf: --use-cmb needs %lu KiB, and the controller memory buffer of %s has "
		"%lu: lower -q, -o or -P, or use it for less\n",
		(bytes + 1023) / 1024, name, info.free_bytes / 1024);
	return 2;
}

static bool in_cmb(const struct perf_job *job)
{
	return job->cfg->use_cmb & PERF_CMB_DATA;
}

void *perf_buffer_alloc(struct perf_job *job, size_t bytes, size_t align, int numa)
{
	if (!in_cmb(job))
		return plx_dma_zalloc(bytes, align, numa);
	return plx_nvme_cmb_alloc(plx_nvme_ns_ctrlr(job->ns), bytes, align);
}

void perf_buffer_free(struct perf_job *job, void *buf)
{
	if (!in_cmb(job))
		plx_dma_free(buf);
	else
		plx_nvme_cmb_free(plx_nvme_ns_ctrlr(job->ns), buf);
}
