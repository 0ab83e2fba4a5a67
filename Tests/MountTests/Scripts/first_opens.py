#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A crowd that opens files of one end of a region, all at the same moment: first_opens.py END COUNT."""

import os
import sys
import threading

end, count = sys.argv[1], int(sys.argv[2])
start = threading.Barrier(count)


def use(number):
    start.wait()
    os.open(f"{end}/{'signal' if number % 2 else 'doorbell'}", os.O_RDWR)


threads = [threading.Thread(target=use, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("open", flush=True)
