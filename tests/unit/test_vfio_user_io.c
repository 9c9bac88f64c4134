/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the vfio-user front end with a guest that does I/O: memory, queues, interrupts, and
 * what happens to them when the client takes memory back, truncates its file or goes away
 */
#include "core/fault.h"
#include "tests/unit/vfio_user_peer.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BAR0	VFIO_PCI_BAR0_REGION_INDEX
#define CONFIG	VFIO_PCI_CONFIG_REGION_INDEX
#define RW	(VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITEABLE)
#define MSIX	VFIO_PCI_MSIX_IRQ_INDEX
#define INTX	VFIO_PCI_INTX_IRQ_INDEX
#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define MASK	VFIO_IRQ_SET_ACTION_MASK
#define UNMASK	VFIO_IRQ_SET_ACTION_UNMASK
#define NONE	VFIO_IRQ_SET_DATA_NONE
#define BOOL	VFIO_IRQ_SET_DATA_BOOL
#define EVENTFD VFIO_IRQ_SET_DATA_EVENTFD

/* The guest's memory: queues in one region, data in another, each a file of its own */
#define QUEUES	0x100000000ull
#define DATA	0x40000000ull
#define REGION	(1u << 20)
#define ASQ	0u /* offsets in QUEUES */
#define ACQ	0x1000u
#define SQ	0x2000u
#define CQ	0x3000u
#define ENTRIES 16u
#define READS	(1u << PLX_BDEV_READ)

static struct peer_server s;
static struct peer p;
static int queues_fd = -1, data_fd = -1, db_fd = -1;
static char *queues, *data;
static volatile uint32_t *db; /* NULL: doorbells are rung by message */
static uint32_t stride;
static struct {
	uint16_t tail, head, phase;
} q[2];

static void start_with(const struct peer_server_opts *o)
{
	cr_assert_eq(peer_server_init(&s, o), 0);
}

static void start(void)
{
	start_with(&(struct peer_server_opts){ 0 });
}

static void start_trapped(void)
{
	start_with(&(struct peer_server_opts){ .trap_doorbells = true });
}

static void start_error(void)
{
	start_with(&(struct peer_server_opts){ .error = true });
}

static void stop(void)
{
	peer_close(&p);
	peer_server_fini(&s);
}

TestSuite(vfio_user_io, .init = start, .fini = stop);
TestSuite(vfio_user_io_trap, .init = start_trapped, .fini = stop);
TestSuite(vfio_user_hang, .init = start_error, .fini = stop);

static char *share(int *fd, size_t len)
{
	char *va;

	*fd = peer_memfd(len);
	va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	cr_assert_neq((void *)va, MAP_FAILED);
	return va;
}

/* ---- memory that is not shared: the client answers for it ---- */

static bool answering;
static int answer_error; /* errno of every answer, or 0 */
static uint32_t asked;

static char *at(uint64_t address, uint64_t len)
{
	if (address - DATA < REGION && len <= REGION - (address - DATA))
		return data + (address - DATA);
	if (address - QUEUES < REGION && len <= REGION - (address - QUEUES))
		return queues + (address - QUEUES);
	return NULL;
}

static void answer_one(void)
{
	struct vfio_user_dma_rw *rw = (void *)p.data;
	bool read = p.hdr.command == VFIO_USER_DMA_READ;
	uint32_t id = p.id;
	char *mem;

	cr_assert_eq(p.hdr.flags & VFIO_USER_TYPE_MASK, VFIO_USER_TYPE_COMMAND);
	cr_assert(read || p.hdr.command == VFIO_USER_DMA_WRITE);
	mem = at(rw->address, rw->count);
	cr_assert_not_null(mem, "0x%lx is not the guest's", (unsigned long)rw->address);
	asked++;
	p.id = p.hdr.id - 1; /* the reply has the command's */
	if (answer_error) {
		struct vfio_user_hdr h = { .id = p.hdr.id,
					   .command = p.hdr.command,
					   .size = sizeof h,
					   .flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR,
					   .error = (uint32_t)answer_error };

		cr_assert_eq(write(p.fd, &h, sizeof h), (ssize_t)sizeof h);
	} else if (read) {
		memcpy(rw + 1, mem, rw->count);
		peer_send(&p, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, rw,
			  (uint32_t)(sizeof *rw + rw->count), NULL, 0);
	} else {
		memcpy(mem, rw + 1, rw->count);
		peer_send(&p, VFIO_USER_DMA_WRITE, VFIO_USER_TYPE_REPLY, rw, 12, NULL, 0);
	}
	p.id = (uint16_t)id;
}

static void answer(void)
{
	struct pollfd f = { .fd = p.fd, .events = POLLIN };

	while (answering && poll(&f, 1, 0) == 1) {
		cr_assert_eq(peer_recv(&p), 0);
		answer_one();
	}
}

/* ---- the guest ---- */

static void ring(uint32_t index, uint32_t value)
{
	if (db)
		__atomic_store_n(&db[index * stride / 4], value, __ATOMIC_RELEASE);
	else
		cr_assert_eq(peer_write_reg(&p, BAR0, 0x1000 + index * stride, value, 4), 0);
}

static struct plx_nvme_cpl *next_cpl(uint32_t qid)
{
	return (struct plx_nvme_cpl *)(queues + (qid ? CQ : ACQ)) + q[qid].head;
}

static bool has_cpl(void *arg)
{
	uint32_t qid = *(uint32_t *)arg;

	answer();
	return (__atomic_load_n(&next_cpl(qid)->status, __ATOMIC_ACQUIRE) & 1) == q[qid].phase;
}

static void submit(uint32_t qid, const struct plx_nvme_cmd *cmd)
{
	memcpy((struct plx_nvme_cmd *)(queues + (qid ? SQ : ASQ)) + q[qid].tail, cmd, sizeof *cmd);
	q[qid].tail = (q[qid].tail + 1) % ENTRIES;
	ring(2 * qid, q[qid].tail);
}

/* Return: status of the next completion; 0xffff: none came */
static uint16_t reap(uint32_t qid)
{
	uint16_t st;

	if (!peer_poll(&s, has_cpl, &qid))
		return 0xffff;
	st = PLX_NVME_ST_CODE(next_cpl(qid)->status >> 1);
	q[qid].head = (q[qid].head + 1) % ENTRIES;
	q[qid].phase ^= !q[qid].head;
	ring(2 * qid + 1, q[qid].head);
	return st;
}

static uint16_t run(uint32_t qid, const struct plx_nvme_cmd *cmd)
{
	submit(qid, cmd);
	return reap(qid);
}

static bool is_ready(void *arg)
{
	return peer_read_reg(&p, BAR0, NVME_REG_CSTS, 4) & 3;
}

static uint16_t create_queue(uint16_t vector)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_create_cq,
				    .prp1 = QUEUES + CQ,
				    .cdw10 = 1 | (ENTRIES - 1) << 16,
				    .cdw11 = 3 | (uint32_t)vector << 16 };
	uint16_t st = run(0, &cmd);

	cmd.opc = nvme_admin_create_sq;
	cmd.prp1 = QUEUES + SQ;
	cmd.cdw11 = 1 | 1 << 16;
	return st ? st : run(0, &cmd);
}

static void enable(void)
{
	memset(queues, 0, REGION);
	memset(q, 0, sizeof q);
	q[0].phase = q[1].phase = 1;
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_AQA, (ENTRIES - 1) * 0x10001, 4), 0);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_ASQ, QUEUES + ASQ, 8), 0);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_ACQ, QUEUES + ACQ, 8), 0);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_CC, 0x460001, 4), 0);
	cr_assert(peer_poll(&s, is_ready, NULL));
	cr_assert_eq(peer_read_reg(&p, BAR0, NVME_REG_CSTS, 4), 1);
	cr_assert_eq(create_queue(1), 0);
}

static void map_doorbells(void)
{
	struct vfio_region_info in = { .argsz = 64 };

	cr_assert_eq(peer_call(&p, VFIO_USER_DEVICE_GET_REGION_INFO, &in, sizeof in, NULL, 0), 0);
	stride = 4u << (peer_read_reg(&p, BAR0, NVME_REG_CAP, 8) >> 32 & 0xf);
	if (stride == 4)
		return;
	peer_call(&p, VFIO_USER_DEVICE_GET_REGION_INFO, &in, sizeof in, NULL, 0);
	db_fd = p.fds[0];
	db = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, db_fd, 0x1000);
	cr_assert_neq((void *)db, MAP_FAILED);
}

static void boot_sharing(bool share_queues, bool share_data)
{
	cr_assert_eq(peer_start(&p, &s), 0);
	if (!queues)
		queues = share(&queues_fd, REGION);
	if (!data)
		data = share(&data_fd, REGION);
	cr_assert_eq(peer_map(&p, QUEUES, REGION, RW, share_queues ? queues_fd : -1, 0), 0);
	cr_assert_eq(peer_map(&p, DATA, REGION, RW, share_data ? data_fd : -1, 0), 0);
	answering = !share_queues || !share_data;
	map_doorbells();
	enable();
}

static void boot(void)
{
	boot_sharing(true, true);
}

static struct plx_nvme_cmd rw(uint8_t opc, uint64_t iova)
{
	return (struct plx_nvme_cmd){ .opc = opc, .nsid = 1, .slba = 3, .prp1 = iova };
}

static uint16_t io(uint8_t opc, uint64_t iova)
{
	struct plx_nvme_cmd cmd = rw(opc, iova);

	return run(1, &cmd);
}

/* A block written and read back elsewhere */
static void check_io(void)
{
	memset(data, 0x5a, 512);
	memset(data + 4096, 0, 512);
	cr_assert_eq(io(nvme_cmd_write, DATA), 0);
	cr_assert_eq(io(nvme_cmd_read, DATA + 4096), 0);
	cr_assert_eq(memcmp(data, data + 4096, 512), 0);
}

static bool signalled(int fd)
{
	struct pollfd f = { .fd = fd, .events = POLLIN };
	uint64_t n;

	return poll(&f, 1, 0) == 1 && read(fd, &n, sizeof n) == sizeof n;
}

static bool is_signalled(void *arg)
{
	return signalled(*(int *)arg);
}

/* ---- I/O ---- */

Test(vfio_user_io, reads_and_writes_guest_memory)
{
	boot();
	for (int i = 0; i < 40; i++)
		check_io();
	cr_expect_eq(peer_stats(&s).io_commands, 80);
	cr_expect_eq(peer_stats(&s).admin_commands, 2);
	cr_expect_eq(peer_stats(&s).io_queues, 1);
	cr_expect_eq(peer_stats(&s).dma_bytes, 2 * REGION);
}

Test(vfio_user_io_trap, doorbells_by_message_work)
{
	boot();
	cr_assert_null((void *)db);
	check_io();
}

Test(vfio_user_io_trap, doorbell_buffer_config_spares_messages)
{
	struct plx_nvme_cmd cmd = { .opc = nvme_admin_identify, .prp1 = DATA, .cdw10 = 1 };
	uint32_t *shadow;
	struct plx_nvme_cpl *cpl;
	uint64_t before;
	uint32_t one = 1;

	boot();
	shadow = (uint32_t *)(data + 0x10000);
	cr_assert_eq(run(0, &cmd), 0);
	cr_assert(((struct nvme_id_ctrl *)data)->oacs & NVME_CTRL_OACS_DBBUF_CFG);
	cmd = (struct plx_nvme_cmd){ .opc = nvme_admin_dbbuf,
				     .prp1 = DATA + 0x10000,
				     .prp2 = DATA + 0x11000 };
	cr_assert_eq(run(0, &cmd), 0);
	before = peer_stats(&s).messages;
	cmd = rw(nvme_cmd_read, DATA);
	memcpy(queues + SQ, &cmd, sizeof cmd);
	cpl = next_cpl(1);
	__atomic_store_n(&shadow[2], 1, __ATOMIC_RELEASE);
	cr_assert(peer_poll(&s, has_cpl, &one));
	cr_expect_eq(PLX_NVME_ST_CODE(cpl->status >> 1), 0);
	cr_expect_eq(peer_stats(&s).messages, before);
}

/* ---- interrupts ---- */

static int efd(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

Test(vfio_user_io, msix_vectors_are_signalled)
{
	int fds[9], *one = &fds[1];

	boot();
	for (int i = 0; i < 9; i++)
		fds[i] = efd();
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 0, 9, NULL, fds, 9), 0);
	peer_idle(&s);
	for (int i = 0; i < 9; i++)
		signalled(fds[i]);
	for (int i = 0; i < 40; i++) {
		cr_assert_eq(io(nvme_cmd_read, DATA), 0);
		cr_assert(peer_poll(&s, is_signalled, one), "%d", i);
	}
	for (int i = 0; i < 9; i++)
		cr_expect_not(signalled(fds[i]), "vector %d", i);
	cr_assert_eq(create_queue(0), NVME_SC_QID_INVALID | 0x100);
	cr_assert(peer_poll(&s, is_signalled, &fds[0]));
	/* masked: pending until unmasked */
	cr_assert_eq(peer_set_irqs(&p, NONE | MASK, MSIX, 1, 1, NULL, NULL, 0), 0);
	cr_assert_eq(io(nvme_cmd_read, DATA), 0);
	peer_idle(&s);
	cr_expect_not(signalled(*one));
	cr_expect_eq(peer_read_reg(&p, 4, 0x1000, 8), 2);
	cr_assert_eq(peer_set_irqs(&p, NONE | UNMASK, MSIX, 1, 1, NULL, NULL, 0), 0);
	cr_expect(signalled(*one));
	cr_expect_eq(peer_read_reg(&p, 4, 0x1000, 8), 0);
	/* off, one and all */
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 1, 1, NULL, NULL, 0), 0);
	cr_assert_eq(io(nvme_cmd_read, DATA), 0);
	peer_idle(&s);
	cr_expect_not(signalled(*one));
	cr_assert_eq(peer_set_irqs(&p, NONE | TRIGGER, MSIX, 0, 0, NULL, NULL, 0), 0);
	cr_assert_eq(create_queue(0), NVME_SC_QID_INVALID | 0x100);
	peer_idle(&s);
	cr_expect_not(signalled(fds[0]));
}

Test(vfio_user_io, triggers_and_events_of_a_mask)
{
	static const uint8_t second[3] = { 0, 1, 0 };
	int fds[3] = { efd(), efd(), efd() }, mask = efd(), unmask = efd();

	cr_assert_eq(peer_start(&p, &s), 0);
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 2, 3, NULL, fds, 3), 0);
	cr_assert_eq(peer_set_irqs(&p, BOOL | TRIGGER, MSIX, 2, 3, second, NULL, 0), 0);
	cr_expect_not(signalled(fds[0]));
	cr_expect(signalled(fds[1]));
	cr_expect_not(signalled(fds[2]));
	cr_assert_eq(peer_set_irqs(&p, NONE | TRIGGER, MSIX, 2, 3, NULL, NULL, 0), 0);
	cr_expect(signalled(fds[0]) && signalled(fds[1]) && signalled(fds[2]));
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | MASK, MSIX, 3, 1, NULL, &mask, 1), 0);
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | UNMASK, MSIX, 3, 1, NULL, &unmask, 1), 0);
	cr_assert_eq(peer_set_irqs(&p, BOOL | MASK, MSIX, 2, 3, second, NULL, 0), 0);
	cr_expect(signalled(mask) && !signalled(unmask));
	cr_assert_eq(peer_set_irqs(&p, NONE | UNMASK, MSIX, 2, 3, NULL, NULL, 0), 0);
	cr_expect(!signalled(mask) && signalled(unmask));
}

Test(vfio_user_io, intx_is_a_level_that_masks_itself)
{
	int fd = efd();

	boot();
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, INTX, 0, 1, NULL, &fd, 1), 0);
	peer_idle(&s);
	cr_expect_not(signalled(fd), "nothing is pending");
	submit(1, &(struct plx_nvme_cmd){ .opc = nvme_cmd_flush, .nsid = 1 });
	cr_assert(peer_poll(&s, is_signalled, &fd));
	cr_expect(peer_read_reg(&p, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	peer_idle(&s);
	cr_expect_not(signalled(fd), "masked");
	cr_assert_eq(peer_set_irqs(&p, NONE | UNMASK, INTX, 0, 1, NULL, NULL, 0), 0);
	cr_assert(peer_poll(&s, is_signalled, &fd), "still asserted");
	cr_assert_eq(reap(1), 0);
	cr_expect_not(peer_read_reg(&p, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	cr_assert_eq(peer_set_irqs(&p, NONE | UNMASK, INTX, 0, 1, NULL, NULL, 0), 0);
	peer_idle(&s);
	cr_expect_not(signalled(fd));
	/* INTMS, then the command register, hold it back */
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_INTMS, 1, 4), 0);
	submit(1, &(struct plx_nvme_cmd){ .opc = nvme_cmd_flush, .nsid = 1 });
	peer_idle(&s);
	cr_expect_not(signalled(fd));
	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2), 0);
	cr_assert_eq(peer_write_reg(&p, BAR0, NVME_REG_INTMC, 1, 4), 0);
	peer_idle(&s);
	cr_expect_not(signalled(fd));
	cr_assert_eq(peer_write_reg(&p, CONFIG, PCI_COMMAND, 0, 2), 0);
	cr_assert(peer_poll(&s, is_signalled, &fd));
}

Test(vfio_user_io, wrong_interrupt_settings_are_refused)
{
	int fds[2] = { efd(), efd() }, pipes[2];
	uint8_t bools[9] = { 1 };
	struct vfio_irq_set in = {
		.argsz = sizeof in, .flags = BOOL | MASK, .index = MSIX, .count = 5
	};

	cr_assert_eq(peer_start(&p, &s), 0);
	cr_assert_eq(pipe(pipes), 0);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 0, 3, NULL, fds, 2), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 8, 2, NULL, fds, 2), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, UINT32_MAX, 2, NULL, fds, 2),
		     -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, INTX, 0, 2, NULL, fds, 2), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, NULL, fds,
				   1),
		     -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 0, 1, NULL, &pipes[1], 1), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | TRIGGER | MASK, MSIX, 0, 1, NULL, fds, 1),
		     -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | NONE | TRIGGER, MSIX, 0, 1, NULL, fds, 1),
		     -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, EVENTFD | UNMASK, INTX, 0, 1, NULL, fds, 1), -ENOTSUP);
	cr_expect_eq(peer_set_irqs(&p, TRIGGER, MSIX, 0, 1, NULL, NULL, 0), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, NONE, MSIX, 0, 1, NULL, NULL, 0), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, NONE | TRIGGER, MSIX, 0, 1, NULL, fds, 1), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, NONE | TRIGGER, MSIX, 1, 0, NULL, NULL, 0), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, BOOL | MASK, MSIX, 1, 9, bools, NULL, 0), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, NONE | TRIGGER, 5, 0, 0, NULL, NULL, 0), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_SET_IRQS, &in, sizeof in, NULL, 0), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_DEVICE_SET_IRQS, &in, 12, NULL, 0), -EINVAL);
	cr_expect_eq(peer_set_irqs(&p, NONE | TRIGGER, VFIO_PCI_MSI_IRQ_INDEX, 0, 0, NULL, NULL, 0),
		     0);
}

Test(vfio_user_io, an_eventfd_that_is_full_blocks_nobody)
{
	uint64_t full = UINT64_MAX - 1;
	int fd = efd();

	boot();
	cr_assert_eq(write(fd, &full, sizeof full), (ssize_t)sizeof full);
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 1, 1, NULL, &fd, 1), 0);
	check_io();
	check_io();
}

/* ---- memory ---- */

Test(vfio_user_io, map_checks_what_it_is_given)
{
	int fd = peer_memfd(0x3000), pipes[2], both[2];
	struct vfio_user_dma_map m = { .argsz = sizeof m, .flags = RW, .size = 0x1000 };
	struct vfio_user_dma_unmap u = { .argsz = sizeof u, .size = 0x1000 };

	cr_assert_eq(peer_start(&p, &s), 0);
	cr_assert_eq(pipe(pipes), 0);
	both[0] = both[1] = fd;
	cr_expect_eq(peer_map(&p, 0x1000, 0x4000, RW, fd, 0), -EINVAL, "longer than the file");
	cr_expect_eq(peer_map(&p, 0x1000, 0x1000, RW, fd, 0x3000), -EINVAL);
	cr_expect_eq(peer_map(&p, 0x1000, 0x1000, RW, fd, UINT64_MAX - 0xfff), -EINVAL);
	cr_expect_eq(peer_map(&p, 0x1000, 0, RW, fd, 0), -EINVAL);
	cr_expect_eq(peer_map(&p, 0x1200, 0x1000, RW, fd, 0), -EINVAL);
	cr_expect_eq(peer_map(&p, UINT64_MAX - 0xfff, 0x2000, RW, fd, 0), -EINVAL);
	cr_expect_eq(peer_map(&p, 0x1000, 0x1000, 0, fd, 0), -EINVAL);
	cr_expect_eq(peer_map(&p, 0x1000, 0x1000, 7, fd, 0), -EINVAL);
	cr_expect_eq(peer_map(&p, 0x1000, 0x1000, RW, pipes[0], 0), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_DMA_MAP, &m, sizeof m, both, 2), -EINVAL);
	cr_expect_eq(peer_call(&p, VFIO_USER_DMA_MAP, &m, 24, &fd, 1), -EINVAL);
	cr_expect_eq(peer_map(&p, 0x1000, 0x2000, RW, fd, 0x1000), 0);
	cr_expect_eq(peer_map(&p, 0, 0x2000, RW, fd, 0), -EEXIST);
	cr_expect_eq(peer_map(&p, 0x2000, 0x1000, RW, fd, 0), -EEXIST);
	cr_expect_eq(peer_map(&p, 0x3000, 0x1000, RW, fd, 0), 0);
	cr_expect_eq(peer_stats(&s).dma_bytes, 0x3000);
	cr_expect_eq(peer_unmap(&p, 0x1000, 0x1000), -EINVAL, "part of a mapping");
	cr_expect_eq(peer_unmap(&p, 0x1000, 0x2800), -EINVAL, "one and a half");
	cr_expect_eq(peer_unmap(&p, 0x1000, 0x3000), 0, "two mappings");
	cr_expect_eq(peer_stats(&s).dma_bytes, 0);
	cr_expect_eq(peer_map(&p, 0x1000, 0x2000, RW, fd, 0x1000), 0);
	cr_expect_eq(peer_map(&p, 0x3000, 0x1000, RW, fd, 0), 0);
	cr_expect_eq(peer_unmap(&p, 0x8000, 0x1000), -ENOENT);
	u.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	cr_expect_eq(peer_call(&p, VFIO_USER_DMA_UNMAP, &u, sizeof u, NULL, 0), -ENOTSUP);
	cr_expect_eq(peer_unmap(&p, 0x1000, 0x2000), 0);
	cr_expect_eq(p.len, sizeof u);
	cr_expect_eq(((struct vfio_user_dma_unmap *)p.data)->address, 0x1000);
	cr_expect_eq(((struct vfio_user_dma_unmap *)p.data)->size, 0x2000);
	cr_expect_eq(peer_unmap(&p, 0x1000, 0x2000), -ENOENT);
	cr_expect_eq(peer_map(&p, 0x1000, 0x2000, RW, fd, 0), 0);
	u.flags = VFIO_DMA_UNMAP_FLAG_ALL;
	u.size = 0;
	cr_expect_eq(peer_call(&p, VFIO_USER_DMA_UNMAP, &u, sizeof u, NULL, 0), 0);
	cr_expect_eq(peer_stats(&s).dma_bytes, 0);
	cr_expect_eq(peer_map(&p, 0, 0x3000, RW, fd, 0), 0);
}

/* A queue is contiguous for the host, whatever its memory consists of here */
static char *map_page_by_page(uint64_t iova, uint32_t pages)
{
	char *view = mmap(NULL, pages * 4096ul, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq((void *)view, MAP_FAILED);
	/* the odd ones first, each a file of its own */
	for (uint32_t k = 0; k < pages; k++) {
		uint32_t i = k < pages / 2 ? 2 * k + 1 : 2 * (k - pages / 2);
		int fd = peer_memfd(4096);

		cr_assert_neq(mmap(view + i * 4096ul, 4096, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, fd, 0),
			      MAP_FAILED);
		cr_assert_eq(peer_map(&p, iova + i * 4096ull, 4096, RW, fd, 0), 0);
		close(fd);
	}
	return view;
}

static bool has_phase(void *arg)
{
	return __atomic_load_n(&((struct plx_nvme_cpl *)arg)->status, __ATOMIC_ACQUIRE) & 1;
}

Test(vfio_user_io, a_queue_crosses_from_one_mapping_to_the_next)
{
	const uint64_t at = 0x7ffffe000ull; /* and crosses no less where it is a round number */
	struct plx_nvme_cmd cmd = {
		.opc = nvme_admin_create_cq, .prp1 = at, .cdw10 = 2 | 511 << 16, .cdw11 = 1
	};
	struct plx_nvme_cmd flush = { .opc = nvme_cmd_flush, .nsid = 1 };
	char *view;

	boot();
	view = map_page_by_page(at, 4);
	cr_assert_eq(run(0, &cmd), 0);
	cmd = (struct plx_nvme_cmd){ .opc = nvme_admin_create_sq,
				     .prp1 = at + 0x2000,
				     .cdw10 = 2 | 127 << 16,
				     .cdw11 = 1 | 2 << 16 };
	cr_assert_eq(run(0, &cmd), 0);
	for (uint32_t i = 0; i < 300; i++) {
		struct plx_nvme_cpl *cpl = (struct plx_nvme_cpl *)view + i;

		flush.cid = (uint16_t)i;
		memcpy((struct plx_nvme_cmd *)(view + 0x2000) + i % 128, &flush, sizeof flush);
		ring(4, (i + 1) % 128);
		cr_assert(peer_poll(&s, has_phase, cpl), "command %u", i);
		cr_assert_eq(cpl->status, 1);
		cr_assert_eq(cpl->cid, i);
	}
	munmap(view, 4 * 4096);
}

Test(vfio_user_io, a_full_table_says_so)
{
	int fd = peer_memfd(0x1000);

	cr_assert_eq(peer_start(&p, &s), 0);
	for (uint64_t i = 0; i < NVMF_MAX_REGIONS; i++)
		cr_assert_eq(peer_map(&p, i * 0x2000, 0x1000, RW, fd, 0), 0);
	cr_expect_eq(peer_map(&p, NVMF_MAX_REGIONS * 0x2000ull, 0x1000, RW, fd, 0), -ENOSPC);
	cr_expect_eq(peer_unmap(&p, 0x4000, 0x1000), 0);
	cr_expect_eq(peer_map(&p, NVMF_MAX_REGIONS * 0x2000ull, 0x1000, RW, fd, 0), 0);
}

Test(vfio_user_io, memory_that_is_read_only_stays_so)
{
	int fd = peer_memfd(0x1000);

	boot();
	cr_assert_eq(peer_map(&p, 0x1000, 0x1000, VFIO_USER_DMA_READABLE, fd, 0), 0);
	check_io();
	cr_expect_eq(io(nvme_cmd_write, 0x1000), 0);
	cr_expect_eq(io(nvme_cmd_read, 0x1000), NVME_SC_DATA_XFER_ERROR);
	check_io();
}

Test(vfio_user_io, memory_moves_while_io_goes_on_elsewhere)
{
	int fd = peer_memfd(0x20000);

	boot();
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(peer_map(&p, 0xc0000, 0x8000, i & 1 ? RW : 1, fd, 0x8000), 0);
		check_io();
		cr_assert_eq(peer_unmap(&p, 0xc0000, 0x8000), 0);
		cr_assert_eq(io(nvme_cmd_write, 0xc0000), NVME_SC_DATA_XFER_ERROR);
	}
	/* the data region comes back in another place of the file */
	cr_assert_eq(peer_unmap(&p, DATA, REGION), 0);
	cr_assert_eq(io(nvme_cmd_write, DATA), NVME_SC_DATA_XFER_ERROR);
	cr_assert_eq(peer_map(&p, DATA, REGION / 2, RW, data_fd, REGION / 2), 0);
	memset(data + REGION / 2, 0x77, 512);
	cr_assert_eq(io(nvme_cmd_write, DATA), 0);
	memset(data + REGION / 2, 0, 512);
	cr_assert_eq(io(nvme_cmd_read, DATA), 0);
	cr_expect_eq(data[REGION / 2], 0x77);
}

/* As a guest's memory moves: at each place of the rings, from another file, by messages and back */
Test(vfio_user_io, queues_may_be_mapped_again_while_idle)
{
	int fd[2] = { -1, peer_memfd(REGION) };

	boot();
	fd[0] = queues_fd;
	answering = true;
	for (uint32_t turn = 0; turn < 3 * ENTRIES; turn++) {
		bool by_messages = turn % 5 == 4;
		char *next =
			mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fd[turn % 2], 0);

		cr_assert_neq((void *)next, MAP_FAILED);
		cr_assert_eq(io(nvme_cmd_write, DATA), 0);
		cr_assert_eq(peer_unmap(&p, QUEUES, REGION), 0);
		peer_idle(&s);
		cr_assert_eq(peer_read_reg(&p, BAR0, NVME_REG_CSTS, 4), 1);
		if (next != queues)
			memmove(next, queues, REGION);
		munmap(queues, REGION);
		queues = next;
		cr_assert_eq(peer_map(&p, QUEUES, REGION, RW, by_messages ? -1 : fd[turn % 2], 0),
			     0);
	}
	answering = false;
	check_io();
	close(fd[1]);
}

static bool is_fatal(void *arg)
{
	return peer_read_reg(&p, BAR0, NVME_REG_CSTS, 4) == 3;
}

Test(vfio_user_io, using_a_queue_that_was_taken_away_is_fatal_until_reset)
{
	boot();
	cr_assert_eq(peer_unmap(&p, QUEUES, REGION), 0);
	ring(2, 5);
	cr_assert(peer_poll(&s, is_fatal, NULL));
	cr_assert_eq(peer_map(&p, QUEUES, REGION, RW, queues_fd, 0), 0);
	peer_idle(&s);
	cr_assert(is_fatal(NULL));
	cr_assert_eq(peer_call(&p, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0), 0);
	cr_expect_eq(peer_read_reg(&p, BAR0, NVME_REG_CSTS, 4), 0);
	enable();
	check_io();
}

Test(vfio_user_io, unmap_does_not_wait_for_completions_to_be_taken)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, DATA);

	boot();
	/* more than the completion queue holds, and none of them taken */
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < ENTRIES - 1; i++)
			submit(1, &cmd);
		peer_idle(&s);
	}
	cr_assert_eq(peer_unmap(&p, DATA, REGION), 0);
	cr_assert_eq(peer_map(&p, DATA, REGION, RW, data_fd, 0), 0);
	for (uint32_t i = 0; i < 2 * (ENTRIES - 1); i++)
		cr_assert_eq(reap(1), 0);
	check_io();
}

static void hang(enum plx_bdev_error_kind kind)
{
	struct plx_bdev_error_rule r = { .kind = kind, .types = READS, .nth = 1 };

	cr_assert_eq(plx_bdev_error_inject("peer0", &r), 0);
}

Test(vfio_user_hang, unmap_waits_for_commands_and_those_behind_it_for_the_unmap)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, DATA);
	struct vfio_user_dma_unmap u = { .argsz = sizeof u, .address = DATA, .size = REGION };
	struct vfio_user_region_rw r = { .region = BAR0, .count = 4 };

	boot();
	hang(PLX_BDEV_ERR_HANG);
	submit(1, &cmd);
	peer_idle(&s);
	peer_send(&p, VFIO_USER_DMA_UNMAP, 0, &u, sizeof u, NULL, 0);
	peer_send(&p, VFIO_USER_REGION_READ, 0, &r, sizeof r, NULL, 0);
	peer_idle(&s);
	cr_expect_eq(recv(p.fd, &r, sizeof r, MSG_DONTWAIT), -1);
	cr_assert_eq(peer_recv(&p), 0, "once the command was aborted");
	cr_expect_eq(p.hdr.command, VFIO_USER_DMA_UNMAP);
	cr_assert_eq(peer_recv(&p), 0);
	cr_expect_eq(p.hdr.command, VFIO_USER_REGION_READ);
	cr_expect_neq(reap(1), 0);
	cr_assert_eq(peer_map(&p, DATA, REGION, RW, data_fd, 0), 0);
	check_io();
}

Test(vfio_user_hang, client_that_leaves_behind_a_hung_command_is_seen_to)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, DATA);
	struct vfio_user_dma_unmap u = { .argsz = sizeof u, .address = DATA, .size = REGION };
	struct vfio_user_region_rw r = { .region = BAR0, .count = 4 };

	boot();
	hang(PLX_BDEV_ERR_HANG_HARD);
	submit(1, &cmd);
	peer_idle(&s);
	peer_send(&p, VFIO_USER_DMA_UNMAP, 0, &u, sizeof u, NULL, 0);
	/* more than is kept: the rest stays in the socket, and the end of it is not read */
	for (int i = 0; i < 100; i++)
		peer_send(&p, VFIO_USER_REGION_READ, 0, &r, sizeof r, NULL, 0);
	peer_idle(&s);
	peer_close(&p);
	db = NULL;
	cr_assert(peer_poll(&s, peer_nobody, &s));
	boot();
	check_io();
}

Test(vfio_user_hang, next_client_is_served_while_the_last_one_drains)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, DATA);

	boot();
	hang(PLX_BDEV_ERR_HANG_HARD);
	submit(1, &cmd);
	peer_idle(&s);
	peer_close(&p);
	db = NULL;
	cr_assert(peer_poll(&s, peer_nobody, &s));
	munmap(data, REGION);
	data = NULL;
	/* the read comes back with a bdev reset, a second later */
	boot();
	check_io();
	cr_expect_eq(peer_stats(&s).dma_bytes, 2 * REGION);
}

Test(vfio_user_io, truncated_file_drops_the_client_and_nobody_else)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_read, DATA + REGION - 4096);

	boot();
	cr_assert_eq(ftruncate(data_fd, 4096), 0);
	submit(1, &cmd);
	cr_assert_eq(peer_recv(&p), -ECONNRESET);
	peer_close(&p);
	db = NULL;
	munmap(data, REGION);
	data = NULL;
	boot();
	check_io();
}

/* ---- memory by messages ---- */

Test(vfio_user_io, data_by_messages)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, DATA + 512);
	uint64_t *list;

	boot_sharing(true, false);
	list = (uint64_t *)(queues + 0x8000);
	check_io();
	cr_expect_geq(asked, 2);
	/* 64 KiB by a list of PRPs, not page aligned */
	for (uint32_t i = 0; i < 65536; i++)
		data[512 + i] = (char)(i * 7 >> 3);
	for (uint32_t i = 0; i < 16; i++)
		list[i] = DATA + (i + 1) * 4096;
	cmd.prp2 = QUEUES + 0x8000;
	cmd.cdw12 = 127;
	cr_assert_eq(run(1, &cmd), 0);
	for (uint32_t i = 0; i < 17; i++)
		list[i] = DATA + (i + 0x41) * 4096;
	cmd.opc = nvme_cmd_read;
	cmd.prp1 = DATA + 0x40000 + 512;
	cr_assert_eq(run(1, &cmd), 0);
	cr_expect_eq(memcmp(data + 512, data + 0x40000 + 512, 65536), 0);
}

Test(vfio_user_io, queues_and_data_by_messages_with_interrupts)
{
	int fd = efd();

	boot_sharing(false, false);
	answering = false;
	cr_assert_eq(peer_set_irqs(&p, EVENTFD | TRIGGER, MSIX, 1, 1, NULL, &fd, 1), 0);
	answering = true;
	for (int i = 0; i < 40; i++) {
		check_io();
		cr_assert(peer_poll(&s, is_signalled, &fd));
	}
}

Test(vfio_user_io, refused_messages_fail_the_command)
{
	boot_sharing(true, false);
	answer_error = EFAULT;
	cr_expect_eq(io(nvme_cmd_write, DATA), NVME_SC_DATA_XFER_ERROR);
	answer_error = 0;
	check_io();
}

Test(vfio_user_io, unmap_waits_for_messages_under_way)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, DATA);
	struct vfio_user_dma_unmap u = { .argsz = sizeof u, .address = DATA, .size = REGION };

	boot_sharing(true, false);
	submit(1, &cmd);
	cr_assert_eq(peer_recv(&p), 0);
	cr_assert_eq(p.hdr.command, VFIO_USER_DMA_READ);
	peer_send(&p, VFIO_USER_DMA_UNMAP, 0, &u, sizeof u, NULL, 0);
	peer_idle(&s);
	answer_one();
	cr_assert_eq(peer_recv(&p), 0);
	cr_expect_eq(p.hdr.command, VFIO_USER_DMA_UNMAP);
	cr_expect_eq(reap(1), 0);
}

Test(vfio_user_io, client_that_does_not_answer_is_dropped)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, DATA);

	boot_sharing(true, false);
	submit(1, &cmd);
	cr_assert_eq(peer_recv(&p), 0);
	cr_assert_eq(peer_recv(&p), -ECONNRESET);
	peer_close(&p);
	db = NULL;
	boot();
	check_io();
}

Test(vfio_user_io, client_that_leaves_without_answering_is_cleaned_up)
{
	struct plx_nvme_cmd cmd = rw(nvme_cmd_write, DATA);

	boot_sharing(false, false);
	submit(1, &cmd);
	cr_assert_eq(peer_recv(&p), 0);
	peer_close(&p);
	db = NULL;
	cr_assert(peer_poll(&s, peer_nobody, &s));
	boot();
	check_io();
}

/* ---- core/fault.h ---- */

static volatile sig_atomic_t elsewhere;

static void on_bus(int sig)
{
	elsewhere++;
	_exit(elsewhere == 1 ? 42 : 1);
}

Test(fault, memory_without_guard_goes_to_the_handler_before, .exit_code = 42)
{
	_Atomic uint32_t hit = 0;
	int fd = peer_memfd(8192), g;
	volatile char *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	volatile char *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);

	signal(SIGBUS, on_bus);
	g = plx_fault_guard((void *)a, 4096, &hit);
	cr_assert_geq(g, 0);
	cr_assert_eq(ftruncate(fd, 0), 0);
	a[10] = 1;
	cr_assert_eq(hit, 1);
	a[11] = 1;
	plx_fault_unguard(g);
	b[0] = 1;
}

Test(fault, memory_without_guard_kills_as_before, .signal = SIGBUS)
{
	_Atomic uint32_t hit = 0;
	int fd = peer_memfd(4096), g;
	volatile char *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	signal(SIGBUS, SIG_DFL); /* sanitizers have one of their own */
	g = plx_fault_guard((void *)a, 4096, &hit);
	plx_fault_unguard(g);
	cr_assert_eq(ftruncate(fd, 0), 0);
	a[0] = 1;
}
