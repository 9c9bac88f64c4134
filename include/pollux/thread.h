/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/thread.h - event loops: pollers, messages, reactors
 *
 * A plx_thread is an event loop owned by one OS thread at a time. Everything that pollux runs for a
 * device, a channel or a controller runs inside the plx_thread that owns it; what others want of it
 * they send as a message.
 */
#ifndef POLLUX_THREAD_H
#define POLLUX_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct plx_thread;
struct plx_poller;
struct plx_reactor;

/** plx_poller_fn - Return: > 0 when something was done, 0 when idle */
typedef int (*plx_poller_fn)(void *arg);
typedef void (*plx_msg_fn)(void *arg);

/**
 * plx_thread_create - an event loop that nobody runs yet
 * @name: shown in logs and statistics; copied
 *
 * The creator, or whoever it hands the object to, runs it with plx_thread_poll().
 * Return: the object; NULL with errno ENOMEM.
 */
struct plx_thread *plx_thread_create(const char *name);
/** plx_thread_destroy - runs what is in the inbox, frees it; its pollers must be gone. */
void plx_thread_destroy(struct plx_thread *t);

/**
 * plx_thread_poll - one turn: messages (a bounded batch), each poller once, timed pollers that are
 * due
 *
 * Makes @t the current thread for the turn, and afterwards restores the one before.
 * Return: > 0 when anything was done.
 */
int plx_thread_poll(struct plx_thread *t);

/**
 * plx_thread_may_sleep - for who does not poll @t all the time: until a timed poller is due
 * @max_ms: milliseconds at most
 *
 * In the thread that runs @t, between turns, before it sleeps. Return: milliseconds
 */
int plx_thread_may_sleep(struct plx_thread *t, int max_ms);

/** plx_thread_current - the loop the caller runs in; NULL outside of any */
struct plx_thread *plx_thread_current(void);
/** plx_thread_enter - make @t (may be NULL) current outside of a turn, as fio jobs and main() do.
 *  Return: what was current. */
struct plx_thread *plx_thread_enter(struct plx_thread *t);
const char *plx_thread_name(const struct plx_thread *t);
/** plx_thread_id - 1 for the first that was created in this process, and so on; never used again */
uint64_t plx_thread_id(const struct plx_thread *t);

/**
 * plx_thread_send - run @fn(@arg) in @t's next turn
 *
 * Any thread, including @t itself. Messages of one sender arrive in order.
 * Return: 0; -ENOSPC when the inbox is full (poll, then retry).
 */
int plx_thread_send(struct plx_thread *t, plx_msg_fn fn, void *arg);

/**
 * plx_thread_turn_tsc - the time stamp of this turn, the same for all of it
 *
 * Read when first asked for in a turn, so idle turns do not pay for it; never older than the turn
 * that runs or, between turns, the last one that asked. Only in the thread that runs @t.
 */
uint64_t plx_thread_turn_tsc(const struct plx_thread *t);

struct plx_thread_stats {
	uint64_t turns, busy_turns; /* every turn; those in which something was done */
	uint64_t busy_tsc, idle_tsc;
	uint64_t messages;
};
void plx_thread_get_stats(const struct plx_thread *t, struct plx_thread_stats *out);

/**
 * plx_poller_create - call @fn from the current thread's turns
 * @period_us: 0 for every turn, else at most once per period, in microseconds
 *
 * Must be called, as plx_poller_destroy(), in the thread the poller belongs to. A poller may
 * destroy itself or others from within a poller. Return: the poller; NULL with errno ENOMEM, or
 * EPERM outside of a thread.
 */
#define plx_poller_create(fn, arg, period_us) plx_poller_create_named(fn, arg, period_us, #fn)
/** plx_poller_create_named - @name is what statistics call it, and lives as long as the poller */
struct plx_poller *plx_poller_create_named(plx_poller_fn fn, void *arg, uint64_t period_us,
					   const char *name);
/** plx_poller_destroy - @p may be NULL; never called again once this returns */
void plx_poller_destroy(struct plx_poller *p);

/** struct plx_poller_info - a poller, for statistics */
struct plx_poller_info {
	const char *name;
	uint64_t id; /* of all pollers of the process */
	uint64_t period_tsc; /* 0: every turn */
	uint64_t runs;
	uint64_t busy; /* runs that did something; not known of those of every turn */
};
/** plx_thread_each_poller - in the thread that runs @t: call @fn for each of its pollers */
void plx_thread_each_poller(const struct plx_thread *t,
			    void (*fn)(const struct plx_poller_info *info, void *arg), void *arg);

/**
 * plx_reactor_start - an OS thread pinned to @cpu that runs a new plx_thread until stopped
 * Return: the reactor; NULL with errno EINVAL (no such CPU, or not allowed), ENOMEM, EAGAIN.
 */
struct plx_reactor *plx_reactor_start(unsigned cpu, const char *name);
struct plx_thread *plx_reactor_thread(struct plx_reactor *r);
unsigned plx_reactor_cpu(const struct plx_reactor *r);
/** plx_reactor_tid - the operating system's number of its thread */
int plx_reactor_tid(const struct plx_reactor *r);
/** plx_reactor_stop - finish the inbox, stop, join, destroy its thread. Not from within it. */
void plx_reactor_stop(struct plx_reactor *r);

/**
 * plx_thread_call - run @fn(@arg) in @t and wait for it
 *
 * Set-up and teardown only. When @t is the current thread, or nobody else runs it because
 * @inline_owner is true, @fn runs at once in the caller. Keeps polling the caller's own current
 * thread while it waits.
 */
void plx_thread_call(struct plx_thread *t, plx_msg_fn fn, void *arg, bool inline_owner);

#ifdef __cplusplus
}
#endif
#endif
