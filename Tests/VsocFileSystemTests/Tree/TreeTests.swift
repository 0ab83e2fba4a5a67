// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Names, node numbers and attributes of the whole tree.
@Suite struct TreeTests {
  private static let endFiles = ["data", "signal", "doorbell", "info"]
  /// More than any write reaches: the kernel would take one beyond for an extending one.
  private static let streamSize: UInt64 = 0x7fff_f000
  private static let everything: [(path: String, isDirectory: Bool, mode: UInt32, size: UInt64)] = [
    ("", true, 0o755, 0),
    (".vsocfs", true, 0o555, 0),
    (".vsocfs/version", false, 0o444, 0),
    (".vsocfs/layout", false, 0o444, 0),
    (".vsocfs/stats", false, 0o444, 0),
    ("r", true, 0o770, 0),
    ("r/data", false, 0o660, 1 << 20),
    ("r/signal", false, 0o660, Self.streamSize),
    ("r/doorbell", false, 0o660, Self.streamSize),
    ("r/info", false, 0o440, 0),
    ("r/permissions", false, 0o660, 0),
    ("r/peer", true, 0o770, 0),
    ("r/peer/data", false, 0o660, 1 << 20),
    ("r/peer/signal", false, 0o660, Self.streamSize),
    ("r/peer/doorbell", false, 0o660, Self.streamSize),
    ("r/peer/info", false, 0o440, 0),
  ]

  @Test func `Every file is there, with its attributes and a number of its own`() throws {
    try withTree { tree in
      var nodes: Set<UInt64> = []
      for file in Self.everything {
        let node = try tree.wire.node(at: file.path)
        let attributes = try tree.wire.attributes(of: node)
        #expect(attributes.inode == node)
        #expect(attributes.isDirectory == file.isDirectory, "\(file.path)")
        #expect(attributes.isRegularFile == !file.isDirectory, "\(file.path)")
        #expect(attributes.permissions == file.mode, "\(file.path)")
        #expect(attributes.size == file.size, "\(file.path)")
        #expect(attributes.blocks == (file.path.hasSuffix("data") ? 2048 : 0), "\(file.path)")
        #expect(attributes.uid == 0 && attributes.gid == 0)
        nodes.insert(node)
      }
      #expect(nodes.count == Self.everything.count)
    }
  }

  @Test func `A lookup tells what stat tells, and the kernel may keep only the name`() throws {
    try withTree { tree in
      for (directory, name) in [("", "r"), ("r", "data"), ("r/peer", "info"), ("", ".vsocfs")] {
        let entry = try tree.wire.lookup(name, in: tree.wire.node(at: directory))
        #expect(try entry.attributes == tree.wire.attributes(of: entry.node))
        #expect(entry.entryValidity > 0)
        #expect(entry.attributeValidity == 0)
      }
    }
  }

  @Test func `Directories list what a lookup finds`() throws {
    try withTree([region("r"), region("äß")]) { tree in
      let listings: [(String, [String])] = [
        ("", [".vsocfs", "r", "äß"]), (".vsocfs", ["version", "layout", "stats"]),
        ("r", Self.endFiles + ["permissions", "ivshmem", "peer"]),
        ("r/peer", Self.endFiles + ["ivshmem"]),
      ]
      for (path, names) in listings {
        let node = try tree.wire.node(at: path)
        #expect(try tree.wire.names(in: node) == names)
        // One entry at a time.
        #expect(try tree.wire.names(in: node, size: 40) == names)
        let directory = try tree.wire.openDirectory(node)
        let entries = try tree.wire.readDirectory(directory)
        #expect(entries.prefix(2).map(\.name) == [".", ".."])
        #expect(entries[0].inode == node)
        for entry in entries.dropFirst(2) {
          let found = try tree.wire.lookup(entry.name, in: node)
          #expect(found.node == entry.inode)
          // DT_DIR, DT_SOCK, DT_REG
          let isSocket = entry.name == "ivshmem"
          #expect(entry.type == (found.attributes.isDirectory ? 4 : isSocket ? 12 : 8))
        }
        try tree.wire.releaseDirectory(directory)
      }
      #expect(try parent(of: "r/peer", tree) == tree.wire.node(at: "r"))
      #expect(try parent(of: "r", tree) == 1)
    }
  }

  private func parent(of path: String, _ tree: ServedTree) throws -> UInt64 {
    let directory = try tree.wire.openDirectory(tree.wire.node(at: path))
    defer { try? tree.wire.releaseDirectory(directory) }
    return try tree.wire.readDirectory(directory)[1].inode
  }

  @Test(arguments: [0, 1, 23, 24, 31])
  func `A buffer too small for an entry gets none`(size: Int) throws {
    try withTree { tree in
      let directory = try tree.wire.openDirectory()
      #expect(try tree.wire.readDirectory(directory, size: size).isEmpty)
      try tree.wire.releaseDirectory(directory)
    }
  }

  @Test func `A listing does not ask for as much memory as a reader has room`() throws {
    try withTree { tree in
      let directory = try tree.wire.openDirectory()
      #expect(try tree.wire.readDirectory(directory, size: Int(UInt32.max)).count == 4)
      try tree.wire.releaseDirectory(directory)
    }
  }

  @Test func `A reader that goes back to the start sees what is new`() throws {
    try withTree { tree in
      let directory = try tree.wire.openDirectory()
      let before = try tree.wire.readDirectory(directory)
      _ = try tree.wire.makeDirectory("new")
      let offset = try #require(before.last).nextOffset
      #expect(try tree.wire.readDirectory(directory, offset: offset).isEmpty)
      #expect(try tree.wire.readDirectory(directory).last?.name == "new")
      try tree.wire.releaseDirectory(directory)
    }
  }

  @Test func `Forgetting changes nothing: numbers are stable`() throws {
    try withTree { tree in
      let before = try Self.everything.map { try tree.wire.node(at: $0.path) }
      for node in before { try tree.wire.forget(node, lookups: 1000) }
      try tree.wire.batchForget(before.map { ($0, .max) } + [(0, 0), (.max, 1), (0x200, 7)])
      #expect(try Self.everything.map { try tree.wire.node(at: $0.path) } == before)
      for node in before { _ = try tree.wire.attributes(of: node) }
    }
  }

  @Test func `The number of a region that is gone does not come again`() throws {
    try withTree { tree in
      let old = try tree.wire.makeDirectory("x").node
      try tree.wire.removeDirectory("x")
      #expect(throws: Errno.noSuchFileOrDirectory) { try tree.wire.attributes(of: old) }
      #expect(throws: Errno.noSuchFileOrDirectory) { try tree.wire.lookup("data", in: old) }
      #expect(try tree.wire.makeDirectory("x").node != old)
      #expect(throws: Errno.noSuchFileOrDirectory) { try tree.wire.attributes(of: old) }
    }
  }

  @Test(arguments: ["", ".", "..", "R", "peer", ".vsocfs2", "r/data", "abcdefghijklmnop"])
  func `Other names are not there`(name: String) throws {
    try withTree { tree in
      #expect(throws: Errno.noSuchFileOrDirectory) { try tree.wire.lookup(name) }
      if name != "peer" {
        #expect(throws: Errno.noSuchFileOrDirectory) {
          try tree.wire.lookup(name, in: tree.wire.node(at: "r"))
        }
      }
    }
  }

  @Test func `A peer has no peer, and a file has no children`() throws {
    try withTree { tree in
      let wire = tree.wire
      for path in ["r/peer", "r/data", ".vsocfs", ".vsocfs/version"] {
        #expect(throws: Errno.noSuchFileOrDirectory) {
          try wire.lookup("peer", in: wire.node(at: path))
        }
      }
    }
  }

  @Test func `Nothing else can be made, removed or renamed`() throws {
    try withTree { tree in
      let wire = tree.wire
      let end = try wire.node(at: "r")
      for node in [1, 2, end, try wire.node(at: "r/peer")] {
        #expect(throws: Errno.notPermitted) { try wire.create("x", in: node) }
        #expect(throws: Errno.notPermitted) { try wire.unlink("data", in: node) }
        #expect(throws: Errno.notPermitted) { try wire.symlink("x", in: node, to: "y") }
        #expect(throws: Errno.notPermitted) { try wire.rename("r", in: 1, to: "x", in: node) }
        if node != 1 {
          #expect(throws: Errno.notPermitted) { try wire.makeDirectory("x", in: node) }
          #expect(throws: Errno.notPermitted) { try wire.removeDirectory("peer", in: node) }
        }
      }
      #expect(throws: Errno.notPermitted) { try wire.removeDirectory(".vsocfs") }
      #expect(try wire.names() == [".vsocfs", "r"])
    }
  }
}
