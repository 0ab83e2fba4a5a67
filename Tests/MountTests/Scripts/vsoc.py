# SPDX-License-Identifier: Apache-2.0
"""The ioctl numbers and structures of `data`, for the test programs here."""

import fcntl
import os
import select
import struct
import sys
import time

TYPE = 0xF5
MAYBE_SEND_INTERRUPT = TYPE << 8 | 2
WAIT_FOR_INCOMING = TYPE << 8 | 3
DESCRIBE = 2 << 30 | 60 << 16 | TYPE << 8 | 4
SELF_INTERRUPT = TYPE << 8 | 5
SEND_INTERRUPT = TYPE << 8 | 6
COND_WAIT = 3 << 30 | 32 << 16 | TYPE << 8 | 7
COND_WAKE = TYPE << 8 | 8
REGION_INFO = 2 << 30 | 32 << 16 | TYPE << 8 | 0x40
POST = TYPE << 8 | 0x43
DRAIN = 2 << 30 | 256 << 16 | TYPE << 8 | 0x44
SIGNAL_INJECT = TYPE << 8 | 0x45

# How many times slower than usual the tests say that this machine is: what should happen at once may
# take longer, and what takes long is done less often.
SLOWNESS = int(os.environ.get("VSOCFS_TEST_SLOWNESS", "1"))
DEADLINE = 20 * SLOWNESS


def run_case(cases):
    """Calls the one of the functions in `cases` that the command line names, after the mountpoint."""
    cases[sys.argv[2]](*sys.argv[3:])


def expect(actual, wanted):
    if actual != wanted:
        raise AssertionError(f"{actual!r}, not {wanted!r}")


def expect_error(error, call, *arguments):
    try:
        result = call(*arguments)
    except OSError as caught:
        expect(os.strerror(caught.errno), os.strerror(error))
    else:
        raise AssertionError(f"{result!r}, not {os.strerror(error)}")


def eventually(what, condition):
    """Looks again and again: for what no descriptor tells of."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.001)


def is_readable(fd, seconds=0.0):
    """Whether it becomes readable within that time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def wait_readable(fd):
    if not is_readable(fd, DEADLINE):
        raise TimeoutError("nobody rings")


def descriptors(process):
    """How many it has open."""
    return len(os.listdir(f"/proc/{process}/fd"))


def describe(fd):
    """(versions, begin, end, data, guest_to_host, host_to_guest, name, managed_by)"""
    fields = struct.unpack("<HHIII3I3I16sI", fcntl.ioctl(fd, DESCRIBE, bytes(60)))
    name = fields[11].rstrip(b"\0").decode()
    return fields[:2], *fields[2:5], fields[5:8], fields[8:11], name, fields[12]


def drain(fd):
    words = struct.unpack("<64I", fcntl.ioctl(fd, DRAIN, bytes(256)))
    return list(words[2 : 2 + words[0]])


def cond_wait(fd, offset, value, wait_type=1, seconds=0, nanoseconds=0):
    """The number of wakeups."""
    argument = bytearray(struct.pack("<IIQIIII", offset, value, seconds, nanoseconds, wait_type, 0, 0))
    fcntl.ioctl(fd, COND_WAIT, argument, True)
    return struct.unpack("<IIQIIII", argument)[5]


def facts(path):
    """The `key value` lines of an info file."""
    with open(path, encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split(" ", 1) for line in lines)


def peers(path):
    """The peers that an info file names, such as ("vm", 2)."""
    with open(path, encoding="utf-8") as lines:
        words = [line.split() for line in lines]
    return sorted((kind, int(number)) for key, kind, number in (w for w in words if w[0] == "peer"))
