/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/remote_internal.h - what remote.c (messages, requests) and remote_queue.c share
 */
#ifndef POLLUX_NVMF_REMOTE_INTERNAL_H
#define POLLUX_NVMF_REMOTE_INTERNAL_H

#include "targets/nvmf/nvmf_internal.h"

/*
 * Bytes that the data of all requests of one function may take. A request waits while it holds
 * nothing; what holds some goes on whatever it needs, so that nobody waits for one who waits.
 */
#define NVMF_REMOTE_BUDGET (64u << 20)

struct remote_seg {
	uint64_t iova;
	uint32_t len;
};

/*
 * Copies pieces of remote memory, one after the other in @buf, from or to the host: as many
 * messages at once as the front end takes. @done is called in a later turn or in a message's
 * callback, never from remote_xfer_start(); @x->rc is then the first error.
 */
struct remote_xfer {
	void (*done)(struct remote_xfer *x);
	struct nvmf_remote *r;
	const struct remote_seg *segs;
	char *buf;
	uint32_t nsegs, at, off; /* next byte: off of segs[at] */
	uint32_t outstanding;
	int rc;
	bool write;
	bool todo; /* in r->todo: more messages to send, or the end to be told */
	TAILQ_ENTRY(remote_xfer) link;
};
TAILQ_HEAD(remote_xfers, remote_xfer);

/* One queue whose ring is in remote memory; lives as long as the queue, or its last message */
struct nvmf_remote_queue {
	TAILQ_ENTRY(nvmf_remote_queue) link;
	struct nvmf_remote *r;
	struct nvmf_sq *sq; /* one of both; a deleted completion queue has none */
	struct nvmf_cq *cq;
	char *ring; /* our copy */
	uint64_t iova;
	uint32_t size, entry; /* entries; bytes of one */
	volatile uint32_t *db; /* the host's tail doorbell */
	volatile uint32_t tail; /* stands in for it: where the entries end that may be executed */
	uint32_t fetched, goal; /* entries have come up to the one, and shall up to the other */
	uint16_t visible; /* completions up to here have been acknowledged */
	bool busy; /* a transfer is under way, up to index @upto */
	bool failed; /* the host's memory could not be reached: the controller is in fatal status */
	uint32_t upto;
	struct nvmf_req *deleter; /* Delete I/O CQ that waits for the transfer */
	struct remote_xfer x;
	struct remote_seg segs[4];
};

struct nvmf_remote {
	struct nvmf_fn *fn;
	const struct nvmf_remote_ops *ops;
	void *ctx;
	uint32_t max_len;
	struct plx_poller *poller;
	struct remote_xfers todo;
	TAILQ_HEAD(, nvmf_remote_req) reqs; /* all that hold something */
	TAILQ_HEAD(, nvmf_remote_queue) queues;
	struct nvmf_req *waiting, **waiting_tail; /* for memory, oldest first; by req->next */
	uint64_t held; /* bytes, of the budget */
	uint64_t budget;
	uint32_t cq_writes; /* completion queues with a transfer under way */
};

/** remote_xfer_start - @x->segs, nsegs, buf, write and done are set */
void remote_xfer_start(struct nvmf_remote *r, struct remote_xfer *x);
/** remote_queues_turn - fetch what was submitted, send what completed. Return: transfers begun */
int remote_queues_turn(struct nvmf_remote *r);
/** remote_queues_busy - a message of a queue about [@iova, @iova + @len) is under way */
bool remote_queues_busy(const struct nvmf_remote *r, uint64_t iova, uint64_t len);

#endif
