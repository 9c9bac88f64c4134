/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/status.c - names of I/O types; SCSI sense for a status (NVM Express: SCSI Translation
 * Reference 1.5 §7)
 */
#include <errno.h>
#include <string.h>

#include <pollux/bdev.h>

static const char *const type_names[PLX_BDEV_IO_TYPES] = {
	[PLX_BDEV_READ] = "read",
	[PLX_BDEV_WRITE] = "write",
	[PLX_BDEV_FLUSH] = "flush",
	[PLX_BDEV_UNMAP] = "unmap",
	[PLX_BDEV_WRITE_ZEROES] = "write_zeroes",
	[PLX_BDEV_COMPARE] = "compare",
	[PLX_BDEV_COMPARE_AND_WRITE] = "compare_and_write",
	[PLX_BDEV_VERIFY] = "verify",
	[PLX_BDEV_COPY] = "copy",
	[PLX_BDEV_RESET] = "reset",
	[PLX_BDEV_ABORT] = "abort",
};

const char *plx_bdev_io_type_name(enum plx_bdev_io_type t)
{
	return (unsigned)t < PLX_BDEV_IO_TYPES ? type_names[t] : "unknown";
}

int plx_bdev_io_type_parse(const char *name)
{
	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++)
		if (!strcmp(type_names[t], name))
			return t;
	return -EINVAL;
}

enum { SCSI_GOOD = 0x00, SCSI_CHECK = 0x02, SCSI_RESERVATION = 0x18, SCSI_ABORTED = 0x40 };
enum {
	KEY_NONE = 0x0,
	KEY_NOT_READY = 0x2,
	KEY_MEDIUM = 0x3,
	KEY_HARDWARE = 0x4,
	KEY_ILLEGAL = 0x5,
	KEY_PROTECT = 0x7,
	KEY_ABORTED = 0xb,
	KEY_MISCOMPARE = 0xe,
};

struct plx_scsi_sense plx_bdev_scsi_sense(uint16_t status)
{
	static const struct {
		uint16_t nvme;
		struct plx_scsi_sense sense;
	} table[] = {
		/* generic command status */
		{ 0x000, { SCSI_GOOD, KEY_NONE, 0x00, 0x00 } },
		{ 0x001,
		  { SCSI_CHECK, KEY_ILLEGAL, 0x20, 0x00 } }, /* invalid command operation code */
		{ 0x002, { SCSI_CHECK, KEY_ILLEGAL, 0x24, 0x00 } }, /* invalid field in CDB */
		{ 0x004, { SCSI_CHECK, KEY_MEDIUM, 0x00, 0x00 } }, /* data transfer error */
		{ 0x005,
		  { SCSI_ABORTED, KEY_ABORTED, 0x0b, 0x08 } }, /* aborted due to power loss */
		{ 0x006, { SCSI_CHECK, KEY_HARDWARE, 0x44, 0x00 } }, /* internal target failure */
		{ 0x007, { SCSI_ABORTED, KEY_ABORTED, 0x00, 0x00 } },
		{ 0x008, { SCSI_ABORTED, KEY_ABORTED, 0x00, 0x00 } }, /* submission queue deleted */
		{ 0x009, { SCSI_ABORTED, KEY_ABORTED, 0x00, 0x00 } }, /* failed fused command */
		{ 0x00a, { SCSI_ABORTED, KEY_ABORTED, 0x00, 0x00 } }, /* missing fused command */
		{ 0x00b, { SCSI_CHECK, KEY_ILLEGAL, 0x20, 0x09 } }, /* invalid LU identifier */
		{ 0x020,
		  { SCSI_CHECK, KEY_PROTECT, 0x27, 0x00 } }, /* namespace is write protected */
		{ 0x080, { SCSI_CHECK, KEY_ILLEGAL, 0x21, 0x00 } }, /* LBA out of range */
		{ 0x081, { SCSI_CHECK, KEY_NONE, 0x00, 0x00 } }, /* capacity exceeded */
		{ 0x082, { SCSI_CHECK, KEY_NOT_READY, 0x04, 0x00 } },
		{ 0x083, { SCSI_RESERVATION, KEY_NONE, 0x00, 0x00 } },
		{ 0x084, { SCSI_CHECK, KEY_NOT_READY, 0x04, 0x04 } }, /* format in progress */
		/* command specific status */
		{ 0x181,
		  { SCSI_CHECK, KEY_ILLEGAL, 0x20, 0x0b } }, /* invalid protection information */
		{ 0x182, { SCSI_CHECK, KEY_PROTECT, 0x27, 0x00 } }, /* write to a read-only range */
		/* media and data integrity errors */
		{ 0x280,
		  { SCSI_CHECK, KEY_MEDIUM, 0x03, 0x00 } }, /* peripheral device write fault */
		{ 0x281, { SCSI_CHECK, KEY_MEDIUM, 0x11, 0x00 } }, /* unrecovered read error */
		{ 0x282, { SCSI_CHECK, KEY_ABORTED, 0x10, 0x01 } }, /* guard check failed */
		{ 0x283,
		  { SCSI_CHECK, KEY_ABORTED, 0x10, 0x02 } }, /* application tag check failed */
		{ 0x284, { SCSI_CHECK, KEY_ABORTED, 0x10, 0x03 } }, /* reference tag check failed */
		{ 0x285, { SCSI_CHECK, KEY_MISCOMPARE, 0x1d, 0x00 } },
		{ 0x286,
		  { SCSI_CHECK, KEY_PROTECT, 0x20, 0x02 } }, /* access denied: no access rights */
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(table); i++)
		if (table[i].nvme == status)
			return table[i].sense;
	return (struct plx_scsi_sense){ SCSI_CHECK, KEY_HARDWARE, 0x44, 0x00 };
}
