/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/nvmf_cmd.h - what the files of the slower I/O commands share: cmd_nvm_more.c,
 * cmd_ranges.c
 *
 * Each command is a chain of steps, a function of the request each: a step submits to the bdev and
 * returns; the callback, or the end of a shortage, runs the next. A step looks its namespace up
 * again: it may have gone meanwhile.
 */
#ifndef POLLUX_NVMF_CMD_H
#define POLLUX_NVMF_CMD_H

#include "targets/nvmf/nvmf_admin.h"

#define CMD_ERR(sc) NVMF_ST_DNR(NVMF_ST(NVME_SC_##sc))

/** nvmf_cmd_finish - counts @req for SMART, frees req->buf (DMA memory), completes; @req is gone */
void nvmf_cmd_finish(struct nvmf_req *req, uint16_t status);
/**
 * nvmf_cmd_refused - a submission returned @rc: @again(@req) when there are I/O objects, or the end
 * of the command
 */
void nvmf_cmd_refused(struct nvmf_req *req, const struct nvmf_ctrlr_ns *ns, int rc,
		      void (*again)(void *req));
/**
 * nvmf_cmd_ns - first thing in a step. Return: the namespace, or NULL after @req was finished
 * (gone, or aborted)
 */
struct nvmf_ctrlr_ns *nvmf_cmd_ns(struct nvmf_req *req);
/** nvmf_cmd_range - Return: 0, or LBA OUT OF RANGE for @nlb blocks (may be 0) from @slba */
uint16_t nvmf_cmd_range(const struct nvmf_ctrlr_ns *ns, uint64_t slba, uint64_t nlb);
/**
 * nvmf_cmd_check - PRINFO (its four bits at 3:0) to PLX_BDEV_CHECK_*, none without protection
 * information
 * @slba, @reftag: first block and its (expected) reference tag
 * Return: 0 and *@check, or a status
 */
uint16_t nvmf_cmd_check(const struct nvmf_ctrlr_ns *ns, unsigned prinfo, uint64_t slba,
			uint32_t reftag, uint8_t *check);

/* cmd_ranges.c: the namespace is checked, the rest is theirs */
void nvmf_exec_dsm(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns);
void nvmf_exec_copy(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns);
/**
 * nvmf_write_zeroes_pi - Write Zeroes with PRACT: blocks of zeroes, each with its protection
 * information; range is checked
 */
void nvmf_write_zeroes_pi(struct nvmf_req *req, struct nvmf_ctrlr_ns *ns, uint8_t check);

#endif
