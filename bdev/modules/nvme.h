/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/nvme.h - namespaces of NVMe controllers as block devices: what its files share
 *
 *   nvme.c      controllers: attached, looked after, detached
 *   nvme_ns.c   what a namespace is as a block device
 *   nvme_io.c   channels and I/O: one queue pair of the driver for each channel
 *   nvme_rpc.c  RPC methods, the saved configuration
 *
 * A controller, and the list of them, belong to the thread that attached it, which is the one that
 * carries out RPC methods: it polls the controller, and finds out what has become of it and its
 * namespaces. Channels are their threads' own, and know the controller by the calls of the driver
 * that any thread may make.
 */
#ifndef POLLUX_BDEV_NVME_H
#define POLLUX_BDEV_NVME_H

#include "bdev/bdev_internal.h"
#include <pollux/nvme.h>

#define nvme_bdev_log(level, ...) plx_log(PLX_LOG_##level, "bdev_nvme", __VA_ARGS__)

/** struct nvme_settings - of controllers attached from now on (bdev_nvme_set_options) */
struct nvme_settings {
	enum plx_nvme_timeout_action action_on_timeout;
	uint32_t timeout_ms, timeout_admin_ms, keep_alive_ms;
	uint32_t transport_retries; /* by the driver, of what failed without DNR */
	uint32_t bdev_retries; /* of what a reset of the controller caught under way */
	uint32_t admin_poll_us, io_poll_us;
	bool set;
};
extern struct nvme_settings nvme_settings;

/**
 * struct nvme_bdev_ctrlr - a controller, by the name that its bdevs begin with
 *
 * Lives from plx_bdev_nvme_attach() until it is detached or lost and the last of its bdevs is
 * destroyed.
 */
struct nvme_bdev_ctrlr {
	char name[PLX_BDEV_NAME_MAX];
	struct plx_nvme_ctrlr *c;
	struct plx_thread *thread;
	struct plx_poller *poller;
	struct nvme_settings settings;
	uint8_t check; /* PLX_BDEV_CHECK_* of I/O that does not say */
	uint32_t scans; /* the look at the namespaces that the bdevs reflect */
	uint32_t dmrsl; /* blocks that one range of Dataset Management takes at most; 0: no limit */
	unsigned in_use; /* set-up calls on the stack, within which its poller runs */
	bool going; /* being detached, or lost: its bdevs are unregistered */
	TAILQ_HEAD(, nvme_bdev) bdevs; /* until they are destroyed */
	TAILQ_ENTRY(nvme_bdev_ctrlr) link;
};

/** struct nvme_bdev - a namespace. Lives from its registration until the block layer lets go of
 *  it */
struct nvme_bdev {
	struct plx_bdev bdev;
	struct nvme_bdev_ctrlr *ctrlr;
	struct plx_nvme_ns *ns;
	uint8_t nguid[16], eui64[8]; /* who it is */
	bool plain; /* reads and writes need nothing but buffer, block and number of them */
	/* metadata has a buffer of its own; I/O without one transfers it to and from these, or,
	 * with
	 * @md_pract, has the controller insert and strip it */
	bool md_separate, md_pract;
	void *md_sink, *md_blank; /* DMA memory */
	TAILQ_ENTRY(nvme_bdev) link;
};

/* ---- nvme.c ---- */

struct nvme_bdev_ctrlr *nvme_ctrlr_first(void);
struct nvme_bdev_ctrlr *nvme_ctrlr_by_name(const char *name);
/** nvme_ctrlr_reset - and wait (set-up). Return: 0; -EBUSY one is under way; -ENXIO it has failed,
 *  which the log explains. @nc may be gone then */
int nvme_ctrlr_reset(struct nvme_bdev_ctrlr *nc);
/** nvme_detach_all - at the end of the program: what is in use stays as it is */
void nvme_detach_all(void);
/** nvme_bdev_is_there - it is registered */
bool nvme_bdev_is_there(const struct nvme_bdev *nb);
/** nvme_bdev_gone - in the controller's thread: the block layer has let go of @nb, which is
 *  freed */
void nvme_bdev_gone(void *nb);

/* ---- nvme_ns.c ---- */

/** nvme_bdev_create - register the namespace, unless it is of a kind that bdevs are not, which is
 *  logged */
void nvme_bdev_create(struct nvme_bdev_ctrlr *nc, struct plx_nvme_ns *ns);
/** nvme_bdev_follow - the namespaces have been looked at again: resize, or unregister what is gone
 *  or another */
void nvme_bdev_follow(struct nvme_bdev *nb);

/* ---- nvme_io.c ---- */

#define NVME_MD_BYTES (64u << 10) /* of md_sink and md_blank */

extern const struct plx_bdev_ops nvme_bdev_ops;

/* ---- nvme_rpc.c ---- */

void nvme_dump_info(void *ctx, struct json_t *specific);

#endif
