# SPDX-License-Identifier: BSD-3-Clause
"""A tree of sys, proc, dev and run with NVMe controllers in it, and a thread that acts as the kernel.

What makes a kernel act (bind, unbind, drivers_probe) are FIFOs; the thread moves the links of the devices as a
kernel would. What is in `refused`, a driver or an address with a driver, is not taken.
"""
import os
import pathlib
import select
import threading


class Tree:
    """for `with`"""

    def __init__(self, folder, drivers=("nvme", "vfio-pci", "uio_pci_generic")):
        self.root = pathlib.Path(folder)
        self.refused = set()
        self.fifos = {}
        self.stop = os.pipe()
        self.lock = threading.Lock()
        for name in ("run", "proc/self", "sys/bus/pci/devices", "dev/vfio"):
            (self.root / name).mkdir(parents=True)
        self.put("proc/swaps", "Filename Type Size Used Priority\n")
        self.put("proc/self/mountinfo", "36 35 98:0 / / rw - ext4 /dev/sda1 rw\n")
        self.fifo("sys/bus/pci/drivers_probe", None, "probe")
        self.pages(0, 0)
        for driver in drivers:
            self.driver(driver)
        self.thread = threading.Thread(target=self.kernel)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        os.close(self.stop[1])
        self.thread.join()
        for fd in [*self.fifos, self.stop[0]]:
            os.close(fd)

    def put(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def link(self, path, target):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def fifo(self, path, driver, what):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        self.fifos[os.open(path, os.O_RDWR | os.O_NONBLOCK)] = (driver, what)

    def driver(self, name):
        with self.lock:
            self.fifo(f"sys/bus/pci/drivers/{name}/bind", name, "bind")
            self.fifo(f"sys/bus/pci/drivers/{name}/unbind", name, "unbind")

    def pages(self, count, node):
        for folder in ("sys/kernel/mm/hugepages", f"sys/devices/system/node/node{node}/hugepages"):
            for name in ("nr_hugepages", "free_hugepages"):
                self.put(f"{folder}/hugepages-2048kB/{name}", f"{count}\n")

    def nvme(self, address, driver="nvme", group=None, number=0, serial="S1"):
        """a controller with one disk and one partition"""
        device = f"sys/bus/pci/devices/{address}"
        for name, text in (("vendor", "0x1b36"), ("device", "0x0010"), ("class", "0x010802"), ("numa_node", "0"),
                           ("driver_override", "(null)"), ("serial", serial), ("number", str(number)), ("reset", "")):
            self.put(f"{device}/{name}", text + "\n")
        if group is not None:
            self.link(f"{device}/iommu_group", f"../../../../kernel/iommu_groups/{group}")
            self.link(f"sys/kernel/iommu_groups/{group}/devices/{address}", f"../../../../bus/pci/devices/{address}")
        disk = f"sys/block/nvme{number}n1"
        self.put(f"{disk}/dev", f"259:{number * 8}\n")
        self.put(f"{disk}/size", "131072\n")
        self.put(f"{disk}/nvme{number}n1p1/dev", f"259:{number * 8 + 1}\n")
        self.put(f"{disk}/nvme{number}n1p1/partition", "1\n")
        for name, text in (("model", "Fake SSD"), ("serial", serial), ("firmware_rev", "1.0"), ("dev", "241:0")):
            self.put(f"sys/class/nvme/nvme{number}/{name}", text + "\n")
        if driver:
            self.take(address, driver)

    def driver_of(self, address):
        link = self.root / f"sys/bus/pci/devices/{address}/driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def override_of(self, address):
        text = (self.root / f"sys/bus/pci/devices/{address}/driver_override").read_text(encoding="ascii").strip()
        return "" if text == "(null)" else text

    # --- the kernel ---

    def take(self, address, driver):
        device = self.root / f"sys/bus/pci/devices/{address}"
        if {driver, (address, driver)} & self.refused or (self.override_of(address) or driver) != driver:
            return
        if driver == "nvme":
            number = (device / "number").read_text(encoding="ascii").strip()
            (device / f"nvme/nvme{number}/nvme{number}n1").mkdir(parents=True)
        if driver == "vfio-pci" and (device / "iommu_group").is_symlink():
            self.put(f"dev/vfio/{os.path.basename(os.readlink(device / 'iommu_group'))}", "")
        self.link(f"sys/bus/pci/devices/{address}/driver", f"../../drivers/{driver}")

    def let_go(self, address):
        device = self.root / f"sys/bus/pci/devices/{address}"
        for folder, _, _ in sorted(os.walk(device / "nvme"), reverse=True):
            os.rmdir(folder)
        (device / "driver").unlink(missing_ok=True)

    def kernel(self):
        while True:
            with self.lock:
                fifos = dict(self.fifos)
            ready, _, _ = select.select([*fifos, self.stop[0]], [], [], 0.05)
            for fd in ready:
                if fd == self.stop[0]:
                    return
                driver, what = fifos[fd]
                for address in os.read(fd, 4096).decode().split():
                    if what == "unbind":
                        self.let_go(address)
                    elif what == "bind":
                        self.take(address, driver)
                    else:
                        self.take(address, self.override_of(address) or "nvme")
