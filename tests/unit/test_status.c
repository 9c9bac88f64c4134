/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_status.c - status codes in words */
#include <pollux/nvme.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char buf[96];

static const char *text(unsigned sct, unsigned sc)
{
	return plx_nvme_status_text((uint16_t)PLX_NVME_ST(sct, sc), buf, sizeof(buf));
}

Test(status, each_type_has_its_own_words)
{
	cr_assert_str_eq(text(0, 0x00), "SUCCESSFUL COMPLETION (00/00)");
	cr_assert_str_eq(text(0, 0x80), "LBA OUT OF RANGE (00/80)");
	cr_assert_str_eq(text(1, 0x80), "CONFLICTING ATTRIBUTES (01/80)");
	cr_assert_str_eq(text(2, 0x80), "WRITE FAULT (02/80)");
	cr_assert_str_eq(text(0, 0x01), "INVALID COMMAND OPCODE (00/01)");
	cr_assert_str_eq(text(1, 0x01), "INVALID QUEUE IDENTIFIER (01/01)");
	cr_assert_str_eq(text(3, 0x01), "ASYMMETRIC ACCESS PERSISTENT LOSS (03/01)");
	cr_assert_str_eq(text(3, 0x71), "COMMAND ABORTED BY HOST (03/71)");
	cr_assert_str_eq(text(0, 0x09), "COMMAND ABORTED DUE TO FAILED FUSED COMMAND (00/09)");
}

Test(status, do_not_retry_is_named_and_other_bits_are_not_part_of_the_code)
{
	cr_assert_str_eq(plx_nvme_status_text(0x80 | PLX_NVME_DNR, buf, sizeof(buf)),
			 "LBA OUT OF RANGE (00/80), DNR");
	cr_assert_str_eq(plx_nvme_status_text(0x80 | NVME_SC_MORE | NVME_SC_CRD, buf, sizeof(buf)),
			 "LBA OUT OF RANGE (00/80)");
}

Test(status, what_the_specification_does_not_define)
{
	cr_assert_str_eq(text(7, 0x12), "VENDOR SPECIFIC (07/12)");
	cr_assert_str_eq(text(0, 0xc0), "VENDOR SPECIFIC (00/c0)");
	cr_assert_str_eq(text(2, 0xff), "VENDOR SPECIFIC (02/ff)");
	cr_assert_str_eq(text(0, 0x17), "RESERVED (00/17)");
	cr_assert_str_eq(text(0, 0xbf), "RESERVED (00/bf)");
	cr_assert_str_eq(text(1, 0x04), "RESERVED (01/04)");
	cr_assert_str_eq(text(5, 0xc0), "RESERVED (05/c0)");
}

Test(status, every_code_of_every_type_fits_the_buffer_and_shows_its_code)
{
	for (unsigned st = 0; st < 0x800; st++) {
		char code[16];

		memset(buf, 'z', sizeof(buf));
		plx_nvme_status_text((uint16_t)(st | PLX_NVME_DNR), buf, sizeof(buf));
		snprintf(code, sizeof(code), "(%02x/%02x), DNR", st >> 8, st & 0xff);
		cr_assert(memchr(buf, '\0', sizeof(buf) - 1), "%03x", st);
		cr_assert(strstr(buf, code), "%s", buf);
	}
}

Test(status, no_two_codes_of_a_type_share_their_words)
{
	static char names[0x800][96];

	for (unsigned st = 0; st < 0x800; st++) {
		plx_nvme_status_text((uint16_t)st, names[st], sizeof(names[st]));
		*strrchr(names[st], '(') = '\0';
	}
	for (unsigned a = 0; a < 0x800; a++)
		for (unsigned b = a & 0x700; b < a; b++)
			cr_assert(strcmp(names[a], names[b]) || !strcmp(names[a], "RESERVED ") ||
					  !strcmp(names[a], "VENDOR SPECIFIC "),
				  "%03x and %03x: %s", a, b, names[a]);
}
