// SPDX-License-Identifier: Apache-2.0

/// Who has how much of something that is limited: no user gets more than half of it, so that there is
/// always some left for others. See docs/security.md.
///
/// A plain value, guarded by the lock of whatever it counts.
package struct UserShares: Sendable {
  /// Who may have all of it: root, and the user whose daemon this is.
  package struct Trusted: Hashable, Sendable {
    package let daemon: UInt32

    package init(daemon: UInt32) { self.daemon = daemon }

    package func contains(_ user: UInt32) -> Bool { user == 0 || user == daemon }
  }

  /// All that there is.
  package let capacity: Int
  private let trusted: Trusted
  /// What everybody has.
  package private(set) var used = 0
  /// What each user has, without those who have nothing.
  private var byUser: [UInt32: Int] = [:]

  package init(of capacity: Int, trusted: Trusted) {
    self.capacity = capacity
    self.trusted = trusted
  }

  /// Gives a user some of it: false, and nothing is given, where it is more than there is for him.
  package mutating func take(_ amount: Int = 1, for user: UInt32) -> Bool {
    let has = byUser[user] ?? 0
    let limit = trusted.contains(user) ? capacity : capacity / 2
    guard amount <= capacity - used, amount <= limit - has else { return false }
    used += amount
    if amount > 0 { byUser[user] = has + amount }
    return true
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
