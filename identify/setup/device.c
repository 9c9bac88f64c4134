/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/device.c - all about one NVMe controller, without disturbing it
 */
#include "identify/setup/setup.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void read_name(char *out, size_t len, const char *ctrlr, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/%s", ctrlr, file);
	if (plx_pci_read_text(path, out, len) < 0)
		*out = '\0';
	plx_tool_one_line(out);
}

static uint64_t disk_bytes(const char *disk)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), "/sys/block/%s/size", disk);
	if (plx_pci_read_text(path, text, sizeof(text)) <= 0)
		return 0;
	return strtoull(text, NULL, 10) * 512; /* whatever the size of its blocks */
}

/* What was known when the kernel's driver had it */
static void remember(struct setup_device *d, const json_t *entry)
{
	const struct {
		const char *key;
		char *out;
		size_t len;
	} names[] = {
		{ "model", d->model, sizeof(d->model) },
		{ "serial", d->serial, sizeof(d->serial) },
		{ "firmware", d->firmware, sizeof(d->firmware) },
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(names); i++) {
		const char *text = json_string_value(json_object_get(entry, names[i].key));

		snprintf(names[i].out, names[i].len, "%s", text ? text : "");
		plx_tool_one_line(names[i].out);
	}
	d->bytes = (uint64_t)json_integer_value(json_object_get(entry, "bytes"));
}

int setup_device_load(struct setup_device *d, const struct plx_pci_func *f,
		      const struct setup_state *state)
{
	const json_t *entry = setup_state_device(state, f);
	int rc;

	*d = (struct setup_device){ .f = *f };
	rc = plx_pci_nvme_names(&f->addr, d->ctrlr, &d->disks, &d->ndisks);
	if (!rc)
		rc = plx_pci_uses(f, &d->uses, &d->nuses);
	if (rc) {
		setup_device_free(d);
		return rc;
	}
	if (*d->ctrlr) {
		read_name(d->model, sizeof(d->model), d->ctrlr, "model");
		read_name(d->serial, sizeof(d->serial), d->ctrlr, "serial");
		read_name(d->firmware, sizeof(d->firmware), d->ctrlr, "firmware_rev");
	} else if (entry) {
		remember(d, entry);
	}
	for (size_t i = 0; i < d->ndisks; i++) {
		d->bytes += disk_bytes(d->disks[i]);
		if (!*d->set)
			setup_signature(d->disks[i], d->set, sizeof(d->set));
	}
	return 0;
}

void setup_device_free(struct setup_device *d)
{
	free(d->disks);
	free(d->uses);
	d->disks = NULL;
	d->uses = NULL;
}

void setup_devices_free(struct setup_device *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		setup_device_free(&d[i]);
	free(d);
}

static int load_listed(const struct setup_state *state, struct setup_device **out, size_t *n)
{
	struct plx_pci_func *f;
	size_t nf;
	int rc = plx_pci_list(PLX_PCI_CLASS_NVME, 0xffffff, &f, &nf);

	if (rc)
		return setup_complain("%s/sys/bus/pci/devices: %s", plx_pci_root(), strerror(-rc));
	*out = calloc(nf + 1, sizeof(**out));
	for (size_t i = 0; *out && !rc && i < nf; i++) {
		rc = setup_device_load(&(*out)[*n], &f[i], state);
		*n += !rc;
	}
	free(f);
	return *out && !rc ? PLX_EXIT_OK : setup_complain("out of memory");
}

static int load_named(const struct plx_pci_addr *a, const struct setup_state *state,
		      struct setup_device *d)
{
	char name[PLX_PCI_ADDR_TEXT];
	struct plx_pci_func f;
	int rc = plx_pci_read(a, &f);

	plx_pci_addr_format(a, name);
	if (rc)
		return setup_complain("%s: %s", name,
				      rc == -ENODEV
					      ? "no such device: 'plx-setup status' lists them"
					      : strerror(-rc));
	if (f.class != PLX_PCI_CLASS_NVME)
		return setup_complain(
			"%s is not an NVMe controller (class %06x, not %06x): 'plx-setup "
			"status' lists those",
			name, f.class, PLX_PCI_CLASS_NVME);
	rc = setup_device_load(d, &f, state);
	return rc ? setup_complain("%s: %s", name, strerror(-rc)) : PLX_EXIT_OK;
}

static int by_group(const void *a, const void *b)
{
	const struct plx_pci_func *x = &((const struct setup_device *)a)->f;
	const struct plx_pci_func *y = &((const struct setup_device *)b)->f;

	if (x->iommu_group != y->iommu_group)
		return x->iommu_group < y->iommu_group ? -1 : 1;
	return strcmp(x->name, y->name);
}

int setup_devices_load(const struct setup_options *o, const struct setup_state *state,
		       struct setup_device **out, size_t *n)
{
	int rc = PLX_EXIT_OK;

	*out = NULL;
	*n = 0;
	if (!o->naddrs) {
		rc = load_listed(state, out, n);
	} else {
		*out = calloc(o->naddrs, sizeof(**out));
		if (!*out)
			return setup_complain("out of memory");
		/* all of them, for all messages at once */
		for (size_t i = 0; i < o->naddrs; i++) {
			int one = load_named(&o->addrs[i], state, &(*out)[*n]);

			rc |= one;
			*n += !one;
		}
	}
	/* an IOMMU group is one thing to hand over */
	if (*n && o->command != SETUP_STATUS)
		qsort(*out, *n, sizeof(**out), by_group);
	return rc;
}

bool setup_device_refuse(const struct setup_device *d, bool force)
{
	static const char *const remedies[] = {
		[PLX_PCI_USE_MOUNT] = "unmount it first",
		[PLX_PCI_USE_SWAP] = "swapoff it first",
		[PLX_PCI_USE_MD] = "stop that first (mdadm --stop)",
		[PLX_PCI_USE_LVM] = "deactivate that first (lvchange -an)",
		[PLX_PCI_USE_CRYPT] = "close that first (cryptsetup close)",
		[PLX_PCI_USE_DM] = "remove that first (dmsetup remove)",
		[PLX_PCI_USE_HOLDER] = "stop that first",
		[PLX_PCI_USE_BTRFS] = "unmount it first",
		[PLX_PCI_USE_EXPORT] = "end that first",
		[PLX_PCI_USE_OPEN] = "close it first",
	};
	char text[400];

	for (size_t i = 0; i < d->nuses; i++)
		setup_complain("%s: %s: %s", d->f.name,
			       plx_pci_use_text(&d->uses[i], text, sizeof(text)),
			       remedies[d->uses[i].kind]);
	if (d->nuses)
		return true;
	if (!*d->set || force)
		return false;
	setup_complain("%s: %s, which is not active: --force takes the device nevertheless",
		       d->f.name, d->set);
	return true;
}
