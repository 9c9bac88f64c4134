/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/options.h - the command line of plx-perf
 */
#ifndef POLLUX_PERF_OPTIONS_H
#define POLLUX_PERF_OPTIONS_H

#include "perf/perf.h"

enum perf_action { PERF_RUN, PERF_HELP, PERF_VERSION };

/**
 * perf_options_parse - from arguments to a configuration that contradicts itself nowhere
 * @cfg: filled completely; its texts are parts of @argv
 * @err: one line for the user that names the option, its value and the remedy
 *
 * Levels asked for with -T are set at once. Needs no environment.
 * Return: an enum perf_action; -EINVAL with a sentence in @err.
 */
int perf_options_parse(struct perf_config *cfg, int argc, char **argv, char *err, size_t errlen);

/** perf_options_help - @virtual_help: the keys of --virtual, a line each */
void perf_options_help(FILE *f, const char *virtual_help);

#endif
