/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/tgt/options.h - the command line of plx-tgt
 */
#ifndef POLLUX_TGT_OPTIONS_H
#define POLLUX_TGT_OPTIONS_H

#include <pollux/env.h>
#include <stdio.h>

#define TGT_DEFAULT_SOCKET "/var/tmp/spdk.sock" /* where clients look for it */
#define TGT_DEFAULT_MEM_MB 32

struct tgt_options {
	struct plx_cpuset cores; /* that run reactors; empty: the first this process may use */
	const char *config; /* file; NULL: none */
	const char *socket;
	size_t mem_mb;
	bool no_huge;
	bool wait_for_rpc;
	bool quiet; /* no notices */
};

enum { TGT_RUN, TGT_HELP, TGT_VERSION };
/** tgt_options_parse - Return: one of the above; -EINVAL with a sentence in @err */
int tgt_options_parse(struct tgt_options *o, int argc, char **argv, char *err, size_t errlen);
void tgt_options_help(FILE *out);

#endif
