// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage

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
  /// The area as it is shown in this process's mapping of the region: its holder can break it. Written by
  /// whoever claims, before the holding is anybody's.
  var view: MappedPart?
  /// Whether it was told that this is broken. Guarded by the region's `permissions`.
  var isReported = false
  /// Whether the handle is closed, and only a mapping keeps the permission. Written by the table, as is
  /// the next.
  fileprivate(set) var isLingering = false
  /// Whether somebody is about to give it, or to end it: nobody else may.
  fileprivate(set) var isChanging = true

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
  /// Those that somebody is about to give or to end.
  private(set) var changing = 0
  /// Signalled when there are none.
  var quiet: Quiet?

  final class Quiet: Sendable {
    let semaphore: Semaphore
    init() throws(Errno) { semaphore = try Semaphore() }
  }

  /// The index of the first one that begins at `offset` or behind it.
  fileprivate func index(of offset: UInt32) -> Int {
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

  // MARK: Changes
  //
  // Whoever has begun one is the only one until it is over.

  /// Begins to give one, whose area must be free.
  mutating func insert(_ holding: Holding) {
    holdings.insert(holding, at: index(of: holding.permission.beginOffset))
    changing += 1
  }

  /// Begins to end one: whether nobody else does.
  mutating func beginEnd(of holding: Holding) -> Bool {
    guard !holding.isChanging else { return false }
    holding.isChanging = true
    changing += 1
    return true
  }

  /// It lives on.
  mutating func keep(_ holding: Holding) {
    holding.isChanging = false
    endChange()
  }

  /// It lives on without a handle.
  mutating func linger(_ holding: Holding) {
    holding.isLingering = true
    lingeringCount += 1
    keep(holding)
  }

  mutating func remove(_ holding: Holding) {
    holdings.remove(at: index(of: holding.permission.beginOffset))
    if holding.isLingering { lingeringCount -= 1 }
    endChange()
  }

  /// It cannot be ended, and nobody is to try again.
  mutating func giveUp(_ holding: Holding) { endChange() }

  private mutating func endChange() {
    changing -= 1
    if changing == 0 { quiet.take()?.semaphore.signal() }
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
  ///
  /// - Parameters:
  ///   - begin: where the first one begins, at least.
  ///   - count: how many at most.
  package func livePermissions(
    seenBy handle: AreaHandle?, from begin: UInt32 = 0, count: Int = .max
  ) -> [LivePermission] {
    permissions.withLock { table in
      table.holdings[table.index(of: begin)...].prefix(count).map { holding in
        LivePermission(
          permission: holding.permission, claimant: holding.claimant,
          isOwn: handle.map { holding.file === $0.file } ?? false)
      }
    }
  }
}
