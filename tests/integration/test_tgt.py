#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-tgt as a program: its command line, configurations, signals, and what it leaves behind."""
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import time

import plx
import tgt

NQN = "nqn.2016-06.io.pollux:disk1"


def refused(*args, says, code):
    """that exit code and one line that says what is wrong"""
    result = plx.run("plx-tgt", *args)
    plx.equal(result.code, code, "exit code", result)
    plx.check(re.fullmatch(r"plx-tgt: [^\n]+\n", result.err), "one line was wanted on stderr", result)
    for text in [says] if isinstance(says, str) else says:
        plx.check(text in result.err, f"the line lacks {text!r}", result)


def configuration(traddr):
    """bdevs on each other, and a subsystem that serves them in the directory"""
    def call(method, **params):
        return {"method": method, "params": params}

    return {"subsystems": [
        {"subsystem": "nvmf", "config": [
            call("nvmf_set_max_subsystems", max_subsystems=4),
            call("nvmf_create_transport", trtype="VFIOUSER", max_queue_depth=256),
            call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True, serial_number="S1", max_cntlid=99),
            call("nvmf_subsystem_add_host", nqn=NQN, host=NQN + ":host"),
            call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "M"}),
            call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "EE_D", "nsid": 7,
                                                              "nguid": "ABCDEF0123456789ABCDEF0123456789"}),
            call("nvmf_subsystem_add_listener", nqn=NQN,
                 listen_address={"trtype": "VFIOUSER", "traddr": traddr, "trsvcid": "0"})]},
        {"subsystem": "bdev", "config": [
            call("bdev_set_options", bdev_io_pool_size=4096),
            call("bdev_malloc_create", name="M", block_size=512, num_blocks=16384),
            call("bdev_null_create", name="N", block_size=4096, num_blocks=2048, md_size=8, dif_type=1),
            call("bdev_delay_create", name="D", base_bdev_name="N", avg_read_latency=3, p99_read_latency=9,
                 write_latency={"distribution": "normal", "mean_ns": 5000, "sigma_ns": 100}),
            call("bdev_error_create", base_name="D", seed=5)]},
        {"subsystem": "sock", "config": [call("sock_set_default_impl", impl_name="posix")]}]}


def write(path, config):
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def trid(target, name="vfu"):
    return f"trtype:VFIOUSER traddr:{target.directory / name}"


# ---- the command line ----

def test_command_lines_that_make_no_sense_are_refused_by_name():
    for args, says in ((["-x"], "'-x'"), (["--nosuch"], "'--nosuch'"), (["now"], "'now'"),
                       (["-m"], ["-m", "value"]), (["-m", "x"], ["-m", "x"]), (["-m", "0x0"], ["-m", "0x0"]),
                       (["-m", "[1023]"], ["-m", "1023"]), (["-s", "1"], ["-s", "'1'"]), (["-s", "lots"], "lots"),
                       (["-r", ""], "-r"), (["-L", "nosuch"], ["-L", "nosuch", "log_get_flags"])):
        refused(*args, says=says, code=2)


def test_help_and_version_need_nothing():
    plx.run("plx-tgt", "--help").ok().says("--wait-for-rpc")
    plx.run("plx-tgt", "-v").ok().says(r"^plx-tgt \d+\.\d+\.\d+$")


def test_cores_are_those_asked_for():
    core = max(os.sched_getaffinity(0))
    with tgt.start("-m", f"[{core}]") as target:
        reactors = target.call("framework_get_reactors")["reactors"]
        plx.equal([r["lcore"] for r in reactors], [core], "cores")
        plx.equal(reactors[0]["lw_threads"][0]["cpumask"], f"{1 << core:x}", "mask")
        target.running.wait_for(f"ready: cores {core},")


def test_little_memory_and_no_hugepages_are_enough():
    for args in (["--no-huge", "-s", "8"], ["--no-huge", "--mem-size", "16M"]):
        with tgt.start(*args) as target:
            target.running.wait_for(r"ready: .* (8|16) MiB in 4 KiB pages")
            target.call("bdev_malloc_create", name="M", block_size=512, num_blocks=131072)
            target.end().ok()


def test_it_runs_as_an_ordinary_user():
    if os.geteuid():
        plx.skip("it does already")
    with plx.scratch() as directory:
        os.chmod(directory, 0o777)
        program = shutil.copy(plx.program("plx-tgt"), directory)
        # that user may not read the list of what the sanitizer is to overlook
        unsanitized = {"ASAN_OPTIONS": "detect_leaks=0", "LSAN_OPTIONS": ""}
        with plx.start("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program,
                       "-r", directory + "/rpc.sock", env=unsanitized) as running:
            running.wait_for("plx-tgt: ready: ")
            target = tgt.Target(running, directory)
            client = target.connect()
            client.call("bdev_malloc_create", name="M", block_size=512, num_blocks=8)
            client.close()
            target.end().ok()


# ---- configurations ----

def observed(target):
    return [target.call(m) for m in ("bdev_get_bdevs", "nvmf_get_subsystems", "nvmf_get_transports")]


def test_a_configuration_saved_and_loaded_is_the_same():
    with plx.scratch() as directory:
        with tgt.start(directory=directory) as target:
            target.listen_dir()
            target.end().ok()
        path = target.directory / "conf.json"
        write(path, configuration(str(target.directory / "vfu")))
        with tgt.start("-c", path, directory=directory) as target:
            first, state = tgt.save(target.client), observed(target)
            plx.check(re.search(r"no subsystem 'sock'", target.running.result().err), "a subsystem is left out silently")
            result = plx.run("plx-rpc", "-s", target.path, "--save", directory + "/saved.json").ok()
            target.end().ok()
        saved = json.loads((target.directory / "saved.json").read_text())
        plx.equal(saved["subsystems"], first["subsystems"], "what plx-rpc saves", result)
        methods = [c["method"] for s in first["subsystems"] for c in s["config"]]
        for method in (c["method"] for s in configuration("")["subsystems"][:2] for c in s["config"]):
            plx.check(method in methods, f"{method} is not in what was saved: {methods}")
        with tgt.start("--json", directory + "/saved.json", directory=directory) as target:
            plx.equal(tgt.save(target.client), first, "the configuration saved again")
            plx.equal(observed(target), state, "what that makes")
            target.end().ok()
        with tgt.start("--wait-for-rpc", directory=directory) as target:
            plx.run("plx-rpc", "-s", target.path, "--load", directory + "/saved.json").ok()
            plx.equal(tgt.save(target.client), first, "the configuration that plx-rpc loaded")


def test_a_configuration_that_does_not_work_is_named():
    def bdev(*entries):
        return {"subsystems": [{"subsystem": "bdev", "config": list(entries)}]}

    with plx.scratch() as directory:
        path = pathlib.Path(directory) / "conf.json"
        for config, says in (
                ("{", "line 1"),
                ("[]", "subsystems"),
                ({"subsystems": [{"subsystem": "bdev", "config": {}}]}, ["'bdev'", "array"]),
                (bdev({"method": "bdev_nosuch"}), ["'bdev'", "bdev_nosuch"]),
                (bdev({"method": "bdev_null_create", "params": {"name": "N", "block_size": 512}}),
                 ["'bdev'", "bdev_null_create", "num_blocks"]),
                (bdev({"method": "bdev_null_create", "params": {"name": "N", "block_size": "512", "num_blocks": 1}}),
                 ["bdev_null_create", "block_size"]),
                (bdev({"method": "bdev_set_options", "params": {"bdev_io_pool_size": 0}}),
                 ["bdev_set_options", "bdev_io_pool_size"])):
            write(path, config)
            refused("-r", directory + "/rpc.sock", "-c", path, says=[str(path), *([says] if isinstance(says, str) else says)],
                    code=1)
            plx.check(not os.path.exists(directory + "/rpc.sock"), "it left its socket")
        refused("-r", directory + "/rpc.sock", "-c", directory + "/nowhere", says="nowhere", code=1)


def test_a_mask_of_groups_without_a_core_is_refused():
    config = {"subsystems": [{"subsystem": "nvmf", "config": [
        {"method": "nvmf_set_config", "params": {"poll_groups_mask": "[1000]"}}]}]}
    with plx.scratch() as directory:
        path = write(pathlib.Path(directory) / "conf.json", config)
        result = plx.run("plx-tgt", "-r", directory + "/rpc.sock", "-c", path)
        result.fails(1, says="poll_groups_mask")


def test_it_waits_for_the_start_when_told_to():
    with plx.scratch() as directory:
        os.mkdir(directory + "/vfu")
        path = write(pathlib.Path(directory) / "conf.json", configuration(directory + "/vfu"))
        with tgt.start("--wait-for-rpc", "-c", path, directory=directory) as target:
            target.running.wait_for("waits for framework_start_init")
            plx.check(not os.path.exists(directory + "/vfu/cntrl"), "it serves before its start")
            plx.equal(target.call("framework_start_init"), True, "start")
            target.running.wait_for("plx-tgt: ready: ")
            plx.check(os.path.exists(directory + "/vfu/cntrl"), "it does not serve after its start")
            target.end().ok()
        bad = configuration(directory + "/nowhere")
        with tgt.start("--wait-for-rpc", "-c", write(path, bad), directory=directory) as target:
            try:
                target.call("framework_start_init")
                raise AssertionError("a configuration that does not work was started")
            except tgt.Error as error:
                plx.check("nowhere" in error.message, f"why: {error.message}")
            target.running.wait().fails(1, says="nvmf_subsystem_add_listener.*nowhere")


# ---- the socket ----

def test_a_socket_in_use_is_not_taken():
    with tgt.start() as target:
        refused("-r", target.path, says=str(target.path), code=1)
        plx.check(target.call("spdk_get_version")["version"].startswith("pollux "), "the first one answers")


def test_a_socket_left_by_a_killed_program_is_replaced():
    with plx.scratch() as directory:
        os.mkdir(directory + "/vfu")
        path = write(pathlib.Path(directory) / "conf.json", configuration(directory + "/vfu"))
        for _ in range(2):
            with tgt.start("-c", path, directory=directory) as target:
                target.running.kill()
            plx.check(os.path.exists(directory + "/rpc.sock") and os.path.exists(directory + "/vfu/cntrl"), "sockets")
        with tgt.start("-c", path, directory=directory) as target:
            target.end().ok()
        plx.equal(sorted(f for f in os.listdir(directory) if ".sock" in f and "lock" not in f), [], "files left")
        plx.equal(os.listdir(directory + "/vfu"), [], "files left")


def test_clients_that_come_early_are_answered():
    with tgt.start(ready=False) as target:
        plx.check("fields" in target.call("spdk_get_version"), "answer")
        target.running.wait_for("plx-tgt: ready: ")


# ---- signals, and what it leaves ----

def test_sigterm_and_sigint_end_it_and_sighup_does_not():
    with tgt.start() as target:
        target.running.signal(signal.SIGHUP)
        plx.check("fields" in target.call("spdk_get_version"), "answer")
        target.end(signal.SIGINT).ok()
    with tgt.start() as target:
        plx.equal(target.call("spdk_kill_instance", sig_name="SIGTERM"), True, "answer")
        target.running.wait().ok()
        plx.check(not target.path.exists(), "it left its socket")


def test_an_end_under_load_drains_and_leaves_nothing():
    before = plx.leftovers()
    with plx.scratch() as directory:
        os.mkdir(directory + "/vfu")
        path = write(pathlib.Path(directory) / "conf.json", configuration(directory + "/vfu"))
        with tgt.start("-c", path, directory=directory) as target, \
                plx.start("plx-perf", "-q", "32", "-w", "randrw", "-M", "50", "-t", "60", "-o", "4096",
                          "-r", trid(target) + " ns:1") as perf:
            wait_for_io(target)
            target.end().ok()
            plx.check(perf.wait().code, "plx-perf has not noticed", perf.result())
        plx.equal(os.listdir(directory + "/vfu"), [], "files left")
    plx.equal(plx.leftovers() - before, set(), "left in /dev/shm and among hugepages")


def wait_until(condition, target):
    deadline = time.monotonic() + 30 * plx.PATIENCE
    while not condition():
        plx.check(time.monotonic() < deadline, "it does not come about", target.running.result(True))
        time.sleep(0.01)


def wait_for_io(target, name="M"):
    wait_until(lambda: target.call("bdev_get_iostat", name=name)["bdevs"][0]["num_read_ops"], target)


def test_a_second_signal_ends_it_at_once():
    with plx.scratch() as directory:
        os.mkdir(directory + "/vfu")
        config = configuration(directory + "/vfu")
        # an hour for each read: draining takes the second after which the device is reset
        config["subsystems"][1]["config"][3]["params"].update(avg_read_latency=3600000000, p99_read_latency=3600000000)
        path = write(pathlib.Path(directory) / "conf.json", config)
        with tgt.start("-c", path, directory=directory) as target, \
                plx.start("plx-perf", "-q", "4", "-w", "randread", "-t", "60", "-o", "4096",
                          "-r", trid(target) + " ns:7"):
            wait_until(lambda: target.call("bdev_get_iostat", name="D")["bdevs"][0]["queue_depth"], target)
            # both are there when it goes on, so that no end comes in between
            for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
                target.running.signal(number)
            result = target.running.wait()
            plx.equal(result.code, -signal.SIGTERM, "exit code", result)


# ---- what it is for ----

def test_devices_are_reached_by_perf_and_counted():
    with plx.scratch() as directory:
        os.mkdir(directory + "/vfu")
        path = write(pathlib.Path(directory) / "conf.json", configuration(directory + "/vfu"))
        with tgt.start("-c", path, directory=directory) as target, \
                plx.start("plx-perf", "-q", "4", "-w", "randread", "-t", "60", "-o", "4096",
                          "-r", trid(target) + " ns:1") as perf:
            wait_for_io(target)
            address = {"trtype": "VFIOUSER", "adrfam": "IPv4", "traddr": directory + "/vfu", "trsvcid": "0"}
            controllers = target.call("nvmf_subsystem_get_controllers", nqn=NQN)
            plx.equal([(c["cntlid"], c["listen_address"]) for c in controllers], [(1, address)], "controllers")
            plx.check(controllers[0]["num_io_qpairs"] >= 1, "I/O queues")
            qpairs = target.call("nvmf_subsystem_get_qpairs", nqn=NQN)
            plx.equal([q["qid"] for q in qpairs], list(range(1 + controllers[0]["num_io_qpairs"])), "queues")
            group = target.call("nvmf_get_stats")["poll_groups"][0]
            plx.equal((group["current_admin_qpairs"], group["current_io_qpairs"]), (1, len(qpairs) - 1), "queue pairs")
            plx.check(group["completed_nvme_io"] > 0, "commands completed")
            channels = target.call("bdev_get_iostat", name="M", per_channel=True)["channels"]
            plx.equal([c["thread_id"] for c in channels], [2], "threads of channels")
            names = [c["name"] for t in target.call("thread_get_io_channels")["threads"] for c in t["io_channels"]]
            plx.equal(sorted(names), ["D", "EE_D", "M", "N"], "channels")
            # who has no name is no longer welcome
            target.call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
            plx.check(perf.wait().code, "plx-perf has not noticed", perf.result())
            plx.equal(target.call("nvmf_subsystem_get_controllers", nqn=NQN), [], "controllers")
            stat = target.call("bdev_get_iostat", name="M", reset_mode="all")["bdevs"][0]
            plx.equal(stat["bytes_read"], stat["num_read_ops"] * 4096, "bytes")
            plx.equal(target.call("bdev_get_iostat", name="M")["bdevs"][0]["num_read_ops"], 0, "reads after the reset")


def test_changes_reach_a_host_that_is_connected():
    with plx.scratch() as directory:
        os.mkdir(directory + "/vfu")
        path = write(pathlib.Path(directory) / "conf.json", configuration(directory + "/vfu"))
        with tgt.start("-c", path, directory=directory) as target:
            perf = ("plx-perf", "-q", "4", "-w", "randread", "-t", "200ms", "-o", "4096", "-r", trid(target) + " ns:2")
            plx.check(plx.run(*perf).code, "there is no namespace 2 yet")
            plx.equal(target.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "M", "nsid": 2}), 2, "nsid")
            plx.run(*perf).ok()
            target.call("bdev_malloc_delete", name="M")
            names = [n["bdev_name"] for n in target.call("nvmf_get_subsystems", nqn=NQN)[0]["namespaces"]]
            plx.equal(names, ["EE_D"], "namespaces after their bdev has gone")
            plx.check(plx.run(*perf).code, "namespace 2 is still there")
            target.end().ok()


def test_errors_injected_reach_the_host():
    with plx.scratch() as directory:
        os.mkdir(directory + "/vfu")
        path = write(pathlib.Path(directory) / "conf.json", configuration(directory + "/vfu"))
        with tgt.start("-c", path, directory=directory) as target:
            target.call("bdev_error_inject_error", name="EE_D", io_type="read", error_type="failure", num=1000)
            result = plx.run("plx-perf", "-q", "1", "-w", "randread", "-t", "200ms", "-o", "4096", "--json", "-",
                             "-r", trid(target) + " ns:7")
            result.fails(1)
            errors = target.call("bdev_get_iostat", name="EE_D")["bdevs"][0]["io_error"]
            plx.check(errors.get("read"), f"errors: {errors}", result)
            target.call("bdev_error_inject_error", name="EE_D", io_type="clear", error_type="failure")
            plx.run(*result.args).ok()


def test_a_request_of_any_shape_is_answered():
    with tgt.start() as target:
        for text in (b"[]", b"{}", b'{"jsonrpc":"2.0","id":1}', b"[1,2]", b'{"jsonrpc":"2.0","id":1,"method":5}',
                     b'{"a":' * 200 + b"1" + b"}" * 200):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20 * plx.PATIENCE)
                s.connect(str(target.path))
                s.sendall(text)
                plx.check(b'"error"' in s.recv(65536), f"answer to {text[:40]!r}")
        plx.check("fields" in target.call("spdk_get_version"), "it answers afterwards")


def test_as_many_files_may_be_open_as_the_hard_limit_says():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with tgt.start() as target:
            has = resource.prlimit(target.running.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    plx.equal(has, (hard, hard), "limits of the target")


def test_a_target_does_not_outlive_the_test_that_started_it():
    script = ("import signal, tgt\n"
              "with tgt.start() as target:\n"
              "    print('target', target.running.process.pid, flush=True)\n"
              "    signal.pause()\n")
    with plx.start("/usr/bin/python3", "-c", script, env={"PYTHONPATH": os.path.dirname(plx.__file__)}) as running:
        target = os.pidfd_open(int(running.wait_for(r"^target (\d+)").group(1)))
        os.kill(running.process.pid, signal.SIGKILL)
        ended = select.select([target], [], [], 20 * plx.PATIENCE)[0]
        os.close(target)
    plx.check(ended, "the target goes on after its test was killed")


plx.main()
