/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pci.h - PCI functions as the kernel shows them in sysfs: what they are, which driver has
 * them
 *
 * Nothing here needs the environment or privileges, except where it says so; any thread, set-up
 * only: all of it reads files. Functions return 0 or a negative errno unless they say otherwise;
 * -ENODEV is a function that is not there, or no longer.
 *
 * Everything is read below a directory, "/" unless plx_pci_set_root() says another: sys, proc and
 * dev of a host whose root a container sees elsewhere, or of a copy.
 */
#ifndef POLLUX_CORE_PCI_H
#define POLLUX_CORE_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PLX_PCI_NAME	   40 /* a driver's name, with the end */
#define PLX_PCI_BARS	   6
#define PLX_PCI_CLASS_NVME 0x010802u /* mass storage, non-volatile memory, NVM Express I/O */

/** plx_pci_set_root - the directory that holds sys, proc and dev, for the whole process; before any
 *  other call. NULL and "" are "/". Return: 0; -ENAMETOOLONG */
int plx_pci_set_root(const char *dir);
/** plx_pci_root - what was set, "" for "/": to be put before an absolute path */
const char *plx_pci_root(void);

/* ---- addresses ---- */

#define PLX_PCI_ADDR_TEXT 20 /* with the end; domains have up to eight digits */

struct plx_pci_addr {
	uint32_t domain;
	uint8_t bus, dev, fn;
};

/**
 * plx_pci_addr_parse - "0000:04:00.0", "04:00.0", or with dots for colons, "0000.04.00.0"
 * @err: a sentence about what is wrong with @text; may be NULL when @errlen is 0
 *
 * Return: 0; -EINVAL with *@out as it was.
 */
int plx_pci_addr_parse(const char *text, struct plx_pci_addr *out, char *err, size_t errlen);
/** plx_pci_addr_format - "0000:04:00.0", as sysfs names it. Return: @buf */
char *plx_pci_addr_format(const struct plx_pci_addr *a, char buf[PLX_PCI_ADDR_TEXT]);
bool plx_pci_addr_equal(const struct plx_pci_addr *a, const struct plx_pci_addr *b);

/* ---- functions ---- */

struct plx_pci_bar {
	uint64_t addr; /* as the processor sees it */
	uint64_t size; /* bytes; 0: there is none, or it is the upper half of the one before */
	uint64_t flags; /* IORESOURCE_* of the kernel: 0x200 is memory */
};

/** struct plx_pci_func - one function, as it was when it was read */
struct plx_pci_func {
	struct plx_pci_addr addr;
	char name[PLX_PCI_ADDR_TEXT]; /* the address in full */
	uint16_t vendor, device, sub_vendor, sub_device;
	uint32_t class; /* base class, sub-class, programming interface */
	uint8_t revision;
	bool enabled; /* memory or I/O decoding has been enabled by a driver */
	char driver[PLX_PCI_NAME]; /* "": none has it */
	char driver_override[PLX_PCI_NAME]; /* "": the kernel matches by identifiers */
	int numa_node; /* -1: unknown */
	int iommu_group; /* -1: none */
	bool noiommu; /* the group is VFIO's own, without an IOMMU behind it */
	uint16_t numvfs, totalvfs; /* virtual functions there are, and may be */
	bool is_vf; /* a virtual function, of @physfn */
	struct plx_pci_addr physfn;
	struct plx_pci_bar bars[PLX_PCI_BARS];
};

/** plx_pci_read - Return: 0; -ENODEV; -errno where sysfs cannot be read, -EPROTO where it makes no
 *  sense */
int plx_pci_read(const struct plx_pci_addr *a, struct plx_pci_func *out);
/**
 * plx_pci_list - all functions whose class is @class in the bits of @mask, by address
 * @out: an array for the caller to free(); NULL where there is none
 *
 * No PCI bus is an empty list. Functions that go away meanwhile are left out.
 * Return: 0; -ENOMEM; -errno.
 */
int plx_pci_list(uint32_t class, uint32_t mask, struct plx_pci_func **out, size_t *n);
/** plx_pci_group - all functions of an IOMMU group, by address, as plx_pci_list() */
int plx_pci_group(int group, struct plx_pci_func **out, size_t *n);
/** plx_pci_group_tolerates - whether VFIO hands out a group in which @f is as it is: no driver, one
 *  of VFIO's, a bridge's, or pci-stub */
bool plx_pci_group_tolerates(const struct plx_pci_func *f);

/**
 * plx_pci_config_read - bytes of configuration space
 *
 * Users without privilege get the first 64 bytes. Return: 0; -ENODEV; -ENODATA for bytes behind
 * what there is or may be seen; -errno.
 */
int plx_pci_config_read(const struct plx_pci_addr *a, uint32_t offset, void *buf, size_t len);
/** plx_pci_config_write - needs privilege. Return: as plx_pci_config_read(); -EACCES */
int plx_pci_config_write(const struct plx_pci_addr *a, uint32_t offset, const void *buf,
			 size_t len);

/* ---- drivers: all of it needs privilege ---- */

/** plx_pci_driver_there - whether a PCI driver of that name is in the kernel at present */
bool plx_pci_driver_there(const char *driver);
/** plx_pci_override - the only driver that may take the function; "": any that matches. What has it
 *  keeps it. Return: 0; -EINVAL for what is no driver's name; -errno */
int plx_pci_override(const struct plx_pci_addr *a, const char *driver);
/** plx_pci_bind - let @driver take a function that none has. Return: 0; -ENOENT no such driver;
 *  -ENODEV the driver does not match it, or it is gone; -errno of the driver's probe */
int plx_pci_bind(const struct plx_pci_addr *a, const char *driver);
/** plx_pci_probe - let whichever driver matches take a function that none has. Return: 0, also when
 *  none does; -errno */
int plx_pci_probe(const struct plx_pci_addr *a);
/**
 * plx_pci_unbind - take the function from its driver; nothing where there is none
 *
 * May block as long as the driver likes: vfio-pci waits for the process that uses the function.
 * Return: 0; -errno.
 */
int plx_pci_unbind(const struct plx_pci_addr *a);
/** plx_pci_reset - function level reset, or what the kernel has in its place. Return: 0; -ENOTSUP
 *  the kernel knows no way; -errno */
int plx_pci_reset(const struct plx_pci_addr *a);
/**
 * plx_pci_wait_driver - wait until @driver has the function; "": until none has
 * @timeout_ns: after that, give up
 *
 * Return: 0; -ETIMEDOUT; -ENODEV.
 */
int plx_pci_wait_driver(const struct plx_pci_addr *a, const char *driver, uint64_t timeout_ns);

/* ---- in use by what: core/pci_use.c ---- */

enum plx_pci_use_kind {
	PLX_PCI_USE_MOUNT, /* @by: where, with the namespace's process if that is not ours */
	PLX_PCI_USE_SWAP,
	PLX_PCI_USE_MD, /* @by: the set, and so on */
	PLX_PCI_USE_LVM,
	PLX_PCI_USE_CRYPT,
	PLX_PCI_USE_DM,
	PLX_PCI_USE_HOLDER, /* another driver stacked on it */
	PLX_PCI_USE_BTRFS,
	PLX_PCI_USE_EXPORT, /* @by: the kernel's own target or loop device that serves it */
	PLX_PCI_USE_OPEN, /* @by: the process; "": one that cannot be seen, or the kernel */
};

struct plx_pci_use {
	enum plx_pci_use_kind kind;
	char device[64]; /* "nvme0n1p1", "vfio/12", "0000:04:00.0/resource0" */
	char by[256];
};

/**
 * plx_pci_uses - what uses the function now: file systems, swap, stacked devices, processes
 * @out: an array for the caller to free(); NULL where nothing does
 *
 * Of the block devices of an NVMe controller, their partitions, and what is stacked on those; and
 * of the device files of VFIO, UIO and the resources. Mounts are looked for in every mount
 * namespace that may be seen; without privilege, other users' processes are not seen.
 * Return: 0; -ENOMEM; -errno.
 */
int plx_pci_uses(const struct plx_pci_func *f, struct plx_pci_use **out, size_t *n);
/** plx_pci_use_name - "mounted", "swap", "md", "lvm", "dm-crypt", "dm", "holder", "btrfs",
 *  "export", "open" */
const char *plx_pci_use_name(enum plx_pci_use_kind kind);
/** plx_pci_use_text - "nvme0n1p1 is mounted on /data". Return: @buf */
char *plx_pci_use_text(const struct plx_pci_use *u, char *buf, size_t len);

/**
 * plx_pci_nvme_names - what the kernel's NVMe driver made of the function
 * @ctrlr: "nvme0"; "" where that driver does not have it
 * @disks: names of block devices, "nvme0n1", the shared ones of native multipath among them; an
 * array for the caller to free(), NULL where there is none
 *
 * Return: 0; -ENOMEM; -errno.
 */
int plx_pci_nvme_names(const struct plx_pci_addr *a, char ctrlr[PLX_PCI_NAME],
		       char (**disks)[PLX_PCI_NAME], size_t *n);

/* ---- files of sysfs, for those who need others than the above ---- */

/**
 * plx_pci_read_text - a small file below the root, without the end of its line
 * @path: absolute, as "/sys/class/nvme/nvme0/model"
 *
 * Return: its length, cut to @len; -errno.
 */
int plx_pci_read_text(const char *path, char *buf, size_t len);
/** plx_pci_write_text - a file below the root that is there, in one write. Return: 0; -errno */
int plx_pci_write_text(const char *path, const char *text);

#endif
