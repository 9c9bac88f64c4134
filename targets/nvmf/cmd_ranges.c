/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/cmd_ranges.c - I/O commands over a list of ranges: Dataset Management and Copy
 *
 * The list is copied from host memory once, checked as a whole, and worked off in order. (NVM
 * Command Set 1.0c §3.2.2, §3.2.3.) Write Zeroes with protection information is a copy without a
 * source.
 */
#include "targets/nvmf/nvmf_cmd.h"
#include <errno.h>

#define COPY_BUFFER 131072u

/*
 * Scratch in req->buf: @offset bytes, the host's list of @n entries of @size bytes, @room bytes
 * Return: 0 or a status
 */
static uint16_t read_list(struct nvmf_req *req, size_t offset, uint32_t n, uint32_t size,
			  size_t room)
{
	uint16_t st = nvmf_req_map(req, n * size);

	if (st)
		return st;
	req->buf = plx_dma_zalloc(offset + (size_t)n * size + room, 0, PLX_NUMA_ANY);
	if (!req->buf)
		return NVMF_ST(NVME_SC_INTERNAL);
	nvmf_req_copy_in(req, 0, (char *)req->buf + offset, n * size);
	return 0;
}

/* ---- Dataset Management ---- */

struct dsm {
	uint32_t n, i;
	struct nvme_dsm_range range[];
};

static void dsm_step(void *arg);

static void dsm_done(struct plx_bdev_io *io, void *arg)
{
	struct nvmf_req *req = arg;
	struct dsm *d = req->buf;

	if (io->status) {
		nvmf_cmd_finish(req, io->status);
		return;
	}
	d->i++;
	dsm_step(req);
}

static void dsm_step(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr_ns *ns = nvmf_cmd_ns(req);
	struct dsm *d = req->buf;
	int rc;

	if (!ns)
		return;
	while (d->i < d->n && !d->range[d->i].nlb)
		d->i++;
	/* advice all of it: a device that cannot deallocate has followed it as far as it can */
	if (d->i == d->n || !plx_bdev_supports(ns->ns->bdev, PLX_BDEV_UNMAP)) {
		nvmf_cmd_finish(req, 0);
		return;
	}
	rc = plx_bdev_unmap(ns->desc, ns->ch, d->range[d->i].slba, d->range[d->i].nlb, dsm_done,
			    req);
	if (rc)
		nvmf_cmd_refused(req, ns, rc, dsm_step);
}

void nvmf_exec_dsm(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns)
{
	uint32_t n = (req->cmd.cdw10 & 0xff) + 1;
	uint16_t st =
		read_list(req, offsetof(struct dsm, range), n, sizeof(struct nvme_dsm_range), 0);
	struct dsm *d = req->buf;

	for (uint32_t i = 0; i < n && !st; i++)
		st = nvmf_cmd_range(ns, d->range[i].slba, d->range[i].nlb);
	/* without AD there are only hints about how data will be used */
	if (st || !(req->cmd.cdw11 & NVME_DSMGMT_AD)) {
		nvmf_cmd_finish(req, st);
		return;
	}
	d->n = n;
	dsm_step(req);
}

/* ---- Copy ---- */

/*
 * What a Copy has done so far. Where there is protection information to check, insert or strip,
 * data goes through a buffer of @chunk blocks; else the bdev copies each range by itself.
 */
struct copy {
	uint32_t n, i; /* ranges; the one at work */
	uint32_t done, now; /* blocks of it, and those under way */
	uint32_t total; /* blocks of all */
	bool zeroes; /* no source: the buffer is zero */
	uint8_t check_read, check_write;
	uint32_t chunk; /* 0: no buffer */
	uint32_t xfer, md_size; /* bytes of a block in the two parts of the buffer */
	char *data, *md;
	struct iovec iov;
	struct nvme_copy_range range[];
};

static uint64_t copy_dst(const struct nvmf_req *req)
{
	const struct copy *c = req->buf;

	return req->cmd.slba + c->total;
}

static void copy_step(void *arg);
static void copy_write_step(void *arg);

static void copy_done(struct plx_bdev_io *io, void *arg)
{
	struct nvmf_req *req = arg;
	struct copy *c = req->buf;

	if (io->status) {
		nvmf_cmd_finish(req, io->status);
		return;
	}
	c->done += c->now;
	c->total += c->now;
	if (c->done == c->range[c->i].nlb + 1u) {
		c->done = 0;
		c->i++;
		if (!c->zeroes)
			req->dw0 = c->i; /* lowest range not copied, should it fail from here */
	}
	copy_step(req);
}

static void copy_read_done(struct plx_bdev_io *io, void *arg)
{
	if (io->status)
		nvmf_cmd_finish(arg, io->status);
	else
		copy_write_step(arg);
}

static struct plx_bdev_rw copy_rw(struct copy *c, uint64_t offset)
{
	c->iov = (struct iovec){ c->data, (size_t)c->now * c->xfer };
	return (struct plx_bdev_rw){ .iov = &c->iov,
				     .iovcnt = 1,
				     .offset = offset,
				     .blocks = c->now,
				     .md = c->md_size ? c->md : NULL };
}

static void copy_write_step(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr_ns *ns = nvmf_cmd_ns(req);
	struct copy *c = req->buf;
	struct plx_bdev_rw rw;
	int rc;

	if (!ns)
		return;
	rw = copy_rw(c, copy_dst(req));
	rw.check = c->check_write;
	rw.reftag = req->cmd.cdw14 + (ns->pi_type == 3 ? 0 : c->total);
	rw.apptag = req->cmd.cdw15 & 0xffff;
	rw.appmask = req->cmd.cdw15 >> 16;
	rw.flags = req->cmd.cdw12 & PLX_NVME_RW_FUA ? PLX_BDEV_F_FUA : 0;
	rc = plx_bdev_rw_ext(ns->desc, ns->ch, PLX_BDEV_WRITE, &rw, copy_done, req);
	if (rc)
		nvmf_cmd_refused(req, ns, rc, copy_write_step);
}

static int copy_read(struct nvmf_req *req, const struct nvmf_ctrlr_ns *ns)
{
	struct copy *c = req->buf;
	const struct nvme_copy_range *r = &c->range[c->i];
	struct plx_bdev_rw rw = copy_rw(c, r->slba + c->done);

	rw.check = c->check_read;
	rw.reftag = r->eilbrt + (ns->pi_type == 3 ? 0 : c->done);
	rw.apptag = r->elbat;
	rw.appmask = r->elbatm;
	return plx_bdev_rw_ext(ns->desc, ns->ch, PLX_BDEV_READ, &rw, copy_read_done, req);
}

static void copy_end(struct nvmf_req *req, const struct nvmf_ctrlr_ns *ns)
{
	struct nvmf_ctrlr_stats *stats = &req->sq->ctrlr->stats;
	const struct copy *c = req->buf;

	if (!c->zeroes) {
		stats->reads++;
		stats->writes++;
		stats->read_bytes += (uint64_t)c->total * ns->block_size;
		stats->written_bytes += (uint64_t)c->total * ns->block_size;
	}
	req->dw0 = 0;
	nvmf_cmd_finish(req, 0);
}

static void copy_step(void *arg)
{
	struct nvmf_req *req = arg;
	struct nvmf_ctrlr_ns *ns = nvmf_cmd_ns(req);
	struct copy *c = req->buf;
	uint32_t left;
	int rc;

	if (!ns)
		return;
	if (c->i == c->n) {
		copy_end(req, ns);
		return;
	}
	left = c->range[c->i].nlb + 1u - c->done;
	c->now = c->chunk && c->chunk < left ? c->chunk : left;
	if (c->zeroes) {
		copy_write_step(req);
		return;
	}
	rc = c->chunk ? copy_read(req, ns)
		      : plx_bdev_copy(ns->desc, ns->ch, copy_dst(req), c->range[c->i].slba, left,
				      copy_done, req);
	if (rc)
		nvmf_cmd_refused(req, ns, rc, copy_step);
}

/* @buf: the room for @chunk blocks behind the list */
static void copy_use_buffer(struct copy *c, const struct nvmf_ctrlr_ns *ns, uint32_t chunk,
			    char *buf)
{
	bool stripped = (c->check_write & PLX_BDEV_PRACT) && ns->md_size == 8;

	c->chunk = chunk;
	c->xfer = stripped ? ns->block_size : ns->xfer_block;
	c->md_size = ns->md_extended || stripped ? 0 : ns->md_size;
	c->data = buf;
	c->md = buf + (size_t)chunk * c->xfer;
}

static uint32_t copy_chunk(const struct nvmf_ctrlr_ns *ns)
{
	uint32_t n = COPY_BUFFER / (ns->block_size + ns->md_size);

	return n ? n : 1;
}

/*
 * Sizes first: what is too much is refused whatever it points to. A destination that overlaps a
 * source would make the result depend on the order of work. Return: 0 or a status
 */
static uint16_t copy_check_ranges(const struct nvmf_req *req, const struct nvmf_ctrlr_ns *ns)
{
	const struct copy *c = req->buf;
	uint64_t dst = req->cmd.slba, sum = 0;
	uint16_t st = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		if (c->range[i].nlb + 1u > NVMF_COPY_MSSRL)
			return NVMF_ST_DNR(NVMF_ST_CS(NVME_SC_CMD_SIZE_LIMIT_EXCEEDED));
		sum += c->range[i].nlb + 1u;
	}
	if (sum > NVMF_COPY_MCL)
		return NVMF_ST_DNR(NVMF_ST_CS(NVME_SC_CMD_SIZE_LIMIT_EXCEEDED));
	st = nvmf_cmd_range(ns, dst, sum);
	for (uint32_t i = 0; i < c->n && !st; i++) {
		uint64_t src = c->range[i].slba, nlb = c->range[i].nlb + 1u;

		st = nvmf_cmd_range(ns, src, nlb);
		if (!st && (src < dst ? dst - src < nlb : src - dst < sum))
			st = CMD_ERR(INVALID_FIELD);
	}
	return st;
}

/*
 * PRINFOR and PRINFOW (figure 28); both or neither must let the controller handle protection
 * information
 */
static uint16_t copy_check_pi(struct nvmf_req *req, const struct nvmf_ctrlr_ns *ns)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	unsigned r = cmd->cdw12 >> 12 & 0xf, w = cmd->cdw12 >> 26 & 0xf;
	struct copy *c = req->buf;
	uint16_t st = 0;

	if (ns->pi_type && (r ^ w) & 8)
		return CMD_ERR(INVALID_FIELD);
	for (uint32_t i = 0; i < c->n && !st; i++)
		st = nvmf_cmd_check(ns, r, c->range[i].slba, c->range[i].eilbrt, &c->check_read);
	return st ? st : nvmf_cmd_check(ns, w, cmd->slba, cmd->cdw14, &c->check_write);
}

void nvmf_exec_copy(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns)
{
	const struct plx_nvme_cmd *cmd = &req->cmd;
	uint32_t n = (cmd->cdw12 & 0xff) + 1, format = cmd->cdw12 >> 8 & 0xf;
	uint32_t chunk = ns->pi_type ? copy_chunk(ns) : 0;
	size_t room = (size_t)chunk * (ns->block_size + ns->md_size);
	struct copy *c = NULL;
	uint16_t st = 0;

	if (!(NVMF_COPY_FORMATS >> format & 1))
		st = CMD_ERR(INVALID_FIELD);
	else if (n > NVMF_COPY_MSRC + 1)
		st = NVMF_ST_DNR(NVMF_ST_CS(NVME_SC_CMD_SIZE_LIMIT_EXCEEDED));
	if (!st)
		st = read_list(req, offsetof(struct copy, range), n, sizeof(struct nvme_copy_range),
			       room);
	if (!st) {
		c = req->buf;
		c->n = n;
		st = copy_check_ranges(req, ns);
	}
	if (!st)
		st = copy_check_pi(req, ns);
	if (st) {
		nvmf_cmd_finish(req, st);
		return;
	}
	if (chunk)
		copy_use_buffer(c, ns, chunk, (char *)&c->range[n]);
	copy_step(req);
}

void nvmf_write_zeroes_pi(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns, uint8_t check)
{
	uint32_t chunk = copy_chunk(ns);
	struct copy *c;

	c = plx_dma_zalloc(sizeof *c + sizeof c->range[0] +
				   (size_t)chunk * (ns->block_size + ns->md_size),
			   0, PLX_NUMA_ANY);
	if (!c) {
		nvmf_cmd_finish(req, NVMF_ST(NVME_SC_INTERNAL));
		return;
	}
	req->buf = c;
	c->n = 1;
	c->zeroes = true;
	c->check_write = check;
	c->range[0].nlb = req->cmd.cdw12 & 0xffff;
	copy_use_buffer(c, ns, chunk, (char *)&c->range[1]);
	copy_step(req);
}
