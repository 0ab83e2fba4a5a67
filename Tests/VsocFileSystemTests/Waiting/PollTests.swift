// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// poll(2) as the kernel asks for it. A notification goes out before the reply to what caused it,
/// so that none is missed or waited for in vain here.
@Suite struct PollTests {
  private static let readable = POLLIN | Int32(POLLRDNORM)
  private static let writable = POLLOUT | Int32(POLLWRNORM)

  private func withFiles(
    _ name: String, _ body: (FuseWire, FuseHandle, FuseHandle) throws -> Void
  ) throws {
    try withTree { tree in
      let (sender, receiver) = try (
        tree.wire.open(path: "r/\(name)"), tree.wire.open(path: "r/peer/\(name)")
      )
      try body(tree.wire, sender, receiver)
      try tree.wire.release(sender)
      try tree.wire.release(receiver)
    }
  }

  private static let rings = [("doorbell", "0x2000"), ("doorbell", "0"), ("signal", "inject")]

  @Test(arguments: rings)
  func `A poll tells how things are`(file: String, text: String) throws {
    try withFiles(file) { wire, sender, receiver in
      for schedule in [false, true] {
        #expect(try wire.poll(receiver, pollHandle: 7, schedule: schedule) == Self.writable)
        try wire.write(sender, text)
        #expect(
          try wire.poll(receiver, pollHandle: 7, schedule: schedule)
            == Self.readable | Self.writable)
        _ = try wire.read(receiver)
      }
    }
  }

  /// More than are told by whoever rings: the session's own thread does it.
  @Test(arguments: rings)
  func `A crowd of pollers is notified, each once`(file: String, text: String) throws {
    try withFiles(file) { wire, sender, _ in
      let crowd = try (100..<150 as Range<UInt64>).map { number in
        let handle = try wire.open(path: "r/peer/\(file)")
        _ = try wire.poll(handle, pollHandle: number)
        return handle
      }
      try wire.write(sender, text)
      var notified: Set<UInt64> = []
      for _ in crowd {
        guard case .poll(let number) = try wire.notification() else { break }
        #expect(notified.insert(number).inserted)
      }
      #expect(notified == Set(100..<150))
      for handle in crowd { try wire.release(handle) }
    }
  }

  @Test(arguments: rings)
  func `Without a schedule nobody is notified`(file: String, text: String) throws {
    try withFiles(file) { wire, sender, receiver in
      _ = try wire.poll(receiver, pollHandle: 7, schedule: false)
      try wire.write(sender, text)
      #expect(wire.takeNotifications() == [])
    }
  }

  @Test(arguments: rings)
  func `A notification is sent once until somebody looks`(file: String, text: String) throws {
    try withFiles(file) { wire, sender, receiver in
      _ = try wire.poll(receiver, pollHandle: 7)
      #expect(wire.takeNotifications() == [])
      for _ in 0..<5 { try wire.write(sender, text) }
      #expect(wire.takeNotifications() == [.poll(7)])
      _ = try wire.poll(receiver, pollHandle: 7)
      try wire.write(sender, text)
      #expect(wire.takeNotifications().count <= 1)
    }
  }

  @Test(arguments: rings)
  func `After a read there is the next notification, without another poll`(
    file: String, text: String
  ) throws {
    try withFiles(file) { wire, sender, receiver in
      _ = try wire.poll(receiver, pollHandle: 7)
      for _ in 0..<20 {
        try wire.write(sender, text)
        #expect(wire.takeNotifications() == [.poll(7)])
        _ = try wire.read(receiver)
        #expect(wire.takeNotifications() == [])
      }
    }
  }

  @Test func `The latest handle is the one that is notified`() throws {
    try withFiles("doorbell") { wire, sender, receiver in
      for handle in [7, 8, 9, 7] as [UInt64] { _ = try wire.poll(receiver, pollHandle: handle) }
      _ = try wire.poll(receiver, pollHandle: 10, schedule: false)
      try wire.write(sender, "0x2000")
      #expect(wire.takeNotifications() == [.poll(7)])
    }
  }

  @Test func `All pollers are notified, each file by its own handle`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell")
      let files = try (0..<6).map { _ in try wire.open(path: "r/peer/doorbell") }
      for (index, file) in files.enumerated() {
        _ = try wire.poll(file, pollHandle: UInt64(100 + index))
      }
      try wire.write(sender, "0x2000")
      #expect(Set(wire.takeNotifications()) == Set((100..<106).map { .poll($0) }))
      // The first to read takes the offset out of the table; the others still have it.
      for file in files {
        #expect(try wire.poll(file, pollHandle: 1, schedule: false) & POLLIN != 0)
        #expect(try wire.readText(file) == "0x00002000\n")
        #expect(try wire.poll(file, pollHandle: 1, schedule: false) & POLLIN == 0)
      }
      for handle in files + [sender] { try wire.release(handle) }
    }
  }

  @Test func `After a release nobody is notified`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (
        wire.open(path: "r/doorbell"), wire.open(path: "r/peer/doorbell")
      )
      let signal = try wire.open(path: "r/peer/signal")
      for handle in [receiver, signal] {
        _ = try wire.poll(handle, pollHandle: 7)
        try wire.release(handle)
      }
      try wire.write(sender, "0x2000 0")
      let data = try wire.open(path: "r/data")
      try wire.ioctl(data, Ioctl.inject)
      #expect(wire.takeNotifications() == [])
      #expect(throws: Errno.badFileDescriptor) { try wire.poll(receiver, pollHandle: 7) }
      for handle in [sender, data] { try wire.release(handle) }
    }
  }

  @Test func `A doorbell is writable while no interrupt is in flight`() throws {
    try withFiles("doorbell") { wire, sender, receiver in
      #expect(try wire.poll(sender, pollHandle: 7) == Self.writable)
      try wire.write(sender, "0x2000")
      #expect(try wire.poll(sender, pollHandle: 7) == 0)
      #expect(wire.takeNotifications() == [])
      _ = try wire.read(receiver)
      #expect(wire.takeNotifications() == [.poll(7)])
      #expect(try wire.poll(sender, pollHandle: 7) == Self.writable)
    }
  }

  @Test func `Who polls for something to read is not woken to write`() throws {
    try withFiles("doorbell") { wire, sender, receiver in
      _ = try wire.poll(sender, pollHandle: 7, events: POLLIN)
      try wire.write(sender, "0x2000")
      _ = try wire.read(receiver)
      #expect(wire.takeNotifications() == [])
    }
  }

  @Test func `A masked signal is not readable until it is unmasked`() throws {
    try withFiles("signal") { wire, sender, receiver in
      try wire.write(receiver, "disable")
      #expect(try wire.poll(receiver, pollHandle: 7) == Self.writable)
      try wire.write(sender, "inject")
      #expect(wire.takeNotifications() == [])
      #expect(try wire.poll(receiver, pollHandle: 7) == Self.writable)
      try wire.write(receiver, "enable")
      #expect(wire.takeNotifications() == [.poll(7)])
      #expect(try wire.poll(receiver, pollHandle: 7) == Self.readable | Self.writable)
      try wire.write(receiver, "disable")
      #expect(try wire.poll(receiver, pollHandle: 7) == Self.writable)
      try wire.write(receiver, "enable")
      #expect(try wire.readText(receiver) == "1\n")
    }
  }

  @Test(arguments: ["r/data", "r/info", ".vsocfs/version", ".vsocfs/stats"])
  func `Files that never block are always ready`(path: String) throws {
    try withTree { tree in
      let handle = try tree.wire.open(path: path, flags: O_RDONLY)
      #expect(try tree.wire.poll(handle, pollHandle: 7) == Self.readable | Self.writable)
      try tree.wire.release(handle)
    }
  }

  @Test func `No ring is lost between a poll and its notification`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (
        wire.open(path: "r/doorbell"), wire.open(path: "r/peer/doorbell")
      )
      // As an edge-triggered poller: one poll, then a read for each notification.
      for round in 0..<1000 {
        var body = WireWriter()
        body.append64(receiver.opened.handle, UInt64(round))
        body.append(1, UInt32(POLLIN))
        let poll = try wire.send(.poll, node: receiver.node, body: body.bytes)
        let write = try wire.beginWrite(sender, "0x2000")
        let events = try wire.reply(to: poll)
        if events[0] & UInt8(POLLIN) == 0 { try wire.wakeup(of: UInt64(round)) }
        _ = try wire.written(by: write)
        #expect(try wire.readText(receiver) == "0x00002000\n")
        _ = wire.takeNotifications()
      }
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }
}
