/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/vfio_user.h - what the files of the vfio-user client share
 *
 *   vfio_user.c        the backend: open and close, registers, doorbells, memory, interrupts
 *   vfio_user_sock.c   the connection: requests and their replies, the server's requests
 *   vfio_user_parse.c  what the server's replies say, checked
 *
 * Nothing that the server sends is believed. Whatever breaks the protocol, or takes too long, ends
 * the connection, once and with one line in the log; from then on the device counts as vanished.
 */
#ifndef POLLUX_DRIVER_VFIO_USER_H
#define POLLUX_DRIVER_VFIO_USER_H

#include "core/vfio_user.h"
#include "driver/nvme_internal.h"

#define VFU_MAX_FDS	 8u /* of one message that we take */
#define VFU_MAX_XFER	 VFIO_USER_DEFAULT_MAX_XFER /* what we take in one DMA_READ, DMA_WRITE */
#define VFU_MAX_MSG	 (VFU_MAX_XFER + 64u)
#define VFU_MAX_POSTED	 32u /* requests whose replies nobody waits for */
#define VFU_MAX_AREAS	 16u
#define VFU_MAX_REPLY	 65536u /* of region information */
#define VFU_CONNECT_MS	 10000u
#define VFU_REPLY_MS	 30000u
#define VFU_WARN_MS	 10000u /* of silence: it may be a server that gets no processor */
#define VFU_LOOK_MS	 200u /* between two looks at the socket, as far as it counts */
#define VFU_RESET_MS	 30000u /* "may take an arbitrarily long time" */
#define VFU_POLL_US	 100u /* between looks at a socket from which nothing is expected */
#define VFU_BUSY_MS	 100u /* a server that used DMA messages so recently is looked at always */
#define VFU_DB_OFFSET	 0x1000u
#define VFU_PGSIZES	 4096u
#define VFU_MAX_WARNINGS 8u

/* ---- vfio_user_parse.c: no side effects. Return: 0; -EPROTO with a sentence in @err ---- */

struct vfu_limits { /* of the server */
	uint16_t minor;
	uint32_t max_fds, max_xfer, max_maps;
	uint64_t pgsizes;
};
int vfu_parse_version(const void *payload, size_t len, struct vfu_limits *out, char *err,
		      size_t errlen);

int vfu_parse_device_info(const void *payload, size_t len, struct vfio_user_device_info *out,
			  char *err, size_t errlen);

struct vfu_area {
	uint64_t offset, size; /* in the region */
};

struct vfu_region {
	uint32_t argsz, flags;
	uint64_t size, offset;
	/* what may be mapped of it from VFU_DB_OFFSET on, as far as there is room */
	struct vfu_area areas[VFU_MAX_AREAS];
	uint32_t nareas;
};
/** vfu_parse_region - argsz above @len: nothing but argsz is filled in, ask again with that */
int vfu_parse_region(const void *payload, size_t len, uint32_t index, struct vfu_region *out,
		     char *err, size_t errlen);

int vfu_parse_irq_info(const void *payload, size_t len, uint32_t index, struct vfio_irq_info *out,
		       char *err, size_t errlen);

/** vfu_parse_header - lengths and type. @err says what is wrong */
int vfu_parse_header(const struct vfio_user_hdr *h, char *err, size_t errlen);

/* ---- the connection ---- */

struct vfu_map {
	uint64_t iova, len; /* virtual addresses are device addresses */
};

enum vfu_posted_kind {
	VFU_POSTED_WRITE,
	VFU_POSTED_WATCH, /* a read of CSTS for the controller's watch */
	VFU_POSTED_STALE, /* one whose answer is not wanted any more */
};

struct vfu_wait { /* for the server */
	uint16_t id; /* of the message */
	bool warned;
	uint32_t ms; /* for so long */
	const char *what;
	uint64_t clock, tsc; /* since: of vfu.clock, and by the clock on the wall */
};

struct vfu_posted {
	uint16_t id, command;
	enum vfu_posted_kind kind;
	struct vfu_wait wait;
};

struct vfu_mapping { /* an area of BAR 0 in our memory */
	void *mem;
	size_t mem_len;
	volatile char *at; /* of area.offset */
	int guard; /* against a server that truncates the file */
	struct vfu_area area;
};

/* Lives from open to close. One lock guards the socket and all that goes over it; it is never held
 * while waiting for anything but the server, and nothing is locked under it. */
struct vfu {
	struct plx_pcie_dev base;
	char path[257]; /* traddr */
	pthread_mutex_t lock;
	int fd;
	_Atomic bool gone;
	int err; /* why, negative errno; valid once gone */
	const char *hint; /* while it has not accepted us: what its silence may mean */
	struct vfu_limits server;
	uint64_t tsc_ms;
	uint16_t last_id;
	uint32_t warnings;
	const char *refused; /* vfu_call.what of the last refusal that was logged */

	/* the message being received */
	unsigned char *rx;
	size_t rx_have;
	int rx_fds[VFU_MAX_FDS];
	uint32_t rx_nfds;

	struct vfu_posted posted[VFU_MAX_POSTED];
	uint32_t nposted;
	uint32_t watch_value;
	bool watch_known;

	uint64_t clock, look_tsc; /* ticks that count, up to when */
	uint64_t heard_tsc; /* last byte received */

	uint64_t dma_tsc; /* when the server last used a DMA message */
	uint64_t poll_tsc; /* when to look at the socket next */

	struct vfu_map *maps; /* by address */
	uint32_t nmaps, maps_cap;

	/* constant once open */
	uint64_t bar_size;
	struct vfu_mapping mappings[VFU_MAX_AREAS];
	uint32_t nmappings;
	_Atomic uint32_t cut_off; /* a mapping's file was truncated */
	bool can_reset;
	bool only32; /* refuses accesses of 8 bytes; set at the first */
};

/* A request and where its reply goes */
struct vfu_call {
	uint16_t command;
	const char *what; /* "mapping memory", for messages: a literal */
	const void *head, *data; /* of the request; @data may be NULL */
	size_t head_len, data_len;
	int fd; /* to send along, -1 none */
	uint32_t timeout_ms; /* 0: VFU_REPLY_MS */
	void *reply; /* what of the reply's payload fits into @reply_cap */
	size_t reply_cap;
	size_t reply_len; /* of the payload, not more than @reply_cap */
	int *fds; /* takes up to VFU_MAX_FDS descriptors of the reply; NULL: none wanted */
	uint32_t nfds;
	bool quiet; /* the caller says itself what a refusal means */
};

/** vfu_connect - to the socket @path, or the one in the directory @path. Return: the descriptor;
 *  -errno, logged */
int vfu_connect(const char *path);
/** vfu_call - takes the lock. Return: 0; -errno of the server's refusal, logged; v->err when the
 *  connection is or goes down */
int vfu_call(struct vfu *v, struct vfu_call *call);
/** vfu_post - a request without waiting for its reply. Takes the lock */
void vfu_post(struct vfu *v, const struct vfu_call *call);
/** vfu_serve - what has arrived, without waiting; tries the lock. Return: whether the server used
 *  DMA messages lately */
bool vfu_serve(struct vfu *v);
/** vfu_watch - CSTS as last heard, and asks anew; does not wait, tries the lock. Return: whether
 *  there was an answer since the last call */
bool vfu_watch(struct vfu *v, uint32_t *csts);
/** vfu_close_socket - and what was being received. Nobody uses it any more */
void vfu_close_socket(struct vfu *v);
/** vfu_gone - end of the connection, for the reason given. Under lock. Return: v->err */
int vfu_gone(struct vfu *v, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** vfu_reachable - is all of it mapped for the server? Under lock */
bool vfu_reachable(const struct vfu *v, uint64_t address, uint64_t count);
void vfu_close_fds(int *fds, uint32_t *n);

#endif
