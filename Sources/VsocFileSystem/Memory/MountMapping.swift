// SPDX-License-Identifier: Apache-2.0

internal import CLinux
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
/// For that it opens `data` like one of them, but by a hidden name that only its own threads find:
/// such an open is no use of the region, and it must not wait for a worker (`Session`). A mapping
/// keeps the mount busy, hence there is one only while a client has a file of the region open.
final class MountMapping: PageCacheMapping {
  private let mountPoint: String
  /// The file system's number. Somebody may have unmounted it, or put something else in its place.
  private let device: Int32
  let keeper: (any DescriptorKeeper)?
  /// The threads that are opening such a file.
  private let openers = Lock<Set<Int32>>([])

  /// Of what has just been mounted there.
  init(mountPoint: String, keeper: any DescriptorKeeper) throws(Errno) {
    self.mountPoint = mountPoint
    self.keeper = keeper
    device = try check { unsafe vsocfs_mounted_device(mountPoint) }
  }

  var isForUseOnly: Bool { true }

  func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping {
    let descriptor = try open(.region(region))
    let mapping = try SharedMapping(descriptor: descriptor.raw, size: Int(geometry.size))
    // What the engines touch under their locks is there before.
    try mapping.populate(Int(geometry.dataOffset))
    return mapping
  }

  func openArea(at place: UInt64) throws(Errno) -> Descriptor? {
    place == AreaHandle.noPlace ? nil : try open(.area(place))
  }

  private func open(_ name: HiddenName) throws(Errno) -> Descriptor {
    let thread = vsocfs_thread_id()
    openers.withLock { _ = $0.insert(thread) }
    defer { openers.withLock { _ = $0.remove(thread) } }
    let path = "\(Node.factsName)/\(name)"
    return Descriptor(
      owning: try check { unsafe vsocfs_open_mounted(mountPoint, device, path) })
  }

  func isOpening(_ thread: Int32) -> Bool {
    openers.withLock { $0.contains(thread) }
  }

  /// A name that only the daemon finds.
  enum HiddenName: Hashable, CustomStringConvertible {
    /// A region's memory, by index.
    case region(UInt32)
    /// An area, by the node that its holder has open.
    case area(UInt64)

    private static let (regionPrefix, areaPrefix) = ("memory-", "area-")

    init?(_ name: String) {
      func number<Number: FixedWidthInteger>(_ prefix: String) -> Number? {
        name.hasPrefix(prefix) ? Number(name.dropFirst(prefix.count)) : nil
      }
      if let index: UInt32 = number(Self.regionPrefix) {
        self = .region(index)
      } else if let node: UInt64 = number(Self.areaPrefix) {
        self = .area(node)
      } else {
        return nil
      }
    }

    var description: String {
      switch self {
      case .region(let index): "\(Self.regionPrefix)\(index)"
      case .area(let node): "\(Self.areaPrefix)\(node)"
      }
    }
  }
}
