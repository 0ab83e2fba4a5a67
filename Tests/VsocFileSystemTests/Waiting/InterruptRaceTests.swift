// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Interrupts that come while their call is being arranged, or while its event comes.
@Suite struct InterruptRaceTests {
  private static let rounds = 2000

  /// Takes the reply to a call that was interrupted, and says whether that is how it ended.
  private func wasInterrupted(_ ticket: FuseWire.Ticket, _ wire: FuseWire) throws -> Bool {
    do {
      let body = try wire.reply(to: ticket)
      // COND_WAIT says so in a reply with bytes.
      guard body.count == 16 + 32 else { return false }
      return body.starts(with: CondWaitArgument.interrupted)
    } catch Errno.interrupted {
      return true
    }
  }

  @Test(arguments: ["doorbell", "signal", "wait", "condition"])
  func `An interrupt right behind its call ends it, once`(kind: String) throws {
    try withTree { tree in
      let wire = tree.wire
      let isIoctl = kind == "wait" || kind == "condition"
      let handle = try wire.open(path: isIoctl ? "r/data" : "r/\(kind)")
      func begin() throws -> FuseWire.Ticket {
        switch kind {
        case "wait": try wire.beginIoctl(handle, Ioctl.waitForInterrupt)
        case "condition": try tree.beginCondWait(handle, CondWaitArgument())
        default: try wire.beginRead(handle)
        }
      }
      // Some at a time, so that all workers are at it.
      for _ in 0..<(Self.rounds / 4) {
        let tickets = try (0..<4).map { _ in
          let ticket = try begin()
          try wire.interrupt(ticket)
          return ticket
        }
        for ticket in tickets { #expect(try wasInterrupted(ticket, wire)) }
      }
      #expect(tree.server.engine.parking.count == 0)
      try wire.release(handle)
    }
  }

  @Test func `An offset that comes with an interrupt is read now or next`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      var receiver = try wire.open(path: "r/peer/doorbell")
      var interrupted = 0
      for round in 0..<Self.rounds {
        receiver.flags = O_RDONLY
        let read = try wire.beginRead(receiver)
        let write: FuseWire.Ticket
        if round % 2 == 0 {
          write = try wire.beginWrite(sender, "0x2000")
          try wire.interrupt(read)
        } else {
          try wire.interrupt(read)
          write = try wire.beginWrite(sender, "0x2000")
        }
        #expect(try wire.written(by: write) == 6)
        if try wasInterrupted(read, wire) {
          interrupted += 1
          receiver.flags = O_RDONLY | O_NONBLOCK
          #expect(try wire.readText(receiver) == "0x00002000\n", "round \(round)")
        }
      }
      // It can only be lost where both happen.
      #expect(interrupted > 0)
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `A notification that comes with an interrupt is read now or next`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/signal")
      var receiver = try wire.open(path: "r/peer/signal")
      for round in 1...Self.rounds {
        receiver.flags = O_RDONLY
        let read = try wire.beginRead(receiver)
        let write = try wire.beginWrite(sender, "inject")
        try wire.interrupt(read)
        #expect(try wire.written(by: write) == 6)
        if try wasInterrupted(read, wire) {
          receiver.flags = O_RDONLY | O_NONBLOCK
          #expect(try wire.readText(receiver) == "\(round)\n")
        }
      }
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `A write that is interrupted has posted what it says`() throws {
    try withTree([region("r", slotsLg2: 0)]) { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let receiver = try wire.open(path: "r/peer/doorbell", flags: O_RDONLY | O_NONBLOCK)
      for _ in 0..<(Self.rounds / 4) {
        let write = try wire.beginWrite(sender, "0x2000 0x2004 0x2008")
        let read = try wire.beginRead(receiver)
        try wire.interrupt(write)
        let posted = (try wire.written(by: write) + 1) / 7
        #expect((1...3).contains(posted))
        var lines = (try? wire.text(of: read)) ?? ""
        while let more = try? wire.readText(receiver) { lines += more }
        #expect(
          lines.split(separator: "\n")
            == ["0x00002000", "0x00002004", "0x00002008"]
            .prefix(posted).map { $0[...] })
      }
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `A release right behind a read ends it`() throws {
    try withTree { tree in
      let wire = tree.wire
      for _ in 0..<200 {
        let handle = try wire.open(path: "r/doorbell")
        let read = try wire.beginRead(handle)
        try tree.waitForParked(1)
        let interrupt = Result { try wire.interrupt(read) }
        try wire.release(handle)
        try interrupt.get()
        let error = #expect(throws: Errno.self) { try wire.reply(to: read) }
        #expect(error == .interrupted || error == .operationNotSupportedByDevice)
      }
      try wire.removeDirectory("r")
    }
  }
}

extension CondWaitArgument {
  /// How the reply of one that was interrupted begins: its result.
  fileprivate static let interrupted =
    unsafe withUnsafeBytes(of: -EINTR) { unsafe Array($0) }
}
