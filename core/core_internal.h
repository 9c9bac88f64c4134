/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/core_internal.h - what core's own files share
 */
#ifndef POLLUX_CORE_INTERNAL_H
#define POLLUX_CORE_INTERNAL_H

#include <pollux/env.h>

/** log_init - program name and default level, from plx_env_init(). @program must outlive the
 *  process's logging. */
void log_init(const char *program, int level);
/** log_started - EAL is up */
void log_started(void);

/** log_general_level - PLX_LOG_*, of all components that have no level of their own */
int log_general_level(void);
void log_set_general_level(int level);
/** log_set_debug - a component says everything, or what the general level lets through; @name may
 *  be "all". Return: 0; -ENOENT */
int log_set_debug(const char *name, bool on);
/** log_component - walk through those known. Return: a name; NULL after the last */
const char *log_component(unsigned i, bool *debug);
/** log_set_timestamps - local time before each line; off at start */
void log_set_timestamps(bool on);

/** mem_init - take stock of EAL's memory and follow its changes. Return: 0 or -errno */
int mem_init(void);
/** mem_fini - forget every region and every listener */
void mem_fini(void);

/** topo_init - remember the CPUs allowed at start, before anything pins the calling thread */
void topo_init(void);
/** topo_fini - free what was loaded lazily */
void topo_fini(void);

#endif
