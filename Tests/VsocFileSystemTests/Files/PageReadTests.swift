// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem

/// Reads that nobody waits for in read(2): for the kernel's page cache, and by io_uring.
@Suite struct PageReadTests {
  /// What splice(2), readahead(2) and the like ask for.
  private func readPages(_ wire: FuseWire, _ file: FuseHandle) throws -> [UInt8] {
    try wire.reply(to: wire.beginRead(file, isForPages: true))
  }

  @Test(arguments: [
    "r/doorbell", "r/signal", "r/peer/doorbell", "r/peer/signal", "r/data", "r/peer/data",
    "r/permissions", "m/data", "m/permissions", "m/doorbell",
  ])
  func `What changes is not read for the page cache`(path: String) throws {
    try withTree([region("r"), region("m", managedBy: "r")]) { tree in
      let wire = tree.wire
      let file = try wire.open(path: path)
      // At once, also what a read would wait for.
      #expect(throws: Errno.invalidArgument) { try readPages(wire, file) }
      #expect(tree.server.engine.parking.count == 0)
      if path.hasSuffix("data") || path.hasSuffix("permissions") { _ = try wire.read(file) }
      try wire.release(file)
    }
  }

  @Test func `A ring is there for read(2) after pages were refused`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (
        wire.open(path: "r/doorbell"), wire.open(path: "r/peer/doorbell")
      )
      try wire.write(sender, "0x2000")
      #expect(throws: Errno.invalidArgument) { try readPages(wire, receiver) }
      #expect(try wire.readText(receiver) == "0x00002000\n")
      for file in [sender, receiver] { try wire.release(file) }
    }
  }

  @Test func `The host end's data is not read for pages in page-cache mode`() throws {
    try withTree(pageCache: OwnMapping()) { tree in
      let file = try tree.wire.open(path: "r/peer/data")
      #expect(throws: Errno.invalidArgument) { try readPages(tree.wire, file) }
      try tree.wire.release(file)
    }
  }

  @Test(arguments: ["r/info", "r/peer/info", ".vsocfs/layout", ".vsocfs/stats", ".vsocfs/version"])
  func `Text is read for the page cache as by read(2)`(path: String) throws {
    try withTree { tree in
      let file = try tree.wire.open(path: path, flags: O_RDONLY)
      #expect(try readPages(tree.wire, file) == tree.wire.read(file))
      try tree.wire.release(file)
    }
  }

  // MARK: io_uring

  /// What io_uring asks for when it waits for more, and before it reads.
  private static let (more, check) = (POLLIN | POLLRDNORM | POLLPRI | POLLERR, POLLIN)

  @Test(arguments: [O_RDWR, O_RDWR | O_NONBLOCK])
  func `A short read by io_uring is complete at once`(flags: Int32) throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (
        wire.open(path: "r/doorbell"), wire.open(path: "r/peer/doorbell", flags: flags)
      )
      func polls(_ events: Int32) throws -> Bool {
        try wire.poll(receiver, pollHandle: 1, events: events, isExact: true) & POLLIN != 0
      }
      for _ in 0..<3 {
        #expect(try !polls(Self.check))
        #expect(try !polls(Self.more))
        try wire.write(sender, "0x2000")
        #expect(try wire.readText(receiver, size: 100) == "0x00002000\n")
        #expect(try polls(Self.more))
        // Another one of the thread in between does not wait in the kernel, and is not told twice.
        #expect(try polls(Self.check))
        #expect(throws: Errno.resourceTemporarilyUnavailable) { try wire.read(receiver, size: 200) }
        #expect(try !polls(Self.more))
        #expect(try polls(Self.check))
        #expect(try wire.read(receiver, size: 89) == [])
      }
      for file in [sender, receiver] { try wire.release(file) }
    }
  }

  @Test func `poll(2) after a short read is not told of an end`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (sender, receiver) = try (
        wire.open(path: "r/doorbell"), wire.open(path: "r/peer/doorbell")
      )
      try wire.write(sender, "0x2000")
      _ = try wire.read(receiver, size: 100)
      #expect(try wire.poll(receiver, pollHandle: 1) & POLLIN == 0)
      // Nor is a new read by io_uring, which begins with a look.
      #expect(
        try wire.poll(receiver, pollHandle: 1, events: Self.check, isExact: true) & POLLIN == 0)
      #expect(
        try wire.poll(receiver, pollHandle: 1, events: Self.more, isExact: true) & POLLIN == 0)
      let read = try wire.beginRead(receiver, size: 89)
      try tree.waitForParked(1)
      try wire.write(sender, "0x2004")
      #expect(try wire.text(of: read) == "0x00002004\n")
      for file in [sender, receiver] { try wire.release(file) }
    }
  }
}
