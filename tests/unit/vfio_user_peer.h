/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/vfio_user_peer.h - a vfio-user client of hand-made messages for tests of the server
 *
 * The server's thread is polled by the same OS thread, whenever the peer waits for something.
 * Nothing here asserts: what does not come within the deadline is reported as such.
 */
#ifndef POLLUX_TESTS_VFIO_USER_PEER_H
#define POLLUX_TESTS_VFIO_USER_PEER_H

#include "core/vfio_user.h"
#include "targets/nvmf/nvmf_internal.h"

#define PEER_DEADLINE_S 10
#define PEER_TIMEOUT	(-10000) /* instead of an errno */
#define PEER_MAX_FDS	16
#define PEER_CAPS                                                                                  \
	"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"                    \
	"\"pgsizes\":4096,\"write_multiple\":true}}"

struct peer_server {
	struct plx_thread *thread;
	struct plx_nvmf_subsystem *subsystem;
	struct plx_nvmf_vfio_user *front;
	char dir[64];
	bool error;
};

struct peer_server_opts {
	uint32_t max_io_queues; /* 0: 8 */
	bool trap_doorbells;
	bool error; /* bdev "peer0" is an error bdev over "peer0_base" */
};

/** peer_server_init - environment, thread (entered), malloc bdev of 4096 blocks of 512 bytes,
 *  subsystem, front end in a directory of its own. Return: 0 or a negative errno */
int peer_server_init(struct peer_server *s, const struct peer_server_opts *o);
void peer_server_fini(struct peer_server *s);
/** peer_poll - turns until @done(@arg), or the deadline. Return: whether it came */
bool peer_poll(struct peer_server *s, bool (*done)(void *arg), void *arg);
/** peer_idle - turns for a few milliseconds, for what must not happen */
void peer_idle(struct peer_server *s);

struct plx_nvmf_vfio_user_stats peer_stats(struct peer_server *s);
/** peer_nobody - for peer_poll(): is no client connected to server @arg? */
bool peer_nobody(void *arg);

struct peer {
	struct peer_server *s;
	int fd;
	uint16_t id;
	/* of the last reply */
	struct vfio_user_hdr hdr;
	uint32_t len;
	uint8_t data[65536 + 64] plx_aligned(8);
	uint32_t nfds;
	int fds[PEER_MAX_FDS]; /* closed by the next peer_recv(), unless set to -1 */
};

/** peer_connect - Return: 0 or a negative errno */
int peer_connect(struct peer *p, struct peer_server *s);
/** peer_start - the same and VERSION */
int peer_start(struct peer *p, struct peer_server *s);
void peer_close(struct peer *p);

/** peer_send - one message; flags 0 for a command that wants a reply */
void peer_send(struct peer *p, uint16_t command, uint32_t flags, const void *data, uint32_t len,
	       const int *fds, uint32_t nfds);
/** peer_recv - the next message. Return: 0; -errno of an error reply (-EIO: without one);
 *  -ECONNRESET once the server has closed; PEER_TIMEOUT */
int peer_recv(struct peer *p);
/** peer_call - both; the reply must be to this command */
int peer_call(struct peer *p, uint16_t command, const void *data, uint32_t len, const int *fds,
	      uint32_t nfds);
/** peer_version - VERSION 0.1 with @caps (JSON; NULL: none) */
int peer_version(struct peer *p, const char *caps);

int peer_map(struct peer *p, uint64_t iova, uint64_t len, uint32_t prot, int fd, uint64_t offset);
int peer_unmap(struct peer *p, uint64_t iova, uint64_t len);
int peer_read(struct peer *p, uint32_t region, uint64_t offset, void *buf, uint32_t len);
int peer_write(struct peer *p, uint32_t region, uint64_t offset, const void *buf, uint32_t len);
uint64_t peer_read_reg(struct peer *p, uint32_t region, uint64_t offset, uint32_t len);
int peer_write_reg(struct peer *p, uint32_t region, uint64_t offset, uint64_t value, uint32_t len);
/** peer_set_irqs - @flags DATA|ACTION; @bools of @count bytes with DATA_BOOL, else NULL */
int peer_set_irqs(struct peer *p, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
		  const uint8_t *bools, const int *fds, uint32_t nfds);

/** peer_memfd - zeroed memory file. Return: the fd */
int peer_memfd(size_t len);

#endif
