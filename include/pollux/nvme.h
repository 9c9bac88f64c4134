/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme.h - the userspace NVMe driver
 *
 * Life of a program: plx_env_init(), plx_nvme_connect(), plx_nvme_qpair_create() in each thread
 * that does I/O, then submit and plx_nvme_qpair_poll(). No call blocks or locks but those marked
 * "set-up", which are not for callbacks of I/O commands.
 *
 * Threads: a controller belongs to the thread that calls plx_nvme_ctrlr_poll(), a queue pair to the
 * thread that submits to it and polls it. The two never touch each other's cache lines but for one
 * request word.
 *
 * Status: callbacks get the completion queue entry; plx_nvme_status() takes its status without the
 * phase bit.
 */
#ifndef POLLUX_NVME_H
#define POLLUX_NVME_H

#include <pollux/env.h>
#include <pollux/nvme_spec.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct plx_nvme_ctrlr;
struct plx_nvme_ns;
struct plx_nvme_qpair;

/* ---- transport identifiers: "trtype:PCIe traddr:0000:04:00.0 ns:1" ---- */

enum plx_nvme_trtype {
	PLX_NVME_TR_PCIE,
	PLX_NVME_TR_VIRTUAL, /* a controller in this process, traddr: its name */
	PLX_NVME_TR_VFIOUSER,
	PLX_NVME_TR_TCP,
	PLX_NVME_TR_RDMA,
	PLX_NVME_TR_MAX,
};

struct plx_nvme_trid {
	enum plx_nvme_trtype trtype;
	char traddr[257];
	char trsvcid[33];
	char subnqn[224];
	char hostnqn[224];
	char adrfam[8]; /* "IPv4", "IPv6", "IB", or "" */
	uint32_t nsid; /* "ns:", 0 for all */
	uint32_t priority;
};

/**
 * plx_nvme_trid_parse - key:value or key=value pairs separated by white space; keys and trtype in
 * any case
 * Return: 0; -EINVAL with a sentence in @err that names the key and the remedy.
 */
int plx_nvme_trid_parse(struct plx_nvme_trid *trid, const char *text, char *err, size_t errlen);
/** plx_nvme_trid_format - the shortest text that parses to the same. Return: @buf */
char *plx_nvme_trid_format(const struct plx_nvme_trid *trid, char *buf, size_t len);
const char *plx_nvme_trtype_name(enum plx_nvme_trtype t);

/* ---- controllers ---- */

enum plx_nvme_timeout_action {
	PLX_NVME_TIMEOUT_NONE, /* wait for ever */
	/* Abort, and if the command outlives that by one more timeout, reset */
	PLX_NVME_TIMEOUT_ABORT,
	PLX_NVME_TIMEOUT_RESET, /* reset at once */
};
enum plx_nvme_reset_policy {
	PLX_NVME_RESET_FAIL_IO, /* outstanding I/O completes with ABORTED - SQ DELETION */
	/*
	 * outstanding I/O is submitted again, a command at most @retry_count times, once the
	 * namespaces have been looked at: with INVALID NAMESPACE OR FORMAT fails what was for one
	 * that is gone, or another by now, with LBA OUT OF RANGE what is behind its new end
	 */
	PLX_NVME_RESET_RESUBMIT_IO,
};

/** enum plx_nvme_shadow - doorbells in memory, which an emulated controller looks at (Doorbell
 *  Buffer
 *  Config, §5.8): each store to a register that is saved is an exit of the guest */
enum plx_nvme_shadow {
	PLX_NVME_SHADOW_AUTO, /* where the controller has them and its registers are a PCIe BAR */
	PLX_NVME_SHADOW_NEVER,
	PLX_NVME_SHADOW_ALWAYS, /* wherever the controller has them */
};

struct plx_nvme_ctrlr_opts {
	size_t size; /* sizeof(struct plx_nvme_ctrlr_opts), set by the init function */
	uint32_t num_io_queues; /* wanted; 0: as many as the controller gives, at most 128 */
	uint32_t admin_queue_size; /* entries, 2..4096; 0: 64 */
	uint32_t keep_alive_ms; /* 0: none (PCIe has none by default) */
	uint32_t timeout_ms; /* per I/O command; 0: none; default 30,000 */
	uint32_t admin_timeout_ms; /* 0: 60,000 */
	enum plx_nvme_timeout_action timeout_action;
	enum plx_nvme_reset_policy reset_policy;
	uint32_t retry_count; /* for statuses without DNR, and for resubmission; default 4 */
	uint32_t max_io_bytes; /* lowers MDTS, for tests; 0: the controller's */
	bool no_shutdown; /* plx_nvme_disconnect() leaves out the shutdown notification (§3.6.1) */
	bool use_sgl; /* use SGLs for I/O where the controller has them */
	/* in SGLs, do not describe buffers that are adjacent in memory by one descriptor */
	bool sgl_apart;
	/* have interrupt vectors, for the queue pairs that ask for them. No more than a warning
	 * where there are none */
	bool interrupts;
	enum plx_nvme_shadow shadow_doorbells;
	char hostnqn[224];
	/* Format NVM, Sanitize, firmware and namespace management; 0: 600,000 */
	uint32_t long_admin_timeout_ms;
	/* MiB that a controller which wants a host memory buffer gets at most; 0: none; default
	 * 64 */
	uint32_t host_memory_mb;
	/* weighted round robin with an urgent class (CC.AMS), where the controller has it; else a
	 * warning. Weights and burst as in struct plx_nvme_arbitration; weights of 0: the
	 * controller's */
	bool weighted_arbitration;
	uint32_t arb_burst, arb_low, arb_medium, arb_high;
	/* the controller memory buffer (pollux/nvme_memory.h), where the controller has one, else a
	 * warning: for the submission queues of queue pairs, as long as there is room; for data */
	bool use_cmb_sqs, use_cmb_data;
	/* 0 or more: share the controller with processes of the same user that give the same
	 * number (PCIe). The first of them owns it; for the others it has neither shadow doorbells
	 * nor interrupts, and ends with the owner. Connecting waits for an owner that is just
	 * starting, up to 30 s. -1, the default: no sharing */
	int32_t share_id;
};
void plx_nvme_ctrlr_opts_init(struct plx_nvme_ctrlr_opts *opts);

/**
 * plx_nvme_connect - attach to a controller and bring it up (set-up: blocks, polls the current
 * plx_thread)
 * @opts: NULL for the defaults
 * Return: the controller, owned by the calling thread, with its namespaces known; NULL with errno:
 * ENODEV no such device, EPROTONOSUPPORT no such transport, ETIMEDOUT (a state's deadline passed;
 * the log names it), EIO, ENOMEM.
 */
struct plx_nvme_ctrlr *plx_nvme_connect(const struct plx_nvme_trid *trid,
					const struct plx_nvme_ctrlr_opts *opts);
/** plx_nvme_connect_start / _poll - the same in steps. _poll Return: -EAGAIN while under way; 0
 *  done; -errno failed (freed) */
struct plx_nvme_ctrlr *plx_nvme_connect_start(const struct plx_nvme_trid *trid,
					      const struct plx_nvme_ctrlr_opts *opts);
int plx_nvme_connect_poll(struct plx_nvme_ctrlr *c);
/** plx_nvme_disconnect - delete queues, shut down (§3.6.1), free (set-up). All queue pairs must be
 *  destroyed. */
void plx_nvme_disconnect(struct plx_nvme_ctrlr *c);

/**
 * plx_nvme_ctrlr_poll - admin completions, AERs, keep-alive, timeouts of admin commands, aborts,
 * resets under way
 * Call it every few milliseconds. Return: completions handled; -ENXIO once the controller is gone
 * or failed.
 */
int plx_nvme_ctrlr_poll(struct plx_nvme_ctrlr *c);
/** plx_nvme_ctrlr_reset - start a controller reset (§3.7.2); ctrlr_poll and qpair polls carry it
 *  out.
 *  Return: 0; -EBUSY one is under way; -ENXIO. */
int plx_nvme_ctrlr_reset(struct plx_nvme_ctrlr *c);
enum plx_nvme_ctrlr_state {
	PLX_NVME_CTRLR_CONNECTING,
	PLX_NVME_CTRLR_READY,
	PLX_NVME_CTRLR_RESETTING,
	PLX_NVME_CTRLR_FAILED
};
enum plx_nvme_ctrlr_state plx_nvme_ctrlr_state(const struct plx_nvme_ctrlr *c);
/** plx_nvme_ctrlr_settle - wait until no reset is under way (set-up; any thread). Return: 0; -ENXIO
 *  it has failed */
int plx_nvme_ctrlr_settle(struct plx_nvme_ctrlr *c);
/* sentence; "" while not failed */
const char *plx_nvme_ctrlr_failure(const struct plx_nvme_ctrlr *c);

struct plx_nvme_ctrlr_stats {
	uint64_t resets, timeouts, aborts_sent, aborts_ok, aers, keep_alives, failed_ios;
};
void plx_nvme_ctrlr_get_stats(const struct plx_nvme_ctrlr *c, struct plx_nvme_ctrlr_stats *out);

const struct plx_nvme_trid *plx_nvme_ctrlr_trid(const struct plx_nvme_ctrlr *c);
const struct nvme_id_ctrl *plx_nvme_ctrlr_data(const struct plx_nvme_ctrlr *c);
uint64_t plx_nvme_ctrlr_cap(const struct plx_nvme_ctrlr *c);
uint32_t plx_nvme_ctrlr_vs(const struct plx_nvme_ctrlr *c);
/** plx_nvme_ctrlr_read_register - a controller register (NVMe Base Specification 2.0c §3.1.3);
 *  set-up
 * @offset: bytes, below 1000h, a multiple of @size; @size: 4 or 8 bytes
 * Return: 0 with *@value; -EINVAL; -ENXIO when the controller is gone, which reads as all ones. */
int plx_nvme_ctrlr_read_register(struct plx_nvme_ctrlr *c, uint32_t offset, unsigned size,
				 uint64_t *value);
/** plx_nvme_ctrlr_read_config - @len bytes of PCI configuration space at @offset; set-up
 * Return: 0; -EINVAL beyond 4096 bytes; -ENOTSUP where the transport has none; as the backend. */
int plx_nvme_ctrlr_read_config(struct plx_nvme_ctrlr *c, uint32_t offset, void *buf, unsigned len);
/* one command, after MDTS and opts */
uint32_t plx_nvme_ctrlr_max_io_bytes(const struct plx_nvme_ctrlr *c);
uint32_t plx_nvme_ctrlr_max_queue_size(const struct plx_nvme_ctrlr *c); /* entries */
uint32_t plx_nvme_ctrlr_num_io_queues(const struct plx_nvme_ctrlr *c); /* granted */
int plx_nvme_ctrlr_numa(const struct plx_nvme_ctrlr *c);

/** enum plx_nvme_iova_mode - by which addresses a controller reaches memory */
enum plx_nvme_iova_mode {
	PLX_NVME_IOVA_VA, /* virtual ones of this process */
	PLX_NVME_IOVA_MAPPED, /* chosen by the driver, as its IOMMU is too narrow for those */
	PLX_NVME_IOVA_PA, /* physical ones: it is behind no IOMMU */
};
enum plx_nvme_iova_mode plx_nvme_ctrlr_iova_mode(const struct plx_nvme_ctrlr *c);
/** plx_nvme_iova_mode_name - "VA", "IOVA", "PA" */
const char *plx_nvme_iova_mode_name(enum plx_nvme_iova_mode mode);

/** plx_nvme_aer_cb - an asynchronous event (§5.2): dw0 of its completion; from
 *  plx_nvme_ctrlr_poll() */
typedef void (*plx_nvme_aer_cb)(void *arg, const struct plx_nvme_cpl *cpl);
void plx_nvme_ctrlr_set_aer_cb(struct plx_nvme_ctrlr *c, plx_nvme_aer_cb cb, void *arg);

/* ---- hot plug: NVMe functions of the PCIe bus that come and go ----
 *
 * A controller whose function is pulled fails by itself: its polls return -ENXIO. What comes is
 * connected as ever once a kernel driver has it that lets programs at it (BOUND).
 */

enum plx_nvme_hotplug_kind {
	PLX_NVME_HOTPLUG_ADDED, /* the function is there, without a driver yet */
	PLX_NVME_HOTPLUG_REMOVED,
	PLX_NVME_HOTPLUG_BOUND, /* to @driver */
	PLX_NVME_HOTPLUG_UNBOUND,
};
struct plx_nvme_hotplug_event {
	enum plx_nvme_hotplug_kind kind;
	char traddr[20]; /* "0000:04:00.0" */
	char driver[40]; /* where the kernel names it, else "" */
};
struct plx_nvme_hotplug;
/** plx_nvme_hotplug_open - begin to listen to the kernel; needs no privilege, and no environment.
 *  Return: NULL with errno, logged */
struct plx_nvme_hotplug *plx_nvme_hotplug_open(void);
void plx_nvme_hotplug_close(struct plx_nvme_hotplug *h);
/** plx_nvme_hotplug_fd - readable when there may be an event */
int plx_nvme_hotplug_fd(const struct plx_nvme_hotplug *h);
/** plx_nvme_hotplug_next - does not wait. Return: 1 and *@ev; 0 none; -ENOBUFS events were lost:
 *  look at all devices; other -errno */
int plx_nvme_hotplug_next(struct plx_nvme_hotplug *h, struct plx_nvme_hotplug_event *ev);

/* ---- namespaces: objects of the controller, valid until it is disconnected ---- */

/** plx_nvme_ctrlr_ns - active namespace by identifier; NULL when there is none */
struct plx_nvme_ns *plx_nvme_ctrlr_ns(struct plx_nvme_ctrlr *c, uint32_t nsid);
/** plx_nvme_ctrlr_next_ns - next active identifier above @nsid (0 to start); 0 at the end */
uint32_t plx_nvme_ctrlr_next_ns(struct plx_nvme_ctrlr *c, uint32_t nsid);
/** plx_nvme_ctrlr_ns_scans - another number after each look at the namespaces, at whose end they
 *  may have changed. Any thread */
uint32_t plx_nvme_ctrlr_ns_scans(const struct plx_nvme_ctrlr *c);
uint32_t plx_nvme_ns_id(const struct plx_nvme_ns *ns);
struct plx_nvme_ctrlr *plx_nvme_ns_ctrlr(const struct plx_nvme_ns *ns);
uint64_t plx_nvme_ns_blocks(const struct plx_nvme_ns *ns); /* NSZE */
uint32_t plx_nvme_ns_block_size(const struct plx_nvme_ns *ns); /* data bytes of a logical block */
uint32_t plx_nvme_ns_md_size(const struct plx_nvme_ns *ns); /* metadata bytes of a logical block */
/* metadata follows each block's data in the buffer */
bool plx_nvme_ns_md_extended(const struct plx_nvme_ns *ns);
/* block + metadata when extended */
uint32_t plx_nvme_ns_xfer_block_size(const struct plx_nvme_ns *ns);
unsigned plx_nvme_ns_pi_type(const struct plx_nvme_ns *ns); /* 0 none, 1..3 */
bool plx_nvme_ns_pi_first(const struct plx_nvme_ns *ns);
unsigned plx_nvme_ns_pi_guard(const struct plx_nvme_ns *ns); /* bits: 16, 32 or 64 */
/* of storage and reference tag together, from the top on, the bits that are the storage tag */
unsigned plx_nvme_ns_storage_tag_bits(const struct plx_nvme_ns *ns);
uint32_t plx_nvme_ns_max_io_blocks(const struct plx_nvme_ns *ns); /* one command */
const struct nvme_id_ns *plx_nvme_ns_data(const struct plx_nvme_ns *ns);

/* ---- queue pairs ---- */

struct plx_nvme_qpair_opts {
	size_t size;
	uint32_t queue_size; /* entries of the submission queue; 0: 256; lowered to CAP.MQES */
	uint32_t max_split_ios; /* commands larger than MDTS outstanding at once; default 64 */
	int numa; /* node for the rings; PLX_NUMA_ANY: the device's */
	bool interrupts; /* completions are signalled, see plx_nvme_qpair_fd() */
	/* PLX_NVME_PRIO_*: with weighted_arbitration of the controller's options */
	uint8_t priority;
};
/* QPRIO of Create I/O Submission Queue, §5.5 */
enum { PLX_NVME_PRIO_URGENT, PLX_NVME_PRIO_HIGH, PLX_NVME_PRIO_MEDIUM, PLX_NVME_PRIO_LOW };
void plx_nvme_qpair_opts_init(struct plx_nvme_qpair_opts *opts);

/**
 * plx_nvme_qpair_create - create an I/O completion and submission queue (§5.4, §5.5); set-up,
 * blocks. Called in the thread that will own it. Controller calls are made under its own lock for
 * set-up, so threads other than the controller's may create and destroy queue pairs while its owner
 * polls it.
 * Return: NULL with errno: ENOSPC no queue left, ENOMEM, EIO, ENXIO, EAGAIN a reset is under way.
 */
struct plx_nvme_qpair *plx_nvme_qpair_create(struct plx_nvme_ctrlr *c,
					     const struct plx_nvme_qpair_opts *opts);
/** plx_nvme_qpair_destroy - outstanding commands are called back with ABORTED - SQ DELETION;
 *  set-up */
void plx_nvme_qpair_destroy(struct plx_nvme_qpair *qp);
uint32_t plx_nvme_qpair_depth(const struct plx_nvme_qpair *qp); /* commands that fit at once */
uint16_t plx_nvme_qpair_id(const struct plx_nvme_qpair *qp);

/** plx_nvme_cb - one command is done; @cpl lives until the callback returns; may submit, may not
 *  poll */
typedef void (*plx_nvme_cb)(void *arg, const struct plx_nvme_cpl *cpl);

static inline uint16_t plx_nvme_status(const struct plx_nvme_cpl *cpl)
{
	return cpl->status >> 1;
}
static inline bool plx_nvme_ok(const struct plx_nvme_cpl *cpl)
{
	return !(cpl->status >> 1);
}
/** plx_nvme_status_text - e.g. "LBA OUT OF RANGE (00/80)", with DNR named; @buf of 96 bytes.
 *  Return: @buf */
char *plx_nvme_status_text(uint16_t status, char *buf, size_t len);

/**
 * plx_nvme_qpair_poll - ring the submission doorbell, handle completions
 * @max: completions at most; 0 for all that are there
 *
 * Commands submitted from callbacks share one doorbell write at the end. Return: completions
 * handled; -ENXIO once the controller has failed and every outstanding command has been called
 * back.
 */
int plx_nvme_qpair_poll(struct plx_nvme_qpair *qp, uint32_t max);
/** plx_nvme_qpair_flush - ring the submission doorbell now; where that is a message to another
 *  process (VFIOUSER, when it lets no doorbells be mapped), the next poll sends it */
void plx_nvme_qpair_flush(struct plx_nvme_qpair *qp);
uint32_t plx_nvme_qpair_outstanding(const struct plx_nvme_qpair *qp);

/**
 * plx_nvme_qpair_abort - ask for the end of commands under way (Abort, §5.1)
 * @match: called with the callback argument of each, and @arg: whether it is one of them
 *
 * They come back by their callbacks as ever: most with COMMAND ABORT REQUESTED, some from here.
 * The controller is asked for one at a time: call this again, after polls, while it returns more
 * than 0. What a controller cannot end comes back by the timeout, if there is one, or a reset.
 * Return: matching commands still under way
 */
uint32_t plx_nvme_qpair_abort(struct plx_nvme_qpair *qp, bool (*match)(void *cb_arg, void *arg),
			      void *arg);

/* ---- waiting for interrupts ----
 *
 * A queue pair made with opts.interrupts, of a controller made so, can be waited for instead of
 * polled all the time:
 *
 *	while (plx_nvme_qpair_poll(qp, 0) >= 0)
 *		if (plx_nvme_qpair_arm(qp))
 *			epoll_wait(...) for plx_nvme_qpair_fd(), for a second at most
 *
 * A deadline is needed for command timeouts, which are looked at in polls.
 */

/** plx_nvme_qpair_fd - an eventfd, the driver's, for epoll with EPOLLIN | EPOLLET: it need not be
 *  read then. Return: the descriptor; -ENOTSUP: no interrupts, this one has to be polled */
int plx_nvme_qpair_fd(const struct plx_nvme_qpair *qp);
/** plx_nvme_qpair_arm - before waiting; the owner. Rings doorbells. Return: true when nothing is
 *  there yet; false: poll first */
bool plx_nvme_qpair_arm(struct plx_nvme_qpair *qp);

struct plx_nvme_qpair_stats {
	uint64_t submissions, completions, polls, empty_polls, sq_doorbells, cq_doorbells, splits,
		retries, queue_full;
};
void plx_nvme_qpair_get_stats(const struct plx_nvme_qpair *qp, struct plx_nvme_qpair_stats *out);

/* ---- I/O commands ----
 *
 * Common to all: @qp is owned by the calling thread. Nothing is written to the device before the
 * next poll or flush.
 * @cb is called from plx_nvme_qpair_poll(), never from here.
 * Return: 0; -EAGAIN when the queue is full or a reset is under way (poll, then retry); -EINVAL for
 * a range outside the namespace or a malformed argument; -EFAULT for memory no device can reach;
 * -ENXIO once the controller has failed;
 * -ENOTSUP when the controller lacks the command.
 */

/** plx_nvme_read - @nlb logical blocks (1-based) from @slba into @buf: 4-byte aligned, @nlb
 *  transfer blocks long */
int plx_nvme_read(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, void *buf, uint64_t slba,
		  uint32_t nlb, plx_nvme_cb cb, void *arg);
int plx_nvme_write(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const void *buf,
		   uint64_t slba, uint32_t nlb, plx_nvme_cb cb, void *arg);

/**
 * struct plx_nvme_rw - everything a read, write, compare or verify can carry
 * @iov: pieces of data, dword aligned; kept by the caller until the callback
 * @md: separate metadata, nlb * md_size bytes, contiguous; NULL where there is none or it is
 * extended
 * @flags: PLX_NVME_RW_* bits of CDW12
 * @cdw13: dataset management and directive bits
 * @reftag: initial (expected) logical block reference tag
 * @apptag, @appmask: logical block application tag and mask
 * @buckets: of a read, pieces at PLX_NVME_BIT_BUCKET are dropped by the controller (SGL bit bucket
 *           descriptors, §4.1.2): -ENOTSUP where it cannot, -EINVAL for what is no read
 * @tag_hi: formats with guards of 32 or 64 bits: what storage and reference tag have beyond the 32
 *          bits of @reftag, 48 and 16 bits of it
 *
 * PRPs want pieces to meet on page boundaries. Where they do not, SGLs are used if the controller
 * has them; otherwise the I/O is split there, and refused with -EINVAL if that is within a block.
 */
struct plx_nvme_rw {
	const struct iovec *iov;
	int iovcnt;
	uint32_t nlb;
	uint64_t slba;
	void *md;
	uint32_t flags;
	uint32_t cdw13;
	uint32_t reftag;
	uint16_t apptag, appmask;
	bool buckets;
	uint64_t tag_hi;
};
/* no address of a program's memory: the upper half is the kernel's */
#define PLX_NVME_BIT_BUCKET ((void *)(UINT64_C(1) << 63))
int plx_nvme_readv(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const struct plx_nvme_rw *rw,
		   plx_nvme_cb cb, void *arg);
int plx_nvme_writev(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, const struct plx_nvme_rw *rw,
		    plx_nvme_cb cb, void *arg);
int plx_nvme_comparev(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp,
		      const struct plx_nvme_rw *rw, plx_nvme_cb cb, void *arg);
/** plx_nvme_compare_and_write - fused pair (§3.4.2); one callback, with the compare's status when
 *  that failed */
int plx_nvme_compare_and_write(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp,
			       const struct plx_nvme_rw *cmp, const struct plx_nvme_rw *wr,
			       plx_nvme_cb cb, void *arg);
int plx_nvme_verify(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba, uint32_t nlb,
		    uint32_t flags, plx_nvme_cb cb, void *arg);
int plx_nvme_flush(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, plx_nvme_cb cb, void *arg);
/** plx_nvme_write_uncorrectable - reads of these blocks fail from now on, until they are written */
int plx_nvme_write_uncorrectable(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
				 uint32_t nlb, plx_nvme_cb cb, void *arg);
int plx_nvme_write_zeroes(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t slba,
			  uint32_t nlb, uint32_t flags, plx_nvme_cb cb, void *arg);
/** plx_nvme_dsm - @ranges: 1..256, DMA memory, kept until the callback; @attrs: NVME_DSMGMT_AD and
 *  so on */
int plx_nvme_dsm(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint32_t attrs,
		 const struct nvme_dsm_range *ranges, uint32_t nr, plx_nvme_cb cb, void *arg);
/** plx_nvme_copy - @ranges: format 0, 1..256, DMA memory, kept until the callback. -ENOTSUP also on
 *  formats with guards of 32 or 64 bits (plx_nvme_ns_pi_guard()) */
int plx_nvme_copy(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t dst_slba,
		  const struct nvme_copy_range *ranges, uint32_t nr, plx_nvme_cb cb, void *arg);
/** plx_nvme_copy_f1 - the same with ranges of format 1, on those and no other formats; -ENOTSUP
 *  also where OCFS lacks it */
int plx_nvme_copy_f1(struct plx_nvme_ns *ns, struct plx_nvme_qpair *qp, uint64_t dst_slba,
		     const struct nvme_copy_range_f1 *ranges, uint32_t nr, plx_nvme_cb cb,
		     void *arg);
/**
 * plx_nvme_io_raw - any I/O command; cid and data pointers are filled in
 * @cmd: opc, nsid, cdw2.. as wanted; @iov may be empty; @md NULL or contiguous metadata of @md_len
 * bytes
 * Not split; more than the controller's limit is -EINVAL.
 */
int plx_nvme_io_raw(struct plx_nvme_qpair *qp, const struct plx_nvme_cmd *cmd,
		    const struct iovec *iov, int iovcnt, void *md, uint32_t md_len, plx_nvme_cb cb,
		    void *arg);

/* ---- admin commands: in the controller's own thread ---- */

/** plx_nvme_admin_raw - any admin command. @buf: DMA memory of @len bytes or NULL. Return: as I/O
 *  commands. */
int plx_nvme_admin_raw(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf,
		       uint32_t len, plx_nvme_cb cb, void *arg);
/**
 * plx_nvme_admin_sync - the same, waiting (set-up). @buf: any memory, @len bytes in and out.
 * Return: 0 with *@cpl filled (look at its status); -ETIMEDOUT; -EAGAIN a reset is under way; other
 * negative errno when it was never sent.
 */
int plx_nvme_admin_sync(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf,
			uint32_t len, struct plx_nvme_cpl *cpl);
/** Wrappers around it. Return: 0; a positive NVMe status; a negative errno. */
int plx_nvme_identify(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid, uint16_t cntid,
		      uint8_t csi, void *buf /* 4096 bytes */);
int plx_nvme_get_log(struct plx_nvme_ctrlr *c, uint8_t lid, uint32_t nsid, uint8_t lsp,
		     uint64_t offset, void *buf, uint32_t len);
int plx_nvme_get_feature(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t nsid, uint8_t sel,
			 uint32_t cdw11, void *buf, uint32_t len, uint32_t *value);
int plx_nvme_set_feature(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t nsid, bool save,
			 uint32_t cdw11, uint32_t cdw12, void *buf, uint32_t len, uint32_t *value);

#ifdef __cplusplus
}
#endif
#endif
