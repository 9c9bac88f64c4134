/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/calibrate.h - limits of the machine, measured between the cores of a run
 */
#ifndef POLLUX_PERF_CALIBRATE_H
#define POLLUX_PERF_CALIBRATE_H

#include "perf/perf.h"

struct perf_limit {
	double median, best;
};

struct perf_calibration {
	unsigned host_cpu;
	int device_cpu; /* -1: one core only, so no round trip and no rings */
	struct perf_limit round_trip_ns; /* one cache line there and back */
	struct perf_limit rings; /* bare rings at @depth, commands per second */
	uint32_t depth;
	/* copies per second of @copy_bytes from random places of @copy_range bytes, one core */
	struct perf_limit copies;
	uint32_t copy_bytes;
	uint64_t copy_range;
};

/**
 * perf_calibrate - about two seconds; nothing else may run on those cores meanwhile
 * @device_cpu: where the virtual controller will run; -1 none
 * @device_bytes: range of the copies; 0: no copies
 * Return: 0 or -errno
 */
int perf_calibrate(struct perf_calibration *out, const struct perf_config *cfg, unsigned host_cpu,
		   int device_cpu, uint64_t device_bytes);

#endif
