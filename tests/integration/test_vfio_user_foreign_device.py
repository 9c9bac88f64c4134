#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our driver on a foreign vfio-user device (vfio_user_device.py): plx-identify and plx-perf work whatever its habits.

What devices do that they must not: test_vfio_user_misbehaving_device.py."""
import plx
from foreign_device import device, identify, perf


def works(options, sizes="512:20,4k:40,20k:20,128k:20", qpairs=2, count=300, depth=8, blocks=16384):
    with device(f"--blocks {blocks} {options}") as trid:  # --verify writes each of them beforehand
        ctrl = identify(trid, "--json", "ctrl").ok().json()
        plx.equal((ctrl["mn"], ctrl["sn"]), ("foreign device", "FOREIGN1"), f"identify ({options})")
        result = perf(trid, "-q", depth, "-o", sizes, "-w", "randrw", "-M", "50", "-d", count, "-P", qpairs, "--verify").ok()
        total = result.json()["total"]
        plx.equal(total["errors"], 0, f"errors ({options})", result)
        plx.equal(total["ios"], count * qpairs, f"I/Os ({options})", result)


def test_doorbells_that_can_be_mapped_in_one_area():
    works("", blocks=131072)


def test_any_doorbell_stride():
    for stride in range(1, 6):
        works(f"--stride {stride} --queues 4", count=60)


def test_doorbells_in_many_areas():
    works("--sparse pages --stride 5 --queues 64")


def test_doorbells_of_which_only_the_first_page_can_be_mapped():
    works("--sparse first --stride 5 --queues 64", qpairs=20, count=60, blocks=131072)


def test_all_of_the_region_can_be_mapped():
    works("--sparse whole --bar-offset 65536")


def test_nothing_can_be_mapped():
    works("--sparse none")
    works("--sparse empty", count=60)


def test_unknown_capabilities_of_a_region_and_more_regions_than_pci_has():
    works("--sparse behind --extra-bars")


def test_every_kind_of_version_data():
    for caps in ("none", "no-data", "unknown", "no-nul", "spaces"):
        works(f"--caps {caps} --minor 0", count=60)


def test_few_descriptors_and_small_transfers():
    works("--max-msg-fds 1 --max-data-xfer-size 64 --max-dma-maps 32")


def test_memory_reached_by_messages_only():
    works("--dma messages --dma-no-reply", count=40)
    works("--dma messages --sparse none --chunk 999", count=20)


def test_memory_reached_by_messages_now_and_then():
    works("--dma mixed")


def test_requests_of_the_device_between_command_and_reply():
    for how in ("post", "wait"):
        works(f"--interleave {how} --sparse none", count=100)


def test_messages_in_pieces():
    works("--dribble --dma messages", count=20)


def test_small_and_odd_queues():
    for mqes in (1, 2, 6, 4095):
        works(f"--mqes {mqes}", count=100, depth=min(mqes, 16))


def test_any_largest_transfer():
    for mdts in (0, 1, 2):
        works(f"--mdts {mdts}", count=60)


def test_one_queue_only():
    with device("--queues 1") as trid:
        perf(trid, "-q", "4", "-d", "50", "-w", "randread").ok()
        result = perf(trid, "-q", "4", "-d", "50", "-w", "randread", "-P", "3")
        plx.check(not result.timed_out and result.code in (1, 2), "three queue pairs where there is one", result)


def test_a_device_that_takes_its_time_to_be_ready():
    works("--ready-after 1.5", count=60)


def test_blocks_of_4096_bytes_and_several_namespaces():
    works("--block 4096", sizes="4k:50,8k:25,128k:25")
    with device("--block 4096 --blocks 1024 --namespaces 3") as trid:
        namespaces = identify(trid, "--json", "ctrl", "ns").ok().json()["id-ns"]
        plx.equal([n["nsze"] for n in namespaces], [1024] * 3, "blocks of the namespaces")


def test_controllers_of_every_version():
    for version in ("1.0", "1.2", "1.3", "1.4"):
        works(f"--vs {version}", count=60)
    works("--csi", count=60)


def test_sgls_and_completions_out_of_order():
    works("--sgl --reorder", depth=32, blocks=131072)


def test_identify_shows_all_of_it():
    with device("--namespaces 2") as trid:
        result = identify(trid).ok()
        result.says("foreign device")
        identify(trid, "--json").ok().json()


def test_a_device_serves_one_program_after_the_other():
    with device("") as trid:
        for _ in range(8):
            identify(trid, "ctrl").ok()


def test_nobody_listens():
    with plx.scratch() as traddr:
        result = identify(f"trtype:VFIOUSER traddr:{traddr}")
        plx.check(result.code == 1 and result.err.count("\n") == 1, "no socket", result)
        result = identify(f"trtype:VFIOUSER traddr:{traddr}/{'x' * 200}")
        plx.check(result.code in (1, 2), "a path too long for a socket", result)


plx.main()
