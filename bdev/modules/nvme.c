/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/nvme.c - NVMe controllers: attached, looked after, detached, lost
 */
#include "bdev/modules/nvme.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define LET_GO_MS 1000 /* that detaching waits for those who have a bdev open */

struct nvme_settings nvme_settings = {
	.action_on_timeout = PLX_NVME_TIMEOUT_ABORT,
	.timeout_ms = 30000,
	.timeout_admin_ms = 60000,
	.transport_retries = 4,
	.bdev_retries = 3,
	.admin_poll_us = 1000,
};

static TAILQ_HEAD(, nvme_bdev_ctrlr) ctrlrs = TAILQ_HEAD_INITIALIZER(ctrlrs);
PLX_LOG_COMPONENT(bdev_nvme)

struct nvme_bdev_ctrlr *nvme_ctrlr_first(void)
{
	return TAILQ_FIRST(&ctrlrs);
}

struct nvme_bdev_ctrlr *nvme_ctrlr_by_name(const char *name)
{
	struct nvme_bdev_ctrlr *nc;

	TAILQ_FOREACH(nc, &ctrlrs, link)
	if (!strcmp(nc->name, name))
		return nc;
	return NULL;
}

/* ---- its end ---- */

static void ctrlr_end(struct nvme_bdev_ctrlr *nc)
{
	plx_poller_destroy(nc->poller);
	plx_nvme_disconnect(nc->c);
	TAILQ_REMOVE(&ctrlrs, nc, link);
	free(nc);
}

static void ctrlr_let_go(struct nvme_bdev_ctrlr *nc)
{
	struct nvme_bdev *nb, *next;

	nc->going = true;
	for (nb = TAILQ_FIRST(&nc->bdevs); nb; nb = next) {
		next = TAILQ_NEXT(nb, link);
		if (nvme_bdev_is_there(nb))
			plx_bdev_unregister(&nb->bdev, NULL, NULL);
	}
}

/* Only this thread unregisters it: what is found stays until that */
bool nvme_bdev_is_there(const struct nvme_bdev *nb)
{
	return plx_bdev_by_name(nb->bdev.name) == &nb->bdev;
}

void nvme_bdev_gone(void *arg)
{
	struct nvme_bdev *nb = arg;

	TAILQ_REMOVE(&nb->ctrlr->bdevs, nb, link);
	plx_dma_free(nb->md_sink);
	plx_dma_free(nb->md_blank);
	free(nb);
}

/* ---- looked after ---- */

static void ctrlr_look(struct nvme_bdev_ctrlr *nc)
{
	struct nvme_bdev *nb, *next;

	nc->scans = plx_nvme_ctrlr_ns_scans(nc->c);
	for (nb = TAILQ_FIRST(&nc->bdevs); nb; nb = next) {
		next = TAILQ_NEXT(nb, link);
		if (nvme_bdev_is_there(nb))
			nvme_bdev_follow(nb);
	}
	for (uint32_t nsid = 0; (nsid = plx_nvme_ctrlr_next_ns(nc->c, nsid));) {
		TAILQ_FOREACH(nb, &nc->bdevs, link)
		if (plx_nvme_ns_id(nb->ns) == nsid && nvme_bdev_is_there(nb))
			break;
		if (!nb && plx_nvme_ctrlr_ns(nc->c, nsid))
			nvme_bdev_create(nc, plx_nvme_ctrlr_ns(nc->c, nsid));
	}
}

static int ctrlr_poll(void *arg)
{
	struct nvme_bdev_ctrlr *nc = arg;
	int n = plx_nvme_ctrlr_poll(nc->c);

	if (nc->going) {
		if (!TAILQ_EMPTY(&nc->bdevs) || nc->in_use)
			return n > 0;
		if (n == -ENXIO)
			nvme_bdev_log(NOTICE, "%s: detached", nc->name);
		ctrlr_end(nc);
		return 1;
	}
	if (n == -ENXIO) {
		nvme_bdev_log(WARN, "%s: lost, its bdevs are removed: %s", nc->name,
			      plx_nvme_ctrlr_failure(nc->c));
		ctrlr_let_go(nc);
		return 1;
	}
	if (nc->scans != plx_nvme_ctrlr_ns_scans(nc->c) &&
	    plx_nvme_ctrlr_state(nc->c) == PLX_NVME_CTRLR_READY)
		ctrlr_look(nc);
	return n > 0;
}

/* ---- attaching ---- */

static void take_settings(struct plx_nvme_ctrlr_opts *o, const struct plx_nvme_trid *trid)
{
	const struct nvme_settings *s = &nvme_settings;

	plx_nvme_ctrlr_opts_init(o);
	o->timeout_action = s->action_on_timeout;
	o->timeout_ms = s->timeout_ms;
	o->admin_timeout_ms = s->timeout_admin_ms;
	o->keep_alive_ms = s->keep_alive_ms;
	o->retry_count = s->transport_retries;
	/* what a reset catches is submitted again in nvme_io.c, unless it is that bdev's own */
	o->reset_policy = PLX_NVME_RESET_FAIL_IO;
	memcpy(o->hostnqn, trid->hostnqn, sizeof(o->hostnqn));
}

/* DMRSL of Identify Controller of the NVM Command Set (1.0c §4.1.5.4), where there is such a
 * page */
static void ask_limits(struct nvme_bdev_ctrlr *nc)
{
	struct nvme_id_ctrl_nvm nvm;

	if (plx_nvme_ctrlr_vs(nc->c) < 0x20000 ||
	    plx_nvme_identify(nc->c, NVME_IDENTIFY_CNS_CSI_CTRL, 0, 0, NVME_CSI_NVM, &nvm))
		return;
	nc->dmrsl = nvm.dmrsl;
}

int plx_bdev_nvme_attach(const char *name, const struct plx_nvme_trid *trid, unsigned check)
{
	struct plx_nvme_ctrlr_opts opts;
	struct nvme_bdev_ctrlr *nc;
	char text[512];
	int rc;

	if (!plx_thread_current())
		return -EPERM;
	/* "n", ten digits, and the end */
	if (!*name || strlen(name) > sizeof(nc->name) - 12) {
		nvme_bdev_log(ERR, "a controller needs a name of 1 to %zu bytes",
			      sizeof(nc->name) - 12);
		return -EINVAL;
	}
	if (nvme_ctrlr_by_name(name)) {
		nvme_bdev_log(ERR,
			      "%s: there is a controller of that name: detach it, or take another "
			      "(several paths under one name are not supported)",
			      name);
		return -EEXIST;
	}
	nc = calloc(1, sizeof(*nc));
	if (!nc)
		return -ENOMEM;
	strcpy(nc->name, name);
	TAILQ_INIT(&nc->bdevs);
	nc->thread = plx_thread_current();
	nc->settings = nvme_settings;
	nc->check = (uint8_t)check & (PLX_BDEV_CHECK_REF | PLX_BDEV_CHECK_GUARD);
	take_settings(&opts, trid);
	nc->c = plx_nvme_connect(trid, &opts);
	rc = nc->c ? 0 : -errno;
	if (!rc) {
		nc->in_use++;
		nc->poller = plx_poller_create(ctrlr_poll, nc, nvme_settings.admin_poll_us);
		rc = nc->poller ? 0 : -ENOMEM;
	}
	if (rc) {
		if (!*plx_log_last_error())
			nvme_bdev_log(ERR, "%s: '%s' cannot be attached: %s", name,
				      plx_nvme_trid_format(trid, text, sizeof(text)),
				      strerror(-rc));
		plx_nvme_disconnect(nc->c);
		free(nc);
		return rc;
	}
	TAILQ_INSERT_TAIL(&ctrlrs, nc, link);
	ask_limits(nc);
	ctrlr_look(nc);
	if (TAILQ_EMPTY(&nc->bdevs))
		nvme_bdev_log(WARN, "%s: it has no namespace to make a bdev of", name);
	nc->in_use--;
	return 0;
}

/* ---- detaching, resetting ---- */

static uint64_t ms_of(uint64_t ticks)
{
	return ticks / (plx_tsc_hz() / 1000);
}

int plx_bdev_nvme_detach(const char *name)
{
	struct nvme_bdev_ctrlr *nc = nvme_ctrlr_by_name(name);
	uint64_t begin = plx_tsc();

	if (!nc)
		return -ENODEV;
	ctrlr_let_go(nc);
	/* its poller ends it; from then on the name may be somebody else's */
	while (nvme_ctrlr_by_name(name) == nc) {
		if (ms_of(plx_tsc() - begin) > LET_GO_MS)
			return -EBUSY;
		if (!plx_thread_poll(nc->thread))
			sched_yield();
	}
	return 0;
}

int nvme_ctrlr_reset(struct nvme_bdev_ctrlr *nc)
{
	int rc;

	nc->in_use++;
	rc = plx_nvme_ctrlr_reset(nc->c);
	if (!rc)
		rc = plx_nvme_ctrlr_settle(nc->c);
	nc->in_use--;
	return rc;
}

/* ---- the end of the program ---- */

void nvme_detach_all(void)
{
	struct nvme_bdev_ctrlr *nc, *next;

	for (nc = TAILQ_FIRST(&ctrlrs); nc; nc = next) {
		next = TAILQ_NEXT(nc, link);
		if (plx_bdev_nvme_detach(nc->name))
			nvme_bdev_log(WARN, "%s: it is still in use: left as it is", nc->name);
	}
}
