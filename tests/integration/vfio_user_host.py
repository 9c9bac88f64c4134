# SPDX-License-Identifier: BSD-3-Clause
"""A foreign NVMe host on a vfio-user socket: a client of the protocol and a small driver above it.

    with Host(path) as host:                          # connected, nothing sent
        host.version({"max_msg_fds": 8})
        host.bring_up(layout("scattered"))            # device and regions, PCI, DMA maps, admin queue, identify
        host.make_queues(2, sq_size=4, cq_size=7)
        host.write(host.sqs[1], 1, lba, data)
        plx.equal(host.read(host.sqs[1], 1, lba, blocks), data, "data")

It keeps to the letter of the specification and looks whether the other side does: what breaks the protocol
raises wire.Broken. Requests of the server for memory are answered whenever the host waits for anything.
"""
import bisect
import contextlib
import itertools
import mmap
import os
import random
import resource
import select
import socket
import struct
import time

import vfio_user_wire as wire
from vfio_user_wire import PAGE, Broken, Closed, Timeout

# each region of memory is a descriptor
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

EOPNOTSUPP, EINVAL, EFAULT = 95, 22, 14
READABLE, WRITEABLE = 1, 2


# ---- memory ----

class Region:
    """one DMA mapping: where the device sees it, and a file or, without one, bytes of our own behind it"""

    def __init__(self, iova, size, shared=True, offset=0, flags=READABLE | WRITEABLE, fd=None):
        self.iova, self.size, self.offset, self.flags, self.shared = iova, size, offset, flags, shared
        self.fd = -1
        if shared:
            self.fd = os.dup(fd) if fd is not None else os.memfd_create("host")
            if fd is None:
                os.ftruncate(self.fd, offset + size)
            self.bytes = mmap.mmap(self.fd, size, offset=offset)
        else:
            self.offset, self.bytes = 0, mmap.mmap(-1, size)
        self.view = memoryview(self.bytes)
        self.words = self.view.cast("H")

    def close(self):
        self.words.release()
        self.view.release()
        self.bytes.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Memory:
    """the device's view of our memory: regions, found by address, and their free pages"""

    def __init__(self, seed=1):
        self.regions, self.bases, self.free, self.rng = [], [], [], random.Random(seed)

    def add(self, region):
        at = bisect.bisect(self.bases, region.iova)
        self.regions.insert(at, region)
        self.bases.insert(at, region.iova)
        self.free = sorted(self.free + [a for a in range(region.iova, region.iova + region.size, PAGE) if a])
        return region

    def remove(self, region):
        at = self.regions.index(region)
        del self.regions[at], self.bases[at]
        self.free = [a for a in self.free if not region.iova <= a < region.iova + region.size]

    def region_at(self, iova):
        at = bisect.bisect(self.bases, iova) - 1
        if at >= 0 and iova < self.regions[at].iova + self.regions[at].size:
            return self.regions[at]
        raise Broken(f"memory at {iova:#x} is not mapped")

    def _pieces(self, iova, count):
        while count:
            region = self.region_at(iova)
            at = iova - region.iova
            piece = min(count, region.size - at)
            yield region, at, piece
            iova, count = iova + piece, count - piece

    def allows(self, iova, count, flag):
        try:
            return all(region.flags & flag for region, _, _ in self._pieces(iova, count))
        except Broken:
            return False

    def read(self, iova, count):
        return b"".join(bytes(region.view[at:at + piece]) for region, at, piece in self._pieces(iova, count))

    def write(self, iova, data):
        done = 0
        for region, at, piece in self._pieces(iova, len(data)):
            region.view[at:at + piece] = data[done:done + piece]
            done += piece

    def word(self, iova):
        """16 bits in one load"""
        region = self.region_at(iova)
        return region.words[(iova - region.iova) // 2]

    def run(self, size, shared=None):
        """a contiguous range, page aligned, zeroed; shared: of regions with (True) or without a descriptor"""
        count, free = -(-size // PAGE), self.free
        if shared is not None:
            free = [a for a in free if self.region_at(a).shared == shared]
        start = 0
        for i, address in enumerate(free):
            if i and address != free[i - 1] + PAGE:
                start = i
            if i - start + 1 == count:
                base = free[start]
                self.free = [a for a in self.free if not base <= a < base + count * PAGE]
                self.write(base, bytes(count * PAGE))
                return base
        raise AssertionError(f"this layout has no {size} bytes in a row")

    def pages(self, count):
        """single pages from all over the place"""
        chosen = self.rng.sample(self.free, count)
        taken = set(chosen)
        self.free = [a for a in self.free if a not in taken]
        return chosen

    def give_back(self, pages):
        self.free = sorted(set(self.free).union(pages))

    def close(self):
        for region in self.regions:
            region.close()
        self.regions, self.bases, self.free = [], [], []


def layout(kind, seed=1):
    """regions to map, in the order in which to map them. Each kind has 32 pages in a row somewhere."""
    rng = random.Random(seed)
    big = 1 << 20
    if kind == "one":
        return [Region(0x100000, 8 * big)]
    if kind == "at zero":
        return [Region(0, 4 * big)]
    if kind == "high":  # the last page of 64 bits is left out
        return [Region((1 << 64) - 8 * big, 4 * big)]
    if kind == "offsets":  # all in one file, not in its order
        fd = os.memfd_create("host")
        os.ftruncate(fd, 16 * big)
        places = rng.sample(range(16), 8)
        regions = [Region(0x7000000 + i * 3 * big, big, fd=fd, offset=place * big)
                   for i, place in enumerate(places)]
        os.close(fd)
        return regions
    if kind == "no descriptors":
        return [Region(0x40000000, 4 * big, shared=False)]
    small = []  # hundreds, at odd places, with holes and without, of one page to four
    iova = 0x1000
    for number in range(300):
        size = PAGE * rng.choice((1, 1, 2, 4))
        iova += PAGE * rng.choice((0, 0, 1, 5, 0x100000, 0x3000007))
        small.append(Region(iova, size, shared=kind != "mixed" or number % 3 > 0,
                            offset=PAGE * rng.choice((0, 3))))
        iova += size
    rng.shuffle(small)
    # for the queues: 16 regions that touch each other
    small[150:150] = [Region(0x5555000000 + i * 16 * PAGE, 16 * PAGE) for i in range(16)]
    assert kind in ("scattered", "mixed"), kind
    return small


LAYOUTS = ("one", "at zero", "high", "offsets", "scattered", "mixed", "no descriptors")


# ---- queues ----

class Cq:
    def __init__(self, qid, size, base, vector=None):
        self.qid, self.size, self.base, self.vector = qid, size, base, vector
        self.head, self.phase, self.rung = 0, 1, 0
        self.sqs = {}


class Sq:
    def __init__(self, qid, size, base, cq):
        self.qid, self.size, self.base, self.cq = qid, size, base, cq
        self.tail = self.head = self.rung = 0
        self.waiting, self.done = set(), {}
        self.cids = itertools.count(1)
        cq.sqs[qid] = self


class Failed(Exception):
    """a command ended with a status other than 0; .status is type << 8 | code"""

    def __init__(self, opcode, status):
        super().__init__(f"command {opcode:02x}h ended with status {status:03x}h")
        self.status = status


def command(opcode, nsid=0, prp1=0, prp2=0, cdw=(), flags=0, mptr=0):
    """64 bytes with command identifier 0; cdw: dwords 10 and on"""
    cdw = (tuple(cdw) + (0,) * 6)[:6]
    return struct.pack("=BBHIQQQQ6I", opcode, flags, 0, nsid, 0, mptr, prp1, prp2, *cdw)


class Host:
    """a client and driver; see the top of the file"""

    def __init__(self, path, timeout=10):
        self.timeout = timeout
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout * wire.PATIENCE)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        self.channels = [wire.Channel(sock)]
        self.memory, self.replies = Memory(), []
        self.same_ids = False  # identifiers belong to the sender: all may be the same
        self.ids = itertools.count(random.randrange(65536))
        self.wide_dma_reply = True  # the specification's table of the DMA_WRITE reply says 4 bytes of count: see there
        self.max_data_xfer_size = 1 << 20
        self.served = {wire.DMA_READ: 0, wire.DMA_WRITE: 0}
        self.bars, self.sqs, self.cqs, self.eventfds = {}, {}, {}, {}
        self.areas, self.maps = [], []
        self.message_doorbells = False
        self.bar0_size = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """goes away without a word"""
        for channel in self.channels:
            channel.close()
        self.channels = []
        for _, _, view, area in self.areas:
            view.release()
            area.close()
        self.areas = []
        self.memory.close()
        for fd in self.eventfds.values():
            os.close(fd)
        self.eventfds = {}

    # -- messages --

    def _next_id(self):
        return 7 if self.same_ids else next(self.ids) & 0xffff

    def send(self, command_id, payload=b"", fds=(), flags=0):
        msg_id = self._next_id()
        self.channels[0].send(msg_id, command_id, payload, fds, flags)
        return msg_id

    def post(self, command_id, payload=b"", fds=()):
        """a command with No_reply"""
        self.send(command_id, payload, fds, wire.NO_REPLY)

    def pump(self, timeout=0.0):
        """takes what has come in: replies are kept, requests answered. Returns whether there was anything"""
        ready = select.select(self.channels, [], [], timeout)[0]
        for channel in ready:
            message = channel.receive(self.timeout)
            if message.is_reply:
                self.replies.append(message)
            else:
                self._serve(channel, message)
        return bool(ready)

    def reply(self, msg_id, command_id):
        """the reply to the oldest command with that identifier, whole"""
        deadline = time.monotonic() + self.timeout * wire.PATIENCE
        while True:
            for message in self.replies:
                if message.id == msg_id:
                    self.replies.remove(message)
                    if message.command != command_id:
                        message.close_fds()
                        raise Broken(f"command {command_id} was answered with a reply to {message.command}")
                    if message.flags & wire.ERROR:
                        message.close_fds()
                        if message.size != wire.HEADER.size:
                            raise Broken('"If an error occurs, the reply message must only include the reply header": '
                                         f"{message.size} bytes to command {command_id}")
                        raise wire.Refused(command_id, message.error)
                    return message
            if not self.pump(max(0, deadline - time.monotonic())):
                raise Timeout(f"command {command_id} is not answered")

    def call(self, command_id, payload=b"", fds=()):
        return self.reply(self.send(command_id, payload, fds), command_id)

    def call_plain(self, command_id, payload=b"", fds=(), expect=None):
        """for replies without descriptors: the payload, of `expect` bytes"""
        message = self.call(command_id, payload, fds)
        if message.fds:
            message.close_fds()
            raise Broken(f"the reply to command {command_id} brings file descriptors")
        if expect is not None and len(message.payload) != expect:
            raise Broken(f"the reply to command {command_id} has {len(message.payload)} bytes of payload, not {expect}")
        return message.payload

    def _serve(self, channel, message):
        """DMA_READ and DMA_WRITE of the server"""
        message.close_fds()
        if message.command not in self.served:
            channel.send(message.id, message.command, flags=wire.REPLY | wire.ERROR, error=EOPNOTSUPP)
            raise Broken(f"the server sent command {message.command}")
        if len(message.payload) < wire.DMA_ACCESS.size:
            raise Broken(f"a DMA command of {len(message.payload)} bytes")
        address, count = wire.DMA_ACCESS.unpack_from(message.payload)
        write = message.command == wire.DMA_WRITE
        if count > self.max_data_xfer_size:
            raise Broken(f"the server asks for {count} bytes, our max_data_xfer_size is {self.max_data_xfer_size}")
        if len(message.payload) != wire.DMA_ACCESS.size + (count if write else 0):
            raise Broken(f"a DMA command of {count} bytes has {len(message.payload)} of payload")
        self.served[message.command] += 1
        if not self.memory.allows(address, count, WRITEABLE if write else READABLE):
            channel.send(message.id, message.command, flags=wire.REPLY | wire.ERROR, error=EFAULT)
            raise Broken(f"the server {'writes' if write else 'reads'} {count} bytes at {address:#x}, which we have "
                         "not mapped for that")
        if write:
            self.memory.write(address, message.payload[wire.DMA_ACCESS.size:])
        if message.flags & wire.NO_REPLY:
            return
        if write:
            # the table has a count of 4 bytes where the request has 8: either length has to do
            answer = wire.DMA_ACCESS.pack(address, count)[:16 if self.wide_dma_reply else 12]
        else:
            answer = wire.DMA_ACCESS.pack(address, count) + self.memory.read(address, count)
        channel.send(message.id, message.command, answer, flags=wire.REPLY)

    # -- the protocol's steps --

    def version(self, capabilities=None, major=0, minor=1, nul=True):
        """negotiates; returns the server's capabilities"""
        if isinstance(capabilities, dict):
            self.max_data_xfer_size = capabilities.get("max_data_xfer_size", 1 << 20)
        message = self.call(wire.VERSION, wire.version_payload(major, minor, capabilities, nul))
        got_major, got_minor, self.capabilities = wire.parse_version(message.payload)
        if message.payload[4:] and message.payload[-1]:
            raise Broken('version data is not "including terminating NUL"')
        if got_major != major or got_minor > minor:
            raise Broken(f"version {major}.{minor} was proposed, {got_major}.{got_minor} answered")
        twin = self.capabilities.get("twin_socket", {})
        if twin.get("supported"):
            offered = isinstance(capabilities, dict) and capabilities.get("twin_socket", {}).get("supported")
            if not offered or twin.get("fd_index", -1) not in range(len(message.fds)):
                raise Broken(f"twin_socket as it was not proposed: {twin}")
            self.channels.append(wire.Channel(socket.socket(fileno=message.fds.pop(twin["fd_index"]))))
        message.close_fds()
        for name, least in (("max_msg_fds", 1), ("max_data_xfer_size", 1), ("max_dma_maps", 1), ("pgsizes", PAGE)):
            value = self.capabilities.get(name, least)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise Broken(f"capability {name} is {value!r}")
        return self.capabilities

    def device_info(self, argsz=16):
        payload = self.call_plain(wire.DEVICE_GET_INFO, wire.DEVICE_INFO.pack(argsz, 0, 0, 0), expect=16)
        size, flags, regions, irqs = wire.DEVICE_INFO.unpack(payload)
        if size != 16 or not flags & wire.DEVICE_FLAGS_PCI or regions < wire.NUM_REGIONS or irqs < wire.MSIX + 1:
            raise Broken(f"device info: argsz {size}, flags {flags:#x}, {regions} regions, {irqs} interrupt types")
        return flags, regions, irqs

    def region_info(self, index, argsz=32):
        """(flags, size, offset, areas or None, fds, argsz): asked again with the size wanted, as the kernel's users do"""
        payload = b""
        while True:
            message = self.call(wire.GET_REGION_INFO, wire.REGION_INFO.pack(argsz, 0, index, 0, 0, 0))
            payload = message.payload
            if not 32 <= len(payload) <= argsz:
                message.close_fds()
                raise Broken(f"argsz {argsz} was answered with {len(payload)} bytes")
            needed, flags, got, cap_offset, size, offset = wire.REGION_INFO.unpack_from(payload)
            if got != index:
                raise Broken(f"asked for region {index}, told about {got}")
            if needed <= argsz:
                break
            if len(payload) > 32:
                raise Broken("a part of the capabilities came with a reply that is too small for all")
            message.close_fds()
            argsz = needed
        if needed != len(payload):
            raise Broken(f"argsz {needed} in a payload of {len(payload)} bytes")
        areas = None
        if flags & wire.REGION_FLAG_CAPS:
            caps = wire.parse_caps(payload, cap_offset)
            if wire.CAP_SPARSE_MMAP in caps:
                areas = wire.parse_sparse(caps[wire.CAP_SPARSE_MMAP][1])
        if bool(flags & wire.REGION_FLAG_MMAP) != bool(message.fds):
            raise Broken(f"region {index}: flags {flags:#x} with {len(message.fds)} descriptors")
        if flags & wire.REGION_FLAG_MMAP:
            for at, length in areas or [(0, size)]:
                if at + length > size:
                    raise Broken(f"area {at:#x}+{length:#x} of a region of {size:#x} bytes")
        return flags, size, offset, areas, message.fds, needed

    def map_bar0(self, argsz=32):
        """maps what can be mapped of it"""
        flags, self.bar0_size, offset, areas, fds, _ = self.region_info(wire.BAR0, argsz)
        if self.bar0_size < wire.DOORBELLS + 8:
            raise Broken(f"BAR 0 has {self.bar0_size} bytes")
        for at, length in (areas or [(0, self.bar0_size)]) if fds else ():
            area = mmap.mmap(fds[0], length, offset=offset + at)
            self.areas.append((at, length, memoryview(area).cast("I"), area))
        for fd in fds:
            os.close(fd)

    def irq_info(self, index, argsz=16):
        payload = self.call_plain(wire.GET_IRQ_INFO, wire.IRQ_INFO.pack(argsz, 0, index, 0), expect=16)
        size, flags, got, count = wire.IRQ_INFO.unpack(payload)
        if size != 16 or got != index:
            raise Broken(f"interrupt type {index}: argsz {size}, index {got}")
        return flags, count

    def set_irqs(self, index, flags, start=0, count=0, data=b"", fds=()):
        self.call_plain(wire.SET_IRQS, wire.IRQ_SET.pack(20 + len(data), flags, index, start, count) + data, fds, expect=0)

    def arm(self, index, first, count):
        """eventfds for vectors, as many at a time as the server takes"""
        step = self.capabilities.get("max_msg_fds", 1)
        for start in range(first, first + count, step):
            part = range(start, min(start + step, first + count))
            for vector in part:
                self.eventfds[vector] = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.set_irqs(index, wire.IRQ_DATA_EVENTFD | wire.IRQ_TRIGGER, start, len(part),
                          fds=[self.eventfds[v] for v in part])

    def interrupted(self, vector, timeout=5):
        """waits for the interrupt; how often it came"""
        deadline = time.monotonic() + timeout * wire.PATIENCE
        while True:
            with contextlib.suppress(BlockingIOError):
                return os.eventfd_read(self.eventfds[vector])
            if time.monotonic() > deadline:
                raise Timeout(f"interrupt {vector} does not come")
            select.select([self.eventfds[vector], *self.channels], [], [], 0.1)
            self.pump()

    def region_read(self, region, offset, count):
        payload = self.call_plain(wire.REGION_READ, wire.REGION_ACCESS.pack(offset, region, count), expect=16 + count)
        if wire.REGION_ACCESS.unpack_from(payload) != (offset, region, count):
            raise Broken("the reply to a region read is about another place")
        return payload[16:]

    def region_write(self, region, offset, data, reply=True):
        payload = wire.REGION_ACCESS.pack(offset, region, len(data)) + data
        if not reply:
            self.post(wire.REGION_WRITE, payload)
        elif self.call_plain(wire.REGION_WRITE, payload, expect=16) != payload[:16]:
            raise Broken("the reply to a region write is about another place")

    def map(self, region, add=True):
        if add:  # from now on, not from the reply on, the server may access it
            self.memory.add(region)
        request = wire.DMA_MAP_REQUEST.pack(32, region.flags, region.offset, region.iova, region.size)
        try:
            self.call_plain(wire.DMA_MAP, request, [region.fd] if region.shared else [], expect=0)
        except wire.Refused:
            if add:
                self.memory.remove(region)
            raise

    def unmap(self, region, remove=True):
        request = wire.DMA_UNMAP_REQUEST.pack(24, 0, region.iova, region.size)
        if self.call_plain(wire.DMA_UNMAP, request, expect=24)[8:] != request[8:]:
            raise Broken('"The server responds with the original DMA entry in the request": it does not')
        if remove:
            self.memory.remove(region)

    # -- PCI --

    def cfg(self, offset, size):
        return int.from_bytes(self.region_read(wire.CONFIG, offset, size), "little")

    def cfg_write(self, offset, value, size):
        self.region_write(wire.CONFIG, offset, value.to_bytes(size, "little"))

    def pci_capabilities(self):
        """{id: offset}"""
        found, at = {}, self.cfg(0x34, 1) if self.cfg(6, 2) & 0x10 else 0
        while at:
            if at < 0x40 or at & 3 or at in found.values():
                raise Broken(f"PCI capability at {at:#x}")
            found[self.cfg(at, 1)] = at
            at = self.cfg(at + 1, 1)
        return found

    def bar_size(self, number):
        """as the PCI specification says (§6.2.5.1): all ones, read back; (size, 64-bit)"""
        at, command_register = 0x10 + 4 * number, self.cfg(4, 2)
        self.cfg_write(4, command_register & ~3, 2)
        low = self.cfg(at, 4)
        wide = low & 7 == 4
        old = [low] + ([self.cfg(at + 4, 4)] if wide else [])
        for i in range(len(old)):
            self.cfg_write(at + 4 * i, 0xffffffff, 4)
        mask = self.cfg(at, 4) & ~0xf | (self.cfg(at + 4, 4) << 32 if wide else 0xffffffff << 32)
        for i, value in enumerate(old):
            self.cfg_write(at + 4 * i, value, 4)
        self.cfg_write(4, command_register, 2)
        return (-mask & (1 << 64) - 1 if mask & 0xffffffff or wide else 0), wide

    def start_pci(self):
        """memory space and bus master on, interrupt pin left as it is; checks that it is an NVMe controller"""
        if self.cfg(8, 4) >> 8 != 0x010802:
            raise Broken(f"PCI class {self.cfg(8, 4) >> 8:#08x} is no NVMe controller")
        self.cfg_write(4, self.cfg(4, 2) | 6, 2)
        if self.cfg(4, 2) & 6 != 6:
            raise Broken("memory space and bus master do not stay on")

    # -- registers --

    def reg(self, offset, size=4):
        return int.from_bytes(self.region_read(wire.BAR0, offset, size), "little")

    def reg_write(self, offset, value, size=4):
        self.region_write(wire.BAR0, offset, value.to_bytes(size, "little"))

    def _until(self, what, condition, timeout=10):
        deadline, spins = time.monotonic() + timeout * wire.PATIENCE, 0
        while not condition():
            if time.monotonic() > deadline:
                raise Timeout(what)
            spins += 1
            self.pump(0.0003 if spins > 20 else 0)

    def ring(self, queue, value):
        index = 2 * queue.qid + isinstance(queue, Cq)
        offset = wire.DOORBELLS + index * (4 << self.dstrd)
        for at, length, view, _ in self.areas if not self.message_doorbells else ():
            if at <= offset < at + length:
                view[(offset - at) // 4] = value
                return
        self.region_write(wire.BAR0, offset, value.to_bytes(4, "little"), reply=self.message_doorbells != "no reply")

    def disable(self):
        if not self.reg(wire.CC) & 1 and not self.reg(wire.CSTS) & 1:
            return
        self.reg_write(wire.CC, self.reg(wire.CC) & ~1)
        self._until("CSTS.RDY does not become 0", lambda: not self.reg(wire.CSTS) & wire.CSTS_RDY)
        self.sqs, self.cqs = {}, {}

    def enable(self, sq_size=32, cq_size=32, shared=None):
        """controller on (NVMe Base §3.5.1); queue memory of the admin queue is fresh"""
        self.disable()
        cap = self.reg(wire.CAP, 8)
        if cap != self.reg(wire.CAP) | self.reg(wire.CAP + 4) << 32:
            raise Broken("CAP in two halves is another one")
        self.mqes, self.dstrd = cap & 0xffff, cap >> 32 & 0xf
        self.cap = cap
        self.cqs = {0: Cq(0, cq_size, self.memory.run(16 * cq_size, shared))}
        self.sqs = {0: Sq(0, sq_size, self.memory.run(64 * sq_size, shared), self.cqs[0])}
        self.reg_write(wire.AQA, cq_size - 1 << 16 | sq_size - 1)
        self.reg_write(wire.ASQ, self.sqs[0].base, 8)
        self.reg_write(wire.ACQ, self.cqs[0].base & 0xffffffff)  # 32-bit accesses are as good
        self.reg_write(wire.ACQ + 4, self.cqs[0].base >> 32)
        self.reg_write(wire.CC, 6 << 16 | 4 << 20)
        self.reg_write(wire.CC, 6 << 16 | 4 << 20 | 1)
        self._until("CSTS.RDY does not become 1", lambda: self.reg(wire.CSTS) & wire.CSTS_RDY)

    def shutdown(self):
        self.reg_write(wire.CC, self.reg(wire.CC) & ~(3 << 14) | 1 << 14)
        self._until("CSTS.SHST does not become 10b", lambda: self.reg(wire.CSTS) >> 2 & 3 == 2)

    # -- commands --

    def submit(self, sq, entry, ring=True):
        """puts 64 bytes into the queue; returns the command identifier"""
        self._until("a submission queue stays full", lambda: (sq.tail + 1) % sq.size != sq.head or self.poll(sq.cq) < 0)
        cid = next(sq.cids) & 0x7fff
        self.memory.write(sq.base + 64 * sq.tail, entry[:2] + struct.pack("=H", cid) + entry[4:])
        sq.waiting.add(cid)
        sq.tail = (sq.tail + 1) % sq.size
        if ring:
            self.ring(sq, sq.tail)
        return cid

    def poll(self, cq):
        """takes the completions there are; how many"""
        self.pump()
        count = 0
        while self.memory.word(cq.base + 16 * cq.head + 14) & 1 == cq.phase:
            dw0, _, sqhd, sqid, cid, status = struct.unpack("=IIHHHH", self.memory.read(cq.base + 16 * cq.head, 16))
            if sqid not in cq.sqs or cid not in cq.sqs[sqid].waiting or sqhd >= cq.sqs[sqid].size:
                raise Broken(f"completion queue {cq.qid}: sqid {sqid}, cid {cid}, sqhd {sqhd}")
            sq = cq.sqs[sqid]
            sq.waiting.remove(cid)
            sq.done[cid] = status >> 1 & 0x7ff, dw0
            sq.head = sqhd
            cq.head, count = cq.head + 1, count + 1
            if cq.head == cq.size:
                cq.head, cq.phase = 0, cq.phase ^ 1
        if count:
            self.ring(cq, cq.head)
        return count

    def finish(self, sq, cid, timeout=10):
        """waits for a command; (status, dword 0)"""
        self._until(f"command {cid} of queue {sq.qid} does not end", lambda: cid in sq.done or self.poll(sq.cq) < 0, timeout)
        return sq.done.pop(cid)

    def do(self, sq, entry, timeout=10):
        """a command from begin to end; its dword 0"""
        status, dw0 = self.finish(sq, self.submit(sq, entry), timeout)
        if status:
            raise Failed(entry[0], status)
        return dw0

    def admin(self, *args, **kwargs):
        return self.do(self.sqs[0], command(*args, **kwargs))

    def identify(self, cns, nsid=0):
        page = self.memory.pages(1)
        self.admin(6, nsid, page[0], cdw=(cns,))
        data = self.memory.read(page[0], PAGE)
        self.memory.give_back(page)
        return data

    def look_around(self):
        """identify controller and namespaces"""
        data = self.identify(1)
        self.mdts = data[77]
        self.sgls = struct.unpack_from("=I", data, 536)[0]
        self.max_bytes = 1 << 12 + self.mdts if self.mdts else 1 << 20
        self.namespaces = {}
        for nsid in struct.unpack("=1024I", self.identify(2)):
            if not nsid:
                break
            ns = self.identify(0, nsid)
            self.namespaces[nsid] = struct.unpack_from("=Q", ns)[0], 1 << ns[128 + 4 * (ns[26] & 0xf) + 2]
        return data

    def ask_queues(self, count):
        """Set Features, Number of Queues; (submission, completion) allotted"""
        dw0 = self.admin(9, cdw=(7, count - 1 << 16 | count - 1))
        return (dw0 & 0xffff) + 1, (dw0 >> 16) + 1

    def create_cq(self, qid, size, vector=None, shared=None):
        cq = Cq(qid, size, self.memory.run(16 * size, shared), vector)
        flags = 1 if vector is None else 3
        self.admin(5, prp1=cq.base, cdw=(size - 1 << 16 | qid, (vector or 0) << 16 | flags))
        self.cqs[qid] = cq
        return cq

    def create_sq(self, qid, size, cq, shared=None):
        sq = Sq(qid, size, self.memory.run(64 * size, shared), cq)
        self.admin(1, prp1=sq.base, cdw=(size - 1 << 16 | qid, cq.qid << 16 | 1))
        self.sqs[qid] = sq
        return sq

    def delete_sq(self, sq):
        self.admin(0, cdw=(sq.qid,))
        del self.sqs[sq.qid], sq.cq.sqs[sq.qid]

    def delete_cq(self, cq):
        self.admin(4, cdw=(cq.qid,))
        del self.cqs[cq.qid]

    def make_queues(self, count, sq_size=16, cq_size=16, vectors=False, shared=None):
        self.ask_queues(count)
        for qid in range(1, count + 1):
            self.create_sq(qid, sq_size, self.create_cq(qid, cq_size, qid if vectors else None, shared), shared)

    def bring_up(self, regions, sq_size=32, cq_size=32, argsz=32, shared=None):
        """all from device info to identify"""
        self.device_info()
        self.map_bar0(argsz)
        self.start_pci()
        for region in regions:
            self.map(region)
        self.enable(sq_size, cq_size, shared)
        return self.look_around()

    # -- data --

    def prps(self, segments, list_at=0):
        """(prp1, prp2, pages used): entries for the segments, which must join at page borders. The first list begins
        at `list_at` in its page: where a list does not fit into its page, its last entry points to the next."""
        entries = []
        for iova, length in segments:
            while length:
                entries.append(iova)
                piece = min(length, PAGE - iova % PAGE)
                iova, length = iova + piece, length - piece
        if len(entries) < 3:
            return entries[0], entries[1] if len(entries) > 1 else 0, []
        rest, used, prp2, put = entries[1:], [], None, None
        while True:
            page = self.memory.pages(1)[0]
            used.append(page)
            at = page + (list_at if prp2 is None else 0)
            prp2 = at if prp2 is None else prp2
            if put:
                self.memory.write(put, struct.pack("=Q", at))
            room = (page + PAGE - at) // 8
            if len(rest) <= room:
                self.memory.write(at, struct.pack(f"={len(rest)}Q", *rest))
                return entries[0], prp2, used
            self.memory.write(at, struct.pack(f"={room - 1}Q", *rest[:room - 1]))
            rest, put = rest[room - 1:], page + PAGE - 8

    def sgl(self, segments, per_segment=256):
        """(dptr, pages used): data blocks, in segments of at most `per_segment` descriptors"""
        if len(segments) == 1:
            return struct.pack("=QIHBB", segments[0][0], segments[0][1], 0, 0, 0), []
        parts, rest = [], list(segments)
        while len(rest) > per_segment:
            parts.append(rest[:per_segment - 1])
            rest = rest[per_segment - 1:]
        parts.append(rest)
        pages = self.memory.pages(len(parts))
        sizes = [16 * (len(part) + (number + 1 < len(parts))) for number, part in enumerate(parts)]

        def pointer(number):  # to a segment (2h), or to the last one (3h)
            kind = 0x30 if number + 1 == len(parts) else 0x20
            return struct.pack("=QIHBB", pages[number], sizes[number], 0, 0, kind)

        for number, part in enumerate(parts):
            data = b"".join(struct.pack("=QIHBB", iova, length, 0, 0, 0) for iova, length in part)
            self.memory.write(pages[number], data + (pointer(number + 1) if number + 1 < len(parts) else b""))
        return pointer(0), pages

    def scattered(self, size, offset=0):
        """segments over pages from anywhere, the first from `offset` in its page on"""
        pages = self.memory.pages(-(-(offset + size) // PAGE))
        segments = []
        for page in pages:
            length = min(PAGE - offset, size)
            segments.append((page + offset, length))
            size, offset = size - length, 0
        return segments, pages

    def gather(self, segments):
        return b"".join(self.memory.read(iova, length) for iova, length in segments)

    def scatter(self, segments, data):
        for iova, length in segments:
            self.memory.write(iova, data[:length])
            data = data[length:]

    def start_io(self, sq, opcode, nsid, lba, blocks, segments, sgl=False, list_at=0, ring=True, per_segment=256):
        """submits; (cid, pages that hold lists)"""
        if sgl:
            dptr, used = self.sgl(segments, per_segment)
            prp1, prp2 = struct.unpack("=QQ", dptr)
        else:
            prp1, prp2, used = self.prps(segments, list_at)
        cdw = (lba & 0xffffffff, lba >> 32, blocks - 1)
        return self.submit(sq, command(opcode, nsid, prp1, prp2, cdw, 0x40 if sgl else 0), ring), used

    def io(self, sq, opcode, nsid, lba, blocks, segments, **how):
        cid, used = self.start_io(sq, opcode, nsid, lba, blocks, segments, **how)
        status, _ = self.finish(sq, cid)
        self.memory.give_back(used)
        if status:
            raise Failed(opcode, status)

    def write(self, sq, nsid, lba, data, offset=0, **how):
        segments, pages = self.scattered(len(data), offset)
        self.scatter(segments, data)
        self.io(sq, 1, nsid, lba, len(data) // self.namespaces[nsid][1], segments, **how)
        self.memory.give_back(pages)

    def read(self, sq, nsid, lba, blocks, offset=0, **how):
        segments, pages = self.scattered(blocks * self.namespaces[nsid][1], offset)
        self.scatter(segments, b"\xa5" * (blocks * self.namespaces[nsid][1]))
        self.io(sq, 2, nsid, lba, blocks, segments, **how)
        data = self.gather(segments)
        self.memory.give_back(pages)
        return data
