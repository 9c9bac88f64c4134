/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner of a shared controller: who is taken in, what guests may say, their memory.
 */
#include "share_fixture.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>

TestSuite(share, .init = begin, .fini = end, .timeout = 60);

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

/* ... and what it has sent behind that, it may still say wrongly */
Test(share, hostile_goes_on_after_it_was_shut_out)
{
	struct share_hdr h = HDR(77);
	struct guest g;

	bring_up(&g);
	for (unsigned i = 0; i < 4; i++)
		say(&g, &h, sizeof(h), -1);
	expect_shut_out(&g, "unknown type 77");
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
Test(share, a_guest_that_is_no_more_is_not_heard_again)
{
	struct share_hdr h = HDR(SHARE_ENABLE);
	struct epoll_event ev;
	struct guest g;
	int kept;

	for (unsigned dies = 0; dies < 2; dies++) {
		bring_up(&g);
		kept = dup(c->share->guests->fd);
		if (dies)
			hang_up(&g);
		else
			say(&g, &h, sizeof(h), -1);
		UNTIL(c, NULL, !c->share->guests);
		if (!dies)
			say(&g, &h, sizeof(h), -1);
		cr_expect_eq(epoll_wait(c->share->epoll, &ev, 1, 0), 0, "case %u", dies);
		turns(c, NULL, 1000);
		cr_expect(ready(c));
		cr_expect_null(c->share->guests);
		close(kept);
		if (!dies)
			hang_up(&g);
	}
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
	fill(mem, 0, 8192);
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

/* It would come in for the owner, all of it */
Test(share, memory_that_is_not_there_is_refused)
{
	int mem = memfd_create("m", MFD_CLOEXEC);
	struct guest g;

	introduce(&g);
	cr_assert_eq(ftruncate(mem, (off_t)1 << 40), 0);
	cr_expect_eq(map(&g, mem, 0, 1ull << 40), -ENODATA);
	fill(mem, 0, 2 * PLX_PAGE_SIZE);
	fill(mem, 3 * PLX_PAGE_SIZE, PLX_PAGE_SIZE);
	cr_expect_eq(map(&g, mem, 0, 4 * PLX_PAGE_SIZE), -ENODATA, "a hole in it");
	cr_expect_eq(map(&g, mem, 3 * PLX_PAGE_SIZE, 2 * PLX_PAGE_SIZE), -ENODATA,
		     "one at its end");
	cr_expect_eq(map(&g, mem, 0, 2 * PLX_PAGE_SIZE), 0, "one behind it");
	cr_expect_eq(map(&g, mem, 3 * PLX_PAGE_SIZE, PLX_PAGE_SIZE), 0, "holes on both sides");
	cr_expect_eq(lseek(mem, 0, SEEK_CUR), 0, "the guest's position has moved");
	hang_up(&g);
	close(mem);
}

static uint64_t look_nowhere(const struct dptr_iova *self, const void *va, size_t *len)
{
	return PLX_IOVA_BAD;
}

Test(share, memory_that_the_device_has_no_address_of_is_not_kept)
{
	static const struct dptr_iova nowhere = { look_nowhere };
	int mem = memfd_create("m", MFD_CLOEXEC);
	struct guest g;

	introduce(&g);
	fill(mem, 0, PLX_PAGE_SIZE);
	fake.dev.iova = &nowhere;
	cr_expect_eq(map(&g, mem, 0, PLX_PAGE_SIZE), -EFAULT);
	fake.dev.iova = NULL;
	cr_expect_null(c->share->guests->mems[0].va);
	hang_up(&g);
	close(mem);
}

Test(share, refused_memory_does_not_fill_the_log)
{
	struct guest g;

	cr_redirect_stderr();
	introduce(&g);
	for (unsigned i = 0; i < 40; i++)
		cr_expect_eq(map(&g, bar, 0, 4 * PLX_PAGE_SIZE), -ENXIO);
	cr_expect_eq(logged("cannot be mapped for it: its file is shorter"), 8);
	hang_up(&g);
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
