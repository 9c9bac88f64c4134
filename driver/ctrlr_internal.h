/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_internal.h - the controller object, for ctrlr*.c, admin.c, cmd_*.c, qpair.c and
 * ns.c
 *
 * Everything in it is guarded by @lock, but for what is constant once the controller is ready and
 * what is atomic. Nobody waits for anything while holding @lock: a set-up call takes it for one
 * turn at a time.
 */
#ifndef POLLUX_DRIVER_CTRLR_INTERNAL_H
#define POLLUX_DRIVER_CTRLR_INTERNAL_H

#include "driver/nvme_internal.h"
#include "driver/window.h"

#define NVME_MAX_NS	       1024
#define NVME_MAX_AERS	       4
#define NVME_MAX_QUEUE_SIZE    32768u
#define NVME_MAX_IO_BYTES      (2u << 20) /* what one page of PRP list addresses */
#define NVME_DEFAULT_IO_QUEUES 128
#define NVME_ADMIN_RESERVED    2 /* admin identifiers kept for the driver's own commands */
#define NVME_OWNER_DEADLINE_MS 5000
#define NVME_ALIVE_PERIOD_MS   10 /* between looks at CSTS */
#define NVME_AER_BURST	       16 /* events at once before it counts as a storm */
#define NVME_AER_PERIOD_MS     100
#define NVME_FATAL_WINDOW_MS   60000 /* CSTS.CFS again so soon after a reset is for good */

/* Steps of the state machine; the table in ctrlr_steps.c has their names, deadlines and
 * sections. */
enum nvme_step {
	NVME_STEP_CAP,
	NVME_STEP_SETTLE,
	NVME_STEP_QUIESCE,
	NVME_STEP_DISABLE,
	NVME_STEP_FUNCTION_RESET,
	NVME_STEP_CMB,
	NVME_STEP_OWNERS,
	NVME_STEP_ENABLE,
	NVME_STEP_ID_CTRL,
	NVME_STEP_ID_CTRL_NVM,
	NVME_STEP_HOST_BEHAVIOR,
	NVME_STEP_HMB,
	NVME_STEP_NUM_QUEUES,
	NVME_STEP_ID_AGAIN,
	NVME_STEP_DBBUF,
	NVME_STEP_NS_CHANGED,
	NVME_STEP_NS_LIST,
	NVME_STEP_NS_ID,
	NVME_STEP_NS_DESC,
	NVME_STEP_NS_ID_NVM,
	NVME_STEP_ID_CTRL_ZNS,
	NVME_STEP_NS_ID_ZNS,
	NVME_STEP_CREATE_QUEUES,
	NVME_STEP_AER_CONFIG,
	NVME_STEP_ARBITRATION,
	NVME_STEP_KEEP_ALIVE,
	NVME_STEP_READY,
	NVME_STEP_FAILED,
	NVME_STEPS,
};

/* The one admin command a step has under way. */
enum nvme_step_cmd {
	NVME_CMD_NONE,
	NVME_CMD_TO_SEND,
	NVME_CMD_SENT,
};

struct nvme_aer {
	struct plx_nvme_ctrlr *c;
	bool sent; /* the controller has it */
	bool refused; /* the controller wants no more of them */
	bool pending; /* @cpl waits for the owner's poll; submitted again after that */
	struct plx_nvme_cpl cpl;
};

/* A caller's admin command: completed in any thread, called back in the owner's poll. */
struct nvme_admin_req {
	struct plx_nvme_ctrlr *c;
	plx_nvme_cb cb;
	void *arg;
	struct plx_nvme_cpl cpl;
	struct nvme_admin_req *next;
};

struct nvme_counters {
	_Atomic uint64_t resets, timeouts, aborts_sent, aborts_ok, aers, keep_alives, failed_ios;
};

enum nvme_quirk { /* quirks.c */
		  NVME_QUIRK_DELAY_READY = 1, /* no look at CSTS for a while after clearing CC.EN */
		  NVME_QUIRK_STRIPE = 2, /* NOIOB is a vendor specific byte */
		  NVME_QUIRK_OLD_CNS = 4, /* no lists of namespaces before version 1.2 */
};
#define NVME_QUIRK_DELAY_MS 2300

#define NVME_HMB_PIECES 256
/* Host memory that the controller has: from connecting to disconnecting, or until it refuses it */
struct nvme_hmb {
	void *list; /* descriptors, a page; NULL: there is none */
	uint64_t list_iova;
	void *piece[NVME_HMB_PIECES];
	uint32_t pieces;
	uint64_t bytes;
	bool given; /* the controller has it, or had before the reset */
};

/* A reset of the function, which a thread of its own asks for */
struct nvme_flr {
	bool wanted; /* as soon as queue pairs are at rest */
	bool running; /* @thread is there; @rc is its own until @done */
	pthread_t thread;
	_Atomic bool done;
	int rc;
	uint64_t tsc; /* when it was last begun; 0: never */
	int err; /* what the controller fails with where it does not help, */
	char why[256]; /* and why */
};

/* What a scan has learnt of one namespace */
struct nvme_ns_found {
	struct nvme_id_ns id;
	uint8_t csi;
	uint32_t elbaf; /* of the format in use; 0 where there is no such data */
	struct plx_nvme_zns zns;
};

/* Lives from plx_nvme_connect_start() to plx_nvme_disconnect() or a failed
 * plx_nvme_connect_poll(). */
struct plx_nvme_ctrlr {
	struct plx_nvme_qpair admin; /* qid 0; rings exist from NVME_STEP_ENABLE on */
	pthread_mutex_t lock;
	_Atomic uint32_t state; /* enum plx_nvme_ctrlr_state */
	int err; /* why it failed, negative errno */
	char failure[320]; /* written before state becomes FAILED */
	const char *name;

	/* constant once ready */
	struct plx_nvme_trid trid;
	struct plx_nvme_ctrlr_opts opts;
	struct plx_pcie_dev *dev;
	struct plx_mem_listener listener;
	bool listening;
	bool identity; /* device addresses are virtual addresses */
	const struct dptr_iova *iova; /* of I/O; NULL when @identity */
	struct nvme_windows windows;
	struct nvme_cmb cmb;
	struct nvme_pmr pmr;
	bool closing; /* plx_nvme_disconnect() is at work: polls do nothing */
	uint64_t cap;
	uint32_t vs;
	uint32_t max_queue_size, max_io_bytes, num_io_queues;
	uint32_t max_verify_bytes, max_wz_bytes; /* one command; 0: no limit */
	uint32_t max_append_bytes; /* one command (ZASL) */
	uint32_t owner_deadline_ms;
	uint32_t quirks; /* NVME_QUIRK_* */
	uint64_t quiet_tsc; /* NVME_QUIRK_DELAY_READY: no look at CSTS before */
	struct nvme_hmb hmb;
	bool weighted; /* arbitration is weighted round robin */
	uint64_t tsc_ms; /* ticks in a millisecond */
	uint64_t crdt[4]; /* ticks for each value of CRD */
	struct nvme_id_ctrl id;
	int *irq_fds; /* of vectors 0 to irq_count - 1; 0: the admin queue's */
	unsigned irq_count;
	/* shadow doorbells, a page, and event indexes, another; used once shadow_on */
	char *shadow;
	bool shadow_on;

	/* state machine */
	enum nvme_step step;
	bool step_entered;
	bool io_queues_gone; /* the controller is disabled and knows no I/O queues */
	uint64_t step_deadline; /* TSC; 0: none */
	uint32_t step_ms; /* the deadline in words */
	enum nvme_step_cmd cmd_state;
	struct plx_nvme_cmd cmd;
	struct plx_nvme_cpl cmd_cpl;
	void *page; /* DMA memory of the steps' commands: one page */
	uint64_t page_iova;
	uint32_t create_qid; /* NVME_STEP_CREATE_QUEUES: the queue pair at work */
	bool create_sq;

	struct nvme_flr flr;

	/* namespaces */
	_Atomic(struct plx_nvme_ns *) ns[NVME_MAX_NS];
	_Atomic uint32_t ns_count; /* entries of @ns; they only become more */
	uint32_t ns_scan; /* counts scans */
	uint32_t zns_scan; /* the last that asked about the Zoned Namespace Command Set */
	uint32_t ns_at; /* index into @ns_list */
	uint32_t ns_last; /* highest identifier the scan has seen */
	uint32_t ns_looked; /* identifiers the scan has asked about */
	_Atomic uint32_t ns_scanned; /* the last scan that has come to its end */
	bool ns_rescan; /* one more scan, once ready */
	bool reidentify; /* the scan begins with Identify Controller */
	uint32_t ns_list[1024];
	struct nvme_ns_found ns_found; /* the namespace that the scan is looking at */

	/* I/O queue pairs */
	struct plx_nvme_qpair *qpairs;
	uint64_t qids[NVME_MAX_QPAIRS / 64 + 1]; /* taken identifiers */

	/* a ready controller's needs */
	uint64_t alive_tsc; /* next look at CSTS */
	unsigned unwell; /* looks in a row at what should not be, while it is being set up */
	uint64_t fatal_tsc; /* when CSTS.CFS last made it reset; 0: never */
	uint64_t keep_alive_tsc; /* next Keep Alive */
	uint64_t keep_alive_ticks; /* period; 0: none */
	bool keep_alive_sent;
	uint32_t aborts_sent; /* outstanding */
	struct nvme_aer aer[NVME_MAX_AERS];
	/* events that are taken without waiting; one more every NVME_AER_PERIOD_MS */
	uint32_t aer_credit;
	uint64_t aer_tsc; /* when it last became more */
	bool aer_storm; /* it was used up, and is not full again */
	uint32_t aer_events; /* wanted by the caller, beside those of aer_events() */
	_Atomic bool paused; /* firmware is being activated: no timeouts of commands */
	uint64_t pause_tsc; /* @paused until then at most */
	uint32_t logs_wanted; /* bit per log page: read to re-arm its event */
	bool log_sent;
	void *log_page; /* DMA memory */
	uint64_t log_iova;
	plx_nvme_aer_cb aer_cb;
	void *aer_arg;
	struct nvme_admin_req *done, **done_tail;
	struct nvme_share *share; /* other processes may share it; NULL: none */
	bool acs_known; /* @acs: admin commands there are, by the effects log (cmd_ns.c) */
	uint64_t acs[4];
	struct nvme_counters stats;
};

/* ---- ctrlr.c ---- */

static inline enum plx_nvme_ctrlr_state ctrlr_state(const struct plx_nvme_ctrlr *c)
{
	return (enum plx_nvme_ctrlr_state)atomic_load_explicit(&c->state, memory_order_acquire);
}
/** ctrlr_fail - for good: tells all queue pairs, stops the device where it can. @fmt goes on after
 *  "controller 'X'", with a blank in between unless it begins with a colon. Under lock */
void ctrlr_fail(struct plx_nvme_ctrlr *c, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** ctrlr_gone - the same for a device whose registers read as all ones */
void ctrlr_gone(struct plx_nvme_ctrlr *c);
/** ctrlr_may_reset - under lock. Return: 0; -ENXIO it has failed; -EBUSY it is not ready */
int ctrlr_may_reset(const struct plx_nvme_ctrlr *c);
/** ctrlr_start_reset - @why ends the log line. In state READY, under lock */
void ctrlr_start_reset(struct plx_nvme_ctrlr *c, const char *why);
/** ctrlr_quiesce - the same, for those who have said why */
void ctrlr_quiesce(struct plx_nvme_ctrlr *c);
/** ctrlr_setup_turn - one turn of waiting in a set-up call: controller, the caller's queue pairs,
 *  its thread. Not under lock */
void ctrlr_setup_turn(struct plx_nvme_ctrlr *c);
/** ctrlr_iova - address of @len bytes of DMA memory in one piece. Return: PLX_IOVA_BAD when it is
 *  not */
uint64_t ctrlr_iova(const struct plx_nvme_ctrlr *c, const void *va, size_t len);
/** ctrlr_look_up - I/O looks addresses up, for it may name the controller's own memory; before
 *  there are queues */
static inline void ctrlr_look_up(struct plx_nvme_ctrlr *c)
{
	c->identity = false;
	c->iova = &c->windows.look;
}
/** ctrlr_want - what the queue pair's owner shall do in its next poll */
void ctrlr_want(struct plx_nvme_qpair *qp, enum nvme_qp_state want);

/* ---- share_serve.c, under lock where it does not say otherwise ---- */

struct plx_pcie_backend;
/** share_open - open the device as owner, @c->share, or as guest of the process that is owner.
 *  Return: 0 with @c->dev; -errno, logged but for -ENODEV. Waits; not under lock */
int share_open(struct plx_nvme_ctrlr *c, const struct plx_pcie_backend *b);
/** share_turn - what guests need, in each poll of the controller */
void share_turn(struct plx_nvme_ctrlr *c, uint64_t now);
/** share_at_rest - a reset is under way: guests know, and have stopped, or had the time to */
bool share_at_rest(struct plx_nvme_ctrlr *c);
/** share_queues_gone - the controller is disabled, and has forgotten the queues of guests */
void share_queues_gone(struct plx_nvme_ctrlr *c);
/** share_event - the owner got an asynchronous event */
void share_event(struct plx_nvme_ctrlr *c, uint32_t dw0);
/** share_leave - tell guests that the owner ends, and delete their queues. Waits; not under lock */
void share_leave(struct plx_nvme_ctrlr *c);
/** share_end - nothing of guests' memory is mapped any more: while the device is open, and
 *  disabled */
void share_end(struct plx_nvme_ctrlr *c);
/** share_free - the device is closed: somebody else may own it */
void share_free(struct plx_nvme_ctrlr *c);

/* ---- interrupt.c ---- */

/** ctrlr_irq_init - vectors as wanted and as far as there are some; before anything is enabled */
void ctrlr_irq_init(struct plx_nvme_ctrlr *c);
void ctrlr_irq_fini(struct plx_nvme_ctrlr *c);
/** ctrlr_irq_again - after a reset of the function, which may have switched them off */
void ctrlr_irq_again(struct plx_nvme_ctrlr *c);
/** qpair_irq_init - a vector for the queue pair, if there is one; before its queues are created */
void qpair_irq_init(struct plx_nvme_qpair *qp);
/** qpair_irq_wake - its owner may be waiting */
void qpair_irq_wake(const struct plx_nvme_qpair *qp);

/* ---- ctrlr_steps.c, under lock ---- */

void ctrlr_step_go(struct plx_nvme_ctrlr *c, enum nvme_step step);
/** ctrlr_advance - as many steps as can be done without waiting */
void ctrlr_advance(struct plx_nvme_ctrlr *c);

/* ---- ctrlr_flr.c, under lock ---- */

/** ctrlr_stuck - its registers do not get it out of its state: its function is reset, where it can
 *  be and was not lately, else it fails. @fmt as of ctrlr_fail() */
void ctrlr_stuck(struct plx_nvme_ctrlr *c, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** ctrlr_absent - registers read as all ones: it is gone, or stuck */
void ctrlr_absent(struct plx_nvme_ctrlr *c);
/** flr_wait - until no reset of the function is under way. Not under lock, unless it is done */
void flr_wait(struct plx_nvme_ctrlr *c);
/** flr_under_way - nobody else touches the device */
static inline bool flr_under_way(const struct plx_nvme_ctrlr *c)
{
	return c->flr.running && !atomic_load_explicit(&c->flr.done, memory_order_acquire);
}

/* ---- ctrlr_events.c, under lock ---- */

/** ctrlr_watch - look at CSTS now and then: gone, fatal, reset by somebody else */
void ctrlr_watch(struct plx_nvme_ctrlr *c, uint64_t now);
/** ctrlr_tend - aborts and resets that queue pairs ask for, keep-alive, AERs, logs. In state
 *  READY */
void ctrlr_tend(struct plx_nvme_ctrlr *c, uint64_t now);

/** aer_events - Asynchronous Event Configuration: health warnings, which are always there, notices
 *  of namespaces and firmware where OAES says so, and what the caller wants */
static inline uint32_t aer_events(const struct plx_nvme_ctrlr *c)
{
	return 0x1f | (c->id.oaes & (NVME_CTRL_OAES_NA | NVME_CTRL_OAES_FA)) | c->aer_events;
}

/* ---- hmb.c ---- */

/** hmb_make - memory for the buffer the controller wants. Return: false when there is none */
bool hmb_make(struct plx_nvme_ctrlr *c);
void hmb_cmd(const struct plx_nvme_ctrlr *c, struct plx_nvme_cmd *cmd, bool on);
/** hmb_take_back - before the shutdown; waits for the command. Not under lock */
void hmb_take_back(struct plx_nvme_ctrlr *c);
void hmb_free(struct plx_nvme_ctrlr *c);

/* ---- quirks.c ---- */

void quirks_find(struct plx_nvme_ctrlr *c);
/** quirks_of - Return: NVME_QUIRK_*, and the device's name */
uint32_t quirks_of(uint16_t vendor, uint16_t device, const char **what);

/* ---- cmd_feature.c ---- */

struct plx_nvme_arbitration;
/** feature_arbitration - Return: 0 with *@cdw11; -EINVAL */
int feature_arbitration(const struct plx_nvme_arbitration *a, uint32_t *cdw11);

/* ---- admin.c, under lock ---- */

/** admin_is_long - commands that may take what the medium takes: long_admin_timeout_ms */
static inline bool admin_is_long(uint8_t opc)
{
	return opc == nvme_admin_format_nvm || opc == nvme_admin_sanitize_nvm ||
	       opc == nvme_admin_fw_commit || opc == nvme_admin_fw_download ||
	       opc == nvme_admin_ns_mgmt || opc == nvme_admin_ns_attach;
}
/** admin_submit - a command of the driver's own. Return: 0; -EAGAIN no identifier free */
int admin_submit(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, plx_nvme_cb cb,
		 void *arg);
/** admin_may_submit - whether a caller's command can be sent now: some identifiers are left for the
 *  driver's own, where there are enough. Return: 0; -EAGAIN; -ENXIO */
int admin_may_submit(const struct plx_nvme_ctrlr *c);
void admin_identify_cmd(struct plx_nvme_cmd *cmd, uint8_t cns, uint32_t nsid, uint16_t cntid,
			uint8_t csi);

/* ---- admin.c, not under lock ---- */

/** admin_call - a command, waiting for it (set-up). @buf: any memory; @value: dword 0 of the
 *  completion, may be NULL. Return: 0; a positive NVMe status; as plx_nvme_admin_sync() */
int admin_call(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf, uint32_t len,
	       uint32_t *value);

/** admin_call_if - the same where the controller has the command. Return: -ENOTSUP, too */
int admin_call_if(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd, void *buf, uint32_t len,
		  uint32_t *value);

/* ---- qpair.c ---- */

/** ctrlr_qid_take - an identifier of I/O queues that is not in use. Return: 0 when there is none.
 *  Under lock */
uint16_t ctrlr_qid_take(struct plx_nvme_ctrlr *c);
void ctrlr_qid_put(struct plx_nvme_ctrlr *c, uint16_t qid);
void qpair_create_cq_cmd(const struct plx_nvme_qpair *qp, struct plx_nvme_cmd *cmd);
void qpair_create_sq_cmd(const struct plx_nvme_qpair *qp, struct plx_nvme_cmd *cmd);

/* ---- ns.c, under lock ---- */

void ns_scan_begin(struct plx_nvme_ctrlr *c);
/** ns_format - index of the format in use */
unsigned ns_format(const struct nvme_id_ns *id);
/** ns_found - the scan found an active namespace */
void ns_found(struct plx_nvme_ctrlr *c, uint32_t nsid, const struct nvme_ns_found *found);
/** ns_hold - no I/O on @nsid (all of them: NVME_NSID_ALL), whatever a scan finds, until it is let
 *  go and found again. Takes the lock */
void ns_hold(struct plx_nvme_ctrlr *c, uint32_t nsid, bool on);
/** ns_resubmit_status - not under lock. Whether a command that was submitted after scan @scan may
 *  be so again. Return: 0; the status that it fails with */
uint16_t ns_resubmit_status(struct plx_nvme_ctrlr *c, uint32_t scan,
			    const struct plx_nvme_cmd *cmd);
/** ns_scan_end - what was not found is not active any more */
void ns_scan_end(struct plx_nvme_ctrlr *c);
void ns_free_all(struct plx_nvme_ctrlr *c);

#endif
