# SPDX-License-Identifier: Apache-2.0
"""The sockets of a region as files of the tree, and what a machine there keeps."""

import errno
import os
import socket
import stat
import subprocess

import vsoc
from ends import ENDS, demo, mount, ring, wait_for_nobody
from host_client import receive
from ivshmem_client import IvshmemClient, connect
from region import Region
from vsoc import eventually, expect, expect_error


def sockets():
    """They are there as the other files of an end are."""
    os.mkdir(mount + "/made")
    for path in (demo, demo + "/peer", mount + "/made", mount + "/made/peer"):
        expect("ivshmem" in os.listdir(path), True)
        facts, data = os.stat(path + "/ivshmem"), os.stat(path + "/data")
        expect(stat.S_IFMT(facts.st_mode), stat.S_IFSOCK)
        expect(stat.S_IMODE(facts.st_mode), stat.S_IMODE(data.st_mode))
        expect((facts.st_uid, facts.st_gid), (data.st_uid, data.st_gid))
        expect_error(errno.ENXIO, os.open, path + "/ivshmem", os.O_RDWR)
        expect_error(errno.EPERM, os.unlink, path + "/ivshmem")
        IvshmemClient(path + "/ivshmem").close()
        facts = os.stat(path + "/ivshmem")
        expect(stat.S_IFMT(facts.st_mode), stat.S_IFSOCK)
        listing = subprocess.run(["ls", "-l", path], capture_output=True, text=True, check=True)
        lines = [line for line in listing.stdout.split("\n") if line.endswith(" ivshmem")]
        expect([line[:10] for line in lines], [stat.filemode(facts.st_mode)])
    for path in (demo, demo + "/peer"):
        for mode in (0o600, 0o666, 0o060, 0o660):
            os.chmod(path + "/ivshmem", mode)
            expect(stat.S_IMODE(os.stat(path + "/data").st_mode), mode)
            expect(stat.S_IMODE(os.stat(path + "/ivshmem").st_mode), mode)
    os.chown(demo + "/ivshmem", 65534, 65533)
    for name in ("ivshmem", "data", ""):
        facts = os.stat(f"{demo}/{name}")
        expect((facts.st_uid, facts.st_gid), (65534, 65533))
    expect(os.stat(demo + "/peer/ivshmem").st_uid, 0)
    # Inodes are their own, and stay.
    numbers = [os.stat(f"{path}/ivshmem").st_ino for path in (demo, demo + "/peer")]
    expect(len(set(numbers)), 2)
    expect([entry.inode() for entry in os.scandir(demo) if entry.name == "ivshmem"], numbers[:1])
    eventually("it is gone", lambda: remove(mount + "/made"))
    expect(os.listdir(mount).count("made"), 0)
    expect_error(errno.ENOENT, connect, mount + "/made/ivshmem")
    for path in (mount, demo, demo + "/peer"):
        expect_error(errno.EPERM, os.mknod, path + "/other", stat.S_IFSOCK | 0o600)
        other = socket.socket(socket.AF_UNIX)
        try:
            other.bind(path + "/other")
            raise AssertionError("a socket of one's own")
        except OSError as error:
            expect(error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS), True)
    expect_error(errno.EADDRINUSE, socket.socket(socket.AF_UNIX).bind, demo + "/ivshmem")


def remove(path):
    try:
        os.rmdir(path)
        return True
    except OSError as error:
        expect(error.errno, errno.EBUSY)
        return False


def busy():
    """A peer is a use of its region, and of the mount."""
    for end, (here, _, _) in ENDS.items():
        machine = IvshmemClient(here + "/ivshmem")
        expect_error(errno.EBUSY, os.rmdir, demo)
        result = subprocess.run(["umount", mount], capture_output=True, text=True)
        expect((result.returncode == 0, "busy" in result.stderr), (False, True))
        expect(machine.update(), False)
        ring(ENDS[end][1])
        machine.wait()
        machine.close()
        wait_for_nobody()
    os.mkdir(mount + "/made")
    machine = IvshmemClient(mount + "/made/ivshmem")
    region = Region(machine.memory)
    expect(remove(mount + "/made"), False)
    expect_error(errno.EPERM, os.truncate, mount + "/made/data", 1 << 21)
    machine.close()
    eventually("its region can be removed", lambda: remove(mount + "/made"))
    # Who has mapped it still has the memory.
    expect(region.exchange(0x2000, 1), 0)
    region.close()
    eventually(
        "the mount can be unmounted",
        lambda: subprocess.run(["umount", mount], capture_output=True).returncode == 0,
    )


def access():
    """Connecting takes the right to write."""
    nobody = 65534

    def try_as_nobody(path):
        os.setegid(nobody)
        os.setgroups([])
        os.seteuid(nobody)
        try:
            return connect(path)
        except OSError as error:
            return error.errno
        finally:
            os.seteuid(0)
            os.setegid(0)

    for here, _, _ in ENDS.values():
        path = here + "/ivshmem"
        expect(try_as_nobody(path), errno.EACCES)
        for mode in (0o644, 0o664):
            os.chmod(here, mode)
            expect(try_as_nobody(path), errno.EACCES)
        os.chmod(here, 0o666)
        connection = try_as_nobody(path)
        expect(receive(connection, 8)[0], bytes(8))
        connection.close()
        os.chmod(path, 0o660)
        expect(try_as_nobody(path), errno.EACCES)
        os.chown(path, nobody, 0)
        connection = try_as_nobody(path)
        expect(receive(connection, 8)[0], bytes(8))
        # What is connected stays so.
        os.chmod(path, 0)
        expect(receive(connection, 8)[1], [])
        connection.close()
        expect(try_as_nobody(path), errno.EACCES)
        # The other end is as before.
        os.chmod(demo, 0o666)


vsoc.run_case(globals())
