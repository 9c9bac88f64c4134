/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/read.c - everything that was asked for, read from the controller
 */
#include "identify/identify.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Log pages longer than this need extended data (LPA bit 2): 12 bits of dwords */
#define SHORT_LOG_MAX 16384u

const struct id_what_info id_whats[ID_WHATS] = {
	[ID_CTRL] = { "ctrl", "id-ctrl", "Controller", false, sizeof(struct nvme_id_ctrl) },
	[ID_REGISTERS] = { "registers", "show-regs", "Registers", false,
			   sizeof(struct id_registers) },
	[ID_NS] = { "ns", "id-ns", "Namespace", true, sizeof(struct nvme_id_ns) },
	[ID_DESCS] = { "descs", "ns-descs", "Namespace identification descriptors", true,
		       NVME_IDENTIFY_DATA_SIZE },
	[ID_SMART] = { "smart", "smart-log", "SMART / health information", false,
		       sizeof(struct nvme_smart_log) },
	[ID_ERROR] = { "error", "error-log", "Error information", false, 0 },
	[ID_FW] = { "fw", "fw-log", "Firmware slots", false, sizeof(struct nvme_firmware_slot) },
	[ID_EFFECTS] = { "effects", "effects-log", "Commands supported and effects", false,
			 sizeof(struct nvme_cmd_effects_log) },
	[ID_CHANGED_NS] = { "changed-ns", "changed-ns-list-log", "Changed namespaces", false,
			    sizeof(struct nvme_ns_list) },
	[ID_SUPPORTED_LOGS] = { "supported-logs", "supported-log-pages", "Supported log pages",
				false, sizeof(struct nvme_supported_log_pages) },
	[ID_FEATURES] = { "features", "get-feature", "Features", false, 0 },
};

static const uint8_t log_pages[ID_WHATS] = {
	[ID_SMART] = NVME_LOG_LID_SMART,
	[ID_ERROR] = NVME_LOG_LID_ERROR,
	[ID_FW] = NVME_LOG_LID_FW_SLOT,
	[ID_EFFECTS] = NVME_LOG_LID_CMD_EFFECTS,
	[ID_CHANGED_NS] = NVME_LOG_LID_CHANGED_NS,
	[ID_SUPPORTED_LOGS] = NVME_LOG_LID_SUPPORTED_LOG_PAGES,
};

bool id_not_supported(uint16_t status)
{
	switch (PLX_NVME_ST_CODE(status)) {
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_OPCODE):
	case PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD):
	case PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_LOG_PAGE):
		return true;
	default:
		return false;
	}
}

/* One controller being read, and what it says of the log pages and features it has, if it does */
struct reader {
	struct plx_nvme_ctrlr *c;
	struct id_dump *dump;
	uint32_t nsid;
	bool tells_logs, tells_features;
	struct nvme_supported_log_pages logs;
	struct nvme_fid_supported_effects_log features;
	uint8_t ignored[ID_FEATURE_DATA];
};

static const uint16_t no_such_log =
	PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_LOG_PAGE) | PLX_NVME_DNR;

/* Return: 0; an NVMe status; -errno */
static int read_log(struct reader *r, uint8_t lid, uint32_t nsid, void *data, uint32_t len)
{
	int rc;

	if (r->tells_logs && !(r->logs.lid_support[lid] & 1))
		return no_such_log;
	rc = plx_nvme_get_log(r->c, lid, nsid, 0, 0, data, len);
	return rc == -ENOTSUP ? no_such_log : rc;
}

static bool tells_effects(const struct reader *r)
{
	return r->dump->ctrl.lpa & NVME_CTRL_LPA_LI0_LI5_LI12_LI13;
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
	int rc = plx_nvme_get_feature(r->c, f->fid, v->nsid, select, f->cdw11, len ? data : NULL,
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
					    uint32_t nsid)
{
	uint32_t n = item->len / (uint32_t)sizeof(struct id_feature_value);
	struct id_feature_value *v = realloc(item->data, (n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	item->data = v;
	item->len += (uint32_t)sizeof(*v);
	memset(&v[n], 0, sizeof(*v));
	v[n].feature = f;
	v[n].nsid = nsid;
	return &v[n];
}

static int read_features(struct reader *r, struct id_item *item)
{
	int rc = 0;

	if (tells_effects(r)) {
		rc = read_log(r, NVME_LOG_LID_FID_SUPPORTED_EFFECTS, NVME_NSID_ALL, &r->features,
			      sizeof(r->features));
		r->tells_features = !rc;
	}
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < id_feature_count; i++) {
		const struct id_feature *f = &id_features[i];
		uint32_t nsid = 0;

		do {
			struct id_feature_value *v;

			if (f->per_ns)
				nsid = r->nsid ? r->nsid : plx_nvme_ctrlr_next_ns(r->c, nsid);
			if (f->per_ns && !nsid)
				break;
			v = add_feature(item, f, nsid);
			rc = v ? read_feature(r, v) : -ENOMEM;
			if (rc)
				return rc;
		} while (f->per_ns && !r->nsid);
	}
	return 0;
}

/* ---- items ---- */

static int read_page(struct reader *r, struct id_item *item)
{
	uint32_t nsid = NVME_NSID_ALL;

	switch (item->what) {
	case ID_CTRL:
		return plx_nvme_identify(r->c, NVME_IDENTIFY_CNS_CTRL, 0, 0, 0, item->data);
	case ID_NS:
		return plx_nvme_identify(r->c, NVME_IDENTIFY_CNS_NS, item->nsid, 0, 0, item->data);
	case ID_DESCS:
		return plx_nvme_identify(r->c, NVME_IDENTIFY_CNS_NS_DESC_LIST, item->nsid, 0, 0,
					 item->data);
	case ID_REGISTERS:
		*(struct id_registers *)item->data =
			(struct id_registers){ .cap = plx_nvme_ctrlr_cap(r->c),
					       .vs = plx_nvme_ctrlr_vs(r->c) };
		return 0;
	default:
		if (item->what == ID_SMART && r->nsid &&
		    r->dump->ctrl.lpa & NVME_CTRL_LPA_SMART_PER_NS)
			nsid = r->nsid;
		return read_log(r, log_pages[item->what], nsid, item->data, item->len);
	}
}

static int read_item(struct reader *r, enum id_what what, uint32_t nsid)
{
	struct id_item *item = &r->dump->items[r->dump->nitems++];
	int rc;

	*item = (struct id_item){ .what = what, .nsid = nsid };
	if (what == ID_FEATURES)
		return read_features(r, item);
	item->len = what == ID_ERROR ? error_log_len(r) : id_whats[what].len;
	item->data = calloc(1, item->len);
	if (!item->data)
		return -ENOMEM;
	rc = read_page(r, item);
	if (rc > 0)
		item->status = (uint16_t)rc;
	return rc < 0 ? rc : 0;
}

static int read_all(struct reader *r, uint32_t what)
{
	uint32_t namespaces = 0;
	int rc = 0;

	for (uint32_t n = 0; (n = plx_nvme_ctrlr_next_ns(r->c, n));)
		namespaces++;
	r->dump->items = calloc(ID_WHATS * (namespaces + 1ull), sizeof(*r->dump->items));
	if (!r->dump->items)
		return -ENOMEM;
	for (int w = 0; w < ID_WHATS && !rc; w++) {
		uint32_t nsid = 0;

		if (!(what >> w & 1))
			continue;
		if (!id_whats[w].per_ns || r->nsid) {
			rc = read_item(r, (enum id_what)w, id_whats[w].per_ns ? r->nsid : 0);
			continue;
		}
		while (!rc && (nsid = plx_nvme_ctrlr_next_ns(r->c, nsid)))
			rc = read_item(r, (enum id_what)w, nsid);
	}
	return rc;
}

int id_read(struct plx_nvme_ctrlr *c, uint32_t what, uint32_t nsid, struct id_dump *dump)
{
	struct reader *r = calloc(1, sizeof(*r));
	const struct plx_nvme_trid *trid = plx_nvme_ctrlr_trid(c);
	int rc = 0;

	if (!r)
		return -ENOMEM;
	memset(dump, 0, sizeof(*dump));
	snprintf(dump->name, sizeof(dump->name), "%s", trid->traddr);
	dump->cap = plx_nvme_ctrlr_cap(c);
	dump->ctrl = *plx_nvme_ctrlr_data(c);
	r->c = c;
	r->dump = dump;
	r->nsid = nsid;
	/* what is not there is not asked for: each such question is an error in its log */
	if (tells_effects(r)) {
		rc = read_log(r, NVME_LOG_LID_SUPPORTED_LOG_PAGES, NVME_NSID_ALL, &r->logs,
			      sizeof(r->logs));
		r->tells_logs = !rc;
	}
	if (rc >= 0)
		rc = read_all(r, what);
	free(r);
	return rc;
}

void id_dump_free(struct id_dump *dump)
{
	for (uint32_t i = 0; i < dump->nitems; i++)
		free(dump->items[i].data);
	free(dump->items);
	memset(dump, 0, sizeof(*dump));
}
