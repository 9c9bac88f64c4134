/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_bar.c - region accesses by message: registers, doorbells, and where the
 * others go
 */
#include "targets/nvmf/vfio_user.h"
#include <errno.h>

uint64_t vu_region_size(const struct vu_conn *c, uint32_t region)
{
	switch (region) {
	case VFIO_PCI_BAR0_REGION_INDEX:
		return c->bar0_len;
	case VU_MSIX_BAR:
		return VU_MSIX_LEN;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return VU_CFG_SIZE;
	default:
		return 0;
	}
}

/* The doorbell at @offset of BAR 0, or NULL: those are a stride apart, with nothing between */
static volatile uint32_t *doorbell(struct vu_conn *c, uint32_t offset)
{
	uint32_t at = offset - VU_DOORBELLS, stride = 4u << c->fn.opts.dstrd;

	if (offset < VU_DOORBELLS || at % stride ||
	    at / stride >= (c->fn.opts.max_io_queues + 1) * 2)
		return NULL;
	return c->fn.opts.doorbells + at / 4;
}

/* The largest aligned access, of a register's size, within [offset, offset + left) */
static uint32_t access_size(uint32_t offset, uint32_t left)
{
	uint32_t size = 8;

	while (size > left || offset % size)
		size /= 2;
	return size;
}

static uint64_t bar0_read_one(struct vu_conn *c, uint32_t offset, uint32_t size)
{
	uint32_t word = offset & ~3u;
	volatile uint32_t *db;
	uint64_t v;

	if (size == 8 && offset < VU_DOORBELLS)
		return nvmf_fn_reg_read(&c->fn, offset, 8);
	if (size == 8)
		return bar0_read_one(c, offset, 4) | bar0_read_one(c, offset + 4, 4) << 32;
	if (word < VU_DOORBELLS) {
		v = nvmf_fn_reg_read(&c->fn, word, 4);
	} else {
		db = doorbell(c, word);
		v = db ? __atomic_load_n(db, __ATOMIC_RELAXED) : 0;
	}
	return v >> (offset - word) * 8;
}

static void bar0_read(struct vu_conn *c, uint32_t offset, uint8_t *buf, uint32_t len)
{
	while (len) {
		uint32_t n = access_size(offset, len);
		uint64_t v = bar0_read_one(c, offset, n);

		memcpy(buf, &v, n);
		offset += n;
		buf += n;
		len -= n;
	}
}

static void write_word(struct vu_conn *c, uint32_t offset, uint32_t v)
{
	volatile uint32_t *db;

	if (offset < VU_DOORBELLS) {
		nvmf_fn_reg_write(&c->fn, offset, v, 4);
		return;
	}
	db = doorbell(c, offset);
	if (db)
		__atomic_store_n(db, v, __ATOMIC_RELEASE);
}

static void bar0_write_one(struct vu_conn *c, uint32_t offset, uint64_t v, uint32_t size)
{
	uint32_t word = offset & ~3u, shift = (offset - word) * 8, old;

	if (size == 8 && (offset == NVME_REG_ASQ || offset == NVME_REG_ACQ)) {
		nvmf_fn_reg_write(&c->fn, offset, v, 8);
	} else if (size == 8) {
		write_word(c, offset, (uint32_t)v);
		write_word(c, offset + 4, (uint32_t)(v >> 32));
	} else if (size == 4) {
		write_word(c, offset, (uint32_t)v);
	} else {
		/* part of a register: the rest keeps its value, and writing ones to INTMS and INTMC
		 * is what changes them */
		old = (uint32_t)bar0_read_one(c, word, 4);
		if (word == NVME_REG_INTMS || word == NVME_REG_INTMC)
			old = 0;
		old &= ~(((1u << size * 8) - 1) << shift);
		write_word(c, word, old | (uint32_t)v << shift);
	}
}

static void bar0_write(struct vu_conn *c, uint32_t offset, const uint8_t *buf, uint32_t len)
{
	while (len) {
		uint32_t n = access_size(offset, len);
		uint64_t v = 0;

		memcpy(&v, buf, n);
		bar0_write_one(c, offset, v, n);
		offset += n;
		buf += n;
		len -= n;
	}
}

static int region_check(const struct vu_conn *c, uint32_t region, uint64_t offset, uint32_t len)
{
	uint64_t size = vu_region_size(c, region);

	return !len || len > size || offset > size - len ? -EINVAL : 0;
}

void vu_region_read(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_user_region_rw *in = (const void *)m->data;
	struct vfio_user_region_rw *out;
	uint32_t offset;
	uint8_t *data;

	if (m->len != sizeof *in || region_check(c, in->region, in->offset, in->count) ||
	    in->count > c->max_xfer) {
		vu_reply_error(c, &m->hdr, EINVAL);
		return;
	}
	out = vu_reply(c, &m->hdr, (uint32_t)sizeof *out + in->count, -1);
	if (!out)
		return;
	*out = *in;
	data = (uint8_t *)(out + 1);
	offset = (uint32_t)in->offset;
	if (in->region == VFIO_PCI_BAR0_REGION_INDEX)
		bar0_read(c, offset, data, in->count);
	else if (in->region == VU_MSIX_BAR)
		vu_msix_read(c, offset, data, in->count);
	else
		vu_cfg_read(c, offset, data, in->count);
}

/* Return: 0; 1 it began a function level reset; -EINVAL */
static int region_write(struct vu_conn *c, uint32_t region, uint64_t offset, const uint8_t *data,
			uint32_t len)
{
	if (region_check(c, region, offset, len))
		return -EINVAL;
	if (region == VFIO_PCI_BAR0_REGION_INDEX)
		bar0_write(c, (uint32_t)offset, data, len);
	else if (region == VU_MSIX_BAR)
		vu_msix_write(c, (uint32_t)offset, data, len);
	else
		return vu_cfg_write(c, (uint32_t)offset, data, len);
	return 0;
}

/* A write that reset the function is answered when that is over */
static void write_reply(struct vu_conn *c, const struct vfio_user_hdr *to, const void *reply,
			uint32_t len, bool reset)
{
	void *out;

	if (reset) {
		vu_reset(c, to, reply, len);
		return;
	}
	out = vu_reply(c, to, len, -1);
	if (out)
		memcpy(out, reply, len);
}

void vu_region_write(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_user_region_rw *in = (const void *)m->data;
	int rc = -EINVAL;

	if (m->len >= sizeof *in && m->len - sizeof *in == in->count)
		rc = region_write(c, in->region, in->offset, (const uint8_t *)(in + 1), in->count);
	if (rc < 0)
		vu_reply_error(c, &m->hdr, -rc);
	else
		write_reply(c, &m->hdr, in, sizeof *in, rc);
}

void vu_region_write_multi(struct vu_conn *c, struct vu_msg *m)
{
	const struct vfio_user_write_one *w;
	uint64_t count = 0, done;
	bool reset = false;

	if (m->len >= sizeof count)
		memcpy(&count, m->data, sizeof count);
	if (!count || count > VU_MAX_MSG / sizeof *w ||
	    m->len != sizeof count + count * sizeof *w) {
		vu_reply_error(c, &m->hdr, EINVAL);
		return;
	}
	w = (const void *)(m->data + sizeof count);
	for (done = 0; done < count; done++, w++) {
		int rc = w->count > sizeof w->data
				 ? -EINVAL
				 : region_write(c, w->region, w->offset, w->data, w->count);

		if (rc < 0)
			break;
		reset |= rc;
	}
	if (done)
		write_reply(c, &m->hdr, &done, sizeof done, reset);
	else
		vu_reply_error(c, &m->hdr, EINVAL);
}
