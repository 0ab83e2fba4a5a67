// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem

/// Who claimed an area, as it was then.
package struct Claimant: Hashable, Sendable {
  package var process: Int32
  /// What runs there.
  package var name: String

  package init(process: Int32, name: String) {
    self.process = process
    self.name = name
  }
}

/// A live permission, with what is to be undone at its end.
final class Holding: @unchecked Sendable {
  let permission: Permission
  let claimant: Claimant
  let manager: Region
  /// Where the area is for as long as it is held.
  let file: RegionFile
  let slot: PermissionSlot?
  /// The area as clients reach it, where that is not `file`: written by whoever claims or ends.
  var way: Descriptor?
  /// Whether the handle is closed, and only a mapping keeps the permission. Guarded by the region's
  /// `permissions`, as is the next.
  var isLingering = false
  /// Whether somebody is about to give it, or to end it: nobody else may.
  var isEnding = true

  /// Whether the caller is to end it. Under the lock of `permissions`.
  func claimEnd() -> Bool {
    defer { isEnding = true }
    return !isEnding
  }

  init(
    _ permission: Permission, _ claimant: Claimant, manager: Region, file: RegionFile,
    slot: PermissionSlot?
  ) {
    self.permission = permission
    self.claimant = claimant
    self.manager = manager
    self.file = file
    self.slot = slot
  }
}

/// The live permissions of a region: no two of them overlap.
struct PermissionTable {
  /// By `beginOffset`.
  private(set) var holdings: [Holding] = []
  /// Those without a handle, of which there are few.
  var lingering: [Holding] { lingeringCount == 0 ? [] : holdings.filter(\.isLingering) }
  private var lingeringCount = 0
  /// Whether nothing can be claimed any more.
  var isClosed = false

  /// The index of the first one that begins at `offset` or behind it.
  private func index(of offset: UInt32) -> Int {
    var (low, high) = (0, holdings.count)
    while low < high {
      let middle = (low + high) / 2
      if holdings[middle].permission.beginOffset < offset {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low
  }

  func isFree(_ permission: Permission) -> Bool {
    let next = index(of: permission.beginOffset)
    if next < holdings.count,
      holdings[next].permission.beginOffset < permission.endOffset
    {
      return false
    }
    return next == 0 || holdings[next - 1].permission.endOffset <= permission.beginOffset
  }

  /// The area must be free.
  mutating func insert(_ holding: Holding) {
    holdings.insert(holding, at: index(of: holding.permission.beginOffset))
  }

  mutating func remove(_ holding: Holding) {
    holdings.remove(at: index(of: holding.permission.beginOffset))
    if holding.isLingering { lingeringCount -= 1 }
  }

  mutating func linger(_ holding: Holding) {
    holding.isLingering = true
    lingeringCount += 1
  }
}

/// A live permission as it is shown.
package struct LivePermission: Hashable, Sendable {
  package let permission: Permission
  package let claimant: Claimant
  /// Whether the handle that asks has it.
  package let isOwn: Bool
}

extension Region {
  package var permissionCount: Int { permissions.withLock { $0.holdings.count } }

  /// The live permissions by place.
  package func livePermissions(seenBy handle: AreaHandle?) -> [LivePermission] {
    permissions.withLock { table in
      table.holdings.map { holding in
        LivePermission(
          permission: holding.permission, claimant: holding.claimant,
          isOwn: handle.map { holding.file === $0.file } ?? false)
      }
    }
  }
}
