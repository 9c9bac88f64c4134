/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_pcie_kernel.c - what the PCIe transport asks of the kernel: VFIO with and without
 * an IOMMU, VF tokens, each kind of interrupt, resets, devices that go; UIO
 *
 * The kernel is played here: sysfs is a tree of fake_pci.h, files below /dev/vfio are files in
 * memory, and ioctl() on those ends up in this file. Nothing here needs a device.
 */
#include "fake_pci.h"
#include "core/pci.h"
#include "driver/pcie_backend.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BDF	   "0000:04:00.0"
#define GROUP	   12
#define TOKEN	   "01234567-89ab-cdef-0123-456789abcdef"
#define BAR_SIZE   0x4000
#define CFG_OFFSET 0x100000
#define FILE_SIZE  0x101000
#define MAX_MAPS   4

int open(const char *path, int flags, ...);
int ioctl(int fd, unsigned long request, ...);

/* What it does, and what it was asked */
static struct {
	bool noiommu;
	int token_errno, device_errno, reset_errno; /* of opening a device with a token, at all */
	uint32_t vectors[5]; /* by the index of VFIO; 0: there is no such interrupt */
	int group, container, device;

	unsigned long iommu;
	unsigned asked;
	char names[2][128];
	uint32_t irq_index, irq_count, irq_flags;
	int request;
	unsigned resets, maps, unmaps;
	struct vfio_iommu_type1_dma_map map[MAX_MAPS];
} k;

static struct plx_pcie_dev *dev;

/* ---- the kernel ---- */

int open(const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = va_arg(ap, int);
	va_end(ap);
	if (strncmp(path, "/dev/vfio/", 10))
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (!strcmp(path, "/dev/vfio/vfio"))
		return k.container = memfd_create("container", 0);
	if (!strcmp(path, k.noiommu ? "/dev/vfio/noiommu-12" : "/dev/vfio/12"))
		return k.group = memfd_create("group", 0);
	errno = ENOENT;
	return -1;
}

static int failing(int err)
{
	errno = err;
	return err ? -1 : 0;
}

static int get_device(const char *name)
{
	static const unsigned char class[] = { 2, 8, 1 };
	int err = strstr(name, "vf_token") ? k.token_errno : k.device_errno;

	snprintf(k.names[k.asked++ % 2], sizeof(k.names[0]), "%s", name);
	if (err)
		return failing(err);
	k.device = memfd_create("device", 0);
	cr_assert_eq(ftruncate(k.device, FILE_SIZE), 0);
	cr_assert_eq(pwrite(k.device, class, sizeof(class), CFG_OFFSET + PCI_CLASS_PROG),
		     sizeof(class));
	return k.device;
}

static int region(struct vfio_region_info *info)
{
	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	info->size = 0;
	if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
		info->offset = CFG_OFFSET;
		info->size = FILE_SIZE - CFG_OFFSET;
	} else if (info->index == VFIO_PCI_BAR0_REGION_INDEX) {
		info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
		info->offset = 0;
		info->size = BAR_SIZE;
	}
	return 0;
}

static int set_irqs(const struct vfio_irq_set *set)
{
	if (set->index == VFIO_PCI_REQ_IRQ_INDEX) {
		memcpy(&k.request, set->data, sizeof(k.request));
		return 0;
	}
	k.irq_index = set->index;
	k.irq_count = set->count;
	k.irq_flags = set->flags;
	return set->count > k.vectors[set->index] ? failing(EINVAL) : 0;
}

static int reset(void)
{
	uint16_t none = 0;

	k.resets++;
	cr_assert_eq(pwrite(k.device, &none, sizeof(none), CFG_OFFSET + PCI_COMMAND), sizeof(none));
	return failing(k.reset_errno);
}

static int take(unsigned long request, void *arg)
{
	struct vfio_irq_info *irq = arg;

	switch (request) {
	case VFIO_GROUP_GET_STATUS:
		((struct vfio_group_status *)arg)->flags = VFIO_GROUP_FLAGS_VIABLE;
		return 0;
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_GROUP_SET_CONTAINER:
		return 0;
	case VFIO_SET_IOMMU:
		k.iommu = (unsigned long)arg;
		return 0;
	case VFIO_IOMMU_GET_INFO:
		((struct vfio_iommu_type1_info *)arg)->flags = 0;
		return 0;
	case VFIO_IOMMU_MAP_DMA:
		k.map[k.maps++ % MAX_MAPS] = *(struct vfio_iommu_type1_dma_map *)arg;
		return 0;
	case VFIO_IOMMU_UNMAP_DMA:
		k.unmaps++;
		return 0;
	case VFIO_GROUP_GET_DEVICE_FD:
		return get_device(arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return region(arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		irq->count = k.vectors[irq->index];
		irq->flags = irq->count ? VFIO_IRQ_INFO_EVENTFD : 0;
		return 0;
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(arg);
	case VFIO_DEVICE_RESET:
		return reset();
	}
	return failing(ENOTTY);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd >= 0 && (fd == k.group || fd == k.container || fd == k.device))
		return take(request, arg);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

/* ---- the device ---- */

static void setup(void)
{
	memset(&k, 0, sizeof(k));
	k.group = k.container = k.device = k.request = -1;
	k.vectors[VFIO_PCI_MSIX_IRQ_INDEX] = 4;
	unsetenv("PLX_VFIO_VF_TOKEN");
	dev = NULL;
	fake_pci_start();
}

static void teardown(void)
{
	if (dev)
		dev->ops->close(dev);
	fake_pci_stop();
}

TestSuite(pcie_kernel, .init = setup, .fini = teardown);

static int open_device(const char *driver)
{
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_PCIE, .traddr = BDF };

	fake_pci_nvme(BDF, driver, strncmp(driver, "uio", 3) ? GROUP : -1);
	return plx_nvme_find_backend(PLX_NVME_TR_PCIE)->open(&trid, &dev);
}

static uint16_t command(void)
{
	uint16_t c;

	cr_assert_eq(dev->ops->cfg_read(dev, PCI_COMMAND, &c, sizeof(c)), 0);
	return c;
}

#define DECODES (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static struct plx_mem_region page(void)
{
	static char mem[8192];

	return (struct plx_mem_region){ .addr = (void *)(((uintptr_t)mem + 4095) & ~4095ul),
					.len = 4096,
					.fd = -1 };
}

/* ---- VFIO ---- */

Test(pcie_kernel, vfio_translates_and_enables_the_device)
{
	struct plx_mem_region r = page();

	cr_assert_eq(open_device("vfio-pci"), 0);
	cr_assert_eq(k.iommu, VFIO_TYPE1v2_IOMMU);
	cr_assert_str_eq(k.names[0], BDF);
	cr_assert_eq(command(), DECODES);
	cr_assert_eq(dev->doorbell_bytes, BAR_SIZE - 0x1000);
	cr_assert_not(dev->iova_is_pa);
	cr_assert_eq(dev->ops->dma_map(dev, &r), 0);
	cr_assert_eq(k.maps, 1);
	cr_assert_eq(k.map[0].vaddr, (uintptr_t)r.addr);
	cr_assert_eq(k.map[0].size, 4096);
	dev->ops->dma_unmap(dev, &r);
	cr_assert_eq(k.unmaps, 1);
}

Test(pcie_kernel, without_an_iommu_addresses_are_physical)
{
	struct plx_mem_region r = page();

	k.noiommu = true;
	cr_assert_eq(open_device("vfio-pci"), 0);
	cr_assert_eq(k.iommu, VFIO_NOIOMMU_IOMMU);
	cr_assert(dev->iova_is_pa);
	cr_assert_not_null(dev->iova);
	cr_assert_eq(command(), DECODES);
	/* no hugepage: it may move, whatever its address is now */
	cr_assert_eq(dev->ops->dma_map(dev, &r), -EINVAL);
	cr_assert_eq(k.maps, 0);
}

Test(pcie_kernel, a_token_goes_with_the_name)
{
	setenv("PLX_VFIO_VF_TOKEN", TOKEN, 1);
	cr_assert_eq(open_device("vfio-pci"), 0);
	cr_assert_eq(k.asked, 1);
	cr_assert_str_eq(k.names[0], BDF " vf_token=" TOKEN);
}

Test(pcie_kernel, a_function_that_takes_no_token_is_opened_without)
{
	setenv("PLX_VFIO_VF_TOKEN", TOKEN, 1);
	k.token_errno = EINVAL;
	cr_assert_eq(open_device("vfio-pci"), 0);
	cr_assert_eq(k.asked, 2);
	cr_assert_str_eq(k.names[1], BDF);
}

Test(pcie_kernel, wrong_tokens_are_refused)
{
	setenv("PLX_VFIO_VF_TOKEN", TOKEN, 1);
	k.token_errno = EACCES;
	cr_assert_eq(open_device("vfio-pci"), -EACCES);
	cr_assert_eq(k.asked, 1, "not tried without");
	setenv("PLX_VFIO_VF_TOKEN", "secret", 1);
	cr_assert_eq(open_device("vfio-pci"), -EINVAL);
	cr_assert_eq(k.asked, 1, "no UUID");
	unsetenv("PLX_VFIO_VF_TOKEN");
	k.device_errno = EBUSY;
	cr_assert_eq(open_device("vfio-pci"), -EBUSY);
}

Test(pcie_kernel, interrupts_are_msix_else_msi_else_the_line)
{
	static const struct {
		uint32_t msix, msi, intx, index, count;
	} cases[] = {
		{ 4, 1, 1, VFIO_PCI_MSIX_IRQ_INDEX, 3 }, { 2, 1, 1, VFIO_PCI_MSIX_IRQ_INDEX, 2 },
		{ 0, 1, 1, VFIO_PCI_MSI_IRQ_INDEX, 1 },	 { 0, 8, 1, VFIO_PCI_MSI_IRQ_INDEX, 3 },
		{ 0, 0, 1, VFIO_PCI_INTX_IRQ_INDEX, 1 },
	};
	const int fds[3] = { -1, -1, -1 };

	cr_assert_eq(open_device("vfio-pci"), 0);
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(cases); i++) {
		k.vectors[VFIO_PCI_MSIX_IRQ_INDEX] = cases[i].msix;
		k.vectors[VFIO_PCI_MSI_IRQ_INDEX] = cases[i].msi;
		k.vectors[VFIO_PCI_INTX_IRQ_INDEX] = cases[i].intx;
		cr_expect_eq(dev->ops->irq_vectors(dev, 3, fds), (int)cases[i].count, "case %u", i);
		cr_expect_eq(k.irq_index, cases[i].index, "case %u", i);
		cr_expect_eq(k.irq_count, cases[i].count, "case %u", i);
		cr_expect_eq(dev->irq_line, cases[i].index == VFIO_PCI_INTX_IRQ_INDEX, "case %u",
			     i);
	}
	dev->ops->irq_unmask(dev);
	cr_assert_eq(k.irq_flags, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK);
	k.vectors[VFIO_PCI_INTX_IRQ_INDEX] = 0;
	cr_assert_eq(dev->ops->irq_vectors(dev, 3, fds), -ENOTSUP);
}

Test(pcie_kernel, a_reset_leaves_the_device_enabled)
{
	cr_assert_eq(open_device("vfio-pci"), 0);
	cr_assert_eq(dev->ops->reset(dev), 0);
	cr_assert_eq(k.resets, 1);
	cr_assert_eq(command(), DECODES);
	k.reset_errno = EINVAL;
	cr_assert_eq(dev->ops->reset(dev), -ENOTSUP, "that is how VFIO says that there is none");
	k.reset_errno = EAGAIN;
	cr_assert_eq(dev->ops->reset(dev), -EAGAIN);
}

Test(pcie_kernel, a_device_that_the_kernel_wants_back_is_let_go)
{
	cr_assert_eq(open_device("vfio-pci"), 0);
	cr_assert_not(dev->ops->poll(dev));
	cr_assert_eq(pcie_read32(dev, NVME_REG_CSTS), 0);
	cr_assert_eq(eventfd_write(k.request, 1), 0);
	cr_assert(dev->ops->poll(dev));
	cr_assert_eq(fcntl(k.device, F_GETFD), -1, "it waits for that to be closed");
	cr_assert_eq(pcie_read32(dev, NVME_REG_CSTS), UINT32_MAX);
	pcie_write32(dev, NVME_REG_CC, 0);
	cr_assert(strstr(dev->gone, "unplugged"));
}

/* What SIGBUS in a mapped BAR looks like: the memory behind it is not there any more */
static void loses_its_bar(int fd)
{
	cr_assert_eq(pcie_read32(dev, NVME_REG_CSTS), 0);
	cr_assert_eq(ftruncate(fd, 0), 0);
	pcie_write32(dev, NVME_REG_CC, 1);
	*dev->doorbells = 1;
	cr_assert_eq(pcie_read32(dev, NVME_REG_CSTS), UINT32_MAX);
	cr_assert_eq(pcie_read64(dev, NVME_REG_CAP), UINT64_MAX);
}

Test(pcie_kernel, a_bar_that_goes_away_reads_as_all_ones)
{
	cr_assert_eq(open_device("vfio-pci"), 0);
	loses_its_bar(k.device);
}

/* ---- UIO ---- */

/* A file below the root; its descriptor is the caller's */
static int make_file(const char *name, size_t size)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/" BDF "/%s", name);
	fake_pci_put(path, "");
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/" BDF "/%s", plx_pci_root(), name);
	fd = open(path, O_RDWR);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

Test(pcie_kernel, uio_is_enabled_reset_and_disabled_by_sysfs)
{
	static const unsigned char class[] = { 2, 8, 1 };
	int config = make_file("config", 256), resource = make_file("resource0", BAR_SIZE);
	int reset_fd;
	uint16_t none = 0;
	char text[4] = "";

	cr_assert_eq(pwrite(config, class, sizeof(class), PCI_CLASS_PROG), sizeof(class));
	cr_assert_eq(open_device("uio_pci_generic"), 0);
	cr_assert_eq(command(), DECODES);
	cr_assert(dev->iova_is_pa);

	cr_assert_eq(dev->ops->reset(dev), -ENOTSUP);
	reset_fd = make_file("reset", 0);
	cr_assert_eq(pwrite(config, &none, sizeof(none), PCI_COMMAND), sizeof(none));
	cr_assert_eq(dev->ops->reset(dev), 0);
	cr_assert_gt(pread(reset_fd, text, sizeof(text) - 1, 0), 0);
	cr_assert_str_eq(text, "1\n");
	cr_assert_eq(command(), DECODES);

	loses_its_bar(resource);
	dev->ops->close(dev);
	dev = NULL;
	cr_assert_eq(pread(config, &none, sizeof(none), PCI_COMMAND), sizeof(none));
	cr_assert_eq(none, PCI_COMMAND_MEMORY, "nothing of ours is reached any more");
	close(config);
	close(resource);
	close(reset_fd);
}
