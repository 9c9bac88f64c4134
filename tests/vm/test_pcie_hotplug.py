#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A device that is unplugged under load, and comes back."""
import vm
import plx
import pcie

# what is plugged in later is for vfio-pci as well: 1b36:0010 is QEMU's controller
SCRIPT = f"""
echo 1b36 0010 >/sys/bus/pci/drivers/vfio-pci/new_id
for d in /sys/bus/pci/devices/*; do [ "$(cat $d/class)" = 0x010802 ] && bdf=${{d##*/}}; done
[ "$(basename $(readlink /sys/bus/pci/devices/$bdf/driver))" = vfio-pci ] || exit 1
{pcie.tool()} hotplug &
{plx.program("plx-perf")} $MORE -q 16 -w randread -r "trtype:PCIe traddr:$bdf" -t 300 & # longer than the test
perf=$!
# its start takes 3 s of processor time at most, the rest is I/O
for i in $(seq 600); do [ $(awk '{{ print $14 }}' /proc/$perf/stat) -ge 600 ] && break; sleep 0.2; done
echo loaded
wait $perf
echo "perf ended with $?"
for i in $(seq 600); do [ -e /sys/bus/pci/devices/$bdf ] || break; sleep 0.1; done
[ -e /sys/bus/pci/devices/$bdf ] || echo gone
for i in $(seq 600); do [ -e /sys/bus/pci/devices/$bdf/driver ] && break; sleep 0.1; done
echo back
{plx.program("plx-perf")} -q 16 -w randread -r "trtype:PCIe traddr:$bdf" -t 1 && echo "found again"
kill %1
"""


def unplugged(nvme, more):
    """an emulated controller of these properties, while plx-perf has these options"""
    with vm.guest("--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--nvme", nvme, "--ns", "size=64M",
                  "--env", f"MORE={more}", script=SCRIPT) as guest:
        guest.wait_for("^loaded")
        guest.unplug("nvme1")
        guest.wait_for("^gone")
        guest.qmp("blockdev-add", **{"driver": "null-co", "node-name": "again", "size": 64 << 20, "read-zeroes": True})
        guest.qmp("device_add", driver="nvme", id="nvme2", bus="port1", serial="B", drive="again")
        guest.wait_for("^back")
        r = guest.wait().ok()
    r.says("being unplugged")
    r.says("16 I/Os failed.*COMMAND ABORTED BY HOST")
    r.says("^perf ended with 1$")
    r.says("^found again$")
    r.says("^removed 0000:01:00.0 ")
    r.says("^bound 0000:01:00.0 vfio-pci$")


@vm.long
def test_unplugged_under_load_and_plugged_in_again():
    unplugged("serial=A", "")


@vm.long
def test_unplugged_with_queues_and_data_in_its_own_memory():
    unplugged("serial=A,cmb_size_mb=16", "--use-cmb sqs,data")


vm.main()
