/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_remote.c - DMA_READ and DMA_WRITE: memory that the client did not share
 *
 * The engine of remote.h asks, messages go out, replies come in any order. A client that owes one
 * for too long is as good as dead.
 */
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <stdlib.h>

#define PATIENCE_S 5
#define MAX_OPS	   128u /* under way */
#define MAX_LEN	   131072u /* of one message, where the client takes that much */

struct vu_op {
	TAILQ_ENTRY(vu_op) link;
	uint16_t id, command;
	uint32_t len;
	uint64_t iova;
	void *dst; /* of a read */
	nvmf_remote_cb cb;
	void *arg;
	uint64_t tsc;
};

static int op_start(struct vu_conn *c, uint16_t command, uint64_t iova, void *dst, const void *src,
		    uint32_t len, nvmf_remote_cb cb, void *arg)
{
	struct vfio_user_hdr h = { .id = c->next_id, .command = command };
	struct vfio_user_dma_rw *rw;
	struct vu_op *op;

	if (c->closing)
		return -ECANCELED;
	if (c->nops == MAX_OPS || c->tx_bytes > VU_MAX_TX / 2)
		return -EAGAIN;
	op = malloc(sizeof *op);
	if (!op)
		return -EAGAIN;
	rw = vu_send(c, &h, (uint32_t)sizeof *rw + (src ? len : 0), -1);
	if (!rw) {
		free(op);
		return -ECANCELED;
	}
	*rw = (struct vfio_user_dma_rw){ .address = iova, .count = len };
	if (src)
		memcpy(rw + 1, src, len);
	*op = (struct vu_op){ .id = c->next_id++,
			      .command = command,
			      .len = len,
			      .iova = iova,
			      .dst = dst,
			      .cb = cb,
			      .arg = arg,
			      .tsc = plx_tsc() };
	TAILQ_INSERT_TAIL(&c->ops, op, link);
	c->nops++;
	if (vu_tx_flush(c))
		vu_conn_drop(c, NULL);
	vu_hurry(c);
	return 0;
}

static int op_read(void *ctx, uint64_t iova, void *dst, uint32_t len, nvmf_remote_cb cb, void *arg)
{
	return op_start(ctx, VFIO_USER_DMA_READ, iova, dst, NULL, len, cb, arg);
}

static int op_write(void *ctx, uint64_t iova, const void *src, uint32_t len, nvmf_remote_cb cb,
		    void *arg)
{
	return op_start(ctx, VFIO_USER_DMA_WRITE, iova, NULL, src, len, cb, arg);
}

static const struct nvmf_remote_ops ops = { .read = op_read, .write = op_write };

int vu_remote_init(struct vu_conn *c)
{
	uint32_t len = c->max_xfer < MAX_LEN ? c->max_xfer : MAX_LEN;

	/* messages too small to be of use: memory has to be shared then */
	return len < NVMF_REMOTE_MIN_LEN ? 0 : nvmf_fn_set_remote(&c->fn, &ops, c, len);
}

static void op_end(struct vu_conn *c, struct vu_op *op, int rc)
{
	nvmf_remote_cb cb = op->cb;
	void *arg = op->arg;

	TAILQ_REMOVE(&c->ops, op, link);
	c->nops--;
	free(op);
	cb(arg, rc);
}

/* Return: 0, or what the reply says or is wrong with */
static int reply_check(const struct vu_op *op, const struct vu_msg *m)
{
	const struct vfio_user_dma_rw *in = (const void *)m->data;
	uint32_t want = (uint32_t)sizeof *in + (op->dst ? op->len : 0);
	uint32_t count;

	if (m->hdr.flags & VFIO_USER_ERROR)
		return m->hdr.error && m->hdr.error < 4096 ? -(int)m->hdr.error : -EIO;
	/* the count of a write's reply has 4 bytes, though not everybody's */
	if (m->len != want && (op->dst || m->len != want - 4))
		return -EPROTO;
	memcpy(&count, &in->count, sizeof count);
	return in->address == op->iova && count == op->len ? 0 : -EPROTO;
}

bool vu_remote_reply(struct vu_conn *c, const struct vu_msg *m)
{
	struct vu_op *op;
	int rc;

	TAILQ_FOREACH(op, &c->ops, link)
	{
		if (op->id == m->hdr.id && op->command == m->hdr.command)
			break;
	}
	if (!op)
		return false;
	rc = reply_check(op, m);
	if (!rc && op->dst)
		memcpy(op->dst, m->data + sizeof(struct vfio_user_dma_rw), op->len);
	op_end(c, op, rc);
	return true;
}

bool vu_remote_step(struct vu_conn *c)
{
	const struct vu_op *op = TAILQ_FIRST(&c->ops);

	if (op && plx_tsc() - op->tsc > PATIENCE_S * plx_tsc_hz())
		vu_conn_drop(c, "it does not answer DMA_READ or DMA_WRITE");
	return op;
}

void vu_remote_cancel(struct vu_conn *c)
{
	struct vu_op *op;

	while ((op = TAILQ_FIRST(&c->ops)))
		op_end(c, op, -ECANCELED);
}
