# SPDX-License-Identifier: BSD-3-Clause
"""The controller of vfio_user_device.py: registers, admin and I/O queues, a namespace in a bytearray.

NVMe Base 2.0, NVM Command Set 1.0, NVMe over PCIe 1.0: what a host needs, checked as strictly as those allow.
"""
import os
import struct
import time

import vfio_user_wire as wire
from vfio_user_wire import PAGE, Broken, Closed

SUCCESS, INVALID_OPCODE, INVALID_FIELD, TRANSFER_ERROR, INTERNAL, INVALID_NAMESPACE, LBA_RANGE = 0, 1, 2, 4, 6, 0xb, 0x80
INVALID_CQ, INVALID_QID, INVALID_SIZE, AER_LIMIT, INVALID_VECTOR = 0x100, 0x101, 0x102, 0x105, 0x108
INVALID_LOG, INVALID_DELETION = 0x109, 0x10c
ABORTED_SQ_DELETION, NO_COMPLETION = 8, -1
FAILURES = ("io-cfs", "io-cfs-again", "io-cfs-stays", "io-stuck", "io-stuck-for-good", "io-all-ones", "io-gone", "io-truncates",
            "io-disabled")


class Status(Exception):
    def __init__(self, status):
        super().__init__(f"status {status:#x}")
        self.status = status


class Unmapped(Broken):
    """the host gave an address that it has not mapped"""


class Queue:
    def __init__(self, qid, base, size):
        self.qid, self.base, self.size = qid, base, size
        self.head = self.tail = 0
        self.phase, self.cq, self.vector, self.users = 1, None, None, 0


class Command:
    def __init__(self, sq, entry):
        self.sq, self.opcode, self.flags, self.cid = sq, entry[0], entry[1], struct.unpack_from("=H", entry, 2)[0]
        self.nsid, = struct.unpack_from("=I", entry, 4)
        self.prp1, self.prp2 = struct.unpack_from("=QQ", entry, 24)
        self.sgl = entry[24:40]
        self.cdw = dict(enumerate(struct.unpack_from("=6I", entry, 40), 10))


class Controller:
    def __init__(self, server):
        self.server, self.o, self.bad = server, server.o, server.bad
        o = self.o
        self.words = memoryview(server.bar).cast("I")
        self.disk = [bytearray(o.block * o.blocks) for _ in range(o.namespaces)]
        self.ios, self.hung, self.vanished = 0, False, False
        self.reset()

    def complain(self, text):
        print(f"VIOLATION: {text}", flush=True)

    # -- registers --

    def set32(self, offset, value):
        self.words[offset // 4] = value & 0xffffffff

    def reset(self):
        """as after power on"""
        o = self.o
        self.server.bar[:] = bytes(self.server.bar_size)
        timeout = o.cap_to or max(1, min(255, int(o.ready_after * 2 * 2) + 1))
        cap = (0 if self.bad == "no-queues" else o.mqes) | 1 << 16 | timeout << 24 | o.stride << 32
        cap |= (0x41 if o.csi else 1) << 37
        if self.bad == "big-pages":
            cap |= 4 << 48 | 4 << 52
        self.set32(wire.CAP, cap)
        self.set32(wire.CAP + 4, cap >> 32)
        major, minor = map(int, o.vs.split("."))
        self.set32(wire.VS, major << 16 | minor << 8)
        self.stop()
        self.cc = 0
        if self.bad != "io-gone":
            self.hung, self.vanished = self.hung and self.bad == "io-stuck-for-good", False
        if self.bad == "stuck" or self.bad == "stuck-once" and self.server.device_resets < 2 or self.hung:
            self.cc = 0x460001
            self.set32(wire.CC, self.cc)
            self.set32(wire.CSTS, wire.CSTS_RDY)

    def stays_as_it_is(self):
        """what CC says is of no effect"""
        return self.bad == "stuck" or self.bad == "stuck-once" and self.server.device_resets < 2 \
            or self.hung and self.bad in ("io-stuck", "io-stuck-for-good")

    def begin_to_fail(self):
        """after a number of reads and writes, by the kind of misbehaviour"""
        if self.bad in ("io-cfs", "io-cfs-again", "io-cfs-stays"):
            self.set32(wire.CSTS, self.words[wire.CSTS // 4] | wire.CSTS_CFS)
        if self.bad in ("io-all-ones", "io-gone"):
            self.vanished = True
        if self.bad == "io-truncates":
            # what it was given until then it completes: the next doorbell finds out
            words, self.words = self.words, memoryview(bytearray(self.words)).cast("I")
            os.ftruncate(self.server.fd, wire.DOORBELLS)
            words.release()
        if self.bad == "io-disabled":
            self.set32(wire.CC, self.cc & ~1)
        self.hung = self.bad not in ("io-disabled", "io-truncates")

    def stop(self):
        self.enabled, self.sqs, self.cqs, self.aers, self.late = False, {}, {}, [], []
        self.allotted, self.ready_at = None, None
        size = len(self.words)
        for at in range(wire.DOORBELLS // 4, size):
            self.words[at] = 0

    def register_write(self, offset, data):
        for at in range(offset, offset + len(data), 4):
            value = int.from_bytes(data[at - offset:at - offset + 4], "little")
            if at in (wire.AQA, wire.ASQ, wire.ASQ + 4, wire.ACQ, wire.ACQ + 4):
                if self.enabled:
                    self.complain(f"register {at:#x} written while the controller is enabled")
                self.set32(at, value)
            elif at == wire.CC:
                self.set32(at, value)
                self.look_at_cc()
            elif at in (wire.INTMS, wire.INTMC):
                mask = self.words[wire.INTMS // 4]
                mask = mask | value if at == wire.INTMS else mask & ~value
                self.set32(wire.INTMS, mask)
                self.set32(wire.INTMC, mask)
            else:
                self.complain(f"write to register {at:#x}")

    def look_at_cc(self):
        """the register may have been written in memory as well"""
        cc = self.words[wire.CC // 4]
        if cc == self.cc:
            return
        if self.stays_as_it_is():
            return
        before, self.cc = self.cc, cc
        if cc & 1 and not before & 1:
            self.start(cc)
        if not cc & 1 and before & 1:
            self.stop()
            self.hung = self.hung and self.bad == "io-cfs-stays"
            self.set32(wire.CSTS, wire.CSTS_CFS if self.hung else 0)
        if cc >> 14 & 3 and not before >> 14 & 3 and self.bad != "never-shuts-down":
            self.set32(wire.CSTS, self.words[wire.CSTS // 4] & ~0xc | 2 << 2)

    def start(self, cc):
        aqa = self.words[wire.AQA // 4]
        asq = self.words[wire.ASQ // 4] | self.words[wire.ASQ // 4 + 1] << 32
        acq = self.words[wire.ACQ // 4] | self.words[wire.ACQ // 4 + 1] << 32
        css_ok = cc >> 4 & 7 in ((0, 6) if self.o.csi else (0,))
        if (cc >> 16 & 0xf, cc >> 20 & 0xf) not in ((6, 4), (0, 0)) or cc >> 7 & 0xf or cc >> 11 & 7 or not css_ok \
                or cc & 0xff00000e:
            self.complain(f"enabled with CC {cc:#x}")
        if not aqa & 0xfff or not aqa >> 16 & 0xfff or aqa & 0xf000f000 or (asq | acq) % PAGE:
            self.complain(f"enabled with AQA {aqa:#x}, ASQ {asq:#x}, ACQ {acq:#x}")
        if not self.server.bus_master:
            self.complain("enabled before memory space and bus master were, in the PCI command register")
        if self.bad == "enable-closes":
            raise Closed("told to")
        fatal = self.bad == "fatal" or self.bad == "fatal-once" and self.server.device_resets < 2
        if fatal:
            self.set32(wire.CSTS, wire.CSTS_CFS)
        if fatal or self.bad == "never-ready" or self.hung:
            return
        self.cqs[0] = Queue(0, acq, (aqa >> 16 & 0xfff) + 1)
        self.sqs[0] = Queue(0, asq, (aqa & 0xfff) + 1)
        self.sqs[0].cq, self.cqs[0].users, self.cqs[0].vector = self.cqs[0], 1, 0
        for queue, entry in ((self.sqs[0], 64), (self.cqs[0], 16)):
            self.server.find(queue.base, queue.size * entry, 3)
        self.ready_at = time.monotonic() + self.o.ready_after

    # -- queues --

    def doorbell(self, queue, completion):
        return self.words[(wire.DOORBELLS + ((2 * queue.qid + completion) * 4 << self.o.stride)) // 4]

    def work(self):
        """what there is to do; whether there was anything"""
        self.look_at_cc()
        if self.ready_at is not None and time.monotonic() >= self.ready_at:
            self.ready_at, self.enabled = None, True
            self.set32(wire.CSTS, self.words[wire.CSTS // 4] | wire.CSTS_RDY)
        if not self.enabled or self.cc >> 14 & 3 or self.hung:
            return False
        busy = False
        for sq in list(self.sqs.values()):
            tail = self.doorbell(sq, 0)
            if tail >= sq.size:
                raise Broken(f"doorbell of submission queue {sq.qid}: {tail}, it has {sq.size} entries")
            count = (tail - sq.head) % sq.size
            if not count:
                continue
            busy = True
            first = min(count, sq.size - sq.head)
            data = self.server.dma_read(sq.base + 64 * sq.head, 64 * first)
            if count > first:
                data += self.server.dma_read(sq.base, 64 * (count - first))
            commands = [Command(sq, data[at:at + 64]) for at in range(0, len(data), 64)]
            if self.o.reorder and sq.qid:
                self.server.rng.shuffle(commands)
            for number, command in enumerate(commands):
                if not self.enabled or self.sqs.get(sq.qid) is not sq:
                    break
                if not self.room(sq.cq):  # the rest comes when the host has taken what there is
                    if self.o.reorder and number:
                        self.late += [(c, sq) for c in commands[number:]]
                        sq.head = tail
                    break
                if not self.o.reorder or not sq.qid:
                    sq.head = (sq.head + 1) % sq.size
                elif number == 0:
                    sq.head = tail  # all of them are here
                self.execute(command)
        while self.late and self.room(self.late[0][1].cq):
            self.execute(self.late.pop(0)[0])
            busy = True
        return busy

    def room(self, cq):
        head = self.doorbell(cq, 1)
        if head >= cq.size:
            raise Broken(f"doorbell of completion queue {cq.qid}: {head}, it has {cq.size} entries")
        return (cq.tail + 1) % cq.size != head

    def complete(self, command, status, dw0=0):
        sq, cq = command.sq, command.sq.cq
        cid, sqhd = command.cid, sq.head
        if sq.qid and self.bad == "io-wrong-cid":
            cid ^= 0x7a5a
        if not sq.qid and self.bad == "admin-wrong-cid":
            cid ^= 0x7a5a
        wrong = bool(sq.qid and self.bad == "io-wrong-phase")
        if sq.qid and self.bad == "io-wrong-sqhd":
            sqhd = 0xfff0
        at = cq.base + 16 * cq.tail
        dnr = 0x8000 if status else 0
        self.server.dma_write(at, struct.pack("=IIHHH", dw0, 0, sqhd, sq.qid, cid))
        self.server.dma_word(at + 14, status << 1 | dnr | cq.phase ^ wrong)
        cq.tail += 1
        if cq.tail == cq.size:
            cq.tail, cq.phase = 0, cq.phase ^ 1
        if cq.vector is not None:
            self.server.interrupt(cq.vector)
            if not cq.vector:
                self.server.interrupt(0, wire.INTX)

    def execute(self, command):
        try:
            dw0 = self.io(command) if command.sq.qid else self.admin(command)
        except Status as failed:
            if failed.status != NO_COMPLETION:
                self.complete(command, failed.status)
            return
        except Unmapped as fault:
            self.complain(fault)
            self.complete(command, TRANSFER_ERROR)
            return
        self.complete(command, SUCCESS, dw0 or 0)

    # -- data pointers --

    def segments(self, command, length):
        """(address, length) of the data (Base §4.1)"""
        if command.flags >> 6 == 1 and self.o.sgl and command.sq.qid:
            return self.sgl_segments(command.sgl, length)
        if command.flags >> 6:
            self.complain(f"PSDT {command.flags >> 6} where SGLs are not supported")
            raise Status(INVALID_FIELD)
        if command.prp1 & 3:
            self.complain(f"PRP1 {command.prp1:#x}")
        pieces = [(command.prp1, min(length, PAGE - command.prp1 % PAGE))]
        left = length - pieces[0][1]
        if not left:
            return pieces
        if left <= PAGE:
            entries = [command.prp2]
        else:
            entries, at, wanted = [], command.prp2, -(-left // PAGE)
            if at & 7:
                self.complain(f"PRP list at {at:#x}")
            while len(entries) < wanted:
                room, need = (PAGE - at % PAGE) // 8, wanted - len(entries)
                chained = need > room
                part = struct.unpack(f"={min(room, need)}Q", self.server.dma_read(at, 8 * min(room, need)))
                entries += part[:-1] if chained else part
                at = part[-1]
        for entry in entries:
            if entry % PAGE:
                self.complain(f"PRP entry {entry:#x} is not the begin of a page")
                raise Status(0x13)
            pieces.append((entry, min(left, PAGE)))
            left -= pieces[-1][1]
        return pieces

    def sgl_segments(self, descriptor, length):
        pieces, todo, left = [], [descriptor], length
        while todo and left:
            d = todo.pop(0)
            address, size, kind = *struct.unpack_from("=QI", d), d[15]
            if kind == 0:
                pieces.append((address, min(size, left)))
                left -= pieces[-1][1]
            elif kind in (0x20, 0x30) and not todo:
                data = self.server.dma_read(address, size)
                todo = [data[at:at + 16] for at in range(0, size, 16)]
            else:
                self.complain(f"SGL descriptor {d.hex()}")
                raise Status(0x11)
        if left:
            raise Status(0xf)
        return pieces

    def give(self, command, data):
        for address, size in self.segments(command, len(data)):
            self.server.dma_write(address, bytes(data[:size]), last=False)
            data = data[size:]

    def take(self, command, length):
        return b"".join(self.server.dma_read(address, size) for address, size in self.segments(command, length))

    # -- admin commands (Base §5) --

    def admin(self, c):
        if self.bad == "admin-silent":
            raise Status(NO_COMPLETION)
        if self.bad == "admin-error":
            raise Status(INTERNAL)
        if self.bad == "admin-closes":
            raise Closed("told to")
        handler = {0: self.delete_sq, 1: self.create_sq, 2: self.get_log, 4: self.delete_cq, 5: self.create_cq,
                   6: self.identify, 8: self.abort, 9: self.set_features, 0xa: self.get_features,
                   0xc: self.async_event}.get(c.opcode)
        if not handler:
            raise Status(INVALID_OPCODE)
        return handler(c)

    def identify(self, c):
        cns, csi = c.cdw[10] & 0xff, c.cdw[11] >> 24
        page = bytearray(PAGE)
        count = 0 if self.bad == "no-namespace" else self.o.namespaces
        newer = self.o.vs not in ("1.0", "1.2")
        if cns == 1:
            self.identify_controller(page)
        elif cns in (2, 7) and (cns == 2 or self.o.csi and csi == 0):
            for i, nsid in enumerate(n for n in range(1, count + 1) if n > c.nsid):
                struct.pack_into("=I", page, 4 * i, nsid)
        elif cns in (0, 3, 5) and not (cns == 0 and c.nsid == 0xffffffff):
            if not 1 <= c.nsid <= count:
                if c.nsid and c.nsid <= self.o.namespaces and cns == 0:
                    return self.give(c, page)
                raise Status(INVALID_NAMESPACE)
            if cns == 0:
                self.identify_namespace(page)
            elif cns == 3 and newer:
                page[0:20] = bytes([2, 16, 0, 0]) + bytes(range(1, 16)) + bytes([c.nsid])
                if self.o.csi:
                    page[20:25] = bytes([4, 1, 0, 0, 0])
            elif not self.o.csi or csi:
                raise Status(INVALID_FIELD)
        elif cns != 6 or not self.o.csi or csi:
            raise Status(INVALID_FIELD)
        return self.give(c, page)

    def identify_controller(self, page):
        struct.pack_into("=HH", page, 0, 0x1b36, 0x1af4)
        page[4:24] = b"FOREIGN1".ljust(20)
        page[24:64] = b"foreign device".ljust(40)
        page[64:72] = b"1.0".ljust(8)
        page[77] = self.o.mdts
        struct.pack_into("=H", page, 78, 7)
        major, minor = map(int, self.o.vs.split("."))
        if self.o.vs != "1.0":
            struct.pack_into("=I", page, 80, major << 16 | minor << 8)
        if self.o.vs in ("1.4", "2.0"):
            page[111] = 1  # CNTRLTYPE
        page[258], page[259], page[260], page[262] = 3, 3, 2, 0
        page[512], page[513] = 0x66, 0x44
        struct.pack_into("=I", page, 516, self.o.namespaces)
        page[525] = 1
        struct.pack_into("=I", page, 536, 1 if self.o.sgl else 0)
        name = b"nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
        if self.o.vs in ("1.3", "1.4", "2.0"):
            page[768:768 + len(name)] = name

    def identify_namespace(self, page):
        struct.pack_into("=QQQ", page, 0, self.o.blocks, self.o.blocks, self.o.blocks)
        lbads = 63 if self.bad == "lbads" else self.o.block.bit_length() - 1
        # the format in use is not the first
        page[25], page[26] = 1, 1
        struct.pack_into("=I", page, 128, 14 << 16)
        struct.pack_into("=I", page, 132, lbads << 16)

    def set_features(self, c):
        fid = c.cdw[10] & 0xff
        if fid == 7:
            if self.allotted or len(self.sqs) > 1:
                self.complain("Number of Queues set again")
            sqs, cqs = (c.cdw[11] & 0xffff) + 1, (c.cdw[11] >> 16) + 1
            if 65536 in (sqs, cqs):
                raise Status(INVALID_FIELD)
            # as many as there are, whatever was asked for (§5.27.1.5: may be more or fewer)
            self.allotted = min(sqs, self.o.queues), self.o.queues
            return self.allotted[0] - 1 | self.allotted[1] - 1 << 16
        if fid in (1, 2, 4, 5, 6, 8, 9, 0xa, 0xb):
            return 0
        raise Status(INVALID_FIELD)

    def get_features(self, c):
        fid = c.cdw[10] & 0xff
        if fid == 7:
            return (self.o.queues - 1) * 0x10001
        if fid in (1, 2, 4, 5, 6, 8, 9, 0xa, 0xb):
            return 0
        raise Status(INVALID_FIELD)

    def get_log(self, c):
        length = 4 * ((c.cdw[10] >> 16 | (c.cdw[11] & 0xffff) << 16) + 1)
        pages = {1: bytes(3 * 64), 2: bytes([0, 300 & 255, 300 >> 8, 100, 10]) + bytes(507),
                 3: bytes([1]) + bytes(7) + b"1.0     " + bytes(496)}
        if self.o.vs == "1.0":
            length = 4 * ((c.cdw[10] >> 16 & 0xfff) + 1)
        if c.cdw[10] & 0xff not in pages:
            raise Status(INVALID_LOG)
        offset = c.cdw[12] | c.cdw[13] << 32
        page = pages[c.cdw[10] & 0xff]
        if offset > len(page):
            raise Status(INVALID_FIELD)
        self.give(c, page[offset:offset + length].ljust(length, b"\0"))

    def async_event(self, c):
        if len(self.aers) > 3:
            self.complain("more Asynchronous Event Requests than AERL allows")
            raise Status(AER_LIMIT)
        if self.bad == "aer-storm":
            return 1 << 16 | 3 << 8  # an error, of the controller's inside
        if self.bad == "aer-storm-namespaces":
            return 4 << 16 | 2
        self.aers.append(c)
        raise Status(NO_COMPLETION)

    def abort(self, c):
        return 1  # not aborted

    def check_queue(self, c, entry, known):
        qid, size = c.cdw[10] & 0xffff, (c.cdw[10] >> 16) + 1
        limit = (self.allotted or (self.o.queues, self.o.queues))[entry == 16]
        if not qid or qid > limit or qid in known:
            self.complain(f"queue {qid} made; {limit} allotted")
            raise Status(INVALID_QID)
        if size < 2 or size > self.o.mqes + 1:
            self.complain(f"queue {qid} with {size} entries, MQES is {self.o.mqes}")
            raise Status(INVALID_SIZE)
        if not c.cdw[11] & 1 or c.prp1 % PAGE:
            self.complain(f"queue {qid}: PRP1 {c.prp1:#x}, PC {c.cdw[11] & 1} with CAP.CQR 1")
            raise Status(INVALID_FIELD)
        if not self.cc >> 16 & 0xff == 0x46:
            self.complain("I/O queues with CC.IOSQES and CC.IOCQES not set")
        self.server.find(c.prp1, size * entry, 3)
        self.words[(wire.DOORBELLS + ((2 * qid + (entry == 16)) * 4 << self.o.stride)) // 4] = 0
        return Queue(qid, c.prp1, size)

    def create_cq(self, c):
        queue = self.check_queue(c, 16, self.cqs)
        if c.cdw[11] & 2:
            queue.vector = c.cdw[11] >> 16
            if queue.vector > self.o.queues:
                raise Status(INVALID_VECTOR)
        self.cqs[queue.qid] = queue

    def create_sq(self, c):
        queue = self.check_queue(c, 64, self.sqs)
        cqid = c.cdw[11] >> 16
        if cqid not in self.cqs or not cqid:
            raise Status(INVALID_CQ)
        queue.cq = self.cqs[cqid]
        queue.cq.users += 1
        self.sqs[queue.qid] = queue

    def delete_sq(self, c):
        qid = c.cdw[10] & 0xffff
        if not qid or qid not in self.sqs:
            self.complain(f"submission queue {qid} deleted, it is none")
            raise Status(INVALID_QID)
        queue = self.sqs.pop(qid)
        queue.cq.users -= 1

    def delete_cq(self, c):
        qid = c.cdw[10] & 0xffff
        if not qid or qid not in self.cqs:
            self.complain(f"completion queue {qid} deleted, it is none")
            raise Status(INVALID_QID)
        if self.cqs[qid].users:
            self.complain(f"completion queue {qid} deleted before its submission queues")
            raise Status(INVALID_DELETION)
        del self.cqs[qid]

    # -- I/O commands (NVM Command Set §3.2) --

    def io(self, c):
        if not 1 <= c.nsid <= self.o.namespaces and not (c.opcode == 0 and c.nsid == 0xffffffff):
            raise Status(INVALID_NAMESPACE)
        if c.opcode == 0:
            return 0
        if c.opcode not in (1, 2):
            raise Status(INVALID_OPCODE)
        self.ios += 1
        if self.bad and (self.ios == 20 or self.bad == "io-cfs-again" and self.ios % 20 == 0) and self.bad in FAILURES:
            self.begin_to_fail()
            if self.hung:
                raise Status(NO_COMPLETION)
        if self.bad == "io-silent":
            raise Status(NO_COMPLETION)
        if self.bad == "io-error":
            raise Status(INTERNAL)
        if self.bad == "io-closes" and self.ios % 20 == 0:
            raise Closed("told to")
        lba, blocks = c.cdw[10] | c.cdw[11] << 32, (c.cdw[12] & 0xffff) + 1
        size = self.o.block
        if lba + blocks > self.o.blocks:
            raise Status(LBA_RANGE)
        if self.o.mdts and blocks * size > PAGE << self.o.mdts:
            self.complain(f"{blocks} blocks of {size} are more than MDTS {self.o.mdts}")
            raise Status(INVALID_FIELD)
        disk = self.disk[c.nsid - 1]
        if c.opcode == 2:
            self.give(c, memoryview(disk)[lba * size:(lba + blocks) * size])
        else:
            disk[lba * size:(lba + blocks) * size] = self.take(c, blocks * size)
        return 0
