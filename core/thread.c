/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/thread.c - event loops: pollers, timed pollers, messages
 *
 * Who writes what: the first line of struct plx_thread is the owner's, every turn. Senders write
 * only the inbox, an rte_ring that lies behind the struct at a distance, and find it without
 * reading the struct. The owner sees whether there is a message by one load, the producers' tail,
 * from a line that stays in its cache until somebody sends.
 *
 * Pollers are an array of (function, argument) that a turn walks; their handles live elsewhere. A
 * poller that goes away in the middle of a turn leaves a function that does nothing, removed when
 * the turn ends.
 *
 * Time: an idle turn does not read the time stamp counter. It is read after 16 idle or 4 busy
 * turns, which is how often timed pollers are looked at and turns accounted, and when somebody asks
 * plx_thread_turn_tsc().
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <pollux/env.h>
#include <pollux/thread.h>

#define INBOX_SLOTS 4096
#define MSG_BATCH   32
#define NO_CURSOR   UINT32_MAX

#define LOOK_CREDIT 16 /* idle turns between two looks at the clock; a power of two */
#define LOOK_SHIFT  4
#define BUSY_COST   (LOOK_CREDIT / 4)

struct msg {
	plx_msg_fn fn;
	void *arg;
};
_Static_assert(sizeof(struct msg) == 16, "an inbox element is 16 bytes");

struct slot {
	plx_poller_fn fn;
	void *arg;
};
_Static_assert(sizeof(struct slot) == 16, "four pollers to a cache line");

/* Lives from plx_poller_create() to plx_poller_destroy(). */
struct plx_poller {
	struct plx_thread *thread;
	plx_poller_fn fn;
	void *arg;
	uint32_t index; /* in slots and owners, or in timed */
	uint64_t period; /* ticks; 0: every turn */
	uint64_t due;
	bool running; /* timed: on the stack, so a nested turn leaves it alone */
	const char *name;
	uint64_t id;
	uint64_t runs, busy; /* timed alone; of others @runs is the turn they were made in */
};

struct plx_thread {
	/* every turn; the owner's alone */
	struct slot *slots;
	uint64_t turns;
	uint64_t busy_turns;
	uint64_t turn_tsc;
	uint64_t turn_tsc_at; /* the turn that turn_tsc was taken in */
	uint32_t n_slots;
	uint32_t inbox_seen; /* the inbox is empty while the producers' tail is here */
	uint32_t cursor; /* slot being called */
	int32_t credit; /* turns until the next look at the clock */
	uint16_t block_idle; /* idle turns since the last look */
	bool in_turn;
	bool dirty; /* there is something to remove */

	/* at looks, or for messages; the owner's, statistics are read by others */
	uint64_t next_due plx_aligned(PLX_CACHE_LINE);
	uint64_t look_tsc;
	uint64_t idle_cost; /* ticks of one idle turn, as seen lately */
	uint64_t busy_tsc;
	uint64_t idle_tsc;
	uint64_t messages;
	struct plx_poller **timed;
	uint32_t n_timed;
	uint32_t cap_timed;

	struct plx_poller **owners; /* of slots; NULL: gone */
	uint32_t cap_slots;
	/* messages taken out and not run yet: a nested turn goes on where the outer one stands */
	uint32_t batch_pos;
	uint32_t batch_len;
	uint64_t id;
	char name[32];
	struct msg batch[MSG_BATCH];
};
_Static_assert(offsetof(struct plx_thread, next_due) == PLX_CACHE_LINE,
	       "what a turn touches fits in one cache line");

/* The inbox starts here in the same allocation. */
#define INBOX_OFFSET                                                                               \
	((sizeof(struct plx_thread) + 2 * PLX_NO_SHARE - 1) / PLX_NO_SHARE * PLX_NO_SHARE)
_Static_assert(offsetof(struct rte_ring, prod) % PLX_CACHE_LINE == 0,
	       "producers write a line of their own");
_Static_assert(offsetof(struct rte_ring, cons) - offsetof(struct rte_ring, prod) >= PLX_NO_SHARE,
	       "producers and consumer are kept apart");

/* A load from the thread pointer, not a call, in shared libraries too. */
static _Thread_local struct plx_thread *current __attribute__((tls_model("initial-exec")));

/* The owner's counters are read by others: single stores, no read-modify-write. */
static inline void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline struct rte_ring *inbox(const struct plx_thread *t)
{
	return (struct rte_ring *)((char *)t + INBOX_OFFSET);
}

static inline bool inbox_has(const struct plx_thread *t)
{
	return __atomic_load_n(&inbox(t)->prod.tail, __ATOMIC_RELAXED) != t->inbox_seen;
}

/* Stands where a poller was until the turn ends. */
static int poll_nothing(void *arg)
{
	return 0;
}

/* ---- life ---- */

static uint64_t last_id; /* atomic */

struct plx_thread *plx_thread_create(const char *name)
{
	ssize_t ring_size = rte_ring_get_memsize_elem(sizeof(struct msg), INBOX_SLOTS);
	struct plx_thread *t;
	void *mem;

	if (ring_size < 0 || posix_memalign(&mem, PLX_NO_SHARE, INBOX_OFFSET + (size_t)ring_size)) {
		errno = ENOMEM;
		return NULL;
	}
	t = mem;
	memset(t, 0, INBOX_OFFSET);
	/* relaxed tail: a sender that is preempted halfway does not keep the others spinning */
	if (rte_ring_init(inbox(t), "pollux_inbox", INBOX_SLOTS,
			  RING_F_MP_RTS_ENQ | RING_F_SC_DEQ)) {
		free(t);
		errno = ENOMEM;
		return NULL;
	}
	strncpy(t->name, name ? name : "", sizeof(t->name) - 1);
	t->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	t->credit = LOOK_CREDIT;
	t->cursor = NO_CURSOR;
	t->next_due = UINT64_MAX;
	t->look_tsc = plx_tsc();
	t->turn_tsc = t->look_tsc;
	return t;
}

const char *plx_thread_name(const struct plx_thread *t)
{
	return t->name;
}

uint64_t plx_thread_id(const struct plx_thread *t)
{
	return t->id;
}

struct plx_thread *plx_thread_current(void)
{
	return current;
}

struct plx_thread *plx_thread_enter(struct plx_thread *t)
{
	struct plx_thread *prev = current;

	current = t;
	return prev;
}

/* ---- messages ---- */

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
/*
 * rte_ring orders by the memory model of x86, which the sanitizer does not know: it is told what is
 * ordered, and not to look inside.
 */
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define tsan_acquire(addr) __tsan_acquire(addr)
#define tsan_release(addr) __tsan_release(addr)
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);

static void ring_enter(void)
{
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

static void ring_leave(void)
{
	AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
#define tsan_acquire(addr) ((void)(addr))
#define tsan_release(addr) ((void)(addr))
#define ring_enter()	   ((void)0)
#define ring_leave()	   ((void)0)
#endif

int plx_thread_send(struct plx_thread *t, plx_msg_fn fn, void *arg)
{
	struct msg m = { .fn = fn, .arg = arg };
	struct rte_ring *r = inbox(t);
	int rc;

	tsan_release(r);
	ring_enter();
	rc = rte_ring_enqueue_elem(r, &m, sizeof(m));
	ring_leave();
	return rc ? -ENOSPC : 0;
}

/* Runs at most one batch, what an outer turn has taken out first. Returns how many. */
static plx_noinline uint32_t inbox_drain(struct plx_thread *t)
{
	struct rte_ring *r = inbox(t);
	uint32_t n = 0;

	if (t->batch_pos == t->batch_len) {
		ring_enter();
		t->batch_pos = 0;
		t->batch_len = rte_ring_sc_dequeue_burst_elem(r, t->batch, sizeof(struct msg),
							      MSG_BATCH, NULL);
		t->inbox_seen = r->cons.tail;
		ring_leave();
		tsan_acquire(r);
	}
	while (t->batch_pos < t->batch_len) {
		struct msg m = t->batch[t->batch_pos++];

		m.fn(m.arg);
		n++;
	}
	count(&t->messages, n);
	return n;
}

/* ---- time ---- */

uint64_t plx_thread_turn_tsc(const struct plx_thread *t)
{
	/* the owner's, like everything that is asked for it: only the cache of the answer
	 * changes */
	struct plx_thread *mut = (struct plx_thread *)(uintptr_t)t;

	if (plx_unlikely(t->turn_tsc_at != t->turns)) {
		mut->turn_tsc = plx_tsc();
		mut->turn_tsc_at = t->turns;
	}
	return t->turn_tsc;
}

static void due_update(struct plx_thread *t)
{
	uint64_t due = UINT64_MAX;

	for (uint32_t i = 0; i < t->n_timed; i++)
		if (t->timed[i] && t->timed[i]->due < due)
			due = t->timed[i]->due;
	t->next_due = due;
}

static plx_noinline int timed_run(struct plx_thread *t, uint64_t now)
{
	uint32_t n = t->n_timed;
	int busy = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct plx_poller *p = t->timed[i];
		bool did;

		if (!p || p->running || now < p->due)
			continue;
		p->due = now + p->period;
		p->running = true;
		p->runs++;
		did = p->fn(p->arg) > 0;
		busy += did;
		if (t->timed[i] == p) { /* else it destroyed itself */
			p->running = false;
			p->busy += did;
		}
	}
	due_update(t);
	return busy;
}

/*
 * Shares the time since the last look out to idle and busy turns. Mixed blocks know the cost of an
 * idle turn from the last one that was idle throughout; a preemption there may not more than double
 * it.
 */
static void account(struct plx_thread *t, uint64_t now)
{
	uint64_t delta = now - t->look_tsc, idle;

	if (t->block_idle == LOOK_CREDIT) {
		uint64_t cost = delta >> LOOK_SHIFT;

		if (cost > t->idle_cost * 2 + 64)
			cost = t->idle_cost * 2 + 64;
		t->idle_cost = cost;
		idle = delta;
	} else {
		idle = t->block_idle * t->idle_cost;
		if (idle > delta)
			idle = delta;
	}
	count(&t->idle_tsc, idle);
	count(&t->busy_tsc, delta - idle);
	t->look_tsc = now;
	t->block_idle = 0;
	t->credit = LOOK_CREDIT;
}

static plx_noinline int look(struct plx_thread *t)
{
	uint64_t now = plx_thread_turn_tsc(t);

	account(t, now);
	return now >= t->next_due ? timed_run(t, now) : 0;
}

void plx_thread_get_stats(const struct plx_thread *t, struct plx_thread_stats *out)
{
	out->turns = __atomic_load_n(&t->turns, __ATOMIC_RELAXED);
	out->busy_turns = __atomic_load_n(&t->busy_turns, __ATOMIC_RELAXED);
	out->busy_tsc = __atomic_load_n(&t->busy_tsc, __ATOMIC_RELAXED);
	out->idle_tsc = __atomic_load_n(&t->idle_tsc, __ATOMIC_RELAXED);
	out->messages = __atomic_load_n(&t->messages, __ATOMIC_RELAXED);
}

/* ---- turns ---- */

static plx_noinline void compact(struct plx_thread *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n_slots; i++) {
		if (!t->owners[i])
			continue;
		t->slots[n] = t->slots[i];
		t->owners[n] = t->owners[i];
		t->owners[n]->index = n;
		n++;
	}
	t->n_slots = n;
	n = 0;
	for (uint32_t i = 0; i < t->n_timed; i++) {
		if (!t->timed[i])
			continue;
		t->timed[n] = t->timed[i];
		t->timed[n]->index = n;
		n++;
	}
	t->n_timed = n;
	due_update(t);
	t->dirty = false;
}

static inline int slots_run(struct plx_thread *t, uint32_t n)
{
	int busy = 0;

	/* the array may move and its entries change under our feet: nothing of it is kept across a
	 * call */
	for (uint32_t i = 0; i < n; i++) {
		t->cursor = i;
		busy += t->slots[i].fn(t->slots[i].arg) > 0;
	}
	t->cursor = NO_CURSOR;
	return busy;
}

/*
 * A turn within a turn: a message or poller waits for another thread (plx_thread_call()). The
 * pollers that wait on the stack are left alone.
 */
static plx_noinline int turn_nested(struct plx_thread *t)
{
	uint32_t outer = t->cursor;
	struct plx_poller *waiting = NULL;
	int busy = 0;

	if (outer != NO_CURSOR) {
		waiting = t->owners[outer];
		t->slots[outer].fn = poll_nothing;
	}
	count(&t->turns, 1);
	if (t->batch_pos < t->batch_len || inbox_has(t))
		busy += (int)inbox_drain(t);
	busy += slots_run(t, t->n_slots);
	busy += timed_run(t, plx_thread_turn_tsc(t));
	if (waiting && t->owners[outer] == waiting)
		t->slots[outer].fn = waiting->fn;
	t->cursor = outer;
	return busy;
}

int plx_thread_poll(struct plx_thread *t)
{
	struct plx_thread *prev = current;
	int busy = 0;

	current = t;
	if (plx_unlikely(t->in_turn)) {
		busy = turn_nested(t);
		current = prev;
		return busy;
	}
	t->in_turn = true;
	count(&t->turns, 1);
	if (plx_unlikely(inbox_has(t)))
		busy = (int)inbox_drain(t);
	busy += slots_run(t, t->n_slots);
	if (busy) {
		count(&t->busy_turns, 1);
		t->credit -= BUSY_COST;
	} else {
		t->block_idle++;
		t->credit--;
	}
	if (plx_unlikely(t->credit <= 0))
		busy += look(t);
	if (plx_unlikely(t->dirty))
		compact(t);
	t->in_turn = false;
	current = prev;
	return busy;
}

int plx_thread_may_sleep(struct plx_thread *t, int max_ms)
{
	uint64_t now = plx_tsc(), ms;

	/* turns are few: the next one does not wait for more of them before it looks at the clock,
	 * and what passes until then is idle */
	t->credit = 1;
	t->block_idle = LOOK_CREDIT - 1;
	if (t->next_due <= now)
		return 0;
	ms = (t->next_due - now) / (plx_tsc_hz() / 1000);
	return ms < (uint64_t)max_ms ? (int)ms + 1 : max_ms;
}

void plx_thread_destroy(struct plx_thread *t)
{
	struct plx_thread *prev;

	if (!t)
		return;
	prev = plx_thread_enter(t);
	while (t->batch_pos < t->batch_len || inbox_has(t))
		inbox_drain(t);
	compact(t);
	if (t->n_slots || t->n_timed)
		plx_log(PLX_LOG_ERR, "thread", "%s: destroyed with %u pollers left", t->name,
			t->n_slots + t->n_timed);
	for (uint32_t i = 0; i < t->n_slots; i++)
		free(t->owners[i]);
	for (uint32_t i = 0; i < t->n_timed; i++)
		free(t->timed[i]);
	free(t->slots);
	free(t->owners);
	free(t->timed);
	plx_thread_enter(prev == t ? NULL : prev);
	free(t);
}

/* ---- pollers ---- */

static int slots_reserve(struct plx_thread *t)
{
	uint32_t cap = t->cap_slots ? t->cap_slots * 2 : 8;
	struct plx_poller **owners;
	void *slots;

	if (t->n_slots < t->cap_slots)
		return 0;
	if (posix_memalign(&slots, PLX_NO_SHARE, cap * sizeof(struct slot)))
		return -ENOMEM;
	owners = realloc(t->owners, cap * sizeof(struct plx_poller *));
	if (!owners) {
		free(slots);
		return -ENOMEM;
	}
	if (t->n_slots)
		memcpy(slots, t->slots, t->n_slots * sizeof(struct slot));
	free(t->slots);
	t->slots = slots;
	t->owners = owners;
	t->cap_slots = cap;
	return 0;
}

static int timed_reserve(struct plx_thread *t)
{
	uint32_t cap = t->cap_timed ? t->cap_timed * 2 : 8;
	struct plx_poller **timed;

	if (t->n_timed < t->cap_timed)
		return 0;
	timed = realloc(t->timed, cap * sizeof(struct plx_poller *));
	if (!timed)
		return -ENOMEM;
	t->timed = timed;
	t->cap_timed = cap;
	return 0;
}

static uint64_t us_to_ticks(uint64_t us)
{
	unsigned __int128 ticks = (unsigned __int128)us * plx_tsc_hz() / 1000000;

	/* far enough away to be never, near enough not to overflow when added to a time stamp */
	if (ticks > UINT64_MAX / 2)
		return UINT64_MAX / 2;
	return ticks ? (uint64_t)ticks : 1;
}

static uint64_t last_poller_id; /* atomic */

struct plx_poller *plx_poller_create_named(plx_poller_fn fn, void *arg, uint64_t period_us,
					   const char *name)
{
	struct plx_thread *t = current;
	struct plx_poller *p;

	if (!t) {
		errno = EPERM;
		return NULL;
	}
	p = calloc(1, sizeof(*p));
	if (!p || (period_us ? timed_reserve(t) : slots_reserve(t))) {
		free(p);
		errno = ENOMEM;
		return NULL;
	}
	p->thread = t;
	p->fn = fn;
	p->arg = arg;
	p->name = name;
	p->id = __atomic_add_fetch(&last_poller_id, 1, __ATOMIC_RELAXED);
	p->runs = period_us ? 0 : t->turns;
	if (period_us) {
		p->period = us_to_ticks(period_us);
		p->due = plx_tsc() + p->period;
		p->index = t->n_timed;
		t->timed[t->n_timed++] = p;
		if (p->due < t->next_due)
			t->next_due = p->due;
	} else {
		p->index = t->n_slots;
		t->owners[t->n_slots] = p;
		t->slots[t->n_slots++] = (struct slot){ .fn = fn, .arg = arg };
	}
	return p;
}

void plx_poller_destroy(struct plx_poller *p)
{
	struct plx_thread *t;

	if (!p)
		return;
	t = p->thread;
	if (p->period) {
		t->timed[p->index] = NULL;
	} else {
		t->owners[p->index] = NULL;
		t->slots[p->index].fn = poll_nothing;
	}
	free(p);
	t->dirty = true;
	if (!t->in_turn)
		compact(t);
}

static void poller_info(const struct plx_poller *p, uint64_t turns,
			void (*fn)(const struct plx_poller_info *info, void *arg), void *arg)
{
	struct plx_poller_info info = { .name = p->name,
					.id = p->id,
					.period_tsc = p->period,
					.runs = p->period ? p->runs : turns - p->runs,
					.busy = p->busy };

	fn(&info, arg);
}

void plx_thread_each_poller(const struct plx_thread *t,
			    void (*fn)(const struct plx_poller_info *info, void *arg), void *arg)
{
	for (uint32_t i = 0; i < t->n_slots; i++)
		if (t->owners[i])
			poller_info(t->owners[i], t->turns, fn, arg);
	for (uint32_t i = 0; i < t->n_timed; i++)
		if (t->timed[i])
			poller_info(t->timed[i], t->turns, fn, arg);
}

/* ---- waiting for another thread ---- */

struct call {
	plx_msg_fn fn;
	void *arg;
	int done;
};

static void call_run(void *arg)
{
	struct call *c = arg;

	c->fn(c->arg);
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
}

/* One turn of the caller's own loop; where that is idle for long, others may have the CPU. */
static void wait_turn(unsigned *idle)
{
	if (current && plx_thread_poll(current)) {
		*idle = 0;
		return;
	}
	if (++*idle % 256 == 0)
		sched_yield();
	else
		__builtin_ia32_pause();
}

void plx_thread_call(struct plx_thread *t, plx_msg_fn fn, void *arg, bool inline_owner)
{
	struct call c = { .fn = fn, .arg = arg };
	unsigned idle = 0;

	if (t == current || inline_owner) {
		struct plx_thread *prev = plx_thread_enter(t);

		fn(arg);
		plx_thread_enter(prev);
		return;
	}
	while (plx_thread_send(t, call_run, &c))
		wait_turn(&idle);
	while (!__atomic_load_n(&c.done, __ATOMIC_ACQUIRE))
		wait_turn(&idle);
}
