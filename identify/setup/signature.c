/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/signature.c - whether a disk belongs to a set that nobody has activated
 *
 * Such a disk looks free, and the set would be broken by its loss: an exported ZFS pool, an MD set
 * or a volume group that is not assembled.
 */
#include "identify/setup/setup.h"
#include <blkid/blkid.h>
#include <dirent.h>
#include <limits.h>
#include <string.h>

/* Return: 1 with a sentence in @out; 0 where there is none, or the device may not be read */
static int probe(const char *name, char *out, size_t len)
{
	const char *usage = NULL, *type = NULL;
	char path[PATH_MAX];
	blkid_probe pr;
	int found = 0, rc;

	snprintf(path, sizeof(path), "%s/dev/%s", plx_pci_root(), name);
	pr = blkid_new_probe_from_filename(path);
	if (!pr)
		return 0;
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
	rc = blkid_do_safeprobe(pr);
	if (!rc && !blkid_probe_lookup_value(pr, "USAGE", &usage, NULL) &&
	    !blkid_probe_lookup_value(pr, "TYPE", &type, NULL)) {
		/* "raid" is libblkid's word for members of any kind of set */
		found = !strcmp(usage, "raid") || !strcmp(type, "zfs_member");
		if (found)
			snprintf(out, len, "%s carries the signature of a set, %.40s", name, type);
	} else if (rc == -2) { /* more than one: a set may be among them */
		found = 1;
		snprintf(out, len, "%s carries several signatures", name);
	}
	blkid_free_probe(pr);
	return found;
}

void setup_signature(const char *disk, char *out, size_t len)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	*out = '\0';
	if (probe(disk, out, len))
		return;
	snprintf(path, sizeof(path), "%s/sys/block/%s", plx_pci_root(), disk);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		/* partitions are directories named after their disk */
		if (!strncmp(e->d_name, disk, strlen(disk)) && strlen(e->d_name) < PLX_PCI_NAME &&
		    probe(e->d_name, out, len))
			break;
	}
	if (d)
		closedir(d);
}
