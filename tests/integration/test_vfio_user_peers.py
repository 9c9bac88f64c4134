#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The two foreign peers of the vfio-user tests, on each other: both keep to the specification, so nothing may fail."""
import random
import signal

import plx
import vfio_user_wire as wire
from vfio_user_host import LAYOUTS, Host, layout

HABITS = ("", "--stride 5 --queues 40", "--sparse pages --stride 4 --queues 60", "--sparse first --stride 5 --queues 60",
          "--sparse whole", "--sparse none", "--sparse behind", "--sparse empty", "--dma messages",
          "--dma mixed --chunk 1000", "--dma messages --dma-no-reply", "--interleave post", "--interleave wait",
          "--dribble", "--bar-offset 65536", "--extra-bars", "--caps none", "--caps no-data", "--caps unknown",
          "--caps spaces", "--mqes 7", "--reorder", "--vs 1.0", "--csi", "--sgl", "--max-msg-fds 1", "--minor 0")


def meet(habit, kind, capabilities, message_doorbells=False, **how):
    with plx.scratch() as traddr, plx.start("/usr/bin/python3", plx.SOURCE / "tests/integration/vfio_user_device.py",
                                            traddr, *habit.split()) as device:
        device.wait_for("^ready$")
        with Host(f"{traddr}/cntrl") as h:
            vars(h).update(how, message_doorbells=message_doorbells)
            h.version(capabilities)
            h.bring_up(layout(kind))
            h.arm(wire.MSIX, 0, 3)
            h.make_queues(2, 8, 5, vectors=True)
            rng = random.Random(3)
            for turn in range(12):
                blocks = rng.randrange(1, 65)
                lba, data, offset = rng.randrange(8000), rng.randbytes(512 * blocks), rng.choice((0, 4, 512, 4092))
                h.write(h.sqs[1 + turn % 2], 1, lba, data, offset=offset, list_at=rng.choice((0, 4080, 8)))
                h.interrupted(1 + turn % 2)
                got = h.read(h.sqs[2 - turn % 2], 1, lba, blocks, offset=offset, sgl=bool(h.sgls))
                plx.check(got == data, f"{habit}, {kind}: other data came back")
            h.delete_sq(h.sqs[1])
            h.delete_cq(h.cqs[1])
            h.shutdown()
        device.signal(signal.SIGTERM)
        result = device.wait()
        plx.check("VIOLATION" not in result.out and not result.err, f"{habit}, {kind}", result)


def test_every_layout_of_memory_works():
    for kind in LAYOUTS:
        meet("", kind, {"max_msg_fds": 8})


@plx.long
def test_every_habit_of_the_device_works():
    for habit in HABITS:
        meet(habit, "mixed", {"max_msg_fds": 8, "max_data_xfer_size": 65536})


@plx.long
def test_every_habit_of_the_host_works():
    meet("--twin", "no descriptors", {"twin_socket": {"supported": True}})
    meet("", "no descriptors", None)
    meet("", "no descriptors", {"max_data_xfer_size": 512}, wide_dma_reply=False, same_ids=True)
    meet("", "one", {}, message_doorbells=True)
    meet("", "one", {}, message_doorbells="no reply")


plx.main()
