/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/pcie_backend.h"

static const struct plx_pcie_backend *backends[PLX_NVME_TR_MAX];

void plx_nvme_register_backend(const struct plx_pcie_backend *b)
{
	backends[b->trtype] = b;
}

const struct plx_pcie_backend *plx_nvme_find_backend(enum plx_nvme_trtype t)
{
	return (unsigned)t < PLX_NVME_TR_MAX ? backends[t] : NULL;
}
