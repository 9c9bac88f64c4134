#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Protection information that the host makes and checks, against what QEMU's SSD makes and checks: guards of 16 and 64 bits."""
import pcie
import plx
import vm

CHECKS = "PRCHK=GUARD|REFTAG"
NAMESPACES = ("size=4M,ms=8,pi=1", "size=4M,ms=16,pi=1,pif=2", "size=4M,ms=16,mset=1,pi=1,pif=2", "size=4M,ms=64,pi=1,pil=1,pif=2",
              "size=4M,ms=64,mset=1,pi=2,pif=2")
BLOCKS = 4 << 20 >> 9


def perf(bdf, nsid, *arguments):
    return plx.run("plx-perf", "--json", "-", "-r", f"{pcie.trid(bdf)} ns:{nsid}", "-o", 4096, "-q", 4, "-d", BLOCKS // 8,
                   "-t", 600, *arguments)


def clean(r):
    total = r.ok().json()["total"]
    plx.equal((total["errors"], total["ios"]), (0, BLOCKS // 8), "errors and I/Os", r)


def test_each_checks_what_the_other_has_made():
    with pcie.bound(pcie.controllers()[0], "vfio-pci") as bdf:
        for nsid, _ in enumerate(NAMESPACES, 1):
            # the host's guards, checked by the device when they come, and by the host when they return
            clean(perf(bdf, nsid, "-w", "write", "-e", f"PRACT=0,{CHECKS}"))
            clean(perf(bdf, nsid, "-w", "read", "-e", f"PRACT=0,{CHECKS}"))
            # the device's, checked by it and by the host
            clean(perf(bdf, nsid, "-w", "write", "-e", "PRACT=1"))
            clean(perf(bdf, nsid, "-w", "randread", "-e", f"PRACT=0,{CHECKS}"))


vm.main_in_guest("--iommu", "48", "--memory", "1024", "--module", "vfio-pci", "--nvme", "serial=PLXP",
                 *[word for ns in NAMESPACES for word in ("--ns", ns)])
