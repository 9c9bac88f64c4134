/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/zones_start.c - zoned namespaces before the run: what fits them, and all zones empty
 */
#include "perf/perf.h"
#include <errno.h>
#include <pollux/nvme_zns.h>
#include <stdio.h>
#include <stdlib.h>

#define REPORT 4096u /* bytes of a report: 63 zones */

static int check_reads(const struct perf_device *d, const struct perf_config *cfg)
{
	const struct plx_nvme_zns *zns = plx_nvme_ns_zns(d->ns);
	uint32_t block = plx_nvme_ns_block_size(d->ns);

	for (unsigned i = 0; i < cfg->nsizes && !zns->read_across_zones; i++) {
		if (zns->zone_blocks % (cfg->sizes[i].bytes / block) == 0)
			continue;
		fprintf(stderr,
			"plx-perf: I/Os of %u bytes (-o) would cross the zones of %s, which have "
			"%lu bytes: use a size that divides that\n",
			cfg->sizes[i].bytes, d->name, zns->zone_blocks * block);
		return 2;
	}
	return 0;
}

int perf_zones_check(const struct perf_device *d, const struct perf_config *cfg, unsigned jobs)
{
	const struct plx_nvme_zns *zns = plx_nvme_ns_zns(d->ns);
	uint64_t most;

	if (!zns)
		return 0;
	if (cfg->read_share == 100)
		return check_reads(d, cfg);
	if (cfg->io_unit || cfg->zipf_theta > 0) {
		fprintf(stderr,
			"plx-perf: %s does not go with writes to %s, which is zoned: leave "
			"it out\n",
			cfg->io_unit ? "-O" : "-F", d->name);
		return 2;
	}
	most = (uint64_t)plx_nvme_ns_max_io_blocks(d->ns) * plx_nvme_ns_block_size(d->ns);
	if (cfg->max_size > most) {
		fprintf(stderr,
			"plx-perf: I/Os of %u bytes (-o) take several commands on %s, which is "
			"zoned: use %lu at most\n",
			cfg->max_size, d->name, most);
		return 2;
	}
	most = zns->max_open && zns->max_open < zns->zones ? zns->max_open : zns->zones;
	if (jobs > most) {
		fprintf(stderr,
			"plx-perf: %u queue pairs are to write to %s, of which %lu zones may be "
			"open at a time: lower -P, or use fewer cores in -c\n",
			jobs, d->name, most);
		return 2;
	}
	return 0;
}

/* ---- one command after the other ---- */

struct answer {
	bool there;
	uint16_t status;
};

static void answered(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct answer *a = arg;

	a->status = plx_nvme_status(cpl);
	a->there = true;
}

/* @rc: of submitting it. Return: 0; 1, said on standard error */
static int await(struct perf_device *d, struct plx_nvme_qpair *qp, int rc, struct answer *a,
		 const char *what)
{
	char text[96];

	while (!rc && !a->there) {
		int n = plx_nvme_qpair_poll(qp, 0);

		plx_nvme_ctrlr_poll(d->ctrlr);
		rc = n < 0 && !a->there ? n : 0;
	}
	if (!rc && !a->status)
		return 0;
	fprintf(stderr, "plx-perf: %s: %s failed: %s\n", d->name, what,
		rc ? strerror(-rc) : plx_nvme_status_text(a->status, text, sizeof text));
	return 1;
}

/* Capacities of the zones from @first on that fit into one report. Return: how many; 0, said on
 * standard error */
static uint64_t report(struct perf_device *d, struct plx_nvme_qpair *qp, struct nvme_zone_report *r,
		       uint64_t first)
{
	struct perf_zoned *zoned = &d->zoned;
	struct answer a = { 0 };
	uint64_t n;
	int rc = plx_nvme_zns_report(d->ns, qp, first * zoned->zone_blocks, false,
				     NVME_ZNS_ZRAS_REPORT_ALL, true, r, REPORT, answered, &a);

	if (await(d, qp, rc, &a, "the report of its zones"))
		return 0;
	n = (REPORT - sizeof(*r)) / sizeof(r->entries[0]);
	n = r->nr_zones < n ? r->nr_zones : n;
	n = zoned->zones - first < n ? zoned->zones - first : n;
	for (uint64_t i = 0; i < n; i++) {
		const struct nvme_zns_desc *z = &r->entries[i];
		bool dead =
			z->zs >> 4 == NVME_ZNS_ZS_READ_ONLY || z->zs >> 4 == NVME_ZNS_ZS_OFFLINE;

		zoned->capacity[first + i] = dead || z->zcap > zoned->zone_blocks ? 0 : z->zcap;
	}
	if (!n)
		fprintf(stderr, "plx-perf: %s: the report of its zones ends before zone %lu\n",
			d->name, first);
	return n;
}

static int reset_and_report(struct perf_device *d, struct plx_nvme_qpair *qp,
			    struct nvme_zone_report *r)
{
	struct answer a = { 0 };
	int rc = plx_nvme_zns_mgmt(d->ns, qp, 0, NVME_ZNS_ZSA_RESET, PLX_NVME_ZNS_ALL, NULL,
				   answered, &a);

	rc = await(d, qp, rc, &a, "the reset of all zones");
	for (uint64_t i = 0, n; !rc && i < d->zoned.zones; i += n) {
		n = report(d, qp, r, i);
		rc = !n;
	}
	return rc;
}

int perf_zones_start(struct perf_device *d, const struct perf_config *cfg)
{
	const struct plx_nvme_zns *zns = plx_nvme_ns_zns(d->ns);
	struct nvme_zone_report *r;
	struct plx_nvme_qpair *qp;
	uint32_t open, active;
	int rc = 1;

	if (!zns || cfg->read_share == 100)
		return 0;
	open = zns->max_open;
	active = zns->max_active;
	d->zoned = (struct perf_zoned){
		.zone_blocks = zns->zone_blocks,
		.zones = zns->zones,
		.max_open = active && (!open || active < open) ? active : open,
		.capacity = calloc(zns->zones, sizeof *d->zoned.capacity),
	};
	r = plx_dma_zalloc(REPORT, PLX_PAGE_SIZE, PLX_NUMA_ANY);
	qp = r ? plx_nvme_qpair_create(d->ctrlr, NULL) : NULL;
	if (qp && d->zoned.capacity)
		rc = reset_and_report(d, qp, r);
	else
		fprintf(stderr, "plx-perf: %s: no memory or no queue for its %lu zones: raise -s\n",
			d->name, zns->zones);
	if (qp)
		plx_nvme_qpair_destroy(qp);
	plx_dma_free(r);
	return rc;
}
