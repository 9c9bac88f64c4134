#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our driver on SSDs that QEMU emulates, behind an IOMMU of 48 address bits."""
import os

import vm
import plx
import pcie


def test_vfio_reads_back_what_it_wrote():
    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        r = pcie.verified(bdf)
        r.says("QEMU NVMe Ctrl")
        pcie.verified(bdf, "-o", "512", "-q", "32")


def test_identify_is_the_kernels():
    bdf = pcie.controllers()[0]
    with pcie.disk(bdf) as disk:
        theirs = plx.run("/usr/sbin/nvme", "id-ctrl", disk, "-o", "json").ok().json()
    with pcie.bound(bdf, "vfio-pci"):
        ours = plx.run("plx-identify", "-r", pcie.trid(bdf), "--json", "ctrl").ok()
    shown = ours.json()
    for field in ("vid", "sn", "mn", "fr", "mdts", "oacs", "sqes", "nn", "oncs", "sgls"):
        plx.equal(str(shown[field]).strip(), str(theirs[field]).strip(), field, ours)


def test_what_cannot_be_opened_is_explained():
    bdf = pcie.controllers()[0]
    cases = ((None, bdf, f"{bdf}.*no driver.*plx-setup bind {bdf}"),
             ("nvme", bdf, f"{bdf}.*'nvme'.*plx-setup bind {bdf}"),
             ("vfio-pci", "0000:7f:1f.7", "0000:7f:1f.7.*no such PCIe device"))
    for name, address, says in cases:
        with pcie.bound(bdf, name):
            pcie.perf(address).fails(1, says=says)


@vm.long
def test_kernel_and_we_read_what_the_other_wrote():
    pcie.exchange(pcie.controllers()[0], "vfio-pci")


@vm.long
def test_user_with_the_group_and_the_limit():
    user = ("--reuid", "1000", "--regid", "1000", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")

    def as_user(bdf, kib):
        command = f'ulimit -l {kib} && exec setpriv "$@"'
        return plx.run("/bin/bash", "-c", command, "bash", *user, plx.program("plx-perf"), "-r", pcie.trid(bdf),
                       "-q", "8", "-w", "randread", "-d", "500")

    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        group = pcie.group_file(bdf)
        as_user(bdf, 1 << 20).fails(1, says=f"no permission to open {group}.*chown 1000 {group}")
        os.chown(group, 1000, 1000)
        r = as_user(bdf, 8192).fails(1, says="cannot be locked.*8192 KiB.*ulimit -l")
        plx.check("raise -s" not in r.err, "it blames -s", r)
        as_user(bdf, 1 << 20).ok()


def test_interrupts():
    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        pcie.verified(bdf, "--interrupts")
        pcie.verified(bdf, "--interrupts", "-P", "4", "-q", "1")


@vm.long
def test_waiting_takes_no_processor():
    with pcie.bound(pcie.controllers()[1], "vfio-pci") as bdf:
        pcie.waits(bdf, 0.02)


vm.main_in_guest("--iommu", "48", "--memory", "1536", "--module", "vfio-pci", "--module", "nvme",
                 "--nvme", "serial=PLXA", "--ns", "size=64M", "--qemu", pcie.SLOW)
