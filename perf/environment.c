/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/environment.c - under which circumstances a run was measured
 *
 * Nothing here fails: what cannot be found out is left unknown.
 */
#include "perf/environment.h"
#include "perf_commit.h"
#include <ctype.h>
#include <errno.h>
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

const char *perf_environment_commit(void)
{
	return strcmp(PERF_COMMIT, "none") ? PERF_COMMIT : NULL;
}

/* A field of the specification: padded with blanks, not terminated, and whatever a device put
 * there */
static void take_field(char *out, const char *field, size_t len)
{
	while (len && (field[len - 1] == ' ' || field[len - 1] == '\0'))
		len--;
	for (size_t i = 0; i < len; i++)
		out[i] = isascii(field[i]) && isprint((unsigned char)field[i]) ? field[i] : '?';
	out[len] = '\0';
}

static void get_device(struct perf_device_facts *out, const struct perf_device *d)
{
	const struct nvme_id_ctrl *id = plx_nvme_ctrlr_data(d->ctrlr);

	take_field(out->model, id->mn, sizeof(id->mn));
	take_field(out->serial, id->sn, sizeof(id->sn));
	take_field(out->firmware, id->fr, sizeof(id->fr));
	out->transport = plx_nvme_trtype_name(plx_nvme_ctrlr_trid(d->ctrlr)->trtype);
	out->numa_node = plx_nvme_ctrlr_numa(d->ctrlr);
	out->block_bytes = plx_nvme_ns_block_size(d->ns);
	out->metadata_bytes = plx_nvme_ns_md_size(d->ns);
	out->blocks = plx_nvme_ns_blocks(d->ns);
	out->protection = plx_nvme_ns_pi_type(d->ns);
}

/* Packages and nodes only: a whole topology takes ten times longer to load */
static void get_processor(struct perf_environment *e)
{
	const char *model = NULL;
	hwloc_topology_t t;
	hwloc_obj_t package;

	e->numa_nodes = -1;
	if (hwloc_topology_init(&t))
		return;
	hwloc_topology_set_all_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
	hwloc_topology_set_type_filter(t, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL);
	if (!hwloc_topology_load(t)) {
		package = hwloc_get_obj_by_type(t, HWLOC_OBJ_PACKAGE, 0);
		if (!package)
			package = hwloc_get_root_obj(t);
		model = hwloc_obj_get_info_by_name(package, "CPUModel");
		e->numa_nodes = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_NUMANODE);
	}
	if (model)
		take_field(e->cpu, model, strnlen(model, sizeof(e->cpu) - 1));
	hwloc_topology_destroy(t);
}

static void get_governor(struct perf_environment *e, unsigned cpu)
{
	char path[96], line[sizeof(e->governor)] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(line, sizeof(line), f))
		take_field(e->governor, line, strcspn(line, "\n"));
	fclose(f);
}

/* @text within single quotes where a shell would not take it as it stands. Return: the end of what
 * was written */
static char *quote(char *out, const char *text)
{
	bool plain = *text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
						 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
						 "-_./,:=+@%")];

	if (plain)
		return stpcpy(out, text);
	*out++ = '\'';
	for (; *text; text++) {
		if (*text == '\'')
			out = stpcpy(out, "'\\''");
		else
			*out++ = *text;
	}
	*out++ = '\'';
	*out = '\0';
	return out;
}

static char *get_command_line(void)
{
	FILE *f = fopen("/proc/self/cmdline", "re");
	char *arg = NULL, *line = NULL, *end;
	size_t cap = 0, used = 0;
	ssize_t n;

	while (f && (n = getdelim(&arg, &cap, '\0', f)) > 0) {
		/* each character may become four, and there are quotes, a blank and the end */
		char *more = realloc(line, used + 4 * (size_t)n + 4);

		if (!more)
			break;
		line = more;
		end = line + used;
		if (used)
			*end++ = ' ';
		used = (size_t)(quote(end, arg) - line);
	}
	if (f)
		fclose(f);
	free(arg);
	return line;
}

static double first_start(const struct perf_run *run)
{
	uint64_t now_tsc = plx_tsc(), first = UINT64_MAX;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (unsigned i = 0; i < run->nworkers; i++) {
		if (run->workers[i].start_tsc && run->workers[i].start_tsc < first)
			first = run->workers[i].start_tsc;
	}
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 -
	       (first < now_tsc ? (double)(now_tsc - first) / (double)plx_tsc_hz() : 0);
}

void perf_environment_get(struct perf_environment *e, const struct perf_run *run)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct utsname un;

	memset(e, 0, sizeof(*e));
	e->start_s = first_start(run);
	e->cpus = cpus > 0 ? (unsigned)cpus : 1;
	get_processor(e);
	get_governor(e, run->nworkers ? run->workers[0].cpu : 0);
	if (!uname(&un))
		snprintf(e->kernel, sizeof(e->kernel), "%s %s", un.sysname, un.release);
	snprintf(e->memory, sizeof(e->memory), "%s", plx_env_describe());
	e->hugepages = plx_env_has_hugepages();
	e->iova_mode = plx_nvme_iova_mode_name(PLX_NVME_IOVA_VA);
	e->command_line = get_command_line();
	for (unsigned i = 0; i < run->ndevices; i++) {
		enum plx_nvme_iova_mode mode = plx_nvme_ctrlr_iova_mode(run->devices[i].ctrlr);

		if (mode != PLX_NVME_IOVA_VA)
			e->iova_mode = plx_nvme_iova_mode_name(mode);
		get_device(&e->devices[i], &run->devices[i]);
	}
}

void perf_environment_free(struct perf_environment *e)
{
	free(e->command_line);
	e->command_line = NULL;
}
