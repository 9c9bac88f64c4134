/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/remote.h - host memory that is reached by messages only
 *
 * A front end may know of host memory that it cannot map (a vfio-user DMA region without a file
 * descriptor): it is read and written by asynchronous messages. The function keeps such regions in
 * its table with no address, so that every translation of them fails and leaves the usual paths by
 * the branch that is there for failures. From there on remote.c works with copies:
 *
 *   data      a request gets a buffer of its own. Lists of PRPs and SGL segments are fetched, then
 *             data from the host; then the command is executed anew. Data for the host is sent
 *             before the completion is posted.
 *   SQ        the ring is a copy: entries are fetched when the doorbell moves, and executed from
 *             there once they have come
 *   CQ        the ring is a copy: completions go into it, and from there to the host, in order
 *
 * Shadow doorbells (Doorbell Buffer Config) must be in memory that is mapped: INVALID FIELD.
 *
 * Memory may be unmapped and come back as the other kind: park.c moves its queues over.
 *
 * All of it belongs to the function's thread.
 */
#ifndef POLLUX_NVMF_REMOTE_H
#define POLLUX_NVMF_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

struct nvmf_fn;

/* ---- for the front end ---- */

/** @rc: 0, or the negative errno that says why the host's memory could not be reached */
typedef void (*nvmf_remote_cb)(void *arg, int rc);

/**
 * struct nvmf_remote_ops - one message to the host
 *
 * @dst and @src stay valid until @cb, which comes once, in the function's thread, never from within
 * the call; it may call for more messages. A message covers memory of one region, and at most the
 * max_len given to nvmf_fn_set_remote() bytes. Messages may complete in any order: what depends on
 * order waits for the one before.
 *
 * When the connection dies all that are under way end with -ECANCELED, and whatever is asked for
 * afterwards is refused with -ECANCELED, until nvmf_fn_fini() has returned.
 *
 * Return: 0, @cb will come; -EAGAIN, too many are under way: asked again in a later turn; another
 * negative errno, no @cb: the same as a @cb with it.
 */
struct nvmf_remote_ops {
	int (*read)(void *ctx, uint64_t iova, void *dst, uint32_t len, nvmf_remote_cb cb,
		    void *arg);
	int (*write)(void *ctx, uint64_t iova, const void *src, uint32_t len, nvmf_remote_cb cb,
		     void *arg);
};

/**
 * nvmf_fn_set_remote - how @fn reaches memory mapped by nvmf_fn_dma_map_remote()
 * @max_len: bytes of one message, at least NVMF_REMOTE_MIN_LEN
 *
 * Once, after nvmf_fn_init() and before the first mapping. nvmf_fn_fini() undoes it.
 * Return: 0; -EINVAL; -EEXIST; -ENOMEM
 */
#define NVMF_REMOTE_MIN_LEN 64u
int nvmf_fn_set_remote(struct nvmf_fn *fn, const struct nvmf_remote_ops *ops, void *ctx,
		       uint32_t max_len);

/**
 * nvmf_fn_dma_map_remote - host memory reached by messages; unmapped by nvmf_fn_dma_unmap(), or by
 * nvmf_fn_revoke()
 * @prot: PROT_READ, PROT_WRITE: what the device may do there; queues need both
 * Return: 0; -EINVAL empty, wrapping, or without nvmf_fn_set_remote(); -EEXIST overlap; -ENOSPC
 */
int nvmf_fn_dma_map_remote(struct nvmf_fn *fn, uint64_t iova, uint64_t len, uint32_t prot);

/**
 * nvmf_fn_remote_busy - messages about [@iova, @iova + @len) are under way or will still be sent
 *
 * After nvmf_fn_dma_unmap() nothing new begins there: ask in each turn, and answer the host's
 * request to unmap when it says no. A queue whose memory is unmapped stands still until that is
 * mapped again; nvmf_fn_revoke() says what if that takes long.
 */
bool nvmf_fn_remote_busy(struct nvmf_fn *fn, uint64_t iova, uint64_t len);
/** nvmf_fn_remote_abort - the commands among those; they end when their messages are back */
void nvmf_fn_remote_abort(struct nvmf_fn *fn, uint64_t iova, uint64_t len);

#endif
