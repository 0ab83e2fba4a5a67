// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Synchronization
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
  private let isReported = Atomic(false)

  init(_ mapping: SharedMapping, _ geometry: RegionGeometry) {
    self.geometry = geometry
    self.mapping = mapping
    window = unsafe RegionWindow(base: mapping.base, size: geometry.size)
    signal = ShmSignal(window: window, geometry: geometry)
    guestToHost = SignalTable(window: window, geometry: geometry.guestToHost)
    hostToGuest = SignalTable(window: window, geometry: geometry.hostToGuest)
  }

  /// Whether a part of it could not be had, and nothing that it says is to be relied on.
  var isBroken: Bool { mapping.isBroken }

  /// True once, for whoever is to tell that it is broken.
  func beginReport() -> Bool {
    isBroken && !isReported.exchange(true, ordering: .relaxed)
  }

  /// To be called before it is let go: else that would wait, with the address space locked, for what
  /// was stored to be written back. What cannot be written back now is written, or lost, then.
  func synchronize() { try? mapping.writeBack() }

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

  /// Watches what is mapped there apart from the rest: it breaks by itself.
  func part(_ area: Permission) throws(Errno) -> MappedPart {
    try MappedPart(of: mapping, Int(area.beginOffset)..<Int(area.endOffset))
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
