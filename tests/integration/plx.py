# SPDX-License-Identifier: BSD-3-Clause
"""What integration tests share: running pollux's programs as a user does and judging what they said.

A test file is tests/integration/test_<thing>.py plus its line in meson.build beside it:

    #!/usr/bin/python3
    # SPDX-License-Identifier: BSD-3-Clause
    \"\"\"What this file is about.\"\"\"
    import plx

    def test_random_read_finds_no_error():
        r = plx.run("plx-perf", "-q", "32", "-w", "randread", "-t", "1", "--json", "-")
        r.ok()
        plx.equal(r.json()["total"]["errors"], 0, "errors", r)

    def test_unknown_pattern_is_refused():
        r = plx.run("plx-perf", "-q", "1", "-w", "backwards", "-t", "1")
        r.fails(2, says="backwards")

    plx.main()

Each function test_* is a case, named for the behaviour it wants, and reported as one line of TAP; an
exception fails it, plx.skip("why") skips it. Run one file, or some cases of it, by hand with
PLX_BUILD=build tests/integration/test_thing.py [CASE...]; without PLX_BUILD that is build/ in the checkout.

A case that takes long and goes no way that others do not go too is marked with @plx.long: with $PLX_SHORT, as
`ci/test` has it for the sanitizers' part, it is left out. A file needs one case without the mark.

Programs are found by name in the build directory. Every wait has a deadline; $PLX_TIMEOUT_MULTIPLIER
stretches them all for slow builds (sanitizers, valgrind). No thresholds on time or speed in tests.
Standard library only, for /usr/bin/python3 of Debian 12.
"""
import contextlib
import ctypes
import json as json_module
import os
import pathlib
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PLX_BUILD", SOURCE / "build")).resolve()
PATIENCE = float(os.environ.get("PLX_TIMEOUT_MULTIPLIER", 1))


class Skip(Exception):
    """raised by skip()"""


def skip(reason):
    raise Skip(reason)


def long(case):
    """decorator: left out of short runs"""
    case.long = True
    return case


def scratch():
    """a temporary directory, for `with`, gone afterwards"""
    return tempfile.TemporaryDirectory(prefix="plx-test-")


def program(name):
    """path of a program of this project in the build directory, or `name` when it is a path itself"""
    if "/" in str(name):
        return str(name)
    for found in sorted([*BUILD.glob(f"*/{name}"), *BUILD.glob(f"targets/*/{name}")]):  # build/ci-*/ are other builds
        if found.is_file() and os.access(found, os.X_OK):
            return str(found)
    raise AssertionError(f"{name} is not in {BUILD}: build it first (ninja -C {BUILD})")


def check(condition, message, result=None):
    """fails the case with `message`, and with what `result` (of run()) shows, unless `condition`"""
    if not condition:
        raise AssertionError(message + (f"\n{result.describe()}" if result else ""))


def equal(got, wanted, what, result=None):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}", result)


def hugepages_free():
    """of the default size"""
    return int(re.search(r"HugePages_Free: +(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])


def leftovers():
    """what programs of ours could leave on a system, by the names it would have"""
    found = set(os.listdir("/dev/shm"))
    for mounts in pathlib.Path("/proc/mounts").read_text().splitlines():
        if mounts.split()[2] == "hugetlbfs":
            found.update(os.listdir(mounts.split()[1]))
    return {name for name in found if re.search("rte|plx|pollux|fio", name)}


class Result:
    """how a program ended: args, code (negative: killed by that signal), out, err, seconds"""

    def __init__(self, args, code, out, err, seconds, timed_out=False):
        self.args, self.code, self.out, self.err = args, code, out, err
        self.seconds, self.timed_out = seconds, timed_out

    def describe(self):
        how = "did not end in time" if self.timed_out else f"exit code {self.code}"
        if not self.timed_out and self.code is None:
            how = "still running"
        elif not self.timed_out and self.code < 0:
            how = f"killed by {signal.Signals(-self.code).name}"
        text = f"$ {shlex.join(self.args)}\n({how} after {self.seconds:.1f} s)"
        for name, stream in (("stdout", self.out), ("stderr", self.err)):
            if stream.strip():
                text += f"\n{name}:\n" + "\n".join("  " + s for s in stream.rstrip().split("\n")[-60:])
        return text

    def ok(self):
        """fails unless the program ended with 0; returns self"""
        check(not self.timed_out and self.code == 0, "the program should have succeeded", self)
        return self

    def fails(self, code, says=None):
        """fails unless it ended with `code` and, on standard error, a text that `says` (a regular expression)
        matches; returns self"""
        check(not self.timed_out and self.code == code, f"exit code {code} was wanted", self)
        if says:
            check(re.search(says, self.err), f"nothing on stderr matches {says!r}", self)
        return self

    def says(self, pattern):
        """fails unless the regular expression matches standard output; returns the match"""
        match = re.search(pattern, self.out, re.MULTILINE)
        check(match, f"nothing on stdout matches {pattern!r}", self)
        return match

    def json(self):
        """standard output, all of it, as JSON"""
        try:
            return json_module.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"stdout is not JSON: {error}\n{self.describe()}") from None


_prctl = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG = 1


def dies_with_us():
    """for Popen's preexec_fn: the child is killed when the calling thread ends, however that happens"""
    parent = os.getpid()

    def prepare():
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it has ended meanwhile
            os._exit(1)

    return prepare


class Running:
    """a program under way: see start()"""

    def __init__(self, name, *args, env=None, cwd=None, stdin=None):
        self.args = [program(name), *map(str, args)]
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._begin = time.monotonic()
        self.process = subprocess.Popen(
            self.args, stdin=stdin or subprocess.DEVNULL, stdout=self._out, stderr=self._err,
            env={**os.environ, **(env or {})}, cwd=cwd, start_new_session=True,
            preexec_fn=dies_with_us())

    @staticmethod
    def _text(file):
        # as much as there is: a buffer for more would cost, under meson's MALLOC_PERTURB_, a third of a second
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")

    def result(self, timed_out=False):
        return Result(self.args, self.process.returncode, self._text(self._out), self._text(self._err),
                      time.monotonic() - self._begin, timed_out)

    def wait_for(self, pattern, timeout=20):
        """waits until the regular expression matches stdout or stderr; returns the match"""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            over = self.process.poll() is not None
            match = re.search(pattern, self._text(self._out) + self._text(self._err), re.MULTILINE)
            if match:
                return match
            check(not over, f"it ended before it said {pattern!r}", self.result())
            check(time.monotonic() < deadline, f"it has not said {pattern!r} within {timeout} s", self.result(True))
            time.sleep(0.02)

    def busy(self):
        """seconds of processor time that it has used"""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_busy(self, seconds=1, timeout=60):
        """waits until it has used that much processor time, for a program that says nothing while it works"""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            check(self.process.poll() is None, "it ended before it did much", self.result())
            if self.busy() >= seconds * PATIENCE:
                return
            check(time.monotonic() < deadline, f"it has not used {seconds} s of processor time", self.result(True))
            time.sleep(0.02)

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def wait(self, timeout=30):
        """waits for its end; returns a Result, timed_out and killed when that does not come"""
        if self.process.poll() is None:
            end = os.pidfd_open(self.process.pid)  # Popen.wait(timeout) looks but every 50 ms
            ended = select.select([end], [], [], timeout * PATIENCE)[0]
            os.close(end)
            if not ended:
                self.kill()
                return self.result(True)
            self.process.wait()
        return self.result()

    def kill(self):
        """ends it with all its children"""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def start(name, *args, **options):
    """a program in the background, for `with`: a Running, killed at the end of the block if it still runs"""
    running = Running(name, *args, **options)
    try:
        yield running
    finally:
        running.kill()


def run(name, *args, timeout=60, **options):
    """runs a program to its end, killing it after `timeout` seconds; options: env (added), cwd, stdin"""
    with start(name, *args, **options) as running:
        return running.wait(timeout)


def main():
    """runs the cases of the calling file, reporting in TAP"""
    module = sys.modules["__main__"]
    cases = {n: f for n, f in vars(module).items() if n.startswith("test_") and callable(f)}
    unknown = [n for n in sys.argv[1:] if n not in cases]
    if unknown:
        sys.exit(f"no case {unknown[0]!r} here: there are {', '.join(cases)}")
    chosen = sys.argv[1:] or list(cases)
    if not sys.argv[1:] and os.environ.get("PLX_SHORT"):
        chosen = [n for n, f in cases.items() if not getattr(f, "long", False)]
        if not chosen:
            sys.exit("all cases are marked @plx.long: one has to run each time")
    failed = False
    print(f"1..{len(chosen)}", flush=True)
    for number, name in enumerate(chosen, 1):
        line, trouble, begin = f"ok {number} - {name}", "", time.monotonic()
        try:
            cases[name]()
        except Skip as reason:
            line += f" # SKIP {reason}"
        except AssertionError as error:
            where = traceback.extract_tb(error.__traceback__)[1:2]
            trouble = f"{error or 'assertion failed'}" + "".join(f"\nat line {w.lineno}: {w.line}" for w in where)
        except Exception:  # a broken test is a failed test
            trouble = traceback.format_exc()
        if trouble:
            line, failed = f"not {line}", True
        print(line)
        print(f"# {time.monotonic() - begin:.1f} s")
        print("".join(f"# {s}\n" for s in trouble.split("\n") if trouble), end="", flush=True)
    sys.exit(failed)
