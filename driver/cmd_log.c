/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/cmd_log.c - Get Log Page (NVMe Base 2.0c §5.16): names, parts, whole pages
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <pollux/nvme_log.h>
#include <stdlib.h>
#include <string.h>

#define LOG_SHORT_MAX 16384u /* without extended data: 12 bits of dwords */
/* more in a command gains nothing, and needs the memory at once */
#define LOG_PIECE_MAX (128u << 10)
#define LOG_FETCH_MAX (64ull << 20)
#define LOG_TRIES     3

#define TELEMETRY_BLOCK	     512u
#define TELEMETRY_LSP_CREATE 1 /* §5.16.1.8 */
#define BOOT_PARTITION_UNIT  (128ull << 10)

/* §5.16.1 figure 202, NVMe Base 2.1 for 18h to 1bh, ZNS Command Set 1.1c §4.1.4 */
static const char *const names[256] = {
	[NVME_LOG_LID_SUPPORTED_LOG_PAGES] = "Supported Log Pages",
	[NVME_LOG_LID_ERROR] = "Error Information",
	[NVME_LOG_LID_SMART] = "SMART / Health Information",
	[NVME_LOG_LID_FW_SLOT] = "Firmware Slot Information",
	[NVME_LOG_LID_CHANGED_NS] = "Changed Namespace List",
	[NVME_LOG_LID_CMD_EFFECTS] = "Commands Supported and Effects",
	[NVME_LOG_LID_DEVICE_SELF_TEST] = "Device Self-test",
	[NVME_LOG_LID_TELEMETRY_HOST] = "Telemetry Host-Initiated",
	[NVME_LOG_LID_TELEMETRY_CTRL] = "Telemetry Controller-Initiated",
	[NVME_LOG_LID_ENDURANCE_GROUP] = "Endurance Group Information",
	[NVME_LOG_LID_PREDICTABLE_LAT_NVMSET] = "Predictable Latency Per NVM Set",
	[NVME_LOG_LID_PREDICTABLE_LAT_AGG] = "Predictable Latency Event Aggregate",
	[NVME_LOG_LID_ANA] = "Asymmetric Namespace Access",
	[NVME_LOG_LID_PERSISTENT_EVENT] = "Persistent Event",
	[NVME_LOG_LID_LBA_STATUS] = "LBA Status Information",
	[NVME_LOG_LID_ENDURANCE_GRP_EVT] = "Endurance Group Event Aggregate",
	[NVME_LOG_LID_MEDIA_UNIT_STATUS] = "Media Unit Status",
	[NVME_LOG_LID_SUPPORTED_CAP_CONFIG_LIST] = "Supported Capacity Configuration List",
	[NVME_LOG_LID_FID_SUPPORTED_EFFECTS] = "Feature Identifiers Supported and Effects",
	[NVME_LOG_LID_MI_CMD_SUPPORTED_EFFECTS] = "NVMe-MI Commands Supported and Effects",
	[0x14] = "Command and Feature Lockdown",
	[NVME_LOG_LID_BOOT_PARTITION] = "Boot Partition",
	[0x16] = "Rotational Media Information",
	[0x17] = "Dispersed Namespace Participating NVM Subsystems",
	[0x18] = "Management Address List",
	[0x1a] = "Reachability Groups",
	[0x1b] = "Reachability Associations",
	[NVME_LOG_LID_FDP_CONFIGS] = "FDP Configurations",
	[NVME_LOG_LID_FDP_RUH_USAGE] = "Reclaim Unit Handle Usage",
	[NVME_LOG_LID_FDP_STATS] = "FDP Statistics",
	[NVME_LOG_LID_FDP_EVENTS] = "FDP Events",
	[NVME_LOG_LID_DISCOVER] = "Discovery",
	[NVME_LOG_LID_RESERVATION] = "Reservation Notification",
	[NVME_LOG_LID_SANITIZE] = "Sanitize Status",
	[NVME_LOG_LID_ZNS_CHANGED_ZONES] = "Changed Zone List",
};

const char *plx_nvme_log_name(uint8_t lid)
{
	return names[lid];
}

/* ---- parts ---- */

static void log_cmd(struct plx_nvme_cmd *cmd, const struct plx_nvme_log *log, uint64_t offset,
		    uint32_t len, bool rae)
{
	uint32_t numd = len / 4 - 1;

	*cmd = (struct plx_nvme_cmd){
		.opc = nvme_admin_get_log_page,
		.nsid = log->nsid,
		.cdw10 = (numd & 0xffff) << 16 | (uint32_t)rae << 15 | (log->lsp & 0x7fu) << 8 |
			 log->lid,
		.cdw11 = (uint32_t)log->lsi << 16 | numd >> 16,
		.cdw12 = (uint32_t)offset,
		.cdw13 = (uint32_t)(offset >> 32),
		.cdw14 = (uint32_t)log->csi << 24 | (log->uuid & 0x7fu),
	};
}

int plx_nvme_log_read(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint64_t offset,
		      void *buf, uint32_t len)
{
	/* without extended data in Get Log Page (LPA bit 2): no offset, 12 bits of length */
	bool extended = c->id.lpa & NVME_CTRL_LPA_EXTENDED;
	uint32_t most = extended ? LOG_PIECE_MAX : LOG_SHORT_MAX;
	uint32_t chunk = (c->max_io_bytes < most ? c->max_io_bytes : most) & ~3u;

	if (!buf || !len || len % 4 || offset % 4)
		return -EINVAL;
	if (!extended && (offset || len > chunk))
		return -ENOTSUP;
	for (uint32_t done = 0, n; done < len; done += n) {
		struct plx_nvme_cmd cmd;
		int rc;

		n = len - done < chunk ? len - done : chunk;
		/* the event is cleared by the last piece, so that the pieces are of one state */
		log_cmd(&cmd, log, offset + done, n, log->retain || done + n < len);
		rc = admin_call(c, &cmd, (char *)buf + done, n, NULL);
		if (rc)
			return rc;
	}
	return 0;
}

int plx_nvme_get_log(struct plx_nvme_ctrlr *c, uint8_t lid, uint32_t nsid, uint8_t lsp,
		     uint64_t offset, void *buf, uint32_t len)
{
	struct plx_nvme_log log = { .lid = lid, .nsid = nsid, .lsp = lsp };

	return plx_nvme_log_read(c, &log, offset, buf, len);
}

/* ---- lengths ---- */

/*
 * How long a page is: @fixed bytes; or a header of @header bytes, its length by @length, and at
 * @gen a number of @gen_len bytes that changes when the page does.
 */
struct log_kind {
	uint32_t fixed;
	uint16_t header;
	uint16_t gen, gen_len;
	uint64_t (*length)(const struct plx_nvme_ctrlr *c, const void *header);
};

static uint64_t error_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	return (c->id.elpe + 1ull) * sizeof(struct nvme_error_log_page);
}

/* §5.16.1.8: data area 4 only where LPA bit 6 says so; without any, the header alone */
static uint64_t telemetry_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_telemetry_log *t = header;
	uint64_t last = t->dalb3;

	last = t->dalb1 > last ? t->dalb1 : last;
	last = t->dalb2 > last ? t->dalb2 : last;
	if ((c->id.lpa & NVME_CTRL_LPA_DA4_TELEMETRY) && t->dalb4 > last)
		last = t->dalb4;
	return (last + 1) * TELEMETRY_BLOCK;
}

/* Both aggregates of events: a count of 8 bytes, identifiers of 2 */
static uint64_t aggregate_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_aggregate_predictable_lat_event *a = header;

	/* there are 16 bits of identifiers */
	return a->num_entries > UINT16_MAX ? 0 : (8 + 2 * a->num_entries + 3) & ~3ull;
}

/* §5.16.1.13: at most all groups with all namespaces */
static uint64_t ana_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	uint64_t ns = c->id.mnan ? c->id.mnan : c->id.nn;

	return sizeof(struct nvme_ana_log) + 4 * ns +
	       (uint64_t)c->id.nanagrpid * sizeof(struct nvme_ana_group_desc);
}

static uint64_t persistent_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_persistent_event_log *p = header;

	return p->tll < sizeof(*p) ? 0 : p->tll;
}

static uint64_t lba_status_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_lba_status_log *l = header;

	return l->lslplen < sizeof(*l) ? 0 : l->lslplen;
}

static uint64_t boot_partition_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_boot_partition *b = header;

	return sizeof(*b) + (b->bpinfo & 0x7fff) * BOOT_PARTITION_UNIT;
}

static uint64_t fdp_configs_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_fdp_config_log *f = header;

	return f->size < sizeof(*f) ? 0 : f->size;
}

static uint64_t ruh_usage_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_fdp_ruhu_log *r = header;

	return sizeof(*r) + r->nruh * sizeof(r->ruhus[0]);
}

static uint64_t fdp_events_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvme_fdp_events_log *e = header;

	return offsetof(struct nvme_fdp_events_log, events) + e->n * sizeof(e->events[0]);
}

static uint64_t discovery_length(const struct plx_nvme_ctrlr *c, const void *header)
{
	const struct nvmf_discovery_log *d = header;

	return d->numrec > UINT32_MAX ? 0
				      : sizeof(*d) + d->numrec * sizeof(struct nvmf_disc_log_entry);
}

#define GEN_AT(type, field) .gen = offsetof(type, field), .gen_len = sizeof(((type *)0)->field)
#define HEADER_MAX	    512u

static const struct log_kind kinds[256] = {
	[NVME_LOG_LID_SUPPORTED_LOG_PAGES] = { .fixed = sizeof(struct nvme_supported_log_pages) },
	[NVME_LOG_LID_ERROR] = { .length = error_length },
	[NVME_LOG_LID_SMART] = { .fixed = sizeof(struct nvme_smart_log) },
	[NVME_LOG_LID_FW_SLOT] = { .fixed = sizeof(struct nvme_firmware_slot) },
	[NVME_LOG_LID_CHANGED_NS] = { .fixed = sizeof(struct nvme_ns_list) },
	[NVME_LOG_LID_CMD_EFFECTS] = { .fixed = sizeof(struct nvme_cmd_effects_log) },
	[NVME_LOG_LID_DEVICE_SELF_TEST] = { .fixed = sizeof(struct nvme_self_test_log) },
	[NVME_LOG_LID_TELEMETRY_HOST] = { .header = sizeof(struct nvme_telemetry_log),
					  GEN_AT(struct nvme_telemetry_log, hostdgn),
					  .length = telemetry_length },
	[NVME_LOG_LID_TELEMETRY_CTRL] = { .header = sizeof(struct nvme_telemetry_log),
					  GEN_AT(struct nvme_telemetry_log, ctrldgn),
					  .length = telemetry_length },
	[NVME_LOG_LID_ENDURANCE_GROUP] = { .fixed = sizeof(struct nvme_endurance_group_log) },
	[NVME_LOG_LID_PREDICTABLE_LAT_NVMSET] = { .fixed = sizeof(
							  struct nvme_nvmset_predictable_lat_log) },
	[NVME_LOG_LID_PREDICTABLE_LAT_AGG] = { .header = 8, .length = aggregate_length },
	[NVME_LOG_LID_ANA] = { .header = sizeof(struct nvme_ana_log),
			       GEN_AT(struct nvme_ana_log, chgcnt),
			       .length = ana_length },
	[NVME_LOG_LID_PERSISTENT_EVENT] = { .header = sizeof(struct nvme_persistent_event_log),
					    .length = persistent_length },
	[NVME_LOG_LID_LBA_STATUS] = { .header = sizeof(struct nvme_lba_status_log),
				      GEN_AT(struct nvme_lba_status_log, lsgc),
				      .length = lba_status_length },
	[NVME_LOG_LID_ENDURANCE_GRP_EVT] = { .header = 8, .length = aggregate_length },
	[NVME_LOG_LID_FID_SUPPORTED_EFFECTS] = { .fixed = sizeof(
							 struct nvme_fid_supported_effects_log) },
	[NVME_LOG_LID_MI_CMD_SUPPORTED_EFFECTS] = { .fixed = sizeof(
							    struct
							    nvme_mi_cmd_supported_effects_log) },
	[0x14] = { .fixed = 512 },
	[NVME_LOG_LID_BOOT_PARTITION] = { .header = sizeof(struct nvme_boot_partition),
					  .length = boot_partition_length },
	[0x16] = { .fixed = 512 },
	[NVME_LOG_LID_FDP_CONFIGS] = { .header = sizeof(struct nvme_fdp_config_log),
				       .length = fdp_configs_length },
	[NVME_LOG_LID_FDP_RUH_USAGE] = { .header = sizeof(struct nvme_fdp_ruhu_log),
					 .length = ruh_usage_length },
	[NVME_LOG_LID_FDP_STATS] = { .fixed = sizeof(struct nvme_fdp_stats_log) },
	[NVME_LOG_LID_FDP_EVENTS] = { .header = offsetof(struct nvme_fdp_events_log, events),
				      .length = fdp_events_length },
	[NVME_LOG_LID_DISCOVER] = { .header = 16,
				    GEN_AT(struct nvmf_discovery_log, genctr),
				    .length = discovery_length },
	[NVME_LOG_LID_RESERVATION] = { .fixed = sizeof(struct nvme_resv_notification_log) },
	[NVME_LOG_LID_SANITIZE] = { .fixed = sizeof(struct nvme_sanitize_log_page) },
	[NVME_LOG_LID_ZNS_CHANGED_ZONES] = { .fixed = sizeof(struct nvme_zns_changed_zone_log) },
};

/* The header, with which all that is to follow begins. Return: as plx_nvme_log_read() */
static int read_header(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint8_t lsp,
		       bool retain, void *header)
{
	struct plx_nvme_log l = *log;

	l.lsp = lsp;
	l.retain = retain;
	return plx_nvme_log_read(c, &l, 0, header, kinds[log->lid].header);
}

/* Release Context, §5.16.1.14. Whether it succeeds changes nothing for the caller. */
static void persistent_release(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log)
{
	uint8_t header[HEADER_MAX];

	read_header(c, log, NVME_PEVENT_LOG_RELEASE_CTX, true, header);
}

/* Begin to read the page as a whole: the header, a snapshot where the page has such a thing. */
static int log_begin(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, void *header)
{
	int rc;

	switch (log->lid) {
	case NVME_LOG_LID_TELEMETRY_HOST:
		return read_header(c, log, TELEMETRY_LSP_CREATE, true, header);
	case NVME_LOG_LID_PERSISTENT_EVENT:
		rc = read_header(c, log, NVME_PEVENT_LOG_EST_CTX_AND_READ, true, header);
		if (rc <= 0 ||
		    PLX_NVME_ST_CODE(rc) != PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_CMD_SEQ_ERROR))
			return rc;
		/* a context that somebody left behind */
		persistent_release(c, log);
		return read_header(c, log, NVME_PEVENT_LOG_EST_CTX_AND_READ, true, header);
	default:
		return kinds[log->lid].header ? read_header(c, log, log->lsp, true, header) : 0;
	}
}

static void log_end(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log)
{
	if (log->lid == NVME_LOG_LID_PERSISTENT_EVENT)
		persistent_release(c, log);
}

static int length_of(const struct plx_nvme_ctrlr *c, uint8_t lid, const void *header,
		     uint64_t *size)
{
	const struct log_kind *k = &kinds[lid];

	*size = k->fixed ? k->fixed : k->length(c, header);
	return *size ? 0 : -EPROTO;
}

int plx_nvme_log_size(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint64_t *size)
{
	const struct log_kind *k = &kinds[log->lid];
	uint8_t header[HEADER_MAX] = { 0 };
	int rc = 0;

	if (!k->fixed && !k->length)
		return -ENOTSUP;
	if (log->lid == NVME_LOG_LID_PERSISTENT_EVENT) {
		rc = log_begin(c, log, header);
		if (!rc)
			log_end(c, log);
	} else if (k->header) {
		rc = read_header(c, log, log->lsp, true, header);
	}
	return rc ? rc : length_of(c, log->lid, header, size);
}

/* ---- whole pages ---- */

/* The page in @buf, and whether it has stayed the same meanwhile: 0; -EAGAIN */
static int read_whole(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log,
		      const uint8_t *header, char *buf, uint64_t size)
{
	const struct log_kind *k = &kinds[log->lid];
	struct plx_nvme_log l = *log;
	uint8_t again[HEADER_MAX];
	int rc;

	if (log->lid == NVME_LOG_LID_TELEMETRY_HOST || log->lid == NVME_LOG_LID_PERSISTENT_EVENT)
		l.lsp = 0;
	l.retain = log->retain || k->gen_len;
	rc = plx_nvme_log_read(c, &l, 0, buf, (uint32_t)size);
	if (rc || !k->gen_len)
		return rc;
	rc = read_header(c, log, l.lsp, log->retain, again);
	if (rc)
		return rc;
	return memcmp(header + k->gen, again + k->gen, k->gen_len) ||
			       memcmp(header + k->gen, buf + k->gen, k->gen_len)
		       ? -EAGAIN
		       : 0;
}

static int fetch_once(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint64_t max,
		      void **buf, size_t *len)
{
	uint8_t header[HEADER_MAX] = { 0 };
	void *page = NULL;
	uint64_t size;
	int rc;

	rc = log_begin(c, log, header);
	if (rc)
		return rc;
	rc = length_of(c, log->lid, header, &size);
	if (!rc && (size > max || size > UINT32_MAX - 3))
		rc = -EFBIG;
	if (rc)
		goto end;
	/* dwords are transferred */
	page = calloc(1, (size + 3) & ~3ull);
	rc = page ? read_whole(c, log, header, page, (size + 3) & ~3ull) : -ENOMEM;
end:
	log_end(c, log);
	if (rc) {
		free(page);
		return rc;
	}
	*buf = page;
	*len = size;
	return 0;
}

int plx_nvme_log_fetch(struct plx_nvme_ctrlr *c, const struct plx_nvme_log *log, uint64_t max,
		       void **buf, size_t *len)
{
	const struct log_kind *k = &kinds[log->lid];
	int rc = -ENOTSUP;

	for (unsigned i = 0; i < LOG_TRIES && (k->fixed || k->length); i++) {
		rc = fetch_once(c, log, max ? max : LOG_FETCH_MAX, buf, len);
		if (rc != -EAGAIN)
			break;
	}
	return rc;
}
