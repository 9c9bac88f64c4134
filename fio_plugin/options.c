/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fio_plugin/options.c - the options of the engines, by the names their users know
 *
 * docs/fio.md is made of these tables. What this driver cannot do is refused by name; an option
 * that is accepted does what it says.
 */
#include "fio_plugin/fio_plugin.h"

#define ROW_OF(options, option, kind, member, default_value, text)                                 \
	.name = option, .lname = option, .type = kind, .off1 = offsetof(struct options, member),   \
	.def = default_value, .help = text, .category = FIO_OPT_C_ENGINE,                          \
	.group = FIO_OPT_G_INVALID
#define ROW(option, kind, member, default_value, text)                                             \
	ROW_OF(nvme_options, option, kind, member, default_value, text)
#define BDEV_ROW(option, kind, member, default_value, text)                                        \
	ROW_OF(bdev_options, option, kind, member, default_value, text)

struct fio_option nvme_option_table[] = {
	{ ROW("mem_size_mb", FIO_OPT_INT, mem_size_mb, "0",
	      "MiB of memory for buffers and queues; 0: what the jobs need") },
	{ ROW("shm_id", FIO_OPT_INT, shm_id, "-1",
	      "share PCIe controllers with other processes that give the same number: the first "
	      "owns "
	      "them; -1: not shared"),
	  .minval = -1 },
	{ ROW("enable_sgl", FIO_OPT_INT, enable_sgl, "0",
	      "1: describe buffers with SGLs, in pieces of sge_size, where the controller has "
	      "them"),
	  .maxval = 1 },
	{ ROW("sge_size", FIO_OPT_INT, sge_size, "4096", "bytes of a piece, with enable_sgl=1"),
	  .minval = 4 },
	{ ROW("disable_pcie_sgl_merge", FIO_OPT_INT, disable_pcie_sgl_merge, "0",
	      "1: with enable_sgl=1, give pieces that are adjacent in memory descriptors of their "
	      "own"),
	  .maxval = 1 },
	{ ROW("bit_bucket_data_len", FIO_OPT_INT, bit_bucket_data_len, "0",
	      "bytes that are read behind each read's data and dropped by the controller, by an "
	      "SGL "
	      "bit bucket"),
	  .minval = 0 },
	{ ROW("hostnqn", FIO_OPT_STR_STORE, hostnqn, NULL, "this host's NQN, for fabrics") },
	{ ROW("pi_act", FIO_OPT_INT, pi_act, "1",
	      "1: the controller inserts and strips protection information (PRACT)"),
	  .maxval = 1 },
	{ ROW("pi_chk", FIO_OPT_STR_STORE, pi_chk, NULL,
	      "what the controller checks of it: GUARD, REFTAG, APPTAG, joined by |") },
	{ ROW("md_per_io_size", FIO_OPT_INT, md_per_io_size, "4096",
	      "bytes of separate metadata for an I/O at most") },
	{ ROW("apptag", FIO_OPT_INT, apptag, "0x1234", "application tag"), .maxval = 0xffff },
	{ ROW("apptag_mask", FIO_OPT_INT, apptag_mask, "0xffff", "bits of it that are checked"),
	  .maxval = 0xffff },
	{ ROW("digest_enable", FIO_OPT_STR_STORE, digest_enable, NULL,
	      "NVMe/TCP digests: NONE, HEADER, DATA or BOTH; only NONE is supported") },
	{ ROW("enable_vmd", FIO_OPT_INT, enable_vmd, "0",
	      "devices behind a volume management device: only 0 is supported"),
	  .maxval = 1 },
	{ ROW("initial_zone_reset", FIO_OPT_INT, initial_zone_reset, "0",
	      "1: reset all zones of a zoned namespace before any job runs"),
	  .maxval = 1 },
	{ ROW("zone_append", FIO_OPT_INT, zone_append, "0",
	      "1: write to a zoned namespace by Zone Append"),
	  .maxval = 1 },
	{ ROW("print_qid_mappings", FIO_OPT_INT, print_qid_mappings, "0",
	      "1: say which queue pair each job has"),
	  .maxval = 1 },
	{ ROW("log_flags", FIO_OPT_STR_STORE, log_flags, NULL,
	      "components, separated by commas, whose debug messages are shown; or all") },
	{ ROW("spdk_tracing", FIO_OPT_INT, spdk_tracing, "0",
	      "record trace points: only 0 is supported"),
	  .maxval = 1 },
	{ ROW("enable_interrupts", FIO_OPT_INT, enable_interrupts, "0",
	      "1: wait for interrupts instead of polling, where the controller has some"),
	  .maxval = 1 },
	{ ROW("enable_wrr", FIO_OPT_INT, enable_wrr, "0",
	      "1: weighted round robin with an urgent class among the controller's queues"),
	  .maxval = 1 },
	{ ROW("arbitration_burst", FIO_OPT_INT, arbitration_burst, "0",
	      "with weights: commands at once from a queue, as a power of two; 7: no limit"),
	  .maxval = 7 },
	{ ROW("low_weight", FIO_OPT_INT, low_weight, "0",
	      "commands of a round from queues of low priority; 0: what the controller has"),
	  .maxval = 256 },
	{ ROW("medium_weight", FIO_OPT_INT, medium_weight, "0", "of medium priority"),
	  .maxval = 256 },
	{ ROW("high_weight", FIO_OPT_INT, high_weight, "0", "of high priority"), .maxval = 256 },
	{ ROW("wrr_priority", FIO_OPT_INT, wrr_priority, "0",
	      "of this job's queues, with enable_wrr=1: 0 urgent, 1 high, 2 medium, 3 low"),
	  .maxval = 3 },
	{ ROW("virtual", FIO_OPT_STR_STORE, virtual_spec, NULL,
	      "what the controller of trtype=VIRTUAL is like, as plx-perf --virtual takes it") },
	{ .name = NULL },
};

struct fio_option bdev_option_table[] = {
	{ BDEV_ROW("spdk_json_conf", FIO_OPT_STR_STORE, spdk_json_conf, NULL,
		   "JSON configuration that makes the bdevs, as plx-tgt takes it") },
	{ BDEV_ROW("spdk_conf", FIO_OPT_STR_STORE, spdk_conf, NULL,
		   "configuration in the old INI format: not supported, use spdk_json_conf") },
	{ BDEV_ROW("spdk_mem", FIO_OPT_INT, spdk_mem, "0",
		   "MiB of memory for buffers; 0: what the jobs need") },
	{ BDEV_ROW("spdk_single_seg", FIO_OPT_BOOL, spdk_single_seg, "0",
		   "memory in one file: it always is") },
	{ BDEV_ROW("log_flags", FIO_OPT_STR_STORE, log_flags, NULL,
		   "components, separated by commas, whose debug messages are shown; or all") },
	{ BDEV_ROW("initial_zone_reset", FIO_OPT_INT, initial_zone_reset, "0",
		   "reset all zones before I/O: only 0 is supported"),
	  .maxval = 1 },
	{ BDEV_ROW("zone_append", FIO_OPT_INT, zone_append, "0",
		   "write by Zone Append: only 0 is supported"),
	  .maxval = 1 },
	{ BDEV_ROW("env_context", FIO_OPT_STR_STORE, env_context, NULL,
		   "more arguments for DPDK's EAL, separated by blanks") },
	{ BDEV_ROW("spdk_rpc_listen_addr", FIO_OPT_STR_STORE, spdk_rpc_listen_addr, NULL,
		   "Unix socket on which JSON-RPC requests are answered while fio runs") },
	{ .name = NULL },
};

struct refusal {
	const char *option;
	bool asked;
	const char *why;
};

static int refuse(const struct thread_data *td, const struct refusal *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!r[i].asked)
			continue;
		engine_error(td, "%s: %s: leave it out", r[i].option, r[i].why);
		return -1;
	}
	return 0;
}

/* "GUARD|REFTAG|APPTAG" */
static int parse_checks(const struct thread_data *td, struct nvme_options *o)
{
	static const struct {
		const char *word;
		unsigned int flag;
	} checks[] = {
		{ "GUARD", PLX_NVME_RW_PRCHK_GUARD },
		{ "REFTAG", PLX_NVME_RW_PRCHK_REF },
		{ "APPTAG", PLX_NVME_RW_PRCHK_APP },
	};
	const char *p = o->pi_chk ? o->pi_chk : "";

	o->rw_flags = 0;
	while (*p) {
		size_t len = strcspn(p, "|"), i = 0;

		while (i < PLX_ARRAY_SIZE(checks) &&
		       (strlen(checks[i].word) != len || strncmp(checks[i].word, p, len)))
			i++;
		if (i == PLX_ARRAY_SIZE(checks)) {
			engine_error(td, "pi_chk=%s: use GUARD, REFTAG, APPTAG, joined by |",
				     o->pi_chk);
			return -1;
		}
		o->rw_flags |= checks[i].flag;
		p += len + (p[len] == '|');
	}
	return 0;
}

int nvme_options_check(const struct thread_data *td)
{
	struct nvme_options *o = td->eo;
	bool weights = o->enable_wrr && o->low_weight && o->medium_weight && o->high_weight;
	const struct refusal r[] = {
		{ "disable_pcie_sgl_merge", o->disable_pcie_sgl_merge && !o->enable_sgl,
		  "it goes with enable_sgl" },
		{ "digest_enable", o->digest_enable && strcasecmp(o->digest_enable, "NONE"),
		  "no transport of this build has digests" },
		{ "enable_vmd", o->enable_vmd, "there is no driver for VMD" },
		{ "spdk_tracing", o->spdk_tracing, "there are no trace points" },
		{ "arbitration_burst", o->arbitration_burst && !weights,
		  "it goes with enable_wrr and the three weights" },
		{ "low_weight", o->low_weight && !o->enable_wrr, "it goes with enable_wrr" },
		{ "medium_weight", o->medium_weight && !o->enable_wrr, "it goes with enable_wrr" },
		{ "high_weight", o->high_weight && !o->enable_wrr, "it goes with enable_wrr" },
		{ "wrr_priority", o->wrr_priority && !o->enable_wrr, "it goes with enable_wrr" },
	};

	if (refuse(td, r, PLX_ARRAY_SIZE(r)))
		return -1;
	if ((o->low_weight || o->medium_weight || o->high_weight) && !weights) {
		engine_error(td, "low_weight=%d, medium_weight=%d, high_weight=%d: set all three",
			     o->low_weight, o->medium_weight, o->high_weight);
		return -1;
	}
	if (o->sge_size % 4) {
		engine_error(td, "sge_size=%d: pieces are whole dwords: use a multiple of 4",
			     o->sge_size);
		return -1;
	}
	return parse_checks(td, o);
}

int bdev_options_check(const struct thread_data *td)
{
	const struct bdev_options *o = td->eo;
	const struct refusal r[] = {
		{ "spdk_conf", o->spdk_conf,
		  "the INI format is gone, write JSON (spdk_json_conf)" },
		{ "initial_zone_reset", o->initial_zone_reset, "there are no zoned bdevs" },
		{ "zone_append", o->zone_append, "there are no zoned bdevs" },
	};

	if (refuse(td, r, PLX_ARRAY_SIZE(r)))
		return -1;
	if (o->spdk_json_conf)
		return 0;
	engine_error(td, "no bdevs: name a JSON configuration with spdk_json_conf");
	return -1;
}
