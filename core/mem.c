/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/mem.c - memory that devices reach: allocation, foreign memory, look-ups, listeners
 *
 * One sorted table knows every range: EAL's own, merged into as few as addresses and files allow,
 * and what was registered. It is read on I/O paths by any thread and changes rarely, so readers
 * take no lock: the table's words are read between two looks at a sequence number (odd while it
 * changes), and each thread keeps a copy of the range it found last.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memory.h>

#include "core_internal.h"

#define TABLE_MIN 64

/* One range. Words only, because readers copy it word by word. */
struct range {
	uint64_t base;
	uint64_t len;
	uint64_t iova;
	uint64_t fd; /* an int, sign extended */
	uint64_t fd_offset;
	uint64_t owner; /* address it was registered with; 0: EAL's */
};
#define RANGE_WORDS (sizeof(struct range) / sizeof(uint64_t))
_Static_assert(sizeof(struct range) == 6 * sizeof(uint64_t), "a range is words only");

/* A table that was outgrown stays until the end: a reader may still be in it. */
struct table {
	struct table *outgrown;
	uint64_t cap;
	struct range r[];
};

static struct {
	/* read by every look-up */
	uint64_t seq;
	struct table *table;
	uint64_t count;
	bool iova_is_va;
	/* writers only */
	pthread_mutex_t lock plx_aligned(PLX_NO_SHARE);
	struct plx_mem_listener *listeners;
	bool events;
} mem = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The range found last, valid while the sequence number is the same. */
static _Thread_local struct {
	uint64_t seq;
	struct range r;
} last __attribute__((tls_model("initial-exec")));

static inline uint64_t word_load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void word_store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static void range_copy(struct range *dst, const struct range *src)
{
	for (size_t i = 0; i < RANGE_WORDS; i++)
		word_store((uint64_t *)dst + i, word_load((const uint64_t *)src + i));
}

static struct plx_mem_region range_region(const struct range *r)
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

static void change_begin(void)
{
	__atomic_store_n(&mem.seq, mem.seq + 1, __ATOMIC_RELAXED);
}

static void change_end(void)
{
	word_store(&mem.seq, mem.seq + 1);
}

/* Index of the first range that ends above @va. */
static uint64_t table_lower(uint64_t va)
{
	uint64_t lo = 0, hi = mem.count;

	while (lo < hi) {
		uint64_t mid = (lo + hi) / 2;
		const struct range *r = &mem.table->r[mid];

		if (r->base + r->len <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int table_reserve(uint64_t more)
{
	uint64_t cap = mem.table ? mem.table->cap : TABLE_MIN;
	struct table *t;

	if (mem.table && mem.count + more <= cap)
		return 0;
	while (cap < mem.count + more)
		cap *= 2;
	t = malloc(sizeof(*t) + cap * sizeof(struct range));
	if (!t)
		return -ENOMEM;
	t->cap = cap;
	t->outgrown = mem.table;
	if (mem.count)
		memcpy(t->r, mem.table->r, mem.count * sizeof(struct range));
	__atomic_store_n(&mem.table, t, __ATOMIC_RELEASE);
	return 0;
}

/* Room for it has been reserved. */
static void table_insert(const struct range *r)
{
	uint64_t at = table_lower(r->base);

	change_begin();
	for (uint64_t i = mem.count; i > at; i--)
		range_copy(&mem.table->r[i], &mem.table->r[i - 1]);
	range_copy(&mem.table->r[at], r);
	word_store(&mem.count, mem.count + 1);
	change_end();
}

static void table_remove(uint64_t at, uint64_t n)
{
	change_begin();
	for (uint64_t i = at; i + n < mem.count; i++)
		range_copy(&mem.table->r[i], &mem.table->r[i + n]);
	word_store(&mem.count, mem.count - n);
	change_end();
}

static bool table_overlaps(uint64_t base, uint64_t len)
{
	uint64_t at = table_lower(base);

	return at < mem.count && mem.table->r[at].base < base + len;
}

static void listeners_remove(const struct range *r, const struct plx_mem_listener *until)
{
	struct plx_mem_region region = range_region(r);

	for (struct plx_mem_listener *l = mem.listeners; l != until; l = l->next)
		l->remove(l, &region);
}

/* All of them or none. */
static int listeners_add(const struct range *r)
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

static bool ranges_touch(const struct range *a, const struct range *b)
{
	return a->base + a->len == b->base && a->iova + a->len == b->iova && a->fd == b->fd &&
	       ((int)a->fd < 0 || a->fd_offset + a->len == b->fd_offset);
}

static struct range segment_range(const struct rte_memseg *ms, size_t len)
{
	size_t offset = 0;
	int fd = rte_memseg_get_fd_thread_unsafe(ms);

	if (fd >= 0 && rte_memseg_get_fd_offset_thread_unsafe(ms, &offset))
		fd = -1;
	return (struct range){
		.base = ms->addr_64,
		.len = len,
		.iova = ms->iova,
		.fd = (uint64_t)fd,
		.fd_offset = fd < 0 ? 0 : offset,
	};
}

static int range_publish(const struct range *r)
{
	int rc = table_reserve(1);

	if (!rc)
		rc = listeners_add(r);
	if (!rc)
		table_insert(r);
	return rc;
}

/* @ms: first of the segments of @len bytes of consecutive addresses. Called with EAL's memory
 * locked. */
static int segments_publish(const struct rte_memseg *ms, size_t len)
{
	struct range r, next;
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
	uint64_t at = table_lower(base);

	while (at < mem.count && mem.table->r[at].base < base + len) {
		struct range r = mem.table->r[at];

		table_remove(at, 1);
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

	mem.iova_is_va = rte_eal_iova_mode() == RTE_IOVA_VA;
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
	change_begin();
	word_store(&mem.count, 0);
	change_end();
	while (mem.table) {
		struct table *t = mem.table;

		mem.table = t->outgrown;
		free(t);
	}
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
	if (!mem.table || !size || (align & (align - 1)) || align > UINT32_MAX) {
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
		struct range r = mem.table->r[at];

		table_remove(at, 1);
		listeners_remove(&r, NULL);
	}
}

/* How many ranges from @at on were registered as one with @base, and their bytes. */
static uint64_t owned_from(uint64_t at, uint64_t base, uint64_t *bytes)
{
	uint64_t n = 0;

	*bytes = 0;
	while (at + n < mem.count && mem.table->r[at + n].owner == base)
		*bytes += mem.table->r[at + n++].len;
	return n;
}

/*
 * Where devices use physical addresses, only pages that the kernel never moves will do, hugepages,
 * and each has an address of its own.
 */
static int register_physical(const struct range *whole)
{
	struct range r = *whole;
	struct statfs fs;
	uint64_t bytes, at;
	uint64_t step;
	int rc = 0;

	if ((int)whole->fd < 0 || fstatfs((int)whole->fd, &fs) || fs.f_type != HUGETLBFS_MAGIC) {
		plx_log(PLX_LOG_ERR, "mem",
			"memory at 0x%lx has no hugepages behind it, and without an IOMMU a device "
			"reaches no other: back it with hugetlbfs",
			(unsigned long)whole->base);
		return -EINVAL;
	}
	step = (uint64_t)fs.f_bsize;
	if (!step || whole->base % step || whole->len % step)
		return -EINVAL;
	r.len = 0;
	for (uint64_t done = 0; done < whole->len && !rc; done += step) {
		struct range page = {
			.base = whole->base + done,
			.len = step,
			.fd = whole->fd,
			.fd_offset = whole->fd_offset + done,
			.owner = whole->owner,
		};

		(void)*(volatile char *)(uintptr_t)
			page.base; /* there is no address before the first touch */
		page.iova = rte_mem_virt2phy((void *)(uintptr_t)page.base);
		if (page.iova == RTE_BAD_IOVA) {
			rc = -EINVAL;
		} else if (r.len && ranges_touch(&r, &page)) {
			r.len += step;
		} else {
			rc = r.len ? range_publish(&r) : 0;
			r = page;
		}
	}
	if (!rc)
		rc = range_publish(&r);
	if (rc) {
		at = table_lower(whole->base);
		unregister_from(at, owned_from(at, whole->owner, &bytes));
	}
	return rc;
}

int plx_mem_register(void *addr, size_t len, int fd, uint64_t offset)
{
	struct range r = {
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
	if (table_overlaps(r.base, len))
		rc = -EEXIST;
	else
		rc = mem.iova_is_va ? range_publish(&r) : register_physical(&r);
	pthread_mutex_unlock(&mem.lock);
	return rc;
}

int plx_mem_unregister(void *addr, size_t len)
{
	uint64_t base = (uint64_t)(uintptr_t)addr;
	uint64_t at, n, bytes;
	int rc = -ENOENT;

	pthread_mutex_lock(&mem.lock);
	at = table_lower(base);
	n = addr ? owned_from(at, base, &bytes) : 0;
	if (n && mem.table->r[at].base == base && bytes == len) {
		unregister_from(at, n);
		rc = 0;
	}
	pthread_mutex_unlock(&mem.lock);
	return rc;
}

/* ---- look-ups ---- */

/* Copies the range that holds @va, or the first above it. Returns false where there is none, or
 * while the table changes: the caller compares sequence numbers before it believes anything. */
static bool range_copy_at(uint64_t va, struct range *out)
{
	const struct table *t = __atomic_load_n(&mem.table, __ATOMIC_ACQUIRE);
	uint64_t lo = 0, n = word_load(&mem.count), hi;

	if (!t)
		return false;
	if (n > t->cap) /* the count of a table yet to be seen */
		n = t->cap;
	hi = n;
	while (lo < hi) {
		uint64_t mid = (lo + hi) / 2;

		if (word_load(&t->r[mid].base) + word_load(&t->r[mid].len) <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == n)
		return false;
	range_copy(out, &t->r[lo]);
	return true;
}

static plx_noinline bool range_find(uint64_t va, struct range *out)
{
	for (;;) {
		uint64_t seq = word_load(&mem.seq);
		bool found;

		if (seq & 1) {
			__builtin_ia32_pause();
			continue;
		}
		found = range_copy_at(va, out);
		if (__atomic_load_n(&mem.seq, __ATOMIC_RELAXED) != seq)
			continue;
		if (!found || va < out->base)
			return false;
		last.r = *out;
		last.seq = seq;
		return true;
	}
}

/* The range of @va in this thread's copy. NULL: none. */
static inline const struct range *range_get(uint64_t va, struct range *scratch)
{
	if (plx_likely(last.seq == word_load(&mem.seq) && va - last.r.base < last.r.len))
		return &last.r;
	return range_find(va, scratch) ? scratch : NULL;
}

/* Bytes from @va on that go on without a gap from range to range, @want at most. */
static plx_noinline uint64_t run_length(uint64_t va, uint64_t want, const struct range *first,
					bool by_file)
{
	struct range r = *first, next;
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
	struct range scratch;
	const struct range *r = range_get(a, &scratch);
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

bool plx_mem_iova_is_va(void)
{
	return mem.iova_is_va;
}

int plx_mem_fd(const void *va, size_t len, int *fd, uint64_t *offset)
{
	uint64_t a = (uint64_t)(uintptr_t)va;
	struct range scratch;
	const struct range *r = range_get(a, &scratch);
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
	for (i = 0; i < mem.count && !rc; i++) {
		struct plx_mem_region region = range_region(&mem.table->r[i]);

		rc = l->add(l, &region);
	}
	if (rc) {
		/* all of them or none: the last one failed */
		for (i--; i > 0; i--) {
			struct plx_mem_region region = range_region(&mem.table->r[i - 1]);

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
