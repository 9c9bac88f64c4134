/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/window.h - memory of a controller's own that its commands can name: controller memory
 * buffer (cmb.c), persistent memory region (pmr.c)
 */
#ifndef POLLUX_DRIVER_WINDOW_H
#define POLLUX_DRIVER_WINDOW_H

#include "driver/dptr.h"
#include <stdatomic.h>

struct plx_nvme_ctrlr;

enum { NVME_WINDOW_CMB, NVME_WINDOW_PMR, NVME_WINDOWS };

/** struct nvme_windows - where commands find what, looked up by any thread: the windows, and
 *  behind them what the transport has mapped */
struct nvme_windows {
	struct dptr_iova look;
	const struct dptr_iova *under; /* of the transport; NULL: virtual addresses */
	struct nvme_window {
		_Atomic uint64_t len; /* written last; 0: closed */
		uint64_t va, iova;
	} window[NVME_WINDOWS];
};

void windows_init(struct nvme_windows *w, const struct dptr_iova *under);
void window_open(struct nvme_window *w, const void *va, uint64_t len, uint64_t iova);
/** window_close - no command names anything of it any more */
void window_close(struct nvme_window *w);

/* ---- cmb.c ---- */

/** struct nvme_cmb_piece - allocated; by offset */
struct nvme_cmb_piece {
	struct nvme_cmb_piece *next;
	uint64_t offset, len;
};

struct nvme_cmb {
	uint32_t loc, sz; /* CMBLOC and CMBSZ; sz 0: there is none that can be used */
	uint64_t offset, bytes; /* in its BAR, whole pages */
	uint64_t iova; /* by which the controller knows it, once it is in use */
	bool legacy;
	void *mem; /* NULL: not in use */
	struct nvme_cmb_piece *pieces;
	bool full; /* said that there is no room for submission queues */
	_Atomic bool data; /* some was allocated for it, ever */
};

/** cmb_find - what there is, and its use as the options want it; before the controller is enabled
 *  for the first time. Under lock */
void cmb_find(struct plx_nvme_ctrlr *c);
/** cmb_restore - after a reset, before the controller is enabled; under lock. Return: false when it
 *  is not what it was: the controller has failed */
bool cmb_restore(struct plx_nvme_ctrlr *c);
/** cmb_fini - nothing uses it any more, and the controller is disabled or gone */
void cmb_fini(struct plx_nvme_ctrlr *c);
/** cmb_alloc_sq - @bytes for a submission queue, where the options and the buffer allow it; not
 *  under lock. Return: NULL: take other memory */
void *cmb_alloc_sq(struct plx_nvme_ctrlr *c, size_t bytes);

/* ---- pmr.c ---- */

struct nvme_pmr {
	uint32_t cap; /* PMRCAP, once looked at */
	enum { NVME_PMR_OFF, NVME_PMR_CHANGING, NVME_PMR_ON } state;
	void *mem; /* NULL: not mapped */
	uint64_t bytes;
	uint64_t iova; /* with PMRCAP.CMSS: by which commands name it */
};

/** pmr_restore - after a reset: enable it again, where it is not; under lock. Does not wait */
void pmr_restore(struct plx_nvme_ctrlr *c);
/** pmr_fini - as cmb_fini() */
void pmr_fini(struct plx_nvme_ctrlr *c);

#endif
