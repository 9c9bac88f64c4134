/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/bdev_internal.h - what the block layer's own files share
 *
 * Who owns what: a channel, its pool and everything in flight on it belong to the thread of the
 * channel. Lists of devices, descriptors and channels, and the queue for exclusive access, are
 * under one mutex (bdev_lock()), which no I/O takes.
 */
#ifndef POLLUX_BDEV_INTERNAL_H
#define POLLUX_BDEV_INTERNAL_H

#include <pollux/bdev.h>
#include <pollux/thread.h>
#include <pthread.h>
#include <sys/queue.h>

#include "core/checksum.h"

/* I/O objects of a channel: more than any queue of a sensible depth; untouched ones cost no
 * memory */
#define BDEV_POOL_SIZE 2048
/* more of them that only Abort and Reset may take: they have to work when everything else hangs */
#define BDEV_RESERVE 32
/* of the buffer through which unaligned or emulated I/O goes, unless a block is larger */
#define BDEV_BOUNCE_BYTES (128u << 10)

/* plx_bdev_io.state: 0 for a plain I/O in the hands of the module */
enum {
	IO_DONE = 1, /* free, or in its callback */
	IO_CHILD = 2, /* part of another I/O: no statistics, not from the pool */
	IO_SPLIT = 4, /* has children, by way of priv */
	IO_HELD = 8, /* waits for a fence to fall; the module has not seen it */
	IO_DEFERRED = 16, /* completed too deep in the stack: called back from a poller */
	IO_DRAIN = 32, /* a fence waits for it */
	IO_LAYER = 64, /* not in the hands of the module */
	IO_EXT = 128, /* has fields that io_finish() must reset */
};

/* plx_bdev_channel.guard: number of callbacks on the stack, and a flag that forces the slow path */
#define GUARD_DEPTH   0xffu
#define GUARD_WAITERS 0x100u

struct bdev_stat {
	uint64_t submitted, ops; /* the difference is in flight */
	uint64_t blocks, errors;
};

struct bdev_io_list {
	struct plx_bdev_io *head, **tail;
};
static inline void io_list_init(struct bdev_io_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}
static inline void io_list_append(struct bdev_io_list *l, struct plx_bdev_io *io)
{
	io->next = NULL;
	*l->tail = io;
	l->tail = &io->next;
}
static inline struct plx_bdev_io *io_list_pop(struct bdev_io_list *l)
{
	struct plx_bdev_io *io = l->head;

	if (io) {
		l->head = io->next;
		if (!l->head)
			l->tail = &l->head;
	}
	return io;
}
void io_list_remove(struct bdev_io_list *l, struct plx_bdev_io *io); /* linear */

struct bdev_excl;
struct bdev_split;

/**
 * struct plx_bdev_channel - one thread's way to one device
 *
 * Lives from the first plx_bdev_get_channel() in a thread to the last plx_bdev_put_channel(), or
 * until messages that refer to it have arrived.
 */
struct plx_bdev_channel {
	/* line 0: read by every submission and completion */
	struct plx_bdev_io *free; /* last in, first out */
	uint64_t blocks; /* of the device; may lag behind growth, which the slow path sees */
	/* an I/O of more blocks takes the slow path; 0 while fenced or removed */
	uint64_t fast_blocks;
	uint32_t buf_block;
	uint32_t align_mask;
	void (*submit)(struct plx_bdev_io *io);
	struct plx_thread *thread;
	uint32_t guard;
	uint32_t max_segments;
	uint64_t reserved;
	/* lines 1..: the first one is reads and writes */
	struct bdev_stat stat[PLX_BDEV_IO_TYPES];

	/* line 7: of the poller, in each turn */
	struct bdev_io_list deferred;
	bool kick; /* waiters to be called, though nothing was freed */
	bool clocked; /* I/O was in flight at clock_tsc */
	uint32_t rare; /* in flight of types other than read and write */
	uint64_t clock_tsc;
	uint64_t clock_depth[PLX_BDEV_IO_TYPES]; /* in flight then */
	uint64_t latency_tsc[PLX_BDEV_IO_TYPES];

	struct plx_bdev *bdev;
	struct plx_bdev_io *pool;
	struct plx_bdev_io *reserve; /* free objects of the reserve */
	uint32_t carved; /* pool objects that have been used at least once */
	uint32_t refs; /* 0: dead, waits for its messages; under bdev_lock() */
	uint32_t pins; /* messages on their way here; under bdev_lock() */
	bool removed;
	struct plx_bdev_wait *wait_head, *wait_tail;
	struct plx_poller *poller;
	struct bdev_excl *fence; /* who keeps new I/O waiting; NULL: nobody */
	struct bdev_io_list held;
	uint32_t draining; /* I/Os with IO_DRAIN */
	struct bdev_split *split_cache;
	uint32_t split_cached;
	struct plx_bdev_io *reset_io; /* given to the module by plx_bdev_reset() */
	uint64_t splits, waits;
	void *mch;
	TAILQ_ENTRY(plx_bdev_channel) link;
} plx_aligned(PLX_NO_SHARE);

struct plx_bdev_desc {
	struct plx_bdev *bdev;
	bool write;
	bool closed;
	bool remove_sent;
	plx_bdev_event_cb cb;
	void *arg;
	struct plx_thread *thread;
	uint32_t events; /* messages on their way */
	uint32_t calling; /* event callbacks running */
	pthread_t caller; /* the OS thread they run in */
	TAILQ_ENTRY(plx_bdev_desc) link;
};

struct plx_bdev_internal {
	struct plx_bdev *bdev;
	uint32_t native; /* bit mask of types the module carries out itself */
	bool removed;
	uint32_t holds; /* channels, visits, exclusive access: what must end before destruct */
	TAILQ_HEAD(, plx_bdev_desc) descs;
	TAILQ_HEAD(, plx_bdev_channel) channels;
	STAILQ_HEAD(, bdev_excl) excl; /* the first one has it */
	struct bdev_excl *fence; /* what new channels start with */
	struct plx_bdev_stat past; /* of channels that are gone */
	struct plx_bdev_stat base; /* of all channels, at the last reset of the statistics */
	/* unregistration */
	struct plx_thread *unreg_thread;
	void (*unreg_cb)(void *arg, int rc);
	void *unreg_arg;
	TAILQ_ENTRY(plx_bdev_internal) link;
};

void bdev_lock(void);
void bdev_unlock(void);
/** bdev_send - as plx_thread_send(), but never fails: waits for room, or calls at once in @t
 *  itself */
void bdev_send(struct plx_thread *t, plx_msg_fn fn, void *arg);
/** bdev_unhold - give up a hold; destroys the device when it was the last thing in the way */
void bdev_unhold(struct plx_bdev_internal *in);
/** bdev_lookup - by name or alias; bdev_lock() held */
struct plx_bdev *bdev_lookup(const char *name);

/**
 * struct bdev_visit - a walk over all channels of a device, each in its own thread, one after the
 * other
 *
 * The caller's until @done, which is called in the thread that started the walk (when it was in
 * none: in that of the last channel). Runs at once where it needs no other thread.
 */
struct bdev_visit {
	struct plx_bdev_internal *in;
	void (*fn)(struct bdev_visit *v, struct plx_bdev_channel *ch);
	void (*done)(struct bdev_visit *v);
	struct plx_thread *thread;
	struct plx_bdev_channel *ch;
};
void bdev_visit(struct bdev_visit *v, struct plx_bdev_internal *in);

/**
 * struct bdev_module - a part that has more than devices
 * @dump: append to the saved configuration what makes it again, before the devices; or NULL
 * @fini: the devices are deleted: end the rest
 */
struct bdev_module {
	void (*dump)(struct json_t *config);
	void (*fini)(void);
	struct bdev_module *next;
};
/** bdev_module_register - from constructors */
void bdev_module_register(struct bdev_module *m);
const struct bdev_module *bdev_module_first(void);

/* channel.c */
/* a fresh object, or NULL when @limit of the pool have been carved */
struct plx_bdev_io *channel_carve(struct plx_bdev_channel *ch, uint32_t limit);
void channel_refresh(struct plx_bdev_channel *ch); /* limits of the fast path, anew */
void channel_defer(struct plx_bdev_channel *ch, struct plx_bdev_io *io);
void channel_wake(struct plx_bdev_channel *ch);
uint32_t channel_in_flight(const struct plx_bdev_channel *ch);

/** channel_add_stat - @ch's figures on top of @sum */
void channel_add_stat(const struct plx_bdev_channel *ch, struct plx_bdev_stat *sum);

/* io.c */
void io_put_rare(struct plx_bdev_channel *ch, struct plx_bdev_io *io); /* to the list it is of */
void io_finish(struct plx_bdev_io *io); /* callback, then back to the pool */

/** struct bdev_req - a submission before it has an I/O object */
struct bdev_req {
	enum plx_bdev_io_type type;
	struct iovec *iov, *cmp_iov;
	int iovcnt, cmp_iovcnt;
	uint64_t offset, blocks, src;
	void *md;
	uint32_t reftag;
	uint16_t apptag, appmask;
	uint8_t check, flags;
	plx_bdev_cb cb;
	void *arg;
};
/* submit.c */
/** iovs_len - Return: bytes; UINT64_MAX for an impossible list */
uint64_t iovs_len(const struct iovec *iov, int iovcnt);
int req_submit(struct plx_bdev_desc *d, struct plx_bdev_channel *ch, const struct bdev_req *r);
struct plx_bdev_io *req_io(struct plx_bdev_channel *ch, const struct bdev_req *r);
void io_run(struct plx_bdev_io *io); /* past the fence: to the module, or to its children */

/* split.c */
enum split_mode {
	SPLIT_NONE, /* straight to the module */
	/* pieces of the caller's iovecs, through a buffer where they do not suit the device */
	SPLIT_CUT,
	SPLIT_COMPARE, /* read and compare */
	SPLIT_VERIFY, /* read and forget */
	SPLIT_ZERO, /* write zeroes */
	SPLIT_COPY, /* read and write */
	SPLIT_CAW, /* compare, then write, with exclusive access */
};
/** split_plan - how a request has to be carried out; *@bounce: it needs a buffer */
enum split_mode split_plan(const struct plx_bdev_channel *ch, const struct bdev_req *r,
			   bool *bounce);
/** split_prepare - Return: 0; -ENOMEM */
int split_prepare(struct plx_bdev_io *io, enum split_mode mode, bool bounce);
void split_start(struct plx_bdev_io *io);
void split_cancel(struct plx_bdev_io *io); /* not started: its state is given back */
void split_cache_free(struct plx_bdev_channel *ch);

/**
 * struct bdev_excl - exclusive access to a range of a device: new I/O waits, I/O in flight has
 * ended
 *
 * One at a time per device, in order of request.
 * @io, @offset, @blocks, @reset, @run, @released and @in are the caller's to fill
 * @run: called in the thread that asked, once it has the range; ends with excl_release()
 * @released: called in that thread when new I/O runs again; @e is the caller's again
 */
struct bdev_excl {
	struct plx_bdev_io *io; /* on whose behalf; is not waited for */
	uint64_t offset, blocks;
	bool reset; /* the module shall end what is in flight */
	void (*run)(struct bdev_excl *e);
	void (*released)(struct bdev_excl *e);
	struct plx_bdev_internal *in;
	/* excl.c's own */
	struct plx_thread *thread;
	struct bdev_visit visit;
	uint32_t pending; /* channels that drain, and the visit; atomic */
	STAILQ_ENTRY(bdev_excl) link;
};
/* excl.c */
void excl_acquire(struct bdev_excl *e);
void excl_release(struct bdev_excl *e);
bool excl_holds(const struct bdev_excl *e, const struct plx_bdev_io *io);
void excl_drained(struct plx_bdev_channel *ch); /* the last IO_DRAIN of @ch has ended */

/* abort.c */
/**
 * channel_match - the next I/O in the module's hands (or held) that was submitted with @arg
 * @cursor: 0 to start. I/Os may end between two calls.
 */
struct plx_bdev_io *channel_match(struct plx_bdev_channel *ch, void *arg, uint32_t *cursor);

/* pi.c */
struct plx_pi_format pi_format(const struct plx_bdev *b);
struct plx_pi_tags pi_tags(const struct plx_bdev_io *io);
/** pi_verify - the checks that @io asks for, on its blocks at @iov and @md. Return: a status */
uint16_t pi_verify(const struct plx_bdev_io *io, const struct iovec *iov, int iovcnt,
		   const void *md);
/** pi_move_refs - after a copy: reference tags of type 1 follow their blocks, by @delta */
void pi_move_refs(const struct plx_bdev *b, void *md, size_t stride, uint64_t blocks,
		  uint32_t delta);

static inline bool range_overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

#endif
