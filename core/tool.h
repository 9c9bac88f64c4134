/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/tool.h - what every program of pollux does first and last
 */
#ifndef PLX_CORE_TOOL_H
#define PLX_CORE_TOOL_H

#include <pollux/env.h>

/** enum plx_exit - exit codes of all programs */
enum plx_exit {
	PLX_EXIT_OK,
	PLX_EXIT_FAILED, /* tried, and it did not work: standard error says what */
	PLX_EXIT_USAGE, /* arguments that cannot be carried out: nothing was tried */
};

/**
 * plx_tool_begin - the first line of main()
 *
 * Occupies standard streams that the caller has closed, and turns writes that nobody reads
 * (SIGPIPE) or that would make a file too large (SIGXFSZ) into errors of the write. As many files
 * may be open as the hard limit says.
 */
void plx_tool_begin(void);

/**
 * plx_tool_env_init - plx_env_init(), and one line on standard error where it fails
 * @opts: @name is the program's, as it stands before its messages
 * @remedy: what the user can do about too little memory, after "free some, "; such as "or set -s"
 *
 * The environment's own threads leave SIGINT and SIGTERM to the caller's.
 * Return: an enum plx_exit.
 */
int plx_tool_env_init(const struct plx_env_opts *opts, const char *remedy);

/**
 * plx_tool_flush - all of standard output is written, or one line on standard error says why not
 * @name: the program's
 *
 * Return: an enum plx_exit.
 */
int plx_tool_flush(const char *name);

/** plx_tool_one_line - makes a message one line, whatever was in a user's or a device's text:
 *  control characters become '?' */
void plx_tool_one_line(char *text);

/** plx_tool_refuse - what is wrong with an argument, a sentence into @err. Return: -EINVAL */
int plx_tool_refuse(char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * plx_tool_refuse_option - why getopt_long() did not take an option, with opterr 0
 * @name: the program's
 * @key: what it returned: '?', or ':' for a value that is missing
 * @typed: the argument it was at, argv[optind - 1]
 * @err: the sentence
 */
void plx_tool_refuse_option(const char *name, int key, const char *typed, char *err, size_t errlen);

#endif
