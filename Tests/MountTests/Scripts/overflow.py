# SPDX-License-Identifier: Apache-2.0
"""A handle that is not read while more than 65,536 distinct offsets come."""

import os
import sys

from vsoc import expect

mount = sys.argv[1]
sender = os.open(f"{mount}/demo/doorbell", os.O_RDWR)
slow = os.open(f"{mount}/demo/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)
fast = os.open(f"{mount}/demo/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)


def read_all(fd):
    text = b""
    while True:
        try:
            text += os.read(fd, 65536)
        except BlockingIOError:
            return [int(line, 16) for line in text.split()]


offsets = list(range(8192, 8192 + 70_000 * 4, 4))
seen = []
for start in range(0, len(offsets), 64):
    part = offsets[start : start + 64]
    os.write(sender, b" ".join(b"%d" % offset for offset in part))
    seen += read_all(fast)
expect([offset for offset in seen if offset], offsets)

lines = read_all(slow)
expect(0xFFFFFFFF in lines, True)
expect(len(lines) <= 65_537, True)
expect(len(set(lines)), len(lines))
expect(set(lines) <= set(offsets) | {0, 0xFFFFFFFF}, True)

# From here on it is as any other.
os.write(sender, b"0x2000\n")
expect([offset for offset in read_all(slow) if offset], [0x2000])
expect([offset for offset in read_all(fast) if offset], [0x2000])
