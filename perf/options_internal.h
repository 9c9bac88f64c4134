/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/options_internal.h - what the files of the command line share
 */
#ifndef POLLUX_PERF_OPTIONS_INTERNAL_H
#define POLLUX_PERF_OPTIONS_INTERNAL_H

#include "core/tool.h"
#include "perf/options.h"
#include "core/text.h"

#define OPTIONS_MIB (1ull << 20)

/* Options without a letter */
enum {
	KEY_VIRTUAL = 256,
	KEY_VERIFY,
	KEY_CALIBRATE,
	KEY_JSON,
	KEY_HIST,
	KEY_INTERVAL,
	KEY_TIMEOUT,
	KEY_TIMEOUT_ACTION,
	KEY_SEED,
	KEY_NO_HUGE,
	KEY_INTERRUPTS,
	KEY_USE_CMB,
	KEY_QUIET,
	KEY_VERSION,
	KEY_HELP,
};

struct parser {
	struct perf_config *cfg;
	const char *opt; /* as typed: "-q", "--io-depth" */
	char *err;
	size_t errlen;
	uint64_t seen; /* a bit for each row of the table */
	const char *pattern;
	bool mixed;
	unsigned mix;
	bool quiet;
};

struct row {
	int key; /* a letter, or a number from LONG_ONLY; 0: the title of a group */
	const char *name, *arg, *help;
	int (*take)(struct parser *p, const char *arg);
};

/** options_rows - every option, in the order of --help; options_row_count of them */
extern const struct row options_rows[];
extern const unsigned options_row_count;

/** options_given - the option was on the command line */
bool options_given(const struct parser *p, int key);
/** options_refuse - put a sentence into p->err. Return: -EINVAL */
#define options_refuse(p, ...) plx_tool_refuse((p)->err, (p)->errlen, __VA_ARGS__)
/** options_check - what makes sense only together, and what follows from all. Return: 0; -EINVAL
 *  refused */
int options_check(struct parser *p);

#endif
