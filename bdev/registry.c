/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev/registry.c - which devices there are: register, open, close, events, removal
 *
 * A device is destroyed when it is unregistered, its last descriptor is closed and nothing holds it
 * (channels, walks, exclusive access).
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bdev/bdev_internal.h"
#include "core/text.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t event_done = PTHREAD_COND_INITIALIZER;
static TAILQ_HEAD(, plx_bdev_internal) devices = TAILQ_HEAD_INITIALIZER(devices);

void bdev_lock(void)
{
	pthread_mutex_lock(&mutex);
}

void bdev_unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

void bdev_send(struct plx_thread *t, plx_msg_fn fn, void *arg)
{
	while (plx_thread_send(t, fn, arg) == -ENOSPC) {
		if (t == plx_thread_current()) {
			fn(arg);
			return;
		}
		sched_yield();
	}
}

/* ---- look-up ---- */

struct plx_bdev *bdev_lookup(const char *name)
{
	struct plx_bdev_internal *in;

	TAILQ_FOREACH(in, &devices, link)
	if (!strcmp(in->bdev->name, name) || (in->bdev->alias[0] && !strcmp(in->bdev->alias, name)))
		return in->bdev;
	return NULL;
}

struct plx_bdev *plx_bdev_by_name(const char *name)
{
	struct plx_bdev *b;

	bdev_lock();
	b = bdev_lookup(name);
	bdev_unlock();
	return b;
}

struct plx_bdev *plx_bdev_first(void)
{
	struct plx_bdev_internal *in;

	bdev_lock();
	in = TAILQ_FIRST(&devices);
	bdev_unlock();
	return in ? in->bdev : NULL;
}

struct plx_bdev *plx_bdev_next(struct plx_bdev *b)
{
	struct plx_bdev_internal *in;

	bdev_lock();
	in = TAILQ_NEXT(b->internal, link);
	bdev_unlock();
	return in ? in->bdev : NULL;
}

int plx_bdev_ready(const struct plx_bdev *b)
{
	return b->ops->ready ? b->ops->ready(b->ctx) : 0;
}

bool plx_bdev_supports(const struct plx_bdev *b, enum plx_bdev_io_type t)
{
	uint32_t native = b->internal->native;
	bool reads = native & 1u << PLX_BDEV_READ, writes = native & 1u << PLX_BDEV_WRITE;

	if ((unsigned)t >= PLX_BDEV_IO_TYPES)
		return false;
	if (native & 1u << t)
		return true;
	switch (t) {
	case PLX_BDEV_COMPARE:
	case PLX_BDEV_VERIFY:
		return reads;
	case PLX_BDEV_WRITE_ZEROES:
		return writes;
	case PLX_BDEV_COMPARE_AND_WRITE:
	case PLX_BDEV_COPY:
		return reads && writes;
	case PLX_BDEV_FLUSH:
		return !b->write_cache;
	case PLX_BDEV_RESET:
	case PLX_BDEV_ABORT:
		return true;
	default:
		return false;
	}
}

bool plx_bdev_claimed(const struct plx_bdev *b)
{
	const struct plx_bdev_desc *d;

	bdev_lock();
	TAILQ_FOREACH(d, &b->internal->descs, link)
	if (d->write)
		break;
	bdev_unlock();
	return d != NULL;
}

/* ---- registration ---- */

static bool pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

static bool geometry_ok(const struct plx_bdev *b)
{
	uint64_t whole = (uint64_t)b->block_size + b->md_size, bytes;

	return b->ops && b->ops->submit && b->ops->supports && b->name[0] &&
	       memchr(b->name, 0, sizeof(b->name)) && memchr(b->alias, 0, sizeof(b->alias)) &&
	       pow2(b->block_size) && b->block_size >= 512 && b->block_size <= 65536 &&
	       b->md_size <= 65536 && b->blocks &&
	       !__builtin_mul_overflow(b->blocks, whole, &bytes) && bytes <= INT64_MAX &&
	       (!b->align || (pow2(b->align) && b->align <= 65536)) &&
	       b->dif <= PLX_BDEV_DIF_TYPE3 && (b->md_size >= 8 || b->dif == PLX_BDEV_DIF_NONE) &&
	       (b->md_size || !b->md_interleaved);
}

/* FNV-1a over the name, spread over 122 bits; version 8, "made by the vendor's own rule" (RFC 9562
 * §5.8) */
static void uuid_from_name(uint8_t uuid[16], const char *name)
{
	uint64_t h[2] = { 0xcbf29ce484222325ull, 0x84222325cbf29ce4ull };

	for (; *name; name++)
		for (int i = 0; i < 2; i++)
			h[i] = (h[i] ^ (uint8_t)*name) * 0x100000001b3ull;
	for (int i = 0; i < 2; i++) {
		h[i] ^= h[i] >> 30;
		h[i] *= 0xbf58476d1ce4e5b9ull;
		h[i] ^= h[i] >> 27;
		h[i] *= 0x94d049bb133111ebull;
		h[i] ^= h[i] >> 31;
	}
	memcpy(uuid, h, 16);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

int plx_bdev_register(struct plx_bdev *b)
{
	static const uint8_t none[16];
	struct plx_bdev_internal *in;

	if (!geometry_ok(b))
		return -EINVAL;
	in = calloc(1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	in->bdev = b;
	TAILQ_INIT(&in->descs);
	TAILQ_INIT(&in->channels);
	STAILQ_INIT(&in->excl);
	for (int t = 0; t < PLX_BDEV_IO_TYPES; t++)
		if (b->ops->supports(b->ctx, (enum plx_bdev_io_type)t))
			in->native |= 1u << t;
	if (!memcmp(b->uuid, none, sizeof(none)))
		uuid_from_name(b->uuid, b->name);
	if (!b->alias[0])
		plx_format_uuid(b->uuid, b->alias);

	bdev_lock();
	if (bdev_lookup(b->name) || (b->alias[0] && bdev_lookup(b->alias))) {
		bdev_unlock();
		free(in);
		return -EEXIST;
	}
	b->internal = in;
	TAILQ_INSERT_TAIL(&devices, in, link);
	bdev_unlock();
	plx_log(PLX_LOG_DEBUG, "bdev", "%s: registered, %llu blocks of %u bytes", b->name,
		(unsigned long long)b->blocks, b->block_size);
	return 0;
}

static void unreg_call(void *arg)
{
	struct plx_bdev_internal *in = arg;

	if (in->unreg_cb)
		in->unreg_cb(in->unreg_arg, 0);
	free(in);
}

/* Nothing can reach the device any more: no name leads to it, no descriptor, no channel. */
static void destroy(struct plx_bdev_internal *in)
{
	struct plx_bdev *b = in->bdev;

	if (b->ops->destruct)
		b->ops->destruct(b->ctx);
	if (in->unreg_thread && in->unreg_thread != plx_thread_current())
		bdev_send(in->unreg_thread, unreg_call, in);
	else
		unreg_call(in);
}

static bool unused(const struct plx_bdev_internal *in)
{
	return in->removed && !in->holds && TAILQ_EMPTY(&in->descs);
}

void bdev_unhold(struct plx_bdev_internal *in)
{
	bool last;

	bdev_lock();
	in->holds--;
	last = unused(in);
	bdev_unlock();
	if (last)
		destroy(in);
}

/* ---- events ---- */

struct event {
	struct plx_bdev_desc *desc;
	enum plx_bdev_event what;
};

static void desc_free_locked(struct plx_bdev_desc *d)
{
	if (d->closed && !d->events && !d->calling)
		free(d);
}

static void event_call(struct plx_bdev_desc *d, enum plx_bdev_event what)
{
	bdev_lock();
	d->events--;
	if (!d->closed && d->cb) {
		d->calling++;
		d->caller = pthread_self();
		bdev_unlock();
		d->cb(what, d->bdev, d->arg);
		bdev_lock();
		d->calling--;
		pthread_cond_broadcast(&event_done);
	}
	desc_free_locked(d);
	bdev_unlock();
}

static void event_msg(void *arg)
{
	struct event ev = *(struct event *)arg;

	free(arg);
	event_call(ev.desc, ev.what);
}

/* @d->events has been counted. Owners outside of any thread are called here and now. */
static void event_send(struct plx_bdev_desc *d, enum plx_bdev_event what)
{
	struct event *ev;

	if (!d->thread) {
		event_call(d, what);
		return;
	}
	ev = malloc(sizeof(*ev));
	if (!ev) {
		plx_log(PLX_LOG_ERR, "bdev", "%s: no memory to tell an owner of an event",
			d->bdev->name);
		bdev_lock();
		d->events--;
		desc_free_locked(d);
		bdev_unlock();
		return;
	}
	*ev = (struct event){ .desc = d, .what = what };
	bdev_send(d->thread, event_msg, ev);
}

/* ---- removal ---- */

static void visit_remove(struct bdev_visit *v, struct plx_bdev_channel *ch)
{
	ch->removed = true;
	channel_refresh(ch);
}

static void visit_free(struct bdev_visit *v)
{
	free(v);
}

static struct plx_bdev_desc *next_to_tell(struct plx_bdev_internal *in)
{
	struct plx_bdev_desc *d;

	bdev_lock();
	TAILQ_FOREACH(d, &in->descs, link)
	if (!d->remove_sent)
		break;
	if (d) {
		d->remove_sent = true;
		d->events++;
	}
	bdev_unlock();
	return d;
}

/* Under the lock: takes the device out of sight, and holds it for unregister_rest(). */
static bool unregister_begin(struct plx_bdev_internal *in, void (*cb)(void *arg, int rc), void *arg)
{
	if (in->removed)
		return false;
	in->removed = true;
	in->holds++;
	in->unreg_cb = cb;
	in->unreg_arg = arg;
	in->unreg_thread = plx_thread_current();
	TAILQ_REMOVE(&devices, in, link);
	return true;
}

static void unregister_rest(struct plx_bdev_internal *in)
{
	struct bdev_visit *v = calloc(1, sizeof(*v));
	struct plx_bdev_desc *d;

	/* without memory for the walk, I/O goes on until the owners have closed */
	if (v) {
		v->fn = visit_remove;
		v->done = visit_free;
		bdev_visit(v, in);
	}
	while ((d = next_to_tell(in)))
		event_send(d, PLX_BDEV_EVENT_REMOVE);
	bdev_unhold(in);
}

void plx_bdev_unregister(struct plx_bdev *b, void (*cb)(void *arg, int rc), void *arg)
{
	struct plx_bdev_internal *in = b->internal;
	bool begun;

	bdev_lock();
	begun = unregister_begin(in, cb, arg);
	bdev_unlock();
	if (begun) {
		plx_log(PLX_LOG_DEBUG, "bdev", "%s: goes away", b->name);
		unregister_rest(in);
	} else if (cb) {
		cb(arg, -EALREADY);
	}
}

/* Shared by plx_bdev_delete() and the callback, which may come after it gave up waiting. */
struct delete_wait {
	int refs;
	int done;
};

static void delete_done(void *arg, int rc)
{
	struct delete_wait *w = arg;

	__atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
	if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(w);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int plx_bdev_delete(const char *name)
{
	struct delete_wait *w = malloc(sizeof(*w));
	uint64_t deadline = now_ms() + 1000;
	struct plx_bdev *b;
	int done;

	if (!w)
		return -ENOMEM;
	w->refs = 2;
	w->done = 0;
	bdev_lock();
	b = bdev_lookup(name);
	if (b)
		unregister_begin(b->internal, delete_done, w);
	bdev_unlock();
	if (!b) {
		free(w);
		return -ENODEV;
	}
	unregister_rest(b->internal);
	while (!(done = __atomic_load_n(&w->done, __ATOMIC_ACQUIRE)) && now_ms() < deadline)
		if (!plx_thread_current() || !plx_thread_poll(plx_thread_current()))
			sched_yield();
	if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(w);
	return done ? 0 : -EBUSY;
}

static struct bdev_module *modules;

void bdev_module_register(struct bdev_module *m)
{
	m->next = modules;
	modules = m;
}

const struct bdev_module *bdev_module_first(void)
{
	return modules;
}

int plx_bdev_delete_all(void)
{
	struct plx_bdev *b, *last;

	/* the last made first: what stands on another device goes before that */
	do {
		last = NULL;
		for (b = plx_bdev_first(); b; b = plx_bdev_next(b))
			last = b;
		if (last && plx_bdev_delete(last->name) == -EBUSY)
			return -EBUSY;
	} while (last);
	for (const struct bdev_module *m = modules; m; m = m->next)
		m->fini();
	return 0;
}

int plx_bdev_resize(struct plx_bdev *b, uint64_t blocks)
{
	struct plx_bdev_internal *in = b->internal;
	struct plx_bdev_desc *d, **tell = NULL;
	struct plx_bdev probe = *b;
	size_t n = 0;

	probe.blocks = blocks;
	if (!geometry_ok(&probe))
		return -EINVAL;
	bdev_lock();
	if (blocks < b->blocks && !TAILQ_EMPTY(&in->descs)) {
		bdev_unlock();
		return -EBUSY;
	}
	TAILQ_FOREACH(d, &in->descs, link)
	n++;
	if (n && !(tell = calloc(n, sizeof(*tell)))) {
		bdev_unlock();
		return -ENOMEM;
	}
	__atomic_store_n(&b->blocks, blocks, __ATOMIC_RELEASE);
	n = 0;
	TAILQ_FOREACH(d, &in->descs, link)
	{
		d->events++;
		tell[n++] = d;
	}
	bdev_unlock();
	for (size_t i = 0; i < n; i++)
		event_send(tell[i], PLX_BDEV_EVENT_RESIZE);
	free(tell);
	return 0;
}

/* ---- descriptors ---- */

int plx_bdev_open(const char *name, bool write, plx_bdev_event_cb cb, void *arg,
		  struct plx_bdev_desc **desc)
{
	struct plx_bdev_desc *d = calloc(1, sizeof(*d));
	struct plx_bdev *b;

	if (!d)
		return -ENOMEM;
	bdev_lock();
	b = bdev_lookup(name);
	if (!b) {
		bdev_unlock();
		free(d);
		return -ENODEV;
	}
	d->bdev = b;
	d->write = write;
	d->cb = cb;
	d->arg = arg;
	d->thread = plx_thread_current();
	TAILQ_INSERT_TAIL(&b->internal->descs, d, link);
	bdev_unlock();
	*desc = d;
	return 0;
}

void plx_bdev_close(struct plx_bdev_desc *d)
{
	struct plx_bdev_internal *in = d->bdev->internal;
	bool last;

	bdev_lock();
	d->closed = true;
	/* what the callback works with may be freed next; it may itself be the one that closes */
	while (d->calling && !pthread_equal(d->caller, pthread_self()))
		pthread_cond_wait(&event_done, &mutex);
	TAILQ_REMOVE(&in->descs, d, link);
	last = unused(in);
	desc_free_locked(d);
	bdev_unlock();
	if (last)
		destroy(in);
}

struct plx_bdev *plx_bdev_desc_bdev(const struct plx_bdev_desc *desc)
{
	return desc->bdev;
}

PLX_LOG_COMPONENT(bdev)
