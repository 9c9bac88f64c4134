# SPDX-License-Identifier: BSD-3-Clause
"""vfio-user messages on a socket, and the numbers of NVMe and PCI that both foreign peers need.

Written from the specifications alone (QEMU's docs/interop/vfio-user.rst, <linux/vfio.h>, NVMe Base 2.0, NVMe over
PCIe 1.0, PCI 3.0), not from this project's sources: vfio_user_host.py and vfio_user_device.py are here to find
what the two halves of pollux agree on and the specifications do not.
"""
import json
import os
import select
import socket
import struct
import time

PATIENCE = float(os.environ.get("PLX_TIMEOUT_MULTIPLIER", 1))

# ---- "Commands" ----
VERSION, DMA_MAP, DMA_UNMAP, DEVICE_GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, DEVICE_RESET = range(9, 14)
REGION_WRITE_MULTI, DEVICE_FEATURE, MIG_DATA_READ, MIG_DATA_WRITE = range(15, 19)

# ---- "Header" ----
HEADER = struct.Struct("=HHIII")  # message id, command, size with the header, flags, error
TYPE, REPLY, NO_REPLY, ERROR = 0xf, 1, 1 << 4, 1 << 5

# ---- <linux/vfio.h> ----
DEVICE_FLAGS_RESET, DEVICE_FLAGS_PCI = 1, 2
DEVICE_INFO = struct.Struct("=IIII")  # argsz, flags, num_regions, num_irqs
REGION_INFO = struct.Struct("=IIIIQQ")  # argsz, flags, index, cap_offset, size, offset
REGION_FLAG_READ, REGION_FLAG_WRITE, REGION_FLAG_MMAP, REGION_FLAG_CAPS = 1, 2, 4, 8
CAP_HEADER = struct.Struct("=HHI")  # id, version, next
CAP_SPARSE_MMAP = 1
IRQ_INFO = struct.Struct("=IIII")  # argsz, flags, index, count
IRQ_INFO_EVENTFD, IRQ_INFO_MASKABLE, IRQ_INFO_AUTOMASKED, IRQ_INFO_NORESIZE = 1, 2, 4, 8
IRQ_SET = struct.Struct("=IIIII")  # argsz, flags, index, start, count
IRQ_DATA_NONE, IRQ_DATA_BOOL, IRQ_DATA_EVENTFD, IRQ_MASK, IRQ_UNMASK, IRQ_TRIGGER = 1, 2, 4, 8, 16, 32
BAR0, CONFIG, NUM_REGIONS = 0, 7, 9
INTX, MSI, MSIX, ERR, REQ = range(5)
DMA_MAP_REQUEST = struct.Struct("=IIQQQ")  # argsz, flags, offset, address, size
DMA_UNMAP_REQUEST = struct.Struct("=IIQQ")  # argsz, flags, address, size
REGION_ACCESS = struct.Struct("=QII")  # offset, region, count
DMA_ACCESS = struct.Struct("=QQ")  # address, count

# ---- NVMe over PCIe, controller registers ----
CAP, VS, INTMS, INTMC, CC, CSTS, NSSR, AQA, ASQ, ACQ = 0, 8, 0xc, 0x10, 0x14, 0x1c, 0x20, 0x24, 0x28, 0x30
DOORBELLS = 0x1000
CSTS_RDY, CSTS_CFS = 1, 2
PAGE = 4096


class Closed(Exception):
    """the other side closed the connection"""


class Refused(Exception):
    """a reply with the Error bit; .errno as it came"""

    def __init__(self, command, errno):
        super().__init__(f"command {command} was refused with error {errno} "
                         f"({os.strerror(errno) if errno else 'none given'})")
        self.errno = errno


class Broken(Exception):
    """the other side broke the protocol"""


class Timeout(Exception):
    """the other side did not do in time what it had to"""


class Message:
    def __init__(self, header, payload, fds):
        self.id, self.command, self.size, self.flags, self.error = HEADER.unpack(header)
        self.payload, self.fds = payload, fds

    @property
    def is_reply(self):
        return self.flags & TYPE == REPLY

    def close_fds(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Channel:
    """messages over one stream socket"""

    def __init__(self, sock, max_fds=253, max_size=1 << 24):
        self.sock, self.max_fds, self.max_size = sock, max_fds, max_size
        sock.setblocking(False)

    def fileno(self):
        return self.sock.fileno()

    def close(self):
        self.sock.close()

    def wait(self, for_write, deadline):
        sets = ([], [self.sock], []) if for_write else ([self.sock], [], [])
        if not any(select.select(*sets, max(0, deadline - time.monotonic()))):
            raise Timeout("the other side does not read" if for_write else "the other side does not answer")

    def send_bytes(self, data, fds=(), timeout=10):
        """all of the bytes; descriptors go with the first"""
        deadline, view = time.monotonic() + timeout * PATIENCE, memoryview(data)
        while view:
            try:
                sent = socket.send_fds(self.sock, [view], fds) if fds else self.sock.send(view)
            except BlockingIOError:
                self.wait(True, deadline)
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise Closed("the connection was closed while a message was sent") from None
            view, fds = view[sent:], ()

    def send(self, msg_id, command, payload=b"", fds=(), flags=0, error=0, size=None):
        size = HEADER.size + len(payload) if size is None else size
        self.send_bytes(HEADER.pack(msg_id & 0xffff, command, size, flags, error) + bytes(payload), fds)

    def _read(self, count, fds, timeout):
        deadline, data = time.monotonic() + timeout * PATIENCE, b""
        while len(data) < count:
            try:
                got, new, _, _ = socket.recv_fds(self.sock, count - len(data), self.max_fds)
            except BlockingIOError:
                self.wait(False, deadline)
                continue
            except ConnectionResetError:
                raise Closed("connection reset") from None
            fds.extend(new)
            if not got:
                raise Closed("the connection was closed" + (" within a message" if data else ""))
            data += got
        return data

    def receive(self, timeout=10):
        """the next message, whatever it is; Closed, Timeout, Broken"""
        fds = []
        header = self._read(HEADER.size, fds, timeout)
        size = HEADER.unpack(header)[2]
        if not HEADER.size <= size <= self.max_size:
            raise Broken(f"a message of {size} bytes")
        return Message(header, self._read(size - HEADER.size, fds, timeout), fds)


def version_payload(major, minor, capabilities=None, nul=True):
    """capabilities: an object for "capabilities"; None: no version data at all; bytes: as they are"""
    data = b""
    if isinstance(capabilities, bytes):
        data = capabilities
    elif capabilities is not None:
        data = json.dumps({"capabilities": capabilities}).encode()
    return struct.pack("=HH", major, minor) + data + (b"\0" if nul and capabilities is not None else b"")


def parse_version(payload):
    """major, minor, capabilities"""
    if len(payload) < 4:
        raise Broken(f"a version of {len(payload)} bytes")
    major, minor = struct.unpack_from("=HH", payload)
    text = payload[4:]
    if not text:
        return major, minor, {}
    try:
        data = json.loads(text.split(b"\0")[0].decode() or "{}")
    except ValueError as error:
        raise Broken(f"version data is no JSON: {error}: {text!r}") from None
    if not isinstance(data, dict) or not isinstance(data.get("capabilities", {}), dict):
        raise Broken(f"version data is not as specified: {data!r}")
    return major, minor, data.get("capabilities", {})


def pack_region_info(index, flags, size, offset, areas=None, before=()):
    """a full reply; areas: of the sparse mmap capability, after capabilities (id, body) of `before`"""
    caps = [(cap_id, 1, body) for cap_id, body in before]
    if areas is not None:
        body = struct.pack("=II", len(areas), 0) + b"".join(struct.pack("=QQ", *area) for area in areas)
        caps.append((CAP_SPARSE_MMAP, 1, body))
    at, chain = REGION_INFO.size, b""
    for number, (cap_id, version, body) in enumerate(caps):
        body += bytes(-len(body) % 8)
        after = at + CAP_HEADER.size + len(body)
        chain += CAP_HEADER.pack(cap_id, version, after if number + 1 < len(caps) else 0) + body
        at = after
    flags |= REGION_FLAG_CAPS if caps else 0
    return REGION_INFO.pack(at, flags, index, REGION_INFO.size if caps else 0, size, offset) + chain


def parse_caps(payload, cap_offset):
    """the capabilities of a region as {id: (version, body)}"""
    found, seen = {}, set()
    while cap_offset:
        if cap_offset in seen or cap_offset + CAP_HEADER.size > len(payload):
            raise Broken(f"region capability at {cap_offset} of {len(payload)} bytes")
        seen.add(cap_offset)
        cap_id, version, after = CAP_HEADER.unpack_from(payload, cap_offset)
        found[cap_id] = version, payload[cap_offset + CAP_HEADER.size:after or len(payload)]
        cap_offset = after
    return found


def parse_sparse(body):
    """(offset, size) of each area"""
    count = struct.unpack_from("=II", body)[0]
    if len(body) < 8 + 16 * count:
        raise Broken(f"{count} sparse areas in {len(body)} bytes")
    return [struct.unpack_from("=QQ", body, 8 + 16 * i) for i in range(count)]
