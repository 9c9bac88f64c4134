/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/nvmf_internal.h - what the files of the NVMe target share
 *
 *   subsystem.c      subsystems and their namespaces
 *   ctrlr.c          a controller: life, namespaces it has attached, AERs, keep-alive
 *   admin.c identify.c log.c feature.c   admin commands
 *   cmd_nvm.c        read and write on bdevs: the hot path; cmd_nvm_more.c the other I/O commands
 *   dptr.c           PRPs and SGLs to iovecs
 *   remote.h         host memory that is reached by messages only
 *   pcie.c           the virtual PCIe function: registers and reset; pcie_queue.c its queues and
 *   doorbells, dbbuf.c those in shadow pages
 *   revoke.c         host memory taken back while in use; park.c queues that lie there
 *   virtual.c        the in-process front end; device.c the tools' embedded device
 *   vfio_user*.c     the vfio-user front end (vfio_user.h)
 *
 * A controller, its function, its queues and their requests belong to one plx_thread.
 */
#ifndef POLLUX_NVMF_INTERNAL_H
#define POLLUX_NVMF_INTERNAL_H

#include <pollux/nvmf.h>
#include "targets/nvmf/remote.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>

#define nvmf_log(level, ...) plx_log(PLX_LOG_##level, "nvmf", __VA_ARGS__)

#define NVMF_MAX_NS	 1024u
#define NVMF_MAX_IOQ	 128u
#define NVMF_MDTS_MAX	 8u /* 1 MiB */
#define NVMF_MAX_IOV	 258 /* 1 MiB of 4 KiB pages at the worst alignment, and one to spare */
#define NVMF_ADMIN_REQS	 64
#define NVMF_MAX_SQ_REQS 1024u /* commands under execution of one queue; more wait in the ring */

/* Status without phase, NVMe form */
#define NVMF_ST(sc)	PLX_NVME_ST(0, (sc)&0xff)
#define NVMF_ST_CS(sc)	PLX_NVME_ST(1, (sc)&0xff) /* command specific */
#define NVMF_ST_DNR(st) ((uint16_t)((st) | PLX_NVME_DNR))
/*
 * Not statuses, but in their place: mapping met remote memory and has taken the request, which is
 * executed anew later; a walk met remote memory, see nvmf_req_walk()
 */
#define NVMF_PARKED    0x8000u
#define NVMF_ST_REMOTE 0x8001u

struct nvmf_ctrlr;
struct nvmf_fn;
struct nvmf_sq;
struct nvmf_cq;

/* ---- namespaces ---- */

/* A subsystem's namespace. Lives from add_ns to remove_ns; the subsystem's lock guards the
 * table. */
struct nvmf_ns {
	uint32_t nsid; /* 0: slot is free */
	uint32_t refs; /* the table's, and one of each controller attached */
	bool active; /* false: being opened, or removed and waiting for controllers to let go */
	struct plx_bdev_desc *desc;
	struct plx_bdev *bdev;
	uint8_t nguid[16], eui64[8], uuid[16];
	bool nguid_given, eui64_given; /* else they follow from the UUID */
	struct plx_nvmf_subsystem *subsystem;
};

struct nvmf_host {
	STAILQ_ENTRY(nvmf_host) link;
	char nqn[224];
};

struct nvmf_ctrlr_stats { /* SMART: data units are counted at completion, read and write */
	uint64_t reads, writes, read_bytes, written_bytes, errors;
};

/* SMART: of controllers that are gone (health.c) */
struct nvmf_health {
	struct nvmf_ctrlr_stats stats;
	uint64_t media_errors, busy_tsc, on_tsc, power_cycles, unsafe_shutdowns;
};

struct plx_nvmf_subsystem {
	char nqn[224];
	char serial[21];
	char model[41];
	uint32_t max_ns;
	struct nvmf_ns *ns; /* max_ns of them, index nsid - 1 */
	pthread_mutex_t lock;
	uint16_t next_cntlid, min_cntlid, max_cntlid;
	bool allow_any_host;
	STAILQ_HEAD(, nvmf_host) hosts; /* allowed ones, in the order of their coming */
	TAILQ_HEAD(, nvmf_ctrlr) ctrlrs;
	struct nvmf_health health;
	TAILQ_ENTRY(plx_nvmf_subsystem) link;
};

/* What a controller needs of a namespace for each I/O: one line, on the controller's thread */
struct nvmf_ctrlr_ns {
	struct plx_bdev_desc *desc; /* NULL: inactive */
	struct plx_bdev_channel *ch;
	uint64_t blocks;
	uint32_t xfer_block; /* bytes of the data buffer for one block */
	uint32_t max_nlb; /* blocks of one command after MDTS */
	uint32_t block_size, md_size;
	uint8_t plain; /* no metadata, no protection information: the fast path applies */
	uint8_t md_extended, pi_type, pi_first;
	uint32_t nsid;
	struct nvmf_ns *ns;
	uint64_t writes_fenced; /* spare for write protection: 0 */
} plx_aligned(PLX_CACHE_LINE);
_Static_assert(sizeof(struct nvmf_ctrlr_ns) == 64, "one line a namespace");

/* ---- requests ---- */

/*
 * One command under execution. From its queue's pool at fetch, back to it at completion.
 * Line 0 is the host's entry, copied: the host may rewrite the ring at any time.
 */
struct nvmf_req {
	struct plx_nvme_cmd cmd;
	/* line 1 */
	struct nvmf_sq *sq;
	struct nvmf_req *next; /* free list, or whatever list it waits in */
	struct iovec *iov; /* &iov1[0] or iov_mem */
	int32_t iovcnt;
	uint32_t len; /* bytes of data */
	struct iovec iov1[2];
	/* line 2: off the plain read/write path */
	struct nvmf_ctrlr_ns *cns;
	void *md; /* separate metadata, host memory */
	uint32_t md_len;
	uint32_t dw0; /* completion's dword 0 */
	uint16_t status; /* while it waits for room in the CQ */
	uint8_t posted; /* completed, but waits for room in the CQ */
	uint8_t aborted; /* an Abort hit it */
	uint8_t stage; /* multi-step commands */
	uint8_t nsub; /* ... and what is outstanding of them */
	struct nvmf_req *peer; /* fused pair: compare's write and the other way round */
	struct plx_bdev_wait wait; /* for bdev I/O objects */
	struct iovec *iov_mem; /* NVMF_MAX_IOV of them, allocated with the pool */
	void *buf; /* scratch of a multi-step command, owned by it */
	uint64_t scratch[4];
	struct nvmf_remote_req *remote; /* NULL unless it has to do with remote memory */
} plx_aligned(PLX_CACHE_LINE);
_Static_assert(offsetof(struct nvmf_req, sq) == 64 && offsetof(struct nvmf_req, cns) == 128,
	       "a plain read touches two lines");

/* ---- queues of the virtual function ---- */

struct nvmf_cq {
	struct plx_nvme_cpl *entries;
	volatile uint32_t *head_db;
	uint16_t tail;
	uint16_t phase; /* 0 or 1, as next written */
	uint32_t room; /* entries certainly free; refreshed from the doorbell when 0 */
	uint32_t size;
	uint16_t qid;
	uint16_t vector;
	bool irq_enabled;
	uint8_t bad_db; /* reported an invalid doorbell value */
	uint8_t cold_room; /* parked or remote: nvmf_cq_cold_room() says how much there is */
	uint8_t parked; /* its memory is unmapped: park.c */
	uint32_t sqs; /* submission queues that complete here */
	uint32_t rounds; /* how often tail came back to 0 */
	uint64_t irq_seen; /* the front end's: where it was when its interrupt was signalled */
	struct nvmf_req *full_head, **full_tail; /* completions waiting for room */
	struct nvmf_fn *fn;
	uint64_t prp;
	volatile uint32_t *eventidx; /* shadow doorbells (DBBUF) */
	struct nvmf_remote_queue *remote; /* where the host's memory is remote; else NULL */
	const uint16_t *visible; /* &tail, unless the host's memory is remote: nvmf_cq_visible() */
	uint64_t wanted_tsc; /* parked: since when a completion waits for its memory; or 0 */
	bool shadowed; /* the host uses a shadow doorbell for it */
} plx_aligned(PLX_NO_SHARE);

/**
 * nvmf_cq_visible - index behind the last entry that the host can see; in remote memory it follows
 * the tail when the host has acknowledged the entries. What it moves over, interrupts may announce.
 */
static inline uint16_t nvmf_cq_visible(const struct nvmf_cq *cq)
{
	return *cq->visible;
}

enum nvmf_sq_state {
	NVMF_SQ_LIVE,
	/* being deleted: nothing is fetched, what is outstanding ends as aborted */
	NVMF_SQ_DRAINING,
	NVMF_SQ_DEAD, /* controller reset: completions go nowhere */
};

struct nvmf_sq {
	/* line 0: fetch and complete */
	const struct plx_nvme_cmd *entries;
	volatile uint32_t *tail_db;
	struct nvmf_req *free;
	struct nvmf_cq *cq;
	struct nvmf_ctrlr *ctrlr;
	struct nvmf_fn *fn;
	uint32_t head;
	uint32_t size;
	uint16_t qid;
	uint16_t outstanding;
	uint8_t state; /* enum nvmf_sq_state */
	uint8_t bad_db;
	uint8_t prio; /* enum nvmf_prio; counts with fn->arb.weighted */
	/* cold */
	uint8_t parked; /* its memory is unmapped: park.c */
	bool shadowed; /* the host uses a shadow doorbell for it */
	uint32_t parked_tail; /* where the doorbell was then */
	uint64_t wanted_tsc; /* since when it is elsewhere; or 0 */
	struct nvmf_req *reqs; /* nreqs of them */
	struct iovec *iovs;
	uint32_t nreqs;
	struct nvmf_req *fused_first; /* compare waiting for its write */
	/* DRAINING: the Delete I/O SQ command that waits for the last completion */
	struct nvmf_req *deleter;
	bool drained; /* that has come, and cq->tail was: */
	uint16_t last_cqe;
	uint64_t prp;
	volatile uint32_t *eventidx;
	struct nvmf_remote_queue *remote; /* where the host's memory is remote; else NULL */
} plx_aligned(PLX_NO_SHARE);

/* Host memory the function can reach, ordered by iova */
struct nvmf_dma_region {
	uint64_t iova;
	uint64_t len;
	char *va; /* NULL: by messages only (remote.h); never in nvmf_fn.last */
	uint32_t prot; /* PROT_READ, PROT_WRITE: what the device may do there */
};
#define NVMF_MAX_REGIONS 16384
#define NVMF_SINK_SIZE	 65536u
#define NVMF_DMA_RW	 3u /* PROT_READ | PROT_WRITE; others are never in nvmf_fn.last */

/* ---- the virtual PCIe function: pcie.c, pcie_queue.c ---- */

/* QPRIO of Create I/O Submission Queue (§5.4) */
enum nvmf_prio {
	NVMF_PRIO_URGENT,
	NVMF_PRIO_HIGH,
	NVMF_PRIO_MEDIUM,
	NVMF_PRIO_LOW,
	NVMF_PRIOS,
};

/* Weighted round robin with an urgent class: arbitration.c */
struct nvmf_arb {
	bool weighted; /* CC.AMS: then fn->attention is always set, and that leads there */
	uint16_t weight[NVMF_PRIOS]; /* commands of a round; of the urgent class unused */
	uint16_t credit[NVMF_PRIOS]; /* of them, those left of this round */
	uint32_t next[NVMF_PRIOS]; /* index in fn->active where the class goes on */
};

struct nvmf_fn_opts {
	uint32_t max_io_queues, max_queue_size, mdts;
	uint32_t dstrd; /* CAP.DSTRD: doorbells are 4 << dstrd bytes apart */
	bool no_shadow_doorbells; /* Doorbell Buffer Config is not there */
	const char *traddr; /* where hosts find the front end, for reports; NULL: not said */
	/* memory both sides see, zeroed; (max_io_queues + 1) * 2 doorbells */
	volatile uint32_t *doorbells;
};

struct nvmf_fn {
	/* each turn */
	struct nvmf_sq **active; /* [nactive] queues to look at, admin first */
	uint32_t nactive;
	_Atomic uint8_t vanished; /* set by any thread */
	uint8_t attention; /* something rare is under way: see fn_attend() */
	uint32_t burst; /* Arbitration feature: commands of one queue per turn */
	/* translation */
	struct nvmf_dma_region last; /* copy of the region hit last */
	struct nvmf_dma_region *regions;
	uint32_t nregions;
	/* the table: any thread maps and unmaps, the function's thread looks up on a miss of
	 * @last */
	pthread_mutex_t region_lock;
	/* counts maps and unmaps; when it moved nvmf_fn_attend() forgets @last and looks for the
	 * memory of what is parked */
	_Atomic uint32_t region_gen;
	uint32_t region_gen_seen;
	/* [NVMF_SINK_SIZE] where bit buckets send data, never read: one serves any number of
	 * commands. Not thread-local: a library that fio loads has no room for that */
	char *sink;

	struct nvmf_ctrlr *ctrlr;
	struct plx_thread *thread;
	struct plx_poller *poller;
	struct nvmf_fn_opts opts;
	struct nvmf_sq **sqs; /* [max_io_queues + 1] by qid */
	struct nvmf_cq **cqs;
	uint64_t dbbuf_shadow, dbbuf_eventidx;
	bool dbbuf_parked; /* the pages are unmapped */
	bool parked; /* they are, or a queue is */
	bool resolve; /* memory was mapped since it was last looked for */
	struct nvmf_group *group; /* counts its queues; NULL: nobody does */

	/* registers (NVMe over PCIe Transport 1.0c §3.1, Base 2.0c §3.1.3) */
	uint64_t cap;
	uint32_t vs, intms, cc, aqa;
	volatile uint32_t csts; /* read by the other side */
	uint64_t asq, acq;
	uint8_t disabling, shutting_down, resetting_bdevs;
	struct nvmf_arb arb;
	uint32_t flushes; /* outstanding, of a shutdown */
	uint32_t bdev_resets; /* outstanding, of a controller reset */
	uint64_t disable_tsc; /* when CC.EN went to 0 */
	uint32_t full_cqs; /* completion queues with a list of waiting completions */
	uint64_t completed_io, completed_admin; /* of queues that are gone */
	struct nvmf_remote *remote; /* NULL without nvmf_fn_set_remote() */
};

/** nvmf_cq_posted - completions posted to @cq so far */
static inline uint64_t nvmf_cq_posted(const struct nvmf_cq *cq)
{
	return (uint64_t)cq->rounds * cq->size + cq->tail;
}

/* Doorbells in memory that both sides write: 128 bytes apart, no two share a pair of lines */
#define NVMF_DSTRD_APART 5u

/** nvmf_fn_opts_check - what front ends let their users choose; 0 takes the default. Return: 0;
 *  -EINVAL */
int nvmf_fn_opts_check(uint32_t max_io_queues, uint32_t max_queue_size, uint32_t mdts);
/** nvmf_fn_opts_fill - the choices and their defaults; the rest of @o is left alone */
void nvmf_fn_opts_fill(struct nvmf_fn_opts *o, uint32_t max_io_queues, uint32_t max_queue_size,
		       uint32_t mdts);

/* Controllers of the target that run in one thread, summed up: target.c */
struct nvmf_group {
	struct plx_thread *thread;
	/* queues made so far and there now, by [0] admin and [1] I/O; that thread's, others read */
	uint64_t made[2], there[2];
	uint64_t completed_io; /* of controllers that are gone */
};
/** nvmf_group_of - set-up; NULL when no controllers are given to @thread */
struct nvmf_group *nvmf_group_of(const struct plx_thread *thread);
static inline void nvmf_count(uint64_t *counter, int64_t n)
{
	__atomic_store_n(counter, *counter + (uint64_t)n, __ATOMIC_RELAXED);
}

/** nvmf_fn_init - on @thread's behalf; registers are at reset values. Return: 0 or -errno */
int nvmf_fn_init(struct nvmf_fn *fn, struct plx_nvmf_subsystem *s, struct plx_thread *thread,
		 const struct nvmf_fn_opts *opts);
/** nvmf_fn_halt - in the function's thread: take no more commands, abort what is in flight */
void nvmf_fn_halt(struct nvmf_fn *fn);
/** nvmf_fn_stop - the same, and what did not come back at once is ended by bdev resets */
void nvmf_fn_stop(struct nvmf_fn *fn);
/** nvmf_fn_stopped - in the function's thread, after nvmf_fn_halt(): everything has come back */
bool nvmf_fn_stopped(const struct nvmf_fn *fn);
/** nvmf_fn_completed - admin or I/O commands completed since nvmf_fn_init() */
uint64_t nvmf_fn_completed(const struct nvmf_fn *fn, bool admin);
/** nvmf_fn_fini - in the function's thread: drops queues whatever they hold */
void nvmf_fn_fini(struct nvmf_fn *fn);

/* ---- virtual.c ---- */

/** nvmf_virtual_stop - vanish, and begin to bring back what is in flight; before
 *  plx_nvmf_virtual_destroy() */
void nvmf_virtual_stop(struct plx_nvmf_virtual *v);
/** nvmf_virtual_stopped - everything has come back? With a turn of the thread that the caller
 *  runs */
bool nvmf_virtual_stopped(struct plx_nvmf_virtual *v);
/** Register access in the function's thread (write) or any (read). @size 4 or 8 bytes */
void nvmf_fn_reg_write(struct nvmf_fn *fn, uint32_t offset, uint64_t value, unsigned size);
uint64_t nvmf_fn_reg_read(struct nvmf_fn *fn, uint32_t offset, unsigned size);
/** nvmf_fn_dma_map/unmap (dptr.c) - any thread. Map Return: 0; -EINVAL empty or wrapping; -EEXIST
 *  overlap; -ENOSPC */
int nvmf_fn_dma_map(struct nvmf_fn *fn, uint64_t iova, void *va, uint64_t len);
/** nvmf_fn_dma_map_prot - the same for memory that the device may only read, or only write: the
 *  other direction is a Data Transfer Error */
int nvmf_fn_dma_map_prot(struct nvmf_fn *fn, uint64_t iova, void *va, uint64_t len, uint32_t prot);
void nvmf_fn_dma_unmap(struct nvmf_fn *fn, uint64_t iova, uint64_t len);
/**
 * nvmf_fn_revoke - unmap host memory that may be in use, in the function's thread (revoke.c)
 *
 * No command finds it any more; a queue in it is parked until it is mapped again (park.c). Those
 * that found it before go on: the memory stays until nvmf_fn_uses() says no, which it may be made
 * to do sooner by nvmf_fn_abort_users().
 */
void nvmf_fn_revoke(struct nvmf_fn *fn, uint64_t iova, uint64_t len);
bool nvmf_fn_uses(struct nvmf_fn *fn, const void *va, uint64_t len);
void nvmf_fn_abort_users(struct nvmf_fn *fn, const void *va, uint64_t len);
/** nvmf_fn_die - CSTS.CFS, and no queue is served any more until a controller reset */
void nvmf_fn_die(struct nvmf_fn *fn, const char *why);
static inline bool nvmf_fn_is_fatal(const struct nvmf_fn *fn)
{
	return fn->csts & 1u << NVME_CSTS_CFS_SHIFT;
}
/** nvmf_fn_reset - function level reset: begins a controller reset, registers are at reset values;
 *  nvmf_fn_is_reset - it is over */
void nvmf_fn_reset(struct nvmf_fn *fn);
bool nvmf_fn_is_reset(const struct nvmf_fn *fn);
/** nvmf_fn_poll - one turn: new commands of each queue. Return: commands fetched */
int nvmf_fn_poll(void *fn);

/* Admin commands that are the function's: each completes @req itself, now or later
 * (pcie_queue.c) */
void nvmf_fn_create_cq(struct nvmf_fn *fn, struct nvmf_req *req);
void nvmf_fn_create_sq(struct nvmf_fn *fn, struct nvmf_req *req);
void nvmf_fn_delete_cq(struct nvmf_fn *fn, struct nvmf_req *req);
void nvmf_fn_delete_sq(struct nvmf_fn *fn, struct nvmf_req *req);
void nvmf_fn_dbbuf(struct nvmf_fn *fn, struct nvmf_req *req);
/** nvmf_fn_has_dbbuf - wanted, and the doorbells of all queues fit in the one page that a host
 *  gives for their shadows: otherwise hosts would wait for queues that are not in it */
static inline bool nvmf_fn_has_dbbuf(const struct nvmf_fn *fn)
{
	return !fn->opts.no_shadow_doorbells &&
	       (fn->opts.max_io_queues + 1) * 2 * (4ull << fn->opts.dstrd) <= PLX_PAGE_SIZE;
}
/** nvmf_fn_abort - Abort (§5.1): ask the bdev to abort it. Return: true when the command was
 *  found */
bool nvmf_fn_abort(struct nvmf_fn *fn, uint16_t sqid, uint16_t cid);

/** nvmf_req_complete - post the completion; @req is gone afterwards. @status without phase */
void nvmf_req_complete(struct nvmf_req *req, uint16_t status);

/** nvmf_req_complete_ok - the same for success with dword 0 zero: touches the request's first two
 *  lines only */
void nvmf_req_complete_ok(struct nvmf_req *req);

/* Between pcie.c and pcie_queue.c */
struct nvmf_cq *nvmf_cq_create(struct nvmf_fn *fn, uint16_t qid, uint32_t size, uint64_t prp);
void nvmf_cq_free(struct nvmf_cq *cq);
struct nvmf_sq *nvmf_sq_create(struct nvmf_fn *fn, uint16_t qid, uint32_t size, uint64_t prp,
			       struct nvmf_cq *cq);
void nvmf_sq_free(struct nvmf_sq *sq);
/** nvmf_sq_idle - which of sq->reqs are on the free list: an array to be freed. Return: NULL
 *  without memory */
uint8_t *nvmf_sq_idle(const struct nvmf_sq *sq);
/** nvmf_req_abort - ask the bdev to abort it; it completes as ever */
void nvmf_req_abort(struct nvmf_req *req);
/** nvmf_sq_kill - controller reset: no fetching, outstanding commands are aborted and complete to
 *  nowhere */
void nvmf_sq_kill(struct nvmf_sq *sq);
/** nvmf_sq_activate/deactivate - look at the doorbell of @sq in each turn, or no more */
void nvmf_sq_activate(struct nvmf_sq *sq);
void nvmf_sq_deactivate(struct nvmf_sq *sq);
/** nvmf_fn_dbbuf_queue - put the queues of @qid onto the shadow doorbells, where configured */
void nvmf_fn_dbbuf_queue(struct nvmf_fn *fn, uint16_t qid);
/** nvmf_fn_dbbuf_park/resume - the pages are going away: real doorbells from now on; and they may
 *  be there again (dbbuf.c) */
void nvmf_fn_dbbuf_park(struct nvmf_fn *fn);
void nvmf_fn_dbbuf_resume(struct nvmf_fn *fn);
/** nvmf_fn_attend - the rare things of a turn; nvmf_fn_attend_queues its share in pcie_queue.c */
void nvmf_fn_attend(struct nvmf_fn *fn);
void nvmf_fn_attend_queues(struct nvmf_fn *fn);

/** nvmf_sq_turn - fetch and execute @max commands at most of what the doorbell says. Return: how
 *  many */
int nvmf_sq_turn(struct nvmf_sq *sq, uint32_t max);

/* ---- weighted round robin: arbitration.c ---- */

/** nvmf_arb_reset - the controller was enabled, with or without @weighted arbitration: each weight
 *  is 1 */
void nvmf_arb_reset(struct nvmf_fn *fn, bool weighted);
/** nvmf_arb_set - weights of the feature Arbitration (§5.27.1.1) */
void nvmf_arb_set(struct nvmf_fn *fn, uint32_t cdw11);
/** nvmf_fn_poll_weighted - what is in nvmf_fn_poll() for round robin */
int nvmf_fn_poll_weighted(struct nvmf_fn *fn);

/* ---- queues whose memory is unmapped: park.c ---- */

/**
 * nvmf_fn_park - queues and shadow doorbells in [@iova, @iova + @len), which is unmapped: the
 * function forgets where they were, and serves them no more, until all of their memory is mapped
 * again, anywhere. Then they go on where they were. Only a host that uses one meanwhile, and for
 * longer than a second, finds the controller in fatal status.
 */
void nvmf_fn_park(struct nvmf_fn *fn, uint64_t iova, uint64_t len);
/** nvmf_fn_attend_parked - in each turn while fn->parked */
void nvmf_fn_attend_parked(struct nvmf_fn *fn);
/** nvmf_cq_cold_room - of @room entries free for the host, those that may be filled, where
 *  cq->cold_room is set */
uint32_t nvmf_cq_cold_room(const struct nvmf_cq *cq, uint32_t room);

/* ---- translation: dptr.c ---- */

static inline bool nvmf_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

/**
 * nvmf_map - host address of @len bytes at @iova, to be read and written
 * Return: the address, or NULL when any of it is outside of what the host mapped
 */
void *nvmf_map_slow(struct nvmf_fn *fn, uint64_t iova, uint64_t len);
static inline void *nvmf_map(struct nvmf_fn *fn, uint64_t iova, uint64_t len)
{
	uint64_t off = iova - fn->last.iova;

	if (plx_likely(off < fn->last.len && len <= fn->last.len - off))
		return fn->last.va + off;
	return nvmf_map_slow(fn, iova, len);
}
/**
 * nvmf_req_map - data pointer of @req to req->iov for @len bytes (PRP or SGL by PSDT), req->len =
 * len
 * Admin commands must use PRPs (§4.1). Return: 0 or the status the specification gives for what is
 * malformed
 */
uint16_t nvmf_req_map(struct nvmf_req *req, uint32_t len);
/** nvmf_req_map_md - MPTR (or its SGL) to req->md for @len bytes. Return: 0 or a status */
uint16_t nvmf_req_map_md(struct nvmf_req *req, uint32_t len);
/**
 * nvmf_req_walk/_md - what nvmf_req_map() and nvmf_req_map_md() do where all memory is mapped.
 * Return: as they, or NVMF_ST_REMOTE when some is remote and the request knows nothing of it yet
 */
uint16_t nvmf_req_walk(struct nvmf_req *req, uint32_t len);
uint16_t nvmf_req_walk_md(struct nvmf_req *req, uint32_t len);
/** nvmf_req_copy_out/in - between a flat buffer and the mapped iovecs, from byte @off of them;
 *  clipped to req->len */
void nvmf_req_copy_out(struct nvmf_req *req, uint32_t off, const void *buf, uint32_t len);
void nvmf_req_copy_in(struct nvmf_req *req, uint32_t off, void *buf, uint32_t len);

/* ---- remote memory: remote.c, remote_queue.c; nvmf_region_* in dptr.c ----
 * noinline: inlined at link time they would cost each walk registers */

/** nvmf_region_find - the region that holds @iova. Return: false when it is not mapped */
bool nvmf_region_find(struct nvmf_fn *fn, uint64_t iova, struct nvmf_dma_region *out);
/** nvmf_region_add_remote - Return: 0; -EEXIST; -ENOSPC */
int nvmf_region_add_remote(struct nvmf_fn *fn, uint64_t iova, uint64_t len, uint32_t prot);

/** nvmf_remote_map/_md - nvmf_req_map() and nvmf_req_map_md() of a request that a walk called
 *  remote */
plx_noinline uint16_t nvmf_remote_map(struct nvmf_req *req, uint32_t len);
plx_noinline uint16_t nvmf_remote_map_md(struct nvmf_req *req, uint32_t len);
/**
 * nvmf_remote_piece - a walk met data at @iova that is not mapped
 * Return: 0, *@va where it is kept and *@len lowered to what is contiguous; NVMF_ST_REMOTE; a
 * status
 */
plx_noinline uint16_t nvmf_remote_piece(struct nvmf_req *req, uint64_t iova, uint64_t *len,
					char **va);
/**
 * nvmf_remote_list - a walk wants *@len bytes of a list that is not mapped, and will want @ahead
 * Return: 0, copied to @dst and *@len lowered to what is; NVMF_PARKED; NVMF_ST_REMOTE; a status
 */
plx_noinline uint16_t nvmf_remote_list(struct nvmf_req *req, uint64_t iova, void *dst,
				       uint64_t *len, uint64_t ahead);
/** nvmf_remote_complete - @req, which has ->remote, is over. Return: true when it completes later,
 *  once its data is with the host */
plx_noinline bool nvmf_remote_complete(struct nvmf_req *req, uint16_t status);
/** nvmf_remote_outstanding - messages that no submission queue counts as outstanding */
uint32_t nvmf_remote_outstanding(const struct nvmf_fn *fn);
/** nvmf_remote_fini - nothing is outstanding any more, the queues are gone */
void nvmf_remote_fini(struct nvmf_fn *fn);

/** nvmf_remote_queue - @size entries of @entry bytes at @iova, all in remote memory. Return: NULL
 *  with errno EFAULT or ENOMEM */
struct nvmf_remote_queue *nvmf_remote_queue_create(struct nvmf_fn *fn, uint64_t iova, uint32_t size,
						   uint32_t entry);
/** nvmf_remote_queue_free - at once, or when its last message is back. NULL is fine */
void nvmf_remote_queue_free(struct nvmf_remote_queue *q);
/** nvmf_remote_sq/_cq - the new queue uses it */
void nvmf_remote_sq(struct nvmf_remote_queue *q, struct nvmf_sq *sq);
void nvmf_remote_cq(struct nvmf_remote_queue *q, struct nvmf_cq *cq);
/** nvmf_sq_doorbell - where it says from where the host's doorbell is read, of any queue */
volatile uint32_t **nvmf_sq_doorbell(struct nvmf_sq *sq);
/** nvmf_remote_queue_busy - a message of it is under way */
bool nvmf_remote_queue_busy(const struct nvmf_remote_queue *q);
/** nvmf_remote_queue_mapped - all of the ring is in remote memory (again) */
bool nvmf_remote_queue_mapped(const struct nvmf_remote_queue *q);
/** nvmf_remote_sq_leave/_cq_leave - the queue, which is not busy, has its memory mapped now:
 *  completions not sent are copied there */
void nvmf_remote_sq_leave(struct nvmf_sq *sq, const struct plx_nvme_cmd *entries);
void nvmf_remote_cq_leave(struct nvmf_cq *cq, struct plx_nvme_cpl *entries);
/** nvmf_remote_cq_room - of @room entries free for the host: 1, or 0 */
uint32_t nvmf_remote_cq_room(const struct nvmf_cq *cq, uint32_t room);
/** nvmf_remote_cq_delete - frees @cq. Return: true when entries are on their way to the host: @req
 *  is completed when they are there */
bool nvmf_remote_cq_delete(struct nvmf_cq *cq, struct nvmf_req *req);

/* ---- commands ---- */

/** nvmf_nvm_exec - an I/O command; completes @req now or later (cmd_nvm.c) */
void nvmf_nvm_exec(struct nvmf_req *req);
/** nvmf_nvm_exec_slow - everything but a plain read or write (cmd_nvm_more.c) */
void nvmf_nvm_exec_slow(struct nvmf_req *req);
/** nvmf_nvm_exec_again - one that nvmf_req_map() or nvmf_req_map_md() parked (cmd_nvm_more.c) */
void nvmf_nvm_exec_again(struct nvmf_req *req);
/** nvmf_fused_drop - complete with @status the first command of a fused pair whose second will not
 *  come (cmd_nvm_more.c) */
void nvmf_fused_drop(struct nvmf_sq *sq, uint16_t status);
/** nvmf_admin_exec - an admin command (admin.c) */
void nvmf_admin_exec(struct nvmf_req *req);
/** nvmf_req_wait - out of bdev I/O objects: run @again(@req) when there are some */
void nvmf_req_wait(struct nvmf_req *req, void (*again)(void *req));
/** nvmf_errno_status - what a refused bdev submission means to the host */
uint16_t nvmf_errno_status(int rc);

/* ---- controller: ctrlr.c and the admin files ---- */

#define NVMF_MAX_AER 4 /* AERL + 1 */

struct nvmf_ctrlr {
	/* hot */
	struct nvmf_ctrlr_ns *ns; /* [nn], index nsid - 1 */
	uint32_t nn;
	uint16_t cntlid;
	struct nvmf_ctrlr_stats stats;
	/* cold */
	struct nvmf_fn *fn;
	struct plx_nvmf_subsystem *subsystem;
	struct plx_thread *thread;
	TAILQ_ENTRY(nvmf_ctrlr) link;
	bool enabled;
	struct nvmf_admin *admin; /* features, AERs, logs: admin.c and its neighbours */
};

/** nvmf_ctrlr_create - in its thread, attached to every namespace of @s. Return: NULL with errno */
struct nvmf_ctrlr *nvmf_ctrlr_create(struct plx_nvmf_subsystem *s, struct nvmf_fn *fn);
void nvmf_ctrlr_destroy(struct nvmf_ctrlr *c);
/** nvmf_ctrlr_enable/disable - CC.EN went to 1, or 0 and all queues are gone: features and AERs
 *  back to their defaults */
void nvmf_ctrlr_enable(struct nvmf_ctrlr *c);
void nvmf_ctrlr_disable(struct nvmf_ctrlr *c);
/** nvmf_health_shutdown - CC.SHN announces that power will go: that is safe then */
void nvmf_health_shutdown(struct nvmf_ctrlr *c);
/** nvmf_ctrlr_event - an asynchronous event (§5.2): type, information, log page */
void nvmf_ctrlr_event(struct nvmf_ctrlr *c, uint8_t type, uint8_t info, uint8_t lid);
/** nvmf_ctrlr_log_error - an entry of the Error Information log (§5.16.1.2) for a failed command */
void nvmf_ctrlr_log_error(struct nvmf_req *req, uint16_t status);
/** nvmf_ctrlr_abort_aer - the Abort command may hit an AER: complete it aborted. Return: true when
 *  found */
bool nvmf_ctrlr_abort_aer(struct nvmf_ctrlr *c, uint16_t cid);

static inline struct nvmf_ctrlr_ns *nvmf_ctrlr_ns(struct nvmf_ctrlr *c, uint32_t nsid)
{
	return nsid - 1 < c->nn && c->ns[nsid - 1].desc ? &c->ns[nsid - 1] : NULL;
}

#endif
