// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
package import VsocProtocol

/// A region's memory as the daemon has it: a mapping of it, and the two engines in it.
package final class RegionMemory: Sendable {
  package let geometry: RegionGeometry
  package let window: RegionWindow
  package let signal: ShmSignal
  private let guestToHost: SignalTable
  private let hostToGuest: SignalTable
  private let mapping: SharedMapping

  init(_ mapping: SharedMapping, _ geometry: RegionGeometry) {
    self.geometry = geometry
    self.mapping = mapping
    window = unsafe RegionWindow(base: mapping.base, size: geometry.size)
    signal = ShmSignal(window: window, geometry: geometry)
    guestToHost = SignalTable(window: window, geometry: geometry.guestToHost)
    hostToGuest = SignalTable(window: window, geometry: geometry.hostToGuest)
  }

  /// To be called before it is let go.
  func synchronize(by way: any RegionMapping) { try? way.synchronize(mapping) }

  /// Shows another file in place of an area: the one that its holder has, or the region's own again.
  ///
  /// - Parameter offset: where the area begins in that file.
  func map(
    _ descriptor: borrowing Descriptor, at offset: UInt32, over area: Permission, isWritable: Bool
  ) throws(Errno) {
    try mapping.map(
      descriptor, at: Int(offset), over: Int(area.beginOffset)..<Int(area.endOffset),
      isWritable: isWritable)
  }

  /// The table in which `end` posts.
  func outgoing(of end: End) -> SignalTable {
    end == .guest ? guestToHost : hostToGuest
  }

  /// The table that `end` drains.
  func incoming(of end: End) -> SignalTable {
    outgoing(of: end.peer)
  }
}
