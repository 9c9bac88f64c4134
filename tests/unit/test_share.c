/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner of a shared controller, and what guests may send it: messages made by hand.
 */
#include "nvme_fixture.h"
#include "driver/share.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MEM_BYTES (64u << 10)

static char folder[] = "/tmp/plx-share-XXXXXX";
static struct plx_pcie_backend shared_fake;
static int bar;
static struct plx_nvme_ctrlr *c;

/* A guest as the test plays it */
struct guest {
	int fd, file; /* of the last message; -1 */
	int mem; /* memfd of MEM_BYTES */
	uint64_t iova;
	uint32_t mem_id;
	ssize_t len; /* of @m */
	union share_msg m; /* received last */
};

static int bar_file(struct plx_pcie_dev *dev, uint64_t *offset, size_t *len)
{
	*offset = 0;
	*len = 2 * PLX_PAGE_SIZE;
	return bar;
}

static void begin(void)
{
	setup();
	cr_assert(mkdtemp(folder));
	setenv("PLX_SHARE_DIR", folder, 1);
	bar = memfd_create("bar", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(bar, 2 * PLX_PAGE_SIZE), 0);
	shared_fake = *fake.dev.ops;
	shared_fake.bar_file = bar_file;
	fake.dev.ops = &shared_fake;
	fake.cap |= 1023; /* MQES: a queue may be longer than a page */
	opts.share_id = 7;
	opts.num_io_queues = 4;
	c = connect_fake();
}

static void end(void)
{
	char path[64];

	plx_nvme_disconnect(c);
	snprintf(path, sizeof(path), "%s/fake.sock", folder);
	cr_expect(access(path, F_OK), "the socket is left behind");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/fake.%s", folder, i ? "users" : "lock");
		unlink(path);
	}
	cr_expect_eq(rmdir(folder), 0);
	close(bar);
	teardown();
}

TestSuite(share, .init = begin, .fini = end, .timeout = 60);

/* ---- playing a guest ---- */

static void dial(struct guest *g)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	*g = (struct guest){ .file = -1, .mem = -1 };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/fake.sock", folder);
	g->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(g->fd, (struct sockaddr *)&sa, sizeof(sa)), 0, "%s", strerror(errno));
}

static void hang_up(struct guest *g)
{
	close(g->fd);
	if (g->file >= 0)
		close(g->file);
	if (g->mem >= 0)
		close(g->mem);
	g->fd = g->file = g->mem = -1;
}

/* Whether there is a message, or the end (len 0) */
static bool came(struct guest *g)
{
	unsigned nfds;

	if (g->file >= 0)
		close(g->file);
	g->len = share_recv(g->fd, &g->m, &g->file, &nfds);
	return g->len >= 0;
}

static void hear(struct guest *g)
{
	UNTIL(c, NULL, came(g));
}

static void expect_end(struct guest *g)
{
	hear(g);
	cr_expect_eq(g->len, 0, "message of type %u instead of the end", g->m.h.type);
}

/* Told to leave, and that it may, before the end: it would take its owner for killed, and disable
 * the device for all */
static void expect_shut_out(struct guest *g, const char *why)
{
	while (hear(g), g->len > 0 && g->m.h.type == SHARE_CPL)
		;
	cr_assert(g->len > 0 && g->m.h.type == SHARE_GONE, "type %u, %zd bytes", g->m.h.type,
		  g->len);
	cr_expect(strstr(g->m.text.text, "has shut it out: it ") && strstr(g->m.text.text, why),
		  "%s", g->m.text.text);
	hear(g);
	cr_expect(g->len > 0 && g->m.h.type == SHARE_QUIET, "type %u, %zd bytes", g->m.h.type,
		  g->len);
	expect_end(g);
}

static void say(struct guest *g, const void *m, size_t len, int file)
{
	cr_assert_eq(share_send(g->fd, m, len, file), 0);
}

static void ask(struct guest *g, const void *m, size_t len, int file)
{
	say(g, m, len, file);
	hear(g);
	cr_assert_gt(g->len, 0, "shut out");
	cr_expect_eq(g->m.h.type, ((const struct share_hdr *)m)->type);
}

static struct share_hello hello(void)
{
	return (struct share_hello){
		.h.type = SHARE_HELLO, .magic = SHARE_MAGIC, .version = SHARE_VERSION, .id = 7
	};
}

static void introduce(struct guest *g)
{
	struct share_hello h = hello();

	dial(g);
	ask(g, &h, sizeof(h), -1);
	cr_assert_eq(g->m.h.rc, 0);
}

static void bare(struct guest *g, enum share_type type)
{
	struct share_hdr h = { .type = type, .tag = 99 };

	ask(g, &h, sizeof(h), -1);
	cr_expect_eq(g->m.h.tag, 99);
}

static int map(struct guest *g, int file, uint64_t offset, uint64_t len)
{
	struct share_map m = { .h.type = SHARE_MAP, .offset = offset, .len = len };

	ask(g, &m, sizeof(m), file);
	return g->m.h.rc;
}

/* Introduced, with memory, enabled */
static void bring_up(struct guest *g)
{
	introduce(g);
	g->mem = memfd_create("guest", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(g->mem, MEM_BYTES), 0);
	cr_assert_eq(map(g, g->mem, 0, MEM_BYTES), 0);
	cr_assert_eq(g->m.mapped.n, 1);
	g->iova = g->m.mapped.extent[0].iova;
	g->mem_id = g->m.mapped.id;
	bare(g, SHARE_ENABLE);
}

static uint16_t reserve(struct guest *g, uint32_t qid)
{
	struct share_qid q = { .h.type = SHARE_QUEUE, .qid = qid };

	ask(g, &q, sizeof(q), -1);
	return g->m.h.rc ? 0 : (uint16_t)g->m.qid.real;
}

static void send_admin(struct guest *g, const struct plx_nvme_cmd *cmd)
{
	struct share_admin m = { .h.type = SHARE_ADMIN, .cmd = *cmd };

	m.cmd.cid = 0x123;
	say(g, &m, sizeof(m), -1);
}

/* Return: its status */
static uint16_t admin(struct guest *g, const struct plx_nvme_cmd *cmd)
{
	send_admin(g, cmd);
	hear(g);
	cr_assert_eq(g->m.h.type, SHARE_CPL, "type %u, %zd bytes", g->m.h.type, g->len);
	cr_expect_eq(g->m.cpl.cpl.cid, 0x123);
	return plx_nvme_status(&g->m.cpl.cpl) & 0x7ff;
}

static struct plx_nvme_cmd create(bool sq, uint32_t qid, uint32_t entries, uint64_t iova)
{
	return (struct plx_nvme_cmd){
		.opc = sq ? nvme_admin_create_sq : nvme_admin_create_cq,
		.prp1 = iova,
		.cdw10 = (entries - 1) << 16 | qid,
		.cdw11 = sq ? qid << 16 | 1 : 1,
	};
}

/* Return: the device's identifier */
static uint16_t make_queues(struct guest *g, uint32_t qid)
{
	struct plx_nvme_cmd cq = create(false, qid, 16, g->iova),
			    sq = create(true, qid, 16, g->iova + PLX_PAGE_SIZE);
	uint16_t real = reserve(g, qid);

	cr_assert_eq(admin(g, &cq), 0);
	cr_assert_eq(admin(g, &sq), 0);
	return real;
}

static struct plx_nvme_cmd features(uint8_t fid, uint32_t cdw11)
{
	return (struct plx_nvme_cmd){ .opc = nvme_admin_set_features,
				      .cdw10 = fid,
				      .cdw11 = cdw11 };
}

/* ---- introductions ---- */

Test(share, a_guest_is_told_what_there_is)
{
	struct guest g;

	introduce(&g);
	cr_expect_eq(g.len, sizeof(struct share_welcome));
	cr_expect_eq(g.m.welcome.cap, fake.cap);
	cr_expect_eq(g.m.welcome.vs, fake.vs);
	cr_expect_eq(g.m.welcome.queues, 4);
	cr_expect_eq(g.m.welcome.bar_len, 2 * PLX_PAGE_SIZE);
	cr_expect_geq(g.file, 0, "no file of the BAR");
	hang_up(&g);
}

Test(share, another_version_or_id_is_refused_in_words)
{
	struct share_hello h = hello();
	struct guest g;

	dial(&g);
	h.version = 99;
	ask(&g, &h, sizeof(h), -1);
	cr_expect_eq(g.m.h.rc, -EPROTO);
	cr_expect(strstr(g.m.text.text, "version 1 ") && strstr(g.m.text.text, "not 99"), "%s",
		  g.m.text.text);
	expect_end(&g);
	hang_up(&g);

	h = hello();
	h.id = 8;
	dial(&g);
	ask(&g, &h, sizeof(h), -1);
	cr_expect_eq(g.m.h.rc, -EBUSY);
	cr_expect(strstr(g.m.text.text, "id 7, not 8"), "%s", g.m.text.text);
	expect_end(&g);
	hang_up(&g);
}

Test(share, there_is_an_end_of_guests)
{
	static struct guest g[SHARE_MAX_GUESTS + 1];

	for (unsigned i = 0; i < SHARE_MAX_GUESTS; i++)
		introduce(&g[i]);
	dial(&g[SHARE_MAX_GUESTS]);
	hear(&g[SHARE_MAX_GUESTS]);
	cr_expect_eq(g[SHARE_MAX_GUESTS].m.h.rc, -EUSERS);
	hang_up(&g[SHARE_MAX_GUESTS]);
	hang_up(&g[0]);
	turns(c, NULL, 100);
	UNTIL(c, NULL, c->share->nguests == SHARE_MAX_GUESTS - 1);
	introduce(&g[0]);
	for (unsigned i = 0; i < SHARE_MAX_GUESTS; i++)
		hang_up(&g[i]);
}

/* ---- hostile messages: shut out, and nobody else notices ---- */

#define HOSTILE(name, introduced, message, bytes, file)                                            \
	Test(share, hostile_##name)                                                                \
	{                                                                                          \
		struct guest bad, good;                                                            \
                                                                                                   \
		bring_up(&good);                                                                   \
		if (introduced)                                                                    \
			introduce(&bad);                                                           \
		else                                                                               \
			dial(&bad);                                                                \
		say(&bad, &(message), bytes, file);                                                \
		if (introduced)                                                                    \
			expect_shut_out(&bad, "");                                                 \
		else                                                                               \
			expect_end(&bad);                                                          \
		hang_up(&bad);                                                                     \
		cr_expect_gt(make_queues(&good, 1), 0);                                            \
		cr_expect(ready(c));                                                               \
		hang_up(&good);                                                                    \
	}

#define HDR(t) ((struct share_hdr){ .type = (t) })

HOSTILE(short_header, true, HDR(SHARE_ENABLE), 8, -1)
HOSTILE(unknown_type, true, HDR(77), sizeof(struct share_hdr), -1)
HOSTILE(answer_as_request, true, HDR(SHARE_RESET), sizeof(struct share_hdr), -1)
HOSTILE(long_message, true, ((union share_msg){ .h.type = SHARE_ENABLE }), sizeof(union share_msg),
	-1)
HOSTILE(file_where_none_belongs, true, HDR(SHARE_ENABLE), sizeof(struct share_hdr), bar)
HOSTILE(map_without_file, true, ((struct share_map){ .h.type = SHARE_MAP, .len = 4096 }),
	sizeof(struct share_map), -1)
HOSTILE(map_of_nothing, true, ((struct share_map){ .h.type = SHARE_MAP }), sizeof(struct share_map),
	bar)
HOSTILE(map_that_wraps, true,
	((struct share_map){ .h.type = SHARE_MAP, .offset = 1ull << 62, .len = 1ull << 62 }),
	sizeof(struct share_map), bar)
HOSTILE(map_of_half_a_page, true,
	((struct share_map){ .h.type = SHARE_MAP, .offset = 2048, .len = 4096 }),
	sizeof(struct share_map), bar)
HOSTILE(queue_0, true, ((struct share_qid){ .h.type = SHARE_QUEUE }), sizeof(struct share_qid), -1)
HOSTILE(queue_beyond, true,
	((struct share_qid){ .h.type = SHARE_QUEUE, .qid = NVME_MAX_QPAIRS + 1 }),
	sizeof(struct share_qid), -1)
HOSTILE(region_beyond, true, ((struct share_region){ .h.type = SHARE_UNMAP, .id = SHARE_MAX_MEMS }),
	sizeof(struct share_region), -1)
HOSTILE(second_hello, true, ((struct share_hello){ .h.type = SHARE_HELLO, .magic = SHARE_MAGIC }),
	sizeof(struct share_hello), -1)
HOSTILE(no_hello, false, HDR(SHARE_ENABLE), sizeof(struct share_hdr), -1)
HOSTILE(other_magic, false, ((struct share_hello){ .h.type = SHARE_HELLO, .magic = 1 }),
	sizeof(struct share_hello), -1)

/* Number of descriptors that are open in this process */
static unsigned open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(share, hostile_file_with_an_empty_message)
{
	unsigned before;
	struct guest g;

	introduce(&g);
	close(g.file);
	g.file = -1;
	before = open_files();
	say(&g, NULL, 0, bar);
	UNTIL(c, NULL, !c->share->guests);
	cr_expect_eq(open_files(), before - 1, "the guest's socket is closed, and the file too");
	hang_up(&g);
}

Test(share, hostile_enables_twice)
{
	struct share_hdr h = HDR(SHARE_ENABLE);
	struct guest g;

	bring_up(&g);
	say(&g, &h, sizeof(h), -1);
	expect_shut_out(&g, "enables what is enabled");
	hang_up(&g);
}

/* Its queues are in use until it has heard of it */
Test(share, who_is_shut_out_hears_when_its_queues_are_gone)
{
	struct share_hdr h = HDR(SHARE_ENABLE);
	struct guest g;
	uint16_t real;

	bring_up(&g);
	real = make_queues(&g, 1);
	fake.silent = FAKE_ADMIN(nvme_admin_delete_sq, real);
	say(&g, &h, sizeof(h), -1);
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_GONE);
	say(&g, &h, sizeof(h), -1);
	turns(c, NULL, 1000);
	cr_expect_not(came(&g), "type %u while its queues are there", g.m.h.type);
	fake.silent = -1;
	fake.q[real].sq_live = false;
	fake_post(&fake, 0, fake_last(&fake, nvme_admin_delete_sq)->cid, 0, 0, false);
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_QUIET, "type %u, %zd bytes", g.m.h.type, g.len);
	cr_expect_not(fake.q[real].cq_live);
	expect_end(&g);
	hang_up(&g);
}

/* A child of the owner holds what the owner has closed */
Test(share, a_guest_that_was_shut_out_is_not_heard_again)
{
	struct share_hdr h = HDR(SHARE_ENABLE);
	struct guest g;
	int kept;

	bring_up(&g);
	kept = dup(c->share->guests->fd);
	say(&g, &h, sizeof(h), -1);
	UNTIL(c, NULL, !c->share->guests);
	say(&g, &h, sizeof(h), -1);
	turns(c, NULL, 1000);
	cr_expect(ready(c));
	cr_expect_null(c->share->guests);
	close(kept);
	hang_up(&g);
}

Test(share, a_guests_files_are_not_kept)
{
	unsigned before;
	struct guest g;

	bring_up(&g);
	before = open_files();
	cr_expect_eq(map(&g, g.mem, 0, MEM_BYTES), 0);
	cr_expect_eq(open_files(), before);
	hang_up(&g);
}

Test(share, hostile_more_commands_than_there_is_room_for)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_async_event };
	struct guest g;

	bring_up(&g);
	for (unsigned i = 0; i <= SHARE_CMDS; i++)
		send_admin(&g, &cmd);
	expect_shut_out(&g, "more admin commands");
	hang_up(&g);
}

Test(share, hostile_never_reads)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_keep_alive };
	struct share_admin m = { .h.type = SHARE_ADMIN, .cmd = cmd };
	uint64_t deadline = plx_tsc() + 20 * plx_tsc_hz();
	struct guest g;
	int rc;

	bring_up(&g);
	/* until it is shut out: its answers fill the socket */
	do {
		rc = share_send(g.fd, &m, sizeof(m), -1);
		turn(c, NULL);
	} while ((!rc || rc == -EAGAIN) && plx_tsc() < deadline);
	cr_expect_eq(rc, -EPIPE, "%s", strerror(-rc));
	hang_up(&g);
}

/* ---- memory ---- */

Test(share, files_that_are_no_memory_are_refused)
{
	int ends[2], disk = open(folder, O_RDWR | O_TMPFILE, 0600), readonly;
	int zero = open("/dev/zero", O_RDWR), mem = memfd_create("m", 0);
	char path[64];
	struct guest g;

	introduce(&g);
	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(ftruncate(mem, 8192), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem);
	readonly = open(path, O_RDONLY);
	cr_expect_eq(map(&g, ends[0], 0, 4096), -EMEDIUMTYPE);
	cr_expect_eq(map(&g, zero, 0, 4096), -EMEDIUMTYPE);
	cr_expect_lt(map(&g, readonly, 0, 4096), 0);
	cr_expect_eq(map(&g, mem, 4096, 8192), -ENXIO, "longer than the file");
	cr_expect_eq(map(&g, mem, 0, 8192), 0);
	if (disk >= 0 && !ftruncate(disk, 4096))
		cr_expect_leq(map(&g, disk, 0, 4096), 0);
	hang_up(&g);
	close(ends[0]);
	close(ends[1]);
	close(zero);
	close(mem);
	close(readonly);
	if (disk >= 0)
		close(disk);
}

Test(share, memory_with_a_queue_in_it_stays)
{
	struct share_region r = { .h.type = SHARE_UNMAP };
	struct plx_nvme_cmd sq = { .opc = nvme_admin_delete_sq, .cdw10 = 1 },
			    cq = { .opc = nvme_admin_delete_cq, .cdw10 = 1 };
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	r.id = g.mem_id;
	ask(&g, &r, sizeof(r), -1);
	cr_expect_eq(g.m.h.rc, -EBUSY);
	cr_expect_eq(admin(&g, &sq), 0);
	cr_expect_eq(admin(&g, &cq), 0);
	ask(&g, &r, sizeof(r), -1);
	cr_expect_eq(g.m.h.rc, 0);
	ask(&g, &r, sizeof(r), -1);
	cr_expect_eq(g.m.h.rc, -ENOENT);
	hang_up(&g);
}

/* ---- queues ---- */

Test(share, identifiers_are_translated)
{
	struct plx_nvme_qpair *own = make_qpair(c, 16);
	struct plx_nvme_cmd abort_it = { .opc = nvme_admin_abort_cmd, .cdw10 = 5u << 16 | 1 };
	struct guest g;

	bring_up(&g);
	cr_assert_eq(own->qid, 1);
	cr_expect_eq(make_queues(&g, 1), 2);
	cr_expect_eq(fake_last(&fake, nvme_admin_create_cq)->cdw10 & 0xffff, 2);
	cr_expect_eq(fake_last(&fake, nvme_admin_create_sq)->cdw10 & 0xffff, 2);
	cr_expect_eq(fake_last(&fake, nvme_admin_create_sq)->cdw11 >> 16, 2);
	cr_expect_eq(reserve(&g, 1), 2, "the same as before");
	cr_expect_eq(admin(&g, &abort_it), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_abort_cmd)->cdw10, 5u << 16 | 2);
	hang_up(&g);
	UNTIL(c, NULL, !c->share->guests);
	cr_expect(fake.q[1].sq_live && !fake.q[2].sq_live && !fake.q[2].cq_live);
	plx_nvme_qpair_destroy(own);
}

Test(share, queues_of_others_are_out_of_reach)
{
	struct plx_nvme_qpair *own = make_qpair(c, 16);
	struct plx_nvme_cmd sq = { .opc = nvme_admin_delete_sq, .cdw10 = own->qid }, cmd;
	struct guest g;

	bring_up(&g);
	cr_expect_eq(admin(&g, &sq), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QID_INVALID));
	cmd = create(false, 3, 16, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QID_INVALID),
		     "not reserved");
	cr_expect(fake.q[own->qid].sq_live);
	hang_up(&g);
	plx_nvme_qpair_destroy(own);
}

Test(share, rings_lie_in_memory_of_the_guest)
{
	struct plx_nvme_cmd cmd;
	struct guest g;
	uint16_t outside = 0x13;

	bring_up(&g);
	reserve(&g, 1);
	cmd = create(false, 1, 16, (uint64_t)(uintptr_t)c->page);
	cr_expect_eq(admin(&g, &cmd), outside, "the owner's");
	cmd = create(false, 1, 64, g.iova + MEM_BYTES);
	cr_expect_eq(admin(&g, &cmd), outside, "behind it");
	cmd = create(false, 1, 64, g.iova + MEM_BYTES - PLX_PAGE_SIZE);
	cr_expect_eq(admin(&g, &cmd), 0, "the last page");
	cmd = create(true, 1, 1024, g.iova + PLX_PAGE_SIZE);
	cr_expect_eq(admin(&g, &cmd), outside, "from within to behind it");
	cmd = create(true, 1, 64, g.iova + MEM_BYTES - PLX_PAGE_SIZE);
	cr_expect_eq(admin(&g, &cmd), 0);
	reserve(&g, 2);
	cmd = create(false, 2, 1, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QUEUE_SIZE));
	cmd = create(false, 2, 1025, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QUEUE_SIZE));
	cmd = create(true, 2, 16, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_CQ_INVALID));
	cmd = create(false, 2, 16, g.iova);
	cmd.cdw11 |= 2;
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_VECTOR));
	hang_up(&g);
}

Test(share, when_all_queues_are_taken_the_next_is_refused)
{
	struct plx_nvme_qpair *own = make_qpair(c, 16);
	struct guest g, h;

	introduce(&g);
	introduce(&h);
	cr_expect_eq(reserve(&g, 1), 2);
	cr_expect_eq(reserve(&h, 1), 3);
	cr_expect_eq(reserve(&g, 2), 4);
	cr_expect_eq(reserve(&h, 2), 0);
	cr_expect_eq(h.m.h.rc, -ENOSPC);
	hang_up(&g);
	UNTIL(c, NULL, c->share->nguests == 1);
	cr_expect_eq(reserve(&h, 2), 2);
	hang_up(&h);
	UNTIL(c, NULL, !c->share->guests);
	plx_nvme_qpair_destroy(own);
	cr_expect_eq(c->qids[0], 0, "an identifier is lost: %lx", c->qids[0]);
}

/* ---- commands ---- */

Test(share, what_the_owner_has_settled_is_answered)
{
	struct plx_nvme_cmd alive = { .opc = nvme_admin_keep_alive },
			    queues = features(NVME_FEAT_FID_NUM_QUEUES, 0x10001),
			    hmb = features(NVME_FEAT_FID_HOST_MEM_BUF, 1),
			    shadow = { .opc = nvme_admin_dbbuf };
	unsigned before;
	struct guest g;

	bring_up(&g);
	before = fake.admin_cmds;
	cr_expect_eq(admin(&g, &alive), 0);
	cr_expect_eq(admin(&g, &queues), 0);
	cr_expect_eq(g.m.cpl.cpl.dw0, 0x30003);
	cr_expect_eq(admin(&g, &hmb), NVME_SC_INVALID_FIELD);
	cr_expect_neq(admin(&g, &shadow), 0);
	cr_expect_eq(fake.admin_cmds, before, "the controller got one of them");
	hang_up(&g);
}

Test(share, others_go_to_the_controller_with_the_guests_memory)
{
	struct plx_nvme_cmd id = { .opc = nvme_admin_identify, .cdw10 = NVME_IDENTIFY_CNS_CTRL };
	struct nvme_id_ctrl *got;
	struct guest g;

	bring_up(&g);
	got = mmap(NULL, 4096, PROT_READ, MAP_SHARED, g.mem, 4096);
	id.prp1 = g.iova + 4096;
	id.flags = 0xc3;
	id.mptr = 1;
	cr_expect_eq(admin(&g, &id), 0);
	cr_expect_eq(memcmp(got->sn, fake.id.sn, sizeof(got->sn)), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_identify)->flags, 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_identify)->mptr, 0);
	id.prp1 = (uint64_t)(uintptr_t)c->page;
	cr_expect_eq(admin(&g, &id), 0x13, "into the owner's memory");
	munmap(got, 4096);
	hang_up(&g);
}

/* Whether the owner has the first command of a guest, an Asynchronous Event Request */
static bool holds_event(unsigned i)
{
	const struct share_guest *g = c->share->guests;

	for (; g && i; i--)
		g = g->next;
	return g && g->cmd[0].state == CMD_HELD;
}

Test(share, events_go_to_all)
{
	struct plx_nvme_cmd aer = { .opc = nvme_admin_async_event },
			    config = features(NVME_FEAT_FID_ASYNC_EVENT, 1u << 14);
	struct guest g, h;

	c->id.oaes |= 1u << 14;
	bring_up(&g);
	bring_up(&h);
	config.prp1 = g.iova;
	cr_expect_eq(admin(&g, &config), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_set_features)->cdw11, 1u << 14 | aer_events(c));
	send_admin(&g, &aer);
	send_admin(&h, &aer);
	UNTIL(c, NULL, holds_event(0) && holds_event(1));
	cr_assert(fake_event(&fake, 0x040002));
	hear(&g);
	cr_expect_eq(g.m.cpl.cpl.dw0, 0x040002);
	hear(&h);
	cr_expect_eq(h.m.cpl.cpl.dw0, 0x040002);
	hang_up(&g);
	hang_up(&h);
}

Test(share, a_change_of_namespaces_is_not_missed)
{
	struct plx_nvme_cmd aer = { .opc = nvme_admin_async_event };
	struct guest g;

	bring_up(&g);
	UNTIL(c, NULL, fake.n_aers);
	cr_assert(fake_event(&fake, SHARE_NS_CHANGED));
	UNTIL(c, NULL, c->stats.aers == 1);
	cr_expect_eq(admin(&g, &aer), 0);
	cr_expect_eq(g.m.cpl.cpl.dw0, SHARE_NS_CHANGED);
	send_admin(&g, &aer);
	UNTIL(c, NULL, holds_event(0));
	cr_expect_not(came(&g), "told twice");
	/* with the next enable it looks at them anyway */
	bare(&g, SHARE_DISABLE);
	share_event(c, SHARE_NS_CHANGED);
	bare(&g, SHARE_ENABLE);
	send_admin(&g, &aer);
	UNTIL(c, NULL, holds_event(0));
	hang_up(&g);
}

Test(share, events_that_there_are_not_are_not_asked_for)
{
	struct plx_nvme_cmd config = features(NVME_FEAT_FID_ASYNC_EVENT, 1u << 14 | 1u << 11 | 1);
	struct guest g;

	c->id.oaes |= 1u << 11;
	bring_up(&g);
	fake.refuse = FAKE_ADMIN(nvme_admin_set_features, NVME_FEAT_FID_ASYNC_EVENT);
	cr_expect_neq(admin(&g, &config), 0);
	cr_expect_eq(c->aer_events, 0, "kept although the controller refused");
	fake.refuse = -1;
	cr_expect_eq(admin(&g, &config), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_set_features)->cdw11 & (1u << 14 | 1u << 11),
		     1u << 11);
	cr_expect_eq(c->aer_events & (1u << 14 | 1u << 11), 1u << 11);
	hang_up(&g);
}

Test(share, a_small_admin_queue_is_enough)
{
	struct plx_nvme_cmd id = { .opc = nvme_admin_identify, .cdw10 = NVME_IDENTIFY_CNS_CTRL };
	struct guest g;

	plx_nvme_disconnect(c);
	opts.admin_queue_size = 4;
	c = connect_fake();
	bring_up(&g);
	UNTIL(c, NULL, fake.n_aers);
	id.prp1 = g.iova;
	cr_expect_eq(admin(&g, &id), 0);
	hang_up(&g);
}

/* ---- the end of a guest ---- */

Test(share, what_a_dead_guest_had_is_taken_back_in_order)
{
	struct guest g;
	unsigned sqs, cqs;
	uint16_t real;

	bring_up(&g);
	real = make_queues(&g, 1);
	sqs = fake_count(&fake, nvme_admin_delete_sq);
	cqs = fake_count(&fake, nvme_admin_delete_cq);
	/* the controller takes its time: memory stays until the queue is gone */
	fake.silent = FAKE_ADMIN(nvme_admin_delete_sq, real);
	hang_up(&g);
	UNTIL(c, NULL, fake_count(&fake, nvme_admin_delete_sq) == sqs + 1);
	turns(c, NULL, 1000);
	cr_assert_not_null(c->share->guests);
	cr_expect_eq(c->share->guests->nmems, 1);
	cr_expect_eq(fake_count(&fake, nvme_admin_delete_cq), cqs);
	fake.silent = -1;
	fake.q[real].sq_live = false;
	fake_post(&fake, 0, fake_last(&fake, nvme_admin_delete_sq)->cid, 0, 0, false);
	UNTIL(c, NULL, !c->share->guests);
	cr_expect_eq(fake_count(&fake, nvme_admin_delete_cq), cqs + 1);
	cr_expect_not(fake.q[real].cq_live);
	cr_expect_eq(c->qids[0], 0);
}

Test(share, a_queue_that_is_not_deleted_is_ended_by_a_reset)
{
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	fake.refuse = FAKE_ADMIN(nvme_admin_delete_sq, 1);
	hang_up(&g);
	UNTIL(c, NULL, resets(c) == 1);
	cr_assert_not_null(c->share->guests);
	cr_expect_eq(c->share->guests->nmems, 1, "its memory is gone, its queue is not");
	UNTIL(c, NULL, ready(c) && !c->share->guests);
	cr_expect_eq(resets(c), 1);
}

Test(share, a_queue_that_is_not_there_needs_no_reset)
{
	struct guest g;

	bring_up(&g);
	fake.q[make_queues(&g, 1)].sq_live = false;
	hang_up(&g);
	UNTIL(c, NULL, !c->share->guests);
	cr_expect_eq(resets(c), 0);
}

Test(share, a_disabled_guest_keeps_its_identifiers)
{
	struct guest g;

	bring_up(&g);
	cr_assert_eq(make_queues(&g, 1), 1);
	bare(&g, SHARE_DISABLE);
	cr_expect_not(fake.q[1].sq_live);
	cr_expect_not(fake.q[1].cq_live);
	bare(&g, SHARE_ENABLE);
	cr_expect_eq(make_queues(&g, 1), 1);
	hang_up(&g);
}

/* ---- the owner's resets and its end ---- */

Test(share, a_reset_waits_for_guests_and_they_for_it)
{
	struct share_hdr disable = HDR(SHARE_DISABLE), enable = HDR(SHARE_ENABLE);
	unsigned enables = fake.enables;
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_RESET);
	turns(c, NULL, 1000);
	cr_expect_eq(fake.csts & 1, 1, "disabled while the guest's queues are in use");
	fake.stuck_ready = true;
	say(&g, &disable, sizeof(disable), -1);
	UNTIL(c, NULL, c->share->guests->state == GUEST_DISABLING);
	turns(c, NULL, 1000);
	cr_expect_not(came(&g), "told before the controller is disabled");
	fake.stuck_ready = false;
	fake.csts = fake.cc = 0;
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_DISABLE);
	say(&g, &enable, sizeof(enable), -1);
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_ENABLE);
	cr_expect(ready(c));
	cr_expect_eq(fake.enables, enables + 1);
	make_queues(&g, 1);
	hang_up(&g);
}

Test(share, a_reset_does_not_wait_for_ever)
{
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	UNTIL(c, NULL, ready(c));
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_RESET);
	bare(&g, SHARE_DISABLE);
	bare(&g, SHARE_ENABLE);
	make_queues(&g, 1);
	hang_up(&g);
}

Test(share, an_owner_that_ends_says_so)
{
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	plx_nvme_disconnect(c);
	cr_assert(came(&g));
	cr_expect_eq(g.m.h.type, SHARE_GONE);
	cr_expect_str_eq(g.m.text.text, "has ended");
	cr_assert(came(&g));
	cr_expect_eq(g.m.h.type, SHARE_QUIET);
	cr_assert(came(&g));
	cr_expect_eq(g.len, 0);
	cr_expect_not(fake.q[1].sq_live);
	hang_up(&g);
	c = connect_fake();
}

Test(share, an_owner_that_fails_says_why)
{
	struct guest g;

	bring_up(&g);
	fake.gone = true;
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_GONE);
	cr_expect(strstr(g.m.text.text, "registers read as all ones"), "%s", g.m.text.text);
	expect_end(&g);
	hang_up(&g);
	fake.gone = false;
}

/* ---- places ---- */

Test(share, a_process_has_a_controller_once)
{
	cr_expect_null(plx_nvme_connect(&trid, &opts));
	cr_expect_eq(errno, EBUSY);
}

Test(share, other_transports_are_not_shared)
{
	struct plx_nvme_trid other = { .trtype = PLX_NVME_TR_VFIOUSER, .traddr = "/nowhere" };

	cr_expect_null(plx_nvme_connect(&other, &opts));
	cr_expect_eq(errno, ENOTSUP);
}

Test(share, a_directory_with_too_long_a_name_is_refused)
{
	char name[200];

	snprintf(name, sizeof(name), "%s/%0150d", folder, 0);
	setenv("PLX_SHARE_DIR", name, 1);
	cr_expect_null(plx_nvme_connect(&trid, &opts));
	cr_expect_eq(errno, ENAMETOOLONG);
	setenv("PLX_SHARE_DIR", folder, 1);
}

Test(share, a_directory_that_others_may_write_to_is_refused)
{
	opts.share_id = 9;
	chmod(folder, 0770);
	cr_expect_null(plx_nvme_connect(&trid, &opts));
	cr_expect_eq(errno, EPERM);
	chmod(folder, 0700);
}
