/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/msg_fds.h - file descriptors beside a message on a Unix socket (SCM_RIGHTS)
 *
 * Pure functions on a struct msghdr; sending and receiving is the caller's.
 */
#ifndef PLX_CORE_MSG_FDS_H
#define PLX_CORE_MSG_FDS_H

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** plx_msg_room - type of the control data of a message with @n descriptors; all zeros for
 *  plx_msg_put_fd() */
#define plx_msg_room(n)                                                                            \
	union {                                                                                    \
		char buf[CMSG_SPACE((n) * sizeof(int))];                                           \
		struct cmsghdr align;                                                              \
	}

/** plx_msg_put_fd - @fd goes with @msg, whose control data is the room for it */
static inline void plx_msg_put_fd(struct msghdr *msg, int fd)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
}

/**
 * plx_msg_take_fds - those that came with a received @msg, the caller's to close
 * @fds: room for @max, @have of them taken already; what is more is closed
 * @fits: false when some were closed, or lost as there was no room in the control data
 * Return: how many there are in @fds now
 */
static inline unsigned plx_msg_take_fds(struct msghdr *msg, int *fds, unsigned have, unsigned max,
					bool *fits)
{
	*fits = !(msg->msg_flags & MSG_CTRUNC);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (have < max) {
				fds[have++] = fd;
				continue;
			}
			close(fd);
			*fits = false;
		}
	}
	return have;
}

#endif
