/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/read.c - everything that was asked for, read from the controller
 */
#include "identify/reader.h"
#include <errno.h>
#include <pollux/nvme_log.h>
#include <stdlib.h>
#include <string.h>

/* Log pages longer than this need extended data (LPA bit 2): 12 bits of dwords */
#define SHORT_LOG_MAX 16384u
/* Generic status (TP4146), which libnvme 1.3 lacks */
#define SC_FDP_DISABLED 0x29

bool id_not_supported(uint16_t status)
{
	switch (PLX_NVME_ST_CODE(status)) {
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_OPCODE):
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD):
	case PLX_NVME_ST(NVME_SCT_GENERIC, SC_FDP_DISABLED):
	case PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_LOG_PAGE):
		return true;
	default:
		return false;
	}
}

bool id_skipped(const struct id_dump *dump, const struct id_item *item)
{
	return !dump->named && !item->err && id_not_supported(item->status);
}

static const uint16_t no_such_log =
	PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_LOG_PAGE) | PLX_NVME_DNR;

/* ---- log pages ---- */

static bool has_log(const struct reader *r, uint8_t lid)
{
	return !r->tells_logs || r->logs.lid_support[lid] & 1;
}

static int read_log(struct reader *r, const struct plx_nvme_log *log, void *data, uint32_t len)
{
	int rc = has_log(r, log->lid) ? plx_nvme_log_read(r->c, log, 0, data, len) : no_such_log;

	return rc == -ENOTSUP ? no_such_log : rc;
}

/* A page that says how long it is. What it says may be nonsense: that is an error of the page */
static int fetch_log(struct reader *r, const struct plx_nvme_log *log, struct id_item *item)
{
	size_t len;
	int rc;

	if (!has_log(r, log->lid))
		return no_such_log;
	free(item->data);
	item->data = NULL;
	item->len = 0;
	rc = plx_nvme_log_fetch(r->c, log, 0, &item->data, &len);
	if (!rc)
		item->len = (uint32_t)len;
	if (rc != -EPROTO && rc != -EFBIG && rc != -EAGAIN)
		return rc == -ENOTSUP ? no_such_log : rc;
	item->err = (int16_t)rc;
	return 0;
}

static int read_log_item(struct reader *r, struct id_item *item)
{
	const struct id_what_info *info = &id_whats[item->what];
	bool of_ns = info->scope == ID_OF_NS || info->scope == ID_OF_ZONED;
	struct plx_nvme_log log = {
		.lid = item->lid,
		.lsp = info->lsp,
		.csi = info->csi,
		.lsi = of_ns ? 0 : (uint16_t)item->nsid,
		.nsid = of_ns ? item->nsid : PLX_NVME_LOG_CTRLR,
	};

	if (item->what == ID_SMART && r->w->nsid && r->dump->ctrl.lpa & NVME_CTRL_LPA_SMART_PER_NS)
		log.nsid = r->w->nsid;
	if (info->grows || (info->grows_whole && r->w->whole))
		return fetch_log(r, &log, item);
	return read_log(r, &log, item->data, item->len);
}

static uint32_t error_log_len(const struct reader *r)
{
	uint32_t len = (r->dump->ctrl.elpe + 1u) * (uint32_t)sizeof(struct nvme_error_log_page);
	uint32_t max = plx_nvme_ctrlr_max_io_bytes(r->c);

	if (max > SHORT_LOG_MAX)
		max = SHORT_LOG_MAX;
	if (!(r->dump->ctrl.lpa & NVME_CTRL_LPA_EXTENDED) && len > max)
		len = max - max % (uint32_t)sizeof(struct nvme_error_log_page);
	return len;
}

/* ---- features ---- */

static bool has_feature(const struct reader *r, uint8_t fid)
{
	return !r->tells_features ||
	       r->features.fid_support[fid] & NVME_FID_SUPPORTED_EFFECTS_FSUPP;
}

/* The data structure of others than the current value is not kept. Return: 0, whatever the
 * controller said; -errno */
static int read_select(struct reader *r, struct id_feature_value *v, uint8_t select)
{
	const struct id_feature *f = v->feature;
	void *data = select == ID_CURRENT ? v->data : r->ignored;
	uint32_t len = select == ID_SUPPORTED ? 0 : f->data;
	int rc = plx_nvme_get_feature(r->c, f->fid, v->nsid, select, v->cdw11, len ? data : NULL,
				      len, &v->value[select]);

	if (!rc)
		v->known |= (uint8_t)(1u << select);
	else if (rc > 0 && select == ID_CURRENT)
		v->status = (uint16_t)rc;
	return rc < 0 ? rc : 0;
}

static int read_feature(struct reader *r, struct id_feature_value *v)
{
	int rc;

	if (!has_feature(r, v->feature->fid)) {
		v->status = PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD) | PLX_NVME_DNR;
		return 0;
	}
	rc = read_select(r, v, ID_CURRENT);
	if (rc || v->status)
		return rc;
	v->data_len = v->feature->data;
	if (!(r->dump->ctrl.oncs & NVME_CTRL_ONCS_SAVE_FEATURES))
		return 0;
	for (uint8_t select = ID_DEFAULT; select < ID_SELECTS && !rc; select++)
		rc = read_select(r, v, select);
	return rc;
}

static struct id_feature_value *add_feature(struct id_item *item, const struct id_feature *f,
					    uint32_t id)
{
	uint32_t n = item->len / (uint32_t)sizeof(struct id_feature_value);
	struct id_feature_value *v = realloc(item->data, (n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	item->data = v;
	item->len += (uint32_t)sizeof(*v);
	memset(&v[n], 0, sizeof(*v));
	v[n].feature = f;
	v[n].cdw11 = f->cdw11;
	if (f->scope == ID_OF_NS)
		v[n].nsid = id;
	else if (f->scope != ID_OF_CTRL)
		v[n].cdw11 |= id;
	return &v[n];
}

static int read_one_feature(struct reader *r, struct id_item *item, const struct id_feature *f)
{
	uint32_t id = 0;

	do {
		struct id_feature_value *v;
		int rc;

		if (f->scope != ID_OF_CTRL)
			id = id_next(r, f->scope, id);
		if (f->scope != ID_OF_CTRL && !id)
			break;
		v = add_feature(item, f, id);
		rc = v ? read_feature(r, v) : -ENOMEM;
		if (rc)
			return rc;
	} while (f->scope != ID_OF_CTRL);
	return 0;
}

/* One that has no description: its value is all that can be shown */
static int read_other_feature(struct reader *r, struct id_item *item)
{
	struct id_feature *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->fid = (uint8_t)r->w->fid;
	f->name = id_feature_name(f->fid);
	r->dump->feature = f;
	return read_one_feature(r, item, f);
}

static int read_features(struct reader *r, struct id_item *item)
{
	bool found = r->w->fid < 0;
	int rc = 0;

	for (uint32_t i = 0; i < id_feature_count && !rc; i++) {
		if (r->w->fid >= 0 && r->w->fid != id_features[i].fid)
			continue;
		found = true;
		rc = read_one_feature(r, item, &id_features[i]);
	}
	return rc || found ? rc : read_other_feature(r, item);
}

/* ---- items ---- */

static int read_registers(struct reader *r, struct id_item *item)
{
	uint8_t *at = item->data;
	uint32_t len =
		plx_nvme_ctrlr_cap(r->c) & 1ull << 56 ? ID_REGISTER_BYTES : NVME_REG_CRTO + 4;

	/* interrupts, queues and so on by dwords; the ones of 64 bits as such */
	for (uint32_t off = 0; off < len; off += 4) {
		bool wide = off == NVME_REG_CAP || off == NVME_REG_ASQ || off == NVME_REG_ACQ ||
			    off == NVME_REG_BPMBL || off == NVME_REG_CMBMSC;
		uint64_t v;
		int rc;

		if (off > NVME_REG_CRTO && off < NVME_REG_PMRCAP)
			off = NVME_REG_PMRCAP;
		rc = plx_nvme_ctrlr_read_register(r->c, off, wide ? 8 : 4, &v);
		if (rc)
			return rc;
		memcpy(at + off, &v, wide ? 8 : 4);
		off += wide ? 4 : 0;
	}
	return 0;
}

static int read_page(struct reader *r, struct id_item *item)
{
	const struct id_what_info *info = &id_whats[item->what];
	uint32_t nsid = info->scope == ID_OF_CTRL ? 0 : item->nsid;
	int rc;

	switch (item->what) {
	case ID_REGISTERS:
		return read_registers(r, item);
	case ID_PCI:
		rc = plx_nvme_ctrlr_read_config(r->c, 0, item->data, item->len);
		return rc == -ENOTSUP ? (int)ID_NO_SUCH : rc;
	case ID_ZONES:
		return id_read_zones(r, item);
	case ID_FDP_STATUS:
		return id_read_fdp_status(r, item);
	case ID_RESERVATIONS:
		return id_read_reservations(r, item);
	default:
		break;
	}
	if (info->source == ID_LOG)
		return read_log_item(r, item);
	rc = plx_nvme_identify(r->c, info->number, nsid, 0, info->csi, item->data);
	if (!rc && (item->what == ID_NVM_NS || item->what == ID_ZNS_NS)) {
		struct nvme_id_ns *ns = (void *)r->ignored;

		rc = plx_nvme_identify(r->c, NVME_IDENTIFY_CNS_NS, nsid, 0, 0, ns);
		item->formats = rc ? 0 : (uint8_t)id_lbaf_count(ns);
	}
	return rc;
}

static struct id_item *add_item(struct id_dump *d, enum id_what what, uint32_t id)
{
	uint32_t room = d->room ? 2 * d->room : 64;
	struct id_item *items = d->items;

	if (d->nitems == d->room) {
		items = realloc(items, room * sizeof(*items));
		if (!items)
			return NULL;
		d->items = items;
		d->room = room;
	}
	items[d->nitems] = (struct id_item){ .what = what, .nsid = id };
	return &items[d->nitems++];
}

static int read_item(struct reader *r, enum id_what what, uint32_t id)
{
	struct id_item *item = add_item(r->dump, what, id);
	int rc;

	if (!item)
		return -ENOMEM;
	if (what == ID_FEATURES)
		return read_features(r, item);
	item->lid = what == ID_RAW ? (uint8_t)r->w->lid : id_whats[what].number;
	item->len = what == ID_ERROR ? error_log_len(r)
		    : what == ID_RAW ? r->w->lid_len
				     : id_whats[what].len;
	if (item->len) {
		item->data = calloc(1, item->len);
		if (!item->data)
			return -ENOMEM;
	}
	rc = read_page(r, item);
	if (rc > 0)
		item->status = (uint16_t)rc;
	return rc < 0 ? rc : 0;
}

/* Does the controller say that it has none of it? */
static bool lacks(const struct reader *r, const struct id_what_info *info)
{
	const uint8_t *id = (const void *)&r->dump->ctrl;

	if (info->command_sets && !(NVME_CAP_CSS(r->dump->cap) & NVME_CAP_CSS_CSI))
		return true;
	if (info->zoned && !id_next(r, ID_OF_ZONED, 0))
		return true;
	if (info->cap && !(r->dump->cap & info->cap))
		return true;
	return info->has.len && !(id_uint(id + info->has.off, info->has.len) & info->has.mask);
}

static int read_all(struct reader *r)
{
	int rc = 0;

	for (int w = 0; w < ID_WHATS && !rc; w++) {
		const struct id_what_info *info = &id_whats[w];
		uint32_t id = 0;

		if (!(r->w->what >> w & 1) || (!r->w->named && lacks(r, info)))
			continue;
		if (info->scope == ID_OF_CTRL)
			rc = read_item(r, (enum id_what)w, 0);
		else
			while (!rc && (id = id_next(r, info->scope, id)))
				rc = read_item(r, (enum id_what)w, id);
	}
	return rc;
}

/* What is not there is not asked for: each such question is an error in the controller's log */
static int learn(struct reader *r)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_SUPPORTED_LOG_PAGES,
				    .nsid = PLX_NVME_LOG_CTRLR };
	int rc;

	if (!(r->dump->ctrl.lpa & NVME_CTRL_LPA_LI0_LI5_LI12_LI13))
		return 0;
	rc = read_log(r, &log, &r->logs, sizeof(r->logs));
	r->tells_logs = !rc;
	if (rc < 0 || !(r->w->what & ID_BIT(ID_FEATURES)))
		return rc < 0 ? rc : 0;
	log.lid = NVME_LOG_LID_FID_SUPPORTED_EFFECTS;
	rc = read_log(r, &log, &r->features, sizeof(r->features));
	r->tells_features = !rc;
	return rc < 0 ? rc : 0;
}

int id_read(struct plx_nvme_ctrlr *c, const struct id_wanted *wanted, struct id_dump *dump)
{
	struct reader *r = calloc(1, sizeof(*r));
	const struct plx_nvme_trid *trid = plx_nvme_ctrlr_trid(c);
	int rc;

	memset(dump, 0, sizeof(*dump));
	if (!r)
		return -ENOMEM;
	snprintf(dump->name, sizeof(dump->name), "%s", trid->traddr);
	dump->cap = plx_nvme_ctrlr_cap(c);
	dump->ctrl = *plx_nvme_ctrlr_data(c);
	dump->named = wanted->named;
	r->c = c;
	r->w = wanted;
	r->dump = dump;
	rc = learn(r);
	if (!rc)
		rc = id_learn_scopes(r);
	if (!rc)
		rc = read_all(r);
	if (r->qp)
		plx_nvme_qpair_destroy(r->qp);
	free(r);
	return rc;
}

void id_dump_free(struct id_dump *dump)
{
	for (uint32_t i = 0; i < dump->nitems; i++)
		free(dump->items[i].data);
	free(dump->items);
	free(dump->feature);
	memset(dump, 0, sizeof(*dump));
}
