/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/iov_cursor.h - a walk over the bytes of iovecs
 */
#ifndef PLX_CORE_IOV_CURSOR_H
#define PLX_CORE_IOV_CURSOR_H

#include <stddef.h>
#include <sys/uio.h>

/** struct iov_cursor - begins with @off 0 */
struct iov_cursor {
	const struct iovec *iov;
	size_t off;
};

/**
 * iov_cursor_next - step over contiguous bytes
 * @want: more than 0, and not more than are left
 * @at: the first of them
 *
 * Return: how many: at least 1, at most @want
 */
static inline size_t iov_cursor_next(struct iov_cursor *c, size_t want, void **at)
{
	size_t n;

	while (c->off == c->iov->iov_len) {
		c->iov++;
		c->off = 0;
	}
	n = c->iov->iov_len - c->off;
	if (n > want)
		n = want;
	*at = (char *)c->iov->iov_base + c->off;
	c->off += n;
	return n;
}

#endif
