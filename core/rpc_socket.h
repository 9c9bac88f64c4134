/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/rpc_socket.h - a listening Unix socket that belongs to one program at a time
 */
#ifndef POLLUX_CORE_RPC_SOCKET_H
#define POLLUX_CORE_RPC_SOCKET_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

struct rpc_socket {
	int fd;
	int lock; /* "PATH.lock", locked for as long as the socket lives */
	dev_t dev; /* of the socket's file: another's is not removed */
	ino_t ino;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/** rpc_socket_open - as plx_rpc_server_open() says */
int rpc_socket_open(struct rpc_socket *s, const char *path, char *err, size_t errlen);
/** rpc_socket_close - stop listening, remove the files */
void rpc_socket_close(struct rpc_socket *s);

#endif
