/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/fake_nvme.h - a small NVMe controller for tests of the driver, with switches for what
 * goes wrong
 *
 * It is reached as "trtype:PCIe traddr:fake". Registers work when they are written, queues when
 * fake_turn() runs. I/O commands complete at once, or are held until a test completes them. One per
 * process.
 */
#ifndef POLLUX_TESTS_FAKE_NVME_H
#define POLLUX_TESTS_FAKE_NVME_H

#include "driver/pcie_backend.h"

#define FAKE_QUEUES 8 /* with the admin queue */
#define FAKE_NS	    4
#define FAKE_LOG    4096

struct fake_queue {
	bool sq_live, cq_live;
	struct plx_nvme_cmd *sq;
	struct plx_nvme_cpl *cq;
	uint32_t sq_size, cq_size, head, tail;
	uint16_t phase;
};

struct fake_bar { /* of the controller's own memory; size 0: there is none */
	uint64_t size, bus;
	char *mem;
	int rc; /* of mapping it */
	unsigned maps, unmaps;
};

struct fake_nvme {
	struct plx_pcie_dev dev;
	bool open;
	/* registers */
	uint64_t cap, asq, acq;
	uint32_t vs, cc, csts, aqa, bpinfo, bprsel;
	uint64_t bpmbl;
	uint32_t cmbloc, cmbsz, cmbsts, pmrcap, pmrctl, pmrsts, pmrmscl, pmrmscu;
	uint64_t cmbmsc;
	struct fake_bar bar[6];
	/* what a write to BPRSEL does: fills memory, sets BPINFO */
	void (*boot_hook)(struct fake_nvme *f);
	volatile uint32_t doorbells[2 * FAKE_QUEUES];
	struct fake_queue q[FAKE_QUEUES];
	struct nvme_id_ctrl id;
	struct nvme_id_ns ns[FAKE_NS + 1]; /* by identifier; nsze 0: not active */

	/* switches */
	bool gone; /* registers read as all ones, nothing completes */
	bool stuck_ready; /* RDY stays as it is */
	bool cfs_on_enable;
	bool cmb_shown; /* CMBLOC and CMBSZ are, whatever CMBMSC says */
	bool pmr_stuck; /* PMRSTS.NRDY stays as it is */
	bool hold_io; /* I/O commands wait for fake_complete() */
	bool ignore_abort; /* answers, but the command stays where it is */
	/* an admin opcode, with its CNS or feature << 8, that gets no answer; -1: none */
	int silent;
	int refuse; /* the same, answered with INVALID FIELD */
	uint16_t io_status[64]; /* what the next I/O commands complete with; ends at @io_statuses */
	unsigned io_at, io_statuses;

	/* a test's own commands: the status, or FAKE_NOT_MINE; @dw: dwords 0 and 1 of the
	 * completion */
	uint16_t (*admin_hook)(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw);
	uint16_t (*io_hook)(struct fake_nvme *f, const struct plx_nvme_cmd *cmd, uint32_t *dw);

	/* fake_can_flr() */
	_Atomic bool flr_asked;
	int flr_rc; /* what a reset of the function ends with */
	bool flr_useless; /* it changes nothing */
	bool flr_hangs; /* it ends by itself, after a tenth of a second */
	bool unplugged; /* @gone, and no configuration space */

	bool doorbells_by_call; /* they are no memory */
	bool poll_pays; /* what the poll of the backend returns */

	/* what happened */
	unsigned doorbell_calls, polls;
	unsigned flrs, irqs;
	unsigned enables, shutdowns, aborts, keep_alives, ios;
	struct plx_nvme_cmd admin_log[FAKE_LOG]; /* every admin command, in order */
	unsigned admin_cmds;
	struct plx_nvme_cmd last_io;
	struct plx_nvme_cmd held[64];
	uint16_t held_sq[64];
	unsigned n_held;
	uint16_t aer_cid[16];
	unsigned n_aers;
};

/** fake_init - as a controller with one namespace of 1000 blocks of 512 bytes; found by the driver
 *  from now on */
void fake_init(struct fake_nvme *f);
/** fake_can_flr - its function can be reset, which is done in fake_turn(), and ends what was stuck;
 *  it has an interrupt */
void fake_can_flr(struct fake_nvme *f);
/** fake_turn - execute what is in the queues. Return: commands executed */
int fake_turn(struct fake_nvme *f);
/** fake_post - one completion, without looking at what is outstanding; @flip: with the wrong
 *  phase */
void fake_post(struct fake_nvme *f, uint16_t qid, uint16_t cid, uint16_t status, uint32_t dw0,
	       bool flip);
/** fake_complete - complete held command @i */
void fake_complete(struct fake_nvme *f, unsigned i, uint16_t status);
/** fake_event - complete an Asynchronous Event Request. Return: false when there is none */
bool fake_event(struct fake_nvme *f, uint32_t dw0);
/** fake_count - admin commands seen with this opcode */
unsigned fake_count(const struct fake_nvme *f, uint8_t opc);

/** fake_last - the last admin command with this opcode; the test fails without one */
const struct plx_nvme_cmd *fake_last(const struct fake_nvme *f, uint8_t opc);

#define FAKE_NOT_MINE	     0xffff
#define FAKE_ADMIN(opc, low) ((opc) | (low) << 8)

#endif
