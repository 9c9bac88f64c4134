/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_cpuset.c - sets of CPUs: masks, lists, what is refused; the machine's own
 * topology
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <pollux/env.h>

static void expect(const char *text, const char *members)
{
	struct plx_cpuset s;
	char err[256] = "", buf[256];
	int rc = plx_cpuset_parse(text, &s, err, sizeof(err));

	cr_assert_eq(rc, 0, "'%s': %s", text, err);
	cr_assert_str_eq(plx_cpuset_format(&s, buf, sizeof(buf)), members, "'%s' is %s, not %s",
			 text, buf, members);
}

static void expect_refused(const char *text)
{
	struct plx_cpuset s;
	char err[256] = "";

	cr_assert_eq(plx_cpuset_parse(text, &s, err, sizeof(err)), -EINVAL, "'%s' is accepted",
		     text);
	cr_assert_neq(err[0], '\0', "'%s' is refused without a word", text);
	cr_assert_null(strchr(err, '\n'));
}

Test(cpuset, masks_are_hexadecimal)
{
	expect("0x3", "0-1");
	expect("0X5", "0,2");
	expect("ff", "0-7");
	expect("FF", "0-7");
	expect("10", "4");
	expect("0x8000000000000000", "63");
	expect("0x10000000000000000", "64");
	expect("0x0000000000000000000000000000000001", "0");
}

Test(cpuset, lists_take_numbers_and_ranges)
{
	expect("[0]", "0");
	expect("[10]", "10");
	expect("[0,2-5]", "0,2-5");
	expect("0,2-5", "0,2-5");
	expect("5,0", "0,5");
	expect("1-1", "1");
	expect("3,3,2-4", "2-4");
	expect("[1023]", "1023");
	expect("62-65", "62-65");
}

Test(cpuset, highest_cpu_of_a_mask_is_1023)
{
	char text[300];

	memset(text, '0', sizeof(text));
	text[256] = '\0';
	text[0] = '8';
	expect(text, "1023");
	/* one digit more is one too many, unless it is zero */
	memset(text, '0', 257);
	text[257] = '\0';
	text[0] = '1';
	expect_refused(text);
	text[0] = '0';
	text[1] = '8';
	expect(text, "1023");
}

Test(cpuset, malformed_text_is_refused)
{
	static const char *const bad[] = {
		"",
		"0x",
		"0x0",
		"0",
		"[]",
		"[",
		"]",
		"[0",
		"0]",
		"0,",
		",0",
		"0,,1",
		"0-",
		"-1",
		"3-1",
		"0-1-2",
		"[a]",
		"g",
		"0x1g",
		"1024,0",
		"[1024]",
		"0-1024",
		" 1,2",
		"1 ,2",
		"1, 2",
		"0x1,2",
		"[0,1]x",
		"5,3-1",
		"5,0-",
		"4294967296,0",
		"99999999999999999999-1",
		"[[0]]",
	};

	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++)
		expect_refused(bad[i]);
}

Test(cpuset, an_error_fits_the_callers_buffer)
{
	struct plx_cpuset s;
	char err[8] = "1234567";

	cr_assert_eq(plx_cpuset_parse("[nonsense]", &s, err, 4), -EINVAL);
	cr_assert_lt(strlen(err), 4);
	cr_assert_str_eq(err + 4, "567");
}

Test(cpuset, next_walks_members_in_order)
{
	static const int members[] = { 0, 63, 64, 127, 1023 };
	struct plx_cpuset s = { { 0 } };
	int cpu = -1;

	for (size_t i = 0; i < PLX_ARRAY_SIZE(members); i++)
		plx_cpuset_add(&s, (unsigned)members[i]);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(members); i++) {
		cpu = plx_cpuset_next(&s, cpu);
		cr_assert_eq(cpu, members[i]);
	}
	cr_assert_eq(plx_cpuset_next(&s, cpu), -1);
	cr_assert_eq(plx_cpuset_count(&s), PLX_ARRAY_SIZE(members));
	plx_cpuset_del(&s, 64);
	cr_assert_not(plx_cpuset_has(&s, 64));
	cr_assert_eq(plx_cpuset_next(&s, 63), 127);
}

Test(cpuset, cpus_outside_the_range_are_no_members)
{
	struct plx_cpuset s = { { 0 } };

	plx_cpuset_add(&s, PLX_MAX_CPUS);
	plx_cpuset_del(&s, PLX_MAX_CPUS);
	cr_assert_eq(plx_cpuset_count(&s), 0);
	cr_assert_not(plx_cpuset_has(&s, PLX_MAX_CPUS));
	cr_assert_not(plx_cpuset_has(&s, UINT32_MAX));
}

Test(cpuset, format_never_leaves_its_buffer)
{
	struct plx_cpuset s = { { 0 } };
	char buf[16];

	for (unsigned cpu = 0; cpu < PLX_MAX_CPUS; cpu += 2)
		plx_cpuset_add(&s, cpu);
	for (size_t len = 1; len < sizeof(buf); len++) {
		memset(buf, 'x', sizeof(buf));
		plx_cpuset_format(&s, buf, len);
		cr_assert_lt(strnlen(buf, sizeof(buf)), len);
		cr_assert_eq(buf[len], 'x');
	}
	memset(&s, 0, sizeof(s));
	cr_assert_str_eq(plx_cpuset_format(&s, buf, sizeof(buf)), "");
}

Test(topology, allowed_cpus_are_those_of_the_process)
{
	struct plx_cpuset allowed;
	cpu_set_t set;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	plx_topo_allowed(&allowed);
	for (unsigned cpu = 0; cpu < PLX_MAX_CPUS; cpu++)
		cr_assert_eq(plx_cpuset_has(&allowed, cpu), CPU_ISSET(cpu, &set) != 0);
}

Test(topology, pinning_the_main_thread_does_not_narrow_what_is_allowed)
{
	struct plx_cpuset before, after;
	cpu_set_t set;
	unsigned cpu;

	plx_topo_allowed(&before);
	cpu = (unsigned)plx_cpuset_next(&before, -1);
	cr_assert_eq(plx_topo_bind_self(cpu), 0);
	cr_assert_eq(pthread_getaffinity_np(pthread_self(), sizeof(set), &set), 0);
	cr_assert_eq(CPU_COUNT(&set), 1);
	cr_assert(CPU_ISSET(cpu, &set));
	plx_topo_allowed(&after);
	cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0);
}

Test(topology, absent_cpus_cannot_be_bound_and_have_no_node)
{
	cr_assert_eq(plx_topo_bind_self(PLX_MAX_CPUS - 1), -EINVAL);
	cr_assert_eq(plx_topo_bind_self(PLX_MAX_CPUS), -EINVAL);
	cr_assert_eq(plx_topo_cpu_node(PLX_MAX_CPUS), -ENOENT);
	cr_assert_eq(plx_topo_cpu_node(PLX_MAX_CPUS - 1), -ENOENT);
}

Test(topology, every_allowed_cpu_has_a_node_at_local_distance)
{
	struct plx_cpuset allowed;
	int node;

	plx_topo_allowed(&allowed);
	for (int cpu = plx_cpuset_next(&allowed, -1); cpu >= 0;
	     cpu = plx_cpuset_next(&allowed, cpu)) {
		node = plx_topo_cpu_node((unsigned)cpu);
		cr_assert_geq(node, 0);
		cr_assert_eq(plx_topo_distance(node, node), 10);
		cr_assert_gt(plx_topo_distance(node, node + 1), 10);
	}
}

Test(topology, unknown_pci_functions_have_no_node)
{
	cr_assert_eq(plx_topo_pci_node("ffff:ff:1f.7"), PLX_NUMA_ANY);
	cr_assert_eq(plx_topo_pci_node("nonsense"), PLX_NUMA_ANY);
	cr_assert_eq(plx_topo_pci_node(""), PLX_NUMA_ANY);
}

Test(topology, check_tells_near_from_far)
{
	struct plx_cpuset allowed;
	unsigned cpu;

	plx_topo_allowed(&allowed);
	cpu = (unsigned)plx_cpuset_next(&allowed, -1);
	cr_assert_not(plx_topo_check(cpu, PLX_NUMA_ANY, "a device anywhere"));
	cr_assert_not(plx_topo_check(cpu, plx_topo_cpu_node(cpu), "a near device"));
	cr_assert(plx_topo_check(cpu, plx_topo_cpu_node(cpu) + 1, "a far device"));
}
