# SPDX-License-Identifier: BSD-3-Clause
"""nvme-cli as the judge of plx-identify's JSON: nvme_replay.c makes it read pages from files."""
import difflib
import json
import os
import shlex
import shutil

import plx

PATH = os.environ["PATH"] + ":/usr/sbin"

scratch = plx.scratch()


def replay():
    """the preload library, made once"""
    library = os.path.join(scratch.name, "nvme_replay.so")
    if not os.path.exists(library):
        if not shutil.which("nvme", path=PATH):
            plx.skip("nvme-cli is not installed")
        source = plx.SOURCE / "tests/integration/nvme_replay.c"
        cc = shlex.split(os.environ.get("CC", "cc"))
        plx.run("/usr/bin/env", *cc, "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, source).ok()
    return library


def run(command, files, form=("-o", "json")):
    """nvme COMMAND on a device made of `files`, the pages by their names for nvme_replay.c"""
    library = replay()
    with plx.scratch() as folder:
        for name, page in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(page)
        return plx.run(shutil.which("nvme", path=PATH), *command, *form,
                       env={"LD_PRELOAD": library, "NVME_REPLAY": folder})


def as_json(result):
    """what a command printed, without the lines that some put before their JSON"""
    text = result.ok().out
    return json.loads(text[text.index("{"):])


def tidied(value):
    """nvme-cli's value as plx-identify should have it: 32 bits are not negative, strings are not padded"""
    if isinstance(value, dict):
        return {k: tidied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [tidied(v) for v in value]
    if isinstance(value, int) and value < 0:
        return value + (1 << 32)
    return value.rstrip(" ") if isinstance(value, str) else value


def same(ours, theirs, what):
    """both in words that show where they differ"""
    texts = [json.dumps(j, indent=1).split("\n") for j in (tidied(theirs), ours)]
    if texts[0] != texts[1]:  # the difference takes its time
        plx.check(False, f"{what} as JSON, nvme-cli's and ours:\n"
                  + "\n".join(difflib.unified_diff(*texts, lineterm="", n=1)))
