# SPDX-License-Identifier: Apache-2.0
"""The client's side of the ivshmem protocol: a virtual machine without the machine."""

import os
import socket
import struct
import time

from host_client import Refused, receive
from vsoc import DEADLINE, expect, is_readable, wait_readable


def connect(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(path)
    return connection


class IvshmemClient:
    """Connects to `path` as QEMU does, which accepts the messages in one order only."""

    def __init__(self, path):
        self.connection = connect(path)
        # Whatever came, in its order: numbers, and whether a descriptor came with each.
        self.messages = []
        self.peers = {}
        expect(self._receive(), (0, None))
        self.id, descriptor = self._receive()
        expect(descriptor, None)
        number, self.memory = self._receive()
        expect((number, self.memory is not None), (-1, True))
        while True:
            number, descriptor = self._receive()
            if descriptor is None:
                raise AssertionError(f"{number} without a descriptor in the handshake")
            if number == self.id:
                self.bell = descriptor
                break
            expect(number in self.peers, False)
            self.peers[number] = descriptor

    def _receive(self):
        data, descriptors = receive(self.connection, 8)
        (number,) = struct.unpack("<q", data)
        expect(len(descriptors) <= 1, True)
        self.messages.append((number, bool(descriptors)))
        return number, descriptors[0] if descriptors else None

    # The others.

    def update(self, deadline=0.0):
        """Takes in one message, if one comes: who has come or left."""
        if not is_readable(self.connection, deadline):
            return False
        number, descriptor = self._receive()
        if number in self.peers:
            os.close(self.peers[number])
        elif descriptor is None:
            raise AssertionError(f"{number} has left, and was not there")
        if descriptor is None:
            del self.peers[number]
        else:
            self.peers[number] = descriptor
        return True

    def wait_for_peers(self, *wanted):
        """Until exactly these are there."""
        end = time.monotonic() + DEADLINE
        while set(self.peers) != set(wanted):
            if not self.update(max(end - time.monotonic(), 0)):
                raise TimeoutError(f"peers {sorted(self.peers)}, not {sorted(wanted)}")

    def ring(self, peer, count=1):
        os.write(self.peers[peer], struct.pack("=Q", count))

    # Its own bell.

    @property
    def is_rung(self):
        return is_readable(self.bell)

    def wait(self):
        """Waits for a ring: how many there were."""
        wait_readable(self.bell)
        return struct.unpack("=Q", os.read(self.bell, 8))[0]

    def take_rings(self):
        """Whether there were any."""
        return self.is_rung and self.wait() > 0

    # Its end.

    def is_closed(self, deadline=DEADLINE):
        """Whether the server closes the connection within that time, whatever else it says."""
        end = time.monotonic() + deadline
        try:
            while is_readable(self.connection, max(end - time.monotonic(), 0)):
                self._receive()
        except Refused:
            return True
        return False

    def close(self):
        self.connection.close()
        for fd in (self.memory, self.bell, *self.peers.values()):
            os.close(fd)
        self.peers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
