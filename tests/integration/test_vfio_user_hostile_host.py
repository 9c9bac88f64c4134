#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt under a hostile vfio-user host: it harms nobody but itself, and the next client is served as ever.

Each case ends with what careful() looks at: the target runs, serves a well-behaved client, and has the descriptors
and mappings that it had before.
"""
import contextlib
import os
import random
import signal
import socket
import struct
import time

import plx
import vfio_user_wire as wire
from foreign_host import CAPABILITIES, MALLOC, NULL, SLOW, careful, host, needs_messages, target, verify
from vfio_user_host import Failed, Host, Region, Sq, command, layout
from vfio_user_wire import PAGE, Broken, Closed, Refused, Timeout

BLOCK = 512
TIMEOUTS = 5


def survives(h):
    """whether the connection is still of use; a silence is neither an answer nor an end"""
    try:
        h.device_info()
        return True
    except (Closed, ConnectionError):
        return False


def bystander():
    """a client of another socket is served meanwhile"""
    with host("one", path=target().other) as h:
        verify(h, "a bystander", make=1, commands=3)


@contextlib.contextmanager
def versioned():
    with Host(target().socket, timeout=TIMEOUTS) as h:
        h.version(CAPABILITIES)
        yield h


def tried(h, command_id, payload=b"", fds=()):
    """sends; "ok", "refused" or "closed" """
    try:
        h.call(command_id, payload, fds).close_fds()
        return "ok"
    except Refused:
        return "refused"
    except (Closed, ConnectionError):
        return "closed"


# ---- messages ----

@careful
def test_headers_with_impossible_sizes():
    for size in (0, 1, 15, 1 << 24, 0x7fffffff, 0xffffffff):
        for after_version in (False, True):
            with Host(target().socket, timeout=TIMEOUTS) as h:
                if after_version:
                    h.version(CAPABILITIES)
                h.channels[0].send(1, wire.DEVICE_GET_INFO, bytes(16), size=size)
                # it may be refused; where the next message begins is unknown, so the end is the sane answer
                with contextlib.suppress(Closed, Refused, ConnectionError, Broken):
                    h.channels[0].send_bytes(bytes(4096))
                    while True:
                        h.channels[0].receive(TIMEOUTS)


@careful
def test_messages_that_are_no_commands():
    for flags in (1, 2, 0xf, wire.REPLY | wire.ERROR, 0xfffffff0, 0xffffffff):
        with versioned() as h:
            with contextlib.suppress(Closed):
                h.channels[0].send(3, wire.DEVICE_GET_INFO, wire.DEVICE_INFO.pack(16, 0, 0, 0), flags=flags)
                h.channels[0].send(3, wire.DMA_READ, wire.DMA_ACCESS.pack(0, 16) + bytes(16), flags=wire.REPLY)
            survives(h)


@careful
def test_unknown_commands_are_refused_and_the_connection_lives():
    with versioned() as h:
        for code in (0, 14, 19, 255, 0xffff, wire.DMA_READ, wire.DMA_WRITE):
            for size in (0, 16, 60000):
                plx.equal(tried(h, code, bytes(size)), "refused", f"command {code} with {size} bytes")
        for code in (wire.GET_REGION_IO_FDS, wire.REGION_WRITE_MULTI, wire.DEVICE_FEATURE, wire.MIG_DATA_READ,
                     wire.MIG_DATA_WRITE):
            plx.equal(tried(h, code, bytes(7)), "refused", f"optional command {code} of nonsense")
        h.device_info()


@careful
def test_any_command_before_the_version():
    fd = os.memfd_create("host")
    os.ftruncate(fd, PAGE)
    for code in [*range(2, 19), 1000]:
        with Host(target().socket, timeout=TIMEOUTS) as h:
            payload = wire.DMA_MAP_REQUEST.pack(32, 3, 0, 0, PAGE) if code == wire.DMA_MAP else bytes(64)
            plx.check(tried(h, code, payload, [fd]) != "ok", f"command {code} before the version")
    os.close(fd)


@careful
def test_versions_that_make_no_sense():
    deep = b"[" * 200000
    for payload in (b"", b"\0", bytes(3), b"\1\0\0\0", b"\xff\xff\0\0", b"\0\0\1\0{", b"\0\0\1\0" + deep + b"\0",
                    b'\0\0\1\0{"capabilities":' + deep + b"\0", b"\0\0\1\0[]\0", b'\0\0\1\0"x"\0', b"\0\0\1\0\xff\xfe\0",
                    b'\0\0\1\0{"capabilities":[]}\0', b'\0\0\1\0{"capabilities":{"max_msg_fds":"x"}}\0',
                    b'\0\0\1\0{"capabilities":{"max_data_xfer_size":-1}}\0',
                    b'\0\0\1\0{"capabilities":{"max_data_xfer_size":0,"max_msg_fds":0}}\0',
                    b'\0\0\1\0{"capabilities":{"max_data_xfer_size":1e400}}\0',
                    b'\0\0\1\0{"capabilities":{"twin_socket":7}}\0', b"\0\0\1\0" + b" " * 900000 + b"{}\0"):
        with Host(target().socket, timeout=TIMEOUTS) as h:
            if tried(h, wire.VERSION, payload) == "ok":
                survives(h)
    with versioned() as h:
        tried(h, wire.VERSION, wire.version_payload(0, 1, CAPABILITIES))
        survives(h)


@careful
def test_payloads_of_every_wrong_length():
    whole = {wire.DMA_MAP: wire.DMA_MAP_REQUEST.pack(32, 3, 0, 0x100000, PAGE), wire.DMA_UNMAP: bytes(24),
             wire.DEVICE_GET_INFO: wire.DEVICE_INFO.pack(16, 0, 0, 0), wire.GET_REGION_INFO: bytes(32),
             wire.GET_IRQ_INFO: bytes(16), wire.SET_IRQS: wire.IRQ_SET.pack(20, 33, wire.MSIX, 0, 1),
             wire.REGION_READ: wire.REGION_ACCESS.pack(0, 0, 8), wire.REGION_WRITE: wire.REGION_ACCESS.pack(0x14, 0, 4)}
    with versioned() as h:
        for code, payload in whole.items():
            for length in range(len(payload)):
                plx.equal(tried(h, code, payload[:length]), "refused", f"command {code} with {length} bytes")
        for payload in (wire.REGION_ACCESS.pack(0x24, 0, 4) + bytes(3), wire.REGION_ACCESS.pack(0x24, 0, 4) + bytes(5)):
            plx.equal(tried(h, wire.REGION_WRITE, payload), "refused", f"a region write of 4 bytes with {payload[16:]}")
        h.device_info()


@careful
def test_a_million_random_bytes():
    rng = random.Random(13)
    fd = os.memfd_create("host")
    os.ftruncate(fd, 1 << 20)
    for turn in range(60):
        with Host(target().socket, timeout=TIMEOUTS) as h, contextlib.suppress(Closed, ConnectionError):
            if turn % 4:
                h.version(CAPABILITIES)
            for _ in range(40):
                size = rng.choice((0, 4, 8, 16, 20, 24, 32, 36, 64, 1000))
                words = [rng.choice((0, 1, 3, 4, 16, 20, 32, 33, 0x1000, 0xffffffff, rng.getrandbits(32)))
                         for _ in range(size // 4)]
                payload = struct.pack(f"={len(words)}I", *words)
                fds = [fd] * rng.choice((0, 0, 1, 2, 9))
                h.channels[0].send(rng.getrandbits(16), rng.randrange(20) if turn % 3 else rng.getrandbits(16), payload, fds,
                                   rng.choice((0, 0, wire.NO_REPLY, 1)))
                while wire.select.select(h.channels, [], [], 0)[0]:
                    h.channels[0].receive(TIMEOUTS).close_fds()
            h.channels[0].send_bytes(rng.randbytes(1000))
    os.close(fd)


@careful
def test_a_client_that_sends_half_a_message_holds_up_nobody():
    for whole in (wire.HEADER.pack(1, wire.VERSION, 60, 0, 0), wire.HEADER.pack(1, wire.VERSION, 60, 0, 0)[:7]):
        with Host(target().socket) as h:
            h.channels[0].send_bytes(whole)
            bystander()


@careful
def test_a_client_that_reads_no_replies_holds_up_nobody():
    with versioned() as h:
        request = wire.HEADER.pack(1, wire.REGION_READ, 32, 0, 0) + wire.REGION_ACCESS.pack(0, wire.CONFIG, 64)
        with contextlib.suppress(Timeout, Closed):
            for _ in range(40000):
                h.channels[0].send_bytes(request, timeout=0.2)
        bystander()


@careful
def test_two_clients_of_one_socket():
    with host("one") as first:
        first.make_queues(1)
        others = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for sock in others:
            sock.settimeout(TIMEOUTS)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):  # the last: too many at once
                sock.connect(str(target().socket))
                sock.sendall(wire.HEADER.pack(1, wire.VERSION, 20, 0, 0) + b"\0\0\1\0")
        verify(first, "the first of many clients")
        for sock in others:
            sock.close()
        verify(first, "the only one again")


@careful
def test_hundreds_of_connections_cost_nothing():
    def one(turn):
        with Host(target().socket) as h:
            if turn % 5 == 0:
                return
            h.version(CAPABILITIES)
            if turn % 5 > 1:
                h.device_info()
                h.map_bar0()
                h.start_pci()
                h.map(Region(0x100000, 1 << 18))
                h.arm(wire.MSIX, 0, 2)
            if turn % 5 > 3:
                h.enable()
                h.make_queues(2)
    for turn in range(100):
        one(turn)
    before = target().resident()
    for turn in range(400):
        one(turn)
    grown = target().resident() - before
    # the address sanitizer keeps freed memory for a while
    plx.check(grown < 2048 or os.environ.get("PLX_SANITIZE", "none") != "none", f"the target grew by {grown} KiB over 400 connections")


# ---- descriptors ----

@careful
def test_descriptors_where_none_belong():
    fd = os.memfd_create("host")
    os.ftruncate(fd, PAGE)
    for count in (1, 8, 9, 64, 253):
        for code, payload in ((wire.DEVICE_GET_INFO, wire.DEVICE_INFO.pack(16, 0, 0, 0)), (1000, b""),
                              (wire.REGION_READ, wire.REGION_ACCESS.pack(0, 0, 8)),
                              (wire.DMA_UNMAP, wire.DMA_UNMAP_REQUEST.pack(24, 0, 0, PAGE)),
                              (wire.DMA_MAP, wire.DMA_MAP_REQUEST.pack(32, 3, 0, 0x100000, PAGE)),
                              (wire.SET_IRQS, wire.IRQ_SET.pack(20, 36, wire.MSIX, 0, 1))):
            with versioned() as h:
                tried(h, code, payload, [fd] * count)
    with Host(target().socket) as h:
        tried(h, wire.VERSION, wire.version_payload(0, 1, {}), [fd] * 253)
    os.close(fd)


@careful
def test_maps_of_what_cannot_be_mapped():
    read, write = os.pipe()
    left, right = socket.socketpair()
    files = [os.eventfd(0), read, write, os.dup(left.fileno()), os.open("/", os.O_RDONLY), os.open("/dev/null", os.O_RDWR),
             os.open("/proc/self/mem", os.O_RDONLY), os.open(__file__, os.O_RDONLY)]
    left.close()
    right.close()
    with versioned() as h:
        for fd in files:
            plx.check(tried(h, wire.DMA_MAP, wire.DMA_MAP_REQUEST.pack(32, 3, 0, 0x100000, PAGE), [fd]) != "ok",
                      f"a map of {os.readlink(f'/proc/self/fd/{fd}')}")
        h.device_info()
    for fd in files:
        os.close(fd)


@careful
def test_maps_with_impossible_fields():
    fd = os.memfd_create("host")
    os.ftruncate(fd, 1 << 20)
    with versioned() as h:
        for fields in ((32, 3, 0, 0x100000, 0), (32, 3, 0, 0x100001, PAGE), (32, 3, 0, 0x100000, PAGE + 1),
                       (32, 3, 1, 0x100000, PAGE), (32, 3, 0, (1 << 64) - PAGE, 2 * PAGE), (32, 3, 0, PAGE, (1 << 64) - PAGE),
                       (32, 3, (1 << 63), 0x100000, PAGE), (32, 3, (1 << 64) - PAGE, 0x100000, 2 * PAGE),
                       (32, 0, 0, 0x100000, PAGE), (32, 0xfffffffc, 0, 0x100000, PAGE)):
            plx.equal(tried(h, wire.DMA_MAP, wire.DMA_MAP_REQUEST.pack(*fields), [fd]), "refused", f"a map of {fields}")
        for fields in ((24, 0, 0x100000, PAGE), (24, 0, 0, 0), (24, 0, 0, (1 << 64) - 1)):
            plx.equal(tried(h, wire.DMA_UNMAP, wire.DMA_UNMAP_REQUEST.pack(*fields)), "refused", f"unmap of {fields}")
    os.close(fd)


@careful
def test_a_map_over_another_is_refused_with_eexist():
    with host() as h:
        region = Region(0x100000, 16 * PAGE)
        h.map(region)
        for iova, size in ((0x100000, 16 * PAGE), (0x100000, PAGE), (0xff000, 2 * PAGE), (0x10f000, PAGE),
                           (0x10f000, 2 * PAGE), (0, 1 << 40)):
            for fds in ([region.fd], []):
                try:
                    h.call_plain(wire.DMA_MAP, wire.DMA_MAP_REQUEST.pack(32, 3, 0, iova, size), fds)
                    raise AssertionError(f"a map of {iova:#x}+{size:#x} over another")
                except Refused as refused:
                    plx.equal(refused.errno, 17, f"errno of a map of {iova:#x}+{size:#x}")


@careful
def test_unmap_has_to_be_of_the_same_range():
    with host("one") as h:
        for iova, size in ((0x100000, PAGE), (0x101000, 8 << 20), (0x100000, 16 << 20), (0x101000, PAGE)):
            plx.equal(tried(h, wire.DMA_UNMAP, wire.DMA_UNMAP_REQUEST.pack(24, 0, iova, size)), "refused",
                      f"unmap of {iova:#x}+{size:#x}")
        verify(h, "after wrong unmaps", make=1)


@careful
def test_a_map_larger_than_its_file():
    with host() as h:
        h.map(Region(0x100000, 1 << 20))
        fd = os.memfd_create("host")
        os.ftruncate(fd, PAGE)
        outcome = tried(h, wire.DMA_MAP, wire.DMA_MAP_REQUEST.pack(32, 3, 0, 0x8000000, 1 << 20), [fd])
        plx.check(outcome in ("ok", "refused"), f"the map was {outcome}")
        h.enable()
        h.look_around()
        h.make_queues(1)
        for opcode in (1, 2):
            with contextlib.suppress(Closed):
                with failing("I/O behind the end of the file"):
                    h.io(h.sqs[1], opcode, MALLOC, 0, 8, [(0x8000000 + 0x80000, 4096)])
        os.close(fd)


@contextlib.contextmanager
def failing(what):
    try:
        yield
    except Failed:
        return
    raise AssertionError(f"{what} succeeded")


@careful
def test_a_file_truncated_while_io_runs():
    for queues_too in (False, True):
        with host() as h:
            data = Region(0x40000000, 1 << 20)
            h.map(Region(0x100000, 1 << 20))
            if queues_too:
                h.memory.free = []
            h.map(data)
            h.enable()
            h.look_around()
            h.make_queues(2)
            with contextlib.suppress(Closed, Failed, Timeout):
                for number in range(60):
                    page = 0x40000000 + 0x80000 + PAGE * (number % 64)
                    sq = h.sqs[1 + number % 2]
                    cid, _ = h.start_io(sq, 1 + number % 2, MALLOC, 0, 8, [(page, 4096)])
                    if number == 20:
                        os.ftruncate(data.fd, 0)
                        h.timeout = 1
                    if number == 20 and queues_too:
                        break  # our own access to the queues would be a SIGBUS here
                    h.finish(sq, cid, timeout=2)
            if queues_too:
                with contextlib.suppress(Closed, Timeout):
                    h.ring(h.sqs[1], 0)
                    h.ring(h.sqs[2], 5)
                    h.reg_write(wire.CC, 0)
                bystander()
            data.words.release()


@careful
def test_unmap_while_io_is_in_flight_ends_all_access_before_the_reply():
    with host() as h:
        h.map(Region(0x100000, 1 << 20))
        file = os.memfd_create("moving")
        os.ftruncate(file, 1 << 20)
        h.enable()
        h.look_around()
        h.make_queues(1, 32, 32)
        for turn in range(3):
            region = Region(0x40000000, 1 << 20, fd=file)
            h.map(region)
            region.view[:] = b"\xee" * len(region.view)
            pending = [h.start_io(h.sqs[1], 2 - (turn == 1), SLOW, 8 * i, 8, [(0x40000000 + i * PAGE, 4096)])[0]
                       for i in range(20)]
            h.unmap(region)
            at_reply = bytes(region.view)
            region.view[:] = b"\xcc" * len(region.view) if turn == 2 else at_reply
            at_reply = bytes(region.view)
            for cid in pending:
                h.finish(h.sqs[1], cid)
            plx.check(bytes(region.view) == at_reply, "memory changed after DMA_UNMAP had been answered")
            region.close()
        os.close(file)
        verify(h, "after unmapping in flight", queues=[1])


@careful
def test_unmap_of_live_queues():
    with host() as h:
        queues, data = Region(0x100000, 1 << 20), Region(0x40000000, 1 << 20)
        h.map(queues)
        h.enable()
        h.map(data)
        h.look_around()
        h.memory.free = [a for a in h.memory.free if a < 0x40000000]
        h.make_queues(2)
        for number in range(10):
            h.start_io(h.sqs[1 + number % 2], 2, SLOW, 0, 8, [(0x40000000 + PAGE * number, 4096)])
        h.unmap(queues, remove=False)
        before = bytes(queues.view)
        with contextlib.suppress(Closed):
            for value in (0, 3, 7, 0xffff, 1):
                for sq in h.sqs.values():
                    h.ring(sq, value)
            h.unmap(data)
            h.reg(wire.CSTS)
            h.disable()
        plx.check(bytes(queues.view) == before, "queue memory changed after DMA_UNMAP had been answered")


# ---- the controller ----

@careful
def test_queues_at_addresses_that_are_not_mapped():
    for asq, acq in ((0, 0), (0xdead000, 0xbeef000), ((1 << 64) - PAGE, 0x100000), (0x1ff000, 0x1ff000)):
        with host() as h:
            h.map(Region(0x100000, 1 << 20))
            h.reg_write(wire.AQA, 4095 << 16 | 4095)
            h.reg_write(wire.ASQ, asq, 8)
            h.reg_write(wire.ACQ, acq, 8)
            h.reg_write(wire.CC, 6 << 16 | 4 << 20 | 1)
            h.region_write(wire.BAR0, wire.DOORBELLS, struct.pack("=I", 5))
            h.reg(wire.CSTS)
            bystander()
    with host("one") as h:
        h.ask_queues(2)
        for opcode, cdw11 in ((5, 1), (1, 1 << 16 | 1)):
            for base in (0xdead000, (1 << 64) - PAGE, 0x8ff000):
                with failing(f"a queue at {base:#x}"):
                    h.admin(opcode, prp1=base, cdw=(h.mqes << 16 | 1, cdw11))
                    if base == 0x8ff000 and opcode == 5:
                        h.admin(4, cdw=(1,))
                        raise Failed(5, 1)


@careful
def test_doorbell_values_without_sense():
    rng = random.Random(3)
    for _ in range(8):
        with host("one") as h:
            h.make_queues(2)
            for at, length, view, _ in h.areas:
                for i in range(0, min(length // 4, 1024)):
                    view[i] = rng.choice((0, 1, 0xffff, 0x10000, 0xffffffff, rng.getrandbits(32)))
            for _ in range(40):
                offset = wire.DOORBELLS + 4 * rng.randrange(h.bar0_size // 4 - 0x400)
                with contextlib.suppress(Refused):
                    h.region_write(wire.BAR0, offset, struct.pack("=I", rng.getrandbits(32)))
            h.reg(wire.CSTS)
            bystander()


@careful
def test_random_commands_with_random_pointers():
    rng = random.Random(17)
    for turn in range(6):
        with host("one") as h:
            h.make_queues(2, 64, 64)
            places = [0x100000, 0x140ff0, 0x8ff000, 0x900000, 0, 0xdead000, (1 << 64) - PAGE, (1 << 64) - 1]
            for number in range(300):
                sq = h.sqs[rng.randrange(3)]
                entry = bytearray(rng.randbytes(64))
                opcodes = (0, 1, 2, 5, 8, 9) if sq.qid else (1, 2, 4, 5, 6, 9, 0xa, 0xc)
                entry[0] = rng.choice((*opcodes, rng.getrandbits(8)))
                entry[1] = rng.choice((0, 0, 0x40, 0x40, rng.getrandbits(8)))
                struct.pack_into("=I", entry, 4, rng.choice((0, MALLOC, NULL, 0xffffffff)))
                struct.pack_into("=QQ", entry, 24, rng.choice(places) + rng.choice((0, 4, 16)) & (1 << 64) - 1,
                                 rng.choice(places))
                if rng.random() < 0.5:
                    struct.pack_into("=6I", entry, 40, *(rng.choice((0, 1, 7, 0xff, 0x10001, 0xffffffff)) for _ in range(6)))
                if sq.qid == 0 and entry[0] in (0, 1, 4, 5):
                    struct.pack_into("=I", entry, 40, rng.randrange(20, 40) | rng.randrange(4096) << 16)
                if sq.qid == 0 and entry[0] == 0xc or entry[0] in (0x80, 0x84):
                    continue
                h.submit(sq, bytes(entry))
                for queue in h.sqs.values():
                    h.poll(queue.cq)
                    queue.done.clear()
            h.timeout = 2


@careful
def test_a_queue_full_of_garbage_at_once():
    rng = random.Random(19)
    with host("one") as h:
        h.make_queues(1, 256, 256)
        h.memory.write(h.sqs[1].base, rng.randbytes(64 * 256))
        h.ring(h.sqs[1], 255)
        h.memory.write(h.sqs[0].base, rng.randbytes(64 * 32))
        h.ring(h.sqs[0], (h.sqs[0].tail + 31) % 32)
        bystander()


@careful
def test_region_accesses_outside():
    with host() as h:
        sizes = {}
        for index in range(wire.NUM_REGIONS):
            _, sizes[index], _, _, fds, _ = h.region_info(index)
            [os.close(fd) for fd in fds]
        for index in [*range(wire.NUM_REGIONS), 9, 1000, 0xffffffff]:
            size = sizes.get(index, 0)
            for offset, count in ((size, 4), (size - 2 if size else 0, 4), ((1 << 64) - 4, 8), ((1 << 64) - 4, 4),
                                  (0, 0xffffffff), (0, 1 << 31)):
                access = wire.REGION_ACCESS.pack(offset, index, count)
                plx.equal(tried(h, wire.REGION_READ, access), "refused", f"read of {offset:#x}+{count:#x} of region {index}")
                plx.equal(tried(h, wire.REGION_WRITE, access + bytes(min(count, 64))), "refused",
                          f"write of {offset:#x}+{count:#x} of region {index}")
        h.device_info()


@careful
def test_writes_to_every_register_and_every_byte_of_config_space():
    rng = random.Random(23)
    with host() as h:
        for at in range(0, 0x1000, 4):
            tried(h, wire.REGION_WRITE, wire.REGION_ACCESS.pack(at, wire.BAR0, 4) + rng.randbytes(4))
        for at in range(h.region_info(wire.CONFIG)[1]):
            tried(h, wire.REGION_WRITE, wire.REGION_ACCESS.pack(at, wire.CONFIG, 1) + rng.randbytes(1))
        tried(h, wire.REGION_WRITE, wire.REGION_ACCESS.pack(0, wire.CONFIG, 256) + b"\xff" * 256)
        h.device_info()


# ---- interrupts ----

@careful
def test_interrupt_settings_without_sense():
    rng = random.Random(29)
    fd = os.eventfd(0)
    with versioned() as h:
        _, vectors = h.irq_info(wire.MSIX)
        for flags, start, count, data, fds in (
                (36, 0, vectors + 1, b"", 1), (36, vectors, 1, b"", 1), (36, 0xffffffff, 2, b"", 1),
                (36, 0, 0xffffffff, b"", 1),
                (34, 0, 3, b"\1", 0), (34, 0, 0xffffffff, b"\1", 0), (36, 0, 1, b"", 2), (36, 0, 3, b"", 1),
                (7, 0, 1, b"", 0), (0, 0, 1, b"", 0), (56 | 1, 0, 1, b"", 0), (1, 0, 1, b"", 0), (32, 0, 1, b"", 0),
                (0xffffffff, 0, 1, b"", 1)):
            payload = wire.IRQ_SET.pack(20 + len(data), flags, wire.MSIX, start, count) + data
            plx.equal(tried(h, wire.SET_IRQS, payload, [fd] * fds), "refused",
                      f"flags {flags:#x}, vectors {start}+{count}, {len(data)} bytes, {fds} descriptors")
        for _ in range(300):
            tried(h, wire.SET_IRQS, wire.IRQ_SET.pack(*(rng.choice((0, 1, 2, 20, 33, 36, 0xffffffff)) for _ in range(5))),
                  [fd] * rng.choice((0, 1, 3)))
        h.device_info()
    os.close(fd)


@careful
def test_an_eventfd_that_would_block_holds_up_nobody():
    full = os.eventfd(0)
    os.eventfd_write(full, (1 << 64) - 2)
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    for fd in (full, write):
        with host("one") as h:
            tried(h, wire.SET_IRQS, wire.IRQ_SET.pack(20, 36, wire.MSIX, 1, 1), [fd])
            h.ask_queues(1)
            h.create_sq(1, 8, h.create_cq(1, 8, vector=1))
            for _ in range(3):
                h.submit(h.sqs[1], command(2, MALLOC, h.memory.pages(1)[0]))
            h.send(wire.SET_IRQS, wire.IRQ_SET.pack(20, 33, wire.MSIX, 1, 1))
            bystander()
    for fd in (full, read, write):
        os.close(fd)


# ---- memory by messages ----

@careful
def test_wrong_answers_to_requests_for_memory():
    def answer(kind):
        def serve(_, channel, message):
            address, count = wire.DMA_ACCESS.unpack_from(message.payload)
            data = bytes(count) if message.command == wire.DMA_READ else b""
            good = wire.DMA_ACCESS.pack(address, count) + data
            msg_id, code, payload, flags, times = {
                "error": (message.id, message.command, b"", wire.REPLY | wire.ERROR, 1),
                "empty": (message.id, message.command, b"", wire.REPLY, 1),
                "short": (message.id, message.command, good[:-1], wire.REPLY, 1),
                "long": (message.id, message.command, good + bytes(64), wire.REPLY, 1),
                "count": (message.id, message.command, wire.DMA_ACCESS.pack(address, 1 << 60) + data, wire.REPLY, 1),
                "address": (message.id, message.command, wire.DMA_ACCESS.pack(address + 64, count) + data, wire.REPLY, 1),
                "id": (message.id + 1, message.command, good, wire.REPLY, 1),
                "command": (message.id, wire.DEVICE_GET_INFO, good, wire.REPLY, 1),
                "twice": (message.id, message.command, good, wire.REPLY, 2),
                "nothing": (message.id, message.command, good, wire.REPLY, 0),
            }[kind]
            message.close_fds()
            for _ in range(times):
                channel.send(msg_id, code, payload, flags=flags)
        return serve

    needs_messages()
    for kind in ("error", "empty", "short", "long", "count", "address", "id", "command", "twice", "nothing"):
        with host() as h:
            h.map(Region(0x100000, 1 << 20))
            h.enable()
            h.look_around()
            h.make_queues(1)
            h.map(Region(0x80000000, 1 << 20, shared=False))
            h._serve = lambda channel, message, serve=answer(kind): serve(h, channel, message)
            with contextlib.suppress(Closed, ConnectionError, Timeout):
                for number in range(6):
                    cid, _ = h.start_io(h.sqs[1], 1 + number % 2, MALLOC, 0, 8, [(0x80000000, 4096)])
                    h.finish(h.sqs[1], cid, timeout=0.3)
            bystander()


@careful
def test_unmap_of_memory_whose_requests_are_not_answered():
    needs_messages()
    with host() as h:
        h.map(Region(0x100000, 1 << 20))
        h.enable()
        h.look_around()
        h.make_queues(1)
        away = Region(0x80000000, 1 << 20, shared=False)
        h.map(away)
        waiting = []
        h._serve = lambda channel, message: waiting.append((channel, message))
        for number in range(4):
            h.start_io(h.sqs[1], 1 + number % 2, MALLOC, 0, 8, [(0x80000000, 4096)])
        h._until("a request for memory", lambda: waiting or h.poll(h.sqs[1].cq) < 0)
        wanted = h.send(wire.DMA_UNMAP, wire.DMA_UNMAP_REQUEST.pack(24, 0, away.iova, away.size))
        bystander()
        for channel, message in waiting:
            with contextlib.suppress(Closed):
                Host._serve(h, channel, message)
        del h._serve
        h.reply(wanted, wire.DMA_UNMAP)


# ---- violent ends ----

@careful
def test_killed_with_io_in_flight():
    try:
        needs_messages()
        layouts = ("one", "mixed")
    except plx.Skip:
        layouts = ("one", "scattered")
    for turn in range(25):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                with host(layouts[turn % 2]) as h:
                    h.make_queues(2, 32, 32, shared=True)
                    for number in range(20):
                        h.start_io(h.sqs[1 + number % 2], 1 + number % 2, SLOW if turn % 3 else MALLOC, 8 * number, 8,
                                   h.scattered(4096)[0])
                    os.write(write, b"x")
                    while True:
                        h.start_io(h.sqs[1], 2, MALLOC, 0, 8, h.scattered(4096)[0])
                        signal.pause()
            finally:
                os._exit(1)
        try:
            os.close(write)
            plx.equal(os.read(read, 1), b"x", "the child's word that it is at work")
        finally:
            os.close(read)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        with host("one") as h:
            verify(h, f"after kill {turn}", make=1, commands=2)


try:
    plx.main()
finally:
    target.stop()
