/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/device_spec.h - the text that describes an embedded device, parsed
 */
#ifndef POLLUX_DEVICE_SPEC_H
#define POLLUX_DEVICE_SPEC_H

#include <pollux/bdev.h>

#define SPEC_MAX_RULES 16u /* as many as an error bdev takes */

struct device_spec {
	uint64_t size; /* bytes of data of each namespace */
	bool null, extended, lazy, is_inline;
	uint32_t block, md, pi;
	struct plx_bdev_latency read, write;
	bool delayed; /* either of them delays */
	uint64_t seed;
	struct plx_bdev_error_rule rules[SPEC_MAX_RULES];
	uint32_t nrules;
	uint32_t mdts; /* as the controller reports it: power of two of 4 KiB */
	uint32_t queues, queue_size;
	uint32_t namespaces;
	int core; /* -1: not given */
	uint64_t vanish_ns; /* 0: never */
	uint32_t seen; /* keys that were given, by their place in the table */
};

/**
 * device_spec_parse - Return: 0; -EINVAL with a sentence in @err that names the key, its value and
 * the remedy
 */
int device_spec_parse(const char *text, struct device_spec *spec, char *err, size_t errlen);

#endif
