/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/vm/reported.c - every command that a controller reports, carried out once
 *
 * reported TRADDR: walks the Commands Supported and Effects log for the NVM command set, and for
 * the zoned one where a namespace is zoned, and the bits of OACS and ONCS. What is not known here
 * is named, and the exit code is 1.
 */
#include "blocks.h"
#include <pollux/nvme_fdp.h>
#include <pollux/nvme_feature.h>
#include <pollux/nvme_log.h>
#include <pollux/nvme_zns.h>

#define N     4u /* blocks of an I/O */
#define BYTES (64u << 10)

static struct plx_nvme_ns *ns;
static char *buf, *back, *md, *md_back;
static uint64_t at; /* the next block to be written: the write pointer where @ns is zoned */

/* The answer is a refusal that the specification has for it. @why: what the controller lacks */
static void refused(const char *why, int rc, unsigned sct, unsigned sc)
{
	check(rc > 0 && PLX_NVME_ST_CODE(rc) == PLX_NVME_ST(sct, sc), "%s: %d (%x)", why, rc, rc);
	fprintf(stderr, "refused, as the controller %s\n", why);
}

/* ---- I/O commands ---- */

/* Return: where @N blocks have been written */
static uint64_t put(unsigned seed)
{
	uint64_t slba = at;
	struct plx_nvme_rw rw;
	struct iovec iov;
	int rc;

	fill(buf, BYTES, seed);
	fill(md, BYTES, seed + 1);
	rw = blocks_rw(ns, blocks_protection(ns), &iov, buf, md, slba, N);
	rc = io(plx_nvme_writev(ns, qp, &rw, done, NULL));
	check(!rc, "write at %lu: %03x", slba, rc);
	at += N;
	return slba;
}

static int get(uint64_t slba, uint32_t flags)
{
	struct plx_nvme_rw rw;
	struct iovec iov;

	memset(back, 0, BYTES);
	rw = blocks_rw(ns, flags, &iov, back, md_back, slba, N);
	return io(plx_nvme_readv(ns, qp, &rw, done, NULL));
}

static void write_and_read(void)
{
	uint32_t flags = blocks_protection(ns);
	uint64_t slba = put(1);

	check(!get(slba, flags) && blocks_same(ns, flags, buf, back, N), "read");
}

static void flush(void)
{
	put(2);
	check(!io(plx_nvme_flush(ns, qp, done, NULL)), "flush");
}

/* As it lies there, tuples of protection information included */
static void compare(void)
{
	uint64_t slba = put(3);
	struct plx_nvme_rw rw;
	struct iovec iov;
	int rc;

	check(!get(slba, 0), "read");
	rw = blocks_rw(ns, 0, &iov, back, md_back, slba, N);
	rc = io(plx_nvme_comparev(ns, qp, &rw, done, NULL));
	check(!rc, "what is the same: %03x", rc);
	back[5] ^= 1;
	rc = io(plx_nvme_comparev(ns, qp, &rw, done, NULL));
	check(rc == PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_COMPARE_FAILED), "what is not: %03x", rc);
}

static void write_zeroes(void)
{
	uint32_t flags = blocks_protection(ns) & PLX_NVME_RW_PRACT;
	uint32_t stride = blocks_stride(ns, flags);
	uint64_t slba = at;
	int rc;

	if (!plx_nvme_ns_zns(ns)) { /* a zone has no second write */
		slba = put(4);
		at = slba;
	}
	rc = io(plx_nvme_write_zeroes(ns, qp, slba, N, flags, done, NULL));
	check(!rc, "write zeroes: %03x", rc);
	at += N;
	check(!get(slba, flags), "read");
	for (uint32_t i = 0; i < N; i++)
		for (uint32_t k = 0; k < plx_nvme_ns_block_size(ns); k++)
			check(!back[i * stride + k], "block %u, byte %u", i, k);
}

static void dsm(void)
{
	struct nvme_dsm_range *r = (void *)back;
	uint64_t slba = put(5);

	*r = (struct nvme_dsm_range){ .nlb = N, .slba = slba };
	check(!io(plx_nvme_dsm(ns, qp, NVME_DSMGMT_AD, r, 1, done, NULL)), "deallocate: %03x",
	      plx_nvme_status(&last));
}

/* QEMU has it in the log and not in ONCS, which the driver goes by */
static void verify(void)
{
	uint32_t flags = blocks_protection(ns) & PLX_NVME_RW_PRCHK;
	uint64_t slba = put(6);
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_verify,
				    .nsid = plx_nvme_ns_id(ns),
				    .slba = slba,
				    .cdw12 = flags | (N - 1),
				    .cdw14 = (uint32_t)slba };
	int rc = plx_nvme_verify(ns, qp, slba, N, flags, done, NULL);

	if (rc == -ENOTSUP && !(plx_nvme_ctrlr_data(c)->oncs & NVME_CTRL_ONCS_VERIFY))
		rc = plx_nvme_io_raw(qp, &cmd, NULL, 0, NULL, 0, done, NULL);
	check(!io(rc), "verify: %03x", plx_nvme_status(&last));
}

static void copy(void)
{
	struct nvme_copy_range *r = (void *)md_back;
	struct nvme_copy_range_f1 *r1 = (void *)(md_back + 64);
	uint64_t from = put(7), to = at;
	int rc;

	*r = (struct nvme_copy_range){ .slba = from, .nlb = N - 1 };
	*r1 = (struct nvme_copy_range_f1){ .slba = from, .nlb = N - 1 };
	rc = io(plx_nvme_ns_pi_guard(ns) > 16 ? plx_nvme_copy_f1(ns, qp, to, r1, 1, done, NULL)
					      : plx_nvme_copy(ns, qp, to, r, 1, done, NULL));
	check(!rc, "copy: %03x", rc);
	at += N;
	/* unchecked: reference tags of type 1 are still those of where the blocks come from */
	rc = get(to, blocks_protection(ns) & PLX_NVME_RW_PRACT);
	check(!rc && blocks_same(ns, blocks_protection(ns), buf, back, N), "read: %03x", rc);
}

static void io_mgmt(void)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_cmd_io_mgmt_recv,
				    .nsid = plx_nvme_ns_id(ns),
				    .cdw10 = 1,
				    .cdw11 = 4096 / 4 - 1 };
	const struct nvme_fdp_ruh_status *st = (const void *)back;
	struct iovec iov = { back, 4096 };
	uint16_t *pid = (void *)buf;

	if (!plx_nvme_fdp_supported(c)) {
		check(plx_nvme_fdp_status(ns, qp, back, 4096, done, NULL) == -ENOTSUP, "sent");
		io(plx_nvme_io_raw(qp, &cmd, &iov, 1, NULL, 0, done, NULL));
		refused("has no data placement", plx_nvme_status(&last), NVME_SCT_GENERIC, 0x29);
		return;
	}
	check(!io(plx_nvme_fdp_status(ns, qp, back, 4096, done, NULL)) && st->nruhsd, "status");
	*pid = st->ruhss[0].pid;
	check(!io(plx_nvme_fdp_update(ns, qp, pid, 1, done, NULL)), "update");
}

/* ---- of zones ---- */

static void zone_action(uint8_t action, const char *name)
{
	uint64_t second = plx_nvme_ns_zns(ns)->zone_blocks;
	int rc = io(plx_nvme_zns_mgmt(ns, qp, second, action, 0, NULL, done, NULL));

	check(!rc, "%s: %03x", name, rc);
}

static void zone_send(void)
{
	zone_action(NVME_ZNS_ZSA_OPEN, "open");
	zone_action(NVME_ZNS_ZSA_CLOSE, "close");
	zone_action(NVME_ZNS_ZSA_FINISH, "finish");
	zone_action(NVME_ZNS_ZSA_RESET, "reset");
}

static void zone_receive(void)
{
	const struct nvme_zone_report *r = (const void *)back;
	int rc = io(plx_nvme_zns_report(ns, qp, 0, false, NVME_ZNS_ZRAS_REPORT_ALL, false, back,
					4096, done, NULL));

	check(!rc && r->nr_zones == plx_nvme_ns_zns(ns)->zones, "%03x, %lu zones", rc,
	      (unsigned long)r->nr_zones);
	check(r->entries[0].wp == at, "write pointer %lu, not %lu", (unsigned long)r->entries[0].wp,
	      (unsigned long)at);
}

static void append(void)
{
	struct plx_nvme_rw rw;
	struct iovec iov;
	int rc;

	fill(buf, BYTES, 8);
	rw = blocks_rw(ns, blocks_protection(ns), &iov, buf, md, 0, N);
	rc = io(plx_nvme_zns_append(ns, qp, &rw, done, NULL));
	check(!rc && plx_nvme_zns_append_lba(&last) == at, "append: %03x, at %lu", rc,
	      (unsigned long)plx_nvme_zns_append_lba(&last));
	at += N;
}

/* ---- admin commands ---- */

/* Where one queue pair is all there is, it makes room for the other */
static void queues(void)
{
	struct plx_nvme_qpair *another = plx_nvme_qpair_create(c, NULL);

	if (!another) {
		check(errno == ENOSPC, "%s", strerror(errno));
		plx_nvme_qpair_destroy(qp);
		qp = plx_nvme_qpair_create(c, NULL);
		check(qp, "%s", strerror(errno));
		return;
	}
	plx_nvme_qpair_destroy(another);
}

static void get_log(void)
{
	struct nvme_smart_log smart;
	int rc =
		plx_nvme_get_log(c, NVME_LOG_LID_SMART, NVME_NSID_ALL, 0, 0, &smart, sizeof(smart));

	check(!rc && (smart.temperature[0] || smart.temperature[1]), "%d", rc);
}

static void identify(void)
{
	const struct nvme_id_ctrl *id = (const void *)back;
	int rc = plx_nvme_identify(c, NVME_IDENTIFY_CNS_CTRL, 0, 0, 0, back);

	check(!rc && id->cntlid == plx_nvme_ctrlr_data(c)->cntlid, "%d", rc);
}

/* Of what is not under way: bit 0 of dword 0 says that nothing was aborted (§5.1) */
static void abort_nothing(void)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_abort_cmd,
				    .cdw10 = 0xfffeu << 16 | plx_nvme_qpair_id(qp) };
	struct plx_nvme_cpl cpl;
	int rc = plx_nvme_admin_sync(c, &cmd, NULL, 0, &cpl);

	check(!rc && plx_nvme_ok(&cpl) && cpl.dw0 & 1, "%d, %x, %x", rc, cpl.status, cpl.dw0);
}

static void features(void)
{
	uint16_t before, kelvin;
	uint64_t ms = 0;
	uint32_t can;
	bool was_set, stopped;

	check(!plx_nvme_get_temp_threshold(c, 0, false, &before), "get threshold");
	check(!plx_nvme_set_temp_threshold(c, false, 0, false, 340), "set threshold");
	check(!plx_nvme_get_temp_threshold(c, 0, false, &kelvin) && kelvin == 340, "%u", kelvin);
	check(!plx_nvme_set_temp_threshold(c, false, 0, false, before), "set it back");
	if (plx_nvme_ctrlr_data(c)->oncs & NVME_CTRL_ONCS_SAVE_FEATURES)
		check(!plx_nvme_get_feature(c, NVME_FEAT_FID_TEMP_THRESH, 0, 3, 0, NULL, 0, &can) &&
			      can & 4,
		      "its capabilities: it can be changed");
	if (!(plx_nvme_ctrlr_data(c)->oncs & NVME_CTRL_ONCS_TIMESTAMP))
		return;
	check(!plx_nvme_set_timestamp(c, 1700000000000), "set timestamp");
	check(!plx_nvme_get_timestamp(c, &ms, &was_set, &stopped) && ms >= 1700000000000, "%lu",
	      (unsigned long)ms);
}

/* It is hotter than that: an event, which one of the driver's outstanding requests brings */
static void event(void)
{
	uint64_t end = plx_tsc() + 60 * plx_tsc_hz();
	struct plx_nvme_ctrlr_stats before, now;
	uint16_t kelvin;

	check(!plx_nvme_get_temp_threshold(c, 0, false, &kelvin), "get threshold");
	plx_nvme_ctrlr_get_stats(c, &before);
	check(!plx_nvme_set_temp_threshold(c, false, 0, false, 200), "set threshold");
	do {
		check(plx_tsc() < end, "no event");
		check(plx_nvme_ctrlr_poll(c) >= 0, "%s", plx_nvme_ctrlr_failure(c));
		plx_nvme_ctrlr_get_stats(c, &now);
	} while (now.aers == before.aers);
	check(!plx_nvme_set_temp_threshold(c, false, 0, false, kelvin), "set it back");
}

static void attachment(void)
{
	uint32_t nsid = plx_nvme_ns_id(ns);
	int rc = plx_nvme_ns_detach(c, nsid, NULL, 0);

	check(!rc && !plx_nvme_ctrlr_ns(c, nsid), "detach: %x", rc);
	rc = plx_nvme_ns_attach(c, nsid, NULL, 0);
	check(!rc && plx_nvme_ctrlr_ns(c, nsid) == ns, "attach: %x", rc);
}

static void directives(void)
{
	struct nvme_id_directives id;
	uint32_t nsid = plx_nvme_ns_id(ns);
	int rc = plx_nvme_directive_identify(c, nsid, &id);

	check(!rc && id.supported[0] & 1, "identify: %x", rc);
	check(!(id.supported[0] & 4) == !plx_nvme_fdp_supported(c), "placement: %x",
	      id.supported[0]);
	rc = plx_nvme_directive_enable(c, nsid, PLX_NVME_DTYPE_PLACEMENT, true);
	if (rc)
		refused("has no directive to enable", rc, NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD);
}

static void virtualization(void)
{
	static struct nvme_secondary_ctrl_list list;
	struct nvme_primary_ctrl_cap caps;
	uint16_t granted = 0, scid;
	int rc = plx_nvme_primary_caps(c, &caps);

	check(!rc, "capabilities: %x", rc);
	check(!plx_nvme_secondary_list(c, 0, &list), "no list of secondary controllers");
	scid = list.sc_entry[0].scid;
	if (!list.num) {
		rc = plx_nvme_virt_mgmt(c, NVME_VIRT_MGMT_ACT_OFFLINE_SEC_CTRL, 0, 1, 0, NULL);
		refused("has no secondary ones", rc, NVME_SCT_CMD_SPECIFIC,
			NVME_SC_INVALID_CTRL_ID);
		return;
	}
	rc = plx_nvme_virt_mgmt(c, NVME_VIRT_MGMT_ACT_ASSIGN_SEC_CTRL,
				NVME_VIRT_MGMT_RT_VQ_RESOURCE, scid, 2, &granted);
	check(!rc && granted == 2, "assign: %x, %u", rc, granted);
	rc = plx_nvme_virt_mgmt(c, NVME_VIRT_MGMT_ACT_ASSIGN_SEC_CTRL,
				NVME_VIRT_MGMT_RT_VQ_RESOURCE, scid, 0, &granted);
	check(!rc, "take back: %x", rc);
}

/* What connecting has done: a submission is a store to memory, not to a register */
static void shadow_doorbells(void)
{
	struct plx_nvme_qpair_stats before, after;

	plx_nvme_qpair_get_stats(qp, &before);
	for (unsigned i = 0; i < 16; i++)
		put(9);
	plx_nvme_qpair_get_stats(qp, &after);
	check(after.submissions - before.submissions == 16, "%lu submissions",
	      (unsigned long)(after.submissions - before.submissions));
}

static void format(void)
{
	struct plx_nvme_format same = blocks_format(ns);
	int rc = plx_nvme_format(c, plx_nvme_ns_id(ns), &same);

	if (plx_nvme_ns_zns(ns))
		refused("formats no zoned namespace", rc, NVME_SCT_CMD_SPECIFIC,
			NVME_SC_INVALID_FORMAT);
	else
		check(!rc && plx_nvme_ctrlr_ns(c, plx_nvme_ns_id(ns)) == ns, "format: %x", rc);
}

/* Protocol 0 is the list of those there are, and nothing can be sent to it (SPC-5) */
static void security(void)
{
	uint8_t list[512] = { 0 };
	int rc = plx_nvme_security_receive(c, 0, 0, 0, 0, list, sizeof(list));

	check(!rc && (list[6] << 8 | list[7]) >= 1 && !list[8], "protocols: %x, %u", rc,
	      list[6] << 8 | list[7]);
	rc = plx_nvme_security_send(c, 0, 0, 0, 0, list, sizeof(list));
	refused("takes nothing for that protocol", rc, NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD);
}

/* ---- all of them ---- */

struct known {
	uint8_t opc;
	void (*run)(void);
	const char *name;
};
static const struct known admin_known[] = {
	{ nvme_admin_delete_sq, queues, "Delete I/O Submission Queue" },
	{ nvme_admin_create_sq, queues, "Create I/O Submission Queue" },
	{ nvme_admin_get_log_page, get_log, "Get Log Page" },
	{ nvme_admin_delete_cq, queues, "Delete I/O Completion Queue" },
	{ nvme_admin_create_cq, queues, "Create I/O Completion Queue" },
	{ nvme_admin_identify, identify, "Identify" },
	{ nvme_admin_abort_cmd, abort_nothing, "Abort" },
	{ nvme_admin_set_features, features, "Set Features" },
	{ nvme_admin_get_features, features, "Get Features" },
	{ nvme_admin_async_event, event, "Asynchronous Event Request" },
	{ nvme_admin_ns_attach, attachment, "Namespace Attachment" },
	{ nvme_admin_directive_send, directives, "Directive Send" },
	{ nvme_admin_directive_recv, directives, "Directive Receive" },
	{ nvme_admin_virtual_mgmt, virtualization, "Virtualization Management" },
	{ nvme_admin_dbbuf, shadow_doorbells, "Doorbell Buffer Config" },
	{ nvme_admin_format_nvm, format, "Format NVM" },
	{ nvme_admin_security_send, security, "Security Send" },
	{ nvme_admin_security_recv, security, "Security Receive" },
	{ 0, NULL, NULL },
};
static const struct known io_known[] = {
	{ nvme_cmd_flush, flush, "Flush" },
	{ nvme_cmd_write, write_and_read, "Write" },
	{ nvme_cmd_read, write_and_read, "Read" },
	{ nvme_cmd_compare, compare, "Compare" },
	{ nvme_cmd_write_zeroes, write_zeroes, "Write Zeroes" },
	{ nvme_cmd_dsm, dsm, "Dataset Management" },
	{ nvme_cmd_verify, verify, "Verify" },
	{ nvme_cmd_io_mgmt_recv, io_mgmt, "I/O Management Receive" },
	{ nvme_cmd_copy, copy, "Copy" },
	{ nvme_cmd_io_mgmt_send, io_mgmt, "I/O Management Send" },
	{ nvme_zns_cmd_mgmt_send, zone_send, "Zone Management Send" },
	{ nvme_zns_cmd_append, append, "Zone Append" },
	{ nvme_zns_cmd_mgmt_recv, zone_receive, "Zone Management Receive" },
	{ 0, NULL, NULL },
};

/* Bits of OACS and ONCS, and a command that each stands for, of the log; -1: features do */
static const struct {
	unsigned bit;
	int opc;
} oacs[] = { { 0, nvme_admin_security_recv }, { 1, nvme_admin_format_nvm },
	     { 3, nvme_admin_ns_attach },     { 5, nvme_admin_directive_recv },
	     { 7, nvme_admin_virtual_mgmt },  { 8, nvme_admin_dbbuf } },
  oncs[] = { { 0, nvme_cmd_compare },
	     { 2, nvme_cmd_dsm },
	     { 3, nvme_cmd_write_zeroes },
	     { 4, -1 },
	     { 6, -1 },
	     { 7, nvme_cmd_verify },
	     { 8, nvme_cmd_copy },
	     { 9, nvme_cmd_copy },
	     { 10, nvme_cmd_copy } };

static unsigned carried_out, unknown;

static void carry_out(const char *set, uint8_t opc, const struct known *k)
{
	while (k->run && k->opc != opc)
		k++;
	if (!k->run) {
		printf("not known here: %s command %02x\n", set, opc);
		unknown++;
		return;
	}
	fprintf(stderr, "%s\n", k->name);
	k->run();
	carried_out++;
}

static void carry_out_all(uint8_t csi)
{
	struct plx_nvme_log log = { .lid = NVME_LOG_LID_CMD_EFFECTS,
				    .csi = csi,
				    .nsid = PLX_NVME_LOG_CTRLR };
	const struct nvme_cmd_effects_log *e;
	void *page = NULL;
	size_t len = 0;
	int rc = plx_nvme_log_fetch(c, &log, 0, &page, &len);

	check(!rc && len == sizeof(*e), "the log: %d, %zu bytes", rc, len);
	e = page;
	for (unsigned i = 0; i < 256; i++)
		if (e->acs[i] & NVME_CMD_EFFECTS_CSUPP)
			carry_out("admin", (uint8_t)i, admin_known);
	for (unsigned i = 0; i < 256; i++)
		if (e->iocs[i] & NVME_CMD_EFFECTS_CSUPP)
			carry_out("I/O", (uint8_t)i, io_known);
	for (unsigned b = 0; b < 16; b++) {
		bool named = !(plx_nvme_ctrlr_data(c)->oacs >> b & 1);

		for (unsigned i = 0; i < sizeof(oacs) / sizeof(oacs[0]); i++)
			named |= oacs[i].bit == b && e->acs[oacs[i].opc] & NVME_CMD_EFFECTS_CSUPP;
		check(named, "bit %u of OACS, and no command of it in the log", b);
		named = !(plx_nvme_ctrlr_data(c)->oncs >> b & 1);
		for (unsigned i = 0; i < sizeof(oncs) / sizeof(oncs[0]); i++)
			named |= oncs[i].bit == b &&
				 (oncs[i].opc < 0 || e->iocs[oncs[i].opc] & NVME_CMD_EFFECTS_CSUPP);
		check(named, "bit %u of ONCS, and no command of it in the log", b);
	}
	free(page);
}

static char *memory(void)
{
	char *m = plx_dma_zalloc(BYTES, 4096, PLX_NUMA_ANY);

	check(m, "no memory");
	return m;
}

int main(int argc, char **argv)
{
	check(argc == 2, "reported TRADDR");
	attach(argv[1], NULL);
	ns = plx_nvme_ctrlr_ns(c, plx_nvme_ctrlr_next_ns(c, 0));
	check(ns, "no namespace");
	buf = memory();
	back = memory();
	md = memory();
	md_back = memory();
	if (plx_nvme_ns_zns(ns))
		check(!io(plx_nvme_zns_mgmt(ns, qp, 0, NVME_ZNS_ZSA_RESET, PLX_NVME_ZNS_ALL, NULL,
					    done, NULL)),
		      "reset of all zones");
	carry_out_all(plx_nvme_ns_csi(ns));
	printf("%u commands carried out\n", carried_out);
	plx_dma_free(md_back);
	plx_dma_free(md);
	plx_dma_free(back);
	plx_dma_free(buf);
	detach();
	return unknown != 0;
}
