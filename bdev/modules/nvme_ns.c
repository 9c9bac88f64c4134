/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/nvme_ns.c - what a namespace is as a block device
 */
#include "bdev/modules/nvme.h"
#include <errno.h>
#include <pollux/nvme_zns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BLOCKS (1u << 30) /* of one I/O: the driver counts them in 32 bits */

/* ---- who it is ---- */

/* The UUID of the namespace identification descriptors (NVMe Base 2.0c §5.17.2.3), else the
 * NGUID */
static void take_uuid(struct nvme_bdev *nb, const struct nvme_id_ns *id)
{
	struct plx_nvme_ctrlr *c = nb->ctrlr->c;
	uint8_t page[4096];
	const struct nvme_ns_id_desc *d;

	memcpy(nb->bdev.uuid, id->nguid, sizeof(nb->bdev.uuid));
	if (plx_nvme_ctrlr_vs(c) < 0x10300 || plx_nvme_identify(c, NVME_IDENTIFY_CNS_NS_DESC_LIST,
								plx_nvme_ns_id(nb->ns), 0, 0, page))
		return;
	for (size_t at = 0; at + sizeof(*d) < sizeof(page); at += sizeof(*d) + d->nidl) {
		d = (const struct nvme_ns_id_desc *)(page + at);
		if (!d->nidt)
			return;
		if (d->nidt == NVME_NIDT_UUID && d->nidl == sizeof(nb->bdev.uuid) &&
		    at + sizeof(*d) + d->nidl <= sizeof(page)) {
			memcpy(nb->bdev.uuid, d->nid, sizeof(nb->bdev.uuid));
			return;
		}
	}
}

/* ---- what it is like ---- */

/* Return: false, with the reason in the log, for what the block layer has no words for */
static bool is_usable(const struct nvme_bdev_ctrlr *nc, const struct plx_nvme_ns *ns)
{
	uint32_t nsid = plx_nvme_ns_id(ns);

	if (plx_nvme_ns_zns(ns)) {
		nvme_bdev_log(WARN,
			      "%s: namespace %u is left out: it is zoned, which bdevs are not: use "
			      "it through the driver",
			      nc->name, nsid);
		return false;
	}
	if (plx_nvme_ns_pi_type(ns) && plx_nvme_ns_pi_guard(ns) != 16) {
		nvme_bdev_log(WARN,
			      "%s: namespace %u is left out: its protection information has guards "
			      "of %u bits, which bdevs do not know: format it with 16",
			      nc->name, nsid, plx_nvme_ns_pi_guard(ns));
		return false;
	}
	if (plx_nvme_ns_md_size(ns) & 3) {
		nvme_bdev_log(WARN,
			      "%s: namespace %u is left out: its metadata of %u bytes a block is "
			      "no multiple of four",
			      nc->name, nsid, plx_nvme_ns_md_size(ns));
		return false;
	}
	return true;
}

/* NPWG, where NSFEAT says that it is there (NVM Command Set 1.0c §4.1.5.1) */
static uint32_t phys_block_size(const struct nvme_id_ns *id, uint32_t block)
{
	uint64_t bytes = (id->npwg + 1ull) * block;

	if (!(id->nsfeat & 1 << 4) || bytes > 1u << 30 || bytes & (bytes - 1))
		return 0;
	return (uint32_t)bytes;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void take_geometry(struct nvme_bdev *nb)
{
	const struct nvme_id_ns *id = plx_nvme_ns_data(nb->ns);
	struct plx_bdev *b = &nb->bdev;
	uint32_t dmrsl = nb->ctrlr->dmrsl;

	b->blocks = plx_nvme_ns_blocks(nb->ns);
	b->block_size = plx_nvme_ns_block_size(nb->ns);
	b->md_size = plx_nvme_ns_md_size(nb->ns);
	b->md_interleaved = plx_nvme_ns_md_extended(nb->ns);
	b->dif = (enum plx_bdev_dif)plx_nvme_ns_pi_type(nb->ns);
	b->dif_first = plx_nvme_ns_pi_first(nb->ns);
	b->write_cache = plx_nvme_ctrlr_data(nb->ctrlr->c)->vwc & NVME_CTRL_VWC_PRESENT;
	b->align = 4; /* PRPs and SGLs: dwords (NVMe Base 2.0c §4.1) */
	b->phys_block_size = phys_block_size(id, b->block_size);
	b->numa = plx_nvme_ctrlr_numa(nb->ctrlr->c);
	b->max_rw_blocks = MAX_BLOCKS;
	b->max_write_zeroes_blocks = MAX_BLOCKS;
	b->max_unmap_blocks = dmrsl ? least(dmrsl, MAX_BLOCKS) : MAX_BLOCKS;
	/* one source range of format 0, of which the command counts the blocks in 16 bits */
	if (plx_nvme_ns_pi_guard(nb->ns) == 16)
		b->max_copy_blocks = least(least(id->mssrl, id->mcl), 65536);
}

/* Where metadata has a buffer of its own, I/O that comes without one still has to bring it along */
static int take_metadata(struct nvme_bdev *nb)
{
	struct plx_bdev *b = &nb->bdev;

	nb->md_separate = b->md_size && !b->md_interleaved;
	nb->md_pract = nb->md_separate && b->dif != PLX_BDEV_DIF_NONE && b->md_size == 8;
	nb->plain = !nb->md_separate && !(nb->ctrlr->check && b->dif != PLX_BDEV_DIF_NONE);
	if (!nb->md_separate || nb->md_pract)
		return 0;
	nb->md_sink = plx_dma_alloc(NVME_MD_BYTES, PLX_PAGE_SIZE, b->numa);
	nb->md_blank = plx_dma_alloc(NVME_MD_BYTES, PLX_PAGE_SIZE, b->numa);
	if (!nb->md_sink || !nb->md_blank)
		return -ENOMEM;
	/* of protection information, all ones: not to be checked */
	memset(nb->md_blank, b->dif == PLX_BDEV_DIF_NONE ? 0 : 0xff, NVME_MD_BYTES);
	b->max_rw_blocks = NVME_MD_BYTES / b->md_size;
	return 0;
}

/* ---- there and gone ---- */

static int announce(struct nvme_bdev *nb)
{
	struct plx_bdev *b = &nb->bdev;
	int rc = plx_bdev_register(b);

	if (rc != -EEXIST || plx_bdev_by_name(b->name))
		return rc;
	/* another path to the same namespace, or a copy of it */
	nvme_bdev_log(NOTICE, "%s: there is a bdev with its UUID, %s: it gets one of its own",
		      b->name, b->alias);
	memset(b->uuid, 0, sizeof(b->uuid));
	b->alias[0] = '\0';
	return plx_bdev_register(b);
}

void nvme_bdev_create(struct nvme_bdev_ctrlr *nc, struct plx_nvme_ns *ns)
{
	const struct nvme_id_ns *id = plx_nvme_ns_data(ns);
	struct nvme_bdev *nb;
	int rc;

	if (!is_usable(nc, ns))
		return;
	nb = calloc(1, sizeof(*nb));
	if (!nb) {
		nvme_bdev_log(ERR, "%s: no memory for namespace %u", nc->name, plx_nvme_ns_id(ns));
		return;
	}
	nb->ctrlr = nc;
	nb->ns = ns;
	memcpy(nb->nguid, id->nguid, sizeof(nb->nguid));
	memcpy(nb->eui64, id->eui64, sizeof(nb->eui64));
	nb->bdev.ops = &nvme_bdev_ops;
	nb->bdev.ctx = nb;
	snprintf(nb->bdev.name, sizeof(nb->bdev.name), "%.*sn%u", PLX_BDEV_NAME_MAX - 12, nc->name,
		 plx_nvme_ns_id(ns));
	take_uuid(nb, id);
	take_geometry(nb);
	TAILQ_INSERT_TAIL(&nc->bdevs, nb, link);
	rc = take_metadata(nb);
	if (!rc)
		rc = announce(nb);
	if (!rc)
		return;
	nvme_bdev_log(ERR, "%s: cannot be registered: %s", nb->bdev.name,
		      rc == -EEXIST ? "there is a bdev of that name" : strerror(-rc));
	nvme_bdev_gone(nb);
}

static bool is_another(const struct nvme_bdev *nb)
{
	const struct nvme_id_ns *id = plx_nvme_ns_data(nb->ns);

	return memcmp(nb->nguid, id->nguid, sizeof(nb->nguid)) ||
	       memcmp(nb->eui64, id->eui64, sizeof(nb->eui64));
}

void nvme_bdev_follow(struct nvme_bdev *nb)
{
	uint32_t nsid = plx_nvme_ns_id(nb->ns);
	uint64_t blocks = plx_nvme_ns_blocks(nb->ns);
	int rc;

	/* what comes back in another format, or as another namespace, is another bdev */
	if (plx_nvme_ctrlr_ns(nb->ctrlr->c, nsid) != nb->ns || is_another(nb)) {
		nvme_bdev_log(NOTICE, "%s: its namespace is gone: it is removed", nb->bdev.name);
		plx_bdev_unregister(&nb->bdev, NULL, NULL);
		return;
	}
	if (blocks == nb->bdev.blocks)
		return;
	rc = plx_bdev_resize(&nb->bdev, blocks);
	if (rc)
		nvme_bdev_log(
			WARN,
			"%s: its namespace has %llu blocks now, it keeps %llu: %s: I/O behind "
			"the end fails",
			nb->bdev.name, (unsigned long long)blocks,
			(unsigned long long)nb->bdev.blocks,
			rc == -EBUSY ? "it is open, and can only grow then" : strerror(-rc));
	else
		nvme_bdev_log(NOTICE, "%s: it has %llu blocks now", nb->bdev.name,
			      (unsigned long long)blocks);
}
