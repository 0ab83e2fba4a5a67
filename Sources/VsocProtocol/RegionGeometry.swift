// SPDX-License-Identifier: Apache-2.0

/// Where one direction's signal table stands in a region (`vsoc_signal_table_layout`).
public struct TableGeometry: Hashable, Sendable {
  /// The binary logarithm of the number of slots.
  public let nodesLg2: UInt32
  /// The first slot's offset in the region, in bytes.
  public let tableOffset: UInt32
  /// The offset of the direction's `interrupt_signalled` word, in bytes.
  public let wordOffset: UInt32

  public var slotCount: Int { 1 << Int(nodesLg2) }
}

/// The places of everything that a region's memory holds, computed once from its size and the
/// sizes of its tables; never read back from the memory (SPEC §3).
public struct RegionGeometry: Hashable, Sendable {
  /// The unit of a region's size and of its data's alignment, in bytes.
  public static let pageSize: UInt32 = 4096
  /// Offsets are 32 bits wide, so that the largest region is 4 GiB less one page.
  public static let maximumSize: UInt32 = .max - (pageSize - 1)
  public static let defaultNodesLg2: UInt32 = 6
  /// Where the tables begin.
  static let controlOffset: UInt32 = 4096
  /// The words and the signal descriptor each get a cache line, as the two ends write them.
  private static let lineSize: UInt64 = 64

  /// Bytes of the region.
  public let size: UInt32
  public let guestToHost: TableGeometry
  public let hostToGuest: TableGeometry
  /// The offset of the `shm_signal_desc`.
  public let shmSignalOffset: UInt32
  /// The first byte of user data.
  public let dataOffset: UInt32

  /// Lays a region out.
  ///
  /// - Parameters:
  ///   - size: bytes; whole pages, and room for the tables and a page of data.
  ///   - guestToHostNodesLg2: the table in which the guest end posts has `1 << this` slots.
  ///   - hostToGuestNodesLg2: the same for the host end.
  public init(
    size: UInt64, guestToHostNodesLg2: UInt32 = defaultNodesLg2,
    hostToGuestNodesLg2: UInt32 = defaultNodesLg2
  ) throws(GeometryError) {
    guard size % UInt64(Self.pageSize) == 0 else { throw .sizeNotWholePages }
    guard size <= UInt64(Self.maximumSize) else { throw .sizeTooLarge }
    // 1 << 29 slots fill 2 GiB: larger tables cannot fit, and the sums below cannot overflow.
    guard guestToHostNodesLg2 < 30, hostToGuestNodesLg2 < 30 else { throw .tablesDoNotFit }

    var next = UInt64(Self.controlOffset)
    func place(_ length: UInt64) -> UInt32 {
      let offset = next
      next += (length + Self.lineSize - 1) / Self.lineSize * Self.lineSize
      return UInt32(truncatingIfNeeded: offset)
    }
    let tables = (
      place(4 << UInt64(guestToHostNodesLg2)), place(4 << UInt64(hostToGuestNodesLg2))
    )
    let words = (place(4), place(4))
    let signal = place(16)
    let page = UInt64(Self.pageSize)
    let data = (next + page - 1) / page * page
    guard data + page <= size else { throw .tablesDoNotFit }

    self.size = UInt32(size)
    guestToHost = TableGeometry(
      nodesLg2: guestToHostNodesLg2, tableOffset: tables.0, wordOffset: words.0)
    hostToGuest = TableGeometry(
      nodesLg2: hostToGuestNodesLg2, tableOffset: tables.1, wordOffset: words.1)
    shmSignalOffset = signal
    dataOffset = UInt32(data)
  }

  /// Where the offsets that `end` sends are posted.
  public func outgoing(of end: End) -> TableGeometry {
    end == .guest ? guestToHost : hostToGuest
  }
}

/// Why a region cannot be laid out.
public enum GeometryError: Error, Hashable, Sendable {
  case sizeNotWholePages
  case sizeTooLarge
  case tablesDoNotFit
}

/// A region joins two ends; each sees the same memory (SPEC §1).
public enum End: UInt32, Hashable, Sendable, CaseIterable {
  /// The region's own directory; north in shm_signal's terms.
  case guest = 0
  /// Its `peer/` directory; south.
  case host = 1

  public var peer: End { self == .guest ? .host : .guest }
}
