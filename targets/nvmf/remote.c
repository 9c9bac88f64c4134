/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/remote.c - requests whose data, or the lists that describe it, are in memory that is
 * reached by messages
 *
 * Such a request is parked (NVMF_PARKED unwinds the command's code) and executed anew when what was
 * missing has come; the walks in dptr.c then find it here. The walk that succeeds is the last one:
 * what it found is kept, so that a host that changes its lists meanwhile changes nothing any more.
 */
#include "targets/nvmf/remote_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ST(sc)	   NVMF_ST_DNR(NVMF_ST(NVME_SC_##sc))
#define MAX_CHUNKS 32u /* fetched pieces of lists of one request, and their bytes: */
#define LIST_BYTES 16384u /* as many descriptors as a walk looks at (MAX_SGL_DESCS in dptr.c) */
#define MAX_SEGS   1024u
/* what a request may need beside its data */
#define OVERHEAD (LIST_BYTES + MAX_SEGS * sizeof(struct remote_seg))

/* ---- messages ---- */

static bool xfer_over(const struct remote_xfer *x)
{
	return !x->outstanding && (x->rc || x->at == x->nsegs);
}

static void xfer_todo(struct remote_xfer *x)
{
	if (!x->todo)
		TAILQ_INSERT_TAIL(&x->r->todo, x, link);
	x->todo = true;
}

static void message_done(void *arg, int rc)
{
	struct remote_xfer *x = arg;

	x->outstanding--;
	if (rc && !x->rc)
		x->rc = rc;
	/* what is on the list is looked at in the next turn */
	if (xfer_over(x) && !x->todo)
		x->done(x);
}

static int send_message(struct remote_xfer *x, uint64_t iova, uint32_t len)
{
	const struct nvmf_remote *r = x->r;

	return x->write ? r->ops->write(r->ctx, iova, x->buf, len, message_done, x)
			: r->ops->read(r->ctx, iova, x->buf, len, message_done, x);
}

/* Sends what the front end takes */
static void xfer_pump(struct remote_xfer *x)
{
	while (x->at < x->nsegs && !x->rc) {
		const struct remote_seg *s = &x->segs[x->at];
		uint32_t n = s->len - x->off;
		int rc;

		n = n < x->r->max_len ? n : x->r->max_len;
		rc = send_message(x, s->iova + x->off, n);
		if (rc == -EAGAIN) {
			xfer_todo(x);
			return;
		}
		if (rc) {
			x->rc = rc;
			break;
		}
		x->outstanding++;
		x->buf += n;
		x->off += n;
		if (x->off == s->len) {
			x->at++;
			x->off = 0;
		}
	}
	if (xfer_over(x))
		xfer_todo(x);
}

void remote_xfer_start(struct nvmf_remote *r, struct remote_xfer *x)
{
	x->r = r;
	x->at = x->off = x->outstanding = 0;
	x->rc = 0;
	x->todo = false;
	xfer_pump(x);
}

/* Those listed when the turn began: what cannot be sent yet is listed again */
static int xfers_turn(struct nvmf_remote *r)
{
	struct remote_xfers now = TAILQ_HEAD_INITIALIZER(now);
	struct remote_xfer *x;
	int n = 0;

	TAILQ_CONCAT(&now, &r->todo, link);
	for (; (x = TAILQ_FIRST(&now)); n++) {
		TAILQ_REMOVE(&now, x, link);
		x->todo = false;
		if (xfer_over(x))
			x->done(x);
		else
			xfer_pump(x);
	}
	return n;
}

/* ---- what a request holds ---- */

/* A fetched piece of a list */
struct chunk {
	uint64_t iova;
	uint32_t len;
	char *data;
};

/* Data or metadata of a request: the pieces that are in remote memory, one after the other in
 * @buf */
struct part {
	struct remote_seg *segs;
	uint32_t nsegs, room;
	char *buf;
	uint32_t size, used; /* bytes of @buf */
	/* the walk's result, once there is one */
	bool mapped;
	uint32_t len;
	struct iovec *iov;
	int iovcnt;
	void *md;
};

/* From the first remote address that a request's walk meets to the request's completion */
struct nvmf_remote_req {
	struct nvmf_req *req;
	struct nvmf_remote *r;
	TAILQ_ENTRY(nvmf_remote_req) link;
	uint64_t held; /* bytes of the budget */
	int rc; /* first error of a message */
	bool to_abort;
	uint16_t status; /* of the command, while its data goes to the host */
	struct remote_xfer x; /* one at a time */
	struct remote_seg list_seg;
	struct part data, md;
	struct part *walked; /* the part that is being mapped */
	uint32_t nchunks, list_bytes;
	struct chunk chunks[MAX_CHUNKS];
};

static bool from_host(const struct nvmf_req *req)
{
	return req->cmd.opc & 1;
}

static bool to_host(const struct nvmf_req *req)
{
	return req->cmd.opc & 2;
}

static void hold(struct nvmf_remote_req *rr, uint64_t bytes)
{
	rr->held += bytes;
	rr->r->held += bytes;
}

static struct nvmf_remote_req *rr_create(struct nvmf_remote *r, struct nvmf_req *req, uint32_t len)
{
	struct nvmf_remote_req *rr = calloc(1, sizeof *rr);

	if (!rr)
		return NULL;
	rr->r = r;
	rr->req = req;
	req->remote = rr;
	hold(rr, len + OVERHEAD);
	TAILQ_INSERT_TAIL(&r->reqs, rr, link);
	return rr;
}

static void part_free(struct part *p)
{
	plx_dma_free(p->buf);
	free(p->segs);
}

static void rr_free(struct nvmf_remote_req *rr)
{
	for (uint32_t i = 0; i < rr->nchunks; i++)
		free(rr->chunks[i].data);
	part_free(&rr->data);
	part_free(&rr->md);
	TAILQ_REMOVE(&rr->r->reqs, rr, link);
	rr->r->held -= rr->held;
	rr->req->remote = NULL;
	free(rr);
}

/* ---- parked, and on again ---- */

static void resume(struct nvmf_req *req)
{
	struct nvmf_sq *sq = req->sq;

	if (sq->state != NVMF_SQ_LIVE)
		req->aborted = 1;
	if (sq->qid)
		nvmf_nvm_exec_again(req);
	else if (req->aborted)
		nvmf_req_complete(req, PLX_BDEV_ST_ABORTED);
	else
		nvmf_admin_exec(req);
}

static void fetched(struct remote_xfer *x)
{
	struct nvmf_remote_req *rr = plx_container_of(x, struct nvmf_remote_req, x);

	rr->rc = x->rc;
	resume(rr->req);
}

static void fetch(struct nvmf_remote_req *rr, const struct remote_seg *segs, uint32_t n, char *buf)
{
	rr->x = (struct remote_xfer){ .done = fetched, .segs = segs, .nsegs = n, .buf = buf };
	remote_xfer_start(rr->r, &rr->x);
}

static bool fits(const struct nvmf_remote *r, uint32_t len)
{
	return !r->held || r->held + len + OVERHEAD <= r->budget;
}

/* The other half of a fused pair would wait for the one that waits */
static bool peer_holds(const struct nvmf_req *req)
{
	return req->sq->qid && (req->cmd.flags & PLX_NVME_FUSE_MASK) && req->peer &&
	       req->peer->remote;
}

/* Return: 0, and the request holds what it needs; or a status */
static uint16_t enter(struct nvmf_req *req, uint32_t len)
{
	struct nvmf_remote *r = req->sq->fn->remote;

	if (req->remote)
		return 0;
	if ((!r->waiting && fits(r, len)) || peer_holds(req))
		return rr_create(r, req, len) ? 0 : NVMF_ST(NVME_SC_INTERNAL);
	req->len = len;
	req->next = NULL;
	*r->waiting_tail = req;
	r->waiting_tail = &req->next;
	return NVMF_PARKED;
}

/*
 * The oldest go on while there is room. What was aborted, or lost its queue, goes on to its end
 * whatever stands before it.
 */
static int waiting_turn(struct nvmf_remote *r)
{
	struct nvmf_req **at = &r->waiting, *go = NULL, **go_tail = &go, *req;
	bool full = false;
	int n = 0;

	while ((req = *at)) {
		bool over = req->aborted || req->sq->state != NVMF_SQ_LIVE;

		if (!over && (full || !fits(r, req->len) || !rr_create(r, req, req->len))) {
			full = true;
			at = &req->next;
			continue;
		}
		*at = req->next;
		req->next = NULL;
		*go_tail = req;
		go_tail = &req->next;
	}
	r->waiting_tail = at;
	for (; (req = go); n++) {
		go = req->next;
		resume(req);
	}
	return n;
}

/* ---- the walks of dptr.c meet remote memory ---- */

static bool part_room(struct part *p)
{
	uint32_t room = p->room ? p->room * 2 : 8;
	struct remote_seg *segs;

	if (p->nsegs < p->room)
		return true;
	segs = realloc(p->segs, room * sizeof *segs);
	if (!segs)
		return false;
	p->segs = segs;
	p->room = room;
	return true;
}

/* What goes to the host is zeroed: not every block device fills all it could */
static bool part_buffer(struct part *p, const struct nvmf_req *req)
{
	if (!p->buf)
		p->buf = to_host(req) ? plx_dma_zalloc(p->size, 0, PLX_NUMA_ANY)
				      : plx_dma_alloc(p->size, 0, PLX_NUMA_ANY);
	return p->buf;
}

uint16_t nvmf_remote_piece(struct nvmf_req *req, uint64_t iova, uint64_t *len, char **va)
{
	struct nvmf_remote_req *rr = req->remote;
	struct nvmf_dma_region region;
	struct remote_seg *last;
	struct part *p;

	if (!nvmf_region_find(req->sq->fn, iova, &region) || region.va ||
	    !(region.prot & (from_host(req) ? PROT_READ : PROT_WRITE)))
		return ST(DATA_XFER_ERROR);
	if (!rr)
		return NVMF_ST_REMOTE;
	p = rr->walked;
	if (*len > region.len - (iova - region.iova))
		*len = region.len - (iova - region.iova);
	if (*len > p->size - p->used)
		return ST(DATA_XFER_ERROR);
	if (!part_buffer(p, req))
		return NVMF_ST(NVME_SC_INTERNAL);
	*va = p->buf + p->used;
	p->used += *len;
	last = p->nsegs ? &p->segs[p->nsegs - 1] : NULL;
	if (last && last->iova + last->len == iova && iova > region.iova) {
		last->len += *len;
		return 0;
	}
	if (p->nsegs == MAX_SEGS)
		return ST(SGL_INVALID_COUNT);
	if (!part_room(p))
		return NVMF_ST(NVME_SC_INTERNAL);
	p->segs[p->nsegs++] = (struct remote_seg){ iova, (uint32_t)*len };
	return 0;
}

/* Return: 0 and *@len bytes at @dst */
static bool chunk_read(const struct nvmf_remote_req *rr, uint64_t iova, void *dst, uint64_t *len)
{
	for (uint32_t i = 0; i < rr->nchunks; i++) {
		const struct chunk *c = &rr->chunks[i];
		uint64_t off = iova - c->iova;

		if (off >= c->len)
			continue;
		if (*len > c->len - off)
			*len = c->len - off;
		memcpy(dst, c->data + off, *len);
		return true;
	}
	return false;
}

static uint16_t chunk_fetch(struct nvmf_remote_req *rr, uint64_t iova, uint32_t len)
{
	struct chunk *c = &rr->chunks[rr->nchunks];

	if (rr->nchunks == MAX_CHUNKS || len > LIST_BYTES - rr->list_bytes)
		return ST(SGL_INVALID_COUNT);
	*c = (struct chunk){ iova, len, malloc(len) };
	if (!c->data)
		return NVMF_ST(NVME_SC_INTERNAL);
	rr->nchunks++;
	rr->list_bytes += len;
	rr->list_seg = (struct remote_seg){ iova, len };
	fetch(rr, &rr->list_seg, 1, c->data);
	return NVMF_PARKED;
}

uint16_t nvmf_remote_list(struct nvmf_req *req, uint64_t iova, void *dst, uint64_t *len,
			  uint64_t ahead)
{
	struct nvmf_remote_req *rr = req->remote;
	struct nvmf_dma_region region;

	if (!nvmf_region_find(req->sq->fn, iova, &region) || region.va ||
	    !(region.prot & PROT_READ))
		return ST(DATA_XFER_ERROR);
	if (!rr)
		return NVMF_ST_REMOTE;
	if (chunk_read(rr, iova, dst, len))
		return 0;
	if (ahead > region.len - (iova - region.iova))
		ahead = region.len - (iova - region.iova);
	return chunk_fetch(rr, iova, (uint32_t)ahead);
}

/* ---- a request's pointers ---- */

static uint16_t part_map(struct nvmf_remote_req *rr, struct part *p, uint32_t len,
			 uint16_t (*walk)(struct nvmf_req *req, uint32_t len))
{
	struct nvmf_req *req = rr->req;
	uint16_t st;

	if (rr->rc)
		return ST(DATA_XFER_ERROR);
	if (p->mapped) {
		/* another length: the namespace has changed its format meanwhile */
		return p->len == len ? 0 : ST(DATA_XFER_ERROR);
	}
	if (p->size != len) {
		plx_dma_free(p->buf);
		p->buf = NULL;
	}
	rr->walked = p;
	p->size = p->len = len;
	p->nsegs = p->used = 0;
	st = walk(req, len);
	if (st)
		return st;
	p->mapped = true;
	p->iov = req->iov;
	p->iovcnt = req->iovcnt;
	p->md = req->md;
	if (!from_host(req) || !p->nsegs)
		return 0;
	fetch(rr, p->segs, p->nsegs, p->buf);
	return NVMF_PARKED;
}

uint16_t nvmf_remote_map(struct nvmf_req *req, uint32_t len)
{
	uint16_t st = req->aborted ? PLX_BDEV_ST_ABORTED : enter(req, len);
	struct part *p;

	if (st)
		return st;
	p = &req->remote->data;
	st = part_map(req->remote, p, len, nvmf_req_walk);
	if (st)
		return st;
	req->iov = p->iov;
	req->iovcnt = p->iovcnt;
	req->len = len;
	return 0;
}

uint16_t nvmf_remote_map_md(struct nvmf_req *req, uint32_t len)
{
	uint16_t st = req->aborted ? PLX_BDEV_ST_ABORTED : enter(req, len);
	struct part *p;

	if (st)
		return st;
	p = &req->remote->md;
	st = part_map(req->remote, p, len, nvmf_req_walk_md);
	if (st)
		return st;
	req->md = p->md;
	req->md_len = len;
	return 0;
}

/* ---- completion ---- */

static bool send_part(struct nvmf_remote_req *rr, const struct part *p);

static void sent(struct remote_xfer *x)
{
	struct nvmf_remote_req *rr = plx_container_of(x, struct nvmf_remote_req, x);
	struct nvmf_req *req = rr->req;
	uint16_t status;

	if (x->rc) {
		rr->status = ST(DATA_XFER_ERROR);
		req->dw0 = 0;
		if (req->sq->qid)
			req->sq->ctrlr->stats.errors++;
	} else if (x->segs == rr->data.segs && send_part(rr, &rr->md)) {
		return;
	}
	status = rr->status;
	rr_free(rr);
	nvmf_req_complete(req, status);
}

static bool send_part(struct nvmf_remote_req *rr, const struct part *p)
{
	if (!p->nsegs)
		return false;
	rr->x = (struct remote_xfer){
		.done = sent, .segs = p->segs, .nsegs = p->nsegs, .buf = p->buf, .write = true
	};
	remote_xfer_start(rr->r, &rr->x);
	return true;
}

bool nvmf_remote_complete(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_remote_req *rr = req->remote;

	if (!status && to_host(req) && req->sq->state != NVMF_SQ_DEAD) {
		rr->status = status;
		if (send_part(rr, &rr->data) || send_part(rr, &rr->md))
			return true;
	}
	rr_free(rr);
	return false;
}

/* ---- the function ---- */

static int remote_turn(void *arg)
{
	struct nvmf_remote *r = arg;
	int n = xfers_turn(r);

	if (r->waiting)
		n += waiting_turn(r);
	return n + remote_queues_turn(r);
}

int nvmf_fn_set_remote(struct nvmf_fn *fn, const struct nvmf_remote_ops *ops, void *ctx,
		       uint32_t max_len)
{
	struct nvmf_remote *r;

	if (!ops || max_len < NVMF_REMOTE_MIN_LEN)
		return -EINVAL;
	if (fn->remote)
		return -EEXIST;
	r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	r->fn = fn;
	r->ops = ops;
	r->ctx = ctx;
	/* entries of queues travel in one piece */
	r->max_len = max_len & ~(NVMF_REMOTE_MIN_LEN - 1);
	r->budget = NVMF_REMOTE_BUDGET;
	TAILQ_INIT(&r->todo);
	TAILQ_INIT(&r->reqs);
	TAILQ_INIT(&r->queues);
	r->waiting_tail = &r->waiting;
	fn->remote = r;
	return 0;
}

/* The first region brings the poller: without any this costs no turn anything */
int nvmf_fn_dma_map_remote(struct nvmf_fn *fn, uint64_t iova, uint64_t len, uint32_t prot)
{
	if (!fn->remote || !len || iova > UINT64_MAX - len || !prot || (prot & ~NVMF_DMA_RW))
		return -EINVAL;
	if (!fn->remote->poller) {
		fn->remote->poller = plx_poller_create(remote_turn, fn->remote, 0);
		if (!fn->remote->poller)
			return -ENOMEM;
	}
	return nvmf_region_add_remote(fn, iova, len, prot);
}

static bool part_busy(const struct part *p, uint64_t iova, uint64_t len)
{
	for (uint32_t i = 0; i < p->nsegs; i++) {
		if (nvmf_overlap(p->segs[i].iova, p->segs[i].len, iova, len))
			return true;
	}
	return false;
}

/* A request counts with all it has touched, until it completes */
static bool rr_busy(const struct nvmf_remote_req *rr, uint64_t iova, uint64_t len)
{
	for (uint32_t i = 0; i < rr->nchunks; i++) {
		if (nvmf_overlap(rr->chunks[i].iova, rr->chunks[i].len, iova, len))
			return true;
	}
	return part_busy(&rr->data, iova, len) || part_busy(&rr->md, iova, len);
}

bool nvmf_fn_remote_busy(struct nvmf_fn *fn, uint64_t iova, uint64_t len)
{
	const struct nvmf_remote_req *rr;

	if (!fn->remote)
		return false;
	TAILQ_FOREACH(rr, &fn->remote->reqs, link)
	{
		if (rr_busy(rr, iova, len))
			return true;
	}
	return remote_queues_busy(fn->remote, iova, len);
}

/* An abort may complete others at once: marked first, and the list looked at anew after each */
void nvmf_fn_remote_abort(struct nvmf_fn *fn, uint64_t iova, uint64_t len)
{
	struct nvmf_remote_req *rr, *next;

	if (!fn->remote)
		return;
	TAILQ_FOREACH(rr, &fn->remote->reqs, link)
	{
		if (rr_busy(rr, iova, len))
			rr->to_abort = true;
	}
	for (rr = TAILQ_FIRST(&fn->remote->reqs); rr; rr = next) {
		next = TAILQ_NEXT(rr, link);
		if (!rr->to_abort)
			continue;
		rr->to_abort = false;
		nvmf_req_abort(rr->req);
		next = TAILQ_FIRST(&fn->remote->reqs);
	}
}

uint32_t nvmf_remote_outstanding(const struct nvmf_fn *fn)
{
	return fn->remote ? fn->remote->cq_writes : 0;
}

void nvmf_remote_fini(struct nvmf_fn *fn)
{
	if (!fn->remote)
		return;
	plx_poller_destroy(fn->remote->poller);
	free(fn->remote);
	fn->remote = NULL;
}
