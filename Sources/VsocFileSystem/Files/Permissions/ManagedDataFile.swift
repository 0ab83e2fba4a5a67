// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// An open `data` of a managed region: what it reaches is an area, or nothing (SPEC §7). Its doorbell
/// is the region's.
final class ManagedDataFile: DataFile, @unchecked Sendable {
  private let area: OpenArea

  init(
    _ region: Region, _ end: End, isPageCache: Bool, _ area: OpenArea, _ calls: PermissionCalls
  ) {
    self.area = area
    super.init(region, end, isPageCache: isPageCache, calls)
  }

  override func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try area.handle.read(at: offset, size: size)
    } catch {
      return request.fail(error)
    }
    request.reply(bytes)
  }

  override func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    do throws(Errno) {
      unsafe try area.handle.write(bytes, at: offset)
    } catch {
      return request.fail(error)
    }
    request.reply(bytes.count)
  }

  override func check(_ offset: UInt32) throws(Errno) { try area.handle.check(offset) }

  override func synchronize() throws(Errno) { try area.handle.file.synchronize() }

  override var descriptorCost: Int { OpenArea.descriptorCost }

  override func close() {
    area.close()
    super.close()
  }
}
