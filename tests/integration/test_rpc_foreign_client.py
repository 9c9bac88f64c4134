#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt asked by a JSON-RPC client of another project, jsonrpclib-pelix: it makes the requests and judges the
answers. It speaks HTTP by itself; here its messages go over the socket as they are, in pieces that are chosen."""
import contextlib
import json
import socket

import plx
import tgt

try:
    import jsonrpclib
    from jsonrpclib.jsonrpc import ProtocolError
except ImportError:
    jsonrpclib = None

NO_METHOD, INVALID_PARAMS = -32601, -32602


class Transport:
    """what the client takes for its connection"""

    def __init__(self, path, piece=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30 * plx.PATIENCE)
        self.socket.connect(str(path))
        self.piece, self.rest = piece, ""

    def push_headers(self, headers):
        """there are none"""

    pop_headers = push_headers

    def send(self, data):
        step = self.piece or len(data)
        for at in range(0, len(data), step):
            self.socket.sendall(data[at:at + step])

    def receive(self):
        """the text of one answer"""
        while True:
            with contextlib.suppress(ValueError):
                _, end = json.JSONDecoder().raw_decode(self.rest)
                text, self.rest = self.rest[:end], self.rest[end:].lstrip()
                return text
            data = self.socket.recv(1 << 16)
            plx.check(data, "the connection was closed")
            self.rest += data.decode()

    def request(self, host, handler, request_body, verbose=0):
        data = request_body if isinstance(request_body, bytes) else request_body.encode()
        self.send(data)
        request = json.loads(data)
        requests = request if isinstance(request, list) else [request]
        return self.receive() if any("id" in r for r in requests) else ""


@contextlib.contextmanager
def target():
    if not jsonrpclib:
        plx.skip("python3-jsonrpclib-pelix is not installed")
    with tgt.start("-m", "0x1", "-s", "64", "--no-huge") as running:
        yield running


def client(running, **options):
    return jsonrpclib.ServerProxy("http://pollux/", transport=Transport(running.path, **options), version=2.0)


def refused(call, code, says):
    try:
        call()
    except ProtocolError as error:
        got = error.args[0]
        plx.equal(got[0], code, "code of the error")
        plx.check(says in got[1], f"{got[1]!r} does not say {says!r}")
        return
    raise AssertionError(f"no error {code}")


def test_methods_and_their_errors():
    with target() as running:
        rpc = client(running)
        plx.check("version" in rpc.spdk_get_version(), "no version")
        plx.check("bdev_malloc_create" in rpc.rpc_get_methods(), "no list of methods")
        plx.equal(rpc.bdev_malloc_create(name="M", block_size=512, num_blocks=2048), "M", "name")
        plx.equal([b["num_blocks"] for b in rpc.bdev_get_bdevs(name="M")], [2048], "blocks")
        plx.equal(rpc.framework_wait_init(), True, "a method without parameters")
        refused(lambda: rpc.no_such_method(), NO_METHOD, "no_such_method")
        refused(lambda: rpc.bdev_malloc_create(name="M", block_size="512", num_blocks=1), INVALID_PARAMS, "block_size")
        refused(lambda: rpc.bdev_malloc_create(name="M"), INVALID_PARAMS, "block_size")
        refused(lambda: rpc.bdev_get_bdevs("M"), INVALID_PARAMS, "")  # by position
        refused(lambda: rpc.bdev_get_bdevs(name="absent"), -19, "absent")
        plx.equal(rpc.bdev_malloc_delete(name="M"), True, "result")


def test_requests_in_pieces():
    names = ["plain", "\u00e4\u2603\U0001f600", "quote \" backslash \\ brace } bracket ]"]
    with target() as running:
        for piece in (1, 2, 3, 7, 16, 61):
            rpc = client(running, piece=piece)
            for name in names:
                plx.equal(rpc.bdev_null_create(name=name, block_size=512, num_blocks=8), name, f"name, by {piece} bytes")
                plx.equal(rpc.bdev_get_bdevs(name=name)[0]["name"], name, f"name read back, by {piece} bytes")
                plx.equal(rpc.bdev_null_delete(name=name), True, "result")


def test_several_requests_in_one_piece():
    with target() as running:
        for piece in (None, 97):
            transport = Transport(running.path, piece=piece)
            ids = [f"id-{n}" for n in range(100)]
            # with white space between them, and without
            texts = [jsonrpclib.dumps([], "spdk_get_version", version=2.0, rpcid=i) for i in ids]
            transport.send("".join(t + ("\n " if n % 3 else "") for n, t in enumerate(texts)).encode())
            answers = [jsonrpclib.loads(transport.receive()) for _ in ids]
            plx.equal([a["id"] for a in answers], ids, "identifiers, in order")
            plx.check(all("version" in a["result"] for a in answers), "no version")


def test_batches():
    with target() as running:
        for piece in (None, 5):
            rpc = client(running, piece=piece)
            batch = jsonrpclib.MultiCall(rpc)
            batch.bdev_null_create(name="A", block_size=512, num_blocks=8)
            batch._notify.bdev_null_create(name="B", block_size=512, num_blocks=8)
            batch.bdev_null_create(name="A", block_size=512, num_blocks=8)
            batch.bdev_get_bdevs()
            results = batch()
            plx.equal(len(results), 3, "answers: a notification gets none")
            plx.equal(results[0], "A", "first result")
            refused(lambda: results[1], -17, "A")
            plx.equal(sorted(b["name"] for b in results[2]), ["A", "B"], "devices")
            for name in "AB":
                rpc.bdev_null_delete(name=name)


def test_notifications_get_no_answer():
    with target() as running:
        rpc = client(running)
        rpc._notify.bdev_null_create(name="N", block_size=512, num_blocks=8)
        rpc._notify.no_such_method()
        plx.equal([b["name"] for b in rpc.bdev_get_bdevs()], ["N"], "devices")


def test_clients_beside_each_other():
    with target() as running:
        clients = [client(running, piece=1 + n % 5) for n in range(32)]
        for n, rpc in enumerate(clients):
            rpc.bdev_null_create(name=f"N{n}", block_size=512, num_blocks=8)
        for n, rpc in enumerate(reversed(clients)):
            plx.equal(rpc.bdev_get_bdevs(name=f"N{n}")[0]["name"], f"N{n}", "device")


plx.main()
