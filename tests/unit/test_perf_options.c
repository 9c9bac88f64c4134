/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_perf_options.c - the command line of plx-perf */
#include "perf/options.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_ARGS 32

static struct perf_config cfg;
static char err[512];

/* Arguments with blanks between them; '+' stands for a blank inside of one */
static int parse(const char *text)
{
	static char words[1024];
	char *argv[MAX_ARGS + 1] = { "plx-perf" };
	int argc = 1;

	snprintf(words, sizeof(words), "%s", text);
	for (char *s = strtok(words, " "); s && argc < MAX_ARGS; s = strtok(NULL, " ")) {
		argv[argc++] = s;
		for (; (s = strchr(s, '+')); s++)
			*s = ' ';
	}
	err[0] = '\0';
	return perf_options_parse(&cfg, argc, argv, err, sizeof(err));
}

static void parses(const char *text)
{
	int rc = parse(text);

	cr_assert(rc == PERF_RUN, "'%s' is refused: %s", text, err);
}

static void refused(const char *text, const char *says)
{
	int rc = parse(text);

	cr_assert(rc == -EINVAL, "'%s' is accepted", text);
	cr_assert(strstr(err, says) != NULL, "'%s' says: %s, without: %s", text, err, says);
	cr_assert(strchr(err, '\n') == NULL, "'%s' says more than one line", text);
}

Test(perf_options, no_arguments_are_a_short_random_read_on_the_virtual_controller)
{
	parses("");
	cr_assert(eq(u32, cfg.queue_depth, 32));
	cr_assert(eq(u32, cfg.sizes[0].bytes, 4096));
	cr_assert(eq(u32, cfg.max_size, 4096));
	cr_assert(eq(uint, cfg.nsizes, 1));
	cr_assert(cfg.pattern == PERF_RANDOM);
	cr_assert(eq(uint, cfg.read_share, 100));
	cr_assert(eq(u64, cfg.time_ns, 5000000000ull));
	cr_assert(cfg.use_virtual);
	cr_assert(eq(str, (char *)cfg.virtual_spec, ""));
	cr_assert(eq(u32, cfg.align, 4096));
	cr_assert(cfg.timeout_action == PLX_NVME_TIMEOUT_NONE);
	/* small enough that an idle controller stays small */
	cr_assert(cfg.mem_mb > 0 && cfg.mem_mb <= 48, "%zu MiB", cfg.mem_mb);
}

Test(perf_options, long_and_short_forms_say_the_same)
{
	static const struct {
		const char *shorts, *longs;
	} same[] = {
		{ "-q 7", "--io-depth 7" },
		{ "-o 8k", "--io-size=8k" },
		{ "-w write", "--io-pattern write" },
		{ "-w rw -M 30", "--io-pattern rw --rwmixread 30" },
		{ "-t 3", "--time 3000ms" },
		{ "-a 2", "--warmup-time 2s" },
		{ "-c 0x1", "--core-mask [0]" },
		{ "-r trtype:PCIe+traddr:0000:04:00.0", "--transport trtype:pcie+traddr:04:00.0" },
		{ "-P 3", "--num-qpairs 3" },
		{ "-d 1000", "--number-ios 1000" },
		{ "-O 512", "--io-unit-size 0.5k" },
		{ "-A 64", "--buffer-alignment 64" },
		{ "-C 8", "--max-completion-per-poll 8" },
		{ "-F 0.8", "--zipf .8" },
		{ "-e PRACT=1,PRCHK=GUARD|REFTAG", "--metadata prchk=reftag|guard,pract=1" },
		{ "-s 512", "--hugemem-size 512M" },
		{ "-L", "--enable-sw-latency-tracking" },
		{ "-LL", "-L --enable-sw-latency-tracking" },
		{ "-l", "--enable-ssd-latency-tracking" },
		{ "-Q 9", "--continue-on-error 9" },
		{ "-N", "--no-shst-notification" },
	};

	for (size_t i = 0; i < COUNT(same); i++) {
		struct perf_config first;

		parses(same[i].shorts);
		first = cfg;
		parses(same[i].longs);
		cr_assert(memcmp(&first, &cfg, sizeof(cfg)) == 0, "'%s' and '%s' differ",
			  same[i].shorts, same[i].longs);
		parses("");
		cr_assert(memcmp(&first, &cfg, sizeof(cfg)) != 0, "'%s' changes nothing",
			  same[i].shorts);
	}
}

Test(perf_options, sizes_may_be_mixed)
{
	parses("-o 4k:70,64k:25,1M:5");
	cr_assert(eq(uint, cfg.nsizes, 3));
	cr_assert(eq(u32, cfg.sizes[1].bytes, 65536));
	cr_assert(eq(u32, cfg.sizes[1].share, 25));
	cr_assert(eq(u32, cfg.max_size, 1 << 20));
}

Test(perf_options, the_last_of_a_repeated_option_counts)
{
	parses("-o 64k -q 4 -o 4k -q 8");
	cr_assert(eq(u32, cfg.queue_depth, 8));
	cr_assert(eq(u32, cfg.max_size, 4096));
	cr_assert(eq(uint, cfg.nsizes, 1));
}

Test(perf_options, patterns_choose_order_and_share)
{
	static const struct {
		const char *args;
		enum perf_pattern pattern;
		unsigned share;
	} all[] = {
		{ "-w read", PERF_SEQUENTIAL, 100 },	{ "-w write", PERF_SEQUENTIAL, 0 },
		{ "-w rw -M 40", PERF_SEQUENTIAL, 40 }, { "-w randread", PERF_RANDOM, 100 },
		{ "-w randwrite", PERF_RANDOM, 0 },	{ "-M 0 -w randrw", PERF_RANDOM, 0 },
	};

	for (size_t i = 0; i < COUNT(all); i++) {
		parses(all[i].args);
		cr_assert(cfg.pattern == all[i].pattern, "%s", all[i].args);
		cr_assert(cfg.read_share == all[i].share, "%s", all[i].args);
	}
}

Test(perf_options, devices_may_be_repeated)
{
	parses("-r trtype:PCIe+traddr:0000:04:00.0 -r trtype:PCIe+traddr:0000:05:00.0+ns:2");
	cr_assert(eq(uint, cfg.ntrids, 2));
	cr_assert(eq(u32, cfg.trids[1].nsid, 2));
	cr_assert(not(cfg.use_virtual));
	parses("-r trtype:VIRTUAL");
	cr_assert(eq(uint, cfg.ntrids, 0));
	cr_assert(cfg.use_virtual);
}

Test(perf_options, counted_runs_have_no_time_limit_unless_asked)
{
	parses("-d 1000000");
	cr_assert(cfg.time_ns > 86400ull * 1000000000);
	parses("-d 1000000 -t 2");
	cr_assert(eq(u64, cfg.time_ns, 2000000000));
}

Test(perf_options, timeouts_abort_unless_told_to_reset)
{
	parses("--timeout 1500ms");
	cr_assert(eq(u32, cfg.timeout_ms, 1500));
	cr_assert(cfg.timeout_action == PLX_NVME_TIMEOUT_ABORT);
	parses("--timeout-action reset --timeout 2");
	cr_assert(cfg.timeout_action == PLX_NVME_TIMEOUT_RESET);
}

Test(perf_options, protection_settings_become_command_bits)
{
	parses("-e PRACT=1,PRCHK=GUARD|APPTAG");
	cr_assert(eq(u32, cfg.prinfo,
		     PLX_NVME_RW_PRACT | PLX_NVME_RW_PRCHK_GUARD | PLX_NVME_RW_PRCHK_APP));
	parses("-e PRACT=0,PRCHK=REFTAG");
	cr_assert(eq(u32, cfg.prinfo, PLX_NVME_RW_PRCHK_REF));
}

Test(perf_options, controller_memory_holds_queues_or_data_or_both)
{
	static const struct {
		const char *what;
		unsigned bits;
	} cases[] = { { "sqs", PERF_CMB_SQS },
		      { "data", PERF_CMB_DATA },
		      { "sqs,data", PERF_CMB_SQS | PERF_CMB_DATA },
		      { "data,sqs", PERF_CMB_SQS | PERF_CMB_DATA } };
	char args[80];

	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(args, sizeof(args), "-r trtype:PCIe+traddr:04:00.0 --use-cmb %s",
			 cases[i].what);
		parses(args);
		cr_assert(eq(u32, cfg.use_cmb, cases[i].bits), "%s", cases[i].what);
	}
}

Test(perf_options, memory_grows_with_the_buffers)
{
	parses("-q 128 -o 1M -P 2 -c 0,1");
	cr_assert(cfg.mem_mb >= 2 * 2 * 128, "%zu MiB", cfg.mem_mb);
	parses("-q 128 -o 1M -s 64");
	cr_assert(eq(sz, cfg.mem_mb, 64));
}

Test(perf_options, help_and_version_need_nothing_else)
{
	cr_assert(eq(int, parse("--help"), PERF_HELP));
	cr_assert(eq(int, parse("--version"), PERF_VERSION));
	cr_assert(eq(int, parse("-q 1 --help"), PERF_HELP));
}

Test(perf_options, help_lists_every_option_and_the_keys_of_the_virtual_controller)
{
	static const char *const words[] = {
		"-q, --io-depth N", "--virtual SPEC", "--verify",   "--calibrate",
		"--json FILE",	    "--hist FILE",    "--interval", "--timeout-action",
		"--seed N",	    "--no-huge",      "--quiet",    "  size=KEYS"
	};
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	unsigned examples = 0;

	perf_options_help(f, "  size=KEYS");
	fclose(f);
	for (size_t i = 0; i < COUNT(words); i++)
		cr_assert(strstr(text, words[i]) != NULL, "--help lacks %s", words[i]);
	for (const char *s = text; (s = strstr(s, "\n  plx-perf")); s++)
		examples++;
	cr_assert(examples >= 5, "%u examples", examples);
	free(text);
}

Test(perf_options, values_that_make_no_sense_are_refused_by_name)
{
	static const struct {
		const char *args, *says;
	} bad[] = {
		{ "-q 0", "-q: '0'" },
		{ "-q 65536", "65535" },
		{ "-q ten", "'ten'" },
		{ "-q -1", "'-1'" },
		{ "--io-depth 0", "--io-depth: '0'" },
		{ "-o 0", "'0'" },
		{ "-o 100", "multiple of 512" },
		{ "-o 4x", "'4x'" },
		{ "-o 2G", "'2G'" },
		{ "-o 99999999999999999999", "too large" },
		{ "-o ,", "','" },
		{ "-o 4k:50,8k:40", "add up to 90" },
		{ "-o 4k:50", "add up to 50" },
		{ "-o 4k:60,8k:60", "add up to 120" },
		{ "-o 4k,8k", "'4k' lacks its share" },
		{ "-o 4k:100,", "lacks a size" },
		{ "-o 4k:0,8k:100", "'0'" },
		{ "-o 4k:x,8k:1", "'x'" },
		{ "-o "
		  "1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,1k:6,"
		  "1k:4",
		  "16 sizes" },
		{ "-w backwards", "'backwards'" },
		{ "-w randwr", "randrw" },
		{ "-M 101 -w rw", "'101'" },
		{ "-t 0", "'0' is too short" },
		{ "-t 5x", "'5x'" },
		{ "-t -5", "'-5'" },
		{ "-t 99999d", "too long" },
		{ "-a fast", "'fast'" },
		{ "-c 0x0", "'0x0'" },
		{ "-c 3-1", "'3-1'" },
		{ "-c banana", "'banana'" },
		{ "-r nonsense", "'nonsense'" },
		{ "-r trtype:FLOPPY+traddr:1", "'FLOPPY'" },
		{ "-r trtype:PCIe+traddr:zz", "'zz'" },
		{ "-r trtype:VIRTUAL+traddr:mine", "--virtual" },
		{ "-P 0", "'0'" },
		{ "-d 0", "'0'" },
		{ "-d many", "'many'" },
		{ "-O 3", "'3'" },
		{ "-O 8k", "-O 8192 is more than the largest I/O, 4096" },
		{ "-A 3", "'3'" },
		{ "-A 2", "power of two" },
		{ "-A 4M", "'4M'" },
		{ "-C 65536", "'65536'" },
		{ "-C x", "'x'" },
		{ "-F 0", "'0'" },
		{ "-F 2", "'2'" },
		{ "-F nan", "'nan'" },
		{ "-F -0.5", "'-0.5'" },
		{ "-F 0.9x", "'0.9x'" },
		{ "-e PRACT=2", "PRACT=2" },
		{ "-e PRCHK=CRC", "'CRC'" },
		{ "-e FOO=1", "FOO=1" },
		{ "-e PRACT", "PRACT" },
		{ "-e ,", "','" },
		{ "-s 0", "'0'" },
		{ "-s much", "'much'" },
		{ "-Q 0", "'0'" },
		{ "-Q x", "'x'" },
		{ "-T nosuch", "'nosuch' is no component" },
		{ "--interval 0", "'0'" },
		{ "--interval 10us", "'10us'" },
		{ "--timeout 0", "'0'" },
		{ "--timeout 60d", "'60d'" },
		{ "--timeout 1 --timeout-action explode", "'explode'" },
		{ "--seed dice", "'dice'" },
		{ "--use-cmb cqs", "'cqs'" },
		{ "--use-cmb sqs,", "'sqs,'" },
		{ "--use-cmb ,data", "',data'" },
		{ "--use-cmb sq", "'sq'" },
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		refused(bad[i].args, bad[i].says);
}

Test(perf_options, contradictions_are_refused_with_a_remedy)
{
	static const struct {
		const char *args, *says;
	} bad[] = {
		{ "-w randrw", "add -M" },
		{ "-w rw", "add -M" },
		{ "-M 50", "leave it out, or use -w randrw" },
		{ "-w write -M 50", "leave it out, or use -w rw" },
		{ "-F 0.9 -w read", "sequential" },
		{ "-d 10 -a 1", "leave one of them out" },
		{ "--virtual size=1G -r trtype:PCIe+traddr:04:00.0", "choose one" },
		{ "--verify -w randwrite", "nothing to check" },
		{ "--verify -c 0,1", "one core" },
		{ "--verify -w randread -r trtype:PCIe+traddr:04:00.0", "overwrite" },
		{ "--timeout-action abort", "--timeout" },
		{ "--calibrate -r trtype:PCIe+traddr:04:00.0", "leave out" },
		{ "--use-cmb sqs", "-r" },
		{ "--json x --hist x", "'x'" },
		{ "--json - --hist -", "'-'" },
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		refused(bad[i].args, bad[i].says);
}

Test(perf_options, malformed_command_lines_are_refused_by_name)
{
	static const struct {
		const char *args, *says;
	} bad[] = {
		{ "-z", "unknown option '-z'" },
		{ "--verify -Lz", "unknown option '-z'" },
		{ "--nonsense", "unknown option '--nonsense'" },
		{ "--nonsense=4", "'--nonsense=4'" },
		{ "--ver", "ambiguous option '--ver'" },
		{ "--verify=yes", "--verify takes no value: leave out '=yes'" },
		{ "-N -q", "-q needs a value" },
		{ "--verify -q", "-q needs a value" },
		{ "--json", "--json needs a value" },
		{ "--io-depth", "--io-depth needs a value" },
		{ "nvme0n1", "'nvme0n1' belongs to no option" },
		{ "-q 1 /dev/nvme0n1", "'/dev/nvme0n1'" },
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		refused(bad[i].args, bad[i].says);
}

Test(perf_options, empty_and_multi_line_values_make_one_line)
{
	char *empty[] = { "plx-perf", "--json", "", NULL },
	     *lines[] = { "plx-perf", "-w", "a\nb\tc", NULL };
	char *no_size[] = { "plx-perf", "-o", "", NULL };

	cr_assert(eq(int, perf_options_parse(&cfg, 3, empty, err, sizeof(err)), -EINVAL));
	cr_assert(strstr(err, "--json") != NULL);
	cr_assert(eq(int, perf_options_parse(&cfg, 3, no_size, err, sizeof(err)), -EINVAL));
	cr_assert(eq(int, perf_options_parse(&cfg, 3, lines, err, sizeof(err)), -EINVAL));
	cr_assert(strstr(err, "'a?b?c'") != NULL, "%s", err);
}

Test(perf_options, many_devices_are_refused_in_time)
{
	char *argv[2 * PERF_MAX_DEVICES + 4] = { "plx-perf" };
	int argc = 1;

	for (int i = 0; i <= PERF_MAX_DEVICES; i++) {
		argv[argc++] = "-r";
		argv[argc++] = "trtype:PCIe traddr:04:00.0";
	}
	cr_assert(eq(int, perf_options_parse(&cfg, argc, argv, err, sizeof(err)), -EINVAL));
	cr_assert(strstr(err, "64") != NULL);
}
