/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/engine_nvme.c - the engine "spdk": fio's I/O through the NVMe driver
 *
 * A file is a namespace, a job has a queue pair of its own on each. Buffers are DMA memory, so data
 * moves straight into fio's. With the virtual controller inline, the job's own thread runs the
 * controller too, between submitting and looking for completions.
 */
#include "driver/host_pi.h"
#include "fio_plugin/fio_plugin.h"
#include <errno.h>
#include <pollux/nvme_zns.h>
#include <verify.h>
#include <zbd.h>

/* as in fio_plugin.h */
#pragma weak zbd_do_io_u_trim

/* One I/O of a job: what fio's io_u knows as engine_data. Lives as long as the job */
struct nvme_req {
	struct job_io io;
	struct nvme_job *job;
	struct nvme_dsm_range *range; /* DMA memory, for trims */
	void *md; /* DMA memory, md_per_io_size bytes */
	struct iovec *iov; /* pieces of sge_size */
};

/* How fio's buffers and a namespace's blocks go together */
struct ns_format {
	/* bytes that a block takes of a file: with extended metadata, if there is */
	uint32_t block;
	uint32_t shift; /* log2 of it, or 0 */
	uint32_t flags; /* PLX_NVME_RW_* */
	uint32_t separate_md; /* bytes for a block, in a buffer of their own */
	bool host_pi; /* protection information is made and checked here, not by the controller */
	struct plx_pi_format pi;
};

/* A namespace of a job, what fio's file knows as engine data */
struct nvme_lane {
	struct plx_nvme_ns *ns;
	struct plx_nvme_qpair *qp;
	uint32_t shift;
	bool plain; /* plx_nvme_read() and _write() do: no metadata, no pieces, no append */
	uint64_t append; /* blocks of a zone, when it is written by Zone Append; or 0 */
	struct ns_format format;
};

struct nvme_job {
	/* hot */
	struct job_events events;
	unsigned nlanes;
	struct plx_thread *thread; /* inline: runs the controllers; or NULL */
	struct nvme_lane *lanes;
	/* cold */
	const struct nvme_options *o;
	bool verifies;
	bool waits; /* enable_interrupts=1 */
	struct job_wait wait;
	struct plx_nvme_ctrlr **own; /* inline: a controller for each lane, or NULL */
	struct plx_poller *admin;
	struct nvme_req *reqs; /* iodepth of them, and their parts */
	struct nvme_dsm_range *ranges;
	void *md;
	struct iovec *iovs;
};

static void ns_format_init(struct ns_format *f, const struct plx_nvme_ns *ns,
			   const struct nvme_options *o)
{
	uint32_t md = plx_nvme_ns_md_size(ns);
	unsigned pi = plx_nvme_ns_pi_type(ns);
	bool extended = plx_nvme_ns_md_extended(ns);
	bool stripped = o->pi_act && plx_nvme_pi_stripped(ns);

	f->block = stripped ? plx_nvme_ns_block_size(ns) : plx_nvme_ns_xfer_block_size(ns);
	f->shift = block_shift(f->block);
	f->flags = pi ? o->rw_flags | (o->pi_act ? PLX_NVME_RW_PRACT : 0) : 0;
	f->separate_md = extended || stripped ? 0 : md;
	f->host_pi = pi && !o->pi_act;
	f->pi = plx_nvme_ns_pi(ns);
}

/* ---- I/O ---- */

static void io_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_req *r = arg;

	if (plx_unlikely(!plx_nvme_ok(cpl)))
		job_io_fail(&r->io, plx_nvme_status(cpl), EIO);
	events_add(&r->job->events, r->io.io_u);
}

static struct plx_pi_tags pi_tags(const struct nvme_options *o, uint64_t slba)
{
	return (struct plx_pi_tags){
		.ref = slba,
		.app = (uint16_t)o->apptag,
		.appmask = (uint16_t)o->apptag_mask,
		.check = plx_nvme_pi_checks(o->rw_flags),
	};
}

static void protected_read_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_req *r = arg;
	struct io_u *u = r->io.io_u;
	const struct nvme_lane *l = FILE_ENG_DATA(u->file);
	struct iovec iov = { u->xfer_buf, u->xfer_buflen };
	struct plx_pi_tags tags = pi_tags(r->job->o, u->offset / l->format.block);

	if (plx_nvme_ok(cpl) && plx_pi_verify(&l->format.pi, &iov, 1, r->md,
					      u->xfer_buflen / l->format.block, &tags, NULL))
		job_io_fail(&r->io, 0, EILSEQ);
	io_done(arg, cpl);
}

/* fio verifies what is where it would have written it */
static void append_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_req *r = arg;
	const struct nvme_lane *l = FILE_ENG_DATA(r->io.io_u->file);

	if (plx_unlikely(r->job->verifies && plx_nvme_ok(cpl) &&
			 plx_nvme_zns_append_lba(cpl) != r->io.io_u->offset / l->format.block))
		job_io_fail(&r->io, 0, ESPIPE);
	io_done(arg, cpl);
}

static int pieces(const struct io_u *u, struct iovec *iov, size_t piece)
{
	int n = 0;

	for (size_t off = 0; off < u->xfer_buflen; off += piece) {
		size_t left = u->xfer_buflen - off;

		iov[n++] = (struct iovec){ (char *)u->xfer_buf + off, left < piece ? left : piece };
	}
	return n;
}

static size_t piece_bytes(const struct nvme_options *o, size_t io)
{
	return o->enable_sgl ? (size_t)o->sge_size : io;
}

/* Metadata, protection information, pieces: all that plx_nvme_read() has no argument for */
static int submit_ext(const struct nvme_lane *l, struct nvme_req *r, uint64_t slba, uint32_t nlb)
{
	const struct nvme_options *o = r->job->o;
	const struct ns_format *f = &l->format;
	struct io_u *u = r->io.io_u;
	struct iovec one = { u->xfer_buf, u->xfer_buflen };
	struct plx_pi_tags tags = pi_tags(o, slba);
	struct plx_nvme_rw rw = {
		.iov = &one,
		.iovcnt = 1,
		.slba = slba,
		.nlb = nlb,
		.md = f->separate_md ? r->md : NULL,
		.flags = f->flags,
		.apptag = tags.app,
		.appmask = tags.appmask,
	};

	plx_nvme_rw_ref(&f->pi, &rw, slba);
	placement_set(&rw, u);
	if (r->iov) {
		rw.iov = r->iov;
		rw.iovcnt = pieces(u, r->iov, piece_bytes(o, u->xfer_buflen));
	}
	if (o->bit_bucket_data_len && u->ddir == DDIR_READ) {
		r->iov[rw.iovcnt++] =
			(struct iovec){ PLX_NVME_BIT_BUCKET, (size_t)o->bit_bucket_data_len };
		rw.nlb += (uint32_t)o->bit_bucket_data_len / f->block;
		rw.buckets = true;
	}
	if (u->ddir == DDIR_WRITE && l->append) {
		rw.slba -= slba % l->append;
		return plx_nvme_zns_append(l->ns, l->qp, &rw, append_done, r);
	}
	if (u->ddir == DDIR_READ)
		return plx_nvme_readv(l->ns, l->qp, &rw, f->host_pi ? protected_read_done : io_done,
				      r);
	if (f->host_pi) {
		int rc = plx_pi_generate(&f->pi, &one, 1, r->md, nlb, &tags);

		if (rc)
			return rc;
	}
	return plx_nvme_writev(l->ns, l->qp, &rw, io_done, r);
}

/* With zonemode=zbd a trim empties a zone, which fio takes note of, and waits for */
static int trim_zone(struct thread_data *td, struct nvme_req *r)
{
	int rc = zbd_do_io_u_trim(td, r->io.io_u);

	if (rc != io_u_completed)
		return rc ? rc : -ENOTSUP;
	events_add(&r->job->events, r->io.io_u);
	return 0;
}

static plx_noinline int submit_other(struct thread_data *td, const struct nvme_lane *l,
				     struct nvme_req *r)
{
	struct io_u *u = r->io.io_u;
	uint64_t slba = u->offset / l->format.block;
	uint64_t nlb = u->xfer_buflen / l->format.block;

	switch (u->ddir) {
	case DDIR_SYNC:
	case DDIR_DATASYNC:
		return plx_nvme_flush(l->ns, l->qp, io_done, r);
	case DDIR_READ:
	case DDIR_WRITE:
	case DDIR_TRIM:
		break;
	default:
		return -ENOTSUP;
	}
	if (u->offset % l->format.block || u->xfer_buflen % l->format.block || nlb > UINT32_MAX)
		return -EINVAL;
	if (u->ddir != DDIR_TRIM)
		return submit_ext(l, r, slba, (uint32_t)nlb);
	if (td->o.zone_mode == ZONE_MODE_ZBD && plx_nvme_ns_zns(l->ns))
		return trim_zone(td, r);
	*r->range = (struct nvme_dsm_range){ .slba = slba, .nlb = (uint32_t)nlb };
	return plx_nvme_dsm(l->ns, l->qp, NVME_DSMGMT_AD, r->range, 1, io_done, r);
}

/*
 * The queue is full, or a reset is under way: fio comes again. With nothing in flight it would come
 * again without having waited, so what makes room is done here.
 */
static plx_noinline enum fio_q_status refused(struct nvme_job *job, const struct nvme_lane *l,
					      struct nvme_req *r, int rc)
{
	if (rc != -EAGAIN)
		return io_refuse(&job->events, &r->io, -rc);
	events_drop_taken(&job->events);
	if (job->thread)
		plx_thread_poll(job->thread);
	plx_nvme_qpair_poll(l->qp, 0);
	return FIO_Q_BUSY;
}

static enum fio_q_status nvme_queue(struct thread_data *td, struct io_u *u)
{
	const struct nvme_lane *l = FILE_ENG_DATA(u->file);
	struct nvme_req *r = u->engine_data;
	uint64_t slba = u->offset >> l->shift;
	uint32_t nlb = (uint32_t)(u->xfer_buflen >> l->shift);
	bool whole = !((u->offset | u->xfer_buflen) & ((1ull << l->shift) - 1));
	int rc;

	fio_ro_check(td, u);
	if (plx_unlikely(!l->plain || !whole) || (u->ddir != DDIR_READ && u->ddir != DDIR_WRITE))
		rc = submit_other(td, l, r);
	else if (u->ddir == DDIR_READ)
		rc = plx_nvme_read(l->ns, l->qp, u->xfer_buf, slba, nlb, io_done, r);
	else
		rc = plx_nvme_write(l->ns, l->qp, u->xfer_buf, slba, nlb, io_done, r);
	return plx_likely(!rc) ? FIO_Q_QUEUED : refused(td->io_ops_data, l, r, rc);
}

/* Return: false once a controller is gone: it has called back for everything it had */
static bool poll_lanes(struct nvme_job *job)
{
	bool there = true;

	if (job->thread) {
		for (unsigned i = 0; i < job->nlanes; i++)
			plx_nvme_qpair_flush(job->lanes[i].qp);
		plx_thread_poll(job->thread);
	}
	for (unsigned i = 0; i < job->nlanes; i++)
		there &= plx_nvme_qpair_poll(job->lanes[i].qp, 0) >= 0;
	return there;
}

static plx_noinline bool none_outstanding(const struct nvme_job *job)
{
	unsigned n = 0;

	for (unsigned i = 0; i < job->nlanes; i++)
		n += plx_nvme_qpair_outstanding(job->lanes[i].qp);
	return !n;
}

/* Nothing to do before the next interrupt? */
static plx_noinline void wait_for_lanes(struct nvme_job *job, const struct timespec *start,
					const struct timespec *t)
{
	for (unsigned i = 0; i < job->nlanes; i++) {
		if (!plx_nvme_qpair_arm(job->lanes[i].qp))
			return;
	}
	wait_for_any(&job->wait, start, t);
}

static int nvme_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			  const struct timespec *t)
{
	struct nvme_job *job = td->io_ops_data;
	struct timespec start;

	events_drop_taken(&job->events);
	if (t)
		fio_gettime(&start, NULL);
	do {
		if (plx_unlikely(!poll_lanes(job)) && job->events.n < min &&
		    none_outstanding(job)) {
			if (!job->events.n)
				return -ENXIO;
			break;
		}
		if (job->events.n >= min)
			break;
		if (plx_unlikely(job->waits))
			wait_for_lanes(job, &start, t);
	} while (!t || !past_time(&start, t));
	return events_take(&job->events, max);
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

/* What the options, the workload and the namespace's format do not allow together */
static int check_format(struct thread_data *td, const struct fio_file *f,
			const struct plx_nvme_ns *ns, const struct ns_format *format)
{
	const struct nvme_options *o = td->eo;
	uint64_t md = td_max_bs(td) / format->block * format->separate_md;

	if (o->rw_flags && !plx_nvme_ns_pi_type(ns))
		engine_error(td, "pi_chk=%s: '%s' is not formatted with protection information",
			     o->pi_chk, f->file_name);
	else if ((o->rw_flags & PLX_NVME_RW_PRCHK_REF) && plx_nvme_ns_pi_type(ns) == 3)
		engine_error(td,
			     "pi_chk=%s: '%s' has protection information of type 3, where REFTAG "
			     "is not checked: leave it out",
			     o->pi_chk, f->file_name);
	else if (md > (uint64_t)o->md_per_io_size)
		engine_error(td,
			     "md_per_io_size=%d is less than the %lu bytes of metadata of an I/O "
			     "to '%s': raise it",
			     o->md_per_io_size, md, f->file_name);
	else if (td->o.verify != VERIFY_NONE && plx_nvme_ns_pi_type(ns) && format->pi.interleaved &&
		 format->block != format->pi.block_size)
		engine_error(td,
			     "verify: '%s' has its protection information among the data, where it "
			     "differs from what fio wrote: leave verify out",
			     f->file_name);
	else
		return 0;
	return -1;
}

/* What only zoned namespaces have */
static int check_zones(struct thread_data *td, const struct fio_file *f,
		       const struct plx_nvme_ns *ns)
{
	const struct nvme_options *o = td->eo;
	const struct plx_nvme_zns *zns = plx_nvme_ns_zns(ns);

	if (!o->zone_append && !o->initial_zone_reset)
		return 0;
	if (!zns)
		engine_error(td, "%s=1: '%s' is not zoned: leave it out",
			     o->zone_append ? "zone_append" : "initial_zone_reset", f->file_name);
	else if (o->zone_append && plx_nvme_ns_pi_type(ns))
		engine_error(td,
			     "zone_append=1: '%s' has protection information, which depends on the "
			     "place: leave it out",
			     f->file_name);
	else if (o->zone_append && td_write(td) && td->o.max_bs[DDIR_WRITE] > zns->max_append_bytes)
		engine_error(td,
			     "zone_append=1: bs=%llu is more than the %u bytes that '%s' appends "
			     "at once: lower it",
			     td->o.max_bs[DDIR_WRITE], zns->max_append_bytes, f->file_name);
	else
		return 0;
	return -1;
}

/* What each read has behind its data, and the controller drops */
static int check_buckets(struct thread_data *td, const struct fio_file *f,
			 const struct plx_nvme_ns *ns, const struct ns_format *format)
{
	const struct nvme_options *o = td->eo;
	const struct nvme_id_ctrl *id = plx_nvme_ctrlr_data(plx_nvme_ns_ctrlr(ns));
	int len = o->bit_bucket_data_len;

	if (!len)
		return 0;
	if (!(id->sgls & NVME_CTRL_SGLS_BIT_BUCKET))
		engine_error(td, "bit_bucket_data_len=%d: '%s' has no bit buckets: leave it out",
			     len, f->file_name);
	else if (plx_nvme_ns_md_size(ns) || plx_nvme_ns_zns(ns))
		engine_error(td, "bit_bucket_data_len=%d: '%s' has metadata or zones: leave it out",
			     len, f->file_name);
	else if ((uint32_t)len % format->block ||
		 (uint64_t)len / format->block >= plx_nvme_ns_blocks(ns))
		engine_error(td,
			     "bit_bucket_data_len=%d: use a multiple of the blocks of %u bytes of "
			     "'%s', less than it has",
			     len, format->block, f->file_name);
	else
		return 0;
	return -1;
}

/* With the first job that uses a namespace, before fio looks at its zones, if any of them says
 * so */
static bool reset_is_due(const struct thread_data *td, const struct fio_file *f)
{
	bool due = false;
	unsigned k;

	for (unsigned i = 0; i < thread_number; i++) {
		struct thread_data *other = tnumber_to_td(i);
		const struct nvme_options *o = other->eo;
		struct fio_file *of;

		if (other->io_ops->setup != td->io_ops->setup)
			continue;
		for_each_file(other, of, k)
		{
			if (strcmp(of->file_name, f->file_name))
				continue;
			if (o->common.set_up)
				return false;
			due |= o->initial_zone_reset;
		}
	}
	return due;
}

static int initial_reset(struct thread_data *td, struct fio_file *f, const struct plx_nvme_ns *ns)
{
	struct zone_path p;
	int rc;

	if (!plx_nvme_ns_zns(ns) || !reset_is_due(td, f))
		return 0;
	rc = zone_path_open(td, f, &p);
	if (rc)
		return -1;
	rc = zones_reset(&p, 0, plx_nvme_ns_zns(ns)->zones);
	zone_path_close(td, &p);
	if (rc)
		engine_error(td, "initial_zone_reset=1: the zones of '%s' cannot be reset: %s",
			     f->file_name, strerror(-rc));
	return rc ? -1 : 0;
}

/* Controllers that are not inline have a queue pair for each file of all jobs that run at once:
 * those between two that wait for the ones before (stonewall) */
static int check_queues(const struct thread_data *td, const struct fio_file *f,
			const struct shared_ctrlr *c)
{
	unsigned wanted = 0, has = plx_nvme_ctrlr_num_io_queues(c->ctrlr), k;
	struct plx_nvme_trid trid;
	bool passed = false;

	for (unsigned i = 0; i < thread_number; i++) {
		struct thread_data *other = tnumber_to_td(i);
		struct fio_file *of;
		char err[8];

		if (other->o.stonewall) {
			if (passed)
				break;
			wanted = 0;
		}
		passed |= other == td;
		if (other->io_ops->setup != td->io_ops->setup || other->o.wait_for)
			continue;
		for_each_file(other, of, k) wanted +=
			!plx_nvme_trid_parse(&trid, of->file_name, err, sizeof err) &&
			shared_same(&trid, &c->trid);
	}
	if (wanted <= has)
		return 0;
	engine_error(td,
		     "'%s' has %u I/O queues, and the jobs that run at once want %u: lower numjobs",
		     f->file_name, has, wanted);
	return -1;
}

static int setup_file(struct thread_data *td, struct fio_file *f)
{
	const struct nvme_options *o = td->eo;
	struct ns_format format;
	struct plx_nvme_trid trid;
	struct shared_ctrlr *c;
	const struct plx_nvme_zns *zns;
	struct plx_nvme_ns *ns;
	uint64_t blocks;
	unsigned most;

	if (file_trid(td, f, &trid))
		return -1;
	c = shared_attach(td, &trid, o);
	ns = c ? file_ns(td, f, c->ctrlr, trid.nsid) : NULL;
	if (!ns)
		return -1;
	most = plx_nvme_ctrlr_max_queue_size(c->ctrlr) - 1;
	if (td->o.iodepth > most) {
		engine_error(td,
			     "iodepth=%u is more than the %u commands that a queue of '%s' can "
			     "hold: lower it, or use more jobs",
			     td->o.iodepth, most, f->file_name);
		return -1;
	}
	ns_format_init(&format, ns, o);
	if (check_format(td, f, ns, &format) || check_zones(td, f, ns) ||
	    check_buckets(td, f, ns, &format) || placement_check(td, f, c->ctrlr, ns) ||
	    (!c->thread && check_queues(td, f, c)))
		return -1;
	zns = plx_nvme_ns_zns(ns);
	blocks = zns ? zns->zones * zns->zone_blocks : plx_nvme_ns_blocks(ns);
	/* the last read has a bucket behind it, too */
	if (file_is(td, f, blocks - (unsigned)o->bit_bucket_data_len / format.block, format.block))
		return -1;
	return initial_reset(td, f, ns);
}

/* ---- zones ---- */

int zone_path_open(struct thread_data *td, struct fio_file *f, struct zone_path *p)
{
	struct nvme_job *job = td->io_ops_data;
	struct plx_nvme_trid trid;
	struct shared_ctrlr *c;
	struct ns_format format;

	if (job) {
		const struct nvme_lane *l = FILE_ENG_DATA(f);

		/* fio is through with what it has taken, and more may come */
		events_drop_taken(&job->events);
		*p = (struct zone_path){ .ns = l->ns, .qp = l->qp, .block = l->format.block };
		return 0;
	}
	if (file_trid(td, f, &trid))
		return -EINVAL;
	c = shared_find(&trid);
	p->ns = c ? file_ns(td, f, c->ctrlr, trid.nsid) : NULL;
	if (!p->ns)
		return -ENODEV;
	ns_format_init(&format, p->ns, td->eo);
	p->block = format.block;
	p->own = true;
	p->qp = plx_nvme_qpair_create(c->ctrlr, NULL);
	if (!p->qp)
		engine_error(td, "no queue pair of '%s': %s", f->file_name, strerror(errno));
	return p->qp ? 0 : -EIO;
}

void zone_path_close(struct thread_data *td, struct zone_path *p)
{
	if (p->own)
		plx_nvme_qpair_destroy(p->qp);
}

/* Which the namespace is is known before the job runs; as in setup(), this is the main thread */
static const struct plx_nvme_ns *zone_ns(struct thread_data *td, struct fio_file *f)
{
	struct plx_nvme_trid trid;
	const struct shared_ctrlr *c = file_trid(td, f, &trid) ? NULL : shared_find(&trid);

	return c ? file_ns(td, f, c->ctrlr, trid.nsid) : NULL;
}

static int nvme_zoned_model(struct thread_data *td, struct fio_file *f, enum zbd_zoned_model *model)
{
	const struct plx_nvme_ns *ns = zone_ns(td, f);

	if (!ns)
		return -ENODEV;
	*model = plx_nvme_ns_zns(ns) ? ZBD_HOST_MANAGED : ZBD_NONE;
	return 0;
}

static int nvme_max_open_zones(struct thread_data *td, struct fio_file *f, unsigned int *max)
{
	const struct plx_nvme_ns *ns = zone_ns(td, f);

	if (!ns)
		return -ENODEV;
	*max = zones_max_open(plx_nvme_ns_zns(ns));
	return 0;
}

static int nvme_setup(struct thread_data *td)
{
	struct nvme_options *o = td->eo;
	struct fio_file *f;
	unsigned i;

	if (engine_check(td) || nvme_options_check(td) ||
	    shared_start(td, o->mem_size_mb ? (size_t)o->mem_size_mb : memory_wanted(),
			 o->log_flags, NULL))
		return 1;
	for_each_file(td, f, i)
	{
		if (setup_file(td, f))
			return 1;
	}
	job_is_set_up(td);
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

/* What is in flight, after an error, is called back */
static void destroy_qpairs(struct nvme_job *job)
{
	for (unsigned i = 0; i < job->nlanes; i++) {
		if (job->lanes[i].qp)
			plx_nvme_qpair_destroy(job->lanes[i].qp);
		job->lanes[i].qp = NULL;
	}
}

static void job_free(void *arg)
{
	struct nvme_job *job = arg;
	struct plx_thread *before = plx_thread_enter(job->thread);

	wait_end(&job->wait);
	destroy_qpairs(job);
	plx_poller_destroy(job->admin);
	for (unsigned i = 0; i < job->nlanes; i++) {
		if (job->own[i])
			shared_give_back(job->own[i]);
	}
	plx_thread_enter(before);
	if (job->thread)
		plx_thread_destroy(job->thread);
	plx_dma_free(job->ranges);
	plx_dma_free(job->md);
	free(job->iovs);
	free(job->reqs);
	free(job->own);
	free(job->lanes);
	free(job->events.list);
	free(job);
}

static const char *const priorities[] = { ", of urgent priority", ", of high priority",
					  ", of medium priority", ", of low priority" };

static int open_lane(struct thread_data *td, struct nvme_job *job, struct nvme_lane *l,
		     const struct fio_file *f, const struct plx_nvme_trid *trid,
		     struct shared_ctrlr *c)
{
	struct plx_nvme_ctrlr *ctrlr = c->ctrlr;
	struct plx_nvme_qpair_opts opts;

	if (c->thread) {
		ctrlr = shared_own_ctrlr(td, c, job->thread, job->o);
		job->own[l - job->lanes] = ctrlr;
		if (!ctrlr)
			return -1;
	}
	l->ns = file_ns(td, f, ctrlr, trid->nsid);
	if (!l->ns)
		return -1;
	ns_format_init(&l->format, l->ns, job->o);
	l->shift = l->format.shift;
	if (job->o->zone_append)
		l->append = plx_nvme_ns_zns(l->ns)->zone_blocks;
	l->plain = !job->o->enable_sgl && !job->o->bit_bucket_data_len &&
		   !plx_nvme_ns_md_size(l->ns) && l->shift && !l->append && !placement_wanted(td);
	plx_nvme_qpair_opts_init(&opts);
	opts.priority = job->o->enable_wrr ? (uint8_t)job->o->wrr_priority : 0;
	opts.interrupts = job->waits;
	if (td->o.iodepth + 1 > 256)
		opts.queue_size = td->o.iodepth + 1;
	l->qp = plx_nvme_qpair_create(ctrlr, &opts);
	if (!l->qp) {
		engine_error(td, "no queue pair of '%s': %s", f->file_name,
			     errno == ENOSPC   ? "it has no more of them: lower numjobs"
			     : errno == ENOMEM ? "out of memory: set mem_size_mb"
					       : strerror(errno));
		return -1;
	}
	if (job->waits && wait_add(td, &job->wait, f, l->qp))
		return -1;
	if (job->o->print_qid_mappings)
		log_info("%s: job %d (%s): '%s' is on queue pair %u%s\n", td->io_ops->name,
			 td->thread_number, td->o.name, f->file_name, plx_nvme_qpair_id(l->qp),
			 job->o->enable_wrr ? priorities[job->o->wrr_priority] : "");
	return 0;
}

/* The loop in which inline controllers run */
static int job_thread(struct thread_data *td, struct nvme_job *job)
{
	if (job->thread)
		return 0;
	job->thread = plx_thread_create(td->o.name ? td->o.name : "fio");
	if (!job->thread)
		return -1;
	plx_thread_enter(job->thread);
	job->admin = plx_poller_create(poll_admin, job, 1000);
	return job->admin ? 0 : -1;
}

static int open_lanes(struct thread_data *td, struct nvme_job *job)
{
	struct fio_file *f;
	unsigned i;

	for_each_file(td, f, i)
	{
		struct nvme_lane *l = &job->lanes[i];
		struct plx_nvme_trid trid;
		struct shared_ctrlr *c;

		if (file_trid(td, f, &trid))
			return -1;
		c = shared_find(&trid);
		if (!c)
			return -1;
		if (c->thread && job_thread(td, job)) {
			engine_error(td, "out of memory");
			return -1;
		}
		job->nlanes++;
		if (open_lane(td, job, l, f, &trid, c))
			return -1;
		FILE_SET_ENG_DATA(f, l);
	}
	return 0;
}

static size_t md_bytes(const struct nvme_job *job)
{
	for (unsigned i = 0; i < job->nlanes; i++) {
		if (job->lanes[i].format.separate_md)
			return ((size_t)job->o->md_per_io_size + 63) & ~(size_t)63;
	}
	return 0;
}

/* What the I/Os need beside fio's buffers */
static int job_memory(struct thread_data *td, struct nvme_job *job)
{
	size_t n = td->o.iodepth, md = md_bytes(job), most = td_max_bs(td);
	bool listed = job->o->enable_sgl || job->o->bit_bucket_data_len;
	/* pieces, what is left, a bucket */
	size_t cnt = listed ? most / piece_bytes(job->o, most) + 2 : 0;

	job->reqs = calloc(n, sizeof *job->reqs);
	job->ranges = plx_dma_zalloc(n * sizeof *job->ranges, 0, PLX_NUMA_ANY);
	job->md = md ? plx_dma_zalloc(n * md, 0, PLX_NUMA_ANY) : NULL;
	job->iovs = cnt ? calloc(n * cnt, sizeof *job->iovs) : NULL;
	if (!job->reqs || !job->ranges || (md && !job->md) || (cnt && !job->iovs))
		return -1;
	for (size_t i = 0; i < n; i++) {
		job->reqs[i] = (struct nvme_req){
			.job = job,
			.range = &job->ranges[i],
			.md = md ? (char *)job->md + i * md : NULL,
			.iov = cnt ? &job->iovs[i * cnt] : NULL,
		};
	}
	return 0;
}

static int nvme_init(struct thread_data *td)
{
	struct nvme_job *job = job_begin(td, sizeof *job);

	if (!job)
		return 1;
	job->o = td->eo;
	job->verifies = td->o.verify != VERIFY_NONE;
	job->waits = job->o->enable_interrupts;
	job->wait.epoll = -1;
	job->lanes = calloc(td->o.nr_files, sizeof(*job->lanes));
	job->own = calloc(td->o.nr_files, sizeof(struct plx_nvme_ctrlr *));
	if (!job->lanes || !job->own) {
		engine_error(td, "out of memory");
	} else if (!open_lanes(td, job)) {
		if (!job_memory(td, job)) {
			td->io_ops_data = job;
			return 0;
		}
		engine_error(td, "out of memory: lower iodepth, or set mem_size_mb");
	}
	job_free(job);
	return 1;
}

static void nvme_cleanup(struct thread_data *td)
{
	engine_cleanup(td, job_free);
}

/* fio frees its buffers before it calls cleanup() */
static void nvme_iomem_free(struct thread_data *td)
{
	if (td->io_ops_data)
		destroy_qpairs(td->io_ops_data);
	engine_iomem_free(td);
}

static int nvme_io_u_init(struct thread_data *td, struct io_u *u)
{
	struct nvme_job *job = td->io_ops_data;

	job->reqs[u->index].io.io_u = u;
	u->engine_data = &job->reqs[u->index];
	return 0;
}

/* ---- what fio calls ---- */

#define NVME_ENGINE(engine_name)                                                                   \
	{                                                                                          \
		ENGINE_COMMON(engine_name),                                                        \
			.setup = nvme_setup, .init = nvme_init, .queue = nvme_queue,               \
			.getevents = nvme_getevents, .cleanup = nvme_cleanup,                      \
			.io_u_init = nvme_io_u_init, .iomem_free = nvme_iomem_free,                \
			.get_zoned_model = nvme_zoned_model, .report_zones = zones_fio_report,     \
			.reset_wp = zones_fio_reset, .get_max_open_zones = nvme_max_open_zones,    \
			PLACEMENT_OPS.options = nvme_option_table,                                 \
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
	engine_register(&engine_spdk);
	engine_register(&engine_pollux);
}

static void fio_exit nvme_unregister(void)
{
	engine_unregister(&engine_spdk);
	engine_unregister(&engine_pollux);
}
