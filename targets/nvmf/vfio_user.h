/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user.h - what the files of the vfio-user front end share
 *
 *   vfio_user.c      front ends: listening socket, life of connections, the thread's poller
 *   vfio_user_msg.c  framing: messages and file descriptors in and out
 *   vfio_user_dev.c  VERSION and the device's messages
 *   vfio_user_bar.c  regions: registers, doorbells, MSI-X table
 *   vfio_user_cfg.c  PCI configuration space
 *   vfio_user_irq.c  interrupts
 *   vfio_user_dma.c  the client's memory; vfio_user_remote.c what of it is reached by messages;
 *   vfio_user_window.c where the rest lies in our address space
 *
 * All of a front end belongs to one plx_thread and is looked at from its turns.
 */
#ifndef POLLUX_NVMF_VFIO_USER_H
#define POLLUX_NVMF_VFIO_USER_H

#include "core/vfio_user.h"
#include "targets/nvmf/nvmf_internal.h"
#include "targets/nvmf/remote.h"

#define VU_MAX_FDS	  253u /* the kernel's SCM_MAX_FD */
#define VU_MAX_XFER	  VFIO_USER_DEFAULT_MAX_XFER /* what we take in one message */
#define VU_MAX_MSG	  (sizeof(struct vfio_user_hdr) + 32 + VU_MAX_XFER)
#define VU_MAX_VERSION	  16384u /* bytes of a VERSION message's JSON */
#define VU_TURN_MSGS	  64u /* messages of one connection in a turn */
#define VU_MAX_HELD	  64u /* commands kept while one before them takes its time */
#define VU_MAX_HELD_BYTES (1u << 20)
#define VU_MAX_TX	  (4u << 20) /* bytes of replies that the client has not taken */
#define VU_MAX_MAPS	  NVMF_MAX_REGIONS
#define VU_MAX_WINDOWS	  64u
#define VU_MAX_DRAIN	  8u /* dead clients' functions that still drain */

#define VU_DOORBELLS 0x1000u /* offset in BAR 0 (NVMe over PCIe Transport 1.0c §3.1.2) */
#define VU_CFG_SIZE  4096u
#define VU_MSIX_BAR  4
#define VU_MSIX_PBA  0x1000u /* the table is before it: 256 vectors at most */
#define VU_MSIX_LEN  0x2000u /* of the BAR */

/* ---- messages ---- */

struct vu_msg {
	STAILQ_ENTRY(vu_msg) link; /* of those held */
	struct vfio_user_hdr hdr;
	uint32_t got; /* bytes of header and payload received */
	uint32_t len, room; /* payload: bytes, and bytes allocated */
	uint8_t *data;
	uint32_t nfds;
	int fds[VU_MAX_FDS]; /* -1: somebody took it */
};

struct vu_tx {
	STAILQ_ENTRY(vu_tx) link;
	uint32_t len, sent;
	int fd; /* sent with the first byte, and not ours; -1: none */
	uint8_t data[] plx_aligned(8);
};

/* ---- a connection ---- */

struct vu_map {
	uint64_t iova, len;
	uint8_t prot; /* VFIO_USER_DMA_READABLE, WRITEABLE */
	void *va; /* of @iova; within the mmap() that follows. NULL: reached by messages */
	void *base;
	size_t base_len; /* whole pages, which may be large ones */
	int guard; /* core/fault.h */
	bool registered; /* devices of this process may reach it, too; @fd is of the file then */
	int fd;
	char *window; /* base of the window it lies in; NULL: anywhere */
};

/* Address space reserved for the client's addresses from @iova on. There while it holds maps */
struct vu_window {
	uint64_t iova;
	char *base;
	uint32_t maps;
};

struct vu_vector {
	int trigger, mask, unmask; /* eventfds, or -1 */
	bool masked, pending;
};

enum vu_busy { VU_IDLE, VU_UNMAPPING, VU_RESETTING };

/* A client. From accept() until its function has drained, which may be long after the socket is
 * closed. */
struct vu_conn {
	struct nvmf_fn fn;
	struct plx_nvmf_vfio_user *v;
	TAILQ_ENTRY(vu_conn) link; /* draining */
	int fd;
	bool negotiated, closing; /* closing: nothing is read any more */
	bool fn_live; /* fn is initialised */
	uint64_t drain_tsc; /* since when it drains */
	/* what the client can take */
	uint32_t max_fds, max_xfer;

	struct vu_msg *rx;
	STAILQ_HEAD(, vu_msg) held;
	uint32_t nheld, held_bytes;
	STAILQ_HEAD(, vu_tx) tx;
	uint32_t tx_bytes;

	/* a command that takes its time; those after it wait */
	enum vu_busy busy;
	struct vfio_user_hdr busy_hdr;
	uint8_t busy_reply[32];
	uint32_t busy_reply_len;
	uint64_t busy_tsc;
	bool busy_aborted;

	/* BAR 0 doorbells */
	int db_fd;
	void *db_mem; /* BAR 0 from its beginning */
	size_t db_len;
	uint32_t bar0_len; /* a power of two */

	struct vu_map *maps; /* [VU_MAX_MAPS]: @nmaps, and @nrevoked that are being taken back */
	uint32_t nmaps, nrevoked;
	uint64_t map_bytes;
	struct vu_window windows[VU_MAX_WINDOWS];
	uint32_t nwindows;
	_Atomic uint32_t faulted; /* by the signal handler: a mapping lost its file */

	/* DMA_READ and DMA_WRITE under way, the oldest first */
	TAILQ_HEAD(, vu_op) ops;
	uint32_t nops;
	uint16_t next_id;

	/* interrupts */
	struct vu_vector intx;
	struct vu_vector *msix; /* [nvec] */
	uint32_t nvec, nmsix; /* vectors; of them with a trigger */
	struct plx_poller *irq_poller; /* while there is an eventfd to signal */
	uint8_t *msix_table; /* [VU_MSIX_PBA]: what was written to it, and of no effect */

	uint8_t *cfg, *cfg_mask; /* [VU_CFG_SIZE] values, and which bits can be written */
};

struct plx_nvmf_vfio_user {
	struct vu_loop *loop;
	TAILQ_ENTRY(plx_nvmf_vfio_user) link; /* in its loop */
	struct plx_nvmf_subsystem *subsystem;
	struct plx_thread *thread;
	struct nvmf_fn_opts fn_opts; /* without doorbells: each connection has its own */
	bool trap_doorbells;
	char path[108], dir[108];
	uint64_t dev, ino; /* of the socket file */
	int listen_fd;
	struct vu_conn *conn; /* the client, or NULL */
	TAILQ_HEAD(, vu_conn) draining;
	uint32_t ndraining;
	struct plx_nvmf_vfio_user_stats stats; /* of connections that are gone, and counters */
	int rc; /* of what was called in the thread */
};

/* ---- vfio_user.c ---- */

/** vu_conn_drop - the client is gone, or broke the protocol (@why, logged): close and drain */
void vu_conn_drop(struct vu_conn *c, const char *why);
/** vu_hurry - an answer is awaited: look for it often */
void vu_hurry(struct vu_conn *c);

/* ---- vfio_user_msg.c ---- */

/** vu_rx - receive and handle what is there, within bounds. Return: messages */
int vu_rx(struct vu_conn *c);
/** vu_held_run - the commands that waited for a busy one */
void vu_held_run(struct vu_conn *c);
/** vu_tx_flush - Return: 0; -errno when the client is gone */
int vu_tx_flush(struct vu_conn *c);
/** vu_send - queue a message, @fd (still the caller's) with it or -1. Return: its payload to fill
 *  in, @len bytes, zeroed, until the next vu_tx_flush(); NULL: out of memory, the client is
 *  dropped */
void *vu_send(struct vu_conn *c, const struct vfio_user_hdr *hdr, uint32_t len, int fd);
/** vu_reply - answer @to, unless it wants none. Return: as vu_send(); NULL also when none is
 *  wanted */
void *vu_reply(struct vu_conn *c, const struct vfio_user_hdr *to, uint32_t len, int fd);
/** vu_reply_error - @err a positive errno */
void vu_reply_error(struct vu_conn *c, const struct vfio_user_hdr *to, int err);
void vu_msg_free(struct vu_msg *m);
/** vu_msg_purge - everything received or queued and not handled */
void vu_msg_purge(struct vu_conn *c);

/* ---- vfio_user_dev.c ---- */

/** vu_command - one command of the client */
void vu_command(struct vu_conn *c, struct vu_msg *m);
/** vu_busy_begin - @to takes its time: answered with @reply (at most 32 bytes) once it is done,
 *  which may be at once; commands after it wait */
void vu_busy_begin(struct vu_conn *c, enum vu_busy what, const struct vfio_user_hdr *to,
		   const void *reply, uint32_t len);
/** vu_busy_step - is it done? */
void vu_busy_step(struct vu_conn *c);
/** vu_reset - function level reset, answered as above */
void vu_reset(struct vu_conn *c, const struct vfio_user_hdr *to, const void *reply, uint32_t len);

/* ---- vfio_user_bar.c ---- */

/** vu_region_size - 0: no such region */
uint64_t vu_region_size(const struct vu_conn *c, uint32_t region);
void vu_region_read(struct vu_conn *c, struct vu_msg *m);
void vu_region_write(struct vu_conn *c, struct vu_msg *m);
void vu_region_write_multi(struct vu_conn *c, struct vu_msg *m);

/* ---- vfio_user_cfg.c ---- */

/** vu_cfg_init - Return: 0; -ENOMEM */
int vu_cfg_init(struct vu_conn *c);
void vu_cfg_reset(struct vu_conn *c);
/** vu_cfg_read/write - within the region. Write Return: true when it asks for a function level
 *  reset */
void vu_cfg_read(struct vu_conn *c, uint32_t offset, uint8_t *buf, uint32_t len);
bool vu_cfg_write(struct vu_conn *c, uint32_t offset, const uint8_t *buf, uint32_t len);
bool vu_cfg_intx_disabled(const struct vu_conn *c);

/* ---- vfio_user_irq.c ---- */

/** vu_irq_init - Return: 0; -ENOMEM */
int vu_irq_init(struct vu_conn *c);
void vu_irq_fini(struct vu_conn *c);
/** vu_irq_reset - the device's side of a reset; eventfds stay */
void vu_irq_reset(struct vu_conn *c);
/** vu_irq_count - interrupts of @index; 0: none of that type */
uint32_t vu_irq_count(const struct vu_conn *c, uint32_t index);
bool vu_irq_intx_asserted(const struct vu_conn *c);
void vu_set_irqs(struct vu_conn *c, struct vu_msg *m);
void vu_msix_read(struct vu_conn *c, uint32_t offset, uint8_t *buf, uint32_t len);
void vu_msix_write(struct vu_conn *c, uint32_t offset, const uint8_t *buf, uint32_t len);

/* ---- vfio_user_window.c ---- */

/** vu_window_place - where @m, of @m->base_len bytes from @skip bytes before its @iova on, is to be
 *  mapped with MAP_FIXED, in pages of @page bytes. Return: NULL: anywhere */
void *vu_window_place(struct vu_conn *c, struct vu_map *m, uint64_t page, uint64_t skip);
/** vu_window_leave - unmap @m; its place is free for others, or goes with the last of its window */
void vu_window_leave(struct vu_conn *c, struct vu_map *m);

/* ---- vfio_user_dma.c ---- */

/** vu_dma_init - Return: 0; -ENOMEM */
int vu_dma_init(struct vu_conn *c);
/** vu_dma_fini - nothing uses the memory any more */
void vu_dma_fini(struct vu_conn *c);
void vu_dma_map(struct vu_conn *c, struct vu_msg *m);
void vu_dma_unmap(struct vu_conn *c, struct vu_msg *m);
/** vu_dma_unmap_step - Return: true when everything taken back is unmapped */
bool vu_dma_unmap_step(struct vu_conn *c);

/* ---- vfio_user_remote.c ---- */

/** vu_remote_init - once it is known how much the client takes. Return: 0; -ENOMEM */
int vu_remote_init(struct vu_conn *c);
/** vu_remote_reply - Return: false when nobody waits for it */
bool vu_remote_reply(struct vu_conn *c, const struct vu_msg *m);
/** vu_remote_step - drops a client that does not answer. Return: whether an answer is awaited */
bool vu_remote_step(struct vu_conn *c);
/** vu_remote_cancel - the connection is gone: all that is under way ends */
void vu_remote_cancel(struct vu_conn *c);

#endif
