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
    guard try takesSize(descriptor, UInt64(geometry.size) - 1, reachesPages: true) else {
      throw .wouldBlock
    }
    let mapping = try SharedMapping(keeping: descriptor, size: Int(geometry.size))
    // What the engines touch under their locks is there before.
    try mapping.populate(Int(geometry.dataOffset))
    return mapping
  }

  func openArea(at place: UInt64, size: UInt32) throws(Errno) -> Descriptor? {
    guard place != AreaHandle.noPlace else { return nil }
    let descriptor = try own.open(.area(place))
    guard try takesSize(descriptor, UInt64(size) - 1, reachesPages: true) else {
      throw .wouldBlock
    }
    return descriptor
  }

  func announceSize(of area: borrowing Descriptor, reachesPages: Bool) throws(Errno) {
    _ = try own.status(area)
    guard try takesSize(area, 0, reachesPages: reachesPages) else { throw .resourceBusy }
  }

  /// The kernel does not go by the size that it is told while somebody changes the attributes of the file,
  /// or writes behind its end. So it is made to ask so many times: the gaps between such calls are found, and
  /// nobody waits for one that does not end.
  private static let attempts = 64

  /// Whether the kernel goes by a size that it has been told, as its pages show: whether there is one at
  /// `offset`.
  private func takesSize(
    _ file: borrowing Descriptor, _ offset: UInt64, reachesPages: Bool
  ) throws(Errno) -> Bool {
    for _ in 0..<Self.attempts {
      if try file.hasPage(at: offset) == reachesPages { return true }
      _ = try own.status(file)
    }
    return try file.hasPage(at: offset) == reachesPages
  }

  func synchronize(_ area: borrowing Descriptor) throws(Errno) { try own.synchronize(area) }

  func synchronize(_ region: UInt32) throws(Errno) {
    try own.synchronize(try own.open(.region(region)))
  }

  func isOpening(_ thread: Int32) -> Bool { own.isOpening(thread) }
}
