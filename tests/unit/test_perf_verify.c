/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_perf_verify.c - what is read is what was written, or it is told apart */
#include "perf/perf.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LBAS   256u
#define FAILED 0x280 /* any status but success */

/* A namespace in memory, and one I/O at a time on it */
static struct perf_job job;
static struct perf_task task;
static struct perf_verify *verify;
static char *medium, *buffer;
static uint32_t block;

static void set_up(uint32_t data, uint32_t xfer)
{
	block = data;
	job.block = data;
	job.xfer_block = xfer;
	verify = perf_verify_create(LBAS, data, 1);
	medium = calloc(LBAS, data);
	buffer = calloc(LBAS, xfer);
	task.job = &job;
	task.buf = buffer;
	cr_assert(verify != NULL && medium != NULL && buffer != NULL);
}

static void tear_down(void)
{
	perf_verify_destroy(verify);
	free(medium);
	free(buffer);
}

static void write_blocks(uint64_t slba, uint32_t nlb, uint16_t status, bool reaches_medium)
{
	task.slba = slba;
	task.nlb = nlb;
	task.is_read = 0;
	task.status = status;
	perf_verify_fill(verify, &task);
	for (uint32_t i = 0; reaches_medium && i < nlb; i++)
		memcpy(medium + (slba + i) * block, buffer + i * job.xfer_block, block);
	perf_verify_written(verify, &task);
}

static uint32_t read_blocks(uint64_t slba, uint32_t nlb)
{
	task.slba = slba;
	task.nlb = nlb;
	task.is_read = 1;
	task.status = 0;
	for (uint32_t i = 0; i < nlb; i++)
		memcpy(buffer + i * job.xfer_block, medium + (slba + i) * block, block);
	return perf_verify_check(verify, &task);
}

/* What was said on standard error since the last call */
static const char *said(void)
{
	static char text[64 << 10];
	FILE *f = cr_get_redirected_stderr();
	size_t n = fread(text, 1, sizeof(text) - 1, f);

	text[n] = '\0';
	clearerr(f);
	return text;
}

static void begin(void)
{
	cr_redirect_stderr();
	set_up(512, 512);
	write_blocks(0, LBAS, 0, true);
}

TestSuite(perf_verify, .init = begin, .fini = tear_down);

Test(perf_verify, what_was_written_is_found_right)
{
	cr_assert(eq(u32, read_blocks(0, LBAS), 0));
	write_blocks(7, 9, 0, true);
	write_blocks(10, 1, 0, true);
	cr_assert(eq(u32, read_blocks(3, 20), 0));
}

Test(perf_verify, every_damaged_byte_is_found)
{
	for (uint32_t at = 0; at < block; at++) {
		medium[5 * block + at] ^= 0x10;
		cr_assert(eq(u32, read_blocks(4, 3), 1), "byte %u", at);
		medium[5 * block + at] ^= 0x10;
	}
	cr_assert(eq(u32, read_blocks(4, 3), 0));
}

Test(perf_verify, damage_is_reported_with_lba_and_place)
{
	medium[9 * block + 300] ^= 1;
	cr_assert(eq(u32, read_blocks(8, 4), 1));
	fflush(stderr);
	cr_assert(strstr(said(), "LBA 9: corrupt content: 1 of 512 bytes differ, the first at "
				 "offset 300: expected 0x") != NULL);
}

Test(perf_verify, a_block_of_another_place_is_told)
{
	memcpy(medium + 20 * block, medium + 33 * block, block);
	cr_assert(eq(u32, read_blocks(20, 1), 1));
	fflush(stderr);
	cr_assert(strstr(said(), "LBA 20: wrong LBA: expected 20, found the block of LBA 33") !=
		  NULL);
}

Test(perf_verify, a_lost_write_is_told)
{
	write_blocks(40, 2, 0, false);
	cr_assert(eq(u32, read_blocks(40, 2), 2));
	fflush(stderr);
	cr_assert(strstr(said(), "LBA 41: stale generation: expected 2, found 1") != NULL);
}

Test(perf_verify, a_block_that_came_from_the_future_is_told)
{
	task.slba = 50;
	task.nlb = 1;
	perf_verify_fill(verify, &task);
	memcpy(medium + 50 * block, buffer,
	       block); /* written, though the write was never acknowledged */
	cr_assert(eq(u32, read_blocks(50, 1), 1));
	fflush(stderr);
	cr_assert(strstr(said(), "stale generation: expected 1, found 2") != NULL);
}

Test(perf_verify, an_empty_block_is_told)
{
	memset(medium + 60 * block, 0, block);
	memset(medium + 61 * block, 0xff, block);
	cr_assert(eq(u32, read_blocks(60, 2), 2));
	fflush(stderr);
	cr_assert(strstr(said(), "LBA 60: never written: every byte is 0x00") != NULL);
}

Test(perf_verify, a_block_of_another_run_is_told)
{
	struct perf_verify *mine = verify, *other = perf_verify_create(LBAS, block, 1);

	verify = other;
	write_blocks(70, 1, 0, true);
	verify = mine;
	cr_assert(eq(u32, read_blocks(70, 1), 1));
	fflush(stderr);
	cr_assert(strstr(said(), "LBA 70: never written: a block of another run") != NULL);
	perf_verify_destroy(other);
}

Test(perf_verify, after_a_failed_write_old_and_new_are_right)
{
	write_blocks(80, 1, FAILED, false);
	write_blocks(81, 1, FAILED, true);
	cr_assert(eq(u32, read_blocks(80, 2), 0));
	/* of several that failed, any may have taken place */
	write_blocks(80, 1, FAILED, true);
	write_blocks(80, 1, FAILED, false);
	cr_assert(eq(u32, read_blocks(80, 1), 0));
}

Test(perf_verify, a_write_that_succeeds_ends_the_doubt)
{
	write_blocks(85, 1, FAILED, false);
	write_blocks(85, 1, 0, false);
	cr_assert(eq(u32, read_blocks(85, 1), 1));
}

Test(perf_verify, damage_after_a_failed_write_is_found)
{
	write_blocks(86, 1, FAILED, false);
	medium[86 * block + 511] ^= 0x80;
	cr_assert(eq(u32, read_blocks(86, 1), 1));
}

Test(perf_verify, blocks_never_written_may_contain_anything)
{
	struct perf_verify *mine = verify, *other = perf_verify_create(LBAS, block, 1);

	verify = other;
	cr_assert(eq(u32, read_blocks(0, LBAS), 0));
	write_blocks(3, 1, FAILED, false); /* and the first write may have missed it */
	cr_assert(eq(u32, read_blocks(0, LBAS), 0));
	verify = mine;
	perf_verify_destroy(other);
}

Test(perf_verify, each_is_reported_up_to_a_bound_and_all_are_counted)
{
	unsigned lines = 0;
	bool bound_told = false;

	memset(medium, 0, LBAS * block);
	for (unsigned n = 0; n <= 10000; n += LBAS) {
		const char *text;

		cr_assert(eq(u32, read_blocks(0, LBAS), LBAS));
		fflush(stderr);
		text = said(); /* each time: what holds the lines is not large */
		for (const char *s = text; (s = strstr(s, "LBA ")); s++)
			lines++;
		bound_told |= strstr(text, "further mismatches are counted only") != NULL;
	}
	cr_assert(eq(uint, lines, 10000));
	cr_assert(bound_told);
}

Test(perf_verify, claims_exclude_each_other_block_by_block)
{
	static const struct {
		uint64_t slba;
		uint32_t nlb;
	} ranges[] = { { 0, 1 },   { 63, 1 },	{ 63, 2 }, { 64, 64 },
		       { 1, 130 }, { 191, 65 }, { 0, 256 } };

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		uint64_t from = ranges[i].slba, to = from + ranges[i].nlb;

		cr_assert(perf_verify_claim(verify, from, ranges[i].nlb));
		for (uint64_t l = 0; l < LBAS; l++) {
			bool taken = l >= from && l < to;

			cr_assert(perf_verify_claim(verify, l, 1) != taken,
				  "block %lu of %lu to %lu", l, from, to);
			if (!taken)
				perf_verify_release(verify, l, 1);
		}
		cr_assert(not(perf_verify_claim(verify, 0, LBAS)));
		perf_verify_release(verify, from, ranges[i].nlb);
	}
	cr_assert(perf_verify_claim(verify, 0, LBAS));
}

Test(perf_verify_formats, blocks_of_all_sizes_and_strides_are_checked)
{
	static const struct {
		uint32_t data, xfer;
	} formats[] = {
		{ 512, 512 }, { 512, 520 }, { 4096, 4096 }, { 4096, 4160 }, { 65536, 65536 }
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		set_up(formats[i].data, formats[i].xfer);
		memset(buffer, 0xa5, LBAS * formats[i].xfer);
		write_blocks(0, LBAS, 0, true);
		/* metadata between the blocks is not ours */
		for (uint32_t k = block; k < job.xfer_block; k++)
			cr_assert(buffer[k] == (char)0xa5);
		cr_assert(eq(u32, read_blocks(0, LBAS), 0));
		medium[100 * block + block - 1] ^= 1;
		cr_assert(eq(u32, read_blocks(0, LBAS), 1));
		tear_down();
	}
}

Test(perf_verify_formats, generations_wrap)
{
	set_up(64, 64);
	for (unsigned i = 0; i < (1u << 24) + 3; i++)
		write_blocks(90, 1, 0, i > 1u << 24);
	cr_assert(eq(u32, read_blocks(90, 1), 0));
	tear_down();
}

Test(perf_verify_formats, impossible_blocks_are_refused)
{
	errno = 0;
	cr_assert(perf_verify_create(LBAS, 32, 1) == NULL);
	cr_assert(eq(int, errno, EINVAL));
	cr_assert(perf_verify_create(0, 512, 1) == NULL);
}
