#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our programs on a stock kernel and on a processor with no more than they are built for."""
import vm
import plx


@vm.long
def test_perf_verifies_on_the_virtual_controller():
    r = plx.run("plx-perf", "-q", "4", "-w", "randrw", "-M", "50", "--verify", "-t", "1", "--json", "-")
    total = r.ok().json()["total"]
    plx.equal(total["errors"], 0, "errors", r)
    plx.check(total["ios"] > 0, "no I/O was done", r)


def test_identify_describes_the_virtual_controller():
    plx.run("plx-identify").ok().says("pollux")


vm.main_in_guest("--hugepages", "128")
