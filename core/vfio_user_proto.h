/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/vfio_user_proto.h - vfio-user 0.1 on the wire (QEMU's docs/interop/vfio-user.rst)
 *
 * What both ends share: message headers and fixed payloads, in the host's byte order. Flags and
 * index numbers that the protocol takes over from VFIO are those of <linux/vfio.h>.
 */
#ifndef POLLUX_VFIO_USER_PROTO_H
#define POLLUX_VFIO_USER_PROTO_H

#include <linux/vfio.h>
#include <stdint.h>

#define VFIO_USER_MAJOR 0
#define VFIO_USER_MINOR 1

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2,
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8,
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DMA_READ = 11,
	VFIO_USER_DMA_WRITE = 12,
	VFIO_USER_DEVICE_RESET = 13,
	VFIO_USER_REGION_WRITE_MULTI = 15,
	VFIO_USER_DEVICE_FEATURE = 16,
	VFIO_USER_MIG_DATA_READ = 17,
	VFIO_USER_MIG_DATA_WRITE = 18,
};

/* "Header": flags */
#define VFIO_USER_TYPE_MASK    0xfu
#define VFIO_USER_TYPE_COMMAND 0u
#define VFIO_USER_TYPE_REPLY   1u
#define VFIO_USER_NO_REPLY     (1u << 4)
#define VFIO_USER_ERROR	       (1u << 5)

struct vfio_user_hdr {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* of the message, with this header */
	uint32_t flags;
	uint32_t error; /* errno of a reply with VFIO_USER_ERROR */
};
_Static_assert(sizeof(struct vfio_user_hdr) == 16, "Header");

struct vfio_user_version {
	uint16_t major, minor;
	char data[]; /* JSON, with its NUL; optional */
};

/* capabilities that a VERSION message leaves out */
#define VFIO_USER_DEFAULT_MSG_FDS  1u
#define VFIO_USER_DEFAULT_XFER	   1048576u
#define VFIO_USER_DEFAULT_DMA_MAPS 65535u
#define VFIO_USER_DEFAULT_PGSIZES  4096u

#define VFIO_USER_DMA_READABLE	(1u << 0)
#define VFIO_USER_DMA_WRITEABLE (1u << 1)

struct vfio_user_dma_map {
	uint32_t argsz, flags;
	uint64_t offset, address, size;
};
_Static_assert(sizeof(struct vfio_user_dma_map) == 32, "VFIO_USER_DMA_MAP");

struct vfio_user_dma_unmap {
	uint32_t argsz, flags;
	uint64_t address, size;
};
_Static_assert(sizeof(struct vfio_user_dma_unmap) == 24, "VFIO_USER_DMA_UNMAP");

struct vfio_user_device_info {
	uint32_t argsz, flags, num_regions, num_irqs;
};
_Static_assert(sizeof(struct vfio_user_device_info) == 16, "VFIO_USER_DEVICE_GET_INFO");

struct vfio_user_region_info {
	uint32_t argsz, flags, index, cap_offset;
	uint64_t size, offset;
};
_Static_assert(sizeof(struct vfio_user_region_info) == 32, "VFIO_USER_DEVICE_GET_REGION_INFO");

/* "Sparse Regions" with one area */
struct vfio_user_sparse_mmap {
	uint16_t id, version;
	uint32_t next, nr_areas, reserved;
	uint64_t offset, size;
};
_Static_assert(sizeof(struct vfio_user_sparse_mmap) == 32, "VFIO sparse mmap cap header");

struct vfio_user_region_io_fds {
	uint32_t argsz, flags, index, count;
};
_Static_assert(sizeof(struct vfio_user_region_io_fds) == 16, "VFIO_USER_DEVICE_GET_REGION_IO_FDS");

struct vfio_user_irq_info {
	uint32_t argsz, flags, index, count;
};
_Static_assert(sizeof(struct vfio_user_irq_info) == 16, "VFIO_USER_DEVICE_GET_IRQ_INFO");

struct vfio_user_irq_set {
	uint32_t argsz, flags, index, start, count;
	uint8_t data[];
};
_Static_assert(sizeof(struct vfio_user_irq_set) == 20, "VFIO_USER_DEVICE_SET_IRQS");

/* REGION_READ, REGION_WRITE and their replies */
struct vfio_user_region_access {
	uint64_t offset;
	uint32_t region, count;
	uint8_t data[];
};
_Static_assert(sizeof(struct vfio_user_region_access) == 16, "VFIO_USER_REGION_READ");

/* one write of REGION_WRITE_MULTI, which begins with a uint64_t count of them */
struct vfio_user_write_one {
	uint64_t offset;
	uint32_t region, count;
	uint8_t data[8];
};
_Static_assert(sizeof(struct vfio_user_write_one) == 24, "Single Device Write Format");

/* DMA_READ, DMA_WRITE and their replies */
struct vfio_user_dma_access {
	uint64_t address, count;
	uint8_t data[];
};
_Static_assert(sizeof(struct vfio_user_dma_access) == 16, "VFIO_USER_DMA_READ");

#endif
