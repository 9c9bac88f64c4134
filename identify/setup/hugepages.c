/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/hugepages.c - hugepages of every size and NUMA node: showing, reserving, restoring
 * (Linux Documentation/admin-guide/mm/hugetlbpage.rst)
 */
#include "core/text.h"
#include "identify/setup/setup.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PAGES (1ull << 32)
#define MAX_NODE  1023

/* One count of the kernel's */
struct pool {
	int node; /* -1: all of the machine */
	uint64_t kib; /* size of a page */
};

static void pool_dir(const struct pool *p, char out[128])
{
	if (p->node < 0)
		snprintf(out, 128, "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB", p->kib);
	else
		snprintf(out, 128,
			 "/sys/devices/system/node/node%d/hugepages/hugepages-%" PRIu64 "kB",
			 p->node, p->kib);
}

/* Return: 0; -errno; -EPROTO for no number */
static int pool_read(const struct pool *p, const char *file, uint64_t *v)
{
	char dir[128], path[160], text[32];
	int rc;

	pool_dir(p, dir);
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	rc = plx_pci_read_text(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	return plx_parse_u64(text, 0, UINT64_MAX, v, NULL, 0) ? -EPROTO : 0;
}

static int pool_write(const struct pool *p, uint64_t pages)
{
	char dir[128], path[160], text[32];

	pool_dir(p, dir);
	snprintf(path, sizeof(path), "%s/nr_hugepages", dir);
	snprintf(text, sizeof(text), "%" PRIu64 "\n", pages);
	return plx_pci_write_text(path, text);
}

static char *pool_name(const struct pool *p, char out[64])
{
	char size[PLX_TEXT_MAX], node[24] = "";

	if (p->node >= 0)
		snprintf(node, sizeof(node), " on node %d", p->node);
	snprintf(out, 64, "hugepages of %s%s", plx_format_size(p->kib << 10, size, sizeof(size)),
		 node);
	return out;
}

/* ---- showing ---- */

/* Calls @each for every size of a node, or of the machine. Return: how many */
static int each_size(int node, void (*each)(const struct pool *p, void *arg), void *arg)
{
	char path[PATH_MAX];
	struct dirent *e;
	struct pool p = { .node = node };
	int n = 0;
	DIR *d;

	if (node < 0)
		snprintf(path, sizeof(path), "%s/sys/kernel/mm/hugepages", plx_pci_root());
	else
		snprintf(path, sizeof(path), "%s/sys/devices/system/node/node%d/hugepages",
			 plx_pci_root(), node);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		int end = 0;

		if (sscanf(e->d_name, "hugepages-%" SCNu64 "kB%n", &p.kib, &end) == 1 && end &&
		    !e->d_name[end]) {
			each(&p, arg);
			n++;
		}
	}
	if (d)
		closedir(d);
	return n;
}

static void each_pool(void (*each)(const struct pool *p, void *arg), void *arg)
{
	int found = 0;

	for (int node = 0; node <= MAX_NODE; node++)
		found += each_size(node, each, arg);
	if (!found)
		each_size(-1, each, arg);
}

static void pool_text(const struct pool *p, void *arg)
{
	uint64_t pages, unused;
	char name[64];

	if (!pool_read(p, "nr_hugepages", &pages) && !pool_read(p, "free_hugepages", &unused))
		fprintf(arg, "%s: %" PRIu64 ", %" PRIu64 " of them free\n", pool_name(p, name),
			pages, unused);
}

void setup_hugepages_text(FILE *f)
{
	each_pool(pool_text, f);
}

static void pool_json(const struct pool *p, void *arg)
{
	uint64_t pages, unused;

	if (pool_read(p, "nr_hugepages", &pages) || pool_read(p, "free_hugepages", &unused))
		return;
	json_array_append_new(arg, json_pack("{s:o, s:I, s:I, s:I}", "node",
					     p->node < 0 ? json_null() : json_integer(p->node),
					     "page_bytes", (json_int_t)(p->kib << 10), "total",
					     (json_int_t)pages, "free", (json_int_t)unused));
}

json_t *setup_hugepages_json(void)
{
	json_t *all = json_array();

	each_pool(pool_json, all);
	return all;
}

/* ---- reserving ---- */

struct wish {
	struct pool pool;
	uint64_t pages;
};

static uint64_t default_kib(void)
{
	char text[8192], *at;

	if (plx_pci_read_text("/proc/meminfo", text, sizeof(text)) <= 0)
		return 2048;
	at = strstr(text, "Hugepagesize:");
	return at ? strtoull(at + strlen("Hugepagesize:"), NULL, 10) : 2048;
}

/* "64", "64@1" */
static int parse_wish(const struct setup_options *o, const char *arg, struct wish *w)
{
	const char *at = strchr(arg, '@');
	char count[32], err[200], name[64];
	uint64_t node, present;

	w->pool = (struct pool){ .node = -1, .kib = o->page_kib ? o->page_kib : default_kib() };
	snprintf(count, sizeof(count), "%.*s", at ? (int)(at - arg) : 31, arg);
	if (plx_parse_u64(count, 0, MAX_PAGES, &w->pages, err, sizeof(err)) ||
	    (at && plx_parse_u64(at + 1, 0, MAX_NODE, &node, err, sizeof(err)))) {
		setup_complain("hugepages: '%.64s': %s", arg, err);
		return PLX_EXIT_USAGE;
	}
	if (at)
		w->pool.node = (int)node;
	if (!pool_read(&w->pool, "nr_hugepages", &present))
		return PLX_EXIT_OK;
	setup_complain(
		"hugepages: '%.64s': there are no %s here: 'plx-setup hugepages' shows what there "
		"is",
		arg, pool_name(&w->pool, name));
	return PLX_EXIT_USAGE;
}

static int remember(struct setup_state *s, const struct pool *p, uint64_t pages)
{
	json_t *list = json_object_get(s->json, "hugepages"), *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		if (json_integer_value(json_object_get(entry, "node")) == p->node &&
		    (uint64_t)json_integer_value(json_object_get(entry, "kib")) == p->kib)
			return PLX_EXIT_OK;
	}
	json_array_append_new(list, json_pack("{s:i, s:I, s:I}", "node", p->node, "kib",
					      (json_int_t)p->kib, "pages", (json_int_t)pages));
	return setup_state_save(s);
}

static int set_pages(const struct setup_options *o, const struct pool *p, uint64_t pages)
{
	char name[64], from[32], to[32];
	uint64_t before, after = pages;
	int rc = pool_read(p, "nr_hugepages", &before);

	pool_name(p, name);
	if (!rc && !o->dry_run)
		rc = pool_write(p, pages);
	if (!rc && !o->dry_run)
		rc = pool_read(p, "nr_hugepages", &after);
	if (rc)
		return setup_complain("%s: %s%s", name, strerror(-rc),
				      rc == -EACCES ? ": changes need root" : "");
	snprintf(from, sizeof(from), "%" PRIu64, before);
	snprintf(to, sizeof(to), "%" PRIu64, after);
	setup_report(o, name, from, to);
	if (after == pages)
		return PLX_EXIT_OK;
	return setup_complain(
		"%s: %" PRIu64 " instead of %" PRIu64 ": %s", name, after, pages,
		after < pages ? "memory is short or fragmented: end what uses much, or reserve "
				"them when booting (hugepages=N on the kernel command line)"
			      : "the others are in use: end what uses them");
}

int setup_hugepages(const struct setup_options *o)
{
	struct setup_state s;
	struct wish w;
	int rc = PLX_EXIT_OK;

	if (!o->npages) {
		if (!o->json) {
			setup_hugepages_text(stdout);
		} else {
			json_t *all = setup_hugepages_json();

			json_dumpf(all, stdout, JSON_INDENT(2));
			putchar('\n');
			json_decref(all);
		}
		return PLX_EXIT_OK;
	}
	for (size_t i = 0; i < o->npages && !rc; i++)
		rc = parse_wish(o, o->pages[i], &w);
	if (rc)
		return rc;
	rc = setup_state_open(&s, !o->dry_run);
	if (rc)
		return rc;
	for (size_t i = 0; i < o->npages && !setup_interrupted(); i++) {
		uint64_t before;

		if (parse_wish(o, o->pages[i], &w) || pool_read(&w.pool, "nr_hugepages", &before))
			continue;
		if (!o->dry_run && remember(&s, &w.pool, before)) {
			rc = PLX_EXIT_FAILED;
			break;
		}
		rc |= set_pages(o, &w.pool, w.pages);
	}
	setup_report_end(o);
	setup_state_close(&s);
	return rc;
}

int setup_hugepages_restore(const struct setup_options *o, struct setup_state *s)
{
	json_t *list = json_object_get(s->json, "hugepages");
	int rc = PLX_EXIT_OK;

	/* the last first: a node's count is part of the machine's */
	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *entry = json_array_get(list, i);
		struct pool p = { (int)json_integer_value(json_object_get(entry, "node")),
				  (uint64_t)json_integer_value(json_object_get(entry, "kib")) };
		uint64_t pages = (uint64_t)json_integer_value(json_object_get(entry, "pages"));

		if (set_pages(o, &p, pages)) {
			rc = PLX_EXIT_FAILED;
		} else if (!o->dry_run) {
			json_array_remove(list, i);
			rc |= setup_state_save(s);
		}
	}
	return rc;
}
