// SPDX-License-Identifier: Apache-2.0

internal import Glibc

extension Descriptor {
  /// Blocks until there is something to read, or an end: whether that was in time.
  package func waitUntilReadable(until deadline: MonotonicInstant) -> Bool {
    var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
    while true {
      let now = MonotonicInstant.now
      let left = deadline > now ? (deadline.nanoseconds - now.nanoseconds) / 1_000_000 + 1 : 0
      let count = unsafe poll(&entry, 1, Int32(clamping: left))
      if count >= 0 || errno != EINTR { return count > 0 }
    }
  }
}

extension EventDescriptor {
  /// Blocks until it is signalled: whether that was in time.
  package func wait(until deadline: MonotonicInstant) -> Bool {
    descriptor.waitUntilReadable(until: deadline)
  }
}

extension MonotonicInstant {
  /// So many milliseconds from now.
  package static func after(milliseconds: Int) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: now.nanoseconds + UInt64(milliseconds) * 1_000_000)
  }
}
