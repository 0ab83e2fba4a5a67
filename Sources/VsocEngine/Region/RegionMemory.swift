// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
package import VsocProtocol

/// A region's memory as the daemon has it: the file that holds it, our mapping of it, and the two
/// engines in it. What kind of file that is, is known here and nowhere else.
package final class RegionMemory: Sendable {
  package let geometry: RegionGeometry
  package let window: RegionWindow
  package let signal: ShmSignal
  private let guestToHost: SignalTable
  private let hostToGuest: SignalTable
  private let file: SharedMemoryFile
  private let mapping: SharedMapping

  /// Makes the memory and writes its header.
  init(header: RegionHeader) throws(Errno) {
    geometry = header.geometry
    let size = Int(geometry.size)
    let file = try SharedMemoryFile(name: "vsocfs:\(header.name)", size: size)
    mapping = try SharedMapping(descriptor: file.descriptor.raw, size: size)
    self.file = file
    window = unsafe RegionWindow(base: mapping.base, size: geometry.size)
    signal = ShmSignal(window: window, geometry: geometry)
    guestToHost = SignalTable(window: window, geometry: geometry.guestToHost)
    hostToGuest = SignalTable(window: window, geometry: geometry.hostToGuest)
    header.write(to: window)
  }

  /// The file, for whoever registers it as a backing file or hands it on. Valid while this lives.
  package var descriptor: Int32 { file.descriptor.raw }

  /// Fixes the size for good.
  func seal() throws(Errno) {
    try file.sealSize()
  }

  /// The table in which `end` posts.
  func outgoing(of end: End) -> SignalTable {
    end == .guest ? guestToHost : hostToGuest
  }

  /// The table that `end` drains.
  func incoming(of end: End) -> SignalTable {
    outgoing(of: end.peer)
  }

  /// Takes over what the engines hold in `other`, as far as both have the same tables.
  func adoptEngines(of other: RegionMemory) {
    guard other.geometry.dataOffset == geometry.dataOffset else { return }
    let start = Int(RegionGeometry.pageSize)
    unsafe (window.base + start).copyMemory(
      from: other.window.base + start, byteCount: Int(geometry.dataOffset) - start)
  }
}
