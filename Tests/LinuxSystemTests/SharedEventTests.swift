// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import Testing

/// Events that others read, and may do with as they like.
@Suite struct SharedEventTests {
  /// Rings in bursts, all of which somebody else has read before anybody looks.
  @Test func `Edges tell of a ring that somebody has read by then`() throws {
    let event = try SharedEvent(Ringer())
    let epoll = try Epoll()
    try epoll.addEdges(of: event.descriptor, token: 7)
    #expect(try epoll.wait() == [7])
    for burst in 1...200 {
      for _ in 0..<burst % 4 + 1 {
        try event.ring()
        var count: UInt64 = 0
        #expect(unsafe read(event.descriptor.raw, &count, 8) == 8)
      }
      // It waits for ever if nothing is told.
      #expect(try epoll.wait() == [7], "burst \(burst)")
    }
  }

  @Test func `Ringing never waits, whatever the counter and the flags`() throws {
    let event = try SharedEvent(Ringer())
    let epoll = try Epoll()
    try epoll.addEdges(of: event.descriptor, token: 7)
    #expect(try epoll.wait() == [7])
    _ = fcntl(event.descriptor.raw, F_SETFL, O_RDWR)
    var most = UInt64.max - 1
    #expect(unsafe write(event.descriptor.raw, &most, 8) == 8)
    #expect(try epoll.wait() == [7])
    for _ in 0..<3 {
      try event.ring()
      #expect(try epoll.wait() == [7])
    }
  }
}
