/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_thread.c - messages, pollers, timed pollers, reactors, calls between threads
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pollux/env.h>
#include <pollux/thread.h>

static void start(void)
{
	struct plx_env_opts o;

	plx_env_opts_init(&o);
	o.mem_mb = 32;
	cr_assert_eq(plx_env_init(&o), 0);
}

TestSuite(timed, .init = start, .fini = plx_env_fini);

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static unsigned first_cpu(void)
{
	struct plx_cpuset allowed;

	plx_topo_allowed(&allowed);
	return (unsigned)plx_cpuset_next(&allowed, -1);
}

/* ---- messages ---- */

static int log_of[8192];
static int n_logged;

static void log_arg(void *arg)
{
	log_of[n_logged++] = (int)(intptr_t)arg;
}

Test(message, runs_in_the_next_turn_in_order)
{
	struct plx_thread *t = plx_thread_create("t");

	for (int i = 0; i < 20; i++)
		cr_assert_eq(plx_thread_send(t, log_arg, (void *)(intptr_t)i), 0);
	cr_assert_eq(n_logged, 0);
	cr_assert_gt(plx_thread_poll(t), 0);
	cr_assert_eq(n_logged, 20);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(log_of[i], i);
	cr_assert_eq(plx_thread_poll(t), 0);
	plx_thread_destroy(t);
}

static int count_call(void *arg)
{
	(*(unsigned *)arg)++;
	return 0;
}

Test(message, a_flood_does_not_starve_pollers)
{
	struct plx_thread *t = plx_thread_create("t");
	struct plx_poller *p;
	unsigned calls = 0, turns = 0;

	plx_thread_enter(t);
	p = plx_poller_create(count_call, &calls, 0);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(plx_thread_send(t, log_arg, NULL), 0);
	while (n_logged < 1000) {
		plx_thread_poll(t);
		cr_assert_eq(calls, ++turns);
	}
	cr_assert_gt(turns, 1, "all messages ran in one turn");
	plx_poller_destroy(p);
	plx_thread_destroy(t);
}

Test(message, a_full_inbox_refuses_and_loses_nothing)
{
	struct plx_thread *t = plx_thread_create("t");
	int sent = 0;

	while (plx_thread_send(t, log_arg, (void *)(intptr_t)sent) == 0)
		cr_assert_lt(++sent, 8192);
	cr_assert_geq(sent, 4095);
	cr_assert_eq(plx_thread_send(t, log_arg, NULL), -ENOSPC);
	while (plx_thread_poll(t))
		;
	cr_assert_eq(n_logged, sent);
	for (int i = 0; i < sent; i++)
		cr_assert_eq(log_of[i], i);
	cr_assert_eq(plx_thread_send(t, log_arg, NULL), 0);
	plx_thread_destroy(t);
	cr_assert_eq(n_logged, sent + 1, "destroy runs what is in the inbox");
}

static void send_again(void *arg)
{
	struct plx_thread *t = arg;

	if (++n_logged < 100)
		cr_assert_eq(plx_thread_send(t, send_again, t), 0);
}

Test(message, a_message_may_send_to_its_own_thread)
{
	struct plx_thread *t = plx_thread_create("t");

	plx_thread_send(t, send_again, t);
	for (int i = 0; i < 200; i++)
		plx_thread_poll(t);
	cr_assert_eq(n_logged, 100);
	plx_thread_send(t, send_again, t);
	plx_thread_destroy(t);
	cr_assert_eq(n_logged, 101);
}

enum { PRODUCERS = 3, PER_PRODUCER = 20000 };

struct letter {
	unsigned producer;
	unsigned number;
};

struct producer {
	struct plx_thread *to;
	unsigned id;
	unsigned count;
	struct letter letters[PER_PRODUCER];
};

static unsigned next_of[PRODUCERS], out_of_order, finished;

static void take_letter(void *arg)
{
	const struct letter *l = arg;

	out_of_order += l->number != next_of[l->producer];
	next_of[l->producer] = l->number + 1;
}

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (unsigned i = 0; i < p->count; i++) {
		p->letters[i] = (struct letter){ .producer = p->id, .number = i };
		while (plx_thread_send(p->to, take_letter, &p->letters[i]))
			sched_yield();
	}
	__atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
	return NULL;
}

Test(message, several_senders_keep_their_order_and_lose_nothing)
{
	struct plx_thread *t = plx_thread_create("t");
	struct producer *p = calloc(PRODUCERS, sizeof(*p));
	pthread_t threads[PRODUCERS];
	struct plx_thread_stats stats;
	unsigned over;

	for (unsigned i = 0; i < PRODUCERS; i++) {
		p[i].to = t;
		p[i].id = i;
		p[i].count = PER_PRODUCER;
		cr_assert_eq(pthread_create(&threads[i], NULL, produce, &p[i]), 0);
	}
	do {
		over = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);
	} while (plx_thread_poll(t) || over < PRODUCERS);
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < PRODUCERS; i++)
		cr_assert_eq(next_of[i], PER_PRODUCER);
	cr_assert_eq(out_of_order, 0);
	plx_thread_get_stats(t, &stats);
	cr_assert_eq(stats.messages, (uint64_t)PRODUCERS * PER_PRODUCER);
	plx_thread_destroy(t);
	free(p);
}

Test(message, senders_that_collide_lose_nothing)
{
	enum { ROUNDS = 100, EACH = 4095 / PRODUCERS };
	struct plx_thread *t = plx_thread_create("t");
	struct producer *p = calloc(PRODUCERS, sizeof(*p));
	pthread_t threads[PRODUCERS];

	/* the inbox has room for all of a round, so nobody ever waits and they meet as often as can
	 * be */
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < PRODUCERS; i++) {
			next_of[i] = 0;
			p[i].to = t;
			p[i].id = i;
			p[i].count = EACH;
			cr_assert_eq(pthread_create(&threads[i], NULL, produce, &p[i]), 0);
		}
		for (unsigned i = 0; i < PRODUCERS; i++)
			pthread_join(threads[i], NULL);
		while (plx_thread_poll(t))
			;
		for (unsigned i = 0; i < PRODUCERS; i++)
			cr_assert_eq(next_of[i], EACH, "round %d", round);
	}
	cr_assert_eq(out_of_order, 0);
	plx_thread_destroy(t);
	free(p);
}

/* ---- the current thread ---- */

static void expect_current(void *arg)
{
	n_logged++;
	cr_assert_eq(plx_thread_current(), arg);
}

Test(thread, a_turn_is_current_and_restores_the_one_before)
{
	struct plx_thread *a = plx_thread_create("a"), *b = plx_thread_create("b");

	cr_assert_null(plx_thread_current());
	cr_assert_null(plx_thread_enter(a));
	plx_thread_send(b, expect_current, b);
	plx_thread_poll(b);
	cr_assert_eq(n_logged, 1);
	cr_assert_eq(plx_thread_current(), a);
	cr_assert_eq(plx_thread_enter(NULL), a);
	cr_assert_str_eq(plx_thread_name(b), "b");
	plx_thread_destroy(a);
	plx_thread_destroy(b);
}

Test(thread, destroying_the_current_thread_leaves_none)
{
	struct plx_thread *a = plx_thread_create("a");

	plx_thread_enter(a);
	plx_thread_destroy(a);
	cr_assert_null(plx_thread_current());
}

static int keep_busy(void *arg)
{
	return *(int *)arg;
}

Test(thread, statistics_count_turns_and_share_out_time)
{
	uint64_t begin = plx_tsc();
	struct plx_thread *t = plx_thread_create("t");
	struct plx_thread_stats s;
	struct plx_poller *p;
	int busy = 0;

	plx_thread_enter(t);
	p = plx_poller_create(keep_busy, &busy, 0);
	for (int i = 0; i < 160; i++)
		cr_assert_eq(plx_thread_poll(t), 0);
	plx_thread_get_stats(t, &s);
	cr_assert_eq(s.turns, 160);
	cr_assert_eq(s.busy_turns, 0);
	cr_assert_eq(s.busy_tsc, 0);
	cr_assert_gt(s.idle_tsc, 0);
	busy = 1;
	for (int i = 0; i < 160; i++)
		cr_assert_gt(plx_thread_poll(t), 0);
	plx_thread_get_stats(t, &s);
	cr_assert_eq(s.turns, 320);
	cr_assert_eq(s.busy_turns, 160);
	cr_assert_gt(s.busy_tsc, 0);
	cr_assert_leq(s.busy_tsc + s.idle_tsc, plx_tsc() - begin);
	plx_poller_destroy(p);
	plx_thread_destroy(t);
}

struct stamp {
	struct plx_thread *t;
	uint64_t first, second, before;
};

static int take_stamps(void *arg)
{
	struct stamp *s = arg;

	s->first = plx_thread_turn_tsc(s->t);
	s->second = plx_thread_turn_tsc(s->t);
	return 1;
}

Test(thread, turn_time_is_no_older_than_the_turn_and_one_for_all_of_it)
{
	struct plx_thread *t = plx_thread_create("t");
	struct stamp s = { .t = t };
	struct plx_poller *p;

	plx_thread_enter(t);
	p = plx_poller_create(take_stamps, &s, 0);
	for (int i = 0; i < 100; i++) {
		s.before = plx_tsc();
		plx_thread_poll(t);
		cr_assert_geq(s.first, s.before);
		cr_assert_eq(s.first, s.second);
		cr_assert_leq(s.first, plx_tsc());
	}
	plx_poller_destroy(p);
	plx_thread_destroy(t);
}

/* ---- pollers ---- */

Test(poller, runs_once_each_turn)
{
	struct plx_thread *t = plx_thread_create("t");
	struct plx_poller *p[20];
	unsigned calls[20] = { 0 };

	plx_thread_enter(t);
	for (int i = 0; i < 20; i++)
		p[i] = plx_poller_create(count_call, &calls[i], 0);
	for (int i = 0; i < 10; i++)
		plx_thread_poll(t);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(calls[i], 10);
	for (int i = 0; i < 20; i += 2)
		plx_poller_destroy(p[i]);
	plx_thread_poll(t);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(calls[i], i % 2 ? 11 : 10);
	for (int i = 1; i < 20; i += 2)
		plx_poller_destroy(p[i]);
	plx_thread_poll(t);
	cr_assert_eq(calls[1], 11);
	plx_thread_destroy(t);
}

Test(poller, needs_a_current_thread)
{
	errno = 0;
	cr_assert_null(plx_poller_create(count_call, NULL, 0));
	cr_assert_eq(errno, EPERM);
	plx_poller_destroy(NULL);
}

Test(poller, what_a_poller_returns_is_what_the_turn_returns)
{
	struct plx_thread *t = plx_thread_create("t");
	int busy = 1;
	struct plx_poller *p;

	plx_thread_enter(t);
	p = plx_poller_create(keep_busy, &busy, 0);
	cr_assert_gt(plx_thread_poll(t), 0);
	busy = 0;
	cr_assert_eq(plx_thread_poll(t), 0);
	plx_poller_destroy(p);
	plx_thread_destroy(t);
}

struct actor {
	struct plx_poller *self, *victim, *child;
	unsigned calls, child_calls;
};

static int destroy_self(void *arg)
{
	struct actor *a = arg;

	a->calls++;
	plx_poller_destroy(a->self);
	return 0;
}

Test(poller, may_destroy_itself)
{
	struct plx_thread *t = plx_thread_create("t");
	struct plx_poller *p[3];
	unsigned calls[3] = { 0 };
	struct actor a = { 0 };

	plx_thread_enter(t);
	p[0] = plx_poller_create(count_call, &calls[0], 0);
	a.self = plx_poller_create(destroy_self, &a, 0);
	p[1] = plx_poller_create(count_call, &calls[1], 0);
	p[2] = plx_poller_create(count_call, &calls[2], 0);
	for (unsigned i = 0; i < 3; i++) {
		plx_thread_poll(t);
		for (int k = 0; k < 3; k++)
			cr_assert_eq(calls[k], i + 1, "poller %d in turn %u", k, i);
	}
	cr_assert_eq(a.calls, 1);
	for (int k = 0; k < 3; k++)
		plx_poller_destroy(p[k]);
	plx_thread_destroy(t);
}

static int destroy_victim(void *arg)
{
	struct actor *a = arg;

	plx_poller_destroy(a->victim);
	a->victim = NULL;
	return 0;
}

Test(poller, destroyed_by_another_is_not_called_again_even_in_that_turn)
{
	struct plx_thread *t = plx_thread_create("t");
	unsigned calls = 0;
	struct actor a = { 0 };

	plx_thread_enter(t);
	a.self = plx_poller_create(destroy_victim, &a, 0);
	a.victim = plx_poller_create(count_call, &calls, 0);
	plx_thread_poll(t);
	plx_thread_poll(t);
	cr_assert_eq(calls, 0);
	plx_poller_destroy(a.self);
	plx_thread_destroy(t);
}

static int create_children(void *arg)
{
	struct actor *a = arg;
	struct plx_poller **kids = (struct plx_poller **)a->victim;

	/* enough to move the array of pollers that the turn is walking */
	if (!a->calls++)
		for (int i = 0; i < 50; i++)
			kids[i] = plx_poller_create(count_call, &a->child_calls, 0);
	return 0;
}

Test(poller, may_create_pollers)
{
	struct plx_thread *t = plx_thread_create("t");
	struct plx_poller *kids[50] = { NULL };
	struct actor a = { .victim = (struct plx_poller *)kids };
	unsigned later = 0;
	struct plx_poller *p, *q;

	plx_thread_enter(t);
	p = plx_poller_create(create_children, &a, 0);
	q = plx_poller_create(count_call, &later, 0);
	plx_thread_poll(t);
	cr_assert_eq(later, 1, "the poller after the one that creates still runs");
	a.child_calls = 0;
	plx_thread_poll(t);
	cr_assert_eq(a.child_calls, 50);
	for (int i = 0; i < 50; i++)
		plx_poller_destroy(kids[i]);
	plx_poller_destroy(p);
	plx_poller_destroy(q);
	plx_thread_destroy(t);
}

/* ---- timed pollers ---- */

struct ticker {
	uint64_t last, shortest;
	unsigned calls;
	struct plx_poller *self;
};

static int tick(void *arg)
{
	struct ticker *k = arg;
	uint64_t now = plx_thread_turn_tsc(plx_thread_current());

	if (now - k->last < k->shortest)
		k->shortest = now - k->last;
	k->last = now;
	k->calls++;
	return 1;
}

static int tick_once(void *arg)
{
	struct ticker *k = arg;

	tick(k);
	plx_poller_destroy(k->self);
	return 1;
}

Test(timed, never_before_it_is_due_and_at_most_once_a_period)
{
	struct plx_thread *t = plx_thread_create("t");
	struct ticker k[3];
	static const uint64_t period_us[] = { 2000, 500, 7000 };
	double deadline = seconds() + 30;

	plx_thread_enter(t);
	for (int i = 0; i < 3; i++) {
		k[i] = (struct ticker){ .last = plx_tsc(), .shortest = UINT64_MAX };
		k[i].self = plx_poller_create(tick, &k[i], period_us[i]);
	}
	while (k[2].calls < 4 && seconds() < deadline)
		plx_thread_poll(t);
	for (int i = 0; i < 3; i++) {
		cr_assert_geq(k[i].calls, 4);
		cr_assert_geq(k[i].shortest, plx_tsc_hz() * period_us[i] / 1000000, "poller %d", i);
		plx_poller_destroy(k[i].self);
	}
	plx_thread_destroy(t);
}

static int poll_count(void *arg)
{
	++*(int *)arg;
	return 0;
}

/* Who sleeps between turns has few of them: each first one after it looks at the clock */
Test(timed, one_turn_after_a_sleep_runs_what_is_due)
{
	struct plx_thread *t = plx_thread_create("t"), *prev = plx_thread_enter(t);
	struct plx_poller *p;
	int runs = 0;

	cr_expect_eq(plx_thread_may_sleep(t, 20), 20);
	p = plx_poller_create(poll_count, &runs, 3000);
	for (int i = 1; i <= 3; i++) {
		int ms = plx_thread_may_sleep(t, 20);

		cr_expect(ms >= 1 && ms <= 4, "%d", ms);
		usleep((useconds_t)ms * 1000);
		cr_expect_eq(plx_thread_may_sleep(t, 20), 0);
		plx_thread_poll(t);
		cr_expect_eq(runs, i);
	}
	plx_poller_destroy(p);
	plx_thread_enter(prev);
	plx_thread_destroy(t);
}

Test(timed, one_that_destroys_itself_ran_once)
{
	struct plx_thread *t = plx_thread_create("t");
	struct ticker once = { 0 }, other = { .shortest = UINT64_MAX };
	double deadline = seconds() + 30;

	plx_thread_enter(t);
	once.self = plx_poller_create(tick_once, &once, 100);
	other.self = plx_poller_create(tick, &other, 100);
	while (other.calls < 5 && seconds() < deadline)
		plx_thread_poll(t);
	cr_assert_eq(once.calls, 1);
	cr_assert_geq(other.calls, 5);
	plx_poller_destroy(other.self);
	plx_thread_destroy(t);
}

Test(timed, a_period_beyond_all_time_is_never_due)
{
	struct plx_thread *t = plx_thread_create("t");
	/* in ticks: more than 64 bits hold, or just not more */
	uint64_t just = (uint64_t)((unsigned __int128)UINT64_MAX * 1000000 / plx_tsc_hz());
	uint64_t periods[] = { UINT64_MAX, UINT64_MAX / 2, just, just - 1, just / 2 + 1 };
	struct plx_poller *p[PLX_ARRAY_SIZE(periods)];
	struct ticker k = { 0 };

	plx_thread_enter(t);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(periods); i++)
		p[i] = plx_poller_create(tick, &k, periods[i]);
	for (int i = 0; i < 1000; i++)
		plx_thread_poll(t);
	cr_assert_eq(k.calls, 0);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(periods); i++)
		plx_poller_destroy(p[i]);
	plx_thread_destroy(t);
}

Test(timed, runs_while_every_turn_is_busy)
{
	struct plx_thread *t = plx_thread_create("t");
	struct ticker k = { .shortest = UINT64_MAX };
	struct plx_poller *p;
	double deadline = seconds() + 30;
	int busy = 1;

	plx_thread_enter(t);
	p = plx_poller_create(keep_busy, &busy, 0);
	k.self = plx_poller_create(tick, &k, 200);
	while (k.calls < 3 && seconds() < deadline)
		plx_thread_poll(t);
	cr_assert_geq(k.calls, 3);
	plx_poller_destroy(k.self);
	plx_poller_destroy(p);
	plx_thread_destroy(t);
}

/* ---- reactors ---- */

static void note_cpu(void *arg)
{
	cpu_set_t set;
	int *cpu = arg;

	pthread_getaffinity_np(pthread_self(), sizeof(set), &set);
	*cpu = CPU_COUNT(&set) == 1 && CPU_ISSET(sched_getcpu(), &set) ? sched_getcpu() : -1;
}

Test(reactor, runs_messages_on_its_cpu_until_stopped)
{
	unsigned cpu = first_cpu();
	struct plx_reactor *r = plx_reactor_start(cpu, "r0");
	int seen = -1;

	cr_assert_not_null(r);
	cr_assert_eq(plx_reactor_cpu(r), cpu);
	cr_assert_str_eq(plx_thread_name(plx_reactor_thread(r)), "r0");
	plx_thread_call(plx_reactor_thread(r), note_cpu, &seen, false);
	cr_assert_eq(seen, (int)cpu);
	plx_reactor_stop(r);
}

Test(reactor, stop_finishes_the_inbox)
{
	struct plx_reactor *r = plx_reactor_start(first_cpu(), "r");

	for (int i = 0; i < 3000; i++)
		cr_assert_eq(plx_thread_send(plx_reactor_thread(r), log_arg, NULL), 0);
	plx_reactor_stop(r);
	cr_assert_eq(n_logged, 3000);
	plx_reactor_stop(NULL);
}

Test(reactor, a_cpu_that_is_not_there_is_refused)
{
	errno = 0;
	cr_assert_null(plx_reactor_start(PLX_MAX_CPUS - 1, "r"));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(plx_reactor_start(UINT32_MAX, "r"));
	cr_assert_eq(errno, EINVAL);
}

static void note_mask(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, arg);
}

Test(reactor, leaves_signals_to_the_main_thread)
{
	struct plx_reactor *r = plx_reactor_start(first_cpu(), "r");
	sigset_t in_reactor, here;

	plx_thread_call(plx_reactor_thread(r), note_mask, &in_reactor, false);
	pthread_sigmask(SIG_SETMASK, NULL, &here);
	cr_assert(sigismember(&in_reactor, SIGINT));
	cr_assert_not(sigismember(&in_reactor, SIGBUS));
	cr_assert_not(sigismember(&here, SIGINT));
	plx_reactor_stop(r);
}

/* ---- calls ---- */

struct calling {
	struct plx_thread *here, *there;
	pthread_t ran_on;
	struct plx_thread *ran_in;
	unsigned calls, pollers_ran, depth, deepest;
};

static void note_where(void *arg)
{
	struct calling *c = arg;

	c->ran_on = pthread_self();
	c->ran_in = plx_thread_current();
	c->calls++;
}

Test(call, runs_in_the_other_thread)
{
	struct plx_reactor *r = plx_reactor_start(first_cpu(), "r");
	struct calling c = { 0 };

	plx_thread_call(plx_reactor_thread(r), note_where, &c, false);
	cr_assert_eq(c.calls, 1);
	cr_assert_eq(c.ran_in, plx_reactor_thread(r));
	cr_assert_not(pthread_equal(c.ran_on, pthread_self()));
	plx_reactor_stop(r);
}

Test(call, runs_at_once_in_a_thread_that_nobody_else_runs)
{
	struct plx_thread *t = plx_thread_create("t");
	struct calling c = { 0 };

	plx_thread_call(t, note_where, &c, true);
	cr_assert_eq(c.calls, 1);
	cr_assert_eq(c.ran_in, t);
	cr_assert_null(plx_thread_current());
	plx_thread_enter(t);
	plx_thread_call(t, note_where, &c, false);
	cr_assert_eq(c.calls, 2);
	plx_thread_destroy(t);
}

static void call_back(void *arg)
{
	struct calling *c = arg;

	plx_thread_call(c->here, note_where, c, false);
}

Test(call, two_threads_may_call_each_other)
{
	struct plx_reactor *r = plx_reactor_start(first_cpu(), "r");
	struct plx_thread *t = plx_thread_create("t");
	struct calling c = { .here = t, .there = plx_reactor_thread(r) };

	plx_thread_enter(t);
	plx_thread_call(c.there, call_back, &c, false);
	cr_assert_eq(c.calls, 1);
	cr_assert_eq(c.ran_in, t);
	cr_assert(pthread_equal(c.ran_on, pthread_self()));
	plx_reactor_stop(r);
	plx_thread_destroy(t);
}

static int call_from_poller(void *arg)
{
	struct calling *c = arg;

	if (++c->depth > c->deepest)
		c->deepest = c->depth;
	plx_thread_call(c->there, note_where, c, false);
	c->depth--;
	return 1;
}

Test(call, a_poller_that_waits_is_not_entered_again_while_others_run)
{
	struct plx_reactor *r = plx_reactor_start(first_cpu(), "r");
	struct plx_thread *t = plx_thread_create("t");
	struct calling c = { .there = plx_reactor_thread(r) };
	struct plx_poller *p, *q;
	unsigned others = 0, turns = 0;

	plx_thread_enter(t);
	p = plx_poller_create(call_from_poller, &c, 0);
	q = plx_poller_create(count_call, &others, 0);
	for (turns = 0; turns < 50; turns++)
		plx_thread_poll(t);
	cr_assert_eq(c.deepest, 1);
	cr_assert_eq(c.calls, 50);
	cr_assert_geq(others, 50);
	plx_poller_destroy(p);
	plx_poller_destroy(q);
	plx_thread_destroy(t);
	plx_reactor_stop(r);
}

static void call_then_log(void *arg)
{
	struct calling *c = arg;

	plx_thread_call(c->there, note_where, c, false);
	log_arg((void *)(intptr_t)1);
}

Test(call, messages_keep_their_order_while_one_of_them_waits)
{
	struct plx_reactor *r = plx_reactor_start(first_cpu(), "r");
	struct plx_thread *t = plx_thread_create("t");
	struct calling c = { .there = plx_reactor_thread(r) };

	plx_thread_send(t, log_arg, (void *)0);
	plx_thread_send(t, call_then_log, &c);
	for (int i = 2; i < 100; i++)
		plx_thread_send(t, log_arg, (void *)(intptr_t)i);
	for (int i = 0; i < 10; i++)
		plx_thread_poll(t);
	cr_assert_eq(n_logged, 100);
	/* message 1 waited; those behind it ran meanwhile, in their order */
	for (int i = 0, expect = 0; i < n_logged; i++) {
		if (log_of[i] == 1)
			continue;
		cr_assert_eq(log_of[i], expect);
		expect += expect == 0 ? 2 : 1;
	}
	plx_reactor_stop(r);
	plx_thread_destroy(t);
}

/* ---- what statistics ask for ---- */

static int poll_idle(void *arg)
{
	return 0;
}

static int poll_busy(void *arg)
{
	return 1;
}

static void note_poller(const struct plx_poller_info *info, void *arg)
{
	struct plx_poller_info *seen = arg;

	seen[info->period_tsc != 0] = *info;
}

Test(thread, pollers_tell_who_they_are_and_how_often_they_ran)
{
	struct plx_thread *t = plx_thread_create("t"), *other = plx_thread_create("o");
	struct plx_thread *before = plx_thread_enter(t);
	struct plx_poller *every = plx_poller_create(poll_idle, NULL, 0);
	struct plx_poller *timed = plx_poller_create(poll_busy, NULL, 1);
	struct plx_poller_info seen[2] = { { 0 } };

	cr_assert_neq(plx_thread_id(t), plx_thread_id(other));
	for (int i = 0; i < 1000; i++)
		plx_thread_poll(t);
	plx_thread_each_poller(t, note_poller, seen);
	cr_assert_str_eq(seen[0].name, "poll_idle");
	cr_assert_eq(seen[0].runs, 1000);
	cr_assert_str_eq(seen[1].name, "poll_busy");
	cr_assert_gt(seen[1].runs, 0);
	cr_assert_eq(seen[1].busy, seen[1].runs);
	cr_assert_neq(seen[0].id, seen[1].id);
	plx_poller_destroy(every);
	plx_poller_destroy(timed);
	plx_thread_enter(before);
	plx_thread_destroy(t);
	plx_thread_destroy(other);
}
