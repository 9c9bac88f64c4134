/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/options_docs.c - prints the option tables as docs/fio.md has them; ci/docs runs it
 */
#include "fio_plugin/fio_plugin.h"

/* what options.c wants of the engines, and is not called here */
void engine_error(const struct thread_data *td, const char *fmt, ...)
{
}

static const char *values(const struct fio_option *o, char *buf, size_t len)
{
	if (o->type == FIO_OPT_BOOL)
		return "0, 1";
	if (o->type == FIO_OPT_STR_STORE)
		return "text";
	if (o->maxval)
		snprintf(buf, len, "%d to %llu", o->minval, (unsigned long long)o->maxval);
	else if (o->minval)
		snprintf(buf, len, "from %d", o->minval);
	else
		snprintf(buf, len, "number");
	return buf;
}

/* | begins a new column */
static void text(const char *s)
{
	for (; *s; s++)
		printf(*s == '|' ? "\\|" : "%c", *s);
}

static void table(const char *title, const struct fio_option *o)
{
	char range[48];

	printf("\n### %s\n\n| option | values | default | |\n|---|---|---|---|\n", title);
	for (; o->name; o++) {
		printf("| `%s` | %s | %s | ", o->name, values(o, range, sizeof range),
		       o->def ? o->def : "");
		text(o->help);
		puts(" |");
	}
}

int main(void)
{
	table("`spdk`, `pollux`: the NVMe driver", nvme_option_table);
	table("`spdk_bdev`, `pollux_bdev`: the block layer", bdev_option_table);
	puts("");
	return 0;
}
