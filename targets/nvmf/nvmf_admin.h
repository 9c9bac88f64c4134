/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/nvmf_admin.h - what the files of the admin command set share
 *
 * All of it belongs to the controller's thread, but for the few functions that say otherwise.
 */
#ifndef POLLUX_NVMF_ADMIN_H
#define POLLUX_NVMF_ADMIN_H

#include "targets/nvmf/nvmf_internal.h"
#include "targets/nvmf/nvmf_limits.h"

#define NVMF_ERROR_ENTRIES 64u /* ELPE + 1 */
#define NVMF_EVENTS	   16u /* asynchronous events that wait for a command or for their mask */
#define NVMF_ACL	   3u /* 0's based; aborts are immediate, so the limit is never met */
#define NVMF_KAS_MS	   100u /* granularity of the Keep Alive timer */

/*
 * The device has no thermometer: a constant composite temperature, and thresholds as SSDs have
 * them, kelvins
 */
#define NVMF_TEMPERATURE 310u
#define NVMF_WCTEMP	 343u
#define NVMF_CCTEMP	 353u

struct nvmf_event {
	uint8_t type, info, lid;
};

/* Feature values (§5.27.1); everything here is lost by a controller reset */
struct nvmf_features {
	uint32_t arbitration, power, temp_over, temp_under, irq_coalescing, write_atomicity,
		async_event;
	uint32_t kato_ms;
	uint64_t timestamp_ms; /* at timestamp_tsc */
	uint64_t timestamp_tsc;
	bool timestamp_set;
	struct nvme_feat_host_behavior host_behavior;
	uint8_t hostid[16];
};

struct nvmf_admin {
	struct nvmf_features features;
	uint16_t *tler; /* Error Recovery, by nsid - 1 */
	uint8_t *vector_cd; /* Interrupt Vector Configuration, by vector */

	/* asynchronous events (§5.2) */
	struct nvmf_req *aers[NVMF_MAX_AER];
	uint32_t naers;
	struct nvmf_event events[NVMF_EVENTS];
	uint32_t nevents;
	uint8_t masked; /* by event type: reported, and its log page not yet read */
	uint8_t masked_lid[8];

	/* logs */
	struct nvme_error_log_page
		errors[NVMF_ERROR_ENTRIES]; /* ring, the newest at (error_count - 1) */
	uint64_t error_count, media_errors;
	uint64_t changed[NVMF_MAX_NS / 64]; /* namespaces, by nsid - 1 */
	uint64_t created_tsc;

	/* health.c */
	struct plx_poller *health; /* while enabled */
	uint64_t looked_tsc, busy_tsc;
	bool unsafe; /* enabled, and no shutdown notification since */

	struct plx_poller *keep_alive;
	uint64_t kept_alive_tsc;

	struct plx_poller *detach; /* runs while namespaces wait for their last commands */
	_Atomic uint32_t holds; /* messages on the way to the controller */
	bool destroyed; /* the last message frees it */

	uint8_t page[PLX_PAGE_SIZE] plx_aligned(
		16); /* scratch of one admin command; none outlives its call */
};
_Static_assert(sizeof(struct nvme_id_ctrl) == PLX_PAGE_SIZE &&
		       sizeof(struct nvme_id_ns) == PLX_PAGE_SIZE,
	       "Identify data fits the scratch page");

/** nvmf_put_ascii - a field of @len characters, padded with spaces (§1.4.2), cut where it must
 *  be */
static inline void nvmf_put_ascii(char *dst, size_t len, const char *src)
{
	size_t n = strlen(src);

	memset(dst, ' ', len);
	memcpy(dst, src, n < len ? n : len);
}

/** nvmf_put_u128 - a 128-bit field, zero so far, of which 64 bits are enough */
static inline void nvmf_put_u128(uint8_t *dst, uint64_t v)
{
	memcpy(dst, &v, sizeof v);
}

/*
 * ---- identify.c, log.c, feature.c: each executes and returns the status; success has copied the
 * data ----
 */

uint16_t nvmf_identify(struct nvmf_req *req);
uint16_t nvmf_get_log_page(struct nvmf_req *req);
uint16_t nvmf_get_features(struct nvmf_req *req);
uint16_t nvmf_set_features(struct nvmf_req *req);

/** nvmf_admin_supported - whether the controller knows an admin opcode */
bool nvmf_admin_supported(uint8_t opc);
/** nvmf_features_reset - defaults of everything */
void nvmf_features_reset(struct nvmf_ctrlr *c);
/** nvmf_feature_effects - entry of the Feature Identifiers Supported and Effects log; 0: not
 *  supported */
uint32_t nvmf_feature_effects(const struct nvmf_ctrlr *c, uint8_t fid);
/** nvmf_volatile_cache - some attached namespace has a volatile write cache */
bool nvmf_volatile_cache(const struct nvmf_ctrlr *c);
/** nvmf_critical_warning - of the SMART log, by the temperature thresholds set */
uint8_t nvmf_critical_warning(const struct nvmf_ctrlr *c);
/**
 * nvmf_check_nsid - a namespace that must be active (§3.2.1.5)
 * Return: 0 and *@ns; INVALID NAMESPACE OR FORMAT for 0, FFFFFFFFh and above NN; INVALID FIELD for
 * an inactive one
 */
uint16_t nvmf_check_nsid(struct nvmf_ctrlr *c, uint32_t nsid, struct nvmf_ctrlr_ns **ns);

/* ---- health.c ---- */

/**
 * nvmf_health_enable, nvmf_health_disable - CC.EN went to 1, to 0
 * nvmf_health_leave - @c is about to go, its counters stay in the subsystem
 * nvmf_health_get - its own, and those of the controllers that are gone
 */
void nvmf_health_enable(struct nvmf_ctrlr *c);
void nvmf_health_disable(struct nvmf_ctrlr *c);
void nvmf_health_leave(struct nvmf_ctrlr *c);
struct nvmf_health nvmf_health_get(const struct nvmf_ctrlr *c);

/* ---- ctrlr.c ---- */

/** nvmf_aer - Asynchronous Event Request: keeps @req, or completes it */
void nvmf_aer(struct nvmf_req *req);
/** nvmf_event_clear - a log page was read with RAE = 0 */
void nvmf_event_clear(struct nvmf_ctrlr *c, uint8_t lid);
/** nvmf_keep_alive_set - the timer, from the features; 0 stops it. Return: 0; -ENOMEM */
int nvmf_keep_alive_set(struct nvmf_ctrlr *c);

/**
 * nvmf_ctrlr_hold - under the subsystem's lock, any thread: @c stays in memory until
 * nvmf_ctrlr_sync() ran
 * nvmf_ctrlr_sync - in the controller's thread (arg is it): attach and detach what changed in the
 * subsystem, let go
 */
void nvmf_ctrlr_hold(struct nvmf_ctrlr *c);
void nvmf_ctrlr_sync(void *ctrlr);

/* ---- subsystem.c ---- */

/** nvmf_subsystem_add_ctrlr - gives @c its identifier. Return: 0; -ENOSPC none is left */
int nvmf_subsystem_add_ctrlr(struct plx_nvmf_subsystem *s, struct nvmf_ctrlr *c);
/** nvmf_subsystem_after - the next one in order of creation; the first after NULL */
struct plx_nvmf_subsystem *nvmf_subsystem_after(const struct plx_nvmf_subsystem *prev);
/** nvmf_subsystem_visit - call @fn for each controller, in its thread; set-up, not in a callback */
void nvmf_subsystem_visit(struct plx_nvmf_subsystem *s, void (*fn)(struct nvmf_ctrlr *c, void *arg),
			  void *arg);
/** nvmf_nqn_valid - §4.5 */
bool nvmf_nqn_valid(const char *nqn);
void nvmf_subsystem_remove_ctrlr(struct plx_nvmf_subsystem *s, struct nvmf_ctrlr *c);
/** nvmf_ns_get - for a controller that wants to attach. Return: false when it must not */
bool nvmf_ns_get(struct nvmf_ns *ns);
/** nvmf_ns_put - the last one closes the bdev. Any thread */
void nvmf_ns_put(struct nvmf_ns *ns);
/** nvmf_ns_active - whether a controller may be attached to it. Any thread */
bool nvmf_ns_active(struct nvmf_ns *ns);

#endif
