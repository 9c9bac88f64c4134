/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/bdev.h - the block layer: devices, descriptors, channels, I/O; and the interface of its
 * modules
 *
 * A caller opens a descriptor, gets a channel in each thread that does I/O, and submits iovecs.
 * Buffers, iovec arrays and metadata stay the caller's and must live until the callback.
 *
 * Callbacks come in the thread that submitted, and MAY COME BEFORE THE SUBMITTING CALL RETURNS: a
 * device that completes at once costs no extra turn. The layer bounds the recursion
 * (PLX_BDEV_MAX_DEPTH submissions deep, then completions wait for the next turn), so a callback may
 * submit.
 *
 * Status is the NVMe status field (type and code, without phase): 0 is success.
 * plx_bdev_scsi_sense() gives the
 * SCSI form of it.
 */
#ifndef POLLUX_BDEV_H
#define POLLUX_BDEV_H

#include <pollux/env.h>
#include <pollux/histogram.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct plx_bdev;
struct plx_bdev_desc;
struct plx_bdev_channel;
struct plx_bdev_io;
struct json_t; /* jansson */

#define PLX_BDEV_NAME_MAX  256
#define PLX_BDEV_MAX_DEPTH 4

enum plx_bdev_io_type {
	PLX_BDEV_READ,
	PLX_BDEV_WRITE,
	PLX_BDEV_FLUSH,
	PLX_BDEV_UNMAP,
	PLX_BDEV_WRITE_ZEROES,
	PLX_BDEV_COMPARE,
	PLX_BDEV_COMPARE_AND_WRITE,
	/* read without data transfer: media and protection information are checked */
	PLX_BDEV_VERIFY,
	PLX_BDEV_COPY,
	PLX_BDEV_RESET,
	PLX_BDEV_ABORT,
	PLX_BDEV_IO_TYPES,
};
const char *plx_bdev_io_type_name(enum plx_bdev_io_type t); /* "read", "write", ... */
int plx_bdev_io_type_parse(const char *name); /* the type, or -EINVAL */

/* Status codes of the layer itself, NVMe form (type << 8 | code) */
enum {
	PLX_BDEV_OK = 0,
	PLX_BDEV_ST_INTERNAL = 0x006,
	PLX_BDEV_ST_ABORTED = 0x007,
	PLX_BDEV_ST_INVALID_OPCODE = 0x001,
	PLX_BDEV_ST_INVALID_FIELD = 0x002,
	PLX_BDEV_ST_LBA_RANGE = 0x080,
	PLX_BDEV_ST_NS_NOT_READY = 0x082,
	PLX_BDEV_ST_MISCOMPARE = 0x285,
	PLX_BDEV_ST_READ_ERROR = 0x281,
	PLX_BDEV_ST_WRITE_FAULT = 0x280,
	PLX_BDEV_ST_GUARD = 0x282,
	PLX_BDEV_ST_APPTAG = 0x283,
	PLX_BDEV_ST_REFTAG = 0x284,
};

struct plx_scsi_sense {
	uint8_t status, key, asc, ascq;
};
/** plx_bdev_scsi_sense - SCSI status, sense key, ASC, ASCQ for an NVMe-form status (NVMe SCSI
 *  translation) */
struct plx_scsi_sense plx_bdev_scsi_sense(uint16_t status);

enum plx_bdev_dif {
	PLX_BDEV_DIF_NONE,
	PLX_BDEV_DIF_TYPE1,
	PLX_BDEV_DIF_TYPE2,
	PLX_BDEV_DIF_TYPE3,
};

/* ---- using a device ---- */

enum plx_bdev_event { PLX_BDEV_EVENT_REMOVE, PLX_BDEV_EVENT_RESIZE };
/** plx_bdev_event_cb - in the thread that opened the descriptor; on REMOVE the owner must close it
 *  soon */
typedef void (*plx_bdev_event_cb)(enum plx_bdev_event e, struct plx_bdev *bdev, void *arg);

/**
 * plx_bdev_open - Return: 0 and *@desc; -ENODEV no bdev of that name or alias; -ENOMEM
 *
 * Events come in the current thread's turns; where there is none, in the thread that causes them.
 */
int plx_bdev_open(const char *name, bool write, plx_bdev_event_cb cb, void *arg,
		  struct plx_bdev_desc **desc);
/** plx_bdev_close - all channels must have been put. */
void plx_bdev_close(struct plx_bdev_desc *desc);
struct plx_bdev *plx_bdev_desc_bdev(const struct plx_bdev_desc *desc);

/** plx_bdev_get_channel - the current plx_thread's channel of the device (counted). NULL with errno
 *  ENOMEM, EPERM. */
struct plx_bdev_channel *plx_bdev_get_channel(struct plx_bdev_desc *desc);
void plx_bdev_put_channel(struct plx_bdev_channel *ch);

/** plx_bdev_cb - @io, and its status, are valid until the callback returns */
typedef void (*plx_bdev_cb)(struct plx_bdev_io *io, void *arg);

/**
 * struct plx_bdev_rw - a read, write, compare or verify, in blocks
 * @md: separate metadata, blocks * md_size bytes contiguous; NULL where there is none
 * @dif: which PLX_BDEV_CHECK_* the device shall check; initial reference tag, application tag and
 * its mask
 */
struct plx_bdev_rw {
	struct iovec *iov;
	int iovcnt;
	uint64_t offset;
	uint64_t blocks;
	void *md;
	uint32_t reftag;
	uint16_t apptag, appmask;
	uint8_t check; /* PLX_BDEV_CHECK_* */
	uint8_t flags; /* PLX_BDEV_F_* */
};
enum {
	PLX_BDEV_CHECK_GUARD = 1,
	PLX_BDEV_CHECK_APP = 2,
	PLX_BDEV_CHECK_REF = 4,
	PLX_BDEV_PRACT = 8
};
enum { PLX_BDEV_F_FUA = 1 };

/*
 * Submission. Return of all: 0; -EINVAL bad range or iovecs (a range past the end, an empty
 * request, iovecs that do not add up);
 * -ENOMEM out of I/O objects: use plx_bdev_queue_wait(); -EBADF a write through a read-only
 * descriptor;
 * -ENOTSUP the device cannot; -ENODEV removed (reset and abort still work, to bring back what
 * hangs). When the return is not 0 the callback is never called.
 */
int plx_bdev_readv(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, struct iovec *iov,
		   int iovcnt, uint64_t offset, uint64_t blocks, plx_bdev_cb cb, void *arg);
int plx_bdev_writev(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, struct iovec *iov,
		    int iovcnt, uint64_t offset, uint64_t blocks, plx_bdev_cb cb, void *arg);
/** plx_bdev_rw_ext - @type: READ, WRITE, COMPARE or VERIFY with all there is */
int plx_bdev_rw_ext(struct plx_bdev_desc *d, struct plx_bdev_channel *ch,
		    enum plx_bdev_io_type type, const struct plx_bdev_rw *rw, plx_bdev_cb cb,
		    void *arg);
/** plx_bdev_compare_and_write - atomic on the device; @cmp_iov and @iov of @blocks blocks each */
int plx_bdev_compare_and_write(struct plx_bdev_desc *d, struct plx_bdev_channel *ch,
			       struct iovec *cmp_iov, int cmp_iovcnt, struct iovec *iov, int iovcnt,
			       uint64_t offset, uint64_t blocks, plx_bdev_cb cb, void *arg);
int plx_bdev_flush(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t offset,
		   uint64_t blocks, plx_bdev_cb cb, void *arg);
int plx_bdev_unmap(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t offset,
		   uint64_t blocks, plx_bdev_cb cb, void *arg);
int plx_bdev_write_zeroes(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t offset,
			  uint64_t blocks, plx_bdev_cb cb, void *arg);
/** plx_bdev_copy - also -EINVAL where source and destination overlap */
int plx_bdev_copy(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, uint64_t dst, uint64_t src,
		  uint64_t blocks, plx_bdev_cb cb, void *arg);
/** plx_bdev_reset - fences new I/O on every channel, aborts what is outstanding, resets the device,
 *  lets go */
int plx_bdev_reset(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, plx_bdev_cb cb, void *arg);
/** plx_bdev_abort - abort every I/O on @ch that was submitted with callback argument @io_arg.
 *  Status INTERNAL when none was aborted. */
int plx_bdev_abort(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, void *io_arg,
		   plx_bdev_cb cb, void *arg);

/** struct plx_bdev_wait - one caller waiting for I/O objects; zeroed by the caller, owned by it
 *  until called */
struct plx_bdev_wait {
	void (*cb)(void *arg);
	void *arg;
	struct plx_bdev_wait *next, *prev; /* the layer's own */
};
/** plx_bdev_queue_wait - @w->cb is called once, never from here, when it is worth trying again.
 *  Return: 0 */
int plx_bdev_queue_wait(struct plx_bdev_channel *ch, struct plx_bdev_wait *w);
/** plx_bdev_cancel_wait - does nothing when @w does not wait */
void plx_bdev_cancel_wait(struct plx_bdev_channel *ch, struct plx_bdev_wait *w);

struct plx_bdev_stat {
	uint64_t ops[PLX_BDEV_IO_TYPES]; /* completed, whatever the status */
	uint64_t bytes[PLX_BDEV_IO_TYPES];
	uint64_t latency_tsc[PLX_BDEV_IO_TYPES]; /* sum; resolution is one turn of the thread */
	uint64_t errors[PLX_BDEV_IO_TYPES];
	uint64_t splits, waits;
	uint32_t queue_depth; /* outstanding now */
};
/**
 * plx_bdev_get_stat - sum over all channels, past and present
 * @cb: in the caller's thread, before this returns where no other thread has to be asked
 * Return: 0; -EPERM outside of a thread; -ENOMEM
 */
int plx_bdev_get_stat(struct plx_bdev *b,
		      void (*cb)(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg),
		      void *arg);

/** plx_bdev_reset_stat - as plx_bdev_get_stat(), and from then on they count from zero again, or
 *  with @errors_only the errors alone do; @cb may be NULL */
int plx_bdev_reset_stat(struct plx_bdev *b, bool errors_only,
			void (*cb)(struct plx_bdev *b, const struct plx_bdev_stat *s, void *arg),
			void *arg);

/** plx_bdev_first / _next - iterate in order of registration; hold no references across turns */
struct plx_bdev *plx_bdev_first(void);
struct plx_bdev *plx_bdev_next(struct plx_bdev *b);
struct plx_bdev *plx_bdev_by_name(const char *name);
bool plx_bdev_supports(const struct plx_bdev *b, enum plx_bdev_io_type t);
/** plx_bdev_claimed - somebody has it open for writing */
bool plx_bdev_claimed(const struct plx_bdev *b);
/**
 * plx_bdev_ready - has the device finished what it does behind its users' back after creation?
 *
 * A malloc bdev brings in its memory meanwhile. It works from the start on, but what is measured
 * before is measured with page faults, and on cores that are shared.
 * Return: 0; -EAGAIN not yet; other negative errno, logged: it failed, and will not be. Any thread.
 */
int plx_bdev_ready(const struct plx_bdev *b);

/* ---- providing a device ---- */

/**
 * struct plx_bdev_ops - what a module does for its devices
 *
 * @submit: carry out @io and call plx_bdev_io_complete() once, now or later, in the same thread.
 *          The layer has checked range, alignment, segment count and permission, and split what was
 *          too large.
 * @supports: whether a type can be submitted; constant over the device's life. The layer emulates,
 *            where the module says no: WRITE_ZEROES and COMPARE (by read or write through a
 *            buffer), COMPARE_AND_WRITE, COPY, VERIFY, FLUSH (as no-op for devices without a
 *            volatile cache), RESET (by waiting for what is in flight), so supports() is asked
 *            only about the native ones. A native RESET is submitted once on each channel, in its
 *            thread, while new I/O is kept away: everything outstanding on that channel ends, then
 *            the RESET itself. A native ABORT ends the I/Os on its channel whose arg is its
 *            abort_arg; status 0 when there was one, else INTERNAL.
 * @channel_create/@channel_destroy: per-thread state of @channel_size bytes, zeroed, cache aligned;
 * in that thread
 * @ready: see plx_bdev_ready(); NULL: always. Any thread, between registration and destruct
 * @destruct: the last descriptor is closed and the device unregistered: free @ctx (any thread)
 * @dump_config: append to the RPC "params" that would create the device again, and name the method;
 *               NULL: it is not made by one of its own
 * @dump_info: append to what bdev_get_bdevs says as "driver_specific"; NULL: what there is to say
 *             is what @dump_config does
 */
struct plx_bdev_ops {
	const char *product; /* "Null disk" */
	void (*submit)(struct plx_bdev_io *io);
	bool (*supports)(void *ctx, enum plx_bdev_io_type t);
	size_t channel_size;
	int (*channel_create)(void *ctx, void *mch);
	void (*channel_destroy)(void *ctx, void *mch);
	int (*ready)(void *ctx);
	void (*destruct)(void *ctx);
	const char *(*dump_config)(void *ctx, struct json_t *params);
	void (*dump_info)(void *ctx, struct json_t *specific);
};

/** struct plx_bdev - filled by the module up to @internal, then given to plx_bdev_register() */
struct plx_bdev {
	char name[PLX_BDEV_NAME_MAX];
	char alias[PLX_BDEV_NAME_MAX]; /* "": its UUID in text form */
	uint8_t uuid[16]; /* all zero: made from the name, repeatably */
	const struct plx_bdev_ops *ops;
	void *ctx;
	uint64_t blocks;
	uint32_t block_size; /* data bytes of a block, a power of two from 512 to 65536 */
	uint32_t md_size; /* metadata bytes of a block */
	bool md_interleaved; /* metadata follows each block's data in the data buffer */
	/* protection information in the first, not the last, bytes of the metadata */
	bool dif_first;
	bool write_cache; /* volatile: flush means something */
	enum plx_bdev_dif dif;
	/* of buffers, bytes, power of two; 0 or 1: none. The layer bounces what is not aligned */
	uint32_t align;
	uint32_t max_rw_blocks; /* 0: no limit; larger I/O is split */
	uint32_t max_segments; /* iovecs of one I/O; 0: no limit */
	uint32_t boundary; /* blocks, 0 none: no I/O crosses a multiple of it */
	uint32_t phys_block_size; /* bytes that the medium writes at once; 0: a block */
	uint32_t max_unmap_blocks, max_write_zeroes_blocks, max_copy_blocks; /* 0: no limit */
	int numa;
	struct plx_bdev_internal *internal;
};
static inline uint32_t plx_bdev_buf_block(const struct plx_bdev *b)
{
	return b->block_size + (b->md_interleaved ? b->md_size : 0);
}

/** plx_bdev_register - announce a device. Return: 0; -EEXIST name or alias taken; -EINVAL
 *  impossible geometry; -ENOMEM */
int plx_bdev_register(struct plx_bdev *b);
/** plx_bdev_unregister - owners are told (REMOVE), the rest happens when the last has closed; @cb
 *  may be NULL */
void plx_bdev_unregister(struct plx_bdev *b, void (*cb)(void *arg, int rc), void *arg);
/** plx_bdev_resize - Return: 0; -EBUSY shrinking an open device */
int plx_bdev_resize(struct plx_bdev *b, uint64_t blocks);

/**
 * struct plx_bdev_io - one I/O on its way through a module: two cache lines, and one for what is
 * rare
 *
 * From the channel's pool; the module reads it, and writes nothing but @next and @mod. Fields that
 * the request does not need hold whatever they held before, except @md (NULL) and @status (0).
 */
struct plx_bdev_io {
	/* line 0: what a module needs for a plain read or write */
	struct iovec *iov;
	int32_t iovcnt;
	uint8_t type; /* enum plx_bdev_io_type */
	uint8_t check; /* PLX_BDEV_CHECK_* */
	uint8_t flags; /* PLX_BDEV_F_* */
	uint8_t state; /* the layer's own */
	uint64_t offset; /* blocks */
	uint64_t blocks;
	void *mch; /* the module's channel */
	struct plx_bdev *bdev;
	struct plx_bdev_io *next; /* the module's, for lists, between submit and complete */
	uint16_t status;
	uint16_t apptag, appmask; /* valid when @check is not 0, as @reftag */
	uint16_t reserved;
	/* line 1 */
	plx_bdev_cb cb;
	void *arg;
	struct plx_bdev_channel *ch;
	void *md; /* separate metadata, or NULL */
	struct iovec *cmp_iov; /* COMPARE_AND_WRITE: what to compare with */
	uint32_t reftag;
	int32_t cmp_iovcnt;
	uint64_t src; /* COPY: source block */
	void *abort_arg; /* ABORT: the callback argument whose I/O shall end */
	/* line 2 */
	void *priv; /* the layer's: state of what is split, bounced or emulated */
	uint64_t mod[7]; /* the module's scratch */
} plx_aligned(PLX_CACHE_LINE);

/**
 * plx_bdev_io_complete - the module is done with @io
 * @status: NVMe form, 0 for success. Must be called in the channel's thread.
 */
void plx_bdev_io_complete(struct plx_bdev_io *io, uint16_t status);
/**
 * plx_bdev_xfer_block - bytes of a block in the data buffer of a request with these
 * PLX_BDEV_CHECK_*
 *
 * With PRACT and eight bytes of metadata the device inserts and strips them: data alone is
 * transferred.
 */
static inline uint32_t plx_bdev_xfer_block(const struct plx_bdev *b, uint8_t check)
{
	return (check & PLX_BDEV_PRACT) && b->md_size == 8 ? b->block_size : plx_bdev_buf_block(b);
}
/** plx_bdev_io_len - bytes in the data buffer of the request */
static inline uint64_t plx_bdev_io_len(const struct plx_bdev_io *io)
{
	return io->blocks * plx_bdev_xfer_block(io->bdev, io->check);
}

/* ---- the modules that need no device: creation and deletion, as their RPC methods do it ---- */

struct plx_bdev_geometry { /* common to null and malloc */
	uint64_t blocks;
	uint32_t block_size; /* data bytes: 512 or 4096 (any power of two in range) */
	uint32_t md_size; /* 0, or 8, 16, 32, 64, 128 */
	bool md_interleaved;
	bool dif_first;
	enum plx_bdev_dif dif;
	uint32_t max_rw_blocks; /* for tests of splitting; 0: no limit */
	uint32_t boundary;
	uint32_t phys_block_size; /* as in struct plx_bdev */
	uint8_t uuid[16];
	int numa;
	bool populate; /* malloc: all memory comes at once, behind plx_bdev_ready(), not with first
			* use */
};
/** Each: Return: 0 and *@out (may be NULL); negative errno with a sentence in the log */
int plx_bdev_null_create(const char *name, const struct plx_bdev_geometry *g,
			 struct plx_bdev **out);
int plx_bdev_malloc_create(const char *name, const struct plx_bdev_geometry *g,
			   struct plx_bdev **out);

/** struct plx_bdev_latency - a latency distribution, nanoseconds */
struct plx_bdev_latency {
	enum plx_latency_kind {
		PLX_LAT_NONE,
		PLX_LAT_FIXED,
		PLX_LAT_NORMAL,
		PLX_LAT_LOGNORMAL,
		PLX_LAT_TABLE
	} kind;
	uint64_t mean_ns; /* fixed: the value; normal: mean; log-normal: median */
	uint64_t sigma_ns; /* normal: standard deviation */
	double sigma; /* log-normal: shape */
	unsigned points; /* table: percentile (0..100, ascending) to ns, linear in between */
	struct {
		double percentile;
		uint64_t ns;
	} table[32];
	double stall_chance; /* probability of a long stall on top, per I/O */
	uint64_t stall_ns;
};
/** plx_bdev_delay_create - @base by name; one distribution for reads, one for writes (and all else
 *  that changes data); @seed repeats a run; @uuid NULL: made from the name */
int plx_bdev_delay_create(const char *name, const char *base, const struct plx_bdev_latency *read,
			  const struct plx_bdev_latency *write, uint64_t seed, const uint8_t *uuid,
			  struct plx_bdev **out);
/** plx_bdev_delay_get/set - its distributions; I/O that is under way keeps what it drew. Any of
 *  @read and @write may be NULL. Any thread. Return: 0; -ENODEV no such delay device; -EINVAL */
int plx_bdev_delay_get(const char *name, struct plx_bdev_latency *read,
		       struct plx_bdev_latency *write);
int plx_bdev_delay_set(const char *name, const struct plx_bdev_latency *read,
		       const struct plx_bdev_latency *write);

enum plx_bdev_error_kind {
	PLX_BDEV_ERR_FAIL, /* complete with @status */
	PLX_BDEV_ERR_CORRUPT, /* flip bits in the data of reads (after) or writes (on the way) */
	PLX_BDEV_ERR_HANG, /* never complete; Abort and reset bring it back */
	PLX_BDEV_ERR_HANG_HARD, /* never complete; only reset brings it back */
};
struct plx_bdev_error_rule {
	enum plx_bdev_error_kind kind;
	uint32_t types; /* bit mask of 1 << enum plx_bdev_io_type */
	double share; /* random share of I/Os, 0..1; or */
	uint64_t nth; /* exactly the n-th matching I/O (1-based) of each channel; 0: by share */
	uint64_t count; /* at most this many in all; 0: no limit */
	uint16_t status; /* FAIL: NVMe form; 0: INTERNAL */
	uint32_t corrupt_offset; /* CORRUPT: byte of the I/O to change */
	uint8_t corrupt_value; /* xor mask; 0: 0xff */
	uint32_t queue_depth; /* only while at least so many are outstanding on the channel */
};
int plx_bdev_error_create(const char *name, const char *base, uint64_t seed, const uint8_t *uuid,
			  struct plx_bdev **out);
/** plx_bdev_error_inject - add a rule (at most 16 that are not used up), or with NULL clear all.
 *  Return: 0; -ENODEV, -EINVAL, -ENOSPC */
int plx_bdev_error_inject(const char *name, const struct plx_bdev_error_rule *rule);
/** plx_bdev_error_injected - I/Os that rules have hit so far, by kind */
int plx_bdev_error_injected(const char *name, uint64_t counts[4]);

/** plx_bdev_delete - unregister by name; waits (set-up) until it is gone. Return: 0; -ENODEV;
 *  -EBUSY when still open after 1 s */
int plx_bdev_delete(const char *name);

/** plx_bdev_delete_all - at the end of a program: all bdevs, the last made first, then what modules
 *  hold beside them. Waits (set-up), in the thread that made them. Return: 0; -EBUSY when one is
 *  still open after 1 s */
int plx_bdev_delete_all(void);

/* ---- namespaces of NVMe controllers ---- */

struct plx_nvme_trid;

/**
 * plx_bdev_nvme_attach - connect to a controller; each of its namespaces is a bdev, @name, "n" and
 * its identifier
 * @check: PLX_BDEV_CHECK_REF and _GUARD: of protection information, in reads and writes that do
 *         not say themselves
 *
 * The current plx_thread polls the controller from now on. Namespaces that come, go, and change
 * their size do so as bdevs as well; with the controller go all of them. Set-up.
 * Return: 0; -EPERM outside of a thread; -EEXIST; -EINVAL; as plx_nvme_connect(). Logged.
 */
int plx_bdev_nvme_attach(const char *name, const struct plx_nvme_trid *trid, unsigned check);
/** plx_bdev_nvme_detach - in the thread that attached it: its bdevs are unregistered, and when the
 *  last is closed it is disconnected. Waits (set-up). Return: 0; -ENODEV; -EBUSY when one is still
 *  open after 1 s */
int plx_bdev_nvme_detach(const char *name);

#ifdef __cplusplus
}
#endif
#endif
