/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/window.c - see window.h
 */
#include "driver/window.h"
#include <stddef.h>

/* As plx_mem_iova(). Where virtual addresses will do for all else, what is no address is found
 * here, as dptr.c does without a look-up */
static uint64_t look(const struct dptr_iova *self, const void *va, size_t *len)
{
	const struct nvme_windows *ws = plx_container_of(self, const struct nvme_windows, look);
	uint64_t at = (uint64_t)(uintptr_t)va;

	for (unsigned i = 0; i < NVME_WINDOWS; i++) {
		const struct nvme_window *w = &ws->window[i];
		uint64_t n = atomic_load_explicit(&w->len, memory_order_acquire);

		if (n && at - w->va < n) {
			uint64_t off = at - w->va;

			if (len && *len > n - off)
				*len = n - off;
			return w->iova + off;
		}
	}
	if (ws->under)
		return ws->under->look(ws->under, va, len);
	if (at && (!len || !*len || at + (*len - 1) >= at))
		return at;
	if (len)
		*len = 0;
	return PLX_IOVA_BAD;
}

void windows_init(struct nvme_windows *w, const struct dptr_iova *under)
{
	*w = (struct nvme_windows){ .look = { .look = look }, .under = under };
}

void window_open(struct nvme_window *w, const void *va, uint64_t len, uint64_t iova)
{
	w->va = (uint64_t)(uintptr_t)va;
	w->iova = iova;
	atomic_store_explicit(&w->len, len, memory_order_release);
}

void window_close(struct nvme_window *w)
{
	atomic_store_explicit(&w->len, 0, memory_order_release);
}
