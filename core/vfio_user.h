/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/vfio_user.h - messages of the vfio-user protocol, version 0.1, for its client and its server
 *
 * From QEMU's docs/interop/vfio-user.rst. Region and interrupt payloads are the structures of
 * <linux/vfio.h>. All is in the byte order of the host. A message is a header and its payload;
 * file descriptors travel beside it (SCM_RIGHTS).
 */
#ifndef POLLUX_CORE_VFIO_USER_H
#define POLLUX_CORE_VFIO_USER_H

#include <linux/vfio.h>
#include <stdint.h>

#define VFIO_USER_MAJOR		   0
#define VFIO_USER_MINOR		   1
#define VFIO_USER_SOCKET	   "cntrl" /* in the directory of the controller */
#define VFIO_USER_DEFAULT_MAX_FDS  1u
#define VFIO_USER_DEFAULT_MAX_XFER 1048576u
#define VFIO_USER_DEFAULT_MAX_MAPS 65535u
#define VFIO_USER_DEFAULT_PGSIZES  4096u

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
	VFIO_USER_DMA_READ = 11, /* server to client, as the next */
	VFIO_USER_DMA_WRITE = 12,
	VFIO_USER_DEVICE_RESET = 13,
	VFIO_USER_REGION_WRITE_MULTI = 15,
	VFIO_USER_DEVICE_FEATURE = 16,
	VFIO_USER_MIG_DATA_READ = 17,
	VFIO_USER_MIG_DATA_WRITE = 18,
};

/* Flags of a header */
#define VFIO_USER_TYPE_MASK    0xfu
#define VFIO_USER_TYPE_COMMAND 0u
#define VFIO_USER_TYPE_REPLY   1u
#define VFIO_USER_NO_REPLY     (1u << 4)
#define VFIO_USER_ERROR	       (1u << 5)

struct vfio_user_hdr {
	uint16_t id; /* the sender's own; echoed in the reply */
	uint16_t command;
	uint32_t size; /* of the message, this header included */
	uint32_t flags;
	uint32_t error; /* an errno, or 0; in a reply with VFIO_USER_ERROR */
};
_Static_assert(sizeof(struct vfio_user_hdr) == 16, "as in the specification");

struct vfio_user_version {
	uint16_t major, minor; /* JSON follows, with its NUL; optional */
};

struct vfio_user_dma_map {
	uint32_t argsz, flags;
#define VFIO_USER_DMA_READABLE	1u
#define VFIO_USER_DMA_WRITEABLE 2u
	uint64_t offset, address, size;
};
_Static_assert(sizeof(struct vfio_user_dma_map) == 32, "as in the specification");

struct vfio_user_dma_unmap {
	uint32_t argsz, flags;
	uint64_t address, size;
};

/* shorter than struct vfio_device_info */
struct vfio_user_device_info {
	uint32_t argsz, flags, num_regions, num_irqs;
};

/* REGION_READ and REGION_WRITE, both ways; data follows what carries some */
struct vfio_user_region_rw {
	uint64_t offset;
	uint32_t region, count;
};

/* one write of REGION_WRITE_MULTI, which begins with a uint64_t count of them */
struct vfio_user_write_one {
	uint64_t offset;
	uint32_t region, count;
	uint8_t data[8];
};
_Static_assert(sizeof(struct vfio_user_write_one) == 24, "as in the specification");

/* DEVICE_GET_REGION_IO_FDS, without the array */
struct vfio_user_region_io_fds {
	uint32_t argsz, flags, index, count;
};

/* DMA_READ and DMA_WRITE, both ways; data follows what carries some */
struct vfio_user_dma_rw {
	uint64_t address, count;
};

#endif
