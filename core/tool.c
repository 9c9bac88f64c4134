/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/tool.c - what every program of pollux does first and last
 */
#include "core/tool.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A descriptor closed by the caller is not to be taken by a file of ours that output would go to */
static void occupy_closed_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* for reading only: output to it fails, as it would have */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			return;
	}
}

/* Devices, clients and their memory are descriptors; the usual soft limit of 1024 is for programs
 * that use select() */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

void plx_tool_begin(void)
{
	raise_descriptor_limit();
	occupy_closed_streams();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

int plx_tool_env_init(const struct plx_env_opts *opts, const char *remedy)
{
	sigset_t signals, before;
	char amount[48] = "memory";
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, &before);
	rc = plx_env_init(opts);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!rc)
		return PLX_EXIT_OK;
	if (opts->mem_mb)
		snprintf(amount, sizeof(amount), "%zu MiB of memory", opts->mem_mb);
	fprintf(stderr, "%s: no %s to work with: %s: free some, %s\n", opts->name, amount,
		strerror(-rc), remedy);
	return PLX_EXIT_FAILED;
}

int plx_tool_flush(const char *name)
{
	errno = 0; /* an earlier failure is not this one's reason */
	if (!fflush(stdout) && !ferror(stdout))
		return PLX_EXIT_OK;
	fprintf(stderr, "%s: cannot write to standard output%s%s\n", name, errno ? ": " : "",
		errno ? strerror(errno) : "");
	return PLX_EXIT_FAILED;
}

void plx_tool_one_line(char *text)
{
	for (; *text; text++) {
		if (iscntrl((unsigned char)*text))
			*text = '?';
	}
}

int plx_tool_refuse(char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void plx_tool_refuse_option(const char *name, int key, const char *typed, char *err, size_t errlen)
{
	char letter[3] = { '-', (char)optopt, '\0' };

	if (optopt > 0 && optopt < 256 && strncmp(typed, "--", 2))
		typed = letter;
	if (key == ':')
		snprintf(err, errlen, "%.64s needs a value: %s --help shows which", typed, name);
	else if (optopt && strchr(typed, '='))
		snprintf(err, errlen, "'%.64s': this option takes no value: leave it out", typed);
	else
		snprintf(err, errlen, "'%.64s' is no option: %s --help lists them", typed, name);
}
