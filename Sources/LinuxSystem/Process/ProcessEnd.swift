// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// The end of a process that need not be a child (pidfd_open(2)).
package struct ProcessEnd: ~Copyable, Sendable {
  private let descriptor: Descriptor

  /// ESRCH: there is no such process, or not any more.
  package init(of pid: Int32) throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_pidfd_open(pid) })
  }

  /// Waits until the process has ended and its descriptors are closed; false if that takes longer.
  package func wait(until deadline: MonotonicInstant) -> Bool {
    var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    while true {
      let now = MonotonicInstant.now
      let left = deadline > now ? (deadline.nanoseconds - now.nanoseconds) / 1_000_000 + 1 : 0
      let count = unsafe poll(&entry, 1, Int32(clamping: left))
      if count > 0 { return true }
      if count == 0 || errno != EINTR { return false }
    }
  }
}
