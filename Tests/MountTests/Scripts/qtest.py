# SPDX-License-Identifier: Apache-2.0
"""A QEMU with an ivshmem-doorbell device and no guest: the test is the guest, by qtest.

The test's commands are what the processor of a guest would do: it finds the device on the PCI bus,
places its BARs, and reads and writes them. Nothing of the guest runs (-S).
"""

import base64
import ctypes
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from vsoc import DEADLINE

PROGRAM = "qemu-system-x86_64"

DEVICE = 5
IVSHMEM = 0x11101AF4
# Where the BARs are put, and what in the guest's memory an interrupt writes.
REGISTERS = 0xE0000000
VECTORS = 0xE0001000
MEMORY = 0xE1000000
MESSAGE = 0x100000
MESSAGE_DATA = 0x4321

OWN_ID = 8
DOORBELL = 12
PENDING_BITS = 0x800


class Ended(Exception):
    """QEMU has ended: its status, and what it said."""

    def __init__(self, status, said):
        super().__init__(f"QEMU ended with status {status}: {said}")
        self.status = status
        self.said = said


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Machine:
    """Runs QEMU, with the device connected to `path`."""

    def __init__(self, path, vectors=1):
        self.directory = tempfile.mkdtemp(prefix="vsocfs-qtest.")
        self.process = None
        self.connection = None
        try:
            self._start(path, vectors)
            self._find_device()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start(self, path, vectors):
        address = self.directory + "/qtest"
        self.log = self.directory + "/log"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(1)
        arguments = "-nodefaults -no-user-config -display none -machine pc -accel tcg -S -m 64"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, *arguments.split(), "-qtest", "unix:" + address, "-qtest-log", "/dev/null"]
                + ["-chardev", f"socket,id=iv,path={path}"]
                + ["-device", f"ivshmem-doorbell,chardev=iv,vectors={vectors},addr={DEVICE}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        # It connects before it makes the device, and may end after that.
        with listener:
            listener.settimeout(0.05)
            end = time.monotonic() + DEADLINE
            while self.connection is None:
                try:
                    self.connection = listener.accept()[0]
                except TimeoutError:
                    self._check()
                    if time.monotonic() > end:
                        raise TimeoutError("QEMU does not connect: " + self.said()) from None
        self.connection.settimeout(DEADLINE)
        self.replies = self.connection.makefile("rb")

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def _check(self):
        if self.process.poll() is not None:
            raise Ended(self.process.returncode, self.said())

    # Commands.

    def command(self, line):
        return self.commands([line])[0]

    def commands(self, lines):
        """Sends all of them at once, and returns the answers: a number, or None where there is none.

        QEMU does one after the other: many at once save the time of the way there and back.
        """
        try:
            self.connection.sendall("".join(line + "\n" for line in lines).encode())
            return [self._reply(line) for line in lines]
        except ConnectionError:
            return self._end()
        except TimeoutError:
            raise TimeoutError("QEMU does not answer: " + self.said()) from None

    def _reply(self, line):
        while True:
            words = self.replies.readline().split()
            if not words:
                self._end()
            if words[0] == b"IRQ":
                continue
            if words[0] != b"OK":
                raise AssertionError(f"{line}: {words}")
            if len(words) == 1:
                return None
            return words[1] if line.startswith("b64") else int(words[1], 16)

    def _end(self):
        """It has closed its connection, so it is about to end."""
        self.process.wait(DEADLINE)
        raise Ended(self.process.returncode, self.said())

    def _configure(self, register, value, device=DEVICE):
        address = 0x80000000 | device << 11 | register
        self.commands([f"outl 0xcf8 {address:#x}", f"outl 0xcfc {value:#x}"])

    def configuration(self, register, device=DEVICE):
        """A word of a device's configuration space."""
        address = 0x80000000 | device << 11 | register
        return self.commands([f"outl 0xcf8 {address:#x}", "inl 0xcfc"])[1]

    def _find_device(self):
        found = [device for device in range(32) if self.configuration(0, device) == IVSHMEM]
        if found != [DEVICE]:
            raise AssertionError(f"ivshmem devices: {found}")
        # How large each BAR is: the bits of it that can be set.
        self._configure(0x18, 0xFFFFFFFF)
        self.size = -(self.configuration(0x18) & ~0xF) & 0xFFFFFFFF
        for register, place in (0x10, REGISTERS), (0x14, VECTORS), (0x18, MEMORY), (0x1C, 0):
            self._configure(register, place)
        self._configure(4, self.configuration(4) | 7)

    # The device.

    @property
    def id(self):
        return self.command(f"readl {REGISTERS + OWN_ID:#x}")

    def ring(self, peer, vector=0):
        self.command(self.ringing(peer, vector))

    def ringing(self, peer, vector=0):
        """The command that does it."""
        return f"writel {REGISTERS + DOORBELL:#x} {peer << 16 | vector:#x}"

    # The region.

    def load(self, offset):
        return self.command(f"readl {MEMORY + offset:#x}")

    def store(self, offset, value):
        self.command(self.storing(offset, value))

    def loading(self, offset):
        return f"readl {MEMORY + offset:#x}"

    def storing(self, offset, value):
        return f"writel {MEMORY + offset:#x} {value:#x}"

    def read(self, offset, count):
        chunks = range(offset, offset + count, 1 << 16)
        return b"".join(
            base64.b64decode(
                self.command(f"b64read {MEMORY + at:#x} {min(1 << 16, offset + count - at):#x}")
            )
            for at in chunks
        )

    def write(self, offset, data):
        for at in range(0, len(data), 1 << 16):
            part = data[at : at + (1 << 16)]
            text = base64.b64encode(part).decode()
            self.command(f"b64write {MEMORY + offset + at:#x} {len(part):#x} {text}")

    # Interrupts.

    def enable_interrupts(self, masked=False):
        """Each writes a message to the guest's memory, or, where it is masked, sets a bit."""
        capability = self.configuration(0x40)
        if capability & 0xFF != 0x11:
            raise AssertionError(f"no MSI-X: {capability:#x}")
        self._configure(0x40, capability | 1 << 31)
        entry = [MESSAGE, 0, MESSAGE_DATA, int(masked)]
        self.commands(
            [f"writel {VECTORS + 4 * index:#x} {value:#x}" for index, value in enumerate(entry)]
        )

    def mask(self, masked):
        """A pending interrupt comes as soon as it is unmasked."""
        self.command(f"writel {VECTORS + 12:#x} {int(masked)}")

    @property
    def is_pending(self):
        return self.command(f"readl {VECTORS + PENDING_BITS:#x}") & 1 == 1

    def take_interrupt(self):
        """Whether there was one since the last time."""
        value = self.command(f"readl {MESSAGE:#x}")
        if value not in (0, MESSAGE_DATA):
            raise AssertionError(f"message {value:#x}")
        if value:
            self.command(f"writel {MESSAGE:#x} 0")
        return value != 0

    def wait_interrupt(self, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while not self.take_interrupt():
            if time.monotonic() > end:
                raise TimeoutError("no interrupt")

    # Its end.

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self):
        if self.process is not None:
            self.kill()
        if self.connection is not None:
            self.connection.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def end_of(path):
    """How a QEMU ends that is refused at `path`: (status, what it said). It must not hang."""
    try:
        with Machine(path):
            pass
    except Ended as ended:
        return ended.status, ended.said
    raise AssertionError(f"QEMU goes on with {path}")
