// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Doorbells with several readers, full tables, and senders that work through the mapping.
@Suite struct DoorbellTests {
  @Test func `Every handle sees every offset, and every blocked read ends`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let receivers = try (0..<3).map { _ in try wire.open(path: "r/peer/doorbell") }
      let reads = try receivers.map { try wire.beginRead($0) }
      try tree.waitForParked(3)
      try wire.write(sender, "0x2000")
      for read in reads { #expect(try wire.text(of: read) == "0x00002000\n") }
      // Nobody hears his own bell.
      #expect(try wire.poll(sender, pollHandle: 1) & POLLIN == 0)
      for handle in receivers + [sender] { try wire.release(handle) }
    }
  }

  @Test func `Offsets that are not read are coalesced`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let (slow, fast) = try (
        wire.open(path: "r/peer/doorbell"), wire.open(path: "r/peer/doorbell")
      )
      for _ in 0..<100 {
        for offset in ["0x2000", "0x2004"] {
          try wire.write(sender, offset)
          #expect(try wire.readText(fast) == "0x0000\(offset.dropFirst(2))\n")
        }
      }
      #expect(try wire.readText(slow, size: 1 << 16) == "0x00002000\n0x00002004\n")
      for handle in [sender, slow, fast] { try wire.release(handle) }
    }
  }

  @Test func `Who falls behind by more than 65536 offsets is told so, once`() throws {
    try withTree([region("r", slotsLg2: 14)]) { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let (slow, fast) = try (
        wire.open(path: "r/peer/doorbell"), wire.open(path: "r/peer/doorbell")
      )
      let first: UInt32 = 0x30000
      let count: UInt32 = 65_536 + 100
      for start in stride(from: 0, to: count, by: 16_384) {
        let offsets = (start..<min(start + 16_384, count)).map { first + 4 * $0 }
        try post(offsets, to: sender, of: wire)
        // The table is drained as a whole by whoever reads of it.
        _ = try wire.read(fast, size: 11)
      }
      let lines = try wire.readText(slow, size: 1 << 20).split(separator: "\n")
      #expect(lines.first == "0xffffffff")
      let offsets = lines.dropFirst().compactMap { UInt32($0.dropFirst(2), radix: 16) }
      #expect(offsets.count == lines.count - 1)
      #expect(Set(offsets).count == offsets.count)
      #expect((16_384...65_536).contains(offsets.count))
      let missing = count - UInt32(offsets.count)
      #expect(Set(offsets) == Set((missing..<count).map { first + 4 * $0 }))
      // It goes on as usual.
      try wire.write(sender, "0x30000")
      #expect(try wire.readText(slow) == "0x00030000\n")
      for handle in [sender, slow, fast] { try wire.release(handle) }
    }
  }

  /// More of them than one write may bring.
  private func post(_ offsets: [UInt32], to sender: FuseHandle, of wire: FuseWire) throws {
    for start in stride(from: 0, to: offsets.count, by: 4096) {
      let part = offsets[start..<min(start + 4096, offsets.count)]
      try wire.write(sender, part.map { "\($0)" }.joined(separator: "\n"))
    }
  }

  @Test func `One write brings 64 KiB of text at most, and else nothing`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let line = "0x2000 "
      let text = String(repeating: " ", count: (64 << 10) - line.utf8.count) + line
      try wire.write(sender, text)
      #expect(try tree.values(of: "r/info")["outgoing_posted"] == "1")
      #expect(throws: Errno.messageTooLong) { try wire.write(sender, text + "0x2004") }
      #expect(try tree.values(of: "r/info")["outgoing_posted"] == "1")
      try wire.release(sender)
    }
  }

  @Test func `The marker of an overflow alone fills a line's buffer`() throws {
    try withTree([region("r", slotsLg2: 15)]) { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/peer/doorbell")
      let (slow, fast) = try (wire.open(path: "r/doorbell"), wire.open(path: "r/doorbell"))
      for start: UInt32 in [0, 32_768, 65_536] {
        let offsets = (start..<(start + (start == 65_536 ? 1 : 32_768))).map { 0x80000 + 4 * $0 }
        try post(offsets, to: sender, of: wire)
        _ = try wire.read(fast, size: 11)
      }
      #expect(try wire.readText(slow, size: 11) == "0xffffffff\n")
      #expect(try wire.readText(slow, size: 11) != "0xffffffff\n")
      for handle in [sender, slow, fast] { try wire.release(handle) }
    }
  }

  // MARK: Full tables

  @Test(arguments: [O_NONBLOCK, O_APPEND])
  func `A full table does not block who must not wait, and takes all or nothing`(
    flag: Int32
  ) throws {
    try withTree([region("r", slotsLg2: 2)]) { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell", flags: O_WRONLY | flag)
      let receiver = try wire.open(path: "r/peer/doorbell", flags: O_RDONLY)
      try wire.write(sender, "0x2000 0x2004 0x2008")
      #expect(throws: Errno.resourceTemporarilyUnavailable) {
        try wire.write(sender, "0x200c 0x2010")
      }
      #expect(try tree.values(of: "r/info")["outgoing_posted"] == "3")
      // What is there already takes no room.
      try wire.write(sender, "0x2000 0x2008 0x200c")
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try wire.write(sender, "0x2010") }
      // No offset, no slot.
      #expect(try wire.write(sender, "\n") == 1)
      #expect(throws: Errno.messageTooLong) {
        try wire.write(sender, "0x2000 0x2004 0x2008 0x200c 0x2010")
      }
      #expect(try wire.readText(receiver).utf8.count == 44)
      try wire.write(sender, "0x2010")
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `A blocked write goes on when the receiver drains, in its turn`() throws {
    try withTree([region("r", slotsLg2: 0)]) { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let receiver = try wire.open(path: "r/peer/doorbell")
      try wire.write(sender, "0x2000")
      let long = try wire.beginWrite(sender, "0x2004 0x2008\n")
      try tree.waitForParked(1)
      let short = try wire.beginWrite(sender, "0x200c")
      try tree.waitForParked(2)
      #expect(try tree.values(of: "r/info")["blocked_writers"] == "2")
      var lines: [String] = []
      while lines.count < 4 {
        lines += try wire.readText(receiver).split(separator: "\n").map(String.init)
      }
      #expect(lines == ["0x00002000", "0x00002004", "0x00002008", "0x0000200c"])
      #expect(try wire.written(by: long) == 14)
      #expect(try wire.written(by: short) == 6)
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `An interrupted write tells how much of it was taken`() throws {
    try withTree([region("r", slotsLg2: 1)]) { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let partial = try wire.beginWrite(sender, "  0x2000 8196\n0x2008")
      try tree.waitForParked(1)
      try wire.interrupt(partial)
      #expect(try wire.written(by: partial) == 13)
      let nothing = try wire.beginWrite(sender, "0x2008")
      try tree.waitForParked(1)
      try wire.interrupt(nothing)
      #expect(throws: Errno.interrupted) { try wire.reply(to: nothing) }
      let receiver = try wire.open(path: "r/peer/doorbell")
      #expect(try wire.readText(receiver) == "0x00002000\n0x00002004\n")
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `A receiver that drains through the mapping lets a blocked write go on`() throws {
    try withTree([region("r", slotsLg2: 0)]) { tree in
      let sender = try tree.wire.open(path: "r/doorbell")
      try tree.wire.write(sender, "0x2000")
      let write = try tree.wire.beginWrite(sender, "0x2004")
      try tree.waitForParked(1)
      let window = try tree.window()
      let table = SignalTable(
        window: window, geometry: try tree.region().configuration.geometry.guestToHost)
      var drained: [UInt32] = []
      _ = table.drain { offset in
        drained.append(offset)
        if let word = try? window.word(at: offset) { unsafe Futex.wakeAll(word.address) }
      }
      #expect(try tree.wire.written(by: write) == 6)
      // The drain looks at the word again, and may have found it already.
      #expect(table.firstPosted == 0x2004 || drained.last == 0x2004)
      try tree.wire.release(sender)
    }
  }

  // MARK: Others in the memory

  @Test func `What a sender posted through the mapping arrives with any ring`() throws {
    try withTree { tree in
      let wire = tree.wire
      let receiver = try wire.open(path: "r/peer/doorbell")
      let read = try wire.beginRead(receiver)
      try tree.waitForParked(1)
      let table = SignalTable(
        window: try tree.window(), geometry: try tree.region().configuration.geometry.guestToHost)
      #expect(table.post(0x2000) == .posted)
      let data = try wire.open(path: "r/data")
      try wire.ioctl(data, Ioctl.maybeSendInterrupt)
      #expect(try wire.text(of: read) == "0x00002000\n")
      // And if its sender died before it rang: as soon as somebody looks.
      #expect(table.post(0x2004) == .posted)
      #expect(try wire.poll(receiver, pollHandle: 1) & POLLIN != 0)
      #expect(try wire.readText(receiver) == "0x00002004\n")
      for handle in [receiver, data] { try wire.release(handle) }
    }
  }

  @Test func `Offsets that are none are dropped and counted`() throws {
    try withTree { tree in
      let wire = tree.wire
      let receiver = try wire.open(path: "r/peer/doorbell", flags: O_RDONLY | O_NONBLOCK)
      let geometry = try tree.region().configuration.geometry.guestToHost
      var slot = geometry.tableOffset
      for value: UInt32 in [0x2002, 0x10_0000, 1, 0xffff_ffff, 0x2000] {
        try tree.window().word(at: slot).store(value)
        slot += 4
      }
      #expect(try wire.readText(receiver) == "0x00002000\n")
      #expect(try tree.values(of: ".vsocfs/stats")["bad_offsets"] == "4")
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try wire.read(receiver) }
      try wire.release(receiver)
    }
  }

  @Test func `A round trip comes back after the receiver has woken its side`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let receiver = try wire.open(path: "r/peer/doorbell")
      let data = try wire.open(path: "r/peer/data")
      let sleeper = try tree.beginCondWait(data, CondWaitArgument())
      let answer = try wire.beginRead(sender)
      try tree.waitForParked(2)
      try tree.window().word(at: 0x2000).store(1)
      let table = SignalTable(
        window: try tree.window(), geometry: try tree.region().configuration.geometry.guestToHost)
      #expect(table.post(0x2000 | SignalTable.roundTripFlag) == .posted)
      #expect(try wire.readText(receiver) == "0x00002000\n")
      #expect(try wire.text(of: answer) == "0x00002000\n")
      #expect(try wire.ioctlReply(to: sleeper).woke(CondWaitArgument(wakes: 1)))
      for handle in [sender, receiver, data] { try wire.release(handle) }
    }
  }
}

extension FuseWire {
  func text(of ticket: Ticket) throws -> String {
    String(decoding: try reply(to: ticket), as: UTF8.self)
  }
}
