// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// Where the files of regions come from, and what is kept of the regions beside them.
///
/// Called from any thread, also with locks held: a call may wait for a disk, never for a request of
/// the file system. A call that throws has changed nothing.
package protocol RegionFiles: AnyObject, Sendable {
  /// Regions are about to be: makes what they need, all of it or nothing.
  func add(_ regions: [RegionConfiguration], _ headers: [RegionHeader]) throws(Errno)

  /// The file of a region; asked for when somebody first needs it.
  func open(_ header: RegionHeader) throws(Errno) -> RegionFile

  /// Whether the region is from before this process, so that nobody knows who has used it.
  func wasFound(_ name: RegionName) -> Bool

  /// Changes a region's size and its header. What the file holds stays, as far as it fits.
  ///
  /// - Parameter file: nil if nobody has needed it yet.
  func resize(_ file: RegionFile?, to header: RegionHeader) throws(Errno)

  /// Keeps owners and modes.
  ///
  /// - Parameter regions: all that there are. The last call is the newest.
  func keepAccess(of regions: [RegionConfiguration]) throws(Errno)

  /// The region is about to be gone.
  func remove(_ name: RegionName) throws(Errno)

  // MARK: Areas of managed regions

  /// An empty file, for the area that one open handle of a managed region may get.
  ///
  /// - Parameter isBacking: clients map it by way of the kernel (FUSE passthrough). Then the file is open
  ///   here for reading only, so that its writers can be told.
  func makeArea(isBacking: Bool) throws(Errno) -> RegionFile

  /// Writes a permission down, before its owner word is taken: should this process end, whoever has
  /// the files next brings the area back to its region and frees the word.
  ///
  /// - Returns: nil if nothing outlives the process.
  func record(_ record: PermissionRecord) throws(Errno) -> PermissionSlot?

  /// The area's file holds what the region has there, all of it: from now on the file is what counts.
  /// Called when it is filled, and before anybody is told of the permission. Until then nothing is
  /// brought back, as the file may be filled in part.
  func markFilled(_ slot: PermissionSlot) throws(Errno)

  /// Forgets a permission that left nothing: its area is back, and its word free. Nobody else may get
  /// a part of the area before that.
  ///
  /// The slot is not to be used again, also after an error. The permission is written down still
  /// then, which does no harm once the area's file is empty or gone.
  func forget(_ slot: PermissionSlot) throws(Errno)
}

/// Memory that lasts as long as somebody has it open or mapped. Nothing else is kept.
package final class MemoryFiles: RegionFiles {
  package init() {}

  package func add(_ regions: [RegionConfiguration], _ headers: [RegionHeader]) {}

  package func open(_ header: RegionHeader) throws(Errno) -> RegionFile {
    let memory = try SharedMemoryFile(
      name: "vsocfs:\(header.name)", size: Int(header.geometry.size))
    let file = RegionFile(memory.takeDescriptor(), kind: .memory)
    try file.initialize(header)
    return file
  }

  package func wasFound(_ name: RegionName) -> Bool { false }

  package func resize(_ file: RegionFile?, to header: RegionHeader) throws(Errno) {
    try file?.resize(to: header)
  }

  package func keepAccess(of regions: [RegionConfiguration]) {}

  package func remove(_ name: RegionName) {}

  package func makeArea(isBacking: Bool) throws(Errno) -> RegionFile {
    let memory = try SharedMemoryFile(name: "vsocfs:area", size: 0).takeDescriptor()
    guard isBacking else { return RegionFile(memory, kind: .memory) }
    return RegionFile(try memory.reopen(forWriting: false), kind: .memory, isReadOnly: true)
  }

  package func record(_ record: PermissionRecord) -> PermissionSlot? { nil }

  package func markFilled(_ slot: PermissionSlot) {}

  package func forget(_ slot: PermissionSlot) {}
}
