/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_share.c - messages between the processes of a shared controller
 *
 * The first byte chooses who reads, and how many files came. What is accepted has fields within
 * bounds; whatever is refused must say why, in one line.
 */
#include "driver/share.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_request(const union share_msg *m)
{
	if (m->h.type == SHARE_MAP)
		check(m->map.len && m->map.offset + m->map.len > m->map.offset);
	if (m->h.type == SHARE_QUEUE)
		check(m->qid.qid && m->qid.qid <= NVME_MAX_QPAIRS);
	if (m->h.type == SHARE_UNMAP || m->h.type == SHARE_WHERE)
		check(m->region.id < SHARE_MAX_MEMS);
}

static void check_answer(const union share_msg *m)
{
	if (m->h.type == SHARE_GONE || (m->h.type == SHARE_HELLO && m->h.rc < 0))
		check(strlen(m->text.text) < SHARE_TEXT);
	else if (m->h.type == SHARE_HELLO)
		check(m->welcome.bar_len >= 2 * PLX_PAGE_SIZE && m->welcome.queues);
	if (m->h.type == SHARE_MAP || m->h.type == SHARE_WHERE)
		check(m->mapped.n <= SHARE_EXTENTS);
	if (m->h.type == SHARE_QUEUE && !m->h.rc)
		check(m->qid.real && m->qid.real <= NVME_MAX_QPAIRS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	union share_msg m = { 0 };
	char err[160] = "";
	unsigned nfds;
	int rc;

	if (!size)
		return 0;
	nfds = data[0] >> 1 & 3;
	memcpy(&m, data + 1, size - 1 < sizeof(m) ? size - 1 : sizeof(m));
	if (data[0] & 1)
		rc = share_check_request(&m, size - 1, nfds, err, sizeof(err));
	else
		rc = share_check_answer(&m, size - 1, nfds, err, sizeof(err));
	if (rc)
		check(rc == -EPROTO && *err && !strchr(err, '\n'));
	else if (data[0] & 1)
		check_request(&m);
	else
		check_answer(&m);
	return 0;
}
