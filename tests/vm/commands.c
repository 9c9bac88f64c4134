/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/vm/commands.c - commands of the driver on a controller that somebody else wrote
 *
 * commands TRADDR PART: carries out one part on the controller, says on standard error what went
 * wrong, and ends with 0 or 1. test_commands.py has the controllers.
 */
#include "one_io.h"
#include <pollux/nvme_admin.h>
#include <pollux/nvme_fdp.h>
#include <pollux/nvme_feature.h>
#include <pollux/nvme_log.h>
#include <pollux/nvme_zns.h>

static char *buf, *md;

#define BUF_BYTES (64u << 10)

/* ---- formats ---- */

static struct plx_nvme_rw transfer(struct plx_nvme_ns *ns, struct iovec *iov, uint32_t flags)
{
	uint32_t pi_only = plx_nvme_ns_md_size(ns) == 8 && (flags & PLX_NVME_RW_PRACT);
	bool separate = plx_nvme_ns_md_size(ns) && !plx_nvme_ns_md_extended(ns) && !pi_only;

	iov->iov_base = buf;
	iov->iov_len =
		8ul * (pi_only ? plx_nvme_ns_block_size(ns) : plx_nvme_ns_xfer_block_size(ns));
	return (struct plx_nvme_rw){ .iov = iov,
				     .iovcnt = 1,
				     .slba = 16,
				     .nlb = 8,
				     .md = separate ? md : NULL,
				     .flags = flags,
				     .reftag = 16 };
}

/* Written with the controller's protection information, read back with all checks; then a wrong
 * reference tag has to be noticed. */
static void use_format(struct plx_nvme_ns *ns)
{
	unsigned type = plx_nvme_ns_pi_type(ns);
	/* type 3 has no reference tag to be checked */
	uint32_t chk = type == 3 ? PLX_NVME_RW_PRCHK_GUARD
				 : PLX_NVME_RW_PRCHK_GUARD | PLX_NVME_RW_PRCHK_REF;
	uint32_t flags = type ? PLX_NVME_RW_PRACT | chk : 0;
	struct plx_nvme_rw rw;
	struct iovec iov;
	char *want = malloc(BUF_BYTES);
	int rc;

	fill(buf, BUF_BYTES, type);
	memset(md, 0x3c, BUF_BYTES);
	rw = transfer(ns, &iov, flags);
	rc = io(plx_nvme_writev(ns, qp, &rw, done, NULL));
	check(!rc, "write: %03x", rc);
	memcpy(want, buf, BUF_BYTES);
	memset(buf, 0, BUF_BYTES);
	rc = io(plx_nvme_readv(ns, qp, &rw, done, NULL));
	check(!rc, "read: %03x", rc);
	/* without protection information all bytes come back, with it the data does */
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t x = (uint32_t)(iov.iov_len / 8);
		uint32_t n = type ? plx_nvme_ns_block_size(ns) : x;

		check(!memcmp(buf + i * x, want + i * x, n), "block %u differs", i);
	}
	free(want);
	if (type != 1)
		return;
	rw.reftag = 17;
	rc = io(plx_nvme_readv(ns, qp, &rw, done, NULL));
	/* type 1 prescribes it: the command is refused before anything is read */
	check(rc == PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_PI) ||
		      rc == PLX_NVME_ST(NVME_SCT_MEDIA, NVME_SC_REFTAG_CHECK),
	      "a wrong reference tag: %03x", rc);
}

static void formats(void)
{
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, 1);
	struct nvme_id_ns id = *plx_nvme_ns_data(ns);
	unsigned tried = 0;

	for (uint8_t f = 0; f <= id.nlbaf; f++) {
		for (unsigned how = 0; how < 8; how++) {
			uint8_t pi = how & 3;
			struct plx_nvme_format fmt = { .lbaf = f, .pi = pi, .mset = how >> 2 };
			uint32_t bytes = 1u << id.lbaf[f].ds;
			int rc;

			if ((id.lbaf[f].ms < 8 && pi) || (!id.lbaf[f].ms && fmt.mset) ||
			    id.lbaf[f].ms > 16)
				continue;
			rc = plx_nvme_format(c, 1, &fmt);
			check(!rc, "format %u, type %u, extended %d: %d", f, pi, fmt.mset, rc);
			ns = plx_nvme_ctrlr_ns(c, 1);
			check(ns, "the namespace is gone after its format");
			check(plx_nvme_ns_block_size(ns) == bytes &&
				      plx_nvme_ns_md_size(ns) == id.lbaf[f].ms &&
				      plx_nvme_ns_md_extended(ns) == fmt.mset &&
				      plx_nvme_ns_pi_type(ns) == pi,
			      "format %u, type %u is not what was asked for", f, pi);
			fprintf(stderr, "block %u, metadata %u, extended %d, type %u\n", bytes,
				id.lbaf[f].ms, fmt.mset, pi);
			use_format(ns);
			tried++;
		}
	}
	printf("%u formats\n", tried);
	check(tried >= 10, "only %u formats", tried);
}

/* ---- zones ---- */

static struct nvme_zns_desc zone(struct plx_nvme_ns *ns, uint64_t slba)
{
	struct nvme_zone_report *r = (void *)buf;
	int rc = io(plx_nvme_zns_report(ns, qp, slba, false, NVME_ZNS_ZRAS_REPORT_ALL, true, buf,
					4096, done, NULL));

	check(!rc, "report: %03x", rc);
	check(r->nr_zones && r->entries[0].zslba == slba, "another zone");
	return r->entries[0];
}

static int act(struct plx_nvme_ns *ns, uint64_t slba, uint8_t action, uint32_t flags)
{
	return io(plx_nvme_zns_mgmt(ns, qp, slba, action, flags, NULL, done, NULL));
}

static unsigned zone_state(struct plx_nvme_ns *ns, uint64_t slba)
{
	return zone(ns, slba).zs >> 4;
}

static void zones(void)
{
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, 1);
	const struct plx_nvme_zns *z = plx_nvme_ns_zns(ns);
	struct nvme_zns_changed_zone_log changed;
	struct iovec iov = { md, 4096 };
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1 };
	uint64_t size;
	int rc;

	check(z, "not zoned");
	check(z->max_open == 2 && z->max_active == 3, "%u, %u", z->max_open, z->max_active);
	check(z->max_append_bytes == 16384, "%u", z->max_append_bytes);
	size = z->zone_blocks;
	rw.slba = size;
	rw.nlb = 4096 / plx_nvme_ns_block_size(ns);
	fill(md, 4096, 5);
	for (unsigned i = 0; i < 3; i++) {
		rc = io(plx_nvme_zns_append(ns, qp, &rw, done, NULL));
		check(!rc, "append: %03x", rc);
		check(plx_nvme_zns_append_lba(&last) == size + i * rw.nlb, "at %lu",
		      plx_nvme_zns_append_lba(&last));
	}
	check(zone(ns, size).wp == size + 3 * rw.nlb, "write pointer");
	check(zone_state(ns, size) == NVME_ZNS_ZS_IMPL_OPEN, "%u", zone_state(ns, size));
	check(!act(ns, size, NVME_ZNS_ZSA_CLOSE, 0), "close");
	check(zone_state(ns, size) == NVME_ZNS_ZS_CLOSED, "%u", zone_state(ns, size));
	check(!act(ns, size, NVME_ZNS_ZSA_OPEN, 0), "open");
	check(zone_state(ns, size) == NVME_ZNS_ZS_EXPL_OPEN, "%u", zone_state(ns, size));
	check(!act(ns, 0, NVME_ZNS_ZSA_OPEN, 0), "a second one");
	check(act(ns, 2 * size, NVME_ZNS_ZSA_OPEN, 0) ==
		      PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_ZNS_TOO_MANY_OPENS),
	      "a third one: %03x", plx_nvme_status(&last));
	check(!act(ns, size, NVME_ZNS_ZSA_FINISH, 0), "finish");
	check(zone_state(ns, size) == NVME_ZNS_ZS_FULL, "%u", zone_state(ns, size));
	rc = io(plx_nvme_zns_append(ns, qp, &rw, done, NULL));
	check(rc == PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_ZNS_FULL), "%03x", rc);
	check(!act(ns, 0, NVME_ZNS_ZSA_RESET, PLX_NVME_ZNS_ALL), "reset all");
	check(zone_state(ns, size) == NVME_ZNS_ZS_EMPTY, "%u", zone_state(ns, size));
	rc = plx_nvme_zns_changed(ns, &changed);
	printf("%lu zones, changed zone list: %d\n", z->zones, rc);
	check(rc >= 0, "%d", rc);
}

static int append_to(struct plx_nvme_ns *ns, uint64_t slba)
{
	struct iovec iov = { md, 4096 };
	struct plx_nvme_rw rw = {
		.iov = &iov, .iovcnt = 1, .slba = slba, .nlb = 4096 / plx_nvme_ns_block_size(ns)
	};

	return io(plx_nvme_zns_append(ns, qp, &rw, done, NULL));
}

/* Three active zones, two of them open: the device closes one that is only implicitly so */
static void zone_limits(void)
{
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, 1);
	uint64_t size = plx_nvme_ns_zns(ns)->zone_blocks;
	unsigned open = 0, closed = 0;
	int rc;

	check(!act(ns, 0, NVME_ZNS_ZSA_RESET, PLX_NVME_ZNS_ALL), "reset all");
	for (unsigned i = 0; i < 3; i++) {
		rc = append_to(ns, i * size);
		check(!rc, "zone %u: %03x", i, rc);
	}
	for (unsigned i = 0; i < 3; i++) {
		open += zone_state(ns, i * size) == NVME_ZNS_ZS_IMPL_OPEN;
		closed += zone_state(ns, i * size) == NVME_ZNS_ZS_CLOSED;
	}
	check(open == 2 && closed == 1, "%u open, %u closed", open, closed);
	rc = append_to(ns, 3 * size);
	check(rc == PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_ZNS_TOO_MANY_ACTIVE), "%03x", rc);
	rc = act(ns, 3 * size, NVME_ZNS_ZSA_OPEN, 0);
	check(rc == PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_ZNS_TOO_MANY_ACTIVE), "%03x", rc);
	check(!act(ns, 0, NVME_ZNS_ZSA_FINISH, 0), "finish");
	check(!append_to(ns, 3 * size), "there is room for it now");
	check(!act(ns, 0, NVME_ZNS_ZSA_RESET, PLX_NVME_ZNS_ALL), "reset all");
}

/* ---- logs and features ---- */

static void logs(void)
{
	unsigned whole = 0;

	for (unsigned lid = 0; lid < 256; lid++) {
		struct plx_nvme_log log = { .lid = (uint8_t)lid, .nsid = PLX_NVME_LOG_CTRLR };
		void *page = NULL;
		size_t len = 0;
		int rc;

		if (!plx_nvme_log_name((uint8_t)lid))
			continue;
		rc = plx_nvme_log_fetch(c, &log, 0, &page, &len);
		check(rc >= 0 || rc == -ENOTSUP || rc == -EPROTO, "%02x: %d", lid, rc);
		if (!rc)
			fprintf(stderr, "%02x %s: %zu bytes\n", lid,
				plx_nvme_log_name((uint8_t)lid), len);
		whole += !rc;
		free(page);
	}
	printf("%u log pages\n", whole);
	check(whole >= 5, "only %u", whole);
}

static void features(void)
{
	uint64_t ms = 0;
	bool was_set = false, stopped, on;
	uint16_t kelvin = 0;
	uint32_t events = 0;

	check(!plx_nvme_set_timestamp(c, 1700000000000), "set timestamp");
	check(!plx_nvme_get_timestamp(c, &ms, &was_set, &stopped), "get timestamp");
	check(was_set && ms >= 1700000000000 && ms < 1700000600000, "%lu", ms);
	check(!plx_nvme_set_temp_threshold(c, false, 0, false, 340), "set threshold");
	check(!plx_nvme_get_temp_threshold(c, 0, false, &kelvin), "get threshold");
	check(kelvin == 340, "%u", kelvin);
	check(!plx_nvme_set_write_cache(c, false, false), "set write cache");
	check(!plx_nvme_get_write_cache(c, &on) && !on, "write cache");
	check(!plx_nvme_set_write_cache(c, false, true), "set write cache");
	check(!plx_nvme_get_write_cache(c, &on) && on, "write cache");
	check(!plx_nvme_get_async_events(c, &events) && events & 0x1f, "%x", events);
	check(plx_nvme_admin_supported(c, nvme_admin_dev_self_test) == -ENOTSUP,
	      "it has a self-test");
	check(plx_nvme_self_test(c, 0, NVME_DST_STC_SHORT) == -ENOTSUP, "it was sent");
}

/* ---- namespaces that come and go ---- */

static void attachment(void)
{
	uint32_t list[NVME_ID_NS_LIST_MAX], n;

	check(plx_nvme_ctrlr_ns(c, 1) && plx_nvme_ctrlr_ns(c, 2), "two to begin with");
	check(!plx_nvme_ns_detach(c, 2, NULL, 0), "detach");
	check(!plx_nvme_ctrlr_ns(c, 2), "it is still there");
	check(!plx_nvme_ns_list(c, false, 0, list, &n) && n == 1 && list[0] == 1, "%u active", n);
	check(!plx_nvme_ns_list(c, true, 0, list, &n) && n == 2, "%u allocated", n);
	check(!plx_nvme_ns_attach(c, 2, NULL, 0), "attach");
	check(plx_nvme_ctrlr_ns(c, 2), "it did not come back");
}

/* ---- flexible data placement ---- */

static void placement(void)
{
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, 1);
	uint16_t endgid = (uint16_t)plx_nvme_ns_data(ns)->endgid;
	struct nvme_fdp_ruh_status *st = (void *)buf;
	struct nvme_fdp_supported_event_desc events[8];
	struct iovec iov = { md, 4096 };
	struct plx_nvme_rw rw = { .iov = &iov, .iovcnt = 1 };
	const struct nvme_fdp_stats_log *stats;
	uint16_t pid;
	uint64_t left;
	uint32_t n;
	void *page;
	size_t len;
	int rc;

	check(plx_nvme_fdp_supported(c), "the controller has none");
	for (uint8_t lid = NVME_LOG_LID_FDP_CONFIGS; lid <= NVME_LOG_LID_FDP_EVENTS; lid++) {
		rc = plx_nvme_fdp_log(c, lid, endgid, true, &page, &len);
		check(!rc, "%02x: %d", lid, rc);
		fprintf(stderr, "%s: %zu bytes\n", plx_nvme_log_name(lid), len);
		free(page);
	}
	rc = io(plx_nvme_fdp_status(ns, qp, buf, 4096, done, NULL));
	check(!rc && st->nruhsd >= 2, "status: %03x, %u handles", rc, st->nruhsd);
	pid = st->ruhss[1].pid;
	left = st->ruhss[1].ruamw;
	rw.nlb = 4096 / plx_nvme_ns_block_size(ns);
	plx_nvme_rw_directive(&rw, PLX_NVME_DTYPE_PLACEMENT, pid);
	rc = io(plx_nvme_writev(ns, qp, &rw, done, NULL));
	check(!rc, "write: %03x", rc);
	rc = io(plx_nvme_fdp_status(ns, qp, buf, 4096, done, NULL));
	check(!rc && st->ruhss[1].ruamw == left - rw.nlb, "%lu of %lu left",
	      (unsigned long)st->ruhss[1].ruamw, (unsigned long)left);
	memcpy(buf, &pid, sizeof(pid));
	rc = io(plx_nvme_fdp_update(ns, qp, (uint16_t *)buf, 1, done, NULL));
	check(!rc, "update: %03x", rc);
	rc = io(plx_nvme_fdp_status(ns, qp, buf, 4096, done, NULL));
	check(!rc && st->ruhss[1].ruamw == left, "the unit was not changed");
	rc = plx_nvme_fdp_log(c, NVME_LOG_LID_FDP_STATS, endgid, false, &page, &len);
	stats = page;
	check(!rc && stats->hbmw[1] == 0x10, "4096 bytes were written");
	free(page);
	rc = plx_nvme_fdp_get_events(c, 1, 1, events, 8, &n);
	check(!rc, "events: %d", rc);
	printf("%u handles, %u kinds of events\n", st->nruhsd, n);
}

/* ---- virtual functions ---- */

static void virtualization(void)
{
	static struct nvme_primary_ctrl_cap caps;
	static struct nvme_secondary_ctrl_list list;
	uint16_t granted = 0, scid;
	int rc = plx_nvme_primary_caps(c, &caps);

	check(!rc && caps.vqfrt == 4, "%d, %u flexible queues", rc, caps.vqfrt);
	check(!plx_nvme_secondary_list(c, 0, &list) && list.num == 2, "%u", list.num);
	scid = list.sc_entry[0].scid;
	rc = plx_nvme_virt_mgmt(c, NVME_VIRT_MGMT_ACT_ASSIGN_SEC_CTRL,
				NVME_VIRT_MGMT_RT_VQ_RESOURCE, scid, 2, &granted);
	check(!rc && granted == 2, "%03x, %u", rc, granted);
	check(!plx_nvme_secondary_list(c, 0, &list) && list.sc_entry[0].nvq == 2, "%u queues",
	      list.sc_entry[0].nvq);
	printf("%u secondary controllers\n", list.num);
}

/* ---- two controllers of a subsystem ---- */

static const char *second_traddr;

/* Its notice of changed namespaces makes a controller look for them: until @there is what it
 * found */
static void wait_for(struct plx_nvme_ctrlr *of, uint32_t nsid, bool there)
{
	uint64_t end = plx_tsc() + 60 * plx_tsc_hz();

	while (!plx_nvme_ctrlr_ns(of, nsid) == there) {
		check(plx_tsc() < end, "namespace %u is%s there", nsid, there ? " not" : " still");
		check(plx_nvme_ctrlr_poll(of) >= 0, "%s", plx_nvme_ctrlr_failure(of));
	}
}

static void sees(struct plx_nvme_ctrlr *of, unsigned nsids)
{
	for (uint32_t i = 1; i < 8; i++)
		check(!plx_nvme_ctrlr_ns(of, i) == !(nsids >> i & 1), "namespace %u", i);
}

static void write_one(struct plx_nvme_ns *ns, unsigned seed)
{
	uint32_t block = plx_nvme_ns_block_size(ns);
	int rc;

	fill(buf, block, seed);
	rc = io(plx_nvme_write(ns, qp, buf, 7, 1, done, NULL));
	check(!rc, "write: %03x", rc);
}

static void reads_one(struct plx_nvme_ns *ns, unsigned seed)
{
	uint32_t block = plx_nvme_ns_block_size(ns);
	int rc;

	memset(buf, 0, block);
	fill(md, block, seed);
	rc = io(plx_nvme_read(ns, qp, buf, 7, 1, done, NULL));
	check(!rc && !memcmp(buf, md, block), "read: %03x", rc);
}

/* Namespace 1 is of both, 2 of the first, 3 of the second, 4 nobody's and private */
static void sharing(void)
{
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_PCIE };
	struct plx_nvme_ctrlr *first = c, *second;
	struct plx_nvme_qpair *first_qp = qp;
	uint16_t ids[2];
	int rc;

	snprintf(trid.traddr, sizeof(trid.traddr), "%s", second_traddr);
	second = plx_nvme_connect(&trid, NULL);
	check(second, "connect: %s", strerror(errno));
	ids[0] = plx_nvme_ctrlr_data(first)->cntlid;
	ids[1] = plx_nvme_ctrlr_data(second)->cntlid;
	check(ids[0] != ids[1], "one controller");
	sees(first, 1 << 1 | 1 << 2);
	sees(second, 1 << 1 | 1 << 3);
	write_one(plx_nvme_ctrlr_ns(first, 1), 1);

	/* the second gets it by a command of the first's */
	rc = plx_nvme_ns_attach(first, 4, &ids[1], 1);
	check(!rc, "attach: %d", rc);
	wait_for(second, 4, true);
	sees(first, 1 << 1 | 1 << 2);
	rc = plx_nvme_ns_attach(first, 4, &ids[0], 1);
	check(rc > 0 && PLX_NVME_ST_CODE(rc) ==
				PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_NS_IS_PRIVATE),
	      "a private namespace, attached twice: %x", rc);
	c = second;
	qp = plx_nvme_qpair_create(second, NULL);
	check(qp, "queue pair: %s", strerror(errno));
	reads_one(plx_nvme_ctrlr_ns(second, 1), 1);
	write_one(plx_nvme_ctrlr_ns(second, 4), 4);
	reads_one(plx_nvme_ctrlr_ns(second, 4), 4);
	rc = plx_nvme_ns_detach(first, 4, &ids[1], 1);
	check(!rc, "detach: %d", rc);
	wait_for(second, 4, false);
	plx_nvme_qpair_destroy(qp);
	plx_nvme_disconnect(second);
	c = first;
	qp = first_qp;
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = { { "formats", formats },
	      { "zones", zones },
	      { "zone-limits", zone_limits },
	      { "sharing", sharing },
	      { "logs", logs },
	      { "features", features },
	      { "attachment", attachment },
	      { "placement", placement },
	      { "virtualization", virtualization } };

int main(int argc, char **argv)
{
	unsigned part;

	check(argc == 3 || argc == 4, "commands TRADDR PART [TRADDR]");
	second_traddr = argv[argc - 1];
	attach(argv[1], NULL);
	buf = plx_dma_zalloc(BUF_BYTES, 4096, PLX_NUMA_ANY);
	md = plx_dma_zalloc(BUF_BYTES, 4096, PLX_NUMA_ANY);
	check(buf && md, "no memory");
	for (part = 0; part < sizeof(parts) / sizeof(parts[0]); part++)
		if (!strcmp(parts[part].name, argv[2]))
			break;
	check(part < sizeof(parts) / sizeof(parts[0]), "there is no part %s", argv[2]);
	parts[part].run();
	plx_dma_free(md);
	plx_dma_free(buf);
	detach();
	return 0;
}
