/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The logic of the PCIe transport: which addresses it chooses, which events it takes.
 */
#include "driver/hotplug.h"
#include "driver/transport/pcie_iova.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pollux/env.h>
#include <string.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct pcie_iovas t;

static void allow(const struct pcie_span *spans, uint32_t n)
{
	pcie_iovas_init(&t);
	cr_assert_eq(pcie_iovas_allow(&t, spans, n), 0);
}

static void taken(uint64_t va, uint64_t iova, uint64_t len)
{
	cr_assert_eq(plx_ranges_reserve(&t.table), 0);
	plx_ranges_insert(&t.table, &(struct plx_range){ .base = va, .len = len, .iova = iova });
}

Test(pcie_iovas, a_wide_iommu_takes_virtual_addresses)
{
	allow((struct pcie_span[]){ { 0, 0xfedfffff }, { 0xfef00000, (1ull << 48) - 1 } }, 2);
	cr_assert(t.identity);
	cr_assert_not(pcie_iovas_allowed(&t, 0xfede0000, 0x100000), "into the hole");
	pcie_iovas_fini(&t);
	allow((struct pcie_span[]){ { 0, (1ull << 39) - 1 } }, 1);
	cr_assert_not(t.identity);
	pcie_iovas_fini(&t);
}

Test(pcie_iovas, the_lowest_place_that_suits_the_page_size)
{
	uint64_t va = 0x7f1234567000, large = 0x7f1234600000 + 0x1000;

	allow((struct pcie_span[]){ { 0, 0xfedfffff } }, 1);
	cr_assert_eq(pcie_iovas_pick(&t, va, 4096), 0x100000);
	cr_assert_eq(pcie_iovas_pick(&t, large, 4 * MIB) % (2 * MIB), 0x1000);
	cr_assert_eq(pcie_iovas_pick(&t, 0x7f0000000000, 1 * GIB), 1 * GIB);
	pcie_iovas_fini(&t);
}

Test(pcie_iovas, what_is_taken_and_holes_are_left_out)
{
	allow((struct pcie_span[]){ { 0, 0x2fffff }, { 0x800000, 0x9fffff } }, 2);
	taken(0x10000000, 0x100000, 0x1000);
	taken(0x20000000, 0x102000, 0x1000);
	cr_assert_eq(pcie_iovas_pick(&t, 0x30000000, 0x1000), 0x101000);
	cr_assert_eq(pcie_iovas_pick(&t, 0x30000000, 0x2000), 0x103000);
	cr_assert_eq(pcie_iovas_pick(&t, 0x30000000, 2 * MIB), 0x800000);
	taken(0x30000000, 0x800000, 2 * MIB);
	cr_assert_eq(pcie_iovas_pick(&t, 0x40000000, 2 * MIB), PLX_IOVA_BAD);
	cr_assert_eq(pcie_iovas_pick(&t, 0x40000000, UINT64_MAX & ~4095ull), PLX_IOVA_BAD);
	pcie_iovas_fini(&t);
}

Test(pcie_iovas, look_ups_end_where_addresses_jump)
{
	size_t len = 0x3000;

	allow((struct pcie_span[]){ { 0, 0xffffffff } }, 1);
	taken(0x10000000, 0x100000, 0x1000);
	taken(0x10001000, 0x101000, 0x1000);
	taken(0x10002000, 0x200000, 0x1000);
	cr_assert_eq(t.look.look(&t.look, (void *)0x10000800, &len), 0x100800);
	cr_assert_eq(len, 0x1800);
	len = 1;
	cr_assert_eq(t.look.look(&t.look, (void *)0x10003000, &len), PLX_IOVA_BAD);
	cr_assert_eq(len, 0);
	pcie_iovas_forget(&t,
			  &(struct plx_mem_region){ .addr = (void *)0x10000000, .len = 0x2000 });
	cr_assert_eq(t.look.look(&t.look, (void *)0x10000800, NULL), PLX_IOVA_BAD);
	cr_assert_eq(t.look.look(&t.look, (void *)0x10002000, NULL), 0x200000);
	pcie_iovas_fini(&t);
}

Test(pcie_iovas, memory_without_hugepages_has_no_physical_address)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct plx_mem_region r = { .addr = page, .len = sizeof(page), .fd = -1 };

	pcie_iovas_init(&t);
	cr_assert_eq(pcie_iovas_physical(&t, "0000:04:00.0", &r), -EINVAL);
	cr_assert_eq(t.table.count, 0);
	pcie_iovas_fini(&t);
}

#define EVENT(action, subsystem, class)                                                            \
	action "@/devices/pci0000:00/0000:04:00.0\0ACTION=" action                                 \
	       "\0DEVPATH=/devices/pci0000:00/0000:04:00.0\0SUBSYSTEM=" subsystem                  \
	       "\0DRIVER=vfio-pci\0PCI_CLASS=" class "\0PCI_SLOT_NAME=0000:04:00.0\0SEQNUM=1"

static bool parse(const char *msg, size_t len, struct plx_nvme_hotplug_event *ev)
{
	return hotplug_parse(msg, len, ev);
}

Test(hotplug, events_of_nvme_functions_are_taken)
{
	static const char add[] = EVENT("add", "pci", "10802"),
			  bind[] = EVENT("bind", "pci", "10802"),
			  remove[] = EVENT("remove", "pci", "10802");
	struct plx_nvme_hotplug_event ev;

	cr_assert(parse(add, sizeof(add), &ev));
	cr_assert_eq(ev.kind, PLX_NVME_HOTPLUG_ADDED);
	cr_assert_str_eq(ev.traddr, "0000:04:00.0");
	cr_assert(parse(bind, sizeof(bind), &ev));
	cr_assert_eq(ev.kind, PLX_NVME_HOTPLUG_BOUND);
	cr_assert_str_eq(ev.driver, "vfio-pci");
	cr_assert(parse(remove, sizeof(remove), &ev));
	cr_assert_eq(ev.kind, PLX_NVME_HOTPLUG_REMOVED);
}

Test(hotplug, others_and_broken_ones_are_not)
{
	static const char nic[] = EVENT("add", "pci", "20000"),
			  block[] = EVENT("add", "block", "10802"),
			  change[] = EVENT("change", "pci", "10802"),
			  good[] = EVENT("add", "pci", "10802");
	struct plx_nvme_hotplug_event ev;

	cr_assert_not(parse(nic, sizeof(nic), &ev));
	cr_assert_not(parse(block, sizeof(block), &ev));
	cr_assert_not(parse(change, sizeof(change), &ev));
	for (size_t n = 0; n < sizeof(good) - 20; n++)
		parse(good, n, &ev);
	cr_assert_not(parse(good, 40, &ev), "cut off before it says what it is");
}
