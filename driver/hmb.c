/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/hmb.c - the host memory buffer (NVMe Base 2.0c §8.9): memory that a controller without
 * DRAM of its own uses
 *
 * Given when the controller is brought up, taken back before it is shut down; kept over resets,
 * in which its content is not touched.
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HMB_UNIT      4096ull /* of HMPRE, HMMIN and HMMINDS; of memory pages, too */
#define HMB_PIECE_MIN (64ull << 10)

/* Host Memory Buffer Descriptor Entry, §5.27.1.10 figure 336 */
struct hmb_desc {
	uint64_t badd;
	uint32_t bsize; /* pages */
	uint32_t rsvd12;
};
_Static_assert(sizeof(struct hmb_desc) == 16, "as the specification has it");
_Static_assert(NVME_HMB_PIECES * sizeof(struct hmb_desc) == PLX_PAGE_SIZE, "a list is a page");

static void free_pieces(struct nvme_hmb *h)
{
	for (uint32_t i = 0; i < h->pieces; i++)
		plx_dma_free(h->piece[i]);
	h->pieces = 0;
	h->bytes = 0;
}

void hmb_free(struct plx_nvme_ctrlr *c)
{
	free_pieces(&c->hmb);
	plx_dma_free(c->hmb.list);
	c->hmb.list = NULL;
}

/* One more piece. Return: false when there is no such memory. */
static bool add_piece(struct plx_nvme_ctrlr *c, uint64_t bytes)
{
	struct nvme_hmb *h = &c->hmb;
	struct hmb_desc *desc = h->list;
	void *va = plx_dma_alloc(bytes, PLX_PAGE_SIZE, c->dev->numa);
	uint64_t iova = va ? ctrlr_iova(c, va, bytes) : PLX_IOVA_BAD;

	if (iova == PLX_IOVA_BAD) {
		plx_dma_free(va);
		return false;
	}
	desc[h->pieces] = (struct hmb_desc){ .badd = iova, .bsize = (uint32_t)(bytes / HMB_UNIT) };
	h->piece[h->pieces++] = va;
	h->bytes += bytes;
	return true;
}

/* Pieces of @piece bytes until @want, or all that there is. Return: whether the controller can use
 * that much. */
static bool fill(struct plx_nvme_ctrlr *c, uint64_t want, uint64_t least, uint64_t piece)
{
	uint32_t max =
		c->id.hmmaxd && c->id.hmmaxd < NVME_HMB_PIECES ? c->id.hmmaxd : NVME_HMB_PIECES;

	while (c->hmb.bytes < want && c->hmb.pieces < max) {
		uint64_t left = want - c->hmb.bytes;

		if (!add_piece(c, left < piece ? left : piece))
			break;
	}
	if (c->hmb.bytes && c->hmb.bytes >= least)
		return true;
	free_pieces(&c->hmb);
	return false;
}

bool hmb_make(struct plx_nvme_ctrlr *c)
{
	uint64_t limit = ((uint64_t)c->opts.host_memory_mb << 20) / HMB_UNIT * HMB_UNIT;
	uint64_t want = c->id.hmpre * HMB_UNIT, least = c->id.hmmin * HMB_UNIT;
	uint64_t smallest = c->id.hmminds * HMB_UNIT;

	if (!want || !limit)
		return false;
	if (least > limit) {
		nvme_log(NOTICE,
			 "controller '%s': wants at least %llu KiB of host memory: host_memory_mb "
			 "%u allows less, so it gets none",
			 c->name, (unsigned long long)(least >> 10), c->opts.host_memory_mb);
		return false;
	}
	want = want < limit ? want : limit;
	smallest = smallest > HMB_PIECE_MIN ? smallest : HMB_PIECE_MIN;
	smallest = smallest < want ? smallest : want;
	c->hmb.list = plx_dma_zalloc(PLX_PAGE_SIZE, PLX_PAGE_SIZE, c->dev->numa);
	if (!c->hmb.list)
		return false;
	c->hmb.list_iova = ctrlr_iova(c, c->hmb.list, PLX_PAGE_SIZE);
	for (uint64_t piece = want; piece >= smallest; piece = piece / 2 / HMB_UNIT * HMB_UNIT)
		if (fill(c, want, least, piece))
			return true;
	nvme_log(WARN,
		 "controller '%s': no memory for the host memory buffer it wants (%llu KiB): give "
		 "the environment more (mem_mb)",
		 c->name, (unsigned long long)(want >> 10));
	hmb_free(c);
	return false;
}

/* §5.27.1.10: enable 0, memory return 1: it is what the controller had before the reset */
void hmb_cmd(const struct plx_nvme_ctrlr *c, struct plx_nvme_cmd *cmd, bool on)
{
	*cmd = (struct plx_nvme_cmd){ .opc = nvme_admin_set_features,
				      .cdw10 = NVME_FEAT_FID_HOST_MEM_BUF,
				      .cdw11 = on ? 1u | (uint32_t)c->hmb.given << 1 : 0 };
	if (!on)
		return;
	cmd->cdw12 = (uint32_t)(c->hmb.bytes / HMB_UNIT);
	cmd->cdw13 = (uint32_t)c->hmb.list_iova;
	cmd->cdw14 = (uint32_t)(c->hmb.list_iova >> 32);
	cmd->cdw15 = c->hmb.pieces;
}

void hmb_take_back(struct plx_nvme_ctrlr *c)
{
	struct plx_nvme_cmd cmd;
	char text[96];
	int rc;

	if (!c->hmb.given || ctrlr_state(c) != PLX_NVME_CTRLR_READY)
		return;
	hmb_cmd(c, &cmd, false);
	rc = admin_call(c, &cmd, NULL, 0, NULL);
	c->hmb.given = false;
	/* it is disabled next, and then uses no memory either */
	if (rc > 0)
		nvme_log(WARN, "controller '%s': does not give host memory back: %s", c->name,
			 plx_nvme_status_text((uint16_t)rc, text, sizeof(text)));
}
