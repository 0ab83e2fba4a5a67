# SPDX-License-Identifier: Apache-2.0
"""Many offsets at full speed, with as few rings as interrupt_signalled allows: each of them arrives.

Every offset is posted once, so one that is lost shows, and so does one that comes twice.
"""

import fcntl
import os
import sys
import time

import vsoc
from ivshmem_client import IvshmemClient
from qtest import Machine
from region import Header, Region
from vsoc import DEADLINE, expect, is_readable, wait_readable

mount = sys.argv[1]
demo = f"{mount}/demo"
GUEST, HOST = 0, 1


def fork(body):
    """A process that does it: what this returns waits for its end, which must be a good one."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException as error:
            print(f"{body.__name__}: {error!r}", flush=True)
        os._exit(status)

    def wait():
        descriptor = os.pidfd_open(pid)
        # How fast it goes is not what is tested.
        if not is_readable(descriptor, 10 * DEADLINE):
            raise TimeoutError(f"{body.__name__} does not end")
        expect(os.waitpid(pid, 0)[1], 0)

    return wait


def all_offsets(count):
    return range(8192, 8192 + 4 * count, 4)


def report(what, count, rings, seconds):
    print(f"{what}: {count} offsets, {rings} rings, {seconds:.2f} s, {count / seconds:.0f} a second")


def post_all(region, count, ring, wait_for_room):
    """Posts each offset, and rings if no interrupt is in flight: how often."""
    rings = 0
    for offset in all_offsets(count):
        posted = False
        while not posted:
            posted = region.post(offset)
            if region.raise_interrupt():
                ring()
                rings += 1
            if not posted:
                wait_for_room()
    return rings


def take_all(region, count, machine, sender):
    """Drains at each interrupt of a machine, and rings the sender then, which may wait for room: how often."""
    missing, drains = set(all_offsets(count)), 0
    while missing:
        machine.wait()
        drains += 1
        taken = region.drain()
        for offset in taken:
            missing.remove(offset)
        if taken:
            machine.ring(sender)
    return drains


class MountReceiver:
    """Reads the offsets out of `peer/doorbell`, until all have come."""

    def __init__(self, count):
        self.count = count
        self.bell = os.open(demo + "/peer/doorbell", os.O_RDONLY)
        self.wait = fork(self.receive)

    def receive(self):
        missing = set(all_offsets(self.count))
        while missing:
            wait_readable(self.bell)
            for offset in (int(line, 16) for line in os.read(self.bell, 11 * 1000).split()):
                if offset:
                    # KeyError: it came twice, or was never posted.
                    missing.remove(offset)


class MountSender:
    """Posts through a mapping as the host end, and rings by the ioctl if no interrupt is in flight."""

    def __init__(self, count):
        self.count = count
        self.data = os.open(demo + "/peer/data", os.O_RDWR)
        self.bell = os.open(demo + "/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)
        self.region = Region(os.open(demo + "/data", os.O_RDWR), "host")
        self.wait = fork(self.send)

    def send(self):
        started = time.monotonic()
        rings = post_all(
            self.region,
            self.count,
            lambda: fcntl.ioctl(self.data, vsoc.SEND_INTERRUPT),
            self.wait_for_drain,
        )
        report("sent from the mount", self.count, rings, time.monotonic() - started)

    def wait_for_drain(self):
        # It is the receiver's turn, which rings after each drain.
        wait_readable(self.bell)
        os.read(self.bell, 1100)


def device_to_mount(count):
    """A device of QEMU posts through BAR2."""
    count = int(count)
    receiver = MountReceiver(count)
    with Machine(demo + "/ivshmem") as machine:
        header = Header(machine.read(0, 4096))
        table, _ = header.tables("guest")
        offsets, rings, started = iter(all_offsets(count)), 0, time.monotonic()
        left = count
        while left:
            # Only this sender fills a slot that is free: it needs no atomic operation.
            words = machine.read(table.slots[0], 4 * len(table.slots))
            free = [
                slot
                for index, slot in enumerate(table.slots)
                if not any(words[4 * index : 4 * index + 4])
            ]
            posts = [machine.storing(slot, offset) for slot, offset in zip(free, offsets)]
            left -= len(posts)
            if machine.commands([*posts, machine.loading(table.word)])[-1] == 0:
                machine.commands([machine.storing(table.word, 1), machine.ringing(HOST)])
                rings += 1
        receiver.wait()
        report("from a device to the mount", count, rings, time.monotonic() - started)


def mount_to_device(count):
    """A device of QEMU drains through BAR2 at each interrupt."""
    count = int(count)
    with Machine(demo + "/ivshmem") as machine:
        machine.enable_interrupts()
        header = Header(machine.read(0, 4096))
        _, table = header.tables("guest")
        missing, drains, started = set(all_offsets(count)), 0, time.monotonic()
        sender = MountSender(count)
        while missing:
            machine.wait_interrupt()
            drains += 1
            # One pass: who raises the word after this finds it clear, and rings again.
            machine.store(table.word, 0)
            words = machine.read(table.slots[0], 4 * len(table.slots))
            taken = [
                (slot, int.from_bytes(words[4 * index : 4 * index + 4], "little"))
                for index, slot in enumerate(table.slots)
            ]
            taken = [(slot, offset) for slot, offset in taken if offset]
            for _, offset in taken:
                missing.remove(offset)
            clearing = [machine.storing(slot, 0) for slot, _ in taken]
            # The sender may wait for room.
            machine.commands([*clearing, machine.ringing(HOST)] if taken else [])
        report("from the mount to a device, rings being drains", count, drains, time.monotonic() - started)
        sender.wait()


def machine_to_mount(count):
    """The same without QEMU's slowness: a ring for each offset, if none is in flight."""
    count = int(count)
    receiver = MountReceiver(count)
    with IvshmemClient(demo + "/ivshmem") as machine:
        region = Region(machine.memory, "guest")
        started = time.monotonic()
        rings = post_all(region, count, lambda: machine.ring(HOST), os.sched_yield)
        receiver.wait()
        report("from a machine to the mount", count, rings, time.monotonic() - started)


def mount_to_machine(count):
    count = int(count)
    with IvshmemClient(demo + "/ivshmem") as machine:
        region = Region(machine.memory, "guest")
        started = time.monotonic()
        sender = MountSender(count)
        drains = take_all(region, count, machine, HOST)
        report("from the mount to a machine, rings being drains", count, drains, time.monotonic() - started)
        sender.wait()


def machine_to_machine(count):
    """Between two machines the daemon has nothing to do."""
    count = int(count)
    host = IvshmemClient(demo + "/peer/ivshmem")

    def receive():
        take_all(Region(host.memory, "host"), count, host, GUEST)

    with IvshmemClient(demo + "/ivshmem") as guest:
        region = Region(guest.memory, "guest")
        receiver = fork(receive)
        started = time.monotonic()
        rings = post_all(region, count, lambda: guest.ring(HOST), guest.wait)
        receiver()
        report("from machine to machine", count, rings, time.monotonic() - started)


def plain(count):
    """Rings without offsets, as many as come to it: they may become one, but the last one is heard."""
    count = int(count)
    bell = os.open(demo + "/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)
    with Machine(demo + "/ivshmem") as machine:
        for batch in range(0, count, 100):
            machine.commands([machine.ringing(HOST)] * 100)
            wait_readable(bell)
            os.read(bell, 1100)


vsoc.run_case(globals())
