/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/engine_bdev.c - the engine "spdk_bdev": fio's I/O through the block layer
 *
 * A file is a bdev of the JSON configuration, by name. A job's thread runs an event loop of its
 * own, with a channel of each of its bdevs; devices that complete at once do so within queue().
 */
#include "fio_plugin/fio_plugin.h"
#include <errno.h>
#include <pollux/bdev.h>
#include <unistd.h>

/* One I/O of a job: what fio's io_u knows as engine_data. Lives as long as the io_u */
struct bdev_req {
	struct io_u *io_u;
	struct bdev_job *job;
	struct iovec iov;
	bool submitting; /* a completion now is queue()'s to report */
	bool done;
};

/* A bdev of a job, what fio's file knows as engine data */
struct bdev_lane {
	struct plx_bdev_desc *desc;
	struct plx_bdev_channel *ch;
	uint32_t shift; /* log2 of the bytes that a block takes of a file */
	bool removed;
};

struct bdev_job {
	struct io_u **events; /* completed; as many as can be in flight */
	unsigned nevents, taken; /* of them, what fio took with the last getevents() */
	unsigned nlanes;
	struct plx_thread *thread;
	struct bdev_lane *lanes;
	bool removed; /* a lane's device went away */
};

/* ---- I/O ---- */

static plx_noinline void io_failed(struct io_u *u, uint16_t status)
{
	char text[96];

	u->error = EIO;
	log_err("spdk_bdev: %s at offset %llu, %llu bytes: %s\n", io_ddir_name(u->ddir), u->offset,
		u->xfer_buflen, plx_nvme_status_text(status, text, sizeof text));
}

static void io_done(struct plx_bdev_io *io, void *arg)
{
	struct bdev_req *r = arg;

	if (plx_unlikely(io->status))
		io_failed(r->io_u, io->status);
	if (r->submitting)
		r->done = true;
	else
		r->job->events[r->job->nevents++] = r->io_u;
}

static plx_noinline enum fio_q_status refused(struct io_u *u, int rc)
{
	if (rc == -ENOMEM)
		return FIO_Q_BUSY;
	u->error = -rc;
	return FIO_Q_COMPLETED;
}

static enum fio_q_status bdev_queue(struct thread_data *td, struct io_u *u)
{
	const struct bdev_lane *l = FILE_ENG_DATA(u->file);
	uint64_t offset = u->offset >> l->shift, blocks = u->xfer_buflen >> l->shift;
	struct bdev_req *r = u->engine_data;
	int rc;

	fio_ro_check(td, u);
	r->iov = (struct iovec){ u->xfer_buf, u->xfer_buflen };
	r->submitting = true;
	r->done = false;
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
	r->submitting = false;
	if (plx_unlikely(rc))
		return refused(u, rc);
	return r->done ? FIO_Q_COMPLETED : FIO_Q_QUEUED;
}

/* A turn may bring more than fio asks for: the rest is the next call's */
static int bdev_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			  const struct timespec *t)
{
	struct bdev_job *job = td->io_ops_data;
	struct timespec start;

	job->nevents -= job->taken;
	memmove(job->events, job->events + job->taken, job->nevents * sizeof(*job->events));
	if (t)
		fio_gettime(&start, NULL);
	do {
		plx_thread_poll(job->thread);
		if (job->nevents >= min)
			break;
		if (plx_unlikely(job->removed)) {
			td_verror(td, ENXIO, "a bdev was removed");
			job->taken = 0;
			return -ENXIO;
		}
	} while (!t || !past_time(&start, t));
	job->taken = job->nevents < max ? job->nevents : max;
	return (int)job->taken;
}

static struct io_u *bdev_event(struct thread_data *td, int event)
{
	const struct bdev_job *job = td->io_ops_data;

	return job->events[event];
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

static int bdev_setup(struct thread_data *td)
{
	const struct bdev_options *o = td->eo;
	struct bdev_look look = { .td = td };

	if (engine_check(td) || bdev_options_check(o) ||
	    shared_start(td, o->spdk_mem ? (size_t)o->spdk_mem : memory_wanted(), o->log_flags) ||
	    shared_configure(td, o))
		return 1;
	shared_call(look_at_files, &look);
	return look.rc ? 1 : 0;
}

/* ---- a job, in its own thread ---- */

static void bdev_event_cb(enum plx_bdev_event e, struct plx_bdev *bdev, void *arg)
{
	struct bdev_job *job = arg;

	if (e == PLX_BDEV_EVENT_REMOVE)
		job->removed = true;
}

static void job_free(struct bdev_job *job)
{
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
	free(job->events);
	free(job);
}

static int open_lane(struct thread_data *td, struct bdev_job *job, struct bdev_lane *l,
		     const struct fio_file *f)
{
	int rc = plx_bdev_open(f->file_name, td_write(td) || td_trim(td), bdev_event_cb, job,
			       &l->desc);
	const struct plx_bdev *b;

	if (rc) {
		engine_error(td, "bdev '%s' cannot be opened: %s", f->file_name, strerror(-rc));
		return -1;
	}
	b = plx_bdev_desc_bdev(l->desc);
	/* fio's clock runs from the first I/O on: memory that is still coming is waited for */
	while ((rc = plx_bdev_ready(b)) == -EAGAIN)
		usleep(1000);
	if (rc) {
		engine_error(td, "the memory of bdev '%s' is not to be had: %s", f->file_name,
			     strerror(-rc));
		return -1;
	}
	l->shift = (uint32_t)__builtin_ctz(plx_bdev_buf_block(b));
	l->ch = plx_bdev_get_channel(l->desc);
	if (!l->ch)
		engine_error(td, "no channel of bdev '%s': %s", f->file_name, strerror(errno));
	return l->ch ? 0 : -1;
}

static int bdev_init(struct thread_data *td)
{
	struct bdev_job *job = calloc(1, sizeof *job);
	struct fio_file *f;
	unsigned i;
	int rc = 0;

	if (job) {
		job->events = calloc(td->o.iodepth, sizeof(*job->events));
		job->lanes = calloc(td->o.nr_files, sizeof(*job->lanes));
		job->thread = plx_thread_create(td->o.name ? td->o.name : "fio");
	}
	if (!job || !job->events || !job->lanes || !job->thread) {
		engine_error(td, "out of memory");
		rc = -1;
	} else {
		plx_thread_enter(job->thread);
	}
	for_each_file(td, f, i)
	{
		if (rc)
			break;
		rc = open_lane(td, job, &job->lanes[job->nlanes++], f);
		FILE_SET_ENG_DATA(f, &job->lanes[i]);
	}
	if (!rc)
		td->io_ops_data = job;
	else if (job)
		job_free(job);
	return rc ? 1 : 0;
}

static void bdev_cleanup(struct thread_data *td)
{
	if (td->io_ops_data)
		job_free(td->io_ops_data);
	td->io_ops_data = NULL;
}

static void bdev_io_u_free(struct thread_data *td, struct io_u *u)
{
	free(u->engine_data);
	u->engine_data = NULL;
}

static int bdev_io_u_init(struct thread_data *td, struct io_u *u)
{
	struct bdev_req *r = calloc(1, sizeof *r);

	u->engine_data = r;
	if (!r)
		return 1;
	r->io_u = u;
	r->job = td->io_ops_data;
	return 0;
}

/* ---- what fio calls ---- */

#define BDEV_ENGINE(engine_name)                                                                   \
	{                                                                                          \
		ENGINE_COMMON(engine_name),                                                        \
			.setup = bdev_setup, .init = bdev_init, .queue = bdev_queue,               \
			.getevents = bdev_getevents, .event = bdev_event, .cleanup = bdev_cleanup, \
			.io_u_init = bdev_io_u_init, .io_u_free = bdev_io_u_free,                  \
			.options = bdev_option_table,                                              \
			.option_struct_size = sizeof(struct bdev_options),                         \
	}

static struct ioengine_ops engine_pollux = BDEV_ENGINE("pollux_bdev");
/* also what the module for ioengine=external:PATH points to */
struct ioengine_ops plx_fio_bdev_engine = BDEV_ENGINE("spdk_bdev");

static void fio_init bdev_register(void)
{
	register_ioengine(&plx_fio_bdev_engine);
	register_ioengine(&engine_pollux);
}

static void fio_exit bdev_unregister(void)
{
	unregister_ioengine(&plx_fio_bdev_engine);
	unregister_ioengine(&engine_pollux);
}
