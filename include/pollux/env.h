/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/env.h - the machine as pollux sees it: memory a device can reach, time, topology, logging
 *
 * This is the only part of pollux that talks to DPDK's EAL. Functions return 0 or a negative errno
 * unless they say otherwise. Nothing here belongs on an I/O path except plx_tsc() and, where IOVAs
 * are not virtual addresses, plx_mem_iova().
 */
#ifndef POLLUX_ENV_H
#define POLLUX_ENV_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PLX_CACHE_LINE 64
/* Adjacent-line prefetchers pull lines in pairs: what two cores write is kept this far apart. */
#define PLX_NO_SHARE  128
#define PLX_PAGE_SIZE 4096u

#define plx_likely(x)	  __builtin_expect(!!(x), 1)
#define plx_unlikely(x)	  __builtin_expect(!!(x), 0)
#define plx_aligned(n)	  __attribute__((aligned(n)))
#define plx_noinline	  __attribute__((noinline, cold))
#define PLX_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define plx_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- environment ---- */

/**
 * struct plx_env_opts - how to initialise; fill with plx_env_opts_init() first
 * @name: program name, shown in logs
 * @mem_mb: MiB of DMA memory to make available; 0 picks a default
 * @no_huge: do not use hugepages even where there are some
 * @log_level: PLX_LOG_*, the level of everything not set with plx_log_set_level()
 * @eal_args: more arguments for DPDK's EAL, separated by blanks, or NULL; copied
 */
struct plx_env_opts {
	const char *name;
	size_t mem_mb;
	bool no_huge;
	int log_level;
	const char *eal_args;
};

void plx_env_opts_init(struct plx_env_opts *opts);

/**
 * plx_env_init - start the environment, once per process
 * @opts: NULL for the defaults
 *
 * Uses hugepages where enough are free, else ordinary pages in one shared memory file; never fails
 * on a fresh machine for lack of hugepages, and needs no privilege for that. Keeps the caller's CPU
 * affinity.
 *
 * Return: 0; -EALREADY when initialised; -ENOMEM when @mem_mb cannot be had; -E2BIG for more than
 * 32 arguments; other negative errno from EAL, which has said why in the log.
 */
int plx_env_init(const struct plx_env_opts *opts);

/** plx_env_fini - release everything; all objects of the upper layers must be gone. */
void plx_env_fini(void);

/** plx_env_describe - one line: kind and amount of memory, IOVA mode. Valid until
 *  plx_env_fini(). */
const char *plx_env_describe(void);
bool plx_env_has_hugepages(void);
/** plx_env_may_use_hugepages - @no_huge was not set: modules with memory of their own go by it */
bool plx_env_may_use_hugepages(void);

/* ---- DMA memory ---- */

#define PLX_NUMA_ANY (-1)
#define PLX_IOVA_BAD UINT64_MAX

/**
 * plx_dma_zalloc - zeroed memory that devices and virtual devices can reach
 * @size: bytes
 * @align: bytes, a power of two; 0 means one cache line
 * @numa: node to take it from, if that has any left, or PLX_NUMA_ANY for the caller's
 *
 * Return: memory owned by the caller, freed with plx_dma_free(); NULL with errno ENOMEM.
 * Not for the I/O path: it takes locks.
 */
void *plx_dma_zalloc(size_t size, size_t align, int numa);
/** plx_dma_alloc - the same without zeroing. */
void *plx_dma_alloc(size_t size, size_t align, int numa);
void plx_dma_free(void *ptr);

/**
 * plx_mem_register - make foreign memory (a guest's, a client's, the caller's own mmap) usable for
 * DMA
 * @addr: page aligned
 * @len: bytes, a multiple of the page size
 * @fd: file behind the memory, or -1; not duplicated, must stay open while registered
 * @offset: offset of @addr in @fd, bytes
 *
 * Return: 0; -EINVAL unaligned or empty; -EEXIST overlaps a registered range; -ENOMEM.
 */
int plx_mem_register(void *addr, size_t len, int fd, uint64_t offset);
/** plx_mem_unregister - @addr and @len as registered. Return: 0; -ENOENT. */
int plx_mem_unregister(void *addr, size_t len);

/**
 * plx_mem_iova - address that a device uses for @va
 * @va: any address inside DMA or registered memory
 * @len: in: bytes wanted, out: bytes contiguous from @va (never more than wanted); NULL when only
 * @va matters
 *
 * Return: the IOVA; PLX_IOVA_BAD for memory no device can reach. Any thread.
 */
uint64_t plx_mem_iova(const void *va, size_t *len);

/**
 * plx_mem_fd - file and offset behind @va, for handing memory to another process
 * @len: bytes that must be contiguous in the file
 *
 * Return: 0; -ENOENT when no file is behind that memory.
 */
int plx_mem_fd(const void *va, size_t len, int *fd, uint64_t *offset);

/** struct plx_mem_region - one range of memory devices may reach */
struct plx_mem_region {
	void *addr;
	size_t len;
	uint64_t iova;
	int fd; /* -1: no file */
	uint64_t fd_offset;
};

/**
 * struct plx_mem_listener - is told of every region, present and future
 * @add: a region is there; a failure of it is logged and fails the plx_mem_register() that caused
 * it
 * @remove: a region goes away; no I/O may use it any more
 *
 * Callbacks run on whichever thread registers or allocates, under the region lock: no allocation in
 * them.
 */
struct plx_mem_listener {
	int (*add)(struct plx_mem_listener *l, const struct plx_mem_region *r);
	void (*remove)(struct plx_mem_listener *l, const struct plx_mem_region *r);
	struct plx_mem_listener *next; /* core's own */
};
/** plx_mem_listen - calls add() for every existing region before it returns. Return: 0 or the first
 *  failure; remove() is then called for what had been added. */
int plx_mem_listen(struct plx_mem_listener *l);
/** plx_mem_unlisten - no further calls; does not call remove(). */
void plx_mem_unlisten(struct plx_mem_listener *l);

/* ---- time ---- */

/** plx_tsc - the invariant time stamp counter, in ticks */
static inline uint64_t plx_tsc(void)
{
	return __builtin_ia32_rdtsc();
}
/** plx_tsc_hz - ticks per second; valid after plx_env_init() */
uint64_t plx_tsc_hz(void);

/** struct plx_tsc_scale - ticks to nanoseconds by multiplication: ns = ticks * mult >> 32 */
struct plx_tsc_scale {
	uint64_t mult;
};
struct plx_tsc_scale plx_tsc_scale(void);
/** plx_tsc_to_ns - no division; exact to 1 part in 10^9 */
static inline uint64_t plx_tsc_to_ns(struct plx_tsc_scale s, uint64_t ticks)
{
	return (uint64_t)(((unsigned __int128)ticks * s.mult) >> 32);
}

/* ---- topology (hwloc, libnuma) ---- */

#define PLX_MAX_CPUS 1024

/** struct plx_cpuset - a set of logical CPUs by operating system index */
struct plx_cpuset {
	uint64_t bits[PLX_MAX_CPUS / 64];
};
static inline bool plx_cpuset_has(const struct plx_cpuset *s, unsigned cpu)
{
	return cpu < PLX_MAX_CPUS && (s->bits[cpu / 64] >> (cpu % 64) & 1);
}
static inline void plx_cpuset_add(struct plx_cpuset *s, unsigned cpu)
{
	if (cpu < PLX_MAX_CPUS)
		s->bits[cpu / 64] |= 1ull << (cpu % 64);
}
static inline void plx_cpuset_del(struct plx_cpuset *s, unsigned cpu)
{
	if (cpu < PLX_MAX_CPUS)
		s->bits[cpu / 64] &= ~(1ull << (cpu % 64));
}
unsigned plx_cpuset_count(const struct plx_cpuset *s);
/** plx_cpuset_next - the lowest member above @prev (-1 to start). Return: a CPU or -1 at the
 *  end. */
int plx_cpuset_next(const struct plx_cpuset *s, int prev);
/**
 * plx_cpuset_parse - a mask ("0x3", "ff") or a list ("[0,2-5]", "0,2-5")
 *
 * As the field's tools do it: text with 0x or only hex digits and no comma, dash or bracket is a
 * mask.
 * Return: 0; -EINVAL with a sentence in @err.
 */
int plx_cpuset_parse(const char *text, struct plx_cpuset *out, char *err, size_t errlen);
/** plx_cpuset_format - as a list, "0,2-5". Return: @buf */
char *plx_cpuset_format(const struct plx_cpuset *s, char *buf, size_t len);

/** plx_topo_allowed - the CPUs this process may run on */
void plx_topo_allowed(struct plx_cpuset *out);
/** plx_topo_cpu_node - NUMA node of a CPU; 0 on machines without NUMA; -ENOENT */
int plx_topo_cpu_node(unsigned cpu);
/** plx_topo_pci_node - NUMA node nearest to a PCI function "0000:04:00.0"; PLX_NUMA_ANY when
 *  unknown */
int plx_topo_pci_node(const char *bdf);
/** plx_topo_distance - relative distance of two nodes, 10 = local (libnuma) */
int plx_topo_distance(int node_a, int node_b);
/** plx_topo_bind_self - pin the calling thread to one CPU. Return: 0; -EINVAL not allowed or
 *  absent */
int plx_topo_bind_self(unsigned cpu);
/**
 * plx_topo_check - warn (log, once per pair) when @cpu is on another node than the device
 * Return: true when they are far apart.
 */
bool plx_topo_check(unsigned cpu, int device_node, const char *device);

/* ---- logging (rte_log types "pollux.<component>") ---- */

enum { PLX_LOG_ERR = 4, PLX_LOG_WARN = 5, PLX_LOG_NOTICE = 6, PLX_LOG_INFO = 7, PLX_LOG_DEBUG = 8 };

/** plx_log - one line to stderr, prefixed with program, component and level */
void plx_log(int level, const char *component, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/**
 * plx_log_set_level - @component NULL or "all" for every one
 * Return: 0; -ENOENT nothing has logged under that name yet, the level waits for it; -EINVAL level.
 */
int plx_log_set_level(const char *component, int level);
/** plx_log_component - make a component known before it says anything, to those who list them */
void plx_log_component(const char *name);
#define PLX_LOG_COMPONENT(name)                                                                    \
	__attribute__((constructor)) static void log_component_##name(void)                        \
	{                                                                                          \
		plx_log_component(#name);                                                          \
	}
/**
 * plx_log_last_error - what the calling thread last logged at PLX_LOG_ERR, without its prefix
 *
 * For those who have to pass on why a call failed that says so in the log.
 * Return: the text, "" when there is none; the thread's, until it logs another or forgets it
 */
const char *plx_log_last_error(void);
void plx_log_forget_error(void);
int plx_log_level_parse(const char *text); /* "error", "warn", "notice", "info", "debug"; -EINVAL */

#ifdef __cplusplus
}
#endif
#endif
