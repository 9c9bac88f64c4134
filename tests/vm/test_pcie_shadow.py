#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shadow doorbells, as QEMU's controller sees them."""
import os
import pathlib

import vm
import plx

SCRIPT = f"""
for d in /sys/bus/pci/devices/*; do [ "$(cat $d/class)" = 0x010802 ] && bdf=${{d##*/}}; done
echo vfio-pci >/sys/bus/pci/devices/$bdf/driver_override && echo $bdf >/sys/bus/pci/drivers_probe
{plx.program("plx-perf")} -r "trtype:PCIe traddr:$bdf" -q 16 -w randrw -M 50 --verify -t 1
"""


@vm.long
def test_are_configured_once_and_data_stays_right():
    with plx.scratch() as folder:
        log = os.path.join(folder, "log")
        with vm.guest("--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--nvme", "serial=A", "--ns", "size=16M",
                      "--qemu", f"-trace pci_nvme_dbbuf_config -D {log}", script=SCRIPT) as guest:
            r = guest.wait().ok()
        r.says("all blocks that were read were what had been written")
        plx.equal(pathlib.Path(log).read_text(encoding="utf-8").count("pci_nvme_dbbuf_config"), 1, "configurations", r)


vm.main()
