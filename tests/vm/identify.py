# SPDX-License-Identifier: BSD-3-Clause
"""plx-identify --json beside nvme-cli's -o json for the same controllers, which the kernel drives before."""
import json
import os
import pathlib
import re

import vm
import plx
import pcie

# key of plx-identify -> nvme-cli's command; DEV is the controller, NS its first namespace's number
COMMANDS = {
    "id-ctrl": "id-ctrl DEV",
    "show-regs": "show-regs DEV",
    "id-ns": "id-ns DEV -n NS",
    "ns-descs": "ns-descs DEV -n NS",
    "list-ns": "list-ns DEV",
    "smart-log": "smart-log DEV",
    "error-log": "error-log DEV -e 256",
    "fw-log": "fw-log DEV",
    "effects-log": "effects-log DEV --csi=0",
    "changed-ns-list-log": "changed-ns-list-log DEV",
    "nvm-id-ctrl": "nvm-id-ctrl DEV",
    "nvm-id-ns": "nvm-id-ns DEV -n NS",
    "zns-id-ctrl": "zns id-ctrl DEV",
    "zns-id-ns": "zns id-ns DEV -n NS",
    "report-zones": "zns report-zones DEV -n NS",
    "list-ctrl": "list-ctrl DEV",
    "primary-ctrl-caps": "primary-ctrl-caps DEV",
    "list-secondary": "list-secondary DEV",
    "endurance-log": "endurance-log DEV -g 1",
    "fdp-configs": "fdp configs DEV -e 1",
    "fdp-usage": "fdp usage DEV -e 1",
    "fdp-stats": "fdp stats DEV -e 1",
    "fdp-status": "fdp status DEV -n NS",
}
OF_NAMESPACES = [key for key, command in COMMANDS.items() if "NS" in command]
# what every controller has
ALWAYS = ("id-ctrl", "id-ns", "show-regs", "smart-log", "fw-log", "error-log", "ns-descs", "effects-log", "list-ns",
          "feature-1", "feature-4", "feature-6")
# what both drivers read the same, whatever they do with the device
FEATURES = (1, 2, 4, 5, 6, 8, 10, 12)
MOVES = {  # values that go on by themselves or by what the drivers do
    "smart-log": ("power_cycles", "unsafe_shutdowns", "power_on_hours", "controller_busy_time", "host_read_commands",
                  "host_write_commands", "data_units_read", "data_units_written", "num_err_log_entries"),
    "id-ctrl": (), "id-ns": ("nuse",),
    "show-regs": ("intms", "intmc", "cc", "csts", "nssr", "aqa", "asq", "acq", "cmbloc", "cmbsz", "cmbmsc"),
}

def tidied(value):
    """32 bits are not negative, strings have no padding, names of commands are left out"""
    if isinstance(value, dict):
        return {re.sub(r" \(.*\)$", "", k) if re.match(r"A?I?O?CS_\d", k) else k: tidied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [tidied(v) for v in value]
    if isinstance(value, int) and value < 0:
        return value + (1 << 32)
    return value.rstrip(" ") if isinstance(value, str) else value


def agrees(key, ours, theirs, device, nsid):
    """every field of nvme-cli's is ours too, with the same value"""
    theirs = json.loads(json.dumps(theirs).replace(f'"{device}"', '"DEVICE"'))
    if isinstance(ours, list) and key != "effects-log":  # an element for each namespace or group
        ours = dict(next((one for one in ours if one.get("nsid") == nsid), ours[0]))
        ours.pop(next(iter(ours)))  # whose it is
    ours, theirs = tidied(ours), tidied(theirs)
    if key == "report-zones":
        ours.pop("states")
    if key == "show-regs" and "pmrcap" not in ours:  # nvme-cli shows them where there is none
        theirs = {name: value for name, value in theirs.items() if not name.startswith("pmr")}
    if key == "fdp-configs":
        for config in ours["configs"]:
            config.pop("ruhs")
            config.pop("maxpids")
    for field in MOVES.get(key, ()):
        ours.pop(field), theirs.pop(field)
    for field in theirs if isinstance(theirs, dict) else ():
        plx.check(field in ours, f"{key} lacks {field}")
        plx.equal(ours[field], theirs[field], f"{key}: {field}")
    plx.equal(ours, theirs, key)


def nvme_says(folder, device, nsid=1, namespace_only=False):
    """nvme-cli's pages and features of a controller, a file for each that it has"""
    os.makedirs(folder, exist_ok=True)
    script = "".join(f"nvme {command.replace('DEV', device).replace('NS', str(nsid))} -o json >{folder}/{key} 2>/dev/null || "
                     f"rm -f {folder}/{key}\n" for key, command in COMMANDS.items() if key in OF_NAMESPACES or not namespace_only)
    if not namespace_only:
        script += f"nvme show-regs {device} -o json >{folder}/show-regs 2>/dev/null\n"  # its exit code is 1, always
        script += "".join(f"nvme get-feature {device} -n {nsid} -f {fid} >{folder}/feature-{fid} 2>/dev/null || "
                          f"rm -f {folder}/feature-{fid}\n" for fid in FEATURES)
    plx.run("/bin/bash", "-c", "PATH=$PATH:/usr/sbin\n" + script)


def compare(folder, ours, device, wanted, nsid=1):
    """what plx-identify says with what is in the folder; returns the keys that were compared"""
    seen = []
    address = ours["fw-log"] and next(iter(ours["fw-log"]))
    ours = json.loads(json.dumps(ours).replace(json.dumps(address), '"DEVICE"'))
    for key in COMMANDS:
        path = pathlib.Path(folder, key)
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        if "{" not in text or key not in ours:
            continue
        start = min(i for i in (text.find("{"), text.find("[")) if i >= 0)
        agrees(key, ours[key], json.loads(text[start:]), device, nsid)
        seen.append(key)
    for fid in FEATURES:
        path = pathlib.Path(folder, f"feature-{fid}")
        value = re.search(r"Current value:\s*(0x[0-9a-f]+)", path.read_text(encoding="utf-8")) if path.exists() else None
        mine = [f for f in ours["get-feature"] if f["fid"] == fid]
        if value and mine:
            plx.equal(mine[0]["current"], int(value[1], 16), f"feature {fid}")
            seen.append(f"feature-{fid}")
    for key in wanted:
        plx.check(key in seen, f"{key} was not compared: {sorted(seen)}")
    return seen


def scanned(bdf):
    """the kernel's controller, once it has a namespace, by itself or in the subsystem"""
    for path in pathlib.Path(pcie.BUS, "devices", bdf, "nvme").glob("nvme*/nvme*n*"):
        device = f"/dev/{path.parent.name}"
        if os.path.exists(device):
            return device
    return None


def namespaces(bdf):
    """identifiers of those that the kernel sees by this controller: disks, or paths of those of a subsystem"""
    found = pathlib.Path(pcie.BUS, "devices", bdf, "nvme").glob("nvme*/nvme*n*/nsid")
    return sorted(int(vm.sysfs(path)) for path in found)


def agreed(bdf, name, nsids, wanted=()):
    """plx-identify --json agrees with nvme-cli on all namespaces, which are those; returns what it says. `wanted`: keys that
    have to be among what is compared, beside those that are always"""
    with plx.scratch() as folder:
        with pcie.bound(bdf, "nvme"):
            device = vm.wait_until(lambda: namespaces(bdf) == nsids and scanned(bdf), f"the kernel's namespaces {nsids} of {bdf}")
            for nsid in nsids:
                nvme_says(f"{folder}/{nsid}", device, nsid, nsid != nsids[0])
        with pcie.bound(bdf, "vfio-pci"):
            ours = plx.run("plx-identify", "-r", pcie.trid(bdf), "--json").ok().json()
        for nsid in nsids:
            keys = [key for key in (*ALWAYS, *wanted) if nsid == nsids[0] or key in OF_NAMESPACES]
            seen = compare(f"{folder}/{nsid}", ours, os.path.basename(device), keys, nsid)
            print(f"# {name}, namespace {nsid}: {len(seen)} pages and features agree: {' '.join(seen)}")
        return ours
