/* SPDX-License-Identifier: BSD-3-Clause */
/* driver/hotplug.h - what the tests see of hotplug.c */
#ifndef POLLUX_DRIVER_HOTPLUG_H
#define POLLUX_DRIVER_HOTPLUG_H

#include <pollux/nvme.h>

/** hotplug_parse - a uevent: lines that end in a zero byte. Return: whether it is of an NVMe
 *  function, and of a kind that is told */
bool hotplug_parse(const char *msg, size_t len, struct plx_nvme_hotplug_event *ev);

#endif
