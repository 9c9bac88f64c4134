/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_device.c - the embedded device: its text, what it is made of, and that
 * nothing of it remains
 */
#include "targets/nvmf/device_spec.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pollux/nvme.h>
#include <pollux/nvmf.h>
#include <string.h>
#include <time.h>

#define KIB *1024ull
#define MIB *1048576ull

static char err[512];

static struct device_spec parsed(const char *text)
{
	struct device_spec s;

	err[0] = '\0';
	cr_assert_eq(device_spec_parse(text, &s, err, sizeof err), 0, "'%s': %s", text, err);
	return s;
}

/* ---- the text ---- */

Test(spec, defaults)
{
	struct device_spec s = parsed("");

	cr_expect_eq(s.size, 512 MIB);
	cr_expect_not(s.null);
	cr_expect_eq(s.block, 512);
	cr_expect_eq(s.md, 0);
	cr_expect_eq(s.pi, 0);
	cr_expect_not(s.delayed);
	cr_expect_eq(s.nrules, 0);
	cr_expect_eq(s.mdts, 5);
	cr_expect_eq(s.namespaces, 1);
	cr_expect_not(s.is_inline);
	cr_expect_eq(s.core, -1);
	cr_expect_eq(s.vanish_ns, 0);
}

Test(spec, every_key)
{
	struct device_spec s = parsed("size=1G,bdev=null,block=4k,md=16,pi=2,extended,latency=tlc,"
				      "stall=0.25:5ms,seed=9,mdts=1M,"
				      "queues=4,queue_size=64,namespaces=3,core=5,vanish=1.5s");

	cr_expect_eq(s.size, 1024 MIB);
	cr_expect(s.null);
	cr_expect_eq(s.block, 4096);
	cr_expect_eq(s.md, 16);
	cr_expect_eq(s.pi, 2);
	cr_expect(s.extended);
	cr_expect(s.delayed);
	cr_expect_eq(s.read.kind, PLX_LAT_TABLE);
	cr_expect_eq(s.read.stall_chance, 0.25);
	cr_expect_eq(s.write.stall_ns, 5000000);
	cr_expect_eq(s.seed, 9);
	cr_expect_eq(s.mdts, 8);
	cr_expect_eq(s.queues, 4);
	cr_expect_eq(s.queue_size, 64);
	cr_expect_eq(s.namespaces, 3);
	cr_expect_eq(s.core, 5);
	cr_expect_eq(s.vanish_ns, 1500000000);
	cr_expect(parsed("inline").is_inline);
}

Test(spec, latency_shapes)
{
	struct device_spec s = parsed("latency=fixed:10us");

	cr_expect_eq(s.read.kind, PLX_LAT_FIXED);
	cr_expect_eq(s.read.mean_ns, 10000);
	cr_expect_eq(s.write.mean_ns, 10000);
	s = parsed("latency=normal:80us:5us");
	cr_expect_eq(s.read.kind, PLX_LAT_NORMAL);
	cr_expect_eq(s.read.mean_ns, 80000);
	cr_expect_eq(s.read.sigma_ns, 5000);
	s = parsed("latency=lognormal:80us:0.3");
	cr_expect_eq(s.read.kind, PLX_LAT_LOGNORMAL);
	cr_expect_eq(s.read.sigma, 0.3);
	s = parsed("latency=table:50=80us:99=200us:99.9=1ms");
	cr_expect_eq(s.read.kind, PLX_LAT_TABLE);
	cr_expect_eq(s.read.points, 3);
	cr_expect_eq(s.read.table[2].percentile, 99.9);
	cr_expect_eq(s.read.table[2].ns, 1000000);
	cr_expect_not(parsed("latency=none").delayed);
}

Test(spec, stall_and_latency_in_any_order)
{
	struct device_spec a = parsed("stall=0.5:1ms,latency=fixed:10us"),
			   b = parsed("latency=fixed:10us,stall=0.5:1ms");

	cr_expect_eq(a.read.stall_ns, 1000000);
	cr_expect_eq(a.read.mean_ns, 10000);
	cr_expect_eq(memcmp(&a.read, &b.read, sizeof a.read), 0);
	a = parsed("stall=0.5:1ms");
	cr_expect(a.delayed);
	cr_expect_eq(a.read.kind, PLX_LAT_NONE);
	a = parsed("stall=0.5:1ms,latency=qlc");
	cr_expect_eq(a.write.kind, PLX_LAT_TABLE);
	cr_expect_eq(a.write.stall_chance, 0.5);
}

Test(spec, latency_classes_ascend)
{
	static const char *const names[] = { "latency=optane", "latency=tlc", "latency=qlc" };
	uint64_t median = 0;

	for (size_t i = 0; i < 3; i++) {
		struct device_spec s = parsed(names[i]);
		const struct plx_bdev_latency *l[] = { &s.read, &s.write };

		for (size_t k = 0; k < 2; k++) {
			cr_assert_geq(l[k]->points, 2);
			cr_expect_eq(l[k]->table[0].percentile, 0);
			cr_expect_eq(l[k]->table[l[k]->points - 1].percentile, 100);
			for (unsigned p = 1; p < l[k]->points; p++) {
				cr_expect_gt(l[k]->table[p].percentile,
					     l[k]->table[p - 1].percentile);
				cr_expect_geq(l[k]->table[p].ns, l[k]->table[p - 1].ns);
			}
		}
		cr_expect_gt(s.read.table[1].ns, median, "slower media come later");
		median = s.read.table[1].ns;
	}
}

Test(spec, error_rules)
{
	struct device_spec s = parsed("error=corrupt:read:0.001,error=hang:write:#1000:1,error="
				      "fail:all:1,error=hang-hard:compare:.5");

	cr_assert_eq(s.nrules, 4);
	cr_expect_eq(s.rules[0].kind, PLX_BDEV_ERR_CORRUPT);
	cr_expect_eq(s.rules[0].types, 1u << PLX_BDEV_READ);
	cr_expect_eq(s.rules[0].share, 0.001);
	cr_expect_eq(s.rules[0].nth, 0);
	cr_expect_eq(s.rules[0].count, 0);
	cr_expect_eq(s.rules[1].kind, PLX_BDEV_ERR_HANG);
	cr_expect_eq(s.rules[1].types, 1u << PLX_BDEV_WRITE);
	cr_expect_eq(s.rules[1].nth, 1000);
	cr_expect_eq(s.rules[1].count, 1);
	cr_expect(s.rules[2].types & 1u << PLX_BDEV_COPY);
	cr_expect_not(s.rules[2].types & (1u << PLX_BDEV_RESET | 1u << PLX_BDEV_ABORT));
	cr_expect_eq(s.rules[3].kind, PLX_BDEV_ERR_HANG_HARD);
	cr_expect_eq(s.rules[3].share, 0.5);
}

/* Each is refused with a sentence that begins with the key and its value and has @remedy in it */
static const struct bad {
	const char *text, *begins, *remedy;
} bads[] = {
	{ "sise=1G", "sise=1G: ", "size" },
	{ "bogus", "bogus: ", "use one of" },
	{ "size=12x", "size=12x: ", "use" },
	{ "size=0", "size=0: ", "use" },
	{ "size", "size: ", "size=VALUE" },
	{ "size=", "size: ", "size=VALUE" },
	{ "size=1000", "size=1000: ", "512" },
	{ "size=1G,size=2G", "size=2G: ", "twice" },
	{ "bdev=ram", "bdev=ram: ", "malloc or null" },
	{ "block=1000", "block=1000: ", "512 or 4096" },
	{ "md=12", "md=12: ", "0, 8, 16 or 64" },
	{ "md=128", "md=128: ", "64" },
	{ "pi=4,md=8", "pi=4: ", "3" },
	{ "pi=1", "pi=1: ", "md=8" },
	{ "extended", "extended: ", "md=8" },
	{ "extended=yes,md=8", "extended=yes: ", "alone" },
	{ "inline=1", "inline=1: ", "alone" },
	{ "inline,core=2", "core=2: ", "leave out" },
	{ "latency=fast", "latency=fast: ", "optane" },
	{ "latency=fixed", "latency=fixed: ", "fixed:10us" },
	{ "latency=fixed:10", "latency=fixed:10: ", "unit" },
	{ "latency=fixed:10us:3", "latency=fixed:10us:3: ", "fixed:10us" },
	{ "latency=normal:80us", "latency=normal:80us: ", "normal:80us:5us" },
	{ "latency=lognormal:80us:x", "latency=lognormal:80us:x: ", "number" },
	{ "latency=lognormal:80us:nan", "latency=lognormal:80us:nan: ", "number" },
	{ "latency=table", "latency=table: ", "table:50=80us" },
	{ "latency=table:50", "latency=table:50: ", "PERCENTILE=TIME" },
	{ "latency=table:50=2us:40=3us", "latency=table:50=2us:40=3us: ", "ascend" },
	{ "latency=table:50=2us:60=1us", "latency=table:50=2us:60=1us: ", "ascend" },
	{ "latency=table:101=2us", "latency=table:101=2us: ", "100" },
	{ "stall=5ms", "stall=5ms: ", "0.0001:5ms" },
	{ "stall=2:5ms", "stall=2:5ms: ", "0 to 1" },
	{ "stall=-1:5ms", "stall=-1:5ms: ", "0 to 1" },
	{ "seed=x", "seed=x: ", "" },
	{ "error=corrupt", "error=corrupt: ", "KIND:TYPE:SHARE" },
	{ "error=melt:read:1", "error=melt:read:1: ", "hang-hard" },
	{ "error=fail:reads:1", "error=fail:reads:1: ", "read" },
	{ "error=fail:reset:1", "error=fail:reset:1: ", "read" },
	{ "error=corrupt:flush:1", "error=corrupt:flush:1: ", "corrupted" },
	{ "error=fail:read:1.5", "error=fail:read:1.5: ", "0 to 1" },
	{ "error=fail:read:0", "error=fail:read:0: ", "0.001" },
	{ "error=fail:read:#0", "error=fail:read:#0: ", "" },
	{ "error=fail:read:1:0", "error=fail:read:1:0: ", "" },
	{ "error=fail:read:1:1:1", "error=fail:read:1:1:1: ", "KIND:TYPE:SHARE" },
	{ "mdts=4k", "mdts=4k: ", "8k to 1M" },
	{ "mdts=2M", "mdts=2M: ", "8k to 1M" },
	{ "mdts=96k", "mdts=96k: ", "power of two" },
	{ "queues=0", "queues=0: ", "" },
	{ "queues=129", "queues=129: ", "128" },
	{ "queue_size=1", "queue_size=1: ", "2" },
	{ "queue_size=65537", "queue_size=65537: ", "65536" },
	{ "namespaces=0", "namespaces=0: ", "1" },
	{ "namespaces=1025", "namespaces=1025: ", "1024" },
	{ "core=-1", "core=-1: ", "" },
	{ "vanish=2", "vanish=2: ", "unit" },
	{ "vanish=0s", "vanish=0s: ", "2s" },
	{ "size=1G,,md=8", "", "" },
	{ "=5", "", "" },
};

Test(spec, what_is_wrong_is_named)
{
	for (size_t i = 0; i < PLX_ARRAY_SIZE(bads); i++) {
		const struct bad *b = &bads[i];
		struct device_spec s;

		err[0] = '\0';
		cr_expect_eq(device_spec_parse(b->text, &s, err, sizeof err), -EINVAL,
			     "'%s' was taken", b->text);
		cr_expect_eq(strncmp(err, b->begins, strlen(b->begins)), 0, "'%s': %s", b->text,
			     err);
		cr_expect_not_null(strstr(err, b->remedy), "'%s': %s", b->text, err);
		cr_expect_gt(strlen(err), strlen(b->begins), "'%s': %s", b->text, err);
		cr_expect_null(strchr(err, '\n'));
	}
}

Test(spec, too_many_rules)
{
	char text[600] = "";
	struct device_spec s;

	for (int i = 0; i < 17; i++)
		strcat(text, i ? ",error=fail:read:1" : "error=fail:read:1");
	cr_expect_eq(device_spec_parse(text, &s, err, sizeof err), -EINVAL);
	cr_expect_not_null(strstr(err, "16"));
}

Test(spec, accessors_and_help)
{
	static const char *const keys[] = {
		"size=",       "bdev=",	      "block=", "md=",	  "pi=",    "extended",
		"latency=",    "stall=",      "seed=",	"error=", "mdts=",  "queues=",
		"queue_size=", "namespaces=", "inline", "core=",  "vanish="
	};

	cr_expect(plx_nvmf_device_spec_inline("bdev=null,inline"));
	cr_expect_not(plx_nvmf_device_spec_inline("bdev=null"));
	cr_expect_not(plx_nvmf_device_spec_inline("inline,bogus"));
	cr_expect_eq(plx_nvmf_device_spec_core("core=3"), 3);
	cr_expect_eq(plx_nvmf_device_spec_core(""), -1);
	cr_expect_eq(plx_nvmf_device_spec_namespaces("size=1M,namespaces=7"), 7);
	cr_expect_eq(plx_nvmf_device_spec_namespaces(""), 1);
	cr_expect_eq(plx_nvmf_device_spec_namespaces("namespaces=0"), 1);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(keys); i++)
		cr_expect_not_null(strstr(plx_nvmf_spec_help(), keys[i]), "%s", keys[i]);
}

/* ---- the device ---- */

static struct plx_thread *thread;

static void env_init(void)
{
	struct plx_env_opts eo;

	plx_env_opts_init(&eo);
	eo.mem_mb = 64;
	eo.no_huge = true;
	cr_assert_eq(plx_env_init(&eo), 0);
	thread = plx_thread_create("device");
	plx_thread_enter(thread);
}

static void env_fini(void)
{
	cr_expect_null(plx_bdev_first(), "a bdev was left behind");
	plx_thread_enter(NULL);
	plx_thread_destroy(thread);
	plx_env_fini();
}

static struct plx_nvmf_device *create(const char *spec)
{
	struct plx_nvmf_device *d = NULL;

	err[0] = '\0';
	cr_assert_eq(plx_nvmf_device_create(spec, "dev", thread, &d, err, sizeof err), 0, "%s",
		     err);
	return d;
}

static struct plx_nvme_ctrlr *attach(const char *name)
{
	struct plx_nvme_trid trid;
	char text[64];

	snprintf(text, sizeof text, "trtype:VIRTUAL traddr:%s", name);
	cr_assert_eq(plx_nvme_trid_parse(&trid, text, err, sizeof err), 0, "%s", err);
	return plx_nvme_connect(&trid, NULL);
}

struct answer {
	bool done;
	uint16_t status;
};

static void answered(void *arg, const struct plx_nvme_cpl *cpl)
{
	*(struct answer *)arg = (struct answer){ true, plx_nvme_status(cpl) };
}

static bool wait_answer(struct plx_nvme_ctrlr *c, struct plx_nvme_qpair *qp, struct answer *a)
{
	time_t end = time(NULL) + 20;

	while (!a->done && time(NULL) < end) {
		plx_nvme_qpair_poll(qp, 0);
		plx_nvme_ctrlr_poll(c);
		plx_thread_poll(thread);
	}
	return a->done;
}

Test(device, is_what_the_text_says, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,bdev=null,block=4096,md=8,pi=1,namespaces=3,"
					   "mdts=64k,queues=2,queue_size=32");
	struct plx_nvme_ctrlr *c = attach("dev");
	struct plx_nvme_ns *ns;

	cr_assert_not_null(c);
	cr_expect_eq(plx_nvme_ctrlr_max_io_bytes(c), 64 KIB);
	cr_expect_eq(plx_nvme_ctrlr_max_queue_size(c), 32);
	cr_expect_eq(plx_nvme_ctrlr_num_io_queues(c), 2);
	for (uint32_t i = 1; i <= 3; i++) {
		ns = plx_nvme_ctrlr_ns(c, i);
		cr_assert_not_null(ns);
		cr_expect_eq(plx_nvme_ns_blocks(ns), 512);
		cr_expect_eq(plx_nvme_ns_block_size(ns), 4096);
		cr_expect_eq(plx_nvme_ns_md_size(ns), 8);
		cr_expect_eq(plx_nvme_ns_pi_type(ns), 1);
		cr_expect_not(plx_nvme_ns_md_extended(ns));
	}
	cr_expect_null(plx_nvme_ctrlr_ns(c, 4));
	plx_nvme_disconnect(c);
	plx_nvmf_device_destroy(d);
}

Test(device, carries_data, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,latency=fixed:1us");
	struct plx_nvme_ctrlr *c = attach("dev");
	char *buf = plx_dma_zalloc(8192, 4096, PLX_NUMA_ANY),
	     *back = plx_dma_zalloc(8192, 4096, PLX_NUMA_ANY);
	struct answer a = { 0 };
	struct plx_nvme_qpair *qp;

	cr_assert_not_null(c);
	qp = plx_nvme_qpair_create(c, NULL);
	cr_assert_not_null(qp);
	memset(buf, 0xc3, 8192);
	cr_assert_eq(plx_nvme_write(plx_nvme_ctrlr_ns(c, 1), qp, buf, 100, 16, answered, &a), 0);
	cr_assert(wait_answer(c, qp, &a));
	cr_expect_eq(a.status, 0);
	a.done = false;
	cr_assert_eq(plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, back, 100, 16, answered, &a), 0);
	cr_assert(wait_answer(c, qp, &a));
	cr_expect_eq(a.status, 0);
	cr_expect_eq(memcmp(buf, back, 8192), 0);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
	plx_dma_free(buf);
	plx_dma_free(back);
	plx_nvmf_device_destroy(d);
}

/* Reads of several commands, whose first blocks, and every other one after that, are dropped */
Test(device, drops_what_falls_into_bit_buckets, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,mdts=16k");
	struct plx_nvme_ctrlr *c = attach("dev");
	char *buf = plx_dma_zalloc(65536, 4096, PLX_NUMA_ANY),
	     *back = plx_dma_zalloc(65536, 4096, PLX_NUMA_ANY);
	struct iovec iov[32] = { { PLX_NVME_BIT_BUCKET, 49 * 512 } };
	struct plx_nvme_rw rw = { .iov = iov, .iovcnt = 32, .nlb = 80, .buckets = true };
	struct answer a = { 0 };
	struct plx_nvme_qpair *qp;

	cr_assert_not_null(c);
	qp = plx_nvme_qpair_create(c, NULL);
	cr_assert_not_null(qp);
	for (unsigned i = 0; i < 80 * 512; i++)
		buf[i] = (char)(i / 512 + 1);
	cr_assert_eq(plx_nvme_write(plx_nvme_ctrlr_ns(c, 1), qp, buf, 0, 80, answered, &a), 0);
	cr_assert(wait_answer(c, qp, &a));
	a.done = false;
	for (unsigned i = 1; i < 32; i++)
		iov[i] = (struct iovec){ i % 2 ? back + i * 512 : PLX_NVME_BIT_BUCKET, 512 };
	cr_assert_eq(plx_nvme_readv(plx_nvme_ctrlr_ns(c, 1), qp, &rw, answered, &a), 0);
	cr_assert(wait_answer(c, qp, &a));
	cr_expect_eq(a.status, 0);
	for (unsigned i = 0; i < 32; i++)
		cr_expect_eq(back[i * 512 + 511], i % 2 ? (char)(48 + i + 1) : 0, "piece %u", i);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
	plx_dma_free(buf);
	plx_dma_free(back);
	plx_nvmf_device_destroy(d);
}

Test(device, counts_the_errors_it_injects, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,error=fail:read:#2:1");
	struct plx_nvme_ctrlr *c = attach("dev");
	char *buf = plx_dma_zalloc(4096, 4096, PLX_NUMA_ANY);
	struct plx_nvme_qpair *qp;
	uint64_t counts[4];
	uint16_t first, second;
	struct answer a = { 0 };

	cr_assert_not_null(c);
	qp = plx_nvme_qpair_create(c, NULL);
	cr_assert_not_null(qp);
	/* raw commands: the driver does not retry those of its caller behind its back */
	plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, buf, 0, 8, answered, &a);
	cr_assert(wait_answer(c, qp, &a));
	first = a.status;
	plx_nvmf_device_injected(d, counts);
	cr_expect_eq(first, 0);
	cr_expect_eq(counts[PLX_BDEV_ERR_FAIL], 0);
	a.done = false;
	plx_nvme_read(plx_nvme_ctrlr_ns(c, 1), qp, buf, 0, 8, answered, &a);
	cr_assert(wait_answer(c, qp, &a));
	second = a.status;
	plx_nvmf_device_injected(d, counts);
	cr_expect(!second || PLX_NVME_ST_CODE(second) == PLX_BDEV_ST_READ_ERROR);
	cr_expect_eq(counts[PLX_BDEV_ERR_FAIL], 1);
	cr_expect_eq(counts[PLX_BDEV_ERR_CORRUPT] + counts[PLX_BDEV_ERR_HANG] +
			     counts[PLX_BDEV_ERR_HANG_HARD],
		     0);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(c);
	plx_dma_free(buf);
	plx_nvmf_device_destroy(d);
}

Test(device, more_controllers_share_its_namespaces, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,bdev=null");
	struct plx_nvme_ctrlr *a, *b;

	cr_assert_eq(plx_nvmf_device_add_controller(d, "dev2", thread, err, sizeof err), 0, "%s",
		     err);
	a = attach("dev");
	b = attach("dev2");
	cr_assert_not_null(a);
	cr_assert_not_null(b);
	cr_expect_eq(plx_nvme_ns_blocks(plx_nvme_ctrlr_ns(a, 1)),
		     plx_nvme_ns_blocks(plx_nvme_ctrlr_ns(b, 1)));
	cr_expect_neq(plx_nvme_ctrlr_data(a)->cntlid, plx_nvme_ctrlr_data(b)->cntlid);
	plx_nvme_disconnect(a);
	plx_nvme_disconnect(b);
	plx_nvmf_device_destroy(d);
}

Test(device, name_that_is_taken, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,bdev=null"), *other = NULL;

	cr_expect_eq(plx_nvmf_device_create("size=2M,bdev=null", "dev", thread, &other, err,
					    sizeof err),
		     -EEXIST);
	cr_expect_null(other);
	cr_expect_not_null(strstr(err, "name"), "%s", err);
	cr_expect_eq(plx_nvmf_device_add_controller(d, "dev", thread, err, sizeof err), -EEXIST);
	plx_nvmf_device_destroy(d);
	plx_nvmf_device_destroy(create("size=2M,bdev=null"));
}

Test(device, removed_controller_leaves_its_name_and_the_others, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,bdev=null");
	struct plx_nvme_ctrlr *a, *b;

	cr_assert_eq(plx_nvmf_device_add_controller(d, "dev2", thread, err, sizeof err), 0);
	cr_expect_eq(plx_nvmf_device_remove_controller(d, "dev3"), -ENOENT);
	cr_expect_eq(plx_nvmf_device_remove_controller(d, "dev2"), 0);
	cr_expect_eq(plx_nvmf_device_remove_controller(d, "dev2"), -ENOENT);
	cr_expect_null(attach("dev2"));
	a = attach("dev");
	cr_assert_not_null(a);
	cr_assert_eq(plx_nvmf_device_add_controller(d, "dev2", thread, err, sizeof err), 0);
	b = attach("dev2");
	cr_assert_not_null(b);
	plx_nvme_disconnect(a);
	plx_nvme_disconnect(b);
	plx_nvmf_device_destroy(d);
}

Test(device, half_made_is_undone, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = NULL;

	/* the third namespace does not fit into any memory */
	cr_expect_eq(plx_nvmf_device_create("size=4096T,namespaces=3,latency=tlc", "dev", thread,
					    &d, err, sizeof err),
		     -ENOMEM);
	cr_expect_null(d);
	cr_expect_not_null(strstr(err, "size="), "%s", err);
	cr_expect_eq(plx_nvmf_device_create("sise=1", "dev", thread, &d, err, sizeof err), -EINVAL);
	cr_expect_null(d);
	plx_nvmf_device_destroy(NULL);
}

Test(device, vanishes_when_told_to, .init = env_init, .fini = env_fini)
{
	struct plx_nvmf_device *d = create("size=2M,bdev=null,vanish=200ms");
	struct plx_nvme_ctrlr *c = attach("dev");
	time_t end = time(NULL) + 20;
	int rc = 0;

	cr_assert_not_null(c);
	while (rc != -ENXIO && time(NULL) < end) {
		plx_thread_poll(thread);
		rc = plx_nvme_ctrlr_poll(c);
	}
	cr_expect_eq(rc, -ENXIO);
	cr_expect_eq(plx_nvme_ctrlr_state(c), PLX_NVME_CTRLR_FAILED);
	cr_expect_gt(strlen(plx_nvme_ctrlr_failure(c)), 0);
	plx_nvme_disconnect(c);
	plx_nvmf_device_destroy(d);
}
