// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
internal import Synchronization
package import SystemPackage
package import VsocProtocol

/// How this process reaches the memory of a region.
package protocol RegionMapping: Sendable {
  /// Whether a mapping keeps something else from being let go, so that there is one only while the
  /// region is in use.
  var isForUseOnly: Bool { get }

  /// Maps the whole region. May wait for requests of the file system, where `isForUseOnly`: then no
  /// lock may be held.
  func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping

  /// Opens an area the way in which clients reach it, who reach `size` bytes from then on; nil where that
  /// is its file. May wait, as `map`.
  ///
  /// - Parameter place: what the handle was opened with (`AreaHandle.place`).
  /// - Throws: EAGAIN: the kernel does not take the size now, as somebody keeps it from that.
  func openArea(at place: UInt64, size: UInt32) throws(Errno) -> Descriptor?

  /// Has the kernel take the size of such an area again, of which the file system tells a new one.
  ///
  /// - Parameter reachesPages: whether there is anything in it now.
  /// - Throws: EBUSY: somebody keeps it from that.
  func announceSize(of area: borrowing Descriptor, reachesPages: Bool) throws(Errno)

  /// Waits until everything that was stored by such a descriptor, or by a mapping, is in the file.
  func synchronize(_ area: borrowing Descriptor) throws(Errno)

  /// The same for a region's memory.
  func synchronize(_ region: UInt32) throws(Errno)
}

extension RegionMapping {
  package func openArea(at place: UInt64, size: UInt32) throws(Errno) -> Descriptor? { nil }
  package func announceSize(of area: borrowing Descriptor, reachesPages: Bool) throws(Errno) {}
  package func synchronize(_ area: borrowing Descriptor) throws(Errno) {}
  package func synchronize(_ region: UInt32) throws(Errno) {}
}

/// The file itself is the memory, for everybody who maps it.
package struct DirectMapping: RegionMapping {
  package init() {}

  package var isForUseOnly: Bool { false }

  package func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping {
    try SharedMapping(descriptor: file.descriptor.raw, size: Int(geometry.size))
  }
}

/// Where the memory of a mount's regions lives: their files, and the way to map them. The one place
/// in which the modes of SPEC §8 differ for the engine.
package final class RegionStorage: Sendable {
  let files: any RegionFiles
  /// Held while a region is mapped for use, and while such a mapping is undone: of any number of users
  /// that want one, one makes it. Whoever else wants it then waits here, and not for the address space,
  /// which the kernel locks while it waits for pages. Taken before all locks of regions.
  let mappingTurn = Lock(())
  private let current: Lock<any RegionMapping>
  private let closed = Atomic(false)

  package init(
    files: any RegionFiles = MemoryFiles(), mapping: any RegionMapping = DirectMapping()
  ) {
    self.files = files
    current = Lock(mapping)
  }

  /// Which it is to be is known once the mount is there; to be set before any region is used.
  package var mapping: any RegionMapping {
    get { current.withLock { $0 } }
    set { current.withLock { $0 = newValue } }
  }

  /// Whether nothing is to be mapped for use any more.
  var isClosed: Bool { closed.load(ordering: .acquiring) }

  func close() { closed.store(true, ordering: .releasing) }
}
