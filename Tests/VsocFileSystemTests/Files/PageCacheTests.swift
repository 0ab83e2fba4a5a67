// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Page-cache mode as the kernel sees it: how files are opened, what is mapped when, and the names
/// by which the daemon opens its own.
@Suite struct PageCacheTests {
  private static let paged = FuseABI.openKeepCache | FuseABI.openNoFlush
  private static let size: UInt64 = 1 << 20

  private let mapping = OwnMapping()
  /// A thread of the daemon that opens its own file.
  private let opener = FuseWire.Caller(uid: 0, gid: 0, pid: 4711)

  private func isPaged(_ handle: FuseHandle) -> Bool {
    handle.opened.handle >> 63 == 1 && handle.opened.flags == Self.paged
      && handle.opened.backing == 0
  }

  // MARK: How files are opened

  @Test func `The pages of data are its memory, for one end`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      for flags in [O_RDONLY, O_RDWR, O_RDWR | O_APPEND] {
        let data = try wire.open(path: "r/data", flags: flags)
        #expect(isPaged(data))
        try wire.release(data)
      }
      for flags in [O_RDONLY, O_WRONLY, O_RDWR] {
        let data = try wire.open(path: "r/peer/data", flags: flags)
        #expect(data.opened.flags == FuseABI.openDirectIO && data.opened.handle >> 63 == 0)
        try wire.release(data)
      }
      // Other files are opened as always.
      for path in ["r/info", ".vsocfs/stats"] {
        let file = try wire.open(path: path, flags: O_RDONLY)
        #expect(file.opened.flags == FuseABI.openDirectIO)
        try wire.release(file)
      }
      #expect(try tree.values(of: "r/info")["mode"] == "page-cache")
    }
  }

  @Test func `Pages, both ends and the engines see one memory`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      let (guest, host) = try (wire.open(path: "r/data"), wire.open(path: "r/peer/data"))
      let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      #expect(try wire.write(guest, bytes, offset: 0x2001) == bytes.count)
      #expect(try wire.read(host, size: bytes.count, offset: 0x2001) == bytes)
      #expect(try wire.write(host, [9, 8, 7], offset: 0x2001) == 3)
      #expect(try wire.read(guest, size: 4, offset: 0x2001) == [9, 8, 7, bytes[3]])
      try wire.ioctl(guest, Ioctl.post, argument: 0x2000)
      #expect(try tree.drain(host).offsets == [0x2000])
      // One end's write past the end is short, so that its pages stay; the other's is none.
      #expect(try wire.write(guest, bytes, offset: Self.size - 10) == 10)
      #expect(throws: Errno.notPermitted) { try wire.write(host, bytes, offset: Self.size - 10) }
      try wire.release(guest)
      try wire.release(host)
    }
  }

  @Test func `The ioctls tell the mode, at either end`() throws {
    try withTree(pageCache: mapping) { tree in
      for path in ["r/data", "r/peer/data"] {
        let data = try tree.wire.open(path: path)
        // vsocfs_region_info.mode
        #expect(try tree.wire.ioctl(data, Ioctl.regionInfo).data[20..<24] == [1, 0, 0, 0])
        try tree.wire.release(data)
      }
    }
  }

  @Test func `fsync works on every file`() throws {
    try withTree(pageCache: mapping) { tree in
      for path in ["r/data", "r/peer/data", "r/doorbell", "r/signal", "r/info"] {
        let file = try tree.wire.open(path: path, flags: path == "r/info" ? O_RDONLY : O_RDWR)
        try tree.wire.synchronize(file)
        try tree.wire.release(file)
        #expect(throws: Errno.badFileDescriptor) { try tree.wire.synchronize(file) }
      }
    }
  }

  // MARK: The size

  @Test func `Who may only write does not fix the size, nor map`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      let writer = try wire.open(path: "r/data", flags: O_WRONLY)
      #expect(writer.opened.flags == FuseABI.openDirectIO)
      #expect(mapping.count == 0)
      #expect(try wire.setAttributes(of: writer.node, size: 2 << 20).size == 2 << 20)
      // What it writes comes here, and does.
      #expect(try wire.write(writer, [1, 2, 3], offset: 0x3000) == 3)
      #expect(mapping.count == 1)
      #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: writer.node, size: 1 << 20) }
      let reader = try wire.open(path: "r/data", flags: O_RDONLY)
      #expect(try wire.read(reader, size: 4, offset: 0x3000) == [1, 2, 3, 0])
      // From now on all have to do with the pages.
      let second = try wire.open(path: "r/data", flags: O_WRONLY)
      #expect(isPaged(second))
      for file in [writer, reader, second] { try wire.release(file) }
    }
  }

  @Test func `The size does not change under a mapping, and does after`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      let node = try wire.node(at: "r/data")
      let doorbell = try wire.open(path: "r/doorbell")
      #expect(throws: Errno.resourceBusy) { try wire.setAttributes(of: node, size: 2 << 20) }
      // O_TRUNC is told so, and does nothing.
      #expect(try wire.setAttributes(of: node, size: 0).size == Self.size)
      try wire.write(doorbell, "0x2000")
      try wire.release(doorbell)
      #expect(try wire.setAttributes(of: node, size: 2 << 20).size == 2 << 20)
      let data = try wire.open(path: "r/data")
      // vsoc_shm_layout_descriptor.size
      #expect(try wire.read(data, size: 4, offset: 4) == [0, 0, 32, 0])
      #expect(try tree.drain(wire.open(path: "r/peer/data")).offsets == [0x2000])
      #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: node, size: 1 << 20) }
      try wire.release(data)
    }
  }

  /// A client that truncates holds the file's writeback back until it is answered.
  @Test func `Attributes are told while all threads wait for a mapping`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      let node = try wire.node(at: "r/data")
      let data = try wire.node(at: "r/peer/doorbell")
      mapping.setBlocked(true)
      var body = WireWriter()
      body.append(UInt32(O_RDWR), 0)
      // More than there are threads.
      let opens = try (0..<12).map { _ in try wire.send(.open, node: data, body: body.bytes) }
      let region = try #require(tree.server.engine.region(named: RegionName("r")!))
      try waitFor("threads that want to map") { region.snapshot(of: .guest).users >= 7 }
      #expect(try wire.attributes(of: node).size == Self.size)
      #expect(throws: Errno.resourceBusy) { try wire.setAttributes(of: node, size: 2 << 20) }
      #expect(try wire.setAttributes(of: node, mode: 0o640).permissions == 0o640)
      #expect(try wire.names(in: wire.node(at: "r")).contains("data"))
      #expect(throws: Errno.resourceBusy) { try wire.removeDirectory("r") }
      _ = try wire.makeDirectory("x")
      try wire.removeDirectory("x")
      // The daemon's own way to what it wants to map.
      mapping.add(opener)
      let hidden = try wire.lookup(".vsocfs-own", caller: opener).node
      let own = try wire.lookup("memory-1", in: hidden, caller: opener)
      let file = try wire.open(own.node, caller: opener)
      #expect(isPaged(file))
      #expect(try wire.read(file, size: 4, offset: 4) == [0, 0, 16, 0])
      // One does, and the others wait for it.
      #expect(mapping.count == 1)
      mapping.setBlocked(false)
      for open in opens {
        #expect(try wire.reply(to: open).count == 16)
      }
      try wire.release(file)
    }
  }

  // MARK: What is mapped

  @Test func `A region is mapped while somebody has a file of it open`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      for path in ["r/doorbell", "r/signal", "r/peer/data"] {
        let before = mapping.count
        let files = try [wire.open(path: path), wire.open(path: path)]
        #expect(mapping.count == before + 1)
        for file in files { try wire.release(file) }
        // Looking at it is no use.
        _ = try tree.values(of: "r/info")
        #expect(mapping.count == before + 1)
      }
      #expect(try tree.values(of: "r/info")["users"] == "1")
      try wire.removeDirectory("r")
    }
  }

  @Test func `What was posted and told stays without users`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      let doorbell = try wire.open(path: "r/doorbell")
      try wire.write(doorbell, "0x2000 0x2004")
      try wire.release(doorbell)
      let signal = try wire.open(path: "r/signal")
      try wire.write(signal, "inject")
      try wire.release(signal)
      let values = try tree.values(of: "r/peer/info")
      #expect(values["incoming_posted"] == "2" && values["signal_dirty"] == "1")
      let peer = try wire.open(path: "r/peer/doorbell")
      #expect(try wire.readText(peer) == "0x00002000\n0x00002004\n")
      try wire.release(peer)
    }
  }

  // MARK: Hidden names

  @Test func `The daemon's own names are nobody else's`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.lookup(".vsocfs-own") }
      let names = [
        "memory-1", "memory-2", "memory-", "memory-01x", "memory--1", "memory-4294967296",
      ]
      mapping.add(opener)
      let own = try wire.lookup(".vsocfs-own", caller: opener)
      // The kernel never asks again.
      #expect(own.entryValidity > 100_000_000)
      for name in names {
        #expect(throws: Errno.noSuchFileOrDirectory) { try wire.lookup(name, in: own.node) }
      }
      for name in names.dropFirst() {
        #expect(throws: Errno.noSuchFileOrDirectory) {
          try wire.lookup(name, in: own.node, caller: opener)
        }
      }
      // Nor do they stand elsewhere.
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.lookup("memory-1", caller: opener) }
      let facts = try wire.node(at: ".vsocfs")
      #expect(throws: Errno.noSuchFileOrDirectory) {
        try wire.lookup("memory-1", in: facts, caller: opener)
      }
      #expect(try wire.names(in: facts) == ["version", "layout", "stats"])
      #expect(try !wire.names(in: 1).contains(".vsocfs-own"))
      // Also for root it is none of a user's.
      #expect(try wire.attributes(of: own.node).permissions == 0o700)
      #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: own.node, mode: 0o777) }
    }
  }

  @Test func `The daemon finds its own file, which is no use of the region`() throws {
    try withTree([region("a"), region("r")], pageCache: mapping) { tree in
      let wire = tree.wire
      let doorbell = try wire.open(path: "r/doorbell")
      mapping.add(opener)
      let hidden = try wire.lookup(".vsocfs-own", caller: opener).node
      let entry = try wire.lookup("memory-2", in: hidden, caller: opener)
      // The same file as everybody's; but nobody is to find the name.
      #expect(try entry.node == wire.node(at: "r/data"))
      #expect(entry.entryValidity == 0 && entry.attributeValidity == 0)
      let own = try wire.open(entry.node, caller: opener)
      #expect(isPaged(own))
      #expect(try wire.write(own, [5], offset: 0x4000) == 1)
      #expect(try tree.values(of: "r/info")["users"] == "2")
      try wire.release(doorbell)
      try wire.removeDirectory("r")
      // The file stays open for as long as the kernel has pages of it.
      #expect(try wire.read(own, size: 1, offset: 0x4000) == [5])
      try wire.release(own)
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.open(entry.node, caller: opener) }
      // Nor anything but memory.
      #expect(throws: Errno.noSuchFileOrDirectory) {
        try wire.open(path: "a/info", caller: opener)
      }
      // Of which nobody has used any yet.
      let unused = try wire.lookup("memory-1", in: hidden, caller: opener)
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.open(unused.node, caller: opener) }
    }
  }

  @Test func `The end finds everything closed`() throws {
    try withTree(pageCache: mapping) { tree in
      let wire = tree.wire
      _ = try wire.open(path: "r/data")
      let doorbell = try wire.open(path: "r/doorbell")
      let read = try wire.beginRead(doorbell)
      try tree.waitForParked(1)
      tree.terminate()
      #expect(throws: Errno.operationNotSupportedByDevice) { try wire.reply(to: read) }
      #expect(try tree.values(of: "r/info")["users"] == "1")
    }
  }
}
