/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/setup.h - what the files of plx-setup share
 *
 * One thread. Functions return an enum plx_exit unless they say otherwise, and have said on
 * standard error why it is not PLX_EXIT_OK.
 */
#ifndef IDENTIFY_SETUP_H
#define IDENTIFY_SETUP_H

#include "core/pci.h"
#include "core/tool.h"
#include <jansson.h>
#include <stdio.h>

#define SETUP_NAME   "plx-setup"
#define SETUP_VFIO   "vfio-pci"
#define SETUP_UIO    "uio_pci_generic"
#define SETUP_KERNEL "nvme"

/* ---- options.c ---- */

enum setup_command {
	SETUP_STATUS,
	SETUP_BIND,
	SETUP_UNBIND,
	SETUP_RESET,
	SETUP_HUGEPAGES,
	SETUP_RESTORE,
	SETUP_HELP,
	SETUP_VERSION,
};

struct setup_options {
	enum setup_command command;
	struct plx_pci_addr *addrs; /* each once */
	size_t naddrs;
	bool all_free;
	const char *driver; /* NULL: to be chosen */
	const char **pages; /* "64", "64@0" */
	size_t npages;
	uint64_t page_kib; /* 0: the kernel's default */
	const char *user; /* NULL: the device files stay root's */
	const char *root;
	bool json, dry_run, persist, force;
};

/** setup_options_parse - Return: 0; -EINVAL with a sentence in @err. Either way to be freed */
int setup_options_parse(struct setup_options *o, int argc, char **argv, char *err, size_t errlen);
void setup_options_free(struct setup_options *o);
void setup_options_help(FILE *f);

/* ---- main.c ---- */

/** setup_complain - one line on standard error. Return: PLX_EXIT_FAILED */
int setup_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** setup_interrupted - a signal asks to stop where that leaves nothing half done */
bool setup_interrupted(void);

/* ---- state.c: what there was before, /run/pollux/setup.json ---- */

/* "devices": { address: object of state.c }, "owners" and "hugepages": arrays */
struct setup_state {
	json_t *json;
	int lock; /* -1: only looked at */
};

/** setup_state_open - @to_change: nobody else may, until it is closed */
int setup_state_open(struct setup_state *s, bool to_change);
void setup_state_close(struct setup_state *s);
/** setup_state_save - what is in @json; no file where that is nothing */
int setup_state_save(const struct setup_state *s);
/** setup_state_device - the entry of a function, if it is that one still; NULL */
json_t *setup_state_device(const struct setup_state *s, const struct plx_pci_func *f);

/* ---- device.c ---- */

struct setup_device {
	struct plx_pci_func f;
	char ctrlr[PLX_PCI_NAME]; /* "nvme0"; "" */
	char (*disks)[PLX_PCI_NAME];
	size_t ndisks;
	char model[44], serial[24], firmware[12]; /* "": not known */
	uint64_t bytes; /* of all namespaces; 0: not known, or none */
	struct plx_pci_use *uses;
	size_t nuses;
	char set[96]; /* "nvme0n1p1 carries the signature of a ZFS pool"; "" */
};

/** setup_device_load - all about one function. Return: 0 or -errno, nothing to free */
int setup_device_load(struct setup_device *d, const struct plx_pci_func *f,
		      const struct setup_state *state);
void setup_device_free(struct setup_device *d);
/** setup_devices_load - those of the options; all NVMe controllers where none is named
 *  @out, @n: for setup_devices_free(), in any case */
int setup_devices_load(const struct setup_options *o, const struct setup_state *state,
		       struct setup_device **out, size_t *n);
void setup_devices_free(struct setup_device *d, size_t n);
/** setup_signature - whether a set that is not active claims the disk or a partition of it:
 *  signature.c. Return: a sentence in @out, "" where none does */
void setup_signature(const char *disk, char *out, size_t len);
/** setup_device_refuse - says on standard error what uses the device, and what to do. Return:
 *  whether anything does */
bool setup_device_refuse(const struct setup_device *d, bool force);

/* ---- driver.c ---- */

/** setup_run - a program to its end. @out: the last line of what it said. Return: its exit code;
 *  -ENOENT there is none; -errno */
int setup_run(const char *const argv[], char *out, size_t len);
/** setup_find_program - as a shell would, and in the directories of the administrator's programs */
bool setup_find_program(const char *name, char out[256]);
/** setup_choose_driver - the userspace driver for a function. Return: NULL after saying why not */
const char *setup_choose_driver(const struct plx_pci_func *f);
/** setup_load_driver - the driver is in the kernel, or is loaded now */
int setup_load_driver(const char *driver, bool dry_run);
/** setup_switch - @driver ("": none) gets the function, by that override; else all is as it was,
 *  or a message says that no driver has it */
int setup_switch(const struct plx_pci_func *f, const char *driver, const char *override);
/** setup_persist - lets driverctl remember a driver, or forget it where that is "" */
int setup_persist(const struct plx_pci_func *f, const char *driver, bool dry_run);

/* ---- the commands ---- */

int setup_status(const struct setup_options *o);
int setup_bind(const struct setup_options *o);
int setup_unbind(const struct setup_options *o);
int setup_reset(const struct setup_options *o);
int setup_hugepages(const struct setup_options *o);
int setup_restore(const struct setup_options *o);

/** setup_report - one thing that was done, or would be: a line, or with --json an object that
 *  setup_report_end() prints with the others. @device: address or what else was changed */
void setup_report(const struct setup_options *o, const char *device, const char *from,
		  const char *to);
void setup_report_end(const struct setup_options *o);

/* ---- hugepages.c ---- */

json_t *setup_hugepages_json(void);
void setup_hugepages_text(FILE *f);
/** setup_hugepages_restore - the counts of the state, which loses those that were restored */
int setup_hugepages_restore(const struct setup_options *o, struct setup_state *s);

#endif
