/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/placement.c - dataplacement=: streams, and flexible data placement (FDP)
 *
 * fio asks for the placement identifiers before the jobs run, twice: for their number, then for as
 * many as it has made room for. Each write then carries a directive, which fio has chosen.
 */
#include "fio_plugin/fio_plugin.h"

#ifdef PLX_FIO_PLACEMENT
#include <dataplacement.h>
#include <endian.h>
#include <errno.h>
#include <pollux/nvme_admin.h>

int placement_check(const struct thread_data *td, const struct fio_file *f,
		    struct plx_nvme_ctrlr *c, const struct plx_nvme_ns *ns)
{
	struct nvme_id_directives d;
	uint8_t streams = 1u << PLX_NVME_DTYPE_STREAMS;

	switch (td->o.dp_type) {
	case FIO_DP_FDP:
		if (plx_nvme_fdp_supported(c))
			return 0;
		engine_error(td,
			     "dataplacement=fdp: '%s' has no flexible data placement: leave it out",
			     f->file_name);
		return -1;
	case FIO_DP_STREAMS:
		if (!plx_nvme_directive_identify(c, plx_nvme_ns_id(ns), &d) &&
		    d.supported[0] & d.enabled[0] & streams)
			return 0;
		engine_error(td,
			     "dataplacement=streams: '%s' has no streams, or they are not enabled: "
			     "leave it out",
			     f->file_name);
		return -1;
	default:
		return 0;
	}
}

static int status(const struct zone_path *p, struct nvme_fdp_ruh_status *buf, uint32_t len)
{
	struct path_command c;
	int rc;

	do {
		c = (struct path_command){ 0 };
		rc = path_command_wait(p, &c,
				       plx_nvme_fdp_status(p->ns, p->qp, buf, len,
							   path_command_done, &c));
	} while (rc == -EAGAIN);
	return rc;
}

int placement_fetch(struct thread_data *td, struct fio_file *f, struct fio_ruhs_info *ruhs)
{
	uint32_t room = ruhs->nr_ruhs;
	size_t len =
		sizeof(struct nvme_fdp_ruh_status) + room * sizeof(struct nvme_fdp_ruh_status_desc);
	struct nvme_fdp_ruh_status *buf = plx_dma_zalloc(len, 0, PLX_NUMA_ANY);
	struct zone_path p;
	int rc = buf ? zone_path_open(td, f, &p) : -ENOMEM;

	if (!rc) {
		rc = status(&p, buf, (uint32_t)len);
		zone_path_close(td, &p);
	}
	if (!rc) {
		uint32_t n = le16toh(buf->nruhsd);

		ruhs->nr_ruhs = room && room < n ? room : n;
		for (uint32_t i = 0; i < ruhs->nr_ruhs && room; i++)
			ruhs->plis[i] = le16toh(buf->ruhss[i].pid);
	}
	plx_dma_free(buf);
	if (rc)
		errno = -rc;
	return rc;
}
#endif
