# SPDX-License-Identifier: Apache-2.0
"""The two ends of the region `demo`, and who is there."""

import os
import sys

import vsoc
from vsoc import eventually, expect, is_readable, wait_readable

mount = sys.argv[1]
demo = f"{mount}/demo"

# What peers call the ends.
GUEST, HOST = 0, 1
# The directory of each end, that of the other one, and what peers call the other one.
ENDS = {"guest": (demo, demo + "/peer", HOST), "host": (demo + "/peer", demo, GUEST)}


def peers(path):
    return vsoc.peers(path + "/info")


def stats(key):
    return vsoc.facts(mount + "/.vsocfs/stats")[key]


def wait_for_nobody():
    """Until the daemon has noticed that all are gone."""
    for path in (demo, demo + "/peer"):
        eventually(f"nobody is at {path}: {peers(path)}", lambda path=path: peers(path) == [])


def ring(path):
    with open(path + "/doorbell", "w") as bell:
        bell.write("\n")


class Listener:
    """A client of the mount at an end."""

    def __init__(self, path):
        self.bell = os.open(path + "/doorbell", os.O_RDWR | os.O_NONBLOCK)

    def expect_ring(self):
        wait_readable(self.bell)
        expect(set(os.read(self.bell, 1100).split()), {b"0x00000000"})

    def drink(self):
        """Takes in what is left of earlier rings."""
        while is_readable(self.bell):
            os.read(self.bell, 1100)
