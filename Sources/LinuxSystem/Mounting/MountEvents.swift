// SPDX-License-Identifier: Apache-2.0

internal import Glibc
package import SystemPackage

/// Tells that something was mounted or unmounted where this process sees it (proc(5), mountinfo).
package struct MountEvents: ~Copyable, Sendable {
  private let table: Descriptor

  package init() throws(Errno) {
    table = Descriptor(
      owning: try result { unsafe open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC) })
  }

  /// Reports each change since it was opened, or was reported last.
  package func add(to epoll: borrowing Epoll, token: UInt64) throws(Errno) {
    try epoll.addUrgent(table, token: token)
  }

  /// Whether a file system with that minor device number, whose major one is 0, is mounted anywhere.
  package func contains(device: Int32) throws(Errno) -> Bool {
    try result { lseek(table.raw, 0, SEEK_SET) }
    return try table.readToEnd().split(separator: "\n").contains { line in
      // 36 35 0:98 /root /mount\\040point ...
      line.split(separator: " ", maxSplits: 3).dropFirst(2).first == "0:\(device)"
    }
  }
}
