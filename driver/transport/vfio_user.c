/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/transport/vfio_user.c - controllers of another process, by the vfio-user protocol
 *
 * Registers are read and written by messages, which every server has to support, also where it
 * lets us map them: that way a server that is gone is noticed. Doorbells are stores to memory where
 * the server lets us map theirs, and messages where not. Memory goes to the server as a file with
 * an offset; what has no file, the server reaches by messages of its own, and those are served by
 * whoever polls: a thread for them would take time from the core of the one that waits for its I/O.
 */
#include "driver/transport/vfio_user.h"
#include "core/fault.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PCI_COMMAND	   0x04
#define PCI_COMMAND_MEMORY 0x2
#define PCI_COMMAND_MASTER 0x4
#define PCI_CLASS	   0x09 /* programming interface, subclass, class */
#define PCI_CLASS_NVME	   0x010802u

static const struct plx_pcie_backend vfio_user_backend;

static struct vfu *to_vfu(struct plx_pcie_dev *dev)
{
	return plx_container_of(dev, struct vfu, base);
}

/* What it sent is against the protocol. Return: -errno */
static int broken(struct vfu *v, const char *what)
{
	int rc;

	pthread_mutex_lock(&v->lock);
	rc = vfu_gone(v, -EPROTO, "%s", what);
	pthread_mutex_unlock(&v->lock);
	return rc;
}

/* ---- regions by messages ---- */

/* Return: 0; -errno */
static int region_read_piece(struct vfu *v, uint32_t region, uint64_t offset, void *buf,
			     uint32_t len, bool quiet)
{
	struct vfio_user_region_rw rw = { .offset = offset, .region = region, .count = len };
	unsigned char reply[sizeof(rw) + 64];
	struct vfu_call call = { .command = VFIO_USER_REGION_READ,
				 .what = region ? "reading configuration space"
						: "reading a register",
				 .head = &rw,
				 .head_len = sizeof(rw),
				 .fd = -1,
				 .reply = reply,
				 .reply_cap = sizeof(rw) + len,
				 .quiet = quiet };
	int rc = vfu_call(v, &call);

	if (rc)
		return rc;
	memcpy(&rw, reply, sizeof(rw));
	if (call.reply_len < sizeof(rw) + len || rw.count < len)
		return broken(v, "answered REGION_READ with fewer bytes than asked for");
	memcpy(buf, reply + sizeof(rw), len);
	return 0;
}

static int region_write_piece(struct vfu *v, uint32_t region, uint64_t offset, const void *buf,
			      uint32_t len, bool quiet)
{
	struct vfio_user_region_rw rw = { .offset = offset, .region = region, .count = len };
	struct vfu_call call = { .command = VFIO_USER_REGION_WRITE,
				 .what = region ? "writing configuration space"
						: "writing a register",
				 .head = &rw,
				 .head_len = sizeof(rw),
				 .data = buf,
				 .data_len = len,
				 .fd = -1,
				 .quiet = quiet };

	return vfu_call(v, &call);
}

/* "The count field must not exceed max_data_xfer_size", and 64 bytes are all we have room for */
static uint32_t piece(const struct vfu *v, unsigned len)
{
	uint32_t max = v->server.max_xfer < 64 ? v->server.max_xfer & ~3u : 64;

	return len < max ? len : max;
}

static int cfg_read(struct plx_pcie_dev *dev, uint32_t offset, void *buf, unsigned len)
{
	struct vfu *v = to_vfu(dev);
	int rc = 0;

	for (unsigned done = 0, n; done < len && !rc; done += n) {
		n = piece(v, len - done);
		rc = region_read_piece(v, VFIO_PCI_CONFIG_REGION_INDEX, offset + done,
				       (char *)buf + done, n, false);
	}
	return rc;
}

static int cfg_write(struct plx_pcie_dev *dev, uint32_t offset, const void *buf, unsigned len)
{
	struct vfu *v = to_vfu(dev);
	int rc = 0;

	for (unsigned done = 0, n; done < len && !rc; done += n) {
		n = piece(v, len - done);
		rc = region_write_piece(v, VFIO_PCI_CONFIG_REGION_INDEX, offset + done,
					(const char *)buf + done, n, false);
	}
	return rc;
}

/* A register of 8 bytes may be accessed as two of 4 (NVMe Base 2.0c §3.1.3); a server that takes
 * nothing else refuses the first attempt. Return: whether 8 bytes at once may be tried */
static bool wide(const struct vfu *v, unsigned size)
{
	return size == 8 && v->server.max_xfer >= 8 && !v->only32;
}

static uint64_t reg_read(struct plx_pcie_dev *dev, uint32_t offset, unsigned size)
{
	struct vfu *v = to_vfu(dev);
	uint32_t half[2] = { UINT32_MAX, UINT32_MAX };
	uint64_t value;

	if (wide(v, size)) {
		if (!region_read_piece(v, VFIO_PCI_BAR0_REGION_INDEX, offset, &value, 8, true))
			return value;
		v->only32 = true;
	}
	for (unsigned i = 0; i < size / 4; i++)
		if (region_read_piece(v, VFIO_PCI_BAR0_REGION_INDEX, offset + 4 * i, &half[i], 4,
				      false))
			return UINT64_MAX;
	return size == 4 ? half[0] : (uint64_t)half[1] << 32 | half[0];
}

static void reg_write(struct plx_pcie_dev *dev, uint32_t offset, uint64_t value, unsigned size)
{
	struct vfu *v = to_vfu(dev);

	if (wide(v, size)) {
		if (!region_write_piece(v, VFIO_PCI_BAR0_REGION_INDEX, offset, &value, 8, true))
			return;
		v->only32 = true;
	}
	for (unsigned i = 0; i < size / 4; i++, value >>= 32) {
		uint32_t half = (uint32_t)value;

		if (region_write_piece(v, VFIO_PCI_BAR0_REGION_INDEX, offset + 4 * i, &half, 4,
				       false))
			return;
	}
}

static bool watch(struct plx_pcie_dev *dev, uint32_t *csts)
{
	return vfu_watch(to_vfu(dev), csts);
}

static bool poll_socket(struct plx_pcie_dev *dev)
{
	return vfu_serve(to_vfu(dev));
}

/* ---- doorbells ---- */

static volatile uint32_t *doorbell(struct plx_pcie_dev *dev, uint32_t offset)
{
	const struct vfu *v = to_vfu(dev);
	uint64_t at = VFU_DB_OFFSET + (uint64_t)offset;

	for (uint32_t i = 0; i < v->nmappings; i++) {
		const struct vfu_mapping *m = &v->mappings[i];
		uint64_t off = at - m->area.offset;

		if (at >= m->area.offset && off < m->area.size && m->area.size - off >= 4 &&
		    !((uintptr_t)(m->at + off) % 4))
			return (volatile uint32_t *)(m->at + off);
	}
	return NULL;
}

static void doorbell_write(struct plx_pcie_dev *dev, uint32_t offset, uint32_t value)
{
	struct vfio_user_region_rw rw = { .offset = VFU_DB_OFFSET + offset,
					  .region = VFIO_PCI_BAR0_REGION_INDEX,
					  .count = sizeof(value) };
	struct vfu_call call = { .command = VFIO_USER_REGION_WRITE,
				 .what = "writing a doorbell",
				 .head = &rw,
				 .head_len = sizeof(rw),
				 .data = &value,
				 .data_len = sizeof(value),
				 .fd = -1 };

	vfu_post(to_vfu(dev), &call);
}

/* A file that ends before its area does would be a SIGBUS at the first doorbell. */
static bool file_holds(int fd, uint64_t offset, uint64_t len)
{
	struct stat st;

	if (offset > INT64_MAX || len > INT64_MAX - offset || fstat(fd, &st))
		return false;
	return !S_ISREG(st.st_mode) || (uint64_t)st.st_size >= offset + len;
}

/* Areas may begin anywhere; mappings begin at pages. */
static void map_area(struct vfu *v, const struct vfu_region *r, const struct vfu_area *a, int fd)
{
	struct vfu_mapping *m = &v->mappings[v->nmappings];
	uint64_t begin = r->offset + a->offset, shift = begin % PLX_PAGE_SIZE;

	if (begin < r->offset || !file_holds(fd, begin, a->size)) {
		nvme_log(WARN,
			 "controller '%s': the file of its doorbells does not reach %llxh + "
			 "%llxh: they are rung by messages",
			 v->path, (unsigned long long)begin, (unsigned long long)a->size);
		return;
	}
	m->mem_len = a->size + shift;
	m->mem = mmap(NULL, m->mem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      (off_t)(begin - shift));
	if (m->mem == MAP_FAILED) {
		nvme_log(WARN,
			 "controller '%s': its doorbells cannot be mapped: %s: they are rung by "
			 "messages",
			 v->path, strerror(errno));
		return;
	}
	m->guard = plx_fault_guard(m->mem, m->mem_len, &v->cut_off);
	m->at = (volatile char *)m->mem + shift;
	m->area = *a;
	v->nmappings++;
}

/* ---- memory ---- */

/* Where a region of that address is, or would be, in the sorted table. */
static uint32_t map_index(const struct vfu *v, uint64_t iova)
{
	uint32_t i = 0;

	while (i < v->nmaps && v->maps[i].iova < iova)
		i++;
	return i;
}

/* Room for one more, as far as the server has some. */
static int map_reserve(struct vfu *v)
{
	uint32_t cap = v->maps_cap ? 2 * v->maps_cap : 64;
	struct vfu_map *maps;

	if (v->nmaps >= v->server.max_maps) {
		nvme_log(ERR,
			 "controller '%s': its vfio-user server takes %u regions of memory "
			 "(max_dma_maps), and there are more: use hugepages, or register fewer, "
			 "larger pieces",
			 v->path, v->server.max_maps);
		return -ENOSPC;
	}
	if (v->nmaps < v->maps_cap)
		return 0;
	maps = realloc(v->maps, cap * sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	v->maps = maps;
	v->maps_cap = cap;
	return 0;
}

/* Before the server is told: it may use the memory before it answers. */
static int map_enter(struct vfu *v, uint64_t iova, uint64_t len)
{
	uint32_t at;
	int rc;

	pthread_mutex_lock(&v->lock);
	rc = map_reserve(v);
	if (!rc) {
		at = map_index(v, iova);
		memmove(&v->maps[at + 1], &v->maps[at], (v->nmaps - at) * sizeof(*v->maps));
		v->maps[at] = (struct vfu_map){ iova, len };
		v->nmaps++;
	}
	pthread_mutex_unlock(&v->lock);
	return rc;
}

static void map_leave(struct vfu *v, uint64_t iova)
{
	uint32_t at;

	pthread_mutex_lock(&v->lock);
	at = map_index(v, iova);
	if (at < v->nmaps && v->maps[at].iova == iova) {
		v->nmaps--;
		memmove(&v->maps[at], &v->maps[at + 1], (v->nmaps - at) * sizeof(*v->maps));
	}
	pthread_mutex_unlock(&v->lock);
}

/* A vanished device needs no memory, and others do: no error of theirs */
static int dma_map(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct vfu *v = to_vfu(dev);
	int fd = v->server.max_fds ? r->fd : -1;
	uint64_t page = v->server.pgsizes & -v->server.pgsizes;
	struct vfio_user_dma_map m = {
		.argsz = sizeof(m),
		.flags = VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITEABLE,
		.offset = fd < 0 ? 0 : r->fd_offset,
		.address = (uint64_t)(uintptr_t)r->addr,
		.size = r->len,
	};
	struct vfu_call call = { .command = VFIO_USER_DMA_MAP,
				 .what = "a region of memory",
				 .head = &m,
				 .head_len = sizeof(m),
				 .fd = fd };
	int rc;

	if (atomic_load(&v->gone))
		return 0;
	if ((m.address | m.size) & (page - 1)) {
		nvme_log(ERR,
			 "controller '%s': its vfio-user server takes memory in pages of %llu "
			 "bytes (pgsizes), not %llu bytes at %llxh: use hugepages",
			 v->path, (unsigned long long)page, (unsigned long long)m.size,
			 (unsigned long long)m.address);
		return -EINVAL;
	}
	rc = map_enter(v, m.address, m.size);
	if (rc)
		return rc;
	rc = vfu_call(v, &call);
	if (!rc || atomic_load(&v->gone))
		return 0;
	map_leave(v, m.address);
	return rc;
}

static void dma_unmap(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	struct vfu *v = to_vfu(dev);
	struct vfio_user_dma_unmap m = {
		.argsz = sizeof(m),
		.address = (uint64_t)(uintptr_t)r->addr,
		.size = r->len,
	};
	struct vfu_call call = { .command = VFIO_USER_DMA_UNMAP,
				 .what = "to let go of a region of memory",
				 .head = &m,
				 .head_len = sizeof(m),
				 .fd = -1 };

	/* a server that keeps what we take away must not write to it */
	if (vfu_call(v, &call) && !atomic_load(&v->gone))
		broken(v, "keeps memory that is taken from it");
	map_leave(v, m.address);
}

/* ---- interrupts ---- */

/* MSI-X vector @vector signals @eventfd from now on; -1: nothing */
static int irq_enable(struct plx_pcie_dev *dev, unsigned vector, int eventfd)
{
	struct vfu *v = to_vfu(dev);
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = VFIO_PCI_MSIX_IRQ_INDEX };
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.start = vector,
		.count = 1,
	};
	struct vfu_call ask = { .command = VFIO_USER_DEVICE_GET_IRQ_INFO,
				.what = "to tell about its interrupts",
				.head = &info,
				.head_len = sizeof(info),
				.fd = -1,
				.reply = &info,
				.reply_cap = sizeof(info) };
	struct vfu_call call = { .command = VFIO_USER_DEVICE_SET_IRQS,
				 .what = "an interrupt",
				 .head = &set,
				 .head_len = sizeof(set),
				 .fd = eventfd };
	char err[160];
	int rc = vfu_call(v, &ask);

	if (rc)
		return rc;
	if (vfu_parse_irq_info(&info, ask.reply_len, VFIO_PCI_MSIX_IRQ_INDEX, &info, err,
			       sizeof(err)))
		return broken(v, err);
	if (!(info.flags & VFIO_IRQ_INFO_EVENTFD) || !v->server.max_fds)
		return -ENOTSUP;
	if (vector >= info.count)
		return -EINVAL;
	return vfu_call(v, &call);
}

/* ---- open ---- */

static int negotiate(struct vfu *v)
{
	struct {
		struct vfio_user_version v;
		char json[200];
	} msg = { .v = { VFIO_USER_MAJOR, VFIO_USER_MINOR } };
	char reply[4096], err[200];
	struct vfu_call call = { .command = VFIO_USER_VERSION,
				 .what = "the connection",
				 .head = &msg,
				 .fd = -1,
				 .reply = reply,
				 .reply_cap = sizeof(reply),
				 .timeout_ms = VFU_CONNECT_MS,
				 .quiet = true };
	int rc, n = snprintf(msg.json, sizeof(msg.json),
			     "{\"capabilities\":{\"max_msg_fds\":%u,\"max_data_xfer_size\":%u,"
			     "\"max_dma_maps\":%u,\"pgsizes\":%u}}",
			     VFU_MAX_FDS, VFU_MAX_XFER, VFIO_USER_DEFAULT_MAX_MAPS, VFU_PGSIZES);

	call.head_len = offsetof(typeof(msg), json) + (size_t)n + 1;
	rc = vfu_call(v, &call);
	if (rc && !atomic_load(&v->gone))
		nvme_log(ERR, "controller '%s': its vfio-user server refused the connection: %s%s",
			 v->path, strerror(-rc),
			 rc == -EBUSY ? ": another client has to end first" : "");
	if (rc)
		return rc;
	if (vfu_parse_version(reply, call.reply_len, &v->server, err, sizeof(err)))
		return broken(v, err);
	return 0;
}

static int reset_device(struct vfu *v)
{
	struct vfu_call reset = { .command = VFIO_USER_DEVICE_RESET,
				  .what = "a reset",
				  .fd = -1,
				  .timeout_ms = VFU_RESET_MS };

	return v->can_reset ? vfu_call(v, &reset) : -ENOTSUP;
}

/* The device may be in any state: where it can be reset, it is. */
static int identify_device(struct vfu *v)
{
	struct vfio_user_device_info info = { .argsz = sizeof(info) };
	struct vfu_call ask = { .command = VFIO_USER_DEVICE_GET_INFO,
				.what = "to tell what it serves",
				.head = &info,
				.head_len = sizeof(info),
				.fd = -1,
				.reply = &info,
				.reply_cap = sizeof(info) };
	char err[200];
	int rc = vfu_call(v, &ask);

	if (rc)
		return rc;
	if (vfu_parse_device_info(&info, ask.reply_len, &info, err, sizeof(err)))
		return broken(v, err);
	v->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	return v->can_reset ? reset_device(v) : 0;
}

/* The reply may need more room than was asked for: "argsz" tells how much. */
static int region_info(struct vfu *v, uint32_t index, struct vfu_region *out, int *fds,
		       uint32_t *nfds)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	char err[200];
	int rc = 0;

	*nfds = 0;
	for (unsigned tries = 0; tries < 4 && !rc; tries++) {
		void *reply = malloc(info.argsz);
		struct vfu_call call = { .command = VFIO_USER_DEVICE_GET_REGION_INFO,
					 .what = "to tell about a region",
					 .head = &info,
					 .head_len = sizeof(info),
					 .fd = -1,
					 .reply = reply,
					 .reply_cap = info.argsz,
					 .fds = fds };

		vfu_close_fds(fds, nfds);
		rc = reply ? vfu_call(v, &call) : -ENOMEM;
		*nfds = call.nfds;
		if (!rc && vfu_parse_region(reply, call.reply_len, index, out, err, sizeof(err)))
			rc = broken(v, err);
		free(reply);
		if (rc || out->argsz <= info.argsz)
			break;
		info.argsz = out->argsz;
	}
	if (!rc && out->argsz > info.argsz)
		rc = broken(v, "needs ever more room to tell about a region");
	if (rc)
		vfu_close_fds(fds, nfds);
	return rc;
}

static int open_bar(struct vfu *v)
{
	uint32_t rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE, nfds;
	struct vfu_region r;
	int fds[VFU_MAX_FDS], rc;

	rc = region_info(v, VFIO_PCI_BAR0_REGION_INDEX, &r, fds, &nfds);
	if (rc)
		return rc;
	if ((r.flags & rw) != rw || r.size < VFU_DB_OFFSET + 8) {
		vfu_close_fds(fds, &nfds);
		return broken(v, "serves a device whose BAR 0 is no register set of a "
				 "controller (too small, or not to be read and written)");
	}
	v->bar_size = r.size;
	for (uint32_t i = 0; i < r.nareas && nfds; i++)
		map_area(v, &r, &r.areas[i], fds[0]);
	vfu_close_fds(fds, &nfds);
	return 0;
}

static int open_config(struct vfu *v)
{
	unsigned char class[3];
	uint16_t command;
	uint32_t code;
	int rc = cfg_read(&v->base, PCI_CLASS, class, sizeof(class));

	if (rc)
		return rc;
	code = (uint32_t) class[2] << 16 | (uint32_t) class[1] << 8 | class[0];
	if (code != PCI_CLASS_NVME) {
		nvme_log(ERR,
			 "controller '%s': its vfio-user server serves a PCI device of class "
			 "%06xh, not an NVMe controller (%06xh)",
			 v->path, code, PCI_CLASS_NVME);
		return -ENOTSUP;
	}
	rc = cfg_read(&v->base, PCI_COMMAND, &command, sizeof(command));
	if (rc)
		return rc;
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	return cfg_write(&v->base, PCI_COMMAND, &command, sizeof(command));
}

static int vfu_reset(struct plx_pcie_dev *dev)
{
	struct vfu *v = to_vfu(dev);
	int rc = reset_device(v);

	return rc ? rc : open_config(v);
}

static void vfu_close(struct plx_pcie_dev *dev)
{
	struct vfu *v = to_vfu(dev);

	for (uint32_t i = 0; i < v->nmappings; i++) {
		plx_fault_unguard(v->mappings[i].guard);
		munmap(v->mappings[i].mem, v->mappings[i].mem_len);
	}
	vfu_close_socket(v);
	pthread_mutex_destroy(&v->lock);
	free(v->maps);
	free(v->rx);
	free(v);
}

/* Everything in its initial state, to be closed by vfu_close() from then on. */
static struct vfu *vfu_alloc(const char *path, int fd)
{
	struct vfu *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->rx = malloc(VFU_MAX_MSG);
	if (!v->rx) {
		free(v);
		return NULL;
	}
	pthread_mutex_init(&v->lock, NULL);
	snprintf(v->path, sizeof(v->path), "%s", path);
	v->fd = fd;
	v->tsc_ms = plx_tsc_hz() / 1000;
	v->look_tsc = v->heard_tsc = plx_tsc();
	v->base.ops = &vfio_user_backend;
	v->base.numa = PLX_NUMA_ANY;
	return v;
}

static int vfu_open(const struct plx_nvme_trid *trid, struct plx_pcie_dev **dev)
{
	int fd = vfu_connect(trid->traddr), rc;
	struct vfu *v;

	if (fd < 0)
		return fd;
	v = vfu_alloc(trid->traddr, fd);
	if (!v) {
		close(fd);
		return -ENOMEM;
	}
	v->hint = ": it may be serving another client, which has to end first";
	rc = negotiate(v);
	v->hint = NULL;
	if (!rc)
		rc = identify_device(v);
	if (!rc)
		rc = open_bar(v);
	if (!rc)
		rc = open_config(v);
	if (rc) {
		vfu_close(&v->base);
		return rc;
	}
	v->base.doorbell_bytes = v->bar_size - VFU_DB_OFFSET;
	*dev = &v->base;
	return 0;
}

static const struct plx_pcie_backend vfio_user_backend = {
	.trtype = PLX_NVME_TR_VFIOUSER,
	.open = vfu_open,
	.close = vfu_close,
	.reg_read = reg_read,
	.reg_write = reg_write,
	.watch = watch,
	.doorbell = doorbell,
	.doorbell_write = doorbell_write,
	.poll = poll_socket,
	.cfg_read = cfg_read,
	.cfg_write = cfg_write,
	.reset = vfu_reset,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.irq_enable = irq_enable,
};

__attribute__((constructor)) static void vfio_user_register(void)
{
	plx_nvme_register_backend(&vfio_user_backend);
}
