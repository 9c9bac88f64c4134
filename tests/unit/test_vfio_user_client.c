/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/test_vfio_user_client.c - the driver's vfio-user client, against a small server whose
 * answers are scripted
 */
#include "driver/transport/vfio_user.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BAR_SIZE 0x4000u
#define MAX_SEEN 512

/* struct vfio_region_info_cap_sparse_mmap without the areas that follow it */
struct sparse_head {
	struct vfio_info_cap_header header;
	uint32_t nr_areas, reserved;
};

struct message {
	struct vfio_user_hdr h;
	unsigned char payload[1024];
	uint32_t len;
	int fds[8];
	uint32_t nfds;
};

/* The server: a thread that answers as it should, but for what @script takes over. */
static struct {
	char dir[64], path[80];
	int listener, sock, bar;
	pthread_t thread;
	unsigned char config[256], regs[0x1000];
	const char *json; /* version data; NULL: none */
	uint32_t region_flags, device_flags;
	struct vfu_area areas[VFU_MAX_AREAS];
	uint32_t nareas;
	/* Return: true when it has answered, or has chosen not to */
	bool (*script)(const struct message *m);
	struct message seen[MAX_SEEN];
	_Atomic uint32_t nseen;
	/* what a script learned */
	int error;
	unsigned char data[64];
} srv;

static struct plx_nvme_trid trid;
static struct plx_pcie_dev *dev;

/* ---- the server ---- */

static void srv_send(const void *msg, size_t len, const int *fds, uint32_t nfds)
{
	char control[CMSG_SPACE(64 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)msg, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		struct cmsghdr *c;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	sendmsg(srv.sock, &mh, MSG_NOSIGNAL);
}

static void srv_reply(const struct message *m, const void *a, size_t alen, const void *b,
		      size_t blen, const int *fds, uint32_t nfds)
{
	unsigned char msg[8192];
	struct vfio_user_hdr h = m->h;

	h.flags = VFIO_USER_TYPE_REPLY;
	h.error = 0;
	h.size = (uint32_t)(sizeof(h) + alen + blen);
	memcpy(msg, &h, sizeof(h));
	if (alen)
		memcpy(msg + sizeof(h), a, alen);
	if (blen)
		memcpy(msg + sizeof(h) + alen, b, blen);
	srv_send(msg, h.size, fds, nfds);
}

static void srv_refuse(const struct message *m, uint32_t error)
{
	struct vfio_user_hdr h = m->h;

	h.flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR;
	h.error = error;
	h.size = sizeof(h);
	srv_send(&h, sizeof(h), NULL, 0);
}

/* One message. Return: false at the end of the connection */
static bool srv_receive(struct message *m)
{
	char control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec iov = { &m->h, sizeof(m->h) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };

	memset(m, 0, sizeof(*m));
	if (recvmsg(srv.sock, &mh, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof(m->h))
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		m->nfds = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m->fds, CMSG_DATA(c), m->nfds * sizeof(int));
	}
	m->len = m->h.size - (uint32_t)sizeof(m->h);
	return !m->len || recv(srv.sock, m->payload, m->len, MSG_WAITALL) == (ssize_t)m->len;
}

static void srv_version(const struct message *m)
{
	struct vfio_user_version v = { 0, 1 };

	srv_reply(m, &v, sizeof(v), srv.json, srv.json ? strlen(srv.json) + 1 : 0, NULL, 0);
}

static void srv_region(const struct message *m)
{
	struct {
		struct vfio_region_info info;
		struct sparse_head cap;
		struct vfu_area areas[VFU_MAX_AREAS];
	} r = { .info = { .argsz = (uint32_t)(offsetof(typeof(r), areas) +
					      srv.nareas * sizeof(r.areas[0])),
			  .flags = srv.region_flags,
			  .cap_offset = offsetof(typeof(r), cap),
			  .size = BAR_SIZE },
		.cap = { .header = { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0 },
			 .nr_areas = srv.nareas } };
	uint32_t argsz;

	memcpy(&argsz, m->payload, sizeof(argsz));
	memcpy(r.areas, srv.areas, sizeof(r.areas));
	if (!(srv.region_flags & VFIO_REGION_INFO_FLAG_CAPS))
		r.info.argsz = sizeof(r.info);
	srv_reply(m, &r, argsz < r.info.argsz ? sizeof(r.info) : r.info.argsz, NULL, 0, &srv.bar,
		  !!(srv.region_flags & VFIO_REGION_INFO_FLAG_MMAP));
}

static unsigned char *srv_register(const struct vfio_user_region_rw *rw)
{
	static unsigned char nothing[64];

	if (rw->region == VFIO_PCI_CONFIG_REGION_INDEX && rw->offset < sizeof(srv.config))
		return srv.config + rw->offset;
	if (rw->region == VFIO_PCI_BAR0_REGION_INDEX && rw->offset < sizeof(srv.regs))
		return srv.regs + rw->offset;
	return nothing;
}

static void srv_answer(const struct message *m)
{
	struct vfio_user_device_info info = { sizeof(info), srv.device_flags, 9, 5 };
	struct vfio_irq_info irq = {
		.argsz = sizeof(irq), .flags = VFIO_IRQ_INFO_EVENTFD, .index = 2, .count = 4
	};
	struct vfio_user_region_rw rw;

	memcpy(&rw, m->payload, sizeof(rw));
	switch (m->h.command) {
	case VFIO_USER_VERSION:
		srv_version(m);
		break;
	case VFIO_USER_DEVICE_GET_INFO:
		srv_reply(m, &info, sizeof(info), NULL, 0, NULL, 0);
		break;
	case VFIO_USER_DEVICE_GET_REGION_INFO:
		srv_region(m);
		break;
	case VFIO_USER_DEVICE_GET_IRQ_INFO:
		srv_reply(m, &irq, sizeof(irq), NULL, 0, NULL, 0);
		break;
	case VFIO_USER_REGION_READ:
		srv_reply(m, &rw, sizeof(rw), srv_register(&rw), rw.count, NULL, 0);
		break;
	case VFIO_USER_REGION_WRITE:
		memcpy(srv_register(&rw), m->payload + sizeof(rw), rw.count);
		srv_reply(m, &rw, sizeof(rw), NULL, 0, NULL, 0);
		break;
	default:
		srv_reply(m, m->payload, m->h.command == VFIO_USER_DMA_UNMAP ? 24 : 0, NULL, 0,
			  NULL, 0);
	}
}

static void *srv_run(void *arg)
{
	struct message m;

	srv.sock = accept4(srv.listener, NULL, NULL, SOCK_CLOEXEC);
	while (srv.sock >= 0 && srv_receive(&m)) {
		if (srv.nseen < MAX_SEEN)
			srv.seen[srv.nseen++] = m;
		if (!srv.script || !srv.script(&m))
			srv_answer(&m);
	}
	if (srv.sock >= 0)
		close(srv.sock);
	return NULL;
}

static void srv_start(void)
{
	cr_assert_eq(pthread_create(&srv.thread, NULL, srv_run, NULL), 0);
}

/* Messages seen of @command; the last of them */
static const struct message *srv_last(uint16_t command, uint32_t *count)
{
	const struct message *last = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < srv.nseen; i++) {
		if (srv.seen[i].h.command == command) {
			last = &srv.seen[i];
			n++;
		}
	}
	if (count)
		*count = n;
	return last;
}

/* ---- fixture ---- */

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void listen_on(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	strcpy(sa.sun_path, path);
	srv.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(srv.listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(listen(srv.listener, 4), 0);
}

static void setup(void)
{
	struct plx_env_opts env;

	plx_env_opts_init(&env);
	env.mem_mb = 32;
	env.no_huge = true;
	cr_assert_eq(plx_env_init(&env), 0);
	strcpy(srv.dir, "/tmp/plx-test-XXXXXX");
	cr_assert_not_null(mkdtemp(srv.dir));
	snprintf(srv.path, sizeof(srv.path), "%s/%s", srv.dir, VFIO_USER_SOCKET);
	listen_on(srv.path);
	srv.bar = memfd_create("bar", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(srv.bar, BAR_SIZE), 0);
	srv.config[0x9] = 0x02;
	srv.config[0xa] = 0x08;
	srv.config[0xb] = 0x01;
	srv.device_flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	srv.region_flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
			   VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
	srv.areas[0] = (struct vfu_area){ 0x1000, BAR_SIZE - 0x1000 };
	srv.nareas = 1;
	srv.json = "{\"capabilities\":{\"max_msg_fds\":1}}";
	trid.trtype = PLX_NVME_TR_VFIOUSER;
	strcpy(trid.traddr, srv.dir);
}

static void teardown(void)
{
	unlink(srv.path);
	rmdir(srv.dir);
	plx_env_fini();
}

TestSuite(vfio_user_client, .init = setup, .fini = teardown, .timeout = 60);

static int try_open(void)
{
	return plx_nvme_find_backend(PLX_NVME_TR_VFIOUSER)->open(&trid, &dev);
}

static void open_device(void)
{
	srv_start();
	cr_assert_eq(try_open(), 0);
}

static void close_device(void)
{
	dev->ops->close(dev);
	pthread_join(srv.thread, NULL);
}

#define UNTIL(cond)                                                                                \
	do {                                                                                       \
		uint64_t end_ = plx_tsc() + 5 * plx_tsc_hz();                                      \
		while (!(cond)) {                                                                  \
			cr_assert(plx_tsc() < end_, "%s", #cond);                                  \
			dev->ops->poll(dev);                                                       \
			sched_yield();                                                             \
		}                                                                                  \
	} while (0)

/* ---- open ---- */

Test(vfio_user_client, open_proposes_resets_and_enables)
{
	static const uint16_t order[] = { VFIO_USER_VERSION, VFIO_USER_DEVICE_GET_INFO,
					  VFIO_USER_DEVICE_RESET,
					  VFIO_USER_DEVICE_GET_REGION_INFO };
	const struct message *m;
	struct vfio_user_version v;
	json_t *root;

	open_device();
	for (uint32_t i = 0; i < PLX_ARRAY_SIZE(order); i++)
		cr_assert_eq(srv.seen[i].h.command, order[i]);
	m = &srv.seen[0];
	memcpy(&v, m->payload, sizeof(v));
	cr_assert_eq(v.major, 0);
	cr_assert_eq(v.minor, 1);
	cr_assert_eq(m->payload[m->len - 1], 0, "the NUL belongs to it");
	root = json_loads((const char *)m->payload + sizeof(v), 0, NULL);
	cr_assert(json_is_object(json_object_get(root, "capabilities")));
	json_decref(root);
	cr_assert_eq(srv.config[4] & 6, 6, "memory and bus master");
	cr_assert_eq(dev->doorbell_bytes, BAR_SIZE - 0x1000);
	close_device();
}

Test(vfio_user_client, the_socket_itself_is_an_address_too)
{
	strcpy(trid.traddr, srv.path);
	open_device();
	close_device();
}

Test(vfio_user_client, a_device_without_reset_is_not_reset)
{
	uint32_t n;

	srv.device_flags = VFIO_DEVICE_FLAGS_PCI;
	open_device();
	srv_last(VFIO_USER_DEVICE_RESET, &n);
	cr_assert_eq(n, 0);
	close_device();
}

Test(vfio_user_client, where_nobody_serves_is_said_with_an_errno)
{
	strcpy(trid.traddr, "/tmp/plx-no-such-directory");
	cr_assert_eq(try_open(), -ENOENT);
	strcpy(trid.traddr, "/etc/passwd");
	cr_assert_eq(try_open(), -ENOTSOCK);
	strcpy(trid.traddr, srv.dir);
	close(srv.listener);
	cr_assert_eq(try_open(), -ECONNREFUSED);
	unlink(srv.path);
	cr_assert_eq(try_open(), -ENOENT);
}

/* ---- replies against the protocol ---- */

static struct {
	uint16_t command; /* the first of these is answered ... */
	struct vfio_user_hdr h; /* ... with this; 0 in id, command: as asked */
	unsigned char payload[200];
	uint32_t nfds;
	int rc;
} bad;

static bool answer_badly(const struct message *m)
{
	struct vfio_user_hdr h = bad.h;
	unsigned char msg[512];
	int fds[64];

	if (m->h.command != bad.command)
		return false;
	h.id = h.id ? h.id : m->h.id;
	h.command = h.command ? h.command : m->h.command;
	memcpy(msg, &h, sizeof(h));
	memcpy(msg + sizeof(h), bad.payload, sizeof(bad.payload));
	for (uint32_t i = 0; i < bad.nfds; i++)
		fds[i] = srv.bar;
	srv_send(msg, h.size < sizeof(h) || h.size > 216 ? sizeof(h) : h.size, fds, bad.nfds);
	return true;
}

#define REPLY  VFIO_USER_TYPE_REPLY
#define ERR    (VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR)
#define U32(v) (v) & 0xff, (v) >> 8 & 0xff, (v) >> 16 & 0xff, (v) >> 24 & 0xff

static const typeof(bad) bad_replies[] = {
	{ VFIO_USER_VERSION, { 0, 0, 8, REPLY, 0 }, { 0 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 0xfffffff0, REPLY, 0 }, { 0 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0x777, 0, 20, REPLY, 0 }, { 0, 0, 1 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 4, 20, REPLY, 0 }, { 0, 0, 1 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 20, 2, 0 }, { 0, 0, 1 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 16, REPLY, 0 }, { 0 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 20, REPLY, 0 }, { 1, 0, 0 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 20, REPLY, 0 }, { 0, 0, 2 }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 24, REPLY, 0 }, { 0, 0, 1, 0, '[', '1', ']' }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 24, REPLY, 0 }, { 0, 0, 1, 0, '{', '{' }, 0, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 20, REPLY, 0 }, { 0, 0, 1 }, 9, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 20, REPLY, 0 }, { 0, 0, 1 }, 60, -EPROTO },
	{ VFIO_USER_VERSION, { 0, 0, 16, ERR, EBUSY }, { 0 }, 0, -EBUSY },
	{ VFIO_USER_VERSION, { 0, 0, 16, ERR, 0 }, { 0 }, 3, -EIO },
	{ VFIO_USER_VERSION, { 0, 0, 16, ERR, 0x80000000 }, { 0 }, 0, -EIO },
	{ VFIO_USER_DEVICE_GET_INFO, { 0, 0, 24, REPLY, 0 }, { 0 }, 0, -EPROTO },
	{ VFIO_USER_DEVICE_GET_INFO, { 0, 0, 32, REPLY, 0 }, { U32(16), U32(0), 9 }, 0, -EPROTO },
	{ VFIO_USER_DEVICE_GET_INFO, { 0, 0, 32, REPLY, 0 }, { U32(16), U32(2), 7 }, 0, -EPROTO },
	{ VFIO_USER_DEVICE_RESET, { 0, 0, 16, ERR, EIO }, { 0 }, 0, -EIO },
	{ VFIO_USER_DEVICE_GET_REGION_INFO, { 0, 0, 32, REPLY, 0 }, { 0 }, 1, -EPROTO },
	/* another region; too small; read-only; ever larger */
	{ VFIO_USER_DEVICE_GET_REGION_INFO,
	  { 0, 0, 48, REPLY, 0 },
	  { U32(32), U32(3), U32(1), U32(0), 0, 0x20 },
	  1,
	  -EPROTO },
	{ VFIO_USER_DEVICE_GET_REGION_INFO,
	  { 0, 0, 48, REPLY, 0 },
	  { U32(32), U32(3), U32(0), U32(0), 0, 0x10 },
	  1,
	  -EPROTO },
	{ VFIO_USER_DEVICE_GET_REGION_INFO,
	  { 0, 0, 48, REPLY, 0 },
	  { U32(32), U32(1), U32(0), U32(0), 0, 0x20 },
	  1,
	  -EPROTO },
	{ VFIO_USER_DEVICE_GET_REGION_INFO,
	  { 0, 0, 48, REPLY, 0 },
	  { U32(4096), U32(3), U32(0), U32(0), 0, 0x20 },
	  2,
	  -EPROTO },
	{ VFIO_USER_DEVICE_GET_REGION_INFO,
	  { 0, 0, 48, REPLY, 0 },
	  { U32(0xfffffffful), U32(3), U32(0), U32(0), 0, 0x20 },
	  0,
	  -EPROTO },
	/* the count of a read, and its data, are short */
	{ VFIO_USER_REGION_READ, { 0, 0, 33, REPLY, 0 }, { [8] = 7, [12] = 3 }, 0, -EPROTO },
	{ VFIO_USER_REGION_READ, { 0, 0, 35, REPLY, 0 }, { [8] = 7, [12] = 2 }, 0, -EPROTO },
	/* another class */
	{ VFIO_USER_REGION_READ, { 0, 0, 35, REPLY, 0 }, { [8] = 7, [12] = 3 }, 0, -ENOTSUP },
	{ VFIO_USER_REGION_WRITE, { 0, 0, 16, ERR, EPERM }, { 0 }, 0, -EPERM },
};

Test(vfio_user_client, bad_replies_fail_the_open_and_leak_nothing)
{
	int fds = 0;

	srv.script = answer_badly;
	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad_replies); i++) {
		int rc;

		bad = bad_replies[i];
		srv_start();
		rc = try_open();
		cr_assert_eq(rc, bad.rc, "reply %zu: %d, not %d", i, rc, bad.rc);
		pthread_join(srv.thread, NULL);
		if (!i)
			fds = count_fds();
		cr_assert_eq(count_fds(), fds, "reply %zu leaks descriptors", i);
	}
}

static bool close_at(const struct message *m)
{
	if (m->h.command != bad.command)
		return false;
	shutdown(srv.sock, SHUT_RDWR);
	return true;
}

Test(vfio_user_client, a_server_that_closes_fails_the_open)
{
	static const uint16_t commands[] = { VFIO_USER_VERSION, VFIO_USER_DEVICE_GET_INFO,
					     VFIO_USER_DEVICE_RESET,
					     VFIO_USER_DEVICE_GET_REGION_INFO,
					     VFIO_USER_REGION_READ };

	srv.script = close_at;
	for (size_t i = 0; i < PLX_ARRAY_SIZE(commands); i++) {
		bad.command = commands[i];
		srv_start();
		cr_assert_eq(try_open(), -ECONNRESET, "at command %u", commands[i]);
		pthread_join(srv.thread, NULL);
	}
}

/* ---- regions ---- */

Test(vfio_user_client, the_request_for_a_region_grows_to_what_its_reply_needs)
{
	uint32_t n;

	srv.nareas = 3;
	srv.areas[0] = (struct vfu_area){ 0x1000, 0x1000 };
	srv.areas[1] = (struct vfu_area){ 0x2000, 0x1000 };
	srv.areas[2] = (struct vfu_area){ 0x3000, 0x1000 };
	open_device();
	srv_last(VFIO_USER_DEVICE_GET_REGION_INFO, &n);
	cr_assert_eq(n, 2);
	cr_assert_not_null(dev->ops->doorbell(dev, 0x2ffc));
	close_device();
}

/* ---- doorbells ---- */

Test(vfio_user_client, doorbells_are_mapped_as_far_as_areas_reach)
{
	volatile uint32_t *db, *other;
	uint32_t value = 0;

	srv.nareas = 2;
	srv.areas[0] = (struct vfu_area){ 0x1004, 0x7fc };
	srv.areas[1] = (struct vfu_area){ 0x3000, 0x1000 };
	open_device();
	cr_assert_null(dev->ops->doorbell(dev, 0), "before the first area");
	cr_assert_null(dev->ops->doorbell(dev, 0x800), "between two");
	db = dev->ops->doorbell(dev, 4);
	other = dev->ops->doorbell(dev, 0x2ffc);
	cr_assert(db && other);
	*db = 0x1234;
	*other = 0x5678;
	cr_assert_eq(pread(srv.bar, &value, 4, 0x1004), 4);
	cr_assert_eq(value, 0x1234);
	cr_assert_eq(pread(srv.bar, &value, 4, 0x3ffc), 4);
	cr_assert_eq(value, 0x5678);
	close_device();
}

Test(vfio_user_client, a_file_shorter_than_its_area_is_not_mapped)
{
	cr_assert_eq(ftruncate(srv.bar, 0x2000), 0);
	open_device();
	cr_assert_null(dev->ops->doorbell(dev, 0));
	close_device();
}

Test(vfio_user_client, doorbells_as_messages_do_not_wait)
{
	const struct message *m;
	struct vfio_user_region_rw rw;
	uint32_t n = 0, value;

	srv.region_flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	open_device();
	cr_assert_null(dev->ops->doorbell(dev, 0));
	srv.nseen = 0;
	for (uint32_t i = 0; i < 200; i++)
		dev->ops->doorbell_write(dev, 8, i);
	UNTIL((srv_last(VFIO_USER_REGION_WRITE, &n), n == 200));
	m = srv_last(VFIO_USER_REGION_WRITE, NULL);
	memcpy(&rw, m->payload, sizeof(rw));
	memcpy(&value, m->payload + sizeof(rw), 4);
	cr_assert_eq(rw.offset, 0x1008);
	cr_assert_eq(rw.count, 4);
	cr_assert_eq(value, 199);
	cr_assert_eq(dev->ops->reg_read(dev, 0x1c, 4), 0, "their replies are told apart");
	close_device();
}

/* ---- registers ---- */

static bool only_4_bytes(const struct message *m)
{
	struct vfio_user_region_rw rw;

	memcpy(&rw, m->payload, sizeof(rw));
	if ((m->h.command != VFIO_USER_REGION_READ && m->h.command != VFIO_USER_REGION_WRITE) ||
	    rw.count != 8)
		return false;
	srv_refuse(m, EINVAL);
	return true;
}

Test(vfio_user_client, registers_of_8_bytes_may_be_accessed_as_two_of_4)
{
	uint64_t value = 0x123456789abcdef0;

	for (unsigned i = 0; i < 3; i++) {
		srv.script = i == 1 ? only_4_bytes : NULL;
		srv.json = i == 2 ? "{\"capabilities\":{\"max_data_xfer_size\":4}}" : NULL;
		memset(srv.regs, 0, sizeof(srv.regs));
		open_device();
		dev->ops->reg_write(dev, 0x28, value, 8);
		cr_assert_eq(dev->ops->reg_read(dev, 0x28, 8), value);
		cr_assert_eq(*(uint64_t *)(srv.regs + 0x28), value);
		cr_assert_eq(dev->ops->reg_read(dev, 0x2c, 4), value >> 32);
		close_device();
	}
}

static bool refuse_reads_of_bar(const struct message *m)
{
	if (m->h.command != VFIO_USER_REGION_READ || m->payload[8] == VFIO_PCI_CONFIG_REGION_INDEX)
		return false;
	srv_refuse(m, EIO);
	return true;
}

Test(vfio_user_client, a_refused_register_reads_as_all_ones)
{
	srv.script = refuse_reads_of_bar;
	open_device();
	cr_assert_eq((uint32_t)dev->ops->reg_read(dev, 0x1c, 4), UINT32_MAX);
	cr_assert_eq(dev->ops->reg_read(dev, 0, 8), UINT64_MAX);
	close_device();
}

Test(vfio_user_client, the_watch_hears_without_waiting_and_forgets_what_is_old)
{
	uint32_t csts;

	open_device();
	srv.regs[NVME_REG_CSTS] = 1;
	UNTIL(dev->ops->watch(dev, &csts));
	cr_assert_eq(csts, 1);
	/* the question above has been asked anew; an access that follows makes its answer old */
	dev->ops->reg_write(dev, NVME_REG_CC, 0, 4);
	srv.regs[NVME_REG_CSTS] = 3;
	cr_assert_not(dev->ops->watch(dev, &csts));
	UNTIL(dev->ops->watch(dev, &csts));
	cr_assert_eq(csts, 3);
	close_device();
}

/* ---- memory ---- */

static struct plx_mem_region region_of(void *addr, size_t len, int fd, uint64_t offset)
{
	return (struct plx_mem_region){ addr, len, (uint64_t)(uintptr_t)addr, fd, offset };
}

Test(vfio_user_client, memory_is_mapped_with_its_file_and_taken_back)
{
	struct plx_mem_region r = region_of((void *)0x70000000, 0x2000, srv.bar, 0x1000);
	struct vfio_user_dma_unmap un;
	struct vfio_user_dma_map map;
	const struct message *m;

	open_device();
	cr_assert_eq(dev->ops->dma_map(dev, &r), 0);
	m = srv_last(VFIO_USER_DMA_MAP, NULL);
	memcpy(&map, m->payload, sizeof(map));
	cr_assert_eq(m->len, 32);
	cr_assert_eq(m->nfds, 1);
	cr_assert_eq(map.address, 0x70000000);
	cr_assert_eq(map.size, 0x2000);
	cr_assert_eq(map.offset, 0x1000);
	cr_assert_eq(map.flags, 3);
	dev->ops->dma_unmap(dev, &r);
	m = srv_last(VFIO_USER_DMA_UNMAP, NULL);
	memcpy(&un, m->payload, sizeof(un));
	cr_assert_eq(un.address, 0x70000000);
	cr_assert_eq(un.size, 0x2000);
	r.fd = -1;
	cr_assert_eq(dev->ops->dma_map(dev, &r), 0);
	m = srv_last(VFIO_USER_DMA_MAP, NULL);
	memcpy(&map, m->payload, sizeof(map));
	cr_assert_eq(m->nfds, 0);
	cr_assert_eq(map.offset, 0, "without a file there is no offset");
	close_device();
}

static bool refuse_maps(const struct message *m)
{
	if (m->h.command != VFIO_USER_DMA_MAP)
		return false;
	srv_refuse(m, EEXIST);
	return true;
}

Test(vfio_user_client, memory_a_server_does_not_take_is_an_error)
{
	struct plx_mem_region r = region_of((void *)0x70000000, 0x2000, -1, 0), s = r;

	s.addr = (void *)0x80000000;
	srv.json = "{\"capabilities\":{\"max_dma_maps\":1,\"max_msg_fds\":0}}";
	open_device();
	r.fd = srv.bar;
	cr_assert_eq(dev->ops->dma_map(dev, &r), 0);
	cr_assert_eq(srv_last(VFIO_USER_DMA_MAP, NULL)->nfds, 0, "max_msg_fds is 0");
	cr_assert_eq(dev->ops->dma_map(dev, &s), -ENOSPC);
	dev->ops->dma_unmap(dev, &r);
	cr_assert_eq(dev->ops->dma_map(dev, &s), 0);
	close_device();

	srv.script = refuse_maps;
	srv.json = "{\"capabilities\":{\"pgsizes\":2097152}}";
	open_device();
	cr_assert_eq(dev->ops->dma_map(dev, &r), -EINVAL, "pages of 2 MiB only");
	s.len = 2 << 20;
	cr_assert_eq(dev->ops->dma_map(dev, &s), -EEXIST);
	close_device();
}

/* ---- the server's requests ---- */

static unsigned char memory[2 * PLX_PAGE_SIZE] plx_aligned(PLX_PAGE_SIZE);
static struct vfio_user_dma_rw ask;
static uint16_t ask_command;
static uint32_t ask_flags, ask_data;

/* Before a register is answered: a request of its own, and the reply to that */
static bool ask_first(const struct message *m)
{
	struct {
		struct vfio_user_hdr h;
		struct vfio_user_dma_rw rw;
		unsigned char data[64];
	} out = { .h = { m->h.id, ask_command, 0, ask_flags, 0 }, .rw = ask };
	struct message reply;

	if (m->h.command != VFIO_USER_REGION_READ || m->payload[8] == VFIO_PCI_CONFIG_REGION_INDEX)
		return false;
	memset(out.data, 0x5a, sizeof(out.data));
	out.h.size = (uint32_t)(offsetof(typeof(out), data) + ask_data);
	srv_send(&out, out.h.size, NULL, 0);
	if (ask_flags & VFIO_USER_NO_REPLY)
		return false;
	srv.error = -1;
	if (srv_receive(&reply) && (reply.h.flags & VFIO_USER_TYPE_MASK) == REPLY &&
	    reply.h.id == m->h.id && reply.h.command == ask_command) {
		srv.error = (int)reply.h.error;
		memcpy(srv.data, reply.payload + sizeof(ask), sizeof(srv.data));
	}
	return false;
}

static int ask_for(uint16_t command, const void *address, uint64_t count, uint32_t data)
{
	ask_command = command;
	ask = (struct vfio_user_dma_rw){ (uint64_t)(uintptr_t)address, count };
	ask_data = data;
	srv.regs[0x1c] = 1;
	cr_assert_eq(dev->ops->reg_read(dev, 0x1c, 4), 1);
	return srv.error;
}

Test(vfio_user_client, requests_of_the_server_are_served_while_waiting_for_it)
{
	struct plx_mem_region low = region_of(memory, PLX_PAGE_SIZE, -1, 0),
			      high = region_of(memory + PLX_PAGE_SIZE, PLX_PAGE_SIZE, -1, 0);
	unsigned char *edge = memory + PLX_PAGE_SIZE - 8;

	open_device();
	srv.script = ask_first;
	cr_assert_eq(dev->ops->dma_map(dev, &high), 0);
	cr_assert_not(atomic_load(&dev->wants_poll));
	memset(memory, 0x33, sizeof(memory));
	cr_assert_eq(ask_for(VFIO_USER_DMA_READ, memory + PLX_PAGE_SIZE, 16, 0), 0);
	cr_assert_eq(srv.data[0], 0x33);
	cr_assert(atomic_load(&dev->wants_poll));
	cr_assert(dev->ops->poll(dev), "worth polling often");

	cr_assert_eq(ask_for(VFIO_USER_DMA_READ, edge, 16, 0), EFAULT, "half of it is not mapped");
	cr_assert_eq(dev->ops->dma_map(dev, &low), 0);
	cr_assert_eq(ask_for(VFIO_USER_DMA_WRITE, edge, 16, 16), 0, "over two regions");
	cr_assert_eq(edge[0], 0x5a);
	cr_assert_eq(edge[15], 0x5a);
	cr_assert_eq(edge[16], 0x33);
	cr_assert_eq(ask_for(VFIO_USER_DMA_WRITE, edge, 16, 15), EINVAL, "less data than said");
	cr_assert_eq(ask_for(VFIO_USER_DMA_READ, memory, VFU_MAX_XFER + 1, 0), EINVAL);
	cr_assert_eq(ask_for(VFIO_USER_DMA_READ, memory, UINT64_MAX, 0), EINVAL);
	cr_assert_eq(ask_for(VFIO_USER_DMA_READ, (void *)(UINT64_MAX - 7), 16, 0), EFAULT);
	cr_assert_eq(ask_for(VFIO_USER_DMA_READ, memory + sizeof(memory), 1, 0), EFAULT);
	cr_assert_eq(ask_for(VFIO_USER_REGION_WRITE_MULTI, memory, 1, 0), ENOTSUP);
	ask_flags = VFIO_USER_NO_REPLY;
	ask_for(VFIO_USER_DMA_WRITE, memory, 4, 4);
	cr_assert_eq(memory[3], 0x5a);
	cr_assert_eq(memory[4], 0x33);

	ask_flags = 0;
	dev->ops->dma_unmap(dev, &low);
	cr_assert_eq(ask_for(VFIO_USER_DMA_WRITE, memory, 4, 4), EFAULT, "not mapped any more");
	close_device();
}

/* ---- loss ---- */

static bool close_at_read_of_bar(const struct message *m)
{
	if (m->h.command == VFIO_USER_REGION_READ && m->payload[8] == 0)
		shutdown(srv.sock, SHUT_RDWR);
	return false;
}

Test(vfio_user_client, a_server_that_is_gone_reads_as_all_ones_and_harms_nobody)
{
	struct plx_mem_region r = region_of(memory, sizeof(memory), -1, 0);
	uint32_t csts = 0;

	open_device();
	srv.script = close_at_read_of_bar;
	cr_assert_eq(dev->ops->reg_read(dev, 0, 8), UINT64_MAX);
	cr_assert(dev->ops->watch(dev, &csts));
	cr_assert_eq(csts, UINT32_MAX);
	cr_assert_not(dev->ops->poll(dev));
	dev->ops->reg_write(dev, 0x14, 1, 4);
	dev->ops->doorbell_write(dev, 0, 1);
	cr_assert_eq(dev->ops->dma_map(dev, &r), 0, "others may register memory");
	dev->ops->dma_unmap(dev, &r);
	close_device();
}

static bool say_nothing(const struct message *m)
{
	return true;
}

static struct vfu *client(void)
{
	return (struct vfu *)((char *)dev - offsetof(struct vfu, base));
}

Test(vfio_user_client, time_without_a_look_is_not_the_servers)
{
	struct vfu *v;
	uint32_t looks = 0;

	srv.region_flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	open_device();
	v = client();
	srv.script = say_nothing;
	dev->ops->doorbell_write(dev, 8, 1);
	/* an hour between two looks is a moment of silence; many of those are too much */
	for (; !v->gone && looks < 10000; looks++) {
		v->look_tsc -= 3600000 * v->tsc_ms;
		dev->ops->poll(dev);
	}
	cr_assert_geq(looks, VFU_REPLY_MS / VFU_LOOK_MS);
	cr_assert_leq(looks, VFU_REPLY_MS / VFU_LOOK_MS + 1);
	cr_assert_not_null(strstr(plx_log_last_error(), "has not answered for 30000 ms"));
	cr_assert_not_null(strstr(plx_log_last_error(), "writing a doorbell; asked"));
	close_device();
}

static bool answer_after_an_hour(const struct message *m)
{
	struct vfu *v = client();
	uint64_t looked = __atomic_load_n(&v->look_tsc, __ATOMIC_RELAXED);

	/* the process that asks is stopped for an hour, and looks before the answer is there */
	__atomic_store_n(&v->look_tsc, looked - 3600000 * v->tsc_ms, __ATOMIC_RELAXED);
	while (__atomic_load_n(&v->look_tsc, __ATOMIC_RELAXED) < looked && !v->gone)
		sched_yield();
	return false;
}

Test(vfio_user_client, who_was_stopped_while_it_waited_goes_on_waiting)
{
	open_device();
	srv.regs[NVME_REG_CSTS] = 1;
	srv.script = answer_after_an_hour;
	cr_assert_eq(dev->ops->reg_read(dev, NVME_REG_CSTS, 4), 1);
	close_device();
}

Test(vfio_user_client, a_server_that_truncates_its_doorbells_is_left)
{
	uint32_t csts = 0;

	open_device();
	cr_assert_eq(ftruncate(srv.bar, 0), 0);
	*dev->ops->doorbell(dev, 8) = 1;
	UNTIL(dev->ops->watch(dev, &csts) && csts == UINT32_MAX);
	close_device();
}

Test(vfio_user_client, the_end_of_an_idle_connection_is_noticed_by_polling)
{
	uint32_t csts = 0;

	open_device();
	shutdown(srv.sock, SHUT_RDWR);
	UNTIL(dev->ops->watch(dev, &csts) && csts == UINT32_MAX);
	close_device();
}

static bool refuse_unmaps(const struct message *m)
{
	if (m->h.command != VFIO_USER_DMA_UNMAP)
		return false;
	srv_refuse(m, EBUSY);
	return true;
}

Test(vfio_user_client, a_server_that_keeps_memory_is_left)
{
	struct plx_mem_region r = region_of(memory, sizeof(memory), -1, 0);

	open_device();
	srv.script = refuse_unmaps;
	cr_assert_eq(dev->ops->dma_map(dev, &r), 0);
	dev->ops->dma_unmap(dev, &r);
	cr_assert_eq((uint32_t)dev->ops->reg_read(dev, 0x1c, 4), UINT32_MAX);
	close_device();
}

/* ---- interrupts ---- */

Test(vfio_user_client, interrupts_are_eventfds_of_msix_vectors)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	const struct message *m;
	struct vfio_irq_set set;

	open_device();
	cr_assert_eq(dev->ops->irq_enable(dev, 3, fd), 0);
	m = srv_last(VFIO_USER_DEVICE_SET_IRQS, NULL);
	memcpy(&set, m->payload, sizeof(set));
	cr_assert_eq(m->nfds, 1);
	cr_assert_eq(set.index, 2);
	cr_assert_eq(set.start, 3);
	cr_assert_eq(set.count, 1);
	cr_assert_eq(set.flags, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER);
	cr_assert_eq(dev->ops->irq_enable(dev, 3, -1), 0);
	cr_assert_eq(srv_last(VFIO_USER_DEVICE_SET_IRQS, NULL)->nfds, 0);
	cr_assert_eq(dev->ops->irq_enable(dev, 4, fd), -EINVAL, "it has four");
	close_device();
	close(fd);
}
