/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_bdev_populate.c - the memory of a malloc device comes while the device is in use
 *
 * The C library's madvise() is replaced, so that the tests decide when a slice comes, and whether.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bdev_test.h"

#define MIB    (1ull << 20)
#define SLICE  (2 * MIB)
#define BLOCKS (64 * MIB / 4096)

static atomic_uint slices; /* asked for */
static atomic_bool closed; /* slices do not come while it is set */
static unsigned failing; /* the n-th slice fails with ENOMEM; 0: none does */
static bool old_kernel;
static cpu_set_t helper_cpus;
static char *_Atomic lowest; /* address of a slice */

int madvise(void *at, size_t len, int advice)
{
	unsigned n;

	if (advice != MADV_POPULATE_WRITE)
		return (int)syscall(SYS_madvise, at, len, advice);
	pthread_getaffinity_np(pthread_self(), sizeof(helper_cpus), &helper_cpus);
	for (char *low = atomic_load(&lowest); !low || (char *)at < low;)
		if (atomic_compare_exchange_weak(&lowest, &low, (char *)at))
			break;
	n = atomic_fetch_add(&slices, 1) + 1;
	while (atomic_load(&closed))
		sched_yield();
	if (n == failing || old_kernel) {
		errno = old_kernel ? EINVAL : ENOMEM;
		return -1;
	}
	return (int)syscall(SYS_madvise, at, len, advice);
}

static _Atomic size_t available_kb; /* as /proc/meminfo tells; 0: what it really does */

FILE *fopen(const char *path, const char *mode)
{
	static _Thread_local char line[64];
	bool reads = *mode == 'r';

	if (!atomic_load(&available_kb) || strcmp(path, "/proc/meminfo"))
		return fdopen(open(path, reads ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC, 0600),
			      reads ? "r" : "w");
	snprintf(line, sizeof(line), "MemAvailable: %zu kB\n", atomic_load(&available_kb));
	return fmemopen(line, strlen(line), "r");
}

/* Hugepages are reserved before: nothing is left that could be promised twice, or run short */
static void setup_ordinary_pages(void)
{
	setup_pages(true);
}

TestSuite(bdev_populate, .init = setup_ordinary_pages, .timeout = 60);

static struct plx_bdev_geometry geometry(uint64_t blocks, uint32_t md)
{
	return (struct plx_bdev_geometry){ .blocks = blocks,
					   .block_size = 4096,
					   .md_size = md,
					   .numa = PLX_NUMA_ANY,
					   .populate = true };
}

static int ready(const char *name)
{
	return plx_bdev_ready(plx_bdev_by_name(name));
}

static void transfer(struct dev *d, enum plx_bdev_io_type type, uint64_t block, uint8_t *buf)
{
	struct iovec iov = { buf, 4096 };

	cr_assert_eq(io_status(type == PLX_BDEV_READ ? plx_bdev_readv(d->desc, d->ch, &iov, 1,
								      block, 1, on_done, res)
						     : plx_bdev_writev(d->desc, d->ch, &iov, 1,
								       block, 1, on_done, res)),
		     0);
}

/* Writes while nothing is there yet: everything of it is found again when all is */
static void write_before_and_read_after(uint32_t md)
{
	static const uint64_t at[] = { 0, 1, 511, 512, BLOCKS / 2 + 3, BLOCKS - 1 };
	struct plx_bdev_geometry g = geometry(BLOCKS, md);
	static uint8_t buf[4096], want[4096];
	struct dev d;

	atomic_store(&closed, true);
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	d = dev_open("M");
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(at); i++) {
		memset(buf, (int)i + 1, sizeof(buf));
		transfer(&d, PLX_BDEV_WRITE, at[i], buf);
		transfer(&d, PLX_BDEV_READ, at[i], want);
		cr_assert_eq(memcmp(buf, want, sizeof(buf)), 0);
	}
	cr_assert_eq(ready("M"), -EAGAIN);
	atomic_store(&closed, false);
	wait_for(ready("M") != -EAGAIN);
	cr_assert_eq(ready("M"), 0);
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(at); i++) {
		memset(want, (int)i + 1, sizeof(want));
		transfer(&d, PLX_BDEV_READ, at[i], buf);
		cr_assert_eq(memcmp(buf, want, sizeof(buf)), 0);
	}
	dev_close(&d);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_populate, a_device_is_used_while_its_memory_comes)
{
	write_before_and_read_after(0);
	cr_assert_eq(atomic_load(&slices), BLOCKS * 4096 / SLICE);
}

Test(bdev_populate, separate_metadata_comes_too)
{
	write_before_and_read_after(16);
	cr_assert_eq(atomic_load(&slices), BLOCKS * 4096 / SLICE + 1);
}

Test(bdev_populate, an_old_kernel_is_made_to_bring_every_page)
{
	struct plx_bdev_geometry g = geometry(BLOCKS, 0);
	static unsigned char there[BLOCKS];

	/* with huge pages the first touch would do */
	cr_assert_eq(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	old_kernel = true;
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	wait_for(ready("M") != -EAGAIN);
	cr_assert_eq(ready("M"), 0);
	cr_assert_eq(mincore(atomic_load(&lowest), BLOCKS * 4096, there), 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		cr_assert(there[i] & 1, "page %u", i);
	cr_assert_eq(plx_bdev_delete("M"), 0);
	write_before_and_read_after(0);
}

Test(bdev_populate, memory_that_is_not_to_be_had_is_told_and_ends_it)
{
	struct plx_bdev_geometry g = geometry(BLOCKS, 0);

	failing = 5;
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	wait_for(ready("M") != -EAGAIN);
	cr_assert_eq(ready("M"), -ENOMEM);
	cr_assert_eq(plx_bdev_delete("M"), 0);
	/* each helper may have had one in hand */
	cr_assert_leq(atomic_load(&slices), 5 + 3);
}

Test(bdev_populate, deletion_waits_for_a_slice_not_for_all)
{
	struct plx_bdev_geometry g = geometry(1024 * MIB / 4096, 0);

	atomic_store(&closed, true);
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	wait_for(atomic_load(&slices) > 0);
	cr_assert_eq(ready("M"), -EAGAIN);
	atomic_store(&closed, false);
	cr_assert_eq(plx_bdev_delete("M"), 0);
	cr_assert_lt(atomic_load(&slices), 1024 * MIB / SLICE);
}

Test(bdev_populate, a_device_on_another_is_ready_when_that_is)
{
	struct plx_bdev_geometry g = geometry(BLOCKS, 0);
	struct plx_bdev_latency none = { .kind = PLX_LAT_NONE };

	atomic_store(&closed, true);
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	cr_assert_eq(plx_bdev_delay_create("D", "M", &none, &none, 1, NULL, NULL), 0);
	cr_assert_eq(plx_bdev_error_create("E", "D", 1, NULL, NULL), 0);
	cr_assert_eq(ready("E"), -EAGAIN);
	atomic_store(&closed, false);
	wait_for(!ready("E"));
	cr_assert_eq(plx_bdev_delete("E"), 0);
	cr_assert_eq(plx_bdev_delete("D"), 0);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_populate, a_pinned_creator_does_not_pin_the_helpers)
{
	struct plx_bdev_geometry g = geometry(BLOCKS, 0);
	cpu_set_t before;
	unsigned cpu;

	cr_assert_eq(getcpu(&cpu, NULL), 0);
	cr_assert_eq(pthread_getaffinity_np(pthread_self(), sizeof(before), &before), 0);
	if (CPU_COUNT(&before) < 2)
		cr_skip_test("one CPU is all there is");
	cr_assert_eq(plx_topo_bind_self(cpu), 0);
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	wait_for(!ready("M"));
	cr_assert(CPU_EQUAL(&helper_cpus, &before));
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_populate, without_it_a_device_is_ready_at_once)
{
	struct plx_bdev_geometry g = geometry(BLOCKS, 0);

	atomic_store(&closed, true);
	g.populate = false;
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	cr_assert_eq(ready("M"), 0);
	cr_assert_eq(atomic_load(&slices), 0);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_populate, memory_promised_to_one_device_is_not_promised_to_another)
{
	size_t installed = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
	struct plx_bdev_geometry g = geometry(installed / 16 / 4096, 0);

	/* room for one of half as much, and not for two */
	atomic_store(&available_kb, installed / 8 >> 10);
	atomic_store(&closed, true);
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	wait_for(atomic_load(&slices) > 0);
	cr_assert_eq(ready("M"), -EAGAIN);
	cr_assert_eq(plx_bdev_malloc_create("late", &g, NULL), 0);
	cr_assert_eq(ready("late"), 0, "comes with first use");
	cr_assert_eq(plx_bdev_delete("late"), 0);
	atomic_store(&closed, false);
	cr_assert_eq(plx_bdev_delete("M"), 0);
	atomic_store(&closed, true);
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	cr_assert_eq(ready("M"), -EAGAIN, "what was promised is free again");
	atomic_store(&closed, false);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}

Test(bdev_populate, memory_that_runs_short_meanwhile_comes_with_first_use)
{
	struct plx_bdev_geometry g = geometry(1024 * MIB / 4096, 0);

	atomic_store(&closed, true);
	cr_assert_eq(plx_bdev_malloc_create("M", &g, NULL), 0);
	wait_for(atomic_load(&slices) > 0);
	atomic_store(&available_kb, 1);
	atomic_store(&closed, false);
	wait_for(ready("M") != -EAGAIN);
	cr_assert_eq(ready("M"), 0);
	cr_assert_lt(atomic_load(&slices), 1024 * MIB / SLICE / 2);
	cr_assert_eq(plx_bdev_delete("M"), 0);
}
