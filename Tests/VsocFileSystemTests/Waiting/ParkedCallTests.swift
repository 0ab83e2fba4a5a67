// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Every kind of call that waits, and everything that can end one.
@Suite struct ParkedCallTests {
  enum Kind: CaseIterable, Sendable {
    case doorbellRead, doorbellWrite, signalRead, interruptWait, condWait
  }

  /// A call of the host end that waits.
  private struct Parked {
    let ticket: FuseWire.Ticket
    let handle: FuseHandle
  }

  private func park(_ kind: Kind, in tree: ServedTree) throws -> Parked {
    let wire = tree.wire
    let file =
      switch kind {
      case .doorbellRead, .doorbellWrite: "doorbell"
      case .signalRead: "signal"
      case .interruptWait, .condWait: "data"
      }
    let handle = try wire.open(path: "r/peer/\(file)")
    let ticket: FuseWire.Ticket
    switch kind {
    case .doorbellRead, .signalRead: ticket = try wire.beginRead(handle)
    case .doorbellWrite:
      try wire.write(handle, "0x2000")
      ticket = try wire.beginWrite(handle, "0x2004")
    case .interruptWait: ticket = try wire.beginIoctl(handle, Ioctl.waitForInterrupt)
    case .condWait: ticket = try tree.beginCondWait(handle, CondWaitArgument(wakes: 41))
    }
    try tree.waitForParked(1)
    return Parked(ticket: ticket, handle: handle)
  }

  /// The error that a call ended with. COND_WAIT has one with bytes.
  private func error(of parked: Parked, _ kind: Kind, _ tree: ServedTree) throws -> Errno? {
    do {
      if kind == .condWait {
        let reply = try tree.wire.ioctlReply(to: parked.ticket)
        #expect(reply.data == CondWaitArgument(wakes: 41).bytes)
        return reply.result < 0 ? Errno(rawValue: -reply.result) : nil
      }
      _ = try tree.wire.reply(to: parked.ticket)
      return nil
    } catch let error as Errno {
      return error
    }
  }

  /// One slot, so that a second offset does not fit.
  private func withSmallTree(_ body: (ServedTree) throws -> Void) throws {
    try withTree([region("r", slotsLg2: 0)], body)
  }

  @Test(arguments: Kind.allCases)
  func `Its event ends it`(kind: Kind) throws {
    try withSmallTree { tree in
      let parked = try park(kind, in: tree)
      let wire = tree.wire
      let file = kind == .doorbellWrite || kind == .doorbellRead ? "doorbell" : "data"
      let other = try wire.open(path: "r/\(file)")
      switch kind {
      case .doorbellRead: try wire.write(other, "0x2000")
      case .doorbellWrite: #expect(try wire.readText(other, size: 11) == "0x00002000\n")
      case .signalRead: try wire.ioctl(other, Ioctl.inject)
      case .interruptWait: try wire.ioctl(other, Ioctl.maybeSendInterrupt)
      case .condWait:
        try tree.window().word(at: 0x2000).store(1)
        try wire.ioctl(other, Ioctl.condWake, argument: 0x2000)
      }
      let body = try wire.reply(to: parked.ticket)
      switch kind {
      case .doorbellRead: #expect(body == Array("0x00002000\n".utf8))
      case .doorbellWrite: #expect(body.first == 6)
      case .signalRead: #expect(body == Array("1\n".utf8))
      case .interruptWait: #expect(body == [UInt8](repeating: 0, count: 16))
      case .condWait:
        #expect([41, 42].map { CondWaitArgument(wakes: $0).bytes }.contains(Array(body[16...])))
      }
      #expect(tree.server.engine.parking.count == 0)
      try wire.release(parked.handle)
      try wire.release(other)
    }
  }

  @Test(arguments: Kind.allCases)
  func `A signal to its caller ends it with EINTR`(kind: Kind) throws {
    try withSmallTree { tree in
      let parked = try park(kind, in: tree)
      try tree.wire.interrupt(parked.ticket)
      #expect(try error(of: parked, kind, tree) == .interrupted)
      #expect(tree.server.engine.parking.count == 0)
      // Too late, and of no meaning.
      try tree.wire.interrupt(parked.ticket)
      _ = try tree.wire.attributes(of: 1)
      try tree.wire.release(parked.handle)
    }
  }

  @Test(arguments: [Kind.doorbellRead, .signalRead])
  func `A read of a file that is released ends with ENODEV`(kind: Kind) throws {
    try withSmallTree { tree in
      let parked = try park(kind, in: tree)
      try tree.wire.release(parked.handle)
      #expect(try error(of: parked, kind, tree) == .operationNotSupportedByDevice)
      try tree.wire.removeDirectory("r")
    }
  }

  @Test(arguments: Kind.allCases)
  func `When the daemon ends it is ENODEV`(kind: Kind) throws {
    try withSmallTree { tree in
      let parked = try park(kind, in: tree)
      tree.terminate()
      #expect(try error(of: parked, kind, tree) == .operationNotSupportedByDevice)
    }
  }

  @Test func `When the daemon ends, hundreds of calls do`() throws {
    try withTree { tree in
      let wire = tree.wire
      let data = try wire.open(path: "r/data")
      var tickets: [FuseWire.Ticket] = []
      for index in 0..<300 {
        tickets.append(
          try index % 2 == 0
            ? wire.beginIoctl(data, Ioctl.waitForInterrupt)
            : tree.beginCondWait(data, CondWaitArgument(offset: 0x2000 + 4 * UInt32(index))))
      }
      try tree.waitForParked(300)
      tree.terminate()
      for (index, ticket) in tickets.enumerated() {
        if index % 2 == 0 {
          #expect(throws: Errno.operationNotSupportedByDevice) { try wire.reply(to: ticket) }
        } else {
          #expect(try wire.ioctlReply(to: ticket).result == -ENODEV)
        }
      }
    }
  }

  @Test func `A call that may not wait does not`() throws {
    try withTree([region("r", slotsLg2: 0)]) { tree in
      for path in ["r/doorbell", "r/signal"] {
        var handle = try tree.wire.open(path: path, flags: O_RDWR | O_NONBLOCK)
        #expect(throws: Errno.resourceTemporarilyUnavailable) { try tree.wire.read(handle) }
        // fcntl(F_SETFL): it is the flags of the call that count.
        handle.flags = O_RDWR
        let read = try tree.wire.beginRead(handle)
        try tree.waitForParked(1)
        try tree.wire.interrupt(read)
        #expect(throws: Errno.interrupted) { try tree.wire.reply(to: read) }
        try tree.wire.release(handle)
      }
    }
  }

  @Test func `A self interrupt wakes who waits for one, a drain does too`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (data, doorbell) = try (wire.open(path: "r/data"), wire.open(path: "r/doorbell"))
      let waits = try (0..<3).map { _ in try wire.beginIoctl(data, Ioctl.waitForInterrupt) }
      try tree.waitForParked(3)
      try wire.ioctl(data, Ioctl.selfInterrupt)
      for wait in waits { #expect(try wire.ioctlReply(to: wait).result == 0) }
      _ = try wire.read(doorbell)
      // A read that takes the interrupt in hides it from nobody who waits already.
      let (wait, read) = try (
        wire.beginIoctl(data, Ioctl.waitForInterrupt), wire.beginRead(doorbell)
      )
      try tree.waitForParked(2)
      let peer = try wire.open(path: "r/peer/data")
      try wire.ioctl(peer, Ioctl.post, argument: 0x2000)
      #expect(try wire.ioctlReply(to: wait).result == 0)
      #expect(try wire.text(of: read) == "0x00002000\n")
      for handle in [data, doorbell, peer] { try wire.release(handle) }
    }
  }
}
