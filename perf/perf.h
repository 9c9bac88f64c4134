/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/perf.h - what the files of plx-perf share
 *
 *   main.c       from arguments to exit code
 *   options.c    the command line
 *   run.c        what -r or --virtual names: controllers, namespaces; workers and the jobs they get
 *   load.c       the worker's loop: the hot path
 *   pattern.c    which block next (uniform, sequential, Zipf), which size, read or write
 *   verify.c     blocks that describe themselves, and the check of what was read
 *   zones*.c     writes to zoned namespaces: at write pointers, a zone after the other
 *   series.c     --interval
 *   report*.c    results as text, JSON, histogram log
 *   calibrate.c  the limits of this machine
 *   engines/     one file per engine, one table of functions each
 */
#ifndef POLLUX_PERF_H
#define POLLUX_PERF_H

#include "core/checksum.h"
#include <pollux/env.h>
#include <pollux/histogram.h>
#include <pollux/nvme.h>
#include <pollux/nvmf.h>
#include <pollux/thread.h>
#include <stdatomic.h>
#include <string.h>

#define PERF_MAX_SIZES	 16
#define PERF_MAX_DEVICES 64
/*
 * Completions that one poll finds share a time stamp, so many at most: the last of them is called
 * back some ten nanoseconds after it. A stamp for each would cost a quarter of all that the
 * generator and the driver do (25 of 96 ticks at depth 128 on a Zen 4).
 */
#define PERF_PER_STAMP	4
#define PERF_POLLS	4 /* in vain, for each time stamp */
#define PERF_FOREVER_NS (3650ull * 86400 * 1000000000) /* ticks of ten years still fit 64 bits */

struct perf_job;
struct perf_worker;
struct perf_verify;
struct perf_zones;

/* ---- what to do ---- */

enum perf_pattern { PERF_SEQUENTIAL, PERF_RANDOM };

struct perf_size { /* -o 4k:70,64k:30 */
	uint32_t bytes; /* data bytes, a multiple of the block size */
	uint32_t share; /* percent; all add up to 100 */
};

enum { PERF_CMB_SQS = 1, PERF_CMB_DATA = 2 }; /* --use-cmb: what is in there */

struct perf_config {
	uint32_t queue_depth; /* -q, per queue pair */
	struct perf_size sizes[PERF_MAX_SIZES];
	unsigned nsizes;
	uint32_t max_size; /* the largest of them */
	enum perf_pattern pattern;
	unsigned read_share; /* percent */
	uint64_t time_ns, warmup_ns; /* -t (PERF_FOREVER_NS: -d alone ends the run), -a */
	uint64_t ios_per_job; /* -d; 0: no limit */
	struct plx_cpuset cores; /* -c */
	unsigned queue_pairs; /* -P, per namespace and worker */
	uint32_t io_unit; /* -O: bytes of one iovec; 0: the whole I/O */
	uint32_t align; /* -A: bytes */
	uint32_t max_completions; /* -C, per poll; 0: all */
	double zipf_theta; /* -F; 0: uniform */
	uint32_t prinfo; /* -e: PLX_NVME_RW_PRACT and PRCHK bits */
	size_t mem_mb; /* -s; 0: computed */
	unsigned latency; /* -L 1, -LL 2 */
	bool device_latency; /* -l */
	uint32_t continue_on_error; /* -Q: log every n-th error; 0: stop at the first */
	bool no_shutdown; /* -N */
	bool interrupts;
	unsigned use_cmb; /* PERF_CMB_*, or-ed */
	int32_t share_id; /* -1: not shared */
	bool verify;
	bool calibrate;
	uint64_t seed;
	uint64_t interval_ns; /* --interval; 0: none */
	uint32_t timeout_ms; /* --timeout: per command; 0: none */
	enum plx_nvme_timeout_action timeout_action;
	const char *virtual_spec; /* --virtual; "" when no -r was given */
	bool use_virtual;
	struct plx_nvme_trid trids[PERF_MAX_DEVICES];
	unsigned ntrids;
	const char *json_path, *hist_path; /* "-" is standard output */
	bool no_huge;
	bool progress; /* standard error is a terminal and nothing asked for silence */
};

/** perf_queue_entries - of a submission queue: one stays empty, and I/O larger than a command takes
 *  several */
static inline uint32_t perf_queue_entries(uint32_t depth)
{
	return depth + 1 > 256 ? depth + 1 : 256;
}

/* ---- doing it ---- */

/* One outstanding I/O: a line, the job's from set-up to teardown */
struct perf_task {
	struct perf_job *job;
	void *buf;
	uint64_t start; /* ticks: time stamp before submission */
	uint64_t slba;
	uint32_t nlb;
	uint8_t is_read;
	uint8_t size; /* index in job->sizes */
	uint16_t status; /* of its completion; 0 from when it is drawn */
	struct iovec *iov; /* with -O: pieces of @buf */
	uint32_t iovcnt;
	uint32_t index;
	void *md; /* separate metadata */
} plx_aligned(PLX_CACHE_LINE);
_Static_assert(sizeof(struct perf_task) == 64, "one line an outstanding I/O");

/*
 * struct perf_engine - how a job's I/O is done. One table per file in engines/.
 *
 * @open: in the worker's thread: make what the job needs (queue pair, ring). Return: 0 or -errno,
 * logged
 * @submit: start @t (buf, slba, nlb, is_read are set). Return: 0; -EAGAIN try after a poll; other
 * -errno
 * @poll: call perf_task_done() for each completion, at most @max (0: all). Return: how many; -ENXIO
 * the device is gone
 * @flush: whatever submit() has put off
 * @give_up: outstanding I/O is late beyond hope: make the device let go of it, for polls to call it
 * back
 * @reset_zone: of a zoned namespace, the one that begins at @slba: perf_zones_reset_done() with
 * @arg when it is done. Return: as @submit
 */
struct perf_engine {
	const char *name;
	int (*open)(struct perf_job *job);
	void (*close)(struct perf_job *job);
	int (*submit)(struct perf_job *job, struct perf_task *t);
	int (*poll)(struct perf_job *job, uint32_t max);
	void (*flush)(struct perf_job *job);
	void (*give_up)(struct perf_job *job);
	int (*reset_zone)(struct perf_job *job, uint64_t slba, void *arg);
	/** for --interrupts: what becomes readable, edge-triggered; -errno: nothing. NULL:
	 *  nothing */
	int (*wait_fd)(struct perf_job *job);
	/** doorbells are rung. Return: false when there is something to poll for */
	bool (*may_wait)(struct perf_job *job);
};
extern const struct perf_engine perf_engine_nvme;

/* A size as the generator needs it */
struct perf_job_size {
	uint64_t units; /* how many aligned places of that size there are */
	uint32_t nlb;
	/* chosen when 32 random bits are below this, and not below the one before's */
	uint32_t below;
};

/* What a completion leaves to be recorded: the task itself is on its way again by then */
struct perf_sample {
	uint64_t ticks;
	uint32_t nlb; /* this and what follows as in struct perf_task, copied as one word */
	uint8_t is_read;
	uint8_t size;
	uint16_t status;
};
_Static_assert(sizeof(struct perf_sample) == 16 &&
		       offsetof(struct perf_task, status) - offsetof(struct perf_task, nlb) ==
			       offsetof(struct perf_sample, status) -
				       offsetof(struct perf_sample, nlb),
	       "a sample's second half is a task's");

struct perf_counters {
	uint64_t ios[2]; /* by is_read */
	uint64_t bytes[2];
	uint64_t errors;
	uint64_t mismatches; /* --verify */
};

/* One queue pair on one namespace in one worker. Set up by run.c, run by load.c, read by the
 * reports once it has stopped. */
struct perf_job {
	/* each I/O */
	const struct perf_engine *engine;
	void *engine_data; /* nvme: the queue pair */
	struct plx_nvme_ns *ns;
	struct perf_worker *worker;
	struct perf_task **done; /* [depth] completed in this turn, to be submitted again */
	struct perf_sample *samples; /* [depth] of the same, to be recorded */
	uint32_t ndone;
	/* the first so many of done are drawn already: they found the queue full */
	uint32_t nkept;
	uint32_t depth;
	uint64_t rng; /* state of the generator */
	uint64_t next_lba; /* sequential */
	uint64_t to_submit; /* -d: I/Os left */
	/* a read when 32 random bits are below; reads only: UINT32_MAX and all_reads */
	uint32_t read_below;
	uint8_t all_reads, all_writes, random, nsizes;
	uint32_t outstanding;
	/* NULL: none; shared by the jobs on a namespace, which are one worker's */
	struct perf_verify *verify;
	struct perf_zones *zones; /* NULL: not zoned, or only read from */
	bool watched; /* has one of these: completions, and what is drawn, are more than usual */
	bool prefill; /* writing every block once, before --verify reads any */
	bool plain; /* one buffer, no metadata: for engines that have a shorter way for that */
	struct plx_hist *hist[2]; /* by is_read: what is recorded into now */
	struct perf_counters n;
	struct perf_job_size sizes[PERF_MAX_SIZES];
	struct perf_zipf *zipf; /* NULL: uniform */

	/* cold */
	struct perf_task *tasks;
	uint64_t lbas; /* blocks of the namespace this job draws from, from block 0 */
	uint32_t block; /* data bytes of a block */
	uint32_t xfer_block; /* bytes in the buffer for one block */
	struct plx_pi_format pi; /* type 0: none */
	/* with --interval: everything before the current interval; else == hist */
	struct plx_hist *total[2];
	struct perf_series *series;
	struct perf_device *device;
	unsigned index; /* queue pair of the device within the worker */
	unsigned share; /* which of all the device's jobs */
	struct plx_nvme_qpair_stats qp_before, qp_after; /* around the measured time */
	int failed; /* -errno: gave up, reason logged */
	uint16_t first_error; /* NVMe status of the first failed I/O */
	uint64_t first_error_lba;
	const struct perf_config *cfg;
} plx_aligned(PLX_NO_SHARE);

struct perf_cycles { /* ticks of the worker, split */
	uint64_t submit, complete, poll_empty, controller; /* controller: inline only */
	uint64_t target; /* of the virtual controller's own core meanwhile, while it was busy */
	uint64_t total;
};

enum perf_phase { PERF_WARMUP, PERF_MEASURE, PERF_DRAIN, PERF_OVER };

/* One core that generates load */
struct perf_worker {
	uint64_t now; /* time stamp of the last completion */
	/* the next one is taken when a job has so many completions in its turn */
	uint32_t stamp_at;
	struct plx_tsc_scale scale;
	uint64_t next_event; /* ticks: warm-up ends, interval ends, time is up */
	struct perf_cycles cycles;
	struct perf_job **jobs;
	unsigned njobs;
	uint32_t max_completions;
	uint32_t polls; /* of a turn at most, as long as they find nothing */
	uint64_t poll_ticks; /* what such a poll took lately */
	bool inline_controller;
	bool opened; /* has the buffers and queue pairs of all of its jobs */
	enum perf_phase phase;
	struct plx_thread *thread;
	/* runs the virtual controller on its own core; NULL: none */
	const struct plx_thread *target;
	/* measured only once it is ready; NULL: it has been seen to be, or there is none */
	const struct plx_nvmf_device *awaited;
	uint64_t await_until; /* ticks */
	/* of the first submission; of when @awaited was found to be ready, 0: at the first look */
	uint64_t first_tsc, ready_tsc;
	uint64_t start_tsc, stop_tsc; /* of the measured time */
	uint64_t end_tsc, interval_tsc, next_interval;
	const struct perf_config *cfg;
	unsigned cpu, index;
	int rc;
	int epoll; /* --interrupts; -1: polling */
	_Atomic bool *stop; /* set by Ctrl-C or by a failing worker */
	pthread_t os_thread;
} plx_aligned(PLX_NO_SHARE);

/** perf_worker_run - warm up, measure, drain; in the worker's OS thread with its plx_thread
 *  entered, jobs open.
 *  Return: 0 (look at the jobs' counters for I/O errors) or -errno */
int perf_worker_run(struct perf_worker *w);

/** perf_worker_prefill - write every block of each verified namespace once; before
 *  perf_worker_run(). Return: 0 or -errno */
int perf_worker_prefill(struct perf_worker *w);

/** perf_worker_attend - after the run: see to queue pairs and event loop while @others is not 0 */
void perf_worker_attend(struct perf_worker *w, const _Atomic unsigned *others);

/** perf_job_init - tasks, buffers, generator, histograms of a job whose device fields are set; in
 *  the worker's thread */
int perf_job_init(struct perf_job *job, struct perf_worker *w, const struct perf_config *cfg);
void perf_job_fini(struct perf_job *job);

/** perf_task_odd - a completion that failed, or whose data has to be checked (load.c) */
void perf_task_odd(struct perf_task *t, uint16_t status);

/** perf_task_done - an engine reports a completion; @status: NVMe status without phase, 0 for
 *  success */
static inline void perf_task_done(struct perf_task *t, uint16_t status)
{
	struct perf_job *job = t->job;
	struct perf_worker *w = job->worker;
	struct perf_sample *sample;

	if (job->ndone >= w->stamp_at) {
		w->stamp_at = job->ndone + PERF_PER_STAMP;
		w->now = plx_tsc();
	}
	if (plx_unlikely(status || job->watched))
		perf_task_odd(t, status);
	sample = &job->samples[job->ndone];
	sample->ticks = w->now - t->start;
	memcpy(&sample->nlb, &t->nlb, sizeof *sample - offsetof(struct perf_sample, nlb));
	job->done[job->ndone++] = t;
}

/* ---- run.c ---- */

/* A zoned namespace that is written to; @zones: 0: it is none. All are empty when the run begins */
struct perf_zoned {
	uint64_t zone_blocks, zones;
	uint32_t max_open; /* and active; 0: no limit */
	uint64_t *capacity; /* blocks of each zone; 0: not to be written */
};

/* A namespace under test */
struct perf_device {
	char name[320]; /* the trid, and the namespace */
	struct plx_nvme_ctrlr *ctrlr;
	struct plx_nvme_ns *ns;
	/* inline: the one worker whose thread runs the controller; else NULL */
	struct perf_worker *only;
	struct perf_verify *verify;
	struct perf_zoned zoned;
	unsigned jobs; /* that share it */
};

/* A controller, and who polls its admin queue while the run lasts */
struct perf_ctrlr {
	struct plx_nvme_ctrlr *ctrlr;
	struct perf_worker *owner;
	struct plx_poller *poller;
	struct plx_thread *thread; /* inline: entered to talk to it; else NULL */
	unsigned numa_warned;
};

struct perf_run {
	const struct perf_config *cfg;
	struct perf_worker *workers;
	unsigned nworkers;
	struct perf_device devices[PERF_MAX_DEVICES];
	unsigned ndevices;
	struct perf_ctrlr ctrlrs[PERF_MAX_DEVICES];
	unsigned nctrlrs;
	struct perf_job *jobs; /* njobs of them, grouped by worker */
	unsigned njobs;
	struct plx_reactor *target; /* runs the virtual controller; NULL: inline, or none */
	struct plx_nvmf_device *virtual_device;
	int target_cpu; /* -1: none */
	bool inline_controller;
	_Atomic bool stop;
	_Atomic unsigned loading; /* workers that have not ended their run */
	_Atomic unsigned running; /* workers that have not closed what they opened */
	/* from the start to: environment, first submission, virtual device ready to be measured (0:
	 * it had not to be waited for) */
	double env_init_s, first_io_s, ready_s;
};

struct perf_cores {
	struct plx_cpuset workers;
	int target; /* of the virtual controller; -1: none of its own */
};
/** perf_choose_cores - the cores that perf_run_open() will use. Return: 0; 2 those of @cfg cannot
 *  be (said on standard error) */
int perf_choose_cores(const struct perf_config *cfg, struct perf_cores *out);

/**
 * perf_run_open - attach everything, lay out workers and jobs
 * Return: 0; 2 the request does not fit the device (said on standard error); 1 failed (logged).
 * Undone by perf_run_close(), always.
 */
int perf_run_open(struct perf_run *run, const struct perf_config *cfg);
/** perf_run_go - start the workers, show progress, wait for the end or Ctrl-C. Return: 0, or 1 when
 *  a worker could not do its work */
int perf_run_go(struct perf_run *run);
void perf_run_close(struct perf_run *run);

/* ---- pattern.c ---- */

static inline uint64_t perf_random(uint64_t *s)
{
	/* xorshift64*: three shifts and a multiplication, 2^64 - 1 long */
	uint64_t x = *s;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*s = x;
	return x * 0x2545f4914f6cdd1dull;
}
/** perf_zipf_create - @n places, skew @theta (0 < theta, 1 excluded); perf_zipf_draw maps 64 random
 *  bits to 0..n-1, most popular scattered over the space */
struct perf_zipf *perf_zipf_create(uint64_t n, double theta);
void perf_zipf_destroy(struct perf_zipf *z);
uint64_t perf_zipf_draw(const struct perf_zipf *z, uint64_t random);
/** perf_zipf_place - where the place of popularity @rank lies, 0 the most popular, below n */
uint64_t perf_zipf_place(const struct perf_zipf *z, uint64_t rank);

/* ---- verify.c ---- */

/** perf_verify_create - for the blocks of one namespace, shared by all jobs on it in one worker
 *  only */
struct perf_verify *perf_verify_create(uint64_t lbas, uint32_t block, uint64_t seed);
void perf_verify_destroy(struct perf_verify *v);
/** perf_verify_claim - no other I/O on these blocks is outstanding: take them. Return: false when
 *  one is */
bool perf_verify_claim(struct perf_verify *v, uint64_t slba, uint32_t nlb);
void perf_verify_release(struct perf_verify *v, uint64_t slba, uint32_t nlb);
/** perf_verify_fill - blocks of @t about to be written: header, content, checksum, next generation
 *  of each */
void perf_verify_fill(struct perf_verify *v, struct perf_task *t);
/** perf_verify_written - the write of @t ended with @status: the new generation counts, or either
 *  may be there */
void perf_verify_written(struct perf_verify *v, struct perf_task *t);
/** perf_verify_check - blocks of @t were read. Return: mismatching blocks, each reported on
 *  standard error with its LBA and what was wrong (the first 10,000 of a run) */
uint32_t perf_verify_check(struct perf_verify *v, struct perf_task *t);

/* ---- zones.c, zones_start.c ---- */

/** perf_zones_create - the share of @job, the one with @index of @jobs, in the zones of a
 *  namespace.
 *  Return: NULL with errno: ENOMEM; ENOSPC: none of them can be written */
struct perf_zones *perf_zones_create(struct perf_job *job, const struct perf_zoned *of,
				     unsigned index, unsigned jobs);
void perf_zones_destroy(struct perf_zones *z);
/** perf_zones_draw - a place for @t, whose size and direction are drawn; may make a write of it, or
 *  make it shorter. With --verify, its blocks are claimed. Return: false: there is none before
 *  something has completed; perf_zones_waits() is true for it until there is */
bool perf_zones_draw(struct perf_zones *z, struct perf_task *t);
bool perf_zones_waits(const struct perf_zones *z, const struct perf_task *t);
/** perf_zones_done - what was drawn has ended, with t->status */
void perf_zones_done(struct perf_zones *z, const struct perf_task *t);
/** perf_zones_reset_done - an engine's reset_zone has ended. @arg: what it was given */
void perf_zones_reset_done(void *arg, uint16_t status);

/** perf_zones_check - whether the configuration fits @d, which may be zoned, and is shared by
 *  @jobs.
 *  Return: 0; 2, said on standard error */
int perf_zones_check(const struct perf_device *d, const struct perf_config *cfg, unsigned jobs);
/** perf_zones_start - where zones are to be written: all are reset, d->zoned says how they are.
 *  Return: 0; 1, said on standard error */
int perf_zones_start(struct perf_device *d, const struct perf_config *cfg);

/* ---- cmb.c ---- */

/** perf_cmb_check - a controller has what --use-cmb asks for. Return: 0; 2, said on standard
 *  error */
int perf_cmb_check(const struct perf_run *run, const struct perf_ctrlr *pc);
/** perf_buffer_alloc - memory for data or metadata of the job's I/O, where its configuration wants
 *  it. Return: NULL: there is none */
void *perf_buffer_alloc(struct perf_job *job, size_t bytes, size_t align, int numa);
void perf_buffer_free(struct perf_job *job, void *buf);

/* ---- wait.c ---- */

/** perf_wait_open - --interrupts: the worker's jobs are open. Return: 0; -errno, logged */
int perf_wait_open(struct perf_worker *w);
void perf_wait_close(struct perf_worker *w);
/** perf_wait - until a job has completions, the worker has something to do, or some milliseconds */
void perf_wait(struct perf_worker *w, uint64_t now);

/* ---- series.c ---- */

struct perf_series *perf_series_create(const struct perf_config *cfg);
void perf_series_destroy(struct perf_series *s);
/** perf_series_cut - the interval ends: its figures are kept, job->hist is added to job->total and
 *  emptied */
void perf_series_cut(struct perf_series *s, struct perf_job *job, uint64_t from_tsc,
		     uint64_t to_tsc);

#endif
