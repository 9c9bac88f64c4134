/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the vfio-user front end: what the device says of itself, its regions, configuration
 * space
 */
#include "tests/unit/vfio_user_peer.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX

static struct peer_server s;
static struct peer p;

static void start_with(bool trap)
{
	struct peer_server_opts o = { .trap_doorbells = trap };

	cr_assert_eq(peer_server_init(&s, &o), 0);
	cr_assert_eq(peer_start(&p, &s), 0);
}

static void start(void)
{
	start_with(false);
}

static void start_trapped(void)
{
	start_with(true);
}

static void stop(void)
{
	peer_close(&p);
	peer_server_fini(&s);
}

TestSuite(vfio_user_dev, .init = start, .fini = stop);
TestSuite(vfio_user_trap, .init = start_trapped, .fini = stop);

/* ---- info ---- */

Test(vfio_user_dev, device_info)
{
	struct vfio_user_device_info in = { .argsz = sizeof in }, *out = (void *)p.data;

	cr_assert_eq(peer_call(&p, VFIO_USER_DEVICE_GET_INFO, &in, sizeof in, NULL, 0), 0);
	cr_assert_eq(p.len, sizeof *out);
	cr_expect_eq(out->argsz, sizeof *out);
	cr_expect_eq(out->flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	cr_expect_eq(out->num_regions, VFIO_PCI_NUM_REGIONS);
	cr_expect_eq(out->num_irqs, VFIO_PCI_NUM_IRQS);
	in.argsz = 1000;
	cr_assert_eq(peer_call(&p, VFIO_USER_DEVICE_GET_INFO, &in, sizeof in, NULL, 0), 0);
	cr_expect_eq(p.len, sizeof *out);
	in.argsz = 12;
	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_GET_INFO, &in, sizeof in, NULL, 0), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_GET_INFO, &in, 8, NULL, 0), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_GET_INFO, NULL, 0, NULL, 0), -EINVAL);
}

static int region_info(uint32_t index, uint32_t argsz)
{
	struct vfio_region_info in = { .argsz = argsz, .index = index };

	return peer_call(&p, VFIO_USER_DEVICE_GET_REGION_INFO, &in, sizeof in, NULL, 0);
}

Test(vfio_user_dev, registers_region_offers_its_doorbells_for_mapping)
{
	struct vfio_region_info *out = (void *)p.data;
	struct vfio_region_info_cap_sparse_mmap *cap = (void *)(p.data + sizeof *out);
	struct stat st;

	cr_assert_eq(region_info(BAR0, sizeof *out), 0);
	cr_expect_eq(p.len, sizeof *out);
	cr_expect_eq(out->argsz, 64);
	cr_expect_eq(out->cap_offset, 32, "QEMU refuses capabilities without a place");
	cr_assert_eq(region_info(BAR0, 64), 0);
	cr_assert_eq(p.len, 64);
	cr_expect_eq(out->flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
					 VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS);
	cr_expect_eq(out->size, 0x2000);
	cr_assert_eq(out->cap_offset, 32);
	cr_expect_eq(cap->header.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	cr_expect_eq(cap->header.version, 1);
	cr_expect_eq(cap->nr_areas, 1);
	cr_expect_eq(cap->areas[0].offset, 0x1000);
	cr_expect_eq(cap->areas[0].size, 0x1000);
	cr_assert_eq(p.nfds, 1);
	cr_assert_eq(fstat(p.fds[0], &st), 0);
	cr_expect_geq((uint64_t)st.st_size, out->offset + 0x2000);
	cr_expect_neq(ftruncate(p.fds[0], 0), 0, "the client can take the doorbells away");
}

Test(vfio_user_trap, trapped_doorbells_are_not_offered)
{
	struct vfio_region_info *out = (void *)p.data;

	cr_assert_eq(region_info(BAR0, 64), 0);
	cr_expect_eq(p.len, sizeof *out);
	cr_expect_eq(out->flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	cr_expect_eq(p.nfds, 0);
}

Test(vfio_user_dev, other_regions)
{
	struct vfio_region_info *out = (void *)p.data;
	struct vfio_user_region_io_fds in = { .argsz = sizeof in };
	struct vfio_user_region_io_fds *fds = (void *)p.data;

	for (uint32_t i = 1; i < VFIO_PCI_NUM_REGIONS; i++) {
		uint64_t size = i == CONFIG ? 4096 : i == 4 ? 0x2000 : 0;

		cr_assert_eq(region_info(i, 64), 0);
		cr_expect_eq(out->index, i);
		cr_expect_eq(out->size, size, "region %u", i);
		cr_expect_eq(out->flags & VFIO_REGION_INFO_FLAG_MMAP, 0);
		if (!size)
			cr_expect_eq(peer_read(&p, i, 0, &in, 4), -EINVAL);
	}
	cr_expect_eq(region_info(VFIO_PCI_NUM_REGIONS, 64), -EINVAL);
	cr_expect_eq(region_info(0, 31), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &in, sizeof in, NULL, 0), 0);
	cr_expect_eq(fds->argsz, sizeof *fds);
	cr_expect_eq(fds->count, 0);
}

Test(vfio_user_dev, irq_info)
{
	static const uint32_t counts[VFIO_PCI_NUM_IRQS] = { 1, 0, 9, 0, 0 };
	struct vfio_irq_info in = { .argsz = sizeof in }, *out = (void *)p.data;

	for (in.index = 0; in.index < VFIO_PCI_NUM_IRQS; in.index++) {
		cr_assert_eq(peer_call(&p, VFIO_USER_DEVICE_GET_IRQ_INFO, &in, sizeof in, NULL, 0),
			     0);
		cr_expect_eq(out->argsz, sizeof *out);
		cr_expect_eq(out->index, in.index);
		cr_expect_eq(out->count, counts[in.index]);
		cr_expect_eq(!!(out->flags & VFIO_IRQ_INFO_EVENTFD), counts[in.index] > 0);
		cr_expect_eq(!!(out->flags & VFIO_IRQ_INFO_AUTOMASKED), in.index == 0);
	}
	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_GET_IRQ_INFO, &in, sizeof in, NULL, 0),
		     -EINVAL);
}

Test(vfio_user_dev, what_is_not_served_is_refused)
{
	uint32_t feature[2] = { 8, 1 << 16 | 1 };

	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_FEATURE, feature, sizeof feature, NULL, 0),
		     -ENOTTY);
	cr_expect_eq(peer_call(&p, VFIO_USER_MIG_DATA_READ, feature, sizeof feature, NULL, 0),
		     -ENOTSUP);
	cr_expect_eq(peer_call(&p, 14, NULL, 0, NULL, 0), -ENOTSUP);
	cr_expect_eq(peer_call(&p, 999, NULL, 0, NULL, 0), -ENOTSUP);
}

/* ---- registers ---- */

Test(vfio_user_dev, registers_of_all_sizes)
{
	uint64_t cap = peer_read_reg(&p, BAR0, NVME_REG_CAP, 8), whole[4];

	cr_expect_eq(cap & 0xffff, 1023);
	cr_expect_eq(peer_read_reg(&p, BAR0, 4, 4), cap >> 32);
	cr_expect_eq(peer_read_reg(&p, BAR0, 1, 1), cap >> 8 & 0xff);
	cr_expect_eq(peer_read_reg(&p, BAR0, 2, 2), cap >> 16 & 0xffff);
	cr_assert_eq(peer_read(&p, BAR0, 0, whole, sizeof whole), 0);
	cr_expect_eq(whole[0], cap);
	cr_expect_eq(whole[1] & UINT32_MAX, 0x20000);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_ASQ, 0x1234567890000, 8), 0);
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_ASQ, 8), 0x1234567890000);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_ASQ + 4, 0x77, 4), 0);
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_ASQ, 8), 0x7767890000);
	cr_assert_eq(peer_write_reg(&p, BAR0, 0x20, 0x00ff00ffull << 32, 8), 0);
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_AQA, 4), 0x00ff00ff);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_AQA, 0x1f, 1), 0);
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_AQA, 4), 0x00ff001f);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_INTMS, 0x0101, 4), 0);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_INTMC, 0x01, 1), 0);
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_INTMS, 4), 0x0100);
}

Test(vfio_user_dev, accesses_out_of_bounds_are_refused)
{
	struct vfio_user_region_rw a = { .region = BAR0, .count = 8 };
	uint8_t buf[64] = { 0 };

	cr_expect_eq(peer_read(&p, BAR0, 0x1ffc, buf, 8), -EINVAL);
	cr_expect_eq(peer_read(&p, BAR0, UINT64_MAX - 3, buf, 8), -EINVAL);
	cr_expect_eq(peer_read(&p, BAR0, 0, buf, 0), -EINVAL);
	cr_expect_eq(peer_read(&p, BAR0, 0, buf, UINT32_MAX), -EINVAL);
	cr_expect_eq(peer_read(&p, 9, 0, buf, 4), -EINVAL);
	cr_expect_eq(peer_read(&p, UINT32_MAX, 0, buf, 4), -EINVAL);
	cr_expect_eq(peer_write(&p, CONFIG, 4094, buf, 4), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_REGION_WRITE, &a, sizeof a, NULL, 0), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_REGION_READ, &a, 12, NULL, 0), -EINVAL);
}

Test(vfio_user_dev, doorbells_by_message_are_those_of_the_mapping)
{
	volatile uint32_t *db;

	cr_assert_eq(region_info(BAR0, 64), 0);
	db = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.fds[0], 0x1000);
	cr_assert_neq((void *)db, MAP_FAILED);
	cr_assert_eq(peer_write_reg(&p, BAR0, 0x1000 + 3 * 128, 7, 4), 0);
	cr_expect_eq(db[3 * 32], 7);
	db[4 * 32] = 9;
	cr_expect_eq(peer_read_reg(&p, BAR0, 0x1000 + 4 * 128, 4), 9);
	cr_assert_eq(peer_write_reg(&p, BAR0, 0x1000 + 3 * 128 + 4, 8, 4), 0);
	cr_expect_eq(db[3 * 32 + 1], 0, "between doorbells there is nothing");
}

Test(vfio_user_dev, several_writes_in_one_message)
{
	struct {
		uint64_t count;
		struct vfio_user_write_one w[3];
	} m = { .count = 3,
		.w = { { NVME_REG_AQA, BAR0, 4, { 0x1f, 0, 0x1f, 0 } },
		       { NVME_REG_ASQ, BAR0, 8, { 0, 0x10 } },
		       { 5000, CONFIG, 4, { 0 } } } };

	cr_assert_eq(peer_call(&p, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof m, NULL, 0), 0);
	cr_expect_eq(*(uint64_t *)p.data, 2, "the third is out of bounds");
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_AQA, 4), 0x1f001f);
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_ASQ, 8), 0x1000);
	m.count = 4;
	cr_expect_eq(peer_call(&p, VFIO_USER_REGION_WRITE_MULTI, &m, sizeof m, NULL, 0), -EINVAL);
	m.count = UINT64_MAX / 24 + 1;
	cr_expect_eq(peer_call(&p, VFIO_USER_REGION_WRITE_MULTI, &m, 8, NULL, 0), -EINVAL);
	m.w[0].count = 9;
	m.count = 1;
	cr_expect_eq(peer_call(&p, VFIO_USER_REGION_WRITE_MULTI, &m, 32, NULL, 0), -EINVAL);
}

/* ---- configuration space ---- */

static uint32_t find_cap(uint8_t id)
{
	uint32_t at = (uint32_t)peer_read_reg(&p, CONFIG, PCI_CAPABILITY_LIST, 1);

	for (int n = 0; at && n < 16; n++) {
		if (peer_read_reg(&p, CONFIG, at, 1) == id)
			return at;
		at = (uint32_t)peer_read_reg(&p, CONFIG, at + 1, 1);
	}
	return 0;
}

Test(vfio_user_dev, config_space_is_that_of_an_nvme_controller)
{
	uint32_t at;

	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_CLASS_REVISION, 4) >> 8, 0x010802);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_VENDOR_ID, 2), 0x504c);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_INTERRUPT_PIN, 1), 1);
	cr_expect(peer_read_reg(&p, CONFIG, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	cr_expect(find_cap(PCI_CAP_ID_PM));
	at = find_cap(PCI_CAP_ID_EXP);
	cr_assert(at);
	cr_expect(peer_read_reg(&p, CONFIG, at + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR);
	at = find_cap(PCI_CAP_ID_MSIX);
	cr_assert(at);
	cr_expect_eq(peer_read_reg(&p, CONFIG, at + PCI_MSIX_FLAGS, 2), 8);
	cr_expect_eq(peer_read_reg(&p, CONFIG, at + PCI_MSIX_TABLE, 4), 4);
	cr_expect_eq(peer_read_reg(&p, CONFIG, at + PCI_MSIX_PBA, 4), 0x1004);
	cr_expect_eq(peer_read_reg(&p, CONFIG, 0x100, 4), 0, "no extended capabilities");
}

Test(vfio_user_dev, config_writes_honour_masks_and_size_bars)
{
	uint8_t ones[256], before[256], after[256];

	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_BASE_ADDRESS_0, UINT64_MAX, 8), 0);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_BASE_ADDRESS_0, 8), 0xffffffffffffe004);
	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_BASE_ADDRESS_0, 0x1fe0001230, 8), 0);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_BASE_ADDRESS_0, 8), 0x1fe0000004);
	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_BASE_ADDRESS_4, UINT32_MAX, 4), 0);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_BASE_ADDRESS_4, 4), 0xffffe000);
	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_COMMAND, 0xffff, 2), 0);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_COMMAND, 2), 0x0546);
	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_COMMAND + 1, 0, 1), 0);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_COMMAND, 2), 0x0146 & 0xff);
	cr_assert_eq(peer_read(&p, CONFIG, 0x100, before, sizeof before), 0);
	memset(ones, 0xff, sizeof ones);
	cr_assert_eq(peer_write(&p, CONFIG, 0x100, ones, sizeof ones), 0);
	cr_assert_eq(peer_read(&p, CONFIG, 0x100, after, sizeof after), 0);
	cr_expect_eq(memcmp(before, after, sizeof after), 0);
	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_VENDOR_ID, 0x8086, 2), 0);
	cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_VENDOR_ID, 2), 0x504c);
}

Test(vfio_user_dev, both_resets_bring_registers_and_config_back)
{
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_AQA, 0x1f001f, 4), 0);
		cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_INTMS, 1, 4), 0);
		/* no queues there: fatal */
		cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_CC, 0x460001, 4), 0);
		cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_CSTS, 4), 2);
		cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_COMMAND, 6, 2), 0);
		if (i)
			cr_assert_eq(peer_call(&p, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0), 0);
		else
			cr_assert_eq(peer_write_reg(&p, CONFIG,
						    find_cap(PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL,
						    PCI_EXP_DEVCTL_BCR_FLR, 2),
				     0);
		cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_CSTS, 4), 0);
		cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_CC, 4), 0);
		cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_AQA, 4), 0);
		cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_INTMS, 4), 0);
		cr_expect_eq(peer_read_reg(&p, CONFIG, PCI_COMMAND, 2), 0);
	}
}

Test(vfio_user_dev, msix_table_can_be_read_and_written)
{
	uint32_t entry[4] = { 0xfee00000, 0, 0x4021, 0 }, back[4];

	cr_expect_eq(peer_read_reg(&p, 4, 12, 4), 1, "masked");
	cr_assert_eq(peer_write(&p, 4, 16, entry, sizeof entry), 0);
	cr_assert_eq(peer_read(&p, 4, 16, back, sizeof back), 0);
	cr_expect_eq(memcmp(entry, back, sizeof back), 0);
	cr_assert_eq(peer_write_reg(&p, 4, 9 * 16, UINT64_MAX, 8), 0);
	cr_expect_eq(peer_read_reg(&p, 4, 9 * 16, 8), 0, "behind the last vector");
	cr_expect_eq(peer_read_reg(&p, 4, 0x1000, 8), 0);
}
