// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// Hears whenever one of many shared events is rung, although others read them. All of it belongs to one
/// thread.
///
/// None is missed; rings that come before one is told of may be told as one. Where the kernel has no
/// io_uring(7), or forbids it, that somebody has read an event may be told as well.
@safe
package final class RingWatch {
  /// Of io_uring(7); without it there is `epoll`.
  private let ring: OpaquePointer?
  private let epoll: Epoll?
  private var events: [UInt64: SharedEvent] = [:]

  /// - Parameter mayUseRing: false to do without io_uring(7) in any case.
  package init(mayUseRing: Bool = true) throws(Errno) {
    var ring: OpaquePointer?
    let isThere = unsafe mayUseRing && vsocfs_watch_create(&ring) == 0
    unsafe self.ring = ring
    epoll = isThere ? nil : try Epoll()
  }

  deinit {
    if let ring = unsafe ring { unsafe vsocfs_watch_destroy(ring) }
  }

  package func add(_ event: SharedEvent, token: UInt64) throws(Errno) {
    if let ring = unsafe ring {
      try check { unsafe vsocfs_watch_add(ring, event.descriptor.raw, token) }
    } else {
      try epoll!.addEdges(of: event.descriptor, token: token)
    }
    events[token] = event
  }

  package func remove(token: UInt64) {
    guard let event = events.removeValue(forKey: token) else { return }
    if let ring = unsafe ring {
      _ = unsafe vsocfs_watch_remove(ring, token)
    } else {
      epoll!.remove(event.descriptor)
    }
  }

  /// The tokens of those that were rung; waits until there is one.
  package func wait() throws(Errno) -> [UInt64] {
    guard let ring = unsafe ring else { return try epoll!.wait() }
    var tokens = [UInt64](repeating: 0, count: 16)
    var ended = [Bool](repeating: false, count: 16)
    let count = try check { unsafe vsocfs_watch_wait(ring, &tokens, &ended, 16) }
    for (token, hasEnded) in zip(tokens, ended).prefix(Int(count)) where hasEnded {
      if let event = events[token] {
        try check { unsafe vsocfs_watch_add(ring, event.descriptor.raw, token) }
      }
    }
    return Array(tokens.prefix(Int(count)))
  }
}
