// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// An eventfd(2) that other processes have as well, and may do with as they like.
///
/// Ringing it never waits, whatever they do. Whether it was rung is seen by its edges (`Epoll.addEdges`):
/// reading would take from those for whom it is.
package final class SharedEvent: Sendable {
  package let descriptor: Descriptor

  package init() throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_eventfd() })
  }

  package func ring() {
    if let ringer = Ringer.shared, ringer.ring(descriptor.raw) { return }
    // Where the kernel cannot do it, one of them could keep us waiting that changes the flag just now.
    _ = fcntl(descriptor.raw, F_SETFL, O_RDWR | O_NONBLOCK)
    var one: UInt64 = 1
    _ = unsafe write(descriptor.raw, &one, 8)
  }

  private final class Ringer: Sendable {
    static let shared = try? Ringer()
    private let number: UInt64
    private let zero: Descriptor

    init() throws(Errno) {
      zero = Descriptor(owning: try result { unsafe open("/dev/zero", O_RDONLY | O_CLOEXEC) })
      var number: UInt64 = 0
      try check { unsafe vsocfs_ringer_create(&number) }
      self.number = number
    }

    deinit { vsocfs_ringer_destroy(number) }

    func ring(_ event: Int32) -> Bool { vsocfs_ring(number, zero.raw, event) == 0 }
  }
}
