#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-setup against a kernel: what it shows, binds, refuses and restores, on QEMU's NVMe controllers.

Behind the IOMMU are A, alone in its group, and B and C, two functions of one slot without ACS, which share one.
"""
import json
import os
import pathlib
import shutil
import subprocess

import vm
import plx


def find(serial):
    """address of the controller, from the kernel's own view"""
    for ctrlr in pathlib.Path("/sys/class/nvme").iterdir():
        if vm.sysfs(ctrlr / "serial") == serial:
            return os.path.basename(os.path.realpath(ctrlr / "device"))
    return None


def disk(serial):
    """/dev/nvmeXn1 of it, once it is there"""
    def look():
        for block in pathlib.Path("/sys/block").glob("nvme*"):
            if vm.sysfs(block / "device/serial") == serial and pathlib.Path("/dev", block.name).exists():
                return f"/dev/{block.name}"
        return None
    return vm.wait_until(look, f"the disk of {serial}")


def driver(address):
    link = f"/sys/bus/pci/devices/{address}/driver"
    return os.path.basename(os.readlink(link)) if os.path.islink(link) else None


def setup(*args):
    return plx.run("plx-setup", *args)


def sh(*args):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    plx.check(done.returncode == 0, f"{args}: {done.stdout}")
    return done.stdout


def have(program, *modules):
    path = next((p for p in (f"/sbin/{program}", f"/usr/bin/{program}", f"/bin/{program}") if os.path.exists(p)), None)
    if not path:
        plx.skip(f"no {program}: ci/bootstrap --vm installs it")
    for module in modules:
        sh("/sbin/modprobe", module)
    return path


def refused(serial, says):
    """none of the commands takes the controller"""
    address = find(serial)
    for command in ("bind", "unbind"):
        setup(command, address).fails(1, says=says)
    plx.equal(driver(address), "nvme", "driver")


def test_status_agrees_with_the_kernel():
    wanted = {s: (find(s), disk(s)) for s in ("A", "B", "C")}
    devices = {d["serial"]: d for d in setup("--json").ok().json()["devices"]}
    for serial, (address, block) in wanted.items():
        ctrlr = f"/sys/bus/pci/devices/{address}"
        d, name = devices[serial], os.path.basename(block)
        plx.equal((d["address"], d["driver"], d["block_devices"]), (address, "nvme", [name]), "device")
        plx.equal(d["model"], vm.sysfs(f"{ctrlr}/nvme/{d['controller']}/model"), "model")
        plx.equal(d["firmware"], vm.sysfs(f"{ctrlr}/nvme/{d['controller']}/firmware_rev"), "firmware")
        plx.equal(d["size_bytes"], int(vm.sysfs(f"/sys/block/{name}/size")) * 512, "size")
        plx.equal(d["iommu_group"], int(os.path.basename(os.readlink(f"{ctrlr}/iommu_group"))), "group")
        plx.equal(d["in_use"], [], "in use")
    plx.equal(devices["B"]["iommu_group"], devices["C"]["iommu_group"], "groups of B and C")
    plx.check(find("C") in [m["address"] for m in devices["B"]["iommu_group_others"]], "B shares its group with C")
    setup("status").ok().says(rf"^{find('A')}  nvme ")


def test_a_controller_goes_to_vfio_and_back():
    address, group = find("A"), os.path.basename(os.readlink(f"/sys/bus/pci/devices/{find('A')}/iommu_group"))
    setup("bind", "--user", "daemon", address).ok().says(f"^{address}: nvme -> vfio-pci$")
    plx.equal(driver(address), "vfio-pci", "driver")
    plx.check(os.stat(f"/dev/vfio/{group}").st_uid != 0, "the group is root's")
    d = [d for d in setup("--json").ok().json()["devices"] if d["address"] == address][0]
    plx.equal((d["serial"], d["driver"]), ("A", "vfio-pci"), "status")
    with open(f"/dev/vfio/{group}", "rb+", buffering=0), \
            open("/dev/vfio/vfio", "rb+", buffering=0):
        # our own process: the program that looks is another
        setup("restore").fails(1, says=f"vfio/{group} is opened by python3, process {os.getpid()}")
        plx.equal(driver(address), "vfio-pci", "driver")
    setup("reset", address).ok()
    setup("restore").ok().says(f"^{address}: vfio-pci -> nvme$")
    plx.equal(driver(address), "nvme", "driver")
    disk("A")
    plx.check(not os.path.exists("/run/pollux/setup.json"), "there is a state left")


def test_uio_is_there_for_those_who_ask():
    address = find("A")
    disk("A")
    setup("bind", "uio_pci_generic", address).ok()
    plx.equal(driver(address), "uio_pci_generic", "driver")
    setup("bind", "nvme", address).ok()
    disk("A")


def test_a_group_of_two_is_handed_over_as_a_whole():
    b, c = find("B"), find("C")
    disk("B")
    disk("C")
    setup("bind", b).fails(1, says=rf"{c} \(nvme\).*as a whole")
    plx.equal((driver(b), driver(c)), ("nvme", "nvme"), "drivers")
    setup("bind", b, c).ok()
    plx.equal((driver(b), driver(c)), ("vfio-pci", "vfio-pci"), "drivers")
    setup("restore").ok()
    plx.equal((driver(b), driver(c)), ("nvme", "nvme"), "drivers")
    disk("B")
    disk("C")


def test_mounted_is_refused():
    have("mkfs.ext4", "ext4")
    sh("mkfs.ext4", "-q", disk("A"))
    os.makedirs("/tmp/m", exist_ok=True)
    sh("mount", disk("A"), "/tmp/m")
    refused("A", "is mounted on /tmp/m: unmount it first")
    sh("umount", "/tmp/m")
    # in a namespace of its own, which this process does not see
    other = subprocess.Popen(["unshare", "-m", "sh", "-c", f"mount {disk('A')} /tmp/m && echo ready && exec sleep 1000"],
                             stdout=subprocess.PIPE, text=True)
    plx.equal(other.stdout.readline(), "ready\n", "the other namespace")
    refused("A", r"is mounted on /tmp/m \(seen by ")
    other.kill()
    other.wait()


def test_swap_is_refused():
    sh("mkswap", disk("A"))
    sh("swapon", disk("A"))
    refused("A", "is swapped on: swapoff it first")
    sh("swapoff", disk("A"))


def test_md_is_refused():
    mdadm = have("mdadm", "raid1")
    sh(mdadm, "--create", "/dev/md0", "--run", "--force", "--level=1", "--raid-devices=1", disk("A"))
    refused("A", r"is in the MD set md\w+ \(raid1\)")
    sh(mdadm, "--stop", "/dev/md0")
    setup("bind", find("A")).fails(1, says="linux_raid_member, which is not active: --force")
    sh(mdadm, "--zero-superblock", disk("A"))


def test_lvm_is_refused():
    have("lvm", "dm-mod")
    config = "devices { scan=[\"/dev\"] external_device_info_source=\"none\" obtain_device_list_from_udev=0 } " \
             "activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 }"
    for command in (["pvcreate", "-ff", "-y", disk("A")], ["vgcreate", "vg", disk("A")],
                    ["lvcreate", "-y", "-Zn", "-Wn", "-L", "8M", "-n", "data", "vg"]):
        sh("/sbin/lvm", *command, "--config", config)
    refused("A", r"is in the LVM volume vg-data \(dm-")
    sh("/sbin/lvm", "vgchange", "-an", "vg", "--config", config)
    setup("bind", find("A")).fails(1, says="LVM2_member, which is not active: --force")
    sh("/sbin/lvm", "vgremove", "-ff", "-y", "vg", "--config", config)
    sh("/sbin/lvm", "pvremove", "-ff", "-y", disk("A"), "--config", config)


def test_dm_crypt_is_refused():
    cryptsetup = have("cryptsetup", "dm-crypt")
    pathlib.Path("/tmp/key").write_bytes(b"k" * 32)
    environment = {**os.environ, "DM_DISABLE_UDEV": "1"}
    subprocess.run([cryptsetup, "open", "--type", "plain", "-c", "aes-xts-plain64", "-s", "256", "-d", "/tmp/key", disk("A"),
                    "secret"], env=environment, check=True)
    refused("A", r"is under the dm-crypt device secret \(dm-")
    subprocess.run([cryptsetup, "close", "secret"], env=environment, check=True)


def test_btrfs_of_two_disks_is_refused():
    have("mkfs.btrfs", "btrfs")
    sh("mkfs.btrfs", "-q", "-f", "-L", "pool", "-d", "raid0", "-m", "raid1", disk("B"), disk("C"))
    sh("btrfs", "device", "scan", disk("B"), disk("C"))
    sh("mount", disk("B"), "/tmp/m")
    # the one that is not named by the mount as well
    refused("B", "is (mounted on /tmp/m|in the btrfs file system pool)")
    refused("C", "is in the btrfs file system pool")
    sh("umount", "/tmp/m")


def test_open_is_refused():
    with open(disk("A"), "rb"):
        refused("A", f"is opened by python3, process {os.getpid()}: close it first")
    setup("bind", find("A")).ok()
    setup("restore").ok()
    disk("A")


def test_hugepages_are_reserved_and_restored():
    count = "/proc/sys/vm/nr_hugepages"
    plx.equal(vm.sysfs(count), "4", "at start")
    setup("hugepages", "16@0").ok().says("4 -> 16")
    plx.equal(vm.sysfs(count), "16", "reserved")
    setup("hugepages", "1000000").fails(1, says="instead of 1000000: memory is short")
    setup("restore").ok()
    plx.equal(vm.sysfs(count), "4", "restored")


def test_status_needs_no_privilege():
    # the folder of the build may be closed to others
    program = shutil.copy(plx.program("plx-setup"), "/tmp/plx-setup-copy")
    code = f"import os; os.setgid(65534); os.setuid(65534); os.execv('{program}', ['plx-setup', '--json'])"
    devices = json.loads(sh("/usr/bin/python3", "-c", code))["devices"]
    plx.equal(sorted(d["serial"] for d in devices), ["A", "B", "C"], "serials")


SHARED = "-device pcie-root-port,id=shared,chassis=40,slot=40,bus=pcie.0"
# an overlay in a temporary file holds what is written
FUNCTION = "-drive if=none,id=drive{0},driver=null-co,size=256M,read-zeroes=on,snapshot=on " \
           "-device nvme,serial={0},drive=drive{0},bus=shared,addr=0.{1},multifunction=on"
vm.main_in_guest(
    "--iommu", "48", "--memory", "1536", "--hugepages", "4", "--module", "nvme", "--nvme", "serial=A", "--ns", "size=256M",
    "--qemu", SHARED, "--qemu", FUNCTION.format("B", 0), "--qemu", FUNCTION.format("C", 1))
