# SPDX-License-Identifier: Apache-2.0
"""Machines that speak the ivshmem protocol, and clients of the mount."""

import fcntl
import os
import random
import select
import threading

import vsoc
from ends import ENDS, GUEST, HOST, Listener, demo, peers, ring, stats, wait_for_nobody
from ivshmem_client import IvshmemClient
from region import Region
from vsoc import DEADLINE, expect, is_readable


def handshake():
    """Message by message, and what each is told of those who come and go."""
    guest = IvshmemClient(demo + "/ivshmem")
    expect(guest.messages, [(0, False), (guest.id, False), (-1, True), (HOST, True), (guest.id, True)])
    host = IvshmemClient(demo + "/peer/ivshmem")
    expect(host.id not in (GUEST, HOST, guest.id), True)
    expect(host.messages[:3], [(0, False), (host.id, False), (-1, True)])
    expect(sorted(host.messages[3:-1]), sorted([(GUEST, True), (guest.id, True)]))
    expect(host.messages[-1], (host.id, True))
    guest.wait_for_peers(HOST, host.id)
    # Those of one's own end are nobody's business.
    second = IvshmemClient(demo + "/ivshmem")
    expect(second.messages[3:-1], [(HOST, True), (host.id, True)])
    host.wait_for_peers(GUEST, guest.id, second.id)
    expect(guest.update(), False)
    expect(peers(demo), sorted([("vm", guest.id), ("vm", second.id)]))
    expect(peers(demo + "/peer"), [("vm", host.id)])
    expect((stats("peers_vm"), stats("peers_host_client")), ("3", "0"))
    gone = guest.id
    guest.close()
    host.wait_for_peers(GUEST, second.id)
    expect(host.messages[-1], (gone, False))
    expect(second.update(), False)
    for machine in (host, second):
        machine.close()
    wait_for_nobody()
    expect(stats("peers_vm"), "0")


def memory():
    """Each has the same memory, of the region's size, and the descriptor cannot change that."""
    with IvshmemClient(demo + "/ivshmem") as guest, IvshmemClient(demo + "/peer/ivshmem") as host:
        regions = [
            Region(guest.memory, "guest"),
            Region(host.memory, "host"),
            Region(os.open(demo + "/data", os.O_RDWR)),
        ]
        size = os.stat(demo + "/data").st_size
        for region in regions:
            expect((region.size, region.header.size, region.header.name), (size, size, "demo"))
        for index, writer in enumerate(regions):
            noise = random.Random(index).randbytes(size - 8192)
            writer.memory[8192:] = noise
            for reader in regions:
                expect(reader.memory[8192:], noise)
        regions[0].store(0x2000, 0)
        for index in range(300):
            expect(regions[index % 3].exchange(0x2000, index + 1), index)
        for length in (0, size * 2):
            try:
                os.ftruncate(guest.memory, length)
            except OSError:
                pass
            expect(os.fstat(host.memory).st_size, size)
            expect(os.stat(demo + "/data").st_size, size)


def rings():
    """Between machines, and between machines and clients of the mount, at both ends."""
    machines = {
        end: [IvshmemClient(here + "/ivshmem") for _ in range(3)]
        for end, (here, _, _) in ENDS.items()
    }
    for end, (here, there, other) in ENDS.items():
        other_end = "host" if end == "guest" else "guest"
        near, far = machines[end], machines[other_end]
        for machine in near:
            machine.wait_for_peers(other, *(peer.id for peer in far))
        own, others = Listener(here), Listener(there)
        data = os.open(there + "/data", os.O_RDWR)
        ways = [lambda: ring(there)]
        ways.append(lambda: fcntl.ioctl(data, vsoc.SEND_INTERRUPT))
        for sender in far:
            names = (1 - other, *(machine.id for machine in near))
            ways += [lambda sender=sender, name=name: sender.ring(name) for name in names]
        for way in ways:
            own.drink()
            way()
            # All machines of this end, and the mount's own.
            for machine in near:
                machine.wait()
            own.expect_ring()
        others.drink()
        expect([machine.is_rung for machine in far], [False] * 3)
        expect(is_readable(others.bell), False)
        for machine in near:
            machine.take_rings()
    for machine in machines["guest"] + machines["host"]:
        machine.close()
    wait_for_nobody()


def bursts(count):
    """A poller of the mount hears rings that a machine at the same end has taken at once."""
    with IvshmemClient(demo + "/ivshmem") as guest, IvshmemClient(demo + "/peer/ivshmem") as host:
        listener = Listener(demo + "/peer")
        os.set_blocking(host.bell, False)
        for index in range(int(count)):
            for _ in range(1 + index % 3):
                guest.ring(HOST)
                while True:
                    try:
                        os.read(host.bell, 8)
                        break
                    except BlockingIOError:
                        pass
            listener.expect_ring()
            listener.drink()


def read_until(fd, offset):
    while b"0x%08x" % offset not in os.read(fd, 1100):
        pass


def waiters():
    """All kinds of waiters of the mount wake when a machine rings, and as they do otherwise."""
    with IvshmemClient(demo + "/ivshmem") as machine:
        region = Region(machine.memory, "guest")
        data = os.open(demo + "/peer/data", os.O_RDWR)

        def start(call, *arguments):
            results = []
            thread = threading.Thread(
                target=lambda: results.append(call(*arguments)), daemon=True
            )
            thread.start()

            def result():
                thread.join(DEADLINE)
                expect(len(results), 1)
                return results[0]

            return result

        epoll = select.epoll()
        edge = os.open(demo + "/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)
        epoll.register(edge, select.EPOLLIN | select.EPOLLET)
        for round_ in range(20):
            offset = 8192 + 4 * round_
            parked = os.open(demo + "/peer/doorbell", os.O_RDONLY)
            reader = start(read_until, parked, offset)
            region.store(offset, 0)
            sleeper = start(vsoc.cond_wait, data, offset, 0)
            waiter = start(fcntl.ioctl, data, vsoc.WAIT_FOR_INCOMING)
            expect(region.post(offset), True)
            region.store(offset, 1)
            region.raise_interrupt()
            machine.ring(HOST)
            seen = b""
            while b"0x%08x" % offset not in seen:
                expect(epoll.poll(DEADLINE), [(edge, select.EPOLLIN)])
                seen += os.read(edge, 1100)
            reader()
            # A caller who waits for the word may have come after it was taken in.
            region.store(region.outgoing.word, 1)
            machine.ring(HOST)
            expect(waiter(), 0)
            sleeper()
            region.store(region.outgoing.word, 0)
            os.close(parked)
            while epoll.poll(0):
                os.read(edge, 1100)


def ids():
    """An id that is used again has been said to be gone before."""
    with IvshmemClient(demo + "/peer/ivshmem") as watcher:
        live, seen = {}, []
        for index in range(200):
            machine = IvshmemClient(demo + "/ivshmem")
            expect(machine.id in (GUEST, HOST, watcher.id, *live), False)
            expect(2 <= machine.id <= 0xFFFF, True)
            live[machine.id] = machine
            seen.append(machine.id)
            if len(live) > 5:
                live.pop(seen[index - 5]).close()
        # A watcher that looks only now sees each come and go in its order.
        watcher.wait_for_peers(GUEST, *live)
        present = set()
        for number, has_descriptor in watcher.messages[5:]:
            expect(has_descriptor, number not in present)
            present ^= {number}
        expect(present, set(live))
        for machine in live.values():
            machine.close()
        watcher.wait_for_peers(GUEST)


def hold(end):
    """Stays until the daemon lets it go. Its memory is its own after that."""
    here, _, other = ENDS[end]
    with IvshmemClient(here + "/ivshmem") as machine:
        region = Region(machine.memory, end)
        # Others have the same memory.
        own = 0x2000 + 4 * (os.getpid() % 1024)
        region.store(own, 1)
        print("ready", flush=True)
        if not machine.is_closed():
            raise TimeoutError("it is not let go")
        expect(region.exchange(own, 2), 1)
        machine.ring(other)
    print("closed", flush=True)


def full_table():
    """A writer in the mount that waits for room goes on when the machine has made some, and rings."""
    with IvshmemClient(demo + "/ivshmem") as machine:
        region = Region(machine.memory, "guest")
        offsets = list(range(8192, 8192 + 4 * 1000, 4))
        text = " ".join(map(str, offsets)).encode()
        bell = os.open(demo + "/peer/doorbell", os.O_WRONLY)
        written = []
        writer = threading.Thread(target=lambda: written.append(os.write(bell, text)), daemon=True)
        writer.start()
        seen = []
        while len(seen) < len(offsets):
            machine.wait()
            if taken := region.drain():
                seen += taken
                machine.ring(HOST)
        writer.join(DEADLINE)
        expect(written, [len(text)])
        expect(sorted(seen), offsets)


vsoc.run_case(globals())
