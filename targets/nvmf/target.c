/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/target.c - the target of this process: threads that run controllers, listeners
 */
#include "targets/nvmf/target.h"
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_MAX_SUBSYSTEMS 1024u

struct nvmf_target nvmf_target = { .max_subsystems = DEFAULT_MAX_SUBSYSTEMS,
				   .listeners = TAILQ_HEAD_INITIALIZER(nvmf_target.listeners) };

struct nvmf_group *nvmf_group_of(const struct plx_thread *thread)
{
	/* the table stands while controllers come and go */
	for (uint32_t i = 0; i < nvmf_target.n_groups; i++) {
		if (nvmf_target.groups[i].thread == thread)
			return &nvmf_target.groups[i];
	}
	return NULL;
}

int plx_nvmf_target_start(struct plx_thread *const *threads, const unsigned *cpus, uint32_t n)
{
	struct nvmf_target *t = &nvmf_target;

	if (t->started)
		return -EALREADY;
	t->groups = calloc(n, sizeof *t->groups);
	if (!t->groups)
		return -ENOMEM;
	t->n_groups = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!t->mask_set || plx_cpuset_has(&t->mask, cpus[i]))
			t->groups[t->n_groups++].thread = threads[i];
	}
	if (!t->n_groups) {
		nvmf_log(ERR, "nvmf_set_config: poll_groups_mask: none of those CPUs is this "
			      "program's: choose from its -m");
		free(t->groups);
		return -EINVAL;
	}
	t->next_group = 0;
	t->started = true;
	return 0;
}

void plx_nvmf_target_stop(void)
{
	struct nvmf_target *t = &nvmf_target;
	struct plx_nvmf_subsystem *s;

	if (!t->started)
		return;
	while (!TAILQ_EMPTY(&t->listeners))
		nvmf_listener_remove(TAILQ_FIRST(&t->listeners));
	while ((s = nvmf_subsystem_after(NULL)) && !plx_nvmf_subsystem_destroy(s))
		;
	json_decref(t->vfio_user);
	json_decref(t->config);
	free(t->groups);
	*t = (struct nvmf_target){ .max_subsystems = DEFAULT_MAX_SUBSYSTEMS };
	TAILQ_INIT(&t->listeners);
}

bool nvmf_target_ready(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = rpc_str(params, "tgt_name");

	if (!nvmf_target.started) {
		plx_rpc_fail(call, PLX_RPC_INVALID_STATE, "this program runs no NVMe target");
		return false;
	}
	if (name && strcmp(name, NVMF_TARGET_NAME)) {
		plx_rpc_fail(call, -ENODEV,
			     "tgt_name: there is no target '%.64s': leave it out, or use "
			     "'" NVMF_TARGET_NAME "'",
			     name);
		return false;
	}
	return true;
}

/* ---- subsystems ---- */

struct plx_nvmf_subsystem *nvmf_subsystem_find(const char *nqn)
{
	struct plx_nvmf_subsystem *s = NULL;

	while ((s = nvmf_subsystem_after(s)) && strcmp(s->nqn, nqn))
		;
	return s;
}

struct plx_nvmf_subsystem *nvmf_subsystem_of(struct plx_rpc_call *call, const json_t *params)
{
	const char *nqn = rpc_str(params, "nqn");
	struct plx_nvmf_subsystem *s;

	if (!nvmf_target_ready(call, params))
		return NULL;
	s = nvmf_subsystem_find(nqn);
	if (!s)
		plx_rpc_fail(call, -ENODEV,
			     "nqn: there is no subsystem '%.223s': nvmf_get_subsystems lists them",
			     nqn);
	return s;
}

/* ---- listeners ---- */

struct nvmf_listener *nvmf_listener_find(const struct plx_nvmf_subsystem *s, const char *traddr,
					 const char *trsvcid)
{
	struct nvmf_listener *l;

	TAILQ_FOREACH(l, &nvmf_target.listeners, link)
	{
		if ((!s || l->subsystem == s) && !strcmp(l->traddr, traddr) &&
		    (!trsvcid || !strcmp(l->trsvcid, trsvcid)))
			return l;
	}
	return NULL;
}

static int why_not(int rc, const struct nvmf_listener *l, char *err, size_t errlen)
{
	const char *logged = plx_log_last_error();

	if (rc == -ENOENT)
		snprintf(err, errlen, "traddr: there is no directory '%.128s': make it first",
			 l->traddr);
	else if (rc == -EACCES)
		snprintf(err, errlen,
			 "traddr: no permission to make a socket in '%.128s': change the owner of "
			 "the directory, or take another",
			 l->traddr);
	else if (rc == -ENAMETOOLONG)
		snprintf(
			err, errlen,
			"traddr: '%.128s' is too long: with \"/cntrl\" it is the name of a socket, "
			"107 bytes at most",
			l->traddr);
	else if (*logged)
		snprintf(err, errlen, "traddr: %s", logged);
	else
		snprintf(err, errlen, "traddr: '%.128s': %s", l->traddr, strerror(-rc));
	return rc;
}

int nvmf_listener_open(struct nvmf_listener *l, char *err, size_t errlen)
{
	const json_t *t = nvmf_target.vfio_user;
	uint64_t max_io = rpc_int(t, "max_io_size") / PLX_PAGE_SIZE;
	struct plx_nvmf_vfio_user_opts o = {
		.dir = l->traddr,
		.subsystem = l->subsystem,
		.thread = l->group->thread,
		.max_io_queues = (uint32_t)rpc_int(t, "max_io_qpairs_per_ctrlr"),
		.max_queue_size = (uint32_t)rpc_int(t, "max_queue_depth"),
		.mdts = (uint32_t)__builtin_ctzll(max_io),
		.trap_doorbells = rpc_bool(t, "disable_mappable_bar0"),
		.no_shadow_doorbells = rpc_bool(t, "disable_shadow_doorbells"),
	};

	if (l->front || !plx_nvmf_subsystem_allows(l->subsystem, NULL))
		return 0;
	rpc_begin();
	l->front = plx_nvmf_vfio_user_create(&o);
	return l->front ? 0 : why_not(-errno, l, err, errlen);
}

void nvmf_listener_close(struct nvmf_listener *l)
{
	plx_nvmf_vfio_user_destroy(l->front);
	l->front = NULL;
}

void nvmf_listener_remove(struct nvmf_listener *l)
{
	nvmf_listener_close(l);
	TAILQ_REMOVE(&nvmf_target.listeners, l, link);
	free(l);
}

json_t *nvmf_listener_address(const struct nvmf_listener *l)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "trtype", "VFIOUSER", "adrfam", l->adrfam,
			 "traddr", l->traddr, "trsvcid", l->trsvcid);
}

json_t *nvmf_address_json(const struct plx_nvmf_subsystem *s, const char *traddr)
{
	const struct nvmf_listener *l = traddr ? nvmf_listener_find(s, traddr, NULL) : NULL;

	return l ? nvmf_listener_address(l) : json_pack("{s:s}", "trtype", "VIRTUAL");
}
