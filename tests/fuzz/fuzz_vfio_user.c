/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_vfio_user - a vfio-user client that says anything, over a real socket with real descriptors
 *
 * The input is a sequence of records: a message each, its payload literal and its header mostly in
 * order, with memory files, eventfds and others attached, or something done to those files. Half of
 * the inputs find memory mapped, with the rest of the input in it, and the controller enabled:
 * their doorbells execute commands that are as arbitrary. The device is served by the same thread;
 * whatever happens, its client leaves without a trace in the end.
 */
#include "targets/nvmf/vfio_user.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILES	 5u
#define IMAGE	 0x10000u /* of file 0, mapped at address 0 */
#define MAX_MSGS 64u
#define PATIENCE 2000000u /* turns until a client must be gone */

struct record {
	uint8_t command; /* 0xf0 and above: a file becomes shorter or longer */
	uint8_t flags; /* of the header; 0x80: its size is the payload's first 4 bytes */
	uint8_t len;
	uint8_t files; /* two descriptors: 0 none, else 1 + index */
} __attribute__((packed));

static const size_t file_len[FILES] = { IMAGE, 4096, 0, 1u << 20, 3 * 4096 };
static int files[FILES + 3]; /* and an eventfd, a pipe, a socket */
static uint8_t *image;
static struct plx_thread *thread;
static struct plx_nvmf_vfio_user *front;
static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void setup(void)
{
	struct plx_bdev_geometry g = { .blocks = 4096, .block_size = 512, .numa = PLX_NUMA_ANY };
	struct plx_nvmf_subsystem_opts so = { .nqn = "nqn.2020-01.org.example:fuzz" };
	struct plx_nvmf_vfio_user_opts vo = { .max_io_queues = 4 };
	static char dir[] = "/tmp/pollux-fuzz-XXXXXX";
	struct plx_env_opts eo;
	int p[2];

	plx_env_opts_init(&eo);
	eo.mem_mb = 32;
	eo.no_huge = true;
	check(!plx_env_init(&eo) && mkdtemp(dir), "no environment");
	thread = plx_thread_create("fuzz");
	plx_thread_enter(thread);
	vo.thread = thread;
	vo.dir = dir;
	vo.subsystem = plx_nvmf_subsystem_create(&so);
	check(!plx_bdev_null_create("fuzz0", &g, NULL), "no bdev");
	check(plx_nvmf_subsystem_add_ns(vo.subsystem, "fuzz0", 1) == 1, "no namespace");
	front = plx_nvmf_vfio_user_create(&vo);
	check(front != NULL, "no front end");
	snprintf(path, sizeof path, "%s/" VFIO_USER_SOCKET, dir);
	for (uint32_t i = 0; i < FILES; i++) {
		files[i] = memfd_create("fuzz", MFD_CLOEXEC);
		check(!ftruncate(files[i], (off_t)file_len[i]), "no file");
	}
	check(!pipe(p), "no pipe");
	files[FILES] = eventfd(0, EFD_CLOEXEC);
	files[FILES + 1] = p[1];
	files[FILES + 2] = socket(AF_UNIX, SOCK_STREAM, 0);
	image = mmap(NULL, IMAGE, PROT_READ | PROT_WRITE, MAP_SHARED, files[0], 0);
	check(image != MAP_FAILED, "no image");
}

static void send_msg(int fd, const struct vfio_user_hdr *h, const void *data, size_t len,
		     const int *fds, size_t nfds)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)h, sizeof *h },
				{ (void *)(uintptr_t)data, len } };
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	if (nfds) {
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof(int));
	}
	/* the server may be gone already */
	if (sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static void command(int fd, uint16_t cmd, const void *data, size_t len, int file)
{
	struct vfio_user_hdr h = { .command = cmd, .size = (uint32_t)(sizeof h + len) };

	send_msg(fd, &h, data, len, &file, file >= 0);
}

static void write_reg(int fd, uint64_t offset, uint64_t value, uint32_t size)
{
	struct {
		struct vfio_user_region_rw rw;
		uint64_t value;
	} w = { { .offset = offset, .count = size }, value };

	command(fd, VFIO_USER_REGION_WRITE, &w, sizeof w.rw + size, -1);
}

/* Memory, an enabled controller, and queues of what the input ends with */
static void boot(int fd, const uint8_t *data, size_t size)
{
	struct vfio_user_dma_map m = { .argsz = sizeof m, .flags = 3, .size = IMAGE };

	memset(image, 0, IMAGE);
	for (size_t at = 0; size >= 64 && at + size <= IMAGE / 4; at += size)
		memcpy(image + at, data, size);
	command(fd, VFIO_USER_DMA_MAP, &m, sizeof m, files[0]);
	write_reg(fd, NVME_REG_AQA, 0x1f001f, 4);
	write_reg(fd, NVME_REG_ASQ, 0, 8);
	write_reg(fd, NVME_REG_ACQ, 0x8000, 8);
	write_reg(fd, NVME_REG_CC, 0x460001, 4);
}

static void one_record(int fd, const struct record *r, const uint8_t *payload)
{
	struct vfio_user_hdr h = { .id = r->len,
				   .command = r->command,
				   .size = (uint32_t)(sizeof h + r->len),
				   .flags = r->flags & 0x3f };
	uint32_t index[2] = { r->files & 0xf, r->files >> 4 };
	int fds[2];
	size_t nfds = 0;

	if (r->command >= 0xf0) {
		uint32_t i = r->command % FILES;

		check(!ftruncate(files[i], r->flags & 1 ? 0 : (off_t)file_len[i]), "ftruncate");
		return;
	}
	if (r->flags & 0x80 && r->len >= 4)
		memcpy(&h.size, payload, sizeof h.size);
	for (int i = 0; i < 2; i++) {
		if (index[i] && index[i] <= FILES + 3)
			fds[nfds++] = files[index[i] - 1];
	}
	send_msg(fd, &h, payload, r->len, fds, nfds);
}

static void turns(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		plx_thread_poll(thread);
}

static void serve(int fd)
{
	char sink[4096];

	if (front->conn && !front->conn->closing)
		vu_rx(front->conn);
	turns(4);
	while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
		;
}

static int connect_to_front(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, path);
	check(fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a), "cannot connect");
	for (uint32_t i = 0; !front->conn; i++) {
		check(i < PATIENCE, "not accepted");
		plx_thread_poll(thread);
	}
	return fd;
}

static int lowest_free_fd(void)
{
	int fd = fcntl(files[0], F_DUPFD, 0);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mode;
	int fd, before;

	if (!thread)
		setup();
	if (!size)
		return 0;
	mode = *data++;
	size--;
	before = lowest_free_fd();
	fd = connect_to_front();
	if (mode & 3)
		command(fd, VFIO_USER_VERSION, &(struct vfio_user_version){ 0 },
			sizeof(struct vfio_user_version), -1);
	if (mode & 2)
		boot(fd, data, size);
	for (uint32_t n = 0; n < MAX_MSGS && size >= sizeof(struct record); n++) {
		struct record r;

		memcpy(&r, data, sizeof r);
		data += sizeof r;
		size -= sizeof r;
		if (r.len > size)
			r.len = (uint8_t)size;
		one_record(fd, &r, data);
		data += r.len;
		size -= r.len;
		serve(fd);
	}
	close(fd);
	for (uint32_t i = 0; front->conn || front->ndraining; i++) {
		check(i < PATIENCE, "a client that left is still there");
		plx_thread_poll(thread);
	}
	for (uint32_t i = 0; i < FILES; i++)
		check(!ftruncate(files[i], (off_t)file_len[i]), "ftruncate");
	check(lowest_free_fd() == before, "a file descriptor leaks");
	return 0;
}
