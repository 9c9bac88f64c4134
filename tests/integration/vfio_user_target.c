/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/integration/vfio_user_target.c - a server of one controller, for tests of its clients
 *
 * vfio_user_target DIR [malloc] [trap]: 64 MiB of null or malloc bdev, on the first core; says
 * "ready", ends with
 * SIGTERM. With trap, doorbells are messages.
 */
#include "core/tool.h"
#include <pollux/bdev.h>
#include <pollux/nvmf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static bool has(int argc, char **argv, const char *word)
{
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], word))
			return true;
	return false;
}

static int serve(const struct plx_nvmf_vfio_user_opts *o, const sigset_t *ends)
{
	struct plx_nvmf_vfio_user *v = plx_nvmf_vfio_user_create(o);
	int sig;

	if (!v) {
		perror(o->dir);
		return PLX_EXIT_FAILED;
	}
	puts("ready");
	fflush(stdout);
	sigwait(ends, &sig);
	plx_nvmf_vfio_user_destroy(v);
	return PLX_EXIT_OK;
}

int main(int argc, char **argv)
{
	struct plx_bdev_geometry g = { .blocks = 131072, .block_size = 512, .numa = PLX_NUMA_ANY };
	struct plx_nvmf_subsystem_opts so = { .nqn = "nqn.2026-01.io.pollux:test",
					      .serial = "TEST1",
					      .model = "vfio-user test" };
	struct plx_nvmf_vfio_user_opts vo = { .dir = argv[1],
					      .trap_doorbells = has(argc, argv, "trap") };
	struct plx_env_opts eo;
	struct plx_cpuset cpus;
	struct plx_reactor *r;
	sigset_t ends;
	int rc;

	if (argc < 2)
		return PLX_EXIT_USAGE;
	plx_tool_begin();
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	plx_env_opts_init(&eo);
	eo.name = "vfio_user_target";
	eo.mem_mb = 64;
	if (plx_tool_env_init(&eo, ""))
		return PLX_EXIT_FAILED;
	plx_topo_allowed(&cpus);
	r = plx_reactor_start((unsigned)plx_cpuset_next(&cpus, -1), "target");
	vo.subsystem = plx_nvmf_subsystem_create(&so);
	rc = has(argc, argv, "malloc") ? plx_bdev_malloc_create("b", &g, NULL)
				       : plx_bdev_null_create("b", &g, NULL);
	if (!r || !vo.subsystem || rc || plx_nvmf_subsystem_add_ns(vo.subsystem, "b", 0) < 0)
		return PLX_EXIT_FAILED;
	vo.thread = plx_reactor_thread(r);
	rc = serve(&vo, &ends);
	plx_nvmf_subsystem_destroy(vo.subsystem);
	plx_bdev_delete("b");
	plx_reactor_stop(r);
	plx_env_fini();
	return rc;
}
