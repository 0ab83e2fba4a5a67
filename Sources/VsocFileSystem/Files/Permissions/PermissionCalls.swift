// SPDX-License-Identifier: Apache-2.0

internal import CVsocABI
internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine

/// The calls by which an open file gets, shows and gives up a permission (SPEC §5, §7): ioctls of
/// `data` and of `permissions`, and what is written there.
struct PermissionCalls: Sendable {
  let fileSystem: VsocFileSystem
  let region: Region
  /// The handle itself, if its region is managed: it is the one that gets the permission. Else the
  /// caller names one by a descriptor, and the region is its manager.
  let area: AreaHandle?
  /// Whether the file is open for writing, without which nothing can be claimed by way of it.
  let isWritable: Bool

  enum Number {
    case create, createSized, get, release

    init?(rawValue: UInt32) {
      switch rawValue {
      case VSOC_NR_CREATE_FD_SCOPED_PERMISSION.rawValue: self = .create
      case VSOC_NR_GET_FD_SCOPED_PERMISSION.rawValue: self = .get
      case VSOCFS_NR_CREATE_PERMISSION.rawValue: self = .createSized
      case VSOCFS_NR_RELEASE_PERMISSION.rawValue: self = .release
      default: return nil
      }
    }
  }

  func carryOut(
    _ request: consuming Request<Answer.Control>, _ number: Number, _ command: ControlCommand,
    input: UnsafeRawBufferPointer
  ) {
    let caller = OtherThread(request.caller.pid)
    do throws(Errno) {
      switch number {
      case .create:
        unsafe try claim(input, caller) { () throws(Errno) in
          // The argument is larger than its number says, so that the kernel did not bring all of it.
          try descriptor(at: command.argument, of: caller)
        }
      case .createSized:
        unsafe try claim(input, caller) { () throws(Errno) in
          let offset = MemoryLayout<fd_scoped_permission>.size
          guard input.count >= offset + MemoryLayout<Int32>.size else { throw .invalidArgument }
          return unsafe input.loadUnaligned(fromByteOffset: offset, as: Int32.self)
        }
      case .get:
        guard let permission = area?.permission else { throw .noSuchFileOrDirectory }
        return request.reply(output: Self.bytes(permission))
      case .release:
        try release()
      }
    } catch {
      return request.fail(error)
    }
    request.reply()
  }

  private func claim(
    _ input: UnsafeRawBufferPointer, _ caller: OtherThread,
    _ descriptor: () throws(Errno) -> Int32
  ) throws(Errno) {
    let size = MemoryLayout<fd_scoped_permission>.size
    guard input.count >= size else { throw .invalidArgument }
    let argument = unsafe input.loadUnaligned(as: fd_scoped_permission.self)
    guard isWritable else { throw .badFileDescriptor }
    let handle =
      if let area { area } else { try fileSystem.handle(try descriptor(), of: caller) }
    try claim(Permission(argument), for: handle, caller)
  }

  /// Carries out what was written.
  func carryOut(_ text: PermissionText, _ caller: OtherThread) throws(Errno) {
    var handle = area
    if let descriptor = text.descriptor {
      handle = try fileSystem.handle(descriptor, of: caller)
      guard handle?.region === region else { throw .notPermitted }
    }
    switch text.command {
    case .claim(let permission):
      // Of a region without a manager.
      guard let handle else { throw .notPermitted }
      try claim(permission, for: handle, caller)
    case .release:
      guard let handle else { throw .noSuchFileOrDirectory }
      try region.release(handle)
    }
  }

  private func claim(
    _ permission: Permission, for handle: AreaHandle, _ caller: OtherThread
  ) throws(Errno) {
    let manager =
      area == nil ? region : fileSystem.engine.region(region.managerIndex) ?? region
    let process = caller.process
    try handle.region.claim(
      permission, for: handle, managedBy: manager,
      by: Claimant(process: process.id, name: process.name))
  }

  private func release() throws(Errno) {
    guard let area else { throw .noSuchFileOrDirectory }
    try region.release(area)
  }

  /// The last word of a `fd_scoped_permission_arg` in the caller's memory.
  private func descriptor(at argument: UInt64, of caller: OtherThread) throws(Errno) -> Int32 {
    let (address, overflow) = argument.addingReportingOverflow(
      UInt64(MemoryLayout<fd_scoped_permission>.size))
    guard !overflow else { throw .badAddress }
    do throws(Errno) {
      return try caller.word(at: address)
    } catch .notPermitted {
      throw fileSystem.cannotLook(at: caller)
    }
  }

  private static func bytes(_ permission: Permission) -> [UInt8] {
    let result = fd_scoped_permission(
      begin_offset: permission.beginOffset, end_offset: permission.endOffset,
      owner_offset: permission.ownerOffset, owned_value: permission.ownedValue)
    return unsafe withUnsafeBytes(of: result) { unsafe Array($0) }
  }
}

extension Permission {
  fileprivate init(_ argument: fd_scoped_permission) {
    self.init(
      beginOffset: argument.begin_offset, endOffset: argument.end_offset,
      ownerOffset: argument.owner_offset, ownedValue: argument.owned_value)
  }
}
