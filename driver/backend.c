/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/pcie_backend.h"
#include <linux/pci_regs.h>

static const struct plx_pcie_backend *backends[PLX_NVME_TR_MAX];

void plx_nvme_register_backend(const struct plx_pcie_backend *b)
{
	backends[b->trtype] = b;
}

const struct plx_pcie_backend *plx_nvme_find_backend(enum plx_nvme_trtype t)
{
	return (unsigned)t < PLX_NVME_TR_MAX ? backends[t] : NULL;
}

void pcie_stop_dma(struct plx_pcie_dev *dev)
{
	uint16_t command;

	if (!dev->ops->cfg_write || dev->ops->cfg_read(dev, PCI_COMMAND, &command, sizeof(command)))
		return;
	command &= (uint16_t)~PCI_COMMAND_MASTER;
	dev->ops->cfg_write(dev, PCI_COMMAND, &command, sizeof(command));
}
