# SPDX-License-Identifier: Apache-2.0
"""The client's side of the vsoc host-client protocol."""

import array
import os
import socket
import struct

from region import Region
from vsoc import DEADLINE, is_readable, wait_readable


class Refused(Exception):
    """The server has closed the connection."""


def receive(connection, count):
    """That many bytes and the descriptors that came with them."""
    data, descriptors = b"", array.array("i")
    while len(data) < count:
        try:
            part, ancillary, _, _ = connection.recvmsg(
                count - len(data), socket.CMSG_SPACE(4 * descriptors.itemsize)
            )
        except ConnectionResetError:
            part, ancillary = b"", []
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(content[: len(content) // 4 * 4])
        if not part:
            raise Refused(f"after {len(data)} of {count} bytes")
        data += part
    return data, list(descriptors)


def connect(path):
    """A connection whose server has said its version."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(path)
    version, descriptors = receive(connection, 4)
    if (version, descriptors) != (bytes(4), []):
        raise AssertionError(f"version {version!r} with descriptors {descriptors}")
    return connection


def request(name):
    name = name.encode()
    return struct.pack("=h", len(name)) + name


class HostClient:
    """A client that has been given the two doorbells and the memory of a region."""

    def __init__(self, path, name):
        self.connection = connect(path)
        self.connection.sendall(request(name))
        self._finish()

    @classmethod
    def of(cls, connection):
        """One that has said by itself what it wants."""
        client = cls.__new__(cls)
        client.connection = connection
        client._finish()
        return client

    def _finish(self):
        reply, descriptors = receive(self.connection, 8)
        if (reply, len(descriptors)) != (bytes(8), 3):
            raise AssertionError(f"reply {reply!r} with descriptors {descriptors}")
        self.incoming, self.outgoing, self.memory = descriptors

    def map(self):
        return Region(self.memory, "host")

    def ring(self):
        os.write(self.outgoing, struct.pack("=Q", 1))

    def wait(self):
        """Waits for a ring of the guest end: how many there were."""
        wait_readable(self.incoming)
        return struct.unpack("=Q", os.read(self.incoming, 8))[0]

    @property
    def is_rung(self):
        return is_readable(self.incoming)

    @property
    def is_closed(self):
        return is_readable(self.connection)

    def close(self):
        for fd in self.incoming, self.outgoing, self.memory:
            os.close(fd)
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
