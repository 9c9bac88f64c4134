/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/device.c - the tools' embedded device: bdevs, a subsystem, controllers in this
 * process
 *
 * From below: malloc or null, a delay bdev where there is latency, an error bdev where there are
 * rules, one stack per namespace. Torn down in reverse.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "core/text.h"
#include "targets/nvmf/device_spec.h"
#include "targets/nvmf/nvmf_internal.h"

#define NQN_PREFIX     "nqn.2026-01.io.pollux:"
#define DEVICE_LAYERS  3
#define VANISH_LOOK_US 1000

/* The layers of one namespace, lowest first; "" where there is none */
struct device_stack {
	char bdev[DEVICE_LAYERS][PLX_BDEV_NAME_MAX];
	unsigned n;
};

/* A controller of the device. @poller belongs to its thread */
struct device_ctrlr {
	struct plx_nvmf_virtual *v;
	struct plx_thread *thread;
	bool inlined; /* created by the owner of @thread, which alone runs it */
	struct plx_poller *poller;
	uint64_t vanish_tsc;
	bool looked_after; /* @poller came to be: it is NULL again once it has done its work */
	char *name;
	struct device_ctrlr *next;
};

struct plx_nvmf_device {
	struct device_spec spec;
	struct device_stack *stacks; /* [spec.namespaces] */
	uint32_t nstacks; /* made so far */
	struct plx_nvmf_subsystem *subsystem;
	struct device_ctrlr *ctrlrs; /* latest first */
};

/* ---- bdevs ---- */

static int fail(int rc, char *err, size_t errlen, const char *what, const char *remedy)
{
	if (errlen)
		snprintf(err, errlen, "%s: %s%s%s", what, strerror(-rc), remedy[0] ? ": " : "",
			 remedy);
	return rc;
}

static int stack_base(const struct device_spec *s, const char *name, char *err, size_t errlen)
{
	struct plx_bdev_geometry g = {
		.blocks = s->size / s->block,
		.block_size = s->block,
		.md_size = s->md,
		.md_interleaved = s->extended,
		.dif = (enum plx_bdev_dif)s->pi,
		.numa = PLX_NUMA_ANY,
		.populate = !s->lazy,
	};
	int rc = s->null ? plx_bdev_null_create(name, &g, NULL)
			 : plx_bdev_malloc_create(name, &g, NULL);

	return rc ? fail(rc, err, errlen, name,
			 s->null ? "" : "use a smaller size=, fewer namespaces=, or bdev=null")
		  : 0;
}

static int stack_rules(const struct device_spec *s, const char *name, char *err, size_t errlen)
{
	for (uint32_t i = 0; i < s->nrules; i++) {
		int rc = plx_bdev_error_inject(name, &s->rules[i]);

		if (rc)
			return fail(rc, err, errlen, name, "leave out error=");
	}
	return 0;
}

/* Seeds differ by namespace, or all of them would stall in step */
static int stack_create(struct device_stack *st, const struct device_spec *s, const char *name,
			uint32_t nsid, char *err, size_t errlen)
{
	uint64_t seed = s->seed + (uint64_t)(nsid - 1) * 0x9e3779b97f4a7c15ull;
	const char *top;
	int rc;

	snprintf(st->bdev[0], sizeof st->bdev[0], "%s_n%u", name, nsid);
	rc = stack_base(s, st->bdev[0], err, errlen);
	if (rc)
		return rc;
	top = st->bdev[st->n++];
	if (s->delayed) {
		snprintf(st->bdev[st->n], sizeof st->bdev[0], "%s_n%u_delay", name, nsid);
		rc = plx_bdev_delay_create(st->bdev[st->n], top, &s->read, &s->write, seed, NULL,
					   NULL);
		if (rc)
			return fail(rc, err, errlen, st->bdev[st->n],
				    "leave out latency= and stall=");
		top = st->bdev[st->n++];
	}
	if (s->nrules) {
		snprintf(st->bdev[st->n], sizeof st->bdev[0], "%s_n%u_error", name, nsid);
		rc = plx_bdev_error_create(st->bdev[st->n], top, seed, NULL, NULL);
		if (rc)
			return fail(rc, err, errlen, st->bdev[st->n], "leave out error=");
		top = st->bdev[st->n++];
		rc = stack_rules(s, top, err, errlen);
	}
	return rc;
}

static void stack_destroy(struct device_stack *st)
{
	while (st->n) {
		const char *name = st->bdev[--st->n];
		int rc = plx_bdev_delete(name);

		if (rc)
			nvmf_log(ERR, "bdev %s cannot be deleted: %s", name, strerror(-rc));
	}
}

/* ---- controllers ---- */

static int vanish_look(void *arg)
{
	struct device_ctrlr *dc = arg;

	if (plx_tsc() < dc->vanish_tsc)
		return 0;
	plx_nvmf_virtual_vanish(dc->v);
	plx_poller_destroy(dc->poller);
	dc->poller = NULL;
	return 1;
}

static void vanish_start(void *arg)
{
	struct device_ctrlr *dc = arg;

	dc->poller = plx_poller_create(vanish_look, dc, VANISH_LOOK_US);
	dc->looked_after = dc->poller != NULL;
}

static void vanish_stop(void *arg)
{
	struct device_ctrlr *dc = arg;

	plx_poller_destroy(dc->poller);
}

static void ctrlr_destroy(struct device_ctrlr *dc)
{
	if (dc->vanish_tsc)
		plx_thread_call(dc->thread, vanish_stop, dc, dc->inlined);
	plx_nvmf_virtual_destroy(dc->v);
	free(dc->name);
	free(dc);
}

int plx_nvmf_device_add_controller(struct plx_nvmf_device *d, const char *name,
				   struct plx_thread *thread, char *err, size_t errlen)
{
	const struct device_spec *s = &d->spec;
	struct plx_nvmf_virtual_opts o = {
		.name = name,
		.subsystem = d->subsystem,
		.thread = thread,
		.max_io_queues = s->queues,
		.max_queue_size = s->queue_size,
		.mdts = s->mdts,
	};
	struct device_ctrlr *dc = calloc(1, sizeof *dc);

	if (!dc)
		return fail(-ENOMEM, err, errlen, name, "");
	dc->thread = thread;
	dc->inlined = plx_thread_current() == thread;
	dc->name = strdup(name);
	dc->v = dc->name ? plx_nvmf_virtual_create(&o) : NULL;
	if (!dc->v) {
		int rc = -errno;

		free(dc->name);
		free(dc);
		return fail(rc, err, errlen, name,
			    rc == -EEXIST   ? "take another name"
			    : rc == -ENOMEM ? "use fewer queues= or more memory"
					    : "");
	}
	if (s->vanish_ns) {
		dc->vanish_tsc = plx_tsc() + (uint64_t)((unsigned __int128)s->vanish_ns *
							plx_tsc_hz() / PLX_NS_PER_S);
		plx_thread_call(thread, vanish_start, dc, dc->inlined);
		if (!dc->looked_after) {
			ctrlr_destroy(dc);
			return fail(-ENOMEM, err, errlen, name, "");
		}
	}
	dc->next = d->ctrlrs;
	d->ctrlrs = dc;
	return 0;
}

int plx_nvmf_device_remove_controller(struct plx_nvmf_device *d, const char *name)
{
	struct device_ctrlr **at = &d->ctrlrs, *dc;

	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	dc = *at;
	if (!dc)
		return -ENOENT;
	*at = dc->next;
	ctrlr_destroy(dc);
	return 0;
}

/* ---- the device ---- */

static int device_subsystem(struct plx_nvmf_device *d, const char *name, char *err, size_t errlen)
{
	char nqn[sizeof(NQN_PREFIX) + PLX_BDEV_NAME_MAX];
	struct plx_nvmf_subsystem_opts o = { .nqn = nqn, .max_namespaces = d->spec.namespaces };

	snprintf(nqn, sizeof nqn, NQN_PREFIX "%s", name);
	d->subsystem = plx_nvmf_subsystem_create(&o);
	if (!d->subsystem)
		return fail(-errno, err, errlen, nqn,
			    errno == EEXIST ? "take another name"
					    : "take a name of up to 190 printable characters");
	return 0;
}

static int device_namespaces(struct plx_nvmf_device *d, const char *name, char *err, size_t errlen)
{
	for (uint32_t i = 0; i < d->spec.namespaces; i++) {
		struct device_stack *st = &d->stacks[i];
		int rc;

		d->nstacks = i + 1;
		rc = stack_create(st, &d->spec, name, i + 1, err, errlen);
		if (rc)
			return rc;
		rc = plx_nvmf_subsystem_add_ns(d->subsystem, st->bdev[st->n - 1], i + 1);
		if (rc < 0)
			return fail(rc, err, errlen, st->bdev[st->n - 1], "cannot be a namespace");
	}
	return 0;
}

int plx_nvmf_device_create(const char *spec, const char *name, struct plx_thread *thread,
			   struct plx_nvmf_device **out, char *err, size_t errlen)
{
	struct plx_nvmf_device *d = calloc(1, sizeof *d);
	int rc;

	if (!d)
		return fail(-ENOMEM, err, errlen, name, "");
	rc = device_spec_parse(spec, &d->spec, err, errlen);
	if (rc)
		goto out;
	d->stacks = calloc(d->spec.namespaces, sizeof *d->stacks);
	rc = d->stacks ? device_subsystem(d, name, err, errlen)
		       : fail(-ENOMEM, err, errlen, name, "");
	if (!rc)
		rc = device_namespaces(d, name, err, errlen);
	if (!rc)
		rc = plx_nvmf_device_add_controller(d, name, thread, err, errlen);
out:
	if (rc)
		plx_nvmf_device_destroy(d);
	else
		*out = d;
	return rc;
}

/* What one controller has in flight may come back only with the help of another's thread: the
 * first is destroyed when all are at rest */
static void ctrlrs_stop(struct plx_nvmf_device *d)
{
	bool busy = true;

	for (struct device_ctrlr *dc = d->ctrlrs; dc; dc = dc->next)
		nvmf_virtual_stop(dc->v);
	while (busy) {
		busy = false;
		for (struct device_ctrlr *dc = d->ctrlrs; dc; dc = dc->next)
			busy |= !nvmf_virtual_stopped(dc->v);
	}
}

void plx_nvmf_device_destroy(struct plx_nvmf_device *d)
{
	if (!d)
		return;
	ctrlrs_stop(d);
	while (d->ctrlrs) {
		struct device_ctrlr *dc = d->ctrlrs;

		d->ctrlrs = dc->next;
		ctrlr_destroy(dc);
	}
	if (d->subsystem)
		plx_nvmf_subsystem_destroy(d->subsystem);
	while (d->nstacks)
		stack_destroy(&d->stacks[--d->nstacks]);
	free(d->stacks);
	free(d);
}

int plx_nvmf_device_ready(const struct plx_nvmf_device *d)
{
	int rc = 0;

	/* one that has failed is what is told, whatever the others are about */
	for (uint32_t i = 0; i < d->nstacks && (!rc || rc == -EAGAIN); i++) {
		const struct device_stack *st = &d->stacks[i];
		const struct plx_bdev *b = plx_bdev_by_name(st->bdev[st->n - 1]);
		int one = b ? plx_bdev_ready(b) : 0;

		rc = one ? one : rc;
	}
	return rc;
}

void plx_nvmf_device_injected(const struct plx_nvmf_device *d, uint64_t counts[4])
{
	memset(counts, 0, 4 * sizeof counts[0]);
	for (uint32_t i = 0; d->spec.nrules && i < d->nstacks; i++) {
		const struct device_stack *st = &d->stacks[i];
		uint64_t n[4];

		if (plx_bdev_error_injected(st->bdev[st->n - 1], n))
			continue;
		for (unsigned k = 0; k < 4; k++)
			counts[k] += n[k];
	}
}

bool plx_nvmf_device_spec_inline(const char *spec)
{
	struct device_spec s;

	return !device_spec_parse(spec, &s, NULL, 0) && s.is_inline;
}

int plx_nvmf_device_spec_core(const char *spec)
{
	struct device_spec s;

	return device_spec_parse(spec, &s, NULL, 0) ? -1 : s.core;
}

uint32_t plx_nvmf_device_spec_namespaces(const char *spec)
{
	struct device_spec s;

	return device_spec_parse(spec, &s, NULL, 0) ? 1 : s.namespaces;
}
