/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/mem.c - memory that devices reach: allocation, foreign memory, look-ups, listeners
 *
 * One sorted table knows every range: EAL's own, merged into as few as addresses and files allow,
 * and what was registered. It is read on I/O paths by any thread and changes rarely: readers take
 * no lock (core/ranges.h), and each thread keeps a copy of the range it found last. Addresses for
 * devices are virtual ones; a device that cannot take those has a table of its own, in the driver.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memory.h>

#include "core/ranges.h"
#include "core_internal.h"

static struct {
	/* read by every look-up */
	struct plx_ranges ranges;
	/* writers only */
	pthread_mutex_t lock plx_aligned(PLX_NO_SHARE);
	struct plx_mem_listener *listeners;
	bool events;
} mem = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The range found last, valid while the sequence number is the same. */
static _Thread_local struct {
	uint64_t seq;
	struct plx_range r;
} last __attribute__((tls_model("initial-exec")));

static struct plx_mem_region range_region(const struct plx_range *r)
{
	return (struct plx_mem_region){
		.addr = (void *)(uintptr_t)r->base,
		.len = r->len,
		.iova = r->iova,
		.fd = (int)r->fd,
		.fd_offset = r->fd_offset,
	};
}

/* ---- changes; the caller holds the lock ---- */

static void listeners_remove(const struct plx_range *r, const struct plx_mem_listener *until)
{
	struct plx_mem_region region = range_region(r);

	for (struct plx_mem_listener *l = mem.listeners; l != until; l = l->next)
		l->remove(l, &region);
}

/* All of them or none. */
static int listeners_add(const struct plx_range *r)
{
	struct plx_mem_region region = range_region(r);

	for (struct plx_mem_listener *l = mem.listeners; l; l = l->next) {
		int rc = l->add(l, &region);

		if (rc) {
			plx_log(PLX_LOG_ERR, "mem",
				"memory %p of %zu bytes cannot be mapped for a device: %s",
				region.addr, region.len, strerror(-rc));
			listeners_remove(r, l);
			return rc;
		}
	}
	return 0;
}

/* ---- EAL's memory ---- */

static bool ranges_touch(const struct plx_range *a, const struct plx_range *b)
{
	return a->base + a->len == b->base && a->iova + a->len == b->iova && a->fd == b->fd &&
	       ((int)a->fd < 0 || a->fd_offset + a->len == b->fd_offset);
}

static struct plx_range segment_range(const struct rte_memseg *ms, size_t len)
{
	size_t offset = 0;
	int fd = rte_memseg_get_fd_thread_unsafe(ms);

	if (fd >= 0 && rte_memseg_get_fd_offset_thread_unsafe(ms, &offset))
		fd = -1;
	return (struct plx_range){
		.base = ms->addr_64,
		.len = len,
		.iova = ms->iova,
		.fd = (uint64_t)fd,
		.fd_offset = fd < 0 ? 0 : offset,
	};
}

static int range_publish(const struct plx_range *r)
{
	int rc = plx_ranges_reserve(&mem.ranges);

	if (!rc)
		rc = listeners_add(r);
	if (!rc)
		plx_ranges_insert(&mem.ranges, r);
	return rc;
}

/* @ms: first of the segments of @len bytes of consecutive addresses. Called with EAL's memory
 * locked. */
static int segments_publish(const struct rte_memseg *ms, size_t len)
{
	struct plx_range r, next;
	size_t step = ms->len;
	int rc;

	/* without hugepages all is one file, mapped at once: thousands of small segments need no
	 * look each */
	if (!rte_eal_has_hugepages())
		step = len;
	r = segment_range(ms, step);
	for (size_t done = step; done < len; done += step) {
		next = segment_range(++ms, step);
		if (ranges_touch(&r, &next)) {
			r.len += step;
			continue;
		}
		rc = range_publish(&r);
		if (rc)
			return rc;
		r = next;
	}
	return range_publish(&r);
}

static int on_walk(const struct rte_memseg_list *msl, const struct rte_memseg *ms, size_t len,
		   void *arg)
{
	/* external lists are somebody else's, who registers what devices should see */
	if (msl->external && rte_eal_has_hugepages())
		return 0;
	*(int *)arg = segments_publish(ms, len);
	return *(int *)arg ? -1 : 0;
}

/* EAL gives back exactly what it once took (--match-allocations), so ranges go as they came. */
static void range_freed(uint64_t base, uint64_t len)
{
	uint64_t at = plx_ranges_lower(&mem.ranges, base);

	while (at < mem.ranges.count && mem.ranges.table->r[at].base < base + len) {
		struct plx_range r = mem.ranges.table->r[at];

		plx_ranges_remove(&mem.ranges, at);
		listeners_remove(&r, NULL);
	}
}

static void on_event(enum rte_mem_event event, const void *addr, size_t len, void *arg)
{
	struct rte_memseg *ms;

	pthread_mutex_lock(&mem.lock);
	if (event == RTE_MEM_EVENT_ALLOC) {
		ms = rte_mem_virt2memseg(addr, NULL);
		if (!ms || segments_publish(ms, len))
			plx_log(PLX_LOG_ERR, "mem",
				"%zu bytes of new memory at %p are not usable for I/O", len, addr);
	} else {
		range_freed((uint64_t)(uintptr_t)addr, len);
	}
	pthread_mutex_unlock(&mem.lock);
}

#define EVENT_NAME "pollux"

int mem_init(void)
{
	int rc = 0;

	/* nobody else allocates yet, so nothing is missed or seen twice between the two */
	if (rte_memseg_contig_walk(on_walk, &rc) < 0)
		return rc ? rc : -ENOMEM;
	mem.events = !rte_mem_event_callback_register(EVENT_NAME, on_event, NULL);
	/* memory without hugepages never changes, and says so */
	if (!mem.events && rte_errno != ENOTSUP)
		return -rte_errno;
	return 0;
}

void mem_fini(void)
{
	if (mem.events)
		rte_mem_event_callback_unregister(EVENT_NAME, NULL);
	mem.events = false;
	pthread_mutex_lock(&mem.lock);
	plx_ranges_empty(&mem.ranges);
	mem.listeners = NULL;
	pthread_mutex_unlock(&mem.lock);
}

/* ---- allocation ---- */

static void *dma_get(size_t size, size_t align, int numa, bool zero)
{
	void *p;

	if (!align)
		align = PLX_CACHE_LINE;
	/* no table, no environment: before its start or after its end */
	if (!mem.ranges.table || !size || (align & (align - 1)) || align > UINT32_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	if (numa == PLX_NUMA_ANY && rte_socket_count() > 1)
		numa = plx_topo_cpu_node((unsigned)sched_getcpu());
	p = zero ? rte_zmalloc_socket(NULL, size, (unsigned)align, numa)
		 : rte_malloc_socket(NULL, size, (unsigned)align, numa);
	/* far memory is slower, no memory is worse */
	if (!p && numa >= 0)
		p = zero ? rte_zmalloc_socket(NULL, size, (unsigned)align, SOCKET_ID_ANY)
			 : rte_malloc_socket(NULL, size, (unsigned)align, SOCKET_ID_ANY);
	if (!p)
		errno = ENOMEM;
	return p;
}

void *plx_dma_zalloc(size_t size, size_t align, int numa)
{
	return dma_get(size, align, numa, true);
}

void *plx_dma_alloc(size_t size, size_t align, int numa)
{
	return dma_get(size, align, numa, false);
}

void plx_dma_free(void *ptr)
{
	rte_free(ptr);
}

/* ---- foreign memory ---- */

static void unregister_from(uint64_t at, uint64_t n)
{
	for (; n; n--) {
		struct plx_range r = mem.ranges.table->r[at];

		plx_ranges_remove(&mem.ranges, at);
		listeners_remove(&r, NULL);
	}
}

/* How many ranges from @at on were registered as one with @base, and their bytes. */
static uint64_t owned_from(uint64_t at, uint64_t base, uint64_t *bytes)
{
	uint64_t n = 0;

	*bytes = 0;
	while (at + n < mem.ranges.count && mem.ranges.table->r[at + n].owner == base)
		*bytes += mem.ranges.table->r[at + n++].len;
	return n;
}

int plx_mem_register(void *addr, size_t len, int fd, uint64_t offset)
{
	struct plx_range r = {
		.base = (uint64_t)(uintptr_t)addr,
		.len = len,
		.iova = (uint64_t)(uintptr_t)addr,
		.fd = (uint64_t)(fd < 0 ? -1 : fd),
		.fd_offset = fd < 0 ? 0 : offset,
		.owner = (uint64_t)(uintptr_t)addr,
	};
	int rc;

	if (!addr || !len || r.base % PLX_PAGE_SIZE || len % PLX_PAGE_SIZE ||
	    r.base + len < r.base || r.fd_offset + len < len)
		return -EINVAL;
	pthread_mutex_lock(&mem.lock);
	if (plx_ranges_overlap(&mem.ranges, r.base, len))
		rc = -EEXIST;
	else
		rc = range_publish(&r);
	pthread_mutex_unlock(&mem.lock);
	return rc;
}

int plx_mem_unregister(void *addr, size_t len)
{
	uint64_t base = (uint64_t)(uintptr_t)addr;
	uint64_t at, n, bytes;
	int rc = -ENOENT;

	pthread_mutex_lock(&mem.lock);
	at = plx_ranges_lower(&mem.ranges, base);
	n = addr ? owned_from(at, base, &bytes) : 0;
	if (n && mem.ranges.table->r[at].base == base && bytes == len) {
		unregister_from(at, n);
		rc = 0;
	}
	pthread_mutex_unlock(&mem.lock);
	return rc;
}

/* ---- look-ups ---- */

static plx_noinline bool range_find(uint64_t va, struct plx_range *out)
{
	uint64_t seq;

	if (!plx_ranges_find(&mem.ranges, va, out, &seq))
		return false;
	last.r = *out;
	last.seq = seq;
	return true;
}

/* The range of @va in this thread's copy. NULL: none. */
static inline const struct plx_range *range_get(uint64_t va, struct plx_range *scratch)
{
	if (plx_likely(last.seq == __atomic_load_n(&mem.ranges.seq, __ATOMIC_ACQUIRE) &&
		       va - last.r.base < last.r.len))
		return &last.r;
	return range_find(va, scratch) ? scratch : NULL;
}

/* Bytes from @va on that go on without a gap from range to range, @want at most. */
static plx_noinline uint64_t run_length(uint64_t va, uint64_t want, const struct plx_range *first,
					bool by_file)
{
	struct plx_range r = *first, next;
	uint64_t run = r.base + r.len - va;

	while (run < want && range_find(r.base + r.len, &next) && next.base == r.base + r.len) {
		if (by_file ? next.fd != r.fd || next.fd_offset != r.fd_offset + r.len
			    : next.iova != r.iova + r.len)
			break;
		run += next.len;
		r = next;
	}
	return run < want ? run : want;
}

uint64_t plx_mem_iova(const void *va, size_t *len)
{
	uint64_t a = (uint64_t)(uintptr_t)va;
	struct plx_range scratch;
	const struct plx_range *r = range_get(a, &scratch);
	uint64_t iova;

	if (plx_unlikely(!r)) {
		if (len)
			*len = 0;
		return PLX_IOVA_BAD;
	}
	iova = r->iova + (a - r->base);
	if (len && plx_unlikely(*len > r->base + r->len - a))
		*len = run_length(a, *len, r, false);
	return iova;
}

int plx_mem_fd(const void *va, size_t len, int *fd, uint64_t *offset)
{
	uint64_t a = (uint64_t)(uintptr_t)va;
	struct plx_range scratch;
	const struct plx_range *r = range_get(a, &scratch);
	int file;
	uint64_t at;

	if (!r || (int)r->fd < 0)
		return -ENOENT;
	file = (int)r->fd;
	at = r->fd_offset + (a - r->base);
	if (len > r->base + r->len - a && run_length(a, len, r, true) < len)
		return -ENOENT;
	*fd = file;
	*offset = at;
	return 0;
}

/* ---- listeners ---- */

int plx_mem_listen(struct plx_mem_listener *l)
{
	int rc = 0;
	uint64_t i;

	pthread_mutex_lock(&mem.lock);
	for (i = 0; i < mem.ranges.count && !rc; i++) {
		struct plx_mem_region region = range_region(&mem.ranges.table->r[i]);

		rc = l->add(l, &region);
	}
	if (rc) {
		/* all of them or none: the last one failed */
		for (i--; i > 0; i--) {
			struct plx_mem_region region = range_region(&mem.ranges.table->r[i - 1]);

			l->remove(l, &region);
		}
	} else {
		l->next = mem.listeners;
		mem.listeners = l;
	}
	pthread_mutex_unlock(&mem.lock);
	return rc;
}

void plx_mem_unlisten(struct plx_mem_listener *l)
{
	pthread_mutex_lock(&mem.lock);
	for (struct plx_mem_listener **p = &mem.listeners; *p; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			break;
		}
	}
	pthread_mutex_unlock(&mem.lock);
}
