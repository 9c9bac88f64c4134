#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-rpc as a user meets it: help and completion from the tables, what it refuses, what it sends, and what it makes of
answers, with a server in this file and, at the end, with plx-tgt."""
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import threading

import plx


def rpc(*args, **options):
    return plx.run("plx-rpc", *args, **options)


def refused(*args, says, code=2):
    """that exit code, one line that says what is wrong, nothing else"""
    result = rpc(*args)
    plx.equal(result.code, code, "exit code", result)
    plx.equal(result.out, "", "standard output", result)
    plx.check(re.fullmatch(r"plx-rpc: [^\n]+\n", result.err), "one line was wanted on stderr", result)
    plx.check(says in result.err, f"the line lacks {says!r}", result)


class Server:
    """answers requests with what `answer(method, params)` returns: a result, an Error, or bytes to send as they are"""

    class Error(Exception):
        pass

    def __init__(self, path, answer):
        self.path, self.answer, self.calls = path, answer, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                self.talk(self.socket.accept()[0])

    def talk(self, peer):
        text = b""
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(65536):
                text += data
                with contextlib.suppress(ValueError):
                    request = json.loads(text)
                    text = b""
                    reply = self.reply(request)
                    if reply is None:
                        return
                    peer.sendall(reply)

    def reply(self, request):
        params = request.get("params", {})
        self.calls.append((request["method"], params))
        response = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            response["result"] = self.answer(request["method"], params)
        except Server.Error as error:
            response["error"] = {"code": -19, "message": str(error)}
        raw = response.get("result")
        return raw if isinstance(raw, bytes) else None if raw is Server else json.dumps(response).encode() + b"\n"


@contextlib.contextmanager
def server(answer):
    with plx.scratch() as directory:
        s = Server(directory + "/rpc.sock", answer)
        try:
            yield s
        finally:
            s.socket.close()


# ---- what is refused before anything is sent ----

def test_command_lines_that_make_no_sense_are_refused_by_name():
    create = ["bdev_null_create", "--name", "n", "--num-blocks", "8", "--block-size", "512"]
    for args, says in (
            ([], "no method is named"),
            (["nosuch"], "'nosuch'"),
            (["nosuch", "--help"], "'nosuch'"),
            (["nosuch", "--colour", "red"], "--params"),
            (["--colour"], "'--colour'"),
            (["-x"], "'-x'"),
            (["-s"], "--socket needs a value"),
            (["-t"], "--timeout needs a value"),
            (["-t", "soon", "log_get_flags"], "'soon'"),
            (["-t", "0", "log_get_flags"], "'0'"),
            (["-t", "nan", "log_get_flags"], "'nan'"),
            (["--json=1", "log_get_flags"], "--json takes no value"),
            (["--methods", "--docs"], "leave one out"),
            (["--methods", "log_get_flags"], "'log_get_flags'"),
            (["--completion"], "bash"),
            (["--completion", "tcsh"], "'tcsh'"),
            (["--load"], "--load needs a file"),
            (["--save", ""], "empty"),
            (["log_get_flags", "--colour", "red"], "--colour: there is no such parameter"),
            (["log_set_level", "NOTICE"], "'NOTICE' stands alone"),
            (["log_set_level"], "level: it is missing"),
            (["log_set_level", "--level"], "--level: it needs a value"),
            (["log_set_level", "--level", "--json"], "--level: it needs a value"),
            (["log_set_level", "--level", "loud"], '"loud" is not known here: use ERROR'),
            (["log_set_level", "--no-level"], "--no-level"),
            (["log_set_level", "--level", "INFO", "--level", "INFO"], "given before"),
            (["log_set_level", "--level.part", "INFO"], "has no parts"),
            (["log_set_level", "--level", "\udcff"], "no UTF-8"),
            (["log_enable_timestamps", "--enabled=maybe", "--enabled"], "given before"),
            (["log_enable_timestamps", "--no-enabled", "true"], "it takes no value"),
            ([*create, "--md-size", "x"], "--md-size: 'x' is no whole number"),
            ([*create, "--md-size", ""], "--md-size: '' is no whole number"),
            ([*create, "--md-size", "0x"], "'0x' is no whole number"),
            ([*create, "--md-size", "1.5"], "1.5 is no whole number"),
            ([*create, "--md-size", "inf"], "'inf' is no whole number"),
            ([*create, "--md-size", "-1"], "md_size: -1 is out of range"),
            ([*create, "--md-size", "99999999999999999999"], "out of range"),
            (["bdev_get_iostat", "--params", "{"], "this is no JSON"),
            (["bdev_get_iostat", "--params", "[]"], "this is no object"),
            (["bdev_get_iostat", "--params"], "--params needs"),
            (["bdev_get_iostat", "--params", '{"x": 1}'], "x: there is no such parameter"),
            (["bdev_get_iostat", "--params", "{}", "--name", "a"], "--params before it"),
            (["bdev_get_iostat", "--name", "a", "--params", "{}"], "parameters before it"),
            (["bdev_get_iostat", "--names", "a", "--names", '["b"]'], "all of it at once"),
            (["bdev_get_iostat", "--names", "["], "no JSON"),
            (["-s", "x" * 200, "log_get_flags"], "107")):
        refused(*args, says=says, code=1 if "107" in says else 2)


def test_control_characters_do_not_reach_the_terminal():
    refused("a\nb\x1b[31m", says="'a?b?[31m'")


def test_a_server_that_is_not_there_is_named_with_a_remedy():
    with plx.scratch() as directory:
        refused("-s", directory + "/none.sock", "log_get_flags", code=1, says="start plx-tgt, or name its socket with -s")
        with socket.socket(socket.AF_UNIX) as s:  # bound, and nobody listens
            s.bind(directory + "/stale.sock")
        refused("-s", directory + "/stale.sock", "log_get_flags", code=1, says="start plx-tgt")


# ---- what the tables say ----

def test_help_lists_options_and_methods_by_group():
    result = rpc("--help").ok()
    for word in ("--save", "--load", "--completion", "--timeout", "/var/tmp/spdk.sock"):
        plx.check(word in result.out, f"no {word}", result)
    result.says(r"^log:\n(  log_\w+\n)+")
    plx.equal(rpc("-h").out, result.out, "-h")


def test_help_of_a_method_shows_its_parameters():
    result = rpc("log-set-level", "--help").ok()
    result.says(r"^usage: plx-rpc log_set_level --level WORD ")
    result.says(r"^  --level WORD .*")
    result.says(r"required")
    plx.equal(rpc("--help", "log_set_level").out, result.out, "--help before the method")
    rpc("log_get_flags", "--help").ok().says(r"^usage: plx-rpc log_get_flags\n")


def test_every_method_is_listed_has_help_and_is_in_the_docs():
    names = [line.split()[0] for line in rpc("--methods").ok().out.splitlines()]
    docs = rpc("--docs").ok().out
    plx.check("rpc_get_methods" in names and names == sorted(names), f"methods: {names}")
    for name in names:
        rpc(name, "--help").ok().says(f"^usage: plx-rpc {name}\\b")
        plx.check(f"\n#### {name}\n" in docs, f"{name} is not in --docs")
    for line in docs.splitlines():
        if line.startswith("| `"):
            plx.equal(len(re.findall(r"(?<!\\)\|", line)), 6, f"bars in {line!r}")


def complete(*words):
    """what bash offers after these words, the last of which is under way"""
    script = (rpc("--completion", "bash").ok().out +
              f"COMP_WORDS=({shlex.join(('plx-rpc',) + words)}); COMP_CWORD={len(words)}; _plx_rpc\n"
              'printf "%s\\n" "${COMPREPLY[@]}"\n')
    result = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60)
    plx.equal(result.stderr, "", "what bash complains of")
    return result.stdout.split()


def test_bash_completes_methods_parameters_and_words():
    plx.equal(complete("rpc_get_m"), ["rpc_get_methods"], "a method")
    plx.equal(complete("-s", "rpc_x", "log_set_l"), ["log_set_level"], "a method behind an option's value")
    plx.equal(complete("--comp"), ["--completion"], "an option")
    plx.equal(complete("--completion", ""), ["bash"], "a shell")
    plx.equal(complete("log_set_level", "--l"), ["--level"], "a parameter")
    plx.equal(complete("log-set-level", "--level", "W"), ["WARNING"], "a word")
    plx.equal(complete("rpc_get_methods", "--no-c"), ["--no-current"], "a negated flag")


# ---- what is sent, and what comes of the answer ----

def test_parameters_are_sent_as_the_table_has_them():
    with server(lambda method, params: True) as s:
        for args, method, params in (
                (["log_get_flags"], "log_get_flags", {}),
                (["log-set-level", "--level", "info"], "log_set_level", {"level": "info"}),
                (["log_set_level", "--level=INFO"], "log_set_level", {"level": "INFO"}),
                (["rpc_get_methods", "--current"], "rpc_get_methods", {"current": True}),
                (["rpc_get_methods", "--no-include-aliases", "--current", "false"], "rpc_get_methods",
                 {"include_aliases": False, "current": False}),
                (["rpc_get_methods", "--include_aliases=true"], "rpc_get_methods", {"include_aliases": True}),
                (["bdev_null_create", "--name", "1", "--num-blocks", "0x10", "--block_size", "512"], "bdev_null_create",
                 {"name": "1", "num_blocks": 16, "block_size": 512}),
                (["bdev_get_iostat", "--names", "a", "--names", "b"], "bdev_get_iostat", {"names": ["a", "b"]}),
                (["bdev_get_iostat", "--name=--x"], "bdev_get_iostat", {"name": "--x"}),
                (["bdev_get_iostat", "--names", '["a"]'], "bdev_get_iostat", {"names": ["a"]}),
                (["log_set_level", "--params", '{"level": "INFO"}'], "log_set_level", {"level": "INFO"}),
                (["only_there", "--params", '{"a": [1, {"b": null}]}'], "only_there", {"a": [1, {"b": None}]}),
                (["only_there", "--params", "{}"], "only_there", {})):
            s.calls.clear()
            plx.equal(rpc("-s", s.path, *args).ok().out, "true\n", "standard output")
            plx.equal(s.calls, [(method, params)], f"what {args} sent")


def test_results_are_printed_for_people_and_for_programs():
    results = {"text": "a \u00fc\n", "object": {"b": 1, "a": [True, None]}, "number": 7, "real": 0.1}
    with server(lambda method, params: results[method]) as s:
        plx.equal(rpc("-s", s.path, "text", "--params", "{}").ok().out, "a \u00fc\n\n", "a string")
        plx.equal(rpc("-s", s.path, "--json", "text", "--params", "{}").ok().json(), "a \u00fc\n", "a string as JSON")
        plx.equal(rpc("-s", s.path, "object", "--params", "{}").ok().out,
                  '{\n  "b": 1,\n  "a": [\n    true,\n    null\n  ]\n}\n', "an object")
        plx.equal(rpc("-s", s.path, "number", "--params", "{}").ok().out, "7\n", "a number")
        plx.equal(rpc("-s", s.path, "real", "--params", "{}").ok().out, "0.1\n", "a real number")


def test_answers_that_are_none_end_with_code_1():
    def fail(method, params):
        raise Server.Error("log_get_flags: there is no such thing")

    with server(fail) as s:
        refused("-s", s.path, "log_get_flags", code=1, says="log_get_flags: there is no such thing (code -19)")
    with server(lambda *_: Server) as s:
        refused("-s", s.path, "log_get_flags", code=1, says="the server ended the connection")
    with server(lambda *_: b'{"jsonrpc":"2.0","id":77,"result":1}') as s:
        refused("-s", s.path, "log_get_flags", code=1, says="no JSON-RPC server")
    with server(lambda *_: b"HTTP/1.1 400 Bad Request\r\n") as s:
        refused("-s", s.path, "log_get_flags", code=1, says="the answer is no JSON")
    with server(lambda *_: b'{"jsonrpc":') as s:
        refused("-s", s.path, "-t", "0.2", "log_get_flags", code=1, says="no answer within 0.2 s")


def test_a_long_answer_arrives_whole():
    with server(lambda *_: ["x" * 1000] * 5000) as s:
        plx.equal(rpc("-s", s.path, "log_get_flags").ok().json(), ["x" * 1000] * 5000, "the answer")


# ---- configurations ----

class Target:
    """a server with two states and three methods, as far as a configuration is concerned"""

    def __init__(self, runs):
        self.runs, self.log = runs, []

    def __call__(self, method, params):
        early, late = ["early"], ["late"]
        if method == "rpc_get_methods":
            both = ["rpc_get_methods", "any"]
            if not params.get("current"):
                return both + early + late + ["framework_start_init", "framework_get_config"]
            return both + (late if self.runs else early + ["framework_start_init"])
        if method == "framework_get_subsystems":
            return [{"subsystem": "a", "depends_on": []}, {"subsystem": "b", "depends_on": ["a"]}]
        if method == "framework_get_config":
            return [{"method": "late", "params": {"n": 1}}] if params["name"] == "a" else None
        if method == "framework_start_init":
            self.runs = True
        if params.get("n") == "bad":
            raise Server.Error("late: n: bad is bad")
        self.log.append((method, params.get("n")))
        return True


def entry(method, n):
    return {"method": method, "params": {"n": n}}


CONFIG = {"subsystems": [
    {"subsystem": "a", "config": [entry("late", 1), entry("early", 2)]},
    {"subsystem": "b", "config": None},
    {"subsystem": "sock", "config": [entry("sock_impl_set_options", 3)]},
    {"subsystem": "c", "config": [entry("late", 4), {"method": "any"}]}]}


@contextlib.contextmanager
def written(content):
    with plx.scratch() as directory:
        path = directory + "/config.json"
        with open(path, "w") as f:
            f.write(content if isinstance(content, str) else json.dumps(content))
        yield path


def test_load_starts_a_program_that_waits_and_applies_each_entry_once():
    target = Target(runs=False)
    with server(target) as s, written(CONFIG) as path:
        result = rpc("-s", s.path, "--load", path).ok()
        plx.check("no subsystem 'sock'" in result.err, "what is left out is to be said", result)
    plx.equal(target.log, [("early", 2), ("any", None), ("framework_start_init", None), ("late", 1), ("late", 4)],
              "what was called")


def test_load_applies_to_a_running_program_from_standard_input():
    target = Target(runs=True)
    with server(target) as s, written({"subsystems": [{"subsystem": "a", "config": [entry("late", 1)]}]}) as path:
        with open(path) as f:
            rpc("-s", s.path, "--load", "-", stdin=f).ok()
    plx.equal(target.log, [("late", 1)], "what was called")


def test_load_stops_at_the_first_error():
    target = Target(runs=True)
    config = {"subsystems": [{"subsystem": "a", "config": [entry("late", 1), entry("late", "bad"), entry("late", 2)]}]}
    with server(target) as s, written(config) as path:
        refused("-s", s.path, "--load", path, code=1, says="subsystem 'a': entry 1: late: n: bad is bad")
    plx.equal(target.log, [("late", 1)], "what was called")


def test_load_says_what_a_running_program_no_longer_takes():
    with server(Target(runs=True)) as s, written({"subsystems": [{"subsystem": "a", "config": [entry("early", 1)]}]}) as path:
        refused("-s", s.path, "--load", path, code=1, says="early may be called only before the server runs")


def test_load_refuses_what_is_no_configuration_before_anything_is_sent():
    target = Target(runs=True)
    for content, says, code in (
            ("{", "line 1: this is no JSON", 2),
            ("[]", "", 2),
            ({"subsystems": 1}, "subsystems", 2),
            ({"subsystems": [{"config": []}]}, "subsystem", 2),
            ({"subsystems": [{"subsystem": "a", "config": {}}]}, "config", 2),
            ({"subsystems": [{"subsystem": "a", "config": [entry("late", 1), 7]}]}, "entry 1", 2),
            ({"subsystems": [{"subsystem": "a", "config": [{"method": "late", "params": []}]}]}, "entry 0", 2),
            ({"subsystems": [{"subsystem": "a", "config": [entry("late", 1), entry("typo", 1)]}]}, "'typo'", 1)):
        with server(target) as s, written(content) as path:
            refused("-s", s.path, "--load", path, code=code, says=says)
    plx.equal(target.log, [], "what was called")
    refused("--load", "/nonexistent/file", says="/nonexistent/file")


def test_save_writes_every_subsystem():
    wanted = {"subsystems": [{"subsystem": "a", "config": [entry("late", 1)]}, {"subsystem": "b", "config": None}]}
    with server(Target(runs=True)) as s, plx.scratch() as directory:
        plx.equal(rpc("-s", s.path, "--save").ok().json(), wanted, "on standard output")
        plx.equal(rpc("-s", s.path, "--save", "-").ok().json(), wanted, "for -")
        path = directory + "/saved.json"
        plx.equal(rpc("-s", s.path, "--save", path).ok().out, "", "standard output")
        with open(path) as f:
            plx.equal(json.load(f), wanted, "in the file")
        plx.equal(os.listdir(directory), ["saved.json"], "what is there")


def test_save_keeps_the_old_file_when_it_fails():
    with server(Target(runs=True)) as s, plx.scratch() as directory:
        refused("-s", s.path, "--save", directory + "/none/saved.json", code=1, says="cannot be written")

    def refuse(method, params):
        raise Server.Error("not now")

    with server(refuse) as s, written("precious") as path:
        refused("-s", s.path, "--save", path, code=1, says="not now")
        with open(path) as f:
            plx.equal(f.read(), "precious", "the file")


# ---- with plx-tgt ----

@contextlib.contextmanager
def target(*args):
    """a plx-tgt; gives a function that calls plx-rpc for it, and a directory"""
    with plx.scratch() as directory:
        path = directory + "/tgt.sock"
        with plx.start("plx-tgt", "-r", path, "--no-huge", *args) as running:
            running.wait_for("waits for framework_start_init|ready")
            yield lambda *call: rpc("-s", path, *call), directory
            running.signal(signal.SIGTERM)
            plx.equal(running.wait().code, 0, "exit code of plx-tgt", running.result())


def configuration(directory):
    nqn = {"nqn": "nqn.2024-01.io.pollux:a"}
    calls = {
        "bdev": [("bdev_set_options", {"bdev_io_cache_size": 128}),
                 ("bdev_malloc_create", {"name": "m0", "num_blocks": 2048, "block_size": 4096}),
                 ("bdev_null_create", {"name": "n0", "num_blocks": 1024, "block_size": 512})],
        "nvmf": [("nvmf_create_transport", {"trtype": "VFIOUSER"}),
                 ("nvmf_create_subsystem", {**nqn, "allow_any_host": True}),
                 ("nvmf_subsystem_add_ns", {**nqn, "namespace": {"bdev_name": "m0", "nsid": 3}}),
                 ("nvmf_subsystem_add_listener", {**nqn, "listen_address": {"trtype": "VFIOUSER", "traddr": directory}})]}
    return {"subsystems": [{"subsystem": name, "config": [{"method": m, "params": p} for m, p in list_]}
                           for name, list_ in calls.items()]}


def test_a_configuration_saved_and_loaded_is_the_same():
    with plx.scratch() as kept:
        with target("--wait-for-rpc") as (call, directory), written(configuration(kept)) as path:
            call("--load", path).ok()
            saved = call("--save").ok()
            plx.equal([b["name"] for b in call("bdev_get_bdevs").ok().json()], ["m0", "n0"], "bdevs")
        for wanted in ("m0", "n0", "nqn.2024-01.io.pollux:a", '"nsid": 3', kept):
            plx.check(wanted in saved.out, f"{wanted} was not saved", saved)
        with target("--wait-for-rpc") as (call, directory), written(saved.out) as path:
            call("--load", path).ok()
            plx.equal(call("--save").ok().json(), saved.json(), "the configuration saved again")


def test_a_target_says_what_was_wrong_with_a_call():
    with target("--wait-for-rpc") as (call, directory):
        call("bdev_null_create", "--name", "n", "--num-blocks", 8, "--block-size", 512).fails(1, "framework_start_init first")
        call("framework_start_init").ok()
        plx.equal(call("bdev-null-create", "--name", "n", "--num-blocks", 8, "--block-size", 512).ok().out, "n\n", "its name")
        call("bdev_null_create", "--name", "n", "--num-blocks", 8, "--block-size", 512).fails(1, "bdev_null_create: n: there is a bdev of that name")
        call("bdev_set_options", "--bdev-io-cache-size", 1).fails(1, "--wait-for-rpc")
        call("bdev_get_bdevs", "--name", "absent").fails(1, "'absent'")
        call("nvmf_subsystem_add_listener", "--nqn", "nqn.2024-01.io.pollux:none", "--listen-address.trtype", "VFIOUSER",
             "--listen-address.traddr", directory).fails(1, "pollux:none")


def test_the_tables_of_plx_rpc_are_those_of_plx_tgt():
    with target() as (call, directory):
        plx.equal(call("rpc_get_methods").ok().json(), [line.split()[0] for line in rpc("--methods").ok().out.splitlines()],
                  "methods")


plx.main()
