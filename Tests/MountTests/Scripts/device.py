# SPDX-License-Identifier: Apache-2.0
"""An ivshmem-doorbell device of a real QEMU at one end, clients of the mount at the other."""

import fcntl
import os
import random
import struct
import sys
import threading

import vsoc
from ivshmem_client import IvshmemClient
from qtest import Machine, end_of
from region import Header, Region
from vsoc import DEADLINE, eventually, expect, wait_readable

mount = sys.argv[1]
demo = f"{mount}/demo"

# What peers write to the registers of their devices to ring an end.
GUEST, HOST = 0, 1


class Side:
    """An end at which the device is, and the other one, by their directories and ids."""

    def __init__(self, end):
        self.end = end
        self.here = demo if end == "guest" else demo + "/peer"
        self.there = demo + "/peer" if end == "guest" else demo
        self.other_id = HOST if end == "guest" else GUEST

    def machine(self):
        return Machine(self.here + "/ivshmem")

    def open(self, name, flags=os.O_RDWR):
        """A file of the mount's at the other end."""
        return os.open(f"{self.there}/{name}", flags)


def read_lines(fd):
    return [int(line, 16) for line in os.read(fd, 1100).split()]


def read_offset(fd):
    """The next offset. A ring for one that was taken in already, or a mere look, has brought none."""
    offsets = []
    while not offsets:
        wait_readable(fd)
        offsets = [offset for offset in read_lines(fd) if offset]
    (offset,) = offsets
    return offset


def expect_ring(fd):
    """A ring that brings no offset."""
    wait_readable(fd)
    expect(read_lines(fd), [0])


def later(call, *arguments):
    """Runs it in a thread; the result comes of calling what this returns."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)), daemon=True)
    thread.start()

    def result():
        thread.join(DEADLINE)
        expect(len(results), 1)
        return results[0]

    result.is_done = lambda: bool(results)
    return result


def map_region():
    return Region(os.open(demo + "/data", os.O_RDWR))


def identify(end):
    """The device, its id, its BARs, and what the mount says of it."""
    side = Side(end)
    expect(vsoc.peers(side.here + "/info"), [])
    with side.machine() as machine:
        identity = machine.id
        expect(identity >= 2, True)
        expect(machine.size, os.stat(demo + "/data").st_size)
        expect(vsoc.peers(side.here + "/info"), [("vm", identity)])
        expect(vsoc.peers(side.there + "/info"), [])
        expect(vsoc.facts(side.here + "/info")["peers"], "1")
        expect(vsoc.facts(mount + "/.vsocfs/stats")["peers_vm"], "1")
        # The region describes itself as the mount does.
        header = Header(machine.read(0, 4096))
        _, begin, size, data, to_host, to_guest, name, _ = vsoc.describe(side.open("data"))
        expect((header.size, header.data, header.name), (size, data, name))
        expect(begin, 0)
        for table, (lg2, offset, word) in (
            (header.guest_to_host, to_host),
            (header.host_to_guest, to_guest),
        ):
            expect((len(table.slots), table.slots[0], table.word), (1 << lg2, offset, word))
    eventually("the device has gone", lambda: vsoc.peers(side.here + "/info") == [])
    expect(vsoc.facts(side.here + "/info")["peers"], "0")
    eventually(
        "the device is counted no more",
        lambda: vsoc.facts(mount + "/.vsocfs/stats")["peers_vm"] == "0",
    )


def memory(end):
    """BAR2 is what clients of the mount map, read and write: all of it, both ways."""
    side = Side(end)
    region = map_region()
    data, size = region.header.data, region.size
    with side.machine() as machine:
        expect(machine.read(0, size), region.memory[:])
        noise = random.Random(1).randbytes(size - data)
        region.memory[data:] = noise
        expect(machine.read(data, size - data), noise)
        noise = random.Random(2).randbytes(size - data)
        machine.write(data, noise)
        expect(region.memory[data:], noise)
        expect(os.pread(side.open("data"), size, data), noise)
        # Word by word, as programs do.
        for index in range(200):
            offset = data + index * 4
            machine.store(offset, index)
            expect(region.exchange(offset, index + 1), index)
            expect(machine.load(offset), index + 1)
        os.pwrite(side.open("data"), b"last", size - 4)
        expect(machine.load(size - 4), struct.unpack("<I", b"last")[0])


def ring_mount(end):
    """The device's register reaches all who wait at the other end of the mount."""
    side = Side(end)
    with side.machine() as machine:
        header = Header(machine.read(0, 4096))
        outgoing, _ = header.tables(end)
        word, slot = outgoing.word, outgoing.slots[3]
        bell = side.open("doorbell")
        polled = side.open("doorbell", os.O_RDONLY | os.O_NONBLOCK)
        data = side.open("data")

        # Without an offset: a poller, and a reader that is parked.
        for _ in range(20):
            reader = later(read_lines, bell)
            machine.ring(side.other_id)
            expect_ring(polled)
            expect(reader(), [0])

        # With one, as a guest posts it.
        for index in range(20):
            offset = header.data + index * 4
            reader = later(read_offset, bell)
            machine.store(slot, offset)
            machine.store(word, 1)
            machine.ring(side.other_id)
            expect(read_offset(polled), offset)
            expect(reader(), offset)
            expect((machine.load(slot), machine.load(word)), (0, 0))

        # A caller who waits for the word, and one who sleeps at an offset.
        waiter = later(fcntl.ioctl, data, vsoc.WAIT_FOR_INCOMING)
        machine.store(word, 1)
        machine.ring(side.other_id)
        expect(waiter(), 0)
        machine.store(word, 0)
        sleeper = later(vsoc.cond_wait, data, header.data, machine.load(header.data))
        other = later(vsoc.cond_wait, data, header.data + 4, machine.load(header.data + 4))
        machine.store(header.data, 12345)
        machine.store(slot, header.data)
        machine.store(word, 1)
        machine.ring(side.other_id)
        expect(read_offset(bell), header.data)
        sleeper()
        expect(other.is_done(), False)
        machine.store(header.data + 4, 1)
        machine.store(slot, header.data + 4)
        machine.ring(side.other_id)
        expect(read_offset(bell), header.data + 4)
        other()

        # shm_signal: the other end's triple, then the ring.
        shm_signal = int(vsoc.facts(demo + "/info")["shm_signal_offset"])
        triple = shm_signal + (11 if end == "guest" else 8)
        counter = side.open("signal", os.O_RDONLY)
        for count in range(1, 4):
            machine.write(triple + 2, b"\1")
            expect(machine.read(triple, 2), b"\1\0")
            machine.write(triple + 1, b"\1")
            machine.ring(side.other_id)
            wait_readable(counter)
            expect(os.read(counter, 100), b"%d\n" % count)
            expect(machine.read(triple, 3), b"\1\0\0")


def interrupts(end):
    """Whatever rings at the mount's other end interrupts the device."""
    side = Side(end)
    with side.machine() as machine:
        machine.enable_interrupts()
        header = Header(machine.read(0, 4096))
        _, incoming = header.tables(end)
        expect(machine.take_interrupt(), False)

        def drain():
            machine.store(incoming.word, 0)
            taken = []
            for slot in incoming.slots:
                if offset := machine.load(slot):
                    machine.store(slot, 0)
                    taken.append(offset)
            return taken

        with open(side.there + "/doorbell", "w", buffering=1) as bell:
            for _ in range(20):
                bell.write("\n")
                machine.wait_interrupt()
                expect(drain(), [])
            for index in range(20):
                offset = header.data + index * 4
                bell.write(f"{offset:#x}\n")
                machine.wait_interrupt()
                expect(machine.load(incoming.word), 1)
                expect(drain(), [offset])
            # With an interrupt in flight there is none more, but by a ring without an offset.
            bell.write("0x2000\n")
            machine.wait_interrupt()
            bell.write("0x2004\n")
            expect(machine.load(incoming.word), 1)
            bell.write("0\n")
            machine.wait_interrupt()
            expect(sorted(drain()), [0x2000, 0x2004])

        data = side.open("data")
        fcntl.ioctl(data, vsoc.SEND_INTERRUPT)
        machine.wait_interrupt()
        fcntl.ioctl(data, vsoc.MAYBE_SEND_INTERRUPT)
        machine.wait_interrupt()
        vsoc.expect_error(16, fcntl.ioctl, data, vsoc.MAYBE_SEND_INTERRUPT)
        expect(drain(), [])
        fcntl.ioctl(data, vsoc.POST, 0x2000)
        machine.wait_interrupt()
        expect(drain(), [0x2000])

        # A signal, once for each that is acknowledged.
        shm_signal = int(vsoc.facts(demo + "/info")["shm_signal_offset"])
        triple = shm_signal + (8 if end == "guest" else 11)
        for text in ("inject\n", "1\n"):
            with open(side.there + "/signal", "w") as signal:
                signal.write(text)
            machine.wait_interrupt()
            expect(machine.read(triple, 3), b"\1\1\1")
            machine.write(triple + 2, b"\0")
            machine.write(triple + 1, b"\0")
        # Its own end's files are rung as well: a device takes nothing from anybody.
        own = os.open(side.here + "/doorbell", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.ioctl(data, vsoc.SEND_INTERRUPT)
        expect_ring(own)
        machine.wait_interrupt()

        # While it is masked, an interrupt is kept.
        machine.mask(True)
        expect(machine.is_pending, False)
        fcntl.ioctl(data, vsoc.SEND_INTERRUPT)
        eventually("an interrupt is pending", lambda: machine.is_pending)
        expect(machine.take_interrupt(), False)
        machine.mask(False)
        machine.wait_interrupt()


def two_machines():
    """Two QEMU processes interrupt one another, and the mount's own pollers hear of both."""
    with Machine(demo + "/ivshmem") as guest, Machine(demo + "/peer/ivshmem") as host:
        ids = guest.id, host.id
        expect(ids[0] != ids[1] and min(ids) >= 2, True)
        expect(vsoc.peers(demo + "/info"), [("vm", ids[0])])
        expect(vsoc.peers(demo + "/peer/info"), [("vm", ids[1])])
        expect(vsoc.facts(mount + "/.vsocfs/stats")["peers_vm"], "2")
        for machine in (guest, host):
            machine.enable_interrupts()
        guest.store(0x2000, 1)
        expect(host.load(0x2000), 1)
        directions = (
            (guest, host, demo + "/peer/doorbell", (HOST, ids[1])),
            (host, guest, demo + "/doorbell", (GUEST, ids[0])),
        )
        for _ in range(10):
            for sender, receiver, path, names in directions:
                bell = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                # The end as a whole, and the machine that is there.
                for name in names:
                    sender.ring(name)
                    receiver.wait_interrupt()
                    expect_ring(bell)
                    expect(sender.take_interrupt(), False)
                os.close(bell)


def killed():
    """What is left of a QEMU that was killed: nothing."""
    with Machine(demo + "/peer/ivshmem") as watching:
        watching.enable_interrupts()
        listener = IvshmemClient(demo + "/peer/ivshmem")
        seen = set()
        for _ in range(3):
            machine = Machine(demo + "/ivshmem")
            identity = machine.id
            seen.add(identity)
            listener.wait_for_peers(GUEST, identity)
            machine.enable_interrupts()
            machine.store(0x2000, identity)
            machine.kill()
            listener.wait_for_peers(GUEST)
            eventually("its id is gone", lambda: vsoc.peers(demo + "/info") == [])
            # The region is as it was, and its end can be rung.
            expect(watching.load(0x2000), identity)
            bell = os.open(demo + "/doorbell", os.O_RDONLY | os.O_NONBLOCK)
            watching.ring(GUEST)
            expect_ring(bell)
            os.close(bell)
            with open(demo + "/doorbell", "w") as ringer:
                ringer.write("\n")
            watching.wait_interrupt()
            listener.wait()
            machine.close()
        expect(watching.id in seen or listener.id in seen, False)
        # The next one is at work at once.
        with Machine(demo + "/ivshmem") as machine:
            machine.enable_interrupts()
            listener.wait_for_peers(GUEST, machine.id)
            expect(machine.load(0x2000), watching.load(0x2000))
            watching.ring(GUEST)
            machine.wait_interrupt()
            watching.ring(machine.id)
            machine.wait_interrupt()
            machine.ring(HOST)
            watching.wait_interrupt()


def several():
    """Every device of an end is interrupted by a ring of that end."""
    with Machine(demo + "/ivshmem") as first, Machine(demo + "/ivshmem") as second:
        expect(first.id != second.id, True)
        expect(
            vsoc.peers(demo + "/info"), sorted([("vm", first.id), ("vm", second.id)])
        )
        for machine in (first, second):
            machine.enable_interrupts()
        with open(demo + "/peer/doorbell", "w", buffering=1) as bell:
            for _ in range(10):
                bell.write("\n")
                first.wait_interrupt()
                second.wait_interrupt()
        # Whoever is left is rung, whichever of them has gone.
        first.kill()
        eventually("it has gone", lambda: vsoc.peers(demo + "/info") == [("vm", second.id)])
        with open(demo + "/peer/doorbell", "w") as bell:
            bell.write("\n")
        second.wait_interrupt()
        bell = os.open(demo + "/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)
        second.ring(HOST)
        wait_readable(bell)
        with Machine(demo + "/ivshmem") as third:
            third.enable_interrupts()
            with open(demo + "/peer/doorbell", "w") as bell:
                bell.write("\n")
            second.wait_interrupt()
            third.wait_interrupt()


def hold():
    """The machine outlives the daemon."""
    with Machine(demo + "/ivshmem") as machine:
        machine.store(0x2000, 1)
        print("ready", flush=True)
        sys.stdin.readline()
        expect(machine.load(0x2000), 1)
        machine.store(0x2000, 2)
        machine.ring(HOST)
        expect(machine.load(0x2000), 2)
    print("closed", flush=True)


def refused(*regions):
    """QEMU ends by itself, with a message: it neither hangs nor aborts."""
    for path in regions:
        status, said = end_of(f"{mount}/{path}/ivshmem")
        expect((status, bool(said)), (1, True))


vsoc.run_case(globals())
