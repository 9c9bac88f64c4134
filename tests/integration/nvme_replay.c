/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/integration/nvme_replay.c - for LD_PRELOAD: gives nvme-cli a controller made of files
 *
 * "/dev/nvme0" opens as a character device whose commands are answered from the directory
 * $NVME_REPLAY: Identify from "id-CNS-NSID", Get Log Page from "log-LID", Get Features from
 * "feature-FID" (dword 0 of the completion, then data), I/O commands from "io-OPCODE", all in
 * decimal. What has no file is answered with INVALID FIELD.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/nvme_ioctl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE	      "/dev/nvme0"
#define INVALID_FIELD 2

enum { GET_LOG = 0x02, IDENTIFY = 0x06, GET_FEATURES = 0x0a, IO = 0x100 };

static int device = -1;

static int open_device(void)
{
	device = memfd_create("nvme0", 0);
	return device;
}

int open64(const char *path, int flags, ...)
{
	int (*next)(const char *, int, ...) =
		(int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return strcmp(path, DEVICE) ? next(path, flags, mode) : open_device();
}

/* what open64() is called when the caller was compiled with checks */
int __open64_2(const char *path, int flags);

int __open64_2(const char *path, int flags)
{
	return open64(path, flags);
}

int fstat64(int fd, struct stat64 *st)
{
	int (*next)(int, struct stat64 *) =
		(int (*)(int, struct stat64 *))dlsym(RTLD_NEXT, "fstat64");
	int rc = next(fd, st);

	if (fd == device && !rc)
		st->st_mode = S_IFCHR | 0600;
	return rc;
}

static int file_name(char *name, size_t len, unsigned opcode, unsigned nsid, unsigned cdw10)
{
	const char *dir = getenv("NVME_REPLAY");

	switch (opcode) {
	case IDENTIFY:
		return snprintf(name, len, "%s/id-%u-%u", dir, cdw10 & 0xff, nsid);
	case GET_LOG:
		return snprintf(name, len, "%s/log-%u", dir, cdw10 & 0xff);
	case GET_FEATURES:
		return snprintf(name, len, "%s/feature-%u", dir, cdw10 & 0xff);
	default:
		return opcode < IO ? -1 : snprintf(name, len, "%s/io-%u", dir, opcode - IO);
	}
}

static int answer(unsigned opcode, unsigned nsid, unsigned cdw10, unsigned offset, void *data,
		  unsigned len, unsigned *result)
{
	char name[4096];
	FILE *f = file_name(name, sizeof(name), opcode, nsid, cdw10) < 0 ? NULL : fopen(name, "r");

	if (!f)
		return INVALID_FIELD;
	if (opcode == GET_LOG)
		fseek(f, offset, SEEK_SET);
	if (opcode == GET_FEATURES && fread(result, 1, sizeof(*result), f) != sizeof(*result))
		*result = 0;
	if (len) {
		memset(data, 0, len);
		if (!fread(data, 1, len, f))
			len = 0;
	}
	fclose(f);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, ...) =
		(int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	struct nvme_passthru_cmd *c;
	unsigned result = 0;
	int status;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd != device || fd < 0)
		return next(fd, request, arg);
	if (request == NVME_IOCTL_ID)
		return 1;
	if (request == NVME_IOCTL_ADMIN_CMD || request == NVME_IOCTL_ADMIN64_CMD ||
	    request == NVME_IOCTL_IO_CMD || request == NVME_IOCTL_IO64_CMD) {
		bool io = request == NVME_IOCTL_IO_CMD || request == NVME_IOCTL_IO64_CMD;

		c = arg;
		status = answer(c->opcode + (io ? IO : 0), c->nsid, c->cdw10, c->cdw12,
				(void *)(unsigned long)c->addr, c->data_len, &result);
		/* the two forms differ in their result only */
		if (request == NVME_IOCTL_ADMIN64_CMD || request == NVME_IOCTL_IO64_CMD)
			((struct nvme_passthru_cmd64 *)arg)->result = result;
		else
			c->result = result;
		return status;
	}
	errno = ENOTTY;
	return -1;
}
