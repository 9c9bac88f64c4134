/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc.h - JSON-RPC 2.0: method tables, execution of requests, a server on a Unix socket
 *
 * A method is a row of a table: its name, what it does in a sentence, its parameters, the states of
 * the program in which it may be called, a function. From the rows come decoding, errors that name
 * the parameter, rpc_get_methods, the help and completion of plx-rpc, and docs/rpc.md. A layer
 * registers its table from a constructor; methods run in the thread that runs the server, one at a
 * time, and may block as set-up calls do.
 */
#ifndef POLLUX_CORE_RPC_H
#define POLLUX_CORE_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* JSON-RPC 2.0 §5.1; errors of the operating system are reported as their negative errno */
enum {
	PLX_RPC_PARSE_ERROR = -32700,
	PLX_RPC_INVALID_REQUEST = -32600,
	PLX_RPC_METHOD_NOT_FOUND = -32601,
	PLX_RPC_INVALID_PARAMS = -32602,
	PLX_RPC_INTERNAL_ERROR = -32603,
	PLX_RPC_INVALID_STATE = -1,
};

enum plx_rpc_type {
	PLX_RPC_BOOL,
	PLX_RPC_INT, /* whole number within @min..@max; both 0: 0..2^63-1; 1.0 and 1e3 are whole */
	PLX_RPC_REAL, /* any number; the method sees a real */
	PLX_RPC_STRING, /* without NUL bytes */
	PLX_RPC_ENUM, /* one of the words of @words, in any case; the method sees the table's */
	PLX_RPC_OBJECT, /* with the members of @fields; none: any object */
	PLX_RPC_ARRAY, /* of objects with the members of @fields; none: of anything */
	PLX_RPC_STRINGS, /* array of strings */
};

struct plx_rpc_param {
	const char *name;
	enum plx_rpc_type type;
	bool required;
	const char *dflt; /* JSON text put in when absent; NULL: left out */
	const char *help; /* a phrase, with the unit */
	int64_t min, max;
	const char *words; /* ENUM: "malloc|null" */
	const struct plx_rpc_param *fields; /* ends with a row without name */
};

enum plx_rpc_states { PLX_RPC_STARTUP = 1, PLX_RPC_RUNTIME = 2, PLX_RPC_ANY_TIME = 3 };

struct plx_rpc_call;

/**
 * plx_rpc_fn - @params: an object that holds what the table says, checked, defaults filled in;
 * borrowed
 * Return: the result, a new reference; NULL after plx_rpc_fail()
 */
typedef json_t *(*plx_rpc_fn)(struct plx_rpc_call *call, const json_t *params);

struct plx_rpc_method {
	const char *name;
	const char *help; /* a sentence */
	plx_rpc_fn fn;
	enum plx_rpc_states states;
	const struct plx_rpc_param *params; /* ends with a row without name; NULL: none */
	const char *group; /* heading in docs/rpc.md: "bdev", "nvmf", ... */
	struct plx_rpc_method *next; /* core's own */
};

/** plx_rpc_register - @methods: @n rows that live as long as the program; from constructors */
void plx_rpc_register(struct plx_rpc_method *methods, size_t n);
#define PLX_RPC_TABLE(table)                                                                       \
	__attribute__((constructor)) static void table##_register(void)                            \
	{                                                                                          \
		plx_rpc_register(table, sizeof(table) / sizeof((table)[0]));                       \
	}
/** plx_rpc_first / ->next - registered methods in alphabetical order */
const struct plx_rpc_method *plx_rpc_first(void);
const struct plx_rpc_method *plx_rpc_find(const char *name);

/**
 * plx_rpc_fail - the call's error: @code as in the enum above or a negative errno, and a sentence
 *
 * The sentence comes to the caller with "METHOD: " before it.
 * Return: NULL, for `return plx_rpc_fail(...)`
 */
json_t *plx_rpc_fail(struct plx_rpc_call *call, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * plx_rpc_wait - what the call is about is not there yet: may it be carried out again later?
 * @timeout_ms: since the call came; -1 for no limit
 *
 * Meanwhile other clients are served. There is no waiting in a batch, or for a call from within the
 * program.
 * Return: true: the method returns NULL now, and is called again with the same parameters; false:
 * it has to answer as things are
 */
bool plx_rpc_wait(struct plx_rpc_call *call, int64_t timeout_ms);

/**
 * struct plx_rpc_subsystem - a part of the saved configuration: {"subsystem": name, "config":
 * [...]}
 * @dump: append {"method", "params"} objects that make the present state again
 * @after: names of subsystems that have to be loaded before, separated by blanks; or NULL
 */
struct plx_rpc_subsystem {
	const char *name;
	const char *after;
	void (*dump)(json_t *config);
	struct plx_rpc_subsystem *next; /* core's own */
};
void plx_rpc_register_subsystem(struct plx_rpc_subsystem *s);
/** plx_rpc_first_subsystem / ->next - so that each comes after those it names */
const struct plx_rpc_subsystem *plx_rpc_first_subsystem(void);

void plx_rpc_set_state(enum plx_rpc_states state);
enum plx_rpc_states plx_rpc_state(void);

/**
 * plx_rpc_check - parameters against a method's table
 * @params: an object; or NULL or null for none; borrowed
 * @err: on an error, a sentence that names method, parameter, value and remedy
 * Return: a new object as methods get it, with the defaults; NULL
 */
json_t *plx_rpc_check(const struct plx_rpc_method *m, const json_t *params, char *err,
		      size_t errlen);

/**
 * plx_rpc_execute - one parsed request or batch
 * Return: the response, a new reference; NULL where none is due (notifications)
 */
json_t *plx_rpc_execute(const json_t *request);

/**
 * plx_rpc_invoke - a method called from within the program, as the loader of configurations does
 * @params: an object, or NULL; borrowed
 * Return: 0, with *@result (may be NULL) a new reference; the error's code, with a sentence in @err
 */
int plx_rpc_invoke(const char *method, const json_t *params, json_t **result, char *err,
		   size_t errlen);

/**
 * plx_rpc_load_config - {"subsystems": [{"subsystem": name, "config": [{"method", "params"}]}]}
 *
 * To be called in each state the program goes through: at startup it carries out the methods that
 * are for startup alone, at run time all those allowed then, in the order of the registered
 * subsystems and, within one, of @config. A subsystem that this program lacks is left out with a
 * warning, as configurations written for larger programs have many.
 * Return: 0; a negative errno with a sentence that names subsystem, method and parameter in @err
 */
int plx_rpc_load_config(const json_t *config, char *err, size_t errlen);

/*
 * ---- the server ----
 *
 * A stream of JSON values without framing, as SPDK's clients send them: each request is answered by
 * a JSON value and a newline, in order. What is no JSON is answered with -32700 and the id null; as
 * long as its brackets and quotes balance, the next request is then read, otherwise the connection
 * is closed, as it is for a request of more than 32 MiB. A client that closes its sending side
 * still gets its answers.
 */

struct plx_rpc_server;

/**
 * plx_rpc_server_open - listen at @path (mode 0600); a stale socket is replaced, a live one is not
 * Return: 0 and *@out; -EADDRINUSE when a program answers there; -ENAMETOOLONG; other negative
 * errno. @err says what to do.
 */
int plx_rpc_server_open(const char *path, struct plx_rpc_server **out, char *err, size_t errlen);
/** plx_rpc_server_poll - accept, read, execute, answer; waits at most @timeout_ms for something to
 *  do, -1 without limit. Return: requests carried out, a batch being one */
int plx_rpc_server_poll(struct plx_rpc_server *s, int timeout_ms);
/** plx_rpc_server_close - drop the clients, remove the socket; NULL is fine */
void plx_rpc_server_close(struct plx_rpc_server *s);

#endif
