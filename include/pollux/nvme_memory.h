/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_memory.h - memory that a controller has: its memory buffer (NVMe Base Specification
 * 2.0c §8.5) and its persistent memory region (§8.14)
 *
 * Both are mapped from a BAR of the controller's: loads and stores cross the bus, uncached, so
 * copy in large pieces, and rather into it than out of it. I/O of that controller can have its data
 * there (not so another controller's); the driver finds the address that the controller knows it
 * by. All calls are set-up, in any thread, unless they say otherwise.
 */
#ifndef POLLUX_NVME_MEMORY_H
#define POLLUX_NVME_MEMORY_H

#include <pollux/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- controller memory buffer ----
 *
 * Used as use_cmb_sqs and use_cmb_data of struct plx_nvme_ctrlr_opts say. A reset of the controller
 * leaves what is in it undefined: writes with data there are not submitted again after one,
 * whatever the policy.
 */

/** struct plx_nvme_cmb_info - what the controller has, whether it is used or not */
struct plx_nvme_cmb_info {
	uint64_t bytes; /* of CMBSZ, as far as the BAR holds them */
	uint64_t free_bytes; /* neither queues nor plx_nvme_cmb_alloc() have them; 0: not in use */
	/* may hold submission queues, completion queues, PRP lists and SGLs */
	bool sqs, cqs, lists;
	bool read_data, write_data; /* of commands that read, that write */
	bool mixed_metadata; /* data may be in it and metadata not, or the other way round */
	bool legacy; /* of versions before 1.4: enabled for good, at the BAR's own address */
};
/** plx_nvme_cmb_info - Return: 0; -ENOTSUP: it has none, or none that can be used (the log says
 *  why, where the options ask for it) */
int plx_nvme_cmb_info(struct plx_nvme_ctrlr *c, struct plx_nvme_cmb_info *out);

/**
 * plx_nvme_cmb_alloc - memory for data in the controller memory buffer
 * @size: bytes; as much as plx_nvme_cmb_info.free_bytes reserves all of it
 * @align: bytes, a power of two; 0: a cache line
 *
 * Not zeroed. For data and metadata alone: commands' PRP lists are elsewhere. Unless
 * mixed_metadata, all data and metadata of a command are in it, or none.
 * Return: memory that is the caller's until plx_nvme_cmb_free(); NULL with errno: ENOTSUP without
 * use_cmb_data, or a buffer that takes data; ENOMEM no such piece is left; EINVAL @size or @align.
 */
void *plx_nvme_cmb_alloc(struct plx_nvme_ctrlr *c, uint64_t size, uint64_t align);
/** plx_nvme_cmb_free - before the controller is disconnected, with no I/O on it; NULL does
 *  nothing */
void plx_nvme_cmb_free(struct plx_nvme_ctrlr *c, void *mem);

/* ---- persistent memory region ----
 *
 * What has been written to it while it is ready persists over power cycles and resets.
 */

/* Ways to have written what was stored (PMRCAP.PMRWBM): to read anything of it, to read PMRSTS */
enum { PLX_NVME_PMR_BARRIER_READ = 1, PLX_NVME_PMR_BARRIER_STATUS = 2 };

struct plx_nvme_pmr_info {
	uint64_t bytes;
	uint32_t timeout_ms; /* what enabling and disabling may take */
	unsigned barriers; /* PLX_NVME_PMR_BARRIER_*, or-ed */
	bool read_data, write_data; /* of commands that read, that write, may be in it */
	bool enabled; /* by plx_nvme_pmr_enable() */
};
/** plx_nvme_pmr_info - Return: 0; -ENOTSUP: it has none, or not one that can be used */
int plx_nvme_pmr_info(struct plx_nvme_ctrlr *c, struct plx_nvme_pmr_info *out);

/**
 * plx_nvme_pmr_enable - have the region ready and mapped
 * @mem, @bytes: where it is
 *
 * Enabled already: says where it is. It stays enabled over resets of the controller, and until
 * plx_nvme_pmr_disable() or the end of plx_nvme_disconnect().
 * Return: 0; -ENOTSUP as plx_nvme_pmr_info(); -ETIMEDOUT not ready within its timeout; -EIO it
 * reports an error, or does not take its address; -EBUSY another thread is at it, or the
 * controller is being reset; -ENXIO the controller has failed; -errno of mapping it. Logged.
 */
int plx_nvme_pmr_enable(struct plx_nvme_ctrlr *c, void **mem, uint64_t *bytes);
/** plx_nvme_pmr_disable - have what was stored written, disable and unmap the region; no I/O is on
 *  it. Return: 0, also when it was not enabled; as plx_nvme_pmr_persist(); -ETIMEDOUT; -EBUSY */
int plx_nvme_pmr_disable(struct plx_nvme_ctrlr *c);

/** enum plx_nvme_pmr_health - PMRSTS.HSTS, §3.1.3.24 */
enum plx_nvme_pmr_health {
	PLX_NVME_PMR_NORMAL,
	PLX_NVME_PMR_RESTORE_ERROR, /* it could not be restored: its content is not what it was */
	PLX_NVME_PMR_READ_ONLY, /* stores are dropped */
	PLX_NVME_PMR_UNRELIABLE, /* what is read may be wrong, what is stored may be lost */
};
struct plx_nvme_pmr_status {
	bool ready;
	uint8_t err; /* of the controller, since it was enabled; 0: none */
	unsigned health; /* enum plx_nvme_pmr_health; above are reserved values */
};
/** plx_nvme_pmr_status - Return: 0; -ENOTSUP it has none; -ENXIO the controller is gone */
int plx_nvme_pmr_status(struct plx_nvme_ctrlr *c, struct plx_nvme_pmr_status *out);
/**
 * plx_nvme_pmr_persist - what the calling thread has stored is written, and persistent, once this
 * returns; any thread while the region is enabled, waits for one read across the bus
 * Return: 0; -EINVAL not enabled; -ENXIO the controller is gone; -EAGAIN not ready: what was stored
 * is lost; -EROFS it has become read-only; -EIO it reports an error, or is unreliable
 */
int plx_nvme_pmr_persist(struct plx_nvme_ctrlr *c);

#ifdef __cplusplus
}
#endif
#endif
