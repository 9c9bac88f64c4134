/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_cfg.c - PCI configuration space of the function
 *
 * An NVMe controller (class 010802h) as a PCI Express endpoint: BAR 0 registers and doorbells, BAR
 * 4
 * MSI-X table; power management, MSI-X and PCI Express capabilities.
 */
#include "targets/nvmf/nvmf_limits.h"
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#define DEVICE_ID 0x0001

#define CAP_PM	 0x40
#define CAP_MSIX 0x50
#define CAP_EXP	 0x60

struct field {
	uint16_t offset;
	uint8_t size;
	uint32_t value, writable;
};

/* What is not here is zero and read-only */
static const struct field fields[] = {
	{ PCI_VENDOR_ID, 2, NVMF_PCI_VENDOR, 0 },
	{ PCI_DEVICE_ID, 2, DEVICE_ID, 0 },
	{ PCI_COMMAND, 2, 0,
	  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
		  PCI_COMMAND_INTX_DISABLE },
	{ PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0 },
	{ PCI_CLASS_REVISION, 4, 0x01080200, 0 },
	{ PCI_CACHE_LINE_SIZE, 1, 0, 0xff },
	{ PCI_SUBSYSTEM_VENDOR_ID, 2, NVMF_PCI_VENDOR, 0 },
	{ PCI_SUBSYSTEM_ID, 2, DEVICE_ID, 0 },
	{ PCI_CAPABILITY_LIST, 1, CAP_PM, 0 },
	{ PCI_INTERRUPT_LINE, 1, 0, 0xff },
	{ PCI_INTERRUPT_PIN, 1, 1, 0 },

	{ CAP_PM + PCI_CAP_LIST_ID, 2, PCI_CAP_ID_PM | CAP_MSIX << 8, 0 },
	{ CAP_PM + PCI_PM_PMC, 2, 3, 0 },
	{ CAP_PM + PCI_PM_CTRL, 2, PCI_PM_CTRL_NO_SOFT_RESET, PCI_PM_CTRL_STATE_MASK },

	{ CAP_MSIX + PCI_CAP_LIST_ID, 2, PCI_CAP_ID_MSIX | CAP_EXP << 8, 0 },
	{ CAP_MSIX + PCI_MSIX_TABLE, 4, VU_MSIX_BAR, 0 },
	{ CAP_MSIX + PCI_MSIX_PBA, 4, VU_MSIX_PBA | VU_MSIX_BAR, 0 },

	{ CAP_EXP + PCI_CAP_LIST_ID, 2, PCI_CAP_ID_EXP, 0 },
	{ CAP_EXP + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_ENDPOINT << 4, 0 },
	{ CAP_EXP + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR, 0 },
	{ CAP_EXP + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_RELAX_EN | 2 << 12, 0x7fff },
	{ CAP_EXP + PCI_EXP_LNKCAP, 4, PCI_EXP_LNKCAP_SLS_8_0GB | 4 << 4, 0 },
	{ CAP_EXP + PCI_EXP_LNKCTL, 2, 0, PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_CCC },
	{ CAP_EXP + PCI_EXP_LNKSTA, 2, PCI_EXP_LNKSTA_CLS_8_0GB | 4 << 4, 0 },
	{ CAP_EXP + PCI_EXP_LNKCAP2, 4,
	  PCI_EXP_LNKCAP2_SLS_2_5GB | PCI_EXP_LNKCAP2_SLS_5_0GB | PCI_EXP_LNKCAP2_SLS_8_0GB, 0 },
	{ CAP_EXP + PCI_EXP_LNKCTL2, 2, 3, 0xf },
};

static void set(struct vu_conn *c, uint16_t offset, uint8_t size, uint32_t value, uint32_t writable)
{
	memcpy(c->cfg + offset, &value, size);
	memcpy(c->cfg_mask + offset, &writable, size);
}

void vu_cfg_reset(struct vu_conn *c)
{
	memset(c->cfg, 0, VU_CFG_SIZE);
	memset(c->cfg_mask, 0, VU_CFG_SIZE);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(fields); i++)
		set(c, fields[i].offset, fields[i].size, fields[i].value, fields[i].writable);
	/* sizes are powers of two, at most 32 bits: all bits of the upper half of BAR 0 can be
	 * written */
	set(c, PCI_BASE_ADDRESS_0, 4, PCI_BASE_ADDRESS_MEM_TYPE_64, ~(c->bar0_len - 1));
	set(c, PCI_BASE_ADDRESS_1, 4, 0, UINT32_MAX);
	set(c, PCI_BASE_ADDRESS_4, 4, 0, ~(VU_MSIX_LEN - 1));
	set(c, CAP_MSIX + PCI_MSIX_FLAGS, 2, c->nvec - 1,
	    PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
}

int vu_cfg_init(struct vu_conn *c)
{
	c->cfg = malloc(2 * VU_CFG_SIZE);
	if (!c->cfg)
		return -ENOMEM;
	c->cfg_mask = c->cfg + VU_CFG_SIZE;
	vu_cfg_reset(c);
	return 0;
}

void vu_cfg_read(struct vu_conn *c, uint32_t offset, uint8_t *buf, uint32_t len)
{
	c->cfg[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (vu_irq_intx_asserted(c))
		c->cfg[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	memcpy(buf, c->cfg + offset, len);
}

bool vu_cfg_write(struct vu_conn *c, uint32_t offset, const uint8_t *buf, uint32_t len)
{
	const uint32_t flr = CAP_EXP + PCI_EXP_DEVCTL + 1; /* the byte with bit 15 */

	for (uint32_t i = 0; i < len; i++) {
		uint8_t mask = c->cfg_mask[offset + i];

		c->cfg[offset + i] = (c->cfg[offset + i] & ~mask) | (buf[i] & mask);
	}
	return flr - offset < len && buf[flr - offset] & PCI_EXP_DEVCTL_BCR_FLR >> 8;
}

bool vu_cfg_intx_disabled(const struct vu_conn *c)
{
	return c->cfg[PCI_COMMAND + 1] & PCI_COMMAND_INTX_DISABLE >> 8;
}
