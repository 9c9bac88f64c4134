/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/tgt/main.c - plx-tgt: from arguments to exit code
 */
#include "core/tool.h"
#include "plx_config.h"
#include "targets/tgt/app.h"

int main(int argc, char **argv)
{
	struct tgt_options o;
	char err[512];
	int rc;

	plx_tool_begin();
	rc = tgt_options_parse(&o, argc, argv, err, sizeof(err));
	if (rc < 0) {
		fprintf(stderr, "plx-tgt: %s\n", err);
		return PLX_EXIT_USAGE;
	}
	if (rc == TGT_RUN)
		return tgt_app_run(&o);
	if (rc == TGT_HELP)
		tgt_options_help(stdout);
	else
		printf("plx-tgt %s\n", PLX_VERSION);
	return plx_tool_flush("plx-tgt");
}
