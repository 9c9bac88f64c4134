/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/engines/nvme.c - I/O through pollux's own NVMe driver
 */
#include "driver/host_pi.h"
#include "perf/perf.h"
#include <errno.h>
#include <pollux/nvme_zns.h>

static void io_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	perf_task_done(arg, plx_nvme_status(cpl));
}

/*
 * Without PRACT the host makes the protection information of what it writes, and checks that of
 * what it reads for what PRCHK names (NVM Command Set 1.0c §5.2)
 */
static int protect(struct perf_job *job, struct perf_task *t, const struct plx_nvme_rw *rw)
{
	struct plx_pi_tags tags = { .ref = t->slba, .app = rw->apptag };

	return plx_pi_generate(&job->pi, rw->iov, rw->iovcnt, t->md, t->nlb, &tags);
}

static void protected_read_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	static const uint16_t status[] = {
		[PLX_PI_CHECK_GUARD] = PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_GUARD_CHECK),
		[PLX_PI_CHECK_APP] = PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_APPTAG_CHECK),
		[PLX_PI_CHECK_REF] = PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_REFTAG_CHECK),
	};
	struct perf_task *t = arg;
	struct perf_job *job = t->job;
	struct plx_pi_tags tags = { .ref = t->slba, .check = plx_nvme_pi_checks(job->cfg->prinfo) };
	struct iovec one = { t->buf, (size_t)t->nlb * job->xfer_block };
	struct plx_pi_error err;

	if (plx_nvme_ok(cpl) &&
	    plx_pi_verify(&job->pi, &one, 1, t->md, t->nlb, &tags, &err) == -EILSEQ)
		perf_task_done(t, status[err.check]);
	else
		io_done(arg, cpl);
}

/* Metadata, protection information or pieces (-O): everything that plx_nvme_read() has no argument
 * for */
static plx_noinline int submit_ext(struct perf_job *job, struct perf_task *t)
{
	uint32_t len = t->nlb * job->xfer_block, unit = job->cfg->io_unit ? job->cfg->io_unit : len;
	struct iovec one = { t->buf, len };
	struct plx_nvme_rw rw = { .iov = &one,
				  .iovcnt = 1,
				  .nlb = t->nlb,
				  .slba = t->slba,
				  .md = t->md,
				  .flags = job->cfg->prinfo };
	bool host_pi = job->pi.type && !(rw.flags & PLX_NVME_RW_PRACT);

	plx_nvme_rw_ref(&job->pi, &rw, t->slba);
	if (t->iov) {
		rw.iov = t->iov;
		rw.iovcnt = 0;
		for (uint32_t off = 0; off < len; off += unit)
			t->iov[rw.iovcnt++] = (struct iovec){ (char *)t->buf + off,
							      len - off < unit ? len - off : unit };
	}
	if (t->is_read)
		return plx_nvme_readv(job->ns, job->engine_data, &rw,
				      host_pi ? protected_read_done : io_done, t);
	if (host_pi) {
		int rc = protect(job, t, &rw);

		if (rc)
			return rc;
	}
	return plx_nvme_writev(job->ns, job->engine_data, &rw, io_done, t);
}

static int nvme_submit(struct perf_job *job, struct perf_task *t)
{
	if (plx_unlikely(!job->plain))
		return submit_ext(job, t);
	if (t->is_read)
		return plx_nvme_read(job->ns, job->engine_data, t->buf, t->slba, t->nlb, io_done,
				     t);
	return plx_nvme_write(job->ns, job->engine_data, t->buf, t->slba, t->nlb, io_done, t);
}

static int nvme_poll(struct perf_job *job, uint32_t max)
{
	return plx_nvme_qpair_poll(job->engine_data, max);
}

static void nvme_flush(struct perf_job *job)
{
	plx_nvme_qpair_flush(job->engine_data);
}

static void nvme_give_up(struct perf_job *job)
{
	/* when one is under way already, that will do */
	plx_nvme_ctrlr_reset(plx_nvme_ns_ctrlr(job->ns));
}

static void zone_reset_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	perf_zones_reset_done(arg, plx_nvme_status(cpl));
}

static int nvme_reset_zone(struct perf_job *job, uint64_t slba, void *arg)
{
	return plx_nvme_zns_mgmt(job->ns, job->engine_data, slba, NVME_ZNS_ZSA_RESET, 0, NULL,
				 zone_reset_done, arg);
}

static int nvme_wait_fd(struct perf_job *job)
{
	return plx_nvme_qpair_fd(job->engine_data);
}

static bool nvme_may_wait(struct perf_job *job)
{
	return plx_nvme_qpair_arm(job->engine_data);
}

static int nvme_open(struct perf_job *job)
{
	struct plx_nvme_qpair_opts opts;

	plx_nvme_qpair_opts_init(&opts);
	opts.queue_size = perf_queue_entries(job->depth);
	opts.interrupts = job->cfg->interrupts;
	job->engine_data = plx_nvme_qpair_create(plx_nvme_ns_ctrlr(job->ns), &opts);
	return job->engine_data ? 0 : -errno;
}

static void nvme_close(struct perf_job *job)
{
	if (job->engine_data)
		plx_nvme_qpair_destroy(job->engine_data);
	job->engine_data = NULL;
}

const struct perf_engine perf_engine_nvme = {
	.name = "nvme",
	.open = nvme_open,
	.close = nvme_close,
	.submit = nvme_submit,
	.poll = nvme_poll,
	.flush = nvme_flush,
	.give_up = nvme_give_up,
	.reset_zone = nvme_reset_zone,
	.wait_fd = nvme_wait_fd,
	.may_wait = nvme_may_wait,
};
