/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/fio_plugin.h - what the files of the fio engines share
 *
 *   options.c      the option tables, as users of the engines know them, and what is refused
 *   shared.c       what all jobs of a process share: environment, application thread, controllers
 *   job.c          what both engines do alike for a job: checks, sizes, buffers
 *   zones.c        zoned namespaces
 *   placement.c    streams and flexible data placement, where fio has them
 *   wait.c         interrupts
 *   engine_nvme.c  the engine "spdk" (and "pollux"): the NVMe driver
 *   engine_bdev.c  the engine "spdk_bdev" (and "pollux_bdev"): the block layer
 *
 * fio calls setup() for every job in its main thread, one after the other, then starts the jobs'
 * threads; init(), the I/O and cleanup() of a job run in its own.
 */
#ifndef POLLUX_FIO_PLUGIN_H
#define POLLUX_FIO_PLUGIN_H

/* first: fio's headers look at what config-host.h, included by the compiler's flags, defines */
#include <fio.h>
#include <optgroup.h>

/* LD_PRELOAD loads the engines into every program on the way to fio (taskset, nice), and these are
 * not there */
#pragma weak register_ioengine
#pragma weak unregister_ioengine
#pragma weak fio_version_string
#pragma weak segments
#pragma weak thread_number
#pragma weak is_backend

#include <pollux/nvme.h>
#include <pollux/nvme_fdp.h>
#include <pollux/nvmf.h>
#include <pollux/thread.h>

/** struct engine_options - what the options of both engines begin with */
struct engine_options {
	void *td; /* fio writes it there */
	bool set_up; /* setup() has been there */
};

/** struct nvme_options - of a job with the engine "spdk" */
struct nvme_options {
	struct engine_options common;
	int mem_size_mb;
	int shm_id;
	int enable_sgl;
	int sge_size; /* bytes */
	int disable_pcie_sgl_merge;
	int bit_bucket_data_len;
	char *hostnqn;
	int pi_act;
	char *pi_chk;
	int md_per_io_size; /* bytes */
	int apptag, apptag_mask;
	char *digest_enable;
	int enable_vmd;
	int initial_zone_reset;
	int zone_append;
	int print_qid_mappings;
	char *log_flags;
	int spdk_tracing;
	int enable_interrupts;
	int enable_wrr, arbitration_burst, low_weight, medium_weight, high_weight, wrr_priority;
	char *virtual_spec;
	unsigned int rw_flags; /* PLX_NVME_RW_PRCHK_*, from @pi_chk */
};

/** struct bdev_options - of a job with the engine "spdk_bdev" */
struct bdev_options {
	struct engine_options common;
	char *spdk_conf;
	char *spdk_json_conf;
	int spdk_mem; /* MiB */
	int spdk_single_seg;
	char *log_flags;
	int initial_zone_reset;
	int zone_append;
	char *env_context;
	char *spdk_rpc_listen_addr;
};

extern struct fio_option nvme_option_table[];
extern struct fio_option bdev_option_table[];

/**
 * nvme_options_check - what cannot be carried out is refused before anything is opened
 * Return: 0; -1 after one line on fio's error stream
 */
int nvme_options_check(const struct thread_data *td);
int bdev_options_check(const struct thread_data *td);

/** engine_error - one line on fio's error stream, begun with the engine's name; once, when several
 *  jobs say the same one after the other */
void engine_error(const struct thread_data *td, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- shared.c ---- */

/** shared_start - the environment and the application thread, once per process. Return: 0; -1 after
 *  a line */
int shared_start(const struct thread_data *td, size_t mem_mb, const char *log_flags,
		 const char *eal_args);
/**
 * shared_job_begin - a job has been set up: what is shared stays until its shared_job_end()
 * shared_job_run - its thread is at work
 * shared_job_end - with the last job all that is shared goes: fio's server ends without exit()
 */
void shared_job_begin(void);
void shared_job_run(void);
void shared_job_end(void);
/** shared_call - run @fn(@arg) in the application thread, which owns what belongs to no job, and
 *  wait */
void shared_call(void (*fn)(void *arg), void *arg);
/** shared_configure - the JSON configuration, once per process. Return: 0; -1 after a line */
int shared_configure(const struct thread_data *td, const struct bdev_options *o);

/** struct shared_ctrlr - a controller, or with VIRTUAL inline a device that each job makes one of
 *  its own for. Lives until the process ends */
struct shared_ctrlr {
	struct plx_nvme_trid trid;
	struct plx_nvme_ctrlr *ctrlr;
	struct plx_nvmf_device *device; /* VIRTUAL */
	struct plx_thread *thread; /* VIRTUAL inline: the loop in which @ctrlr was made */
	struct plx_reactor *reactor; /* VIRTUAL on a core of its own */
	unsigned made; /* controllers of @device, for their names */
	/* "" for the defaults; of the options of the job that was first */
	char *virtual_spec;
	struct nvme_options first; /* those options; not its texts, which are the job's */
	struct shared_ctrlr *next;
};

/** shared_find - the controller of @trid, when it is connected; NULL */
struct shared_ctrlr *shared_find(const struct plx_nvme_trid *trid);
/** shared_same - both name the same controller */
bool shared_same(const struct plx_nvme_trid *a, const struct plx_nvme_trid *b);
/**
 * shared_attach - the controller of @trid, connected when first asked for (setup)
 * Return: NULL after a line, or when fio was told to end
 */
struct shared_ctrlr *shared_attach(const struct thread_data *td, const struct plx_nvme_trid *trid,
				   const struct nvme_options *o);
/**
 * shared_own_ctrlr - one more controller of an inline device, run by @thread, the current one
 * Return: NULL after a line
 */
struct plx_nvme_ctrlr *shared_own_ctrlr(const struct thread_data *td, struct shared_ctrlr *c,
					struct plx_thread *thread, const struct nvme_options *o);
/** shared_give_back - disconnect it and take it from its device; in the thread that got it */
void shared_give_back(struct plx_nvme_ctrlr *ctrlr);

/* ---- zones.c ---- */

struct zbd_zone;
struct plx_nvme_zns;

/** struct zone_path - a zoned namespace, and a queue pair of the current thread that leads there */
struct zone_path {
	struct plx_nvme_ns *ns;
	struct plx_nvme_qpair *qp;
	uint32_t block; /* bytes that a block takes of a file */
	bool own; /* @qp was made for this */
};

/** zones_reset - empty @n zones from the @first on, and wait. Return: 0; -errno */
int zones_reset(const struct zone_path *p, uint64_t first, uint64_t n);
/** zones_max_open - zones that may be written at a time; 0: no limit */
uint32_t zones_max_open(const struct plx_nvme_zns *zns);
/* fio's report_zones() and reset_wp() */
int zones_fio_report(struct thread_data *td, struct fio_file *f, uint64_t offset,
		     struct zbd_zone *zones, unsigned int n);
int zones_fio_reset(struct thread_data *td, struct fio_file *f, uint64_t offset, uint64_t length);
/** zone_path_open - in engine_nvme.c: the job's queue pair, or before it runs one of its own.
 *  zone_path_close() it. Return: 0; -errno after a line */
int zone_path_open(struct thread_data *td, struct fio_file *f, struct zone_path *p);
void zone_path_close(struct thread_data *td, struct zone_path *p);

/** struct path_command - a command on the way there; path_command_done() is its callback.
 *  path_command_wait() for it, with @rc of the submission. Return: 0; -EIO; @rc, with -EAGAIN after
 *  a poll */
struct path_command {
	bool done;
	bool failed;
};
void path_command_done(void *arg, const struct plx_nvme_cpl *cpl);
int path_command_wait(const struct zone_path *p, struct path_command *c, int rc);

/* ---- placement.c ---- */

/* dataplacement= of fio 3.38 and later: streams, and flexible data placement */
#ifdef PLX_FIO_PLACEMENT
#define PLACEMENT_OPS .fdp_fetch_ruhs = placement_fetch,
struct fio_ruhs_info;
/** placement_fetch - fio's fdp_fetch_ruhs(): the namespace's placement identifiers */
int placement_fetch(struct thread_data *td, struct fio_file *f, struct fio_ruhs_info *ruhs);
/** placement_check - what the controller does not have is refused. Return: 0; -1 after a line */
int placement_check(const struct thread_data *td, const struct fio_file *f,
		    struct plx_nvme_ctrlr *c, const struct plx_nvme_ns *ns);
static inline bool placement_wanted(const struct thread_data *td)
{
	return td->o.dp_type;
}
static inline void placement_set(struct plx_nvme_rw *rw, const struct io_u *u)
{
	if (u->dtype)
		plx_nvme_rw_directive(rw, (uint8_t)u->dtype, (uint16_t)u->dspec);
}
#else
#define PLACEMENT_OPS
static inline int placement_check(const struct thread_data *td, const struct fio_file *f,
				  struct plx_nvme_ctrlr *c, const struct plx_nvme_ns *ns)
{
	return 0;
}
static inline bool placement_wanted(const struct thread_data *td)
{
	return false;
}
static inline void placement_set(struct plx_nvme_rw *rw, const struct io_u *u)
{
}
#endif

/* ---- wait.c ---- */

/** struct job_wait - what a job with enable_interrupts=1 waits for; @epoll is -1 without */
struct job_wait {
	int epoll;
};

/** wait_add - @qp was made with interrupts. Return: 0; -1 after a line when there are none */
int wait_add(const struct thread_data *td, struct job_wait *w, const struct fio_file *f,
	     const struct plx_nvme_qpair *qp);
/** wait_for_any - until an interrupt of one of them came, all of which are armed, for @t at most
 *  since @start; NULL: until then */
void wait_for_any(const struct job_wait *w, const struct timespec *start, const struct timespec *t);
void wait_end(struct job_wait *w);

/* ---- job.c ---- */

#ifdef PLX_FIO_ERRDETAILS_TD
#define ERRDETAILS_ARGS struct thread_data *td, struct io_u *u
#else
#define ERRDETAILS_ARGS struct io_u *u
#endif

/** struct job_events - I/Os of a job that are done and that fio has not taken; at most its iodepth
 */
struct job_events {
	struct io_u **list;
	unsigned n;
	unsigned taken; /* of them, with the last getevents(): fio has been through them by the next
			 * queue() or getevents() */
	bool all; /* fio takes all there are: the user has set no iodepth_batch_complete_max */
};

static inline void events_add(struct job_events *e, struct io_u *u)
{
	e->list[e->n++] = u;
}

static inline void events_drop_taken(struct job_events *e)
{
	e->n -= e->taken;
	if (plx_unlikely(e->n))
		memmove(e->list, e->list + e->taken, e->n * sizeof(struct io_u *));
	e->taken = 0;
}

static inline int events_take(struct job_events *e, unsigned max)
{
	e->taken = e->all || e->n < max ? e->n : max;
	return (int)e->taken;
}

/** struct job_io - an I/O of a job: what fio's io_u knows as engine_data begins with this */
struct job_io {
	struct io_u *io_u;
	struct { /* why it failed, for fio's message about it */
		uint16_t status; /* NVMe's; 0: @error */
		int error; /* errno of a submission that was refused */
	} result;
};

/** job_io_fail - fio is to report it as failed, with this reason, when it gets the event */
static inline void job_io_fail(struct job_io *io, uint16_t status, int error)
{
	io->result.status = status;
	io->result.error = error;
	io->io_u->error = (unsigned)error;
}

/**
 * io_refuse - fio is to report @io as failed, as one of the job's next events
 *
 * Not as the result of queue(): fio's handling of errors (continue_on_error) is that of events.
 * Return: what queue() returns then
 */
enum fio_q_status io_refuse(struct job_events *e, struct job_io *io, int error);

/** engine_check - what fio must have been told, whatever the engine. Return: 0; -1 after a line */
int engine_check(const struct thread_data *td);
/** memory_wanted - MiB for the buffers of all jobs, rings and tables */
size_t memory_wanted(void);
/**
 * file_is - @f has @blocks blocks of @block bytes: fio learns its size, and what does not fit it is
 * refused
 * Return: 0; -1 after a line
 */
int file_is(struct thread_data *td, struct fio_file *f, uint64_t blocks, uint32_t block);
/** block_shift - log2 of @block; 0 when it is no power of two */
static inline uint32_t block_shift(uint32_t block)
{
	return block & (block - 1) ? 0 : (uint32_t)__builtin_ctz(block);
}
/** past_time - @t has gone by since @start */
bool past_time(const struct timespec *start, const struct timespec *t);

/**
 * job_begin - in init(): a job of @size zeroed bytes that begins with its struct job_events, ready
 * Return: NULL after a line. Free events.list, and the job
 */
void *job_begin(struct thread_data *td, size_t size);
/** job_is_set_up - at the end of setup(): until engine_cleanup() what is shared stays */
void job_is_set_up(struct thread_data *td);
/** engine_cleanup - the job goes, if it began, by @job_free() */
void engine_cleanup(struct thread_data *td, void (*job_free)(void *job));

int engine_iomem_alloc(struct thread_data *td, size_t size);
void engine_iomem_free(struct thread_data *td);
int engine_post_init(struct thread_data *td);
int engine_file_nothing(struct thread_data *td, struct fio_file *f);
struct io_u *engine_event(struct thread_data *td, int event);
char *engine_errdetails(ERRDETAILS_ARGS);
/** engine_register - make @ops known to fio; where fio is another version than the one of the
 *  headers, it is told so and refuses them */
void engine_register(struct ioengine_ops *ops);
void engine_unregister(struct ioengine_ops *ops);

/*
 * DISKLESSIO: fio makes no directories out of what looks like a path. NO_OFFLOAD: a job's I/O stays
 * in its thread, which owns its queues.
 */
#define ENGINE_COMMON(engine_name)                                                                 \
	.name = engine_name, .version = FIO_IOOPS_VERSION,                                         \
	.flags = FIO_RAWIO | FIO_NOEXTEND | FIO_NODISKUTIL | FIO_MEMALIGN | FIO_DISKLESSIO |       \
		 FIO_NO_OFFLOAD,                                                                   \
	.open_file = engine_file_nothing, .close_file = engine_file_nothing,                       \
	.invalidate = engine_file_nothing, .iomem_alloc = engine_iomem_alloc,                      \
	.post_init = engine_post_init, .event = engine_event, .errdetails = engine_errdetails

#endif
