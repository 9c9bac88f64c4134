/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_nvmf_dptr.c - PRPs and SGLs of a hostile host: arbitrary pointers into arbitrary
 * memory
 *
 * The input is a command, a list of mapped regions, and the image of the host's memory. Most of
 * its addresses, lengths and types are reduced to what lets a walk go on; what is mapped stays
 * inside of the image. Whatever comes out of the walk must lie in mapped memory, or in the sink of
 * bit buckets, and add up to what was asked for.
 */
#include "targets/nvmf/nvmf_internal.h"
#include <stdio.h>
#include <stdlib.h>

#define IMAGE_PAGES 24u
#define IMAGE_BYTES (IMAGE_PAGES * PLX_PAGE_SIZE)
#define BASE	    0x40000000ull
#define REGIONS_MAX 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t flags, opc, admin, nregions;
	uint32_t len, md_len;
	struct {
		uint16_t from, len; /* in units of 64 bytes */
	} region[REGIONS_MAX];
	struct {
		uint16_t from, len;
	} unmap;
	uint64_t prp1, prp2, mptr;
	uint8_t form; /* what the image consists of, enum form */
} __attribute__((packed));

enum form { RAW, PRP_LISTS, SGL_SEGMENTS, SGL_BYTES };

static char image[IMAGE_BYTES] __attribute__((aligned(4096)));
static char before[IMAGE_BYTES];
static struct nvmf_dma_region table[NVMF_MAX_REGIONS];
static struct iovec iov_mem[NVMF_MAX_IOV];

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* Mostly inside of the image or next to it, and sometimes anything */
static uint64_t near(uint64_t a)
{
	return a >> 56 == 0xff ? a : BASE - PLX_PAGE_SIZE + a % (IMAGE_BYTES + 2 * PLX_PAGE_SIZE);
}

/* Types that exist, lengths that are not hopeless */
static struct plx_nvme_sgl_desc tame(struct plx_nvme_sgl_desc d)
{
	d.addr = near(d.addr);
	if (d.id == 0xff || d.rsvd[0] == 0xff)
		return d;
	d.id = (uint8_t)((d.id & 3) << 4);
	if (d.id >= PLX_NVME_SGL_SEGMENT << 4) {
		d.addr &= ~7ull;
		d.len = (d.len % 24 + 1) * 16;
	} else {
		d.len %= 3 * PLX_PAGE_SIZE;
	}
	return d;
}

static bool in_image(const void *p, size_t len)
{
	uintptr_t off = (uintptr_t)p - (uintptr_t)image;

	return off < IMAGE_BYTES && len <= IMAGE_BYTES - off;
}

/* Every byte of @p must be one that a region gives to the host */
static bool is_mapped(const struct nvmf_fn *fn, const char *p, size_t len)
{
	while (len) {
		size_t step = 0;

		for (uint32_t i = 0; i < fn->nregions && !step; i++) {
			const struct nvmf_dma_region *r = &fn->regions[i];

			if (p >= r->va && p < r->va + r->len)
				step = (size_t)(r->va + r->len - p) < len
					       ? (size_t)(r->va + r->len - p)
					       : len;
		}
		if (!step)
			return false;
		p += step;
		len -= step;
	}
	return true;
}

static void check_iovs(const struct nvmf_req *req, uint32_t len)
{
	bool bucket_possible = (req->cmd.flags & PLX_NVME_PSDT_MASK) && (req->cmd.opc & 3) != 1;
	uint64_t sum = 0;

	check(req->iovcnt >= 0 && req->iovcnt <= NVMF_MAX_IOV, "too many pieces");
	for (int i = 0; i < req->iovcnt; i++) {
		const struct iovec *v = &req->iov[i];

		check(v->iov_len > 0, "empty piece");
		sum += v->iov_len;
		if (in_image(v->iov_base, v->iov_len))
			check(is_mapped(req->sq->fn, v->iov_base, v->iov_len),
			      "piece outside of the mapped memory");
		else
			check(bucket_possible && v->iov_len <= 65536,
			      "piece outside of the host's memory");
	}
	check(sum == len && req->len == len, "pieces do not add up");
}

static void map_regions(struct nvmf_fn *fn, const struct input *in)
{
	for (uint32_t i = 0; i < REGIONS_MAX && i < in->nregions % (REGIONS_MAX + 1); i++) {
		uint64_t from = in->region[i].from % (IMAGE_BYTES / 64) * 64,
			 len = in->region[i].len * 64ull;

		/* the host may see memory elsewhere, and in another order */
		if (len <= IMAGE_BYTES - from)
			nvmf_fn_dma_map(fn, BASE + (from ^ (in->admin & 2 ? PLX_PAGE_SIZE : 0)),
					image + from, len);
	}
	if (in->unmap.len)
		nvmf_fn_dma_unmap(fn, BASE + in->unmap.from * 64ull, in->unmap.len * 64ull);
	for (uint32_t i = 1; i < fn->nregions; i++)
		check(fn->regions[i - 1].iova + fn->regions[i - 1].len <= fn->regions[i].iova,
		      "regions overlap");
}

/* The same bytes again and again: lists are long, inputs need not be */
static void fill_image(const uint8_t *data, size_t size, enum form form)
{
	size_t step = size & ~15ull;

	memset(image, 0, sizeof image);
	if (!step)
		return;
	for (size_t off = 0; off < IMAGE_BYTES; off += step)
		memcpy(image + off, data, step < IMAGE_BYTES - off ? step : IMAGE_BYTES - off);
	if (form == PRP_LISTS) {
		for (uint64_t *e = (uint64_t *)image; e < (uint64_t *)(image + IMAGE_BYTES); e++)
			*e = near(*e) & (*e % 64 ? ~0xfffull : ~0ull);
	} else if (form == SGL_SEGMENTS) {
		struct plx_nvme_sgl_desc *d = (struct plx_nvme_sgl_desc *)image;

		for (size_t i = 0; i < IMAGE_BYTES / sizeof *d; i++)
			d[i] = tame(d[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char sink[NVMF_SINK_SIZE];
	struct nvmf_fn fn = { .regions = table, .sink = sink };
	struct nvmf_sq sq = { .fn = &fn };
	struct nvmf_req req = { .sq = &sq, .iov_mem = iov_mem };
	struct input in;
	char buf[64];
	uint32_t len;

	if (size < sizeof in)
		return 0;
	memcpy(&in, data, sizeof in);
	pthread_mutex_init(&fn.region_lock, NULL);
	fill_image(data + sizeof in, size - sizeof in, (enum form)(in.form % 4));
	memcpy(before, image, sizeof image);
	map_regions(&fn, &in);
	sq.qid = in.admin & 1 ? 0 : 1;
	req.cmd.flags = in.flags;
	req.cmd.opc = in.opc;
	req.cmd.prp1 = near(in.prp1);
	req.cmd.prp2 = in.flags & PLX_NVME_PSDT_MASK ? in.prp2 : near(in.prp2);
	if (in.form % 4 == SGL_SEGMENTS)
		req.cmd.sgl1 = tame(req.cmd.sgl1);
	req.cmd.mptr = near(in.mptr);
	len = in.len >> 24 ? in.len % (128u << 10) : in.len % ((2u << 20) + 1);
	if (!nvmf_req_map(&req, len)) {
		check_iovs(&req, len);
		nvmf_req_copy_in(&req, in.md_len % (len + 1), buf, sizeof buf);
	}
	len = in.md_len >> 24 ? in.md_len % 256 : in.md_len % 65536;
	if (!nvmf_req_map_md(&req, len) && len) {
		check(req.md_len == len, "metadata of another length");
		check(!in_image(req.md, len) || is_mapped(&fn, req.md, len),
		      "metadata outside of the mapped memory");
	}
	check(!memcmp(before, image, sizeof image), "the walk wrote to the host's memory");
	pthread_mutex_destroy(&fn.region_lock);
	return 0;
}
