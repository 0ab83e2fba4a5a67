// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// What a single user may take, and that others go on: docs/security.md.
@Suite struct LimitTests {
  private let attacker: UInt32 = 33
  private let victim: UInt32 = 5

  @discardableResult
  private func by<Value>(_ user: UInt32, _ body: () throws -> Value) rethrows -> Value {
    try FuseWire.Caller.$user.withValue(user, operation: body)
  }

  /// Sends `body` until it is refused with this error: how often it was not.
  private func count(
    to limit: Int, _ error: Errno, _ body: (Int) throws -> Void
  ) throws -> Int {
    for index in 0..<limit {
      do {
        try body(index)
      } catch let refusal as Errno where refusal == error {
        return index
      }
    }
    return limit
  }

  @Test func `Blocked writes of one user keep half of the bytes at most`() throws {
    try withTree([region("r"), region("v")]) { tree in
      let wire = tree.wire
      // As many offsets as a text can have.
      let text = String(repeating: "4 ", count: 32_768)
      var tickets: [FuseWire.Ticket] = []
      let cost = 1024 + 8 * 32_768
      try by(attacker) {
        let sender = try wire.open(path: "r/doorbell")
        try wire.write(
          sender, (0..<64).map { "\(0x2000 + 4 * $0)" }.joined(separator: " "))
        let fitting = Parking.capacity / 2 / cost
        for _ in 0..<fitting { tickets.append(try wire.beginWrite(sender, text)) }
        try tree.waitForParked(fitting)
        #expect(throws: Errno.noBufferSpace) { try wire.write(sender, text) }
        #expect(tree.server.engine.parking.count == fitting)
      }
      // Another user's calls wait as ever.
      try by(victim) {
        let reader = try wire.open(path: "v/doorbell")
        let read = try wire.beginRead(reader, size: 100)
        try tree.waitForParked(tickets.count + 1)
        try wire.write(wire.open(path: "v/peer/doorbell"), "0x2000")
        #expect(try wire.reply(to: read).count == 11)
      }
      // What is over gives its room back.
      try wire.interrupt(tickets[0])
      #expect(throws: Errno.interrupted) { try wire.written(by: tickets[0]) }
      try by(attacker) {
        let sender = try wire.open(path: "r/doorbell")
        tickets[0] = try wire.beginWrite(sender, text)
      }
      try tree.waitForParked(tickets.count)
      for ticket in tickets { try wire.interrupt(ticket) }
      for ticket in tickets {
        #expect(throws: Errno.interrupted) { try wire.written(by: ticket) }
      }
      #expect(tree.server.engine.parking.count == 0)
    }
  }

  @Test func `A write that has posted something before it is refused says how much`() throws {
    try withTree { tree in
      let wire = tree.wire
      let text = String(repeating: "4 ", count: 32_768)
      try by(attacker) {
        let filler = try wire.open(path: "r/peer/doorbell")
        try wire.write(
          filler, (0..<64).map { "\(0x2000 + 4 * $0)" }.joined(separator: " "))
        // Until not even a short one could wait.
        var tickets: [FuseWire.Ticket] = []
        var left = Parking.capacity / 2
        for words in [32_768, 1000, 1] {
          while left >= 1024 + 8 * words {
            tickets.append(try wire.beginWrite(filler, String(text.prefix(2 * words))))
            left -= 1024 + 8 * words
          }
        }
        try tree.waitForParked(tickets.count)
        let sender = try wire.open(path: "r/doorbell")
        let many = (0..<500).map { "\(0x2000 + 4 * $0)" }.joined(separator: " ")
        let count = try wire.write(sender, many)
        #expect(count == 64 * 5 - 1, "the offsets that the table had room for")
        for ticket in tickets { try wire.interrupt(ticket) }
        for ticket in tickets {
          #expect(throws: Errno.interrupted) { try wire.written(by: ticket) }
        }
      }
    }
  }

  @Test func `Regions of one user are half of all at most, and half of their bytes`() throws {
    try withTree([], options: ["nr_regions=6,size=8M,region_size=1M"]) { tree in
      let wire = tree.wire
      let made = try by(attacker) {
        try count(to: 10, .noSpace) { _ = try wire.makeDirectory("a\($0)") }
      }
      #expect(made == 3)
      // Of 8 MiB he may have 4.
      let data = try wire.node(at: "a0/data")
      try by(attacker) { try wire.setAttributes(of: data, size: 2 << 20) }
      #expect(throws: Errno.noSpace) {
        try by(attacker) { try wire.setAttributes(of: data, size: (2 << 20) + 4096) }
      }
      try by(victim) { for index in 0..<3 { _ = try wire.makeDirectory("v\(index)") } }
      #expect(throws: Errno.noSpace) { try wire.makeDirectory("root") }
      try by(victim) { try wire.removeDirectory("v0") }
      _ = try wire.makeDirectory("root")
    }
  }

  @Test func `Without a number others than root make 4096 regions, each half of them`() throws {
    try withTree([], options: ["size=0"]) { tree in
      let wire = tree.wire
      let made = try by(attacker) {
        try count(to: 3000, .noSpace) { _ = try wire.makeDirectory("a\($0)") }
      }
      #expect(made == 2048)
      try by(victim) { _ = try wire.makeDirectory("v") }
      _ = try wire.makeDirectory("root")
    }
  }

  @Test func `Nodes of managed regions are bounded for each user`() throws {
    try withTree([region("m"), region("a", managedBy: "m")]) { tree in
      let wire = tree.wire
      let directory = try wire.node(at: "a")
      var nodes: [UInt64] = []
      let found = try by(attacker) {
        try count(to: 20_000, .tooManyOpenFilesInSystem) { _ in
          nodes.append(try wire.lookup("data", in: directory).node)
        }
      }
      #expect(found == 16_384)
      _ = try by(victim) { try wire.lookup("data", in: directory) }
      try wire.forget(nodes[0])
      _ = try by(attacker) { try wire.lookup("data", in: directory) }
    }
  }

  @Test func `Open files are bounded for each user`() throws {
    try withTree { tree in
      let wire = tree.wire
      let node = try wire.node(at: ".vsocfs/version")
      var handles: [FuseHandle] = []
      let opened = try by(attacker) {
        try count(to: 20_000, .tooManyOpenFilesInSystem) { _ in
          handles.append(try wire.open(node, flags: O_RDONLY))
        }
      }
      #expect(opened == 16_384)
      try by(victim) { try wire.release(wire.open(node, flags: O_RDONLY)) }
      try wire.release(handles.removeLast())
      handles.append(try by(attacker) { try wire.open(node, flags: O_RDONLY) })
      for handle in handles { try wire.release(handle) }
    }
  }

  /// Many versions of a text would be as many copies of it.
  @Test func `A text is shared by all who have it open`() throws {
    try withTree((0..<200).map { try region("region\($0)", size: 16384) }) { tree in
      let wire = tree.wire
      let (first, second) = try (
        wire.open(path: ".vsocfs/layout", flags: O_RDONLY),
        wire.open(path: ".vsocfs/layout", flags: O_RDONLY)
      )
      let before = try wire.readText(first, size: 1 << 20)
      #expect(try wire.readText(second, size: 1 << 20) == before)
      _ = try wire.makeDirectory("another")
      let third = try wire.open(path: ".vsocfs/layout", flags: O_RDONLY)
      #expect(try wire.readText(third, size: 1 << 20).contains("another"))
      #expect(try wire.readText(first, size: 1 << 20) == before)
      for handle in [first, second, third] { try wire.release(handle) }
    }
  }

  @Test func `Versions of a text that are kept are bounded for each user`() throws {
    let regions = try (0..<2000).map { try region("region\($0)", size: 16384) }
    try withTree(regions, options: ["size=0"]) { tree in
      let wire = tree.wire
      let size = try wire.open(path: ".vsocfs/layout", flags: O_RDONLY)
      let bytes = try wire.readText(size, size: 1 << 20).utf8.count
      var handles = [size]
      let limit = (16 << 20) / bytes
      let directory = try wire.node(at: "region0")
      let opened = try by(attacker) {
        try count(to: 2 * limit, .tooManyOpenFilesInSystem) { index in
          try wire.setAttributes(of: directory, uid: UInt32(10_000 + index))
          handles.append(try wire.open(path: ".vsocfs/layout", flags: O_RDONLY))
        }
      }
      #expect((limit - 10...limit).contains(opened))
      handles.append(try by(victim) { try wire.open(path: ".vsocfs/layout", flags: O_RDONLY) })
      for handle in handles { try wire.release(handle) }
      let again = try by(attacker) { try wire.open(path: ".vsocfs/layout", flags: O_RDONLY) }
      try wire.release(again)
    }
  }
}
