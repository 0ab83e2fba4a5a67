// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing
import VsocProtocol

@Suite struct RegionGeometryTests {
  /// Everything of a geometry that occupies bytes, as ranges.
  private func occupied(_ geometry: RegionGeometry) -> [Range<UInt64>] {
    func range(_ offset: UInt32, _ count: Int) -> Range<UInt64> {
      UInt64(offset)..<UInt64(offset) + UInt64(count)
    }
    var ranges = [0..<UInt64(76)]
    for table in [geometry.guestToHost, geometry.hostToGuest] {
      ranges.append(range(table.tableOffset, 4 * table.slotCount))
      ranges.append(range(table.wordOffset, 4))
    }
    ranges.append(range(geometry.shmSignalOffset, 16))
    ranges.append(UInt64(geometry.dataOffset)..<UInt64(geometry.size))
    return ranges.sorted { $0.lowerBound < $1.lowerBound }
  }

  @Test func `The defaults put the tables at 4096 and the data at 8192`() throws {
    let geometry = try RegionGeometry(size: 1 << 20)
    #expect(geometry.size == 1 << 20)
    #expect(geometry.guestToHost.nodesLg2 == 6)
    #expect(geometry.guestToHost.slotCount == 64)
    #expect(geometry.guestToHost.tableOffset == 4096)
    #expect(geometry.dataOffset == 8192)
    #expect(geometry.outgoing(of: .guest) == geometry.guestToHost)
    #expect(geometry.outgoing(of: .host) == geometry.hostToGuest)
    #expect(End.guest.peer == .host && End.host.peer == .guest)
  }

  @Test(
    arguments: [
      (12288, 0, 0), (12288, 6, 6), (1 << 20, 0, 10), (1 << 20, 10, 4), (1 << 32 - 4096, 28, 28),
      (1 << 32 - 4096, 29, 20), (1 << 32 - 4096, 0, 29),
    ] as [(UInt64, UInt32, UInt32)])
  func `Nothing overlaps, words are aligned and all is inside`(
    size: UInt64, guestToHost: UInt32, hostToGuest: UInt32
  ) throws {
    let geometry = try RegionGeometry(
      size: size, guestToHostNodesLg2: guestToHost, hostToGuestNodesLg2: hostToGuest)
    let ranges = occupied(geometry)
    for (left, right) in zip(ranges, ranges.dropFirst()) {
      #expect(left.upperBound <= right.lowerBound)
    }
    #expect(ranges.last!.upperBound == size)
    #expect(ranges.allSatisfy { $0.lowerBound % 4 == 0 })
    #expect(geometry.dataOffset % 4096 == 0)
    // The control area begins in a page of its own: the header's page can be read-only to peers.
    #expect(ranges[1].lowerBound == 4096)
  }

  @Test func `The words, the descriptor and the tables do not share cache lines`() throws {
    let geometry = try RegionGeometry(
      size: 12288, guestToHostNodesLg2: 0, hostToGuestNodesLg2: 0)
    let lines = occupied(geometry).dropFirst().map { $0.lowerBound / 64 }
    #expect(Set(lines).count == lines.count)
  }

  @Test func `Sizes that are not whole pages are refused`() {
    for size: UInt64 in [1, 4095, 4097, 12289, 1 << 20 + 4, .max] {
      #expect(throws: GeometryError.sizeNotWholePages) { try RegionGeometry(size: size) }
    }
  }

  @Test func `The largest region is 4 GiB less one page`() throws {
    let largest: UInt64 = 1 << 32 - 4096
    #expect(UInt64(RegionGeometry.maximumSize) == largest)
    #expect(try RegionGeometry(size: largest).size == UInt32(largest))
    for size: UInt64 in [1 << 32, 1 << 32 + 4096, 1 << 40, .max - 4095] {
      #expect(throws: GeometryError.sizeTooLarge) { try RegionGeometry(size: size) }
    }
  }

  @Test func `There must be room for the header, the tables and a page of data`() throws {
    for size: UInt64 in [0, 4096, 8192] {
      #expect(throws: GeometryError.tablesDoNotFit) { try RegionGeometry(size: size) }
    }
    #expect(try RegionGeometry(size: 12288).dataOffset == 8192)
    // 1024 slots are a page: with the words the control area takes three.
    #expect(throws: GeometryError.tablesDoNotFit) {
      try RegionGeometry(size: 16384, guestToHostNodesLg2: 10, hostToGuestNodesLg2: 10)
    }
    let geometry = try RegionGeometry(
      size: 20480, guestToHostNodesLg2: 10, hostToGuestNodesLg2: 10)
    #expect(geometry.dataOffset == 16384)
  }

  @Test(arguments: [28, 29, 30, 31, 32, 33, 62, 63, 64, 1 << 31, .max] as [UInt32])
  func `Table sizes whose sums overflow 32 or 64 bits are refused`(nodesLg2: UInt32) {
    let size = UInt64(RegionGeometry.maximumSize)
    for (left, right) in [(nodesLg2, nodesLg2), (nodesLg2, 29), (29, nodesLg2)]
    where min(left, right) > 28 {
      #expect(throws: GeometryError.tablesDoNotFit) {
        try RegionGeometry(
          size: size, guestToHostNodesLg2: left, hostToGuestNodesLg2: right)
      }
    }
    guard nodesLg2 > 29 else { return }
    for (left, right) in [(nodesLg2, 0), (0, nodesLg2)] {
      #expect(throws: GeometryError.tablesDoNotFit) {
        try RegionGeometry(
          size: size, guestToHostNodesLg2: left, hostToGuestNodesLg2: right)
      }
    }
  }
}

@Suite struct RegionWindowTests {
  @Test func `A word is accepted only if it is aligned and whole inside the region`() throws {
    let region = try TestRegion()
    let window = region.window
    let size = window.size
    for offset in [0, 4, 4096, size - 4] {
      #expect(throws: Never.self) { try window.check(offset) }
    }
    for offset in [1, 2, 3, 5, size - 3, size + 1, .max] {
      #expect(throws: OffsetError.misaligned) { try window.check(offset) }
    }
    for offset in [size, size + 4, 1 << 31, UInt32.max - 3] {
      #expect(throws: OffsetError.outOfRange) { try window.check(offset) }
      #expect(throws: OffsetError.outOfRange) { _ = try window.word(at: offset) }
    }
  }

  @Test func `In the largest region offset plus four does not wrap`() throws {
    let region = try TestRegion(RegionGeometry(size: UInt64(RegionGeometry.maximumSize)))
    let last = RegionGeometry.maximumSize - 4
    let word = try region.window.word(at: last)
    #expect(word.load() == 0)
    for offset in [last + 4, UInt32.max - 3] {
      #expect(throws: OffsetError.outOfRange) { try region.window.check(offset) }
    }
  }
}
