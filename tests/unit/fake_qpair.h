/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/fake_qpair.h - a queue pair on ordinary memory, and a device that a test plays
 *
 * The test takes entries that the doorbell has made visible, looks at them, executes them on a
 * small disk if it likes, and completes them in whatever order. The data pointers are walked by the
 * device's own reading of NVMe Base 2.0c §4.1.
 */
#ifndef TESTS_UNIT_FAKE_QPAIR_H
#define TESTS_UNIT_FAKE_QPAIR_H

#include "driver/ctrlr_internal.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_BLOCKS 4096u

struct fake {
	struct plx_nvme_ctrlr *c;
	struct plx_nvme_qpair *qp;
	struct plx_nvme_ns *ns;
	uint32_t sq_db, cq_db;
	uint16_t sq_head, cq_tail, phase;
	char *disk, *disk_md; /* FAKE_BLOCKS of xfer_block and md_size bytes */
	unsigned commands; /* taken so far */
};

static inline void *fake_alloc(size_t size)
{
	void *p = aligned_alloc(PLX_PAGE_SIZE, (size + PLX_PAGE_SIZE - 1) & ~(size_t)4095);

	cr_assert(p);
	memset(p, 0, size);
	return p;
}

/* A queue of @depth commands, a namespace of 512-byte blocks, 128 KiB a command */
static inline void fake_init(struct fake *f, uint16_t depth)
{
	struct plx_nvme_qpair *qp;

	memset(f, 0, sizeof(*f));
	f->c = fake_alloc(sizeof(*f->c));
	f->c->max_io_bytes = 128 << 10;
	f->c->name = "fake";
	f->c->id.oncs = 0xffff;
	f->c->id.fuses = 1;
	f->qp = qp = fake_alloc(sizeof(*qp));
	qp->ctrlr = f->c;
	qp->qid = 3;
	qp->irq_fd = -1;
	qp->identity = 1;
	qp->depth = depth;
	qp->sq_size = depth + 1;
	qp->cq_size = 2 * (depth + 1);
	qp->cq_ack_at = depth / 2 + 1;
	qp->phase = f->phase = 1;
	qp->countdown = UINT16_MAX;
	qp->sq = fake_alloc(qp->sq_size * sizeof(*qp->sq));
	qp->cq = fake_alloc(qp->cq_size * sizeof(*qp->cq));
	qp->sq_db = &f->sq_db;
	qp->cq_db = &f->cq_db;
	qp->slots = fake_alloc(depth * sizeof(*qp->slots));
	qp->free_cids = fake_alloc(depth * sizeof(*qp->free_cids));
	qp->sq_order = fake_alloc(qp->sq_size * sizeof(*qp->sq_order));
	qp->sq_direct = NVME_NO_INDEX;
	qp->prp_list_bytes = PLX_PAGE_SIZE;
	qp->prp_lists = fake_alloc((size_t)depth * qp->prp_list_bytes);
	for (uint16_t i = 0; i < depth; i++) {
		qp->slots[i].prp_list = (uint64_t *)((char *)qp->prp_lists + i * PLX_PAGE_SIZE);
		qp->slots[i].prp_list_iova = (uint64_t)qp->slots[i].prp_list;
		qp->free_cids[i] = depth - 1 - i;
	}
	qp->nfree = depth;
	cr_assert_eq(split_pool_init(qp, 4), 0);
	f->ns = fake_alloc(sizeof(*f->ns));
	*f->ns = (struct plx_nvme_ns){
		.blocks = FAKE_BLOCKS,
		.nsid = 7,
		.xfer_block = 512,
		.block_size = 512,
		.fast_blocks = 8,
		.max_io_blocks = 256,
		.ctrlr = f->c,
		.active = 1,
	};
}

static inline void fake_format(struct fake *f, uint32_t block, uint32_t md, bool extended,
			       uint8_t pi_type)
{
	struct plx_nvme_ns *ns = f->ns;

	ns->block_size = block;
	ns->md_size = md;
	ns->md_extended = extended;
	ns->pi_type = pi_type;
	ns->xfer_block = block + (extended ? md : 0);
	ns->max_io_blocks = f->c->max_io_bytes / ns->xfer_block;
	ns->fast_blocks = md && !extended ? 0 : PLX_PAGE_SIZE / ns->xfer_block;
}

static inline void fake_fini(struct fake *f)
{
	split_pool_fini(f->qp);
	free(f->qp->sq);
	free(f->qp->cq);
	free(f->qp->slots);
	free(f->qp->free_cids);
	free(f->qp->sq_order);
	free(f->qp->prp_lists);
	free(f->qp);
	free(f->ns);
	free(f->c);
	free(f->disk);
	free(f->disk_md);
}

/* How many commands there were, sent or not */
static inline uint64_t fake_submitted(const struct fake *f)
{
	struct plx_nvme_qpair_stats stats;

	plx_nvme_qpair_get_stats(f->qp, &stats);
	return stats.submissions;
}

/* The next command that the doorbell has announced; NULL when there is none */
static inline const struct plx_nvme_cmd *fake_next(struct fake *f)
{
	const struct plx_nvme_cmd *cmd = &f->qp->sq[f->sq_head];

	if (f->sq_head == f->sq_db)
		return NULL;
	f->sq_head = (uint16_t)(f->sq_head + 1) == f->qp->sq_size ? 0 : f->sq_head + 1;
	f->commands++;
	return cmd;
}

static inline void fake_complete(struct fake *f, uint16_t cid, uint16_t status)
{
	struct plx_nvme_cpl *cpl = &f->qp->cq[f->cq_tail];

	cpl->dw0 = 0;
	cpl->sqid = f->qp->qid;
	cpl->sqhd = f->sq_head;
	cpl->cid = cid;
	__atomic_store_n(&cpl->status, (uint16_t)(status << 1 | f->phase), __ATOMIC_RELEASE);
	if (++f->cq_tail == f->qp->cq_size) {
		f->cq_tail = 0;
		f->phase ^= 1;
	}
}

/* ---- a disk ---- */

static inline void fake_disk(struct fake *f)
{
	f->disk = fake_alloc((size_t)FAKE_BLOCKS * f->ns->xfer_block);
	f->disk_md = fake_alloc((size_t)FAKE_BLOCKS * (f->ns->md_size + 1));
}

static inline void fake_copy(char **disk, void *host, uint64_t n, bool to_disk)
{
	memcpy(to_disk ? *disk : host, to_disk ? host : *disk, n);
	*disk += n;
}

static inline void fake_prp(const struct plx_nvme_cmd *cmd, char *disk, uint64_t len, bool to_disk)
{
	uint64_t n = PLX_PAGE_SIZE - cmd->prp1 % PLX_PAGE_SIZE;
	const uint64_t *entry = (const uint64_t *)cmd->prp2;

	n = n < len ? n : len;
	cr_assert_eq(cmd->prp1 % 4, 0);
	fake_copy(&disk, (void *)cmd->prp1, n, to_disk);
	len -= n;
	if (!len)
		return;
	if (len <= PLX_PAGE_SIZE)
		entry = &cmd->prp2;
	for (; len; len -= n, entry++) {
		n = len < PLX_PAGE_SIZE ? len : PLX_PAGE_SIZE;
		if ((uint64_t)entry % PLX_PAGE_SIZE == PLX_PAGE_SIZE - 8 && len > PLX_PAGE_SIZE)
			entry = (const uint64_t *)*entry;
		cr_assert_eq(*entry % PLX_PAGE_SIZE, 0);
		fake_copy(&disk, (void *)*entry, n, to_disk);
	}
}

static inline void fake_sgl(const struct plx_nvme_cmd *cmd, char *disk, uint64_t len, bool to_disk)
{
	const struct plx_nvme_sgl_desc *d = &cmd->sgl1;
	uint32_t n = 1;

	if (d->id == PLX_NVME_SGL_LAST_SEGMENT << 4) {
		n = d->len / sizeof(*d);
		d = (const struct plx_nvme_sgl_desc *)d->addr;
	}
	for (; n--; d++) {
		cr_assert_leq(d->len, len);
		len -= d->len;
		if (!to_disk && d->id == PLX_NVME_SGL_BIT_BUCKET << 4) {
			disk += d->len;
			continue;
		}
		cr_assert_eq(d->id, PLX_NVME_SGL_DATA << 4);
		fake_copy(&disk, (void *)d->addr, d->len, to_disk);
	}
	cr_assert_eq(len, 0);
}

/* Execute a read or a write; the command is held against every rule that a controller has */
static inline void fake_execute(struct fake *f, const struct plx_nvme_cmd *cmd)
{
	uint32_t nlb = (cmd->cdw12 & 0xffff) + 1;
	bool to_disk = cmd->opc == nvme_cmd_write;
	struct plx_nvme_ns *ns = f->ns;

	cr_assert(cmd->opc == nvme_cmd_read || cmd->opc == nvme_cmd_write);
	cr_assert_eq(cmd->nsid, ns->nsid);
	cr_assert(cmd->slba < FAKE_BLOCKS && nlb <= FAKE_BLOCKS - cmd->slba);
	cr_assert_leq(nlb, ns->max_io_blocks);
	if (ns->boundary)
		cr_assert_eq(cmd->slba / ns->boundary, (cmd->slba + nlb - 1) / ns->boundary);
	if (cmd->flags & PLX_NVME_PSDT_SGL)
		fake_sgl(cmd, f->disk + cmd->slba * ns->xfer_block, (uint64_t)nlb * ns->xfer_block,
			 to_disk);
	else
		fake_prp(cmd, f->disk + cmd->slba * ns->xfer_block, (uint64_t)nlb * ns->xfer_block,
			 to_disk);
	if (ns->md_size && !ns->md_extended) {
		char *md = f->disk_md + cmd->slba * ns->md_size;

		cr_assert_eq(cmd->mptr % 4, 0);
		fake_copy(&md, (void *)cmd->mptr, (uint64_t)nlb * ns->md_size, to_disk);
	}
}

/* ---- what a caller sees ---- */

struct fake_done {
	unsigned calls;
	uint16_t status;
};

static inline void fake_cb(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct fake_done *d = arg;

	d->calls++;
	d->status = plx_nvme_status(cpl);
}

/* The entry of the one command that was queued with fake_cb() and @d; checks that there is one and
 * completes it */
static inline struct plx_nvme_cmd fake_sent(struct fake *f, struct fake_done *d)
{
	const struct plx_nvme_cmd *next;
	struct plx_nvme_cmd cmd;

	plx_nvme_qpair_flush(f->qp);
	next = fake_next(f);
	cr_assert(next, "nothing was sent");
	cmd = *next;
	cr_assert_null(fake_next(f), "more than one command");
	d->calls = 0;
	fake_complete(f, cmd.cid, 0);
	plx_nvme_qpair_poll(f->qp, 0);
	cr_assert_eq(d->calls, 1);
	return cmd;
}

#endif
