/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/reader.h - one controller being read: shared by read.c and read_io.c
 */
#ifndef IDENTIFY_READER_H
#define IDENTIFY_READER_H

#include "identify/identify.h"

#define ID_NO_SUCH (PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD) | PLX_NVME_DNR)

/* Lives for one id_read(); with what the controller says of the log pages and features it has, if
 * it does */
struct reader {
	struct plx_nvme_ctrlr *c;
	const struct id_wanted *w;
	struct id_dump *dump;
	bool tells_logs, tells_features;
	struct nvme_supported_log_pages logs;
	struct nvme_fid_supported_effects_log features;
	struct nvme_id_endurance_group_list groups;
	struct nvme_id_nvmset_list sets;
	struct plx_nvme_qpair *qp; /* for I/O commands, made for the first of them */
	uint8_t ignored[ID_FEATURE_DATA];
};

/** id_learn_scopes - which endurance groups and NVM sets there are. Return: 0;
 *  -errno */
int id_learn_scopes(struct reader *r);
/** id_next - the next identifier above @id of what is wanted; 0 at the end */
uint32_t id_next(const struct reader *r, enum id_scope scope, uint32_t id);

/** Pages that are read by I/O commands, into item->data. Return: 0; an NVMe status; -errno */
int id_read_zones(struct reader *r, struct id_item *item);
int id_read_fdp_status(struct reader *r, struct id_item *item);
int id_read_reservations(struct reader *r, struct id_item *item);

#endif
