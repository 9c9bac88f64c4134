# SPDX-License-Identifier: BSD-3-Clause
"""For guest tests of the PCIe transport, in the guest: emulated NVMe controllers and who drives them."""
import contextlib
import mmap
import os
import pathlib
import signal

import vm
import plx

BUS = pathlib.Path("/sys/bus/pci")


def controllers():
    """the addresses of the NVMe controllers, in the order of the options --nvme"""
    return sorted(d.name for d in (BUS / "devices").iterdir() if vm.sysfs(d / "class") == "0x010802")


def trid(bdf):
    return f"trtype:PCIe traddr:{bdf}"


def driver(bdf):
    """the kernel driver's name, None when there is none"""
    link = BUS / "devices" / bdf / "driver"
    return link.resolve().name if link.exists() else None


def bind(bdf, name):
    """gives the function to a kernel driver, which has to be loaded; None: to none"""
    device = BUS / "devices" / bdf
    if driver(bdf) == name:
        return
    if driver(bdf):
        (device / "driver/unbind").write_text(bdf, encoding="ascii")
    if name:
        (device / "driver_override").write_text(name, encoding="ascii")
        (BUS / "drivers_probe").write_text(bdf, encoding="ascii")
        vm.wait_until(lambda: driver(bdf) == name, f"{name} to take {bdf}")


@contextlib.contextmanager
def bound(bdf, name):
    bind(bdf, name)
    try:
        yield bdf
    finally:
        bind(bdf, None)


def given(name, long=False):
    """decorator: the case gets the address of the first controller, bound to a kernel driver"""
    def decorate(case):
        def run():
            with bound(controllers()[0], name) as bdf:
                case(bdf)

        run.long = long
        return run

    return decorate


def group_file(bdf):
    """of VFIO, once it is there"""
    group = pathlib.Path("/dev/vfio") / (BUS / "devices" / bdf / "iommu_group").resolve().name
    vm.wait_until(group.exists, group)
    return group


@contextlib.contextmanager
def disk(bdf, nsid=1):
    """the kernel's block device of a namespace, for as long as its own driver has the controller"""
    with bound(bdf, "nvme"):
        def found():
            for block in pathlib.Path("/sys/block").glob("nvme*n*"):
                with contextlib.suppress(OSError):
                    if (block / "device").resolve().parent.parent.name == bdf and \
                            int(vm.sysfs(block / "nsid")) == nsid and os.path.exists(f"/dev/{block.name}"):
                        return f"/dev/{block.name}"

        yield vm.wait_until(found, f"the kernel's disk of {bdf}")


def perf(bdf, *arguments, seconds=1):
    return plx.run("plx-perf", "-r", trid(bdf), "-t", str(seconds), *arguments)


def verified(bdf, *arguments):
    """verify-mode load without a wrong block"""
    r = perf(bdf, "-q", "8", "-o", "4096", "-w", "randrw", "-M", "50", "--verify", "--json", "-", *arguments).ok()
    total = r.json()["total"]
    plx.check(total["ios"] > 0 and not total["errors"], f"{total['ios']} I/Os, {total['errors']} errors", r)
    return r


def tool():
    """tests/vm/nvme_tool.c, built"""
    return plx.BUILD / "tests/integration/nvme_tool"


def exchange(bdf, name):
    """what the kernel's driver writes, ours reads, and the other way round; `name`: our kernel driver"""
    blocks, size = 300, 300 * 512
    with plx.scratch() as folder:
        theirs, ours, back = (os.path.join(folder, n) for n in ("theirs", "ours", "back"))
        for path in (theirs, ours):
            pathlib.Path(path).write_bytes(os.urandom(size))
        with disk(bdf) as device:
            plx.run("/usr/bin/dd", f"if={theirs}", f"of={device}", "bs=512", "seek=1000", "oflag=direct").ok()
        with bound(bdf, name):
            command = 'exec "$0" "$1" "$2" "$3" "$4" '
            plx.run("/bin/bash", "-c", command + f">{back}", tool(), "read", trid(bdf), "1000", str(blocks)).ok()
            plx.equal(pathlib.Path(back).read_bytes(), pathlib.Path(theirs).read_bytes(), "what the kernel wrote")
            plx.run("/bin/bash", "-c", command + f"<{ours}", tool(), "write", trid(bdf), "3001", str(blocks)).ok()
        with disk(bdf) as device:
            plx.run("/usr/bin/dd", f"if={device}", f"of={back}", "bs=512", "skip=3001", f"count={blocks}", "iflag=direct").ok()
            plx.equal(pathlib.Path(back).read_bytes(), pathlib.Path(ours).read_bytes(), "what we wrote")


def children_seconds():
    """processor time of the programs run so far"""
    times = os.times()
    return times.children_user + times.children_system


def waits(bdf, most):
    """with --interrupts on a device of 10 I/Os a second, plx-perf takes at most that share of a processor:
    the difference of a long and a short run, as starting costs more than waiting"""
    def spent(seconds):
        before = children_seconds()
        r = perf(bdf, "-q", "1", "-w", "randread", "--interrupts", "--json", "-", seconds=seconds).ok()
        plx.check(r.json()["total"]["ios"] >= 5 * seconds, "hardly any I/O", r)
        return children_seconds() - before

    share = (spent(24) - spent(4)) / 20
    print(f"# {100 * share:.1f} % of a processor")
    plx.check(share < most, f"{100 * share:.1f} % of a processor while it waits")


CC, CSTS, AQA, ASQ = 0x14, 0x1c, 0x24, 0x28
COMMAND = 4  # in configuration space


class Meddler:
    """another program that reaches the same function by sysfs, while ours stands still: for `with`"""

    def __init__(self, running, bdf):
        self.running, self.device = running, BUS / "devices" / bdf

    def __enter__(self):
        self.running.signal(signal.SIGSTOP)
        with open(self.device / "resource0", "r+b", buffering=0) as file:
            self.memory = mmap.mmap(file.fileno(), 4096)
        self.words = memoryview(self.memory).cast("I")
        return self

    def __exit__(self, *error):
        self.words.release()
        self.memory.close()
        self.running.signal(signal.SIGCONT)

    def disable(self):
        self.words[CC // 4] &= ~1

    def enable_with_bad_queues(self):
        """which is answered with CSTS.CFS"""
        cc = self.words[CC // 4] | 1
        self.disable()
        self.words[ASQ // 4] = 0x123
        self.words[CC // 4] = cc
        plx.check(self.words[CSTS // 4] & 2, f"CSTS is {self.words[CSTS // 4]:#x}")

    def hide(self):
        """memory is not decoded any more: here registers read as 0, on a real bus as all ones"""
        with open(self.device / "config", "r+b", buffering=0) as config:
            config.seek(COMMAND)
            config.write((0).to_bytes(2, "little"))
        plx.check(self.words[CSTS // 4] in (0, 0xffffffff), f"CSTS is {self.words[CSTS // 4]:#x}")


def is_ready(bdf):
    with open(BUS / "devices" / bdf / "resource0", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), 4096) as memory, \
            memoryview(memory) as view, view.cast("I") as words:
        return words[CC // 4] & 1 and words[CSTS // 4] & 1


@contextlib.contextmanager
def loaded(bdf, *arguments):
    """plx-perf, with I/O under way, until it is interrupted; for `with`. I/O that fails does not end it"""
    with plx.start("plx-perf", "-r", trid(bdf), "-q", "8", "-w", "randread", "-t", "600", "-Q", "1000000",
                   "--interval", "200ms", "--json", "-", *arguments) as running:
        vm.wait_until(lambda: running.process.poll() is not None or is_ready(bdf), f"{bdf} to be enabled")
        running.wait_busy((running.busy() + 1) / plx.PATIENCE)
        yield running


def times(n, text):
    """a regular expression: `text` n times, however far apart"""
    return f"(?s)(?:{text}.*){{{n}}}"


FATAL = r"reports a fatal status \(CSTS.CFS\)"


def meddled_with(running, bdf, meddle, says, ready):
    """once, and what comes of it; `ready`: how often it has become ready again, None when it does not"""
    with Meddler(running, bdf) as meddler:
        getattr(meddler, meddle)()
    running.wait_for(says)
    if ready is not None:
        running.wait_for(times(ready, "ready again"))


def fatal_thrice(bdf, *arguments):
    """a reset, a reset of the function, the end"""
    with loaded(bdf, *arguments) as running:
        meddled_with(running, bdf, "enable_with_bad_queues", "resetting it: it " + FATAL, 1)
        meddled_with(running, bdf, "enable_with_bad_queues", FATAL + " again, right after a reset: resetting its function", 2)
        meddled_with(running, bdf, "enable_with_bad_queues", FATAL + " again, right after a reset, although its function", None)
        running.wait().fails(1)


def hidden_for_a_while(bdf, *arguments):
    """what a reset does not help, as it reaches nothing"""
    with loaded(bdf, *arguments) as running:
        meddled_with(running, bdf, "hide", "CSTS.RDY to become 1 .*: resetting its function", 1)
        goes_on(running, 1)


def goes_on(running, busy):
    """`busy` seconds of processor time later it is interrupted, and has done I/O until then"""
    running.wait_busy((running.busy() + busy) / plx.PATIENCE)
    running.signal(signal.SIGINT)
    r = running.wait()
    plx.equal(r.code, 1, "exit code", r)  # I/O has failed
    plx.check(sum(i["ios"] for i in r.json()["intervals"][-3:]), "no I/O at the end", r)
    return r


# a controller of 10 I/Os a second behind all others, for waits()
SLOW = ("-object throttle-group,id=slow,x-iops-total=10 -blockdev node-name=raw,driver=null-co,size=67108864,read-zeroes=on "
        "-blockdev driver=throttle,node-name=slow,throttle-group=slow,file=raw "
        "-device pcie-root-port,id=slowport,chassis=99,slot=99,bus=pcie.0 "
        "-device nvme,id=slowctrl,serial=SLOW,bus=slowport -device nvme-ns,bus=slowctrl,drive=slow")
