/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/zones.c - zoned namespaces, for zonemode=zbd: what fio asks of a zoned block device
 *
 * fio asks in its main thread before the jobs run, and in a job's while it runs; commands are
 * waited for. In a job they go through its own queue pair, and what else completes meanwhile is
 * kept for its next getevents().
 */
#include "fio_plugin/fio_plugin.h"
#include <endian.h>
#include <errno.h>
#include <pollux/nvme_zns.h>
#include <zbd_types.h>

#define REPORT_BYTES 65536u
/* the name of later versions of fio, that count active zones, too */
#ifdef ZBD_MAX_WRITE_ZONES
#define ZBD_MAX_OPEN_ZONES ZBD_MAX_WRITE_ZONES
#endif

void path_command_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct path_command *c = arg;

	c->done = true;
	c->failed = !plx_nvme_ok(cpl);
}

/* A controller that goes calls back, too */
int path_command_wait(const struct zone_path *p, struct path_command *c, int rc)
{
	while (!rc && !c->done)
		plx_nvme_qpair_poll(p->qp, 0);
	if (rc == -EAGAIN)
		plx_nvme_qpair_poll(p->qp, 0);
	return rc ? rc : c->failed ? -EIO : 0;
}

static int command_report(const struct zone_path *p, uint64_t slba, void *buf, uint32_t len)
{
	struct path_command c;
	int rc;

	do {
		c = (struct path_command){ 0 };
		rc = path_command_wait(p, &c,
				       plx_nvme_zns_report(p->ns, p->qp, slba, false,
							   NVME_ZNS_ZRAS_REPORT_ALL, true, buf, len,
							   path_command_done, &c));
	} while (rc == -EAGAIN);
	return rc;
}

static int command_reset(const struct zone_path *p, uint64_t slba, uint32_t flags)
{
	struct path_command c;
	int rc;

	do {
		c = (struct path_command){ 0 };
		rc = path_command_wait(p, &c,
				       plx_nvme_zns_mgmt(p->ns, p->qp, slba, NVME_ZNS_ZSA_RESET,
							 flags, NULL, path_command_done, &c));
	} while (rc == -EAGAIN);
	return rc;
}

int zones_reset(const struct zone_path *p, uint64_t first, uint64_t n)
{
	const struct plx_nvme_zns *zns = plx_nvme_ns_zns(p->ns);
	int rc = 0;

	if (!first && n == zns->zones)
		return command_reset(p, 0, PLX_NVME_ZNS_ALL);
	for (uint64_t i = first; !rc && i < first + n; i++)
		rc = command_reset(p, i * zns->zone_blocks, 0);
	return rc;
}

/* ZNS Command Set 1.1c, figure 37; a controller may say anything. Return: 0; -EIO for nonsense */
static int zone_of(const struct zone_path *p, const struct nvme_zns_desc *d, uint64_t slba,
		   struct zbd_zone *z)
{
	uint64_t size = plx_nvme_ns_zns(p->ns)->zone_blocks;
	uint64_t cap = le64toh(d->zcap), wp = le64toh(d->wp);

	z->cond = d->zs >> 4;
	/* full, read only and offline zones have no write pointer */
	if (z->cond < ZBD_ZONE_COND_EMPTY || z->cond > ZBD_ZONE_COND_CLOSED)
		wp = slba + size;
	if (le64toh(d->zslba) != slba || cap > size || wp < slba || wp > slba + size)
		return -EIO;
	z->type = ZBD_ZONE_TYPE_SWR;
	z->start = slba * p->block;
	z->wp = wp * p->block;
	z->len = size * p->block;
	z->capacity = cap * p->block;
	return 0;
}

/* Return: zones of one command, at most @n, from @slba on; -errno */
static int report(const struct zone_path *p, uint64_t slba, struct zbd_zone *zones, unsigned n,
		  struct nvme_zone_report *buf, uint32_t len)
{
	unsigned fit = (unsigned)((len - sizeof *buf) / sizeof buf->entries[0]);
	uint64_t there;
	int rc = command_report(p, slba, buf, len);

	if (rc)
		return rc;
	there = le64toh(buf->nr_zones);
	n = n < fit ? n : fit;
	n = there < n ? (unsigned)there : n;
	for (unsigned i = 0; !rc && i < n; i++)
		rc = zone_of(p, &buf->entries[i], slba + i * plx_nvme_ns_zns(p->ns)->zone_blocks,
			     &zones[i]);
	return rc ? rc : n ? (int)n : -EIO;
}

static int zones_report(const struct zone_path *p, uint64_t first, struct zbd_zone *zones,
			unsigned n)
{
	const struct plx_nvme_zns *zns = plx_nvme_ns_zns(p->ns);
	uint64_t most = (uint64_t)plx_nvme_ns_max_io_blocks(p->ns) * plx_nvme_ns_block_size(p->ns);
	uint32_t len = most < REPORT_BYTES ? (uint32_t)most & ~63u : REPORT_BYTES;
	struct nvme_zone_report *buf = plx_dma_zalloc(len, 0, PLX_NUMA_ANY);
	unsigned got = 0;
	int rc = 0;

	if (!buf)
		return -ENOMEM;
	if (first >= zns->zones)
		n = 0;
	else if (n > zns->zones - first)
		n = (unsigned)(zns->zones - first);
	while (got < n && rc >= 0) {
		rc = report(p, (first + got) * zns->zone_blocks, zones + got, n - got, buf, len);
		got += rc > 0 ? (unsigned)rc : 0;
	}
	plx_dma_free(buf);
	return rc < 0 ? rc : (int)got;
}

/* ---- what fio asks ---- */

/* fio tells of errno */
static int answer(int rc)
{
	if (rc < 0)
		errno = -rc;
	return rc;
}

int zones_fio_report(struct thread_data *td, struct fio_file *f, uint64_t offset,
		     struct zbd_zone *zones, unsigned int n)
{
	struct zone_path p;
	int rc = zone_path_open(td, f, &p);

	if (!rc) {
		uint64_t zone = plx_nvme_ns_zns(p.ns)->zone_blocks * p.block;

		rc = zones_report(&p, offset / zone, zones, n);
		zone_path_close(td, &p);
	}
	return answer(rc);
}

int zones_fio_reset(struct thread_data *td, struct fio_file *f, uint64_t offset, uint64_t length)
{
	struct zone_path p;
	int rc = zone_path_open(td, f, &p);

	if (!rc) {
		uint64_t zone = plx_nvme_ns_zns(p.ns)->zone_blocks * p.block;

		rc = zones_reset(&p, offset / zone, length / zone);
		zone_path_close(td, &p);
	}
	return answer(rc);
}

/* A zone that is open is an active one, so the lower limit counts */
uint32_t zones_max_open(const struct plx_nvme_zns *zns)
{
	uint32_t open = zns->max_open ? zns->max_open : UINT32_MAX;
	uint32_t most = zns->max_active && zns->max_active < open ? zns->max_active : open;

	if (most == UINT32_MAX)
		return 0;
	return most < ZBD_MAX_OPEN_ZONES ? most : ZBD_MAX_OPEN_ZONES;
}
