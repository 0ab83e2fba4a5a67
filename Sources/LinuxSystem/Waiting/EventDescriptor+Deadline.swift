// SPDX-License-Identifier: Apache-2.0

internal import Glibc

extension EventDescriptor {
  /// Blocks until the descriptor is readable: whether it became so in time.
  package func wait(until deadline: MonotonicInstant) -> Bool {
    var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    while true {
      let now = MonotonicInstant.now
      let left = deadline > now ? (deadline.nanoseconds - now.nanoseconds) / 1_000_000 + 1 : 0
      let count = unsafe poll(&entry, 1, Int32(clamping: left))
      if count >= 0 || errno != EINTR { return count > 0 }
    }
  }
}
