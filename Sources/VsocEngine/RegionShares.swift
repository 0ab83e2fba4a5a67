// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// How many regions there may be, and how large they may be together.
package struct RegionLimits: Hashable, Sendable {
  /// Nil: no limit.
  package var bytes: UInt64?
  /// Nil: as many as the trusted make, and `usualCount` of all others.
  package var count: Int?

  package static let usualCount = 4096

  package init(bytes: UInt64? = nil, count: Int? = nil) {
    self.bytes = bytes
    self.count = count
  }
}

/// Who made how many regions, and of how many bytes. Guarded by the lock of the engine's table.
struct RegionShares {
  let limits: RegionLimits
  private let trusted: UserShares.Trusted
  private var count: UserShares
  private var bytes: UserShares

  init(_ limits: RegionLimits, trusted: UserShares.Trusted) {
    self.limits = limits
    self.trusted = trusted
    count = UserShares(of: limits.count ?? RegionLimits.usualCount, trusted: trusted)
    bytes = UserShares(of: limits.bytes.map { Int(clamping: $0) } ?? .max, trusted: trusted)
  }

  var usedBytes: UInt64 { UInt64(bytes.used) }

  private func isCounted(_ user: UInt32) -> Bool {
    limits.count != nil || !trusted.contains(user)
  }

  /// ENOSPC: there is no room for another one, or none for this user.
  mutating func add(size: UInt32, of user: UInt32) throws(Errno) {
    guard bytes.take(Int(size), for: user) else { throw .noSpace }
    guard !isCounted(user) || count.take(for: user) else {
      bytes.giveBack(Int(size), of: user)
      throw .noSpace
    }
  }

  /// One that is there already.
  mutating func record(size: UInt32, of user: UInt32) {
    bytes.record(Int(size), of: user)
    if isCounted(user) { count.record(of: user) }
  }

  mutating func remove(size: UInt32, of user: UInt32) {
    bytes.giveBack(Int(size), of: user)
    if isCounted(user) { count.giveBack(of: user) }
  }

  // MARK: A region that changes its size

  /// Takes what it will have more. ENOSPC.
  ///
  /// - Returns: how much was taken.
  mutating func begin(_ size: UInt32, insteadOf old: UInt32, of user: UInt32) throws(Errno) -> Int {
    let growth = max(Int(size) - Int(old), 0)
    guard bytes.take(growth, for: user) else { throw .noSpace }
    return growth
  }

  /// It has another size now, or has kept the one that it had; it may have changed in between.
  ///
  /// - Parameter growth: what it has more than it had.
  mutating func end(taken: Int, growth: Int, of user: UInt32) {
    if growth < taken {
      bytes.giveBack(taken - growth, of: user)
    } else {
      bytes.record(growth - taken, of: user)
    }
  }
}
