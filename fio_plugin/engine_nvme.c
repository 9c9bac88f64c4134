/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/engine_nvme.c - the engine "spdk": fio's I/O through the NVMe driver
 *
 * A file is a namespace, a job has a queue pair of its own on each. Buffers are DMA memory, so data
 * moves straight into fio's. With the virtual controller inline, the job's own thread runs the
 * controller too, between submitting and looking for completions.
 */
#include "fio_plugin/fio_plugin.h"
#include <errno.h>

/* One I/O of a job: what fio's io_u knows as engine_data. Lives as long as the io_u */
struct nvme_req {
	struct io_u *io_u;
	struct nvme_job *job;
	struct nvme_dsm_range *range; /* DMA memory, for trims */
	void *md; /* DMA memory, md_per_io_size bytes */
	struct iovec *iov; /* pieces of sge_size */
};

/* A namespace of a job, what fio's file knows as engine data */
struct nvme_lane {
	struct plx_nvme_ns *ns;
	struct plx_nvme_qpair *qp;
	uint32_t shift; /* log2 of the bytes that a block takes of a file */
	bool plain; /* plx_nvme_read() and _write() do: no metadata, no pieces */
	bool separate_md;
};

struct nvme_job {
	/* hot */
	struct io_u **events; /* completed, since getevents() began */
	unsigned nevents;
	unsigned nlanes;
	struct plx_thread *thread; /* inline: runs the controllers; or NULL */
	struct nvme_lane *lanes;
	/* cold */
	const struct nvme_options *o;
	struct plx_nvme_ctrlr **own; /* inline: a controller for each lane, or NULL */
	struct plx_poller *admin;
	unsigned nreqs;
};

/* ---- I/O ---- */

static void io_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_req *r = arg;
	struct nvme_job *job = r->job;

	if (plx_unlikely(!plx_nvme_ok(cpl))) {
		char text[96];

		r->io_u->error = EIO;
		log_err("spdk: %s at offset %llu, %llu bytes: %s\n", io_ddir_name(r->io_u->ddir),
			r->io_u->offset, r->io_u->xfer_buflen,
			plx_nvme_status_text(plx_nvme_status(cpl), text, sizeof text));
	}
	job->events[job->nevents++] = r->io_u;
}

/* Metadata, pieces: everything that plx_nvme_read() has no argument for */
static plx_noinline int submit_ext(const struct nvme_lane *l, struct nvme_req *r, uint64_t slba,
				   uint32_t nlb)
{
	const struct nvme_options *o = r->job->o;
	struct io_u *u = r->io_u;
	struct iovec one = { u->xfer_buf, u->xfer_buflen };
	struct plx_nvme_rw rw = {
		.iov = &one,
		.iovcnt = 1,
		.slba = slba,
		.nlb = nlb,
		.md = l->separate_md ? r->md : NULL,
		.flags = o->rw_flags | (o->pi_act ? PLX_NVME_RW_PRACT : 0),
		.reftag = (uint32_t)slba,
		.apptag = (uint16_t)o->apptag,
		.appmask = (uint16_t)o->apptag_mask,
	};

	if (!plx_nvme_ns_pi_type(l->ns))
		rw.flags = 0;
	if (r->iov) {
		rw.iov = r->iov;
		rw.iovcnt = 0;
		for (size_t off = 0; off < u->xfer_buflen; off += (unsigned)o->sge_size) {
			size_t left = u->xfer_buflen - off;

			r->iov[rw.iovcnt++] = (struct iovec){
				(char *)u->xfer_buf + off,
				left < (unsigned)o->sge_size ? left : (unsigned)o->sge_size,
			};
		}
	}
	return u->ddir == DDIR_READ ? plx_nvme_readv(l->ns, l->qp, &rw, io_done, r)
				    : plx_nvme_writev(l->ns, l->qp, &rw, io_done, r);
}

static plx_noinline int submit_other(const struct nvme_lane *l, struct nvme_req *r, uint64_t slba,
				     uint32_t nlb)
{
	switch (r->io_u->ddir) {
	case DDIR_TRIM:
		*r->range = (struct nvme_dsm_range){ .slba = slba, .nlb = nlb };
		return plx_nvme_dsm(l->ns, l->qp, NVME_DSMGMT_AD, r->range, 1, io_done, r);
	case DDIR_SYNC:
	case DDIR_DATASYNC:
		return plx_nvme_flush(l->ns, l->qp, io_done, r);
	default:
		return -ENOTSUP;
	}
}

static plx_noinline enum fio_q_status refused(struct io_u *u, int rc)
{
	if (rc == -EAGAIN)
		return FIO_Q_BUSY;
	u->error = -rc;
	return FIO_Q_COMPLETED;
}

static enum fio_q_status nvme_queue(struct thread_data *td, struct io_u *u)
{
	const struct nvme_lane *l = FILE_ENG_DATA(u->file);
	struct nvme_req *r = u->engine_data;
	uint64_t slba = u->offset >> l->shift;
	uint32_t nlb = (uint32_t)(u->xfer_buflen >> l->shift);
	int rc;

	fio_ro_check(td, u);
	if (u->ddir != DDIR_READ && u->ddir != DDIR_WRITE)
		rc = submit_other(l, r, slba, nlb);
	else if (plx_unlikely(!l->plain))
		rc = submit_ext(l, r, slba, nlb);
	else if (u->ddir == DDIR_READ)
		rc = plx_nvme_read(l->ns, l->qp, u->xfer_buf, slba, nlb, io_done, r);
	else
		rc = plx_nvme_write(l->ns, l->qp, u->xfer_buf, slba, nlb, io_done, r);
	return plx_likely(!rc) ? FIO_Q_QUEUED : refused(u, rc);
}

/*
 * Events of one call only: fio takes them all before the next. A controller that is gone has
 * called back for everything it had.
 */
static int nvme_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			  const struct timespec *t)
{
	struct nvme_job *job = td->io_ops_data;
	struct timespec start;
	bool lost = false;

	job->nevents = 0;
	if (t)
		fio_gettime(&start, NULL);
	do {
		for (unsigned i = 0; i < job->nlanes && job->nevents < max; i++)
			lost |= plx_nvme_qpair_poll(job->lanes[i].qp, max - job->nevents) < 0;
		if (job->nevents >= min)
			break;
		if (job->thread)
			plx_thread_poll(job->thread);
		if (plx_unlikely(lost && !job->nevents)) {
			td_verror(td, ENXIO, "the controller is gone");
			return -ENXIO;
		}
	} while (!t || !past_time(&start, t));
	return (int)job->nevents;
}

static struct io_u *nvme_event(struct thread_data *td, int event)
{
	const struct nvme_job *job = td->io_ops_data;

	return job->events[event];
}

/* ---- set-up, in fio's main thread ---- */

static int file_trid(const struct thread_data *td, const struct fio_file *f,
		     struct plx_nvme_trid *trid)
{
	char err[256];

	if (!plx_nvme_trid_parse(trid, f->file_name, err, sizeof err))
		return 0;
	engine_error(td, "filename '%s': %s; as in filename=trtype=PCIe traddr=0000.04.00.0 ns=1",
		     f->file_name, err);
	return -1;
}

static struct plx_nvme_ns *file_ns(const struct thread_data *td, const struct fio_file *f,
				   struct plx_nvme_ctrlr *c, uint32_t nsid)
{
	struct plx_nvme_ns *ns;

	if (!nsid)
		nsid = plx_nvme_ctrlr_next_ns(c, 0);
	ns = nsid ? plx_nvme_ctrlr_ns(c, nsid) : NULL;
	if (!ns)
		engine_error(td, "'%s' has no active namespace %u: plx-identify lists them",
			     f->file_name, nsid ? nsid : 1);
	return ns;
}

static int setup_file(struct thread_data *td, struct fio_file *f)
{
	struct plx_nvme_trid trid;
	struct shared_ctrlr *c;
	struct plx_nvme_ns *ns;

	if (file_trid(td, f, &trid))
		return -1;
	c = shared_attach(td, &trid, td->eo);
	if (!c)
		return -1;
	ns = file_ns(td, f, c->ctrlr, trid.nsid);
	return ns ? file_is(td, f, plx_nvme_ns_blocks(ns), plx_nvme_ns_xfer_block_size(ns)) : -1;
}

static int nvme_setup(struct thread_data *td)
{
	struct nvme_options *o = td->eo;
	struct fio_file *f;
	unsigned i;

	if (engine_check(td) || nvme_options_check(o) ||
	    shared_start(td, o->mem_size_mb ? (size_t)o->mem_size_mb : memory_wanted(),
			 o->log_flags))
		return 1;
	for_each_file(td, f, i)
	{
		if (setup_file(td, f))
			return 1;
	}
	return 0;
}

/* ---- a job, in its own thread ---- */

static int poll_admin(void *arg)
{
	const struct nvme_job *job = arg;
	int done = 0;

	for (unsigned i = 0; i < job->nlanes; i++) {
		int rc = job->own[i] ? plx_nvme_ctrlr_poll(job->own[i]) : 0;

		done += rc > 0 ? rc : 0;
	}
	return done;
}

static void job_free(struct nvme_job *job)
{
	struct plx_thread *before = plx_thread_enter(job->thread);

	for (unsigned i = 0; i < job->nlanes; i++) {
		if (job->lanes[i].qp)
			plx_nvme_qpair_destroy(job->lanes[i].qp);
	}
	plx_poller_destroy(job->admin);
	for (unsigned i = 0; i < job->nlanes; i++) {
		if (job->own[i])
			shared_give_back(job->own[i]);
	}
	plx_thread_enter(before);
	if (job->thread)
		plx_thread_destroy(job->thread);
	free(job->own);
	free(job->lanes);
	free(job->events);
	free(job);
}

static int open_lane(struct thread_data *td, struct nvme_job *job, struct nvme_lane *l,
		     const struct fio_file *f)
{
	const struct nvme_options *o = job->o;
	struct plx_nvme_qpair_opts opts;
	struct plx_nvme_ctrlr *ctrlr;
	struct plx_nvme_trid trid;
	struct shared_ctrlr *c;

	if (file_trid(td, f, &trid))
		return -1;
	c = shared_attach(td, &trid, o);
	if (!c)
		return -1;
	ctrlr = c->ctrlr;
	if (c->thread) {
		ctrlr = shared_own_ctrlr(td, c, job->thread, o);
		job->own[l - job->lanes] = ctrlr;
		if (!ctrlr)
			return -1;
	}
	l->ns = file_ns(td, f, ctrlr, trid.nsid);
	if (!l->ns)
		return -1;
	l->shift = (uint32_t)__builtin_ctz(plx_nvme_ns_xfer_block_size(l->ns));
	l->separate_md = plx_nvme_ns_md_size(l->ns) && !plx_nvme_ns_md_extended(l->ns);
	l->plain = !o->enable_sgl && !plx_nvme_ns_md_size(l->ns);
	if (td->o.iodepth > plx_nvme_ctrlr_max_queue_size(ctrlr) - 1) {
		engine_error(td,
			     "iodepth=%u is more than the %u commands a queue of '%s' can "
			     "hold: lower it, or use more jobs",
			     td->o.iodepth, plx_nvme_ctrlr_max_queue_size(ctrlr) - 1, f->file_name);
		return -1;
	}
	plx_nvme_qpair_opts_init(&opts);
	if (td->o.iodepth + 1 > 256)
		opts.queue_size = td->o.iodepth + 1;
	l->qp = plx_nvme_qpair_create(ctrlr, &opts);
	if (!l->qp) {
		engine_error(td, "no queue pair of '%s': %s", f->file_name,
			     errno == ENOSPC ? "it has no more of them: lower numjobs"
					     : strerror(errno));
		return -1;
	}
	if (o->print_qid_mappings)
		log_info("spdk: job %d (%s): '%s' is on queue pair %u\n", td->thread_number,
			 td->o.name, f->file_name, plx_nvme_qpair_id(l->qp));
	return 0;
}

static int job_inline(struct thread_data *td, struct nvme_job *job)
{
	struct plx_nvme_trid trid;
	struct fio_file *f;
	unsigned i;

	for_each_file(td, f, i)
	{
		struct shared_ctrlr *c;

		if (file_trid(td, f, &trid))
			return -1;
		c = shared_attach(td, &trid, job->o);
		if (!c)
			return -1;
		if (!c->thread || job->thread)
			continue;
		job->thread = plx_thread_create(td->o.name ? td->o.name : "fio");
		if (!job->thread)
			return -1;
		plx_thread_enter(job->thread);
		job->admin = plx_poller_create(poll_admin, job, 1000);
		if (!job->admin)
			return -1;
	}
	return 0;
}

static int nvme_init(struct thread_data *td)
{
	struct nvme_job *job = calloc(1, sizeof *job);
	struct fio_file *f;
	unsigned i;
	int rc = -1;

	if (job) {
		job->o = td->eo;
		job->events = calloc(td->o.iodepth, sizeof(*job->events));
		job->lanes = calloc(td->o.nr_files, sizeof(*job->lanes));
		job->own = calloc(td->o.nr_files, sizeof(struct plx_nvme_ctrlr *));
	}
	if (!job || !job->events || !job->lanes || !job->own) {
		engine_error(td, "out of memory");
		goto out;
	}
	rc = job_inline(td, job);
	for_each_file(td, f, i)
	{
		struct nvme_lane *l = &job->lanes[job->nlanes];

		if (rc)
			break;
		job->nlanes++;
		rc = open_lane(td, job, l, f);
		FILE_SET_ENG_DATA(f, l);
	}
out:
	if (rc && job)
		job_free(job);
	else
		td->io_ops_data = job;
	return rc ? 1 : 0;
}

static void nvme_cleanup(struct thread_data *td)
{
	if (td->io_ops_data)
		job_free(td->io_ops_data);
	td->io_ops_data = NULL;
}

/* ---- memory ---- */

static void nvme_io_u_free(struct thread_data *td, struct io_u *u)
{
	struct nvme_req *r = u->engine_data;

	if (!r)
		return;
	plx_dma_free(r->range);
	plx_dma_free(r->md);
	free(r->iov);
	free(r);
	u->engine_data = NULL;
}

static int nvme_io_u_init(struct thread_data *td, struct io_u *u)
{
	struct nvme_job *job = td->io_ops_data;
	const struct nvme_options *o = td->eo;
	struct nvme_req *r = calloc(1, sizeof *r);

	u->engine_data = r;
	if (!r)
		return 1;
	r->io_u = u;
	r->job = job;
	if (td_trim(td))
		r->range = plx_dma_zalloc(sizeof *r->range, 0, PLX_NUMA_ANY);
	if (o->md_per_io_size)
		r->md = plx_dma_zalloc((size_t)o->md_per_io_size, 0, PLX_NUMA_ANY);
	if (o->enable_sgl)
		r->iov = calloc(td_max_bs(td) / (unsigned)o->sge_size + 1, sizeof *r->iov);
	if ((td_trim(td) && !r->range) || (o->md_per_io_size && !r->md) ||
	    (o->enable_sgl && !r->iov)) {
		engine_error(td, "out of memory: lower iodepth, or set mem_size_mb");
		nvme_io_u_free(td, u);
		return 1;
	}
	return 0;
}

/* ---- what fio calls ---- */

#define NVME_ENGINE(engine_name)                                                                   \
	{                                                                                          \
		ENGINE_COMMON(engine_name),                                                        \
			.setup = nvme_setup, .init = nvme_init, .queue = nvme_queue,               \
			.getevents = nvme_getevents, .event = nvme_event, .cleanup = nvme_cleanup, \
			.io_u_init = nvme_io_u_init, .io_u_free = nvme_io_u_free,                  \
			.options = nvme_option_table,                                              \
			.option_struct_size = sizeof(struct nvme_options),                         \
	}

static struct ioengine_ops engine_pollux = NVME_ENGINE("pollux");
static struct ioengine_ops engine_spdk = NVME_ENGINE("spdk");

void get_ioengine(struct ioengine_ops **ops);

/* What fio calls with ioengine=external:PATH */
void get_ioengine(struct ioengine_ops **ops)
{
	*ops = &engine_spdk;
}

/* With LD_PRELOAD the engines are known by name */
static void fio_init nvme_register(void)
{
	register_ioengine(&engine_spdk);
	register_ioengine(&engine_pollux);
}

static void fio_exit nvme_unregister(void)
{
	unregister_ioengine(&engine_spdk);
	unregister_ioengine(&engine_pollux);
}
