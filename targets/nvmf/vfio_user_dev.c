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
		if (text[len - 1])
			return NULL;
		in = json_loadb(text, strlen(text), 0, NULL);
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
	c->negotiated = true;
	out = vu_reply(c, &m->hdr, (uint32_t)(sizeof *out + strlen(text) + 1), -1);
	if (out) {
		out->major = VFIO_USER_MAJOR;
		out->minor = in->minor < VFIO_USER_MINOR ? in->minor : VFIO_USER_MINOR;
		strcpy((char *)(out + 1), text);
	}
	free(text);
}

/* ---- dispatch ---- */

void vu_busy_step(struct vu_conn *c)
{
}

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
	default:
		vu_reply_error(c, &m->hdr, ENOTSUP);
	}
}
