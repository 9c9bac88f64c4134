/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_vfio_user_parse.c - what is believed of a vfio-user server's replies */
#include "driver/transport/vfio_user.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define BAR_SIZE 0x4000u

/* ---- versions ---- */

static int parse_version(const char *json, struct vfu_limits *l)
{
	unsigned char msg[1024] = { 0, 0, 1, 0 };
	char err[200];

	memcpy(msg + 4, json, strlen(json));
	return vfu_parse_version(msg, 4 + strlen(json), l, err, sizeof(err));
}

Test(vfio_user_parse, version_data_is_optional_and_unknown_members_are_ignored)
{
	struct vfu_limits l;

	cr_assert_eq(parse_version("", &l), 0);
	cr_assert_eq(l.max_fds, 1);
	cr_assert_eq(l.max_xfer, 1048576);
	cr_assert_eq(l.max_maps, 65535);
	cr_assert_eq(l.pgsizes, 4096);
	cr_assert_eq(parse_version("{}", &l), 0);
	cr_assert_eq(parse_version("{\"x\":[1],\"capabilities\":{\"migration\":{\"pgsize\":1},"
				   "\"max_msg_fds\":8,\"max_dma_maps\":3,\"pgsizes\":2101248,"
				   "\"max_data_xfer_size\":64}}",
				   &l),
		     0);
	cr_assert_eq(l.max_fds, 8);
	cr_assert_eq(l.max_xfer, 64);
	cr_assert_eq(l.max_maps, 3);
	cr_assert_eq(l.pgsizes, 2101248);
	cr_assert_eq(parse_version("{\"capabilities\":{\"max_msg_fds\":-1}}", &l), -EPROTO);
	cr_assert_eq(parse_version("{\"capabilities\":{\"max_msg_fds\":\"8\"}}", &l), -EPROTO);
	cr_assert_eq(parse_version("{\"capabilities\":{\"max_data_xfer_size\":3}}", &l), -EPROTO);
	cr_assert_eq(parse_version("{\"capabilities\":{\"pgsizes\":0}}", &l), -EPROTO);
	cr_assert_eq(parse_version("{\"capabilities\":7}", &l), -EPROTO);
}

/* ---- regions ---- */

/* struct vfio_region_info_cap_sparse_mmap without the areas that follow it */
struct sparse_head {
	struct vfio_info_cap_header header;
	uint32_t nr_areas, reserved;
};

struct region_reply {
	struct vfio_region_info info;
	struct vfio_info_cap_header other;
	struct sparse_head cap;
	struct vfu_area areas[3];
};

static struct region_reply region_reply(void)
{
	return (struct region_reply){
		.info = { .argsz = sizeof(struct region_reply),
			  .flags = 15,
			  .cap_offset = offsetof(struct region_reply, other),
			  .size = BAR_SIZE },
		.other = { 77, 1, offsetof(struct region_reply, cap) },
		.cap = { .header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0 }, .nr_areas = 3 },
		.areas = { { 0, 0x1000 }, { 0x1000, 0x800 }, { 0x2000, 0x2000 } },
	};
}

static int parse_region(const struct region_reply *r, struct vfu_region *out)
{
	char err[200];

	return vfu_parse_region(r, sizeof(*r), 0, out, err, sizeof(err));
}

Test(vfio_user_parse, areas_are_found_behind_other_capabilities)
{
	struct region_reply r = region_reply();
	struct vfu_region out;

	cr_assert_eq(parse_region(&r, &out), 0);
	cr_assert_eq(out.nareas, 2, "registers are no doorbells");
	cr_assert_eq(out.areas[0].offset, 0x1000);
	cr_assert_eq(out.areas[1].size, 0x2000);
	r.other.next = 0;
	cr_assert_eq(parse_region(&r, &out), 0);
	cr_assert_eq(out.nareas, 1, "mappable as a whole");
	cr_assert_eq(out.areas[0].size, BAR_SIZE);
	r.info.flags = 3;
	cr_assert_eq(parse_region(&r, &out), 0);
	cr_assert_eq(out.nareas, 0);
}

Test(vfio_user_parse, capabilities_that_lead_nowhere_are_refused)
{
	struct vfu_region out;

	for (unsigned i = 0; i < 8; i++) {
		struct region_reply r = region_reply();

		switch (i) {
		case 0: /* a circle */
			r.other.next = offsetof(struct region_reply, other);
			break;
		case 1:
			r.info.cap_offset = sizeof(r) - 4;
			break;
		case 2:
			r.info.cap_offset = UINT32_MAX;
			break;
		case 3: /* in the region information itself */
			r.other.next = 8;
			break;
		case 4:
			r.cap.nr_areas = 4;
			break;
		case 5:
			r.cap.nr_areas = UINT32_MAX;
			break;
		case 6:
			r.areas[2].size = 0x2001;
			break;
		case 7:
			r.areas[1].offset = UINT64_MAX - 16;
			break;
		}
		cr_assert_eq(parse_region(&r, &out), -EPROTO, "case %u", i);
	}
}
