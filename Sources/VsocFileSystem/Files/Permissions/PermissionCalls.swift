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
  /// Whether the file is open for writing, without which nothing can be claimed by way of it, nor anything
  /// else be changed that others see.
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
    do throws(Errno) {
      switch number {
      case .create:
        let permission = unsafe try permission(input)
        // The argument is larger than its number says, so that the kernel did not bring all of it.
        let (address, overflow) = command.argument.addingReportingOverflow(
          UInt64(MemoryLayout<fd_scoped_permission>.size))
        guard area != nil || !overflow else { throw .badAddress }
        return claim(permission, for: .word(address), request)
      case .createSized:
        let permission = unsafe try permission(input)
        let offset = MemoryLayout<fd_scoped_permission>.size
        guard area == nil else { return claim(permission, for: .number(-1), request) }
        guard input.count >= offset + MemoryLayout<Int32>.size else { throw .invalidArgument }
        let descriptor = unsafe input.loadUnaligned(fromByteOffset: offset, as: Int32.self)
        return claim(permission, for: .number(descriptor), request)
      case .get:
        guard let permission = area?.permission else { throw .noSuchFileOrDirectory }
        return request.reply(output: Self.bytes(permission))
      case .release:
        guard let area else { throw .noSuchFileOrDirectory }
        try region.release(area)
      }
    } catch {
      return request.fail(error)
    }
    request.reply()
  }

  private func permission(_ input: UnsafeRawBufferPointer) throws(Errno) -> Permission {
    guard input.count >= MemoryLayout<fd_scoped_permission>.size else { throw .invalidArgument }
    guard isWritable else { throw .badFileDescriptor }
    return Permission(unsafe input.loadUnaligned(as: fd_scoped_permission.self))
  }

  /// - Parameter place: names the handle, unless it is this one.
  private func claim(
    _ permission: Permission, for place: Look.Place, _ request: consuming Request<Answer.Control>
  ) {
    look(
      request, at: area == nil ? place : nil,
      then: { seen throws(Errno) in
        let handle = if let area { area } else { try fileSystem.handle(seen) }
        try claim(permission, for: handle, seen)
      }, reply: { $0.reply() })
  }

  /// Carries out what was written, so many bytes.
  func carryOut(
    _ text: PermissionText, length: Int, _ request: consuming Request<Answer.Count>
  ) {
    do throws(Errno) {
      switch (text.command, text.descriptor) {
      case (.release, nil):
        guard let area else { throw .noSuchFileOrDirectory }
        try region.release(area)
        return request.reply(length)
      case (.claim, nil):
        // Of a region without a manager.
        guard area != nil else { throw .notPermitted }
      case (_, .some): break
      }
    } catch {
      return request.fail(error)
    }
    let place = text.descriptor.map { Look.Place.number($0) }
    look(
      request, at: place,
      then: { seen throws(Errno) in
        guard let handle = try place == nil ? area : fileSystem.handle(seen),
          handle.region === region
        else { throw .notPermitted }
        switch text.command {
        case .claim(let permission): try claim(permission, for: handle, seen)
        case .release: try region.release(handle)
        }
      }, reply: { $0.reply(length) })
  }

  private func claim(
    _ permission: Permission, for handle: AreaHandle, _ seen: Seen
  ) throws(Errno) {
    let manager =
      area == nil ? region : fileSystem.engine.region(region.managerIndex) ?? region
    try handle.region.claim(
      permission, for: handle, managedBy: manager,
      by: Claimant(process: seen.process, name: seen.name))
  }

  /// Looks at the caller, and then does what was asked for, both without this thread; the caller waits. Who
  /// is interrupted before it is done is told so at once, and it is not done.
  ///
  /// - Parameter place: names a descriptor of the caller.
  private func look<Value>(
    _ request: consuming Request<Value>, at place: Look.Place?,
    then body: @escaping @Sendable (Seen) throws(Errno) -> Void,
    reply: @escaping @Sendable (consuming Request<Value>) -> Void
  ) {
    let caller = request.caller
    let own = fileSystem.own.withLock { $0 }
    // Nobody has descriptors of what is not mounted.
    guard place == nil || own != nil else { return request.fail(.notPermitted) }
    let file = place.flatMap { place in own.map { (place, $0.device) } }
    let parked = Parked<Value>()
    let wait = OutsideWait(region) { reason in
      parked.finish { request in request.fail(reason.errno) }
    }
    parked.park(request, on: wait)
    fileSystem.looking.look(Look(at: caller.pid, file: file), for: caller.uid) { result in
      fileSystem.claims.run(for: caller.uid) {
        guard wait.finish() else { return }
        do throws(Errno) {
          try body(try result.get())
        } catch {
          return parked.finish { request in request.fail(error) }
        }
        parked.finish(reply)
      }
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
