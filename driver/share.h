/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/share.h - one PCIe controller for several processes
 *
 *   share_place.c  who owns the controller: lock and socket, one directory per user
 *   share_wire.c   messages, and what they have to be like
 *   share_serve.c  the owner: takes in the others (guests), their memory, what they say
 *   share_admin.c  the owner: admin commands of guests, and taking back their queues
 *   transport/shared.c  a guest: registers and admin queue by messages, doorbells as memory
 *
 * The owner drives the device. A guest has I/O queues of its own there and rings their doorbells
 * itself: I/O goes nowhere else. Everything that concerns the whole controller goes to the owner as
 * messages, which it serves in its polls of the controller. Guests are processes of the same user:
 * what they write to doorbells and put into their queues nobody checks, as the IOMMU cannot tell
 * them from the owner; what they say in messages is checked.
 */
#ifndef POLLUX_DRIVER_SHARE_H
#define POLLUX_DRIVER_SHARE_H

#include "driver/ctrlr_internal.h"
#include "driver/dptr.h"
#include <sys/types.h>

#define SHARE_MAGIC	 0x53584c50u
#define SHARE_VERSION	 1u
#define SHARE_MAX_GUESTS 32 /* guests of a controller */
#define SHARE_CMDS	 64 /* admin commands of a guest under way */
#define SHARE_MAX_MEMS	 1024 /* regions of a guest's memory */
#define SHARE_EXTENTS	 256 /* in one answer */
#define SHARE_TEXT	 320
#define SHARE_MAX_MSG	 8192

#define SHARE_START_MS 30000 /* an owner may just be bringing the controller up */
#define SHARE_REPLY_MS 10000 /* an owner's controller is polled every few milliseconds */
#define SHARE_GUEST_MS 10000 /* guests of a former owner notice its end */
#define SHARE_QUIET_MS 2000 /* guests come to rest before a reset */
#define SHARE_LEAVE_MS 5000 /* queues of guests are deleted before the owner ends */

/* dword 0 of a completed Asynchronous Event Request: Namespace Attribute Changed (§5.2) */
#define SHARE_NS_CHANGED                                                                           \
	(NVME_LOG_LID_CHANGED_NS << 16 | NVME_AER_NOTICE_NS_CHANGED << 8 | NVME_AER_NOTICE)

/* ---- messages: native byte order, each a packet of its own ---- */

enum share_type {
	/* of a guest; answered by one of the same type and tag, but for ADMIN */
	SHARE_HELLO = 1,
	SHARE_MAP, /* with a file */
	SHARE_WHERE, /* more extents of a region */
	SHARE_UNMAP,
	SHARE_QUEUE, /* an identifier at the device for one of its own */
	SHARE_ENABLE, /* CC.EN became 1; answered when the controller is ready */
	SHARE_DISABLE, /* CC.EN became 0; answered when its queues are gone */
	SHARE_ADMIN, /* an admin command */
	/* of the owner, unasked */
	SHARE_CPL, /* of an admin command */
	SHARE_RESET, /* the controller is about to be reset: DISABLE, then ENABLE */
	SHARE_GONE, /* the owner ends, or has lost the controller: text */
	SHARE_QUIET, /* after that: none of the guest's queues is left */
	SHARE_TYPES,
};

struct share_hdr {
	uint32_t type; /* enum share_type */
	int32_t rc; /* answers: 0, or a negative errno */
	uint32_t tag; /* of a request, for its answer */
	uint32_t rsvd;
};

/* the same in all versions, as are refusals of it: struct share_text with rc */
struct share_hello {
	struct share_hdr h;
	uint32_t magic, version;
	int32_t id;
	uint32_t rsvd;
};

/* comes with the file of BAR 0 */
struct share_welcome {
	struct share_hdr h;
	uint64_t cap;
	uint64_t bar_offset, bar_len; /* bytes in the file */
	uint32_t vs;
	uint32_t queues; /* I/O queue pairs of the controller */
	uint32_t weighted; /* arbitration is weighted round robin */
	uint32_t physical; /* addresses are physical ones */
};

struct share_text {
	struct share_hdr h;
	char text[SHARE_TEXT]; /* with the end */
};

struct share_map {
	struct share_hdr h;
	uint64_t offset, len; /* bytes in the file: whole pages */
};

struct share_extent {
	uint64_t len, iova;
};

/* answers MAP and WHERE: consecutive pieces, @n of them */
struct share_mapped {
	struct share_hdr h;
	uint32_t id, n;
	struct share_extent extent[SHARE_EXTENTS];
};

/* WHERE, UNMAP */
struct share_region {
	struct share_hdr h;
	uint32_t id, rsvd;
	uint64_t from; /* WHERE: bytes into the region */
};

/* and its answer */
struct share_qid {
	struct share_hdr h;
	uint32_t qid; /* the guest's */
	uint32_t real; /* the device's */
};

struct share_admin {
	struct share_hdr h;
	struct plx_nvme_cmd cmd;
};

struct share_cpl {
	struct share_hdr h;
	struct plx_nvme_cpl cpl; /* cid, status, dw0, dw1 */
};

union share_msg {
	struct share_hdr h;
	struct share_hello hello;
	struct share_welcome welcome;
	struct share_text text;
	struct share_map map;
	struct share_mapped mapped;
	struct share_region region;
	struct share_qid qid;
	struct share_admin admin;
	struct share_cpl cpl;
};
_Static_assert(sizeof(union share_msg) <= SHARE_MAX_MSG, "a message fits");

/* ---- share_wire.c ---- */

/** share_check_request - what a guest sent: type, length, number of files, fields that are wrong
 *  whatever the state. Return: 0; -EPROTO with a sentence in @err */
int share_check_request(const union share_msg *m, size_t len, unsigned nfds, char *err,
			size_t errlen);
/** share_check_answer - the same for what an owner sent */
int share_check_answer(const union share_msg *m, size_t len, unsigned nfds, char *err,
		       size_t errlen);
/** share_map_text - why memory of a guest cannot be mapped, by the error of the answer to MAP */
const char *share_map_text(int rc);
/** share_send - one message, with a file unless @file is -1. Return: 0; -EAGAIN the other one does
 *  not read; -errno */
int share_send(int fd, const void *m, size_t len, int file);
/**
 * share_recv - one message, without waiting
 * @file: what came with it, for the caller to close; -1: none. More than one are closed at once,
 * and counted
 * Return: bytes; 0 the other one has hung up; -EAGAIN; -errno
 */
ssize_t share_recv(int fd, union share_msg *m, int *file, unsigned *nfds);

/* ---- share_place.c ---- */

/** struct share_place - where the processes of a controller meet; its owner's lock is released
 *  when that is freed */
struct share_place {
	char name[64]; /* of the controller */
	char folder[128];
	int dir, lock, users; /* users: guests of the former owner had it; -1 once that is clear */
	int listener;
};

/**
 * share_meet - become owner, or connect to the one there is (set-up: waits)
 * @place: filled for an owner, who listens from now on; share_leave_place() ends that
 * @fd, @users: for a guest the connection, and a lock to be held while the BAR is mapped
 * @deadline: TSC, of waiting for a process that is just becoming owner
 * Return: 1 owner; 0 guest; -errno, logged
 */
int share_meet(const char *traddr, uint64_t deadline, struct share_place *place, int *fd,
	       int *users);
void share_leave_place(struct share_place *place);

/* ---- the owner ---- */

enum share_guest_state {
	GUEST_NEW, /* has not introduced itself */
	GUEST_OFF, /* its CC.EN is 0 */
	GUEST_ENABLING, /* waits until the controller is ready */
	GUEST_ON,
	GUEST_TOLD, /* of a reset; it is about to disable */
	GUEST_DISABLING, /* its queues are being deleted */
	GUEST_LEAVING, /* the same, and it does not come back */
};

enum share_queue_state { QUEUE_NONE, QUEUE_MAKING, QUEUE_THERE, QUEUE_GOING };

/* A queue pair of a guest: reserved while @real is not 0 */
struct share_queue {
	struct share_guest *guest;
	uint64_t sq_iova, cq_iova;
	uint16_t real;
	uint8_t sq, cq; /* enum share_queue_state */
};

/* An admin command of a guest */
struct share_cmd {
	struct share_guest *guest;
	enum { CMD_FREE, CMD_WAITING, CMD_SENT, CMD_HELD } state;
	uint64_t order; /* of arrival */
	uint16_t cid; /* the guest's */
	uint16_t qid; /* create, delete: the guest's */
	struct plx_nvme_cmd cmd;
};

/* Memory of a guest, mapped here, for as long as the device may reach it */
struct share_mem {
	void *va; /* NULL: free */
	size_t len;
	int guard;
	_Atomic uint32_t *hit;
};

struct share_guest {
	struct plx_nvme_ctrlr *c;
	struct share_guest *next;
	int fd; /* -1: has hung up */
	pid_t pid;
	enum share_guest_state state;
	uint32_t tag; /* of ENABLE or DISABLE, to be answered */
	bool told_gone;
	bool late; /* has not come to rest for the reset, and that is in the log */
	bool missed_ns; /* namespaces changed while it had no Asynchronous Event Request here */
	uint32_t maps_refused;
	uint32_t pending; /* commands and deletions that the controller has */
	uint32_t reclaimed; /* queue pairs taken back, for the log */
	uint64_t orders;
	uint32_t nmems;
	struct share_mem *mems;
	struct share_cmd cmd[SHARE_CMDS];
	uint32_t nqueues; /* 1 + the highest identifier it has used */
	struct share_queue queue[NVME_MAX_QPAIRS + 1]; /* by its identifiers */
};

/* Of a controller that others may share; lives as long as that */
struct nvme_share {
	struct share_place place;
	int epoll;
	int32_t id;
	uint32_t nguests;
	struct share_guest *guests;
	enum plx_nvme_ctrlr_state seen; /* what guests know */
	uint64_t look_tsc; /* next look at the sockets */
	uint64_t quiet_tsc; /* a reset waits for guests until then */
	bool leaving;
};

/* ---- share_serve.c; the functions for others are in ctrlr_internal.h ---- */

/** share_open_guest - transport/shared.c. Return: 0; -EAGAIN the owner ended meanwhile; -errno,
 *  logged */
int share_open_guest(const struct plx_nvme_trid *trid, int32_t id, int fd, int users,
		     uint64_t deadline, struct plx_pcie_dev **dev);
/** guest_send - drops a guest that does not read */
void guest_send(struct share_guest *p, const void *m, size_t len, int file);
/** guest_drop - shuts it out for @what it did, NULL: it has gone. Its queues are taken back, and it
 *  stays in state LEAVING until then */
void guest_drop(struct share_guest *p, const char *what);
/** guest_holds - whether @len bytes at a device address are, in one piece, memory of the guest */
bool guest_holds(const struct share_guest *p, uint64_t iova, uint64_t len);

/* ---- share_admin.c ---- */

/** guest_admin - a command has come; the guest may be dropped */
void guest_admin(struct share_guest *p, const struct plx_nvme_cmd *cmd);
/** guest_event - ends an Asynchronous Event Request of a guest that is ON. Return: whether it had
 *  one */
bool guest_event(struct share_guest *p, uint32_t dw0);
/** guest_pump - commands that wait go to the controller. In state READY */
void guest_pump(struct share_guest *p);
/** guest_reclaim - a step towards a guest without queues and commands. Return: it is there */
bool guest_reclaim(struct share_guest *p);
/** guest_queues_gone - the device has forgotten them */
void guest_queues_gone(struct share_guest *p);
/** guest_uses - whether a queue or a command of the guest is in that memory */
bool guest_uses(const struct share_guest *p, const struct share_mem *m);
/** share_mem_run - device address of @off bytes into @m, and how many follow in one piece */
uint64_t share_mem_run(const struct share_guest *p, const struct share_mem *m, size_t off,
		       size_t *run);

#endif
