/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_trid.c - transport identifiers: what parses to what, and what is said else */
#include <pollux/nvme.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct plx_nvme_trid trid;
static char err[256];

static int parse(const char *text)
{
	return plx_nvme_trid_parse(&trid, text, err, sizeof(err));
}

static void cr_refused(const char *text, const char *sentence)
{
	cr_assert_eq(parse(text), -EINVAL, "'%s' is accepted", text);
	cr_assert_str_eq(err, sentence);
}

Test(trid, pcie_with_a_namespace)
{
	cr_assert_eq(parse("trtype:PCIe traddr:0000:04:00.0 ns:1"), 0, "%s", err);
	cr_assert_eq(trid.trtype, PLX_NVME_TR_PCIE);
	cr_assert_str_eq(trid.traddr, "0000:04:00.0");
	cr_assert_eq(trid.nsid, 1);
	cr_assert_str_eq(err, "");
}

Test(trid, as_fio_file_names_write_it)
{
	cr_assert_eq(parse("trtype=PCIe traddr=0000.04.00.0 ns=1"), 0, "%s", err);
	cr_assert_str_eq(trid.traddr, "0000:04:00.0");
	cr_assert_eq(trid.nsid, 1);
}

Test(trid, keys_and_transports_in_any_case_and_any_white_space)
{
	cr_assert_eq(parse("\t TRTYPE:pcie\n TrAddr:04:00.0  NSID:7 "), 0, "%s", err);
	cr_assert_eq(trid.trtype, PLX_NVME_TR_PCIE);
	cr_assert_str_eq(trid.traddr, "0000:04:00.0");
	cr_assert_eq(trid.nsid, 7);
}

Test(trid, every_transport)
{
	cr_assert_eq(parse("trtype:virtual"), 0);
	cr_assert_eq(trid.trtype, PLX_NVME_TR_VIRTUAL);
	cr_assert_eq(parse("trtype:VFIOUSER traddr:/run/vfu"), 0);
	cr_assert_eq(trid.trtype, PLX_NVME_TR_VFIOUSER);
	cr_assert_eq(parse("trtype:TCP traddr:10.0.0.1"), 0);
	cr_assert_eq(trid.trtype, PLX_NVME_TR_TCP);
	cr_assert_eq(parse("trtype:rdma traddr:10.0.0.1"), 0);
	cr_assert_eq(trid.trtype, PLX_NVME_TR_RDMA);
	for (int t = 0; t < PLX_NVME_TR_MAX; t++)
		cr_assert_str_neq(plx_nvme_trtype_name(t), "unknown");
	cr_assert_str_eq(plx_nvme_trtype_name(PLX_NVME_TR_MAX), "unknown");
}

Test(trid, all_keys_of_fabrics)
{
	cr_assert_eq(parse("trtype:TCP adrfam:ipv6 traddr:fe80::1 trsvcid:4420 priority:2 "
			   "subnqn:nqn.2016-06.io.x:a=b hostnqn:nqn.2014-08.org:h"),
		     0, "%s", err);
	cr_assert_str_eq(trid.adrfam, "IPv6");
	cr_assert_str_eq(trid.traddr, "fe80::1");
	cr_assert_str_eq(trid.trsvcid, "4420");
	cr_assert_eq(trid.priority, 2);
	cr_assert_str_eq(trid.subnqn, "nqn.2016-06.io.x:a=b");
	cr_assert_str_eq(trid.hostnqn, "nqn.2014-08.org:h");
}

Test(trid, pci_addresses_are_normalised)
{
	static const char *const same[] = { "0000:0a:1f.7", "0:A:1F.7", "0a:1f.7",     "a:1f.7",
					    "0000.0a.1f.7", "0a.1f.7",	"0000:0A:1F.7" };
	char text[64];

	for (size_t i = 0; i < PLX_ARRAY_SIZE(same); i++) {
		snprintf(text, sizeof(text), "trtype:PCIe traddr:%s", same[i]);
		cr_assert_eq(parse(text), 0, "%s", err);
		cr_assert_str_eq(trid.traddr, "0000:0a:1f.7", "%s", same[i]);
	}
	cr_assert_eq(parse("trtype:PCIe traddr:10000:01:00.0"), 0);
	cr_assert_str_eq(trid.traddr, "10000:01:00.0");
}

Test(trid, what_is_no_pci_address_is_refused)
{
	static const char *const bad[] = { "0000:04:00",	"04",		"0000:04:20.0",
					   "0000:100:00.0",	"0000:04:00.8", "0000:04:00.0x",
					   "0000:04:00.",	":04:00.0",	"0x0:04:00.0",
					   "1:0000:04:00.0",	"0000:04.00.0", "0000:04:00:0",
					   "100000000:04:00.0", "-1:04:00.0",	"0000:04:00.+0",
					   "000000000:04:00.0" };
	char text[64], want[128];

	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "trtype:PCIe traddr:%s", bad[i]);
		snprintf(want, sizeof(want),
			 "traddr '%s' is not a PCI address: write it as 0000:04:00.0", bad[i]);
		cr_refused(text, want);
	}
}

Test(trid, other_transports_keep_their_addresses)
{
	cr_assert_eq(parse("traddr:04.00.0 trtype:VIRTUAL"), 0);
	cr_assert_str_eq(trid.traddr, "04.00.0");
}

Test(trid, sentences_name_key_value_and_remedy)
{
	cr_refused("", "trtype is missing: begin with trtype:PCIe, trtype:VIRTUAL, "
		       "trtype:VFIOUSER, trtype:TCP or trtype:RDMA");
	cr_refused("traddr:0000:04:00.0", "trtype is missing: begin with trtype:PCIe, "
					  "trtype:VIRTUAL, trtype:VFIOUSER, trtype:TCP or "
					  "trtype:RDMA");
	cr_refused("trtype:PCI",
		   "unknown transport 'PCI': use one of PCIe, VIRTUAL, VFIOUSER, TCP, RDMA");
	cr_refused("trtype:PCIe tradr:1", "unknown key 'tradr': use trtype, traddr, trsvcid, "
					  "subnqn, hostnqn, adrfam, priority or ns");
	cr_refused("trtype:PCIe trtype:TCP", "trtype is given twice: leave one of them out");
	cr_refused("trtype:PCIe ns:1 nsid:1", "nsid is given twice: leave one of them out");
	cr_refused("trtype:PCIe traddr:",
		   "traddr has no value: write traddr:VALUE or leave it out");
	cr_refused("trtype:PCIe 0000", "'0000' is not a key with a value: write it as key:value");
	cr_refused("0000:04:00.0", "unknown key '0000': use trtype, traddr, trsvcid, subnqn, "
				   "hostnqn, adrfam, priority or ns");
	cr_refused("trtype:TCP traddr:a adrfam:x",
		   "unknown address family 'x' (adrfam): use one of IPv4, IPv6, IB");
	cr_refused("trtype:TCP", "traddr is missing: trtype:TCP needs the target's address");
	cr_refused("trtype:VFIOUSER", "traddr is missing: trtype:VFIOUSER needs the directory of "
				      "the target's socket");
}

Test(trid, numbers_are_decimal_and_in_range)
{
	cr_refused("trtype:PCIe ns:1a", "ns '1a' is not a number: use 0 to 4294967294, in decimal");
	cr_refused("trtype:PCIe ns:-1", "ns '-1' is not a number: use 0 to 4294967294, in decimal");
	cr_refused("trtype:PCIe ns:4294967295",
		   "ns '4294967295' is not a number: use 0 to 4294967294, in decimal");
	cr_refused("trtype:PCIe priority:99999999999999999999",
		   "priority '99999999999999999999' is not a number: use 0 to 4294967295, in "
		   "decimal");
	cr_refused("trtype:TCP traddr:a trsvcid:0",
		   "trsvcid '0' is not a port: use 1 to 65535, as in 4420");
	cr_refused("trtype:TCP traddr:a trsvcid:65536",
		   "trsvcid '65536' is not a port: use 1 to 65535, as in 4420");
	cr_assert_eq(parse("trtype:PCIe ns:4294967294"), 0);
	cr_assert_eq(trid.nsid, 4294967294u);
}

static void cr_length_limit(const char *key, const char *before, size_t max)
{
	char text[1024], value[512];

	memset(value, 'x', sizeof(value));
	value[max] = '\0';
	snprintf(text, sizeof(text), "%s %s:%s", before, key, value);
	cr_assert_eq(parse(text), 0, "%s of %zu characters: %s", key, max, err);
	value[max] = 'x';
	value[max + 1] = '\0';
	snprintf(text, sizeof(text), "%s %s:%s", before, key, value);
	cr_assert_eq(parse(text), -EINVAL);
	cr_assert(strstr(err, key) && strstr(err, "is too long: at most"), "%s", err);
	cr_assert_lt(strlen(err), 140, "a long value is shown shortened");
}

Test(trid, values_are_limited_in_length)
{
	cr_length_limit("traddr", "trtype:VIRTUAL", 256);
	cr_length_limit("trsvcid", "trtype:VIRTUAL", 32);
	cr_length_limit("subnqn", "trtype:VIRTUAL", 223);
	cr_length_limit("hostnqn", "trtype:VIRTUAL", 223);
}

Test(trid, messages_stay_printable_and_in_bounds)
{
	char small[8];

	cr_assert_eq(parse("trtype:\x1b[31m\xff"), -EINVAL);
	cr_assert(strstr(err, "'?[31m?'"), "%s", err);
	cr_assert_eq(parse("trtype:TCP traddr:a trsvcid:\x1b"), -EINVAL);
	cr_assert(strstr(err, "'?'"), "%s", err);
	memset(small, 'z', sizeof(small));
	cr_assert_eq(plx_nvme_trid_parse(&trid, "trtype:PCI", small, 4), -EINVAL);
	cr_assert_str_eq(small, "unk");
	cr_assert_eq(small[4], 'z');
	cr_assert_eq(plx_nvme_trid_parse(&trid, "trtype:PCI", NULL, 0), -EINVAL);
}

Test(trid, format_is_what_parses_to_the_same)
{
	static const char *const texts[] = {
		"trtype:PCIe traddr:0000:04:00.0 ns:1",
		"trtype:VIRTUAL",
		("trtype:TCP adrfam:IPv4 traddr:10.0.0.1 trsvcid:4420 subnqn:nqn.a:b "
		 "hostnqn:nqn.c:d priority:1 ns:3"),
	};
	char buf[1024];

	for (size_t i = 0; i < PLX_ARRAY_SIZE(texts); i++) {
		struct plx_nvme_trid first;

		cr_assert_eq(parse(texts[i]), 0, "%s", err);
		first = trid;
		cr_assert_str_eq(plx_nvme_trid_format(&trid, buf, sizeof(buf)), texts[i]);
		cr_assert_eq(parse(buf), 0);
		cr_assert_arr_eq(&trid, &first, sizeof(trid));
	}
}

Test(trid, format_is_cut_where_the_buffer_ends)
{
	char buf[16];

	cr_assert_eq(parse("trtype:PCIe traddr:0000:04:00.0 ns:1"), 0);
	memset(buf, 'z', sizeof(buf));
	plx_nvme_trid_format(&trid, buf, 14);
	cr_assert_str_eq(buf, "trtype:PCIe t");
	cr_assert_eq(buf[14], 'z');
}
