/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/read_io.c - what there is one of for each (namespaces, groups, sets), and the pages that
 * are read by I/O commands
 */
#include "identify/reader.h"
#include <errno.h>
#include <pollux/env.h>
#include <pollux/nvme_zns.h>
#include <pollux/thread.h>
#include <stdlib.h>
#include <string.h>

#define ZONES_MAX (1u << 20) /* shown at most: 64 MiB of descriptors */

/* ---- scopes ---- */

/* A list that cannot be read is an empty one */
int id_learn_scopes(struct reader *r)
{
	int rc = 0;

	if (r->dump->ctrl.ctratt & 1u << 4)
		rc = plx_nvme_identify(r->c, NVME_IDENTIFY_CNS_ENDURANCE_GROUP_ID, 0, 0, 0,
				       &r->groups);
	if (rc >= 0 && r->dump->ctrl.ctratt & 1u << 2)
		rc = plx_nvme_identify(r->c, NVME_IDENTIFY_CNS_NVMSET_LIST, 0, 0, 0, &r->sets);
	return rc < 0 ? rc : 0;
}

static bool is_zoned(const struct reader *r, uint32_t nsid)
{
	const struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(r->c, nsid);

	return ns && plx_nvme_ns_zns(ns);
}

static uint32_t next_ns(const struct reader *r, enum id_scope scope, uint32_t nsid)
{
	do {
		if (r->w->nsid)
			nsid = nsid ? 0 : r->w->nsid;
		else
			nsid = plx_nvme_ctrlr_next_ns(r->c, nsid);
	} while (nsid && ((scope == ID_OF_ZONED && !is_zoned(r, nsid)) ||
			  (scope == ID_OF_NVM && is_zoned(r, nsid))));
	return nsid;
}

/* The lists are in order; what is not is the end of one */
uint32_t id_next(const struct reader *r, enum id_scope scope, uint32_t id)
{
	if (scope == ID_OF_GROUP) {
		for (uint32_t i = 0; i < r->groups.num && i < PLX_ARRAY_SIZE(r->groups.identifier);
		     i++)
			if (r->groups.identifier[i] > id)
				return r->groups.identifier[i];
		return 0;
	}
	if (scope == ID_OF_SET) {
		for (uint32_t i = 0; i < r->sets.nid && i < PLX_ARRAY_SIZE(r->sets.ent); i++)
			if (r->sets.ent[i].nvmsetid > id)
				return r->sets.ent[i].nvmsetid;
		return 0;
	}
	return next_ns(r, scope, id);
}

/* ---- I/O commands, one at a time ---- */

struct wait {
	bool done;
	uint16_t status;
};

static void io_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct wait *w = arg;

	w->status = plx_nvme_status(cpl);
	w->done = true;
}

static int make_qpair(struct reader *r)
{
	struct plx_nvme_qpair_opts opts;

	if (r->qp)
		return 0;
	plx_nvme_qpair_opts_init(&opts);
	opts.queue_size = 8;
	r->qp = plx_nvme_qpair_create(r->c, &opts);
	return r->qp ? 0 : -errno;
}

/* The end comes: by a completion, by a time-out and its reset, or by the controller's failure */
static int wait_for(struct reader *r, const struct wait *w)
{
	while (!w->done) {
		plx_nvme_qpair_poll(r->qp, 0);
		plx_nvme_ctrlr_poll(r->c);
		if (plx_thread_current())
			plx_thread_poll(plx_thread_current());
	}
	return *plx_nvme_ctrlr_failure(r->c) ? -ENXIO : w->status;
}

/* @data: any memory. Return: 0; an NVMe status; -errno */
static int io_read(struct reader *r, const struct plx_nvme_cmd *cmd, void *data, uint32_t len)
{
	struct wait w = { .done = false };
	struct iovec iov = { .iov_len = len };
	int rc = make_qpair(r);

	if (rc)
		return rc;
	iov.iov_base = plx_dma_zalloc(len, PLX_PAGE_SIZE, PLX_NUMA_ANY);
	if (!iov.iov_base)
		return -ENOMEM;
	rc = plx_nvme_io_raw(r->qp, cmd, &iov, 1, NULL, 0, io_done, &w);
	if (!rc)
		rc = wait_for(r, &w);
	if (!rc)
		memcpy(data, iov.iov_base, len);
	plx_dma_free(iov.iov_base);
	return rc;
}

static int resize(struct id_item *item, uint32_t len)
{
	void *data = calloc(1, len);

	if (!data)
		return -ENOMEM;
	if (item->data)
		memcpy(data, item->data, item->len < len ? item->len : len);
	free(item->data);
	item->data = data;
	item->len = len;
	return 0;
}

static uint32_t piece(const struct reader *r, uint32_t len)
{
	uint32_t max = plx_nvme_ctrlr_max_io_bytes(r->c) & ~3u;

	return len < max ? len : max;
}

/* ---- zones: ZNS Command Set 1.1c §3.4.2 ---- */

static int report(struct reader *r, uint32_t nsid, uint64_t slba, void *buf, uint32_t len)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_zns_cmd_mgmt_recv,
		.nsid = nsid,
		.cdw10 = (uint32_t)slba,
		.cdw11 = (uint32_t)(slba >> 32),
		.cdw12 = len / 4 - 1,
		.cdw13 = NVME_ZNS_ZRA_REPORT_ZONES,
	};

	return io_read(r, &cmd, buf, len);
}

int id_read_zones(struct reader *r, struct id_item *item)
{
	uint32_t chunk = piece(r, 65536), per = (chunk - 64) / 64, total, got = 0;
	struct nvme_zone_report *part = malloc(chunk), *all;
	uint64_t slba = 0, size, next;
	int rc;

	if (!part)
		return -ENOMEM;
	size = plx_nvme_ns_zns(plx_nvme_ctrlr_ns(r->c, item->nsid))->zone_blocks;
	rc = report(r, item->nsid, 0, part, sizeof(*part));
	total = !rc && part->nr_zones < ZONES_MAX ? (uint32_t)part->nr_zones : ZONES_MAX;
	if (!rc)
		rc = resize(item, (uint32_t)sizeof(*all) + total * 64);
	if (!rc)
		memcpy(item->data, part, sizeof(*part));
	while (!rc && got < total) {
		uint32_t n = total - got < per ? total - got : per;

		rc = report(r, item->nsid, slba, part, 64 + n * 64);
		if (rc)
			break;
		all = item->data;
		n = part->nr_zones < n ? (uint32_t)part->nr_zones : n;
		memcpy(&all->entries[got], part->entries, n * 64);
		got += n;
		/* a zone that leads back is no way on */
		next = n ? part->entries[n - 1].zslba + size : 0;
		if (next <= slba)
			break;
		slba = next;
	}
	free(part);
	if (!rc)
		item->len = (uint32_t)sizeof(*all) + got * 64;
	return rc;
}

/* ---- FDP: I/O Management Receive, reclaim unit handle status (NVM Command Set 1.0c, TP4146)
 * ---- */

int id_read_fdp_status(struct reader *r, struct id_item *item)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_cmd_io_mgmt_recv,
		.nsid = item->nsid,
		.cdw10 = NVME_IO_MGMT_RECV_RUH_STATUS,
		.cdw11 = sizeof(struct nvme_fdp_ruh_status) / 4 - 1,
	};
	int rc = resize(item, sizeof(struct nvme_fdp_ruh_status));
	uint32_t len;

	if (!rc)
		rc = io_read(r, &cmd, item->data, item->len);
	if (rc)
		return rc;
	len = piece(r, item->len + ((struct nvme_fdp_ruh_status *)item->data)->nruhsd *
					   (uint32_t)sizeof(struct nvme_fdp_ruh_status_desc));
	rc = resize(item, len);
	cmd.cdw11 = len / 4 - 1;
	return rc ? rc : io_read(r, &cmd, item->data, len);
}

/* ---- reservations: NVMe Base Specification 2.0c §7.7 ---- */

int id_read_reservations(struct reader *r, struct id_item *item)
{
	bool extended = r->dump->ctrl.ctratt & 1;
	uint32_t len = piece(r, 16384);
	struct plx_nvme_cmd cmd = {
		.opc = nvme_cmd_resv_report,
		.nsid = item->nsid,
		.cdw10 = len / 4 - 1,
		.cdw11 = extended,
	};
	int rc = resize(item, len);

	item->extended = extended;
	return rc ? rc : io_read(r, &cmd, item->data, len);
}
