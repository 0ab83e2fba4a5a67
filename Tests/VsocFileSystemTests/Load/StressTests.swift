// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Many clients at once.
@Suite struct StressTests {
  @Test func `Every reader sees the last offset of every sender`() throws {
    let (senders, perSender) = (3, 400)
    try withTree([region("r", slotsLg2: 3)]) { tree in
      let readers = try (0..<3).map { _ in try tree.wire.open(path: "r/peer/doorbell") }
      let bells = try (0..<senders).map { _ in try tree.wire.open(path: "r/doorbell") }
      // Each offset comes once, so that none may be missing.
      let all = Set((0..<UInt32(senders * perSender)).map { 0x2000 + 4 * $0 })
      let sending: [@Sendable () throws -> Void] = bells.enumerated().map { sender, bell in
        {
          for index in 0..<perSender {
            try tree.wire.write(bell, "\(0x2000 + 4 * (sender * perSender + index))")
          }
        }
      }
      let reading: [@Sendable () throws -> Void] = readers.enumerated().map { index, reader in
        {
          var seen: Set<UInt32> = []
          // Each in its own manner: by bytes, by lines, by pages.
          let size = [5, 11, 4096][index]
          var text = ""
          while seen.count < all.count {
            text += try tree.wire.readText(reader, size: size)
            var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            text = String(lines.removeLast())
            for line in lines {
              guard let offset = UInt32(line.dropFirst(2), radix: 16) else {
                throw TestFailure("not a line: \(line)")
              }
              if offset != 0 { seen.insert(offset) }
            }
          }
          guard seen == all else { throw TestFailure("offsets that nobody sent") }
        }
      }
      try concurrently(sending + reading)
      for handle in readers + bells { try tree.wire.release(handle) }
    }
  }

  @Test func `Clients that mix everything leave nothing behind`() throws {
    try withTree([region("r", slotsLg2: 2)]) { tree in
      try concurrently(
        (0..<6).map { number in
          {
            var client = Client(tree, number)
            for round in 0..<250 { try client.step(round) }
            try client.close()
          }
        })
      #expect(tree.server.engine.parking.count == 0)
      #expect(try tree.region().snapshot(of: .guest).users == 0)
      try tree.wire.removeDirectory("r")
      #expect(try tree.wire.names() == [".vsocfs"])
    }
  }

  /// One of them: opens files, uses them in every way, closes them.
  private struct Client {
    let tree: ServedTree
    let number: Int
    var wire: FuseWire { tree.wire }
    var end: String { number % 2 == 0 ? "r" : "r/peer" }
    var open: [FuseHandle] = []
    var waiting: [FuseWire.Ticket] = []

    init(_ tree: ServedTree, _ number: Int) {
      self.tree = tree
      self.number = number
    }

    mutating func step(_ round: Int) throws {
      let file = ["doorbell", "signal", "data"][round % 3]
      let handle = try wire.open(path: "\(end)/\(file)")
      open.append(handle)
      switch file {
      case "doorbell":
        waiting.append(try wire.beginRead(handle, size: 1 + round % 30))
        waiting.append(try wire.beginWrite(handle, "\(0x2000 + 4 * (round % 9)) 0x3004"))
        _ = try wire.poll(handle, pollHandle: UInt64(number))
      case "signal":
        waiting.append(try wire.beginRead(handle))
        try wire.write(handle, ["inject", "disable", "enable", "1"][round / 3 % 4])
        _ = try wire.poll(handle, pollHandle: UInt64(number), schedule: round % 2 == 0)
      default:
        waiting.append(try wire.beginIoctl(handle, Ioctl.waitForInterrupt))
        waiting.append(
          try tree.beginCondWait(
            handle, CondWaitArgument(offset: 0x3000 + 4 * UInt32(round % 5))))
        try wire.write(handle, [UInt8(round % 2)], offset: 0x3000 + 4 * UInt64(round % 5))
        try wire.ioctl(handle, Ioctl.condWake, argument: 0x3000 + 4 * UInt64(round % 5))
        _ = try tree.drain(handle)
      }
      if round % 10 == number {
        let name = "x\(number)"
        let node = try wire.makeDirectory(name).node
        try wire.setAttributes(of: node, mode: 0o600)
        _ = try wire.names()
        _ = try wire.statistics()
        try wire.removeDirectory(name)
      }
      if waiting.count > 6 { try settle() }
    }

    /// Ends what waits, each call with its one reply, and closes the files.
    private mutating func settle() throws {
      for ticket in waiting { try wire.interrupt(ticket) }
      for ticket in waiting {
        do { _ = try wire.reply(to: ticket) } catch Errno.interrupted {}
      }
      waiting.removeAll()
      for handle in open { try wire.release(handle) }
      open.removeAll()
    }

    mutating func close() throws { try settle() }
  }
}
