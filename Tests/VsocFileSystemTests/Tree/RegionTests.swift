// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocConfiguration
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// mkdir, rmdir, chmod, chown, truncate, statfs.
@Suite struct RegionTests {
  // MARK: Making and destroying

  @Test func `mkdir makes a region of its caller`() throws {
    try withTree { tree in
      let caller = FuseWire.Caller(uid: 1000, gid: 100, pid: 1)
      let entry = try tree.wire.makeDirectory("new", mode: 0o750, umask: 0, caller: caller)
      #expect(entry.attributes.permissions == 0o750)
      #expect(entry.attributes.uid == 1000 && entry.attributes.gid == 100)
      for path in ["new/data", "new/peer/signal"] {
        let attributes = try tree.wire.attributes(of: tree.wire.node(at: path))
        #expect(attributes.permissions == 0o640, "\(path)")
        #expect(attributes.uid == 1000 && attributes.gid == 100)
      }
      #expect(try tree.values(of: "new/info")["size"] == "1048576")
      #expect(try tree.wire.names() == [".vsocfs", "r", "new"])
      let links = try tree.wire.attributes(of: 1).links
      try tree.wire.removeDirectory("new")
      #expect(try tree.wire.attributes(of: 1).links == links - 1)
      #expect(throws: Errno.noSuchFileOrDirectory) { try tree.wire.lookup("new") }
    }
  }

  @Test(
    arguments: [
      ("", .invalidArgument), (".", .invalidArgument), (".hidden", .invalidArgument),
      (".vsocfs", .invalidArgument), ("r", .fileExists), ("a/b", .invalidArgument),
      ("abcdefghijklmnop", .fileNameTooLong), ("ääääääää", .fileNameTooLong),
    ] as [(String, Errno)])
  func `mkdir refuses what is no name`(name: String, error: Errno) throws {
    try withTree { tree in
      #expect(throws: error) { try tree.wire.makeDirectory(name) }
      let names = try tree.wire.names()
      #expect(names == [".vsocfs", "r"])
    }
  }

  @Test(arguments: ["abcdefghijklmno", "äääääää", "a b", "r:1", "\u{1}\n", "a\u{301}"])
  func `mkdir takes what is one`(name: String) throws {
    try withTree { tree in
      let entry = try tree.wire.makeDirectory(name)
      #expect(try tree.wire.lookup(name).node == entry.node)
      try tree.wire.removeDirectory(name)
    }
  }

  @Test func `rmdir of a region in use is EBUSY, by whatever handle`() throws {
    try withTree { tree in
      for path in ["r/data", "r/peer/signal", "r/doorbell", "r/peer/info"] {
        let handle = try tree.wire.open(path: path, flags: O_RDONLY)
        #expect(throws: Errno.resourceBusy, "\(path)") { try tree.wire.removeDirectory("r") }
        try tree.wire.release(handle)
      }
      let directory = try tree.wire.openDirectory(tree.wire.node(at: "r"))
      try tree.wire.removeDirectory("r")
      try tree.wire.releaseDirectory(directory)
      #expect(throws: Errno.noSuchFileOrDirectory) { try tree.wire.removeDirectory("r") }
    }
  }

  @Test func `A managed region keeps its manager`() throws {
    try withTree([region("owner"), region("area", managedBy: "owner")]) { tree in
      let wire = tree.wire
      #expect(try tree.values(of: "area/info")["managed_by"] == "owner")
      #expect(try tree.values(of: "owner/info")["managed_by"] == "-")
      #expect(throws: Errno.resourceBusy) { try wire.removeDirectory("owner") }
      for path in ["area/data", "area/peer/data", "area/permissions"] {
        let handle = try wire.open(path: path)
        #expect(throws: Errno.resourceBusy, "\(path)") { try wire.removeDirectory("area") }
        try wire.release(handle)
      }
      try wire.removeDirectory("area")
      try wire.removeDirectory("owner")
    }
  }

  @Test func `The sum of all sizes is capped`() throws {
    try withTree(options: ["size=3M", "region_size=1M"]) { tree in
      let wire = tree.wire
      #expect(try wire.statistics().blocks == 768)
      #expect(try wire.statistics().freeBlocks == 512)
      #expect(try wire.statistics().blockSize == 4096)
      #expect(try wire.statistics().nameLength == 15)
      #expect(try wire.statistics().files == 1)
      _ = try wire.makeDirectory("a")
      let b = try wire.makeDirectory("b").node
      #expect(try wire.statistics().freeBlocks == 0)
      #expect(throws: Errno.noSpace) { try wire.makeDirectory("c") }
      let data = try wire.lookup("data", in: b).node
      #expect(throws: Errno.noSpace) { try wire.setAttributes(of: data, size: (1 << 20) + 4096) }
      try wire.setAttributes(of: data, size: 1 << 19)
      #expect(try wire.statistics().freeBlocks == 128)
      try wire.removeDirectory("a")
      #expect(try wire.statistics().availableBlocks == 384)
      _ = try wire.makeDirectory("c")
    }
  }

  @Test(arguments: [("size=0", 1), ("", 2)])
  func `Without a cap statfs tells of the machine's memory, and usually of half of it`(
    option: String, part: Int
  ) throws {
    try withTree(options: [option]) { tree in
      let statistics = try tree.wire.statistics(of: tree.wire.node(at: "r/data"))
      #expect(statistics.blocks == UInt64(sysconf(Int32(_SC_PHYS_PAGES)) / part))
      #expect(statistics.freeBlocks == statistics.blocks - 256)
    }
  }

  // MARK: Owner and mode

  @Test(arguments: ["", "data", "signal", "doorbell", "info"])
  func `chmod and chown of any file of an end change that end`(file: String) throws {
    try withTree { tree in
      let wire = tree.wire
      for (end, other) in [("r", "r/peer"), ("r/peer", "r")] {
        let before = try wire.attributes(of: wire.node(at: other))
        let node = try wire.node(at: "\(end)/\(file)")
        let mode: UInt32 = file.isEmpty ? 0o40752 : 0o100642
        let changed = try wire.setAttributes(of: node, mode: mode, uid: 7, gid: 8)
        #expect(try changed == wire.attributes(of: node))
        let directory = try wire.attributes(of: wire.node(at: end))
        #expect(directory.permissions == 0o752)
        #expect(directory.uid == 7 && directory.gid == 8)
        #expect(try wire.attributes(of: wire.node(at: "\(end)/data")).permissions == 0o642)
        #expect(try wire.attributes(of: wire.node(at: "\(end)/info")).permissions == 0o440)
        try wire.setAttributes(of: node, uid: 9)
        #expect(try wire.attributes(of: wire.node(at: "\(end)/signal")).uid == 9)
        #expect(try wire.attributes(of: wire.node(at: "\(end)/signal")).gid == 8)
        #expect(try wire.attributes(of: wire.node(at: other)) == before)
        try wire.setAttributes(of: node, mode: file.isEmpty ? 0o770 : 0o660, uid: 0, gid: 0)
      }
    }
  }

  @Test func `Modes that cannot be kept are refused as a whole`() throws {
    try withTree { tree in
      let wire = tree.wire
      for (path, modes) in [
        ("r", [0o711, 0o661, 0o771, 0o1770, 0o2770, 0o4770, 0o720 | 0o1] as [UInt32]),
        ("r/peer", [0o611, 0o1700]), ("r/data", [0o700, 0o661, 0o1660, 0o2660, 0o4660]),
        ("", [0o2755, 0o4755]),
      ] {
        let node = try wire.node(at: path)
        let before = try wire.attributes(of: node)
        for mode in modes {
          #expect(throws: Errno.notPermitted) {
            try wire.setAttributes(of: node, mode: mode, uid: 3, gid: 4)
          }
          #expect(try wire.attributes(of: node) == before, "\(path) \(mode)")
        }
      }
      for mode: UInt32 in [0o755, 0o700, 0o750, 0o720, 0] {
        try wire.setAttributes(of: wire.node(at: "r"), mode: mode)
        #expect(try wire.attributes(of: wire.node(at: "r")).permissions == mode)
      }
      for mode: UInt32 in [0o1777, 0o711, 0o1700] {
        try wire.setAttributes(of: 1, mode: 0o40000 | mode)
        #expect(try wire.attributes(of: 1).permissions == mode)
      }
      #expect(throws: Errno.notPermitted) { try wire.makeDirectory("x", mode: 0o711, umask: 0) }
      #expect(throws: Errno.notPermitted) { try wire.makeDirectory("x", mode: 0o1777, umask: 0) }
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.node(at: "x") }
    }
  }

  @Test func `The root can be changed, the facts cannot`() throws {
    try withTree { tree in
      let wire = tree.wire
      try wire.setAttributes(of: 1, mode: 0o40700, uid: 5, gid: 6)
      let root = try wire.attributes(of: 1)
      #expect(root.permissions == 0o700 && root.uid == 5 && root.gid == 6 && root.isDirectory)
      for path in [".vsocfs", ".vsocfs/version", ".vsocfs/layout", ".vsocfs/stats"] {
        let node = try wire.node(at: path)
        let before = try wire.attributes(of: node)
        #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: node, mode: 0o777) }
        #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: node, uid: 1) }
        #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: node, gid: 1) }
        try wire.setAttributes(of: node, touching: true)
        #expect(try wire.attributes(of: node) == before)
      }
    }
  }

  // MARK: Size

  @Test(
    arguments: [
      (1, .invalidArgument), (4096, .invalidArgument), (12287, .invalidArgument),
      (1_048_577, .invalidArgument), (1 << 32, .fileTooLarge), (.max - 4095, .fileTooLarge),
      (.max, .invalidArgument),
    ] as [(UInt64, Errno)])
  func `truncate refuses sizes that no region can have`(size: UInt64, error: Errno) throws {
    try withTree { tree in
      let node = try tree.wire.node(at: "r/data")
      #expect(throws: error) { try tree.wire.setAttributes(of: node, size: size, mode: 0) }
      let attributes = try tree.wire.attributes(of: node)
      #expect(attributes.size == 1 << 20)
      #expect(attributes.permissions == 0o660)
    }
  }

  @Test(arguments: [12288, 65536, 1 << 20, 1 << 24, (1 << 32) - 4096] as [UInt64])
  func `truncate resizes a region that nobody has used`(size: UInt64) throws {
    try withTree { tree in
      let node = try tree.wire.node(at: "r/peer/data")
      #expect(try tree.wire.setAttributes(of: node, size: size).size == size)
      #expect(try tree.wire.attributes(of: tree.wire.node(at: "r/data")).size == size)
      #expect(try tree.values(of: "r/info")["size"] == "\(size)")
    }
  }

  @Test func `A size of 0, as the kernel tells of O_TRUNC, does nothing`() throws {
    try withTree { tree in
      let data = try tree.wire.open(path: "r/data")
      try tree.wire.write(data, [7], offset: 0x3000)
      for handle in [nil, data] {
        let attributes = try tree.wire.setAttributes(of: data.node, size: 0, handle: handle)
        #expect(attributes.size == 1 << 20)
      }
      #expect(try tree.wire.read(data, size: 1, offset: 0x3000) == [7])
      try tree.wire.release(data)
    }
  }

  @Test func `truncate keeps what was signalled`() throws {
    try withTree { tree in
      let doorbells = try (
        tree.wire.open(path: "r/doorbell"), tree.wire.open(path: "r/peer/doorbell")
      )
      try tree.wire.write(doorbells.0, "0x2000 0x2004")
      try tree.wire.setAttributes(of: tree.wire.node(at: "r/data"), size: 1 << 21)
      #expect(try tree.wire.readText(doorbells.1) == "0x00002000\n0x00002004\n")
      try tree.wire.release(doorbells.0)
      try tree.wire.release(doorbells.1)
    }
  }

  @Test(arguments: ["read open", "write", "ioctl", "write of the peer"])
  func `truncate is EPERM once the memory may be in use`(how: String) throws {
    try withTree { tree in
      let wire = tree.wire
      let node = try wire.node(at: "r/data")
      var handle = try wire.open(node, flags: O_WRONLY)
      #expect(try wire.setAttributes(of: node, size: 1 << 16, handle: handle).size == 1 << 16)
      switch how {
      case "write": try wire.write(handle, [1])
      case "ioctl": try wire.ioctl(handle, Ioctl.regionInfo)
      case "read open":
        try wire.release(handle)
        handle = try wire.open(node, flags: O_RDONLY)
        _ = try wire.read(handle)
      default:
        try wire.release(handle)
        handle = try wire.open(path: "r/peer/data", flags: O_WRONLY)
        try wire.write(handle, [1])
      }
      #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: node, size: 1 << 20) }
      try wire.release(handle)
      #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: node, size: 1 << 20) }
      #expect(try wire.attributes(of: node).size == 1 << 16)
    }
  }

  @Test func `An ioctl that there is none of does not count as a use`() throws {
    try withTree { tree in
      // What isatty(3) does, and with it open() of Python.
      let terminalAttributes: UInt32 = 0x5401
      let handle = try tree.wire.open(path: "r/data", flags: O_WRONLY | O_TRUNC)
      #expect(throws: Errno.inappropriateIOCTLForDevice) {
        try tree.wire.ioctl(handle, terminalAttributes)
      }
      try tree.wire.setAttributes(of: handle.node, size: 1 << 16, handle: handle)
      try tree.wire.release(handle)
    }
  }

  @Test func `The size of any other file is accepted and means nothing`() throws {
    try withTree { tree in
      for path in ["r/signal", "r/peer/doorbell", "r/info", ".vsocfs/version"] {
        let node = try tree.wire.node(at: path)
        let before = try tree.wire.attributes(of: node)
        for size in [0, 1, .max] as [UInt64] {
          #expect(try tree.wire.setAttributes(of: node, size: size) == before)
        }
      }
    }
  }
}
