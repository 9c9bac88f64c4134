#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The guest lab itself, with devices and drivers that are not ours: ci/vm/boot does what its --help says."""
import json
import os
import pathlib
import re
import shutil
import signal

import vm
import plx


def boot(*options, script):
    with vm.guest(*options, script=script) as guest:
        return guest.wait()


def test_output_and_exit_status_come_back():
    r = boot("--env", "WORD=it's here", script='echo "$WORD, in $PWD, of $(id -u)"; exit 7')
    r.fails(7)
    r.says(rf"^it's here, in {os.getcwd()}, of 0$")


def test_emulated_disks_are_found():
    with plx.scratch() as folder:
        image = pathlib.Path(folder, "image")
        image.write_bytes(b"from the host".ljust(1 << 20, b"\0"))
        r = boot("--module", "nvme", "--nvme", "serial=LAB,mdts=5", "--ns", f"file={image}",
                 "--ns", "size=64M,logical_block_size=4096,physical_block_size=4096", script=vm.FIND_NVME + """
a=$(find_nvme LAB 1) b=$(find_nvme LAB 2)
cat /sys/block/$a/size /sys/block/$b/queue/logical_block_size
head -c 13 /dev/$a; echo
printf 'from the guest' | dd of=/dev/$a conv=fsync,notrunc 2>/dev/null
""").ok()
        r.says("^2048\n4096\nfrom the host$")
        plx.equal(image.read_bytes()[:14], b"from the guest", "the image", r)


def test_wrong_options_are_refused():
    cases = (
        (2, "--memory", "0", "true", "not a positive number"),
        (2, "--nvme", "serial", "true", "not KEY=VALUE"),
        (2, "--ns", "size=1M", "true", "namespace of the --nvme before it"),
        (2, "--nvme", "serial=A", "--ns", "mdts=5", "true", "needs either size= .* or file="),
        (2, "--nvme", "serial=A", "--ns", "size=some", "true", "'some' is not a size"),
        (2, "--iommu", "40", "true", "invalid choice"),
        (2, "--env", "1=2", "true", "not NAME=VALUE"),
        (2, "-c", "true", "true", "either a COMMAND or -c SCRIPT"),
        (2, "either a COMMAND or -c SCRIPT"),
        (125, "--vfio-user", "/nowhere", "true", "no vfio-user socket at /nowhere/cntrl"),
        (125, "--share", "/nowhere", "true", "--share /nowhere: no such folder"),
        (125, "--nvme", "colour=red", "true", "QEMU would not start"),
    )
    for code, *arguments, says in cases:
        plx.run(vm.BOOT, *arguments).fails(code, says=says)


@vm.long
def test_only_the_share_is_written():
    mark = plx.SOURCE / "ci/vm/written-by-the-guest"
    with plx.scratch() as folder:
        r = boot("--share", folder, script=f"echo x >{mark} && cat {mark}; ls /tmp | wc -l; echo y >/mnt/share/y")
        plx.equal(pathlib.Path(folder, "y").read_text(encoding="ascii"), "y\n", "what is in the share", r)
    r.ok().says("^x$")
    r.says("^0$")
    plx.check(not mark.exists(), f"{mark} is on the host", r)


@vm.long
def test_options_shape_the_guest():
    r = boot("--memory", "700", "--cpus", "2", "--hugepages", "16", "--iommu", "39", "--net", "--module", "vfio-pci",
             "--module", "uio_pci_generic", "--append", "quite=another", "--nvme", "serial=A", script="""
nproc; awk '/MemTotal/ { print int($2 / 1024 / 100) * 100 }' /proc/meminfo; cat /proc/sys/vm/nr_hugepages
ls -d /sys/bus/pci/drivers/vfio-pci /sys/bus/pci/drivers/uio_pci_generic /sys/class/net/eth0
grep -o quite=another /proc/cmdline
dmesg | grep -o 'Host address width .*'
ls -d /sys/bus/pci/devices/*/iommu_group | wc -l | sed 's/^[1-9][0-9]*$/in groups/'
""").ok()
    r.says("^2\n600\n16\n/sys/bus/pci/drivers/uio_pci_generic\n/sys/bus/pci/drivers/vfio-pci\n/sys/class/net/eth0\n"
           "quite=another\nHost address width 39\nin groups$")


@vm.long
def test_reboot_runs_the_command_again():
    with vm.guest("--reboot", "--module", "nvme", "--nvme", "serial=A", "--ns", "size=1M", script=vm.FIND_NVME + """
disk=/dev/$(find_nvme A 1); echo "boot $PLX_VM_BOOT: $(head -c 5 $disk | tr -d '\\0')"
[ $PLX_VM_BOOT != 1 ] || { printf first | dd of=$disk conv=fsync 2>/dev/null; busybox reboot -f; }
""") as guest:
        process = guest.qemu()
        guest.wait_for("^boot 2")
        plx.equal(guest.qemu(), process, "QEMU's process after the reboot")
        guest.wait().ok().says("^boot 1: \nboot 2: first$")


@vm.long
def test_device_is_unplugged():
    with vm.guest("--module", "nvme", "--nvme", "serial=A", "--ns", "size=1M", script=vm.FIND_NVME + """
disk=$(find_nvme A 1); echo "found $disk"
for i in $(seq 300); do [ -e /sys/block/$disk ] || { echo gone; break; }; sleep 0.1; done
sleep 1000
""") as guest:
        guest.wait_for("^found nvme")
        guest.unplug("nvme1")
        guest.wait_for("^gone$")


@vm.long
def test_deadline_ends_the_guest():
    boot("--deadline", "3", script="sleep 1000").fails(vm.TIMED_OUT, says="not done within 3 s")


@vm.long
def test_panic_is_told():
    boot(script="echo c >/proc/sysrq-trigger").fails(vm.NO_STATUS, says="(?s)sysrq.*ended without a status")


@vm.long
def test_interruption_leaves_nothing_behind():
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        with vm.guest(script="echo ready; sleep 1000") as guest:
            qemu = guest.qemu()
            guest.wait_for("^ready")
            guest.signal(number)
            guest.wait(20).fails(code)
            vm.wait_until(lambda: not os.path.exists(f"/proc/{qemu}"), "QEMU's end")
            if number != signal.SIGKILL:
                plx.equal([n for n in os.listdir(guest.folder) if n.startswith("plx-vm")], [], "left-overs")


@vm.long
def test_kernel_and_pollux_are_compared():
    if not shutil.which("fio") or not (plx.BUILD / "fio_plugin/libpollux-fio.so").exists():
        plx.skip("fio is not installed, or the engines are not built (-Dfio_source, see ci/fio-source)")
    with plx.scratch() as folder:
        r = plx.run(plx.SOURCE / "ci/vm/compare", "--rounds", 1, "--seconds", 1, "--build", plx.BUILD, "--json", f"{folder}/json",
                    timeout=vm.DEADLINE).ok()
        plx.check(re.search(r"pollux +\d.* times 'kernel' ", r.out), "no ratio", r)
        with open(f"{folder}/json", encoding="utf-8") as file:
            result = json.load(file)
    plx.check(all(run["iops"] > 0 and run["mean_us"] > 0 for run in result["runs"]), "a run without I/O", r)
    for s in result["summaries"]:
        for ours, kernels in s["ratios"].items():
            for kernel, ratio in kernels.items():
                plx.equal(ratio["median"], s["paths"][ours]["median"] / s["paths"][kernel]["median"], f"{ours} to {kernel}", r)


vm.main()
