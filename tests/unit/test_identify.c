/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_identify.c - plx-identify against a controller that lacks things, and its words
 */
#include "nvme_fixture.h"
#include "identify/identify.h"

TestSuite(identify, .init = setup, .fini = teardown, .timeout = 60);

static const struct id_item *find(const struct id_dump *d, enum id_what what)
{
	for (uint32_t i = 0; i < d->nitems; i++) {
		if (d->items[i].what == what)
			return &d->items[i];
	}
	return NULL;
}

static int read_of(struct plx_nvme_ctrlr *c, uint64_t what, uint32_t nsid, struct id_dump *d)
{
	const struct id_wanted w = {
		.what = what, .nsid = nsid, .named = what != ID_ALL, .fid = -1
	};

	return id_read(c, &w, d);
}

static unsigned asked(uint8_t opc, uint8_t low)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fake.admin_cmds; i++)
		n += fake.admin_log[i].opc == opc && (fake.admin_log[i].cdw10 & 0xff) == low;
	return n;
}

/* ---- reading ---- */

Test(identify, a_log_page_that_is_refused_leaves_the_others_readable)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct id_dump d;

	fake.refuse = FAKE_ADMIN(nvme_admin_get_log_page, NVME_LOG_LID_FW_SLOT);
	cr_assert_eq(read_of(c, ID_BIT(ID_SMART) | ID_BIT(ID_FW) | ID_BIT(ID_NS), 0, &d), 0);

	cr_assert_eq(d.nitems, 3);
	cr_assert(id_not_supported(find(&d, ID_FW)->status));
	cr_assert_eq(find(&d, ID_SMART)->status, 0);
	cr_assert_eq(find(&d, ID_NS)->status, 0);
	id_dump_free(&d);
	plx_nvme_disconnect(c);
}

Test(identify, each_active_namespace_is_read_and_only_the_chosen_one_when_there_is_a_choice)
{
	struct plx_nvme_ctrlr *c;
	struct id_dump d;

	fake.ns[3] = fake.ns[1];
	c = connect_fake();
	cr_assert_eq(read_of(c, ID_BIT(ID_NS), 0, &d), 0);
	cr_assert_eq(d.nitems, 2);
	cr_assert_eq(d.items[0].nsid, 1);
	cr_assert_eq(d.items[1].nsid, 3);
	id_dump_free(&d);
	cr_assert_eq(read_of(c, ID_BIT(ID_NS), 3, &d), 0);
	cr_assert_eq(d.nitems, 1);
	cr_assert_eq(d.items[0].nsid, 3);
	id_dump_free(&d);
	plx_nvme_disconnect(c);
}

Test(identify, without_extended_data_the_error_log_is_cut_to_what_one_command_can_ask_for)
{
	struct plx_nvme_ctrlr *c;
	struct id_dump d;

	fake.id.elpe = 255;
	fake.id.mdts = 1; /* 8 KiB */
	fake.id.lpa = 0;
	c = connect_fake();
	cr_assert_eq(read_of(c, ID_BIT(ID_ERROR), 0, &d), 0);
	cr_assert_eq(d.items[0].status, 0);
	cr_assert_eq(d.items[0].len, 8192);
	id_dump_free(&d);
	plx_nvme_disconnect(c);
}

Test(identify, with_extended_data_the_whole_error_log_is_read)
{
	struct plx_nvme_ctrlr *c;
	struct id_dump d;

	fake.id.elpe = 255;
	fake.id.mdts = 1;
	fake.id.lpa = NVME_CTRL_LPA_EXTENDED;
	c = connect_fake();
	cr_assert_eq(read_of(c, ID_BIT(ID_ERROR), 0, &d), 0);
	cr_assert_eq(d.items[0].len, 256 * 64);
	/* the fake's pages are their own offset: the last command asked for the second half */
	cr_assert_eq(*((uint32_t *)d.items[0].data + 2048), 8192);
	id_dump_free(&d);
	plx_nvme_disconnect(c);
}

Test(identify, default_and_saved_values_are_asked_for_only_where_the_controller_has_them)
{
	struct plx_nvme_ctrlr *c;
	struct id_dump d;

	fake.id.oncs = 0;
	c = connect_fake();
	fake.admin_cmds = 0;
	cr_assert_eq(read_of(c, ID_BIT(ID_FEATURES), 0, &d), 0);
	cr_assert_eq(asked(nvme_admin_get_features, NVME_FEAT_FID_ARBITRATION), 1);
	cr_assert_eq(((struct id_feature_value *)d.items[0].data)->known, 1 << ID_CURRENT);
	cr_assert_eq(((struct id_feature_value *)d.items[0].data)->value[ID_CURRENT], 0x1234);
	id_dump_free(&d);
	plx_nvme_disconnect(c);
}

Test(identify, features_that_the_controller_says_it_lacks_are_not_asked_for)
{
	struct plx_nvme_ctrlr *c;
	struct id_dump d;

	/* the fake's pages are zeroes: by its page 12h it supports nothing at all */
	fake.id.lpa = NVME_CTRL_LPA_LI0_LI5_LI12_LI13 | NVME_CTRL_LPA_EXTENDED;
	fake.refuse = FAKE_ADMIN(nvme_admin_get_log_page, NVME_LOG_LID_SUPPORTED_LOG_PAGES);
	c = connect_fake();
	fake.admin_cmds = 0;
	cr_assert_eq(read_of(c, ID_BIT(ID_FEATURES), 0, &d), 0);
	cr_assert_eq(asked(nvme_admin_get_log_page, NVME_LOG_LID_FID_SUPPORTED_EFFECTS), 1);
	cr_assert_eq(asked(nvme_admin_get_features, NVME_FEAT_FID_ARBITRATION), 0);
	cr_assert(id_not_supported(((struct id_feature_value *)d.items[0].data)->status));
	id_dump_free(&d);
	plx_nvme_disconnect(c);
}

Test(identify, a_controller_that_goes_away_is_an_error)
{
	struct plx_nvme_ctrlr *c = connect_fake();
	struct id_dump d;

	fake.gone = true;
	cr_assert_lt(read_of(c, ID_ALL, 0, &d), 0);
	id_dump_free(&d);
	plx_nvme_disconnect(c);
}

/* ---- words, which need no controller ---- */

Test(identify_words, counters_of_128_bits_are_exact)
{
	uint8_t most[16], none[16] = { 0 }, one[16] = { 0 };
	char out[40];

	memset(most, 0xff, sizeof(most));
	one[8] = 1;
	cr_assert_str_eq(id_text128(most, out), "340282366920938463463374607431768211455");
	cr_assert_str_eq(id_text128(one, out), "18446744073709551616");
	cr_assert_str_eq(id_text128(none, out), "0");
}

Test(identify_words, strings_lose_their_padding_and_what_a_terminal_might_obey)
{
	char out[21];

	cr_assert_str_eq(id_ascii("S/N 1   ", 8, out), "S/N 1");
	cr_assert_str_eq(id_ascii("  x", 3, out), "  x");
	cr_assert_str_eq(id_ascii("a\033[2J\xff", 6, out), "a?[2J?");
	cr_assert_str_eq(id_ascii("ab\0cdef", 7, out), "ab");
	cr_assert_str_eq(id_ascii("        ", 8, out), "");
}

Test(identify_words, the_format_in_use_has_six_bits_where_there_are_more_than_16)
{
	struct nvme_id_ns ns = { .nlbaf = 15, .flbas = 0x62 };

	cr_assert_eq(id_lbaf_index(&ns), 2);
	ns.nlbaf = 63;
	cr_assert_eq(id_lbaf_index(&ns), 0x32);
	cr_assert_eq(id_lbaf_count(&ns), 64);
	ns.nlbaf = 255;
	cr_assert_eq(id_lbaf_count(&ns), 64);
}

Test(identify_words, descriptors_end_at_one_without_length_or_one_that_leads_outside)
{
	uint8_t page[32] = { 1, 8 };
	struct id_item item = { .data = page, .len = sizeof(page) };
	struct id_desc d;
	uint32_t at = 0;

	cr_assert(id_next_desc(&item, &at, &d));
	cr_assert_eq(d.id, page + 4);
	cr_assert_not(id_next_desc(&item, &at, &d));
	page[12] = 2;
	page[13] = 16;
	at = 0;
	cr_assert(id_next_desc(&item, &at, &d));
	cr_assert(id_next_desc(&item, &at, &d), "one that just fits");
	cr_assert_eq(d.loc, 12);
	page[13] = 17;
	at = 12;
	cr_assert_not(id_next_desc(&item, &at, &d));
}

Test(identify_words, values_are_said_in_units)
{
	const struct id_context x = { .block = 4096 };
	char out[ID_WORDS];

	say_kelvin_if(&x, 343, out);
	cr_assert_str_eq(out, "343 K (70 °C)");
	say_mdts(&x, 5, out);
	cr_assert_str_eq(out, "5 (128 KiB)");
	say_mdts(&x, 0, out);
	cr_assert_str_eq(out, "0 (no limit)");
	say_mdts(&x, 255, out);
	cr_assert_str_eq(out, "255 (more than 64 bits can address)");
	say_blocks(&x, 256, out);
	cr_assert_str_eq(out, "256 blocks (1 MiB)");
	say_version(&x, 0x10400, out);
	cr_assert_str_eq(out, "0x10400 (1.4)");
	say_version(&x, 0x10201, out);
	cr_assert_str_eq(out, "0x10201 (1.2.1)");
	say_blocks_plus_one(&x, 65535, out);
	cr_assert_str_eq(out, "65535 (means 65536 blocks, 256 MiB)");
}
