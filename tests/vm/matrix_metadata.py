# SPDX-License-Identifier: BSD-3-Clause
"""SSDs of the matrix with metadata, for blocks of one size: 8 and 16 bytes, separate and extended, each with every type of
protection information; 64-bit guards; protection information in the first bytes."""
from matrix import Device, nvme

PLACES = {"separate": "mset=0", "extended": "mset=1"}


def each_type(serial, properties):
    """a namespace without protection information, then one of each type"""
    return Device(nvme(f"serial={serial}", *(f"size=2M,{properties},pi={kind}" for kind in range(4))), nsids=((1, 2, 3, 4),),
                  pages=("nvm-id-ns",))


def devices(size):
    block = f"logical_block_size={size},physical_block_size={size}"
    found = {f"{count}_bytes_{place}": each_type(f"B{size}M{count}{place[0]}", f"{block},ms={count},{mset}")
             for count in (8, 16) for place, mset in PLACES.items()}
    found["guards_of_64_bits"] = Device(nvme("serial=G64", f"size=2M,{block},ms=16,pi=1,pif=2", f"size=2M,{block},ms=64,mset=1,pi=2,pif=2",
                                             f"size=2M,{block},ms=16,mset=1,pi=3,pif=2"), nsids=((1, 2, 3),), pages=("nvm-id-ns",))
    found["in_the_first_bytes"] = Device(nvme("serial=FIRST", f"size=2M,{block},ms=16,pi=1,pil=1", f"size=2M,{block},ms=64,mset=1,pi=2,pil=1"),
                                         nsids=((1, 2),), pages=("nvm-id-ns",))
    return found
