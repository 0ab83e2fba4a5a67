// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine

/// An open `permissions`: the table is read from it, a claim written to it. It is then the area, for
/// who maps it, where the kernel tells mappings from reads (SPEC §7).
///
/// A read that does not go on where the last one ended, or that comes after the end, begins anew: what is
/// written moves the position of a descriptor as well, from which a shell reads then. Between two reads no
/// more is kept than the place in the table, so that each line is true when it is read.
final class PermissionsFile: OpenFile, @unchecked Sendable {
  private let region: Region
  private let area: OpenArea?
  private let calls: PermissionCalls
  /// How far the table has been read.
  private struct Reading {
    /// What is left of a line.
    var rest: [UInt8] = []
    /// Where the next permission begins, at least.
    var begin: UInt32 = 0
    /// Of the file.
    var position: UInt64
  }

  private let reading = Lock<Reading?>(nil)

  /// The region's use has begun, and ends with the file.
  init(_ region: Region, _ area: OpenArea?, _ calls: PermissionCalls) {
    self.region = region
    self.area = area
    self.calls = calls
  }

  override func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    let part = reading.withLock { reading in
      var next =
        reading?.position == offset
        ? reading ?? Reading(position: offset) : Reading(position: offset)
      let part = read(size, &next)
      next.position &+= UInt64(part.count)
      reading = part.isEmpty ? nil : next
      return part
    }
    request.reply(part)
  }

  private func read(_ size: Int, _ reading: inout Reading) -> [UInt8] {
    var lines = reading.rest
    while lines.count < size {
      let wanted = (size - lines.count) / PermissionText.shortestLine + 1
      let permissions = region.livePermissions(
        seenBy: area?.handle, from: reading.begin, count: wanted)
      lines += PermissionText.table(permissions)
      // None begins where another one ends, but for the next.
      if let last = permissions.last { reading.begin = last.permission.endOffset }
      if permissions.count < wanted { break }
    }
    let part = Array(lines.prefix(size))
    reading.rest = Array(lines.dropFirst(size))
    return part
  }

  override func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    let text: PermissionText
    do throws(Errno) {
      text = try unsafe PermissionText(bytes)
    } catch {
      return request.fail(error)
    }
    calls.carryOut(text, length: bytes.count, request)
  }

  override func control(
    _ request: consuming Request<Answer.Control>, _ command: ControlCommand,
    input: UnsafeRawBufferPointer
  ) {
    guard let number = PermissionCalls.Number(rawValue: command.number) else {
      return request.fail(.inappropriateIOCTLForDevice)
    }
    unsafe calls.carryOut(request, number, command, input: input)
  }

  override var descriptorCost: Int { area == nil ? 0 : OpenArea.descriptorCost }

  override func close() {
    area?.close()
    region.endUse()
  }
}
