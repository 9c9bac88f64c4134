/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/tgt/rpc_thread.c - RPC methods of reactors and threads: what they do with their time
 */
#include "bdev/bdev_internal.h"
#include "core/rpc_util.h"
#include "targets/tgt/app.h"
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- threads: the main one, and one for each reactor ---- */

static unsigned thread_count(void)
{
	return tgt_app.n_reactors + 1;
}

static struct plx_thread *thread_at(unsigned i)
{
	return i ? plx_reactor_thread(tgt_app.reactors[i - 1]) : tgt_app.thread;
}

static void thread_cores(unsigned i, struct plx_cpuset *out)
{
	*out = (struct plx_cpuset){ { 0 } };
	if (i)
		plx_cpuset_add(out, plx_reactor_cpu(tgt_app.reactors[i - 1]));
	else
		plx_topo_allowed(out);
}

/* In hexadecimal, without "0x", as clients expect it */
static json_t *mask_json(const struct plx_cpuset *s)
{
	char text[PLX_MAX_CPUS / 4 + 1];
	size_t n = 0;

	for (int word = PLX_MAX_CPUS / 64 - 1; word >= 0; word--) {
		if (n)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%016llx",
					      (unsigned long long)s->bits[word]);
		else if (s->bits[word])
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%llx",
					      (unsigned long long)s->bits[word]);
	}
	return json_stringn(text, n);
}

static json_t *frame(const char *key, json_t *list)
{
	json_t *o = json_object();

	json_object_set_new(o, "tick_rate", rpc_u64(plx_tsc_hz()));
	json_object_set_new(o, key, list);
	return o;
}

static json_t *thread_head(unsigned i)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(plx_thread_name(thread_at(i))));
	json_object_set_new(o, "id", rpc_u64(plx_thread_id(thread_at(i))));
	return o;
}

static json_t *get_reactors(struct plx_rpc_call *call, const json_t *params)
{
	json_t *list = json_array(), *result;
	struct plx_thread_stats s;
	struct plx_cpuset cores;

	for (unsigned i = 0; i < tgt_app.n_reactors; i++) {
		json_t *o = json_object(), *t = thread_head(i + 1);

		plx_thread_get_stats(thread_at(i + 1), &s);
		thread_cores(i + 1, &cores);
		json_object_set_new(t, "cpumask", mask_json(&cores));
		json_object_set_new(t, "elapsed", rpc_u64(s.busy_tsc + s.idle_tsc));
		json_object_set_new(o, "lcore", json_integer(plx_reactor_cpu(tgt_app.reactors[i])));
		json_object_set_new(o, "tid", json_integer(plx_reactor_tid(tgt_app.reactors[i])));
		json_object_set_new(o, "busy", rpc_u64(s.busy_tsc));
		json_object_set_new(o, "idle", rpc_u64(s.idle_tsc));
		json_object_set_new(o, "in_interrupt", json_false());
		json_object_set_new(o, "lw_threads", json_pack("[o]", t));
		json_array_append_new(list, o);
	}
	result = frame("reactors", list);
	json_object_set_new(result, "pid", json_integer(getpid()));
	return result;
}

/* ---- what is only seen from within a thread ---- */

struct question {
	struct plx_thread *thread;
	json_t *active, *timed;
};

static void add_poller(const struct plx_poller_info *p, void *arg)
{
	struct question *q = arg;
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(p->name));
	json_object_set_new(o, "id", rpc_u64(p->id));
	json_object_set_new(o, "state", json_string("waiting"));
	json_object_set_new(o, "run_count", rpc_u64(p->runs));
	if (p->period_tsc) {
		json_object_set_new(o, "busy_count", rpc_u64(p->busy));
		json_object_set_new(o, "period_ticks", rpc_u64(p->period_tsc));
	}
	json_array_append_new(p->period_tsc ? q->timed : q->active, o);
}

static void ask(void *arg)
{
	struct question *q = arg;

	plx_thread_each_poller(q->thread, add_poller, q);
}

static struct question pollers_of(unsigned i)
{
	struct question q = { .thread = thread_at(i),
			      .active = json_array(),
			      .timed = json_array() };

	plx_thread_call(q.thread, ask, &q, false);
	return q;
}

static json_t *get_stats(struct plx_rpc_call *call, const json_t *params)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < thread_count(); i++) {
		struct question q = pollers_of(i);
		json_t *o = thread_head(i);
		struct plx_thread_stats s;
		struct plx_cpuset cores;

		plx_thread_get_stats(q.thread, &s);
		thread_cores(i, &cores);
		json_object_set_new(o, "cpumask", mask_json(&cores));
		json_object_set_new(o, "busy", rpc_u64(s.busy_tsc));
		json_object_set_new(o, "idle", rpc_u64(s.idle_tsc));
		json_object_set_new(o, "in_interrupt", json_false());
		json_object_set_new(o, "active_pollers_count", rpc_u64(json_array_size(q.active)));
		json_object_set_new(o, "timed_pollers_count", rpc_u64(json_array_size(q.timed)));
		json_object_set_new(o, "paused_pollers_count", json_integer(0));
		json_decref(q.active);
		json_decref(q.timed);
		json_array_append_new(list, o);
	}
	return frame("threads", list);
}

static json_t *get_pollers(struct plx_rpc_call *call, const json_t *params)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < thread_count(); i++) {
		struct question q = pollers_of(i);
		json_t *o = thread_head(i);

		json_object_set_new(o, "active_pollers", q.active);
		json_object_set_new(o, "timed_pollers", q.timed);
		json_object_set_new(o, "paused_pollers", json_array());
		json_array_append_new(list, o);
	}
	return frame("threads", list);
}

static json_t *io_channels_of(const struct plx_thread *t)
{
	json_t *list = json_array();
	const struct plx_bdev_channel *ch;

	for (struct plx_bdev *b = plx_bdev_first(); b; b = plx_bdev_next(b)) {
		bdev_lock();
		TAILQ_FOREACH(ch, &b->internal->channels, link)
		{
			if (ch->thread == t && ch->refs)
				json_array_append_new(list, json_pack("{s:s, s:i}", "name", b->name,
								      "ref", ch->refs));
		}
		bdev_unlock();
	}
	return list;
}

static json_t *get_io_channels(struct plx_rpc_call *call, const json_t *params)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < thread_count(); i++) {
		json_t *o = thread_head(i);

		json_object_set_new(o, "io_channels", io_channels_of(thread_at(i)));
		json_array_append_new(list, o);
	}
	return frame("threads", list);
}

static json_t *set_cpumask(struct plx_rpc_call *call, const json_t *params)
{
	struct plx_cpuset wanted, cores;
	uint64_t id = rpc_int(params, "id");
	char why[160];
	unsigned i = 0;

	if (plx_cpuset_parse(rpc_str(params, "cpumask"), &wanted, why, sizeof(why)))
		return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS, "cpumask: %s", why);
	while (i < thread_count() && plx_thread_id(thread_at(i)) != id)
		i++;
	if (i == thread_count())
		return plx_rpc_fail(call, -ENOENT,
				    "id: there is no thread %llu: thread_get_stats lists them",
				    (unsigned long long)id);
	thread_cores(i, &cores);
	/* each stays on its core, so a mask with that core in it is obeyed already */
	for (int c = -1; (c = plx_cpuset_next(&cores, c)) >= 0;)
		if (plx_cpuset_has(&wanted, (unsigned)c))
			return json_true();
	return plx_rpc_fail(call, PLX_RPC_INVALID_PARAMS,
			    "cpumask: threads do not move, and thread %llu runs on core %d: start "
			    "the program with another -m",
			    (unsigned long long)id, plx_cpuset_next(&cores, -1));
}

/* ---- context switches ---- */

#define SWITCH_LOOK_US 1000000

static struct {
	bool enabled;
	struct watch {
		struct plx_poller *poller;
		long voluntary, involuntary;
	} watch[PLX_MAX_CPUS]; /* by reactor; its thread's */
} switches;

static int watch_look(void *arg)
{
	struct watch *w = arg;
	struct rusage u;

	if (getrusage(RUSAGE_THREAD, &u))
		return 0;
	if (u.ru_nvcsw != w->voluntary || u.ru_nivcsw != w->involuntary)
		plx_log(PLX_LOG_INFO, "tgt",
			"%s: %ld voluntary and %ld involuntary context switches",
			plx_thread_name(plx_thread_current()), u.ru_nvcsw - w->voluntary,
			u.ru_nivcsw - w->involuntary);
	w->voluntary = u.ru_nvcsw;
	w->involuntary = u.ru_nivcsw;
	return 0;
}

static void watch_start(void *arg)
{
	struct watch *w = arg;
	struct rusage u;

	if (!getrusage(RUSAGE_THREAD, &u)) {
		w->voluntary = u.ru_nvcsw;
		w->involuntary = u.ru_nivcsw;
	}
	w->poller = plx_poller_create(watch_look, w, SWITCH_LOOK_US);
}

static void watch_stop(void *arg)
{
	struct watch *w = arg;

	plx_poller_destroy(w->poller);
	w->poller = NULL;
}

static void watch_all(bool on)
{
	for (unsigned i = 0; i < tgt_app.n_reactors && on != switches.enabled; i++)
		plx_thread_call(plx_reactor_thread(tgt_app.reactors[i]),
				on ? watch_start : watch_stop, &switches.watch[i], false);
	switches.enabled = on;
}

static json_t *monitor_context_switch(struct plx_rpc_call *call, const json_t *params)
{
	if (rpc_has(params, "enabled"))
		watch_all(rpc_bool(params, "enabled"));
	return json_pack("{s:b}", "enabled", switches.enabled);
}

void tgt_threads_unwatch(void)
{
	watch_all(false);
}

/* ---- the table ---- */

static const struct plx_rpc_param cpumask_params[] = {
	{ "id", PLX_RPC_INT, .required = true, .help = "of the thread, as in thread_get_stats" },
	{ "cpumask", PLX_RPC_STRING, .required = true,
	  .help = "cores it may run on, as 0x3 or [0,1]" },
	{ 0 },
};

static const struct plx_rpc_param monitor_params[] = {
	{ "enabled", PLX_RPC_BOOL,
	  .help = "whether the log tells, at level INFO, of context switches of the reactors; "
		  "without it nothing changes" },
	{ 0 },
};

static struct plx_rpc_method methods[] = {
	{ "framework_get_reactors", "Lists the cores that do I/O, and how busy they have been.",
	  get_reactors, PLX_RPC_ANY_TIME, NULL, "framework" },
	{ "framework_monitor_context_switch",
	  "Turns on and off, and tells, whether context switches of the reactors are logged.",
	  monitor_context_switch, PLX_RPC_ANY_TIME, monitor_params, "framework" },
	{ "thread_get_stats", "Lists the threads, and how busy they have been, in ticks.",
	  get_stats, PLX_RPC_ANY_TIME, NULL, "thread" },
	{ "thread_get_pollers",
	  "Lists the pollers of each thread. How often one of every turn was busy is not counted.",
	  get_pollers, PLX_RPC_ANY_TIME, NULL, "thread" },
	{ "thread_get_io_channels", "Lists the block device channels of each thread.",
	  get_io_channels, PLX_RPC_ANY_TIME, NULL, "thread" },
	{ "thread_set_cpumask",
	  "Restricts a thread to cores. Threads stay where they are, so the mask has to include "
	  "that.",
	  set_cpumask, PLX_RPC_ANY_TIME, cpumask_params, "thread" },
};
PLX_RPC_TABLE(methods)
