// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage

/// An eventfd and who waits for it: the doorbell of a peer.
final class Bell: Sendable {
  private let event: EventDescriptor
  private let epoll: Epoll

  init() throws {
    event = try EventDescriptor()
    epoll = try Epoll()
    try epoll.add(event.descriptor, token: 0)
  }

  func ring() { event.signal() }

  /// Sleeps until somebody rings, or has rung since the last time.
  func wait() {
    _ = try! epoll.wait()
    event.clear()
  }
}

/// Ordinary memory, handed from thread to thread by the means under test and nothing else.
@safe
final class Payloads: @unchecked Sendable {
  private let values: UnsafeMutablePointer<UInt32>

  init(count: Int) {
    unsafe values = .allocate(capacity: count)
    unsafe values.initialize(repeating: 0, count: count)
  }

  deinit { unsafe values.deallocate() }

  subscript(index: Int) -> UInt32 {
    get { unsafe values[index] }
    set { unsafe values[index] = newValue }
  }
}
