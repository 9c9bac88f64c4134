/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_spec.h - what the NVMe specification defines and libnvme's <nvme/types.h> lacks:
 * queue entries, SGL descriptors, the PRACT/PRCHK bits by position. Sections are of the NVMe Base
 * Specification 2.0c unless another document is named. Little-endian hosts only.
 */
#ifndef POLLUX_NVME_SPEC_H
#define POLLUX_NVME_SPEC_H

#include <nvme/types.h>
#include <stdint.h>

/* Submission queue entry, §3.3.3.1 figure 87, common command format §3.3.3.2 */
struct plx_nvme_cmd {
	uint8_t opc;
	uint8_t flags; /* FUSE 1:0, PSDT 7:6 */
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2;
	uint32_t cdw3;
	uint64_t mptr;
	union {
		struct {
			uint64_t prp1;
			uint64_t prp2;
		};
		struct plx_nvme_sgl_desc {
			uint64_t addr;
			uint32_t len;
			uint8_t rsvd[3];
			uint8_t id; /* type 7:4, sub type 3:0 */
		} sgl1;
	};
	union {
		struct {
			uint32_t cdw10;
			uint32_t cdw11;
		};
		uint64_t slba; /* NVM Command Set 1.0c §3.2: unaligned-safe, at byte 40 */
	};
	uint32_t cdw12;
	uint32_t cdw13;
	uint32_t cdw14;
	uint32_t cdw15;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct plx_nvme_cmd) == 64, "an SQE is 64 bytes");

/* Completion queue entry, §3.3.3.2.1 figure 89 */
struct plx_nvme_cpl {
	uint32_t dw0;
	uint32_t dw1;
	uint16_t sqhd;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status; /* phase 0, SC 8:1, SCT 11:9, CRD 13:12, M 14, DNR 15 */
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct plx_nvme_cpl) == 16, "a CQE is 16 bytes");

/* The status field without the phase bit, as used all through pollux: SC 7:0, SCT 10:8, CRD 12:11,
 * M 13, DNR 14. libnvme's NVME_SC_* carry the code, NVME_SCT_* << NVME_SCT_SHIFT the type,
 * NVME_SC_DNR the bit. */
#define PLX_NVME_ST(sct, sc) (((sct) << 8) | (sc))
#define PLX_NVME_ST_CODE(st) (0x7ff & (st)) /* type and code, without CRD, M, DNR */
#define PLX_NVME_DNR	     0x4000

/* §3.3.3.1 CDW0 */
enum {
	PLX_NVME_FUSE_MASK = 0x03,
	PLX_NVME_FUSE_FIRST = 0x01,
	PLX_NVME_FUSE_SECOND = 0x02,
	PLX_NVME_PSDT_MASK = 0xc0,
	PLX_NVME_PSDT_PRP = 0x00,
	PLX_NVME_PSDT_SGL = 0x40, /* MPTR is a contiguous buffer */
	PLX_NVME_PSDT_SGL_MSGL = 0x80, /* MPTR points to an SGL segment of one descriptor */
};

/* §4.1.2 SGL descriptor types */
enum {
	PLX_NVME_SGL_DATA = 0x0,
	PLX_NVME_SGL_BIT_BUCKET = 0x1,
	PLX_NVME_SGL_SEGMENT = 0x2,
	PLX_NVME_SGL_LAST_SEGMENT = 0x3,
	PLX_NVME_SGL_KEYED = 0x4,
	PLX_NVME_SGL_TRANSPORT = 0x5,
};

/* NVM Command Set 1.0c §3.2: CDW12 of read, write, compare, verify */
enum {
	PLX_NVME_RW_LR = 1u << 31,
	PLX_NVME_RW_FUA = 1u << 30,
	PLX_NVME_RW_PRACT = 1u << 29,
	PLX_NVME_RW_PRCHK_GUARD = 1u << 28,
	PLX_NVME_RW_PRCHK_APP = 1u << 27,
	PLX_NVME_RW_PRCHK_REF = 1u << 26,
	PLX_NVME_RW_PRCHK = 7u << 26,
	PLX_NVME_RW_DEAC = 1u << 25, /* write zeroes */
};

/* Doorbell of queue y: 0x1000 + (2y + is_cq) * (4 << CAP.DSTRD), NVMe over PCIe Transport 1.0c
 * §3.1.2 */
#define PLX_NVME_DB_OFFSET 0x1000u

#endif
