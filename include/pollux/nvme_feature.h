/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_feature.h - features whose raw value is unpleasant (NVMe Base Specification 2.0c
 * §5.27.1); all others by plx_nvme_get_feature() and plx_nvme_set_feature()
 *
 * Set-up calls. Return, unless it says more: 0; a positive NVMe status; -EINVAL for a value that
 * its field does not hold; as plx_nvme_admin_sync(). @save: keep the value through resets and power
 * cycles.
 */
#ifndef POLLUX_NVME_FEATURE_H
#define POLLUX_NVME_FEATURE_H

#include <pollux/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/** plx_nvme_feature_name - e.g. "Temperature Threshold". Return: NULL for one that is reserved or
 *  the vendor's */
const char *plx_nvme_feature_name(uint8_t fid);

/** struct plx_nvme_arbitration - @burst: commands, a power of two up to 64, 0: no limit; weights:
 *  commands, 1..256, of weighted round robin */
struct plx_nvme_arbitration {
	uint32_t burst;
	uint32_t low, medium, high;
};
int plx_nvme_get_arbitration(struct plx_nvme_ctrlr *c, struct plx_nvme_arbitration *out);
int plx_nvme_set_arbitration(struct plx_nvme_ctrlr *c, bool save,
			     const struct plx_nvme_arbitration *a);

/** plx_nvme_get_power, _set_power - @ps: power state, 0..NPSS (-EINVAL above); @workload: hint,
 *  0..7 */
int plx_nvme_get_power(struct plx_nvme_ctrlr *c, uint8_t *ps, uint8_t *workload);
int plx_nvme_set_power(struct plx_nvme_ctrlr *c, bool save, uint8_t ps, uint8_t workload);

/** struct plx_nvme_apst - autonomous power state transitions: from state i, after @idle_ms (24
 *  bits) without a command, to @to; idle_ms 0: stays. -ENOTSUP where APSTA says so */
struct plx_nvme_apst {
	bool enabled;
	struct {
		uint8_t to;
		uint32_t idle_ms;
	} from[32];
};
int plx_nvme_get_apst(struct plx_nvme_ctrlr *c, struct plx_nvme_apst *out);
int plx_nvme_set_apst(struct plx_nvme_ctrlr *c, bool save, const struct plx_nvme_apst *a);

/** plx_nvme_get_temp_threshold, _set_ - @sensor: 0 composite, 1..8, 15 (set) all; @under: the lower
 *  threshold; @kelvin */
int plx_nvme_get_temp_threshold(struct plx_nvme_ctrlr *c, uint8_t sensor, bool under,
				uint16_t *kelvin);
int plx_nvme_set_temp_threshold(struct plx_nvme_ctrlr *c, bool save, uint8_t sensor, bool under,
				uint16_t kelvin);

/** plx_nvme_get_error_recovery, _set_ - @tler: units of 100 ms, 0 no limit; @dulbe: reads of
 *  deallocated blocks fail */
int plx_nvme_get_error_recovery(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t *tler,
				bool *dulbe);
int plx_nvme_set_error_recovery(struct plx_nvme_ctrlr *c, bool save, uint32_t nsid, uint16_t tler,
				bool dulbe);

/** plx_nvme_get_write_cache, _set_ - the volatile one; -ENOTSUP where there is none (VWC) */
int plx_nvme_get_write_cache(struct plx_nvme_ctrlr *c, bool *on);
int plx_nvme_set_write_cache(struct plx_nvme_ctrlr *c, bool save, bool on);

/** plx_nvme_get_async_events, _set_ - NVME_FEATURE_AENCFG_*. The driver's own, set when it
 *  connects, are kept: what it needs is added to @events, and set again after a reset */
int plx_nvme_get_async_events(struct plx_nvme_ctrlr *c, uint32_t *events);
int plx_nvme_set_async_events(struct plx_nvme_ctrlr *c, uint32_t events);

/** plx_nvme_get_timestamp, _set_ - @ms: since 1970; @was_set: by a host, else since the last reset;
 *  @stopped: has not counted all the time. -ENOTSUP by ONCS */
int plx_nvme_get_timestamp(struct plx_nvme_ctrlr *c, uint64_t *ms, bool *was_set, bool *stopped);
int plx_nvme_set_timestamp(struct plx_nvme_ctrlr *c, uint64_t ms);

/** plx_nvme_get_host_id, _set_ - @len: 16 (extended, CTRATT bit 0; -ENOTSUP without), or 8 */
int plx_nvme_get_host_id(struct plx_nvme_ctrlr *c, void *id, uint32_t len);
int plx_nvme_set_host_id(struct plx_nvme_ctrlr *c, const void *id, uint32_t len);

/** plx_nvme_get_write_protect, _set_ - @state: NVME_FEAT_NS_*; -ENOTSUP by NWPC */
int plx_nvme_get_write_protect(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t *state);
int plx_nvme_set_write_protect(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t state);

/** plx_nvme_get_thermal, _set_ - host controlled thermal management, Kelvin; 0 off; light @tmt1
 *  below heavy @tmt2. -ENOTSUP by HCTMA */
int plx_nvme_get_thermal(struct plx_nvme_ctrlr *c, uint16_t *tmt1, uint16_t *tmt2);
int plx_nvme_set_thermal(struct plx_nvme_ctrlr *c, bool save, uint16_t tmt1, uint16_t tmt2);

/** plx_nvme_get_command_sets, _set_ - I/O Command Set Profile: @index of the combination that is in
 *  use. plx_nvme_command_set_profiles(): combinations, a bit per command set; @sets: room for 512.
 *  Only with CAP.CSS bit 6 (-ENOTSUP). Takes effect on the namespaces at once: they are looked at
 *  again */
int plx_nvme_get_command_sets(struct plx_nvme_ctrlr *c, uint16_t *index);
int plx_nvme_set_command_sets(struct plx_nvme_ctrlr *c, uint16_t index);
int plx_nvme_command_set_profiles(struct plx_nvme_ctrlr *c, struct nvme_id_iocs *out);

/** plx_nvme_get_fdp, _set_ - flexible data placement of an endurance group without namespaces:
 *  @on, with configuration @index */
int plx_nvme_get_fdp(struct plx_nvme_ctrlr *c, uint16_t endgid, bool *on, uint8_t *index);
int plx_nvme_set_fdp(struct plx_nvme_ctrlr *c, uint16_t endgid, bool on, uint8_t index);

#ifdef __cplusplus
}
#endif
#endif
