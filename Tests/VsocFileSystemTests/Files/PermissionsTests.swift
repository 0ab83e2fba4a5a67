// SPDX-License-Identifier: Apache-2.0

import CVsocABI
import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Managed regions as the kernel sees them: nodes, open flags, text and ioctls (SPEC §7).
@Suite struct PermissionsTests {
  /// The stable number of `data` and of `permissions`: the managed region is the second.
  private static let (data, permissions): (UInt64, UInt64) = (0x201, 0x205)

  private func withManaged<Result>(
    pageCache: OwnMapping? = nil, _ body: (ServedTree, FuseWire) throws -> Result
  ) throws -> Result {
    try withTree([region("owner"), region("area", managedBy: "owner")], pageCache: pageCache) {
      tree in
      try body(tree, tree.wire)
    }
  }

  private func argument(
    _ begin: UInt32 = 0x2000, _ end: UInt32 = 0x4000, _ owner: UInt32 = 0x2000,
    _ value: UInt32 = 7, descriptor: Int32 = -1
  ) -> [UInt8] {
    let argument = fd_scoped_permission_arg(
      perm: fd_scoped_permission(
        begin_offset: begin, end_offset: end, owner_offset: owner, owned_value: value),
      managed_region_fd: descriptor)
    return unsafe withUnsafeBytes(of: argument) { unsafe Array($0) }
  }

  private func claim(_ wire: FuseWire, _ handle: FuseHandle, _ argument: [UInt8]) throws {
    try wire.ioctl(handle, Ioctl.createSizedPermission, input: argument)
  }

  // MARK: Nodes

  @Test func `Each lookup of a managed file is a node of its own with one number`() throws {
    try withManaged { tree, wire in
      let directory = try wire.node(at: "area")
      for (name, number) in [("data", Self.data), ("permissions", Self.permissions)] {
        let entries = try (0..<3).map { _ in try wire.lookup(name, in: directory) }
        #expect(Set(entries.map(\.node)).count == 3)
        for entry in entries {
          #expect(entry.node != number)
          #expect(entry.attributes.inode == number)
          #expect(entry.entryValidity == 0)
          #expect(entry.attributes.size == 0)
          #expect(try wire.attributes(of: entry.node) == entry.attributes)
          try wire.forget(entry.node)
        }
        // What was forgotten is not a node any more.
        try waitFor("the forgets") {
          (try? wire.attributes(of: entries[2].node)) == nil
        }
      }
      // The other end's is another file, the other files are as ever.
      #expect(try wire.lookup("data", in: wire.node(at: "area/peer")).attributes.inode == 0x281)
      #expect(try wire.lookup("signal", in: directory).node == 0x202)
      #expect(try wire.lookup("permissions", in: wire.node(at: "owner")).node == 0x105)
    }
  }

  @Test func `A node that is looked up twice is forgotten twice`() throws {
    try withManaged { tree, wire in
      let node = try wire.node(at: "area/data")
      try wire.forget(node, lookups: 1)
      try waitFor("the forget") { (try? wire.attributes(of: node)) == nil }
      // Nobody minds what is not there.
      try wire.forget(node, lookups: 1)
      try wire.forget(.max, lookups: .max)
    }
  }

  @Test func `A node is open once, as each handle has its own area`() throws {
    try withManaged { tree, wire in
      for path in ["area/data", "area/peer/data", "area/permissions"] {
        let node = try wire.node(at: path)
        let handle = try wire.open(node)
        #expect(throws: Errno.resourceBusy) { try wire.open(node) }
        try wire.release(handle)
        try wire.release(wire.open(node, flags: O_RDONLY))
      }
      #expect(try tree.values(of: "area/info")["users"] == "1")
    }
  }

  @Test func `A region is not resized once something of it was claimed`() throws {
    try withManaged { tree, wire in
      let node = try wire.node(at: "area/data")
      try wire.setAttributes(of: node, size: 2 << 20)
      #expect(try tree.values(of: "area/info")["size"] == "2097152")
      let handle = try wire.open(node)
      try claim(wire, handle, argument())
      #expect(try wire.attributes(of: node).size == 0x2000)
      #expect(throws: Errno.notPermitted) { try wire.setAttributes(of: node, size: 1 << 20) }
      #expect(throws: Errno.notPermitted) {
        try wire.setAttributes(of: wire.node(at: "owner/data"), size: 2 << 20)
      }
      try wire.setAttributes(of: node, size: 0)
      #expect(try wire.attributes(of: node).size == 0x2000)
      try wire.release(handle)
    }
  }

  // MARK: Page cache

  @Test func `In page-cache mode an area's pages are its own, at either end`() throws {
    try withManaged(pageCache: OwnMapping()) { tree, wire in
      let flags = FuseABI.openKeepCache | FuseABI.openNoFlush
      let (guest, host) = try (
        wire.open(path: "area/data"), wire.open(path: "area/peer/data")
      )
      for handle in [guest, host] {
        #expect(handle.opened.flags == flags && handle.opened.handle >> 63 == 1)
      }
      // The kernel asks for pages of a file that is empty.
      #expect(throws: Errno.notPermitted) { try wire.write(guest, "x") }
      #expect(try wire.readText(guest) == "")
      try claim(wire, guest, argument())
      #expect(try wire.write(guest, [UInt8](repeating: 3, count: 0x3000), offset: 0) == 0x2000)
      #expect(try wire.read(guest, size: 0x3000, offset: 0x1fff) == [3])
      #expect(try wire.read(host, size: 10, offset: 0) == [])
      try wire.release(guest)
      try claim(wire, host, argument())
      #expect(try wire.read(host, size: 2, offset: 0x1fff) == [3])
      try wire.release(host)
      // Text is not memory there.
      let permissions = try wire.open(path: "area/permissions")
      #expect(permissions.opened.flags == FuseABI.openDirectIO | FuseABI.openNoFlush)
      try wire.release(permissions)
    }
  }

  // MARK: Ioctls

  @Test func `A claim for the handle itself needs no look at the caller`() throws {
    try withManaged { tree, wire in
      let handle = try wire.open(path: "area/data")
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.ioctl(handle, Ioctl.getPermission) }
      for number in [Ioctl.createPermission, Ioctl.createSizedPermission] {
        let input = argument(descriptor: 12345)
        try wire.ioctl(
          handle, number, input: number == Ioctl.createPermission ? Array(input.prefix(16)) : input)
        #expect(
          try wire.ioctl(handle, Ioctl.getPermission).data == Array(argument().prefix(16)))
        #expect(try tree.window("owner").word(at: 0x2000).load() == 7)
        #expect(throws: Errno.fileExists) { try claim(wire, handle, argument()) }
        try wire.ioctl(handle, Ioctl.releasePermission)
        #expect(try tree.window("owner").word(at: 0x2000).load() == 0)
        #expect(throws: Errno.noSuchFileOrDirectory) {
          try wire.ioctl(handle, Ioctl.releasePermission)
        }
      }
      try wire.release(handle)
    }
  }

  @Test(arguments: ["area/data", "area/permissions"])
  func `Who may not write may not claim`(path: String) throws {
    try withManaged { tree, wire in
      let handle = try wire.open(path: path, flags: O_RDONLY)
      #expect(throws: Errno.badFileDescriptor) { try claim(wire, handle, argument(2, 1)) }
      #expect(throws: Errno.badFileDescriptor) {
        try wire.ioctl(handle, Ioctl.createPermission, input: Array(argument(2, 1).prefix(16)))
      }
      try wire.release(handle)
      let owner = try wire.open(path: "owner/data", flags: O_RDONLY)
      #expect(throws: Errno.badFileDescriptor) { try claim(wire, owner, argument(2, 1)) }
      try wire.release(owner)
    }
  }

  @Test func `By way of a manager that is none, or a descriptor of something else, is EPERM`()
    throws
  {
    try withManaged { tree, wire in
      let owner = try wire.open(path: "owner/data")
      for descriptor in [-1, 0, 1, 99999, .max, .min] as [Int32] {
        #expect(throws: Errno.notPermitted) {
          try claim(wire, owner, argument(descriptor: descriptor))
        }
      }
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.ioctl(owner, Ioctl.getPermission) }
      #expect(throws: Errno.noSuchFileOrDirectory) {
        try wire.ioctl(owner, Ioctl.releasePermission)
      }
      try wire.release(owner)
    }
  }

  @Test func `Only words of one's own area can be slept on`() throws {
    try withManaged { tree, wire in
      let handle = try wire.open(path: "area/data")
      func result(_ offset: UInt32) throws -> Int32 {
        // The word is not 1: it does not sleep.
        let input = CondWaitArgument(offset: offset, value: 1).bytes
        return try wire.ioctl(handle, Ioctl.condWait, input: input).result
      }
      #expect(try result(0x2000) == -E2BIG)
      #expect(throws: Errno.argListTooLong) {
        try wire.ioctl(handle, Ioctl.condWake, argument: 0x2000)
      }
      try claim(wire, handle, argument())
      #expect(try result(0x2000) == 0 && result(0x3ffc) == 0)
      #expect(try result(0x2001) == -EADDRNOTAVAIL)
      for offset in [0, 0x1ffc, 0x4000, 0xf_fffc, 0x10_0000, .max - 3] as [UInt32] {
        #expect(try result(offset) == -E2BIG)
      }
      try wire.ioctl(handle, Ioctl.condWake, argument: 0x3ffc)
      #expect(throws: Errno.argListTooLong) {
        try wire.ioctl(handle, Ioctl.condWake, argument: 0x4000)
      }
      // A sleeper ends with the permission.
      let ticket = try tree.beginCondWait(handle, CondWaitArgument(offset: 0x3000))
      try tree.waitForParked(1)
      try wire.ioctl(handle, Ioctl.releasePermission)
      #expect(try wire.ioctlReply(to: ticket).result == -ENODEV)
      try wire.release(handle)
    }
  }

  // MARK: Text

  @Test func `A table begins anew when it has been read, or when the reader goes elsewhere`()
    throws
  {
    try withManaged { tree, wire in
      let (one, other) = try (
        wire.open(path: "area/permissions"), wire.open(path: "area/permissions")
      )
      #expect(try wire.readText(one) == "")
      #expect(try wire.write(one, "claim 0x2000 16384 0x2000 7\n") == 28)
      try wire.write(other, "  claim\t0x5000 0x6000 0x2004 0xffffffff")
      let lines = try [wire.readText(one), wire.readText(other)].map {
        $0.split(separator: "\n").map { String($0) }
      }
      #expect(lines[0][0].hasPrefix("*0x00002000 0x00004000 0x00002000 0x00000007 "))
      #expect(lines[1][1].hasPrefix("*0x00005000 0x00006000 0x00002004 0xffffffff "))
      #expect(lines[0][1] == lines[1][1].dropFirst() && lines[1][0] == lines[0][0].dropFirst())
      let text = lines[0].joined(separator: "\n") + "\n"
      // On it goes, byte by byte, to the end; then from the beginning, wherever that is.
      var bytes = ""
      for offset in 0...text.utf8.count {
        bytes += try wire.readText(other, size: 1, offset: UInt64(offset))
      }
      #expect(bytes == lines[1].joined(separator: "\n") + "\n")
      let end = UInt64(text.utf8.count)
      #expect(try wire.readText(one, size: 4096, offset: 0) == text)
      #expect(try wire.readText(one, size: 4096, offset: end) == "")
      #expect(try wire.readText(one, size: 4096, offset: end) == text)
      #expect(try wire.readText(one, size: 5, offset: 77) == text.prefix(5))
      try wire.write(one, "release")
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.write(one, "release\n") }
      #expect(try wire.readText(one, size: 4096, offset: 5).hasPrefix("0x00005000 "))
      #expect(try tree.values(of: "area/info")["permissions"] == "1")
      #expect(try tree.values(of: ".vsocfs/stats")["permissions"] == "1")
      try wire.release(other)
      #expect(try wire.readText(one, size: 4096, offset: 0) == "")
      #expect(try tree.window("owner").word(at: 0x2004).load() == 0)
      try wire.release(one)
    }
  }

  @Test(arguments: [
    "", "\n", "claim", "claim 1 2 3", "claim 0x2000 0x4000 0x2000 7 8 9", "release x",
    "release 1 2", "claim 0x2000 0x4000 0x2000 7 -1",
    "claim 0x2000 0x4000 0x2000 7\nrelease", "claim 0x2000 0x4000 0x2000 0x1_0",
    "claim 0x2000 0x4000 0x2000 4294967296", "claim -1 0x4000 0x2000 7", "claims 1 2 3 4",
    "Claim 0x2000 0x4000 0x2000 7", "claim 0x2000 0x4000 0x2000 0", "claim 0x 0x4000 0x2000 7",
    "\0", "claim 0x2000 0x4000 0x2000 7\0",
  ])
  func `Bad text is EINVAL and claims nothing`(text: String) throws {
    try withManaged { tree, wire in
      let file = try wire.open(path: "area/permissions")
      #expect(throws: Errno.invalidArgument) { try wire.write(file, text) }
      #expect(try wire.readText(file) == "")
      try wire.release(file)
    }
  }

  @Test func `Another descriptor than one of the region is EPERM`() throws {
    try withManaged { tree, wire in
      let file = try wire.open(path: "area/permissions")
      for number in ["0", "99999", "4294967296"] {
        #expect(throws: Errno.notPermitted) {
          try wire.write(file, "claim 0x2000 0x4000 0x2000 7 \(number)")
        }
        #expect(throws: Errno.notPermitted) { try wire.write(file, "release \(number)") }
      }
      #expect(try wire.readText(file) == "")
      try wire.release(file)
    }
  }

  @Test func `Numbers beyond 32 bits are out of the region`() throws {
    try withManaged { tree, wire in
      let file = try wire.open(path: "area/permissions")
      for text in [
        "claim 0x2000 0x100004000 0x2000 7", "claim 0x2000 0x4000 99999999999999999999 7",
      ] {
        #expect(throws: Errno.outOfRange) { try wire.write(file, text) }
      }
      #expect(throws: Errno.invalidArgument) {
        try wire.write(file, "claim 0x100002000 0x4000 0x2000 7")
      }
      try wire.release(file)
    }
  }

  @Test func `Without a manager there is nothing to claim`() throws {
    try withTree { tree in
      let wire = tree.wire
      let file = try wire.open(path: "r/permissions")
      #expect(try wire.readText(file) == "")
      #expect(throws: Errno.notPermitted) { try wire.write(file, "claim 0x2000 0x4000 0x2000 7") }
      #expect(throws: Errno.notPermitted) { try claim(wire, file, argument()) }
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.write(file, "release") }
      #expect(throws: Errno.invalidArgument) { try wire.write(file, "x") }
      #expect(throws: Errno.inappropriateIOCTLForDevice) {
        try wire.ioctl(file, Ioctl.sendInterrupt)
      }
      try wire.release(file)
    }
  }
}
