/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/vfio_user_dma.c - the client's memory: DMA_MAP, DMA_UNMAP
 *
 * Memory with a file descriptor is mapped here, guarded against the client truncating the file, and
 * given to the function. It is taken back in two steps: the function forgets it at once, and it is
 * unmapped, and the client told so, when no command uses it any more.
 */
#include "core/fault.h"
#include "targets/nvmf/vfio_user.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAX_BYTES     (16ull << 40) /* of address space that one client takes */
#define ABORT_AFTER_S 1 /* commands that still use memory the client wants back are aborted */

/* File systems whose reads wait for another process or machine, which the client may be: each page
 * fault would be in its hand */
#define MAGIC_FUSE 0x65735546
#define MAGIC_CIFS 0xff534d42u
#define MAGIC_SMB2 0xfe534d42u
#define MAGIC_CEPH 0x00c36400

int vu_dma_init(struct vu_conn *c)
{
	c->maps = calloc(VU_MAX_MAPS, sizeof *c->maps);
	return c->maps ? 0 : -ENOMEM;
}

static void map_release(struct vu_conn *c, struct vu_map *m)
{
	if (!m->base)
		return;
	if (m->registered) {
		plx_mem_unregister(m->va, m->len);
		if (m->fd >= 0)
			close(m->fd);
	}
	plx_fault_unguard(m->guard);
	vu_window_leave(c, m);
	m->base = NULL;
}

void vu_dma_fini(struct vu_conn *c)
{
	for (uint32_t i = 0; i < c->nmaps + c->nrevoked; i++)
		map_release(c, &c->maps[i]);
	free(c->maps);
	c->maps = NULL;
	c->nmaps = c->nrevoked = 0;
}

/* ---- DMA_MAP ---- */

static bool fs_waits_for_others(const struct statfs *fs)
{
	switch ((uint32_t)fs->f_type) {
	case MAGIC_FUSE:
	case NFS_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case MAGIC_CIFS:
	case MAGIC_SMB2:
	case MAGIC_CEPH:
	case AFS_SUPER_MAGIC:
	case CODA_SUPER_MAGIC:
	case V9FS_MAGIC:
		return true;
	default:
		return false;
	}
}

/* Return: 0, and the size of the pages it is mapped in; -errno */
static int file_check(int fd, uint64_t offset, uint64_t len, uint64_t *page)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return -errno;
	if (!S_ISREG(st.st_mode) || fs_waits_for_others(&fs))
		return -EINVAL;
	if (offset > (uint64_t)st.st_size || len > (uint64_t)st.st_size - offset)
		return -EINVAL;
	if (fs.f_type == HUGETLBFS_MAGIC)
		*page = (uint64_t)fs.f_bsize;
	return 0;
}

static uint32_t dma_prot(const struct vu_map *m)
{
	return (m->prot & VFIO_USER_DMA_READABLE ? PROT_READ : 0) |
	       (m->prot & VFIO_USER_DMA_WRITEABLE ? PROT_WRITE : 0);
}

/* A client in this process waits for the answer with the regions of memory locked */
static bool is_ourselves(const struct vu_conn *c)
{
	struct ucred who;
	socklen_t len = sizeof who;

	return !getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &len) && who.pid == getpid();
}

/*
 * A bdev may be an NVMe namespace, whose controller then reaches the client's memory by itself.
 * Where one cannot, I/O from there fails there, and the bdev says why; so it does for memory that
 * is not there for both reading and writing, as IOMMUs want it.
 */
static void map_register(const struct vu_conn *c, struct vu_map *m, int fd, uint64_t offset)
{
	if (m->prot != (VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITEABLE) || is_ourselves(c))
		return;
	/* without the file, another process reaches the memory by messages */
	m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	m->registered = !plx_mem_register(m->va, m->len, m->fd, offset);
	if (m->registered)
		return;
	nvmf_log(WARN, "%s: not all NVMe controllers of this process reach %lu bytes of a client",
		 c->v->path, (unsigned long)m->len);
	if (m->fd >= 0)
		close(m->fd);
}

static int map_file(struct vu_conn *c, struct vu_map *m, int fd, uint64_t offset)
{
	uint32_t prot = dma_prot(m);
	uint64_t page = PLX_PAGE_SIZE, skip;
	void *place;
	int rc = file_check(fd, offset, m->len, &page);

	if (rc)
		return rc;
	/* a region may begin and end within a large page: a guest's memory has holes of less */
	skip = offset % page;
	m->base_len = (skip + m->len + page - 1) / page * page;
	place = vu_window_place(c, m, page, skip);
	m->base = mmap(place, m->base_len, (int)prot,
		       MAP_SHARED | MAP_NORESERVE | (place ? MAP_FIXED : 0), fd,
		       (off_t)(offset - skip));
	if (m->base == MAP_FAILED) {
		rc = -errno;
		m->base = place;
		if (place)
			vu_window_leave(c, m);
		m->base = NULL;
		return rc;
	}
	m->va = (char *)m->base + skip;
	/* guests' memory is of no use in a core file, and large */
	madvise(m->base, m->base_len, MADV_DONTDUMP);
	m->guard = plx_fault_guard(m->base, m->base_len, &c->faulted);
	rc = m->guard < 0 ? m->guard : nvmf_fn_dma_map_prot(&c->fn, m->iova, m->va, m->len, prot);
	if (rc)
		map_release(c, m);
	else
		map_register(c, m, fd, offset);
	return rc;
}

/* The client did not share it: the function asks for what it needs of it */
static int map_remote(struct vu_conn *c, const struct vu_map *m)
{
	return c->max_xfer < NVMF_REMOTE_MIN_LEN
		       ? -ENOTSUP
		       : nvmf_fn_dma_map_remote(&c->fn, m->iova, m->len, dma_prot(m));
}

static bool overlaps(const struct vu_map *m, uint64_t iova, uint64_t len)
{
	return iova < m->iova + m->len && m->iova < iova + len;
}

static int map_check(const struct vu_conn *c, const struct vfio_user_dma_map *in, uint32_t nfds)
{
	if (in->flags & ~(VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITEABLE) || !in->flags ||
	    nfds > 1)
		return -EINVAL;
	if (!in->size || (in->address | in->size | in->offset) & (PLX_PAGE_SIZE - 1) ||
	    in->address > UINT64_MAX - in->size || in->offset > INT64_MAX - in->size)
		return -EINVAL;
	for (uint32_t i = 0; i < c->nmaps; i++) {
		if (overlaps(&c->maps[i], in->address, in->size))
			return -EEXIST;
	}
	if (c->nmaps == VU_MAX_MAPS || in->size > MAX_BYTES - c->map_bytes)
		return -ENOSPC;
	return 0;
}

void vu_dma_map(struct vu_conn *c, struct vu_msg *msg)
{
	const struct vfio_user_dma_map *in = (const void *)msg->data;
	struct vu_map m = { .guard = -1 };
	int rc = -EINVAL;

	if (msg->len == sizeof *in && in->argsz >= sizeof *in)
		rc = map_check(c, in, msg->nfds);
	if (!rc) {
		m.iova = in->address;
		m.len = in->size;
		m.prot = (uint8_t)in->flags;
		rc = msg->nfds ? map_file(c, &m, msg->fds[0], in->offset) : map_remote(c, &m);
	}
	if (rc) {
		vu_reply_error(c, &msg->hdr, -rc);
		return;
	}
	c->maps[c->nmaps++] = m;
	c->map_bytes += m.len;
	vu_reply(c, &msg->hdr, 0, -1);
}

/* ---- DMA_UNMAP ---- */

static bool is_within(const struct vu_map *m, uint64_t iova, uint64_t len)
{
	return m->iova >= iova && m->iova - iova <= len && m->len <= len - (m->iova - iova);
}

/*
 * One map, named exactly, is what the specification has. QEMU with an IOMMU of the guest's takes
 * back ranges with several small ones in them, too: that cannot be misunderstood. Return: 0; -errno
 */
static int unmap_check(const struct vu_conn *c, uint64_t iova, uint64_t len)
{
	uint32_t whole = 0;

	if (!len || iova > UINT64_MAX - len)
		return -EINVAL;
	for (uint32_t i = 0; i < c->nmaps; i++) {
		const struct vu_map *m = &c->maps[i];

		if (m->iova == iova && m->len == len)
			return 0;
		if (is_within(m, iova, len))
			whole++;
		else if (overlaps(m, iova, len))
			return -EINVAL;
	}
	return whole > 1 ? 0 : -ENOENT;
}

/* Those taken back stand behind the others until no command uses them */
static void take_back(struct vu_conn *c, uint64_t iova, uint64_t len)
{
	for (uint32_t i = 0; i < c->nmaps;) {
		struct vu_map m = c->maps[i];

		if (!is_within(&m, iova, len)) {
			i++;
			continue;
		}
		nvmf_fn_revoke(&c->fn, m.iova, m.len);
		c->map_bytes -= m.len;
		c->maps[i] = c->maps[--c->nmaps];
		c->maps[c->nmaps] = m;
		c->nrevoked++;
	}
}

static bool in_use(struct vu_conn *c, const struct vu_map *m)
{
	return m->va ? nvmf_fn_uses(&c->fn, m->va, m->len)
		     : nvmf_fn_remote_busy(&c->fn, m->iova, m->len);
}

/* Return: true when everything taken back is unmapped */
static bool unmap_step(struct vu_conn *c)
{
	struct vu_map *m;

	while (c->nrevoked) {
		m = &c->maps[c->nmaps + c->nrevoked - 1];
		if (in_use(c, m))
			return false;
		map_release(c, m);
		c->nrevoked--;
	}
	return true;
}

void vu_dma_unmap(struct vu_conn *c, struct vu_msg *msg)
{
	const struct vfio_user_dma_unmap *in = (const void *)msg->data;
	uint64_t iova = 0, len = UINT64_MAX;
	int rc = 0;

	if (msg->len < sizeof *in || in->argsz < sizeof *in || msg->nfds) {
		rc = -EINVAL;
	} else if (in->flags == VFIO_DMA_UNMAP_FLAG_ALL) {
		rc = in->address || in->size ? -EINVAL : 0;
	} else if (in->flags) {
		rc = in->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP ? -ENOTSUP : -EINVAL;
	} else {
		iova = in->address;
		len = in->size;
		rc = unmap_check(c, iova, len);
	}
	if (rc) {
		vu_reply_error(c, &msg->hdr, -rc);
		return;
	}
	take_back(c, iova, len);
	vu_busy_begin(c, VU_UNMAPPING, &msg->hdr, in, sizeof *in);
}

bool vu_dma_unmap_step(struct vu_conn *c)
{
	if (unmap_step(c))
		return true;
	if (!c->busy_aborted && plx_tsc() - c->busy_tsc > ABORT_AFTER_S * plx_tsc_hz()) {
		const struct vu_map *m = &c->maps[c->nmaps + c->nrevoked - 1];

		c->busy_aborted = true;
		nvmf_log(WARN, "%s: commands outlive the memory they use: aborting them",
			 c->v->path);
		if (m->va)
			nvmf_fn_abort_users(&c->fn, m->va, m->len);
		else
			nvmf_fn_remote_abort(&c->fn, m->iova, m->len);
	}
	return false;
}
