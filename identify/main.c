/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/main.c - plx-identify: from arguments to exit code
 *
 * The virtual controller runs inline, in the event loop of the thread that asks it.
 */
#include "core/tool.h"
#include "identify/options.h"
#include "plx_config.h"
#include <errno.h>
#include <pollux/nvmf.h>
#include <pollux/thread.h>
#include <stdlib.h>
#include <string.h>

#define VIRTUAL_NAME "virtual"
/* what is there for each of something that there is none of */
#define NONE PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD)

struct session {
	const struct id_options *o;
	struct plx_thread *thread;
	struct plx_nvmf_device *device; /* the virtual controller, if that is what is shown */
	struct plx_nvme_ctrlr *ctrlr;
	char name[600]; /* the trid in full */
};

static int start_environment(const struct id_options *o)
{
	struct plx_env_opts opts;

	plx_env_opts_init(&opts);
	opts.name = "plx-identify";
	opts.mem_mb = o->mem_mb;
	opts.no_huge = o->no_huge;
	return plx_tool_env_init(&opts, "or set -s");
}

static int open_virtual(struct session *s)
{
	char err[512];
	int rc = plx_nvmf_device_create(s->o->virtual_spec, VIRTUAL_NAME, s->thread, &s->device,
					err, sizeof(err));

	if (!rc)
		return PLX_EXIT_OK;
	fprintf(stderr, "plx-identify: --virtual: %s\n", err);
	return rc == -EINVAL ? PLX_EXIT_USAGE : PLX_EXIT_FAILED;
}

/* The driver says itself why it gave up, but not why it could not begin, as for lack of memory */
static int attach(struct session *s)
{
	struct plx_nvme_trid trid = s->o->trid;
	struct plx_nvme_ctrlr_opts opts;
	struct plx_nvme_ctrlr *c;
	int rc;

	if (s->o->use_virtual) {
		memset(&trid, 0, sizeof(trid));
		trid.trtype = PLX_NVME_TR_VIRTUAL;
		strcpy(trid.traddr, VIRTUAL_NAME);
	}
	plx_nvme_trid_format(&trid, s->name, sizeof(s->name));
	plx_nvme_ctrlr_opts_init(&opts);
	opts.share_id = s->o->share_id;
	c = plx_nvme_connect_start(&trid, &opts);
	if (!c) {
		if (errno == ENOMEM)
			fprintf(stderr, "plx-identify: no memory to attach '%s': raise -s\n",
				s->name);
		return PLX_EXIT_FAILED;
	}
	while ((rc = plx_nvme_connect_poll(c)) == -EAGAIN)
		plx_thread_poll(s->thread);
	if (rc)
		return PLX_EXIT_FAILED;
	s->ctrlr = c;
	return PLX_EXIT_OK;
}

/* "1, 2, 3 and 5 more" */
static const char *list_namespaces(struct plx_nvme_ctrlr *c, char *out, size_t len)
{
	uint32_t listed = 0, more = 0;
	int n = 0;

	for (uint32_t nsid = 0; (nsid = plx_nvme_ctrlr_next_ns(c, nsid));) {
		if (listed++ < 8)
			n += snprintf(out + n, len - (size_t)n, "%s%u", n ? ", " : "", nsid);
		else
			more++;
	}
	if (more)
		snprintf(out + n, len - (size_t)n, " and %u more", more);
	return listed ? out : "none";
}

static bool asks_for_one(const struct id_options *o)
{
	return !(o->wanted.what & (o->wanted.what - 1));
}

/* Does what was asked for make sense with these namespaces? */
static int check_namespaces(const struct session *s)
{
	const struct id_options *o = s->o;
	uint32_t first = plx_nvme_ctrlr_next_ns(s->ctrlr, 0);
	const struct id_what_info *info = &id_whats[__builtin_ctzll(o->wanted.what)];
	bool one = info == &id_whats[ID_NS] || info == &id_whats[ID_DESCS];
	bool per_ns = asks_for_one(o) && info->scope == ID_OF_NS;
	char list[160];

	if (o->wanted.nsid && !plx_nvme_ctrlr_ns(s->ctrlr, o->wanted.nsid)) {
		fprintf(stderr, "plx-identify: -n %u: no such active namespace: there are: %s\n",
			o->wanted.nsid, list_namespaces(s->ctrlr, list, sizeof(list)));
		return PLX_EXIT_USAGE;
	}
	if (o->wanted.nsid || !per_ns)
		return PLX_EXIT_OK;
	if (!first) {
		fprintf(stderr, "plx-identify: '%s' has no active namespace\n", s->name);
		return PLX_EXIT_FAILED;
	}
	if (o->json && one && plx_nvme_ctrlr_next_ns(s->ctrlr, first)) {
		fprintf(stderr,
			"plx-identify: %s as JSON is one namespace, and there are %s: choose with "
			"-n, or have "
			"all of them with 'ctrl %s'\n",
			info->name, list_namespaces(s->ctrlr, list, sizeof(list)), info->name);
		return PLX_EXIT_USAGE;
	}
	return PLX_EXIT_OK;
}

/* What the controller lacks is an error only where it was asked for by name */
static int judge(const char *name, uint16_t status, bool named)
{
	bool lacks = id_not_supported(status);
	char text[96];

	if (!status || (lacks && !named))
		return PLX_EXIT_OK;
	fprintf(stderr, "plx-identify: %s: %s\n", name,
		lacks ? "not supported by this controller"
		      : plx_nvme_status_text(status, text, sizeof(text)));
	return PLX_EXIT_FAILED;
}

static int judge_item(const struct id_options *o, const struct id_item *item)
{
	int rc = judge(id_whats[item->what].name, item->status, o->wanted.named);

	if (item->err) {
		fprintf(stderr, "plx-identify: %s: cannot be read: %s\n", id_whats[item->what].name,
			strerror(-item->err));
		rc = PLX_EXIT_FAILED;
	}
	if (item->what == ID_FEATURES) {
		const struct id_feature_value *v = item->data;

		for (uint32_t i = 0; i < item->len / sizeof(*v); i++)
			rc |= judge(v[i].feature->name, v[i].status, o->wanted.fid >= 0);
	}
	return rc;
}

/* The pages as they are: of several namespaces one after the other */
static int save(const struct id_options *o, const struct id_dump *dump)
{
	FILE *f = fopen(o->output, "w");
	int rc = f ? 0 : -1;

	for (uint32_t i = 0; f && i < dump->nitems; i++) {
		const struct id_item *item = &dump->items[i];

		if (item->status || item->err)
			continue;
		if (o->hex)
			id_hex_dump(f, item->data, item->len);
		else
			fwrite(item->data, 1, item->len, f);
	}
	if (f)
		rc = -(ferror(f) != 0) | fclose(f);
	if (!rc)
		return PLX_EXIT_OK;
	fprintf(stderr, "plx-identify: -o: '%s' cannot be written: %s\n", o->output,
		strerror(errno));
	return PLX_EXIT_FAILED;
}

static int show(const struct session *s)
{
	const struct id_options *o = s->o;
	struct id_dump dump;
	int rc = check_namespaces(s), result = PLX_EXIT_OK;

	if (rc)
		return rc;
	rc = id_read(s->ctrlr, &o->wanted, &dump);
	if (rc) {
		/* a controller that has failed has been reported by the driver */
		if (!*plx_nvme_ctrlr_failure(s->ctrlr))
			fprintf(stderr, "plx-identify: '%s' cannot be read: %s\n", s->name,
				strerror(-rc));
		id_dump_free(&dump);
		return PLX_EXIT_FAILED;
	}
	if (!dump.nitems && asks_for_one(o))
		result = judge(id_whats[__builtin_ctzll(o->wanted.what)].name, NONE, true);
	else if (o->output)
		result = save(o, &dump);
	else if (o->json)
		id_print_json(stdout, &dump, asks_for_one(o));
	else
		id_print_text(stdout, &dump, o->hex);
	for (uint32_t i = 0; i < dump.nitems; i++)
		result |= judge_item(o, &dump.items[i]);
	id_dump_free(&dump);
	return result | plx_tool_flush("plx-identify");
}

static int run(const struct id_options *o)
{
	struct session s = { .o = o };
	int rc = start_environment(o);

	if (rc)
		return rc;
	s.thread = plx_thread_create("identify");
	if (!s.thread) {
		fprintf(stderr, "plx-identify: out of memory\n");
		plx_env_fini();
		return PLX_EXIT_FAILED;
	}
	plx_thread_enter(s.thread);
	if (o->use_virtual)
		rc = open_virtual(&s);
	if (!rc)
		rc = attach(&s);
	if (!rc)
		rc = show(&s);
	plx_nvme_disconnect(s.ctrlr);
	if (s.device)
		plx_nvmf_device_destroy(s.device);
	plx_thread_enter(NULL);
	plx_thread_destroy(s.thread);
	plx_env_fini();
	return rc;
}

int main(int argc, char **argv)
{
	struct id_options o;
	char err[512];
	int rc;

	plx_tool_begin();
	rc = id_options_parse(&o, argc, argv, err, sizeof(err));
	if (rc < 0) {
		fprintf(stderr, "plx-identify: %s\n", err);
		return PLX_EXIT_USAGE;
	}
	if (rc == ID_RUN)
		return run(&o);
	if (rc == ID_HELP)
		id_options_help(stdout);
	else
		printf("plx-identify %s\n", PLX_VERSION);
	return plx_tool_flush("plx-identify");
}
