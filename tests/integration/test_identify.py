#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plx-identify: what it prints about the virtual controller, that its JSON is nvme-cli's, how it refuses.

The judge of the JSON is nvme-cli itself where it is installed (version 2.3 of Debian 12): nvme_replay.c makes it
read the same pages that plx-identify printed. The lists of names below are those that nvme-cli 2.3 prints.
"""
import json
import os
import random
import re
import shlex

import nvme_cli
import plx

# nvme id-ctrl -o json
ID_CTRL = """vid ssvid sn mn fr rab ieee cmic mdts cntlid ver rtd3r rtd3e oaes ctratt rrls cntrltype fguid crdt1 crdt2 crdt3
    nvmsr vwci mec oacs acl aerl frmw lpa elpe npss avscc apsta wctemp cctemp mtfa hmpre hmmin tnvmcap unvmcap rpmbs
    edstt dsto fwug kas hctma mntmt mxtmt sanicap hmminds hmmaxd nsetidmax endgidmax anatt anacap anagrpmax nanagrpid
    pels domainid megcap sqes cqes maxcmd nn oncs fuses fna vwc awun awupf icsvscc nwpc acwu ocfs sgls mnan maxdna
    maxcna subnqn ioccsz iorcsz icdoff fcatt msdbd ofcs psds""".split()
PSD = """max_power flags entry_lat exit_lat read_tput read_lat write_tput write_lat idle_power idle_scale active_power
    active_power_work active_scale""".split()
# nvme id-ns -o json; NPWG to NOWS, behind NVMSETID, only where NSFEAT bit 4 says that they mean something
ID_NS = """nsze ncap nuse nsfeat nlbaf flbas mc dpc dps nmic rescap fpi dlfeat nawun nawupf nacwu nabsn nabo nabspf noiob
    nvmcap nsattr nvmsetid mssrl mcl msrc nulbaf anagrpid endgid eui64 nguid lbafs""".split()
# nvme smart-log -o json, without sensors
SMART = """critical_warning temperature avail_spare spare_thresh percent_used endurance_grp_critical_warning_summary
    data_units_read data_units_written host_read_commands host_write_commands controller_busy_time power_cycles
    power_on_hours unsafe_shutdowns media_errors num_err_log_entries warning_temp_time critical_comp_time
    thm_temp1_trans_count thm_temp2_trans_count thm_temp1_total_time thm_temp2_total_time""".split()
# nvme error-log -o json: each of "errors"
ERROR = """error_count sqid cmdid status_field phase_tag parm_error_location lba nsid vs trtype cs
    trtype_spec_info""".split()
NVME_CLI = {  # WHAT: its command, and the file that nvme_replay.c answers it from
    "ctrl": (["id-ctrl"], "id-1-0"),
    "ns": (["id-ns", "-n", "1"], "id-0-1"),
    "descs": (["ns-descs", "-n", "1"], "id-3-1"),
    "smart": (["smart-log"], "log-2"),
    "error": (["error-log", "-e", "256"], "log-1"),
    "fw": (["fw-log"], "log-3"),
    "effects": (["effects-log", "--csi=0"], "log-5"),
    "changed-ns": (["changed-ns-list-log"], "log-4"),
}
KEYS = {  # what the virtual controller has, in order
    "ctrl": "id-ctrl", "registers": "show-regs", "nvm-ctrl": "nvm-id-ctrl", "active-ns": "list-ns", "ns": "id-ns",
    "descs": "ns-descs", "nvm-ns": "nvm-id-ns", "independent-ns": "cmdset-ind-id-ns", "supported-logs": "supported-log-pages",
    "smart": "smart-log", "error": "error-log", "fw": "fw-log", "changed-ns": "changed-ns-list-log", "effects": "effects-log",
    "feature-effects": "fid-support-effects-log", "mi-effects": "mi-cmd-support-effects-log", "features": "get-feature",
}
SMALL = "size=16M"
PI = "namespaces=3,block=4096,md=8,pi=1,size=16M"

scratch = plx.scratch()


def identify(*args, **options):
    result = plx.run("plx-identify", *args, **options)
    plx.check("runtime error" not in result.err, "undefined behaviour", result)
    return result


def shown(*args, virtual=SMALL):
    return identify("--virtual", virtual, "--json", *args).ok().json()


def refused(*args, code=2, says=""):
    """ends with `code`, says one line about it and nothing else"""
    result = identify(*args)
    plx.equal(result.code, code, "exit code", result)
    plx.equal(result.out, "", "standard output", result)
    plx.check(re.fullmatch(r"plx-identify: [^\n]+\n", result.err), "one line was wanted on stderr", result)
    plx.check(says in result.err, f"the line lacks {says!r}", result)


def same_names(got, wanted, what):
    plx.equal(list(got), list(wanted), f"the names of {what}")


# ---- nvme-cli as the judge ----

def nvme(what, page, elpe=None):
    """what nvme-cli prints as JSON for the bytes `page`"""
    command, name = NVME_CLI[what]
    files = {name: page}
    if elpe is not None:  # the error log is read as long as the controller says
        files["id-1-0"] = bytes(262) + bytes([elpe]) + bytes(4096 - 263)
    return nvme_cli.run([command[0], "/dev/nvme0", *command[1:]], files).ok().json()


def same_as_nvme_cli(ours, theirs, what):
    theirs = nvme_cli.tidied(theirs)
    if what == "effects":  # names that nvme-cli 2.3 does not know yet
        for mine, other in zip(ours, theirs):
            for kind in ("admin_cmd_set", "io_cmd_set"):
                unknown = {k.split(" ")[0] for k in other[kind] if k.endswith("(Unknown)")}
                for names in (mine[kind], other[kind]):
                    for k in [k for k in names if k.split(" ")[0] in unknown]:
                        names[k.split(" ")[0]] = names.pop(k)
    if what == "error":
        plx.equal(len(ours["errors"]), len(theirs["errors"]), "error log entries")
    nvme_cli.same(ours, theirs, what)


def printed_pages(text):
    """the pages that -x printed, in order"""
    pages, page, last = [], None, b""
    for line in text.split("\n"):
        match = re.fullmatch(r"  ([0-9a-f]{8})(?:  ((?:[0-9a-f]{2} +)+)\|.*\|)?", line)
        if line == "  *" and page is not None:
            page.append(None)
        elif match and not match[2] and page is not None:  # the length ends it
            fill(page, int(match[1], 16), last)
            pages.append(b"".join(page))
            page = None
        elif match and match[2]:
            if int(match[1], 16) == 0:
                page = []
            fill(page, int(match[1], 16), last)
            last = bytes.fromhex(match[2].replace(" ", ""))
            page.append(last)
    return pages


def fill(page, upto, line):
    if page and page[-1] is None:
        page.pop()
        page.extend([line] * ((upto - sum(map(len, page))) // len(line)))


def dumped(what, virtual=SMALL):
    """the page of one part, taken from its hexadecimal dump"""
    result = identify("--virtual", virtual, "-n", "1", "-x", what).ok()
    pages = printed_pages(result.out)
    plx.equal(len(pages), 1, "pages in the dump", result)
    return pages[0]


def check_what(what, virtual):
    page = dumped(what, virtual)
    ours = shown("-n", "1", what, virtual=virtual)
    if what in ("fw", "changed-ns"):  # the name of the device
        ours = json.loads(json.dumps(ours).replace('"virtual"', '"nvme0"'))
    theirs = nvme(what, page, elpe=len(page) // 64 - 1 if what == "error" else None)
    same_as_nvme_cli(ours, theirs, what)


@plx.long
def test_json_of_the_virtual_controller_is_what_nvme_cli_prints_for_the_same_pages():
    for what in NVME_CLI:
        check_what(what, SMALL)


def test_json_with_metadata_and_protection_information_is_nvme_clis_too():
    for what in ("ctrl", "ns", "descs"):
        check_what(what, PI)


def random_page(what, rng):
    page = bytearray(rng.randbytes({"smart": 512, "fw": 512, "error": 64 * 64}.get(what, 4096)))
    if what == "ctrl":
        page[263] = rng.randrange(32)  # NPSS
        for at, size in ((4, 20), (24, 40), (64, 8), (768, 256)):  # ASCII: as it is allowed to be
            page[at:at + size] = "".join(rng.choices('AZaz09 \\"/.-', k=size)).encode()
    if what == "ns":
        page[25], page[82] = rng.randrange(64), 0  # NLBAF
    if what == "descs":
        page[:] = bytes(4096)
        at = 0
        for kind, size in ((1, 8), (2, 16), (3, 16), (4, 1)):
            page[at:at + 4 + size] = bytes([kind, size, 0, 0]) + rng.randbytes(size)
            at += 4 + size
    if what == "changed-ns":
        page[rng.randrange(1, 1024) * 4:] = b""
        page.extend(bytes(4096 - len(page)))
    return bytes(page)


def page_printed(what, form, path):
    result = plx.run("identify_pages", what, form, path).ok()
    plx.equal(result.err, "", "standard error", result)
    return result


def test_json_of_random_pages_is_what_nvme_cli_prints():
    rng = random.Random(1)
    for what in NVME_CLI:
        for _ in range(3):
            page = random_page(what, rng)
            path = os.path.join(scratch.name, "page")
            with open(path, "wb") as file:
                file.write(page)
            ours = page_printed(what, "json", path).json()
            theirs = nvme(what, page, elpe=len(page) // 64 - 1 if what == "error" else None)
            same_as_nvme_cli(ours, theirs, what)


def test_no_page_is_too_strange_to_print():
    rng = random.Random(2)
    for what in (*NVME_CLI, "supported-logs", "registers"):
        for page in (rng.randbytes(16384), bytes(16384), b"\xff" * 16384):
            path = os.path.join(scratch.name, "page")
            with open(path, "wb") as file:
                file.write(page if what == "error" else page[:4096])
            page_printed(what, "json", path).json()
            text = page_printed(what, "text", path).out
            plx.check(all(c.isprintable() or c == "\n" for c in text), f"{what}: control characters in the text")


# ---- names and values without it ----

def test_names_are_those_of_nvme_cli():
    everything = shown()
    same_names(everything, KEYS.values(), "all parts")
    same_names(everything["id-ctrl"], ID_CTRL, "id-ctrl")
    same_names(everything["id-ctrl"]["psds"][0], PSD, "a power state")
    same_names(everything["smart-log"], SMART, "smart-log")
    same_names(everything["error-log"]["errors"][0], ERROR, "an error")
    same_names(everything["id-ns"][0], ["nsid", *ID_NS], "id-ns")
    same_names(everything["id-ns"][0]["lbafs"][0], ["ms", "ds", "rp"], "an LBA format")


def test_one_part_is_the_object_itself_by_either_name():
    same_names(shown("ctrl"), ID_CTRL, "ctrl")
    same_names(shown("id-ctrl"), ID_CTRL, "id-ctrl")
    same_names(shown("ns"), ID_NS, "ns")
    same_names(shown("smart"), SMART, "smart")


def test_several_parts_are_keyed_by_nvme_clis_commands_whatever_their_order():
    same_names(shown("smart", "ctrl"), ["id-ctrl", "smart-log"], "two parts")


def test_strings_and_numbers_are_what_the_virtual_controller_is():
    ctrl = shown("ctrl")
    plx.equal(ctrl["mn"], "pollux virtual controller", "mn")
    plx.equal(ctrl["sn"], ctrl["sn"].strip(), "sn without padding")
    plx.equal(ctrl["tnvmcap"], str(16 << 20), "tnvmcap")
    plx.equal(ctrl["nn"], 1, "nn")
    plx.equal(ctrl["mdts"], 5, "mdts")
    plx.equal(shown("ctrl", virtual="size=16M,mdts=1M")["mdts"], 8, "mdts of 1M")
    plx.equal(shown("registers")["vs"], 0x20000, "vs")


def test_every_namespace_is_shown_with_its_format():
    everything = shown(virtual=PI)
    plx.equal([n["nsid"] for n in everything["id-ns"]], [1, 2, 3], "namespaces")
    plx.equal([n["nsid"] for n in everything["ns-descs"]], [1, 2, 3], "namespaces with descriptors")
    for ns in everything["id-ns"]:
        plx.equal(ns["nsze"], (16 << 20) // 4096, "nsze")
        plx.equal(ns["dps"] & 7, 1, "type of protection information")
        plx.equal(ns["lbafs"][ns["flbas"] & 15], {"ms": 8, "ds": 12, "rp": 0}, "format in use")
    plx.equal(len({n["nguid"] for n in everything["id-ns"]}), 3, "different NGUIDs")


def test_one_namespace_can_be_chosen():
    ns = identify("--virtual", PI, "-n", "2", "ns").ok()
    plx.equal(re.findall(r"^Namespace (\d+)", ns.out, re.MULTILINE), ["2"], "namespaces shown", ns)
    plx.equal(shown("-n", "2", "descs", "ctrl", virtual=PI)["ns-descs"][0]["nsid"], 2, "chosen")
    both = identify("--virtual", PI, "-r", "trtype:VIRTUAL ns:3", "ns").ok()
    both.says(r"^Namespace 3$")


def test_features_say_what_they_are_and_whether_they_can_change():
    features = shown("features", virtual=PI)
    by_fid = {}
    for f in features:
        by_fid.setdefault(f["fid"], []).append(f)
    over, under = by_fid[4]
    plx.equal((over["name"], over["fields"]["tmpth"]), ("Temperature Threshold, over", shown("ctrl")["wctemp"]), "threshold")
    plx.equal(under["cdw11"], 1 << 20, "THSEL")
    plx.equal([f["nsid"] for f in by_fid[5]], [1, 2, 3], "error recovery by namespace")
    queues = by_fid[7][0]
    plx.equal(queues["fields"], {"nsqa": 127, "ncqa": 127}, "queues")
    plx.equal(queues["current"], 127 << 16 | 127, "value")
    plx.equal(by_fid[1][0]["default"], by_fid[1][0]["current"], "arbitration is at its default")
    plx.equal(by_fid[1][0]["changeable"], True, "changeable")
    plx.equal(by_fid[1][0]["saveable"], False, "saveable")
    plx.equal(len(by_fid[0x81][0]["data"]), 32, "host identifier in hexadecimal")


# ---- text ----

def test_text_is_in_words_and_units():
    result = identify("--virtual", PI).ok()
    for pattern in (r"^  mn +Model +pollux virtual controller$",
                    r"^  mdts +Maximum data transfer size +5 \(128 KiB\)$",
                    r"^  wctemp +Warning temperature +343 K \(70 °C\)$",
                    r"^              Compare and Write +yes$",
                    r"^              Format NVM +no$",
                    r"^  nsze +Size +4096 blocks \(16 MiB\)$",
                    r"^              Type +1$",
                    r"^  lbaf 0 +4096 bytes of data, 8 of metadata +best performance, in use$",
                    r"^  Temperature +310 K \(37 °C\)$",
                    r"^  Available spare +100 %$",
                    r"^  slot 1 +Revision +\S+, active$",
                    r"^  0x09 +Dataset Management +changes data, scope: namespace$",
                    r"^  0x02 +SMART / Health Information$",
                    r"^              I/O submission queues +127 \(means 128 queues\)$",
                    r"^  0x0c +Autonomous Power State Transition$"):
        result.says(pattern)
    plx.equal(result.err, "", "standard error", result)
    plx.check(not re.search(r"[ \t]$", result.out, re.MULTILINE), "blanks at the end of a line", result)


def test_each_part_can_be_shown_alone():
    for what, key in KEYS.items():
        # time goes on, and the queues are elsewhere in another process
        one, other = (re.sub(r"\d+ ms \(.* UTC\)|(?<= queue) +0x[0-9a-f]+$", "",
                             identify("--virtual", SMALL, name).ok().out, flags=re.MULTILINE)
                      for name in (what, key))
        plx.check(len(one.split("\n")) > 2, f"{what} says nothing")
        plx.equal(other, one, f"{key}, the other name of {what}")


def test_the_dump_is_the_page():
    page = dumped("ctrl")
    plx.equal(len(page), 4096, "bytes of Identify Controller")
    plx.equal(page[24:64].decode().rstrip(), "pollux virtual controller", "model in the dump")
    plx.equal(len(dumped("error")), 64 * 64, "bytes of the error log")


# ---- what is refused ----

def test_command_lines_that_make_no_sense_are_refused_in_one_line():
    for args, says in ((["--bogus"], "'--bogus'"),
                       (["-z"], "'-z'"),
                       (["everything"], "'everything'"),
                       (["-r", "nonsense"], "'nonsense'"),
                       (["-r", "trtype:FLOPPY traddr:0"], "'FLOPPY'"),
                       (["-r", "trtype:VIRTUAL traddr:x"], "no address"),
                       (["-r"], "-r needs a value"),
                       (["-n", "0"], "'0'"),
                       (["-n", "x"], "'x'"),
                       (["-n", "2", "-r", "trtype:VIRTUAL ns:1"], "ns:1"),
                       (["-s", "some"], "'some'"),
                       (["-T", "nobody"], "'nobody'"),
                       (["-x", "--json"], "--json"),
                       (["--log", "300"], "'300'"),
                       (["--log", "nonsense"], "'nonsense'"),
                       (["--log-len", "4", "ctrl"], "--log"),
                       (["--log-len", "3", "--log", "0xca"], "multiple of 4"),
                       (["--feature", "0"], "'0'"),
                       (["-o", "x"], "one page"),
                       (["-o", "x", "--json", "ctrl"], "--json"),
                       (["-o", "x", "features"], "features"),
                       (["--json=x"], "no value"),
                       (["--virtual", "colour=red"], "colour=red"),
                       (["--virtual", "size=1M", "-r", "trtype:PCIe traddr:0000:01:00.0"], "--virtual"),
                       (["a\nb"], "a?b"),
                       (["--virtual", SMALL, "-n", "7"], "-n 7"),
                       (["--virtual", PI, "--json", "ns"], "1, 2, 3")):
        refused(*args, says=says)


def test_a_device_that_is_not_there_is_one_line_and_exit_code_1():
    refused("-r", "trtype:PCIe traddr:0000:7f:1f.7", code=1, says="0000:7f:1f.7")
    refused("--virtual", "size=16M,namespaces=64,vanish=10us", code=1, says="gone")


def test_output_that_cannot_be_written_is_an_error():
    result = plx.run("/bin/sh", "-c", f"{shlex.quote(plx.program('plx-identify'))} --virtual {SMALL} > /dev/full")
    result.fails(1, says="standard output")


@plx.long
def test_documented_commands_run():
    text = (plx.SOURCE / "docs" / "identify.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("plx-identify")]
    plx.check(len(commands) >= 5, f"there are {len(commands)} commands in docs/identify.md")
    path = f"{os.path.dirname(plx.program('plx-identify'))}:{os.environ['PATH']}"
    with plx.scratch() as place:
        for command in commands:
            result = plx.run("/bin/sh", "-c", command, env={"PATH": path}, cwd=place)
            # a device that is not here: understood, and not found
            plx.equal(result.code, 1 if " -r " in command else 0, "exit code", result)
            plx.check(result.out or " -r " in command or " -o " in command, "nothing was shown", result)


def test_closed_streams_take_no_harm():
    for closed, code in ((">&-", 1), ("2>&-", 0), ("<&-", 0), (">&- 2>&- <&-", 1)):
        result = plx.run("/bin/sh", "-c", f'exec "$0" --virtual {SMALL} {closed}', plx.program("plx-identify"))
        plx.equal(result.code, code, f"exit code with {closed}", result)


def test_a_page_goes_into_a_file_as_it_is():
    path = os.path.join(scratch.name, "out")
    for args in (["ctrl"], ["--log", "2"], ["--log", "smart"]):
        result = identify("--virtual", SMALL, *args, "-o", path).ok()
        plx.equal(result.out, "", "standard output", result)
        with open(path, "rb") as file:
            page = file.read()
        plx.equal(len(page), 4096 if args == ["ctrl"] else 512, f"bytes of {args}")
    identify("--virtual", SMALL, "ctrl", "-o", path).ok()
    with open(path, "rb") as file:
        plx.equal(file.read()[24:40].decode(), "pollux virtual c", "model")
    identify("--virtual", SMALL, "-x", "ctrl", "-o", path).ok()
    with open(path, encoding="ascii") as file:
        plx.equal(printed_pages(file.read())[0][24:40].decode(), "pollux virtual c", "model in hexadecimal")
    identify("--virtual", SMALL, "ctrl", "-o", os.path.join(scratch.name, "no", "where")).fails(1, says="cannot be written")


def test_what_is_named_and_not_there_is_an_error_and_is_left_out_of_everything():
    everything = shown()
    plx.check("sanitize-log" not in everything and "resv-report" not in everything, "what is not there is shown")
    for what in ("sanitize", "zones", "fdp-stats", "primary", "--zones"):
        result = identify("--virtual", SMALL, what)
        result.fails(1, says="not supported")
    result = identify("--virtual", SMALL, "--json", "sanitize")
    plx.equal((result.code, result.json()), (1, None), "exit code and JSON")
    identify("--virtual", SMALL, "--log", "0xca").fails(1, says="not supported")


def test_one_feature_can_be_chosen():
    features = shown("--feature", "4")
    plx.equal([f["cdw11"] for f in features], [0, 1 << 20], "both thresholds")
    identify("--virtual", SMALL, "--feature", "0xc5").fails(1, says="not supported")


def test_help_lists_parts_and_keys():
    result = identify("--help").ok()
    for word in (*KEYS, *KEYS.values(), "--virtual", "namespaces=N", "-n, --namespace-id"):
        plx.check(word in result.out, f"--help lacks {word!r}", result)
    plx.equal(identify("-h").ok().out, result.out, "-h")
    identify("--version").ok().says(r"^plx-identify \d+\.\d+\.\d+$")


try:
    plx.main()
finally:
    scratch.cleanup()
