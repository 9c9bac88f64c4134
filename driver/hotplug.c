/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/hotplug.c - NVMe functions that come and go, as the kernel tells it (uevents)
 */
#include "driver/hotplug.h"
#include "driver/nvme_internal.h"
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KERNEL_GROUP   1 /* what the kernel sends; udev has a group of its own */
#define RECEIVE_BUFFER (1 << 20) /* a tree of devices that comes at once */
#define MAX_EVENT      8192

struct plx_nvme_hotplug {
	int fd;
};

struct plx_nvme_hotplug *plx_nvme_hotplug_open(void)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP };
	struct plx_nvme_hotplug *h = malloc(sizeof(*h));
	int bytes = RECEIVE_BUFFER, err;

	if (!h)
		return NULL;
	h->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       NETLINK_KOBJECT_UEVENT);
	if (h->fd < 0 || bind(h->fd, (struct sockaddr *)&nl, sizeof(nl))) {
		err = errno;
		nvme_log(ERR, "the kernel's device events cannot be received: %s", strerror(err));
		plx_nvme_hotplug_close(h);
		errno = err;
		return NULL;
	}
	setsockopt(h->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return h;
}

void plx_nvme_hotplug_close(struct plx_nvme_hotplug *h)
{
	if (!h)
		return;
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

int plx_nvme_hotplug_fd(const struct plx_nvme_hotplug *h)
{
	return h->fd;
}

/* The value of a line "KEY=value"; NULL: it is another */
static const char *value_of(const char *line, const char *key)
{
	size_t n = strlen(key);

	return !strncmp(line, key, n) && line[n] == '=' ? line + n + 1 : NULL;
}

static bool kind_of(const char *action, enum plx_nvme_hotplug_kind *kind)
{
	static const char *const actions[] = {
		[PLX_NVME_HOTPLUG_ADDED] = "add",
		[PLX_NVME_HOTPLUG_REMOVED] = "remove",
		[PLX_NVME_HOTPLUG_BOUND] = "bind",
		[PLX_NVME_HOTPLUG_UNBOUND] = "unbind",
	};

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(actions); i++) {
		if (strcmp(action, actions[i]))
			continue;
		*kind = (enum plx_nvme_hotplug_kind)i;
		return true;
	}
	return false;
}

bool hotplug_parse(const char *msg, size_t len, struct plx_nvme_hotplug_event *ev)
{
	bool kind = false, pci = false, nvme = false;
	const char *v;

	memset(ev, 0, sizeof(*ev));
	for (size_t at = 0, n; at < len; at += n + 1) {
		const char *line = msg + at;

		n = strnlen(line, len - at);
		if (n == len - at)
			break; /* cut off */
		if ((v = value_of(line, "ACTION")))
			kind = kind_of(v, &ev->kind);
		else if ((v = value_of(line, "SUBSYSTEM")))
			pci = !strcmp(v, "pci");
		else if ((v = value_of(line, "PCI_CLASS"))) /* in hexadecimal */
			nvme = strtoul(v, NULL, 16) == 0x010802;
		else if ((v = value_of(line, "PCI_SLOT_NAME")))
			snprintf(ev->traddr, sizeof(ev->traddr), "%s", v);
		else if ((v = value_of(line, "DRIVER")))
			snprintf(ev->driver, sizeof(ev->driver), "%s", v);
	}
	return kind && pci && nvme && *ev->traddr;
}

int plx_nvme_hotplug_next(struct plx_nvme_hotplug *h, struct plx_nvme_hotplug_event *ev)
{
	char msg[MAX_EVENT];

	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(h->fd, msg, sizeof(msg), 0, (struct sockaddr *)&from, &size);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		/* any process may send to this socket; the kernel is number 0 */
		if (!from.nl_pid && hotplug_parse(msg, (size_t)n, ev))
			return 1;
	}
}
