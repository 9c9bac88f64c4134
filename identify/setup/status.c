/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/status.c - what there is, who has it, what uses it
 */
#include "core/text.h"
#include "identify/setup/setup.h"
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 9, CELL = 64 };

/* ---- for people ---- */

static void fill_row(char row[COLUMNS][CELL], const struct setup_device *d)
{
	const struct plx_pci_func *f = &d->f;

	snprintf(row[0], CELL, "%s", f->name);
	snprintf(row[1], CELL, "%s", *f->driver ? f->driver : "-");
	snprintf(row[2], CELL, "%s", *d->model ? d->model : "-");
	snprintf(row[3], CELL, "%s", *d->serial ? d->serial : "-");
	snprintf(row[4], CELL, "%s", *d->firmware ? d->firmware : "-");
	strcpy(row[5], "-");
	if (d->bytes)
		plx_format_size(d->bytes, row[5], CELL);
	strcpy(row[6], "-");
	if (f->numa_node >= 0)
		snprintf(row[6], CELL, "%d", f->numa_node);
	strcpy(row[7], "-");
	if (f->iommu_group >= 0)
		snprintf(row[7], CELL, "%d%s", f->iommu_group, f->noiommu ? " (no IOMMU)" : "");
	strcpy(row[8], d->nuses ? "yes" : *d->set ? "set" : "no");
}

static void print_group(const struct plx_pci_func *f)
{
	struct plx_pci_func *members;
	size_t n;

	if (f->iommu_group < 0 || plx_pci_group(f->iommu_group, &members, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		if (!plx_pci_addr_equal(&members[i].addr, &f->addr))
			printf("    shares IOMMU group %d with %s (%s)\n", f->iommu_group,
			       members[i].name,
			       *members[i].driver ? members[i].driver : "no driver");
	}
	free(members);
}

static void print_details(const struct setup_device *d)
{
	char addr[PLX_PCI_ADDR_TEXT], text[400];

	for (size_t i = 0; i < d->nuses; i++) {
		plx_pci_use_text(&d->uses[i], text, sizeof(text));
		plx_tool_one_line(text);
		printf("    %s\n", text);
	}
	if (*d->set)
		printf("    %s\n", d->set);
	if (d->f.is_vf)
		printf("    virtual function of %s\n", plx_pci_addr_format(&d->f.physfn, addr));
	if (d->f.numvfs)
		printf("    has %u virtual functions\n", d->f.numvfs);
	print_group(&d->f);
}

static void print_text(const struct setup_device *d, size_t n)
{
	static const char *const titles[COLUMNS] = { "Address", "Driver",   "Model",
						     "Serial",	"Firmware", "Size",
						     "NUMA",	"IOMMU",    "In use" };
	char(*rows)[COLUMNS][CELL] = calloc(n + 1, sizeof(*rows));
	size_t widths[COLUMNS] = { 0 };

	if (!rows)
		return;
	for (int c = 0; c < COLUMNS; c++)
		strcpy(rows[0][c], titles[c]);
	for (size_t i = 0; i < n; i++)
		fill_row(rows[i + 1], &d[i]);
	for (size_t i = 0; i <= n; i++) {
		for (int c = 0; c < COLUMNS; c++)
			widths[c] = strlen(rows[i][c]) > widths[c] ? strlen(rows[i][c]) : widths[c];
	}
	for (size_t i = 0; i <= n && n; i++) {
		for (int c = 0; c < COLUMNS; c++)
			printf("%-*s%s", c + 1 < COLUMNS ? (int)widths[c] : 0, rows[i][c],
			       c + 1 < COLUMNS ? "  " : "\n");
		if (i)
			print_details(&d[i - 1]);
	}
	free(rows);
	if (!n)
		puts("no NVMe controllers on the PCI bus");
	putchar('\n');
	setup_hugepages_text(stdout);
}

/* ---- for programs ---- */

static json_t *text_or_null(const char *text)
{
	/* a device may say what is no UTF-8 */
	json_t *j = *text ? json_string(text) : NULL;

	return j ? j : json_null();
}

static json_t *number_or_null(int64_t v)
{
	return v >= 0 ? json_integer(v) : json_null();
}

static json_t *group_json(const struct plx_pci_func *f)
{
	struct plx_pci_func *members = NULL;
	json_t *others = json_array();
	size_t n = 0;

	if (f->iommu_group >= 0 && plx_pci_group(f->iommu_group, &members, &n))
		n = 0;
	for (size_t i = 0; i < n; i++) {
		if (!plx_pci_addr_equal(&members[i].addr, &f->addr))
			json_array_append_new(others,
					      json_pack("{s:s, s:o}", "address", members[i].name,
							"driver", text_or_null(members[i].driver)));
	}
	free(members);
	return others;
}

static json_t *uses_json(const struct setup_device *d)
{
	json_t *uses = json_array();

	for (size_t i = 0; i < d->nuses; i++)
		json_array_append_new(uses, json_pack("{s:s, s:s, s:o}", "how",
						      plx_pci_use_name(d->uses[i].kind), "device",
						      d->uses[i].device, "by",
						      text_or_null(d->uses[i].by)));
	return uses;
}

static json_t *device_json(const struct setup_device *d)
{
	const struct plx_pci_func *f = &d->f;
	json_t *disks = json_array();
	char addr[PLX_PCI_ADDR_TEXT];

	for (size_t i = 0; i < d->ndisks; i++)
		json_array_append_new(disks, json_string(d->disks[i]));
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, "
			 "s:o, s:o, s:o, "
			 "s:i, s:o, s:o, s:o}",
			 "address", f->name, "vendor_id", f->vendor, "device_id", f->device,
			 "subsystem_vendor_id", f->sub_vendor, "subsystem_id", f->sub_device,
			 "model", text_or_null(d->model), "serial", text_or_null(d->serial),
			 "firmware", text_or_null(d->firmware), "size_bytes",
			 d->bytes ? json_integer((json_int_t)d->bytes) : json_null(), "numa_node",
			 number_or_null(f->numa_node), "iommu_group",
			 number_or_null(f->iommu_group), "iommu_unsafe", f->noiommu,
			 "iommu_group_others", group_json(f), "driver", text_or_null(f->driver),
			 "driver_override", text_or_null(f->driver_override), "controller",
			 text_or_null(d->ctrlr), "physical_function",
			 f->is_vf ? json_string(plx_pci_addr_format(&f->physfn, addr))
				  : json_null(),
			 "virtual_functions", f->numvfs, "block_devices", disks, "in_use",
			 uses_json(d), "inactive_set", text_or_null(d->set));
}

static int print_json(const struct setup_device *d, size_t n)
{
	json_t *devices = json_array(), *all;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(devices, device_json(&d[i]));
	all = json_pack("{s:o, s:o}", "devices", devices, "hugepages", setup_hugepages_json());
	if (!all)
		return setup_complain("out of memory");
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
	return PLX_EXIT_OK;
}

int setup_status(const struct setup_options *o)
{
	struct setup_device *d;
	struct setup_state s;
	size_t n;
	int rc = setup_state_open(&s, false);

	/* what is there can be shown without what was */
	rc |= setup_devices_load(o, &s, &d, &n);
	if (!rc || n) {
		if (o->json)
			rc |= print_json(d, n);
		else
			print_text(d, n);
	}
	setup_devices_free(d, n);
	setup_state_close(&s);
	return rc;
}
