/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/log.c - log lines and their levels, one rte_log type "pollux.<component>" each
 *
 * Levels live in a table of our own, so that a suppressed line costs a few loads; rte_log's types
 * mirror them, so that DPDK's own tools see and name them. A component gets its entry from
 * PLX_LOG_COMPONENT(), or with its first line.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_log.h>

#include "core_internal.h"

#define MAX_COMPONENTS 64
#define NAME_LEN       32
#define LINE_LEN       2048

struct component {
	char name[NAME_LEN];
	int level;
	bool own; /* was set by name: does not follow the general level */
	int type; /* rte_log's */
};

static struct {
	pthread_mutex_t
		lock; /* guards appending, and rte_log's table of types, which moves as it grows */
	struct component table[MAX_COMPONENTS];
	unsigned count;
	int level; /* of all that have none of their own */
	bool timestamps;
	const char *program;
} logs = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = PLX_LOG_NOTICE, .program = "pollux" };

static _Thread_local char last_error[256];

const char *plx_log_last_error(void)
{
	return last_error;
}

void plx_log_forget_error(void)
{
	last_error[0] = '\0';
}

static struct component *component_find(const char *name)
{
	unsigned n = __atomic_load_n(&logs.count, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(logs.table[i].name, name))
			return &logs.table[i];
	return NULL;
}

static void level_store(struct component *c, int level)
{
	__atomic_store_n(&c->level, level, __ATOMIC_RELAXED);
	if (c->type >= 0)
		rte_log_set_level((uint32_t)c->type, (uint32_t)level);
}

/* Caller holds the lock. NULL when the name is no name, or the table is full. */
static struct component *component_add(const char *name)
{
	char type[NAME_LEN + sizeof("pollux.")];
	struct component *c;

	c = component_find(name);
	if (c)
		return c;
	if (logs.count == MAX_COMPONENTS || !*name || strlen(name) >= NAME_LEN)
		return NULL;
	c = &logs.table[logs.count];
	strcpy(c->name, name);
	snprintf(type, sizeof(type), "pollux.%s", name);
	c->type = rte_log_register(type);
	level_store(c, logs.level);
	__atomic_store_n(&logs.count, logs.count + 1, __ATOMIC_RELEASE);
	return c;
}

static const char *level_name(int level)
{
	static const char *const names[] = { "error", "warning", "notice", "info", "debug" };

	return names[level - PLX_LOG_ERR];
}

static int level_clamp(int level)
{
	if (level < PLX_LOG_ERR)
		return PLX_LOG_ERR;
	return level > PLX_LOG_DEBUG ? PLX_LOG_DEBUG : level;
}

/* Return: characters written, none while timestamps are off */
static int put_time(char line[LINE_LEN])
{
	struct timespec now;
	struct tm tm;
	size_t n;

	if (!__atomic_load_n(&logs.timestamps, __ATOMIC_RELAXED))
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = strftime(line, LINE_LEN, "[%F %T", &tm);
	return (int)n + snprintf(line + n, LINE_LEN - n, ".%06ld] ", now.tv_nsec / 1000);
}

void plx_log(int level, const char *component, const char *fmt, ...)
{
	char line[LINE_LEN];
	struct component *c = component_find(component);
	int saved_errno = errno;
	int used;
	va_list ap;

	level = level_clamp(level);
	if (c && level > __atomic_load_n(&c->level, __ATOMIC_RELAXED))
		return;

	if (level == PLX_LOG_ERR) {
		va_start(ap, fmt);
		vsnprintf(last_error, sizeof(last_error), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_lock(&logs.lock);
	if (!c)
		c = component_add(component);
	if (level <= (c ? c->level : logs.level)) {
		used = put_time(line);
		used += snprintf(line + used, sizeof(line) - (size_t)used,
				 "%s: %s: %s: ", logs.program, component, level_name(level));
		if (used < 0 || used >= LINE_LEN - 1)
			used = 0;
		va_start(ap, fmt);
		vsnprintf(line + used, sizeof(line) - (size_t)used, fmt, ap);
		va_end(ap);
		line[strcspn(line, "\n")] = '\0';
		/* rte_log writes the line at once, to stderr before and after EAL's lifetime too */
		if (!c || c->type < 0)
			fprintf(stderr, "%s\n", line);
		else
			rte_log((uint32_t)level, (uint32_t)c->type, "%s\n", line);
	}
	pthread_mutex_unlock(&logs.lock);
	errno = saved_errno;
}

int plx_log_set_level(const char *component, int level)
{
	struct component *c;
	int rc = 0;

	if (level < PLX_LOG_ERR || level > PLX_LOG_DEBUG)
		return -EINVAL;
	pthread_mutex_lock(&logs.lock);
	if (!component || !strcmp(component, "all")) {
		logs.level = level;
		for (unsigned i = 0; i < logs.count; i++) {
			logs.table[i].own = false;
			level_store(&logs.table[i], level);
		}
	} else {
		/* one that has not spoken yet may still do so: the level waits for it */
		rc = component_find(component) ? 0 : -ENOENT;
		c = component_add(component);
		if (c) {
			c->own = true;
			level_store(c, level);
		}
	}
	pthread_mutex_unlock(&logs.lock);
	return rc;
}

void plx_log_component(const char *name)
{
	pthread_mutex_lock(&logs.lock);
	component_add(name);
	pthread_mutex_unlock(&logs.lock);
}

/* Caller holds the lock. */
static void set_general_level(int level)
{
	logs.level = level_clamp(level);
	for (unsigned i = 0; i < logs.count; i++)
		if (!logs.table[i].own)
			level_store(&logs.table[i], logs.level);
}

void log_set_general_level(int level)
{
	pthread_mutex_lock(&logs.lock);
	set_general_level(level);
	pthread_mutex_unlock(&logs.lock);
}

int log_general_level(void)
{
	return logs.level;
}

void log_set_timestamps(bool on)
{
	__atomic_store_n(&logs.timestamps, on, __ATOMIC_RELAXED);
}

int log_set_debug(const char *name, bool on)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&logs.lock);
	for (unsigned i = 0; i < logs.count; i++) {
		struct component *c = &logs.table[i];

		if (strcmp(name, "all") && strcmp(name, c->name))
			continue;
		c->own = on;
		level_store(c, on ? PLX_LOG_DEBUG : logs.level);
		rc = 0;
	}
	pthread_mutex_unlock(&logs.lock);
	return rc;
}

const char *log_component(unsigned i, bool *debug)
{
	if (i >= __atomic_load_n(&logs.count, __ATOMIC_ACQUIRE))
		return NULL;
	*debug = __atomic_load_n(&logs.table[i].level, __ATOMIC_RELAXED) == PLX_LOG_DEBUG;
	return logs.table[i].name;
}

int plx_log_level_parse(const char *text)
{
	static const struct {
		const char *name;
		int level;
	} names[] = {
		{ "error", PLX_LOG_ERR },    { "err", PLX_LOG_ERR },	   { "warn", PLX_LOG_WARN },
		{ "warning", PLX_LOG_WARN }, { "notice", PLX_LOG_NOTICE }, { "info", PLX_LOG_INFO },
		{ "debug", PLX_LOG_DEBUG },
	};

	for (size_t i = 0; text && i < PLX_ARRAY_SIZE(names); i++)
		if (!strcasecmp(text, names[i].name))
			return names[i].level;
	return -EINVAL;
}

void log_init(const char *program, int level)
{
	pthread_mutex_lock(&logs.lock);
	if (program)
		logs.program = program;
	/* levels that were set by name before the start stay */
	set_general_level(level);
	pthread_mutex_unlock(&logs.lock);
}

/* EAL's own level, which is to keep it quiet, has been put upon every type that was there. */
void log_started(void)
{
	pthread_mutex_lock(&logs.lock);
	for (unsigned i = 0; i < logs.count; i++)
		level_store(&logs.table[i], logs.table[i].level);
	pthread_mutex_unlock(&logs.lock);
}

PLX_LOG_COMPONENT(env)
PLX_LOG_COMPONENT(mem)
PLX_LOG_COMPONENT(rpc)
PLX_LOG_COMPONENT(thread)
PLX_LOG_COMPONENT(topology)
