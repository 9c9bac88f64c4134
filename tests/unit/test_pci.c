/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_pci.c - PCI functions, their drivers, and what uses them, in a tree of the test's
 * own */
#include "core/pci.h"
#include "core/text.h"
#include "fake_pci.h"
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES "/sys/bus/pci/devices"
#define SOON	(10 * PLX_NS_PER_S)

TestSuite(pci, .init = fake_pci_start, .fini = fake_pci_stop);

static struct plx_pci_addr at(const char *text)
{
	struct plx_pci_addr a;

	cr_assert(eq(int, plx_pci_addr_parse(text, &a, NULL, 0), 0), "%s", text);
	return a;
}

Test(pci, addresses_are_read_in_all_their_forms)
{
	static const struct {
		const char *text, *full;
	} good[] = {
		{ "0000:04:00.0", "0000:04:00.0" },	    { "04:00.0", "0000:04:00.0" },
		{ "0000.04.00.0", "0000:04:00.0" },	    { "04.00.0", "0000:04:00.0" },
		{ "10000:e1:1F.7", "10000:e1:1f.7" },	    { "0:1:2.3", "0000:01:02.3" },
		{ "ffffffff:ff:1f.7", "ffffffff:ff:1f.7" },
	};
	static const char *const bad[] = {
		"",	    "04",	"04:00",	   "04:00.8",	"0:04:20.0",
		"100:00.0", "04:00.0 ", "04:00.0.",	   "0:0:0:0.0", "100000000:0:0.0",
		":04:00.0", "x4:00.0",	"0000:04:00.0/..", "-4:00.0",	"04::00.0"
	};
	struct plx_pci_addr a = { 7, 7, 7, 7 };
	char text[PLX_PCI_ADDR_TEXT], err[200];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		a = at(good[i].text);
		cr_expect(eq(str, plx_pci_addr_format(&a, text), (char *)good[i].full));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_expect(eq(int, plx_pci_addr_parse(bad[i], &a, err, sizeof(err)), -EINVAL), "%s",
			  bad[i]);
		cr_expect(ne(ptr, strstr(err, "0000:04:00.0"), NULL));
	}
	cr_expect(eq(int, a.fn, 7));
}

Test(pci, a_function_is_read)
{
	struct plx_pci_addr a = at("01:00.0"), pf = at("02:00.0");
	struct plx_pci_func f;

	fake_pci_nvme("0000:01:00.0", "nvme", 12);
	fake_pci_put(DEVICES "/0000:01:00.0/sriov_totalvfs", "8\n");
	fake_pci_put(DEVICES "/0000:01:00.0/sriov_numvfs", "2\n");
	fake_pci_put(DEVICES "/0000:01:00.0/driver_override", "vfio-pci\n");
	fake_pci_link(DEVICES "/0000:01:00.0/physfn", "../0000:02:00.0");
	cr_assert(eq(int, plx_pci_read(&a, &f), 0));
	cr_expect(eq(str, f.name, "0000:01:00.0"));
	cr_expect(all(eq(int, f.vendor, 0x1b36), eq(int, f.device, 0x10)));
	cr_expect(all(eq(int, f.sub_vendor, 0x1af4), eq(int, f.sub_device, 0x1100)));
	cr_expect(all(eq(u32, f.class, PLX_PCI_CLASS_NVME), eq(int, f.revision, 2)));
	cr_expect(eq(str, f.driver, "nvme"));
	cr_expect(eq(str, f.driver_override, "vfio-pci"));
	cr_expect(all(eq(int, f.numa_node, 1), eq(int, f.iommu_group, 12)));
	cr_expect(eq(int, f.enabled && !f.noiommu, 1));
	cr_expect(all(eq(int, f.numvfs, 2), eq(int, f.totalvfs, 8)));
	cr_expect(eq(int, f.is_vf &&plx_pci_addr_equal(&f.physfn, &pf), 1));
	cr_expect(all(eq(u64, f.bars[0].addr, 0xfe000000), eq(u64, f.bars[0].size, 0x4000)));
	cr_expect(all(eq(u64, f.bars[0].flags, 0x140204), eq(u64, f.bars[1].size, 0)));
}

Test(pci, what_is_missing_or_makes_no_sense_is_told_apart)
{
	struct plx_pci_addr a = at("01:00.0");
	struct plx_pci_func f;

	cr_expect(eq(int, plx_pci_read(&a, &f), -ENODEV));
	fake_pci_nvme("0000:01:00.0", NULL, -1);
	fake_pci_put(DEVICES "/0000:01:00.0/numa_node", "-1\n");
	cr_assert(eq(int, plx_pci_read(&a, &f), 0));
	cr_expect(all(eq(str, f.driver, ""), eq(str, f.driver_override, "")));
	cr_expect(all(eq(int, f.numa_node, -1), eq(int, f.iommu_group, -1)));
	fake_pci_put(DEVICES "/0000:01:00.0/vendor", "0x1b36f\n");
	cr_expect(eq(int, plx_pci_read(&a, &f), -EPROTO));
}

Test(pci, functions_are_listed_by_class_and_group)
{
	struct plx_pci_func *f;
	size_t n;

	cr_assert(eq(int, plx_pci_list(PLX_PCI_CLASS_NVME, 0xffffff, &f, &n), 0));
	cr_expect(all(eq(ptr, f, NULL), eq(sz, n, 0)));
	fake_pci_nvme("0000:02:00.0", "nvme", 3);
	fake_pci_nvme("0000:01:00.1", NULL, 4);
	fake_pci_nvme("0000:01:00.0", "vfio-pci", 3);
	fake_pci_put(DEVICES "/0000:01:00.1/class", "0x020000\n");
	cr_assert(eq(int, plx_pci_list(PLX_PCI_CLASS_NVME, 0xffffff, &f, &n), 0));
	cr_assert(eq(sz, n, 2));
	cr_expect(all(eq(str, f[0].name, "0000:01:00.0"), eq(str, f[1].name, "0000:02:00.0")));
	free(f);
	cr_assert(eq(int, plx_pci_group(3, &f, &n), 0));
	cr_assert(eq(sz, n, 2));
	cr_expect(eq(int, plx_pci_group_tolerates(&f[0]) && !plx_pci_group_tolerates(&f[1]), 1));
	free(f);
	cr_assert(eq(int, plx_pci_group(5, &f, &n), 0));
	cr_expect(eq(sz, n, 0));
}

Test(pci, configuration_space_is_read_and_written)
{
	struct plx_pci_addr a = at("01:00.0"), none = at("01:00.1");
	uint16_t v = 0x4321;
	char bytes[3] = "";

	fake_pci_put(DEVICES "/0000:01:00.0/config", "abcdef");
	cr_expect(eq(int, plx_pci_config_write(&a, 2, &v, 2), 0));
	cr_expect(eq(int, plx_pci_config_read(&a, 2, bytes, 2), 0));
	cr_expect(eq(str, bytes, "!C"));
	cr_expect(eq(int, plx_pci_config_read(&a, 4, bytes, 3), -ENODATA));
	cr_expect(eq(int, plx_pci_config_read(&none, 0, bytes, 1), -ENODEV));
}

Test(pci, a_function_goes_from_driver_to_driver)
{
	struct plx_pci_addr a = at("01:00.0");
	struct plx_pci_func f;

	fake_pci_driver("nvme");
	fake_pci_driver("vfio-pci");
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	cr_expect(eq(int, plx_pci_driver_there("vfio-pci"), 1));
	cr_expect(eq(int, plx_pci_driver_there("uio_pci_generic"), 0));
	cr_expect(eq(int, plx_pci_override(&a, "vfio-pci"), 0));
	cr_expect(eq(int, plx_pci_unbind(&a), 0));
	cr_expect(eq(int, plx_pci_wait_driver(&a, "", SOON), 0));
	cr_expect(eq(int, plx_pci_unbind(&a), 0));
	cr_expect(eq(int, plx_pci_bind(&a, "vfio-pci"), 0));
	cr_expect(eq(int, plx_pci_wait_driver(&a, "vfio-pci", SOON), 0));
	cr_assert(eq(int, plx_pci_read(&a, &f), 0));
	cr_expect(eq(str, f.driver_override, "vfio-pci"));
	cr_expect(eq(int, plx_pci_override(&a, ""), 0));
	cr_expect(eq(int, plx_pci_unbind(&a), 0));
	cr_expect(eq(int, plx_pci_wait_driver(&a, "", SOON), 0));
	cr_expect(eq(int, plx_pci_probe(&a), 0));
	cr_expect(eq(int, plx_pci_wait_driver(&a, "nvme", SOON), 0));
}

Test(pci, what_cannot_be_bound_is_refused_in_time)
{
	struct plx_pci_addr a = at("01:00.0"), none = at("01:00.1");

	fake_pci_driver("nvme");
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	cr_expect(eq(int, plx_pci_bind(&a, "vfio-pci"), -ENOENT));
	cr_expect(eq(int, plx_pci_override(&a, "../nvme"), -EINVAL));
	cr_expect(eq(int, plx_pci_override(&none, "nvme"), -ENODEV));
	cr_expect(eq(int, plx_pci_unbind(&none), -ENODEV));
	cr_expect(eq(int, plx_pci_wait_driver(&a, "vfio-pci", PLX_NS_PER_MS), -ETIMEDOUT));
	cr_expect(eq(int, plx_pci_wait_driver(&none, "nvme", SOON), -ENODEV));
	cr_expect(eq(int, plx_pci_reset(&a), -ENOTSUP));
	cr_expect(eq(int, plx_pci_reset(&none), -ENODEV));
	fake_pci_put(DEVICES "/0000:01:00.0/reset", "");
	cr_expect(eq(int, plx_pci_reset(&a), 0));
}

/* ---- in use by what ---- */

/* nvme0 with the disk @disk, its namespace and two partitions */
static void put_disk(const char *disk, const char *entry)
{
	static const char *const parts[] = { "", "p1", "p2" };
	char path[160], name[64], text[16];

	snprintf(path, sizeof(path), DEVICES "/0000:01:00.0/nvme/nvme0/%s/nsid", entry);
	fake_pci_put(path, "1\n");
	fake_pci_put("/sys/class/nvme/nvme0/dev", "241:0\n");
	fake_pci_put("/sys/class/nvme/nvme0/ng0n1/dev", "242:0\n");
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s/%s%s", disk, i ? disk : "", parts[i]);
		snprintf(path, sizeof(path), "/sys/block/%s/dev", name);
		snprintf(text, sizeof(text), "259:%d\n", i);
		fake_pci_put(path, text);
		snprintf(path, sizeof(path), "/sys/block/%s/partition", name);
		if (i)
			fake_pci_put(path, "1\n");
	}
}

static struct plx_pci_use *uses;
static size_t nuses;

static void look(void)
{
	struct plx_pci_addr a = at("01:00.0");
	struct plx_pci_func f;

	free(uses);
	cr_assert(eq(int, plx_pci_read(&a, &f), 0));
	cr_assert(eq(int, plx_pci_uses(&f, &uses, &nuses), 0));
}

static void expect(const char *text)
{
	char all[2048] = "", one[400];

	look();
	for (size_t i = 0; i < nuses; i++) {
		plx_pci_use_text(&uses[i], one, sizeof(one));
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? "; " : "", one);
	}
	cr_expect(eq(str, all, (char *)text));
}

Test(pci, an_idle_controller_has_no_uses)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme0n1", "nvme0n1");
	fake_pci_put("/proc/self/mountinfo", "36 35 98:0 / / rw - ext4 /dev/sda1 rw\n");
	fake_pci_put("/proc/7/comm", "sh\n");
	fake_pci_link("/proc/7/fd/0", "/dev/nvme1");
	expect("");
}

Test(pci, mounts_are_found_in_every_namespace)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme0n1", "nvme0n1");
	fake_pci_put("/proc/self/mountinfo",
		     "36 35 98:0 / / rw - ext4 /dev/sda1 rw\n"
		     "40 35 259:1 / /my\\040data rw shared:1 - ext4 /dev/root rw\n"
		     "41 35 0:33 /sub /pool rw - btrfs /dev/nvme0n1p2 rw,ssd\n"
		     "nonsense\n1 2 3 4 5\n");
	fake_pci_link("/proc/self/ns/mnt", "mnt:[1]");
	fake_pci_link("/proc/7/ns/mnt", "mnt:[1]");
	fake_pci_put("/proc/7/mountinfo", "1 1 259:0 / /not/read rw - ext4 x rw\n");
	fake_pci_link("/proc/8/ns/mnt", "mnt:[2]");
	fake_pci_put("/proc/8/comm", "jail\n");
	fake_pci_put("/proc/8/mountinfo", "1 1 259:0 / /inside rw - xfs x rw\n");
	expect("nvme0n1p1 is mounted on /my data; nvme0n1p2 is mounted on /pool; "
	       "nvme0n1 is mounted on /inside (seen by jail, process 8)");
}

Test(pci, swap_is_found)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme0n1", "nvme0n1");
	fake_pci_put("/proc/swaps", "Filename Type Size Used Priority\n"
				    "/dev/nvme0n1p2 partition 1020 0 -2\n");
	expect("nvme0n1p2 is swapped on");
}

Test(pci, stacked_devices_are_followed)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme0n1", "nvme0n1");
	fake_pci_link("/sys/block/nvme0n1/nvme0n1p1/holders/md0", "../../md0");
	fake_pci_put("/sys/block/md0/md/level", "raid1\n");
	fake_pci_put("/sys/block/md0/dev", "9:0\n");
	fake_pci_link("/sys/block/md0/holders/dm-0", "../../dm-0");
	fake_pci_put("/sys/block/dm-0/dm/uuid", "LVM-abc\n");
	fake_pci_put("/sys/block/dm-0/dm/name", "vg-data\n");
	fake_pci_put("/sys/block/dm-0/dev", "253:0\n");
	fake_pci_link("/sys/block/dm-0/holders/dm-0", "../../dm-0");
	fake_pci_put("/proc/self/mountinfo", "40 35 253:0 / /data rw - ext4 /dev/mapper/x rw\n");
	expect("nvme0n1p1 is in the MD set md0 (raid1); md0 is in the LVM volume vg-data (dm-0); "
	       "dm-0 is in the LVM volume vg-data (dm-0); dm-0 is mounted on /data");
}

Test(pci, kinds_of_holders_are_told_apart)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme0n1", "nvme0n1");
	fake_pci_link("/sys/block/nvme0n1/holders/dm-1", "../../dm-1");
	fake_pci_put("/sys/block/dm-1/dm/uuid", "CRYPT-LUKS2-abc\n");
	fake_pci_put("/sys/block/dm-1/dm/name", "secret\n");
	expect("nvme0n1 is under the dm-crypt device secret (dm-1)");
	fake_pci_put("/sys/block/dm-1/dm/uuid", "mpath-abc\n");
	expect("nvme0n1 is under the device-mapper device secret (dm-1)");
	fake_pci_link("/sys/block/nvme0n1/nvme0n1p2/holders/bcache0", "../../bcache0");
	expect("nvme0n1 is under the device-mapper device secret (dm-1); nvme0n1p2 is held by "
	       "bcache0");
}

Test(pci, members_of_btrfs_and_servers_are_found)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme0n1", "nvme0n1");
	fake_pci_link("/sys/fs/btrfs/1234-5678/devices/nvme0n1p2", "../../../../block/nvme0n1p2");
	fake_pci_put("/sys/block/nvme0n1p2/size", "1");
	expect("nvme0n1p2 is in the btrfs file system 1234-5678");
	fake_pci_put("/sys/fs/btrfs/1234-5678/label", "pool\n");
	fake_pci_put("/sys/kernel/config/nvmet/subsystems/nqn.x/namespaces/1/device_path",
		     "/dev/nvme0n1\n");
	expect("nvme0n1 is served by the NVMe target nqn.x; nvme0n1p2 is in the btrfs file system "
	       "pool");
}

Test(pci, a_shared_disk_of_multipath_counts)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme3n1", "nvme3c0n1");
	fake_pci_put("/proc/self/mountinfo", "40 35 259:0 / /shared rw - ext4 /dev/x rw\n");
	expect("nvme3n1 is mounted on /shared");
}

Test(pci, processes_are_named)
{
	fake_pci_nvme("0000:01:00.0", "nvme", 1);
	put_disk("nvme0n1", "nvme0n1");
	fake_pci_put("/proc/7/comm", "smartd\n");
	fake_pci_link("/proc/7/fd/3", "/dev/nvme0");
	fake_pci_link("/proc/7/fd/4", "/dev/nvme0");
	expect("nvme0 is opened by smartd, process 7");
}

Test(pci, users_of_userspace_drivers_are_named)
{
	fake_pci_nvme("0000:01:00.0", "vfio-pci", 12);
	fake_pci_put("/proc/7/comm", "plx-perf\n");
	fake_pci_link("/proc/7/fd/3", "/dev/vfio/12");
	expect("vfio/12 is opened by plx-perf, process 7");
	fake_pci_link("/proc/7/fd/3", "/dev/vfio/1");
	expect("");
	fake_pci_link(DEVICES "/0000:01:00.0/driver", "../../drivers/uio_pci_generic");
	fake_pci_put("/proc/7/maps", "7f00-7f10 rw-s fe000000 00:16 99 "
				     "/sys/devices/pci0000:00/0000:01:00.0/resource0\n");
	expect("0000:01:00.0/resource0 is opened by plx-perf, process 7");
}
