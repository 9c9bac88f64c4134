/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/rpc/cli.h - what the files of plx-rpc share
 */
#ifndef TARGETS_RPC_CLI_H
#define TARGETS_RPC_CLI_H

#include "core/rpc.h"
#include "core/tool.h"
#include <stdio.h>

#define CLI_SOCKET "/var/tmp/spdk.sock"

enum cli_action {
	CLI_CALL,
	CLI_SAVE,
	CLI_LOAD,
	CLI_HELP, /* of @method, or of the program when that is NULL */
	CLI_VERSION,
	CLI_METHODS,
	CLI_COMPLETION,
	CLI_DOCS,
};

struct cli_options {
	const char *socket;
	double timeout_s;
	bool json; /* strings with their quotes */
	enum cli_action action;
	const char *file; /* of save and load; "-" for the standard streams */
	char method[128]; /* as the server knows it */
	json_t *params; /* an object; NULL: none were given */
};

/** cli_parse - Return: 0 with @o filled, @o->params to be released; -EINVAL with a sentence in
 *  @err */
int cli_parse(struct cli_options *o, int argc, char **argv, char *err, size_t errlen);

/**
 * cli_take_param - one parameter of @m from the command line
 * @name: behind the dashes, "listen-address.trtype"
 * @value: what stands with it, or NULL
 * @params: is changed
 * @used: whether @value belonged to it
 * Return: 0; -EINVAL with a sentence in @err
 */
int cli_take_param(const struct plx_rpc_method *m, const char *name, const char *value,
		   json_t *params, bool *used, char *err, size_t errlen);

/* ---- the connection to a server ---- */

struct cli_client {
	const char *socket;
	double timeout_s;
	int fd; /* -1: not connected yet */
	int id; /* of the last request */
	char err[2048]; /* a sentence, after a call that failed */
};

/**
 * cli_call - @params: borrowed, NULL for none
 * Return: the result, a new reference; NULL with @c->err
 */
json_t *cli_call(struct cli_client *c, const char *method, const json_t *params);
void cli_disconnect(struct cli_client *c);

/** cli_save / cli_load - the whole configuration to, or from, @file. Return: an enum plx_exit,
 *  after a line on standard error */
int cli_save(struct cli_client *c, const char *file);
int cli_load(struct cli_client *c, const char *file);

/* ---- what the tables say ---- */

enum cli_paths {
	/* "listen-address.trtype", as on the command line: nothing within arrays */
	CLI_PATH_OPTION,
	CLI_PATH_JSON, /* "hosts[].nqn" */
};
typedef void (*cli_visit)(void *arg, const char *path, const struct plx_rpc_param *p);
/** cli_walk - each parameter, those within objects behind them */
void cli_walk(const struct plx_rpc_param *params, enum cli_paths style, cli_visit visit, void *arg);
/** cli_type - "whole number, 1 or more". Return: @buf */
const char *cli_type(const struct plx_rpc_param *p, char *buf, size_t len);
/** cli_next_group - the group after @last in alphabetical order, NULL for the first. Return: NULL
 *  at the end */
const char *cli_next_group(const char *last);

void cli_help(FILE *f);
void cli_help_method(FILE *f, const struct plx_rpc_method *m);
void cli_completion(FILE *f);
void cli_docs(FILE *f);

#endif
