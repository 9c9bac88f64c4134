#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""ci/instructions counts what an I/O costs."""
import os
import re
import shutil

import plx


def count(*args):
    """instructions per I/O: of each part, and together"""
    if not shutil.which("valgrind"):
        plx.skip("valgrind is not installed")
    if os.environ.get("PLX_SANITIZE", "none") != "none":
        plx.skip("valgrind does not run programs built with a sanitizer")
    result = plx.run(plx.SOURCE / "ci" / "instructions", "--program", plx.program("plx-perf"), "-n", 2000, *args,
                     timeout=240).ok()
    found = {part: float(n) for part, n in re.findall(r"^  (\S.*?) +(-?[\d.]+)$", result.out, re.MULTILINE)}
    together = found.pop("together", None)
    plx.check(together is not None, "no sum", result)
    plx.check(abs(sum(found.values()) - together) <= max(1, 0.01 * together), "the parts do not add up", result)
    return together, result


def test_a_copy_costs_more_instructions_than_none():
    none, result = count()
    plx.check(none > 0, "nothing was counted", result)
    copied, result = count("--virtual", "size=16M,inline", "-o", "64k", "-s", "64")
    plx.check(copied > none, f"{copied} instructions with a copy, {none} without", result)


def test_a_program_that_fails_is_said():
    result = plx.run(plx.SOURCE / "ci" / "instructions", "--program", "/bin/false", "-n", 10)
    if shutil.which("valgrind"):
        result.fails(1, says="failed")


plx.main()
