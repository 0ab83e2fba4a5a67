// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
package import Synchronization
internal import SystemPackage
package import VsocProtocol

/// A region's memory between two inaccessible pages: an access beyond either end crashes the test
/// instead of passing unnoticed. Shared (a memfd), so that shared futexes work on it.
///
/// Never unmapped: windows and tables are pointers that do not keep it, and a test's threads may
/// have some of them for longer than the test lasts that gave up on them.
package struct TestRegion: Sendable {
  package let geometry: RegionGeometry
  package let window: RegionWindow

  package init(
    _ geometry: RegionGeometry, named name: RegionName = RegionName("test")!
  ) throws {
    let file = try SharedMemoryFile(name: "vsocfs-test", size: Int(geometry.size))
    try SharedMemoryFile.sealSize(of: file.descriptor.raw)
    let guardSize = Int(RegionGeometry.pageSize)
    let reserved = Int(geometry.size) + 2 * guardSize
    let reservation = unsafe mmap(
      nil, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let reservation = unsafe reservation, unsafe reservation != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    let base = unsafe mmap(
      reservation + guardSize, Int(geometry.size), PROT_READ | PROT_WRITE,
      MAP_SHARED | MAP_FIXED, file.descriptor.raw, 0)
    guard let base = unsafe base, unsafe base != MAP_FAILED else { throw Errno(rawValue: errno) }
    self.geometry = geometry
    unsafe window = RegionWindow(base: base, size: geometry.size)
    RegionHeader(name: name, geometry: geometry).write(to: window)
  }

  /// A region of the smallest size that the tables leave a page of data.
  package init(slotsLg2: UInt32 = RegionGeometry.defaultNodesLg2) throws {
    try self.init(
      RegionGeometry(
        size: 12288, guestToHostNodesLg2: slotsLg2, hostToGuestNodesLg2: slotsLg2))
  }

  package var guestToHost: SignalTable {
    SignalTable(window: window, geometry: geometry.guestToHost)
  }

  package var signal: ShmSignal { ShmSignal(window: window, geometry: geometry) }

  /// A word of the region, for tests that choose the memory ordering themselves; the crash pages
  /// see to it that it is inside.
  package func atomic(at offset: UInt32) -> UnsafePointer<Atomic<UInt32>> {
    unsafe UnsafePointer(
      (window.base + Int(offset)).assumingMemoryBound(to: Atomic<UInt32>.self))
  }

  /// The bytes of the region in `range`, copied.
  package func bytes(_ range: Range<Int>) -> [UInt8] {
    precondition(range.lowerBound >= 0 && range.upperBound <= Int(window.size))
    return unsafe Array(
      UnsafeRawBufferPointer(start: window.base + range.lowerBound, count: range.count))
  }
}
