#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces of NVMe controllers as bdevs: one plx-tgt attaches to another's, and serves them on."""
import contextlib
import json
import os
import pathlib
import signal
import time

import plx
import tgt

NQN = "nqn.2016-06.io.spdk:test"
SMALL = ("-s", 96)
VERIFY = ("-q", 16, "-w", "randrw", "-M", 50, "-o", "4k:70,64k:30", "--verify", "-s", 64)


def wait_until(what, condition, timeout=20):
    deadline = time.monotonic() + timeout * plx.PATIENCE
    while not condition():
        plx.check(time.monotonic() < deadline, f"it did not come within {timeout} s: {what}")
        time.sleep(0.02)


def serve(target, *bdevs, name="vfu"):
    """these bdevs behind a vfio-user socket of the target; its directory"""
    target.call("nvmf_create_transport", trtype="VFIOUSER")
    target.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
    for bdev in bdevs:
        target.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": bdev})
    traddr = target.listen_dir(name)
    target.call("nvmf_subsystem_add_listener", nqn=NQN,
                listen_address={"trtype": "VFIOUSER", "traddr": traddr, "trsvcid": "0"})
    return traddr


@contextlib.contextmanager
def far(directory=None):
    """a target that serves a malloc bdev; with traddr"""
    with tgt.start("-m", "0x1", *SMALL, directory=directory) as target:
        target.call("bdev_malloc_create", name="Malloc0", num_blocks=65536, block_size=512)
        target.traddr = serve(target, "Malloc0")
        yield target


def attach(target, traddr, name="Nvme0", **more):
    return target.call("bdev_nvme_attach_controller", name=name, trtype="VFIOUSER", traddr=traddr, **more)


def near(*args, **options):
    return tgt.start("-m", "0x2" if len(os.sched_getaffinity(0)) > 1 else "0x1", *SMALL, *args, **options)


def perf(traddr, *args, run=plx.run, **more):
    return run("plx-perf", "-r", f"trtype:VFIOUSER traddr:{traddr}", *args, **more)


def refuses(code, says, call, *args, **params):
    try:
        call(*args, **params)
    except tgt.Error as error:
        plx.equal(error.code, code, f"code of: {error}")
        plx.check(says in error.message, f"{says!r} is not in: {error}")
        return
    raise AssertionError(f"it was not refused: {says}")


def names(target):
    return [b["name"] for b in target.call("bdev_get_bdevs")]


def files(target):
    """how many it has open"""
    return len(os.listdir(f"/proc/{target.running.process.pid}/fd"))


def gone(target):
    return not target.call("bdev_nvme_get_controllers") and not names(target)


def test_what_is_written_through_both_is_read_through_both():
    with far() as one, near() as two:
        plx.equal(attach(two, one.traddr), ["Nvme0n1"], "bdevs of the controller")
        bdev, = two.call("bdev_get_bdevs", name="Nvme0n1")
        plx.equal((bdev["num_blocks"], bdev["block_size"]), (65536, 512), "its size")
        plx.equal(bdev["driver_specific"]["nvme"][0]["trid"], {"trtype": "VFIOUSER", "traddr": one.traddr}, "its path")
        perf(serve(two, "Nvme0n1"), *VERIFY, "-t", "1s").ok()
        stat, = two.call("bdev_get_iostat", name="Nvme0n1")["bdevs"]
        plx.check(stat["num_read_ops"] and stat["num_write_ops"], f"no I/O went through it: {stat}")
        plx.equal(stat["io_error"], {}, "errors")
        # no copy in between: the far target has the memory of the client mapped
        plx.check(stat["bytes_read"] > 0 and two.end().code == 0, "the near target did not end well")
        plx.equal(one.end().code, 0, "exit code of the far target")


def test_the_saved_configuration_makes_it_again():
    with far() as one, plx.scratch() as folder:
        with near() as two:
            two.call("bdev_nvme_set_options", action_on_timeout="reset", timeout_us=5000000, bdev_retry_count=-1)
            attach(two, one.traddr, prchk_guard=True)
            saved = tgt.save(two.client)
            # devices on it come after it
            two.call("bdev_error_create", base_name="Nvme0n1")
            more = tgt.save(two.client)
        for config, bdevs in ((saved, ["Nvme0n1"]), (more, ["Nvme0n1", "EE_Nvme0n1"])):
            path = pathlib.Path(folder, "config.json")
            path.write_text(json.dumps(config), encoding="utf-8")
            with near("-c", str(path)) as two:
                plx.equal(names(two), bdevs, "bdevs")
                plx.equal(tgt.save(two.client), config, "what is saved of what was loaded")


def test_a_killed_device_is_removed_and_can_come_again():
    with plx.scratch() as folder, near() as two:
        with far(folder) as one:
            attach(two, one.traddr)
            exported = serve(two, "Nvme0n1")
            with perf(exported, *VERIFY, "-t", "60s", run=plx.start) as load:
                load.wait_busy(0.5)
                one.running.process.send_signal(signal.SIGKILL)
                result = load.wait(60)
                plx.check(not result.timed_out and result.code > 0, "perf should have failed", result)
            wait_until("the bdev is removed", lambda: gone(two))
            plx.equal(two.call("nvmf_get_subsystems", nqn=NQN)[0]["namespaces"], [], "namespaces of what was served on")
            before = files(two)
        with far(folder) as one:
            plx.equal(attach(two, one.traddr), ["Nvme0n1"], "bdevs of the controller")
            two.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "Nvme0n1"})
            perf(exported, *VERIFY, "-t", "200ms").ok()
            two.call("bdev_nvme_detach_controller", name="Nvme0")
            plx.check(gone(two), "a detached controller is still there")
        wait_until("files are closed", lambda: files(two) == before)
        plx.equal(two.end().code, 0, "exit code")


def test_namespaces_come_grow_and_go():
    with far() as one, near() as two:
        attach(two, one.traddr)
        one.call("bdev_null_create", name="Null0", num_blocks=4096, block_size=4096)
        one.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "Null0", "nsid": 7})
        bdev, = two.call("bdev_get_bdevs", name="Nvme0n7", timeout=20000)
        plx.equal((bdev["num_blocks"], bdev["block_size"]), (4096, 4096), "its size")
        one.call("bdev_null_resize", name="Null0", new_size=64)
        wait_until("it is larger", lambda: two.call("bdev_get_bdevs", name="Nvme0n7")[0]["num_blocks"] == 16384)
        one.call("nvmf_subsystem_remove_ns", nqn=NQN, nsid=7)
        wait_until("it is gone", lambda: names(two) == ["Nvme0n1"])


def done(target, bdev):
    """I/O that the bdev has done, none of which may have failed"""
    stat, = target.call("bdev_get_iostat", name=bdev)["bdevs"]
    plx.equal(stat["io_error"], {}, "errors")
    return stat["num_read_ops"] + stat["num_write_ops"]


def goes_on(target, bdev):
    before = done(target, bdev)
    wait_until("I/O goes on", lambda: done(target, bdev) > before + 100)


def test_a_reset_under_load_is_not_noticed():
    with far() as one, near() as two:
        attach(two, one.traddr)
        with perf(serve(two, "Nvme0n1"), *VERIFY, "-t", "60s", run=plx.start) as load:
            for _ in range(4):
                goes_on(two, "Nvme0n1")
                two.call("bdev_nvme_reset_controller", name="Nvme0")
            load.signal(signal.SIGINT)
            load.wait(60).ok()


def test_what_hangs_is_submitted_again_after_a_timeout():
    with far() as one, near() as two:
        one.call("bdev_error_create", base_name="Malloc0", name="Hangs")
        one.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "Hangs", "nsid": 2})
        two.call("bdev_nvme_set_options", action_on_timeout="reset", timeout_us=400000)
        attach(two, one.traddr)
        with perf(serve(two, "Nvme0n2"), *VERIFY, "-t", "60s", run=plx.start) as load:
            goes_on(two, "Nvme0n2")
            one.call("bdev_error_inject_error", name="Hangs", io_type="all", error_type="pending", num=1)
            # all that was in flight with it, too, or none would be done any more
            two.running.wait_for("outlived its timeout of 400 ms")
            goes_on(two, "Nvme0n2")
            load.signal(signal.SIGINT)
            load.wait(60).ok()


def test_detaching_takes_back_what_is_served_on():
    with far() as one, near() as two:
        attach(two, one.traddr)
        exported = serve(two, "Nvme0n1")
        with perf(exported, *VERIFY, "-t", "60s", run=plx.start) as load:
            load.wait_busy(0.5)
            two.call("bdev_nvme_detach_controller", name="Nvme0")
            plx.check(gone(two), "it is still there")
            result = load.wait(60)
            plx.check(not result.timed_out and result.code > 0, "perf should have failed", result)
        # and the other one is free for the next
        attach(two, one.traddr, name="Again")
        plx.equal(names(two), ["Againn1"], "bdevs")


def test_a_target_ends_with_controllers_attached_and_in_use():
    with far() as one, near() as two:
        attach(two, one.traddr)
        with perf(serve(two, "Nvme0n1"), *VERIFY, "-t", "60s", run=plx.start) as load:
            load.wait_busy(0.5)
            plx.equal(two.end().code, 0, "exit code")
        # the device was shut down, not just left: it takes the next one
        perf(one.traddr, "-q", 1, "-w", "randread", "-t", "100ms", "-s", 64).ok()


def test_what_cannot_be_is_said():
    with far() as one, near() as two:
        refuses(-32602, "trsvcid", attach, two, one.traddr, trsvcid="a b")
        refuses(-32602, "hdgst", attach, two, one.traddr, hdgst=True)
        refuses(-2, "/nowhere", attach, two, "/nowhere")
        for trtype, code in (("TCP", -93), ("carrier pigeon", -32602), ("pigeon", -32602)):
            refuses(code, trtype.split()[0] if code != -93 else "TCP", two.call, "bdev_nvme_attach_controller",
                    name="x", trtype=trtype, traddr="127.0.0.1")
        for method in ("detach", "reset"):
            refuses(-19, "no controller 'x'", two.call, f"bdev_nvme_{method}_controller", name="x")
        attach(two, one.traddr)
        refuses(-17, "Nvme0", attach, two, one.traddr)
        refuses(-1, "attached afterwards", two.call, "bdev_nvme_set_options", timeout_us=1)
        plx.equal(names(two), ["Nvme0n1"], "bdevs")


plx.main()
