// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocConfiguration
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// The connection: INIT, what the kernel does not usually send, and the end.
@Suite struct ConnectionTests {
  private func uninitialized() throws -> ServedTree {
    try ServedTree(
      MountConfiguration(
        MountRequest(mountpoint: "/", regions: ["r"]), uid: 0, gid: 0))
  }

  @Test(arguments: [true, false])
  func `Passthrough is asked for only if it is offered`(isOffered: Bool) throws {
    let tree = try uninitialized()
    let reply = try tree.wire.initialize(offeringPassthrough: isOffered)
    #expect(reply.major == 7)
    #expect(reply.wantsPassthrough == isOffered)
    #expect(reply.maxStackDepth == (isOffered ? 1 : 0))
    // FUSE_ATOMIC_O_TRUNC: the kernel would take the file for empty.
    #expect(reply.flags & 1 << 3 == 0)
    #expect(reply.maxWrite >= 128 << 10)
    tree.wire.close()
    tree.waitForEnd()
  }

  @Test func `Nothing is answered before INIT, and there is one INIT`() throws {
    let tree = try uninitialized()
    let wire = tree.wire
    #expect(throws: Errno.ioError) { try wire.attributes(of: 1) }
    _ = try wire.initialize()
    #expect(throws: Errno.ioError) { try wire.initialize() }
    #expect(try wire.attributes(of: 1).isDirectory)
    try wire.destroy()
    wire.close()
    tree.waitForEnd()
  }

  @Test func `Unknown operations are refused, poll never with ENOSYS`() throws {
    try withTree { tree in
      for opcode in [0, 7, 19, 21, 43, 44, 46, 47, 60, 4095, 0x7fff_ffff, .max] as [UInt32] {
        let body = [UInt8](repeating: 0, count: 64)
        let ticket = try tree.wire.send(opcode: opcode, node: 1, body: body)
        let error = #expect(throws: Errno.self) { try tree.wire.reply(to: ticket) }
        #expect(error == .noFunction, "\(opcode)")
      }
      #expect(try tree.wire.attributes(of: 1).isDirectory)
      let missing = FuseHandle.invented(77)
      #expect(throws: Errno.badFileDescriptor) { try tree.wire.poll(missing, pollHandle: 1) }
    }
  }

  @Test(arguments: [0, 6, 0x7f, 0x107, 0x17f, 0x185, 0x200, 0x1_0000_0000_01, .max] as [UInt64])
  func `A node that does not exist is ENOENT everywhere`(node: UInt64) throws {
    try withTree { tree in
      let wire = tree.wire
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.attributes(of: node) }
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.setAttributes(of: node, mode: 0) }
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.lookup("data", in: node) }
      #expect(throws: Errno.self) { try wire.open(node) }
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.openDirectory(node) }
      #expect(throws: Errno.notPermitted) { try wire.makeDirectory("x", in: node) }
      #expect(throws: Errno.notPermitted) { try wire.removeDirectory("r", in: node) }
    }
  }

  @Test(arguments: [0, 0xffff, .max, 1] as [UInt64])
  func `A handle that is not open is EBADF everywhere`(number: UInt64) throws {
    try withTree { tree in
      let wire = tree.wire
      // Number 1 was open once.
      try wire.release(wire.open(path: "r/data"))
      let handle = FuseHandle.invented(number, node: try wire.node(at: "r/data"))
      #expect(throws: Errno.badFileDescriptor) { try wire.read(handle) }
      #expect(throws: Errno.badFileDescriptor) { try wire.write(handle, "inject") }
      #expect(throws: Errno.badFileDescriptor) { try wire.poll(handle, pollHandle: 1) }
      #expect(throws: Errno.badFileDescriptor) { try wire.readDirectory(handle) }
      for number in Ioctl.all {
        #expect(throws: Errno.badFileDescriptor) { try wire.ioctl(handle, number) }
      }
      // The kernel does not look at what a release answers.
      try wire.release(handle)
      try wire.releaseDirectory(handle)
      try wire.release(wire.open(path: "r/data"))
    }
  }

  @Test func `Files that are used as what they are not say so`() throws {
    try withTree { tree in
      let wire = tree.wire
      let directory = try wire.openDirectory()
      let info = try wire.open(path: "r/info", flags: O_RDONLY)
      #expect(throws: Errno.self) { try wire.read(directory) }
      #expect(throws: Errno.badFileDescriptor) { try wire.write(directory, "1") }
      #expect(throws: Errno.badFileDescriptor) { try wire.write(info, "1") }
      #expect(throws: Errno.notDirectory) { try wire.readDirectory(info) }
      #expect(throws: Errno.isDirectory) { try wire.open(path: "r") }
      #expect(throws: Errno.isDirectory) { try wire.open(1) }
      #expect(throws: Errno.noSuchFileOrDirectory) {
        try wire.openDirectory(wire.node(at: "r/data"))
      }
      try wire.releaseDirectory(directory)
      try wire.release(info)
    }
  }

  @Test func `A request whose body is cut off or too long gets a reply, and life goes on`() throws {
    try withTree { tree in
      let file = try tree.wire.open(path: "r/data")
      // Of what is cut off, libfuse reads what is left in its buffer. (It trusts the kernel with
      // the length that a write or a batch of forgets states; that is not tried here.)
      let operations: [FuseABI.Operation] = [
        .lookup, .getAttributes, .setAttributes, .makeDirectory, .unlink, .removeDirectory, .open,
        .statistics, .openDirectory, .create, .symlink, .link, .rename, .access, .flush, .makeNode,
      ]
      for operation in operations {
        for body in [[], [0], [UInt8](repeating: 0, count: 7), [UInt8](repeating: 0, count: 9000)] {
          let ticket = try tree.wire.send(operation, node: file.node, body: body)
          _ = try? tree.wire.reply(to: ticket)
        }
      }
      #expect(tree.wire.outstandingCount == 0)
      #expect(try tree.wire.write(file, [1, 2, 3], offset: 0x3000) == 3)
      #expect(try tree.wire.read(file, size: 4, offset: 0x3000) == [1, 2, 3, 0])
      try tree.wire.release(file)
    }
  }

  @Test(arguments: [UInt64(1) << 63, .max, .max - 4095])
  func `An offset that is negative for the kernel does no harm`(offset: UInt64) throws {
    try withTree { tree in
      let wire = tree.wire
      let data = try wire.open(path: "r/data")
      #expect(try wire.read(data, offset: offset) == [])
      #expect(throws: Errno.notPermitted) { try wire.write(data, [1], offset: offset) }
      let info = try wire.open(path: "r/info", flags: O_RDONLY)
      #expect(try wire.read(info, offset: offset) == [])
      let root = try wire.openDirectory()
      #expect(try wire.readDirectory(root, offset: offset).isEmpty)
      for handle in [data, info] { try wire.release(handle) }
      try wire.releaseDirectory(root)
    }
  }

  @Test func `When the connection is closed, calls that wait end and so does the daemon`() throws {
    let tree = try uninitialized()
    let wire = tree.wire
    _ = try wire.initialize()
    let doorbell = try wire.open(path: "r/doorbell")
    let data = try wire.open(path: "r/data")
    let read = try wire.beginRead(doorbell)
    _ = try wire.beginIoctl(data, Ioctl.waitForInterrupt)
    _ = try tree.beginCondWait(data, CondWaitArgument())
    try tree.waitForParked(3)
    wire.close()
    tree.waitForEnd()
    #expect(tree.server.engine.parking.count == 0)
    #expect(throws: FuseWireFailure.closed) { try wire.reply(to: read) }
  }

  @Test func `A handle whose open nobody waits for any more is not kept`() throws {
    let tree = try uninitialized()
    _ = try tree.wire.initialize()
    let node = try tree.wire.node(at: "r/doorbell")
    let region = try tree.region()
    // The replies cannot be sent: as if their callers had been killed.
    for _ in 0..<50 {
      var body = WireWriter()
      body.append(UInt32(O_RDWR), 0)
      _ = try tree.wire.send(.open, node: node, body: body.bytes)
    }
    tree.wire.close()
    tree.waitForEnd()
    #expect(region.snapshot(of: .guest).users == 0)
    #expect(region.snapshot(of: .guest).doorbellReaders == 0)
  }
}
