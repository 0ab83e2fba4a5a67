# SPDX-License-Identifier: Apache-2.0
"""mmap, pread and pwrite of data and peer/data in two processes."""

import mmap
import os
import struct
import sys

import vsoc
from vsoc import expect, expect_error

mount = sys.argv[1]
data = os.open(f"{mount}/demo/data", os.O_RDWR)
size = os.fstat(data).st_size
expect(size, 1 << 20)
memory = mmap.mmap(data, size)
expect(struct.unpack_from("<HHIII", memory, 0), (2, 0, size, 1, 16))

# A child at the other end answers each number with its square, by way of the doorbells.
child = os.fork()
if child == 0:
    # In page-cache mode only the guest end's file can be mapped.
    mode = vsoc.facts(f"{mount}/demo/peer/info")["mode"]
    path = "demo/data" if mode == "page-cache" else "demo/peer/data"
    peer = mmap.mmap(os.open(f"{mount}/{path}", os.O_RDWR), size)
    with open(f"{mount}/demo/peer/doorbell", "r+b", buffering=0) as bell:
        for _ in range(50):
            offset = 0
            while offset == 0:
                offset = int(bell.read(11), 16)
            (number,) = struct.unpack_from("<I", peer, offset)
            struct.pack_into("<I", peer, offset, number * number)
            bell.write(b"%d\n" % offset)
    os._exit(0)

with open(f"{mount}/demo/doorbell", "r+b", buffering=0) as bell:
    for number in range(50):
        offset = 8192 + number * 4
        struct.pack_into("<I", memory, offset, number)
        bell.write(b"0x%x\n" % offset)
        answer = 0
        while answer == 0:
            answer = int(bell.read(11), 16)
        expect(answer, offset)
        expect(struct.unpack_from("<I", memory, offset)[0], number * number)
expect(os.waitpid(child, 0)[1], 0)

expect(os.pwrite(data, b"written", 16384), 7)
expect(memory[16384:16391], b"written")
memory[size - 4 :] = b"last"
peer = os.open(f"{mount}/demo/peer/data", os.O_RDONLY)
expect(os.pread(peer, 100, size - 4), b"last")
expect(os.pread(peer, 100, size), b"")
expect_error(1, os.pwrite, data, b"x", size)
expect(os.fstat(peer).st_size, size)
