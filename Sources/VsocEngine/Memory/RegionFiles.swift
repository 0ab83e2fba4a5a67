// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// Where the files of regions come from.
///
/// Called from any thread, also with locks held: a call may wait for a disk, never for a request.
package protocol RegionFiles: AnyObject, Sendable {
  /// Whether the file of a region is made together with the region, so that it is there as long as
  /// the region is; otherwise it is made when somebody first needs it.
  var areMadeAtOnce: Bool { get }

  /// The file of a region: one that is there already, or a new one with its header.
  func file(for header: RegionHeader) throws(Errno) -> RegionFile

  /// A new file with this header, which takes the place of the one that the region has.
  func replacement(for header: RegionHeader) throws(Errno) -> RegionFile

  /// What regions there are has changed, or what is said of them; to be kept with the files.
  ///
  /// - Parameter layout: all regions in the order of their indices.
  func layoutChanged(_ layout: [RegionConfiguration]) throws(Errno)

  /// The region is gone for good.
  func remove(_ name: RegionName)
}

/// Memory that lasts as long as somebody has it open or mapped.
package final class MemoryFiles: RegionFiles {
  package init() {}

  package var areMadeAtOnce: Bool { false }

  package func file(for header: RegionHeader) throws(Errno) -> RegionFile {
    let memory = try SharedMemoryFile(
      name: "vsocfs:\(header.name)", size: Int(header.geometry.size))
    let file = RegionFile(memory.takeDescriptor(), kind: .memory)
    try file.initialize(header)
    return file
  }

  package func replacement(for header: RegionHeader) throws(Errno) -> RegionFile {
    try file(for: header)
  }

  package func layoutChanged(_ layout: [RegionConfiguration]) {}

  package func remove(_ name: RegionName) {}
}
