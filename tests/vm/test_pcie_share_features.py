#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""One SSD for several processes, together with what else a controller can: interrupts, memory of its own, resets of its
function; and for the processes of an ordinary user."""
import os
import signal

import vm
import plx
import pcie
import share

USER = 1000
FOLDER = f"/var/tmp/pollux-{USER}"


vfio = pcie.given("vfio-pci", long=True)

test_owner_with_interrupts = vfio(share.owner_with_interrupts)
test_owner_with_a_memory_buffer = vfio(share.owner_with_a_memory_buffer)
test_persistent_memory = vfio(share.persistent_memory)
test_function_reset_under_load = vfio(share.function_reset_under_load)


def user(function):
    """plx.run or plx.start, of a program of ours as an ordinary user that may lock 1 GiB"""
    as_user = ("/bin/bash", "-c", 'ulimit -l 1048576 && exec setpriv "$@"', "bash", "--reuid", USER, "--regid", USER,
               "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")

    def call(name, *arguments, **options):
        return function(*as_user, plx.program(name), *arguments, **options)

    return call


@vfio
def test_other_users_are_refused(bdf):
    """whatever they try, the owner does not notice"""
    group, theirs = pcie.group_file(bdf), user(plx.run)
    with share.owner(bdf) as first:
        theirs(*share.load(bdf, 2, 1)).fails(1, says=f"no permission to open {group}")
        os.chown(group, USER, USER)
        theirs(*share.load(bdf, 2, 1)).fails(1, says=f"no process of this user .{USER}. shares it under id {share.ID}: whoever "
                                                     "has it was started without a share id, or by another user")
        theirs(*share.load(bdf, 2, 1), env={"PLX_SHARE_DIR": "/run/pollux"}).fails(1, says="/run/pollux: Permission denied")
        share.clean(plx.run(*share.load(bdf, 2, 1)).ok())
        share.clean(share.end(first).ok())


@vfio
def test_users_share_among_themselves(bdf):
    os.chown(pcie.group_file(bdf), USER, USER)
    theirs = user(plx.start)
    with share.owner(bdf, start=theirs) as first, share.guest(bdf, 2, first, start=theirs) as second:
        plx.run(*share.load(bdf, 3, 1)).fails(1, says=f"no process of this user .0. shares it under id {share.ID}")
        plx.run(*share.load(bdf, 3, 1), env={"PLX_SHARE_DIR": FOLDER}).fails(
            1, says=f"{FOLDER}, belongs to user {USER} with mode 700.*this user's .0. alone")
        share.clean(user(plx.run)(*share.load(bdf, 3, 1)).ok())
        second.signal(signal.SIGKILL)
        first.wait_for(f"process {second.process.pid}, which shared it, has ended: its 1 queue pairs are taken back", 60)
        share.clean(share.end(first).ok())


vm.main_in_guest("--iommu", "48", "--memory", "2048", "--module", "vfio-pci", "--append", "iomem=relaxed",
                 "--qemu", "-object memory-backend-ram,id=persistent,share=on,size=2M",
                 "--nvme", "serial=PLXA,max_ioqpairs=3,cmb_size_mb=16,pmrdev=persistent", *share.SSD[2:])
