# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of our driver on a foreign vfio-user device share: the device, and the tools on it."""
import contextlib
import signal

import plx

DEVICE = plx.SOURCE / "tests/integration/vfio_user_device.py"
PATIENT = 45  # seconds within which a tool has to give up; each state of connecting has its deadline


@contextlib.contextmanager
def device(options, strict=True):
    """the device, for `with`: its transport identifier; afterwards it must have nothing to complain of"""
    with plx.scratch() as traddr, plx.start("/usr/bin/python3", DEVICE, traddr, *options.split()) as running:
        running.wait_for("^ready$")
        yield f"trtype:VFIOUSER traddr:{traddr}"
        running.signal(signal.SIGTERM)
        result = running.wait()
        plx.check(not strict or "VIOLATION" not in result.out, "the driver broke the specification", result)
        plx.check(not result.err, "the device broke down", result)


def sane(result):
    plx.check("runtime error" not in result.err and "Sanitizer" not in result.err, "a sanitizer's report", result)
    return result


def identify(trid, *args, timeout=PATIENT):
    return sane(plx.run("plx-identify", "-r", trid, *args, timeout=timeout))


def perf(trid, *args, timeout=PATIENT):
    return sane(plx.run("plx-perf", "-r", trid, "--json", "-", *args, timeout=timeout))
