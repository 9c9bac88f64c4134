/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/job.c - what both engines do alike for a job
 */
#include "fio_plugin/fio_plugin.h"

int engine_check(const struct thread_data *td)
{
	if (td->o.use_thread)
		return 0;
	engine_error(td, "jobs are threads that share the devices: add thread=1");
	return -1;
}

size_t memory_wanted(void)
{
	size_t bytes = 0;
	struct thread_data *td;
	int i;

	for_each_td(td, i)
	{
		bytes += (size_t)td->o.iodepth * (td_max_bs(td) + PLX_PAGE_SIZE) + (2u << 20);
	}
	return 32 + (bytes * 3 / 2 >> 20);
}

int file_is(struct thread_data *td, struct fio_file *f, uint64_t blocks, uint32_t block)
{
	uint64_t bytes = blocks * block;

	for (int d = 0; d < DDIR_RWDIR_CNT; d++) {
		unsigned long long bs = td->o.min_bs[d];

		if (bs % block) {
			engine_error(td,
				     "bs=%llu is no multiple of the %u-byte blocks of '%s': use a "
				     "multiple of %u",
				     bs, block, f->file_name, block);
			return -1;
		}
	}
	if (td->o.size && td->o.size != -1ULL && !td->o.size_percent && td->o.nr_files == 1 &&
	    td->o.size + td->o.start_offset > bytes) {
		engine_error(td,
			     "size=%llu from offset=%llu on is more than the %lu bytes of '%s': "
			     "lower it, or leave it out",
			     td->o.size, td->o.start_offset, bytes, f->file_name);
		return -1;
	}
	f->real_file_size = bytes;
	f->filetype = FIO_TYPE_BLOCK;
	fio_file_set_size_known(f);
	return 0;
}

bool past_time(const struct timespec *start, const struct timespec *t)
{
	return utime_since_now(start) >=
	       (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_nsec / 1000;
}

int engine_iomem_alloc(struct thread_data *td, size_t size)
{
	td->orig_buffer = plx_dma_zalloc(size, PLX_PAGE_SIZE, PLX_NUMA_ANY);
	if (td->orig_buffer)
		return 0;
	engine_error(td,
		     "no %zu bytes for the buffers of iodepth=%u: lower iodepth or bs, or set "
		     "mem_size_mb (spdk_mem)",
		     size, td->o.iodepth);
	return 1;
}

void engine_iomem_free(struct thread_data *td)
{
	plx_dma_free(td->orig_buffer);
	td->orig_buffer = NULL;
}

int engine_file_nothing(struct thread_data *td, struct fio_file *f)
{
	return 0;
}
