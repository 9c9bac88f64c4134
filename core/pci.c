/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/pci.c - reading PCI functions from sysfs
 */
#include "core/pci_internal.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[PCI_PATH / 2];

int plx_pci_set_root(const char *dir)
{
	size_t n = dir ? strlen(dir) : 0;

	while (n && dir[n - 1] == '/')
		n--;
	if (n >= sizeof(root))
		return -ENAMETOOLONG;
	if (n)
		memcpy(root, dir, n);
	root[n] = '\0';
	return 0;
}

const char *plx_pci_root(void)
{
	return root;
}

/* ---- files ---- */

int pci_path(char out[PCI_PATH], const char *fmt, ...)
{
	size_t n = strlen(root);
	va_list ap;
	int more;

	memcpy(out, root, n);
	va_start(ap, fmt);
	more = vsnprintf(out + n, PCI_PATH - n, fmt, ap);
	va_end(ap);
	return more < 0 || (size_t)more >= PCI_PATH - n ? -ENAMETOOLONG : 0;
}

int plx_pci_read_text(const char *path, char *buf, size_t len)
{
	char full[PCI_PATH];
	ssize_t n;
	int fd, rc = pci_path(full, "%s", path);

	if (rc)
		return rc;
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	rc = n < 0 ? -errno : 0;
	close(fd);
	if (rc)
		return rc;
	while (n && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
		n--;
	buf[n] = '\0';
	return (int)n;
}

int plx_pci_write_text(const char *path, const char *text)
{
	size_t len = strlen(text);
	char full[PCI_PATH];
	ssize_t n;
	int fd, rc = pci_path(full, "%s", path);

	if (rc)
		return rc;
	fd = open(full, O_WRONLY | O_TRUNC | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	rc = n < 0 ? -errno : (size_t)n < len ? -EIO : 0;
	close(fd);
	return rc;
}

int pci_link_name(char *out, size_t len, const char *path)
{
	char target[PCI_PATH], *base;
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	base = strrchr(target, '/');
	base = base ? base + 1 : target;
	if (strlen(base) >= len)
		return -EPROTO;
	strcpy(out, base);
	return 0;
}

/* ---- addresses ---- */

static int refuse(char *err, size_t errlen, const char *text)
{
	if (errlen)
		snprintf(
			err, errlen,
			"'%.40s' is no PCI address: use domain:bus:device.function in hexadecimal, "
			"as in 0000:04:00.0 or 04:00.0",
			text);
	return -EINVAL;
}

/* Up to @digits hexadecimal digits. Return: what is behind them; NULL where there is none */
static const char *take_hex(const char *s, int digits, uint32_t *v)
{
	int n = 0;

	*v = 0;
	for (; n < digits && isxdigit((unsigned char)s[n]); n++)
		*v = *v << 4 |
		     (uint32_t)(isdigit((unsigned char)s[n]) ? s[n] - '0' : (s[n] | 32) - 'a' + 10);
	return n ? s + n : NULL;
}

int plx_pci_addr_parse(const char *text, struct plx_pci_addr *out, char *err, size_t errlen)
{
	uint32_t part[4];
	const char *s = text;
	int n = 0;

	for (; n < 4; n++) {
		s = take_hex(s, 8, &part[n]);
		if (!s)
			return refuse(err, errlen, text);
		if (!*s) {
			n++;
			break;
		}
		if (*s != ':' && *s != '.')
			return refuse(err, errlen, text);
		s++;
	}
	if (n < 3 || s[0] || s[-1] == ':' || s[-1] == '.')
		return refuse(err, errlen, text);
	if (n == 3) {
		memmove(&part[1], &part[0], 3 * sizeof(part[0]));
		part[0] = 0;
	}
	if (part[1] > 0xff || part[2] > 0x1f || part[3] > 7)
		return refuse(err, errlen, text);
	*out = (struct plx_pci_addr){ part[0], (uint8_t)part[1], (uint8_t)part[2],
				      (uint8_t)part[3] };
	return 0;
}

char *plx_pci_addr_format(const struct plx_pci_addr *a, char buf[PLX_PCI_ADDR_TEXT])
{
	snprintf(buf, PLX_PCI_ADDR_TEXT, "%04" PRIx32 ":%02x:%02x.%x", a->domain, a->bus, a->dev,
		 a->fn & 7u);
	return buf;
}

bool plx_pci_addr_equal(const struct plx_pci_addr *a, const struct plx_pci_addr *b)
{
	return a->domain == b->domain && a->bus == b->bus && a->dev == b->dev && a->fn == b->fn;
}

/* ---- one function ---- */

int pci_func_path(char out[PCI_PATH], const struct plx_pci_addr *a, const char *file)
{
	char name[PLX_PCI_ADDR_TEXT];

	return pci_path(out, PCI_DEVICES "/%s/%s", plx_pci_addr_format(a, name), file);
}

static int read_attribute(const struct plx_pci_func *f, const char *file, char *buf, size_t len)
{
	char path[PCI_PATH];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", f->name, file);
	return plx_pci_read_text(path, buf, len);
}

/* 0x-prefixed or decimal. Return: 0; -errno; -EPROTO for no number or one above @max */
static int read_number(const struct plx_pci_func *f, const char *file, uint64_t max, uint64_t *v)
{
	char text[64], *end;
	int rc = read_attribute(f, file, text, sizeof(text));

	if (rc < 0)
		return rc;
	errno = 0;
	*v = strtoull(text, &end, 0);
	return errno || end == text || *end || *text == '-' || *v > max ? -EPROTO : 0;
}

static int read_ids(struct plx_pci_func *f)
{
	uint64_t v[6] = { 0 };
	int rc = read_number(f, "vendor", UINT16_MAX, &v[0]);

	rc = rc ? rc : read_number(f, "device", UINT16_MAX, &v[1]);
	rc = rc ? rc : read_number(f, "class", 0xffffff, &v[2]);
	if (rc)
		return rc;
	/* what follows is not there in every kernel and on every bus */
	if (read_number(f, "subsystem_vendor", UINT16_MAX, &v[3]) ||
	    read_number(f, "subsystem_device", UINT16_MAX, &v[4]))
		v[3] = v[4] = 0;
	if (read_number(f, "revision", UINT8_MAX, &v[5]))
		v[5] = 0;
	f->vendor = (uint16_t)v[0];
	f->device = (uint16_t)v[1];
	f->class = (uint32_t)v[2];
	f->sub_vendor = (uint16_t)v[3];
	f->sub_device = (uint16_t)v[4];
	f->revision = (uint8_t)v[5];
	return 0;
}

static void read_bars(struct plx_pci_func *f)
{
	char text[2048], *line = text;

	if (read_attribute(f, "resource", text, sizeof(text)) < 0)
		return;
	for (int i = 0; i < PLX_PCI_BARS && line; i++) {
		uint64_t start, end, flags;

		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &start, &end, &flags) == 3 &&
		    end > start)
			f->bars[i] = (struct plx_pci_bar){ start, end - start + 1, flags };
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
}

static int read_link(const struct plx_pci_func *f, const char *file, char *out, size_t len)
{
	char path[PCI_PATH];
	int rc = pci_func_path(path, &f->addr, file);

	return rc ? rc : pci_link_name(out, len, path);
}

static void read_group(struct plx_pci_func *f)
{
	char text[32], path[96], *end;
	long v;

	f->iommu_group = -1;
	if (read_link(f, "iommu_group", text, sizeof(text)))
		return;
	v = strtol(text, &end, 10);
	if (end == text || *end || v < 0 || v > INT_MAX)
		return;
	f->iommu_group = (int)v;
	snprintf(path, sizeof(path), PCI_GROUPS "/%d/name", f->iommu_group);
	if (plx_pci_read_text(path, text, sizeof(text)) > 0)
		f->noiommu = !strcmp(text, "vfio-noiommu");
}

static void read_driver(struct plx_pci_func *f)
{
	if (read_link(f, "driver", f->driver, sizeof(f->driver)))
		*f->driver = '\0';
	if (read_attribute(f, "driver_override", f->driver_override, sizeof(f->driver_override)) <
		    0 ||
	    !strcmp(f->driver_override, "(null)"))
		*f->driver_override = '\0';
}

static void read_rest(struct plx_pci_func *f)
{
	char text[PLX_PCI_ADDR_TEXT];
	uint64_t v;

	f->numa_node = read_number(f, "numa_node", INT_MAX, &v) ? -1 : (int)v;
	f->enabled = !read_number(f, "enable", INT_MAX, &v) && v;
	f->numvfs = read_number(f, "sriov_numvfs", UINT16_MAX, &v) ? 0 : (uint16_t)v;
	f->totalvfs = read_number(f, "sriov_totalvfs", UINT16_MAX, &v) ? 0 : (uint16_t)v;
	f->is_vf = !read_link(f, "physfn", text, sizeof(text)) &&
		   !plx_pci_addr_parse(text, &f->physfn, NULL, 0);
}

int plx_pci_read(const struct plx_pci_addr *a, struct plx_pci_func *out)
{
	struct plx_pci_func f = { .addr = *a };
	char path[PCI_PATH];
	int rc = pci_func_path(path, a, "");

	if (rc)
		return rc;
	plx_pci_addr_format(a, f.name);
	if (access(path, F_OK))
		return errno == ENOENT ? -ENODEV : -errno;
	rc = read_ids(&f);
	if (rc) /* gone meanwhile? */
		return access(path, F_OK) ? -ENODEV : rc;
	read_driver(&f);
	read_group(&f);
	read_bars(&f);
	read_rest(&f);
	*out = f;
	return 0;
}

/* ---- several ---- */

static int by_address(const void *a, const void *b)
{
	const struct plx_pci_addr *x = &((const struct plx_pci_func *)a)->addr;
	const struct plx_pci_addr *y = &((const struct plx_pci_func *)b)->addr;
	uint64_t kx = (uint64_t)x->domain << 24 | x->bus << 16 | x->dev << 8 | x->fn;
	uint64_t ky = (uint64_t)y->domain << 24 | y->bus << 16 | y->dev << 8 | y->fn;

	return (kx > ky) - (kx < ky);
}

struct found {
	struct plx_pci_func *f;
	size_t n;
};

static int take_entry(const char *name, uint32_t class, uint32_t mask, struct found *found)
{
	struct plx_pci_addr a;
	struct plx_pci_func f, *more;

	if (plx_pci_addr_parse(name, &a, NULL, 0) || plx_pci_read(&a, &f) ||
	    ((f.class ^ class) & mask))
		return 0;
	more = realloc(found->f, (found->n + 1) * sizeof(f));
	if (!more)
		return -ENOMEM;
	found->f = more;
	found->f[found->n++] = f;
	return 0;
}

static int list(const char *dir, uint32_t class, uint32_t mask, struct plx_pci_func **out,
		size_t *n)
{
	struct found found = { 0 };
	struct dirent *e;
	DIR *d = opendir(dir);
	int rc = 0;

	*out = NULL;
	*n = 0;
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (!rc && (e = readdir(d)))
		rc = take_entry(e->d_name, class, mask, &found);
	closedir(d);
	if (rc) {
		free(found.f);
		return rc;
	}
	if (found.n)
		qsort(found.f, found.n, sizeof(*found.f), by_address);
	*out = found.f;
	*n = found.n;
	return 0;
}

int plx_pci_list(uint32_t class, uint32_t mask, struct plx_pci_func **out, size_t *n)
{
	char dir[PCI_PATH];
	int rc = pci_path(dir, PCI_DEVICES);

	return rc ? rc : list(dir, class, mask, out, n);
}

int plx_pci_group(int group, struct plx_pci_func **out, size_t *n)
{
	char dir[PCI_PATH];
	int rc = pci_path(dir, PCI_GROUPS "/%d/devices", group);

	return rc ? rc : list(dir, 0, 0, out, n);
}

bool plx_pci_group_tolerates(const struct plx_pci_func *f)
{
	size_t n = strlen(f->driver);

	return !n || !strcmp(f->driver, "vfio-pci") || !strcmp(f->driver, "pci-stub") ||
	       !strcmp(f->driver, "pcieport") || (n > 9 && !strcmp(f->driver + n - 9, "-vfio-pci"));
}

/* ---- configuration space ---- */

/* Into @in, or out of @out */
static int config_io(const struct plx_pci_addr *a, uint32_t offset, void *in, const void *out,
		     size_t len)
{
	char path[PCI_PATH];
	int fd, rc = pci_func_path(path, a, "config");
	ssize_t n;

	if (rc)
		return rc;
	fd = open(path, (out ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	n = out ? pwrite(fd, out, len, offset) : pread(fd, in, len, offset);
	rc = n < 0 ? -errno : (size_t)n < len ? -ENODATA : 0;
	close(fd);
	return rc;
}

int plx_pci_config_read(const struct plx_pci_addr *a, uint32_t offset, void *buf, size_t len)
{
	return config_io(a, offset, buf, NULL, len);
}

int plx_pci_config_write(const struct plx_pci_addr *a, uint32_t offset, const void *buf, size_t len)
{
	return config_io(a, offset, NULL, buf, len);
}
