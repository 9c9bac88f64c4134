# SPDX-License-Identifier: BSD-3-Clause
"""What guest tests share: guests that run beside a test, and tests that run in a guest.

tests/vm/test_<thing>.py is one of two kinds. Its cases run on the host and boot the guests they need:

    import plx
    import vm

    def test_disk_is_found():
        with vm.guest("--nvme", "serial=A", "--ns", "size=64M", script="modprobe nvme && ...") as guest:
            guest.wait_for("disk found")
            guest.wait().ok()

    vm.main()

or all of them run in one guest, which is described once, with the options of ci/vm/boot, at the end:

    def test_disk_has_its_size():
        plx.equal(vm.sysfs("/sys/block/nvme0n1/size"), "131072", "sectors")

    vm.main_in_guest("--module", "nvme", "--nvme", "serial=A", "--ns", "size=64M")

The second kind costs one boot for many cases and is the one to prefer. What plx.py offers is there on both
sides; programs are built for x86-64-v2, which an emulated processor runs. @vm.long marks a case that the
short selection of ci/test leaves out. ci/vm/test runs them; docs/guest-lab.md has more.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import plx  # pylint: disable=wrong-import-position

BOOT = plx.SOURCE / "ci/vm/boot"
IN_GUEST = "PLX_VM_BOOT" in os.environ
# seconds for a guest: one that is done in 10 needs more than 60 beside other builds, and one of many cases takes
# minutes by itself. What hangs in a guest has nearer deadlines of its own; this one is for the guest
DEADLINE = 900
# exit codes of ci/vm/boot
TIMED_OUT = 124
NO_STATUS = 125
# for scripts: find_nvme SERIAL NSID prints the name of that namespace's block device, once it is there
FIND_NVME = """
find_nvme() {
	local tries namespace
	for tries in $(seq 300); do
		for namespace in $(grep -lsw "$2" /sys/block/nvme*/nsid); do
			namespace=${namespace%/nsid}
			[[ $(cat "$namespace/device/serial") = "$1"* && -b /dev/${namespace##*/} ]] || continue
			echo "${namespace##*/}"
			return
		done
		sleep 0.1
	done
	echo "no namespace $2 of $1 within 30 s" >&2
	exit 1
}
"""
# an emulated processor is 9 to 23 times slower than the host's
SLOWNESS = 10


long = plx.long  # decorator: not part of the short selection


def wait_until(condition, what, timeout=60):
    """waits until condition() returns something true, and returns that"""
    deadline = time.monotonic() + timeout * plx.PATIENCE
    while True:
        value = condition()
        if value:
            return value
        plx.check(time.monotonic() < deadline, f"{what}: not within {timeout} s")
        time.sleep(0.05)


def sysfs(path):
    """what a file holds, stripped"""
    return pathlib.Path(path).read_text(encoding="utf-8").strip()


class Guest(plx.Running):
    """a guest under way: plx.Running's wait_for(), wait(), result() see its output and its exit code"""

    def __init__(self, folder, options, script):
        self.folder = folder
        self.qmp_path = os.path.join(folder, "qmp")
        super().__init__(BOOT, "--deadline", DEADLINE * plx.PATIENCE, *options, "--qmp", self.qmp_path, "-c", script,
                         env={"TMPDIR": folder})

    def wait_for(self, pattern, timeout=DEADLINE):
        return super().wait_for(pattern, timeout)

    def wait(self, timeout=DEADLINE + 20):  # after the guest's own deadline, which says more
        return super().wait(timeout)

    def qmp(self, command, **arguments):
        """one command of QEMU's machine protocol; returns its result"""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30 * plx.PATIENCE)

            def connected():
                plx.check(self.process.poll() is None, f"the guest has ended before {command}", self.result())
                return connection.connect_ex(self.qmp_path) == 0

            wait_until(connected, "QEMU's monitor")
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()  # its greeting
                for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    stream.write(json.dumps(request) + "\n")
                    stream.flush()
                    answer = {}
                    while not answer.keys() & {"return", "error"}:  # events come between
                        line = stream.readline()
                        plx.check(line, f"QEMU closed its monitor at {request}", self.result())
                        answer = json.loads(line)
                    plx.check("return" in answer, f"QEMU refused {request}: {answer.get('error')}")
        return answer["return"]

    def qemu(self):
        """the process number of QEMU"""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return wait_until(lambda: [int(pid) for pid in sysfs(children).split()
                                   if "qemu-system" in sysfs(f"/proc/{pid}/cmdline")], "QEMU's start")[0]

    def unplug(self, device):
        """asks the guest to give up a device (nvme1, vfio1...) and waits until it has"""
        self.qmp("device_del", id=device)
        wait_until(lambda: device not in [d["name"] for d in self.qmp("qom-list", path="/machine/peripheral")],
                   f"the guest's release of {device}")

    def end(self):
        """ends the guest, if it still runs, leaving nothing behind"""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGTERM)
        self.wait(10)


@contextlib.contextmanager
def guest(*options, script):
    """a guest that runs `script` with bash, for `with`: a Guest; options are ci/vm/boot's"""
    with plx.scratch() as folder:
        running = Guest(folder, options, script)
        try:
            yield running
        finally:
            running.end()


def main():
    """runs the cases of the calling file here"""
    cases = {n: f for n, f in vars(sys.modules["__main__"]).items() if n.startswith("test_") and callable(f)}
    if len(sys.argv) == 1 and os.environ.get("PLX_VM_SHORT"):
        sys.argv[1:] = [name for name, case in cases.items() if not getattr(case, "long", False)]
        if len(sys.argv) == 1:
            print("1..0 # SKIP no case of it is in the short selection")
            sys.exit(0)
    plx.main()


def main_in_guest(*options):
    """runs the cases of the calling file in a guest; options are ci/vm/boot's"""
    if IN_GUEST:
        main()
    settings = {"PLX_BUILD": plx.BUILD, "PLX_TIMEOUT_MULTIPLIER": plx.PATIENCE * SLOWNESS,
                "PLX_VM_SHORT": os.environ.get("PLX_VM_SHORT", "")}
    environment = [text for name, value in settings.items() for text in ("--env", f"{name}={value}")]
    with plx.scratch() as folder:
        done = subprocess.run([BOOT, "--deadline", str(DEADLINE * plx.PATIENCE), *options, *environment, "--",
                               "/usr/bin/python3", os.path.abspath(sys.argv[0]), *sys.argv[1:]], env={**os.environ, "TMPDIR": folder}, check=False,
                              preexec_fn=plx.dies_with_us())
    sys.exit(done.returncode)
