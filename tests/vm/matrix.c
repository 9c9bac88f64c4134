/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/vm/matrix.c - what is done to all namespaces of a controller that somebody else wrote
 *
 * matrix TRADDR PART, as commands.c; matrix.py has the controllers.
 *
 *   resets  I/O on every namespace, each block read back, while the controller is reset: the driver
 *           submits again what that takes away, so none may fail
 *   format  every namespace into another format and back, and used in each
 *   functions  of a primary controller: at SIGUSR1 the first secondary one is given two queues and
 *           a vector, at the next it goes online; then it is let work until SIGTERM
 */
#include "blocks.h"
#include <pollux/nvme_zns.h>
#include <signal.h>

#define SPACES	8 /* namespaces at most */
#define PIECES	4 /* I/Os at a time on each */
#define BYTES	4096u /* of data of an I/O, or a block */
#define BUFFER	(16u << 10) /* for that with extended metadata, or a report of zones */
#define RESETS	5u
#define ROUNDS	5u /* of every piece between two resets */
#define SECONDS 300u

/* ---- I/O that is read back ---- */

enum step { WRITE, READ, LOOK, RESET_ZONE }; /* the last two: of zones */

/* One write after the other at the same place, or down a zone, each read back */
static struct piece {
	struct plx_nvme_ns *ns;
	char *data, *back, *md;
	uint64_t slba, zone, zone_end;
	uint32_t nlb;
	unsigned seed, rounds, seen; /* resets, when it was submitted */
	enum step step;
	bool busy;
} pieces[SPACES * PIECES];
static unsigned npieces, resets, found_written;
static uint64_t ios;

/* A write that the controller had carried out before its reset is refused the second time: the
 * write pointer has moved */
static void look_again(struct piece *p, uint16_t status)
{
	check(p->zone_end && p->step == WRITE && p->seen != resets &&
		      PLX_NVME_ST_CODE(status) ==
			      PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_ZNS_INVALID_WRITE),
	      "namespace %u, block %lu, step %d: %04x", plx_nvme_ns_id(p->ns), p->slba, p->step,
	      status);
	p->step = LOOK;
}

static const struct nvme_zns_desc *reported_zone(const struct piece *p)
{
	const struct nvme_zone_report *r = (const void *)p->back;

	return &r->entries[0];
}

static void looked(struct piece *p)
{
	uint64_t wp = reported_zone(p)->wp;

	found_written++;
	check(wp == p->slba + p->nlb, "write pointer %lu, after a write of %u at %lu", wp, p->nlb,
	      p->slba);
	p->step = READ;
}

static void read_back(struct piece *p)
{
	check(blocks_same(p->ns, blocks_protection(p->ns), p->data, p->back, p->nlb),
	      "namespace %u, block %lu is not what was written", plx_nvme_ns_id(p->ns), p->slba);
	p->rounds++;
	p->step = WRITE;
	if (!p->zone_end)
		return;
	p->slba += p->nlb;
	if (p->slba + p->nlb > p->zone_end)
		p->step = RESET_ZONE;
}

static void piece_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct piece *p = arg;

	p->busy = false;
	ios++;
	if (!plx_nvme_ok(cpl)) {
		look_again(p, plx_nvme_status(cpl));
		return;
	}
	switch (p->step) {
	case WRITE:
		p->step = READ;
		break;
	case READ:
		read_back(p);
		break;
	case LOOK:
		looked(p);
		break;
	case RESET_ZONE:
		p->slba = p->zone;
		p->step = WRITE;
	}
}

static void piece_submit(struct piece *p)
{
	uint32_t flags = blocks_protection(p->ns);
	bool writes = p->step == WRITE;
	struct plx_nvme_rw rw;
	struct iovec iov;
	int rc;

	if (p->step == RESET_ZONE) {
		rc = plx_nvme_zns_mgmt(p->ns, qp, p->zone, NVME_ZNS_ZSA_RESET, 0, NULL, piece_done,
				       p);
	} else if (p->step == LOOK) {
		rc = plx_nvme_zns_report(p->ns, qp, p->zone, false, NVME_ZNS_ZRAS_REPORT_ALL, true,
					 p->back, 4096, piece_done, p);
	} else {
		rw = blocks_rw(p->ns, flags, &iov, writes ? p->data : p->back, p->md, p->slba,
			       p->nlb);
		if (writes)
			fill(p->data, BUFFER, ++p->seed);
		else
			memset(p->back, 0, BUFFER);
		rc = writes ? plx_nvme_writev(p->ns, qp, &rw, piece_done, p)
			    : plx_nvme_readv(p->ns, qp, &rw, piece_done, p);
	}
	check(!rc || rc == -EAGAIN, "%s", strerror(-rc));
	p->busy = !rc;
	p->seen = resets;
}

static void add_piece(struct plx_nvme_ns *ns, unsigned n)
{
	const struct plx_nvme_zns *z = plx_nvme_ns_zns(ns);
	uint32_t block = plx_nvme_ns_block_size(ns);
	struct piece *p = &pieces[npieces++];

	*p = (struct piece){ .ns = ns, .nlb = block < BYTES ? BYTES / block : 1, .seed = npieces };
	p->slba = 1 + (uint64_t)n * p->nlb;
	p->data = plx_dma_zalloc(BUFFER, 4096, PLX_NUMA_ANY);
	p->back = plx_dma_zalloc(BUFFER, 4096, PLX_NUMA_ANY);
	p->md = plx_dma_zalloc(p->nlb * BLOCKS_MD_MAX, 4096, PLX_NUMA_ANY);
	check(p->data && p->back && p->md, "no memory");
	check(plx_nvme_ns_md_size(ns) <= BLOCKS_MD_MAX, "%u bytes of metadata",
	      plx_nvme_ns_md_size(ns));
	if (!z)
		return;
	p->zone = p->slba = n * z->zone_blocks;
	check(n || !io(plx_nvme_zns_mgmt(ns, qp, 0, NVME_ZNS_ZSA_RESET, PLX_NVME_ZNS_ALL, NULL,
					 done, NULL)),
	      "reset of all zones");
	check(!io(plx_nvme_zns_report(ns, qp, p->zone, false, NVME_ZNS_ZRAS_REPORT_ALL, true,
				      p->back, 4096, done, NULL)),
	      "report of zones");
	p->zone_end = p->zone + reported_zone(p)->zcap;
}

static void add_pieces(void)
{
	uint32_t nsid = 0;

	while ((nsid = plx_nvme_ctrlr_next_ns(c, nsid))) {
		struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, nsid);
		const struct plx_nvme_zns *z = plx_nvme_ns_zns(ns);

		check(npieces <= (SPACES - 1) * PIECES, "more than %u namespaces", SPACES);
		for (unsigned i = 0; i < PIECES && !(z && z->max_open && i >= z->max_open); i++)
			add_piece(ns, i);
	}
	check(npieces, "no namespace");
}

/* Whether every piece has gone its rounds since the last reset */
static bool worked(unsigned rounds)
{
	for (unsigned i = 0; i < npieces; i++)
		if (pieces[i].rounds < rounds)
			return false;
	return true;
}

static void forget_rounds(void)
{
	for (unsigned i = 0; i < npieces; i++)
		pieces[i].rounds = 0;
}

static unsigned busy_pieces(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < npieces; i++)
		n += pieces[i].busy;
	return n;
}

static void turn(bool submit)
{
	for (unsigned i = 0; i < npieces && submit; i++)
		if (!pieces[i].busy)
			piece_submit(&pieces[i]);
	check(plx_nvme_qpair_poll(qp, 0) >= 0 && plx_nvme_ctrlr_poll(c) >= 0, "%s",
	      plx_nvme_ctrlr_failure(c));
}

static void reset_under_load(void)
{
	uint64_t end = plx_tsc() + SECONDS * plx_tsc_hz();
	struct plx_nvme_ctrlr_stats stats;

	add_pieces();
	while (resets < RESETS || !worked(ROUNDS)) {
		turn(true);
		check(plx_tsc() < end, "reset %u has not come to its end, or I/O does not go on",
		      resets);
		if (resets == RESETS || !worked(ROUNDS) || !busy_pieces())
			continue;
		check(!plx_nvme_ctrlr_reset(c), "reset");
		resets++;
		forget_rounds();
	}
	while (busy_pieces())
		turn(false);
	plx_nvme_ctrlr_get_stats(c, &stats);
	check(stats.resets == RESETS, "%lu resets", (unsigned long)stats.resets);
	printf("%u resets, %lu I/Os on %u places, %u writes found carried out\n", resets,
	       (unsigned long)ios, npieces, found_written);
	for (unsigned i = 0; i < npieces; i++) {
		plx_dma_free(pieces[i].data);
		plx_dma_free(pieces[i].back);
		plx_dma_free(pieces[i].md);
	}
}

/* ---- formats ---- */

/* Another block size and another size of metadata, with protection information where @ns has
 * none */
static struct plx_nvme_format another_format(const struct plx_nvme_ns *ns)
{
	const struct nvme_id_ns *id = plx_nvme_ns_data(ns);
	struct plx_nvme_format now = blocks_format(ns);

	for (uint8_t f = 0; f <= id->nlbaf; f++) {
		const struct nvme_lbaf *a = &id->lbaf[f], *b = &id->lbaf[now.lbaf];

		if (a->ds != b->ds && a->ms != b->ms && a->ms <= BLOCKS_MD_MAX)
			return (struct plx_nvme_format){
				.lbaf = f,
				.mset = a->ms && !now.mset,
				.pi = a->ms >= 8 && !now.pi && id->dpc & NVME_NS_DPC_PI_TYPE1,
			};
	}
	check(false, "namespace %u has no other format", plx_nvme_ns_id(ns));
	return now;
}

static void use(struct plx_nvme_ns *ns)
{
	uint32_t flags = blocks_protection(ns), nlb = 2;
	char *data = plx_dma_zalloc(BUFFER, 4096, PLX_NUMA_ANY);
	char *back = plx_dma_zalloc(BUFFER, 4096, PLX_NUMA_ANY);
	char *md = plx_dma_zalloc(BUFFER, 4096, PLX_NUMA_ANY);
	struct plx_nvme_rw rw;
	struct iovec iov;
	int rc;

	check(data && back && md, "no memory");
	fill(data, BUFFER, plx_nvme_ns_pi_type(ns));
	rw = blocks_rw(ns, flags, &iov, data, md, 7, nlb);
	rc = io(plx_nvme_writev(ns, qp, &rw, done, NULL));
	check(!rc, "write: %03x", rc);
	rw = blocks_rw(ns, flags, &iov, back, md, 7, nlb);
	rc = io(plx_nvme_readv(ns, qp, &rw, done, NULL));
	check(!rc && blocks_same(ns, flags, data, back, nlb), "read: %03x", rc);
	plx_dma_free(md);
	plx_dma_free(back);
	plx_dma_free(data);
}

static void format_to(uint32_t nsid, const struct plx_nvme_format *f)
{
	struct nvme_lbaf lbaf = plx_nvme_ns_data(plx_nvme_ctrlr_ns(c, nsid))->lbaf[f->lbaf];
	int rc = plx_nvme_format(c, nsid, f);
	struct plx_nvme_ns *ns;

	check(!rc, "namespace %u, format %u: %x", nsid, f->lbaf, rc);
	ns = plx_nvme_ctrlr_ns(c, nsid);
	check(ns, "namespace %u is gone after its format", nsid);
	check(plx_nvme_ns_block_size(ns) == 1u << lbaf.ds && plx_nvme_ns_md_size(ns) == lbaf.ms &&
		      plx_nvme_ns_md_extended(ns) == f->mset && plx_nvme_ns_pi_type(ns) == f->pi,
	      "namespace %u is not in format %u", nsid, f->lbaf);
	use(ns);
}

static void there_and_back(uint32_t nsid)
{
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, nsid);
	struct plx_nvme_format was = blocks_format(ns), other = another_format(ns);
	uint64_t blocks = plx_nvme_ns_blocks(ns);

	format_to(nsid, &other);
	check(plx_nvme_ctrlr_ns(c, nsid) != ns, "another format, the same object");
	format_to(nsid, &was);
	check(plx_nvme_ctrlr_ns(c, nsid) == ns && plx_nvme_ns_blocks(ns) == blocks,
	      "the old format, but not the old object or size");
}

/* Formats of zoned namespaces are refused by QEMU; what is refused changes nothing */
static void refused(uint32_t nsid)
{
	struct plx_nvme_ns *ns = plx_nvme_ctrlr_ns(c, nsid);
	struct plx_nvme_format f = another_format(ns);
	int rc = plx_nvme_format(c, nsid, &f);

	check(rc > 0 && PLX_NVME_ST_CODE(rc) ==
				PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_FORMAT),
	      "namespace %u: %x", nsid, rc);
	check(plx_nvme_ctrlr_ns(c, nsid) == ns, "it has become another");
}

static void formats(void)
{
	unsigned formatted = 0, zoned = 0;

	check(plx_nvme_ctrlr_data(c)->oacs & NVME_CTRL_OACS_FORMAT, "no Format NVM");
	for (uint32_t nsid = 0; (nsid = plx_nvme_ctrlr_next_ns(c, nsid));) {
		if (plx_nvme_ns_zns(plx_nvme_ctrlr_ns(c, nsid))) {
			refused(nsid);
			zoned++;
		} else {
			there_and_back(nsid);
			formatted++;
		}
	}
	printf("%u formatted, %u refused\n", formatted, zoned);
}

/* ---- virtual functions ---- */

static volatile sig_atomic_t steps, ended;

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		ended = 1;
	else
		steps++;
}

static void give(uint8_t kind, uint16_t scid, uint16_t n)
{
	uint16_t granted = 0;
	int rc = plx_nvme_virt_mgmt(c, NVME_VIRT_MGMT_ACT_ASSIGN_SEC_CTRL, kind, scid, n, &granted);

	check(!rc && granted == n, "%x, %u granted", rc, granted);
}

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

static void poll_until(int step)
{
	while (steps < step && !ended)
		check(plx_nvme_ctrlr_poll(c) >= 0, "%s", plx_nvme_ctrlr_failure(c));
}

static void functions(void)
{
	static struct nvme_secondary_ctrl_list list;
	uint16_t scid;
	int rc;

	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	check(!plx_nvme_secondary_list(c, 0, &list) && list.num, "no secondary controller");
	scid = list.sc_entry[0].scid;
	say("attached");
	poll_until(1);
	give(NVME_VIRT_MGMT_RT_VQ_RESOURCE, scid, 2);
	give(NVME_VIRT_MGMT_RT_VI_RESOURCE, scid, 1);
	say("given");
	poll_until(2);
	rc = plx_nvme_virt_mgmt(c, NVME_VIRT_MGMT_ACT_ONLINE_SEC_CTRL, 0, scid, 0, NULL);
	check(!rc, "online: %x", rc);
	say("online");
	poll_until(INT32_MAX);
	check(!plx_nvme_secondary_list(c, 0, &list) && list.sc_entry[0].scs & 1, "it is offline");
}

int main(int argc, char **argv)
{
	struct plx_nvme_ctrlr_opts opts;

	check(argc == 3, "matrix TRADDR PART");
	plx_nvme_ctrlr_opts_init(&opts);
	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;
	opts.retry_count = 255;
	attach(argv[1], &opts);
	if (!strcmp(argv[2], "resets"))
		reset_under_load();
	else if (!strcmp(argv[2], "format"))
		formats();
	else if (!strcmp(argv[2], "functions"))
		functions();
	else
		check(false, "there is no part %s", argv[2]);
	detach();
	return 0;
}
