/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/quirks.c - devices that need to be treated in another way than the specification says
 *
 * Only those whose reason is known, by PCI vendor and device; the values are those that the Linux
 * driver has for the same devices.
 */
#include "driver/ctrlr_internal.h"
#include <string.h>

static const struct {
	uint16_t vendor, device;
	uint32_t quirks;
	const char *what;
} table[] = {
	/* CSTS.RDY read too soon after CC.EN was cleared hangs them, or is wrong */
	{ 0x1c58, 0x0003, NVME_QUIRK_DELAY_READY, "HGST Ultrastar SN100" },
	{ 0x1c58, 0x0023, NVME_QUIRK_DELAY_READY, "WDC Ultrastar SN200" },
	{ 0x1c5f, 0x0540, NVME_QUIRK_DELAY_READY, "Memblaze PBlaze4" },
	{ 0x144d, 0xa821, NVME_QUIRK_DELAY_READY, "Samsung PM1725" },
	{ 0x144d, 0xa822, NVME_QUIRK_DELAY_READY, "Samsung PM1725a" },
	/* made of two halves: I/O across a stripe is slow, whose size is in a vendor specific byte
	 * of Identify Controller, before there was NOIOB */
	{ 0x8086, 0x0953, NVME_QUIRK_STRIPE, "Intel P3500, P3600, P3700" },
	{ 0x8086, 0x0a53, NVME_QUIRK_STRIPE, "Intel P3520" },
	{ 0x8086, 0x0a54, NVME_QUIRK_STRIPE, "Intel P4500, P4600" },
	{ 0x8086, 0x0a55, NVME_QUIRK_STRIPE, "Dell Express Flash P4600" },
	/* said to be of 1.1, without the lists of namespaces of that version; later ones have
	 * them */
	{ 0x8086, 0x5845, NVME_QUIRK_OLD_CNS, "QEMU, before it had a vendor of its own" },
};

uint32_t quirks_of(uint16_t vendor, uint16_t device, const char **what)
{
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(table); i++) {
		if (table[i].vendor == vendor && table[i].device == device) {
			*what = table[i].what;
			return table[i].quirks;
		}
	}
	return 0;
}

void quirks_find(struct plx_nvme_ctrlr *c)
{
	uint16_t id[2];
	const char *what;

	if (!c->dev->ops->cfg_read || c->dev->ops->cfg_read(c->dev, 0, id, sizeof(id)))
		return;
	c->quirks = quirks_of(id[0], id[1], &what);
	if (c->quirks)
		nvme_log(INFO, "controller '%s': treated as %s (%04x:%04x)", c->name, what, id[0],
			 id[1]);
}
