/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/nvmf_limits.h - what command execution accepts and Identify therefore reports
 *
 * One place, so that the two cannot differ.
 */
#ifndef POLLUX_NVMF_LIMITS_H
#define POLLUX_NVMF_LIMITS_H

/*
 * PCI vendor identifier, of the function where it has a configuration space and of Identify's VID
 * and SSVID alike (Base 2.0c §5.17.2.1). 504Ch ("PL") is none that drivers have quirks for
 */
#define NVMF_PCI_VENDOR 0x504cu

/*
 * Identify Controller SGLS (NVMe Base 2.0c §5.17.2.1): SGLs of any alignment and length, bit
 * buckets, data SGLs longer than the transfer, MPTR as an SGL (PSDT 10b). Not: keyed, address as
 * offset, byte aligned MPTR.
 */
#define NVMF_SGLS (1u << 0 | 1u << 16 | 1u << 18 | 1u << 19)

/* VWC bits 2:1: Flush takes namespace FFFFFFFFh for all of them (Base 2.0c §5.17.2.1, §7.1) */
#define NVMF_VWC_FLUSH_ALL 3u

/* DLFEAT: what a deallocated block reads as is the block device's affair and not promised */
#define NVMF_DLFEAT 0u

/* Fused compare and write, 0's based blocks: ACWU, NACWU; AWUN and AWUPF promise one block */
#define NVMF_ACWU 255u

/* Copy (NVM Command Set 1.0c §4.1.5.1): MSRC 0's based ranges, MSSRL and MCL blocks */
#define NVMF_COPY_MSRC	  127u
#define NVMF_COPY_MSSRL	  65535u
#define NVMF_COPY_MCL	  (1u << 20)
#define NVMF_COPY_FORMATS (1u << 0) /* OCFS */

#endif
