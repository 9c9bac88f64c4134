/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_trid.c - transport identifiers from command lines, job files and configurations
 *
 * Whatever is accepted must come back the same through its canonical text; whatever is refused must
 * say why, in one printable line.
 */
#include <pollux/nvme.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_message(const char *err)
{
	check(*err);
	for (; *err; err++)
		check(isprint((unsigned char)*err));
}

static void check_terminated(const struct plx_nvme_trid *t)
{
	check(memchr(t->traddr, 0, sizeof(t->traddr)) && memchr(t->trsvcid, 0, sizeof(t->trsvcid)));
	check(memchr(t->subnqn, 0, sizeof(t->subnqn)) && memchr(t->hostnqn, 0, sizeof(t->hostnqn)));
	check(memchr(t->adrfam, 0, sizeof(t->adrfam)) && t->trtype < PLX_NVME_TR_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plx_nvme_trid trid, again;
	char *text = malloc(size + 1);
	char err[512], canonical[1024], small[16];

	memcpy(text, data, size);
	text[size] = '\0';
	if (plx_nvme_trid_parse(&trid, text, err, sizeof(err))) {
		check_message(err);
		check(plx_nvme_trid_parse(&trid, text, small, sizeof(small)) != 0);
		check(memchr(small, 0, sizeof(small)) != NULL);
	} else {
		check_terminated(&trid);
		plx_nvme_trid_format(&trid, canonical, sizeof(canonical));
		check(plx_nvme_trid_parse(&again, canonical, err, sizeof(err)) == 0);
		check(!memcmp(&trid, &again, sizeof(trid)));
		plx_nvme_trid_format(&trid, small, sizeof(small));
		check(!strncmp(small, canonical, sizeof(small) - 1));
	}
	free(text);
	return 0;
}
