#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-identify's JSON of pages that the virtual controller lacks, compared with nvme-cli's for the same bytes.

Where nvme-cli 2.3 has no JSON, or one that is wrong, what is expected stands here.
"""
import os
import random
import struct

import nvme_cli
import plx

scratch = plx.scratch()
DEVICE = "/dev/nvme0"
rng = random.Random(4)


def page(size, *fields):
    """random bytes with (offset, format, values...) put into them"""
    data = bytearray(rng.randbytes(size))
    for offset, form, *values in fields:
        struct.pack_into("<" + form, data, offset, *values)
    return bytes(data)


def zeroes(size, *fields):
    data = bytearray(size)
    for offset, form, *values in fields:
        struct.pack_into("<" + form, data, offset, *values)
    return bytes(data)


def ours(what, data, form="json"):
    path = os.path.join(scratch.name, "page")
    with open(path, "wb") as file:
        file.write(data)
    result = plx.run("identify_pages", what, form, path).ok()
    plx.equal(result.err, "", "standard error", result)
    return result.json() if form == "json" else result.out


def compare(what, data, command, files, ignore=lambda j: j):
    theirs = nvme_cli.as_json(nvme_cli.run([command[0], *command[1:]], files))
    nvme_cli.same(ignore(ours(what, data)), ignore(theirs), what)
    plx.check(ours(what, data, "text"), f"{what} says nothing")


def check(what, data, *command, name, **more):
    compare(what, data, [*command], {name: data, **more})


NS3 = zeroes(4096, (25, "B", 2))  # a namespace of three formats, as identify_pages has it


def test_identify_pages_are_nvme_clis():
    nsids = zeroes(4096, (0, "III", 1, 5, 0xfffffffe))
    check("active-ns", nsids, "list-ns", DEVICE, name="id-2-0")
    check("ctrls", zeroes(4096, (0, "HHH", 2, 1, 65535)), "list-ctrl", DEVICE, name="id-19-0")
    check("nvm-ctrl", page(4096), "nvm-id-ctrl", DEVICE, name="id-6-0")
    check("zns-ctrl", page(4096), "zns", "id-ctrl", DEVICE, name="id-6-0")
    check("independent-ns", page(4096), "cmdset-ind-id-ns", DEVICE, "-n", "1", name="id-8-1")
    check("primary", page(4096), "primary-ctrl-caps", DEVICE, name="id-20-0")
    check("groups", zeroes(4096, (0, "HHH", 2, 1, 7)), "list-endgrp", DEVICE, name="id-25-0")
    # nvme-cli 2.3 begins with the second one
    uuids = page(4096, (32 + 3 * 32, "32x"))
    compare("uuids", uuids, ["id-uuid", DEVICE], {"id-23-0": uuids}, lambda j: {"UUID-list": j["UUID-list"][-2:]})
    plx.equal(len(ours("uuids", uuids)["UUID-list"]), 3, "UUIDs")
    for n in (0, 1, 31):
        check("sets", page(4096, (0, "B", n)), "id-nvmset", DEVICE, name="id-4-0")
        check("domains", page(4096, (0, "B", n)), "id-domain", DEVICE, name="id-24-0")
    for n in (0, 2, 127):
        check("secondary", page(4096, (0, "B", n)), "list-secondary", DEVICE, name="id-21-0")
    check("granularity", page(4096, (4, "B", 3)), "id-ns-granularity", DEVICE, name="id-22-0")


def test_formats_of_the_command_sets_are_nvme_clis():
    for _ in range(3):
        check("nvm-ns", page(4096), "nvm-id-ns", DEVICE, "-n", "1", name="id-5-1", **{"id-0-1": NS3})
        # it shows 32 bits of a zone's size
        check("zns-ns", page(4096, *((2816 + 16 * i, "QB", i + 1, i) for i in range(3))), "zns", "id-ns", DEVICE, "-n", "1", name="id-5-1", **{"id-0-1": NS3})


def test_log_pages_are_nvme_clis():
    for _ in range(3):
        check("endurance", page(512), "endurance-log", DEVICE, "-g", "1", name="log-9")
        check("latency", page(512), "predictable-lat-log", DEVICE, "-i", "1", name="log-10")
        check("reservation-log", page(64), "resv-notif-log", DEVICE, name="log-128")
        check("sanitize", page(512), "sanitize-log", DEVICE, name="log-129")
        check("fdp-stats", page(64), "fdp", "stats", DEVICE, "-e", "1", name="log-34")
        check("self-test", page(564, (0, "BB", 2, 99)), "self-test-log", DEVICE, name="log-6")
    check("self-test", zeroes(564, (4, "B", 0x1f), (32, "B", 0xf)), "self-test-log", DEVICE, name="log-6")
    some = zeroes(1024, (4, "I", 0xffffffff), (40, "I", 1), (1020, "I", 3))
    check("feature-effects", some, "fid-support-effects-log", DEVICE, name="log-18")
    check("mi-effects", some + zeroes(3072), "mi-cmd-support-effects-log", DEVICE, name="log-19")
    check("latency-events", zeroes(12, (0, "QHH", 2, 7, 9)), "pred-lat-event-agg-log", DEVICE, "-e", "2", name="log-11",
          **{"id-1-0": zeroes(4096, (338, "H", 2))})
    check("fdp-usage", zeroes(8 + 8 * 3, (0, "H", 3), (8, "B", 1), (16, "B", 2)), "fdp", "usage", DEVICE, "-e", "1", name="log-33")


def test_asymmetric_access_is_nvme_clis():
    for state in range(16):
        log = zeroes(4096, (0, "QH6x", 77, 2), (16, "IIQB15xII", 9, 2, 123, state, 1, 5), (56, "IIQB15x", 10, 0, 124, 1))
        check("ana", log, "ana-log", DEVICE, name="log-12",
              **{"id-1-0": zeroes(4096, (343, "B", 8), (344, "II", 4, 4), (516, "I", 4))})


def test_lba_status_is_nvme_clis():
    log = zeroes(80, (0, "IIIxxH", 80, 2, 7, 3), (16, "IIB7x", 1, 1, 2), (32, "QI4x", 99, 4), (48, "IIB7x", 2, 1, 1),
                 (64, "QI4x", 1 << 63, 5))
    check("lba-status", log, "lba-status-log", DEVICE, name="log-14")


def test_zones_are_nvme_clis():
    # nvme-cli 2.3 shows the information on the attributes (byte 3) for the attributes (byte 2)
    zones = [struct.pack("<BBBB4xQQQ32x", i & 3, i << 4, i, i, 100, i * 128, i * 128 + 5) for i in range(16)]
    report = zeroes(64, (0, "Q", 16)) + b"".join(zones)
    files = {"io-122": report, "id-5-1": zeroes(4096, (2816, "QB", 128, 0)), "id-6-0": zeroes(4096), "id-1-0": zeroes(4096),
             "id-0-1": zeroes(4096, (0, "QQQ", 2048, 2048, 2048), (128, "HB", 0, 9))}

    def ignore(j):
        j.pop("states", None)
        return j

    compare("zones", report, ["zns", "report-zones", DEVICE, "-n", "1", "-d", "16"], files, ignore)
    plx.equal(ours("zones", report)["states"], {s: 1 for s in ("EMPTY", "IMP_OPENED", "EXP_OPENED", "CLOSED", "READONLY",
                                                               "FULL", "OFFLINE")}, "zones by state")


def test_reservations_are_nvme_clis():
    report = page(4096, (0, "IBBB", 7, 1, 2, 0))
    check("reservations", report, "resv-report", DEVICE, "-n", "1", name="io-14", **{"id-1-0": zeroes(4096)})


def test_flexible_data_placement_is_nvme_clis():
    one = struct.pack("<HBBIHHIQI36xB3xB3x", 72, 0x83, 5, 8, 2, 127, 9, 1 << 40, 6, 1, 2)
    configs = zeroes(16, (0, "HBBI", 0, 1, 0, 88)) + one

    def ignore(j):
        for c in j["configs"]:
            c.pop("ruhs", None)
            c.pop("maxpids", None)
        return j

    compare("fdp-configs", configs, ["fdp", "configs", DEVICE, "-e", "1"], {"log-32": configs}, ignore)
    plx.equal(ours("fdp-configs", configs)["configs"][0]["ruhs"], [{"ruht": 1}, {"ruht": 2}], "handles")
    status = page(16 + 64, (14, "H", 2))
    check("fdp-status", status, "fdp", "status", DEVICE, "-n", "1", name="io-18")
    events = zeroes(4096, (0, "I", 2), (64, "BBH6sxxI", 0x80, 7, 3, b"\x40\xe2\x01\0\0\0", 1), (128, "BBH6sxxI", 0, 1, 3, b"\1\0\0\0\0\0", 1))
    check("fdp-events", events, "fdp", "events", DEVICE, "-e", "1", name="log-35")


# ---- persistent events ----

EVENT_DATA = {1: 512, 2: 22, 3: 16, 4: 44, 5: 20, 6: 48, 7: 12, 8: 12, 9: 12, 10: 8, 12: 512, 13: 4}


def event(kind, data, vsil=0):
    return struct.pack("<BBBBHQH4xHH", kind, 1, 21, 0, 1, 1000 + kind, 2, vsil, len(data) + vsil) + bytes(vsil) + data


def event_log(*events, count=None, length=None):
    body = b"".join(events)
    header = zeroes(512, (0, "B3xIQBxH", 13, len(events) if count is None else count, length or 512 + len(body), 1, 492),
                    (56, "20s40s", b"SERIAL", b"MODEL"), (480, "BB", 6, 0x20))
    return header + body


def test_persistent_events_are_nvme_clis():
    def ignore(j):
        j = {k: v for k, v in j.items() if not k.startswith("bitmap_")}  # nvme-cli 2.3 has all of them, wrong ones
        for e in j["list_of_event_entries"]:  # ours are apart, as there may be several
            for reset in e.pop("resets", []):
                e["ctrl_id"] = reset["cntlid"]
                e.update({k: v for k, v in reset.items() if k != "cntlid"})
        j["list_of_event_entries"] = j["list_of_event_entries"][:1]  # it does not show the last one
        return j

    for kind, size in EVENT_DATA.items():
        data = page(size) if kind != 5 else page(size, (0, "H", 2))
        log = event_log(event(kind, data), event(13, page(4)), event(13, page(4)))
        compare("events", log, ["persistent-event-log", DEVICE, "-a", "1", "--log_len", str(len(log))], {"log-13": log}, ignore)


def test_events_that_nvme_cli_cannot_show_are_shown():
    log = event_log(event(0xdf, page(4)), event(0x55, b""), event(11, struct.pack("<III", 2, 0x80000004, 0x155)), event(13, b"\1\2\0\0", vsil=9))
    shown = ours("events", log)
    plx.equal({k: v for k, v in shown.items() if k.startswith("bitmap_")},
              {"bitmap_1": "Support SMART/Health Log Snapshot Event(0x1)", "bitmap_2": "Support Firmware Commit Event(0x2)",
               "bitmap_d": "Support Thermal Excursion Event(0xd)"}, "events that are kept")
    kinds = [e["event_type"] for e in shown["list_of_event_entries"]]
    plx.equal(kinds, ["Vendor Specific Event(0xdf)", "Reserved Event(0x55)", "Set Feature Event(0xb)", "Thermal Excursion Event(0xd)"], "events")
    plx.equal(shown["list_of_event_entries"][2]["cdw11"], 0x155, "dword 11 of Set Features")
    plx.equal(shown["list_of_event_entries"][3]["threshold"], 2, "behind what is the vendor's")


def test_events_end_where_the_page_does():
    whole = event_log(event(13, b"\1\2\0\0"), event(13, b"\1\2\0\0"), count=0xffffffff, length=1 << 63)
    plx.equal(len(ours("events", whole)["list_of_event_entries"]), 2, "events")
    plx.equal(len(ours("events", whole[:-1])["list_of_event_entries"]), 1, "events when the last is cut")
    plx.equal(len(ours("events", whole[:512])["list_of_event_entries"]), 0, "events without any")


# ---- where nvme-cli has nothing, or what is wrong ----

def test_media_units_and_capacity_configurations():
    units = zeroes(16384, (0, "HHH", 2, 3, 4), (16, "HHHHHBBBB", 1, 2, 3, 4, 100, 90, 5, 1, 16), (34, "HHHHHBBBB", 2, 2, 3, 4, 100, 80, 6, 0, 0))
    shown = ours("media-units", units)
    plx.equal([(u["muid"], u["avl_spare"]) for u in shown["mus_list"]], [(1, 90), (2, 80)], "units")
    group = struct.pack("<HH12x16s16s16s16xHHHHHH4xHH", 1, 100, (1 << 40).to_bytes(16, "little"), bytes(16), bytes(16), 1, 7, 1, 3, 1, 9, 0, 0)
    capacity = zeroes(16) [:0] + struct.pack("<B15x", 1) + struct.pack("<HHH26x", 5, 0, 1) + group
    shown = ours("capacity", capacity.ljust(16384, b"\0"))
    config = shown["cap_config_desc"][0]
    plx.equal((config["cap_config_id"], config["egcd"][0]["tegcap"]), (5, str(1 << 40)), "configuration")
    plx.equal(config["egcd"][0]["nvmsets"], [{"nvmsetid": 7}], "NVM sets")
    plx.equal(config["egcd"][0]["channels"][0]["chanid"], 3, "channel")


def test_pages_without_nvme_clis_json():
    plx.equal(ours("command-sets", zeroes(4096, (0, "QQ", 1, 5))), {"iocsc": [{"index": 0, "vector": 1}, {"index": 1, "vector": 5}]},
              "combinations")
    plx.equal(ours("changed-zones", zeroes(4096, (0, "H", 1), (8, "Q", 9))), {"nrzid": 1, "zid_list": [{"zid": 9}]}, "changed zones")
    plx.equal(ours("changed-zones", zeroes(4096, (0, "H", 0xffff), (8, "Q", 9)))["zid_list"], [], "more than fit")
    shown = ours("telemetry-host", zeroes(512, (0, "B", 7), (8, "HHH", 1, 2, 3), (381, "B", 9), (384, "B", 0xab)))
    plx.equal((shown["dalb3"], shown["hostdgn"], shown["rsnident"][:4]), (3, 9, "ab00"), "telemetry")
    plx.equal(ours("boot", zeroes(16, (0, "B3xI", 0x15, 0x80000003))), {"lid": 0x15, "bpinfo": 0x80000003}, "boot partition")
    plx.equal(ours("log", b"\1\2\3\4"), {"len": 4, "data": "01020304"}, "a page without a description")


def test_pci_capabilities_are_followed_once_round():
    config = zeroes(256, (0, "HHHH", 0x1b36, 0x10, 0x406, 0x10), (0x34, "B", 0x40), (0x40, "BBH", 0x11, 0x80, 0x8040),
                    (0x80, "BB2xI4xI2xH", 0x10, 0x40, 1 << 28, 0x43, 0x41))
    shown = ours("pci", config)
    plx.equal((shown["vendor_id"], shown["msi_x"]), (0x1b36, {"table_size": 64, "enable": 1}), "MSI-X")
    plx.equal((shown["pci_express"]["flr"], shown["pci_express"]["link_width"]), (1, 4), "PCI Express")


def test_no_page_is_too_strange_to_print():
    for what in ("pci", "nvm-ctrl", "zns-ctrl", "command-sets", "active-ns", "allocated-ns", "nvm-ns", "zns-ns", "independent-ns", "granularity",
                 "ctrls", "attached-ctrls", "primary", "secondary", "sets", "groups", "domains", "uuids", "self-test", "telemetry-host",
                 "endurance", "latency", "latency-events", "ana", "events", "lba-status", "endurance-events", "media-units", "capacity",
                 "feature-effects", "mi-effects", "boot", "fdp-configs", "fdp-usage", "fdp-stats", "fdp-events", "reservation-log",
                 "sanitize", "changed-zones", "zones", "fdp-status", "reservations", "registers", "log"):
        for data in (rng.randbytes(16384), bytes(16384), b"\xff" * 16384):
            ours(what, data)
            text = ours(what, data, "text")
            plx.check(all(c.isprintable() or c == "\n" for c in text), f"{what}: control characters in the text")


try:
    plx.main()
finally:
    scratch.cleanup()
    nvme_cli.scratch.cleanup()
