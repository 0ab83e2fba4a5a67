// SPDX-License-Identifier: Apache-2.0

internal import CVsocABI

/// What a region's header says of it, for those who read the memory (SPEC §3).
public struct RegionHeader: Hashable, Sendable {
  public var name: RegionName
  public var geometry: RegionGeometry
  public var currentVersion: UInt16
  public var minCompatibleVersion: UInt16
  /// The index of the managing region, 0 for none.
  public var managedBy: UInt32

  public init(
    name: RegionName, geometry: RegionGeometry, currentVersion: UInt16 = 0,
    minCompatibleVersion: UInt16 = 0, managedBy: UInt32 = 0
  ) {
    self.name = name
    self.geometry = geometry
    self.currentVersion = currentVersion
    self.minCompatibleVersion = minCompatibleVersion
    self.managedBy = managedBy
  }

  /// The bytes of the region's `vsoc_device_region` (60).
  public var descriptor: [UInt8] {
    var region = vsoc_device_region()
    region.current_version = currentVersion
    region.min_compatible_version = minCompatibleVersion
    region.region_begin_offset = 0
    region.region_end_offset = geometry.size
    region.offset_of_region_data = geometry.dataOffset
    region.guest_to_host_signal_table = Self.layout(geometry.guestToHost)
    region.host_to_guest_signal_table = Self.layout(geometry.hostToGuest)
    region.managed_by = managedBy
    unsafe withUnsafeMutableBytes(of: &region.device_name) { field in
      unsafe field.copyBytes(from: name.description.utf8)
    }
    return unsafe withUnsafeBytes(of: region) { unsafe Array($0) }
  }

  /// What stands at offset 0: the layout descriptor and the region's description after it (76).
  public var layoutBytes: [UInt8] {
    var layout = vsoc_shm_layout_descriptor()
    layout.major_version = UInt16(VSOC_LAYOUT_MAJOR_VERSION)
    layout.minor_version = UInt16(VSOC_LAYOUT_MINOR_VERSION)
    layout.size = geometry.size
    layout.region_count = 1
    layout.vsoc_region_desc_offset = UInt32(MemoryLayout<vsoc_shm_layout_descriptor>.size)
    return unsafe withUnsafeBytes(of: layout) { unsafe Array($0) } + descriptor
  }

  /// The initial `shm_signal_desc`, both ends enabled (16).
  public var signalBytes: [UInt8] {
    let irq = shm_signal_irq(enabled: 1, pending: 0, dirty: 0)
    let signal = shm_signal_desc(
      magic: ShmSignal.magic, ver: ShmSignal.version, irq: (irq, irq))
    return unsafe withUnsafeBytes(of: signal) { unsafe Array($0) }
  }

  /// Writes the header and the signal descriptor into fresh (zero) memory.
  public func write(to window: RegionWindow) {
    precondition(window.contains(0, bytes: UInt64(geometry.size)), "a window of another geometry")
    for (offset, bytes) in [(0, layoutBytes), (Int(geometry.shmSignalOffset), signalBytes)] {
      unsafe bytes.withUnsafeBytes { bytes in
        unsafe (window.base + offset).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
      }
    }
  }

  private static func layout(_ table: TableGeometry) -> vsoc_signal_table_layout {
    vsoc_signal_table_layout(
      num_nodes_lg2: table.nodesLg2, futex_uaddr_table_offset: table.tableOffset,
      interrupt_signalled_offset: table.wordOffset)
  }
}
