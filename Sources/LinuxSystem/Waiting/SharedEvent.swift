// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// An eventfd(2) that other processes have as well, and may do with as they like.
///
/// Ringing it never waits, whatever they do: it has the ringer that can, from its first moment. Whether it was
/// rung is seen by its edges (`Epoll.addEdges`): reading would take from those for whom it is.
package final class SharedEvent: Sendable {
  package let descriptor: Descriptor
  private let ringer: Ringer

  package init(_ ringer: Ringer) throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_eventfd() })
    self.ringer = ringer
  }

  /// - Throws: EAGAIN, ENOMEM: the kernel has no memory for it at the moment; it was not rung.
  package func ring() throws(Errno) { try ringer.ring(descriptor.raw) }
}
