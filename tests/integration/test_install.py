#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What `meson install` puts on a system is what a program outside of this tree needs."""
import os
import pathlib
import re
import shlex

import plx

PROGRAM = r"""
#include <pollux/nvme.h>
#include <stdio.h>

int main(void)
{
	struct plx_nvme_trid trid;
	char text[512];

	if (plx_nvme_trid_parse(&trid, "trtype:pcie traddr:0000:04:00.0 ns:1", text, sizeof(text)))
		return 1;
	puts(plx_nvme_trid_format(&trid, text, sizeof(text)));
	return 0;
}
"""
CC = shlex.split(os.environ.get("CC", "cc"))
SANITIZE = os.environ.get("PLX_SANITIZE", "none")
# libraries built with a sanitizer need it in the program too
CC_FLAGS = ["-Wall", "-Werror"] + ([f"-fsanitize={SANITIZE}"] if SANITIZE != "none" else [])

scratch = plx.scratch()
root = pathlib.Path(scratch.name)


def compiler(*args, **options):
    return plx.run("/usr/bin/env", *CC, *CC_FLAGS, *args, **options)


def one(pattern):
    found = sorted(root.glob(pattern))
    plx.check(found, f"nothing installed matches {pattern}")
    return found[0]


def pkg_config(*args):
    """pkg-config, with the scratch directory in the place of / in our own .pc files only"""
    own = root / "pc"
    if not own.exists():
        files = list(one("**/pollux-nvme.pc").parent.glob("pollux-*.pc"))
        own.mkdir()
        for file in files:
            text = re.sub(r"(?m)^prefix=", f"prefix={root}", file.read_text())
            (own / file.name).write_text(text)
    result = plx.run("/usr/bin/pkg-config", *args, env={"PKG_CONFIG_PATH": str(own)}).ok()
    return shlex.split(result.out)


def test_installs_into_a_destdir():
    plx.run("/usr/bin/meson", "install", "-C", plx.BUILD, "--no-rebuild", "--quiet",
            "--destdir", root, timeout=120).ok()
    for library in ("core", "nvme", "bdev"):
        one(f"**/libpollux-{library}.so")
        one(f"**/libpollux-{library}.a")
        one(f"**/pkgconfig/pollux-{library}.pc")


def test_a_program_is_built_with_pkg_config_and_runs():
    (root / "hello.c").write_text(PROGRAM)
    flags = pkg_config("--cflags", "--libs", "pollux-nvme")
    compiler("-o", root / "hello", root / "hello.c", *flags).ok()
    libs = one("**/libpollux-nvme.so").parent
    result = plx.run(root / "hello", env={"LD_LIBRARY_PATH": str(libs)}).ok()
    plx.equal(result.out, "trtype:PCIe traddr:0000:04:00.0 ns:1\n", "what the program printed", result)


def test_each_public_header_compiles_alone():
    flags = pkg_config("--cflags", "pollux-nvme")
    headers = sorted(one("**/include/pollux/nvme.h").parent.glob("*.h"))
    for header in headers:
        (root / "alone.c").write_text(f"#include <pollux/{header.name}>\nint main(void) {{ return 0; }}\n")
        compiler("-Wextra", "-Wno-unused-parameter", "-fsyntax-only", root / "alone.c", *flags).ok()


def test_libraries_export_nothing_but_plx_names():
    for library in one("**/libpollux-core.so").parent.glob("libpollux-*.so"):
        symbols = plx.run("/usr/bin/nm", "-D", "--defined-only", "--format=posix", library).ok().out.split("\n")
        names = [line.split()[0] for line in symbols if line]
        plx.check(names, f"{library.name} exports nothing")
        foreign = [n for n in names if not n.startswith(("plx_", "__asan_", "__odr_asan"))]
        plx.equal(foreign, [], f"{library.name} exports other names")


try:
    plx.main()
finally:
    scratch.cleanup()
