// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Who has how much of something that is limited: no user gets more than half of it, so that there is
/// always some left for others. See docs/security.md.
///
/// A plain value, guarded by the lock of whatever it counts.
package struct UserShares: Sendable {
  /// Who may have all of it: root, and the user whose daemon this is.
  package struct Trusted: Hashable, Sendable {
    package let daemon: UInt32

    package init(daemon: UInt32) { self.daemon = daemon }

    /// With this process as the daemon.
    package static var current: Trusted { Trusted(daemon: geteuid()) }

    package func contains(_ user: UInt32) -> Bool { user == 0 || user == daemon }
  }

  /// All that there is.
  package let capacity: Int
  /// The most that a user who is not trusted gets.
  private let each: Int
  private let trusted: Trusted
  /// What everybody has.
  package private(set) var used = 0
  /// What each user has, without those who have nothing.
  private var byUser: [UInt32: Int] = [:]

  /// - Parameter each: what one user gets at most, if less than half.
  package init(of capacity: Int, each: Int? = nil, trusted: Trusted) {
    self.capacity = capacity
    self.each = min(each ?? capacity, capacity / 2)
    self.trusted = trusted
  }

  /// Gives a user some of it: false, and nothing is given, where it is more than there is for him.
  package mutating func take(_ amount: Int = 1, for user: UInt32) -> Bool {
    guard hasRoom(for: amount, of: user) else { return false }
    record(amount, of: user)
    return true
  }

  /// Whether the user would be given so much.
  package func hasRoom(for amount: Int, of user: UInt32) -> Bool {
    let limit = trusted.contains(user) ? capacity : each
    return amount == 0 || amount <= capacity - used && amount <= limit - self.amount(of: user)
  }

  /// Counts what a user has already, whatever there is.
  package mutating func record(_ amount: Int = 1, of user: UInt32) {
    used += amount
    if amount > 0 { byUser[user, default: 0] += amount }
  }

  /// Takes back what the user was given.
  package mutating func giveBack(_ amount: Int = 1, of user: UInt32) {
    let has = byUser[user] ?? 0
    let returned = min(amount, has)
    used -= returned
    byUser[user] = has > returned ? has - returned : nil
  }

  /// What a user has.
  package func amount(of user: UInt32) -> Int { byUser[user] ?? 0 }
}
