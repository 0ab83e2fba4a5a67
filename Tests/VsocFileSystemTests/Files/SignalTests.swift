// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// `signal`: its text, its count, its mask.
@Suite struct SignalTests {
  @Test(arguments: ["inject", "1", "inject\n", "  1\t\n", "\ninject\r\n"])
  func `inject notifies the other end`(text: String) throws {
    try withTree { tree in
      for (from, to) in [("r", "r/peer"), ("r/peer", "r")] {
        let sender = try tree.wire.open(path: "\(from)/signal", flags: O_WRONLY)
        let receiver = try tree.wire.open(path: "\(to)/signal", flags: O_RDONLY | O_NONBLOCK)
        #expect(throws: Errno.resourceTemporarilyUnavailable) { try tree.wire.read(receiver) }
        #expect(try tree.wire.write(sender, text) == text.utf8.count)
        #expect(try tree.wire.readText(receiver) == "1\n")
        #expect(throws: Errno.resourceTemporarilyUnavailable) { try tree.wire.read(receiver) }
        try tree.wire.release(sender)
        try tree.wire.release(receiver)
      }
    }
  }

  @Test(arguments: [
    "", "\n", " ", "0", "2", "11", "01", "injec", "injects", "INJECT", "Enable", "inject inject",
    "1 1", "enable disable", "inject\0", "enable,", "ïnject", "0x2000", "-1",
    String(repeating: " ", count: 60) + "inject", String(repeating: "1", count: 5000),
  ])
  func `Other text is EINVAL and does nothing`(text: String) throws {
    try withTree { tree in
      let sender = try tree.wire.open(path: "r/signal")
      let before = try (tree.values(of: "r/info"), tree.values(of: "r/peer/info"))
      #expect(throws: Errno.invalidArgument) { try tree.wire.write(sender, text) }
      let after = try (tree.values(of: "r/info"), tree.values(of: "r/peer/info"))
      #expect(before == after)
      try tree.wire.release(sender)
    }
  }

  @Test func `Injections that nobody took in are one notification`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (wire.open(path: "r/signal"), wire.open(path: "r/peer/signal"))
      for count in 1...3 {
        for _ in 0..<5 { try wire.write(sender, "inject") }
        #expect(try wire.readText(receiver) == "\(count)\n")
      }
      #expect(try tree.values(of: "r/peer/info")["signal_count"] == "3")
      #expect(try tree.values(of: "r/info")["signal_count"] == "0")
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `What comes while an end is masked is delivered when it is not`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (wire.open(path: "r/signal"), wire.open(path: "r/peer/signal"))
      #expect(try wire.write(receiver, "disable") == 7)
      let read = try wire.beginRead(receiver)
      try tree.waitForParked(1)
      for _ in 0..<3 { try wire.write(sender, "inject") }
      #expect(try wire.poll(receiver, pollHandle: 1) & POLLIN == 0)
      #expect(tree.server.engine.parking.count == 1)
      #expect(try wire.write(receiver, "enable\n") == 7)
      #expect(try wire.text(of: read) == "1\n")
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `Every handle sees every advance of the count, also a blocked one`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/signal")
      let receivers = try (0..<3).map { _ in try wire.open(path: "r/peer/signal") }
      let reads = try receivers.prefix(2).map { try wire.beginRead($0) }
      try tree.waitForParked(2)
      try wire.write(sender, "inject")
      for read in reads { #expect(try wire.text(of: read) == "1\n") }
      try wire.write(sender, "inject")
      #expect(try wire.readText(receivers[0]) == "2\n")
      #expect(try wire.readText(receivers[1]) == "2\n")
      // The one that did not look sees the latest count.
      #expect(try wire.readText(receivers[2]) == "2\n")
      // One opened now has seen all of that.
      let late = try wire.open(path: "r/peer/signal", flags: O_RDONLY | O_NONBLOCK)
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try wire.read(late) }
      for handle in receivers + [sender, late] { try wire.release(handle) }
    }
  }

  @Test func `A count is read byte by byte`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (wire.open(path: "r/signal"), wire.open(path: "r/peer/signal"))
      for count in 1...10 {
        try wire.write(sender, "inject")
        if count < 10 { #expect(try wire.readText(receiver) == "\(count)\n") }
      }
      for byte in ["1", "0", "\n"] {
        #expect(try wire.poll(receiver, pollHandle: 1) & POLLIN != 0)
        #expect(try wire.readText(receiver, size: 1) == byte)
      }
      #expect(try wire.poll(receiver, pollHandle: 1) & POLLIN == 0)
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }

  @Test func `A ring of the doorbell makes the end look at its signal`() throws {
    try withTree { tree in
      let wire = tree.wire
      let receiver = try wire.open(path: "r/peer/signal")
      let read = try wire.beginRead(receiver)
      try tree.waitForParked(1)
      // A peer with a mapping only: it sets the bytes, and rings.
      let offset = try tree.region().configuration.geometry.shmSignalOffset
      let data = try wire.open(path: "r/data")
      // Of irq[1], `dirty` and `pending`.
      try wire.write(data, [1, 1], offset: UInt64(offset) + 8 + 3 + 1)
      try wire.ioctl(data, Ioctl.sendInterrupt)
      #expect(try wire.text(of: read) == "1\n")
      for handle in [receiver, data] { try wire.release(handle) }
    }
  }
}
