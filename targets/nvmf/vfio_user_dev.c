/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_dev.c - VERSION and the messages that describe the device
 */
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

/* ---- VERSION ---- */

/* A number of the client's capabilities, @dflt where it does not say. Return: whether it can be
 * taken */
static bool cap_number(const json_t *caps, const char *name, uint64_t dflt, uint64_t *out)
{
	const json_t *v = json_object_get(caps, name);

	*out = dflt;
	if (!v)
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

/* The reply names what the client named, at most as much of it (a subset of those proposed) */
static void offer(json_t *reply, const json_t *caps, const char *name, uint64_t value)
{
	if (json_object_get(caps, name))
		json_object_set_new(reply, name, json_integer((json_int_t)value));
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Return: the reply's capabilities, or NULL when we cannot do with the client's */
static json_t *negotiate(struct vu_conn *c, const json_t *caps)
{
	uint64_t fds, xfer, maps, pgsizes;
	json_t *r;

	if (!cap_number(caps, "max_msg_fds", VFIO_USER_DEFAULT_MAX_FDS, &fds) ||
	    !cap_number(caps, "max_data_xfer_size", VFIO_USER_DEFAULT_MAX_XFER, &xfer) ||
	    !cap_number(caps, "max_dma_maps", VFIO_USER_DEFAULT_MAX_MAPS, &maps) ||
	    !cap_number(caps, "pgsizes", VFIO_USER_DEFAULT_PGSIZES, &pgsizes))
		return NULL;
	pgsizes &= ~(PLX_PAGE_SIZE - 1ull);
	if (!xfer || !pgsizes)
		return NULL;
	c->max_fds = (uint32_t)least(fds, VU_MAX_FDS);
	c->max_xfer = (uint32_t)least(xfer, VU_MAX_XFER);
	r = json_object();
	offer(r, caps, "max_msg_fds", c->max_fds);
	offer(r, caps, "max_data_xfer_size", c->max_xfer);
	offer(r, caps, "max_dma_maps", least(maps, VU_MAX_MAPS));
	offer(r, caps, "pgsizes", pgsizes);
	if (json_is_object(json_object_get(caps, "twin_socket")))
		json_object_set_new(r, "twin_socket", json_pack("{sb}", "supported", 0));
	if (json_is_true(json_object_get(caps, "write_multiple")))
		json_object_set_new(r, "write_multiple", json_true());
	return r;
}

/* Return: the reply's text, to be freed, or NULL when the client's cannot be worked with */
static char *negotiate_text(struct vu_conn *c, const char *text, uint32_t len)
{
	json_t *in = NULL, *caps, *reply;
	char *out;

	if (len) {
		/* the NUL at its end is forgotten by some */
		in = json_loadb(text, strnlen(text, len), JSON_ALLOW_NUL, NULL);
		if (!json_is_object(in)) {
			json_decref(in);
			return NULL;
		}
	}
	caps = json_object_get(in, "capabilities");
	reply = caps && !json_is_object(caps) ? NULL : negotiate(c, caps);
	json_decref(in);
	if (!reply)
		return NULL;
	reply = json_pack("{so}", "capabilities", reply);
	out = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	return out;
}

static void version(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_user_version *in = (const void *)m->data;
	struct vfio_user_version *out;
	char *text;

	if (m->len < sizeof *in) {
		vu_reply_error(c, &m->hdr, EINVAL);
		vu_conn_drop(c, "VERSION message without a version");
		return;
	}
	if (in->major != VFIO_USER_MAJOR) {
		vu_conn_drop(c, "another major version of the protocol than ours");
		return;
	}
	text = negotiate_text(c, (const char *)(in + 1), m->len - (uint32_t)sizeof *in);
	if (!text) {
		vu_reply_error(c, &m->hdr, EINVAL);
		vu_conn_drop(c, "capabilities in VERSION that we cannot work with");
		return;
	}
	if (vu_remote_init(c)) {
		free(text);
		vu_conn_drop(c, "out of memory for what it may ask for");
		return;
	}
	c->negotiated = true;
	out = vu_reply(c, &m->hdr, (uint32_t)(sizeof *out + strlen(text) + 1), -1);
	if (out) {
		out->major = VFIO_USER_MAJOR;
		out->minor = in->minor < VFIO_USER_MINOR ? in->minor : VFIO_USER_MINOR;
		strcpy((char *)(out + 1), text);
	}
	free(text);
}

/* ---- what the device is ---- */

/* Info commands: a reply of @full bytes, of which the client takes argsz. Return: whether the
 * request is well formed: its payload of @size bytes is there, and it takes the reply's fixed
 * part */
static bool info_request(struct vu_conn *c, const struct vu_msg *m, uint32_t size)
{
	uint32_t argsz;

	if (m->len >= size) {
		memcpy(&argsz, m->data, sizeof argsz);
		if (argsz >= size)
			return true;
	}
	vu_reply_error(c, &m->hdr, EINVAL);
	return false;
}

static void device_info(struct vu_conn *c, struct vu_msg *m)
{
	struct vfio_user_device_info *out;

	if (!info_request(c, m, sizeof *out))
		return;
	out = vu_reply(c, &m->hdr, sizeof *out, -1);
	if (out)
		*out = (struct vfio_user_device_info){
			.argsz = sizeof *out,
			.flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
			.num_regions = VFIO_PCI_NUM_REGIONS,
			.num_irqs = VFIO_PCI_NUM_IRQS,
		};
}

/* One area can be mapped: from the first doorbell on */
#define SPARSE_LEN                                                                                 \
	((uint32_t)(sizeof(struct vfio_region_info_cap_sparse_mmap) +                              \
		    sizeof(struct vfio_region_sparse_mmap_area)))

static void region_info(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_region_info *in = (const void *)m->data;
	struct vfio_region_info *out;
	struct vfio_region_info_cap_sparse_mmap *cap;
	bool mmap, whole;

	if (!info_request(c, m, sizeof *in))
		return;
	if (in->index >= VFIO_PCI_NUM_REGIONS) {
		vu_reply_error(c, &m->hdr, EINVAL);
		return;
	}
	mmap = in->index == VFIO_PCI_BAR0_REGION_INDEX && !c->v->trap_doorbells && c->max_fds;
	whole = mmap && in->argsz >= sizeof *out + SPARSE_LEN;
	out = vu_reply(c, &m->hdr, (uint32_t)(sizeof *out + (whole ? SPARSE_LEN : 0)),
		       mmap ? c->db_fd : -1);
	if (!out)
		return;
	*out = (struct vfio_region_info){
		.argsz = (uint32_t)(sizeof *out + (mmap ? SPARSE_LEN : 0)),
		.index = in->index,
		.size = vu_region_size(c, in->index),
	};
	if (out->size)
		out->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (mmap) {
		out->flags |= VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
		/* where it will be in the whole reply: QEMU refuses capabilities without a place */
		out->cap_offset = sizeof *out;
	}
	if (!whole)
		return;
	cap = (struct vfio_region_info_cap_sparse_mmap *)(out + 1);
	cap->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	cap->header.version = 1;
	cap->nr_areas = 1;
	cap->areas[0].offset = VU_DOORBELLS;
	cap->areas[0].size = c->db_len - VU_DOORBELLS;
}

/* Doorbells that are mapped need no ioeventfd, and those that are trapped are there to be seen */
static void region_io_fds(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_user_region_io_fds *in = (const void *)m->data;
	struct vfio_user_region_io_fds *out;

	if (!info_request(c, m, sizeof *in))
		return;
	if (in->index >= VFIO_PCI_NUM_REGIONS || in->flags || in->count) {
		vu_reply_error(c, &m->hdr, EINVAL);
		return;
	}
	out = vu_reply(c, &m->hdr, sizeof *out, -1);
	if (out)
		*out = (struct vfio_user_region_io_fds){ .argsz = sizeof *out, .index = in->index };
}

static void irq_info(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_irq_info *in = (const void *)m->data;
	struct vfio_irq_info *out;

	if (!info_request(c, m, sizeof *in))
		return;
	if (in->index >= VFIO_PCI_NUM_IRQS) {
		vu_reply_error(c, &m->hdr, EINVAL);
		return;
	}
	out = vu_reply(c, &m->hdr, sizeof *out, -1);
	if (!out)
		return;
	out->argsz = sizeof *out;
	out->index = in->index;
	out->count = vu_irq_count(c, in->index);
	if (out->count)
		out->flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE;
	if (in->index == VFIO_PCI_INTX_IRQ_INDEX)
		out->flags |= VFIO_IRQ_INFO_AUTOMASKED;
}

/* ---- what takes its time ---- */

static bool busy_is_done(struct vu_conn *c)
{
	return c->busy == VU_RESETTING ? nvmf_fn_is_reset(&c->fn) : vu_dma_unmap_step(c);
}

static void busy_end(struct vu_conn *c)
{
	void *out = vu_reply(c, &c->busy_hdr, c->busy_reply_len, -1);

	if (out)
		memcpy(out, c->busy_reply, c->busy_reply_len);
	c->busy = VU_IDLE;
}

void vu_busy_begin(struct vu_conn *c, enum vu_busy what, const struct vfio_user_hdr *to,
		   const void *reply, uint32_t len)
{
	c->busy = what;
	c->busy_hdr = *to;
	c->busy_reply_len = len;
	c->busy_tsc = plx_tsc();
	c->busy_aborted = false;
	if (len)
		memcpy(c->busy_reply, reply, len);
	if (busy_is_done(c))
		busy_end(c);
}

void vu_busy_step(struct vu_conn *c)
{
	if (!busy_is_done(c))
		return;
	busy_end(c);
	vu_held_run(c);
}

void vu_reset(struct vu_conn *c, const struct vfio_user_hdr *to, const void *reply, uint32_t len)
{
	nvmf_fn_reset(&c->fn);
	vu_irq_reset(c);
	vu_cfg_reset(c);
	vu_busy_begin(c, VU_RESETTING, to, reply, len);
}

/* ---- dispatch ---- */

void vu_command(struct vu_conn *c, struct vu_msg *m)
{
	if (c->negotiated == (m->hdr.command == VFIO_USER_VERSION)) {
		vu_reply_error(c, &m->hdr, EINVAL);
		if (!c->negotiated)
			vu_conn_drop(c, "a message before VERSION");
		return;
	}
	switch (m->hdr.command) {
	case VFIO_USER_VERSION:
		version(c, m);
		break;
	case VFIO_USER_DMA_MAP:
		vu_dma_map(c, m);
		break;
	case VFIO_USER_DMA_UNMAP:
		vu_dma_unmap(c, m);
		break;
	case VFIO_USER_DEVICE_GET_INFO:
		device_info(c, m);
		break;
	case VFIO_USER_DEVICE_GET_REGION_INFO:
		region_info(c, m);
		break;
	case VFIO_USER_DEVICE_GET_REGION_IO_FDS:
		region_io_fds(c, m);
		break;
	case VFIO_USER_DEVICE_GET_IRQ_INFO:
		irq_info(c, m);
		break;
	case VFIO_USER_DEVICE_SET_IRQS:
		vu_set_irqs(c, m);
		break;
	case VFIO_USER_REGION_READ:
		vu_region_read(c, m);
		break;
	case VFIO_USER_REGION_WRITE:
		vu_region_write(c, m);
		break;
	case VFIO_USER_REGION_WRITE_MULTI:
		vu_region_write_multi(c, m);
		break;
	case VFIO_USER_DEVICE_RESET:
		vu_reset(c, &m->hdr, NULL, 0);
		break;
	case VFIO_USER_DEVICE_FEATURE:
		vu_reply_error(c, &m->hdr, ENOTTY); /* as VFIO says of one that it lacks */
		break;
	default: /* migration, and what the specification does not know */
		vu_reply_error(c, &m->hdr, ENOTSUP);
	}
}
