/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/tgt/app.h - plx-tgt while it runs: its threads, its state, its end
 *
 *   main.c           from arguments to exit code
 *   app.c            reactors, configuration, the loop that carries out methods, the end
 *   rpc_app.c        methods: version, start, subsystems, configuration, scheduler
 *   rpc_thread.c     methods: reactors and threads
 */
#ifndef POLLUX_TGT_APP_H
#define POLLUX_TGT_APP_H

#include "core/rpc.h"
#include "targets/tgt/options.h"
#include <pollux/thread.h>

struct tgt_app {
	const struct tgt_options *o;
	struct plx_thread *thread; /* the main thread's: carries out methods, set-up calls */
	struct plx_reactor *reactors[PLX_MAX_CPUS];
	unsigned n_reactors;
	struct plx_rpc_server *server;
	json_t *config; /* what -c brings, until it has been carried out; NULL: nothing */
	bool failed; /* it is to end: the configuration does not work */
};
extern struct tgt_app tgt_app;

/** tgt_app_run - Return: an enum plx_exit */
int tgt_app_run(const struct tgt_options *o);
/** tgt_app_start - leave the startup state. Return: 0; negative errno with a sentence in @err */
int tgt_app_start(char *err, size_t errlen);
/** tgt_threads_unwatch - what framework_monitor_context_switch began ends (rpc_thread.c) */
void tgt_threads_unwatch(void);

#endif
