# SPDX-License-Identifier: Apache-2.0
"""poll, select, epoll (level and edge) on doorbell and signal, from another thread's rings."""

import os
import select
import sys
import threading

from vsoc import expect, expect_error

mount = sys.argv[1]


def ring(path, text):
    with open(path, "w", buffering=1) as file:
        file.write(text)


def later(path, text):
    thread = threading.Thread(target=ring, args=(path, text))
    thread.start()
    return thread


for stream, text in (("doorbell", "0x2000\n"), ("signal", "inject\n")):
    fd = os.open(f"{mount}/demo/peer/{stream}", os.O_RDONLY | os.O_NONBLOCK)
    sender = f"{mount}/demo/{stream}"

    expect_error(11, os.read, fd, 100)
    expect(select.select([fd], [], [], 0)[0], [])
    thread = later(sender, text)
    expect(select.select([fd], [], [], 10)[0], [fd])
    thread.join()
    first = os.read(fd, 100)
    expect(first, b"0x00002000\n" if stream == "doorbell" else b"1\n")

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    expect(poll.poll(0), [])
    thread = later(sender, text)
    expect(poll.poll(10_000), [(fd, select.POLLIN)])
    expect(poll.poll(10_000), [(fd, select.POLLIN)])
    thread.join()
    os.read(fd, 100)
    expect(poll.poll(0), [])

    for events in (select.EPOLLIN, select.EPOLLIN | select.EPOLLET):
        epoll = select.epoll()
        epoll.register(fd, events)
        expect(epoll.poll(0), [])
        for _ in range(20):
            thread = later(sender, text)
            expect(epoll.poll(10), [(fd, select.EPOLLIN)])
            thread.join()
            while True:
                try:
                    os.read(fd, 4)
                except BlockingIOError:
                    break
            expect(poll.poll(0), [])
        epoll.close()
    os.close(fd)
