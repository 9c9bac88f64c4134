/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/job.c - what both engines do alike for a job
 */
#include "fio_plugin/fio_plugin.h"

/* ---- fio itself ---- */

static bool fio_is_ours(void)
{
	static bool told;

	if (!strcmp(fio_version_string, PLX_FIO_VERSION))
		return true;
	if (!told)
		fprintf(stderr,
			"pollux: these engines were built for %s, and this is %s: build them for "
			"it (meson configure -Dfio_source=, docs/fio.md)\n",
			PLX_FIO_VERSION, fio_version_string);
	told = true;
	return false;
}

void engine_register(struct ioengine_ops *ops)
{
	if (!register_ioengine)
		return;
	/* what fio's structures are like changes more often than the version of its interface */
	if (!fio_is_ours())
		ops->version = -1;
	register_ioengine(ops);
}

void engine_unregister(struct ioengine_ops *ops)
{
	if (unregister_ioengine)
		unregister_ioengine(ops);
}

/* ---- set-up ---- */

int engine_check(const struct thread_data *td)
{
	if (!td->o.use_thread)
		engine_error(td, "jobs are threads that share the devices: add thread=1");
	else if (!td->o.create_serialize)
		engine_error(td, "devices are opened before the jobs start: leave out "
				 "create_serialize=0");
	else
		return 0;
	return -1;
}

size_t memory_wanted(void)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < thread_number; i++) {
		struct thread_data *td = tnumber_to_td(i);

		/* buffers; metadata and lists; rings and tables of a queue pair, and of a
		 * controller */
		bytes += (size_t)td->o.iodepth * (td_max_bs(td) + 2 * PLX_PAGE_SIZE) +
			 td->o.nr_files * (4ul << 20);
	}
	return 32 + (bytes * 3 / 2 >> 20);
}

static int check_bs(const struct thread_data *td, const struct fio_file *f, enum fio_ddir d,
		    uint32_t block)
{
	const unsigned long long sizes[] = { td->o.min_bs[d], td->o.ba[d] };
	static const char *const names[] = { "bs", "blockalign" };

	for (unsigned i = 0; i < 2; i++) {
		if (sizes[i] % block == 0)
			continue;
		engine_error(td,
			     "%s=%llu is no multiple of the %u-byte blocks of '%s': use a multiple "
			     "of %u",
			     names[i], sizes[i], block, f->file_name, block);
		return -1;
	}
	return 0;
}

/* Bytes of the file that the job asks for, from its offset on; 0: what there is */
static uint64_t bytes_wanted(const struct thread_data *td, const struct fio_file *f)
{
	if (td->o.file_size_high)
		return td->o.file_size_high - f->file_offset;
	return td->o.size == -1ULL ? 0 : td->o.size / td->o.nr_files;
}

int file_is(struct thread_data *td, struct fio_file *f, uint64_t blocks, uint32_t block)
{
	uint64_t bytes = blocks * block;

	if ((td_read(td) && check_bs(td, f, DDIR_READ, block)) ||
	    (td_write(td) && check_bs(td, f, DDIR_WRITE, block)) ||
	    (td_trim(td) && check_bs(td, f, DDIR_TRIM, block)))
		return -1;
	f->real_file_size = bytes;
	f->filetype = FIO_TYPE_BLOCK;
	f->file_offset = get_start_offset(td, f);
	if (f->file_offset >= bytes) {
		engine_error(td, "offset=%lu is beyond the %lu bytes of '%s': lower it",
			     f->file_offset, bytes, f->file_name);
		return -1;
	}
	if (bytes_wanted(td, f) > bytes - f->file_offset) {
		engine_error(td,
			     "%s=%llu from offset %lu on is more than the %lu bytes of '%s': lower "
			     "it, or leave it out",
			     td->o.file_size_high ? "filesize" : "size",
			     td->o.file_size_high ? td->o.file_size_high : td->o.size,
			     f->file_offset, bytes, f->file_name);
		return -1;
	}
	if (f->file_offset % block) {
		engine_error(td,
			     "offset %lu is no multiple of the %u-byte blocks of '%s': use a "
			     "multiple of %u",
			     f->file_offset, block, f->file_name, block);
		return -1;
	}
	fio_file_set_size_known(f);
	return 0;
}

void *job_begin(struct thread_data *td, size_t size)
{
	struct job_events *e;

	if (engine_check(td)) /* create_serialize=0: there has been no setup() */
		return NULL;
	shared_job_run();
	e = calloc(1, size);
	if (e) {
		e->all = !fio_option_is_set(&td->o, iodepth_batch_complete_max);
		e->list = calloc(td->o.iodepth, sizeof(struct io_u *));
	}
	if (e && e->list)
		return e;
	engine_error(td, "out of memory");
	free(e);
	return NULL;
}

void job_is_set_up(struct thread_data *td)
{
	struct engine_options *o = td->eo;

	o->set_up = true;
	shared_job_begin();
}

void engine_cleanup(struct thread_data *td, void (*job_free)(void *job))
{
	const struct engine_options *o = td->eo;

	if (td->io_ops_data)
		job_free(td->io_ops_data);
	td->io_ops_data = NULL;
	if (o->set_up)
		shared_job_end();
}

/* ---- I/O ---- */

enum fio_q_status io_refuse(struct job_events *e, struct job_io *io, int error)
{
	job_io_fail(io, 0, error);
	events_drop_taken(e);
	events_add(e, io->io_u);
	return FIO_Q_QUEUED;
}

struct io_u *engine_event(struct thread_data *td, int event)
{
	const struct job_events *e = td->io_ops_data;

	return e->list[event];
}

char *engine_errdetails(ERRDETAILS_ARGS)
{
	const struct job_io *io = u->engine_data;
	char text[96];

	if (io->result.status)
		return strdup(plx_nvme_status_text(io->result.status, text, sizeof text));
	switch (io->result.error) {
	case EINVAL:
		return strdup("not within the device, or not a whole number of its blocks");
	case EILSEQ:
		return strdup("the protection information is not that of the data");
	case ESPIPE:
		return strdup("appended to another place than the one that is verified: use "
			      "iodepth=1, or zone_append=0");
	case ENXIO:
		return strdup("the controller is gone");
	case ENODEV:
		return strdup("the bdev was removed");
	case ENOTSUP:
		return strdup("the device has no such command");
	default:
		return strdup(strerror(io->result.error));
	}
}

bool past_time(const struct timespec *start, const struct timespec *t)
{
	return utime_since_now(start) >=
	       (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_nsec / 1000;
}

/* ---- memory ---- */

int engine_iomem_alloc(struct thread_data *td, size_t size)
{
	td->orig_buffer = plx_dma_zalloc(size, PLX_PAGE_SIZE, PLX_NUMA_ANY);
	if (td->orig_buffer)
		return 0;
	engine_error(td,
		     "no %zu bytes for the buffers of iodepth=%u: lower iodepth or bs, or set "
		     "mem_size_mb (spdk_mem)",
		     size, td->o.iodepth);
	return 1;
}

void engine_iomem_free(struct thread_data *td)
{
	plx_dma_free(td->orig_buffer);
	td->orig_buffer = NULL;
}

/* fio goes on when there was no memory for its buffers */
int engine_post_init(struct thread_data *td)
{
	return (td_read(td) || td_write(td)) && !td->orig_buffer;
}

int engine_file_nothing(struct thread_data *td, struct fio_file *f)
{
	return 0;
}
