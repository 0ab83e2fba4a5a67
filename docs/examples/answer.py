#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Answers questions at the host end of a region: the square of what ask.c stores.

    docs/examples/answer.py /mnt/vsoc/demo
"""
import fcntl
import mmap
import os
import select
import struct
import sys

VSOC_COND_WAKE = 0xF508


def words(text):
    """The `key value` lines of an info file."""
    return dict(line.split(" ", 1) for line in text.splitlines())


def main(region):
    with open(f"{region}/peer/info") as info:
        facts = words(info.read())
    question = int(facts["data_offset"])
    answer = question + 4

    # Calls act for the end whose file they are made on; the memory is the same, and the region's own
    # file can be mapped in every mode.
    data = os.open(f"{region}/peer/data", os.O_RDWR)
    memory = mmap.mmap(os.open(f"{region}/data", os.O_RDWR), int(facts["size"]))
    doorbell = os.open(f"{region}/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(doorbell, select.POLLIN)
    print("ready", flush=True)

    while True:
        poll.poll()
        try:
            lines = os.read(doorbell, 4096).split()
        except BlockingIOError:
            continue
        for line in lines:
            if int(line, 16) != question:
                continue
            (number,) = struct.unpack_from("<I", memory, question)
            struct.pack_into("<I", memory, answer, number * number & 0xFFFFFFFF)
            # Wakes whoever sleeps on the answer: in an ioctl as in a futex.
            fcntl.ioctl(data, VSOC_COND_WAKE, answer)
            print(f"{number} -> {number * number}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: answer.py REGION-DIRECTORY")
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        pass
