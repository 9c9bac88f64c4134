# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt for tests: started on sockets of its own, asked by a client that is nothing but a socket and JSON."""
import contextlib
import json
import os
import pathlib
import socket
import time

import plx


class Error(Exception):
    """an answer that is an error: code, message"""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error}")
        self.code, self.message = error["code"], error["message"]


class Client:
    """one connection; call(method, **params) returns the result or raises Error"""

    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout * plx.PATIENCE)
        self.socket.connect(str(path))
        self.last_id, self.rest = 0, ""

    def send(self, method, params=None):
        self.last_id += 1
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method}
        if params is not None:
            request["params"] = params
        self.socket.sendall(json.dumps(request).encode())
        return self.last_id

    def receive(self):
        while True:
            with contextlib.suppress(ValueError):
                value, end = json.JSONDecoder().raw_decode(self.rest)
                self.rest = self.rest[end:].lstrip()
                return value
            data = self.socket.recv(65536)
            plx.check(data, f"the connection ended within an answer: {self.rest!r}")
            self.rest += data.decode()

    def request(self, method, params=None):
        number = self.send(method, params)
        answer = self.receive()
        plx.equal(answer["id"], number, "id of the answer")
        if "error" in answer:
            raise Error(method, answer["error"])
        return answer["result"]

    def call(self, method, **params):
        return self.request(method, params or None)

    def close(self):
        self.socket.close()


class Target:
    """a plx-tgt under way in a directory: running, path of the socket, client"""

    def __init__(self, running, directory):
        self.running, self.directory = running, pathlib.Path(directory)
        self.path = self.directory / "rpc.sock"
        self.client = None

    def connect(self):
        """waits for the socket; a new client"""
        deadline = time.monotonic() + 30 * plx.PATIENCE
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return Client(self.path)
            plx.check(self.running.process.poll() is None, "it ended before it listened", self.running.result())
            plx.check(time.monotonic() < deadline, "nobody listens", self.running.result(True))
            time.sleep(0.01)

    def call(self, method, **params):
        return self.client.call(method, **params)

    def listen_dir(self, name="vfu"):
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return str(path)

    def end(self, number=None):
        """SIGTERM, or that; how it ended"""
        self.running.signal(number or 15)
        return self.running.wait()


@contextlib.contextmanager
def start(*args, directory=None, ready=True, **options):
    """plx-tgt with these arguments, on `directory`/rpc.sock; waits until it is ready, or waits for framework_start_init"""
    with contextlib.ExitStack() as stack:
        directory = directory or stack.enter_context(plx.scratch())
        running = stack.enter_context(
            plx.start("plx-tgt", "-r", os.path.join(directory, "rpc.sock"), *args, **options))
        target = Target(running, directory)
        target.client = target.connect()
        stack.callback(target.client.close)
        if ready:
            running.wait_for(r"^plx-tgt: (ready|waits for framework_start_init): ")
        yield target


def save(client):
    """the configuration, as clients of the field save it"""
    return {"subsystems": [{"subsystem": s["subsystem"],
                            "config": client.call("framework_get_config", name=s["subsystem"])}
                           for s in client.call("framework_get_subsystems")]}
