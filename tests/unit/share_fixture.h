/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/share_fixture.h - for tests of the owner of a shared controller: a controller of
 * nvme_fixture.h that is shared, and guests played by messages made by hand
 */
#ifndef POLLUX_TESTS_SHARE_FIXTURE_H
#define POLLUX_TESTS_SHARE_FIXTURE_H

#include "nvme_fixture.h"
#include "driver/share.h"
#include <criterion/redirect.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MEM_BYTES (64u << 10)
#define HDR(t)	  ((struct share_hdr){ .type = (t) })

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

static inline int bar_file(struct plx_pcie_dev *dev, uint64_t *offset, size_t *len)
{
	*offset = 0;
	*len = 2 * PLX_PAGE_SIZE;
	return bar;
}

static inline void begin(void)
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

static inline void end(void)
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

/* ---- playing a guest ---- */

static inline void dial(struct guest *g)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	*g = (struct guest){ .file = -1, .mem = -1 };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/fake.sock", folder);
	g->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(g->fd, (struct sockaddr *)&sa, sizeof(sa)), 0, "%s", strerror(errno));
}

static inline void hang_up(struct guest *g)
{
	close(g->fd);
	if (g->file >= 0)
		close(g->file);
	if (g->mem >= 0)
		close(g->mem);
	g->fd = g->file = g->mem = -1;
}

/* Whether there is a message, or the end (len 0) */
static inline bool came(struct guest *g)
{
	unsigned nfds;

	if (g->file >= 0)
		close(g->file);
	g->len = share_recv(g->fd, &g->m, &g->file, &nfds);
	return g->len >= 0;
}

static inline void hear(struct guest *g)
{
	UNTIL(c, NULL, came(g));
}

static inline void expect_end(struct guest *g)
{
	hear(g);
	cr_expect_eq(g->len, 0, "message of type %u instead of the end", g->m.h.type);
}

/* Told to leave, and that it may, before the end: it would take its owner for killed, and disable
 * the device for all */
static inline void expect_shut_out(struct guest *g, const char *why)
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

static inline void say(struct guest *g, const void *m, size_t len, int file)
{
	cr_assert_eq(share_send(g->fd, m, len, file), 0);
}

static inline void ask(struct guest *g, const void *m, size_t len, int file)
{
	say(g, m, len, file);
	hear(g);
	cr_assert_gt(g->len, 0, "shut out");
	cr_expect_eq(g->m.h.type, ((const struct share_hdr *)m)->type);
}

static inline struct share_hello hello(void)
{
	return (struct share_hello){
		.h.type = SHARE_HELLO, .magic = SHARE_MAGIC, .version = SHARE_VERSION, .id = 7
	};
}

static inline void introduce(struct guest *g)
{
	struct share_hello h = hello();

	dial(g);
	ask(g, &h, sizeof(h), -1);
	cr_assert_eq(g->m.h.rc, 0);
}

static inline void bare(struct guest *g, enum share_type type)
{
	struct share_hdr h = { .type = type, .tag = 99 };

	ask(g, &h, sizeof(h), -1);
	cr_expect_eq(g->m.h.tag, 99);
}

static inline int map(struct guest *g, int file, uint64_t offset, uint64_t len)
{
	struct share_map m = { .h.type = SHARE_MAP, .offset = offset, .len = len };

	ask(g, &m, sizeof(m), file);
	return g->m.h.rc;
}

/* Pages of a file that are there */
static inline void fill(int file, off_t offset, size_t len)
{
	static const char page[PLX_PAGE_SIZE];

	for (off_t end = offset + (off_t)len; offset < end; offset += (off_t)sizeof(page))
		cr_assert_eq(pwrite(file, page, sizeof(page), offset), sizeof(page));
}

/* Introduced, with memory, enabled */
static inline void bring_up(struct guest *g)
{
	introduce(g);
	g->mem = memfd_create("guest", MFD_CLOEXEC);
	fill(g->mem, 0, MEM_BYTES);
	cr_assert_eq(map(g, g->mem, 0, MEM_BYTES), 0);
	cr_assert_eq(g->m.mapped.n, 1);
	g->iova = g->m.mapped.extent[0].iova;
	g->mem_id = g->m.mapped.id;
	bare(g, SHARE_ENABLE);
}

static inline uint16_t reserve(struct guest *g, uint32_t qid)
{
	struct share_qid q = { .h.type = SHARE_QUEUE, .qid = qid };

	ask(g, &q, sizeof(q), -1);
	return g->m.h.rc ? 0 : (uint16_t)g->m.qid.real;
}

static inline void send_admin(struct guest *g, const struct plx_nvme_cmd *cmd)
{
	struct share_admin m = { .h.type = SHARE_ADMIN, .cmd = *cmd };

	m.cmd.cid = 0x123;
	say(g, &m, sizeof(m), -1);
}

/* Return: its status */
static inline uint16_t admin(struct guest *g, const struct plx_nvme_cmd *cmd)
{
	send_admin(g, cmd);
	hear(g);
	cr_assert_eq(g->m.h.type, SHARE_CPL, "type %u, %zd bytes", g->m.h.type, g->len);
	cr_expect_eq(g->m.cpl.cpl.cid, 0x123);
	return plx_nvme_status(&g->m.cpl.cpl) & 0x7ff;
}

static inline struct plx_nvme_cmd create(bool sq, uint32_t qid, uint32_t entries, uint64_t iova)
{
	return (struct plx_nvme_cmd){
		.opc = sq ? nvme_admin_create_sq : nvme_admin_create_cq,
		.prp1 = iova,
		.cdw10 = (entries - 1) << 16 | qid,
		.cdw11 = sq ? qid << 16 | 1 : 1,
	};
}

/* Return: the device's identifier */
static inline uint16_t make_queues(struct guest *g, uint32_t qid)
{
	struct plx_nvme_cmd cq = create(false, qid, 16, g->iova),
			    sq = create(true, qid, 16, g->iova + PLX_PAGE_SIZE);
	uint16_t real = reserve(g, qid);

	cr_assert_eq(admin(g, &cq), 0);
	cr_assert_eq(admin(g, &sq), 0);
	return real;
}

static inline struct plx_nvme_cmd features(uint8_t fid, uint32_t cdw11)
{
	return (struct plx_nvme_cmd){ .opc = nvme_admin_set_features,
				      .cdw10 = fid,
				      .cdw11 = cdw11 };
}

/* Since cr_redirect_stderr(): lines that hold @text */
static inline unsigned logged(const char *text)
{
	FILE *f = cr_get_redirected_stderr();
	unsigned n = 0;
	char line[1024];

	fflush(stderr);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	return n;
}

#endif
