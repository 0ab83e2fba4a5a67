// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// An epoll(7) instance: level-triggered readability of descriptors, by token.
package struct Epoll: ~Copyable, Sendable {
  private let descriptor: Descriptor

  package init() throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_epoll_create() })
  }

  package func add(_ fd: borrowing Descriptor, token: UInt64) throws(Errno) {
    try watch(fd, token: token, forWriting: false, again: false)
  }

  /// Reports each time that an eventfd is written to, whether anybody reads it or not; and when it is
  /// read.
  package func addEdges(of fd: borrowing Descriptor, token: UInt64) throws(Errno) {
    let (epoll, raw) = (descriptor.raw, fd.raw)
    try check { vsocfs_epoll_add_edges(epoll, raw, token) }
  }

  /// Reports readability, and writability if asked for; also of one that was added before.
  package func watch(
    _ fd: borrowing Descriptor, token: UInt64, forWriting: Bool, again: Bool
  ) throws(Errno) {
    let (epoll, raw) = (descriptor.raw, fd.raw)
    try check { vsocfs_epoll_watch(epoll, raw, token, forWriting, again) }
  }

  /// Reports what is urgent (EPOLLPRI), and errors.
  package func addUrgent(_ fd: borrowing Descriptor, token: UInt64) throws(Errno) {
    let (epoll, raw) = (descriptor.raw, fd.raw)
    try check { vsocfs_epoll_add_urgent(epoll, raw, token) }
  }

  package func remove(_ fd: borrowing Descriptor) {
    _ = vsocfs_epoll_remove(descriptor.raw, fd.raw)
  }

  /// The tokens of up to 16 descriptors that are readable; waits until there is one.
  package func wait() throws(Errno) -> [UInt64] { try tokens(timeout: -1) }

  /// The same without waiting.
  package func poll() throws(Errno) -> [UInt64] { try tokens(timeout: 0) }

  private func tokens(timeout: Int32) throws(Errno) -> [UInt64] {
    let epoll = descriptor.raw
    var tokens = [UInt64](repeating: 0, count: 16)
    let count = try check(retryOnInterrupt: true) {
      unsafe vsocfs_epoll_wait(epoll, &tokens, 16, timeout)
    }
    return Array(tokens.prefix(Int(count)))
  }

  /// Adds a whole set as one descriptor, which is readable while one of its own is.
  package func add(_ set: borrowing Epoll, token: UInt64) throws(Errno) {
    try add(set.descriptor, token: token)
  }

  package func remove(_ set: borrowing Epoll) { remove(set.descriptor) }
}
