# SPDX-License-Identifier: Apache-2.0
"""The ioctls of data through fcntl.ioctl."""

import errno
import fcntl
import os
import struct
import sys
import threading
import time

import vsoc
from vsoc import expect, expect_error

mount = sys.argv[1]
guest = os.open(f"{mount}/demo/data", os.O_RDWR)
host = os.open(f"{mount}/demo/peer/data", os.O_RDWR)

versions, begin, end, data, to_host, to_guest, name, manager = vsoc.describe(guest)
expect((versions, begin, end, data, name, manager), ((0, 0), 0, 1 << 20, 8192, "demo", 0))
expect((to_host[0], to_guest[0]), (6, 6))
expect(vsoc.describe(host), vsoc.describe(guest))
info = struct.unpack("<8I", fcntl.ioctl(host, vsoc.REGION_INFO, bytes(32)))
expect((info[0], info[1], info[4]), (1 << 20, 8192, 1))

# Whatever the other scripts have left in the tables.
vsoc.drain(guest), vsoc.drain(host)
expect(vsoc.drain(host), [])

waiter = threading.Thread(target=fcntl.ioctl, args=(host, vsoc.WAIT_FOR_INCOMING))
waiter.start()
fcntl.ioctl(guest, vsoc.MAYBE_SEND_INTERRUPT)
waiter.join(10)
expect(waiter.is_alive(), False)
expect_error(errno.EBUSY, fcntl.ioctl, guest, vsoc.MAYBE_SEND_INTERRUPT)
expect(vsoc.drain(host), [0])

fcntl.ioctl(guest, vsoc.POST, 12288)
expect(vsoc.drain(host), [12288])
fcntl.ioctl(guest, vsoc.SELF_INTERRUPT)
fcntl.ioctl(guest, vsoc.WAIT_FOR_INCOMING)

expect(vsoc.cond_wait(guest, 12288, 1), 0)
expect_error(errno.EADDRNOTAVAIL, vsoc.cond_wait, guest, 12289, 0)
expect_error(errno.E2BIG, vsoc.cond_wait, guest, 1 << 20, 0)
expect_error(errno.EINVAL, vsoc.cond_wait, guest, 12288, 0, 3)
expect_error(errno.ETIMEDOUT, vsoc.cond_wait, guest, 12288, 0, 2)
soon = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 50_000_000
expect_error(
    errno.ETIMEDOUT, vsoc.cond_wait, guest, 12288, 0, 2, soon // 10**9, soon % 10**9
)
expect(time.clock_gettime_ns(time.CLOCK_MONOTONIC) >= soon, True)
expect_error(errno.EADDRNOTAVAIL, fcntl.ioctl, guest, vsoc.COND_WAKE, 12289)
fcntl.ioctl(guest, vsoc.COND_WAKE, 12288)
expect_error(errno.ENOTTY, fcntl.ioctl, guest, 0xF5FF)
