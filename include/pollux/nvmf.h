/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvmf.h - NVMe subsystems and controllers over bdevs, and the in-process front end
 *
 * A subsystem holds namespaces; controllers of it execute commands. The virtual PCIe function gives
 * a controller registers, doorbells and queues in memory; the in-process front end (trtype:VIRTUAL)
 * is reached by the driver of the same process.
 */
#ifndef POLLUX_NVMF_H
#define POLLUX_NVMF_H

#include <pollux/bdev.h>
#include <pollux/nvme_spec.h>
#include <pollux/thread.h>

#ifdef __cplusplus
extern "C" {
#endif

struct plx_nvmf_subsystem;

struct plx_nvmf_subsystem_opts {
	const char *nqn; /* §4.5, 11..223 bytes */
	const char *serial; /* up to 20 characters */
	const char *model; /* up to 40 characters */
	uint32_t max_namespaces; /* 1..1024; 0: 32 */
	uint16_t min_cntlid, max_cntlid; /* of its controllers, 1..0xffef; 0: these limits */
};
/** Return: NULL with errno EINVAL (malformed NQN, too long), EEXIST, ENOMEM. Any thread, set-up. */
struct plx_nvmf_subsystem *plx_nvmf_subsystem_create(const struct plx_nvmf_subsystem_opts *opts);
/** plx_nvmf_subsystem_destroy - its controllers must be gone. Return: 0; -EBUSY */
int plx_nvmf_subsystem_destroy(struct plx_nvmf_subsystem *s);
/**
 * plx_nvmf_subsystem_add_ns - @nsid 0: the lowest free. Controllers see it at once and raise a
 * namespace attribute notice.
 * Return: the identifier; -ENODEV, -EEXIST, -ENOSPC, -EINVAL.
 */
int plx_nvmf_subsystem_add_ns(struct plx_nvmf_subsystem *s, const char *bdev, uint32_t nsid);

/** struct plx_nvmf_ns_opts - @nguid (16 bytes), @eui64 (8), @uuid (16): NULL: made from the bdev's
 *  UUID, which is the namespace's too */
struct plx_nvmf_ns_opts {
	uint32_t nsid; /* 0: the lowest free */
	const uint8_t *nguid, *eui64, *uuid;
};
/** plx_nvmf_subsystem_add_ns_ext - plx_nvmf_subsystem_add_ns() with identifiers of one's own */
int plx_nvmf_subsystem_add_ns_ext(struct plx_nvmf_subsystem *s, const char *bdev,
				  const struct plx_nvmf_ns_opts *o);
int plx_nvmf_subsystem_remove_ns(struct plx_nvmf_subsystem *s, uint32_t nsid);

/**
 * Hosts that may connect: by NQN, where the transport tells it; all, where the subsystem allows any
 * host, as it does after plx_nvmf_subsystem_create().
 *
 * plx_nvmf_subsystem_add_host - Return: 0 (also when it is in the list); -EINVAL malformed; -ENOMEM
 * plx_nvmf_subsystem_remove_host - Return: 0; -ENOENT
 * plx_nvmf_subsystem_allows - @hostnqn NULL: a host that does not tell. All: any thread, set-up
 */
int plx_nvmf_subsystem_add_host(struct plx_nvmf_subsystem *s, const char *hostnqn);
int plx_nvmf_subsystem_remove_host(struct plx_nvmf_subsystem *s, const char *hostnqn);
void plx_nvmf_subsystem_allow_any_host(struct plx_nvmf_subsystem *s, bool allow);
bool plx_nvmf_subsystem_allows(struct plx_nvmf_subsystem *s, const char *hostnqn);

/* ---- the in-process front end ---- */

struct plx_nvmf_virtual;

struct plx_nvmf_virtual_opts {
	const char *name; /* traddr of trtype:VIRTUAL */
	struct plx_nvmf_subsystem *subsystem;
	/* whose turns run the controller; the caller's own thread makes it inline */
	struct plx_thread *thread;
	uint32_t max_io_queues; /* 0: 128 */
	uint32_t max_queue_size; /* entries, 2..65536; 0: 1024 */
	uint32_t mdts; /* power of two of 4 KiB pages; 0: 5 (128 KiB), at most 8 (1 MiB) */
};
/**
 * plx_nvmf_virtual_create - a controller that plx_nvme_connect("trtype:VIRTUAL traddr:<name>")
 * finds
 * Return: NULL with errno EEXIST, EINVAL, ENOMEM.
 */
struct plx_nvmf_virtual *plx_nvmf_virtual_create(const struct plx_nvmf_virtual_opts *opts);
/** plx_nvmf_virtual_destroy - a driver still attached sees it vanish. Set-up; in any thread but not
 *  in a callback. */
void plx_nvmf_virtual_destroy(struct plx_nvmf_virtual *v);
/** plx_nvmf_virtual_vanish - from now on registers read as all ones and nothing completes: surprise
 *  removal. Any thread. */
void plx_nvmf_virtual_vanish(struct plx_nvmf_virtual *v);

/* ---- the vfio-user front end ---- */

struct plx_nvmf_vfio_user;

struct plx_nvmf_vfio_user_opts {
	const char *dir; /* the socket is <dir>/cntrl; the directory must exist */
	struct plx_nvmf_subsystem *subsystem;
	struct plx_thread *thread; /* whose turns serve the socket and run the controller */
	uint32_t max_io_queues; /* 0: 128 */
	uint32_t max_queue_size; /* entries, 2..65536; 0: 1024 */
	uint32_t mdts; /* as for the in-process front end */
	bool trap_doorbells; /* do not let the client map them: each ring is a message */
	bool no_shadow_doorbells; /* no Doorbell Buffer Config command (§5.8) */
};
/**
 * plx_nvmf_vfio_user_create - serve a controller of @o->subsystem to one client at a time, until
 * destroyed (any thread, set-up)
 * Return: NULL with errno EINVAL, ENAMETOOLONG, ENOENT (no such directory), EACCES, EADDRINUSE
 * (another process serves there; a stale socket is replaced), ENOMEM.
 */
struct plx_nvmf_vfio_user *plx_nvmf_vfio_user_create(const struct plx_nvmf_vfio_user_opts *o);
/** plx_nvmf_vfio_user_destroy - the client sees the connection close; waits for I/O in flight;
 *  removes the socket. Any thread but not in a callback. */
void plx_nvmf_vfio_user_destroy(struct plx_nvmf_vfio_user *v);

struct plx_nvmf_vfio_user_stats {
	uint32_t connected; /* 0 or 1 */
	uint64_t connections, messages, rejected; /* since creation */
	uint64_t io_commands, admin_commands; /* completed, over all connections */
	uint32_t io_queues; /* submission queues now */
	uint64_t dma_bytes; /* mapped now */
};
/** plx_nvmf_vfio_user_get_stats - any thread, set-up */
void plx_nvmf_vfio_user_get_stats(struct plx_nvmf_vfio_user *v,
				  struct plx_nvmf_vfio_user_stats *out);

/* ---- the target that is configured by RPC methods ---- */

/**
 * plx_nvmf_target_start - from now on the nvmf_* methods work; listeners' controllers are given to
 * @threads in turn
 * @threads: @n of them, at least one, that outlive the target; they do not include the caller's
 * @cpus: where they run
 *
 * In the thread that carries out the methods. Return: 0; -EINVAL nvmf_set_config left no thread;
 * -ENOMEM; -EALREADY
 */
int plx_nvmf_target_start(struct plx_thread *const *threads, const unsigned *cpus, uint32_t n);
/** plx_nvmf_target_stop - end listeners, with I/O in flight waited for, and subsystems. In the
 *  thread that started it. */
void plx_nvmf_target_stop(void);

/**
 * struct plx_nvmf_device - everything behind the tools' embedded default: bdev stack, subsystem,
 * controller
 *
 * Made from a text such as "size=512M,bdev=malloc,block=4096,latency=tlc,error=corrupt:read:0.001".
 */
struct plx_nvmf_device;
/**
 * plx_nvmf_device_create - @spec: see docs/virtual.md; "" for the defaults
 * @name: traddr of the controller
 * @thread: as in plx_nvmf_virtual_opts
 * Return: 0 and *@out; -EINVAL with a sentence in @err that names the key, its value and the
 * remedy; -ENOMEM and so on.
 */
int plx_nvmf_device_create(const char *spec, const char *name, struct plx_thread *thread,
			   struct plx_nvmf_device **out, char *err, size_t errlen);
/** plx_nvmf_device_add_controller - one more controller over the same namespaces, in another
 *  thread */
int plx_nvmf_device_add_controller(struct plx_nvmf_device *d, const char *name,
				   struct plx_thread *thread, char *err, size_t errlen);
/** plx_nvmf_device_remove_controller - destroy the controller of that name; its driver has
 *  disconnected. In the thread that made it, where it is inline. Return: 0; -ENOENT */
int plx_nvmf_device_remove_controller(struct plx_nvmf_device *d, const char *name);
void plx_nvmf_device_destroy(struct plx_nvmf_device *d);
/** plx_nvmf_device_ready - plx_bdev_ready() of all of its bdevs. Any thread; takes locks */
int plx_nvmf_device_ready(const struct plx_nvmf_device *d);
/** plx_nvmf_device_spec_inline - the text asks for "inline"; false for a malformed one */
bool plx_nvmf_device_spec_inline(const char *spec);
/** plx_nvmf_device_spec_core - "core=N" of the text: whoever makes the controller's thread obeys;
 *  -1 when not given */
int plx_nvmf_device_spec_core(const char *spec);
/** plx_nvmf_device_spec_namespaces - how many the text asks for; 1 for a malformed one */
uint32_t plx_nvmf_device_spec_namespaces(const char *spec);
/** plx_nvmf_device_injected - errors injected so far by kind (see plx_bdev_error_injected) */
void plx_nvmf_device_injected(const struct plx_nvmf_device *d, uint64_t counts[4]);
/** plx_nvmf_spec_help - the keys of the text, a line each, for --help */
const char *plx_nvmf_spec_help(void);

#ifdef __cplusplus
}
#endif
#endif
