#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt's vfio-user devices under QEMU's own client, with the NVMe driver of a stock kernel."""
import contextlib
import json
import os
import signal
import socket

import vm
import plx

NQN = "nqn.2024-01.io.pollux:guest"
SERIAL = "PLXGUEST"
DISK_MIB = 64

# a lost interrupt shows as "timeout, completion polled", a controller that went wrong as a reset
PRELUDE = vm.FIND_NVME + f"""
set -o pipefail
no_trouble() {{ ! dmesg | grep -E 'nvme.*(polled|timeout|reset|abort|disabl|error|fail)|DMAR.*fault'; }}
verify() {{ # NAME OPTION... - fio, with a few words of what it says
	fio --name="$1" --filename="$disk" --direct=1 --ioengine=io_uring --iodepth=16 --verify=crc32c --verify_fatal=1 \\
		--output-format=terse "${{@:2}}" >/tmp/fio.out 2>&1 && echo "$1 verified" || {{ cat /tmp/fio.out; exit 1; }}
}}
modprobe nvme && disk=/dev/$(find_nvme {SERIAL} 1) || exit 1
"""


class Target:
    """a plx-tgt under way with one subsystem of one malloc namespace; see target()"""

    def __init__(self, running, folder):
        self.running, self.folder = running, folder
        self._rpc = os.path.join(folder, "rpc.sock")

    def call(self, method, **params):
        """one JSON-RPC request; returns its result"""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30 * plx.PATIENCE)
            connection.connect(self._rpc)
            connection.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
            answer = b""
            while True:
                part = connection.recv(65536)
                plx.check(part, f"the connection closed in the middle of {method}", self.running.result())
                answer += part
                with contextlib.suppress(ValueError):
                    answer = json.loads(answer)
                    break
        plx.check("result" in answer, f"{method} {params}: {answer}")
        return answer["result"]

    def set_up(self):
        def listening():
            plx.check(self.running.process.poll() is None, "plx-tgt has ended", self.running.result())
            with contextlib.suppress(OSError):
                return self.call("rpc_get_methods")

        vm.wait_until(listening, "plx-tgt's RPC socket")
        self.call("bdev_malloc_create", name="Malloc0", num_blocks=DISK_MIB * 2048, block_size=512)
        self.call("nvmf_create_transport", trtype="VFIOUSER")
        self.call("nvmf_create_subsystem", nqn=NQN, serial_number=SERIAL, allow_any_host=True)
        self.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "Malloc0"})

    def listen(self, name="vfu"):
        """a socket of its own for one more controller; returns its folder"""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        self.call("nvmf_subsystem_add_listener", nqn=NQN,
                  listen_address={"trtype": "VFIOUSER", "traddr": folder, "trsvcid": "0"})
        return folder

    def alive(self):
        plx.check(self.running.process.poll() is None, "plx-tgt has ended", self.running.result())
        self.call("nvmf_get_subsystems")


@contextlib.contextmanager
def target():
    with plx.scratch() as folder, plx.start("plx-tgt", "-m", "0x1", "-r", os.path.join(folder, "rpc.sock")) as running:
        tgt = Target(running, folder)
        tgt.set_up()
        yield tgt
        tgt.alive()
        running.signal(signal.SIGTERM)
        running.wait(30).ok()


def attempt(tgt, folder, script, *options):
    """a guest with that device, from boot to end"""
    with vm.guest("--vfio-user", folder, *options, script=PRELUDE + script) as guest:
        r = guest.wait()
        tgt.alive()
        return r.ok()


def test_stock_driver_finds_and_verifies_the_disk():
    with target() as tgt:
        r = attempt(tgt, tgt.listen(), f"""
[ $(cat /sys/block/${{disk#/dev/}}/size) = {DISK_MIB * 2048} ] || exit 1
verify small --rw=randwrite --bs=4k --size=4M
verify large --rw=write --bs=256k --size=16M --offset=16M
grep 'nvme0q1$' /proc/interrupts | grep -q PCI-MSIX && echo "by MSI-X"
no_trouble
""")
        r.says("^small verified\nlarge verified\nby MSI-X$")


@vm.long
def test_disk_outlives_a_reboot_of_the_guest():
    with target() as tgt:
        r = attempt(tgt, tgt.listen(), """
sum() { dd if=$disk bs=1M count=8 iflag=direct 2>/dev/null | md5sum | cut -c1-32; }
if [ $PLX_VM_BOOT = 1 ]; then
	dd if=/dev/urandom of=$disk bs=1M count=8 oflag=direct 2>/dev/null
	sum >/mnt/share/sum
	sync -f /mnt/share/sum
	busybox reboot -f
fi
[ $PLX_VM_BOOT = 2 ] && [ "$(sum)" = "$(cat /mnt/share/sum)" ] && echo "the same data" || exit 1
verify after --rw=randwrite --bs=4k --size=2M
no_trouble
""", "--reboot", "--share", tgt.folder)
        r.says("^the same data\nafter verified$")


@vm.long
def test_guest_without_msi():
    with target() as tgt:
        r = attempt(tgt, tgt.listen(), """
grep 'nvme0q' /proc/interrupts | grep -q IO-APIC && echo "by INTx" || { cat /proc/interrupts; exit 1; }
verify intx --rw=randwrite --bs=4k --size=4M
no_trouble
""", "--append", "pci=nomsi")
        r.says("^by INTx\nintx verified$")


@vm.long
def test_two_controllers_in_one_guest_and_their_resets():
    with target() as tgt:
        r = attempt(tgt, tgt.listen(), """
for i in $(seq 300); do [ "$(cat /sys/class/nvme/nvme[01]/state)" = $'live\nlive' ] && break; sleep 0.1; done
nvme id-ctrl /dev/nvme0 | grep -c . >/dev/null && nvme smart-log /dev/nvme1 | grep -q percentage_used || exit 1
verify before --rw=randwrite --bs=4k --size=1M
no_trouble || exit 1
for c in nvme0 nvme1; do
	nvme reset /dev/$c || exit 1
	echo 1 >/sys/class/nvme/$c/device/reset || exit 1 # function level
	for i in $(seq 300); do [ "$(cat /sys/class/nvme/$c/state)" = live ] && break; sleep 0.1; done
	cat /sys/class/nvme/$c/state
done
verify after --rw=randwrite --bs=4k --size=1M
""", "--vfio-user", tgt.listen("second"))
        r.says("^before verified\nlive\nlive\nafter verified$")


LOAD = """
fio --name=load --filename=$disk --direct=1 --ioengine=io_uring --iodepth=32 --rw=randrw --bs=4k --time_based --runtime=1000 \\
	--output-format=terse >/dev/null 2>&1 &
for i in $(seq 300); do
	read -r _ _ _ _ writes _ </sys/block/${disk#/dev/}/stat
	((writes < 100)) || break
	sleep 0.1
done
((writes >= 100)) && echo loaded || exit 1
"""


@vm.long
def test_driver_lets_go_under_load_and_takes_up_again():
    with target() as tgt:
        r = attempt(tgt, tgt.listen(), LOAD + f"""
device=$(readlink -f /sys/class/nvme/nvme0/device) && [ -e $device/remove ] || exit 1
echo 1 >$device/remove
for i in $(seq 300); do [ -e $disk ] || break; sleep 0.1; done
[ ! -e $disk ] && echo gone && wait
echo 1 >/sys/bus/pci/rescan
disk=/dev/$(find_nvme {SERIAL} 1)
verify again --rw=randwrite --bs=4k --size=1M
""")
        r.says("^loaded\ngone\nagain verified$")


@vm.long
def test_unplugged_under_load():
    # QEMU 11.1.3 aborts when a vfio-user device is taken from a guest, whatever the server: either way
    # the client is gone in the middle of its work
    with target() as tgt:
        folder = tgt.listen()
        with vm.guest("--vfio-user", folder, script=PRELUDE + LOAD + "sleep 1000") as guest:
            guest.wait_for("^loaded")
            with contextlib.suppress(AssertionError, OSError):
                guest.unplug("vfio1")
        tgt.alive()
        attempt(tgt, folder, "verify next --rw=randwrite --bs=4k --size=1M; no_trouble").says("^next verified$")


@vm.long
def test_killed_guest_harms_nobody():
    with target() as tgt:
        folder = tgt.listen()
        for _ in range(3):
            with vm.guest("--vfio-user", folder, script=PRELUDE + LOAD + "wait") as guest:
                guest.wait_for("^loaded")
                os.kill(guest.qemu(), signal.SIGKILL)
                guest.wait(20).fails(vm.NO_STATUS)
            tgt.alive()
        attempt(tgt, folder, "verify next --rw=randwrite --bs=4k --size=4M; no_trouble").says("^next verified$")


vm.main()
