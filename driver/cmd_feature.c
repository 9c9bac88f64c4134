/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_feature.c - features by name (NVMe Base 2.0c §5.27.1)
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_admin.h>
#include <pollux/nvme_fdp.h>
#include <pollux/nvme_feature.h>
#include <string.h>

/* §5.27.1 figure 317, NVM Command Set 1.0c §4.1.3, NVMe Base 2.1 for the youngest */
static const char *const names[256] = {
	[NVME_FEAT_FID_ARBITRATION] = "Arbitration",
	[NVME_FEAT_FID_POWER_MGMT] = "Power Management",
	[NVME_FEAT_FID_LBA_RANGE] = "LBA Range Type",
	[NVME_FEAT_FID_TEMP_THRESH] = "Temperature Threshold",
	[NVME_FEAT_FID_ERR_RECOVERY] = "Error Recovery",
	[NVME_FEAT_FID_VOLATILE_WC] = "Volatile Write Cache",
	[NVME_FEAT_FID_NUM_QUEUES] = "Number of Queues",
	[NVME_FEAT_FID_IRQ_COALESCE] = "Interrupt Coalescing",
	[NVME_FEAT_FID_IRQ_CONFIG] = "Interrupt Vector Configuration",
	[NVME_FEAT_FID_WRITE_ATOMIC] = "Write Atomicity Normal",
	[NVME_FEAT_FID_ASYNC_EVENT] = "Asynchronous Event Configuration",
	[NVME_FEAT_FID_AUTO_PST] = "Autonomous Power State Transition",
	[NVME_FEAT_FID_HOST_MEM_BUF] = "Host Memory Buffer",
	[NVME_FEAT_FID_TIMESTAMP] = "Timestamp",
	[NVME_FEAT_FID_KATO] = "Keep Alive Timer",
	[NVME_FEAT_FID_HCTM] = "Host Controlled Thermal Management",
	[NVME_FEAT_FID_NOPSC] = "Non-Operational Power State Config",
	[NVME_FEAT_FID_RRL] = "Read Recovery Level Config",
	[NVME_FEAT_FID_PLM_CONFIG] = "Predictable Latency Mode Config",
	[NVME_FEAT_FID_PLM_WINDOW] = "Predictable Latency Mode Window",
	[NVME_FEAT_FID_LBA_STS_INTERVAL] = "LBA Status Information Report Interval",
	[NVME_FEAT_FID_HOST_BEHAVIOR] = "Host Behavior Support",
	[NVME_FEAT_FID_SANITIZE] = "Sanitize Config",
	[NVME_FEAT_FID_ENDURANCE_EVT_CFG] = "Endurance Group Event Configuration",
	[NVME_FEAT_FID_IOCS_PROFILE] = "I/O Command Set Profile",
	[NVME_FEAT_FID_SPINUP_CONTROL] = "Spinup Control",
	[NVME_FEAT_FID_FDP] = "Flexible Data Placement",
	[NVME_FEAT_FID_FDP_EVENTS] = "Flexible Data Placement Events",
	[NVME_FEAT_FID_ENH_CTRL_METADATA] = "Enhanced Controller Metadata",
	[NVME_FEAT_FID_CTRL_METADATA] = "Controller Metadata",
	[NVME_FEAT_FID_NS_METADATA] = "Namespace Metadata",
	[NVME_FEAT_FID_SW_PROGRESS] = "Software Progress Marker",
	[NVME_FEAT_FID_HOST_ID] = "Host Identifier",
	[NVME_FEAT_FID_RESV_MASK] = "Reservation Notification Mask",
	[NVME_FEAT_FID_RESV_PERSIST] = "Reservation Persistence",
	[NVME_FEAT_FID_WRITE_PROTECT] = "Namespace Write Protection Config",
};

const char *plx_nvme_feature_name(uint8_t fid)
{
	return names[fid];
}

static int get(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t nsid, uint32_t cdw11,
	       uint32_t *value)
{
	return plx_nvme_get_feature(c, fid, nsid, NVME_GET_FEATURES_SEL_CURRENT, cdw11, NULL, 0,
				    value);
}

static int set(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t nsid, bool save, uint32_t cdw11)
{
	return plx_nvme_set_feature(c, fid, nsid, save, cdw11, 0, NULL, 0, NULL);
}

/* ---- arbitration, §5.27.1.1: the burst as a power of two, 7 none; weights 0-based ---- */

static uint32_t weight(uint32_t v, unsigned shift)
{
	return (v >> shift & 0xff) + 1;
}

int plx_nvme_get_arbitration(struct plx_nvme_ctrlr *c, struct plx_nvme_arbitration *out)
{
	uint32_t v = 0;
	int rc = get(c, NVME_FEAT_FID_ARBITRATION, 0, 0, &v);

	*out = (struct plx_nvme_arbitration){
		.burst = (v & 7) == 7 ? 0 : 1u << (v & 7),
		.low = weight(v, NVME_FEAT_ARBITRATION_LPW_SHIFT),
		.medium = weight(v, NVME_FEAT_ARBITRATION_MPW_SHIFT),
		.high = weight(v, NVME_FEAT_ARBITRATION_HPW_SHIFT),
	};
	return rc;
}

/* Return: CDW11, 0 for what it does not hold with @rc -EINVAL */
int feature_arbitration(const struct plx_nvme_arbitration *a, uint32_t *cdw11)
{
	if (a->burst > 64 || (a->burst & (a->burst - 1)) || a->low - 1 > 255 ||
	    a->medium - 1 > 255 || a->high - 1 > 255)
		return -EINVAL;
	*cdw11 = (a->burst ? (uint32_t)__builtin_ctz(a->burst) : 7) |
		 (a->low - 1) << NVME_FEAT_ARBITRATION_LPW_SHIFT |
		 (a->medium - 1) << NVME_FEAT_ARBITRATION_MPW_SHIFT |
		 (a->high - 1) << NVME_FEAT_ARBITRATION_HPW_SHIFT;
	return 0;
}

int plx_nvme_set_arbitration(struct plx_nvme_ctrlr *c, bool save,
			     const struct plx_nvme_arbitration *a)
{
	uint32_t cdw11;
	int rc = feature_arbitration(a, &cdw11);

	return rc ? rc : set(c, NVME_FEAT_FID_ARBITRATION, 0, save, cdw11);
}

/* ---- power, §5.27.1.2, §5.27.1.9 ---- */

int plx_nvme_get_power(struct plx_nvme_ctrlr *c, uint8_t *ps, uint8_t *workload)
{
	uint32_t v = 0;
	int rc = get(c, NVME_FEAT_FID_POWER_MGMT, 0, 0, &v);

	*ps = v & NVME_FEAT_PWRMGMT_PS_MASK;
	*workload = v >> NVME_FEAT_PWRMGMT_WH_SHIFT & NVME_FEAT_PWRMGMT_WH_MASK;
	return rc;
}

int plx_nvme_set_power(struct plx_nvme_ctrlr *c, bool save, uint8_t ps, uint8_t workload)
{
	if (ps > c->id.npss || workload > NVME_FEAT_PWRMGMT_WH_MASK)
		return -EINVAL;
	return set(c, NVME_FEAT_FID_POWER_MGMT, 0, save,
		   ps | (uint32_t)workload << NVME_FEAT_PWRMGMT_WH_SHIFT);
}

int plx_nvme_get_apst(struct plx_nvme_ctrlr *c, struct plx_nvme_apst *out)
{
	struct nvme_feat_auto_pst table = { 0 };
	uint32_t v = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	if (!(c->id.apsta & NVME_CTRL_APSTA_APST))
		return -ENOTSUP;
	rc = plx_nvme_get_feature(c, NVME_FEAT_FID_AUTO_PST, 0, NVME_GET_FEATURES_SEL_CURRENT, 0,
				  &table, sizeof(table), &v);
	out->enabled = v & 1;
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(out->from); i++) {
		out->from[i].to = table.apst_entry[i] >> NVME_APST_ENTRY_ITPS_SHIFT &
				  NVME_APST_ENTRY_ITPS_MASK;
		out->from[i].idle_ms = table.apst_entry[i] >> NVME_APST_ENTRY_ITPT_SHIFT &
				       NVME_APST_ENTRY_ITPT_MASK;
	}
	return rc;
}

int plx_nvme_set_apst(struct plx_nvme_ctrlr *c, bool save, const struct plx_nvme_apst *a)
{
	struct nvme_feat_auto_pst table = { 0 };

	if (!(c->id.apsta & NVME_CTRL_APSTA_APST))
		return -ENOTSUP;
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(a->from); i++) {
		if (!a->from[i].idle_ms)
			continue;
		if (a->from[i].idle_ms > NVME_APST_ENTRY_ITPT_MASK || a->from[i].to > c->id.npss)
			return -EINVAL;
		table.apst_entry[i] = (uint64_t)a->from[i].idle_ms << NVME_APST_ENTRY_ITPT_SHIFT |
				      (uint64_t)a->from[i].to << NVME_APST_ENTRY_ITPS_SHIFT;
	}
	return plx_nvme_set_feature(c, NVME_FEAT_FID_AUTO_PST, 0, save, a->enabled, 0, &table,
				    sizeof(table), NULL);
}

/* ---- temperature, §5.27.1.3, §5.27.1.13 ---- */

static uint32_t threshold(uint8_t sensor, bool under)
{
	return (uint32_t)sensor << NVME_FEAT_TT_TMPSEL_SHIFT | (uint32_t)under
								       << NVME_FEAT_TT_THSEL_SHIFT;
}

int plx_nvme_get_temp_threshold(struct plx_nvme_ctrlr *c, uint8_t sensor, bool under,
				uint16_t *kelvin)
{
	uint32_t v = 0;
	int rc = sensor > 8 ? -EINVAL
			    : get(c, NVME_FEAT_FID_TEMP_THRESH, 0, threshold(sensor, under), &v);

	*kelvin = (uint16_t)v;
	return rc;
}

int plx_nvme_set_temp_threshold(struct plx_nvme_ctrlr *c, bool save, uint8_t sensor, bool under,
				uint16_t kelvin)
{
	if (sensor > 8 && sensor != 15)
		return -EINVAL;
	return set(c, NVME_FEAT_FID_TEMP_THRESH, 0, save, threshold(sensor, under) | kelvin);
}

int plx_nvme_get_thermal(struct plx_nvme_ctrlr *c, uint16_t *tmt1, uint16_t *tmt2)
{
	uint32_t v = 0;
	int rc = c->id.hctma & NVME_CTRL_HCTMA_HCTM ? get(c, NVME_FEAT_FID_HCTM, 0, 0, &v)
						    : -ENOTSUP;

	*tmt1 = (uint16_t)(v >> NVME_FEAT_HCTM_TMT1_SHIFT);
	*tmt2 = (uint16_t)v;
	return rc;
}

int plx_nvme_set_thermal(struct plx_nvme_ctrlr *c, bool save, uint16_t tmt1, uint16_t tmt2)
{
	if (!(c->id.hctma & NVME_CTRL_HCTMA_HCTM))
		return -ENOTSUP;
	if (tmt1 && tmt2 && tmt1 >= tmt2)
		return -EINVAL;
	return set(c, NVME_FEAT_FID_HCTM, 0, save,
		   (uint32_t)tmt1 << NVME_FEAT_HCTM_TMT1_SHIFT | tmt2);
}

/* ---- errors, cache, events, §5.27.1.4, §5.27.1.8; NVM Command Set 1.0c §4.1.3.2 ---- */

int plx_nvme_get_error_recovery(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t *tler,
				bool *dulbe)
{
	uint32_t v = 0;
	int rc = get(c, NVME_FEAT_FID_ERR_RECOVERY, nsid, 0, &v);

	*tler = (uint16_t)v;
	*dulbe = v >> NVME_FEAT_ERROR_RECOVERY_DULBE_SHIFT & 1;
	return rc;
}

int plx_nvme_set_error_recovery(struct plx_nvme_ctrlr *c, bool save, uint32_t nsid, uint16_t tler,
				bool dulbe)
{
	return set(c, NVME_FEAT_FID_ERR_RECOVERY, nsid, save,
		   tler | (uint32_t)dulbe << NVME_FEAT_ERROR_RECOVERY_DULBE_SHIFT);
}

int plx_nvme_get_write_cache(struct plx_nvme_ctrlr *c, bool *on)
{
	uint32_t v = 0;
	int rc = c->id.vwc & NVME_CTRL_VWC_PRESENT ? get(c, NVME_FEAT_FID_VOLATILE_WC, 0, 0, &v)
						   : -ENOTSUP;

	*on = v & 1;
	return rc;
}

int plx_nvme_set_write_cache(struct plx_nvme_ctrlr *c, bool save, bool on)
{
	if (!(c->id.vwc & NVME_CTRL_VWC_PRESENT))
		return -ENOTSUP;
	return set(c, NVME_FEAT_FID_VOLATILE_WC, 0, save, on);
}

int plx_nvme_get_async_events(struct plx_nvme_ctrlr *c, uint32_t *events)
{
	return get(c, NVME_FEAT_FID_ASYNC_EVENT, 0, 0, events);
}

int plx_nvme_set_async_events(struct plx_nvme_ctrlr *c, uint32_t events)
{
	uint32_t all;

	pthread_mutex_lock(&c->lock);
	c->aer_events = events;
	all = aer_events(c);
	pthread_mutex_unlock(&c->lock);
	return set(c, NVME_FEAT_FID_ASYNC_EVENT, 0, false, all);
}

/* ---- timestamp, host identifier, §5.27.1.11, §5.27.1.25 ---- */

int plx_nvme_get_timestamp(struct plx_nvme_ctrlr *c, uint64_t *ms, bool *was_set, bool *stopped)
{
	struct nvme_timestamp t = { 0 };
	int rc;

	*ms = 0;
	if (!(c->id.oncs & NVME_CTRL_ONCS_TIMESTAMP))
		return -ENOTSUP;
	rc = plx_nvme_get_feature(c, NVME_FEAT_FID_TIMESTAMP, 0, NVME_GET_FEATURES_SEL_CURRENT, 0,
				  &t, sizeof(t), NULL);
	memcpy(ms, t.timestamp, sizeof(t.timestamp));
	*stopped = t.attr & 1;
	*was_set = (t.attr >> 1 & 7) == 1;
	return rc;
}

int plx_nvme_set_timestamp(struct plx_nvme_ctrlr *c, uint64_t ms)
{
	struct nvme_timestamp t = { 0 };

	if (!(c->id.oncs & NVME_CTRL_ONCS_TIMESTAMP))
		return -ENOTSUP;
	if (ms >> 48)
		return -EINVAL;
	memcpy(t.timestamp, &ms, sizeof(t.timestamp));
	return plx_nvme_set_feature(c, NVME_FEAT_FID_TIMESTAMP, 0, false, 0, 0, &t, sizeof(t),
				    NULL);
}

static int host_id_len(const struct plx_nvme_ctrlr *c, uint32_t len)
{
	if (len != 8 && len != 16)
		return -EINVAL;
	return len == 16 && !(c->id.ctratt & NVME_CTRL_CTRATT_128_ID) ? -ENOTSUP : 0;
}

int plx_nvme_get_host_id(struct plx_nvme_ctrlr *c, void *id, uint32_t len)
{
	int rc = host_id_len(c, len);

	return rc ? rc
		  : plx_nvme_get_feature(c, NVME_FEAT_FID_HOST_ID, 0, NVME_GET_FEATURES_SEL_CURRENT,
					 len == 16, id, len, NULL);
}

int plx_nvme_set_host_id(struct plx_nvme_ctrlr *c, const void *id, uint32_t len)
{
	int rc = host_id_len(c, len);

	return rc ? rc
		  : plx_nvme_set_feature(c, NVME_FEAT_FID_HOST_ID, 0, false, len == 16, 0,
					 (void *)(uintptr_t)id, len, NULL);
}

/* ---- write protection, §5.27.1.29 ---- */

int plx_nvme_get_write_protect(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t *state)
{
	uint32_t v = 0;
	int rc = c->id.nwpc & 1 ? get(c, NVME_FEAT_FID_WRITE_PROTECT, nsid, 0, &v) : -ENOTSUP;

	*state = v & NVME_FEAT_WP_WPS_MASK;
	return rc;
}

int plx_nvme_set_write_protect(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t state)
{
	if (!(c->id.nwpc & 1))
		return -ENOTSUP;
	if (state > NVME_FEAT_NS_WRITE_PROTECT_PERMANENT)
		return -EINVAL;
	return set(c, NVME_FEAT_FID_WRITE_PROTECT, nsid, false, state);
}

/* ---- command sets, §5.27.1.21 ---- */

int plx_nvme_get_command_sets(struct plx_nvme_ctrlr *c, uint16_t *index)
{
	uint32_t v = 0;
	int rc = NVME_CAP_CSS(c->cap) & NVME_CAP_CSS_CSI
			 ? get(c, NVME_FEAT_FID_IOCS_PROFILE, 0, 0, &v)
			 : -ENOTSUP;

	*index = v & 0x1ff;
	return rc;
}

int plx_nvme_set_command_sets(struct plx_nvme_ctrlr *c, uint16_t index)
{
	int rc;

	if (!(NVME_CAP_CSS(c->cap) & NVME_CAP_CSS_CSI))
		return -ENOTSUP;
	if (index > 511)
		return -EINVAL;
	rc = set(c, NVME_FEAT_FID_IOCS_PROFILE, 0, false, index);
	return rc ? rc : plx_nvme_ctrlr_rescan(c);
}

int plx_nvme_command_set_profiles(struct plx_nvme_ctrlr *c, struct nvme_id_iocs *out)
{
	_Static_assert(sizeof(*out) == NVME_IDENTIFY_DATA_SIZE, "a page");
	if (!(NVME_CAP_CSS(c->cap) & NVME_CAP_CSS_CSI))
		return -ENOTSUP;
	return plx_nvme_identify(c, NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE, 0, c->id.cntlid, 0,
				 out);
}

/* ---- flexible data placement, NVMe Base 2.1 §5.1.25.1.20 ---- */

int plx_nvme_get_fdp(struct plx_nvme_ctrlr *c, uint16_t endgid, bool *on, uint8_t *index)
{
	uint32_t v = 0;
	int rc = plx_nvme_fdp_supported(c) ? get(c, NVME_FEAT_FID_FDP, 0, endgid, &v) : -ENOTSUP;

	*on = v & 1;
	*index = v >> NVME_FEAT_FDP_INDEX_SHIFT & 0xff;
	return rc;
}

int plx_nvme_set_fdp(struct plx_nvme_ctrlr *c, uint16_t endgid, bool on, uint8_t index)
{
	if (!plx_nvme_fdp_supported(c))
		return -ENOTSUP;
	return plx_nvme_set_feature(c, NVME_FEAT_FID_FDP, 0,
				    c->id.oncs & NVME_CTRL_ONCS_SAVE_FEATURES, endgid,
				    on | (uint32_t)index << NVME_FEAT_FDP_INDEX_SHIFT, NULL, 0,
				    NULL);
}
