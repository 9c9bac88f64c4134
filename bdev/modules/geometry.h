/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/modules/geometry.h - what the modules that invent their devices have in common
 */
#ifndef POLLUX_BDEV_GEOMETRY_H
#define POLLUX_BDEV_GEOMETRY_H

#include <pollux/bdev.h>

/**
 * geometry_apply - check @name and @g and fill the fields of @b that follow from them
 * Return: 0; -EINVAL with a sentence in the log
 */
int geometry_apply(struct plx_bdev *b, const char *name, const struct plx_bdev_geometry *g);
/** geometry_register - Return: 0 or what plx_bdev_register() returned, with a sentence in the
 *  log */
int geometry_register(struct plx_bdev *b);
/** geometry_dump - the parameters that create such a device */
void geometry_dump(const struct plx_bdev *b, struct json_t *params);
/** uuid_dump - "uuid" in its usual text form */
void uuid_dump(const struct plx_bdev *b, struct json_t *params);

#endif
