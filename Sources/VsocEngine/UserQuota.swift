// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem

/// `UserShares` of something that several owners take from, each with a lock of its own. Its lock is a leaf.
package final class UserQuota: Sendable {
  private let shares: Lock<UserShares>

  package init(_ shares: UserShares) { self.shares = Lock(shares) }

  /// False, and nothing is taken, where it is more than there is for the user.
  package func take(_ amount: Int, for user: UInt32) -> Bool {
    shares.withLock { $0.take(amount, for: user) }
  }

  package func giveBack(_ amount: Int, of user: UInt32) {
    shares.withLock { $0.giveBack(amount, of: user) }
  }
}
