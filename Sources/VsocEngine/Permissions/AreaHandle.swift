// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
internal import VsocProtocol

/// An open handle of a managed region: it reaches nothing until it holds a permission, then that area
/// (SPEC §7). A use of the region, from its beginning until it is closed.
///
/// Safe to use from any thread.
package final class AreaHandle: @unchecked Sendable {
  enum Phase {
    case idle
    /// Somebody claims or releases, and nobody else may.
    case changing
    case holding(Holding)
  }

  package let region: Region
  /// By what the file system finds what its clients map; see `RegionMapping.openArea`.
  package let place: UInt64
  /// The place of one that nobody can map.
  package static let noPlace: UInt64 = 0
  /// Whether mappings are of the file itself, and live on without the handle.
  let isBacking: Bool
  /// What is reached: empty without a permission.
  package let file: RegionFile
  /// Guarded by the region's `permissions`.
  var phase = Phase.idle
  var isClosed = false
  /// Bytes that are reached. A write happens inside the lock, so that none comes after a release.
  private let reach = Lock<UInt32>(0)

  /// - Parameter isBacking: clients map the file by way of the kernel.
  package init(of region: Region, place: UInt64, isBacking: Bool) throws(Errno) {
    self.region = region
    self.place = place
    self.isBacking = isBacking
    file = try region.storage.files.makeArea(isBacking: isBacking)
    try region.beginUse()
  }

  /// The last descriptor is gone. The permission ends, unless somebody has the area mapped for writing
  /// still: then with the last such mapping.
  ///
  /// To be called once, and when the kernel does not pass accesses to the file through any more.
  package func close() {
    region.close(self)
    region.endUse()
  }

  /// What the handle holds.
  package var permission: Permission? {
    region.permissions.withLock { _ in
      if case .holding(let holding) = phase { holding.permission } else { nil }
    }
  }

  /// Refuses a word of its region that it may not use.
  ///
  /// - Throws: E2BIG: it is not in the area. EIO: a page of the area cannot be had.
  package func check(_ offset: UInt32) throws(Errno) {
    let holding = region.permissions.withLock { _ -> Holding? in
      if case .holding(let holding) = phase { holding } else { nil }
    }
    guard let holding, offset >= holding.permission.beginOffset,
      offset < holding.permission.endOffset
    else { throw .argListTooLong }
    guard let view = holding.view, view.isBroken else { return }
    region.reportBroken(holding)
    throw .ioError
  }

  /// EEXIST: the handle has a permission already, or is just getting one. EPERM: it is closed. Under
  /// the lock of the region's `permissions`.
  func checkIsIdle() throws(Errno) {
    guard case .idle = phase else { throw .fileExists }
    guard !isClosed else { throw .notPermitted }
  }

  // MARK: Contents, for those who come without a mapping

  /// Bytes that the handle reaches.
  package var size: UInt32 { reach.withLock { $0 } }

  func setSize(_ size: UInt32) { reach.withLock { $0 = size } }

  package func read(at offset: UInt64, size: Int) throws(Errno) -> [UInt8] {
    let end = UInt64(self.size)
    guard offset < end else { return [] }
    return try file.descriptor.read(min(size, Int(end - offset)), at: offset)
  }

  /// EPERM past the end, as for a region: then nothing is written.
  package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    try reach.withLock { reach throws(Errno) in
      guard offset <= reach, UInt64(bytes.count) <= UInt64(reach) - offset, reach > 0 else {
        throw .notPermitted
      }
      try file.withWriter { writer throws(Errno) in
        try unsafe writer.write(bytes, at: offset)
      }
    }
  }
}
