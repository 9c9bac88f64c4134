/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/subsystem.c - NVM subsystems: their names, namespaces and controllers
 *
 * The table of namespaces belongs to no thread: the subsystem's lock guards it, and no call of
 * another layer is made while it is held. Controllers look at the table when they are told that it
 * changed (nvmf_ctrlr_sync()), attach and detach in their own thread, and hold a reference on each
 * namespace they are attached to. The last one closes it.
 */
#include "targets/nvmf/nvmf_admin.h"
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#define DEFAULT_MAX_NS 32u
#define MAX_CNTLID     0xffefu /* those above are reserved (§5.17.2.1, CNTLID; §6.3) */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, plx_nvmf_subsystem) subsystems = TAILQ_HEAD_INITIALIZER(subsystems);

/* ---- names (§4.5) ---- */

static bool uuid_valid(const char *u)
{
	if (strlen(u) != 36)
		return false;
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? u[i] != '-' : !isxdigit((unsigned char)u[i]))
			return false;
	}
	return true;
}

/*
 * A reverse domain name: labels of letters, digits and inner dashes, separated by dots. Return: its
 * end, or NULL
 */
static const char *domain_end(const char *p)
{
	for (;;) {
		const char *label = p;

		while (isalnum((unsigned char)*p) || *p == '-')
			p++;
		if (p == label || p - label > 63 || *label == '-' || p[-1] == '-')
			return NULL;
		if (*p != '.')
			return p;
		p++;
	}
}

/* Whatever follows the colon is UTF-8 (§4.5): no control characters, no broken sequences */
static bool utf8_valid(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;

	while (*p) {
		unsigned more = *p < 0x80	  ? 0
				: (*p >> 5) == 6  ? 1
				: (*p >> 4) == 14 ? 2
				: (*p >> 3) == 30 ? 3
						  : 4;

		if (more == 4 || *p < 0x20 || *p == 0x7f)
			return false;
		for (p++; more; more--, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
		}
	}
	return true;
}

bool nvmf_nqn_valid(const char *nqn)
{
	static const char uuid_form[] = "nqn.2014-08.org.nvmexpress:uuid:";
	size_t len = nqn ? strlen(nqn) : 0;
	const char *end;
	int month;

	if (len < 11 || len > 223 || strncmp(nqn, "nqn.", 4))
		return false;
	if (!strncmp(nqn, uuid_form, sizeof uuid_form - 1))
		return uuid_valid(nqn + sizeof uuid_form - 1);
	for (int i = 4; i < 11; i++) {
		if (i == 8 ? nqn[i] != '-' : !isdigit((unsigned char)nqn[i]))
			return false;
	}
	month = (nqn[9] - '0') * 10 + nqn[10] - '0';
	if (month < 1 || month > 12 || nqn[11] != '.')
		return false;
	end = domain_end(nqn + 12);
	return end && *end == ':' && end[1] && utf8_valid(end + 1);
}

/* Serial and model number are printable ASCII (§1.4.2) */
static bool ascii_valid(const char *s, size_t max)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++) {
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	}
	return len <= max;
}

/* ---- life ---- */

static bool nqn_taken(const char *nqn)
{
	struct plx_nvmf_subsystem *s;

	TAILQ_FOREACH(s, &subsystems, link)
	{
		if (!strcmp(s->nqn, nqn))
			return true;
	}
	return false;
}

struct plx_nvmf_subsystem *plx_nvmf_subsystem_create(const struct plx_nvmf_subsystem_opts *opts)
{
	const char *serial = opts->serial ? opts->serial : "1";
	const char *model = opts->model ? opts->model : "pollux virtual controller";
	uint32_t max_ns = opts->max_namespaces ? opts->max_namespaces : DEFAULT_MAX_NS;
	uint16_t min_cntlid = opts->min_cntlid ? opts->min_cntlid : 1;
	uint16_t max_cntlid = opts->max_cntlid ? opts->max_cntlid : MAX_CNTLID;
	struct plx_nvmf_subsystem *s;

	if (!nvmf_nqn_valid(opts->nqn) || !ascii_valid(serial, 20) || !ascii_valid(model, 40) ||
	    max_ns > NVMF_MAX_NS || max_cntlid > MAX_CNTLID || min_cntlid > max_cntlid) {
		errno = EINVAL;
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (s)
		s->ns = calloc(max_ns, sizeof *s->ns);
	if (!s || !s->ns) {
		free(s);
		errno = ENOMEM;
		return NULL;
	}
	strcpy(s->nqn, opts->nqn);
	strcpy(s->serial, serial);
	strcpy(s->model, model);
	s->max_ns = max_ns;
	s->next_cntlid = s->min_cntlid = min_cntlid;
	s->max_cntlid = max_cntlid;
	s->allow_any_host = true;
	STAILQ_INIT(&s->hosts);
	for (uint32_t i = 0; i < max_ns; i++)
		s->ns[i].subsystem = s;
	TAILQ_INIT(&s->ctrlrs);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_lock(&list_lock);
	if (nqn_taken(s->nqn)) {
		pthread_mutex_unlock(&list_lock);
		pthread_mutex_destroy(&s->lock);
		free(s->ns);
		free(s);
		errno = EEXIST;
		return NULL;
	}
	TAILQ_INSERT_TAIL(&subsystems, s, link);
	pthread_mutex_unlock(&list_lock);
	return s;
}

struct plx_nvmf_subsystem *nvmf_subsystem_after(const struct plx_nvmf_subsystem *prev)
{
	struct plx_nvmf_subsystem *s;

	pthread_mutex_lock(&list_lock);
	s = prev ? TAILQ_NEXT(prev, link) : TAILQ_FIRST(&subsystems);
	pthread_mutex_unlock(&list_lock);
	return s;
}

int plx_nvmf_subsystem_destroy(struct plx_nvmf_subsystem *s)
{
	bool busy;

	pthread_mutex_lock(&s->lock);
	busy = !TAILQ_EMPTY(&s->ctrlrs);
	pthread_mutex_unlock(&s->lock);
	if (busy)
		return -EBUSY;
	for (uint32_t i = 0; i < s->max_ns; i++) {
		if (s->ns[i].desc)
			plx_bdev_close(s->ns[i].desc);
	}
	pthread_mutex_lock(&list_lock);
	TAILQ_REMOVE(&subsystems, s, link);
	pthread_mutex_unlock(&list_lock);
	while (!STAILQ_EMPTY(&s->hosts)) {
		struct nvmf_host *host = STAILQ_FIRST(&s->hosts);

		STAILQ_REMOVE_HEAD(&s->hosts, link);
		free(host);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->ns);
	free(s);
	return 0;
}

/* ---- controllers ---- */

static bool cntlid_used(const struct plx_nvmf_subsystem *s, uint16_t id)
{
	const struct nvmf_ctrlr *c;

	TAILQ_FOREACH(c, &s->ctrlrs, link)
	{
		if (c->cntlid == id)
			return true;
	}
	return false;
}

static uint16_t next_id(const struct plx_nvmf_subsystem *s, uint16_t id)
{
	return id == s->max_cntlid ? s->min_cntlid : id + 1;
}

int nvmf_subsystem_add_ctrlr(struct plx_nvmf_subsystem *s, struct nvmf_ctrlr *c)
{
	struct nvmf_ctrlr *after = NULL, *it;
	uint16_t id;
	int rc = -ENOSPC;

	pthread_mutex_lock(&s->lock);
	id = s->next_cntlid;
	for (uint32_t tries = 0; tries <= (uint32_t)s->max_cntlid - s->min_cntlid; tries++) {
		if (!cntlid_used(s, id)) {
			rc = 0;
			break;
		}
		id = next_id(s, id);
	}
	if (!rc) {
		c->cntlid = id;
		s->next_cntlid = next_id(s, id);
		/* in the order in which Identify lists them */
		TAILQ_FOREACH(it, &s->ctrlrs, link)
		{
			if (it->cntlid < id)
				after = it;
		}
		if (after)
			TAILQ_INSERT_AFTER(&s->ctrlrs, after, c, link);
		else
			TAILQ_INSERT_HEAD(&s->ctrlrs, c, link);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void nvmf_subsystem_remove_ctrlr(struct plx_nvmf_subsystem *s, struct nvmf_ctrlr *c)
{
	pthread_mutex_lock(&s->lock);
	TAILQ_REMOVE(&s->ctrlrs, c, link);
	pthread_mutex_unlock(&s->lock);
}

/* The one with the next identifier after @cntlid, held until it syncs */
static struct nvmf_ctrlr *ctrlr_after(struct plx_nvmf_subsystem *s, uint16_t cntlid)
{
	struct nvmf_ctrlr *c;

	pthread_mutex_lock(&s->lock);
	TAILQ_FOREACH(c, &s->ctrlrs, link)
	{
		if (c->cntlid > cntlid)
			break;
	}
	if (c)
		nvmf_ctrlr_hold(c);
	pthread_mutex_unlock(&s->lock);
	return c;
}

/* Each controller looks at the table: at once when it is the caller's own, else by message */
static void notify_ctrlrs(struct plx_nvmf_subsystem *s)
{
	struct nvmf_ctrlr *c;
	uint16_t told = 0;

	while ((c = ctrlr_after(s, told))) {
		told = c->cntlid;
		if (c->thread == plx_thread_current())
			nvmf_ctrlr_sync(c);
		else
			while (plx_thread_send(c->thread, nvmf_ctrlr_sync, c))
				sched_yield();
	}
}

struct visit {
	struct nvmf_ctrlr *c;
	void (*fn)(struct nvmf_ctrlr *c, void *arg);
	void *arg;
};

static void visit_one(void *arg)
{
	struct visit *v = arg;

	if (!v->c->admin->destroyed)
		v->fn(v->c, v->arg);
	nvmf_ctrlr_sync(v->c);
}

void nvmf_subsystem_visit(struct plx_nvmf_subsystem *s, void (*fn)(struct nvmf_ctrlr *c, void *arg),
			  void *arg)
{
	struct visit v = { .fn = fn, .arg = arg };
	uint16_t seen = 0;

	while ((v.c = ctrlr_after(s, seen))) {
		seen = v.c->cntlid;
		plx_thread_call(v.c->thread, visit_one, &v, false);
	}
}

/* ---- hosts ---- */

/* s->lock held */
static struct nvmf_host *host_find(struct plx_nvmf_subsystem *s, const char *nqn)
{
	struct nvmf_host *host;

	STAILQ_FOREACH(host, &s->hosts, link)
	{
		if (!strcmp(host->nqn, nqn))
			return host;
	}
	return NULL;
}

int plx_nvmf_subsystem_add_host(struct plx_nvmf_subsystem *s, const char *hostnqn)
{
	struct nvmf_host *host;

	if (!nvmf_nqn_valid(hostnqn))
		return -EINVAL;
	host = calloc(1, sizeof *host);
	if (!host)
		return -ENOMEM;
	strcpy(host->nqn, hostnqn);
	pthread_mutex_lock(&s->lock);
	if (host_find(s, hostnqn)) {
		free(host);
	} else {
		STAILQ_INSERT_TAIL(&s->hosts, host, link);
	}
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int plx_nvmf_subsystem_remove_host(struct plx_nvmf_subsystem *s, const char *hostnqn)
{
	struct nvmf_host *host;

	pthread_mutex_lock(&s->lock);
	host = host_find(s, hostnqn);
	if (host)
		STAILQ_REMOVE(&s->hosts, host, nvmf_host, link);
	pthread_mutex_unlock(&s->lock);
	free(host);
	return host ? 0 : -ENOENT;
}

void plx_nvmf_subsystem_allow_any_host(struct plx_nvmf_subsystem *s, bool allow)
{
	pthread_mutex_lock(&s->lock);
	s->allow_any_host = allow;
	pthread_mutex_unlock(&s->lock);
}

bool plx_nvmf_subsystem_allows(struct plx_nvmf_subsystem *s, const char *hostnqn)
{
	bool allows;

	pthread_mutex_lock(&s->lock);
	allows = s->allow_any_host || (hostnqn && host_find(s, hostnqn));
	pthread_mutex_unlock(&s->lock);
	return allows;
}

/* ---- namespaces ---- */

/* splitmix64's finisher: identifiers that differ in one bit of the UUID differ everywhere */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/*
 * Where none are given: EUI-64 and NGUID, the same for the same UUID; marked as locally
 * administered, since no OUI is ours
 */
static void ns_identifiers(struct nvmf_ns *ns, const struct plx_nvmf_ns_opts *o)
{
	uint64_t half[2], a, b;

	memcpy(ns->uuid, o->uuid ? o->uuid : ns->bdev->uuid, sizeof ns->uuid);
	memcpy(half, ns->uuid, sizeof half);
	a = mix(half[0] ^ mix(half[1] + 1));
	b = mix(half[1] ^ mix(half[0] + 2));
	memcpy(ns->eui64, &a, 8);
	memcpy(ns->nguid, &b, 8);
	memcpy(ns->nguid + 8, &a, 8);
	ns->eui64[0] = (ns->eui64[0] & 0xfe) | 2; /* first byte of the OUI: local, not a group */
	ns->nguid[8] = ns->eui64[0];
	ns->nguid_given = o->nguid;
	ns->eui64_given = o->eui64;
	if (o->nguid)
		memcpy(ns->nguid, o->nguid, sizeof ns->nguid);
	if (o->eui64)
		memcpy(ns->eui64, o->eui64, sizeof ns->eui64);
}

static struct nvmf_ns *ns_reserve(struct plx_nvmf_subsystem *s, uint32_t nsid, int *rc)
{
	struct nvmf_ns *ns = NULL;

	pthread_mutex_lock(&s->lock);
	if (nsid > s->max_ns) {
		*rc = -EINVAL;
	} else if (nsid) {
		*rc = -EEXIST;
		if (!s->ns[nsid - 1].nsid)
			ns = &s->ns[nsid - 1];
	} else {
		*rc = -ENOSPC;
		for (uint32_t i = 0; i < s->max_ns && !ns; i++) {
			if (!s->ns[i].nsid)
				ns = &s->ns[i];
		}
	}
	if (ns) {
		ns->nsid = (uint32_t)(ns - s->ns) + 1;
		ns->refs = 1;
		*rc = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return ns;
}

static void ns_event(enum plx_bdev_event e, struct plx_bdev *bdev, void *arg)
{
	struct nvmf_ns *ns = arg;

	if (e == PLX_BDEV_EVENT_REMOVE)
		plx_nvmf_subsystem_remove_ns(ns->subsystem, ns->nsid);
	else
		notify_ctrlrs(ns->subsystem);
}

int plx_nvmf_subsystem_add_ns(struct plx_nvmf_subsystem *s, const char *bdev, uint32_t nsid)
{
	return plx_nvmf_subsystem_add_ns_ext(s, bdev, &(struct plx_nvmf_ns_opts){ .nsid = nsid });
}

int plx_nvmf_subsystem_add_ns_ext(struct plx_nvmf_subsystem *s, const char *bdev,
				  const struct plx_nvmf_ns_opts *o)
{
	uint32_t nsid = o->nsid;
	struct plx_bdev_desc *desc;
	struct nvmf_ns *ns;
	int rc;

	ns = ns_reserve(s, nsid, &rc);
	if (!ns)
		return rc;
	rc = plx_bdev_open(bdev, true, ns_event, ns, &desc);
	pthread_mutex_lock(&s->lock);
	if (rc) {
		ns->nsid = 0;
	} else {
		nsid = ns->nsid;
		ns->desc = desc;
		ns->bdev = plx_bdev_desc_bdev(desc);
		ns_identifiers(ns, o);
		ns->active = true;
	}
	pthread_mutex_unlock(&s->lock);
	if (rc)
		return rc;
	notify_ctrlrs(s);
	return (int)nsid;
}

int plx_nvmf_subsystem_remove_ns(struct plx_nvmf_subsystem *s, uint32_t nsid)
{
	struct nvmf_ns *ns;
	bool active;

	if (!nsid || nsid > s->max_ns)
		return -EINVAL;
	ns = &s->ns[nsid - 1];
	pthread_mutex_lock(&s->lock);
	active = ns->active;
	ns->active = false;
	pthread_mutex_unlock(&s->lock);
	if (!active)
		return -ENOENT;
	notify_ctrlrs(s);
	nvmf_ns_put(ns);
	return 0;
}

bool nvmf_ns_active(struct nvmf_ns *ns)
{
	bool active;

	pthread_mutex_lock(&ns->subsystem->lock);
	active = ns->active;
	pthread_mutex_unlock(&ns->subsystem->lock);
	return active;
}

bool nvmf_ns_get(struct nvmf_ns *ns)
{
	struct plx_nvmf_subsystem *s = ns->subsystem;
	bool active;

	pthread_mutex_lock(&s->lock);
	active = ns->active;
	ns->refs += active;
	pthread_mutex_unlock(&s->lock);
	return active;
}

void nvmf_ns_put(struct nvmf_ns *ns)
{
	struct plx_nvmf_subsystem *s = ns->subsystem;
	struct plx_bdev_desc *desc = NULL;

	pthread_mutex_lock(&s->lock);
	if (!--ns->refs)
		desc = ns->desc;
	pthread_mutex_unlock(&s->lock);
	if (!desc)
		return;
	/*
	 * the slot is nobody else's now, and is free for another namespace only once the bdev is
	 * let go
	 */
	plx_bdev_close(desc);
	pthread_mutex_lock(&s->lock);
	ns->desc = NULL;
	ns->nsid = 0;
	pthread_mutex_unlock(&s->lock);
}

PLX_LOG_COMPONENT(nvmf)
