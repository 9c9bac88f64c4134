/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/options.h - the command line of plx-identify
 */
#ifndef IDENTIFY_OPTIONS_H
#define IDENTIFY_OPTIONS_H

#include "identify/identify.h"

struct id_options {
	struct plx_nvme_trid trid;
	bool use_virtual; /* no -r, or trtype:VIRTUAL: the controller of @virtual_spec */
	const char *virtual_spec;
	struct id_wanted wanted;
	const char *output; /* the page goes there as it is, or in hexadecimal with @hex; NULL */
	bool json, hex, no_huge;
	size_t mem_mb;
	int32_t share_id; /* -1: not shared */
};

enum id_action { ID_RUN, ID_HELP, ID_VERSION };

/** id_options_parse - Return: an id_action; -EINVAL with a sentence in @err */
int id_options_parse(struct id_options *o, int argc, char **argv, char *err, size_t errlen);
void id_options_help(FILE *f);

#endif
