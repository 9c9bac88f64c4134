/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/admin.c - admin commands: raw, synchronous, and the common ones by name
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int admin_submit(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, plx_nvme_cb cb,
		 void *arg)
{
	struct plx_nvme_qpair *qp = &c->admin;
	struct plx_nvme_cmd copy = *cmd;
	struct nvme_slot *slot;

	if (!qp->nfree)
		return -EAGAIN;
	slot = qpair_take(qp, &copy.cid);
	qpair_put_cmd(qp, slot, &copy, cb, arg);
	return 0;
}

int admin_may_submit(const struct plx_nvme_ctrlr *c)
{
	uint32_t reserved = c->admin.depth > 4 * NVME_ADMIN_RESERVED ? NVME_ADMIN_RESERVED : 0;

	switch (ctrlr_state(c)) {
	case PLX_NVME_CTRLR_READY:
		return c->admin.nfree > reserved ? 0 : -EAGAIN;
	case PLX_NVME_CTRLR_FAILED:
		return -ENXIO;
	default:
		return -EAGAIN;
	}
}

static int admin_submit_data(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf,
			     uint32_t len, plx_nvme_cb cb, void *arg)
{
	struct iovec iov = { buf, len };
	struct plx_nvme_cmd copy = *cmd;
	struct nvme_slot *slot;
	int rc;

	rc = admin_may_submit(c);
	if (rc)
		return rc;
	nvme_log(DEBUG, "controller '%s': admin command %02xh, namespace %xh, CDW10 %xh, %u bytes",
		 c->name, cmd->opc, cmd->nsid, cmd->cdw10, len);
	slot = qpair_take(&c->admin, &copy.cid);
	copy.flags &=
		/* PRPs: what every controller takes for admin commands */
		(uint8_t)~PLX_NVME_PSDT_MASK;
	if (len) {
		rc = dptr_build(&c->admin, slot, &copy, &iov, 1, len, NULL, 0, false);
		if (rc) {
			qpair_give_back(&c->admin, copy.cid);
			return rc == -E2BIG ? -EINVAL : rc;
		}
	}
	qpair_put_cmd(&c->admin, slot, &copy, cb, arg);
	qpair_ring_sq(&c->admin);
	return 0;
}

static void note_end(const struct plx_nvme_ctrlr *c, const struct plx_nvme_cpl *cpl)
{
	char text[96];

	nvme_log(DEBUG, "controller '%s': the admin command ends: %s", c->name,
		 plx_nvme_status_text(plx_nvme_status(cpl), text, sizeof(text)));
}

/* ---- raw: completed by whichever thread polls, called back in the owner's poll ---- */

static void raw_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct nvme_admin_req *req = arg;
	struct plx_nvme_ctrlr *c = req->c;

	note_end(c, cpl);
	req->cpl = *cpl;
	req->next = NULL;
	*c->done_tail = req;
	c->done_tail = &req->next;
}

int plx_nvme_admin_raw(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf,
		       uint32_t len, plx_nvme_cb cb, void *arg)
{
	struct nvme_admin_req *req;
	int rc;

	if (!cb || (!buf && len) || len > c->max_io_bytes)
		return -EINVAL;
	req = malloc(sizeof(*req));
	if (!req)
		return -ENOMEM;
	*req = (struct nvme_admin_req){ .c = c, .cb = cb, .arg = arg };
	/* another thread's set-up has the lock for the time of one turn */
	if (pthread_mutex_trylock(&c->lock)) {
		free(req);
		return -EAGAIN;
	}
	rc = admin_submit_data(c, cmd, buf, len, raw_done, req);
	pthread_mutex_unlock(&c->lock);
	if (rc)
		free(req);
	return rc;
}

/* ---- synchronous ---- */

struct sync_wait {
	struct plx_nvme_cpl cpl;
	_Atomic bool done;
};

static void sync_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct sync_wait *w = arg;

	w->cpl = *cpl;
	atomic_store_explicit(&w->done, true, memory_order_release);
}

/* Wait for a free identifier, but not for the end of a reset: that may need the caller to poll its
 * queue pairs. */
static int sync_submit(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf,
		       uint32_t len, struct sync_wait *w, uint64_t deadline)
{
	for (;;) {
		int rc;

		pthread_mutex_lock(&c->lock);
		rc = admin_submit_data(c, cmd, buf, len, sync_done, w);
		pthread_mutex_unlock(&c->lock);
		if (rc != -EAGAIN || ctrlr_state(c) != PLX_NVME_CTRLR_READY)
			return rc;
		if (plx_tsc() > deadline)
			return -ETIMEDOUT;
		ctrlr_setup_turn(c);
	}
}

int plx_nvme_admin_sync(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf,
			uint32_t len, struct plx_nvme_cpl *cpl)
{
	bool to_ctrlr = cmd->opc & 1,
	     to_host = cmd->opc & 2; /* §3.3.3.1: data transfer in the opcode */
	uint32_t ms =
		admin_is_long(cmd->opc) ? c->opts.long_admin_timeout_ms : c->opts.admin_timeout_ms;
	uint64_t deadline = plx_tsc() + (uint64_t)ms * c->tsc_ms;
	struct sync_wait w = { .done = false };
	void *bounce = NULL;
	int rc;

	if ((!buf && len) || len > c->max_io_bytes)
		return -EINVAL;
	if (len) {
		bounce = plx_dma_zalloc(len, PLX_PAGE_SIZE, c->dev->numa);
		if (!bounce)
			return -ENOMEM;
		if (to_ctrlr)
			memcpy(bounce, buf, len);
	}
	rc = sync_submit(c, cmd, bounce, len, &w, deadline);
	if (rc)
		goto out;
	/* the command comes back whatever happens: a timeout leads to a reset, and that or a
	 * failure ends it */
	while (!atomic_load_explicit(&w.done, memory_order_acquire))
		ctrlr_setup_turn(c);
	note_end(c, &w.cpl);
	if (!plx_nvme_ok(&w.cpl) && plx_tsc() > deadline &&
	    ctrlr_state(c) != PLX_NVME_CTRLR_READY) {
		rc = -ETIMEDOUT;
		goto out;
	}
	*cpl = w.cpl;
	if (to_host && len && plx_nvme_ok(cpl))
		memcpy(buf, bounce, len);
out:
	plx_dma_free(bounce);
	return rc;
}

/* ---- by name ---- */

int admin_call(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf, uint32_t len,
	       uint32_t *value)
{
	struct plx_nvme_cpl cpl;
	int rc = plx_nvme_admin_sync(c, cmd, buf, len, &cpl);

	if (rc)
		return rc;
	if (value)
		*value = cpl.dw0;
	return plx_nvme_status(&cpl);
}

/* §5.17 */
void admin_identify_cmd(struct plx_nvme_cmd *cmd, uint8_t cns, uint32_t nsid, uint16_t cntid,
			uint8_t csi)
{
	*cmd = (struct plx_nvme_cmd){
		.opc = nvme_admin_identify,
		.nsid = nsid,
		.cdw10 = (uint32_t)cntid << 16 | cns,
		.cdw11 = (uint32_t)csi << 24,
	};
}

int plx_nvme_identify(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid, uint16_t cntid,
		      uint8_t csi, void *buf)
{
	struct plx_nvme_cmd cmd;

	admin_identify_cmd(&cmd, cns, nsid, cntid, csi);
	return admin_call(c, &cmd, buf, sizeof(struct nvme_id_ctrl), NULL);
}

/* §5.15 */
int plx_nvme_get_feature(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t nsid, uint8_t sel,
			 uint32_t cdw11, void *buf, uint32_t len, uint32_t *value)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_get_features,
		.nsid = nsid,
		.cdw10 = (sel & 7u) << 8 | fid,
		.cdw11 = cdw11,
	};

	return admin_call(c, &cmd, buf, len, value);
}

/* §5.27 */
int plx_nvme_set_feature(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t nsid, bool save,
			 uint32_t cdw11, uint32_t cdw12, void *buf, uint32_t len, uint32_t *value)
{
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_set_features,
		.nsid = nsid,
		.cdw10 = (uint32_t)save << 31 | fid,
		.cdw11 = cdw11,
		.cdw12 = cdw12,
	};

	return admin_call(c, &cmd, buf, len, value);
}
