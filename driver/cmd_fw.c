/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_fw.c - firmware images and boot partitions (NVMe Base 2.0c §5.12, §5.13, §8.2, §8.10)
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_admin.h>
#include <string.h>

#define FW_UNIT		    4096u /* of FWUG, and of boot partition registers */
#define BOOT_PARTITION_UNIT (128ull << 10)
#define BOOT_READ_MAX	    (64u << 10) /* with one look at BPINFO */
#define NSSR_RESET	    0x4e564d65u /* "NVMe", §3.1.3.7 */

/* ---- download ---- */

/* FWUG in units of 4 KiB: 0 says nothing, FFh that there is no restriction (§5.17.2.1) */
static uint32_t fw_piece(const struct plx_nvme_ctrlr *c)
{
	uint32_t unit = c->id.fwug && c->id.fwug != 0xff ? c->id.fwug * FW_UNIT : FW_UNIT;
	uint32_t max = c->max_io_bytes < 16 * unit ? c->max_io_bytes : 16 * unit;

	/* a granularity above MDTS leaves nothing but MDTS */
	return max < unit ? max : max / unit * unit;
}

int plx_nvme_fw_download(struct plx_nvme_ctrlr *c, const void *image, uint32_t len)
{
	uint32_t piece = fw_piece(c);
	int rc = plx_nvme_admin_supported(c, nvme_admin_fw_download);

	if (rc)
		return rc;
	if (!image || !len || len % 4)
		return -EINVAL;
	for (uint32_t at = 0, n; at < len && !rc; at += n) {
		struct plx_nvme_cmd cmd = { .opc = nvme_admin_fw_download };

		n = len - at < piece ? len - at : piece;
		cmd.cdw10 = n / 4 - 1;
		cmd.cdw11 = at / 4;
		rc = admin_call(c, &cmd, (char *)(uintptr_t)image + at, n, NULL);
	}
	return rc;
}

/* ---- commit ---- */

/* Statuses that are success, with something left to do (§5.12, figure 184) */
static int fw_outcome(int rc, enum plx_nvme_fw_needs *needs)
{
	*needs = PLX_NVME_FW_NOTHING;
	if (rc <= 0)
		return rc;
	switch (PLX_NVME_ST_CODE(rc)) {
	case PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_FW_NEEDS_CONV_RESET):
		*needs = PLX_NVME_FW_CONVENTIONAL_RESET;
		return 0;
	case PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_FW_NEEDS_SUBSYS_RESET):
		*needs = PLX_NVME_FW_SUBSYSTEM_RESET;
		return 0;
	case PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_FW_NEEDS_RESET):
		*needs = PLX_NVME_FW_CTRLR_RESET;
		return 0;
	}
	return rc;
}

int plx_nvme_fw_commit(struct plx_nvme_ctrlr *c, uint8_t slot, uint8_t action,
		       enum plx_nvme_fw_needs *needs)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_fw_commit,
				    .cdw10 = slot | (uint32_t)action << 3 };
	int rc;

	*needs = PLX_NVME_FW_NOTHING;
	if (slot > 7 || action > NVME_FW_COMMIT_CA_REPLACE_AND_ACTIVATE_IMMEDIATE)
		return -EINVAL;
	rc = fw_outcome(admin_call_if(c, &cmd, NULL, 0, NULL), needs);
	/* these two take effect with the next reset of any kind, and are answered with plain
	 * success by many controllers */
	if (!rc && *needs == PLX_NVME_FW_NOTHING &&
	    (action == NVME_FW_COMMIT_CA_REPLACE_AND_ACTIVATE ||
	     action == NVME_FW_COMMIT_CA_SET_ACTIVE))
		*needs = PLX_NVME_FW_CTRLR_RESET;
	return rc;
}

int plx_nvme_subsystem_reset(struct plx_nvme_ctrlr *c)
{
	int rc;

	if (!NVME_CAP_NSSRC(c->cap))
		return -ENOTSUP;
	pthread_mutex_lock(&c->lock);
	rc = ctrlr_may_reset(c);
	if (!rc) {
		pcie_write32(c->dev, NVME_REG_NSSR, NSSR_RESET);
		ctrlr_start_reset(c, "its subsystem is being reset (NSSR)");
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* ---- boot partitions ---- */

static uint32_t bpinfo(struct plx_nvme_ctrlr *c)
{
	uint32_t v;

	pthread_mutex_lock(&c->lock);
	v = pcie_read32(c->dev, NVME_REG_BPINFO);
	pthread_mutex_unlock(&c->lock);
	return v;
}

int plx_nvme_boot_info(struct plx_nvme_ctrlr *c, struct plx_nvme_boot_info *out)
{
	uint32_t v;

	if (!NVME_CAP_BPS(c->cap))
		return -ENOTSUP;
	v = bpinfo(c);
	if (v == UINT32_MAX)
		return -ENXIO;
	out->bytes = NVME_BPINFO_BPSZ(v) * BOOT_PARTITION_UNIT;
	out->active = (uint8_t)NVME_BPINFO_ABPID(v);
	return 0;
}

/* §8.2.1: the buffer, then which part; the write to BPRSEL starts it */
static int boot_read_piece(struct plx_nvme_ctrlr *c, uint8_t id, uint64_t offset, uint64_t iova,
			   uint32_t len)
{
	uint64_t deadline = plx_tsc() + (uint64_t)c->opts.admin_timeout_ms * c->tsc_ms;

	pthread_mutex_lock(&c->lock);
	pcie_write64(c->dev, NVME_REG_BPMBL, iova);
	pcie_write32(c->dev, NVME_REG_BPRSEL,
		     (uint32_t)id << NVME_BPRSEL_BPID_SHIFT |
			     (uint32_t)(offset / FW_UNIT) << NVME_BPRSEL_BPROF_SHIFT |
			     len / FW_UNIT);
	pthread_mutex_unlock(&c->lock);
	for (;;) {
		uint32_t v = bpinfo(c);

		if (v == UINT32_MAX)
			return -ENXIO;
		switch (NVME_BPINFO_BRS(v)) {
		case NVME_BPINFO_BRS_READ_SUCCESS:
			return 0;
		case NVME_BPINFO_BRS_READ_ERROR:
			return -EIO;
		}
		if (plx_tsc() > deadline)
			return -ETIMEDOUT;
		ctrlr_setup_turn(c);
	}
}

int plx_nvme_boot_read(struct plx_nvme_ctrlr *c, uint8_t id, uint64_t offset, void *buf,
		       uint32_t len)
{
	struct plx_nvme_boot_info info;
	uint64_t iova;
	void *bounce;
	int rc = plx_nvme_boot_info(c, &info);

	if (rc)
		return rc;
	/* the offset has no more bits than the partition has pages, if it is within it */
	if (!buf || !len || (offset | len) % FW_UNIT || id > 1 || offset > info.bytes ||
	    len > info.bytes - offset || info.bytes / FW_UNIT > 1u << 20)
		return -EINVAL;
	bounce = plx_dma_zalloc(BOOT_READ_MAX, PLX_PAGE_SIZE, c->dev->numa);
	if (!bounce)
		return -ENOMEM;
	iova = ctrlr_iova(c, bounce, BOOT_READ_MAX);
	rc = iova == PLX_IOVA_BAD ? -ENOMEM : 0;
	for (uint32_t at = 0, n; at < len && !rc; at += n) {
		n = len - at < BOOT_READ_MAX ? len - at : BOOT_READ_MAX;
		rc = boot_read_piece(c, id, offset + at, iova, n);
		if (!rc)
			memcpy((char *)buf + at, bounce, n);
	}
	/* after a timeout the controller may still be writing: the memory is not given back */
	if (rc != -ETIMEDOUT)
		plx_dma_free(bounce);
	return rc;
}

static int boot_commit(struct plx_nvme_ctrlr *c, uint8_t id, uint8_t action)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_fw_commit,
				    .cdw10 = (uint32_t)id << 31 | (uint32_t)action << 3 };

	return admin_call_if(c, &cmd, NULL, 0, NULL);
}

int plx_nvme_boot_write(struct plx_nvme_ctrlr *c, uint8_t id, const void *image, uint32_t len)
{
	struct plx_nvme_boot_info info;
	int rc = plx_nvme_boot_info(c, &info);

	if (rc)
		return rc;
	if (id > 1 || len > info.bytes)
		return -EINVAL;
	rc = plx_nvme_fw_download(c, image, len);
	return rc ? rc : boot_commit(c, id, NVME_FW_COMMIT_CA_REPLACE_BOOT_PARTITION);
}

int plx_nvme_boot_activate(struct plx_nvme_ctrlr *c, uint8_t id)
{
	if (!NVME_CAP_BPS(c->cap))
		return -ENOTSUP;
	if (id > 1)
		return -EINVAL;
	return boot_commit(c, id, NVME_FW_COMMIT_CA_ACTIVATE_BOOT_PARTITION);
}
