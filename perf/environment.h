/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/environment.h - under which circumstances a run was measured
 */
#ifndef POLLUX_PERF_ENVIRONMENT_H
#define POLLUX_PERF_ENVIRONMENT_H

#include "perf/perf.h"

/** struct perf_device_facts - what a namespace and its controller say of themselves, printable
 *  ASCII */
struct perf_device_facts {
	char model[41], serial[21], firmware[9];
	const char *transport; /* "PCIe" */
	int numa_node; /* -1: unknown */
	uint32_t block_bytes, metadata_bytes;
	uint64_t blocks;
	unsigned protection; /* type of protection information; 0: none */
};

/** struct perf_environment - "" and -1 stand for what cannot be known here */
struct perf_environment {
	char cpu[128];
	unsigned cpus; /* logical, online */
	int numa_nodes;
	char governor[32]; /* of the first core that generates load */
	char kernel[192]; /* "Linux 6.1.0" */
	char memory[256];
	bool hugepages;
	const char *iova_mode; /* of all devices: VA, unless one needs PA or IOVA */
	double start_s; /* since the epoch: when the measured time began */
	char *command_line; /* arguments as a shell would take them; NULL: unknown */
	struct perf_device_facts devices[PERF_MAX_DEVICES]; /* as perf_run.devices */
};

/** perf_environment_get - after the run: it looks at files and takes some milliseconds;
 *  plx_env_init() has been called */
void perf_environment_get(struct perf_environment *e, const struct perf_run *run);
void perf_environment_free(struct perf_environment *e);

/** perf_environment_commit - of the sources this was built from; NULL when that was no checkout */
const char *perf_environment_commit(void);

#endif
