/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/nvme_internal.h - what the files of the driver share
 *
 *   queue.c    rings, submit, poll: the hot path, reads top to bottom
 *   qpair.c    life of a queue pair, and what its owner does on behalf of the controller (quiesce,
 *              reset, fail)
 *   ctrlr.c    controllers as callers see them: connect, poll, disconnect, properties
 *   ctrlr_steps.c   the controller's state machine: bringing it up, resetting it; with
 *              ctrlr_setup.c, its capabilities, and ctrlr_scan.c, its namespaces
 *   ctrlr_events.c  what a ready controller needs: AERs, keep-alive, Aborts, watching its status
 *   admin.c    raw and synchronous admin commands and their wrappers
 *   cmd_*.c    the command set beyond that, a subject each; none is on the path of reads and writes
 *   hmb.c      the host memory buffer; cmb.c, pmr.c memory of the controller's own, and window.c
 *              its addresses; quirks.c devices that need something else
 *   ns.c       namespaces
 *   ns_cmd.c   read and write; ns_cmd_more.c the other I/O commands
 *   dptr.c     PRPs and SGLs; host_pi.h protection information that programs make themselves
 *   split.c    I/O larger than one command
 *   share_*.c  a controller for several processes, see share.h
 */
#ifndef POLLUX_DRIVER_NVME_INTERNAL_H
#define POLLUX_DRIVER_NVME_INTERNAL_H

#include "driver/pcie_backend.h"
#include <emmintrin.h>
#include <pollux/nvme.h>
#include <pollux/nvme_zns.h>
#include <pthread.h>
#include <stdatomic.h>

#define nvme_log(level, ...) plx_log(PLX_LOG_##level, "nvme", __VA_ARGS__)

#define NVME_MAX_QPAIRS 1024

/*
 * One command identifier of a queue. Lives as long as its queue pair; in use from submission to
 * callback. Completion touches the first line only. The copy of the command serves retries and
 * resubmission after a reset.
 */
struct nvme_slot {
	plx_nvme_cb cb; /* NULL: free */
	void *arg;
	uint32_t epoch; /* qp->epoch at submission: the age for timeouts */
	uint8_t retries;
	uint8_t aborting; /* enum nvme_slot_progress; 0 at submission */
	uint16_t rsvd; /* slot_arm() writes it */
	uint64_t *prp_list; /* this identifier's share of DMA memory, prp_list_bytes of it */
	uint64_t prp_list_iova;
	uint64_t retry_tsc; /* NVME_SLOT_WAITING: when to submit again */
	struct plx_nvme_cmd cmd;
} plx_aligned(PLX_NO_SHARE);
_Static_assert(offsetof(struct nvme_slot, cmd) == 64, "completion stays within the first line");
_Static_assert(sizeof(struct nvme_slot) == 128, "two lines a command");

enum nvme_slot_progress {
	NVME_SLOT_PLAIN,
	NVME_SLOT_ABORTING, /* an Abort was asked for */
	NVME_SLOT_WAITING, /* not at the device: a retry the controller wants later (CRD) */
};

/* What the controller's thread wants of a queue pair; its owner follows in its next poll and says
 * so in @have. */
enum nvme_qp_state {
	NVME_QP_LIVE,
	/* owner neither submits nor reads completions: the controller is being disabled */
	NVME_QP_QUIESCED,
	/* rings are zeroed and back at 0, commands called back or kept for resubmission */
	NVME_QP_RESET,
	NVME_QP_FAILED, /* all commands called back with a status of the host path; for good */
};

struct plx_nvme_qpair {
	/* line 0: submission */
	struct plx_nvme_cmd *sq;
	struct nvme_slot *slots;
	uint16_t *sq_order; /* by ring index: the identifier of the command that goes there */
	uint16_t *free_cids; /* stack of @nfree identifiers: the hottest on top */
	volatile uint32_t *sq_db;
	uint16_t nfree; /* 0 also while the pair is not live: one test serves both */
	uint16_t sq_tail;
	uint16_t sq_rung; /* tail the device knows of */
	uint16_t sq_size;
	uint32_t epoch;
	uint8_t identity; /* device addresses are virtual addresses */
	uint8_t state; /* enum nvme_qp_state, as the owner sees it */
	uint16_t depth; /* identifiers: sq_size - 1 */
	/* ring index whose entry need not wait for the flush; or NVME_NO_INDEX */
	uint16_t sq_direct;

	/* line 1: completion */
	struct plx_nvme_cpl *cq plx_aligned(PLX_CACHE_LINE);
	volatile uint32_t *cq_db;
	uint16_t cq_head;
	uint16_t cq_size;
	uint16_t cq_unacked; /* entries taken since the last head doorbell */
	uint16_t cq_ack_at; /* ring it at so many: room the queue has beyond its depth */
	uint16_t phase;
	uint16_t countdown; /* polls until housekeeping */
	uint16_t want_seen; /* the ctl.want that @state reflects */
	uint16_t qid;
	uint64_t polls;
	uint64_t empty_polls;
	uint64_t completions;

	/* line 2: cold, owner's */
	struct plx_nvme_ctrlr *ctrlr plx_aligned(PLX_CACHE_LINE);
	uint64_t submissions, sq_doorbells, cq_doorbells, splits, retries, queue_full;
	uint64_t epoch_tsc; /* when the current epoch began */
	uint64_t epoch_len; /* ticks: a quarter of the timeout; 0: no timeouts */
	uint16_t nfree_saved; /* while not live */
	uint16_t retries_waiting; /* slots in NVME_SLOT_WAITING, at least */
	void *prp_lists; /* depth * prp_list_bytes of DMA memory */
	/* device addresses of memory; NULL when @identity */
	const struct dptr_iova *iova;
	uint32_t prp_list_bytes; /* dptr_list_bytes() */
	uint8_t sgl; /* NVME_SGL_*, from dptr_sgl_modes(); 0: PRPs only */
	uint8_t priority; /* QPRIO */
	bool sq_in_cmb; /* @sq is the controller's own memory */
	struct nvme_split *splits_free, *splits_mem; /* split.c */
	struct plx_nvme_qpair *next; /* ctrlr->qpairs, under ctrlr->lock */
	pthread_t owner; /* the thread that created it */
	/* doorbells that are no memory of the device's: SQ tail and CQ head as the hot path stores
	 * them, and as the device knows them */
	bool db_by_call;
	volatile uint32_t db[2];
	uint32_t db_sent[2];
	/* with shadow doorbells: registers, and up to where the controller has looked; else NULL */
	volatile uint32_t *db_register[2];
	volatile uint32_t *db_event[2];
	int irq_fd; /* -1: no interrupts */
	/* the last scan that had ended before anything outstanding was submitted, and the one for
	 * what is submitted from this epoch on */
	uint32_t ns_scan, ns_scan_next;
	uint16_t irq_vector;

	/* shared with the controller's thread, which writes @want ... */
	struct {
		_Atomic uint32_t want; /* enum nvme_qp_state */
	} ctl plx_aligned(PLX_NO_SHARE);
	/* ... and reads @have; abort_cid: a command the owner wants aborted, with NVME_ABORT_ASKED
	 * when somebody asked for it; NVME_NO_CID when none */
	struct {
		_Atomic uint32_t have;
		_Atomic uint32_t abort_cid;
		_Atomic uint32_t wants_reset; /* enum nvme_reset_reason */
	} rsp plx_aligned(PLX_NO_SHARE);
} plx_aligned(PLX_NO_SHARE);
_Static_assert(offsetof(struct plx_nvme_qpair, cq) == 64, "submission is one line");
_Static_assert(offsetof(struct plx_nvme_qpair, ctrlr) == 128, "completion is one line");
#define NVME_NO_CID	 0xffffu
#define NVME_ABORT_ASKED (1u << 16)
#define NVME_NO_INDEX	 0xffffu

enum nvme_reset_reason { /* why a queue pair's owner asks for a reset of the controller */
			 NVME_RESET_NOT_WANTED,
			 NVME_RESET_TIMEOUT,
			 NVME_RESET_BAD_CQE,
};

#define NVME_HOUSEKEEP_POLLS 256 /* polls between looks at the clock */
#define NVME_EPOCHS	     4 /* epochs in a timeout */

struct plx_nvme_ns {
	/* hot: what read and write look at */
	uint64_t blocks;
	uint32_t nsid;
	uint32_t xfer_block; /* bytes in the data buffer for one block */
	/* up to so many blocks one command and two PRPs do; 0 when nothing is fast (SGLs asked
	 * for) */
	uint32_t fast_blocks;
	uint32_t max_io_blocks; /* one command */
	uint32_t boundary; /* NOIOB in blocks, 0 none: I/O is split there */
	uint32_t max_verify_blocks, max_wz_blocks; /* one command (VSL, WZSL); 0: 65,536 */
	uint32_t block_size, md_size;
	uint8_t md_extended, pi_type, pi_first, active;
	uint8_t pi_format; /* PIF: guard of 0 16, 1 32, 2 64 bits (NVM Command Set 1.0c §4.1.5.3) */
	uint8_t tag_bits; /* STS: of the reference tag's space that are storage tag */
	uint8_t csi; /* command set, NVME_CSI_* */
	uint8_t held; /* ns.c: not to become active */
	uint32_t seen; /* ns.c: the scan that last found it */
	/* ns.c: the scan that found it in the place of something else with this identifier */
	uint32_t since;
	struct plx_nvme_ctrlr *ctrlr;
	struct plx_nvme_zns zns; /* zone_blocks 0: not zoned */
	struct nvme_id_ns id; /* cold */
} plx_aligned(PLX_CACHE_LINE);

/* ---- queue.c ---- */

/** qpair_take - an identifier for one more command; the caller has seen qp->nfree > 0 */
static inline struct nvme_slot *qpair_take(struct plx_nvme_qpair *qp, uint16_t *cid)
{
	*cid = qp->free_cids[--qp->nfree];
	return &qp->slots[*cid];
}

/** slot_arm - @slot is in use from now on, for a command submitted in the current epoch */
static inline void slot_arm(struct nvme_slot *slot, plx_nvme_cb cb, void *arg, uint32_t epoch)
{
	/* as two stores: retries and aborting are the upper half of the second */
	_mm_store_si128((__m128i *)&slot->cb,
			_mm_set_epi64x((long long)(uintptr_t)arg, (long long)(uintptr_t)cb));
	*(uint64_t *)&slot->epoch = epoch;
}

/** qpair_give_back - undo qpair_take() before anything was put into the ring */
static inline void qpair_give_back(struct plx_nvme_qpair *qp, uint16_t cid)
{
	qp->free_cids[qp->nfree++] = cid;
}

/**
 * qpair_put - the command is complete in eight words: into its slot, from where the next flush
 * copies it into the ring
 *
 * The ring's lines are held by the controller's core as well. Stores leave a core in order, so one
 * that waits for such a line holds up all that follow it: put into the ring here, between the many
 * stores that an I/O takes elsewhere, only two or three lines would be on their way at once; copied
 * by a loop that stores nothing else, a dozen are.
 *
 * Gathered in registers, not in memory: the compiler would store @w word by word and load it again
 * two words at a time, and such a load waits for the stores.
 */
static inline void qpair_put(struct plx_nvme_qpair *qp, struct nvme_slot *slot, const uint64_t w[8])
{
	__m128i *ring = (__m128i *)&qp->sq[qp->sq_tail];
	__m128i *copy = (__m128i *)&slot->cmd;
	__m128i v0 = _mm_set_epi64x((long long)w[1], (long long)w[0]);
	__m128i v1 = _mm_set_epi64x((long long)w[3], (long long)w[2]);
	__m128i v2 = _mm_set_epi64x((long long)w[5], (long long)w[4]);
	__m128i v3 = _mm_set_epi64x((long long)w[7], (long long)w[6]);

	if (qp->sq_tail == qp->sq_direct) {
		_mm_store_si128(&ring[0], v0);
		_mm_store_si128(&ring[1], v1);
		_mm_store_si128(&ring[2], v2);
		_mm_store_si128(&ring[3], v3);
	}
	_mm_store_si128(&copy[0], v0);
	_mm_store_si128(&copy[1], v1);
	_mm_store_si128(&copy[2], v2);
	_mm_store_si128(&copy[3], v3);
	qp->sq_order[qp->sq_tail] = (uint16_t)(w[0] >> 16);
	qp->sq_tail = (uint16_t)(qp->sq_tail + 1) == qp->sq_size ? 0 : qp->sq_tail + 1;
}

/** qpair_put_cmd - the same for a command in a struct, for the less frequent kinds; slot->cb and
 *  arg are set by it */
void qpair_put_cmd(struct plx_nvme_qpair *qp, struct nvme_slot *slot,
		   const struct plx_nvme_cmd *cmd, plx_nvme_cb cb, void *arg);

/** qpair_write_sq - what was put since the last call, into the ring, and the doorbell (queue.c) */
void qpair_write_sq(struct plx_nvme_qpair *qp);

static inline void qpair_ring_sq(struct plx_nvme_qpair *qp)
{
	if (qp->sq_tail != qp->sq_rung)
		qpair_write_sq(qp);
}

/** qpair_no_slot - why nfree is 0. Return: -EAGAIN (full, or reset under way) or -ENXIO (failed) */
int qpair_no_slot(struct plx_nvme_qpair *qp);
/** qpair_complete_slot - call back as if the device had completed with @status (without phase) */
void qpair_complete_slot(struct plx_nvme_qpair *qp, uint16_t cid, uint16_t status, uint32_t dw0);

/* ---- qpair.c ---- */

/** qpair_init - rings, slots and PRP list memory for @size entries; used for the admin queue too
 *  (qid 0). Return: 0 or -errno */
int qpair_init(struct plx_nvme_qpair *qp, struct plx_nvme_ctrlr *c, uint16_t qid, uint32_t size,
	       int numa);
void qpair_fini(struct plx_nvme_qpair *qp);
/** qpair_attention - ctl.want has changed: do what it says. Return: completions called back, or
 *  -ENXIO when failed and drained */
int qpair_attention(struct plx_nvme_qpair *qp);
/** qpair_housekeep - every NVME_HOUSEKEEP_POLLS polls: advance the epoch, look for commands that
 *  took too long. Every poll for a device that needs more than memory to be reached */
void qpair_housekeep(struct plx_nvme_qpair *qp);
/** qpair_send_doorbells - those that the hot path keeps in memory */
void qpair_send_doorbells(struct plx_nvme_qpair *qp);
/** qpair_bad_cqe - a completion with an identifier that is not outstanding: the controller is
 *  broken */
void qpair_bad_cqe(struct plx_nvme_qpair *qp, const struct plx_nvme_cpl *cpl);
/** qpair_retry - @cpl failed without DNR. Return: true when it was put in the ring again (or will
 *  be), so no callback now */
bool qpair_retry(struct plx_nvme_qpair *qp, uint16_t cid, const struct plx_nvme_cpl *cpl);

/* ---- dptr.c ---- */

enum {
	NVME_SGL_AVAILABLE = 1, /* for what PRPs cannot express */
	NVME_SGL_ALWAYS = 2, /* asked for */
	NVME_SGL_BUCKET = 8, /* bit buckets */
	NVME_SGL_MPTR = 4, /* metadata may be scattered too, PSDT 10b */
	NVME_SGL_APART = 16, /* a descriptor at least for each buffer: asked for */
};
/** dptr_sgl_modes - NVME_SGL_* for a queue pair: @sgls of Identify Controller, @use_sgl and
 *  @apart (sgl_apart) of the options */
uint8_t dptr_sgl_modes(uint32_t sgls, bool use_sgl, bool apart);
/**
 * dptr_list_bytes - list memory that each slot needs for commands of up to @max_io_bytes
 *
 * At most a page: a power of two, to be aligned to itself. Above: whole pages, page aligned.
 */
uint32_t dptr_list_bytes(uint32_t max_io_bytes, uint8_t sgl_modes);

/**
 * dptr_build - fill @cmd's data pointer (and MPTR) from iovecs, as PRPs or, with @sgl, as SGLs
 * @slot: whose list memory may be used
 * @len: bytes of data; the iovecs hold at least so many
 * Return: 0; -EINVAL misaligned, too short or not expressible; -EFAULT unreachable memory; -E2BIG
 * needs more than list memory holds
 */
int dptr_build(struct plx_nvme_qpair *qp, struct nvme_slot *slot, struct plx_nvme_cmd *cmd,
	       const struct iovec *iov, int iovcnt, uint64_t len, void *md, uint32_t md_len,
	       bool sgl);

/* ---- ns_cmd_more.c, split.c: what plx_nvme_read() and its kin fall into ---- */

/** ns_rw_slow - everything but the plain case: checks, builds, splits. Errors as the public
 *  functions */
int ns_rw_slow(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint8_t opc,
	       const struct plx_nvme_rw *rw, plx_nvme_cb cb, void *arg);

/** split_pool_init - room for @n I/Os under way that take several commands; before the first
 *  submission. Return: 0 or -ENOMEM */
int split_pool_init(struct plx_nvme_qpair *qp, uint32_t n);
/** split_caller_arg - the argument that the caller's callback gets in the end, of a command with
 *  @cb and @arg */
void *split_caller_arg(plx_nvme_cb cb, void *arg);
/** split_pool_fini - no I/O is outstanding; harmless when never initialised */
void split_pool_fini(struct plx_nvme_qpair *qp);

#endif
