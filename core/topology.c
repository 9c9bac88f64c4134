/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/topology.c - which CPU is near what: sets of CPUs, NUMA nodes, pinning
 *
 * libnuma answers for CPUs and nodes; hwloc, which takes longer to load, for PCI functions, and is
 * loaded when first asked.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hwloc.h>
#include <numa.h>

#include "core_internal.h"

#define MAX_PAIRS 64

static struct {
	pthread_once_t once;
	struct plx_cpuset allowed; /* when the process began: pinning a thread does not narrow it */
	pthread_mutex_t lock; /* guards what follows */
	hwloc_topology_t hwloc;
	bool hwloc_failed;
	struct {
		unsigned cpu;
		char device[64];
	} warned[MAX_PAIRS];
	unsigned n_warned;
} topo = { .once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- sets of CPUs ---- */

unsigned plx_cpuset_count(const struct plx_cpuset *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < PLX_ARRAY_SIZE(s->bits); i++)
		n += (unsigned)__builtin_popcountll(s->bits[i]);
	return n;
}

int plx_cpuset_next(const struct plx_cpuset *s, int prev)
{
	unsigned cpu = prev < 0 ? 0 : (unsigned)prev + 1;

	while (cpu < PLX_MAX_CPUS) {
		uint64_t rest = s->bits[cpu / 64] >> (cpu % 64);

		if (rest)
			return (int)(cpu + (unsigned)__builtin_ctzll(rest));
		cpu = (cpu / 64 + 1) * 64;
	}
	return -1;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int mask_parse(const char *text, size_t len, struct plx_cpuset *out, char *err,
		      size_t errlen)
{
	for (size_t i = 0; i < len; i++) {
		size_t shift = (len - 1 - i) * 4;
		int d = hex_digit(text[i]);

		if (d < 0) {
			snprintf(err, errlen, "'%.*s' is no hexadecimal CPU mask", (int)len, text);
			return -EINVAL;
		}
		if (d && shift >= PLX_MAX_CPUS) {
			snprintf(err, errlen, "the CPU mask has bits above CPU %d",
				 PLX_MAX_CPUS - 1);
			return -EINVAL;
		}
		if (d)
			out->bits[shift / 64] |= (uint64_t)d << (shift % 64);
	}
	return 0;
}

/* Reads one CPU number at *p. Returns it, or -1. */
static int number_parse(const char **p, const char *end)
{
	const char *s = *p;
	unsigned v = 0;

	while (s < end && *s >= '0' && *s <= '9' && v < PLX_MAX_CPUS)
		v = v * 10 + (unsigned)(*s++ - '0');
	if (s == *p || v >= PLX_MAX_CPUS)
		return -1;
	*p = s;
	return (int)v;
}

static int list_parse(const char *text, size_t len, struct plx_cpuset *out, char *err,
		      size_t errlen)
{
	const char *p = text, *end = text + len;

	for (;;) {
		const char *item = p;
		int first = number_parse(&p, end), last = first;

		if (first >= 0 && p < end && *p == '-') {
			p++;
			last = number_parse(&p, end);
		}
		if (first < 0 || last < first || (p < end && *p != ',')) {
			snprintf(err, errlen,
				 "'%.*s' in the CPU list is no CPU from 0 to %d and no ascending "
				 "range of them",
				 (int)strcspn(item, ",]"), item, PLX_MAX_CPUS - 1);
			return -EINVAL;
		}
		for (int cpu = first; cpu <= last; cpu++)
			plx_cpuset_add(out, (unsigned)cpu);
		if (p == end)
			return 0;
		p++;
	}
}

int plx_cpuset_parse(const char *text, struct plx_cpuset *out, char *err, size_t errlen)
{
	size_t len = strlen(text);
	int rc;

	memset(out, 0, sizeof(*out));
	if (len && text[0] == '[') {
		if (text[len - 1] != ']') {
			snprintf(err, errlen, "the CPU list '%s' lacks its closing bracket", text);
			return -EINVAL;
		}
		rc = list_parse(text + 1, len - 2, out, err, errlen);
	} else if (strpbrk(text, ",-[]")) {
		rc = list_parse(text, len, out, err, errlen);
	} else {
		if (len > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
			text += 2;
			len -= 2;
		}
		rc = mask_parse(text, len, out, err, errlen);
	}
	if (!rc && !plx_cpuset_count(out)) {
		snprintf(err, errlen,
			 "it names no CPU: a number alone is a mask, CPU 0 is 0x1 or [0]");
		rc = -EINVAL;
	}
	return rc;
}

char *plx_cpuset_format(const struct plx_cpuset *s, char *buf, size_t len)
{
	int first = plx_cpuset_next(s, -1);
	size_t used = 0;

	if (len)
		buf[0] = '\0';
	while (first >= 0 && used < len) {
		int last = first, next;

		while ((next = plx_cpuset_next(s, last)) == last + 1)
			last = next;
		if (last > first)
			used += (size_t)snprintf(buf + used, len - used, "%s%d-%d", used ? "," : "",
						 first, last);
		else
			used += (size_t)snprintf(buf + used, len - used, "%s%d", used ? "," : "",
						 first);
		first = next;
	}
	return buf;
}

/* ---- where this process may run ---- */

static void allowed_read(void)
{
	cpu_set_t set;

	/* the main thread's affinity, whichever thread comes first */
	if (sched_getaffinity(getpid(), sizeof(set), &set)) {
		plx_cpuset_add(&topo.allowed, (unsigned)sched_getcpu());
		return;
	}
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			plx_cpuset_add(&topo.allowed, cpu);
}

void topo_init(void)
{
	pthread_once(&topo.once, allowed_read);
}

void topo_fini(void)
{
	pthread_mutex_lock(&topo.lock);
	if (topo.hwloc)
		hwloc_topology_destroy(topo.hwloc);
	topo.hwloc = NULL;
	topo.hwloc_failed = false;
	topo.n_warned = 0;
	pthread_mutex_unlock(&topo.lock);
}

void plx_topo_allowed(struct plx_cpuset *out)
{
	topo_init();
	*out = topo.allowed;
}

int plx_topo_bind_self(unsigned cpu)
{
	cpu_set_t set;

	topo_init();
	if (!plx_cpuset_has(&topo.allowed, cpu))
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* ---- nodes ---- */

int plx_topo_cpu_node(unsigned cpu)
{
	int node;

	if (cpu >= PLX_MAX_CPUS || (long)cpu >= sysconf(_SC_NPROCESSORS_CONF))
		return -ENOENT;
	if (numa_available() < 0)
		return 0;
	node = numa_node_of_cpu((int)cpu);
	return node < 0 ? -ENOENT : node;
}

int plx_topo_distance(int node_a, int node_b)
{
	int d;

	if (node_a == node_b)
		return 10;
	d = numa_available() < 0 ? 0 : numa_distance(node_a, node_b);
	/* 20 is what firmware that says nothing means by "another node" */
	return d > 0 ? d : 20;
}

/* Caller holds the lock. PCI functions and NUMA nodes are all that is asked of it. */
static hwloc_topology_t hwloc_get(void)
{
	hwloc_topology_t t;

	if (topo.hwloc || topo.hwloc_failed)
		return topo.hwloc;
	topo.hwloc_failed = true;
	if (hwloc_topology_init(&t))
		return NULL;
	/* what is near a device is so whether or not we may run there */
	hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
	hwloc_topology_set_all_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
	hwloc_topology_set_type_filter(t, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_ALL);
	hwloc_topology_set_type_filter(t, HWLOC_OBJ_BRIDGE, HWLOC_TYPE_FILTER_KEEP_ALL);
	if (hwloc_topology_load(t)) {
		hwloc_topology_destroy(t);
		return NULL;
	}
	topo.hwloc_failed = false;
	topo.hwloc = t;
	return t;
}

int plx_topo_pci_node(const char *bdf)
{
	int node = PLX_NUMA_ANY;
	hwloc_obj_t obj;
	hwloc_topology_t t;

	pthread_mutex_lock(&topo.lock);
	t = hwloc_get();
	obj = t ? hwloc_get_pcidev_by_busidstring(t, bdf) : NULL;
	if (obj)
		obj = hwloc_get_non_io_ancestor_obj(t, obj);
	/* a set of several nodes says only that none is nearer */
	if (obj && obj->nodeset && hwloc_bitmap_weight(obj->nodeset) == 1)
		node = hwloc_bitmap_first(obj->nodeset);
	pthread_mutex_unlock(&topo.lock);
	return node;
}

/* True the first time this pair is seen; a full table stays silent. */
static bool pair_is_new(unsigned cpu, const char *device)
{
	bool is_new = false;
	unsigned i;

	pthread_mutex_lock(&topo.lock);
	for (i = 0; i < topo.n_warned; i++)
		if (topo.warned[i].cpu == cpu &&
		    !strncmp(topo.warned[i].device, device, sizeof(topo.warned[i].device) - 1))
			break;
	if (i == topo.n_warned && i < MAX_PAIRS) {
		topo.warned[i].cpu = cpu;
		snprintf(topo.warned[i].device, sizeof(topo.warned[i].device), "%s", device);
		topo.n_warned++;
		is_new = true;
	}
	pthread_mutex_unlock(&topo.lock);
	return is_new;
}

bool plx_topo_check(unsigned cpu, int device_node, const char *device)
{
	int node = plx_topo_cpu_node(cpu);

	if (device_node < 0 || node < 0 || node == device_node)
		return false;
	if (pair_is_new(cpu, device))
		plx_log(PLX_LOG_WARN, "topology",
			"CPU %u is on node %d, %s on node %d (distance %d): use a CPU of node %d "
			"for full speed",
			cpu, node, device, device_node, plx_topo_distance(node, device_node),
			device_node);
	return true;
}
