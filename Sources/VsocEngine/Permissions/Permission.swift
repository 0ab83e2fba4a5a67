// SPDX-License-Identifier: Apache-2.0

package import SystemPackage
package import VsocProtocol

/// What a handle of a managed region may reach, and the word that says so (`fd_scoped_permission`,
/// SPEC §7).
package struct Permission: Hashable, Sendable {
  /// The area in the managed region: whole pages, the end not included.
  package var beginOffset: UInt32
  package var endOffset: UInt32
  /// A word of the managing region, which holds `ownedValue` as long as the permission lives.
  package var ownerOffset: UInt32
  package var ownedValue: UInt32

  /// `VSOC_REGION_FREE`: what an owner word holds while nobody has its area.
  package static let free: UInt32 = 0

  package init(
    beginOffset: UInt32, endOffset: UInt32, ownerOffset: UInt32, ownedValue: UInt32
  ) {
    self.beginOffset = beginOffset
    self.endOffset = endOffset
    self.ownerOffset = ownerOffset
    self.ownedValue = ownedValue
  }

  /// Bytes of the area.
  package var size: UInt32 { endOffset - beginOffset }

  /// Refuses what cannot be claimed, by the first rule of SPEC §7 that it breaks.
  ///
  /// - Throws: EINVAL, ERANGE.
  package func check(in managed: RegionGeometry, by manager: RegionGeometry) throws(Errno) {
    guard beginOffset < endOffset else { throw .invalidArgument }
    guard endOffset <= managed.size, beginOffset >= managed.dataOffset else {
      throw .outOfRange
    }
    guard beginOffset % RegionGeometry.pageSize == 0, endOffset % RegionGeometry.pageSize == 0
    else { throw .invalidArgument }
    guard ownerOffset % 4 == 0 else { throw .invalidArgument }
    // The offset is a multiple of 4, as is the size: such a word does not cross the end.
    guard ownerOffset >= manager.dataOffset, ownerOffset < manager.size else {
      throw .outOfRange
    }
    guard ownedValue != Self.free else { throw .invalidArgument }
  }
}

/// A permission as it is written down for the time after this process: what is left of it then is an
/// owner word that is held, and an area that is in a file of its own.
package struct PermissionRecord: Hashable, Sendable {
  package var region: RegionName
  package var manager: RegionName
  package var permission: Permission
  /// The number of the area's file (`RegionFile.number`).
  package var area: UInt64

  package init(
    region: RegionName, manager: RegionName, permission: Permission, area: UInt64
  ) {
    self.region = region
    self.manager = manager
    self.permission = permission
    self.area = area
  }
}

/// Where a permission was written down.
package struct PermissionSlot: Hashable, Sendable {
  package let number: Int

  package init(number: Int) { self.number = number }
}
