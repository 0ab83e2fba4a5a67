// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// What may be written to a doorbell, and how it reads at the other end.
@Suite struct DoorbellTextTests {
  @Test(arguments: [
    ("0x2000\n", ["0x00002000"]),
    ("8192", ["0x00002000"]),
    ("0X2aB8", ["0x00002ab8"]),
    ("0x00000000000002AbC", ["0x00002abc"]),
    ("000000000000000008192\n", ["0x00002000"]),
    ("0x2000 0x2004 0x2008", ["0x00002000", "0x00002004", "0x00002008"]),
    ("\t0x2000\u{b}8196\r\n\u{c}0x2008 \n", ["0x00002000", "0x00002004", "0x00002008"]),
    ("0x2000 0x2000 8192", ["0x00002000"]),
    ("0xffffc", ["0x000ffffc"]),
    // Rings without an offset.
    ("0", ["0x00000000"]), ("0x0\n", ["0x00000000"]), ("\n", ["0x00000000"]),
    (" ", ["0x00000000"]), ("\n\n\n", ["0x00000000"]), ("00 0x00\n0", ["0x00000000"]),
    // A ring that brings an offset needs no line of its own.
    ("0x2000 0", ["0x00002000"]), ("0 0x2000", ["0x00002000"]), ("\n8192\n", ["0x00002000"]),
  ])
  func `Offsets arrive as lines`(text: String, lines: [String]) throws {
    try withTree { tree in
      for (from, to) in [("r", "r/peer"), ("r/peer", "r")] {
        let sender = try tree.wire.open(path: "\(from)/doorbell", flags: O_WRONLY)
        let receiver = try tree.wire.open(path: "\(to)/doorbell", flags: O_RDONLY | O_NONBLOCK)
        #expect(try tree.wire.write(sender, text) == text.utf8.count)
        let read = try tree.wire.readText(receiver)
        #expect(read.split(separator: "\n").sorted().map(String.init) == lines)
        #expect(read.hasSuffix("\n"))
        #expect(throws: Errno.resourceTemporarilyUnavailable) { try tree.wire.read(receiver) }
        try tree.wire.release(sender)
        try tree.wire.release(receiver)
      }
    }
  }

  private static let bad: [(String, Errno)] = [
    ("x", .invalidArgument), ("0x", .invalidArgument), ("0X\n", .invalidArgument),
    ("-4", .invalidArgument), ("+8192", .invalidArgument), ("- 4", .invalidArgument),
    ("0x2000,0x2004", .invalidArgument), ("0x20g0", .invalidArgument), ("12a", .invalidArgument),
    ("8192.0", .invalidArgument), ("1e4", .invalidArgument), ("0b1000", .invalidArgument),
    ("0x0x2000", .invalidArgument), ("inject", .invalidArgument), ("\0", .invalidArgument),
    ("8192\0", .invalidArgument), ("８１９２", .invalidArgument), ("8192\u{a0}8196", .invalidArgument),
    ("0x2000 0x2004 y", .invalidArgument), ("0x100000 x", .invalidArgument),
    ("1", .addressNotAvailable), ("2", .addressNotAvailable), ("0x2002", .addressNotAvailable),
    // The flag that asks for an offset to be posted back is not for texts.
    ("0x2001", .addressNotAvailable), ("0x2003", .addressNotAvailable),
    ("8190 0x100000", .addressNotAvailable),
    ("0x100000", .argListTooLong), ("1048576", .argListTooLong), ("0xfffffffc", .argListTooLong),
    ("4294967296", .argListTooLong), ("0x10000000000000000", .argListTooLong),
    ("99999999999999999999999999999999999999999999", .argListTooLong),
    ("0x2000 0x2004 0x100000", .argListTooLong), ("0 0x100000", .argListTooLong),
  ]

  @Test(arguments: bad, [O_WRONLY, O_WRONLY | O_NONBLOCK, O_WRONLY | O_APPEND])
  func `After a bad text nothing was posted and nobody was rung`(
    text: (String, error: Errno), flags: Int32
  ) throws {
    try withTree { tree in
      let sender = try tree.wire.open(path: "r/doorbell", flags: flags)
      let receiver = try tree.wire.open(path: "r/peer/doorbell", flags: O_RDONLY | O_NONBLOCK)
      #expect(throws: text.error) { try tree.wire.write(sender, text.0) }
      let info = try tree.values(of: "r/info")
      #expect(info["outgoing_posted"] == "0" && info["outgoing_interrupt"] == "0")
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try tree.wire.read(receiver) }
      #expect(try tree.wire.poll(receiver, pollHandle: 1) & POLLIN == 0)
      try tree.wire.release(sender)
      try tree.wire.release(receiver)
    }
  }

  @Test func `Bytes that are no UTF-8 are a bad text`() throws {
    try withTree { tree in
      let (doorbell, signal) = try (
        tree.wire.open(path: "r/doorbell"), tree.wire.open(path: "r/signal")
      )
      for handle in [doorbell, signal] {
        for bytes in [[0xff], [0x31, 0x80], [0xc3], Array("inject".utf8) + [0xfe]] as [[UInt8]] {
          #expect(throws: Errno.invalidArgument) { try tree.wire.write(handle, bytes) }
        }
        try tree.wire.release(handle)
      }
    }
  }

  // MARK: Reading in pieces

  @Test(arguments: 1...34)
  func `Any size of buffer gives the same bytes, whole lines if one fits`(size: Int) throws {
    try withTree { tree in
      let sender = try tree.wire.open(path: "r/doorbell", flags: O_WRONLY)
      let receiver = try tree.wire.open(path: "r/peer/doorbell", flags: O_RDONLY | O_NONBLOCK)
      try tree.wire.write(sender, "0x2000 0x2004 0x2008")
      var text = ""
      while text.utf8.count < 33 {
        #expect(try tree.wire.poll(receiver, pollHandle: 1) & POLLIN != 0)
        let piece = try tree.wire.readText(receiver, size: size)
        let left = 33 - text.utf8.count
        #expect(
          piece.utf8.count
            == (size < 11
              ? min(size, 11 - text.utf8.count % 11)
              : min(size / 11 * 11, left)))
        text += piece
      }
      #expect(text == "0x00002000\n0x00002004\n0x00002008\n")
      #expect(try tree.wire.poll(receiver, pollHandle: 1) & POLLIN == 0)
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try tree.wire.read(receiver) }
      try tree.wire.release(sender)
      try tree.wire.release(receiver)
    }
  }

  @Test func `The rest of a line is that of one handle`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell", flags: O_WRONLY)
      let receivers = try (0..<2).map { _ in try wire.open(path: "r/peer/doorbell") }
      try wire.write(sender, "0x2000")
      #expect(try wire.readText(receivers[0], size: 4) == "0x00")
      #expect(try wire.readText(receivers[1]) == "0x00002000\n")
      try wire.write(sender, "0x2004")
      #expect(try wire.readText(receivers[0]) == "002000\n")
      #expect(try wire.readText(receivers[0]) == "0x00002004\n")
      for handle in receivers + [sender] { try wire.release(handle) }
    }
  }

  @Test func `A line goes to one of two bytewise readers of a handle`() throws {
    try withTree { tree in
      let wire = tree.wire
      let sender = try wire.open(path: "r/doorbell", flags: O_WRONLY)
      let receiver = try wire.open(path: "r/peer/doorbell", flags: O_RDONLY)
      // Two shells that share a descriptor, each at its `read`.
      let reads = try (1...2).map { count in
        let read = try wire.beginRead(receiver, size: 1)
        try tree.waitForParked(count)
        return read
      }
      for (read, line) in zip(reads, ["0x00002000\n", "0x00002004\n"]) {
        try wire.write(sender, String(line.dropLast()))
        var text = try wire.text(of: read)
        while !text.hasSuffix("\n") { text += try wire.readText(receiver, size: 1) }
        #expect(text == line)
      }
      for handle in [sender, receiver] { try wire.release(handle) }
    }
  }
}
