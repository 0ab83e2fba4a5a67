// SPDX-License-Identifier: Apache-2.0

import CVsocABI
import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// COND_WAIT and COND_WAKE. The argument comes back on every return, errors included.
@Suite struct CondWaitTests {
  private func withData(
    _ body: (ServedTree, FuseHandle, SharedWord) throws -> Void
  ) throws {
    try withTree { tree in
      let data = try tree.wire.open(path: "r/data")
      try body(tree, data, tree.window().word(at: 0x2000))
      try tree.wire.release(data)
    }
  }

  @Test(
    arguments: [
      (CondWaitArgument(offset: 0x2001, wakes: 5), .addressNotAvailable),
      (CondWaitArgument(offset: 0x2002, wakes: 5), .addressNotAvailable),
      (CondWaitArgument(offset: .max, wakes: 5), .addressNotAvailable),
      (CondWaitArgument(offset: 0x10_0000, wakes: 5), .argListTooLong),
      (CondWaitArgument(offset: .max - 3, wakes: .max), .argListTooLong),
      (CondWaitArgument(type: 0, wakes: 5), .invalidArgument),
      (CondWaitArgument(type: 3, wakes: 5), .invalidArgument),
      (CondWaitArgument(nanoseconds: 1_000_000_000, type: 2, wakes: 5), .invalidArgument),
      (CondWaitArgument(nanoseconds: .max, type: 2, wakes: 5), .invalidArgument),
      (CondWaitArgument(type: 2, wakes: 5), .timedOut),
      (CondWaitArgument(seconds: 1, nanoseconds: 999_999_999, type: 2, wakes: 0), .timedOut),
    ] as [(CondWaitArgument, Errno)])
  func `Errors bring the argument back`(argument: CondWaitArgument, error: Errno) throws {
    try withData { tree, data, _ in
      for is32Bit in [false, true] {
        let reply = try tree.wire.ioctl(
          data, Ioctl.condWait, input: argument.bytes, is32Bit: is32Bit)
        #expect(reply.failed(error, argument))
      }
      #expect(tree.server.engine.parking.count == 0)
    }
  }

  @Test func `An argument that is not there is EINVAL`() throws {
    try withData { tree, data, _ in
      var body = WireWriter()
      body.append64(data.opened.handle)
      body.append(0, Ioctl.condWait)
      body.append64(0)
      body.append(0, 32)
      let ticket = try tree.wire.send(.ioctl, node: data.node, body: body.bytes)
      #expect(throws: Errno.invalidArgument) { try tree.wire.reply(to: ticket) }
    }
  }

  @Test func `Another value is no reason to sleep`() throws {
    try withData { tree, data, word in
      word.store(7)
      for type: UInt32 in [1, 2] {
        let argument = CondWaitArgument(value: 6, type: type, wakes: 3)
        let reply = try tree.wire.ioctl(data, Ioctl.condWait, input: argument.bytes)
        #expect(reply.succeeded(argument))
      }
    }
  }

  @Test func `A wakeup with the value unchanged is counted, and the sleep goes on`() throws {
    try withData { tree, data, word in
      let wait = try tree.beginCondWait(data, CondWaitArgument())
      try tree.waitForParked(1)
      for _ in 0..<3 { try tree.wire.ioctl(data, Ioctl.condWake, argument: 0x2000) }
      // Elsewhere: not this one's.
      try tree.wire.ioctl(data, Ioctl.condWake, argument: 0x2004)
      #expect(tree.server.engine.parking.count == 1)
      word.store(1)
      try tree.wire.ioctl(data, Ioctl.condWake, argument: 0x2000)
      #expect(try tree.wire.ioctlReply(to: wait).woke(CondWaitArgument(wakes: 4)))
    }
  }

  @Test func `An interrupt brings the count of wakeups along`() throws {
    try withData { tree, data, _ in
      let argument = CondWaitArgument(wakes: 10)
      let wait = try tree.beginCondWait(data, argument)
      try tree.waitForParked(1)
      for _ in 0..<2 { try tree.wire.ioctl(data, Ioctl.condWake, argument: 0x2000) }
      try tree.wire.interrupt(wait)
      #expect(try tree.wire.ioctlReply(to: wait).failed(.interrupted, argument.counting(12)))
    }
  }

  @Test func `The count wraps around`() throws {
    try withData { tree, data, _ in
      let argument = CondWaitArgument(wakes: .max)
      let wait = try tree.beginCondWait(data, argument)
      try tree.waitForParked(1)
      try tree.wire.ioctl(data, Ioctl.condWake, argument: 0x2000)
      try tree.wire.interrupt(wait)
      #expect(try tree.wire.ioctlReply(to: wait).failed(.interrupted, argument.counting(0)))
    }
  }

  @Test func `A deadline ends a sleep when it comes, not before`() throws {
    try withData { tree, data, _ in
      let deadlines = [0.05, 0.01, 0.03].map { MonotonicInstant.after(seconds: $0) }
      let arguments = deadlines.map {
        CondWaitArgument(
          seconds: $0.nanoseconds / 1_000_000_000,
          nanoseconds: UInt32($0.nanoseconds % 1_000_000_000), type: 2, wakes: 1)
      }
      let waits = try arguments.map { try tree.beginCondWait(data, $0) }
      for index in [1, 2, 0] {
        let reply = try tree.wire.ioctlReply(to: waits[index])
        #expect(reply.failed(.timedOut, arguments[index]))
        #expect(MonotonicInstant.now >= deadlines[index])
      }
    }
  }

  @Test(
    arguments: [(UInt64.max, 999_999_999), (1 << 40, 0), (18_446_744_073, 709_551_615)]
      as [(UInt64, UInt32)])
  func `A deadline at the end of time does not come`(seconds: UInt64, nanoseconds: UInt32) throws {
    try withData { tree, data, word in
      let argument = CondWaitArgument(seconds: seconds, nanoseconds: nanoseconds, type: 2)
      let wait = try tree.beginCondWait(data, argument)
      try tree.waitForParked(1)
      // One that comes sooner is not kept waiting by it.
      let past = CondWaitArgument(seconds: 1, type: 2)
      #expect(
        try tree.wire.ioctl(data, Ioctl.condWait, input: past.bytes).failed(.timedOut, past))
      word.store(1)
      try tree.wire.ioctl(data, Ioctl.condWake, argument: 0x2000)
      #expect(try tree.wire.ioctlReply(to: wait).woke(argument.counting(1)))
    }
  }

  @Test func `FUTEX_WAKE in a mapping wakes, as does the other end`() throws {
    try withData { tree, data, word in
      let sleeper = try tree.beginCondWait(data, CondWaitArgument())
      try tree.waitForParked(1)
      word.store(1)
      _ = unsafe Futex.wakeAll(word.address)
      #expect(try tree.wire.ioctlReply(to: sleeper).result == 0)

      let peer = try tree.wire.open(path: "r/peer/data")
      let sleepers = try [data, peer].map {
        try tree.beginCondWait($0, CondWaitArgument(value: 1))
      }
      try tree.waitForParked(2)
      word.store(2)
      try tree.wire.ioctl(peer, Ioctl.condWake, argument: 0x2000)
      for sleeper in sleepers { #expect(try tree.wire.ioctlReply(to: sleeper).result == 0) }
      try tree.wire.release(peer)
    }
  }

  @Test func `Hundreds of words are slept on apart from each other`() throws {
    try withData { tree, data, _ in
      let offsets = (0..<300).map { 0x2000 + 4 * UInt32($0) }
      let sleepers = try offsets.map { try tree.beginCondWait(data, CondWaitArgument(offset: $0)) }
      try tree.waitForParked(300)
      for (index, offset) in offsets.enumerated().reversed() {
        try tree.window().word(at: offset).store(1)
        try tree.wire.ioctl(data, Ioctl.condWake, argument: UInt64(offset))
        let argument = CondWaitArgument(offset: offset, wakes: 1)
        #expect(try tree.wire.ioctlReply(to: sleepers[index]).woke(argument))
        #expect(tree.server.engine.parking.count == index)
      }
    }
  }
}
