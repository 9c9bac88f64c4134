#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-setup on trees of sysfs that are not the machine's: who has a device, who may get it, and back."""
import contextlib
import fcntl
import json
import os
import pathlib

import plx
from fake_sysfs import Tree

A, B = "0000:01:00.0", "0000:02:00.0"


@contextlib.contextmanager
def tree(**options):
    with plx.scratch() as folder, Tree(folder, **options) as t:
        yield t


def setup(t, *args, **options):
    return plx.run("plx-setup", "--root", t.root, *args, **options)


def state(t):
    path = t.root / "run/pollux/setup.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def programs(t, **scripts):
    """a PATH with these shell scripts first"""
    folder = t.root / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_status_shows_what_there_is():
    with tree() as t:
        t.nvme(A, group=7, serial="ABC")
        t.nvme(B, driver=None, group=7, number=1)
        t.put("proc/self/mountinfo", "40 35 259:1 / /data rw - ext4 /dev/x rw\n")
        r = setup(t).ok()
        r.says(rf"^{A}  nvme +Fake SSD  ABC +1.0 +64 MiB  0 +7 +yes$")
        r.says("^    nvme0n1p1 is mounted on /data$")
        r.says(rf"^    shares IOMMU group 7 with {B} \(no driver\)$")
        r.says("^hugepages of 2 MiB on node 0: 0, 0 of them free$")
        d = setup(t, "--json", "status", "01:00.0").ok().json()["devices"]
        plx.equal(len(d), 1, "devices")
        plx.equal({k: d[0][k] for k in ("address", "serial", "size_bytes", "driver", "iommu_group", "block_devices")},
                  {"address": A, "serial": "ABC", "size_bytes": 64 << 20, "driver": "nvme", "iommu_group": 7,
                   "block_devices": ["nvme0n1"]}, "the device")
        plx.equal(d[0]["in_use"], [{"how": "mounted", "device": "nvme0n1p1", "by": "/data"}], "in use")
        plx.equal(d[0]["iommu_group_others"], [{"address": B, "driver": None}], "others")


def test_status_of_a_machine_without_controllers():
    with tree() as t:
        setup(t, "status").ok().says("no NVMe controllers")
        plx.equal(setup(t, "--json").ok().json()["devices"], [], "devices")


def test_a_controller_goes_to_vfio_and_back():
    with tree() as t:
        t.nvme(A, group=7, serial="ABC")
        setup(t, "bind", A).ok().says(f"^{A}: nvme -> vfio-pci$")
        plx.equal((t.driver_of(A), t.override_of(A)), ("vfio-pci", "vfio-pci"), "driver")
        plx.equal(state(t)["devices"][A]["driver"], "nvme", "what is remembered")
        d = setup(t, "--json").ok().json()["devices"][0]
        plx.equal((d["driver"], d["serial"], d["size_bytes"]), ("vfio-pci", "ABC", 64 << 20), "known while bound")
        setup(t, "bind", A).ok().says("already has vfio-pci")
        setup(t, "restore").ok().says(f"^{A}: vfio-pci -> nvme$")
        plx.equal((t.driver_of(A), t.override_of(A), state(t)), ("nvme", "", None), "afterwards")
        setup(t, "restore").ok().says("nothing to restore")


def test_bind_to_the_kernel_undoes_the_other():
    with tree() as t:
        t.nvme(A, group=7)
        setup(t, "bind", A).ok()
        setup(t, "bind", "nvme", A).ok().says(f"^{A}: vfio-pci -> nvme$")
        plx.equal((t.driver_of(A), t.override_of(A), state(t)), ("nvme", "", None), "afterwards")


def test_unbind_leaves_no_driver_until_restore():
    with tree() as t:
        t.nvme(A)
        setup(t, "unbind", A).ok().says(f"^{A}: nvme -> no driver$")
        plx.equal(t.driver_of(A), None, "driver")
        setup(t, "restore", A).ok()
        plx.equal(t.driver_of(A), "nvme", "driver")


def test_without_an_iommu_uio_is_taken_with_a_warning():
    with tree() as t:
        t.nvme(A)
        r = setup(t, "bind", A).ok()
        plx.check("no IOMMU group" in r.err and "all of memory" in r.err, "no warning", r)
        plx.equal(t.driver_of(A), "uio_pci_generic", "driver")
        setup(t, "bind", "vfio-pci", A).fails(1, says="vfio-pci needs: enable the IOMMU")
        setup(t, "bind", "--user", "root", A).fails(1, says="--user works with vfio-pci only")


def test_used_devices_are_refused_naming_by_what():
    uses = (
        ("proc/self/mountinfo", "40 35 259:0 / /data rw - ext4 /dev/x rw\n", "nvme0n1 is mounted on /data: unmount it"),
        ("proc/swaps", "x\n/dev/nvme0n1p1 partition 1 0 -2\n", "nvme0n1p1 is swapped on: swapoff"),
        ("sys/block/nvme0n1/holders/md7/x", "", "is held by md7"),
        ("sys/fs/btrfs/abc/devices/nvme0n1p1/x", "", "is in the btrfs file system abc"),
    )
    for path, text, says in uses:
        with tree() as t:
            t.nvme(A, group=7)
            t.put(path, text)
            for command in (("bind", A), ("unbind", A), ("reset", A), ("bind", "--force", A)):
                setup(t, *command).fails(1, says=f"{A}: .*{says}")
            plx.equal((t.driver_of(A), t.override_of(A), state(t)), ("nvme", "", None), "nothing is changed")
            plx.equal(setup(t, "bind", "--all-free").ok().out, "", "--all-free")


def test_an_opened_device_is_refused_naming_the_process():
    with tree() as t:
        t.nvme(A, group=7)
        setup(t, "bind", A).ok()
        t.put("proc/7/comm", "plx-perf\n")
        t.link("proc/7/fd/4", "/dev/vfio/7")
        for command in ("bind nvme", "unbind", "reset", "restore"):
            setup(t, *command.split(), A).fails(1, says="vfio/7 is opened by plx-perf, process 7: close it first")
        plx.equal(t.driver_of(A), "vfio-pci", "driver")


def test_the_signature_of_an_inactive_set_needs_force():
    with tree() as t:
        t.nvme(A, group=7)
        image = bytearray(2 << 20)  # libblkid looks for no sets on less
        image[512:520], image[536:544] = b"LABELONE", b"LVM2 001"  # an LVM label in sector 1
        image[520:528], image[532:536] = (1).to_bytes(8, "little"), (32).to_bytes(4, "little")
        crc = 0xf597a6cf  # LVM's initial value of its checksum, over bytes 20 to 511 of the sector
        for byte in image[532:1024]:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0xedb88320 if crc & 1 else 0)
        image[528:532] = crc.to_bytes(4, "little")
        (t.root / "dev/nvme0n1").write_bytes(image)
        setup(t).ok().says("nvme0n1 carries the signature of a set, LVM2_member")
        setup(t, "bind", A).fails(1, says="LVM2_member, which is not active: --force")
        setup(t, "bind", "--force", A).ok()


def test_a_group_is_handed_over_as_a_whole():
    with tree() as t:
        t.nvme(A, group=7)
        t.nvme(B, group=7, number=1)
        setup(t, "bind", A).fails(1, says=rf"IOMMU group 7 with {B} \(nvme\): .*as a whole")
        plx.equal((t.driver_of(A), state(t)), ("nvme", None), "nothing is changed")
        setup(t, "bind", A, B).ok()
        plx.equal((t.driver_of(A), t.driver_of(B)), ("vfio-pci", "vfio-pci"), "drivers")
        setup(t, "restore").ok()
        t.put("proc/swaps", "x\n/dev/nvme1n1 partition 1 0 -2\n")
        plx.equal(setup(t, "bind", "--all-free").ok().out, "", "--all-free where the other is in use")


def test_all_free_takes_what_nothing_uses():
    with tree() as t:
        t.nvme(A, group=7)
        t.nvme(B, group=8, number=1)
        t.put("proc/swaps", "x\n/dev/nvme0n1 partition 1 0 -2\n")
        setup(t, "bind", "--all-free").ok().says(f"^{B}: nvme -> vfio-pci$")
        plx.equal((t.driver_of(A), t.driver_of(B)), ("nvme", "vfio-pci"), "drivers")


def test_a_driver_that_refuses_leaves_the_old_one():
    with tree() as t:
        t.nvme(A, group=7)
        t.nvme(B, group=7, number=1)
        os.unlink(t.root / "sys/bus/pci/drivers/vfio-pci/bind")
        r = setup(t, "bind", A, B).fails(1, says="the driver does not take it")
        plx.equal((t.driver_of(A), t.override_of(A)), ("nvme", ""), "the first")
        plx.equal((t.driver_of(B), state(t)), ("nvme", None), "the second, and what is left to restore", r)


def test_a_missing_driver_is_loaded_or_explained():
    with tree(drivers=("nvme",)) as t:
        t.nvme(A, group=7)
        path = programs(t, modprobe="echo FATAL: no such module; exit 1")
        setup(t, "bind", A, env=path).fails(1, says="'vfio-pci' is not in the kernel.*FATAL: no such module")
        plx.equal(t.driver_of(A), "nvme", "driver")
        loaded = t.root / "loaded"
        os.mkfifo(loaded)
        fd = os.open(loaded, os.O_RDWR)
        path = programs(t, modprobe=f'echo "$@" >{t.root}/asked; echo x >{loaded}; while ! [ -e {t.root}/there ]; do sleep 0.05; done')
        with plx.start("plx-setup", "--root", t.root, "bind", A, env=path) as r:
            os.read(fd, 1)
            t.driver("vfio-pci")
            t.put("there", "")
            r.wait().ok()
        os.close(fd)
        plx.equal((t.root / "asked").read_text(encoding="utf-8"), f"-d {t.root} vfio-pci\n", "modprobe's arguments")


def test_dry_run_changes_nothing():
    with tree() as t:
        t.nvme(A, group=7)
        setup(t, "--dry-run", "bind", A).ok().says(f"^{A}: would be changed: nvme -> vfio-pci$")
        setup(t, "-n", "hugepages", "4").ok().says("would be changed: 0 -> 4")
        plx.equal((t.driver_of(A), t.override_of(A)), ("nvme", ""), "driver")
        plx.check(not (t.root / "run/pollux").exists(), "there is a state")


def test_changes_are_told_as_json():
    with tree() as t:
        t.nvme(A, group=7)
        plx.equal(setup(t, "--json", "bind", A).ok().json(),
                  [{"device": A, "from": "nvme", "to": "vfio-pci", "done": True}], "report")


def test_hugepages_are_reserved_and_restored():
    with tree() as t:
        t.pages(3, 0)
        setup(t, "hugepages", "64", "8@0").ok().says("^hugepages of 2 MiB on node 0: 3 -> 8$")
        node = t.root / "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
        plx.equal(node.read_text(encoding="ascii").strip(), "8", "pages of the node")
        setup(t, "restore").ok().says("^hugepages of 2 MiB: 64 -> 3$")
        plx.equal((node.read_text(encoding="ascii").strip(), state(t)), ("3", None), "afterwards")
        setup(t, "hugepages", "8@7").fails(2, says="no hugepages of 2 MiB on node 7")
        setup(t, "hugepages", "many").fails(2, says="'many' is not a whole number")
        setup(t, "--size", "1G", "hugepages", "1").fails(2, says="no hugepages of 1 GiB")


def test_a_user_gets_the_group():
    if os.getuid():
        plx.skip("giving files away needs root")
    with tree() as t:
        t.nvme(A, group=7)
        r = setup(t, "bind", "--user", "daemon", A).ok()
        r.says("/dev/vfio/7: root -> daemon$")
        r.says("memlock")
        plx.check((t.root / "dev/vfio/7").stat().st_uid != 0, "the file is root's", r)
        setup(t, "bind", "--user", "nobody-of-that-name", A).fails(2, says="no user 'nobody-of-that-name'")


def test_persist_asks_driverctl():
    with tree() as t:
        t.nvme(A, group=7)
        log = t.root / "log"
        setup(t, "bind", "--persist", A, env={"PATH": "/nowhere"}).fails(1, says="no driverctl.*apt install")
        path = programs(t, driverctl=f'echo "$@" >>{log}')
        setup(t, "bind", "--persist", A, env=path).ok()
        setup(t, "restore", env=path).ok()
        plx.equal(log.read_text(encoding="utf-8"), f"set-override {A} vfio-pci\nunset-override {A}\n", "driverctl")
        plx.equal((t.driver_of(A), state(t)), ("nvme", None), "afterwards")


def test_two_at_once_are_refused():
    with tree() as t:
        t.nvme(A, group=7)
        folder = pathlib.Path(t.root, "run/pollux")
        folder.mkdir()
        with open(folder / "setup.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            setup(t, "bind", A).fails(1, says="another plx-setup is at work")
            setup(t, "status").ok()


def test_a_state_that_makes_no_sense_is_told():
    with tree() as t:
        t.nvme(A, group=7)
        for text in ("{", "[]", '{"devices": 1}', '{"hugepages": {}}'):
            t.put("run/pollux/setup.json", text)
            setup(t, "restore").fails(1, says="setup.json cannot be read")
        t.put("run/pollux/setup.json", json.dumps({"devices": {A: {"driver": "../../x"}, "x": 1}, "owners": [
            {"path": "/etc/passwd", "uid": 1}, 7], "hugepages": []}))
        setup(t, "restore").ok()
        plx.equal((t.driver_of(A), state(t)), ("nvme", None), "afterwards")


def test_another_device_in_the_same_place_is_left_alone():
    with tree() as t:
        t.nvme(A, group=7)
        setup(t, "bind", A).ok()
        t.put(f"sys/bus/pci/devices/{A}/device", "0x5845\n")
        setup(t, "restore").ok().says("another device by now")
        plx.equal(t.driver_of(A), "vfio-pci", "driver")


def test_virtual_functions_keep_their_parent():
    with tree() as t:
        t.nvme(A, group=7)
        t.put(f"sys/bus/pci/devices/{A}/sriov_numvfs", "2\n")
        setup(t, "bind", A).fails(1, says="has 2 virtual functions: remove them first")


def test_reset_and_other_classes():
    with tree() as t:
        t.nvme(A)
        setup(t, "reset", A).ok().says(f"^{A}: reset$")
        plx.equal((t.root / f"sys/bus/pci/devices/{A}/reset").read_text(encoding="ascii"), "1\n", "reset")
        (t.root / f"sys/bus/pci/devices/{A}/reset").unlink()
        setup(t, "reset", A).fails(1, says="knows no way to reset")
        t.put(f"sys/bus/pci/devices/{A}/class", "0x020000\n")
        setup(t, "reset", A).fails(1, says="is not an NVMe controller")
        setup(t, "reset", B).fails(1, says="no such device")


def test_wrong_command_lines_are_refused():
    for args, says in (
            (("fly",), "'fly' is no command"), (("bind",), "'bind' needs addresses"),
            (("bind", "4"), "'4' is no PCI address"), (("--colour",), "'--colour' is no option"),
            (("bind", "--user"), "--user needs a value"), (("--json=1",), "takes no value"),
            (("status", "--force"), "--force means nothing to 'status'"),
            (("reset", "--persist", A), "--persist means nothing to 'reset'"),
            (("bind", "--all-free", A), "leave one of them out"),
            (("bind", "nvme", "vfio-pci", A), "name one driver"),
            (("bind", "--all-free", "nvme"), "is for userspace drivers"),
            (("bind", "uio_pci_generic", "--user", "x", A), "uio_pci_generic needs root"),
            (("--size", "3M", "hugepages", "1"), "no size of hugepages"), (("a\nb",), r"'a\?b' is no command")):
        plx.run("plx-setup", *args).fails(2, says=says)
    plx.run("plx-setup", "--help").ok().says("examples:")
    plx.run("plx-setup", "--version").ok().says("^plx-setup [0-9]")


plx.main()
