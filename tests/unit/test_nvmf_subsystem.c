/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_nvmf_subsystem.c - subsystem names, namespaces coming and going under a running
 * controller
 */
#include "targets/nvmf/nvmf_admin.h"
#include "tests/unit/nvmf_host.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

static struct host h;
static char *page;

static void start(void)
{
	cr_assert_eq(host_init(&h, &(struct host_opts){ .error = true }), 0);
	page = host_alloc(&h, PLX_PAGE_SIZE, PLX_PAGE_SIZE);
}

static void stop(void)
{
	host_fini(&h);
}

TestSuite(namespace, .init = start, .fini = stop);

/* ---- names (§4.5) ---- */

static int create_with(const char *nqn, const char *serial, const char *model, uint32_t max_ns)
{
	struct plx_nvmf_subsystem_opts o = {
		.nqn = nqn, .serial = serial, .model = model, .max_namespaces = max_ns
	};
	struct plx_nvmf_subsystem *s = plx_nvmf_subsystem_create(&o);

	return s ? plx_nvmf_subsystem_destroy(s) : -errno;
}

Test(subsystem, well_formed_names_are_taken)
{
	static const char *const nqns[] = {
		"nqn.2014-08.com.example:nvme.host.sys.xyz",
		"nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		"nqn.1999-12.a:b",
		"nqn.2020-01.com.ex-ample.x1:\xc3\xa4\xe2\x82\xac",
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(nqns); i++)
		cr_assert_eq(create_with(nqns[i], "1", "m", 0), 0, "%s", nqns[i]);
}

Test(subsystem, malformed_names_are_refused)
{
	static const char *const nqns[] = {
		NULL,
		"",
		"nqn.2014-08",
		"iqn.2014-08.com.example:x",
		"nqn.2014-8.com.example:x",
		"nqn.2014-13.com.example:x",
		"nqn.2014-00.com.example:x",
		"nqn.2014-08.com.example",
		"nqn.2014-08.com.example:",
		"nqn.2014-08..example:x",
		"nqn.2014-08.-com.example:x",
		"nqn.2014-08.com.example.:x",
		"nqn.2014-08:com.example:x",
		"nqn.2014-08.com.example:x\n",
		"nqn.2014-08.com.example:\xc3",
		"nqn.2014-08.com.example:\xff",
		"nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf",
		"nqn.2014-08.org.nvmexpress:uuid:f81d4fae07dec-11d0-a765-00a0c91e6bf6",
		"nqn.2014-08.org.nvmexpress.discovery",
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(nqns); i++)
		cr_assert_eq(create_with(nqns[i], "1", "m", 0), -EINVAL, "%s", nqns[i]);
}

Test(subsystem, names_are_at_most_223_bytes)
{
	char nqn[256];

	memset(nqn, 'x', sizeof nqn);
	memcpy(nqn, "nqn.2014-08.a:", 14);
	nqn[223] = 0;
	cr_assert_eq(create_with(nqn, "1", "m", 0), 0);
	nqn[223] = 'x';
	nqn[224] = 0;
	cr_assert_eq(create_with(nqn, "1", "m", 0), -EINVAL);
}

Test(subsystem, serial_model_and_size_are_checked)
{
	static const char nqn[] = "nqn.2014-08.a:b";

	cr_assert_eq(create_with(nqn, "12345678901234567890", "m", 1024), 0);
	cr_assert_eq(create_with(nqn, "123456789012345678901", "m", 0), -EINVAL);
	cr_assert_eq(create_with(nqn, "1", "12345678901234567890123456789012345678901", 0),
		     -EINVAL);
	cr_assert_eq(create_with(nqn, "\t", "m", 0), -EINVAL);
	cr_assert_eq(create_with(nqn, "1", "\xc3\xa4", 0), -EINVAL);
	cr_assert_eq(create_with(nqn, "1", "m", 1025), -EINVAL);
	cr_assert_eq(create_with(nqn, NULL, NULL, 0), 0);
}

Test(namespace, subsystem_names_are_unique)
{
	cr_assert_eq(create_with(h.subsystem->nqn, "1", "m", 0), -EEXIST);
}

Test(namespace, subsystem_with_controllers_is_busy)
{
	cr_assert_eq(plx_nvmf_subsystem_destroy(h.subsystem), -EBUSY);
}

/* ---- namespaces ---- */

Test(namespace, identifiers_are_checked)
{
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 9), -EINVAL);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 1), -EEXIST);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "no such bdev", 0), -ENODEV);
	for (int nsid = 2; nsid <= 8; nsid++)
		cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 0), nsid);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 0), -ENOSPC);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 0), -EINVAL);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 9), -EINVAL);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 3), 0);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 3), -ENOENT);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 0), 3);
}

Test(namespace, unique_identifiers_repeat_and_differ_by_bdev)
{
	struct nvmf_ns first = h.subsystem->ns[0];
	struct plx_bdev_geometry g = { .blocks = 100, .block_size = 512 };

	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 1), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 2), 2);
	cr_assert_eq(memcmp(first.nguid, h.subsystem->ns[1].nguid, 16), 0);
	cr_assert_eq(memcmp(first.eui64, h.subsystem->ns[1].eui64, 8), 0);
	cr_assert_eq(first.eui64[0] & 3, 2);
	cr_assert_eq(plx_bdev_null_create("other", &g, NULL), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "other", 1), 1);
	cr_assert_neq(memcmp(first.nguid, h.subsystem->ns[0].nguid, 16), 0);
	cr_assert_neq(memcmp(first.eui64, h.subsystem->ns[0].eui64, 8), 0);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 1), 0);
	cr_assert_eq(plx_bdev_delete("other"), 0);
}

static struct plx_nvme_cpl read_ns(uint32_t nsid)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = nsid };

	host_prp(&h, &cmd, page, 512);
	return host_io(&h, 1, &cmd);
}

Test(namespace, can_be_used_as_soon_as_it_is_added_and_not_once_it_is_removed)
{
	struct plx_nvme_cpl cpl;

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	cpl = read_ns(2);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 2), 2);
	cpl = read_ns(2);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 2), 0);
	cpl = read_ns(2);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
	cpl = read_ns(9);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_NS);
	cpl = read_ns(1);
	cr_assert_eq(host_status(&cpl), 0);
}

static bool slot_is_free(void *arg)
{
	struct nvmf_ns *ns = arg;

	return !ns->nsid;
}

Test(namespace, removal_ends_commands_that_hang)
{
	struct plx_bdev_error_rule hang = { .kind = PLX_BDEV_ERR_HANG,
					    .types = 1u << PLX_BDEV_READ,
					    .share = 1 };
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_read, .nsid = h.nsid };
	struct plx_nvme_cpl cpl;

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	cr_assert_eq(plx_bdev_error_inject("host0", &hang), 0);
	host_prp(&h, &cmd, page, 512);
	for (int i = 0; i < 10; i++)
		host_submit(&h, 1, &cmd);
	host_idle(&h);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 1), 0);
	for (int i = 0; i < 10; i++) {
		cpl = host_wait(&h, 1);
		cr_assert_eq(host_status(&cpl), NVME_SC_ABORT_REQ);
	}
	cr_assert(host_poll(&h, slot_is_free, &h.subsystem->ns[0]));
	cr_assert_eq(plx_bdev_error_inject("host0", NULL), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 1), 1);
	cpl = read_ns(1);
	cr_assert_eq(host_status(&cpl), 0);
}

Test(namespace, goes_when_its_bdev_goes)
{
	struct plx_bdev_geometry g = { .blocks = 100, .block_size = 512 };
	struct plx_nvme_cpl cpl;

	cr_assert_eq(host_create_queue(&h, 1, 16), 0);
	cr_assert_eq(plx_bdev_null_create("other", &g, NULL), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "other", 2), 2);
	cpl = read_ns(2);
	cr_assert_eq(host_status(&cpl), 0);
	cr_assert_eq(plx_bdev_delete("other"), 0);
	cr_assert(host_poll(&h, slot_is_free, &h.subsystem->ns[1]));
	cpl = read_ns(2);
	cr_assert_eq(host_status(&cpl), NVME_SC_INVALID_FIELD);
}

Test(namespace, growing_bdev_grows_the_namespace)
{
	struct nvme_id_ns *id = (void *)page;
	struct plx_bdev_geometry g = { .blocks = 100, .block_size = 512 };
	struct plx_bdev *b;

	cr_assert_eq(plx_bdev_null_create("other", &g, &b), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "other", 2), 2);
	cr_assert_eq(plx_bdev_resize(b, 200), 0);
	host_idle(&h);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_NS, 2, 0, page), 0);
	cr_assert_eq(id->nsze, 200);
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 2), 0);
	cr_assert_eq(plx_bdev_delete("other"), 0);
}

/* ---- another controller, in a thread of its own ---- */

struct second {
	struct nvmf_fn fn;
	struct nvmf_fn_opts opts;
	int rc;
};

static void second_init(void *arg)
{
	struct second *s = arg;

	s->rc = nvmf_fn_init(&s->fn, h.subsystem, plx_thread_current(), &s->opts);
}

static void second_fini(void *arg)
{
	struct second *s = arg;

	nvmf_fn_fini(&s->fn);
}

static bool second_sees(void *arg)
{
	struct second *s = arg;

	return __atomic_load_n(&s->fn.ctrlr->ns[2].desc, __ATOMIC_RELAXED) != NULL;
}

Test(namespace, controllers_of_other_threads_are_told)
{
	struct plx_cpuset allowed;
	struct plx_reactor *r;
	static struct second s;

	plx_topo_allowed(&allowed);
	r = plx_reactor_start((unsigned)plx_cpuset_next(&allowed, -1), "second");
	cr_assert_not_null(r);
	s.opts = h.fn.opts;
	plx_thread_call(plx_reactor_thread(r), second_init, &s, false);
	cr_assert_eq(s.rc, 0);
	cr_assert_neq(s.fn.ctrlr->cntlid, h.fn.ctrlr->cntlid);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_CTRL_LIST, 0, 0, page), 0);
	cr_assert_eq(((struct nvme_ctrl_list *)(void *)page)->num, 2);
	cr_assert_eq(plx_nvmf_subsystem_add_ns(h.subsystem, "host0", 3), 3);
	cr_assert(host_poll(&h, second_sees, &s));
	cr_assert_eq(plx_nvmf_subsystem_remove_ns(h.subsystem, 3), 0);
	cr_assert(host_poll(&h, slot_is_free, &h.subsystem->ns[2]));
	plx_thread_call(plx_reactor_thread(r), second_fini, &s, false);
	plx_reactor_stop(r);
}

/* ---- what the RPC methods set ---- */

Test(subsystem, controller_identifiers_have_a_range)
{
	struct plx_nvmf_subsystem_opts o = { .nqn = "nqn.2014-08.a:b",
					     .min_cntlid = 5,
					     .max_cntlid = 7 };
	struct nvmf_ctrlr c[4] = { 0 };
	struct plx_nvmf_subsystem *s = plx_nvmf_subsystem_create(&o);

	cr_assert_not_null(s);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(nvmf_subsystem_add_ctrlr(s, &c[i]), 0);
		cr_assert_eq(c[i].cntlid, 5 + i);
	}
	cr_assert_eq(nvmf_subsystem_add_ctrlr(s, &c[3]), -ENOSPC);
	nvmf_subsystem_remove_ctrlr(s, &c[1]);
	cr_assert_eq(nvmf_subsystem_add_ctrlr(s, &c[3]), 0);
	cr_assert_eq(c[3].cntlid, 6);
	nvmf_subsystem_remove_ctrlr(s, &c[0]);
	nvmf_subsystem_remove_ctrlr(s, &c[2]);
	nvmf_subsystem_remove_ctrlr(s, &c[3]);
	cr_assert_eq(plx_nvmf_subsystem_destroy(s), 0);
	o.min_cntlid = 8;
	cr_assert_null(plx_nvmf_subsystem_create(&o));
	o = (struct plx_nvmf_subsystem_opts){ .nqn = o.nqn, .max_cntlid = 0xfff0 };
	cr_assert_null(plx_nvmf_subsystem_create(&o));
}

Test(subsystem, hosts_are_allowed_by_name_or_all)
{
	struct plx_nvmf_subsystem_opts o = { .nqn = "nqn.2014-08.a:b" };
	struct plx_nvmf_subsystem *s = plx_nvmf_subsystem_create(&o);

	cr_assert(plx_nvmf_subsystem_allows(s, "nqn.2014-08.a:h"));
	cr_assert(plx_nvmf_subsystem_allows(s, NULL));
	plx_nvmf_subsystem_allow_any_host(s, false);
	cr_assert_not(plx_nvmf_subsystem_allows(s, "nqn.2014-08.a:h"));
	cr_assert_not(plx_nvmf_subsystem_allows(s, NULL));
	cr_assert_eq(plx_nvmf_subsystem_add_host(s, "h"), -EINVAL);
	cr_assert_eq(plx_nvmf_subsystem_add_host(s, "nqn.2014-08.a:h"), 0);
	cr_assert_eq(plx_nvmf_subsystem_add_host(s, "nqn.2014-08.a:h"), 0);
	cr_assert(plx_nvmf_subsystem_allows(s, "nqn.2014-08.a:h"));
	cr_assert_not(plx_nvmf_subsystem_allows(s, "nqn.2014-08.a:hh"));
	cr_assert_eq(plx_nvmf_subsystem_remove_host(s, "nqn.2014-08.a:h"), 0);
	cr_assert_eq(plx_nvmf_subsystem_remove_host(s, "nqn.2014-08.a:h"), -ENOENT);
	cr_assert_not(plx_nvmf_subsystem_allows(s, "nqn.2014-08.a:h"));
	cr_assert_eq(plx_nvmf_subsystem_add_host(s, "nqn.2014-08.a:left"), 0);
	cr_assert_eq(plx_nvmf_subsystem_destroy(s), 0);
}

Test(namespace, identifiers_may_be_given)
{
	static const uint8_t nguid[16] = { 1, 2, 3 }, eui64[8] = { 4, 5 }, uuid[16] = { 6, 7 };
	struct plx_nvmf_ns_opts o = { .nsid = 4, .nguid = nguid, .eui64 = eui64, .uuid = uuid };
	struct nvme_id_ns *id = (void *)page;
	static const uint8_t descriptors[] = { 1, 8,  0, 0, 4, 5, 0, 0, 0, 0, 0, 0, 2, 16, 0, 0,
					       1, 2,  3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0,
					       3, 16, 0, 0, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0 };

	cr_assert_eq(plx_nvmf_subsystem_add_ns_ext(h.subsystem, "host0", &o), 4);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_NS, 4, 0, page), 0);
	cr_assert_eq(memcmp(id->nguid, nguid, 16), 0);
	cr_assert_eq(memcmp(id->eui64, eui64, 8), 0);
	cr_assert_eq(host_identify(&h, NVME_IDENTIFY_CNS_NS_DESC_LIST, 4, 0, page), 0);
	cr_assert_eq(memcmp(page, descriptors, sizeof descriptors), 0);
}

static void count_ctrlr(struct nvmf_ctrlr *c, void *arg)
{
	cr_assert_eq(plx_thread_current(), c->thread);
	++*(int *)arg;
}

Test(namespace, every_controller_is_visited_in_its_thread)
{
	int n = 0;

	nvmf_subsystem_visit(h.subsystem, count_ctrlr, &n);
	cr_assert_eq(n, 1);
}
