# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt for tests: started, configured over JSON-RPC as its clients do, looked at from outside."""
import json
import os
import pathlib
import re
import socket
import time

import plx


class RpcError(Exception):
    def __init__(self, method, error):
        super().__init__(f"{method}: {error}")
        self.code = error.get("code")


class Target:
    """a running plx-tgt; sockets in a directory of its own"""

    def __init__(self, *args):
        self.scratch = plx.scratch()
        self.dir = pathlib.Path(self.scratch.name)
        self.rpc_path = str(self.dir / "rpc.sock")
        self.running = plx.Running("plx-tgt", "-m", "0x1", "-r", self.rpc_path, *args)
        try:
            self._rpc = self._connect()
        except BaseException:
            self.stop()
            raise
        self.requests, self.rest = 0, ""

    @property
    def pid(self):
        return self.running.process.pid

    def _connect(self):
        deadline = time.monotonic() + 30 * plx.PATIENCE
        while True:
            self.alive()
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(30 * plx.PATIENCE)
            try:
                sock.connect(self.rpc_path)
                return sock
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
            plx.check(time.monotonic() < deadline, "plx-tgt does not listen", self.running.result(True))
            time.sleep(0.02)

    def alive(self):
        plx.check(self.running.process.poll() is None, "plx-tgt ended", self.running.result())

    def rpc(self, method, **params):
        """the result of a method; RpcError"""
        self.requests += 1
        request = {"jsonrpc": "2.0", "id": self.requests, "method": method}
        self._rpc.sendall(json.dumps({**request, "params": params} if params else request).encode())
        decoder = json.JSONDecoder()
        while True:
            self.rest = self.rest.lstrip()
            try:
                answer, end = decoder.raw_decode(self.rest)
                break
            except ValueError:
                data = self._rpc.recv(1 << 20)
                if not data:
                    self.alive()
                    raise AssertionError(f"plx-tgt closed the connection at {method}") from None
                self.rest += data.decode()
        self.rest = self.rest[end:]
        plx.equal(answer.get("id"), self.requests, "id of the answer")
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]

    def serve(self, name, bdevs, nqn=None):
        """a subsystem with these namespaces behind a vfio-user socket; returns its directory"""
        traddr = self.dir / name
        traddr.mkdir()
        nqn = nqn or f"nqn.2016-06.io.spdk:{name}"
        self.rpc("nvmf_create_subsystem", nqn=nqn, allow_any_host=True, serial_number="FOREIGN", model_number="target")
        for bdev in bdevs:
            self.rpc("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": bdev})
        self.rpc("nvmf_subsystem_add_listener", nqn=nqn,
                 listen_address={"trtype": "VFIOUSER", "traddr": str(traddr), "trsvcid": "0"})
        return traddr

    def fds(self):
        """what its descriptors are, sorted"""
        names = []
        for entry in os.scandir(f"/proc/{self.pid}/fd"):
            try:
                names.append(re.sub(r":\[\d+\]$| \(deleted\)$", "", os.readlink(entry.path)))
            except FileNotFoundError:
                pass
        return sorted(names)

    def maps(self, what):
        """how many of its memory mappings are of files with that in their name"""
        return sum(what in line for line in pathlib.Path(f"/proc/{self.pid}/maps").read_text().split("\n"))

    def resident(self):
        """KiB"""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def stop(self):
        """SIGTERM; its Result"""
        try:
            self.running.signal(15)
            return self.running.wait()
        finally:
            self.running.kill()
            self.scratch.cleanup()
