/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pci_bind.c - which driver has a PCI function, and changing that
 * (Linux Documentation/ABI/testing/sysfs-bus-pci)
 */
#include "core/pci_internal.h"
#include "core/text.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS (5 * PLX_NS_PER_MS)

/* a name that is part of a path */
static bool good_name(const char *driver)
{
	return *driver && strlen(driver) < PLX_PCI_NAME && !strchr(driver, '/') &&
	       !strchr(driver, '\n') && strcmp(driver, ".") && strcmp(driver, "..");
}

bool plx_pci_driver_there(const char *driver)
{
	char path[PCI_PATH];

	return good_name(driver) && !pci_path(path, PCI_DRIVERS "/%s", driver) &&
	       !access(path, F_OK);
}

static int write_func(const struct plx_pci_addr *a, const char *file, const char *text)
{
	char name[PLX_PCI_ADDR_TEXT], path[128];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", plx_pci_addr_format(a, name), file);
	return plx_pci_write_text(path, text);
}

static bool there(const struct plx_pci_addr *a)
{
	char path[PCI_PATH];

	return !pci_func_path(path, a, "") && !access(path, F_OK);
}

int plx_pci_override(const struct plx_pci_addr *a, const char *driver)
{
	char text[PLX_PCI_NAME + 1];
	int rc;

	if (*driver && !good_name(driver))
		return -EINVAL;
	snprintf(text, sizeof(text), "%s\n", driver); /* a line without a name clears it */
	rc = write_func(a, "driver_override", text);
	return rc == -ENOENT && !there(a) ? -ENODEV : rc;
}

static int write_address(const char *path, const struct plx_pci_addr *a)
{
	char text[PLX_PCI_ADDR_TEXT + 1];

	strcat(plx_pci_addr_format(a, text), "\n");
	return plx_pci_write_text(path, text);
}

int plx_pci_bind(const struct plx_pci_addr *a, const char *driver)
{
	char path[128];

	if (!plx_pci_driver_there(driver))
		return -ENOENT;
	snprintf(path, sizeof(path), PCI_DRIVERS "/%s/bind", driver);
	return write_address(path, a);
}

int plx_pci_probe(const struct plx_pci_addr *a)
{
	return write_address("/sys/bus/pci/drivers_probe", a);
}

/* Return: 0 with the driver's name, "" for none; -ENODEV */
static int present_driver(const struct plx_pci_addr *a, char driver[PLX_PCI_NAME])
{
	char link[PCI_PATH];
	int rc = pci_func_path(link, a, "driver");

	*driver = '\0';
	rc = rc ? rc : pci_link_name(driver, PLX_PCI_NAME, link);
	return rc != -ENOENT ? rc : there(a) ? 0 : -ENODEV;
}

int plx_pci_unbind(const struct plx_pci_addr *a)
{
	char name[PLX_PCI_ADDR_TEXT], path[128], driver[PLX_PCI_NAME];
	int rc = present_driver(a, driver);

	if (rc || !*driver)
		return rc;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", plx_pci_addr_format(a, name));
	return write_address(path, a);
}

int plx_pci_reset(const struct plx_pci_addr *a)
{
	int rc = write_func(a, "reset", "1\n");

	if (rc == -ENOENT)
		return there(a) ? -ENOTSUP : -ENODEV;
	return rc == -ENOTTY ? -ENOTSUP : rc;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * PLX_NS_PER_S + (uint64_t)t.tv_nsec;
}

int plx_pci_wait_driver(const struct plx_pci_addr *a, const char *driver, uint64_t timeout_ns)
{
	uint64_t begun = now_ns();

	for (;;) {
		bool last = now_ns() - begun >= timeout_ns;
		char present[PLX_PCI_NAME];
		int rc = present_driver(a, present);

		if (rc || !strcmp(present, driver))
			return rc;
		if (last)
			return -ETIMEDOUT;
		/* sysfs tells nobody of a change of a link: look again */
		nanosleep(&(struct timespec){ .tv_nsec = POLL_NS }, NULL);
	}
}
