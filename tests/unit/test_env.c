/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_env.c - memory for devices, look-ups, listeners, time, logging
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pollux/env.h>

#define MIB 1048576u

static void start(void)
{
	struct plx_env_opts o;

	plx_env_opts_init(&o);
	o.name = "test_env";
	o.mem_mb = 32;
	cr_assert_eq(plx_env_init(&o), 0);
}

TestSuite(env, .init = start, .fini = plx_env_fini);

/* ---- start ---- */

Test(env, second_init_is_refused)
{
	cr_assert_eq(plx_env_init(NULL), -EALREADY);
}

Test(env, describe_names_amount_and_kind)
{
	const char *d = plx_env_describe();

	cr_assert_not_null(strstr(d, "32 MiB"), "%s", d);
	cr_assert_eq(plx_env_has_hugepages(), strstr(d, "hugepages of") != NULL, "%s", d);
}

Test(env_start, init_keeps_the_callers_affinity)
{
	cpu_set_t before, after;

	cr_assert_eq(pthread_getaffinity_np(pthread_self(), sizeof(before), &before), 0);
	start();
	cr_assert_eq(pthread_getaffinity_np(pthread_self(), sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after));
	plx_env_fini();
}

Test(env_start, init_works_in_a_cpuset_without_cpu_0)
{
	struct plx_cpuset allowed;
	cpu_set_t one;
	int cpu, last = -1;

	/* not plx_topo_allowed(): it would remember */
	cr_assert_eq(sched_getaffinity(0, sizeof(one), &one), 0);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &one))
			last = cpu;
	CPU_ZERO(&one);
	CPU_SET(last, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	start();
	plx_topo_allowed(&allowed);
	cr_assert_eq(plx_cpuset_count(&allowed), 1);
	cr_assert(plx_cpuset_has(&allowed, (unsigned)last));
	plx_env_fini();
}

Test(env_start, init_is_silent_and_needs_no_runtime_directory)
{
	char path[] = "/tmp/pollux-test-XXXXXX";
	int fd = mkstemp(path), saved[2];
	off_t said;

	unlink(path);
	setenv("XDG_RUNTIME_DIR", "/proc/nowhere", 1);
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		saved[i] = dup(i + 1);
		dup2(fd, i + 1);
	}
	start();
	fflush(NULL);
	said = lseek(fd, 0, SEEK_END);
	for (int i = 0; i < 2; i++)
		dup2(saved[i], i + 1);
	cr_assert_eq(said, 0, "%ld bytes were printed", (long)said);
	plx_env_fini();
}

Test(env_start, there_is_no_memory_before_init_and_after_fini)
{
	cr_assert_null(plx_dma_alloc(64, 0, PLX_NUMA_ANY));
	start();
	plx_dma_free(plx_dma_alloc(64, 0, PLX_NUMA_ANY));
	plx_env_fini();
	cr_assert_null(plx_dma_alloc(64, 0, PLX_NUMA_ANY));
	cr_assert_eq(plx_mem_iova(&errno, NULL), PLX_IOVA_BAD);
}

Test(env_start, no_huge_is_obeyed)
{
	struct plx_env_opts o;

	plx_env_opts_init(&o);
	o.mem_mb = 32;
	o.no_huge = true;
	cr_assert_eq(plx_env_init(&o), 0);
	cr_assert_not(plx_env_has_hugepages());
	plx_env_fini();
}

/* ---- allocation ---- */

Test(env, alloc_is_aligned_as_asked)
{
	static const size_t aligns[] = { 0, 8, 64, 128, 4096, 65536, 2 * MIB };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(aligns); i++) {
		size_t align = aligns[i] ? aligns[i] : PLX_CACHE_LINE;
		void *p = plx_dma_alloc(100, aligns[i], PLX_NUMA_ANY);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % align, 0, "%p is not aligned to %zu", p, align);
		plx_dma_free(p);
	}
}

Test(env, zalloc_is_zero_after_use)
{
	size_t len = 4 * MIB;

	for (int round = 0; round < 3; round++) {
		char *p = plx_dma_zalloc(len, PLX_PAGE_SIZE, PLX_NUMA_ANY);

		cr_assert_not_null(p);
		cr_assert_eq(p[0], 0);
		cr_assert_eq(memcmp(p, p + 1, len - 1), 0);
		memset(p, 0xa5, len);
		plx_dma_free(p);
	}
}

Test(env, impossible_allocations_fail_with_enomem)
{
	static const struct {
		size_t size, align;
	} bad[] = { { 0, 0 },
		    { 100, 3 },
		    { 100, 96 },
		    { SIZE_MAX, 0 },
		    { SIZE_MAX - 4096, 4096 },
		    { 1ull << 46, 0 },
		    { 100, 1ull << 40 } };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		errno = 0;
		cr_assert_null(plx_dma_zalloc(bad[i].size, bad[i].align, PLX_NUMA_ANY), "case %zu",
			       i);
		cr_assert_eq(errno, ENOMEM);
	}
	plx_dma_free(NULL);
}

Test(env, a_node_that_does_not_exist_falls_back_to_any)
{
	void *p = plx_dma_alloc(4096, 0, 1);

	cr_assert_not_null(p);
	plx_dma_free(p);
}

/* ---- look-ups ---- */

Test(env, dma_memory_has_an_iova_and_knows_how_far_it_goes)
{
	size_t want = MIB, len = want;
	char *p = plx_dma_alloc(want, PLX_PAGE_SIZE, PLX_NUMA_ANY);
	uint64_t iova = plx_mem_iova(p, &len);

	cr_assert_neq(iova, PLX_IOVA_BAD);
	cr_assert_gt(len, 0);
	cr_assert_leq(len, want);
	cr_assert_eq(plx_mem_iova(p + 5, NULL), iova + 5);
	cr_assert_eq(iova, (uint64_t)(uintptr_t)p);
	cr_assert_eq(len, want);
	plx_dma_free(p);
}

Test(env, other_memory_has_no_iova)
{
	int local = 0;
	size_t len = 4;
	int fd;
	uint64_t offset;

	cr_assert_eq(plx_mem_iova(&local, &len), PLX_IOVA_BAD);
	cr_assert_eq(len, 0);
	cr_assert_eq(plx_mem_iova(NULL, NULL), PLX_IOVA_BAD);
	cr_assert_eq(plx_mem_iova((void *)UINTPTR_MAX, NULL), PLX_IOVA_BAD);
	cr_assert_eq(plx_mem_fd(&local, 4, &fd, &offset), -ENOENT);
}

Test(env, fd_of_dma_memory_maps_the_same_bytes)
{
	size_t len = MIB;
	unsigned char *p = plx_dma_zalloc(len, PLX_PAGE_SIZE, PLX_NUMA_ANY), *q;
	uint64_t offset, skew;
	int fd;

	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(i * 7 + (i >> 12));
	cr_assert_eq(plx_mem_fd(p, len, &fd, &offset), 0);
	/* the offset of a mapping is a multiple of its page size, a hugepage's too */
	skew = offset % (2 * MIB);
	q = mmap(NULL, len + skew + 2 * MIB - (len + skew) % (2 * MIB), PROT_READ | PROT_WRITE,
		 MAP_SHARED, fd, (off_t)(offset - skew));
	cr_assert_neq(q, MAP_FAILED);
	cr_assert_eq(memcmp(p, q + skew, len), 0);
	q[skew + 4321] = 99;
	cr_assert_eq(p[4321], 99);
	plx_dma_free(p);
}

Test(env, fd_beyond_the_memory_is_refused)
{
	char *p = plx_dma_alloc(4096, 0, PLX_NUMA_ANY);
	uint64_t offset;
	int fd;

	cr_assert_eq(plx_mem_fd(p, 1ull << 45, &fd, &offset), -ENOENT);
	plx_dma_free(p);
}

/* ---- foreign memory ---- */

struct foreign {
	char *addr;
	size_t len;
	int fd;
};

static struct foreign foreign_get(size_t len)
{
	struct foreign f = { .len = len, .fd = memfd_create("test", 0) };

	cr_assert_eq(ftruncate(f.fd, (off_t)len), 0);
	f.addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	cr_assert_neq(f.addr, MAP_FAILED);
	return f;
}

static void foreign_put(struct foreign *f)
{
	munmap(f->addr, f->len);
	close(f->fd);
}

Test(env, registered_memory_is_found_until_unregistered)
{
	struct foreign f = foreign_get(4 * PLX_PAGE_SIZE);
	size_t len = SIZE_MAX;
	uint64_t offset;
	int fd;

	cr_assert_eq(plx_mem_iova(f.addr, NULL), PLX_IOVA_BAD);
	cr_assert_eq(plx_mem_register(f.addr + PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE, f.fd,
				      PLX_PAGE_SIZE),
		     0);

	cr_assert_eq(plx_mem_iova(f.addr + PLX_PAGE_SIZE + 17, &len),
		     (uintptr_t)f.addr + PLX_PAGE_SIZE + 17);
	cr_assert_eq(len, 2 * PLX_PAGE_SIZE - 17);
	cr_assert_eq(plx_mem_iova(f.addr + PLX_PAGE_SIZE - 1, NULL), PLX_IOVA_BAD);
	cr_assert_eq(plx_mem_iova(f.addr + 3 * PLX_PAGE_SIZE, NULL), PLX_IOVA_BAD);
	cr_assert_eq(plx_mem_fd(f.addr + PLX_PAGE_SIZE + 17, 10, &fd, &offset), 0);
	cr_assert_eq(fd, f.fd);
	cr_assert_eq(offset, PLX_PAGE_SIZE + 17);
	cr_assert_eq(plx_mem_fd(f.addr + PLX_PAGE_SIZE + 17, 2 * PLX_PAGE_SIZE, &fd, &offset),
		     -ENOENT);

	cr_assert_eq(plx_mem_unregister(f.addr + PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE), 0);
	cr_assert_eq(plx_mem_iova(f.addr + PLX_PAGE_SIZE, NULL), PLX_IOVA_BAD);
	foreign_put(&f);
}

Test(env, a_range_across_two_neighbours_is_one_where_addresses_and_files_go_on)
{
	struct foreign f = foreign_get(3 * PLX_PAGE_SIZE);
	size_t len = 3 * PLX_PAGE_SIZE;
	uint64_t offset;
	int fd;

	cr_assert_eq(plx_mem_register(f.addr, PLX_PAGE_SIZE, f.fd, 0), 0);
	cr_assert_eq(plx_mem_register(f.addr + PLX_PAGE_SIZE, PLX_PAGE_SIZE, f.fd, PLX_PAGE_SIZE),
		     0);
	cr_assert_eq(plx_mem_register(f.addr + 2 * PLX_PAGE_SIZE, PLX_PAGE_SIZE, -1, 0), 0);

	cr_assert_neq(plx_mem_iova(f.addr, &len), PLX_IOVA_BAD);
	cr_assert_eq(len, 3 * PLX_PAGE_SIZE);
	cr_assert_eq(plx_mem_fd(f.addr + 10, 2 * PLX_PAGE_SIZE - 10, &fd, &offset), 0);
	cr_assert_eq(offset, 10);
	cr_assert_eq(plx_mem_fd(f.addr, 2 * PLX_PAGE_SIZE + 1, &fd, &offset), -ENOENT);
	cr_assert_eq(plx_mem_fd(f.addr + 2 * PLX_PAGE_SIZE, 1, &fd, &offset), -ENOENT);

	/* the same file, but not where the first page ends */
	cr_assert_eq(plx_mem_unregister(f.addr + PLX_PAGE_SIZE, PLX_PAGE_SIZE), 0);
	cr_assert_eq(plx_mem_register(f.addr + PLX_PAGE_SIZE, PLX_PAGE_SIZE, f.fd,
				      2 * PLX_PAGE_SIZE),
		     0);
	cr_assert_eq(plx_mem_fd(f.addr, PLX_PAGE_SIZE + 1, &fd, &offset), -ENOENT);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(plx_mem_unregister(f.addr + i * PLX_PAGE_SIZE, PLX_PAGE_SIZE), 0);
	foreign_put(&f);
}

Test(env, unaligned_and_empty_registrations_are_refused)
{
	char *page = (char *)(uintptr_t)(64 * (uint64_t)MIB);

	cr_assert_eq(plx_mem_register(page + 1, PLX_PAGE_SIZE, -1, 0), -EINVAL);
	cr_assert_eq(plx_mem_register(page, PLX_PAGE_SIZE + 8, -1, 0), -EINVAL);
	cr_assert_eq(plx_mem_register(page, 0, -1, 0), -EINVAL);
	cr_assert_eq(plx_mem_register(NULL, PLX_PAGE_SIZE, -1, 0), -EINVAL);
	cr_assert_eq(plx_mem_register((void *)(uintptr_t)(UINT64_MAX - 4095), 2 * PLX_PAGE_SIZE, -1,
				      0),
		     -EINVAL);
	cr_assert_eq(plx_mem_register(page, PLX_PAGE_SIZE, 1, UINT64_MAX - 1), -EINVAL);
}

Test(env, overlapping_registrations_are_refused)
{
	struct foreign f = foreign_get(8 * PLX_PAGE_SIZE);
	char *dma = plx_dma_alloc(2 * PLX_PAGE_SIZE, PLX_PAGE_SIZE, PLX_NUMA_ANY);

	cr_assert_eq(plx_mem_register(f.addr + 2 * PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE, f.fd, 0), 0);
	cr_assert_eq(plx_mem_register(f.addr + 2 * PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE, f.fd, 0),
		     -EEXIST);
	cr_assert_eq(plx_mem_register(f.addr + PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE, f.fd, 0), -EEXIST);
	cr_assert_eq(plx_mem_register(f.addr + 3 * PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE, f.fd, 0),
		     -EEXIST);
	cr_assert_eq(plx_mem_register(f.addr, 8 * PLX_PAGE_SIZE, f.fd, 0), -EEXIST);
	cr_assert_eq(plx_mem_register(dma, PLX_PAGE_SIZE, -1, 0), -EEXIST);
	cr_assert_eq(plx_mem_register(f.addr + 4 * PLX_PAGE_SIZE, PLX_PAGE_SIZE, f.fd, 0), 0);
	cr_assert_eq(plx_mem_register(f.addr + PLX_PAGE_SIZE, PLX_PAGE_SIZE, f.fd, 0), 0);
	foreign_put(&f);
	plx_dma_free(dma);
}

Test(env, only_what_was_registered_can_be_unregistered)
{
	struct foreign f = foreign_get(4 * PLX_PAGE_SIZE);
	char *dma = plx_dma_alloc(PLX_PAGE_SIZE, PLX_PAGE_SIZE, PLX_NUMA_ANY);

	cr_assert_eq(plx_mem_register(f.addr, 4 * PLX_PAGE_SIZE, f.fd, 0), 0);
	cr_assert_eq(plx_mem_unregister(f.addr, PLX_PAGE_SIZE), -ENOENT);
	cr_assert_eq(plx_mem_unregister(f.addr + PLX_PAGE_SIZE, 3 * PLX_PAGE_SIZE), -ENOENT);
	cr_assert_eq(plx_mem_unregister(f.addr, 8 * PLX_PAGE_SIZE), -ENOENT);
	cr_assert_eq(plx_mem_unregister(dma, PLX_PAGE_SIZE), -ENOENT);
	cr_assert_eq(plx_mem_unregister(NULL, PLX_PAGE_SIZE), -ENOENT);
	cr_assert_eq(plx_mem_unregister(f.addr, 4 * PLX_PAGE_SIZE), 0);
	cr_assert_eq(plx_mem_unregister(f.addr, 4 * PLX_PAGE_SIZE), -ENOENT);
	foreign_put(&f);
	plx_dma_free(dma);
}

Test(env, many_registrations_are_all_found)
{
	enum { N = 1000 };
	struct foreign f = foreign_get(2 * N * PLX_PAGE_SIZE);

	/* every second page, in an order that inserts at the front, the end and between */
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(plx_mem_register(f.addr + (size_t)(i * 7 % N) * 2 * PLX_PAGE_SIZE,
					      PLX_PAGE_SIZE, f.fd, (i * 7 % N) * 2 * PLX_PAGE_SIZE),
			     0);
	for (size_t i = 0; i < 2 * N; i++) {
		char *p = f.addr + i * PLX_PAGE_SIZE;
		uint64_t want = i % 2 ? PLX_IOVA_BAD : (uintptr_t)p;

		cr_assert_eq(plx_mem_iova(p, NULL), want, "page %zu", i);
	}
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(plx_mem_unregister(f.addr + (size_t)(i * 3 % N) * 2 * PLX_PAGE_SIZE,
						PLX_PAGE_SIZE),
			     0);
	cr_assert_eq(plx_mem_iova(f.addr, NULL), PLX_IOVA_BAD);
	foreign_put(&f);
}

/*
 * Looks up, while another thread changes the table below them, two pages that stay and the hole
 * between: by turns, so that what was found last never is the answer.
 */
static void *look_up(void *arg)
{
	struct foreign *f = arg;
	char *one = f->addr, *hole = one + PLX_PAGE_SIZE, *two = hole + PLX_PAGE_SIZE;
	uintptr_t wrong = 0;

	while (!__atomic_load_n(&f->len, __ATOMIC_RELAXED)) {
		wrong += plx_mem_iova(one, NULL) != (uintptr_t)one;
		wrong += plx_mem_iova(hole, NULL) != PLX_IOVA_BAD;
		wrong += plx_mem_iova(two, NULL) != (uintptr_t)two;
	}
	return (void *)wrong;
}

Test(env, look_ups_are_right_while_the_table_changes)
{
	struct foreign f = foreign_get(16 * PLX_PAGE_SIZE);
	struct foreign stable = { .addr = f.addr + 8 * PLX_PAGE_SIZE };
	pthread_t reader;
	void *wrong;

	cr_assert_eq(plx_mem_register(stable.addr, PLX_PAGE_SIZE, f.fd, 0), 0);
	cr_assert_eq(plx_mem_register(stable.addr + 2 * PLX_PAGE_SIZE, PLX_PAGE_SIZE, f.fd, 0), 0);
	cr_assert_eq(pthread_create(&reader, NULL, look_up, &stable), 0);
	for (int round = 0; round < 20000; round++) {
		for (int i = 0; i < 4; i++)
			cr_assert_eq(plx_mem_register(f.addr + i * PLX_PAGE_SIZE, PLX_PAGE_SIZE,
						      f.fd, 0),
				     0);
		for (int i = 0; i < 4; i++)
			cr_assert_eq(plx_mem_unregister(f.addr + i * PLX_PAGE_SIZE, PLX_PAGE_SIZE),
				     0);
	}
	__atomic_store_n(&stable.len, 1, __ATOMIC_RELAXED);
	pthread_join(reader, &wrong);
	cr_assert_eq((uintptr_t)wrong, 0, "%lu wrong answers", (unsigned long)(uintptr_t)wrong);
	foreign_put(&f);
}

/* ---- listeners ---- */

struct watcher {
	struct plx_mem_listener l;
	int adds, removes, fail_at; /* the add that fails, from 1 */
	struct plx_mem_region seen[64], gone;
};

static int watcher_add(struct plx_mem_listener *l, const struct plx_mem_region *r)
{
	struct watcher *w = plx_container_of(l, struct watcher, l);

	if (w->adds + 1 == w->fail_at)
		return -ENOSPC;
	if (w->adds < 64)
		w->seen[w->adds] = *r;
	w->adds++;
	return 0;
}

static void watcher_remove(struct plx_mem_listener *l, const struct plx_mem_region *r)
{
	struct watcher *w = plx_container_of(l, struct watcher, l);

	w->gone = *r;
	w->removes++;
}

#define WATCHER                                                                                    \
	{                                                                                          \
		.l = {.add = watcher_add, .remove = watcher_remove }                               \
	}

Test(env, a_listener_sees_dma_memory_in_few_regions)
{
	struct watcher w = WATCHER;
	char *p = plx_dma_alloc(8 * MIB, PLX_PAGE_SIZE, PLX_NUMA_ANY);
	bool found = false;

	cr_assert_eq(plx_mem_listen(&w.l), 0);
	for (int i = 0; i < w.adds && i < 64; i++) {
		char *base = w.seen[i].addr;

		found |= p >= base && p + 8 * MIB <= base + w.seen[i].len;
		cr_assert_eq(w.seen[i].iova, plx_mem_iova(base, NULL));
		cr_assert_geq(w.seen[i].fd, 0);
	}
	cr_assert(found, "8 MiB are not within one region");
	cr_assert_leq(w.adds, 2, "%d regions", w.adds);
	plx_mem_unlisten(&w.l);
	cr_assert_eq(w.removes, 0);
	plx_dma_free(p);
}

Test(env, a_listener_sees_present_and_future_registrations)
{
	struct foreign f = foreign_get(4 * PLX_PAGE_SIZE);
	struct watcher w = WATCHER;
	int before;

	cr_assert_eq(plx_mem_register(f.addr, PLX_PAGE_SIZE, f.fd, 0), 0);
	cr_assert_eq(plx_mem_listen(&w.l), 0);
	before = w.adds;
	cr_assert_geq(before, 2);

	cr_assert_eq(plx_mem_register(f.addr + 2 * PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE, f.fd,
				      2 * PLX_PAGE_SIZE),
		     0);
	cr_assert_eq(w.adds, before + 1);
	cr_assert_eq(w.seen[before].addr, f.addr + 2 * PLX_PAGE_SIZE);
	cr_assert_eq(w.seen[before].len, 2 * PLX_PAGE_SIZE);
	cr_assert_eq(w.seen[before].fd, f.fd);
	cr_assert_eq(w.seen[before].fd_offset, 2 * PLX_PAGE_SIZE);

	cr_assert_eq(plx_mem_unregister(f.addr, PLX_PAGE_SIZE), 0);
	cr_assert_eq(w.removes, 1);
	cr_assert_eq(w.gone.addr, f.addr);
	cr_assert_eq(w.gone.len, PLX_PAGE_SIZE);

	plx_mem_unlisten(&w.l);
	cr_assert_eq(plx_mem_unregister(f.addr + 2 * PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE), 0);
	cr_assert_eq(w.removes, 1);
	foreign_put(&f);
}

Test(env, a_listener_that_fails_undoes_the_registration)
{
	struct foreign f = foreign_get(PLX_PAGE_SIZE);
	struct watcher first = WATCHER, second = WATCHER;

	cr_assert_eq(plx_mem_listen(&first.l), 0);
	cr_assert_eq(plx_mem_listen(&second.l), 0);
	/* the one told last fails, whichever it is: the other one is told to forget */
	first.fail_at = first.adds + 1;
	cr_assert_eq(plx_mem_register(f.addr, PLX_PAGE_SIZE, f.fd, 0), -ENOSPC);
	cr_assert_eq(plx_mem_iova(f.addr, NULL), PLX_IOVA_BAD);
	cr_assert_eq(second.removes, 1);
	cr_assert_eq(first.removes, 0);
	first.fail_at = 0;
	cr_assert_eq(plx_mem_register(f.addr, PLX_PAGE_SIZE, f.fd, 0), 0);
	foreign_put(&f);
	plx_mem_unlisten(&first.l);
	plx_mem_unlisten(&second.l);
}

Test(env, listen_fails_as_a_whole)
{
	struct foreign f = foreign_get(PLX_PAGE_SIZE);
	struct watcher w = WATCHER;

	cr_assert_eq(plx_mem_register(f.addr, PLX_PAGE_SIZE, f.fd, 0), 0);
	w.fail_at = 2;
	cr_assert_eq(plx_mem_listen(&w.l), -ENOSPC);
	cr_assert_eq(w.adds, 1);
	cr_assert_eq(w.removes, 1);
	cr_assert_eq(plx_mem_unregister(f.addr, PLX_PAGE_SIZE), 0);
	cr_assert_eq(w.removes, 1);
	foreign_put(&f);
}

/* ---- time ---- */

Test(env, tsc_scale_agrees_with_the_frequency)
{
	struct plx_tsc_scale s = plx_tsc_scale();
	uint64_t hz = plx_tsc_hz();

	cr_assert_gt(hz, 100000000u);
	cr_assert_float_eq((double)plx_tsc_to_ns(s, hz * 1000), 1e12, 1e3);
	cr_assert_eq(plx_tsc_to_ns(s, 0), 0);
	/* a year of ticks does not overflow */
	cr_assert_float_eq((double)plx_tsc_to_ns(s, hz * 31536000), 31536000e9, 31536000.0);
}

Test(env, tsc_agrees_with_the_kernels_clock)
{
	struct timespec a, b;
	uint64_t from, to;
	double ns, said;

	clock_gettime(CLOCK_MONOTONIC_RAW, &a);
	from = plx_tsc();
	do {
		clock_gettime(CLOCK_MONOTONIC_RAW, &b);
		to = plx_tsc();
		ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
	} while (ns < 50e6);
	said = (double)plx_tsc_to_ns(plx_tsc_scale(), to - from);
	/* a preemption between the two readings is the only excuse, and longer ones are rare */
	cr_assert_float_eq(said, ns, 0.2 * ns, "%.0f ns by the TSC, %.0f ns by the clock", said,
			   ns);
}

/* ---- logging ---- */

static char *logged(void (*fn)(void))
{
	static char text[4096];
	char path[] = "/tmp/pollux-test-XXXXXX";
	int fd = mkstemp(path), saved = dup(2);
	ssize_t n;

	unlink(path);
	dup2(fd, 2);
	fn();
	dup2(saved, 2);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	close(saved);
	return text;
}

static void log_one_error(void)
{
	plx_log(PLX_LOG_ERR, "mem", "value %d", 7);
}

static void log_every_level(void)
{
	for (int level = PLX_LOG_ERR; level <= PLX_LOG_DEBUG; level++)
		plx_log(level, "chatty", "at %d", level);
}

static void log_lines(void)
{
	plx_log(PLX_LOG_ERR, "mem", "first\nsecond\n");
}

Test(log, works_before_the_environment_is_up)
{
	cr_assert_str_eq(logged(log_one_error), "pollux: mem: error: value 7\n");
}

Test(env, log_names_program_component_and_level)
{
	cr_assert_str_eq(logged(log_one_error), "test_env: mem: error: value 7\n");
}

Test(log, default_level_is_notice)
{
	cr_assert_str_eq(logged(log_every_level),
			 "pollux: chatty: error: at 4\npollux: chatty: warning: at 5\n"
			 "pollux: chatty: notice: at 6\n");
}

Test(log, a_message_is_one_line)
{
	cr_assert_str_eq(logged(log_lines), "pollux: mem: error: first\n");
}

Test(log, levels_are_set_by_component_and_for_all)
{
	plx_log(PLX_LOG_DEBUG, "chatty", "known from here on");
	cr_assert_eq(plx_log_set_level("chatty", PLX_LOG_ERR), 0);
	cr_assert_str_eq(logged(log_every_level), "pollux: chatty: error: at 4\n");
	cr_assert_eq(plx_log_set_level("all", PLX_LOG_WARN), 0);
	cr_assert_str_eq(logged(log_every_level),
			 "pollux: chatty: error: at 4\npollux: chatty: warning: at 5\n");
	cr_assert_eq(plx_log_set_level(NULL, PLX_LOG_ERR), 0);
	cr_assert_str_eq(logged(log_every_level), "pollux: chatty: error: at 4\n");
}

Test(log, a_level_waits_for_a_component_that_has_not_spoken)
{
	cr_assert_eq(plx_log_set_level("chatty", PLX_LOG_ERR), -ENOENT);
	cr_assert_str_eq(logged(log_every_level), "pollux: chatty: error: at 4\n");
	cr_assert_eq(plx_log_set_level("chatty", 3), -EINVAL);
	cr_assert_eq(plx_log_set_level("chatty", 9), -EINVAL);
}

Test(log, level_names_are_parsed)
{
	cr_assert_eq(plx_log_level_parse("error"), PLX_LOG_ERR);
	cr_assert_eq(plx_log_level_parse("warn"), PLX_LOG_WARN);
	cr_assert_eq(plx_log_level_parse("notice"), PLX_LOG_NOTICE);
	cr_assert_eq(plx_log_level_parse("info"), PLX_LOG_INFO);
	cr_assert_eq(plx_log_level_parse("debug"), PLX_LOG_DEBUG);
	cr_assert_eq(plx_log_level_parse("loud"), -EINVAL);
	cr_assert_eq(plx_log_level_parse(""), -EINVAL);
	cr_assert_eq(plx_log_level_parse(NULL), -EINVAL);
}
