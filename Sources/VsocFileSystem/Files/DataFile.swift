// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import Synchronization
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// An open `data`. With passthrough the kernel reads, writes and maps the memory itself; the
/// ioctls come here, and so do reads and writes of a handle without a backing file.
class DataFile: OpenFile, @unchecked Sendable {
  let region: Region
  let end: End
  /// The mode, for those who ask.
  let isPageCache: Bool
  let permissionCalls: PermissionCalls
  /// What the kernel has pages of, for which it must stay open; set before the file is used.
  var pages: RegionFile?
  /// Whether this handle knows that the region's size is fixed.
  private let isSealed = Atomic(false)
  /// Made by the first drain, which sees what comes from then on.
  private let drainReader = Lock<DoorbellReader?>(nil)

  init(_ region: Region, _ end: End, isPageCache: Bool, _ calls: PermissionCalls) {
    permissionCalls = calls
    self.region = region
    self.end = end
    self.isPageCache = isPageCache
  }

  override func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    var copy: [UInt8] = []
    do throws(Errno) {
      unsafe try region.read(at: offset, size: size) { copy = unsafe Array($0) }
    } catch {
      return request.fail(error)
    }
    request.reply(copy)
  }

  override func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    do throws(Errno) {
      try seal()
      unsafe try region.write(bytes, at: offset)
    } catch {
      return request.fail(error)
    }
    request.reply(bytes.count)
  }

  /// Refuses an offset of a word that this handle does not reach.
  func check(_ offset: UInt32) throws(Errno) {}

  override func control(
    _ request: consuming Request<Answer.Control>, _ command: ControlCommand,
    input: UnsafeRawBufferPointer
  ) {
    unsafe carryOut(request, command, input: input)
  }

  /// Fixes the region's size, and makes sure that its memory can be touched; a look at a flag from
  /// the second time on.
  func seal() throws(Errno) {
    if isSealed.load(ordering: .relaxed) { return }
    try region.seal()
    try region.prepareMemory()
    isSealed.store(true, ordering: .relaxed)
  }

  /// The reader of this handle's drains.
  func drainingReader() -> DoorbellReader {
    drainReader.withLock { reader in
      if let reader { return reader }
      let new = region.openDoorbell(end)
      reader = new
      return new
    }
  }

  override func synchronize() throws(Errno) {
    try region.currentFile?.synchronize()
  }

  override func close() {
    if let reader = drainReader.withLock({ $0.take() }) { region.close(reader) }
    region.endUse()
  }
}

/// The memory of a region as the daemon itself has it open.
final class PagesFile: OpenFile, @unchecked Sendable {
  private let pages: RegionFile

  init(_ pages: RegionFile) {
    self.pages = pages
  }
}
