# SPDX-License-Identifier: Apache-2.0
"""Machines that do what they must not, or whom the daemon must not serve."""

import fcntl
import os
import random
import socket
import struct
import sys
import threading
import time

import vsoc
from ends import ENDS, GUEST, HOST, Listener, demo, mount, peers, ring, stats, wait_for_nobody
from host_client import Refused, receive
from ivshmem_client import IvshmemClient, connect
from vsoc import DEADLINE, SLOWNESS, descriptors, eventually, expect


def stalled(daemon, count):
    """One that never reads anything holds up nobody, however much there would be to tell it."""
    before = descriptors(daemon)
    stalled = connect(demo + "/ivshmem")
    eventually("it is there", lambda: len(peers(demo)) == 1)
    own = Listener(demo)
    for _ in range(int(count)):
        with IvshmemClient(demo + "/peer/ivshmem") as machine:
            expect(GUEST in machine.peers, True)
    with IvshmemClient(demo + "/peer/ivshmem") as machine, IvshmemClient(demo + "/ivshmem") as other:
        machine.ring(GUEST)
        other.wait()
        own.expect_ring()
    stalled.close()
    os.close(own.bell)
    wait_for_nobody()
    eventually(
        f"{before} descriptors are open again, not {descriptors(daemon)}",
        lambda: descriptors(daemon) <= before + 8,
    )


def garbage(daemon):
    """Whatever a client says ends it."""
    machine = IvshmemClient(demo + "/peer/ivshmem")
    listener = Listener(demo + "/peer")
    before = descriptors(daemon)
    noise = random.Random(5)
    for index in range(200 // SLOWNESS):
        if index % 2:
            bad = IvshmemClient(demo + "/ivshmem")
            machine.wait_for_peers(GUEST, bad.id)
            connection, closed = bad.connection, bad.is_closed
        else:
            bad = None
            connection = connect(demo + "/ivshmem")
        if index % 5 == 4:
            # Descriptors are what it must let go at once.
            socket.send_fds(connection, [b"x"], [machine.bell] * 250)
        else:
            try:
                connection.sendall(noise.randbytes(noise.choice((1, 8, 100, 100_000))))
            except (BrokenPipeError, ConnectionResetError):
                pass
        if bad:
            expect(closed(), True)
            bad.close()
        else:
            try:
                while connection.recv(1000):
                    pass
            except ConnectionResetError:
                pass
            connection.close()
    machine.wait_for_peers(GUEST)
    expect(peers(demo), [])
    eventually("its descriptors are closed", lambda: descriptors(daemon) <= before + 2)
    with IvshmemClient(demo + "/ivshmem") as good:
        good.ring(HOST)
        machine.wait()
        listener.expect_ring()


def broken_handshakes(daemon):
    """Those who leave in the middle of it."""
    machine = IvshmemClient(demo + "/peer/ivshmem")
    before = descriptors(daemon)
    for index in range(2000 // SLOWNESS):
        connection = connect(demo + "/ivshmem")
        if index % 4 == 1:
            receive(connection, 8 + index % 30)
        elif index % 4 == 2:
            connection.shutdown(socket.SHUT_RDWR)
        elif index % 4 == 3:
            connection.shutdown(socket.SHUT_RD)
        connection.close()
    machine.wait_for_peers(GUEST)
    eventually("all are gone", lambda: peers(demo) == [])
    eventually("their descriptors are closed", lambda: descriptors(daemon) <= before + 2)
    with IvshmemClient(demo + "/ivshmem") as good:
        good.ring(HOST)
        machine.wait()
        ring(demo + "/peer")
        good.wait()


def crowd(daemon):
    """Many at once, and gone at once."""
    before = descriptors(daemon)
    crowd = [IvshmemClient(demo + "/ivshmem") for _ in range(200)]
    expect(len({machine.id for machine in crowd}), 200)
    expect(stats("peers_vm"), "200")
    with IvshmemClient(demo + "/peer/ivshmem") as machine:
        expect(set(machine.peers), {GUEST, *(other.id for other in crowd)})
        ring(demo + "/peer")
        for other in crowd:
            other.wait()
        for other in crowd:
            other.close()
        machine.wait_for_peers(GUEST)
    wait_for_nobody()
    eventually("its descriptors are closed", lambda: descriptors(daemon) <= before + 8)


def poisoned(end, how):
    """A machine makes its bell, or that of the other end, one that nobody can ring; then it is gone.

    The bell is the region's: its signalling may suffer while that lasts, no one else's, and whoever
    rings comes back at once.
    """
    here, there, other = ENDS[end]
    bad = IvshmemClient(here + "/ivshmem")
    target = bad.bell if how == "own" else bad.peers[other]
    rung, ringing = (here, there) if how == "own" else (there, here)
    stop = threading.Event()

    def poison():
        while not stop.is_set():
            try:
                os.set_blocking(target, False)
                os.write(target, struct.pack("=Q", 0xFFFFFFFFFFFFFFFE))
            except BlockingIOError:
                pass
            os.set_blocking(target, True)

    thread = threading.Thread(target=poison, daemon=True)
    thread.start()
    data = os.open(ringing + "/data", os.O_RDWR)
    bell = os.open(ringing + "/doorbell", os.O_WRONLY)
    signals = os.open(ringing + "/signal", os.O_WRONLY)
    healthy = Listener(mount + "/good/peer")
    began = time.monotonic()
    for index in range(300 // SLOWNESS):
        fcntl.ioctl(data, vsoc.SEND_INTERRUPT)
        os.write(bell, b"0\n")
        os.write(signals, b"1")
        if index % 10 == 0:
            ring(mount + "/good")
            healthy.expect_ring()
    elapsed = time.monotonic() - began
    expect(elapsed < DEADLINE / 2, True)
    # And newcomers are not kept waiting.
    with IvshmemClient(here + "/ivshmem"), IvshmemClient(there + "/ivshmem"):
        pass
    stop.set()
    thread.join(DEADLINE)
    bad.close()
    # As soon as the counter is read the bell is as good as before.
    with IvshmemClient(rung + "/ivshmem") as good:
        good.take_rings()
        listener = Listener(rung)
        listener.drink()
        for _ in range(10):
            ring(ringing)
            good.wait()
            listener.expect_ring()
            listener.drink()


def flood(milliseconds):
    """Rings `demo` from both ends, as fast as it can, from a start that is told on standard input."""
    with IvshmemClient(demo + "/ivshmem") as guest, IvshmemClient(demo + "/peer/ivshmem") as host:
        guest.wait_for_peers(HOST, host.id)
        one = struct.pack("=Q", 1)
        bells = guest.peers[HOST], host.peers[GUEST]
        print("ready", flush=True)
        sys.stdin.readline()
        count, end = 0, time.monotonic() + int(milliseconds) / 1000
        while time.monotonic() < end:
            for _ in range(100):
                for bell in bells:
                    os.write(bell, one)
            count += 200
        print(count, flush=True)
        sys.stdin.readline()


def refused(end, daemon):
    """Nobody gets anything that QEMU would go on with: it must not see an end where it reads on."""
    before = descriptors(daemon)
    for _ in range(20):
        connection = connect(f"{mount}/{end}/ivshmem")
        version, fds = receive(connection, 8)
        expect(fds, [])
        expect(version != bytes(8), True)
        expect_refused(connection)
        expect(peers(f"{mount}/{end}"), [])
    expect(stats("peers_vm"), "0")
    eventually("its descriptors are closed", lambda: descriptors(daemon) <= before + 2)


def expect_refused(connection):
    try:
        receive(connection, 1)
    except Refused:
        connection.close()
    else:
        raise AssertionError("there is more")


vsoc.run_case(globals())
