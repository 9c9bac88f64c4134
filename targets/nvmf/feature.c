/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/feature.c - Get Features and Set Features (§5.15, §5.27, §4.4)
 *
 * No feature can be saved, so the saved value of each is its default (§4.4).
 */
#include "targets/nvmf/nvmf_admin.h"

#define FEATURE_DATA_MAX sizeof(struct nvme_feat_host_behavior)

/* One command under execution. Status is a return; a value goes to @value, data to or from @data */
struct feat {
	struct nvmf_ctrlr *c;
	const struct nvmf_features *f; /* get: the current values, or the defaults */
	bool defaults;
	uint32_t nsid;
	uint32_t cdw11;
	uint32_t value;
	uint8_t *data;
};

static const struct nvmf_features feature_defaults = {
	.arbitration = 7, /* AB 111b: no limit */
	.temp_over = NVMF_WCTEMP,
};

void nvmf_features_reset(struct nvmf_ctrlr *c)
{
	struct nvmf_admin *a = c->admin;

	a->features = feature_defaults;
	a->features.timestamp_tsc = plx_tsc();
	memset(a->tler, 0, c->nn * sizeof *a->tler);
	memset(a->vector_cd, 0, c->fn->opts.max_io_queues + 1);
	c->fn->burst = UINT32_MAX;
}

/* ---- plain values: stored as given, limited to the fields defined ---- */

static uint16_t get_arbitration(struct feat *x)
{
	x->value = x->f->arbitration;
	return 0;
}

static uint16_t set_arbitration(struct feat *x)
{
	uint32_t burst = x->cdw11 & NVME_FEAT_ARBITRATION_BURST_MASK;

	x->c->admin->features.arbitration = x->cdw11 & 0xffffff07;
	nvmf_arb_set(x->c->fn, x->cdw11);
	x->c->fn->burst = burst == 7 ? UINT32_MAX : 1u << burst;
	return 0;
}

static uint16_t get_power(struct feat *x)
{
	x->value = x->f->power;
	return 0;
}

static uint16_t set_power(struct feat *x)
{
	if (x->cdw11 & NVME_FEAT_PWRMGMT_PS_MASK) /* NPSS: there is power state 0 alone */
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	if ((x->cdw11 >> NVME_FEAT_PWRMGMT_WH_SHIFT & NVME_FEAT_PWRMGMT_WH_MASK) >
	    2) /* reserved hints */
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	x->c->admin->features.power = x->cdw11 & 0xe0;
	return 0;
}

static uint16_t get_irq_coalescing(struct feat *x)
{
	x->value = x->f->irq_coalescing;
	return 0;
}

static uint16_t set_irq_coalescing(struct feat *x)
{
	x->c->admin->features.irq_coalescing = x->cdw11 & 0xffff;
	return 0;
}

static uint16_t get_write_atomicity(struct feat *x)
{
	x->value = x->f->write_atomicity;
	return 0;
}

static uint16_t set_write_atomicity(struct feat *x)
{
	x->c->admin->features.write_atomicity = x->cdw11 & 1;
	return 0;
}

/* ---- Temperature Threshold (§5.27.1.3): the composite temperature, no sensors ---- */

static uint16_t check_temperature(const struct feat *x, bool set)
{
	uint32_t sensor = x->cdw11 >> NVME_FEAT_TT_TMPSEL_SHIFT & NVME_FEAT_TT_TMPSEL_MASK;
	uint32_t which = x->cdw11 >> NVME_FEAT_TT_THSEL_SHIFT & NVME_FEAT_TT_THSEL_MASK;
	bool all = set && sensor == 15;

	return (sensor && !all) || which > 1 ? NVMF_ST(NVME_SC_INVALID_FIELD) : 0;
}

static bool is_under(const struct feat *x)
{
	return x->cdw11 >> NVME_FEAT_TT_THSEL_SHIFT & 1;
}

static uint16_t get_temperature(struct feat *x)
{
	x->value = is_under(x) ? x->f->temp_under : x->f->temp_over;
	return check_temperature(x, false);
}

static void temperature_event(struct nvmf_ctrlr *c)
{
	if (nvmf_critical_warning(c))
		nvmf_ctrlr_event(c, NVME_AER_SMART, NVME_AER_SMART_TEMPERATURE_THRESHOLD,
				 NVME_LOG_LID_SMART);
}

static uint16_t set_temperature(struct feat *x)
{
	struct nvmf_features *f = &x->c->admin->features;
	uint16_t st = check_temperature(x, true);

	if (st)
		return st;
	*(is_under(x) ? &f->temp_under : &f->temp_over) = x->cdw11 & NVME_FEAT_TT_TMPTH_MASK;
	temperature_event(x->c);
	return 0;
}

/* ---- Error Recovery (§5.27.1.4), by namespace ---- */

static uint16_t get_error_recovery(struct feat *x)
{
	x->value = x->defaults ? 0 : x->c->admin->tler[x->nsid - 1];
	return 0;
}

static uint16_t set_error_recovery(struct feat *x)
{
	uint16_t tler = x->cdw11 & NVME_FEAT_ERROR_RECOVERY_TLER_MASK;

	/* DULBE: no namespace reports deallocated blocks as errors (NSFEAT bit 2) */
	if (x->cdw11 >> NVME_FEAT_ERROR_RECOVERY_DULBE_SHIFT & NVME_FEAT_ERROR_RECOVERY_DULBE_MASK)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	for (uint32_t i = 0; i < x->c->nn; i++) {
		if (x->nsid == NVME_NSID_ALL ? x->c->ns[i].desc != NULL : x->nsid == i + 1)
			x->c->admin->tler[i] = tler;
	}
	return 0;
}

/* ---- Volatile Write Cache (§5.27.1.6): always on where there is one ---- */

static uint16_t get_write_cache(struct feat *x)
{
	x->value = 1;
	return 0;
}

/* ---- Number of Queues (§5.27.1.5) ---- */

static uint16_t get_num_queues(struct feat *x)
{
	uint32_t n = x->c->fn->opts.max_io_queues - 1;

	x->value = n | n << NVME_FEAT_NRQS_NCQR_SHIFT;
	return 0;
}

/* All queues there are, whatever was asked for: the host takes as many as it wants */
static uint16_t set_num_queues(struct feat *x)
{
	const struct nvmf_fn *fn = x->c->fn;

	if ((x->cdw11 & 0xffff) == 0xffff || x->cdw11 >> 16 == 0xffff)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	for (uint32_t qid = 1; qid <= fn->opts.max_io_queues; qid++) {
		if (fn->sqs[qid] || fn->cqs[qid])
			return NVMF_ST(NVME_SC_CMD_SEQ_ERROR);
	}
	return get_num_queues(x);
}

/* ---- Interrupt Vector Configuration (§5.27.1.8) ---- */

static uint16_t get_vector(struct feat *x)
{
	uint32_t vector = x->cdw11 & NVME_FEAT_ICFG_IV_MASK;

	if (vector > x->c->fn->opts.max_io_queues)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	x->value = vector | (x->defaults ? 0
					 : (uint32_t)x->c->admin->vector_cd[vector]
						   << NVME_FEAT_ICFG_CD_SHIFT);
	return 0;
}

static uint16_t set_vector(struct feat *x)
{
	uint32_t vector = x->cdw11 & NVME_FEAT_ICFG_IV_MASK;

	if (vector > x->c->fn->opts.max_io_queues)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	x->c->admin->vector_cd[vector] =
		x->cdw11 >> NVME_FEAT_ICFG_CD_SHIFT & NVME_FEAT_ICFG_CD_MASK;
	return 0;
}

/* ---- Asynchronous Event Configuration (§5.27.1.9) ---- */

static uint16_t get_async_event(struct feat *x)
{
	x->value = x->f->async_event;
	return 0;
}

static uint16_t set_async_event(struct feat *x)
{
	/* events that OAES does not offer stay off */
	x->c->admin->features.async_event =
		x->cdw11 & (0xff | NVME_FEATURE_AENCFG_NOTICE_NAMESPACE_ATTRIBUTES);
	temperature_event(x->c);
	return 0;
}

/* ---- Timestamp (§5.27.1.11): milliseconds, counted on from what was set ---- */

static uint16_t get_timestamp(struct feat *x)
{
	struct nvme_timestamp *t = (struct nvme_timestamp *)x->data;
	uint64_t ms = 0;

	if (!x->defaults) {
		ms = x->f->timestamp_ms +
		     plx_tsc_to_ns(plx_tsc_scale(), plx_tsc() - x->f->timestamp_tsc) / 1000000;
		t->attr =
			x->f->timestamp_set ? 1 << 1 : 0; /* origin; no interruption of counting */
	}
	memcpy(t->timestamp, &ms, sizeof t->timestamp);
	return 0;
}

static uint16_t set_timestamp(struct feat *x)
{
	const struct nvme_timestamp *t = (const struct nvme_timestamp *)x->data;
	struct nvmf_features *f = &x->c->admin->features;

	f->timestamp_ms = 0;
	memcpy(&f->timestamp_ms, t->timestamp, sizeof t->timestamp);
	f->timestamp_tsc = plx_tsc();
	f->timestamp_set = true;
	return 0;
}

/* ---- Keep Alive Timer (§5.27.1.12) ---- */

static uint16_t get_kato(struct feat *x)
{
	x->value = x->f->kato_ms;
	return 0;
}

static uint16_t set_kato(struct feat *x)
{
	uint64_t ms = ((uint64_t)x->cdw11 + NVMF_KAS_MS - 1) / NVMF_KAS_MS * NVMF_KAS_MS;

	if (ms > UINT32_MAX)
		ms = UINT32_MAX;
	x->c->admin->features.kato_ms = (uint32_t)ms;
	return nvmf_keep_alive_set(x->c) ? NVMF_ST(NVME_SC_INTERNAL) : 0;
}

/* ---- Host Behavior Support (§5.27.1.18) ---- */

static uint16_t get_host_behavior(struct feat *x)
{
	memcpy(x->data, &x->f->host_behavior, sizeof x->f->host_behavior);
	return 0;
}

static uint16_t set_host_behavior(struct feat *x)
{
	/* ACRE, ETDAS, LBAFEE: each is off or on */
	if (x->data[0] > 1 || x->data[1] > 1 || x->data[2] > 1)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	memcpy(&x->c->admin->features.host_behavior, x->data, 3);
	return 0;
}

/* ---- I/O Command Set Profile (§5.27.1.21): combination 0 is the only one ---- */

static uint16_t get_command_sets(struct feat *x)
{
	x->value = 0;
	return 0;
}

static uint16_t set_command_sets(struct feat *x)
{
	x->value = 0;
	return x->cdw11 & NVME_FEAT_IOCSP_IOCSCI_MASK
		       ? NVMF_ST_CS(NVME_SC_IOCS_COMBINATION_REJECTED)
		       : 0;
}

/* ---- Host Identifier (§5.27.1.25): 8 bytes, or 16 with EXHID ---- */

static uint32_t hostid_len(const struct feat *x)
{
	return x->cdw11 & NVME_FEAT_HOSTID_EXHID_MASK ? 16 : 8;
}

static uint16_t get_hostid(struct feat *x)
{
	memcpy(x->data, x->f->hostid, sizeof x->f->hostid);
	return 0;
}

static uint16_t set_hostid(struct feat *x)
{
	uint8_t *id = x->c->admin->features.hostid;

	memset(id, 0, sizeof x->c->admin->features.hostid);
	memcpy(id, x->data, hostid_len(x));
	return 0;
}

/* ---- the table ---- */

static const struct feature {
	uint16_t (*get)(struct feat *x);
	uint16_t (*set)(struct feat *x); /* NULL: not changeable */
	uint16_t data; /* bytes of the data buffer */
	bool per_ns;
	bool hostid; /* length by EXHID */
} features[256] = {
	[NVME_FEAT_FID_ARBITRATION] = { get_arbitration, set_arbitration },
	[NVME_FEAT_FID_POWER_MGMT] = { get_power, set_power },
	[NVME_FEAT_FID_TEMP_THRESH] = { get_temperature, set_temperature },
	[NVME_FEAT_FID_ERR_RECOVERY] = { get_error_recovery, set_error_recovery, .per_ns = true },
	[NVME_FEAT_FID_VOLATILE_WC] = { get_write_cache, NULL },
	[NVME_FEAT_FID_NUM_QUEUES] = { get_num_queues, set_num_queues },
	[NVME_FEAT_FID_IRQ_COALESCE] = { get_irq_coalescing, set_irq_coalescing },
	[NVME_FEAT_FID_IRQ_CONFIG] = { get_vector, set_vector },
	[NVME_FEAT_FID_WRITE_ATOMIC] = { get_write_atomicity, set_write_atomicity },
	[NVME_FEAT_FID_ASYNC_EVENT] = { get_async_event, set_async_event },
	[NVME_FEAT_FID_TIMESTAMP] = { get_timestamp, set_timestamp, sizeof(struct nvme_timestamp) },
	[NVME_FEAT_FID_KATO] = { get_kato, set_kato },
	[NVME_FEAT_FID_HOST_BEHAVIOR] = { get_host_behavior, set_host_behavior,
					  sizeof(struct nvme_feat_host_behavior) },
	[NVME_FEAT_FID_IOCS_PROFILE] = { get_command_sets, set_command_sets },
	[NVME_FEAT_FID_HOST_ID] = { get_hostid, set_hostid, 16, .hostid = true },
};

static const struct feature *find(const struct nvmf_ctrlr *c, uint8_t fid)
{
	if (!features[fid].get || (fid == NVME_FEAT_FID_VOLATILE_WC && !nvmf_volatile_cache(c)))
		return NULL;
	return &features[fid];
}

uint32_t nvmf_feature_effects(const struct nvmf_ctrlr *c, uint8_t fid)
{
	const struct feature *f = find(c, fid);
	uint32_t scope = f && f->per_ns ? NVME_FID_SUPPORTED_EFFECTS_SCOPE_NS
					: NVME_FID_SUPPORTED_EFFECTS_SCOPE_CTRL;

	return f ? NVME_FID_SUPPORTED_EFFECTS_FSUPP |
			       scope << NVME_FID_SUPPORTED_EFFECTS_SCOPE_SHIFT
		 : 0;
}

/* §4.4: which namespace identifiers a feature of either scope takes */
static uint16_t check_scope(struct nvmf_ctrlr *c, const struct feature *f, uint32_t nsid, bool set)
{
	struct nvmf_ctrlr_ns *ns;

	if (f->per_ns)
		return set && nsid == NVME_NSID_ALL ? 0 : nvmf_check_nsid(c, nsid, &ns);
	if (!nsid || nsid == NVME_NSID_ALL)
		return 0;
	if (nsid > c->nn)
		return NVMF_ST(NVME_SC_INVALID_NS);
	return set ? NVMF_ST_CS(NVME_SC_FEATURE_NOT_PER_NS) : 0;
}

static uint32_t data_len(const struct feature *f, const struct feat *x)
{
	return f->hostid ? hostid_len(x) : f->data;
}

uint16_t nvmf_get_features(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	const struct feature *f = find(c, req->cmd.cdw10 & 0xff);
	uint32_t sel = req->cmd.cdw10 >> 8 & 7;
	struct feat x = {
		.c = c, .nsid = req->cmd.nsid, .cdw11 = req->cmd.cdw11, .data = c->admin->page
	};
	uint16_t st;

	if (!f || sel > NVME_GET_FEATURES_SEL_SUPPORTED)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	st = check_scope(c, f, x.nsid, false);
	if (st)
		return st;
	if (sel ==
	    NVME_GET_FEATURES_SEL_SUPPORTED) { /* bit 0 saveable, 1 by namespace, 2 changeable */
		req->dw0 = (uint32_t)f->per_ns << 1 | (uint32_t)(f->set != NULL) << 2;
		return 0;
	}
	x.defaults = sel != NVME_GET_FEATURES_SEL_CURRENT;
	x.f = x.defaults ? &feature_defaults : &c->admin->features;
	memset(x.data, 0, FEATURE_DATA_MAX);
	st = f->get(&x);
	if (!st && f->data)
		st = nvmf_req_map(req, data_len(f, &x));
	if (st)
		return st;
	if (f->data)
		nvmf_req_copy_out(req, 0, x.data, data_len(f, &x));
	req->dw0 = x.value;
	return 0;
}

uint16_t nvmf_set_features(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->sq->ctrlr;
	const struct feature *f = find(c, req->cmd.cdw10 & 0xff);
	struct feat x = {
		.c = c, .nsid = req->cmd.nsid, .cdw11 = req->cmd.cdw11, .data = c->admin->page
	};
	uint16_t st;

	if (!f)
		return NVMF_ST(NVME_SC_INVALID_FIELD);
	st = check_scope(c, f, x.nsid, true);
	if (st)
		return st;
	if (req->cmd.cdw10 >> 31)
		return NVMF_ST_CS(NVME_SC_FEATURE_NOT_SAVEABLE);
	if (!f->set)
		return NVMF_ST_CS(NVME_SC_FEATURE_NOT_CHANGEABLE);
	if (f->data) {
		st = nvmf_req_map(req, data_len(f, &x));
		if (st)
			return st;
		nvmf_req_copy_in(req, 0, x.data, data_len(f, &x));
	}
	st = f->set(&x);
	if (!st)
		req->dw0 = x.value;
	return st;
}
