/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/vm/memory.c - controller memory buffer and persistent memory region of a controller that
 * somebody else wrote
 *
 * memory TRADDR PART, as commands.c; test_memory.py has the controllers.
 */
#include "one_io.h"
#include <pollux/nvme_admin.h>
#include <pollux/nvme_memory.h>

#define BYTES	 (64u << 10)
#define IOS	 16
#define IO_BYTES 4096u
#define SEED	 99

static struct plx_nvme_ns *ns;

static void *cmb_alloc(uint64_t bytes)
{
	void *mem = plx_nvme_cmb_alloc(c, bytes, 4096);

	check(mem, "%s", strerror(errno));
	return mem;
}

static int transfer(bool read, char *data, uint32_t bytes, void *md)
{
	struct iovec iov = { data, bytes };
	struct plx_nvme_rw rw = { .iov = &iov,
				  .iovcnt = 1,
				  .slba = 24,
				  .nlb = bytes / plx_nvme_ns_xfer_block_size(ns),
				  .md = md };

	return io(read ? plx_nvme_readv(ns, qp, &rw, done, NULL)
		       : plx_nvme_writev(ns, qp, &rw, done, NULL));
}

/* From @own, memory of the controller's, to the namespace and by way of the host's memory back */
static void round_trip(char *own, char *md)
{
	uint32_t x = plx_nvme_ns_xfer_block_size(ns), bytes = (BYTES / 2 - 4096) / x * x;
	uint32_t md_bytes = md ? bytes / x * plx_nvme_ns_md_size(ns) : 0;
	char *host = plx_dma_zalloc(BYTES, 4096, PLX_NUMA_ANY), *want = malloc(BYTES);
	char *host_md = md ? host + BYTES / 2 : NULL;
	int rc;

	/* several pages, which begin within one */
	for (uint32_t offset = 0; offset < 4096; offset += 1020) {
		fill(want, BYTES, offset);
		memcpy(own + offset, want, bytes);
		if (md)
			memcpy(md, want + BYTES / 2, md_bytes);
		rc = transfer(false, own + offset, bytes, md);
		check(!rc, "write from %u: %03x", offset, rc);
		memset(host, 0, BYTES);
		rc = transfer(true, host, bytes, host_md);
		check(!rc && !memcmp(host, want, bytes), "written from %u: %03x", offset, rc);
		check(!md || !memcmp(host_md, want + BYTES / 2, md_bytes), "metadata of %u",
		      offset);
		memset(own, 0, BYTES / 2);
		rc = transfer(true, own + offset, bytes, md);
		check(!rc && !memcmp(own + offset, want, bytes), "read to %u: %03x", offset, rc);
	}
	free(want);
	plx_dma_free(host);
}

/* ---- controller memory buffer ---- */

static void cmb_data(void)
{
	struct plx_nvme_cmb_info before, info;
	char *own, *md = NULL;

	check(!plx_nvme_cmb_info(c, &before), "there is none");
	check(before.sqs && before.read_data && before.write_data, "for what?");
	/* the queue pair has some */
	check(before.free_bytes < before.bytes, "%lu of %lu are free", before.free_bytes,
	      before.bytes);
	own = cmb_alloc(BYTES);
	if (plx_nvme_ns_md_size(ns) && !plx_nvme_ns_md_extended(ns))
		md = cmb_alloc(BYTES);
	round_trip(own, md);
	plx_nvme_cmb_free(c, own);
	plx_nvme_cmb_free(c, md);
	check(!plx_nvme_cmb_info(c, &info) && info.free_bytes == before.free_bytes, "a leak");
	printf("%lu KiB%s\n", info.bytes >> 10, info.legacy ? ", of before 1.4" : "");
}

/* One of many writes, each read back once it is done */
static struct piece {
	char *data, *back;
	uint64_t slba;
	unsigned seed, state; /* 0 to be written, 1 on its way, 2 to be read, 3 on its way */
	unsigned rounds;
} pieces[IOS];
static unsigned aborted, wrong;

static void piece_done(void *arg, const struct plx_nvme_cpl *cpl)
{
	struct piece *p = arg;
	char want[IO_BYTES];

	if (!plx_nvme_ok(cpl)) {
		/* what was in the buffer is undefined now, in the namespace it may be either */
		check(PLX_NVME_ST_CODE(plx_nvme_status(cpl)) ==
			      PLX_NVME_ST(NVME_SCT_GENERIC, NVME_SC_ABORT_QUEUE),
		      "%04x", plx_nvme_status(cpl));
		aborted++;
		p->state = 0;
		return;
	}
	p->state++;
	if (p->state != 4)
		return;
	fill(want, IO_BYTES, p->seed);
	wrong += memcmp(want, p->back, IO_BYTES) != 0;
	p->rounds++;
	p->state = 0;
}

static void piece_submit(struct piece *p)
{
	uint32_t nlb = IO_BYTES / plx_nvme_ns_block_size(ns);
	int rc;

	if (p->state & 1)
		return;
	if (!p->state) {
		fill(p->data, IO_BYTES, ++p->seed);
		rc = plx_nvme_write(ns, qp, p->data, p->slba, nlb, piece_done, p);
	} else {
		memset(p->back, 0, IO_BYTES);
		rc = plx_nvme_read(ns, qp, p->back, p->slba, nlb, piece_done, p);
	}
	check(!rc || rc == -EAGAIN, "%s", strerror(-rc));
	if (!rc)
		p->state++;
}

static unsigned rounds(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < IOS; i++)
		n += pieces[i].rounds;
	return n;
}

static void cmb_resets(void)
{
	char *own = cmb_alloc(2 * IOS * IO_BYTES);
	struct plx_nvme_ctrlr_stats stats;
	unsigned resets = 0;

	for (unsigned i = 0; i < IOS; i++)
		pieces[i] = (struct piece){ .data = own + 2 * i * IO_BYTES,
					    .back = own + (2 * i + 1) * IO_BYTES,
					    .slba = i * IO_BYTES / plx_nvme_ns_block_size(ns),
					    .seed = i * 1000 };
	/* the last reset is followed by as much as any other */
	while (rounds() < 8 * IOS * 6) {
		for (unsigned i = 0; i < IOS; i++)
			piece_submit(&pieces[i]);
		check(plx_nvme_qpair_poll(qp, 0) >= 0, "%s", plx_nvme_ctrlr_failure(c));
		plx_nvme_ctrlr_poll(c);
		if (resets < 5 && rounds() >= 8 * IOS * (resets + 1) && !plx_nvme_ctrlr_reset(c))
			resets++;
	}
	while (plx_nvme_qpair_outstanding(qp)) {
		plx_nvme_qpair_poll(qp, 0);
		plx_nvme_ctrlr_poll(c);
	}
	plx_nvme_ctrlr_get_stats(c, &stats);
	check(stats.resets == 5 && !wrong, "%lu resets, %u wrong", stats.resets, wrong);
	plx_nvme_cmb_free(c, own);
	printf("%u writes read back, %u aborted by %lu resets\n", rounds(), aborted, stats.resets);
}

/* Another block size while buffers and queues are in there */
static void cmb_format(void)
{
	const struct nvme_id_ns *id = plx_nvme_ns_data(ns);
	char *own = cmb_alloc(BYTES);
	unsigned formats = 0;

	/* the last is what it was */
	for (unsigned f = id->nlbaf + 1u; f-- > 0;) {
		struct plx_nvme_format fmt = { .lbaf = (uint8_t)f };
		int rc;

		if (id->lbaf[f].ms)
			continue;
		rc = plx_nvme_format(c, 1, &fmt);
		check(!rc, "format %u: %d", f, rc);
		ns = plx_nvme_ctrlr_ns(c, 1);
		check(ns && plx_nvme_ns_block_size(ns) == 1u << id->lbaf[f].ds, "format %u", f);
		round_trip(own, NULL);
		formats++;
	}
	plx_nvme_cmb_free(c, own);
	check(formats > 1, "%u", formats);
	printf("%u formats\n", formats);
}

/* ---- persistent memory region ---- */

static char *pmr_enable(uint64_t *bytes)
{
	struct plx_nvme_pmr_status status;
	void *mem;
	int rc = plx_nvme_pmr_enable(c, &mem, bytes);

	check(!rc, "%d", rc);
	check(!plx_nvme_pmr_status(c, &status) && status.ready && !status.err &&
		      status.health == PLX_NVME_PMR_NORMAL,
	      "ready %d, err %02x, health %u", status.ready, status.err, status.health);
	return mem;
}

static void pmr_holds(const char *mem)
{
	char *want = malloc(BYTES);

	fill(want, BYTES, SEED);
	check(!memcmp(mem, want, BYTES), "it does not hold what was stored");
	free(want);
}

static void reset(void)
{
	check(!plx_nvme_ctrlr_reset(c), "reset");
	do {
		plx_nvme_qpair_poll(qp, 0);
		plx_nvme_ctrlr_poll(c);
	} while (plx_nvme_ctrlr_state(c) == PLX_NVME_CTRLR_RESETTING);
	check(plx_nvme_ctrlr_state(c) == PLX_NVME_CTRLR_READY, "%s", plx_nvme_ctrlr_failure(c));
	plx_nvme_qpair_poll(qp, 0); /* which learns of it then */
}

static void pmr_store(void)
{
	struct plx_nvme_pmr_info info;
	uint64_t bytes;
	char *mem;
	int rc;

	check(!plx_nvme_pmr_info(c, &info) && info.barriers && !info.enabled, "there is none");
	mem = pmr_enable(&bytes);
	check(bytes == info.bytes && bytes >= 2 * BYTES, "%lu bytes", bytes);
	fill(mem, BYTES, SEED);
	rc = plx_nvme_pmr_persist(c);
	check(!rc, "%d", rc);
	if (info.read_data && info.write_data)
		round_trip(mem + BYTES, NULL);
	reset();
	pmr_holds(mem);
	if (info.read_data && info.write_data)
		round_trip(mem + BYTES, NULL);
	check(!plx_nvme_pmr_disable(c), "disable");
	check(plx_nvme_pmr_persist(c) == -EINVAL, "it is still enabled");
	pmr_holds(pmr_enable(&bytes));
	/* left enabled: disconnecting disables it */
	printf("%lu KiB, barriers %u, within %u ms, %s\n", bytes >> 10, info.barriers,
	       info.timeout_ms, info.read_data ? "for commands too" : "not for commands");
}

/* What an earlier process has stored */
static void pmr_left(void)
{
	uint64_t bytes;

	pmr_holds(pmr_enable(&bytes));
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = { { "cmb-data", cmb_data },
	      { "cmb-resets", cmb_resets },
	      { "cmb-format", cmb_format },
	      { "pmr-store", pmr_store },
	      { "pmr-left", pmr_left } };

int main(int argc, char **argv)
{
	struct plx_nvme_ctrlr_opts opts;
	unsigned part;

	check(argc == 3, "memory TRADDR PART");
	plx_nvme_ctrlr_opts_init(&opts);
	opts.use_cmb_sqs = opts.use_cmb_data = !strncmp(argv[2], "cmb", 3);
	opts.reset_policy = PLX_NVME_RESET_RESUBMIT_IO;
	for (part = 0; part < PLX_ARRAY_SIZE(parts); part++)
		if (!strcmp(parts[part].name, argv[2]))
			break;
	check(part < PLX_ARRAY_SIZE(parts), "there is no part %s", argv[2]);
	attach(argv[1], &opts);
	ns = plx_nvme_ctrlr_ns(c, 1);
	check(ns, "no namespace 1");
	parts[part].run();
	detach();
	return 0;
}
