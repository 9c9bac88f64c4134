# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of plx-tgt under a foreign vfio-user host share: the target, a host brought up, data verified."""
import contextlib
import functools
import random
import time

import plx
from plx_target import Target
from vfio_user_host import EOPNOTSUPP, Failed, Host, Region, layout
from vfio_user_wire import Refused

CAPABILITIES = {"max_msg_fds": 8, "max_data_xfer_size": 1 << 20, "pgsizes": 4096}
MALLOC, NULL, SLOW = 1, 2, 3  # namespaces; SLOW's commands take long enough to be in flight for sure
SLOW_US = 200000
FILES = "memfd:host", "memfd:moving", "memfd:many"  # what clients give it to map


class Lazy:
    """the target, started when first asked for"""

    def __init__(self):
        self.target = None

    def __call__(self):
        if not self.target:
            self.target = t = Target()
            t.rpc("nvmf_create_transport", trtype="VFIOUSER")
            # what brings memory in looks at /proc/meminfo: open just when fds_at_rest is taken, it would be missed later
            t.rpc("bdev_malloc_create", name="Malloc0", num_blocks=16384, block_size=512, populate=False)
            t.rpc("bdev_malloc_create", name="Malloc1", num_blocks=16384, block_size=512, populate=False)
            t.rpc("bdev_null_create", name="Null0", num_blocks=16384, block_size=512)
            t.rpc("bdev_null_create", name="Null1", num_blocks=16384, block_size=512)
            t.rpc("bdev_malloc_create", name="Base0", num_blocks=16384, block_size=512, populate=False)
            t.rpc("bdev_delay_create", name="Slow0", base_bdev_name="Base0", avg_read_latency=SLOW_US,
                  p99_read_latency=SLOW_US, avg_write_latency=SLOW_US, p99_write_latency=SLOW_US)
            t.socket = t.serve("first", ["Malloc0", "Null0", "Slow0"]) / "cntrl"
            t.other = t.serve("second", ["Malloc1", "Null1"]) / "cntrl"
            t.fds_at_rest = t.fds()
        return self.target

    def stop(self):
        if self.target:
            result = self.target.stop()
            self.target = None
            result.ok()
            plx.check("runtime error" not in result.err and "Sanitizer" not in result.err, "a sanitizer's report", result)


target = Lazy()


def settled(t):
    """descriptors of the target once they are those at rest; whatever they are after a while"""
    deadline = time.monotonic() + 5 * plx.PATIENCE
    while True:
        fds = t.fds()
        if fds == t.fds_at_rest and not any(map(t.maps, FILES)) or time.monotonic() > deadline:
            return fds
        time.sleep(0.01)


def needs_messages():
    """skips the case where the target cannot reach memory by messages"""
    with host() as h:
        try:
            h.map(Region(0x100000, 4096, shared=False))
        except Refused as refused:
            if refused.errno != EOPNOTSUPP:
                raise
            plx.skip("the target takes no DMA region without a descriptor")


def careful(test):
    """after the case the target has to be as before, and serve the next, well-behaved client"""
    @functools.wraps(test)
    def wrapped():
        t = target()
        test()
        t.alive()
        with host("one") as h:
            verify(h, "the next client", make=1, commands=3)
        plx.equal(settled(t), t.fds_at_rest, "descriptors of the target afterwards")
        for name in FILES:
            plx.equal(t.maps(name), 0, f"mappings of {name} in the target afterwards")
    return wrapped


@contextlib.contextmanager
def host(kind=None, capabilities=None, path=None, **how):
    """a host with its version negotiated and, with a layout, brought up; without, BAR 0 mapped and PCI started"""
    with Host(path or target().socket) as h:
        h.version(CAPABILITIES if capabilities is None else capabilities)
        if kind:
            h.bring_up(layout(kind), shared=True if kind == "mixed" else None, **how)
        else:
            h.device_info()
            h.map_bar0()
            h.start_pci()
        yield h


def verify(h, what, commands=24, depth=4, queues=None, most=None, make=0, nsid=MALLOC):
    """random writes and reads at some depth over the I/O queues, compared with a copy of our own"""
    if make:
        h.make_queues(make)
    rng = random.Random(commands)
    block = h.namespaces[nsid][1]
    limit = min(most or h.max_bytes // block, 64 * 1024 // block, len(h.memory.free) * 8 // (2 * depth))
    places = h.namespaces[nsid][0] // limit
    model, busy = {}, set()
    sqs = [h.sqs[q] for q in queues or [q for q in h.sqs if q]]
    flying = []

    def land():
        sq, cid, used, pages, place, data, segments = flying.pop(0)
        status, _ = h.finish(sq, cid)
        if status:
            raise Failed(0, status)
        busy.discard(place)
        if data is not None:
            model[place] = data
        elif place in model:
            plx.check(h.gather(segments)[:len(model[place])] == model[place], f"{what}: wrong data at {place}")
        h.memory.give_back(pages + used)

    for number in range(commands):
        if len(flying) >= depth:
            land()
        place = rng.choice([p for p in rng.sample(range(places), min(depth + 8, places)) + list(model)[-6:]
                            if p not in busy])
        sq = sqs[number % len(sqs)]
        write = number % 2 == 0 or place not in model
        blocks = rng.randrange(1, limit + 1) if write else len(model[place]) // block
        segments, pages = h.scattered(blocks * block, rng.choice((0, 0, 4, 2048)))
        data = rng.randbytes(blocks * block) if write else None
        if write:
            h.scatter(segments, data)
        cid, used = h.start_io(sq, 1 if write else 2, nsid, place * limit, blocks, segments)
        busy.add(place)
        flying.append((sq, cid, used, pages, place, data, segments))
    while flying:
        land()
    for place, data in list(model.items())[-5:]:
        plx.check(h.read(sqs[0], nsid, place * limit, len(data) // block) == data, f"{what}: wrong data at {place}")
