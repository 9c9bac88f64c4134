/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_vfio_user_client.c - replies of a vfio-user server, as the driver's client reads
 * them
 *
 * The first byte chooses the kind of reply. What is accepted must lie within its own bounds;
 * whatever is refused must say why, in one line.
 */
#include "driver/transport/vfio_user.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_refusal(int rc, const char *err)
{
	check(rc == -EPROTO && *err && strlen(err) < 200 && !strchr(err, '\n'));
}

static void check_region(const struct vfu_region *r, size_t size)
{
	check(r->argsz <= VFU_MAX_REPLY && r->nareas <= VFU_MAX_AREAS);
	if (r->argsz > size)
		check(!r->nareas);
	for (uint32_t i = 0; i < r->nareas; i++) {
		check(r->areas[i].offset <= r->size);
		check(r->areas[i].size && r->areas[i].size <= r->size - r->areas[i].offset);
	}
}

static void check_limits(const struct vfu_limits *l)
{
	check(l->max_xfer >= 4 && l->pgsizes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vfio_user_device_info info;
	struct vfio_irq_info irq;
	struct vfio_user_hdr h;
	struct vfu_region region;
	struct vfu_limits limits;
	char err[200] = "";
	void *exact;
	int rc = 0;

	if (!size)
		return 0;
	size--;
	/* a piece of memory of its own, as long as the message: reading past it is seen */
	exact = malloc(size ? size : 1);
	memcpy(exact, data + 1, size);
	switch (data[0] % 5) {
	case 0:
		rc = vfu_parse_version(exact, size, &limits, err, sizeof(err));
		if (!rc)
			check_limits(&limits);
		break;
	case 1:
		rc = vfu_parse_region(exact, size, data[0] / 5, &region, err, sizeof(err));
		if (!rc)
			check_region(&region, size);
		break;
	case 2:
		rc = vfu_parse_device_info(exact, size, &info, err, sizeof(err));
		break;
	case 3:
		rc = vfu_parse_irq_info(exact, size, data[0] / 5, &irq, err, sizeof(err));
		break;
	case 4:
		memset(&h, 0, sizeof(h));
		memcpy(&h, exact, size < sizeof(h) ? size : sizeof(h));
		rc = vfu_parse_header(&h, err, sizeof(err));
		if (!rc)
			check(h.size >= sizeof(h) && h.size <= VFU_MAX_MSG);
		break;
	}
	if (rc)
		check_refusal(rc, err);
	free(exact);
	return 0;
}
