// SPDX-License-Identifier: Apache-2.0

internal import CLinux
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
    descriptor.waitUntilReadable(until: deadline)
  }
}
