// SPDX-License-Identifier: Apache-2.0

import CVsocABI
import TestSupport
import Testing
import VsocProtocol

@Suite struct RegionHeaderTests {
  private func littleEndian(_ values: [UInt32]) -> [UInt8] {
    values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
  }

  /// Field by field as the specification has it, written out by hand.
  @Test func `The header is the specified one byte by byte`() throws {
    let geometry = try RegionGeometry(
      size: 1 << 20, guestToHostNodesLg2: 4, hostToGuestNodesLg2: 10)
    let region = try TestRegion(geometry)
    let header = RegionHeader(
      name: try #require(RegionName("input")), geometry: geometry, currentVersion: 0x0102,
      minCompatibleVersion: 0x0304, managedBy: 0x0506_0708)
    header.write(to: region.window)

    let descriptor: [UInt8] =
      [0x02, 0x01, 0x04, 0x03]
      + littleEndian([
        0, 1 << 20, 12288,
        4, geometry.guestToHost.tableOffset, geometry.guestToHost.wordOffset,
        10, geometry.hostToGuest.tableOffset, geometry.hostToGuest.wordOffset,
      ])
      + Array("input".utf8) + [UInt8](repeating: 0, count: 11)
      + [0x08, 0x07, 0x06, 0x05]
    #expect(descriptor.count == 60)
    #expect(header.descriptor == descriptor)
    #expect(
      region.bytes(0..<76) == [2, 0, 0, 0] + littleEndian([1 << 20, 1, 16]) + descriptor)
    #expect(region.bytes(76..<4096).allSatisfy { $0 == 0 })

    let signal = Int(geometry.shmSignalOffset)
    #expect(
      region.bytes(signal..<signal + 16)
        == [0xdf, 0x39, 0xfa, 0x58, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0])
    #expect(region.bytes(4096..<signal).allSatisfy { $0 == 0 })
    #expect(region.bytes(signal + 16..<1 << 20).allSatisfy { $0 == 0 })
  }

  @Test func `A name of 15 bytes leaves its NUL`() throws {
    let geometry = try RegionGeometry(size: 12288)
    let name = try #require(RegionName("123456789012345"))
    let descriptor = RegionHeader(name: name, geometry: geometry).descriptor
    #expect(Array(descriptor[40..<56]) == Array("123456789012345".utf8) + [0])
  }

  @Test func `The C structures have the offsets of the specification`() {
    typealias Region = vsoc_device_region
    #expect(MemoryLayout<Region>.size == 60)
    #expect(MemoryLayout<Region>.offset(of: \.current_version) == 0)
    #expect(MemoryLayout<Region>.offset(of: \.min_compatible_version) == 2)
    #expect(MemoryLayout<Region>.offset(of: \.region_begin_offset) == 4)
    #expect(MemoryLayout<Region>.offset(of: \.region_end_offset) == 8)
    #expect(MemoryLayout<Region>.offset(of: \.offset_of_region_data) == 12)
    #expect(MemoryLayout<Region>.offset(of: \.guest_to_host_signal_table) == 16)
    #expect(MemoryLayout<Region>.offset(of: \.host_to_guest_signal_table) == 28)
    #expect(MemoryLayout<Region>.offset(of: \.device_name) == 40)
    #expect(MemoryLayout<Region>.offset(of: \.managed_by) == 56)

    typealias Table = vsoc_signal_table_layout
    #expect(MemoryLayout<Table>.size == 12)
    #expect(MemoryLayout<Table>.offset(of: \.num_nodes_lg2) == 0)
    #expect(MemoryLayout<Table>.offset(of: \.futex_uaddr_table_offset) == 4)
    #expect(MemoryLayout<Table>.offset(of: \.interrupt_signalled_offset) == 8)

    typealias Layout = vsoc_shm_layout_descriptor
    #expect(MemoryLayout<Layout>.size == 16)
    #expect(MemoryLayout<Layout>.offset(of: \.major_version) == 0)
    #expect(MemoryLayout<Layout>.offset(of: \.minor_version) == 2)
    #expect(MemoryLayout<Layout>.offset(of: \.size) == 4)
    #expect(MemoryLayout<Layout>.offset(of: \.region_count) == 8)
    #expect(MemoryLayout<Layout>.offset(of: \.vsoc_region_desc_offset) == 12)

    #expect(MemoryLayout<shm_signal_desc>.size == 16)
    #expect(MemoryLayout<shm_signal_desc>.offset(of: \.magic) == 0)
    #expect(MemoryLayout<shm_signal_desc>.offset(of: \.ver) == 4)
    #expect(MemoryLayout<shm_signal_desc>.offset(of: \.irq) == 8)
    #expect(MemoryLayout<shm_signal_irq>.stride == 3)
    #expect(MemoryLayout<shm_signal_irq>.offset(of: \.enabled) == 0)
    #expect(MemoryLayout<shm_signal_irq>.offset(of: \.pending) == 1)
    #expect(MemoryLayout<shm_signal_irq>.offset(of: \.dirty) == 2)
    #expect(ShmSignal.magic == UInt32(SHM_SIGNAL_MAGIC))
    #expect(ShmSignal.version == UInt32(SHM_SIGNAL_VER))

    typealias Wait = vsoc_cond_wait
    #expect(MemoryLayout<Wait>.size == 32)
    #expect(MemoryLayout<Wait>.offset(of: \.offset) == 0)
    #expect(MemoryLayout<Wait>.offset(of: \.value) == 4)
    #expect(MemoryLayout<Wait>.offset(of: \.wake_time_sec) == 8)
    #expect(MemoryLayout<Wait>.offset(of: \.wake_time_nsec) == 16)
    #expect(MemoryLayout<Wait>.offset(of: \.wait_type) == 20)
    #expect(MemoryLayout<Wait>.offset(of: \.wakes) == 24)
    #expect(MemoryLayout<Wait>.offset(of: \.reserved_1) == 28)
  }

  /// The numbers that programs compiled against the original header carry.
  @Test func `The ioctl numbers are those of the original`() {
    #expect(VSOC_NR_CREATE_FD_SCOPED_PERMISSION.rawValue == 0x4010_f500)
    #expect(VSOC_NR_GET_FD_SCOPED_PERMISSION.rawValue == 0x8010_f501)
    #expect(VSOC_NR_MAYBE_SEND_INTERRUPT.rawValue == 0xf502)
    #expect(VSOC_NR_WAIT_FOR_INCOMING_INTERRUPT.rawValue == 0xf503)
    #expect(VSOC_NR_DESCRIBE_REGION.rawValue == 0x803c_f504)
    #expect(VSOC_NR_SELF_INTERRUPT.rawValue == 0xf505)
    #expect(VSOC_NR_SEND_INTERRUPT.rawValue == 0xf506)
    #expect(VSOC_NR_COND_WAIT.rawValue == 0xc020_f507)
    #expect(VSOC_NR_COND_WAKE.rawValue == 0xf508)
    #expect(VSOCFS_NR_REGION_INFO.rawValue == 0x8020_f540)
    #expect(VSOCFS_NR_POST.rawValue == 0xf543)
    #expect(VSOCFS_NR_DRAIN.rawValue == 0x8100_f544)
    #expect(VSOCFS_NR_SIGNAL_INJECT.rawValue == 0xf545)
    #expect(VSOCFS_NR_SIGNAL_ENABLE.rawValue == 0xf546)
    #expect(VSOCFS_NR_SIGNAL_DISABLE.rawValue == 0xf547)
  }
}
