/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_log.h - log pages: one part of one, or a whole one whatever its length
 *
 * Set-up calls: they block and poll, in any thread that may call plx_nvme_admin_sync(). Sections
 * are of the NVMe Base Specification 2.0c; structures are those of <nvme/types.h>.
 */
#ifndef POLLUX_NVME_LOG_H
#define POLLUX_NVME_LOG_H

#include <pollux/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/** plx_nvme_log_name - e.g. "SMART / Health Information" (§5.16.1). Return: NULL for an identifier
 *  that is reserved or the vendor's */
const char *plx_nvme_log_name(uint8_t lid);

/**
 * struct plx_nvme_log - which log page, the fields of Get Log Page (§5.16)
 * @nsid: namespace; PLX_NVME_LOG_CTRLR for a page of the controller, domain or subsystem
 * @lsi: log specific identifier: endurance group, NVM set, domain
 * @lsp: log specific field, 7 bits
 * @csi: command set identifier (NVME_CSI_*): pages that differ by command set
 * @uuid: index into the UUID list, 0 for none
 * @retain: keep the asynchronous event that belongs to the page (RAE); otherwise the last piece
 *          that is read clears it
 */
struct plx_nvme_log {
	uint8_t lid;
	uint8_t lsp;
	uint8_t csi;
	uint8_t uuid;
	uint16_t lsi;
	bool retain;
	uint32_t nsid;
};
#define PLX_NVME_LOG_CTRLR UINT32_MAX

/**
 * plx_nvme_log_read - @len bytes at @offset of a log page, in pieces of at most MDTS
 * @buf: any memory
 * @offset, @len: bytes, multiples of 4
 *
 * All pieces but the last retain the event, so that they are of one state.
 * Return: 0; a positive NVMe status; -EINVAL for a malformed argument; -ENOTSUP when the controller
 * has no extended data (LPA bit 2) and @offset is not 0 or @len is more than one command's; as
 * plx_nvme_admin_sync().
 */
int plx_nvme_log_read(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint64_t offset,
		      void *buf, uint32_t len);

/**
 * plx_nvme_log_size - bytes of a whole log page, as its header or Identify says
 *
 * Reads the header where there is one, and keeps the event. Telemetry: up to the last block of the
 * largest data area that there is.
 * Return: 0 with *@size; a positive NVMe status; -ENOTSUP for a page of unknown length (reserved,
 * the vendor's); -EPROTO for a header that cannot be; as plx_nvme_log_read().
 */
int plx_nvme_log_size(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint64_t *size);

/**
 * plx_nvme_log_fetch - a whole log page
 * @max: refuse one of more bytes; 0: 64 MiB
 * @buf: where to put it: memory to be freed with free(); untouched when it fails
 * @len: its bytes
 *
 * Does what the page needs: telemetry of the host is captured anew (LSP bit 0, §5.16.1.8), the
 * persistent event log is read in a context that is released again (§5.16.1.14; the controller has
 * one only: somebody else's is released as well). Where a page has a generation number or a count,
 * it is read again at the end, and everything again when it has changed, three times at most.
 * Return: 0; a positive NVMe status; -EFBIG larger than @max; -EAGAIN it changed each time; as
 * plx_nvme_log_size().
 */
int plx_nvme_log_fetch(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint64_t max,
		       void **buf, size_t *len);

#ifdef __cplusplus
}
#endif
#endif
