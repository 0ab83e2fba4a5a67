#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads absolute paths, one a line, and prints what an archive must hold for them to be usable.

That is each path that exists, the directories above it, and whatever symbolic links on the way
lead to, all by their real places, without the leading slash and parents first, as cpio wants them.
"""
import os
import sys

seen = set()
entries = set()


def add(path):
    if path in seen or path == "/":
        return
    seen.add(path)
    parent, name = os.path.split(path)
    add(parent)
    parent = os.path.realpath(parent)
    place = os.path.join(parent, name)
    if place != path:
        add(place)
    elif os.path.lexists(path):
        entries.add(path)
        if os.path.islink(path):
            add(os.path.normpath(os.path.join(parent, os.readlink(path))))


for line in sys.stdin:
    add(os.path.normpath(line.rstrip("\n")))
for entry in sorted(entries):
    print(entry[1:])
