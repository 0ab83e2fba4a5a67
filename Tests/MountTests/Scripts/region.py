# SPDX-License-Identifier: Apache-2.0
"""A region as a peer takes part in it that has its memory and nothing else (docs/protocol.md)."""

import ctypes
import mmap
import os
import struct

# The atomic operations of C, which Python has none of.
_LIBRARY = ctypes.CDLL("libatomic.so.1")
_SEQUENTIAL = 5


def _operation(name, *arguments):
    function = getattr(_LIBRARY, f"__atomic_{name}_4")
    function.restype = None if name == "store" else ctypes.c_uint32
    function.argtypes = [ctypes.c_void_p, *arguments]
    return function


_load = _operation("load", ctypes.c_int)
_store = _operation("store", ctypes.c_uint32, ctypes.c_int)
_exchange = _operation("exchange", ctypes.c_uint32, ctypes.c_int)
_compare_exchange = _operation(
    "compare_exchange", ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_int
)


class Table:
    """A signal table: where its slots are, and its interrupt word."""

    def __init__(self, nodes_lg2, offset, word):
        self.slots = [offset + 4 * index for index in range(1 << nodes_lg2)]
        self.word = word


class Header:
    """What the beginning of a region says of it."""

    def __init__(self, text):
        major, minor, self.size, count, offset = struct.unpack_from("<HHIII", text)
        if (major, minor, count) != (2, 0, 1):
            raise AssertionError(f"version {major}.{minor}, {count} regions")
        fields = struct.unpack_from("<HHIII3I3I16sI", text, offset)
        self.data = fields[4]
        self.guest_to_host = Table(*fields[5:8])
        self.host_to_guest = Table(*fields[8:11])
        self.name = fields[11].rstrip(b"\0").decode()

    def tables(self, end):
        """The table in which that end posts, and the one that it drains."""
        tables = self.guest_to_host, self.host_to_guest
        return tables if end == "guest" else tables[::-1]


class Region:
    """A mapping of one at `end`."""

    def __init__(self, fd, end="guest"):
        self.size = os.fstat(fd).st_size
        self.memory = mmap.mmap(fd, self.size)
        self.header = Header(self.memory[:4096])
        self.outgoing, self.incoming = self.header.tables(end)
        self._anchor = ctypes.c_char.from_buffer(self.memory)
        self._address = ctypes.addressof(self._anchor)

    def close(self):
        self._anchor = None
        self.memory.close()

    def load(self, offset):
        return _load(self._address + offset, _SEQUENTIAL)

    def store(self, offset, value):
        _store(self._address + offset, value, _SEQUENTIAL)

    def exchange(self, offset, value):
        return _exchange(self._address + offset, value, _SEQUENTIAL)

    def compare_exchange(self, offset, expected, value):
        expected = ctypes.c_uint32(expected)
        return bool(
            _compare_exchange(
                self._address + offset, ctypes.byref(expected), value, _SEQUENTIAL, _SEQUENTIAL
            )
        )

    def post(self, offset):
        """False if the table is full."""
        slots = self.outgoing.slots
        for index in range(len(slots)):
            slot = slots[(offset // 4 + index) % len(slots)]
            current = self.load(slot)
            while current in (0, offset):
                if self.compare_exchange(slot, current, offset):
                    return True
                current = self.load(slot)
        return False

    def raise_interrupt(self):
        """Whether one has to ring now."""
        return self.exchange(self.outgoing.word, 1) == 0

    def drain(self):
        """The offsets that have come."""
        taken = []
        while True:
            self.exchange(self.incoming.word, 0)
            for slot in self.incoming.slots:
                if self.load(slot) != 0 and (offset := self.exchange(slot, 0)) != 0:
                    taken.append(offset)
            if self.load(self.incoming.word) == 0:
                return taken
