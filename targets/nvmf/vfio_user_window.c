/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_window.c - where the client's memory lies in our address space
 *
 * A client may give its memory in any number of pieces, and a queue or a buffer may cross from one
 * to the next: the host's addresses are contiguous there, and ours have to be. So pieces keep their
 * distances: a window of address space stands for an aligned range of the client's addresses, and
 * what is mapped lies in it as it lies there. The function then joins neighbours to one region, and
 * a client with thousands of pages costs as little as one with a single piece.
 *
 * What does not fit (pieces larger than a window, large pages that overlap another piece's, too
 * many windows) is mapped anywhere: it works, but for queues that cross its border.
 */
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WINDOW_LEN   (64ull << 30)
#define WINDOW_ALIGN (1ull << 30) /* the largest page there is */

#define RESERVED (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Return: the window of @iova, reserved when it is new; NULL when there is none to be had */
static struct vu_window *window_of(struct vu_conn *c, uint64_t iova)
{
	uint64_t first = iova / WINDOW_LEN * WINDOW_LEN;
	struct vu_window *w;
	size_t head;
	char *raw;

	for (uint32_t i = 0; i < c->nwindows; i++) {
		if (c->windows[i].iova == first)
			return &c->windows[i];
	}
	if (c->nwindows == VU_MAX_WINDOWS)
		return NULL;
	raw = mmap(NULL, WINDOW_LEN + WINDOW_ALIGN, PROT_NONE, RESERVED, -1, 0);
	if (raw == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)raw & (WINDOW_ALIGN - 1);
	if (head)
		munmap(raw, head);
	munmap(raw + head + WINDOW_LEN, WINDOW_ALIGN - head);
	w = &c->windows[c->nwindows++];
	*w = (struct vu_window){ .iova = first, .base = raw + head };
	return w;
}

/* Windows without maps are given back */
static void window_trim(struct vu_conn *c)
{
	for (uint32_t i = 0; i < c->nwindows;) {
		if (c->windows[i].maps) {
			i++;
			continue;
		}
		munmap(c->windows[i].base, WINDOW_LEN);
		c->windows[i] = c->windows[--c->nwindows];
	}
}

/* Large pages are mapped whole, so that a piece can take more than its own addresses */
static bool is_taken(const struct vu_conn *c, const char *base, size_t len)
{
	for (uint32_t i = 0; i < c->nmaps + c->nrevoked; i++) {
		const struct vu_map *m = &c->maps[i];

		if (m->base && base < (char *)m->base + m->base_len && (char *)m->base < base + len)
			return true;
	}
	return false;
}

void *vu_window_place(struct vu_conn *c, struct vu_map *m, uint64_t page, uint64_t skip)
{
	uint64_t in_window = m->iova % WINDOW_LEN;
	struct vu_window *w;
	char *base;

	m->window = NULL;
	if (in_window < skip || (in_window - skip) % page ||
	    m->base_len > WINDOW_LEN - (in_window - skip))
		return NULL;
	w = window_of(c, m->iova);
	if (!w)
		return NULL;
	base = w->base + (in_window - skip);
	if (is_taken(c, base, m->base_len)) {
		window_trim(c);
		return NULL;
	}
	m->window = w->base;
	w->maps++;
	return base;
}

void vu_window_leave(struct vu_conn *c, struct vu_map *m)
{
	if (!m->window) {
		munmap(m->base, m->base_len);
		return;
	}
	/* reserved again, in one step: nothing else can get in between */
	if (mmap(m->base, m->base_len, PROT_NONE, RESERVED | MAP_FIXED, -1, 0) == MAP_FAILED)
		munmap(m->base, m->base_len);
	for (uint32_t i = 0; i < c->nwindows; i++) {
		if (c->windows[i].base == m->window)
			c->windows[i].maps--;
	}
	m->window = NULL;
	window_trim(c);
}
