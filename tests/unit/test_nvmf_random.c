/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_random.c - property test: random SQEs, most of them valid but for one field,
 * at all queues
 *
 * For each command an oracle, which knows the specification and nothing of the controller, says
 * which status type may come back. Checked as well: each command completes exactly once, no byte of
 * host memory changes outside of the buffers that a command may write, and the controller works as
 * before in the end. Runs repeat: the seeds are fixed.
 */
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define COMMANDS   60000u /* of each of the geometries */
#define BATCH	   16u
#define IO_QUEUES  3u
#define SCRATCH_Q  7u /* made and deleted all the time, never used */
#define QUEUE_SIZE 40u
#define NN	   8u
#define BLOCKS	   2048u
#define ZERO_LBAS  64u /* never written: the reserve for Compare */
#define SLOT	   (96u << 10) /* host memory of one command */
#define MAX_DATA   (32u << 10) /* MDTS 3 */
#define FILL	   0xc5
#define UNMAPPED   (HOST_IOVA + HOST_ARENA + (1ull << 20))

/* What may come back: a set of status types, success apart */
enum {
	OK = 1,
	GENERIC = 2,
	SPECIFIC = 4,
	MEDIA = 8,
	ANY = 15,
};

/* One command under way */
struct op {
	struct plx_nvme_cmd cmd;
	unsigned expect;
	const char *what; /* what was made wrong, for the message */
	char *slot;
	char *writable; /* the controller may write here */
	size_t writable_len;
	uint16_t cid, qid;
	bool done;
};

static struct host h;
static uint64_t rng;
static struct op ops[BATCH];
static uint32_t nops;
static char *slots, *copies;
static uint32_t block, md_size; /* of the geometry at work; md_size is separate metadata */
static bool scratch_cq, scratch_sq; /* queue SCRATCH_Q exists */
static bool scratch_used; /* in this batch: a queue is gone once its deletion has completed */

static uint32_t rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)((rng >> 20) % n);
}

static bool one_in(uint32_t n)
{
	return !rnd(n);
}

/* ---- host memory of a command ---- */

/*
 * Lists and sources come first in a slot, the data buffer in the middle, surrounded by FILL on both
 * sides
 */
static char *list_area(struct op *o)
{
	return o->slot;
}

static void set_prps(struct op *o, uint64_t at, size_t len)
{
	uint64_t end = at + len, next = (at | (PLX_PAGE_SIZE - 1)) + 1;
	uint64_t *list = (void *)list_area(o);

	o->cmd.prp1 = at;
	o->cmd.prp2 = next < end ? next : 0;
	if (next + PLX_PAGE_SIZE >= end)
		return;
	for (uint32_t i = 0; next < end; next += PLX_PAGE_SIZE)
		list[i++] = next;
	o->cmd.prp2 = host_iova(&h, list);
}

/* The same as SGL: one data block, or a last segment of several */
static void set_sgl(struct op *o, uint64_t at, size_t len)
{
	struct plx_nvme_sgl_desc *list = (void *)list_area(o);
	uint32_t n = 1 + rnd(4), i;

	o->cmd.flags |= PLX_NVME_PSDT_SGL;
	if (n == 1 || len < 16) {
		o->cmd.sgl1 = (struct plx_nvme_sgl_desc){ .addr = at, .len = (uint32_t)len };
		return;
	}
	for (i = 0; i < n; i++) {
		uint32_t part = i == n - 1 ? (uint32_t)len : (uint32_t)(len / n) & ~3u;

		list[i] = (struct plx_nvme_sgl_desc){ .addr = at, .len = part };
		at += part;
		len -= part;
	}
	o->cmd.sgl1 = (struct plx_nvme_sgl_desc){ .addr = host_iova(&h, list),
						  .len = n * 16,
						  .id = PLX_NVME_SGL_LAST_SEGMENT << 4 };
}

static char *data_buffer(struct op *o, size_t len, bool to_host)
{
	char *buf = o->slot + 2 * PLX_PAGE_SIZE + rnd(1024) * 4;

	if (to_host) {
		o->writable = buf;
		o->writable_len = len;
	}
	if (o->qid && one_in(4))
		set_sgl(o, host_iova(&h, buf), len);
	else
		set_prps(o, host_iova(&h, buf), len);
	return buf;
}

static void metadata_buffer(struct op *o, size_t len, bool to_host)
{
	char *buf = o->slot + SLOT - 3 * PLX_PAGE_SIZE + rnd(512) * 4;

	o->cmd.mptr = host_iova(&h, buf);
	if (to_host &&
	    o->writable) /* everything from the data on: what lies between is not checked then */
		o->writable_len = (size_t)(buf + len - o->writable);
}

/* Makes the data pointer wrong. Return: whether it could */
static bool spoil_pointer(struct op *o, size_t len)
{
	bool sgl = o->cmd.flags & PLX_NVME_PSDT_MASK;
	uint32_t kind = rnd(3);

	if (!len)
		return false;
	if (sgl) {
		o->what = "sgl";
		if (kind == 0)
			o->cmd.sgl1.id = (uint8_t)(PLX_NVME_SGL_KEYED << 4 | rnd(16) | rnd(3) << 6);
		else if (kind == 1)
			o->cmd.sgl1.addr = UNMAPPED;
		else
			o->cmd.sgl1.len =
				1 + rnd(15); /* too short for the data, no whole descriptor */
	} else if (kind == 0) {
		o->what = "unmapped prp1";
		o->cmd.prp1 = UNMAPPED;
	} else if (kind == 1) {
		o->what = "prp1 offset";
		o->cmd.prp1 |= 1 + rnd(3);
	} else {
		if (!o->cmd.prp2)
			return false;
		o->what = "prp2";
		o->cmd.prp2 = one_in(2) ? UNMAPPED : o->cmd.prp2 | 4 | (1 + rnd(3));
	}
	return true;
}

/* ---- I/O commands ---- */

static const uint8_t io_opcodes[] = { nvme_cmd_flush,	nvme_cmd_write,	       nvme_cmd_read,
				      nvme_cmd_compare, nvme_cmd_write_zeroes, nvme_cmd_dsm,
				      nvme_cmd_verify,	nvme_cmd_copy };

static bool io_opcode_exists(uint8_t opc)
{
	for (size_t i = 0; i < sizeof io_opcodes; i++) {
		if (io_opcodes[i] == opc)
			return true;
	}
	return false;
}

/* A range that data-changing commands may use */
static void io_range(struct op *o, uint32_t nlb)
{
	o->cmd.slba = ZERO_LBAS + rnd(BLOCKS - ZERO_LBAS - nlb + 1);
	o->cmd.cdw12 |= nlb - 1;
}

static size_t io_rw(struct op *o)
{
	bool to_host = o->cmd.opc == nvme_cmd_read;
	uint32_t nlb = 1 + rnd(MAX_DATA / block);
	size_t len = (size_t)nlb * block;
	char *buf;

	o->cmd.cdw12 = one_in(8) ? PLX_NVME_RW_FUA : 0;
	io_range(o, nlb);
	buf = data_buffer(o, len, to_host);
	if (md_size)
		metadata_buffer(o, (size_t)nlb * md_size, to_host);
	if (!to_host)
		memset(buf, (int)rnd(256), len);
	o->expect = OK;
	return len;
}

static size_t io_compare(struct op *o)
{
	uint32_t nlb = 1 + rnd(8);
	char *buf = data_buffer(o, (size_t)nlb * block, false);

	memset(buf, 0, (size_t)nlb * block);
	if (md_size) {
		metadata_buffer(o, (size_t)nlb * md_size, false);
		memset(h.arena + (o->cmd.mptr - HOST_IOVA), 0, (size_t)nlb * md_size);
	}
	o->cmd.slba = rnd(ZERO_LBAS - nlb + 1);
	o->cmd.cdw12 = nlb - 1;
	o->expect = OK;
	if (one_in(3)) {
		o->what = "miscompare";
		buf[rnd(nlb * block)] = 1;
		o->expect = MEDIA;
	}
	return (size_t)nlb * block;
}

static size_t io_dsm(struct op *o)
{
	uint32_t n = 1 + rnd(one_in(4) ? 256 : 8);
	struct nvme_dsm_range r[256];
	char *buf = data_buffer(o, n * sizeof *r, false);

	for (uint32_t i = 0; i < n; i++) {
		r[i] = (struct nvme_dsm_range){ .nlb = rnd(64) };
		r[i].slba = ZERO_LBAS + rnd(BLOCKS - ZERO_LBAS - 64);
	}
	o->cmd.cdw10 = n - 1;
	o->cmd.cdw11 = rnd(8);
	o->expect = OK;
	if (one_in(4)) {
		o->what = "dsm range";
		r[rnd(n)] =
			(struct nvme_dsm_range){ .nlb = 1 + rnd(100), .slba = BLOCKS + rnd(100) };
		o->cmd.cdw11 |= NVME_DSMGMT_AD;
		o->expect = GENERIC;
	}
	memcpy(buf, r, n * sizeof *r); /* which is aligned to 4 bytes */
	return n * sizeof *r;
}

static size_t io_copy(struct op *o)
{
	uint32_t n = 1 + rnd(one_in(8) ? 128 : 4), total = 0;
	struct nvme_copy_range r[128] = { 0 };
	char *buf = data_buffer(o, n * sizeof *r, false);

	for (uint32_t i = 0; i < n; i++) {
		r[i].nlb = (uint16_t)rnd(8);
		r[i].slba = rnd(BLOCKS / 2 - 8);
		total += r[i].nlb + 1u;
	}
	/* not onto the sources: whether that works is not said */
	o->cmd.slba = BLOCKS / 2 + rnd(BLOCKS / 2 - total + 1);
	o->cmd.cdw12 = n - 1;
	o->expect = OK;
	switch (rnd(8)) {
	case 0:
		o->what = "copy source";
		r[rnd(n)].slba = BLOCKS + rnd(1000);
		o->expect = GENERIC;
		break;
	case 1:
		o->what = "copy destination";
		o->cmd.slba = BLOCKS - total + 1;
		o->expect = GENERIC;
		break;
	case 2:
		o->what = "copy ranges";
		o->cmd.cdw12 = 128 + rnd(128);
		o->expect = SPECIFIC;
		break;
	case 3:
		o->what = "copy format";
		o->cmd.cdw12 |= (2 + rnd(14)) << 8;
		o->expect = GENERIC;
		break;
	}
	memcpy(buf, r, n * sizeof *r); /* which is aligned to 4 bytes */
	return n * sizeof *r;
}

/* Verify and Write Zeroes move no data: any length the field holds */
static size_t io_no_data(struct op *o)
{
	io_range(o, 1 + rnd(1000));
	o->expect = OK;
	return 0;
}

static size_t io_flush(struct op *o)
{
	if (one_in(4))
		o->cmd.nsid = NVME_NSID_ALL;
	o->expect = OK;
	return 0;
}

/*
 * One field of a valid command made wrong. Those that hold a list or data to compare are wrong
 * otherwise already
 */
static void spoil_io(struct op *o, size_t len)
{
	bool rw = o->cmd.opc == nvme_cmd_read || o->cmd.opc == nvme_cmd_write;
	bool ranged = rw || o->cmd.opc == nvme_cmd_verify || o->cmd.opc == nvme_cmd_write_zeroes;

	switch (rnd(6)) {
	case 0:
		do {
			o->cmd.opc = (uint8_t)rnd(256);
		} while (io_opcode_exists(o->cmd.opc));
		o->what = "opcode";
		break;
	case 1:
		o->cmd.nsid = one_in(2) ? 2 + rnd(NN - 1) : one_in(2) ? 0 : NN + 1 + rnd(1u << 30);
		o->what = "nsid";
		break;
	case 2:
		if (!ranged)
			return;
		o->cmd.slba =
			one_in(2) ? BLOCKS - (o->cmd.cdw12 & 0xffff) + rnd(9) : UINT64_MAX - rnd(3);
		o->what = "slba";
		break;
	case 3:
		if (!rw)
			return;
		o->cmd.cdw12 |= 0x8000; /* beyond MDTS, whatever the range */
		o->what = "nlb";
		break;
	case 4:
		if (!len)
			return; /* PSDT says how to read a pointer that is not there */
		o->cmd.flags |= one_in(2) ? PLX_NVME_PSDT_MASK : PLX_NVME_FUSE_MASK;
		o->what = "flags";
		break;
	case 5:
		if (!spoil_pointer(o, len))
			return;
		break;
	}
	o->expect = GENERIC;
}

static void make_io(struct op *o)
{
	size_t len;

	o->cmd = (struct plx_nvme_cmd){ .opc = io_opcodes[rnd(sizeof io_opcodes)], .nsid = h.nsid };
	switch (o->cmd.opc) {
	case nvme_cmd_flush:
		len = io_flush(o);
		break;
	case nvme_cmd_compare:
		len = io_compare(o);
		break;
	case nvme_cmd_dsm:
		len = io_dsm(o);
		break;
	case nvme_cmd_copy:
		len = io_copy(o);
		break;
	case nvme_cmd_verify:
	case nvme_cmd_write_zeroes:
		len = io_no_data(o);
		break;
	default:
		len = io_rw(o);
	}
	if (o->expect == OK && one_in(2))
		spoil_io(o, len);
}

/* Nothing but noise, at addresses that are nobody's: whatever comes back, it comes once */
static void make_noise(struct op *o)
{
	uint32_t *words = (uint32_t *)(void *)&o->cmd;

	for (size_t i = 0; i < sizeof o->cmd / 4; i++)
		words[i] = rnd(UINT32_MAX);
	o->cmd.opc = one_in(2) ? io_opcodes[rnd(sizeof io_opcodes)] : o->cmd.opc;
	if (one_in(2))
		o->cmd.nsid = h.nsid;
	/*
	 * a copy or deallocation of random blocks may hit what Compare relies on; a write cannot
	 * find its data
	 */
	if (o->cmd.opc == nvme_cmd_write_zeroes)
		o->cmd.slba |= 1ull << 63;
	o->expect = ANY;
	o->what = "noise";
}

/* A fused pair, in neighbouring entries of one queue */
static void make_fused(struct op *cmp, struct op *wr)
{
	bool differs = one_in(3);
	uint32_t nlb = 1 + rnd(4);
	char *buf;

	cmp->cmd = (struct plx_nvme_cmd){ .opc = nvme_cmd_compare,
					  .flags = PLX_NVME_FUSE_FIRST,
					  .nsid = h.nsid,
					  .cdw12 = nlb - 1 };
	wr->cmd = (struct plx_nvme_cmd){ .opc = nvme_cmd_write,
					 .flags = PLX_NVME_FUSE_SECOND,
					 .nsid = h.nsid,
					 .cdw12 = nlb - 1 };
	cmp->cmd.slba = wr->cmd.slba = rnd(ZERO_LBAS - nlb + 1);
	buf = data_buffer(cmp, (size_t)nlb * block, false);
	memset(buf, 0, (size_t)nlb * block);
	memset(data_buffer(wr, (size_t)nlb * block, false), 0, (size_t)nlb * block);
	cmp->what = wr->what = "fused";
	cmp->expect = wr->expect = OK;
	if (differs) {
		buf[rnd(nlb * block)] = 1;
		cmp->expect = MEDIA;
		wr->expect = GENERIC;
	} else if (one_in(4)) {
		wr->cmd.slba ^= 1; /* not the same blocks: both are refused */
		cmp->expect = wr->expect = GENERIC;
	}
}

/* ---- admin commands ---- */

static void admin_identify(struct op *o)
{
	static const uint8_t by_ns[] = { 0x00, 0x05, 0x08, 0x11, 0x1b },
			     lists[] = { 0x02, 0x07, 0x10, 0x1a };
	uint32_t nsid = one_in(2) ? rnd(NN + 3) : one_in(2) ? 1 : NVME_NSID_ALL - rnd(4);
	bool good;

	o->cmd.opc = nvme_admin_identify;
	o->cmd.nsid = nsid;
	switch (rnd(4)) {
	case 0:
		o->cmd.cdw10 = by_ns[rnd(sizeof by_ns)];
		good = nsid >= 1 && nsid <= NN;
		break;
	case 1:
		o->cmd.cdw10 = lists[rnd(sizeof lists)];
		good = nsid < 0xfffffffe;
		break;
	case 2:
		o->cmd.cdw10 =
			one_in(2) ? 0x03
				  : 0x12; /* descriptors, controllers: of an active namespace */
		good = nsid == h.nsid;
		break;
	default:
		o->cmd.cdw10 = one_in(3) ? 0x01 : one_in(2) ? 0x06 : 0x13;
		o->cmd.nsid = rnd(2);
		good = !o->cmd.nsid;
	}
	if (one_in(8)) {
		o->cmd.cdw10 = 0x20 + rnd(0xe0);
		good = false;
	}
	o->expect = good ? OK : GENERIC;
	o->what = "identify";
	data_buffer(o, PLX_PAGE_SIZE, true);
	if (good && one_in(6) && spoil_pointer(o, PLX_PAGE_SIZE))
		o->expect = GENERIC;
}

static void admin_log(struct op *o)
{
	static const uint8_t lids[] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x12, 0x13 };
	uint32_t numd = rnd(1024);

	o->cmd.opc = nvme_admin_get_log_page;
	o->cmd.nsid = one_in(2) ? 0 : NVME_NSID_ALL;
	o->cmd.cdw10 = lids[rnd(sizeof lids)] | rnd(2) << 15 | numd << 16;
	o->cmd.cdw12 = rnd(128) * 4;
	o->expect = OK;
	o->what = "log";
	data_buffer(o, (numd + 1) * 4, true);
	switch (rnd(8)) {
	case 0:
		o->cmd.cdw10 = (o->cmd.cdw10 & ~0xffu) | (0x14 + rnd(200));
		o->expect = SPECIFIC;
		break;
	case 1:
		o->cmd.cdw12 |= 1 + rnd(3);
		o->expect = GENERIC;
		break;
	case 2:
		o->cmd.cdw12 = PLX_PAGE_SIZE + 4 + rnd(1000) * 4;
		o->expect = GENERIC;
		break;
	case 3:
		o->cmd.cdw13 = 1 + rnd(1000);
		o->expect = GENERIC;
		break;
	case 4:
		o->cmd.cdw11 = 1; /* 256 KiB */
		o->expect = GENERIC;
		break;
	case 5:
		o->cmd.nsid = 1 + rnd(NN);
		o->expect = GENERIC;
		break;
	}
}

static void admin_features(struct op *o)
{
	static const uint8_t fids[] = { 0x01, 0x02, 0x04, 0x07, 0x08, 0x09, 0x0a,
					0x0b, 0x0e, 0x0f, 0x16, 0x19, 0x81 };
	bool set = one_in(2);

	o->cmd.opc = set ? nvme_admin_set_features : nvme_admin_get_features;
	o->cmd.cdw10 = fids[rnd(sizeof fids)];
	o->expect = OK;
	o->what = set ? "set features" : "get features";
	memset(data_buffer(o, 512, !set), 0, 512);
	if (set && o->cmd.cdw10 == 0x07)
		o->expect = GENERIC; /* there are queues already */
	else if (set && o->cmd.cdw10 == 0x01)
		o->cmd.cdw11 = rnd(8);
	switch (rnd(6)) {
	case 0:
		o->cmd.cdw10 = 0x90 + rnd(0x60);
		o->expect = GENERIC;
		break;
	case 1:
		o->cmd.nsid = NN + 1 + rnd(1000);
		o->expect = GENERIC;
		break;
	case 2:
		if (set) {
			o->cmd.nsid = h.nsid;
			o->expect = SPECIFIC; /* not namespace specific */
		} else {
			o->cmd.cdw10 |= rnd(3) << 8;
		}
		break;
	case 3:
		if (set)
			o->cmd.cdw10 |= 1u << 31;
		else
			o->cmd.cdw10 |= (4 + rnd(4)) << 8;
		o->expect = set ? SPECIFIC : GENERIC;
		break;
	}
}

/* Queue SCRATCH_Q: the oracle follows whether its halves exist */
static void admin_queue(struct op *o)
{
	bool sq = one_in(2), create = one_in(2),
	     good = create ? !(sq ? scratch_sq : scratch_cq)
		    : sq   ? scratch_sq
			   : scratch_cq;

	o->cmd.cdw10 = SCRATCH_Q;
	o->expect = SPECIFIC;
	o->what = "queue";
	if (create) {
		o->cmd.opc = sq ? nvme_admin_create_sq : nvme_admin_create_cq;
		o->cmd.cdw10 |= (1 + rnd(200)) << 16;
		o->cmd.cdw11 = 1 | (sq ? SCRATCH_Q << 16 : rnd(9) << 16);
		o->cmd.prp1 = host_iova(&h, o->slot + 2 * PLX_PAGE_SIZE + 4095) & ~4095ull;
		good &= !sq || scratch_cq;
		switch (rnd(6)) {
		case 0:
			o->cmd.cdw10 = 16 << 16 | (one_in(2) ? 0 : 9 + rnd(1000));
			return;
		case 1:
			o->cmd.cdw10 = SCRATCH_Q | (one_in(2) ? 0 : 256 + rnd(60000)) << 16;
			return;
		case 2:
			o->cmd.prp1 = UNMAPPED | (one_in(2) ? 8 : 0);
			o->expect = good ? GENERIC : GENERIC | SPECIFIC;
			return;
		case 3:
			o->cmd.cdw11 &= ~1u;
			o->expect = good ? GENERIC : GENERIC | SPECIFIC;
			return;
		}
	} else {
		o->cmd.opc = sq ? nvme_admin_delete_sq : nvme_admin_delete_cq;
		good &= sq || !scratch_sq;
		if (one_in(4)) {
			o->cmd.cdw10 = one_in(2) ? 0 : 9 + rnd(60000);
			return;
		}
	}
	if (!good)
		return;
	o->expect = OK;
	*(sq ? &scratch_sq : &scratch_cq) = create;
}

static void admin_other(struct op *o)
{
	static const uint8_t unknown[] = { 0x03, 0x07, 0x0b, 0x0d, 0x10, 0x11, 0x14,
					   0x19, 0x1c, 0x7f, 0x80, 0x84, 0xc0, 0xff };

	o->expect = GENERIC;
	o->what = "other";
	switch (rnd(5)) {
	case 0:
		o->cmd.opc = unknown[rnd(sizeof unknown)];
		break;
	case 1:
		o->cmd.opc = nvme_admin_keep_alive;
		o->cmd.nsid = rnd(3);
		o->expect = o->cmd.nsid ? GENERIC : OK;
		break;
	case 2:
		o->cmd.opc = nvme_admin_abort_cmd;
		o->cmd.cdw10 = (one_in(2) ? 9 + rnd(60000) : rnd(IO_QUEUES + 1)) | rnd(65536) << 16;
		o->expect = (o->cmd.cdw10 & 0xffff) <= IO_QUEUES ? OK : GENERIC;
		break;
	case 3:
		o->cmd.opc = nvme_admin_dbbuf;
		o->cmd.prp1 = UNMAPPED | rnd(2);
		break;
	case 4:
		o->cmd.opc = nvme_admin_async_event;
		o->cmd.nsid = 1 + rnd(3); /* must not name a namespace, or it would wait */
		break;
	}
}

static void make_admin(struct op *o)
{
	switch (rnd(5)) {
	case 0:
		admin_identify(o);
		break;
	case 1:
		admin_log(o);
		break;
	case 2:
		admin_features(o);
		break;
	case 3:
		if (!scratch_used) {
			scratch_used = true;
			admin_queue(o);
			break;
		}
		/* fall through */
	default:
		admin_other(o);
	}
	/* an invalid queue must stay what the oracle thinks it is, so those keep their flags */
	if (o->expect == OK && o->cmd.opc > nvme_admin_create_cq && one_in(10)) {
		o->cmd.flags = (uint8_t)(one_in(2) ? 1 + rnd(3) : (1 + rnd(3)) << 6);
		o->what = "admin flags";
		o->expect = GENERIC;
	}
}

/* ---- running ---- */

static struct op *new_op(uint16_t qid)
{
	struct op *o = &ops[nops];

	*o = (struct op){ .slot = slots + (size_t)nops * SLOT, .qid = qid, .what = "valid" };
	nops++;
	memset(o->slot, FILL, SLOT);
	return o;
}

static void make_batch(void)
{
	uint32_t want = 1 + rnd(BATCH - 1);

	nops = 0;
	scratch_used = false;
	while (nops < want) {
		uint16_t qid = (uint16_t)rnd(IO_QUEUES + 1);
		struct op *o = new_op(qid);

		if (!qid) {
			make_admin(o);
		} else if (!md_size && nops < want && one_in(10)) {
			make_fused(o, new_op(qid));
		} else if (one_in(50)) {
			make_noise(o);
			o->cmd.flags &=
				(uint8_t)~PLX_NVME_FUSE_MASK; /* would draw in its neighbour */
		} else {
			make_io(o);
		}
	}
	memcpy(copies, slots, (size_t)nops * SLOT);
}

static unsigned class_of(uint16_t st)
{
	switch (st >> NVME_SCT_SHIFT & NVME_SCT_MASK) {
	case NVME_SCT_GENERIC:
		return st ? GENERIC : OK;
	case NVME_SCT_CMD_SPECIFIC:
		return SPECIFIC;
	case NVME_SCT_MEDIA:
		return MEDIA;
	default:
		return 0;
	}
}

static void check_completion(uint16_t qid, const struct plx_nvme_cpl *cpl, uint64_t round)
{
	for (uint32_t i = 0; i < nops; i++) {
		struct op *o = &ops[i];

		if (o->qid != qid || o->cid != cpl->cid)
			continue;
		cr_assert_not(o->done, "round %lu: queue %u command %u completed twice", round, qid,
			      o->cid);
		o->done = true;
		cr_assert(class_of(host_status(cpl)) & o->expect,
			  "round %lu: queue %u opcode %02x nsid %x (%s): status %03x, expected "
			  "class %x",
			  round, qid, o->cmd.opc, o->cmd.nsid, o->what, host_status(cpl),
			  o->expect);
		return;
	}
	cr_assert_fail("round %lu: queue %u completed command %u, which was not submitted", round,
		       qid, cpl->cid);
}

static void check_memory(const struct op *o, uint64_t round)
{
	const char *copy = copies + (o->slot - slots);
	size_t from = o->writable ? (size_t)(o->writable - o->slot) : SLOT;
	size_t to = from + o->writable_len;
	bool same = !memcmp(o->slot, copy, from) &&
		    (to >= SLOT || !memcmp(o->slot + to, copy + to, SLOT - to));

	cr_assert(same, "round %lu: opcode %02x on queue %u (%s) wrote outside of its buffer",
		  round, o->cmd.opc, o->qid, o->what);
}

static void run_batch(uint64_t round)
{
	struct plx_nvme_cpl cpl;

	for (uint32_t i = 0; i < nops; i++)
		ops[i].cid = host_push(&h, ops[i].qid, &ops[i].cmd);
	for (uint16_t qid = 0; qid <= IO_QUEUES; qid++)
		host_ring(&h, qid);
	for (uint16_t qid = 0; qid <= IO_QUEUES; qid++) {
		for (uint32_t i = 0; i < nops; i++) {
			if (ops[i].qid != qid)
				continue;
			cpl = host_wait(&h, qid);
			cr_assert_neq(cpl.status, HOST_TIMEOUT,
				      "round %lu: a command on queue %u is lost", round, qid);
			check_completion(qid, &cpl, round);
		}
	}
	plx_thread_poll(h.thread);
	for (uint16_t qid = 0; qid <= IO_QUEUES; qid++)
		cr_assert_not(host_reap(&h, qid, &cpl), "round %lu: queue %u completed too much",
			      round, qid);
	for (uint32_t i = 0; i < nops; i++)
		check_memory(&ops[i], round);
}

static void still_works(void)
{
	char *buf = host_alloc(&h, PLX_PAGE_SIZE, PLX_PAGE_SIZE);

	cr_assert_eq(nvmf_fn_reg_read(&h.fn, NVME_REG_CSTS, 4), NVME_CSTS_RDY_MASK);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_CTRL, 0, 0, buf), 0);
	for (uint16_t qid = 1; qid <= IO_QUEUES; qid++) {
		struct plx_nvme_cmd cmd = { .opc = nvme_cmd_verify,
					    .nsid = h.nsid,
					    .cdw12 = BLOCKS - 1 };
		struct plx_nvme_cpl cpl = host_io(&h, qid, &cmd);

		cr_assert_eq(host_status(&cpl), 0);
		cr_assert_eq(h.fn.sqs[qid]->outstanding, 0);
	}
	cr_assert_eq(h.fn.sqs[0]->outstanding, 0);
}

static void run(const struct host_opts *geometry, uint64_t seed)
{
	struct host_opts o = *geometry;
	uint64_t round = 0;

	o.blocks = BLOCKS;
	o.mdts = 3;
	o.max_namespaces = NN;
	cr_assert_eq(host_init(&h, &o), 0);
	plx_log_set_level("all", PLX_LOG_ERR);
	block = o.block_size + (o.md_interleaved ? o.md_size : 0);
	md_size = o.md_interleaved ? 0 : o.md_size;
	rng = seed;
	for (uint16_t qid = 1; qid <= IO_QUEUES; qid++)
		cr_assert_eq(host_create_queue(&h, qid, QUEUE_SIZE), 0);
	slots = host_alloc(&h, BATCH * SLOT, PLX_PAGE_SIZE);
	copies = malloc(BATCH * SLOT);
	for (uint32_t done = 0; done < COMMANDS; done += nops) {
		make_batch();
		run_batch(round++);
	}
	still_works();
	free(copies);
	host_fini(&h);
}

Test(random_commands, blocks_of_512_bytes)
{
	run(&(struct host_opts){ .block_size = 512 }, 0x1234567);
}

Test(random_commands, blocks_of_4096_bytes)
{
	run(&(struct host_opts){ .block_size = 4096 }, 0x89abcdef);
}

Test(random_commands, separate_metadata)
{
	run(&(struct host_opts){ .block_size = 512, .md_size = 16 }, 0x13579bdf);
}

Test(random_commands, interleaved_metadata)
{
	run(&(struct host_opts){ .block_size = 512, .md_size = 8, .md_interleaved = true },
	    0x2468ace);
}
