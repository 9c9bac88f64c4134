/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/vfio_user_parse.c - what a vfio-user server's messages say, checked
 *
 * Section names are those of the protocol's specification, QEMU's docs/interop/vfio-user.rst.
 */
#include "driver/transport/vfio_user.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define fail(...) (snprintf(err, errlen, __VA_ARGS__), -EPROTO)

/* "Header" */
int vfu_parse_header(const struct vfio_user_hdr *h, char *err, size_t errlen)
{
	uint32_t type = h->flags & VFIO_USER_TYPE_MASK;

	if (h->size < sizeof(*h) || h->size > VFU_MAX_MSG)
		return fail("sent a message of %u bytes: between %zu and %u are possible", h->size,
			    sizeof(*h), VFU_MAX_MSG);
	if (type != VFIO_USER_TYPE_COMMAND && type != VFIO_USER_TYPE_REPLY)
		return fail("sent a message of type %u: 0, a command, and 1, a reply, are possible",
			    type);
	return 0;
}

/* ---- VFIO_USER_VERSION ---- */

/* An optional number of the capabilities. */
static int capability(const json_t *caps, const char *name, uint64_t max, uint64_t fallback,
		      uint64_t *out, char *err, size_t errlen)
{
	const json_t *v = json_object_get(caps, name);

	*out = fallback;
	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return fail("gives %s as something else than a number from 0 on", name);
	*out = (uint64_t)json_integer_value(v);
	if (*out > max)
		*out = max;
	return 0;
}

static int parse_capabilities(const json_t *caps, struct vfu_limits *out, char *err, size_t errlen)
{
	uint64_t fds, xfer, maps;

	if (capability(caps, "max_msg_fds", UINT32_MAX, VFIO_USER_DEFAULT_MAX_FDS, &fds, err,
		       errlen) ||
	    capability(caps, "max_data_xfer_size", UINT32_MAX, VFIO_USER_DEFAULT_MAX_XFER, &xfer,
		       err, errlen) ||
	    capability(caps, "max_dma_maps", UINT32_MAX, VFIO_USER_DEFAULT_MAX_MAPS, &maps, err,
		       errlen) ||
	    capability(caps, "pgsizes", UINT64_MAX, VFIO_USER_DEFAULT_PGSIZES, &out->pgsizes, err,
		       errlen))
		return -EPROTO;
	out->max_fds = (uint32_t)fds;
	out->max_xfer = (uint32_t)xfer;
	out->max_maps = (uint32_t)maps;
	if (out->max_xfer < 4)
		return fail("transfers at most %u bytes (max_data_xfer_size): a register has 4",
			    out->max_xfer);
	if (!out->pgsizes)
		return fail("takes memory of no page size (pgsizes is 0)");
	return 0;
}

/* Unknown capabilities are the server's own business. */
static int parse_version_data(const char *data, size_t len, struct vfu_limits *out, char *err,
			      size_t errlen)
{
	json_error_t at;
	json_t *root, *caps;
	int rc;

	root = json_loadb(data, strnlen(data, len), 0, &at);
	if (!root)
		return fail("describes its version in malformed JSON (at byte %d)", at.position);
	caps = json_object_get(root, "capabilities");
	if (!json_is_object(root) || (caps && !json_is_object(caps)))
		rc = fail("describes its version in JSON that is no object of capabilities");
	else
		rc = parse_capabilities(caps, out, err, errlen);
	json_decref(root);
	return rc;
}

int vfu_parse_version(const void *payload, size_t len, struct vfu_limits *out, char *err,
		      size_t errlen)
{
	struct vfio_user_version v;

	*out = (struct vfu_limits){
		.max_fds = VFIO_USER_DEFAULT_MAX_FDS,
		.max_xfer = VFIO_USER_DEFAULT_MAX_XFER,
		.max_maps = VFIO_USER_DEFAULT_MAX_MAPS,
		.pgsizes = VFIO_USER_DEFAULT_PGSIZES,
	};
	if (len < sizeof(v))
		return fail("answered VERSION with %zu bytes: at least %zu are needed", len,
			    sizeof(v));
	memcpy(&v, payload, sizeof(v));
	if (v.major != VFIO_USER_MAJOR || v.minor > VFIO_USER_MINOR)
		return fail("speaks version %u.%u of the protocol: %u.%u is supported", v.major,
			    v.minor, VFIO_USER_MAJOR, VFIO_USER_MINOR);
	out->minor = v.minor;
	len -= sizeof(v);
	payload = (const char *)payload + sizeof(v);
	if (!len || !*(const char *)payload)
		return 0;
	return parse_version_data(payload, len, out, err, errlen);
}

/* ---- VFIO_USER_DEVICE_GET_INFO ---- */

int vfu_parse_device_info(const void *payload, size_t len, struct vfio_user_device_info *out,
			  char *err, size_t errlen)
{
	if (len < sizeof(*out))
		return fail("answered DEVICE_GET_INFO with %zu bytes: at least %zu are needed", len,
			    sizeof(*out));
	memcpy(out, payload, sizeof(*out));
	if (!(out->flags & VFIO_DEVICE_FLAGS_PCI))
		return fail("serves something else than a PCI device (its flags are %xh)",
			    out->flags);
	if (out->num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
		return fail("serves a PCI device of %u regions: configuration space is the %uth",
			    out->num_regions, VFIO_PCI_CONFIG_REGION_INDEX + 1);
	return 0;
}

/* ---- VFIO_USER_DEVICE_GET_REGION_INFO ---- */

static int add_area(struct vfu_region *r, uint64_t offset, uint64_t size, char *err, size_t errlen)
{
	if (offset > r->size || size > r->size - offset)
		return fail("lets map %llxh bytes at %llxh of a region of %llxh",
			    (unsigned long long)size, (unsigned long long)offset,
			    (unsigned long long)r->size);
	if (size && offset + size > VFU_DB_OFFSET && r->nareas < VFU_MAX_AREAS)
		r->areas[r->nareas++] = (struct vfu_area){ offset, size };
	return 0;
}

/* "VFIO region info cap sparse mmap" at @at */
static int parse_sparse(const char *payload, size_t len, size_t at, struct vfu_region *r, char *err,
			size_t errlen)
{
	struct vfio_region_info_cap_sparse_mmap cap;
	struct vfio_region_sparse_mmap_area area;

	if (len - at < sizeof(cap))
		return fail("cut off the list of areas to map");
	memcpy(&cap, payload + at, sizeof(cap));
	at += sizeof(cap);
	if (cap.nr_areas > (len - at) / sizeof(area))
		return fail("announces %u areas to map, in a message with room for %zu",
			    cap.nr_areas, (len - at) / sizeof(area));
	for (uint32_t i = 0; i < cap.nr_areas; i++, at += sizeof(area)) {
		memcpy(&area, payload + at, sizeof(area));
		if (add_area(r, area.offset, area.size, err, errlen))
			return -EPROTO;
	}
	return 0;
}

/* "VFIO region capabilities". A chain with more links than there is room for has a cycle. */
static int parse_caps(const char *payload, size_t len, uint32_t at, struct vfu_region *r, char *err,
		      size_t errlen)
{
	struct vfio_info_cap_header h;
	size_t links = len / sizeof(h);

	for (; at; at = h.next) {
		if (at < sizeof(struct vfio_region_info) || at > len || len - at < sizeof(h))
			return fail("points at a capability at %u of a message of %zu bytes", at,
				    len);
		if (!links--)
			return fail("chains its capabilities in a circle");
		memcpy(&h, payload + at, sizeof(h));
		if (h.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP)
			return parse_sparse(payload, len, at, r, err, errlen);
	}
	return add_area(r, 0, r->size, err, errlen); /* mappable as a whole */
}

int vfu_parse_region(const void *payload, size_t len, uint32_t index, struct vfu_region *out,
		     char *err, size_t errlen)
{
	struct vfio_region_info info;

	*out = (struct vfu_region){ 0 };
	if (len < sizeof(info))
		return fail("answered DEVICE_GET_REGION_INFO with %zu bytes: at least %zu are "
			    "needed",
			    len, sizeof(info));
	memcpy(&info, payload, sizeof(info));
	if (info.index != index)
		return fail("was asked for region %u and told about %u", index, info.index);
	if (info.argsz > VFU_MAX_REPLY)
		return fail("needs %u bytes to tell about a region: more than %u are not taken",
			    info.argsz, VFU_MAX_REPLY);
	out->argsz = info.argsz;
	if (info.argsz > len)
		return 0;
	out->flags = info.flags;
	out->size = info.size;
	out->offset = info.offset;
	if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	return parse_caps(payload, len,
			  info.flags & VFIO_REGION_INFO_FLAG_CAPS ? info.cap_offset : 0, out, err,
			  errlen);
}

/* ---- VFIO_USER_DEVICE_GET_IRQ_INFO ---- */

int vfu_parse_irq_info(const void *payload, size_t len, uint32_t index, struct vfio_irq_info *out,
		       char *err, size_t errlen)
{
	if (len < sizeof(*out))
		return fail("answered DEVICE_GET_IRQ_INFO with %zu bytes: at least %zu are needed",
			    len, sizeof(*out));
	memcpy(out, payload, sizeof(*out));
	if (out->index != index)
		return fail("was asked for interrupts of index %u and told about %u", index,
			    out->index);
	return 0;
}
