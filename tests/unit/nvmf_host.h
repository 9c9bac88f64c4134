/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/nvmf_host.h - a host for tests of the NVMe target: queues in plain memory, registers,
 * doorbells
 *
 * One thread runs everything: each wait polls the controller's event loop, which stays current from
 * host_init() to host_fini(). The host's memory is an arena that the function sees at HOST_IOVA,
 * not at its virtual address. Nothing here asserts: functions return what happened, a wait that
 * reaches its deadline returns HOST_TIMEOUT.
 *
 * With POLLUX_TEST_REMOTE=1 in the environment all of the arena is remote memory (remote.h), which
 * the controller reads and writes by messages that come back late and in any order: tests then say
 * the same of that.
 */
#ifndef POLLUX_TESTS_NVMF_HOST_H
#define POLLUX_TESTS_NVMF_HOST_H

#include "targets/nvmf/nvmf_internal.h"

#define HOST_IOVA	 0x700000000ull
#define HOST_ARENA	 (64u << 20)
#define HOST_MAX_QID	 64u
#define HOST_TIMEOUT	 0xffff /* as a status */
#define HOST_DEADLINE_S	 10
#define HOST_CFS	 (1u << NVME_CSTS_CFS_SHIFT) /* in CSTS */
#define HOST_ADMIN_DEPTH 64u

struct host_opts {
	/* the bdev: malloc unless @null; 0 takes the default of 4096 blocks of 512 bytes */
	bool null;
	uint64_t blocks;
	uint32_t block_size, md_size;
	bool md_interleaved, dif_first;
	enum plx_bdev_dif dif;
	/* an error bdev ("host0") over it ("host0_base"), for plx_bdev_error_inject() */
	bool error;
	uint32_t max_namespaces; /* 0: 8 */
	/* the function; 0: 8 queues of 256 entries, 128 KiB */
	uint32_t max_io_queues, max_queue_size, mdts, dstrd;
	/* the arena is remote memory; host_make_remote() makes parts of it so otherwise */
	bool remote;
};

/* A message of the controller to its host */
struct host_message {
	bool write;
	uint64_t iova;
	void *buf;
	uint32_t len;
	nvmf_remote_cb cb;
	void *arg;
};
#define HOST_MAX_MESSAGES 512u

/* The other end of the messages: one or more are carried out in each turn */
struct host_remote {
	struct host_message under_way[HOST_MAX_MESSAGES];
	uint32_t n;
	struct plx_poller *poller;
	uint32_t rng;
	/* for tests to set */
	uint32_t room; /* messages under way at once */
	bool held; /* none is carried out, or only those about */
	uint64_t held_iova; /* ... this page, if not 0 */
	bool in_order;
	bool dead; /* all end with -ECANCELED */
	int (*fault)(void *arg, const struct host_message *m); /* Return: 0 or the message's rc */
	void *fault_arg;
	/* and to look at */
	uint64_t reads, writes, read_bytes, written_bytes, refused;
	uint32_t longest, most;
};

struct host_queue {
	struct plx_nvme_cmd *sqes;
	struct plx_nvme_cpl *cqes;
	volatile uint32_t *sq_db, *cq_db;
	uint32_t sq_size, cq_size, sq_tail, cq_head;
	uint16_t phase, qid, next_cid;
};

struct host {
	struct plx_thread *thread;
	struct plx_nvmf_subsystem *subsystem;
	struct nvmf_fn fn;
	uint32_t nsid; /* of bdev "host0" */
	volatile uint32_t *doorbells;
	char *arena; /* between two pages that fault */
	size_t used;
	bool error;
	uint32_t ams; /* CC.AMS of host_enable() */
	struct host_remote remote;
	struct host_queue q[HOST_MAX_QID + 1]; /* by qid; sqes NULL: not created */
};

/**
 * host_init - environment, bdev "host0", subsystem, function, and the controller enabled with its
 * admin queue
 * Return: 0 or a negative errno
 */
int host_init(struct host *h, const struct host_opts *o);
void host_fini(struct host *h);

/** host_enable / host_disable - CC.EN; host_enable() sets up the admin queue. Return: 0;
 *  -ETIMEDOUT; -EIO for CFS */
int host_enable(struct host *h);
int host_disable(struct host *h);

/** host_alloc - zeroed memory of the arena; freed all at once by host_release() to an earlier
 *  h->used */
void *host_alloc(struct host *h, size_t len, size_t align);
void host_release(struct host *h, size_t used);
uint64_t host_iova(const struct host *h, const void *p);

/** host_make_remote / host_make_local - part of the arena, however it was mapped before. Return: 0
 *  or a negative errno */
int host_make_remote(struct host *h, const void *p, size_t len);
int host_make_local(struct host *h, void *p, size_t len);
#define HOST_MAX_LEN 8192u /* bytes of one message */

/** host_poll - turns of the event loop until @done(@arg), or the deadline. Return: whether it
 *  came */
bool host_poll(struct host *h, bool (*done)(void *arg), void *arg);

/** host_submit - an SQE on queue @qid, cid filled in, doorbell rung. Return: the cid */
uint16_t host_submit(struct host *h, uint16_t qid, const struct plx_nvme_cmd *cmd);
/** host_push - the same without the doorbell; host_ring() rings it */
uint16_t host_push(struct host *h, uint16_t qid, const struct plx_nvme_cmd *cmd);
void host_ring(struct host *h, uint16_t qid);
/** host_reap - the next completion of @qid if there is one, without polling the controller */
bool host_reap(struct host *h, uint16_t qid, struct plx_nvme_cpl *out);
/** host_wait - polls until @qid has a completion. Return: it; status HOST_TIMEOUT when none came */
struct plx_nvme_cpl host_wait(struct host *h, uint16_t qid);
/** host_idle - a few turns, for what must not happen */
void host_idle(struct host *h);

/** host_admin / host_io - one command and its completion */
struct plx_nvme_cpl host_admin(struct host *h, const struct plx_nvme_cmd *cmd);
struct plx_nvme_cpl host_io(struct host *h, uint16_t qid, const struct plx_nvme_cmd *cmd);
/** host_status - type and code of a completion, without phase, CRD, M and DNR */
static inline uint16_t host_status(const struct plx_nvme_cpl *cpl)
{
	return PLX_NVME_ST_CODE(cpl->status >> 1);
}
static inline bool host_dnr(const struct plx_nvme_cpl *cpl)
{
	return cpl->status >> 15;
}

/** host_prp - @len bytes at @buf (in the arena) as PRPs of @cmd; the list comes from the arena
 *  too */
void host_prp(struct host *h, struct plx_nvme_cmd *cmd, const void *buf, size_t len);

/** host_create_cq / _sq / host_create_queue - both, of @size entries. Return: the status */
uint16_t host_create_cq(struct host *h, uint16_t qid, uint32_t size);
uint16_t host_create_sq(struct host *h, uint16_t qid, uint32_t size, uint16_t cqid);
uint16_t host_create_queue(struct host *h, uint16_t qid, uint32_t size);
/** host_create_sq_of - with this priority (QPRIO) */
uint16_t host_create_sq_of(struct host *h, uint16_t qid, uint32_t size, uint16_t cqid,
			   enum nvmf_prio prio);
/** host_delete_queue - submission queue, then completion queue. Return: the status of the first
 *  that fails */
uint16_t host_delete_queue(struct host *h, uint16_t qid);

/** host_identify - CNS @cns into @page (4 KiB of the arena). Return: the status */
uint16_t host_identify(struct host *h, uint8_t cns, uint32_t nsid, uint32_t cdw11, void *page);
/** host_rw - read or write of @nlb blocks at @buf. Return: the completion */
struct plx_nvme_cpl host_rw(struct host *h, uint16_t qid, uint8_t opc, uint64_t slba, uint32_t nlb,
			    void *buf);

#endif
