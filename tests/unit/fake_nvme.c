/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/fake_nvme.c - see fake_nvme.h. Device addresses are virtual addresses.
 */
#include "fake_nvme.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INVALID_FIELD  0x4002 /* with DNR */
#define INVALID_OPCODE 0x4001

static struct fake_nvme *the_fake;

/* ---- registers ---- */

static void set_enabled(struct fake_nvme *f, bool on)
{
	memset(f->q, 0, sizeof(f->q));
	memset((void *)f->doorbells, 0, sizeof(f->doorbells));
	f->n_held = f->n_aers = 0;
	f->csts = 0;
	if (!on)
		return;
	f->enables++;
	f->csts = f->cfs_on_enable ? 2 : 1;
	f->q[0] = (struct fake_queue){
		.sq_live = true,
		.cq_live = true,
		.sq = (void *)f->asq,
		.cq = (void *)f->acq,
		.sq_size = (f->aqa & 0xfff) + 1,
		.cq_size = (f->aqa >> 16 & 0xfff) + 1,
		.phase = 1,
	};
}

static void write_cc(struct fake_nvme *f, uint32_t cc)
{
	bool was = f->cc & 1, on = cc & 1;

	f->cc = cc;
	if (was != on && !f->stuck_ready)
		set_enabled(f, on);
	if ((cc >> 14 & 3) == 1 && on) {
		f->shutdowns++;
		f->csts = (f->csts & ~0xcu) | 8;
	}
}

/* CMBLOC and CMBSZ say something once they are enabled, of version 1.4 */
static uint32_t cmb_register(const struct fake_nvme *f, uint32_t value)
{
	return NVME_CAP_CMBS(f->cap) && !NVME_CMBMSC_CRE(f->cmbmsc) && !f->cmb_shown ? 0 : value;
}

static void write_pmrctl(struct fake_nvme *f, uint32_t value)
{
	f->pmrctl = value;
	if (!f->pmr_stuck)
		f->pmrsts = (f->pmrsts & ~0x100u) | (value & 1 ? 0 : 0x100);
}

static uint64_t reg_read(struct plx_pcie_dev *dev, uint32_t offset, unsigned size)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	if (f->gone)
		return UINT64_MAX;
	switch (offset) {
	case NVME_REG_CAP:
		return f->cap;
	case NVME_REG_VS:
		return f->vs;
	case NVME_REG_CC:
		return f->cc;
	case NVME_REG_CSTS:
		return f->csts;
	case NVME_REG_BPINFO:
		return f->bpinfo;
	case NVME_REG_CMBLOC:
		return cmb_register(f, f->cmbloc);
	case NVME_REG_CMBSZ:
		return cmb_register(f, f->cmbsz);
	case NVME_REG_CMBMSC:
		return f->cmbmsc;
	case NVME_REG_CMBSTS:
		return f->cmbsts;
	case NVME_REG_PMRCAP:
		return f->pmrcap;
	case NVME_REG_PMRCTL:
		return f->pmrctl;
	case NVME_REG_PMRSTS:
		return f->pmrsts;
	}
	return 0;
}

static void reg_write(struct plx_pcie_dev *dev, uint32_t offset, uint64_t value, unsigned size)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	if (f->gone)
		return;
	switch (offset) {
	case NVME_REG_AQA:
		f->aqa = (uint32_t)value;
		break;
	case NVME_REG_ASQ:
		f->asq = value;
		break;
	case NVME_REG_ACQ:
		f->acq = value;
		break;
	case NVME_REG_BPMBL:
		f->bpmbl = value;
		break;
	case NVME_REG_BPRSEL:
		f->bprsel = (uint32_t)value;
		if (f->boot_hook)
			f->boot_hook(f);
		break;
	case NVME_REG_CMBMSC:
		f->cmbmsc = value;
		break;
	case NVME_REG_PMRCTL:
		write_pmrctl(f, (uint32_t)value);
		break;
	case NVME_REG_PMRMSCL:
		f->pmrmscl = (uint32_t)value;
		break;
	case NVME_REG_PMRMSCU:
		f->pmrmscu = (uint32_t)value;
		break;
	case NVME_REG_CC:
		write_cc(f, (uint32_t)value);
		break;
	}
}

static int fake_open(const struct plx_nvme_trid *trid, struct plx_pcie_dev **dev)
{
	if (!the_fake || strcmp(trid->traddr, "fake"))
		return -ENODEV;
	the_fake->open = true;
	*dev = &the_fake->dev;
	return 0;
}

static void fake_close(struct plx_pcie_dev *dev)
{
	((struct fake_nvme *)dev)->open = false;
}

static volatile uint32_t *fake_doorbell(struct plx_pcie_dev *dev, uint32_t offset)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	return f->doorbells_by_call ? NULL : &f->doorbells[offset / 4];
}

static void fake_doorbell_write(struct plx_pcie_dev *dev, uint32_t offset, uint32_t value)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	f->doorbell_calls++;
	__atomic_store_n(&f->doorbells[offset / 4], value, __ATOMIC_RELEASE);
}

static bool fake_poll(struct plx_pcie_dev *dev)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	f->polls++;
	return f->poll_pays;
}

/* ---- memory of its own ---- */

static uint64_t fake_bar_size(struct plx_pcie_dev *dev, unsigned index, uint64_t *bus)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	*bus = f->bar[index].bus;
	return f->bar[index].size;
}

static int fake_bar_map(struct plx_pcie_dev *dev, unsigned index, uint64_t offset, uint64_t len,
			void **mem)
{
	struct fake_bar *bar = &((struct fake_nvme *)dev)->bar[index];

	if (bar->rc)
		return bar->rc;
	if (offset > bar->size || len > bar->size - offset)
		abort();
	bar->maps++;
	*mem = bar->mem + offset;
	return 0;
}

static void fake_bar_unmap(struct plx_pcie_dev *dev, void *mem)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	for (unsigned i = 0; i < PLX_ARRAY_SIZE(f->bar); i++)
		if (f->bar[i].mem && (uint64_t)((char *)mem - f->bar[i].mem) < f->bar[i].size)
			f->bar[i].unmaps++;
}

/* What the host calls @addr: its own, or that of a BAR */
static void *memory_at(struct fake_nvme *f, uint64_t addr)
{
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(f->bar); i++)
		if (addr - f->bar[i].bus < f->bar[i].size)
			return f->bar[i].mem + (addr - f->bar[i].bus);
	return (void *)addr;
}

static const struct plx_pcie_backend backend = {
	.trtype = PLX_NVME_TR_PCIE,
	.open = fake_open,
	.close = fake_close,
	.reg_read = reg_read,
	.reg_write = reg_write,
	.doorbell = fake_doorbell,
	.doorbell_write = fake_doorbell_write,
	.poll = fake_poll,
	.bar_size = fake_bar_size,
	.bar_map = fake_bar_map,
	.bar_unmap = fake_bar_unmap,
};

/* ---- reset of the function ---- */

static int fake_reset(struct plx_pcie_dev *dev)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;
	uint64_t end = plx_tsc() + plx_tsc_hz() / 10;

	atomic_store(&f->flr_asked, !f->flr_hangs);
	while (f->flr_hangs ? plx_tsc() < end : atomic_load(&f->flr_asked))
		usleep(100);
	return f->flr_rc;
}

static void reset_function(struct fake_nvme *f)
{
	f->flrs++;
	if (!f->flr_useless) {
		f->gone = f->stuck_ready = f->cfs_on_enable = false;
		f->cc = 0;
		set_enabled(f, false);
	}
	atomic_store(&f->flr_asked, false);
}

static int fake_cfg_read(struct plx_pcie_dev *dev, uint32_t offset, void *buf, unsigned len)
{
	struct fake_nvme *f = (struct fake_nvme *)dev;

	memset(buf, f->unplugged ? 0xff : 1, len);
	return 0;
}

static int fake_irq_enable(struct plx_pcie_dev *dev, unsigned vector, int eventfd)
{
	((struct fake_nvme *)dev)->irqs++;
	return vector ? -EINVAL : 0;
}

void fake_can_flr(struct fake_nvme *f)
{
	static struct plx_pcie_backend flr_backend;

	flr_backend = backend;
	flr_backend.cfg_read = fake_cfg_read;
	flr_backend.irq_enable = fake_irq_enable;
	flr_backend.reset = fake_reset;
	f->dev.ops = &flr_backend;
}

void fake_init(struct fake_nvme *f)
{
	memset(f, 0, sizeof(*f));
	f->dev = (struct plx_pcie_dev){
		.ops = &backend,
		.doorbells = f->doorbells,
		.doorbell_bytes = sizeof(f->doorbells),
		.numa = PLX_NUMA_ANY,
	};
	f->cap =
		63 | 1ull << 16 | 1ull << 24 | 1ull << 37; /* 64 entries, CQR, half a second, NVM */
	f->vs = 0x20000;
	f->silent = f->refuse = -1;
	memcpy(f->id.sn, "FAKE0001            ", 20);
	f->id.sqes = 0x66;
	f->id.cqes = 0x44;
	f->id.nn = FAKE_NS;
	f->id.mdts = 2;
	f->id.acl = 3;
	f->id.aerl = 3;
	f->id.kas = 1;
	f->id.lpa = NVME_CTRL_LPA_EXTENDED;
	f->id.oaes = NVME_CTRL_OAES_NA;
	f->ns[1].nsze = f->ns[1].ncap = 1000;
	f->ns[1].lbaf[0].ds = 9;
	the_fake = f;
	plx_nvme_register_backend(&backend);
}

/* ---- completions ---- */

static void post(struct fake_nvme *f, uint16_t qid, uint16_t cid, uint16_t status,
		 const uint32_t *dw, bool flip)
{
	struct fake_queue *q = &f->q[qid];
	struct plx_nvme_cpl *e = &q->cq[q->tail];

	e->dw0 = dw[0];
	e->dw1 = dw[1];
	e->sqhd = (uint16_t)q->head;
	e->sqid = qid;
	e->cid = cid;
	__atomic_store_n(&e->status, (uint16_t)(status << 1 | (q->phase ^ flip)), __ATOMIC_RELEASE);
	if (flip)
		return; /* the next one goes to the same place */
	if (++q->tail == q->cq_size) {
		q->tail = 0;
		q->phase ^= 1;
	}
}

void fake_post(struct fake_nvme *f, uint16_t qid, uint16_t cid, uint16_t status, uint32_t dw0,
	       bool flip)
{
	post(f, qid, cid, status, (uint32_t[2]){ dw0, 0 }, flip);
}

void fake_complete(struct fake_nvme *f, unsigned i, uint16_t status)
{
	uint16_t sq = f->held_sq[i], cid = f->held[i].cid;

	f->n_held--;
	memmove(&f->held[i], &f->held[i + 1], (f->n_held - i) * sizeof(f->held[0]));
	memmove(&f->held_sq[i], &f->held_sq[i + 1], (f->n_held - i) * sizeof(f->held_sq[0]));
	fake_post(f, sq, cid, status, 0, false);
}

bool fake_event(struct fake_nvme *f, uint32_t dw0)
{
	if (!f->n_aers)
		return false;
	fake_post(f, 0, f->aer_cid[--f->n_aers], 0, dw0, false);
	return true;
}

unsigned fake_count(const struct fake_nvme *f, uint8_t opc)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->admin_cmds; i++)
		n += f->admin_log[i].opc == opc;
	return n;
}

const struct plx_nvme_cmd *fake_last(const struct fake_nvme *f, uint8_t opc)
{
	for (unsigned i = f->admin_cmds; i-- > 0;)
		if (f->admin_log[i % FAKE_LOG].opc == opc)
			return &f->admin_log[i % FAKE_LOG];
	abort();
}

/* ---- admin commands ---- */

static uint16_t identify(struct fake_nvme *f, const struct plx_nvme_cmd *cmd)
{
	uint32_t *list = (uint32_t *)cmd->prp1;

	memset(list, 0, 4096);
	switch (cmd->cdw10 & 0xff) {
	case NVME_IDENTIFY_CNS_CTRL:
		memcpy(list, &f->id, sizeof(f->id));
		return 0;
	case NVME_IDENTIFY_CNS_NS:
		if (cmd->nsid && cmd->nsid <= FAKE_NS)
			memcpy(list, &f->ns[cmd->nsid], sizeof(f->ns[0]));
		return 0;
	case NVME_IDENTIFY_CNS_NS_ACTIVE_LIST:
		for (uint32_t i = cmd->nsid + 1; i <= FAKE_NS; i++)
			if (f->ns[i].nsze)
				*list++ = i;
		return 0;
	case NVME_IDENTIFY_CNS_CSI_NS:
	case NVME_IDENTIFY_CNS_CSI_CTRL:
		return 0;
	}
	return INVALID_FIELD;
}

static uint16_t create_queue(struct fake_nvme *f, const struct plx_nvme_cmd *cmd)
{
	uint32_t qid = cmd->cdw10 & 0xffff, size = (cmd->cdw10 >> 16) + 1;
	struct fake_queue *q = &f->q[qid];

	if (!qid || qid >= FAKE_QUEUES)
		return 0x4101;
	if (cmd->opc == nvme_admin_create_cq) {
		*q = (struct fake_queue){
			.cq_live = true, .cq = (void *)cmd->prp1, .cq_size = size, .phase = 1
		};
		f->doorbells[2 * qid + 1] = 0;
		return 0;
	}
	if (!q->cq_live || cmd->cdw11 >> 16 != qid)
		return 0x4100;
	q->sq = memory_at(f, cmd->prp1);
	q->sq_size = size;
	q->sq_live = true;
	f->doorbells[2 * qid] = 0;
	return 0;
}

static uint16_t delete_queue(struct fake_nvme *f, const struct plx_nvme_cmd *cmd)
{
	uint32_t qid = cmd->cdw10 & 0xffff;
	bool sq = cmd->opc == nvme_admin_delete_sq;

	if (!qid || qid >= FAKE_QUEUES || !(sq ? f->q[qid].sq_live : f->q[qid].cq_live))
		return 0x4101;
	if (sq)
		f->q[qid].sq_live = false;
	else
		f->q[qid].cq_live = false;
	return 0;
}

static uint32_t abort_held(struct fake_nvme *f, const struct plx_nvme_cmd *cmd)
{
	f->aborts++;
	for (unsigned i = 0; i < f->n_held && !f->ignore_abort; i++) {
		if (f->held_sq[i] == (cmd->cdw10 & 0xffff) && f->held[i].cid == cmd->cdw10 >> 16) {
			fake_complete(f, i, NVME_SC_ABORT_REQ);
			return 0;
		}
	}
	return 1;
}

static bool is(const struct plx_nvme_cmd *cmd, int what)
{
	return what >= 0 && cmd->opc == (what & 0xff) && (cmd->cdw10 & 0xff) == (uint32_t)what >> 8;
}

static void admin_cmd(struct fake_nvme *f, const struct plx_nvme_cmd *cmd)
{
	uint16_t status = 0;
	uint32_t dw[2] = { 0 };

	f->admin_log[f->admin_cmds++ % FAKE_LOG] = *cmd;
	if (is(cmd, f->silent))
		return;
	if (is(cmd, f->refuse)) {
		fake_post(f, 0, cmd->cid, INVALID_FIELD, 0, false);
		return;
	}
	if (f->admin_hook) {
		status = f->admin_hook(f, cmd, dw);
		if (status != FAKE_NOT_MINE) {
			post(f, 0, cmd->cid, status, dw, false);
			return;
		}
		status = 0;
	}
	switch (cmd->opc) {
	case nvme_admin_identify:
		status = identify(f, cmd);
		break;
	case nvme_admin_create_cq:
	case nvme_admin_create_sq:
		status = create_queue(f, cmd);
		break;
	case nvme_admin_delete_cq:
	case nvme_admin_delete_sq:
		status = delete_queue(f, cmd);
		break;
	case nvme_admin_set_features:
		if ((cmd->cdw10 & 0xff) == NVME_FEAT_FID_NUM_QUEUES)
			dw[0] = (FAKE_QUEUES - 2) << 16 | (FAKE_QUEUES - 2);
		break;
	case nvme_admin_get_features:
		dw[0] = 0x1234;
		break;
	case nvme_admin_get_log_page:
		*(uint32_t *)cmd->prp1 = cmd->cdw12;
		break;
	case nvme_admin_abort_cmd:
		dw[0] = abort_held(f, cmd);
		break;
	case nvme_admin_keep_alive:
		f->keep_alives++;
		break;
	case nvme_admin_async_event:
		f->aer_cid[f->n_aers++] = cmd->cid;
		return;
	default:
		status = INVALID_OPCODE;
		break;
	}
	post(f, 0, cmd->cid, status, dw, false);
}

/* ---- I/O commands ---- */

static void io_cmd(struct fake_nvme *f, uint16_t qid, const struct plx_nvme_cmd *cmd)
{
	uint32_t dw[2] = { 0 };
	uint16_t status = f->io_hook ? f->io_hook(f, cmd, dw) : FAKE_NOT_MINE;

	f->ios++;
	f->last_io = *cmd;
	if (status != FAKE_NOT_MINE) {
		post(f, qid, cmd->cid, status, dw, false);
		return;
	}
	if (f->hold_io && f->n_held < PLX_ARRAY_SIZE(f->held)) {
		f->held_sq[f->n_held] = qid;
		f->held[f->n_held++] = *cmd;
		return;
	}
	fake_post(f, qid, cmd->cid, f->io_at < f->io_statuses ? f->io_status[f->io_at++] : 0, 0,
		  false);
}

int fake_turn(struct fake_nvme *f)
{
	int n = 0;

	if (atomic_load(&f->flr_asked))
		reset_function(f);
	if (f->gone || !(f->csts & 1))
		return 0;
	for (uint16_t qid = 0; qid < FAKE_QUEUES; qid++) {
		struct fake_queue *q = &f->q[qid];

		while (q->sq_live &&
		       q->head != __atomic_load_n(&f->doorbells[2 * qid], __ATOMIC_ACQUIRE)) {
			struct plx_nvme_cmd cmd = q->sq[q->head];

			q->head = (q->head + 1) % q->sq_size;
			if (qid)
				io_cmd(f, qid, &cmd);
			else
				admin_cmd(f, &cmd);
			n++;
		}
	}
	return n;
}
