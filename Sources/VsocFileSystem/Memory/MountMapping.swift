// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
internal import SystemPackage
package import VsocEngine
internal import VsocProtocol

/// How a daemon in page-cache mode maps regions: by opening files of its own mount.
package protocol PageCacheMapping: RegionMapping {
  /// Whether this thread of the daemon is opening such a file.
  func isOpening(_ thread: Int32) -> Bool
  /// Has a copy of every file whose pages the kernel asks for, if anybody does.
  var keeper: (any DescriptorKeeper)? { get }
}

extension PageCacheMapping {
  package var keeper: (any DescriptorKeeper)? { nil }
}

/// Maps regions through the mount itself, so that the daemon shares the page cache with its clients.
///
/// For that it opens `data` like one of them, but by a hidden name: such an open is no use of the region.
/// A mapping keeps the mount busy, hence there is one only while a client has a file of the region open.
final class MountMapping: PageCacheMapping {
  private let own: OwnAccess
  let keeper: (any DescriptorKeeper)?

  init(_ own: OwnAccess, keeper: any DescriptorKeeper) {
    self.own = own
    self.keeper = keeper
  }

  var isForUseOnly: Bool { true }

  func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping {
    let descriptor = try own.open(.region(region))
    let mapping = try SharedMapping(descriptor: descriptor.raw, size: Int(geometry.size))
    // What the engines touch under their locks is there before.
    try mapping.populate(Int(geometry.dataOffset))
    return mapping
  }

  func openArea(at place: UInt64) throws(Errno) -> Descriptor? {
    place == AreaHandle.noPlace ? nil : try own.open(.area(place))
  }

  func synchronize(_ area: borrowing Descriptor) throws(Errno) { try own.synchronize(area) }

  func synchronize(_ region: UInt32) throws(Errno) {
    try own.synchronize(try own.open(.region(region)))
  }

  func synchronize(_ mapping: SharedMapping) throws(Errno) { try own.synchronize(mapping) }

  func isOpening(_ thread: Int32) -> Bool { own.isOpening(thread) }
}
