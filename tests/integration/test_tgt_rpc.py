#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every method of plx-tgt: a call that succeeds, each parameter of the wrong type or out of range, each required one
missing, one that is unknown. The parameters are those of docs/rpc.md, which ci/docs keeps true to the tables; a method
without a case here is an error."""
import copy
import re
import time

import plx
import tgt

NQN = "nqn.2016-06.io.pollux:disk1"
UUID = "913fc008-79a7-447f-b2c4-c73543638c31"
INVALID_PARAMS, INVALID_STATE, NO_METHOD = -32602, -1, -32601


# ---- what docs/rpc.md says ----

def documented():
    """method -> [(path, type, required)], in order"""
    methods, rows = {}, None
    for line in (plx.SOURCE / "docs/rpc.md").read_text().splitlines():
        if line.startswith("#### "):
            rows = methods[line[5:].strip("`")] = []
        elif rows is not None and line.startswith("| `"):
            cells = [c.strip() for c in line.strip("|").split(" | ")]
            rows.append((cells[0].strip("`"), cells[1], cells[2] == "yes"))
    return methods


DOCS = documented()


def wrong_values(kind):
    """values that a parameter of this type must not have"""
    if kind == "string":
        return [5, True, [], {}, None]
    if kind == "true or false":
        return [0, "true", [], None]
    if kind.startswith("whole number"):
        values = ["1", 1.5, True, [], None, 1e30, -(1 << 62)]
        limits = re.search(r"(-?\d+) to (\d+)$", kind)
        return values + ([int(limits[1]) - 1, int(limits[2]) + 1] if limits else [-1])
    if kind == "number":
        return ["1", True, [], None]
    if kind == "object":
        return ["x", 1, [], None]
    if kind == "array of strings":
        return ["x", 1, {}, [1], None]
    # words
    return [1, True, "no such word", "", None]


def put(params, path, value):
    """a copy of params with `value` at `path`, "listen_address.trtype"; without it where value is ..."""
    changed = copy.deepcopy(params)
    *ways, last = path.split(".")
    at = changed
    for way in ways:
        at = at.setdefault(way, {})
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return changed


# ---- a call of each method that succeeds, in this order: method, parameters, what the result must be ----

def has(*names):
    def check(result):
        first = result[0] if isinstance(result, list) else result
        missing = [n for n in names if n not in first]
        return f"lacks {missing}" if missing else None
    return check


def is_(wanted):
    return lambda result: None if result == wanted else f"is not {wanted!r}"


def lists(name, value):
    return lambda result: None if any(r.get(name) == value for r in result) else f"has none with {name} {value!r}"


BDEV_FIELDS = ("name", "aliases", "product_name", "block_size", "num_blocks", "uuid", "assigned_rate_limits", "claimed",
               "zoned", "supported_io_types", "driver_specific")
IOSTAT_FIELDS = ("name", "bytes_read", "num_read_ops", "bytes_written", "num_write_ops", "bytes_unmapped",
                 "num_unmap_ops", "read_latency_ticks", "write_latency_ticks", "unmap_latency_ticks", "queue_depth")


def startup_cases(_):
    return [
        ("bdev_set_options", {"bdev_io_pool_size": 65535, "bdev_io_cache_size": 256, "bdev_auto_examine": False},
         is_(True)),
        ("nvmf_set_max_subsystems", {"max_subsystems": 8}, is_(True)),
        ("nvmf_set_config", {"admin_cmd_passthru": {"identify_ctrlr": False}, "poll_groups_mask": "[0-1023]",
                             "discovery_filter": "match_any", "dhchap_digests": ["sha256"],
                             "dhchap_dhgroups": ["null"], "acceptor_poll_rate": 1000}, is_(True)),
        ("framework_start_init", {}, is_(True)),
    ]


def runtime_cases(target):
    address = {"trtype": "VFIOUSER", "traddr": target.listen_dir(), "adrfam": "IPv4", "trsvcid": "0"}
    latencies = {f"{k}_{w}_latency": 10 for k in ("avg", "p99") for w in ("read", "write")}
    return [
        ("rpc_get_methods", {"current": True}, None),
        ("log_get_flags", {}, has("bdev", "nvmf", "rpc")),
        ("log_set_flag", {"flag": "rpc"}, is_(True)),
        ("log_clear_flag", {"flag": "rpc"}, is_(True)),
        ("log_set_level", {"level": "ERROR"}, is_(True)),
        ("log_get_level", {}, is_("ERROR")),
        ("log_set_print_level", {"level": "NOTICE"}, is_(True)),
        ("log_get_print_level", {}, is_("NOTICE")),
        ("log_enable_timestamps", {"enabled": False}, is_(True)),
        ("spdk_get_version", {}, has("version", "fields")),
        ("spdk_kill_instance", {"sig_name": "SIGHUP"}, is_(True)),  # which it ignores
        ("framework_wait_init", {}, is_(True)),
        ("framework_get_subsystems", {}, is_([{"subsystem": "bdev", "depends_on": []},
                                              {"subsystem": "nvmf", "depends_on": ["bdev"]}])),
        ("framework_set_scheduler", {"name": "static", "period": 7}, is_(True)),
        ("framework_get_scheduler", {}, has("scheduler_name", "scheduler_period", "governor_name")),
        ("framework_get_reactors", {}, has("tick_rate", "reactors", "pid")),
        ("framework_monitor_context_switch", {"enabled": True}, is_({"enabled": True})),
        ("thread_get_stats", {}, has("tick_rate", "threads")),
        ("thread_get_pollers", {}, has("tick_rate", "threads")),
        ("thread_get_io_channels", {}, has("tick_rate", "threads")),
        ("thread_set_cpumask", {"id": 1, "cpumask": "[0-1023]"}, is_(True)),

        ("bdev_malloc_create",
         {"name": "M", "block_size": 512, "num_blocks": 20480, "uuid": UUID, "physical_block_size": 4096, "md_size": 8,
          "md_interleave": True, "dif_type": 1, "dif_is_head_of_md": True, "dif_pi_format": 0,
          "optimal_io_boundary": 64, "max_rw_blocks": 128, "numa_id": -1, "populate": False}, is_("M")),
        ("bdev_null_create",
         {"name": "N", "block_size": 512, "num_blocks": 2048, "physical_block_size": 512, "md_size": 0,
          "md_interleave": False, "dif_type": 0, "dif_is_head_of_md": False, "dif_pi_format": 0,
          "optimal_io_boundary": 0, "max_rw_blocks": 0, "uuid": "913fc008-79a7-447f-b2c4-c73543638c32"}, is_("N")),
        ("bdev_null_resize", {"name": "N", "new_size": 2}, is_(True)),
        ("bdev_delay_create", {"name": "D", "base_bdev_name": "N", "seed": 3, **latencies,
                               "uuid": "913fc008-79a7-447f-b2c4-c73543638c33"}, is_("D")),
        ("bdev_delay_create",
         {"name": "D2", "base_bdev_name": "N",
          "read_latency": {"distribution": "lognormal", "mean_ns": 80000, "sigma": 0.3},
          "write_latency": {"distribution": "table", "percentiles": [[50, 1000], [99, 5000]]}}, is_("D2")),
        ("bdev_delay_update_latency",
         {"delay_bdev_name": "D", "latency_type": "p99_read", "latency_us": 500}, is_(True)),
        ("bdev_error_create",
         {"base_name": "N", "name": "E", "seed": 1, "uuid": "913fc008-79a7-447f-b2c4-c73543638c34"}, is_(True)),
        ("bdev_error_inject_error",
         {"name": "E", "io_type": "read", "error_type": "corrupt_data", "num": 2, "queue_depth": 1, "corrupt_offset": 9,
          "corrupt_value": 1, "share": 0.5}, is_(True)),
        ("bdev_get_bdevs", {"name": UUID, "timeout": 0}, has(*BDEV_FIELDS)),
        ("bdev_examine", {"name": "M"}, is_(True)),
        ("bdev_wait_for_examine", {}, is_(True)),
        ("bdev_get_iostat", {"name": "M", "per_channel": False, "reset_mode": "none"}, has("tick_rate", "bdevs")),
        ("bdev_reset_iostat", {"name": "M", "mode": "all"}, is_(True)),

        ("nvmf_get_targets", {}, is_(["nvmf_tgt"])),
        ("nvmf_create_transport",
         {"trtype": "vfiouser", "tgt_name": "nvmf_tgt", "max_queue_depth": 256, "max_io_qpairs_per_ctrlr": 4,
          "max_io_size": 65536}, is_(True)),
        ("nvmf_get_transports", {"tgt_name": "nvmf_tgt", "trtype": "VFIOUSER"},
         has("trtype", "max_queue_depth", "max_io_qpairs_per_ctrlr", "max_io_size", "in_capsule_data_size",
             "io_unit_size", "abort_timeout_sec")),
        ("nvmf_create_subsystem",
         {"nqn": NQN, "tgt_name": "nvmf_tgt", "serial_number": "S", "model_number": "M", "max_namespaces": 4,
          "allow_any_host": True, "min_cntlid": 1, "max_cntlid": 100}, is_(True)),
        ("nvmf_subsystem_add_host", {"nqn": NQN, "host": NQN + ":host", "tgt_name": "nvmf_tgt"}, is_(True)),
        ("nvmf_subsystem_add_ns",
         {"nqn": NQN, "tgt_name": "nvmf_tgt",
          "namespace": {"nsid": 3, "bdev_name": "N", "nguid": "ABCDEF0123456789ABCDEF0123456789",
                        "eui64": "ABCDEF0123456789", "uuid": UUID, "anagrpid": 3}}, is_(3)),
        ("nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": address, "ana_state": "optimized"}, is_(True)),
        ("nvmf_subsystem_get_listeners", {"nqn": NQN}, is_([{"address": address, "ana_state": "optimized"}])),
        ("nvmf_subsystem_listener_set_ana_state",
         {"nqn": NQN, "listen_address": address, "ana_state": "optimized", "anagrpid": 1}, is_(True)),
        ("nvmf_subsystem_allow_any_host", {"nqn": NQN, "allow_any_host": True}, is_(True)),
        ("nvmf_subsystem_get_controllers", {"nqn": NQN, "tgt_name": "nvmf_tgt"}, is_([])),
        ("nvmf_subsystem_get_qpairs", {"nqn": NQN}, is_([])),
        ("nvmf_get_subsystems", {"nqn": NQN, "tgt_name": "nvmf_tgt"}, is_([
            {"nqn": NQN, "subtype": "NVMe", "listen_addresses": [address], "allow_any_host": True,
             "hosts": [{"nqn": NQN + ":host"}], "serial_number": "S", "model_number": "M", "max_namespaces": 4,
             "min_cntlid": 1, "max_cntlid": 100, "namespaces": [
                 {"nsid": 3, "bdev_name": "N", "name": "N", "nguid": "ABCDEF0123456789ABCDEF0123456789",
                  "eui64": "ABCDEF0123456789", "uuid": UUID}]}])),
        ("nvmf_get_subsystems", {}, lists("subtype", "Discovery")),
        ("nvmf_get_stats", {"tgt_name": "nvmf_tgt"}, has("tick_rate", "poll_groups")),
        ("framework_get_config", {"name": "nvmf", "with_batches": False},
         lists("method", "nvmf_subsystem_add_listener")),

        # of what this target serves itself
        ("bdev_nvme_set_options",
         {"action_on_timeout": "abort", "timeout_us": 30000000, "timeout_admin_us": 60000000, "keep_alive_timeout_ms": 0,
          "transport_retry_count": 4, "bdev_retry_count": -1, "nvme_adminq_poll_period_us": 1000,
          "nvme_ioq_poll_period_us": 0}, is_(True)),
        ("bdev_nvme_attach_controller",
         {"name": "Nvme0", "trtype": "VFIOUSER", "traddr": address["traddr"], "adrfam": "IPv4", "trsvcid": "0", "subnqn": NQN,
          "hostnqn": NQN + ":host", "prchk_reftag": True, "prchk_guard": False}, is_(["Nvme0n3"])),
        ("bdev_nvme_get_controllers", {"name": "Nvme0"}, has("name", "ctrlrs")),
        ("bdev_nvme_reset_controller", {"name": "Nvme0"}, is_(True)),
        ("bdev_get_bdevs", {"name": "Nvme0n3"}, has(*BDEV_FIELDS)),
        ("bdev_nvme_detach_controller", {"name": "Nvme0"}, is_(True)),

        ("nvmf_subsystem_remove_listener", {"nqn": NQN, "listen_address": address}, is_(True)),
        ("nvmf_subsystem_remove_ns", {"nqn": NQN, "nsid": 3, "tgt_name": "nvmf_tgt"}, is_(True)),
        ("nvmf_subsystem_remove_host", {"nqn": NQN, "host": NQN + ":host", "timeout_ms": 1}, is_(True)),
        ("nvmf_delete_subsystem", {"nqn": NQN, "tgt_name": "nvmf_tgt"}, is_(True)),
        ("bdev_error_delete", {"name": "E"}, is_(True)),
        ("bdev_delay_delete", {"name": "D"}, is_(True)),
        ("bdev_null_delete", {"name": "N"}, is_(True)),
        ("bdev_malloc_delete", {"name": "M"}, is_(True)),
    ]


def refused(client, method, params, code, says):
    what = f"{method} {params}"
    try:
        result = client.request(method, params)
    except tgt.Error as error:
        plx.equal(error.code, code, f"code of {what}: {error.message}")
        plx.check(says in error.message, f"{what}: {says!r} is not in {error.message!r}")
        return
    raise AssertionError(f"{what} was carried out: {result!r}")


def refuse_wrong_parameters(client, method, params):
    """with each parameter of docs/rpc.md wrong, missing, and one too many; nothing of it must be carried out"""
    for path, kind, required in DOCS[method]:
        # those within an object that this call does not have come with the object
        if any(path.startswith(other + ".") for other, *_ in DOCS[method]) and path.split(".")[0] not in params:
            continue
        for value in wrong_values(kind):
            refused(client, method, put(params, path, value), INVALID_PARAMS, f"{method}: {path}")
        if required:
            refused(client, method, put(params, path, ...), INVALID_PARAMS, f"{method}: {path}")
    refused(client, method, {**params, "no_such": 1}, INVALID_PARAMS, "no_such")
    refused(client, method, [1], INVALID_PARAMS, method)
    refused(client, method, 5, INVALID_PARAMS, method)


def go_through(client, cases):
    """each case, with its wrong parameters before it; returns the methods"""
    for method, params, check in cases:
        plx.check(method in DOCS, f"{method} is not in docs/rpc.md")
        refuse_wrong_parameters(client, method, params)
        result = client.request(method, params)
        trouble = check(result) if check else None
        plx.check(not trouble, f"the result of {method} {params} {trouble}: {result!r}")
    return {method for method, *_ in cases}


def test_every_method_succeeds_and_refuses_what_is_wrong():
    with tgt.start("--wait-for-rpc") as target:
        methods = set(target.call("rpc_get_methods"))
        plx.equal(methods, set(DOCS), "methods, and those of docs/rpc.md")
        tried = go_through(target.client, startup_cases(target))
        tried |= go_through(target.client, runtime_cases(target))
        plx.equal(methods - tried, set(), "methods without a case here")
        target.end().ok()


def test_a_required_parameter_with_two_forms_is_asked_for():
    with tgt.start() as target:
        target.call("bdev_null_create", name="N", block_size=512, num_blocks=8)
        base = {"name": "D", "base_bdev_name": "N"}
        both = {f"{k}_{w}_latency": 1 for k in ("avg", "p99") for w in ("read", "write")}
        own = {"distribution": "fixed", "mean_ns": 5}
        for params, says in ((base, "avg_read_latency"),
                             ({**base, **both, "read_latency": own}, "read_latency"),
                             ({**base, "read_latency": own}, "avg_write_latency"),
                             ({**base, "read_latency": own, "write_latency": {"distribution": "x"}}, "write_latency"),
                             ({**base, **both, "avg_read_latency": 2}, "p99_read_latency")):
            refused(target.client, "bdev_delay_create", params, INVALID_PARAMS, says)


def test_methods_know_their_state():
    with tgt.start("--wait-for-rpc") as target:
        current = set(target.call("rpc_get_methods", current=True))
        plx.check("framework_start_init" in current and "bdev_get_bdevs" not in current, f"methods now: {current}")
        refused(target.client, "bdev_get_bdevs", None, INVALID_STATE, "framework_start_init")
        target.call("framework_start_init")
        refused(target.client, "framework_start_init", None, INVALID_STATE, "--wait-for-rpc")
        refused(target.client, "bdev_set_options", {}, INVALID_STATE, "--wait-for-rpc")
        refused(target.client, "no_such_method", None, NO_METHOD, "no_such_method")


# ---- values of the right type that mean nothing ----

def test_values_without_meaning_are_refused_by_name():
    with tgt.start() as target:
        client, vfu = target.client, {"trtype": "VFIOUSER", "traddr": target.listen_dir()}
        client.call("bdev_null_create", name="N", block_size=512, num_blocks=2048)
        client.call("bdev_null_create", name="open", block_size=512, num_blocks=4096)
        client.call("bdev_error_create", base_name="open")
        client.call("bdev_delay_create", name="D", base_bdev_name="open", avg_read_latency=1, p99_read_latency=2,
                    avg_write_latency=1, p99_write_latency=1)
        plx.equal([b["name"] for b in client.call("bdev_get_bdevs")], ["N", "open", "EE_open", "D"], "bdevs")
        client.call("nvmf_create_subsystem", nqn=NQN, max_namespaces=2)
        refused(client, "nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": vfu}, INVALID_PARAMS,
                "nvmf_create_transport")
        client.call("nvmf_create_transport", trtype="VFIOUSER")
        client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "N", "nsid": 1})
        geometry = {"name": "X", "block_size": 512, "num_blocks": 8}
        inject = {"name": "EE_open", "io_type": "read", "error_type": "failure"}
        for method, params, code, says in (
                ("bdev_get_bdevs", {"name": "nobody"}, -19, "nobody"),
                ("bdev_get_bdevs", {"name": "nobody", "timeout": 20}, -19, "nobody"),
                ("bdev_get_bdevs", {"timeout": 20}, INVALID_PARAMS, "timeout"),
                ("bdev_get_iostat", {"name": "nobody"}, -19, "nobody"),
                ("bdev_get_iostat", {"names": ["N", "nobody"]}, -19, "nobody"),
                ("bdev_get_iostat", {"names": ["N"], "name": "N"}, INVALID_PARAMS, "names"),
                ("bdev_get_iostat", {"per_channel": True}, INVALID_PARAMS, "per_channel"),
                ("bdev_reset_iostat", {"name": "nobody"}, -19, "nobody"),
                ("bdev_examine", {"name": "nobody"}, -19, "nobody"),
                ("bdev_null_create", {**geometry, "name": "N"}, -17, "N"),
                ("bdev_null_create", {**geometry, "block_size": 1000}, INVALID_PARAMS, "1000"),
                ("bdev_null_create", {**geometry, "name": ""}, INVALID_PARAMS, "name"),
                ("bdev_null_create", {**geometry, "name": "x" * 300}, INVALID_PARAMS, "name"),
                ("bdev_null_create", {**geometry, "md_size": 5}, INVALID_PARAMS, "metadata size 5"),
                ("bdev_null_create", {**geometry, "dif_type": 1}, INVALID_PARAMS, "metadata"),
                ("bdev_null_create", {**geometry, "dif_pi_format": 1}, INVALID_PARAMS, "dif_pi_format"),
                ("bdev_malloc_create", {**geometry, "uuid": "913fc008"}, INVALID_PARAMS, "uuid"),
                ("bdev_malloc_create", {**geometry, "num_blocks": 1 << 52}, -12, "memory"),
                ("bdev_malloc_create", {**geometry, "md_interleave": True}, INVALID_PARAMS, "metadata"),
                ("bdev_malloc_create", {**geometry, "physical_block_size": 1000}, INVALID_PARAMS, "1000"),
                ("bdev_malloc_delete", {"name": "N"}, -19, "Null disk"),
                ("bdev_null_delete", {"name": "nobody"}, -19, "nobody"),
                ("bdev_null_resize", {"name": "open", "new_size": 1}, -16, "new_size"),
                ("bdev_null_resize", {"name": "D", "new_size": 1}, -19, "Delay disk"),
                ("bdev_delay_update_latency",
                 {"delay_bdev_name": "N", "latency_type": "avg_read", "latency_us": 1}, -19, "delay_bdev_name"),
                ("bdev_delay_update_latency",
                 {"delay_bdev_name": "D", "latency_type": "avg_read", "latency_us": 3}, INVALID_PARAMS, "latency_us"),
                ("bdev_error_create", {"base_name": "nobody"}, -19, "nobody"),
                ("bdev_error_inject_error", {**inject, "name": "N"}, -19, "Null disk"),
                ("bdev_error_inject_error", {**inject, "share": 0}, INVALID_PARAMS, "share"),
                ("bdev_error_inject_error", {**inject, "share": 1.5}, INVALID_PARAMS, "share"),
                ("bdev_error_inject_error", {**inject, "io_type": "flush", "error_type": "corrupt_data"},
                 INVALID_PARAMS, "corrupt_data"),
                ("nvmf_create_transport", {"trtype": "TCP"}, INVALID_PARAMS, "TCP"),
                ("nvmf_create_transport", {"trtype": "VFIOUSER"}, -17, "VFIOUSER"),
                ("nvmf_create_transport", {"trtype": "VFIOUSER", "tgt_name": "other"}, -19, "tgt_name"),
                ("nvmf_get_transports", {"trtype": "TCP"}, -19, "TCP"),
                ("nvmf_create_subsystem", {"nqn": "disk"}, INVALID_PARAMS, "nqn"),
                ("nvmf_create_subsystem", {"nqn": NQN}, -17, NQN),
                ("nvmf_create_subsystem", {"nqn": NQN + "2", "serial_number": "x" * 21}, INVALID_PARAMS,
                 "serial_number"),
                ("nvmf_create_subsystem", {"nqn": NQN + "2", "min_cntlid": 9, "max_cntlid": 8}, INVALID_PARAMS,
                 "min_cntlid"),
                ("nvmf_create_subsystem", {"nqn": NQN + "2", "ana_reporting": True}, INVALID_PARAMS, "ana_reporting"),
                ("nvmf_create_subsystem", {"nqn": NQN + "2", "dmrsl": 1}, INVALID_PARAMS, "dmrsl"),
                ("nvmf_delete_subsystem", {"nqn": NQN + "2"}, -19, "nqn"),
                ("nvmf_get_subsystems", {"nqn": NQN + "2"}, -19, "nqn"),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "nobody"}}, -19, "nobody"),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "N", "nsid": 1}}, -17, "nsid"),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "N", "nsid": 3}}, INVALID_PARAMS,
                 "nsid"),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "N", "nguid": "12"}},
                 INVALID_PARAMS, "nguid"),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "N", "uuid": "12"}},
                 INVALID_PARAMS, "uuid"),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "N", "ptpl_file": "/x"}},
                 INVALID_PARAMS, "ptpl_file"),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "N", "no_auto_visible": True}},
                 INVALID_PARAMS, "no_auto_visible"),
                ("nvmf_subsystem_remove_ns", {"nqn": NQN, "nsid": 2}, -2, "nsid"),
                ("nvmf_subsystem_add_host", {"nqn": NQN, "host": "me"}, INVALID_PARAMS, "host"),
                ("nvmf_subsystem_add_host", {"nqn": NQN, "host": NQN, "psk": "/k"}, INVALID_PARAMS, "psk"),
                ("nvmf_subsystem_remove_host", {"nqn": NQN, "host": NQN}, -2, "host"),
                ("nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": {**vfu, "trtype": "TCP"}},
                 INVALID_PARAMS, "TCP"),
                ("nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": vfu, "secure_channel": True},
                 INVALID_PARAMS, "secure_channel"),
                ("nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": vfu, "ana_state": "inaccessible"},
                 INVALID_PARAMS, "ana_state"),
                ("nvmf_subsystem_remove_listener", {"nqn": NQN, "listen_address": vfu}, -2, "traddr"),
                ("framework_get_config", {"name": "iscsi"}, INVALID_PARAMS, "iscsi"),
                ("framework_set_scheduler", {"name": "dynamic"}, INVALID_PARAMS, "dynamic"),
                ("thread_set_cpumask", {"id": 999, "cpumask": "1"}, -2, "999"),
                ("thread_set_cpumask", {"id": 2, "cpumask": "[1023]"}, INVALID_PARAMS, "cpumask"),
                ("thread_set_cpumask", {"id": 2, "cpumask": "x"}, INVALID_PARAMS, "cpumask"),
                ("log_set_flag", {"flag": "no such"}, INVALID_PARAMS, "flag")):
            refused(client, method, params, code, says)
        plx.equal([b["name"] for b in client.call("bdev_get_bdevs")], ["N", "open", "EE_open", "D"], "bdevs afterwards")


def test_listeners_say_why_they_cannot_be():
    with tgt.start() as target:
        client = target.client
        client.call("nvmf_create_transport", trtype="VFIOUSER")
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        for traddr, code, says in ((str(target.directory / "nowhere"), -2, "nowhere"),
                                   ("/tmp/" + "x" * 200, -36, "too long")):
            refused(client, "nvmf_subsystem_add_listener",
                    {"nqn": NQN, "listen_address": {"trtype": "VFIOUSER", "traddr": traddr}}, code, says)
        here = {"trtype": "VFIOUSER", "traddr": target.listen_dir()}
        client.call("nvmf_subsystem_add_listener", nqn=NQN, listen_address=here)
        refused(client, "nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": here}, -17, "listener")
        with tgt.start() as other:
            other.call("nvmf_create_transport", trtype="VFIOUSER")
            other.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
            refused(other.client, "nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": here}, -98, "another")
        socket = target.directory / "vfu/cntrl"
        plx.check(socket.is_socket(), "there is no socket")
        client.call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
        plx.check(not socket.exists(), "hosts without a name are kept out, but the socket is there")
        plx.equal(len(client.call("nvmf_subsystem_get_listeners", nqn=NQN)), 1, "listeners")
        client.call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=True)
        plx.check(socket.is_socket(), "any host is allowed, but there is no socket")
        client.call("nvmf_delete_subsystem", nqn=NQN)
        plx.check(not socket.exists(), "the subsystem is gone, but its socket is there")


def test_block_sizes_with_metadata_are_understood_in_both_forms():
    with tgt.start() as target:
        for size in (512, 520):
            target.call("bdev_null_create", name=f"N{size}", block_size=size, num_blocks=8, md_size=8)
        for bdev in target.call("bdev_get_bdevs"):
            plx.equal((bdev["block_size"], bdev["md_size"], bdev["md_interleave"]), (520, 8, True), bdev["name"])


# ---- calls that wait ----

def test_a_bdev_that_appears_ends_the_wait_for_it():
    with tgt.start() as target:
        waiting = target.connect()
        waiting.send("bdev_get_bdevs", {"name": "late", "timeout": 60000})
        target.call("bdev_null_create", name="early", block_size=512, num_blocks=8)
        target.call("bdev_null_create", name="late", block_size=512, num_blocks=8)
        plx.equal([b["name"] for b in waiting.receive()["result"]], ["late"], "bdevs")
        waiting.close()


def test_a_client_that_leaves_while_it_waits_harms_nobody():
    with tgt.start("--wait-for-rpc") as target:
        for _ in range(3):
            waiting = target.connect()
            waiting.send("framework_wait_init")
            waiting.close()
        waiting = target.connect()
        waiting.send("framework_wait_init")
        target.call("framework_start_init")
        plx.equal(waiting.receive()["result"], True, "answer")
        waiting.close()
        target.end().ok()


def test_a_missing_bdev_is_waited_for_no_longer_than_asked():
    with tgt.start() as target:
        begin = time.monotonic()
        refused(target.client, "bdev_get_bdevs", {"name": "never", "timeout": 300}, -19, "never")
        plx.check(time.monotonic() - begin >= 0.29, "it did not wait")


# ---- effects ----

def test_statistics_follow_io_and_resets():
    with tgt.start() as target:
        target.call("bdev_null_create", name="N", block_size=512, num_blocks=8)
        stat = target.call("bdev_get_iostat", name="N")
        plx.equal([b["name"] for b in stat["bdevs"]], ["N"], "bdevs")
        missing = [n for n in IOSTAT_FIELDS if n not in stat["bdevs"][0]]
        plx.equal(missing, [], "fields that are missing")
        plx.equal(target.call("bdev_get_iostat", name="N", per_channel=True)["channels"], [], "channels")


def test_threads_and_their_pollers_are_listed():
    with tgt.start() as target:
        target.call("nvmf_create_transport", trtype="VFIOUSER")
        target.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        target.call("nvmf_subsystem_add_listener", nqn=NQN,
                    listen_address={"trtype": "VFIOUSER", "traddr": target.listen_dir()})
        reactors = target.call("framework_get_reactors")
        plx.equal(reactors["pid"], target.running.process.pid, "pid")
        plx.check(all("lw_threads" in r and r["tid"] != reactors["pid"] for r in reactors["reactors"]), "reactors")
        threads = target.call("thread_get_stats")["threads"]
        plx.equal(threads[0]["name"], "app_thread", "first thread")
        plx.equal(len(threads), 1 + len(reactors["reactors"]), "threads")
        pollers = target.call("thread_get_pollers")["threads"]
        plx.equal(sum(len(t["active_pollers"]) for t in pollers), sum(t["active_pollers_count"] for t in threads),
                  "active pollers")
        timed = [p for t in pollers for p in t["timed_pollers"]]
        plx.check(timed and all(p["name"] and p["period_ticks"] > 0 for p in timed), f"timed pollers: {timed}")
        target.call("framework_monitor_context_switch", enabled=True)
        watched = [p for t in target.call("thread_get_pollers")["threads"] for p in t["timed_pollers"]]
        plx.equal(len(watched), len(timed) + len(reactors["reactors"]), "timed pollers while watching")
        plx.equal(target.call("framework_monitor_context_switch"), {"enabled": True}, "watching")
        target.call("framework_monitor_context_switch", enabled=False)
        plx.equal(target.call("framework_monitor_context_switch"), {"enabled": False}, "watching")


plx.main()
