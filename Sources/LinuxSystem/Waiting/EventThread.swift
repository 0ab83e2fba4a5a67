// SPDX-License-Identifier: Apache-2.0

package import SystemPackage

/// A thread with one place where it waits: an epoll(7) set, to which descriptors may be added from any thread.
package final class EventThread: Sendable {
  package let epoll: Epoll
  private let stopping: EventDescriptor

  /// The token that stops it; those of others are larger.
  package static let stopToken: UInt64 = 0

  package init() throws(Errno) {
    epoll = try Epoll()
    stopping = try EventDescriptor()
    try epoll.add(stopping.descriptor, token: Self.stopToken)
  }

  /// Starts it.
  ///
  /// - Parameters:
  ///   - handle: called with the tokens of what has become readable, until it is stopped.
  ///   - failed: called if it cannot wait any more, which is its end.
  package func start(
    name: String, _ handle: @escaping @Sendable ([UInt64]) -> Void,
    failed: @escaping @Sendable (Errno) -> Void
  ) throws(Errno) {
    try Thread.start(name: name, stackSize: 256 << 10) { [self] in
      do throws(Errno) {
        while true {
          let tokens = try epoll.wait()
          if tokens.contains(Self.stopToken) { return }
          handle(tokens)
        }
      } catch {
        failed(error)
      }
    }
  }

  package func stop() { stopping.signal() }
}
