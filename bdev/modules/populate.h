/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/populate.h - memory brought in behind a device that is in use already
 */
#ifndef POLLUX_BDEV_POPULATE_H
#define POLLUX_BDEV_POPULATE_H

#include <stdbool.h>
#include <stddef.h>

#define POPULATE_RANGES 2

/** struct populate_range - private anonymous memory, readable and writable */
struct populate_range {
	char *at;
	size_t len; /* bytes, a multiple of 2 MiB; 0: none */
	bool hugetlb; /* of pages that are set aside: they are there, and may still be refused */
};

/** struct populate - from populate_start() to populate_stop(), which every one that was started
 *  needs */
struct populate;

/**
 * populate_start - helper threads make every page of @ranges present and writable
 * @name: of the device, for the log
 *
 * The contents do not change: the memory may be read and written meanwhile. The helpers may run on
 * every CPU of the process, wherever the caller is pinned.
 * Return: NULL with errno EFBIG, logged as a notice: that is too large a part of the machine's
 * memory, that of other devices on its way included: pages come with first use; or ENOMEM, also
 * when no thread can be started.
 */
struct populate *populate_start(const char *name,
				const struct populate_range ranges[POPULATE_RANGES]);
/** populate_status - Return: 0 all is there, or as much as there is without using up the memory
 *  (the rest comes with first use; logged); -EAGAIN not yet; -ENOMEM and so on, logged: it cannot
 *  be had. Any thread. */
int populate_status(const struct populate *p);
/** populate_wait - until it is there or cannot be had. Return: as populate_status(), not -EAGAIN */
int populate_wait(struct populate *p);
/** populate_stop - the helpers end within a slice of 2 MiB each; @p (may be NULL) is gone */
void populate_stop(struct populate *p);

#endif
