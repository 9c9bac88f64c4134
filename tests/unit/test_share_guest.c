/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest of a shared controller (driver/transport/shared.c), and what its owner may send it:
 * messages made by hand.
 */
#include "core/pci.h"
#include "driver/share.h"
#include "fake_pci.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEM_BYTES (64u << 10)
#define MEM_IOVA  0x100000u

static int owner, guest; /* ends of the connection; the second is the guest's to close */
static int bar;
static volatile uint32_t *registers; /* the device's */
static char *mem;
static int mem_file;
static struct plx_pcie_dev *dev;
static union share_msg heard;

/* ---- playing the owner ---- */

static void say(const void *m, size_t len, int file)
{
	cr_assert_eq(share_send(owner, m, len, file), 0);
}

static void say_bare(enum share_type type, uint32_t tag)
{
	struct share_hdr h = { .type = type, .tag = tag };

	say(&h, sizeof(h), -1);
}

static void say_mapped(uint32_t tag)
{
	struct share_mapped m = { .h = { .type = SHARE_MAP, .tag = tag },
				  .n = 1,
				  .extent[0] = { .len = MEM_BYTES, .iova = MEM_IOVA } };

	say(&m, offsetof(struct share_mapped, extent) + sizeof(m.extent[0]), -1);
}

/* Type of the next message, within five seconds; 0: there is none */
static uint32_t hear(bool wait)
{
	uint64_t end = plx_tsc() + (wait ? 5 * plx_tsc_hz() : 0);
	unsigned nfds;
	ssize_t n;
	int file;

	do {
		n = share_recv(owner, &heard, &file, &nfds);
	} while (n == -EAGAIN && plx_tsc() < end);
	if (n > 0 && file >= 0)
		close(file);
	return n > 0 ? heard.h.type : 0;
}

static struct plx_mem_region region(void)
{
	return (struct plx_mem_region){ .addr = mem, .len = MEM_BYTES, .fd = mem_file };
}

static void begin(void)
{
	struct share_welcome w = { .h = { .type = SHARE_HELLO, .tag = 1 },
				   .cap = 1023,
				   .vs = 0x20000,
				   .bar_len = 2 * PLX_PAGE_SIZE,
				   .queues = 4 };
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_PCIE, .traddr = "0000:00:00.0" };
	struct plx_env_opts env;
	struct plx_mem_region r;
	int ends[2];

	plx_env_opts_init(&env);
	env.mem_mb = 4;
	env.no_huge = true;
	cr_assert_eq(plx_env_init(&env), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
		     0);
	owner = ends[0];
	guest = ends[1];
	bar = memfd_create("bar", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(bar, 2 * PLX_PAGE_SIZE), 0);
	registers = mmap(NULL, PLX_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bar, 0);
	registers[NVME_REG_CC / 4] = registers[NVME_REG_CSTS / 4] = 1;
	mem_file = memfd_create("mem", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(mem_file, MEM_BYTES), 0);
	mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, mem_file, 0);
	/* it waits for the answers, which lie there already */
	say(&w, sizeof(w), bar);
	cr_assert_eq(share_open_guest(&trid, 7, guest, dup(bar), plx_tsc() + 5 * plx_tsc_hz(),
				      &dev),
		     0);
	cr_assert_eq(hear(false), SHARE_HELLO);
	say_mapped(2);
	r = region();
	cr_assert_eq(dev->ops->dma_map(dev, &r), 0);
	cr_assert_eq(hear(false), SHARE_MAP);
}

static void end(void)
{
	dev->ops->close(dev);
	if (owner >= 0)
		close(owner);
	munmap((void *)(uintptr_t)registers, PLX_PAGE_SIZE);
	munmap(mem, MEM_BYTES);
	close(mem_file);
	close(bar);
	plx_env_fini();
}

TestSuite(share_guest, .init = begin, .fini = end, .timeout = 30);

static uint32_t csts(void)
{
	return (uint32_t)dev->ops->reg_read(dev, NVME_REG_CSTS, 4);
}

/* As its driver does. Return: the tag of ENABLE */
static uint32_t enable(void)
{
	dev->ops->reg_write(dev, NVME_REG_AQA, 15 << 16 | 15, 4);
	dev->ops->reg_write(dev, NVME_REG_ASQ, MEM_IOVA, 8);
	dev->ops->reg_write(dev, NVME_REG_ACQ, MEM_IOVA + PLX_PAGE_SIZE, 8);
	dev->ops->reg_write(dev, NVME_REG_CC, 1, 4);
	cr_assert_eq(hear(false), SHARE_ENABLE);
	return heard.h.tag;
}

/* ---- resets by the owner ---- */

Test(share_guest, a_reset_takes_ready_away)
{
	say_bare(SHARE_ENABLE, enable());
	cr_assert_eq(csts() & 1, 1);
	say_bare(SHARE_RESET, 0);
	cr_expect_eq(csts() & 1, 0);
	cr_expect_eq(hear(false), 0, "disables by itself");
	dev->ops->reg_write(dev, NVME_REG_CC, 0, 4);
	cr_assert_eq(hear(false), SHARE_DISABLE);
	say_bare(SHARE_DISABLE, heard.h.tag);
	cr_expect_eq(csts() & 1, 0);
	say_bare(SHARE_ENABLE, enable());
	cr_expect_eq(csts() & 1, 1);
}

/* The driver waits for CSTS.RDY, and would for ever */
Test(share_guest, a_reset_before_ready_was_seen_is_gone_through_unseen)
{
	for (unsigned i = 0; i < 2; i++) {
		say_bare(SHARE_ENABLE, enable());
		say_bare(SHARE_RESET, 0);
		cr_expect_eq(csts() & 1, 0);
		cr_assert_eq(hear(false), SHARE_DISABLE);
		say_bare(SHARE_DISABLE, heard.h.tag);
		cr_expect_eq(csts() & 1, 0);
		cr_assert_eq(hear(false), SHARE_ENABLE);
		say_bare(SHARE_ENABLE, heard.h.tag);
		cr_expect_eq(csts() & 1, 1);
		/* what was seen before the next enable does not count then */
		dev->ops->reg_write(dev, NVME_REG_CC, 0, 4);
		cr_assert_eq(hear(false), SHARE_DISABLE);
		say_bare(SHARE_DISABLE, heard.h.tag);
		cr_expect_eq(csts() & 1, 0);
	}
}

Test(share_guest, a_driver_may_give_up_in_the_middle_of_that)
{
	say_bare(SHARE_ENABLE, enable());
	say_bare(SHARE_RESET, 0);
	csts();
	cr_assert_eq(hear(false), SHARE_DISABLE);
	dev->ops->reg_write(dev, NVME_REG_CC, 0, 4);
	cr_expect_eq(hear(false), 0, "disables what is being disabled");
	cr_expect_eq(csts() & 1, 1, "disabled before it was told so");
	say_bare(SHARE_DISABLE, heard.h.tag);
	cr_expect_eq(csts() & 1, 0);
	cr_expect_eq(hear(false), 0);
	say_bare(SHARE_ENABLE, enable());
	cr_expect_eq(csts() & 1, 1);
}

Test(share_guest, a_pause_of_the_device_shows)
{
	say_bare(SHARE_ENABLE, enable());
	cr_expect_not(NVME_CSTS_PP(csts()));
	registers[NVME_REG_CSTS / 4] |= 1u << NVME_CSTS_PP_SHIFT;
	cr_expect(NVME_CSTS_PP(csts()));
	cr_expect_eq(csts() & 1, 1);
}

/* ---- owners that are slow, talk without end, or make no sense ---- */

Test(share_guest, one_look_takes_so_many_messages)
{
	unsigned left = 0, nfds;
	union share_msg m;
	int file;

	for (unsigned i = 0; i < 200; i++)
		say_bare(SHARE_DISABLE, 0);
	csts();
	while (share_recv(guest, &m, &file, &nfds) > 0)
		left++;
	cr_expect(left >= 100 && left < 200, "%u are left", left);
}

/* Another connection, to be introduced by. Return: of share_open_guest() */
static int open_another(int ends[2], uint64_t deadline)
{
	struct plx_nvme_trid trid = { .trtype = PLX_NVME_TR_PCIE, .traddr = "0000:00:00.0" };
	struct plx_pcie_dev *other;

	return share_open_guest(&trid, 7, dup(ends[1]), dup(bar), deadline, &other);
}

static void connect_another(int ends[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
		     0);
}

Test(share_guest, one_answer_is_not_waited_for_beyond_its_time_whatever_comes)
{
	struct share_hdr h = { .type = SHARE_DISABLE };
	unsigned left = 0, nfds;
	union share_msg m;
	int ends[2], file;

	connect_another(ends);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(share_send(ends[0], &h, sizeof(h), -1), 0);
	cr_expect_eq(open_another(ends, plx_tsc()), -ETIMEDOUT);
	while (share_recv(ends[1], &m, &file, &nfds) > 0)
		left++;
	cr_expect(left > 50, "%u are left", left);
	close(ends[0]);
	close(ends[1]);
}

/* It has whoever connects begin anew, with another owner */
Test(share_guest, an_owner_cannot_say_that_another_is_to_be_tried)
{
	struct share_text t = { .h = { .type = SHARE_HELLO, .tag = 1, .rc = -EAGAIN },
				.text = "try again" };
	int ends[2];

	connect_another(ends);
	cr_assert_eq(share_send(ends[0], &t, sizeof(t), -1), 0);
	cr_expect_eq(open_another(ends, plx_tsc() + 5 * plx_tsc_hz()), -EIO);
	close(ends[0]);
	close(ends[1]);
}

Test(share_guest, an_owner_that_makes_no_sense_is_not_tried_again)
{
	struct share_hdr h = { .type = SHARE_HELLO, .tag = 1 };
	int ends[2];

	connect_another(ends);
	cr_assert_eq(share_send(ends[0], &h, sizeof(h), -1), 0);
	cr_expect_eq(open_another(ends, plx_tsc() + 5 * plx_tsc_hz()), -EPROTO);
	close(ends[0]);
	close(ends[1]);
}

/* ... but one that has gone does not keep it from doing so */
Test(share_guest, an_owner_that_ends_meanwhile_is_told_from_others)
{
	int ends[2];

	connect_another(ends);
	close(ends[0]);
	cr_expect_eq(open_another(ends, plx_tsc() + 5 * plx_tsc_hz()), -EAGAIN);
	close(ends[1]);
}

/* Each region would be waited for as long */
Test(share_guest, who_does_not_answer_is_not_asked_to_unmap)
{
	struct plx_mem_region r = region();
	char *more = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, mem_file, 0);
	struct plx_mem_region second = { .addr = more, .len = MEM_BYTES, .fd = mem_file };

	say_mapped(3);
	cr_assert_eq(dev->ops->dma_map(dev, &second), 0);
	cr_assert_eq(hear(false), SHARE_MAP);
	cr_assert_eq(dev->ops->dma_map(dev, &r), -ETIMEDOUT);
	cr_assert_eq(hear(false), SHARE_MAP);
	dev->ops->dma_unmap(dev, &second);
	cr_expect_eq(hear(false), 0, "asked");
	/* it was stopped, and goes on */
	say_bare(SHARE_DISABLE, 0);
	csts();
	say_bare(SHARE_UNMAP, heard.h.tag + 1);
	dev->ops->dma_unmap(dev, &r);
	cr_expect_eq(hear(false), SHARE_UNMAP);
	munmap(more, MEM_BYTES);
}

static void *map_again(void *arg)
{
	struct plx_mem_region r = region();

	*(int *)arg = dev->ops->dma_map(dev, &r);
	return NULL;
}

/* ... else all that it does would wait as long as its thread that registers memory */
Test(share_guest, polls_do_not_wait_for_answers)
{
	pthread_t thread;
	uint32_t value;
	int rc = 1;

	say_bare(SHARE_ENABLE, enable());
	csts();
	cr_assert_not_null(dev->ops->watch);
	cr_expect(dev->ops->watch(dev, &value) && value & 1);
	cr_assert_eq(pthread_create(&thread, NULL, map_again, &rc), 0);
	cr_assert_eq(hear(true), SHARE_MAP, "type %u", heard.h.type);
	cr_expect_not(dev->ops->watch(dev, &value));
	dev->ops->poll(dev);
	say_mapped(heard.h.tag);
	pthread_join(thread, NULL);
	cr_expect_eq(rc, 0);
}

Test(share_guest, who_is_shut_out_leaves_the_device_alone)
{
	struct share_text t = { .h.type = SHARE_GONE, .text = "has shut it out" };

	say_bare(SHARE_ENABLE, enable());
	say(&t, sizeof(t), -1);
	say_bare(SHARE_QUIET, 0);
	/* with a message that it has not read, which is told of before what it has sent */
	dev->ops->reg_write(dev, NVME_REG_CC, 0, 4);
	close(owner);
	owner = -1;
	csts();
	cr_expect(atomic_load(&dev->cut_off));
	cr_expect_eq(registers[NVME_REG_CC / 4], 1);
}

Test(share_guest, a_killed_owners_device_is_disabled)
{
	say_bare(SHARE_ENABLE, enable());
	close(owner);
	owner = -1;
	csts();
	cr_expect_eq(registers[NVME_REG_CC / 4] & 1, 0);
}

/* Without an IOMMU nothing else keeps it from memory that the driver frees now */
Test(share_guest, a_killed_owners_device_that_goes_on_is_kept_from_memory)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	uint64_t end = plx_tsc() + 10 * plx_tsc_hz();
	char path[200];
	int config;

	fake_pci_start();
	fake_pci_put("/sys/bus/pci/devices/0000:00:00.0/config", "");
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/0000:00:00.0/config", plx_pci_root());
	config = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_eq(ftruncate(config, 256), 0);
	cr_assert_eq(pwrite(config, &command, sizeof(command), PCI_COMMAND), sizeof(command));
	say_bare(SHARE_ENABLE, enable());
	close(owner);
	owner = -1;
	while (!atomic_load(&dev->cut_off) && plx_tsc() < end)
		csts();
	cr_expect(atomic_load(&dev->cut_off));
	cr_assert_eq(pread(config, &command, sizeof(command), PCI_COMMAND), sizeof(command));
	cr_expect_eq(command, PCI_COMMAND_MEMORY);
	close(config);
	fake_pci_stop();
}

/* ---- memory ---- */

/* The owner refuses what is not there */
Test(share_guest, memory_comes_in_before_it_is_shared)
{
	struct stat st;

	cr_assert_eq(fstat(mem_file, &st), 0);
	cr_expect_geq(st.st_blocks * 512, MEM_BYTES);
}

Test(share_guest, errors_are_ones_that_there_are)
{
	static const int32_t wrong[] = { 1, INT32_MAX, INT32_MIN, -4096 };
	union share_msg m = { .mapped = { .h.type = SHARE_MAP } };
	size_t len = offsetof(struct share_mapped, extent);
	char err[160];

	m.h.rc = -ENOMEM;
	cr_expect_eq(share_check_answer(&m, len, 0, err, sizeof(err)), 0);
	for (unsigned i = 0; i < PLX_ARRAY_SIZE(wrong); i++) {
		m.h.rc = wrong[i];
		cr_expect_eq(share_check_answer(&m, len, 0, err, sizeof(err)), -EPROTO);
	}
}
