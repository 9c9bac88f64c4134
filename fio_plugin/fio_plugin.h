/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/fio_plugin.h - what the files of the fio engines share
 *
 *   options.c      the option tables, as users of the engines know them, and what is refused
 *   shared.c       what all jobs of a process share: environment, application thread, controllers
 *   job.c          what both engines do alike for a job: checks, sizes, buffers
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

#include <pollux/nvme.h>
#include <pollux/nvmf.h>
#include <pollux/thread.h>

/** struct nvme_options - of a job with the engine "spdk"; fio wants nothing of use at offset 0 */
struct nvme_options {
	void *pad;
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
	void *pad;
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
int nvme_options_check(struct nvme_options *o);
int bdev_options_check(const struct bdev_options *o);

/** engine_error - one line on fio's error stream, begun with the engine's name */
void engine_error(const struct thread_data *td, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- shared.c ---- */

/** shared_start - the environment and the application thread, once per process. Return: 0; -1 after
 *  a line */
int shared_start(const struct thread_data *td, size_t mem_mb, const char *log_flags);
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
	struct shared_ctrlr *next;
};

/**
 * shared_attach - the controller of @trid, connected when first asked for (setup)
 * Return: NULL after a line
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

/* ---- job.c ---- */

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
/** past_time - @t has gone by since @start */
bool past_time(const struct timespec *start, const struct timespec *t);

int engine_iomem_alloc(struct thread_data *td, size_t size);
void engine_iomem_free(struct thread_data *td);
int engine_file_nothing(struct thread_data *td, struct fio_file *f);

/* DISKLESSIO: fio makes no directories out of what looks like a path */
#define ENGINE_COMMON(engine_name)                                                                 \
	.name = engine_name, .version = FIO_IOOPS_VERSION,                                         \
	.flags = FIO_RAWIO | FIO_NOEXTEND | FIO_NODISKUTIL | FIO_MEMALIGN | FIO_DISKLESSIO,        \
	.open_file = engine_file_nothing, .close_file = engine_file_nothing,                       \
	.invalidate = engine_file_nothing, .iomem_alloc = engine_iomem_alloc,                      \
	.iomem_free = engine_iomem_free

#endif
