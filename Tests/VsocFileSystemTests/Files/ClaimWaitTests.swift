// SPDX-License-Identifier: Apache-2.0

import CVsocABI
import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Lets looks into callers wait until the test has them done.
private final class HeldLooks: Looking {
  private typealias Held = (look: Look, completion: @Sendable (Result<Seen, Errno>) -> Void)
  private let held = Monitor([Held]())

  func look(
    _ look: Look, for user: UInt32,
    then completion: @escaping @Sendable (Result<Seen, Errno>) -> Void
  ) {
    held.withLock { $0.append((look, completion)) }
  }

  /// Has the first one done, or fail.
  func finish(_ error: Errno? = nil) throws {
    let first = held.wait(until: .after(seconds: 20)) { held in
      held.isEmpty ? nil : held.removeFirst()
    }
    guard let (look, completion) = first else { throw TestFailure("nobody looks") }
    if let error { return completion(.failure(error)) }
    ImmediateLooks().look(look, for: 0, then: completion)
  }
}

/// Claims wait for a look into their caller, and for nothing of a worker's.
@Suite struct ClaimWaitTests {
  private let looks = HeldLooks()

  private func withManaged(_ body: (ServedTree, FuseWire, FuseHandle) throws -> Void) throws {
    try withTree([region("owner"), region("area", managedBy: "owner")], looking: looks) { tree in
      let handle = try tree.wire.open(path: "area/data")
      try body(tree, tree.wire, handle)
      try tree.wire.release(handle)
    }
  }

  private static let argument: [UInt8] = {
    let argument = fd_scoped_permission_arg(
      perm: fd_scoped_permission(
        begin_offset: 0x2000, end_offset: 0x4000, owner_offset: 0x2000, owned_value: 7),
      managed_region_fd: -1)
    return unsafe withUnsafeBytes(of: argument) { unsafe Array($0) }
  }()

  private func beginClaim(_ wire: FuseWire, _ handle: FuseHandle) throws -> FuseWire.Ticket {
    try wire.beginIoctl(handle, Ioctl.createSizedPermission, input: Self.argument)
  }

  @Test func `Others are answered while a claim waits, and then it is made`() throws {
    try withManaged { tree, wire, handle in
      let claim = try beginClaim(wire, handle)
      try tree.waitForParked(1)
      _ = try wire.readText(wire.open(path: "area/info", flags: O_RDONLY))
      #expect(try tree.region("area").permissionCount == 0)
      try looks.finish()
      #expect(try wire.ioctlReply(to: claim).result == 0)
      #expect(try tree.region("area").permissionCount == 1)
    }
  }

  @Test func `A caller that is interrupted claims nothing`() throws {
    try withManaged { tree, wire, handle in
      let claim = try beginClaim(wire, handle)
      try tree.waitForParked(1)
      try wire.interrupt(claim)
      #expect(throws: Errno.interrupted) { try wire.ioctlReply(to: claim) }
      try looks.finish()
      // Done after it, as one of a user is done at a time.
      let second = try wire.open(path: "area/data")
      let next = try beginClaim(wire, second)
      try looks.finish()
      #expect(try wire.ioctlReply(to: next).result == 0)
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.ioctl(handle, Ioctl.getPermission) }
      try wire.release(second)
    }
  }

  @Test(arguments: [Errno.badAddress, .resourceTemporarilyUnavailable])
  func `A look that is given up fails the claim`(error: Errno) throws {
    try withManaged { tree, wire, handle in
      let claim = try beginClaim(wire, handle)
      try looks.finish(error)
      #expect(throws: error) { try wire.ioctlReply(to: claim) }
      #expect(try tree.region("area").permissionCount == 0)
    }
  }

  @Test func `What needs no look does not wait for one`() throws {
    try withManaged { tree, wire, handle in
      var reader = handle
      reader = try wire.open(path: "area/data", flags: O_RDONLY)
      #expect(throws: Errno.badFileDescriptor) {
        try wire.ioctl(reader, Ioctl.createSizedPermission, input: Self.argument)
      }
      try wire.release(reader)
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.ioctl(handle, Ioctl.getPermission) }
      #expect(throws: Errno.noSuchFileOrDirectory) {
        try wire.ioctl(handle, Ioctl.releasePermission)
      }
    }
  }
}
