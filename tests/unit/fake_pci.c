/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fake_pci.c - see fake_pci.h */
#include "fake_pci.h"
#include "core/pci.h"
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DRIVERS 8
#define DEVICES	    "/sys/bus/pci/devices"
#define DRIVERS	    "/sys/bus/pci/drivers"

struct driver {
	char name[PLX_PCI_NAME];
	int bind, unbind;
};

static char top[64];
static struct driver drivers[MAX_DRIVERS];
static int ndrivers, probe_fd = -1, stop_fd[2];
static const char *refused;
static pthread_t kernel;

static char *below(char out[512], const char *path)
{
	snprintf(out, 512, "%s%s", top, path);
	return out;
}

static void make_parents(char *path)
{
	for (char *s = path + strlen(top) + 1; (s = strchr(s, '/')); s++) {
		*s = '\0';
		mkdir(path, 0755);
		*s = '/';
	}
}

void fake_pci_put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	make_parents(below(full, path));
	f = fopen(full, "w");
	cr_assert(ne(ptr, f, NULL), "%s", full);
	fputs(text, f);
	fclose(f);
}

void fake_pci_link(const char *path, const char *target)
{
	char full[512];

	make_parents(below(full, path));
	unlink(full);
	cr_assert(eq(int, symlink(target, full), 0));
}

static int make_fifo(const char *path)
{
	char full[512];
	int fd;

	make_parents(below(full, path));
	cr_assert(eq(int, mkfifo(full, 0600), 0));
	fd = open(full, O_RDWR | O_NONBLOCK);
	cr_assert(ge(int, fd, 0));
	return fd;
}

void fake_pci_driver(const char *name)
{
	struct driver *d = &drivers[ndrivers];
	char path[128];

	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(path, sizeof(path), DRIVERS "/%s/bind", name);
	d->bind = make_fifo(path);
	snprintf(path, sizeof(path), DRIVERS "/%s/unbind", name);
	d->unbind = make_fifo(path);
	__atomic_store_n(&ndrivers, ndrivers + 1, __ATOMIC_RELEASE);
}

void fake_pci_nvme(const char *addr, const char *driver, int group)
{
	static const struct {
		const char *file, *text;
	} files[] = {
		{ "vendor", "0x1b36\n" },
		{ "device", "0x0010\n" },
		{ "class", "0x010802\n" },
		{ "subsystem_vendor", "0x1af4\n" },
		{ "subsystem_device", "0x1100\n" },
		{ "revision", "0x02\n" },
		{ "numa_node", "1\n" },
		{ "enable", "1\n" },
		{ "driver_override", "(null)\n" },
		{ "resource", "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n"
			      "0x0000000000000000 0x0000000000000000 0x0000000000000000\n" },
	};
	char path[160], target[96];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), DEVICES "/%s/%s", addr, files[i].file);
		fake_pci_put(path, files[i].text);
	}
	if (driver) {
		snprintf(path, sizeof(path), DEVICES "/%s/driver", addr);
		snprintf(target, sizeof(target), "../../drivers/%s", driver);
		fake_pci_link(path, target);
	}
	if (group < 0)
		return;
	snprintf(path, sizeof(path), DEVICES "/%s/iommu_group", addr);
	snprintf(target, sizeof(target), "../../../../kernel/iommu_groups/%d", group);
	fake_pci_link(path, target);
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices/%s", group, addr);
	snprintf(target, sizeof(target), "../../../../bus/pci/devices/%s", addr);
	fake_pci_link(path, target);
}

void fake_pci_refuse(const char *driver)
{
	__atomic_store_n(&refused, driver, __ATOMIC_RELEASE);
}

/* ---- the kernel ---- */

static void override_of(const char *addr, char out[PLX_PCI_NAME])
{
	char path[160];

	snprintf(path, sizeof(path), DEVICES "/%s/driver_override", addr);
	if (plx_pci_read_text(path, out, PLX_PCI_NAME) < 0 || !strcmp(out, "(null)"))
		*out = '\0';
}

static void take(const char *addr, const char *driver)
{
	const char *no = __atomic_load_n(&refused, __ATOMIC_ACQUIRE);
	char override[PLX_PCI_NAME], path[160], full[512], target[96];

	override_of(addr, override);
	if ((no && !strcmp(no, driver)) || strcmp(*override ? override : "nvme", driver))
		return;
	snprintf(path, sizeof(path), DEVICES "/%s/driver", addr);
	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	cr_assert(eq(int, symlink(target, below(full, path)), 0));
}

static void let_go(const char *addr)
{
	char path[160], full[512];

	snprintf(path, sizeof(path), DEVICES "/%s/driver", addr);
	unlink(below(full, path));
}

static bool next_address(int fd, char addr[64])
{
	ssize_t n = read(fd, addr, 63);

	if (n <= 0)
		return false;
	addr[n] = '\0';
	addr[strcspn(addr, "\n")] = '\0';
	return true;
}

static void serve(void)
{
	char addr[64], override[PLX_PCI_NAME];

	for (int i = 0; i < __atomic_load_n(&ndrivers, __ATOMIC_ACQUIRE); i++) {
		if (next_address(drivers[i].unbind, addr))
			let_go(addr);
		if (next_address(drivers[i].bind, addr))
			take(addr, drivers[i].name);
	}
	if (next_address(probe_fd, addr)) {
		override_of(addr, override);
		take(addr, *override ? override : "nvme");
	}
}

static void *run_kernel(void *arg)
{
	struct pollfd stop = { .fd = stop_fd[0], .events = POLLIN };

	while (poll(&stop, 1, 1) == 0)
		serve();
	return NULL;
}

void fake_pci_start(void)
{
	strcpy(top, "/tmp/plx-pci-XXXXXX");
	cr_assert(ne(ptr, mkdtemp(top), NULL));
	ndrivers = 0;
	refused = NULL;
	fake_pci_put("/proc/swaps", "Filename Type Size Used Priority\n");
	probe_fd = make_fifo("/sys/bus/pci/drivers_probe");
	cr_assert(eq(int, plx_pci_set_root(top), 0));
	cr_assert(eq(int, pipe(stop_fd), 0));
	cr_assert(eq(int, pthread_create(&kernel, NULL, run_kernel, NULL), 0));
}

void fake_pci_stop(void)
{
	char command[128];

	close(stop_fd[1]);
	pthread_join(kernel, NULL);
	close(stop_fd[0]);
	close(probe_fd);
	for (int i = 0; i < ndrivers; i++) {
		close(drivers[i].bind);
		close(drivers[i].unbind);
	}
	plx_pci_set_root(NULL);
	snprintf(command, sizeof(command), "rm -r %s", top);
	cr_assert(eq(int, system(command), 0));
}
