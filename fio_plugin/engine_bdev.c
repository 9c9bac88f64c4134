/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/engine_bdev.c - the engine "spdk_bdev": fio's I/O through the block layer
 *
 * A file is a bdev of the JSON configuration, by name. A job's thread runs an event loop of its
 * own, with a channel of each of its bdevs. Devices that complete at once do so within queue(); fio
 * gets to know with the next getevents(), so that iodepth is what it says.
 */
#include "fio_plugin/fio_plugin.h"
#include <errno.h>
#include <pollux/bdev.h>
#include <unistd.h>
#include <zbd_types.h>

/* One I/O of a job: what fio's io_u knows as engine_data. Lives as long as the job */
struct bdev_req {
	struct job_io io;
	struct bdev_job *job;
	struct iovec iov;
};

/* A bdev of a job, what fio's file knows as engine data */
struct bdev_lane {
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *ch;
	uint32_t block, shift; /* bytes that a block takes of a file; log2 of it, or 0 */
};

struct bdev_job {
	struct job_events events;
	unsigned nlanes;
	struct plx_thread *thread;
	struct bdev_lane *lanes;
	struct bdev_req *reqs; /* iodepth of them */
};

/* ---- I/O ---- */

static void io_done(struct plx_bdev_io *io, void *arg)
{
	struct bdev_req *r = arg;

	if (plx_unlikely(io->status))
		job_io_fail(&r->io, io->status, EIO);
	events_add(&r->job->events, r->io.io_u);
}

static plx_noinline enum fio_q_status refused(struct bdev_job *job, struct bdev_req *r, int rc)
{
	if (rc != -ENOMEM)
		return io_refuse(&job->events, &r->io, -rc);
	/* with nothing in flight fio would come again without having waited */
	events_drop_taken(&job->events);
	plx_thread_poll(job->thread);
	return FIO_Q_BUSY;
}

static enum fio_q_status bdev_queue(struct thread_data *td, struct io_u *u)
{
	const struct bdev_lane *l = FILE_ENG_DATA(u->file);
	uint64_t offset = u->offset >> l->shift, blocks = u->xfer_buflen >> l->shift;
	struct bdev_job *job = td->io_ops_data;
	struct bdev_req *r = u->engine_data;
	int rc;

	fio_ro_check(td, u);
	events_drop_taken(&job->events); /* devices may complete at once */
	if (plx_unlikely(!l->shift)) {
		offset = u->offset / l->block;
		blocks = u->xfer_buflen / l->block;
	}
	if (plx_unlikely(offset * l->block != u->offset || blocks * l->block != u->xfer_buflen) &&
	    ddir_rw(u->ddir))
		return refused(job, r, -EINVAL);
	r->iov = (struct iovec){ u->xfer_buf, u->xfer_buflen };
	switch (u->ddir) {
	case DDIR_READ:
		rc = plx_bdev_readv(l->desc, l->ch, &r->iov, 1, offset, blocks, io_done, r);
		break;
	case DDIR_WRITE:
		rc = plx_bdev_writev(l->desc, l->ch, &r->iov, 1, offset, blocks, io_done, r);
		break;
	case DDIR_TRIM:
		rc = plx_bdev_unmap(l->desc, l->ch, offset, blocks, io_done, r);
		break;
	case DDIR_SYNC:
	case DDIR_DATASYNC:
		rc = plx_bdev_flush(l->desc, l->ch, 0, plx_bdev_desc_bdev(l->desc)->blocks, io_done,
				    r);
		break;
	default:
		rc = -ENOTSUP;
	}
	return plx_likely(!rc) ? FIO_Q_QUEUED : refused(job, r, rc);
}

static int bdev_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			  const struct timespec *t)
{
	struct bdev_job *job = td->io_ops_data;
	struct timespec start;

	events_drop_taken(&job->events);
	if (t)
		fio_gettime(&start, NULL);
	do {
		plx_thread_poll(job->thread);
	} while (job->events.n < min && (!t || !past_time(&start, t)));
	return events_take(&job->events, max);
}

/* ---- set-up, in fio's main thread ---- */

struct bdev_look {
	struct thread_data *td;
	int rc;
};

/* In the application's thread, which owns the configuration */
static void look_at_files(void *arg)
{
	struct bdev_look *look = arg;
	struct fio_file *f;
	unsigned i;

	for_each_file(look->td, f, i)
	{
		const struct plx_bdev *b = plx_bdev_by_name(f->file_name);

		if (!b) {
			engine_error(look->td,
				     "filename '%s': no bdev of that name in the configuration",
				     f->file_name);
			look->rc = 1;
			return;
		}
		look->rc = file_is(look->td, f, b->blocks, plx_bdev_buf_block(b));
		if (look->rc)
			return;
	}
}

/* zonemode=zbd: fio keeps zones (zonesize) of its own on what has none */
static int bdev_zoned_model(struct thread_data *td, struct fio_file *f, enum zbd_zoned_model *model)
{
	*model = ZBD_NONE;
	return 0;
}

static int bdev_setup(struct thread_data *td)
{
	struct bdev_options *o = td->eo;
	struct bdev_look look = { .td = td };

	if (engine_check(td) || bdev_options_check(td) ||
	    shared_start(td, o->spdk_mem ? (size_t)o->spdk_mem : memory_wanted(), o->log_flags,
			 o->env_context) ||
	    shared_configure(td, o))
		return 1;
	shared_call(look_at_files, &look);
	if (look.rc)
		return 1;
	job_is_set_up(td);
	return 0;
}

/* ---- a job, in its own thread ---- */

static void job_free(void *arg)
{
	struct bdev_job *job = arg;
	struct plx_thread *before = plx_thread_enter(job->thread);

	for (unsigned i = 0; i < job->nlanes; i++) {
		if (job->lanes[i].ch)
			plx_bdev_put_channel(job->lanes[i].ch);
		if (job->lanes[i].desc)
			plx_bdev_close(job->lanes[i].desc);
	}
	plx_thread_enter(before);
	if (job->thread)
		plx_thread_destroy(job->thread);
	free(job->lanes);
	free(job->reqs);
	free(job->events.list);
	free(job);
}

/* A bdev that was removed refuses I/O, which ends the job, and that closes the bdev */
static void bdev_event_cb(enum plx_bdev_event e, struct plx_bdev *bdev, void *arg)
{
}

static int open_lane(struct thread_data *td, struct bdev_lane *l, const struct fio_file *f)
{
	int rc = plx_bdev_open(f->file_name, td_write(td) || td_trim(td), bdev_event_cb, NULL,
			       &l->desc);
	const struct plx_bdev *b;

	if (rc) {
		engine_error(td, "bdev '%s' cannot be opened: %s", f->file_name, strerror(-rc));
		return -1;
	}
	b = plx_bdev_desc_bdev(l->desc);
	/* fio's clock runs from the first I/O on: memory that is still coming is waited for */
	while ((rc = plx_bdev_ready(b)) == -EAGAIN && !td->terminate)
		usleep(1000);
	if (rc && rc != -EAGAIN)
		engine_error(td, "the memory of bdev '%s' is not to be had: %s", f->file_name,
			     strerror(-rc));
	if (rc)
		return -1;
	l->block = plx_bdev_buf_block(b);
	l->shift = block_shift(l->block);
	l->ch = plx_bdev_get_channel(l->desc);
	if (!l->ch)
		engine_error(td, "no channel of bdev '%s': %s", f->file_name, strerror(errno));
	return l->ch ? 0 : -1;
}

static int open_lanes(struct thread_data *td, struct bdev_job *job)
{
	struct fio_file *f;
	unsigned i;

	plx_thread_enter(job->thread);
	for_each_file(td, f, i)
	{
		job->nlanes++;
		if (open_lane(td, &job->lanes[i], f))
			return -1;
		FILE_SET_ENG_DATA(f, &job->lanes[i]);
	}
	return 0;
}

static int bdev_init(struct thread_data *td)
{
	struct bdev_job *job = job_begin(td, sizeof *job);

	if (!job)
		return 1;
	job->lanes = calloc(td->o.nr_files, sizeof(*job->lanes));
	job->reqs = calloc(td->o.iodepth, sizeof(*job->reqs));
	job->thread = plx_thread_create(td->o.name ? td->o.name : "fio");
	if (!job->lanes || !job->reqs || !job->thread) {
		engine_error(td, "out of memory");
	} else if (!open_lanes(td, job)) {
		td->io_ops_data = job;
		return 0;
	}
	job_free(job);
	return 1;
}

static void bdev_cleanup(struct thread_data *td)
{
	engine_cleanup(td, job_free);
}

static int bdev_io_u_init(struct thread_data *td, struct io_u *u)
{
	struct bdev_job *job = td->io_ops_data;
	struct bdev_req *r = &job->reqs[u->index];

	r->io.io_u = u;
	r->job = job;
	u->engine_data = r;
	return 0;
}

/* ---- what fio calls ---- */

#define BDEV_ENGINE(engine_name)                                                                   \
	{                                                                                          \
		ENGINE_COMMON(engine_name),                                                        \
			.setup = bdev_setup, .init = bdev_init, .queue = bdev_queue,               \
			.getevents = bdev_getevents, .cleanup = bdev_cleanup,                      \
			.io_u_init = bdev_io_u_init, .iomem_free = engine_iomem_free,              \
			.get_zoned_model = bdev_zoned_model, .options = bdev_option_table,         \
			.option_struct_size = sizeof(struct bdev_options),                         \
	}

static struct ioengine_ops engine_pollux = BDEV_ENGINE("pollux_bdev");
/* also what the module for ioengine=external:PATH points to */
struct ioengine_ops plx_fio_bdev_engine = BDEV_ENGINE("spdk_bdev");

static void fio_init bdev_register(void)
{
	engine_register(&plx_fio_bdev_engine);
	engine_register(&engine_pollux);
}

static void fio_exit bdev_unregister(void)
{
	engine_unregister(&plx_fio_bdev_engine);
	engine_unregister(&engine_pollux);
}
