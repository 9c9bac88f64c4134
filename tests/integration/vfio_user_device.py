#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A foreign NVMe device: a vfio-user server with a small controller, whose habits and misbehaviours are options.

    vfio_user_device.py DIR --stride 3 --sparse first --dma messages     listens at DIR/cntrl, says "ready"

It keeps to the letter of the specifications where it is not told to misbehave, and prints a line "VIOLATION: ..."
for what a client does against them. Ends when told to (SIGTERM) or with its parent. The messages are here, the
controller in vfio_user_nvme.py.
"""
import argparse
import contextlib
import mmap
import os
import random
import select
import socket
import struct
import sys
import time

import vfio_user_wire as wire
from vfio_user_nvme import Controller, Unmapped
from vfio_user_wire import PAGE, Broken, Closed

MSIX_BAR = 4
EINVAL, EEXIST, ENOENT, EOPNOTSUPP, EIO, ENOSPC = 22, 17, 2, 95, 5, 28

MISBEHAVIOURS = {
    # before and in the version
    "close-on-accept": "closes at once",
    "never-answers": "reads nothing, says nothing",
    "garbage": "answers the version with random bytes",
    "short-header": "answers with a size smaller than the header",
    "huge-size": "answers with a size of 4 GiB",
    "truncated": "closes within its version",
    "wrong-id": "answers another identifier",
    "wrong-command": "answers another command",
    "not-a-reply": "answers with a command",
    "version-error": "refuses the version",
    "version-major": "answers another major version",
    "version-minor": "answers a higher minor version than proposed",
    "version-empty": "answers the version without any payload",
    "version-no-json": "sends version data that is no JSON",
    "version-array": "sends an array for an object",
    "version-types": "sends texts where numbers belong",
    "version-zeros": "can take no descriptor, no map, no data",
    "version-deep": "sends version data nested 100000 deep",
    # device, regions
    "info-error": "refuses device info",
    "info-short": "sends half of device info",
    "info-no-pci": "is no PCI device",
    "info-no-regions": "has no regions",
    "info-closes": "closes instead of device info",
    "info-silent": "does not answer device info",
    "region-error": "refuses region info",
    "region-tiny": "has a BAR 0 of 64 bytes",
    "region-huge": "has a BAR 0 of 2^63 bytes, all mappable",
    "region-no-fd": "says that BAR 0 can be mapped and sends no descriptor",
    "region-short-file": "sends a descriptor of an empty file",
    "region-grows": "wants a larger argsz each time",
    "caps-loop": "region capabilities that point at themselves",
    "caps-beyond": "region capabilities behind the end",
    "caps-count": "2^32-1 sparse areas in a few bytes",
    "area-beyond": "a sparse area behind the region's end",
    "area-wraps": "a sparse area whose end overflows",
    "read-error": "refuses to read registers",
    "read-short": "sends fewer bytes than were asked for",
    "read-elsewhere": "answers a read with another offset",
    "write-error": "refuses to write registers",
    # DMA
    "map-error": "refuses DMA maps",
    "map-closes": "closes at the first DMA map",
    "dma-unmapped": "reads memory that is not mapped",
    "dma-wraps": "reads memory whose end overflows",
    "dma-huge": "reads 4 GiB",
    "dma-short": "writes with less data than it says",
    "dma-flood": "sends requests without reading the answers",
    # the controller
    "all-ones": "registers read as all ones",
    "no-queues": "CAP.MQES is 0",
    "big-pages": "CAP.MPSMIN is 64 KiB",
    "never-ready": "CSTS.RDY stays 0",
    "fatal": "CSTS.CFS comes instead of CSTS.RDY",
    "enable-closes": "closes when it is enabled",
    "admin-silent": "answers no admin command",
    "admin-error": "fails every admin command",
    "admin-closes": "closes at the first admin command",
    "no-namespace": "has no namespace",
    "lbads": "a namespace with blocks of 2^63 bytes",
    "io-error": "fails every read and write",
    "io-wrong-cid": "completes a command that was not sent",
    "io-wrong-sqhd": "says a head behind the queue's end",
    "io-silent": "never completes a read or write",
    "io-closes": "closes after some reads and writes",
    # failures of controllers that test_device_failures.py knows; after the 20th read or write where they begin with io-
    "stuck": "is enabled from the beginning, and CSTS.RDY stays 1",
    "stuck-once": "the same, until it is reset once more",
    "fatal-once": "CSTS.CFS instead of CSTS.RDY, until it is reset once more",
    "never-shuts-down": "CSTS.SHST stays 0",
    "admin-wrong-cid": "completes admin commands that were not sent",
    "io-wrong-phase": "completes reads and writes with the phase of the round before, from the beginning",
    "io-cfs": "CSTS.CFS, until it is disabled",
    "io-cfs-again": "CSTS.CFS after every 20th, until it is disabled",
    "io-cfs-stays": "CSTS.CFS, until it is reset",
    "io-stuck": "does nothing any more, and CSTS.RDY stays 1, until it is reset",
    "io-stuck-for-good": "the same for ever",
    "io-all-ones": "registers read as all ones, until it is reset",
    "io-gone": "registers and configuration space read as all ones",
    "io-truncates": "takes the memory of its doorbells away",
    "io-disabled": "is disabled as if by another program",
    "aer-storm": "reports a failure in answer to each Asynchronous Event Request at once",
    "aer-storm-namespaces": "the same with changes of namespaces",
}


def options(args):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("dir")
    add = p.add_argument
    add("--misbehave", choices=MISBEHAVIOURS, metavar="NAME")
    add("--list", action="store_true", help="list the misbehaviours")
    add("--stride", type=int, default=0, help="CAP.DSTRD")
    add("--sparse", default="area", choices=("area", "pages", "first", "whole", "none", "behind", "empty"),
        help="what of BAR 0 can be mapped: the doorbells as one area, as one area for each page in reverse order, their "
             "first page only, all of the region, nothing; 'behind': another capability before the sparse areas; "
             "'empty': no area")
    add("--bar-offset", type=int, default=0, help="where BAR 0 begins in its file")
    add("--bar-size", type=lambda v: int(v, 0), default=0)
    add("--caps", default="all", choices=("all", "none", "no-data", "unknown", "no-nul", "spaces"),
        help="version data: all capabilities, an empty object, no data at all, with unknown members, without NUL, "
             "spread over lines")
    add("--minor", type=int, default=None, help="minor version in the reply, at most what is proposed")
    add("--max-dma-maps", type=int, default=65535)
    add("--max-data-xfer-size", type=int, default=1 << 20)
    add("--max-msg-fds", type=int, default=8)
    add("--pgsizes", type=int, default=PAGE)
    add("--twin", action="store_true", help="takes up twin_socket where it is proposed")
    add("--dma", default="memory", choices=("memory", "messages", "mixed"), help="how it reaches the client's memory")
    add("--chunk", type=int, default=1 << 20, help="largest DMA_READ and DMA_WRITE")
    add("--dma-no-reply", action="store_true", help="sends DMA_WRITE with No_reply where the order does not need it")
    add("--interleave", default="no", choices=("no", "post", "wait"),
        help="puts a DMA_READ with the same message id before each reply, and waits for its answer first or not")
    add("--dribble", action="store_true", help="sends each message in pieces of a few bytes")
    add("--extra-bars", action="store_true", help="more regions and interrupt types than PCI has")
    add("--mqes", type=int, default=1023)
    add("--mdts", type=int, default=5)
    add("--queues", type=int, default=8)
    add("--ready-after", type=float, default=0)
    add("--cap-to", type=int, default=0, help="CAP.TO, in units of 500 ms; 0: what --ready-after needs")
    add("--block", type=int, default=512, choices=(512, 4096))
    add("--blocks", type=int, default=131072)
    add("--namespaces", type=int, default=1)
    add("--vs", default="2.0", choices=("1.0", "1.2", "1.3", "1.4", "2.0"))
    add("--csi", action="store_true", help="CAP.CSS says several command sets")
    add("--sgl", action="store_true")
    add("--reorder", action="store_true", help="completes commands in another order than they came")
    o = p.parse_args(args)
    if o.list:
        print("\n".join(f"{name:20}{what}" for name, what in MISBEHAVIOURS.items()))
        sys.exit(0)
    return o


def complain(text):
    print(f"VIOLATION: {text}", flush=True)


class Mapping:
    def __init__(self, address, size, flags, memory):
        self.address, self.size, self.flags, self.memory = address, size, flags, memory


class Server:
    """one client after the other"""

    def __init__(self, o):
        self.o, self.bad = o, o.misbehave
        self.rng = random.Random(1)
        doorbells = (o.queues + 1) * 8 << o.stride
        pages = 1 + -(-doorbells // PAGE)
        self.bar_size = o.bar_size or PAGE << (pages - 1).bit_length()
        self.fd = os.memfd_create("bar")
        os.ftruncate(self.fd, o.bar_offset + self.bar_size)
        self.bar = mmap.mmap(self.fd, self.bar_size, offset=o.bar_offset)
        self.doorbell_pages = pages - 1
        self.config = bytearray(4096 if o.extra_bars else 256)
        self.msix = bytearray(65536)
        self.clients, self.main, self.twin = 0, None, None
        self.device_resets = 0
        self.mappings, self.eventfds, self.backlog = [], {}, []
        self.ctrl = Controller(self)

    # -- connections --

    def serve(self, listener):
        while True:
            sock = listener.accept()[0]
            self.clients += 1
            self.main, self.twin = wire.Channel(sock), None
            self.backlog, self.mappings, self.eventfds = [], [], {}
            self.negotiated, self.requests, self.client_caps, self.outstanding = False, 0, {}, []
            self.region_asked = self.device_resets = 0
            self.make_config()
            try:
                self.session()
            except Closed:
                pass
            except (Broken, wire.Timeout) as error:
                complain(error)
            finally:
                self.ctrl.reset()
                for mapping in self.mappings:
                    if mapping.memory:
                        mapping.memory.close()
                for fd in self.eventfds.values():
                    os.close(fd)
                for channel in filter(None, (self.main, self.twin)):
                    channel.close()

    def session(self):
        if self.bad == "close-on-accept":
            raise Closed("told to")
        while True:
            while self.backlog:
                self.command(self.backlog.pop(0))
                self.ctrl.work()
            busy = self.ctrl.work()
            channels = [c for c in (self.main, self.twin) if c]
            if self.bad == "never-answers":
                channels = []
            for channel in select.select(channels, [], [], 0 if busy else 0.0005 if self.ctrl.enabled else 0.02)[0]:
                self.take(channel)

    def take(self, channel):
        message = channel.receive()
        if message.is_reply:
            self.answered(message)
        else:
            self.backlog.append(message)

    def send(self, channel, *args, **kwargs):
        if not self.o.dribble:
            channel.send(*args, **kwargs)
            return
        whole = bytearray()
        fds = kwargs.pop("fds", ())
        recorder = wire.Channel.__new__(wire.Channel)
        recorder.send_bytes = lambda data, fds=(): whole.extend(data)
        wire.Channel.send(recorder, *args, **kwargs)
        while whole:  # descriptors with the first piece: they belong to the message
            piece = self.rng.choice((1, 3, 7, 16, 100, 5000))
            channel.send_bytes(bytes(whole[:piece]), fds)
            del whole[:piece]
            fds = ()

    # -- DMA: to memory, or by messages to the client --

    def find(self, address, count, flag):
        """pieces (mapping, offset, length)"""
        pieces = []
        while count:
            for m in self.mappings:
                if m.address <= address < m.address + m.size:
                    break
            else:
                raise Unmapped(f"the device was given {address:#x}, which is not mapped")
            if not m.flags & flag:
                raise Unmapped(f"the device was given {address:#x}, mapped with flags {m.flags}")
            piece = min(count, m.address + m.size - address)
            pieces.append((m, address - m.address, piece))
            address, count = address + piece, count - piece
        return pieces

    def by_message(self, mapping):
        return mapping.memory is None or self.o.dma == "messages" or self.o.dma == "mixed" and self.rng.random() < 0.5

    def dma_read(self, address, count):
        out = []
        for m, at, piece in self.find(address, count, 1):
            out.append(self.request_read(m.address + at, piece) if self.by_message(m) else m.memory[at:at + piece])
        return b"".join(out)

    def dma_write(self, address, data, last=True):
        for m, at, piece in self.find(address, len(data), 2):
            if self.by_message(m):
                self.request_write(m.address + at, data[:piece], last)
            else:
                m.memory[at:at + piece] = data[:piece]
            data = data[piece:]

    def dma_word(self, address, value):
        """16 bits in one store, the phase with them"""
        m, at, _ = self.find(address, 2, 2)[0]
        if self.by_message(m):
            self.request_write(address, struct.pack("=H", value), True)
        else:
            with memoryview(m.memory) as view, view.cast("H") as words:
                words[at // 2] = value

    def _limit(self):
        return min(self.o.chunk, self.client_caps.get("max_data_xfer_size", 1 << 20))

    def _request(self, command, address, count, data=b"", flags=0, msg_id=None):
        channel = self.twin or self.main
        self.requests += 1
        msg_id = self.requests & 0xffff if msg_id is None else msg_id
        self.send(channel, msg_id, command, wire.DMA_ACCESS.pack(address, count) + data, flags=flags)
        if flags & wire.NO_REPLY:
            return None
        entry = [msg_id, command, address, count, None]
        self.outstanding.append(entry)
        return entry

    def answered(self, message):
        for entry in self.outstanding:
            if entry[0] == message.id:
                break
        else:
            complain(f"a reply (id {message.id}, command {message.command}) to nothing")
            return
        self.outstanding.remove(entry)
        _, command, address, count, _ = entry
        if message.flags & wire.ERROR:
            complain(f"DMA command {command} at {address:#x}+{count:#x} refused with {message.error}")
            raise Closed("a refused DMA command")
        if message.command != command:
            raise Broken(f"DMA command {command} answered as {message.command}")
        if len(message.payload) < 12 or struct.unpack_from("=QI", message.payload) != (address, count):
            raise Broken(f"DMA command {command} at {address:#x}+{count:#x}: the reply is about another place")
        want = 16 + count if command == wire.DMA_READ else None
        if want and len(message.payload) != want or not want and len(message.payload) not in (12, 16):
            raise Broken(f"the reply to DMA command {command} has {len(message.payload)} bytes of payload")
        entry[4] = message.payload[16:]

    def await_answer(self, entry):
        deadline = time.monotonic() + 20 * wire.PATIENCE
        while entry[4] is None:
            if time.monotonic() > deadline:
                complain(f"DMA command {entry[1]} is not answered")
                raise Closed("not answered")
            for channel in select.select([c for c in (self.main, self.twin) if c], [], [], 0.1)[0]:
                self.take(channel)
        return entry[4]

    def request_read(self, address, count):
        entries, limit = [], self._limit()
        for at in range(0, count, limit):
            entries.append(self._request(wire.DMA_READ, address + at, min(limit, count - at)))
        return b"".join(self.await_answer(e) for e in entries)

    def request_write(self, address, data, last):
        entries, limit = [], self._limit()
        flags = wire.NO_REPLY if self.o.dma_no_reply and not last else 0
        for at in range(0, len(data), limit):
            part = data[at:at + limit]
            entries.append(self._request(wire.DMA_WRITE, address + at, len(part), part, flags))
        for entry in filter(None, entries):
            self.await_answer(entry)

    # -- commands of the client --

    def command(self, m):
        if m.flags & ~(wire.TYPE | wire.NO_REPLY) or m.flags & wire.TYPE or m.error:
            complain(f"command {m.command} with flags {m.flags:#x}, error {m.error}")
        if not self.negotiated and m.command != wire.VERSION:
            complain(f"command {m.command} before the version")
        if len(m.fds) > self.o.max_msg_fds:
            complain(f"{len(m.fds)} descriptors in a message, max_msg_fds is {self.o.max_msg_fds}")
        handler = {
            wire.VERSION: self.version, wire.DMA_MAP: self.dma_map, wire.DMA_UNMAP: self.dma_unmap,
            wire.DEVICE_GET_INFO: self.device_info, wire.GET_REGION_INFO: self.region_info,
            wire.GET_IRQ_INFO: self.irq_info, wire.SET_IRQS: self.set_irqs, wire.REGION_READ: self.region_read,
            wire.REGION_WRITE: self.region_write, wire.DEVICE_RESET: self.device_reset,
        }.get(m.command)
        try:
            if not handler:
                raise wire.Refused(m.command, EOPNOTSUPP)
            payload, fds = handler(m) or (b"", ())
            error = 0
        except wire.Refused as refused:
            payload, fds, error = b"", (), refused.errno
        except struct.error:
            complain(f"command {m.command} with {len(m.payload)} bytes of payload")
            payload, fds, error = b"", (), EINVAL
        finally:
            m.close_fds()
        if self.o.interleave != "no" and self.mappings and m.command != wire.DMA_UNMAP:
            readable = next((x for x in self.mappings if x.flags & 1), None)
            if readable:
                entry = self._request(wire.DMA_READ, readable.address, 4, msg_id=m.id)
                if self.o.interleave == "wait":
                    self.await_answer(entry)
        if m.flags & wire.NO_REPLY:
            return
        flags = wire.REPLY | (wire.ERROR if error else 0)
        self.send(self.main, m.id, m.command, payload, fds=fds, flags=flags, error=error)

    def version(self, m):
        if self.negotiated:
            complain("a second version")
        major, minor, caps = wire.parse_version(m.payload)
        if m.payload[4:] and m.payload[-1]:
            complain("version data without terminating NUL")
        if major != 0:
            raise Closed(f"major version {major}")
        self.client_caps = caps
        self.negotiated = True
        self.bad_version(m, minor)
        o = self.o
        mine = {"max_msg_fds": o.max_msg_fds, "max_data_xfer_size": o.max_data_xfer_size,
                "max_dma_maps": o.max_dma_maps, "pgsizes": o.pgsizes}
        fds = ()
        if o.twin:
            if caps.get("twin_socket", {}).get("supported"):
                pair = socket.socketpair()
                self.twin, fds = wire.Channel(pair[0]), (pair[1].fileno(),)
                mine["twin_socket"] = {"supported": True, "fd_index": 0}
        if o.caps == "unknown":
            mine.update({"migration": {"pgsize": PAGE, "max_bitmap_size": 256}, "write_multiple": False,
                         "x-ünknown": [1, 2.5, None, {"deep": [[[]]]}], "cmd_fd": True})
        if o.caps == "none":
            mine = {}
        payload = wire.version_payload(major, minor if o.minor is None else min(minor, o.minor),
                                       None if o.caps == "no-data" else mine, nul=o.caps != "no-nul")
        if o.caps == "spaces":
            text = payload[4:-1].decode().replace(",", " ,\n\t").replace(":", " : ")
            payload = payload[:4] + f" \r\n{text}\n ".encode() + b"\0"
        if o.twin and self.twin:
            self.send(self.main, m.id, m.command, payload, fds=fds, flags=wire.REPLY)
            pair[1].close()
            m.flags |= wire.NO_REPLY
        return payload, ()

    def bad_version(self, m, minor):
        bad = self.bad or ""
        reply = dict(flags=wire.REPLY)
        good = wire.version_payload(0, minor, {})
        data = {"version-no-json": b'{"capabilities": {', "version-array": b'{"capabilities": []}',
                "version-types": b'{"capabilities": {"max_msg_fds": "many", "max_data_xfer_size": -1, '
                                 b'"max_dma_maps": 1e300, "pgsizes": null}}',
                "version-zeros": b'{"capabilities": {"max_msg_fds": 0, "max_data_xfer_size": 0, "max_dma_maps": 0}}',
                "version-deep": b"[" * 100000}
        send = {
            "garbage": lambda: self.main.send_bytes(self.rng.randbytes(4096)),
            "short-header": lambda: self.main.send(m.id, m.command, good, size=8, **reply),
            "huge-size": lambda: self.main.send(m.id, m.command, good, size=0xffffffff, **reply),
            "truncated": lambda: self.main.send(m.id, m.command, good, size=4000, **reply),
            "wrong-id": lambda: self.main.send(m.id + 1, m.command, good, **reply),
            "wrong-command": lambda: self.main.send(m.id, wire.DEVICE_GET_INFO, good, **reply),
            "not-a-reply": lambda: self.main.send(m.id, m.command, good),
            "version-error": lambda: self.main.send(m.id, m.command, flags=wire.REPLY | wire.ERROR, error=EINVAL),
            "version-major": lambda: self.main.send(m.id, m.command, wire.version_payload(1, minor, {}), **reply),
            "version-minor": lambda: self.main.send(m.id, m.command, wire.version_payload(0, minor + 1, {}), **reply),
            "version-empty": lambda: self.main.send(m.id, m.command, **reply),
        }.get(bad)
        if bad in data:
            self.main.send(m.id, m.command, wire.version_payload(0, minor, data[bad]), **reply)
        elif send:
            send()
        else:
            return
        if bad == "truncated":
            raise Closed("told to")
        m.flags |= wire.NO_REPLY  # it has been answered

    def device_info(self, m):
        argsz, flags, regions, irqs = wire.DEVICE_INFO.unpack(m.payload)
        if argsz < 16 or flags or regions or irqs:
            complain(f"device info asked for with argsz {argsz}, {flags}, {regions}, {irqs}")
            raise wire.Refused(m.command, EINVAL)
        if self.bad == "info-error":
            raise wire.Refused(m.command, EIO)
        if self.bad == "info-closes":
            raise Closed("told to")
        if self.bad == "info-silent":
            m.flags |= wire.NO_REPLY
        extra = 3 if self.o.extra_bars else 0
        payload = wire.DEVICE_INFO.pack(
            16, wire.DEVICE_FLAGS_RESET | (wire.DEVICE_FLAGS_PCI if self.bad != "info-no-pci" else 0),
            0 if self.bad == "info-no-regions" else wire.NUM_REGIONS + extra, 5 + extra)
        return payload[:8] if self.bad == "info-short" else payload, ()

    def region_info(self, m):
        argsz, flags, index, cap_offset, size, offset = wire.REGION_INFO.unpack(m.payload)
        if argsz < 32 or flags or cap_offset or size or offset:
            complain(f"region info asked for with argsz {argsz}, {flags}, {cap_offset}, {size}, {offset}")
            raise wire.Refused(m.command, EINVAL)
        if index >= wire.NUM_REGIONS + (3 if self.o.extra_bars else 0) or self.bad == "region-error":
            raise wire.Refused(m.command, EINVAL)
        rw = wire.REGION_FLAG_READ | wire.REGION_FLAG_WRITE
        fds = ()
        if index == wire.CONFIG:
            payload = wire.pack_region_info(index, rw, len(self.config), 0)
        elif index == wire.BAR0:
            payload, fds = self.bar0_info(rw)
        elif index == MSIX_BAR:
            payload = wire.pack_region_info(index, rw, len(self.msix), 0)
        elif index == 9:
            payload = wire.pack_region_info(index, rw, PAGE, 0, before=[(2, struct.pack("=II", 0x8086, 1))])
        else:
            payload = wire.pack_region_info(index, 0, 0, 0)
        if len(payload) <= argsz:
            return payload, fds
        short = bytearray(payload[:32])  # "the full payload is not included", its size is in argsz
        struct.pack_into("=I", short, 12, 0)
        return bytes(short), fds

    def bar0_info(self, rw):
        o, bad, size = self.o, self.bad, self.bar_size
        doorbells = [(wire.DOORBELLS + i * PAGE, PAGE) for i in range(self.doorbell_pages)]
        areas = {"area": [(wire.DOORBELLS, len(doorbells) * PAGE)], "pages": doorbells[::-1], "first": doorbells[:1],
                 "behind": [(wire.DOORBELLS, len(doorbells) * PAGE)], "empty": []}.get(o.sparse)
        if o.sparse == "none":
            return wire.pack_region_info(0, rw, size, 0), ()
        before = [(77, b"unknown, and 17 B"), (3, b"")] if o.sparse == "behind" else ()
        if bad == "region-tiny":
            size, areas = 64, None
        if bad == "region-huge":
            size, areas = 1 << 63, None
        if bad == "area-beyond":
            areas = [(wire.DOORBELLS, 1 << 40)]
        if bad == "area-wraps":
            areas = [(wire.DOORBELLS, (1 << 64) - PAGE)]
        payload = bytearray(wire.pack_region_info(0, rw | wire.REGION_FLAG_MMAP, size, o.bar_offset, areas, before))
        if bad == "caps-loop":
            struct.pack_into("=HHI", payload, 32, 9, 1, 32)
        if bad == "caps-beyond":
            struct.pack_into("=I", payload, 12, 0xfffffff0)
        if bad == "caps-count":
            struct.pack_into("=I", payload, 40, 0xffffffff)
        if bad == "region-grows":
            self.region_asked += 1
            struct.pack_into("=I", payload, 0, 64 << min(self.region_asked, 24))
            return bytes(payload[:32]), (self.fd,)
        if bad == "region-no-fd":
            return bytes(payload), ()
        if bad == "region-short-file":
            self.empty = os.memfd_create("empty")
            return bytes(payload), (self.empty,)
        return bytes(payload), (self.fd,)

    def irq_info(self, m):
        argsz, flags, index, count = wire.IRQ_INFO.unpack(m.payload)
        if argsz < 16 or flags or count:
            complain(f"interrupt info asked for with argsz {argsz}, {flags}, {count}")
            raise wire.Refused(m.command, EINVAL)
        if index >= 5 + (3 if self.o.extra_bars else 0):
            raise wire.Refused(m.command, EINVAL)
        return wire.IRQ_INFO.pack(16, wire.IRQ_INFO_EVENTFD | (wire.IRQ_INFO_NORESIZE if index == wire.MSIX else 0), index,
                                  {wire.INTX: 1, wire.MSIX: self.o.queues + 1}.get(index, 0)), ()

    def set_irqs(self, m):
        argsz, flags, index, start, count = wire.IRQ_SET.unpack_from(m.payload)
        vectors = {wire.INTX: 1, wire.MSIX: self.o.queues + 1}.get(index, 0)
        if argsz != len(m.payload) or start + count > vectors or bin(flags & 7).count("1") != 1 \
                or bin(flags & 56).count("1") != 1 or flags & 4 and len(m.fds) not in (0, count):
            complain(f"SET_IRQS: argsz {argsz}, flags {flags:#x}, index {index}, {start}+{count}, {len(m.fds)} descriptors")
            raise wire.Refused(m.command, EINVAL)
        if flags & wire.IRQ_TRIGGER and flags & wire.IRQ_DATA_EVENTFD or flags & wire.IRQ_DATA_NONE and not count:
            for vector in range(start, start + count) if count else [v for i, v in self.eventfds if i == index]:
                if (index, vector) in self.eventfds:
                    os.close(self.eventfds.pop((index, vector)))
                if m.fds:
                    self.eventfds[index, vector] = m.fds.pop(0)
        elif flags & wire.IRQ_TRIGGER:
            for vector in range(start, start + count):
                if flags & wire.IRQ_DATA_NONE or m.payload[wire.IRQ_SET.size + vector - start]:
                    self.interrupt(vector, index)

    def interrupt(self, vector, index=wire.MSIX):
        fd = self.eventfds.get((index, vector))
        if fd is not None:
            os.eventfd_write(fd, 1)

    def regions(self):
        return {wire.BAR0: self.bar, wire.CONFIG: self.config, MSIX_BAR: self.msix}

    def check_access(self, m):
        offset, region, count = wire.REGION_ACCESS.unpack_from(m.payload)
        size = len(self.regions().get(region, b""))
        if count > self.o.max_data_xfer_size or offset + count > size or not count:
            complain(f"access to {offset:#x}+{count:#x} of region {region}, which has {size:#x} bytes")
            raise wire.Refused(m.command, EINVAL)
        if region == wire.BAR0 and (count not in (4, 8) or offset % count):
            complain(f"{count} bytes at {offset:#x} of BAR 0: registers are of 4 and 8 bytes")
        return offset, region, count

    def region_read(self, m):
        offset, region, count = self.check_access(m)
        if self.bad == "read-error" and region == wire.BAR0:
            raise wire.Refused(m.command, EIO)
        data = bytes(self.regions()[region][offset:offset + count])
        if (self.bad == "all-ones" or self.ctrl.vanished) and region == wire.BAR0 or self.ctrl.vanished and self.bad == "io-gone":
            data = b"\xff" * count
        if self.bad == "read-short":
            return wire.REGION_ACCESS.pack(offset, region, count // 2) + data[:count // 2], ()
        if self.bad == "read-elsewhere":
            return wire.REGION_ACCESS.pack(offset + 8, region, count) + data, ()
        return wire.REGION_ACCESS.pack(offset, region, count) + data, ()

    def region_write(self, m):
        offset, region, count = self.check_access(m)
        data = m.payload[16:]
        if len(data) != count:
            complain(f"a region write of {count} bytes brings {len(data)}")
            raise wire.Refused(m.command, EINVAL)
        if self.bad == "write-error":
            raise wire.Refused(m.command, EIO)
        if region == wire.CONFIG:
            self.config_write(offset, data)
        elif region == MSIX_BAR:
            self.msix[offset:offset + count] = data
        elif offset >= wire.DOORBELLS:
            self.bar[offset:offset + count] = data
        else:
            self.ctrl.register_write(offset, data)
        return m.payload[:16], ()

    def device_reset(self, m):
        if m.payload:
            complain("DEVICE_RESET with a payload")
        self.device_resets += 1
        self.ctrl.reset()
        self.make_config()

    # -- DMA maps --

    def dma_map(self, m):
        argsz, flags, offset, address, size = wire.DMA_MAP_REQUEST.unpack(m.payload)
        if argsz != 32 or not flags & 3 or flags & ~3 or not size or (address | size | offset) % PAGE \
                or address + size > 1 << 64 or len(m.fds) > 1 or not m.fds and offset:
            complain(f"DMA_MAP: argsz {argsz}, flags {flags:#x}, offset {offset:#x}, {address:#x}+{size:#x}, "
                     f"{len(m.fds)} descriptors")
            raise wire.Refused(m.command, EINVAL)
        if any(x.address < address + size and address < x.address + x.size for x in self.mappings):
            complain(f"DMA_MAP of {address:#x}+{size:#x} over another map")
            raise wire.Refused(m.command, EEXIST)
        if len(self.mappings) >= self.o.max_dma_maps:
            complain(f"more than {self.o.max_dma_maps} DMA maps")
            raise wire.Refused(m.command, ENOSPC)
        if self.bad == "map-error":
            raise wire.Refused(m.command, EINVAL)
        if self.bad == "map-closes":
            raise Closed("told to")
        memory = None
        if m.fds:
            if os.fstat(m.fds[0]).st_size < offset + size:
                complain(f"DMA_MAP of {offset:#x}+{size:#x} of a file that is shorter")
            memory = mmap.mmap(m.fds[0], size, offset=offset)
        self.mappings.append(Mapping(address, size, flags, memory))
        if (self.bad or "").startswith("dma-"):
            self.bad_dma(self.mappings[0])

    def bad_dma(self, first):
        channel = self.twin or self.main
        {"dma-unmapped": lambda: channel.send(1, wire.DMA_READ, wire.DMA_ACCESS.pack(0x1234567 << 12, 64)),
         "dma-wraps": lambda: channel.send(1, wire.DMA_READ, wire.DMA_ACCESS.pack((1 << 64) - 64, 4096)),
         "dma-huge": lambda: channel.send(1, wire.DMA_READ, wire.DMA_ACCESS.pack(first.address, 1 << 32)),
         "dma-short": lambda: channel.send(1, wire.DMA_WRITE, wire.DMA_ACCESS.pack(first.address, 4096) + b"short"),
         "dma-flood": lambda: [channel.send(i, wire.DMA_READ, wire.DMA_ACCESS.pack(first.address, 65536))
                               for i in range(5000)]}[self.bad]()

    def dma_unmap(self, m):
        argsz, flags, address, size = wire.DMA_UNMAP_REQUEST.unpack_from(m.payload)
        for mapping in self.mappings:
            if (mapping.address, mapping.size) == (address, size):
                self.mappings.remove(mapping)
                if mapping.memory:
                    mapping.memory.close()
                return m.payload, ()
        complain(f"DMA_UNMAP of {address:#x}+{size:#x}, which is no map")
        raise wire.Refused(m.command, ENOENT)

    # -- PCI --

    def make_config(self):
        c = self.config = bytearray(len(self.config))
        struct.pack_into("<HHHHI", c, 0, 0x1b36, 0x0010, 0, 0x10, 0x01080200 | 2)
        struct.pack_into("<I", c, 0x10, 4)  # memory, 64 bit
        c[0x34], c[0x3d] = 0x40, 1
        struct.pack_into("<BBHHBB", c, 0x40, 1, 0x50, 3, 0, 0, 0)  # power management
        struct.pack_into("<BBHII", c, 0x50, 0x11, 0x60, self.o.queues, MSIX_BAR, 0x8000 | MSIX_BAR)
        struct.pack_into("<BBH", c, 0x60, 0x10, 0, 2)  # PCI Express endpoint

    def config_write(self, offset, data):
        writable = {4: 0x07, 5: 0x04, 0x0c: 0xff, 0x3c: 0xff, 0x44: 3, 0x53: 0xc0}
        mask = ~(self.bar_size - 1) & (1 << 64) - 1
        for i in range(8):
            writable[0x10 + i] = mask >> 8 * i & 0xff
        for at, value in enumerate(data, offset):
            bits = writable.get(at, 0)
            self.config[at] = self.config[at] & ~bits | value & bits

    @property
    def bus_master(self):
        return self.config[4] & 6 == 6


def main():
    o = options(sys.argv[1:])
    path = os.path.join(o.dir, "cntrl")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    server = Server(o)
    print("ready", flush=True)
    server.serve(listener)


if __name__ == "__main__":
    main()
