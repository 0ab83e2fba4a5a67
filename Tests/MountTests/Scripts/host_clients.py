# SPDX-License-Identifier: Apache-2.0
"""Programs that come by the host socket, well-behaved and others, and clients of the mount."""

import fcntl
import os
import random
import resource
import socket
import stat
import struct
import sys

import vsoc
from host_client import HostClient, Refused, connect, receive, request
from ivshmem_client import IvshmemClient
from region import Region
from vsoc import SLOWNESS, descriptors, eventually, expect, expect_error, is_readable, wait_readable

mount, path = sys.argv[1], sys.argv[3]
demo = f"{mount}/demo"


def peers(end):
    return vsoc.peers(end + "/info")


def stats(key):
    return vsoc.facts(mount + "/.vsocfs/stats")[key]


def wait_for_nobody():
    eventually("nobody is there", lambda: peers(demo + "/peer") == [] and peers(demo) == [])


def talk(*_):
    """Rings and offsets in both directions, and the memory."""
    with HostClient(path, "demo") as client:
        expect([kind for kind, _ in peers(demo + "/peer")], ["host-client"])
        expect(peers(demo), [])
        expect((stats("peers_host_client"), stats("peers_vm")), ("1", "0"))
        region = client.map()
        expect((region.size, region.header.name), (os.stat(demo + "/data").st_size, "demo"))
        mine = Region(os.open(demo + "/data", os.O_RDWR), "guest")
        noise = random.Random(3).randbytes(region.size - 8192)
        mine.memory[8192:] = noise
        expect(region.memory[8192:], noise)
        region.store(0x2000, 1)
        expect(mine.exchange(0x2000, 2), 1)

        bell = os.open(demo + "/doorbell", os.O_RDWR | os.O_NONBLOCK)
        data = os.open(demo + "/data", os.O_RDWR)
        for index in range(50):
            offset = 0x2000 + 4 * index
            # From the mount to the client.
            os.write(bell, b"%d\n" % offset)
            client.wait()
            expect(region.drain(), [offset])
            fcntl.ioctl(data, vsoc.SEND_INTERRUPT)
            client.wait()
            expect(region.drain(), [])
            # And back.
            expect(region.post(offset), True)
            expect(region.raise_interrupt(), True)
            client.ring()
            lines = []
            while offset not in lines:
                wait_readable(bell)
                lines = [int(line, 16) for line in os.read(bell, 1100).split()]
            expect(region.load(region.outgoing.word), 0)
            client.ring()
            wait_readable(bell)
            expect(os.read(bell, 1100), b"0x00000000\n")
        # The doorbell of the host end wakes whoever waits there, not only this client.
        host = os.open(demo + "/peer/doorbell", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.ioctl(data, vsoc.SEND_INTERRUPT)
        client.wait()
        wait_readable(host)
        # A signal is a ring as well.
        with open(demo + "/signal", "w") as signal:
            signal.write("inject\n")
        client.wait()
    wait_for_nobody()
    expect(stats("peers_host_client"), "0")


def together(*_):
    """Several clients and machines of an end hear each ring of it; a client rings the machines opposite."""
    with HostClient(path, "demo") as first, HostClient(path, "demo") as second:
        with IvshmemClient(demo + "/peer/ivshmem") as near, IvshmemClient(demo + "/ivshmem") as far:
            expect(
                sorted(kind for kind, _ in peers(demo + "/peer")), ["host-client", "host-client", "vm"]
            )
            expect(len({number for _, number in peers(demo + "/peer")}), 3)
            far.wait_for_peers(1, near.id)
            with open(demo + "/doorbell", "w", buffering=1) as bell:
                for ring in (lambda: bell.write("\n"), lambda: far.ring(1), lambda: far.ring(near.id)):
                    for _ in range(20):
                        ring()
                        for waiter in (first, second, near):
                            waiter.wait()
            expect(far.is_rung, False)
            for ringer in (first, second):
                for _ in range(20):
                    ringer.ring()
                    far.wait()
            expect(near.is_rung, False)
    wait_for_nobody()


def flood(_, count):
    """Refused again and again: what is said of it is little, and the rest is counted."""
    for _ in range(int(count)):
        connection = connect(path)
        connection.sendall(request("nonsense"))
        try:
            receive(connection, 1)
        except Refused:
            pass
        connection.close()
    before = int(stats("log_lines_suppressed"))
    expect(before >= int(count) - 25, True)
    with HostClient(path, "demo"):
        pass
    wait_for_nobody()


def lengths(*_):
    """What is no name of a region closes the connection, and nothing else comes."""
    requests = [
        struct.pack("=h", length) + tail
        for length in (-1, -32768, 0, 17, 32767)
        for tail in (b"", b"demo", bytes(40_000))
    ]
    requests += [
        request(name)
        for name in ("x", "other", "demo ", "demo/data", ".", "..", ".vsocfs", "demo\0", "d\0mo")
        + ("x" * 16, "demo" + "\0" * 12, "x" * 15, "Demo", "dem")
    ]
    for text in requests:
        connection = connect(path)
        try:
            connection.sendall(text)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            data, descriptors = receive(connection, 1)
        except Refused:
            pass
        else:
            raise AssertionError(f"{text[:30]}: {data} with {descriptors}")
        connection.close()
    with HostClient(path, "demo"):
        pass
    wait_for_nobody()


def longest(*_):
    """A name may have 15 bytes."""
    name = "a" * 15
    os.mkdir(f"{mount}/{name}")
    with HostClient(path, name) as client:
        expect(client.map().header.name, name)
        expect_error(16, os.rmdir, f"{mount}/{name}")


def managed(*_):
    """A managed region is nobody's outside the mount."""
    for name in ("managed",):
        connection = connect(path)
        connection.sendall(request(name))
        try:
            receive(connection, 1)
            raise AssertionError("it was given away")
        except Refused:
            pass
    with HostClient(path, "manager"):
        pass
    eventually("it has gone", lambda: vsoc.peers(mount + "/manager/peer/info") == [])
    expect(vsoc.peers(mount + "/managed/peer/info"), [])


def sizes(*_):
    """Any size will do."""
    with HostClient(path, "odd") as client:
        expect(client.map().size, 12288)


def slow(*_):
    """A client may take its time, and leave before it is done; others do not wait for it."""
    text = request("demo")
    started = [connect(path) for _ in range(len(text))]
    for index, connection in enumerate(started):
        connection.sendall(text[:index])
    with HostClient(path, "demo") as client:
        with open(demo + "/doorbell", "w") as bell:
            bell.write("\n")
        client.wait()
    wait_for_nobody()
    # They go on byte by byte.
    for index, connection in enumerate(started):
        expect(is_readable(connection), False)
        for at in range(index, len(text)):
            expect(is_readable(connection), False)
            connection.sendall(text[at : at + 1])
    clients = [HostClient.of(connection) for connection in started]
    expect(len(peers(demo + "/peer")), len(clients))
    with open(demo + "/doorbell", "w") as bell:
        bell.write("\n")
    for client in clients:
        client.wait()
        client.close()
    wait_for_nobody()
    # Half a name, and the end.
    for count in range(len(text)):
        for way in (socket.SHUT_WR, socket.SHUT_RDWR, None):
            connection = connect(path)
            connection.sendall(text[:count])
            if way is None:
                connection.close()
                continue
            connection.shutdown(way)
            if way == socket.SHUT_WR:
                try:
                    receive(connection, 1)
                    raise AssertionError("half a name was taken for one")
                except Refused:
                    pass
            connection.close()
    expect(peers(demo + "/peer"), [])


def talkative(*_):
    """After the name there is nothing to say: whoever does is shown the door, or not listened to."""
    for text in (b"x", request("demo"), bytes(100_000)):
        with HostClient(path, "demo") as good, HostClient(path, "demo") as bad:
            bad.connection.setblocking(False)
            try:
                bad.connection.send(text)
            except BlockingIOError:
                pass
            with open(demo + "/doorbell", "w", buffering=1) as bell:
                for _ in range(10):
                    bell.write("\n")
                    good.wait()
    wait_for_nobody()


def crowd(_, daemon, count):
    """That many at once, all of them at work, and all gone."""
    count = int(count)
    # Four for each, and a few.
    limit = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 5 * count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with HostClient(path, "demo"):
        pass
    wait_for_nobody()
    before = descriptors(daemon)
    connections = [connect(path) for _ in range(count)]
    for connection in connections:
        connection.sendall(request("demo"))
    clients = [HostClient.of(connection) for connection in connections]
    expect(stats("peers_host_client"), str(count))
    expect(len(set(peers(demo + "/peer"))), count)
    with open(demo + "/doorbell", "w", buffering=1) as bell:
        for _ in range(3):
            bell.write("\n")
            for client in clients:
                client.wait()
    mine = os.open(demo + "/doorbell", os.O_RDONLY | os.O_NONBLOCK)
    for client in clients[:: count // 10]:
        client.ring()
        wait_readable(mine)
        os.read(mine, 1100)
    expect(clients[0].map().size, clients[-1].map().size)
    os.close(mine)
    for client in clients:
        client.close()
    wait_for_nobody()
    expect(stats("peers_host_client"), "0")
    eventually(
        f"{before} descriptors are open again, not {descriptors(daemon)}",
        lambda: descriptors(daemon) <= before + 2,
    )


def stalled(_, daemon):
    """One that has its descriptors and looks at nothing: its counter counts, and that is all."""
    with HostClient(path, "demo") as idle, HostClient(path, "demo") as good:
        before = descriptors(daemon)
        with open(demo + "/doorbell", "w", buffering=1) as bell:
            for _ in range(2000 // SLOWNESS):
                bell.write("\n")
                good.wait()
        expect(idle.wait() >= 1, True)
        expect(descriptors(daemon) <= before + 1, True)
        # And one that makes its own counter one that cannot be rung.
        os.set_blocking(idle.incoming, False)
        os.write(idle.incoming, struct.pack("=Q", 0xFFFFFFFFFFFFFFFE))
        os.set_blocking(idle.incoming, True)
        with open(demo + "/doorbell", "w", buffering=1) as bell:
            for _ in range(100):
                bell.write("\n")
                good.wait()
    wait_for_nobody()


def busy(*_):
    """A client is a use of its region; it does not hold the mount."""
    with HostClient(path, "demo") as client:
        expect_error(16, os.rmdir, demo)
        expect(client.is_closed, False)
    wait_for_nobody()

    def remove():
        try:
            os.rmdir(demo)
            return True
        except OSError:
            return False

    eventually("the region can be removed", remove)
    connection = connect(path)
    connection.sendall(request("demo"))
    try:
        receive(connection, 1)
        raise AssertionError("it is gone")
    except Refused:
        pass


def hold(*_):
    """Stays until the daemon lets it go."""
    with HostClient(path, "demo") as client:
        region = client.map()
        own = 0x2000 + 4 * (os.getpid() % 1024)
        region.store(own, 1)
        print("ready", flush=True)
        wait_readable(client.connection)
        expect(client.connection.recv(1), b"")
        expect(region.exchange(own, 2), 1)
    print("closed", flush=True)


def socket_file(*_):
    """It is root's alone."""
    facts = os.stat(path)
    expect(stat.S_IFMT(facts.st_mode), stat.S_IFSOCK)
    expect((stat.S_IMODE(facts.st_mode), facts.st_uid), (0o600, 0))
    os.setegid(65534)
    os.seteuid(65534)
    expect_error(13, connect, path)


vsoc.run_case(globals())
