#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt under a foreign vfio-user host (vfio_user_host.py): every legal habit works with its data verified.

What hosts do that they must not: test_vfio_user_hostile_host.py.
"""
import contextlib
import os
import random
import struct

import plx
import vfio_user_wire as wire
from foreign_host import CAPABILITIES, MALLOC, SLOW, careful, host, needs_messages, target, verify
from vfio_user_host import LAYOUTS, Failed, Host, Region, command, layout
from vfio_user_wire import PAGE

BLOCK = 512
MESSAGES = "mixed", "no descriptors"  # layouts with memory that is reached by messages


# ---- version ----

@careful
def test_any_proposal_of_capabilities_is_answered():
    proposals = (None, {}, CAPABILITIES, {"max_msg_fds": 1}, {"max_data_xfer_size": 4096}, {"max_dma_maps": 1 << 40},
                 {"pgsizes": 4096 | 1 << 21, "twin_socket": {"supported": False}},
                 {"migration": {"pgsize": 4096, "max_bitmap_size": 256, "max_migration_size": 1}, "cmd_fd": True,
                  "x-ünknown": [1, -2.5e9, None, {"deep": [[[{}]]]}], "write_multiple": True, "": ""})
    for proposal in proposals:
        with Host(target().socket) as h:
            h.version(proposal)
            unasked = set(h.capabilities) - set(proposal or {})
            plx.check(not unasked & {"twin_socket", "write_multiple", "migration", "cmd_fd"},
                      f"'The capability list must be a subset of those proposed': {unasked} for {proposal}")
            h.device_info()


@careful
def test_version_data_may_come_in_any_spelling():
    for text, nul in ((b'{"capabilities":{"max_msg_fds":8}}', True), (b'{"capabilities":{"max_msg_fds":8}}', False),
                      (b' \n{ "capabilities" :\t{ } , "other": 1 }\r\n', True), (b"{}", True), (b'{"a":"\\u0000"}', True),
                      (b'{"capabilities":{"max_msg_fds":8}}\0\0\0', True)):
        with Host(target().socket) as h:
            h.version(text, nul=nul)
            h.device_info()


@careful
def test_lower_and_higher_minor_versions_are_agreed_on():
    for minor in (0, 1, 2, 65535):
        with Host(target().socket) as h:
            h.version(CAPABILITIES, minor=minor)
            h.device_info()


# ---- information ----

@careful
def test_argsz_of_any_legal_size_is_answered():
    with host() as h:
        for argsz in (16, 17, 4096, 0xffffffff):
            h.device_info(argsz)
            for index in range(5):
                h.irq_info(index, argsz)
        for index in range(wire.NUM_REGIONS):
            sizes = set()
            for argsz in (32, 33, 56, 64, 4096, 0xffffffff):
                *_, fds, needed = h.region_info(index, argsz)
                sizes.add(needed)
                for fd in fds:
                    os.close(fd)
            plx.equal(len(sizes), 1, f"argsz of region {index} is always the same")


@careful
def test_a_size_too_small_and_an_index_too_large_are_refused():
    with host() as h:
        for code, request in ((wire.DEVICE_GET_INFO, wire.DEVICE_INFO.pack(15, 0, 0, 0)),
                              (wire.GET_REGION_INFO, wire.REGION_INFO.pack(31, 0, 0, 0, 0, 0)),
                              (wire.GET_REGION_INFO, wire.REGION_INFO.pack(32, 0, 1000, 0, 0, 0)),
                              (wire.GET_IRQ_INFO, wire.IRQ_INFO.pack(15, 0, 0, 0)),
                              (wire.GET_IRQ_INFO, wire.IRQ_INFO.pack(16, 0, 1000, 0))):
            with refused(f"command {code}"):
                h.call_plain(code, request)
        h.device_info()


@contextlib.contextmanager
def refused(what, errno=None):
    try:
        yield
    except wire.Refused as error:
        plx.check(errno in (None, error.errno), f"{what}: error {error.errno}, not {errno}")
        return
    raise AssertionError(f"{what} should have been refused")


# ---- PCI ----

@careful
def test_config_space_is_that_of_an_nvme_function():
    with host() as h:
        h.start_pci()
        caps = h.pci_capabilities()
        for number, name in ((1, "power management"), (0x11, "MSI-X"), (0x10, "PCI Express")):
            plx.check(number in caps, f"no {name} capability")
        size, wide = h.bar_size(0)
        _, bar0, *_, fds, _ = h.region_info(wire.BAR0)
        [os.close(fd) for fd in fds]
        plx.equal((size, wide), (bar0, True), "BAR 0: as sized, and as VFIO tells")
        vectors = (h.cfg(caps[0x11] + 2, 2) & 0x7ff) + 1
        plx.equal(h.irq_info(wire.MSIX)[1], vectors, "vectors: of MSI-X, and as VFIO tells")
        for at, length in ((4, 16 * vectors), (8, (vectors + 63) // 64 * 8)):
            where = h.cfg(caps[0x11] + at, 4)
            _, region_size, *_, fds, _ = h.region_info(where & 7)
            [os.close(fd) for fd in fds]
            plx.check((where & ~7) + length <= region_size, f"MSI-X table or PBA at {where:#x} is outside of its BAR")
        plx.check(h.cfg(0x3d, 1) in range(5), "interrupt pin")
        plx.equal(bool(h.cfg(0x3d, 1)), h.irq_info(wire.INTX)[1] == 1, "interrupt pin, and INTx as VFIO tells")


@careful
def test_config_space_reads_the_same_in_any_access_size():
    with host() as h:
        size = h.region_info(wire.CONFIG)[1]
        whole = h.region_read(wire.CONFIG, 0, size)
        for step in (1, 2, 4, 8, 64, 3):
            parts = [h.region_read(wire.CONFIG, at, min(step, size - at)) for at in range(0, size, step)]
            plx.equal(b"".join(parts), whole, f"config space, {step} bytes at a time")


@careful
def test_read_only_fields_of_config_space_stay():
    with host() as h:
        before = h.region_read(wire.CONFIG, 0, 16)
        for at in (0, 2, 6, 8, 0xa, 0xe):
            h.cfg_write(at, 0, 2)
        plx.equal(h.region_read(wire.CONFIG, 0, 16), before, "the header")


@careful
def test_what_is_written_to_a_bar_is_read_back():
    """a guest's firmware places BARs, and looks"""
    with host() as h:
        at = 0x10
        kind = h.cfg(at, 4) & 0xf
        h.cfg_write(at, 0xfe400000, 4)
        h.cfg_write(at + 4, 0x12, 4)
        plx.equal((h.cfg(at, 4), h.cfg(at + 4, 4)), (0xfe400000 | kind, 0x12), "BAR 0")


# ---- memory ----

@careful
def test_memory_in_any_number_of_regions_at_any_address():
    for kind in LAYOUTS:
        if kind not in MESSAGES:
            with host(kind) as h:
                h.make_queues(2)
                verify(h, f"layout {kind!r}")


@careful
def test_data_may_lie_in_memory_without_descriptor():
    needs_messages()
    for kind in MESSAGES:
        with host(kind) as h:
            h.make_queues(2, shared=True if kind == "mixed" else None)
            verify(h, f"layout {kind!r}")


@careful
def test_queues_may_lie_in_memory_without_descriptor():
    needs_messages()
    with host() as h:
        for region in (Region(0x9000, 1 << 20, shared=False), Region(0x90000000, 1 << 20)):
            h.map(region)
        h.enable(shared=False)
        h.look_around()
        h.make_queues(2, shared=False)
        verify(h, "queues without descriptor")
        plx.check(h.served[wire.DMA_READ] and h.served[wire.DMA_WRITE], "nothing went through messages")


@careful
def test_max_data_xfer_size_of_the_client_is_kept_and_both_replies_to_dma_write_are_understood():
    needs_messages()
    for size, wide in ((4096, True), (512, False), (64, True)):
        with host("no descriptors", {"max_data_xfer_size": size}) as h:
            h.wide_dma_reply = wide
            h.make_queues(1)
            verify(h, f"max_data_xfer_size {size}", commands=6)


@careful
def test_a_queue_may_cross_regions():
    """contiguous addresses are all that PC (Base §5.4) asks for"""
    with host() as h:
        for i in reversed(range(32)):
            h.map(Region(0x770000000 + i * PAGE, PAGE))
        h.map(Region(0x90000000, 1 << 20))
        h.enable()
        h.look_around()
        h.ask_queues(1)
        h.memory.free = [a for a in h.memory.free if a < 0x770000000 + 32 * PAGE and a >= 0x770000000] \
            + [a for a in h.memory.free if a < 0x770000000]
        try:
            h.create_sq(1, 300, h.create_cq(1, 600))
        except Failed as failed:
            if failed.status != 4:
                raise
            plx.skip("the target refuses queues that cross DMA regions (Data Transfer Error)")
        verify(h, "queues over region borders", commands=700, depth=200, most=2)


@careful
def test_read_only_and_write_only_regions():
    with host() as h:
        for region in (Region(0x10000, 1 << 20), Region(0x1000000, 1 << 16, flags=1), Region(0x2000000, 1 << 16, flags=2)):
            h.map(region)
        h.enable()
        h.look_around()
        h.make_queues(1)
        h.memory.region_at(0x1000000).view[:8192] = bytes(range(256)) * 32
        h.io(h.sqs[1], 1, MALLOC, 0, 16, [(0x1000000, 8192)])
        h.io(h.sqs[1], 2, MALLOC, 0, 16, [(0x2000000, 8192)])
        plx.equal(h.memory.read(0x2000000, 8192), bytes(range(256)) * 32, "data")
        for opcode, at, why in ((2, 0x1000000, "a read into memory that is read-only"),
                                (1, 0x2000000, "a write from memory that is write-only")):
            try:
                h.io(h.sqs[1], opcode, MALLOC, 0, 16, [(at, 8192)])
                raise AssertionError(f"{why} succeeded")
            except Failed:
                pass


@careful
def test_data_memory_may_be_mapped_elsewhere_while_idle():
    with host() as h:
        h.map(Region(0x100000, 1 << 20))
        h.enable()
        h.look_around()
        h.make_queues(2)
        file = os.memfd_create("moving")
        os.ftruncate(file, 1 << 20)
        rng = random.Random(5)
        for _ in range(30):
            region = Region(rng.randrange(1 << 12, 1 << 36) << 12, 1 << 18, fd=file, offset=rng.randrange(4) << 18)
            h.map(region)
            data = rng.randbytes(8192)
            region.view[:8192] = data
            h.io(h.sqs[1], 1, MALLOC, 40, 16, [(region.iova, 8192)])
            h.io(h.sqs[2], 2, MALLOC, 40, 16, [(region.iova + 16384, 8192)])
            plx.equal(bytes(region.view[16384:16384 + 8192]), data, "data")
            h.unmap(region)
            try:
                h.io(h.sqs[1], 2, MALLOC, 40, 16, [(region.iova, 8192)])
                raise AssertionError("a read into memory that has been unmapped succeeded")
            except Failed:
                pass
            region.close()
        os.close(file)


@careful
def test_memory_of_idle_queues_may_be_unmapped_and_mapped_again():
    """as a guest's memory layout changes"""
    with host() as h:
        data, queues = Region(0x100000, 1 << 20), Region(0x900000, 1 << 20)
        h.map(queues)
        h.enable()
        h.map(data)
        h.look_around()
        h.memory.free = [a for a in h.memory.free if a >= 0x900000]
        h.make_queues(2)
        h.memory.give_back(range(0x100000, 0x200000, PAGE))
        for turn in range(4):
            verify(h, f"turn {turn}", commands=11)
            free = h.memory.free
            h.unmap(queues)
            plx.equal(h.reg(wire.CSTS) & wire.CSTS_CFS, 0, "CSTS.CFS")
            if turn % 2:
                h.unmap(data)
                h.map(data)
            h.map(queues)
            h.memory.free = free


@careful
def test_all_memory_may_be_replaced_while_the_controller_is_disabled():
    with host("one") as h:
        for kind in ("scattered", "at zero", "high"):
            h.disable()
            for region in list(h.memory.regions):
                h.unmap(region)
                region.close()
            for region in layout(kind):
                h.map(region)
            h.enable()
            h.look_around()
            h.make_queues(2)
            verify(h, f"then layout {kind!r}")


@careful
def test_the_number_of_maps_that_is_announced_can_be_had():
    with host(capabilities={"max_dma_maps": 65535}) as h:
        count = h.capabilities["max_dma_maps"]
        file = os.memfd_create("many")
        os.ftruncate(file, PAGE)
        regions = [Region((7 * i + 1) << 12, PAGE, fd=file) for i in range(min(count, 3000))]
        for region in regions:
            h.map(region, add=False)
        if count == len(regions):
            with refused("one map more"):
                h.map(Region(1 << 40, PAGE, fd=file), add=False)
        for region in regions:
            h.unmap(region, remove=False)
            region.close()
        os.close(file)


# ---- doorbells and registers ----

@careful
def test_doorbells_may_be_rung_by_message():
    for how in (True, "no reply"):
        with host("one") as h:
            h.message_doorbells = how
            h.make_queues(2, sq_size=5, cq_size=6)
            verify(h, f"doorbells by message ({how})")


@careful
def test_registers_may_be_read_in_parts():
    with host("one") as h:
        whole = h.reg(wire.CAP, 8)
        for size in (1, 2, 4):
            parts = b"".join(h.region_read(wire.BAR0, at, size) for at in range(0, 8, size))
            plx.equal(int.from_bytes(parts, "little"), whole, f"CAP, {size} bytes at a time")
        plx.equal(h.reg(wire.ASQ, 8), h.sqs[0].base, "ASQ")
        h.region_read(wire.BAR0, 0, 0x40)


# ---- queues and commands ----

@careful
def test_queues_of_any_legal_size():
    with host("one", sq_size=2, cq_size=2) as h:
        h.ask_queues(64)
        most = h.mqes + 1
        for sq_size, cq_size in ((2, 2), (3, 7), (7, 3), (2, most), (most, 2), (most, most), (255, 256)):
            cq = h.create_cq(3, cq_size)
            h.create_sq(5, sq_size, cq)
            verify(h, f"queues of {sq_size} and {cq_size}", queues=[5], commands=40)
            h.delete_sq(h.sqs[5])
            h.delete_cq(cq)
        for size in (1, most + 1):
            if size <= 65536:
                try:
                    h.create_cq(3, size)
                    raise AssertionError(f"a queue of {size} entries was made, MQES is {h.mqes}")
                except Failed as failed:
                    plx.equal(failed.status, 0x102, f"a queue of {size} entries: Invalid Queue Size")


@careful
def test_admin_queues_of_any_legal_size():
    for sq_size, cq_size in ((2, 2), (2, 4096), (4096, 2), (5, 3)):
        with host("one", sq_size=sq_size, cq_size=cq_size) as h:
            for _ in range(11):
                h.identify(1)


@careful
def test_many_queues_and_several_on_one_completion_queue():
    with host("one") as h:
        count = min(min(h.ask_queues(40)), 40)
        plx.check(count >= 8, f"only {count} queues")
        for cq in [h.create_cq(qid, 9) for qid in (1, 7)]:
            for qid in range(cq.qid, count + 1, 7 if cq.qid == 7 else 2):
                if qid not in h.sqs:
                    h.create_sq(qid, 2 + qid, cq)
        verify(h, "queues that share completion queues", commands=120, queues=[q for q in h.sqs if q])
        with failing(0x10c, "deletion of a completion queue in use"):
            h.admin(4, cdw=(7,))


@contextlib.contextmanager
def failing(status, what):
    try:
        yield
    except Failed as failed:
        plx.equal(failed.status, status, what)
        return
    raise AssertionError(f"{what} succeeded")


@careful
def test_prp_lists_of_any_shape():
    with host("scattered") as h:
        h.make_queues(1)
        rng = random.Random(9)
        most = h.max_bytes // BLOCK
        for blocks in (1, 7, 8, 9, 16, 17, 24, most - 1, most):
            for offset in (0, 4, 512, 4092):
                for list_at in (0, 8, 4080, 4088 - 8 * (blocks // 8 // 2 % 500)):
                    lba, data = rng.randrange(1000), rng.randbytes(blocks * BLOCK)
                    h.write(h.sqs[1], MALLOC, lba, data, offset=offset, list_at=list_at)
                    plx.equal(h.read(h.sqs[1], MALLOC, lba, blocks, offset=offset, list_at=list_at), data,
                              f"{blocks} blocks from {offset} in the page on, list at {list_at}")


@careful
def test_sgls_of_any_shape_across_regions():
    with host("scattered") as h:
        if not h.sgls & 3:
            plx.skip("the controller has no SGLs")
        h.make_queues(1)
        rng, unit = random.Random(11), 1 if h.sgls & 3 == 1 else 4
        base = h.memory.run(16 * PAGE)
        for _ in range(30):
            blocks = rng.randrange(1, 17)
            cuts = sorted({0, blocks * BLOCK, *(rng.randrange(1, blocks * BLOCK // unit) * unit for _ in range(5))})
            segments, at = [], base + unit * rng.randrange(8)
            for begin, end in zip(cuts, cuts[1:]):
                segments.append((at, end - begin))
                at += end - begin + unit * rng.randrange(4)
            data = rng.randbytes(blocks * BLOCK)
            h.scatter(segments, data)
            h.io(h.sqs[1], 1, MALLOC, 77, blocks, segments, sgl=True, per_segment=rng.choice((2, 3, 256)))
            plx.equal(h.read(h.sqs[1], MALLOC, 77, blocks), data, "written by SGL")
            h.scatter(segments, bytes(len(data)))
            h.io(h.sqs[1], 2, MALLOC, 77, blocks, segments, sgl=True, per_segment=rng.choice((2, 3, 256)))
            plx.equal(h.gather(segments), data, "read by SGL")


# ---- interrupts ----

@careful
def test_msix_vectors_come_by_eventfd():
    with host("one") as h:
        flags, vectors = h.irq_info(wire.MSIX)
        plx.check(flags & wire.IRQ_INFO_EVENTFD and vectors > 3, f"MSI-X: flags {flags}, {vectors} vectors")
        caps = h.pci_capabilities()
        h.cfg_write(caps[0x11] + 2, h.cfg(caps[0x11] + 2, 2) | 0x8000, 2)
        h.arm(wire.MSIX, 0, 4)
        h.make_queues(3, vectors=True)
        for qid in (1, 2, 3, 1):
            cid, used = h.start_io(h.sqs[qid], 2, MALLOC, 0, 1, [(h.memory.pages(1)[0], BLOCK)])
            h.interrupted(qid)
            plx.equal(h.finish(h.sqs[qid], cid)[0], 0, "status")
            for other in {0, 1, 2, 3} - {qid}:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(h.eventfds[other])
                    plx.check(other == 0, f"an interrupt on vector {other} for queue {qid}")
        h.identify(1)
        h.interrupted(0)


@careful
def test_a_client_may_trigger_disable_and_replace_interrupts():
    with host("one") as h:
        h.arm(wire.MSIX, 0, 3)
        h.set_irqs(wire.MSIX, wire.IRQ_DATA_NONE | wire.IRQ_TRIGGER, 1, 2)
        for vector in (1, 2):
            h.interrupted(vector)
        h.set_irqs(wire.MSIX, wire.IRQ_DATA_BOOL | wire.IRQ_TRIGGER, 0, 3, bytes([1, 0, 1]))
        for vector in (0, 2):
            h.interrupted(vector)
        plx.check(not quiet(h, 1), "a vector whose boolean was 0 came")
        old = h.eventfds.pop(1)
        h.arm(wire.MSIX, 1, 1)
        h.set_irqs(wire.MSIX, wire.IRQ_DATA_NONE | wire.IRQ_TRIGGER, 1, 1)
        h.interrupted(1)
        os.close(old)
        h.set_irqs(wire.MSIX, wire.IRQ_DATA_EVENTFD | wire.IRQ_TRIGGER, 1, 1)  # no descriptors: taken away
        h.set_irqs(wire.MSIX, wire.IRQ_DATA_NONE | wire.IRQ_TRIGGER, 0, 2)
        h.interrupted(0)
        plx.check(not quiet(h, 1), "a vector that was taken away came")
        h.set_irqs(wire.MSIX, wire.IRQ_DATA_NONE | wire.IRQ_TRIGGER, 0, 0)  # disables all
        h.make_queues(1, vectors=True)
        h.read(h.sqs[1], MALLOC, 0, 1)
        plx.check(not any(quiet(h, v) for v in (0, 1, 2)), "an interrupt came after all were disabled")


def quiet(h, vector):
    """how often the interrupt came until now"""
    h.device_info()  # what was sent before has been processed
    with contextlib.suppress(BlockingIOError):
        return os.eventfd_read(h.eventfds[vector])
    return 0


@careful
def test_intx_comes_by_eventfd():
    with host("one") as h:
        flags, count = h.irq_info(wire.INTX)
        if not count:
            plx.skip("the function has no interrupt pin")
        h.arm(wire.INTX, 0, 1)
        h.ask_queues(1)
        h.create_sq(1, 8, h.create_cq(1, 8, vector=0))
        quiet(h, 0)
        for _ in range(3):
            if flags & wire.IRQ_INFO_AUTOMASKED:
                h.set_irqs(wire.INTX, wire.IRQ_DATA_NONE | wire.IRQ_UNMASK, 0, 1)
            quiet(h, 0)
            cid, _ = h.start_io(h.sqs[1], 2, MALLOC, 0, 1, [(h.memory.pages(1)[0], BLOCK)])
            h.interrupted(0)
            plx.equal(h.finish(h.sqs[1], cid)[0], 0, "status")


# ---- resets ----

@careful
def test_device_reset_brings_back_the_registers_and_the_controller_can_be_used_again():
    with host("one") as h:
        h.make_queues(2)
        for _ in range(3):
            for sq in (h.sqs[1], h.sqs[2]):
                h.start_io(sq, 2, SLOW, 0, 1, [(h.memory.pages(1)[0], BLOCK)])
            h.call_plain(wire.DEVICE_RESET, expect=0)
            plx.equal((h.reg(wire.CC), h.reg(wire.CSTS), h.reg(wire.AQA)), (0, 0, 0), "CC, CSTS, AQA after the reset")
            h.sqs, h.cqs = {}, {}
            h.start_pci()
            h.enable()
            h.look_around()
            h.make_queues(2)
            verify(h, "after DEVICE_RESET")


@careful
def test_controller_reset_with_commands_in_flight():
    with host("one") as h:
        for _ in range(5):
            h.make_queues(2)
            for sq in (h.sqs[1], h.sqs[2]):
                for _ in range(10):
                    h.start_io(sq, 2, SLOW, 0, 1, [(h.memory.pages(1)[0], BLOCK)])
            h.disable()
            h.enable(sq_size=9, cq_size=4)
        h.make_queues(2)
        verify(h, "after resets")


@careful
def test_shutdown_and_start_again():
    with host("one") as h:
        for _ in range(3):
            h.make_queues(1)
            verify(h, "before a shutdown", commands=4)
            h.shutdown()
            h.disable()
            plx.equal(h.reg(wire.CSTS) >> 2 & 3, 0, "CSTS.SHST when disabled")
            h.enable()
            h.look_around()


@careful
def test_going_away_at_every_stage():
    def stages(h):
        yield
        h.version(CAPABILITIES)
        yield
        h.device_info()
        h.map_bar0()
        h.start_pci()
        yield
        for region in layout("scattered"):
            h.map(region)
        yield
        h.arm(wire.MSIX, 0, 4)
        yield
        h.reg_write(wire.AQA, 0x1f001f)
        yield
        h.enable()
        yield
        h.submit(h.sqs[0], command(6, 0, h.memory.pages(1)[0], cdw=(1,)))
        yield
        h.look_around()
        h.make_queues(2, vectors=True)
        yield
        for _ in range(8):
            h.start_io(h.sqs[1], 2, SLOW, 0, 8, h.scattered(4096)[0])
        yield
        h.shutdown()
        yield
    for last in range(11):
        with Host(target().socket) as h:
            for number, _ in enumerate(stages(h)):
                if number == last:
                    break
        with host("one") as h:
            verify(h, f"after a client that went away at stage {last}", commands=2, make=1)


# ---- messages ----

@careful
def test_commands_may_be_pipelined_with_the_same_identifier():
    with host() as h:
        h.same_ids = True
        for _ in range(100):
            h.send(wire.REGION_READ, wire.REGION_ACCESS.pack(0, wire.BAR0, 8))
        vs = [h.reply(7, wire.REGION_READ).payload[16:] for _ in range(100)]
        plx.equal(len(set(vs)), 1, "values of CAP")


@careful
def test_commands_without_reply_take_effect_before_the_next():
    with host() as h:
        for value in range(1, 200):
            h.region_write(wire.BAR0, wire.AQA, struct.pack("=I", value << 16 | value), reply=False)
            plx.equal(h.reg(wire.AQA), value << 16 | value, "AQA")
        h.post(wire.DEVICE_GET_INFO, wire.DEVICE_INFO.pack(16, 0, 0, 0))
        h.post(99)  # an error is not replied to either
        h.device_info()
        plx.equal(h.replies, [], "replies to commands that wanted none")


@careful
def test_a_message_may_come_in_pieces_and_many_at_once():
    with host() as h:
        region = Region(0x100000, 1 << 20)
        request = wire.DMA_MAP_REQUEST.pack(32, 3, 0, region.iova, region.size)
        whole = wire.HEADER.pack(9, wire.DMA_MAP, 48, 0, 0) + request
        for at in range(len(whole)):
            h.channels[0].send_bytes(whole[at:at + 1], [region.fd] if not at else ())
        h.reply(9, wire.DMA_MAP)
        h.memory.add(region)
        one = wire.HEADER.pack(5, wire.DEVICE_GET_INFO, 32, 0, 0) + wire.DEVICE_INFO.pack(16, 0, 0, 0)
        h.channels[0].send_bytes(one * 100 + one[:9])
        for _ in range(100):
            h.reply(5, wire.DEVICE_GET_INFO)
        h.channels[0].send_bytes(one[9:])
        h.reply(5, wire.DEVICE_GET_INFO)
        h.enable()
        h.look_around()
        h.make_queues(1)
        verify(h, "after pieces")


@careful
def test_the_largest_transfer_that_is_announced_goes():
    with host() as h:
        limit = h.capabilities.get("max_data_xfer_size", 1 << 20)
        size = h.region_info(wire.BAR0)
        [os.close(fd) for fd in size[4]]
        count = min(limit, size[1])
        try:
            plx.equal(len(h.region_read(wire.BAR0, 0, count)), count, "bytes read")
        except wire.Refused:
            pass  # a register has its own access sizes; the connection has to survive
        h.device_info()


@careful
def test_two_sockets_have_two_clients():
    with host("one") as a, host("one", path=target().other) as b:
        for h in (a, b):
            h.make_queues(1)
        for turn in range(3):
            verify(a, f"first, turn {turn}", commands=5)
            verify(b, f"second, turn {turn}", commands=5)


try:
    plx.main()
finally:
    target.stop()
