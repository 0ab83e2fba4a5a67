// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine

/// An open `permissions`: the table is read from it, a claim written to it. It is then the area, for
/// who maps it, where the kernel tells mappings from reads (SPEC §7).
///
/// A read that does not go on where the last one ended, or that comes after the end, begins with a new
/// table: what is written moves the position of a descriptor as well, from which a shell reads then.
final class PermissionsFile: OpenFile, @unchecked Sendable {
  private let region: Region
  private let area: OpenArea?
  private let calls: PermissionCalls
  /// A table that is being read: what is left of it, and at which position.
  private struct Reading {
    var rest: ArraySlice<UInt8>
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
      let table: ArraySlice<UInt8> =
        if let reading, reading.position == offset {
          reading.rest
        } else {
          PermissionText.table(region.livePermissions(seenBy: area?.handle))[...]
        }
      let part = table.prefix(size)
      reading =
        part.isEmpty
        ? nil
        : Reading(rest: table.dropFirst(size), position: offset &+ UInt64(part.count))
      return part
    }
    request.reply(Array(part))
  }

  override func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    do throws(Errno) {
      unsafe try calls.carryOut(PermissionText(bytes), OtherThread(request.caller.pid))
    } catch {
      return request.fail(error)
    }
    request.reply(bytes.count)
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

  override func close() {
    area?.close()
    region.endUse()
  }
}
