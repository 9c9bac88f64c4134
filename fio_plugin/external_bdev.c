/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/external_bdev.c - a module of one symbol, for ioengine=external:PATH
 *
 * fio asks what it opened first, and the library with both engines would answer "spdk".
 */
#include "fio_plugin/fio_plugin.h"

extern struct ioengine_ops plx_fio_bdev_engine;
void get_ioengine(struct ioengine_ops **ops);

void get_ioengine(struct ioengine_ops **ops)
{
	*ops = &plx_fio_bdev_engine;
}
