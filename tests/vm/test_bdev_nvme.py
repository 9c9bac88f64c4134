#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt serves an SSD that QEMU emulates, behind an IOMMU: its controller moves data to and from clients' memory."""
import contextlib

import pcie
import plx
import tgt
import vm

NQN = "nqn.2016-06.io.spdk:test"
VERIFY = ("-q", 8, "-w", "randrw", "-M", 50, "-o", "4k:70,64k:30", "--verify", "-s", 64)


@contextlib.contextmanager
def target():
    with tgt.start("-s", 96) as t:
        t.call("nvmf_create_transport", trtype="VFIOUSER")
        t.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        t.traddr = t.listen_dir()
        t.call("nvmf_subsystem_add_listener", nqn=NQN,
               listen_address={"trtype": "VFIOUSER", "traddr": t.traddr, "trsvcid": "0"})
        yield t


def attach(t, bdf):
    """the controller's bdevs, all of which are namespaces of the target then"""
    bdevs = t.call("bdev_nvme_attach_controller", name="Nvme0", trtype="PCIe", traddr=bdf)
    for bdev in bdevs:
        t.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": bdev})
    return bdevs


def perf(t, *args, nsid=1, run=plx.run, **more):
    return run("plx-perf", "-r", f"trtype:VFIOUSER traddr:{t.traddr} ns:{nsid}", *VERIFY, *args, **more)


def test_an_ssd_is_served_on():
    bdf = pcie.controllers()[0]
    with pcie.bound(bdf, "vfio-pci"), target() as t:
        plx.equal(attach(t, bdf), ["Nvme0n1", "Nvme0n2"], "bdevs; the third namespace is zoned")
        t.running.wait_for("namespace 3 is left out: it is zoned")
        bdev, = t.call("bdev_get_bdevs", name="Nvme0n1")
        plx.equal(bdev["driver_specific"]["nvme"][0]["pci_address"], bdf, "its address")
        for nsid in (1, 2):
            perf(t, "-t", "2s", nsid=nsid, timeout=120).ok()
            plx.equal(t.call("bdev_get_iostat", name=f"Nvme0n{nsid}")["bdevs"][0]["io_error"], {}, "errors")
        plx.equal(t.end().code, 0, "exit code")
    # it was shut down: the kernel's driver finds it as ever
    with pcie.disk(bdf) as disk:
        plx.run("/usr/bin/dd", f"if={disk}", "of=/dev/null", "bs=64k", "count=16", "iflag=direct").ok()


def test_an_ssd_that_is_taken_away_under_load_can_come_again():
    bdf = pcie.controllers()[0]
    with pcie.bound(bdf, "vfio-pci"), target() as t:
        attach(t, bdf)
        with perf(t, "-t", "600s", run=plx.start) as load:
            vm.wait_until(lambda: t.call("bdev_get_iostat", name="Nvme0n1")["bdevs"][0]["num_read_ops"] > 100, "I/O")
            # the kernel asks for the device, and waits until it is given back
            plx.run("/bin/sh", "-c", f"echo 1 >/sys/bus/pci/devices/{bdf}/remove").ok()
            result = load.wait(120)
            plx.check(not result.timed_out and result.code > 0, "perf should have failed", result)
        vm.wait_until(lambda: not t.call("bdev_nvme_get_controllers") and not t.call("bdev_get_bdevs"), "it to be gone")
        plx.run("/bin/sh", "-c", "echo 1 >/sys/bus/pci/rescan").ok()
        pcie.bind(bdf, "vfio-pci")
        attach(t, bdf)
        perf(t, "-t", "1s", timeout=120).ok()


# two processes that poll: each has a processor
vm.main_in_guest("--cpus", "2", "--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme",
                 "--nvme", "serial=PLXA", "--ns", "size=16M", "--ns", "size=16M,logical_block_size=4096,physical_block_size=4096",
                 "--ns", "size=16M,zoned=true,zoned.zone_size=1M")
